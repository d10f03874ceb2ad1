//! FeastFlow's timeline: two replicas, four, six, held through the five-minute window, four, two.
//!
//! The whole control plane runs under paused time: API server over a store in memory, controllers, scheduler, metrics
//! API scraped once a second, autoscaler with Kubernetes' own sync period. Deployment and autoscalers are the
//! files of `examples/feastflow`, policies included. Only the node is hollow: it starts and stops pods on
//! time and lets them use the CPU that the load asks for. The tables printed are those of FeastFlow's README
//! (`cargo test -p springtide-sim --test feastflow_timeline -- --nocapture`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec};
use k8s_openapi::api::core::v1::{Event, Namespace};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use springtide_apiserver::{AggregatedResource, ApiServer};
use springtide_autoscaler::horizontal::{
    self, Constants, ContainerRequests, History, Observed, PodSample, PodView, Reading,
    ReadyCondition, Tristate, decide,
};
use springtide_client::{Caches, Context, pods};
use springtide_machinery::clock::Clock;
use springtide_machinery::entropy::Entropy;
use springtide_metrics::{SERVED, Usage};
use springtide_sim::{HollowNode, Running, Use};
use springtide_store::Store;
use tokio_util::sync::CancellationToken;

const NAMESPACE: &str = "feastflow";
const BACKEND: &str = "feastflow-backend";
const AUTOSCALER: &str = "feastflow-backend-hpa";

/// From when on how much CPU is asked for, in seconds and millicores.
const PHASES: [(u64, i64); 4] = [(0, 120), (31, 500), (76, 800), (181, 120)];
/// How long the timeline is.
const END: u64 = 600;

/// What a backend's container may use at most: its limit.
const LIMIT_CORES: f64 = 0.5;

/// The CPU all pods together are asked for, in millicores. Clones share it.
#[derive(Clone, Default)]
struct Load(Arc<AtomicI64>);

impl Load {
    fn set(&self, milli: i64) {
        self.0.store(milli, Ordering::Relaxed);
    }

    fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Shares the load among the pods that are ready.
    fn model(&self) -> impl Fn(&Running<'_>) -> Use + Send + Sync + 'static {
        let load = self.clone();
        move |running| {
            let serves = pods::is_ready(running.pod) && !pods::is_terminating(running.pod);
            let share = load.get() as f64 / 1000.0 / running.peers.max(1) as f64;
            Use {
                cpu: if serves { share.min(LIMIT_CORES) } else { 0.0 },
                memory: 64.0 * 1024.0 * 1024.0,
            }
        }
    }
}

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    second: u64,
    offered: i64,
    utilization: Option<i64>,
    replicas: i32,
    ready: i32,
    reason: String,
}

#[tokio::test(start_paused = true)]
async fn replicas_follow_the_load_as_the_guide_says() {
    let world = World::start().await;
    let rows = world.watch().await;

    println!("\n| Time | CPU offered | CPU usage | Replicas | Ready | What the autoscaler says |");
    println!("| ---- | ----------- | --------- | -------- | ----- | ------------------------ |");
    for row in &rows {
        let usage = row
            .utilization
            .map_or_else(|| "–".to_owned(), |percent| format!("{percent}%"));
        let Row {
            second,
            offered,
            replicas,
            ready,
            reason,
            ..
        } = row;
        println!("| {second}s | {offered}m | {usage} | {replicas} | {ready} | {reason} |");
    }

    let mut levels: Vec<(u64, i32)> = Vec::new();
    for row in &rows {
        if levels
            .last()
            .is_none_or(|(_, replicas)| *replicas != row.replicas)
        {
            levels.push((row.second, row.replicas));
        }
    }
    assert_eq!(levels, [(0, 2), (45, 4), (90, 6), (480, 4), (540, 2)]);
    let rescales: Vec<String> = world.events("SuccessfulRescale").await;
    let above = "reason: cpu resource utilization (percentage of request) above target";
    let below = "reason: All metrics below target";
    let told = [("4", above), ("6", above), ("4", below), ("2", below)];
    assert_eq!(
        rescales,
        told.map(|(size, reason)| format!("New size: {size}; {reason}"))
    );
}

#[test]
fn the_guides_own_percentages_give_other_replicas() {
    // Time, percent and replicas of the table in FeastFlow's scaling guide.
    let guide = [
        (0, 30, 2),
        (30, 85, 2),
        (45, 90, 4),
        (60, 75, 4),
        (90, 72, 6),
        (120, 68, 6),
        (180, 25, 6),
        (480, 20, 4),
        (780, 15, 2),
    ];
    let spec = autoscalers().remove(0).spec;
    let reached = replicas_under(&spec, &guide);

    println!(
        "\n| Time | CPU usage | Replicas in the guide | What 70 % asks for then | Replicas if this was measured |"
    );
    println!(
        "| ---- | --------- | --------------------- | ----------------------- | ----------------------------- |"
    );
    let mut asked = Vec::new();
    for ((second, percent, replicas), reached) in guide.iter().zip(&reached) {
        let wanted = proposal(&spec, *replicas, *percent);
        asked.push(wanted);
        println!("| {second}s | {percent}% | {replicas} | {wanted} | {reached} |");
    }
    assert_eq!(
        asked,
        [1, 3, 6, 4, 6, 6, 3, 2, 1],
        "85 % on two asks for three, 25 % on six for three"
    );
    assert_eq!(
        reached,
        [2, 3, 4, 4, 4, 4, 4, 2, 2],
        "held for five minutes, never six"
    );
}

