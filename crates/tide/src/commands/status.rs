//! `tide status`: whether the instance runs, and how it is.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use springtide_client::pods::phase;

use crate::data_folder::{DataFolder, DataFolderArgument};
use crate::output::say;

/// The exit status when no instance runs, as service managers have it.
const NOT_RUNNING: u8 = 3;

/// Show whether the instance runs, and how it is; the exit status is 3 when it does not run.
#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    data_folder: DataFolderArgument,
}

impl Status {
    /// Prints it.
    pub(crate) fn execute(&self) -> anyhow::Result<ExitCode> {
        let folder = self.data_folder.folder()?;
        let Some(instance) = folder.instance()? else {
            say!("not running (data folder {})", folder.path().display());
            return Ok(ExitCode::from(NOT_RUNNING));
        };
        say!(
            "running      process {}, version {}",
            instance.pid,
            instance.version
        );
        say!("ready since  {}", instance.ready_since);
        say!("API          {}", instance.server);
        say!("data folder  {}", folder.path().display());
        say!("kubeconfig   {}", folder.kubeconfig().display());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(show_cluster(&folder, &instance.metrics))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A client of the instance on `folder`, as its administrator.
pub(crate) async fn client(folder: &DataFolder) -> anyhow::Result<Client> {
    Ok(Client::try_from(client_config(folder).await?)?)
}

/// How the administrator of the instance on `folder` reaches it.
pub(crate) async fn client_config(folder: &DataFolder) -> anyhow::Result<Config> {
    let path = folder.kubeconfig();
    let kubeconfig = Kubeconfig::read_from(&path)
        .with_context(|| format!("{} cannot be used", path.display()))?;
    Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}

async fn show_cluster(folder: &DataFolder, metrics: &str) -> anyhow::Result<()> {
    let client = client(folder).await?;
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = nodes
        .list(&ListParams::default())
        .await
        .context("the API does not answer")?
        .items;
    let ready = nodes.iter().filter(|node| is_ready(node)).count();
    say!("nodes        {ready} of {} ready", nodes.len());
    let pods: Api<Pod> = Api::all(client.clone());
    let pods = pods.list(&ListParams::default()).await?.items;
    let running: Vec<&Pod> = pods.iter().filter(|pod| phase(pod) == "Running").collect();
    say!("pods         {} of {} running", running.len(), pods.len());
    let deployments: Api<Deployment> = Api::namespaced(client, "kube-system");
    let wanted = deployments
        .get_opt("prometheus")
        .await?
        .map(|deployment| deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1));
    let state = match wanted {
        _ if running.iter().any(|pod| is_prometheus(pod)) => metrics.to_owned(),
        None => "none: there is no deployment prometheus in namespace kube-system".to_owned(),
        Some(0) => "none: deployment prometheus in namespace kube-system is scaled to 0; kubectl scale deployment prometheus -n kube-system --replicas=1".to_owned(),
        Some(_) => format!("{metrics} (it starts)"),
    };
    say!("metrics      {state}");
    Ok(())
}

/// True of the platform's own Prometheus.
fn is_prometheus(pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    pod.metadata.namespace.as_deref() == Some("kube-system")
        && labels
            .and_then(|labels| labels.get("app.kubernetes.io/name"))
            .is_some_and(|name| name == "prometheus")
}

/// True when the node says that it is ready.
pub(crate) fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
