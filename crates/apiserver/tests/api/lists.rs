//! Lists: selectors, pages, revisions, Tables.

use std::time::Duration;

use serde_json::{Value, json};
use springtide_store::Revision;
use tokio::time::Instant;

use crate::harness::{CONFIG_MAPS, PODS, Server, config_map, deployment, pod};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

async fn with_config_maps(count: usize) -> Server {
    let server = Server::start().await;
    for number in 0..count {
        let mut body = config_map(&format!("cm-{number:02}"), "x");
        body["metadata"]["labels"] = json!({"parity": (number % 2).to_string()});
        server.post(CONFIG_MAPS, &body).await.expect(201);
    }
    server
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("items");
    items
        .iter()
        .map(|item| item["metadata"]["name"].as_str().expect("name").to_owned())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_list_is_sorted_and_carries_its_revision() {
    let server = with_config_maps(3).await;
    let list = server.get(CONFIG_MAPS).await.expect(200);
    assert_eq!(list["kind"], "ConfigMapList");
    assert_eq!(list["apiVersion"], "v1");
    assert_eq!(names(&list), ["cm-00", "cm-01", "cm-02"]);
    let revision = server.store.revision().to_string();
    assert_eq!(list["metadata"]["resourceVersion"], revision);
    let everywhere = server.get("/api/v1/configmaps").await.expect(200);
    assert_eq!(names(&everywhere).len(), 3);
    let empty = server
        .get("/api/v1/namespaces/none/configmaps")
        .await
        .expect(200);
    assert_eq!(empty["items"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn selectors_select() {
    let server = with_config_maps(4).await;
    let list = |query: &'static str| {
        let path = format!("{CONFIG_MAPS}?{query}");
        let server = &server;
        async move { server.get(&path).await }
    };
    assert_eq!(
        names(&list("labelSelector=parity%3D1").await.expect(200)),
        ["cm-01", "cm-03"]
    );
    let by_name = list("fieldSelector=metadata.name%3Dcm-02")
        .await
        .expect(200);
    assert_eq!(names(&by_name), ["cm-02"]);
    let both = list("labelSelector=parity+notin+(1)&fieldSelector=metadata.name!%3Dcm-00").await;
    assert_eq!(names(&both.expect(200)), ["cm-02"]);
    list("fieldSelector=spec.nonsense%3D1")
        .await
        .refused(400, "BadRequest");
    list("labelSelector=%3D%3D")
        .await
        .refused(400, "BadRequest");
}

#[tokio::test(start_paused = true)]
async fn pages_show_one_snapshot() {
    let server = with_config_maps(5).await;
    let first = server
        .get(&format!("{CONFIG_MAPS}?limit=2"))
        .await
        .expect(200);
    assert_eq!(names(&first), ["cm-00", "cm-01"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    let token = first["metadata"]["continue"].as_str().expect("token");

    server
        .post(CONFIG_MAPS, &config_map("cm-02a", "late"))
        .await
        .expect(201);
    server
        .delete(&format!("{CONFIG_MAPS}/cm-03"))
        .await
        .expect(200);
    let path = format!("{CONFIG_MAPS}?limit=2&continue={token}");
    let second = server.get(&path).await.expect(200);
    assert_eq!(names(&second), ["cm-02", "cm-03"]);
    assert_eq!(
        second["metadata"]["resourceVersion"],
        first["metadata"]["resourceVersion"]
    );
    let token = second["metadata"]["continue"].as_str().expect("token");
    let path = format!("{CONFIG_MAPS}?limit=2&continue={token}");
    let last = server.get(&path).await.expect(200);
    assert_eq!(names(&last), ["cm-04"]);
    assert_eq!(last["metadata"]["continue"], Value::Null);

    let selected = format!("{CONFIG_MAPS}?limit=1&labelSelector=parity%3D1");
    let page = server.get(&selected).await.expect(200);
    assert_eq!(page["metadata"]["remainingItemCount"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_compacted_page_is_410_with_a_token_that_goes_on() {
    let server = with_config_maps(4).await;
    let first = server
        .get(&format!("{CONFIG_MAPS}?limit=2"))
        .await
        .expect(200);
    let token = first["metadata"]["continue"].as_str().expect("token");
    server
        .post(CONFIG_MAPS, &config_map("cm-99", "late"))
        .await
        .expect(201);
    server.store.compact(server.store.revision());
    let path = format!("{CONFIG_MAPS}?limit=2&continue={token}");
    let expired = server.get(&path).await;
    expired.refused(410, "Expired");
    let fresh = expired.value()["metadata"]["continue"].clone();
    let path = format!("{CONFIG_MAPS}?continue={}", fresh.as_str().expect("token"));
    let rest = server.get(&path).await.expect(200);
    assert_eq!(names(&rest), ["cm-02", "cm-03", "cm-99"]);
}

#[tokio::test(start_paused = true)]
async fn revisions_are_exact_or_at_least() {
    let server = with_config_maps(2).await;
    let revision = server.store.revision();
    server
        .post(CONFIG_MAPS, &config_map("late", "x"))
        .await
        .expect(201);
    let exact = format!("{CONFIG_MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact");
    let list = server.get(&exact).await.expect(200);
    assert_eq!(names(&list), ["cm-00", "cm-01"]);
    assert_eq!(list["metadata"]["resourceVersion"], revision.to_string());
    let newer = format!("{CONFIG_MAPS}?resourceVersion={revision}");
    assert_eq!(names(&server.get(&newer).await.expect(200)).len(), 3);
    let any = format!("{CONFIG_MAPS}?resourceVersion=0");
    assert_eq!(names(&server.get(&any).await.expect(200)).len(), 3);
    let without = format!("{CONFIG_MAPS}?resourceVersionMatch=Exact");
    server.get(&without).await.refused(422, "Invalid");
    server.store.compact(server.store.revision());
    server.get(&exact).await.refused(410, "Expired");
}

#[tokio::test(start_paused = true)]
async fn a_revision_ahead_is_waited_for_three_seconds() {
    let server = with_config_maps(1).await;
    let ahead = Revision::new(server.store.revision().get() + 1).expect("not zero");
    let path = format!("{CONFIG_MAPS}?resourceVersion={ahead}");
    let started = Instant::now();
    let refused = server.get(&path).await;
    assert_eq!(started.elapsed().as_secs(), 3);
    refused.refused(504, "Timeout");
    let cause = &refused.value()["details"]["causes"][0];
    assert_eq!(cause["reason"], "ResourceVersionTooLarge");

    let write = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.post(CONFIG_MAPS, &config_map("new", "x")).await
    };
    let (list, _) = tokio::join!(server.get(&path), write);
    assert_eq!(names(&list.expect(200)).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn tables_have_columns_and_rows() {
    let server = Server::start().await;
    server.post(PODS, &pod("web")).await.expect(201);
    let table = server.get_as(PODS, TABLE).await.expect(200);
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["apiVersion"], "meta.k8s.io/v1");
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][0]["cells"][0], "web");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(table["rows"][0]["object"]["metadata"]["name"], "web");
    assert_eq!(table["rows"][0]["object"]["spec"], Value::Null);

    let whole = server
        .get_as(&format!("{PODS}?includeObject=Object"), TABLE)
        .await
        .expect(200);
    assert_eq!(whole["rows"][0]["object"]["kind"], "Pod");
    let none = server
        .get_as(&format!("{PODS}?includeObject=None"), TABLE)
        .await
        .expect(200);
    assert_eq!(none["rows"][0]["object"], Value::Null);
    let one = server
        .get_as(&format!("{PODS}/web"), TABLE)
        .await
        .expect(200);
    assert_eq!(one["rows"].as_array().expect("rows").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn metadata_can_be_had_alone() {
    let server = Server::start().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    server.post(path, &deployment("web", 1)).await.expect(201);
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let list = server.get_as(path, accept).await.expect(200);
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["kind"], "PartialObjectMetadata");
    assert_eq!(list["items"][0]["spec"], Value::Null);
    assert_eq!(names(&list), ["web"]);
}

#[tokio::test(start_paused = true)]
async fn a_long_list_is_whole() {
    let server = with_config_maps(0).await;
    for number in 0..700 {
        let body = config_map(&format!("cm-{number:04}"), &"x".repeat(300));
        server.post(CONFIG_MAPS, &body).await.expect(201);
    }
    let list = server.get(CONFIG_MAPS).await.expect(200);
    assert_eq!(names(&list).len(), 700);
}
