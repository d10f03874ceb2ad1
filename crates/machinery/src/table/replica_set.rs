//! ReplicaSets.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, column, containers, selector, wide};
use crate::members::integer;

pub(crate) fn columns() -> Vec<Column> {
    vec![
        NAME,
        column(
            "Desired",
            "integer",
            "Replicas is the number of desired replicas.",
        ),
        column(
            "Current",
            "integer",
            "Replicas is the most recently observed number of non-terminating pods.",
        ),
        column(
            "Ready",
            "integer",
            "The number of non-terminating pods targeted by this ReplicaSet with a Ready Condition.",
        ),
        AGE,
        wide(
            "Containers",
            "string",
            "Names of each container in the template.",
        ),
        wide(
            "Images",
            "string",
            "Images referenced by each container in the template.",
        ),
        wide("Selector", "string", "Label selector for pods."),
    ]
}

pub(crate) fn cells(set: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&set["spec"], &set["status"]);
    let (names, images) = containers(&spec["template"]);
    vec![
        set["metadata"]["name"].clone(),
        json!(integer(spec, "replicas").unwrap_or(0)),
        json!(integer(status, "replicas").unwrap_or(0)),
        json!(integer(status, "readyReplicas").unwrap_or(0)),
        json!(age::of(set, now)),
        json!(names),
        json!(images),
        json!(selector(&spec["selector"])),
    ]
}
