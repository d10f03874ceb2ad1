//! Random objects and patches for the laws of patches.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Any JSON value, a few levels deep.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0_i64..4).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-d]", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Any JSON object.
pub(crate) fn object() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-d]", value(), 0..4)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

/// A JSON patch, most of which does not apply.
pub(crate) fn json_patch() -> impl Strategy<Value = Value> {
    let path = "(/([a-d]|[0-2]|-)){0,3}";
    let name = prop::sample::select(vec!["add", "remove", "replace", "move", "copy", "test"]);
    let operation = (name, path, path, value()).prop_map(
        |(name, path, from, value)| json!({"op": name, "path": path, "from": from, "value": value}),
    );
    prop::collection::vec(operation, 0..6).prop_map(Value::from)
}

/// An object of the shape that `Sample` in the tests describes: scalars `a` and `b`, a map `m`,
/// lists `items` by `name` (the items are of this shape again), `scalars` and `atomic`.
pub(crate) fn shaped() -> impl Strategy<Value = Value> {
    shaped_fields(2).prop_map(Value::Object)
}

fn shaped_fields(depth: u32) -> BoxedStrategy<Map<String, Value>> {
    let maybe = |strategy: BoxedStrategy<Value>| prop::option::of(strategy);
    let scalar = || (0_i64..3).prop_map(Value::from).boxed();
    let scalars = || {
        prop::sample::subsequence(vec!["x", "y", "z"], 0..=3)
            .prop_shuffle()
            .prop_map(Value::from)
    };
    let map = prop::collection::btree_map("[p-r]", 0_i64..3, 0..3)
        .prop_map(|fields| json!(fields))
        .boxed();
    let items = if depth == 0 {
        Just(json!([])).boxed()
    } else {
        let names = prop::sample::subsequence(vec!["i", "j", "k", "l"], 0..=4).prop_shuffle();
        (names, prop::collection::vec(shaped_fields(depth - 1), 4))
            .prop_map(|(names, contents)| {
                let item = |(name, mut fields): (&str, Map<String, Value>)| {
                    fields.insert("name".to_owned(), name.into());
                    Value::Object(fields)
                };
                names.into_iter().zip(contents).map(item).collect()
            })
            .boxed()
    };
    (
        maybe(scalar()),
        maybe(scalar()),
        maybe(map),
        maybe(items),
        maybe(scalars().boxed()),
        maybe(scalars().boxed()),
    )
        .prop_map(|(a, b, m, items, scalars, atomic)| {
            let named = [
                ("a", a),
                ("b", b),
                ("m", m),
                ("items", items),
                ("scalars", scalars),
                ("atomic", atomic),
            ];
            let set = named
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)));
            set.map(|(name, value)| (name.to_owned(), value)).collect()
        })
        .boxed()
}
