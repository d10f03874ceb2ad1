//! What simulated pods use.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

/// A pod that runs, as a load model sees it.
#[derive(Clone, Copy, Debug)]
pub struct Running<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Ready pods of the same controller, this one included if it is ready: those that share
    /// the load.
    pub peers: usize,
    /// Since the node was started.
    pub elapsed: Duration,
}

/// What a pod uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Use {
    /// Cores.
    pub cpu: f64,
    /// Bytes of working set.
    pub memory: f64,
}

/// A load model.
pub trait Load: Send + Sync {
    /// What a pod uses at this moment.
    fn of(&self, running: &Running<'_>) -> Use;
}

impl<F: Fn(&Running<'_>) -> Use + Send + Sync> Load for F {
    fn of(&self, running: &Running<'_>) -> Use {
        self(running)
    }
}

/// CPU seconds of pods, counted from what they used when last looked at.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// By pod uid.
    pods: BTreeMap<String, Count>,
}

#[derive(Debug)]
struct Count {
    namespace: String,
    pod: String,
    containers: Vec<String>,
    cpu_seconds: f64,
    last: Use,
    at: Timestamp,
}

impl Meter {
    /// Counts until `now`, and takes in what each running pod uses from now on.
    pub(crate) fn advance(&mut self, running: &[(&Pod, Use)], now: Timestamp) {
        for count in self.pods.values_mut() {
            let elapsed = now.duration_since(count.at).as_secs_f64().max(0.0);
            count.cpu_seconds += count.last.cpu * elapsed;
            count.at = now;
        }
        let mut still = BTreeMap::new();
        for (pod, used) in running {
            let uid = pod.uid().unwrap_or_default();
            let mut count = self
                .pods
                .remove(&uid)
                .unwrap_or_else(|| Count::new(pod, now));
            count.last = *used;
            still.insert(uid, count);
        }
        self.pods = still;
    }

    /// What is measured, in the text form of a kubelet's `/metrics/resource`.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let (mut cpu, mut memory, mut at) = (0.0, 0.0, None);
        for count in self.pods.values() {
            let milliseconds = count.at.as_millisecond();
            #[allow(clippy::cast_precision_loss)] // A pod has few containers.
            let parts = count.containers.len().max(1) as f64;
            for container in &count.containers {
                let labels = format!(
                    "{{container=\"{container}\",namespace=\"{}\",pod=\"{}\"}}",
                    count.namespace, count.pod
                );
                let (cpu, memory) = (count.cpu_seconds / parts, count.last.memory / parts);
                // Writing into a String does not fail.
                let _ = writeln!(
                    text,
                    "container_cpu_usage_seconds_total{labels} {cpu} {milliseconds}"
                );
                let _ = writeln!(
                    text,
                    "container_memory_working_set_bytes{labels} {memory} {milliseconds}"
                );
            }
            cpu += count.cpu_seconds;
            memory += count.last.memory;
            at = Some(milliseconds);
        }
        if let Some(milliseconds) = at {
            let _ = writeln!(text, "node_cpu_usage_seconds_total {cpu} {milliseconds}");
            let _ = writeln!(
                text,
                "node_memory_working_set_bytes {memory} {milliseconds}"
            );
        }
        text
    }
}

impl Count {
    fn new(pod: &Pod, now: Timestamp) -> Self {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        Self {
            namespace: pod.namespace().unwrap_or_default(),
            pod: pod.name_any(),
            containers: containers.map(|container| container.name.clone()).collect(),
            cpu_seconds: 0.0,
            last: Use::default(),
            at: now,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cpu_seconds_add_up_and_pods_that_are_gone_are_told_no_more() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u"},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
        }))
        .expect("a valid pod");
        let at = |second| Timestamp::from_second(second).expect("a time in range");
        let mut meter = Meter::default();
        meter.advance(
            &[(
                &pod,
                Use {
                    cpu: 0.5,
                    memory: 100.0,
                },
            )],
            at(10),
        );
        meter.advance(
            &[(
                &pod,
                Use {
                    cpu: 2.0,
                    memory: 200.0,
                },
            )],
            at(14),
        );
        meter.advance(&[(&pod, Use::default())], at(15));
        let text = meter.text();
        assert!(text.contains("container_cpu_usage_seconds_total{container=\"a\",namespace=\"shop\",pod=\"web\"} 2 15000"), "{text}");
        meter.advance(&[], at(16));
        assert_eq!(meter.text(), "");
    }
}
