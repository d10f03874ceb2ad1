//! The horizontal pod autoscaler: decides exactly as Kubernetes 1.36 does.
//!
//! | part | is |
//! | --- | --- |
//! | [`observed`](Observed) | what a decision is made from |
//! | `metric` | what one metric asks for, and how its answers and failures are worded |
//! | `replicas` | the arithmetic from usage to replicas: which pods count, ratios, tolerance |
//! | `behavior` | stabilization windows, scaling policies, minimum and maximum |
//! | `decide` | the decision: conditions, events, status, scale |
//! | [`explanation`](Explanation) | why it was so, for people |
//! | [`controller`](run) | the loop: reads the API, decides, writes what was decided |
//! | `mapper`, `fetch`, `api` | which resource a kind is, what the metrics APIs say, requests |

mod api;
mod behavior;
mod controller;
mod decide;
mod explanation;
mod fetch;
mod integer;
mod mapper;
mod metric;
mod observed;
mod replicas;

pub use behavior::History;
pub use controller::{Explained, Explanations, Options, ReconcileError, run};
pub use decide::{Decision, Failure, HpaEvent, Outcome, Rescale, decide, needs_metrics};
pub use explanation::{
    Explanation, Limit, MetricExplanation, PodClass, Policy, PolicyLimit, Proposal, Rule,
    Stabilization, Stage,
};
pub use observed::{
    Constants, ContainerRequests, Observed, PodSample, PodView, Reading, ReadyCondition,
    SelectorProblem, Tristate,
};

#[cfg(test)]
mod tests;
