//! The cluster's objects as metrics, with the names and labels of kube-state-metrics.
//!
//! [`write`] is a pure function of the objects. Kinds that the platform does not have make no families; of those it
//! has, all stable families are here but the ones with every label or annotation of an object, which
//! kube-state-metrics leaves out too unless asked.

mod autoscalers;
mod config;
mod nodes;
mod pods;
mod services;
#[cfg(test)]
mod tests;
mod workloads;

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use springtide_client::{Cache, Caches};
use springtide_machinery::quantity::Quantity;

use crate::instruments::{FamilyText, Kind, Text};

/// What the metrics are told from, each sorted by namespace and name.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// All pods.
    pub pods: Vec<Arc<Pod>>,
    /// All Deployments.
    pub deployments: Vec<Arc<Deployment>>,
    /// All ReplicaSets.
    pub replica_sets: Vec<Arc<ReplicaSet>>,
    /// All HorizontalPodAutoscalers.
    pub autoscalers: Vec<Arc<HorizontalPodAutoscaler>>,
    /// All Services.
    pub services: Vec<Arc<Service>>,
    /// All Endpoints.
    pub endpoints: Vec<Arc<Endpoints>>,
    /// All EndpointSlices.
    pub endpoint_slices: Vec<Arc<EndpointSlice>>,
    /// All nodes.
    pub nodes: Vec<Arc<Node>>,
    /// All namespaces.
    pub namespaces: Vec<Arc<Namespace>>,
    /// All ConfigMaps.
    pub config_maps: Vec<Arc<ConfigMap>>,
    /// All Secrets.
    pub secrets: Vec<Arc<Secret>>,
    /// All ServiceAccounts.
    pub service_accounts: Vec<Arc<ServiceAccount>>,
    /// All Leases.
    pub leases: Vec<Arc<Lease>>,
    /// All PodDisruptionBudgets.
    pub disruption_budgets: Vec<Arc<PodDisruptionBudget>>,
}

/// The process's shared caches of the kinds that metrics are told of. Cheap to clone.
#[derive(Clone)]
pub struct Watched {
    pods: Cache<Pod>,
    deployments: Cache<Deployment>,
    replica_sets: Cache<ReplicaSet>,
    autoscalers: Cache<HorizontalPodAutoscaler>,
    services: Cache<Service>,
    endpoints: Cache<Endpoints>,
    endpoint_slices: Cache<EndpointSlice>,
    nodes: Cache<Node>,
    namespaces: Cache<Namespace>,
    config_maps: Cache<ConfigMap>,
    secrets: Cache<Secret>,
    service_accounts: Cache<ServiceAccount>,
    leases: Cache<Lease>,
    disruption_budgets: Cache<PodDisruptionBudget>,
}

// === impl Watched ===

impl Watched {
    /// Watches what is not watched yet. Must be called within a tokio runtime.
    #[must_use]
    pub fn new(caches: &Caches) -> Self {
        Self {
            pods: caches.of(),
            deployments: caches.of(),
            replica_sets: caches.of(),
            autoscalers: caches.of(),
            services: caches.of(),
            endpoints: caches.of(),
            endpoint_slices: caches.of(),
            nodes: caches.of(),
            namespaces: caches.of(),
            config_maps: caches.of(),
            secrets: caches.of(),
            service_accounts: caches.of(),
            leases: caches.of(),
            disruption_budgets: caches.of(),
        }
    }

    /// The objects as they are now.
    #[must_use]
    pub fn objects(&self) -> Objects {
        Objects {
            pods: self.pods.list(),
            deployments: self.deployments.list(),
            replica_sets: self.replica_sets.list(),
            autoscalers: self.autoscalers.list(),
            services: self.services.list(),
            endpoints: self.endpoints.list(),
            endpoint_slices: self.endpoint_slices.list(),
            nodes: self.nodes.list(),
            namespaces: self.namespaces.list(),
            config_maps: self.config_maps.list(),
            secrets: self.secrets.list(),
            service_accounts: self.service_accounts.list(),
            leases: self.leases.list(),
            disruption_budgets: self.disruption_budgets.list(),
        }
    }
}

/// Writes all families about these objects.
pub fn write(objects: &Objects, text: &mut Text) {
    config::config_maps(&objects.config_maps, text);
    workloads::deployments(&objects.deployments, text);
    services::endpoints(&objects.endpoints, text);
    services::endpoint_slices(&objects.endpoint_slices, text);
    autoscalers::write(&objects.autoscalers, text);
    config::leases(&objects.leases, text);
    nodes::namespaces(&objects.namespaces, text);
    nodes::nodes(&objects.nodes, text);
    workloads::disruption_budgets(&objects.disruption_budgets, text);
    pods::write(&objects.pods, text);
    workloads::replica_sets(&objects.replica_sets, text);
    config::secrets(&objects.secrets, text);
    services::services(&objects.services, text);
    config::service_accounts(&objects.service_accounts, text);
}

