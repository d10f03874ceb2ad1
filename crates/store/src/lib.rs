//! The revisioned object store with watch.
#![allow(unused_variables, clippy::unused_async)]

mod error;
mod object;

use std::path::Path;
use std::sync::Arc;

pub use error::{ListError, OpenError, WatchError, WriteError};
pub use object::{Change, Draft, Event, Expect, Key, Object, Pairs, Revision};

/// How much history a store keeps.
#[derive(Clone, Debug)]
pub struct Options {
    /// The most events kept per collection.
    pub history_events: usize,
    /// The most bytes of encoded objects the history of all collections may hold.
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

/// A handle on the store. Clones share it; dropping the last closes it.
#[derive(Clone, Debug)]
pub struct Store {}

/// Reads the changes of a collection, or of one namespace of it, in order.
#[derive(Debug)]
pub struct Watch {}

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
        unreachable!()
    }

    /// Makes an empty store that lives in memory. Writes are done within the call,
    /// without a thread: under tokio's paused time it is deterministic.
    pub fn in_memory() -> Store {
        unreachable!()
    }

    /// [`Store::in_memory`] with bounds of its own.
    pub fn in_memory_with(options: Options) -> Store {
        unreachable!()
    }

    /// Does one write. When it returns `Ok` the write is durable and visible.
    /// If the caller stops waiting, the write may or may not be done.
    pub async fn write(
        &self,
        key: Key,
        expect: Expect,
        change: Change,
    ) -> Result<Arc<Object>, WriteError> {
        unreachable!()
    }

    /// Returns an object as it is now.
    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        unreachable!()
    }

    /// Returns the newest visible revision.
    pub fn revision(&self) -> Revision {
        unreachable!()
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
        unreachable!()
    }

    /// Watches a collection, or one namespace of it, for writes after a revision.
    pub fn watch(
        &self,
        collection: &str,
        namespace: Option<&str>,
        after: Revision,
    ) -> Result<Watch, WatchError> {
        unreachable!()
    }

    /// Resolves when a revision is visible. The caller bounds the wait.
    pub async fn reached(&self, revision: Revision) {
        unreachable!()
    }

    /// Returns the collections that hold objects in a namespace, sorted.
    pub fn collections_with(&self, namespace: &str) -> Vec<Arc<str>> {
        unreachable!()
    }

    /// Forgets the history up to and including a revision.
    pub fn compact(&self, through: Revision) {
        unreachable!()
    }

    /// Finishes the writes that wait, ends all watches and closes the database.
    /// Later writes get [`WriteError::Closed`]; reads still work.
    pub async fn close(&self) {
        unreachable!()
    }
}

impl Watch {
    /// Returns the next event, in revision order. May be dropped while it waits: no
    /// event is lost.
    pub async fn next(&mut self) -> Result<Event, WatchError> {
        unreachable!()
    }

    /// Returns the next event if there is one already.
    pub fn try_next(&mut self) -> Result<Option<Event>, WatchError> {
        unreachable!()
    }

    /// Returns a revision up to which all events of this watch were returned.
    pub fn progress(&self) -> Revision {
        unreachable!()
    }
}
