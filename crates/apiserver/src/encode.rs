//! How objects are written down: apiVersion, kind and the resourceVersion first, so that stored
//! bytes are sent as they are, and a revision can be put in without parsing.

use std::ops::Range;

use bytes::Bytes;
use serde_json::{Map, Value};
use springtide_machinery::labels::labels_of;
use springtide_machinery::registry::Resource;
use springtide_store::{Draft, Pairs, Revision};

/// Stands before the digits of a revision. It occurs nowhere earlier in stored bytes.
const BEFORE_REVISION: &[u8] = br#""metadata":{"resourceVersion":""#;

/// An object in its stored version, ready for the store.
pub(crate) fn draft(resource: &Resource, object: &Value) -> Draft {
    let (before, after) = halves(object);
    let labels: Pairs = labels_of(object).into_iter().collect();
    let fields: Pairs = resource
        .strategy
        .selectable_fields(object)
        .into_iter()
        .map(|(name, value)| (name.into_owned(), value))
        .collect();
    Draft::new(before, after, labels, fields)
}

/// An object's bytes with a resourceVersion; which may be empty.
pub(crate) fn bytes(object: &Value, resource_version: &str) -> Bytes {
    let (mut encoded, after) = halves(object);
    encoded.extend_from_slice(resource_version.as_bytes());
    encoded.extend_from_slice(&after);
    encoded.into()
}

/// The bytes before and after the digits of the revision.
fn halves(object: &Value) -> (Vec<u8>, Vec<u8>) {
    let empty = Map::new();
    let fields = object.as_object().unwrap_or(&empty);
    let mut before = Vec::with_capacity(96);
    before.push(b'{');
    for field in ["apiVersion", "kind"] {
        if let Some(value) = fields.get(field) {
            write_member(&mut before, field, value);
            before.push(b',');
        }
    }
    before.extend_from_slice(BEFORE_REVISION);

    let mut after = Vec::with_capacity(512);
    after.push(b'"');
    let metadata = fields.get("metadata").and_then(Value::as_object);
    for (field, value) in metadata.into_iter().flatten() {
        if field != "resourceVersion" {
            after.push(b',');
            write_member(&mut after, field, value);
        }
    }
    after.push(b'}');
    for (field, value) in fields {
        if !matches!(field.as_str(), "apiVersion" | "kind" | "metadata") {
            after.push(b',');
            write_member(&mut after, field, value);
        }
    }
    after.push(b'}');
    (before, after)
}

fn write_member(out: &mut Vec<u8>, name: &str, value: &Value) {
    // Writing JSON values to memory does not fail: their keys are text, their numbers finite.
    let _ = serde_json::to_writer(&mut *out, name);
    out.push(b':');
    let _ = serde_json::to_writer(&mut *out, value);
}

/// Where the digits of the revision are in stored bytes.
pub(crate) fn revision_digits(stored: &[u8]) -> Option<Range<usize>> {
    let start = stored
        .windows(BEFORE_REVISION.len())
        .position(|window| window == BEFORE_REVISION)?
        + BEFORE_REVISION.len();
    let length = stored[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    Some(start..start + length)
}

/// Stored bytes at another revision.
pub(crate) fn at_revision(stored: &[u8], revision: Revision) -> Bytes {
    let Some(digits) = revision_digits(stored) else {
        debug_assert!(false, "stored bytes without a resourceVersion");
        return Bytes::copy_from_slice(stored);
    };
    let mut encoded = Vec::with_capacity(stored.len() + 4);
    encoded.extend_from_slice(&stored[..digits.start]);
    encoded.extend_from_slice(revision.to_string().as_bytes());
    encoded.extend_from_slice(&stored[digits.end..]);
    encoded.into()
}

/// Parses stored bytes. They were made by [`draft`], so they are JSON.
pub(crate) fn parse(stored: &[u8]) -> Value {
    serde_json::from_slice(stored).expect("stored objects are JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bytes_begin_with_type_and_revision_and_keep_the_rest() {
        let object = json!({
            "data": {"b": "1"},
            "kind": "ConfigMap",
            "metadata": {"name": "x", "resourceVersion": "3", "annotations": {"a": "\"metadata\":{\"resourceVersion\":\"9"}},
            "apiVersion": "v1",
        });
        let encoded = bytes(&object, "12");
        assert!(encoded.starts_with(
            br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"resourceVersion":"12","#
        ));
        let mut expected = object;
        expected["metadata"]["resourceVersion"] = json!("12");
        assert_eq!(parse(&encoded), expected);

        let moved = at_revision(&encoded, Revision::new(4567).expect("not zero"));
        expected["metadata"]["resourceVersion"] = json!("4567");
        assert_eq!(parse(&moved), expected);
    }

    #[test]
    fn an_object_without_other_metadata_is_valid_json() {
        let encoded = bytes(&json!({"apiVersion": "v1", "kind": "X"}), "1");
        assert_eq!(parse(&encoded)["metadata"], json!({"resourceVersion": "1"}));
    }
}
