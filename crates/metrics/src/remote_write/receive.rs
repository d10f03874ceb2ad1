use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, StatusCode};

use crate::series_store::{Labels, METRIC_NAME};
use crate::tsdb::{Metadata, Tsdb};

use super::message::decompress;
use super::read::read;

/// Why a request, or part of it, was refused.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// It is in another form.
    #[error("{0}")]
    UnsupportedMedia(String),
    /// It cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// Some samples were refused; the others were taken.
    #[error("{refused} of {all} samples refused, the others are stored; the first: {first}")]
    Refused {
        /// How many.
        refused: usize,
        /// Of how many.
        all: usize,
        /// Why the first was.
        first: String,
    },
    /// The database cannot be written: the sender may try again.
    #[error("{0}")]
    Storage(#[from] crate::tsdb::TsdbError),
}

impl ReceiveError {
    /// The status that tells the sender whether to try again.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            ReceiveError::UnsupportedMedia(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ReceiveError::Unreadable(_) | ReceiveError::Refused { .. } => StatusCode::BAD_REQUEST,
            ReceiveError::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What a request brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Samples that were stored.
    pub samples: usize,
}

/// Takes a request's samples. Those that can be stored are, also where others are refused.
///
/// # Errors
/// Where the request is none, or not all of it was stored.
pub fn receive(tsdb: &Tsdb, headers: &HeaderMap, body: &[u8]) -> Result<Received, ReceiveError> {
    check_headers(headers)?;
    let plain = decompress(body).map_err(ReceiveError::Unreadable)?;
    let mut appender = tsdb.appender();
    let (mut refused, mut all) = (0, 0);
    let mut first = None;
    let metadata = read(&plain, |series| {
        let count = series.samples.len() + series.histograms;
        all += count;
        let mut refuse = |samples: usize, reason: String| {
            refused += samples;
            first.get_or_insert(reason);
        };
        if series.histograms > 0 {
            let reason = "native histograms are not supported".to_owned();
            refuse(series.histograms, reason);
        }
        if let Err(reason) = order_labels(&mut series.labels) {
            refuse(series.samples.len(), reason);
            return;
        }
        let (mut reference, labels) = match appender.find(&series.labels) {
            Some((reference, labels)) => (Some(reference), labels),
            None => (None, Labels::new(series.labels.iter().copied())),
        };
        for sample in &series.samples {
            match appender.append(&labels, reference, sample.time, sample.value) {
                Ok(known) => reference = Some(known),
                Err(error) => refuse(1, error.to_string()),
            }
        }
    });
    let metadata = metadata.ok_or_else(|| {
        ReceiveError::Unreadable("protobuf: it is no prometheus.WriteRequest".to_owned())
    })?;
    for metadata in metadata {
        let known = Metadata {
            kind: metadata.r#type().name().to_owned(),
            help: metadata.help,
            unit: metadata.unit,
        };
        tsdb.set_metadata(&metadata.metric_family_name, known);
    }
    appender.commit()?;
    match first {
        None => Ok(Received { samples: all }),
        Some(first) => Err(ReceiveError::Refused {
            refused,
            all,
            first,
        }),
    }
}

fn check_headers(headers: &HeaderMap) -> Result<(), ReceiveError> {
    let text = |name: &HeaderName| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let content_type = text(&CONTENT_TYPE);
    let mut parts = content_type.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    let message = parts
        .find_map(|part| part.strip_prefix("proto="))
        .unwrap_or("prometheus.WriteRequest");
    let is_known = media_type.is_empty() || media_type == "application/x-protobuf";
    if !is_known || message != "prometheus.WriteRequest" {
        return Err(ReceiveError::UnsupportedMedia(format!(
            "content type {content_type:?} is not supported: send application/x-protobuf with prometheus.WriteRequest (remote write 1.0)"
        )));
    }
    match text(&CONTENT_ENCODING) {
        "" | "snappy" => Ok(()),
        other => Err(ReceiveError::UnsupportedMedia(format!(
            "content encoding {other:?} is not supported: send snappy"
        ))),
    }
}

