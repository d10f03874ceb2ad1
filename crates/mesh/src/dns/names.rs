//! What a name of the cluster means: a pure function of Services and EndpointSlices.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

/// What the objects of the API are read from.
pub trait View {
    /// The Service of this namespace and name.
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>>;
    /// The slices of this Service.
    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>>;
    /// The Service that has this address.
    fn service_at(&self, address: IpAddr) -> Option<Arc<Service>>;
}

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// These addresses; none where the name exists without any.
    Addresses(Vec<IpAddr>),
    /// Another name, outside the cluster.
    Alias(String),
    /// These ports of these names.
    Ports(Vec<Port>),
    /// The name of an address.
    Pointer(String),
    /// There is no such name in the cluster.
    NoSuchName,
    /// The name is not the cluster's to know.
    Foreign,
}

/// A port of a named host, for an SRV record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The host's name.
    pub target: String,
    /// The port's number.
    pub port: u16,
    /// The host's addresses.
    pub addresses: Vec<IpAddr>,
}

/// What `name` means in the cluster whose names end with `domain`. Neither has a dot at its end;
/// case does not matter.
pub fn resolve(name: &str, domain: &str, view: &impl View) -> Meaning {
    let name = name.to_ascii_lowercase();
    if let Some(address) = reverse_address(&name) {
        return match view
            .service_at(address)
            .and_then(|service| service_name(&service, domain))
        {
            Some(pointer) => Meaning::Pointer(pointer),
            None => Meaning::Foreign,
        };
    }
    let Some(prefix) = name.strip_suffix(domain) else {
        return Meaning::Foreign;
    };
    if prefix.is_empty() {
        return Meaning::Addresses(Vec::new());
    }
    let Some(prefix) = prefix.strip_suffix('.') else {
        return Meaning::Foreign;
    };
    let labels: Vec<&str> = prefix.split('.').collect();
    match labels.as_slice() {
        ["svc" | "pod"] | [_, "svc" | "pod"] => Meaning::Addresses(Vec::new()),
        [service, namespace, "svc"] => of_service(service, namespace, view),
        [port, protocol, service, namespace, "svc"] => {
            of_port(port, protocol, service, namespace, domain, view)
        }
        [host, service, namespace, "svc"] => of_endpoint(host, service, namespace, view),
        [address, _, "pod"] => match dashed_address(address) {
            Some(address) => Meaning::Addresses(vec![IpAddr::V4(address)]),
            None => Meaning::NoSuchName,
        },
        _ => Meaning::NoSuchName,
    }
}

fn of_service(name: &str, namespace: &str, view: &impl View) -> Meaning {
    let Some(service) = view.service(namespace, name) else {
        return Meaning::NoSuchName;
    };
    if let Some(alias) = alias(&service) {
        return Meaning::Alias(alias);
    }
    if is_headless(&service) {
        let slices = view.slices(namespace, name);
        let addresses: BTreeSet<IpAddr> =
            published(&service, &slices).flat_map(addresses).collect();
        return Meaning::Addresses(addresses.into_iter().collect());
    }
    Meaning::Addresses(cluster_addresses(&service))
}

fn of_endpoint(host: &str, name: &str, namespace: &str, view: &impl View) -> Meaning {
    let Some(service) = view
        .service(namespace, name)
        .filter(|service| is_headless(service))
    else {
        return Meaning::NoSuchName;
    };
    let slices = view.slices(namespace, name);
    let found: BTreeSet<IpAddr> = published(&service, &slices)
        .filter(|endpoint| endpoint_host(endpoint).as_deref() == Some(host))
        .flat_map(addresses)
        .collect();
    if found.is_empty() {
        Meaning::NoSuchName
    } else {
        Meaning::Addresses(found.into_iter().collect())
    }
}

