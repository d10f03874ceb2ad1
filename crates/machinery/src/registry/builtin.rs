//! The rows that ship with the program.

use std::sync::Arc;

use super::event_versions::EVENTS_V1;
use super::hpa_versions::HPA_V1;
use super::resource::{
    ALL_VERBS, BuiltIn, Conversion, Name, Propagation, Resource, ScalePaths, SchemaSource, Served,
    Subresource,
};
use crate::strategy;

/// What a row says in compile-time strings.
struct Row {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
    categories: &'static [&'static str],
    namespaced: bool,
    /// The definition of the stored version.
    definition: &'static str,
    /// Group, version, definition and conversion of further versions.
    also: &'static [(&'static str, &'static str, &'static str, Conversion)],
    subresources: &'static [fn() -> Subresource],
    rules: fn() -> BuiltIn,
}

const STATUS: fn() -> Subresource = || Subresource::Status;
const SCALE: fn() -> Subresource = || Subresource::Scale(ScalePaths::usual());

/// The table, in the order discovery lists kinds.
const ROWS: [Row; 17] = [
    Row {
        group: "",
        version: "v1",
        kind: "ConfigMap",
        plural: "configmaps",
        short_names: &["cm"],
        categories: &[],
        namespaced: true,
        definition: "io.k8s.api.core.v1.ConfigMap",
        also: &[],
        subresources: &[],
        rules: strategy::config_map,
    },
    Row {
        group: "",
        version: "v1",
        kind: "Endpoints",
        plural: "endpoints",
        short_names: &["ep"],
        categories: &[],
        namespaced: true,
        definition: "io.k8s.api.core.v1.Endpoints",
        also: &[],
        subresources: &[],
        rules: strategy::endpoints,
    },
    Row {
        group: "",
        version: "v1",
        kind: "Event",
        plural: "events",
        short_names: &["ev"],
        categories: &[],
        namespaced: true,
        definition: "io.k8s.api.core.v1.Event",
        also: &[(
            "events.k8s.io",
            "v1",
            "io.k8s.api.events.v1.Event",
            EVENTS_V1,
        )],
        subresources: &[],
        rules: strategy::event,
    },
    Row {
        group: "",
        version: "v1",
        kind: "Namespace",
        plural: "namespaces",
        short_names: &["ns"],
        categories: &[],
        namespaced: false,
        definition: "io.k8s.api.core.v1.Namespace",
        also: &[],
        subresources: &[STATUS, || Subresource::Finalize],
        rules: strategy::namespace,
    },
    Row {
        group: "",
        version: "v1",
        kind: "Node",
        plural: "nodes",
        short_names: &["no"],
        categories: &[],
        namespaced: false,
        definition: "io.k8s.api.core.v1.Node",
        also: &[],
        subresources: &[STATUS, || Subresource::Proxy],
        rules: strategy::node,
    },
    Row {
        group: "",
        version: "v1",
        kind: "Pod",
        plural: "pods",
        short_names: &["po"],
        categories: &["all"],
        namespaced: true,
        definition: "io.k8s.api.core.v1.Pod",
        also: &[],
        subresources: &[
            STATUS,
            || Subresource::Log,
            || Subresource::Exec,
            || Subresource::Attach,
            || Subresource::Binding,
            || Subresource::Eviction,
        ],
        rules: strategy::pod,
    },
    Row {
        group: "",
        version: "v1",
        kind: "Secret",
        plural: "secrets",
        short_names: &[],
        categories: &[],
        namespaced: true,
        definition: "io.k8s.api.core.v1.Secret",
        also: &[],
        subresources: &[],
        rules: strategy::secret,
    },
    Row {
        group: "",
        version: "v1",
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        short_names: &["sa"],
        categories: &[],
        namespaced: true,
        definition: "io.k8s.api.core.v1.ServiceAccount",
        also: &[],
        subresources: &[],
        rules: strategy::service_account,
    },
    Row {
        group: "",
        version: "v1",
        kind: "Service",
        plural: "services",
        short_names: &["svc"],
        categories: &["all"],
        namespaced: true,
        definition: "io.k8s.api.core.v1.Service",
        also: &[],
        subresources: &[STATUS],
        rules: strategy::service,
    },
    Row {
        group: "apps",
        version: "v1",
        kind: "ControllerRevision",
        plural: "controllerrevisions",
        short_names: &[],
        categories: &[],
        namespaced: true,
        definition: "io.k8s.api.apps.v1.ControllerRevision",
        also: &[],
        subresources: &[],
        rules: strategy::controller_revision,
    },
    Row {
        group: "apps",
        version: "v1",
        kind: "Deployment",
        plural: "deployments",
        short_names: &["deploy"],
        categories: &["all"],
        namespaced: true,
        definition: "io.k8s.api.apps.v1.Deployment",
        also: &[],
        subresources: &[STATUS, SCALE],
        rules: strategy::deployment,
    },
    Row {
        group: "apps",
        version: "v1",
        kind: "ReplicaSet",
        plural: "replicasets",
        short_names: &["rs"],
        categories: &["all"],
        namespaced: true,
        definition: "io.k8s.api.apps.v1.ReplicaSet",
        also: &[],
        subresources: &[STATUS, SCALE],
        rules: strategy::replica_set,
    },
    Row {
        group: "autoscaling",
        version: "v2",
        kind: "HorizontalPodAutoscaler",
        plural: "horizontalpodautoscalers",
        short_names: &["hpa"],
        categories: &["all"],
        namespaced: true,
        definition: "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
        also: &[(
            "autoscaling",
            "v1",
            "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
            HPA_V1,
        )],
        subresources: &[STATUS],
        rules: strategy::horizontal_pod_autoscaler,
    },
    Row {
        group: "coordination.k8s.io",
        version: "v1",
        kind: "Lease",
        plural: "leases",
        short_names: &[],
        categories: &[],
        namespaced: true,
        definition: "io.k8s.api.coordination.v1.Lease",
        also: &[],
        subresources: &[],
        rules: strategy::lease,
    },
    Row {
        group: "discovery.k8s.io",
        version: "v1",
        kind: "EndpointSlice",
        plural: "endpointslices",
        short_names: &[],
        categories: &[],
        namespaced: true,
        definition: "io.k8s.api.discovery.v1.EndpointSlice",
        also: &[],
        subresources: &[],
        rules: strategy::endpoint_slice,
    },
    Row {
        group: "node.k8s.io",
        version: "v1",
        kind: "RuntimeClass",
        plural: "runtimeclasses",
        short_names: &[],
        categories: &[],
        namespaced: false,
        definition: "io.k8s.api.node.v1.RuntimeClass",
        also: &[],
        subresources: &[],
        rules: strategy::runtime_class,
    },
    Row {
        group: "policy",
        version: "v1",
        kind: "PodDisruptionBudget",
        plural: "poddisruptionbudgets",
        short_names: &["pdb"],
        categories: &[],
        namespaced: true,
        definition: "io.k8s.api.policy.v1.PodDisruptionBudget",
        also: &[],
        subresources: &[STATUS],
        rules: strategy::pod_disruption_budget,
    },
];

