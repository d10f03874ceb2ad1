//! What says where a pod may go: tolerations, affinity, topology spread.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Errors, add_all, one_of};
use crate::error::{FieldError, FieldPath};
use crate::members::{has, integer, items, text};
use crate::names;
use crate::selector::LabelSelector;

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub(super) fn validate(errors: &mut Errors, spec: &Value, path: &FieldPath) {
    for (index, toleration) in items(spec, "tolerations").enumerate() {
        self::toleration(errors, toleration, &path.child("tolerations").index(index));
    }
    spread(errors, spec, &path.child("topologySpreadConstraints"));
    let (affinity, path) = (&spec["affinity"], path.child("affinity"));
    node_affinity(
        errors,
        &affinity["nodeAffinity"],
        &path.child("nodeAffinity"),
    );
    for name in ["podAffinity", "podAntiAffinity"] {
        pod_affinity(errors, &affinity[name], &path.child(name));
    }
}

fn toleration(errors: &mut Errors, toleration: &Value, path: &FieldPath) {
    let key = text(toleration, "key");
    let operator = text(toleration, "operator");
    if key.is_empty() {
        if operator != "Exists" {
            errors.push(FieldError::invalid(
                path.child("operator"),
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ));
        }
    } else {
        add_all(errors, &path.child("key"), key, names::label_key(key));
    }
    let value = text(toleration, "value");
    match operator {
        "" | "Equal" => add_all(
            errors,
            &path.child("operator"),
            value,
            names::label_value(value),
        ),
        "Exists" => {
            if !value.is_empty() {
                errors.push(FieldError::invalid(
                    path.child("operator"),
                    toleration.clone(),
                    "value must be empty when `operator` is 'Exists'",
                ));
            }
        }
        other => errors.push(FieldError::not_supported(
            path.child("operator"),
            other,
            &["Equal", "Exists"],
        )),
    }
    let effect = text(toleration, "effect");
    if has(toleration, "tolerationSeconds") && effect != "NoExecute" {
        errors.push(FieldError::invalid(
            path.child("effect"),
            effect,
            "effect must be 'NoExecute' when `tolerationSeconds` is set",
        ));
    }
    if !effect.is_empty() {
        one_of(errors, effect, &EFFECTS, &path.child("effect"));
    }
}

fn spread(errors: &mut Errors, spec: &Value, path: &FieldPath) {
    let mut seen = BTreeSet::new();
    for (index, constraint) in items(spec, "topologySpreadConstraints").enumerate() {
        let path = path.index(index);
        let skew = integer(constraint, "maxSkew").unwrap_or(0);
        if skew <= 0 {
            errors.push(FieldError::invalid(
                path.child("maxSkew"),
                skew,
                "must be greater than zero",
            ));
        }
        let key = text(constraint, "topologyKey");
        if key.is_empty() {
            errors.push(FieldError::required(
                path.child("topologyKey"),
                "can not be empty",
            ));
        } else {
            add_all(
                errors,
                &path.child("topologyKey"),
                key,
                names::label_key(key),
            );
        }
        let action = text(constraint, "whenUnsatisfiable");
        one_of(
            errors,
            action,
            &["DoNotSchedule", "ScheduleAnyway"],
            &path.child("whenUnsatisfiable"),
        );
        if !seen.insert((key, action)) {
            errors.push(FieldError::duplicate(
                path.child("{topologyKey, whenUnsatisfiable}"),
                format!("{{{key}, {action}}}"),
            ));
        }
        selector(errors, constraint, &path);
    }
}

fn selector(errors: &mut Errors, holder: &Value, path: &FieldPath) {
    let found = LabelSelector::from_object(&holder["labelSelector"], &path.child("labelSelector"));
    if let Err(faults) = found {
        errors.extend(faults);
    }
}

