//! kube's own client and watcher over the API, without a socket, under paused time.

use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::harness::{Server, config_map, deployment, pod};

#[tokio::test(start_paused = true)]
async fn objects_go_there_and_back() {
    let server = Server::start().await;
    let client = server.api.client("test");
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let body = serde_json::from_value(config_map("a", "1")).expect("typed");
    let created = maps
        .create(&PostParams::default(), &body)
        .await
        .expect("created");
    assert!(created.uid().is_some());
    let patch = Patch::Merge(json!({"data": {"key": "2"}}));
    maps.patch("a", &PatchParams::default(), &patch)
        .await
        .expect("patched");
    let read = maps.get("a").await.expect("read");
    assert_eq!(read.data.expect("data")["key"], "2");
    let list = maps
        .list(&ListParams::default().limit(10))
        .await
        .expect("list");
    assert_eq!(list.items.len(), 1);
    assert!(maps.get_opt("b").await.expect("none").is_none());
    maps.delete("a", &DeleteParams::default())
        .await
        .expect("deleted");
    assert!(maps.get_opt("a").await.expect("none").is_none());

    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let body = serde_json::from_value(deployment("web", 2)).expect("typed");
    deployments
        .create(&PostParams::default(), &body)
        .await
        .expect("created");
    let scale = deployments.get_scale("web").await.expect("scale");
    assert_eq!(scale.spec.and_then(|spec| spec.replicas), Some(2));
    let version = client.apiserver_version().await.expect("version");
    assert_eq!(version.minor, "36");
}

#[tokio::test(start_paused = true)]
async fn a_streaming_watcher_sees_a_day_of_changes() {
    let server = Server::start().await;
    let pods: Api<Pod> = Api::all(server.api.client("watcher"));
    let config = watcher::Config::default().streaming_lists();
    let mut events = watcher(pods.clone(), config).applied_objects().boxed();
    let writer: Api<Pod> = Api::default_namespaced(server.api.client("writer"));
    let body = serde_json::from_value(pod("web")).expect("typed");
    writer
        .create(&PostParams::default(), &body)
        .await
        .expect("created");
    let first = events.next().await.expect("event").expect("pod");
    assert_eq!(first.name_any(), "web");
    for hour in 1..=24 {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let patch = Patch::Merge(json!({"metadata": {"labels": {"hour": hour.to_string()}}}));
        writer
            .patch("web", &PatchParams::default(), &patch)
            .await
            .expect("patched");
        let event = events.next().await.expect("event").expect("pod");
        assert_eq!(event.labels()["hour"], hour.to_string());
    }
}
