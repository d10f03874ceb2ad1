//! The decision, from outside: where pods go, and what is said of those that go nowhere.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use springtide_scheduler::{Cluster, Resources, place};

fn node(name: &str, change: &Value) -> Arc<Node> {
    let mut value = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10", "ephemeral-storage": "10Gi"}},
    });
    for (key, part) in change.as_object().into_iter().flatten() {
        value[key] = part.clone();
    }
    Arc::new(serde_json::from_value(value).expect("a valid node"))
}

fn pod(name: &str, requests: &Value, change: &Value) -> Pod {
    let mut value = json!({
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]},
    });
    for (key, part) in change.as_object().into_iter().flatten() {
        value["spec"][key] = part.clone();
    }
    serde_json::from_value(value).expect("a valid pod")
}

fn bound(name: &str, requests: &Value, node: &str) -> Pod {
    pod(name, requests, &json!({"nodeName": node}))
}

/// Nodes, the pods that run on them, a pod to be placed, and what is said of it.
type Case = (Vec<Arc<Node>>, Vec<Pod>, Pod, String);

#[test]
fn a_pod_that_fits_nowhere_is_told_why_in_kubernetes_words() {
    let one = |change: &Value| vec![node("n1", change)];
    let full = [bound("a", &json!({"cpu": "1500m", "memory": "1Gi"}), "n1")];
    let port =
        json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]});
    let with_port = [{
        let mut pod = pod("a", &json!({}), &port);
        pod.spec.as_mut().expect("a spec").node_name = Some("n1".to_owned());
        pod
    }];
    let many: Vec<Pod> = (0..10)
        .map(|n| bound(&n.to_string(), &json!({}), "n1"))
        .collect();
    let not_helpful =
        "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    let no_victims =
        "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";
    let cases: Vec<Case> = vec![
        (vec![], vec![], pod("p", &json!({}), &json!({})), "no nodes available to schedule pods".to_owned()),
        (one(&json!({})), full.to_vec(), pod("p", &json!({"cpu": "1"}), &json!({})),
            format!("0/1 nodes are available: 1 Insufficient cpu. {no_victims}")),
        (one(&json!({})), vec![], pod("p", &json!({"cpu": "3"}), &json!({})),
            format!("0/1 nodes are available: 1 Insufficient cpu. {not_helpful}")),
        (one(&json!({})), full.to_vec(), pod("p", &json!({"cpu": "1", "memory": "4Gi"}), &json!({})),
            format!("0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. {no_victims}")),
        (one(&json!({})), many, pod("p", &json!({}), &json!({})),
            format!("0/1 nodes are available: 1 Too many pods. {no_victims}")),
        (one(&json!({})), vec![], pod("p", &json!({}), &json!({"nodeSelector": {"disk": "ssd"}})),
            format!("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. {not_helpful}")),
        (one(&json!({"spec": {"unschedulable": true}})), vec![], pod("p", &json!({}), &json!({})),
            format!("0/1 nodes are available: 1 node(s) were unschedulable. {not_helpful}")),
        (one(&json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}})), vec![], pod("p", &json!({}), &json!({})),
            format!("0/1 nodes are available: 1 node(s) had untolerated taint(s). {not_helpful}")),
        (one(&json!({})), with_port.to_vec(), pod("p", &json!({}), &port),
            format!("0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. {no_victims}")),
        (one(&json!({})), vec![], pod("p", &json!({"example.com/gpu": "1"}), &json!({})),
            format!("0/1 nodes are available: 1 Insufficient example.com/gpu. {not_helpful}")),
        (one(&json!({})), full.to_vec(), pod("p", &json!({"cpu": "1"}), &json!({"preemptionPolicy": "Never"})),
            "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.".to_owned()),
        (vec![node("n1", &json!({})), node("n2", &json!({"spec": {"unschedulable": true}})), node("n3", &json!({}))],
            full.to_vec(), pod("p", &json!({"cpu": "1900m", "memory": "5Gi"}), &json!({})),
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable, 2 Insufficient memory. \
             preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.".to_owned()),
    ];
    for (nodes, running, pod, expected) in cases {
        let refusal = place(&pod, &Cluster::new(nodes, &running)).expect_err(&expected);
        assert_eq!(refusal.to_string(), expected);
    }
}

