//! What may change in a Pod that exists.

use serde_json::Value;

use super::{Errors, meta, pod};
use crate::error::{FieldError, FieldPath};
use crate::members::{items, items_mut, remove, restore};
use crate::registry::Part;

const CHANGEABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Checks a change of a Pod or of its status.
pub(crate) fn update(new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
    let mut errors = meta::validate_update(new, old);
    let path = FieldPath::new("spec");
    match part {
        Part::Main => {
            if new["spec"] != old["spec"] {
                spec(&mut errors, &new["spec"], &old["spec"], &path);
                pod::spec(&mut errors, &new["spec"], &path);
            }
        }
        Part::Status | Part::EphemeralContainers | Part::Resize | Part::Finalize => {}
    }
    errors
}

fn spec(errors: &mut Errors, new: &Value, old: &Value, path: &FieldPath) {
    for (list, what) in [
        ("containers", "pod updates may not add or remove containers"),
        (
            "initContainers",
            "pod updates may not add or remove containers",
        ),
    ] {
        if items(new, list).count() != items(old, list).count() {
            errors.push(FieldError::forbidden(path.child(list), what));
            return;
        }
    }
    deadline(errors, new, old, path);
    tolerations(errors, new, old, path);

    // What may change is made equal; anything that still differs may not.
    let mut permitted = new.clone();
    for list in ["containers", "initContainers"] {
        for (container, before) in items_mut(&mut permitted, list).zip(items(old, list)) {
            container["image"] = before["image"].clone();
        }
    }
    for name in ["activeDeadlineSeconds", "tolerations"] {
        restore(&mut permitted, name, old);
    }
    let was_negative = old["terminationGracePeriodSeconds"]
        .as_i64()
        .is_some_and(|n| n < 0);
    if was_negative && new["terminationGracePeriodSeconds"] == 1 {
        restore(&mut permitted, "terminationGracePeriodSeconds", old);
    }
    // Gates may be lifted, not added.
    let lifted_only = items(new, "schedulingGates")
        .all(|gate| items(old, "schedulingGates").any(|known| known == gate));
    if lifted_only {
        restore(&mut permitted, "schedulingGates", old);
    }
    let mut changed = Vec::new();
    differences(&permitted, old, path, &mut changed);
    if !changed.is_empty() {
        errors.push(FieldError::forbidden(
            path,
            format!("{CHANGEABLE}\nchanged: {}", changed.join(", ")),
        ));
    }
}

fn deadline(errors: &mut Errors, new: &Value, old: &Value, path: &FieldPath) {
    let path = path.child("activeDeadlineSeconds");
    let after = new["activeDeadlineSeconds"].as_i64();
    match (old["activeDeadlineSeconds"].as_i64(), after) {
        (Some(_), None) => errors.push(FieldError::invalid(
            path,
            Value::Null,
            "must not update from a positive integer to nil value",
        )),
        (Some(before), Some(after)) if after > before => errors.push(FieldError::invalid(
            path,
            after,
            "must be less than or equal to previous value",
        )),
        _ => {}
    }
}

fn tolerations(errors: &mut Errors, new: &Value, old: &Value, path: &FieldPath) {
    let without_seconds = |toleration: &Value| {
        let mut bare = toleration.clone();
        remove(&mut bare, "tolerationSeconds");
        bare
    };
    let kept = items(old, "tolerations").all(|before| {
        let before = without_seconds(before);
        items(new, "tolerations").any(|after| without_seconds(after) == before)
    });
    if !kept {
        errors.push(FieldError::forbidden(
            path.child("tolerations"),
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
}

/// Paths of the members in which two values differ.
fn differences(new: &Value, old: &Value, path: &FieldPath, found: &mut Vec<String>) {
    if new == old {
        return;
    }
    match (new, old) {
        (Value::Object(after), Value::Object(before)) => {
            let mut names: Vec<&String> = after.keys().chain(before.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                differences(&new[name], &old[name], &path.child(name), found);
            }
        }
        (Value::Array(after), Value::Array(before)) if after.len() == before.len() => {
            for (index, pair) in after.iter().zip(before).enumerate() {
                differences(pair.0, pair.1, &path.index(index), found);
            }
        }
        _ => found.push(path.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults;
    use crate::validation::sentences;
    use serde_json::json;

    fn pod() -> Value {
        let mut pod = json!({"metadata": {"name": "p", "namespace": "d"}, "spec": {
            "activeDeadlineSeconds": 100, "tolerations": [{"key": "a", "operator": "Exists"}],
            "containers": [{"name": "c", "image": "a:1"}]}});
        defaults::pod::apply(&mut pod);
        pod
    }

    fn faults(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut new = pod();
        change(&mut new["spec"]);
        sentences(&update(&new, &pod(), Part::Main))
    }

    #[test]
    fn image_deadline_and_new_tolerations_may_change() {
        let found = faults(|spec| {
            spec["containers"][0]["image"] = json!("a:2");
            spec["activeDeadlineSeconds"] = json!(50);
            spec["tolerations"] = json!([{"key": "a", "operator": "Exists", "tolerationSeconds": 3, "effect": "NoExecute"}]);
        });
        assert_eq!(
            found,
            [
                "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
            ]
        );
        let found = faults(|spec| {
            spec["containers"][0]["image"] = json!("a:2");
            spec["tolerations"] =
                json!([{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]);
        });
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        let found =
            faults(|spec| spec["containers"][0]["env"] = json!([{"name": "A", "value": "b"}]));
        assert_eq!(
            found,
            [format!(
                "spec: Forbidden: {CHANGEABLE}\nchanged: spec.containers[0].env"
            )]
        );
        let found = faults(|spec| {
            spec["containers"] =
                json!([{"name": "c", "image": "a:1"}, {"name": "d", "image": "a:1"}]);
        });
        assert_eq!(
            found[0],
            "spec.containers: Forbidden: pod updates may not add or remove containers"
        );
        let found = faults(|spec| spec["activeDeadlineSeconds"] = json!(101));
        assert_eq!(
            found,
            [
                "spec.activeDeadlineSeconds: Invalid value: 101: must be less than or equal to previous value"
            ]
        );
    }
}
