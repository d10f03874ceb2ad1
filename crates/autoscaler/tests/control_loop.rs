//! The loop around the decision, over a real API server in memory and under paused time. The metrics API is
//! a router of the test's own; pods are made by the test, since nothing here runs them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use springtide_apiserver::{AggregatedResource, ApiServer};
use springtide_autoscaler::horizontal::{Explanations, Options, Stage, run};
use springtide_client::{Caches, Context, ObjectKey};
use springtide_machinery::clock::Clock;
use springtide_machinery::entropy::Entropy;
use springtide_store::Store;
use tokio_util::sync::CancellationToken;

const NAMESPACE: &str = "default";

/// Pods and their millicores.
type Usage = Arc<Mutex<Vec<(String, i64)>>>;

/// An API server with the loop on it. Dropping it ends the loop.
struct World {
    api: ApiServer,
    client: Client,
    clock: Clock,
    /// Millicores of each pod; empty: the metrics API has no items.
    usage: Usage,
    explanations: Explanations,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    async fn start() -> Self {
        let clock = Clock::simulated("2026-01-02T03:04:05Z".parse().unwrap());
        let entropy = Entropy::from_seed(7);
        let api = ApiServer::builder(Store::in_memory(), clock.clone(), entropy.clone())
            .build()
            .await
            .unwrap();
        let client = api.client("test");
        let stop = CancellationToken::new();
        let explanations = Explanations::default();
        let own = api.client("system:serviceaccount:kube-system:horizontal-pod-autoscaler");
        let context = Context {
            caches: Caches::new(own.clone()),
            client: own,
            clock: clock.clone(),
            entropy,
        };
        let options = Options {
            explanations: explanations.clone(),
            ..Options::default()
        };
        tokio::spawn(run(context, options, stop.clone()));
        Self {
            api,
            client,
            clock,
            usage: Arc::default(),
            explanations,
            stop,
        }
    }

    fn serve_metrics(&self) {
        let clock = self.clock.clone();
        let answer = move |State(usage): State<Usage>| {
            let now = clock.now().to_string();
            async move {
                let item = |(pod, milli): &(String, i64)| {
                    json!({
                        "metadata": {"name": pod, "namespace": NAMESPACE},
                        "timestamp": now,
                        "window": "5s",
                        "containers": [{"name": "app", "usage": {"cpu": format!("{milli}m"), "memory": "1Mi"}}],
                    })
                };
                let items: Vec<Value> = usage.lock().iter().map(item).collect();
                axum::Json(
                    json!({"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "items": items}),
                )
            }
        };
        let router = Router::new()
            .route(
                "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods",
                get(answer),
            )
            .with_state(self.usage.clone());
        let resource = AggregatedResource {
            kind: "PodMetrics".to_owned(),
            plural: "pods".to_owned(),
            singular: String::new(),
            namespaced: true,
            verbs: vec!["get".to_owned(), "list".to_owned()],
            short_names: Vec::new(),
        };
        self.api
            .aggregate("metrics.k8s.io", "v1beta1", vec![resource], router);
    }

    fn objects<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + DeserializeOwned
            + serde::Serialize
            + Clone
            + std::fmt::Debug,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.objects()
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    /// A Deployment with this many replicas and pods that have been ready for long.
    async fn deploy(&self, replicas: usize) {
        let labels = json!({"app": "web"});
        let spec = json!({
            "containers": [{"name": "app", "image": "x", "resources": {"requests": {"cpu": "200m"}}}],
        });
        let _: Deployment = self
            .create(json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": spec},
                },
            }))
            .await;
        let long_ago = "2026-01-02T02:00:00Z";
        for number in 0..replicas {
            let name = format!("web-{number}");
            let _: Pod = self
                .create(json!({
                    "apiVersion": "v1", "kind": "Pod",
                    "metadata": {"name": name, "labels": labels}, "spec": spec,
                }))
                .await;
            let status = json!({"status": {
                "phase": "Running",
                "startTime": long_ago,
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": long_ago}],
            }});
            self.objects::<Pod>()
                .patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
                .await
                .unwrap();
        }
    }

    fn use_cpu(&self, milli: &[i64]) {
        let names = (0..).map(|number| format!("web-{number}"));
        *self.usage.lock() = names.zip(milli.iter().copied()).collect();
    }

    async fn autoscale(&self, name: &str, metrics: Value) {
        let _: HorizontalPodAutoscaler = self
            .create(json!({
                "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
                "spec": {
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                    "minReplicas": 2, "maxReplicas": 10, "metrics": metrics,
                },
            }))
            .await;
    }

    /// Lets the loop work for this long.
    async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    async fn replicas(&self) -> i32 {
        let deployment = self.objects::<Deployment>().get("web").await.unwrap();
        deployment
            .spec
            .and_then(|spec| spec.replicas)
            .unwrap_or_default()
    }

    async fn autoscaler(&self, name: &str) -> Value {
        json!(
            self.objects::<HorizontalPodAutoscaler>()
                .get(name)
                .await
                .unwrap()
        )
    }

    /// Reason and message of a condition.
    async fn condition(&self, name: &str, kind: &str) -> (String, String) {
        let autoscaler = self.autoscaler(name).await;
        let conditions = autoscaler["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let found = conditions
            .iter()
            .find(|condition| condition["type"] == kind)
            .cloned()
            .unwrap_or_default();
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        (text("reason"), text("message"))
    }

    /// Reason and message of each event, with how often it came.
    async fn events(&self) -> Vec<(String, String, i32)> {
        let list = self
            .objects::<Event>()
            .list(&ListParams::default())
            .await
            .unwrap();
        let of = |event: Event| {
            let text = |field: Option<String>| field.unwrap_or_default();
            (
                text(event.reason),
                text(event.message),
                event.count.unwrap_or_default(),
            )
        };
        list.items.into_iter().map(of).collect()
    }
}

