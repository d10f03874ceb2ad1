//! What the report says in words and tables.

use std::fmt::Write as _;

use crate::metric::{Measured, Metric, ValueKind};
use crate::scenario::ScenarioPlan;
use crate::summary::{Summary, numbers};
use crate::timeline::{Point, Stage, Timeline};
use crate::watch::{AutoscalerTimeline, ScalingDecision, WatchTimeline};

use super::chart::TimeAxis;
use super::html::Escaped;
use super::panels::{failure_totals, replica_totals};
use super::reaction::serving;
use super::{Findings, Report, units};

/// A table that is written row by row.
struct Table<'html> {
    html: &'html mut String,
}

/// What stands in a cell.
enum Cell<'text> {
    /// Words.
    Text(&'text str),
    /// A number, which stands at the right.
    Number(String),
    /// Whether something is well, with words, so that it is not told by colour alone.
    Verdict(bool, &'text str),
    /// Words that name the row.
    Name(&'text str),
}

// === impl Table ===

impl<'html> Table<'html> {
    /// Begins a table. A heading that begins with `#` stands over numbers.
    fn open(html: &'html mut String, headings: &[&str]) -> Self {
        html.push_str("<div class=\"scroll\"><table><thead><tr>");
        for heading in headings {
            let (class, text) = match heading.strip_prefix('#') {
                Some(text) => (" class=\"number\"", text),
                None => ("", *heading),
            };
            let _ = write!(html, "<th scope=\"col\"{class}>{}</th>", Escaped(text));
        }
        html.push_str("</tr></thead><tbody>");
        Self { html }
    }

    fn row(&mut self, cells: &[Cell<'_>]) {
        self.row_with_id(None, cells);
    }

    fn row_with_id(&mut self, id: Option<&str>, cells: &[Cell<'_>]) {
        let html = &mut *self.html;
        match id {
            Some(id) => {
                let _ = write!(html, "<tr id=\"{id}\">");
            }
            None => html.push_str("<tr>"),
        }
        for cell in cells {
            let _ = match cell {
                Cell::Text(text) => write!(html, "<td>{}</td>", Escaped(text)),
                Cell::Name(text) => write!(html, "<th scope=\"row\">{}</th>", Escaped(text)),
                Cell::Number(text) => write!(html, "<td class=\"number\">{}</td>", Escaped(text)),
                Cell::Verdict(good, words) => {
                    let (class, sign) = if *good {
                        ("good", "✓")
                    } else {
                        ("bad", "✗")
                    };
                    write!(
                        html,
                        "<td class=\"{class}\"><span aria-hidden=\"true\">{sign}</span> {}</td>",
                        Escaped(words)
                    )
                }
            };
        }
        html.push_str("</tr>");
    }

    fn close(self) {
        self.html.push_str("</tbody></table></div>");
    }
}

fn section(html: &mut String, title: &str) {
    let _ = write!(html, "<section><h2>{}</h2>", Escaped(title));
}

/// The figures that one looks at first.
pub(super) fn key_figures(report: &Report<'_>, findings: &Findings, html: &mut String) {
    html.push_str("<dl class=\"tiles\">");
    let mut tile = |name: &str, value: &str, more: &str| {
        let _ = write!(
            html,
            "<div><dt>{}</dt><dd><b>{}</b> <small>{}</small></dd></div>",
            Escaped(name),
            Escaped(value),
            Escaped(more)
        );
    };
    // As the summary has it, with setup and teardown.
    let seconds = report.summary.elapsed.as_secs_f64().max(1e-3);
    let counted = |name: &str| match report.measured(name) {
        Some(Measured::Counter { sum }) => *sum,
        _ => 0.0,
    };
    let requests = counted("http_reqs");
    let iterations = counted("iterations");
    if requests > 0.0 {
        let rate = format!("{}/s on average", units::significant(requests / seconds));
        tile("Requests", &units::count(requests), &rate);
    } else {
        let rate = format!("{}/s on average", units::significant(iterations / seconds));
        tile("Iterations", &units::count(iterations), &rate);
    }
    let (latency, of) = match report.measured("http_req_duration") {
        Some(Measured::Trend(trend)) => (Some(trend), "Latency, p95"),
        _ => match report.measured("iteration_duration") {
            Some(Measured::Trend(trend)) => (Some(trend), "Iteration, p95"),
            _ => (None, ""),
        },
    };
    if let Some(trend) = latency {
        let percentile = |percent| units::time(trend.percentile(percent));
        let more = format!("p50 {}, p99 {}", percentile(50.0), percentile(99.0));
        tile(of, &percentile(95.0), &more);
    }
    if let Some(Measured::Rate { passes, total }) = report.measured("http_req_failed") {
        let failed = as_float(*passes);
        let part = units::part(failed / as_float(*total).max(1.0));
        tile("Failed requests", &units::count(failed), &part);
    }
    let dropped = counted("dropped_iterations");
    if dropped > 0.0 {
        tile(
            "Dropped iterations",
            &units::count(dropped),
            "no user was free",
        );
    }
    let most_users = report
        .timeline
        .points()
        .iter()
        .map(|point| point.users)
        .fold(0.0, f64::max);
    tile("Virtual users", &units::count(most_users), "active at most");
    if let Some(autoscaler) = report
        .watched
        .and_then(|watched| watched.autoscalers.first())
    {
        let serving = autoscaler.readings.iter().map(serving);
        let least = serving.clone().min().unwrap_or(0);
        let most = serving.max().unwrap_or(0);
        let text = if least == most {
            format!("{least}")
        } else {
            format!("{least} – {most}")
        };
        tile(
            "Replicas serving",
            &text,
            &format!("hpa/{}", autoscaler.name),
        );
    }
    let first = findings
        .reactions
        .iter()
        .flatten()
        .find_map(|reaction| Some((reaction, reaction.added?)));
    if let Some((reaction, added)) = first {
        let more = format!("after the load step at {}", units::moment(reaction.step.at));
        tile("Time to added capacity", &units::length(added), &more);
    }
    if let Some(evenness) = &findings.evenness {
        let more = format!("busiest of {} replicas, over the mean", evenness.replicas);
        tile("Evenness", &format!("× {:.2}", evenness.most), &more);
    }
    html.push_str("</dl>");
}

/// Doubts about the numbers.
pub(super) fn doubts(doubts: &[String], html: &mut String) {
    for doubt in doubts {
        let _ = write!(
            html,
            "<p class=\"doubt\" role=\"note\"><b>Take care:</b> {}</p>",
            Escaped(doubt)
        );
    }
}

/// What the marks of the charts are, and how to read values.
pub(super) fn legend_of_marks(time: &TimeAxis) -> String {
    let mut words =
        "Point at a chart, or use the arrow keys, to read its values. ▲ load grows".to_owned();
    if !time.decisions.is_empty() {
        words.push_str(" · ① ┊ an autoscaler decided");
    }
    words
}

/// All decisions in the order of time, with the autoscaler that made each.
pub(super) fn all_decisions(
    watched: Option<&WatchTimeline>,
) -> impl Iterator<Item = (&AutoscalerTimeline, &ScalingDecision)> {
    let mut all: Vec<_> = watched
        .into_iter()
        .flat_map(|watched| &watched.autoscalers)
        .flat_map(|autoscaler| {
            autoscaler
                .decisions
                .iter()
                .map(move |decision| (autoscaler, decision))
        })
        .collect();
    all.sort_by(|(_, one), (_, other)| one.seconds.total_cmp(&other.seconds));
    all.into_iter()
}

/// How the platform reacted.
pub(super) fn reactions(
    watched: Option<&WatchTimeline>,
    findings: &Findings,
    timeline: &Timeline,
    html: &mut String,
) {
    let replicas = replica_totals(timeline.whole().map(|(_, point)| point));
    if watched.is_none() && replicas.is_empty() {
        return;
    }
    section(html, "How the platform reacted");
    for (autoscaler, reactions) in watched
        .into_iter()
        .flat_map(|watched| &watched.autoscalers)
        .zip(&findings.reactions)
    {
        let _ = write!(html, "<h3>hpa/{}</h3>", Escaped(&autoscaler.name));
        let headings = [
            "Load step",
            "#At",
            "#Decided after",
            "#Capacity added after",
            "#Replicas serving",
        ];
        let mut table = Table::open(html, &headings);
        let after = |length: Option<std::time::Duration>| {
            Cell::Number(length.map_or_else(|| "–".to_owned(), units::length))
        };
        for reaction in reactions {
            let (before, most) = reaction.replicas;
            table.row(&[
                Cell::Name(&reaction.step.what),
                Cell::Number(units::moment(reaction.step.at)),
                after(reaction.decided),
                after(reaction.added),
                Cell::Number(if before == most {
                    format!("{before}")
                } else {
                    format!("{before} → {most}")
                }),
            ]);
        }
        table.close();
        for fault in &autoscaler.faults {
            let _ = write!(html, "<p class=\"doubt\">{}</p>", Escaped(fault));
        }
    }
    if replicas.is_empty() {
        html.push_str("<p>The answers do not name the replica that gave them, so how evenly the replicas shared the requests is not known.</p></section>");
        return;
    }
    html.push_str("<h3>Requests by replica</h3>");
    if let Some(evenness) = &findings.evenness {
        let _ = write!(
            html,
            "<p>From {} to {} the same {} replicas answered. The busiest took {:.2} times the mean, the idlest {:.2} times.</p>",
            units::moment(evenness.start),
            units::moment(evenness.end),
            evenness.replicas,
            evenness.most,
            evenness.least
        );
    }
    let all: u64 = replicas.iter().map(|(_, count)| count).sum();
    let mut table = Table::open(html, &["Replica", "#First answer", "#Requests", "#Part"]);
    for (name, count) in &replicas {
        let first = timeline
            .whole()
            .find(|(_, point)| point.replicas.of(name) > 0);
        table.row(&[
            Cell::Name(name),
            Cell::Number(first.map_or_else(String::new, moment)),
            Cell::Number(units::count(as_float(*count))),
            Cell::Number(units::part(as_float(*count) / as_float(all.max(1)))),
        ]);
    }
    table.close();
    html.push_str("</section>");
}

/// Each decision of the autoscalers, with its reason.
pub(super) fn decisions(watched: Option<&WatchTimeline>, html: &mut String) {
    if all_decisions(watched).next().is_none() {
        return;
    }
    section(html, "Scaling decisions");
    let mut table = Table::open(html, &["#No.", "#At", "Autoscaler", "#Replicas", "Reason"]);
    for (index, (autoscaler, decision)) in all_decisions(watched).enumerate() {
        let number = index + 1;
        let failed = format!("failed: {}", decision.reason);
        let at = std::time::Duration::from_secs_f64(decision.seconds.max(0.0));
        table.row_with_id(
            Some(&format!("decision-{number}")),
            &[
                Cell::Number(number.to_string()),
                Cell::Number(units::moment(at)),
                Cell::Text(&format!("hpa/{}", autoscaler.name)),
                Cell::Number(format!("{} → {}", decision.from, decision.to)),
                if decision.done {
                    Cell::Text(&decision.reason)
                } else {
                    Cell::Verdict(false, &failed)
                },
            ],
        );
    }
    table.close();
    html.push_str("</section>");
}

/// Thresholds with their verdicts.
pub(super) fn thresholds(summary: &Summary, html: &mut String) {
    if summary.verdicts.is_empty() {
        return;
    }
    section(html, "Thresholds");
    let mut table = Table::open(html, &["Metric", "Condition", "#Value", "Verdict"]);
    for verdict in &summary.verdicts {
        let metric = summary
            .metrics
            .iter()
            .find(|(metric, _)| *metric.name == *verdict.metric);
        let value = match metric {
            Some((_, Measured::Rate { .. })) => units::part(verdict.value),
            Some((metric, Measured::Trend(_) | Measured::Gauge { .. })) => {
                value(metric, verdict.value)
            }
            Some((metric, Measured::Counter { .. })) if verdict.aggregation() == "rate" => {
                format!("{}/s", value(metric, verdict.value))
            }
            Some((metric, Measured::Counter { .. })) => value(metric, verdict.value),
            None => units::significant(verdict.value),
        };
        table.row(&[
            Cell::Name(&verdict.metric),
            Cell::Text(&verdict.condition),
            Cell::Number(value),
            Cell::Verdict(verdict.met, if verdict.met { "met" } else { "crossed" }),
        ]);
    }
    table.close();
    html.push_str("</section>");
}

/// How often each check passed.
pub(super) fn checks(summary: &Summary, html: &mut String) {
    if summary.checks.checks().is_empty() {
        return;
    }
    section(html, "Checks");
    let mut table = Table::open(html, &["Check", "#Passed", "#Failed", "Verdict"]);
    for check in summary.checks.checks() {
        let name = match check.group.trim_start_matches("::") {
            "" => check.name.clone(),
            group => format!("{} › {}", group.replace("::", " › "), check.name),
        };
        let all = as_float(check.passes + check.fails);
        let words = if check.fails == 0 {
            "always".to_owned()
        } else {
            format!("{} passed", units::part(as_float(check.passes) / all))
        };
        table.row(&[
            Cell::Name(&name),
            Cell::Number(units::count(as_float(check.passes))),
            Cell::Number(units::count(as_float(check.fails))),
            Cell::Verdict(check.fails == 0, &words),
        ]);
    }
    table.close();
    html.push_str("</section>");
}

/// Failed requests by kind.
pub(super) fn failures(timeline: &Timeline, html: &mut String) {
    section(html, "Failed requests");
    let kinds = failure_totals(timeline.whole().map(|(_, point)| point));
    if kinds.is_empty() {
        html.push_str("<p>None.</p></section>");
        return;
    }
    let requests: f64 = timeline.whole().map(|(_, point)| point.requests).sum();
    let headings = ["Kind", "#Requests", "#Part of all", "#First at", "#Last at"];
    let mut table = Table::open(html, &headings);
    for (kind, count) in kinds {
        let mut seen = timeline
            .whole()
            .filter(|(_, point)| point.failures.of(kind) > 0);
        let first = seen.next();
        let last = seen.last().or(first);
        let at =
            |seen: Option<(Stage, &Point)>| Cell::Number(seen.map_or_else(String::new, moment));
        table.row(&[
            Cell::Name(&kind.to_string()),
            Cell::Number(units::count(as_float(count))),
            Cell::Number(units::part(as_float(count) / requests.max(1.0))),
            at(first),
            at(last),
        ]);
    }
    table.close();
    html.push_str("</section>");
}

/// The end summary: every metric.
pub(super) fn metrics(summary: &Summary, html: &mut String) {
    section(html, "All metrics");
    let statistics = &summary.trend_statistics;
    let trends: Vec<_> = summary
        .metrics
        .iter()
        .filter(|(_, measured)| matches!(measured, Measured::Trend(_)))
        .collect();
    if !trends.is_empty() {
        let mut headings = vec!["Distributions".to_owned()];
        headings.extend(statistics.iter().map(|name| format!("#{name}")));
        let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
        let mut table = Table::open(html, &headings);
        for (metric, measured) in trends {
            let mut cells = vec![Cell::Name(&metric.name)];
            cells.extend(summary.values(measured).into_iter().map(|(name, number)| {
                Cell::Number(if name == "count" {
                    units::count(number)
                } else {
                    value(metric, number)
                })
            }));
            table.row(&cells);
        }
        table.close();
    }
    let mut table = Table::open(html, &["Others", "#Value", "More"]);
    let seconds = summary.elapsed.as_secs_f64().max(1e-3);
    for (metric, measured) in &summary.metrics {
        let (shown, more) = match measured {
            Measured::Counter { sum } => {
                let rate = format!("{}/s", value(metric, sum / seconds));
                (value(metric, *sum), rate)
            }
            Measured::Gauge { last, min, max, .. } => {
                let range = format!("from {} to {}", value(metric, *min), value(metric, *max));
                (value(metric, *last), range)
            }
            Measured::Rate { passes, total } => {
                let of = format!(
                    "{} of {}",
                    units::count(as_float(*passes)),
                    units::count(as_float(*total))
                );
                (
                    units::part(as_float(*passes) / as_float(*total).max(1.0)),
                    of,
                )
            }
            Measured::Trend(_) => continue,
        };
        table.row(&[
            Cell::Name(&metric.name),
            Cell::Number(shown),
            Cell::Text(&more),
        ]);
    }
    table.close();
    html.push_str("</section>");
}

/// What was to be done.
pub(super) fn scenarios(plans: &[ScenarioPlan], html: &mut String) {
    section(html, "What was asked for");
    let mut table = Table::open(html, &["Scenario", "Executor", "Load"]);
    for plan in plans {
        table.row(&[
            Cell::Name(&plan.name),
            Cell::Text(plan.executor.name()),
            Cell::Text(&plan.describe()),
        ]);
    }
    table.close();
    html.push_str("</section>");
}

/// The figures behind the charts, for those who do not see them or want them exact.
pub(super) fn intervals(points: &[Point], html: &mut String) {
    html.push_str("<details><summary>The figures behind the charts</summary>");
    let headings = [
        "From",
        "#Requests",
        "#Iterations",
        "#Failed",
        "#Dropped",
        "#p50",
        "#p90",
        "#p95",
        "#p99",
        "#Users",
    ];
    let mut table = Table::open(html, &headings);
    for point in points {
        let failed: u64 = point.failures.iter().map(|(_, count)| count).sum();
        let percentile = |percent| {
            let found = point.duration.percentile(percent);
            Cell::Number(found.map_or_else(|| "–".to_owned(), units::time))
        };
        table.row(&[
            Cell::Name(&units::moment(point.start)),
            Cell::Number(units::count(point.requests)),
            Cell::Number(units::count(point.iterations)),
            Cell::Number(units::count(as_float(failed))),
            Cell::Number(units::count(point.dropped)),
            percentile(50.0),
            percentile(90.0),
            percentile(95.0),
            percentile(99.0),
            Cell::Number(units::count(point.users)),
        ]);
    }
    table.close();
    html.push_str("</details>");
}

/// When a point of the run is, in words.
fn moment((stage, point): (Stage, &Point)) -> String {
    match stage {
        Stage::Setup => "setup".to_owned(),
        Stage::Load => units::moment(point.start),
        Stage::Teardown => "teardown".to_owned(),
    }
}

/// What the charts do not show.
pub(super) fn not_drawn(timeline: &Timeline, html: &mut String) {
    let requests: f64 = timeline
        .whole()
        .filter(|(stage, _)| *stage != Stage::Load)
        .map(|(_, point)| point.requests)
        .sum();
    if requests > 0.0 {
        let _ = write!(
            html,
            "<p>The {} requests of setup and teardown are counted in this page's totals and not drawn.</p>",
            units::count(requests)
        );
    }
}

fn value(metric: &Metric, value: f64) -> String {
    match metric.contains {
        ValueKind::Time => units::time(value),
        ValueKind::Data => numbers::bytes(value),
        ValueKind::Default => units::significant(value),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_float(count: u64) -> f64 {
    count as f64
}
