//! The metrics that a run has: k6's own, those a script makes, and sub-metrics of thresholds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use super::TagFilter;
use crate::http::Timings;

/// How values of a metric add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// A sum.
    Counter,
    /// The last value, with the least and the greatest.
    Gauge,
    /// The part of values that are not 0.
    Rate,
    /// A distribution.
    Trend,
}

/// What the values are, which decides how they are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// Numbers.
    #[default]
    Default,
    /// Milliseconds.
    Time,
    /// Bytes.
    Data,
}

/// The number of a metric in its registry, counted from 0.
pub type MetricId = usize;

/// A metric, or a sub-metric: those samples of a metric that have certain tags.
#[derive(Debug)]
pub struct Metric {
    /// Its number in the registry.
    pub id: MetricId,
    /// `http_req_duration`, or `http_req_duration{status:200}` for a sub-metric.
    pub name: Arc<str>,
    /// How values add up.
    pub kind: MetricKind,
    /// What values are.
    pub contains: ValueKind,
    /// For a sub-metric: the metric it is a part of, and the tags it wants.
    pub part_of: Option<(MetricId, TagFilter)>,
}

/// All metrics of a run. Shared by all threads.
#[derive(Debug)]
pub struct MetricRegistry {
    metrics: RwLock<Registered>,
    /// Counts changes, so that threads know when to look again.
    version: AtomicUsize,
    builtin: BuiltinMetrics,
}

#[derive(Debug, Default)]
struct Registered {
    by_id: Vec<Arc<Metric>>,
    by_name: BTreeMap<Arc<str>, MetricId>,
}

