//! The OpenAPI documents: what kubectl explains, validates and merges by.

use axum::response::Response;
use http::HeaderMap;
use springtide_machinery::error::ApiError;
use springtide_machinery::registry::Registry;

/// Answers `/openapi`.
pub(crate) struct OpenApi {
    _registry: Registry,
}

impl OpenApi {
    /// Tells of a registry.
    pub(crate) fn new(registry: Registry) -> OpenApi {
        OpenApi {
            _registry: registry,
        }
    }

    /// Answers `/openapi/v2`.
    pub(crate) fn v2(&self, _headers: &HeaderMap) -> Result<Response, ApiError> {
        Err(ApiError::unknown_resource())
    }

    /// Answers `/openapi/v3`.
    pub(crate) fn index(&self, _headers: &HeaderMap) -> Result<Response, ApiError> {
        Err(ApiError::unknown_resource())
    }

    /// Answers `/openapi/v3/apis/GROUP/VERSION`.
    pub(crate) fn v3(
        &self,
        _group_version: &str,
        _headers: &HeaderMap,
    ) -> Result<Response, ApiError> {
        Err(ApiError::unknown_resource())
    }
}
