//! Deletes: preconditions, finalizers, propagation, collections.

use serde_json::{Value, json};

use crate::harness::{CONFIG_MAPS, DEPLOYMENTS, SERVICES, Server, config_map, deployment};

#[tokio::test(start_paused = true)]
async fn a_delete_answers_with_what_is_gone() {
    let server = Server::start().await;
    let created = server
        .post(CONFIG_MAPS, &config_map("a", "1"))
        .await
        .expect(201);
    let path = format!("{CONFIG_MAPS}/a");
    let status = server.delete(&path).await.expect(200);
    assert_eq!(status["status"], "Success");
    assert_eq!(status["details"]["name"], "a");
    assert_eq!(status["details"]["kind"], "configmaps");
    assert_eq!(status["details"]["uid"], created["metadata"]["uid"]);
    server.delete(&path).await.refused(404, "NotFound");
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"ports": [{"port": 80}]}});
    server.post(SERVICES, &service).await.expect(201);
    let gone = server.delete(&format!("{SERVICES}/s")).await.expect(200);
    assert_eq!(gone["kind"], "Service");
}

#[tokio::test(start_paused = true)]
async fn preconditions_must_hold() {
    let server = Server::start().await;
    let created = server
        .post(CONFIG_MAPS, &config_map("a", "1"))
        .await
        .expect(201);
    let path = format!("{CONFIG_MAPS}/a");
    let with = |field: &str, value: Value| json!({"preconditions": {field: value}});
    let wrong = server.delete_with(&path, &with("uid", json!("x"))).await;
    wrong.refused(409, "Conflict");
    let wrong = server
        .delete_with(&path, &with("resourceVersion", json!("1")))
        .await;
    wrong.refused(409, "Conflict");
    let right = with("uid", created["metadata"]["uid"].clone());
    server.delete_with(&path, &right).await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn an_object_with_finalizers_lingers_until_they_are_done() {
    let server = Server::start().await;
    let mut body = config_map("a", "1");
    body["metadata"]["finalizers"] = json!(["example.com/clean"]);
    server.post(CONFIG_MAPS, &body).await.expect(201);
    let path = format!("{CONFIG_MAPS}/a");
    let lingering = server.delete(&path).await.expect(200);
    assert_eq!(lingering["kind"], "ConfigMap");
    assert_eq!(
        lingering["metadata"]["deletionTimestamp"],
        "2026-01-02T03:04:05Z"
    );
    assert_eq!(lingering["metadata"]["deletionGracePeriodSeconds"], 0);
    let again = server.delete(&path).await.expect(200);
    assert_eq!(again, lingering, "a second delete changes nothing");

    let more = json!({"metadata": {"finalizers": ["example.com/clean", "example.com/more"]}});
    let refused = server
        .patch(&path, "merge", &more)
        .await
        .refused(422, "Invalid");
    assert!(
        refused.contains("no new finalizers can be added"),
        "{refused}"
    );
    let undo = json!({"metadata": {"deletionTimestamp": null}});
    let kept = server.patch(&path, "merge", &undo).await.expect(200);
    assert!(kept["metadata"]["deletionTimestamp"].is_string());

    let done = json!({"metadata": {"finalizers": null}});
    server.patch(&path, "merge", &done).await.expect(200);
    server.get(&path).await.refused(404, "NotFound");
}

#[tokio::test(start_paused = true)]
async fn propagation_is_left_to_the_garbage_collector_as_finalizers() {
    let server = Server::start().await;
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        let name = policy.to_lowercase();
        server
            .post(DEPLOYMENTS, &deployment(&name, 1))
            .await
            .expect(201);
        let path = format!("{DEPLOYMENTS}/{name}");
        let options =
            json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
        let lingering = server.delete_with(&path, &options).await.expect(200);
        assert_eq!(lingering["metadata"]["finalizers"], json!([finalizer]));
        assert!(lingering["metadata"]["deletionTimestamp"].is_string());
        assert_eq!(lingering["metadata"]["generation"], 2);
    }
    server
        .post(DEPLOYMENTS, &deployment("plain", 1))
        .await
        .expect(201);
    let path = format!("{DEPLOYMENTS}/plain?propagationPolicy=Background");
    server.delete(&path).await.expect(200);
    server
        .get(&format!("{DEPLOYMENTS}/plain"))
        .await
        .refused(404, "NotFound");
    let wrong = server
        .delete(&format!("{DEPLOYMENTS}/plain?propagationPolicy=Maybe"))
        .await;
    wrong.refused(422, "Invalid");
}

#[tokio::test(start_paused = true)]
async fn a_collection_is_deleted_by_selector() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        let mut body = config_map(name, "1");
        body["metadata"]["labels"] = json!({"keep": (name == "b").to_string()});
        server.post(CONFIG_MAPS, &body).await.expect(201);
    }
    let path = format!("{CONFIG_MAPS}?labelSelector=keep%3Dfalse");
    let deleted = server.delete(&path).await.expect(200);
    assert_eq!(deleted["items"].as_array().expect("items").len(), 2);
    let left = server.get(CONFIG_MAPS).await.expect(200);
    assert_eq!(left["items"].as_array().expect("items").len(), 1);
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
}