/// Why a metric cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// k6's rule for names.
    #[error(
        "Invalid metric name: '{0}'. Metric names must only include up to 128 ASCII letters, numbers, or underscores and start with a letter or an underscore."
    )]
    Name(String),
    /// Two uses of a name that do not agree.
    #[error("metric {name:?} already exists but with type {existing:?}, not {wanted:?}")]
    Kind {
        /// The name.
        name: String,
        /// What it is already.
        existing: MetricKind,
        /// What it was to be.
        wanted: MetricKind,
    },
    /// A sub-metric of a metric that is not there.
    #[error("there is no metric {0:?}")]
    Unknown(String),
    /// A sub-metric whose tags cannot be read.
    #[error("sub-metric {name:?}: {reason}")]
    Filter {
        /// The sub-metric as written.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

macro_rules! builtin_metrics {
    ($($(#[$doc:meta])* $name:ident: $kind:ident $contains:ident),* $(,)?) => {
        /// The metrics that every run has, under k6's names.
        #[derive(Clone, Debug)]
        pub struct BuiltinMetrics {
            $($(#[$doc])* pub $name: Arc<Metric>,)*
        }

        impl BuiltinMetrics {
            fn register(registered: &mut Registered) -> Self {
                Self {
                    $($name: registered.add(stringify!($name), MetricKind::$kind, ValueKind::$contains, None),)*
                }
            }
        }
    };
}

/// A time as metrics of [`ValueKind::Time`] have it.
#[must_use]
pub fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

builtin_metrics! {
    /// Virtual users that are active.
    vus: Gauge Default,
    /// Virtual users that exist.
    vus_max: Gauge Default,
    /// Iterations that were finished.
    iterations: Counter Default,
    /// How long a finished iteration took.
    iteration_duration: Trend Time,
    /// Iterations of an arrival rate for which no virtual user was free.
    dropped_iterations: Counter Default,
    /// The part of checks that passed.
    checks: Rate Default,
    /// How long a group took.
    group_duration: Trend Time,
    /// HTTP requests that were sent.
    http_reqs: Counter Default,
    /// The part of them whose answer was not expected.
    http_req_failed: Rate Default,
    /// Sending, waiting and receiving together.
    http_req_duration: Trend Time,
    /// Waiting for a free connection.
    http_req_blocked: Trend Time,
    /// Making the TCP connection.
    http_req_connecting: Trend Time,
    /// TLS handshake.
    http_req_tls_handshaking: Trend Time,
    /// Sending the request.
    http_req_sending: Trend Time,
    /// From the request's last byte to the answer's first.
    http_req_waiting: Trend Time,
    /// From the answer's first byte to its last.
    http_req_receiving: Trend Time,
    /// From the moment that the schedule meant the iteration to start, to the answer's last byte
    /// (arrival-rate executors only; not in k6).
    http_req_response_time: Trend Time,
    /// WebSocket connections that were opened.
    ws_sessions: Counter Default,
    /// Messages that were sent.
    ws_msgs_sent: Counter Default,
    /// Messages that came.
    ws_msgs_received: Counter Default,
    /// From ping to pong.
    ws_ping: Trend Time,
    /// How long a WebSocket connection was open.
    ws_session_duration: Trend Time,
    /// Making the WebSocket connection.
    ws_connecting: Trend Time,
    /// Bytes that were sent.
    data_sent: Counter Data,
    /// Bytes that came.
    data_received: Counter Data,
}

impl BuiltinMetrics {
    /// What each request is counted and timed as, by its own steps.
    #[must_use]
    pub fn of_request(&self, timings: &Timings) -> [(&Arc<Metric>, f64); 8] {
        [
            (&self.http_reqs, 1.0),
            (&self.http_req_duration, milliseconds(timings.duration())),
            (&self.http_req_blocked, milliseconds(timings.blocked)),
            (&self.http_req_connecting, milliseconds(timings.connecting)),
            (
                &self.http_req_tls_handshaking,
                milliseconds(timings.tls_handshaking),
            ),
            (&self.http_req_sending, milliseconds(timings.sending)),
            (&self.http_req_waiting, milliseconds(timings.waiting)),
            (&self.http_req_receiving, milliseconds(timings.receiving)),
        ]
    }
}

// === impl MetricRegistry ===

impl Default for MetricRegistry {
    fn default() -> Self {
        let mut registered = Registered::default();
        let builtin = BuiltinMetrics::register(&mut registered);
        Self {
            metrics: RwLock::new(registered),
            version: AtomicUsize::new(0),
            builtin,
        }
    }
}

impl MetricRegistry {
    /// The metrics that every run has.
    #[must_use]
    pub fn builtin(&self) -> &BuiltinMetrics {
        &self.builtin
    }

    /// Makes a metric, or gives the one of this name if it is of the same kind.
    ///
    /// # Errors
    ///
    /// A name that is not allowed, or that another kind of metric has.
    pub fn register(
        &self,
        name: &str,
        kind: MetricKind,
        contains: ValueKind,
    ) -> Result<Arc<Metric>, MetricError> {
        if !name_is_allowed(name) {
            return Err(MetricError::Name(name.to_owned()));
        }
        let mut metrics = self.metrics.write();
        if let Some(id) = metrics.by_name.get(name) {
            let metric = &metrics.by_id[*id];
            if metric.kind != kind || metric.contains != contains {
                return Err(MetricError::Kind {
                    name: name.to_owned(),
                    existing: metric.kind,
                    wanted: kind,
                });
            }
            return Ok(Arc::clone(metric));
        }
        let metric = metrics.add(name, kind, contains, None);
        self.version.fetch_add(1, Ordering::Release);
        Ok(metric)
    }

    /// The metric of this name. `name{tag:value}` makes the sub-metric where it is not there yet.
    ///
    /// # Errors
    ///
    /// There is no such metric, or the tags cannot be read.
    pub fn metric_or_part(&self, name: &str) -> Result<Arc<Metric>, MetricError> {
        if let Some(metric) = self.get(name) {
            return Ok(metric);
        }
        let Some((parent, filter)) = name.strip_suffix('}').and_then(|name| name.split_once('{'))
        else {
            return Err(MetricError::Unknown(name.to_owned()));
        };
        let parent = self
            .get(parent.trim())
            .ok_or_else(|| MetricError::Unknown(parent.trim().to_owned()))?;
        let filter = TagFilter::parse(filter).map_err(|reason| MetricError::Filter {
            name: name.to_owned(),
            reason,
        })?;
        let part_of = Some((parent.id, filter));
        let metric = self
            .metrics
            .write()
            .add(name, parent.kind, parent.contains, part_of);
        self.version.fetch_add(1, Ordering::Release);
        Ok(metric)
    }

    /// The metric or sub-metric of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Metric>> {
        let metrics = self.metrics.read();
        let id = metrics.by_name.get(name)?;
        Some(Arc::clone(&metrics.by_id[*id]))
    }

    /// All metrics and sub-metrics, by number.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Metric>> {
        self.metrics.read().by_id.clone()
    }

    /// Grows with every metric that is made.
    pub(super) fn version(&self) -> usize {
        self.version.load(Ordering::Acquire)
    }
}

impl Registered {
    fn add(
        &mut self,
        name: &str,
        kind: MetricKind,
        contains: ValueKind,
        part_of: Option<(MetricId, TagFilter)>,
    ) -> Arc<Metric> {
        let name: Arc<str> = Arc::from(name);
        let metric = Arc::new(Metric {
            id: self.by_id.len(),
            name: Arc::clone(&name),
            kind,
            contains,
            part_of,
        });
        self.by_name.insert(name, metric.id);
        self.by_id.push(Arc::clone(&metric));
        metric
    }
}

fn name_is_allowed(name: &str) -> bool {
    let mut characters = name.chars();
    // k6 wants two characters at least.
    (2..=129).contains(&name.len())
        && characters
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|next| next.is_ascii_alphanumeric() || next == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_kind() {
        let registry = MetricRegistry::default();
        let first = registry
            .register("orders", MetricKind::Counter, ValueKind::Default)
            .unwrap();
        let again = registry
            .register("orders", MetricKind::Counter, ValueKind::Default)
            .unwrap();
        assert_eq!(first.id, again.id);
        assert!(matches!(
            registry.register("orders", MetricKind::Trend, ValueKind::Default),
            Err(MetricError::Kind { .. })
        ));
        for name in ["", "a", "1a", "a-b", "a b", "ä"] {
            assert!(matches!(
                registry.register(name, MetricKind::Trend, ValueKind::Default),
                Err(MetricError::Name(_))
            ));
        }
    }

    #[test]
    fn a_sub_metric_is_made_once_and_only_of_what_exists() {
        let registry = MetricRegistry::default();
        let part = registry
            .metric_or_part("http_req_duration{status:200}")
            .unwrap();
        assert_eq!(part.kind, MetricKind::Trend);
        let again = registry
            .metric_or_part("http_req_duration{status:200}")
            .unwrap();
        assert_eq!(part.id, again.id);
        assert_eq!(
            registry.metric_or_part("nothing{a:b}").unwrap_err(),
            MetricError::Unknown("nothing".to_owned())
        );
        assert!(matches!(
            registry.metric_or_part("http_reqs{a}"),
            Err(MetricError::Filter { .. })
        ));
    }
}
