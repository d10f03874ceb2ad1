//! What is to be done about a pod: a pure function of what is known about it and the time.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container;
use tokio::time::Instant;

use super::view::{
    ContainerState, ContainerView, Departing, Moment, PodView, PostStart, Run, Sandbox, StopStage,
    all_containers, is_sidecar,
};

/// What every container gets between being told to stop and being killed.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// A step to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Prepare volumes and make the sandbox.
    CreateSandbox {
        /// Whether the pod had one before.
        again: bool,
    },
    /// Try to get the container's image.
    PullImage {
        /// The container.
        container: String,
    },
    /// Start a run of a container.
    Start {
        /// The container.
        container: String,
    },
    /// Tell that a container waits for its restart.
    AnnounceBackoff {
        /// The container.
        container: String,
        /// How long it waits after its end.
        wait: Duration,
    },
    /// Run the postStart hook.
    PostStart {
        /// The container.
        container: String,
    },
    /// Ask the balancers to let go of the pod.
    Leave,
    /// Begin to stop a container because its pod ends.
    Stop {
        /// The container.
        container: String,
    },
    /// Run the preStop hook.
    PreStop {
        /// The container.
        container: String,
        /// How long it may take.
        limit: Duration,
    },
    /// Tell the container to stop.
    Terminate {
        /// The container.
        container: String,
    },
    /// Kill the container.
    Kill {
        /// The container.
        container: String,
    },
    /// The pod has been active for longer than it may.
    ExceedDeadline,
    /// Begin the pod's end.
    End {
        /// How long containers may take to stop.
        grace: Duration,
    },
    /// Take the sandbox away.
    RemoveSandbox,
    /// Delete the pod's object, once its last status is written.
    DeleteObject,
}

/// The steps to be taken now, and when to look again should nothing happen before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The steps, in order.
    pub actions: Vec<Action>,
    /// When to look again.
    pub wake: Option<Instant>,
}

