//! A pod's conditions.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::kubelet::view::{PodView, Sandbox, is_sidecar};

/// The conditions that the kubelet owns; others are left as they are.
pub const CONDITIONS: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

/// A condition's status with its reason and message.
struct Finding {
    is_true: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Finding {
    fn yes() -> Self {
        Self {
            is_true: true,
            reason: None,
            message: None,
        }
    }

    fn no(reason: &'static str, message: impl Into<Option<String>>) -> Self {
        Self {
            is_true: false,
            reason: Some(reason),
            message: message.into(),
        }
    }
}

/// The kubelet's conditions, for a status that is otherwise complete.
pub(super) fn conditions(
    view: &PodView,
    status: &PodStatus,
    before: &PodStatus,
    now: Timestamp,
) -> Vec<PodCondition> {
    let phase = status.phase.as_deref().unwrap_or_default();
    let sandboxed = Finding {
        is_true: matches!(view.sandbox, Sandbox::Ready { .. }),
        reason: None,
        message: None,
    };
    let containers = containers_ready(view, status, phase);
    let ready = pod_ready(view, before, &containers);
    let found = [
        ("PodReadyToStartContainers", sandboxed),
        ("Initialized", initialized(view, status, phase)),
        ("Ready", ready),
        ("ContainersReady", containers),
        ("PodScheduled", Finding::yes()),
    ];
    let generation = view.pod.metadata.generation;
    found
        .into_iter()
        .map(|(kind, finding)| condition(kind, finding, before, generation, now))
        .collect()
}

fn condition(
    kind: &str,
    finding: Finding,
    before: &PodStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> PodCondition {
    let status = if finding.is_true { "True" } else { "False" };
    let known = before
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == kind && condition.status == status);
    let since = known.and_then(|condition| condition.last_transition_time.clone());
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: finding.reason.map(str::to_owned),
        message: finding.message,
        observed_generation: generation,
        last_probe_time: None,
        last_transition_time: Some(since.unwrap_or(Time(now))),
    }
}

fn initialized(view: &PodView, status: &PodStatus, phase: &str) -> Finding {
    if phase == "Succeeded" {
        return Finding {
            reason: Some("PodCompleted"),
            ..Finding::yes()
        };
    }
    if view.initialized {
        return Finding::yes();
    }
    let statuses = status
        .init_container_statuses
        .as_deref()
        .unwrap_or_default();
    let incomplete: Vec<&str> = statuses
        .iter()
        .filter(|status| {
            let sidecar = view
                .container_spec(&status.name)
                .is_some_and(|container| is_sidecar(view.spec(), container));
            if sidecar {
                status.started != Some(true)
            } else {
                !status.ready
            }
        })
        .map(|status| status.name.as_str())
        .collect();
    let message = format!(
        "containers with incomplete status: [{}]",
        incomplete.join(" ")
    );
    Finding::no("ContainersNotInitialized", message)
}

fn containers_ready(view: &PodView, status: &PodStatus, phase: &str) -> Finding {
    match phase {
        "Succeeded" => return Finding::no("PodCompleted", None),
        "Failed" => return Finding::no("PodFailed", None),
        _ => {}
    }
    let sidecars = status
        .init_container_statuses
        .iter()
        .flatten()
        .filter(|status| {
            view.container_spec(&status.name)
                .is_some_and(|container| is_sidecar(view.spec(), container))
        });
    let unready: Vec<&str> = sidecars
        .chain(status.container_statuses.iter().flatten())
        .filter(|status: &&ContainerStatus| !status.ready)
        .map(|status| status.name.as_str())
        .collect();
    if unready.is_empty() {
        return Finding::yes();
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Finding::no("ContainersNotReady", message)
}

fn pod_ready(view: &PodView, before: &PodStatus, containers: &Finding) -> Finding {
    if !containers.is_true {
        return Finding {
            is_true: false,
            reason: containers.reason,
            message: containers.message.clone(),
        };
    }
    // Others write the conditions that gates name, so they are in the object, not in the view.
    let told = view.pod.status.as_ref().unwrap_or(before);
    let mut messages = Vec::new();
    for gate in view.spec().readiness_gates.iter().flatten() {
        let kind = &gate.condition_type;
        let known = told
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == *kind);
        match known {
            None => messages.push(format!(
                "corresponding condition of pod readiness gate \"{kind}\" does not exist."
            )),
            Some(condition) if condition.status != "True" => messages.push(format!(
                "the status of pod readiness gate \"{kind}\" is not \"True\", but {}",
                condition.status
            )),
            Some(_) => {}
        }
    }
    if messages.is_empty() {
        return Finding::yes();
    }
    Finding::no("ReadinessGatesNotReady", messages.join(", "))
}
