//! Objects live in namespaces that exist and are not on their way out.

use serde_json::Value;
use springtide_machinery::error::{ApiError, Cause, GroupResource};
use springtide_store::Key;

use crate::api::Api;
use crate::encode;
use crate::routes::Route;
use crate::write::{is_deleting, metadata_mut, metadata_text};

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];
const NAMESPACES: GroupResource<'static> = GroupResource {
    group: "",
    resource: "namespaces",
};

/// Refuses a new object whose namespace is missing or terminating.
pub(crate) fn check(
    api: &Api,
    route: &Route,
    namespace: &str,
    object: &Value,
) -> Result<(), ApiError> {
    if namespace.is_empty() {
        return Ok(());
    }
    let key = Key::new("namespaces", "", namespace);
    let Some(stored) = api.store.get(&key) else {
        return Err(ApiError::not_found(NAMESPACES, namespace));
    };
    // The phase is a selectable field, so that nothing has to be parsed.
    let terminating = match stored.fields.get("status.phase") {
        Some(phase) => phase == "Terminating",
        None => is_deleting(&encode::parse(&stored.bytes)),
    };
    if !terminating {
        return Ok(());
    }
    let name = match metadata_text(object, "name") {
        "" => metadata_text(object, "generateName"),
        name => name,
    };
    let why = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    let cause = Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".to_owned(),
    };
    Err(ApiError::forbidden(route.group_resource(), name, why).with_cause(cause))
}

/// Refuses to delete the namespaces the platform needs.
pub(crate) fn check_delete(route: &Route, name: &str) -> Result<(), ApiError> {
    if &*route.resource().collection == "namespaces" && IMMORTAL.contains(&name) {
        return Err(ApiError::forbidden(
            NAMESPACES,
            name,
            "this namespace may not be deleted",
        ));
    }
    Ok(())
}

/// Every namespace carries its name as a label.
pub(crate) fn on_create(object: &mut Value) -> Result<(), ApiError> {
    let name = metadata_text(object, "name").to_owned();
    if name.is_empty() {
        return Ok(());
    }
    let metadata = metadata_mut(object)?;
    let labels = metadata
        .entry("labels")
        .or_insert_with(|| Value::Object(serde_json::Map::new()));
    if let Some(labels) = labels.as_object_mut() {
        labels.insert("kubernetes.io/metadata.name".into(), name.into());
    }
    Ok(())
}
