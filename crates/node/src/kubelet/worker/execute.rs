//! Carrying out a worker's steps, each in a task of its own that answers by a message.

mod making;

use std::sync::Arc;
use std::time::Duration;

use springtide_client::EventType::{Normal, Warning};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Message, Prepared, Worker};
use crate::kubelet::Handler;
use crate::kubelet::backoff::in_words;
use crate::kubelet::cluster::ClusterError;
use crate::kubelet::plan::Action;
use crate::kubelet::prepare::signal_number;
use crate::kubelet::runtime::{ContainerRun, Exit, RuntimeError};
use crate::kubelet::transition::{Happened, NO_IMAGES, StartFailure};
use crate::kubelet::view::ContainerState;
use crate::probes::{Kind, Target, hook_check};
use crate::status::long_name;

/// How long the balancers may take to let go of a pod.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);
/// How long a postStart hook may take.
const POST_START_LIMIT: Duration = Duration::from_secs(3600);
/// How soon a sandbox that could not be taken away is tried again.
const REMOVE_AGAIN: Duration = Duration::from_secs(1);
/// How soon a pod's object that could not be deleted is tried again.
const DELETE_AGAIN: Duration = Duration::from_secs(1);
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
