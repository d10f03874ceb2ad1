//! Watches: order, bookmarks, selector transitions, ends.

use std::time::Duration;

use serde_json::{Value, json};
use springtide_apiserver::UserInfo;
use tokio::time::Instant;

use crate::harness::{CONFIG_MAPS, Server, config_map};

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_what_is_there_and_then_what_changes() {
    let server = Server::start().await;
    server
        .post(CONFIG_MAPS, &config_map("a", "1"))
        .await
        .expect(201);
    let mut watch = server.watch(&format!("{CONFIG_MAPS}?watch=true")).await;
    assert_eq!(watch.next_named().await, pair("ADDED", "a"));
    server
        .post(CONFIG_MAPS, &config_map("b", "1"))
        .await
        .expect(201);
    let changed = server
        .put(&format!("{CONFIG_MAPS}/a"), &config_map("a", "2"))
        .await
        .expect(200);
    server.delete(&format!("{CONFIG_MAPS}/b")).await.expect(200);
    assert_eq!(watch.next_named().await, pair("ADDED", "b"));
    let event = watch.next().await.expect("event");
    assert_eq!(event["type"], "MODIFIED");
    assert_eq!(event["object"], changed, "the stored bytes");
    let gone = watch.next().await.expect("event");
    assert_eq!(gone["type"], "DELETED");
    let revision = server.store.revision().to_string();
    assert_eq!(gone["object"]["metadata"]["resourceVersion"], revision);
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_revision_tells_what_came_after() {
    let server = Server::start().await;
    let first = server
        .post(CONFIG_MAPS, &config_map("a", "1"))
        .await
        .expect(201);
    server
        .post(CONFIG_MAPS, &config_map("b", "1"))
        .await
        .expect(201);
    let revision = first["metadata"]["resourceVersion"]
        .as_str()
        .expect("revision");
    let path = format!("{CONFIG_MAPS}?watch=true&resourceVersion={revision}");
    let mut watch = server.watch(&path).await;
    assert_eq!(watch.next_named().await, pair("ADDED", "b"));
    let elsewhere = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
    server
        .post("/api/v1/namespaces/kube-system/configmaps", &elsewhere)
        .await
        .expect(201);
    watch.quiet_for(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn initial_events_end_with_a_marked_bookmark() {
    let server = Server::start().await;
    server
        .post(CONFIG_MAPS, &config_map("a", "1"))
        .await
        .expect(201);
    let path = format!(
        "{CONFIG_MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    let mut watch = server.watch(&path).await;
    assert_eq!(watch.next_named().await, pair("ADDED", "a"));
    let bookmark = watch.next().await.expect("bookmark");
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    let metadata = &bookmark["object"]["metadata"];
    assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(
        metadata["resourceVersion"],
        server.store.revision().to_string()
    );
    server
        .post(CONFIG_MAPS, &config_map("b", "1"))
        .await
        .expect(201);
    assert_eq!(watch.next_named().await, pair("ADDED", "b"));
}

#[tokio::test(start_paused = true)]
async fn objects_enter_and_leave_a_selection() {
    let server = Server::start().await;
    let path = format!("{CONFIG_MAPS}?watch=1&labelSelector=tier%3Dweb");
    let mut watch = server.watch(&path).await;
    let with_tier = |tier: &str| {
        let mut body = config_map("a", "1");
        body["metadata"]["labels"] = json!({"tier": tier});
        body
    };
    let one = format!("{CONFIG_MAPS}/a");
    server.post(CONFIG_MAPS, &with_tier("db")).await.expect(201);
    let entered = server.put(&one, &with_tier("web")).await.expect(200);
    let event = watch.next().await.expect("event");
    assert_eq!(
        (&event["type"], &event["object"]),
        (&json!("ADDED"), &entered)
    );
    let left = server.put(&one, &with_tier("db")).await.expect(200);
    let event = watch.next().await.expect("event");
    assert_eq!(event["type"], "DELETED");
    let mut expected = entered;
    expected["metadata"]["resourceVersion"] = left["metadata"]["resourceVersion"].clone();
    assert_eq!(event["object"], expected, "as it was, at the new revision");
    server.delete(&one).await.expect(200);
    watch.quiet_for(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_each_minute_and_before_the_end() {
    let server = Server::start().await;
    let path = format!(
        "{CONFIG_MAPS}?watch=1&allowWatchBookmarks=true&timeoutSeconds=90&resourceVersion=0"
    );
    let started = Instant::now();
    let mut watch = server.watch(&path).await;
    let other = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
    server.post("/api/v1/namespaces", &other).await.expect(201);
    let bookmark = watch.next().await.expect("bookmark");
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(started.elapsed().as_secs(), 60);
    let told = &bookmark["object"]["metadata"]["resourceVersion"];
    assert_eq!(
        told,
        &server.store.revision().to_string(),
        "other kinds count"
    );
    assert_eq!(watch.next().await.expect("bookmark")["type"], "BOOKMARK");
    assert_eq!(started.elapsed().as_secs(), 88);
    assert_eq!(watch.next().await, None);
    assert_eq!(started.elapsed().as_secs(), 90);
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_a_timeout_ends_after_half_an_hour_to_an_hour() {
    let server = Server::start().await;
    let started = Instant::now();
    let mut watch = server.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    assert_eq!(watch.next().await, None);
    let minutes = started.elapsed().as_secs() / 60;
    assert!((30..=60).contains(&minutes), "{minutes}");
}

#[tokio::test(start_paused = true)]
async fn a_revision_that_is_gone_is_an_error_event() {
    let server = Server::start().await;
    let first = server
        .post(CONFIG_MAPS, &config_map("a", "1"))
        .await
        .expect(201);
    server
        .post(CONFIG_MAPS, &config_map("b", "1"))
        .await
        .expect(201);
    server
        .post(CONFIG_MAPS, &config_map("c", "1"))
        .await
        .expect(201);
    server.store.compact(server.store.revision());
    let revision = first["metadata"]["resourceVersion"]
        .as_str()
        .expect("revision");
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={revision}");
    let mut watch = server.watch(&path).await;
    let event = watch.next().await.expect("event");
    assert_eq!(event["type"], "ERROR");
    assert_eq!(event["object"]["code"], 410);
    assert_eq!(event["object"]["reason"], "Expired");
    assert_eq!(watch.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_slow_watcher_is_cut_off_and_not_skipped() {
    let server = Server::start().await;
    let mut watch = server.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    server
        .post(CONFIG_MAPS, &config_map("a", "1"))
        .await
        .expect(201);
    assert_eq!(watch.next_named().await, pair("ADDED", "a"));
    for value in 0..3 {
        let body = config_map("a", &format!("v{value}"));
        server
            .put(&format!("{CONFIG_MAPS}/a"), &body)
            .await
            .expect(200);
    }
    server.store.compact(server.store.revision());
    let event = watch.next().await.expect("event");
    assert_eq!(event["type"], "ERROR");
    assert_eq!(event["object"]["code"], 410);
    assert_eq!(watch.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_table_watch_has_its_columns_in_the_first_event_only() {
    let server = Server::start().await;
    server
        .post(CONFIG_MAPS, &config_map("a", "1"))
        .await
        .expect(201);
    server
        .post(CONFIG_MAPS, &config_map("b", "1"))
        .await
        .expect(201);
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut watch = server
        .watch_as(&format!("{CONFIG_MAPS}?watch=1"), accept)
        .await;
    let first = watch.next().await.expect("event");
    assert_eq!(first["object"]["kind"], "Table");
    assert_eq!(first["object"]["columnDefinitions"][0]["name"], "Name");
    assert_eq!(first["object"]["rows"][0]["cells"][0], "a");
    let second = watch.next().await.expect("event");
    assert_eq!(second["object"]["columnDefinitions"], Value::Null);
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
}

#[tokio::test(start_paused = true)]
async fn one_object_can_be_watched_by_name() {
    let server = Server::start().await;
    server
        .post(CONFIG_MAPS, &config_map("a", "1"))
        .await
        .expect(201);
    server
        .post(CONFIG_MAPS, &config_map("b", "1"))
        .await
        .expect(201);
    for path in [
        format!("{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Db"),
        format!("{CONFIG_MAPS}/b?watch=1"),
    ] {
        let mut watch = server.watch(&path).await;
        assert_eq!(watch.next_named().await, pair("ADDED", "b"));
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_the_server_ends_watches() {
    let server = Server::start().await;
    let mut watch = server.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    server.api.shut_down();
    assert_eq!(watch.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn refused_watch_options_are_no_stream() {
    let server = Server::start().await;
    let path = format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=true");
    server.get(&path).await.refused(422, "Invalid");
    let user = UserInfo::anonymous();
    let request = http::Request::get(&path).extension(user);
    let request = request.body(axum::body::Body::empty()).expect("request");
    let refused = crate::harness::read(server.send(request).await).await;
    refused.refused(403, "Forbidden");
}
