//! One state of the source, seen by several readers while writers go on.
//!
//! SQLite gives each connection's read transaction a snapshot of its own; that several have the *same*
//! one is made sure of here:
//! - **WAL.** All readers begin, and a watcher asks `PRAGMA data_version` before and after: when it did
//!   not change, nothing was committed in between and all see one state. Under writers too busy for
//!   that, the write lock is held for the moment in which the readers begin. Writers go on afterwards;
//!   the log grows while the readers read, since no checkpoint can pass them.
//! - **Rollback journal.** A reader's shared lock keeps every writer from committing, so the readers
//!   trivially agree, and writers wait for as long as the snapshot is held. [`Mode::Copied`] reads a
//!   private copy instead, made by SQLite's online backup: writers wait only while that is made.
//! - **Read-only media.** Only where the file system itself is read-only is the file opened as
//!   immutable (a file that is merely write-protected can be changed by others). A log or hot journal
//!   beside it holds part of the data, so then all are copied and recovered in a temporary folder.
//!
//! A connection closes without a checkpoint: this program leaves the source as it found it. No file of
//! the source is opened but by SQLite, since closing one drops the process's locks on it.

mod place;

use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use thiserror::Error;

use place::{Place, TemporaryFile};

/// How long a lock of another program is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the readers try to begin between two commits before the write lock is taken.
const OPTIMISTIC_ATTEMPTS: usize = 20;

/// How the state is kept while it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// By read transactions: in WAL mode writers go on, otherwise they wait.
    #[default]
    Held,
    /// In WAL mode by read transactions; otherwise by a private copy in the temporary folder.
    Copied,
}

/// Why the source cannot be read.
#[derive(Debug, Error)]
pub enum SourceError {
    /// There is no such file.
    #[error("there is no file {}; check the path behind sqlite:", .0.display())]
    Missing(PathBuf),
    /// SQLite refuses it.
    #[error("cannot read the SQLite database {}: {what}", .file.display())]
    Unreadable {
        /// The database.
        file: PathBuf,
        /// What is wrong and what to do.
        what: String,
    },
}

impl SourceError {
    /// Explains an error of SQLite about a file.
    #[must_use]
    pub fn explain(file: &Path, error: &rusqlite::Error) -> Self {
        let what = match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => {
                "it is not a SQLite database, or it is encrypted".to_owned()
            }
            Some(ErrorCode::DatabaseCorrupt) => format!(
                "it is damaged ({error}); rescue what can be read with: sqlite3 {} .recover | sqlite3 rescued.db",
                file.display()
            ),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                format!(
                    "another program has held its lock for more than {} s; end that program's transaction, or put the database into WAL mode",
                    BUSY_TIMEOUT.as_secs()
                )
            }
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly) if !place::is_readable(file) => {
                "permission denied".to_owned()
            }
            Some(ErrorCode::CannotOpen) => needs_write_permission(error),
            Some(ErrorCode::ReadOnly) if !place::beside(file, "-journal").exists() => {
                needs_write_permission(error)
            }
            Some(ErrorCode::ReadOnly) => format!(
                "{error}; a crashed program left a journal that must be rolled back, which needs write permission on the file and its folder (or copy both elsewhere)"
            ),
            Some(ErrorCode::PermissionDenied) => "permission denied".to_owned(),
            _ => error.to_string(),
        };
        Self::Unreadable {
            file: file.to_owned(),
            what,
        }
    }
}

fn needs_write_permission(error: &rusqlite::Error) -> String {
    format!(
        "{error}; a database in WAL mode needs write permission on its folder for the -shm file (or copy the file with its -wal elsewhere)"
    )
}

/// Opens a database as often as wanted, wherever it lies; each connection sees what is there when it reads.
pub struct Opener(Place);

/// One state of a SQLite database and the connections that read it.
#[derive(Debug)]
pub struct Snapshot {
    file: PathBuf,
    state: String,
    idle: Mutex<Vec<Connection>>,
    readers: usize,
    /// Copies to be removed with the snapshot.
    _temporary: Vec<TemporaryFile>,
}

/// A connection inside the snapshot; it goes back when dropped.
#[derive(Debug)]
pub struct Reader {
    snapshot: Arc<Snapshot>,
    connection: Option<Connection>,
}

impl Opener {
    /// Looks where the database lies, makes a copy where it cannot be read in place, and reads of it for a first time.
    ///
    /// # Errors
    /// Says why the file cannot be read.
    pub fn new(file: &Path) -> Result<Self, SourceError> {
        let place = Place::of(file)?;
        first_look(&place.uri)
            .and_then(|(connection, _)| begin_all(&[connection]))
            .map_err(|error| SourceError::explain(file, &error))?;
        Ok(Self(place))
    }

    /// A connection that cannot write.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn connect(&self) -> rusqlite::Result<Connection> {
        connect(&self.0.uri)
    }
}