/// What the metric alone asks for, before windows and policies.
fn proposal(spec: &HorizontalPodAutoscalerSpec, replicas: i32, percent: i64) -> i32 {
    let decision = tick(spec, &mut History::default(), replicas, percent, 0);
    let proposal = decision.explanation.metrics[0]
        .proposal
        .as_ref()
        .expect("the metric is valid");
    proposal.replicas
}

/// The replicas after each line's first decision, if every decision measured the line's percentage on
/// however many replicas there are.
fn replicas_under(spec: &HorizontalPodAutoscalerSpec, guide: &[(i64, i64, i32)]) -> Vec<i32> {
    let mut history = History::default();
    let mut replicas = 2;
    let mut reached = Vec::new();
    for (place, (second, percent, _)) in guide.iter().enumerate() {
        let end = guide
            .get(place + 1)
            .map_or(second + 15, |(next, _, _)| *next);
        for now in (*second..end).step_by(15) {
            let decision = tick(spec, &mut history, replicas, *percent, now);
            let desired = decision.explanation.desired_replicas;
            let _ = decision.finish(Ok(()), &mut history);
            replicas = desired;
            if now == *second {
                reached.push(replicas);
            }
        }
    }
    reached
}

/// One decision with all pods ready and at this percentage of their 200m.
fn tick(
    spec: &HorizontalPodAutoscalerSpec,
    history: &mut History,
    replicas: i32,
    percent: i64,
    second: i64,
) -> horizontal::Decision {
    let base: jiff::Timestamp = "2026-01-02T03:00:00Z".parse().unwrap();
    let now = base + SignedDuration::from_secs(second);
    let long_ago = base - SignedDuration::from_secs(3600);
    let pods: Vec<PodView> = (0..replicas)
        .map(|number| PodView {
            name: format!("backend-{number}"),
            phase: "Running".to_owned(),
            deleted: false,
            start_time: Some(long_ago),
            ready: Some(ReadyCondition {
                status: Tristate::True,
                since: long_ago,
            }),
            containers: vec![ContainerRequests {
                name: "backend".to_owned(),
                requests: BTreeMap::from([
                    ("cpu".to_owned(), 200),
                    ("memory".to_owned(), (256 << 20) * 1000),
                ]),
            }],
            pod_requests: None,
        })
        .collect();
    let reading = |value: i64| {
        let sample = PodSample {
            value,
            timestamp: now,
            window: Duration::from_secs(5),
        };
        Ok(Reading::Pods(
            pods.iter()
                .map(|pod| (pod.name.clone(), sample.clone()))
                .collect(),
        ))
    };
    let observed = Observed {
        namespace: NAMESPACE,
        spec,
        conditions: &[],
        spec_replicas: replicas,
        status_replicas: replicas,
        pods: Ok(&pods),
        readings: &[reading(2 * percent), reading((64 << 20) * 1000)],
        now,
        constants: &Constants::default(),
    };
    decide(&observed, history)
}

/// The control plane with FeastFlow's backend on it. Dropping it ends all of it.
struct World {
    client: Client,
    load: Load,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    async fn start() -> Self {
        let clock = Clock::simulated("2026-01-02T03:00:00Z".parse().unwrap());
        let entropy = Entropy::from_seed(2);
        let api = ApiServer::builder(Store::in_memory(), clock.clone(), entropy.clone())
            .build()
            .await
            .unwrap();
        let caches = Caches::new(api.client("system:caches"));
        let stop = CancellationToken::new();
        let as_user = |user: &str| Context {
            client: api.client(user),
            caches: caches.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
        };
        let usage = Usage::new(Duration::from_secs(5));
        let router = springtide_metrics::router(usage.clone(), &caches, clock.clone());
        api.aggregate(
            springtide_metrics::GROUP,
            springtide_metrics::VERSION,
            served(),
            router,
        );
        let scraping = springtide_metrics::Options::default();
        tokio::spawn(springtide_metrics::run(
            as_user("system:metrics"),
            usage,
            scraping,
            stop.clone(),
        ));
        tokio::spawn(springtide_controllers::run(
            as_user("system:kube-controller-manager"),
            stop.clone(),
        ));
        let options = horizontal::Options::default();
        tokio::spawn(horizontal::run(
            as_user("system:horizontal-pod-autoscaler"),
            options,
            stop.clone(),
        ));
        let load = Load::default();
        let node = HollowNode::new("hollow")
            .start_delay(Duration::from_secs(3))
            .load(load.model());
        let kubelet = as_user("system:node:hollow");
        api.attach_kubelet("hollow", node.router(&kubelet));
        tokio::spawn(node.run(kubelet, stop.clone()));
        tokio::spawn(springtide_scheduler::run(
            as_user("system:kube-scheduler"),
            stop.clone(),
        ));

        let world = Self {
            client: api.client("kubernetes-admin"),
            load,
            stop,
        };
        world.deploy().await;
        world
    }

