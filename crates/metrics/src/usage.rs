//! What is known of every node and pod.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::RwLock;

use crate::exposition::lines::{Sample, samples};
use crate::series::{Counter, Rate};

/// A node whose scrapes fail is forgotten after this long: old numbers are worse than none.
const STALE_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// Usage of all nodes and pods, fed by scrapes. Clones share it.
#[derive(Debug, Clone)]
pub struct Usage {
    window: Duration,
    nodes: Arc<RwLock<BTreeMap<String, Node>>>,
}

/// What a node uses.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeUsage {
    /// Billionths of a core.
    pub cpu_nanos: u64,
    /// Bytes of the working set.
    pub memory_bytes: u64,
    /// The end of the time the CPU was measured over.
    pub at: Timestamp,
    /// The length of that time.
    pub window: Duration,
}

/// What the containers of a pod use.
#[derive(Debug, Clone, PartialEq)]
pub struct PodUsage {
    /// Sorted by name.
    pub containers: Vec<ContainerUsage>,
    /// The end of the time the CPU was measured over; the earliest of its containers'.
    pub at: Timestamp,
    /// The length of that time.
    pub window: Duration,
}

/// What a container uses.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerUsage {
    /// The container's name.
    pub name: String,
    /// Billionths of a core.
    pub cpu_nanos: u64,
    /// Bytes of the working set.
    pub memory_bytes: u64,
}

/// What one node's kubelet has told.
#[derive(Debug, Default)]
struct Node {
    scraped: Option<Timestamp>,
    own: Meter,
    /// Namespace and pod name to container name.
    pods: BTreeMap<(String, String), BTreeMap<String, Meter>>,
}

#[derive(Debug, Default)]
struct Meter {
    cpu: Counter,
    memory: Option<f64>,
    started: Option<f64>,
}

// === impl Usage ===

impl Usage {
    /// Knows nothing yet; rates will be over `window`.
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            nodes: Arc::default(),
        }
    }

    /// Takes up what a node's `/metrics/resource` said at `now`. Pods it does not tell of are gone.
    pub fn take(&self, node: &str, text: &str, now: Timestamp) {
        let mut nodes = self.nodes.write();
        let node = nodes.entry(node.to_owned()).or_default();
        node.scraped = Some(now);
        let mut seen: BTreeSet<(String, String, String)> = BTreeSet::new();
        for sample in samples(text).filter(|sample| sample.value.is_finite()) {
            if let Some((namespace, pod, container)) = node.take(&sample, self.window, now) {
                seen.insert((namespace, pod, container));
            }
        }
        for ((namespace, pod), containers) in &mut node.pods {
            containers
                .retain(|name, _| seen.contains(&(namespace.clone(), pod.clone(), name.clone())));
        }
        node.pods.retain(|_, containers| !containers.is_empty());
    }

    /// Forgets nodes that are not in `known`, and those that have not been scraped for a minute.
    pub fn forget_others(&self, known: &BTreeSet<String>, now: Timestamp) {
        let is_fresh = |node: &Node| {
            node.scraped
                .is_some_and(|at| now.duration_since(at) < STALE_AFTER)
        };
        self.nodes
            .write()
            .retain(|name, node| known.contains(name) && is_fresh(node));
    }

    /// What a node uses, once it was scraped twice.
    pub fn node(&self, name: &str) -> Option<NodeUsage> {
        let nodes = self.nodes.read();
        let (rate, memory_bytes) = nodes.get(name)?.own.read()?;
        Some(NodeUsage {
            cpu_nanos: nanos(rate),
            memory_bytes,
            at: rate.at,
            window: rate.window,
        })
    }

    /// What a pod uses, once each of its containers was measured twice.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<PodUsage> {
        let key = (namespace.to_owned(), name.to_owned());
        let nodes = self.nodes.read();
        let meters = nodes.values().find_map(|node| node.pods.get(&key))?;
        let read = |(name, meter): (&String, &Meter)| Some((name.clone(), meter.read()?));
        let found = meters.iter().map(read).collect::<Option<Vec<_>>>()?;
        let (_, (earliest, _)) = found.iter().min_by_key(|(_, (rate, _))| rate.at)?;
        let (at, window) = (earliest.at, earliest.window);
        let usage = |(name, (rate, memory_bytes)): (String, (Rate, u64))| ContainerUsage {
            name,
            cpu_nanos: nanos(rate),
            memory_bytes,
        };
        Some(PodUsage {
            containers: found.into_iter().map(usage).collect(),
            at,
            window,
        })
    }
}

fn nanos(rate: Rate) -> u64 {
    (rate.per_second * 1e9).round() as u64
}

// === impl Node ===

