//! Schemas of kinds as one compact tree: what fields exist, of which type, and how lists merge.
//!
//! The built-in tree is made once, at first use, from the JSON schemas of `k8s-openapi`
//! ([`definitions`]) and the merge metadata those lack ([`merge`]); descriptions are left out.
//! A [`Schema`] is a place in such a tree and cheap to clone.

pub(crate) mod build;
mod check;
pub(crate) mod definitions;
mod duplicates;
mod merge;
mod monitors;
mod normalize;
#[cfg(test)]
pub(crate) mod samples;
mod shipped;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

pub use check::TypeError;
pub use duplicates::{decode_strict, decode_strict_from};
pub(crate) use merge::{list_merge, retains_keys};

/// A place in a schema tree: the whole of a kind, one of its fields, an item of a list.
#[derive(Clone)]
pub struct Schema {
    tree: Arc<Tree>,
    node: NodeId,
    /// Set on the field that holds this place: a strategic merge patch keeps only listed keys.
    retain_keys: bool,
}

/// All places of one or many definitions. Places refer to each other by number, so definitions
/// can be shared and recursive.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
    definitions: BTreeMap<Box<str>, NodeId>,
}

pub(crate) type NodeId = u32;

/// What can stand in a place.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Any,
    String,
    Int32,
    Int64,
    Number,
    Boolean,
    IntOrString,
    Quantity,
    /// RFC 3339; `micro` keeps six digits of a second.
    Time {
        micro: bool,
    },
    /// base64 in JSON.
    Bytes,
    List {
        items: NodeId,
        merge: ListMerge,
    },
    Map {
        values: NodeId,
    },
    Struct(Box<Struct>),
}

#[derive(Debug, Clone)]
pub(crate) struct Struct {
    /// The Go name: `DeploymentSpec`.
    name: Box<str>,
    /// Sorted by name.
    fields: Box<[Field]>,
    /// Fields that are not listed are kept.
    preserve_unknown: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Field {
    name: Box<str>,
    node: NodeId,
    required: bool,
    retain_keys: bool,
}

/// How a list merges, both for strategic merge patches and for server-side apply.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListMerge {
    /// `x-kubernetes-patch-merge-key`: the key of a strategic merge; for lists of primitives with
    /// the merge strategy it is empty.
    pub merge_key: Option<Box<str>>,
    /// Whether `x-kubernetes-patch-strategy` has `merge`; without it a patch replaces the list.
    pub merges: bool,
    /// `x-kubernetes-list-type`.
    pub list_type: ListType,
    /// `x-kubernetes-list-map-keys`.
    pub map_keys: Box<[Box<str>]>,
}

/// `x-kubernetes-list-type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ListType {
    /// Replaced as a whole.
    #[default]
    Atomic,
    /// Items are unique values.
    Set,
    /// Items are identified by keys.
    Map,
}

/// What stands in a place, for those who walk a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape<'a> {
    /// An object with known fields.
    Struct,
    /// An object with any keys and values of one kind.
    Map,
    /// A list, and how it merges.
    List(&'a ListMerge),
    /// A string, number, boolean or something that is replaced as a whole.
    Scalar,
    /// Unknown content.
    Any,
}

impl Schema {
    /// The schema of a definition that ships with the program, such as
    /// `io.k8s.api.apps.v1.Deployment`.
    #[must_use]
    pub fn builtin(definition: &str) -> Option<Schema> {
        static TREE: OnceLock<Arc<Tree>> = OnceLock::new();
        let tree = TREE.get_or_init(|| Arc::new(build::tree(&definitions::generate())));
        let node = *tree.definitions.get(definition)?;
        Some(Schema {
            tree: tree.clone(),
            node,
            retain_keys: false,
        })
    }

    /// What stands here.
    #[must_use]
    pub fn shape(&self) -> Shape<'_> {
        match self.at() {
            Node::Struct(_) => Shape::Struct,
            Node::Map { .. } => Shape::Map,
            Node::List { merge, .. } => Shape::List(merge),
            Node::Any => Shape::Any,
            Node::String
            | Node::Int32
            | Node::Int64
            | Node::Number
            | Node::Boolean
            | Node::IntOrString
            | Node::Quantity
            | Node::Time { .. }
            | Node::Bytes => Shape::Scalar,
        }
    }

    /// The place of a member: a struct's field, or any key of a map. Nothing for an unknown field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<Schema> {
        match self.at() {
            Node::Struct(fields) => fields.field(name).map(|field| Schema {
                tree: self.tree.clone(),
                node: field.node,
                retain_keys: field.retain_keys,
            }),
            Node::Map { values } => Some(self.go(*values)),
            _ => None,
        }
    }

    /// The place of a list's items.
    #[must_use]
    pub fn items(&self) -> Option<Schema> {
        match self.at() {
            Node::List { items, .. } => Some(self.go(*items)),
            _ => None,
        }
    }

    /// How this list merges; nothing if this is no list.
    #[must_use]
    pub fn list_merge(&self) -> Option<&ListMerge> {
        match self.at() {
            Node::List { merge, .. } => Some(merge),
            _ => None,
        }
    }

    /// Whether a strategic merge patch of this object honours `$retainKeys`
    /// (`x-kubernetes-patch-strategy: retainKeys` on the field). For the items of a list, see
    /// `volumes`, it is answered by the list's place.
    #[must_use]
    pub fn retain_keys(&self) -> bool {
        self.retain_keys
    }

    fn at(&self) -> &Node {
        &self.tree.nodes[self.node as usize]
    }

    fn go(&self, node: NodeId) -> Schema {
        Schema {
            tree: self.tree.clone(),
            node,
            retain_keys: false,
        }
    }
}

impl Struct {
    fn field(&self, name: &str) -> Option<&Field> {
        let place = self
            .fields
            .binary_search_by(|field| (*field.name).cmp(name))
            .ok()?;
        Some(&self.fields[place])
    }
}

#[cfg(test)]
mod tests;
