use jiff::Timestamp;
use serde::Serialize;

/// Why a decision came out as it did, from the metrics to the number of replicas.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The replicas there were.
    pub current_replicas: i32,
    /// The replicas decided on.
    pub desired_replicas: i32,
    /// How far the decision went.
    pub stage: Stage,
    /// What each metric asks for, in the spec's order; empty if none was looked at.
    pub metrics: Vec<MetricExplanation>,
    /// The place in `metrics` of the one that won.
    pub chosen_metric: Option<usize>,
    /// What the windows made of the proposal.
    pub stabilization: Option<Stabilization>,
    /// What bounded the result.
    pub limit: Option<Limit>,
}

/// How far a decision went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Stage {
    /// The target has no replicas: scaling is off.
    ScaledToZero,
    /// More replicas than the maximum: set to it without looking at metrics.
    AboveMaximum,
    /// Fewer replicas than the minimum: set to it without looking at metrics.
    BelowMinimum,
    /// The selector does not tell the pods.
    InvalidSelector,
    /// Metrics failed, and the rest does not allow a change.
    InvalidMetrics,
    /// The metrics decided.
    Metrics,
}

/// What one metric asks for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricExplanation {
    /// The metric as conditions name it, or its type if it failed.
    pub metric: String,
    /// What it asks for, or why it cannot tell.
    pub proposal: Result<Proposal, String>,
}

/// How a metric came to its number of replicas.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proposal {
    /// The replicas it asks for.
    pub replicas: i32,
    /// Usage by target, of the pods that count.
    pub ratio: f64,
    /// The same with assumed values for unready and missing pods, if there were any that mattered.
    pub adjusted_ratio: Option<f64>,
    /// The ratios between which nothing changes.
    pub tolerated: (f64, f64),
    /// The rule that gave the number.
    pub rule: Rule,
    /// The pods by name, and how each counted; empty for metrics that are not of pods.
    pub pods: Vec<(String, PodClass)>,
}

/// How a metric's usage became replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Rule {
    /// The ratio is so near 1 that nothing changes.
    WithinTolerance,
    /// Ratio × this many ready pods, rounded up.
    Ready(usize),
    /// Adjusted ratio × this many pods (ready, and those with assumed values), rounded up.
    Adjusted(usize),
    /// With assumed values the ratio is on the other side of 1: nothing changes.
    AdjustedReverses,
    /// With assumed values the count goes the other way than the ratio: nothing changes.
    AdjustedCountReverses,
    /// The total by the target for each pod, rounded up.
    PerPod,
    /// From no replicas: the ratio, rounded up.
    FromZero,
}

/// How a pod counts for a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum PodClass {
    /// Its sample counts.
    Ready,
    /// Pending, or for CPU not ready yet: its sample does not count; no usage is assumed on the way up.
    Unready,
    /// It has no sample: the target is assumed on the way down, no usage on the way up.
    Missing,
    /// Being deleted, or failed: left out.
    Ignored,
}

/// What the stabilization windows made of a proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stabilization {
    /// The replicas the metrics ask for.
    pub proposed: i32,
    /// The replicas after the windows.
    pub replicas: i32,
    /// Length of the scale-up window, seconds.
    pub up_window_seconds: i64,
    /// Length of the scale-down window, seconds.
    pub down_window_seconds: i64,
    /// When the recommendation was made that holds the proposal off, if one does.
    pub held_by: Option<Timestamp>,
}

/// What bounded the replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Limit {
    /// Nothing.
    None,
    /// `minReplicas`.
    Minimum(i32),
    /// `maxReplicas`.
    Maximum(i32),
    /// How fast replicas may be added.
    ScaleUp(PolicyLimit),
    /// How fast replicas may be removed.
    ScaleDown(PolicyLimit),
}

/// A bound on the speed of change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyLimit {
    /// The replicas allowed now.
    pub replicas: i32,
    /// The policy that allowed them.
    pub policy: Policy,
}

/// What decides how fast replicas change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Policy {
    /// Without a behavior: twice as many, or four.
    BuiltIn,
    /// `selectPolicy: Disabled`.
    Disabled,
    /// A policy of the behavior.
    #[serde(rename_all = "camelCase")]
    Behavior {
        /// `Pods` or `Percent`.
        kind: String,
        /// Pods, or percent of the replicas at the period's start.
        value: i32,
        /// The period's length.
        period_seconds: i32,
        /// The replicas at the period's start.
        period_start_replicas: i32,
    },
}
