//! Which charts a run has.

use std::collections::BTreeMap;

use crate::metric::FailureKind;
use crate::timeline::{Distribution, Point, Timeline};
use crate::watch::{
    AutoscalerReading, AutoscalerTimeline, MetricReading, MetricUnit, WatchTimeline,
};

use super::chart::{Chart, Form, Series};
use super::reaction::serving;
use super::units::Unit;

/// So many kinds of failure and so many replicas have a series of their own; the others share one.
const MOST_SERIES: usize = 10;

/// All charts of a run, in the order in which they stand on the page.
pub(super) fn charts(timeline: &Timeline, watched: Option<&WatchTimeline>) -> Vec<Chart> {
    let points = timeline.points();
    let mut charts = vec![rate(points), latency(timeline)];
    charts.extend(failures(points));
    charts.push(users(points));
    for (index, autoscaler) in watched
        .iter()
        .flat_map(|watched| &watched.autoscalers)
        .enumerate()
    {
        charts.push(replicas(autoscaler, index));
        charts.extend(utilisation(autoscaler, points, index));
    }
    charts.extend(shares(points));
    charts
}

fn chart(id: &str, title: &str, note: &str, unit: Unit, form: Form, series: Vec<Series>) -> Chart {
    Chart {
        id: id.to_owned(),
        title: title.to_owned(),
        note: note.to_owned(),
        unit,
        form,
        series,
        numbered: false,
    }
}

/// A series of a value for each point, at the middle of its time.
fn over_points(
    name: &str,
    points: &[Point],
    unit: Unit,
    value: impl Fn(&Point) -> Option<f64>,
) -> Series {
    let values = points
        .iter()
        .map(|point| {
            let middle = f64::midpoint(point.start.as_secs_f64(), point.end.as_secs_f64());
            (middle, value(point))
        })
        .collect();
    peaked(name, values, unit)
}

fn peaked(name: &str, values: Vec<(f64, Option<f64>)>, unit: Unit) -> Series {
    let mut series = Series {
        name: name.to_owned(),
        values,
        at_rest: "none".to_owned(),
        look: None,
    };
    if let Some(greatest) = series.greatest() {
        series.at_rest = format!("peak {}", unit.text(greatest));
    }
    series
}

fn uses_http(points: &[Point]) -> bool {
    points.iter().any(|point| point.requests > 0.0)
}

fn rate(points: &[Point]) -> Chart {
    let unit = Unit::PerSecond;
    let a_second = |name: &str, count: fn(&Point) -> f64| {
        over_points(name, points, unit, |point| {
            Some(point.per_second(count(point)))
        })
    };
    let mut series = Vec::new();
    if uses_http(points) {
        series.push(a_second("requests", |point| point.requests));
    }
    // Where each iteration is one request, one line tells of both.
    if points
        .iter()
        .any(|point| (point.iterations - point.requests).abs() > 0.5)
        || series.is_empty()
    {
        series.push(a_second("iterations", |point| point.iterations));
    }
    if points.iter().any(|point| point.dropped > 0.0) {
        series.push(a_second("iterations dropped: no user was free", |point| {
            point.dropped
        }));
    }
    chart("rate", "Request rate", "", unit, Form::Area, series)
}

fn latency(timeline: &Timeline) -> Chart {
    let unit = Unit::Time;
    let points = timeline.points();
    let percentile = |name: &str, percent: f64, of: fn(&Point) -> &Distribution| {
        let mut series = over_points(name, points, unit, |point| of(point).percentile(percent));
        let mut whole = Distribution::default();
        timeline
            .whole()
            .for_each(|(_, point)| whole.merge(of(point)));
        if let Some(value) = whole.percentile(percent) {
            series.at_rest = format!("{} in all", unit.text(value));
        }
        series
    };
    let duration: fn(&Point) -> &Distribution = if uses_http(points) {
        |point| &point.duration
    } else {
        |point| &point.iteration_duration
    };
    let mut series: Vec<Series> = [50.0, 90.0, 95.0, 99.0]
        .into_iter()
        .map(|percent| percentile(&format!("p{percent}"), percent, duration))
        .collect();
    if points.iter().any(|point| point.response_time.count() > 0) {
        series.push(percentile(
            "p99 from when it was meant to start",
            99.0,
            |point| &point.response_time,
        ));
    }
    let note = if uses_http(points) {
        "http_req_duration: sending, waiting and receiving"
    } else {
        "iteration_duration"
    };
    chart("latency", "Latency", note, unit, Form::Lines, series)
}