#[test]
fn a_pod_goes_where_the_most_room_is_left() {
    let nodes = || {
        vec![
            node("n1", &json!({})),
            node("n2", &json!({})),
            node("n3", &json!({})),
        ]
    };
    let running = [
        bound("a", &json!({"cpu": "1"}), "n1"),
        bound("b", &json!({"cpu": "500m"}), "n3"),
    ];
    let asks = pod("p", &json!({"cpu": "100m"}), &json!({}));
    assert_eq!(
        place(&asks, &Cluster::new(nodes(), &running)).as_deref(),
        Ok("n2")
    );
    assert_eq!(
        place(&asks, &Cluster::new(nodes(), &[])).as_deref(),
        Ok("n1")
    );
}

#[test]
fn preferences_count_before_room() {
    let nodes = vec![
        node(
            "n1",
            &json!({"spec": {"taints": [{"key": "slow", "effect": "PreferNoSchedule"}]}}),
        ),
        node("n2", &json!({})),
        node("n3", &json!({})),
    ];
    let running = [bound("a", &json!({"cpu": "1"}), "n3")];
    let prefers = |name: &str| {
        let term =
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]});
        let preferred = json!([{"weight": 10, "preference": term}]);
        pod(
            "p",
            &json!({}),
            &json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}}),
        )
    };
    let cluster = Cluster::new(nodes, &running);
    assert_eq!(place(&prefers("n3"), &cluster).as_deref(), Ok("n3"));
    assert_eq!(place(&prefers("n9"), &cluster).as_deref(), Ok("n2"));
}

#[test]
fn pods_that_have_ended_use_nothing() {
    let mut ended = bound("a", &json!({"cpu": "2"}), "n1");
    ended.status =
        Some(serde_json::from_value(json!({"phase": "Succeeded"})).expect("a valid status"));
    let asks = pod("p", &json!({"cpu": "2"}), &json!({}));
    assert_eq!(
        place(&asks, &Cluster::new([node("n1", &json!({}))], &[ended])).as_deref(),
        Ok("n1")
    );
}

proptest! {
    /// Whatever pods come, no node gets more than it has, and a pod that is refused fits nowhere.
    #[test]
    fn no_answer_overfills_a_node(
        nodes in prop::collection::vec((0..4000_u32, 0..4000_u32, 0..8_u32), 0..5),
        pods in prop::collection::vec((0..1500_u32, 0..1500_u32), 0..40),
    ) {
        let nodes: Vec<Arc<Node>> = nodes.iter().enumerate().map(|(n, (cpu, memory, pods))| {
            let allocatable = json!({"cpu": format!("{cpu}m"), "memory": format!("{memory}Mi"), "pods": pods.to_string()});
            node(&format!("n{n}"), &json!({"status": {"allocatable": allocatable}}))
        }).collect();
        let mut cluster = Cluster::new(nodes, &[]);
        for (n, (cpu, memory)) in pods.iter().enumerate() {
            let asks = pod(&format!("p{n}"), &json!({"cpu": format!("{cpu}m"), "memory": format!("{memory}Mi")}), &json!({}));
            let asked = Resources::asked_by(&asks);
            match place(&asks, &cluster) {
                Ok(name) => cluster.occupy(&name, &asks),
                Err(_) => {
                    for view in cluster.nodes() {
                        let fits = |name: &str| view.used.get(name) + asked.get(name) <= view.allocatable.get(name);
                        prop_assert!(!(view.pod_count < view.pod_bound && fits("cpu") && fits("memory")),
                            "{} has room", view.node.name_any());
                    }
                }
            }
            for view in cluster.nodes() {
                prop_assert!(view.pod_count <= view.pod_bound);
                for name in ["cpu", "memory"] {
                    prop_assert!(view.used.get(name) <= view.allocatable.get(name));
                }
            }
        }
    }
}
