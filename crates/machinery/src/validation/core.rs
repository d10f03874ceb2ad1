//! The smaller kinds of the core group, Leases, RuntimeClasses and ControllerRevisions.

use std::collections::BTreeSet;

use serde_json::Value;

use super::meta::NameCheck;
use super::{Errors, IMMUTABLE, add_all, meta, not_negative, one_of, resources};
use crate::error::{FieldError, FieldPath};
use crate::members::{entries, integer, items, text};
use crate::names;
use crate::registry::Part;

fn named(object: &Value, namespaced: bool, check: NameCheck) -> Errors {
    meta::validate(object, namespaced, check)
}

/// Checks a new Namespace.
pub(crate) fn create_namespace(namespace: &Value) -> Vec<FieldError> {
    let mut errors = named(namespace, false, names::dns1123_label);
    let path = FieldPath::new("spec").child("finalizers");
    for (index, finalizer) in items(&namespace["spec"], "finalizers").enumerate() {
        let name = finalizer.as_str().unwrap_or_default();
        meta::finalizer(&mut errors, name, &path, &path.index(index));
    }
    errors
}

/// Checks a change of a Namespace.
pub(crate) fn update_namespace(new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
    let mut errors = meta::validate_update(new, old);
    if part == Part::Status {
        let phase = text(&new["status"], "phase");
        let path = FieldPath::new("status").child("phase");
        let dying = !new["metadata"]["deletionTimestamp"].is_null();
        if dying && phase != "Terminating" {
            errors.push(FieldError::invalid(
                path,
                phase,
                "may only be 'Terminating' if `deletionTimestamp` is not empty",
            ));
        } else if !dying && phase != "Active" {
            errors.push(FieldError::invalid(
                path,
                phase,
                "may only be 'Active' if `deletionTimestamp` is empty",
            ));
        }
    }
    errors
}

/// Checks a new Node.
pub(crate) fn create_node(node: &Value) -> Vec<FieldError> {
    let mut errors = named(node, false, names::dns1123_subdomain);
    node_spec(&mut errors, node);
    errors
}

/// Checks a change of a Node.
pub(crate) fn update_node(new: &Value, old: &Value, _: Part) -> Vec<FieldError> {
    let mut errors = meta::validate_update(new, old);
    node_spec(&mut errors, new);
    let (provider, former) = (
        text(&new["spec"], "providerID"),
        text(&old["spec"], "providerID"),
    );
    if !former.is_empty() && provider != former {
        errors.push(FieldError::forbidden(
            FieldPath::new("spec").child("providerID"),
            "node updates may not change providerID except from \"\" to valid",
        ));
    }
    errors
}

fn node_spec(errors: &mut Errors, node: &Value) {
    let path = FieldPath::new("spec").child("taints");
    let mut seen = BTreeSet::new();
    for (index, taint) in items(&node["spec"], "taints").enumerate() {
        let path = path.index(index);
        let key = text(taint, "key");
        add_all(errors, &path.child("key"), key, names::label_key(key));
        let value = text(taint, "value");
        add_all(
            errors,
            &path.child("value"),
            value,
            names::label_value(value),
        );
        let effect = text(taint, "effect");
        one_of(
            errors,
            effect,
            &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            &path.child("effect"),
        );
        if !seen.insert((key, effect)) {
            errors.push(FieldError::duplicate(path, taint.clone()));
        }
    }
    for list in ["capacity", "allocatable"] {
        let path = FieldPath::new("status").child(list);
        for (name, amount) in entries(&node["status"], list) {
            resources::quantity(errors, amount, &path.key(name));
        }
    }
}

/// Checks a new ServiceAccount.
pub(crate) fn create_service_account(account: &Value) -> Vec<FieldError> {
    named(account, true, names::dns1123_subdomain)
}

/// Checks a change of a kind of which only metadata is checked.
pub(crate) fn update_metadata(new: &Value, old: &Value, _: Part) -> Vec<FieldError> {
    meta::validate_update(new, old)
}

/// Checks a new Event.
pub(crate) fn create_event(event: &Value) -> Vec<FieldError> {
    let mut errors = named(event, true, names::dns1123_subdomain);
    event_fields(&mut errors, event);
    errors
}

/// Checks a change of an Event.
pub(crate) fn update_event(new: &Value, old: &Value, _: Part) -> Vec<FieldError> {
    let mut errors = meta::validate_update(new, old);
    event_fields(&mut errors, new);
    errors
}

fn event_fields(errors: &mut Errors, event: &Value) {
    let namespace = text(&event["metadata"], "namespace");
    let involved = text(&event["involvedObject"], "namespace");
    // Events about objects without a namespace are kept in `default`.
    let fits = if involved.is_empty() {
        ["default", "kube-system"].contains(&namespace)
            || text(&event["involvedObject"], "kind").is_empty()
    } else {
        involved == namespace
    };
    if !fits {
        errors.push(FieldError::invalid(
            FieldPath::new("involvedObject").child("namespace"),
            involved,
            "does not match event.namespace",
        ));
    }
    let kind = text(event, "type");
    if !kind.is_empty() && !["Normal", "Warning"].contains(&kind) && has_micro_time(event) {
        errors.push(FieldError::invalid("type", kind, "has invalid value"));
    }
}

