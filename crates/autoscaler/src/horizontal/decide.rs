//! The decision: conditions, events, status and scale, in the order Kubernetes makes them.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerSpec, MetricStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use springtide_client::EventType;

use super::behavior::{Behavior, History, Limited, Range, Stabilized, limit_plain};
use super::explanation::{Explanation, Limit, MetricExplanation, Stage};
use super::metric::{Asked, Failed, Replicas, ask};
use super::observed::{Constants, Observed, PodView, SelectorProblem};
use super::replicas::{Setting, Tolerances};

const ABLE: &str = "AbleToScale";
const ACTIVE: &str = "ScalingActive";
const LIMITED: &str = "ScalingLimited";

/// An event about an autoscaler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HpaEvent {
    /// Normal or Warning.
    pub kind: EventType,
    /// Its reason.
    pub reason: &'static str,
    /// Its message.
    pub message: String,
}

/// Why a reconcile ended with an error. Displays Kubernetes' words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The metrics (or the selector) allow no decision; the replicas stay.
    #[error(
        "failed to compute desired number of replicas based on listed metrics for {target}: {cause}"
    )]
    NoDecision {
        /// Kind, namespace and name of what is scaled.
        target: String,
        /// What failed.
        cause: String,
    },
    /// Some metrics failed; the others decided.
    #[error("{0}")]
    SomeMetrics(String),
    /// The scale subresource refused the new number.
    #[error("failed to rescale {target}: {cause}")]
    Rescale {
        /// Kind, namespace and name of what is scaled.
        target: String,
        /// What it said.
        cause: String,
    },
}

/// A number of replicas to write to the scale subresource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescale {
    /// The replicas there are.
    pub from: i32,
    /// The replicas there shall be.
    pub to: i32,
    /// Why, in the words of the event.
    pub reason: String,
}

/// What was decided. If [`rescale`](Self::rescale) says so, the scale is to be written first; then
/// [`finish`](Self::finish) tells the rest.
#[derive(Debug, Clone)]
#[must_use]
pub struct Decision {
    /// The change to make, if any.
    pub rescale: Option<Rescale>,
    /// Why it came out so.
    pub explanation: Explanation,
    target: String,
    now: Timestamp,
    behavior: Option<Behavior>,
    current: i32,
    conditions: Vec<HorizontalPodAutoscalerCondition>,
    current_metrics: Option<Vec<MetricStatus>>,
    events: Vec<HpaEvent>,
    error: Option<Failure>,
}

/// What is to be written after a decision.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The replicas there were, for the status.
    pub current_replicas: i32,
    /// The replicas there shall be, for the status; `None` leaves what it says.
    pub desired_replicas: Option<i32>,
    /// True when the scale was changed: its time is the status' `lastScaleTime`.
    pub scaled: bool,
    /// The status' conditions, in order.
    pub conditions: Vec<HorizontalPodAutoscalerCondition>,
    /// The status' metrics; `None` if none were looked at.
    pub current_metrics: Option<Vec<MetricStatus>>,
    /// To be recorded, in order.
    pub events: Vec<HpaEvent>,
    /// How the reconcile ended.
    pub error: Option<Failure>,
}

/// True when the decision will look at metrics, and so at pods and readings.
pub fn needs_metrics(spec: &HorizontalPodAutoscalerSpec, spec_replicas: i32) -> bool {
    stage(spec, spec_replicas) == Stage::Metrics
}

fn stage(spec: &HorizontalPodAutoscalerSpec, current: i32) -> Stage {
    let min = min_replicas(spec);
    if current == 0 && min != 0 {
        Stage::ScaledToZero
    } else if current > spec.max_replicas {
        Stage::AboveMaximum
    } else if current < min {
        Stage::BelowMinimum
    } else {
        Stage::Metrics
    }
}

fn min_replicas(spec: &HorizontalPodAutoscalerSpec) -> i32 {
    spec.min_replicas.unwrap_or(1)
}

