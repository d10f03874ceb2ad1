//! The revisioned object store with watch.
//!
//! Objects are opaque bytes with a key, a revision, labels and selectable fields. Every
//! write gets the next revision; all readers and watchers see all writes in that order.
//!
//! ```text
//! Store::write ─▶ writer thread ─▶ plan: which are done, which conflict
//!                                     │ one commit for all that waited
//!                                     ▼
//!                                 database (SQLite, write-ahead log, synced)
//!                                     │ durable
//!                                     ▼
//! Store::get, list, watch ◀──────  visible: current objects and history, in memory
//! ```
//!
//! - `object`: keys, revisions, drafts and objects.
//! - `plan`: decides a batch of writes.
//! - `writer`: the thread that makes a batch durable, then visible, then answers.
//! - `database`: the SQLite file. It keeps the current objects; history starts anew when
//!   the store is opened.
//! - `visible`: what readers see.
//! - `history`: the bounded past of one collection, which watches and lists at older
//!   revisions read.
//! - `watch`: a position in a history. Publishing never waits for one.
//!
//! A store in memory runs the same plan and publishes at once, within the call.

mod database;
mod error;
mod history;
mod object;
mod plan;
mod visible;
mod watch;
mod writer;

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use database::{Database, Loaded};
use plan::{Plan, Write, plan};
use visible::Visible;
use writer::Writer;

pub use error::{ListError, OpenError, WatchError, WriteError};
pub use object::{Change, Draft, Event, Expect, Key, Object, Pairs, Revision};
pub use watch::Watch;

/// How much history a store keeps.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most events kept per collection. A watcher that is further behind is cut off.
    pub history_events: usize,
    /// The most bytes the history of all collections together may hold. Beyond it the
    /// longest history is halved.
    pub history_bytes: usize,
}

/// Which state a list shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The newest.
    Latest,
    /// The state right after this revision's write.
    Exact(Revision),
}

/// The objects of a collection, or of one namespace of it, at one revision.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The revision they were like this at; a watch after it misses nothing.
    pub revision: Revision,
    /// The objects, sorted by namespace and name.
    pub objects: Vec<Arc<Object>>,
}

/// A handle on the store. Clones share it. Dropping the last finishes the writes that
/// wait and closes the database, which blocks for as long as that takes.
#[derive(Clone, Debug)]
pub struct Store {
    visible: Arc<Visible>,
    committer: Arc<Committer>,
}

/// Who commits writes.
#[derive(Debug)]
enum Committer {
    /// The thread that owns the database.
    Durable(Writer),
    /// Whoever writes: the lock makes them one after another.
    InMemory(Mutex<()>),
}

impl Default for Options {
    fn default() -> Options {
        Options {
            history_events: 8192,
            history_bytes: 32 << 20,
        }
    }
}

impl Store {
    /// Opens the store in a data folder, which is made if it is missing, and locks it.
    /// Everything is read into memory.
    pub fn open(folder: &Path, options: Options) -> Result<Store, OpenError> {
        let (database, Loaded { revision, objects }) = Database::open(folder)?;
        let file = database.file().to_owned();
        let visible = Arc::new(Visible::starting_at(revision, objects, options));
        let started = Writer::start(visible.clone(), database);
        let writer = started.map_err(|source| OpenError::Io {
            action: "start the writer thread of",
            path: file,
            source,
        })?;
        Ok(Store {
            visible,
            committer: Arc::new(Committer::Durable(writer)),
        })
    }

    /// Makes an empty store that lives in memory. Writes are done within the call,
    /// without a thread: under tokio's paused time it is deterministic.
    pub fn in_memory() -> Store {
        Store::in_memory_with(Options::default())
    }

    /// [`Store::in_memory`] with bounds of its own.
    pub fn in_memory_with(options: Options) -> Store {
        Store {
            visible: Arc::new(Visible::starting_at(Revision::FIRST, [], options)),
            committer: Arc::new(Committer::InMemory(Mutex::new(()))),
        }
    }

    /// Does one write. When it returns `Ok` the write is durable and visible.
    /// If the caller stops waiting, the write may or may not be done.
    pub async fn write(
        &self,
        key: Key,
        expect: Expect,
        change: Change,
    ) -> Result<Arc<Object>, WriteError> {
        let write = Write {
            key,
            expect,
            change,
        };
        match &*self.committer {
            Committer::Durable(writer) => writer.write(write).await,
            Committer::InMemory(turn) => {
                let _turn = turn.lock();
                if self.visible.is_closed() {
                    return Err(WriteError::Closed);
                }
                let Plan {
                    mut outcomes,
                    events,
                } = plan(&self.visible, std::iter::once(&write));
                self.visible.publish(events);
                let outcome = outcomes.pop().expect("one write has one outcome");
                outcome.into_result()
            }
        }
    }

    /// Returns an object as it is now.
    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.visible.get(key)
    }

    /// Returns the newest visible revision.
    pub fn revision(&self) -> Revision {
        self.visible.newest()
    }

    /// Lists a collection, or one namespace of it. With `after`, only what comes after
    /// that (namespace, name).
    pub fn list(
        &self,
        collection: &str,
        namespace: Option<&str>,
        at: At,
        after: Option<(&str, &str)>,
    ) -> Result<Listing, ListError> {
        self.visible.list(collection, namespace, at, after)
    }

    /// Watches a collection, or one namespace of it, for writes after a revision.
    pub fn watch(
        &self,
        collection: &str,
        namespace: Option<&str>,
        after: Revision,
    ) -> Result<Watch, WatchError> {
        Watch::start(self.visible.clone(), collection, namespace, after)
    }

    /// Resolves when a revision is visible. The caller bounds the wait.
    pub async fn reached(&self, revision: Revision) {
        self.visible.reached(revision).await;
    }

    /// Returns the collections that hold objects in a namespace, sorted.
    pub fn collections_with(&self, namespace: &str) -> Vec<Arc<str>> {
        self.visible.collections_with(namespace)
    }

    /// Forgets the history up to and including a revision.
    pub fn compact(&self, through: Revision) {
        self.visible.compact(through);
    }

    /// Finishes the writes that wait, ends all watches and closes the database.
    /// Later writes get [`WriteError::Closed`]; reads still work.
    pub async fn close(&self) {
        match &*self.committer {
            Committer::Durable(writer) => {
                writer.close().await;
                self.visible.closed().await;
            }
            Committer::InMemory(turn) => {
                let _turn = turn.lock();
                self.visible.close();
            }
        }
    }
}
