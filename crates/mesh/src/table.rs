//! What is balanced where now: shared by all workers, read on every connection, changed in place
//! so that an endpoint keeps its count of requests while others come and go.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use springtide_machinery::entropy::Entropy;

use crate::balance;
use crate::routes::{EndpointRoute, PortId, PortRoute, Protocol, Side};

/// How many upstreams there ever were.
static NUMBERS: AtomicU64 = AtomicU64::new(0);

/// One place that answers, with what is under way there.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// The uid of its pod, where it is one.
    pub pod: Option<String>,
    /// Where it can be reached from.
    pub side: Side,
    requests: AtomicUsize,
    left: AtomicBool,
}

/// A request or connection under way at an endpoint, counted until this is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<Endpoint>);

/// One port of one Service, and who answers for it.
#[derive(Debug)]
pub struct Upstream {
    /// Which port this is.
    pub id: PortId,
    /// Tells it from every other upstream there ever was.
    pub number: u64,
    /// What it carries.
    pub protocol: Protocol,
    /// For how long a client stays with its endpoint, where it should.
    pub affinity: Option<Duration>,
    endpoints: RwLock<Vec<Arc<Endpoint>>>,
}

/// All upstreams, by the addresses and host ports that lead to them.
#[derive(Debug, Default)]
pub struct Table {
    content: RwLock<Content>,
}

#[derive(Debug, Default)]
struct Content {
    by_address: HashMap<SocketAddr, Arc<Upstream>>,
    by_id: BTreeMap<PortId, Arc<Upstream>>,
    departed: BTreeSet<String>,
}

// === impl Endpoint ===

impl Endpoint {
    /// An endpoint with nothing under way.
    #[must_use]
    pub fn new(address: SocketAddr, pod: Option<String>, side: Side) -> Self {
        Self {
            address,
            pod,
            side,
            requests: AtomicUsize::new(0),
            left: AtomicBool::new(false),
        }
    }

    /// Requests and connections under way, from all workers.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// True once nothing new is sent here: its idle connections are of no more use.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    fn is(&self, route: &EndpointRoute) -> bool {
        self.address == route.address && self.pod == route.pod && self.side == route.side
    }
}

// === impl InFlight ===

impl InFlight {
    /// Counts one more at `endpoint`.
    #[must_use]
    pub fn begin(endpoint: &Arc<Endpoint>) -> Self {
        endpoint.requests.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(endpoint))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Upstream ===

impl Upstream {
    /// Who answers now.
    #[must_use]
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.endpoints.read().clone()
    }

    /// The endpoint for the next request of `client`, apart from those `tried` where possible.
    #[must_use]
    pub fn choose(
        &self,
        client: IpAddr,
        tried: &[SocketAddr],
        entropy: &Entropy,
    ) -> Option<Arc<Endpoint>> {
        let endpoints = self.endpoints.read();
        match self.affinity {
            Some(_) if tried.is_empty() => balance::stay(&endpoints, client),
            _ => balance::choose(&endpoints, tried, entropy),
        }
    }

    fn replace(&self, routes: Vec<EndpointRoute>) {
        let mut endpoints = self.endpoints.write();
        let fresh: Vec<_> = routes
            .into_iter()
            .map(
                |route| match endpoints.iter().find(|endpoint| endpoint.is(&route)) {
                    Some(known) => Arc::clone(known),
                    None => Arc::new(Endpoint::new(route.address, route.pod, route.side)),
                },
            )
            .collect();
        let gone = endpoints
            .iter()
            .filter(|old| !fresh.iter().any(|new| Arc::ptr_eq(old, new)));
        for endpoint in gone {
            endpoint.left.store(true, Ordering::Relaxed);
        }
        *endpoints = fresh;
    }

    fn remove_pod(&self, pod: &str) {
        self.endpoints.write().retain(|endpoint| {
            let stays = endpoint.pod.as_deref() != Some(pod);
            if !stays {
                endpoint.left.store(true, Ordering::Relaxed);
            }
            stays
        });
    }
}

// === impl Table ===

