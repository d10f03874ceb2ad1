//! `kube_pod_*`.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodCondition};

use super::{
    amount, and, condition_status, created, family, flag, gauge, owners, resource_and_unit,
    seconds, some,
};
use crate::instruments::{FamilyText, Kind, Text};

const PHASES: [&str; 5] = ["Pending", "Succeeded", "Failed", "Unknown", "Running"];
const REASONS: [&str; 6] = [
    "Evicted",
    "NodeAffinity",
    "NodeLost",
    "Preempted",
    "Shutdown",
    "UnexpectedAdmissionError",
];

type Labels<'a> = [(&'a str, &'a str); 3];

pub(super) fn write(pods: &[Arc<Pod>], text: &mut Text) {
    identity(pods, text);
    phases(pods, text);
    times(pods, text);
    for (prefix, init) in [
        ("kube_pod_container", false),
        ("kube_pod_init_container", true),
    ] {
        statuses(pods, text, prefix, init);
        ends(pods, text, prefix, init);
        resources(pods, text, prefix, init);
    }
}

fn labels(pod: &Pod) -> Labels<'_> {
    [
        (
            "namespace",
            pod.metadata.namespace.as_deref().unwrap_or_default(),
        ),
        ("pod", pod.metadata.name.as_deref().unwrap_or_default()),
        ("uid", pod.metadata.uid.as_deref().unwrap_or_default()),
    ]
}

fn identity(pods: &[Arc<Pod>], text: &mut Text) {
    gauge(
        text,
        "kube_pod_info",
        "Information about pod.",
        pods,
        |pod, family| {
            let spec = pod.spec.clone().unwrap_or_default();
            let status = pod.status.clone().unwrap_or_default();
            let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
            let creator = owners.iter().find(|owner| owner.controller == Some(true));
            let host_network = spec.host_network == Some(true);
            let more = [
                ("host_ip", status.host_ip.as_deref().unwrap_or_default()),
                ("pod_ip", status.pod_ip.as_deref().unwrap_or_default()),
                ("node", spec.node_name.as_deref().unwrap_or_default()),
                ("created_by_kind", creator.map_or("", |owner| &owner.kind)),
                ("created_by_name", creator.map_or("", |owner| &owner.name)),
                (
                    "priority_class",
                    spec.priority_class_name.as_deref().unwrap_or_default(),
                ),
                ("host_network", if host_network { "true" } else { "false" }),
            ];
            family.sample(&and(&labels(pod), &more), 1.0);
        },
    );
    gauge(
        text,
        "kube_pod_ips",
        "Pod IP addresses",
        pods,
        |pod, family| {
            let ips = pod
                .status
                .iter()
                .flat_map(|status| status.pod_ips.iter().flatten());
            for ip in ips {
                let version = if ip.ip.contains(':') { "6" } else { "4" };
                family.sample(
                    &and(&labels(pod), &[("ip", &ip.ip), ("ip_family", version)]),
                    1.0,
                );
            }
        },
    );
    gauge(
        text,
        "kube_pod_owner",
        "Information about the Pod's owner.",
        pods,
        |pod, family| {
            owners(
                family,
                &labels(pod),
                pod.metadata.owner_references.as_deref(),
            );
        },
    );
    let help = "Describes the restart policy in use by this pod.";
    gauge(
        text,
        "kube_pod_restart_policy",
        help,
        pods,
        |pod, family| {
            let policy = pod
                .spec
                .as_ref()
                .and_then(|spec| spec.restart_policy.as_deref());
            family.sample(
                &and(&labels(pod), &[("type", policy.unwrap_or("Always"))]),
                1.0,
            );
        },
    );
    gauge(
        text,
        "kube_pod_service_account",
        "The service account for a pod.",
        pods,
        |pod, family| {
            let account = pod
                .spec
                .as_ref()
                .and_then(|spec| spec.service_account_name.as_deref());
            family.sample(
                &and(
                    &labels(pod),
                    &[("service_account", account.unwrap_or_default())],
                ),
                1.0,
            );
        },
    );
}

