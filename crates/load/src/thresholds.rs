//! Thresholds: conditions on metrics that decide whether a test passes, in k6's notation.
//!
//! ```text
//! condition   = aggregation operator number
//! aggregation = "count" | "rate" | "value" | "avg" | "min" | "max" | "med" | "p(" percent ")"
//! operator    = "<" | "<=" | ">" | ">=" | "==" | "===" | "!="
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::metric::{Measured, Metric, MetricError, MetricKind, MetricRegistry, Totals};
use crate::options::{FullThreshold, OneOrMany, Span, Threshold as Written};

/// What is wrong with a threshold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// It is not a condition.
    #[error(
        "failed parsing threshold expression {0:?}: write an aggregation, a comparison and a number, such as p(95)<500, avg<200, rate<0.01 or count>100"
    )]
    Expression(String),
    /// Its metric is not there.
    #[error("invalid threshold defined on {name}; reason: {reason}")]
    Metric {
        /// The metric as written.
        name: String,
        /// Why not.
        reason: MetricError,
    },
    /// The metric's kind has no such aggregation.
    #[error(
        "invalid threshold {expression:?} applied on metric {metric}; reason: unsupported aggregation method {aggregation} on metric of type {kind}. supported aggregation methods for this metric are: {supported}"
    )]
    Aggregation {
        /// The condition.
        expression: String,
        /// The metric.
        metric: String,
        /// What it asks for.
        aggregation: &'static str,
        /// What the metric is.
        kind: &'static str,
        /// What it has.
        supported: &'static str,
    },
}

/// A condition such as `p(95)<500`.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    text: String,
    aggregation: Aggregation,
    comparison: Comparison,
    limit: f64,
}

/// What a condition looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aggregation {
    /// The sum of a counter.
    Count,
    /// The sum a second, or the part of values that are not 0.
    Rate,
    /// A gauge's last value.
    Value,
    /// The mean.
    Mean,
    /// The least value.
    Min,
    /// The greatest value.
    Max,
    /// The middle value.
    Median,
    /// The value below which this percentage lies.
    Percentile(f64),
}

/// How a value is compared with its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// A condition on a metric.
#[derive(Clone, Debug)]
pub struct Threshold {
    /// The metric or sub-metric.
    pub metric: Arc<Metric>,
    /// What must hold.
    pub condition: Condition,
    /// The test ends when it does not.
    pub abort_on_fail: bool,
    /// But not before this time.
    pub delay: Duration,
}

/// What a threshold came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The metric's name.
    pub metric: String,
    /// The condition as written.
    pub condition: String,
    /// The value that was compared: milliseconds for times, a part from 0 to 1 for rates.
    pub value: f64,
    /// True if the condition holds.
    pub met: bool,
}

// === impl Aggregation ===

impl Aggregation {
    /// Reads `avg`, `p(99.9)`, ….
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "count" => Self::Count,
            "rate" => Self::Rate,
            "value" => Self::Value,
            "avg" => Self::Mean,
            "min" => Self::Min,
            "max" => Self::Max,
            "med" => Self::Median,
            _ => {
                let percent: f64 = text
                    .strip_prefix("p(")?
                    .strip_suffix(')')?
                    .trim()
                    .parse()
                    .ok()?;
                (0.0..=100.0)
                    .contains(&percent)
                    .then_some(Self::Percentile(percent))?
            }
        })
    }

    fn method(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Rate => "rate",
            Self::Value => "value",
            Self::Mean => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Median => "med",
            Self::Percentile(_) => "p",
        }
    }

    fn fits(self, kind: MetricKind) -> bool {
        match kind {
            MetricKind::Counter => matches!(self, Self::Count | Self::Rate),
            MetricKind::Gauge => matches!(self, Self::Value),
            MetricKind::Rate => matches!(self, Self::Rate),
            MetricKind::Trend => !matches!(self, Self::Rate | Self::Value | Self::Count),
        }
    }

    /// The value of what was measured over `elapsed`; 0 where nothing was.
    #[must_use]
    pub fn of(self, measured: Option<&Measured>, elapsed: Duration) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        match (self, measured) {
            (Self::Count, Some(Measured::Counter { sum })) => *sum,
            (Self::Rate, Some(Measured::Counter { sum })) if !elapsed.is_zero() => {
                sum / elapsed.as_secs_f64()
            }
            (Self::Rate, Some(Measured::Rate { passes, total })) if *total > 0 => {
                *passes as f64 / *total as f64
            }
            (Self::Value, Some(Measured::Gauge { last, .. })) => *last,
            (Self::Min, Some(Measured::Gauge { min, .. })) => *min,
            (Self::Max, Some(Measured::Gauge { max, .. })) => *max,
            (Self::Count, Some(Measured::Trend(trend))) => trend.count() as f64,
            (Self::Mean, Some(Measured::Trend(trend))) => trend.mean(),
            (Self::Min, Some(Measured::Trend(trend))) => trend.min(),
            (Self::Max, Some(Measured::Trend(trend))) => trend.max(),
            (Self::Median, Some(Measured::Trend(trend))) => trend.percentile(50.0),
            (Self::Percentile(percent), Some(Measured::Trend(trend))) => trend.percentile(percent),
            _ => 0.0,
        }
    }
}