fn failures(points: &[Point]) -> Option<Chart> {
    let unit = Unit::PerSecond;
    let kinds: Vec<FailureKind> = failure_totals(points)
        .into_iter()
        .map(|(kind, _)| kind)
        .collect();
    let (shown, others) = kinds.split_at(kinds.len().min(MOST_SERIES));
    let mut series: Vec<Series> = shown
        .iter()
        .map(|kind| {
            over_points(&kind.to_string(), points, unit, |point| {
                Some(point.per_second(as_float(point.failures.of(*kind))))
            })
        })
        .collect();
    if !others.is_empty() {
        series.push(over_points("other failures", points, unit, |point| {
            let count: u64 = others.iter().map(|kind| point.failures.of(*kind)).sum();
            Some(point.per_second(as_float(count)))
        }));
    }
    if points.iter().any(|point| point.failed_checks > 0) {
        series.push(over_points("checks failed", points, unit, |point| {
            Some(point.per_second(as_float(point.failed_checks)))
        }));
    }
    (!series.is_empty()).then(|| {
        chart(
            "failures",
            "Failures by kind",
            "",
            unit,
            Form::Lines,
            series,
        )
    })
}

fn users(points: &[Point]) -> Chart {
    let unit = Unit::Count;
    let series = vec![
        over_points("active", points, unit, |point| Some(point.users)),
        over_points("allocated", points, unit, |point| Some(point.max_users)),
    ];
    chart("users", "Virtual users", "", unit, Form::Area, series)
}

fn replicas(autoscaler: &AutoscalerTimeline, index: usize) -> Chart {
    let unit = Unit::Count;
    let changes = |name: &str, of: fn(&AutoscalerReading) -> i32| {
        let mut values: Vec<(f64, Option<f64>)> = Vec::new();
        for reading in &autoscaler.readings {
            let value = Some(f64::from(of(reading)));
            if values.last().is_none_or(|(_, last)| *last != value) {
                values.push((reading.seconds.max(0.0), value));
            }
        }
        let levels: Vec<String> = values
            .iter()
            .filter_map(|(_, value)| Some(unit.text((*value)?)))
            .collect();
        Series {
            name: name.to_owned(),
            at_rest: levels.join(" → "),
            values,
            look: None,
        }
    };
    let series = vec![
        changes("serving", serving),
        changes("wanted", |reading| reading.desired_replicas),
    ];
    let note = format!(
        "{}, from {} to {}",
        autoscaler.target, autoscaler.min_replicas, autoscaler.max_replicas
    );
    Chart {
        numbered: true,
        ..chart(
            &format!("replicas-{index}"),
            &format!("Replicas by hpa/{}", autoscaler.name),
            &note,
            unit,
            Form::Steps,
            series,
        )
    }
}

