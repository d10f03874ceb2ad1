//! The OpenAPI documents: what kubectl explains, validates and merges by.
//!
//! Each is made when it is first asked for, and kept.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use parking_lot::Mutex;
use springtide_machinery::error::ApiError;
use springtide_machinery::openapi;
use springtide_machinery::registry::Registry;

use crate::discovery::tagged;
use crate::negotiate::media_ranges;

const JSON: &str = "application/json";
/// What an answer in [`openapi::V2_PROTOBUF`] is called: the name clients ask by has an `@`, which no
/// media type may have, and Go's clients refuse it in an answer.
const V2_PROTOBUF_ANSWER: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Answers `/openapi`.
pub(crate) struct OpenApi {
    registry: Registry,
    index: OnceLock<Bytes>,
    v2: OnceLock<Bytes>,
    v2_protobuf: OnceLock<Bytes>,
    v3: Mutex<BTreeMap<String, Bytes>>,
}

impl OpenApi {
    /// Tells of a registry.
    pub(crate) fn new(registry: Registry) -> OpenApi {
        OpenApi {
            registry,
            index: OnceLock::new(),
            v2: OnceLock::new(),
            v2_protobuf: OnceLock::new(),
            v3: Mutex::new(BTreeMap::new()),
        }
    }

    /// Answers `/openapi/v2`.
    pub(crate) fn v2(&self, headers: &HeaderMap) -> Result<Response, ApiError> {
        for media_type in accepted(headers) {
            match media_type.as_str() {
                JSON | "*/*" | "application/*" => {
                    let document = self.v2.get_or_init(|| openapi::v2(&self.registry).into());
                    return Ok(tagged(headers, JSON, document.clone()));
                }
                openapi::V2_PROTOBUF | V2_PROTOBUF_ANSWER => {
                    let document = self
                        .v2_protobuf
                        .get_or_init(|| openapi::v2_protobuf(&self.registry).into());
                    return Ok(tagged(headers, V2_PROTOBUF_ANSWER, document.clone()));
                }
                _ => {}
            }
        }
        Err(ApiError::not_acceptable(&[JSON, V2_PROTOBUF_ANSWER]))
    }

    /// Answers `/openapi/v3`.
    pub(crate) fn index(&self, headers: &HeaderMap) -> Result<Response, ApiError> {
        accept_json(headers)?;
        let index = self
            .index
            .get_or_init(|| openapi::index(&self.registry).into());
        Ok(tagged(headers, JSON, index.clone()))
    }

    /// Answers `/openapi/v3/apis/GROUP/VERSION`; `hashed` is the hash that the URL names, which
    /// says that the answer never changes.
    pub(crate) fn v3(
        &self,
        group_version: &str,
        hashed: bool,
        headers: &HeaderMap,
    ) -> Result<Response, ApiError> {
        accept_json(headers)?;
        let document = self
            .document(group_version)
            .ok_or_else(ApiError::unknown_resource)?;
        let mut response = tagged(headers, JSON, document);
        if hashed {
            let forever = HeaderValue::from_static("public, immutable");
            response
                .headers_mut()
                .insert(header::CACHE_CONTROL, forever);
        }
        Ok(response)
    }

    fn document(&self, group_version: &str) -> Option<Bytes> {
        if let Some(document) = self.v3.lock().get(group_version) {
            return Some(document.clone());
        }
        let (group, version) = match group_version.strip_prefix("apis/") {
            Some(rest) => rest.split_once('/')?,
            None => ("", group_version.strip_prefix("api/")?),
        };
        let document = Bytes::from(openapi::v3(&self.registry, group, version)?);
        self.v3
            .lock()
            .insert(group_version.to_owned(), document.clone());
        Some(document)
    }
}

/// The media types a client takes, the most wanted first; anything if it does not say.
fn accepted(headers: &HeaderMap) -> Vec<String> {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .filter(|accept| !accept.is_empty())
        .unwrap_or("*/*");
    media_ranges(accept)
        .iter()
        .map(|range| range.media_type.to_owned())
        .collect()
}

fn accept_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let takes_json = accepted(headers)
        .iter()
        .any(|media_type| matches!(media_type.as_str(), JSON | "*/*" | "application/*"));
    if takes_json {
        return Ok(());
    }
    Err(ApiError::not_acceptable(&[JSON]))
}
