//! What should be balanced where: a pure function of Services and EndpointSlices.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use springtide_client::ObjectKey;

/// The label by which a slice names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// How long a client keeps its endpoint where the Service does not say (Kubernetes' default).
const DEFAULT_AFFINITY: Duration = Duration::from_secs(10_800);

/// One port of one Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId {
    /// The Service.
    pub service: ObjectKey,
    /// The port's number; unique within a Service for TCP.
    pub port: u16,
}

/// What a connection to a port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1, balanced request by request.
    Http,
    /// Anything over TCP, balanced connection by connection.
    Tcp,
    /// Not told: the first bytes decide.
    Detect,
}

/// Where an endpoint can be reached from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A pod's address, in the mesh namespace.
    Mesh,
    /// An address of the host.
    Host,
}

/// One place that answers for a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRoute {
    /// Where it listens.
    pub address: SocketAddr,
    /// The uid of its pod, where it is one.
    pub pod: Option<String>,
    /// Where it can be reached from.
    pub side: Side,
}

/// Everything there is to know about a port to balance it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRoute {
    /// Which port this is.
    pub id: PortId,
    /// The Service's own addresses; none for a headless one.
    pub addresses: Vec<IpAddr>,
    /// The port every node listens on, for NodePort and LoadBalancer Services.
    pub node_port: Option<u16>,
    /// Whether the port itself is also to be had on the host.
    pub load_balancer: bool,
    /// What it carries.
    pub protocol: Protocol,
    /// For how long a client stays with its endpoint, where it should.
    pub affinity: Option<Duration>,
    /// Who answers, sorted by address.
    pub endpoints: Vec<EndpointRoute>,
}

/// Services whose endpoints are the program's own and not pods: the API server.
pub type Hosted = BTreeMap<ObjectKey, SocketAddr>;

/// A range of addresses: its first, and how many bits all have in common.
pub type Range = (Ipv4Addr, u8);

/// What endpoints are chosen by, beside what slices say.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Pods that get nothing more, whatever a slice says.
    pub departed: &'a BTreeSet<String>,
    /// Services that the program itself answers for.
    pub hosted: &'a Hosted,
    /// The addresses that are reached within the mesh; all others by the host.
    pub mesh: &'a [Range],
}

/// All ports to balance, sorted.
#[must_use]
pub fn plan(
    services: &[Arc<Service>],
    slices: &[Arc<EndpointSlice>],
    surroundings: Surroundings<'_>,
) -> Vec<PortRoute> {
    let mut by_service: BTreeMap<ObjectKey, Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices {
        let labels = slice.metadata.labels.as_ref();
        if let Some(service) = labels.and_then(|labels| labels.get(SERVICE_NAME)) {
            let namespace = slice.metadata.namespace.clone().unwrap_or_default();
            by_service
                .entry(ObjectKey::new(namespace, service))
                .or_default()
                .push(slice);
        }
    }
    let mut routes: Vec<PortRoute> = services
        .iter()
        .flat_map(|service| {
            let key = ObjectKey::of(service.as_ref());
            let slices = by_service.get(&key).map(Vec::as_slice).unwrap_or_default();
            service_routes(service, &key, slices, surroundings)
        })
        .collect();
    routes.sort_by(|a, b| a.id.cmp(&b.id));
    routes
}

