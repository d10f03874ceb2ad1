//! `binding`: the scheduler's decision where a pod runs.

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use springtide_machinery::clock::rfc3339;
use springtide_machinery::error::{ApiError, FieldError, GroupKind, GroupResource};
use springtide_machinery::registry::Part;

use crate::api::{Api, Call, read_object};
use crate::decode::Expected;
use crate::options::WriteOptions;
use crate::request::{Query, ResourcePath};
use crate::respond;
use crate::write::update::Target;
use crate::write::{is_deleting, metadata_text};

/// Answers a POST to `pods/NAME/binding`.
pub(crate) async fn create(call: &Call<'_>, body: Body) -> Result<Response, ApiError> {
    let place = (call.namespace(), Some(call.name()));
    bind(call.api, place, call.parts, call.query, body).await
}

/// Whether a path is `/api/v1/namespaces/NAMESPACE/bindings`, the old way to bind.
pub(crate) fn is_bindings(path: &ResourcePath<'_>) -> bool {
    let core = path.group.is_empty() && path.version == "v1";
    core && path.plural == "bindings" && path.name.is_none() && path.namespace.is_some()
}

/// Answers a POST to `bindings`, where the body names the pod.
pub(crate) async fn create_at_collection(
    api: &Api,
    path: &ResourcePath<'_>,
    parts: &Parts,
    query: &Query<'_>,
    body: Body,
) -> Result<Response, ApiError> {
    if parts.method != Method::POST {
        let verb = parts.method.as_str().to_ascii_lowercase();
        let resource = GroupResource::new("", "bindings");
        return Err(ApiError::method_not_supported(resource, &verb));
    }
    let namespace = path.namespace.as_deref().unwrap_or_default();
    bind(api, (namespace, None), parts, query, body).await
}

async fn bind(
    api: &Api,
    (namespace, pod): (&str, Option<&str>),
    parts: &Parts,
    query: &Query<'_>,
    body: Body,
) -> Result<Response, ApiError> {
    let options = WriteOptions::parse(query, "CreateOptions")?;
    let mut decoded = read_object(parts, body, "Binding").await?;
    let expected = Expected {
        api_version: "v1",
        kind: "Binding",
        schema: None,
    };
    expected.check(&mut decoded, options.validation)?;
    let binding = decoded.value;
    let name = metadata_text(&binding, "name").to_owned();
    let name = pod.unwrap_or(&name);
    let node = binding["target"]["name"].as_str().unwrap_or_default();
    if node.is_empty() {
        let error = FieldError::required("target.name", "");
        let kind = GroupKind::new("", "Binding");
        return Err(ApiError::invalid(kind, name, &[error]));
    }
    let Some(route) = api.routes.find("", "v1", "pods") else {
        return Err(ApiError::unknown_resource());
    };
    let target = Target {
        api,
        route,
        namespace,
        name,
        part: Part::Main,
    };
    let conflict =
        |why: String| ApiError::conflict(GroupResource::new("", "pods/binding"), name, why);
    let now = rfc3339(api.clock.now());
    target
        .overwrite(options.dry_run, |pod| {
            let wanted = metadata_text(&binding, "uid");
            crate::write::update::check_uid(route, name, wanted, pod)?;
            if is_deleting(pod) {
                return Err(conflict(format!(
                    "pod {name} is being deleted, cannot be assigned to a host"
                )));
            }
            let assigned = pod["spec"]["nodeName"].as_str().unwrap_or_default();
            if !assigned.is_empty() {
                return Err(conflict(format!(
                    "pod {name} is already assigned to node {assigned:?}"
                )));
            }
            pod["spec"]["nodeName"] = json!(node);
            if let Some(annotations) = binding["metadata"]["annotations"].as_object() {
                if !pod["metadata"]["annotations"].is_object() {
                    pod["metadata"]["annotations"] = json!({});
                }
                for (key, value) in annotations {
                    pod["metadata"]["annotations"][key] = value.clone();
                }
            }
            set_scheduled(pod, &now);
            Ok(())
        })
        .await?;
    let success = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "code": 201,
    });
    Ok(respond::json(StatusCode::CREATED, &success))
}

fn set_scheduled(pod: &mut Value, now: &str) {
    if !pod["status"].is_object() {
        pod["status"] = json!({});
    }
    if !pod["status"]["conditions"].is_array() {
        pod["status"]["conditions"] = json!([]);
    }
    let condition = json!({
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": null,
        "lastTransitionTime": now,
    });
    if let Some(conditions) = pod["status"]["conditions"].as_array_mut() {
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        conditions.push(condition);
    }
}
