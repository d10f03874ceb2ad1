//! A summary as k6 prints it.

use std::fmt::Write as _;

use super::columns::{Cells, Line, Widths};
use super::{Detail, Scope, Summary, legacy, numbers};
use crate::collation;
use crate::metric::{CheckTally, Measured, Metric, ValueKind};
use crate::thresholds::Verdict;

/// A section of metrics: its title, and how names begin that belong to it.
struct Section {
    title: &'static str,
    holds: &'static [&'static str],
}

/// Metrics that no other section holds are the first one's.
const SECTIONS: [Section; 8] = [
    Section {
        title: "CUSTOM",
        holds: &[],
    },
    Section {
        title: "HTTP",
        holds: &[
            "http_reqs",
            "http_req_failed",
            "http_req_duration",
            "http_req_response_time",
            "http_req_blocked",
            "http_req_connecting",
            "http_req_tls_handshaking",
            "http_req_sending",
            "http_req_waiting",
            "http_req_receiving",
        ],
    },
    Section {
        title: "EXECUTION",
        holds: &[
            "vus",
            "iterations",
            "iteration_duration",
            "dropped_iterations",
        ],
    },
    Section {
        title: "NETWORK",
        holds: &["data_sent", "data_received"],
    },
    Section {
        title: "BROWSER",
        holds: &["browser_"],
    },
    Section {
        title: "WEB_VITALS",
        holds: &["browser_web_vital_"],
    },
    Section {
        title: "GRPC",
        holds: &["grpc_"],
    },
    Section {
        title: "WEBSOCKET",
        holds: &["ws_"],
    },
];

/// How names begin of metrics that are in no section: checks are told apart.
const NOWHERE: [&str; 2] = ["checks", "group_duration"];

/// The same for [`Detail::Compact`].
const NOT_COMPACT: [&str; 6] = [
    "http_req_blocked",
    "http_req_connecting",
    "http_req_receiving",
    "http_req_sending",
    "http_req_tls_handshaking",
    "http_req_waiting",
];

/// The whole summary.
#[must_use]
pub fn text(summary: &Summary) -> String {
    if summary.detail == Detail::Legacy {
        return legacy::text(summary);
    }
    let mut text = String::new();
    thresholds(summary, &mut text);
    text.push_str("\n  █ TOTAL RESULTS \n");
    let metrics = summary.metrics.iter();
    let results = Results {
        summary,
        metrics: metrics
            .map(|(metric, measured)| (&**metric, measured))
            .collect(),
        checks: &summary.checks,
    };
    results.write(0, &mut text);
    for (name, group) in &summary.breakdown.groups {
        let _ = write!(text, "\n\n  █ GROUP: {name} \n");
        scope(summary, group, 0, &mut text);
    }
    for (name, scenario) in &summary.breakdown.scenarios {
        let _ = write!(text, "\n\n  █ SCENARIO: {name} \n");
        scope(summary, scenario, 0, &mut text);
    }
    text
}

pub(super) fn mark(good: bool) -> char {
    if good { '✓' } else { '✗' }
}

/// A scenario or group and the groups within it, so many levels below the total.
fn scope(summary: &Summary, scope: &Scope, level: usize, text: &mut String) {
    let results = Results {
        summary,
        metrics: scope.metrics().collect(),
        checks: &scope.checks,
    };
    results.write(level, text);
    let indent = "  ".repeat(level + 2);
    for (name, group) in &scope.groups {
        let _ = write!(text, "\n{indent}↳ GROUP: {name} \n");
        self::scope(summary, group, level + 1, text);
    }
}

