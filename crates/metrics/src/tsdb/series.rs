//! One series in memory.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::series_store::{Chunk, Labels, Sample, SeriesNumber};

/// A series in memory.
#[derive(Debug)]
pub(super) struct HeadSeries {
    pub(super) number: SeriesNumber,
    pub(super) labels: Labels,
    pub(super) state: Mutex<SeriesState>,
}

/// What changes of a series.
#[derive(Debug, Default)]
pub(super) struct SeriesState {
    /// Full chunks, oldest first.
    pub(super) sealed: Vec<Arc<Chunk>>,
    /// The chunk that takes samples; its samples are newer than those of the full ones.
    pub(super) open: Option<Chunk>,
    /// Samples that came after newer ones, in the order of time.
    pub(super) late: Vec<Sample>,
    /// The newest sample, also when it is in a block already.
    pub(super) newest: Option<Sample>,
    /// What an appender is about to commit.
    pub(super) pending: Option<Pending>,
    /// The log knows which labels the number stands for.
    pub(super) logged: bool,
    /// The series left memory: what is to be appended to it goes to its successor.
    pub(super) gone: bool,
}

/// The newest sample that an appender holds for a series.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) appender: u64,
    pub(super) sample: Sample,
}

/// Which times are taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The oldest time of a sample that is its series' newest.
    pub(super) in_order: i64,
    /// The oldest time of a sample that is not; none where all of these are refused.
    pub(super) late: Option<i64>,
}

/// What becomes of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// It is its series' newest.
    Newest,
    /// It comes after newer ones.
    Late,
    /// It is there already.
    Repeated,
    /// Another value is there.
    Duplicate,
    /// It is older than its series' newest, which is at this time.
    OutOfOrder(i64),
    /// It is older than what is taken, which starts with this time.
    OutOfBounds(i64),
}

impl SeriesState {
    /// Decides on a sample whose series has a newest one.
    pub(super) fn admit(newest: Option<Sample>, bounds: Bounds, sample: Sample) -> Admission {
        let is_newest = newest.is_none_or(|newest| sample.time > newest.time);
        if is_newest && sample.time >= bounds.in_order {
            return Admission::Newest;
        }
        if let Some(newest) = newest.filter(|newest| newest.time == sample.time) {
            if newest.value.to_bits() == sample.value.to_bits() {
                return Admission::Repeated;
            }
            return Admission::Duplicate;
        }
        if bounds.late.is_some_and(|oldest| sample.time >= oldest) {
            return Admission::Late;
        }
        let oldest = bounds.late.unwrap_or(bounds.in_order).min(bounds.in_order);
        match newest {
            Some(newest) if !is_newest && sample.time >= oldest => {
                Admission::OutOfOrder(newest.time)
            }
            _ => Admission::OutOfBounds(oldest),
        }
    }

    /// Adds a sample that is newer than all; gives the chunk that this filled up, if it did.
    pub(super) fn push(&mut self, sample: Sample) -> Option<&Arc<Chunk>> {
        self.newest = Some(sample);
        match &mut self.open {
            Some(open) if !open.is_full() => {
                open.push(sample);
                None
            }
            open => {
                let full = open.replace(Chunk::starting_with(sample))?;
                self.keep_sealed(full);
                self.sealed.last()
            }
        }
    }

    /// Lets the open chunk take no more samples.
    pub(super) fn seal(&mut self) {
        if let Some(open) = self.open.take() {
            self.keep_sealed(open);
        }
    }

    fn keep_sealed(&mut self, mut chunk: Chunk) {
        chunk.seal();
        self.sealed.reserve_exact(1);
        self.sealed.push(Arc::new(chunk));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.open.is_none() && self.late.is_empty()
    }

    /// Takes away the samples from one time up to another; says whether there were any.
    pub(super) fn delete(&mut self, from: i64, until: i64) -> bool {
        let keeps = |sample: &Sample| !(from..=until).contains(&sample.time);
        let before = self.late.len();
        self.late.retain(keeps);
        let chunks = || self.sealed.iter().map(|chunk| &**chunk).chain(&self.open);
        let touches = |chunk: &Chunk| chunk.first_time() <= until && chunk.last().time >= from;
        if !chunks().any(touches) {
            return self.late.len() < before;
        }
        let samples: Vec<Sample> = chunks().flat_map(Chunk::samples).collect();
        let newest = self.newest;
        self.sealed.clear();
        self.open = None;
        for sample in samples.iter().copied().filter(keeps) {
            self.push(sample);
        }
        // The series goes on after what was deleted, not before it.
        self.newest = newest;
        true
    }

    /// Adds a sample that came after newer ones. Of two at one time the first stays.
    pub(super) fn insert_late(&mut self, sample: Sample) -> bool {
        match self
            .late
            .binary_search_by_key(&sample.time, |late| late.time)
        {
            Ok(_) => false,
            Err(at) => {
                self.late.insert(at, sample);
                true
            }
        }
    }

    /// The chunks with samples after one time up to and with another, and the late samples of that span: what
    /// they are at this moment.
    pub(super) fn snapshot(&self, after: i64, until: i64) -> HeadSamples {
        let overlaps = |chunk: &Chunk| chunk.first_time() <= until && chunk.last().time > after;
        let sealed = self.sealed.iter().filter(|chunk| overlaps(chunk)).cloned();
        let open = self.open.as_ref().filter(|chunk| overlaps(chunk));
        let from = self.late.partition_point(|late| late.time <= after);
        let to = self.late.partition_point(|late| late.time <= until);
        HeadSamples {
            sealed: sealed.collect(),
            open: open.cloned(),
            late: self.late.get(from..to).unwrap_or_default().into(),
        }
    }
}

/// A series' samples as they were at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct HeadSamples {
    sealed: Box<[Arc<Chunk>]>,
    open: Option<Chunk>,
    late: Box<[Sample]>,
}

impl HeadSamples {
    pub(super) fn is_empty(&self) -> bool {
        self.sealed.is_empty() && self.open.is_none() && self.late.is_empty()
    }

    pub(super) fn count(&self) -> usize {
        let chunks = self.sealed.iter().map(|chunk| &**chunk).chain(&self.open);
        chunks.map(|chunk| usize::from(chunk.len())).sum::<usize>() + self.late.len()
    }

    /// Adds the samples after one time up to and with another to a list; late ones break the order of time.
    pub(super) fn read(&self, after: i64, until: i64, most: usize, into: &mut Vec<Sample>) {
        let enough = into.len().saturating_add(most);
        for chunk in self.sealed.iter().map(|chunk| &**chunk).chain(&self.open) {
            if into.len() >= enough {
                return;
            }
            chunk.read(after, until, into);
        }
        into.extend_from_slice(&self.late);
    }
}
