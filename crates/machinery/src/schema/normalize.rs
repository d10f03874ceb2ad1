//! Brings a checked body into the form Kubernetes stores: unknown fields gone, values canonical.

use serde_json::{Map, Value};

use super::{Node, NodeId, Schema, Tree};
use crate::clock::{rfc3339, rfc3339_micro};
use crate::quantity::Quantity;

impl Schema {
    /// Removes fields the schema does not have, and nothing else.
    pub fn prune(&self, value: &mut Value) {
        prune(&self.tree, self.node, value);
    }

    /// What a round trip through Kubernetes' typed decoder does: unknown fields, nulls and empty
    /// optional lists and maps are removed, quantities and times become canonical. The value has
    /// passed [`Schema::check`]; what is of a wrong type is left alone.
    pub fn normalize(&self, value: &mut Value) {
        normalize(&self.tree, self.node, value);
    }
}

fn prune(tree: &Tree, node: NodeId, value: &mut Value) {
    match (&tree.nodes[node as usize], value) {
        (Node::Struct(fields), Value::Object(members)) => {
            if !fields.preserve_unknown {
                members.retain(|key, _| fields.field(key).is_some());
            }
            for (key, member) in members.iter_mut() {
                if let Some(field) = fields.field(key) {
                    prune(tree, field.node, member);
                }
            }
        }
        (Node::Map { values }, Value::Object(members)) => {
            for member in members.values_mut() {
                prune(tree, *values, member);
            }
        }
        (Node::List { items, .. }, Value::Array(list)) => {
            for item in list {
                prune(tree, *items, item);
            }
        }
        _ => {}
    }
}

fn normalize(tree: &Tree, node: NodeId, value: &mut Value) {
    match (&tree.nodes[node as usize], value) {
        (Node::Struct(fields), Value::Object(members)) => {
            members.retain(|key, member| match fields.field(key) {
                Some(field) => {
                    !member.is_null()
                        && (field.required || !is_empty_collection(tree, field.node, member))
                }
                None => fields.preserve_unknown,
            });
            for (key, member) in members.iter_mut() {
                if let Some(field) = fields.field(key) {
                    normalize(tree, field.node, member);
                }
            }
        }
        (Node::Map { values }, Value::Object(members)) => {
            for member in members.values_mut() {
                fill_zero(tree, *values, member);
                normalize(tree, *values, member);
            }
        }
        (Node::List { items, .. }, Value::Array(list)) => {
            for item in list {
                fill_zero(tree, *items, item);
                normalize(tree, *items, item);
            }
        }
        (Node::Quantity, place @ (Value::String(_) | Value::Number(_))) => {
            if let Ok(quantity) = Quantity::from_json(place) {
                *place = Value::String(quantity.to_string());
            }
        }
        (Node::Time { micro }, place @ Value::String(_)) => {
            let parsed = place.as_str().and_then(|text| text.parse().ok());
            if let Some(time) = parsed {
                *place = Value::String(if *micro {
                    rfc3339_micro(time)
                } else {
                    rfc3339(time)
                });
            }
        }
        (Node::Int32 | Node::Int64, place @ Value::Number(_)) => {
            if let Some(integer) = place.as_i64() {
                *place = integer.into();
            }
        }
        _ => {}
    }
}

fn is_empty_collection(tree: &Tree, node: NodeId, value: &Value) -> bool {
    match (&tree.nodes[node as usize], value) {
        (Node::List { .. }, Value::Array(list)) => list.is_empty(),
        (Node::Map { .. }, Value::Object(members)) => members.is_empty(),
        _ => false,
    }
}

/// Puts in place of a null what Go has there in a list or map: the zero of the type.
fn fill_zero(tree: &Tree, node: NodeId, value: &mut Value) {
    if !value.is_null() {
        return;
    }
    *value = match &tree.nodes[node as usize] {
        Node::String | Node::Bytes => Value::String(String::new()),
        Node::Quantity => Value::String("0".to_owned()),
        Node::Int32 | Node::Int64 | Node::Number | Node::IntOrString => 0.into(),
        Node::Boolean => false.into(),
        Node::Struct(_) => Value::Object(Map::new()),
        Node::Any | Node::Time { .. } | Node::List { .. } | Node::Map { .. } => return,
    };
}
