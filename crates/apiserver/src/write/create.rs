//! Creates.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;
use springtide_machinery::clock::rfc3339;
use springtide_machinery::error::ApiError;
use springtide_store::{Change, Expect, WriteError};

use super::{Written, answer_written, metadata_mut, metadata_text, refuse_invalid, store_refusal};
use crate::admission;
use crate::api::{Api, Call, read_object};
use crate::encode;
use crate::options::WriteOptions;
use crate::routes::Route;

/// How often a generated name is drawn anew when it exists.
const NAME_DRAWS: usize = 8;
/// How long a generated name may be, in bytes, and how much of it is drawn.
const GENERATED_LENGTH: usize = 63;
const DRAWN_LENGTH: usize = 5;

/// Answers a POST to a collection.
pub(crate) async fn answer(call: &Call<'_>, body: Body) -> Result<Response, ApiError> {
    let route = call.route;
    let options = WriteOptions::parse(call.query, "CreateOptions")?;
    let mut decoded = read_object(call.parts, body, route.kind()).await?;
    let mut warnings = route.expected().check(&mut decoded, options.validation)?;
    let object = route.served().to_storage(route.resource(), decoded.value);
    let written = create(
        call.api,
        route,
        call.namespace(),
        object,
        options.dry_run,
        &mut warnings,
    )
    .await?;
    answer_written(call, StatusCode::CREATED, &written, &warnings)
}

/// Creates an object that is in its stored version.
pub(crate) async fn create(
    api: &Api,
    route: &Route,
    namespace: &str,
    mut object: Value,
    dry_run: bool,
    warnings: &mut Vec<String>,
) -> Result<Written, ApiError> {
    let resource = route.resource();
    let strategy = &resource.strategy;
    place_in_namespace(&mut object, namespace)?;
    set_system_fields(api, &mut object)?;
    let prefix = metadata_text(&object, "generateName").to_owned();
    let generated = metadata_text(&object, "name").is_empty() && !prefix.is_empty();
    if generated {
        draw_name(api, &mut object, &prefix)?;
    }
    admission::namespace::check(api, route, namespace, &object)?;
    strategy.defaults(&mut object);
    strategy.prepare_create(&mut object);
    admission::on_create(api, route, &mut object)?;
    let errors = strategy.validate_create(&object);
    refuse_invalid(route, metadata_text(&object, "name"), &errors)?;
    warnings.extend(strategy.warnings(&object));
    let claim = api
        .allocator
        .claim_for_create(route, &mut object, &api.entropy)?;

    let mut draws = 1;
    loop {
        let name = metadata_text(&object, "name").to_owned();
        let key = route.key(namespace, &name);
        if dry_run {
            if api.store.get(&key).is_none() {
                return Ok(Written::Shown(encode::bytes(&object, "")));
            }
        } else {
            let change = Change::Put(encode::draft(resource, &object));
            match api.store.write(key, Expect::Absent, change).await {
                Ok(stored) => {
                    claim.keep();
                    return Ok(Written::Stored(stored));
                }
                Err(WriteError::Conflict { .. }) => {}
                Err(error) => return Err(store_refusal(&error, route, &name)),
            }
        }
        // The name exists.
        if !generated {
            return Err(ApiError::already_exists(route.group_resource(), &name));
        }
        if draws == NAME_DRAWS {
            return Err(ApiError::generated_name_exists(
                route.group_resource(),
                &name,
            ));
        }
        draws += 1;
        draw_name(api, &mut object, &prefix)?;
    }
}

/// Puts the object into the namespace of the URL, or refuses it if it is of another.
pub(super) fn place_in_namespace(object: &mut Value, namespace: &str) -> Result<(), ApiError> {
    let metadata = metadata_mut(object)?;
    let own = metadata.get("namespace").and_then(Value::as_str);
    match own.unwrap_or_default() {
        "" if namespace.is_empty() => {
            metadata.remove("namespace");
        }
        "" => {
            metadata.insert("namespace".into(), namespace.into());
        }
        own if own == namespace => {}
        own => {
            return Err(ApiError::bad_request(format!(
                "the namespace of the provided object does not match the namespace sent on the request: {own:?}, {namespace:?}"
            )));
        }
    }
    Ok(())
}

/// Takes out what only the server sets, and sets it.
fn set_system_fields(api: &Api, object: &mut Value) -> Result<(), ApiError> {
    let metadata = metadata_mut(object)?;
    let revision = metadata.get("resourceVersion").and_then(Value::as_str);
    if !matches!(revision.unwrap_or_default(), "" | "0") {
        return Err(ApiError::bad_request(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    for field in [
        "resourceVersion",
        "selfLink",
        "managedFields",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        metadata.remove(field);
    }
    metadata.insert("uid".into(), api.entropy.uid().into());
    let now = rfc3339(api.clock.now());
    metadata.insert("creationTimestamp".into(), now.into());
    Ok(())
}

fn draw_name(api: &Api, object: &mut Value, prefix: &str) -> Result<(), ApiError> {
    let mut base = prefix;
    while base.len() > GENERATED_LENGTH - DRAWN_LENGTH {
        let (last, _) = base.char_indices().next_back().unwrap_or_default();
        base = &base[..last];
    }
    let name = format!("{base}{}", api.entropy.suffix(DRAWN_LENGTH));
    metadata_mut(object)?.insert("name".into(), name.into());
    Ok(())
}
