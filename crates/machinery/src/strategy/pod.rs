//! Pods: phase, quality of service, what may change, how long they may take to end.

use serde_json::{Value, json};

use super::generation::{next, update_plain};
use crate::members::{ensure, integer, is_true, items, items_mut, restore, text};
use crate::quantity::Quantity;
use crate::registry::Part;

pub(super) fn create(pod: &mut Value) {
    let class = quality_of_service(pod);
    pod["status"] = json!({"phase": "Pending", "qosClass": class});
    ensure(pod, "metadata")["generation"] = json!(1);
}

pub(super) fn update(pod: &mut Value, old: &Value, part: Part) {
    match part {
        Part::Main => {}
        Part::Status => {
            for name in ["deletionTimestamp", "ownerReferences"] {
                restore(ensure(pod, "metadata"), name, &old["metadata"]);
            }
            if text(&pod["status"], "qosClass").is_empty() {
                restore(ensure(pod, "status"), "qosClass", &old["status"]);
            }
        }
        Part::EphemeralContainers => {
            let mut spec = old["spec"].clone();
            restore(&mut spec, "ephemeralContainers", &pod["spec"]);
            pod["spec"] = spec;
        }
        Part::Resize => {
            let mut spec = old["spec"].clone();
            for list in ["containers", "initContainers"] {
                for container in items_mut(&mut spec, list) {
                    let name = text(container, "name").to_owned();
                    let wanted =
                        items(&pod["spec"], list).find(|other| text(other, "name") == name);
                    if let Some(wanted) = wanted {
                        restore(container, "resources", wanted);
                        restore(container, "resizePolicy", wanted);
                    }
                }
            }
            pod["spec"] = spec;
        }
        Part::Finalize => pod["spec"] = old["spec"].clone(),
    }
    update_plain(pod, old, part);
    if pod["spec"] != old["spec"] {
        next(pod, old);
    }
}

/// Guaranteed, Burstable or BestEffort, by the requests and limits of all containers.
fn quality_of_service(pod: &Value) -> &'static str {
    let amount = |container: &Value, list: &str, name: &str| {
        Quantity::from_json(&container["resources"][list][name])
            .ok()
            .filter(|amount| !amount.is_zero())
    };
    let mut any = false;
    let mut guaranteed = true;
    for list in ["containers", "initContainers"] {
        for container in items(&pod["spec"], list) {
            for resource in ["cpu", "memory"] {
                let request = amount(container, "requests", resource);
                let limit = amount(container, "limits", resource);
                any |= request.is_some() || limit.is_some();
                guaranteed &= limit.is_some() && request == limit;
            }
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// What a field selector can ask of pods.
pub(super) fn fields(pod: &Value) -> Vec<(&'static str, String)> {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let host_network = is_true(spec, "hostNetwork");
    vec![
        ("spec.nodeName", text(spec, "nodeName").to_owned()),
        ("spec.restartPolicy", text(spec, "restartPolicy").to_owned()),
        ("spec.schedulerName", text(spec, "schedulerName").to_owned()),
        (
            "spec.serviceAccountName",
            text(spec, "serviceAccountName").to_owned(),
        ),
        ("spec.hostNetwork", host_network.to_string()),
        ("status.phase", text(status, "phase").to_owned()),
        ("status.podIP", text(status, "podIP").to_owned()),
        (
            "status.nominatedNodeName",
            text(status, "nominatedNodeName").to_owned(),
        ),
    ]
}

/// Seconds until a deleted pod is killed: 0 for one that does not run.
pub(super) fn grace_seconds(pod: &Value, requested: Option<i64>) -> Option<i64> {
    let own = integer(&pod["spec"], "terminationGracePeriodSeconds").unwrap_or(0);
    let is_scheduled = !text(&pod["spec"], "nodeName").is_empty();
    let has_ended = ["Failed", "Succeeded"].contains(&text(&pod["status"], "phase"));
    let seconds = requested.unwrap_or(own);
    Some(if !is_scheduled || has_ended {
        0
    } else if seconds < 0 {
        1
    } else {
        seconds
    })
}

#[cfg(test)]
// Literals are easier to read where they need no reference.
#[allow(clippy::needless_pass_by_value)]
mod tests {
    use super::*;

    fn class(containers: Value) -> &'static str {
        quality_of_service(&json!({"spec": {"containers": containers}}))
    }

    #[test]
    fn the_class_follows_requests_and_limits() {
        let full = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(class(json!([{}])), "BestEffort");
        assert_eq!(
            class(
                json!([{"resources": {"limits": full, "requests": {"cpu": "1000m", "memory": "1024Mi"}}}])
            ),
            "Guaranteed"
        );
        assert_eq!(
            class(json!([{"resources": {"limits": full, "requests": full}}, {}])),
            "Burstable"
        );
        assert_eq!(
            class(json!([{"resources": {"requests": {"cpu": "100m"}}}])),
            "Burstable"
        );
    }

    #[test]
    fn only_a_running_pod_lingers() {
        let pod = |node: &str, phase: &str| json!({"spec": {"nodeName": node, "terminationGracePeriodSeconds": 30}, "status": {"phase": phase}});
        assert_eq!(grace_seconds(&pod("n", "Running"), None), Some(30));
        assert_eq!(grace_seconds(&pod("n", "Running"), Some(5)), Some(5));
        assert_eq!(grace_seconds(&pod("n", "Running"), Some(-1)), Some(1));
        assert_eq!(grace_seconds(&pod("", "Pending"), Some(5)), Some(0));
        assert_eq!(grace_seconds(&pod("n", "Succeeded"), None), Some(0));
    }

    #[test]
    fn a_resize_changes_resources_alone() {
        let old = json!({"metadata": {"generation": 1}, "spec": {"containers": [{"name": "c", "image": "a"}]}, "status": {}});
        let mut new = json!({"metadata": {}, "spec": {"containers": [{"name": "c", "image": "b", "resources": {"limits": {"cpu": "1"}}}]}});
        update(&mut new, &old, Part::Resize);
        assert_eq!(
            new["spec"]["containers"],
            json!([{"name": "c", "image": "a", "resources": {"limits": {"cpu": "1"}}}])
        );
        assert_eq!(new["metadata"]["generation"], 2);
    }
}
