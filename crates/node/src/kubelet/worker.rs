//! One pod's worker: hears what happens, decides by [`plan`], carries out, and tells the API.

mod execute;
mod probing;
mod reporting;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use parking_lot::Mutex;
use springtide_client::EventType;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::probing::Probes;
use self::reporting::Reporting;
use super::plan::plan;
use super::runtime::{ContainerRun, Exit, Found, FoundSandbox, MadeSandbox, PodUid};
use super::transition::Happened;
use super::view::{ContainerView, Moment, PodView, Sandbox};
use super::{Handler, Shared};
use crate::probes::Kind;
use crate::volumes::{Content, PodFolder, references};

/// How often volumes made from objects are brought up to date.
const REFRESH_EVERY: Duration = Duration::from_secs(10);
/// Steps taken without anything happening between them, after which something must be wrong.
const MOST_ROUNDS: usize = 64;

/// What a worker is sent.
#[derive(Debug)]
pub(super) enum Message {
    /// Something happened to the pod.
    Happened(Happened),
    /// A container ended.
    Exited(Exit),
    /// The sandbox is made: what containers need to know of it.
    Prepared(Prepared),
    /// Volumes were brought up to date, or were not.
    Refreshed,
    /// A status was written, or not.
    Written {
        /// The status.
        status: Box<PodStatus>,
        /// Whether it is in the API now, or need not be.
        done: bool,
    },
}

/// A sandbox that containers can be started in.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) handler: Handler,
    pub(super) made: MadeSandbox,
    pub(super) folders: BTreeMap<String, PathBuf>,
}

/// What others may know of a pod: the API of the kubelet reads it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The pod's object.
    pub pod: Arc<Pod>,
    /// Its status as the kubelet knows it.
    pub status: PodStatus,
}

/// How others reach a worker.
#[derive(Clone)]
pub(super) struct WorkerHandle {
    pub(super) messages: mpsc::UnboundedSender<Message>,
    pub(super) snapshot: Arc<Mutex<Snapshot>>,
}

pub(super) struct Worker {
    shared: Arc<Shared>,
    uid: PodUid,
    view: PodView,
    folder: PodFolder,
    prepared: Option<Prepared>,
    messages: mpsc::UnboundedReceiver<Message>,
    sender: mpsc::UnboundedSender<Message>,
    tasks: JoinSet<()>,
    probes: Probes,
    reporting: Reporting,
    snapshot: Arc<Mutex<Snapshot>>,
    /// Exits that are not yet in the API.
    unacknowledged: Vec<ContainerRun>,
    refresh_at: Option<Instant>,
}

impl Worker {
    /// A worker for a pod, with what a runtime still has of it.
    pub(super) fn new(
        shared: Arc<Shared>,
        pod: Arc<Pod>,
        found: Option<(Handler, FoundSandbox)>,
    ) -> (Self, WorkerHandle) {
        let (sender, messages) = mpsc::unbounded_channel();
        let uid = PodUid(pod.metadata.uid.clone().unwrap_or_default());
        let folder = shared.pod_folder(&uid);
        let now = shared.moment();
        let message = |run: &ContainerRun| {
            reporting::termination_message(
                &shared,
                &folder,
                &pod,
                &run.container,
                run.attempt,
                None,
            )
        };
        let sandbox = found.as_ref().map(|(_, found)| found);
        let view = PodView::take_over(Arc::clone(&pod), sandbox, message, now);
        let unacknowledged = sandbox
            .iter()
            .flat_map(|found| &found.containers)
            .filter(|(_, found)| matches!(found, Found::Exited(_)))
            .map(|(run, _)| run.clone())
            .collect();
        let prepared = found.map(|(handler, found)| Prepared {
            handler,
            made: found.made,
            folders: shared.known_folders(&pod, &folder),
        });
        let before = pod.status.clone().unwrap_or_default();
        let snapshot = Arc::new(Mutex::new(Snapshot {
            pod,
            status: before.clone(),
        }));
        let handle = WorkerHandle {
            messages: sender.clone(),
            snapshot: Arc::clone(&snapshot),
        };
        let worker = Self {
            uid,
            view,
            folder,
            prepared,
            messages,
            sender,
            tasks: JoinSet::new(),
            probes: Probes::default(),
            reporting: Reporting::new(before),
            snapshot,
            unacknowledged,
            refresh_at: None,
            shared,
        };
        (worker, handle)
    }

