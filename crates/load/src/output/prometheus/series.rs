//! Samples as Prometheus' series, named and valued as k6's remote write does it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use springtide_metrics::remote_write::message::{self, TimeSeries, WriteRequest};
use springtide_metrics::tsdb::STALE_NAN;

use crate::metric::{Measured, Metric, MetricId, Sample, Tags, ValueKind};
use crate::thresholds::Aggregation;

use super::settings::Statistic;

/// What every tag set of every metric came to, from the run's start on.
#[derive(Debug)]
pub(super) struct SeriesBook {
    statistics: Vec<Statistic>,
    series: HashMap<(MetricId, Tags), Series>,
    /// Those that changed since the last request, in the order in which they did.
    changed: Vec<(MetricId, Tags)>,
    /// The time of the last sample.
    latest: Timestamp,
}

#[derive(Debug)]
struct Series {
    metric: Arc<Metric>,
    measured: Measured,
    latest: Timestamp,
    is_changed: bool,
}

// === impl SeriesBook ===

impl SeriesBook {
    pub(super) fn new(statistics: Vec<Statistic>) -> Self {
        Self {
            statistics,
            series: HashMap::new(),
            changed: Vec::new(),
            latest: Timestamp::UNIX_EPOCH,
        }
    }

    pub(super) fn add(&mut self, sample: &Sample) {
        let key = (sample.metric.id, sample.tags.clone());
        let series = self.series.entry(key.clone()).or_insert_with(|| Series {
            metric: Arc::clone(&sample.metric),
            measured: Measured::beginning(sample.metric.kind, sample.value, sample.time),
            latest: sample.time,
            is_changed: false,
        });
        series.measured.add(sample.value, sample.time);
        series.latest = series.latest.max(sample.time);
        self.latest = self.latest.max(sample.time);
        if !series.is_changed {
            series.is_changed = true;
            self.changed.push(key);
        }
    }

    /// The series that changed since the last call, each with what it came to; nothing where none did.
    pub(super) fn take_changed(&mut self) -> Option<WriteRequest> {
        let mut timeseries = Vec::new();
        for key in std::mem::take(&mut self.changed) {
            let Some(series) = self.series.get_mut(&key) else {
                continue;
            };
            series.is_changed = false;
            let time = series.latest.as_millisecond();
            let values = series.values(&self.statistics);
            timeseries.extend(values.map(|(name, value)| one(name, &key.1, time, value)));
        }
        request(timeseries)
    }

    /// All series, marked as stale a moment after the last sample.
    pub(super) fn stale(&self) -> Option<WriteRequest> {
        let time = self.latest.as_millisecond() + 1;
        let timeseries = self.series.iter().flat_map(|((_, tags), series)| {
            series
                .values(&self.statistics)
                .map(move |(name, _)| one(name, tags, time, STALE_NAN))
        });
        request(timeseries.collect())
    }
}

// === impl Series ===

impl Series {
    /// The names and values under which the metric is sent.
    fn values<'series>(
        &'series self,
        statistics: &'series [Statistic],
    ) -> Box<dyn Iterator<Item = (String, f64)> + 'series> {
        let name = &self.metric.name;
        match &self.measured {
            Measured::Counter { sum } => Box::new([(format!("k6_{name}_total"), *sum)].into_iter()),
            Measured::Gauge { last, .. } => Box::new([(format!("k6_{name}"), *last)].into_iter()),
            rate @ Measured::Rate { .. } => {
                let rate = Aggregation::Rate.of(Some(rate), Duration::ZERO);
                Box::new([(format!("k6_{name}_rate"), rate)].into_iter())
            }
            Measured::Trend(trend) => Box::new(statistics.iter().map(move |statistic| {
                let value = match statistic {
                    Statistic::Sum => trend.sum(),
                    Statistic::Of(aggregation, _) => {
                        aggregation.of(Some(&self.measured), Duration::ZERO)
                    }
                };
                // Prometheus counts time in seconds. How many values there were is no time.
                let is_time = self.metric.contains == ValueKind::Time
                    && !matches!(statistic, Statistic::Of(Aggregation::Count, _));
                let value = if is_time { value / 1000.0 } else { value };
                (format!("k6_{name}_{}", statistic.ending()), value)
            })),
        }
    }
}

fn request(timeseries: Vec<TimeSeries>) -> Option<WriteRequest> {
    (!timeseries.is_empty()).then(|| WriteRequest {
        timeseries,
        metadata: Vec::new(),
    })
}

