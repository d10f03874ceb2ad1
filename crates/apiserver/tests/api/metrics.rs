//! What the server counts, metrics of others, and the rules that are made of them.

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use springtide_apiserver::AggregatedResource;

use crate::harness::Server;

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const RULES: &str = "/apis/monitoring.coreos.com/v1/namespaces/default/prometheusrules";

fn rule(expr: &str) -> Value {
    json!({"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": "r"},
        "spec": {"groups": [{"name": "g", "rules": [{"alert": "Down", "expr": expr, "for": "5m"}]}]}})
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_verb_resource_and_code() {
    let server = Server::start().await;
    server.get("/api/v1/nodes").await.expect(200);
    server
        .get("/api/v1/namespaces/default/pods/none")
        .await
        .refused(404, "NotFound");
    server
        .get("/api/v1/nothing-of-this-name")
        .await
        .refused(404, "NotFound");
    let text = server.get("/metrics").await.text;
    for line in [
        r#"apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="nodes",scope="cluster",subresource="",verb="LIST",version="v1"} 1"#,
        r#"apiserver_request_total{code="404",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="",verb="GET",version="v1"} 1"#,
        r#"apiserver_request_duration_seconds_count{component="apiserver",dry_run="",group="",resource="nodes",scope="cluster",subresource="",verb="LIST",version="v1"} 1"#,
        r#"apiserver_current_inflight_requests{request_kind="mutating"} 0"#,
        r#"apiserver_storage_objects{resource="services"} 1"#,
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "missing: {line}\n{text}"
        );
    }
    assert!(
        !text.contains("nothing-of-this-name"),
        "anybody could make series"
    );
}

#[tokio::test(start_paused = true)]
async fn a_prometheus_rule_is_checked_for_its_form_and_by_who_understands_it() {
    let server = Server::start().await;
    server.api.add_admission_check(
        "monitoring.coreos.com/prometheusrules",
        "promql",
        |object| {
            let expr = object["spec"]["groups"][0]["rules"][0]["expr"]
                .as_str()
                .unwrap_or_default();
            if expr.ends_with("==") {
                Err(format!("{expr:?} is no expression"))
            } else {
                Ok(())
            }
        },
    );
    let refused = server
        .post(RULES, &rule("up =="))
        .await
        .refused(403, "Forbidden");
    assert_eq!(
        refused,
        "prometheusrules.monitoring.coreos.com \"r\" is forbidden: admission check \"promql\" denied the request: \"up ==\" is no expression"
    );
    let refused = server.post(RULES, &rule(" ")).await.refused(422, "Invalid");
    assert!(
        refused.contains("spec.groups[0].rules[0].expr"),
        "{refused}"
    );
    let made = server.post(RULES, &rule("up == 0")).await.expect(201);
    assert_eq!(made["metadata"]["generation"], 1);
    let strict = format!("{RULES}?fieldValidation=Strict");
    let mut typo = rule("up");
    typo["metadata"]["name"] = json!("typo");
    typo["spec"]["groups"][0]["rules"][0]["sevrity"] = json!("high");
    let refused = server.post(&strict, &typo).await.refused(400, "BadRequest");
    assert!(refused.contains("sevrity"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn metrics_of_objects_are_discovered_as_parts_of_their_kind() {
    let server = Server::start().await;
    let metric = AggregatedResource {
        kind: "MetricValueList".to_owned(),
        plural: "pods/http_requests".to_owned(),
        singular: String::new(),
        namespaced: true,
        verbs: vec!["get".to_owned()],
        short_names: Vec::new(),
    };
    for version in ["v1beta1", "v1beta2"] {
        server.api.aggregate(
            "custom.metrics.k8s.io",
            version,
            vec![metric.clone()],
            Router::new(),
        );
    }
    let legacy = server
        .get("/apis/custom.metrics.k8s.io/v1beta1")
        .await
        .expect(200);
    assert_eq!(legacy["resources"][0]["name"], "pods/http_requests");
    let group = server.get("/apis/custom.metrics.k8s.io").await.expect(200);
    assert_eq!(group["preferredVersion"]["version"], "v1beta2");
    let all = server.get_as("/apis", V2).await.expect(200);
    let groups = all["items"].as_array().expect("groups");
    let group = groups
        .iter()
        .find(|group| group["metadata"]["name"] == "custom.metrics.k8s.io")
        .expect("the group");
    let resource = &group["versions"][0]["resources"][0];
    assert_eq!(
        (&resource["resource"], &resource["verbs"]),
        (&json!("pods"), &json!([]))
    );
    assert_eq!(resource["subresources"][0]["subresource"], "http_requests");
    assert_eq!(
        resource["subresources"][0]["responseKind"]["kind"],
        "MetricValueList"
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_of_the_program_is_reached_through_the_api_and_others_are_refused_by_name() {
    let server = Server::start().await;
    let routes = Router::new().route("/api/v1/query", get(|| async { "answered" }));
    server.api.attach_service("default", "kubernetes", routes);
    for name in ["kubernetes", "kubernetes:9090", "http:kubernetes:9090"] {
        let path =
            format!("/api/v1/namespaces/default/services/{name}/proxy/api/v1/query?query=up");
        assert_eq!(server.get(&path).await.text, "answered", "{name}");
    }
    server.api.detach_service("default", "kubernetes");
    let refused = server
        .get("/api/v1/namespaces/default/services/kubernetes/proxy/")
        .await;
    let message = refused.refused(503, "ServiceUnavailable");
    assert!(
        message.contains("default/kubernetes is not served by a part of the program"),
        "{message}"
    );
    server
        .get("/api/v1/namespaces/default/services/none/proxy/")
        .await
        .refused(404, "NotFound");
}
