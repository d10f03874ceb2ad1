//! Discovery in both forms, aggregation, OpenAPI.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Method;
use serde_json::{Value, json};
use springtide_apiserver::AggregatedResource;

use crate::harness::Server;

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

fn find<'a>(list: &'a Value, field: &str, value: &str) -> &'a Value {
    let items = list.as_array().expect("a list");
    items
        .iter()
        .find(|item| item[field] == value)
        .unwrap_or_else(|| panic!("no {field} {value} in {list}"))
}

#[tokio::test(start_paused = true)]
async fn legacy_discovery_tells_groups_versions_and_resources() {
    let server = Server::start().await;
    assert_eq!(
        server.get("/api").await.expect(200)["versions"],
        json!(["v1"])
    );
    let groups = server.get("/apis").await.expect(200);
    let autoscaling = find(&groups["groups"], "name", "autoscaling");
    assert_eq!(autoscaling["preferredVersion"]["version"], "v2");
    let apps = server.get("/apis/apps").await.expect(200);
    assert_eq!(apps["kind"], "APIGroup");
    let resources = server.get("/apis/apps/v1").await.expect(200);
    let deployments = find(&resources["resources"], "name", "deployments");
    assert_eq!(deployments["shortNames"], json!(["deploy"]));
    assert_eq!(deployments["categories"], json!(["all"]));
    let scale = find(&resources["resources"], "name", "deployments/scale");
    assert_eq!(
        (&scale["group"], &scale["version"], &scale["kind"]),
        (&json!("autoscaling"), &json!("v1"), &json!("Scale"))
    );
    let core = server.get("/api/v1").await.expect(200);
    assert_eq!(
        find(&core["resources"], "name", "nodes")["namespaced"],
        false
    );
    server.get("/apis/none/v1").await.refused(404, "NotFound");
}

#[tokio::test(start_paused = true)]
async fn aggregated_discovery_tells_all_at_once_and_is_kept() {
    let server = Server::start().await;
    let answer = server.get_as("/apis", V2).await;
    let list = answer.expect(200);
    assert_eq!(list["kind"], "APIGroupDiscoveryList");
    assert_eq!(list["apiVersion"], "apidiscovery.k8s.io/v2");
    assert_eq!(answer.headers["content-type"], V2);
    let apps = list["items"].as_array().expect("items").iter();
    let apps = apps
        .clone()
        .find(|item| item["metadata"]["name"] == "apps")
        .expect("apps");
    let resources = &apps["versions"][0]["resources"];
    let deployments = find(resources, "resource", "deployments");
    assert_eq!(deployments["responseKind"]["kind"], "Deployment");
    assert_eq!(deployments["scope"], "Namespaced");
    find(&deployments["subresources"], "subresource", "scale");

    let tag = answer.headers["etag"].to_str().expect("tag");
    let headers = [("accept", V2), ("if-none-match", tag)];
    let again = server
        .call(Method::GET, "/apis", &headers, Body::empty())
        .await;
    assert_eq!(again.status.as_u16(), 304);
    assert_eq!(again.text, "");
    let beta = server
        .get_as("/api", &V2.replace("v=v2", "v=v2beta1"))
        .await
        .expect(200);
    assert_eq!(beta["apiVersion"], "apidiscovery.k8s.io/v2beta1");
    assert_eq!(beta["items"][0]["metadata"]["name"], "");
    let old_client = server
        .get_as("/apis", "application/json, */*")
        .await
        .expect(200);
    assert_eq!(old_client["kind"], "APIGroupList");
}

#[tokio::test(start_paused = true)]
async fn another_part_serves_a_group_of_its_own() {
    let server = Server::start().await;
    let path = "/apis/metrics.k8s.io/v1beta1/nodes";
    server.get(path).await.refused(404, "NotFound");
    let router = Router::new().route(path, get(|| async { "from metrics" }));
    let nodes = AggregatedResource {
        kind: "NodeMetrics".to_owned(),
        plural: "nodes".to_owned(),
        singular: String::new(),
        namespaced: false,
        verbs: vec!["get".to_owned(), "list".to_owned()],
        short_names: Vec::new(),
    };
    server
        .api
        .aggregate("metrics.k8s.io", "v1beta1", vec![nodes], router);
    assert_eq!(server.get(path).await.text, "from metrics");
    let resources = server.get("/apis/metrics.k8s.io/v1beta1").await.expect(200);
    assert_eq!(resources["resources"][0]["kind"], "NodeMetrics");
    let groups = server.get("/apis").await.expect(200);
    find(&groups["groups"], "name", "metrics.k8s.io");
}

#[tokio::test(start_paused = true)]
async fn openapi_has_what_kubectl_looks_for() {
    let server = Server::start().await;
    let index = server.get("/openapi/v3").await.expect(200);
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .expect("url");
    let answer = server.get(url).await;
    let document = answer.expect(200);
    let patch =
        &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"]["kind"],
        "Deployment"
    );
    let parameters = patch["parameters"].as_array().expect("parameters");
    assert!(
        parameters
            .iter()
            .any(|parameter| parameter["name"] == "fieldValidation")
    );
    let tag = answer.headers["etag"].to_str().expect("tag");
    let again = server
        .call(Method::GET, url, &[("if-none-match", tag)], Body::empty())
        .await;
    assert_eq!(again.status.as_u16(), 304);
    server
        .get("/openapi/v3/apis/none/v1")
        .await
        .refused(404, "NotFound");
    let v2 = server.get("/openapi/v2").await.expect(200);
    assert_eq!(v2["swagger"], "2.0");
    let asked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let answer = server.get_as("/openapi/v2", asked).await;
    assert_eq!(
        answer.headers["content-type"],
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
        "the @ that clients ask with is not allowed in a media type"
    );
}

#[tokio::test]
async fn there_is_a_list_of_custom_kinds_and_nothing_in_it() {
    let server = Server::start().await;
    let url = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let list = server.get(url).await.expect(200);
    assert_eq!(list["kind"], "CustomResourceDefinitionList");
    assert_eq!(list["items"], json!([]));
    server
        .get(&format!("{url}/sandcastles"))
        .await
        .refused(404, "NotFound");
    server.post(url, &json!({})).await.refused(404, "NotFound");
}
