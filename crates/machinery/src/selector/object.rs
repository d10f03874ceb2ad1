//! Label selectors in objects: `{matchLabels, matchExpressions}`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use serde_json::Value;

use super::{LabelSelector, Operator, Requirement};
use crate::error::{FieldError, FieldPath};
use crate::names;

impl LabelSelector {
    /// Reads and checks the selector at `path` of an object. Null selects nothing; an empty
    /// object selects everything.
    pub fn from_object(selector: &Value, path: &FieldPath) -> Result<Self, Vec<FieldError>> {
        if selector.is_null() {
            return Ok(Self::nothing());
        }
        let typed: v1::LabelSelector =
            serde_json::from_value(selector.clone()).map_err(|error| {
                vec![FieldError::type_invalid(
                    path,
                    selector.clone(),
                    error.to_string(),
                )]
            })?;
        Self::from_typed(&typed, path)
    }

    /// Converts and checks a typed selector; `path` is where it is in its object.
    pub fn from_typed(
        selector: &v1::LabelSelector,
        path: &FieldPath,
    ) -> Result<Self, Vec<FieldError>> {
        let mut requirements = Vec::new();
        let mut errors = Vec::new();
        let labels_path = path.child("matchLabels");
        for (key, value) in selector.match_labels.iter().flatten() {
            check_key(key, &labels_path, &mut errors);
            check_value(value, &labels_path, &mut errors);
            requirements.push(Requirement {
                key: key.clone(),
                operator: Operator::Equals,
                values: vec![value.clone()],
            });
        }
        let expressions_path = path.child("matchExpressions");
        for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
            let path = expressions_path.index(index);
            requirements.extend(expression_requirement(expression, &path, &mut errors));
        }
        if errors.is_empty() {
            Ok(Self::all_of(requirements))
        } else {
            Err(errors)
        }
    }
}

fn expression_requirement(
    expression: &v1::LabelSelectorRequirement,
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) -> Option<Requirement> {
    let mut values = expression.values.clone().unwrap_or_default();
    let values_path = path.child("values");
    let operator = match expression.operator.as_str() {
        "In" => Some(Operator::In),
        "NotIn" => Some(Operator::NotIn),
        "Exists" => Some(Operator::Exists),
        "DoesNotExist" => Some(Operator::DoesNotExist),
        other => {
            let path = path.child("operator");
            errors.push(FieldError::invalid(
                path,
                other,
                "not a valid selector operator",
            ));
            None
        }
    };
    match operator {
        Some(Operator::In | Operator::NotIn) if values.is_empty() => {
            errors.push(FieldError::required(
                &values_path,
                "must be specified when `operator` is 'In' or 'NotIn'",
            ));
        }
        Some(Operator::Exists | Operator::DoesNotExist) if !values.is_empty() => {
            errors.push(FieldError::forbidden(
                &values_path,
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ));
        }
        _ => {}
    }
    check_key(&expression.key, &path.child("key"), errors);
    for (index, value) in values.iter().enumerate() {
        check_value(value, &values_path.index(index), errors);
    }
    values.sort();
    values.dedup();
    Some(Requirement {
        key: expression.key.clone(),
        operator: operator?,
        values,
    })
}

fn check_key(key: &str, path: &FieldPath, errors: &mut Vec<FieldError>) {
    errors.extend(
        names::label_key(key)
            .into_iter()
            .map(|fault| FieldError::invalid(path, key, fault)),
    );
}

fn check_value(value: &str, path: &FieldPath, errors: &mut Vec<FieldError>) {
    errors.extend(
        names::label_value(value)
            .into_iter()
            .map(|fault| FieldError::invalid(path, value, fault)),
    );
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(selector: &Value) -> Result<LabelSelector, Vec<String>> {
        LabelSelector::from_object(selector, &FieldPath::new("spec").child("selector"))
            .map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn null_selects_nothing_and_an_empty_object_everything() {
        let labels = [("a", "b")];
        assert!(!read(&Value::Null).unwrap().matches(&labels));
        assert!(read(&Value::Null).unwrap().is_nothing());
        assert!(read(&json!({})).unwrap().matches(&labels));
        assert!(read(&json!({})).unwrap().is_everything());
    }

    #[test]
    fn labels_and_expressions_must_all_hold() {
        let selector = read(&json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["b", "a"]},
                {"key": "old", "operator": "DoesNotExist"},
            ],
        }))
        .unwrap();
        assert_eq!(selector.to_string(), "app=web,!old,tier in (a,b)");
        assert!(selector.matches(&json!({"app": "web", "tier": "a"})));
        assert!(!selector.matches(&json!({"app": "web", "tier": "a", "old": ""})));
        assert!(!selector.matches(&json!({"tier": "a"})));
    }

    #[test]
    fn each_fault_is_named_with_its_field() {
        let errors = read(&json!({
            "matchExpressions": [
                {"key": "a", "operator": "In"},
                {"key": "b", "operator": "Exists", "values": ["x"]},
                {"key": "c", "operator": "Gt", "values": ["1"]},
            ],
        }))
        .unwrap_err();
        assert_eq!(
            errors,
            [
                "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                "spec.selector.matchExpressions[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                "spec.selector.matchExpressions[2].operator: Invalid value: \"Gt\": not a valid selector operator",
            ]
        );
        let errors = read(&json!({"matchLabels": {"-": "-"}})).unwrap_err();
        assert_eq!(errors.len(), 2);
        assert!(
            errors[0].starts_with("spec.selector.matchLabels: Invalid value: \"-\": name part")
        );
        let errors = read(&json!({"matchLabels": 1})).unwrap_err();
        assert!(errors[0].starts_with("spec.selector: Invalid value: {\"matchLabels\":1}: "));
    }
}
