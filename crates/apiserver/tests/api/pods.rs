//! Pods: admission, binding, graceful deletion, eviction, logs, the node's proxy.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use futures::StreamExt as _;
use http::{Request, StatusCode, Uri};
use serde_json::{Value, json};
use springtide_apiserver::UserInfo;

use crate::harness::{PODS, Server, pod};

async fn bind(server: &Server, name: &str, node: &str) -> crate::harness::Answer {
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": name},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    });
    server
        .post(&format!("{PODS}/{name}/binding"), &binding)
        .await
}

#[tokio::test(start_paused = true)]
async fn a_new_pod_gets_what_admission_gives() {
    let server = Server::start().await;
    let created = server.post(PODS, &pod("web")).await.expect(201);
    let spec = &created["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    assert_eq!(spec["priority"], 0);
    let tolerations = spec["tolerations"].as_array().expect("tolerations");
    assert_eq!(tolerations.len(), 2);
    assert_eq!(tolerations[0]["key"], "node.kubernetes.io/not-ready");
    assert_eq!(tolerations[0]["tolerationSeconds"], 300);
    assert_eq!(created["status"]["phase"], "Pending");
    assert_eq!(created["metadata"]["generation"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_runtime_class_must_exist() {
    let server = Server::start().await;
    let mut body = pod("web");
    body["spec"]["runtimeClassName"] = json!("none");
    assert_eq!(
        server.post(PODS, &body).await.refused(403, "Forbidden"),
        "pods \"web\" is forbidden: pod rejected: RuntimeClass \"none\" not found"
    );
    body["spec"]["runtimeClassName"] = json!("host");
    server.post(PODS, &body).await.expect(201);
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_bound_once() {
    let server = Server::start().await;
    server.post(PODS, &pod("web")).await.expect(201);
    assert_eq!(
        bind(&server, "web", "n1").await.expect(201)["status"],
        "Success"
    );
    let bound = server.get(&format!("{PODS}/web")).await.expect(200);
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    let again = bind(&server, "web", "n2").await.refused(409, "Conflict");
    assert!(
        again.contains("pod web is already assigned to node \"n1\""),
        "{again}"
    );
    bind(&server, "none", "n1").await.refused(404, "NotFound");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_runs_nowhere_goes_at_once() {
    let server = Server::start().await;
    server.post(PODS, &pod("web")).await.expect(201);
    server.delete(&format!("{PODS}/web")).await.expect(200);
    server
        .get(&format!("{PODS}/web"))
        .await
        .refused(404, "NotFound");
}

#[tokio::test(start_paused = true)]
async fn a_pod_on_a_node_has_its_grace_period() {
    let server = Server::start().await;
    let path = format!("{PODS}/web");
    server.post(PODS, &pod("web")).await.expect(201);
    bind(&server, "web", "n1").await.expect(201);
    let leaving = server.delete(&path).await.expect(200);
    let metadata = &leaving["metadata"];
    assert_eq!(metadata["deletionTimestamp"], "2026-01-02T03:04:35Z");
    assert_eq!(metadata["deletionGracePeriodSeconds"], 30);
    assert_eq!(metadata["generation"], 2);
    tokio::time::advance(Duration::from_secs(4)).await;
    let same = server.delete(&path).await.expect(200);
    assert_eq!(same, leaving, "a second delete changes nothing");
    let longer = json!({"gracePeriodSeconds": 60});
    assert_eq!(
        server.delete_with(&path, &longer).await.expect(200),
        leaving
    );
    let shorter = server
        .delete_with(&path, &json!({"gracePeriodSeconds": 10}))
        .await
        .expect(200);
    assert_eq!(
        shorter["metadata"]["deletionTimestamp"],
        "2026-01-02T03:04:15Z"
    );
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 10);
    server
        .delete_with(&path, &json!({"gracePeriodSeconds": 0}))
        .await
        .expect(200);
    server.get(&path).await.refused(404, "NotFound");
}

#[tokio::test(start_paused = true)]
async fn a_finished_pod_goes_at_once() {
    let server = Server::start().await;
    let path = format!("{PODS}/web");
    server.post(PODS, &pod("web")).await.expect(201);
    bind(&server, "web", "n1").await.expect(201);
    let status = json!({"status": {"phase": "Succeeded"}});
    server
        .patch(&format!("{path}/status"), "merge", &status)
        .await
        .expect(200);
    server.delete(&path).await.expect(200);
    server.get(&path).await.refused(404, "NotFound");
}

#[tokio::test(start_paused = true)]
async fn an_eviction_respects_the_disruption_budget() {
    let server = Server::start().await;
    server.post(PODS, &pod("web")).await.expect(201);
    bind(&server, "web", "n1").await.expect(201);
    let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    server
        .patch(&format!("{PODS}/web/status"), "merge", &running)
        .await
        .expect(200);
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    });
    server.post(budgets, &budget).await.expect(201);
    let evict = || async {
        let eviction =
            json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}});
        server
            .post(&format!("{PODS}/web/eviction"), &eviction)
            .await
    };
    let status = |allowed: i64| {
        json!({"status": {"observedGeneration": 1, "disruptionsAllowed": allowed,
            "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}})
    };
    let path = format!("{budgets}/b/status");
    server.patch(&path, "merge", &status(0)).await.expect(200);
    let refused = evict().await;
    assert_eq!(
        refused.refused(429, "TooManyRequests"),
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    assert_eq!(
        refused.value()["details"]["causes"][0]["message"],
        "The disruption budget b needs 1 healthy pods and has 1 currently"
    );
    server.patch(&path, "merge", &status(1)).await.expect(200);
    evict().await.expect(201);
    let left = server.get(&format!("{budgets}/b")).await.expect(200);
    assert_eq!(left["status"]["disruptionsAllowed"], 0);
    let pod = server.get(&format!("{PODS}/web")).await.expect(200);
    assert!(pod["metadata"]["deletionTimestamp"].is_string());
}

/// A kubelet that answers every log with what it was asked, and then, if it is to follow, with
/// a line a second.
fn kubelet() -> Router {
    let logs = get(|uri: Uri| async move {
        let first = Bytes::from(format!("{uri}\n"));
        let follow = uri
            .query()
            .is_some_and(|query| query.contains("follow=true"));
        let later = futures::stream::unfold(0, |line| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((
                Ok::<_, Infallible>(Bytes::from(format!("line {line}\n"))),
                line + 1,
            ))
        });
        let lines = futures::stream::iter([Ok(first)]);
        if follow {
            Body::from_stream(lines.chain(later))
        } else {
            Body::from_stream(lines)
        }
    });
    Router::new()
        .route("/containerLogs/{namespace}/{pod}/{container}", logs)
        .route("/metrics/resource", get(|| async { "container_cpu 1\n" }))
        .route("/fail", get(|| async { (StatusCode::IM_A_TEAPOT, "no") }))
}

#[tokio::test(start_paused = true)]
async fn logs_come_from_the_pods_node() {
    let server = Server::start().await;
    server.post(PODS, &pod("web")).await.expect(201);
    let path = format!("{PODS}/web/log");
    server.get(&path).await.refused(400, "BadRequest");
    bind(&server, "web", "n1").await.expect(201);
    server.get(&path).await.refused(503, "ServiceUnavailable");
    server.api.attach_kubelet("n1", kubelet());
    let answer = server
        .get(&format!("{path}?tailLines=5&timestamps=true"))
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        answer.text,
        "/containerLogs/default/web/main?tailLines=5&timestamps=true\n"
    );
    let refused = server.get(&format!("{path}?container=none")).await;
    assert_eq!(
        refused.refused(400, "BadRequest"),
        "container none is not valid for pod web"
    );
    server
        .get(&format!("{path}?tailLines=-1"))
        .await
        .refused(422, "Invalid");
}

#[tokio::test(start_paused = true)]
async fn a_followed_log_streams_and_ends_with_the_server() {
    let server = Server::start().await;
    server.post(PODS, &pod("web")).await.expect(201);
    bind(&server, "web", "n1").await.expect(201);
    server.api.attach_kubelet("n1", kubelet());
    let request = Request::get(format!("{PODS}/web/log?follow=true"))
        .extension(UserInfo::component("test"))
        .body(Body::empty())
        .expect("request");
    let mut lines = server.send(request).await.into_body().into_data_stream();
    let mut next = async || lines.next().await.map(|line| line.expect("line"));
    assert!(next().await.expect("first").starts_with(b"/containerLogs"));
    assert_eq!(next().await.expect("second"), "line 0\n");
    assert_eq!(next().await.expect("third"), "line 1\n");
    server.api.shut_down();
    assert_eq!(next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_nodes_kubelet_is_reached_through_its_proxy() {
    let server = Server::start().await;
    server.api.attach_kubelet("n1", kubelet());
    let answer = server.get("/api/v1/nodes/n1/proxy/metrics/resource").await;
    assert_eq!(answer.text, "container_cpu 1\n");
    let failed = server.get("/api/v1/nodes/n1/proxy/fail").await;
    assert_eq!((failed.status.as_u16(), failed.text.as_str()), (418, "no"));
    server
        .get("/api/v1/nodes/n2/proxy/healthz")
        .await
        .refused(503, "ServiceUnavailable");
}

#[tokio::test(start_paused = true)]
async fn a_pods_spec_is_fixed_but_for_its_images() {
    let server = Server::start().await;
    let path = format!("{PODS}/web");
    server.post(PODS, &pod("web")).await.expect(201);
    let image = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "nginx"}]);
    server.patch(&path, "json", &image).await.expect(200);
    let command = json!([{"op": "add", "path": "/spec/containers/0/command", "value": ["x"]}]);
    server
        .patch(&path, "json", &command)
        .await
        .refused(422, "Invalid");
    let read: Value = server.get(&path).await.expect(200);
    assert_eq!(read["spec"]["containers"][0]["image"], "nginx");
}