fn phases(pods: &[Arc<Pod>], text: &mut Text) {
    let phase_of = |pod: &Pod| {
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.clone());
        // A pod on a node that is lost cannot be known.
        let lost = pod.metadata.deletion_timestamp.is_some()
            && status.and_then(|status| status.reason.as_deref()) == Some("NodeLost");
        if lost {
            Some("Unknown".to_owned())
        } else {
            phase
        }
    };
    gauge(
        text,
        "kube_pod_status_phase",
        "The pods current phase.",
        pods,
        |pod, family| {
            let Some(phase) = phase_of(pod) else { return };
            for known in PHASES {
                family.sample(
                    &and(&labels(pod), &[("phase", known)]),
                    flag(known == phase),
                );
            }
        },
    );
    gauge(
        text,
        "kube_pod_status_qos_class",
        "The pods current qosClass.",
        pods,
        |pod, family| {
            let Some(class) = pod
                .status
                .as_ref()
                .and_then(|status| status.qos_class.as_deref())
            else {
                return;
            };
            for known in ["BestEffort", "Burstable", "Guaranteed"] {
                family.sample(
                    &and(&labels(pod), &[("qos_class", known)]),
                    flag(known == class),
                );
            }
        },
    );
    gauge(
        text,
        "kube_pod_status_reason",
        "The pod status reasons",
        pods,
        |pod, family| {
            let reason = pod
                .status
                .as_ref()
                .and_then(|status| status.reason.as_deref());
            for known in REASONS {
                family.sample(
                    &and(&labels(pod), &[("reason", known)]),
                    flag(reason == Some(known)),
                );
            }
        },
    );
    for (name, condition, help) in [
        (
            "kube_pod_status_ready",
            "Ready",
            "Describes whether the pod is ready to serve requests.",
        ),
        (
            "kube_pod_status_scheduled",
            "PodScheduled",
            "Describes the status of the scheduling process for the pod.",
        ),
    ] {
        gauge(text, name, help, pods, |pod, family| {
            if let Some(found) = find(pod, condition) {
                condition_status(family, &labels(pod), "condition", &found.status);
            }
        });
    }
    let help = "Describes the unschedulable status for the pod.";
    gauge(
        text,
        "kube_pod_status_unschedulable",
        help,
        pods,
        |pod, family| {
            let unschedulable = find(pod, "PodScheduled").is_some_and(|condition| {
                condition.status == "False" && condition.reason.as_deref() == Some("Unschedulable")
            });
            if unschedulable {
                family.sample(&labels(pod), 1.0);
            }
        },
    );
}

fn find<'a>(pod: &'a Pod, condition: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|found| found.type_ == condition)
}

fn times(pods: &[Arc<Pod>], text: &mut Text) {
    created(
        text,
        "pod",
        pods,
        |pod| &pod.metadata,
        |pod, write| write(&labels(pod)),
    );
    gauge(
        text,
        "kube_pod_deletion_timestamp",
        "Unix deletion timestamp",
        pods,
        |pod, family| {
            some(
                family,
                &labels(pod),
                seconds(pod.metadata.deletion_timestamp.as_ref()),
            );
        },
    );
    gauge(
        text,
        "kube_pod_start_time",
        "Start time in unix timestamp for a pod.",
        pods,
        |pod, family| {
            let start = pod
                .status
                .as_ref()
                .and_then(|status| status.start_time.as_ref());
            some(family, &labels(pod), seconds(start));
        },
    );
    let help = "Completion time in unix timestamp for a pod.";
    gauge(
        text,
        "kube_pod_completion_time",
        help,
        pods,
        |pod, family| {
            let statuses = container_statuses(pod, false);
            let ended = statuses.iter().map(|status| {
                let terminated = status.state.as_ref()?.terminated.as_ref()?;
                seconds(terminated.finished_at.as_ref())
            });
            // Over only when all containers are.
            let ended: Option<Vec<f64>> = ended.collect();
            let last = ended.and_then(|times| times.into_iter().reduce(f64::max));
            some(family, &labels(pod), last);
        },
    );
    for (name, condition, help) in [
        (
            "kube_pod_status_ready_time",
            "Ready",
            "Readiness achieved time in unix timestamp for a pod.",
        ),
        (
            "kube_pod_status_container_ready_time",
            "ContainersReady",
            "Readiness achieved time in unix timestamp for a pod containers.",
        ),
        (
            "kube_pod_status_initialized_time",
            "Initialized",
            "Initialized time in unix timestamp for a pod.",
        ),
        (
            "kube_pod_status_scheduled_time",
            "PodScheduled",
            "Unix timestamp when pod moved into scheduled status",
        ),
    ] {
        gauge(text, name, help, pods, |pod, family| {
            let at = find(pod, condition)
                .filter(|found| found.status == "True")
                .and_then(|found| seconds(found.last_transition_time.as_ref()));
            some(family, &labels(pod), at);
        });
    }
}

