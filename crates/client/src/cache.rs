use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;

use crate::{Backoff, ObjectKey, WorkQueue, revision_of};

/// Changes a subscriber may be behind before it is told to look at everything
/// instead. Subscribers only map objects to keys, so they are rarely behind.
const SUBSCRIPTION_BOUND: usize = 512;

/// A watch that fails is tried again after this long, doubling …
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// … up to this long.
const RETRY_BOUND: Duration = Duration::from_secs(5);

/// A kind that can be cached: every type of `k8s_openapi` that has metadata.
pub trait Cached:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

impl<K> Cached for K where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
}

/// One change of a [`Cache`].
#[derive(Debug)]
pub enum Seen<K> {
    /// An object is new or has changed.
    Applied {
        /// The object as it is now.
        new: Arc<K>,
        /// The object as the cache had it before, if it had it.
        old: Option<Arc<K>>,
    },
    /// An object is gone; this is its last known state.
    Deleted(Arc<K>),
    /// Anything may have changed, deletions included: look at everything again.
    /// Every subscription begins with this, once the cache is complete.
    Resync,
}

impl<K> Clone for Seen<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Applied { new, old } => Self::Applied {
                new: Arc::clone(new),
                old: old.clone(),
            },
            Self::Deleted(object) => Self::Deleted(Arc::clone(object)),
            Self::Resync => Self::Resync,
        }
    }
}

/// A sorted, watched copy of all objects of one kind, without their
/// `managedFields`. Cheap to clone; the watch ends with the last clone.
pub struct Cache<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    content: RwLock<Content<K>>,
    changes: broadcast::Sender<Seen<K>>,
    synced: watch::Sender<bool>,
    watcher: OnceLock<AbortHandle>,
}

struct Content<K> {
    /// By namespace, then by name.
    objects: BTreeMap<String, BTreeMap<String, Arc<K>>>,
    /// The newest resourceVersion seen in any object.
    revision: u64,
}

impl<K> Drop for Shared<K> {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher.get() {
            watcher.abort();
        }
    }
}

// === impl Cache ===

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<K: Cached> Cache<K> {
    fn empty() -> Self {
        let content = Content {
            objects: BTreeMap::new(),
            revision: 0,
        };
        Self {
            shared: Arc::new(Shared {
                content: RwLock::new(content),
                changes: broadcast::Sender::new(SUBSCRIPTION_BOUND),
                synced: watch::Sender::new(false),
                watcher: OnceLock::new(),
            }),
        }
    }

    /// A complete cache of exactly these objects that watches nothing: for tests of what reads caches.
    pub fn fixed(objects: impl IntoIterator<Item = K>) -> Self {
        let cache = Self::empty();
        for object in objects {
            cache.shared.apply(object);
        }
        cache.shared.synced.send_replace(true);
        cache
    }

    /// Starts to watch all objects of the kind. Must be called within a tokio runtime.
    fn watched(api: Api<K>) -> Self {
        let cache = Self::empty();
        let config = watcher::Config::default().streaming_lists();
        let weak = Arc::downgrade(&cache.shared);
        let task = tokio::spawn(follow(weak, watcher(api, config)));
        // The cell was made empty a few lines above.
        let _ = cache.shared.watcher.set(task.abort_handle());
        cache
    }

    /// The object of this namespace (empty for cluster-scoped kinds) and name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.shared
            .content
            .read()
            .objects
            .get(namespace)?
            .get(name)
            .cloned()
    }

    /// The object of this key.
    pub fn find(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.get(&key.namespace, &key.name)
    }

    /// All objects, sorted by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        let content = self.shared.content.read();
        content
            .objects
            .values()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }

    /// The objects of one namespace, sorted by name.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let content = self.shared.content.read();
        content
            .objects
            .get(namespace)
            .into_iter()
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }

    /// The keys of all objects, sorted.
    pub fn keys(&self) -> Vec<ObjectKey> {
        let content = self.shared.content.read();
        let in_namespace = |(namespace, objects): (&String, &BTreeMap<String, Arc<K>>)| {
            objects
                .keys()
                .map(|name| ObjectKey::new(namespace.clone(), name.clone()))
                .collect::<Vec<_>>()
        };
        content.objects.iter().flat_map(in_namespace).collect()
    }

    /// The newest resourceVersion seen in any object of this kind, 0 before the first.
    pub fn revision(&self) -> u64 {
        self.shared.content.read().revision
    }

    /// Tells of every change from now on, beginning with [`Seen::Resync`] once the cache is complete.
    pub fn subscribe(&self) -> Subscription<K> {
        Subscription {
            changes: self.shared.changes.subscribe(),
            cache: Some(self.clone()),
        }
    }

    /// Resolves when the first complete list has arrived.
    pub async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        // The sender lives in `self`, so this cannot fail.
        let _ = synced.wait_for(|done| *done).await;
    }

    /// True once the first complete list has arrived.
    pub fn is_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }
}

