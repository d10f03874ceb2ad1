//! The messages of the protobuf format, `io.prometheus.client`. Native histograms' fields are read over.

use super::parser::ParseError;
use super::writer::{MetricKind, Writer};
use super::{Escaping, Format};
use crate::promql::go_format::open_metrics;

/// All samples of one metric.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MetricFamily {
    /// The metric's name.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// What it measures.
    #[prost(string, optional, tag = "2")]
    pub help: Option<String>,
    /// A [`MetricType`].
    #[prost(enumeration = "MetricType", optional, tag = "3")]
    pub r#type: Option<i32>,
    /// One a series, or one a histogram or summary.
    #[prost(message, repeated, tag = "4")]
    pub metric: Vec<Metric>,
    /// The unit of its values.
    #[prost(string, optional, tag = "5")]
    pub unit: Option<String>,
}

/// What a family's samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum MetricType {
    /// Only grows.
    Counter = 0,
    /// Goes up and down.
    Gauge = 1,
    /// Quantiles.
    Summary = 2,
    /// Not said.
    Untyped = 3,
    /// Buckets.
    Histogram = 4,
    /// Buckets that may shrink.
    GaugeHistogram = 5,
}

/// A label.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LabelPair {
    /// Its name.
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// Its value.
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

/// A number: the form of gauge, counter and untyped alike.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Number {
    /// The value.
    #[prost(double, optional, tag = "1")]
    pub value: Option<f64>,
}

/// A quantile of a summary.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Quantile {
    /// Which, 0 to 1.
    #[prost(double, optional, tag = "1")]
    pub quantile: Option<f64>,
    /// The value there.
    #[prost(double, optional, tag = "2")]
    pub value: Option<f64>,
}

/// Observations by quantile.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Summary {
    /// How many.
    #[prost(uint64, optional, tag = "1")]
    pub sample_count: Option<u64>,
    /// Their sum.
    #[prost(double, optional, tag = "2")]
    pub sample_sum: Option<f64>,
    /// The quantiles.
    #[prost(message, repeated, tag = "3")]
    pub quantile: Vec<Quantile>,
}

/// A bucket of a histogram.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Bucket {
    /// Observations in it and all below.
    #[prost(uint64, optional, tag = "1")]
    pub cumulative_count: Option<u64>,
    /// The greatest value it holds.
    #[prost(double, optional, tag = "2")]
    pub upper_bound: Option<f64>,
}

/// Observations by bucket.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Histogram {
    /// How many.
    #[prost(uint64, optional, tag = "1")]
    pub sample_count: Option<u64>,
    /// Their sum.
    #[prost(double, optional, tag = "2")]
    pub sample_sum: Option<f64>,
    /// The buckets, smallest first.
    #[prost(message, repeated, tag = "3")]
    pub bucket: Vec<Bucket>,
}

/// A series, a histogram or a summary.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Metric {
    /// Its labels, without the metric's name.
    #[prost(message, repeated, tag = "1")]
    pub label: Vec<LabelPair>,
    /// Set where the family is a gauge.
    #[prost(message, optional, tag = "2")]
    pub gauge: Option<Number>,
    /// Set where the family is a counter.
    #[prost(message, optional, tag = "3")]
    pub counter: Option<Number>,
    /// Set where the family is a summary.
    #[prost(message, optional, tag = "4")]
    pub summary: Option<Summary>,
    /// Set where the family's type is not known.
    #[prost(message, optional, tag = "5")]
    pub untyped: Option<Number>,
    /// When it was measured, milliseconds since the epoch.
    #[prost(int64, optional, tag = "6")]
    pub timestamp_ms: Option<i64>,
    /// Set where the family is a histogram.
    #[prost(message, optional, tag = "7")]
    pub histogram: Option<Histogram>,
}

/// The families of a body, each after its length.
///
/// # Errors
/// Where the body is cut short or no such message.
pub fn decode(mut body: &[u8]) -> Result<Vec<MetricFamily>, ParseError> {
    let mut families = Vec::new();
    while !body.is_empty() {
        let family = prost::Message::decode_length_delimited(&mut body).map_err(|error| {
            ParseError::protobuf(format!("message {}: {error}", families.len() + 1))
        })?;
        families.push(family);
    }
    Ok(families)
}

/// The same metrics as text, so that one reader serves all formats.
pub(super) fn as_text(body: &[u8]) -> Result<String, ParseError> {
    let mut writer = Writer::new(Format::Text(Escaping::Utf8));
    for family in decode(body)? {
        let name = family.name().to_owned();
        let help = family.help().to_owned();
        let kind = match family.r#type() {
            MetricType::Counter => MetricKind::Counter,
            MetricType::Gauge => MetricKind::Gauge,
            MetricType::Summary => MetricKind::Summary,
            MetricType::Untyped => MetricKind::Unknown,
            MetricType::Histogram => MetricKind::Histogram,
            MetricType::GaugeHistogram => MetricKind::GaugeHistogram,
        };
        let mut into = writer.family(&name, &help, kind);
        for metric in &family.metric {
            let labels: Vec<(&str, &str)> = metric
                .label
                .iter()
                .map(|pair| (pair.name(), pair.value()))
                .collect();
            let time = metric.timestamp_ms;
            if let Some(histogram) = &metric.histogram {
                let buckets: Vec<(f64, u64)> = histogram
                    .bucket
                    .iter()
                    .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()))
                    .collect();
                let (sum, count) = (histogram.sample_sum(), histogram.sample_count());
                into.histogram_at(&labels, &buckets, sum, count, time);
            } else if let Some(summary) = &metric.summary {
                let quantiles: Vec<(f64, f64)> = summary
                    .quantile
                    .iter()
                    .map(|quantile| (quantile.quantile(), quantile.value()))
                    .collect();
                let (sum, count) = (summary.sample_sum(), summary.sample_count());
                into.summary_at(&labels, &quantiles, sum, count, time);
            } else {
                let number = metric.counter.as_ref().or(metric.gauge.as_ref());
                let number = number.or(metric.untyped.as_ref());
                let value = number.map_or(0.0, Number::value);
                into.sample_at(&labels, value, time);
            }
        }
    }
    String::from_utf8(writer.finish()).map_err(|error| ParseError::protobuf(error.to_string()))
}

/// A bound as a label's value.
pub(super) fn bound(value: f64) -> String {
    open_metrics(value)
}