fn containers(pod: &Pod, init: bool) -> &[Container] {
    match &pod.spec {
        Some(spec) if init => spec.init_containers.as_deref().unwrap_or_default(),
        Some(spec) => &spec.containers,
        None => &[],
    }
}

fn container_statuses(pod: &Pod, init: bool) -> &[ContainerStatus] {
    let statuses = pod.status.as_ref().and_then(|status| {
        if init {
            status.init_container_statuses.as_deref()
        } else {
            status.container_statuses.as_deref()
        }
    });
    statuses.unwrap_or_default()
}

fn each_status(
    pods: &[Arc<Pod>],
    text: &mut Text,
    family_of: (&str, &str, Kind),
    init: bool,
    write: impl Fn(&Pod, &ContainerStatus, &[(&str, &str)], &mut FamilyText<'_>),
) {
    let (name, help, kind) = family_of;
    family(text, name, help, kind, pods, |pod, family| {
        for status in container_statuses(pod, init) {
            let labels = and(&labels(pod), &[("container", &status.name)]);
            write(pod, status, &labels, family);
        }
    });
}

fn statuses(pods: &[Arc<Pod>], text: &mut Text, prefix: &str, init: bool) {
    let gauge = Kind::Gauge;
    let name = format!("{prefix}_info");
    let help = "Information about a container in a pod.";
    each_status(
        pods,
        text,
        (&name, help, gauge),
        init,
        |pod, status, labels, family| {
            let wanted = containers(pod, init)
                .iter()
                .find(|wanted| wanted.name == status.name);
            let more = [
                (
                    "image_spec",
                    wanted
                        .and_then(|wanted| wanted.image.as_deref())
                        .unwrap_or_default(),
                ),
                ("image", status.image.as_str()),
                ("image_id", status.image_id.as_str()),
                (
                    "container_id",
                    status.container_id.as_deref().unwrap_or_default(),
                ),
            ];
            family.sample(&and(labels, &more), 1.0);
        },
    );
    let name = format!("{prefix}_status_ready");
    let help = "Describes whether the containers readiness check succeeded.";
    each_status(
        pods,
        text,
        (&name, help, gauge),
        init,
        |_, status, labels, family| {
            family.sample(labels, flag(status.ready));
        },
    );
    let name = format!("{prefix}_status_restarts_total");
    let help = "The number of container restarts per container.";
    each_status(
        pods,
        text,
        (&name, help, Kind::Counter),
        init,
        |_, status, labels, family| {
            family.sample(labels, f64::from(status.restart_count));
        },
    );
    for (state, help) in [
        (
            "running",
            "Describes whether the container is currently in running state.",
        ),
        (
            "waiting",
            "Describes whether the container is currently in waiting state.",
        ),
        (
            "terminated",
            "Describes whether the container is currently in terminated state.",
        ),
    ] {
        let name = format!("{prefix}_status_{state}");
        each_status(
            pods,
            text,
            (&name, help, gauge),
            init,
            |_, status, labels, family| {
                let now = status.state.clone().unwrap_or_default();
                let is = match state {
                    "running" => now.running.is_some(),
                    "waiting" => now.waiting.is_some(),
                    _ => now.terminated.is_some(),
                };
                family.sample(labels, flag(is));
            },
        );
    }
    let name = format!("{prefix}_status_waiting_reason");
    let help = "Describes the reason the container is currently in waiting state.";
    each_status(
        pods,
        text,
        (&name, help, gauge),
        init,
        |_, status, labels, family| {
            let waiting = status
                .state
                .as_ref()
                .and_then(|state| state.waiting.as_ref());
            if let Some(reason) = waiting.and_then(|waiting| waiting.reason.as_deref()) {
                family.sample(&and(labels, &[("reason", reason)]), 1.0);
            }
        },
    );
    let name = if init {
        "kube_pod_init_container_state_started"
    } else {
        "kube_pod_container_state_started"
    };
    let help = "Start time in unix timestamp for a pod container.";
    each_status(
        pods,
        text,
        (name, help, gauge),
        init,
        |_, status, labels, family| {
            let state = status.state.clone().unwrap_or_default();
            let started = state.running.and_then(|running| running.started_at);
            let started = started.or_else(|| state.terminated.and_then(|ended| ended.started_at));
            some(family, labels, seconds(started.as_ref()));
        },
    );
}

fn ends(pods: &[Arc<Pod>], text: &mut Text, prefix: &str, init: bool) {
    for (name, last) in [
        ("status_terminated_reason", false),
        ("status_last_terminated_reason", true),
    ] {
        let name = format!("{prefix}_{name}");
        let help = if last {
            "Describes the last reason the container was in terminated state."
        } else {
            "Describes the reason the container is currently in terminated state."
        };
        each_status(
            pods,
            text,
            (&name, help, Kind::Gauge),
            init,
            |_, status, labels, family| {
                let state = if last {
                    &status.last_state
                } else {
                    &status.state
                };
                let ended = state.as_ref().and_then(|state| state.terminated.as_ref());
                if let Some(reason) = ended.and_then(|ended| ended.reason.as_deref()) {
                    family.sample(&and(labels, &[("reason", reason)]), 1.0);
                }
            },
        );
    }
    for (name, help, code) in [
        (
            "status_last_terminated_exitcode",
            "Describes the exit code for the last container in terminated state.",
            true,
        ),
        (
            "status_last_terminated_timestamp",
            "Last terminated time for a pod container in unix timestamp.",
            false,
        ),
    ] {
        let name = format!("{prefix}_{name}");
        each_status(
            pods,
            text,
            (&name, help, Kind::Gauge),
            init,
            |_, status, labels, family| {
                let last = status.last_state.as_ref();
                let Some(ended) = last.and_then(|state| state.terminated.as_ref()) else {
                    return;
                };
                let value = if code {
                    Some(f64::from(ended.exit_code))
                } else {
                    seconds(ended.finished_at.as_ref())
                };
                some(family, labels, value);
            },
        );
    }
}

fn resources(pods: &[Arc<Pod>], text: &mut Text, prefix: &str, init: bool) {
    for (what, help) in [
        (
            "requests",
            "The number of requested request resource by a container.",
        ),
        (
            "limits",
            "The number of requested limit resource by a container.",
        ),
    ] {
        let name = format!("{prefix}_resource_{what}");
        gauge(text, &name, help, pods, |pod, family| {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            for container in containers(pod, init) {
                let resources = container.resources.as_ref();
                let amounts = resources.and_then(|resources| match what {
                    "requests" => resources.requests.as_ref(),
                    _ => resources.limits.as_ref(),
                });
                for (resource, quantity) in amounts.into_iter().flatten() {
                    let (resource, unit) = resource_and_unit(resource);
                    let more = [
                        ("container", container.name.as_str()),
                        ("node", node.unwrap_or_default()),
                        ("resource", &resource),
                        ("unit", unit),
                    ];
                    some(family, &and(&labels(pod), &more), amount(quantity));
                }
            }
        });
    }
}
