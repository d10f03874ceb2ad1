//! Requests and limits.

use serde_json::Value;

use super::{Errors, NOT_NEGATIVE, add_all};
use crate::error::{FieldError, FieldPath};
use crate::members::entries;
use crate::names;
use crate::quantity::Quantity;

/// Checks the `resources` of a container.
pub(crate) fn container(errors: &mut Errors, resources: &Value, path: &FieldPath) {
    let limits_path = path.child("limits");
    let requests_path = path.child("requests");
    for (name, value) in entries(resources, "limits") {
        resource(errors, name, value, &limits_path);
    }
    for (name, value) in entries(resources, "requests") {
        resource(errors, name, value, &requests_path);
        let Ok(request) = Quantity::from_json(value) else {
            continue;
        };
        match resources["limits"].get(name).map(Quantity::from_json) {
            Some(Ok(limit)) if may_be_overcommitted(name) && request > limit => {
                errors.push(FieldError::invalid(
                    &requests_path,
                    request.to_string(),
                    format!("must be less than or equal to {name} limit of {limit}"),
                ));
            }
            Some(Ok(limit)) if !may_be_overcommitted(name) && request != limit => {
                errors.push(FieldError::invalid(
                    &requests_path,
                    request.to_string(),
                    format!("must be equal to {name} limit of {limit}"),
                ));
            }
            None if !may_be_overcommitted(name) => {
                errors.push(FieldError::required(
                    &limits_path,
                    "Limit must be set for non overcommitable resources",
                ));
            }
            _ => {}
        }
    }
}

fn resource(errors: &mut Errors, name: &str, value: &Value, path: &FieldPath) {
    let item = path.key(name);
    resource_name(errors, name, path);
    quantity(errors, value, &item);
    if name.contains('/') {
        let whole =
            Quantity::from_json(value).is_ok_and(|amount| amount.nanos() % 1_000_000_000 == 0);
        if !whole && !is_native(name) {
            errors.push(FieldError::invalid(
                &item,
                value.clone(),
                "must be an integer",
            ));
        }
    }
}

fn resource_name(errors: &mut Errors, name: &str, path: &FieldPath) {
    let faults = names::label_key(name);
    let well_formed = faults.is_empty();
    add_all(errors, path, name, faults);
    if !well_formed || name.contains('/') {
        return;
    }
    let of_containers =
        ["cpu", "memory", "ephemeral-storage"].contains(&name) || name.starts_with("hugepages-");
    if !of_containers {
        let standard = ["pods", "storage", "services", "secrets", "configmaps"].contains(&name);
        if !standard {
            errors.push(FieldError::invalid(
                path,
                name,
                "must be a standard resource type or fully qualified",
            ));
        }
        errors.push(FieldError::invalid(
            path,
            name,
            "must be a standard resource for containers",
        ));
    }
}

/// Checks that a quantity is one, and not below zero.
pub(crate) fn quantity(errors: &mut Errors, value: &Value, path: &FieldPath) {
    match Quantity::from_json(value) {
        Err(error) => errors.push(FieldError::invalid(path, value.clone(), error.to_string())),
        Ok(amount) if amount.is_negative() => {
            errors.push(FieldError::invalid(path, amount.to_string(), NOT_NEGATIVE));
        }
        Ok(_) => {}
    }
}

fn is_native(name: &str) -> bool {
    !name.contains('/')
        || name
            .split('/')
            .next()
            .is_some_and(|domain| domain == "kubernetes.io")
}

/// Of processor time and memory more may be promised than there is; of devices and huge pages not.
fn may_be_overcommitted(name: &str) -> bool {
    is_native(name) && !name.starts_with("hugepages-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::sentences;
    use serde_json::json;

    fn faults(resources: &Value) -> Vec<String> {
        let mut errors = Errors::new();
        container(&mut errors, resources, &FieldPath::new("resources"));
        sentences(&errors)
    }

    #[test]
    fn requests_below_limits_pass() {
        let good = json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "0.1", "memory": "1Gi"}});
        assert_eq!(faults(&good), Vec::<String>::new());
    }

    #[test]
    fn a_request_above_its_limit_is_refused() {
        assert_eq!(
            faults(&json!({"requests": {"cpu": "2"}, "limits": {"cpu": "500m"}})),
            [
                "resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 500m"
            ]
        );
    }

    #[test]
    fn bad_amounts_and_names_are_refused() {
        assert_eq!(
            faults(&json!({"limits": {"cpu": "-1"}})),
            ["resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"]
        );
        assert_eq!(
            faults(&json!({"limits": {"gpu": "1"}})),
            [
                "resources.limits: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
                "resources.limits: Invalid value: \"gpu\": must be a standard resource for containers",
            ]
        );
        assert_eq!(
            faults(&json!({"limits": {"example.com/gpu": "500m"}})),
            ["resources.limits[example.com/gpu]: Invalid value: \"500m\": must be an integer"]
        );
    }

    #[test]
    fn devices_are_requested_as_many_as_they_are_limited() {
        assert_eq!(
            faults(
                &json!({"limits": {"example.com/gpu": "2"}, "requests": {"example.com/gpu": "1"}})
            ),
            [
                "resources.requests: Invalid value: \"1\": must be equal to example.com/gpu limit of 2"
            ]
        );
    }
}
