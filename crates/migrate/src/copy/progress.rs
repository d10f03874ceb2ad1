//! How far the copy is, for whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// Something that happened; sent over a channel whose receiver may be slow: progress is then left out,
/// nothing else is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// The copy begins or goes on.
    Started {
        /// Tables in the plan.
        tables: usize,
        /// Rows in all, as of the plan.
        rows: u64,
        /// Bytes in all, as of the plan.
        bytes: u64,
        /// Rows that an earlier run has copied.
        resumed_rows: u64,
    },
    /// Several times a second.
    Progress(Progress),
    /// All rows of a table are there.
    TableCopied {
        /// Its name in the source.
        table: String,
        /// Rows copied by this run.
        rows: u64,
        /// Rows quarantined by this run.
        quarantined: u64,
    },
    /// A key, index, view or the like is being made.
    Step {
        /// What, in words.
        name: String,
        /// Steps before it.
        done: usize,
        /// Steps in all.
        of: usize,
    },
    /// Rows were moved to the quarantine after the data because they broke a constraint.
    Quarantined {
        /// The table's name in the source.
        table: String,
        /// How many rows.
        rows: u64,
        /// Why.
        reason: String,
    },
    /// Something that could not be made: nothing of the data is lost by it.
    NotMade {
        /// What.
        name: String,
        /// Why.
        problem: String,
    },
    /// A sentence for the user.
    Note(String),
}

/// Rows and bytes so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Progress {
    /// Rows copied, those of earlier runs too.
    pub rows: u64,
    /// Rows in all, as of the plan.
    pub rows_in_all: u64,
    /// Bytes sent by this run.
    pub bytes: u64,
    /// Rows a second, over this run.
    pub rows_per_second: f64,
    /// Bytes a second, over this run.
    pub bytes_per_second: f64,
    /// Estimated from the rate so far.
    pub time_left: Option<Duration>,
}

/// Counts what readers have encoded.
#[derive(Debug)]
pub(crate) struct Counters {
    rows: AtomicU64,
    bytes: AtomicU64,
    earlier_rows: u64,
    rows_in_all: u64,
    started: Instant,
}

impl Counters {
    pub(crate) fn new(earlier_rows: u64, rows_in_all: u64) -> Self {
        Self {
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            earlier_rows,
            rows_in_all,
            started: Instant::now(),
        }
    }

    pub(crate) fn add(&self, rows: u64, bytes: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes back what a chunk counted that was not committed.
    pub(crate) fn take_back(&self, rows: u64, bytes: u64) {
        self.rows.fetch_sub(rows, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn progress(&self) -> Progress {
        let (rows, bytes) = (
            self.rows.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        );
        let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
        let rows_per_second = rows as f64 / seconds;
        let left = self.rows_in_all.saturating_sub(self.earlier_rows + rows);
        let time_left =
            (rows > 0).then(|| Duration::from_secs_f64((left as f64 / rows_per_second).min(1e9)));
        Progress {
            rows: self.earlier_rows + rows,
            rows_in_all: self.rows_in_all,
            bytes,
            rows_per_second,
            bytes_per_second: bytes as f64 / seconds,
            time_left,
        }
    }
}
