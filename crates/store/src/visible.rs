//! What readers see: the current objects and the history of every collection, in memory.
//!
//! There is one lock per collection. The one writer holds the locks of all collections a
//! commit touches while it applies the commit and moves the newest revision, so a commit
//! becomes visible at once, and a revision read under a collection's lock describes that
//! collection exactly.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::{RwLock, RwLockWriteGuard};
use tokio::sync::Notify;

use crate::error::ListError;
use crate::history::History;
use crate::object::{Event, Key, Object, Revision};
use crate::{At, Listing, Options};

/// All collections, and how far they are.
#[derive(Debug)]
pub(crate) struct Visible {
    options: Options,
    /// The newest revision. Only moved under the locks of the collections it changed.
    newest: AtomicU64,
    /// Wakes those who wait for `newest` to move or for `closed`.
    advanced: Notify,
    closed: AtomicBool,
    /// What all histories together cost, in bytes.
    history_bytes: AtomicUsize,
    collections: RwLock<Collections>,
}

#[derive(Debug)]
struct Collections {
    by_name: BTreeMap<Arc<str>, Arc<Collection>>,
    /// Where the history of a collection begins that does not exist yet.
    compacted: Revision,
}

/// One collection.
#[derive(Debug)]
pub(crate) struct Collection {
    pub(crate) name: Arc<str>,
    pub(crate) contents: RwLock<Contents>,
    /// Wakes the watchers of this collection, in the order in which they began to wait.
    /// (The receivers of `tokio::sync::watch` are woken in random order, which a
    /// simulation could not repeat.)
    pub(crate) changed: Notify,
}

/// What a collection's lock protects.
#[derive(Debug)]
pub(crate) struct Contents {
    /// By namespace, then name. No namespace is empty.
    namespaces: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Arc<Object>>>,
    pub(crate) history: History,
}

// === impl Visible ===

impl Visible {
    /// Makes the state a store starts with: these objects, and no history up to `revision`.
    pub(crate) fn starting_at(
        revision: Revision,
        objects: impl IntoIterator<Item = Object>,
        options: Options,
    ) -> Visible {
        let visible = Visible {
            options,
            newest: AtomicU64::new(revision.get()),
            advanced: Notify::new(),
            closed: AtomicBool::new(false),
            history_bytes: AtomicUsize::new(0),
            collections: RwLock::new(Collections {
                by_name: BTreeMap::new(),
                compacted: revision,
            }),
        };
        for mut object in objects {
            object.key = visible.intern(object.key);
            let collection = visible.collection(&object.key.collection);
            collection.contents.write().put(Arc::new(object));
        }
        visible
    }

    /// Returns the newest visible revision.
    pub(crate) fn newest(&self) -> Revision {
        Revision::new(self.newest.load(Ordering::Acquire)).expect("starts at a revision")
    }

    /// Returns a collection, which is made if it does not exist.
    pub(crate) fn collection(&self, name: &str) -> Arc<Collection> {
        if let Some(collection) = self.collections.read().by_name.get(name) {
            return collection.clone();
        }
        let mut collections = self.collections.write();
        if let Some(collection) = collections.by_name.get(name) {
            return collection.clone();
        }
        let collection = Arc::new(Collection {
            name: name.into(),
            contents: RwLock::new(Contents {
                namespaces: BTreeMap::new(),
                history: History::starting_at(collections.compacted),
            }),
            changed: Notify::new(),
        });
        collections
            .by_name
            .insert(collection.name.clone(), collection.clone());
        collection
    }

