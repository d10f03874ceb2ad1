//! A thread of the data plane: lives in the mesh namespace, has a runtime of its own, accepts
//! from sockets shared with the other workers, and keeps its own idle connections.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use springtide_machinery::entropy::Entropy;
use springtide_node::MeshNamespace;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, LocalSet};

use crate::http::Proxy;
use crate::routes::{PortId, Protocol, Side};
use crate::table::{Endpoint, Table, Upstream};
use crate::telemetry::{Local, Telemetry};
use crate::{detect, tcp};

/// How often idle connections are looked through.
const SWEEP: Duration = Duration::from_secs(1);
/// A pause after `accept` failed for want of descriptors or memory, which another try would not mend.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a listening socket leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leads {
    /// To whatever Service has the address that a connection was accepted on.
    ToItsAddress,
    /// To one port of one Service.
    To(PortId),
}

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Order {
    /// Accept from a socket, under a name.
    Accept {
        name: String,
        socket: StdListener,
        leads: Leads,
    },
    /// Accept from that socket no longer.
    Cease { name: String },
}

/// A connection that is not balanced: the mesh's own DNS over TCP.
pub(crate) type OwnConnections = mpsc::Sender<TcpStreamInTransit>;
/// A stream between two runtimes.
pub(crate) type TcpStreamInTransit = std::net::TcpStream;

/// What all workers share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) table: Arc<Table>,
    pub(crate) host_dialer: HostDialer,
    pub(crate) telemetry: Telemetry,
    /// Where the mesh's own DNS listens, and who serves it.
    pub(crate) dns: (SocketAddr, OwnConnections),
}

/// Makes connections in the host's namespace, for workers that cannot.
#[derive(Clone, Debug)]
pub(crate) struct HostDialer(
    mpsc::Sender<(SocketAddr, oneshot::Sender<io::Result<std::net::TcpStream>>)>,
);

/// Makes connections to endpoints wherever they are.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    host: HostDialer,
}

// === impl HostDialer ===

impl HostDialer {
    /// Starts the task that connects; to be called in a runtime whose threads are in the host's
    /// namespace.
    pub(crate) fn start() -> Self {
        // Each entry is a caller that waits.
        let (wanted, mut orders) =
            mpsc::channel::<(SocketAddr, oneshot::Sender<io::Result<std::net::TcpStream>>)>(256);
        tokio::spawn(async move {
            while let Some((address, tell)) = orders.recv().await {
                tokio::spawn(async move {
                    let connected = TcpStream::connect(address)
                        .await
                        .and_then(TcpStream::into_std);
                    // A caller that gave up is no error.
                    let _ = tell.send(connected);
                });
            }
        });
        Self(wanted)
    }

    async fn dial(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let ended = || io::Error::other("the data plane is ending");
        let (tell, told) = oneshot::channel();
        self.0.send((address, tell)).await.map_err(|_| ended())?;
        TcpStream::from_std(told.await.map_err(|_| ended())??)
    }
}

// === impl Dialer ===

impl Dialer {
    /// For a worker, whose own thread is in the mesh namespace.
    pub(crate) fn new(host: HostDialer) -> Self {
        Self { host }
    }

    /// Connects to an endpoint within `limit`.
    pub(crate) async fn dial(&self, endpoint: &Endpoint, limit: Duration) -> io::Result<TcpStream> {
        let connect = async {
            match endpoint.side {
                Side::Mesh => TcpStream::connect(endpoint.address).await,
                Side::Host => self.host.dial(endpoint.address).await,
            }
        };
        let stream = tokio::time::timeout(limit, connect).await.map_err(|_| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no connection to {} in {limit:?}", endpoint.address),
            )
        })??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Starts a worker; it ends when the returned sender is dropped.
pub(crate) fn start(
    namespace: &MeshNamespace,
    name: &str,
    shared: Shared,
    entropy: Entropy,
) -> io::Result<mpsc::UnboundedSender<Order>> {
    // Unbounded, since there are only as many orders as changes of listening sockets.
    let (orders, received) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    namespace.spawn_thread(name, move || run(&runtime, shared, entropy, received))?;
    Ok(orders)
}

/// The worker's thread.
pub(crate) fn run(
    runtime: &tokio::runtime::Runtime,
    shared: Shared,
    entropy: Entropy,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let dialer = Dialer::new(shared.host_dialer.clone());
    let telemetry = Rc::new(Local::new(shared.telemetry.clone()));
    let worker = Rc::new(Worker {
        proxy: Rc::new(Proxy::new(
            dialer.clone(),
            entropy.clone(),
            Rc::clone(&telemetry),
        )),
        telemetry,
        dialer,
        shared,
        entropy,
    });
    LocalSet::new().block_on(runtime, async move {
        let mut accepting: HashMap<String, AbortHandle> = HashMap::new();
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Accept { name, socket, leads }) => {
                        let task = tokio::task::spawn_local(Rc::clone(&worker).accept(socket, leads));
                        if let Some(before) = accepting.insert(name, task.abort_handle()) {
                            before.abort();
                        }
                    }
                    Some(Order::Cease { name }) => {
                        if let Some(task) = accepting.remove(&name) {
                            task.abort();
                        }
                    }
                    None => return,
                },
                _ = sweep.tick() => {
                    worker.proxy.sweep();
                    worker.telemetry.sweep();
                }
            }
        }
    });
}

struct Worker {
    shared: Shared,
    dialer: Dialer,
    proxy: Rc<Proxy>,
    telemetry: Rc<Local>,
    entropy: Entropy,
}

// === impl Worker ===

impl Worker {
    async fn accept(self: Rc<Self>, socket: StdListener, leads: Leads) {
        let listener = match TcpListener::from_std(socket) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "a listening socket cannot be used");
                return;
            }
        };
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let worker = Rc::clone(&self);
                    let leads = leads.clone();
                    tokio::task::spawn_local(
                        async move { worker.serve(stream, peer, &leads).await },
                    );
                }
                // The caller went away between connecting and being accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(self: Rc<Self>, stream: TcpStream, peer: SocketAddr, leads: &Leads) {
        let Some(upstream) = self.upstream(&stream, leads) else {
            return self.serve_own(stream);
        };
        // Only costs latency where it fails.
        let _ = stream.set_nodelay(true);
        let protocol = match upstream.protocol {
            Protocol::Detect => detect::protocol(&stream).await,
            told => told,
        };
        if protocol == Protocol::Http {
            Rc::clone(&self.proxy)
                .serve(stream, peer.ip(), upstream)
                .await;
        } else {
            let Self {
                dialer,
                entropy,
                telemetry,
                ..
            } = self.as_ref();
            tcp::serve(stream, peer.ip(), &upstream, dialer, entropy, telemetry).await;
        }
    }

    fn upstream(&self, stream: &TcpStream, leads: &Leads) -> Option<Arc<Upstream>> {
        match leads {
            Leads::To(port) => self.shared.table.of(port),
            Leads::ToItsAddress => self.shared.table.at(stream.local_addr().ok()?),
        }
    }

    /// A connection to an address of no Service: the mesh's own DNS, or nobody's.
    fn serve_own(&self, stream: TcpStream) {
        let (address, dns) = &self.shared.dns;
        if stream.local_addr().is_ok_and(|local| local == *address) {
            if let Ok(stream) = stream.into_std() {
                // With too many waiting, the caller sees its connection end and asks again.
                let _ = dns.try_send(stream);
            }
        } else {
            tcp::refuse(stream);
        }
    }
}
