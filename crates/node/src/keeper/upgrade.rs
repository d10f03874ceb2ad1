//! Becoming a newer version of itself, in place.
//!
//! `execve` keeps the process, and with it its children, what it holds open, and its cgroups. What
//! it knows is written into a file in memory, whose descriptor the new program finds by an
//! environment variable. The brain is started anew, being of the old version.

use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use serde::{Deserialize, Serialize};

use super::containers::{CarriedContainer, ContainerRecord};
use super::pods::{CarriedSandbox, SandboxRecord};
use super::protocol::{Facts, Listen};
use super::service::Keeper;
use super::streams::StreamRecord;
use crate::cgroups::Group;
use crate::network::CarriedMesh;
use crate::sys::{self, Pid};

/// Tells a new version which descriptor holds what the old one knew.
const STATE_VARIABLE: &str = "SPRINGTIDE_KEEPER_STATE";

/// What one version tells the next. Descriptors are carried by number.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Carried {
    pub(super) facts: Facts,
    pub(super) cgroups: Group,
    pub(super) mesh: CarriedMesh,
    pub(super) pods_made: u32,
    /// The old version's brain, to be ended before there is another.
    pub(super) brain: Option<Pid>,
    pub(super) sandboxes: Vec<CarriedSandbox>,
    pub(super) containers: Vec<CarriedContainer>,
    pub(super) listeners: Vec<(String, Listen, RawFd)>,
}

impl Carried {
    fn descriptors(&self) -> Vec<RawFd> {
        let sandboxes = self
            .sandboxes
            .iter()
            .flat_map(|sandbox| sandbox.namespaces.iter().copied().chain([sandbox.mounts]));
        let containers = self.containers.iter().flat_map(|container| {
            [container.out, container.error, container.mounts]
                .into_iter()
                .flatten()
        });
        let listeners = self.listeners.iter().map(|(_, _, socket)| *socket);
        let mesh = [self.mesh.namespace, self.mesh.routing];
        sandboxes
            .chain(containers)
            .chain(listeners)
            .chain(mesh)
            .collect()
    }
}

/// What an older version left, when this process was one.
pub(super) fn receive() -> io::Result<Option<Carried>> {
    let Ok(number) = std::env::var(STATE_VARIABLE) else {
        return Ok(None);
    };
    let number = number.parse().map_err(io::Error::other)?;
    let mut text = Vec::new();
    File::from(sys::adopt(number)?).read_to_end(&mut text)?;
    Ok(Some(serde_json::from_slice(&text)?))
}

/// Whether a variable must not be handed on.
pub(super) fn is_own_variable(name: &std::ffi::OsStr) -> bool {
    name == STATE_VARIABLE
}

impl Keeper {
    /// Whether nothing is half done that could not be carried on.
    pub(super) fn can_upgrade(&self) -> bool {
        self.execs.is_empty()
            && !self.streams.values().any(StreamRecord::awaits_report)
            && !self.containers.values().any(ContainerRecord::awaits_report)
            && !self.sandboxes.values().any(SandboxRecord::is_being_removed)
    }

    /// Becomes the program that is now where this one was started from.
    ///
    /// # Errors
    /// When it cannot; nothing has changed then.
    pub(super) fn upgrade(&mut self) -> io::Result<()> {
        let carried = self.carry();
        let mut state = sys::memory_file(c"keeper-state")?;
        state.write_all(&serde_json::to_vec(&carried)?)?;
        state.rewind()?;
        let program = current_program()?;
        let text = |text: OsString| CString::new(text.into_vec()).map_err(io::Error::other);
        let program = text(program)?;
        let argv = std::env::args_os()
            .map(text)
            .collect::<io::Result<Vec<_>>>()?;
        let mut env = Vec::new();
        for (name, value) in std::env::vars_os().filter(|(name, _)| !is_own_variable(name)) {
            env.push(text(OsString::from_vec(
                [name.as_bytes(), value.as_bytes()].join(&b'='),
            ))?);
        }
        env.push(text(
            format!("{STATE_VARIABLE}={}", state.as_raw_fd()).into(),
        )?);
        let mut kept = carried.descriptors();
        kept.push(state.as_raw_fd());
        sys::keep_over_exec(&kept, true)?;
        let error = sys::execute(&program, &argv, &env);
        sys::keep_over_exec(&kept, false)?;
        Err(error)
    }

    fn carry(&self) -> Carried {
        let mut facts = self.facts().clone();
        facts.restarts += 1;
        Carried {
            facts,
            cgroups: self.cgroups.root().clone(),
            mesh: self.mesh.carry(),
            pods_made: self.pods_made,
            brain: self.brain.pid(),
            sandboxes: self.sandboxes.values().map(SandboxRecord::carry).collect(),
            containers: self
                .containers
                .values()
                .filter_map(ContainerRecord::carry)
                .collect(),
            listeners: self.carry_listeners(),
        }
    }

    /// Takes over what an older version left.
    pub(super) fn take_over(&mut self, carried: Carried) -> io::Result<()> {
        if let Some(brain) = carried.brain {
            // It may hold the data folder's lock.
            sys::kill(brain, libc::SIGKILL)?;
            sys::reap(Some(brain), true)?;
        }
        for sandbox in carried.sandboxes {
            let record = SandboxRecord::restore(sandbox)?;
            self.sandboxes.insert(record.info.pod.clone(), record);
        }
        for container in carried.containers {
            self.restore_container(container)?;
        }
        for (name, listen, socket) in carried.listeners {
            let socket: OwnedFd = sys::adopt(socket)?;
            self.restore_listener(name, listen, socket);
        }
        Ok(())
    }
}

/// The path this program was started from; what is there now may be another one.
fn current_program() -> io::Result<OsString> {
    let path = fs::read_link("/proc/self/exe")?.into_os_string();
    let bytes = path.as_bytes();
    let plain = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    Ok(OsString::from_vec(plain.to_vec()))
}
