//! ServiceAccounts.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, column};
use crate::members::items;

pub(crate) fn columns() -> Vec<Column> {
    vec![
        NAME,
        column(
            "Secrets",
            "string",
            "Secrets is a list of the secrets in the same namespace that pods running using this ServiceAccount are allowed to use.",
        ),
        AGE,
    ]
}

pub(crate) fn cells(account: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        account["metadata"]["name"].clone(),
        json!(items(account, "secrets").count()),
        json!(age::of(account, now)),
    ]
}
