//! The SQLite file under the store: the current objects and the newest revision.
//! History is not kept in it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, params};

use crate::error::{OpenError, WriteError};
use crate::object::{Event, Key, Object, Pairs, Revision};

const DATABASE_FILE: &str = "store.db";
const LOCK_FILE: &str = "lock";

/// Marks the file as ours: "tide" in ASCII.
const APPLICATION_ID: i64 = 0x7469_6465;

/// The version of the tables below. A change to them raises it and brings older
/// databases up to it.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE newest (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    revision INTEGER NOT NULL
) STRICT;
INSERT INTO newest VALUES (1, 1);
CREATE TABLE object (
    collection TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    labels BLOB NOT NULL,
    fields BLOB NOT NULL,
    UNIQUE (collection, namespace, name)
) STRICT;
";

/// How many pages the write-ahead log gets before they are brought into the database.
/// What is in the log takes its space twice until then, so this is also what a full disk
/// must have free, at least, before writes work again: 4 MiB. Fewer pages would cost every
/// write a larger share of the two syncs that bringing them over takes.
const LOG_PAGES: i64 = 1000;

/// After a large commit the write-ahead log is cut back to this many bytes.
const LOG_KEPT: i64 = 8 << 20;

/// The open database, and the lock on its folder.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Connection,
    file: PathBuf,
    /// Held until the connection above is closed.
    _lock: FolderLock,
}

/// What a database held when it was opened.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) revision: Revision,
    pub(crate) objects: Vec<Object>,
}

// === impl Database ===

impl Database {
    /// Locks a data folder and opens the database in it; both are made if missing.
    pub(crate) fn open(folder: &Path) -> Result<(Database, Loaded), OpenError> {
        // Secrets are in here: the folder is for its owner alone.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(refused("create data folder", folder))?;
        let lock = lock_folder(folder)?;
        let file = folder.join(DATABASE_FILE);
        make_private(&file)?;

        let connection = connect(&file, folder)?;
        let mut database = Database {
            connection,
            file,
            _lock: lock,
        };
        let loaded = database.prepare().and_then(|()| database.load());
        let loaded = loaded.map_err(|error| open_failure(error, &database.file, folder))?;
        sync_folder(folder).map_err(refused("sync data folder", folder))?;
        Ok((database, loaded))
    }

    /// Where the database is.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Sets the journal up and makes the tables if there are none.
    fn prepare(&mut self) -> Result<(), Failure> {
        let connection = &mut self.connection;
        // WAL with FULL syncs the log at every commit: a commit that returned is durable.
        let mode: String =
            connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        if mode != "wal" {
            return Err(Failure::Damaged(format!("its journal mode stays {mode}")));
        }
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
        connection.pragma_update(None, "journal_size_limit", LOG_KEPT)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
        if read_pragma(connection, "user_version")? == 0 {
            let making = connection.transaction()?;
            making.execute_batch(TABLES)?;
            making.pragma_update(None, "application_id", APPLICATION_ID)?;
            making.pragma_update(None, "user_version", VERSION)?;
            making.commit()?;
        }
        Ok(())
    }

    fn load(&self) -> Result<Loaded, Failure> {
        let newest: i64 = self
            .connection
            .query_row("SELECT revision FROM newest", [], |row| row.get(0))?;
        let revision = to_revision(newest)?;
        let mut select = self.connection.prepare(
            "SELECT collection, namespace, name, revision, bytes, labels, fields FROM object",
        )?;
        let mut rows = select.query([])?;
        let mut objects = Vec::new();
        while let Some(row) = rows.next()? {
            let object = read_object(row)?;
            if object.revision > revision {
                return Err(Failure::Damaged(format!(
                    "{} has revision {}, but the newest is {revision}",
                    object.key, object.revision
                )));
            }
            objects.push(object);
        }
        Ok(Loaded { revision, objects })
    }

