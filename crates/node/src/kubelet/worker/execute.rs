//! Carrying out a worker's steps, each in a task of its own that answers by a message.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use springtide_client::EventType::{Normal, Warning};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Message, Prepared, Worker};
use crate::environment::{ConfigError, Facts, References, Sources, command_line, container_env};
use crate::kubelet::backoff::in_words;
use crate::kubelet::cluster::ClusterError;
use crate::kubelet::plan::Action;
use crate::kubelet::prepare::{
    bounds, dns, hostname, hosts_file, log_path, sandbox_spec, security, signal_number,
};
use crate::kubelet::runtime::{ContainerRun, ContainerSpec, Exit, Mount, PodUid, RuntimeError};
use crate::kubelet::transition::{Happened, NO_IMAGES, StartFailure};
use crate::kubelet::view::ContainerState;
use crate::kubelet::{Handler, Shared};
use crate::probes::{Kind, Target, hook_check};
use crate::status::{long_name, oom_score_adj};
use crate::volumes::{Content, Owner, PodFolder, contents, mounts, references};

/// How long the balancers may take to let go of a pod.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);
/// How long a postStart hook may take.
const POST_START_LIMIT: Duration = Duration::from_secs(3600);
/// How soon a sandbox that could not be taken away is tried again.
const REMOVE_AGAIN: Duration = Duration::from_secs(1);
/// How soon a pod's object that could not be deleted is tried again.
const DELETE_AGAIN: Duration = Duration::from_secs(1);
/// Where a container finds the file for its last words, unless the manifest says otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Signal numbers, the same on every Linux this runs on.
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

impl Worker {
    /// Carries out a step. What it takes time for is done by a task.
    pub(super) fn execute(&mut self, action: Action) {
        match action {
            Action::CreateSandbox { again } => self.create_sandbox(again),
            Action::PullImage { container } => self.tell_pull(&container),
            Action::Start { container } => self.start(container),
            Action::AnnounceBackoff { container, wait } => {
                let message = format!(
                    "Back-off restarting failed container {container} in pod {}",
                    long_name(&self.view)
                );
                tracing::debug!(pod = %self.uid, container, wait = in_words(wait), "backs off");
                self.event(Some(&container), Warning, "BackOff", &message);
            }
            Action::PostStart { container } => self.post_start(container),
            Action::Leave => self.leave(),
            Action::Stop { container } => {
                let message = format!("Stopping container {container}");
                self.event(Some(&container), Normal, "Killing", &message);
            }
            Action::PreStop { container, limit } => self.pre_stop(container, limit),
            Action::Terminate { container } => {
                let signal = self.stop_signal(&container);
                self.signal(&container, signal);
            }
            Action::Kill { container } => self.signal(&container, SIGKILL),
            Action::ExceedDeadline => {
                let message = "Pod was active on the node longer than the specified deadline";
                self.event(None, Normal, "DeadlineExceeded", message);
            }
            Action::End { .. } => {}
            Action::RemoveSandbox => self.remove_sandbox(),
            Action::DeleteObject => self.delete_object(),
        }
    }

    fn answer(&mut self, work: impl Future<Output = Happened> + Send + 'static) {
        let sender = self.sender.clone();
        self.tasks.spawn(async move {
            let happened = work.await;
            // The worker outlives its tasks.
            let _ = sender.send(Message::Happened(happened));
        });
    }

    fn create_sandbox(&mut self, again: bool) {
        let shared = Arc::clone(&self.shared);
        let (pod, folder) = (Arc::clone(&self.view.pod), self.folder.clone());
        if again {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            self.event(None, Normal, "SandboxChanged", message);
        }
        let sender = self.sender.clone();
        self.answer(async move {
            match shared.create_sandbox(&pod, &folder).await {
                Ok((prepared, address)) => {
                    let _ = sender.send(Message::Prepared(prepared));
                    Happened::SandboxReady { address }
                }
                Err(failure) => {
                    let (reason, message) = failure.event();
                    shared.cluster.event(&pod, None, Warning, reason, &message);
                    Happened::SandboxFailed
                }
            }
        });
    }

