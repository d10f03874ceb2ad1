//! What a new pod gets: a service account, tolerations, its class's overhead, its priority.

use serde_json::{Value, json};
use springtide_machinery::error::ApiError;
use springtide_store::Key;

use crate::api::Api;
use crate::encode;
use crate::routes::Route;
use crate::write::metadata_text;

/// How long a pod stays on a node that is not ready or not reachable, in seconds.
const TOLERATION_SECONDS: i64 = 300;
const TOLERATED: [&str; 2] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
];
/// The priority classes that are always there.
const SYSTEM_CLASSES: [(&str, i64); 2] = [
    ("system-cluster-critical", 2_000_000_000),
    ("system-node-critical", 2_000_001_000),
];

/// Fills in a new pod.
pub(crate) fn on_create(api: &Api, route: &Route, pod: &mut Value) -> Result<(), ApiError> {
    if !pod["spec"].is_object() {
        // Validation says so.
        return Ok(());
    }
    set_service_account(&mut pod["spec"]);
    set_tolerations(&mut pod["spec"]);
    set_priority(route, pod)?;
    apply_runtime_class(api, route, pod)
}

fn set_service_account(spec: &mut Value) {
    let given = spec["serviceAccountName"].as_str().unwrap_or_default();
    let name = if given.is_empty() { "default" } else { given }.to_owned();
    spec["serviceAccountName"] = name.clone().into();
    // The old name of the field says the same.
    spec["serviceAccount"] = name.into();
}

fn set_tolerations(spec: &mut Value) {
    let mut tolerations = spec["tolerations"].as_array().cloned().unwrap_or_default();
    for key in TOLERATED {
        let covered = tolerations.iter().any(|toleration| {
            let toleration_key = toleration["key"].as_str().unwrap_or_default();
            let effect = toleration["effect"].as_str().unwrap_or_default();
            (toleration_key.is_empty() || toleration_key == key)
                && (effect.is_empty() || effect == "NoExecute")
        });
        if !covered {
            tolerations.push(json!({
                "key": key,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": TOLERATION_SECONDS,
            }));
        }
    }
    spec["tolerations"] = tolerations.into();
}

fn set_priority(route: &Route, pod: &mut Value) -> Result<(), ApiError> {
    let class = pod["spec"]["priorityClassName"]
        .as_str()
        .unwrap_or_default();
    let priority = if class.is_empty() {
        0
    } else {
        let known = SYSTEM_CLASSES.iter().find(|(name, _)| *name == class);
        let Some((_, priority)) = known else {
            return Err(ApiError::forbidden(
                route.group_resource(),
                metadata_text(pod, "name"),
                format!("no PriorityClass with name {class} was found"),
            ));
        };
        *priority
    };
    let spec = &mut pod["spec"];
    spec["priority"] = priority.into();
    if spec["preemptionPolicy"].is_null() {
        spec["preemptionPolicy"] = "PreemptLowerPriority".into();
    }
    Ok(())
}

fn apply_runtime_class(api: &Api, route: &Route, pod: &mut Value) -> Result<(), ApiError> {
    let class = pod["spec"]["runtimeClassName"].as_str().unwrap_or_default();
    if class.is_empty() {
        return Ok(());
    }
    let key = Key::new("node.k8s.io/runtimeclasses", "", class);
    let Some(stored) = api.store.get(&key) else {
        return Err(ApiError::forbidden(
            route.group_resource(),
            metadata_text(pod, "name"),
            format!("pod rejected: RuntimeClass {class:?} not found"),
        ));
    };
    let runtime_class = encode::parse(&stored.bytes);
    let overhead = &runtime_class["overhead"]["podFixed"];
    if !overhead.is_null() {
        let own = &pod["spec"]["overhead"];
        if !own.is_null() && own != overhead {
            return Err(ApiError::forbidden(
                route.group_resource(),
                metadata_text(pod, "name"),
                "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
            ));
        }
        pod["spec"]["overhead"] = overhead.clone();
    }
    let scheduling = &runtime_class["scheduling"];
    if let Some(selector) = scheduling["nodeSelector"].as_object() {
        for (label, value) in selector {
            let own = &pod["spec"]["nodeSelector"][label];
            if !own.is_null() && own != value {
                return Err(ApiError::forbidden(
                    route.group_resource(),
                    metadata_text(pod, "name"),
                    "pod rejected: conflict: runtimeClass.scheduling.nodeSelector and pod.spec.nodeSelector differ",
                ));
            }
            if !pod["spec"]["nodeSelector"].is_object() {
                pod["spec"]["nodeSelector"] = json!({});
            }
            pod["spec"]["nodeSelector"][label] = value.clone();
        }
    }
    if let Some(more) = scheduling["tolerations"].as_array() {
        let mut tolerations = pod["spec"]["tolerations"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        for toleration in more {
            if !tolerations.contains(toleration) {
                tolerations.push(toleration.clone());
            }
        }
        pod["spec"]["tolerations"] = tolerations.into();
    }
    Ok(())
}