fn node_affinity(errors: &mut Errors, affinity: &Value, path: &FieldPath) {
    let name = "requiredDuringSchedulingIgnoredDuringExecution";
    if has(affinity, name) {
        let path = path.child(name).child("nodeSelectorTerms");
        if items(&affinity[name], "nodeSelectorTerms").next().is_none() {
            errors.push(FieldError::required(
                &path,
                "must have at least one node selector term",
            ));
        }
        for (index, term) in items(&affinity[name], "nodeSelectorTerms").enumerate() {
            node_term(errors, term, &path.index(index));
        }
    }
    let name = "preferredDuringSchedulingIgnoredDuringExecution";
    for (index, preferred) in items(affinity, name).enumerate() {
        let path = path.child(name).index(index);
        weight(errors, preferred, &path);
        node_term(errors, &preferred["preference"], &path.child("preference"));
    }
}

fn node_term(errors: &mut Errors, term: &Value, path: &FieldPath) {
    for list in ["matchExpressions", "matchFields"] {
        for (index, requirement) in items(term, list).enumerate() {
            node_requirement(errors, requirement, &path.child(list).index(index));
        }
    }
}

fn node_requirement(errors: &mut Errors, requirement: &Value, path: &FieldPath) {
    let count = items(requirement, "values").count();
    let values = path.child("values");
    match text(requirement, "operator") {
        "In" | "NotIn" if count == 0 => errors.push(FieldError::required(
            values,
            "must be specified when `operator` is 'In' or 'NotIn'",
        )),
        "Exists" | "DoesNotExist" if count > 0 => errors.push(FieldError::forbidden(
            values,
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        )),
        "Gt" | "Lt" if count != 1 => errors.push(FieldError::required(
            values,
            "must be specified single value when `operator` is 'Lt' or 'Gt'",
        )),
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.push(FieldError::invalid(
            path.child("operator"),
            other,
            "not a valid selector operator",
        )),
    }
    let key = text(requirement, "key");
    add_all(errors, &path.child("key"), key, names::label_key(key));
}

fn pod_affinity(errors: &mut Errors, affinity: &Value, path: &FieldPath) {
    let name = "requiredDuringSchedulingIgnoredDuringExecution";
    for (index, term) in items(affinity, name).enumerate() {
        pod_term(errors, term, &path.child(name).index(index));
    }
    let name = "preferredDuringSchedulingIgnoredDuringExecution";
    for (index, preferred) in items(affinity, name).enumerate() {
        let path = path.child(name).index(index);
        weight(errors, preferred, &path);
        pod_term(
            errors,
            &preferred["podAffinityTerm"],
            &path.child("podAffinityTerm"),
        );
    }
}

fn pod_term(errors: &mut Errors, term: &Value, path: &FieldPath) {
    selector(errors, term, path);
    let key = text(term, "topologyKey");
    if key.is_empty() {
        errors.push(FieldError::required(
            path.child("topologyKey"),
            "can not be empty",
        ));
    } else {
        add_all(
            errors,
            &path.child("topologyKey"),
            key,
            names::label_key(key),
        );
    }
}

fn weight(errors: &mut Errors, preferred: &Value, path: &FieldPath) {
    let weight = integer(preferred, "weight").unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(
            path.child("weight"),
            weight,
            "must be in the range 1-100",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::sentences;
    use serde_json::json;

    fn faults(spec: &Value) -> Vec<String> {
        let mut errors = Errors::new();
        validate(&mut errors, spec, &FieldPath::new("spec"));
        sentences(&errors)
    }

    #[test]
    fn good_constraints_pass() {
        let good = json!({
            "tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 5}],
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"a": "b"}}}],
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "h", "labelSelector": {}}]}},
        });
        assert_eq!(faults(&good), Vec::<String>::new());
    }

    #[test]
    fn faults_of_constraints_are_named() {
        assert_eq!(
            faults(
                &json!({"tolerations": [{"value": "a"}, {"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 1}]})
            ),
            [
                "spec.tolerations[0].operator: Invalid value: \"\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
                "spec.tolerations[1].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set",
            ]
        );
        assert_eq!(
            faults(
                &json!({"topologySpreadConstraints": [{"maxSkew": 0, "whenUnsatisfiable": "x"}]})
            ),
            [
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
                "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
                "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"x\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
            ]
        );
        let affinity = json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "a", "operator": "In"}]}]}}}});
        assert_eq!(
            faults(&affinity),
            [
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"
            ]
        );
    }
}
