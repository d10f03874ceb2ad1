//! The `scale` subresource: autoscaling/v1 Scale read from and written into an object.

use serde_json::{Value, json};

use super::{Name, ScalePaths};
use crate::error::FieldPath;
use crate::selector::LabelSelector;

/// The Scale that shows `object`, which is in its storage version.
#[must_use]
pub fn scale_of(paths: &ScalePaths, object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut shown = serde_json::Map::new();
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = metadata.get(field) {
            shown.insert(field.to_owned(), value.clone());
        }
    }
    let mut spec = serde_json::Map::new();
    match at(object, &paths.spec_replicas) {
        // Kubernetes leaves a zero out of a Scale's spec.
        Some(replicas) if replicas != 0 => {
            spec.insert("replicas".to_owned(), replicas.clone());
        }
        _ => {}
    }
    let status_replicas = at(object, &paths.status_replicas).cloned();
    let mut status = serde_json::Map::new();
    status.insert("replicas".to_owned(), status_replicas.unwrap_or(json!(0)));
    let selector = paths.selector.as_ref().and_then(|path| at(object, path));
    match selector {
        Some(Value::String(text)) => {
            status.insert("selector".to_owned(), json!(text));
        }
        Some(object) => {
            if let Ok(selector) = LabelSelector::from_object(object, &FieldPath::default()) {
                status.insert("selector".to_owned(), json!(selector.to_string()));
            }
        }
        None => {}
    }
    json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": shown,
        "spec": spec,
        "status": status,
    })
}

/// Writes the wanted number of a Scale into the object it was read from.
pub fn apply_scale(paths: &ScalePaths, object: &mut Value, scale: &Value) {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    let mut place = object;
    for step in &paths.spec_replicas {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[step.as_ref()];
    }
    *place = json!(replicas);
}

fn at<'a>(object: &'a Value, path: &[Name]) -> Option<&'a Value> {
    path.iter()
        .try_fold(object, |value, step| value.get(step.as_ref()))
        .filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Value {
        json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"}},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}},
            "status": {"replicas": 2},
        })
    }

    #[test]
    fn a_scale_shows_the_wanted_and_the_present_number_and_the_selector_as_text() {
        let scale = scale_of(&ScalePaths::usual(), &deployment());
        assert_eq!(
            scale,
            json!({
                "apiVersion": "autoscaling/v1", "kind": "Scale",
                "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7"},
                "spec": {"replicas": 3},
                "status": {"replicas": 2, "selector": "app=web"},
            })
        );
    }

    #[test]
    fn a_written_scale_changes_the_wanted_number_alone() {
        let mut object = deployment();
        apply_scale(
            &ScalePaths::usual(),
            &mut object,
            &json!({"spec": {"replicas": 5}}),
        );
        let mut expected = deployment();
        expected["spec"]["replicas"] = json!(5);
        assert_eq!(object, expected);
    }

    #[test]
    fn a_scale_without_a_number_asks_for_none() {
        let mut object = deployment();
        apply_scale(&ScalePaths::usual(), &mut object, &json!({"spec": {}}));
        assert_eq!(object["spec"]["replicas"], 0);
    }
}
