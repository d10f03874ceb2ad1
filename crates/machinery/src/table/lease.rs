//! Leases.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, column};
use crate::members::text;

pub(crate) fn columns() -> Vec<Column> {
    vec![
        NAME,
        column(
            "Holder",
            "string",
            "holderIdentity contains the identity of the holder of a current lease.",
        ),
        AGE,
    ]
}

pub(crate) fn cells(lease: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        lease["metadata"]["name"].clone(),
        json!(text(&lease["spec"], "holderIdentity")),
        json!(age::of(lease, now)),
    ]
}