impl<K: Cached> Shared<K> {
    fn apply(&self, mut object: K) {
        object.meta_mut().managed_fields = None;
        let ObjectKey { namespace, name } = ObjectKey::of(&object);
        let new = Arc::new(object);
        let mut content = self.content.write();
        content.revision = content.revision.max(revision_of(&*new));
        let old = content
            .objects
            .entry(namespace)
            .or_default()
            .insert(name, Arc::clone(&new));
        // Sent under the lock, so that all subscribers see one order. No subscriber is no error.
        let _ = self.changes.send(Seen::Applied { new, old });
    }

    fn delete(&self, object: &K) {
        let ObjectKey { namespace, name } = ObjectKey::of(object);
        let mut content = self.content.write();
        content.revision = content.revision.max(revision_of(object));
        if let Some(known) = content.remove(&namespace, &name) {
            let _ = self.changes.send(Seen::Deleted(known));
        }
    }

    /// Makes the cache hold exactly `listed`, telling subscribers only what differs.
    fn replace(&self, listed: Vec<K>) {
        let mut content = self.content.write();
        let mut gone: BTreeMap<ObjectKey, Arc<K>> = BTreeMap::new();
        for objects in content.objects.values() {
            gone.extend(
                objects
                    .values()
                    .map(|object| (ObjectKey::of(&**object), Arc::clone(object))),
            );
        }
        for mut object in listed {
            object.meta_mut().managed_fields = None;
            let key = ObjectKey::of(&object);
            let old = gone.remove(&key);
            let unchanged = |known: &Arc<K>| {
                known.uid() == object.uid() && known.resource_version() == object.resource_version()
            };
            if old.as_ref().is_some_and(unchanged) {
                continue;
            }
            let new = Arc::new(object);
            content.revision = content.revision.max(revision_of(&*new));
            content
                .objects
                .entry(key.namespace)
                .or_default()
                .insert(key.name, Arc::clone(&new));
            let _ = self.changes.send(Seen::Applied { new, old });
        }
        for (key, object) in gone {
            content.remove(&key.namespace, &key.name);
            let _ = self.changes.send(Seen::Deleted(object));
        }
    }
}

impl<K> Content<K> {
    fn remove(&mut self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let objects = self.objects.get_mut(namespace)?;
        let known = objects.remove(name);
        if objects.is_empty() {
            self.objects.remove(namespace);
        }
        known
    }
}

