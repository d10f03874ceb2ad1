use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use springtide_client::{Backoff, Cache, Context, Next, ObjectKey, WorkQueue, feed, pods};
use springtide_machinery::clock::Clock;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::life::{Life, Step, next_step};
use crate::load::{Load, Meter, Running, Use};

/// Pods worked on at once.
const WORKERS: usize = 16;

type Readiness = dyn Fn(&Pod) -> bool + Send + Sync;

/// A node without processes. Cheap to clone; clones are the same node.
#[derive(Clone)]
pub struct HollowNode {
    name: String,
    allocatable: Value,
    life: Life,
    load: Arc<dyn Load>,
    readiness: Arc<Readiness>,
    meter: Arc<Mutex<Meter>>,
}

/// A hollow node at work.
struct Kubelet {
    node: HollowNode,
    context: Context,
    pods: Cache<Pod>,
    /// By uid: when a pod was first seen, and its address.
    known: Mutex<BTreeMap<String, (Timestamp, u32)>>,
}

// === impl HollowNode ===

impl HollowNode {
    /// A node with 4 cores, 16 GiB and room for 110 pods, whose pods are ready after a second,
    /// end after a second, use nothing, and always answer.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            allocatable: json!({"cpu": "4", "memory": "16Gi", "pods": "110", "ephemeral-storage": "100Gi"}),
            life: Life {
                start: Duration::from_secs(1),
                stop: Duration::from_secs(1),
            },
            load: Arc::new(|_: &Running<'_>| Use::default()),
            readiness: Arc::new(|_| true),
            meter: Arc::default(),
        }
    }

    /// What its pods may use, as in the Node's `status.allocatable`.
    #[must_use]
    pub fn allocatable(mut self, allocatable: Value) -> Self {
        self.allocatable = allocatable;
        self
    }

    /// How long pods take to become ready.
    #[must_use]
    pub fn start_delay(mut self, delay: Duration) -> Self {
        self.life.start = delay;
        self
    }

    /// How long pods take to end, if their grace allows.
    #[must_use]
    pub fn stop_delay(mut self, delay: Duration) -> Self {
        self.life.stop = delay;
        self
    }

    /// What its pods use.
    #[must_use]
    pub fn load(mut self, load: impl Load + 'static) -> Self {
        self.load = Arc::new(load);
        self
    }

    /// Which pods answer their readiness probe. Asked when a pod is started or changes.
    #[must_use]
    pub fn readiness(mut self, answers: impl Fn(&Pod) -> bool + Send + Sync + 'static) -> Self {
        self.readiness = Arc::new(answers);
        self
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The part of a kubelet's API that says what its pods use: `/metrics/resource`; and `/healthz`.
    pub fn router(&self, context: &Context) -> Router {
        let (node, pods, clock) = (
            self.clone(),
            context.caches.of::<Pod>(),
            context.clock.clone(),
        );
        let started = Instant::now();
        let measure = move || {
            let text = node.measure(&pods, &clock, started);
            async move { text }
        };
        Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/metrics/resource", get(measure))
    }

    fn measure(&self, pods: &Cache<Pod>, clock: &Clock, started: Instant) -> String {
        let all = pods.list();
        let controller = |pod: &Pod| {
            let owner = pod
                .owner_references()
                .iter()
                .find(|owner| owner.controller == Some(true));
            owner.map(|owner| owner.uid.clone())
        };
        let mut peers: BTreeMap<Option<String>, usize> = BTreeMap::new();
        for pod in all
            .iter()
            .filter(|pod| pods::is_ready(pod) && !pods::is_terminating(pod))
        {
            *peers.entry(controller(pod)).or_default() += 1;
        }
        let runs = |pod: &&Arc<Pod>| {
            pods::node_name(pod) == Some(self.name.as_str()) && pods::phase(pod) == "Running"
        };
        let running: Vec<(&Pod, Use)> = all
            .iter()
            .filter(runs)
            .map(|pod| {
                let peers = peers.get(&controller(pod)).copied().unwrap_or(0);
                let running = Running {
                    pod,
                    peers,
                    elapsed: started.elapsed(),
                };
                (&**pod, self.load.of(&running))
            })
            .collect();
        let mut meter = self.meter.lock();
        meter.advance(&running, clock.now());
        meter.text()
    }

    /// Registers the node and runs its pods until `stop` is cancelled.
    pub async fn run(self, context: Context, stop: CancellationToken) {
        let pods: Cache<Pod> = context.caches.of();
        let kubelet = Kubelet {
            node: self,
            pods,
            context,
            known: Mutex::default(),
        };
        let queue = WorkQueue::new();
        let name = kubelet.node.name.clone();
        let is_own = move |pod: &Pod| pods::node_name(pod) == Some(name.as_str());
        let of_node = is_own.clone();
        let all = {
            let pods = kubelet.pods.clone();
            move || {
                pods.list()
                    .iter()
                    .filter(|pod| of_node(pod))
                    .map(|pod| ObjectKey::of(&**pod))
                    .collect()
            }
        };
        let feeding = feed(
            &kubelet.pods,
            &queue,
            move |pod| {
                is_own(pod)
                    .then(|| ObjectKey::of(pod))
                    .into_iter()
                    .collect()
            },
            all,
        );
        let working = async {
            kubelet.register().await;
            kubelet.pods.synced().await;
            queue
                .serve(WORKERS, &stop, |key| kubelet.reconcile(key))
                .await;
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = feeding => {}
            () = working => {}
        }
    }
}

// === impl Kubelet ===

