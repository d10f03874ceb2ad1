//! What each kind refuses, with Kubernetes' sentences and paths. One file per kind.
//!
//! Every check takes the object in its storage version, with defaults filled in, and collects all
//! faults instead of stopping at the first.

pub(crate) mod apps;
pub(crate) mod config;
mod container;
pub(crate) mod core;
pub(crate) mod discovery;
pub(crate) mod horizontal_pod_autoscaler;
pub mod meta;
pub(crate) mod monitor;
pub(crate) mod pod;
mod pod_scheduling;
pub(crate) mod pod_update;
pub(crate) mod pod_warnings;
pub(crate) mod policy;
mod probe;
pub(crate) mod prometheus_rule;
pub(crate) mod resources;
pub(crate) mod service;
pub(crate) mod unhonoured;
mod volume;

use serde_json::Value;

use crate::error::{FieldError, FieldPath};
use crate::members::integer;
use crate::names;

/// The faults found so far.
pub(crate) type Errors = Vec<FieldError>;

/// Kubernetes' sentence for a field that never changes.
pub(crate) const IMMUTABLE: &str = "field is immutable";
pub(crate) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

/// One fault for each sentence of a name check.
pub(crate) fn add_all(
    errors: &mut Errors,
    path: &FieldPath,
    value: impl Into<Value>,
    faults: Vec<String>,
) {
    let value = value.into();
    for fault in faults {
        errors.push(FieldError::invalid(path, value.clone(), fault));
    }
}

/// Checks that `object[name]`, if it is a number, is not below zero.
pub(crate) fn not_negative(errors: &mut Errors, object: &Value, name: &str, path: &FieldPath) {
    if let Some(number) = integer(object, name).filter(|number| *number < 0) {
        errors.push(FieldError::invalid(path.child(name), number, NOT_NEGATIVE));
    }
}

/// Checks that `text` is one of `supported`; empty is a missing value.
pub(crate) fn one_of(errors: &mut Errors, text: &str, supported: &[&str], path: &FieldPath) {
    if text.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !supported.contains(&text) {
        errors.push(FieldError::not_supported(path, text, supported));
    }
}

/// Checks the labels of an object, of a selector or of a template.
pub(crate) fn labels(errors: &mut Errors, labels: &Value, path: &FieldPath) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        add_all(errors, path, key.as_str(), names::label_key(key));
        let text = value.as_str().unwrap_or_default();
        add_all(errors, path, text, names::label_value(text));
    }
}

/// Checks a whole number or percentage that may not be below zero.
pub(crate) fn int_or_percent(errors: &mut Errors, value: &Value, path: &FieldPath) {
    match value {
        Value::String(text) if !names::percent(text).is_empty() => {
            errors.push(FieldError::invalid(
                path,
                text.as_str(),
                "must be an integer or percentage (e.g '5%%')",
            ));
        }
        Value::Number(number) if number.as_i64().is_some_and(|number| number < 0) => {
            errors.push(FieldError::invalid(path, value.clone(), NOT_NEGATIVE));
        }
        _ => {}
    }
}

/// Checks that a percentage is at most 100 %.
pub(crate) fn at_most_all(errors: &mut Errors, value: &Value, path: &FieldPath) {
    let percent = value
        .as_str()
        .and_then(|text| text.strip_suffix('%'))
        .and_then(|digits| digits.parse::<i64>().ok());
    if percent.is_some_and(|percent| percent > 100) {
        errors.push(FieldError::invalid(
            path,
            value.clone(),
            "must not be greater than 100%",
        ));
    }
}

/// Checks a port given as number or as name.
pub(crate) fn port(errors: &mut Errors, value: &Value, path: &FieldPath) {
    match value {
        Value::String(name) => add_all(errors, path, name.as_str(), names::port_name(name)),
        other => {
            let number = other.as_i64().unwrap_or(0);
            add_all(errors, path, number, names::port_number(number));
        }
    }
}

/// Fails if `new[name]` differs from `old[name]`.
pub(crate) fn immutable(
    errors: &mut Errors,
    new: &Value,
    old: &Value,
    name: &str,
    path: &FieldPath,
) {
    if new.get(name) != old.get(name) {
        let value = new.get(name).cloned().unwrap_or(Value::Null);
        errors.push(FieldError::invalid(path.child(name), value, IMMUTABLE));
    }
}

#[cfg(test)]
pub(crate) fn sentences(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}
