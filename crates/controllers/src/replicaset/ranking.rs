//! Which pods of a ReplicaSet go first when there are too many.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use springtide_client::pods;

/// Lets users say which pods are cheap to lose: a number, 0 if absent, lower goes first.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Chooses `count` of `active` pods to be deleted, cheapest first. `related` are the active pods
/// of all ReplicaSets of the same owner: of two pods, one whose node has more of them goes first.
pub(super) fn pods_to_delete(
    active: &[Arc<Pod>],
    related: &[Arc<Pod>],
    count: usize,
    now: Timestamp,
) -> Vec<Arc<Pod>> {
    let mut on_node: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in related {
        if let Some(node) = pods::node_name(pod) {
            *on_node.entry(node).or_default() += 1;
        }
    }
    let crowd = |pod: &Pod| {
        pods::node_name(pod)
            .and_then(|node| on_node.get(node))
            .copied()
            .unwrap_or(0)
    };
    let mut ranked: Vec<Arc<Pod>> = active.to_vec();
    ranked.sort_by(|one, other| {
        first_differences(one, other)
            .then_with(|| crowd(other).cmp(&crowd(one)))
            .then_with(|| last_differences(one, other, now))
    });
    ranked.truncate(count);
    ranked
}

/// Unassigned before assigned, pending before running, not ready before ready, cheap before dear.
fn first_differences(one: &Pod, other: &Pod) -> Ordering {
    let phase = |pod: &Pod| match pods::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = |pod: &Pod| {
        pod.annotations()
            .get(DELETION_COST)
            .map_or(0, |text| text.parse::<i32>().unwrap_or(0))
    };
    let key = |pod: &Pod| {
        (
            pods::node_name(pod).is_some(),
            phase(pod),
            pods::is_ready(pod),
            cost(pod),
        )
    };
    key(one).cmp(&key(other))
}

/// Ready for a shorter time, more restarts, younger. Times are compared by their magnitude, so
/// that pods of about one age go in no telling order; the uid decides last, so that every two pods
/// have an order and any three agree on theirs, which sorting needs.
fn last_differences(one: &Pod, other: &Pod, now: Timestamp) -> Ordering {
    let key = |pod: &Pod| {
        let ready = if pods::is_ready(pod) {
            pods::ready_since(pod)
        } else {
            None
        };
        let created = pod.creation_timestamp().map(|time| time.0);
        let age = |time: Option<Timestamp>| time.map(|time| magnitude(time, now));
        (age(ready), restarts(pod), age(created), pod.uid())
    };
    key(one).cmp(&key(other))
}

/// The binary logarithm of a time's age in nanoseconds; -1 for now and the future.
fn magnitude(time: Timestamp, now: Timestamp) -> i64 {
    let age = now.duration_since(time).as_nanos();
    u128::try_from(age)
        .ok()
        .and_then(u128::checked_ilog2)
        .map_or(-1, i64::from)
}

