//! RuntimeClasses.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, column};

pub(crate) fn columns() -> Vec<Column> {
    vec![
        NAME,
        column(
            "Handler",
            "string",
            "handler specifies the underlying runtime and configuration that the CRI implementation will use to handle pods of this class.",
        ),
        AGE,
    ]
}

pub(crate) fn cells(class: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        class["metadata"]["name"].clone(),
        class["handler"].clone(),
        json!(age::of(class, now)),
    ]
}
