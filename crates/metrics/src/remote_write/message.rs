//! The messages of remote write 1.0, `prometheus.WriteRequest`, and their compressed form.

use prost::Message as _;

/// A request: samples, and what metrics are.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WriteRequest {
    /// Samples by series.
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
    /// What metrics are.
    #[prost(message, repeated, tag = "3")]
    pub metadata: Vec<MetricMetadata>,
}

/// A series' samples.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TimeSeries {
    /// What names the series, sorted by name.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    /// The samples in the order of time.
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// Native histograms, which are recognised and not read.
    #[prost(message, repeated, tag = "4")]
    pub histograms: Vec<NativeHistogram>,
}

/// A label.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Label {
    /// Its name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A sample.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Sample {
    /// The value.
    #[prost(double, tag = "1")]
    pub value: f64,
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

/// A native histogram: its fields are read over.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct NativeHistogram {}

/// What a metric is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MetricMetadata {
    /// A [`MetricType`].
    #[prost(enumeration = "MetricType", tag = "1")]
    pub r#type: i32,
    /// The metric's family.
    #[prost(string, tag = "2")]
    pub metric_family_name: String,
    /// What it says.
    #[prost(string, tag = "4")]
    pub help: String,
    /// Its unit.
    #[prost(string, tag = "5")]
    pub unit: String,
}

/// A metric's kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum MetricType {
    /// Not said.
    Unknown = 0,
    /// Only grows.
    Counter = 1,
    /// Goes up and down.
    Gauge = 2,
    /// Buckets.
    Histogram = 3,
    /// Buckets that may shrink.
    Gaugehistogram = 4,
    /// Quantiles.
    Summary = 5,
    /// What does not change.
    Info = 6,
    /// States.
    Stateset = 7,
}

impl MetricType {
    /// The kind as metadata name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            MetricType::Unknown => "unknown",
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::Gaugehistogram => "gaugehistogram",
            MetricType::Summary => "summary",
            MetricType::Info => "info",
            MetricType::Stateset => "stateset",
        }
    }
}

/// A decompressed request larger than this is refused: no sender needs it, and a few bytes can claim any size.
const MOST_BYTES: usize = 256 << 20;

impl WriteRequest {
    /// The request as it is sent.
    ///
    /// # Errors
    /// Where it is too large to be compressed.
    pub fn pack(&self) -> Result<Vec<u8>, String> {
        let plain = self.encode_to_vec();
        let packed = snap::raw::Encoder::new().compress_vec(&plain);
        packed.map_err(|error| error.to_string())
    }

    /// The request that was packed, whole. The database reads requests without making this of them.
    ///
    /// # Errors
    /// A sentence, where it is none.
    pub fn unpack(packed: &[u8]) -> Result<WriteRequest, String> {
        let plain = decompress(packed)?;
        WriteRequest::decode(&plain[..]).map_err(|error| format!("protobuf: {error}"))
    }
}

/// A request's bytes without compression.
///
/// # Errors
/// A sentence, where they are not compressed, or too many.
pub(super) fn decompress(packed: &[u8]) -> Result<Vec<u8>, String> {
    let length = snap::raw::decompress_len(packed)
        .map_err(|error| format!("snappy: corrupt input: {error}"))?;
    if length > MOST_BYTES {
        return Err(format!(
            "snappy: decoded block is too large: {length} bytes, at most {MOST_BYTES}"
        ));
    }
    let plain = snap::raw::Decoder::new().decompress_vec(packed);
    plain.map_err(|error| format!("snappy: corrupt input: {error}"))
}
