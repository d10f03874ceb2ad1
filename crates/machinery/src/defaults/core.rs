//! The smaller kinds of the core group, and EndpointSlices.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::members::{ensure, fill, fill_text, has, items_mut, member_mut, remove, text};

/// Fills in a Namespace: it carries its name as a label.
pub(crate) fn namespace(namespace: &mut Value) {
    let name = text(&namespace["metadata"], "name").to_owned();
    if !name.is_empty() {
        let labels = ensure(ensure(namespace, "metadata"), "labels");
        if let Some(labels) = labels.as_object_mut() {
            labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
        }
    }
    fill_text(ensure(namespace, "status"), "phase", "Active");
}

/// Fills in a Node: what is not reserved can be allocated.
pub(crate) fn node(node: &mut Value) {
    if let Some(status) = member_mut(node, "status")
        && !has(status, "allocatable")
        && let Some(capacity) = status.get("capacity").cloned()
    {
        fill(status, "allocatable", capacity);
    }
}

/// Fills in a Secret: its type, and `stringData` moved into `data`.
pub(crate) fn secret(secret: &mut Value) {
    fill_text(secret, "type", "Opaque");
    if let Some(Value::Object(strings)) = remove(secret, "stringData") {
        if strings.is_empty() {
            return;
        }
        let data = ensure(secret, "data");
        for (key, value) in strings {
            let plain = value.as_str().unwrap_or_default();
            data[&key] = STANDARD.encode(plain).into();
        }
    }
}

/// Fills in an Endpoints object.
pub(crate) fn endpoints(endpoints: &mut Value) {
    for subset in items_mut(endpoints, "subsets") {
        for port in items_mut(subset, "ports") {
            fill_text(port, "protocol", "TCP");
        }
    }
}

/// Fills in an EndpointSlice.
pub(crate) fn endpoint_slice(slice: &mut Value) {
    for port in items_mut(slice, "ports") {
        fill(port, "name", "");
        fill(port, "protocol", "TCP");
    }
}

/// Fills in an Event.
pub(crate) fn event(event: &mut Value) {
    // Plain structs and strings that Kubernetes always writes.
    fill(event, "source", serde_json::json!({}));
    fill(event, "reportingComponent", "");
    fill(event, "reportingInstance", "");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_namespace_carries_its_name_as_a_label() {
        let mut object =
            json!({"metadata": {"name": "shop", "labels": {"kubernetes.io/metadata.name": "lie"}}});
        namespace(&mut object);
        assert_eq!(
            object["metadata"]["labels"],
            json!({"kubernetes.io/metadata.name": "shop"})
        );
        assert_eq!(object["status"]["phase"], "Active");
    }

    #[test]
    fn plain_strings_of_a_secret_win_over_encoded_ones() {
        let mut object = json!({"data": {"a": "eA==", "b": "eQ=="}, "stringData": {"a": "new"}});
        secret(&mut object);
        assert_eq!(
            object,
            json!({"type": "Opaque", "data": {"a": "bmV3", "b": "eQ=="}})
        );
    }
}
