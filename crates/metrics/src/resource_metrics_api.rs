//! Serves NodeMetrics and PodMetrics as metrics-server does.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};
use springtide_client::{Cache, Caches};
use springtide_machinery::clock::{Clock, rfc3339};
use springtide_machinery::error::{ApiError, GroupResource};
use springtide_machinery::quantity::{Format, Quantity};
use springtide_machinery::selector::{FieldSelector, LabelSelector};

use crate::Usage;

/// The API group served.
pub const GROUP: &str = "metrics.k8s.io";
/// Its version.
pub const VERSION: &str = "v1beta1";

/// A resource of the group, for discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServedResource {
    /// As in `PodMetrics`.
    pub kind: &'static str,
    /// The plural in URLs.
    pub plural: &'static str,
    /// True when its objects live in namespaces.
    pub namespaced: bool,
    /// What can be done with it.
    pub verbs: [&'static str; 2],
}

/// The resources of the group. They have no singular and no short names.
pub const SERVED: [ServedResource; 2] = [
    ServedResource {
        kind: "NodeMetrics",
        plural: "nodes",
        namespaced: false,
        verbs: ["get", "list"],
    },
    ServedResource {
        kind: "PodMetrics",
        plural: "pods",
        namespaced: true,
        verbs: ["get", "list"],
    },
];

/// What is served is known of these.
#[derive(Clone)]
struct Known {
    usage: Usage,
    nodes: Cache<Node>,
    pods: Cache<Pod>,
    clock: Clock,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selection {
    #[serde(default)]
    label_selector: String,
    #[serde(default)]
    field_selector: String,
}

/// The usage of a node or a pod, ready to be shown.
struct Shown {
    object: Value,
    /// The cells of its row in a table.
    cells: Vec<Value>,
}

type Answer = Result<Response, Refusal>;

/// An error as a Status.
struct Refusal(ApiError);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.0.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        body(code, &self.0.to_value())
    }
}

/// The API's paths below `/apis/metrics.k8s.io/v1beta1`. Labels come from the cached nodes and pods.
pub fn router(usage: Usage, caches: &Caches, clock: Clock) -> Router {
    Known {
        usage,
        nodes: caches.of(),
        pods: caches.of(),
        clock,
    }
    .router()
}

async fn list_nodes(
    State(known): State<Known>,
    Query(selection): Query<Selection>,
    headers: HeaderMap,
) -> Answer {
    let selectors = selection.read()?;
    let nodes = known.nodes.list();
    let selected = nodes.iter().filter(|node| selectors.select(&node.metadata));
    Ok(list(
        "NodeMetricsList",
        selected.filter_map(|node| known.node(node)).collect(),
        &headers,
    ))
}

