//! The process `tide up` is: one thread, from the start to the end.
//!
//! It starts the brain and restarts it when it dies; forks sandboxes and containers on the brain's
//! order and reaps them; writes their output to log files; holds the mesh namespace and every
//! listening socket. A brain that dies takes nothing with it; the keeper's death is the node's.
//!
//! ```text
//! brain ── Client ──(socket: orders, replies with descriptors, events)── keeper ── init of each pod
//!                                                                          └────── containers
//! ```

mod brain;
mod client;
mod connection;
mod containers;
mod execs;
mod output;
mod pods;
mod privileges;
mod protocol;
mod service;
mod streams;
mod upgrade;

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;

pub use client::{Client, Events};
pub use protocol::{
    Container, ContainerKey, ContainerSpec, ContainerState, EtcFiles, Event, ExecOutcome,
    ExecStdio, ExecStreams, Exit, Facts, Ids, Inventory, KeeperError, Listen, Mount, Root, Sandbox,
    SandboxSpec, Started, User, resize_terminal,
};

pub use crate::cgroups::{CgroupMode, Limits, Location, Usage};
pub use crate::sandbox::{Capabilities, CapabilityError};

/// The environment variable that tells the brain which descriptor leads to its keeper.
pub const SOCKET_VARIABLE: &str = "SPRINGTIDE_KEEPER_SOCKET";

/// The exit code by which a brain says that starting it again would not help (a port in use, a
/// data folder of a newer version): the keeper ends with the same code. 78 is `EX_CONFIG`.
pub const BRAIN_GIVES_UP: u8 = 78;

/// What a keeper needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// Arguments for the brain, without the program's name; the program is this one
    /// (`/proc/self/exe`).
    pub brain: Vec<OsString>,
    /// The range of addresses the mesh namespace makes local: every Service IP.
    pub service_range: (Ipv4Addr, u8),
    /// The node's own address in the mesh namespace, outside the range pods get theirs from.
    pub mesh_address: Ipv4Addr,
    /// Folders no container may see into, such as the data folder, wherever they are.
    pub hidden: Vec<PathBuf>,
}

/// Is the keeper, until it is told to stop (SIGTERM, SIGINT; twice: at once) or the brain ends with
/// code 0 or [`BRAIN_GIVES_UP`]. SIGUSR2 has it become the program that is now where it was started
/// from, with a new brain; pods and connections go on. To be called from `main` before anything starts a thread.
///
/// # Errors
/// A sentence for the user, with what to do, when a keeper is not possible here.
pub fn main(config: Config) -> Result<ExitCode, String> {
    service::run(config)
}
