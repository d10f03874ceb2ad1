//! `kube_service_*`, `kube_endpoint_*` and `kube_endpointslice_*`.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::{WriteLabels, and, created, gauge, named};
use crate::instruments::Text;

pub(super) fn services(services: &[Arc<Service>], text: &mut Text) {
    fn labels(service: &Service) -> Vec<(&str, &str)> {
        let uid = service.metadata.uid.as_deref().unwrap_or_default();
        and(&named(&service.metadata, "service"), &[("uid", uid)])
    }
    created(
        text,
        "service",
        services,
        |found| &found.metadata,
        |found, write| write(&labels(found)),
    );
    gauge(
        text,
        "kube_service_info",
        "Information about service.",
        services,
        |found, family| {
            let Some(spec) = &found.spec else { return };
            let more = [
                ("cluster_ip", spec.cluster_ip.as_deref().unwrap_or_default()),
                (
                    "external_name",
                    spec.external_name.as_deref().unwrap_or_default(),
                ),
                (
                    "external_traffic_policy",
                    spec.external_traffic_policy.as_deref().unwrap_or_default(),
                ),
                (
                    "load_balancer_ip",
                    spec.load_balancer_ip.as_deref().unwrap_or_default(),
                ),
            ];
            family.sample(&and(&labels(found), &more), 1.0);
        },
    );
    gauge(
        text,
        "kube_service_spec_type",
        "Type about service.",
        services,
        |found, family| {
            let kind = found.spec.as_ref().and_then(|spec| spec.type_.as_deref());
            family.sample(
                &and(&labels(found), &[("type", kind.unwrap_or("ClusterIP"))]),
                1.0,
            );
        },
    );
    let help = "Service external ips. One series for each ip";
    gauge(
        text,
        "kube_service_spec_external_ip",
        help,
        services,
        |found, family| {
            let ips = found
                .spec
                .iter()
                .flat_map(|spec| spec.external_ips.iter().flatten());
            for ip in ips {
                family.sample(&and(&labels(found), &[("external_ip", ip)]), 1.0);
            }
        },
    );
    let help = "Service load balancer ingress status";
    gauge(
        text,
        "kube_service_status_load_balancer_ingress",
        help,
        services,
        |found, family| {
            let balancer = found
                .status
                .as_ref()
                .and_then(|status| status.load_balancer.as_ref());
            for ingress in balancer
                .iter()
                .flat_map(|balancer| balancer.ingress.iter().flatten())
            {
                let more = [
                    ("ip", ingress.ip.as_deref().unwrap_or_default()),
                    ("hostname", ingress.hostname.as_deref().unwrap_or_default()),
                ];
                family.sample(&and(&labels(found), &more), 1.0);
            }
        },
    );
}

pub(super) fn endpoints(endpoints: &[Arc<Endpoints>], text: &mut Text) {
    let labels = |found: &Endpoints, write: &mut WriteLabels<'_>| {
        write(&named(&found.metadata, "endpoint"));
    };
    created(text, "endpoint", endpoints, |found| &found.metadata, labels);
    gauge(
        text,
        "kube_endpoint_info",
        "Information about endpoint.",
        endpoints,
        |found, family| {
            family.sample(&named(&found.metadata, "endpoint"), 1.0);
        },
    );
    let help = "Information about Endpoint available and non available addresses.";
    gauge(
        text,
        "kube_endpoint_address",
        help,
        endpoints,
        |found, family| {
            for subset in found.subsets.iter().flatten() {
                for (ready, addresses) in [
                    ("true", &subset.addresses),
                    ("false", &subset.not_ready_addresses),
                ] {
                    for address in addresses.iter().flatten() {
                        for port in subset.ports.iter().flatten() {
                            let number = port.port.to_string();
                            let more = [
                                ("ip", address.ip.as_str()),
                                ("port_protocol", port.protocol.as_deref().unwrap_or("TCP")),
                                ("port_number", number.as_str()),
                                ("port_name", port.name.as_deref().unwrap_or_default()),
                                ("ready", ready),
                            ];
                            family.sample(&and(&named(&found.metadata, "endpoint"), &more), 1.0);
                        }
                    }
                }
            }
        },
    );
    for (name, help, ready) in [
        (
            "kube_endpoint_address_available",
            "Number of addresses available in endpoint.",
            true,
        ),
        (
            "kube_endpoint_address_not_ready",
            "Number of addresses not ready in endpoint",
            false,
        ),
    ] {
        gauge(text, name, help, endpoints, |found, family| {
            let count = |subset: &EndpointSubset| {
                let addresses = if ready {
                    &subset.addresses
                } else {
                    &subset.not_ready_addresses
                };
                let ports = subset.ports.as_ref().map_or(0, Vec::len);
                addresses.as_ref().map_or(0, Vec::len) * ports
            };
            let total: usize = found.subsets.iter().flatten().map(count).sum();
            family.sample(&named(&found.metadata, "endpoint"), total as f64);
        });
    }
    let help = "Information about the Endpoint ports.";
    gauge(
        text,
        "kube_endpoint_ports",
        help,
        endpoints,
        |found, family| {
            for port in found
                .subsets
                .iter()
                .flatten()
                .flat_map(|subset| subset.ports.iter().flatten())
            {
                let number = port.port.to_string();
                let more = [
                    ("port_name", port.name.as_deref().unwrap_or_default()),
                    ("port_protocol", port.protocol.as_deref().unwrap_or("TCP")),
                    ("port_number", number.as_str()),
                ];
                family.sample(&and(&named(&found.metadata, "endpoint"), &more), 1.0);
            }
        },
    );
}

