//! Namespaces.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, column};

pub(crate) fn columns() -> Vec<Column> {
    vec![
        NAME,
        column("Status", "string", "The status of the namespace"),
        AGE,
    ]
}

pub(crate) fn cells(namespace: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        namespace["metadata"]["name"].clone(),
        namespace["status"]["phase"].clone(),
        json!(age::of(namespace, now)),
    ]
}
