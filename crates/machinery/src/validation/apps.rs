//! Deployments and ReplicaSets.

use serde_json::Value;

use super::{Errors, at_most_all, int_or_percent, meta, not_negative, pod};
use crate::error::{FieldError, FieldPath};
use crate::members::{has, integer, text};
use crate::names;
use crate::registry::Part;
use crate::selector::LabelSelector;

/// Checks a new Deployment.
pub(crate) fn create_deployment(deployment: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate(deployment, true, names::dns1123_subdomain);
    deployment_spec(&mut errors, &deployment["spec"]);
    errors
}

/// Checks a change of a Deployment or of its status.
pub(crate) fn update_deployment(new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
    update(new, old, part, deployment_spec)
}

/// Checks a new ReplicaSet.
pub(crate) fn create_replica_set(set: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate(set, true, names::dns1123_subdomain);
    replica_set_spec(&mut errors, &set["spec"]);
    errors
}

/// Checks a change of a ReplicaSet or of its status.
pub(crate) fn update_replica_set(new: &Value, old: &Value, part: Part) -> Vec<FieldError> {
    update(new, old, part, replica_set_spec)
}

fn update(new: &Value, old: &Value, part: Part, spec: fn(&mut Errors, &Value)) -> Vec<FieldError> {
    let mut errors = meta::validate_update(new, old);
    if part == Part::Status {
        let path = FieldPath::new("status");
        for name in [
            "observedGeneration",
            "replicas",
            "fullyLabeledReplicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
        ] {
            not_negative(&mut errors, &new["status"], name, &path);
        }
        return errors;
    }
    spec(&mut errors, &new["spec"]);
    super::immutable(
        &mut errors,
        &new["spec"],
        &old["spec"],
        "selector",
        &FieldPath::new("spec"),
    );
    errors
}

fn deployment_spec(errors: &mut Errors, spec: &Value) {
    let path = FieldPath::new("spec");
    not_negative(errors, spec, "replicas", &path);
    selector_and_template(errors, spec, &path);
    strategy(errors, &spec["strategy"], &path.child("strategy"));
    for name in [
        "minReadySeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
    ] {
        not_negative(errors, spec, name, &path);
    }
    if let Some(deadline) = integer(spec, "progressDeadlineSeconds")
        && deadline <= integer(spec, "minReadySeconds").unwrap_or(0)
    {
        errors.push(FieldError::invalid(
            path.child("progressDeadlineSeconds"),
            deadline,
            "must be greater than minReadySeconds",
        ));
    }
}

fn replica_set_spec(errors: &mut Errors, spec: &Value) {
    let path = FieldPath::new("spec");
    not_negative(errors, spec, "replicas", &path);
    not_negative(errors, spec, "minReadySeconds", &path);
    selector_and_template(errors, spec, &path);
}

fn selector_and_template(errors: &mut Errors, spec: &Value, path: &FieldPath) {
    let selector_path = path.child("selector");
    let mut selector = None;
    if has(spec, "selector") {
        match LabelSelector::from_object(&spec["selector"], &selector_path) {
            Err(faults) => errors.extend(faults),
            Ok(found) => {
                if found.is_everything() {
                    errors.push(FieldError::invalid(
                        selector_path,
                        spec["selector"].clone(),
                        "empty selector is invalid for deployment",
                    ));
                } else {
                    selector = Some(found);
                }
            }
        }
    } else {
        errors.push(FieldError::required(selector_path, ""));
    }
    let template_path = path.child("template");
    if !spec["template"].is_object() {
        errors.push(FieldError::required(template_path, ""));
        return;
    }
    let template = &spec["template"];
    let labels = &template["metadata"]["labels"];
    if selector.is_some_and(|selector| !selector.matches(labels)) {
        errors.push(FieldError::invalid(
            template_path.child("metadata").child("labels"),
            if labels.is_null() {
                serde_json::json!({})
            } else {
                labels.clone()
            },
            "`selector` does not match template `labels`",
        ));
    }
    pod::template(errors, template, &template_path);
    let pod_path = template_path.child("spec");
    let restart = text(&template["spec"], "restartPolicy");
    if ["OnFailure", "Never"].contains(&restart) {
        errors.push(FieldError::not_supported(
            pod_path.child("restartPolicy"),
            restart,
            &["Always"],
        ));
    }
    if has(&template["spec"], "activeDeadlineSeconds") {
        errors.push(FieldError::forbidden(
            pod_path.child("activeDeadlineSeconds"),
            "activeDeadlineSeconds in ReplicaSet is not Supported",
        ));
    }
}

