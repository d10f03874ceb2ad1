use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::series_store::Labels;

/// Why a sample was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// A limit is reached.
    #[error("series {series} is refused: {limit} is {most}, and this has {found}")]
    LimitReached {
        /// Which series; overlong labels cut short.
        series: String,
        /// Which limit.
        limit: LimitKind,
        /// What is allowed.
        most: usize,
        /// What was asked for.
        found: usize,
    },
    /// The series has a newer sample, and the sample is not within the out-of-order window.
    #[error("out of order sample: {series} at {time} ms, its newest is at {newest} ms")]
    OutOfOrder {
        /// Which series.
        series: Labels,
        /// The sample's time in milliseconds.
        time: i64,
        /// The newest sample's time in milliseconds.
        newest: i64,
    },
    /// The sample is older than anything that is still taken.
    #[error("out of bounds: {series} at {time} ms, the oldest time that is taken is {oldest} ms")]
    OutOfBounds {
        /// Which series.
        series: Labels,
        /// The sample's time in milliseconds.
        time: i64,
        /// The oldest time that is taken.
        oldest: i64,
    },
    /// The series has another value at that time.
    #[error("duplicate sample for timestamp: {series} has another value at {time} ms")]
    DuplicateForTimestamp {
        /// Which series.
        series: Labels,
        /// The sample's time in milliseconds.
        time: i64,
    },
}

/// A limit that refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LimitKind {
    /// Series in memory.
    Series,
    /// Labels of one series.
    LabelsOfASeries,
    /// Bytes of one label's name or value.
    LabelBytes,
    /// Samples of one commit.
    SamplesOfACommit,
}

impl LimitKind {
    /// The limit's name, as counters of refusals label it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            LimitKind::Series => "series",
            LimitKind::LabelsOfASeries => "labels_of_a_series",
            LimitKind::LabelBytes => "label_bytes",
            LimitKind::SamplesOfACommit => "samples_of_a_commit",
        }
    }
}

impl fmt::Display for LimitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LimitKind::Series => "the limit of series",
            LimitKind::LabelsOfASeries => "the limit of labels of a series",
            LimitKind::LabelBytes => "the limit of bytes of a label",
            LimitKind::SamplesOfACommit => "the limit of samples of a commit",
        })
    }
}

/// Why the database cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum TsdbError {
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {path}: {error}")]
    Files {
        /// What was tried.
        action: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// A file is not what was written.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another process has the folder.
    #[error("{0} is in use by another process: stop it, or choose another folder")]
    InUse(PathBuf),
    /// Only a database on disk can do it.
    #[error("a database in memory has no {0}")]
    InMemory(&'static str),
}

impl TsdbError {
    pub(crate) fn files(action: &'static str, path: &Path, error: io::Error) -> TsdbError {
        TsdbError::Files {
            action,
            path: path.to_owned(),
            error,
        }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> TsdbError {
        TsdbError::Damaged {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }
}
