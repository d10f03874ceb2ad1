//! Nodes.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, column, or_none, wide};
use crate::members::{entries, is_true, items, text};

const ROLE_PREFIX: &str = "node-role.kubernetes.io/";
const ROLE_LABEL: &str = "kubernetes.io/role";

pub(crate) fn columns() -> Vec<Column> {
    vec![
        NAME,
        column("Status", "string", "The status of the node"),
        column("Roles", "string", "The roles of the node"),
        AGE,
        column("Version", "string", "Kubelet Version reported by the node."),
        wide(
            "Internal-IP",
            "string",
            "List of addresses reachable to the node.",
        ),
        wide(
            "External-IP",
            "string",
            "List of addresses reachable to the node.",
        ),
        wide("OS-Image", "string", "OS Image reported by the node."),
        wide(
            "Kernel-Version",
            "string",
            "Kernel Version reported by the node.",
        ),
        wide(
            "Container-Runtime",
            "string",
            "ContainerRuntime Version reported by the node.",
        ),
    ]
}

pub(crate) fn cells(node: &Value, now: Timestamp) -> Vec<Value> {
    let info = &node["status"]["nodeInfo"];
    let address = |kind: &str| {
        let found = items(&node["status"], "addresses").find(|entry| text(entry, "type") == kind);
        or_none(found.map_or_else(String::new, |entry| text(entry, "address").to_owned()))
    };
    let known = |name: &str| match text(info, name) {
        "" => "<unknown>".to_owned(),
        value => value.to_owned(),
    };
    vec![
        node["metadata"]["name"].clone(),
        json!(status(node)),
        json!(roles(node)),
        json!(age::of(node, now)),
        json!(text(info, "kubeletVersion")),
        json!(address("InternalIP")),
        json!(address("ExternalIP")),
        json!(known("osImage")),
        json!(known("kernelVersion")),
        json!(known("containerRuntimeVersion")),
    ]
}

fn status(node: &Value) -> String {
    let ready = items(&node["status"], "conditions").find(|entry| text(entry, "type") == "Ready");
    let mut words = vec![match ready.map(|condition| text(condition, "status")) {
        None => "Unknown",
        Some("True") => "Ready",
        Some(_) => "NotReady",
    }];
    if is_true(&node["spec"], "unschedulable") {
        words.push("SchedulingDisabled");
    }
    words.join(",")
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = entries(&node["metadata"], "labels")
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_PREFIX) {
            Some("") => None,
            Some(role) => Some(role),
            None if key == ROLE_LABEL => value.as_str().filter(|role| !role.is_empty()),
            None => None,
        })
        .collect();
    roles.sort_unstable();
    roles.dedup();
    or_none(roles.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_shows_state_roles_and_version() {
        let node = json!({
            "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
            "spec": {"unschedulable": true},
            "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.36.0"},
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]},
        });
        let row = cells(&node, Timestamp::UNIX_EPOCH);
        assert_eq!(row[1], "Ready,SchedulingDisabled");
        assert_eq!(row[2], "control-plane");
        assert_eq!(
            row[4..7],
            [json!("v1.36.0"), json!("10.0.0.1"), json!("<none>")]
        );
    }
}