    /// Looks after the pod until it is gone, in the API and on the node.
    pub(super) async fn run(mut self) {
        loop {
            let mut wake = self.act();
            self.reconcile_probes();
            let report = self.report();
            if self.is_over() {
                break;
            }
            for at in [report, self.refresh()].into_iter().flatten() {
                wake = Some(wake.map_or(at, |wake: Instant| wake.min(at)));
            }
            let asleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                message = self.messages.recv() => {
                    // The worker holds a sender itself, so there is always a message to come.
                    if let Some(message) = message {
                        self.receive(message);
                    }
                    while let Ok(message) = self.messages.try_recv() {
                        self.receive(message);
                    }
                }
                () = asleep => {}
            }
            while self.tasks.try_join_next().is_some() {}
        }
        self.clean_up().await;
    }

    /// Takes every step that is due; when to look again.
    fn act(&mut self) -> Option<Instant> {
        for _ in 0..MOST_ROUNDS {
            let now = self.shared.moment();
            let plan = plan(&self.view, now);
            if plan.actions.is_empty() {
                return plan.wake;
            }
            for action in plan.actions {
                self.view.begin(&action, now);
                self.execute(action);
            }
        }
        tracing::error!(pod = %self.uid, "steps without end for a pod");
        Some(self.shared.moment().instant + Duration::from_secs(1))
    }

    fn receive(&mut self, message: Message) {
        let now = self.shared.moment();
        match message {
            Message::Happened(happened) => self.hear(happened, now),
            Message::Exited(exit) => {
                self.unacknowledged.push(exit.run.clone());
                let message = reporting::termination_message(
                    &self.shared,
                    &self.folder,
                    &self.view.pod,
                    &exit.run.container,
                    exit.run.attempt,
                    Some(exit.code),
                );
                self.hear(Happened::Exited { exit, message }, now);
            }
            Message::Prepared(prepared) => self.prepared = Some(prepared),
            Message::Refreshed => self.refresh_at = Some(now.instant + REFRESH_EVERY),
            Message::Written { status, done } => self.written(*status, done),
        }
    }

    fn hear(&mut self, happened: Happened, now: Moment) {
        if let Happened::Probed {
            container,
            attempt,
            kind: kind @ (Kind::Liveness | Kind::Startup),
            success: false,
        } = &happened
            && self.is_unstopped(container, *attempt)
        {
            let probe = kind.as_str().to_lowercase();
            let message = format!("Container {container} failed {probe} probe, will be restarted");
            self.event(Some(container), EventType::Normal, "Killing", &message);
        }
        if let Happened::Changed(_) = &happened
            && self.refresh_at.is_some()
        {
            self.refresh_at = Some(now.instant);
        }
        self.view.hear(happened, now);
        self.snapshot.lock().pod = Arc::clone(&self.view.pod);
    }

    fn is_unstopped(&self, container: &str, attempt: u32) -> bool {
        self.view
            .containers
            .get(container)
            .is_some_and(|known| known.attempt == attempt)
            && self
                .view
                .run(container)
                .is_some_and(|run| run.stop.is_none())
    }

    /// Whether nothing is left of the pod, here or in the API.
    fn is_over(&self) -> bool {
        let no_sandbox = matches!(self.view.sandbox, Sandbox::Removed | Sandbox::Absent { .. });
        let alive = self.view.containers.values().any(ContainerView::is_alive);
        self.view.object_gone && no_sandbox && !alive
    }

    async fn clean_up(self) {
        let Self {
            shared,
            uid,
            view,
            folder,
            mut tasks,
            ..
        } = self;
        tasks.shutdown().await;
        shared.addresses.lock().release(&uid);
        shared.forget(&uid);
        let logs = super::prepare::log_folder(&shared.config.log_dir, &view.pod);
        let removal = move || {
            folder.remove();
            // A pod without a log had no folder.
            let _ = std::fs::remove_dir_all(logs);
        };
        shared.blocking(removal).await;
    }

    /// Brings volumes up to date when it is time; when to look again.
    fn refresh(&mut self) -> Option<Instant> {
        let now = self.shared.moment().instant;
        if self.refresh_at.is_none() && self.prepared.is_some() && has_changing_volumes(&self.view)
        {
            self.refresh_at = Some(now + REFRESH_EVERY);
        }
        let at = self.refresh_at?;
        if at > now {
            return Some(at);
        }
        let Some(prepared) = &self.prepared else {
            return None;
        };
        // Until the answer comes, nothing more is to be done.
        let soonest = now + REFRESH_EVERY * 6;
        self.refresh_at = Some(soonest);
        let (shared, folder) = (Arc::clone(&self.shared), self.folder.clone());
        let (pod, owner) = (Arc::clone(&self.view.pod), prepared.made.owner);
        let (sender, address) = (self.sender.clone(), self.view.address());
        self.tasks.spawn(async move {
            let made = shared.make_volumes(&pod, &folder, owner, address).await;
            if let Err(error) = made {
                tracing::debug!(%error, "a volume was not brought up to date");
            }
            let _ = sender.send(Message::Refreshed);
        });
        Some(soonest)
    }

    fn event(&self, container: Option<&str>, kind: EventType, reason: &str, message: &str) {
        self.shared
            .cluster
            .event(&self.view.pod, container, kind, reason, message);
    }

    fn current_run(&self, container: &str) -> ContainerRun {
        ContainerRun {
            pod: self.uid.clone(),
            container: container.to_owned(),
            attempt: self
                .view
                .containers
                .get(container)
                .map_or(0, |known| known.attempt),
        }
    }

    fn reconcile_probes(&mut self) {
        let wanted = probing::wanted(&self.view);
        let Some(prepared) = &self.prepared else {
            self.probes.stop_all();
            return;
        };
        self.probes.reconcile(
            &wanted,
            &self.view,
            &prepared.handler,
            &self.shared,
            &self.sender,
        );
    }

    /// Writes the status where it changed; when to look again.
    fn report(&mut self) -> Option<Instant> {
        let now = self.shared.moment();
        let status = self
            .reporting
            .observe(&self.view, self.shared.config.node_address, now);
        self.snapshot.lock().status = status;
        if self.view.object_gone || self.view.deletion_ordered {
            return None;
        }
        match self.reporting.due(now.instant) {
            reporting::Due::Nothing => {
                self.acknowledge();
                None
            }
            reporting::Due::At(at) => Some(at),
            reporting::Due::Now(status) => {
                let (shared, pod) = (Arc::clone(&self.shared), Arc::clone(&self.view.pod));
                let sender = self.sender.clone();
                self.tasks.spawn(async move {
                    let done = shared.write_status(&pod, &status).await;
                    let _ = sender.send(Message::Written { status, done });
                });
                None
            }
        }
    }

    fn written(&mut self, status: PodStatus, done: bool) {
        let now = self.shared.moment().instant;
        self.reporting.written(status, done, now);
    }

    /// Tells the runtime that the ends of its runs are written down.
    fn acknowledge(&mut self) {
        let Some(prepared) = &self.prepared else {
            return;
        };
        for run in self.unacknowledged.drain(..) {
            let runtime = Arc::clone(&prepared.handler.runtime);
            self.tasks.spawn(async move {
                if let Err(error) = runtime.acknowledge(&run).await {
                    tracing::debug!(?run, %error, "an exit was not acknowledged");
                }
            });
        }
    }
}

