//! Targets from the Kubernetes API: what pods, Services, endpoints and nodes become, as pure functions of the objects,
//! and the task that looks at the objects again when they change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ContainerPort, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use springtide_client::{Cache, Cached, Caches};

use super::{ADDRESS, Environment, Publisher, TargetGroup, default_client};
use crate::config::{KubernetesRole, KubernetesSdConfig};
use crate::relabel::LabelSet;

/// How often changes are taken up; objects change in bursts.
const TAKE_UP_EVERY: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_secs(10);

const META: &str = "__meta_kubernetes_";

pub(super) async fn watch(
    config: KubernetesSdConfig,
    environment: Environment,
    publisher: Publisher,
) {
    let uses_own = config.kubeconfig_file.is_none() && config.api_server.is_empty();
    let caches = match environment.caches {
        Some(caches) if uses_own => caches,
        _ => loop {
            let kubeconfig = config
                .kubeconfig_file
                .as_ref()
                .map(|path| environment.folder.join(path));
            match default_client(kubeconfig).await {
                Ok(client) => break Caches::new(client),
                Err(error) => {
                    tracing::warn!(error, "the Kubernetes API cannot be found; trying again");
                    tokio::time::sleep(RETRY).await;
                }
            }
        },
    };
    let view = View::new(&caches, config.role);
    let mut seen = None;
    let mut ticks = tokio::time::interval(TAKE_UP_EVERY);
    loop {
        ticks.tick().await;
        let revisions = view.revisions();
        if seen.as_ref() != Some(&revisions) {
            publisher.publish(view.groups(&config));
            seen = Some(revisions);
        }
    }
}

/// The objects that a role looks at.
enum View {
    Pods(Cache<Pod>),
    Services(Cache<Service>),
    Endpoints {
        slices: Cache<EndpointSlice>,
        services: Cache<Service>,
        pods: Cache<Pod>,
        as_slices: bool,
    },
    Nodes(Cache<Node>),
}

impl View {
    fn new(caches: &Caches, role: KubernetesRole) -> View {
        match role {
            KubernetesRole::Pod => View::Pods(caches.of()),
            KubernetesRole::Service => View::Services(caches.of()),
            KubernetesRole::Node => View::Nodes(caches.of()),
            KubernetesRole::Endpoints | KubernetesRole::EndpointSlice => View::Endpoints {
                slices: caches.of(),
                services: caches.of(),
                pods: caches.of(),
                as_slices: role == KubernetesRole::EndpointSlice,
            },
        }
    }

    fn revisions(&self) -> Vec<u64> {
        match self {
            View::Pods(pods) => vec![pods.revision()],
            View::Services(services) => vec![services.revision()],
            View::Nodes(nodes) => vec![nodes.revision()],
            View::Endpoints {
                slices,
                services,
                pods,
                ..
            } => vec![slices.revision(), services.revision(), pods.revision()],
        }
    }

    fn groups(&self, config: &KubernetesSdConfig) -> Vec<TargetGroup> {
        match self {
            View::Pods(pods) => chosen(pods, config).iter().map(|pod| of_pod(pod)).collect(),
            View::Services(services) => chosen(services, config)
                .iter()
                .map(|service| of_service(service))
                .collect(),
            View::Nodes(nodes) => nodes.list().iter().map(|node| of_node(node)).collect(),
            View::Endpoints {
                slices,
                services,
                pods,
                as_slices,
            } => chosen(slices, config)
                .iter()
                .map(|slice| {
                    let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
                    let labels = slice.metadata.labels.as_ref();
                    let service =
                        labels.and_then(|labels| labels.get("kubernetes.io/service-name"));
                    let service = service.and_then(|name| services.get(namespace, name));
                    let pod = |name: &str| pods.get(namespace, name);
                    of_slice(slice, service.as_deref(), &pod, *as_slices)
                })
                .collect(),
        }
    }
}

/// The objects of the namespaces that the configuration names.
fn chosen<K: Cached>(cache: &Cache<K>, config: &KubernetesSdConfig) -> Vec<Arc<K>> {
    if config.namespaces.names.is_empty() {
        return cache.list();
    }
    let names = config.namespaces.names.iter();
    names.flat_map(|name| cache.list_in(name)).collect()
}

fn meta(name: &str) -> String {
    format!("{META}{name}")
}

