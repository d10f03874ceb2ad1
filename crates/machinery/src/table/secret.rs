//! Secrets: their type and how many entries they hold.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, column};
use crate::members::entries;

pub(crate) fn columns() -> Vec<Column> {
    vec![
        NAME,
        column(
            "Type",
            "string",
            "Used to facilitate programmatic handling of secret data.",
        ),
        column("Data", "string", "Data contains the secret data."),
        AGE,
    ]
}

pub(crate) fn cells(secret: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        secret["metadata"]["name"].clone(),
        secret["type"].clone(),
        json!(entries(secret, "data").count()),
        json!(age::of(secret, now)),
    ]
}