fn thresholds(summary: &Summary, text: &mut String) {
    if summary.verdicts.is_empty() {
        return;
    }
    text.push_str("\n  █ THRESHOLDS \n");
    let mut judged: Vec<_> = summary
        .metrics
        .iter()
        .filter(|(metric, _)| summary.verdicts_of(metric).next().is_some())
        .collect();
    judged.sort_by(|one, other| in_order(&one.0.name, &other.0.name));
    for (metric, measured) in &judged {
        let (parent, part) = parts(&metric.name);
        let below = part.filter(|_| judged.iter().any(|(judged, _)| *judged.name == *parent));
        let indent = if below.is_some() { "      " } else { "    " };
        let _ = match below {
            Some(part) => write!(text, "\n{indent}{{{part}}}\n"),
            None => write!(text, "\n{indent}{}\n", metric.name),
        };
        for verdict in summary.verdicts_of(metric) {
            let _ = writeln!(
                text,
                "{indent}{} '{}' {}={}",
                mark(verdict.met),
                verdict.condition,
                verdict.aggregation(),
                judged_value(summary, metric, measured, verdict)
            );
        }
    }
    text.push('\n');
}

fn judged_value(
    summary: &Summary,
    metric: &Metric,
    measured: &Measured,
    verdict: &Verdict,
) -> String {
    match measured {
        Measured::Rate { .. } => numbers::percent(verdict.value),
        Measured::Counter { .. } if verdict.aggregation() == "rate" => {
            format!("{}/s", numbers::value(verdict.value, metric.contains, None))
        }
        _ => numbers::value(verdict.value, metric.contains, summary.time_unit.as_deref()),
    }
}

/// `http_req_duration{status:200}` is `http_req_duration` and `status:200`.
pub(super) fn parts(name: &str) -> (&str, Option<&str>) {
    match name.split_once('{') {
        None => (name, None),
        Some((parent, part)) => (parent, Some(part.strip_suffix('}').unwrap_or(part))),
    }
}

/// Names of metrics in the order of a dictionary, sub-metrics below their metric.
pub(super) fn in_order(one: &str, other: &str) -> std::cmp::Ordering {
    let ((one, one_part), (other, other_part)) = (parts(one), parts(other));
    collation::compare(one, other).then_with(|| {
        collation::compare(one_part.unwrap_or_default(), other_part.unwrap_or_default())
    })
}

/// What a section of the summary is of: the whole test, a scenario or a group.
struct Results<'summary> {
    summary: &'summary Summary,
    metrics: Vec<(&'summary Metric, &'summary Measured)>,
    checks: &'summary CheckTally,
}

