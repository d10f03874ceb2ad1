//! Metadata, the same for all kinds.

use serde_json::Value;

use super::{Errors, IMMUTABLE, add_all, labels};
use crate::error::{FieldError, FieldPath, quote};
use crate::members::{has, integer, is_true, items, text};
use crate::names;

/// The most bytes all annotations of an object may have together.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// A check of a name: the sentences on what is wrong with it.
pub type NameCheck = fn(&str) -> Vec<String>;

/// Checks the metadata of a new object. `name_check` is what its kind demands of names.
#[must_use]
pub fn validate(object: &Value, namespaced: bool, name_check: NameCheck) -> Vec<FieldError> {
    let mut errors = Errors::new();
    let path = FieldPath::new("metadata");
    let metadata = &object["metadata"];
    names_of(&mut errors, metadata, namespaced, name_check, &path);
    shared(&mut errors, metadata, &path);
    errors
}

/// Checks a change of metadata. What the server sets by itself has been put back before.
#[must_use]
pub fn validate_update(object: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Errors::new();
    let path = FieldPath::new("metadata");
    let (new, old) = (&object["metadata"], &old["metadata"]);
    for name in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        if has(new, name) && has(old, name) && new[name] != old[name] {
            errors.push(FieldError::invalid(
                path.child(name),
                new[name].clone(),
                IMMUTABLE,
            ));
        }
    }
    let generation = integer(new, "generation").unwrap_or(0);
    if generation < integer(old, "generation").unwrap_or(0) {
        errors.push(FieldError::invalid(
            path.child("generation"),
            generation,
            "must not be decremented",
        ));
    }
    if has(old, "deletionTimestamp") {
        let added: Vec<String> = items(new, "finalizers")
            .filter(|finalizer| !items(old, "finalizers").any(|known| known == *finalizer))
            .map(|finalizer| quote(finalizer.as_str().unwrap_or_default()))
            .collect();
        if !added.is_empty() {
            errors.push(FieldError::forbidden(
                path.child("finalizers"),
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    added.join(", ")
                ),
            ));
        }
    }
    shared(&mut errors, new, &path);
    errors
}

fn names_of(
    errors: &mut Errors,
    metadata: &Value,
    namespaced: bool,
    name_check: NameCheck,
    path: &FieldPath,
) {
    let prefix = text(metadata, "generateName");
    if !prefix.is_empty() {
        let faults = name_check(&names::with_trailing_dash_masked(prefix));
        add_all(errors, &path.child("generateName"), prefix, faults);
    }
    let name = text(metadata, "name");
    if name.is_empty() {
        errors.push(FieldError::required(
            path.child("name"),
            "name or generateName is required",
        ));
    } else {
        add_all(errors, &path.child("name"), name, name_check(name));
    }
    let namespace = text(metadata, "namespace");
    let namespace_path = path.child("namespace");
    if namespaced {
        if namespace.is_empty() {
            errors.push(FieldError::required(namespace_path, ""));
        } else {
            add_all(
                errors,
                &namespace_path,
                namespace,
                names::dns1123_label(namespace),
            );
        }
    } else if !namespace.is_empty() {
        errors.push(FieldError::forbidden(
            namespace_path,
            "not allowed on this type",
        ));
    }
}

fn shared(errors: &mut Errors, metadata: &Value, path: &FieldPath) {
    labels(errors, &metadata["labels"], &path.child("labels"));
    annotations(errors, &metadata["annotations"], &path.child("annotations"));
    owners(errors, metadata, &path.child("ownerReferences"));
    finalizers(errors, metadata, &path.child("finalizers"));
}

/// Checks annotations: keys as labels' (in any case), and the size of all.
pub(crate) fn annotations(errors: &mut Errors, annotations: &Value, path: &FieldPath) {
    let mut size = 0;
    for (key, value) in annotations.as_object().into_iter().flatten() {
        let faults = names::label_key(&key.to_lowercase());
        add_all(errors, path, key.as_str(), faults);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(path, ANNOTATIONS_MAX));
    }
}

fn owners(errors: &mut Errors, metadata: &Value, path: &FieldPath) {
    let mut controller: Option<&str> = None;
    for (index, owner) in items(metadata, "ownerReferences").enumerate() {
        let path = path.index(index);
        if text(owner, "apiVersion").is_empty() {
            errors.push(FieldError::invalid(
                path.child("apiVersion"),
                "",
                "version must not be empty",
            ));
        }
        for name in ["kind", "name", "uid"] {
            if text(owner, name).is_empty() {
                errors.push(FieldError::invalid(
                    path.child(name),
                    "",
                    "must not be empty",
                ));
            }
        }
        if text(owner, "apiVersion") == "v1" && text(owner, "kind") == "Event" {
            errors.push(FieldError::invalid(
                &path,
                owner.clone(),
                "/v1, Kind=Event is disallowed from being an owner reference",
            ));
        }
        if !is_true(owner, "controller") {
            continue;
        }
        match controller {
            None => controller = Some(text(owner, "name")),
            Some(first) => {
                let second = text(owner, "name");
                errors.push(FieldError::invalid(
                    FieldPath::new("metadata").child("ownerReferences"),
                    metadata["ownerReferences"].clone(),
                    format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {second}"
                    ),
                ));
            }
        }
    }
}

