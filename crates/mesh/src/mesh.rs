//! Watches Services and EndpointSlices, and keeps the table, the sockets and DNS to what they say.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use springtide_client::{Cache, Context, EventRecorder, EventType, Subscription, reference};
use springtide_machinery::instruments::Registry;
use springtide_node::keeper::{Client as Keeper, Listen};
use springtide_node::{Departure, MeshNamespace};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::MeshError;
use crate::dns::Server;
use crate::listeners::{DNS_PORT, Listeners, Outcome, Place, wanted};
use crate::routes::{self, Hosted, PortRoute, Surroundings};
use crate::table::Table;
use crate::telemetry::{Identities, Telemetry};
use crate::worker::{self, HostDialer, Shared, TcpStreamInTransit};

/// Sockets that could not be had are tried again after this long.
const RETRY: Duration = Duration::from_secs(5);
/// DNS connections over TCP that wait to be served.
const WAITING_DNS_CONNECTIONS: usize = 64;

/// How the data plane is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// What names in the cluster end with, `cluster.local` by default.
    pub domain: String,
    /// The Service IP that DNS answers on.
    pub dns_address: Ipv4Addr,
    /// The host's address that NodePorts and LoadBalancers listen on.
    pub host_address: IpAddr,
    /// How many threads proxy.
    pub workers: usize,
    /// Services that the program itself answers for, such as the API server.
    pub hosted: Hosted,
    /// The addresses of pods, Services and the node: what is reached within the mesh.
    pub own_ranges: Vec<routes::Range>,
    /// Where the host's resolvers are named.
    pub resolv_conf: PathBuf,
}

/// The data plane. Cheap to clone.
#[derive(Clone)]
pub struct Mesh {
    shared: Arc<Parts>,
}

struct Parts {
    context: Context,
    config: Config,
    table: Arc<Table>,
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    registry: Registry,
    identities: Arc<Identities>,
    recorder: EventRecorder,
}

/// A data plane whose sockets are open, to be run.
pub struct Opened {
    mesh: Mesh,
    listeners: Listeners,
    node: IpAddr,
    dns_udp: UdpSocket,
    dns_tcp: mpsc::Receiver<TcpStreamInTransit>,
}

// === impl Mesh ===

impl Mesh {
    /// Starts the workers and opens the sockets that nothing works without.
    ///
    /// # Errors
    /// When threads cannot enter the mesh namespace, or DNS cannot listen.
    pub async fn open(
        context: Context,
        config: Config,
        keeper: Keeper,
        namespace: &MeshNamespace,
    ) -> Result<Opened, MeshError> {
        let dns_address = SocketAddr::from((config.dns_address, DNS_PORT));
        let (socket, _) = keeper
            .listen("cluster-dns", Listen::MeshUdp(dns_address))
            .await
            .map_err(|source| MeshError::Socket {
                what: "cluster DNS",
                source,
            })?;
        let socket = std::net::UdpSocket::from(socket);
        socket.set_nonblocking(true)?;
        let dns_udp = UdpSocket::from_std(socket)?;
        let (dns_connections, dns_tcp) = mpsc::channel(WAITING_DNS_CONNECTIONS);
        let table = Arc::new(Table::default());
        let identities = Arc::new(Identities::default());
        let registry = Registry::new();
        let shared = Shared {
            table: Arc::clone(&table),
            host_dialer: HostDialer::start(),
            telemetry: Telemetry::new(&registry, Arc::clone(&identities), &config.domain),
            dns: (dns_address, dns_connections),
        };
        let workers = (0..config.workers.max(1))
            .map(|index| {
                worker::start(
                    namespace,
                    &format!("mesh-{index}"),
                    shared.clone(),
                    context.entropy.fork(),
                )
            })
            .collect::<Result<Vec<_>, _>>()?;
        let node = IpAddr::V4(keeper.facts().mesh_address);
        let parts = Parts {
            services: context.caches.of(),
            slices: context.caches.of(),
            registry,
            identities,
            recorder: context.recorder("service-mesh"),
            context,
            config,
            table,
        };
        let mesh = Self {
            shared: Arc::new(parts),
        };
        Ok(Opened {
            mesh,
            listeners: Listeners::new(keeper, workers),
            node,
            dns_udp,
            dns_tcp,
        })
    }

    fn routes(&self) -> Vec<PortRoute> {
        let Parts {
            services,
            slices,
            table,
            config,
            ..
        } = self.shared.as_ref();
        routes::plan(
            &services.list(),
            &slices.list(),
            Surroundings {
                departed: &table.departed(),
                hosted: &config.hosted,
                mesh: &config.own_ranges,
            },
        )
    }

    fn forget_departed(&self) {
        let slices = self.shared.slices.list();
        let known: BTreeSet<&str> = slices
            .iter()
            .flat_map(|slice| slice.endpoints.iter().flatten())
            .filter_map(|endpoint| endpoint.target_ref.as_ref()?.uid.as_deref())
            .collect();
        self.shared.table.forget_departed(|pod| known.contains(pod));
    }

