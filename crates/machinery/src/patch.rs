//! The three kinds of patches: JSON patch (RFC 6902), merge patch (RFC 7386), and Kubernetes'
//! strategic merge patch.
//!
//! Each takes the object as it is and the patch as it was sent, and returns the object as it
//! becomes, or the refusal Kubernetes gives: 400 for what is no patch, 422 for a patch that does
//! not apply.

mod json;
mod merge;
pub mod strategic;

use serde_json::Value;

use crate::error::ApiError;

pub use json::{MAX_OPERATIONS, json_patch};
pub use merge::{merge_patch, merge_value};
pub use strategic::{ListStrategy, PatchMeta, strategic_merge, strategic_merge_value};

/// Parses a patch's body.
fn parse(body: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))
}

/// The JSON type of a value, for messages.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