fn service_routes(
    service: &Service,
    key: &ObjectKey,
    slices: &[&EndpointSlice],
    surroundings: Surroundings<'_>,
) -> Vec<PortRoute> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
    if kind == "ExternalName" {
        return Vec::new();
    }
    let addresses: Vec<IpAddr> = spec
        .cluster_ips
        .iter()
        .flatten()
        .chain(spec.cluster_ip.iter())
        .filter_map(|address| address.parse().ok())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        spec.session_affinity_config
            .as_ref()
            .and_then(|config| config.client_ip.as_ref()?.timeout_seconds)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map_or(DEFAULT_AFFINITY, Duration::from_secs)
    });
    let publish_not_ready = spec.publish_not_ready_addresses == Some(true);
    spec.ports
        .iter()
        .flatten()
        .filter(|port| is_tcp(port))
        .filter_map(|port| {
            let number = u16::try_from(port.port).ok()?;
            let endpoints = match surroundings.hosted.get(key) {
                Some(&address) => vec![EndpointRoute {
                    address,
                    pod: None,
                    side: Side::Host,
                }],
                None => endpoints(port, slices, surroundings, publish_not_ready),
            };
            Some(PortRoute {
                id: PortId {
                    service: key.clone(),
                    port: number,
                },
                addresses: addresses.clone(),
                node_port: port
                    .node_port
                    .and_then(|port| u16::try_from(port).ok())
                    .filter(|port| *port > 0),
                load_balancer: kind == "LoadBalancer",
                protocol: protocol(port),
                affinity,
                endpoints,
            })
        })
        .collect()
}

fn is_tcp(port: &ServicePort) -> bool {
    port.protocol.as_deref().unwrap_or("TCP") == "TCP"
}

/// What a port says it carries: by `appProtocol`, else by its name or the name's first part.
fn protocol(port: &ServicePort) -> Protocol {
    let told = port
        .app_protocol
        .as_deref()
        .or(port.name.as_deref())
        .unwrap_or_default();
    let told = told
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    match told.split('-').next().unwrap_or_default() {
        "http" | "http1" | "ws" => Protocol::Http,
        // HTTP/2 is one long connection here; TLS cannot be looked into.
        "http2" | "grpc" | "h2c" | "https" | "tls" | "wss" | "tcp" | "mysql" | "mongo"
        | "redis" | "postgres" | "postgresql" => Protocol::Tcp,
        _ => Protocol::Detect,
    }
}

/// Those who are ready; where nobody is, those who end but still serve, as Kubernetes has it.
fn endpoints(
    port: &ServicePort,
    slices: &[&EndpointSlice],
    surroundings: Surroundings<'_>,
    publish_not_ready: bool,
) -> Vec<EndpointRoute> {
    let mut ready = BTreeMap::new();
    let mut ending = BTreeMap::new();
    for slice in slices {
        let number = slice
            .ports
            .iter()
            .flatten()
            .find(|candidate| {
                candidate.name.as_deref().unwrap_or_default()
                    == port.name.as_deref().unwrap_or_default()
            })
            .and_then(|found| u16::try_from(found.port?).ok());
        let Some(number) = number else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let pod = pod_uid(endpoint);
            if pod
                .as_ref()
                .is_some_and(|uid| surroundings.departed.contains(uid))
            {
                continue;
            }
            let conditions = endpoint.conditions.as_ref();
            let is_ready = conditions
                .and_then(|conditions| conditions.ready)
                .unwrap_or(true);
            let still_serves = conditions.is_some_and(|conditions| {
                conditions.terminating == Some(true) && conditions.serving == Some(true)
            });
            for address in endpoint
                .addresses
                .iter()
                .filter_map(|address| address.parse::<IpAddr>().ok())
            {
                let side = side_of(address, surroundings.mesh);
                let address = SocketAddr::new(address, number);
                let route = EndpointRoute {
                    address,
                    pod: pod.clone(),
                    side,
                };
                if is_ready || publish_not_ready {
                    ready.insert(address, route);
                } else if still_serves {
                    ending.insert(address, route);
                }
            }
        }
    }
    let chosen = if ready.is_empty() { ending } else { ready };
    chosen.into_values().collect()
}

/// Where an endpoint can be reached from: the mesh has no way to addresses that are not its own, such as those of
/// this machine or of others.
fn side_of(address: IpAddr, mesh: &[Range]) -> Side {
    let IpAddr::V4(address) = address else {
        return Side::Host;
    };
    let is_in = |&(first, bits): &Range| {
        let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
        (u32::from(address) ^ u32::from(first)) & mask == 0
    };
    if mesh.iter().any(is_in) {
        Side::Mesh
    } else {
        Side::Host
    }
}