fn of_port(
    port: &str,
    protocol: &str,
    name: &str,
    namespace: &str,
    domain: &str,
    view: &impl View,
) -> Meaning {
    let (Some(port), Some(protocol)) = (port.strip_prefix('_'), protocol.strip_prefix('_')) else {
        return Meaning::NoSuchName;
    };
    let Some(service) = view.service(namespace, name) else {
        return Meaning::NoSuchName;
    };
    let base = format!("{name}.{namespace}.svc.{domain}");
    let matches = |candidate: Option<&str>, its_protocol: Option<&str>| {
        candidate.unwrap_or_default() == port
            && its_protocol.unwrap_or("TCP").eq_ignore_ascii_case(protocol)
    };
    let mut ports = Vec::new();
    if is_headless(&service) {
        let slices = view.slices(namespace, name);
        for slice in &slices {
            let found = slice.ports.iter().flatten().find(|candidate| {
                matches(candidate.name.as_deref(), candidate.protocol.as_deref())
            });
            let Some(number) = found.and_then(|found| u16::try_from(found.port?).ok()) else {
                continue;
            };
            for endpoint in published(&service, std::slice::from_ref(slice)) {
                if let Some(host) = endpoint_host(endpoint) {
                    let target = format!("{host}.{base}");
                    ports.push(Port {
                        target,
                        port: number,
                        addresses: addresses(endpoint).collect(),
                    });
                }
            }
        }
    } else {
        let spec = service
            .spec
            .iter()
            .flat_map(|spec| spec.ports.iter().flatten());
        for found in spec
            .filter(|candidate| matches(candidate.name.as_deref(), candidate.protocol.as_deref()))
        {
            if let Ok(number) = u16::try_from(found.port) {
                ports.push(Port {
                    target: base.clone(),
                    port: number,
                    addresses: cluster_addresses(&service),
                });
            }
        }
    }
    ports.sort();
    if ports.is_empty() {
        Meaning::NoSuchName
    } else {
        Meaning::Ports(ports)
    }
}

fn alias(service: &Service) -> Option<String> {
    let spec = service.spec.as_ref()?;
    (spec.type_.as_deref() == Some("ExternalName")).then(|| spec.external_name.clone())?
}

fn is_headless(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ip.as_deref())
        == Some("None")
}

fn cluster_addresses(service: &Service) -> Vec<IpAddr> {
    let spec = service.spec.as_ref();
    let all: BTreeSet<IpAddr> = spec
        .into_iter()
        .flat_map(|spec| {
            spec.cluster_ips
                .iter()
                .flatten()
                .chain(spec.cluster_ip.iter())
        })
        .filter_map(|address| address.parse().ok())
        .collect();
    all.into_iter().collect()
}

/// The endpoints a headless Service gives out: those that are ready, or all if it says so.
fn published<'a>(
    service: &Service,
    slices: &'a [Arc<EndpointSlice>],
) -> impl Iterator<Item = &'a Endpoint> + use<'a> {
    let all = service
        .spec
        .as_ref()
        .and_then(|spec| spec.publish_not_ready_addresses)
        == Some(true);
    slices
        .iter()
        .flat_map(|slice| slice.endpoints.iter().flatten())
        .filter(move |endpoint| {
            all || endpoint
                .conditions
                .as_ref()
                .and_then(|conditions| conditions.ready)
                .unwrap_or(true)
        })
}

fn addresses(endpoint: &Endpoint) -> impl Iterator<Item = IpAddr> {
    endpoint
        .addresses
        .iter()
        .filter_map(|address| address.parse().ok())
}

/// An endpoint's own label: its hostname, or its address with dashes.
fn endpoint_host(endpoint: &Endpoint) -> Option<String> {
    endpoint
        .hostname
        .as_ref()
        .map(|host| host.to_ascii_lowercase())
        .or_else(|| Some(endpoint.addresses.first()?.replace(['.', ':'], "-")))
}

fn service_name(service: &Service, domain: &str) -> Option<String> {
    let metadata = &service.metadata;
    Some(format!(
        "{}.{}.svc.{domain}",
        metadata.name.as_ref()?,
        metadata.namespace.as_ref()?
    ))
}

/// `10-244-0-5` as an address.
fn dashed_address(label: &str) -> Option<Ipv4Addr> {
    label.replace('-', ".").parse().ok()
}

