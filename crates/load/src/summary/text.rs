//! A summary as k6 prints it.

use std::fmt::Write as _;

use super::{Summary, numbers};
use crate::metric::{Measured, Metric, ValueKind};
use crate::thresholds::Verdict;

/// How much the summary says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// What is most often looked at.
    #[default]
    Compact,
    /// Every metric.
    Full,
}

/// A section of metrics: its title and, for [`Detail::Compact`], what of it is shown.
struct Section {
    title: &'static str,
    holds: fn(&str) -> bool,
    compact: &'static [&'static str],
}

const SECTIONS: [Section; 4] = [
    Section {
        title: "HTTP",
        holds: |name| name.starts_with("http_"),
        compact: &[
            "http_req_duration",
            "http_req_response_time",
            "http_req_failed",
            "http_reqs",
        ],
    },
    Section {
        title: "EXECUTION",
        holds: |name| {
            [
                "vus",
                "vus_max",
                "iterations",
                "iteration_duration",
                "dropped_iterations",
                "group_duration",
            ]
            .contains(&name)
        },
        compact: &[
            "vus",
            "vus_max",
            "iterations",
            "iteration_duration",
            "dropped_iterations",
        ],
    },
    Section {
        title: "NETWORK",
        holds: |name| name.starts_with("data_"),
        compact: &["data_sent", "data_received"],
    },
    Section {
        title: "WEBSOCKET",
        holds: |name| name.starts_with("ws_"),
        compact: &[
            "ws_connecting",
            "ws_msgs_received",
            "ws_msgs_sent",
            "ws_ping",
            "ws_session_duration",
            "ws_sessions",
        ],
    },
];

/// A metric's line, in columns.
struct Line {
    name: String,
    /// The length that its name counts for in the column of names.
    weight: usize,
    cells: Cells,
}

enum Cells {
    /// `avg=…`, `min=…`, …
    Trend(Vec<String>),
    /// A value, and what is said beside it.
    Plain(String, Vec<String>),
}

/// The whole summary.
#[must_use]
pub fn text(summary: &Summary, detail: Detail) -> String {
    let mut text = String::new();
    thresholds(summary, &mut text);
    text.push_str("\n  █ TOTAL RESULTS \n");
    checks(summary, &mut text);
    let mut shown: Vec<(&str, Vec<Line>)> = Vec::new();
    let custom =
        |name: &str| name != "checks" && !SECTIONS.iter().any(|section| (section.holds)(name));
    shown.push(("CUSTOM", lines(summary, &custom)));
    for section in &SECTIONS {
        let holds = |name: &str| {
            (section.holds)(name) && (detail == Detail::Full || section.compact.contains(&name))
        };
        shown.push((section.title, lines(summary, &holds)));
    }
    shown.retain(|(_, lines)| !lines.is_empty());
    let widths = Widths::of(shown.iter().flat_map(|(_, lines)| lines));
    for (title, lines) in &shown {
        let _ = write!(text, "\n    {title}\n");
        for line in lines {
            let _ = writeln!(text, "    {}", widths.lay_out(line));
        }
    }
    text
}

fn mark(good: bool) -> char {
    if good { '✓' } else { '✗' }
}

fn thresholds(summary: &Summary, text: &mut String) {
    if summary.verdicts.is_empty() {
        return;
    }
    text.push_str("\n  █ THRESHOLDS \n");
    let mut parent_shown = "";
    for (metric, measured) in &summary.metrics {
        let verdicts: Vec<&Verdict> = summary.verdicts_of(metric).collect();
        if verdicts.is_empty() {
            continue;
        }
        let (parent, part) = parts(&metric.name);
        let indent = if part.is_some() { "      " } else { "    " };
        if parent_shown != parent {
            let _ = write!(text, "\n    {parent}\n");
            parent_shown = parent;
        }
        if let Some(part) = part {
            let _ = write!(text, "\n      {{{part}}}\n");
        }
        for verdict in verdicts {
            let value = match measured {
                Measured::Rate { .. } => numbers::percent(verdict.value),
                Measured::Counter { .. } if verdict.aggregation() == "rate" => {
                    format!("{}/s", numbers::value(verdict.value, metric.contains, None))
                }
                _ => numbers::value(verdict.value, metric.contains, summary.time_unit.as_deref()),
            };
            let _ = writeln!(
                text,
                "{indent}{} '{}' {}={value}",
                mark(verdict.met),
                verdict.condition,
                verdict.aggregation()
            );
        }
    }
    text.push('\n');
}

