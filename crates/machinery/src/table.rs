//! What `kubectl get` prints: the columns of each kind and the cells of an object.
//!
//! One file per kind. Cells are computed when asked for, since ages depend on the time.

pub(crate) mod age;
pub(crate) mod config_map;
pub(crate) mod controller_revision;
pub(crate) mod deployment;
pub(crate) mod endpoint_slice;
pub(crate) mod endpoints;
pub(crate) mod event;
pub(crate) mod horizontal_pod_autoscaler;
pub(crate) mod lease;
pub(crate) mod namespace;
pub(crate) mod node;
pub(crate) mod plain;
pub(crate) mod pod;
pub(crate) mod pod_disruption_budget;
pub(crate) mod replica_set;
pub(crate) mod runtime_class;
pub(crate) mod secret;
pub(crate) mod service;
pub(crate) mod service_account;

use std::borrow::Cow;

use serde_json::{Value, json};

pub use age::human_duration;

/// A column, as in a metav1 Table's `columnDefinitions`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The heading; kubectl prints it in capitals.
    pub name: Cow<'static, str>,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: &'static str,
    /// `name` for the column with the object's name, else "".
    pub format: &'static str,
    /// What the column shows.
    pub description: Cow<'static, str>,
    /// 0 is always printed, 1 with `-o wide` only.
    pub priority: i32,
}

impl Column {
    /// The column as it stands in a Table's `columnDefinitions`.
    #[must_use]
    pub fn definition(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.kind,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }
}

const fn column(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    with_priority(name, kind, "", description, 0)
}

/// A column of `-o wide`.
const fn wide(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    with_priority(name, kind, "", description, 1)
}

const fn with_priority(
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    description: &'static str,
    priority: i32,
) -> Column {
    Column {
        name: Cow::Borrowed(name),
        kind,
        format,
        description: Cow::Borrowed(description),
        priority,
    }
}

/// The first column of every kind.
const NAME: Column = with_priority(
    "Name",
    "string",
    "name",
    "Name must be unique within a namespace.",
    0,
);

/// The last column of most kinds.
const AGE: Column = column(
    "Age",
    "string",
    "CreationTimestamp is a timestamp representing the server time when this object was created.",
);

/// `a=b,c=d`, or `<none>`: a map of labels.
fn labels(map: &Value) -> String {
    let pairs: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    or_none(pairs.join(","))
}

/// A label selector object in query syntax, or `<none>`.
fn selector(selector: &Value) -> String {
    use crate::error::FieldPath;
    use crate::selector::LabelSelector;
    match LabelSelector::from_object(selector, &FieldPath::default()) {
        Ok(found) if !found.is_nothing() => or_none(found.to_string()),
        _ => "<none>".to_owned(),
    }
}

fn or_none(text: String) -> String {
    if text.is_empty() {
        "<none>".to_owned()
    } else {
        text
    }
}

/// Names and images of a pod template's containers, each joined by commas.
fn containers(template: &Value) -> (String, String) {
    use crate::members::{items, text};
    let join = |field: &str| {
        let all: Vec<&str> = items(&template["spec"], "containers")
            .map(|container| text(container, field))
            .collect();
        all.join(",")
    };
    (join("name"), join("image"))
}
