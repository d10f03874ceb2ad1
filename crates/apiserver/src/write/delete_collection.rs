//! Deletes of all selected objects of a collection.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use springtide_machinery::error::ApiError;
use springtide_store::At;

use super::delete::{delete, read_options};
use crate::api::Call;
use crate::list;
use crate::respond;

/// Answers a DELETE of a collection with a list of what was deleted.
pub(crate) async fn answer(call: &Call<'_>, body: Body) -> Result<Response, ApiError> {
    let route = call.route;
    let verb_served = route.resource().verbs.contains(&"deletecollection");
    if !verb_served {
        return Err(call.not_supported());
    }
    let selection = call.selection()?;
    let options = read_options(call, body).await?;
    let collection = &route.resource().collection;
    let listing = call
        .api
        .store
        .list(collection, call.namespace, At::Latest, None)
        .map_err(ApiError::internal)?;
    let mut objects = listing.objects;
    objects.retain(|object| selection.matches(object));
    for object in &objects {
        let (namespace, name) = (&object.key.namespace, &object.key.name);
        match delete(call.api, route, namespace, name, &options).await {
            Ok(_) => {}
            // Gone meanwhile is as good as deleted.
            Err(error) if error.code() == 404 => {}
            Err(error) => return Err(error),
        }
    }
    let body = list::of_objects(route, listing.revision, &objects);
    Ok(respond::with_type(StatusCode::OK, respond::JSON, body))
}
