//! Threads record, the collector adds up.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use parking_lot::Mutex;

use super::{
    CheckTally, FailureTally, Metric, MetricId, MetricKind, MetricRegistry, ReplicaTally, Sample,
    Tags, Trend,
};

/// What the values of one metric came to.
#[derive(Clone, Debug, PartialEq)]
pub enum Measured {
    /// A sum.
    Counter {
        /// The sum of the values.
        sum: f64,
    },
    /// The last value, and the least and greatest.
    Gauge {
        /// The value measured last.
        last: f64,
        /// The least value.
        min: f64,
        /// The greatest value.
        max: f64,
        /// When the last value was measured.
        at: Timestamp,
    },
    /// How many values were not 0.
    Rate {
        /// Values that are not 0.
        passes: u64,
        /// All values.
        total: u64,
    },
    /// The distribution.
    Trend(Trend),
}

/// What was measured, by metric; metrics without a sample are not in it.
pub type Totals = BTreeMap<MetricId, Measured>;

/// What came since the last time the collector looked.
#[derive(Debug, Default)]
pub struct Interval {
    /// The sums over this interval.
    pub measured: Totals,
    /// Every sample, in the order of each thread, where the collector keeps them.
    pub samples: Vec<Sample>,
    /// Failed requests by kind.
    pub failures: FailureTally,
    /// Requests by the replica that answered, where the collector counts them.
    pub replicas: ReplicaTally,
}

/// Takes the samples of one thread. Its lock is contended only while the collector looks.
#[derive(Clone, Debug)]
pub struct SampleSink {
    state: Arc<Mutex<ThreadSamples>>,
    registry: Arc<MetricRegistry>,
    replica_header: Option<HeaderName>,
}

/// Adds up what all threads measured.
#[derive(Debug)]
pub struct Collector {
    registry: Arc<MetricRegistry>,
    keep_samples: bool,
    replica_header: Option<HeaderName>,
    threads: Mutex<Vec<Arc<Mutex<ThreadSamples>>>>,
    totals: Mutex<Totals>,
    checks: Mutex<CheckTally>,
}

#[derive(Debug)]
struct ThreadSamples {
    /// By metric number.
    measured: Vec<Option<Measured>>,
    /// Sub-metrics of each metric, by metric number, as of `version`.
    parts: Vec<Vec<Arc<Metric>>>,
    version: Option<usize>,
    samples: Option<Vec<Sample>>,
    checks: CheckTally,
    failures: FailureTally,
    replicas: ReplicaTally,
}

// === impl SampleSink ===

impl SampleSink {
    /// Takes one value.
    pub fn add(&self, metric: &Arc<Metric>, value: f64, tags: &Tags, time: Timestamp) {
        self.add_all([(metric, value)], tags, time);
    }

    /// Takes values that share their tags and time.
    pub fn add_all<'metric>(
        &self,
        values: impl IntoIterator<Item = (&'metric Arc<Metric>, f64)>,
        tags: &Tags,
        time: Timestamp,
    ) {
        self.add_all_with(values, tags, None, time);
    }

    /// Takes values that share their tags, metadata and time.
    pub fn add_all_with<'metric>(
        &self,
        values: impl IntoIterator<Item = (&'metric Arc<Metric>, f64)>,
        tags: &Tags,
        metadata: Option<&Tags>,
        time: Timestamp,
    ) {
        let mut state = self.state.lock();
        state.look_again(&self.registry);
        let builtin = self.registry.builtin();
        for (metric, value) in values {
            if metric.id == builtin.checks.id {
                state.checks.count(tags, value != 0.0);
            } else if metric.id == builtin.group_duration.id {
                state.checks.see_group(tags);
            } else if metric.id == builtin.http_req_failed.id && value != 0.0 {
                state.failures.count(tags);
            }
            state.add(metric, value, tags, time);
            if let Some(samples) = &mut state.samples {
                samples.push(Sample {
                    metric: Arc::clone(metric),
                    value,
                    tags: tags.clone(),
                    metadata: metadata.cloned(),
                    time,
                });
            }
        }
    }

    /// Takes note of the replica that answered, where the collector counts them.
    pub fn answered(&self, headers: &HeaderMap) {
        if let Some(header) = &self.replica_header {
            self.state.lock().replicas.count(headers, header);
        }
    }

    /// The header in which answers name the replica, where the collector counts them.
    #[must_use]
    pub fn replica_header(&self) -> Option<&HeaderName> {
        self.replica_header.as_ref()
    }

    /// Takes note of the replica that answered, by its name.
    pub fn answered_by(&self, replica: &str) {
        self.state.lock().replicas.count_one(replica);
    }

