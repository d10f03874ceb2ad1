use std::collections::HashMap;

use super::chunk::{Chunk, Sample};
use super::index::{LabelIndex, SeriesNumber};
use super::{Labels, Matcher};

/// What a store takes at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Series in the whole store.
    pub series: usize,
    /// Labels of one series, the metric's name among them.
    pub labels_of_a_series: usize,
    /// Bytes of one label's name or value.
    pub label_bytes: usize,
}

impl Default for Limits {
    /// A million series of 64 labels: at 1 KB a series, about a gigabyte.
    fn default() -> Limits {
        Limits {
            series: 1_000_000,
            labels_of_a_series: 64,
            label_bytes: 16 * 1024,
        }
    }
}

/// Samples that were refused, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refusals {
    /// Of a new series when the store was full.
    pub too_many_series: u64,
    /// Of a series with too many labels.
    pub too_many_labels: u64,
    /// Of a series with an overlong label.
    pub label_too_long: u64,
    /// Older than the series' newest sample.
    pub out_of_order: u64,
    /// At the newest sample's time with another value.
    pub duplicate: u64,
}

/// Why a sample was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The store is full.
    #[error("series {series} is refused: the store holds {limit} series, the limit")]
    TooManySeries {
        /// Which series.
        series: Labels,
        /// The limit.
        limit: usize,
    },
    /// The series has too many labels.
    #[error("series {series} is refused: {count} labels, the limit is {limit}")]
    TooManyLabels {
        /// Which series.
        series: Labels,
        /// Its labels.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A label's name or value is too long.
    #[error(
        "series with label {name} is refused: the label is longer than {limit} bytes, the limit"
    )]
    LabelTooLong {
        /// Which label, cut short.
        name: String,
        /// The limit.
        limit: usize,
    },
    /// The series has a newer sample.
    #[error("sample of {series} at {time} is out of order: the newest is at {newest}")]
    OutOfOrder {
        /// Which series.
        series: Labels,
        /// The sample's time in milliseconds.
        time: i64,
        /// The newest sample's time in milliseconds.
        newest: i64,
    },
    /// The series has another value at that time.
    #[error("sample of {series} at {time} repeats the newest sample's time with another value")]
    Duplicate {
        /// Which series.
        series: Labels,
        /// The sample's time in milliseconds.
        time: i64,
    },
}

/// One series: its labels and its samples in the order of time.
#[derive(Debug)]
pub struct Series {
    labels: Labels,
    /// Never empty; only the last has room.
    chunks: Vec<Chunk>,
}

impl Series {
    /// What names the series.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The compressed chunks, oldest first.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// The newest sample.
    #[must_use]
    pub fn newest(&self) -> Sample {
        self.chunks[self.chunks.len() - 1].last()
    }

    /// The samples after one time up to and with another, stale markers among them.
    ///
    /// Chunks outside the span are not decompressed.
    pub fn between(&self, after: i64, until: i64) -> impl Iterator<Item = Sample> {
        let from = self
            .chunks
            .partition_point(|chunk| chunk.last().time <= after);
        self.chunks[from..]
            .iter()
            .take_while(move |chunk| chunk.first_time() <= until)
            .flat_map(Chunk::samples)
            .skip_while(move |sample| sample.time <= after)
            .take_while(move |sample| sample.time <= until)
    }
}

/// All series of a process.
#[derive(Debug, Default)]
pub struct SeriesStore {
    series: Vec<Series>,
    numbers: HashMap<Labels, SeriesNumber>,
    index: LabelIndex,
    samples: u64,
    limits: Limits,
    refusals: Refusals,
}

impl SeriesStore {
    /// An empty store with the default limits.
    #[must_use]
    pub fn new() -> SeriesStore {
        SeriesStore::default()
    }

    /// An empty store with limits.
    #[must_use]
    pub fn with_limits(limits: Limits) -> SeriesStore {
        SeriesStore {
            limits,
            ..SeriesStore::default()
        }
    }

    /// Adds a sample to a series, which begins with it if it is new. The same sample again changes nothing.
    ///
    /// # Errors
    /// Where a limit or the order of time forbids it; the refusal is counted.
    pub fn append(&mut self, labels: &Labels, time: i64, value: f64) -> Result<(), AppendError> {
        let sample = Sample { time, value };
        let Some(number) = self.numbers.get(labels).copied() else {
            self.check_limits(labels)?;
            let (number, shared) = self.index.add(labels);
            self.numbers.insert(shared.clone(), number);
            self.series.push(Series {
                labels: shared,
                chunks: vec![Chunk::starting_with(sample)],
            });
            self.samples += 1;
            return Ok(());
        };
        let series = &mut self.series[number as usize];
        let newest = series.newest();
        if time == newest.time {
            if value.to_bits() == newest.value.to_bits() {
                return Ok(());
            }
            self.refusals.duplicate += 1;
            let series = labels.clone();
            return Err(AppendError::Duplicate { series, time });
        }
        if time < newest.time {
            self.refusals.out_of_order += 1;
            return Err(AppendError::OutOfOrder {
                series: labels.clone(),
                time,
                newest: newest.time,
            });
        }
        match series.chunks.last_mut() {
            Some(open) if !open.is_full() => open.push(sample),
            last => {
                if let Some(full) = last {
                    full.seal();
                }
                series.chunks.push(Chunk::starting_with(sample));
            }
        }
        self.samples += 1;
        Ok(())
    }

