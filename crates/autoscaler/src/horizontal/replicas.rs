//! From usage to replicas: which pods count, the ratio of usage to target, the tolerance, and what is
//! assumed of pods without a sample.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerBehavior;
use springtide_machinery::quantity::Quantity;

use super::explanation::{PodClass, Proposal, Rule};
use super::integer::{to_i32, to_i64};
use super::observed::{Constants, ContainerRequests, PodSample, PodView, Tristate};

/// How far a ratio may be from 1 without a change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tolerances {
    down: f64,
    up: f64,
}

/// What the arithmetic of every metric needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) pods: &'a [PodView],
    pub(super) constants: &'a Constants,
    pub(super) tolerances: Tolerances,
    pub(super) now: Timestamp,
}

/// What a metric of pods came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PodsResult {
    pub(super) proposal: Proposal,
    /// Percent of the requests; only of a utilization.
    pub(super) utilization: Option<i32>,
    /// Average of the pods that count, in thousandths.
    pub(super) average: i64,
}

/// What a metric of one value came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TotalResult {
    pub(super) proposal: Proposal,
    /// The value to show, in thousandths.
    pub(super) usage: i64,
}

/// What a metric of pods is compared with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    /// Percent of what the pods (or this container of theirs) request.
    Utilization {
        percent: i32,
        container: Option<&'a str>,
    },
    /// An average in thousandths.
    Average(i64),
}

type Values<'a> = BTreeMap<&'a str, i64>;

// === impl Tolerances ===

impl Tolerances {
    pub(super) fn of(behavior: Option<&HorizontalPodAutoscalerBehavior>, default: f64) -> Self {
        let of = |rules: Option<&k8s_openapi::api::autoscaling::v2::HPAScalingRules>| {
            let given = rules.and_then(|rules| rules.tolerance.as_ref());
            given
                .and_then(|quantity| Quantity::parse(&quantity.0).ok())
                .map_or(default, as_float)
        };
        Self {
            down: of(behavior.and_then(|behavior| behavior.scale_down.as_ref())),
            up: of(behavior.and_then(|behavior| behavior.scale_up.as_ref())),
        }
    }

    fn range(self) -> (f64, f64) {
        (1.0 - self.down, 1.0 + self.up)
    }

    fn allow(self, ratio: f64) -> bool {
        let (low, high) = self.range();
        low <= ratio && ratio <= high
    }
}

/// The float Kubernetes makes of a quantity: its mantissa × a power of ten, in its canonical form.
fn as_float(quantity: Quantity) -> f64 {
    let nano = quantity.nanos();
    let exponents = [(1_000_000_000, 1.0), (1_000_000, 1e-3), (1_000, 1e-6)];
    let exact = exponents.iter().find(|(unit, _)| nano % unit == 0);
    exact.map_or(nano as f64 * 1e-9, |(unit, scale)| {
        (nano / unit) as f64 * scale
    })
}

// === impl Setting ===

