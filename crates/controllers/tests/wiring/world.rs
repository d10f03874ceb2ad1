//! A whole platform in one process under paused time: the real API server over a store in
//! memory, the real controllers and scheduler, and a hollow node.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use springtide_apiserver::ApiServer;
use springtide_client::{Caches, Context, pods};
use springtide_machinery::clock::Clock;
use springtide_machinery::entropy::Entropy;
use springtide_sim::{Faults, HollowNode};
use springtide_store::Store;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) const NAMESPACE: &str = "default";

/// A platform. Dropping it ends all its parts.
pub(crate) struct World {
    pub(crate) api: ApiServer,
    /// A user's client, which nothing disturbs.
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    faults: Option<Faults>,
    parts: JoinSet<()>,
    controllers: CancellationToken,
    stop: CancellationToken,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A kind that lives in a namespace.
pub(crate) trait Kind:
    Resource<Scope = NamespaceResourceScope, DynamicType = ()>
    + Clone
    + DeserializeOwned
    + Serialize
    + Debug
{
}

impl<K> Kind for K where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Serialize
        + Debug
{
}

impl World {
    /// A platform with one node, without failures.
    pub(crate) async fn start() -> Self {
        Self::with(HollowNode::new("node"), 1, None).await
    }

    /// A platform with this node; `faults` come between its parts and the API.
    pub(crate) async fn with(node: HollowNode, seed: u64, faults: Option<Faults>) -> Self {
        let clock = Clock::simulated("2026-01-02T03:04:05Z".parse().expect("a time"));
        let entropy = Entropy::from_seed(seed);
        let store = Store::in_memory();
        let api = ApiServer::builder(store, clock.clone(), entropy.clone())
            .build()
            .await
            .expect("an API server");
        let client = api.client("user");
        let stop = CancellationToken::new();
        let mut world = Self {
            api,
            client,
            clock,
            entropy,
            faults,
            parts: JoinSet::new(),
            controllers: stop.child_token(),
            stop,
        };
        let context = world.context("system:node:node");
        world.api.attach_kubelet(node.name(), node.router(&context));
        world.parts.spawn(node.run(context, world.stop.clone()));
        world.start_controllers();
        world
    }

    /// What a part is started with: caches of its own, as after a restart.
    fn context(&self, user: &str) -> Context {
        let direct = self.api.client(user);
        let client = self
            .faults
            .as_ref()
            .map_or_else(|| direct.clone(), |faults| faults.client(&direct));
        let (clock, entropy) = (self.clock.clone(), self.entropy.clone());
        Context {
            caches: Caches::new(client.clone()),
            client,
            clock,
            entropy,
        }
    }

    fn start_controllers(&mut self) {
        let context = self.context("system:kube-controller-manager");
        self.controllers = self.stop.child_token();
        self.parts.spawn(springtide_controllers::run(
            context.clone(),
            self.controllers.clone(),
        ));
        self.parts
            .spawn(springtide_scheduler::run(context, self.controllers.clone()));
    }

    /// Ends the controllers and the scheduler where they are, and starts them anew.
    pub(crate) fn restart_controllers(&mut self) {
        self.controllers.cancel();
        self.start_controllers();
    }

    pub(crate) fn heal(&self) {
        if let Some(faults) = &self.faults {
            faults.heal();
        }
    }

    pub(crate) fn of<K: Kind>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub(crate) async fn create<K: Kind>(&self, value: Value) -> K {
        let object: K = serde_json::from_value(value).expect("a valid object");
        self.of()
            .create(&PostParams::default(), &object)
            .await
            .expect("created")
    }

    pub(crate) async fn patch<K: Kind>(&self, name: &str, change: Value) {
        let patched = self
            .of::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(change))
            .await;
        patched.expect("patched");
    }

    pub(crate) async fn get<K: Kind>(&self, name: &str) -> K {
        self.of().get(name).await.expect("the object exists")
    }

    pub(crate) async fn list<K: Kind>(&self) -> Vec<K> {
        self.of()
            .list(&ListParams::default())
            .await
            .expect("listed")
            .items
    }

