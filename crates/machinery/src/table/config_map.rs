//! ConfigMaps: how many entries they hold.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, column};
use crate::members::entries;

pub(crate) fn columns() -> Vec<Column> {
    vec![
        NAME,
        column("Data", "string", "Data contains the configuration data."),
        AGE,
    ]
}

pub(crate) fn cells(map: &Value, now: Timestamp) -> Vec<Value> {
    let count = entries(map, "data").count() + entries(map, "binaryData").count();
    vec![
        map["metadata"]["name"].clone(),
        json!(count),
        json!(age::of(map, now)),
    ]
}
