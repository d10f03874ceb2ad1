//! What the kubelet asks of whatever runs its sandboxes.
//!
//! The real one is an adapter over the keeper, the cgroups and the network; another runs parts of
//! this program as tasks; tests have one that only remembers what it was told. Orders are keyed by
//! pod, container and attempt, so an order that is repeated after a lost answer does nothing twice.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};

use crate::keeper::ExecStreams;

/// The UID of a pod, which names its sandbox.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUid(pub String);

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One run of one container of one pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerRun {
    /// The pod.
    pub pod: PodUid,
    /// The container's name in the pod's spec.
    pub container: String,
    /// How often the container was started before; the restart count while this run is the last.
    pub attempt: u32,
}

impl ContainerRun {
    /// The container ID as a status shows it.
    #[must_use]
    pub fn container_id(&self) -> String {
        format!(
            "springtide://{}/{}/{}",
            self.pod, self.container, self.attempt
        )
    }

    /// Reads what [`ContainerRun::container_id`] wrote.
    #[must_use]
    pub fn parse(container_id: &str) -> Option<Self> {
        let mut parts = container_id.strip_prefix("springtide://")?.splitn(3, '/');
        let pod = PodUid(parts.next()?.to_owned());
        let container = parts.next()?.to_owned();
        let attempt = parts.next()?.parse().ok()?;
        Some(Self {
            pod,
            container,
            attempt,
        })
    }
}

/// What names resolve to inside a pod: the lines of its `/etc/resolv.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dns {
    /// Name servers, in order.
    pub servers: Vec<String>,
    /// Search domains, in order.
    pub searches: Vec<String>,
    /// Options, as in `ndots:5`.
    pub options: Vec<String>,
}

impl Dns {
    /// The text of the file.
    #[must_use]
    pub fn resolv_conf(&self) -> String {
        let mut text = String::new();
        if !self.searches.is_empty() {
            text.push_str(&format!("search {}\n", self.searches.join(" ")));
        }
        for server in &self.servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        text
    }
}

/// Bounds on what a container or a pod may use. `None` is no bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Requested CPU in thousandths of a core: the share under contention.
    pub cpu_request_millis: Option<u64>,
    /// Most CPU in thousandths of a core.
    pub cpu_limit_millis: Option<u64>,
    /// Requested memory in bytes: decides who is killed first.
    pub memory_request_bytes: Option<u64>,
    /// Most memory in bytes.
    pub memory_limit_bytes: Option<u64>,
}

/// A pod's sandbox to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxSpec {
    /// The pod's UID.
    pub uid: PodUid,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// What `hostname` prints inside.
    pub hostname: String,
    /// The pod's own address; `None` for a pod in the host's network.
    pub address: Option<Ipv4Addr>,
    /// What all containers together may use.
    pub bounds: Bounds,
    /// The user and group that its containers run as, where there can be only one of each.
    pub single_user: Option<(u32, u32)>,
}

/// A sandbox that was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MadeSandbox {
    /// The host's user and group IDs that root inside is, for the files of its volumes; `None`
    /// where files need no change of owner.
    pub owner: Option<(u32, u32)>,
}

/// A file or folder to be seen inside a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is seen: a file or folder of the host, which exists.
    pub source: PathBuf,
    /// Where it is seen: an absolute path.
    pub target: String,
    /// Whether it cannot be written through this mount.
    pub read_only: bool,
}

/// Who a container's process is and what it may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// The user ID inside the pod.
    pub user: Option<u32>,
    /// The group ID inside the pod.
    pub group: Option<u32>,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Whether the root file system cannot be written.
    pub read_only_root: bool,
    /// Capabilities beyond the usual ones.
    pub add_capabilities: Vec<String>,
    /// Capabilities taken away; `ALL` takes all.
    pub drop_capabilities: Vec<String>,
}

/// A container to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSpec {
    /// Which run of which container.
    pub run: ContainerRun,
    /// The program and its arguments, with variables expanded.
    pub command: Vec<String>,
    /// The environment, in order; a later value of a name wins.
    pub env: Vec<(String, String)>,
    /// The folder the program starts in.
    pub working_dir: Option<String>,
    /// What is mounted, in order.
    pub mounts: Vec<Mount>,
    /// What `hostname` prints inside.
    pub hostname: String,
    /// The text of `/etc/hosts`.
    pub hosts: String,
    /// The text of `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// Identity and rights.
    pub security: Security,
    /// What it may use.
    pub bounds: Bounds,
    /// Where its output goes, in the CRI's log format.
    pub log_path: PathBuf,
    /// How readily the kernel kills it for want of memory, −1000 to 1000.
    pub oom_score_adj: i32,
}

