//! Status apart from the rest, and `metadata.generation`, which counts changes of the desired
//! state.

use serde_json::{Value, json};

use crate::members::{ensure, integer, remove, restore};
use crate::registry::Part;

/// A new object has no status yet; this kind has no generation.
pub(super) fn create_plain(object: &mut Value) {
    remove(object, "status");
}

/// A new object has no status yet and is the first of its generations.
pub(super) fn create_counted(object: &mut Value) {
    create_plain(object);
    create_numbered(object);
}

/// A new object of a kind without status is the first of its generations.
pub(super) fn create_numbered(object: &mut Value) {
    ensure(object, "metadata")["generation"] = json!(1);
}

/// A write to the status changes nothing else, a write to the object does not change its status.
pub(super) fn update_plain(object: &mut Value, old: &Value, part: Part) {
    if part == Part::Status {
        keep_all_but_status(object, old);
    } else {
        restore(object, "status", old);
    }
    restore(ensure(object, "metadata"), "generation", &old["metadata"]);
}

/// As [`update_plain`]; a changed spec is a new generation.
pub(super) fn update_counted(object: &mut Value, old: &Value, part: Part) {
    update_plain(object, old, part);
    if object["spec"] != old["spec"] {
        next(object, old);
    }
}

/// As [`update_counted`]; changed annotations of a Deployment are a new generation too.
pub(super) fn update_deployment(object: &mut Value, old: &Value, part: Part) {
    update_plain(object, old, part);
    if part == Part::Status {
        restore(ensure(object, "metadata"), "labels", &old["metadata"]);
        return;
    }
    let annotations = |object: &Value| object["metadata"]["annotations"].clone();
    if object["spec"] != old["spec"] || annotations(object) != annotations(old) {
        next(object, old);
    }
}

/// For a kind without spec and status: any change outside the metadata is a new generation.
pub(super) fn update_whole(object: &mut Value, old: &Value, _: Part) {
    restore(ensure(object, "metadata"), "generation", &old["metadata"]);
    let body = |object: &Value| {
        let mut body = object.clone();
        remove(&mut body, "metadata");
        body
    };
    if body(object) != body(old) || object["metadata"]["labels"] != old["metadata"]["labels"] {
        next(object, old);
    }
}

/// Puts back everything but status and metadata.
pub(super) fn keep_all_but_status(object: &mut Value, old: &Value) {
    let names: Vec<String> = [&*object, old]
        .into_iter()
        .filter_map(Value::as_object)
        .flat_map(|members| members.keys().cloned())
        .filter(|name| !["apiVersion", "kind", "metadata", "status"].contains(&name.as_str()))
        .collect();
    for name in names {
        restore(object, &name, old);
    }
}

/// Counts the generation up from the old object's.
pub(super) fn next(object: &mut Value, old: &Value) {
    let generation = integer(&old["metadata"], "generation").unwrap_or(0);
    ensure(object, "metadata")["generation"] = json!(generation + 1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Value {
        json!({"metadata": {"name": "a", "generation": 4}, "spec": {"replicas": 1}, "status": {"replicas": 1}})
    }

    #[test]
    fn a_clients_status_is_not_taken() {
        let mut new =
            json!({"metadata": {"name": "a", "generation": 9}, "spec": {}, "status": {"x": 1}});
        create_counted(&mut new);
        assert_eq!(
            new,
            json!({"metadata": {"name": "a", "generation": 1}, "spec": {}})
        );
    }

    #[test]
    fn a_changed_spec_is_a_new_generation_and_keeps_the_status() {
        let mut new = stored();
        new["spec"]["replicas"] = json!(2);
        new["status"] = json!({"replicas": 7});
        new["metadata"]["generation"] = json!(1);
        update_counted(&mut new, &stored(), Part::Main);
        assert_eq!(new["metadata"]["generation"], 5);
        assert_eq!(new["status"], stored()["status"]);
    }

    #[test]
    fn a_status_write_changes_the_status_alone() {
        let mut new = stored();
        new["spec"]["replicas"] = json!(2);
        new["status"] = json!({"replicas": 7});
        update_counted(&mut new, &stored(), Part::Status);
        let mut expected = stored();
        expected["status"] = json!({"replicas": 7});
        assert_eq!(new, expected);
    }

    #[test]
    fn an_annotated_deployment_is_a_new_generation() {
        let mut new = stored();
        new["metadata"]["annotations"] = json!({"a": "b"});
        update_deployment(&mut new, &stored(), Part::Main);
        assert_eq!(new["metadata"]["generation"], 5);
        let mut labelled = stored();
        labelled["metadata"]["labels"] = json!({"a": "b"});
        update_deployment(&mut labelled, &stored(), Part::Main);
        assert_eq!(labelled["metadata"]["generation"], 4);
    }
}
