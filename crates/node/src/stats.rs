//! What containers, pods and the node have used, and its text in Prometheus' format, with the
//! names and times of the kubelet's `/metrics/resource`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::kubelet::Snapshot;
use crate::kubelet::config::{kibibytes, memory_bytes};
use crate::kubelet::runtime::Usage;

/// How many ticks of `/proc/stat` are a second; the same on every Linux this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the node has used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeUsage {
    /// When it was measured.
    pub at: Timestamp,
    /// CPU time since the start of the machine, in seconds.
    pub cpu_seconds: f64,
    /// Memory in use, in bytes.
    pub memory_working_set_bytes: i64,
}

/// The newest measurements.
#[derive(Debug, Default)]
pub struct Stats {
    newest: Mutex<Newest>,
}

#[derive(Debug, Default)]
struct Newest {
    containers: BTreeMap<Name, Usage>,
    node: Option<NodeUsage>,
    failed: bool,
}

/// The newest measurement of one container.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) container: String,
    pub(crate) usage: Usage,
}

/// A container by namespace, pod and its own name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    namespace: String,
    pod: String,
    container: String,
}

impl Name {
    fn labels(&self) -> String {
        format!(
            "container=\"{}\",namespace=\"{}\",pod=\"{}\"",
            self.container, self.namespace, self.pod
        )
    }
}

impl Stats {
    /// Takes note of measurements. Containers that are not among them are forgotten.
    pub fn update(
        &self,
        pods: &[Snapshot],
        usages: Vec<Usage>,
        node: Option<NodeUsage>,
        failed: bool,
    ) {
        let by_uid: BTreeMap<&str, &Snapshot> = pods
            .iter()
            .filter_map(|snapshot| Some((snapshot.pod.metadata.uid.as_deref()?, snapshot)))
            .collect();
        let mut containers = BTreeMap::new();
        for usage in usages {
            let Some(snapshot) = by_uid.get(usage.run.pod.0.as_str()) else {
                continue;
            };
            let metadata = &snapshot.pod.metadata;
            let name = Name {
                namespace: metadata.namespace.clone().unwrap_or_default(),
                pod: metadata.name.clone().unwrap_or_default(),
                container: usage.run.container.clone(),
            };
            containers.insert(name, usage);
        }
        *self.newest.lock() = Newest {
            containers,
            node,
            failed,
        };
    }

    /// The newest measurements of all containers, sorted by namespace, pod and container.
    pub(crate) fn measured(&self) -> Vec<Measured> {
        let newest = self.newest.lock();
        let measured = newest.containers.iter().map(|(name, usage)| Measured {
            namespace: name.namespace.clone(),
            pod: name.pod.clone(),
            container: name.container.clone(),
            usage: usage.clone(),
        });
        measured.collect()
    }

    /// The newest measurement of the node.
    pub(crate) fn node(&self) -> Option<NodeUsage> {
        self.newest.lock().node
    }

    /// The text of `/metrics/resource`.
    #[must_use]
    pub fn text(&self) -> String {
        let newest = self.newest.lock();
        let mut text = Text::default();
        let containers = &newest.containers;
        text.family(
            "container_cpu_usage_seconds_total",
            "Cumulative cpu time consumed by the container in core-seconds",
            "counter",
        );
        for (name, usage) in containers {
            let cpu = usage.cpu.as_secs_f64();
            text.sample(
                "container_cpu_usage_seconds_total",
                &name.labels(),
                cpu,
                usage.at,
            );
        }
        text.family(
            "container_memory_working_set_bytes",
            "Current working set of the container in bytes",
            "gauge",
        );
        for (name, usage) in containers {
            let memory = usage.memory_working_set_bytes as f64;
            text.sample(
                "container_memory_working_set_bytes",
                &name.labels(),
                memory,
                usage.at,
            );
        }
        text.family(
            "container_start_time_seconds",
            "Start time of the container since unix epoch in seconds",
            "gauge",
        );
        for (name, usage) in containers {
            let start = usage.started_at.as_nanosecond() as f64 / 1e9;
            text.sample(
                "container_start_time_seconds",
                &name.labels(),
                start,
                usage.at,
            );
        }
        node_text(&mut text, newest.node);
        pods_text(&mut text, containers);
        let failed = f64::from(u8::from(newest.failed));
        for (name, help) in [
            (
                "resource_scrape_error",
                "1 if there was an error while getting container metrics, 0 otherwise",
            ),
            (
                "scrape_error",
                "1 if there was an error while getting container metrics, 0 otherwise",
            ),
        ] {
            text.family(name, help, "gauge");
            let _ = writeln!(text.0, "{name} {failed}");
        }
        text.0
    }
}

fn node_text(text: &mut Text, node: Option<NodeUsage>) {
    let Some(node) = node else { return };
    text.family(
        "node_cpu_usage_seconds_total",
        "Cumulative cpu time consumed by the node in core-seconds",
        "counter",
    );
    text.sample(
        "node_cpu_usage_seconds_total",
        "",
        node.cpu_seconds,
        node.at,
    );
    text.family(
        "node_memory_working_set_bytes",
        "Current working set of the node in bytes",
        "gauge",
    );
    let memory = node.memory_working_set_bytes as f64;
    text.sample("node_memory_working_set_bytes", "", memory, node.at);
}

