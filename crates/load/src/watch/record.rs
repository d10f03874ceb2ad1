//! From what the API says of an autoscaler, again and again, to its timeline. Pure.

use std::collections::HashMap;

use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus, MetricSpec, MetricStatus, MetricTarget,
    MetricValueStatus,
};
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as WrittenQuantity;
use springtide_machinery::quantity::Quantity;
use tokio::time::Instant;

use super::timeline::{
    AutoscalerReading, AutoscalerTimeline, MetricReading, MetricUnit, ScalingDecision,
};

/// One look at an autoscaler.
#[derive(Clone, Debug)]
pub(super) struct Look {
    pub(super) autoscaler: HorizontalPodAutoscaler,
    /// Ready replicas of what it scales, where that can be read.
    pub(super) ready_replicas: Option<i32>,
    /// Its events; nothing where they cannot be read.
    pub(super) events: Option<Vec<Event>>,
}

/// All that was seen of one autoscaler. Its timeline counts seconds from a moment that is not
/// known before the load begins, so each entry keeps the moment it was seen at.
#[derive(Debug, Default)]
pub(super) struct Record {
    timeline: AutoscalerTimeline,
    read_at: Vec<Instant>,
    decided_at: Vec<Instant>,
    /// How often each event was told already, by its name; nothing until events could be read.
    told: Option<HashMap<String, i32>>,
}

// === impl Record ===

impl Record {
    pub(super) fn new(namespace: &str, name: &str) -> Self {
        Self {
            timeline: AutoscalerTimeline {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                ..AutoscalerTimeline::default()
            },
            ..Self::default()
        }
    }

    /// Takes what was seen at this moment.
    pub(super) fn take(&mut self, at: Instant, look: &Look) {
        let reading = reading(&look.autoscaler, look.ready_replicas);
        self.take_decisions(at, look, &reading);
        let timeline = &mut self.timeline;
        let spec = &look.autoscaler.spec;
        let target = &spec.scale_target_ref;
        timeline.target = format!("{}/{}", target.kind, target.name);
        timeline.min_replicas = spec.min_replicas.unwrap_or(1);
        timeline.max_replicas = spec.max_replicas;
        timeline.readings.push(reading);
        self.read_at.push(at);
    }

    /// Notes what could not be read.
    pub(super) fn take_fault(&mut self, fault: String) {
        if !self.timeline.faults.contains(&fault) {
            self.timeline.faults.push(fault);
        }
    }

    fn take_decisions(&mut self, at: Instant, look: &Look, reading: &AutoscalerReading) {
        let before = self.timeline.readings.last();
        let wanted_before = match (self.timeline.decisions.last(), before) {
            (Some(decision), _) if decision.done => decision.to,
            (_, Some(before)) => before.desired_replicas,
            (_, None) => reading.current_replicas,
        };
        let mut found: Vec<ScalingDecision> = Vec::new();
        if let Some(events) = &look.events {
            // What happened before the first look is not the load's doing.
            let is_first_look = self.told.is_none();
            let told = self.told.get_or_insert_default();
            let mut from = wanted_before;
            for event in events {
                let Some(mut decision) = decision_of(event) else {
                    continue;
                };
                let name = event.metadata.name.clone().unwrap_or_default();
                let times = event.count.unwrap_or(1);
                if told.insert(name, times) == Some(times) || is_first_look {
                    continue;
                }
                decision.from = from;
                if decision.done {
                    from = decision.to;
                }
                found.push(decision);
            }
        } else if self.told.is_none()
            && let Some(before) = before
            && before.desired_replicas != reading.desired_replicas
        {
            found.push(ScalingDecision {
                seconds: 0.0,
                from: before.desired_replicas,
                to: reading.desired_replicas,
                reason: condition(&look.autoscaler, "ScalingActive").unwrap_or_default(),
                done: true,
            });
        }
        self.decided_at.extend(found.iter().map(|_| at));
        self.timeline.decisions.append(&mut found);
    }