impl Node {
    /// Takes up one sample; tells the container if it is of one.
    fn take(
        &mut self,
        sample: &Sample<'_>,
        window: Duration,
        now: Timestamp,
    ) -> Option<(String, String, String)> {
        let at = sample.at.unwrap_or(now);
        let key = match sample.labels.get("container") {
            Some(container) => Some((
                sample.labels.get("namespace")?,
                sample.labels.get("pod")?,
                container,
            )),
            None => None,
        };
        let meter = match (sample.name, key) {
            (
                "container_cpu_usage_seconds_total"
                | "container_memory_working_set_bytes"
                | "container_start_time_seconds",
                Some((namespace, pod, container)),
            ) => {
                let pod = self
                    .pods
                    .entry((namespace.clone(), pod.clone()))
                    .or_default();
                pod.entry(container.clone()).or_default()
            }
            ("node_cpu_usage_seconds_total" | "node_memory_working_set_bytes", None) => {
                &mut self.own
            }
            _ => return None,
        };
        if sample.name.ends_with("_cpu_usage_seconds_total") {
            meter.cpu.add(at, sample.value, window);
        } else if sample.name.ends_with("_memory_working_set_bytes") {
            meter.memory = Some(sample.value);
        } else if meter
            .started
            .replace(sample.value)
            .is_some_and(|before| before != sample.value)
        {
            meter.cpu.restart();
        }
        key.map(|(namespace, pod, container)| (namespace.clone(), pod.clone(), container.clone()))
    }
}

// === impl Meter ===

impl Meter {
    fn read(&self) -> Option<(Rate, u64)> {
        Some((self.cpu.rate()?, self.memory?.max(0.0) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    fn container(pod: &str, name: &str, seconds: i64, cpu: f64) -> String {
        let labels = format!("{{container=\"{name}\",namespace=\"shop\",pod=\"{pod}\"}}");
        let milliseconds = seconds * 1000;
        format!(
            "container_cpu_usage_seconds_total{labels} {cpu} {milliseconds}\n\
             container_memory_working_set_bytes{labels} 1048576 {milliseconds}\n"
        )
    }

    #[test]
    fn a_pod_is_known_when_all_its_containers_were_measured_twice() {
        let usage = Usage::new(Duration::from_secs(5));
        usage.take("n", &container("web", "app", 0, 1.0), at(0));
        assert_eq!(usage.pod("shop", "web"), None);
        let both = container("web", "app", 1, 1.25) + &container("web", "side", 1, 0.0);
        usage.take("n", &both, at(1));
        assert_eq!(
            usage.pod("shop", "web"),
            None,
            "the sidecar was measured once"
        );
        let both = container("web", "app", 2, 1.5) + &container("web", "side", 2, 0.125);
        usage.take("n", &both, at(2));
        let found = usage.pod("shop", "web").unwrap();
        let cpu: Vec<(&str, u64)> = found
            .containers
            .iter()
            .map(|container| (container.name.as_str(), container.cpu_nanos))
            .collect();
        assert_eq!(cpu, [("app", 250_000_000), ("side", 125_000_000)]);
        assert_eq!(found.containers[0].memory_bytes, 1 << 20);
        assert_eq!(found.at, at(2));
    }

    #[test]
    fn what_a_scrape_does_not_tell_of_is_gone() {
        let usage = Usage::new(Duration::from_secs(5));
        for second in 0..2 {
            let all = container("a", "app", second, 0.0) + &container("b", "app", second, 0.0);
            usage.take("n", &all, at(second));
        }
        assert!(usage.pod("shop", "b").is_some());
        usage.take("n", &container("a", "app", 2, 0.0), at(2));
        assert!(usage.pod("shop", "a").is_some());
        assert!(usage.pod("shop", "b").is_none());
    }

    #[test]
    fn a_container_that_started_again_is_measured_anew() {
        let usage = Usage::new(Duration::from_secs(5));
        let start = |time: f64| {
            format!(
                "container_start_time_seconds{{container=\"app\",namespace=\"shop\",pod=\"web\"}} {time}\n"
            )
        };
        usage.take("n", &(start(1.0) + &container("web", "app", 0, 0.1)), at(0));
        usage.take("n", &(start(1.0) + &container("web", "app", 1, 0.2)), at(1));
        assert!(usage.pod("shop", "web").is_some());
        usage.take("n", &(start(9.0) + &container("web", "app", 2, 0.3)), at(2));
        assert!(usage.pod("shop", "web").is_none());
    }

    #[test]
    fn a_silent_node_is_forgotten() {
        let usage = Usage::new(Duration::from_secs(5));
        let node = |second: i64| {
            format!(
                "node_cpu_usage_seconds_total {second} {}\nnode_memory_working_set_bytes 7\n",
                second * 1000
            )
        };
        usage.take("n", &node(0), at(0));
        usage.take("n", &node(1), at(1));
        assert_eq!(
            usage.node("n").map(|node| node.cpu_nanos),
            Some(1_000_000_000)
        );
        let known = BTreeSet::from(["n".to_owned()]);
        usage.forget_others(&known, at(30));
        assert!(usage.node("n").is_some());
        usage.forget_others(&known, at(61));
        assert!(usage.node("n").is_none());
    }
}
