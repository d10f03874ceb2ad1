//! autoscaling/v1 beside autoscaling/v2: what v1 cannot say is kept in annotations.
//!
//! v1 knows one CPU target. Other metrics, the behavior, current metrics and conditions travel as
//! JSON in annotations, metrics in the shape they had in v2beta1, as Kubernetes has it.

use serde_json::{Map, Value, json};

use super::resource::Conversion;

pub(super) const HPA_V1: Conversion = Conversion {
    to_storage: from_v1,
    from_storage: to_v1,
};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

const CPU_TARGET: &str = "targetCPUUtilizationPercentage";
const CPU_CURRENT: &str = "currentCPUUtilizationPercentage";

fn to_v1(mut hpa: Value) -> Value {
    let Some(root) = hpa.as_object_mut() else {
        return hpa;
    };
    let mut annotations: Vec<(&str, Value)> = Vec::new();

    if let Some(spec) = root.get_mut("spec").and_then(Value::as_object_mut) {
        let metrics = take_list(spec, "metrics");
        let (cpu, others): (Vec<Value>, Vec<Value>) = metrics.into_iter().partition(is_cpu_target);
        if let Some(metric) = cpu.first() {
            let target = metric["resource"]["target"]["averageUtilization"].clone();
            spec.insert(CPU_TARGET.to_owned(), target);
        }
        if !others.is_empty() {
            annotations.push((METRICS, others.iter().map(old_metric).collect()));
        }
        if let Some(behavior) = spec.remove("behavior") {
            annotations.push((BEHAVIOR, behavior));
        }
    }
    if let Some(status) = root.get_mut("status").and_then(Value::as_object_mut) {
        let current = take_list(status, "currentMetrics");
        let cpu = current.iter().find(|metric| is_cpu(metric));
        if let Some(percent) = cpu.and_then(|m| m["resource"]["current"].get("averageUtilization"))
        {
            status.insert(CPU_CURRENT.to_owned(), percent.clone());
        }
        if !current.is_empty() {
            annotations.push((CURRENT_METRICS, current.iter().map(old_status).collect()));
        }
        let conditions = take_list(status, "conditions");
        if !conditions.is_empty() {
            annotations.push((CONDITIONS, conditions.into()));
        }
    }

    if !annotations.is_empty() {
        let metadata = root.entry("metadata").or_insert_with(|| json!({}));
        if !metadata["annotations"].is_object() {
            metadata["annotations"] = json!({});
        }
        for (name, value) in annotations {
            metadata["annotations"][name] = Value::String(value.to_string());
        }
    }
    hpa
}

fn from_v1(mut hpa: Value) -> Value {
    let Some(root) = hpa.as_object_mut() else {
        return hpa;
    };
    let mut annotation = |name: &str| -> Option<Value> {
        let annotations = root.get_mut("metadata")?.get_mut("annotations")?;
        let text = annotations.as_object_mut()?.remove(name)?;
        serde_json::from_str(text.as_str()?).ok()
    };
    let metrics = annotation(METRICS);
    let current = annotation(CURRENT_METRICS);
    let conditions = annotation(CONDITIONS);
    let behavior = annotation(BEHAVIOR);
    drop_empty_annotations(root);

    if let Some(spec) = root.get_mut("spec").and_then(Value::as_object_mut) {
        let mut all: Vec<Value> = items(metrics.as_ref()).map(new_metric).collect();
        if let Some(percent) = spec.remove(CPU_TARGET).filter(|value| !value.is_null()) {
            all.push(json!({
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}},
            }));
        }
        if !all.is_empty() {
            spec.insert("metrics".to_owned(), all.into());
        }
        if let Some(behavior @ Value::Object(_)) = behavior {
            spec.insert("behavior".to_owned(), behavior);
        }
    }
    if let Some(status) = root.get_mut("status").and_then(Value::as_object_mut) {
        let mut all: Vec<Value> = items(current.as_ref()).map(new_status).collect();
        if let Some(percent) = status.remove(CPU_CURRENT).filter(|value| !value.is_null())
            && all.is_empty()
        {
            all.push(json!({
                    "type": "Resource",
                    "resource": {"name": "cpu", "current": {"averageUtilization": percent, "averageValue": "0"}},
                }));
        }
        if !all.is_empty() {
            status.insert("currentMetrics".to_owned(), all.into());
        }
        if let Some(conditions @ Value::Array(_)) = conditions {
            status.insert("conditions".to_owned(), conditions);
        }
    }
    hpa
}

