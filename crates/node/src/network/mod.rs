//! The mesh namespace and the pods' place in it, by netlink.
//!
//! ```text
//!        pod's namespace                     mesh namespace
//!   eth0  POD_IP/32  ───── veth pair ─────  vN   route POD_IP/32 dev vN
//!   default via 169.254.1.1                 lo   MESH_ADDRESS/32, local SERVICE_RANGE
//! ```
//! Neighbours are written down on both sides, so nothing is ever asked for by ARP, and a pod that
//! sends with another's address is dropped by the strict reverse path filter of its own link.

mod netlink;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use serde::{Deserialize, Serialize};

use netlink::{Mac, Message, Socket};

use crate::keeper::Listen;
use crate::sys;

/// What every pod's default route leads to.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// Links are points to points, so the same two hardware addresses serve all of them.
const MESH_MAC: Mac = [0x02, b's', b'p', b'r', 0, 1];
const POD_MAC: Mac = [0x02, b's', b'p', b'r', 0, 2];

const LOOPBACK: u32 = 1;
/// What a pod's own link is called in it.
pub const POD_LINK_NAME: &str = "eth0";
/// `eth0`'s index in a pod. Far above what the kernel gives links it makes by itself.
const POD_LINK: u32 = 100;
const FIRST_MESH_LINK: u32 = 100;

/// The mesh namespace, as the keeper holds it.
#[derive(Debug)]
pub(crate) struct Mesh {
    namespace: OwnedFd,
    routing: Socket,
    address: Ipv4Addr,
    next_link: u32,
}

/// A [`Mesh`] by its descriptors' numbers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CarriedMesh {
    pub(crate) namespace: RawFd,
    pub(crate) routing: RawFd,
    address: Ipv4Addr,
    next_link: u32,
}

impl Mesh {
    /// Makes the namespace: its loopback is up, the service range is local to it.
    pub(crate) fn create(service_range: (Ipv4Addr, u8), address: Ipv4Addr) -> io::Result<Self> {
        // This process stays where it is: a child enters, and sends back what is left of it.
        let [namespace, routing] = in_child(|| {
            sys::unshare(sys::NEW_NETWORK)?;
            // Each may be read-only; the first only saves ports, the second only convenience.
            let _ = fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "1");
            let _ = fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
            let namespace = fs::File::open("/proc/thread-self/ns/net")?;
            Ok([namespace.into(), Socket::open()?.into_descriptor()])
        })?;
        let mut routing = Socket::over(routing);
        let (network, prefix) = service_range;
        routing.run(&[
            Message::up(LOOPBACK),
            Message::address(LOOPBACK, address),
            Message::local_range(LOOPBACK, network, prefix),
        ])?;
        Ok(Self {
            namespace,
            routing,
            address,
            next_link: FIRST_MESH_LINK,
        })
    }

    /// The mesh namespace as the next version of this process finds it.
    pub(crate) fn carry(&self) -> CarriedMesh {
        CarriedMesh {
            namespace: self.namespace.as_raw_fd(),
            routing: self.routing.descriptor().as_raw_fd(),
            address: self.address,
            next_link: self.next_link,
        }
    }

    pub(crate) fn restore(carried: &CarriedMesh) -> io::Result<Self> {
        Ok(Self {
            namespace: sys::adopt(carried.namespace)?,
            routing: Socket::over(sys::adopt(carried.routing)?),
            address: carried.address,
            next_link: carried.next_link,
        })
    }

    pub(crate) fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// Links the network namespace of a process to the mesh. The pod's side is then set up from
    /// inside, by [`set_up_pod_side`].
    pub(crate) fn join(&mut self, pid: i32, address: Ipv4Addr) -> io::Result<()> {
        let link = self.next_link;
        self.next_link = self.next_link.checked_add(1).unwrap_or(FIRST_MESH_LINK);
        let name = format!("v{link}");
        self.routing.run(&[Message::new_pair(
            &name, link, MESH_MAC, POD_LINK, POD_MAC, pid,
        )])?;
        // A kernel without IPv6 has nothing to turn off.
        let _ = self.routing.run(&[Message::no_link_local(link)]);
        self.routing.run(&[
            Message::forward_strictly(link),
            Message::up(link),
            Message::neighbour(link, address, POD_MAC),
            Message::host_route(link, address, self.address),
        ])
    }

    /// A socket of the mesh namespace.
    pub(crate) fn listen(&self, listen: &Listen) -> io::Result<OwnedFd> {
        let [socket] = in_child(|| {
            sys::enter_network_namespace(self.namespace())?;
            Ok([bind(listen)?])
        })?;
        Ok(socket)
    }
}

/// Sets up the calling process' network namespace as a pod's.
pub(crate) fn set_up_pod_side(address: Ipv4Addr) -> io::Result<()> {
    for (setting, value) in [
        // Containers without capabilities may listen on port 80, and ping.
        ("ip_unprivileged_port_start", "0"),
        ("ping_group_range", "0 0"),
        ("tcp_tw_reuse", "1"),
    ] {
        // May be read-only here; nothing depends on it.
        let _ = fs::write(format!("/proc/sys/net/ipv4/{setting}"), value);
    }
    let mut routing = Socket::open()?;
    let _ = routing.run(&[Message::no_link_local(POD_LINK)]);
    routing.run(&[
        Message::up(LOOPBACK),
        Message::address(POD_LINK, address),
        Message::up(POD_LINK),
        Message::neighbour(POD_LINK, GATEWAY, MESH_MAC),
        Message::default_route(POD_LINK, GATEWAY),
    ])
}

/// A listening socket in the calling process' network namespace; does not block.
pub(crate) fn bind(listen: &Listen) -> io::Result<OwnedFd> {
    match listen {
        Listen::HostTcp(address) | Listen::MeshTcp(address) => sys::listening_socket(*address),
        Listen::MeshUdp(address) => sys::datagram_socket(*address),
    }
}

/// The address a socket is bound to.
pub(crate) fn local_address(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    // Every kind of socket answers this alike.
    std::net::UdpSocket::from(socket.try_clone_to_owned()?).local_addr()
}

/// Runs `make` in a child process and receives the descriptors it made.
fn in_child<const N: usize>(
    make: impl FnOnce() -> io::Result<[OwnedFd; N]>,
) -> io::Result<[OwnedFd; N]> {
    let (ours, theirs) = UnixStream::pair()?;
    let child = sys::spawn(0, || {
        let sent = make().and_then(|made| {
            let made = made.each_ref().map(AsFd::as_fd);
            sys::send_with_descriptors(theirs.as_fd(), b"+", &made)
        });
        match sent {
            Ok(_) => 0,
            Err(error) => {
                let code = error.raw_os_error().unwrap_or(libc::EIO);
                // The parent sees the end of the stream if even this fails.
                let _ = sys::send_with_descriptors(theirs.as_fd(), &code.to_ne_bytes(), &[]);
                1
            }
        }
    })?;
    drop(theirs);
    let received = sys::receive_with_descriptors(ours.as_fd());
    sys::reap(Some(child), true)?;
    let (bytes, descriptors) = received?;
    descriptors
        .try_into()
        .map_err(|_| match bytes.as_slice().try_into() {
            Ok(code) => io::Error::from_raw_os_error(i32::from_ne_bytes(code)),
            Err(_) => io::Error::other("a child process ended without an answer"),
        })
}