    /// Makes the events durable in one commit: all of them or, with an error, none.
    pub(crate) fn commit(&mut self, events: &[Event]) -> Result<(), WriteError> {
        self.try_commit(events).map_err(|error| {
            let file = self.file.clone();
            if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
                WriteError::Full { file }
            } else {
                let detail = error.to_string();
                WriteError::Storage { file, detail }
            }
        })
    }

    /// Tries to bring the log's pages into the database, so that the log is written from
    /// its beginning again: on a full disk that may be the space that is missing.
    pub(crate) fn try_empty_log(&self) {
        let emptied = self
            .connection
            .query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
        if let Err(error) = emptied {
            tracing::debug!(%error, "the log stays as it is");
        }
    }

    fn try_commit(&mut self, events: &[Event]) -> rusqlite::Result<()> {
        let Some(last) = events.last() else {
            return Ok(());
        };
        let transaction = self.connection.transaction()?;
        {
            let mut put = transaction.prepare_cached(
                "INSERT INTO object (collection, namespace, name, revision, bytes, labels, fields)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT (collection, namespace, name) DO UPDATE SET
                 revision = excluded.revision, bytes = excluded.bytes,
                 labels = excluded.labels, fields = excluded.fields",
            )?;
            let mut delete = transaction.prepare_cached(
                "DELETE FROM object WHERE collection = ?1 AND namespace = ?2 AND name = ?3",
            )?;
            for Event {
                object, deleted, ..
            } in events
            {
                let Key {
                    collection,
                    namespace,
                    name,
                } = &object.key;
                if *deleted {
                    delete.execute(params![collection, namespace, name])?;
                } else {
                    put.execute(params![
                        collection,
                        namespace,
                        name,
                        from_revision(object.revision),
                        &object.bytes[..],
                        encode_pairs(&object.labels),
                        encode_pairs(&object.fields),
                    ])?;
                }
            }
            transaction
                .prepare_cached("UPDATE newest SET revision = ?1")?
                .execute([from_revision(last.revision)])?;
        }
        transaction.commit()
    }
}

/// Opens a database file and makes sure that it is one of ours, or empty. Changes
/// nothing: a log left by a crash is read, but neither applied nor removed.
fn connect(file: &Path, folder: &Path) -> Result<Connection, OpenError> {
    let failed = |error: rusqlite::Error| open_failure(error.into(), file, folder);
    // The writer is one thread, so SQLite's own mutexes are not needed.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(failed)?;
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .map_err(failed)?;
    // Exclusive: no shared-memory file, and no other program changes what is in memory.
    connection
        .pragma_update(None, "locking_mode", "exclusive")
        .map_err(failed)?;
    let application = read_pragma(&connection, "application_id").map_err(failed)?;
    let version = read_pragma(&connection, "user_version").map_err(failed)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(failed)?;

    let file = file.to_owned();
    if application != APPLICATION_ID && (application, version, tables) != (0, 0, 0) {
        return Err(OpenError::Foreign { file });
    }
    if version > VERSION {
        return Err(OpenError::Newer {
            file,
            found: version,
            supported: VERSION,
        });
    }
    Ok(connection)
}

fn read_pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

// === files ===

/// The data folder's lock. The system gives it back when the process ends.
#[derive(Debug)]
struct FolderLock(File);

impl Drop for FolderLock {
    /// Closing the file alone would not do: a child process that is about to be executed holds a
    /// copy of the descriptor for a moment, and the lock with it.
    fn drop(&mut self) {
        // A lock that cannot be given back now is given back with the last copy.
        let _ = self.0.unlock();
    }
}

/// Takes the data folder's lock.
fn lock_folder(folder: &Path) -> Result<FolderLock, OpenError> {
    let path = folder.join(LOCK_FILE);
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path);
    let mut lock = opened.map_err(refused("open lock file", &path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message: without it the folder is just as locked.
            let _ = lock.read_to_string(&mut holder);
            return Err(OpenError::Locked {
                folder: folder.to_owned(),
                holder: holder.trim().parse().ok(),
            });
        }
        Err(TryLockError::Error(source)) => return Err(refused("lock", &path)(source)),
    }
    // Tells others who holds it. On a full disk it stays empty, and still locks.
    let _ = lock
        .set_len(0)
        .and_then(|()| writeln!(lock, "{}", std::process::id()));
    Ok(FolderLock(lock))
}

/// Makes a file for its owner alone, if it does not exist. SQLite gives the files it
/// puts beside it the same permissions.
fn make_private(file: &Path) -> Result<(), OpenError> {
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(file);
    opened.map(drop).map_err(refused("open database", file))
}

