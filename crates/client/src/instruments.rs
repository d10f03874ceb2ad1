//! What the components of this process count of themselves.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::Mutex;
use springtide_machinery::instruments::{Counter, Gauge, Histogram, Registry, Vector};

/// Upper bounds of durations in seconds: from what a look at an unchanged object takes to what is too long.
const SECONDS: &[f64] = &[0.0001, 0.001, 0.01, 0.1, 1.0, 10.0];

/// The registry of a component of this process, such as `kube-scheduler`. There is one for each name.
#[must_use]
pub fn instruments(component: &'static str) -> Registry {
    static REGISTRIES: OnceLock<Mutex<BTreeMap<&'static str, Registry>>> = OnceLock::new();
    let registries = REGISTRIES.get_or_init(Mutex::default);
    registries.lock().entry(component).or_default().clone()
}

/// What a queue counts, with the names that Kubernetes' controllers have.
#[derive(Clone)]
pub(crate) struct QueueCounters {
    pub(crate) adds: Counter,
    pub(crate) depth: Gauge,
    pub(crate) retries: Counter,
    waited: Histogram,
    worked: Histogram,
}

struct Families {
    adds: Vector<Counter, 1>,
    depth: Vector<Gauge, 1>,
    retries: Vector<Counter, 1>,
    waited: Vector<Histogram, 1>,
    worked: Vector<Histogram, 1>,
}

impl QueueCounters {
    /// The counters of the queues of one name in this process.
    pub(crate) fn named(name: &str) -> Self {
        static FAMILIES: OnceLock<Families> = OnceLock::new();
        let families = FAMILIES.get_or_init(|| {
            let registry = instruments("kube-controller-manager");
            Families {
                adds: registry.counters("workqueue_adds_total", "[ALPHA] Total number of adds handled by workqueue", ["name"]),
                depth: registry.gauges("workqueue_depth", "[ALPHA] Current depth of workqueue", ["name"]),
                retries: registry.counters("workqueue_retries_total", "[ALPHA] Total number of retries handled by workqueue", ["name"]),
                waited: registry.histograms(
                    "workqueue_queue_duration_seconds",
                    "[ALPHA] How long in seconds an item stays in workqueue before being requested.",
                    SECONDS,
                    ["name"],
                ),
                worked: registry.histograms(
                    "workqueue_work_duration_seconds",
                    "[ALPHA] How long in seconds processing an item from workqueue takes.",
                    SECONDS,
                    ["name"],
                ),
            }
        });
        Self {
            adds: families.adds.with([name]),
            depth: families.depth.with([name]),
            retries: families.retries.with([name]),
            waited: families.waited.with([name]),
            worked: families.worked.with([name]),
        }
    }

    pub(crate) fn waited(&self, time: Duration) {
        self.waited.observe(time.as_secs_f64());
    }

    pub(crate) fn worked(&self, time: Duration) {
        self.worked.observe(time.as_secs_f64());
    }
}
