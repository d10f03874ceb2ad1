//! HorizontalPodAutoscalers, in autoscaling/v2.

use serde_json::{Value, json};

use crate::members::{ensure, fill, fill_text, items, member_mut};

/// Percent of the CPU request that is aimed at where no metric is named.
const CPU_PERCENT: i64 = 80;

/// Fills in a HorizontalPodAutoscaler.
pub(crate) fn apply(hpa: &mut Value) {
    let spec = ensure(hpa, "spec");
    fill(spec, "minReplicas", 1);
    if items(spec, "metrics").next().is_none() {
        spec["metrics"] = json!([{
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": CPU_PERCENT}},
        }]);
    }
    if let Some(behavior) = member_mut(spec, "behavior") {
        let up = ensure(behavior, "scaleUp");
        fill(up, "stabilizationWindowSeconds", 0);
        fill_text(up, "selectPolicy", "Max");
        fill(
            up,
            "policies",
            json!([
                {"type": "Pods", "value": 4, "periodSeconds": 15},
                {"type": "Percent", "value": 100, "periodSeconds": 15},
            ]),
        );
        let down = ensure(behavior, "scaleDown");
        fill_text(down, "selectPolicy", "Max");
        fill(
            down,
            "policies",
            json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_metrics_cpu_is_kept_at_eighty_percent() {
        let mut hpa = json!({"spec": {"maxReplicas": 5}});
        apply(&mut hpa);
        assert_eq!(
            hpa["spec"],
            json!({"maxReplicas": 5, "minReplicas": 1, "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]})
        );
    }

    #[test]
    fn a_behavior_is_completed_in_both_directions() {
        let mut hpa = json!({"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60,
            "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}}}});
        apply(&mut hpa);
        assert_eq!(
            hpa["spec"]["behavior"],
            json!({
                "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
                    {"type": "Pods", "value": 4, "periodSeconds": 15},
                    {"type": "Percent", "value": 100, "periodSeconds": 15}]},
                "scaleDown": {"stabilizationWindowSeconds": 60, "selectPolicy": "Max", "policies": [
                    {"type": "Pods", "value": 2, "periodSeconds": 60}]},
            })
        );
    }
}
