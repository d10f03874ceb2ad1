//! ControllerRevisions.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, column};
use crate::members::{is_true, items, text};

pub(crate) fn columns() -> Vec<Column> {
    vec![
        NAME,
        column("Controller", "string", "Controller of the object"),
        column(
            "Revision",
            "string",
            "Revision indicates the revision of the state represented by Data.",
        ),
        AGE,
    ]
}

pub(crate) fn cells(revision: &Value, now: Timestamp) -> Vec<Value> {
    let controller = items(&revision["metadata"], "ownerReferences")
        .find(|owner| is_true(owner, "controller"))
        .map_or_else(
            || "<none>".to_owned(),
            |owner| {
                let group = text(owner, "apiVersion")
                    .split_once('/')
                    .map(|(group, _)| group);
                let kind = text(owner, "kind").to_lowercase();
                match group {
                    Some(group) => format!("{kind}.{group}/{}", text(owner, "name")),
                    None => format!("{kind}/{}", text(owner, "name")),
                }
            },
        );
    vec![
        revision["metadata"]["name"].clone(),
        json!(controller),
        revision["revision"].clone(),
        json!(age::of(revision, now)),
    ]
}
