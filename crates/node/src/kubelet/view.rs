//! What the kubelet knows about one pod: the input of every decision about it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use tokio::time::Instant;

use super::backoff::Backoff;

/// A point in time, on the wall and for measuring.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For deadlines.
    pub instant: Instant,
    /// For what a status shows.
    pub wall: Timestamp,
}

/// One pod as the kubelet sees it.
#[derive(Clone, Debug)]
pub struct PodView {
    /// The pod's object, the newest seen.
    pub pod: Arc<Pod>,
    /// When the kubelet first saw it.
    pub since: Timestamp,
    /// Its sandbox.
    pub sandbox: Sandbox,
    /// Its containers by name, init containers among them.
    pub containers: BTreeMap<String, ContainerView>,
    /// Whether the init containers are through.
    pub initialized: bool,
    /// The pod's end, once it has begun.
    pub ending: Option<Ending>,
    /// Why the pod as a whole failed.
    pub failure: Option<Failure>,
    /// Whether its object is no longer in the API.
    pub object_gone: bool,
    /// Whether the deletion of its object was ordered.
    pub deletion_ordered: bool,
    /// How often its sandbox could not be made.
    pub sandbox_failures: u32,
}

/// Why a pod as a whole failed, for `status.reason` and `status.message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// The state of a pod's sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// There is none.
    Absent {
        /// Not to be tried before.
        retry_at: Option<Instant>,
        /// Whether one was there before.
        lost: bool,
    },
    /// It was ordered.
    Creating,
    /// It is there.
    Ready {
        /// The pod's address.
        address: Option<IpAddr>,
    },
    /// It ended by itself; what is left of it is to be taken away before another is made.
    Lost,
    /// Its removal was ordered.
    Removing,
    /// It is gone for good.
    Removed,
}

/// The end of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When containers are killed that did not stop by themselves.
    pub deadline: Instant,
    /// Whether the balancers let go of the pod.
    pub departure: Departing,
}

/// How far the balancers are with letting go of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departing {
    /// They have not been asked.
    Unasked,
    /// They were asked.
    Asked,
    /// None will pick the pod again.
    Left,
}

/// One container of a pod.
#[derive(Clone, Debug)]
pub struct ContainerView {
    /// The number of the current or next run; the first is 0.
    pub attempt: u32,
    /// What it does now.
    pub state: ContainerState,
    /// How the run before ended.
    pub last: Option<End>,
    /// How long it waits between runs.
    pub backoff: Backoff,
}

/// What a container does.
#[derive(Clone, Debug, PartialEq)]
pub enum ContainerState {
    /// It was not started in this attempt.
    Waiting(Waiting),
    /// Its start was ordered.
    Starting,
    /// It runs.
    Running(Run),
    /// It ended, and may be started again.
    Exited {
        /// How it ended.
        end: End,
        /// Whether its waiting for a restart was told as an event.
        announced: bool,
    },
}

/// Why a container has not been started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The error's name, as in `CreateContainerConfigError`; `None` when nothing is wrong.
    pub reason: Option<&'static str>,
    /// The error in words.
    pub message: Option<String>,
    /// Not to be tried before.
    pub retry_at: Option<Instant>,
    /// How often it failed in a row.
    pub failures: u32,
}

/// A running container.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Since when.
    pub since: Timestamp,
    /// How far its postStart hook is.
    pub post_start: PostStart,
    /// Whether it passed its startup probe, or has none.
    pub started: bool,
    /// What its readiness probe says; true without one.
    pub ready: bool,
    /// Its end, once ordered.
    pub stop: Option<Stop>,
}

impl Run {
    /// Whether the container may get requests.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready && self.is_started()
    }

    /// Whether it counts as started.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.started && self.post_start == PostStart::Done
    }
}

/// How far a postStart hook is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostStart {
    /// To be run.
    Due,
    /// Running.
    Running,
    /// Through, or there is none.
    Done,
}

/// The ordered end of a running container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// What is to be done or waited for.
    pub stage: StopStage,
    /// When patience ends.
    pub deadline: Instant,
}

