//! `nodes/NAME/proxy` and `services/NAME/proxy`: the node's kubelet and parts of the program, passed through.

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use springtide_machinery::error::ApiError;
use tower::ServiceExt as _;

use crate::api::Call;

/// Answers a request of any method for anything below a node's `proxy`.
pub(crate) async fn answer(call: &Call<'_>, body: Body) -> Result<Response, ApiError> {
    let kubelet = call.api.kubelets.of(call.name())?;
    pass_on(call, kubelet, body).await
}

/// Answers a request of any method for anything below a Service's `proxy`. The name may have a scheme before it and a
/// port after it, as in `http:prometheus:9090`; a part of the program serves all of them alike.
pub(crate) async fn answer_service(call: &Call<'_>, body: Body) -> Result<Response, ApiError> {
    let name = match call.name().split(':').collect::<Vec<_>>()[..] {
        [name] | [name, _] | [_, name, _] => name,
        _ => "",
    };
    let key = call.route.key(call.namespace(), name);
    if call.api.store.get(&key).is_none() {
        return Err(ApiError::not_found(call.route.group_resource(), name));
    }
    let part = call.api.services.of(call.namespace(), name).ok_or_else(|| {
        ApiError::unavailable(format!(
            "the Service {}/{name} is not served by a part of the program: only those are reached through the API, while their Deployment is not scaled to zero; use a NodePort for others",
            call.namespace()
        ))
    })?;
    pass_on(call, part, body).await
}

/// Hands a request to a router, under the path below `proxy`.
async fn pass_on(call: &Call<'_>, router: Router, body: Body) -> Result<Response, ApiError> {
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
    let Ok(response) = router.oneshot(request).await;
    Ok(response)
}