/// Decides how many replicas there shall be. `history` is that of this autoscaler's earlier decisions,
/// and takes up this one; an applied change is added by [`Decision::finish`].
pub fn decide(observed: &Observed<'_>, history: &mut History) -> Decision {
    let spec = observed.spec;
    let current = observed.spec_replicas;
    let mut draft = Draft {
        now: observed.now,
        conditions: observed.conditions.to_vec(),
        events: Vec::new(),
        metrics: None,
        explanation: Explanation {
            current_replicas: current,
            desired_replicas: current,
            stage: stage(spec, current),
            metrics: Vec::new(),
            chosen_metric: None,
            stabilization: None,
            limit: None,
        },
    };
    draft.set(
        ABLE,
        true,
        "SucceededGetScale",
        "the HPA controller was able to get the target's current scale",
    );
    history.begin(current, observed.now);

    let target = &spec.scale_target_ref;
    let target = format!("{}/{}/{}", target.kind, observed.namespace, target.name);
    let behavior = Behavior::of(spec, downscale_seconds(observed.constants));
    let (rescale, error) = match draft.explanation.stage {
        Stage::AboveMaximum => {
            draft.explanation.limit = Some(Limit::Maximum(spec.max_replicas));
            (
                Some((
                    spec.max_replicas,
                    "Current number of replicas above Spec.MaxReplicas".to_owned(),
                )),
                None,
            )
        }
        Stage::BelowMinimum => {
            draft.explanation.limit = Some(Limit::Minimum(min_replicas(spec)));
            (
                Some((
                    min_replicas(spec),
                    "Current number of replicas below Spec.MinReplicas".to_owned(),
                )),
                None,
            )
        }
        Stage::ScaledToZero => {
            let message = "scaling is disabled since the replica count of the target is zero";
            draft.set(ACTIVE, false, "ScalingDisabled", message);
            (None, None)
        }
        Stage::Metrics | Stage::InvalidSelector | Stage::InvalidMetrics => {
            match draft.propose(observed) {
                Err(cause) => {
                    draft.warn("FailedComputeMetricsReplicas", cause.clone());
                    (
                        None,
                        Some(Failure::NoDecision {
                            target: target.clone(),
                            cause,
                        }),
                    )
                }
                Ok((proposed, metric, error)) => {
                    let reason = if proposed > current {
                        format!("{metric} above target")
                    } else if proposed < current {
                        "All metrics below target".to_owned()
                    } else {
                        String::new()
                    };
                    let replicas = draft.fit(observed, behavior.as_ref(), history, proposed);
                    let rescale = (replicas != current).then_some((replicas, reason));
                    (rescale, error.map(Failure::SomeMetrics))
                }
            }
        }
    };
    let rescale = rescale.map(|(to, reason)| Rescale {
        from: current,
        to,
        reason,
    });
    draft.explanation.desired_replicas = rescale.as_ref().map_or(current, |rescale| rescale.to);
    Decision {
        rescale,
        explanation: draft.explanation,
        target,
        now: observed.now,
        behavior,
        current,
        conditions: draft.conditions,
        current_metrics: draft.metrics,
        events: draft.events,
        error,
    }
}

fn downscale_seconds(constants: &Constants) -> i32 {
    i32::try_from(constants.downscale_stabilization.as_secs()).unwrap_or(i32::MAX)
}

// === impl Decision ===

impl Decision {
    /// Completes the decision with how the write of the scale went (`Ok` also where there was none),
    /// and remembers an applied change.
    pub fn finish(self, written: Result<(), String>, history: &mut History) -> Outcome {
        let mut outcome = Outcome {
            current_replicas: self.current,
            desired_replicas: None,
            scaled: false,
            conditions: self.conditions,
            current_metrics: self.current_metrics,
            events: self.events,
            error: self.error,
        };
        if matches!(outcome.error, Some(Failure::NoDecision { .. })) {
            return outcome;
        }
        let Some(Rescale { from, to, reason }) = self.rescale else {
            outcome.desired_replicas = Some(self.current);
            return outcome;
        };
        match written {
            Ok(()) => {
                let message =
                    format!("the HPA controller was able to update the target scale to {to}");
                set_condition(
                    &mut outcome.conditions,
                    self.now,
                    ABLE,
                    true,
                    "SucceededRescale",
                    message,
                );
                outcome.events.push(HpaEvent {
                    kind: EventType::Normal,
                    reason: "SuccessfulRescale",
                    message: format!("New size: {to}; reason: {reason}"),
                });
                history.scaled(self.behavior.as_ref(), from, to, self.now);
                outcome.desired_replicas = Some(to);
                outcome.scaled = true;
            }
            Err(cause) => {
                let message =
                    format!("the HPA controller was unable to update the target scale: {cause}");
                set_condition(
                    &mut outcome.conditions,
                    self.now,
                    ABLE,
                    false,
                    "FailedUpdateScale",
                    message,
                );
                outcome.events.push(HpaEvent {
                    kind: EventType::Warning,
                    reason: "FailedRescale",
                    message: format!("New size: {to}; reason: {reason}; error: {cause}"),
                });
                outcome.error = Some(Failure::Rescale {
                    target: self.target,
                    cause,
                });
            }
        }
        outcome
    }
}

