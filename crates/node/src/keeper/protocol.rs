//! What the brain and the keeper say to each other.
//!
//! Everything is keyed by what it is about (a pod's uid; a pod's uid, a container's name and its
//! attempt; a listener's name), so that an order can be repeated by a new brain that does not know
//! whether its predecessor's was carried out.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cgroups::{CgroupMode, Limits, Location};
use crate::sandbox::Capabilities;

/// Names one run of one container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerKey {
    /// The pod's uid.
    pub pod: String,
    /// The container's name in the pod.
    pub container: String,
    /// 0 for the first start, one more at each restart.
    pub attempt: u32,
}

impl fmt::Display for ContainerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.pod, self.container, self.attempt)
    }
}

/// What a pod's sandbox shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// The pod's uid.
    pub pod: String,
    /// The pod's host name (at most 64 bytes).
    pub hostname: String,
    /// The pod's address in the pod range; `None` is a `hostNetwork` pod, which stays in the
    /// host's network namespace.
    pub address: Option<Ipv4Addr>,
    /// The limits of the pod as a whole.
    pub limits: Limits,
    /// The user and group id its containers run as, where the node can map only one of each
    /// ([`Ids::One`]); not looked at otherwise. `None` means 0.
    pub single_user: Option<(u32, u32)>,
}

/// A pod's sandbox as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The pod's uid.
    pub pod: String,
    /// The pod's address, `None` in the host's network.
    pub address: Option<Ipv4Addr>,
    /// The init process, as the brain sees it.
    pub pid: i32,
    /// The user id, as the brain sees it, that user 0 of the pod is (or the one user it has).
    /// Volumes that must belong to the pod are given to `owner_uid + uid`.
    pub owner_uid: u32,
    /// The same for groups.
    pub owner_gid: u32,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Who a container's process is, in the pod's user namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids. Not set where the node can map only one group.
    pub groups: Vec<u32>,
}

/// Where a container's root folder comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// The `host` runtime class: the host's programs, read-only, nothing of its users' files.
    Host,
}

/// A file or folder of the host, shown inside a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The file or folder on the host. It must exist. `hostPath` included.
    pub source: PathBuf,
    /// Where it appears: absolute, made when it does not exist.
    pub target: PathBuf,
    /// Refuse writing.
    pub read_only: bool,
}

/// Files of `/etc` that every container has of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcFiles {
    /// `/etc/resolv.conf`
    pub resolv_conf: String,
    /// `/etc/hosts`
    pub hosts: String,
    /// `/etc/hostname`
    pub hostname: String,
}

/// What a container shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Which run this is.
    pub key: ContainerKey,
    /// The command and its arguments; the command is looked for in the PATH of `env`, in the
    /// container's root.
    pub argv: Vec<String>,
    /// The whole environment, in order. A PATH is added where it has none.
    pub env: Vec<(String, String)>,
    /// Working folder; `/` when not given.
    pub working_dir: Option<PathBuf>,
    /// Who it runs as.
    pub user: User,
    /// Its root folder.
    pub root: Root,
    /// Whether the container's own folders (`/tmp`, `/run`, …) are read-only too.
    pub read_only_root: bool,
    /// Its mounts, in order.
    pub mounts: Vec<Mount>,
    /// Its `/etc` files.
    pub etc: EtcFiles,
    /// Its limits.
    pub limits: Limits,
    /// The log file, in CRI format. Rotated at 10 MiB to `FILE.1` … `FILE.4` (`.1` the newest).
    /// Its folder is made.
    pub log: PathBuf,
    /// Its capabilities, in the pod's user namespace.
    pub capabilities: Capabilities,
    /// `oom_score_adj`, −1000 to 1000; lowering it needs root.
    pub oom_score_adj: i32,
}

/// A container that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Its main process, as the brain sees it.
    pub pid: i32,
    /// When its command was executed.
    pub started_at: Timestamp,
}

