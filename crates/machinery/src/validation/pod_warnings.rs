//! Warnings about pods and templates: what Kubernetes warns about, as it is most likely not meant,
//! and what is not honoured here.

use std::collections::BTreeSet;

use serde_json::Value;

use super::unhonoured;
use crate::error::{FieldPath, quote};
use crate::members::{has, is_true, items, text};
use crate::quantity::Quantity;

/// Warnings about a Pod.
pub(crate) fn pod(pod: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    spec(&mut warnings, &pod["spec"], &FieldPath::new("spec"));
    annotations(&mut warnings, pod, &FieldPath::new("metadata"));
    warnings
}

/// Warnings about the template of a Deployment or ReplicaSet.
pub(crate) fn workload(workload: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let template = &workload["spec"]["template"];
    let path = FieldPath::new("spec").child("template");
    spec(&mut warnings, &template["spec"], &path.child("spec"));
    annotations(&mut warnings, template, &path.child("metadata"));
    warnings
}

fn spec(warnings: &mut Vec<String>, spec: &Value, path: &FieldPath) {
    for (index, container) in items(spec, "containers").enumerate() {
        self::container(warnings, container, &path.child("containers").index(index));
    }
    for (index, container) in items(spec, "initContainers").enumerate() {
        self::container(
            warnings,
            container,
            &path.child("initContainers").index(index),
        );
    }
    duplicate_ports(warnings, spec, path);
    let mut seen = BTreeSet::new();
    for (index, secret) in items(spec, "imagePullSecrets").enumerate() {
        let name = text(secret, "name");
        let path = path.child("imagePullSecrets").index(index);
        if name.is_empty() {
            warnings.push(format!("{path}: invalid empty name {}", quote(name)));
        } else if !seen.insert(name) {
            warnings.push(format!(
                "{}: duplicate name {}",
                path.child("name"),
                quote(name)
            ));
        }
    }
    for (index, alias) in items(spec, "hostAliases").enumerate() {
        let first = items(spec, "hostAliases")
            .take(index)
            .any(|other| text(other, "ip") == text(alias, "ip"));
        if first {
            warnings.push(format!(
                "{}: duplicate ip {}",
                path.child("hostAliases").index(index).child("ip"),
                quote(text(alias, "ip"))
            ));
        }
    }
    if is_true(spec, "hostNetwork") {
        warnings.push(format!(
            "{}: the pod uses the host's network and DNS and has no route to Service or pod IPs; it reaches Services by their node ports",
            path.child("hostNetwork")
        ));
    }
    let grace = spec["terminationGracePeriodSeconds"].as_i64();
    if grace.is_some_and(|seconds| seconds < 0) {
        warnings.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            path.child("terminationGracePeriodSeconds")
        ));
    }
    unhonoured::pod_spec(warnings, spec, path);
}

fn container(warnings: &mut Vec<String>, container: &Value, path: &FieldPath) {
    let mut seen = BTreeSet::new();
    for (index, variable) in items(container, "env").enumerate() {
        let name = text(variable, "name");
        if !name.is_empty() && !seen.insert(name) {
            let env = path.child("env");
            warnings.push(format!(
                "{}: hides previous definition of {}, which may be dropped when using apply",
                env.index(index),
                quote(name),
            ));
        }
    }
    for list in ["requests", "limits"] {
        let resources = &container["resources"];
        if !has(resources, list) {
            continue;
        }
        let memory = &resources[list]["memory"];
        let fraction =
            Quantity::from_json(memory).is_ok_and(|amount| amount.nanos() % 1_000_000_000 != 0);
        if fraction {
            warnings.push(format!(
                "{}: fractional byte value {} is invalid, must be an integer",
                path.child("resources").child(list).key("memory"),
                quote(memory.as_str().unwrap_or_default()),
            ));
        }
    }
}

fn duplicate_ports(warnings: &mut Vec<String>, spec: &Value, path: &FieldPath) {
    for (index, container) in items(spec, "containers").enumerate() {
        let mut seen: Vec<(i64, &str)> = Vec::new();
        for (place, port) in items(container, "ports").enumerate() {
            let key = (
                port["containerPort"].as_i64().unwrap_or(0),
                text(port, "protocol"),
            );
            let ports = path.child("containers").index(index).child("ports");
            if let Some(first) = seen.iter().position(|known| *known == key) {
                warnings.push(format!(
                    "{}: duplicate port definition with {}",
                    ports.index(place),
                    ports.index(first),
                ));
            }
            seen.push(key);
        }
    }
}

fn annotations(warnings: &mut Vec<String>, holder: &Value, path: &FieldPath) {
    for (name, instead) in [
        (
            "seccomp.security.alpha.kubernetes.io/pod",
            "non-functional in v1.27+; use the \"seccompProfile\" field instead",
        ),
        (
            "scheduler.alpha.kubernetes.io/critical-pod",
            "non-functional in v1.16+; use the \"priorityClassName\" field instead",
        ),
    ] {
        if has(&holder["metadata"]["annotations"], name) {
            let path = path.child("annotations").key(name);
            warnings.push(format!("{path}: {instead}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_hides_something_is_warned_about() {
        let written = json!({"spec": {"containers": [{
            "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
            "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "TCP"}],
            "resources": {"limits": {"memory": "100m"}},
        }]}});
        assert_eq!(
            pod(&written),
            [
                "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
                "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
            ]
        );
    }

    #[test]
    fn a_pod_on_the_hosts_network_is_told_what_it_cannot_reach() {
        let written = json!({"spec": {"hostNetwork": true, "containers": []}});
        assert_eq!(pod(&written).len(), 1);
        let template = json!({"spec": {"template": written}});
        assert!(workload(&template)[0].starts_with("spec.template.spec.hostNetwork: "));
    }

    #[test]
    fn a_usual_pod_has_no_warnings() {
        assert!(pod(&json!({"spec": {"containers": [{"name": "c"}]}})).is_empty());
    }
}