/// Carries what the watcher says into the cache until the cache is dropped.
/// Errors are waited out with a bound; `watcher` itself resumes or lists anew.
async fn follow<K: Cached>(
    cache: Weak<Shared<K>>,
    events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
) {
    let mut events = std::pin::pin!(events);
    let mut backoff = Backoff::new(FIRST_RETRY, RETRY_BOUND);
    let mut listed = Vec::new();
    let mut listing = false;
    while let Some(event) = events.next().await {
        let Some(shared) = cache.upgrade() else {
            return;
        };
        match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                // A list that ended before it was complete is no error to the watcher.
                if std::mem::replace(&mut listing, true) {
                    drop(shared);
                    tokio::time::sleep(backoff.fail()).await;
                }
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed.push(object);
            }
            Ok(watcher::Event::InitDone) => {
                listing = false;
                shared.replace(std::mem::take(&mut listed));
                shared.synced.send_replace(true);
                backoff.succeed();
            }
            Ok(watcher::Event::Apply(object)) => {
                shared.apply(object);
                backoff.succeed();
            }
            Ok(watcher::Event::Delete(object)) => {
                shared.delete(&object);
                backoff.succeed();
            }
            Err(error) => {
                drop(shared);
                let delay = backoff.fail();
                tracing::debug!(kind = %K::kind(&()), %error, ?delay, "watch failed, trying again");
                tokio::time::sleep(delay).await;
            }
        }
    }
}

/// The changes of a [`Cache`] since the subscription.
pub struct Subscription<K> {
    changes: broadcast::Receiver<Seen<K>>,
    /// Until the first [`Seen::Resync`] has been told.
    cache: Option<Cache<K>>,
}

impl<K: Cached> Subscription<K> {
    /// The next change; `None` when the cache is gone.
    ///
    /// Cancel safe: a change is not lost when the returned future is dropped.
    pub async fn next(&mut self) -> Option<Seen<K>> {
        if let Some(cache) = &self.cache {
            cache.synced().await;
            self.cache = None;
            // What came before the cache was complete is covered by the resync.
            self.changes = self.changes.resubscribe();
            return Some(Seen::Resync);
        }
        match self.changes.recv().await {
            Ok(seen) => Some(seen),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Seen::Resync),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// Puts on `queue` what a change of `cache` concerns, until the cache ends.
///
/// `keys` maps an object to what must be looked at again; it is asked for the
/// old and the new state of a change. `all` tells everything there is to look
/// at, for when changes were missed.
pub fn feed<K, T, Keys, All>(
    cache: &Cache<K>,
    queue: &WorkQueue<T>,
    keys: Keys,
    all: All,
) -> impl Future<Output = ()> + Send + use<K, T, Keys, All>
where
    K: Cached,
    T: Ord + Clone + Send + Sync,
    Keys: Fn(&K) -> Vec<T> + Send,
    All: Fn() -> Vec<T> + Send,
{
    let mut subscription = cache.subscribe();
    let queue = queue.clone();
    async move {
        while let Some(seen) = subscription.next().await {
            match seen {
                Seen::Applied { new, old } => {
                    if let Some(old) = old {
                        keys(&old).into_iter().for_each(|key| queue.add(key));
                    }
                    keys(&new).into_iter().for_each(|key| queue.add(key));
                }
                Seen::Deleted(object) => keys(&object).into_iter().for_each(|key| queue.add(key)),
                Seen::Resync => all().into_iter().for_each(|key| queue.add(key)),
            }
        }
    }
}

/// The caches of one process: one per kind, started at first use. Cheap to clone.
#[derive(Clone)]
pub struct Caches {
    client: Client,
    kinds: Arc<Mutex<BTreeMap<TypeId, Box<dyn Any + Send + Sync>>>>,
}

impl Caches {
    /// Caches that read through `client`.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            kinds: Arc::default(),
        }
    }

    /// The cache of one kind, over all namespaces. Must be called within a tokio runtime.
    pub fn of<K: Cached>(&self) -> Cache<K> {
        let mut kinds = self.kinds.lock();
        let entry = kinds
            .entry(TypeId::of::<K>())
            .or_insert_with(|| Box::new(Cache::<K>::watched(Api::all(self.client.clone()))));
        entry
            .downcast_ref::<Cache<K>>()
            .expect("the entry of a type holds its cache")
            .clone()
    }
}
