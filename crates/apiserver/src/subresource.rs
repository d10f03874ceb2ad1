//! Parts of objects that have URLs of their own.

pub(crate) mod binding;
mod eviction;
mod exec;
mod log;
mod proxy;
mod scale;

use axum::body::Body;
use axum::response::Response;
use http::{Method, StatusCode};
use springtide_machinery::error::ApiError;
use springtide_machinery::registry::{Part, Subresource};

use crate::api::Call;
use crate::view;
use crate::write;

/// Answers a request for a subresource.
pub(crate) async fn answer(call: &Call<'_>, name: &str, body: Body) -> Result<Response, ApiError> {
    let resource = call.route.resource().clone();
    let Some(subresource) = resource.subresource(name) else {
        return Err(ApiError::unknown_resource());
    };
    let takes_rest = matches!(subresource, Subresource::Proxy);
    if !takes_rest && !call.path.rest.is_empty() {
        return Err(ApiError::unknown_resource());
    }
    match subresource {
        Subresource::Status => part(call, body, Part::Status).await,
        Subresource::EphemeralContainers => part(call, body, Part::EphemeralContainers).await,
        Subresource::Resize => part(call, body, Part::Resize).await,
        Subresource::Finalize if call.parts.method == Method::PUT => {
            write::update::answer_part(call, body, Part::Finalize).await
        }
        Subresource::Scale(paths) => scale::answer(call, paths, body).await,
        Subresource::Log if call.parts.method == Method::GET => log::answer(call).await,
        Subresource::Binding if call.parts.method == Method::POST => {
            binding::create(call, body).await
        }
        Subresource::Eviction if call.parts.method == Method::POST => {
            eviction::create(call, body).await
        }
        Subresource::Proxy if &*resource.collection == "nodes" => proxy::answer(call, body).await,
        Subresource::Proxy if &*resource.collection == "services" => {
            proxy::answer_service(call, body).await
        }
        Subresource::Exec | Subresource::Attach => exec::answer(call, name).await,
        Subresource::PortForward
        | Subresource::Token
        | Subresource::Proxy
        | Subresource::Finalize
        | Subresource::Log
        | Subresource::Binding
        | Subresource::Eviction => Err(call.not_supported()),
    }
}

/// A part that has the shape of the whole object.
async fn part(call: &Call<'_>, body: Body, part: Part) -> Result<Response, ApiError> {
    match call.parts.method {
        Method::GET | Method::HEAD => {
            let key = call.route.key(call.namespace(), call.name());
            let not_found = || ApiError::not_found(call.route.group_resource(), call.name());
            let object = call.api.store.get(&key).ok_or_else(not_found)?;
            let now = || call.api.clock.now();
            view::answer(
                call.route,
                call.accepted()?,
                StatusCode::OK,
                &object.bytes,
                now,
            )
        }
        Method::PUT => write::update::answer_part(call, body, part).await,
        Method::PATCH => write::patch::answer_part(call, body, part).await,
        _ => Err(call.not_supported()),
    }
}