    fn tell_pull(&self, container: &str) {
        let Some(known) = self.view.containers.get(container) else {
            return;
        };
        let ContainerState::Waiting(waiting) = &known.state else {
            return;
        };
        let image = self
            .view
            .container_spec(container)
            .and_then(|spec| spec.image.clone())
            .unwrap_or_default();
        if waiting.reason == Some("ImagePullBackOff") {
            let message = format!("Back-off pulling image \"{image}\"");
            self.event(Some(container), Normal, "BackOff", &message);
            self.event(
                Some(container),
                Warning,
                "Failed",
                "Error: ImagePullBackOff",
            );
        } else {
            let message = format!("Failed to pull image \"{image}\": {NO_IMAGES}");
            self.event(Some(container), Warning, "Failed", &message);
            self.event(Some(container), Warning, "Failed", "Error: ErrImagePull");
        }
    }

    fn start(&mut self, container: String) {
        let run = self.current_run(&container);
        let (Some(spec), Some(prepared)) = (
            self.view.container_spec(&container).cloned(),
            self.prepared.clone(),
        ) else {
            let failure = StartFailure::Create("the pod has no sandbox".to_owned());
            self.answer(async move { Happened::NotStarted { container, failure } });
            return;
        };
        let shared = Arc::clone(&self.shared);
        let (pod, folder) = (Arc::clone(&self.view.pod), self.folder.clone());
        let address = self.view.address();
        let sender = self.sender.clone();
        self.answer(async move {
            let wanted = shared
                .container_spec(&pod, &spec, &run, &prepared, &folder, address)
                .await;
            let started = match wanted {
                Ok(wanted) => {
                    let started = prepared.handler.runtime.start_container(&wanted).await;
                    started.map_err(|error| match error {
                        RuntimeError::CannotRun(message) => StartFailure::Run(message),
                        other => StartFailure::Create(other.to_string()),
                    })
                }
                Err(error) => Err(StartFailure::Config(error.to_string())),
            };
            match started {
                Ok(started) => {
                    let cluster = &shared.cluster;
                    cluster.event(
                        &pod,
                        Some(&container),
                        Normal,
                        "Created",
                        "Container created",
                    );
                    cluster.event(
                        &pod,
                        Some(&container),
                        Normal,
                        "Started",
                        "Container started",
                    );
                    let ready = started.ready.as_ref().is_none_or(|ready| *ready.borrow());
                    if let Some(readiness) = started.ready {
                        tokio::spawn(follow_readiness(run.clone(), readiness, sender));
                    }
                    Happened::Started {
                        container,
                        attempt: run.attempt,
                        at: started.at,
                        ready,
                    }
                }
                Err(failure) => {
                    let message = match &failure {
                        StartFailure::Config(message)
                        | StartFailure::Create(message)
                        | StartFailure::Run(message) => format!("Error: {message}"),
                    };
                    shared
                        .cluster
                        .event(&pod, Some(&container), Warning, "Failed", &message);
                    Happened::NotStarted { container, failure }
                }
            }
        });
    }

    fn target(&self, container: &str, handler: &Handler) -> Target {
        Target {
            run: self.current_run(container),
            address: self.view.address(),
            on_host: self.view.spec().host_network == Some(true)
                || handler.runtime.shares_node_address(),
        }
    }

