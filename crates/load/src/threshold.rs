//! Thresholds: conditions on the whole run, in k6's notation, that decide the exit status.

use std::time::Duration;

use crate::thresholds::Comparison;
use crate::{Error, Summary};

/// A condition such as `http_req_duration=p(95)<500` or `http_req_failed=rate<0.01`.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    text: String,
    measure: Measure,
    comparison: Comparison,
    limit: f64,
}

/// What a threshold found.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The threshold as it was written.
    pub threshold: String,
    /// What the run had; milliseconds, a part from 0 to 1, a number, or a number a second.
    pub value: f64,
    /// True if the condition holds.
    pub met: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Measure {
    DurationPercentile(f64),
    DurationMean,
    DurationShortest,
    DurationLongest,
    FailureRate,
    RequestCount,
    RequestRate,
    DroppedCount,
}

// === impl Threshold ===

impl Threshold {
    /// Judges a finished run. Times are in milliseconds, as k6 has them.
    #[must_use]
    pub fn judge(&self, summary: &Summary) -> Verdict {
        let value = self.measure.of(summary);
        Verdict {
            threshold: self.text.clone(),
            value,
            met: self.comparison.holds(value, self.limit),
        }
    }
}

impl std::str::FromStr for Threshold {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Threshold {
            given: text.to_owned(),
            reason: reason.to_owned(),
        };
        let (metric, condition) = text
            .split_once('=')
            .ok_or_else(|| wrong("there is no metric before a ="))?;
        let (measure, comparison, limit) = Comparison::split(condition)
            .ok_or_else(|| wrong("there is no <, <=, >, >=, == or !="))?;
        let limit: f64 = limit
            .parse()
            .map_err(|_| wrong("the limit is not a number"))?;
        let measure = Measure::named(metric.trim(), measure).map_err(|reason| wrong(&reason))?;
        Ok(Self {
            text: text.to_owned(),
            measure,
            comparison,
            limit,
        })
    }
}

// === impl Measure ===

impl Measure {
    fn named(metric: &str, name: &str) -> Result<Self, String> {
        match (metric, name) {
            ("http_req_duration", "avg") => Ok(Self::DurationMean),
            ("http_req_duration", "min") => Ok(Self::DurationShortest),
            ("http_req_duration", "max") => Ok(Self::DurationLongest),
            ("http_req_duration", "med") => Ok(Self::DurationPercentile(50.0)),
            ("http_req_duration", percentile) => percentile
                .strip_prefix("p(")
                .and_then(|rest| rest.strip_suffix(')'))
                .and_then(|number| number.parse().ok())
                .filter(|percent| (0.0..=100.0).contains(percent))
                .map(Self::DurationPercentile)
                .ok_or_else(|| format!("{percentile} is not avg, min, med, max or p(N)")),
            ("http_req_failed", "rate") => Ok(Self::FailureRate),
            ("http_reqs", "count") => Ok(Self::RequestCount),
            ("http_reqs", "rate") => Ok(Self::RequestRate),
            ("dropped_iterations", "count") => Ok(Self::DroppedCount),
            ("http_req_failed" | "http_reqs" | "dropped_iterations", other) => {
                Err(format!("{metric} has no {other}"))
            }
            _ => Err(format!(
                "{metric} is not http_req_duration, http_req_failed, http_reqs or dropped_iterations"
            )),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn of(self, summary: &Summary) -> f64 {
        let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
        match self {
            Self::DurationPercentile(percent) => milliseconds(summary.percentile(percent)),
            Self::DurationMean => milliseconds(summary.mean()),
            Self::DurationShortest => milliseconds(summary.shortest()),
            Self::DurationLongest => milliseconds(summary.longest()),
            Self::FailureRate => summary.failure_rate(),
            Self::RequestCount => summary.requests as f64,
            Self::RequestRate => summary.rate(),
            Self::DroppedCount => summary.dropped as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recorder;
    use crate::connection::Answer;

    fn summary() -> Summary {
        let recorder = Recorder::default();
        for milliseconds in 1..=100u64 {
            let status = if milliseconds > 98 { 500 } else { 200 };
            recorder.record(
                Duration::from_millis(milliseconds),
                &Ok(Answer {
                    status,
                    body_bytes: 1,
                }),
            );
        }
        recorder.summary(Duration::from_secs(10))
    }

    #[test]
    fn conditions_are_judged_in_milliseconds_and_parts() {
        for (text, met) in [
            ("http_req_duration=p(95)<500", true),
            ("http_req_duration=p(95)<90", false),
            ("http_req_duration=p(99.9)<=101", true),
            ("http_req_duration=avg<60", true),
            ("http_req_duration=max<50", false),
            ("http_req_duration=med<51", true),
            ("http_req_failed=rate<0.01", false),
            ("http_req_failed=rate<=0.02", true),
            ("http_reqs=count>99", true),
            ("http_reqs=rate>=10", true),
            ("dropped_iterations=count==0", true),
        ] {
            assert_eq!(
                text.parse::<Threshold>().unwrap().judge(&summary()).met,
                met,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_the_reason() {
        for (text, reason) in [
            ("p(95)<500", "http_req_duration"),
            ("http_req_duration=p(95)", "there is no <"),
            ("http_req_duration=p(95)<fast", "not a number"),
            ("http_req_duration=p(195)<5", "is not avg"),
            ("http_req_duration=p95<5", "is not avg"),
            ("latency=avg<5", "latency is not"),
            ("http_req_failed=count<5", "has no count"),
        ] {
            let error = text.parse::<Threshold>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