/// Newer events, which carry `eventTime`, are checked more strictly.
fn has_micro_time(event: &Value) -> bool {
    event["eventTime"].is_string()
}

/// Checks a new Lease.
pub(crate) fn create_lease(lease: &Value) -> Vec<FieldError> {
    let mut errors = named(lease, true, names::dns1123_subdomain);
    lease_spec(&mut errors, &lease["spec"]);
    errors
}

/// Checks a change of a Lease.
pub(crate) fn update_lease(new: &Value, old: &Value, _: Part) -> Vec<FieldError> {
    let mut errors = meta::validate_update(new, old);
    lease_spec(&mut errors, &new["spec"]);
    errors
}

fn lease_spec(errors: &mut Errors, spec: &Value) {
    let path = FieldPath::new("spec");
    if let Some(seconds) = integer(spec, "leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        errors.push(FieldError::invalid(
            path.child("leaseDurationSeconds"),
            seconds,
            "must be greater than 0",
        ));
    }
    not_negative(errors, spec, "leaseTransitions", &path);
}

/// Checks a new RuntimeClass.
pub(crate) fn create_runtime_class(class: &Value) -> Vec<FieldError> {
    let mut errors = named(class, false, names::dns1123_subdomain);
    let handler = text(class, "handler");
    let path = FieldPath::new("handler");
    add_all(&mut errors, &path, handler, names::dns1123_label(handler));
    let path = FieldPath::new("overhead").child("podFixed");
    for (name, amount) in entries(&class["overhead"], "podFixed") {
        resources::quantity(&mut errors, amount, &path.key(name));
    }
    errors
}

/// Checks a change of a RuntimeClass.
pub(crate) fn update_runtime_class(new: &Value, old: &Value, _: Part) -> Vec<FieldError> {
    let mut errors = meta::validate_update(new, old);
    super::immutable(&mut errors, new, old, "handler", &FieldPath::default());
    errors
}

/// Checks a new ControllerRevision.
pub(crate) fn create_controller_revision(revision: &Value) -> Vec<FieldError> {
    let mut errors = named(revision, true, names::dns1123_subdomain);
    revision_number(&mut errors, revision);
    errors
}

/// Checks a change of a ControllerRevision.
pub(crate) fn update_controller_revision(new: &Value, old: &Value, _: Part) -> Vec<FieldError> {
    let mut errors = meta::validate_update(new, old);
    if new["data"] != old["data"] {
        errors.push(FieldError::invalid("data", new["data"].clone(), IMMUTABLE));
    }
    revision_number(&mut errors, new);
    errors
}

fn revision_number(errors: &mut Errors, revision: &Value) {
    not_negative(errors, revision, "revision", &FieldPath::default());
    if revision["data"].is_null() {
        errors.push(FieldError::required("data", "data is mandatory"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::sentences;
    use serde_json::json;

    #[test]
    fn a_namespaces_name_is_a_label() {
        assert!(create_namespace(&json!({"metadata": {"name": "shop-1"}})).is_empty());
        assert_eq!(
            sentences(&create_namespace(&json!({"metadata": {"name": "a.b"}}))),
            ["metadata.name: Invalid value: \"a.b\": must not contain dots"]
        );
    }

    #[test]
    fn an_event_is_where_its_object_is() {
        let event = |namespace: &str, involved: Value| {
            let event = json!({"metadata": {"name": "e", "namespace": namespace}, "involvedObject": involved});
            sentences(&create_event(&event))
        };
        assert_eq!(
            event("a", json!({"kind": "Pod", "namespace": "a"})),
            Vec::<String>::new()
        );
        assert_eq!(
            event("default", json!({"kind": "Node"})),
            Vec::<String>::new()
        );
        assert_eq!(
            event("a", json!({"kind": "Pod", "namespace": "b"})),
            ["involvedObject.namespace: Invalid value: \"b\": does not match event.namespace"]
        );
    }

    #[test]
    fn a_lease_lasts() {
        let lease = json!({"metadata": {"name": "l", "namespace": "d"}, "spec": {"leaseDurationSeconds": 0}});
        assert_eq!(
            sentences(&create_lease(&lease)),
            ["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"]
        );
    }

    #[test]
    fn a_runtime_classes_handler_never_changes() {
        let class = |handler: &str| json!({"metadata": {"name": "host"}, "handler": handler});
        assert!(create_runtime_class(&class("host")).is_empty());
        assert_eq!(
            sentences(&update_runtime_class(&class("a"), &class("b"), Part::Main)),
            ["handler: Invalid value: \"a\": field is immutable"]
        );
    }

    #[test]
    fn taints_are_checked() {
        let node = json!({"metadata": {"name": "n"}, "spec": {"taints": [{"key": "a", "effect": "Never"}]}});
        assert_eq!(
            sentences(&create_node(&node)),
            [
                "spec.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\""
            ]
        );
    }
}
