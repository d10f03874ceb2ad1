//! Request bodies: read within a limit, decoded from JSON, YAML or protobuf, and checked against
//! the schema of the kind they should be.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;
use springtide_machinery::error::ApiError;
use springtide_machinery::protobuf;
use springtide_machinery::schema::{Schema, decode_strict, decode_strict_from};

use crate::options::FieldValidation;

/// The largest body taken, in bytes: Kubernetes' limit.
pub(crate) const BODY_LIMIT: usize = 3 << 20;
/// The media types of bodies that are objects.
const ACCEPTED: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];
/// How many faults of fields are told at once, as Kubernetes does.
const TOLD_FAULTS: usize = 100;

/// Reads a body, at most [`BODY_LIMIT`].
pub(crate) async fn read(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ApiError::too_large(format!("limit is {BODY_LIMIT}")))
        }
        Err(error) => Err(ApiError::bad_request(format!(
            "the request's body could not be read: {error}"
        ))),
    }
}

/// The media type of a body, without its parameters; JSON if the client does not say.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(str::trim)
        .filter(|value| !value.is_empty())
        .unwrap_or("application/json")
}

/// What a body says, before it is known whether it fits.
pub(crate) struct Decoded {
    /// The value.
    pub(crate) value: Value,
    /// Paths of keys that occur twice.
    pub(crate) duplicates: Vec<String>,
}

/// Decodes a body of any accepted media type. `kind` is what it should be, for the error.
pub(crate) fn decode(body: &[u8], media_type: &str, kind: &str) -> Result<Decoded, ApiError> {
    let unrecognized = |format: &str, error: &dyn std::fmt::Display| {
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; {format} parse error: {error}"
        ))
    };
    let (value, duplicates) = match media_type {
        "application/json" => decode_strict(body).map_err(|error| unrecognized("json", &error))?,
        "application/yaml" => decode_yaml(body).map_err(|error| unrecognized("yaml", &error))?,
        "application/vnd.kubernetes.protobuf" => {
            let value = protobuf::decode(body).map_err(|error| unrecognized("protobuf", &error))?;
            (value, Vec::new())
        }
        _ => return Err(ApiError::unsupported_media_type(&ACCEPTED)),
    };
    if !value.is_object() {
        return Err(unrecognized("json", &"the body is not an object"));
    }
    Ok(Decoded { value, duplicates })
}

/// Decodes YAML, of which JSON is a part, and notes keys that occur twice.
pub(crate) fn decode_yaml(body: &[u8]) -> Result<(Value, Vec<String>), serde_saphyr::Error> {
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
    };
    serde_saphyr::with_deserializer_from_slice_with_options(body, options, |deserializer| {
        decode_strict_from(deserializer)
    })
}

/// What a body should be.
pub(crate) struct Expected<'a> {
    /// As in `apps/v1`.
    pub(crate) api_version: &'a str,
    /// As in `Deployment`.
    pub(crate) kind: &'a str,
    /// The schema; nothing accepts every field.
    pub(crate) schema: Option<&'a Schema>,
}

impl Expected<'_> {
    /// Checks that a decoded body is of the expected kind, and fits its schema. Fields that the
    /// schema does not have are taken out. Returns the warnings to answer with.
    pub(crate) fn check(
        &self,
        decoded: &mut Decoded,
        validation: FieldValidation,
    ) -> Result<Vec<String>, ApiError> {
        self.check_type(&mut decoded.value)?;
        let duplicates = std::mem::take(&mut decoded.duplicates);
        self.check_fields(&mut decoded.value, &duplicates, validation)
    }

    fn check_type(&self, value: &mut Value) -> Result<(), ApiError> {
        let given = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (given("apiVersion"), given("kind"));
        if !kind.is_empty() && kind != self.kind {
            return Err(ApiError::bad_request(format!(
                "{kind} in version {:?} cannot be handled as a {}: no kind {kind:?} is expected here",
                version_of(api_version),
                self.kind,
            )));
        }
        if !api_version.is_empty() && api_version != self.api_version {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({api_version}) does not match the expected API version ({})",
                self.api_version
            )));
        }
        let complete = !kind.is_empty() && !api_version.is_empty();
        if !complete {
            value["apiVersion"] = Value::String(self.api_version.to_owned());
            value["kind"] = Value::String(self.kind.to_owned());
        }
        Ok(())
    }

    /// Checks the fields alone.
    pub(crate) fn check_fields(
        &self,
        value: &mut Value,
        duplicates: &[String],
        validation: FieldValidation,
    ) -> Result<Vec<String>, ApiError> {
        let unknown = match self.schema {
            Some(schema) => schema.check(value).map_err(|error| self.unfit(&error))?,
            None => Vec::new(),
        };
        let faults = unknown
            .iter()
            .map(|path| format!("unknown field {path:?}"))
            .chain(
                duplicates
                    .iter()
                    .map(|path| format!("duplicate field {path:?}")),
            )
            .take(TOLD_FAULTS);
        let warnings = match validation {
            FieldValidation::Ignore => Vec::new(),
            FieldValidation::Warn => faults.collect(),
            FieldValidation::Strict => {
                let faults: Vec<String> = faults.collect();
                if !faults.is_empty() {
                    let told = format!("strict decoding error: {}", faults.join(", "));
                    return Err(self.unfit(&told));
                }
                faults
            }
        };
        if let Some(schema) = self.schema {
            schema.normalize(value);
        }
        Ok(warnings)
    }

    fn unfit(&self, why: &dyn std::fmt::Display) -> ApiError {
        ApiError::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {kind}: {why}",
            version_of(self.api_version),
            kind = self.kind,
        ))
    }
}

fn version_of(api_version: &str) -> &str {
    api_version.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_tells_keys_that_occur_twice() {
        let body = b"apiVersion: v1\nkind: ConfigMap\ndata:\n  a: one\n  a: two\n";
        let decoded = decode(body, "application/yaml", "ConfigMap").expect("decoded");
        assert_eq!(decoded.value["data"]["a"], "two");
        assert_eq!(decoded.duplicates, ["data.a"]);
    }

    #[test]
    fn a_body_of_another_kind_or_version_is_refused() {
        let expected = Expected {
            api_version: "apps/v1",
            kind: "Deployment",
            schema: None,
        };
        let check = |body: &str| {
            let mut decoded = decode(body.as_bytes(), "application/json", "Deployment")?;
            expected.check(&mut decoded, FieldValidation::Warn)
        };
        let other = check(r#"{"apiVersion":"v1","kind":"Pod"}"#).expect_err("refused");
        assert_eq!(other.code(), 400);
        assert!(
            other
                .message()
                .starts_with("Pod in version \"v1\" cannot be handled as a Deployment")
        );
        let old =
            check(r#"{"apiVersion":"apps/v1beta1","kind":"Deployment"}"#).expect_err("refused");
        assert_eq!(
            old.message(),
            "the API version in the data (apps/v1beta1) does not match the expected API version (apps/v1)"
        );
        assert!(check("{}").expect("defaulted").is_empty());
        assert_eq!(check("[1]").expect_err("refused").code(), 400);
        assert_eq!(check("{").expect_err("refused").code(), 400);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_with_413() {
        let refused = read(Body::from(vec![b' '; BODY_LIMIT + 1]))
            .await
            .expect_err("refused");
        assert_eq!(refused.code(), 413);
        assert!(read(Body::from(vec![b' '; BODY_LIMIT])).await.is_ok());
    }
}
