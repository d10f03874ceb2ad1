//! The API server as its users see it: built once, cloned freely, spoken to in process or over
//! sockets.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use springtide_machinery::clock::Clock;
use springtide_machinery::entropy::Entropy;
use springtide_machinery::error::ApiError;
use springtide_machinery::instruments;
use springtide_machinery::registry::Registry;
use springtide_store::Store;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admission::checks::Checks;
use crate::aggregate::{Aggregated, AggregatedResource};
use crate::allocate::{Allocator, NODE_PORTS, ServiceRange};
use crate::api::{self, Api};
use crate::auth::UserInfo;
use crate::bootstrap;
use crate::discovery::Discovery;
use crate::health::Health;
use crate::kubelets::{Kubelets, OwnServices};
use crate::metrics::Metrics;
use crate::openapi::OpenApi;
use crate::routes::Routes;
use crate::tls::{self, Tls};

/// Why the server could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// One of the objects that are always there could not be made.
    #[error("cannot make {what}: {source}")]
    WellKnown {
        /// The object, as in `namespaces/default`.
        what: String,
        /// Why not.
        source: ApiError,
    },
}

/// The Kubernetes API over a store. Clones share it.
#[derive(Clone)]
pub struct ApiServer {
    api: Arc<Api>,
}

/// What an [`ApiServer`] is built of.
pub struct Builder {
    store: Store,
    clock: Clock,
    entropy: Entropy,
    registry: Registry,
    service_range: ServiceRange,
    node_ports: RangeInclusive<u16>,
    advertised: SocketAddr,
}

impl Builder {
    /// The kinds that are served; those that ship with the program by default.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Builder {
        self.registry = registry;
        self
    }

    /// Where cluster IPs are taken from; 10.96.0.0/16 by default.
    #[must_use]
    pub fn service_range(mut self, range: ServiceRange) -> Builder {
        self.service_range = range;
        self
    }

    /// Where node ports are taken from; 30000 to 32767 by default.
    #[must_use]
    pub fn node_ports(mut self, ports: RangeInclusive<u16>) -> Builder {
        self.node_ports = ports;
        self
    }

    /// Where clients reach the API; told in discovery and by the Service `kubernetes`.
    #[must_use]
    pub fn advertised(mut self, address: SocketAddr) -> Builder {
        self.advertised = address;
        self
    }

    /// Builds the server, and makes the objects that are always there.
    pub async fn build(self) -> Result<ApiServer, BuildError> {
        let api = Api {
            allocator: Allocator::new(&self.store, self.service_range, self.node_ports),
            store: self.store,
            clock: self.clock,
            entropy: self.entropy,
            routes: Routes::new(&self.registry),
            discovery: Discovery::new(self.registry.clone(), self.advertised.to_string()),
            openapi: OpenApi::new(self.registry),
            health: Health::default(),
            kubelets: Kubelets::default(),
            aggregated: Aggregated::default(),
            metrics: Metrics::new(),
            checks: Checks::default(),
            services: OwnServices::default(),
            shutdown: CancellationToken::new(),
        };
        bootstrap::make_well_known(&api, self.service_range, self.advertised.port()).await?;
        let api = Arc::new(api);
        api.metrics.tell_of(Arc::downgrade(&api));
        Ok(ApiServer { api })
    }
}

impl ApiServer {
    /// Begins to build a server.
    #[must_use]
    pub fn builder(store: Store, clock: Clock, entropy: Entropy) -> Builder {
        Builder {
            store,
            clock,
            entropy,
            registry: Registry::builtin(),
            service_range: ServiceRange::DEFAULT,
            node_ports: NODE_PORTS,
            advertised: SocketAddr::from(([127, 0, 0, 1], 6443)),
        }
    }

    /// A client within this process, which acts as the component `user` and may do everything.
    /// There is no socket and no thread behind it. Must be called within a tokio runtime.
    #[must_use]
    pub fn client(&self, user: &str) -> kube::Client {
        self.client_as(UserInfo::component(user))
    }

    /// A client within this process that acts as a user.
    #[must_use]
    pub fn client_as(&self, user: UserInfo) -> kube::Client {
        let service = InProcess {
            api: self.api.clone(),
            user,
        };
        kube::Client::new(service, "default")
    }

    /// What sockets serve: requests without a [`UserInfo`] extension are anonymous.
    pub fn router(&self) -> Router {
        let api = self.api.clone();
        Router::new().fallback(move |request: Request<Body>| {
            let api = api.clone();
            async move { api::handle(&api, request).await }
        })
    }

    /// Serves TLS on a socket until [`ApiServer::shut_down`]; then watches end, other requests
    /// get a few seconds to finish, and this returns.
    pub async fn serve_tls(&self, listener: TcpListener, tls: Tls) {
        tls::serve(listener, tls, self.router(), self.api.shutdown.clone()).await;
    }

    /// Ends watches and streams, and stops serving.
    pub fn shut_down(&self) {
        self.api.shutdown.cancel();
    }

    /// Makes a node's kubelet known: `GET /containerLogs/NAMESPACE/POD/CONTAINER` answers
    /// `pods/log`, and everything is reached by `nodes/NAME/proxy`.
    pub fn attach_kubelet(&self, node: &str, router: Router) {
        self.api.kubelets.attach(node, router);
    }

    /// Lets `services/NAME/proxy` reach a part of the program.
    pub fn attach_service(&self, namespace: &str, name: &str, router: Router) {
        self.api.services.attach(namespace, name, router);
    }

    /// Takes back [`ApiServer::attach_service`].
    pub fn detach_service(&self, namespace: &str, name: &str) {
        self.api.services.detach(namespace, name);
    }

    /// Lets `router` serve a group version that is not in the registry, paths unchanged.
    pub fn aggregate(
        &self,
        group: &str,
        version: &str,
        resources: Vec<AggregatedResource>,
        router: Router,
    ) {
        self.api.aggregated.add(group, version, resources, router);
    }

    /// Serves a group version of [`ApiServer::aggregate`] no longer.
    pub fn remove_aggregated(&self, group: &str, version: &str) {
        self.api.aggregated.remove(group, version);
    }

    /// What `/metrics` tells; other parts may add to it.
    #[must_use]
    pub fn instruments(&self) -> instruments::Registry {
        self.api.metrics.registry.clone()
    }

    /// Adds a check of every new and changed object of a collection, such as `pods` or `apps/deployments`: what it
    /// refuses is not stored. `name` is told with the reason.
    pub fn add_admission_check(
        &self,
        collection: &str,
        name: &str,
        check: impl Fn(&serde_json::Value) -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.api.checks.add(collection, name, Arc::new(check));
    }

    /// Adds a check to `/readyz`; it says why the part is not ready.
    pub fn add_ready_check(
        &self,
        name: &str,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.api.health.add(name, Arc::new(check));
    }
}

/// The service behind in-process clients.
struct InProcess {
    api: Arc<Api>,
    user: UserInfo,
}

impl tower::Service<Request<kube::client::Body>> for InProcess {
    type Response = Response;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let api = self.api.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.user.clone());
        Box::pin(async move { Ok(api::handle(&api, request).await) })
    }
}
