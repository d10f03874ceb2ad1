//! Making what a pod needs: its sandbox, its volumes, and what the runtime is asked to start.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::Prepared;
use crate::environment::{ConfigError, Facts, References, Sources, command_line, container_env};
use crate::kubelet::cluster::ClusterError;
use crate::kubelet::prepare::{
    bounds, dns, hostname, hosts_file, log_path, sandbox_spec, security,
};
use crate::kubelet::runtime::{ContainerRun, ContainerSpec, Mount, PodUid};
use crate::kubelet::{Handler, Shared};
use crate::status::oom_score_adj;
use crate::volumes::{Content, Owner, PodFolder, contents, mounts, references};

/// Where a container finds the file for its last words, unless the manifest says otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Why a pod has no sandbox yet.
#[derive(Debug, thiserror::Error)]
pub(in crate::kubelet) enum SandboxFailure {
    /// A volume cannot be made.
    #[error("{0}")]
    Mount(String),
    /// The sandbox cannot be made.
    #[error("{0}")]
    Sandbox(String),
}

impl SandboxFailure {
    pub(super) fn event(&self) -> (&'static str, String) {
        match self {
            Self::Mount(message) => ("FailedMount", message.clone()),
            Self::Sandbox(message) => (
                "FailedCreatePodSandBox",
                format!("Failed to create pod sandbox: rpc error: code = Unknown desc = {message}"),
            ),
        }
    }
}

impl Shared {
    pub(super) async fn create_sandbox(
        &self,
        pod: &Arc<Pod>,
        folder: &PodFolder,
    ) -> Result<(Prepared, Option<IpAddr>), SandboxFailure> {
        let handler = self.handler_of(pod).await?;
        // What is missing is found out before anything is made.
        let made = self.volume_contents(pod, None).await;
        made.map_err(SandboxFailure::Mount)?;
        let uid = PodUid(pod.metadata.uid.clone().unwrap_or_default());
        let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
        let on_host = host_network || handler.runtime.shares_node_address();
        let own = if on_host {
            None
        } else {
            let taken = self.addresses.lock().take(&uid);
            Some(taken.map_err(|error| SandboxFailure::Sandbox(error.to_string()))?)
        };
        let address = own.map_or(self.config.node_address, IpAddr::V4);
        let made = handler
            .runtime
            .create_sandbox(&sandbox_spec(pod, own))
            .await
            .map_err(|error| SandboxFailure::Sandbox(error.to_string()))?;
        let folders = self
            .make_volumes(pod, folder, made.owner, Some(address))
            .await
            .map_err(SandboxFailure::Mount)?;
        let prepared = Prepared {
            handler,
            made,
            folders,
        };
        Ok((prepared, Some(address)))
    }

