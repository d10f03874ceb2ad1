//! Pods' sandboxes, as the keeper handles them.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use serde::{Deserialize, Serialize};

use super::protocol::{Event, KeeperError, Reply, Sandbox, SandboxSpec};
use super::service::{Keeper, OrderId};
use crate::cgroups::Group;
use crate::sandbox::{self, Namespaces, PodIds, sentence};
use crate::sys::{self, Pid};

/// A sandbox that is there.
#[derive(Debug)]
pub(super) struct SandboxRecord {
    pub(super) info: Sandbox,
    pub(super) namespaces: Namespaces,
    pub(super) ids: PodIds,
    pub(super) group: Group,
    /// Who waits for its end.
    removers: Vec<OrderId>,
}

/// A [`SandboxRecord`] by its descriptors' numbers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CarriedSandbox {
    info: Sandbox,
    pub(super) namespaces: Vec<RawFd>,
    pub(super) mounts: RawFd,
    ids: PodIds,
    group: Group,
}

impl SandboxRecord {
    pub(super) fn is_being_removed(&self) -> bool {
        !self.removers.is_empty()
    }

    pub(super) fn carry(&self) -> CarriedSandbox {
        CarriedSandbox {
            info: self.info.clone(),
            namespaces: self
                .namespaces
                .shared
                .iter()
                .map(AsRawFd::as_raw_fd)
                .collect(),
            mounts: self.namespaces.mounts.as_raw_fd(),
            ids: self.ids,
            group: self.group.clone(),
        }
    }

    pub(super) fn restore(carried: CarriedSandbox) -> io::Result<Self> {
        let shared = carried
            .namespaces
            .into_iter()
            .map(sys::adopt)
            .collect::<io::Result<_>>()?;
        let namespaces = Namespaces {
            shared,
            mounts: sys::adopt(carried.mounts)?,
        };
        Ok(Self {
            info: carried.info,
            namespaces,
            ids: carried.ids,
            group: carried.group,
            removers: Vec::new(),
        })
    }
}

impl Keeper {
    pub(super) fn create_sandbox(&mut self, spec: &SandboxSpec) -> Result<Reply, KeeperError> {
        if let Some(known) = self.sandboxes.get(&spec.pod) {
            if !known.removers.is_empty() {
                return Err(KeeperError::Create(format!(
                    "pod {} is being removed",
                    spec.pod
                )));
            }
            return Ok(Reply::Sandbox(known.info.clone()));
        }
        let group = self.cgroups.pod(&spec.pod).map_err(|error| {
            KeeperError::Create(format!(
                "cannot make the pod's cgroup: {}",
                sentence(&error)
            ))
        })?;
        let made = self.make_sandbox(spec, &group);
        if made.is_err() {
            self.emptying.push(group);
        }
        made.map(Reply::Sandbox).map_err(KeeperError::Create)
    }

    fn make_sandbox(&mut self, spec: &SandboxSpec, group: &Group) -> Result<Sandbox, String> {
        let in_words = |error: io::Error| format!("cannot limit the pod: {}", sentence(&error));
        group.limit(&spec.limits).map_err(in_words)?;
        let ids = self.ids.for_pod(self.pods_made, spec.single_user);
        self.pods_made = self.pods_made.wrapping_add(1);
        let network = spec.address.map(|address| (&mut self.mesh, address));
        let (pid, namespaces) = sandbox::start_init(&spec.hostname, network, ids)?;
        let info = Sandbox {
            pod: spec.pod.clone(),
            address: spec.address,
            pid,
            owner_uid: ids.outside.0,
            owner_gid: ids.outside.1,
            created_at: self.now(),
        };
        let record = SandboxRecord {
            info: info.clone(),
            namespaces,
            ids,
            group: group.clone(),
            removers: Vec::new(),
        };
        self.sandboxes.insert(spec.pod.clone(), record);
        Ok(info)
    }

    /// Answered when the init is gone; the kernel ends every process of the pod before.
    pub(super) fn remove_sandbox(&mut self, order: OrderId, pod: &str) -> Option<Reply> {
        let Some(sandbox) = self.sandboxes.get_mut(pod) else {
            self.forget_containers(pod);
            return Some(Reply::Done);
        };
        sandbox.removers.push(order);
        // It cannot have been reaped: then it would not be here.
        let _ = sys::kill(sandbox.info.pid, libc::SIGKILL);
        None
    }

    /// Whether the process was a pod's init.
    pub(super) fn init_ended(&mut self, pid: Pid) -> bool {
        let found = self
            .sandboxes
            .values()
            .find(|sandbox| sandbox.info.pid == pid);
        let Some(pod) = found.map(|sandbox| sandbox.info.pod.clone()) else {
            return false;
        };
        let Some(sandbox) = self.sandboxes.remove(&pod) else {
            return false;
        };
        if sandbox.removers.is_empty() {
            self.tell(Event::SandboxExited { pod });
        } else {
            self.forget_containers(&pod);
            for order in sandbox.removers {
                self.reply(order, Reply::Done);
            }
        }
        self.emptying.push(sandbox.group);
        true
    }
}
