//! JSON patch, RFC 6902, with Kubernetes' limits and words.

use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::Value;

use super::{parse, type_of};
use crate::error::ApiError;

/// The most operations one patch may have.
pub const MAX_OPERATIONS: usize = 10_000;

/// How many bytes of JSON the `copy` operations of one patch may add: as much as a request's body
/// may hold. Without a limit a short patch could double an object until memory is full.
const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;

/// Applies a JSON patch to an object: all operations or none.
pub fn json_patch(object: &Value, body: &[u8]) -> Result<Value, ApiError> {
    let operations = match parse(body)? {
        Value::Array(operations) => operations,
        other => {
            return Err(ApiError::bad_request(format!(
                "error decoding patch: json: cannot unmarshal {} into Go value of type jsonpatch.Patch",
                type_of(&other)
            )));
        }
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(ApiError::too_large(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut patched = object.clone();
    let mut copied_bytes = 0;
    for operation in operations {
        if !operation.is_object() {
            return Err(ApiError::bad_request(format!(
                "error decoding patch: json: cannot unmarshal {} into Go value of type jsonpatch.Operation",
                type_of(&operation)
            )));
        }
        let operation = decode(operation).map_err(ApiError::unprocessable)?;
        apply(&mut patched, &operation, &mut copied_bytes).map_err(ApiError::unprocessable)?;
    }
    if !patched.is_object() {
        return Err(ApiError::unprocessable(
            "the patched value is not an object",
        ));
    }
    Ok(patched)
}

/// Reads one operation; the error says what it lacks.
fn decode(operation: Value) -> Result<PatchOperation, String> {
    let name = match operation.get("op") {
        Some(Value::String(name)) => name.clone(),
        Some(other) => return Err(format!("Unexpected kind: {other}")),
        None => return Err("Unexpected kind: unknown".to_owned()),
    };
    let needed: &[&str] = match name.as_str() {
        "add" | "replace" | "test" => &["path", "value"],
        "remove" => &["path"],
        "move" | "copy" => &["path", "from"],
        _ => return Err(format!("Unexpected kind: {name}")),
    };
    for member in needed {
        if operation.get(member).is_none() {
            return Err(format!(
                "{name} operation failed to decode {member}: missing value"
            ));
        }
    }
    serde_json::from_value(operation)
        .map_err(|error| format!("{name} operation failed to decode: {error}"))
}

fn apply(
    object: &mut Value,
    operation: &PatchOperation,
    copied_bytes: &mut usize,
) -> Result<(), String> {
    if let PatchOperation::Test(test) = operation {
        // What is not there equals null, where it could be.
        let missing = object.pointer(test.path.as_str()).is_none();
        if missing && test.value.is_null() && has_parent(object, test.path.as_str()) {
            return Ok(());
        }
    }
    if let PatchOperation::Copy(copy) = operation {
        let source = object.pointer(copy.from.as_str());
        *copied_bytes += source.map_or(0, |source| source.to_string().len());
        if *copied_bytes > MAX_COPIED_BYTES {
            return Err(format!(
                "Unable to complete the copy, the accumulated size increase of copy is {copied_bytes}, exceeding the limit {MAX_COPIED_BYTES}"
            ));
        }
    }
    json_patch::patch_unsafe(object, std::slice::from_ref(operation))
        .map_err(|error| describe(object, operation, &error.kind))
}

/// Whether the object or list that would hold `pointer` exists.
fn has_parent(object: &Value, pointer: &str) -> bool {
    let Some((parent, _)) = pointer.rsplit_once('/') else {
        return true;
    };
    object
        .pointer(parent)
        .is_some_and(|parent| parent.is_object() || parent.is_array())
}

/// Says why an operation does not apply, as Kubernetes' patch library does.
fn describe(object: &Value, operation: &PatchOperation, kind: &PatchErrorKind) -> String {
    let path = operation.path().as_str();
    let last = path.rsplit('/').next().unwrap_or_default();
    let in_list = path
        .rsplit_once('/')
        .and_then(|(parent, _)| object.pointer(parent))
        .is_some_and(Value::is_array);
    let name = match operation {
        PatchOperation::Add(_) => "add",
        PatchOperation::Remove(_) => "remove",
        PatchOperation::Replace(_) => "replace",
        PatchOperation::Move(_) => "move",
        PatchOperation::Copy(_) => "copy",
        PatchOperation::Test(_) => "test",
    };
    match (kind, operation) {
        (PatchErrorKind::TestFailed, _) => format!("testing value {path} failed: test failed"),
        (PatchErrorKind::InvalidFromPointer, _) => {
            let from = match operation {
                PatchOperation::Move(operation) => operation.from.as_str(),
                PatchOperation::Copy(operation) => operation.from.as_str(),
                _ => path,
            };
            format!(
                "{name} operation does not apply: doc is missing from path: {from}: missing value"
            )
        }
        (PatchErrorKind::CannotMoveInsideItself, _) => {
            format!("{name} operation does not apply: cannot move {path} inside itself")
        }
        _ if in_list => {
            format!(
                "{name} operation does not apply: error in {name} for path: '{path}': unable to access invalid index: {last}: invalid index referenced"
            )
        }
        (_, PatchOperation::Remove(_)) if has_parent(object, path) => {
            format!(
                "error in remove for path: '{path}': unable to remove nonexistent key: {last}: missing value"
            )
        }
        (_, PatchOperation::Replace(_)) if has_parent(object, path) => {
            format!("replace operation does not apply: doc is missing key: {path}: missing value")
        }
        (_, PatchOperation::Test(_)) if has_parent(object, path) => {
            format!("testing value {path} failed: test failed")
        }
        (_, PatchOperation::Replace(_)) => {
            format!("replace operation does not apply: doc is missing path: {path}: missing value")
        }
        _ => format!(
            "{name} operation does not apply: doc is missing path: \"{path}\": missing value"
        ),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::patch::strategic::samples;

    fn patched(object: &Value, patch: &Value) -> Result<Value, (u16, String)> {
        json_patch(object, patch.to_string().as_bytes())
            .map_err(|error| (error.code(), error.message().to_owned()))
    }

    #[test]
    fn operations_apply_in_order() {
        let object = json!({"a": {"b": [1, 2]}, "x/y": 1, "z~": 2});
        for (patch, expected) in [
            (json!([]), object.clone()),
            (
                json!([{"op": "add", "path": "/a/b/-", "value": 3}, {"op": "remove", "path": "/a/b/0"}]),
                json!({"a": {"b": [2, 3]}, "x/y": 1, "z~": 2}),
            ),
            (
                json!([{"op": "replace", "path": "/x~1y", "value": null}, {"op": "remove", "path": "/z~0"}]),
                json!({"a": {"b": [1, 2]}, "x/y": null}),
            ),
            (
                json!([{"op": "move", "from": "/a", "path": "/c"}, {"op": "copy", "from": "/c/b", "path": "/d"}]),
                json!({"c": {"b": [1, 2]}, "d": [1, 2], "x/y": 1, "z~": 2}),
            ),
            (
                json!([{"op": "test", "path": "/a/b/0", "value": 1}, {"op": "test", "path": "/a/none", "value": null}]),
                object.clone(),
            ),
            (
                json!([{"op": "replace", "path": "", "value": {}}]),
                json!({}),
            ),
        ] {
            assert_eq!(patched(&object, &patch).unwrap(), expected, "{patch}");
        }
    }

    #[test]
    fn what_does_not_apply_is_422_with_kubernetes_words() {
        let prefix = "the server rejected our request due to an error in our request: ";
        let object = json!({"a": {"b": [1]}, "s": "text"});
        for (operation, error) in [
            (
                json!({"op": "add", "path": "/x/y", "value": 1}),
                "add operation does not apply: doc is missing path: \"/x/y\": missing value",
            ),
            (
                json!({"op": "add", "path": "/s/y", "value": 1}),
                "add operation does not apply: doc is missing path: \"/s/y\": missing value",
            ),
            (
                json!({"op": "add", "path": "/a/b/7", "value": 1}),
                "add operation does not apply: error in add for path: '/a/b/7': unable to access invalid index: 7: invalid index referenced",
            ),
            (
                json!({"op": "remove", "path": "/a/c"}),
                "error in remove for path: '/a/c': unable to remove nonexistent key: c: missing value",
            ),
            (
                json!({"op": "remove", "path": "/a/b/-"}),
                "remove operation does not apply: error in remove for path: '/a/b/-': unable to access invalid index: -: invalid index referenced",
            ),
            (
                json!({"op": "replace", "path": "/a/c", "value": 1}),
                "replace operation does not apply: doc is missing key: /a/c: missing value",
            ),
            (
                json!({"op": "replace", "path": "/x/c", "value": 1}),
                "replace operation does not apply: doc is missing path: /x/c: missing value",
            ),
            (
                json!({"op": "test", "path": "/s", "value": 1}),
                "testing value /s failed: test failed",
            ),
            (
                json!({"op": "test", "path": "/none", "value": 1}),
                "testing value /none failed: test failed",
            ),
            (
                json!({"op": "move", "from": "/none", "path": "/x"}),
                "move operation does not apply: doc is missing from path: /none: missing value",
            ),
            (
                json!({"op": "move", "from": "/a", "path": "/a/x"}),
                "move operation does not apply: cannot move /a/x inside itself",
            ),
            (json!({"op": "jump", "path": "/s"}), "Unexpected kind: jump"),
            (json!({"path": "/s"}), "Unexpected kind: unknown"),
            (
                json!({"op": "add", "path": "/s"}),
                "add operation failed to decode value: missing value",
            ),
            (
                json!({"op": "remove"}),
                "remove operation failed to decode path: missing value",
            ),
            (
                json!({"op": "copy", "path": "/s"}),
                "copy operation failed to decode from: missing value",
            ),
        ] {
            let (code, message) = patched(&object, &json!([operation])).unwrap_err();
            assert_eq!(
                (code, message.strip_prefix(prefix)),
                (422, Some(error)),
                "{operation}"
            );
        }
        for operation in [
            json!({"op": "add", "path": "s", "value": 1}),
            json!({"op": "add", "path": 1, "value": 1}),
            json!({"op": "remove", "path": ""}),
            json!({"op": "replace", "path": "", "value": []}),
        ] {
            assert_eq!(
                patched(&object, &json!([operation])).unwrap_err().0,
                422,
                "{operation}"
            );
        }
    }

    #[test]
    fn what_is_no_patch_is_400() {
        for body in ["", "{", "{}", "null", "[1]", "[null]", "\"add\""] {
            let error = json_patch(&json!({}), body.as_bytes()).unwrap_err();
            assert_eq!(error.code(), 400, "{body}");
        }
        assert_eq!(
            json_patch(&json!({}), b"{}").unwrap_err().message(),
            "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch"
        );
    }

    #[test]
    fn patches_are_bounded() {
        let one = json!({"op": "test", "path": "/none", "value": null});
        let many = Value::Array(vec![one; MAX_OPERATIONS + 1]);
        let (code, message) = patched(&json!({}), &many).unwrap_err();
        assert_eq!(code, 413);
        assert!(message.ends_with("is 10000, got 10001"), "{message}");

        let double = json!({"op": "copy", "from": "", "path": "/a"});
        let doubling: Vec<Value> = (0..64)
            .map(|index| json!({"op": "copy", "from": "", "path": format!("/{index}")}))
            .chain([double])
            .collect();
        let (code, message) = patched(&json!({"k": "value"}), &doubling.into()).unwrap_err();
        assert_eq!(code, 422);
        assert!(message.contains("exceeding the limit"), "{message}");
    }

    proptest! {
        #[test]
        fn no_patch_panics(object in samples::object(), patch in samples::json_patch()) {
            let _ = patched(&object, &patch);
        }

        #[test]
        fn an_added_member_is_there_and_its_removal_restores(object in samples::object(), value in samples::value()) {
            let with = patched(&object, &json!([{"op": "add", "path": "/new", "value": value}])).unwrap();
            prop_assert_eq!(&with["new"], &value);
            let without = patched(&with, &json!([{"op": "remove", "path": "/new"}])).unwrap();
            prop_assert_eq!(without, object);
        }
    }
}