    /// The metrics of the run.
    #[must_use]
    pub fn registry(&self) -> &Arc<MetricRegistry> {
        &self.registry
    }
}

impl ThreadSamples {
    fn look_again(&mut self, registry: &MetricRegistry) {
        let version = registry.version();
        if self.version == Some(version) {
            return;
        }
        self.version = Some(version);
        let metrics = registry.all();
        self.measured.resize_with(metrics.len(), || None);
        self.parts = vec![Vec::new(); metrics.len()];
        for metric in metrics {
            if let Some((parent, _)) = &metric.part_of {
                self.parts[*parent].push(Arc::clone(&metric));
            }
        }
    }

    fn add(&mut self, metric: &Arc<Metric>, value: f64, tags: &Tags, time: Timestamp) {
        let Self {
            measured, parts, ..
        } = self;
        add_to(&mut measured[metric.id], metric.kind, value, time);
        for part in &parts[metric.id] {
            if let Some((_, filter)) = &part.part_of
                && filter.matches(tags)
            {
                add_to(&mut measured[part.id], part.kind, value, time);
            }
        }
    }
}

fn add_to(measured: &mut Option<Measured>, kind: MetricKind, value: f64, time: Timestamp) {
    match measured {
        None => {
            let mut first = Measured::beginning(kind, value, time);
            first.add(value, time);
            *measured = Some(first);
        }
        Some(measured) => measured.add(value, time),
    }
}

// === impl Collector ===

impl Collector {
    /// A collector of these metrics. `keep_samples`: an output wants every sample.
    #[must_use]
    pub fn new(registry: Arc<MetricRegistry>, keep_samples: bool) -> Self {
        Self {
            registry,
            keep_samples,
            replica_header: None,
            threads: Mutex::default(),
            totals: Mutex::default(),
            checks: Mutex::default(),
        }
    }

    /// Counts requests by the replica that answered, which answers name in this header.
    #[must_use]
    pub fn counting_replicas(mut self, header: HeaderName) -> Self {
        self.replica_header = Some(header);
        self
    }

    /// A sink for one more thread.
    #[must_use]
    pub fn sink(&self) -> SampleSink {
        let state = Arc::new(Mutex::new(ThreadSamples {
            measured: Vec::new(),
            parts: Vec::new(),
            version: None,
            samples: self.keep_samples.then(Vec::new),
            checks: CheckTally::default(),
            failures: FailureTally::default(),
            replicas: ReplicaTally::default(),
        }));
        self.threads.lock().push(Arc::clone(&state));
        SampleSink {
            state,
            registry: Arc::clone(&self.registry),
            replica_header: self.replica_header.clone(),
        }
    }

    /// Takes what came since the last call, and adds it to the totals.
    pub fn collect(&self) -> Interval {
        let mut interval = Interval::default();
        for thread in self.threads.lock().iter() {
            let (measured, samples) = {
                let mut thread = thread.lock();
                let fresh = vec![None; thread.measured.len()];
                self.checks
                    .lock()
                    .merge(&std::mem::take(&mut thread.checks));
                interval
                    .failures
                    .merge(&std::mem::take(&mut thread.failures));
                interval
                    .replicas
                    .merge(&std::mem::take(&mut thread.replicas));
                (
                    std::mem::replace(&mut thread.measured, fresh),
                    thread.samples.as_mut().map(std::mem::take),
                )
            };
            for (id, measured) in measured.into_iter().enumerate() {
                if let Some(measured) = measured {
                    merge_into(&mut interval.measured, id, &measured);
                }
            }
            interval.samples.extend(samples.into_iter().flatten());
        }
        let mut totals = self.totals.lock();
        for (id, measured) in &interval.measured {
            merge_into(&mut totals, *id, measured);
        }
        interval
    }

    /// Sums over everything that was collected so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals.lock().clone()
    }

    /// Groups and checks of everything that was collected so far.
    #[must_use]
    pub fn checks(&self) -> CheckTally {
        self.checks.lock().clone()
    }

    /// The metrics of the run.
    #[must_use]
    pub fn registry(&self) -> &Arc<MetricRegistry> {
        &self.registry
    }
}

fn merge_into(totals: &mut Totals, id: MetricId, measured: &Measured) {
    match totals.get_mut(&id) {
        Some(total) => total.merge(measured),
        None => {
            totals.insert(id, measured.clone());
        }
    }
}

// === impl Measured ===

impl Measured {
    /// What a metric of this kind is before anything was measured.
    #[must_use]
    pub fn nothing(kind: MetricKind) -> Self {
        Self::beginning(kind, 0.0, Timestamp::UNIX_EPOCH)
    }