fn pair(name: &str, value: impl Into<String>) -> (String, String) {
    (meta(name), value.into())
}

/// A label's or annotation's name as part of a label's name.
pub(crate) fn label_part(name: &str) -> String {
    name.chars()
        .map(|char| {
            if char.is_ascii_alphanumeric() {
                char
            } else {
                '_'
            }
        })
        .collect()
}

/// What every object has: namespace, labels and annotations.
fn of_metadata(metadata: &ObjectMeta, kind: &str) -> LabelSet {
    let mut labels = LabelSet::new();
    if let Some(namespace) = &metadata.namespace {
        labels.extend([pair("namespace", namespace.clone())]);
    }
    let name = metadata.name.clone().unwrap_or_default();
    labels.extend([pair(&format!("{kind}_name"), name)]);
    let mut add = |what: &str, pairs: Option<&BTreeMap<String, String>>| {
        for (name, value) in pairs.into_iter().flatten() {
            let name = label_part(name);
            labels.extend([
                pair(&format!("{kind}_{what}_{name}"), value.clone()),
                pair(&format!("{kind}_{what}present_{name}"), "true"),
            ]);
        }
    };
    add("label", metadata.labels.as_ref());
    add("annotation", metadata.annotations.as_ref());
    labels
}

fn source(kind: &str, metadata: &ObjectMeta) -> String {
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    format!("{kind}/{namespace}/{name}")
}

fn with_port(host: &str, port: i32) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn pod_labels(pod: &Pod) -> LabelSet {
    let mut labels = of_metadata(&pod.metadata, "pod");
    let status = pod.status.clone().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let conditions = status.conditions.iter().flatten();
    let ready = conditions
        .into_iter()
        .find(|condition| condition.type_ == "Ready")
        .map_or("unknown", |condition| match condition.status.as_str() {
            "True" => "true",
            "False" => "false",
            _ => "unknown",
        });
    labels.extend([
        pair("pod_ip", status.pod_ip.unwrap_or_default()),
        pair("pod_ready", ready),
        pair("pod_phase", status.phase.unwrap_or_default()),
        pair("pod_host_ip", status.host_ip.unwrap_or_default()),
        pair(
            "pod_node_name",
            spec.and_then(|spec| spec.node_name.clone())
                .unwrap_or_default(),
        ),
        pair("pod_uid", pod.metadata.uid.clone().unwrap_or_default()),
    ]);
    let mut owners = pod.metadata.owner_references.iter().flatten();
    if let Some(owner) = owners.find(|owner| owner.controller == Some(true)) {
        labels.extend([
            pair("pod_controller_kind", owner.kind.clone()),
            pair("pod_controller_name", owner.name.clone()),
        ]);
    }
    labels
}

fn of_pod(pod: &Pod) -> TargetGroup {
    let mut group = TargetGroup {
        source: source("pod", &pod.metadata),
        labels: pod_labels(pod),
        targets: Vec::new(),
    };
    let status = pod.status.clone().unwrap_or_default();
    let Some(ip) = status.pod_ip.filter(|ip| !ip.is_empty()) else {
        return group;
    };
    let spec = pod.spec.clone().unwrap_or_default();
    let ids: BTreeMap<String, String> = status
        .container_statuses
        .into_iter()
        .flatten()
        .filter_map(|status| Some((status.name, status.container_id?)))
        .collect();
    let initial = spec
        .init_containers
        .iter()
        .flatten()
        .map(|container| (container, true));
    let all = spec
        .containers
        .iter()
        .map(|container| (container, false))
        .chain(initial);
    for (container, is_init) in all {
        let id = ids.get(&container.name);
        group
            .targets
            .extend(of_container(container, is_init, id, &ip));
    }
    group
}

fn of_container(
    container: &Container,
    is_init: bool,
    id: Option<&String>,
    ip: &str,
) -> Vec<LabelSet> {
    let mut of_all = LabelSet::from([
        pair("pod_container_name", container.name.clone()),
        pair(
            "pod_container_image",
            container.image.clone().unwrap_or_default(),
        ),
        pair("pod_container_init", is_init.to_string()),
    ]);
    of_all.extend(id.map(|id| pair("pod_container_id", id.clone())));
    let ports = container.ports.as_deref().unwrap_or_default();
    if ports.is_empty() {
        // The port is to come from relabelling.
        of_all.insert(ADDRESS.to_owned(), ip.to_owned());
        return vec![of_all];
    }
    let of_port = |port: &ContainerPort| {
        let mut labels = of_all.clone();
        labels.insert(ADDRESS.to_owned(), with_port(ip, port.container_port));
        labels.extend(of_container_port(container, port));
        labels
    };
    ports.iter().map(of_port).collect()
}