async fn get_node(
    State(known): State<Known>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Answer {
    let shown = known
        .nodes
        .get("", &name)
        .and_then(|node| known.node(&node));
    shown
        .map(|shown| one(shown, &headers))
        .ok_or_else(|| not_found("nodemetrics", &name))
}

async fn list_all_pods(
    State(known): State<Known>,
    Query(selection): Query<Selection>,
    headers: HeaderMap,
) -> Answer {
    pods(&known, &known.pods.list(), &selection, &headers)
}

async fn list_pods(
    State(known): State<Known>,
    Path(namespace): Path<String>,
    Query(selection): Query<Selection>,
    headers: HeaderMap,
) -> Answer {
    pods(
        &known,
        &known.pods.list_in(&namespace),
        &selection,
        &headers,
    )
}

fn pods(
    known: &Known,
    pods: &[std::sync::Arc<Pod>],
    selection: &Selection,
    headers: &HeaderMap,
) -> Answer {
    let selectors = selection.read()?;
    let selected = pods.iter().filter(|pod| selectors.select(&pod.metadata));
    Ok(list(
        "PodMetricsList",
        selected.filter_map(|pod| known.pod(pod)).collect(),
        headers,
    ))
}

async fn get_pod(
    State(known): State<Known>,
    Path((namespace, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let shown = known
        .pods
        .get(&namespace, &name)
        .and_then(|pod| known.pod(&pod));
    shown
        .map(|shown| one(shown, &headers))
        .ok_or_else(|| not_found("podmetrics", &format!("{namespace}/{name}")))
}

// === impl Known ===

impl Known {
    fn router(self) -> Router {
        let root = format!("/apis/{GROUP}/{VERSION}");
        Router::new()
            .route(&format!("{root}/nodes"), get(list_nodes))
            .route(&format!("{root}/nodes/{{name}}"), get(get_node))
            .route(&format!("{root}/pods"), get(list_all_pods))
            .route(
                &format!("{root}/namespaces/{{namespace}}/pods"),
                get(list_pods),
            )
            .route(
                &format!("{root}/namespaces/{{namespace}}/pods/{{name}}"),
                get(get_pod),
            )
            .with_state(self)
    }

    fn node(&self, node: &Node) -> Option<Shown> {
        let name = node.metadata.name.as_deref()?;
        let found = self.usage.node(name)?;
        let object = json!({
            "kind": "NodeMetrics",
            "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": self.metadata(&node.metadata),
            "timestamp": rfc3339(found.at),
            "window": go_duration(found.window),
            "usage": usage(found.cpu_nanos, found.memory_bytes),
        });
        Some(Shown {
            cells: cells(name, found.cpu_nanos, found.memory_bytes, found.window),
            object,
        })
    }

    fn pod(&self, pod: &Pod) -> Option<Shown> {
        let name = pod.metadata.name.as_deref()?;
        let found = self.usage.pod(pod.metadata.namespace.as_deref()?, name)?;
        let containers = found.containers.iter().map(|container| {
            json!({ "name": container.name, "usage": usage(container.cpu_nanos, container.memory_bytes) })
        });
        let object = json!({
            "kind": "PodMetrics",
            "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": self.metadata(&pod.metadata),
            "timestamp": rfc3339(found.at),
            "window": go_duration(found.window),
            "containers": containers.collect::<Vec<_>>(),
        });
        let cpu = found
            .containers
            .iter()
            .map(|container| container.cpu_nanos)
            .sum();
        let memory = found
            .containers
            .iter()
            .map(|container| container.memory_bytes)
            .sum();
        Some(Shown {
            cells: cells(name, cpu, memory, found.window),
            object,
        })
    }

    /// Name, namespace and labels; such an object is made when it is asked for.
    fn metadata(&self, of: &ObjectMeta) -> Value {
        let now: Timestamp = self.clock.now();
        let mut metadata = json!({ "name": of.name, "creationTimestamp": rfc3339(now) });
        if let Some(namespace) = &of.namespace {
            metadata["namespace"] = json!(namespace);
        }
        if let Some(labels) = &of.labels {
            metadata["labels"] = json!(labels);
        }
        metadata
    }
}

// === impl Selection ===

struct Selectors {
    labels: LabelSelector,
    fields: FieldSelector,
}

impl Selection {
    fn read(&self) -> Result<Selectors, Refusal> {
        let bad = |error: springtide_machinery::selector::SelectorError| {
            Refusal(ApiError::bad_request(error.to_string()))
        };
        Ok(Selectors {
            labels: LabelSelector::parse(&self.label_selector).map_err(bad)?,
            fields: FieldSelector::parse(&self.field_selector).map_err(bad)?,
        })
    }
}

impl Selectors {
    fn select(&self, metadata: &ObjectMeta) -> bool {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        let fields = [
            (
                "metadata.name",
                metadata.name.as_deref().unwrap_or_default(),
            ),
            (
                "metadata.namespace",
                metadata.namespace.as_deref().unwrap_or_default(),
            ),
        ];
        self.labels
            .matches(metadata.labels.as_ref().unwrap_or(&NONE))
            && self.fields.matches(&fields)
    }
}

fn cpu(nanos: u64) -> String {
    Quantity::from_nanos(i128::from(nanos), Format::DecimalSi).to_string()
}

fn memory(bytes: u64) -> String {
    Quantity::from_units(i64::try_from(bytes).unwrap_or(i64::MAX), Format::BinarySi).to_string()
}

fn usage(cpu_nanos: u64, memory_bytes: u64) -> Value {
    json!({ "cpu": cpu(cpu_nanos), "memory": memory(memory_bytes) })
}

fn cells(name: &str, cpu_nanos: u64, memory_bytes: u64, window: Duration) -> Vec<Value> {
    vec![
        json!(name),
        json!(cpu(cpu_nanos)),
        json!(memory(memory_bytes)),
        json!(go_duration(window)),
    ]
}

/// A duration as Go prints it: `5.012s`, `1m0s`, `500ms`.
fn go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let fraction = |nanos: u128, unit: u128, digits: usize| {
        let text = format!("{}.{:0digits$}", nanos / unit, nanos % unit);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match nanos {
        0..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", fraction(nanos, 1_000, 3)),
        1_000_000..1_000_000_000 => format!("{}ms", fraction(nanos, 1_000_000, 6)),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let seconds = fraction(nanos % 60_000_000_000, 1_000_000_000, 9);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

fn not_found(resource: &str, name: &str) -> Refusal {
    Refusal(ApiError::not_found(
        GroupResource::new(GROUP, resource),
        name,
    ))
}

fn one(shown: Shown, headers: &HeaderMap) -> Response {
    if wants_table(headers) {
        table(vec![shown])
    } else {
        body(StatusCode::OK, &shown.object)
    }
}

fn list(kind: &str, items: Vec<Shown>, headers: &HeaderMap) -> Response {
    if wants_table(headers) {
        return table(items);
    }
    let items: Vec<Value> = items
        .into_iter()
        .map(|shown| {
            let mut object = shown.object;
            // Items of a typed list do not say what they are.
            if let Some(fields) = object.as_object_mut() {
                fields.remove("kind");
                fields.remove("apiVersion");
            }
            object
        })
        .collect();
    let list = json!({ "kind": kind, "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items });
    body(StatusCode::OK, &list)
}

fn wants_table(headers: &HeaderMap) -> bool {
    let accepted = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let has = |what: &str| range.split(';').any(|parameter| parameter.trim() == what);
        has("as=Table") && has("g=meta.k8s.io")
    })
}

fn table(items: Vec<Shown>) -> Response {
    let column = |name: &str, format: &str| json!({ "name": name, "type": "string", "format": format, "description": "", "priority": 0 });
    let rows = items.into_iter().map(|shown| {
        let object = json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": shown.object["metadata"],
        });
        json!({ "cells": shown.cells, "object": object })
    });
    let table = json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [
            column("Name", "name"),
            column("cpu", "quantity"),
            column("memory", "quantity"),
            column("Window", "duration"),
        ],
        "rows": rows.collect::<Vec<_>>(),
    });
    body(StatusCode::OK, &table)
}

fn body(code: StatusCode, value: &Value) -> Response {
    (
        code,
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
        .into_response()
}

#[cfg(test)]
mod tests;