    /// What was seen since `started`. The reading before it holds at its beginning.
    pub(super) fn since(&self, started: Instant) -> AutoscalerTimeline {
        let before = self.read_at.iter().filter(|at| **at < started).count();
        let readings = self
            .timeline
            .readings
            .iter()
            .zip(&self.read_at)
            .skip(before.saturating_sub(1))
            .map(|(reading, at)| AutoscalerReading {
                seconds: seconds_between(started, *at),
                ..reading.clone()
            })
            .collect();
        let decisions = self
            .timeline
            .decisions
            .iter()
            .zip(&self.decided_at)
            .filter(|(_, at)| **at >= started)
            .map(|(decision, at)| ScalingDecision {
                seconds: seconds_between(started, *at),
                ..decision.clone()
            })
            .collect();
        AutoscalerTimeline {
            readings,
            decisions,
            ..self.timeline.clone()
        }
    }

    /// Replicas and utilisation as a short text, for example `replicas 4→6  cpu 82%`.
    pub(super) fn line(&self) -> String {
        let Some(reading) = self.timeline.readings.last() else {
            return "replicas <unknown>".to_owned();
        };
        let mut text = format!("replicas {}", reading.current_replicas);
        if reading.desired_replicas != reading.current_replicas {
            text.push_str(&format!("→{}", reading.desired_replicas));
        }
        for metric in &reading.metrics {
            if let Some(current) = metric.current {
                let unit = match metric.unit {
                    MetricUnit::Percent => "%",
                    MetricUnit::Amount => "",
                };
                text.push_str(&format!("  {} {current}{unit}", metric.name));
            }
        }
        text
    }
}

/// Seconds from one moment to another; 0 where the other was before.
fn seconds_between(start: Instant, at: Instant) -> f64 {
    at.saturating_duration_since(start).as_secs_f64()
}

/// What a `SuccessfulRescale` (`New size: 4; reason: …`) or `FailedRescale` says.
fn decision_of(event: &Event) -> Option<ScalingDecision> {
    let done = match event.reason.as_deref()? {
        "SuccessfulRescale" => true,
        "FailedRescale" => false,
        _ => return None,
    };
    let message = event.message.as_deref()?;
    let (size, reason) = message.strip_prefix("New size: ")?.split_once(';')?;
    let reason = reason.trim();
    Some(ScalingDecision {
        seconds: 0.0,
        from: 0,
        to: size.trim().parse().ok()?,
        reason: reason.strip_prefix("reason: ").unwrap_or(reason).to_owned(),
        done,
    })
}

fn reading(autoscaler: &HorizontalPodAutoscaler, ready_replicas: Option<i32>) -> AutoscalerReading {
    let nothing = HorizontalPodAutoscalerStatus::default();
    let status = autoscaler.status.as_ref().unwrap_or(&nothing);
    let specs = autoscaler.spec.metrics.as_deref().unwrap_or_default();
    let statuses = status.current_metrics.as_deref().unwrap_or_default();
    let measured: Vec<Current> = statuses.iter().filter_map(current).collect();
    let metrics = if specs.is_empty() {
        // Without metrics in its spec an autoscaler looks at the processor.
        measured.iter().map(Current::alone).collect()
    } else {
        specs
            .iter()
            .filter_map(target)
            .map(|target| target.with(&measured))
            .collect()
    };
    // Until its first decision an autoscaler says that there are 0 replicas and that it wants 0: what serves holds.
    let has_decided = !status.conditions.as_deref().unwrap_or_default().is_empty();
    let (current_replicas, desired_replicas) = match ready_replicas {
        Some(ready) if !has_decided => (ready, ready),
        _ => (
            status.current_replicas.unwrap_or_default(),
            status.desired_replicas,
        ),
    };
    AutoscalerReading {
        seconds: 0.0,
        current_replicas,
        desired_replicas,
        ready_replicas,
        metrics,
        limited: condition(autoscaler, "ScalingLimited"),
    }
}

/// The message of a condition that holds.
fn condition(autoscaler: &HorizontalPodAutoscaler, kind: &str) -> Option<String> {
    autoscaler
        .status
        .as_ref()?
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == kind && condition.status == "True")?
        .message
        .clone()
}

/// What an autoscaler says it measured.
struct Current<'api> {
    /// `Resource`, `Pods`, …
    kind: &'api str,
    name: &'api str,
    value: &'api MetricValueStatus,
}

/// What an autoscaler compares with.
struct Target<'api> {
    kind: &'api str,
    name: &'api str,
    value: &'api MetricTarget,
}

