//! Random bodies that fit a schema, for tests of what must hold for all of them.

use serde_json::{Map, Value, json};

use super::{Node, NodeId, Schema};
use crate::entropy::Entropy;

const WORDS: [&str; 14] = [
    "",
    "a",
    "web",
    "Always",
    "None",
    "Never",
    "80%",
    "x/y",
    "-",
    "..",
    "TCP",
    "ClusterIP",
    "Résumé",
    "Resource",
];
const QUANTITIES: [&str; 7] = [
    "0",
    "100m",
    "1Gi",
    "-1",
    "1e3",
    "0.5",
    "9999999999999999999",
];
const NUMBERS: [i64; 7] = [0, 1, -1, 80, 70_000, 2_147_483_647, 3600];

/// A body that passes [`Schema::check`]: some fields are left out, some null, some empty.
pub(crate) fn body(schema: &Schema, entropy: &Entropy) -> Value {
    value(schema, schema.node, entropy, 0)
}

fn value(schema: &Schema, node: NodeId, entropy: &Entropy, depth: usize) -> Value {
    let pick = |count: usize| entropy.below(count as u64) as usize;
    if depth > 0 && pick(20) == 0 {
        return Value::Null;
    }
    match &schema.tree.nodes[node as usize] {
        Node::Any => json!({"any": [1, "x"]}),
        Node::String => json!(WORDS[pick(WORDS.len())]),
        Node::Int32 | Node::Int64 => json!(NUMBERS[pick(NUMBERS.len())]),
        Node::Number => json!(1.5),
        Node::Boolean => json!(pick(2) == 0),
        Node::IntOrString => {
            if pick(2) == 0 {
                json!(NUMBERS[pick(NUMBERS.len())])
            } else {
                json!(WORDS[pick(WORDS.len())])
            }
        }
        Node::Quantity => json!(QUANTITIES[pick(QUANTITIES.len())]),
        Node::Time { .. } => json!("2026-01-02T03:04:05Z"),
        Node::Bytes => json!("eA=="),
        Node::List { items, .. } => {
            let count = if depth > 9 { 0 } else { pick(3) };
            (0..count)
                .map(|_| value(schema, *items, entropy, depth + 1))
                .collect()
        }
        Node::Map { values } => {
            let count = if depth > 9 { 0 } else { pick(3) };
            let pair = |_| {
                let key = WORDS[pick(WORDS.len())].to_owned();
                (key, value(schema, *values, entropy, depth + 1))
            };
            Value::Object((0..count).map(pair).collect())
        }
        Node::Struct(fields) => {
            let mut members = Map::new();
            for field in &fields.fields {
                // Deep down only a few fields, or a body would never end.
                if pick(if depth < 4 { 2 } else { 4 }) == 0 && depth < 12 {
                    let member = value(schema, field.node, entropy, depth + 1);
                    members.insert(field.name.to_string(), member);
                }
            }
            Value::Object(members)
        }
    }
}
