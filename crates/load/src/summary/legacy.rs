//! The summary as k6 printed it before version 1: groups with their checks, then all metrics in one list.

use std::fmt::Write as _;

use super::Summary;
use super::columns::{Line, Widths};
use super::text::{cells, failed_part, in_order, mark, parts};
use crate::metric::{Measured, Metric};

/// The whole summary.
pub(super) fn text(summary: &Summary) -> String {
    let mut text = "\n".to_owned();
    group(summary, "", "     ", &mut text);
    let mut metrics: Vec<_> = summary.metrics.iter().collect();
    metrics.sort_by(|one, other| in_order(&one.0.name, &other.0.name));
    let lines: Vec<Line> = metrics
        .into_iter()
        .map(|(metric, measured)| line(summary, metric, measured))
        .collect();
    let widths = Widths::of(lines.iter());
    for line in &lines {
        let _ = writeln!(text, "   {}", widths.lay_out(line));
    }
    text
}

/// The checks of a group, and the groups within it.
fn group(summary: &Summary, path: &str, indent: &str, text: &mut String) {
    let all = summary.checks.checks().iter();
    let checks: Vec<_> = all.filter(|check| check.group == path).collect();
    for check in &checks {
        let _ = writeln!(text, "{indent}{} {}", mark(check.fails == 0), check.name);
        if check.fails > 0 {
            let _ = writeln!(text, "{indent} {}", failed_part(check.passes, check.fails));
        }
    }
    if !checks.is_empty() {
        text.push('\n');
    }
    for (name, inner) in summary.checks.groups_in(path) {
        let _ = write!(text, "{indent}█ {name}\n\n");
        group(summary, inner, &format!("{indent}  "), text);
    }
}

fn line(summary: &Summary, metric: &Metric, measured: &Measured) -> Line {
    let sign = if summary.verdicts_of(metric).next().is_none() {
        ' '
    } else {
        mark(summary.verdicts_of(metric).all(|verdict| verdict.met))
    };
    let name = match parts(&metric.name) {
        (_, Some(part)) => format!("  {sign} {{ {part} }}"),
        (name, None) => format!("{sign} {name}"),
    };
    Line {
        weight: name.chars().count(),
        name,
        cells: cells(summary, metric, measured),
    }
}