impl Table {
    /// The upstream behind an address of the mesh.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Option<Arc<Upstream>> {
        self.content.read().by_address.get(&address).cloned()
    }

    /// The upstream of a port.
    #[must_use]
    pub fn of(&self, id: &PortId) -> Option<Arc<Upstream>> {
        self.content.read().by_id.get(id).cloned()
    }

    /// Takes a pod out of every upstream, now and in every later update. When this returns no
    /// worker chooses it any more.
    pub fn depart(&self, pod: &str) {
        let mut content = self.content.write();
        content.departed.insert(pod.to_owned());
        for upstream in content.by_id.values() {
            upstream.remove_pod(pod);
        }
    }

    /// Pods that were taken out.
    #[must_use]
    pub fn departed(&self) -> BTreeSet<String> {
        self.content.read().departed.clone()
    }

    /// Forgets departed pods that no slice speaks of any more.
    pub fn forget_departed(&self, is_known: impl Fn(&str) -> bool) {
        self.content.write().departed.retain(|pod| is_known(pod));
    }

    /// Makes the table what `routes` say. `node` is the address that node ports are also reached
    /// at from within the mesh.
    pub fn update(&self, routes: Vec<PortRoute>, node: IpAddr) {
        let mut content = self.content.write();
        let mut before = std::mem::take(&mut content.by_id);
        content.by_address.clear();
        for mut route in routes {
            // A pod may have departed after the routes were made.
            route.endpoints.retain(|endpoint| {
                endpoint
                    .pod
                    .as_ref()
                    .is_none_or(|pod| !content.departed.contains(pod))
            });
            let same = |upstream: &Arc<Upstream>| {
                upstream.protocol == route.protocol && upstream.affinity == route.affinity
            };
            let upstream = before.remove(&route.id).filter(same).unwrap_or_else(|| {
                Arc::new(Upstream {
                    id: route.id.clone(),
                    number: NUMBERS.fetch_add(1, Ordering::Relaxed),
                    protocol: route.protocol,
                    affinity: route.affinity,
                    endpoints: RwLock::default(),
                })
            });
            upstream.replace(route.endpoints);
            for address in &route.addresses {
                let address = SocketAddr::new(*address, route.id.port);
                content.by_address.insert(address, Arc::clone(&upstream));
            }
            if let Some(port) = route.node_port {
                content
                    .by_address
                    .insert(SocketAddr::new(node, port), Arc::clone(&upstream));
            }
            content.by_id.insert(route.id, upstream);
        }
        for upstream in before.values() {
            upstream.replace(Vec::new());
        }
    }
}

#[cfg(test)]
mod tests {
    use springtide_client::ObjectKey;

    use super::*;

    const NODE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn route(endpoints: &[(u8, &str)]) -> PortRoute {
        PortRoute {
            id: PortId {
                service: ObjectKey::new("shop", "api"),
                port: 80,
            },
            addresses: vec![IpAddr::from([10, 96, 0, 9])],
            node_port: Some(30080),
            load_balancer: false,
            protocol: Protocol::Http,
            affinity: None,
            endpoints: endpoints
                .iter()
                .map(|(last, pod)| EndpointRoute {
                    address: SocketAddr::from(([10, 244, 0, *last], 8080)),
                    pod: Some((*pod).to_owned()),
                    side: Side::Mesh,
                })
                .collect(),
        }
    }

    fn pods(table: &Table) -> Vec<String> {
        let upstream = table.at(SocketAddr::from(([10, 96, 0, 9], 80))).unwrap();
        upstream
            .endpoints()
            .iter()
            .filter_map(|endpoint| endpoint.pod.clone())
            .collect()
    }

    #[test]
    fn an_endpoint_keeps_its_count_when_others_come_and_go() {
        let table = Table::default();
        table.update(vec![route(&[(1, "a"), (2, "b")])], NODE);
        let upstream = table.at(SocketAddr::from(([10, 96, 0, 9], 80))).unwrap();
        let (a, b) = (
            Arc::clone(&upstream.endpoints()[0]),
            Arc::clone(&upstream.endpoints()[1]),
        );
        let _request = InFlight::begin(&a);
        table.update(vec![route(&[(1, "a"), (3, "c")])], NODE);
        assert_eq!(upstream.endpoints()[0].requests(), 1);
        assert!(b.has_left() && !a.has_left());
        assert_eq!(pods(&table), ["a", "c"]);
    }

    #[test]
    fn a_departed_pod_stays_out_whatever_later_updates_say() {
        let table = Table::default();
        table.update(vec![route(&[(1, "a"), (2, "b")])], NODE);
        table.depart("a");
        assert_eq!(pods(&table), ["b"]);
        table.update(vec![route(&[(1, "a"), (2, "b")])], NODE);
        assert_eq!(pods(&table), ["b"]);
        table.forget_departed(|pod| pod != "a");
        table.update(vec![route(&[(1, "a")])], NODE);
        assert_eq!(pods(&table), ["a"]);
    }

    #[test]
    fn an_address_that_is_taken_by_another_pod_is_another_endpoint() {
        let table = Table::default();
        table.update(vec![route(&[(1, "a")])], NODE);
        let upstream = table.at(SocketAddr::new(NODE, 30080)).unwrap();
        let first = Arc::clone(&upstream.endpoints()[0]);
        table.update(vec![route(&[(1, "b")])], NODE);
        assert!(first.has_left());
        assert!(!Arc::ptr_eq(&first, &upstream.endpoints()[0]));
    }

    #[test]
    fn a_service_that_is_gone_leads_nowhere() {
        let table = Table::default();
        table.update(vec![route(&[(1, "a")])], NODE);
        let upstream = table.at(SocketAddr::new(NODE, 30080)).unwrap();
        table.update(Vec::new(), NODE);
        assert!(table.at(SocketAddr::new(NODE, 30080)).is_none());
        assert!(upstream.endpoints().is_empty());
    }
}
