use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

fn object<T: DeserializeOwned>(value: Value) -> Vec<Arc<T>> {
    vec![Arc::new(serde_json::from_value(value).expect("an object"))]
}

fn told(objects: &Objects) -> String {
    let mut text = Text::default();
    write(objects, &mut text);
    text.into_string()
}

fn assert_lines(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(
            text.lines().any(|found| found == *line),
            "missing: {line}\n{text}"
        );
    }
}

#[test]
fn nothing_is_said_of_nothing() {
    assert_eq!(told(&Objects::default()), "");
}

#[test]
fn a_pod_that_crashes_tells_of_its_restarts_reasons_and_resources() {
    let text = told(&Objects {
        pods: object(json!({
            "metadata": {"namespace": "shop", "name": "web-1", "uid": "u", "creationTimestamp": "2026-01-02T03:04:05Z",
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "r", "controller": true}]},
            "spec": {"nodeName": "n", "containers": [{"name": "app", "image": "web:1",
                "resources": {"requests": {"cpu": "250m", "memory": "1Ki"}, "limits": {"cpu": "1"}}}]},
            "status": {"phase": "Running", "podIP": "10.0.0.7", "hostIP": "10.0.0.1", "qosClass": "Burstable",
                "conditions": [{"type": "Ready", "status": "False"}],
                "containerStatuses": [{"name": "app", "image": "web:1", "imageID": "i", "ready": false, "restartCount": 7,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"exitCode": 3, "reason": "Error", "finishedAt": "2026-01-02T03:04:06Z"}}}]}
        })),
        ..Objects::default()
    });
    assert_lines(
        &text,
        &[
            r#"# TYPE kube_pod_container_status_restarts_total counter"#,
            r#"kube_pod_info{namespace="shop",pod="web-1",uid="u",host_ip="10.0.0.1",pod_ip="10.0.0.7",node="n",created_by_kind="ReplicaSet",created_by_name="web",priority_class="",host_network="false"} 1"#,
            r#"kube_pod_owner{namespace="shop",pod="web-1",uid="u",owner_kind="ReplicaSet",owner_name="web",owner_is_controller="true"} 1"#,
            r#"kube_pod_created{namespace="shop",pod="web-1",uid="u"} 1767323045"#,
            r#"kube_pod_status_phase{namespace="shop",pod="web-1",uid="u",phase="Running"} 1"#,
            r#"kube_pod_status_phase{namespace="shop",pod="web-1",uid="u",phase="Pending"} 0"#,
            r#"kube_pod_status_ready{namespace="shop",pod="web-1",uid="u",condition="false"} 1"#,
            r#"kube_pod_container_status_restarts_total{namespace="shop",pod="web-1",uid="u",container="app"} 7"#,
            r#"kube_pod_container_status_waiting_reason{namespace="shop",pod="web-1",uid="u",container="app",reason="CrashLoopBackOff"} 1"#,
            r#"kube_pod_container_status_last_terminated_reason{namespace="shop",pod="web-1",uid="u",container="app",reason="Error"} 1"#,
            r#"kube_pod_container_status_last_terminated_exitcode{namespace="shop",pod="web-1",uid="u",container="app"} 3"#,
            r#"kube_pod_container_resource_requests{namespace="shop",pod="web-1",uid="u",container="app",node="n",resource="cpu",unit="core"} 0.25"#,
            r#"kube_pod_container_resource_requests{namespace="shop",pod="web-1",uid="u",container="app",node="n",resource="memory",unit="byte"} 1024"#,
            r#"kube_pod_container_resource_limits{namespace="shop",pod="web-1",uid="u",container="app",node="n",resource="cpu",unit="core"} 1"#,
        ],
    );
}

