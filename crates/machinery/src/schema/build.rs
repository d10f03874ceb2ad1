//! Makes the compact tree from JSON schemas.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::definitions::REFERENCE;
use super::merge::{list_merge, retains_keys};
use super::{Field, ListMerge, ListType, Node, NodeId, Struct, Tree};

/// Definitions that are values of their own kind rather than what their schema says.
const SPECIAL: [(&str, Node); 5] = [
    (
        "io.k8s.apimachinery.pkg.api.resource.Quantity",
        Node::Quantity,
    ),
    (
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        Node::IntOrString,
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
        Node::Time { micro: false },
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
        Node::Time { micro: true },
    ),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", Node::Any),
];

/// Builds a tree of all definitions; references that lead nowhere accept anything.
pub(crate) fn tree(definitions: &Map<String, Value>) -> Tree {
    let mut builder = Builder {
        nodes: Vec::new(),
        places: BTreeMap::new(),
    };
    for (number, name) in definitions.keys().enumerate() {
        builder.nodes.push(Node::Any);
        builder.places.insert(name.as_str(), number as NodeId);
    }
    for (number, (name, schema)) in definitions.iter().enumerate() {
        let special = SPECIAL.iter().find(|(special, _)| special == name);
        builder.nodes[number] = match special {
            Some((_, node)) => node.clone(),
            None => builder.node(schema, short_name(name), None),
        };
    }
    let definitions = builder
        .places
        .iter()
        .map(|(name, node)| (Box::from(*name), *node))
        .collect();
    builder.nodes.shrink_to_fit();
    Tree {
        nodes: builder.nodes,
        definitions,
    }
}

/// `DeploymentSpec` of `io.k8s.api.apps.v1.DeploymentSpec`.
fn short_name(definition: &str) -> &str {
    definition.rsplit('.').next().unwrap_or(definition)
}

struct Builder<'a> {
    nodes: Vec<Node>,
    places: BTreeMap<&'a str, NodeId>,
}

impl Builder<'_> {
    /// Makes the node of `schema`, which stands in `field` of the struct `owner`.
    fn node(&mut self, schema: &Value, owner: &str, field: Option<&str>) -> Node {
        if schema["x-kubernetes-int-or-string"] == true {
            return Node::IntOrString;
        }
        match schema["type"].as_str() {
            Some("string") => match schema["format"].as_str() {
                Some("byte") => Node::Bytes,
                _ => Node::String,
            },
            Some("integer") => match schema["format"].as_str() {
                Some("int32") => Node::Int32,
                _ => Node::Int64,
            },
            Some("number") => Node::Number,
            Some("boolean") => Node::Boolean,
            Some("array") => Node::List {
                items: self.place(&schema["items"], owner, None),
                merge: match field {
                    Some(field) => list_merge(owner, field),
                    None => ListMerge::default(),
                }
                .or_from_extensions(schema),
            },
            Some("object") => self.object(schema, owner),
            _ => Node::Any,
        }
    }

    fn object(&mut self, schema: &Value, owner: &str) -> Node {
        if let Some(properties) = schema["properties"].as_object() {
            let required: Vec<&str> = schema["required"]
                .as_array()
                .map(|names| names.iter().filter_map(Value::as_str).collect())
                .unwrap_or_default();
            let mut fields: Vec<Field> = properties
                .iter()
                .map(|(name, schema)| Field {
                    name: name.as_str().into(),
                    node: self.place(schema, owner, Some(name)),
                    required: required.contains(&name.as_str()),
                    retain_keys: retains_keys(owner, name),
                })
                .collect();
            fields.sort_by(|a, b| a.name.cmp(&b.name));
            return Node::Struct(Box::new(Struct {
                name: owner.into(),
                fields: fields.into(),
                preserve_unknown: schema["x-kubernetes-preserve-unknown-fields"] == true,
            }));
        }
        match &schema["additionalProperties"] {
            values @ Value::Object(_) => Node::Map {
                values: self.place(values, owner, None),
            },
            _ => Node::Any,
        }
    }

    /// The number of the node for `schema`: that of a definition, or a new one.
    fn place(&mut self, schema: &Value, owner: &str, field: Option<&str>) -> NodeId {
        if let Some(reference) = reference(schema)
            && let Some(place) = self.places.get(reference)
        {
            return *place;
        }
        let node = self.node(schema, owner, field);
        self.nodes.push(node);
        (self.nodes.len() - 1) as NodeId
    }
}

fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix(REFERENCE)
}

impl ListMerge {
    /// What the schema itself says about the list, where the table is silent.
    fn or_from_extensions(self, schema: &Value) -> ListMerge {
        let list_type = match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => ListType::Set,
            Some("map") => ListType::Map,
            _ => return self,
        };
        let keys = schema["x-kubernetes-list-map-keys"].as_array();
        ListMerge {
            list_type,
            map_keys: keys
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(Box::from)
                .collect(),
            ..self
        }
    }
}