/// `9.0.96.10.in-addr.arpa` as an address.
fn reverse_address(name: &str) -> Option<IpAddr> {
    let octets: Vec<&str> = name.strip_suffix(".in-addr.arpa")?.split('.').collect();
    let forward = octets.into_iter().rev().collect::<Vec<_>>().join(".");
    forward.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    struct Fixed(Vec<Arc<Service>>, Vec<Arc<EndpointSlice>>);

    impl View for Fixed {
        fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
            let is = |service: &&Arc<Service>| {
                service.metadata.namespace.as_deref() == Some(namespace)
                    && service.metadata.name.as_deref() == Some(name)
            };
            self.0.iter().find(is).cloned()
        }

        fn slices(&self, _namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>> {
            let of = |slice: &&Arc<EndpointSlice>| {
                slice.metadata.generate_name.as_deref() == Some(service)
            };
            self.1.iter().filter(of).cloned().collect()
        }

        fn service_at(&self, address: IpAddr) -> Option<Arc<Service>> {
            self.0
                .iter()
                .find(|service| cluster_addresses(service).contains(&address))
                .cloned()
        }
    }

    fn view() -> Fixed {
        let service = |name: &str, spec: Value| {
            let object = json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec});
            Arc::new(serde_json::from_value(object).unwrap())
        };
        let slice = json!({
            "metadata": {"generateName": "db"}, "addressType": "IPv4",
            "ports": [{"name": "pg", "port": 5432, "protocol": "TCP"}],
            "endpoints": [
                {"addresses": ["10.244.0.7"], "hostname": "db-0", "conditions": {"ready": true}},
                {"addresses": ["10.244.0.8"], "conditions": {"ready": true}},
                {"addresses": ["10.244.0.9"], "hostname": "db-2", "conditions": {"ready": false}},
            ],
        });
        Fixed(
            vec![
                service(
                    "api",
                    json!({"clusterIP": "10.96.0.9", "ports": [{"name": "http", "port": 80}]}),
                ),
                service(
                    "db",
                    json!({"clusterIP": "None", "ports": [{"name": "pg", "port": 5432}]}),
                ),
                service(
                    "mail",
                    json!({"type": "ExternalName", "externalName": "mail.example.org"}),
                ),
            ],
            vec![Arc::new(serde_json::from_value(slice).unwrap())],
        )
    }

    fn addresses(texts: &[&str]) -> Meaning {
        Meaning::Addresses(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn names_mean_what_the_specification_says() {
        let view = view();
        for (name, expected) in [
            ("api.shop.svc.cluster.local", addresses(&["10.96.0.9"])),
            ("API.Shop.svc.CLUSTER.local", addresses(&["10.96.0.9"])),
            (
                "db.shop.svc.cluster.local",
                addresses(&["10.244.0.7", "10.244.0.8"]),
            ),
            ("db-0.db.shop.svc.cluster.local", addresses(&["10.244.0.7"])),
            (
                "10-244-0-8.db.shop.svc.cluster.local",
                addresses(&["10.244.0.8"]),
            ),
            ("db-2.db.shop.svc.cluster.local", Meaning::NoSuchName),
            (
                "mail.shop.svc.cluster.local",
                Meaning::Alias("mail.example.org".to_owned()),
            ),
            (
                "10-244-0-5.shop.pod.cluster.local",
                addresses(&["10.244.0.5"]),
            ),
            ("nothing.shop.svc.cluster.local", Meaning::NoSuchName),
            ("api.other.svc.cluster.local", Meaning::NoSuchName),
            ("shop.svc.cluster.local", addresses(&[])),
            ("cluster.local", addresses(&[])),
            ("example.org", Meaning::Foreign),
            ("mycluster.local", Meaning::Foreign),
            (
                "9.0.96.10.in-addr.arpa",
                Meaning::Pointer("api.shop.svc.cluster.local".to_owned()),
            ),
            ("1.1.1.1.in-addr.arpa", Meaning::Foreign),
        ] {
            assert_eq!(resolve(name, "cluster.local", &view), expected, "{name}");
        }
    }

    #[test]
    fn ports_are_found_by_name_and_protocol() {
        let view = view();
        let found = resolve(
            "_http._tcp.api.shop.svc.cluster.local",
            "cluster.local",
            &view,
        );
        let expected = Port {
            target: "api.shop.svc.cluster.local".to_owned(),
            port: 80,
            addresses: vec!["10.96.0.9".parse().unwrap()],
        };
        assert_eq!(found, Meaning::Ports(vec![expected]));
        let Meaning::Ports(ports) =
            resolve("_pg._tcp.db.shop.svc.cluster.local", "cluster.local", &view)
        else {
            panic!("a headless Service has ports");
        };
        let targets: Vec<_> = ports.iter().map(|port| port.target.as_str()).collect();
        assert_eq!(
            targets,
            [
                "10-244-0-8.db.shop.svc.cluster.local",
                "db-0.db.shop.svc.cluster.local"
            ]
        );
        for name in ["_http._udp.api", "_x._tcp.api", "http._tcp.api"] {
            let name = format!("{name}.shop.svc.cluster.local");
            assert_eq!(
                resolve(&name, "cluster.local", &view),
                Meaning::NoSuchName,
                "{name}"
            );
        }
    }
}