/// The steps by which a container is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopStage {
    /// The preStop hook is to be run.
    HookDue,
    /// The preStop hook runs.
    Hook,
    /// It is to be told to stop.
    TermDue,
    /// It was told to stop.
    Told {
        /// When.
        since: Instant,
    },
    /// It was killed.
    Killed {
        /// When it is killed again, should it still be there.
        again_at: Instant,
    },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The exit code.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`, `ContainerStatusUnknown`.
    pub reason: String,
    /// The termination message.
    pub message: Option<String>,
    /// When the run began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The ID of the run.
    pub container_id: Option<String>,
    /// When the end was seen, for the back-off.
    pub seen: Instant,
}

impl PodView {
    /// The view of a pod that was never seen before.
    #[must_use]
    pub fn new(pod: Arc<Pod>, now: Moment) -> Self {
        let since = pod
            .status
            .as_ref()
            .and_then(|status| status.start_time.as_ref())
            .map_or(now.wall, |time| time.0);
        let spec = pod.spec.clone().unwrap_or_default();
        let containers = all_containers(&spec)
            .map(|container| (container.name.clone(), ContainerView::default()))
            .collect();
        Self {
            pod,
            since,
            sandbox: Sandbox::Absent {
                retry_at: None,
                lost: false,
            },
            containers,
            initialized: spec.init_containers.iter().flatten().next().is_none(),
            ending: None,
            failure: None,
            object_gone: false,
            deletion_ordered: false,
            sandbox_failures: 0,
        }
    }

    /// The pod's specification.
    ///
    /// # Panics
    /// Never for a pod that came from the API, which requires a specification.
    #[must_use]
    pub fn spec(&self) -> &PodSpec {
        self.pod.spec.as_ref().expect("a pod has a specification")
    }

    /// The container's specification.
    #[must_use]
    pub fn container_spec(&self, name: &str) -> Option<&Container> {
        all_containers(self.spec()).find(|container| container.name == name)
    }

    /// The pod's address, while it has one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self.sandbox {
            Sandbox::Ready { address } => address,
            _ => None,
        }
    }

    /// Whether the pod is being deleted.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.object_gone || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Whether the pod runs programs of an image, which there are none of.
    #[must_use]
    pub fn needs_image(&self) -> bool {
        self.spec()
            .runtime_class_name
            .as_deref()
            .is_none_or(str::is_empty)
    }

    /// How long the pod's containers may take to stop.
    #[must_use]
    pub fn grace(&self) -> Duration {
        let spec = self.spec().termination_grace_period_seconds.unwrap_or(30);
        let seconds = self
            .pod
            .metadata
            .deletion_grace_period_seconds
            .unwrap_or(spec);
        Duration::from_secs(seconds.max(0).unsigned_abs())
    }

    /// Whether the container is started again after this end, were the pod to stay.
    #[must_use]
    pub fn restarts(&self, container: &Container, end: &End) -> bool {
        if is_sidecar(self.spec(), container) {
            return true;
        }
        let init = is_init(self.spec(), &container.name);
        let policy = container
            .restart_policy
            .as_deref()
            .or(self.spec().restart_policy.as_deref())
            .unwrap_or("Always");
        match policy {
            "Never" => false,
            "OnFailure" => end.code != 0,
            _ => !init || end.code != 0,
        }
    }

    /// Whether nothing of the pod will ever run again, deletion aside: `Succeeded` or `Failed`.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        if self.failure.is_some() {
            return true;
        }
        let exited_for_good = |container: &Container| match self.containers.get(&container.name) {
            Some(ContainerView {
                state: ContainerState::Exited { end, .. },
                ..
            }) => !self.restarts(container, end),
            _ => false,
        };
        let init_failed = self
            .spec()
            .init_containers
            .iter()
            .flatten()
            .filter(|container| !is_sidecar(self.spec(), container))
            .any(|container| exited_for_good(container) && !self.succeeded(&container.name));
        init_failed || (self.initialized && self.spec().containers.iter().all(exited_for_good))
    }

    /// Whether the container's last run ended with success.
    #[must_use]
    pub fn succeeded(&self, name: &str) -> bool {
        matches!(
            self.containers.get(name),
            Some(ContainerView { state: ContainerState::Exited { end, .. }, .. }) if end.code == 0
        )
    }

    /// The run of a container that runs.
    #[must_use]
    pub fn run(&self, name: &str) -> Option<&Run> {
        match self.containers.get(name) {
            Some(ContainerView {
                state: ContainerState::Running(run),
                ..
            }) => Some(run),
            _ => None,
        }
    }

    /// The run of a container that runs, to be changed.
    pub fn run_mut(&mut self, name: &str) -> Option<&mut Run> {
        match self.containers.get_mut(name) {
            Some(ContainerView {
                state: ContainerState::Running(run),
                ..
            }) => Some(run),
            _ => None,
        }
    }
}

impl Default for ContainerView {
    fn default() -> Self {
        Self {
            attempt: 0,
            state: ContainerState::Waiting(Waiting::default()),
            last: None,
            backoff: Backoff::default(),
        }
    }
}

impl ContainerView {
    /// How often the container was started again.
    #[must_use]
    pub fn restart_count(&self) -> u32 {
        match self.state {
            ContainerState::Waiting(_) | ContainerState::Starting => self.attempt.saturating_sub(1),
            ContainerState::Running(_) | ContainerState::Exited { .. } => self.attempt,
        }
    }

    /// Whether there is, or may be, a process.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        matches!(
            self.state,
            ContainerState::Starting | ContainerState::Running(_)
        )
    }
}

/// Init containers, then the others.
pub fn all_containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers
        .iter()
        .flatten()
        .chain(spec.containers.iter())
}

/// Whether the container is one of the init containers.
#[must_use]
pub fn is_init(spec: &PodSpec, name: &str) -> bool {
    spec.init_containers
        .iter()
        .flatten()
        .any(|container| container.name == name)
}

/// Whether the container is an init container that runs beside the others.
#[must_use]
pub fn is_sidecar(spec: &PodSpec, container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always") && is_init(spec, &container.name)
}
