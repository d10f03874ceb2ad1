//! PrometheusRules: what can be said of them without PromQL. Expressions are checked where they are understood.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Errors, meta};
use crate::error::{FieldError, FieldPath};
use crate::members::text;
use crate::names;
use crate::registry::Part;

/// Checks a new PrometheusRule.
pub(crate) fn create(rule: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate(rule, true, names::dns1123_subdomain);
    groups(&mut errors, &rule["spec"]);
    errors
}

/// Checks a change of a PrometheusRule.
pub(crate) fn update(new: &Value, old: &Value, _: Part) -> Vec<FieldError> {
    let mut errors = meta::validate_update(new, old);
    groups(&mut errors, &new["spec"]);
    errors
}

fn groups(errors: &mut Errors, spec: &Value) {
    let path = FieldPath::new("spec").child("groups");
    let mut seen = BTreeSet::new();
    for (index, group) in spec["groups"].as_array().into_iter().flatten().enumerate() {
        let path = path.index(index);
        let name = text(group, "name");
        if name.is_empty() {
            errors.push(FieldError::required(
                path.child("name"),
                "a group needs a name",
            ));
        } else if !seen.insert(name) {
            errors.push(FieldError::duplicate(path.child("name"), name));
        }
        for field in ["interval", "query_offset"] {
            duration(errors, group, field, &path);
        }
        for (index, rule) in group["rules"].as_array().into_iter().flatten().enumerate() {
            one_rule(errors, rule, &path.child("rules").index(index));
        }
    }
}

fn one_rule(errors: &mut Errors, rule: &Value, path: &FieldPath) {
    let (record, alert) = (text(rule, "record"), text(rule, "alert"));
    match (record.is_empty(), alert.is_empty()) {
        (true, true) => errors.push(FieldError::required(
            path.clone(),
            "one of record and alert must be set",
        )),
        (false, false) => errors.push(FieldError::invalid(
            path.clone(),
            record,
            "only one of record and alert must be set",
        )),
        (false, true) => {
            for field in ["for", "keep_firing_for"] {
                if !text(rule, field).is_empty() {
                    errors.push(FieldError::invalid(
                        path.child(field),
                        text(rule, field),
                        "only alerts have it",
                    ));
                }
            }
            if rule["annotations"]
                .as_object()
                .is_some_and(|annotations| !annotations.is_empty())
            {
                errors.push(FieldError::forbidden(
                    path.child("annotations"),
                    "only alerts have annotations",
                ));
            }
            if !is_name(record, true) {
                errors.push(FieldError::invalid(
                    path.child("record"),
                    record,
                    "is no name of a metric",
                ));
            }
        }
        (true, false) => {
            for field in ["for", "keep_firing_for"] {
                duration(errors, rule, field, path);
            }
        }
    }
    if rule["expr"].is_null()
        || rule["expr"]
            .as_str()
            .is_some_and(|expr| expr.trim().is_empty())
    {
        errors.push(FieldError::required(
            path.child("expr"),
            "a rule needs an expression",
        ));
    }
    for (label, value) in rule["labels"].as_object().into_iter().flatten() {
        if !is_name(label, false) || label == "__name__" {
            let told = value.as_str().unwrap_or_default();
            errors.push(FieldError::invalid(
                path.child("labels").key(label),
                told,
                "is no name of a label",
            ));
        }
    }
}

/// Whether a text is a metric's name, or a label's, which has no colons.
fn is_name(name: &str, colons: bool) -> bool {
    let letter = |byte: u8| byte == b'_' || byte.is_ascii_alphabetic() || (colons && byte == b':');
    let mut bytes = name.bytes();
    bytes.next().is_some_and(letter) && bytes.all(|byte| letter(byte) || byte.is_ascii_digit())
}

fn duration(errors: &mut Errors, holder: &Value, field: &str, path: &FieldPath) {
    let told = text(holder, field);
    if !told.is_empty() && !is_duration(told) {
        errors.push(FieldError::invalid(
            path.child(field),
            told,
            "is no duration such as 30s, 5m or 1h30m",
        ));
    }
}

/// Prometheus' durations: numbers with units, the larger first, each once.
fn is_duration(text: &str) -> bool {
    const UNITS: [&str; 7] = ["y", "w", "d", "h", "m", "s", "ms"];
    if text == "0" {
        return true;
    }
    let (mut rest, mut next) = (text, 0);
    while !rest.is_empty() {
        let digits = rest.len()
            - rest
                .trim_start_matches(|char: char| char.is_ascii_digit())
                .len();
        let unit_and_rest = &rest[digits..];
        let letters = unit_and_rest.len()
            - unit_and_rest
                .trim_start_matches(|char: char| char.is_ascii_alphabetic())
                .len();
        let unit = UNITS
            .iter()
            .position(|unit| *unit == &unit_and_rest[..letters]);
        match unit {
            Some(unit) if digits > 0 && unit >= next => next = unit + 1,
            _ => return false,
        }
        rest = &unit_and_rest[letters..];
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(groups: &Value) -> Vec<String> {
        let rule =
            json!({"metadata": {"namespace": "shop", "name": "r"}, "spec": {"groups": groups}});
        create(&rule).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_rule_is_an_alert_or_a_record_and_never_both() {
        let good = json!([{"name": "g", "interval": "30s", "rules": [
            {"alert": "Down", "expr": "up == 0", "for": "1h30m", "labels": {"severity": "critical"}},
            {"record": "job:up:sum", "expr": 1},
        ]}]);
        assert_eq!(faults(&good), [""; 0]);
        for (rule, expected) in [
            (
                json!({"expr": "up"}),
                "spec.groups[0].rules[0]: Required value: one of record and alert",
            ),
            (
                json!({"alert": "a", "record": "b", "expr": "up"}),
                "only one of record and alert must be set",
            ),
            (
                json!({"alert": "a", "expr": " "}),
                "spec.groups[0].rules[0].expr: Required value",
            ),
            (
                json!({"alert": "a", "expr": "up", "for": "5x"}),
                "spec.groups[0].rules[0].for: Invalid value",
            ),
            (
                json!({"record": "a b", "expr": "up"}),
                "spec.groups[0].rules[0].record: Invalid value",
            ),
            (
                json!({"record": "a", "expr": "up", "for": "5m"}),
                "only alerts have it",
            ),
            (
                json!({"alert": "a", "expr": "up", "labels": {"a-b": "c"}}),
                "is no name of a label",
            ),
        ] {
            let found = faults(&json!([{"name": "g", "rules": [rule]}]));
            assert!(
                found.iter().any(|fault| fault.contains(expected)),
                "{expected}: {found:?}"
            );
        }
        let twice = faults(&json!([{"name": "g"}, {"name": "g"}]));
        assert!(
            twice[0].contains("spec.groups[1].name: Duplicate value"),
            "{twice:?}"
        );
    }

    #[test]
    fn durations_go_from_large_to_small() {
        for (text, good) in [
            ("5m", true),
            ("1h30m", true),
            ("100ms", true),
            ("0", true),
            ("30m1h", false),
            ("5", false),
            ("m", false),
            ("1m1m", false),
        ] {
            assert_eq!(is_duration(text), good, "{text}");
        }
    }
}
