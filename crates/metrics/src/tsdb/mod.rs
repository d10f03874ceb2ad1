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
//! | `head` | the series in memory; `directory` finds them by number, labels and matchers |
//! | `log`, `record`, `replay` | the write-ahead log, what it says, and how it is read at start |
//! | `flush` | makes a block of full chunks, and a checkpoint of the rest |
//! | `block` | a folder of samples that do not change any more, in Prometheus' format |
//! | `compact` | joins blocks |
//! | `known_metrics` | what metrics are: kind, help, unit |
//! | `disk` | the folder, and what is done to it from time to time |
//! | `view` | reads head and blocks as one |
//! | [`Options`], [`Limits`] | what is taken and kept; limits refuse by name and count what they refused |
//! | [`Stats`], [`Cardinality`] | numbers on it |

mod appender;
mod block;
pub(crate) mod codec;
mod compact;
mod directory;
mod disk;
mod error;
mod flush;
mod head;
mod known_metrics;
mod log;
mod options;
mod record;
mod replay;
mod series;
mod stats;
mod view;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use springtide_machinery::clock::Clock;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::series_store::{Labels, METRIC_NAME, Matcher};

pub use appender::{Appender, SeriesRef};
pub use error::{AppendError, LimitKind, TsdbError};
pub use options::{Limits, Options};
pub use stats::{Cardinality, Counters, Metadata, Refusals, Stats};

use disk::{Blocks, Disk, MAINTENANCE_INTERVAL};
use head::Head;
use known_metrics::KnownMetrics;

/// The value that says a series ended here, by its exact bits.
pub const STALE_NAN: f64 = f64::from_bits(crate::series_store::STALE_BITS);

/// Is told of samples that were committed, such as remote write.
pub trait CommitListener: Send + Sync + std::fmt::Debug {
    /// Takes note of samples; must not wait.
    fn committed(&self, samples: &[(Labels, crate::series_store::Sample)]);
}

/// A time series database. Cheap to clone; clones are the same database.
#[derive(Debug, Clone)]
pub struct Tsdb(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    head: Arc<Head>,
    blocks: RwLock<Blocks>,
    /// None in memory.
    disk: Option<Disk>,
    /// Blocks are made, joined and deleted by one at a time.
    maintenance: Mutex<()>,
    metrics: KnownMetrics,
}

// === impl Tsdb ===

impl Tsdb {
    /// A database that lives as long as the process.
    #[must_use]
    pub fn in_memory(options: Options) -> Tsdb {
        let metrics = KnownMetrics::default();
        Tsdb::of(Head::new(options), Blocks::default(), metrics, None)
    }

    /// Opens the database in a folder, which is made where there is none.
    ///
    /// A log that is torn is cut there, a block that is damaged is set aside; both are said in the program's log.
    ///
    /// # Errors
    /// Where the folder is in use or cannot be read or written.
    pub fn open(folder: &Path, options: Options, clock: Clock) -> Result<Tsdb, TsdbError> {
        let (disk, blocks, set_aside) = Disk::open(folder, clock)?;
        let head = Head::new(options);
        let newest = blocks.iter().map(|block| block.meta.max_time - 1).max();
        head.newest
            .fetch_max(newest.unwrap_or(i64::MIN), Ordering::Relaxed);
        let (replayed, log) = replay::replay(&disk.log_folder(), &head)?;
        head.counts.others.lock().corruptions = set_aside + replayed.corruptions;
        *head.log.lock() = Some(log);
        let metrics = {
            let directory = head.directory.read();
            let of_blocks = blocks
                .iter()
                .flat_map(|block| block.label_values(METRIC_NAME));
            let names = directory.index().values(METRIC_NAME).chain(of_blocks);
            KnownMetrics::read(&disk.folder, names)?
        };
        Ok(Tsdb::of(head, blocks, metrics, Some(disk)))
    }

    fn of(head: Head, blocks: Blocks, metrics: KnownMetrics, disk: Option<Disk>) -> Tsdb {
        Tsdb(Arc::new(Inner {
            head: Arc::new(head),
            blocks: RwLock::new(blocks),
            disk,
            maintenance: Mutex::default(),
            metrics,
        }))
    }

    /// Makes these the listeners that are told of every commit from now on.
    pub fn set_listeners(&self, listeners: Vec<Arc<dyn CommitListener>>) {
        *self.0.head.listeners.write() = listeners;
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
        self.0.flush()
    }

    /// Does what is due: writes blocks, compacts, deletes what is too old. [`Tsdb::run`] calls it.
    ///
    /// # Errors
    /// Where a file cannot be read or written; the next call tries again.
    pub fn maintain(&self) -> Result<(), TsdbError> {
        self.0.maintain()
    }