/// Makes new files in a folder findable after a power failure.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()?;
    match fs::canonicalize(folder)?.parent() {
        // A parent that may not be read was not made by us.
        Some(parent) => File::open(parent).map_or(Ok(()), |parent| parent.sync_all()),
        None => Ok(()),
    }
}

fn refused(action: &'static str, path: &Path) -> impl Fn(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull => OpenError::Full { file: path.clone() },
        _ => OpenError::Io {
            action,
            path: path.clone(),
            source,
        },
    }
}

// === failures while opening ===

/// What was wrong while the database was read.
#[derive(Debug)]
enum Failure {
    Sqlite(rusqlite::Error),
    Damaged(String),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Failure {
        Failure::Sqlite(error)
    }
}

fn open_failure(failure: Failure, file: &Path, folder: &Path) -> OpenError {
    let file = file.to_owned();
    let error = match failure {
        Failure::Sqlite(error) => error,
        Failure::Damaged(detail) => return OpenError::Corrupt { file, detail },
    };
    let detail = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Locked {
            folder: folder.to_owned(),
            holder: None,
        },
        Some(ErrorCode::DiskFull) => OpenError::Full { file },
        // Unknown: it bears our mark, but a table is missing. None: a value has the wrong type.
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::Unknown) | None => {
            OpenError::Corrupt { file, detail }
        }
        Some(_) => OpenError::Database { file, detail },
    }
}

// === values ===

fn read_object(row: &Row<'_>) -> Result<Object, Failure> {
    let text = |index| row.get_ref(index).and_then(|value| Ok(value.as_str()?));
    let blob = |index| row.get_ref(index).and_then(|value| Ok(value.as_blob()?));
    let key = Key::new(text(0)?, text(1)?, text(2)?);
    let pairs = |encoded| {
        decode_pairs(encoded).ok_or_else(|| {
            Failure::Damaged(format!("the labels or fields of {key} cannot be read"))
        })
    };
    let (labels, fields) = (pairs(blob(5)?)?, pairs(blob(6)?)?);
    Ok(Object {
        revision: to_revision(row.get(3)?)?,
        bytes: Bytes::copy_from_slice(blob(4)?),
        labels,
        fields,
        key,
    })
}

/// SQLite's integers are signed.
fn from_revision(revision: Revision) -> i64 {
    i64::try_from(revision.get()).expect("fewer than 2^63 writes")
}

fn to_revision(stored: i64) -> Result<Revision, Failure> {
    let number = u64::try_from(stored).ok();
    number
        .and_then(Revision::new)
        .ok_or_else(|| Failure::Damaged(format!("{stored} is not a revision")))
}

/// Encodes pairs: each name and value as its length (four bytes, little-endian) and its
/// bytes.
fn encode_pairs(pairs: &Pairs) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (name, value) in pairs.iter() {
        for text in [name, value] {
            let length = u32::try_from(text.len()).expect("a label or field below 4 GiB");
            encoded.extend_from_slice(&length.to_le_bytes());
            encoded.extend_from_slice(text.as_bytes());
        }
    }
    encoded
}

fn decode_pairs(mut encoded: &[u8]) -> Option<Pairs> {
    let mut pairs = Vec::new();
    while !encoded.is_empty() {
        let name = decode_text(&mut encoded)?;
        let value = decode_text(&mut encoded)?;
        pairs.push((name, value));
    }
    Some(pairs.into_iter().collect())
}

fn decode_text<'e>(encoded: &mut &'e [u8]) -> Option<&'e str> {
    let (length, rest) = encoded.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (text, rest) = rest.split_at_checked(length)?;
    *encoded = rest;
    std::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_read_back_as_they_were_written_whatever_is_in_them() {
        let pairs: Pairs = [("app", "shop"), ("empty", ""), ("\0", "é\0=,")]
            .into_iter()
            .collect();
        assert_eq!(decode_pairs(&encode_pairs(&pairs)), Some(pairs));
        assert_eq!(decode_pairs(&[]), Some(Pairs::default()));
    }

    #[test]
    fn damaged_pairs_are_refused() {
        let pairs: Pairs = [("app", "shop")].into_iter().collect();
        let encoded = encode_pairs(&pairs);
        for length in 1..encoded.len() {
            assert_eq!(decode_pairs(&encoded[..length]), None, "cut to {length}");
        }
        assert_eq!(decode_pairs(&[255, 255, 255, 255]), None);
    }
}