/// Whether some volume is made from objects, or from the pod's own labels and annotations.
fn has_changing_volumes(view: &PodView) -> bool {
    let changing = |content: &k8s_openapi::api::core::v1::Volume| {
        content.downward_api.is_some() || content.projected.is_some()
    };
    !references(&view.pod).is_empty() || view.spec().volumes.iter().flatten().any(changing)
}

impl Shared {
    /// Where the pod's volumes are, without making any.
    fn known_folders(&self, pod: &Pod, folder: &PodFolder) -> BTreeMap<String, PathBuf> {
        let volumes = pod
            .spec
            .iter()
            .flat_map(|spec| spec.volumes.iter().flatten());
        volumes
            .map(|volume| {
                let content = match (&volume.host_path, &volume.empty_dir) {
                    (Some(host), _) => Content::Host {
                        path: PathBuf::from(&host.path),
                        kind: String::new(),
                    },
                    (_, Some(empty)) => Content::Empty {
                        memory: empty.medium.as_deref() == Some("Memory"),
                    },
                    _ => Content::Files {
                        tree: BTreeMap::new(),
                        secret: holds_secrets(volume),
                    },
                };
                (volume.name.clone(), folder.volume(&volume.name, &content))
            })
            .collect()
    }
}

fn holds_secrets(volume: &k8s_openapi::api::core::v1::Volume) -> bool {
    let projected = volume
        .projected
        .iter()
        .flat_map(|projected| projected.sources.iter().flatten())
        .any(|source| source.secret.is_some());
    volume.secret.is_some() || projected
}