pub(super) fn endpoint_slices(slices: &[Arc<EndpointSlice>], text: &mut Text) {
    let labels = |found: &EndpointSlice, write: &mut WriteLabels<'_>| {
        write(&named(&found.metadata, "endpointslice"));
    };
    created(
        text,
        "endpointslice",
        slices,
        |found| &found.metadata,
        labels,
    );
    let help = "Information about endpointslice.";
    gauge(
        text,
        "kube_endpointslice_info",
        help,
        slices,
        |found, family| {
            let more = [("addresstype", found.address_type.as_str())];
            family.sample(&and(&named(&found.metadata, "endpointslice"), &more), 1.0);
        },
    );
    let help = "Ports attached to the endpointslice.";
    gauge(
        text,
        "kube_endpointslice_ports",
        help,
        slices,
        |found, family| {
            for port in found.ports.iter().flatten() {
                let number = port.port.map(|port| port.to_string()).unwrap_or_default();
                let more = [
                    ("port_name", port.name.as_deref().unwrap_or_default()),
                    (
                        "port_protocol",
                        port.protocol.as_deref().unwrap_or_default(),
                    ),
                    ("port_number", number.as_str()),
                ];
                family.sample(&and(&named(&found.metadata, "endpointslice"), &more), 1.0);
            }
        },
    );
    let help = "Endpoints attached to the endpointslice.";
    gauge(
        text,
        "kube_endpointslice_endpoints",
        help,
        slices,
        |found, family| {
            for endpoint in found.endpoints.iter().flatten() {
                let conditions = endpoint.conditions.clone().unwrap_or_default();
                let told = |condition: Option<bool>| match condition {
                    Some(true) => "true",
                    Some(false) => "false",
                    None => "",
                };
                let target = endpoint.target_ref.clone().unwrap_or_default();
                for address in &endpoint.addresses {
                    let more = [
                        ("ready", told(conditions.ready)),
                        ("serving", told(conditions.serving)),
                        ("terminating", told(conditions.terminating)),
                        ("hostname", endpoint.hostname.as_deref().unwrap_or_default()),
                        ("targetref_kind", target.kind.as_deref().unwrap_or_default()),
                        ("targetref_name", target.name.as_deref().unwrap_or_default()),
                        (
                            "targetref_namespace",
                            target.namespace.as_deref().unwrap_or_default(),
                        ),
                        (
                            "endpoint_nodename",
                            endpoint.node_name.as_deref().unwrap_or_default(),
                        ),
                        (
                            "endpoint_zone",
                            endpoint.zone.as_deref().unwrap_or_default(),
                        ),
                        ("address", address.as_str()),
                    ];
                    family.sample(&and(&named(&found.metadata, "endpointslice"), &more), 1.0);
                }
            }
        },
    );
}