fn drop_empty_annotations(root: &mut Map<String, Value>) {
    if let Some(metadata) = root.get_mut("metadata").and_then(Value::as_object_mut) {
        let empty = metadata
            .get("annotations")
            .and_then(Value::as_object)
            .is_some_and(Map::is_empty);
        if empty {
            metadata.remove("annotations");
        }
    }
}

fn take_list(members: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match members.remove(name) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

fn is_cpu(metric: &Value) -> bool {
    metric["type"] == "Resource" && metric["resource"]["name"] == "cpu"
}

fn is_cpu_target(metric: &Value) -> bool {
    is_cpu(metric) && !metric["resource"]["target"]["averageUtilization"].is_null()
}

/// The member of a metric that holds its source: `containerResource` for `ContainerResource`.
fn source_field(metric: &Value) -> &'static str {
    match metric["type"].as_str() {
        Some("Object") => "object",
        Some("Pods") => "pods",
        Some("External") => "external",
        Some("ContainerResource") => "containerResource",
        _ => "resource",
    }
}

/// (v1 name, path in v2) of what a source holds, for targets and for current values.
type Names = &'static [(&'static str, &'static [&'static str])];

fn names(source: &str, wanted: bool) -> Names {
    match (source, wanted) {
        ("object", true) => &[
            ("target", &["describedObject"]),
            ("metricName", &["metric", "name"]),
            ("selector", &["metric", "selector"]),
            ("targetValue", &["target", "value"]),
            ("averageValue", &["target", "averageValue"]),
        ],
        ("object", false) => &[
            ("target", &["describedObject"]),
            ("metricName", &["metric", "name"]),
            ("selector", &["metric", "selector"]),
            ("currentValue", &["current", "value"]),
            ("averageValue", &["current", "averageValue"]),
        ],
        ("pods", true) => &[
            ("metricName", &["metric", "name"]),
            ("selector", &["metric", "selector"]),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
        ("pods", false) => &[
            ("metricName", &["metric", "name"]),
            ("selector", &["metric", "selector"]),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
        ("external", true) => &[
            ("metricName", &["metric", "name"]),
            ("metricSelector", &["metric", "selector"]),
            ("targetValue", &["target", "value"]),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
        ("external", false) => &[
            ("metricName", &["metric", "name"]),
            ("metricSelector", &["metric", "selector"]),
            ("currentValue", &["current", "value"]),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
        (_, true) => &[
            ("name", &["name"]),
            ("container", &["container"]),
            (
                "targetAverageUtilization",
                &["target", "averageUtilization"],
            ),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
        (_, false) => &[
            ("name", &["name"]),
            ("container", &["container"]),
            (
                "currentAverageUtilization",
                &["current", "averageUtilization"],
            ),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
    }
}

fn old_metric(metric: &Value) -> Value {
    flatten(metric, true)
}

fn old_status(metric: &Value) -> Value {
    flatten(metric, false)
}

fn flatten(metric: &Value, wanted: bool) -> Value {
    let source = source_field(metric);
    let mut flat = Map::new();
    for (name, path) in names(source, wanted) {
        let found = path
            .iter()
            .try_fold(&metric[source], |place, step| place.get(step));
        if let Some(value) = found.filter(|value| !value.is_null()) {
            flat.insert((*name).to_owned(), value.clone());
        }
    }
    // v2beta1 has no optional target here: the average stands for both, the value is a zero.
    if source == "object" {
        let value = if wanted {
            "targetValue"
        } else {
            "currentValue"
        };
        flat.entry(value).or_insert_with(|| json!("0"));
    }
    json!({"type": metric["type"], source: flat})
}

fn new_metric(metric: &Value) -> Value {
    let mut nested = nest(metric, true);
    let target = &mut nested[source_field(metric)]["target"];
    if target["averageValue"].is_string()
        && target["value"] == "0"
        && let Some(members) = target.as_object_mut()
    {
        members.remove("value");
    }
    let kind = if !target["averageUtilization"].is_null() {
        "Utilization"
    } else if !target["averageValue"].is_null() {
        "AverageValue"
    } else {
        "Value"
    };
    target["type"] = json!(kind);
    // Probing for members above leaves nulls behind.
    if let Some(members) = target.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    nested
}

fn new_status(metric: &Value) -> Value {
    nest(metric, false)
}

fn nest(metric: &Value, wanted: bool) -> Value {
    let source = source_field(metric);
    let mut nested = json!({});
    for (name, path) in names(source, wanted) {
        let Some(value) = metric[source].get(name).filter(|value| !value.is_null()) else {
            continue;
        };
        let place = path.iter().fold(&mut nested, |place, step| {
            if !place.is_object() {
                *place = json!({});
            }
            &mut place[step]
        });
        *place = value.clone();
    }
    json!({"type": metric["type"], source: nested})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Value {
        json!({
            "metadata": {"name": "web", "annotations": {"keep": "me"}},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "web"},
                "minReplicas": 2, "maxReplicas": 10,
                "metrics": [
                    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 80}}},
                    {"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"}}},
                    {"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "s"}, "metric": {"name": "q"}, "target": {"type": "Value", "value": "5"}}},
                    {"type": "External", "external": {"metric": {"name": "e", "selector": {"matchLabels": {"a": "b"}}}, "target": {"type": "AverageValue", "averageValue": "3"}}},
                    {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", "target": {"type": "AverageValue", "averageValue": "100m"}}},
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
                ],
                "behavior": {"scaleDown": {"stabilizationWindowSeconds": 30}},
            },
            "status": {
                "currentReplicas": 2, "desiredReplicas": 3,
                "currentMetrics": [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 12, "averageValue": "24m"}}}],
                "conditions": [{"type": "AbleToScale", "status": "True"}],
            },
        })
    }

    #[test]
    fn v1_shows_the_cpu_target_and_keeps_the_rest_in_annotations() {
        let v1 = to_v1(stored());
        assert_eq!(v1["spec"][CPU_TARGET], 70);
        assert_eq!(v1["status"][CPU_CURRENT], 12);
        assert!(v1["spec"].get("metrics").is_none());
        let metrics: Value =
            serde_json::from_str(v1["metadata"]["annotations"][METRICS].as_str().unwrap()).unwrap();
        assert_eq!(
            metrics[0],
            json!({"type": "Resource", "resource": {"name": "memory", "targetAverageUtilization": 80}})
        );
        assert_eq!(
            metrics[1],
            json!({"type": "Pods", "pods": {"metricName": "rps", "targetAverageValue": "10"}})
        );
    }

    #[test]
    fn nothing_is_lost_on_the_way_through_v1() {
        assert_eq!(from_v1(to_v1(stored())), stored());
    }

    #[test]
    fn a_v1_object_becomes_a_cpu_metric() {
        let v1 = json!({"metadata": {}, "spec": {"maxReplicas": 4, "targetCPUUtilizationPercentage": 50}});
        assert_eq!(
            from_v1(v1)["spec"],
            json!({"maxReplicas": 4, "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]})
        );
    }

    #[test]
    fn annotations_that_are_no_json_are_dropped() {
        let v1 = json!({"metadata": {"annotations": {METRICS: "{"}}, "spec": {"maxReplicas": 4}});
        assert_eq!(
            from_v1(v1),
            json!({"metadata": {}, "spec": {"maxReplicas": 4}})
        );
    }
}