fn cpu() -> Value {
    json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}])
}

#[tokio::test(start_paused = true)]
async fn a_busy_deployment_is_scaled_and_told_of() {
    let world = World::start().await;
    world.serve_metrics();
    world.deploy(2).await;
    world.use_cpu(&[200, 200]);
    world.autoscale("web", cpu()).await;
    world.pass(1).await;
    assert_eq!(
        world.replicas().await,
        3,
        "a new autoscaler is looked at at once"
    );
    let status = world.autoscaler("web").await["status"].clone();
    assert_eq!(status["currentReplicas"], 2);
    assert_eq!(status["desiredReplicas"], 3);
    assert_eq!(status["lastScaleTime"], "2026-01-02T03:04:05Z");
    assert_eq!(
        status["currentMetrics"],
        json!([{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 100, "averageValue": "200m"}}}])
    );
    let kinds: Vec<&str> = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|found| found["type"].as_str())
        .collect();
    assert_eq!(kinds, ["AbleToScale", "ScalingActive", "ScalingLimited"]);
    let told = "New size: 3; reason: cpu resource utilization (percentage of request) above target";
    assert_eq!(
        world.events().await,
        [("SuccessfulRescale".to_owned(), told.to_owned(), 1)]
    );
    let key = ObjectKey::new(NAMESPACE, "web");
    let explained = world.explanations.get(&key).expect("the reasons are kept");
    assert_eq!(
        (
            explained.explanation.stage,
            explained.explanation.desired_replicas
        ),
        (Stage::Metrics, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn the_period_is_kept_and_an_unchanged_status_is_not_written() {
    let world = World::start().await;
    world.serve_metrics();
    world.deploy(2).await;
    world.use_cpu(&[140, 140]);
    world.autoscale("web", cpu()).await;
    world.pass(1).await;
    let version = world
        .objects::<HorizontalPodAutoscaler>()
        .get("web")
        .await
        .unwrap()
        .resource_version();
    world.pass(60).await;
    let later = world
        .objects::<HorizontalPodAutoscaler>()
        .get("web")
        .await
        .unwrap()
        .resource_version();
    assert_eq!(version, later);
    // The next look is due 75 s after the first.
    world.use_cpu(&[400, 400]);
    world.pass(13).await;
    assert_eq!(world.replicas().await, 2);
    world.pass(2).await;
    assert_eq!(world.replicas().await, 4);
}

#[tokio::test(start_paused = true)]
async fn without_a_metrics_api_the_reason_is_that_of_kubernetes() {
    let world = World::start().await;
    world.deploy(2).await;
    world.autoscale("web", cpu()).await;
    world.pass(20).await;
    let cause = "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from \
                 resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)";
    assert_eq!(
        world.condition("web", "ScalingActive").await,
        (
            "FailedGetResourceMetric".to_owned(),
            format!("the HPA was unable to compute the replica count: {cause}")
        )
    );
    let invalid = format!(
        "invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: {cause}"
    );
    assert_eq!(
        world.events().await,
        [
            ("FailedGetResourceMetric".to_owned(), cause.to_owned(), 2),
            ("FailedComputeMetricsReplicas".to_owned(), invalid, 2)
        ]
    );
    assert_eq!(world.replicas().await, 2);
}

#[tokio::test(start_paused = true)]
async fn metrics_that_nobody_serves_are_told_of() {
    let world = World::start().await;
    world.deploy(2).await;
    let metrics = json!([
        {"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"}}},
        {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "10"}}},
    ]);
    world.autoscale("web", metrics).await;
    world.pass(1).await;
    let events: Vec<String> = world
        .events()
        .await
        .into_iter()
        .map(|(_, message, _)| message)
        .collect();
    let pods = "unable to get metric rps: unable to fetch metrics from custom metrics API: no custom metrics API \
                (custom.metrics.k8s.io) registered";
    let external = "unable to get external metric default/queue/nil: unable to fetch metrics from external metrics \
                    API: the server could not find the requested resource (get queue.external.metrics.k8s.io)";
    assert!(events.iter().any(|event| event == pods), "{events:?}");
    assert!(events.iter().any(|event| event == external), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_not_there_is_told_of() {
    let world = World::start().await;
    world.autoscale("web", cpu()).await;
    world.pass(1).await;
    let message = "the HPA controller was unable to get the target's current scale: deployments.apps \"web\" not found";
    assert_eq!(
        world.condition("web", "AbleToScale").await,
        ("FailedGetScale".to_owned(), message.to_owned())
    );
    assert_eq!(
        world.events().await,
        [(
            "FailedGetScale".to_owned(),
            "deployments.apps \"web\" not found".to_owned(),
            1
        )]
    );
}

#[tokio::test(start_paused = true)]
async fn two_autoscalers_of_the_same_pods_hold_still() {
    let world = World::start().await;
    world.serve_metrics();
    world.deploy(2).await;
    world.use_cpu(&[140, 140]);
    world.autoscale("one", cpu()).await;
    world.autoscale("two", cpu()).await;
    world.pass(20).await;
    let told =
        "pods by selector app=web are controlled by multiple HPAs: [{one default} {two default}]";
    for name in ["one", "two"] {
        assert_eq!(
            world.condition(name, "ScalingActive").await,
            ("AmbiguousSelector".to_owned(), told.to_owned())
        );
    }
    world
        .objects::<HorizontalPodAutoscaler>()
        .delete("two", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    world.pass(20).await;
    assert_eq!(
        world.condition("one", "ScalingActive").await.0,
        "ValidMetricFound"
    );
}

#[tokio::test(start_paused = true)]
async fn a_changed_spec_is_looked_at_at_once() {
    let world = World::start().await;
    world.serve_metrics();
    world.deploy(2).await;
    world.use_cpu(&[140, 140]);
    world.autoscale("web", cpu()).await;
    world.pass(1).await;
    let change = json!({"spec": {"minReplicas": 5}});
    let autoscalers = world.objects::<HorizontalPodAutoscaler>();
    autoscalers
        .patch("web", &PatchParams::default(), &Patch::Merge(change))
        .await
        .unwrap();
    world.pass(1).await;
    assert_eq!(world.replicas().await, 5);
    let told = "New size: 5; reason: Current number of replicas below Spec.MinReplicas";
    assert!(
        world
            .events()
            .await
            .iter()
            .any(|(_, message, _)| message == told)
    );
}
