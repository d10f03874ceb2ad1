//! Watches the metadata of every kind the API serves, and takes it into the graph.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};
use parking_lot::Mutex;
use springtide_client::{Backoff, WorkQueue};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{DISCOVER_EVERY, GroupKind, Knowledge, Metadata, Node};
use crate::kinds::{Kind, discover};

/// A watch that fails is tried again after this long, doubling …
const FIRST_RETRY: Duration = Duration::from_millis(50);
/// … up to this long.
const RETRY_BOUND: Duration = Duration::from_secs(5);
/// A kind that cannot be listed for this long holds up the others no longer.
const SYNC_BOUND: Duration = Duration::from_secs(30);

/// The kinds that are watched, and whether each was listed once.
type Watched = BTreeMap<GroupKind, (CancellationToken, bool)>;

/// Watches all kinds for as long as it is polled. `synced` is cancelled once all kinds found
/// first have been listed, or after a bound.
pub(super) async fn watch_all(
    client: &Client,
    knowledge: &Knowledge,
    queue: &WorkQueue<String>,
    synced: &CancellationToken,
) {
    let watched: Arc<Mutex<Watched>> = Arc::default();
    // Dropped with this future, which ends the watches.
    let mut watches = JoinSet::new();
    let mut backoff = Backoff::new(FIRST_RETRY, RETRY_BOUND);
    let patience = tokio::time::sleep(SYNC_BOUND);
    let mut patience = std::pin::pin!(patience);
    loop {
        let next = match discover(client).await {
            Ok(kinds) => {
                backoff.succeed();
                let kinds = kinds
                    .into_iter()
                    .filter(|kind| kind.resource.kind != "Event");
                let kinds: BTreeMap<GroupKind, Kind> =
                    kinds.map(|kind| (group_kind(&kind), kind)).collect();
                for (name, kind) in &kinds {
                    if watched.lock().contains_key(name) {
                        continue;
                    }
                    let stop = CancellationToken::new();
                    watched.lock().insert(name.clone(), (stop.clone(), false));
                    let follower = Follower {
                        kind: name.clone(),
                        knowledge: knowledge.clone(),
                        queue: queue.clone(),
                        watched: Arc::clone(&watched),
                        synced: synced.clone(),
                    };
                    watches.spawn(follower.run(client.clone(), kind.clone(), stop));
                }
                watched.lock().retain(|name, (stop, _)| {
                    let stays = kinds.contains_key(name);
                    if !stays {
                        stop.cancel();
                    }
                    stays
                });
                *knowledge.kinds.lock() = kinds;
                DISCOVER_EVERY
            }
            Err(error) => {
                let delay = backoff.fail();
                tracing::debug!(%error, ?delay, "kinds not found out, trying again");
                delay
            }
        };
        let waited = tokio::time::sleep(next);
        tokio::select! {
            biased;
            () = &mut patience, if !synced.is_cancelled() => synced.cancel(),
            () = waited => {}
        }
    }
}

fn group_kind(kind: &Kind) -> GroupKind {
    GroupKind {
        group: kind.resource.group.clone(),
        kind: kind.resource.kind.clone(),
    }
}

/// Takes the objects of one kind into the graph.
struct Follower {
    kind: GroupKind,
    knowledge: Knowledge,
    queue: WorkQueue<String>,
    watched: Arc<Mutex<Watched>>,
    synced: CancellationToken,
}

impl Follower {
    async fn run(self, client: Client, kind: Kind, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.follow(client, &kind) => {}
        }
        let gone = self.knowledge.graph.lock().of_kind(&self.kind);
        gone.iter().for_each(|uid| self.forget(uid));
    }

    async fn follow(&self, client: Client, kind: &Kind) {
        let api: Api<Metadata> = Api::all_with(client, &kind.resource);
        let events = watcher::watcher(api, watcher::Config::default().streaming_lists());
        let mut events = std::pin::pin!(events);
        let mut backoff = Backoff::new(FIRST_RETRY, RETRY_BOUND);
        let mut before_list = None;
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => {
                    let is_repeated = before_list
                        .replace(self.knowledge.graph.lock().of_kind(&self.kind))
                        .is_some();
                    if is_repeated {
                        tokio::time::sleep(backoff.fail()).await;
                    }
                }
                Ok(Event::InitApply(object)) => {
                    if let (Some(before), Some(uid)) = (&mut before_list, &object.metadata.uid) {
                        before.remove(uid);
                    }
                    self.observe(&object);
                }
                Ok(Event::InitDone) => {
                    before_list
                        .take()
                        .unwrap_or_default()
                        .iter()
                        .for_each(|uid| self.forget(uid));
                    self.note_listed();
                    backoff.succeed();
                }
                Ok(Event::Apply(object)) => {
                    self.observe(&object);
                    backoff.succeed();
                }
                Ok(Event::Delete(object)) => {
                    if let Some(uid) = &object.metadata.uid {
                        self.forget(uid);
                    }
                    backoff.succeed();
                }
                Err(error) => {
                    let delay = backoff.fail();
                    tracing::debug!(kind = self.kind.kind, %error, ?delay, "watch failed, trying again");
                    tokio::time::sleep(delay).await;
                }
            }
        }
    }

    fn observe(&self, object: &Metadata) {
        let Some(node) = Node::of(self.kind.clone(), &object.metadata) else {
            return;
        };
        let concerned = self.knowledge.graph.lock().observe(node);
        concerned.into_iter().for_each(|uid| self.queue.add(uid));
    }

    fn forget(&self, uid: &str) {
        let concerned = self.knowledge.graph.lock().forget(uid);
        concerned.into_iter().for_each(|uid| self.queue.add(uid));
    }

    fn note_listed(&self) {
        let mut watched = self.watched.lock();
        if let Some((_, listed)) = watched.get_mut(&self.kind) {
            *listed = true;
        }
        if watched.values().all(|(_, listed)| *listed) {
            self.synced.cancel();
        }
    }
}
