//! What strategic merge patches do, by example and by law.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

/// The places of the sample objects: see [`samples::shaped`].
#[derive(Debug, Clone, Copy)]
enum Sample {
    Object,
    Items,
    Scalars,
    Other,
}

impl PatchMeta for Sample {
    fn field(&self, name: &str) -> Option<Self> {
        match (self, name) {
            (Self::Object, "items") => Some(Self::Items),
            (Self::Object, "scalars") => Some(Self::Scalars),
            (Self::Object, "unknown") => None,
            (Self::Object, "inner") => Some(Self::Object),
            _ => Some(Self::Other),
        }
    }

    fn items(&self) -> Option<Self> {
        Some(if matches!(self, Self::Items) {
            Self::Object
        } else {
            Self::Other
        })
    }

    fn list_strategy(&self) -> ListStrategy<'_> {
        match self {
            Self::Items => ListStrategy::MergeByKey("name"),
            Self::Scalars => ListStrategy::MergeScalars,
            Self::Object | Self::Other => ListStrategy::Replace,
        }
    }
}

fn patched(object: &Value, patch: &Value) -> Result<Value, (u16, String)> {
    strategic_merge(object, patch.to_string().as_bytes(), &Sample::Object)
        .map_err(|error| (error.code(), error.message().to_owned()))
}

#[test]
fn objects_merge_and_lists_merge_by_key() {
    for (object, patch, expected) in [
        (json!({"a": 1}), json!({}), json!({"a": 1})),
        (
            json!({"a": 1, "b": 2}),
            json!({"a": null, "m": {"x": 1}}),
            json!({"b": 2, "m": {"x": 1}}),
        ),
        (
            json!({"m": {"x": 1, "y": 2}}),
            json!({"m": {"x": null}}),
            json!({"m": {"y": 2}}),
        ),
        (
            json!({}),
            json!({"m": {"x": null, "y": 1}}),
            json!({"m": {"y": 1}}),
        ),
        (
            json!({"atomic": [1, 2]}),
            json!({"atomic": [3]}),
            json!({"atomic": [3]}),
        ),
        (
            json!({"unknown": [1, 2]}),
            json!({"unknown": [3]}),
            json!({"unknown": [3]}),
        ),
        (json!({"a": [1]}), json!({"a": 2}), json!({"a": 2})),
        (
            json!({"items": [{"name": "i", "a": 1}, {"name": "j"}]}),
            json!({"items": [{"name": "j", "a": 2}]}),
            json!({"items": [{"name": "i", "a": 1}, {"name": "j", "a": 2}]}),
        ),
        // What is new stands first unless the old stood before something patched.
        (
            json!({"items": [{"name": "i"}]}),
            json!({"items": [{"name": "k", "a": null, "b": 1}]}),
            json!({"items": [{"name": "k", "b": 1}, {"name": "i"}]}),
        ),
        (
            json!({"items": [{"name": "i", "items": [{"name": "x", "a": 1}]}]}),
            json!({"items": [{"name": "i", "items": [{"name": "x", "b": 2}]}]}),
            json!({"items": [{"name": "i", "items": [{"name": "x", "a": 1, "b": 2}]}]}),
        ),
        (
            json!({"scalars": ["x", "y"]}),
            json!({"scalars": ["y", "z"]}),
            json!({"scalars": ["x", "y", "z"]}),
        ),
    ] {
        assert_eq!(
            patched(&object, &patch).unwrap(),
            expected,
            "{object} + {patch}"
        );
    }
}

