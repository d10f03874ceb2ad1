//! `kube_node_*` and `kube_namespace_*`.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Node};

use super::{
    amount, and, condition_status, created, flag, gauge, resource_and_unit, seconds, some,
};
use crate::instruments::Text;

const ROLE: &str = "node-role.kubernetes.io/";

fn node_label(node: &Node) -> [(&str, &str); 1] {
    [("node", node.metadata.name.as_deref().unwrap_or_default())]
}

pub(super) fn nodes(nodes: &[Arc<Node>], text: &mut Text) {
    created(
        text,
        "node",
        nodes,
        |node| &node.metadata,
        |node, write| write(&node_label(node)),
    );
    gauge(
        text,
        "kube_node_info",
        "Information about a cluster node.",
        nodes,
        |node, family| {
            let status = node.status.clone().unwrap_or_default();
            let Some(info) = &status.node_info else {
                return;
            };
            let addresses = status.addresses.unwrap_or_default();
            let internal = addresses
                .iter()
                .find(|address| address.type_ == "InternalIP");
            let spec = node.spec.clone().unwrap_or_default();
            let more = [
                ("kernel_version", info.kernel_version.as_str()),
                ("os_image", &info.os_image),
                ("container_runtime_version", &info.container_runtime_version),
                ("kubelet_version", &info.kubelet_version),
                ("kubeproxy_version", "deprecated"),
                (
                    "provider_id",
                    spec.provider_id.as_deref().unwrap_or_default(),
                ),
                ("pod_cidr", spec.pod_cidr.as_deref().unwrap_or_default()),
                ("system_uuid", &info.system_uuid),
                (
                    "internal_ip",
                    internal.map_or("", |address| &address.address),
                ),
            ];
            family.sample(&and(&node_label(node), &more), 1.0);
        },
    );
    gauge(
        text,
        "kube_node_deletion_timestamp",
        "Unix deletion timestamp",
        nodes,
        |node, family| {
            some(
                family,
                &node_label(node),
                seconds(node.metadata.deletion_timestamp.as_ref()),
            );
        },
    );
    gauge(
        text,
        "kube_node_role",
        "The role of a cluster node.",
        nodes,
        |node, family| {
            for label in node.metadata.labels.iter().flatten().map(|(name, _)| name) {
                if let Some(role) = label.strip_prefix(ROLE) {
                    family.sample(&and(&node_label(node), &[("role", role)]), 1.0);
                }
            }
        },
    );
    gauge(
        text,
        "kube_node_spec_taint",
        "The taint of a cluster node.",
        nodes,
        |node, family| {
            for taint in node
                .spec
                .iter()
                .flat_map(|spec| spec.taints.iter().flatten())
            {
                let more = [
                    ("key", taint.key.as_str()),
                    ("value", taint.value.as_deref().unwrap_or_default()),
                    ("effect", taint.effect.as_str()),
                ];
                family.sample(&and(&node_label(node), &more), 1.0);
            }
        },
    );
    let help = "Whether a node can schedule new pods.";
    gauge(
        text,
        "kube_node_spec_unschedulable",
        help,
        nodes,
        |node, family| {
            let unschedulable = node
                .spec
                .as_ref()
                .is_some_and(|spec| spec.unschedulable == Some(true));
            family.sample(&node_label(node), flag(unschedulable));
        },
    );
    gauge(
        text,
        "kube_node_status_addresses",
        "Node address information.",
        nodes,
        |node, family| {
            for address in node
                .status
                .iter()
                .flat_map(|status| status.addresses.iter().flatten())
            {
                let more = [
                    ("type", address.type_.as_str()),
                    ("address", address.address.as_str()),
                ];
                family.sample(&and(&node_label(node), &more), 1.0);
            }
        },
    );
    let help = "The condition of a cluster node.";
    gauge(
        text,
        "kube_node_status_condition",
        help,
        nodes,
        |node, family| {
            for condition in node
                .status
                .iter()
                .flat_map(|status| status.conditions.iter().flatten())
            {
                let labels = and(
                    &node_label(node),
                    &[("condition", condition.type_.as_str())],
                );
                condition_status(family, &labels, "status", &condition.status);
            }
        },
    );
    for (name, help, allocatable) in [
        (
            "kube_node_status_allocatable",
            "The allocatable for different resources of a node that are available for scheduling.",
            true,
        ),
        (
            "kube_node_status_capacity",
            "The capacity for different resources of a node.",
            false,
        ),
    ] {
        gauge(text, name, help, nodes, |node, family| {
            let amounts = node.status.as_ref().and_then(|status| {
                if allocatable {
                    status.allocatable.as_ref()
                } else {
                    status.capacity.as_ref()
                }
            });
            for (resource, quantity) in amounts.into_iter().flatten() {
                let (resource, unit) = resource_and_unit(resource);
                let more = [("resource", resource.as_str()), ("unit", unit)];
                some(family, &and(&node_label(node), &more), amount(quantity));
            }
        });
    }
}

pub(super) fn namespaces(namespaces: &[Arc<Namespace>], text: &mut Text) {
    fn label(namespace: &Namespace) -> [(&str, &str); 1] {
        [(
            "namespace",
            namespace.metadata.name.as_deref().unwrap_or_default(),
        )]
    }
    created(
        text,
        "namespace",
        namespaces,
        |found| &found.metadata,
        |found, write| write(&label(found)),
    );
    let help = "kubernetes namespace status phase.";
    gauge(
        text,
        "kube_namespace_status_phase",
        help,
        namespaces,
        |found, family| {
            let phase = found
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref());
            for known in ["Active", "Terminating"] {
                family.sample(
                    &and(&label(found), &[("phase", known)]),
                    flag(phase == Some(known)),
                );
            }
        },
    );
}