fn finalizers(errors: &mut Errors, metadata: &Value, path: &FieldPath) {
    let names: Vec<&str> = items(metadata, "finalizers")
        .filter_map(Value::as_str)
        .collect();
    for (index, name) in names.iter().enumerate() {
        finalizer(errors, name, path, &path.index(index));
    }
    if names.contains(&"orphan") && names.contains(&"foregroundDeletion") {
        errors.push(FieldError::invalid(
            path,
            metadata["finalizers"].clone(),
            "finalizer foregroundDeletion and orphan cannot be both set",
        ));
    }
}

/// Checks a finalizer: a standard one, or a name with a domain.
pub(crate) fn finalizer(errors: &mut Errors, name: &str, list: &FieldPath, item: &FieldPath) {
    let faults = names::label_key(name);
    let well_formed = faults.is_empty();
    add_all(errors, list, name, faults);
    let standard = ["kubernetes", "orphan", "foregroundDeletion"].contains(&name);
    if well_formed && !name.contains('/') && !standard {
        errors.push(FieldError::invalid(
            item,
            name,
            "name is neither a standard finalizer name nor is it fully qualified",
        ));
    }
}

/// Checks the metadata of a template, which has no name.
pub(crate) fn template(errors: &mut Errors, template: &Value, path: &FieldPath) {
    let metadata = &template["metadata"];
    let path = path.child("metadata");
    labels(errors, &metadata["labels"], &path.child("labels"));
    annotations(errors, &metadata["annotations"], &path.child("annotations"));
}

#[cfg(test)]
// Literals are easier to read where they need no reference.
#[allow(clippy::needless_pass_by_value)]
mod tests {
    use super::*;
    use crate::validation::sentences;
    use serde_json::json;

    fn faults(metadata: Value) -> Vec<String> {
        sentences(&validate(
            &json!({"metadata": metadata}),
            true,
            names::dns1123_subdomain,
        ))
    }

    #[test]
    fn good_metadata_passes() {
        let metadata = json!({"name": "web", "namespace": "shop", "labels": {"app.kubernetes.io/name": "web"},
            "annotations": {"Example.com/Any": "x"}, "finalizers": ["orphan", "example.com/f"],
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true}]});
        assert_eq!(faults(metadata), Vec::<String>::new());
    }

    #[test]
    fn each_fault_of_metadata_has_kubernetes_words() {
        assert_eq!(
            faults(json!({})),
            [
                "metadata.name: Required value: name or generateName is required",
                "metadata.namespace: Required value",
            ]
        );
        let name = faults(json!({"name": "Web_1", "namespace": "shop"}));
        assert!(
            name[0].starts_with(
                "metadata.name: Invalid value: \"Web_1\": a lowercase RFC 1123 subdomain must consist of"
            ),
            "{name:?}"
        );
        let label = faults(json!({"name": "a", "namespace": "b", "labels": {"x": "-"}}));
        assert!(
            label[0].starts_with("metadata.labels: Invalid value: \"-\": a valid label must be"),
            "{label:?}"
        );
        assert_eq!(
            faults(json!({"name": "a", "namespace": "b", "finalizers": ["mine"]})),
            [
                "metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified"
            ]
        );
        assert_eq!(
            faults(
                json!({"name": "a", "namespace": "b", "annotations": {"a": "x".repeat(300_000)}})
            ),
            ["metadata.annotations: Too long: may not be more than 262144 bytes"]
        );
        assert_eq!(
            faults(
                json!({"name": "a", "namespace": "b", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x"}]})
            ),
            ["metadata.ownerReferences[0].uid: Invalid value: \"\": must not be empty"]
        );
    }

    #[test]
    fn a_namespace_is_refused_on_a_kind_without_namespaces() {
        let errors = validate(
            &json!({"metadata": {"name": "n", "namespace": "x"}}),
            false,
            names::dns1123_label,
        );
        assert_eq!(
            sentences(&errors),
            ["metadata.namespace: Forbidden: not allowed on this type"]
        );
    }

    #[test]
    fn a_dash_may_end_a_generate_name() {
        let found = faults(json!({"generateName": "web-", "name": "web-x", "namespace": "a"}));
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn identity_never_changes() {
        let old = json!({"metadata": {"name": "a", "uid": "1", "generation": 3}});
        let new = json!({"metadata": {"name": "b", "uid": "1", "generation": 2}});
        assert_eq!(
            sentences(&validate_update(&new, &old)),
            [
                "metadata.name: Invalid value: \"b\": field is immutable",
                "metadata.generation: Invalid value: 2: must not be decremented",
            ]
        );
    }

    #[test]
    fn a_dying_object_gets_no_new_finalizers() {
        let old = json!({"metadata": {"deletionTimestamp": "t", "finalizers": ["orphan"]}});
        let new =
            json!({"metadata": {"deletionTimestamp": "t", "finalizers": ["orphan", "a.b/c"]}});
        assert_eq!(
            sentences(&validate_update(&new, &old)),
            [
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"a.b/c\"}"
            ]
        );
    }
}
