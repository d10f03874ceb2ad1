//! The view of a pod that another kubelet looked after.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use super::end_of;
use crate::kubelet::runtime::{ContainerRun, Found, FoundSandbox};
use crate::kubelet::view::{
    ContainerState, ContainerView, End, Failure, Moment, PodView, PostStart, Run, Sandbox, Waiting,
    all_containers, is_init,
};

impl PodView {
    /// The view of a pod that another kubelet looked after: from its status, and from what the
    /// runtime still has of it. `message` reads a run's termination message.
    #[must_use]
    pub fn take_over(
        pod: Arc<Pod>,
        found: Option<&FoundSandbox>,
        message: impl Fn(&ContainerRun) -> Option<String>,
        now: Moment,
    ) -> Self {
        let mut view = Self::new(pod, now);
        let status = view.pod.status.clone().unwrap_or_default();
        let statuses: BTreeMap<&str, &ContainerStatus> = status
            .init_container_statuses
            .iter()
            .flatten()
            .chain(status.container_statuses.iter().flatten())
            .map(|status| (status.name.as_str(), status))
            .collect();
        let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let was_started = statuses
            .values()
            .any(|status| status.container_id.is_some());

        view.sandbox = match found {
            Some(found) => Sandbox::Ready {
                address: found
                    .address
                    .map(IpAddr::V4)
                    .or_else(|| status.pod_ip.as_deref()?.parse().ok()),
            },
            None if over => Sandbox::Removed,
            None => Sandbox::Absent {
                retry_at: None,
                lost: was_started,
            },
        };
        if over && let Some(reason) = status.reason.clone() {
            view.failure = Some(Failure {
                reason,
                message: status.message.clone().unwrap_or_default(),
            });
        }
        let names: Vec<String> = all_containers(view.spec())
            .map(|container| container.name.clone())
            .collect();
        for name in names {
            let run = found.and_then(|found| latest_run(found, &name));
            let known =
                take_over_container(statuses.get(name.as_str()).copied(), run, &message, now);
            if let Some(known) = known {
                view.containers.insert(name, known);
            }
        }
        if let (Sandbox::Ready { .. }, false) = (&view.sandbox, view.initialized) {
            let main_started = view.spec().containers.iter().any(|container| {
                let known = &view.containers[&container.name];
                known.attempt > 0 || !matches!(known.state, ContainerState::Waiting(_))
            });
            view.initialized = main_started;
            view.note_initialized();
        }
        if over {
            view.initialized = true;
        } else if found.is_none() {
            view.rerun_init_containers(now);
        }
        view
    }

    /// A new sandbox begins with its init containers, also those that had succeeded.
    pub(super) fn rerun_init_containers(&mut self, now: Moment) {
        let spec = self.spec().clone();
        self.initialized = spec.init_containers.iter().flatten().next().is_none();
        for (name, known) in &mut self.containers {
            if is_init(&spec, name)
                && let ContainerState::Exited { end, .. } = &known.state
                && end.code == 0
            {
                known.last = Some(end.clone());
                known.attempt += 1;
                known.backoff.restarted(end.seen, now.instant);
                known.state = ContainerState::Waiting(Waiting::default());
            }
        }
    }
}

fn latest_run<'a>(found: &'a FoundSandbox, name: &str) -> Option<(&'a ContainerRun, &'a Found)> {
    found
        .containers
        .iter()
        .filter(|(run, _)| run.container == name)
        .max_by_key(|(run, _)| run.attempt)
        .map(|(run, found)| (run, found))
}

/// What is known of one container; `None` when it was never started.
fn take_over_container(
    status: Option<&ContainerStatus>,
    run: Option<(&ContainerRun, &Found)>,
    message: &impl Fn(&ContainerRun) -> Option<String>,
    now: Moment,
) -> Option<ContainerView> {
    let told = status.and_then(|status| status.container_id.as_deref());
    let told_run = told.and_then(ContainerRun::parse);
    let ended = |terminated: Option<&ContainerStateTerminated>| {
        terminated.map(|terminated| end_from(terminated, now))
    };
    let state_end = ended(status.and_then(|status| status.state.as_ref()?.terminated.as_ref()));
    let last_end = ended(status.and_then(|status| status.last_state.as_ref()?.terminated.as_ref()));

    let Some((run, found)) = run else {
        let told_run = told_run?;
        let restart_count = status.map_or(0, |status| status.restart_count.max(0).unsigned_abs());
        let running = status.and_then(|status| status.state.as_ref()?.running.as_ref());
        // While it waits for its restart, the last end is that of the run before.
        let (end, last) = match (running, state_end, last_end) {
            (None, Some(end), last) => (end, last),
            (None, None, Some(end)) => (end, None),
            (running, _, last) => {
                let since = running.and_then(|running| running.started_at.as_ref());
                (unknown_end(&told_run, since.map(|time| time.0), now), last)
            }
        };
        return Some(ContainerView {
            attempt: restart_count,
            state: ContainerState::Exited {
                end,
                announced: false,
            },
            last,
            ..ContainerView::default()
        });
    };
    let same_run = told_run.as_ref() == Some(run);
    let last = if same_run && status.is_some_and(|status| status.restart_count >= 0) {
        // The newest run was told already: what came before it is in the last state, unless it
        // ended and waits, where the last state is its own end.
        let waiting = status.and_then(|status| status.state.as_ref()?.waiting.as_ref());
        if waiting.is_some() { None } else { last_end }
    } else {
        state_end.or(last_end)
    };
    let state = match found {
        Found::Running { started_at } => ContainerState::Running(Run {
            since: *started_at,
            post_start: PostStart::Done,
            started: same_run && status.and_then(|status| status.started).unwrap_or(false),
            ready: same_run && status.is_some_and(|status| status.ready),
            stop: None,
        }),
        Found::Exited(exit) => ContainerState::Exited {
            end: end_of(exit, message(run), now),
            announced: false,
        },
    };
    Some(ContainerView {
        attempt: run.attempt,
        state,
        last,
        ..ContainerView::default()
    })
}

fn end_from(terminated: &ContainerStateTerminated, now: Moment) -> End {
    End {
        code: terminated.exit_code,
        signal: terminated.signal,
        reason: terminated.reason.clone().unwrap_or_default(),
        message: terminated.message.clone(),
        started_at: terminated.started_at.as_ref().map(|time| time.0),
        finished_at: terminated.finished_at.as_ref().map(|time| time.0),
        container_id: terminated.container_id.clone(),
        seen: now.instant,
    }
}

fn unknown_end(run: &ContainerRun, started_at: Option<Timestamp>, now: Moment) -> End {
    End {
        code: 137,
        signal: None,
        reason: "ContainerStatusUnknown".to_owned(),
        message: Some("The container could not be located when the pod was terminated".to_owned()),
        started_at,
        finished_at: Some(now.wall),
        container_id: Some(run.container_id()),
        seen: now.instant,
    }
}
