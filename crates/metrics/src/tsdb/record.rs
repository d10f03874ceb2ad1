//! What the log says, record by record.

use crate::series_store::{Labels, Sample, SeriesNumber};

use super::codec::{Bytes, put_bytes, put_text, put_u64, put_uvarint, put_varint};

const SERIES: u8 = 1;
const SAMPLES: u8 = 2;
const LATE_SAMPLES: u8 = 3;
const DELETION: u8 = 4;
const STATE: u8 = 5;
const END: u8 = 6;

/// A sample and its series' number.
pub(super) type NumberedSample = (SeriesNumber, Sample);

/// One entry of the log or of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Record {
    /// What numbers stand for.
    Series(Vec<(SeriesNumber, Labels)>),
    /// Samples that were the newest of their series.
    Samples(Vec<NumberedSample>),
    /// Samples that were not.
    LateSamples(Vec<NumberedSample>),
    /// Samples from one time up to another were deleted.
    Deletion {
        series: Vec<SeriesNumber>,
        from: i64,
        until: i64,
    },
    /// A series in a checkpoint.
    State(State),
    /// The end of a checkpoint, with the count of its series.
    End(u64),
}

/// A series as a checkpoint has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    pub(super) number: SeriesNumber,
    pub(super) labels: Labels,
    pub(super) newest: Option<Sample>,
    /// The compressed chunks, oldest first.
    pub(super) chunks: Vec<Vec<u8>>,
    pub(super) late: Vec<Sample>,
}

fn put_labels(into: &mut Vec<u8>, labels: &Labels) {
    put_uvarint(into, labels.len() as u64);
    for (name, value) in labels.iter() {
        put_text(into, name);
        put_text(into, value);
    }
}

fn labels(bytes: &mut Bytes<'_>) -> Option<Labels> {
    let count = bytes.count(2)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        pairs.push((bytes.text()?, bytes.text()?));
    }
    Some(Labels::new(pairs))
}

fn number(bytes: &mut Bytes<'_>) -> Option<SeriesNumber> {
    SeriesNumber::try_from(bytes.uvarint()?).ok()
}

pub(super) fn put_series<'l>(
    into: &mut Vec<u8>,
    series: impl ExactSizeIterator<Item = (SeriesNumber, &'l Labels)>,
) {
    into.push(SERIES);
    put_uvarint(into, series.len() as u64);
    for (number, labels) in series {
        put_uvarint(into, u64::from(number));
        put_labels(into, labels);
    }
}

/// Adds samples: differences of numbers and times, and the values as they are.
pub(super) fn put_samples(
    into: &mut Vec<u8>,
    late: bool,
    samples: impl ExactSizeIterator<Item = NumberedSample>,
) {
    into.push(if late { LATE_SAMPLES } else { SAMPLES });
    put_uvarint(into, samples.len() as u64);
    let (mut number_before, mut time_before) = (0, 0);
    for (number, sample) in samples {
        put_varint(into, i64::from(number) - number_before);
        put_varint(into, sample.time.wrapping_sub(time_before));
        put_u64(into, sample.value.to_bits());
        (number_before, time_before) = (i64::from(number), sample.time);
    }
}

fn samples(bytes: &mut Bytes<'_>) -> Option<Vec<NumberedSample>> {
    let count = bytes.count(10)?;
    let mut samples = Vec::with_capacity(count);
    let (mut number, mut time) = (0_i64, 0_i64);
    for _ in 0..count {
        number = number.checked_add(bytes.varint()?)?;
        time = time.wrapping_add(bytes.varint()?);
        let value = f64::from_bits(bytes.u64()?);
        samples.push((SeriesNumber::try_from(number).ok()?, Sample { time, value }));
    }
    Some(samples)
}

pub(super) fn put_deletion(into: &mut Vec<u8>, series: &[SeriesNumber], from: i64, until: i64) {
    into.push(DELETION);
    put_varint(into, from);
    put_varint(into, until);
    put_uvarint(into, series.len() as u64);
    for number in series {
        put_uvarint(into, u64::from(*number));
    }
}

fn put_sample(into: &mut Vec<u8>, sample: Sample) {
    put_varint(into, sample.time);
    put_u64(into, sample.value.to_bits());
}