// === impl Condition ===

impl std::str::FromStr for Condition {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let wrong = || ThresholdError::Expression(text.to_owned());
        // k6 writes equality as === too.
        let plain = text.replacen("===", "==", 1);
        let (aggregation, comparison, limit) = Comparison::split(&plain).ok_or_else(wrong)?;
        Ok(Self {
            text: text.to_owned(),
            aggregation: Aggregation::parse(aggregation).ok_or_else(wrong)?,
            comparison,
            limit: limit
                .parse()
                .ok()
                .filter(|limit: &f64| limit.is_finite())
                .ok_or_else(wrong)?,
        })
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

// === impl Comparison ===

impl Comparison {
    /// Parts `p(95)<500` into what is before the sign, the sign, and what is after it.
    pub(crate) fn split(text: &str) -> Option<(&str, Self, &str)> {
        // Longer signs first, so that `<=` is not read as `<`.
        let signs = [
            ("==", Self::Equal),
            ("!=", Self::NotEqual),
            ("<=", Self::LessOrEqual),
            (">=", Self::GreaterOrEqual),
            ("<", Self::Less),
            (">", Self::Greater),
        ];
        signs.into_iter().find_map(|(sign, comparison)| {
            let (before, after) = text.split_once(sign)?;
            Some((before.trim(), comparison, after.trim()))
        })
    }

    pub(crate) fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::Less => value < limit,
            Self::LessOrEqual => value <= limit,
            Self::Greater => value > limit,
            Self::GreaterOrEqual => value >= limit,
            #[expect(clippy::float_cmp, reason = "the user asked for equality")]
            Self::Equal => value == limit,
            #[expect(clippy::float_cmp, reason = "the user asked for equality")]
            Self::NotEqual => value != limit,
        }
    }
}

// === impl Threshold ===

impl Threshold {
    /// Reads all thresholds of a test; sub-metrics that they name are made.
    ///
    /// # Errors
    /// The first that is no condition, or asks a metric for what it has not.
    pub fn of_options(
        written: &BTreeMap<String, OneOrMany<Written>>,
        registry: &MetricRegistry,
    ) -> Result<Vec<Self>, ThresholdError> {
        let mut thresholds = Vec::new();
        for (name, conditions) in written {
            for condition in &conditions.0 {
                let full = match condition {
                    Written::Plain(text) => &FullThreshold {
                        threshold: text.clone(),
                        ..FullThreshold::default()
                    },
                    Written::Full(full) => full,
                };
                thresholds.push(Self::of(name, full, registry)?);
            }
        }
        Ok(thresholds)
    }

    fn of(
        name: &str,
        written: &FullThreshold,
        registry: &MetricRegistry,
    ) -> Result<Self, ThresholdError> {
        let condition: Condition = written.threshold.parse()?;
        let metric = registry
            .metric_or_part(name)
            .map_err(|reason| ThresholdError::Metric {
                name: name.to_owned(),
                reason,
            })?;
        if !condition.aggregation.fits(metric.kind) {
            let (kind, supported) = match metric.kind {
                MetricKind::Counter => ("counter", "count, rate"),
                MetricKind::Gauge => ("gauge", "value"),
                MetricKind::Rate => ("rate", "rate"),
                MetricKind::Trend => ("trend", "avg, min, max, med, p(N)"),
            };
            return Err(ThresholdError::Aggregation {
                expression: written.threshold.clone(),
                metric: name.to_owned(),
                aggregation: condition.aggregation.method(),
                kind,
                supported,
            });
        }
        Ok(Self {
            metric,
            condition,
            abort_on_fail: written.abort_on_fail,
            delay: written
                .delay_abort_eval
                .map_or(Duration::ZERO, |Span(delay)| delay),
        })
    }

