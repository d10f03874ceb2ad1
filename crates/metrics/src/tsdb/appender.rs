use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::series_store::{Labels, Sample, SeriesNumber};

use super::error::{AppendError, LimitKind, TsdbError};
use super::head::Head;
use super::series::{Admission, Bounds, HeadSeries, Pending, SeriesState};
use super::stats::Refusals;

/// A series in memory, for callers that append to it again. One that left memory is found by its labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesRef(pub(super) SeriesNumber);

/// Collects samples that become visible, and durable, together.
///
/// Dropped without a commit it leaves nothing behind.
#[derive(Debug)]
pub struct Appender {
    head: Arc<Head>,
    /// Tells appenders apart.
    number: u64,
    bounds: Bounds,
    samples: Vec<(Arc<HeadSeries>, Sample)>,
    /// Those that are older than their series' newest.
    late: Vec<(Arc<HeadSeries>, Sample)>,
    refusals: Refusals,
}

// === impl Appender ===

impl Appender {
    pub(super) fn new(head: Arc<Head>) -> Appender {
        let number = head.appenders.fetch_add(1, Ordering::Relaxed);
        let bounds = head.bounds();
        Appender {
            head,
            number,
            bounds,
            samples: Vec::new(),
            late: Vec::new(),
            refusals: Refusals::default(),
        }
    }

    /// Adds a sample to a series, which begins with it if it is new. A sample that is there already changes nothing.
    ///
    /// What an earlier call gave for the same labels may be passed as `cached`: the labels are then not
    /// looked up. The answer is to be kept instead, since a series that left memory comes back with another.
    ///
    /// # Errors
    /// Where a limit or the order of time forbids it; the refusal is counted.
    pub fn append(
        &mut self,
        labels: &Labels,
        cached: Option<SeriesRef>,
        time: i64,
        value: f64,
    ) -> Result<SeriesRef, AppendError> {
        let most = self.head.options.limits.samples_of_a_commit;
        if self.len() >= most {
            self.refusals.too_many_samples += 1;
            return Err(AppendError::LimitReached {
                series: labels.to_string(),
                limit: LimitKind::SamplesOfACommit,
                most,
                found: self.len() + 1,
            });
        }
        let sample = Sample { time, value };
        let series = self.series(labels, cached)?;
        let reference = SeriesRef(series.number);
        let mut state = series.state.lock();
        let pending = state
            .pending
            .filter(|pending| pending.appender == self.number);
        let newest = pending.map(|pending| pending.sample).or(state.newest);
        let admission = SeriesState::admit(newest, self.bounds, sample);
        if admission == Admission::Newest {
            state.pending = Some(Pending {
                appender: self.number,
                sample,
            });
        }
        drop(state);
        let series_labels = || labels.clone();
        match admission {
            Admission::Newest => {
                self.samples.push((series, sample));
                Ok(reference)
            }
            Admission::Late => {
                self.late.push((series, sample));
                Ok(reference)
            }
            Admission::Repeated => Ok(reference),
            Admission::Duplicate => {
                self.refusals.duplicate += 1;
                let series = series_labels();
                Err(AppendError::DuplicateForTimestamp { series, time })
            }
            Admission::OutOfOrder(newest) => {
                self.refusals.out_of_order += 1;
                let series = series_labels();
                Err(AppendError::OutOfOrder {
                    series,
                    time,
                    newest,
                })
            }
            Admission::OutOfBounds(oldest) => {
                self.refusals.out_of_bounds += 1;
                let series = series_labels();
                Err(AppendError::OutOfBounds {
                    series,
                    time,
                    oldest,
                })
            }
        }
    }

    /// The series in memory with these labels, which are sorted by name and have no empty value.
    pub(crate) fn find(&self, labels: &[(&str, &str)]) -> Option<(SeriesRef, Labels)> {
        let directory = self.head.directory.read();
        let series = directory.with_labels(&labels.iter().copied())?;
        Some((SeriesRef(series.number), series.labels.clone()))
    }

    fn series(
        &mut self,
        labels: &Labels,
        cached: Option<SeriesRef>,
    ) -> Result<Arc<HeadSeries>, AppendError> {
        {
            let directory = self.head.directory.read();
            let known = cached.and_then(|cached| directory.with_number(cached.0));
            if let Some(series) = known.or_else(|| directory.with_labels(&labels.iter())) {
                return Ok(Arc::clone(series));
            }
        }
        self.check_limits(labels)?;
        let (series, created) = self.head.directory.write().add(labels);
        if created {
            self.head
                .counts
                .series_created
                .fetch_add(1, Ordering::Relaxed);
        }
        Ok(series)
    }

    fn check_limits(&mut self, labels: &Labels) -> Result<(), AppendError> {
        let limits = self.head.options.limits;
        let refused = |limit, most, found| {
            let mut series = labels.to_string();
            if let Some((cut, _)) = series.char_indices().nth(500) {
                series.truncate(cut);
                series.push('…');
            }
            AppendError::LimitReached {
                series,
                limit,
                most,
                found,
            }
        };
        let count = self.head.directory.read().len();
        if count >= limits.series {
            self.refusals.too_many_series += 1;
            return Err(refused(LimitKind::Series, limits.series, count + 1));
        }
        if labels.len() > limits.labels_of_a_series {
            self.refusals.too_many_labels += 1;
            let most = limits.labels_of_a_series;
            return Err(refused(LimitKind::LabelsOfASeries, most, labels.len()));
        }
        let lengths = labels
            .iter()
            .map(|(name, value)| name.len().max(value.len()));
        let longest = lengths.max().unwrap_or(0);
        if longest > limits.label_bytes {
            self.refusals.label_too_long += 1;
            return Err(refused(LimitKind::LabelBytes, limits.label_bytes, longest));
        }
        Ok(())
    }

    /// How many samples wait for the commit.
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len() + self.late.len()
    }

    /// Whether no sample waits for the commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.late.is_empty()
    }

    /// Makes the samples visible, after they were written to the log.
    ///
    /// # Errors
    /// Where the log cannot be written; no sample is visible then.
    pub fn commit(mut self) -> Result<(), TsdbError> {
        let samples = std::mem::take(&mut self.samples);
        let late = std::mem::take(&mut self.late);
        let listeners = self.head.listeners.read().clone();
        let told: Vec<(Labels, Sample)> = if listeners.is_empty() {
            Vec::new()
        } else {
            let all = samples.iter().chain(&late);
            all.map(|(series, sample)| (series.labels.clone(), *sample))
                .collect()
        };
        self.head.commit(samples, late, self.bounds)?;
        for listener in &listeners {
            listener.committed(&told);
        }
        Ok(())
    }

    /// Forgets the samples.
    pub fn rollback(self) {
        drop(self);
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.head.counts.count_refusals(&self.refusals);
    }
}
