//! Creates, reads, updates and patches.

use axum::body::Body;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{CONFIG_MAPS, DEPLOYMENTS, Server, config_map, deployment};

#[tokio::test(start_paused = true)]
async fn an_object_is_created_and_read_back() {
    let server = Server::start().await;
    let created = server
        .post(CONFIG_MAPS, &config_map("a", "1"))
        .await
        .expect(201);
    let metadata = &created["metadata"];
    assert_eq!(metadata["namespace"], "default");
    assert_eq!(metadata["creationTimestamp"], "2026-01-02T03:04:05Z");
    assert_eq!(metadata["uid"].as_str().expect("uid").len(), 36);
    assert_ne!(metadata["resourceVersion"], "0");
    let read = server.get(&format!("{CONFIG_MAPS}/a")).await.expect(200);
    assert_eq!(read, created);
    let again = server.post(CONFIG_MAPS, &config_map("a", "2")).await;
    assert_eq!(
        again.refused(409, "AlreadyExists"),
        "configmaps \"a\" already exists"
    );
    let missing = server.get(&format!("{CONFIG_MAPS}/b")).await;
    assert_eq!(
        missing.refused(404, "NotFound"),
        "configmaps \"b\" not found"
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_is_drawn_from_a_prefix() {
    let server = Server::start().await;
    let mut body = config_map("", "1");
    body["metadata"] = json!({"generateName": "run-"});
    let created = server.post(CONFIG_MAPS, &body).await.expect(201);
    let name = created["metadata"]["name"].as_str().expect("name");
    assert!(name.starts_with("run-") && name.len() == 9, "{name}");
    server
        .get(&format!("{CONFIG_MAPS}/{name}"))
        .await
        .expect(200);
}

#[tokio::test(start_paused = true)]
async fn a_namespace_must_exist_and_match() {
    let server = Server::start().await;
    let path = "/api/v1/namespaces/nowhere/configmaps";
    let missing = server.post(path, &config_map("a", "1")).await;
    assert_eq!(
        missing.refused(404, "NotFound"),
        "namespaces \"nowhere\" not found"
    );
    let mut other = config_map("a", "1");
    other["metadata"]["namespace"] = json!("kube-system");
    server
        .post(CONFIG_MAPS, &other)
        .await
        .refused(400, "BadRequest");
}

#[tokio::test(start_paused = true)]
async fn a_terminating_namespace_takes_nothing_new_and_goes_when_finalized() {
    let server = Server::start().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    let created = server
        .post("/api/v1/namespaces", &namespace)
        .await
        .expect(201);
    assert_eq!(
        created["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "shop"
    );
    let deleted = server.delete("/api/v1/namespaces/shop").await.expect(200);
    assert_eq!(deleted["status"]["phase"], "Terminating");
    let path = "/api/v1/namespaces/shop/configmaps";
    let refused = server.post(path, &config_map("a", "1")).await;
    assert_eq!(
        refused.refused(403, "Forbidden"),
        "configmaps \"a\" is forbidden: unable to create new content in namespace shop because it is being terminated"
    );
    let cause = &refused.value()["details"]["causes"][0];
    assert_eq!(cause["reason"], "NamespaceTerminating");

    let mut last = server.get("/api/v1/namespaces/shop").await.expect(200);
    last["spec"]["finalizers"] = json!([]);
    server
        .put("/api/v1/namespaces/shop/finalize", &last)
        .await
        .expect(200);
    server
        .get("/api/v1/namespaces/shop")
        .await
        .refused(404, "NotFound");
    let kept = server.delete("/api/v1/namespaces/default").await;
    kept.refused(403, "Forbidden");
}

#[tokio::test(start_paused = true)]
async fn an_update_needs_the_newest_revision_and_changes_nothing_without_a_change() {
    let server = Server::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    let first = server
        .post(CONFIG_MAPS, &config_map("a", "1"))
        .await
        .expect(201);
    let same = server.put(&path, &first).await.expect(200);
    assert_eq!(same, first, "no change, no new revision");

    let mut second = first.clone();
    second["data"]["key"] = json!("2");
    let updated = server.put(&path, &second).await.expect(200);
    assert_ne!(
        updated["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    let stale = server.put(&path, &second).await;
    assert!(
        stale
            .refused(409, "Conflict")
            .contains("the object has been modified")
    );

    let unconditional = server.put(&path, &config_map("a", "3")).await.expect(200);
    assert_eq!(unconditional["data"]["key"], "3");
    assert_eq!(unconditional["metadata"]["uid"], first["metadata"]["uid"]);

    let mut foreign = config_map("a", "4");
    foreign["metadata"]["uid"] = json!("someone-else");
    server.put(&path, &foreign).await.refused(409, "Conflict");
    let other_name = server.put(&path, &config_map("b", "4")).await;
    other_name.refused(400, "BadRequest");
    let missing = server
        .put(&format!("{CONFIG_MAPS}/z"), &config_map("z", "1"))
        .await;
    missing.refused(404, "NotFound");
}

#[tokio::test(start_paused = true)]
async fn the_three_patches_apply() {
    let server = Server::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    let created = server
        .post(DEPLOYMENTS, &deployment("web", 1))
        .await
        .expect(201);
    assert_eq!(created["metadata"]["generation"], 1);

    let merged = server
        .patch(
            &path,
            "merge",
            &json!({"metadata": {"labels": {"tier": "front"}}}),
        )
        .await
        .expect(200);
    assert_eq!(merged["metadata"]["labels"]["tier"], "front");
    assert_eq!(merged["metadata"]["generation"], 1, "labels are no spec");

    let operations = json!([{"op": "replace", "path": "/spec/replicas", "value": 3}]);
    let json_patched = server.patch(&path, "json", &operations).await.expect(200);
    assert_eq!(json_patched["spec"]["replicas"], 3);
    assert_eq!(json_patched["metadata"]["generation"], 2);

    let strategic = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "main", "image": "nginx"},
        {"name": "side", "image": "envoy"},
    ]}}}});
    let patched = server
        .patch(&path, "strategic-merge", &strategic)
        .await
        .expect(200);
    let containers = patched["spec"]["template"]["spec"]["containers"].as_array();
    let images: Vec<&Value> = containers
        .expect("list")
        .iter()
        .map(|one| &one["image"])
        .collect();
    assert_eq!(images.len(), 2, "merged by name");
    assert!(images.contains(&&json!("nginx")) && images.contains(&&json!("envoy")));

    let stale = json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 9}});
    server
        .patch(&path, "merge", &stale)
        .await
        .refused(409, "Conflict");
    let failing = json!([{"op": "test", "path": "/spec/replicas", "value": 99}]);
    assert_eq!(server.patch(&path, "json", &failing).await.status, 422);
    let apply = server.call(
        Method::PATCH,
        &path,
        &[("content-type", "application/apply-patch+yaml")],
        "{}",
    );
    apply.await.refused(415, "UnsupportedMediaType");
}