impl Current<'_> {
    fn number(&self, unit: MetricUnit) -> Option<f64> {
        match unit {
            MetricUnit::Percent => self.value.average_utilization.map(f64::from),
            MetricUnit::Amount => amount(&self.value.average_value, &self.value.value),
        }
    }

    fn alone(&self) -> MetricReading {
        let unit = match self.value.average_utilization {
            Some(_) => MetricUnit::Percent,
            None => MetricUnit::Amount,
        };
        MetricReading {
            name: self.name.to_owned(),
            current: self.number(unit),
            target: None,
            unit,
        }
    }
}

impl Target<'_> {
    fn with(&self, measured: &[Current<'_>]) -> MetricReading {
        let unit = match self.value.average_utilization {
            Some(_) => MetricUnit::Percent,
            None => MetricUnit::Amount,
        };
        MetricReading {
            name: self.name.to_owned(),
            current: measured
                .iter()
                .find(|current| (current.kind, current.name) == (self.kind, self.name))
                .and_then(|current| current.number(unit)),
            target: match unit {
                MetricUnit::Percent => self.value.average_utilization.map(f64::from),
                MetricUnit::Amount => amount(&self.value.average_value, &self.value.value),
            },
            unit,
        }
    }
}

fn amount(average: &Option<WrittenQuantity>, whole: &Option<WrittenQuantity>) -> Option<f64> {
    let written = average.as_ref().or(whole.as_ref())?;
    Some(Quantity::parse(&written.0).ok()?.as_f64())
}

fn current(status: &MetricStatus) -> Option<Current<'_>> {
    let (name, value) = if let Some(resource) = &status.resource {
        (&resource.name, &resource.current)
    } else if let Some(resource) = &status.container_resource {
        (&resource.name, &resource.current)
    } else if let Some(pods) = &status.pods {
        (&pods.metric.name, &pods.current)
    } else if let Some(object) = &status.object {
        (&object.metric.name, &object.current)
    } else {
        let external = status.external.as_ref()?;
        (&external.metric.name, &external.current)
    };
    Some(Current {
        kind: &status.type_,
        name,
        value,
    })
}

