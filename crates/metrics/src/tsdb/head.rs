//! What is in memory: the newest samples of every series that has any.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::series_store::{Chunk, Matcher, Sample};

use super::directory::Directory;
use super::error::TsdbError;
use super::log::Log;
use super::options::Options;
use super::record::{put_deletion, put_samples, put_series};
use super::series::{Admission, Bounds, HeadSeries, SeriesState};
use super::stats::{Counters, Refusals};

/// Samples of one commit.
pub(super) type Batch = Vec<(Arc<HeadSeries>, Sample)>;

/// A record with more samples is split: what is torn off is never more.
const SAMPLES_OF_A_RECORD: usize = 1 << 16;

/// The newest samples of every series.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) options: Options,
    pub(super) directory: RwLock<Directory>,
    /// One commit at a time writes to it; none in memory.
    pub(super) log: Mutex<Option<Log>>,
    /// Chunks that wait to become a block.
    pub(super) sealed: Sealed,
    /// The newest sample's time; the least number where there is none.
    pub(super) newest: AtomicI64,
    pub(super) appenders: AtomicU64,
    /// Who is told of what was committed.
    pub(super) listeners: RwLock<Vec<Arc<dyn super::CommitListener>>>,
    pub(super) counts: Counts,
}

/// Full chunks in memory.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) bytes: AtomicU64,
    /// The newest time of the first chunk that was filled up.
    pub(super) oldest: AtomicI64,
}

impl Default for Sealed {
    fn default() -> Sealed {
        Sealed {
            bytes: AtomicU64::new(0),
            oldest: AtomicI64::new(i64::MAX),
        }
    }
}

impl Sealed {
    pub(super) fn count(&self, chunk: &Chunk) {
        let bytes = chunk.bytes().len() as u64;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.oldest.fetch_min(chunk.last().time, Ordering::Relaxed);
    }

    pub(super) fn reset(&self) {
        self.bytes.store(0, Ordering::Relaxed);
        self.oldest.store(i64::MAX, Ordering::Relaxed);
    }
}

/// Counters that several threads add to.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) series_created: AtomicU64,
    pub(super) series_removed: AtomicU64,
    pub(super) appended: AtomicU64,
    pub(super) appended_late: AtomicU64,
    pub(super) others: Mutex<Counters>,
}

// === impl Counts ===

impl Counts {
    pub(super) fn count_refusals(&self, refusals: &Refusals) {
        if *refusals == Refusals::default() {
            return;
        }
        let mut others = self.others.lock();
        let all = &mut others.refusals;
        all.too_many_series += refusals.too_many_series;
        all.too_many_labels += refusals.too_many_labels;
        all.label_too_long += refusals.label_too_long;
        all.too_many_samples += refusals.too_many_samples;
        all.out_of_order += refusals.out_of_order;
        all.out_of_bounds += refusals.out_of_bounds;
        all.duplicate += refusals.duplicate;
    }

    pub(super) fn read(&self) -> Counters {
        Counters {
            series_created: self.series_created.load(Ordering::Relaxed),
            series_removed: self.series_removed.load(Ordering::Relaxed),
            appended: self.appended.load(Ordering::Relaxed),
            appended_out_of_order: self.appended_late.load(Ordering::Relaxed),
            ..self.others.lock().clone()
        }
    }
}

pub(super) fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

// === impl Head ===

impl Head {
    pub(super) fn new(options: Options) -> Head {
        Head {
            options,
            directory: RwLock::default(),
            log: Mutex::default(),
            sealed: Sealed::default(),
            newest: AtomicI64::new(i64::MIN),
            appenders: AtomicU64::new(0),
            listeners: RwLock::default(),
            counts: Counts::default(),
        }
    }

    /// The newest sample's time.
    pub(super) fn newest(&self) -> Option<i64> {
        let newest = self.newest.load(Ordering::Relaxed);
        (newest != i64::MIN).then_some(newest)
    }

    /// Which times are taken now.
    pub(super) fn bounds(&self) -> Bounds {
        let newest = self.newest.load(Ordering::Relaxed);
        let window = milliseconds(self.options.out_of_order_window);
        Bounds {
            in_order: newest.saturating_sub(milliseconds(self.options.max_lag)),
            late: (window > 0).then(|| newest.saturating_sub(window)),
        }
    }

