//! Pods: readiness, and in one word what is going on.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AGE, Column, NAME, age, column, wide};
use crate::members::{has, integer, is_true, items, text};

pub(crate) fn columns() -> Vec<Column> {
    vec![
        NAME,
        column(
            "Ready",
            "string",
            "The aggregate readiness state of this pod for accepting traffic.",
        ),
        column(
            "Status",
            "string",
            "The aggregate status of the containers in this pod.",
        ),
        column(
            "Restarts",
            "string",
            "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
        ),
        AGE,
        wide("IP", "string", "podIP address allocated to the pod."),
        wide(
            "Node",
            "string",
            "NodeName indicates in which node this pod is scheduled.",
        ),
        wide(
            "Nominated Node",
            "string",
            "nominatedNodeName is set only when this pod preempts other pods on the node.",
        ),
        wide(
            "Readiness Gates",
            "string",
            "If specified, all readiness gates will be evaluated for pod readiness.",
        ),
    ]
}

pub(crate) fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let summary = summarize(pod);
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let restarts = match summary.last_restart {
        Some(time) if summary.restarts > 0 => {
            let ago = age::human_duration(age::seconds_between(time, now));
            format!("{} ({ago} ago)", summary.restarts)
        }
        _ => summary.restarts.to_string(),
    };
    let address = match items(status, "podIPs").next() {
        Some(first) => text(first, "ip"),
        None => text(status, "podIP"),
    };
    let or_none = |text: &str| {
        if text.is_empty() {
            "<none>".to_owned()
        } else {
            text.to_owned()
        }
    };
    vec![
        pod["metadata"]["name"].clone(),
        json!(format!("{}/{}", summary.ready, summary.total)),
        json!(summary.reason),
        json!(restarts),
        json!(age::of(pod, now)),
        json!(or_none(address)),
        json!(or_none(text(spec, "nodeName"))),
        json!(or_none(text(status, "nominatedNodeName"))),
        json!(gates(pod)),
    ]
}

struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

fn gates(pod: &Value) -> String {
    let total = items(&pod["spec"], "readinessGates").count();
    if total == 0 {
        return "<none>".to_owned();
    }
    let met = items(&pod["spec"], "readinessGates")
        .filter(|gate| condition(pod, text(gate, "conditionType")) == "True")
        .count();
    format!("{met}/{total}")
}

/// The status of a condition; empty if there is none.
fn condition<'a>(pod: &'a Value, kind: &str) -> &'a str {
    items(&pod["status"], "conditions")
        .find(|entry| text(entry, "type") == kind)
        .map_or("", |entry| text(entry, "status"))
}

fn restarted_at(container: &Value) -> Option<Timestamp> {
    text(&container["lastState"]["terminated"], "finishedAt")
        .parse()
        .ok()
}

/// `Error`, `ExitCode:3` or `Signal:9`: how a container ended.
fn ended(terminated: &Value) -> String {
    let reason = text(terminated, "reason");
    if !reason.is_empty() {
        return reason.to_owned();
    }
    match integer(terminated, "signal").filter(|signal| *signal != 0) {
        Some(signal) => format!("Signal:{signal}"),
        None => format!("ExitCode:{}", integer(terminated, "exitCode").unwrap_or(0)),
    }
}

fn is_sidecar(pod: &Value, name: &str) -> bool {
    items(&pod["spec"], "initContainers").any(|container| {
        text(container, "name") == name && text(container, "restartPolicy") == "Always"
    })
}

fn summarize(pod: &Value) -> Summary {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let phase = text(status, "phase");
    let sidecars = items(spec, "initContainers")
        .filter(|container| text(container, "restartPolicy") == "Always")
        .count();
    let mut summary = Summary {
        ready: 0,
        total: items(spec, "containers").count() + sidecars,
        reason: match text(status, "reason") {
            "" => phase.to_owned(),
            reason => reason.to_owned(),
        },
        restarts: 0,
        last_restart: None,
    };
    let gated = items(status, "conditions").any(|entry| {
        text(entry, "type") == "PodScheduled" && text(entry, "reason") == "SchedulingGated"
    });
    if gated {
        summary.reason = "SchedulingGated".to_owned();
    }
    let initializing = init_containers(pod, &mut summary);
    if !initializing || condition(pod, "Initialized") == "True" {
        main_containers(pod, &mut summary, initializing);
    }
    if has(&pod["metadata"], "deletionTimestamp") {
        summary.reason = if text(status, "reason") == "NodeLost" {
            "Unknown".to_owned()
        } else if ["Succeeded", "Failed"].contains(&phase) {
            summary.reason
        } else {
            "Terminating".to_owned()
        };
    }
    summary
}