impl Plan {
    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn wake_at(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// Decides what is to be done about the pod now.
#[must_use]
pub fn plan(view: &PodView, now: Moment) -> Plan {
    let mut plan = Plan::default();
    if !view.is_deleted() && view.failure.is_none() && deadline_passed(view, now, &mut plan) {
        plan.act(Action::ExceedDeadline);
        return plan;
    }
    if view.is_deleted() || view.is_finished() {
        plan_end(view, now, &mut plan);
    } else {
        plan_life(view, now, &mut plan);
    }
    plan
}

fn deadline_passed(view: &PodView, now: Moment, plan: &mut Plan) -> bool {
    let Some(seconds) = view.spec().active_deadline_seconds else {
        return false;
    };
    if view.is_finished() {
        return false;
    }
    let active = now.wall.duration_since(view.since).as_secs();
    if active >= seconds {
        return true;
    }
    plan.wake_at(now.instant + Duration::from_secs((seconds - active).unsigned_abs()));
    false
}

// === life ===

fn plan_life(view: &PodView, now: Moment, plan: &mut Plan) {
    if view.needs_image() {
        plan_images(view, now, plan);
        return;
    }
    match &view.sandbox {
        Sandbox::Absent { retry_at, lost } => {
            if due(*retry_at, now, plan) {
                plan.act(Action::CreateSandbox { again: *lost });
            }
            return;
        }
        Sandbox::Lost => {
            // The ends of its containers are told apart, and come first.
            if !view.containers.values().any(ContainerView::is_alive) {
                plan.act(Action::RemoveSandbox);
            }
            return;
        }
        Sandbox::Creating | Sandbox::Removing | Sandbox::Removed => return,
        Sandbox::Ready { .. } => {}
    }
    // Containers that were ordered to stop, as by a liveness probe, are stopped whatever comes.
    for container in all_containers(view.spec()) {
        if let Some(run) = view.run(&container.name)
            && run.stop.is_some()
        {
            plan_stop(view, container, None, now, plan);
        }
    }
    if !plan_init(view, now, plan) {
        return;
    }
    for container in &view.spec().containers {
        if !plan_container(view, container, now, plan) {
            return;
        }
    }
}

/// Plans the init containers; whether the others may run.
fn plan_init(view: &PodView, now: Moment, plan: &mut Plan) -> bool {
    for container in view.spec().init_containers.iter().flatten() {
        let sidecar = is_sidecar(view.spec(), container);
        if view.initialized && !sidecar {
            continue;
        }
        let through = if sidecar {
            view.run(&container.name).is_some_and(Run::is_started)
        } else {
            view.succeeded(&container.name)
        };
        if !through {
            plan_container(view, container, now, plan);
            if !view.initialized {
                return false;
            }
        }
    }
    true
}

/// Plans one container; whether the next one may be looked at, since containers are started in
/// their order, each after the start and the postStart hook of the one before.
fn plan_container(view: &PodView, container: &Container, now: Moment, plan: &mut Plan) -> bool {
    let name = &container.name;
    let Some(known) = view.containers.get(name) else {
        return true;
    };
    match &known.state {
        ContainerState::Waiting(waiting) => {
            if due(waiting.retry_at, now, plan) {
                plan.act(Action::Start {
                    container: name.clone(),
                });
                return false;
            }
            true
        }
        ContainerState::Starting => false,
        ContainerState::Running(run) => match run.post_start {
            PostStart::Due => {
                plan.act(Action::PostStart {
                    container: name.clone(),
                });
                false
            }
            PostStart::Running => false,
            PostStart::Done => true,
        },
        ContainerState::Exited { end, announced } => {
            if !view.restarts(container, end) {
                return true;
            }
            match known.backoff.held_until(end.seen, now.instant) {
                Some((until, wait)) => {
                    if !announced {
                        plan.act(Action::AnnounceBackoff {
                            container: name.clone(),
                            wait,
                        });
                    }
                    plan.wake_at(until);
                    true
                }
                None => {
                    plan.act(Action::Start {
                        container: name.clone(),
                    });
                    false
                }
            }
        }
    }
}

/// Plans a pod whose containers need images, which this version cannot get.
fn plan_images(view: &PodView, now: Moment, plan: &mut Plan) {
    let spec = view.spec();
    let waiting_for = |container: &&Container| {
        matches!(
            view.containers.get(&container.name),
            Some(ContainerView {
                state: ContainerState::Waiting(_),
                ..
            })
        )
    };
    let init: Vec<&Container> = spec.init_containers.iter().flatten().take(1).collect();
    let first = if init.is_empty() {
        spec.containers.iter().collect()
    } else {
        init
    };
    for container in first.into_iter().filter(waiting_for) {
        if let ContainerState::Waiting(waiting) = &view.containers[&container.name].state
            && due(waiting.retry_at, now, plan)
        {
            plan.act(Action::PullImage {
                container: container.name.clone(),
            });
        }
    }
}

// === end ===

fn plan_end(view: &PodView, now: Moment, plan: &mut Plan) {
    let Some(ending) = &view.ending else {
        plan.act(Action::End {
            grace: view.grace(),
        });
        return;
    };
    if view.sandbox == Sandbox::Creating {
        return;
    }
    let spec = view.spec();
    let alive = |container: &&Container| {
        view.containers
            .get(&container.name)
            .is_some_and(ContainerView::is_alive)
    };
    let (sidecars, others): (Vec<&Container>, Vec<&Container>) = all_containers(spec)
        .filter(alive)
        .partition(|container| is_sidecar(spec, container));
    if !(others.is_empty() && sidecars.is_empty()) {
        match ending.departure {
            Departing::Unasked => {
                plan.act(Action::Leave);
                return;
            }
            Departing::Asked => return,
            Departing::Left => {}
        }
        for container in &others {
            plan_stop(view, container, Some(ending.deadline), now, plan);
        }
        // Sidecars serve the others to their end, and stop one by one, the last one first.
        if others.is_empty()
            && let Some(container) = sidecars.last()
        {
            plan_stop(view, container, Some(ending.deadline), now, plan);
        }
        return;
    }
    match view.sandbox {
        Sandbox::Ready { .. } | Sandbox::Lost => plan.act(Action::RemoveSandbox),
        Sandbox::Removed | Sandbox::Absent { .. } => {
            if view.is_deleted() && !view.object_gone && !view.deletion_ordered {
                plan.act(Action::DeleteObject);
            }
        }
        Sandbox::Creating | Sandbox::Removing => {}
    }
}

fn plan_stop(
    view: &PodView,
    container: &Container,
    pod_deadline: Option<Instant>,
    now: Moment,
    plan: &mut Plan,
) {
    let name = &container.name;
    let Some(run) = view.run(name) else {
        // Its start was ordered; it is stopped once it runs.
        return;
    };
    let Some(stop) = &run.stop else {
        plan.act(Action::Stop {
            container: name.clone(),
        });
        return;
    };
    let deadline = pod_deadline.map_or(stop.deadline, |pod| pod.min(stop.deadline));
    match stop.stage {
        StopStage::HookDue => {
            let limit = deadline.saturating_duration_since(now.instant);
            plan.act(Action::PreStop {
                container: name.clone(),
                limit,
            });
        }
        StopStage::Hook => {
            if due(Some(deadline), now, plan) {
                plan.act(Action::Terminate {
                    container: name.clone(),
                });
            }
        }
        StopStage::TermDue => plan.act(Action::Terminate {
            container: name.clone(),
        }),
        StopStage::Told { since } => {
            if due(Some(deadline.max(since + LEAST_GRACE)), now, plan) {
                plan.act(Action::Kill {
                    container: name.clone(),
                });
            }
        }
        StopStage::Killed { again_at } => {
            if due(Some(again_at), now, plan) {
                plan.act(Action::Kill {
                    container: name.clone(),
                });
            }
        }
    }
}

/// Whether the time has come; otherwise it is noted as one to look again.
fn due(at: Option<Instant>, now: Moment, plan: &mut Plan) -> bool {
    match at {
        Some(at) if at > now.instant => {
            plan.wake_at(at);
            false
        }
        _ => true,
    }
}
