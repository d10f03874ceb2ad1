//! Definitions with what Kubernetes' own have beyond `k8s-openapi`'s: kinds, lists, merge keys.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::registry::Registry;
use crate::schema::definitions::{self, REFERENCE};
use crate::schema::{ListType, list_merge, retains_keys};

pub(super) const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

/// All definitions by name, each with `$ref`s that begin with [`REFERENCE`].
pub(super) struct Definitions(Map<String, Value>);

impl Definitions {
    /// Generates the definitions of all kinds in the registry, their lists and what they refer to.
    pub(super) fn generate(registry: &Registry) -> Definitions {
        let mut all = definitions::generate();
        for (name, schema) in &mut all {
            let owner = name.rsplit('.').next().unwrap_or(name).to_owned();
            annotate(schema, &owner, None);
        }
        all.insert(
            format!("{META}Patch"),
            json!({"description": "Patch is provided to give a concrete name and type to the Kubernetes PATCH request body.", "type": "object"}),
        );
        for resource in registry.iter() {
            for served in &resource.served {
                let kind = json!({"group": served.group, "version": served.version, "kind": resource.kind});
                if !all.contains_key(served.definition.as_ref()) {
                    let open =
                        json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
                    all.insert(served.definition.to_string(), open);
                }
                add_kind(&mut all[served.definition.as_ref()], kind);
                let list_kind = json!({"group": served.group, "version": served.version, "kind": resource.list_kind});
                all.insert(
                    list_name(&served.definition),
                    list(&served.definition, &resource.kind, &list_kind),
                );
            }
        }
        for (name, group, version, kind) in [
            (
                "io.k8s.api.autoscaling.v1.Scale",
                "autoscaling",
                "v1",
                "Scale",
            ),
            ("io.k8s.api.core.v1.Binding", "", "v1", "Binding"),
            ("io.k8s.api.policy.v1.Eviction", "policy", "v1", "Eviction"),
            (
                "io.k8s.api.authentication.v1.TokenRequest",
                "authentication.k8s.io",
                "v1",
                "TokenRequest",
            ),
            (
                "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
                "",
                "v1",
                "DeleteOptions",
            ),
            (
                "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
                "",
                "v1",
                "Status",
            ),
        ] {
            if let Some(schema) = all.get_mut(name) {
                add_kind(
                    schema,
                    json!({"group": group, "version": version, "kind": kind}),
                );
            }
        }
        Definitions(all)
    }

    /// Those of `roots` and all they refer to, sorted by name.
    pub(super) fn reachable(&self, roots: impl IntoIterator<Item = String>) -> Vec<(&str, &Value)> {
        let mut waiting: Vec<String> = roots.into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            let Some((name, schema)) = self.0.get_key_value(&name) else {
                continue;
            };
            if seen.insert(name.as_str()) {
                references(schema, &mut waiting);
            }
        }
        seen.into_iter().map(|name| (name, &self.0[name])).collect()
    }
}

/// The name of the definition of a kind's list.
pub(super) fn list_name(definition: &str) -> String {
    format!("{definition}List")
}

fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                match value.as_str().and_then(|text| text.strip_prefix(REFERENCE)) {
                    Some(name) if key == "$ref" => found.push(name.to_owned()),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                references(item, found);
            }
        }
        _ => {}
    }
}

fn add_kind(schema: &mut Value, kind: Value) {
    const KINDS: &str = "x-kubernetes-group-version-kind";
    // In Rust metadata is always there; in a document it may be left out.
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|name| name != "metadata");
        if required.is_empty() {
            crate::members::remove(schema, "required");
        }
    } else {
        crate::members::remove(schema, "required");
    }
    match schema[KINDS].as_array_mut() {
        Some(kinds) => kinds.push(kind),
        None => schema[KINDS] = json!([kind]),
    }
}

fn list(definition: &str, kind: &str, list_kind: &Value) -> Value {
    json!({
        "description": format!("{kind}List is a list of {kind} objects."),
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string", "description": "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values."},
            "kind": {"type": "string", "description": "Kind is a string value representing the REST resource this object represents."},
            "metadata": {"$ref": format!("{REFERENCE}{META}ListMeta"), "description": "Standard list metadata."},
            "items": {"type": "array", "description": "Items is the list of objects.", "items": {"$ref": format!("{REFERENCE}{definition}")}},
        },
        "required": ["items"],
        "x-kubernetes-group-version-kind": [list_kind],
    })
}

/// Adds merge metadata to the fields of a definition, and leaves out what only JSON Schema has.
fn annotate(schema: &mut Value, owner: &str, field: Option<&str>) {
    if let Some(field) = field {
        let mut strategy = Vec::new();
        if schema["type"] == "array" {
            let merge = list_merge(owner, field);
            if merge.merges {
                strategy.push("merge");
            }
            if let Some(key) = &merge.merge_key {
                schema["x-kubernetes-patch-merge-key"] = json!(key);
            }
            schema["x-kubernetes-list-type"] = json!(match merge.list_type {
                ListType::Atomic => "atomic",
                ListType::Set => "set",
                ListType::Map => "map",
            });
            if !merge.map_keys.is_empty() {
                schema["x-kubernetes-list-map-keys"] = json!(merge.map_keys);
            }
        }
        if retains_keys(owner, field) {
            strategy.push("retainKeys");
        }
        if !strategy.is_empty() {
            schema["x-kubernetes-patch-strategy"] = json!(strategy.join(","));
        }
    }
    if schema["x-kubernetes-int-or-string"] == true {
        // Kubernetes' documents say `string` with a format of its own.
        crate::members::remove(schema, "x-kubernetes-int-or-string");
        schema["type"] = json!("string");
        if owner == "IntOrString" {
            schema["format"] = json!("int-or-string");
        }
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, property) in properties {
            annotate(property, owner, Some(name));
        }
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(name).filter(|inner| inner.is_object()) {
            annotate(inner, owner, None);
        }
    }
}
