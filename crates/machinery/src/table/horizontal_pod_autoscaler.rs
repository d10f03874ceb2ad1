//! HorizontalPodAutoscalers: what is measured against what is aimed at.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, column};
use crate::members::{has, integer, items, text};

const UNKNOWN: &str = "<unknown>";
/// How many metrics are shown.
const SHOWN: usize = 2;

pub(crate) fn columns() -> Vec<Column> {
    vec![
        NAME,
        column(
            "Reference",
            "string",
            "scaleTargetRef points to the target resource to scale.",
        ),
        column(
            "Targets",
            "string",
            "metrics contains the specifications for which to use to calculate the desired replica count.",
        ),
        column(
            "MinPods",
            "string",
            "minReplicas is the lower limit for the number of replicas to which the autoscaler can scale down.",
        ),
        column(
            "MaxPods",
            "string",
            "maxReplicas is the upper limit for the number of replicas to which the autoscaler can scale up.",
        ),
        column(
            "Replicas",
            "string",
            "currentReplicas is current number of replicas of pods managed by this autoscaler.",
        ),
        AGE,
    ]
}

pub(crate) fn cells(hpa: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&hpa["spec"], &hpa["status"]);
    let target = &spec["scaleTargetRef"];
    let least = match integer(spec, "minReplicas") {
        Some(number) => number.to_string(),
        None => "<unset>".to_owned(),
    };
    vec![
        hpa["metadata"]["name"].clone(),
        json!(format!("{}/{}", text(target, "kind"), text(target, "name"))),
        json!(targets(spec, status)),
        json!(least),
        json!(integer(spec, "maxReplicas").unwrap_or(0)),
        json!(integer(status, "currentReplicas").unwrap_or(0)),
        json!(age::of(hpa, now)),
    ]
}

fn targets(spec: &Value, status: &Value) -> String {
    let statuses: Vec<&Value> = items(status, "currentMetrics").collect();
    let mut all: Vec<String> = items(spec, "metrics")
        .enumerate()
        .map(|(index, metric)| {
            let current = statuses.get(index).copied().unwrap_or(&Value::Null);
            one_target(metric, current)
        })
        .collect();
    if all.is_empty() {
        return "<none>".to_owned();
    }
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    let shown = all.join(", ");
    if more > 0 {
        format!("{shown} + {more} more...")
    } else {
        shown
    }
}

fn one_target(metric: &Value, status: &Value) -> String {
    let member = match text(metric, "type") {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let (wanted, current) = (&metric[member]["target"], &status[member]["current"]);
    let amount = |holder: &Value, name: &str| match &holder[name] {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => UNKNOWN.to_owned(),
    };
    match member {
        "pods" => format!(
            "{}/{}",
            amount(current, "averageValue"),
            amount(wanted, "averageValue")
        ),
        "external" | "object" => {
            if has(wanted, "averageValue") {
                format!(
                    "{}/{} (avg)",
                    amount(current, "averageValue"),
                    amount(wanted, "averageValue")
                )
            } else {
                format!("{}/{}", amount(current, "value"), amount(wanted, "value"))
            }
        }
        _ => {
            let name = text(&metric[member], "name");
            if has(wanted, "averageValue") {
                return format!(
                    "{name}: {}/{}",
                    amount(current, "averageValue"),
                    amount(wanted, "averageValue")
                );
            }
            let percent = |holder: &Value, unset: &str| match integer(holder, "averageUtilization")
            {
                Some(percent) => format!("{percent}%"),
                None => unset.to_owned(),
            };
            format!(
                "{name}: {}/{}",
                percent(current, UNKNOWN),
                percent(wanted, "<auto>")
            )
        }
    }
}

#[cfg(test)]
// Literals are easier to read where they need no reference.
#[allow(clippy::needless_pass_by_value)]
mod tests {
    use super::*;

    fn shown(metrics: Value, current: Value) -> String {
        targets(
            &json!({"metrics": metrics}),
            &json!({"currentMetrics": current}),
        )
    }

    fn resource(name: &str, percent: i64) -> Value {
        json!({"type": "Resource", "resource": {"name": name, "target": {"type": "Utilization", "averageUtilization": percent}}})
    }

    #[test]
    fn utilization_is_shown_by_metric_and_unknown_until_measured() {
        let metrics = json!([resource("cpu", 70), resource("memory", 80)]);
        assert_eq!(
            shown(metrics.clone(), json!([])),
            "cpu: <unknown>/70%, memory: <unknown>/80%"
        );
        let current = json!([{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 12, "averageValue": "24m"}}}]);
        assert_eq!(
            shown(metrics, current),
            "cpu: 12%/70%, memory: <unknown>/80%"
        );
    }

    #[test]
    fn values_are_shown_as_quantities_and_averages_as_such() {
        let metrics = json!([
            {"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"}}},
            {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "5"}}},
            resource("cpu", 50),
        ]);
        let current = json!([
            {"type": "Pods", "pods": {"metric": {"name": "rps"}, "current": {"averageValue": "7500m"}}},
            {"type": "External", "external": {"metric": {"name": "q"}, "current": {"averageValue": "2"}}},
        ]);
        assert_eq!(shown(metrics, current), "7500m/10, 2/5 (avg) + 1 more...");
    }

    #[test]
    fn a_row_names_its_target_and_bounds() {
        let hpa = json!({"metadata": {"name": "web"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"},
            "minReplicas": 2, "maxReplicas": 10, "metrics": [resource("cpu", 70)]}, "status": {"currentReplicas": 3}});
        assert_eq!(
            cells(&hpa, Timestamp::UNIX_EPOCH)[..6],
            [
                json!("web"),
                json!("Deployment/web"),
                json!("cpu: <unknown>/70%"),
                json!("2"),
                json!(10),
                json!(3)
            ]
        );
    }
}