impl Results<'_> {
    /// Writes checks and metrics so many levels below the total.
    fn write(&self, level: usize, text: &mut String) {
        self.write_checks(level, text);
        let mut shown: Vec<(&str, Vec<Line>)> = SECTIONS
            .iter()
            .map(|section| (section.title, self.lines(section.title)))
            .collect();
        shown.retain(|(_, lines)| !lines.is_empty());
        let widths = Widths::of(shown.iter().flat_map(|(_, lines)| lines));
        let indent = "  ".repeat(level + 2);
        for (title, lines) in &shown {
            let _ = write!(text, "\n{indent}{title}\n");
            for line in lines {
                let _ = writeln!(text, "{indent}{}", widths.lay_out(line));
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn write_checks(&self, level: usize, text: &mut String) {
        let checks = self.checks.by_name();
        let passes: u64 = checks.iter().map(|check| check.passes).sum();
        let fails: u64 = checks.iter().map(|check| check.fails).sum();
        let all = passes + fails;
        if all == 0 {
            return;
        }
        let seconds = self.summary.elapsed.as_secs_f64().max(1e-9);
        let line = |name: &str, value: String, beside: String| Line {
            name: name.to_owned(),
            weight: 2 * name.len(),
            cells: Cells::Plain(value, vec![beside]),
        };
        let part = |count: u64| numbers::percent(count as f64 / all as f64);
        let lines = [
            line(
                "checks_total",
                all.to_string(),
                format!("{}/s", numbers::plain(all as f64 / seconds)),
            ),
            line(
                "checks_succeeded",
                part(passes),
                format!("{passes} out of {all}"),
            ),
            line(
                "checks_failed",
                part(fails),
                format!("{fails} out of {all}"),
            ),
        ];
        let widths = Widths::of(lines.iter());
        let indent = "  ".repeat(level + 2);
        text.push('\n');
        for line in &lines {
            let _ = writeln!(text, "{indent}{}", widths.lay_out(line));
        }
        text.push('\n');
        for check in &checks {
            let _ = writeln!(text, "{indent}{} {}", mark(check.fails == 0), check.name);
            if check.fails > 0 {
                // k6 counts a group's level twice here.
                let indent = "  ".repeat(2 * level + 3);
                let _ = writeln!(text, "{indent}{}", failed_part(check.passes, check.fails));
            }
        }
    }

    /// The lines of a section, sub-metrics below their metric.
    fn lines(&self, title: &str) -> Vec<Line> {
        let detail = self.summary.detail;
        let mut found: Vec<_> = self
            .metrics
            .iter()
            .filter(|(metric, _)| section_of(parts(&metric.name).0, detail) == Some(title))
            .collect();
        found.sort_by(|one, other| in_order(&one.0.name, &other.0.name));
        found
            .into_iter()
            .map(|(metric, measured)| line(self.summary, metric, measured))
            .collect()
    }
}

/// The title of the section that shows the metric, if one does.
fn section_of(name: &str, detail: Detail) -> Option<&'static str> {
    let begins = |beginnings: &[&str]| beginnings.iter().any(|start| name.starts_with(start));
    if begins(&NOWHERE) || (detail == Detail::Compact && begins(&NOT_COMPACT)) {
        return None;
    }
    // Of two that hold it, the one that says more of its name.
    let holding = SECTIONS.iter().rev().max_by_key(|section| {
        let held = section
            .holds
            .iter()
            .filter(|start| name.starts_with(*start));
        held.map(|start| start.len()).max().unwrap_or_default()
    });
    let held = holding.filter(|section| begins(section.holds));
    Some(held.unwrap_or(&SECTIONS[0]).title)
}

/// How often a check passed and failed.
pub(super) fn failed_part(passes: u64, fails: u64) -> String {
    let percent = u128::from(passes) * 100 / u128::from(passes + fails);
    format!("↳  {percent}% — ✓ {passes} / ✗ {fails}")
}

fn line(summary: &Summary, metric: &Metric, measured: &Measured) -> Line {
    let name = match parts(&metric.name) {
        (_, Some(part)) => format!("  {{ {part} }}"),
        (name, None) => name.to_owned(),
    };
    Line {
        weight: metric.name.chars().count() + name.chars().count(),
        name,
        cells: cells(summary, metric, measured),
    }
}

/// What is said of a metric.
pub(super) fn cells(summary: &Summary, metric: &Metric, measured: &Measured) -> Cells {
    let unit = summary.time_unit.as_deref();
    let show = |value: f64| numbers::value(value, metric.contains, unit);
    let values = summary.values(measured);
    match measured {
        Measured::Trend(_) => Cells::Trend(
            values
                .iter()
                .map(|(name, value)| {
                    let value = if name == "count" {
                        numbers::cut(*value, 0)
                    } else {
                        show(*value)
                    };
                    format!("{name}={value}")
                })
                .collect(),
        ),
        Measured::Counter { sum } => {
            let rate = match metric.contains {
                ValueKind::Data => numbers::bytes(values[1].1),
                _ => numbers::value(values[1].1, metric.contains, unit),
            };
            Cells::Plain(show(*sum), vec![format!("{rate}/s")])
        }
        Measured::Gauge { last, min, max, .. } => Cells::Plain(
            show(*last),
            vec![format!("min={}", show(*min)), format!("max={}", show(*max))],
        ),
        Measured::Rate { passes, total } => Cells::Plain(
            numbers::percent(values[0].1),
            vec![format!("{passes} out of {total}")],
        ),
    }
}
