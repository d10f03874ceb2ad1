//! Autoscalers are read from a Kubernetes API over HTTP, beside load or without.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use springtide_load::watch::Watch;
use tokio::net::TcpListener;
use tokio::time::Instant;

/// An API with the autoscaler `web`, which goes from 2 to 4 replicas at its third look.
fn answer(path: &str, looks: &AtomicU32, events: bool) -> (u16, Value) {
    let grown = looks.load(Ordering::Relaxed) > 2;
    if path.ends_with("/horizontalpodautoscalers/web") {
        let grown = looks.fetch_add(1, Ordering::Relaxed) + 1 > 2;
        let desired = if grown { 4 } else { 2 };
        return (
            200,
            json!({
                "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
                "metadata": {"name": "web", "namespace": "shop"},
                "spec": {
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                    "minReplicas": 2, "maxReplicas": 10,
                    "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}],
                },
                "status": {"currentReplicas": 2, "desiredReplicas": desired,
                    "conditions": [{"type": "ScalingActive", "status": "True", "reason": "ValidMetricFound", "message": "calculated from cpu"}],
                    "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 130}}}]},
            }),
        );
    }
    if path.ends_with("/deployments/web") {
        return (
            200,
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "status": {"readyReplicas": 2}}),
        );
    }
    if path.ends_with("/events") && events {
        let items = if grown {
            vec![json!({
                "metadata": {"name": "web.1", "namespace": "shop"}, "involvedObject": {}, "count": 1,
                "reason": "SuccessfulRescale", "message": "New size: 4; reason: cpu above target",
            })]
        } else {
            Vec::new()
        };
        return (
            200,
            json!({"apiVersion": "v1", "kind": "EventList", "metadata": {}, "items": items}),
        );
    }
    let code = if path.ends_with("/events") { 403 } else { 404 };
    (
        code,
        json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code,
            "reason": "NotFound", "message": format!("no {path}")}),
    )
}

async fn api(events: bool) -> kube::Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let looks = Arc::new(AtomicU32::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let looks = Arc::clone(&looks);
            let service = service_fn(move |request: Request<Incoming>| {
                let (status, body) = answer(request.uri().path(), &looks, events);
                let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
                *response.status_mut() = status.try_into().unwrap();
                response
                    .headers_mut()
                    .insert("content-type", "application/json".parse().unwrap());
                std::future::ready(Ok::<_, Infallible>(response))
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    kube::Client::try_from(kube::Config::new(url.parse().unwrap())).unwrap()
}

/// Watches until the autoscaler has decided something.
async fn decided(client: &kube::Client) -> springtide_load::watch::AutoscalerTimeline {
    let started = Instant::now();
    let watch = Watch::start(client, "shop", &["hpa/web".to_owned()])
        .await
        .unwrap();
    let limit = Duration::from_secs(30);
    tokio::time::timeout(limit, async {
        loop {
            let timeline = watch.timeline(started).autoscalers.remove(0);
            if !timeline.decisions.is_empty() {
                return timeline;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("a decision")
}

#[tokio::test]
async fn a_decision_is_seen_with_its_reason_beside_what_is_measured() {
    let timeline = decided(&api(true).await).await;
    assert_eq!(timeline.target, "Deployment/web");
    let decision = &timeline.decisions[0];
    assert_eq!(
        (decision.from, decision.to, decision.reason.as_str()),
        (2, 4, "cpu above target")
    );
    let reading = timeline.readings.last().unwrap();
    assert_eq!(
        (reading.desired_replicas, reading.ready_replicas),
        (4, Some(2))
    );
    assert_eq!(reading.metrics[0].current, Some(130.0));
    assert_eq!(timeline.faults, Vec::<String>::new());
}

#[tokio::test]
async fn who_may_not_read_events_sees_decisions_by_what_is_wanted() {
    let timeline = decided(&api(false).await).await;
    let decision = &timeline.decisions[0];
    assert_eq!(
        (decision.from, decision.to, decision.reason.as_str()),
        (2, 4, "calculated from cpu")
    );
}

#[tokio::test]
async fn an_autoscaler_that_is_not_there_is_said_before_the_load_begins() {
    let client = api(true).await;
    let error = Watch::start(&client, "shop", &["hpa/other".to_owned()])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("--watch hpa/other in namespace shop: no /apis/autoscaling/v2/"),
        "{error}"
    );
}