/// Walks the init containers up to the first that is not done; returns whether there is one.
fn init_containers(pod: &Value, summary: &mut Summary) -> bool {
    let total = items(&pod["spec"], "initContainers").count();
    let mut restarts = 0;
    let mut sidecar_restarts = 0;
    let mut latest: Option<Timestamp> = None;
    let mut latest_sidecar: Option<Timestamp> = None;
    let mut initializing = false;
    for (index, container) in items(&pod["status"], "initContainerStatuses").enumerate() {
        let count = integer(container, "restartCount").unwrap_or(0);
        let sidecar = is_sidecar(pod, text(container, "name"));
        restarts += count;
        latest = latest.max(restarted_at(container));
        if sidecar {
            sidecar_restarts += count;
            latest_sidecar = latest_sidecar.max(restarted_at(container));
        }
        let (terminated, waiting) = (
            &container["state"]["terminated"],
            &container["state"]["waiting"],
        );
        if terminated.is_object() && integer(terminated, "exitCode").unwrap_or(0) == 0 {
            continue;
        }
        if sidecar && is_true(container, "started") {
            if is_true(container, "ready") {
                summary.ready += 1;
            }
            continue;
        }
        summary.reason = if terminated.is_object() {
            format!("Init:{}", ended(terminated))
        } else if waiting.is_object() && !["", "PodInitializing"].contains(&text(waiting, "reason"))
        {
            format!("Init:{}", text(waiting, "reason"))
        } else {
            format!("Init:{index}/{total}")
        };
        initializing = true;
        break;
    }
    if initializing {
        summary.restarts = restarts;
        summary.last_restart = latest;
    } else {
        // Init containers that are done say nothing of the pod that runs; sidecars do.
        summary.restarts = sidecar_restarts;
        summary.last_restart = latest_sidecar;
    }
    initializing
}

fn main_containers(pod: &Value, summary: &mut Summary, initializing: bool) {
    if initializing {
        summary.restarts = 0;
        summary.last_restart = None;
    }
    let mut has_running = false;
    let statuses: Vec<&Value> = items(&pod["status"], "containerStatuses").collect();
    for container in statuses.into_iter().rev() {
        summary.restarts += integer(container, "restartCount").unwrap_or(0);
        summary.last_restart = summary.last_restart.max(restarted_at(container));
        let state = &container["state"];
        let waiting = text(&state["waiting"], "reason");
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if state["terminated"].is_object() {
            summary.reason = ended(&state["terminated"]);
        } else if is_true(container, "ready") && state["running"].is_object() {
            has_running = true;
            summary.ready += 1;
        }
    }
    // A pod of which one container is done and another runs is still running.
    if summary.reason == "Completed" && has_running {
        summary.reason = if condition(pod, "Ready") == "True" {
            "Running".to_owned()
        } else {
            "NotReady".to_owned()
        };
    }
}

