//! How the view of a pod changes: by a step that is begun, and by what is heard of it.

mod take_over;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::plan::Action;
use super::runtime::{ContainerRun, Exit};
use super::view::{
    ContainerState, ContainerView, Departing, End, Ending, Failure, Moment, PodView, PostStart,
    Run, Sandbox, Stop, StopStage, Waiting, is_sidecar,
};
use crate::probes::Kind;

/// How soon a killed container that is still there is killed again.
const KILL_AGAIN: Duration = Duration::from_secs(5);
/// How soon a container that could not be configured or created is tried again.
const CREATE_AGAIN: Duration = Duration::from_secs(5);
/// How long a failed pull shows as itself, before it shows as a back-off.
const PULL_ERROR_SHOWN: Duration = Duration::from_secs(2);
/// The waits between tries to make a sandbox.
const SANDBOX_AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(122));
/// The waits between tries to pull an image.
const PULL_AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// Why a container was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// Its configuration cannot be made: `CreateContainerConfigError`.
    Config(String),
    /// It could not be prepared: `CreateContainerError`.
    Create(String),
    /// Its program could not be started: `RunContainerError`; counts as a run.
    Run(String),
}

/// What is heard about a pod.
#[derive(Clone, Debug)]
pub enum Happened {
    /// Its object changed.
    Changed(Arc<Pod>),
    /// Its object is gone.
    Gone,
    /// Its sandbox is there.
    SandboxReady {
        /// The pod's address.
        address: Option<IpAddr>,
    },
    /// Its sandbox could not be made.
    SandboxFailed,
    /// Its sandbox ended by itself.
    SandboxLost,
    /// Its sandbox was taken away.
    SandboxRemoved,
    /// The balancers let go of it.
    Left,
    /// A container runs.
    Started {
        /// The container.
        container: String,
        /// The number of the run.
        attempt: u32,
        /// Since when.
        at: Timestamp,
        /// Whether readiness is to be waited for.
        ready: bool,
    },
    /// A container was not started.
    NotStarted {
        /// The container.
        container: String,
        /// Why.
        failure: StartFailure,
    },
    /// A container ended.
    Exited {
        /// How.
        exit: Exit,
        /// What it left as its termination message.
        message: Option<String>,
    },
    /// A postStart hook is through.
    PostStarted {
        /// The container.
        container: String,
        /// The number of the run.
        attempt: u32,
        /// Whether it failed.
        failed: bool,
    },
    /// A preStop hook is through.
    PreStopped {
        /// The container.
        container: String,
        /// The number of the run.
        attempt: u32,
    },
    /// A probe came to a conclusion.
    Probed {
        /// The container.
        container: String,
        /// The number of the run.
        attempt: u32,
        /// Which probe.
        kind: Kind,
        /// Whether it found the container well.
        success: bool,
    },
}

impl PodView {
    /// Notes that a step is taken.
    pub fn begin(&mut self, action: &Action, now: Moment) {
        match action {
            Action::CreateSandbox { .. } => self.sandbox = Sandbox::Creating,
            Action::RemoveSandbox => self.sandbox = Sandbox::Removing,
            Action::Start { container } => self.begin_start(container, now),
            Action::PullImage { container } => self.begin_pull(container, now),
            Action::AnnounceBackoff { container, .. } => {
                if let Some(known) = self.containers.get_mut(container)
                    && let ContainerState::Exited { announced, .. } = &mut known.state
                {
                    *announced = true;
                }
            }
            Action::PostStart { container } => {
                if let Some(run) = self.run_mut(container) {
                    run.post_start = PostStart::Running;
                }
            }
            Action::Leave => self.depart(Departing::Asked),
            Action::Stop { container } => {
                let deadline = self
                    .ending
                    .as_ref()
                    .map_or(now.instant, |ending| ending.deadline);
                self.order_stop(container, deadline);
            }
            Action::PreStop { container, .. } => self.set_stage(container, StopStage::Hook),
            Action::Terminate { container } => {
                let told = StopStage::Told { since: now.instant };
                self.set_stage(container, told);
            }
            Action::Kill { container } => {
                let killed = StopStage::Killed {
                    again_at: now.instant + KILL_AGAIN,
                };
                self.set_stage(container, killed);
            }
            Action::ExceedDeadline => {
                self.failure = Some(Failure {
                    reason: "DeadlineExceeded".to_owned(),
                    message: "Pod was active on the node longer than the specified deadline"
                        .to_owned(),
                });
            }
            Action::End { grace } => {
                self.ending = Some(Ending {
                    deadline: now.instant + *grace,
                    departure: Departing::Unasked,
                });
            }
            Action::DeleteObject => self.deletion_ordered = true,
        }
    }