#[test]
fn a_deployment_and_its_autoscaler_tell_what_is_wanted_and_what_is() {
    let text = told(&Objects {
        deployments: object(json!({
            "metadata": {"namespace": "shop", "name": "web", "generation": 4},
            "spec": {"replicas": 5, "selector": {}, "template": {},
                "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}},
            "status": {"replicas": 5, "readyReplicas": 3, "availableReplicas": 3, "updatedReplicas": 5, "observedGeneration": 4,
                "conditions": [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"}]}
        })),
        autoscalers: object(json!({
            "metadata": {"namespace": "shop", "name": "web"},
            "spec": {"maxReplicas": 10, "minReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
                    {"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "1500m"}}}]},
            "status": {"currentReplicas": 5, "desiredReplicas": 10, "currentMetrics": [], "conditions": [{"type": "ScalingLimited", "status": "True"}]}
        })),
        ..Objects::default()
    });
    assert_lines(
        &text,
        &[
            r#"kube_deployment_spec_replicas{namespace="shop",deployment="web"} 5"#,
            r#"kube_deployment_status_replicas_ready{namespace="shop",deployment="web"} 3"#,
            r#"kube_deployment_status_replicas_unavailable{namespace="shop",deployment="web"} 0"#,
            r#"kube_deployment_spec_strategy_rollingupdate_max_surge{namespace="shop",deployment="web"} 2"#,
            r#"kube_deployment_spec_strategy_rollingupdate_max_unavailable{namespace="shop",deployment="web"} 1"#,
            r#"kube_deployment_status_condition{namespace="shop",deployment="web",reason="MinimumReplicasAvailable",condition="Available",status="true"} 1"#,
            r#"kube_horizontalpodautoscaler_spec_max_replicas{namespace="shop",horizontalpodautoscaler="web"} 10"#,
            r#"kube_horizontalpodautoscaler_status_desired_replicas{namespace="shop",horizontalpodautoscaler="web"} 10"#,
            r#"kube_horizontalpodautoscaler_spec_target_metric{namespace="shop",horizontalpodautoscaler="web",metric_name="cpu",metric_target_type="utilization"} 70"#,
            r#"kube_horizontalpodautoscaler_spec_target_metric{namespace="shop",horizontalpodautoscaler="web",metric_name="rps",metric_target_type="average"} 1.5"#,
            r#"kube_horizontalpodautoscaler_status_condition{namespace="shop",horizontalpodautoscaler="web",condition="ScalingLimited",status="true"} 1"#,
        ],
    );
}

#[test]
fn nodes_services_and_configuration_are_told_of() {
    let text = told(&Objects {
        nodes: object(json!({
            "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
            "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]},
            "status": {"capacity": {"cpu": "2", "hugepages-2Mi": "0", "pods": "110"}, "conditions": [{"type": "Ready", "status": "True"}]}
        })),
        services: object(json!({
            "metadata": {"namespace": "shop", "name": "web", "uid": "s"},
            "spec": {"clusterIP": "10.96.0.9", "type": "NodePort"}
        })),
        endpoints: object(json!({
            "metadata": {"namespace": "shop", "name": "web"},
            "subsets": [{"addresses": [{"ip": "10.0.0.7"}, {"ip": "10.0.0.8"}], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}]
        })),
        namespaces: object(json!({"metadata": {"name": "shop"}, "status": {"phase": "Active"}})),
        secrets: object(json!({"metadata": {"namespace": "shop", "name": "s"}, "type": "Opaque"})),
        config_maps: object(
            json!({"metadata": {"namespace": "shop", "name": "c", "resourceVersion": "12"}}),
        ),
        ..Objects::default()
    });
    assert_lines(
        &text,
        &[
            r#"kube_node_role{node="n",role="control-plane"} 1"#,
            r#"kube_node_spec_taint{node="n",key="k",value="",effect="NoSchedule"} 1"#,
            r#"kube_node_status_condition{node="n",condition="Ready",status="true"} 1"#,
            r#"kube_node_status_capacity{node="n",resource="hugepages_2Mi",unit="byte"} 0"#,
            r#"kube_node_status_capacity{node="n",resource="pods",unit="integer"} 110"#,
            r#"kube_service_spec_type{namespace="shop",service="web",uid="s",type="NodePort"} 1"#,
            r#"kube_endpoint_address_available{namespace="shop",endpoint="web"} 2"#,
            r#"kube_endpoint_address{namespace="shop",endpoint="web",ip="10.0.0.8",port_protocol="TCP",port_number="80",port_name="http",ready="true"} 1"#,
            r#"kube_namespace_status_phase{namespace="shop",phase="Active"} 1"#,
            r#"kube_secret_type{namespace="shop",secret="s",type="Opaque"} 1"#,
            r#"kube_configmap_metadata_resource_version{namespace="shop",configmap="c"} 12"#,
        ],
    );
}