fn pod_uid(endpoint: &Endpoint) -> Option<String> {
    let target = endpoint.target_ref.as_ref()?;
    (target.kind.as_deref() == Some("Pod")).then(|| target.uid.clone())?
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(spec: &Value) -> Arc<Service> {
        let object = json!({"metadata": {"namespace": "shop", "name": "api"}, "spec": spec});
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn slice(port: &Value, endpoints: &Value) -> Arc<EndpointSlice> {
        let object = json!({
            "metadata": {"namespace": "shop", "name": "api-x", "labels": {SERVICE_NAME: "api"}},
            "addressType": "IPv4", "ports": [port], "endpoints": endpoints,
        });
        Arc::new(serde_json::from_value(object).unwrap())
    }

    fn endpoint(address: &str, uid: &str, ready: bool, serving: bool, terminating: bool) -> Value {
        json!({"addresses": [address], "targetRef": {"kind": "Pod", "uid": uid},
            "conditions": {"ready": ready, "serving": serving, "terminating": terminating}})
    }

    /// Nothing departed, nothing hosted, and the usual addresses of pods and the node.
    const ALONE: Surroundings<'static> = Surroundings {
        departed: &BTreeSet::new(),
        hosted: &Hosted::new(),
        mesh: &[
            (Ipv4Addr::new(10, 244, 0, 0), 16),
            (Ipv4Addr::new(10, 97, 0, 1), 32),
        ],
    };

    fn planned(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> Vec<PortRoute> {
        plan(services, slices, ALONE)
    }

    fn addresses(routes: &[PortRoute]) -> Vec<String> {
        routes[0]
            .endpoints
            .iter()
            .map(|endpoint| endpoint.address.to_string())
            .collect()
    }

    #[test]
    fn only_ready_endpoints_are_balanced() {
        let services = [service(
            &json!({"clusterIP": "10.96.0.9", "ports": [{"name": "http", "port": 80}]}),
        )];
        let endpoints = json!([
            endpoint("10.244.0.3", "c", false, false, false),
            endpoint("10.244.0.2", "b", true, true, false),
            endpoint("10.244.0.1", "a", true, true, false),
            endpoint("10.244.0.4", "d", false, true, true),
        ]);
        let slices = [slice(&json!({"name": "http", "port": 8080}), &endpoints)];
        let routes = planned(&services, &slices);
        assert_eq!(addresses(&routes), ["10.244.0.1:8080", "10.244.0.2:8080"]);
        assert_eq!(
            (routes[0].protocol, routes[0].id.port),
            (Protocol::Http, 80)
        );
        let departed = BTreeSet::from(["a".to_owned()]);
        let surroundings = Surroundings {
            departed: &departed,
            ..ALONE
        };
        let routes = plan(&services, &slices, surroundings);
        assert_eq!(
            addresses(&routes),
            ["10.244.0.2:8080"],
            "a departed pod is out whatever its slice says"
        );
    }

    #[test]
    fn what_is_neither_pod_nor_node_is_reached_by_the_host() {
        let services = [service(
            &json!({"clusterIP": "10.96.0.9", "ports": [{"port": 80}]}),
        )];
        let endpoints = json!([
            {"addresses": ["10.244.255.255"]},
            {"addresses": ["10.245.0.0"]},
            {"addresses": ["10.97.0.1"]},
            {"addresses": ["10.97.0.2"]},
            {"addresses": ["192.0.2.7"]},
        ]);
        let slices = [slice(&json!({"port": 8080}), &endpoints)];
        let by_host: Vec<String> = planned(&services, &slices)[0]
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.side == Side::Host)
            .map(|endpoint| endpoint.address.to_string())
            .collect();
        assert_eq!(
            by_host,
            ["10.97.0.2:8080", "10.245.0.0:8080", "192.0.2.7:8080"]
        );
    }

    #[test]
    fn where_nobody_is_ready_those_who_end_still_serve() {
        let services = [service(
            &json!({"clusterIP": "10.96.0.9", "ports": [{"port": 80}]}),
        )];
        let endpoints = json!([
            endpoint("10.244.0.1", "a", false, true, true),
            endpoint("10.244.0.2", "b", false, false, true),
        ]);
        let slices = [slice(&json!({"port": 8080}), &endpoints)];
        let routes = planned(&services, &slices);
        assert_eq!(addresses(&routes), ["10.244.0.1:8080"]);
    }

    #[test]
    fn a_port_says_what_it_carries_by_app_protocol_before_its_name() {
        for (port, expected) in [
            (json!({"port": 80}), Protocol::Detect),
            (json!({"port": 80, "name": "http"}), Protocol::Http),
            (json!({"port": 80, "name": "http-web"}), Protocol::Http),
            (json!({"port": 80, "name": "web"}), Protocol::Detect),
            (json!({"port": 80, "name": "tcp-http"}), Protocol::Tcp),
            (json!({"port": 80, "name": "grpc"}), Protocol::Tcp),
            (
                json!({"port": 80, "name": "web", "appProtocol": "http"}),
                Protocol::Http,
            ),
            (
                json!({"port": 80, "name": "http", "appProtocol": "tcp"}),
                Protocol::Tcp,
            ),
            (
                json!({"port": 80, "appProtocol": "kubernetes.io/h2c"}),
                Protocol::Tcp,
            ),
            (
                json!({"port": 80, "appProtocol": "kubernetes.io/ws"}),
                Protocol::Http,
            ),
        ] {
            assert_eq!(
                protocol(&serde_json::from_value(port.clone()).unwrap()),
                expected,
                "{port}"
            );
        }
    }

    #[test]
    fn named_ports_find_their_own_number_and_udp_is_not_balanced() {
        let services = [service(
            &json!({"type": "NodePort", "clusterIP": "10.96.0.9", "ports": [
                {"name": "http", "port": 80, "nodePort": 30080},
                {"name": "admin", "port": 81},
                {"name": "dns", "port": 53, "protocol": "UDP"},
            ]}),
        )];
        let endpoints = json!([endpoint("10.244.0.1", "a", true, true, false)]);
        let slices = [
            slice(&json!({"name": "http", "port": 8080}), &endpoints),
            slice(&json!({"name": "admin", "port": 9090}), &endpoints),
        ];
        let routes = planned(&services, &slices);
        let found: Vec<_> = routes
            .iter()
            .map(|route| {
                (
                    route.id.port,
                    route.node_port,
                    route.endpoints[0].address.port(),
                )
            })
            .collect();
        assert_eq!(found, [(80, Some(30080), 8080), (81, None, 9090)]);
    }

    #[test]
    fn the_programs_own_services_lead_to_the_host() {
        let services = [service(
            &json!({"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443}]}),
        )];
        let api: SocketAddr = "127.0.0.1:6443".parse().unwrap();
        let hosted = Hosted::from([(ObjectKey::new("shop", "api"), api)]);
        let surroundings = Surroundings {
            hosted: &hosted,
            ..ALONE
        };
        let routes = plan(&services, &[], surroundings);
        assert_eq!(
            routes[0].endpoints,
            [EndpointRoute {
                address: api,
                pod: None,
                side: Side::Host
            }]
        );
        assert_eq!(routes[0].protocol, Protocol::Tcp);
    }

    #[test]
    fn external_names_and_headless_services_have_no_address_to_listen_for() {
        let routes = planned(
            &[service(
                &json!({"type": "ExternalName", "externalName": "x.org"}),
            )],
            &[],
        );
        assert!(routes.is_empty());
        let headless =
            service(&json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": [{"port": 80}]}));
        let routes = planned(&[headless], &[]);
        assert!(routes[0].addresses.is_empty());
    }
}
