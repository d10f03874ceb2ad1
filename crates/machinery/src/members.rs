//! Reading and filling members of JSON objects, where every member may be missing or of any type.

use serde_json::{Map, Value};

/// Sets `object[name]` unless it is there already; null counts as missing.
pub(crate) fn fill(object: &mut Value, name: &str, value: impl Into<Value>) {
    if object.get(name).is_none_or(Value::is_null)
        && let Some(members) = object.as_object_mut()
    {
        members.insert(name.to_owned(), value.into());
    }
}

/// As [`fill`], and an empty string counts as missing too.
pub(crate) fn fill_text(object: &mut Value, name: &str, value: &str) {
    if object.get(name).is_some_and(|present| present == "") {
        object[name] = Value::Null;
    }
    fill(object, name, value);
}

/// The member `name` if it is an object, to change it.
pub(crate) fn member_mut<'a>(object: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    object.get_mut(name).filter(|member| member.is_object())
}

/// The member `name`, made an empty object if it is missing or null.
pub(crate) fn ensure<'a>(object: &'a mut Value, name: &str) -> &'a mut Value {
    fill(object, name, Map::new());
    &mut object[name]
}

/// The items of the list `object[name]`; none if there is no list.
pub(crate) fn items<'a>(object: &'a Value, name: &str) -> std::slice::Iter<'a, Value> {
    let list = object.get(name).and_then(Value::as_array);
    list.map_or(&[] as &[Value], Vec::as_slice).iter()
}

/// The items of the list `object[name]`, to change them.
pub(crate) fn items_mut<'a>(object: &'a mut Value, name: &str) -> std::slice::IterMut<'a, Value> {
    let list = object.get_mut(name).and_then(Value::as_array_mut);
    list.map_or(&mut [] as &mut [Value], Vec::as_mut_slice)
        .iter_mut()
}

/// The members of the object `object[name]`; none if there is no object.
pub(crate) fn entries<'a>(
    object: &'a Value,
    name: &str,
) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
    object
        .get(name)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value))
}

/// The string `object[name]`; empty if there is none.
pub(crate) fn text<'a>(object: &'a Value, name: &str) -> &'a str {
    object.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The integer `object[name]`.
pub(crate) fn integer(object: &Value, name: &str) -> Option<i64> {
    object.get(name).and_then(Value::as_i64)
}

/// Whether `object[name]` is there and not null.
pub(crate) fn has(object: &Value, name: &str) -> bool {
    object.get(name).is_some_and(|value| !value.is_null())
}

/// Whether `object[name]` is true.
pub(crate) fn is_true(object: &Value, name: &str) -> bool {
    object.get(name).and_then(Value::as_bool).unwrap_or(false)
}

/// Removes `object[name]`.
pub(crate) fn remove(object: &mut Value, name: &str) -> Option<Value> {
    object.as_object_mut()?.remove(name)
}

/// Puts `from[name]` in place of `object[name]`, or takes that away if there is none.
pub(crate) fn restore(object: &mut Value, name: &str, from: &Value) {
    let Some(members) = object.as_object_mut() else {
        return;
    };
    match from.get(name) {
        Some(value) => {
            members.insert(name.to_owned(), value.clone());
        }
        None => {
            members.remove(name);
        }
    }
}
