//! The decision, tried on small cases and on laws.

mod cases;
mod laws;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerSpec,
};
use serde_json::{Value, json};

use super::*;

/// A workload under an autoscaler, tick by tick.
pub(super) struct Bench {
    pub(super) spec: HorizontalPodAutoscalerSpec,
    pub(super) constants: Constants,
    pub(super) history: History,
    pub(super) conditions: Vec<HorizontalPodAutoscalerCondition>,
    pub(super) now: Timestamp,
    pub(super) replicas: i32,
    pub(super) status_replicas: Option<i32>,
    pub(super) pods: Vec<PodView>,
    pub(super) readings: Vec<Result<Reading, String>>,
}

/// What a tick came to.
pub(super) struct Ticked {
    pub(super) outcome: Outcome,
    pub(super) explanation: Explanation,
}

impl Bench {
    /// Minimum 2, maximum 10, these metrics and this behavior, two pods that run.
    pub(super) fn new(metrics: &Value, behavior: Value) -> Self {
        let mut spec = json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 2,
            "maxReplicas": 10,
            "metrics": metrics,
        });
        if !behavior.is_null() {
            spec["behavior"] = behavior;
        }
        let mut bench = Self {
            spec: serde_json::from_value(spec).unwrap(),
            constants: Constants::default(),
            history: History::default(),
            conditions: Vec::new(),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            replicas: 0,
            status_replicas: None,
            pods: Vec::new(),
            readings: Vec::new(),
        };
        bench.scale(2);
        bench
    }

    /// CPU at 70 %, requests 200m.
    pub(super) fn cpu(behavior: Value) -> Self {
        Self::new(&json!([cpu_target(70)]), behavior)
    }

    /// Makes it this many replicas, all ready for long.
    pub(super) fn scale(&mut self, replicas: i32) {
        self.replicas = replicas;
        self.pods = (0..replicas)
            .map(|number| pod(&format!("web-{number:02}"), self.now))
            .collect();
    }

    /// Each pod uses this many millicores.
    pub(super) fn use_cpu(&mut self, milli: i64) {
        let samples = self
            .pods
            .iter()
            .map(|pod| (pod.name.clone(), self.sample(milli)));
        self.readings = vec![Ok(Reading::Pods(samples.collect()))];
    }

    pub(super) fn sample(&self, value: i64) -> PodSample {
        PodSample {
            value,
            timestamp: self.now,
            window: Duration::from_secs(5),
        }
    }

    /// Decides without moving the time; the scale takes what was decided.
    pub(super) fn tick(&mut self) -> Ticked {
        self.tick_with(Ok(()))
    }

    pub(super) fn tick_with(&mut self, written: Result<(), String>) -> Ticked {
        self.tick_selected(written, None)
    }

    pub(super) fn tick_selected(
        &mut self,
        written: Result<(), String>,
        problem: Option<SelectorProblem>,
    ) -> Ticked {
        let observed = Observed {
            namespace: "shop",
            spec: &self.spec,
            conditions: &self.conditions,
            spec_replicas: self.replicas,
            status_replicas: self.status_replicas.unwrap_or(self.replicas),
            pods: problem.map_or(Ok(&self.pods), Err),
            readings: &self.readings,
            now: self.now,
            constants: &self.constants,
        };
        let decision = decide(&observed, &mut self.history);
        let explanation = decision.explanation.clone();
        let outcome = decision.finish(written, &mut self.history);
        self.conditions.clone_from(&outcome.conditions);
        Ticked {
            outcome,
            explanation,
        }
    }

    pub(super) fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    pub(super) fn condition(&self, kind: &str) -> &HorizontalPodAutoscalerCondition {
        self.conditions
            .iter()
            .find(|condition| condition.type_ == kind)
            .expect("the condition is there")
    }

    pub(super) fn reason(&self, kind: &str) -> &str {
        self.condition(kind).reason.as_deref().unwrap_or_default()
    }
}

impl Ticked {
    pub(super) fn desired(&self) -> i32 {
        self.explanation.desired_replicas
    }

    pub(super) fn rule(&self) -> Rule {
        self.explanation.metrics[0]
            .proposal
            .as_ref()
            .expect("the metric is valid")
            .rule
    }

    pub(super) fn events(&self) -> Vec<&str> {
        self.outcome
            .events
            .iter()
            .map(|event| event.message.as_str())
            .collect()
    }
}

pub(super) fn cpu_target(percent: i32) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}})
}

/// A pod that requests 200m and has been ready for an hour.
pub(super) fn pod(name: &str, now: Timestamp) -> PodView {
    let long_ago = now - SignedDuration::from_secs(3600);
    PodView {
        name: name.to_owned(),
        phase: "Running".to_owned(),
        deleted: false,
        start_time: Some(long_ago),
        ready: Some(ReadyCondition {
            status: Tristate::True,
            since: long_ago,
        }),
        containers: vec![ContainerRequests {
            name: "app".to_owned(),
            requests: BTreeMap::from([("cpu".to_owned(), 200)]),
        }],
        pod_requests: None,
    }
}