/// A decision in the making.
struct Draft {
    now: Timestamp,
    conditions: Vec<HorizontalPodAutoscalerCondition>,
    events: Vec<HpaEvent>,
    metrics: Option<Vec<MetricStatus>>,
    explanation: Explanation,
}

// === impl Draft ===

impl Draft {
    fn set(&mut self, kind: &str, status: bool, reason: &str, message: impl Into<String>) {
        set_condition(
            &mut self.conditions,
            self.now,
            kind,
            status,
            reason,
            message.into(),
        );
    }

    fn warn(&mut self, reason: &'static str, message: String) {
        self.events.push(HpaEvent {
            kind: EventType::Warning,
            reason,
            message,
        });
    }

    /// The greatest of what the metrics ask for, its metric's name, and what failed beside it.
    fn propose(
        &mut self,
        observed: &Observed<'_>,
    ) -> Result<(i32, String, Option<String>), String> {
        let pods = match &observed.pods {
            Ok(pods) => *pods,
            Err(problem) => return Err(self.refuse_selector(problem)),
        };
        let (asked, failed) = self.ask_all(observed, pods);
        let specs = observed.spec.metrics.as_deref().unwrap_or_default();
        let error = failed.first().map(|first| {
            let counts = format!("{} invalid out of {}", failed.len(), specs.len());
            format!(
                "invalid metrics ({counts}), first error is: {}",
                first.error
            )
        });
        let mut best: Option<(usize, i32, &str)> = None;
        for (place, name, replicas) in &asked {
            // Zero is no proposal to hold on to.
            if best.is_none_or(|(_, most, _)| most == 0 || *replicas > most) {
                best = Some((*place, *replicas, name));
            }
        }
        let (place, proposed, name) = best.map_or((None, 0, ""), |(place, most, name)| {
            (Some(place), most, name)
        });
        let holds = failed.len() >= specs.len()
            || (!failed.is_empty() && proposed < observed.spec_replicas);
        if holds {
            self.explanation.stage = Stage::InvalidMetrics;
            if let Some(first) = failed.first() {
                let message = format!(
                    "the HPA was unable to compute the replica count: {}",
                    first.message
                );
                self.set(ACTIVE, false, first.reason, message);
            }
            return Err(error.unwrap_or_else(|| "no metrics are specified".to_owned()));
        }
        self.explanation.chosen_metric = place;
        let message =
            format!("the HPA was able to successfully calculate a replica count from {name}");
        self.set(ACTIVE, true, "ValidMetricFound", message);
        // A number that does not fit an integer has become negative, and counts as none.
        Ok((proposed.max(0), name.to_owned(), error))
    }

    /// What each metric asks for (its place, name and replicas), and what failed.
    fn ask_all(
        &mut self,
        observed: &Observed<'_>,
        pods: &[PodView],
    ) -> (Vec<(usize, String, i32)>, Vec<Failed>) {
        let setting = Setting {
            pods,
            constants: observed.constants,
            tolerances: Tolerances::of(
                observed.spec.behavior.as_ref(),
                observed.constants.tolerance,
            ),
            now: observed.now,
        };
        let replicas = Replicas {
            spec: observed.spec_replicas,
            status: observed.status_replicas,
        };
        let mut asked = Vec::new();
        let mut failed = Vec::new();
        let mut statuses = Vec::new();
        for (place, spec) in observed.spec.metrics.iter().flatten().enumerate() {
            match ask(
                spec,
                observed.readings.get(place),
                &setting,
                replicas,
                observed.namespace,
            ) {
                Ok(Asked {
                    name,
                    proposal,
                    status,
                }) => {
                    asked.push((place, name.clone(), proposal.replicas));
                    statuses.push(status);
                    self.explanation.metrics.push(MetricExplanation {
                        metric: name,
                        proposal: Ok(proposal),
                    });
                }
                Err(failure) => {
                    self.warn(failure.reason, failure.message.clone());
                    // Its place in the status is kept, empty.
                    statuses.push(MetricStatus::default());
                    let proposal = Err(failure.message.clone());
                    self.explanation.metrics.push(MetricExplanation {
                        metric: spec.type_.clone(),
                        proposal,
                    });
                    failed.push(failure);
                }
            }
        }
        self.metrics = Some(statuses);
        (asked, failed)
    }

