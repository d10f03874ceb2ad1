use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerSpec,
};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use springtide_client::pods;
use springtide_machinery::quantity::Quantity;

/// The controller's constants, by default those of kube-controller-manager.
#[derive(Debug, Clone, PartialEq)]
pub struct Constants {
    /// How far a ratio may be from 1 without a change, where the behavior does not say.
    pub tolerance: f64,
    /// How long after its start a pod's CPU may be that of its initialization.
    pub cpu_initialization_period: Duration,
    /// How long after its start an unready pod is taken as one that was never ready.
    pub initial_readiness_delay: Duration,
    /// How long a higher recommendation holds off a scale-down, where the behavior does not say.
    pub downscale_stabilization: Duration,
    /// Without a behavior, replicas at most grow by this factor at once, or to
    /// [`scale_up_minimum`](Self::scale_up_minimum) where that is more. No flag of
    /// kube-controller-manager sets these two.
    pub scale_up_factor: f64,
    /// Without a behavior, this many replicas can be had at once.
    pub scale_up_minimum: f64,
}

impl Default for Constants {
    fn default() -> Self {
        Self {
            tolerance: 0.1,
            cpu_initialization_period: Duration::from_secs(300),
            initial_readiness_delay: Duration::from_secs(30),
            downscale_stabilization: Duration::from_secs(300),
            scale_up_factor: 2.0,
            scale_up_minimum: 4.0,
        }
    }
}

/// What one decision is made from.
#[derive(Debug, Clone)]
pub struct Observed<'a> {
    /// Namespace of the autoscaler and of what it scales.
    pub namespace: &'a str,
    /// The autoscaler's spec, with the API's defaults.
    pub spec: &'a HorizontalPodAutoscalerSpec,
    /// The conditions of the autoscaler's status, as they were last written.
    pub conditions: &'a [HorizontalPodAutoscalerCondition],
    /// `spec.replicas` of the scale subresource.
    pub spec_replicas: i32,
    /// `status.replicas` of the scale subresource.
    pub status_replicas: i32,
    /// The pods the scale's selector selects, or what is wrong with the selector.
    pub pods: Result<&'a [PodView], SelectorProblem>,
    /// One reading for each metric of the spec, in its order; the error is the metrics API's.
    /// Not looked at unless [`needs_metrics`](super::needs_metrics).
    pub readings: &'a [Result<Reading, String>],
    /// The time of the decision.
    pub now: Timestamp,
    /// The controller's constants.
    pub constants: &'a Constants,
}

/// Why the pods of a scale target cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelectorProblem {
    /// The scale's status has no selector.
    Missing,
    /// The selector cannot be read, and why.
    Invalid(String),
    /// Its pods are under the selectors of several autoscalers.
    Ambiguous {
        /// The selector as the scale's status has it.
        selector: String,
        /// Name and namespace of each of them, sorted.
        autoscalers: Vec<(String, String)>,
    },
}

/// What a metrics API answered for one metric. All values are in thousandths of the metric's unit.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    /// A sample for each pod that has one, by the pod's name.
    Pods(BTreeMap<String, PodSample>),
    /// The value of one object.
    Object(i64),
    /// The values of all series that match.
    External(Vec<i64>),
}

/// A sample of one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSample {
    /// In thousandths of the metric's unit (CPU: millicores; memory: thousandths of a byte).
    pub value: i64,
    /// The end of the time the sample was taken over.
    pub timestamp: Timestamp,
    /// The length of that time.
    pub window: Duration,
}

/// What the decision needs to know of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodView {
    /// The pod's name.
    pub name: String,
    /// `status.phase`.
    pub phase: String,
    /// True when the pod is being deleted.
    pub deleted: bool,
    /// `status.startTime`.
    pub start_time: Option<Timestamp>,
    /// The pod's Ready condition.
    pub ready: Option<ReadyCondition>,
    /// Its containers and the init containers that run beside them, in the spec's order.
    pub containers: Vec<ContainerRequests>,
    /// Requests of the pod as a whole, where its spec has any.
    pub pod_requests: Option<BTreeMap<String, i64>>,
}

/// A pod's Ready condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyCondition {
    /// Its status.
    pub status: Tristate,
    /// Its last transition; the beginning of time if it does not say.
    pub since: Timestamp,
}

/// The status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tristate {
    /// `True`
    True,
    /// `False`
    False,
    /// `Unknown`, or anything else.
    Unknown,
}

/// What a container requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerRequests {
    /// The container's name.
    pub name: String,
    /// Resource name to thousandths of its unit.
    pub requests: BTreeMap<String, i64>,
}

// === impl Tristate ===

impl From<&str> for Tristate {
    fn from(status: &str) -> Self {
        match status {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }
}

// === impl PodView ===

impl PodView {
    /// True when the pod runs and says that it is ready.
    pub(super) fn is_running_and_ready(&self) -> bool {
        self.phase == "Running"
            && self
                .ready
                .as_ref()
                .is_some_and(|ready| ready.status == Tristate::True)
    }
}

impl From<&Pod> for PodView {
    fn from(pod: &Pod) -> Self {
        let ready = pods::condition(pod, "Ready").map(|condition| ReadyCondition {
            status: Tristate::from(condition.status.as_str()),
            since: condition
                .last_transition_time
                .as_ref()
                .map_or(Timestamp::MIN, |time| time.0),
        });
        let start_time = pod
            .status
            .as_ref()
            .and_then(|status| status.start_time.as_ref())
            .map(|time| time.0);
        let spec = pod.spec.as_ref();
        let init = spec
            .and_then(|spec| spec.init_containers.as_deref())
            .unwrap_or_default();
        let sidecars = init
            .iter()
            .filter(|container| container.restart_policy.as_deref() == Some("Always"));
        let containers = spec
            .map(|spec| spec.containers.as_slice())
            .unwrap_or_default();
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            phase: pods::phase(pod).to_owned(),
            deleted: pods::is_terminating(pod),
            start_time,
            ready,
            containers: containers
                .iter()
                .chain(sidecars)
                .map(ContainerRequests::from)
                .collect(),
            pod_requests: spec.and_then(|spec| pod_requests(spec.resources.as_ref()?)),
        }
    }
}

impl From<&Container> for ContainerRequests {
    fn from(container: &Container) -> Self {
        Self {
            name: container.name.clone(),
            requests: container
                .resources
                .as_ref()
                .map(requests)
                .unwrap_or_default(),
        }
    }
}

fn pod_requests(resources: &ResourceRequirements) -> Option<BTreeMap<String, i64>> {
    Some(requests(resources)).filter(|given| !given.is_empty())
}

fn requests(resources: &ResourceRequirements) -> BTreeMap<String, i64> {
    // The API has refused quantities that cannot be read.
    let milli = |text: &str| {
        Quantity::parse(text)
            .map(Quantity::milli)
            .unwrap_or_default()
    };
    let given = resources.requests.iter().flatten();
    given
        .map(|(resource, quantity)| (resource.clone(), milli(&quantity.0)))
        .collect()
}
