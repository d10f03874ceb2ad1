//! What the API answers when it refuses: a metav1 `Status`, with Kubernetes' reasons and wording.
//!
//! Everything that refuses a request returns an [`ApiError`]; the API server writes
//! [`ApiError::to_json`] with [`ApiError::code`]. [`FieldError`]s say which field is wrong and
//! become the causes of an `Invalid` status.

mod field;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

pub use field::{FieldError, FieldErrorKind, FieldPath, aggregate, quote};

/// A resource of an API group: `deployments` of `apps`. Displays as `deployments.apps`, and as
/// `pods` in the core group, whose name is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupResource<'a> {
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The resource's plural.
    pub resource: &'a str,
}

impl<'a> GroupResource<'a> {
    /// `resource` (the plural) of `group` (empty for the core group).
    pub fn new(group: &'a str, resource: &'a str) -> Self {
        Self { group, resource }
    }

    fn is_empty(self) -> bool {
        self.group.is_empty() && self.resource.is_empty()
    }
}

impl fmt::Display for GroupResource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_in_group(f, self.resource, self.group)
    }
}

/// A kind of an API group: `Deployment` of `apps`. Displays as `Deployment.apps`, and as `Pod` in
/// the core group, whose name is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GroupKind<'a> {
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The kind.
    pub kind: &'a str,
}

impl<'a> GroupKind<'a> {
    /// `kind` of `group` (empty for the core group).
    pub fn new(group: &'a str, kind: &'a str) -> Self {
        Self { group, kind }
    }
}

impl fmt::Display for GroupKind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_in_group(f, self.kind, self.group)
    }
}

fn write_in_group(f: &mut fmt::Formatter<'_>, name: &str, group: &str) -> fmt::Result {
    f.write_str(name)?;
    if !group.is_empty() {
        write!(f, ".{group}")?;
    }
    Ok(())
}

/// A metav1 `Status` that says failure. [`Status::success`] makes the other sort.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The HTTP status code.
    pub code: u16,
    /// Kubernetes' reason, for example `NotFound`; empty when unknown.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
    /// What the status is about.
    pub details: Details,
}

/// What a [`Status`] is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// The object's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The API group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The resource's plural, or the kind for `Invalid`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The object's UID.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The single faults.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// When to try again, in seconds; 0 means it is not said.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

/// One of a status's causes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The machine-readable reason, for example `FieldValueInvalid`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// A sentence for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The field's path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

// serde's skip_serializing_if passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

// === impl Status ===

impl Status {
    /// The answer to a request that left no object to show, such as a delete: 200, with the name,
    /// the group, the plural and the UID of what it was about.
    pub fn success(resource: GroupResource<'_>, name: &str, uid: &str) -> Value {
        let details = Details {
            name: name.to_owned(),
            group: resource.group.to_owned(),
            kind: resource.resource.to_owned(),
            uid: uid.to_owned(),
            ..Details::default()
        };
        json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        })
    }

    /// The status as a JSON value.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if self.details != Details::default() {
            status["details"] = json!(self.details);
        }
        status
    }
}

/// A refusal: a `Status` to be answered with its HTTP code.
///
/// Displays as the status's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct ApiError(Box<Status>);

/// The result of what can be refused.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

// === impl ApiError ===