    fn post_start(&mut self, container: String) {
        let attempt = self.current_run(&container).attempt;
        let hook = self.view.container_spec(&container).and_then(|spec| {
            let hook = spec.lifecycle.as_ref()?.post_start.as_ref()?;
            Some(hook_check(spec, hook))
        });
        let (Some(check), Some(prepared)) = (hook, self.prepared.clone()) else {
            self.answer(async move {
                Happened::PostStarted {
                    container,
                    attempt,
                    failed: false,
                }
            });
            return;
        };
        let target = self.target(&container, &prepared.handler);
        let (shared, pod) = (Arc::clone(&self.shared), Arc::clone(&self.view.pod));
        self.answer(async move {
            let checker = &prepared.handler.checker;
            let done = checker.hook(&target, &check, POST_START_LIMIT).await;
            if let Err(error) = &done {
                tracing::info!(%error, container, "a postStart hook failed");
                let name = Some(container.as_str());
                let (reason, message) = ("FailedPostStartHook", "PostStartHook failed");
                shared.cluster.event(&pod, name, Warning, reason, message);
                shared.cluster.event(&pod, name, Normal, "Killing", reason);
            }
            Happened::PostStarted {
                container,
                attempt,
                failed: done.is_err(),
            }
        });
    }

    fn leave(&mut self) {
        let (shared, pod) = (Arc::clone(&self.shared), Arc::clone(&self.view.pod));
        self.answer(async move {
            if timeout(LEAVE_LIMIT, shared.departure.leave(&pod)).await.is_err() {
                tracing::warn!(pod = ?pod.metadata.name, "balancers took too long to let go of a pod");
            }
            Happened::Left
        });
    }

    fn pre_stop(&mut self, container: String, limit: Duration) {
        let attempt = self.current_run(&container).attempt;
        let hook = self.view.container_spec(&container).and_then(|spec| {
            let hook = spec.lifecycle.as_ref()?.pre_stop.as_ref()?;
            Some(hook_check(spec, hook))
        });
        let (Some(check), Some(prepared)) = (hook, self.prepared.clone()) else {
            self.answer(async move { Happened::PreStopped { container, attempt } });
            return;
        };
        let target = self.target(&container, &prepared.handler);
        let (shared, pod) = (Arc::clone(&self.shared), Arc::clone(&self.view.pod));
        self.answer(async move {
            let done = prepared.handler.checker.hook(&target, &check, limit).await;
            if let Err(error) = done {
                tracing::info!(%error, container, "a preStop hook failed");
                shared.cluster.event(
                    &pod,
                    Some(&container),
                    Warning,
                    "FailedPreStopHook",
                    "PreStopHook failed",
                );
            }
            Happened::PreStopped { container, attempt }
        });
    }

    fn stop_signal(&self, container: &str) -> i32 {
        self.view
            .container_spec(container)
            .and_then(|spec| spec.lifecycle.as_ref()?.stop_signal.as_deref())
            .and_then(signal_number)
            .unwrap_or(SIGTERM)
    }

    fn signal(&mut self, container: &str, signal: i32) {
        let run = self.current_run(container);
        let Some(prepared) = self.prepared.clone() else {
            return;
        };
        let (sender, shared) = (self.sender.clone(), Arc::clone(&self.shared));
        self.tasks.spawn(async move {
            match prepared.handler.runtime.signal(&run, signal).await {
                Ok(()) => {}
                Err(RuntimeError::NotFound) => {
                    // Its end was not told and will not be: the kubelet must not wait for it.
                    let now = shared.clock.now();
                    let exit = Exit {
                        run,
                        code: 137,
                        signal: None,
                        oom_killed: false,
                        started_at: now,
                        finished_at: now,
                    };
                    let _ = sender.send(Message::Exited(exit));
                }
                Err(error) => tracing::warn!(?run, signal, %error, "cannot signal a container"),
            }
        });
    }

