//! Writes: create, update, patch and delete, over one path to the store.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod delete_collection;
pub(crate) mod patch;
pub(crate) mod update;

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value};
use springtide_machinery::error::ApiError;
use springtide_store::{Object, WriteError};

use crate::api::Call;
use crate::respond;
use crate::routes::Route;
use crate::view;

/// What a write left.
pub(crate) enum Written {
    /// The stored object: new, changed, or as it was.
    Stored(Arc<Object>),
    /// The object as it would have been stored, or as it was last.
    Shown(Bytes),
}

impl Written {
    /// The object's bytes, in the stored version.
    pub(crate) fn bytes(&self) -> &Bytes {
        match self {
            Written::Stored(object) => &object.bytes,
            Written::Shown(bytes) => bytes,
        }
    }
}

/// Answers with what a write left, and its warnings.
fn answer_written(
    call: &Call<'_>,
    status: StatusCode,
    written: &Written,
    warnings: &[String],
) -> Result<Response, ApiError> {
    let now = || call.api.clock.now();
    let mut response = view::answer(call.route, call.accepted()?, status, written.bytes(), now)?;
    respond::add_warnings(&mut response, warnings);
    Ok(response)
}

/// The metadata of an object; made if it is missing.
pub(crate) fn metadata_mut(object: &mut Value) -> Result<&mut Map<String, Value>, ApiError> {
    let wrong = || ApiError::bad_request("the object's metadata is not an object");
    let fields = object.as_object_mut().ok_or_else(wrong)?;
    fields
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()))
        .as_object_mut()
        .ok_or_else(wrong)
}

/// A text of an object's metadata; "" if it is missing.
pub(crate) fn metadata_text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Whether an object's finalizers are all done.
pub(crate) fn no_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"]
        .as_array()
        .is_none_or(Vec::is_empty)
}

/// Whether a delete of the object was asked for.
pub(crate) fn is_deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// The answer to a write that the store refused for other reasons than a conflict.
pub(crate) fn store_refusal(error: &WriteError, route: &Route, name: &str) -> ApiError {
    match error {
        WriteError::Conflict { .. } => ApiError::modified(route.group_resource(), name),
        WriteError::Full { .. } => ApiError::storage_full(error.to_string()),
        WriteError::Storage { .. } => ApiError::internal(error),
        WriteError::Closed => ApiError::unavailable("the server is stopping"),
    }
}

/// Refuses an object whose fields are wrong.
pub(crate) fn refuse_invalid(
    route: &Route,
    name: &str,
    errors: &[springtide_machinery::error::FieldError],
) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(route.group_kind(), name, errors))
}
