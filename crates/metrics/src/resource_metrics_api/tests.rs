use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use jiff::SignedDuration;
use tower::ServiceExt;

use super::*;

const ROOT: &str = "/apis/metrics.k8s.io/v1beta1";

fn at(seconds: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn pod(namespace: &str, name: &str, app: &str) -> Pod {
    let metadata = json!({ "namespace": namespace, "name": name, "labels": { "app": app } });
    serde_json::from_value(json!({ "metadata": metadata })).unwrap()
}

/// Two pods of one node, measured twice; a third, measured once.
fn known() -> Known {
    let usage = Usage::new(Duration::from_secs(5));
    let mut text = String::new();
    for second in 0..2 {
        text.clear();
        let mut add = |namespace: &str, pod: &str, container: &str, cpu: f64| {
            let labels =
                format!("{{container=\"{container}\",namespace=\"{namespace}\",pod=\"{pod}\"}}");
            let milliseconds = at(second).as_millisecond();
            text.push_str(&format!(
                "container_cpu_usage_seconds_total{labels} {cpu} {milliseconds}\n"
            ));
            text.push_str(&format!(
                "container_memory_working_set_bytes{labels} 1852375040 {milliseconds}\n"
            ));
        };
        let second = second as f64;
        add("shop", "web-1", "app", 3.0 + 0.25 * second);
        add("shop", "web-1", "side", 0.0125 * second);
        add("ops", "log-1", "app", 1.0);
        if second > 0.0 {
            add("shop", "young-1", "app", 1.0);
        }
        let milliseconds = at(second as i64).as_millisecond();
        text.push_str(&format!(
            "node_cpu_usage_seconds_total {} {milliseconds}\n",
            0.75 * second
        ));
        text.push_str(&format!(
            "node_memory_working_set_bytes 2048 {milliseconds}\n"
        ));
        usage.take("edge", &text, at(second as i64));
    }
    let node: Node = serde_json::from_value(json!({ "metadata": { "name": "edge" } })).unwrap();
    Known {
        usage,
        nodes: Cache::fixed([node]),
        pods: Cache::fixed([
            pod("shop", "web-1", "web"),
            pod("shop", "young-1", "web"),
            pod("ops", "log-1", "log"),
        ]),
        clock: Clock::simulated(at(2)),
    }
}

async fn ask(path: &str, accept: &str) -> (StatusCode, Value) {
    let request = Request::get(format!("{ROOT}{path}"))
        .header(header::ACCEPT, accept)
        .body(Body::empty())
        .unwrap();
    let answer = known().router().oneshot(request).await.unwrap();
    let code = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).unwrap_or_default())
}

async fn names(path: &str) -> Vec<String> {
    let (_, list) = ask(path, "application/json").await;
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items
        .iter()
        .map(|item| {
            item["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn a_pods_metrics_are_those_of_its_containers() {
    let (code, found) = ask("/namespaces/shop/pods/web-1", "application/json").await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(
        found,
        json!({
            "kind": "PodMetrics",
            "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": {
                "name": "web-1",
                "namespace": "shop",
                "labels": { "app": "web" },
                "creationTimestamp": "2026-01-01T00:00:02Z",
            },
            "timestamp": "2026-01-01T00:00:01Z",
            "window": "1s",
            "containers": [
                { "name": "app", "usage": { "cpu": "250m", "memory": "1808960Ki" } },
                { "name": "side", "usage": { "cpu": "12500u", "memory": "1808960Ki" } },
            ],
        })
    );
}

#[tokio::test]
async fn lists_take_selectors_and_leave_out_what_is_too_young() {
    assert_eq!(names("/pods").await, ["log-1", "web-1"]);
    assert_eq!(names("/namespaces/shop/pods").await, ["web-1"]);
    assert_eq!(
        names("/pods?labelSelector=app%20in%20(log)").await,
        ["log-1"]
    );
    assert_eq!(
        names("/pods?fieldSelector=metadata.name%3Dweb-1").await,
        ["web-1"]
    );
    assert_eq!(names("/nodes").await, ["edge"]);
    let (code, refused) = ask("/pods?labelSelector=,,", "application/json").await;
    assert_eq!(
        (code, refused["kind"].as_str()),
        (StatusCode::BAD_REQUEST, Some("Status"))
    );
}

#[tokio::test]
async fn what_was_not_measured_is_not_found_in_kubernetes_words() {
    let (code, status) = ask("/namespaces/shop/pods/young-1", "application/json").await;
    assert_eq!(code, StatusCode::NOT_FOUND);
    assert_eq!(
        status["message"],
        "podmetrics.metrics.k8s.io \"shop/young-1\" not found"
    );
    let (_, status) = ask("/nodes/other", "application/json").await;
    assert_eq!(
        status["message"],
        "nodemetrics.metrics.k8s.io \"other\" not found"
    );
}

#[tokio::test]
async fn kubectl_gets_tables() {
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let (_, table) = ask("/namespaces/shop/pods", accept).await;
    assert_eq!(table["kind"], "Table");
    let columns = table["columnDefinitions"].as_array().unwrap();
    let columns: Vec<&str> = columns
        .iter()
        .filter_map(|column| column["name"].as_str())
        .collect();
    assert_eq!(columns, ["Name", "cpu", "memory", "Window"]);
    assert_eq!(
        table["rows"][0]["cells"],
        json!(["web-1", "262500u", "3617920Ki", "1s"])
    );
    assert_eq!(table["rows"][0]["object"]["metadata"]["namespace"], "shop");
    let (_, table) = ask("/nodes/edge", accept).await;
    assert_eq!(
        table["rows"][0]["cells"],
        json!(["edge", "750m", "2Ki", "1s"])
    );
}

#[test]
fn durations_are_printed_as_go_prints_them() {
    let cases = [
        (0, "0s"),
        (1_500, "1.5µs"),
        (500_000_000, "500ms"),
        (5_012_000_000, "5.012s"),
        (60_000_000_000, "1m0s"),
    ];
    for (nanos, text) in cases {
        assert_eq!(go_duration(Duration::from_nanos(nanos)), text);
    }
    assert_eq!(go_duration(Duration::from_secs(3_725)), "1h2m5s");
}
