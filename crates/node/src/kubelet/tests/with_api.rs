//! The kubelet as a client of the real API server, in one process and under paused time.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Event, Node, Pod};
use kube::api::{Api, DeleteParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use springtide_apiserver::ApiServer;
use springtide_client::{Caches, Context, pods};
use springtide_machinery::entropy::Entropy;
use springtide_store::Store;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::world::World;
use crate::kubelet::cluster::ApiCluster;
use crate::registration::{self, Machine};

/// How long a condition is waited for, in simulated time.
const LIMIT: Duration = Duration::from_secs(60);

struct Platform {
    world: std::sync::Arc<World>,
    context: Context,
    pods: Api<Pod>,
    cancel: CancellationToken,
}

impl Platform {
    async fn new() -> Self {
        let world = World::new();
        let entropy = Entropy::from_seed(7);
        let api = ApiServer::builder(Store::in_memory(), world.clock(), entropy.clone())
            .build()
            .await
            .expect("an API server");
        let client = api.client("system:node:n1");
        let context = Context {
            caches: Caches::new(client.clone()),
            clock: world.clock(),
            client,
            entropy,
        };
        Self {
            pods: Api::namespaced(context.client.clone(), "default"),
            world,
            context,
            cancel: CancellationToken::new(),
        }
    }

    /// Starts a kubelet, as a new brain would.
    fn start(&self) -> JoinHandle<()> {
        let context = &self.context;
        let cluster = ApiCluster::new(
            context.client.clone(),
            &context.caches,
            context.recorder("kubelet"),
        );
        let kubelet = self.world.kubelet_with(std::sync::Arc::new(cluster));
        let running = kubelet.run(context.caches.of(), self.cancel.child_token());
        tokio::spawn(async move { running.await.expect("it runs") })
    }

    async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + serde::Serialize,
    {
        let api: Api<K> = Api::namespaced(self.context.client.clone(), "default");
        let object = serde_json::from_value(object).expect("a valid object");
        api.create(&PostParams::default(), &object)
            .await
            .expect("created")
    }

    async fn pod(&self, name: &str, spec: Value) {
        let mut spec = spec;
        spec["nodeName"] = json!("n1");
        spec["runtimeClassName"] = json!("host");
        let object = json!({"metadata": {"name": name}, "spec": spec});
        let _: Pod = self.create(object).await;
    }

    /// Waits until the pod is as wanted.
    async fn wait(&self, name: &str, wanted: impl Fn(Option<&Pod>) -> bool) -> Option<Pod> {
        let waiting = async {
            loop {
                let pod = self.pods.get_opt(name).await.expect("an answer");
                if wanted(pod.as_ref()) {
                    return pod;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.expect("in time")
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_in_the_api_runs_is_read_by_a_new_kubelet_and_deleted() {
    let platform = Platform::new().await;
    let first = platform.start();
    let settings = json!({"metadata": {"name": "settings"}, "data": {"MODE": "fast"}});
    let _: ConfigMap = platform.create(settings).await;
    platform
        .pod(
            "web",
            json!({"containers": [{"name": "web", "image": "host", "command": ["serve", "$(MODE)"],
                "envFrom": [{"configMapRef": {"name": "settings"}}],
                "readinessProbe": {"httpGet": {"port": 80}}}]}),
        )
        .await;
    let ready = platform
        .wait("web", |pod| pod.is_some_and(pods::is_ready))
        .await
        .expect("a pod");
    let status = ready.status.expect("a status");
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.244.0.2"));
    assert_eq!(status.qos_class.as_deref(), Some("BestEffort"));
    assert_eq!(platform.world.spec("web").command, ["serve", "fast"]);
    let service = platform
        .world
        .spec("web")
        .env
        .into_iter()
        .find(|(name, _)| name == "KUBERNETES_SERVICE_HOST");
    assert_eq!(service.expect("a variable").1, "10.96.0.1");

    // What a Pod's own writer did not say stays as others said it.
    let kinds: Vec<String> = status
        .conditions
        .iter()
        .flatten()
        .map(|known| known.type_.clone())
        .collect();
    for kind in crate::status::CONDITIONS {
        assert!(
            kinds.iter().any(|known| known == kind),
            "{kind} of {kinds:?}"
        );
    }

    first.abort();
    assert!(first.await.is_err());
    platform.world.keep_running();
    platform.start();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let same = platform.pods.get("web").await.expect("a pod");
    let known = same
        .status
        .and_then(|status| status.container_statuses)
        .expect("statuses");
    assert_eq!((known[0].ready, known[0].restart_count), (true, 0));
    let starts = platform
        .world
        .journal()
        .into_iter()
        .filter(|line| line.contains("start"))
        .count();
    assert_eq!(starts, 1, "nothing is started again");

    platform
        .pods
        .delete("web", &DeleteParams::default())
        .await
        .expect("deleted");
    platform.wait("web", |pod| pod.is_none()).await;
    let journal = platform.world.journal();
    let order: Vec<&str> = journal
        .iter()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    assert_eq!(order, ["leave", "signal", "remove"]);

    let events: Api<Event> = Api::namespaced(platform.context.client.clone(), "default");
    let listed = events
        .list(&kube::api::ListParams::default())
        .await
        .expect("events");
    let reasons: Vec<String> = listed
        .items
        .into_iter()
        .filter_map(|event| event.reason)
        .collect();
    for reason in ["Created", "Started", "Killing"] {
        assert!(
            reasons.iter().any(|known| known == reason),
            "{reason} of {reasons:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_node_registers_and_stays_alive() {
    let platform = Platform::new().await;
    let config = platform.world.config();
    let machine = Machine::detect("n1", "v1.36.0");
    let cancel = platform.cancel.clone();
    let alive = tokio::spawn(registration::run(
        platform.context.clone(),
        config,
        machine,
        cancel,
    ));
    tokio::time::sleep(Duration::from_secs(25)).await;
    let nodes: Api<Node> = Api::all(platform.context.client.clone());
    let node = nodes.get("n1").await.expect("a node");
    let status = node.status.expect("a status");
    let ready = status
        .conditions
        .iter()
        .flatten()
        .find(|known| known.type_ == "Ready");
    assert_eq!(ready.map(|known| known.status.as_str()), Some("True"));
    assert_eq!(
        node.spec.and_then(|spec| spec.pod_cidr).as_deref(),
        Some("10.244.0.0/16")
    );
    let leases: Api<k8s_openapi::api::coordination::v1::Lease> =
        Api::namespaced(platform.context.client.clone(), "kube-node-lease");
    let lease = leases.get("n1").await.expect("a lease");
    let renewed = lease
        .spec
        .and_then(|spec| spec.renew_time)
        .expect("a time")
        .0;
    let age = platform
        .world
        .clock()
        .now()
        .duration_since(renewed)
        .as_secs();
    assert!(age < 10, "{age}");
    platform.cancel.cancel();
    alive.await.expect("it ends");
}
