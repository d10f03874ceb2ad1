//! Deletes: at once, after a grace period, or when the finalizers are done.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use springtide_machinery::clock::rfc3339;
use springtide_machinery::error::{ApiError, Status};
use springtide_machinery::registry::Propagation;
use springtide_store::{Change, Expect, Object, WriteError};

use super::Written;
use super::update::check_uid;
use super::{
    answer_written, is_deleting, metadata_mut, metadata_text, no_finalizers, store_refusal,
};
use crate::admission;
use crate::api::{Api, Call};
use crate::decode;
use crate::encode;
use crate::options::{DeleteOptions, PropagationPolicy};
use crate::respond;
use crate::routes::Route;

/// The finalizer that keeps an object until its dependents are gone.
const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer that keeps an object until its dependents no longer name it as owner.
const ORPHAN: &str = "orphan";
/// How often a delete is tried when others change the object at the same time.
const TRIES: usize = 100;

/// What a delete did.
pub(crate) struct Deleted {
    /// The object: as it was last if it is gone, as it is now if it lingers.
    pub(crate) object: Written,
    /// Whether it is gone.
    pub(crate) gone: bool,
}

/// Answers a DELETE of an object.
pub(crate) async fn answer(call: &Call<'_>, body: Body) -> Result<Response, ApiError> {
    let options = read_options(call, body).await?;
    let route = call.route;
    let deleted = delete(call.api, route, call.namespace(), call.name(), &options).await?;
    if !deleted.gone || returns_object(route) {
        return answer_written(call, StatusCode::OK, &deleted.object, &[]);
    }
    let last = encode::parse(deleted.object.bytes());
    let uid = metadata_text(&last, "uid");
    let success = Status::success(route.group_resource(), call.name(), uid);
    Ok(respond::json(StatusCode::OK, &success))
}

/// The kinds whose deletes Kubernetes answers with the object.
fn returns_object(route: &Route) -> bool {
    matches!(
        &*route.resource().collection,
        "pods" | "services" | "serviceaccounts"
    )
}

/// Reads a delete's options from the body, or from the query if there is none.
pub(crate) async fn read_options(call: &Call<'_>, body: Body) -> Result<DeleteOptions, ApiError> {
    let bytes = decode::read(body).await?;
    let value = if bytes.is_empty() {
        None
    } else {
        let media_type = decode::media_type(&call.parts.headers);
        Some(decode::decode(&bytes, media_type, "DeleteOptions")?.value)
    };
    DeleteOptions::parse(call.query, value.as_ref())
}

/// Deletes an object.
pub(crate) async fn delete(
    api: &Api,
    route: &Route,
    namespace: &str,
    name: &str,
    options: &DeleteOptions,
) -> Result<Deleted, ApiError> {
    admission::namespace::check_delete(route, name)?;
    let key = route.key(namespace, name);
    for _ in 0..TRIES {
        let current = api
            .store
            .get(&key)
            .ok_or_else(|| ApiError::not_found(route.group_resource(), name))?;
        let old = encode::parse(&current.bytes);
        check_preconditions(route, name, options, &current, &old)?;
        let plan = plan(route, &old, options, api.clock.now())?;
        let (value, change) = match plan {
            Plan::Nothing => {
                return Ok(Deleted {
                    object: Written::Stored(current),
                    gone: false,
                });
            }
            Plan::Remove(value) => {
                let draft = encode::draft(route.resource(), &value);
                (value, Change::Delete(draft))
            }
            Plan::Mark(value) => {
                let draft = encode::draft(route.resource(), &value);
                (value, Change::Put(draft))
            }
        };
        let gone = matches!(change, Change::Delete(_));
        if options.dry_run {
            let revision = current.revision.to_string();
            return Ok(Deleted {
                object: Written::Shown(encode::bytes(&value, &revision)),
                gone,
            });
        }
        let expect = Expect::Revision(current.revision);
        match api.store.write(key.clone(), expect, change).await {
            Ok(stored) => {
                if gone {
                    api.allocator.release(route, &value);
                }
                return Ok(Deleted {
                    object: Written::Stored(stored),
                    gone,
                });
            }
            Err(WriteError::Conflict { .. }) => {}
            Err(error) => return Err(store_refusal(&error, route, name)),
        }
    }
    Err(ApiError::modified(route.group_resource(), name))
}

fn check_preconditions(
    route: &Route,
    name: &str,
    options: &DeleteOptions,
    current: &Arc<Object>,
    old: &Value,
) -> Result<(), ApiError> {
    check_uid(route, name, options.uid.as_deref().unwrap_or_default(), old)?;
    let own = current.revision.to_string();
    match &options.resource_version {
        Some(wanted) if *wanted != own => {
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion in object meta: {own}"
            );
            Err(ApiError::conflict(route.group_resource(), name, why))
        }
        _ => Ok(()),
    }
}

/// What a delete does to the object.
enum Plan {
    /// It is being deleted already, and this changes nothing.
    Nothing,
    /// It goes; this is its last state.
    Remove(Value),
    /// It lingers, and says until when.
    Mark(Value),
}

