//! A node that runs nothing: its pods start on time, use the CPU a load asks of them, and stop when told.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use springtide_apiserver::ApiServer;
use springtide_client::{Cache, Context, pods};
use springtide_machinery::clock::{Clock, rfc3339};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub(crate) const NAME: &str = "hollow";

/// How often pods are looked at and CPU is used.
const STEP: Duration = Duration::from_millis(250);
/// From the binding of a pod to its container running …
const START: Duration = Duration::from_secs(1);
/// … and to its being ready.
const READY: Duration = Duration::from_secs(3);
/// How long a pod takes to stop.
const STOP: Duration = Duration::from_secs(1);
/// What a container may use at most: the limit of FeastFlow's backend.
const LIMIT_MILLI: f64 = 500.0;
const MEMORY_BYTES: u64 = 64 << 20;

/// The CPU all pods together are asked for, in millicores. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Load(Arc<Mutex<f64>>);

impl Load {
    pub(crate) fn set(&self, milli: i64) {
        *self.0.lock() = milli as f64;
    }

    pub(crate) fn get(&self) -> i64 {
        *self.0.lock() as i64
    }
}

/// What the node knows of a pod.
struct Running {
    namespace: String,
    name: String,
    container: String,
    bound: Instant,
    told: Told,
    stopping: Option<Instant>,
    cpu_seconds: f64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Running,
    Ready,
}

type Book = Arc<Mutex<BTreeMap<String, Running>>>;

/// Runs the node until `stop` is cancelled.
pub(crate) async fn run(api: ApiServer, context: Context, load: Load, stop: CancellationToken) {
    let book: Book = Arc::default();
    api.attach_kubelet(NAME, metrics(Arc::clone(&book), context.clock.clone()));
    register(&context).await;
    let cache = context.caches.of::<Pod>();
    cache.synced().await;
    let mut steps = interval(STEP);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = steps.tick() => step(&context, &cache, &book, &load).await,
        }
    }
}

async fn register(context: &Context) {
    let capacity = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
    let node: Node = serde_json::from_value(json!({"metadata": {"name": NAME}})).unwrap();
    let nodes: Api<Node> = Api::all(context.client.clone());
    nodes.create(&PostParams::default(), &node).await.unwrap();
    let status = json!({"status": {
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}],
    }});
    nodes
        .patch_status(NAME, &PatchParams::default(), &Patch::Merge(status))
        .await
        .unwrap();
}

/// Moves every pod of the node on, and lets those that serve use CPU.
async fn step(context: &Context, cache: &Cache<Pod>, book: &Book, load: &Load) {
    let now = Instant::now();
    let mine: Vec<Arc<Pod>> = cache
        .list()
        .into_iter()
        .filter(|pod| pods::node_name(pod) == Some(NAME))
        .collect();
    book.lock()
        .retain(|uid, _| mine.iter().any(|pod| pod.uid().as_deref() == Some(uid)));
    for pod in &mine {
        let uid = pod.uid().unwrap_or_default();
        let (told, bound, stopped) = {
            let mut book = book.lock();
            let known = book
                .entry(uid.clone())
                .or_insert_with(|| Running::new(pod, now));
            if pods::is_terminating(pod) {
                known.stopping.get_or_insert(now);
            }
            (
                known.told,
                known.bound,
                known.stopping.is_some_and(|since| now - since >= STOP),
            )
        };
        if stopped {
            delete(context, pod, &uid).await;
            continue;
        }
        let due = match now - bound {
            age if age >= READY => Told::Ready,
            age if age >= START => Told::Running,
            _ => Told::Nothing,
        };
        if due > told
            && tell(context, pod, due).await
            && let Some(known) = book.lock().get_mut(&uid)
        {
            known.told = due;
        }
    }
    let mut book = book.lock();
    let serving: Vec<&mut Running> = book
        .values_mut()
        .filter(|pod| pod.told == Told::Ready && pod.stopping.is_none())
        .collect();
    let share = (*load.0.lock() / serving.len().max(1) as f64).min(LIMIT_MILLI);
    for pod in serving {
        pod.cpu_seconds += share / 1000.0 * STEP.as_secs_f64();
    }
}

impl Running {
    fn new(pod: &Pod, now: Instant) -> Self {
        let container = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.containers.first())
            .map(|found| found.name.clone());
        Self {
            namespace: pod.namespace().unwrap_or_default(),
            name: pod.name_any(),
            container: container.unwrap_or_default(),
            bound: now,
            told: Told::Nothing,
            stopping: None,
            cpu_seconds: 0.0,
        }
    }
}

async fn tell(context: &Context, pod: &Pod, what: Told) -> bool {
    let now = rfc3339(context.clock.now());
    let ready = if what == Told::Ready { "True" } else { "False" };
    let mut status = json!({
        "phase": "Running",
        "conditions": [
            {"type": "Initialized", "status": "True", "lastTransitionTime": now},
            {"type": "ContainersReady", "status": ready, "lastTransitionTime": now},
            {"type": "Ready", "status": ready, "lastTransitionTime": now},
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": now},
        ],
    });
    if what == Told::Running {
        status["startTime"] = Value::String(now);
    }
    let api: Api<Pod> =
        Api::namespaced(context.client.clone(), &pod.namespace().unwrap_or_default());
    let patch = Patch::Merge(json!({ "status": status }));
    api.patch_status(&pod.name_any(), &PatchParams::default(), &patch)
        .await
        .is_ok()
}

async fn delete(context: &Context, pod: &Pod, uid: &str) {
    let api: Api<Pod> =
        Api::namespaced(context.client.clone(), &pod.namespace().unwrap_or_default());
    let mut now = DeleteParams::default().grace_period(0);
    now.preconditions = Some(Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    });
    // Tried again at the next step if it failed.
    let _ = api.delete(&pod.name_any(), &now).await;
}

/// The kubelet's `/metrics/resource`.
fn metrics(book: Book, clock: Clock) -> Router {
    let answer = move || {
        let text = exposition(&book.lock(), clock.now());
        async move { text }
    };
    Router::new().route("/metrics/resource", get(answer))
}

fn exposition(book: &BTreeMap<String, Running>, now: Timestamp) -> String {
    let at = now.as_millisecond();
    let mut text = String::new();
    let running = || book.values().filter(|pod| pod.told > Told::Nothing);
    for pod in running() {
        let Running {
            namespace,
            name,
            container,
            cpu_seconds,
            ..
        } = pod;
        let labels =
            format!("{{container=\"{container}\",namespace=\"{namespace}\",pod=\"{name}\"}}");
        let _ = writeln!(
            text,
            "container_cpu_usage_seconds_total{labels} {cpu_seconds} {at}"
        );
        let _ = writeln!(
            text,
            "container_memory_working_set_bytes{labels} {MEMORY_BYTES} {at}"
        );
    }
    let cpu: f64 = running().map(|pod| pod.cpu_seconds).sum();
    let _ = writeln!(text, "node_cpu_usage_seconds_total {cpu} {at}");
    let _ = writeln!(
        text,
        "node_memory_working_set_bytes {} {at}",
        MEMORY_BYTES * running().count() as u64
    );
    text
}
