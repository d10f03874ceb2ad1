//! `kubelet_*`: what the kubelet has to do.

use std::collections::BTreeMap;

use springtide_machinery::instruments::{Kind, Text};

use crate::kubelet::Snapshot;

/// Writes all families.
pub(crate) fn write(node: &str, pods: &[Snapshot], text: &mut Text) {
    text.family(
        "kubelet_node_name",
        "[ALPHA] The node's name. The count is always 1.",
        Kind::Gauge,
    )
    .sample(&[("node", node)], 1.0);
    text.family(
        "kubelet_desired_pods",
        "[ALPHA] The number of pods the kubelet is being instructed to run.",
        Kind::Gauge,
    )
    .sample(&[("static", "")], pods.len() as f64);
    let mut states: BTreeMap<&str, u32> =
        BTreeMap::from([("created", 0), ("exited", 0), ("running", 0)]);
    let mut running_pods = 0_u32;
    for snapshot in pods {
        let init = snapshot.status.init_container_statuses.iter().flatten();
        let statuses = snapshot
            .status
            .container_statuses
            .iter()
            .flatten()
            .chain(init);
        let mut runs = false;
        for state in statuses.filter_map(|status| status.state.as_ref()) {
            let told = if state.running.is_some() {
                runs = true;
                "running"
            } else if state.terminated.is_some() {
                "exited"
            } else {
                "created"
            };
            *states.entry(told).or_default() += 1;
        }
        running_pods += u32::from(runs);
    }
    let mut family = text.family(
        "kubelet_running_containers",
        "[ALPHA] Number of containers currently running",
        Kind::Gauge,
    );
    for (state, count) in states {
        family.sample(&[("container_state", state)], f64::from(count));
    }
    text.family(
        "kubelet_running_pods",
        "[ALPHA] Number of pods that have a running pod sandbox",
        Kind::Gauge,
    )
    .sample(&[], f64::from(running_pods));
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    #[test]
    fn containers_are_counted_by_state() {
        let status = serde_json::from_value(json!({"containerStatuses": [
            {"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}},
            {"name": "b", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": {"terminated": {"exitCode": 0}}},
        ]}));
        let snapshot = Snapshot {
            pod: Arc::new(Pod::default()),
            status: status.expect("a status"),
        };
        let mut text = Text::default();
        write("n", &[snapshot], &mut text);
        let text = text.into_string();
        for line in [
            "kubelet_running_containers{container_state=\"exited\"} 1",
            "kubelet_running_containers{container_state=\"running\"} 1",
            "kubelet_running_pods 1",
            "kubelet_node_name{node=\"n\"} 1",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "missing: {line}\n{text}"
            );
        }
    }
}