    fn check_limits(&mut self, labels: &Labels) -> Result<(), AppendError> {
        let limits = self.limits;
        if self.series.len() >= limits.series {
            self.refusals.too_many_series += 1;
            return Err(AppendError::TooManySeries {
                series: labels.clone(),
                limit: limits.series,
            });
        }
        if labels.len() > limits.labels_of_a_series {
            self.refusals.too_many_labels += 1;
            return Err(AppendError::TooManyLabels {
                series: labels.clone(),
                count: labels.len(),
                limit: limits.labels_of_a_series,
            });
        }
        let overlong = labels
            .iter()
            .find(|(name, value)| name.len().max(value.len()) > limits.label_bytes);
        if let Some((name, _)) = overlong {
            self.refusals.label_too_long += 1;
            return Err(AppendError::LabelTooLong {
                name: name.chars().take(64).collect(),
                limit: limits.label_bytes,
            });
        }
        Ok(())
    }

    /// The series that satisfy all matchers, sorted by labels.
    #[must_use]
    pub fn select(&self, matchers: &[Matcher]) -> Vec<&Series> {
        let mut chosen: Vec<&Series> = self
            .index
            .select(matchers)
            .into_iter()
            .map(|number| &self.series[number as usize])
            .collect();
        chosen.sort_unstable_by(|left, right| left.labels.cmp(&right.labels));
        chosen
    }

    /// The names of all labels, sorted.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.index.names()
    }

    /// The values a label has, sorted.
    pub fn label_values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.index.values(name)
    }

    /// How many series there are.
    #[must_use]
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    /// How many samples there are.
    #[must_use]
    pub fn sample_count(&self) -> u64 {
        self.samples
    }

    /// Bytes the compressed samples take.
    #[must_use]
    pub fn sample_bytes(&self) -> usize {
        let chunks = self.series.iter().flat_map(|series| &series.chunks);
        chunks.map(|chunk| chunk.bytes().len()).sum()
    }

    /// What was refused so far.
    #[must_use]
    pub fn refusals(&self) -> Refusals {
        self.refusals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str) -> Labels {
        Labels::new([("__name__", name)])
    }

    #[test]
    fn samples_come_back_over_chunks_and_only_those_of_the_span() {
        let mut store = SeriesStore::new();
        for at in 0..1000 {
            store
                .append(&series("a"), at * 10, at as f64)
                .expect("in order");
        }
        let chosen = store.select(&[Matcher::equal("__name__", "a")]);
        assert_eq!(chosen[0].chunks().len(), 9);
        let times: Vec<i64> = chosen[0]
            .between(1190, 1230)
            .map(|sample| sample.time)
            .collect();
        assert_eq!(times, [1200, 1210, 1220, 1230]);
        assert_eq!(chosen[0].between(-1, 20_000).count(), 1000);
        assert_eq!(chosen[0].between(9990, 20_000).count(), 0);
        assert_eq!(store.sample_count(), 1000);
        assert!(store.sample_bytes() > 0);
    }

    #[test]
    fn what_a_limit_or_the_order_forbids_is_named_and_counted() {
        let mut store = SeriesStore::with_limits(Limits {
            series: 1,
            labels_of_a_series: 2,
            label_bytes: 8,
        });
        let wide = Labels::new([("a", "1"), ("b", "1"), ("c", "1")]);
        assert!(matches!(
            store.append(&wide, 0, 0.0),
            Err(AppendError::TooManyLabels { .. })
        ));
        let long = Labels::new([("a", "123456789")]);
        assert!(matches!(
            store.append(&long, 0, 0.0),
            Err(AppendError::LabelTooLong { .. })
        ));
        store.append(&series("a"), 10, 1.0).expect("first");
        store.append(&series("a"), 10, 1.0).expect("the same again");
        assert!(matches!(
            store.append(&series("a"), 10, 2.0),
            Err(AppendError::Duplicate { .. })
        ));
        assert!(matches!(
            store.append(&series("a"), 9, 2.0),
            Err(AppendError::OutOfOrder { .. })
        ));
        assert!(matches!(
            store.append(&series("b"), 9, 2.0),
            Err(AppendError::TooManySeries { .. })
        ));
        let refused = Refusals {
            too_many_series: 1,
            too_many_labels: 1,
            label_too_long: 1,
            out_of_order: 1,
            duplicate: 1,
        };
        assert_eq!(store.refusals(), refused);
        assert_eq!(store.series_count(), 1);
    }

    #[test]
    fn selected_series_and_label_values_are_sorted() {
        let mut store = SeriesStore::new();
        for name in ["c", "a", "b"] {
            store.append(&series(name), 0, 0.0).expect("in order");
        }
        let names: Vec<&str> = store
            .select(&[])
            .iter()
            .map(|series| series.labels().metric_name())
            .collect();
        assert_eq!(names, ["a", "b", "c"]);
        let values: Vec<&str> = store.label_values("__name__").collect();
        assert_eq!(values, ["a", "b", "c"]);
    }
}
