//! From a request to its answer: who asks, what for, which handler.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures::FutureExt as _;
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode};
use springtide_machinery::clock::Clock;
use springtide_machinery::entropy::Entropy;
use springtide_machinery::error::ApiError;
use springtide_store::Store;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admission::checks::Checks;
use crate::aggregate::Aggregated;
use crate::allocate::Allocator;
use crate::auth::{self, Attributes, UserInfo};
use crate::discovery::Discovery;
use crate::health::Health;
use crate::kubelets::{Kubelets, OwnServices};
use crate::metrics::{self, Metrics};
use crate::negotiate::{self, Accepted};
use crate::openapi::OpenApi;
use crate::request::{Query, ResourcePath, Target};
use crate::routes::{Route, Routes};
use crate::selection::Selection;
use crate::versions::Asked;
use crate::{decode, list, respond, reviews, subresource, version, versions, view, watch, write};

/// What all requests share.
pub(crate) struct Api {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) routes: Routes,
    pub(crate) discovery: Discovery,
    pub(crate) openapi: OpenApi,
    pub(crate) health: Health,
    pub(crate) allocator: Allocator,
    pub(crate) kubelets: Kubelets,
    pub(crate) aggregated: Aggregated,
    pub(crate) metrics: Metrics,
    pub(crate) checks: Checks,
    pub(crate) services: OwnServices,
    /// Ends watches and other streams when the server stops.
    pub(crate) shutdown: CancellationToken,
}

/// One request for a resource.
pub(crate) struct Call<'a> {
    pub(crate) api: &'a Api,
    pub(crate) route: &'a Arc<Route>,
    pub(crate) parts: &'a Parts,
    pub(crate) path: &'a ResourcePath<'a>,
    pub(crate) query: &'a Query<'a>,
    /// The namespace in the path, if there is one.
    pub(crate) namespace: Option<&'a str>,
}

impl Call<'_> {
    /// The selectors of the query, and the name of the path.
    pub(crate) fn selection(&self) -> Result<Selection, ApiError> {
        let selection = Selection::parse(self.query, self.route)?;
        Ok(match &self.path.name {
            Some(name) => selection.and_name(name),
            None => selection,
        })
    }

    /// The namespace in the path, "" if there is none.
    pub(crate) fn namespace(&self) -> &str {
        self.namespace.unwrap_or_default()
    }

    /// The name in the path, "" if there is none.
    pub(crate) fn name(&self) -> &str {
        self.path.name.as_deref().unwrap_or_default()
    }

    /// The shape of the answer that the client asks for.
    pub(crate) fn accepted(&self) -> Result<Accepted, ApiError> {
        negotiate::negotiate(&self.parts.headers, self.query)
    }

    /// Refuses the method.
    pub(crate) fn not_supported(&self) -> ApiError {
        let verb = auth::resource_verb(&self.parts.method, self.path, self.query);
        ApiError::method_not_supported(self.route.group_resource(), verb)
    }
}

/// Answers a request. A panic in a handler is its own request's failure alone.
pub(crate) async fn handle(api: &Api, request: Request<Body>) -> Response {
    let begun = Instant::now();
    let under_way = api.metrics.begin(request.method());
    let started = tracing::enabled!(tracing::Level::DEBUG).then(|| {
        let target = request.uri().to_string();
        (begun, request.method().clone(), target)
    });
    let (parts, body) = request.into_parts();
    let answering = AssertUnwindSafe(answer(api, &parts, body)).catch_unwind();
    let response = match answering.await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => respond::refusal(&error),
        Err(panic) => {
            let message = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no message");
            tracing::error!(
                panic = message,
                method = %parts.method,
                uri = %parts.uri,
                "a request's handler panicked"
            );
            respond::refusal(&ApiError::internal(
                "this request caused apiserver to panic. Look in the logs for details",
            ))
        }
    };
    drop(under_way);
    let target = Target::parse(parts.uri.path());
    let asked = metrics::Asked::of(api, &parts, &target);
    api.metrics
        .answered(&asked, response.status(), begun.elapsed());
    if let Some((started, method, target)) = started {
        tracing::debug!(
            %method,
            uri = target,
            status = response.status().as_u16(),
            micros = started.elapsed().as_micros(),
            "answered"
        );
    }
    response
}

