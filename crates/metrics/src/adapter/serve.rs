//! `custom.metrics.k8s.io` and `external.metrics.k8s.io`.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};
use springtide_machinery::clock::rfc3339;
use springtide_machinery::error::ApiError;
use springtide_machinery::selector::LabelSelector;

use super::answer::{Adapter, not_found, quantity};
use super::catalog::CustomMetric;
use super::resources::ObjectKind;

/// The group of metrics of objects.
pub const CUSTOM_GROUP: &str = "custom.metrics.k8s.io";
/// Its versions; they differ in how a metric is named.
pub const CUSTOM_VERSIONS: [&str; 2] = ["v1beta2", "v1beta1"];
/// The group of metrics of anything else.
pub const EXTERNAL_GROUP: &str = "external.metrics.k8s.io";
/// Its version.
pub const EXTERNAL_VERSION: &str = "v1beta1";

#[derive(Clone)]
struct Custom {
    adapter: Adapter,
    version: &'static str,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Selection {
    #[serde(default)]
    label_selector: String,
    #[serde(default)]
    metric_label_selector: String,
}

struct Refusal(ApiError);

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.0.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        body(code, &self.0.to_value())
    }
}

fn body(code: StatusCode, value: &Value) -> Response {
    (
        code,
        [(header::CONTENT_TYPE, "application/json")],
        value.to_string(),
    )
        .into_response()
}

impl Adapter {
    /// The paths below `/apis/custom.metrics.k8s.io/VERSION`.
    pub fn custom(&self, version: &'static str) -> Router {
        let root = format!("/apis/{CUSTOM_GROUP}/{version}");
        Router::new()
            .route(
                &format!("{root}/namespaces/{{namespace}}/{{resource}}/{{name}}/{{metric}}"),
                get(namespaced),
            )
            .route(
                &format!("{root}/{{resource}}/{{name}}/{{metric}}"),
                get(in_no_namespace),
            )
            .route(
                &format!("{root}/namespaces/{{namespace}}/metrics/{{metric}}"),
                get(of_namespace),
            )
            .with_state(Custom {
                adapter: self.clone(),
                version,
            })
    }

    /// The paths below `/apis/external.metrics.k8s.io/v1beta1`.
    pub fn external(&self) -> Router {
        let path = format!(
            "/apis/{EXTERNAL_GROUP}/{EXTERNAL_VERSION}/namespaces/{{namespace}}/{{metric}}"
        );
        Router::new()
            .route(&path, get(external))
            .with_state(self.clone())
    }
}

async fn namespaced(
    State(custom): State<Custom>,
    Path((namespace, resource, name, metric)): Path<(String, String, String, String)>,
    Query(selection): Query<Selection>,
) -> Result<Response, Refusal> {
    custom
        .answer(Some(&namespace), &resource, &name, &metric, &selection)
        .await
}

async fn in_no_namespace(
    State(custom): State<Custom>,
    Path((resource, name, metric)): Path<(String, String, String)>,
    Query(selection): Query<Selection>,
) -> Result<Response, Refusal> {
    custom
        .answer(None, &resource, &name, &metric, &selection)
        .await
}

async fn of_namespace(
    State(custom): State<Custom>,
    Path((namespace, metric)): Path<(String, String)>,
    Query(selection): Query<Selection>,
) -> Result<Response, Refusal> {
    custom
        .answer(None, "namespaces", &namespace, &metric, &selection)
        .await
}

async fn external(
    State(adapter): State<Adapter>,
    Path((namespace, metric)): Path<(String, String)>,
    Query(selection): Query<Selection>,
) -> Result<Response, Refusal> {
    let selector = parse(&selection.label_selector, "labelSelector")?;
    let found = adapter
        .external_values(&namespace, &metric, &selector)
        .await?;
    let now = rfc3339(adapter.now());
    let items = found.iter().map(|found| {
        let labels: BTreeMap<&str, &str> = found.labels.iter().collect();
        json!({"metricName": metric, "metricLabels": labels, "timestamp": now, "value": quantity(found.value)})
    });
    let list = json!({
        "kind": "ExternalMetricValueList",
        "apiVersion": format!("{EXTERNAL_GROUP}/{EXTERNAL_VERSION}"),
        "metadata": {},
        "items": items.collect::<Vec<_>>(),
    });
    Ok(body(StatusCode::OK, &list))
}

fn parse(text: &str, parameter: &str) -> Result<LabelSelector, ApiError> {
    LabelSelector::parse(text)
        .map_err(|error| ApiError::bad_request(format!("{parameter}: {error}")))
}