fn strategy(errors: &mut Errors, strategy: &Value, path: &FieldPath) {
    let rolling_path = path.child("rollingUpdate");
    match text(strategy, "type") {
        "Recreate" => {
            if has(strategy, "rollingUpdate") {
                errors.push(FieldError::forbidden(
                    rolling_path,
                    "may not be specified when strategy `type` is 'Recreate'",
                ));
            }
        }
        "RollingUpdate" => {
            let rolling = &strategy["rollingUpdate"];
            if rolling.is_null() {
                errors.push(FieldError::required(
                    rolling_path,
                    "this should be defaulted and never be nil",
                ));
                return;
            }
            let unavailable_path = rolling_path.child("maxUnavailable");
            int_or_percent(errors, &rolling["maxUnavailable"], &unavailable_path);
            int_or_percent(
                errors,
                &rolling["maxSurge"],
                &rolling_path.child("maxSurge"),
            );
            if is_zero(&rolling["maxUnavailable"]) && is_zero(&rolling["maxSurge"]) {
                errors.push(FieldError::invalid(
                    &unavailable_path,
                    rolling["maxUnavailable"].clone(),
                    "may not be 0 when `maxSurge` is 0",
                ));
            }
            at_most_all(errors, &rolling["maxUnavailable"], &unavailable_path);
        }
        other => errors.push(FieldError::not_supported(
            path.child("type"),
            other,
            &["Recreate", "RollingUpdate"],
        )),
    }
}

fn is_zero(value: &Value) -> bool {
    value == 0
        || value
            .as_str()
            .is_some_and(|text| text.trim_end_matches('%').parse() == Ok(0_i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults;
    use crate::validation::sentences;
    use serde_json::json;

    fn deployment() -> Value {
        let mut object = json!({"metadata": {"name": "web", "namespace": "d"}, "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "a:1"}]}}}});
        defaults::apps::deployment(&mut object);
        object
    }

    fn faults(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut object = deployment();
        change(&mut object["spec"]);
        sentences(&create_deployment(&object))
    }

    #[test]
    fn a_usual_deployment_passes() {
        assert_eq!(faults(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn the_selector_must_select_the_template() {
        assert_eq!(
            faults(|spec| spec["selector"] = json!({"matchLabels": {"app": "other"}})),
            [
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`"
            ]
        );
        assert_eq!(
            faults(|spec| spec["selector"] = Value::Null),
            ["spec.selector: Required value"]
        );
        assert_eq!(
            faults(|spec| spec["selector"] = json!({})),
            ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]
        );
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(
            faults(|spec| spec["replicas"] = json!(-1)),
            ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]
        );
        assert_eq!(
            faults(|spec| spec["minReadySeconds"] = json!(600)),
            [
                "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"
            ]
        );
    }

    #[test]
    fn a_rollout_must_be_able_to_move() {
        assert_eq!(
            faults(|spec| spec["strategy"]["rollingUpdate"] =
                json!({"maxSurge": "0%", "maxUnavailable": 0})),
            [
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"
            ]
        );
        assert_eq!(
            faults(|spec| spec["strategy"]["rollingUpdate"] =
                json!({"maxSurge": "x", "maxUnavailable": "120%"})),
            [
                "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"x\": must be an integer or percentage (e.g '5%%')",
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"120%\": must not be greater than 100%",
            ]
        );
        assert_eq!(
            faults(|spec| spec["strategy"] = json!({"type": "Recreate", "rollingUpdate": {}})),
            [
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"
            ]
        );
    }

    #[test]
    fn replicas_restart_always() {
        assert_eq!(
            faults(|spec| spec["template"]["spec"]["restartPolicy"] = json!("Never")),
            [
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""
            ]
        );
    }

    #[test]
    fn the_selector_never_changes() {
        let mut new = deployment();
        new["spec"]["selector"]["matchLabels"]["tier"] = json!("x");
        new["spec"]["template"]["metadata"]["labels"]["tier"] = json!("x");
        assert_eq!(
            sentences(&update_deployment(&new, &deployment(), Part::Main)),
            [
                "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"web\",\"tier\":\"x\"}}: field is immutable"
            ]
        );
        assert!(update_deployment(&new, &deployment(), Part::Status).is_empty());
    }
}
