//! HorizontalPodAutoscalers, in autoscaling/v2.

use serde_json::Value;

use super::{Errors, NOT_NEGATIVE, add_all, meta, one_of};
use crate::error::{FieldError, FieldPath};
use crate::members::{has, integer, items, text};
use crate::names;
use crate::quantity::Quantity;
use crate::registry::Part;
use crate::selector::LabelSelector;

/// The longest period of a policy, in seconds.
const PERIOD_MAX: i64 = 1800;
/// The longest stabilization window, in seconds.
const WINDOW_MAX: i64 = 3600;

/// Type and member of each metric source, sorted as Kubernetes lists them.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

/// Checks a new HorizontalPodAutoscaler.
pub(crate) fn create(hpa: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate(hpa, true, names::dns1123_subdomain);
    spec(&mut errors, &hpa["spec"]);
    errors
}

/// Checks a change of a HorizontalPodAutoscaler or of its status.
pub(crate) fn update(new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
    let mut errors = meta::validate_update(new, old);
    if part == Part::Status {
        let path = FieldPath::new("status");
        for name in ["currentReplicas", "desiredReplicas"] {
            super::not_negative(&mut errors, &new["status"], name, &path);
        }
    } else {
        spec(&mut errors, &new["spec"]);
    }
    errors
}

fn spec(errors: &mut Errors, spec: &Value) {
    let path = FieldPath::new("spec");
    let least = integer(spec, "minReplicas");
    if let Some(least) = least.filter(|least| *least < 1) {
        errors.push(FieldError::invalid(
            path.child("minReplicas"),
            least,
            "must be greater than or equal to 1",
        ));
    }
    let most = integer(spec, "maxReplicas").unwrap_or(0);
    if most < 1 {
        errors.push(FieldError::invalid(
            path.child("maxReplicas"),
            most,
            "must be greater than 0",
        ));
    }
    if least.is_some_and(|least| most < least) {
        errors.push(FieldError::invalid(
            path.child("maxReplicas"),
            most,
            "must be greater than or equal to `minReplicas`",
        ));
    }
    target_reference(
        errors,
        &spec["scaleTargetRef"],
        &path.child("scaleTargetRef"),
    );
    for (index, metric) in items(spec, "metrics").enumerate() {
        self::metric(errors, metric, &path.child("metrics").index(index));
    }
    for direction in ["scaleUp", "scaleDown"] {
        let rules = &spec["behavior"][direction];
        if rules.is_object() {
            scaling_rules(errors, rules, &path.child("behavior").child(direction));
        }
    }
}

fn target_reference(errors: &mut Errors, reference: &Value, path: &FieldPath) {
    for name in ["kind", "name"] {
        let value = text(reference, name);
        if value.is_empty() {
            errors.push(FieldError::required(path.child(name), ""));
        } else {
            add_all(errors, &path.child(name), value, names::path_segment(value));
        }
    }
    let version = text(reference, "apiVersion");
    let well_formed = match version.split_once('/') {
        None => true,
        Some((group, rest)) => {
            names::dns1123_subdomain(group).is_empty() && !rest.is_empty() && !rest.contains('/')
        }
    };
    if !well_formed {
        errors.push(FieldError::invalid(
            path.child("apiVersion"),
            version,
            format!("unexpected GroupVersion string: {version}"),
        ));
    }
}

fn metric(errors: &mut Errors, metric: &Value, path: &FieldPath) {
    let kind = text(metric, "type");
    let types: Vec<&str> = SOURCES.iter().map(|(kind, _)| *kind).collect();
    if kind.is_empty() {
        errors.push(FieldError::required(
            path.child("type"),
            "must specify a metric source type",
        ));
    } else if !types.contains(&kind) {
        errors.push(FieldError::not_supported(path.child("type"), kind, &types));
    }
    let present: Vec<&str> = SOURCES
        .iter()
        .map(|(_, member)| *member)
        .filter(|member| has(metric, member))
        .collect();
    if let Some(member) = present.first() {
        source(errors, member, &metric[*member], &path.child(member));
    }
    let expected = SOURCES
        .iter()
        .find(|(known, _)| *known == kind)
        .map(|(_, member)| *member);
    if let Some(expected) = expected
        && !present.contains(&expected)
    {
        errors.push(FieldError::required(
            path.child(expected),
            "must populate information for the given metric source",
        ));
    }
    if present.len() != 1 {
        for member in present {
            if Some(member) != expected {
                errors.push(FieldError::forbidden(
                    path.child(member),
                    "must populate the given metric source only",
                ));
            }
        }
    }
}