/// A pod has used what its containers have.
fn pods_text(text: &mut Text, containers: &BTreeMap<Name, Usage>) {
    let mut pods: BTreeMap<(&str, &str), (f64, f64, Timestamp)> = BTreeMap::new();
    for (name, usage) in containers {
        let pod = pods
            .entry((&name.namespace, &name.pod))
            .or_insert((0.0, 0.0, usage.at));
        pod.0 += usage.cpu.as_secs_f64();
        pod.1 += usage.memory_working_set_bytes as f64;
        pod.2 = pod.2.max(usage.at);
    }
    text.family(
        "pod_cpu_usage_seconds_total",
        "Cumulative cpu time consumed by the pod in core-seconds",
        "counter",
    );
    for ((namespace, pod), (cpu, _, at)) in &pods {
        let labels = format!("namespace=\"{namespace}\",pod=\"{pod}\"");
        text.sample("pod_cpu_usage_seconds_total", &labels, *cpu, *at);
    }
    text.family(
        "pod_memory_working_set_bytes",
        "Current working set of the pod in bytes",
        "gauge",
    );
    for ((namespace, pod), (_, memory, at)) in &pods {
        let labels = format!("namespace=\"{namespace}\",pod=\"{pod}\"");
        text.sample("pod_memory_working_set_bytes", &labels, *memory, *at);
    }
}

/// Text in Prometheus' format. Names of objects need no escaping: they hold no quotes.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.0,
            "# HELP {name} [STABLE] {help}\n# TYPE {name} {kind}"
        );
    }

    fn sample(&mut self, name: &str, labels: &str, value: f64, at: Timestamp) {
        let millis = at.as_millisecond();
        let _ = if labels.is_empty() {
            writeln!(self.0, "{name} {value} {millis}")
        } else {
            writeln!(self.0, "{name}{{{labels}}} {value} {millis}")
        };
    }
}

/// What the node has used, from `/proc`; `None` where it does not tell.
#[must_use]
pub fn measure_node(now: Timestamp) -> Option<NodeUsage> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    Some(NodeUsage {
        at: now,
        cpu_seconds: busy_seconds(&stat)?,
        memory_working_set_bytes: memory_bytes(&meminfo)
            - kibibytes(&meminfo, "MemAvailable:").saturating_mul(1024),
    })
}

/// The seconds in which the cores did something, from the text of `/proc/stat`.
fn busy_seconds(stat: &str) -> Option<f64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .take(8)
        .filter_map(|number| number.parse().ok())
        .collect();
    // Idle, and waiting for a disk, are the fourth and the fifth.
    let idle = ticks.get(3)? + ticks.get(4)?;
    let all: f64 = ticks.iter().sum();
    Some((all - idle) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use k8s_openapi::api::core::v1::PodStatus;
    use serde_json::json;

    use super::*;
    use crate::kubelet::runtime::{ContainerRun, PodUid};

    #[test]
    fn the_text_has_the_names_and_times_that_a_metrics_server_reads() {
        let pod = serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "shop", "uid": "u"}
        }));
        let snapshot = Snapshot {
            pod: Arc::new(pod.expect("a pod")),
            status: PodStatus::default(),
        };
        let at: Timestamp = "2026-01-02T03:04:05.678Z".parse().expect("a time");
        let usage = |pod: &str, container: &str, cpu| Usage {
            run: ContainerRun {
                pod: PodUid(pod.to_owned()),
                container: container.to_owned(),
                attempt: 0,
            },
            at,
            cpu: Duration::from_millis(cpu),
            memory_working_set_bytes: 1 << 20,
            counters: crate::cgroups::Usage::default(),
            started_at: "2026-01-02T03:04:00Z".parse().expect("a time"),
        };
        let stats = Stats::default();
        let node = NodeUsage {
            at,
            cpu_seconds: 12.5,
            memory_working_set_bytes: 7,
        };
        let usages = vec![
            usage("u", "a", 1500),
            usage("u", "b", 250),
            usage("x", "c", 1),
        ];
        stats.update(&[snapshot], usages, Some(node), false);
        let text = stats.text();
        let expected = [
            "# TYPE container_cpu_usage_seconds_total counter",
            "container_cpu_usage_seconds_total{container=\"a\",namespace=\"shop\",pod=\"web-1\"} 1.5 1767323045678",
            "container_cpu_usage_seconds_total{container=\"b\",namespace=\"shop\",pod=\"web-1\"} 0.25 1767323045678",
            "container_memory_working_set_bytes{container=\"a\",namespace=\"shop\",pod=\"web-1\"} 1048576 1767323045678",
            "container_start_time_seconds{container=\"a\",namespace=\"shop\",pod=\"web-1\"} 1767323040 1767323045678",
            "node_cpu_usage_seconds_total 12.5 1767323045678",
            "node_memory_working_set_bytes 7 1767323045678",
            "pod_cpu_usage_seconds_total{namespace=\"shop\",pod=\"web-1\"} 1.75 1767323045678",
            "pod_memory_working_set_bytes{namespace=\"shop\",pod=\"web-1\"} 2097152 1767323045678",
            "scrape_error 0",
        ];
        for line in expected {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("\"c\""));
    }

    #[test]
    fn busy_time_is_all_but_idling() {
        let stat = "cpu  100 20 30 4000 50 6 7 8 0 0\ncpu0 1 2 3\n";
        assert_eq!(busy_seconds(stat), Some(1.71));
        assert_eq!(busy_seconds("intr 5"), None);
    }
}
