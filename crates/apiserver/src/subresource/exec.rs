//! `exec` and `attach`: talking with a container, or a command in it, through its node's kubelet,
//! which takes over this server's connection.

use axum::body::Body;
use axum::response::Response;
use http::{Method, Request, StatusCode};
use hyper::upgrade::OnUpgrade;
use springtide_machinery::error::ApiError;
use tower::ServiceExt as _;

use super::log::container;
use crate::api::Call;
use crate::decode;
use crate::encode;

/// Answers a GET or POST of `pods/NAME/exec` or `pods/NAME/attach`.
pub(crate) async fn answer(call: &Call<'_>, subresource: &str) -> Result<Response, ApiError> {
    if !matches!(call.parts.method, Method::GET | Method::POST) {
        return Err(call.not_supported());
    }
    let key = call.route.key(call.namespace(), call.name());
    let not_found = || ApiError::not_found(call.route.group_resource(), call.name());
    let stored = call.api.store.get(&key).ok_or_else(not_found)?;
    let pod = encode::parse(&stored.bytes);
    let container = container(&pod, call.name(), call.query.text("container"))?;
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if node.is_empty() {
        return Err(ApiError::bad_request(format!(
            "pod {} does not have a host assigned",
            call.name()
        )));
    }
    let kubelet = call.api.kubelets.of(node)?;
    let uri = format!(
        "/{subresource}/{}/{}/{container}?{}",
        call.namespace(),
        call.name(),
        call.parts.uri.query().unwrap_or_default()
    );
    let mut request = Request::new(Body::empty());
    *request.method_mut() = call.parts.method.clone();
    *request.uri_mut() = uri
        .parse()
        .map_err(|_| ApiError::bad_request("the command cannot be passed on"))?;
    *request.headers_mut() = call.parts.headers.clone();
    // What makes this connection the kubelet's, once its answer is on its way.
    if let Some(upgrade) = call.parts.extensions.get::<OnUpgrade>() {
        request.extensions_mut().insert(upgrade.clone());
    }
    let Ok(response) = kubelet.oneshot(request).await;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    let text = decode::read(response.into_body()).await?;
    Err(ApiError::bad_request(
        String::from_utf8_lossy(&text).trim_end(),
    ))
}