    fn refuse_selector(&mut self, problem: &SelectorProblem) -> String {
        self.explanation.stage = Stage::InvalidSelector;
        let (event, reason, message) = match problem {
            SelectorProblem::Missing => (
                "SelectorRequired",
                "InvalidSelector",
                "selector is required".to_owned(),
            ),
            SelectorProblem::Invalid(error) => {
                let message = format!(
                    "couldn't convert selector into a corresponding internal selector object: {error}"
                );
                ("InvalidSelector", "InvalidSelector", message)
            }
            SelectorProblem::Ambiguous {
                selector,
                autoscalers,
            } => {
                let shown: Vec<String> = autoscalers
                    .iter()
                    .map(|(name, namespace)| format!("{{{name} {namespace}}}"))
                    .collect();
                let shown = shown.join(" ");
                let message = format!(
                    "pods by selector {selector} are controlled by multiple HPAs: [{shown}]"
                );
                ("AmbiguousSelector", "AmbiguousSelector", message)
            }
        };
        self.warn(event, message.clone());
        let told = match problem {
            SelectorProblem::Missing => "the HPA target's scale is missing a selector",
            SelectorProblem::Invalid(_) | SelectorProblem::Ambiguous { .. } => &message,
        };
        self.set(ACTIVE, false, reason, told);
        message
    }

    /// Fits the proposal into windows, policies, minimum and maximum.
    fn fit(
        &mut self,
        observed: &Observed<'_>,
        behavior: Option<&Behavior>,
        history: &mut History,
        proposed: i32,
    ) -> i32 {
        let range = Range {
            current: observed.spec_replicas,
            min: min_replicas(observed.spec),
            max: observed.spec.max_replicas,
        };
        let Stabilized {
            told,
            reason,
            message,
        } = match behavior {
            Some(behavior) => history.stabilize(behavior, range.current, proposed, self.now),
            None => history.stabilize_plain(
                proposed,
                i64::from(downscale_seconds(observed.constants)),
                self.now,
            ),
        };
        let stabilized = told.replicas;
        let (reason, message) = if stabilized == proposed {
            ("ReadyForNewScale", "recommended size matches current size")
        } else {
            (reason, message)
        };
        self.set(ABLE, true, reason, message);
        self.explanation.stabilization = Some(told);

        let Limited {
            replicas,
            reason,
            message,
            limit,
        } = match behavior {
            Some(behavior) => history.limit(behavior, range, stabilized, self.now),
            None => limit_plain(observed.constants, range, stabilized),
        };
        self.set(LIMITED, replicas != stabilized, reason, message);
        self.explanation.limit = Some(limit);
        replicas
    }
}

pub(super) fn set_condition(
    conditions: &mut Vec<HorizontalPodAutoscalerCondition>,
    now: Timestamp,
    kind: &str,
    status: bool,
    reason: &str,
    message: String,
) {
    let status = if status { "True" } else { "False" };
    let place = conditions
        .iter()
        .position(|condition| condition.type_ == kind)
        .unwrap_or_else(|| {
            conditions.push(HorizontalPodAutoscalerCondition {
                type_: kind.to_owned(),
                ..Default::default()
            });
            conditions.len() - 1
        });
    let condition = &mut conditions[place];
    if condition.status != status {
        condition.last_transition_time = Some(Time(now));
    }
    status.clone_into(&mut condition.status);
    condition.reason = Some(reason.to_owned());
    condition.message = Some(message);
}
