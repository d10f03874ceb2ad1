//! A pod's init: makes the pod's namespaces what they shall be, then reaps orphans until it is
//! killed, and every process of the pod with it.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::ids::PodIds;
use crate::network::{self, Mesh};
use crate::sys::{self, Pid};

/// The longest an init may take to set up its namespaces; it is some milliseconds.
const LIMIT: Duration = Duration::from_secs(20);

/// A pod's namespaces but its mount namespace, in the order they are entered: the user namespace
/// first, which gives the right to enter the others.
#[derive(Debug)]
pub(crate) struct Namespaces {
    pub(crate) shared: Vec<OwnedFd>,
    /// The one the pod's containers' are copies of.
    pub(crate) mounts: OwnedFd,
}

impl Namespaces {
    /// Opens those of a process that is not hidden yet.
    fn of(pid: Pid, own_network: bool) -> io::Result<Self> {
        let open = |name: &str| fs::File::open(format!("/proc/{pid}/ns/{name}")).map(OwnedFd::from);
        let names = ["user", "pid", "ipc", "uts", "net"];
        let count = if own_network {
            names.len()
        } else {
            names.len() - 1
        };
        let shared = names[..count]
            .iter()
            .map(|name| open(name))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            shared,
            mounts: open("mnt")?,
        })
    }
}

/// Starts a pod's init and waits until its namespaces and network are ready.
pub(crate) fn start(
    hostname: &str,
    network: Option<(&mut Mesh, Ipv4Addr)>,
    ids: PodIds,
) -> Result<(Pid, Namespaces), String> {
    let (mut ours, theirs) =
        UnixStream::pair().map_err(|error| format!("cannot make a socket pair: {error}"))?;
    let mut flags = sys::NEW_USER | sys::NEW_MOUNT | sys::NEW_PID | sys::NEW_IPC | sys::NEW_UTS;
    let address = network.as_ref().map(|(_, address)| *address);
    if address.is_some() {
        flags |= sys::NEW_NETWORK;
    }
    let pid = sys::spawn(flags, || run(theirs, hostname, address, ids))
        .map_err(|error| format!("cannot start the pod's init: {error}"))?;
    let ready = ids
        .write(pid)
        .map_err(|error| format!("cannot map the pod's users: {error}"))
        .and_then(|()| {
            if let Some((mesh, address)) = network {
                mesh.join(pid, address)
                    .map_err(|error| format!("cannot link the pod to the mesh: {error}"))?;
            }
            let namespaces = Namespaces::of(pid, address.is_some())
                .map_err(|error| format!("cannot open the pod's namespaces: {error}"))?;
            await_ready(&mut ours).map(|()| namespaces)
        });
    ready.map(|namespaces| (pid, namespaces)).inspect_err(|_| {
        // Nobody else knows of it: end and reap it here.
        let _ = sys::kill(pid, libc::SIGKILL);
        let _ = sys::reap(Some(pid), true);
    })
}

fn await_ready(init: &mut UnixStream) -> Result<(), String> {
    let mut answer = String::new();
    init.set_read_timeout(Some(LIMIT))
        .and_then(|()| init.write_all(b"+"))
        .and_then(|()| init.read_to_string(&mut answer))
        .map_err(|error| format!("the pod's init does not answer: {error}"))?;
    match answer.as_str() {
        "+" => Ok(()),
        "" => Err("the pod's init ended before it was ready".to_owned()),
        error => Err(error.to_owned()),
    }
}

fn run(mut keeper: UnixStream, hostname: &str, address: Option<Ipv4Addr>, ids: PodIds) -> i32 {
    sys::close_all_but(&[keeper.as_raw_fd()]);
    // Nothing can be done before the maps are written and the link is there.
    if keeper.read_exact(&mut [0]).is_err() {
        return 1;
    }
    let answer = set_up(hostname, address, ids);
    let ready = answer.is_ok();
    let answer = answer.err().unwrap_or_else(|| "+".to_owned());
    if keeper.write_all(answer.as_bytes()).is_err() || !ready {
        return 1;
    }
    drop(keeper);
    loop {
        while let Ok(Some(_)) = sys::reap(None, true) {}
        sys::wait_signal(&[libc::SIGCHLD]);
    }
}

fn set_up(hostname: &str, address: Option<Ipv4Addr>, ids: PodIds) -> Result<(), String> {
    let told = |what: &'static str| move |error: io::Error| format!("cannot {what}: {error}");
    sys::set_name(c"pod");
    sys::reset_signals();
    sys::block_signals(&[libc::SIGCHLD]).map_err(told("block signals"))?;
    sys::setsid().map_err(told("start a session"))?;
    sys::become_user(ids.inside.0, ids.inside.1, ids.has_groups().then_some(&[]))
        .map_err(told("become the pod's user"))?;
    sys::set_hostname(hostname).map_err(told("set the host name"))?;
    sys::make_mounts_private().map_err(told("make mounts private"))?;
    share_memory();
    if let Some(address) = address {
        network::set_up_pod_side(address).map_err(told("set up the pod's network"))?;
    }
    // Where this can be written, no process of the pod gets a user namespace of its own, and with
    // it every capability there. A second wall, not the first.
    let _ = fs::write("/proc/sys/user/max_user_namespaces", "0");
    for descriptor in 0..3 {
        let null = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null");
        if let Ok(null) = null {
            sys::redirect(null.as_fd(), descriptor).map_err(told("close the terminal"))?;
        }
    }
    sys::bound_capabilities(0).map_err(told("drop capabilities"))?;
    sys::set_capabilities(0).map_err(told("drop capabilities"))?;
    sys::set_no_new_privileges().map_err(told("give up privileges"))?;
    // Its memory is a copy of the keeper's.
    sys::hide_from_tracers().map_err(told("hide its memory"))?;
    sys::die_with_parent().map_err(told("be tied to the keeper"))
}

/// One `/dev/shm` for all containers of the pod. A host without that folder has none to share.
fn share_memory() {
    let attributes = sys::Attributes::NO_SETUID
        .and(sys::Attributes::NO_DEVICES)
        .and(sys::Attributes::NO_EXEC);
    let options = [(c"mode", c"1777"), (c"size", c"64m")];
    if let Ok(memory) = sys::new_file_system(c"tmpfs", &options, attributes) {
        let _ = sys::attach(memory.as_fd(), None, Path::new("/dev/shm"));
    }
}