#[test]
fn directives_say_what_a_merge_cannot() {
    for (object, patch, expected) in [
        (
            json!({"m": {"x": 1}, "a": 1}),
            json!({"m": {"$patch": "replace", "y": 2, "z": null}}),
            json!({"m": {"y": 2}, "a": 1}),
        ),
        (
            json!({"m": {"x": 1}}),
            json!({"m": {"$patch": "delete"}}),
            json!({"m": {}}),
        ),
        (
            json!({"m": {"x": 1}}),
            json!({"m": {"$patch": "merge", "y": 2}}),
            json!({"m": {"x": 1, "y": 2}}),
        ),
        (
            json!({"items": [{"name": "i", "a": 1}, {"name": "j"}]}),
            json!({"items": [{"$patch": "delete", "name": "i"}]}),
            json!({"items": [{"name": "j"}]}),
        ),
        (
            json!({"items": [{"name": "i", "a": 1}, {"name": "j"}]}),
            json!({"items": [{"$patch": "replace"}, {"name": "k"}]}),
            json!({"items": [{"name": "k"}]}),
        ),
        (
            json!({"items": [{"name": "i"}]}),
            json!({"items": [{"$patch": "replace"}]}),
            json!({"items": []}),
        ),
        // Directives leave no trace where there is nothing to merge with.
        (
            json!({}),
            json!({"items": [{"$patch": "delete", "name": "i"}, {"name": "j", "m": {"$patch": "replace", "x": 1}}],
                   "m": {"$retainKeys": ["x"], "x": 1}, "$deleteFromPrimitiveList/scalars": ["x"]}),
            json!({"items": [{"name": "j", "m": {"x": 1}}], "m": {"x": 1}}),
        ),
        (
            json!({"inner": {"a": 1, "b": 2, "m": {}}}),
            json!({"inner": {"$retainKeys": ["a"], "a": 3}}),
            json!({"inner": {"a": 3}}),
        ),
        (
            json!({"inner": {"a": 1, "b": 2}}),
            json!({"inner": {"$retainKeys": ["a"], "b": null}}),
            json!({"inner": {"a": 1}}),
        ),
        (
            json!({"scalars": ["x", "y", "z"]}),
            json!({"$deleteFromPrimitiveList/scalars": ["y", "none"]}),
            json!({"scalars": ["x", "z"]}),
        ),
        (
            json!({"scalars": ["x", "y"]}),
            json!({"$deleteFromPrimitiveList/scalars": ["x"], "$setElementOrder/scalars": ["z", "y"], "scalars": ["z"]}),
            json!({"scalars": ["z", "y"]}),
        ),
        (
            json!({"items": [{"name": "i"}, {"name": "j"}, {"name": "k"}]}),
            json!({"$setElementOrder/items": [{"name": "k"}, {"name": "i"}]}),
            json!({"items": [{"name": "j"}, {"name": "k"}, {"name": "i"}]}),
        ),
        (
            json!({"items": [{"name": "i"}, {"name": "k"}]}),
            json!({"$setElementOrder/items": [{"name": "i"}, {"name": "j"}, {"name": "k"}], "items": [{"name": "j", "a": 1}]}),
            json!({"items": [{"name": "i"}, {"name": "j", "a": 1}, {"name": "k"}]}),
        ),
        (
            json!({}),
            json!({"$setElementOrder/items": [{"name": "i"}, {"name": "j"}], "items": [{"name": "j"}]}),
            json!({"items": [{"name": "j"}]}),
        ),
        (
            json!({"a": 1}),
            json!({"$setElementOrder/items": [{"name": "i"}]}),
            json!({"a": 1}),
        ),
        (
            json!({"atomic": [2, 1]}),
            json!({"$setElementOrder/atomic": [1, 2]}),
            json!({"atomic": [2, 1]}),
        ),
    ] {
        assert_eq!(
            patched(&object, &patch).unwrap(),
            expected,
            "{object} + {patch}"
        );
    }
}

#[test]
fn malformed_patches_are_refused_in_kubernetes_words() {
    let object = json!({"items": [{"name": "i"}], "scalars": ["x"], "m": {}, "inner": {"a": 1}});
    let list_of_lists = "the server rejected our request due to an error in our request: lists of lists are not supported";
    for (patch, code, message) in [
        (
            json!({"items": [{"b": 2, "a": 1}]}),
            400,
            "map: map[a:1 b:2] does not contain declared merge key: name",
        ),
        (
            json!({"items": [{"$patch": "delete"}]}),
            400,
            "map: map[$patch:delete] does not contain declared merge key: name",
        ),
        (
            json!({"m": {"$patch": "burn"}}),
            400,
            "unknown patch type: burn in map: map[$patch:burn]",
        ),
        (
            json!({"new": {"$patch": 1}}),
            400,
            "unknown patch type: 1 in map: map[$patch:1]",
        ),
        (
            json!({"inner": {"$retainKeys": "a"}}),
            400,
            "invalid patch format of retainKeys",
        ),
        (
            json!({"inner": {"$retainKeys": ["a"], "b": 1}}),
            400,
            "invalid patch format of retainKeys",
        ),
        (
            json!({"$deleteFromPrimitiveList/scalars": "x"}),
            400,
            "invalid patch format of primitive list",
        ),
        (
            json!({"$deleteFromPrimitiveList": ["x"]}),
            400,
            "invalid patch format of primitive list",
        ),
        (
            json!({"$setElementOrder/items": {}}),
            400,
            "invalid patch format of setElementOrder list",
        ),
        (
            json!({"$setElementOrder": []}),
            400,
            "invalid patch format of setElementOrder list",
        ),
        (
            json!({"$setElementOrder/items": [{"a": 1}]}),
            400,
            "map: map[a:1] does not contain declared merge key: name",
        ),
        (
            json!({"$setElementOrder/items": [{"name": "j"}], "items": [{"name": "k"}]}),
            400,
            "The order in patch list:\n[map[name:k]]\n doesn't match $setElementOrder list:\n[j]\n",
        ),
        (
            json!({"scalars": [1]}),
            400,
            "list element types are not identical: [x] [1]",
        ),
        (
            json!({"items": ["i"]}),
            400,
            "list element types are not identical: [map[name:i]] [i]",
        ),
        (
            json!({"scalars": [["x"]], "m": null}),
            400,
            "list element types are not identical: [x] [[x]]",
        ),
    ] {
        assert_eq!(
            patched(&object, &patch),
            Err((code, message.to_owned())),
            "{patch}"
        );
    }
    let nested = json!({"scalars": [["x"]]});
    assert_eq!(
        patched(&nested, &json!({"scalars": ["x"]})),
        Err((422, list_of_lists.to_owned()))
    );
    for body in ["", "[]", "null", "{", "1"] {
        let error = strategic_merge(&object, body.as_bytes(), &Sample::Object).unwrap_err();
        assert_eq!(error.code(), 400, "{body}");
    }
}

