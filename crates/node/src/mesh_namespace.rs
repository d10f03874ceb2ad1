//! Sockets made in the mesh namespace.
//!
//! A socket belongs to the network namespace of the thread that made it and serves any thread
//! afterwards. Without root a thread cannot come back to the host's namespace, so the threads here
//! enter the mesh namespace and stay.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::sync::{mpsc, oneshot};

use crate::sys;

/// The mesh network namespace. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MeshNamespace {
    namespace: Arc<OwnedFd>,
    sockets: mpsc::Sender<Wanted>,
}

#[derive(Debug)]
enum Wanted {
    Tcp {
        v6: bool,
        tell: oneshot::Sender<io::Result<TcpSocket>>,
    },
    Udp {
        bind: SocketAddr,
        tell: oneshot::Sender<io::Result<std::net::UdpSocket>>,
    },
}

impl MeshNamespace {
    /// Starts the thread that makes sockets. `namespace` is [`crate::keeper::Client::mesh_namespace`].
    pub fn new(namespace: BorrowedFd<'_>) -> io::Result<Self> {
        let namespace = Arc::new(namespace.try_clone_to_owned()?);
        // Each entry is a caller that waits; the bound only keeps a burst from growing memory.
        let (sockets, mut wanted) = mpsc::channel(256);
        let make = move || {
            while let Some(next) = wanted.blocking_recv() {
                // A caller that gave up is no error.
                match next {
                    Wanted::Tcp { v6, tell } => {
                        let made = if v6 {
                            TcpSocket::new_v6()
                        } else {
                            TcpSocket::new_v4()
                        };
                        drop(tell.send(made));
                    }
                    Wanted::Udp { bind, tell } => {
                        drop(tell.send(std::net::UdpSocket::bind(bind)));
                    }
                }
            }
        };
        spawn(Arc::clone(&namespace), "mesh-sockets", make)?;
        Ok(Self { namespace, sockets })
    }

    /// Connects to an address of the mesh: a pod, or a Service IP. The stream belongs to the
    /// caller's runtime. The caller bounds the wait.
    pub async fn dial_tcp(&self, address: SocketAddr) -> io::Result<TcpStream> {
        self.tcp_socket(address).await?.connect(address).await
    }

    /// A TCP socket in the mesh namespace, of `address`' family, neither bound nor connected.
    pub async fn tcp_socket(&self, address: SocketAddr) -> io::Result<TcpSocket> {
        let (tell, told) = oneshot::channel();
        let wanted = Wanted::Tcp {
            v6: address.is_ipv6(),
            tell,
        };
        self.sockets.send(wanted).await.map_err(|_| ended())?;
        told.await.map_err(|_| ended())?
    }

    /// A UDP socket in the mesh namespace, bound to `bind`, of the caller's runtime.
    pub async fn udp_socket(&self, bind: SocketAddr) -> io::Result<UdpSocket> {
        let (tell, told) = oneshot::channel();
        self.sockets
            .send(Wanted::Udp { bind, tell })
            .await
            .map_err(|_| ended())?;
        let socket = told.await.map_err(|_| ended())??;
        socket.set_nonblocking(true)?;
        UdpSocket::from_std(socket)
    }

    /// Starts a thread that lives wholly in the mesh namespace, with all threads it starts; a
    /// runtime for the data plane is built inside `run`.
    pub fn spawn_thread<F>(&self, name: &str, run: F) -> io::Result<JoinHandle<()>>
    where
        F: FnOnce() + Send + 'static,
    {
        spawn(Arc::clone(&self.namespace), name, run)
    }
}

fn ended() -> io::Error {
    io::Error::other("the thread that makes the mesh namespace's sockets has ended")
}

/// Returns when the thread has entered the namespace, or with the reason why it cannot.
fn spawn<F>(namespace: Arc<OwnedFd>, name: &str, run: F) -> io::Result<JoinHandle<()>>
where
    F: FnOnce() + Send + 'static,
{
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let thread = Builder::new().name(name.to_owned()).spawn(move || {
        let entered = sys::enter_network_namespace(namespace.as_fd());
        let failed = entered.is_err();
        // The one who waits below cannot have gone.
        let _ = tell.send(entered);
        if !failed {
            run();
        }
    })?;
    told.recv().map_err(|_| ended())??;
    Ok(thread)
}