    /// Applies the backend, waits until it has settled, then applies its autoscaler.
    async fn deploy(&self) {
        let namespace: Vec<Namespace> = example("00-namespace.yaml");
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        namespaces
            .create(&PostParams::default(), &namespace[0])
            .await
            .unwrap();
        let deployment: Vec<Deployment> = example("06-backend-deployment.yaml");
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), NAMESPACE);
        deployments
            .create(&PostParams::default(), &deployment[0])
            .await
            .unwrap();
        self.load.set(PHASES[0].1);
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let status = deployments.get(BACKEND).await.unwrap().status;
            if status.and_then(|status| status.ready_replicas) == Some(2) {
                break;
            }
        }
        // Usage is known once a whole window has been measured.
        tokio::time::sleep(Duration::from_secs(10)).await;
        let autoscaler: Api<HorizontalPodAutoscaler> =
            Api::namespaced(self.client.clone(), NAMESPACE);
        autoscaler
            .create(&PostParams::default(), &autoscalers()[0])
            .await
            .unwrap();
    }

    /// Drives the load and writes down what changes, looking half a second after each full one.
    async fn watch(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        let mut told = 0;
        tokio::time::sleep(Duration::from_millis(500)).await;
        for second in 0..=END {
            let phase = PHASES.iter().find(|(from, _)| *from == second);
            if let Some((_, offered)) = phase {
                self.load.set(*offered);
            }
            let mut row = self.row(second).await;
            let rescales = self.events("SuccessfulRescale").await;
            if let Some(newest) = rescales.get(told) {
                row.reason.clone_from(newest);
                told += 1;
            }
            let is_change = rows
                .last()
                .is_none_or(|last| last.replicas != row.replicas || last.ready != row.ready);
            // The levels between changes are shown where the guide's table shows them.
            if is_change || [30, 60, 120, 180, 240, 360, 465, END].contains(&second) {
                rows.push(row);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        rows
    }

    async fn row(&self, second: u64) -> Row {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), NAMESPACE);
        let deployment = deployments.get(BACKEND).await.unwrap();
        let autoscaler: Api<HorizontalPodAutoscaler> =
            Api::namespaced(self.client.clone(), NAMESPACE);
        let status = json!(autoscaler.get(AUTOSCALER).await.unwrap().status);
        let condition = |kind: &str| {
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let found = conditions
                .into_iter()
                .find(|condition| condition["type"] == kind);
            found
                .and_then(|found| found["reason"].as_str())
                .unwrap_or_default()
                .to_owned()
        };
        Row {
            second,
            offered: self.load.get(),
            utilization: status["currentMetrics"][0]["resource"]["current"]["averageUtilization"]
                .as_i64(),
            replicas: deployment
                .spec
                .and_then(|spec| spec.replicas)
                .unwrap_or_default(),
            ready: deployment
                .status
                .and_then(|status| status.ready_replicas)
                .unwrap_or_default(),
            reason: condition("AbleToScale"),
        }
    }

    /// The messages of events with this reason, oldest first.
    async fn events(&self, reason: &str) -> Vec<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), NAMESPACE);
        let mut found = events.list(&ListParams::default()).await.unwrap().items;
        found.retain(|event| event.reason.as_deref() == Some(reason));
        found.sort_by_key(|event| event.first_timestamp.clone());
        found
            .into_iter()
            .filter_map(|event| event.message)
            .collect()
    }
}

fn served() -> Vec<AggregatedResource> {
    let resource = |served: &springtide_metrics::ServedResource| AggregatedResource {
        kind: served.kind.to_owned(),
        plural: served.plural.to_owned(),
        singular: String::new(),
        namespaced: served.namespaced,
        verbs: served.verbs.iter().map(ToString::to_string).collect(),
        short_names: Vec::new(),
    };
    SERVED.iter().map(resource).collect()
}

fn autoscalers() -> Vec<HorizontalPodAutoscaler> {
    example("12-backend-hpa.yaml")
}

/// The objects of a file of `examples/feastflow`.
fn example<K: DeserializeOwned>(file: &str) -> Vec<K> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/feastflow")
        .join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    documents
        .into_iter()
        .map(|document| serde_json::from_value(document).unwrap())
        .collect()
}