/// `http_req_duration{status:200}` is `http_req_duration` and `status:200`.
fn parts(name: &str) -> (&str, Option<&str>) {
    match name.split_once('{') {
        None => (name, None),
        Some((parent, part)) => (parent, Some(part.trim_end_matches('}'))),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn checks(summary: &Summary, text: &mut String) {
    let checks = summary.checks.by_name();
    let passes: u64 = checks.iter().map(|check| check.passes).sum();
    let fails: u64 = checks.iter().map(|check| check.fails).sum();
    let all = passes + fails;
    if all == 0 {
        return;
    }
    let seconds = summary.elapsed.as_secs_f64().max(1e-9);
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
            format!("{}/s", numbers::cut(all as f64 / seconds, 6)),
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
    text.push('\n');
    for line in &lines {
        let _ = writeln!(text, "    {}", widths.lay_out(line).trim_end());
    }
    text.push('\n');
    for check in &checks {
        let _ = writeln!(text, "    {} {}", mark(check.fails == 0), check.name);
        if check.fails > 0 {
            let whole = check.passes + check.fails;
            let percent = (check.passes as f64 / whole as f64 * 100.0).floor();
            let _ = writeln!(
                text,
                "      ↳  {percent}% — ✓ {} / ✗ {}",
                check.passes, check.fails
            );
        }
    }
}

/// The lines of metrics that are wanted, sub-metrics below their metric.
fn lines(summary: &Summary, wanted: &dyn Fn(&str) -> bool) -> Vec<Line> {
    let mut found: Vec<_> = summary
        .metrics
        .iter()
        .filter(|(metric, _)| wanted(parts(&metric.name).0))
        .collect();
    found.sort_by_key(|(metric, _)| parts(&metric.name));
    found
        .into_iter()
        .map(|(metric, measured)| line(summary, metric, measured))
        .collect()
}

fn line(summary: &Summary, metric: &Metric, measured: &Measured) -> Line {
    let name = match parts(&metric.name) {
        (_, Some(part)) => format!("  {{ {part} }}"),
        (name, None) => name.to_owned(),
    };
    let unit = summary.time_unit.as_deref();
    let show = |value: f64| numbers::value(value, metric.contains, unit);
    let values = summary.values(measured);
    let cells = match measured {
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
    };
    Line {
        weight: metric.name.chars().count() + name.chars().count(),
        name,
        cells,
    }
}

/// How wide columns are.
struct Widths {
    name: usize,
    value: usize,
    beside: [usize; 2],
    trend: Vec<usize>,
}

impl Widths {
    fn of<'line>(lines: impl Iterator<Item = &'line Line>) -> Self {
        let mut widths = Self {
            name: 0,
            value: 0,
            beside: [0; 2],
            trend: Vec::new(),
        };
        for line in lines {
            widths.name = widths.name.max(line.weight + 3);
            match &line.cells {
                Cells::Trend(cells) => {
                    widths.trend.resize(widths.trend.len().max(cells.len()), 0);
                    for (width, cell) in widths.trend.iter_mut().zip(cells) {
                        *width = (*width).max(cell.chars().count());
                    }
                }
                Cells::Plain(value, beside) => {
                    widths.value = widths.value.max(value.chars().count());
                    for (width, cell) in widths.beside.iter_mut().zip(beside) {
                        *width = (*width).max(cell.chars().count());
                    }
                }
            }
        }
        widths
    }

    fn lay_out(&self, line: &Line) -> String {
        let dots = self.name - line.name.chars().count();
        let mut text = format!("{}{}:", line.name, ".".repeat(dots));
        let mut put = |cell: &str, width: usize| {
            let fill = width.saturating_sub(cell.chars().count());
            let _ = write!(text, " {cell}{}", " ".repeat(fill));
        };
        match &line.cells {
            Cells::Trend(cells) => {
                for (cell, width) in cells.iter().zip(&self.trend) {
                    put(cell, *width);
                }
            }
            Cells::Plain(value, beside) => {
                put(value, self.value);
                for (cell, width) in beside.iter().zip(&self.beside) {
                    put(cell, *width);
                }
            }
        }
        text.trim_end().to_owned()
    }
}