/// How a container ended. Told again until acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Which run ended.
    pub key: ContainerKey,
    /// The exit code; 128 + the signal's number for one that was killed.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it was ended for want of memory (its own limit).
    pub oom_killed: bool,
    /// When its command was executed.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// Where a container's run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// Its root is being made; the command was not executed yet.
    Starting,
    /// Its command runs.
    Running(Started),
    /// It ended and its exit was not acknowledged yet.
    Exited(Exit),
    /// It ended (or could not be started) and the brain knows. Kept until the sandbox is removed,
    /// so that a repeated start does not run it twice.
    Over,
}

/// One container as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Which run.
    pub key: ContainerKey,
    /// Where it is.
    pub state: ContainerState,
    /// Where its use of resources can be read.
    pub location: Location,
}

/// What the keeper holds: what a new brain adopts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The sandboxes, by pod uid.
    pub sandboxes: Vec<Sandbox>,
    /// The containers, by key.
    pub containers: Vec<Container>,
    /// The listeners, by name, and the address each really has.
    pub listeners: Vec<(String, Listen, SocketAddr)>,
}

/// A socket for the keeper to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listen {
    /// TCP in the host's network.
    HostTcp(SocketAddr),
    /// TCP in the mesh namespace; a wildcard address hears every Service IP.
    MeshTcp(SocketAddr),
    /// UDP in the mesh namespace, with IP_PKTINFO (and its IPv6 counterpart) on.
    MeshUdp(SocketAddr),
}

/// What an exec'd process did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecOutcome {
    /// Its exit code (128 + signal when killed by one); `None` when it ran out of time and was
    /// killed for that.
    pub code: Option<i32>,
    /// The first 64 KiB of what it wrote to stdout and stderr together.
    pub output: Vec<u8>,
}

/// A command that runs in a container, as whoever runs it sees it. Dropping the streams leaves
/// the command to itself: it reads the end of its input and cannot write; one with a terminal is
/// hung up.
#[derive(Debug)]
pub struct ExecStreams {
    /// Gives the exit code in decimal (128 + signal when killed by one) and ends, when the command
    /// has ended. Ends without when the keeper does not know.
    pub end: OwnedFd,
    /// What it reads and writes.
    pub stdio: ExecStdio,
}

/// The other side of what an exec'd command reads and writes.
#[derive(Debug)]
pub enum ExecStdio {
    /// A pipe each.
    Pipes {
        /// To be read.
        stdout: OwnedFd,
        /// To be read.
        stderr: OwnedFd,
        /// To be written; its closing is the end of the command's input.
        stdin: Option<OwnedFd>,
    },
    /// The controlling side of its terminal, to be read and written.
    Terminal(OwnedFd),
}

/// Sets the size of a terminal in characters, by its controlling side.
///
/// # Errors
/// What the kernel refused.
pub fn resize_terminal(control: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    crate::sys::resize_terminal(control, rows, columns)
}

/// Which ids of the host a pod can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ids {
    /// Pods have 65,536 users and groups, none of which is an account of the host.
    Range,
    /// Pods have one user and one group, which is the user `tide` runs as.
    One,
}

/// What this node can and cannot do, found out once at the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Whether the keeper runs without root.
    pub rootless: bool,
    /// Which ids pods have.
    pub ids: Ids,
    /// How use is measured and limits are enforced.
    pub cgroups: CgroupMode,
    /// Whether containers get the host's /proc, read-only, since mounting one is refused here.
    pub proc_is_hosts: bool,
    /// The node's address in the mesh namespace.
    pub mesh_address: Ipv4Addr,
    /// Process id of the keeper.
    pub keeper_pid: i32,
    /// How many brains there were before this one.
    pub restarts: u32,
    /// Sentences for the user, each to be said once.
    pub warnings: Vec<String>,
}

/// What happens without being asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A container ended. Told to each new brain until acknowledged.
    ContainerExited(Exit),
    /// A pod's init ended without being asked to, and with it every container of the pod.
    SandboxExited {
        /// The pod's uid.
        pod: String,
    },
    /// The keeper was asked to end: stop pods as they wish, then exit with code 0.
    Stopping,
}