fn source(errors: &mut Errors, kind: &str, source: &Value, path: &FieldPath) {
    let target_path = path.child("target");
    target(errors, &source["target"], &target_path);
    let target = &source["target"];
    let has_value = has(target, "value");
    let has_average = has(target, "averageValue");
    let has_utilization = has(target, "averageUtilization");
    match kind {
        "resource" | "containerResource" => {
            if text(source, "name").is_empty() {
                errors.push(FieldError::required(
                    path.child("name"),
                    "must specify a resource name",
                ));
            }
            if kind == "containerResource" && text(source, "container").is_empty() {
                errors.push(FieldError::required(
                    path.child("container"),
                    "must specify a container",
                ));
            }
            if !has_utilization && !has_average {
                errors.push(FieldError::required(
                    target_path.child("averageUtilization"),
                    "must set either a target raw value or a target utilization",
                ));
            }
            if has_utilization && has_average {
                errors.push(FieldError::forbidden(
                    target_path.child("averageValue"),
                    "may not set both a target raw value and a target utilization",
                ));
            }
            if has_value {
                errors.push(FieldError::forbidden(
                    target_path.child("value"),
                    "may not set both a target value and a target utilization",
                ));
            }
        }
        "pods" => {
            metric_identifier(errors, source, path);
            let positive = Quantity::from_json(&target["averageValue"])
                .is_ok_and(|amount| !amount.is_negative() && !amount.is_zero());
            if !positive {
                errors.push(FieldError::required(
                    target_path.child("averageValue"),
                    "must specify a positive target averageValue",
                ));
            }
        }
        "object" => {
            target_reference(
                errors,
                &source["describedObject"],
                &path.child("describedObject"),
            );
            metric_identifier(errors, source, path);
            if !has_value && !has_average {
                errors.push(FieldError::required(
                    target_path.child("averageValue"),
                    "must set either a target value or averageValue",
                ));
            }
        }
        _ => {
            metric_identifier(errors, source, path);
            if !has_value && !has_average {
                errors.push(FieldError::required(
                    target_path.child("averageValue"),
                    "must set either a target value for metric or a per-pod target",
                ));
            }
            if has_value && has_average {
                errors.push(FieldError::forbidden(
                    target_path.child("value"),
                    "may not set both a target value for metric and a per-pod target",
                ));
            }
        }
    }
}

fn metric_identifier(errors: &mut Errors, source: &Value, path: &FieldPath) {
    let path = path.child("metric");
    let name = text(&source["metric"], "name");
    if name.is_empty() {
        errors.push(FieldError::required(
            path.child("name"),
            "must specify a metric name",
        ));
    } else {
        add_all(errors, &path.child("name"), name, names::path_segment(name));
    }
    let selector = &source["metric"]["selector"];
    if !selector.is_null()
        && let Err(faults) = LabelSelector::from_object(selector, &path.child("selector"))
    {
        errors.extend(faults);
    }
}

fn target(errors: &mut Errors, target: &Value, path: &FieldPath) {
    let kind = text(target, "type");
    if kind.is_empty() {
        errors.push(FieldError::required(
            path.child("type"),
            "must specify a metric target type",
        ));
    } else if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        errors.push(FieldError::invalid(
            path.child("type"),
            kind,
            "must be either Utilization, Value, or AverageValue",
        ));
    }
    for name in ["value", "averageValue"] {
        if !has(target, name) {
            continue;
        }
        match Quantity::from_json(&target[name]) {
            Ok(amount) if amount.is_negative() || amount.is_zero() => {
                errors.push(FieldError::invalid(
                    path.child(name),
                    amount.to_string(),
                    "must be positive",
                ));
            }
            Ok(_) => {}
            Err(error) => errors.push(FieldError::invalid(
                path.child(name),
                target[name].clone(),
                error.to_string(),
            )),
        }
    }
    if let Some(percent) = integer(target, "averageUtilization").filter(|percent| *percent < 1) {
        errors.push(FieldError::invalid(
            path.child("averageUtilization"),
            percent,
            "must be greater than 0",
        ));
    }
}

fn scaling_rules(errors: &mut Errors, rules: &Value, path: &FieldPath) {
    if let Some(window) = integer(rules, "stabilizationWindowSeconds") {
        let path = path.child("stabilizationWindowSeconds");
        if window < 0 {
            errors.push(FieldError::invalid(
                path,
                window,
                "must be greater than or equal to zero",
            ));
        } else if window > WINDOW_MAX {
            errors.push(FieldError::invalid(
                path,
                window,
                format!("must be less than or equal to {WINDOW_MAX}"),
            ));
        }
    }
    if has(rules, "selectPolicy") {
        one_of(
            errors,
            text(rules, "selectPolicy"),
            &["Disabled", "Max", "Min"],
            &path.child("selectPolicy"),
        );
    }
    let policies_path = path.child("policies");
    if items(rules, "policies").next().is_none() {
        errors.push(FieldError::required(
            &policies_path,
            "must specify at least one Policy",
        ));
    }
    for (index, policy) in items(rules, "policies").enumerate() {
        self::policy(errors, policy, &policies_path.index(index));
    }
    if has(rules, "tolerance") {
        let path = path.child("tolerance");
        match Quantity::from_json(&rules["tolerance"]) {
            Ok(amount) if amount.is_negative() => {
                errors.push(FieldError::invalid(path, amount.to_string(), NOT_NEGATIVE));
            }
            Ok(_) => {}
            Err(error) => errors.push(FieldError::invalid(
                path,
                rules["tolerance"].clone(),
                error.to_string(),
            )),
        }
    }
}

