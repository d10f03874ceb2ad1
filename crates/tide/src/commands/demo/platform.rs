//! A platform of the demonstration's own: another `tide up`, on a temporary folder and free ports.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Service;
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::{Api, Client};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::story;
use crate::commands::down::stop;
use crate::commands::status::client;
use crate::data_folder::DataFolder;
use crate::manifest::locate;

/// FeastFlow's manifests, in the order they are applied in.
const MANIFESTS: [&str; 10] = [
    include_str!("../../../../../examples/feastflow/00-namespace.yaml"),
    include_str!("../../../../../examples/feastflow/01-configmap.yaml"),
    include_str!("../../../../../examples/feastflow/04-database-deployment.yaml"),
    include_str!("../../../../../examples/feastflow/05-database-service.yaml"),
    include_str!("../../../../../examples/feastflow/06-backend-deployment.yaml"),
    include_str!("../../../../../examples/feastflow/07-backend-service.yaml"),
    include_str!("../../../../../examples/feastflow/08-frontend-deployment.yaml"),
    include_str!("../../../../../examples/feastflow/09-frontend-service.yaml"),
    include_str!("../../../../../examples/feastflow/10-pod-disruption-budgets.yaml"),
    include_str!("../../../../../examples/feastflow/12-backend-hpa.yaml"),
];
/// The Service that the load goes to.
const FRONT_DOOR: &str = "feastflow-frontend";
/// How long the platform may take to be ready.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How long all tiers may take to be available.
const AVAILABLE_LIMIT: Duration = Duration::from_secs(120);
/// How often something that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The running platform. [`Platform::stop`] stops it; what is dropped without that is killed, and
/// its pods with it.
pub(crate) struct Platform {
    // Dropped in this order: the process first, then its folder.
    child: Child,
    client: Client,
    ready_line: String,
    folder: DataFolder,
    _temporary: TempDir,
}

/// How the backend's autoscaling stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Autoscaling {
    /// Replicas that the Deployment is to have.
    pub replicas: i32,
    /// Replicas that are ready.
    pub ready: i32,
    /// CPU as a part of what is requested, as the autoscaler last saw it.
    pub cpu_percent: Option<i32>,
}

// === impl Platform ===

impl Platform {
    /// Starts it, and returns when it is ready.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let temporary = tempfile::Builder::new()
            .prefix("springtide-demo-")
            .tempdir()?;
        let folder = DataFolder::at(temporary.path().to_owned());
        let program = std::env::current_exe().context("the running program cannot be found")?;
        let mut child = Command::new(program)
            .arg("up")
            .arg("--data-dir")
            .arg(folder.path())
            .args([
                "--api-listen",
                "127.0.0.1:0",
                "--horizontal-pod-autoscaler-sync-period",
            ])
            .arg(format!("{}s", story::SYNC_SECONDS))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the platform cannot be started")?;
        let output = child.stdout.take().context("the platform has no output")?;
        let mut lines = BufReader::new(output).lines();
        let mut ready_line = String::new();
        let until_ready = async {
            while let Some(line) = lines.next_line().await? {
                if line.starts_with("ready in") {
                    ready_line = line;
                } else if line.starts_with("export KUBECONFIG=") {
                    return anyhow::Ok(());
                }
            }
            bail!("the platform ended before it was ready; what it said is above")
        };
        timeout(READY_LIMIT, until_ready)
            .await
            .map_err(|_| anyhow!("the platform was not ready within {READY_LIMIT:?}"))??;
        let client = client(&folder).await?;
        Ok(Self {
            child,
            client,
            ready_line,
            folder,
            _temporary: temporary,
        })
    }

    /// Stops it and its pods, and removes its folder.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(instance) = self.folder.instance()? {
            stop(&instance).await?;
        }
        self.child.wait().await?;
        Ok(())
    }

    /// A client of its API.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// How long it took to be ready, in its own words.
    pub(crate) fn ready_line(&self) -> &str {
        &self.ready_line
    }

    /// Applies FeastFlow, with the autoscalers' times shortened and any free port as front door.
    pub(crate) async fn apply_feastflow(&self) -> anyhow::Result<()> {
        for manifest in MANIFESTS {
            let documents: Vec<Value> = serde_saphyr::from_multiple(manifest)?;
            for mut document in documents {
                match document["kind"].as_str() {
                    Some("HorizontalPodAutoscaler") => story::shorten(&mut document),
                    // Another instance on this machine may have the port that the manifest names.
                    Some("Service") => any_node_port(&mut document),
                    _ => {}
                }
                self.create(document).await?;
            }
        }
        Ok(())
    }

    async fn create(&self, document: Value) -> anyhow::Result<()> {
        let object: DynamicObject = serde_json::from_value(document)?;
        let (api, name) = locate(self.client(), &object)?;
        api.create(&PostParams::default(), &object)
            .await
            .context(name)?;
        Ok(())
    }

    /// Waits until every Deployment is available; returns how long that took.
    pub(crate) async fn wait_until_available(&self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        let deployments: Api<Deployment> = Api::namespaced(self.client(), story::NAMESPACE);
        loop {
            let waiting: Vec<String> = deployments
                .list(&ListParams::default())
                .await?
                .items
                .iter()
                .filter(|deployment| !is_available(deployment))
                .filter_map(|deployment| deployment.metadata.name.clone())
                .collect();
            if waiting.is_empty() {
                return Ok(begun.elapsed());
            }
            if begun.elapsed() > AVAILABLE_LIMIT {
                bail!(
                    "{} not available within {AVAILABLE_LIMIT:?}",
                    waiting.join(", ")
                );
            }
            sleep(LOOK).await;
        }
    }

    /// Where `path` of the application is to be had on this machine.
    pub(crate) async fn url(&self, path: &str) -> anyhow::Result<String> {
        let services: Api<Service> = Api::namespaced(self.client(), story::NAMESPACE);
        let service = services.get(FRONT_DOOR).await?;
        let port = service
            .spec
            .and_then(|spec| spec.ports?.first()?.node_port)
            .with_context(|| format!("Service {FRONT_DOOR} has no node port"))?;
        Ok(format!("http://127.0.0.1:{port}{path}"))
    }

    /// How the backend's autoscaling stands now.
    pub(crate) async fn autoscaling(&self) -> anyhow::Result<Autoscaling> {
        let deployments: Api<Deployment> = Api::namespaced(self.client(), story::NAMESPACE);
        let autoscalers: Api<HorizontalPodAutoscaler> =
            Api::namespaced(self.client(), story::NAMESPACE);
        let deployment = deployments.get(story::DEPLOYMENT).await?;
        let autoscaler = autoscalers.get(story::AUTOSCALER).await?;
        let cpu_percent = autoscaler
            .status
            .and_then(|status| status.current_metrics)
            .into_iter()
            .flatten()
            .filter_map(|metric| metric.resource)
            .find(|resource| resource.name == "cpu")
            .and_then(|resource| resource.current.average_utilization);
        Ok(Autoscaling {
            replicas: deployment.spec.and_then(|spec| spec.replicas).unwrap_or(0),
            ready: deployment
                .status
                .and_then(|status| status.ready_replicas)
                .unwrap_or(0),
            cpu_percent,
        })
    }
}

fn is_available(deployment: &Deployment) -> bool {
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let status = deployment.status.as_ref();
    status
        .and_then(|status| status.available_replicas)
        .unwrap_or(0)
        >= wanted
}

fn any_node_port(service: &mut Value) {
    let ports = service
        .pointer_mut("/spec/ports")
        .and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        port.remove("nodePort");
    }
}
