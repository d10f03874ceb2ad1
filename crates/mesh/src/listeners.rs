//! Which sockets the data plane listens on, and what becomes of one that is not to be had.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::os::fd::OwnedFd;

use springtide_node::keeper::{Client as Keeper, Listen};
use tokio::sync::mpsc::UnboundedSender;

use crate::routes::{PortId, PortRoute};
use crate::worker::{Leads, Order};

/// Where cluster DNS listens.
pub(crate) const DNS_PORT: u16 = 53;
/// The keeper's names of the sockets that follow Services begin with this, and no other names do.
const NAME_PREFIX: &str = "mesh/";

/// A socket that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Where.
    pub(crate) address: Place,
    /// What it leads to.
    pub(crate) leads: Leads,
}

/// Where a socket listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// On this port of every Service IP.
    Mesh(u16),
    /// On the host, for a Service's node port.
    NodePort(SocketAddr),
    /// On the host, for a LoadBalancer's own port.
    LoadBalancer(SocketAddr),
}

/// What happened to the sockets in one pass.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A host port listens where it should.
    Listens { port: PortId, place: Place },
    /// A host port was not to be had; another one leads to the same place.
    FellBack {
        port: PortId,
        place: Place,
        instead: SocketAddr,
        reason: String,
    },
    /// A socket could not be had at all; it is tried again in the next pass.
    Failed {
        port: Option<PortId>,
        place: Place,
        reason: String,
    },
}

/// The sockets that are open, by name.
pub(crate) struct Listeners {
    keeper: Keeper,
    workers: Vec<UnboundedSender<Order>>,
    open: BTreeMap<String, Wanted>,
}

/// Every socket that `routes` ask for, by its name at the keeper.
pub(crate) fn wanted(routes: &[PortRoute], host: IpAddr) -> BTreeMap<String, Wanted> {
    let mut sockets = BTreeMap::new();
    let mut mesh = |port: u16| {
        let wanted = Wanted {
            address: Place::Mesh(port),
            leads: Leads::ToItsAddress,
        };
        sockets.insert(format!("{NAME_PREFIX}tcp/{port}"), wanted);
    };
    mesh(DNS_PORT);
    for route in routes {
        if !route.addresses.is_empty() {
            mesh(route.id.port);
        }
        route.node_port.into_iter().for_each(&mut mesh);
    }
    for route in routes {
        let PortId { service, port } = &route.id;
        let mut on_host = |kind: &str, address: Place| {
            let leads = Leads::To(route.id.clone());
            sockets.insert(
                format!("{NAME_PREFIX}{kind}/{service}/{port}"),
                Wanted { address, leads },
            );
        };
        if let Some(node_port) = route.node_port {
            on_host(
                "node-port",
                Place::NodePort(SocketAddr::new(host, node_port)),
            );
        }
        if route.load_balancer {
            on_host(
                "load-balancer",
                Place::LoadBalancer(SocketAddr::new(host, *port)),
            );
        }
    }
    sockets
}

// === impl Listeners ===

impl Listeners {
    pub(crate) fn new(keeper: Keeper, workers: Vec<UnboundedSender<Order>>) -> Self {
        Self {
            keeper,
            workers,
            open: BTreeMap::new(),
        }
    }

    /// Shuts the keeper's sockets of an earlier brain that nobody wants any more.
    pub(crate) async fn forget_strangers(&self, wanted: &BTreeMap<String, Wanted>) {
        let Ok(inventory) = self.keeper.inventory().await else {
            return;
        };
        for (name, _, _) in inventory.listeners {
            if name.starts_with(NAME_PREFIX) && !wanted.contains_key(&name) {
                self.close(&name).await;
            }
        }
    }

