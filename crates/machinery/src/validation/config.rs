//! ConfigMaps and Secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Errors, IMMUTABLE, add_all, meta};
use crate::error::{FieldError, FieldPath};
use crate::members::{entries, is_true, text};
use crate::names;
use crate::registry::Part;

/// The most bytes all values may have together.
const SIZE_MAX: usize = 1024 * 1024;
const FROZEN: &str = "field is immutable when `immutable` is set";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";

/// Checks a new ConfigMap.
pub(crate) fn create_config_map(map: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate(map, true, names::dns1123_subdomain);
    config_map(&mut errors, map);
    errors
}

/// Checks a change of a ConfigMap.
pub(crate) fn update_config_map(new: &Value, old: &Value, _: Part) -> Vec<FieldError> {
    let mut errors = meta::validate_update(new, old);
    frozen(&mut errors, new, old, &["data", "binaryData"]);
    config_map(&mut errors, new);
    errors
}

fn config_map(errors: &mut Errors, map: &Value) {
    let mut size = 0;
    for (key, value) in entries(map, "data") {
        let path = FieldPath::new("data").key(key);
        add_all(errors, &path, key, names::config_map_key(key));
        if map["binaryData"].get(key).is_some() {
            errors.push(FieldError::invalid(
                path,
                key,
                "duplicate of key present in binaryData",
            ));
        }
        size += value.as_str().map_or(0, str::len);
    }
    for (key, value) in entries(map, "binaryData") {
        let path = FieldPath::new("binaryData").key(key);
        add_all(errors, &path, key, names::config_map_key(key));
        size += decoded(value).len();
    }
    if size > SIZE_MAX {
        errors.push(FieldError::too_long(FieldPath::default(), SIZE_MAX));
    }
}

/// Checks a new Secret.
pub(crate) fn create_secret(secret: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate(secret, true, names::dns1123_subdomain);
    self::secret(&mut errors, secret);
    errors
}

/// Checks a change of a Secret.
pub(crate) fn update_secret(new: &Value, old: &Value, _: Part) -> Vec<FieldError> {
    let mut errors = meta::validate_update(new, old);
    if new["type"] != old["type"] {
        errors.push(FieldError::invalid("type", new["type"].clone(), IMMUTABLE));
    }
    frozen(&mut errors, new, old, &["data"]);
    secret(&mut errors, new);
    errors
}

fn secret(errors: &mut Errors, secret: &Value) {
    let data = FieldPath::new("data");
    let mut size = 0;
    for (key, value) in entries(secret, "data") {
        add_all(errors, &data.key(key), key, names::config_map_key(key));
        size += decoded(value).len();
    }
    if size > SIZE_MAX {
        errors.push(FieldError::too_long(&data, SIZE_MAX));
    }
    let has = |key: &str| secret["data"].get(key).is_some();
    let mut need = |key: &str| {
        if !has(key) {
            errors.push(FieldError::required(data.key(key), ""));
        }
    };
    match text(secret, "type") {
        "kubernetes.io/service-account-token"
            if text(&secret["metadata"]["annotations"], ACCOUNT_NAME).is_empty() =>
        {
            let path = FieldPath::new("metadata").child("annotations");
            errors.push(FieldError::required(path.key(ACCOUNT_NAME), ""));
        }
        "kubernetes.io/dockercfg" => json_value(errors, secret, ".dockercfg", &data),
        "kubernetes.io/dockerconfigjson" => {
            json_value(errors, secret, ".dockerconfigjson", &data);
        }
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            need("username");
            need("password");
        }
        "kubernetes.io/ssh-auth" => need("ssh-privatekey"),
        "kubernetes.io/tls" => {
            need("tls.crt");
            need("tls.key");
        }
        _ => {}
    }
}

fn json_value(errors: &mut Errors, secret: &Value, key: &str, data: &FieldPath) {
    let path = data.key(key);
    match secret["data"].get(key) {
        None => errors.push(FieldError::required(path, "")),
        Some(value) => {
            if let Err(error) = serde_json::from_slice::<Value>(&decoded(value)) {
                errors.push(FieldError::invalid(
                    path,
                    "<secret contents redacted>",
                    error.to_string(),
                ));
            }
        }
    }
}

fn decoded(value: &Value) -> Vec<u8> {
    STANDARD
        .decode(value.as_str().unwrap_or_default())
        .unwrap_or_default()
}

/// What was declared immutable stays so, and stays as it is.
fn frozen(errors: &mut Errors, new: &Value, old: &Value, fields: &[&str]) {
    if !is_true(old, "immutable") {
        return;
    }
    if !is_true(new, "immutable") {
        errors.push(FieldError::forbidden("immutable", FROZEN));
    }
    for field in fields {
        if new.get(field) != old.get(field) {
            errors.push(FieldError::forbidden(*field, FROZEN));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::sentences;
    use serde_json::json;

    fn with_name(mut object: Value) -> Value {
        object["metadata"] = json!({"name": "x", "namespace": "d"});
        object
    }

    #[test]
    fn keys_must_be_file_names() {
        let good = with_name(json!({"data": {"a.b-C_1": "x"}, "binaryData": {"c": "AAAA"}}));
        assert!(create_config_map(&good).is_empty());
        let bad = with_name(json!({"data": {"a/b": "x", "c": ""}, "binaryData": {"c": "AAAA"}}));
        assert_eq!(
            sentences(&create_config_map(&bad)),
            [
                "data[a/b]: Invalid value: \"a/b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
                "data[c]: Invalid value: \"c\": duplicate of key present in binaryData",
            ]
        );
    }

    #[test]
    fn a_megabyte_is_the_most() {
        let big = with_name(json!({"data": {"a": "x".repeat(SIZE_MAX + 1)}}));
        assert_eq!(
            sentences(&create_config_map(&big)),
            ["<nil>: Too long: may not be more than 1048576 bytes"]
        );
    }

    #[test]
    fn what_is_immutable_stays() {
        let old = with_name(json!({"immutable": true, "data": {"a": "b"}}));
        let new = with_name(json!({"data": {"a": "c"}}));
        assert_eq!(
            sentences(&update_config_map(&new, &old, Part::Main)),
            [
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ]
        );
    }

    #[test]
    fn a_typed_secret_has_its_keys() {
        let secret = |kind: &str, data: Value| {
            sentences(&create_secret(&with_name(
                json!({"type": kind, "data": data}),
            )))
        };
        assert_eq!(secret("Opaque", json!({})), Vec::<String>::new());
        assert_eq!(
            secret("kubernetes.io/tls", json!({"tls.crt": ""})),
            ["data[tls.key]: Required value"]
        );
        assert_eq!(
            secret("kubernetes.io/ssh-auth", json!({})),
            ["data[ssh-privatekey]: Required value"]
        );
        assert_eq!(
            secret("kubernetes.io/service-account-token", json!({})),
            ["metadata.annotations[kubernetes.io/service-account.name]: Required value"]
        );
        let docker = secret(
            "kubernetes.io/dockerconfigjson",
            json!({".dockerconfigjson": "e30="}),
        );
        assert_eq!(docker, Vec::<String>::new());
    }

    #[test]
    fn a_secrets_type_never_changes() {
        let old = with_name(json!({"type": "Opaque"}));
        let new = with_name(json!({"type": "a/b"}));
        assert_eq!(
            sentences(&update_secret(&new, &old, Part::Main)),
            ["type: Invalid value: \"a/b\": field is immutable"]
        );
    }
}
