//! Checks a decoded body against a schema: types, and fields the schema does not have.

use base64::Engine;
use serde_json::Value;

use super::{Node, NodeId, Schema, Tree};
use crate::quantity::Quantity;

/// A value that does not fit its field's type; the text is the one Kubernetes' decoder gives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TypeError(pub String);

impl Schema {
    /// Checks the types in `value` and returns the paths of fields the schema does not have
    /// (`spec.containers[0].imagge`), in document order.
    ///
    /// # Errors
    /// The first value whose type is wrong.
    pub fn check(&self, value: &Value) -> Result<Vec<String>, TypeError> {
        let mut walk = Walk {
            tree: &self.tree,
            path: String::new(),
            fields: Vec::new(),
            unknown: Vec::new(),
        };
        walk.visit(self.node, "", value)?;
        Ok(walk.unknown)
    }
}

struct Walk<'a> {
    tree: &'a Tree,
    /// As strict decoding reports it, with indices.
    path: String,
    /// As type errors report it, without indices.
    fields: Vec<&'a str>,
    unknown: Vec<String>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, node: NodeId, owner: &'a str, value: &Value) -> Result<(), TypeError> {
        if value.is_null() {
            return Ok(());
        }
        match &self.tree.nodes[node as usize] {
            Node::Any => Ok(()),
            Node::String => self.expect(value.is_string(), value, owner, node),
            Node::Boolean => self.expect(value.is_boolean(), value, owner, node),
            Node::Number => self.expect(value.is_number(), value, owner, node),
            Node::Int32 => {
                let fits = value.as_i64().is_some_and(|n| i32::try_from(n).is_ok());
                self.expect(fits, value, owner, node)
            }
            Node::Int64 => self.expect(value.is_i64(), value, owner, node),
            Node::IntOrString => {
                let fits = value.as_i64().is_some_and(|n| i32::try_from(n).is_ok());
                if fits || value.is_string() {
                    return Ok(());
                }
                Err(TypeError(format!(
                    "json: cannot unmarshal {} into Go value of type int32",
                    describe(value)
                )))
            }
            Node::Quantity => quantity(value),
            Node::Time { .. } => match value.as_str() {
                Some(text) => time(text),
                None => Err(TypeError(format!(
                    "json: cannot unmarshal {} into Go value of type string",
                    describe(value)
                ))),
            },
            Node::Bytes => match value.as_str() {
                Some(text) => bytes(text),
                None => self.expect(false, value, owner, node),
            },
            Node::List { items, .. } => {
                let Some(list) = value.as_array() else {
                    return self.expect(false, value, owner, node);
                };
                for (index, item) in list.iter().enumerate() {
                    let length = self.path.len();
                    self.path.push_str(&format!("[{index}]"));
                    self.visit(*items, owner, item)?;
                    self.path.truncate(length);
                }
                Ok(())
            }
            Node::Map { values } => {
                let Some(members) = value.as_object() else {
                    return self.expect(false, value, owner, node);
                };
                for (key, member) in members {
                    let length = self.enter(key);
                    self.visit(*values, owner, member)?;
                    self.path.truncate(length);
                }
                Ok(())
            }
            Node::Struct(fields) => {
                let Some(members) = value.as_object() else {
                    return self.expect(false, value, owner, node);
                };
                for (key, member) in members {
                    let length = self.enter(key);
                    match fields.field(key) {
                        Some(field) => {
                            self.fields.push(&field.name);
                            self.visit(field.node, &fields.name, member)?;
                            self.fields.pop();
                        }
                        None if fields.preserve_unknown => {}
                        None => self.unknown.push(self.path.clone()),
                    }
                    self.path.truncate(length);
                }
                Ok(())
            }
        }
    }

    /// Appends a member to the path and returns the length to go back to.
    fn enter(&mut self, key: &str) -> usize {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        length
    }

    fn expect(
        &self,
        fits: bool,
        value: &Value,
        owner: &str,
        node: NodeId,
    ) -> Result<(), TypeError> {
        if fits {
            return Ok(());
        }
        let what = describe(value);
        let wanted = self.go_type(node);
        Err(TypeError(if self.fields.is_empty() {
            format!("json: cannot unmarshal {what} into Go value of type {wanted}")
        } else {
            let path = self.fields.join(".");
            format!(
                "json: cannot unmarshal {what} into Go struct field {owner}.{path} of type {wanted}"
            )
        }))
    }

    /// The Go type Kubernetes has in this place.
    fn go_type(&self, node: NodeId) -> String {
        match &self.tree.nodes[node as usize] {
            Node::Any => "interface {}".to_owned(),
            Node::String => "string".to_owned(),
            Node::Int32 => "int32".to_owned(),
            Node::Int64 => "int64".to_owned(),
            Node::Number => "float64".to_owned(),
            Node::Boolean => "bool".to_owned(),
            Node::IntOrString => "intstr.IntOrString".to_owned(),
            Node::Quantity => "resource.Quantity".to_owned(),
            Node::Time { micro: false } => "v1.Time".to_owned(),
            Node::Time { micro: true } => "v1.MicroTime".to_owned(),
            Node::Bytes => "[]uint8".to_owned(),
            Node::List { items, .. } => format!("[]{}", self.go_type(*items)),
            Node::Map { values } => format!("map[string]{}", self.go_type(*values)),
            Node::Struct(fields) => format!("v1.{}", fields.name),
        }
    }
}

/// What Go calls a JSON value that does not fit.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) if number.is_i64() => "number".to_owned(),
        Value::Number(number) => format!("number {number}"),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
    }
}

fn quantity(value: &Value) -> Result<(), TypeError> {
    match Quantity::from_json(value) {
        Ok(_) => Ok(()),
        Err(error) => Err(TypeError(error.to_string())),
    }
}

fn time(text: &str) -> Result<(), TypeError> {
    if text.is_empty() || text.parse::<jiff::Timestamp>().is_ok() {
        return Ok(());
    }
    Err(TypeError(format!(
        "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
    )))
}

fn bytes(text: &str) -> Result<(), TypeError> {
    use base64::DecodeError;
    use base64::engine::general_purpose::STANDARD;
    let compact: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let place = match STANDARD.decode(compact.as_bytes()) {
        Ok(_) => return Ok(()),
        Err(DecodeError::InvalidByte(place, _) | DecodeError::InvalidLastSymbol(place, _)) => place,
        Err(DecodeError::InvalidLength(_) | DecodeError::InvalidPadding) => compact.len() / 4 * 4,
    };
    Err(TypeError(format!(
        "illegal base64 data at input byte {place}"
    )))
}
