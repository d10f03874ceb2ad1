//! PodDisruptionBudgets.

use serde_json::Value;

use super::{Errors, at_most_all, int_or_percent, meta, not_negative, one_of};
use crate::error::{FieldError, FieldPath};
use crate::members::{has, text};
use crate::names;
use crate::registry::Part;
use crate::selector::LabelSelector;

/// Checks a new PodDisruptionBudget.
pub(crate) fn create(budget: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate(budget, true, names::dns1123_subdomain);
    spec(&mut errors, &budget["spec"]);
    errors
}

/// Checks a change of a PodDisruptionBudget or of its status.
pub(crate) fn update(new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
    let mut errors = meta::validate_update(new, old);
    if part == Part::Status {
        let path = FieldPath::new("status");
        for name in [
            "disruptionsAllowed",
            "currentHealthy",
            "desiredHealthy",
            "expectedPods",
        ] {
            not_negative(&mut errors, &new["status"], name, &path);
        }
    } else {
        spec(&mut errors, &new["spec"]);
    }
    errors
}

fn spec(errors: &mut Errors, spec: &Value) {
    let path = FieldPath::new("spec");
    if has(spec, "minAvailable") && has(spec, "maxUnavailable") {
        errors.push(FieldError::invalid(
            &path,
            spec.clone(),
            "minAvailable and maxUnavailable cannot be both set",
        ));
    }
    for name in ["minAvailable", "maxUnavailable"] {
        let path = path.child(name);
        int_or_percent(errors, &spec[name], &path);
        at_most_all(errors, &spec[name], &path);
    }
    if has(spec, "selector") {
        let found = LabelSelector::from_object(&spec["selector"], &path.child("selector"));
        if let Err(faults) = found {
            errors.extend(faults);
        }
    }
    if has(spec, "unhealthyPodEvictionPolicy") {
        one_of(
            errors,
            text(spec, "unhealthyPodEvictionPolicy"),
            &["AlwaysAllow", "IfHealthyBudget"],
            &path.child("unhealthyPodEvictionPolicy"),
        );
    }
}

#[cfg(test)]
// Literals are easier to read where they need no reference.
#[allow(clippy::needless_pass_by_value)]
mod tests {
    use super::*;
    use crate::validation::sentences;
    use serde_json::json;

    fn faults(spec: Value) -> Vec<String> {
        sentences(&create(
            &json!({"metadata": {"name": "b", "namespace": "d"}, "spec": spec}),
        ))
    }

    #[test]
    fn one_bound_passes_and_two_are_refused() {
        assert_eq!(
            faults(json!({"minAvailable": "50%", "selector": {"matchLabels": {"a": "b"}}})),
            Vec::<String>::new()
        );
        assert_eq!(
            faults(json!({"minAvailable": 1, "maxUnavailable": 1})),
            [
                "spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set"
            ]
        );
    }

    #[test]
    fn bounds_are_numbers_or_percentages() {
        assert_eq!(
            faults(json!({"minAvailable": "150%"})),
            ["spec.minAvailable: Invalid value: \"150%\": must not be greater than 100%"]
        );
        assert_eq!(
            faults(json!({"maxUnavailable": -1})),
            ["spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0"]
        );
    }
}