    /// Notes what was heard. Answers that came too late for their run change nothing.
    pub fn hear(&mut self, happened: Happened, now: Moment) {
        match happened {
            Happened::Changed(pod) => self.change(pod, now),
            Happened::Gone => {
                self.object_gone = true;
                let soon = now.instant;
                match &mut self.ending {
                    Some(_) => {}
                    None => {
                        self.ending = Some(Ending {
                            deadline: soon,
                            departure: Departing::Unasked,
                        });
                    }
                }
            }
            Happened::SandboxReady { address } => self.sandbox = Sandbox::Ready { address },
            Happened::SandboxFailed => {
                let failures = self.sandbox_failures + 1;
                self.sandbox_failures = failures;
                let (first, most) = SANDBOX_AGAIN;
                self.sandbox = Sandbox::Absent {
                    retry_at: Some(now.instant + doubled(first, failures, most)),
                    lost: false,
                };
            }
            Happened::SandboxLost => {
                if matches!(self.sandbox, Sandbox::Ready { .. }) {
                    self.sandbox = Sandbox::Lost;
                }
            }
            Happened::SandboxRemoved if self.ending.is_none() => {
                self.sandbox = Sandbox::Absent {
                    retry_at: None,
                    lost: true,
                };
                self.rerun_init_containers(now);
            }
            Happened::SandboxRemoved => self.sandbox = Sandbox::Removed,
            Happened::Left => self.depart(Departing::Left),
            Happened::Started {
                container,
                attempt,
                at,
                ready,
            } => self.started(&container, attempt, at, ready),
            Happened::NotStarted { container, failure } => {
                self.not_started(&container, failure, now);
            }
            Happened::Exited { exit, message } => self.exited(&exit, message, now),
            Happened::PostStarted {
                container,
                attempt,
                failed,
            } => {
                let grace = self.grace();
                if !self.is_attempt(&container, attempt) {
                    return;
                }
                if let Some(run) = self.run_mut(&container)
                    && !failed
                {
                    run.post_start = PostStart::Done;
                } else {
                    self.order_stop(&container, now.instant + grace);
                }
            }
            Happened::PreStopped { container, attempt } => {
                if self.is_attempt(&container, attempt)
                    && let Some(run) = self.run_mut(&container)
                    && let Some(stop) = &mut run.stop
                    && stop.stage == StopStage::Hook
                {
                    stop.stage = StopStage::TermDue;
                }
            }
            Happened::Probed {
                container,
                attempt,
                kind,
                success,
            } => self.probed(&container, attempt, kind, success, now),
        }
    }

    fn change(&mut self, pod: Arc<Pod>, now: Moment) {
        let before = self.grace();
        let was_deleted = self.is_deleted();
        self.pod = pod;
        let grace = self.grace();
        if let Some(ending) = &mut self.ending
            && (!was_deleted || grace < before)
        {
            ending.deadline = ending.deadline.min(now.instant + grace);
        }
    }

    fn depart(&mut self, departure: Departing) {
        if let Some(ending) = &mut self.ending {
            ending.departure = departure;
        }
    }

    fn is_attempt(&self, container: &str, attempt: u32) -> bool {
        self.containers
            .get(container)
            .is_some_and(|known| known.attempt == attempt)
    }

    fn begin_start(&mut self, container: &str, now: Moment) {
        let Some(known) = self.containers.get_mut(container) else {
            return;
        };
        if let ContainerState::Exited { end, .. } = &known.state {
            known.backoff.restarted(end.seen, now.instant);
            known.last = Some(end.clone());
            known.attempt += 1;
        }
        known.state = ContainerState::Starting;
    }

    fn begin_pull(&mut self, container: &str, now: Moment) {
        let image = self
            .container_spec(container)
            .and_then(|spec| spec.image.clone())
            .unwrap_or_default();
        let Some(ContainerView {
            state: ContainerState::Waiting(waiting),
            ..
        }) = self.containers.get_mut(container)
        else {
            return;
        };
        // A failed pull shows as an error for a moment, and as a back-off until the next one.
        if waiting.reason == Some("ErrImagePull") {
            let (first, most) = PULL_AGAIN;
            waiting.reason = Some("ImagePullBackOff");
            waiting.message = Some(format!(
                "Back-off pulling image \"{image}\": ErrImagePull: {NO_IMAGES}"
            ));
            waiting.retry_at = Some(now.instant + doubled(first, waiting.failures, most));
        } else {
            waiting.failures += 1;
            waiting.reason = Some("ErrImagePull");
            waiting.message = Some(NO_IMAGES.to_owned());
            waiting.retry_at = Some(now.instant + PULL_ERROR_SHOWN);
        }
    }

    fn started(&mut self, container: &str, attempt: u32, at: Timestamp, ready: bool) {
        let spec = self.container_spec(container);
        let hook = spec.and_then(|spec| spec.lifecycle.as_ref()?.post_start.as_ref());
        let post_start = hook.map_or(PostStart::Done, |_| PostStart::Due);
        let has_startup = spec.is_some_and(|spec| spec.startup_probe.is_some());
        let has_readiness = spec.is_some_and(|spec| spec.readiness_probe.is_some());
        let Some(known) = self.containers.get_mut(container) else {
            return;
        };
        if known.attempt != attempt || known.state != ContainerState::Starting {
            return;
        }
        known.state = ContainerState::Running(Run {
            since: at,
            post_start,
            started: !has_startup,
            ready: ready && !has_readiness,
            stop: None,
        });
        // A main container runs, so the init containers are through.
        if self
            .spec()
            .containers
            .iter()
            .any(|spec| spec.name == container)
        {
            self.initialized = true;
        }
    }