impl Setting<'_> {
    fn proposal(&self, replicas: i32, ratio: f64, rule: Rule) -> Proposal {
        let tolerated = self.tolerances.range();
        Proposal {
            replicas,
            ratio,
            adjusted_ratio: None,
            tolerated,
            rule,
            pods: Vec::new(),
        }
    }

    /// A metric that has a value for each pod.
    pub(super) fn of_pods(
        &self,
        current: i32,
        resource: &str,
        samples: &BTreeMap<String, PodSample>,
        target: Target<'_>,
    ) -> Result<PodsResult, String> {
        if self.pods.is_empty() {
            return Err("no pods returned by selector while calculating replica count".to_owned());
        }
        let classes: Vec<PodClass> = self
            .pods
            .iter()
            .map(|pod| self.classify(pod, resource, samples))
            .collect();
        let of_class = |class: PodClass| {
            let pairs = self.pods.iter().zip(&classes);
            pairs
                .filter(move |(_, found)| **found == class)
                .map(|(pod, _)| pod.name.as_str())
        };
        let mut values: Values<'_> = samples
            .iter()
            .map(|(name, sample)| (name.as_str(), sample.value))
            .collect();
        for name in of_class(PodClass::Ignored).chain(of_class(PodClass::Unready)) {
            values.remove(name);
        }
        if values.is_empty() {
            return Err(
                "did not receive metrics for targeted pods (pods might be unready)".to_owned(),
            );
        }
        let measure = Measure::new(self.pods, resource, target)?;
        let first = measure.of(&values)?;
        let pods = self
            .pods
            .iter()
            .map(|pod| pod.name.clone())
            .zip(classes.iter().copied())
            .collect();
        let answer = |replicas: i32, adjusted_ratio: Option<f64>, rule: Rule| PodsResult {
            proposal: Proposal {
                adjusted_ratio,
                pods,
                ..self.proposal(replicas, first.ratio, rule)
            },
            utilization: first.utilization,
            average: first.average,
        };

        let up_with_unready = first.ratio > 1.0 && classes.contains(&PodClass::Unready);
        let has_missing = classes.contains(&PodClass::Missing);
        if !up_with_unready && !has_missing {
            if self.tolerances.allow(first.ratio) {
                return Ok(answer(current, None, Rule::WithinTolerance));
            }
            let ready = of_class(PodClass::Ready).count();
            return Ok(answer(
                to_i32((first.ratio * ready as f64).ceil()),
                None,
                Rule::Ready(ready),
            ));
        }

        // Assume what holds the change back: full use on the way down, none on the way up.
        for name in of_class(PodClass::Missing) {
            if let Some(assumed) = measure.assumed_of_missing(name, first.ratio) {
                values.insert(name, assumed);
            }
        }
        if up_with_unready {
            values.extend(of_class(PodClass::Unready).map(|name| (name, 0)));
        }
        let ratio = measure.of(&values)?.ratio;
        let count = values.len();
        if self.tolerances.allow(ratio) {
            return Ok(answer(current, Some(ratio), Rule::WithinTolerance));
        }
        if (first.ratio < 1.0 && ratio > 1.0) || (first.ratio > 1.0 && ratio < 1.0) {
            return Ok(answer(current, Some(ratio), Rule::AdjustedReverses));
        }
        let replicas = to_i32((ratio * count as f64).ceil());
        if (ratio < 1.0 && replicas > current) || (ratio > 1.0 && replicas < current) {
            return Ok(answer(current, Some(ratio), Rule::AdjustedCountReverses));
        }
        Ok(answer(replicas, Some(ratio), Rule::Adjusted(count)))
    }

    /// A metric of one value with a target for the whole.
    pub(super) fn of_total(
        &self,
        current: i32,
        usage: i64,
        target: i64,
    ) -> Result<TotalResult, String> {
        let ratio = usage as f64 / target as f64;
        let proposal = if current == 0 {
            self.proposal(to_i32(ratio.ceil()), ratio, Rule::FromZero)
        } else if self.tolerances.allow(ratio) {
            self.proposal(current, ratio, Rule::WithinTolerance)
        } else if self.pods.is_empty() {
            return Err("unable to calculate ready pods: no pods returned by selector while calculating replica count"
                .to_owned());
        } else {
            let ready = self
                .pods
                .iter()
                .filter(|pod| pod.is_running_and_ready())
                .count();
            self.proposal(
                to_i32((ratio * ready as f64).ceil()),
                ratio,
                Rule::Ready(ready),
            )
        };
        Ok(TotalResult { proposal, usage })
    }

    /// A metric of one value with a target for each pod; `replicas` are those the target's status has.
    pub(super) fn of_total_per_pod(&self, replicas: i32, usage: i64, target: i64) -> TotalResult {
        let ratio = usage as f64 / (target as f64 * f64::from(replicas));
        let proposal = if self.tolerances.allow(ratio) {
            self.proposal(replicas, ratio, Rule::WithinTolerance)
        } else {
            self.proposal(
                to_i32((usage as f64 / target as f64).ceil()),
                ratio,
                Rule::PerPod,
            )
        };
        TotalResult {
            proposal,
            usage: to_i64((usage as f64 / f64::from(replicas)).ceil()),
        }
    }

    fn classify(
        &self,
        pod: &PodView,
        resource: &str,
        samples: &BTreeMap<String, PodSample>,
    ) -> PodClass {
        if pod.deleted || pod.phase == "Failed" {
            return PodClass::Ignored;
        }
        if pod.phase == "Pending" {
            return PodClass::Unready;
        }
        let Some(sample) = samples.get(&pod.name) else {
            return PodClass::Missing;
        };
        if resource == "cpu" && self.cpu_is_unsettled(pod, sample) {
            return PodClass::Unready;
        }
        PodClass::Ready
    }

    /// True when a CPU sample may be that of a start.
    fn cpu_is_unsettled(&self, pod: &PodView, sample: &PodSample) -> bool {
        let (Some(ready), Some(start)) = (&pod.ready, pod.start_time) else {
            return true;
        };
        let is_unready = ready.status == Tristate::False;
        if after(start, self.constants.cpu_initialization_period) > self.now {
            // The sample must be of a whole window since the pod became ready.
            is_unready || sample.timestamp < after(ready.since, sample.window)
        } else {
            // It counts unless the pod was never ready.
            is_unready && after(start, self.constants.initial_readiness_delay) > ready.since
        }
    }
}