pub(super) fn rows() -> impl Iterator<Item = Resource> {
    ROWS.iter().map(resource)
}

fn resource(row: &Row) -> Resource {
    let mut served = vec![Served {
        group: row.group.into(),
        version: row.version.into(),
        definition: row.definition.into(),
        conversion: None,
        schema: SchemaSource::BuiltIn,
    }];
    for (group, version, definition, conversion) in row.also {
        served.push(Served {
            group: (*group).into(),
            version: (*version).into(),
            definition: (*definition).into(),
            conversion: Some(*conversion),
            schema: SchemaSource::BuiltIn,
        });
    }
    let collection = if row.group.is_empty() {
        row.plural.to_owned()
    } else {
        format!("{}/{}", row.group, row.plural)
    };
    let names = |list: &'static [&'static str]| list.iter().map(|name| Name::from(*name)).collect();
    Resource {
        group: row.group.into(),
        storage_version: row.version.into(),
        served,
        kind: row.kind.into(),
        list_kind: format!("{}List", row.kind).into(),
        plural: row.plural.into(),
        singular: row.kind.to_lowercase().into(),
        short_names: names(row.short_names),
        categories: names(row.categories),
        namespaced: row.namespaced,
        collection: collection.into(),
        subresources: row.subresources.iter().map(|make| make()).collect(),
        verbs: ALL_VERBS.to_vec(),
        default_propagation: Propagation::Background,
        strategy: Arc::new((row.rules)()),
    }
}
