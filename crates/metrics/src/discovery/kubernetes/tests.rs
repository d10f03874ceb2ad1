use serde_json::json;

use super::*;

fn pod(value: serde_json::Value) -> Pod {
    serde_json::from_value(value).expect("a pod")
}

fn web() -> Pod {
    pod(json!({
        "metadata": {"namespace": "shop", "name": "web-1", "uid": "u",
            "labels": {"app.kubernetes.io/name": "web"},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9102"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "r", "controller": true}]},
        "spec": {"nodeName": "n1", "containers": [
            {"name": "app", "image": "web:1", "ports": [{"name": "http", "containerPort": 8080}]},
            {"name": "side", "image": "side:1"}]},
        "status": {"phase": "Running", "podIP": "10.1.0.5", "hostIP": "192.0.2.1",
            "conditions": [{"type": "Ready", "status": "True"}]}
    }))
}

#[test]
fn a_pod_gives_a_target_for_each_port_and_one_for_a_container_without() {
    let group = of_pod(&web());
    let label = |name: &str| group.labels[&meta(name)].as_str();
    assert_eq!(label("pod_label_app_kubernetes_io_name"), "web");
    assert_eq!(label("pod_annotation_prometheus_io_scrape"), "true");
    assert_eq!(label("pod_ready"), "true");
    assert_eq!(label("pod_controller_kind"), "ReplicaSet");
    let addresses: Vec<&str> = group
        .targets
        .iter()
        .map(|target| target[ADDRESS].as_str())
        .collect();
    assert_eq!(addresses, ["10.1.0.5:8080", "10.1.0.5"]);
    assert_eq!(group.targets[0][&meta("pod_container_port_name")], "http");
}

#[test]
fn a_pod_without_an_address_gives_no_target() {
    let mut pending = web();
    pending.status = None;
    assert!(of_pod(&pending).targets.is_empty());
}

#[test]
fn an_endpoint_has_the_labels_of_its_service_and_pod() {
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": {"namespace": "shop", "name": "web-abc"}, "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": ["10.1.0.5"], "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "name": "web-1"}}]
    }))
    .expect("a slice");
    let service: Service = serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "web", "annotations": {"prometheus.io/scrape": "true"}}
        }))
        .expect("a service");
    let pod = |name: &str| (name == "web-1").then(|| Arc::new(web()));
    let group = of_slice(&slice, Some(&service), &pod, false);
    assert_eq!(
        group.labels[&meta("service_annotation_prometheus_io_scrape")],
        "true"
    );
    assert_eq!(group.labels[&meta("endpoints_name")], "web");
    let target = &group.targets[0];
    assert_eq!(target[ADDRESS], "10.1.0.5:8080");
    assert_eq!(target[&meta("endpoint_ready")], "true");
    assert_eq!(target[&meta("pod_name")], "web-1");
    assert_eq!(target[&meta("pod_container_name")], "app");
    assert_eq!(group.targets.len(), 1);
}

#[test]
fn a_port_of_a_pod_that_its_service_does_not_serve_is_a_target_too() {
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": {"namespace": "shop", "name": "web-abc"}, "addressType": "IPv4",
        "ports": [{"name": "web", "port": 80}],
        "endpoints": [{"addresses": ["10.1.0.5"], "targetRef": {"kind": "Pod", "name": "web-1"}}]
    }))
    .expect("a slice");
    let pod = |_: &str| Some(Arc::new(web()));
    let targets = of_slice(&slice, None, &pod, false).targets;
    let addresses: Vec<&str> = targets
        .iter()
        .map(|target| target[ADDRESS].as_str())
        .collect();
    assert_eq!(addresses, ["10.1.0.5:80", "10.1.0.5:8080"]);
    assert_eq!(targets[1][&meta("pod_container_port_number")], "8080");
    assert_eq!(targets[1][&meta("pod_name")], "web-1");
    assert!(!targets[1].contains_key(&meta("endpoint_port_name")));
}

#[test]
fn a_node_is_reached_at_its_internal_address_and_kubelet_port() {
    let node: Node = serde_json::from_value(json!({
            "metadata": {"name": "n1"},
            "status": {"addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "fd00::1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}}
        }))
        .expect("a node");
    let target = &of_node(&node).targets[0];
    assert_eq!(target[ADDRESS], "[fd00::1]:10250");
    assert_eq!(target["instance"], "n1");
    assert_eq!(target[&meta("node_address_Hostname")], "n1");
}