fn plan(
    route: &Route,
    old: &Value,
    options: &DeleteOptions,
    now: Timestamp,
) -> Result<Plan, ApiError> {
    let mut new = old.clone();
    set_propagation_finalizers(route, &mut new, options)?;
    if &*route.resource().collection == "namespaces" {
        return plan_namespace(new, old, now);
    }

    let grace = route
        .resource()
        .strategy
        .grace_seconds(old, options.grace_seconds);
    let Some(seconds) = grace else {
        return mark_or_remove(new, old, now);
    };
    let already = old["metadata"]["deletionGracePeriodSeconds"].as_i64();
    if is_deleting(old) {
        // A later delete can only shorten the wait, counted from the first.
        let before = already.unwrap_or(0);
        let shorter = options.grace_seconds.is_some_and(|_| seconds < before);
        if !shorter {
            let unchanged = new == *old;
            return Ok(if unchanged {
                Plan::Nothing
            } else {
                Plan::Mark(new)
            });
        }
        if seconds == 0 {
            return mark_or_remove(new, old, now);
        }
        let until = deletion_time(old).unwrap_or(now);
        let asked = until
            .checked_sub(SignedDuration::from_secs(before))
            .unwrap_or(now);
        mark(&mut new, asked, seconds)?;
        return Ok(Plan::Mark(new));
    }
    if seconds == 0 {
        return mark_or_remove(new, old, now);
    }
    mark(&mut new, now, seconds)?;
    Ok(Plan::Mark(new))
}

fn deletion_time(object: &Value) -> Option<Timestamp> {
    metadata_text(object, "deletionTimestamp").parse().ok()
}

/// The object goes at once if it has no finalizers; otherwise it is marked.
fn mark_or_remove(mut new: Value, old: &Value, now: Timestamp) -> Result<Plan, ApiError> {
    if no_finalizers(&new) {
        return Ok(Plan::Remove(new));
    }
    if is_deleting(old) {
        metadata_mut(&mut new)?.insert("deletionGracePeriodSeconds".into(), 0.into());
    } else {
        mark(&mut new, now, 0)?;
    }
    Ok(if new == *old {
        Plan::Nothing
    } else {
        Plan::Mark(new)
    })
}

/// Notes when the object is to be gone. The wish to delete counts as a change of the desired
/// state.
fn mark(object: &mut Value, asked: Timestamp, seconds: i64) -> Result<(), ApiError> {
    let until = asked
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX);
    let metadata = metadata_mut(object)?;
    let generation = metadata.get("generation").and_then(Value::as_i64);
    if let Some(generation) = generation.filter(|generation| *generation > 0) {
        metadata.insert("generation".into(), (generation + 1).into());
    }
    metadata.insert("deletionTimestamp".into(), rfc3339(until).into());
    metadata.insert("deletionGracePeriodSeconds".into(), seconds.into());
    Ok(())
}

/// A namespace lingers, in phase Terminating, until `spec.finalizers` is empty.
fn plan_namespace(mut new: Value, old: &Value, now: Timestamp) -> Result<Plan, ApiError> {
    let held = old["spec"]["finalizers"]
        .as_array()
        .is_some_and(|finalizers| !finalizers.is_empty());
    if !held && no_finalizers(&new) && is_deleting(old) {
        return Ok(Plan::Remove(new));
    }
    let metadata = metadata_mut(&mut new)?;
    if !is_deleting(old) {
        metadata.insert("deletionTimestamp".into(), rfc3339(now).into());
    }
    // What is in a namespace cannot outlive it.
    if let Some(finalizers) = metadata.get_mut("finalizers").and_then(Value::as_array_mut) {
        finalizers.retain(|finalizer| finalizer != ORPHAN);
        if finalizers.is_empty() {
            metadata.remove("finalizers");
        }
    }
    if !new["status"].is_object() {
        new["status"] = Value::Object(serde_json::Map::new());
    }
    new["status"]["phase"] = "Terminating".into();
    if !held && no_finalizers(&new) {
        return Ok(Plan::Remove(new));
    }
    Ok(if new == *old {
        Plan::Nothing
    } else {
        Plan::Mark(new)
    })
}

/// Sets the finalizers the garbage collector works by.
fn set_propagation_finalizers(
    route: &Route,
    object: &mut Value,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let default_orphans = route.resource().default_propagation == Propagation::Orphan;
    let had = |name: &str| {
        let finalizers = object["metadata"]["finalizers"].as_array();
        finalizers.is_some_and(|finalizers| finalizers.iter().any(|one| one == name))
    };
    let (orphan, foreground) = match options.propagation {
        Some(PropagationPolicy::Orphan) => (true, false),
        Some(PropagationPolicy::Foreground) => (false, true),
        Some(PropagationPolicy::Background) => (false, false),
        // Unsaid: what the object's finalizers say, then the kind's default.
        None if had(ORPHAN) => (true, false),
        None if had(FOREGROUND) => (false, true),
        None => (default_orphans, false),
    };
    let metadata = metadata_mut(object)?;
    let mut finalizers: Vec<Value> = metadata
        .get("finalizers")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for (wanted, name) in [(orphan, ORPHAN), (foreground, FOREGROUND)] {
        let present = finalizers.iter().any(|one| one == name);
        if wanted && !present {
            finalizers.push(name.into());
        } else if !wanted && present {
            finalizers.retain(|one| one != name);
        }
    }
    if finalizers.is_empty() {
        metadata.remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), finalizers.into());
    }
    Ok(())
}