/// A chart for each unit that the metrics of an autoscaler have.
fn utilisation(autoscaler: &AutoscalerTimeline, points: &[Point], index: usize) -> Vec<Chart> {
    // Metrics in the order in which they were first seen.
    let mut metrics: Vec<(&str, MetricUnit)> = Vec::new();
    for metric in autoscaler
        .readings
        .iter()
        .flat_map(|reading| &reading.metrics)
    {
        let known = (metric.name.as_str(), metric.unit);
        if !metrics.contains(&known) {
            metrics.push(known);
        }
    }
    let series_of = |colour: usize, name: &str, unit: MetricUnit| {
        let shown = unit_of(unit);
        let read = |point: &Point, what: fn(&MetricReading) -> Option<f64>| {
            let end = point.end.as_secs_f64();
            let after = autoscaler
                .readings
                .partition_point(|reading| reading.seconds <= end);
            let reading = autoscaler.readings[..after].last()?;
            reading
                .metrics
                .iter()
                .find(|metric| metric.name == name && metric.unit == unit)
                .and_then(what)
        };
        let mut measured = over_points(name, points, shown, |point| {
            read(point, |metric| metric.current)
        });
        let mut target = over_points(&format!("{name}: target"), points, shown, |point| {
            read(point, |metric| metric.target)
        });
        target.at_rest = target
            .greatest()
            .map_or_else(|| "none".to_owned(), |value| shown.text(value));
        // A metric and its target have one colour.
        measured.look = Some((colour, 0));
        target.look = Some((colour, 1));
        [measured, target]
    };
    let chart_of = |id: String, title: String, unit: Unit, series: Vec<Series>| {
        let note = if unit == Unit::Percent {
            "of what the containers request"
        } else {
            ""
        };
        chart(&id, &title, note, unit, Form::Lines, series)
    };
    let percents: Vec<Series> = metrics
        .iter()
        .filter(|(_, unit)| *unit == MetricUnit::Percent)
        .enumerate()
        .flat_map(|(colour, (name, unit))| series_of(colour, name, *unit))
        .collect();
    let mut charts = Vec::new();
    if !percents.is_empty() {
        charts.push(chart_of(
            format!("utilisation-{index}"),
            format!("Utilisation seen by hpa/{}", autoscaler.name),
            Unit::Percent,
            percents,
        ));
    }
    // Amounts of different things share no axis.
    for (place, (name, unit)) in metrics.iter().enumerate() {
        if *unit == MetricUnit::Amount {
            charts.push(chart_of(
                format!("metric-{index}-{place}"),
                format!("{name} seen by hpa/{}", autoscaler.name),
                Unit::Amount,
                series_of(0, name, *unit).to_vec(),
            ));
        }
    }
    charts
}

fn unit_of(unit: MetricUnit) -> Unit {
    match unit {
        MetricUnit::Percent => Unit::Percent,
        MetricUnit::Amount => Unit::Amount,
    }
}

fn shares(points: &[Point]) -> Option<Chart> {
    let unit = Unit::PerSecond;
    let totals = replica_totals(points);
    if totals.is_empty() {
        return None;
    }
    let names: Vec<&str> = totals.iter().map(|(name, _)| name.as_str()).collect();
    let (shown, others) = names.split_at(names.len().min(MOST_SERIES));
    let mut series: Vec<Series> = shown
        .iter()
        .map(|name| {
            over_points(name, points, unit, |point| {
                Some(point.per_second(as_float(point.replicas.of(name))))
            })
        })
        .collect();
    if !others.is_empty() {
        series.push(over_points("other replicas", points, unit, |point| {
            let count: u64 = others.iter().map(|name| point.replicas.of(name)).sum();
            Some(point.per_second(as_float(count)))
        }));
    }
    Some(chart(
        "shares",
        "Requests by replica",
        "as the answers name them",
        unit,
        Form::Stack,
        series,
    ))
}

/// Replicas in the order in which they first answered, and how many requests each answered.
pub(super) fn replica_totals<'run>(
    points: impl IntoIterator<Item = &'run Point>,
) -> Vec<(String, u64)> {
    let mut totals: Vec<(String, u64)> = Vec::new();
    for (name, count) in points.into_iter().flat_map(|point| point.replicas.iter()) {
        match totals.iter_mut().find(|(known, _)| known == name) {
            Some((_, total)) => *total += count,
            None => totals.push((name.to_owned(), count)),
        }
    }
    totals
}

/// Kinds of failure and how often each was seen, the most frequent first.
pub(super) fn failure_totals<'run>(
    points: impl IntoIterator<Item = &'run Point>,
) -> Vec<(FailureKind, u64)> {
    let mut kinds: BTreeMap<FailureKind, u64> = BTreeMap::new();
    for (kind, count) in points.into_iter().flat_map(|point| point.failures.iter()) {
        *kinds.entry(kind).or_default() += count;
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
    kinds
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_float(count: u64) -> f64 {
    count as f64
}