    /// Returns an object as it is now.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Object>> {
        let collection = self
            .collections
            .read()
            .by_name
            .get(&key.collection)?
            .clone();
        let contents = collection.contents.read();
        let names = contents.namespaces.get(&key.namespace)?;
        names.get(&key.name).cloned()
    }

    /// Returns a key that shares the memory of the names already known.
    pub(crate) fn intern(&self, key: Key) -> Key {
        let collection = self.collection(&key.collection);
        let contents = collection.contents.read();
        let known = contents.namespaces.get_key_value(&key.namespace);
        Key {
            collection: collection.name.clone(),
            namespace: known.map_or(key.namespace, |(namespace, _)| namespace.clone()),
            name: key.name,
        }
    }

    /// Makes a commit visible: its events, in order.
    pub(crate) fn publish(&self, events: Vec<Event>) {
        let Some(newest) = events.last().map(|last| last.revision) else {
            return;
        };
        debug_assert!(newest > self.newest());
        // Sorted, so that the locks are always taken in the same order.
        let mut by_collection: BTreeMap<Arc<str>, Vec<Event>> = BTreeMap::new();
        for event in events {
            let name = event.object.key.collection.clone();
            by_collection.entry(name).or_default().push(event);
        }
        let touched: Vec<(Arc<Collection>, Vec<Event>)> = by_collection
            .into_iter()
            .map(|(name, events)| (self.collection(&name), events))
            .collect();
        let (collections, events): (Vec<_>, Vec<_>) = touched.into_iter().unzip();

        let mut locked: Vec<RwLockWriteGuard<'_, Contents>> = collections
            .iter()
            .map(|collection| collection.contents.write())
            .collect();
        for (contents, events) in locked.iter_mut().zip(events) {
            self.change_history(contents, |contents| {
                for event in events {
                    contents.apply(event);
                }
                while contents.history.len() > self.options.history_events {
                    contents.history.forget_oldest();
                }
            });
        }
        self.newest.store(newest.get(), Ordering::Release);
        drop(locked);

        for collection in &collections {
            collection.changed.notify_waiters();
        }
        self.advanced.notify_waiters();
        self.bound_history_bytes();
    }

    /// Changes a collection's contents and keeps account of what its history costs.
    fn change_history(&self, contents: &mut Contents, change: impl FnOnce(&mut Contents)) {
        let before = contents.history.bytes();
        change(contents);
        let after = contents.history.bytes();
        if after >= before {
            self.history_bytes
                .fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.history_bytes
                .fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// While the histories cost too much, halves the one that costs most.
    fn bound_history_bytes(&self) {
        while self.history_bytes.load(Ordering::Relaxed) > self.options.history_bytes {
            let all: Vec<Arc<Collection>> =
                self.collections.read().by_name.values().cloned().collect();
            let dearest = all
                .iter()
                .max_by_key(|collection| collection.contents.read().history.bytes())
                .expect("history belongs to a collection");
            self.change_history(&mut dearest.contents.write(), |contents| {
                let half = contents.history.bytes() / 2;
                while contents.history.bytes() > half {
                    contents.history.forget_oldest();
                }
            });
        }
    }

    /// Forgets the history up to and including a revision, at most the newest.
    pub(crate) fn compact(&self, through: Revision) {
        let mut collections = self.collections.write();
        let through = through.min(self.newest());
        collections.compacted = collections.compacted.max(through);
        for collection in collections.by_name.values() {
            self.change_history(&mut collection.contents.write(), |contents| {
                contents.history.forget_through(through);
            });
        }
    }

    /// Lists a collection, or one namespace of it.
    pub(crate) fn list(
        &self,
        collection: &str,
        namespace: Option<&str>,
        at: At,
        after: Option<(&str, &str)>,
    ) -> Result<Listing, ListError> {
        let collections = self.collections.read();
        let Some(collection) = collections.by_name.get(collection).cloned() else {
            // A commit that makes the collection moves the newest revision later.
            let revision = answerable(at, collections.compacted, self.newest())?;
            return Ok(Listing {
                revision,
                objects: Vec::new(),
            });
        };
        drop(collections);

        let contents = collection.contents.read();
        let revision = answerable(at, contents.history.compacted(), self.newest())?;
        let current = contents.objects(namespace, after);
        let later: Vec<Event> = contents
            .history
            .since(revision)
            .filter(|event| {
                let place = place_of(&event.object);
                namespace.is_none_or(|wanted| wanted == place.0)
                    && after.is_none_or(|after| after < place)
            })
            .cloned()
            .collect();
        drop(contents);

        Ok(Listing {
            revision,
            objects: rewind(current, &later),
        })
    }

    /// Returns the collections that hold objects in a namespace, sorted.
    pub(crate) fn collections_with(&self, namespace: &str) -> Vec<Arc<str>> {
        let collections = self.collections.read();
        let holding = collections.by_name.values().filter(|collection| {
            collection
                .contents
                .read()
                .namespaces
                .contains_key(namespace)
        });
        holding.map(|collection| collection.name.clone()).collect()
    }

    /// Resolves when a revision is visible.
    pub(crate) async fn reached(&self, revision: Revision) {
        self.advanced_until(|| self.newest() >= revision).await;
    }

    /// Ends all watches. Called when no write can follow.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.advanced.notify_waiters();
        for collection in self.collections.read().by_name.values() {
            collection.changed.notify_waiters();
        }
    }

    /// Whether no write can follow.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Resolves when no write can follow.
    pub(crate) async fn closed(&self) {
        self.advanced_until(|| self.is_closed()).await;
    }

    async fn advanced_until(&self, condition: impl Fn() -> bool) {
        loop {
            let advanced = self.advanced.notified();
            tokio::pin!(advanced);
            // Waiting begins before the look, so no wake-up is missed between them.
            advanced.as_mut().enable();
            if condition() {
                return;
            }
            advanced.await;
        }
    }
}