async fn answer(api: &Api, parts: &Parts, body: Body) -> Result<Response, ApiError> {
    let user = auth::authenticate(parts)?;
    let path = parts.uri.path();
    let query = Query::parse(parts.uri.query());
    let target = Target::parse(path);
    if let Target::Resource(resource) = &target {
        let verb = auth::resource_verb(&parts.method, resource, &query);
        if !user.is_in(auth::MASTERS) {
            auth::authorize(&user, &Attributes::of_resource(verb, resource))?;
        }
        return answer_resource(api, &user, parts, resource, &query, body).await;
    }

    let verb = parts.method.as_str().to_ascii_lowercase();
    let verb = if verb == "head" { "get" } else { &verb };
    auth::authorize(&user, &Attributes::Path { verb, path })?;
    if let Target::Group(group) | Target::GroupVersion(group, _) = target
        && let Some(router) = api.aggregated.router(group, path)
    {
        return forward(router, parts, body).await;
    }
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return Err(ApiError::unknown_resource());
    }
    let headers = &parts.headers;
    match target {
        Target::Health { endpoint, check } => Ok(api.health.answer(api, endpoint, check, &query)),
        Target::Metrics => Ok(respond::with_type(
            StatusCode::OK,
            HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
            Body::from(api.metrics.registry.text()),
        )),
        Target::Version => Ok(version::answer()),
        Target::Root => Ok(api.discovery.paths(&api.aggregated)),
        Target::CoreVersions => api.discovery.core_versions(&api.aggregated, headers),
        Target::Groups => api.discovery.groups(&api.aggregated, headers),
        Target::Group(group) => api.discovery.group(&api.aggregated, group),
        Target::GroupVersion(group, version) => {
            api.discovery.group_version(&api.aggregated, group, version)
        }
        Target::OpenApiV2 => api.openapi.v2(headers),
        Target::OpenApiV3Index => api.openapi.index(headers),
        Target::OpenApiV3(group_version) => {
            let hashed = query.text("hash").is_some();
            api.openapi.v3(group_version, hashed, headers)
        }
        Target::Resource(_) | Target::Unknown => Err(ApiError::unknown_resource()),
    }
}

async fn answer_resource(
    api: &Api,
    user: &UserInfo,
    parts: &Parts,
    path: &ResourcePath<'_>,
    query: &Query<'_>,
    body: Body,
) -> Result<Response, ApiError> {
    let Some(route) = api.routes.find(path.group, path.version, &path.plural) else {
        if let Some(review) = reviews::Review::find(path) {
            return review.answer(user, parts, query, body).await;
        }
        if let Some(router) = api.aggregated.router(path.group, parts.uri.path()) {
            return forward(router, parts, body).await;
        }
        if subresource::binding::is_bindings(path) {
            return subresource::binding::create_at_collection(api, path, parts, query, body).await;
        }
        if parts.method == Method::GET && lists_custom_kinds(path) {
            return Ok(no_custom_kinds(api));
        }
        return Err(ApiError::unknown_resource());
    };
    let namespaced = route.resource().namespaced;
    let misplaced = if namespaced {
        path.namespace.is_none() && path.name.is_some()
    } else {
        path.namespace.is_some()
    };
    if misplaced {
        return Err(ApiError::unknown_resource());
    }
    let call = Call {
        api,
        route,
        parts,
        path,
        query,
        namespace: path.namespace.as_deref(),
    };
    if let Some(name) = path.subresource {
        return subresource::answer(&call, name, body).await;
    }
    let named = path.name.is_some();
    match parts.method {
        Method::GET | Method::HEAD if query.flag("watch").unwrap_or(false) => {
            watch::watch(&call, call.accepted()?).await
        }
        Method::GET | Method::HEAD if named => get(&call).await,
        Method::GET | Method::HEAD => list::list(&call, call.accepted()?).await,
        Method::POST if !named && (!namespaced || call.namespace.is_some()) => {
            write::create::answer(&call, body).await
        }
        Method::PUT if named => write::update::answer(&call, body).await,
        Method::PATCH if named => write::patch::answer(&call, body).await,
        Method::DELETE if named => write::delete::answer(&call, body).await,
        Method::DELETE if !namespaced || call.namespace.is_some() => {
            write::delete_collection::answer(&call, body).await
        }
        _ => Err(call.not_supported()),
    }
}

fn lists_custom_kinds(path: &ResourcePath<'_>) -> bool {
    (path.group, path.version, path.plural.as_ref())
        == ("apiextensions.k8s.io", "v1", "customresourcedefinitions")
        && path.name.is_none()
}

/// The empty list of CustomResourceDefinitions. kubectl asks for it when a manifest has a kind that
/// no document describes, and would complain about the missing list instead of the kind.
fn no_custom_kinds(api: &Api) -> Response {
    let list = serde_json::json!({
        "kind": "CustomResourceDefinitionList",
        "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"resourceVersion": api.store.revision().to_string()},
        "items": [],
    });
    respond::json(StatusCode::OK, &list)
}

/// Answers a GET of one object: bytes that exist already.
async fn get(call: &Call<'_>) -> Result<Response, ApiError> {
    let accepted = call.accepted()?;
    if let Asked::At(revision) = Asked::parse(call.query)? {
        versions::wait_for(&call.api.store, revision).await?;
    }
    let key = call.route.key(call.namespace(), call.name());
    let object = call
        .api
        .store
        .get(&key)
        .ok_or_else(|| ApiError::not_found(call.route.group_resource(), call.name()))?;
    let now = || call.api.clock.now();
    view::answer(call.route, accepted, StatusCode::OK, &object.bytes, now)
}

/// Hands a request to another part's router, under the same path, with its body.
pub(crate) async fn forward(
    router: Router,
    parts: &Parts,
    body: Body,
) -> Result<Response, ApiError> {
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    *request.headers_mut() = parts.headers.clone();
    if let Some(user) = parts.extensions.get::<UserInfo>() {
        request.extensions_mut().insert(user.clone());
    }
    let Ok(response) = tower::ServiceExt::oneshot(router, request).await;
    Ok(response)
}

/// Reads and decodes a request's body.
pub(crate) async fn read_object(
    parts: &Parts,
    body: Body,
    kind: &str,
) -> Result<decode::Decoded, ApiError> {
    let bytes = decode::read(body).await?;
    decode::decode(&bytes, decode::media_type(&parts.headers), kind)
}
