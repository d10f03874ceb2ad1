//! What autoscalers did while the load ran, as data that a report can draw.

use serde::Serialize;

/// What every watched autoscaler did, in the order in which they were named.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WatchTimeline {
    /// The autoscalers.
    pub autoscalers: Vec<AutoscalerTimeline>,
}

/// What one autoscaler did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerTimeline {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// What it scales, such as `Deployment/web`.
    pub target: String,
    /// The fewest replicas it may leave.
    pub min_replicas: i32,
    /// The most replicas it may order.
    pub max_replicas: i32,
    /// How it stood, about once a second. A reading holds until the next one.
    pub readings: Vec<AutoscalerReading>,
    /// Each time that it changed the number of replicas, or could not.
    pub decisions: Vec<ScalingDecision>,
    /// What could not be read, if anything could not, each once.
    pub faults: Vec<String>,
}

/// How an autoscaler stood at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AutoscalerReading {
    /// Seconds since the load began.
    pub seconds: f64,
    /// Replicas that there were when the autoscaler last looked.
    pub current_replicas: i32,
    /// Replicas that it wants.
    pub desired_replicas: i32,
    /// Replicas that can serve, where what it scales says so.
    pub ready_replicas: Option<i32>,
    /// Its metrics, in the order of its spec.
    pub metrics: Vec<MetricReading>,
    /// What keeps it from the number that its metrics ask for: the maximum, the minimum, a policy.
    pub limited: Option<String>,
}

/// A metric of an autoscaler at a moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetricReading {
    /// `cpu`, or the metric's name.
    pub name: String,
    /// What was measured; nothing where it could not be.
    pub current: Option<f64>,
    /// What it is compared with.
    pub target: Option<f64>,
    /// What both are.
    pub unit: MetricUnit,
}

/// What the numbers of a metric are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum MetricUnit {
    /// Percent of what the containers request.
    Percent,
    /// An amount, such as cores, bytes or requests a second; an average over the pods where the
    /// target is one.
    Amount,
}

/// A change of the number of replicas.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingDecision {
    /// Seconds since the load began, when it was seen: at most a second after it was made.
    pub seconds: f64,
    /// Replicas that were wanted before.
    pub from: i32,
    /// Replicas that are wanted from then on.
    pub to: i32,
    /// Why, in the autoscaler's words.
    pub reason: String,
    /// False: the order failed, and the reason says how.
    pub done: bool,
}