fn sample(bytes: &mut Bytes<'_>) -> Option<Sample> {
    Some(Sample {
        time: bytes.varint()?,
        value: f64::from_bits(bytes.u64()?),
    })
}

pub(super) fn put_state(into: &mut Vec<u8>, state: &State) {
    into.push(STATE);
    put_uvarint(into, u64::from(state.number));
    put_labels(into, &state.labels);
    into.push(u8::from(state.newest.is_some()));
    if let Some(newest) = state.newest {
        put_sample(into, newest);
    }
    put_uvarint(into, state.chunks.len() as u64);
    for chunk in &state.chunks {
        put_bytes(into, chunk);
    }
    put_uvarint(into, state.late.len() as u64);
    for late in &state.late {
        put_sample(into, *late);
    }
}

fn state(bytes: &mut Bytes<'_>) -> Option<State> {
    let number = number(bytes)?;
    let labels = labels(bytes)?;
    let newest = match bytes.u8()? {
        0 => None,
        _ => Some(sample(bytes)?),
    };
    let chunks = (0..bytes.count(1)?).map(|_| bytes.bytes().map(<[u8]>::to_vec));
    let chunks = chunks.collect::<Option<_>>()?;
    let late = (0..bytes.count(9)?).map(|_| sample(bytes));
    let late = late.collect::<Option<_>>()?;
    Some(State {
        number,
        labels,
        newest,
        chunks,
        late,
    })
}

pub(super) fn put_end(into: &mut Vec<u8>, count: u64) {
    into.push(END);
    put_uvarint(into, count);
}

impl Record {
    /// Reads a record; nothing where the bytes are none.
    pub(super) fn read(bytes: &[u8]) -> Option<Record> {
        let mut bytes = Bytes::new(bytes);
        let bytes = &mut bytes;
        let record = match bytes.u8()? {
            SERIES => {
                let series = (0..bytes.count(2)?).map(|_| Some((number(bytes)?, labels(bytes)?)));
                Record::Series(series.collect::<Option<_>>()?)
            }
            SAMPLES => Record::Samples(samples(bytes)?),
            LATE_SAMPLES => Record::LateSamples(samples(bytes)?),
            DELETION => {
                let (from, until) = (bytes.varint()?, bytes.varint()?);
                let series = (0..bytes.count(1)?).map(|_| number(bytes));
                Record::Deletion {
                    series: series.collect::<Option<_>>()?,
                    from,
                    until,
                }
            }
            STATE => Record::State(state(bytes)?),
            END => Record::End(bytes.uvarint()?),
            _ => return None,
        };
        bytes.is_empty().then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_sample() -> impl Strategy<Value = Sample> {
        (any::<i64>(), -1e9..1e9_f64).prop_map(|(time, value)| Sample { time, value })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            samples in prop::collection::vec((any::<u32>(), any_sample()), 0..20),
            late: bool,
            name in "[a-z]{1,5}",
            newest in prop::option::of(any_sample()),
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..3),
        ) {
            let mut bytes = Vec::new();
            put_samples(&mut bytes, late, samples.iter().copied());
            let read = Record::read(&bytes);
            let expected = if late { Record::LateSamples(samples.clone()) } else { Record::Samples(samples.clone()) };
            prop_assert_eq!(read, Some(expected));
            let labels = Labels::new([("__name__", name.as_str()), ("a", "b")]);
            bytes.clear();
            put_series(&mut bytes, [(7, &labels)].into_iter());
            prop_assert_eq!(Record::read(&bytes), Some(Record::Series(vec![(7, labels.clone())])));
            let state = State {
                number: 9,
                labels,
                newest,
                chunks,
                late: samples.iter().map(|(_, sample)| *sample).collect(),
            };
            bytes.clear();
            put_state(&mut bytes, &state);
            prop_assert_eq!(Record::read(&bytes), Some(Record::State(state)));
            bytes.clear();
            put_deletion(&mut bytes, &[1, 2], -5, 9);
            let deletion = Record::Deletion { series: vec![1, 2], from: -5, until: 9 };
            prop_assert_eq!(Record::read(&bytes), Some(deletion));
        }

        #[test]
        fn any_bytes_are_a_record_or_none(kind in 0..8_u8, mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            bytes.insert(0, kind);
            let _ = Record::read(&bytes);
        }
    }
}