    /// Writes samples to the log, then makes them visible.
    pub(super) fn commit(
        &self,
        mut samples: Batch,
        mut late: Batch,
        bounds: Bounds,
    ) -> Result<(), TsdbError> {
        let mut log = self.log.lock();
        let mut unknown = Vec::new();
        self.resolve(&mut samples, &mut unknown);
        self.resolve(&mut late, &mut unknown);
        // Another appender may have been faster.
        samples.retain(|(series, sample)| {
            let state = series.state.lock();
            match SeriesState::admit(state.newest, bounds, *sample) {
                Admission::Newest => true,
                Admission::Late => {
                    late.push((Arc::clone(series), *sample));
                    false
                }
                _ => false,
            }
        });
        if let Some(log) = &mut *log {
            let records = records_of(&unknown, &samples, &late);
            if !records.is_empty() {
                log.write(&records)?;
            }
            for series in unknown {
                series.state.lock().logged = true;
            }
            if self.options.sync_interval.is_zero() {
                log.sync()?;
            }
        }
        let (mut appended, mut appended_late) = (0, 0);
        let mut newest = i64::MIN;
        for (series, sample) in samples {
            let mut state = series.state.lock();
            // A batch may have two samples of a series, the second of them after a faster appender's.
            if state.newest.is_none_or(|newest| sample.time > newest.time) {
                if let Some(sealed) = state.push(sample) {
                    self.sealed.count(sealed);
                }
                appended += 1;
                newest = newest.max(sample.time);
            }
        }
        for (series, sample) in late {
            if series.state.lock().insert_late(sample) {
                appended_late += 1;
            }
        }
        drop(log);
        self.newest.fetch_max(newest, Ordering::Relaxed);
        let all = appended + appended_late;
        self.counts.appended.fetch_add(all, Ordering::Relaxed);
        self.counts
            .appended_late
            .fetch_add(appended_late, Ordering::Relaxed);
        Ok(())
    }

    /// Puts successors in the place of series that left memory, and collects those the log does not know.
    fn resolve(&self, batch: &mut Batch, unknown: &mut Vec<Arc<HeadSeries>>) {
        for (series, _) in batch {
            if series.state.lock().gone {
                let (successor, created) = self.directory.write().add(&series.labels);
                self.counts
                    .series_created
                    .fetch_add(u64::from(created), Ordering::Relaxed);
                *series = successor;
            }
            if !series.state.lock().logged {
                unknown.push(Arc::clone(series));
            }
        }
    }

    /// Adds samples as the log has them: those that are there already change nothing.
    pub(super) fn restore(&self, samples: &[(Arc<HeadSeries>, Sample)], late: bool) {
        let mut newest = i64::MIN;
        for (series, sample) in samples {
            let mut state = series.state.lock();
            if late {
                state.insert_late(*sample);
            } else if state.newest.is_none_or(|newest| sample.time > newest.time) {
                if let Some(sealed) = state.push(*sample) {
                    self.sealed.count(sealed);
                }
                newest = newest.max(sample.time);
            }
        }
        self.newest.fetch_max(newest, Ordering::Relaxed);
    }

    /// Deletes samples in memory, and says of how many series.
    pub(super) fn delete(
        &self,
        matchers: &[Matcher],
        from: i64,
        until: i64,
    ) -> Result<usize, TsdbError> {
        let mut log = self.log.lock();
        let selected = self.directory.read().select(matchers);
        let overlapping: Vec<_> = selected
            .into_iter()
            .filter(|series| {
                !series
                    .state
                    .lock()
                    .snapshot(from.saturating_sub(1), until)
                    .is_empty()
            })
            .collect();
        if let Some(log) = &mut *log {
            let numbers: Vec<_> = overlapping.iter().map(|series| series.number).collect();
            let mut record = Vec::new();
            put_deletion(&mut record, &numbers, from, until);
            log.write(&[record])?;
            log.sync()?;
        }
        let deleted = overlapping
            .iter()
            .filter(|series| series.state.lock().delete(from, until));
        Ok(deleted.count())
    }
}

/// What a commit has to tell the log.
fn records_of(unknown: &[Arc<HeadSeries>], samples: &Batch, late: &Batch) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    if !unknown.is_empty() {
        let mut record = Vec::new();
        let series = unknown.iter();
        put_series(
            &mut record,
            series.map(|series| (series.number, &series.labels)),
        );
        records.push(record);
    }
    for (batch, is_late) in [(samples, false), (late, true)] {
        for part in batch.chunks(SAMPLES_OF_A_RECORD) {
            let mut record = Vec::with_capacity(12 * part.len() + 16);
            let samples = part.iter().map(|(series, sample)| (series.number, *sample));
            put_samples(&mut record, is_late, samples);
            records.push(record);
        }
    }
    records
}

impl Head {
    /// Counts what is in memory.
    pub(super) fn measure(&self, stats: &mut super::Stats) {
        let directory = self.directory.read();
        stats.series = directory.len();
        stats.label_pairs = directory.index().pair_count();
        let all = directory.all();
        drop(directory);
        for series in all {
            let state = series.state.lock();
            for chunk in state.sealed.iter().map(|chunk| &**chunk).chain(&state.open) {
                stats.chunks += 1;
                stats.chunk_bytes += chunk.bytes().len();
                stats.samples += u64::from(chunk.len());
                let oldest = stats.min_time.into_iter().chain([chunk.first_time()]).min();
                stats.min_time = oldest;
            }
            stats.samples += state.late.len() as u64;
            let late = state.late.first().map(|sample| sample.time);
            stats.min_time = stats.min_time.into_iter().chain(late).min();
        }
    }
}
