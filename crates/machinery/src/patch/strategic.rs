//! Kubernetes' strategic merge patch: a merge patch that knows by which key the items of a list
//! are the same, with directives for what a merge cannot say.
//!
//! | directive | says |
//! | --- | --- |
//! | `$patch: replace` | the object is replaced by the rest of the patch; as an item: the list is |
//! | `$patch: delete` | the object is emptied; as an item with its key: the item is removed |
//! | `$patch: merge` | what happens without it |
//! | `$retainKeys: […]` | fields that are not listed are removed |
//! | `$setElementOrder/LIST: […]` | the order of the list's items |
//! | `$deleteFromPrimitiveList/LIST: […]` | values to be removed from a list of scalars |
//!
//! What the lists' keys are is told by a [`PatchMeta`], which the schemas implement.

mod list;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use super::{parse, type_of};
use crate::error::ApiError;
use crate::schema::Schema;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_SCALARS: &str = "$deleteFromPrimitiveList/";

/// How a patch's list is applied to an object's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListStrategy<'a> {
    /// The patch's list replaces the object's.
    Replace,
    /// Items are objects; those with the same value of this key are merged.
    MergeByKey(&'a str),
    /// Items are scalars; the lists are united.
    MergeScalars,
}

/// What a strategic merge must know of a place in an object.
pub trait PatchMeta: Sized {
    /// The place of a field, or of a map's entry; `None` if it is not known.
    fn field(&self, name: &str) -> Option<Self>;
    /// The place of a list's items.
    fn items(&self) -> Option<Self>;
    /// How lists in this place are patched.
    fn list_strategy(&self) -> ListStrategy<'_>;
}

impl PatchMeta for Schema {
    fn field(&self, name: &str) -> Option<Self> {
        Schema::field(self, name)
    }

    fn items(&self) -> Option<Self> {
        Schema::items(self)
    }

    fn list_strategy(&self) -> ListStrategy<'_> {
        match self.list_merge() {
            Some(merge) if merge.merges => match &merge.merge_key {
                Some(key) => ListStrategy::MergeByKey(key),
                None => ListStrategy::MergeScalars,
            },
            _ => ListStrategy::Replace,
        }
    }
}

/// Why a strategic merge patch is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("invalid JSON document")]
    NotAnObject,
    #[error("lists of lists are not supported")]
    ListOfLists,
    #[error("invalid patch format of primitive list")]
    ScalarList,
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    #[error("invalid patch format of setElementOrder list")]
    OrderList,
    #[error("list element types are not identical: {0}")]
    MixedList(String),
    #[error("map: {0} does not contain declared merge key: {1}")]
    NoMergeKey(String, String),
    #[error("unknown patch type: {0} in map: {1}")]
    UnknownDirective(String, String),
    #[error("The order in patch list:\n{0}\n doesn't match $setElementOrder list:\n{1}\n")]
    OrderMismatch(String, String),
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::ListOfLists => Self::unprocessable(refusal),
            _ => Self::bad_request(refusal.to_string()),
        }
    }
}

type Merged<T> = Result<T, Refusal>;

/// Applies a strategic merge patch to an object whose place `meta` describes.
pub fn strategic_merge<M: PatchMeta>(
    object: &Value,
    body: &[u8],
    meta: &M,
) -> Result<Value, ApiError> {
    let patch = parse(body)?;
    if !patch.is_object() {
        return Err(ApiError::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            type_of(&patch)
        )));
    }
    strategic_merge_value(object.clone(), patch, meta)
}

/// Applies a parsed strategic merge patch to an object whose place `meta` describes.
pub fn strategic_merge_value<M: PatchMeta>(
    object: Value,
    patch: Value,
    meta: &M,
) -> Result<Value, ApiError> {
    let (Value::Object(fields), Value::Object(patch)) = (object, patch) else {
        return Err(Refusal::NotAnObject.into());
    };
    Ok(Value::Object(merge_object(fields, patch, Some(meta))?))
}

/// What a patch says of one object, its directives taken apart.
struct ObjectPatch {
    fields: Map<String, Value>,
    retain: Option<Vec<Value>>,
    orders: Map<String, Value>,
    deletions: Map<String, Value>,
}

