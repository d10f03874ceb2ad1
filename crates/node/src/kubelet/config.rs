//! What a kubelet must be told about its node.

use std::fs::{self, DirBuilder};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::prepare::{ClusterDns, read_resolv_conf};

/// An amount of what a node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// CPU in thousandths of a core.
    pub cpu_millis: i64,
    /// Memory in bytes.
    pub memory_bytes: i64,
    /// Disk in bytes.
    pub storage_bytes: i64,
    /// Pods.
    pub pods: i64,
}

/// Where the kubelet is and for what node.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name.
    pub node_name: String,
    /// The node's address as pods reach it.
    pub node_address: IpAddr,
    /// The range that pods get their addresses from.
    pub pod_range: (Ipv4Addr, u8),
    /// How pods resolve names.
    pub dns: ClusterDns,
    /// The host's own `/etc/hosts`, for pods in its network.
    pub host_hosts: String,
    /// Holds a folder for each pod.
    pub pods_dir: PathBuf,
    /// The same in memory: for Secrets and memory volumes. Made by the kubelet, and not used where
    /// it cannot be made for this user alone.
    pub memory_dir: Option<PathBuf>,
    /// Holds a folder of logs for each pod.
    pub log_dir: PathBuf,
    /// What the node has.
    pub capacity: Resources,
    /// What of it pods may use.
    pub allocatable: Resources,
}

/// The most pods on a node. A pod here costs a few processes, so more than Kubernetes' 110.
const MOST_PODS: i64 = 500;

impl Config {
    /// A configuration for this machine, with the usual cluster addresses and folders below
    /// `data_dir`, which exists. Reads a few files.
    #[must_use]
    pub fn detect(data_dir: &Path, node_name: &str, node_address: IpAddr) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let capacity = Resources {
            cpu_millis: cores() * 1000,
            memory_bytes: memory_bytes(&text("/proc/meminfo")),
            storage_bytes: storage_bytes(data_dir),
            pods: MOST_PODS,
        };
        Self {
            node_name: node_name.to_owned(),
            node_address,
            pod_range: (Ipv4Addr::new(10, 244, 0, 0), 16),
            dns: ClusterDns {
                server: IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)),
                domain: "cluster.local".to_owned(),
                host: read_resolv_conf(&text("/etc/resolv.conf")),
            },
            host_hosts: text("/etc/hosts"),
            pods_dir: data_dir.join("pods"),
            memory_dir: memory_dir(data_dir),
            log_dir: data_dir.join("logs"),
            capacity,
            allocatable: capacity,
        }
    }

    /// The range of pod addresses as text, as in `10.244.0.0/16`.
    #[must_use]
    pub fn pod_cidr(&self) -> String {
        let (network, prefix) = self.pod_range;
        format!("{network}/{prefix}")
    }
}

/// Where a folder in memory that is this data folder's alone would be.
fn memory_dir(data_dir: &Path) -> Option<PathBuf> {
    let data = fs::metadata(data_dir).ok()?;
    let name = format!("springtide-{:x}-{:x}", data.dev(), data.ino());
    Some(Path::new("/dev/shm").join(name))
}

/// Makes a folder that nobody else can look into; whether it is one now. A folder that is there
/// already may be somebody else's, set up to read what is put there.
pub(super) fn make_private(folder: &Path) -> bool {
    let _ = DirBuilder::new().mode(0o700).create(folder);
    let (Ok(made), Ok(process)) = (fs::symlink_metadata(folder), fs::metadata("/proc/self")) else {
        return false;
    };
    made.is_dir() && made.uid() == process.uid() && made.permissions().mode() & 0o077 == 0
}

fn cores() -> i64 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    i64::try_from(cores).unwrap_or(i64::MAX)
}

/// The machine's memory from the text of `/proc/meminfo`.
pub(crate) fn memory_bytes(meminfo: &str) -> i64 {
    kibibytes(meminfo, "MemTotal:").saturating_mul(1024)
}

/// A line of `/proc/meminfo`, in KiB; 0 when there is none.
pub(crate) fn kibibytes(meminfo: &str, name: &str) -> i64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn storage_bytes(folder: &Path) -> i64 {
    let existing = folder.ancestors().find(|folder| folder.exists());
    let stat = existing.and_then(|folder| rustix::fs::statvfs(folder).ok());
    stat.map_or(0, |stat| {
        i64::try_from(stat.f_blocks.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX)
    })
}