/// A container that was started.
#[derive(Clone, Debug)]
pub struct Started {
    /// When.
    pub at: Timestamp,
    /// For a part of this program: whether it says that it is ready. A process has probes instead.
    pub ready: Option<watch::Receiver<bool>>,
}

/// A container's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Which run ended.
    pub run: ContainerRun,
    /// The exit code; 128 + the signal's number when a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the kernel killed it for want of memory.
    pub oom_killed: bool,
    /// When it had been started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// What became of a run that a runtime still knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// It runs.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// It ended, and nobody has taken note of it yet.
    Exited(Exit),
}

/// What a runtime tells by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// A container ended. Told again to each new kubelet until acknowledged.
    Exited(Exit),
    /// A sandbox ended without being asked to, and with it all its containers.
    SandboxLost(PodUid),
}

/// A sandbox that outlived the kubelet that ordered it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundSandbox {
    /// The pod's UID.
    pub uid: PodUid,
    /// The address it was given.
    pub address: Option<Ipv4Addr>,
    /// How it was made.
    pub made: MadeSandbox,
    /// Its containers.
    pub containers: Vec<(ContainerRun, Found)>,
}

/// The end of a program run beside a container's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecEnd {
    /// Its exit code; `None` when it was still running at the limit and was killed.
    pub code: Option<i32>,
    /// The beginning of what it wrote to both outputs.
    pub output: String,
}

/// What one container has used.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// Which run.
    pub run: ContainerRun,
    /// When it was measured.
    pub at: Timestamp,
    /// CPU time since its start.
    pub cpu: Duration,
    /// Memory in use that cannot be given back without pain, in bytes.
    pub memory_working_set_bytes: u64,
    /// When it was started.
    pub started_at: Timestamp,
    /// All that was measured.
    pub counters: crate::cgroups::Usage,
}

/// Why a runtime did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuntimeError {
    /// The container's program could not be started: counts as a run that failed.
    #[error("{0}")]
    CannotRun(String),
    /// The container could not be prepared; the next try may succeed.
    #[error("{0}")]
    Refused(String),
    /// There is no such sandbox or run any more.
    #[error("not found")]
    NotFound,
}

/// Runs sandboxes and their containers.
#[async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// The sandboxes that exist already; from here on, what happens is told. Called once.
    async fn adopt(
        &self,
        events: mpsc::UnboundedSender<RuntimeEvent>,
    ) -> Result<Vec<FoundSandbox>, RuntimeError>;

    /// Makes a sandbox with its network; it exists when this returns.
    async fn create_sandbox(&self, sandbox: &SandboxSpec) -> Result<MadeSandbox, RuntimeError>;

    /// Starts a container in its sandbox.
    async fn start_container(&self, container: &ContainerSpec) -> Result<Started, RuntimeError>;

    /// Sends a signal by its number to a container's first process.
    async fn signal(&self, run: &ContainerRun, signal: i32) -> Result<(), RuntimeError>;

    /// Runs a program inside a running container, at most as long as `limit`.
    async fn exec(
        &self,
        run: &ContainerRun,
        command: &[String],
        limit: Duration,
    ) -> Result<ExecEnd, RuntimeError>;

    /// Runs a program inside a running container, for someone who talks with it.
    async fn exec_stream(
        &self,
        _run: &ContainerRun,
        _command: &[String],
        _stdin: bool,
        _terminal: bool,
    ) -> Result<ExecStreams, RuntimeError> {
        let message = "commands cannot be run in containers of this runtime class";
        Err(RuntimeError::Refused(message.to_owned()))
    }

    /// Says that an exit has been written down, and need not be told again.
    async fn acknowledge(&self, run: &ContainerRun) -> Result<(), RuntimeError>;

    /// Kills what still runs in a sandbox and takes it away with its network.
    async fn remove_sandbox(&self, uid: &PodUid) -> Result<(), RuntimeError>;

    /// What the running containers have used by now.
    async fn usage(&self) -> Result<Vec<Usage>, RuntimeError>;

    /// Whether the pod's address is the node's own.
    fn shares_node_address(&self) -> bool {
        false
    }
}
