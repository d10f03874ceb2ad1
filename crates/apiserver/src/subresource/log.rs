//! `log`: what a container wrote, streamed from its node's kubelet.

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::Response;
use futures::StreamExt as _;
use http::{HeaderValue, Request, StatusCode, header};
use serde_json::Value;
use springtide_machinery::error::{ApiError, FieldError, GroupKind};
use tower::ServiceExt as _;

use crate::api::Call;
use crate::decode;
use crate::encode;
use crate::respond;

/// What is passed on to the kubelet.
const OPTIONS: [&str; 7] = [
    "follow",
    "tailLines",
    "sinceSeconds",
    "sinceTime",
    "timestamps",
    "previous",
    "limitBytes",
];

/// Answers a GET of `pods/NAME/log`.
pub(crate) async fn answer(call: &Call<'_>) -> Result<Response, ApiError> {
    let key = call.route.key(call.namespace(), call.name());
    let not_found = || ApiError::not_found(call.route.group_resource(), call.name());
    let stored = call.api.store.get(&key).ok_or_else(not_found)?;
    let pod = encode::parse(&stored.bytes);
    check_options(call)?;
    let container = container(&pod, call.name(), call.query.text("container"))?;
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if node.is_empty() {
        return Err(ApiError::bad_request(format!(
            "pod {} does not have a host assigned",
            call.name()
        )));
    }
    let kubelet = call.api.kubelets.of(node)?;
    let mut uri = format!(
        "/containerLogs/{}/{}/{container}",
        call.namespace(),
        call.name()
    );
    let mut separator = '?';
    for option in OPTIONS {
        if let Some(value) = call.query.text(option) {
            // Only `sinceTime` has letters that need escaping.
            let value = value
                .replace('%', "%25")
                .replace('+', "%2B")
                .replace('&', "%26");
            let _ = write!(uri, "{separator}{option}={value}");
            separator = '&';
        }
    }
    let request = Request::get(uri)
        .body(Body::empty())
        .map_err(|_| ApiError::bad_request("the log's options cannot be passed on"))?;
    let Ok(response) = kubelet.oneshot(request).await;
    let (parts, body) = response.into_parts();
    if !parts.status.is_success() {
        let text = decode::read(body).await?;
        let text = String::from_utf8_lossy(&text);
        return Err(match parts.status {
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => {
                ApiError::bad_request(text.trim_end())
            }
            _ => ApiError::internal(text.trim_end()),
        });
    }
    let media_type = parts
        .headers
        .get(header::CONTENT_TYPE)
        .cloned()
        .unwrap_or(HeaderValue::from_static("text/plain"));
    let stopped = call.api.shutdown.clone().cancelled_owned();
    let stream = body.into_data_stream().take_until(Box::pin(stopped));
    Ok(respond::with_type(
        StatusCode::OK,
        media_type,
        Body::from_stream(stream),
    ))
}

fn check_options(call: &Call<'_>) -> Result<(), ApiError> {
    let mut errors = Vec::new();
    for (option, least) in [("tailLines", 0), ("sinceSeconds", 1), ("limitBytes", 1)] {
        let Some(text) = call.query.text(option) else {
            continue;
        };
        let number: i64 = text.parse().map_err(|_| {
            ApiError::bad_request(format!("{option}: Invalid value: {text:?}: not a number"))
        })?;
        if number < least {
            let detail = if least == 0 {
                "must be greater than or equal to 0"
            } else {
                "must be greater than 0"
            };
            errors.push(FieldError::invalid(option, number, detail));
        }
    }
    if call.query.text("sinceSeconds").is_some() && call.query.text("sinceTime").is_some() {
        errors.push(FieldError::forbidden(
            "",
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        ));
    }
    if errors.is_empty() {
        return Ok(());
    }
    let kind = GroupKind::new("", "PodLogOptions");
    Err(ApiError::invalid(kind, call.name(), &errors))
}

fn names<'p>(pod: &'p Value, field: &str) -> Vec<&'p str> {
    let list = pod["spec"][field].as_array().into_iter().flatten();
    list.filter_map(|container| container["name"].as_str())
        .collect()
}

/// The container that is asked for, or the only one.
pub(super) fn container<'a>(
    pod: &'a Value,
    name: &str,
    wanted: Option<&'a str>,
) -> Result<&'a str, ApiError> {
    let containers = names(pod, "containers");
    let init = names(pod, "initContainers");
    match (wanted, containers.as_slice()) {
        (Some(wanted), _) => {
            let known = containers.contains(&wanted)
                || init.contains(&wanted)
                || names(pod, "ephemeralContainers").contains(&wanted);
            if known {
                return Ok(wanted);
            }
            Err(ApiError::bad_request(format!(
                "container {wanted} is not valid for pod {name}"
            )))
        }
        (None, [only]) => Ok(only),
        (None, []) => Err(ApiError::bad_request(format!(
            "a container name must be specified for pod {name}"
        ))),
        (None, _) => {
            let mut message = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                containers.join(" ")
            );
            if !init.is_empty() {
                let _ = write!(
                    message,
                    " or one of the init containers: [{}]",
                    init.join(" ")
                );
            }
            Err(ApiError::bad_request(message))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_with_several_containers_needs_a_name() {
        let pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        let refused = container(&pod, "web", None).expect_err("refused");
        assert_eq!(
            refused.message(),
            "a container name must be specified for pod web, choose one of: [a b] or one of the init containers: [i]"
        );
        assert_eq!(container(&pod, "web", Some("i")), Ok("i"));
        let refused = container(&pod, "web", Some("x")).expect_err("refused");
        assert_eq!(refused.message(), "container x is not valid for pod web");
    }
}
