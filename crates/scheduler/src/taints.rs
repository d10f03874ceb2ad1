//! What keeps pods off a node, and which pods bear it.

use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};

/// The taint of a node that takes no new pods.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// The taint of a node that is not ready.
const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// True when the pod may be placed though the node is marked unschedulable, or the node is not.
pub(crate) fn bears_unschedulable(pod: &Pod, node: &Node) -> bool {
    let is_marked = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    !is_marked || bears(pod, &taint(UNSCHEDULABLE))
}

/// True when the pod bears all taints of the node that forbid new pods. A node that says it is
/// not ready is tainted, whether or not somebody wrote the taint down yet.
pub(crate) fn bears_taints(pod: &Pod, node: &Node) -> bool {
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    let forbids = |taint: &&Taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    let all_borne = taints.iter().filter(forbids).all(|taint| bears(pod, taint));
    all_borne && (is_ready(node) || bears(pod, &taint(NOT_READY)))
}

/// How many taints that advise against new pods the pod does not bear.
pub(crate) fn unborne_advice(pod: &Pod, node: &Node) -> usize {
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    taints
        .iter()
        .filter(|taint| taint.effect == "PreferNoSchedule" && !bears(pod, taint))
        .count()
}

fn taint(key: &str) -> Taint {
    Taint {
        key: key.to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")
        .is_none_or(|ready| ready.status == "True")
}

fn bears(pod: &Pod, taint: &Taint) -> bool {
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.tolerations.as_deref())
        .unwrap_or_default();
    tolerations
        .iter()
        .any(|toleration| tolerates(toleration, taint))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    if !(effect.is_empty() || effect == taint.effect) || !(key.is_empty() || key == taint.key) {
        return false;
    }
    let (has, bound) = (text(&taint.value), text(&toleration.value));
    let numbers = || has.parse::<i64>().ok().zip(bound.parse::<i64>().ok());
    match toleration.operator.as_deref() {
        None | Some("" | "Equal") => !key.is_empty() && has == bound,
        Some("Exists") => true,
        Some("Lt") => numbers().is_some_and(|(has, bound)| has < bound),
        Some("Gt") => numbers().is_some_and(|(has, bound)| has > bound),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(tolerations: &Value) -> Pod {
        let value = json!({"spec": {"containers": [], "tolerations": tolerations}});
        serde_json::from_value(value).expect("a valid pod")
    }

    fn node(value: Value) -> Node {
        serde_json::from_value(value).expect("a valid node")
    }

    #[test]
    fn a_taint_is_borne_by_key_value_and_effect() {
        let tainted = node(
            json!({"spec": {"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]}}),
        );
        let cases = [
            (json!([]), false),
            (json!([{"operator": "Exists"}]), true),
            (json!([{"key": "gpu", "operator": "Exists"}]), true),
            (json!([{"key": "gpu", "value": "yes"}]), true),
            (
                json!([{"key": "gpu", "operator": "Equal", "value": "no"}]),
                false,
            ),
            (
                json!([{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]),
                true,
            ),
            (
                json!([{"key": "gpu", "operator": "Exists", "effect": "NoExecute"}]),
                false,
            ),
            (json!([{"key": "other", "operator": "Exists"}]), false),
        ];
        for (tolerations, expected) in cases {
            assert_eq!(
                bears_taints(&pod(&tolerations), &tainted),
                expected,
                "{tolerations}"
            );
        }
    }

    #[test]
    fn advice_does_not_forbid() {
        let advised =
            node(json!({"spec": {"taints": [{"key": "slow", "effect": "PreferNoSchedule"}]}}));
        assert!(bears_taints(&pod(&json!([])), &advised));
        assert_eq!(unborne_advice(&pod(&json!([])), &advised), 1);
    }

    #[test]
    fn a_node_that_is_cordoned_or_not_ready_takes_only_pods_that_bear_it() {
        let cordoned = node(json!({"spec": {"unschedulable": true}}));
        assert!(!bears_unschedulable(&pod(&json!([])), &cordoned));
        assert!(bears_unschedulable(
            &pod(&json!([{"operator": "Exists"}])),
            &cordoned
        ));
        let sick = node(json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}));
        assert!(!bears_taints(&pod(&json!([])), &sick));
        assert!(bears_taints(
            &pod(&json!([{"key": NOT_READY, "operator": "Exists"}])),
            &sick
        ));
    }
}