fn of_service(service: &Service) -> TargetGroup {
    let labels = of_metadata(&service.metadata, "service");
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let spec = service.spec.clone().unwrap_or_default();
    let kind = spec.type_.clone().unwrap_or_else(|| "ClusterIP".to_owned());
    let targets = spec.ports.iter().flatten().map(|port| {
        let mut labels = LabelSet::from([
            (
                ADDRESS.to_owned(),
                format!("{name}.{namespace}.svc:{}", port.port),
            ),
            pair("service_port_name", port.name.clone().unwrap_or_default()),
            pair("service_port_number", port.port.to_string()),
            pair(
                "service_port_protocol",
                port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            ),
            pair("service_type", kind.clone()),
        ]);
        if kind == "ExternalName" {
            let external = spec.external_name.clone().unwrap_or_default();
            labels.extend([pair("service_external_name", external)]);
        } else {
            labels.extend([pair(
                "service_cluster_ip",
                spec.cluster_ip.clone().unwrap_or_default(),
            )]);
        }
        labels
    });
    TargetGroup {
        source: source("service", &service.metadata),
        targets: targets.collect(),
        labels,
    }
}

fn of_slice(
    slice: &EndpointSlice,
    service: Option<&Service>,
    pod: &dyn Fn(&str) -> Option<Arc<Pod>>,
    as_slice: bool,
) -> TargetGroup {
    let mut group = TargetGroup {
        source: source("endpointslice", &slice.metadata),
        ..TargetGroup::default()
    };
    if as_slice {
        group.labels = of_metadata(&slice.metadata, "endpointslice");
        let kind = pair("endpointslice_address_type", slice.address_type.clone());
        group.labels.extend([kind]);
    } else {
        let namespace = slice.metadata.namespace.clone().unwrap_or_default();
        let name = service.and_then(|service| service.metadata.name.clone());
        let name = name
            .or_else(|| slice.metadata.name.clone())
            .unwrap_or_default();
        group
            .labels
            .extend([pair("namespace", namespace), pair("endpoints_name", name)]);
    }
    if let Some(service) = service {
        group
            .labels
            .extend(of_metadata(&service.metadata, "service"));
    }
    let prefix = if as_slice {
        "endpointslice"
    } else {
        "endpoint"
    };
    let mut backing_pods: BTreeMap<String, Arc<Pod>> = BTreeMap::new();
    for endpoint in slice.endpoints.iter().flatten() {
        let ready = endpoint
            .conditions
            .as_ref()
            .and_then(|conditions| conditions.ready)
            .unwrap_or(true);
        let target = endpoint.target_ref.as_ref();
        let backing = target
            .filter(|target| target.kind.as_deref() == Some("Pod"))
            .and_then(|target| pod(target.name.as_deref()?));
        if let Some(pod) = &backing {
            let name = pod.metadata.name.clone().unwrap_or_default();
            backing_pods.insert(name, Arc::clone(pod));
        }
        for address in &endpoint.addresses {
            for port in slice.ports.iter().flatten() {
                let Some(number) = port.port else { continue };
                let mut labels = LabelSet::from([
                    (ADDRESS.to_owned(), with_port(address, number)),
                    pair(
                        &format!("{prefix}_port_name"),
                        port.name.clone().unwrap_or_default(),
                    ),
                    pair(
                        &format!("{prefix}_port_protocol"),
                        port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                    ),
                ]);
                let readiness = if as_slice {
                    labels.extend([pair("endpointslice_port", number.to_string())]);
                    "endpointslice_endpoint_conditions_ready"
                } else {
                    "endpoint_ready"
                };
                labels.extend([pair(readiness, ready.to_string())]);
                if let Some(node) = &endpoint.node_name {
                    labels.extend([pair("endpoint_node_name", node.clone())]);
                }
                if let Some(hostname) = &endpoint.hostname {
                    labels.extend([pair("endpoint_hostname", hostname.clone())]);
                }
                if let Some(target) = target {
                    let names = if as_slice {
                        "endpointslice"
                    } else {
                        "endpoint"
                    };
                    labels.extend([
                        pair(
                            &format!("{names}_address_target_kind"),
                            target.kind.clone().unwrap_or_default(),
                        ),
                        pair(
                            &format!("{names}_address_target_name"),
                            target.name.clone().unwrap_or_default(),
                        ),
                    ]);
                }
                if let Some(pod) = &backing {
                    labels.extend(pod_labels(pod));
                    labels.extend(container_of_port(pod, number));
                }
                group.targets.push(labels);
            }
        }
    }
    let served: Vec<i32> = slice
        .ports
        .iter()
        .flatten()
        .filter_map(|port| port.port)
        .collect();
    for pod in backing_pods.values() {
        group.targets.extend(other_ports(pod, &served));
    }
    group
}