    fn not_started(&mut self, container: &str, failure: StartFailure, now: Moment) {
        let pod = self.uid().to_owned();
        let Some(known) = self.containers.get_mut(container) else {
            return;
        };
        let (reason, message) = match failure {
            StartFailure::Config(message) => ("CreateContainerConfigError", message),
            StartFailure::Create(message) => ("CreateContainerError", message),
            StartFailure::Run(message) => {
                let run = ContainerRun {
                    pod: super::runtime::PodUid(pod),
                    container: container.to_owned(),
                    attempt: known.attempt,
                };
                known.state = ContainerState::Exited {
                    end: End {
                        code: 128,
                        signal: None,
                        reason: "StartError".to_owned(),
                        message: Some(message),
                        started_at: None,
                        finished_at: Some(now.wall),
                        container_id: Some(run.container_id()),
                        seen: now.instant,
                    },
                    announced: false,
                };
                return;
            }
        };
        known.state = ContainerState::Waiting(Waiting {
            reason: Some(reason),
            message: Some(message),
            retry_at: Some(now.instant + CREATE_AGAIN),
            failures: 0,
        });
    }

    fn exited(&mut self, exit: &Exit, message: Option<String>, now: Moment) {
        let Some(known) = self.containers.get_mut(&exit.run.container) else {
            return;
        };
        if known.attempt != exit.run.attempt || !known.is_alive() {
            return;
        }
        known.state = ContainerState::Exited {
            end: end_of(exit, message, now),
            announced: false,
        };
        self.note_initialized();
    }

    /// The init containers are through once each has succeeded, and each sidecar has started.
    fn note_initialized(&mut self) {
        if self.initialized {
            return;
        }
        let spec = self.spec();
        let through = spec.init_containers.iter().flatten().all(|container| {
            if is_sidecar(spec, container) {
                self.run(&container.name).is_some_and(Run::is_started)
            } else {
                self.succeeded(&container.name)
            }
        });
        self.initialized = through;
    }

    fn probed(&mut self, container: &str, attempt: u32, kind: Kind, success: bool, now: Moment) {
        if !self.is_attempt(container, attempt) {
            return;
        }
        let own_grace = self
            .container_spec(container)
            .and_then(|spec| match kind {
                Kind::Startup => spec.startup_probe.as_ref(),
                Kind::Liveness => spec.liveness_probe.as_ref(),
                Kind::Readiness => None,
            })
            .and_then(|probe| probe.termination_grace_period_seconds)
            .map(|seconds| Duration::from_secs(seconds.max(0).unsigned_abs()));
        let grace = own_grace.unwrap_or_else(|| self.grace());
        let Some(run) = self.run_mut(container) else {
            return;
        };
        match (kind, success) {
            (Kind::Readiness, success) => run.ready = success,
            (Kind::Startup, true) => run.started = true,
            (Kind::Liveness, true) => {}
            (Kind::Startup | Kind::Liveness, false) => {
                self.order_stop(container, now.instant + grace);
            }
        }
        self.note_initialized();
    }

    fn order_stop(&mut self, container: &str, deadline: tokio::time::Instant) {
        let has_hook = self
            .container_spec(container)
            .and_then(|spec| spec.lifecycle.as_ref()?.pre_stop.as_ref())
            .is_some();
        let stage = if has_hook {
            StopStage::HookDue
        } else {
            StopStage::TermDue
        };
        if let Some(run) = self.run_mut(container)
            && run.stop.is_none()
        {
            run.stop = Some(Stop { stage, deadline });
        }
    }

    fn set_stage(&mut self, container: &str, stage: StopStage) {
        if let Some(run) = self.run_mut(container)
            && let Some(stop) = &mut run.stop
        {
            stop.stage = stage;
        }
    }

    /// The pod's UID.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }
}

/// What a pod that needs an image is told.
pub const NO_IMAGES: &str = "images are not supported yet by this version; \
     set runtimeClassName: host to run the host's programs";

fn doubled(first: Duration, failures: u32, most: Duration) -> Duration {
    let factor = 1_u32 << failures.saturating_sub(1).min(16);
    (first * factor).min(most)
}

fn end_of(exit: &Exit, message: Option<String>, now: Moment) -> End {
    let reason = match exit.code {
        _ if exit.oom_killed => "OOMKilled",
        0 => "Completed",
        _ => "Error",
    };
    End {
        code: exit.code,
        signal: None,
        reason: reason.to_owned(),
        message: message.filter(|text| !text.is_empty()),
        started_at: Some(exit.started_at),
        finished_at: Some(exit.finished_at),
        container_id: Some(exit.run.container_id()),
        seen: now.instant,
    }
}
