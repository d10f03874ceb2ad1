//! Patches: JSON patch, merge patch and strategic merge patch, in the version of the URL.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;
use springtide_machinery::error::ApiError;
use springtide_machinery::patch::{json_patch, merge_patch, strategic_merge};
use springtide_machinery::registry::Part;
use springtide_machinery::schema::{Schema, decode_strict};

use super::answer_written;
use super::update::Target;
use crate::api::Call;
use crate::decode::{self, Expected};
use crate::options::{FieldValidation, WriteOptions};
use crate::routes::Route;

/// The media types of patches.
const ACCEPTED: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];

/// A patch as it was sent.
pub(crate) struct Patch {
    kind: Kind,
    body: bytes::Bytes,
    /// Paths of keys that occur twice in it.
    duplicates: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Merge,
    Strategic,
}

impl Patch {
    /// Reads a patch from a request.
    pub(crate) async fn read(call: &Call<'_>, body: Body) -> Result<Patch, ApiError> {
        let kind = match decode::media_type(&call.parts.headers) {
            "application/json-patch+json" => Kind::Json,
            "application/merge-patch+json" => Kind::Merge,
            "application/strategic-merge-patch+json" => Kind::Strategic,
            _ => return Err(ApiError::unsupported_media_type(&ACCEPTED)),
        };
        let body = decode::read(body).await?;
        let duplicates = match kind {
            Kind::Json => Vec::new(),
            Kind::Merge | Kind::Strategic => {
                let (_, duplicates) = decode_strict(&body).map_err(|error| {
                    ApiError::bad_request(format!("error decoding patch: {error}"))
                })?;
                duplicates
            }
        };
        Ok(Patch {
            kind,
            body,
            duplicates,
        })
    }

    /// Applies it to an object, and checks what comes out as if it had been sent.
    pub(crate) fn apply(
        &self,
        object: &Value,
        expected: &Expected<'_>,
        validation: FieldValidation,
    ) -> Result<(Value, Vec<String>), ApiError> {
        let mut patched = match (self.kind, expected.schema) {
            (Kind::Json, _) => json_patch(object, &self.body)?,
            (Kind::Merge, _) => merge_patch(object, &self.body)?,
            (Kind::Strategic, Some(schema)) => self.strategic(object, schema)?,
            (Kind::Strategic, None) => {
                return Err(ApiError::unsupported_media_type(&ACCEPTED[..2]));
            }
        };
        if !patched.is_object() {
            return Err(ApiError::unprocessable("the patch leaves no object"));
        }
        let of_other_kind =
            patched["kind"] != object["kind"] || patched["apiVersion"] != object["apiVersion"];
        if of_other_kind {
            return Err(ApiError::bad_request(
                "a patch may not change apiVersion or kind",
            ));
        }
        let warnings = expected.check_fields(&mut patched, &self.duplicates, validation)?;
        Ok((patched, warnings))
    }

    fn strategic(&self, object: &Value, schema: &Schema) -> Result<Value, ApiError> {
        strategic_merge(object, &self.body, schema)
    }
}

/// Answers a PATCH of an object.
pub(crate) async fn answer(call: &Call<'_>, body: Body) -> Result<Response, ApiError> {
    answer_part(call, body, Part::Main).await
}

/// Answers a PATCH of a part of an object that has the object's own shape.
pub(crate) async fn answer_part(
    call: &Call<'_>,
    body: Body,
    part: Part,
) -> Result<Response, ApiError> {
    let options = WriteOptions::parse(call.query, "PatchOptions")?;
    let patch = Patch::read(call, body).await?;
    let route = call.route;
    let target = Target {
        api: call.api,
        route,
        namespace: call.namespace(),
        name: call.name(),
        part,
    };
    let mut warnings = Vec::new();
    let transform = |old: &Value| patched(route, &patch, old, options.validation);
    let written = target
        .update(options.dry_run, &mut warnings, transform)
        .await?;
    answer_written(call, StatusCode::OK, &written, &warnings)
}

/// Applies a patch in the version of the URL; takes and gives the stored version.
fn patched(
    route: &Route,
    patch: &Patch,
    old: &Value,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), ApiError> {
    let expected = route.expected();
    if route.is_storage {
        return patch.apply(old, &expected, validation);
    }
    let served = route.served().from_storage(route.resource(), old.clone());
    let (patched, warnings) = patch.apply(&served, &expected, validation)?;
    let stored = route.served().to_storage(route.resource(), patched);
    Ok((stored, warnings))
}