    /// What it is before its first value, which is still to be added.
    pub(crate) fn beginning(kind: MetricKind, first: f64, time: Timestamp) -> Self {
        match kind {
            MetricKind::Counter => Self::Counter { sum: 0.0 },
            MetricKind::Gauge => Self::Gauge {
                last: first,
                min: first,
                max: first,
                at: time,
            },
            MetricKind::Rate => Self::Rate {
                passes: 0,
                total: 0,
            },
            MetricKind::Trend => Self::Trend(Trend::default()),
        }
    }

    pub(crate) fn add(&mut self, value: f64, time: Timestamp) {
        match self {
            Self::Counter { sum } => *sum += value,
            Self::Gauge { last, min, max, at } => {
                *last = value;
                *min = min.min(value);
                *max = max.max(value);
                *at = time;
            }
            Self::Rate { passes, total } => {
                *passes += u64::from(value != 0.0);
                *total += 1;
            }
            Self::Trend(trend) => trend.record(value),
        }
    }

    /// Adds what was measured elsewhere or later. Kinds that differ do not add up.
    pub fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Counter { sum }, Self::Counter { sum: more }) => *sum += more,
            (
                Self::Gauge { last, min, max, at },
                Self::Gauge {
                    last: other_last,
                    min: other_min,
                    max: other_max,
                    at: other_at,
                },
            ) => {
                if other_at >= at {
                    *last = *other_last;
                    *at = *other_at;
                }
                *min = min.min(*other_min);
                *max = max.max(*other_max);
            }
            (
                Self::Rate { passes, total },
                Self::Rate {
                    passes: more_passes,
                    total: more,
                },
            ) => {
                *passes += more_passes;
                *total += more;
            }
            (Self::Trend(trend), Self::Trend(more)) => trend.merge(more),
            (mine, theirs) => debug_assert!(false, "{mine:?} and {theirs:?} are of one metric"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_add_up_to_intervals_and_intervals_to_totals() {
        let registry = Arc::new(MetricRegistry::default());
        let part = registry
            .metric_or_part("http_req_duration{status:200}")
            .unwrap();
        let collector = Collector::new(Arc::clone(&registry), true);
        let (one, two) = (collector.sink(), collector.sink());
        let metrics = registry.builtin();
        let good: Tags = [("status", "200")].into_iter().collect();
        let bad: Tags = [("status", "500")].into_iter().collect();
        let time = Timestamp::UNIX_EPOCH;
        one.add(&metrics.http_req_duration, 10.0, &good, time);
        two.add(&metrics.http_req_duration, 30.0, &bad, time);
        one.add(&metrics.checks, 1.0, &good, time);
        two.add(&metrics.checks, 0.0, &good, time);
        let interval = collector.collect();
        assert_eq!(interval.samples.len(), 4);
        let Measured::Trend(all) = &interval.measured[&metrics.http_req_duration.id] else {
            panic!("a trend");
        };
        assert_eq!((all.count(), all.max()), (2, 30.0));
        let Measured::Trend(good_ones) = &interval.measured[&part.id] else {
            panic!("a trend");
        };
        assert_eq!((good_ones.count(), good_ones.max()), (1, 10.0));
        assert_eq!(
            interval.measured[&metrics.checks.id],
            Measured::Rate {
                passes: 1,
                total: 2
            }
        );
        one.add(&metrics.http_reqs, 1.0, &good, time);
        let second = collector.collect();
        assert!(!second.measured.contains_key(&metrics.checks.id));
        one.add(&metrics.http_reqs, 1.0, &good, time);
        collector.collect();
        assert_eq!(
            collector.totals()[&metrics.http_reqs.id],
            Measured::Counter { sum: 2.0 }
        );
    }

    #[test]
    fn a_metric_made_later_is_known_to_every_thread() {
        let registry = Arc::new(MetricRegistry::default());
        let collector = Collector::new(Arc::clone(&registry), false);
        let sink = collector.sink();
        let time = Timestamp::UNIX_EPOCH;
        sink.add(&registry.builtin().vus, 1.0, &Tags::default(), time);
        let mine = registry
            .register("mine", MetricKind::Gauge, super::super::ValueKind::Default)
            .unwrap();
        sink.add(&mine, 5.0, &Tags::default(), time);
        sink.add(&mine, 3.0, &Tags::default(), time);
        assert_eq!(
            collector.collect().measured[&mine.id],
            Measured::Gauge {
                last: 3.0,
                min: 3.0,
                max: 5.0,
                at: time
            }
        );
    }
}