    /// The pods that count as replicas.
    pub(crate) async fn pods(&self) -> Vec<Pod> {
        self.list::<Pod>()
            .await
            .into_iter()
            .filter(pods::is_active)
            .collect()
    }

    pub(crate) async fn replica_sets(&self) -> Vec<ReplicaSet> {
        self.list().await
    }

    /// Changes what the node's pods may use.
    pub(crate) async fn patch_node(&self, allocatable: Value) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        self.eventually("the node is registered", async || {
            nodes.get_opt("node").await.expect("an answer").is_some()
        })
        .await;
        let change = json!({"status": {"allocatable": allocatable}});
        let patched = nodes
            .patch_status("node", &PatchParams::default(), &Patch::Merge(change))
            .await;
        patched.expect("patched");
    }

    /// Creates a Deployment of this size.
    pub(crate) async fn deploy(&self, name: &str, replicas: i32) {
        self.create::<Deployment>(deployment(name, replicas)).await;
    }

    pub(crate) async fn scale(&self, name: &str, replicas: i32) {
        self.patch::<Deployment>(name, json!({"spec": {"replicas": replicas}}))
            .await;
    }

    /// Changes the image as `kubectl set image` does.
    pub(crate) async fn set_image(&self, name: &str, image: &str) {
        let containers = json!([{"name": "web", "image": image}]);
        let change = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        let patched = self
            .of::<Deployment>()
            .patch(name, &PatchParams::default(), &Patch::Strategic(change))
            .await;
        patched.expect("patched");
    }

    /// Messages of events with this reason, in order of time.
    pub(crate) async fn messages(&self, reason: &str) -> Vec<String> {
        let mut events: Vec<Event> = self.list().await;
        events.retain(|event| event.reason.as_deref() == Some(reason));
        events.sort_by_key(|event| event.metadata.creation_timestamp.clone().map(|time| time.0));
        events
            .into_iter()
            .filter_map(|event| event.message)
            .collect()
    }

    /// Waits until the Deployment's newest template runs everywhere, as `kubectl rollout status` does.
    pub(crate) async fn rolled_out(&self, name: &str) {
        self.eventually(&format!("{name} is rolled out"), async || {
            let deployment: Deployment = self.get(name).await;
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
            let status = deployment.status.clone().unwrap_or_default();
            let wanted = wanted.filter(|count| *count > 0);
            status.observed_generation == deployment.metadata.generation
                && status.updated_replicas == wanted
                && status.replicas == wanted
                && status.available_replicas == wanted
        })
        .await;
    }

    /// Waits until the condition holds; fails after ten (simulated) minutes.
    pub(crate) async fn eventually(&self, what: &str, holds: impl AsyncFn() -> bool) {
        const BOUND: Duration = Duration::from_secs(600);
        const LOOK: Duration = Duration::from_millis(100);
        let wait = async {
            while !holds().await {
                tokio::time::sleep(LOOK).await;
            }
        };
        if tokio::time::timeout(BOUND, wait).await.is_err() {
            let pods: Vec<String> = self.list::<Pod>().await.iter().map(describe).collect();
            let sets = self.replica_sets().await;
            panic!("not within ten minutes: {what}\npods: {pods:#?}\nsets: {sets:#?}");
        }
    }
}

fn describe(pod: &Pod) -> String {
    let ready = if pods::is_ready(pod) {
        "ready"
    } else {
        "not ready"
    };
    let leaves = if pods::is_terminating(pod) {
        ", leaving"
    } else {
        ""
    };
    format!(
        "{} {} {ready}{leaves}",
        pod.metadata.name.as_deref().unwrap_or_default(),
        pods::phase(pod)
    )
}

/// A Deployment of pods that ask for 200m.
pub(crate) fn deployment(name: &str, replicas: i32) -> Value {
    json!({
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "web", "image": "web:1",
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "resources": {"requests": {"cpu": "200m"}},
                }]},
            },
        },
    })
}