#[cfg(test)]
// Literals are easier to read where they need no reference.
#[allow(clippy::needless_pass_by_value)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T01:00:00Z";

    fn row(pod: &Value) -> (String, String, String) {
        let row = cells(pod, NOW.parse().unwrap());
        let text = |index: usize| row[index].as_str().unwrap().to_owned();
        (text(1), text(2), text(3))
    }

    fn pod(phase: &str, statuses: Value) -> Value {
        let containers: Vec<Value> = statuses
            .as_array()
            .unwrap()
            .iter()
            .map(|status| json!({"name": status["name"]}))
            .collect();
        json!({"metadata": {"name": "p"}, "spec": {"containers": containers},
            "status": {"phase": phase, "containerStatuses": statuses}})
    }

    fn of(row: (&str, &str, &str)) -> (String, String, String) {
        (row.0.to_owned(), row.1.to_owned(), row.2.to_owned())
    }

    #[test]
    fn each_state_has_the_word_kubectl_users_know() {
        let running =
            json!({"name": "c", "ready": true, "restartCount": 0, "state": {"running": {}}});
        let done = json!({"name": "d", "ready": false, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
        let cases = [
            (pod("Pending", json!([])), ("0/0", "Pending", "0")),
            (pod("Running", json!([running])), ("1/1", "Running", "0")),
            (
                pod(
                    "Pending",
                    json!([{"name": "c", "state": {"waiting": {"reason": "ContainerCreating"}}}]),
                ),
                ("0/1", "ContainerCreating", "0"),
            ),
            (
                pod(
                    "Running",
                    json!([{"name": "c", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"finishedAt": "2026-01-01T00:55:00Z"}}}]),
                ),
                ("0/1", "CrashLoopBackOff", "3 (5m ago)"),
            ),
            (pod("Succeeded", json!([done])), ("0/1", "Completed", "0")),
            (
                pod("Running", json!([done, running])),
                ("1/2", "NotReady", "0"),
            ),
            (
                pod(
                    "Failed",
                    json!([{"name": "c", "state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]),
                ),
                ("0/1", "OOMKilled", "0"),
            ),
            (
                pod(
                    "Failed",
                    json!([{"name": "c", "state": {"terminated": {"exitCode": 3}}}]),
                ),
                ("0/1", "ExitCode:3", "0"),
            ),
            (
                pod(
                    "Failed",
                    json!([{"name": "c", "state": {"terminated": {"exitCode": 137, "signal": 9}}}]),
                ),
                ("0/1", "Signal:9", "0"),
            ),
        ];
        for (pod, expected) in cases {
            assert_eq!(row(&pod), of(expected), "{pod}");
        }
    }

    #[test]
    fn a_deleted_pod_is_terminating_unless_it_has_ended() {
        let mut running = pod(
            "Running",
            json!([{"name": "c", "ready": true, "state": {"running": {}}}]),
        );
        running["metadata"]["deletionTimestamp"] = json!(NOW);
        assert_eq!(row(&running), of(("1/1", "Terminating", "0")));
        running["status"] = json!({"phase": "Succeeded", "containerStatuses": [{"name": "c", "state": {"terminated": {"reason": "Completed"}}}]});
        assert_eq!(row(&running).1, "Completed");
    }

    #[test]
    fn init_containers_are_counted_until_they_are_done() {
        let with = |inits: Value| {
            let mut pod = pod(
                "Pending",
                json!([{"name": "c", "state": {"waiting": {"reason": "PodInitializing"}}}]),
            );
            pod["spec"]["initContainers"] = json!([{"name": "a"}, {"name": "b"}]);
            pod["status"]["initContainerStatuses"] = inits;
            row(&pod)
        };
        let done =
            json!({"name": "a", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
        assert_eq!(
            with(json!([done, {"name": "b", "state": {"running": {}}}])).1,
            "Init:1/2"
        );
        assert_eq!(
            with(
                json!([{"name": "a", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"finishedAt": "2026-01-01T00:59:00Z"}}}, {"name": "b"}])
            ),
            of(("0/1", "Init:CrashLoopBackOff", "2 (60s ago)"))
        );
        assert_eq!(
            with(
                json!([{"name": "a", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}])
            )
            .1,
            "Init:Error"
        );
        assert_eq!(with(json!([done, done])).1, "PodInitializing");
    }

    #[test]
    fn a_sidecar_counts_as_a_container() {
        let mut pod = pod(
            "Running",
            json!([{"name": "c", "ready": true, "state": {"running": {}}}]),
        );
        pod["spec"]["initContainers"] = json!([{"name": "s", "restartPolicy": "Always"}]);
        pod["status"]["initContainerStatuses"] = json!([{"name": "s", "started": true, "ready": true, "restartCount": 1, "state": {"running": {}}}]);
        assert_eq!(row(&pod), of(("2/2", "Running", "1")));
    }

    #[test]
    fn wide_cells_say_none_where_there_is_nothing() {
        let row = cells(&pod("Pending", json!([])), NOW.parse().unwrap());
        assert_eq!(row.len(), columns().len());
        assert_eq!(
            row[5..],
            [
                json!("<none>"),
                json!("<none>"),
                json!("<none>"),
                json!("<none>")
            ]
        );
    }
}