/// Returns the revision a list shows, if the history still or already has it.
fn answerable(at: At, oldest: Revision, newest: Revision) -> Result<Revision, ListError> {
    match at {
        At::Latest => Ok(newest),
        At::Exact(requested) if requested > newest => Err(ListError::Future { requested, newest }),
        At::Exact(requested) if requested < oldest => {
            Err(ListError::Compacted { requested, oldest })
        }
        At::Exact(requested) => Ok(requested),
    }
}

/// Undoes the events `later` on a sorted list of objects.
fn rewind(mut objects: Vec<Arc<Object>>, later: &[Event]) -> Vec<Arc<Object>> {
    if later.is_empty() {
        return objects;
    }
    // The first of the later events on an object knows how it was before all of them.
    let mut earlier: BTreeMap<(&str, &str), Option<&Arc<Object>>> = BTreeMap::new();
    for event in later {
        earlier
            .entry(place_of(&event.object))
            .or_insert(event.previous.as_ref());
    }
    objects.retain(|object| !earlier.contains_key(&place_of(object)));
    objects.extend(earlier.into_values().flatten().cloned());
    objects.sort_by(|a, b| place_of(a).cmp(&place_of(b)));
    objects
}

/// Where an object stands within its collection.
fn place_of(object: &Object) -> (&str, &str) {
    (&object.key.namespace, &object.key.name)
}

// === impl Contents ===

impl Contents {
    fn apply(&mut self, event: Event) {
        if event.deleted {
            self.remove(&event.object.key);
        } else {
            self.put(event.object.clone());
        }
        self.history.push(event);
    }

    fn put(&mut self, object: Arc<Object>) {
        let names = self
            .namespaces
            .entry(object.key.namespace.clone())
            .or_default();
        names.insert(object.key.name.clone(), object);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(names) = self.namespaces.get_mut(&key.namespace) {
            names.remove(&key.name);
            if names.is_empty() {
                self.namespaces.remove(&key.namespace);
            }
        }
    }

    /// Returns the current objects, sorted by namespace and name.
    fn objects(&self, namespace: Option<&str>, after: Option<(&str, &str)>) -> Vec<Arc<Object>> {
        let from = match (namespace, after) {
            (Some(namespace), _) => Bound::Included(namespace),
            (None, Some((after_namespace, _))) => Bound::Included(after_namespace),
            (None, None) => Bound::Unbounded,
        };
        let to = namespace.map_or(Bound::Unbounded, Bound::Included);
        let mut objects = Vec::new();
        for (candidate, names) in self.namespaces.range::<str, _>((from, to)) {
            let first_name = match after {
                Some((after_namespace, _)) if **candidate < *after_namespace => continue,
                Some((after_namespace, name)) if **candidate == *after_namespace => {
                    Bound::Excluded(name)
                }
                _ => Bound::Unbounded,
            };
            let listed = names.range::<str, _>((first_name, Bound::Unbounded));
            objects.extend(listed.map(|(_, object)| object.clone()));
        }
        objects
    }
}
