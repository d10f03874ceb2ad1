//! Updates: a transformation of the object as it is, tried again when others were faster.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;
use springtide_machinery::error::{ApiError, FieldError};
use springtide_machinery::registry::Part;
use springtide_store::{Change, Expect, Object, WriteError};

use super::create::{create, place_in_namespace};
use super::{
    Written, answer_written, is_deleting, metadata_mut, metadata_text, no_finalizers,
    refuse_invalid, store_refusal,
};
use crate::admission;
use crate::api::{Api, Call, read_object};
use crate::encode;
use crate::options::WriteOptions;
use crate::routes::Route;

/// How often an update is tried before the client is told that others change the object all
/// the time.
const TRIES: usize = 100;

/// Answers a PUT of an object.
pub(crate) async fn answer(call: &Call<'_>, body: Body) -> Result<Response, ApiError> {
    answer_part(call, body, Part::Main).await
}

/// Answers a PUT of a part of an object that has the object's own shape.
pub(crate) async fn answer_part(
    call: &Call<'_>,
    body: Body,
    part: Part,
) -> Result<Response, ApiError> {
    let route = call.route;
    let options = WriteOptions::parse(call.query, "UpdateOptions")?;
    let mut decoded = read_object(call.parts, body, route.kind()).await?;
    let mut warnings = route.expected().check(&mut decoded, options.validation)?;
    let mut object = route.served().to_storage(route.resource(), decoded.value);
    check_name(&mut object, call.name())?;
    place_in_namespace(&mut object, call.namespace())?;

    let target = Target {
        api: call.api,
        route,
        namespace: call.namespace(),
        name: call.name(),
        part,
    };
    let strategy = &route.resource().strategy;
    let may_create = part == Part::Main && strategy.create_on_update();
    if may_create && target.current().is_none() {
        let revision = metadata_text(&object, "resourceVersion").to_owned();
        if !matches!(revision.as_str(), "" | "0") {
            return Err(ApiError::not_found(route.group_resource(), call.name()));
        }
        let created = create(
            call.api,
            route,
            call.namespace(),
            object,
            options.dry_run,
            &mut warnings,
        )
        .await?;
        return answer_written(call, StatusCode::CREATED, &created, &warnings);
    }
    let has_revision = !metadata_text(&object, "resourceVersion").is_empty();
    if !has_revision && !strategy.unconditional_update() {
        let error = FieldError::invalid(
            "metadata.resourceVersion",
            0,
            "must be specified for an update",
        );
        refuse_invalid(route, call.name(), &[error])?;
    }
    let transform = |_: &Value| Ok((object.clone(), Vec::new()));
    let written = target
        .update(options.dry_run, &mut warnings, transform)
        .await?;
    answer_written(call, StatusCode::OK, &written, &warnings)
}

fn check_name(object: &mut Value, name: &str) -> Result<(), ApiError> {
    let own = metadata_text(object, "name");
    if own.is_empty() {
        return Err(ApiError::bad_request(
            "name must be provided: the name of the object (\"\") does not match the name on the URL",
        ));
    }
    if own != name {
        return Err(ApiError::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        )));
    }
    Ok(())
}

/// The object an update is about, and the part of it that is written.
pub(crate) struct Target<'a> {
    pub(crate) api: &'a Api,
    pub(crate) route: &'a Route,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    pub(crate) part: Part,
}