impl Kubelet {
    /// Makes the Node, again until it is there.
    async fn register(&self) {
        let api: Api<Node> = Api::all(self.context.client.clone());
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
        loop {
            match self.try_register(&api).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(node = self.node.name, %error, "node not registered, trying again");
                    tokio::time::sleep(backoff.fail()).await;
                }
            }
        }
    }

    async fn try_register(&self, api: &Api<Node>) -> kube::Result<()> {
        let now = Time(self.context.clock.now());
        let name = &self.node.name;
        if api.get_opt(name).await?.is_none() {
            let node = json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": name, "labels": {
                    "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}},
            });
            // What is written here is a Node.
            let node: Node = serde_json::from_value(node).map_err(kube::Error::SerdeError)?;
            api.create(&PostParams::default(), &node).await?;
        }
        let status = json!({"status": {
            "capacity": self.node.allocatable,
            "allocatable": self.node.allocatable,
            "addresses": [{"type": "Hostname", "address": name}],
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady",
                "message": "kubelet is posting ready status",
                "lastHeartbeatTime": now, "lastTransitionTime": now,
            }],
        }});
        api.patch_status(name, &PatchParams::default(), &Patch::Strategic(status))
            .await?;
        Ok(())
    }

    async fn reconcile(&self, key: ObjectKey) -> kube::Result<Next> {
        let Some(pod) = self
            .pods
            .find(&key)
            .filter(|pod| pods::node_name(pod) == Some(&self.node.name))
        else {
            self.forget_gone();
            return Ok(Next::Settled);
        };
        let now = self.context.clock.now();
        let (seen, address) = self.know(&pod, now);
        let ready = (self.node.readiness)(&pod);
        match next_step(&pod, seen, ready, self.node.life, now) {
            Step::Rest => return Ok(Next::Settled),
            Step::Wait(until) => {
                let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
                return Ok(Next::After(left.max(Duration::from_millis(1))));
            }
            Step::Accept => self.write(&pod, accepted(&pod, now)).await?,
            Step::Run => self.write(&pod, running(&pod, address, ready, now)).await?,
            Step::SetReady(ready) => self.write(&pod, running(&pod, address, ready, now)).await?,
            Step::Remove => self.remove(&pod).await?,
        }
        Ok(Next::Settled)
    }

    /// When the pod was first seen, and the number of its address.
    fn know(&self, pod: &Pod, now: Timestamp) -> (Timestamp, u32) {
        let mut known = self.known.lock();
        let uid = pod.uid().unwrap_or_default();
        if let Some(entry) = known.get(&uid) {
            return *entry;
        }
        let taken: Vec<u32> = known.values().map(|(_, address)| *address).collect();
        let address = (2..).find(|number| !taken.contains(number)).unwrap_or(2);
        known.insert(uid, (now, address));
        (now, address)
    }

    fn forget_gone(&self) {
        let uids: Vec<String> = self
            .pods
            .list()
            .iter()
            .filter_map(|pod| pod.uid())
            .collect();
        self.known.lock().retain(|uid, _| uids.contains(uid));
    }

    fn api(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(
            self.context.client.clone(),
            &pod.namespace().unwrap_or_default(),
        )
    }

    async fn write(&self, pod: &Pod, status: Value) -> kube::Result<()> {
        let change = json!({"metadata": {"uid": pod.uid()}, "status": status});
        let written = self
            .api(pod)
            .patch_status(
                &pod.name_any(),
                &PatchParams::default(),
                &Patch::Strategic(change),
            )
            .await;
        unless_gone(written.map(drop))
    }

    async fn remove(&self, pod: &Pod) -> kube::Result<()> {
        let preconditions = Some(Preconditions {
            uid: pod.uid(),
            resource_version: None,
        });
        let how = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions,
            ..DeleteParams::default()
        };
        unless_gone(self.api(pod).delete(&pod.name_any(), &how).await.map(drop))
    }
}

/// A pod that is gone needs nothing. Where another one has its name, the next look finds that out.
fn unless_gone(result: kube::Result<()>) -> kube::Result<()> {
    match result {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}

fn condition(kind: &str, is_true: bool, now: &Time) -> Value {
    json!({"type": kind, "status": if is_true { "True" } else { "False" }, "lastTransitionTime": now})
}

fn container_statuses(pod: &Pod, ready: bool, state: &Value) -> Vec<Value> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let status = |name: &str, image: Option<&str>| {
        json!({
            "name": name, "image": image.unwrap_or_default(), "imageID": "", "ready": ready,
            "restartCount": 0, "started": state.get("running").is_some(), "state": state,
        })
    };
    containers
        .map(|container| status(&container.name, container.image.as_deref()))
        .collect()
}

fn accepted(pod: &Pod, now: Timestamp) -> Value {
    let now = Time(now);
    json!({
        "phase": "Pending",
        "startTime": now,
        "conditions": [
            condition("Initialized", true, &now),
            condition("Ready", false, &now),
            condition("ContainersReady", false, &now),
        ],
        "containerStatuses": container_statuses(pod, false, &json!({"waiting": {"reason": "ContainerCreating"}})),
    })
}

fn running(pod: &Pod, address: u32, ready: bool, now: Timestamp) -> Value {
    let address = format!("10.244.{}.{}", address / 250, address % 250 + 1);
    let time = Time(now);
    let started = pod
        .status
        .as_ref()
        .and_then(|status| status.start_time.clone())
        .unwrap_or(Time(now));
    json!({
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "hostIP": "127.0.0.1",
        "conditions": [condition("Ready", ready, &time), condition("ContainersReady", ready, &time)],
        "containerStatuses": container_statuses(pod, ready, &json!({"running": {"startedAt": started}})),
    })
}