fn one(name: String, tags: &Tags, timestamp: i64, value: f64) -> TimeSeries {
    // An empty label is none to Prometheus.
    let mut labels: Vec<message::Label> = tags
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| message::Label {
            name: label_name(name),
            value: value.to_owned(),
        })
        .collect();
    labels.push(message::Label {
        name: "__name__".to_owned(),
        value: name,
    });
    labels.sort_by(|one, other| one.name.cmp(&other.name));
    labels.dedup_by(|later, earlier| later.name == earlier.name);
    TimeSeries {
        labels,
        samples: vec![message::Sample { value, timestamp }],
        histograms: Vec::new(),
    }
}

/// A tag's name as a label can have it: letters, digits and underscores.
fn label_name(tag: &str) -> String {
    let mut name: String = tag
        .chars()
        .map(|character| {
            if character.is_ascii_alphanumeric() {
                character
            } else {
                '_'
            }
        })
        .collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{MetricKind, MetricRegistry};

    fn shown(request: Option<WriteRequest>) -> Vec<String> {
        let series = request.into_iter().flat_map(|request| request.timeseries);
        let mut lines: Vec<String> = series
            .map(|series| {
                let labels: Vec<_> = series
                    .labels
                    .iter()
                    .map(|label| format!("{}={}", label.name, label.value))
                    .collect();
                let sample = series.samples[0];
                format!(
                    "{} {} @{}",
                    labels.join(","),
                    sample.value,
                    sample.timestamp
                )
            })
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn each_kind_has_its_name_and_value() {
        let registry = MetricRegistry::default();
        let statistics = vec![
            Statistic::Of(Aggregation::Percentile(95.0), "p95".to_owned()),
            Statistic::Of(Aggregation::Count, "count".to_owned()),
            Statistic::Sum,
        ];
        let mut book = SeriesBook::new(statistics);
        let metric = |name: &str, kind, contains| registry.register(name, kind, contains).unwrap();
        let tags: Tags = [("a", "b"), ("odd-name", "1"), ("empty", "")]
            .into_iter()
            .collect();
        let mut add = |metric: &Arc<Metric>, value: f64, second: i64| {
            book.add(&Sample {
                metric: Arc::clone(metric),
                value,
                tags: tags.clone(),
                metadata: None,
                time: Timestamp::from_second(second).unwrap(),
            });
        };
        let orders = metric("orders", MetricKind::Counter, ValueKind::Default);
        let depth = metric("depth", MetricKind::Gauge, ValueKind::Default);
        let good = metric("good", MetricKind::Rate, ValueKind::Default);
        let timed = metric("timed", MetricKind::Trend, ValueKind::Time);
        let plain = metric("plain", MetricKind::Trend, ValueKind::Default);
        add(&orders, 2.0, 1);
        add(&orders, 3.0, 2);
        add(&depth, 7.0, 1);
        add(&good, 1.0, 1);
        add(&good, 0.0, 1);
        add(&timed, 250.0, 1);
        add(&plain, 5.0, 1);
        let name = |name: &str| format!("__name__={name},a=b,odd_name=1");
        assert_eq!(
            shown(book.take_changed()),
            [
                format!("{} 7 @1000", name("k6_depth")),
                format!("{} 0.5 @1000", name("k6_good_rate")),
                format!("{} 5 @2000", name("k6_orders_total")),
                format!("{} 1 @1000", name("k6_plain_count")),
                format!("{} 5 @1000", name("k6_plain_p95")),
                format!("{} 5 @1000", name("k6_plain_sum")),
                format!("{} 1 @1000", name("k6_timed_count")),
                format!("{} 0.25 @1000", name("k6_timed_p95")),
                format!("{} 0.25 @1000", name("k6_timed_sum")),
            ]
        );
        assert!(book.take_changed().is_none(), "nothing changed");
        let sample = Sample {
            metric: orders,
            value: 1.0,
            tags,
            metadata: None,
            time: Timestamp::from_second(3).unwrap(),
        };
        book.add(&sample);
        assert_eq!(
            shown(book.take_changed()),
            [format!("{} 6 @3000", name("k6_orders_total"))]
        );
        let stale = book.stale().unwrap();
        assert_eq!(stale.timeseries.len(), 9);
        for series in stale.timeseries {
            assert_eq!(series.samples[0].value.to_bits(), STALE_NAN.to_bits());
            assert_eq!(series.samples[0].timestamp, 3001);
        }
    }
}
