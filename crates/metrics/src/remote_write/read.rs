//! Reads a request where it lies: most of it is label texts that memory has already, so none of them is copied.

use prost::Message as _;

use crate::series_store::Sample;
use crate::tsdb::codec::Bytes;

use super::message::{MetricMetadata, NativeHistogram};

/// A series of a request.
#[derive(Debug, Default)]
pub(super) struct SeriesView<'r> {
    /// Names and values, as they were sent.
    pub(super) labels: Vec<(&'r str, &'r str)>,
    pub(super) samples: Vec<Sample>,
    /// Native histograms, which are counted and not read.
    pub(super) histograms: usize,
}

/// A field's value, of the kinds that occur.
enum Field<'r> {
    Number(u64),
    /// Eight bytes.
    Fixed(u64),
    /// A text or a message.
    Bytes(&'r [u8]),
    /// Four bytes, which nothing of a request has.
    Short,
}

/// Passes each series to a function, and says what the request tells of metrics; nothing where it is no request.
pub(super) fn read<'r>(
    request: &'r [u8],
    mut take: impl FnMut(&mut SeriesView<'r>),
) -> Option<Vec<MetricMetadata>> {
    let mut metadata = Vec::new();
    let mut series = SeriesView::default();
    for_each_field(request, |number, field| match (number, field) {
        (1, Field::Bytes(bytes)) => {
            read_series(bytes, &mut series)?;
            take(&mut series);
            Some(())
        }
        (3, Field::Bytes(bytes)) => {
            metadata.push(MetricMetadata::decode(bytes).ok()?);
            Some(())
        }
        (1 | 3, _) => None,
        _ => Some(()),
    })?;
    Some(metadata)
}

fn read_series<'r>(bytes: &'r [u8], into: &mut SeriesView<'r>) -> Option<()> {
    into.labels.clear();
    into.samples.clear();
    into.histograms = 0;
    for_each_field(bytes, |number, field| {
        match (number, field) {
            (1, Field::Bytes(bytes)) => into.labels.push(read_label(bytes)?),
            (2, Field::Bytes(bytes)) => into.samples.push(read_sample(bytes)?),
            (4, Field::Bytes(bytes)) => {
                NativeHistogram::decode(bytes).ok()?;
                into.histograms += 1;
            }
            (1 | 2 | 4, _) => return None,
            _ => {}
        }
        Some(())
    })
}

fn read_label(bytes: &[u8]) -> Option<(&str, &str)> {
    let (mut name, mut value) = ("", "");
    for_each_field(bytes, |number, field| {
        match (number, field) {
            (1, Field::Bytes(bytes)) => name = std::str::from_utf8(bytes).ok()?,
            (2, Field::Bytes(bytes)) => value = std::str::from_utf8(bytes).ok()?,
            (1 | 2, _) => return None,
            _ => {}
        }
        Some(())
    })?;
    Some((name, value))
}

fn read_sample(bytes: &[u8]) -> Option<Sample> {
    let (mut value, mut time) = (0, 0);
    for_each_field(bytes, |number, field| {
        match (number, field) {
            (1, Field::Fixed(bits)) => value = bits,
            (2, Field::Number(number)) => time = number as i64,
            (1 | 2, _) => return None,
            _ => {}
        }
        Some(())
    })?;
    Some(Sample {
        time,
        value: f64::from_bits(value),
    })
}

/// Passes the fields of a message to a function with their numbers, until it gives nothing.
fn for_each_field<'r>(
    message: &'r [u8],
    mut take: impl FnMut(u32, Field<'r>) -> Option<()>,
) -> Option<()> {
    let mut bytes = Bytes::new(message);
    while !bytes.is_empty() {
        let key = u32::try_from(bytes.uvarint()?).ok()?;
        let field = match key & 7 {
            0 => Field::Number(bytes.uvarint()?),
            1 => Field::Fixed(u64::from_le_bytes(bytes.take(8)?.try_into().ok()?)),
            2 => Field::Bytes(bytes.bytes()?),
            5 => {
                bytes.take(4)?;
                Field::Short
            }
            // Groups, which protobuf gave up before there was remote write.
            _ => return None,
        };
        let number = key >> 3;
        if number == 0 {
            return None;
        }
        take(number, field)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::message::{self, Label, TimeSeries, WriteRequest};
    use super::*;

    fn any_series() -> impl Strategy<Value = TimeSeries> {
        let label = ("[a-zä]{0,4}", ".{0,9}").prop_map(|(name, value)| Label { name, value });
        let sample = (any::<i64>(), -1e9..1e9)
            .prop_map(|(timestamp, value)| message::Sample { value, timestamp });
        let labels = prop::collection::vec(label, 0..4);
        let samples = prop::collection::vec(sample, 0..4);
        (labels, samples, 0..3_usize).prop_map(|(labels, samples, histograms)| TimeSeries {
            labels,
            samples,
            histograms: vec![NativeHistogram {}; histograms],
        })
    }

    proptest! {
        #[test]
        fn what_is_sent_is_read(
            timeseries in prop::collection::vec(any_series(), 0..4),
            helps in prop::collection::vec(".{0,9}", 0..3),
        ) {
            let metadata = helps.into_iter().map(|help| MetricMetadata { help, ..MetricMetadata::default() });
            let request = WriteRequest { timeseries, metadata: metadata.collect() };
            let mut read_series = Vec::new();
            let bytes = request.encode_to_vec();
            let metadata = read(&bytes, |series| {
                let label = |(name, value): &(&str, &str)| Label { name: (*name).to_owned(), value: (*value).to_owned() };
                let sample = |sample: &Sample| message::Sample { value: sample.value, timestamp: sample.time };
                read_series.push(TimeSeries {
                    labels: series.labels.iter().map(label).collect(),
                    samples: series.samples.iter().map(sample).collect(),
                    histograms: vec![NativeHistogram {}; series.histograms],
                });
            });
            prop_assert_eq!(metadata, Some(request.metadata));
            prop_assert_eq!(read_series, request.timeseries);
        }

        #[test]
        fn what_is_read_of_any_bytes_is_what_the_messages_say(bytes in prop::collection::vec(0..20_u8, 0..40)) {
            let mut count = 0;
            if read(&bytes, |_| count += 1).is_some() {
                let request = WriteRequest::decode(&bytes[..]).expect("a request");
                prop_assert_eq!(request.timeseries.len(), count);
            }
        }
    }
}
