//! Namespaces: their phase, and the finalizer that empties them.

use serde_json::{Value, json};

use crate::members::{ensure, items, restore};
use crate::registry::Part;

const FINALIZER: &str = "kubernetes";

pub(super) fn create(namespace: &mut Value) {
    namespace["status"] = json!({"phase": "Active"});
    let spec = ensure(namespace, "spec");
    if !items(spec, "finalizers").any(|finalizer| finalizer == FINALIZER) {
        let mut finalizers: Vec<Value> = items(spec, "finalizers").cloned().collect();
        finalizers.push(FINALIZER.into());
        spec["finalizers"] = finalizers.into();
    }
}

pub(super) fn update(namespace: &mut Value, old: &Value, part: Part) {
    if part != Part::Finalize {
        restore(namespace, "spec", old);
    }
    if part != Part::Status {
        restore(namespace, "status", old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_starts_active_with_the_finalizer_that_empties_it() {
        let mut object = json!({"metadata": {"name": "a"}});
        create(&mut object);
        assert_eq!(object["status"]["phase"], "Active");
        assert_eq!(object["spec"]["finalizers"], json!(["kubernetes"]));
    }

    #[test]
    fn only_a_finalize_changes_finalizers() {
        let old =
            json!({"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Terminating"}});
        let mut new = json!({"spec": {"finalizers": []}, "status": {}});
        update(&mut new, &old, Part::Main);
        assert_eq!(new, old);
        let mut new = json!({"spec": {"finalizers": []}, "status": {}});
        update(&mut new, &old, Part::Finalize);
        assert_eq!(
            new,
            json!({"spec": {"finalizers": []}, "status": {"phase": "Terminating"}})
        );
    }
}
