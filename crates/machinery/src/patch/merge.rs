//! Merge patch, RFC 7386.

use serde_json::{Map, Value};

use super::{parse, type_of};
use crate::error::ApiError;

/// Applies a merge patch to an object. A patch that is no JSON object is refused.
pub fn merge_patch(object: &Value, body: &[u8]) -> Result<Value, ApiError> {
    let patch = parse(body)?;
    if !patch.is_object() {
        return Err(ApiError::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            type_of(&patch)
        )));
    }
    let mut patched = object.clone();
    merge_value(&mut patched, patch);
    Ok(patched)
}

/// Merges `patch` into `target`: objects field by field, null removes, all else replaces.
pub fn merge_value(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(fields) = target {
        for (name, value) in patch {
            if value.is_null() {
                fields.remove(&name);
            } else {
                merge_value(fields.entry(name).or_insert(Value::Null), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::strategic::samples;
    use super::*;

    #[test]
    fn the_examples_of_rfc_7386_hold() {
        for (target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
            (
                json!([1, 2]),
                json!({"a": "b", "c": null}),
                json!({"a": "b"}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
        ] {
            let mut merged = target;
            merge_value(&mut merged, patch);
            assert_eq!(merged, expected);
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["[]", "1", "null", "\"a\"", "", "{", "{\"a\":}"] {
            let error = merge_patch(&json!({}), body.as_bytes()).unwrap_err();
            assert_eq!(error.code(), 400, "{body}");
            assert!(
                error.message().starts_with("error decoding patch: "),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn applying_twice_is_applying_once(target in samples::object(), patch in samples::object()) {
            let mut once = target;
            merge_value(&mut once, patch.clone());
            let mut twice = once.clone();
            merge_value(&mut twice, patch);
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn an_empty_patch_changes_nothing(target in samples::object()) {
            let mut merged = target.clone();
            merge_value(&mut merged, json!({}));
            prop_assert_eq!(merged, target);
        }
    }
}