fn policy(errors: &mut Errors, policy: &Value, path: &FieldPath) {
    let kind = text(policy, "type");
    if !["Percent", "Pods"].contains(&kind) {
        errors.push(FieldError::not_supported(
            path.child("type"),
            kind,
            &["Percent", "Pods"],
        ));
    }
    let positive = |errors: &mut Errors, name: &str| -> i64 {
        let number = integer(policy, name).unwrap_or(0);
        if number <= 0 {
            errors.push(FieldError::invalid(
                path.child(name),
                number,
                "must be greater than zero",
            ));
        }
        number
    };
    positive(errors, "value");
    let period = positive(errors, "periodSeconds");
    if period > PERIOD_MAX {
        errors.push(FieldError::invalid(
            path.child("periodSeconds"),
            period,
            format!("must be less than or equal to {PERIOD_MAX}"),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults;
    use crate::validation::sentences;
    use serde_json::json;

    fn faults(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut hpa = json!({"metadata": {"name": "web", "namespace": "d"}, "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 2, "maxReplicas": 10}});
        change(&mut hpa["spec"]);
        defaults::horizontal_pod_autoscaler::apply(&mut hpa);
        sentences(&create(&hpa))
    }

    #[test]
    fn usual_autoscalers_pass() {
        assert_eq!(faults(|_| {}), Vec::<String>::new());
        let found = faults(|spec| {
            spec["metrics"] = json!([
                {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "100Mi"}}},
                {"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"}}},
                {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"}, "metric": {"name": "q"}, "target": {"type": "Value", "value": "5"}}},
                {"type": "External", "external": {"metric": {"name": "e"}, "target": {"type": "Value", "value": "3"}}},
            ]);
            spec["behavior"] = json!({"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 30}]},
                "scaleDown": {"stabilizationWindowSeconds": 300, "selectPolicy": "Min"}});
        });
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn bounds_must_be_in_order() {
        assert_eq!(
            faults(|spec| {
                spec["minReplicas"] = json!(0);
                spec["maxReplicas"] = json!(0);
            }),
            [
                "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
                "spec.maxReplicas: Invalid value: 0: must be greater than 0",
            ]
        );
        assert_eq!(
            faults(|spec| spec["maxReplicas"] = json!(1)),
            ["spec.maxReplicas: Invalid value: 1: must be greater than or equal to `minReplicas`"]
        );
    }

    #[test]
    fn the_target_must_be_named() {
        assert_eq!(
            faults(|spec| spec["scaleTargetRef"] = json!({"name": "a/b"})),
            [
                "spec.scaleTargetRef.kind: Required value",
                "spec.scaleTargetRef.name: Invalid value: \"a/b\": may not contain '/'",
            ]
        );
    }

    #[test]
    fn metrics_must_be_whole() {
        assert_eq!(
            faults(|spec| spec["metrics"] = json!([{"type": "Resource"}])),
            [
                "spec.metrics[0].resource: Required value: must populate information for the given metric source"
            ]
        );
        assert_eq!(
            faults(|spec| {
                spec["metrics"] = json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 0, "averageValue": "-1"}}}]);
            }),
            [
                "spec.metrics[0].resource.target.averageValue: Invalid value: \"-1\": must be positive",
                "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
                "spec.metrics[0].resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization",
            ]
        );
        assert_eq!(
            faults(|spec| spec["metrics"] = json!([{"type": "Magic"}])),
            [
                "spec.metrics[0].type: Unsupported value: \"Magic\": supported values: \"ContainerResource\", \"External\", \"Object\", \"Pods\", \"Resource\""
            ]
        );
    }

    #[test]
    fn policies_have_bounds() {
        assert_eq!(
            faults(|spec| {
                spec["behavior"] = json!({"scaleDown": {"stabilizationWindowSeconds": 4000, "selectPolicy": "Any",
                    "policies": [{"type": "Pods", "value": 0, "periodSeconds": 1801}]}, "scaleUp": {"policies": []}});
            }),
            [
                "spec.behavior.scaleUp.policies: Required value: must specify at least one Policy",
                "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 4000: must be less than or equal to 3600",
                "spec.behavior.scaleDown.selectPolicy: Unsupported value: \"Any\": supported values: \"Disabled\", \"Max\", \"Min\"",
                "spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero",
                "spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
            ]
        );
    }
}