    fn remove_sandbox(&mut self) {
        let (shared, uid) = (Arc::clone(&self.shared), self.uid.clone());
        let Some(prepared) = self.prepared.take() else {
            self.answer(async move { Happened::SandboxRemoved });
            return;
        };
        self.unacknowledged.clear();
        self.probes.stop_all();
        let pod = Arc::clone(&self.view.pod);
        let ends = self.view.ending.is_some();
        self.answer(async move {
            while let Err(error) = prepared.handler.runtime.remove_sandbox(&uid).await {
                let message = format!("error killing pod: {error}");
                shared
                    .cluster
                    .event(&pod, None, Warning, "FailedKillPod", &message);
                tokio::time::sleep(REMOVE_AGAIN).await;
            }
            if ends {
                shared.addresses.lock().release(&uid);
            }
            Happened::SandboxRemoved
        });
    }

    /// Writes the last status, then deletes the object. That it is gone is told by the watch.
    fn delete_object(&mut self) {
        let (shared, pod) = (Arc::clone(&self.shared), Arc::clone(&self.view.pod));
        let now = shared.moment();
        let node = shared.config.node_address;
        let status = self.reporting.observe(&self.view, node, now);
        debug_assert_eq!(&status, self.reporting.current());
        self.tasks.spawn(async move {
            shared.write_status(&pod, &status).await;
            loop {
                match shared.cluster.delete_pod(&pod).await {
                    Ok(()) | Err(ClusterError::Gone) => return,
                    Err(ClusterError::Failed(error)) => {
                        tracing::warn!(pod = ?pod.metadata.name, error, "cannot delete a pod's object");
                        tokio::time::sleep(DELETE_AGAIN).await;
                    }
                }
            }
        });
    }
}

/// Tells the worker whenever a part of this program becomes ready or stops being so.
async fn follow_readiness(
    run: ContainerRun,
    mut ready: tokio::sync::watch::Receiver<bool>,
    sender: mpsc::UnboundedSender<Message>,
) {
    while ready.changed().await.is_ok() {
        let happened = Happened::Probed {
            container: run.container.clone(),
            attempt: run.attempt,
            kind: Kind::Readiness,
            success: *ready.borrow_and_update(),
        };
        if sender.send(Message::Happened(happened)).is_err() {
            return;
        }
    }
}

/// Why a pod has no sandbox yet.
#[derive(Debug, thiserror::Error)]
pub(in crate::kubelet) enum SandboxFailure {
    /// A volume cannot be made.
    #[error("{0}")]
    Mount(String),
    /// The sandbox cannot be made.
    #[error("{0}")]
    Sandbox(String),
}

impl SandboxFailure {
    fn event(&self) -> (&'static str, String) {
        match self {
            Self::Mount(message) => ("FailedMount", message.clone()),
            Self::Sandbox(message) => (
                "FailedCreatePodSandBox",
                format!("Failed to create pod sandbox: rpc error: code = Unknown desc = {message}"),
            ),
        }
    }
}

impl Shared {
    async fn create_sandbox(
        &self,
        pod: &Arc<Pod>,
        folder: &PodFolder,
    ) -> Result<(Prepared, Option<IpAddr>), SandboxFailure> {
        let handler = self.handler_of(pod).await?;
        // What is missing is found out before anything is made.
        let made = self.volume_contents(pod, None).await;
        made.map_err(SandboxFailure::Mount)?;
        let uid = PodUid(pod.metadata.uid.clone().unwrap_or_default());
        let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
        let on_host = host_network || handler.runtime.shares_node_address();
        let own = if on_host {
            None
        } else {
            let taken = self.addresses.lock().take(&uid);
            Some(taken.map_err(|error| SandboxFailure::Sandbox(error.to_string()))?)
        };
        let address = own.map_or(self.config.node_address, IpAddr::V4);
        let made = handler
            .runtime
            .create_sandbox(&sandbox_spec(pod, own))
            .await
            .map_err(|error| SandboxFailure::Sandbox(error.to_string()))?;
        let folders = self
            .make_volumes(pod, folder, made.owner, Some(address))
            .await
            .map_err(SandboxFailure::Mount)?;
        let prepared = Prepared {
            handler,
            made,
            folders,
        };
        Ok((prepared, Some(address)))
    }

