//! Kinds of which nothing but name and age is shown.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age};

pub(crate) fn columns() -> Vec<Column> {
    vec![NAME, AGE]
}

pub(crate) fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        object["metadata"]["name"].clone(),
        json!(age::of(object, now)),
    ]
}