#[test]
fn kinds_merge_as_their_schemas_say() {
    let deployment = Schema::builtin("io.k8s.api.apps.v1.Deployment").unwrap();
    let object = json!({
        "metadata": {"name": "web", "finalizers": ["a"]},
        "spec": {
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
            "template": {"spec": {"containers": [
                {"name": "app", "image": "one", "args": ["x"], "ports": [{"containerPort": 80}]},
                {"name": "side"},
            ]}},
        },
    });
    let patch = json!({
        "metadata": {"finalizers": ["b"]},
        "spec": {
            "strategy": {"$retainKeys": ["type"], "type": "Recreate"},
            "template": {"spec": {"containers": [
                {"name": "app", "image": "two", "args": ["y"], "ports": [{"containerPort": 80, "name": "http"}]},
                {"$patch": "delete", "name": "side"},
            ]}},
        },
    });
    let merged = strategic_merge_value(object, patch, &deployment).unwrap();
    assert_eq!(
        merged,
        json!({
            "metadata": {"name": "web", "finalizers": ["b", "a"]},
            "spec": {
                "strategy": {"type": "Recreate"},
                "template": {"spec": {"containers": [
                    {"name": "app", "image": "two", "args": ["y"], "ports": [{"containerPort": 80, "name": "http"}]},
                ]}},
            },
        })
    );
}

/// The patch that makes `new` of `old`, as kubectl would compute it.
fn difference(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in new {
        let before = old.get(name);
        if before == Some(value) {
            continue;
        }
        match (name.as_str(), before, value) {
            ("m", Some(Value::Object(before)), Value::Object(after)) => {
                patch.insert(name.clone(), difference(before, after).into());
            }
            ("scalars", Some(Value::Array(before)), Value::Array(after)) => {
                let missing = |from: &[Value], list: &[Value]| -> Vec<Value> {
                    list.iter()
                        .filter(|item| !from.contains(item))
                        .cloned()
                        .collect()
                };
                patch.insert(
                    format!("{DELETE_SCALARS}{name}"),
                    missing(after, before).into(),
                );
                patch.insert(format!("{SET_ORDER}{name}"), value.clone());
                patch.insert(name.clone(), missing(before, after).into());
            }
            ("items", Some(Value::Array(before)), Value::Array(after)) => {
                let find = |list: &[Value], name: &Value| -> Option<Map<String, Value>> {
                    list.iter()
                        .find(|item| item["name"] == *name)?
                        .as_object()
                        .cloned()
                };
                let mut items = Vec::new();
                for item in after {
                    let old = find(before, &item["name"]).unwrap_or_default();
                    let mut changed = difference(&old, item.as_object().unwrap());
                    changed.insert("name".to_owned(), item["name"].clone());
                    items.push(Value::Object(changed));
                }
                for item in before
                    .iter()
                    .filter(|item| find(after, &item["name"]).is_none())
                {
                    items.push(json!({"$patch": "delete", "name": item["name"]}));
                }
                let order = after
                    .iter()
                    .map(|item| json!({"name": item["name"]}))
                    .collect();
                patch.insert(format!("{SET_ORDER}{name}"), order);
                patch.insert(name.clone(), items.into());
            }
            _ => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    patch
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(object in samples::shaped(), patch in samples::shaped()) {
        let once = patched(&object, &patch).unwrap();
        prop_assert_eq!(patched(&once, &patch).unwrap(), once);
    }

    #[test]
    fn the_difference_makes_one_object_of_the_other(old in samples::shaped(), new in samples::shaped()) {
        let patch = Value::Object(difference(old.as_object().unwrap(), new.as_object().unwrap()));
        prop_assert_eq!(patched(&old, &patch).unwrap(), new.clone());
        prop_assert_eq!(patched(&new, &patch).unwrap(), new);
    }

    #[test]
    fn an_empty_patch_changes_nothing(object in samples::object()) {
        prop_assert_eq!(patched(&object, &json!({})).unwrap(), object);
    }

    #[test]
    fn no_patch_panics(object in samples::object(), patch in samples::object()) {
        let _ = patched(&object, &patch);
    }
}
