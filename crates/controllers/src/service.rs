//! What Services say about the pods behind them; shared by EndpointSlices and Endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use springtide_client::{Cache, ObjectKey, pods};

/// Marks what belongs to a headless Service.
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";

/// The Service's selector; `None` if its endpoints are somebody else's to make.
pub(crate) fn selector_of(service: &Service) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    spec.selector
        .as_ref()
        .filter(|selector| !selector.is_empty())
}

/// True when the Service's selector matches the pod's labels.
pub(crate) fn selects(service: &Service, pod: &Pod) -> bool {
    selector_of(service).is_some_and(|selector| {
        selector
            .iter()
            .all(|(name, value)| pod.labels().get(name) == Some(value))
    })
}

/// True when the Service has no address of its own.
pub(crate) fn is_headless(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ip.as_deref())
        == Some("None")
}

/// True when clients are to find pods that are not ready.
pub(crate) fn publishes_unready(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.publish_not_ready_addresses)
        == Some(true)
}

/// The Service's ports.
pub(crate) fn ports_of(service: &Service) -> &[ServicePort] {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.ports.as_deref())
        .unwrap_or_default()
}

/// The port's protocol, TCP if it says none.
pub(crate) fn protocol_of(port: &ServicePort) -> &str {
    port.protocol.as_deref().unwrap_or("TCP")
}

/// The pod's port behind a Service's port; `None` if the pod has none of that name.
pub(crate) fn target_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let name = match &port.target_port {
        None | Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => return Some(port.port),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let sidecars = init
        .iter()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten());
    let is_meant = |candidate: &&k8s_openapi::api::core::v1::ContainerPort| {
        candidate.name.as_ref() == Some(name)
            && candidate.protocol.as_deref().unwrap_or("TCP") == protocol_of(port)
    };
    ports
        .into_iter()
        .find(is_meant)
        .map(|found| found.container_port)
}

/// The pod's IPv4 address, once it has one.
pub(crate) fn address_of(pod: &Pod) -> Option<&str> {
    let status = pod.status.as_ref()?;
    let more = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    more.chain(status.pod_ip.as_deref())
        .find(|ip| ip.parse::<std::net::Ipv4Addr>().is_ok())
}

/// True when the pod can be an endpoint: it has an address and has not ended.
pub(crate) fn can_serve(pod: &Pod) -> bool {
    !pods::is_terminal(pod) && address_of(pod).is_some()
}

/// The pod's host name in DNS, where the Service gives it one.
pub(crate) fn hostname_of<'a>(pod: &'a Pod, service: &Service) -> Option<&'a str> {
    let spec = pod.spec.as_ref()?;
    let is_here = spec.subdomain.as_deref() == Some(service.name_any().as_str());
    spec.hostname
        .as_deref()
        .filter(|name| is_here && !name.is_empty())
}

/// The Services a pod is behind.
pub(crate) fn services_of(services: &Cache<Service>, pod: &Pod) -> Vec<ObjectKey> {
    let of_namespace = services.list_in(&pod.namespace().unwrap_or_default());
    of_namespace
        .iter()
        .filter(|service| selects(service, pod))
        .map(|service| ObjectKey::of(&**service))
        .collect()
}

/// The pods behind a Service, sorted by name.
pub(crate) fn pods_of(pods: &Cache<Pod>, service: &Service) -> Vec<Arc<Pod>> {
    let of_namespace = pods.list_in(&service.namespace().unwrap_or_default());
    of_namespace
        .into_iter()
        .filter(|pod| selects(service, pod))
        .collect()
}
