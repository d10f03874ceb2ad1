//! `nodes/NAME/proxy`: the node's kubelet, passed through.

use axum::body::Body;
use axum::response::Response;
use http::Request;
use springtide_machinery::error::ApiError;
use tower::ServiceExt as _;

use crate::api::Call;

/// Answers a request of any method for anything below `proxy`.
pub(crate) async fn answer(call: &Call<'_>, body: Body) -> Result<Response, ApiError> {
    let kubelet = call.api.kubelets.of(call.name())?;
    let path = if call.path.rest.is_empty() {
        "/"
    } else {
        call.path.rest
    };
    let uri = match call.parts.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut request = Request::new(body);
    *request.method_mut() = call.parts.method.clone();
    *request.uri_mut() = uri
        .parse()
        .map_err(|_| ApiError::bad_request("the path cannot be passed on"))?;
    *request.headers_mut() = call.parts.headers.clone();
    let Ok(response) = kubelet.oneshot(request).await;
    Ok(response)
}