impl ObjectPatch {
    fn new(patch: Map<String, Value>) -> Merged<Self> {
        let mut parts = Self {
            fields: Map::new(),
            retain: None,
            orders: Map::new(),
            deletions: Map::new(),
        };
        for (name, value) in patch {
            if name == DIRECTIVE {
                continue;
            }
            if name == RETAIN_KEYS {
                let Value::Array(names) = value else {
                    return Err(Refusal::RetainKeys);
                };
                parts.retain = Some(names);
            } else if let Some(list) = name.strip_prefix(SET_ORDER) {
                parts.orders.insert(list.to_owned(), value);
            } else if let Some(list) = name.strip_prefix(DELETE_SCALARS) {
                parts.deletions.insert(list.to_owned(), value);
            } else if name == SET_ORDER.trim_end_matches('/') {
                return Err(Refusal::OrderList);
            } else if name == DELETE_SCALARS.trim_end_matches('/') {
                return Err(Refusal::ScalarList);
            } else {
                parts.fields.insert(name, value);
            }
        }
        Ok(parts)
    }
}

/// The directive of an object in a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

fn directive_of(patch: &Map<String, Value>) -> Merged<Directive> {
    match patch.get(DIRECTIVE) {
        None => Ok(Directive::Merge),
        Some(Value::String(text)) if text == "merge" => Ok(Directive::Merge),
        Some(Value::String(text)) if text == "replace" => Ok(Directive::Replace),
        Some(Value::String(text)) if text == "delete" => Ok(Directive::Delete),
        Some(other) => {
            let map = go_text(&Value::Object(patch.clone()));
            Err(Refusal::UnknownDirective(go_text(other), map))
        }
    }
}

fn merge_object<M: PatchMeta>(
    mut fields: Map<String, Value>,
    patch: Map<String, Value>,
    meta: Option<&M>,
) -> Merged<Map<String, Value>> {
    match directive_of(&patch)? {
        Directive::Merge => {}
        Directive::Replace => return added_object(patch),
        Directive::Delete => return Ok(Map::new()),
    }
    let patch = ObjectPatch::new(patch)?;
    if let Some(retain) = &patch.retain {
        let retained = |name: &str| retain.iter().any(|one| one.as_str() == Some(name));
        if patch
            .fields
            .iter()
            .any(|(name, value)| !value.is_null() && !retained(name))
        {
            return Err(Refusal::RetainKeys);
        }
        fields.retain(|name, _| retained(name));
    }
    let mut orders = patch.orders;
    for (name, value) in patch.fields {
        let order = orders.remove(&name);
        if value.is_null() {
            fields.remove(&name);
            continue;
        }
        let meta = meta.and_then(|meta| meta.field(&name));
        let merged = match (fields.remove(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                Value::Object(merge_object(old, new, meta.as_ref())?)
            }
            (Some(Value::Array(old)), Value::Array(new)) => {
                Value::Array(list::merge(old, new, order, meta.as_ref())?)
            }
            (_, Value::Array(new)) if order.is_some() => {
                Value::Array(list::merge(Vec::new(), new, order, meta.as_ref())?)
            }
            (_, new) => added(new)?,
        };
        fields.insert(name, merged);
    }
    for (name, order) in orders {
        if let Some(Value::Array(items)) = fields.remove(&name) {
            let meta = meta.and_then(|meta| meta.field(&name));
            let ordered = list::merge(items, Vec::new(), Some(order), meta.as_ref())?;
            fields.insert(name, Value::Array(ordered));
        }
    }
    for (name, deletions) in patch.deletions {
        let Value::Array(deletions) = deletions else {
            return Err(Refusal::ScalarList);
        };
        if let Some(Value::Array(items)) = fields.get_mut(&name) {
            items.retain(|item| !deletions.contains(item));
        }
    }
    Ok(fields)
}

/// What a patch's value becomes where there was none: itself without directives and nulls.
fn added(value: Value) -> Merged<Value> {
    Ok(match value {
        Value::Object(fields) => Value::Object(added_object(fields)?),
        Value::Array(items) => Value::Array(added_items(items)?),
        scalar => scalar,
    })
}

fn added_object(patch: Map<String, Value>) -> Merged<Map<String, Value>> {
    if directive_of(&patch)? == Directive::Delete {
        return Ok(Map::new());
    }
    let mut fields = Map::new();
    for (name, value) in ObjectPatch::new(patch)?.fields {
        if !value.is_null() {
            fields.insert(name, added(value)?);
        }
    }
    Ok(fields)
}

fn added_items(items: Vec<Value>) -> Merged<Vec<Value>> {
    let mut kept = Vec::with_capacity(items.len());
    for item in items {
        match &item {
            // An item with a directive is an order to the merge, not an item.
            Value::Object(fields) if directive_of(fields)? != Directive::Merge => {}
            _ => kept.push(added(item)?),
        }
    }
    Ok(kept)
}

/// Prints a value as Go's `%v` does, which Kubernetes' messages use.
fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_text).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{name}:{}", go_text(value)))
                .collect();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}
