//! The document of OpenAPI 2.0, one for all group versions.

use serde_json::{Map, Value, json};

use super::info;
use super::paths::{Operation, operations};
use super::schemas::{Definitions, list_name};
use super::v3::description;
use crate::registry::Registry;
use crate::schema::definitions::REFERENCE;

const TARGET: &str = "#/definitions/";

/// The document of everything in the registry.
pub(super) fn document(registry: &Registry) -> Value {
    let all = Definitions::generate(registry);
    let mut paths = Map::new();
    let mut roots = Vec::new();
    for (group, version) in registry.group_versions() {
        for found in registry.in_group_version(&group, &version) {
            roots.push(list_name(&found.served().definition));
        }
        for operation in operations(registry, &group, &version) {
            roots.extend(operation.body.clone());
            roots.extend(operation.answer.clone());
            let item = paths
                .entry(operation.path.clone())
                .or_insert_with(|| json!({"parameters": path_parameters(&operation.path)}));
            item[operation.method] = self::operation(&operation);
        }
    }
    let mut definitions = Map::new();
    for (name, schema) in all.reachable(roots) {
        let mut schema = schema.clone();
        redirect(&mut schema);
        definitions.insert(name.to_owned(), schema);
    }
    json!({
        "swagger": "2.0",
        "info": info(),
        "paths": paths,
        "definitions": definitions,
        "securityDefinitions": {"BearerToken": {
            "type": "apiKey", "in": "header", "name": "authorization",
            "description": "Bearer Token authentication",
        }},
        "security": [{"BearerToken": []}],
    })
}

fn path_parameters(path: &str) -> Vec<Value> {
    ["name", "namespace"]
        .iter()
        .filter(|name| path.contains(&format!("{{{name}}}")))
        .map(|name| {
            json!({"name": name, "in": "path", "required": true, "type": "string",
                "uniqueItems": true, "description": description(name)})
        })
        .collect()
}

fn operation(operation: &Operation) -> Value {
    let mut parameters: Vec<Value> = operation
        .parameters
        .iter()
        .map(|parameter| {
            json!({"name": parameter.name, "in": "query", "type": parameter.kind,
                "uniqueItems": true, "description": parameter.description})
        })
        .collect();
    if let Some(body) = &operation.body {
        let mut parameter =
            json!({"name": "body", "in": "body", "schema": {"$ref": format!("{TARGET}{body}")}});
        if operation.method != "delete" {
            parameter["required"] = json!(true);
        }
        parameters.insert(0, parameter);
    }
    let schema = match &operation.answer {
        Some(name) => json!({"$ref": format!("{TARGET}{name}")}),
        None => json!({"type": "string"}),
    };
    let (group, version, kind) = &operation.kind;
    json!({
        "description": operation.description,
        "operationId": operation.id,
        "tags": [operation.tag],
        "consumes": operation.consumes,
        "produces": operation.produces,
        "schemes": ["https"],
        "parameters": parameters,
        "responses": {
            "200": {"description": "OK", "schema": schema},
            "401": {"description": "Unauthorized"},
        },
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    })
}

/// Points references to where definitions are in this version.
fn redirect(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                let name = value.as_str().and_then(|text| text.strip_prefix(REFERENCE));
                match name.filter(|_| key == "$ref") {
                    Some(name) => *value = json!(format!("{TARGET}{name}")),
                    None => redirect(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redirect),
        _ => {}
    }
}