/// A target for each port of a pod's containers that its Service does not serve, as Prometheus has it: metrics often
/// have a port of their own.
fn other_ports(pod: &Pod, served: &[i32]) -> Vec<LabelSet> {
    let ip = pod
        .status
        .as_ref()
        .and_then(|status| status.pod_ip.as_deref());
    let Some(ip) = ip.filter(|ip| !ip.is_empty()) else {
        return Vec::new();
    };
    let others = ports_of(pod).filter(|(_, port)| !served.contains(&port.container_port));
    others
        .map(|(container, port)| {
            let mut labels = pod_labels(pod);
            labels.extend(of_container_port(container, port));
            labels.insert(ADDRESS.to_owned(), with_port(ip, port.container_port));
            labels
        })
        .collect()
}

fn ports_of(pod: &Pod) -> impl Iterator<Item = (&Container, &ContainerPort)> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.flat_map(|container| {
        let ports = container.ports.iter().flatten();
        ports.map(move |port| (container, port))
    })
}

/// The container that has a port, as labels of an endpoint.
fn container_of_port(pod: &Pod, number: i32) -> LabelSet {
    ports_of(pod)
        .find(|(_, port)| port.container_port == number)
        .map(|(container, port)| of_container_port(container, port))
        .unwrap_or_default()
}

fn of_container_port(container: &Container, port: &ContainerPort) -> LabelSet {
    LabelSet::from([
        pair("pod_container_name", container.name.clone()),
        pair(
            "pod_container_image",
            container.image.clone().unwrap_or_default(),
        ),
        pair(
            "pod_container_port_name",
            port.name.clone().unwrap_or_default(),
        ),
        pair("pod_container_port_number", port.container_port.to_string()),
        pair(
            "pod_container_port_protocol",
            port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        ),
    ])
}

/// The order in which a node's addresses are liked.
const ADDRESS_TYPES: [&str; 5] = [
    "InternalIP",
    "InternalDNS",
    "ExternalIP",
    "ExternalDNS",
    "Hostname",
];

fn of_node(node: &Node) -> TargetGroup {
    let mut group = TargetGroup {
        source: source("node", &node.metadata),
        labels: of_metadata(&node.metadata, "node"),
        targets: Vec::new(),
    };
    let name = node.metadata.name.clone().unwrap_or_default();
    let provider = node.spec.as_ref().and_then(|spec| spec.provider_id.clone());
    group
        .labels
        .extend([pair("node_provider_id", provider.unwrap_or_default())]);
    let status = node.status.clone().unwrap_or_default();
    let addresses = status.addresses.unwrap_or_default();
    let liked = ADDRESS_TYPES.iter().find_map(|kind| {
        let of_kind = addresses.iter().find(|address| address.type_ == *kind);
        of_kind.map(|address| address.address.clone())
    });
    let Some(address) = liked else {
        return group;
    };
    let endpoints = status.daemon_endpoints.unwrap_or_default();
    let port = endpoints
        .kubelet_endpoint
        .map_or(10250, |endpoint| endpoint.port);
    let mut labels = LabelSet::from([
        (ADDRESS.to_owned(), with_port(&address, port)),
        ("instance".to_owned(), name),
    ]);
    for address in &addresses {
        let name = format!("node_address_{}", label_part(&address.type_));
        labels
            .entry(meta(&name))
            .or_insert_with(|| address.address.clone());
    }
    group.targets.push(labels);
    group
}

#[cfg(test)]
mod tests;
