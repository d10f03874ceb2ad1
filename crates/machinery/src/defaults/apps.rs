//! Deployments and ReplicaSets.

use serde_json::Value;

use super::pod;
use crate::members::{ensure, fill, fill_text, text};

/// Fills in a Deployment.
pub(crate) fn deployment(deployment: &mut Value) {
    let spec = ensure(deployment, "spec");
    fill(spec, "replicas", 1);
    fill(spec, "revisionHistoryLimit", 10);
    fill(spec, "progressDeadlineSeconds", 600);
    let strategy = ensure(spec, "strategy");
    fill_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = ensure(strategy, "rollingUpdate");
        fill(rolling, "maxUnavailable", "25%");
        fill(rolling, "maxSurge", "25%");
    }
    pod::template(ensure(spec, "template"));
}

/// Fills in a ReplicaSet.
pub(crate) fn replica_set(set: &mut Value) {
    let spec = ensure(set, "spec");
    fill(spec, "replicas", 1);
    if let Some(template) = spec
        .get_mut("template")
        .filter(|template| template.is_object())
    {
        pod::template(template);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_deployment_rolls_a_quarter_at_a_time() {
        let mut object = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "a:1"}]}}}});
        deployment(&mut object);
        let spec = &object["spec"];
        assert_eq!(spec["replicas"], 1);
        assert_eq!(
            spec["strategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
        );
        assert_eq!(spec["revisionHistoryLimit"], 10);
        assert_eq!(spec["progressDeadlineSeconds"], 600);
        assert_eq!(spec["template"]["spec"]["restartPolicy"], "Always");
    }

    #[test]
    fn recreate_has_no_rolling_update() {
        let mut object = json!({"spec": {"replicas": 0, "strategy": {"type": "Recreate"}}});
        deployment(&mut object);
        assert_eq!(object["spec"]["strategy"], json!({"type": "Recreate"}));
        assert_eq!(object["spec"]["replicas"], 0);
    }

    #[test]
    fn half_a_rolling_update_is_completed() {
        let mut object = json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 1}}}});
        deployment(&mut object);
        assert_eq!(
            object["spec"]["strategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": 1}})
        );
    }
}
