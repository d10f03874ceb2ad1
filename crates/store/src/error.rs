//! What can go wrong, by what the caller can do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::object::{Object, Revision};

/// Why a store could not be opened. In every case the data is as it was.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the data folder open.
    #[error(
        "data folder {} is in use{}; stop that instance or choose another data folder",
        folder.display(),
        holder.map(|pid| format!(" by process {pid}")).unwrap_or_default()
    )]
    Locked {
        /// The data folder.
        folder: PathBuf,
        /// The process that holds it, where known.
        holder: Option<u32>,
    },
    /// A newer version of the program wrote the database.
    #[error(
        "database {} has version {found}, this program knows versions up to {supported}; \
         use the newer program, or another data folder (nothing was changed)",
        file.display()
    )]
    Newer {
        /// The database.
        file: PathBuf,
        /// The version it has.
        found: i64,
        /// The newest version this program knows.
        supported: i64,
    },
    /// The file is a SQLite database of some other program.
    #[error(
        "{} is a database of another program; choose another data folder (nothing was changed)",
        file.display()
    )]
    Foreign {
        /// The file.
        file: PathBuf,
    },
    /// The database is damaged.
    #[error(
        "database {} is damaged: {detail}; restore the data folder from a backup, or move it \
         away to start empty",
        file.display()
    )]
    Corrupt {
        /// The database.
        file: PathBuf,
        /// What was found.
        detail: String,
    },
    /// There is no space to open the database in.
    #[error("no space left for database {}; free some and start again", file.display())]
    Full {
        /// The database.
        file: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// SQLite refused for another reason.
    #[error("cannot open database {}: {detail}", file.display())]
    Database {
        /// The database.
        file: PathBuf,
        /// What SQLite said.
        detail: String,
    },
}

/// Why a write was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// The object is not as the writer expected.
    #[error("{}", match current {
        Some(object) => format!("{} has changed: it is at revision {}", object.key, object.revision),
        None => "the object does not exist".to_owned(),
    })]
    Conflict {
        /// The object as it is; none where there is none.
        current: Option<Arc<Object>>,
    },
    /// There is no space for the write. Writes work again as soon as there is.
    #[error("no space left to store the write in {}; free some and try again", file.display())]
    Full {
        /// The database.
        file: PathBuf,
    },
    /// The write could not be made durable. It is not visible; if the program ends
    /// before another write succeeds, it may be found after the restart.
    #[error("the write could not be stored in {}: {detail}", file.display())]
    Storage {
        /// The database.
        file: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// The store is closed. A write that was under way may have been done.
    #[error("the store is closed")]
    Closed,
}

/// Why a list at a revision cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The revision is older than the history.
    #[error("revision {requested} is compacted, the oldest kept is {oldest}")]
    Compacted {
        /// The revision asked for.
        requested: Revision,
        /// The oldest that would have been answered.
        oldest: Revision,
    },
    /// The revision has not been reached yet.
    #[error("revision {requested} is ahead of the newest, {newest}")]
    Future {
        /// The revision asked for.
        requested: Revision,
        /// The newest visible.
        newest: Revision,
    },
}

/// Why a watch could not start, or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The revision to start after is older than the history.
    #[error("revision {requested} is compacted, the oldest kept is {oldest}")]
    Compacted {
        /// The revision asked for.
        requested: Revision,
        /// The oldest that would have been accepted.
        oldest: Revision,
    },
    /// The revision to start after has not been reached yet.
    #[error("revision {requested} is ahead of the newest, {newest}")]
    Future {
        /// The revision asked for.
        requested: Revision,
        /// The newest visible.
        newest: Revision,
    },
    /// The watcher read too slowly: events it has not seen have left the history.
    #[error("the watch fell behind: events after revision {seen} are compacted up to {oldest}")]
    Lagged {
        /// The last event it was given, or where it started.
        seen: Revision,
        /// The oldest revision a new watch could start after.
        oldest: Revision,
    },
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
}