/// The most restarts of a container, then of a sidecar; more sorts first.
fn restarts(pod: &Pod) -> (Reverse<i32>, Reverse<i32>) {
    let Some(status) = &pod.status else {
        return (Reverse(0), Reverse(0));
    };
    let most = |statuses: &[k8s_openapi::api::core::v1::ContainerStatus]| {
        statuses
            .iter()
            .map(|status| status.restart_count)
            .max()
            .unwrap_or(0)
    };
    let spec = pod.spec.as_ref();
    let is_sidecar = |name: &str| {
        let containers = spec
            .and_then(|spec| spec.init_containers.as_deref())
            .unwrap_or_default();
        containers
            .iter()
            .any(|init| init.name == name && init.restart_policy.as_deref() == Some("Always"))
    };
    let init = status
        .init_container_statuses
        .as_deref()
        .unwrap_or_default();
    let (sidecars, regular_init): (Vec<_>, Vec<_>) = init
        .iter()
        .cloned()
        .partition(|status| is_sidecar(&status.name));
    let regular =
        most(status.container_statuses.as_deref().unwrap_or_default()).max(most(&regular_init));
    (Reverse(regular), Reverse(most(&sidecars)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-01-02T12:00:00Z";

    fn pod(name: &str, change: &Value) -> Arc<Pod> {
        let mut value = json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-02T00:00:00Z"},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T00:00:00Z"}],
                "containerStatuses": [],
            },
        });
        json_merge(&mut value, change);
        Arc::new(serde_json::from_value(value).expect("a valid pod"))
    }

    fn json_merge(target: &mut Value, change: &Value) {
        match (target, change) {
            (Value::Object(target), Value::Object(change)) => {
                for (key, value) in change {
                    json_merge(target.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
            (target, change) => *target = change.clone(),
        }
    }

    fn first(pods: &[Arc<Pod>]) -> String {
        let now = NOW.parse().expect("a time");
        pods_to_delete(pods, pods, 1, now)[0].name_any()
    }

    #[test]
    fn the_cheapest_pod_goes_first() {
        let ready_at = |time: &str| json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": time}]}});
        let restarted = |count: i32| {
            json!({"status": {"containerStatuses": [
                {"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": count}]}})
        };
        // The pod named `a` would be chosen by uid; `b` must win by what is listed.
        let cases = [
            (
                "unassigned",
                json!({"spec": {"nodeName": null}}),
                json!({"status": {"phase": "Pending"}}),
            ),
            (
                "pending",
                json!({"status": {"phase": "Pending"}}),
                json!({"status": {"conditions": []}}),
            ),
            (
                "not ready",
                json!({"status": {"conditions": []}}),
                json!({"metadata": {"annotations": {DELETION_COST: "-5"}}}),
            ),
            (
                "cheap",
                json!({"metadata": {"annotations": {DELETION_COST: "-5"}}}),
                ready_at("2026-01-02T11:59:00Z"),
            ),
            (
                "ready for a shorter time",
                ready_at("2026-01-02T11:00:00Z"),
                restarted(7),
            ),
            ("more restarts", restarted(3), restarted(2)),
            (
                "younger",
                json!({"metadata": {"creationTimestamp": "2026-01-02T11:00:00Z"}}),
                json!({}),
            ),
        ];
        for (why, cheaper, dearer) in cases {
            assert_eq!(
                first(&[pod("a", &dearer), pod("b", &cheaper)]),
                "b",
                "{why}"
            );
            assert_eq!(
                first(&[pod("b", &cheaper), pod("a", &dearer)]),
                "b",
                "{why}"
            );
        }
    }

    #[test]
    fn a_pod_on_a_crowded_node_goes_first() {
        let alone = pod("a", &json!({"spec": {"nodeName": "n2"}}));
        let crowded = [pod("b", &json!({})), pod("c", &json!({}))];
        let all = [alone, Arc::clone(&crowded[0]), Arc::clone(&crowded[1])];
        assert_ne!(first(&all), "a");
    }

    #[test]
    fn an_invalid_cost_counts_as_none() {
        let odd = pod(
            "a",
            &json!({"metadata": {"annotations": {DELETION_COST: "cheap"}}}),
        );
        let cheap = pod(
            "b",
            &json!({"metadata": {"annotations": {DELETION_COST: "-1"}}}),
        );
        assert_eq!(first(&[odd, cheap]), "b");
    }

    #[test]
    fn no_more_pods_are_chosen_than_there_are() {
        let pods = [pod("a", &json!({}))];
        assert_eq!(
            pods_to_delete(&pods, &pods, 5, NOW.parse().expect("a time")).len(),
            1
        );
        assert!(pods_to_delete(&pods, &pods, 0, NOW.parse().expect("a time")).is_empty());
    }
    #[test]
    fn any_three_pods_agree_on_their_order() {
        // Two that became ready at once, told apart by restarts, and one of about that age whose uid
        // lies between theirs.
        let ready_at = |time: &str, restarts: i32| {
            json!({"status": {
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": time}],
                "containerStatuses": [
                    {"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": restarts}],
            }})
        };
        let three = [
            pod("c", &ready_at("2026-01-02T11:00:00Z", 2)),
            pod("b", &ready_at("2026-01-02T11:00:01Z", 0)),
            pod("a", &ready_at("2026-01-02T11:00:00Z", 0)),
        ];
        let now = NOW.parse().expect("a time");
        let precedes =
            |one: usize, other: usize| last_differences(&three[one], &three[other], now).is_lt();
        for (one, other, third) in [
            (0, 1, 2),
            (1, 2, 0),
            (2, 0, 1),
            (0, 2, 1),
            (2, 1, 0),
            (1, 0, 2),
        ] {
            if precedes(one, other) && precedes(other, third) {
                assert!(precedes(one, third), "{one} before {other} before {third}");
            }
        }
    }
}