/// Why an order failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum KeeperError {
    /// The container's command could not be executed. Kubernetes' `StartError`.
    #[error("{message}")]
    Start {
        /// What the user reads, such as `exec: "foo": executable file not found in $PATH`.
        message: String,
        /// The exit code Kubernetes shows: 128, or 127/126 as the shell would.
        code: i32,
    },
    /// The container could not be prepared (a mount, an id, a limit).
    #[error("{0}")]
    Create(String),
    /// No such sandbox, or it ended.
    #[error("no sandbox runs for pod {0}")]
    NoSandbox(String),
    /// No such container runs.
    #[error("no container {0} runs")]
    NoContainer(ContainerKey),
    /// This run was started before, ended, and its exit was acknowledged.
    #[error("container {0} ran already")]
    Over(ContainerKey),
    /// A socket cannot be had.
    #[error("{0}")]
    Listen(String),
    /// The keeper does not answer any more.
    #[error("the keeper is gone")]
    Gone,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Hello,
    CreateSandbox(SandboxSpec),
    RemoveSandbox {
        pod: String,
    },
    StartContainer(Box<ContainerSpec>),
    Signal {
        key: ContainerKey,
        signal: i32,
    },
    KillAll {
        key: ContainerKey,
    },
    Acknowledge {
        key: ContainerKey,
    },
    Exec {
        key: ContainerKey,
        argv: Vec<String>,
        limit: Duration,
    },
    ExecStream {
        key: ContainerKey,
        argv: Vec<String>,
        stdin: bool,
        terminal: bool,
    },
    Inventory,
    Listen {
        name: String,
        listen: Listen,
    },
    Unlisten {
        name: String,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done,
    /// With the mesh namespace's descriptor.
    Hello(Box<Facts>),
    Sandbox(Sandbox),
    Started(Started),
    Exec(ExecOutcome),
    /// With the descriptors of [`ExecStreams`], in its order.
    Streams,
    Inventory(Inventory),
    /// With the socket.
    Listening(SocketAddr),
    Failed(KeeperError),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: u64,
    pub(crate) request: Request,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    Reply { id: u64, reply: Reply },
    Event(Event),
}

/// The largest frame either side accepts: 16 MiB, above any pod the API server stores.
pub(crate) const MAXIMUM_FRAME: usize = 16 << 20;

/// One frame: length of the body (u32, little endian), number of descriptors that come with it
/// (one byte), body (JSON).
pub(crate) fn encode<T: Serialize>(value: &T, descriptors: u8) -> Vec<u8> {
    let mut frame = vec![0; HEADER];
    // Types of our own, without maps of odd keys: serialising them cannot fail.
    serde_json::to_writer(&mut frame, value).expect("protocol types serialise");
    let length = u32::try_from(frame.len() - HEADER).expect("frames are far below 4 GiB");
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame[4] = descriptors;
    frame
}

const HEADER: usize = 5;

/// Collects bytes until a frame is whole.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    buffer: Vec<u8>,
}

impl Frames {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame: its body and how many descriptors belong to it.
    pub(crate) fn next(&mut self) -> Result<Option<(Vec<u8>, u8)>, FrameTooLarge> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let descriptors = header[4];
        if length > MAXIMUM_FRAME {
            return Err(FrameTooLarge);
        }
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        let body = self.buffer[HEADER..HEADER + length].to_vec();
        self.buffer.drain(..HEADER + length);
        Ok(Some((body, descriptors)))
    }
}

#[derive(Debug)]
pub(crate) struct FrameTooLarge;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_the_bytes_arrive() {
        let first = encode(
            &Order {
                id: 7,
                request: Request::Hello,
            },
            0,
        );
        let second = encode(
            &Order {
                id: 8,
                request: Request::Inventory,
            },
            2,
        );
        let bytes: Vec<u8> = first.iter().chain(&second).copied().collect();
        for step in [1, 2, 3, bytes.len()] {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for chunk in bytes.chunks(step) {
                frames.push(chunk);
                while let Some((body, descriptors)) = frames.next().unwrap() {
                    let order: Order = serde_json::from_slice(&body).unwrap();
                    seen.push((order.id, descriptors));
                }
            }
            assert_eq!(seen, [(7, 0), (8, 2)], "in steps of {step}");
        }
    }

    #[test]
    fn a_frame_beyond_the_limit_is_refused() {
        let mut frames = Frames::default();
        frames.push(&[0xff, 0xff, 0xff, 0xff, 0]);
        assert!(frames.next().is_err());
    }
}