// === impl Custom ===

impl Custom {
    async fn answer(
        &self,
        namespace: Option<&str>,
        resource: &str,
        name: &str,
        metric: &str,
        selection: &Selection,
    ) -> Result<Response, Refusal> {
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        let kind = ObjectKind::find(group, plural).ok_or_else(|| not_found(metric, resource))?;
        let wanted = CustomMetric {
            namespaced: namespace.is_some(),
            name: metric.to_owned(),
            kind,
        };
        let metric_selector = parse(&selection.metric_label_selector, "metricLabelSelector")?;
        let names = if name == "*" {
            self.selected(&wanted.kind, namespace, &selection.label_selector)
                .await?
        } else {
            vec![name.to_owned()]
        };
        let values = self
            .adapter
            .custom_values(&wanted, namespace, &names, &metric_selector)
            .await?;
        if name != "*" && values.is_empty() {
            let message = format!(
                "the server could not find the metric {metric} for {} {name}",
                wanted.kind.qualified()
            );
            return Err(ApiError::not_found_message(message).into());
        }
        let selector = (!selection.metric_label_selector.is_empty())
            .then(|| selector_object(&metric_selector));
        let items = values.iter().filter(|(name, _)| names.contains(name));
        let items: Vec<Value> = items
            .map(|(name, value)| self.item(&wanted, namespace, name, *value, selector.as_ref()))
            .collect();
        let list = json!({
            "kind": "MetricValueList",
            "apiVersion": format!("{CUSTOM_GROUP}/{}", self.version),
            "metadata": {},
            "items": items,
        });
        Ok(body(StatusCode::OK, &list))
    }

    fn item(
        &self,
        metric: &CustomMetric,
        namespace: Option<&str>,
        name: &str,
        value: f64,
        selector: Option<&Value>,
    ) -> Value {
        let row = metric.kind.row();
        let mut object = json!({"name": name});
        if let Some(row) = row {
            object["kind"] = json!(row.kind);
            object["apiVersion"] =
                json!(format!("/{}", row.storage_version).trim_start_matches('/'));
            if !row.group.is_empty() {
                object["apiVersion"] = json!(row.storage_api_version());
            }
        }
        if let Some(namespace) = namespace {
            object["namespace"] = json!(namespace);
        }
        let mut item = json!({
            "describedObject": object,
            "timestamp": rfc3339(self.adapter.now()),
            "value": quantity(value),
        });
        if self.version == "v1beta1" {
            item["metricName"] = json!(metric.name);
            item["selector"] = selector.cloned().unwrap_or(Value::Null);
        } else {
            item["metric"] = json!({"name": metric.name});
            if let Some(selector) = selector {
                item["metric"]["selector"] = selector.clone();
            }
        }
        item
    }

    /// The names of the objects that a selector selects, asked of the API.
    async fn selected(
        &self,
        kind: &ObjectKind,
        namespace: Option<&str>,
        selector: &str,
    ) -> Result<Vec<String>, ApiError> {
        parse(selector, "labelSelector")?;
        let row = kind.row().ok_or_else(|| {
            ApiError::bad_request(format!("there is no resource {}", kind.qualified()))
        })?;
        let resource = kube::api::ApiResource {
            group: row.group.to_string(),
            version: row.storage_version.to_string(),
            api_version: row.storage_api_version(),
            kind: row.kind.to_string(),
            plural: row.plural.to_string(),
        };
        let client = self.adapter.client.clone();
        let api: kube::Api<kube::api::DynamicObject> = match namespace {
            Some(namespace) => kube::Api::namespaced_with(client, namespace, &resource),
            None => kube::Api::all_with(client, &resource),
        };
        let wanted = kube::api::ListParams::default().labels(selector);
        let listed = api.list_metadata(&wanted).await.map_err(|error| {
            ApiError::internal(format!("unable to list matching resources: {error}"))
        })?;
        let names = listed
            .items
            .into_iter()
            .filter_map(|object| object.metadata.name);
        Ok(names.collect())
    }
}

fn selector_object(selector: &LabelSelector) -> Value {
    let requirements = selector.requirements().iter().map(|requirement| {
        use springtide_machinery::selector::Operator;
        let operator = match requirement.operator() {
            Operator::NotEquals | Operator::NotIn => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
            _ => "In",
        };
        json!({"key": requirement.key(), "operator": operator, "values": requirement.values()})
    });
    json!({"matchExpressions": requirements.collect::<Vec<_>>()})
}
