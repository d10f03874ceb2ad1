//! Metrics of a run: what is measured, with which tags, and what it adds up to.
//!
//! Each worker thread records into a [`SampleSink`] of its own. Once a second the [`Collector`]
//! takes what every thread has, adds it up to an [`Interval`] and to the whole run. Trends are
//! histograms ([`Trend`]), so memory does not grow with the number of samples.
//!
//! ```text
//! virtual users ──► SampleSink (one a thread) ──► Collector ──► Interval (a second), Totals (the run)
//!                                                     └──► samples one by one, where an output wants them
//! ```

mod checks;
mod collector;
mod failures;
mod registry;
mod replicas;
mod tags;
mod trend;

pub use checks::{CheckCount, CheckTally};
pub use collector::{Collector, Interval, Measured, SampleSink, Totals};
pub use failures::{FailureKind, FailureTally};
pub use registry::{
    BuiltinMetrics, Metric, MetricError, MetricId, MetricKind, MetricRegistry, ValueKind,
    milliseconds,
};
pub use replicas::ReplicaTally;
pub use tags::{TagFilter, Tags};
pub use trend::Trend;
pub(crate) use trend::at_percent;
#[cfg(test)]
pub(crate) use trend::trend_of;

use std::sync::Arc;

use jiff::Timestamp;

/// One measured value.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What was measured.
    pub metric: Arc<Metric>,
    /// The value: milliseconds for times, bytes for data, 0 or 1 for rates.
    pub value: f64,
    /// What it belongs to: `method`, `status`, `scenario`, `group`, …
    pub tags: Tags,
    /// What is known of it besides, which no threshold looks at: `vu`, `iter`, what the script says.
    pub metadata: Option<Tags>,
    /// When it was measured, by wall clock.
    pub time: Timestamp,
}
