//! What a finished test came to: as text in k6's layout, as k6's JSON, and as JUnit.

mod breakdown;
mod columns;
mod data;
mod junit;
mod legacy;
pub(crate) mod numbers;
mod text;

use std::str::FromStr;
use std::time::Duration;

use crate::metric::{CheckTally, Measured, Metric, MetricKind, MetricRegistry, Totals};
use crate::thresholds::{Aggregation, Verdict};

pub use breakdown::{Breakdown, Scope};
pub use data::{export, summary_data};
pub use junit::junit;
pub use text::text;

/// What k6 says of a trend unless told otherwise.
pub const TREND_STATISTICS: [&str; 6] = ["avg", "min", "med", "max", "p(90)", "p(95)"];

/// How much the summary says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// What is most often looked at.
    #[default]
    Compact,
    /// Every metric, and those of each scenario and group.
    Full,
    /// Every metric, laid out as k6 did before version 1.
    Legacy,
}

impl FromStr for Detail {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "compact" => Ok(Self::Compact),
            "full" => Ok(Self::Full),
            "legacy" => Ok(Self::Legacy),
            _ => Err("give compact, full or legacy".to_owned()),
        }
    }
}

/// Everything that a summary is made of.
#[derive(Clone, Debug)]
pub struct Summary {
    /// How long the test took.
    pub elapsed: Duration,
    /// What was measured, sorted by name.
    pub metrics: Vec<(std::sync::Arc<Metric>, Measured)>,
    /// Groups and checks.
    pub checks: CheckTally,
    /// What the thresholds came to.
    pub verdicts: Vec<Verdict>,
    /// What is said of a trend: `avg`, `p(99)`, `count`, ….
    pub trend_statistics: Vec<String>,
    /// The unit of times: `s`, `ms` or `us`; the fitting one where it is not given.
    pub time_unit: Option<String>,
    /// What a script's `setup` returned.
    pub setup_data: Option<serde_json::Value>,
    /// How much of it the text says.
    pub detail: Detail,
    /// Results by scenario and group; empty unless [`Detail::Full`] was asked for.
    pub breakdown: Breakdown,
}

// === impl Summary ===

impl Summary {
    /// A summary of these totals. Metrics with a threshold are in it even if nothing was measured.
    #[must_use]
    pub fn new(
        registry: &MetricRegistry,
        totals: &Totals,
        checks: CheckTally,
        verdicts: Vec<Verdict>,
        elapsed: Duration,
    ) -> Self {
        let mut metrics: Vec<_> = registry
            .all()
            .into_iter()
            .filter_map(|metric| {
                let judged = verdicts
                    .iter()
                    .any(|verdict| *verdict.metric == *metric.name);
                let measured = totals
                    .get(&metric.id)
                    .cloned()
                    .or_else(|| judged.then(|| Measured::nothing(metric.kind)))?;
                Some((metric, measured))
            })
            .collect();
        metrics.sort_by(|one, other| one.0.name.cmp(&other.0.name));
        Self {
            elapsed,
            metrics,
            checks,
            verdicts,
            trend_statistics: TREND_STATISTICS.map(str::to_owned).to_vec(),
            time_unit: None,
            setup_data: None,
            detail: Detail::default(),
            breakdown: Breakdown::default(),
        }
    }

    /// Names of metrics with a threshold that was not met.
    #[must_use]
    pub fn crossed(&self) -> Vec<&str> {
        let mut names: Vec<_> = self
            .verdicts
            .iter()
            .filter(|verdict| !verdict.met)
            .map(|verdict| verdict.metric.as_str())
            .collect();
        names.dedup();
        names
    }

    fn verdicts_of(&self, metric: &Metric) -> impl Iterator<Item = &Verdict> {
        let name = metric.name.clone();
        self.verdicts
            .iter()
            .filter(move |verdict| *verdict.metric == *name)
    }

    /// A metric's numbers under k6's names.
    pub(crate) fn values(&self, measured: &Measured) -> Vec<(String, f64)> {
        let of = |aggregation: Aggregation| aggregation.of(Some(measured), self.elapsed);
        match measured {
            Measured::Counter { .. } => vec![
                ("count".to_owned(), of(Aggregation::Count)),
                ("rate".to_owned(), of(Aggregation::Rate)),
            ],
            Measured::Gauge { .. } => vec![
                ("value".to_owned(), of(Aggregation::Value)),
                ("min".to_owned(), of(Aggregation::Min)),
                ("max".to_owned(), of(Aggregation::Max)),
            ],
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            Measured::Rate { passes, total } => vec![
                ("rate".to_owned(), of(Aggregation::Rate)),
                ("passes".to_owned(), *passes as f64),
                ("fails".to_owned(), (total - passes) as f64),
            ],
            Measured::Trend(_) => self
                .trend_statistics
                .iter()
                .filter_map(|name| Some((name.clone(), of(Aggregation::parse(name)?))))
                .collect(),
        }
    }
}

fn kind_name(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge => "gauge",
        MetricKind::Rate => "rate",
        MetricKind::Trend => "trend",
    }
}