impl ApiError {
    fn plain(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Status {
            code,
            reason,
            message: message.into(),
            details: Details::default(),
        }))
    }

    fn about(
        code: u16,
        reason: &'static str,
        resource: GroupResource<'_>,
        name: &str,
        message: String,
    ) -> Self {
        Self::plain(code, reason, message).with_resource(resource, name)
    }

    /// 404: no such object.
    pub fn not_found(resource: GroupResource<'_>, name: &str) -> Self {
        let message = format!("{resource} {} not found", quote(name));
        Self::about(404, "NotFound", resource, name, message)
    }

    /// 404: something that is no object, such as a metric that nobody measures.
    pub fn not_found_message(message: impl Into<String>) -> Self {
        Self::plain(404, "NotFound", message)
    }

    /// 404: no such path, group, version or resource.
    pub fn unknown_resource() -> Self {
        Self::plain(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
    }

    /// 409: an object of that name exists.
    pub fn already_exists(resource: GroupResource<'_>, name: &str) -> Self {
        let message = format!("{resource} {} already exists", quote(name));
        Self::about(409, "AlreadyExists", resource, name, message)
    }

    /// 409: all names tried for a `generateName` exist.
    pub fn generated_name_exists(resource: GroupResource<'_>, name: &str) -> Self {
        let message = format!(
            "{resource} {} already exists, the server was not able to generate a unique name for the object",
            quote(name)
        );
        Self::about(409, "AlreadyExists", resource, name, message).with_retry_after(1)
    }

    /// 409: the request does not fit the object's state; `why` says how.
    pub fn conflict(resource: GroupResource<'_>, name: &str, why: impl fmt::Display) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {resource} {}: {why}",
            quote(name)
        );
        Self::about(409, "Conflict", resource, name, message)
    }

    /// 409: the object changed since the client read it.
    pub fn modified(resource: GroupResource<'_>, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 422: the object's fields are wrong.
    pub fn invalid(kind: GroupKind<'_>, name: &str, errors: &[FieldError]) -> Self {
        let mut message = format!("{kind} {} is invalid", quote(name));
        if !errors.is_empty() {
            message.push_str(": ");
            message.push_str(&aggregate(errors));
        }
        let causes = errors.iter().map(|error| Cause {
            reason: error.kind.reason().to_owned(),
            message: error.body(),
            field: error.field.to_string(),
        });
        let mut refusal = Self::plain(422, "Invalid", message);
        refusal.0.details = Details {
            name: name.to_owned(),
            group: kind.group.to_owned(),
            kind: kind.kind.to_owned(),
            causes: causes.collect(),
            ..Details::default()
        };
        refusal
    }

    /// 422: the request is well formed and cannot be carried out, such as a patch that does not
    /// apply. Kubernetes says only the first half of the message; `why` is added to it.
    pub fn unprocessable(why: impl fmt::Display) -> Self {
        let message =
            format!("the server rejected our request due to an error in our request: {why}");
        Self::plain(422, "Invalid", message)
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::plain(400, "BadRequest", message)
    }

    /// 401: nobody known is asking.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::plain(401, "Unauthorized", message)
    }

    /// 403: the request is understood and not allowed. `name` and `resource` may be empty.
    pub fn forbidden(resource: GroupResource<'_>, name: &str, why: impl fmt::Display) -> Self {
        let message = if resource.is_empty() {
            format!("forbidden: {why}")
        } else if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} {} is forbidden: {why}", quote(name))
        };
        Self::about(403, "Forbidden", resource, name, message)
    }

    /// 405: the resource has no such verb.
    pub fn method_not_supported(resource: GroupResource<'_>, verb: &str) -> Self {
        let message = format!(
            "{verb} is not supported on resources of kind {}",
            quote(&resource.to_string())
        );
        Self::about(405, "MethodNotAllowed", resource, "", message)
    }

    /// 406: the client accepts nothing that can be served.
    pub fn not_acceptable(served: &[&str]) -> Self {
        let message = format!(
            "only the following media types are accepted: {}",
            served.join(", ")
        );
        Self::plain(406, "NotAcceptable", message)
    }

    /// 410: the resource version asked for is no longer kept; list again.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::plain(410, "Expired", message)
    }

    /// 410: what was asked for is no longer there.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::plain(410, "Gone", message)
    }

    /// 413: the body is too large; `why` names the limit.
    pub fn too_large(why: impl fmt::Display) -> Self {
        let message = format!("Request entity too large: {why}");
        Self::plain(413, "RequestEntityTooLarge", message)
    }

    /// 415: the body's media type is none of `accepted`.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::plain(415, "UnsupportedMediaType", message)
    }

    /// 429: ask again after `retry_after_seconds` (0: it is not known when).
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::plain(429, "TooManyRequests", message).with_retry_after(retry_after_seconds)
    }

    /// 500: a fault of the server's own.
    pub fn internal(why: impl fmt::Display) -> Self {
        let why = why.to_string();
        Self::plain(
            500,
            "InternalError",
            format!("Internal error occurred: {why}"),
        )
        .with_cause(Cause {
            message: why,
            ..Cause::default()
        })
    }

    /// 500: `verb` on `resource` took too long inside the server.
    pub fn server_timeout(
        resource: GroupResource<'_>,
        verb: &str,
        retry_after_seconds: u32,
    ) -> Self {
        let message = format!(
            "The {verb} operation against {resource} could not be completed at this time, please try again."
        );
        Self::about(500, "ServerTimeout", resource, verb, message)
            .with_retry_after(retry_after_seconds)
    }

    /// 503: a part that is needed does not answer.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::plain(503, "ServiceUnavailable", message)
    }

    /// 504: the request's own time ran out.
    pub fn timeout(why: impl fmt::Display, retry_after_seconds: u32) -> Self {
        Self::plain(504, "Timeout", format!("Timeout: {why}")).with_retry_after(retry_after_seconds)
    }

    /// 504: the client asks for a resource version the server has not reached.
    pub fn too_large_resource_version(
        asked: impl fmt::Display,
        current: impl fmt::Display,
        retry_after_seconds: u32,
    ) -> Self {
        let why = format!("Too large resource version: {asked}, current: {current}");
        Self::timeout(why, retry_after_seconds).with_cause(Cause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        })
    }

    /// 507: the disk is full; nothing was changed.
    pub fn storage_full(message: impl Into<String>) -> Self {
        Self::plain(507, "InsufficientStorage", message)
    }

    /// Says which object the refusal is about.
    #[must_use]
    pub fn with_resource(mut self, resource: GroupResource<'_>, name: &str) -> Self {
        self.0.details.name = name.to_owned();
        self.0.details.group = resource.group.to_owned();
        self.0.details.kind = resource.resource.to_owned();
        self
    }

    /// Adds a cause.
    #[must_use]
    pub fn with_cause(mut self, cause: Cause) -> Self {
        self.0.details.causes.push(cause);
        self
    }

    /// Says when to try again; 0 takes it back.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.0.details.retry_after_seconds = seconds;
        self
    }

    /// The HTTP status code.
    pub fn code(&self) -> u16 {
        self.0.code
    }

    /// Kubernetes' reason, for example `NotFound`.
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// When to try again, for the `Retry-After` header.
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.0.details.retry_after_seconds;
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// The whole status.
    pub fn status(&self) -> &Status {
        &self.0
    }

    /// The status as a JSON value, for an `ERROR` event of a watch.
    pub fn to_value(&self) -> Value {
        self.0.to_value()
    }

    /// The status as a response's body.
    pub fn to_json(&self) -> Vec<u8> {
        self.to_value().to_string().into_bytes()
    }
}
