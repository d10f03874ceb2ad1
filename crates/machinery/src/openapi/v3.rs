//! Documents of OpenAPI 3.0, one for each group version.

use serde_json::{Map, Value, json};

use super::info;
use super::paths::{Operation, operations};
use super::schemas::{Definitions, list_name};
use crate::registry::Registry;
use crate::schema::definitions::REFERENCE;

/// The document of a group version; nothing if it serves no resource.
pub(super) fn document(
    registry: &Registry,
    definitions: &Definitions,
    group: &str,
    version: &str,
) -> Option<Value> {
    let operations = operations(registry, group, version);
    if operations.is_empty() {
        return None;
    }
    let mut roots: Vec<String> = operations
        .iter()
        .flat_map(|operation| [&operation.body, &operation.answer])
        .flatten()
        .cloned()
        .collect();
    for found in registry.in_group_version(group, version) {
        roots.push(list_name(&found.served().definition));
    }
    let mut schemas = Map::new();
    for (name, schema) in definitions.reachable(roots) {
        let mut schema = schema.clone();
        wrap_references(&mut schema);
        widen_type(name, &mut schema);
        schemas.insert(name.to_owned(), schema);
    }
    let mut paths = Map::new();
    for operation in &operations {
        let item = paths
            .entry(operation.path.clone())
            .or_insert_with(|| json!({"parameters": path_parameters(&operation.path)}));
        item[operation.method] = self::operation(operation);
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"BearerToken": {
                "type": "apiKey", "in": "header", "name": "authorization",
                "description": "Bearer Token authentication",
            }},
        },
    }))
}

fn path_parameters(path: &str) -> Vec<Value> {
    ["name", "namespace"]
        .iter()
        .filter(|name| path.contains(&format!("{{{name}}}")))
        .map(|name| {
            json!({"name": name, "in": "path", "required": true,
                "description": description(name), "schema": {"type": "string", "uniqueItems": true}})
        })
        .collect()
}

pub(super) fn description(parameter: &str) -> &'static str {
    if parameter == "name" {
        "name of the object"
    } else {
        "object name and auth scope, such as for teams and projects"
    }
}

fn operation(operation: &Operation) -> Value {
    let parameters: Vec<Value> = operation
        .parameters
        .iter()
        .map(|parameter| {
            json!({"name": parameter.name, "in": "query", "description": parameter.description,
                "schema": {"type": parameter.kind, "uniqueItems": true}})
        })
        .collect();
    let schema = match &operation.answer {
        Some(name) => reference(name),
        None => json!({"type": "string"}),
    };
    let content: Map<String, Value> = operation
        .produces
        .iter()
        .map(|media_type| ((*media_type).to_owned(), json!({ "schema": schema })))
        .collect();
    let mut responses = json!({
        "200": {"description": "OK", "content": content},
        "401": {"description": "Unauthorized"},
    });
    if operation.method == "post" || operation.method == "put" || operation.method == "patch" {
        responses["201"] = json!({"description": "Created", "content": content});
    }
    let (group, version, kind) = &operation.kind;
    let mut shown = json!({
        "description": operation.description,
        "operationId": operation.id,
        "tags": [operation.tag],
        "parameters": parameters,
        "responses": responses,
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    });
    if let Some(body) = &operation.body {
        let content: Map<String, Value> = operation
            .consumes
            .iter()
            .map(|media_type| ((*media_type).to_owned(), json!({"schema": reference(body)})))
            .collect();
        shown["requestBody"] = json!({"content": content});
        if operation.method != "delete" {
            shown["requestBody"]["required"] = json!(true);
        }
    }
    shown
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("{REFERENCE}{name}")})
}

/// Version 3 can say what version 2 calls a string: that a number will do as well.
fn widen_type(name: &str, schema: &mut Value) {
    let types = match name.rsplit('.').next() {
        Some("Quantity") => ["string", "number"],
        Some("IntOrString") => ["integer", "string"],
        _ => return,
    };
    crate::members::remove(schema, "type");
    schema["oneOf"] = types.iter().map(|kind| json!({ "type": kind })).collect();
}

/// OpenAPI 3.0 ignores what stands beside a `$ref`: a described reference is wrapped.
fn wrap_references(schema: &mut Value) {
    if let Some(target) = crate::members::remove(schema, "$ref") {
        schema["allOf"] = json!([{ "$ref": target }]);
        schema["default"] = json!({});
        return;
    }
    match schema {
        Value::Object(members) => members.values_mut().for_each(wrap_references),
        Value::Array(items) => items.iter_mut().for_each(wrap_references),
        _ => {}
    }
}
