//! What people read of a run without a script: a line a second, and a summary at its end.

use std::fmt::Write;
use std::time::Duration;

use serde_json::json;

use crate::metric::{BuiltinMetrics, Measured, Metric, Totals, Trend};
use crate::run::Moment;
use crate::session::Finished;
use crate::summary::{Summary, export};

/// What requests came to, in a second or in a whole run.
#[derive(Clone, Debug, Default)]
pub struct RequestFigures {
    /// Requests that were answered or given up.
    pub requests: u64,
    /// Those of them that failed: no answer, or a status of 400 and above.
    pub failures: u64,
    /// Arrivals that could not be started, because as many as may be were under way.
    pub dropped: u64,
    /// Bytes that came.
    pub received: u64,
    /// How long requests took, in milliseconds.
    pub durations: Trend,
    /// The same, but from when each was meant to start, for rates.
    pub response_times: Option<Trend>,
}

// === impl RequestFigures ===

impl RequestFigures {
    /// What was measured of requests.
    #[must_use]
    pub fn of(measured: &Totals, metrics: &BuiltinMetrics) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counters of whole things"
        )]
        let count = |metric: &Metric| match measured.get(&metric.id) {
            Some(Measured::Counter { sum }) => *sum as u64,
            Some(Measured::Rate { passes, .. }) => *passes,
            _ => 0,
        };
        let trend = |metric: &Metric| match measured.get(&metric.id) {
            Some(Measured::Trend(trend)) => Some(trend.clone()),
            _ => None,
        };
        Self {
            requests: count(&metrics.http_reqs),
            failures: count(&metrics.http_req_failed),
            dropped: count(&metrics.dropped_iterations),
            received: count(&metrics.data_received),
            durations: trend(&metrics.http_req_duration).unwrap_or_default(),
            response_times: trend(&metrics.http_req_response_time),
        }
    }

    /// The time that `percent` of the requests stayed at or under: from when they were meant to
    /// start, where that is known.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Duration {
        let times = self.response_times.as_ref().unwrap_or(&self.durations);
        Duration::from_secs_f64(times.percentile(percent).max(0.0) / 1000.0)
    }

    /// Failed requests as a part of all, from 0 to 1; 0 where there were none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn failure_rate(&self) -> f64 {
        if self.requests == 0 {
            0.0
        } else {
            self.failures as f64 / self.requests as f64
        }
    }
}

/// One second of a run as a line of fixed columns; `watched` is put at its end.
///
/// ```text
///    12s    150/s  p50 6.1ms  p95 9.8ms  p99 14ms  failed 0
/// ```
#[must_use]
pub fn second_line(moment: &Moment<'_>, metrics: &BuiltinMetrics, watched: &str) -> String {
    let figures = RequestFigures::of(&moment.interval.measured, metrics);
    let separator = if watched.is_empty() { "" } else { "  " };
    // A target that stalls has not answered in no time.
    let percentile = |percent| match figures.durations.count() {
        0 => "-".to_owned(),
        _ => short_time(figures.percentile(percent)),
    };
    format!(
        "{:>5}s {:>6}/s  p50 {:>7}  p95 {:>7}  p99 {:>7}  failed {}{separator}{watched}",
        moment.elapsed.as_secs(),
        figures.requests,
        percentile(50.0),
        percentile(95.0),
        percentile(99.0),
        figures.failures,
    )
}

/// The whole run as a paragraph, with the verdicts on its thresholds.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub fn summary_text(finished: &Finished, metrics: &BuiltinMetrics) -> String {
    let summary = &finished.summary;
    let figures = RequestFigures::of(&finished.end.totals, metrics);
    let seconds = finished.end.elapsed.as_secs_f64().max(1e-9);
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<22} {value}");
    };
    line(
        "http_reqs",
        format!(
            "{}  {:.1}/s",
            figures.requests,
            figures.requests as f64 / seconds
        ),
    );
    line(
        "http_req_failed",
        format!(
            "{:.2}%  {} of {}",
            figures.failure_rate() * 100.0,
            figures.failures,
            figures.requests
        ),
    );
    line("http_req_duration", times(summary, &figures.durations));
    if let Some(response_times) = &figures.response_times {
        line("http_req_response_time", times(summary, response_times));
    }
    line("data_received", format!("{} B", figures.received));
    if figures.dropped > 0 {
        // Only arrivals of a rate can be late.
        let by_rate = finished.end.lateness.count() > 0;
        let why = if by_rate {
            "arrivals were not started: too many were under way"
        } else {
            "requests were not sent: the time was up"
        };
        line("dropped_iterations", format!("{} {why}", figures.dropped));
    }
    for (kind, count) in finished.end.failures.iter() {
        line("failed", format!("{kind}: {count}"));
    }
    for verdict in &finished.summary.verdicts {
        let word = if verdict.met { "met" } else { "FAILED" };
        line(
            "threshold",
            format!(
                "{}={}: {word} ({:.3})",
                verdict.metric, verdict.condition, verdict.value
            ),
        );
    }
    for doubt in finished.end.doubts() {
        line("warning", doubt);
    }
    text
}

/// The whole run as JSON: k6's summary, and what it has no place for.
#[must_use]
pub fn summary_json(finished: &Finished) -> serde_json::Value {
    let mut json = export(&finished.summary);
    let failures: serde_json::Map<String, serde_json::Value> = finished
        .end
        .failures
        .iter()
        .map(|(kind, count)| (kind.to_string(), json!(count)))
        .collect();
    json["seconds"] = json!(finished.end.elapsed.as_secs_f64());
    json["failures"] = failures.into();
    json["warnings"] = json!(finished.end.doubts());
    if let Some(watched) = &finished.watched {
        json["watched"] = json!(watched);
    }
    json
}

/// What the summary says of times, in the order in which it was asked for.
fn times(summary: &Summary, trend: &Trend) -> String {
    summary
        .values(&Measured::Trend(trend.clone()))
        .into_iter()
        .map(|(name, value)| {
            if name == "count" {
                return format!("{name}={value}");
            }
            let time = Duration::from_secs_f64(value.max(0.0) / 1e3);
            format!("{name}={}", short_time(time))
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// A time with two or three digits and its unit: `950µs`, `6.1ms`, `38ms`, `1.2s`.
fn short_time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (value, unit) = if seconds >= 1.0 {
        (seconds, "s")
    } else if seconds >= 0.001 {
        (seconds * 1e3, "ms")
    } else {
        (seconds * 1e6, "µs")
    };
    if value >= 10.0 {
        format!("{value:.0}{unit}")
    } else {
        format!("{value:.1}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_unit_short() {
        for (microseconds, text) in [
            (0, "0.0µs"),
            (950, "950µs"),
            (6_120, "6.1ms"),
            (38_400, "38ms"),
            (1_200_000, "1.2s"),
            (75_000_000, "75s"),
        ] {
            assert_eq!(short_time(Duration::from_micros(microseconds)), text);
        }
    }
}