impl Snapshot {
    /// Opens a database with `readers` connections that all see one state. Blocks.
    ///
    /// # Errors
    /// Says why the file cannot be read.
    pub fn open(file: &Path, readers: usize, mode: Mode) -> Result<Arc<Self>, SourceError> {
        let explain = |error: rusqlite::Error| SourceError::explain(file, &error);
        let readers = readers.max(1);
        let place = Place::of(file)?;
        let mut temporary = place.temporary;
        let uri = place.uri;
        let (first, journal) = first_look(&uri).map_err(explain)?;
        let more = |uri: &str, count: usize| {
            (0..count)
                .map(|_| connect(uri))
                .collect::<Result<Vec<_>, _>>()
        };
        let (connections, state) = if journal == "wal" || mode == Mode::Held {
            let mut connections = vec![first];
            connections.extend(more(&uri, readers - 1).map_err(explain)?);
            begin_together(&uri, &connections).map_err(explain)?;
            (connections, state_of(file))
        } else {
            let copy = TemporaryFile::new(file)?;
            // Asked before the copy: a commit in between makes the state look older, never newer.
            let state = state_of(file);
            back_up(&first, copy.path()).map_err(explain)?;
            drop(first);
            let connections = more(&place::immutable_uri(copy.path()), readers).map_err(explain)?;
            begin_all(&connections).map_err(explain)?;
            temporary.push(copy);
            (connections, state)
        };
        Ok(Arc::new(Self {
            file: file.to_owned(),
            state,
            idle: Mutex::new(connections),
            readers,
            _temporary: temporary,
        }))
    }

    /// The file that was named.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// How many connections read it.
    #[must_use]
    pub fn readers(&self) -> usize {
        self.readers
    }

    /// A text that changes when the source is committed to: size and time of the file and its log.
    #[must_use]
    pub fn state(&self) -> &str {
        &self.state
    }

    /// Takes a connection; none when all are in use.
    #[must_use]
    pub fn reader(self: &Arc<Self>) -> Option<Reader> {
        let connection = self.idle.lock().pop()?;
        Some(Reader {
            snapshot: Arc::clone(self),
            connection: Some(connection),
        })
    }
}

impl Deref for Reader {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        // Only `drop` takes it out.
        self.connection
            .as_ref()
            .expect("a reader has its connection until it is dropped")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.snapshot.idle.lock().push(connection);
        }
    }
}

fn connect(uri: &str) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// A connection and the database's journal mode. Asking for it also rolls back a hot journal.
fn first_look(uri: &str) -> rusqlite::Result<(Connection, String)> {
    let connection = connect(uri)?;
    let journal = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    Ok((connection, journal))
}

/// Begins a read transaction on every connection. `BEGIN` alone reads nothing and fixes no state.
fn begin_all(connections: &[Connection]) -> rusqlite::Result<()> {
    for connection in connections {
        connection.execute_batch("BEGIN")?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    }
    Ok(())
}

fn begin_together(uri: &str, connections: &[Connection]) -> rusqlite::Result<()> {
    let watcher = connect(uri)?;
    let version = || watcher.query_row("PRAGMA data_version", [], |row| row.get::<_, i64>(0));
    for _ in 0..OPTIMISTIC_ATTEMPTS {
        let before = version()?;
        begin_all(connections)?;
        if version()? == before {
            return Ok(());
        }
        for connection in connections {
            connection.execute_batch("ROLLBACK")?;
        }
    }
    watcher.pragma_update(None, "query_only", false)?;
    watcher.execute_batch("BEGIN IMMEDIATE")?;
    let begun = begin_all(connections);
    watcher.execute_batch("ROLLBACK")?;
    begun
}

/// Copies the database as one step, so that no commit of another program makes it begin again.
fn back_up(source: &Connection, to: &Path) -> rusqlite::Result<()> {
    let mut copy = Connection::open(to)?;
    copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
    source.execute_batch("BEGIN")?;
    source.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let backup = Backup::new(source, &mut copy)?;
    loop {
        match backup.step(-1)? {
            StepResult::Done => break,
            // The busy timeout has passed within the step.
            StepResult::Busy | StepResult::Locked => {
                return Err(rusqlite::Error::SqliteFailure(
                    rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
                    None,
                ));
            }
            _ => {}
        }
    }
    drop(backup);
    source.execute_batch("ROLLBACK")
}

/// Size and time of the last change of the file and of its log.
fn state_of(file: &Path) -> String {
    let of = |path: &Path| match std::fs::metadata(path) {
        Ok(found) if found.len() > 0 => format!(
            "{}:{}:{}.{:09}",
            found.ino(),
            found.len(),
            found.mtime(),
            found.mtime_nsec()
        ),
        _ => "-".to_owned(),
    };
    format!("{} {}", of(file), of(&place::beside(file, "-wal")))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
