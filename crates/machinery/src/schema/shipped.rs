//! Kinds that others define as custom resources and that ship with this program: their schemas.

use serde_json::{Map, Value, json};

use super::definitions::REFERENCE;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
const MONITORING: &str = "com.coreos.monitoring.v1.";

/// Adds the definitions, as JSON schemas of the form that `k8s-openapi` has.
pub(super) fn add(definitions: &mut Map<String, Value>) {
    let reference = |name: &str| json!({"$ref": format!("{REFERENCE}{name}")});
    let text = |description: &str| json!({"type": "string", "description": description});
    let texts = |description: &str| json!({"type": "object", "additionalProperties": {"type": "string"}, "description": description});
    let rule = json!({
        "type": "object",
        "description": "Rule describes an alerting or recording rule.",
        "properties": {
            "record": text("Name of the time series to output to. Only one of record and alert must be set."),
            "alert": text("Name of the alert. Only one of record and alert must be set."),
            "expr": {"x-kubernetes-int-or-string": true, "description": "PromQL expression to evaluate."},
            "for": text("Alerts are considered firing once they have been returned for this long."),
            "keep_firing_for": text("How long an alert will continue firing after the condition that triggered it has cleared."),
            "labels": texts("Labels to add or overwrite."),
            "annotations": texts("Annotations to add to each alert. Only valid for alerting rules."),
        },
        "required": ["expr"],
    });
    let group = json!({
        "type": "object",
        "description": "RuleGroup is a list of sequentially evaluated recording and alerting rules.",
        "properties": {
            "name": text("Name of the rule group."),
            "interval": text("How often rules in the group are evaluated."),
            "query_offset": text("The offset the rule evaluation timestamp of this particular group by the specified duration into the past."),
            "limit": {"type": "integer", "format": "int32", "description": "Limit the number of alerts an alerting rule and series a recording rule can produce."},
            "labels": texts("Labels to add or overwrite before storing the result for its rules."),
            "partial_response_strategy": text("PartialResponseStrategy is only used by ThanosRuler."),
            "rules": {"type": "array", "items": reference(&format!("{MONITORING}Rule")), "description": "The rules of the group."},
        },
        "required": ["name"],
    });
    let spec = json!({
        "type": "object",
        "description": "PrometheusRuleSpec contains specification parameters for a Rule.",
        "properties": {
            "groups": {
                "type": "array",
                "items": reference(&format!("{MONITORING}RuleGroup")),
                "description": "Content of Prometheus rule file",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        },
    });
    let kind = json!({
        "type": "object",
        "description": "PrometheusRule defines recording and alerting rules for a Prometheus instance.",
        "properties": {
            "apiVersion": text("APIVersion defines the versioned schema of this representation of an object."),
            "kind": text("Kind is a string value representing the REST resource this object represents."),
            "metadata": reference(&format!("{META}ObjectMeta")),
            "spec": reference(&format!("{MONITORING}PrometheusRuleSpec")),
        },
        "required": ["metadata", "spec"],
    });
    for (name, schema) in [
        ("Rule", rule),
        ("RuleGroup", group),
        ("PrometheusRuleSpec", spec),
        ("PrometheusRule", kind),
    ] {
        definitions.insert(format!("{MONITORING}{name}"), schema);
    }
    super::monitors::add(definitions);
}