    /// Judges what was measured over `elapsed`. A metric that nothing was measured of counts as 0, but a
    /// rate of nothing is no rate: as in k6 it meets every condition.
    #[must_use]
    pub fn judge(&self, totals: &Totals, elapsed: Duration) -> Verdict {
        let measured = totals.get(&self.metric.id);
        let value = self.condition.aggregation.of(measured, elapsed);
        let rate_of_nothing = self.metric.kind == MetricKind::Rate
            && matches!(measured, None | Some(Measured::Rate { total: 0, .. }));
        Verdict {
            metric: self.metric.name.to_string(),
            condition: self.condition.text.clone(),
            value,
            met: rate_of_nothing || self.condition.comparison.holds(value, self.condition.limit),
        }
    }

    /// True if the test is to end because of this threshold now.
    #[must_use]
    pub fn aborts(&self, totals: &Totals, elapsed: Duration) -> bool {
        self.abort_on_fail
            && elapsed >= self.delay
            && totals.contains_key(&self.metric.id)
            && !self.judge(totals, elapsed).met
    }
}

// === impl Verdict ===

impl Verdict {
    /// The aggregation of the condition, such as `p(95)`.
    #[must_use]
    pub fn aggregation(&self) -> &str {
        let end = self
            .condition
            .find(['<', '>', '=', '!'])
            .unwrap_or(self.condition.len());
        self.condition[..end].trim()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::metric::{Collector, Tags};

    fn thresholds(json: &str) -> Result<Vec<Threshold>, ThresholdError> {
        let written = serde_json::from_str(json).unwrap();
        Threshold::of_options(&written, &MetricRegistry::default())
    }

    #[test]
    fn each_kind_has_its_aggregations_and_others_are_named() {
        for good in [
            r#"{"http_req_duration": ["p(95)<500", "avg<=3", "med > 1", "min>=0", "max!=4", "p(99.9) < 1e3"]}"#,
            r#"{"http_reqs": "count>10", "http_req_failed": "rate<0.01", "vus": ["value==3"]}"#,
            r#"{"http_req_duration{status:200}": ["p(95)<500"]}"#,
        ] {
            assert!(thresholds(good).is_ok(), "{good}");
        }
        for (bad, part) in [
            (
                r#"{"http_req_duration": "p(95)<"}"#,
                "failed parsing threshold expression",
            ),
            (r#"{"http_req_duration": "p(101)<3"}"#, "failed parsing"),
            (r#"{"http_req_duration": "p95<3"}"#, "failed parsing"),
            (
                r#"{"nope": "count>1"}"#,
                "invalid threshold defined on nope",
            ),
            (
                r#"{"checks": "p(95)<1"}"#,
                "unsupported aggregation method p on metric of type rate. supported aggregation methods for this metric are: rate",
            ),
            (r#"{"vus": "avg<1"}"#, "metric of type gauge"),
        ] {
            let error = thresholds(bad).unwrap_err().to_string();
            assert!(error.contains(part), "{bad}: {error}");
        }
    }

    #[test]
    fn a_threshold_judges_what_was_measured() {
        let registry = Arc::new(MetricRegistry::default());
        let written = serde_json::from_str(
            r#"{"http_req_duration": ["p(50)<15", {"threshold": "max<20", "abortOnFail": true, "delayAbortEval": "10s"}],
                "http_reqs": ["count==2", "rate==0.5"], "checks": ["rate>0.9"]}"#,
        )
        .unwrap();
        let thresholds = Threshold::of_options(&written, &registry).unwrap();
        let collector = Collector::new(Arc::clone(&registry), false);
        let sink = collector.sink();
        for value in [10.0, 30.0] {
            let metrics = registry.builtin();
            let tags = Tags::default();
            sink.add(
                &metrics.http_req_duration,
                value,
                &tags,
                Timestamp::UNIX_EPOCH,
            );
            sink.add(&metrics.http_reqs, 1.0, &tags, Timestamp::UNIX_EPOCH);
        }
        collector.collect();
        let totals = collector.totals();
        let elapsed = Duration::from_secs(4);
        let met: Vec<_> = thresholds
            .iter()
            .map(|threshold| threshold.judge(&totals, elapsed))
            .map(|verdict| (verdict.aggregation().to_owned(), verdict.met))
            .collect();
        let expected = [
            ("rate", true),
            ("p(50)", false),
            ("max", false),
            ("count", true),
            ("rate", true),
        ]
        .map(|(name, met)| (name.to_owned(), met));
        assert_eq!(met, expected);
        let aborts = |seconds| {
            thresholds
                .iter()
                .any(|threshold| threshold.aborts(&totals, Duration::from_secs(seconds)))
        };
        assert!(!aborts(9));
        assert!(aborts(10));
    }
}
