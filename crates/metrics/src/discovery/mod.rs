//! Where targets come from: written down, in files, from a server, from the Kubernetes API.
//!
//! Each source is a task that publishes what it knows now; who listens sees the latest state of all of them.
//! A source that fails keeps what it knew before, so that a broken file or a server that is away loses no target.

mod file;
mod kubernetes;
mod server;

pub(crate) use kubernetes::label_part;

use std::collections::BTreeMap;
use std::path::PathBuf;

use kube::Client;
use serde::Deserialize;
use springtide_client::Caches;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{
    AlertmanagerConfig, FileSdConfig, HttpSdConfig, KubernetesSdConfig, ScrapeConfig, StaticConfig,
};
use crate::relabel::LabelSet;

/// The label that says where a target is: `host:port`.
pub const ADDRESS: &str = "__address__";

/// Targets that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetGroup {
    /// Which file, object or entry they are from.
    pub source: String,
    /// Labels of all of them.
    pub labels: LabelSet,
    /// The labels of each, [`ADDRESS`] among them.
    pub targets: Vec<LabelSet>,
}

/// The groups that each source knows now.
pub type Groups = BTreeMap<String, Vec<TargetGroup>>;

/// Sources of targets, as a job or the alerting section names them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sources {
    /// Written down.
    pub fixed: Vec<StaticConfig>,
    /// In files.
    pub files: Vec<FileSdConfig>,
    /// From a server.
    pub servers: Vec<HttpSdConfig>,
    /// From the Kubernetes API.
    pub kubernetes: Vec<KubernetesSdConfig>,
}

impl From<&ScrapeConfig> for Sources {
    fn from(config: &ScrapeConfig) -> Sources {
        Sources {
            fixed: config.static_configs.clone(),
            files: config.file_sd_configs.clone(),
            servers: config.http_sd_configs.clone(),
            kubernetes: config.kubernetes_sd_configs.clone(),
        }
    }
}

impl From<&AlertmanagerConfig> for Sources {
    fn from(config: &AlertmanagerConfig) -> Sources {
        Sources {
            fixed: config.static_configs.clone(),
            files: config.file_sd_configs.clone(),
            servers: config.http_sd_configs.clone(),
            kubernetes: config.kubernetes_sd_configs.clone(),
        }
    }
}

/// What sources need of the process.
#[derive(Clone, Default)]
pub struct Environment {
    /// What relative paths are relative to: the configuration's folder.
    pub folder: PathBuf,
    /// The process's view of the Kubernetes API. Without one, a configuration that needs it finds the API
    /// server as kubectl does.
    pub caches: Option<Caches>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("folder", &self.folder)
            .field("kubernetes", &self.caches.is_some())
            .finish()
    }
}

/// A list of targets as files and servers write it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenGroup {
    #[serde(default)]
    targets: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl WrittenGroup {
    fn into_group(self, source: String, meta: Option<(&str, &str)>) -> TargetGroup {
        let mut labels = self.labels;
        labels.extend(meta.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let address = |target| LabelSet::from([(ADDRESS.to_owned(), target)]);
        TargetGroup {
            source,
            labels,
            targets: self.targets.into_iter().map(address).collect(),
        }
    }
}

/// Starts the sources. They run until `stop` is cancelled, and end with the returned set at the latest.
#[must_use]
pub fn discover(
    sources: &Sources,
    environment: &Environment,
    stop: &CancellationToken,
) -> (watch::Receiver<Groups>, JoinSet<()>) {
    let mut known = Groups::new();
    for (at, fixed) in sources.fixed.iter().enumerate() {
        let written = WrittenGroup {
            targets: fixed.targets.clone(),
            labels: fixed.labels.clone(),
        };
        let source = format!("static/{at}");
        known.insert(source.clone(), vec![written.into_group(source, None)]);
    }
    let (sender, receiver) = watch::channel(known);
    let mut tasks = JoinSet::new();
    for (at, config) in sources.files.iter().enumerate() {
        let publish = Publisher::new(format!("file/{at}"), &sender);
        let folder = environment.folder.clone();
        tasks.spawn(until(stop, file::watch(config.clone(), folder, publish)));
    }
    for (at, config) in sources.servers.iter().enumerate() {
        let publish = Publisher::new(format!("http/{at}"), &sender);
        let folder = environment.folder.clone();
        tasks.spawn(until(stop, server::poll(config.clone(), folder, publish)));
    }
    for (at, config) in sources.kubernetes.iter().enumerate() {
        let publish = Publisher::new(format!("kubernetes/{at}"), &sender);
        let environment = environment.clone();
        tasks.spawn(until(
            stop,
            kubernetes::watch(config.clone(), environment, publish),
        ));
    }
    (receiver, tasks)
}

fn until(
    stop: &CancellationToken,
    task: impl Future<Output = ()> + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let stop = stop.clone();
    async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = task => {}
        }
    }
}

/// Makes one source's groups known.
#[derive(Debug, Clone)]
struct Publisher {
    source: String,
    sender: watch::Sender<Groups>,
}

impl Publisher {
    fn new(source: String, sender: &watch::Sender<Groups>) -> Publisher {
        Publisher {
            source,
            sender: sender.clone(),
        }
    }

    fn publish(&self, groups: Vec<TargetGroup>) {
        self.sender.send_if_modified(|known| {
            let changes = known.get(&self.source) != Some(&groups);
            if changes {
                known.insert(self.source.clone(), groups);
            }
            changes
        });
    }
}

/// A client that finds the API server as kubectl does: the file named, `KUBECONFIG`, or the cluster around it.
async fn default_client(kubeconfig: Option<PathBuf>) -> Result<Client, String> {
    let config = match kubeconfig {
        Some(path) => {
            let read = kube::config::Kubeconfig::read_from(&path);
            let read = read.map_err(|error| format!("{}: {error}", path.display()))?;
            kube::Config::from_custom_kubeconfig(read, &kube::config::KubeConfigOptions::default())
                .await
                .map_err(|error| format!("{}: {error}", path.display()))?
        }
        None => kube::Config::infer()
            .await
            .map_err(|error| error.to_string())?,
    };
    Client::try_from(config).map_err(|error| error.to_string())
}

/// The jobs that scrape what asks for it by the annotations `prometheus.io/scrape`, `prometheus.io/path`,
/// `prometheus.io/port`, `prometheus.io/scheme` and `prometheus.io/param_NAME`: pods, and the endpoints of Services.
///
/// # Panics
/// Never: the text is part of the program and read by its tests.
#[must_use]
pub fn annotated_jobs() -> Vec<ScrapeConfig> {
    let config = crate::config::Config::parse(include_str!("annotated.yaml"), "annotated.yaml");
    config.expect("the built-in jobs are valid").scrape_configs
}

#[cfg(test)]
mod tests;
