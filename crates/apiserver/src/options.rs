//! The options of writes and deletes: what the query (and a DeleteOptions body) may ask for.

use serde_json::Value;
use springtide_machinery::error::{ApiError, FieldError, GroupKind};

use crate::request::Query;

/// What happens to fields a schema does not have, and to keys that occur twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// They are dropped without a word.
    Ignore,
    /// They are dropped with a warning.
    Warn,
    /// The request is refused.
    Strict,
}

/// The options of creates, updates and patches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteOptions {
    /// Everything is done but the write.
    pub(crate) dry_run: bool,
    /// What happens to unknown fields.
    pub(crate) validation: FieldValidation,
}

impl WriteOptions {
    /// Reads the options from a query; `kind` is that of the options, as in `CreateOptions`.
    pub(crate) fn parse(query: &Query<'_>, kind: &str) -> Result<WriteOptions, ApiError> {
        let mut errors = Vec::new();
        let dry_run = dry_run(query.all("dryRun"), &mut errors);
        let validation = match query.text("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Strict") => FieldValidation::Strict,
            Some("Ignore") => FieldValidation::Ignore,
            Some(other) => {
                let known = ["Ignore", "Strict", "Warn"];
                errors.push(FieldError::not_supported("fieldValidation", other, &known));
                FieldValidation::Warn
            }
        };
        refuse(kind, &errors)?;
        Ok(WriteOptions {
            dry_run,
            validation,
        })
    }
}

/// What a delete does to dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PropagationPolicy {
    /// They stay.
    Orphan,
    /// They are deleted afterwards.
    Background,
    /// They are deleted first.
    Foreground,
}

/// The options of deletes.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeleteOptions {
    /// Everything is done but the delete.
    pub(crate) dry_run: bool,
    /// Seconds the object may linger.
    pub(crate) grace_seconds: Option<i64>,
    /// What happens to dependents.
    pub(crate) propagation: Option<PropagationPolicy>,
    /// The object must have this UID.
    pub(crate) uid: Option<String>,
    /// The object must be at this resourceVersion.
    pub(crate) resource_version: Option<String>,
}

impl DeleteOptions {
    /// Reads the options from a body that was decoded, or from the query where there is none.
    pub(crate) fn parse(
        query: &Query<'_>,
        body: Option<&Value>,
    ) -> Result<DeleteOptions, ApiError> {
        let mut errors = Vec::new();
        let options = match body {
            Some(body) => DeleteOptions::from_body(body, &mut errors)?,
            None => DeleteOptions::from_query(query, &mut errors)?,
        };
        refuse("DeleteOptions", &errors)?;
        Ok(options)
    }

