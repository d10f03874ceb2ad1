//! PodDisruptionBudgets.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, column};
use crate::members::integer;

pub(crate) fn columns() -> Vec<Column> {
    vec![
        NAME,
        column(
            "Min Available",
            "string",
            "The minimum number of pods that must be available.",
        ),
        column(
            "Max Unavailable",
            "string",
            "The maximum number of pods that may be unavailable.",
        ),
        column(
            "Allowed Disruptions",
            "integer",
            "Calculated number of pods that may be disrupted at this time.",
        ),
        AGE,
    ]
}

pub(crate) fn cells(budget: &Value, now: Timestamp) -> Vec<Value> {
    let bound = |name: &str| match &budget["spec"][name] {
        Value::Null => "N/A".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    vec![
        budget["metadata"]["name"].clone(),
        json!(bound("minAvailable")),
        json!(bound("maxUnavailable")),
        json!(integer(&budget["status"], "disruptionsAllowed").unwrap_or(0)),
        json!(age::of(budget, now)),
    ]
}