    /// Opens what is wanted and not open, and shuts what is open and not wanted.
    pub(crate) async fn reconcile(&mut self, wanted: BTreeMap<String, Wanted>) -> Vec<Outcome> {
        let gone: Vec<String> = self
            .open
            .iter()
            .filter(|(name, open)| wanted.get(*name) != Some(open))
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.open.remove(&name);
            for worker in &self.workers {
                // A worker that has ended accepts nothing anyway.
                let _ = worker.send(Order::Cease { name: name.clone() });
            }
            if !wanted.contains_key(&name) {
                self.close(&name).await;
            }
        }
        let mut outcomes = Vec::new();
        for (name, socket) in wanted {
            if !self.open.contains_key(&name) {
                outcomes.extend(self.open(name, socket).await);
            }
        }
        outcomes
    }

    async fn close(&self, name: &str) {
        if let Err(error) = self.keeper.unlisten(name).await {
            tracing::warn!(name, %error, "a listening socket could not be shut");
        }
    }

    async fn open(&mut self, name: String, wanted: Wanted) -> Option<Outcome> {
        let place = wanted.address;
        let port = match &wanted.leads {
            Leads::To(port) => Some(port.clone()),
            Leads::ToItsAddress => None,
        };
        let first = match place {
            Place::Mesh(number) => {
                Listen::MeshTcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, number)))
            }
            Place::NodePort(address) | Place::LoadBalancer(address) => Listen::HostTcp(address),
        };
        let (socket, reason, address) = match self.keeper.listen(&name, first).await {
            Ok((socket, address)) => (socket, None, address),
            Err(error) => {
                let reason = error.to_string();
                let (Place::NodePort(address) | Place::LoadBalancer(address)) = place else {
                    return Some(Outcome::Failed {
                        port,
                        place,
                        reason,
                    });
                };
                let any_port = Listen::HostTcp(SocketAddr::new(address.ip(), 0));
                match self.keeper.listen(&name, any_port).await {
                    Ok((socket, address)) => (socket, Some(reason), address),
                    Err(_) => {
                        return Some(Outcome::Failed {
                            port,
                            place,
                            reason,
                        });
                    }
                }
            }
        };
        if let Err(error) = self.hand_out(&name, &socket, &wanted.leads) {
            return Some(Outcome::Failed {
                port,
                place,
                reason: error.to_string(),
            });
        }
        self.open.insert(name, wanted);
        let port = port?;
        Some(match reason {
            Some(reason) => Outcome::FellBack {
                port,
                place,
                instead: address,
                reason,
            },
            None => Outcome::Listens { port, place },
        })
    }

    /// Gives every worker its own descriptor of the one socket.
    fn hand_out(&self, name: &str, socket: &OwnedFd, leads: &Leads) -> std::io::Result<()> {
        for worker in &self.workers {
            let socket = StdListener::from(socket.try_clone()?);
            let order = Order::Accept {
                name: name.to_owned(),
                socket,
                leads: leads.clone(),
            };
            // A worker that has ended accepts nothing anyway.
            let _ = worker.send(order);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use springtide_client::ObjectKey;

    use super::*;
    use crate::routes::Protocol;

    fn route(name: &str, port: u16, node_port: Option<u16>, load_balancer: bool) -> PortRoute {
        PortRoute {
            id: PortId {
                service: ObjectKey::new("shop", name),
                port,
            },
            addresses: vec![IpAddr::from([10, 96, 0, 9])],
            node_port,
            load_balancer,
            protocol: Protocol::Http,
            affinity: None,
            endpoints: Vec::new(),
        }
    }

    #[test]
    fn services_that_share_a_port_number_share_a_socket_in_the_mesh_and_none_on_the_host() {
        let routes = [
            route("a", 80, None, false),
            route("b", 80, Some(30080), false),
            route("c", 443, Some(30443), true),
        ];
        let sockets = wanted(&routes, IpAddr::from([127, 0, 0, 1]));
        let names: Vec<_> = sockets.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "mesh/load-balancer/shop/c/443",
                "mesh/node-port/shop/b/80",
                "mesh/node-port/shop/c/443",
                "mesh/tcp/30080",
                "mesh/tcp/30443",
                "mesh/tcp/443",
                "mesh/tcp/53",
                "mesh/tcp/80",
            ]
        );
        assert_eq!(
            sockets["mesh/load-balancer/shop/c/443"].address,
            Place::LoadBalancer("127.0.0.1:443".parse().unwrap())
        );
    }

    #[test]
    fn headless_services_listen_nowhere() {
        let mut headless = route("a", 80, None, false);
        headless.addresses.clear();
        let sockets = wanted(&[headless], IpAddr::from([127, 0, 0, 1]));
        assert_eq!(sockets.keys().collect::<Vec<_>>(), ["mesh/tcp/53"]);
    }
}