impl Target<'_> {
    /// The object as it is.
    pub(crate) fn current(&self) -> Option<std::sync::Arc<Object>> {
        let key = self.route.key(self.namespace, self.name);
        self.api.store.get(&key)
    }

    /// Replaces the object by what `transform` makes of it (both in the stored version), and
    /// adds the warnings it gives. A change that changes nothing writes nothing. If what comes
    /// out names a resourceVersion, it must be that of the object as it is.
    pub(crate) async fn update(
        &self,
        dry_run: bool,
        warnings: &mut Vec<String>,
        mut transform: impl FnMut(&Value) -> Result<(Value, Vec<String>), ApiError>,
    ) -> Result<Written, ApiError> {
        let route = self.route;
        let not_found = || ApiError::not_found(route.group_resource(), self.name);
        for _ in 0..TRIES {
            let current = self.current().ok_or_else(not_found)?;
            let mut old = encode::parse(&current.bytes);
            let (mut new, given_warnings) = transform(&old)?;
            self.check_preconditions(&new, &current, &old)?;
            metadata_mut(&mut old)?.remove("resourceVersion");
            let claim = self.prepare(&mut new, &old)?;
            let mut all_warnings = given_warnings;
            if self.part == Part::Main {
                all_warnings.extend(route.resource().strategy.warnings(&new));
            }

            let ends = self.ends_deletion(&new);
            if dry_run {
                warnings.append(&mut all_warnings);
                let revision = current.revision.to_string();
                return Ok(Written::Shown(encode::bytes(&new, &revision)));
            }
            if new == old && !ends {
                warnings.append(&mut all_warnings);
                return Ok(Written::Stored(current));
            }
            let draft = encode::draft(route.resource(), &new);
            let change = if ends {
                Change::Delete(draft)
            } else {
                Change::Put(draft)
            };
            let expect = Expect::Revision(current.revision);
            match self
                .api
                .store
                .write(current.key.clone(), expect, change)
                .await
            {
                Ok(stored) => {
                    claim.keep();
                    if ends {
                        self.api.allocator.release(route, &new);
                    }
                    warnings.append(&mut all_warnings);
                    return Ok(Written::Stored(stored));
                }
                // Someone else was faster: their state is the one to change.
                Err(WriteError::Conflict { .. }) => {}
                Err(error) => return Err(store_refusal(&error, route, self.name)),
            }
        }
        Err(ApiError::modified(route.group_resource(), self.name))
    }

    /// Changes the object past the rules of its kind, for what only the server may do.
    pub(crate) async fn overwrite(
        &self,
        dry_run: bool,
        mut change: impl FnMut(&mut Value) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let route = self.route;
        for _ in 0..TRIES {
            let current = self
                .current()
                .ok_or_else(|| ApiError::not_found(route.group_resource(), self.name))?;
            let mut object = encode::parse(&current.bytes);
            change(&mut object)?;
            if dry_run {
                return Ok(());
            }
            let put = Change::Put(encode::draft(route.resource(), &object));
            let expect = Expect::Revision(current.revision);
            match self.api.store.write(current.key.clone(), expect, put).await {
                Ok(_) => return Ok(()),
                Err(WriteError::Conflict { .. }) => {}
                Err(error) => return Err(store_refusal(&error, route, self.name)),
            }
        }
        Err(ApiError::modified(route.group_resource(), self.name))
    }

    /// The resourceVersion and the UID that the new state names must be the object's.
    fn check_preconditions(
        &self,
        new: &Value,
        current: &Object,
        old: &Value,
    ) -> Result<(), ApiError> {
        let resource = self.route.group_resource();
        let revision = metadata_text(new, "resourceVersion");
        if !matches!(revision, "" | "0") && revision != current.revision.to_string() {
            if revision.parse::<u64>().is_err() {
                let error =
                    FieldError::invalid("metadata.resourceVersion", revision, "must be a number");
                refuse_invalid(self.route, self.name, &[error])?;
            }
            return Err(ApiError::modified(resource, self.name));
        }
        check_uid(self.route, self.name, metadata_text(new, "uid"), old)
    }

    /// Brings the new state into the form it is stored in, and checks it.
    fn prepare<'s>(
        &'s self,
        new: &mut Value,
        old: &Value,
    ) -> Result<crate::allocate::Claim<'s>, ApiError> {
        let route = self.route;
        let strategy = &route.resource().strategy;
        let metadata = metadata_mut(new)?;
        for field in ["resourceVersion", "selfLink", "managedFields"] {
            metadata.remove(field);
        }
        // What a client leaves out of what only the server sets stays as it is.
        for field in ["uid", "creationTimestamp", "generation"] {
            let given = metadata.get(field).is_some_and(|value| !value.is_null());
            if !given && let Some(value) = old["metadata"].get(field) {
                metadata.insert(field.into(), value.clone());
            }
        }
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
            match old["metadata"].get(field) {
                Some(value) => metadata.insert(field.into(), value.clone()),
                None => metadata.remove(field),
            };
        }
        strategy.defaults(new);
        strategy.prepare_update(new, old, self.part);
        metadata_mut(new)?.remove("resourceVersion");
        if self.part == Part::Main {
            admission::on_update(self.api, route, new)?;
        }
        let errors = strategy.validate_update(new, old, self.part);
        refuse_invalid(route, self.name, &errors)?;
        if self.part == Part::Main {
            let entropy = &self.api.entropy;
            return self
                .api
                .allocator
                .claim_for_update(route, new, old, entropy);
        }
        Ok(self.api.allocator.nothing())
    }

    /// Whether this change was the last thing that a delete waited for.
    fn ends_deletion(&self, new: &Value) -> bool {
        if !is_deleting(new) || !no_finalizers(new) {
            return false;
        }
        let grace_over = new["metadata"]["deletionGracePeriodSeconds"]
            .as_i64()
            .is_none_or(|seconds| seconds == 0);
        let is_namespace = &*self.route.resource().collection == "namespaces";
        let held = is_namespace
            && new["spec"]["finalizers"]
                .as_array()
                .is_some_and(|finalizers| !finalizers.is_empty());
        grace_over && !held
    }
}

/// Refuses when an UID is given and is not the object's.
pub(crate) fn check_uid(
    route: &Route,
    name: &str,
    wanted: &str,
    object: &Value,
) -> Result<(), ApiError> {
    let own = metadata_text(object, "uid");
    if wanted.is_empty() || wanted == own {
        return Ok(());
    }
    let why =
        format!("Precondition failed: UID in precondition: {wanted}, UID in object meta: {own}");
    Err(ApiError::conflict(route.group_resource(), name, why))
}