fn target(spec: &MetricSpec) -> Option<Target<'_>> {
    let (name, value) = if let Some(resource) = &spec.resource {
        (&resource.name, &resource.target)
    } else if let Some(resource) = &spec.container_resource {
        (&resource.name, &resource.target)
    } else if let Some(pods) = &spec.pods {
        (&pods.metric.name, &pods.target)
    } else if let Some(object) = &spec.object {
        (&object.metric.name, &object.target)
    } else {
        let external = spec.external.as_ref()?;
        (&external.metric.name, &external.target)
    };
    Some(Target {
        kind: &spec.type_,
        name,
        value,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn autoscaler(current: i32, desired: i32, cpu: i32) -> HorizontalPodAutoscaler {
        serde_json::from_value(json!({
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 2, "maxReplicas": 10,
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
                    {"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "50"}}},
                ],
            },
            "status": {"currentReplicas": current, "desiredReplicas": desired, "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": cpu, "averageValue": "164m"}}},
                {"type": "Pods", "pods": {"metric": {"name": "rps"}, "current": {"averageValue": "12500m"}}},
            ], "conditions": [
                {"type": "ScalingActive", "status": "True", "message": "calculated from cpu"},
                {"type": "ScalingLimited", "status": "False", "message": "within the acceptable range"},
            ]},
        }))
        .unwrap()
    }

    fn rescale(name: &str, count: i32, size: i32) -> Event {
        serde_json::from_value(json!({
            "metadata": {"name": name}, "involvedObject": {}, "count": count, "reason": "SuccessfulRescale",
            "message": format!("New size: {size}; reason: cpu above target"),
        }))
        .unwrap()
    }

    fn look(autoscaler: HorizontalPodAutoscaler, events: Option<Vec<Event>>) -> Look {
        Look {
            autoscaler,
            ready_replicas: Some(2),
            events,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn decisions_are_the_events_since_the_first_look() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut record = Record::new("shop", "web");
        let old = rescale("old", 1, 2);
        record.take(start, &look(autoscaler(2, 2, 20), Some(vec![old.clone()])));
        let up = rescale("up", 1, 4);
        record.take(
            at(5),
            &look(autoscaler(2, 4, 140), Some(vec![old.clone(), up.clone()])),
        );
        // The same size for the same reason is the same event, told once more.
        record.take(
            at(9),
            &look(
                autoscaler(4, 4, 90),
                Some(vec![rescale("old", 2, 2), rescale("up", 1, 4)]),
            ),
        );
        let timeline = record.since(at(1));
        assert_eq!(
            (timeline.target.as_str(), timeline.max_replicas),
            ("Deployment/web", 10)
        );
        let decisions: Vec<_> = timeline
            .decisions
            .iter()
            .map(|one| (one.seconds, one.from, one.to, one.reason.as_str()))
            .collect();
        assert_eq!(
            decisions,
            [
                (4.0, 2, 4, "cpu above target"),
                (8.0, 4, 2, "cpu above target")
            ]
        );
        let readings: Vec<_> = timeline
            .readings
            .iter()
            .map(|one| (one.seconds, one.current_replicas, one.desired_replicas))
            .collect();
        assert_eq!(readings, [(0.0, 2, 2), (4.0, 2, 4), (8.0, 4, 4)]);
        assert_eq!(record.since(at(7)).decisions.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn before_its_first_decision_an_autoscaler_wants_what_there_is() {
        let start = Instant::now();
        let mut record = Record::new("shop", "web");
        let mut new = autoscaler(0, 0, 0);
        new.status = Some(HorizontalPodAutoscalerStatus::default());
        record.take(start, &look(new, None));
        let later = start + Duration::from_secs(3);
        record.take(later, &look(autoscaler(2, 2, 20), None));
        let timeline = record.since(start);
        let readings: Vec<_> = timeline
            .readings
            .iter()
            .map(|one| (one.current_replicas, one.desired_replicas))
            .collect();
        assert_eq!(readings, [(2, 2), (2, 2)]);
        assert_eq!(timeline.decisions, []);
    }

    #[tokio::test(start_paused = true)]
    async fn without_events_a_decision_is_a_change_of_what_is_wanted() {
        let start = Instant::now();
        let mut record = Record::new("shop", "web");
        record.take(start, &look(autoscaler(2, 2, 20), None));
        let later = start + Duration::from_secs(3);
        record.take(later, &look(autoscaler(2, 5, 160), None));
        let decision = ScalingDecision {
            seconds: 3.0,
            from: 2,
            to: 5,
            reason: "calculated from cpu".to_owned(),
            done: true,
        };
        assert_eq!(record.since(start).decisions, [decision]);
    }

    #[tokio::test(start_paused = true)]
    async fn metrics_stand_beside_their_targets_and_read_as_one_line() {
        let mut record = Record::new("shop", "web");
        assert_eq!(record.line(), "replicas <unknown>");
        record.take(Instant::now(), &look(autoscaler(4, 6, 82), None));
        assert_eq!(record.line(), "replicas 4→6  cpu 82%  rps 12.5");
        let timeline = record.since(Instant::now());
        let metric = |name: &str, current, target, unit| MetricReading {
            name: name.to_owned(),
            current: Some(current),
            target: Some(target),
            unit,
        };
        assert_eq!(
            timeline.readings[0].metrics,
            [
                metric("cpu", 82.0, 70.0, MetricUnit::Percent),
                metric("rps", 12.5, 50.0, MetricUnit::Amount),
            ]
        );
        assert_eq!(timeline.readings[0].limited, None);
    }

    #[test]
    fn only_what_changes_the_number_of_replicas_is_a_decision() {
        for (reason, message, found) in [
            (
                "SuccessfulRescale",
                "New size: 4; reason: cpu above target",
                Some((4, "cpu above target", true)),
            ),
            (
                "FailedRescale",
                "New size: 4; reason: cpu above target; error: quota",
                Some((4, "cpu above target; error: quota", false)),
            ),
            ("FailedGetResourceMetric", "no metrics", None),
            ("SuccessfulRescale", "New size: many; reason: none", None),
        ] {
            let event = Event {
                reason: Some(reason.to_owned()),
                message: Some(message.to_owned()),
                ..Event::default()
            };
            let decision = decision_of(&event);
            assert_eq!(
                decision
                    .as_ref()
                    .map(|one| (one.to, one.reason.as_str(), one.done)),
                found,
                "{message}"
            );
        }
    }
}
