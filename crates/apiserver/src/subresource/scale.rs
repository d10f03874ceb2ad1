//! `scale`: how many replicas are wanted, of whatever kind.

use axum::body::Body;
use axum::response::Response;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use springtide_machinery::error::{ApiError, FieldError, GroupKind};
use springtide_machinery::registry::{Part, ScalePaths, apply_scale, scale_of};
use springtide_machinery::schema::Schema;

use crate::api::{Call, read_object};
use crate::decode::Expected;
use crate::encode;
use crate::options::WriteOptions;
use crate::respond;
use crate::write::patch::Patch;
use crate::write::update::Target;
use crate::write::{metadata_mut, metadata_text};

const DEFINITION: &str = "io.k8s.api.autoscaling.v1.Scale";

/// Answers a request for a scale.
pub(crate) async fn answer(
    call: &Call<'_>,
    paths: &ScalePaths,
    body: Body,
) -> Result<Response, ApiError> {
    let schema = Schema::builtin(DEFINITION);
    let expected = Expected {
        api_version: "autoscaling/v1",
        kind: "Scale",
        schema: schema.as_ref(),
    };
    let target = Target {
        api: call.api,
        route: call.route,
        namespace: call.namespace(),
        name: call.name(),
        part: Part::Main,
    };
    let mut warnings = Vec::new();
    let written = match call.parts.method {
        Method::GET | Method::HEAD => {
            let object = target
                .current()
                .ok_or_else(|| ApiError::not_found(call.route.group_resource(), call.name()))?;
            let scale = scale_of(paths, &encode::parse(&object.bytes));
            return Ok(respond::json(StatusCode::OK, &scale));
        }
        Method::PUT => {
            let options = WriteOptions::parse(call.query, "UpdateOptions")?;
            let mut decoded = read_object(call.parts, body, "Scale").await?;
            warnings = expected.check(&mut decoded, options.validation)?;
            let scale = decoded.value;
            let name = metadata_text(&scale, "name");
            if !name.is_empty() && name != call.name() {
                return Err(ApiError::bad_request(format!(
                    "the name of the object ({name}) does not match the name on the URL ({})",
                    call.name()
                )));
            }
            let transform = |old: &Value| Ok((rescaled(paths, old, &scale)?, Vec::new()));
            target
                .update(options.dry_run, &mut warnings, transform)
                .await?
        }
        Method::PATCH => {
            let options = WriteOptions::parse(call.query, "PatchOptions")?;
            let patch = Patch::read(call, body).await?;
            let transform = |old: &Value| {
                let shown = scale_of(paths, old);
                let (scale, warnings) = patch.apply(&shown, &expected, options.validation)?;
                Ok((rescaled(paths, old, &scale)?, warnings))
            };
            target
                .update(options.dry_run, &mut warnings, transform)
                .await?
        }
        _ => return Err(call.not_supported()),
    };
    let scale = scale_of(paths, &encode::parse(written.bytes()));
    let mut response = respond::json(StatusCode::OK, &scale);
    respond::add_warnings(&mut response, &warnings);
    Ok(response)
}

/// The object with the replicas, and under the preconditions, of a Scale.
fn rescaled(paths: &ScalePaths, old: &Value, scale: &Value) -> Result<Value, ApiError> {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let error = FieldError::invalid(
            "spec.replicas",
            replicas,
            "must be greater than or equal to 0",
        );
        let kind = GroupKind::new("autoscaling", "Scale");
        return Err(ApiError::invalid(
            kind,
            metadata_text(scale, "name"),
            &[error],
        ));
    }
    let mut new = old.clone();
    apply_scale(paths, &mut new, scale);
    let metadata = metadata_mut(&mut new)?;
    for field in ["resourceVersion", "uid"] {
        let given = metadata_text(scale, field);
        if given.is_empty() {
            metadata.remove(field);
        } else {
            metadata.insert(field.into(), json!(given));
        }
    }
    Ok(new)
}