/// Sorts labels by name and leaves out those without a value; says what is wrong with them.
fn order_labels(labels: &mut Vec<(&str, &str)>) -> Result<(), String> {
    labels.sort_unstable();
    if let Some(twice) = labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(format!("label name {:?} is not unique", twice[0].0));
    }
    if labels.first().is_some_and(|(name, _)| name.is_empty()) {
        return Err("a label has no name".to_owned());
    }
    labels.retain(|(_, value)| !value.is_empty());
    if labels.is_empty() {
        return Err("a series has no labels".to_owned());
    }
    if !labels.iter().any(|(name, _)| *name == METRIC_NAME) {
        let labels = Labels::new(labels.iter().copied());
        return Err(format!("series {labels} has no metric name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::super::message::{
        Label, MetricMetadata, NativeHistogram, Sample, TimeSeries, WriteRequest,
    };
    use super::*;

    fn series(pairs: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
        TimeSeries {
            labels: pairs
                .iter()
                .map(|(name, value)| Label {
                    name: (*name).to_owned(),
                    value: (*value).to_owned(),
                })
                .collect(),
            samples: samples
                .iter()
                .map(|(timestamp, value)| Sample {
                    value: *value,
                    timestamp: *timestamp,
                })
                .collect(),
            histograms: Vec::new(),
        }
    }

    fn tsdb() -> Tsdb {
        Tsdb::in_memory(crate::tsdb::Options::default())
    }

    #[test]
    fn samples_and_metadata_are_taken() {
        let tsdb = tsdb();
        let request = WriteRequest {
            timeseries: vec![series(
                &[("__name__", "a"), ("b", "c")],
                &[(1, 1.0), (2, 2.0)],
            )],
            metadata: vec![MetricMetadata {
                r#type: 1,
                metric_family_name: "a".to_owned(),
                help: "h".to_owned(),
                unit: String::new(),
            }],
        };
        let body = request.pack().expect("packed");
        let received = receive(&tsdb, &HeaderMap::new(), &body).expect("taken");
        assert_eq!(received.samples, 2);
        assert_eq!(tsdb.series(&[], 0, 10).expect("read").len(), 1);
        assert_eq!(tsdb.metadata(Some("a"))[0].1.kind, "counter");
    }

    #[test]
    fn what_is_refused_is_named_and_does_not_keep_the_rest_away() {
        let tsdb = tsdb();
        let mut native = series(&[("__name__", "n")], &[]);
        native.histograms.push(NativeHistogram {});
        for (bad, reason) in [
            (
                series(&[("__name__", "a"), ("b", "1"), ("b", "2")], &[(1, 1.0)]),
                "not unique",
            ),
            (series(&[("b", "1")], &[(1, 1.0)]), "no metric name"),
            (series(&[], &[(1, 1.0)]), "no labels"),
            (
                series(&[("__name__", "o")], &[(9, 1.0), (8, 1.0)]),
                "out of order",
            ),
            (native, "native histograms are not supported"),
        ] {
            let good = series(&[("__name__", reason)], &[(5, 1.0)]);
            let request = WriteRequest {
                timeseries: vec![bad, good],
                metadata: Vec::new(),
            };
            let body = request.pack().expect("packed");
            let error = receive(&tsdb, &HeaderMap::new(), &body).expect_err(reason);
            assert!(error.to_string().contains(reason), "{error}");
            assert_eq!(error.status(), StatusCode::BAD_REQUEST);
            let stored = tsdb.label_values("__name__", &[], 0, 10).expect("read");
            assert!(stored.contains(&reason.to_owned()), "{reason}");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for (name, value) in [
            (CONTENT_TYPE, "application/json"),
            (
                CONTENT_TYPE,
                "application/x-protobuf;proto=io.prometheus.write.v2.Request",
            ),
            (CONTENT_ENCODING, "gzip"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            let error = receive(&tsdb(), &headers, &[]).expect_err(value);
            assert_eq!(error.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        // Claims four gigabytes.
        let error = decompress(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]).expect_err("huge");
        assert!(error.contains("too large"), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_receiver(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let tsdb = tsdb();
            let _ = receive(&tsdb, &HeaderMap::new(), &body);
            let packed = snap::raw::Encoder::new().compress_vec(&body).expect("packed");
            let _ = receive(&tsdb, &HeaderMap::new(), &packed);
        }

        #[test]
        fn no_damaged_request_breaks_the_receiver(
            samples in prop::collection::vec((any::<i64>(), any::<f64>()), 0..4),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let request = WriteRequest {
                timeseries: vec![series(&[("__name__", "a"), ("b", "c")], &samples)],
                metadata: Vec::new(),
            };
            let mut plain = prost::Message::encode_to_vec(&request);
            let at = at.index(plain.len());
            plain[at] = byte;
            let packed = snap::raw::Encoder::new().compress_vec(&plain).expect("packed");
            let _ = receive(&tsdb(), &HeaderMap::new(), &packed);
        }
    }
}
