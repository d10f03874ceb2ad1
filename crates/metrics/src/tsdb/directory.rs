//! Which series are in memory.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::Mutex;

use crate::series_store::{LabelIndex, Labels, Matcher, SeriesNumber};

use super::series::{HeadSeries, SeriesState};

/// Spreads numbers that are already distinct.
#[derive(Debug, Default)]
pub(super) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        // Fibonacci hashing: the golden ratio's digits spread neighbours over all bits.
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// The series in memory, found by number, by labels and by matchers.
#[derive(Debug, Default)]
pub(super) struct Directory {
    by_number: HashMap<SeriesNumber, Arc<HeadSeries>, BuildHasherDefault<NumberHasher>>,
    /// Found by labels that belong to anyone.
    by_labels: HashTable<Arc<HeadSeries>>,
    /// Hashes labels.
    hasher: RandomState,
    index: LabelIndex,
}

fn hash_of<'l>(hasher: &RandomState, labels: impl Iterator<Item = (&'l str, &'l str)>) -> u64 {
    let mut hash = hasher.build_hasher();
    labels.for_each(|pair| pair.hash(&mut hash));
    hash.finish()
}

impl Directory {
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    pub(super) fn with_number(&self, number: SeriesNumber) -> Option<&Arc<HeadSeries>> {
        self.by_number.get(&number)
    }

    /// The series with labels that are sorted by name.
    pub(super) fn with_labels<'l>(
        &self,
        labels: &(impl ExactSizeIterator<Item = (&'l str, &'l str)> + Clone),
    ) -> Option<&Arc<HeadSeries>> {
        let hash = hash_of(&self.hasher, labels.clone());
        self.by_labels.find(hash, |series| {
            let mut pairs = series.labels.iter().zip(labels.clone());
            series.labels.len() == labels.len() && pairs.all(|(known, asked)| known == asked)
        })
    }

    /// The series with these labels, which is made where there is none; and whether it was made.
    pub(super) fn add(&mut self, labels: &Labels) -> (Arc<HeadSeries>, bool) {
        if let Some(known) = self.with_labels(&labels.iter()) {
            return (Arc::clone(known), false);
        }
        let (number, shared) = self.index.add(labels);
        let series = self.insert(number, shared, SeriesState::default());
        (series, true)
    }

    fn insert(
        &mut self,
        number: SeriesNumber,
        labels: Labels,
        state: SeriesState,
    ) -> Arc<HeadSeries> {
        let series = Arc::new(HeadSeries {
            number,
            labels,
            state: Mutex::new(state),
        });
        let hash = |series: &Arc<HeadSeries>| hash_of(&self.hasher, series.labels.iter());
        self.by_labels
            .insert_unique(hash(&series), Arc::clone(&series), hash);
        self.by_number.insert(number, Arc::clone(&series));
        series
    }

    /// Adds a series as the log names it; the one that has the labels already is the same.
    pub(super) fn restore(&mut self, number: SeriesNumber, labels: &Labels) -> Arc<HeadSeries> {
        if let Some(known) = self.with_labels(&labels.iter()) {
            return Arc::clone(known);
        }
        let shared = self.index.add_numbered(labels, number);
        let state = SeriesState {
            logged: true,
            ..SeriesState::default()
        };
        self.insert(number, shared, state)
    }

    /// Takes series away.
    pub(super) fn remove(&mut self, gone: &[Arc<HeadSeries>]) {
        for series in gone {
            self.by_number.remove(&series.number);
            let hash = hash_of(&self.hasher, series.labels.iter());
            let found = self
                .by_labels
                .find_entry(hash, |known| Arc::ptr_eq(known, series));
            if let Ok(entry) = found {
                entry.remove();
            }
        }
        let labels = gone.iter().map(|series| (series.number, &series.labels));
        self.index.remove(labels);
    }

    /// The series that satisfy all matchers, in no order.
    pub(super) fn select(&self, matchers: &[Matcher]) -> Vec<Arc<HeadSeries>> {
        let numbers = self.index.select(matchers).into_iter();
        numbers
            .filter_map(|number| self.by_number.get(&number).cloned())
            .collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<HeadSeries>> {
        self.select(&[])
    }

    pub(super) fn index(&self) -> &LabelIndex {
        &self.index
    }
}
