//! Deployments.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, column, containers, selector, wide};
use crate::members::integer;

pub(crate) fn columns() -> Vec<Column> {
    vec![
        NAME,
        column("Ready", "string", "Number of the pod with ready state"),
        column(
            "Up-to-date",
            "string",
            "Total number of non-terminated pods targeted by this deployment that have the desired template spec.",
        ),
        column(
            "Available",
            "string",
            "Total number of available pods (ready for at least minReadySeconds) targeted by this deployment.",
        ),
        AGE,
        wide(
            "Containers",
            "string",
            "Names of each container in the template.",
        ),
        wide(
            "Images",
            "string",
            "Images referenced by each container in the template.",
        ),
        wide("Selector", "string", "Label selector for pods."),
    ]
}

pub(crate) fn cells(deployment: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    let count = |name: &str| integer(status, name).unwrap_or(0);
    let wanted = integer(spec, "replicas").unwrap_or(0);
    let (names, images) = containers(&spec["template"]);
    vec![
        deployment["metadata"]["name"].clone(),
        json!(format!("{}/{wanted}", count("readyReplicas"))),
        json!(count("updatedReplicas")),
        json!(count("availableReplicas")),
        json!(age::of(deployment, now)),
        json!(names),
        json!(images),
        json!(selector(&spec["selector"])),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_shows_how_many_are_ready() {
        let deployment = json!({
            "metadata": {"name": "web", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}},
                "template": {"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j:1"}]}}},
            "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2},
        });
        let now = "2026-01-01T00:03:10Z".parse().unwrap();
        assert_eq!(
            cells(&deployment, now),
            [
                json!("web"),
                json!("2/3"),
                json!(3),
                json!(2),
                json!("3m10s"),
                json!("a,b"),
                json!("i:1,j:1"),
                json!("app=web")
            ]
        );
        assert_eq!(columns().len(), 8);
    }
}