#[tokio::test(start_paused = true)]
async fn unknown_and_duplicate_fields_are_refused_warned_of_or_dropped() {
    let server = Server::start().await;
    let body = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"dta":{"x":"y"},"data":{"k":"1","k":"2"}}"#;
    let send = |how: &'static str| {
        let path = format!("{CONFIG_MAPS}?dryRun=All&fieldValidation={how}");
        let server = &server;
        async move { server.call(Method::POST, &path, &[], body).await }
    };
    let strict = send("Strict").await.refused(400, "BadRequest");
    assert!(strict.contains("strict decoding error"), "{strict}");
    assert!(strict.contains(r#"unknown field "dta""#), "{strict}");
    assert!(strict.contains(r#"duplicate field "data.k""#), "{strict}");

    let warned = send("Warn").await;
    let object = warned.expect(201);
    assert_eq!(object["dta"], Value::Null);
    assert_eq!(object["data"]["k"], "2");
    assert_eq!(warned.warnings().len(), 2, "{:?}", warned.warnings());
    assert!(send("Ignore").await.warnings().is_empty());

    let wrong_type =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": 7});
    server
        .post(CONFIG_MAPS, &wrong_type)
        .await
        .refused(400, "BadRequest");
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_answers_as_if_and_stores_nothing() {
    let server = Server::start().await;
    let path = format!("{CONFIG_MAPS}?dryRun=All");
    let before = server.store.revision();
    let shown = server.post(&path, &config_map("a", "1")).await.expect(201);
    assert_eq!(shown["data"]["key"], "1");
    assert_eq!(server.store.revision(), before);
    server
        .get(&format!("{CONFIG_MAPS}/a"))
        .await
        .refused(404, "NotFound");

    server
        .post(CONFIG_MAPS, &config_map("a", "1"))
        .await
        .expect(201);
    let one = format!("{CONFIG_MAPS}/a?dryRun=All");
    let shown = server.put(&one, &config_map("a", "2")).await.expect(200);
    assert_eq!(shown["data"]["key"], "2");
    server.delete(&one).await.expect(200);
    let kept = server.get(&format!("{CONFIG_MAPS}/a")).await.expect(200);
    assert_eq!(kept["data"]["key"], "1");
    let wrong = server
        .post(
            &format!("{CONFIG_MAPS}?dryRun=Maybe"),
            &config_map("b", "1"),
        )
        .await;
    wrong.refused(422, "Invalid");
}

#[tokio::test(start_paused = true)]
async fn status_is_written_apart_from_the_spec() {
    let server = Server::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    let created = server
        .post(DEPLOYMENTS, &deployment("web", 2))
        .await
        .expect(201);
    let mut changed = created.clone();
    changed["spec"]["replicas"] = json!(5);
    changed["status"] = json!({"replicas": 2, "observedGeneration": 1});
    let by_status = server
        .put(&format!("{path}/status"), &changed)
        .await
        .expect(200);
    assert_eq!(by_status["spec"]["replicas"], 2);
    assert_eq!(by_status["status"]["replicas"], 2);
    assert_eq!(by_status["metadata"]["generation"], 1);

    let mut changed = by_status.clone();
    changed["spec"]["replicas"] = json!(5);
    changed["status"]["replicas"] = json!(77);
    let by_main = server.put(&path, &changed).await.expect(200);
    assert_eq!(by_main["spec"]["replicas"], 5);
    assert_eq!(by_main["status"]["replicas"], 2);
    assert_eq!(by_main["metadata"]["generation"], 2);
}

#[tokio::test(start_paused = true)]
async fn scale_shows_and_sets_the_replicas() {
    let server = Server::start().await;
    server
        .post(DEPLOYMENTS, &deployment("web", 2))
        .await
        .expect(201);
    let path = format!("{DEPLOYMENTS}/web/scale");
    let mut scale = server.get(&path).await.expect(200);
    assert_eq!(scale["kind"], "Scale");
    assert_eq!(scale["spec"]["replicas"], 2);
    assert_eq!(scale["status"]["selector"], "app=web");
    scale["spec"]["replicas"] = json!(4);
    assert_eq!(
        server.put(&path, &scale).await.expect(200)["spec"]["replicas"],
        4
    );
    server.put(&path, &scale).await.refused(409, "Conflict");
    let patch = json!({"spec": {"replicas": 6}});
    assert_eq!(
        server.patch(&path, "merge", &patch).await.expect(200)["spec"]["replicas"],
        6
    );
    let stored = server.get(&format!("{DEPLOYMENTS}/web")).await.expect(200);
    assert_eq!(stored["spec"]["replicas"], 6);
    assert_eq!(stored["metadata"]["generation"], 3);
    let negative = json!({"spec": {"replicas": -1}});
    server
        .patch(&path, "merge", &negative)
        .await
        .refused(422, "Invalid");
}

#[tokio::test(start_paused = true)]
async fn bodies_come_as_json_and_yaml_within_a_limit() {
    let server = Server::start().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-yaml}\ndata: {a: b}\n";
    let headers = [("content-type", "application/yaml")];
    let created = server.call(Method::POST, CONFIG_MAPS, &headers, yaml).await;
    assert_eq!(created.expect(201)["data"]["a"], "b");
    let shown = server
        .get_as(&format!("{CONFIG_MAPS}/from-yaml"), "application/yaml")
        .await;
    assert!(shown.text.contains("kind: ConfigMap"), "{}", shown.text);

    let headers = [("content-type", "text/html")];
    let other = server.call(Method::POST, CONFIG_MAPS, &headers, "x").await;
    other.refused(415, "UnsupportedMediaType");
    let large = config_map("large", &"x".repeat(3 << 20));
    server
        .post(CONFIG_MAPS, &large)
        .await
        .refused(413, "RequestEntityTooLarge");
    let broken = server.call(Method::POST, CONFIG_MAPS, &[], "{").await;
    broken.refused(400, "BadRequest");
    let other_kind = server.post(CONFIG_MAPS, &deployment("web", 1)).await;
    other_kind.refused(400, "BadRequest");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_served_is_404_or_405_with_a_status() {
    let server = Server::start().await;
    for path in [
        "/apis/none/v1/things",
        "/api/v1/namespaces/default/things",
        "/nothing",
    ] {
        server.get(path).await.refused(404, "NotFound");
    }
    let posted = server
        .post(&format!("{CONFIG_MAPS}/a"), &config_map("a", "1"))
        .await;
    posted.refused(405, "MethodNotAllowed");
    let everywhere = server
        .post("/api/v1/configmaps", &config_map("a", "1"))
        .await;
    everywhere.refused(405, "MethodNotAllowed");
    let options = server
        .call(Method::OPTIONS, CONFIG_MAPS, &[], Body::empty())
        .await;
    options.refused(405, "MethodNotAllowed");
    let accept = server
        .get_as(CONFIG_MAPS, "application/vnd.kubernetes.protobuf")
        .await;
    accept.refused(406, "NotAcceptable");
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_is_served_in_both_versions() {
    let server = Server::start().await;
    let path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let body = json!({
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 5,
            "targetCPUUtilizationPercentage": 70,
        },
    });
    let created = server.post(path, &body).await.expect(201);
    assert_eq!(created["apiVersion"], "autoscaling/v1");
    let second = server
        .get(&format!("{}/web", path.replace("v1/n", "v2/n")))
        .await
        .expect(200);
    assert_eq!(second["apiVersion"], "autoscaling/v2");
    assert_eq!(
        second["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
        70
    );
    let list = server.get(path).await.expect(200);
    assert_eq!(list["apiVersion"], "autoscaling/v1");
    assert_eq!(
        list["items"][0]["spec"]["targetCPUUtilizationPercentage"],
        70
    );
    let patch = json!({"spec": {"maxReplicas": 9}});
    let patched = server
        .patch(&format!("{path}/web"), "merge", &patch)
        .await
        .expect(200);
    assert_eq!(patched["spec"]["maxReplicas"], 9);
    assert_eq!(patched["apiVersion"], "autoscaling/v1");
}

#[tokio::test(start_paused = true)]
async fn a_read_at_a_revision_that_is_ahead_waits_for_it() {
    let server = Server::start().await;
    server
        .post(CONFIG_MAPS, &config_map("a", "1"))
        .await
        .expect(201);
    let ahead = server.store.revision().get() + 1;
    let path = format!("{CONFIG_MAPS}/a?resourceVersion={ahead}");
    server.get(&path).await.refused(504, "Timeout");
    let body = config_map("a", "2");
    let one = format!("{CONFIG_MAPS}/a");
    let (read, _) = tokio::join!(server.get(&path), server.put(&one, &body));
    assert_eq!(read.expect(200)["data"]["key"], "2");
}
