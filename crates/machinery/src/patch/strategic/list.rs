//! How lists merge, and in which order their items then stand.

use serde_json::{Map, Value};

use super::{
    DIRECTIVE, Directive, ListStrategy, Merged, PatchMeta, Refusal, added, added_items,
    directive_of, go_text, merge_object,
};

/// Merges a patch's list into an object's. `order` is what `$setElementOrder` says, if it does.
pub(super) fn merge<M: PatchMeta>(
    items: Vec<Value>,
    patch: Vec<Value>,
    order: Option<Value>,
    meta: Option<&M>,
) -> Merged<Vec<Value>> {
    let order = match order {
        None => None,
        Some(Value::Array(order)) => Some(order),
        Some(_) => return Err(Refusal::OrderList),
    };
    match meta.map_or(ListStrategy::Replace, PatchMeta::list_strategy) {
        ListStrategy::Replace => {
            // Nothing but an order leaves the items as they are.
            if patch.is_empty() && order.is_some() {
                Ok(items)
            } else {
                added_items(patch)
            }
        }
        ListStrategy::MergeScalars => merge_scalars(&items, &patch, order.as_deref()),
        ListStrategy::MergeByKey(key) => {
            let items_meta = meta.and_then(PatchMeta::items);
            merge_by_key(items, &patch, order.as_deref(), key, items_meta.as_ref())
        }
    }
}

fn merge_scalars(items: &[Value], patch: &[Value], order: Option<&[Value]>) -> Merged<Vec<Value>> {
    check_types(items, patch)?;
    if items
        .first()
        .or(patch.first())
        .is_some_and(Value::is_object)
    {
        return Err(Refusal::ScalarList);
    }
    if let Some(order) = order {
        check_order(patch, patch, order)?;
    }
    let mut united: Vec<Value> = Vec::with_capacity(items.len() + patch.len());
    for item in items.iter().chain(patch) {
        if !united.contains(item) {
            united.push(item.clone());
        }
    }
    let places = arrangement(&united, items, order.unwrap_or(patch));
    Ok(places
        .into_iter()
        .map(|place| united[place].clone())
        .collect())
}

fn merge_by_key<M: PatchMeta>(
    mut items: Vec<Value>,
    patch: &[Value],
    order: Option<&[Value]>,
    key: &str,
    meta: Option<&M>,
) -> Merged<Vec<Value>> {
    check_types(&items, patch)?;
    let mut plain = Vec::with_capacity(patch.len());
    let mut replace = false;
    for item in patch {
        let Value::Object(fields) = item else {
            return Err(Refusal::NoMergeKey(go_text(item), key.to_owned()));
        };
        match directive_of(fields)? {
            Directive::Merge => plain.push(fields.clone()),
            Directive::Replace => replace = true,
            Directive::Delete => {
                let value = key_of(fields, key)?.clone();
                items.retain(|item| item.get(key) != Some(&value));
            }
        }
    }
    let order = match order {
        None => None,
        Some(order) => {
            let keys = keys_of(order, key)?;
            let plain_keys: Vec<Value> = plain
                .iter()
                .map(|fields| key_of(fields, key).cloned())
                .collect::<Merged<_>>()?;
            check_order(patch, &plain_keys, &keys)?;
            Some(keys)
        }
    };
    if replace {
        items.clear();
    }
    let before = keys_of(&items, key)?;
    let mut patched_keys = Vec::with_capacity(plain.len());
    for mut fields in plain {
        let value = key_of(&fields, key)?.clone();
        fields.remove(DIRECTIVE);
        let place = items.iter_mut().find(|item| item.get(key) == Some(&value));
        match place {
            Some(place) => {
                let old = match place.take() {
                    Value::Object(old) => old,
                    _ => Map::new(),
                };
                *place = Value::Object(merge_object(old, fields, meta)?);
            }
            None => items.push(added(Value::Object(fields))?),
        }
        patched_keys.push(value);
    }
    let order = order.unwrap_or(patched_keys);
    let keyed = items
        .into_iter()
        .map(|item| (item.get(key).cloned().unwrap_or_default(), item));
    let (keys, items): (Vec<Value>, Vec<Value>) = keyed.unzip();
    let places = arrangement(&keys, &before, &order);
    let mut items: Vec<Option<Value>> = items.into_iter().map(Some).collect();
    Ok(places
        .into_iter()
        .filter_map(|place| items[place].take())
        .collect())
}

fn key_of<'a>(fields: &'a Map<String, Value>, key: &str) -> Merged<&'a Value> {
    fields
        .get(key)
        .ok_or_else(|| Refusal::NoMergeKey(go_text(&Value::Object(fields.clone())), key.to_owned()))
}

fn keys_of(items: &[Value], key: &str) -> Merged<Vec<Value>> {
    let key_of_item = |item: &Value| {
        item.get(key)
            .cloned()
            .ok_or_else(|| Refusal::NoMergeKey(go_text(item), key.to_owned()))
    };
    items.iter().map(key_of_item).collect()
}

/// Checks that all items are of one JSON type and are no lists.
fn check_types(items: &[Value], patch: &[Value]) -> Merged<()> {
    let mut all = items.iter().chain(patch);
    let Some(first) = all.next() else {
        return Ok(());
    };
    if first.is_array() {
        return Err(Refusal::ListOfLists);
    }
    if all.any(|item| super::type_of(item) != super::type_of(first)) {
        let lists = [Value::from(items), Value::from(patch)].map(|list| go_text(&list));
        return Err(Refusal::MixedList(lists.join(" ")));
    }
    Ok(())
}

/// Checks that `keys` appear in `order`, in that order.
fn check_order(patch: &[Value], keys: &[Value], order: &[Value]) -> Merged<()> {
    // An empty order says nothing.
    if order.is_empty() {
        return Ok(());
    }
    let mut rest = order.iter();
    if keys.iter().all(|key| rest.any(|one| one == key)) {
        return Ok(());
    }
    let text = |list: &[Value]| go_text(&Value::from(list));
    Err(Refusal::OrderMismatch(text(patch), text(order)))
}

/// The places of `keys` in the order they shall stand in.
///
/// Those that `order` names follow it. The others keep the order they had `before`, and stand in
/// front of a named one only where they stood in front of it before.
fn arrangement(keys: &[Value], before: &[Value], order: &[Value]) -> Vec<usize> {
    let position = |list: &[Value], key: &Value| list.iter().position(|one| one == key);
    let (mut named, mut others): (Vec<usize>, Vec<usize>) =
        (0..keys.len()).partition(|place| order.contains(&keys[*place]));
    named.sort_by_key(|place| position(order, &keys[*place]));
    others.sort_by_key(|place| position(before, &keys[*place]));

    let stood_before = |one: usize, other: usize| {
        let (Some(one), Some(other)) =
            (position(before, &keys[one]), position(before, &keys[other]))
        else {
            return false;
        };
        one < other
    };
    let mut places = Vec::with_capacity(keys.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let next = match (others.peek(), named.peek()) {
            (Some(other), Some(name)) if stood_before(*other, *name) => others.next(),
            (_, Some(_)) => named.next(),
            (Some(_), None) => others.next(),
            (None, None) => return places,
        };
        places.extend(next);
    }
}
