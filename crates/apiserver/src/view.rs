//! Stored bytes shown in the version and the shape a client asks for.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use springtide_machinery::error::ApiError;

use crate::encode;
use crate::negotiate::{Accepted, Include, Shape};
use crate::respond;
use crate::routes::Route;

/// An object of which only the metadata is looked at.
#[derive(Deserialize)]
struct MetadataOnly<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

/// The whole object in the route's version. Costs nothing when that is the stored one.
pub(crate) fn object(route: &Route, stored: &Bytes) -> Bytes {
    if route.is_storage {
        return stored.clone();
    }
    let value = served_value(route, stored);
    encode::bytes(&value, revision(stored))
}

/// The whole object in the route's version, parsed.
pub(crate) fn served_value(route: &Route, stored: &[u8]) -> Value {
    let value = encode::parse(stored);
    if route.is_storage {
        return value;
    }
    route.served().from_storage(route.resource(), value)
}

/// The object as PartialObjectMetadata.
pub(crate) fn metadata(stored: &[u8], version: &str) -> Vec<u8> {
    let only: MetadataOnly<'_> =
        serde_json::from_slice(stored).expect("stored objects have metadata");
    format!(
        r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/{version}","metadata":{}}}"#,
        only.metadata.get()
    )
    .into_bytes()
}

/// The resourceVersion of stored bytes.
pub(crate) fn revision(stored: &[u8]) -> &str {
    encode::revision_digits(stored)
        .and_then(|digits| std::str::from_utf8(&stored[digits]).ok())
        .unwrap_or_default()
}

/// A row of a Table.
pub(crate) fn row(route: &Route, stored: &Bytes, include: Include, now: Timestamp) -> Vec<u8> {
    // Columns and cells are made from the stored version.
    let value = encode::parse(stored);
    let cells = Value::Array(route.resource().strategy.cells(&value, now));
    let mut row = Vec::with_capacity(256);
    row.extend_from_slice(br#"{"cells":"#);
    row.extend_from_slice(cells.to_string().as_bytes());
    match include {
        Include::None => row.extend_from_slice(br#","object":null"#),
        Include::Metadata => {
            row.extend_from_slice(br#","object":"#);
            row.extend_from_slice(&metadata(stored, "v1"));
        }
        Include::Object => {
            row.extend_from_slice(br#","object":"#);
            row.extend_from_slice(&object(route, stored));
        }
    }
    row.push(b'}');
    row
}

/// The columns of a Table, as JSON.
pub(crate) fn column_definitions(route: &Route) -> String {
    let columns: Vec<Value> = route
        .resource()
        .strategy
        .columns()
        .iter()
        .map(|column| {
            json!({
                "name": column.name,
                "type": column.kind,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            })
        })
        .collect();
    Value::Array(columns).to_string()
}

/// The beginning of a Table, up to its rows; `metadata` is the list's metadata as JSON.
pub(crate) fn table_head(version: &str, metadata: &str, columns: &str) -> String {
    format!(
        r#"{{"kind":"Table","apiVersion":"meta.k8s.io/{version}","metadata":{metadata},"columnDefinitions":{columns},"rows":["#
    )
}

/// A Table of one object.
pub(crate) fn one_row_table(
    route: &Route,
    stored: &Bytes,
    version: &str,
    include: Include,
    revision: &str,
    columns: &str,
    now: Timestamp,
) -> Vec<u8> {
    let metadata = json!({ "resourceVersion": revision }).to_string();
    let mut table = table_head(version, &metadata, columns).into_bytes();
    table.extend_from_slice(&row(route, stored, include, now));
    table.extend_from_slice(b"]}");
    table
}

/// Answers with one object, in the shape that was asked for.
pub(crate) fn answer(
    route: &Route,
    accepted: Accepted,
    status: StatusCode,
    stored: &Bytes,
    now: impl FnOnce() -> Timestamp,
) -> Result<Response, ApiError> {
    let body: Bytes = match accepted.shape {
        Shape::Object => object(route, stored),
        Shape::Metadata { version } => metadata(stored, version).into(),
        Shape::Table { version, include } => {
            let columns = column_definitions(route);
            one_row_table(
                route,
                stored,
                version,
                include,
                revision(stored),
                &columns,
                now(),
            )
            .into()
        }
    };
    if accepted.yaml {
        return yaml(status, &body);
    }
    Ok(respond::json_bytes(status, body))
}

/// Answers with JSON turned into YAML.
pub(crate) fn yaml(status: StatusCode, json: &[u8]) -> Result<Response, ApiError> {
    let value: Value = serde_json::from_slice(json).map_err(ApiError::internal)?;
    let text = serde_saphyr::to_string(&value).map_err(ApiError::internal)?;
    let media_type = HeaderValue::from_static("application/yaml");
    Ok(respond::with_type(status, media_type, Body::from(text)))
}
