//! A pod's status: a pure function of what the kubelet knows about it.

mod conditions;
mod phase;
mod qos;

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState as StateObject, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, PodIP, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::kubelet::backoff::in_words;
use crate::kubelet::runtime::{ContainerRun, PodUid};
use crate::kubelet::view::{
    ContainerState, ContainerView, End, Moment, PodView, Sandbox, is_sidecar,
};

pub use conditions::CONDITIONS;
pub(crate) use qos::oom_score_adj;
pub use qos::qos_class;

/// The status of the pod now. `before` is the last one, whose times are kept where nothing changed.
#[must_use]
pub fn pod_status(
    view: &PodView,
    node_address: IpAddr,
    before: &PodStatus,
    now: Moment,
) -> PodStatus {
    let spec = view.spec();
    let init: Vec<ContainerStatus> = spec
        .init_containers
        .iter()
        .flatten()
        .map(|container| container_status(view, container, now))
        .collect();
    let containers: Vec<ContainerStatus> = spec
        .containers
        .iter()
        .map(|container| container_status(view, container, now))
        .collect();
    let phase = phase::phase(view, &init, &containers);
    let address = view.address().map(|address| address.to_string());
    // A finished pod keeps showing the address it had.
    let pod_ip = match view.sandbox {
        Sandbox::Removed | Sandbox::Removing => before.pod_ip.clone(),
        _ => address,
    };
    let mut status = PodStatus {
        phase: Some(phase.to_owned()),
        observed_generation: view.pod.metadata.generation,
        host_ip: Some(node_address.to_string()),
        host_ips: Some(vec![HostIP {
            ip: node_address.to_string(),
        }]),
        pod_ips: pod_ip.clone().map(|address| vec![PodIP { ip: address }]),
        pod_ip,
        start_time: Some(Time(view.since)),
        qos_class: Some(
            before
                .qos_class
                .clone()
                .unwrap_or_else(|| qos_class(spec).to_owned()),
        ),
        reason: view.failure.as_ref().map(|failure| failure.reason.clone()),
        message: view.failure.as_ref().map(|failure| failure.message.clone()),
        init_container_statuses: (!init.is_empty()).then_some(init),
        container_statuses: Some(containers),
        ..PodStatus::default()
    };
    status.conditions = Some(conditions::conditions(view, &status, before, now.wall));
    status
}

/// The status of one container.
#[must_use]
pub fn container_status(view: &PodView, container: &Container, now: Moment) -> ContainerStatus {
    let unknown = ContainerView::default();
    let known = view.containers.get(&container.name).unwrap_or(&unknown);
    let current = ContainerRun {
        pod: PodUid(view.uid().to_owned()),
        container: container.name.clone(),
        attempt: known.attempt,
    };
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        image_id: String::new(),
        restart_count: i32::try_from(known.restart_count()).unwrap_or(i32::MAX),
        started: Some(false),
        last_state: known.last.as_ref().map(terminated),
        ..ContainerStatus::default()
    };
    match &known.state {
        ContainerState::Waiting(reason) => {
            status.state = Some(waiting(
                reason
                    .reason
                    .unwrap_or_else(|| nothing_wrong(view, container)),
                reason.message.clone(),
            ));
            status.container_id = known.last.as_ref().and_then(|end| end.container_id.clone());
        }
        ContainerState::Starting => {
            status.state = Some(waiting(nothing_wrong(view, container), None));
            status.container_id = known.last.as_ref().and_then(|end| end.container_id.clone());
        }
        ContainerState::Running(run) => {
            status.container_id = Some(current.container_id());
            status.started = Some(run.is_started());
            status.ready = run.is_ready();
            status.state = Some(StateObject {
                running: Some(ContainerStateRunning {
                    started_at: Some(Time(run.since)),
                }),
                ..StateObject::default()
            });
        }
        ContainerState::Exited { end, .. } => {
            status.container_id = end.container_id.clone();
            let held = held(view, container, known, end, now);
            match held {
                Some(held) => {
                    status.last_state = Some(terminated(end));
                    status.state = Some(held);
                }
                None => status.state = Some(terminated(end)),
            }
            // An init container that did its work counts as ready.
            let init = crate::kubelet::view::is_init(view.spec(), &container.name);
            status.ready = init && !is_sidecar(view.spec(), container) && end.code == 0;
        }
    }
    status
}

/// Why an ended container that will be started again waits.
fn held(
    view: &PodView,
    container: &Container,
    known: &ContainerView,
    end: &End,
    now: Moment,
) -> Option<StateObject> {
    if view.is_deleted() || view.failure.is_some() || !view.restarts(container, end) {
        return None;
    }
    if let Some((_, wait)) = known.backoff.held_until(end.seen, now.instant) {
        let message = format!(
            "back-off {} restarting failed container={} pod={}",
            in_words(wait),
            container.name,
            long_name(view)
        );
        return Some(waiting("CrashLoopBackOff", Some(message)));
    }
    (end.reason == "StartError").then(|| waiting("RunContainerError", end.message.clone()))
}

/// The pod as messages name it: `name_namespace(uid)`.
#[must_use]
pub fn long_name(view: &PodView) -> String {
    let metadata = &view.pod.metadata;
    format!(
        "{}_{}({})",
        metadata.name.as_deref().unwrap_or_default(),
        metadata.namespace.as_deref().unwrap_or_default(),
        view.uid()
    )
}

fn nothing_wrong(view: &PodView, container: &Container) -> &'static str {
    let spec: &PodSpec = view.spec();
    let has_init = spec.init_containers.iter().flatten().next().is_some();
    let init = crate::kubelet::view::is_init(spec, &container.name);
    if has_init && (init || !view.initialized) {
        "PodInitializing"
    } else {
        "ContainerCreating"
    }
}

fn waiting(reason: &str, message: Option<String>) -> StateObject {
    StateObject {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message,
        }),
        ..StateObject::default()
    }
}

fn terminated(end: &End) -> StateObject {
    let time = |at: Option<Timestamp>| at.map(Time);
    StateObject {
        terminated: Some(ContainerStateTerminated {
            exit_code: end.code,
            signal: end.signal,
            reason: Some(end.reason.clone()).filter(|reason| !reason.is_empty()),
            message: end.message.clone(),
            started_at: time(end.started_at.or(Some(Timestamp::UNIX_EPOCH))),
            finished_at: time(end.finished_at.or(Some(Timestamp::UNIX_EPOCH))),
            container_id: end.container_id.clone(),
        }),
        ..StateObject::default()
    }
}

#[cfg(test)]
mod tests;