    async fn handler_of(&self, pod: &Pod) -> Result<Handler, SandboxFailure> {
        let class = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.runtime_class_name.clone())
            .unwrap_or_default();
        let name = self
            .cluster
            .runtime_handler(&class)
            .await
            .map_err(|error| SandboxFailure::Sandbox(error.to_string()))?
            .ok_or_else(|| {
                SandboxFailure::Sandbox(format!(
                    "failed to get sandbox runtime: RuntimeClass \"{class}\" not found"
                ))
            })?;
        self.handlers.get(&name).cloned().ok_or_else(|| {
            SandboxFailure::Sandbox(format!(
                "failed to get sandbox runtime: no runtime for \"{name}\" is configured"
            ))
        })
    }

    /// What the pod's volumes hold now.
    async fn volume_contents(
        &self,
        pod: &Arc<Pod>,
        address: Option<IpAddr>,
    ) -> Result<Vec<(String, Content)>, String> {
        let sources = self
            .fetch(pod, &references(pod))
            .await
            .map_err(|error| error.to_string())?;
        let facts = self.facts(address);
        let volumes = pod
            .spec
            .iter()
            .flat_map(|spec| spec.volumes.iter().flatten());
        volumes
            .map(|volume| {
                let content = contents(pod, volume, &sources, &facts);
                content
                    .map(|content| (volume.name.clone(), content))
                    .map_err(|error| error.to_string())
            })
            .collect()
    }

    /// Makes the pod's volumes, or brings them up to date; where each is.
    pub(in crate::kubelet) async fn make_volumes(
        &self,
        pod: &Arc<Pod>,
        folder: &PodFolder,
        owner: Owner,
        address: Option<IpAddr>,
    ) -> Result<BTreeMap<String, PathBuf>, String> {
        let contents = self.volume_contents(pod, address).await?;
        if contents.is_empty() {
            return Ok(BTreeMap::new());
        }
        let folder = folder.clone();
        let group = fs_group(pod);
        let owner = owner.map(|(user, root)| (user, root.saturating_add(group.unwrap_or(0))));
        let make = move || -> Result<_, String> {
            let mut folders = BTreeMap::new();
            for (name, mut content) in contents {
                if group.is_some() {
                    content.share_with_group();
                }
                let place = folder
                    .make(&name, &content, owner)
                    .map_err(|error| error.to_string())?;
                folders.insert(name, place);
            }
            Ok(folders)
        };
        self.blocking(make).await
    }

    async fn fetch(&self, pod: &Pod, references: &References) -> Result<Sources, ClusterError> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let mut sources = Sources::default();
        for name in &references.config_maps {
            if let Some(found) = self.cluster.config_map(namespace, name).await? {
                sources.config_maps.insert(name.clone(), found);
            }
        }
        for name in &references.secrets {
            if let Some(found) = self.cluster.secret(namespace, name).await? {
                sources.secrets.insert(name.clone(), found);
            }
        }
        Ok(sources)
    }

    fn facts(&self, address: Option<IpAddr>) -> Facts {
        let allocatable = &self.config.allocatable;
        Facts {
            pod_ip: address,
            host_ip: Some(self.config.node_address),
            allocatable_cpu_millis: allocatable.cpu_millis,
            allocatable_memory_bytes: allocatable.memory_bytes,
            allocatable_storage_bytes: allocatable.storage_bytes,
        }
    }

    /// What the runtime is asked to start.
    pub(super) async fn container_spec(
        &self,
        pod: &Arc<Pod>,
        container: &Container,
        run: &ContainerRun,
        prepared: &Prepared,
        folder: &PodFolder,
        address: Option<IpAddr>,
    ) -> Result<ContainerSpec, ConfigError> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let references = crate::environment::references(container);
        let mut sources = self
            .fetch(pod, &references)
            .await
            .map_err(|error| ConfigError::Mount(error.to_string()))?;
        sources.services = self.cluster.services(namespace).await;
        let env = container_env(pod, container, &sources, &self.facts(address))?;
        let command = command_line(container, &env);
        let mut mounts = mounts(container, &prepared.folders, &env)?;
        let spec = pod.spec.clone().unwrap_or_default();
        mounts.push(
            self.termination_log(container, run, prepared, folder)
                .await?,
        );
        // The longest paths last, so that a mount inside another is seen.
        mounts.sort_by_key(|mount| mount.target.matches('/').count());
        let on_host = spec.host_network == Some(true);
        let security = security(pod, container)?;
        Ok(ContainerSpec {
            run: run.clone(),
            command,
            env: with_usual(env, &hostname(pod), security.user),
            working_dir: container.working_dir.clone().filter(|dir| !dir.is_empty()),
            mounts,
            hostname: hostname(pod),
            hosts: if on_host {
                self.config.host_hosts.clone()
            } else {
                hosts_file(pod, address, &self.config.dns.domain)
            },
            resolv_conf: dns(pod, &self.config.dns).resolv_conf(),
            security,
            bounds: bounds(container.resources.as_ref()),
            log_path: log_path(&self.config.log_dir, pod, &container.name, run.attempt),
            oom_score_adj: oom_score_adj(&spec, container, self.config.allocatable.memory_bytes),
        })
    }

    /// The file for the container's last words.
    async fn termination_log(
        &self,
        container: &Container,
        run: &ContainerRun,
        prepared: &Prepared,
        folder: &PodFolder,
    ) -> Result<Mount, ConfigError> {
        let file = folder.termination_message(&run.container, run.attempt);
        let place = file.clone();
        let owner = prepared.made.owner;
        let make = move || -> std::io::Result<()> {
            use std::os::unix::fs::PermissionsExt as _;
            if let Some(parent) = place.parent() {
                std::fs::create_dir_all(parent)?;
            }
            std::fs::File::create(&place)?;
            std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o666))?;
            match owner {
                Some((user, group)) => std::os::unix::fs::chown(&place, Some(user), Some(group)),
                None => Ok(()),
            }
        };
        self.blocking(make)
            .await
            .map_err(|error| ConfigError::Mount(error.to_string()))?;
        let target = container.termination_message_path.clone();
        Ok(Mount {
            source: file,
            target: target
                .filter(|path| !path.is_empty())
                .unwrap_or_else(|| TERMINATION_LOG.to_owned()),
            read_only: false,
        })
    }

    /// Writes a status; whether it need not be written again.
    pub(in crate::kubelet) async fn write_status(
        &self,
        pod: &Pod,
        status: &k8s_openapi::api::core::v1::PodStatus,
    ) -> bool {
        match self.cluster.write_status(pod, status).await {
            // A pod that is gone needs no status; that it is gone is told by the watch.
            Ok(()) | Err(ClusterError::Gone) => true,
            Err(ClusterError::Failed(error)) => {
                tracing::warn!(pod = ?pod.metadata.name, error, "cannot write a pod's status");
                false
            }
        }
    }
}

/// The group that the pod's volumes belong to, where it names one.
fn fs_group(pod: &Pod) -> Option<u32> {
    let security = pod.spec.as_ref()?.security_context.as_ref()?;
    u32::try_from(security.fs_group?).ok()
}

/// What every container's environment has unless the manifest says otherwise.
fn with_usual(
    mut env: Vec<(String, String)>,
    hostname: &str,
    user: Option<u32>,
) -> Vec<(String, String)> {
    let is_root = user.unwrap_or(0) == 0;
    let usual = [
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/springtide/bin",
        ),
        ("HOSTNAME", hostname),
        ("HOME", if is_root { "/root" } else { "/" }),
    ];
    for (name, value) in usual.into_iter().rev() {
        if !env.iter().any(|(known, _)| known == name) {
            env.insert(0, (name.to_owned(), value.to_owned()));
        }
    }
    env
}