    /// Tells users on which host address a Service is to be had. Returns whether all is well.
    async fn tell(&self, outcomes: Vec<Outcome>) -> bool {
        let mut all_well = true;
        for outcome in outcomes {
            match outcome {
                Outcome::Listens {
                    port,
                    place: Place::LoadBalancer(address),
                } => {
                    all_well &= self.publish(&port.service, address).await;
                }
                Outcome::Listens { .. } => {}
                Outcome::FellBack {
                    port,
                    place,
                    instead,
                    reason,
                } => {
                    let Some(service) = self.shared.services.find(&port.service) else {
                        continue;
                    };
                    let message = format!(
                        "{} cannot be listened on ({reason}); port {} of the Service is at {instead} instead",
                        describe(place),
                        port.port
                    );
                    tracing::warn!(service = %port.service, message);
                    self.shared.recorder.record(
                        &reference(service.as_ref()),
                        EventType::Warning,
                        "PortInUse",
                        &message,
                    );
                    if matches!(place, Place::LoadBalancer(_)) {
                        all_well &= self.publish(&port.service, instead).await;
                    }
                }
                Outcome::Failed {
                    port,
                    place,
                    reason,
                } => {
                    all_well = false;
                    tracing::warn!(place = describe(place), reason, "cannot listen");
                    if let Some(service) =
                        port.and_then(|port| self.shared.services.find(&port.service))
                    {
                        self.shared.recorder.record(
                            &reference(service.as_ref()),
                            EventType::Warning,
                            "ListenFailed",
                            format!("{} cannot be listened on: {reason}", describe(place)),
                        );
                    }
                }
            }
        }
        all_well
    }

    /// Writes where a LoadBalancer Service is to be had into its status.
    async fn publish(&self, service: &springtide_client::ObjectKey, address: SocketAddr) -> bool {
        let api: Api<Service> =
            Api::namespaced(self.shared.context.client.clone(), &service.namespace);
        let ingress = json!({
            "ip": address.ip().to_string(),
            "ipMode": "Proxy",
            "ports": [{"port": address.port(), "protocol": "TCP"}],
        });
        let patch = json!({"status": {"loadBalancer": {"ingress": [ingress]}}});
        match api
            .patch_status(&service.name, &PatchParams::default(), &Patch::Merge(patch))
            .await
        {
            Ok(_) => true,
            // Deleted meanwhile: nothing to publish.
            Err(kube::Error::Api(status)) if status.code == 404 => true,
            Err(error) => {
                tracing::warn!(%service, %error, "a LoadBalancer's address could not be published");
                false
            }
        }
    }
}

fn describe(place: Place) -> String {
    match place {
        Place::Mesh(port) => format!("port {port} in the mesh"),
        Place::NodePort(address) => format!("node port {address}"),
        Place::LoadBalancer(address) => format!("load balancer port {address}"),
    }
}

#[async_trait]
impl Departure for Mesh {
    async fn leave(&self, pod: &Pod) {
        if let Some(uid) = pod.uid() {
            self.shared.table.depart(&uid);
        }
    }
}

// === impl Opened ===

impl Opened {
    /// What went through it.
    #[must_use]
    pub fn instruments(&self) -> Registry {
        self.mesh.shared.registry.clone()
    }

    /// The data plane itself, for those who take pods out of it.
    #[must_use]
    pub fn mesh(&self) -> Mesh {
        self.mesh.clone()
    }

    /// Keeps the data plane to what the API says until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            mesh,
            mut listeners,
            node,
            dns_udp,
            dns_tcp,
        } = self;
        let parts = Arc::clone(&mesh.shared);
        let resolvers = crate::dns::resolvers(&parts.config.resolv_conf);
        let dns = Server::new(
            parts.services.clone(),
            parts.slices.clone(),
            &parts.config.domain,
            resolvers,
        );
        let dns = tokio::spawn(dns.run(dns_udp, dns_tcp, stop.clone()));
        let (pods, following, until) =
            (parts.context.caches.of(), Arc::clone(&parts), stop.clone());
        let identities =
            tokio::spawn(async move { following.identities.follow(pods, until).await });

        let mut services = parts.services.subscribe();
        let mut slices = parts.slices.subscribe();
        parts.services.synced().await;
        parts.slices.synced().await;
        let mut first = true;
        loop {
            let routes = mesh.routes();
            let sockets = wanted(&routes, parts.config.host_address);
            parts.table.update(routes, node);
            mesh.forget_departed();
            if std::mem::take(&mut first) {
                listeners.forget_strangers(&sockets).await;
            }
            let outcomes = listeners.reconcile(sockets).await;
            let retry = if mesh.tell(outcomes).await {
                Duration::MAX
            } else {
                RETRY
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = changed(&mut services) => {}
                () = changed(&mut slices) => {}
                () = tokio::time::sleep(retry) => {}
            }
        }
        // Both end with `stop`, too.
        let _ = dns.await;
        let _ = identities.await;
    }
}

/// Waits for a change, and takes those that came with it.
async fn changed<K: springtide_client::Cached>(subscription: &mut Subscription<K>) {
    if subscription.next().await.is_none() {
        // The cache is gone, which only happens when everything ends.
        std::future::pending::<()>().await;
    }
    while futures_now(subscription.next()).is_some() {}
}

/// What a future has already; `None` where it would wait.
fn futures_now<T>(future: impl Future<Output = Option<T>>) -> Option<T> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        std::task::Poll::Ready(ready) => ready,
        std::task::Poll::Pending => None,
    }
}
