//! A pod's phase.

use k8s_openapi::api::core::v1::ContainerStatus;

use crate::kubelet::view::{PodView, is_sidecar};

/// How many containers are in which state, as the phase counts them.
#[derive(Default)]
struct Count {
    waiting: usize,
    running: usize,
    stopped: usize,
    succeeded: usize,
}

/// The phase that follows from the containers' statuses.
pub(super) fn phase(
    view: &PodView,
    init: &[ContainerStatus],
    containers: &[ContainerStatus],
) -> &'static str {
    if view.failure.is_some() {
        return "Failed";
    }
    let mut count = Count::default();
    for status in containers {
        let state = status.state.as_ref();
        if state.is_some_and(|state| state.running.is_some()) {
            count.running += 1;
        } else if let Some(end) = state.and_then(|state| state.terminated.as_ref()) {
            count.stopped += 1;
            count.succeeded += usize::from(end.exit_code == 0);
        } else if status
            .last_state
            .as_ref()
            .is_some_and(|state| state.terminated.is_some())
        {
            count.stopped += 1;
        } else {
            count.waiting += 1;
        }
    }
    if !view.initialized {
        let failed = init.iter().any(|status| {
            let end = status
                .state
                .as_ref()
                .and_then(|state| state.terminated.as_ref());
            end.is_some_and(|end| end.exit_code != 0)
        });
        let never = view.spec().restart_policy.as_deref() == Some("Never");
        if failed && (never || view.is_deleted()) && no_sidecar_failed(view, init) {
            return "Failed";
        }
        return "Pending";
    }
    if count.waiting > 0 {
        return "Pending";
    }
    if count.running > 0 {
        return "Running";
    }
    // What is being deleted will not be started again.
    if view.is_finished() || view.is_deleted() {
        return if count.succeeded == count.stopped {
            "Succeeded"
        } else {
            "Failed"
        };
    }
    "Running"
}

/// Whether the init containers that failed are such that matter: a sidecar's failure does not.
fn no_sidecar_failed(view: &PodView, init: &[ContainerStatus]) -> bool {
    let failed = init.iter().filter(|status| {
        let end = status
            .state
            .as_ref()
            .and_then(|state| state.terminated.as_ref());
        end.is_some_and(|end| end.exit_code != 0)
    });
    failed
        .filter_map(|status| view.container_spec(&status.name))
        .any(|container| !is_sidecar(view.spec(), container))
}
