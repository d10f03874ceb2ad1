//! The kubelet: sees to it that the pods bound to this node run, and tells the API how they are.
//!
//! Each pod has a [`worker`] of its own. It hears what happens (the pod's object, the runtime, its
//! probes, its hooks), keeps a [`view::PodView`], asks the pure [`plan::plan`] what to do, and
//! carries that out. What the API is told is computed from the same view by [`crate::status`].
//!
//! ```text
//! Cache<Pod> ─┐                                     ┌─> Runtime (keeper, or parts of this program)
//! Runtime ────┼─> worker: view ─> plan ─> actions ──┼─> Departure (the balancers)
//! probes ─────┘             └──> status ────────────┴─> Cluster (status, events, deletion)
//! ```

pub mod addresses;
pub mod backoff;
pub mod cluster;
pub mod component;
pub mod config;
pub mod departure;
pub mod keeper_runtime;
pub mod plan;
pub mod prepare;
pub mod runtime;
pub mod transition;
pub mod view;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use springtide_client::{Cache, Seen};
use springtide_machinery::clock::Clock;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::addresses::AddressPool;
use self::cluster::Cluster;
use self::config::Config;
use self::departure::Departure;
use self::runtime::{Found, FoundSandbox, PodUid, Runtime, RuntimeError, RuntimeEvent};
use self::transition::Happened;
use self::view::Moment;
use self::worker::{Message, Worker, WorkerHandle};
use crate::probes::Checker;
use crate::stats::Stats;
use crate::volumes::PodFolder;

pub use self::worker::Snapshot;

/// How long what is left of a pod that was deleted meanwhile may take to stop.
const ORPHAN_GRACE: Duration = Duration::from_secs(5);
/// How often containers are measured.
const MEASURE_EVERY: Duration = Duration::from_secs(1);

/// What runs pods of one runtime class, and checks them.
#[derive(Clone)]
pub struct Handler {
    /// Runs them.
    pub runtime: Arc<dyn Runtime>,
    /// Carries out their probes and hooks.
    pub checker: Arc<dyn Checker>,
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handler")
    }
}

/// What a kubelet is made of.
pub struct Parts {
    /// Where and for what node it is.
    pub config: Config,
    /// The API.
    pub cluster: Arc<dyn Cluster>,
    /// What runs pods, by the handler that RuntimeClasses name.
    pub handlers: BTreeMap<String, Handler>,
    /// The balancers, which let go of a pod before it is stopped.
    pub departure: Arc<dyn Departure>,
    /// The time.
    pub clock: Clock,
}

/// The kubelet of one node. Cheap to clone.
#[derive(Clone)]
pub struct Kubelet {
    shared: Arc<Shared>,
}

/// What the workers share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) handlers: BTreeMap<String, Handler>,
    pub(crate) departure: Arc<dyn Departure>,
    pub(crate) clock: Clock,
    pub(crate) addresses: Mutex<AddressPool>,
    pub(crate) stats: Stats,
    workers: Mutex<BTreeMap<PodUid, WorkerHandle>>,
}

impl Shared {
    fn moment(&self) -> Moment {
        Moment {
            instant: Instant::now(),
            wall: self.clock.now(),
        }
    }

    fn pod_folder(&self, uid: &PodUid) -> PodFolder {
        PodFolder {
            root: self.config.pods_dir.join(&uid.0),
            memory: self.config.memory_dir.as_ref().map(|dir| dir.join(&uid.0)),
        }
    }

    fn forget(&self, uid: &PodUid) {
        self.workers.lock().remove(uid);
    }

    /// The pods that have a worker, with their statuses, sorted by UID.
    pub(crate) fn snapshots(&self) -> Vec<Snapshot> {
        let workers = self.workers.lock();
        workers
            .values()
            .map(|worker| worker.snapshot.lock().clone())
            .collect()
    }

    /// Does what blocks on a thread for that.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is ending, and this task with it.
            Err(_) => std::future::pending().await,
        }
    }
}

// === impl Kubelet ===

