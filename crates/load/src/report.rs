//! What people read: a line a second while the load runs, and a summary at its end.

use std::fmt::Write;
use std::time::Duration;

use crate::{Second, Summary, Verdict};

/// One second of a run as a line of fixed columns; `watched` is put at its end.
///
/// ```text
///    12s    150/s  p50 6.1ms  p95 9.8ms  p99 14ms  failed 0
/// ```
#[must_use]
pub fn second_line(elapsed: Duration, second: &Second, watched: &str) -> String {
    let separator = if watched.is_empty() { "" } else { "  " };
    format!(
        "{:>5}s {:>6}/s  p50 {:>7}  p95 {:>7}  p99 {:>7}  failed {}{separator}{watched}",
        elapsed.as_secs(),
        second.requests,
        short_time(second.percentile(50.0)),
        short_time(second.percentile(95.0)),
        short_time(second.percentile(99.0)),
        second.failures,
    )
}

/// The whole run as a paragraph, with the verdicts on its thresholds.
#[must_use]
pub fn summary_text(summary: &Summary, verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<20} {value}");
    };
    line(
        "http_reqs",
        format!("{}  {:.1}/s", summary.requests, summary.rate()),
    );
    line(
        "http_req_failed",
        format!(
            "{:.2}%  {} of {}",
            summary.failure_rate() * 100.0,
            summary.failures,
            summary.requests
        ),
    );
    line(
        "http_req_duration",
        format!(
            "avg={} min={} med={} p(90)={} p(95)={} p(99)={} max={}",
            short_time(summary.mean()),
            short_time(summary.shortest()),
            short_time(summary.percentile(50.0)),
            short_time(summary.percentile(90.0)),
            short_time(summary.percentile(95.0)),
            short_time(summary.percentile(99.0)),
            short_time(summary.longest()),
        ),
    );
    line("data_received", format!("{} B", summary.body_bytes));
    if summary.dropped > 0 {
        line(
            "dropped_iterations",
            format!("{} arrivals found no free connection", summary.dropped),
        );
    }
    for (status, count) in summary
        .statuses
        .iter()
        .filter(|(status, _)| **status >= 400)
    {
        line("status", format!("{status}: {count}"));
    }
    for (error, count) in &summary.errors {
        line("error", format!("{error}: {count}"));
    }
    for verdict in verdicts {
        let word = if verdict.met { "met" } else { "FAILED" };
        line(
            "threshold",
            format!("{}: {word} ({:.3})", verdict.threshold, verdict.value),
        );
    }
    text
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