fn after(time: Timestamp, duration: std::time::Duration) -> Timestamp {
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    time.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

/// Compares usage with the target.
enum Measure<'a> {
    Utilization {
        percent: i32,
        requests: BTreeMap<&'a str, i64>,
    },
    Average(i64),
}

struct Measured {
    ratio: f64,
    utilization: Option<i32>,
    average: i64,
}

impl<'a> Measure<'a> {
    fn new(pods: &'a [PodView], resource: &str, target: Target<'_>) -> Result<Self, String> {
        match target {
            Target::Average(average) => Ok(Self::Average(average)),
            Target::Utilization { percent, container } => {
                let request = |pod: &'a PodView| {
                    Ok((pod.name.as_str(), request_of(pod, resource, container)?))
                };
                let requests = pods.iter().map(request).collect::<Result<_, String>>()?;
                Ok(Self::Utilization { percent, requests })
            }
        }
    }

    fn of(&self, values: &Values<'_>) -> Result<Measured, String> {
        match self {
            Self::Utilization { percent, requests } => {
                // Samples of pods the selector does not know are left out.
                let known = || {
                    values
                        .iter()
                        .filter_map(|(name, value)| Some((*value, *requests.get(name)?)))
                };
                let used = known().fold(0_i64, |sum, (value, _)| sum.wrapping_add(value));
                let requested = known().fold(0_i64, |sum, (_, request)| sum.wrapping_add(request));
                if requested == 0 {
                    return Err("no metrics returned matched known pods".to_owned());
                }
                // Cut to a whole percent before it is compared, as Kubernetes does.
                let utilization = used.wrapping_mul(100).wrapping_div(requested) as i32;
                let ratio = f64::from(utilization) / f64::from(*percent);
                let average = used / known().count() as i64;
                Ok(Measured {
                    ratio,
                    utilization: Some(utilization),
                    average,
                })
            }
            Self::Average(target) => {
                let used = values
                    .values()
                    .fold(0_i64, |sum, value| sum.wrapping_add(*value));
                let average = used / values.len() as i64;
                Ok(Measured {
                    ratio: average as f64 / *target as f64,
                    utilization: None,
                    average,
                })
            }
        }
    }

    fn assumed_of_missing(&self, pod: &str, ratio: f64) -> Option<i64> {
        match self {
            Self::Utilization { percent, requests } if ratio < 1.0 => {
                // All of the request, or the target where that is more.
                let request = requests.get(pod).copied().unwrap_or_default();
                Some(request.wrapping_mul(i64::from((*percent).max(100))) / 100)
            }
            Self::Average(target) if ratio < 1.0 => Some(*target),
            Self::Utilization { .. } | Self::Average(_) => (ratio > 1.0).then_some(0),
        }
    }
}

fn request_of(pod: &PodView, resource: &str, container: Option<&str>) -> Result<i64, String> {
    if let (Some(requests), None) = (&pod.pod_requests, container) {
        let by_pod = requests.get(resource).copied();
        // Where the pod level says nothing of this resource, it is what its containers add up to.
        let by_containers = || {
            let given = pod
                .containers
                .iter()
                .filter_map(|container| container.requests.get(resource));
            given.copied().reduce(i64::wrapping_add)
        };
        return by_pod.or_else(by_containers).ok_or_else(|| {
            format!(
                "missing pod-level request for {resource} in Pod {}",
                pod.name
            )
        });
    }
    let of = |found: &ContainerRequests| {
        let missing = || {
            format!(
                "missing request for {resource} in container {} of Pod {}",
                found.name, pod.name
            )
        };
        found.requests.get(resource).copied().ok_or_else(missing)
    };
    match container {
        Some(name) => {
            let found = pod.containers.iter().find(|found| found.name == name);
            of(found.ok_or_else(|| format!("container {name} not found in Pod {}", pod.name))?)
        }
        None => pod
            .containers
            .iter()
            .try_fold(0_i64, |sum, found| Ok(sum.wrapping_add(of(found)?))),
    }
}