impl Kubelet {
    /// A kubelet that does nothing yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            mut config,
            cluster,
            handlers,
            departure,
            clock,
        } = parts;
        config.memory_dir = config
            .memory_dir
            .filter(|folder| config::make_private(folder));
        let (network, prefix) = config.pod_range;
        Self {
            shared: Arc::new(Shared {
                addresses: Mutex::new(AddressPool::new(network, prefix)),
                stats: Stats::default(),
                workers: Mutex::default(),
                config,
                cluster,
                handlers,
                departure,
                clock,
            }),
        }
    }

    /// The kubelet's HTTP API.
    pub fn router(&self) -> axum::Router {
        crate::api::router(Arc::clone(&self.shared))
    }

    /// Takes over what runs already, then looks after the pods that are bound to this node until
    /// it is cancelled. Cancelling stops no pod.
    ///
    /// # Errors
    /// A runtime that does not tell what it runs.
    pub async fn run(
        self,
        pods: Cache<Pod>,
        cancel: CancellationToken,
    ) -> Result<(), RuntimeError> {
        let (sender, mut events) = mpsc::unbounded_channel();
        let mut found = BTreeMap::new();
        for handler in self.shared.handlers.values() {
            for sandbox in handler.runtime.adopt(sender.clone()).await? {
                if let Some(address) = sandbox.address {
                    self.shared.addresses.lock().adopt(&sandbox.uid, address);
                }
                found.insert(sandbox.uid.clone(), (handler.clone(), sandbox));
            }
        }
        let mut tasks = JoinSet::new();
        let measuring = Arc::clone(&self.shared);
        tasks.spawn(async move { measure(&measuring).await });

        let mut seen = pods.subscribe();
        let mut complete = false;
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                change = seen.next() => match change {
                    None => break,
                    Some(Seen::Resync) => {
                        self.resync(&pods, &mut found, &mut tasks);
                        if !complete {
                            complete = true;
                            self.drop_orphans(&mut found, &mut tasks);
                        }
                    }
                    Some(Seen::Applied { new, old }) => {
                        let replaced = old.filter(|old| old.metadata.uid != new.metadata.uid);
                        if let Some(old) = replaced {
                            self.gone(&old);
                        }
                        self.applied(new, &mut found, &mut tasks);
                    }
                    Some(Seen::Deleted(old)) => self.gone(&old),
                },
                // Whatever happens to a pod that has no worker yet waits for it.
                event = events.recv(), if complete => match event {
                    Some(event) => self.happened(event),
                    None => break,
                },
            }
            while tasks.try_join_next().is_some() {}
        }
        tasks.shutdown().await;
        self.shared.workers.lock().clear();
        if let Some(folder) = &self.shared.config.memory_dir {
            // Stays while a pod has something in it.
            let _ = std::fs::remove_dir(folder);
        }
        Ok(())
    }

    fn is_ours(&self, pod: &Pod) -> bool {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        node == Some(self.shared.config.node_name.as_str())
    }

    fn resync(
        &self,
        pods: &Cache<Pod>,
        found: &mut BTreeMap<PodUid, (Handler, FoundSandbox)>,
        tasks: &mut JoinSet<()>,
    ) {
        let all: Vec<Arc<Pod>> = pods.list();
        let known: BTreeSet<PodUid> = all.iter().map(|pod| uid_of(pod)).collect();
        let workers: Vec<PodUid> = self.shared.workers.lock().keys().cloned().collect();
        for uid in workers.into_iter().filter(|uid| !known.contains(uid)) {
            self.tell(&uid, Message::Happened(Happened::Gone));
        }
        for pod in all {
            self.applied(pod, found, tasks);
        }
    }

    fn applied(
        &self,
        pod: Arc<Pod>,
        found: &mut BTreeMap<PodUid, (Handler, FoundSandbox)>,
        tasks: &mut JoinSet<()>,
    ) {
        if !self.is_ours(&pod) {
            return;
        }
        let uid = uid_of(&pod);
        if self.tell(&uid, Message::Happened(Happened::Changed(Arc::clone(&pod)))) {
            return;
        }
        let found = found.remove(&uid);
        if found.is_none()
            && let Some(address) = pod.status.as_ref().and_then(kept_address)
        {
            self.shared.addresses.lock().adopt(&uid, address);
        }
        let (worker, handle) = Worker::new(Arc::clone(&self.shared), pod, found);
        self.shared.workers.lock().insert(uid, handle);
        tasks.spawn(worker.run());
    }

    fn gone(&self, pod: &Pod) {
        self.tell(&uid_of(pod), Message::Happened(Happened::Gone));
    }

    fn happened(&self, event: RuntimeEvent) {
        match event {
            RuntimeEvent::Exited(exit) => {
                let uid = exit.run.pod.clone();
                self.tell(&uid, Message::Exited(exit));
            }
            RuntimeEvent::SandboxLost(uid) => {
                self.tell(&uid, Message::Happened(Happened::SandboxLost));
            }
        }
    }

    /// Sends the pod's worker a message; whether it has one.
    fn tell(&self, uid: &PodUid, message: Message) -> bool {
        let workers = self.shared.workers.lock();
        let Some(worker) = workers.get(uid) else {
            return false;
        };
        worker.messages.send(message).is_ok()
    }

    /// Stops what runs of pods that are no longer in the API, and removes what is left of them.
    fn drop_orphans(
        &self,
        found: &mut BTreeMap<PodUid, (Handler, FoundSandbox)>,
        tasks: &mut JoinSet<()>,
    ) {
        for (uid, (handler, sandbox)) in std::mem::take(found) {
            let shared = Arc::clone(&self.shared);
            tasks.spawn(async move {
                stop_orphan(&handler, &sandbox).await;
                shared.addresses.lock().release(&uid);
                let folder = shared.pod_folder(&uid);
                shared.blocking(move || folder.remove()).await;
            });
        }
        let known: BTreeSet<String> = self
            .shared
            .workers
            .lock()
            .keys()
            .map(|uid| uid.0.clone())
            .collect();
        let config = &self.shared.config;
        let by_uid = [Some(config.pods_dir.clone()), config.memory_dir.clone()];
        let logs = config.log_dir.clone();
        let shared = Arc::clone(&self.shared);
        tasks.spawn(async move {
            let sweep = move || {
                for folder in by_uid.iter().flatten() {
                    remove_unknown(folder, |name| known.contains(name));
                }
                remove_unknown(&logs, |name| {
                    name.rsplit('_')
                        .next()
                        .is_some_and(|uid| known.contains(uid))
                });
            };
            shared.blocking(sweep).await;
        });
    }
}