    /// Brings the log to the disk and maintains the database until cancelled, then brings the log to the disk.
    pub async fn run(&self, cancelled: CancellationToken) {
        let sync_interval = self.options().sync_interval.max(Duration::from_millis(100));
        let mut syncs = tokio::time::interval(sync_interval);
        let mut maintenance = tokio::time::interval(MAINTENANCE_INTERVAL);
        maintenance.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut running = true;
        while running {
            let maintains = tokio::select! {
                biased;
                () = cancelled.cancelled() => {
                    running = false;
                    false
                }
                _ = syncs.tick() => false,
                _ = maintenance.tick() => true,
            };
            let database = self.clone();
            // Files are slow: other tasks of this thread go on meanwhile.
            let work = move || {
                if maintains {
                    database.maintain()
                } else {
                    database.flush()
                }
            };
            let outcome = if self.0.disk.is_none() {
                work()
            } else {
                tokio::task::spawn_blocking(work).await.unwrap_or(Ok(()))
            };
            if let Err(error) = outcome {
                tracing::error!(%error, "the time series database cannot be maintained; it is tried again");
            }
        }
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
        if selections.is_empty() {
            let directory = self.0.head.directory.read();
            names.extend(directory.index().names().map(str::to_owned));
            drop(directory);
            for block in &self.blocks_between(from, until) {
                names.extend(block.label_names().map(str::to_owned));
            }
            return Ok(names.into_iter().collect());
        }
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
        if selections.is_empty() {
            let directory = self.0.head.directory.read();
            values.extend(directory.index().values(name).map(str::to_owned));
            drop(directory);
            for block in &self.blocks_between(from, until) {
                values.extend(block.label_values(name).map(str::to_owned));
            }
            return Ok(values.into_iter().collect());
        }
        for labels in self.series(selections, from, until)? {
            let value = labels.get(name);
            if !value.is_empty() {
                values.insert(value.to_owned());
            }
        }
        Ok(values.into_iter().collect())
    }

    fn blocks_between(&self, from: i64, until: i64) -> Vec<Arc<block::Block>> {
        let blocks = self.0.current_blocks();
        let overlaps = |block: &&Arc<block::Block>| block.overlaps(from.saturating_sub(1), until);
        blocks.iter().filter(overlaps).cloned().collect()
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
    /// Says of how many series, each counted in memory and in every block.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn delete_series(
        &self,
        matchers: &[Matcher],
        from: i64,
        until: i64,
    ) -> Result<usize, TsdbError> {
        let _one = self.0.maintenance.lock();
        let mut deleted = self.0.head.delete(matchers, from, until)?;
        for block in self.0.current_blocks().iter() {
            let selected = block.select(matchers, from.saturating_sub(1), until)?;
            let numbers: Vec<_> = selected.iter().map(|series| series.number).collect();
            if !numbers.is_empty() {
                block.delete(&numbers, from, until)?;
            }
            deleted += numbers.len();
        }
        Ok(deleted)
    }

    /// Writes blocks without what was deleted, and gives back the room it took.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn clean_tombstones(&self) -> Result<(), TsdbError> {
        self.0.clean_tombstones()
    }

    /// Makes a copy of all blocks, and of memory as another block unless it is skipped, under `snapshots` in the
    /// database's folder. Says the copy's name there.
    ///
    /// # Errors
    /// Where a file cannot be written, and for a database in memory.
    pub fn snapshot(&self, skip_head: bool) -> Result<String, TsdbError> {
        self.0.snapshot(skip_head)
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
        for block in self.0.current_blocks().iter() {
            stats.blocks += 1;
            stats.block_series += block.meta.stats.num_series;
            stats.block_samples += block.meta.stats.num_samples;
            stats.block_bytes += block.bytes();
            let oldest = stats
                .block_min_time
                .into_iter()
                .chain([block.meta.min_time]);
            stats.block_min_time = oldest.min();
        }
        stats.log_bytes = self.0.head.log.lock().as_ref().map_or(0, log::Log::bytes);
        stats
    }

    /// Which names and values have the most series in memory; at most a number of each.
    #[must_use]
    pub fn cardinality(&self, most: usize) -> Cardinality {
        self.0.head.directory.read().index().cardinality(most)
    }

    /// Remembers what a metric is. It is written to the disk with the next [`Tsdb::flush`].
    pub fn set_metadata(&self, metric: &str, metadata: Metadata) {
        self.0.metrics.learn(metric, metadata);
    }

    /// What a metric is, or all of them where none is named.
    #[must_use]
    pub fn metadata(&self, metric: Option<&str>) -> Vec<(String, Metadata)> {
        self.0.metrics.of(metric)
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
