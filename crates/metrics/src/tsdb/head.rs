//! What is in memory: the newest samples of every series that has any.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::series_store::Sample;

use super::directory::Directory;
use super::error::TsdbError;
use super::options::Options;
use super::series::{Admission, Bounds, HeadSeries, SeriesState};
use super::stats::{Counters, Refusals};

/// The newest samples of every series.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) options: Options,
    pub(super) directory: RwLock<Directory>,
    /// One commit at a time.
    commit: Mutex<()>,
    /// The newest sample's time; the least number where there is none.
    pub(super) newest: AtomicI64,
    pub(super) appenders: AtomicU64,
    pub(super) counts: Counts,
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
            commit: Mutex::default(),
            newest: AtomicI64::new(i64::MIN),
            appenders: AtomicU64::new(0),
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

    pub(super) fn commit(
        &self,
        samples: Vec<(Arc<HeadSeries>, Sample)>,
        bounds: Bounds,
    ) -> Result<(), TsdbError> {
        let _one = self.commit.lock();
        let mut newest = self.newest.load(Ordering::Relaxed);
        let (mut appended, mut late) = (0, 0);
        for (series, sample) in samples {
            let mut state = series.state.lock();
            // Another appender may have been faster.
            match SeriesState::admit(state.newest, bounds, sample) {
                Admission::Newest => {
                    state.push(sample);
                    appended += 1;
                    newest = newest.max(sample.time);
                }
                Admission::Late => {
                    if state.insert_late(sample) {
                        appended += 1;
                        late += 1;
                    }
                }
                _ => {}
            }
        }
        self.newest.fetch_max(newest, Ordering::Relaxed);
        self.counts.appended.fetch_add(appended, Ordering::Relaxed);
        self.counts.appended_late.fetch_add(late, Ordering::Relaxed);
        Ok(())
    }
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