    async fn handler_of(&self, pod: &Pod) -> Result<Handler, SandboxFailure> {
        let class = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.runtime_class_name.clone())
            .unwrap_or_default();
        let name = self
            .cluster
            .runtime_handler(&class)
            .await
            .map_err(|error| SandboxFailure::Sandbox(error.to_string()))?
            .ok_or_else(|| {
                SandboxFailure::Sandbox(format!(
                    "failed to get sandbox runtime: RuntimeClass \"{class}\" not found"
                ))
            })?;
        self.handlers.get(&name).cloned().ok_or_else(|| {
            SandboxFailure::Sandbox(format!(
                "failed to get sandbox runtime: no runtime for \"{name}\" is configured"
            ))
        })
    }

    /// What the pod's volumes hold now.
    async fn volume_contents(
        &self,
        pod: &Arc<Pod>,
        address: Option<IpAddr>,
    ) -> Result<Vec<(String, Content)>, String> {
        let sources = self
            .fetch(pod, &references(pod))
            .await
            .map_err(|error| error.to_string())?;
        let facts = self.facts(address);
        let volumes = pod
            .spec
            .iter()
            .flat_map(|spec| spec.volumes.iter().flatten());
        volumes
            .map(|volume| {
                let content = contents(pod, volume, &sources, &facts);
                content
                    .map(|content| (volume.name.clone(), content))
                    .map_err(|error| error.to_string())
            })
            .collect()
    }

    /// Makes the pod's volumes, or brings them up to date; where each is.
    pub(super) async fn make_volumes(
        &self,
        pod: &Arc<Pod>,
        folder: &PodFolder,
        owner: Owner,
        address: Option<IpAddr>,
    ) -> Result<BTreeMap<String, PathBuf>, String> {
        let contents = self.volume_contents(pod, address).await?;
        if contents.is_empty() {
            return Ok(BTreeMap::new());
        }
        let folder = folder.clone();
        let group = fs_group(pod);
        let owner = owner.map(|(user, root)| (user, root.saturating_add(group.unwrap_or(0))));
        let make = move || -> Result<_, String> {
            let mut folders = BTreeMap::new();
            for (name, mut content) in contents {
                if group.is_some() {
                    content.share_with_group();
                }
                let place = folder
                    .make(&name, &content, owner)
                    .map_err(|error| error.to_string())?;
                folders.insert(name, place);
            }
            Ok(folders)
        };
        self.blocking(make).await
    }

    async fn fetch(&self, pod: &Pod, references: &References) -> Result<Sources, ClusterError> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let mut sources = Sources::default();
        for name in &references.config_maps {
            if let Some(found) = self.cluster.config_map(namespace, name).await? {
                sources.config_maps.insert(name.clone(), found);
            }
        }
        for name in &references.secrets {
            if let Some(found) = self.cluster.secret(namespace, name).await? {
                sources.secrets.insert(name.clone(), found);
            }
        }
        Ok(sources)
    }

    fn facts(&self, address: Option<IpAddr>) -> Facts {
        let allocatable = &self.config.allocatable;
        Facts {
            pod_ip: address,
            host_ip: Some(self.config.node_address),
            allocatable_cpu_millis: allocatable.cpu_millis,
            allocatable_memory_bytes: allocatable.memory_bytes,
            allocatable_storage_bytes: allocatable.storage_bytes,
        }
    }

    /// What the runtime is asked to start.
    async fn container_spec(
        &self,
        pod: &Arc<Pod>,
        container: &Container,
        run: &ContainerRun,
        prepared: &Prepared,
        folder: &PodFolder,
        address: Option<IpAddr>,
    ) -> Result<ContainerSpec, ConfigError> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let references = crate::environment::references(container);
        let mut sources = self
            .fetch(pod, &references)
            .await
            .map_err(|error| ConfigError::Mount(error.to_string()))?;
        sources.services = self.cluster.services(namespace).await;
        let env = container_env(pod, container, &sources, &self.facts(address))?;
        let command = command_line(container, &env);
        let mut mounts = mounts(container, &prepared.folders, &env)?;
        let spec = pod.spec.clone().unwrap_or_default();
        mounts.push(
            self.termination_log(container, run, prepared, folder)
                .await?,
        );
        // The longest paths last, so that a mount inside another is seen.
        mounts.sort_by_key(|mount| mount.target.matches('/').count());
        let on_host = spec.host_network == Some(true);
        let security = security(pod, container)?;
        Ok(ContainerSpec {
            run: run.clone(),
            command,
            env: with_usual(env, &hostname(pod), security.user),
            working_dir: container.working_dir.clone().filter(|dir| !dir.is_empty()),
            mounts,
            hostname: hostname(pod),
            hosts: if on_host {
                self.config.host_hosts.clone()
            } else {
                hosts_file(pod, address, &self.config.dns.domain)
            },
            resolv_conf: dns(pod, &self.config.dns).resolv_conf(),
            security,
            bounds: bounds(container.resources.as_ref()),
            log_path: log_path(&self.config.log_dir, pod, &container.name, run.attempt),
            oom_score_adj: oom_score_adj(&spec, container, self.config.allocatable.memory_bytes),
        })
    }

    /// The file for the container's last words.
    async fn termination_log(
        &self,
        container: &Container,
        run: &ContainerRun,
        prepared: &Prepared,
        folder: &PodFolder,
    ) -> Result<Mount, ConfigError> {
        let file = folder.termination_message(&run.container, run.attempt);
        let place = file.clone();
        let owner = prepared.made.owner;
        let make = move || -> std::io::Result<()> {
            use std::os::unix::fs::PermissionsExt as _;
            if let Some(parent) = place.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::File::create(&place)?;
            std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o666))?;
            match owner {
                Some((user, group)) => std::os::unix::fs::chown(&place, Some(user), Some(group)),
                None => Ok(()),
            }
        };
        self.blocking(make)
            .await
            .map_err(|error| ConfigError::Mount(error.to_string()))?;
        let target = container.termination_message_path.clone();
        Ok(Mount {
            source: file,
            target: target
                .filter(|path| !path.is_empty())
                .unwrap_or_else(|| TERMINATION_LOG.to_owned()),
            read_only: false,
        })
    }

    /// Writes a status; whether it need not be written again.
    pub(super) async fn write_status(
        &self,
        pod: &Pod,
        status: &k8s_openapi::api::core::v1::PodStatus,
    ) -> bool {
        match self.cluster.write_status(pod, status).await {
            // A pod that is gone needs no status; that it is gone is told by the watch.
            Ok(()) | Err(ClusterError::Gone) => true,
            Err(ClusterError::Failed(error)) => {
                tracing::warn!(pod = ?pod.metadata.name, error, "cannot write a pod's status");
                false
            }
        }
    }
}

/// The group that the pod's volumes belong to, where it names one.
fn fs_group(pod: &Pod) -> Option<u32> {
    let security = pod.spec.as_ref()?.security_context.as_ref()?;
    u32::try_from(security.fs_group?).ok()
}

/// What every container's environment has unless the manifest says otherwise.
fn with_usual(
    mut env: Vec<(String, String)>,
    hostname: &str,
    user: Option<u32>,
) -> Vec<(String, String)> {
    let is_root = user.unwrap_or(0) == 0;
    let usual = [
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/springtide/bin",
        ),
        ("HOSTNAME", hostname),
        ("HOME", if is_root { "/root" } else { "/" }),
    ];
    for (name, value) in usual.into_iter().rev() {
        if !env.iter().any(|(known, _)| known == name) {
            env.insert(0, (name.to_owned(), value.to_owned()));
        }
    }
    env
}