/// Writes one gauge family, object by object.
fn gauge<T>(
    text: &mut Text,
    name: &str,
    help: &str,
    objects: &[Arc<T>],
    write: impl Fn(&T, &mut FamilyText<'_>),
) {
    family(text, name, help, Kind::Gauge, objects, write);
}

fn family<T>(
    text: &mut Text,
    name: &str,
    help: &str,
    kind: Kind,
    objects: &[Arc<T>],
    write: impl Fn(&T, &mut FamilyText<'_>),
) {
    let mut family = text.family(name, help, kind);
    for object in objects {
        write(object, &mut family);
    }
}

/// The labels that name an object: its namespace and, under its kind's label, its name.
fn named<'a>(metadata: &'a ObjectMeta, kind: &'a str) -> [(&'a str, &'a str); 2] {
    [
        (
            "namespace",
            metadata.namespace.as_deref().unwrap_or_default(),
        ),
        (kind, metadata.name.as_deref().unwrap_or_default()),
    ]
}

/// Writes a sample if there is a value.
fn some(family: &mut FamilyText<'_>, labels: &[(&str, &str)], value: Option<f64>) {
    if let Some(value) = value {
        family.sample(labels, value);
    }
}

/// These labels and more.
fn and<'a>(labels: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    labels.iter().chain(more).copied().collect()
}

/// Takes the labels of an object's sample.
type WriteLabels<'w> = dyn FnMut(&[(&str, &str)]) + 'w;

/// `<kind>_created` of every object.
fn created<T>(
    text: &mut Text,
    kind: &str,
    objects: &[Arc<T>],
    metadata: impl Fn(&T) -> &ObjectMeta,
    labels: impl Fn(&T, &mut WriteLabels<'_>),
) {
    let name = format!("kube_{kind}_created");
    gauge(
        text,
        &name,
        "Unix creation timestamp",
        objects,
        |object, family| {
            if let Some(at) = seconds(metadata(object).creation_timestamp.as_ref()) {
                labels(object, &mut |labels| family.sample(labels, at));
            }
        },
    );
}

/// A time as Unix seconds.
fn seconds(time: Option<&Time>) -> Option<f64> {
    time.map(|time| time.0.as_second() as f64)
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}

/// A quantity as a number; `None` where it cannot be read.
fn amount(quantity: &ApiQuantity) -> Option<f64> {
    Quantity::parse(&quantity.0)
        .ok()
        .map(|quantity| quantity.milli() as f64 / 1000.0)
}

/// A resource's name as a label, and the unit it is counted in.
fn resource_and_unit(resource: &str) -> (String, &'static str) {
    let unit = match resource {
        "cpu" => "core",
        "memory" | "storage" | "ephemeral-storage" => "byte",
        other if other.starts_with("hugepages-") || other.starts_with("attachable-volumes-") => {
            "byte"
        }
        _ => "integer",
    };
    let plain = |char: char| {
        if char.is_ascii_alphanumeric() {
            char
        } else {
            '_'
        }
    };
    (resource.chars().map(plain).collect(), unit)
}

/// The three samples of a condition: one of them is 1.
fn condition_status(
    family: &mut FamilyText<'_>,
    labels: &[(&str, &str)],
    label: &str,
    status: &str,
) {
    for (value, told) in [("true", "True"), ("false", "False"), ("unknown", "Unknown")] {
        family.sample(&and(labels, &[(label, value)]), flag(status == told));
    }
}

/// `<kind>_owner` of an object: one sample for each owner, one with empty labels where there is none.
fn owners(family: &mut FamilyText<'_>, labels: &[(&str, &str)], owners: Option<&[OwnerReference]>) {
    let write = |family: &mut FamilyText<'_>, kind: &str, name: &str, controls: &str| {
        let more = [
            ("owner_kind", kind),
            ("owner_name", name),
            ("owner_is_controller", controls),
        ];
        family.sample(&and(labels, &more), 1.0);
    };
    let owners = owners.unwrap_or_default();
    if owners.is_empty() {
        write(family, "", "", "");
    }
    for owner in owners {
        let controls = owner.controller == Some(true);
        write(
            family,
            &owner.kind,
            &owner.name,
            if controls { "true" } else { "false" },
        );
    }
}