fn uid_of(pod: &Pod) -> PodUid {
    PodUid(pod.metadata.uid.clone().unwrap_or_default())
}

/// The address of a pod of its own that has not ended.
fn kept_address(status: &k8s_openapi::api::core::v1::PodStatus) -> Option<std::net::Ipv4Addr> {
    let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let own = status.pod_ip != status.host_ip;
    if over || !own {
        return None;
    }
    status.pod_ip.as_deref()?.parse().ok()
}

async fn stop_orphan(handler: &Handler, sandbox: &FoundSandbox) {
    const SIGTERM: i32 = 15;
    let running = sandbox
        .containers
        .iter()
        .filter(|(_, found)| matches!(found, Found::Running { .. }));
    let mut told = false;
    for (run, _) in running {
        told |= handler.runtime.signal(run, SIGTERM).await.is_ok();
    }
    if told {
        tokio::time::sleep(ORPHAN_GRACE).await;
    }
    while let Err(error) = handler.runtime.remove_sandbox(&sandbox.uid).await {
        tracing::warn!(pod = %sandbox.uid, %error, "cannot remove what is left of a pod");
        tokio::time::sleep(ORPHAN_GRACE).await;
    }
}

fn remove_unknown(folder: &Path, known: impl Fn(&str) -> bool) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_known = name.to_str().is_none_or(&known);
        if !is_known && let Err(error) = std::fs::remove_dir_all(entry.path()) {
            let path = entry.path();
            tracing::warn!(path = %path.display(), %error, "cannot remove what is left of a pod");
        }
    }
}

/// Measures all containers again and again.
async fn measure(shared: &Shared) {
    let mut tick = tokio::time::interval(MEASURE_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let mut usages = Vec::new();
        let mut failed = false;
        for handler in shared.handlers.values() {
            match handler.runtime.usage().await {
                Ok(measured) => usages.extend(measured),
                Err(error) => {
                    failed = true;
                    tracing::debug!(%error, "containers could not be measured");
                }
            }
        }
        let names = shared.snapshots();
        let node = crate::stats::measure_node(shared.clock.now());
        shared.stats.update(&names, usages, node, failed);
    }
}

#[cfg(test)]
mod tests;