    fn from_body(body: &Value, errors: &mut Vec<FieldError>) -> Result<DeleteOptions, ApiError> {
        let kind = body.get("kind").and_then(Value::as_str).unwrap_or_default();
        if !matches!(kind, "" | "DeleteOptions") {
            return Err(ApiError::bad_request(format!(
                "{kind} cannot be handled as a DeleteOptions"
            )));
        }
        let wrong = |field: &str| {
            ApiError::bad_request(format!(
                "DeleteOptions in version \"v1\" cannot be handled as a DeleteOptions: {field} has a wrong type"
            ))
        };
        let text = |value: &Value, field: &str| match value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone())),
            _ => Err(wrong(field)),
        };
        let grace_seconds = match &body["gracePeriodSeconds"] {
            Value::Null => None,
            number => Some(number.as_i64().ok_or_else(|| wrong("gracePeriodSeconds"))?),
        };
        let orphan = match &body["orphanDependents"] {
            Value::Null => None,
            switch => Some(switch.as_bool().ok_or_else(|| wrong("orphanDependents"))?),
        };
        let dry_runs: Vec<&str> = match &body["dryRun"] {
            Value::Null => Vec::new(),
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            _ => return Err(wrong("dryRun")),
        };
        let policy = text(&body["propagationPolicy"], "propagationPolicy")?;
        Ok(DeleteOptions {
            dry_run: dry_run(dry_runs.into_iter(), errors),
            grace_seconds: at_least_one(grace_seconds),
            propagation: propagation(policy.as_deref(), orphan, errors),
            uid: text(&body["preconditions"]["uid"], "preconditions.uid")?,
            resource_version: text(
                &body["preconditions"]["resourceVersion"],
                "preconditions.resourceVersion",
            )?,
        })
    }

    fn from_query(
        query: &Query<'_>,
        errors: &mut Vec<FieldError>,
    ) -> Result<DeleteOptions, ApiError> {
        let grace_seconds = match query.text("gracePeriodSeconds") {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                ApiError::bad_request(format!("gracePeriodSeconds {text:?} is not a number"))
            })?),
        };
        let orphan = query.flag("orphanDependents");
        Ok(DeleteOptions {
            dry_run: dry_run(query.all("dryRun"), errors),
            grace_seconds: at_least_one(grace_seconds),
            propagation: propagation(query.text("propagationPolicy"), orphan, errors),
            uid: None,
            resource_version: None,
        })
    }
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>, errors: &mut Vec<FieldError>) -> bool {
    let mut asked = false;
    for value in values.filter(|value| !value.is_empty()) {
        if value != "All" {
            errors.push(FieldError::not_supported("dryRun", value, &["All"]));
        }
        asked = true;
    }
    asked
}

/// A negative period means one second, as in Kubernetes.
fn at_least_one(seconds: Option<i64>) -> Option<i64> {
    seconds.map(|seconds| if seconds < 0 { 1 } else { seconds })
}

fn propagation(
    policy: Option<&str>,
    orphan: Option<bool>,
    errors: &mut Vec<FieldError>,
) -> Option<PropagationPolicy> {
    match policy {
        None => orphan.map(|orphan| {
            if orphan {
                PropagationPolicy::Orphan
            } else {
                PropagationPolicy::Background
            }
        }),
        Some("Orphan") => Some(PropagationPolicy::Orphan),
        Some("Background") => Some(PropagationPolicy::Background),
        Some("Foreground") => Some(PropagationPolicy::Foreground),
        Some(other) => {
            let known = ["Foreground", "Background", "Orphan"];
            errors.push(FieldError::not_supported(
                "propagationPolicy",
                other,
                &known,
            ));
            None
        }
    }
}

/// Refuses options that are wrong, in Kubernetes' words.
pub(crate) fn refuse(kind: &str, errors: &[FieldError]) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid(
        GroupKind::new("meta.k8s.io", kind),
        "",
        errors,
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wrong_options_are_refused_with_what_is_supported() {
        let refused = WriteOptions::parse(&Query::parse(Some("dryRun=Some")), "CreateOptions")
            .expect_err("refused");
        assert_eq!(refused.code(), 422);
        assert!(
            refused.message().contains("supported values: \"All\""),
            "{refused}"
        );
        assert!(
            WriteOptions::parse(&Query::parse(Some("dryRun=All")), "CreateOptions")
                .expect("taken")
                .dry_run
        );
    }

    #[test]
    fn delete_options_come_from_the_body_or_else_from_the_query() {
        let body = json!({"kind":"DeleteOptions","gracePeriodSeconds":0,"propagationPolicy":"Foreground","preconditions":{"uid":"u"}});
        let options = DeleteOptions::parse(&Query::default(), Some(&body)).expect("options");
        assert_eq!(options.grace_seconds, Some(0));
        assert_eq!(options.propagation, Some(PropagationPolicy::Foreground));
        assert_eq!(options.uid.as_deref(), Some("u"));
        let query = Query::parse(Some("gracePeriodSeconds=5&orphanDependents=true"));
        let options = DeleteOptions::parse(&query, None).expect("options");
        assert_eq!(options.grace_seconds, Some(5));
        assert_eq!(options.propagation, Some(PropagationPolicy::Orphan));
    }
}
