use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::kubelet::view::{PostStart, Run, Waiting};

fn now() -> Moment {
    Moment {
        instant: Instant::now(),
        wall: "2026-01-02T03:04:05Z".parse().expect("a time"),
    }
}

fn view(spec: &Value) -> PodView {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u"}, "spec": spec
    }))
    .expect("a pod");
    let mut view = PodView::new(Arc::new(pod), now());
    view.sandbox = Sandbox::Ready {
        address: Some("10.244.0.9".parse().expect("an address")),
    };
    view
}

fn running(ready: bool) -> ContainerState {
    ContainerState::Running(Run {
        since: now().wall,
        post_start: PostStart::Done,
        started: true,
        ready,
        stop: None,
    })
}

fn exited(code: i32) -> ContainerState {
    ContainerState::Exited {
        end: End {
            code,
            signal: None,
            reason: if code == 0 { "Completed" } else { "Error" }.to_owned(),
            message: None,
            started_at: None,
            finished_at: None,
            container_id: Some("springtide://u/a/0".to_owned()),
            seen: now().instant,
        },
        announced: false,
    }
}

fn status(view: &PodView) -> PodStatus {
    let node = "192.0.2.1".parse().expect("an address");
    pod_status(view, node, &PodStatus::default(), now())
}

fn set(view: &mut PodView, name: &str, state: ContainerState) {
    view.containers.get_mut(name).expect("a container").state = state;
}

#[test]
fn the_phase_follows_from_the_containers() {
    let waiting = || ContainerState::Waiting(Waiting::default());
    let table: [(&str, ContainerState, ContainerState, &str); 10] = [
        ("Always", waiting(), waiting(), "Pending"),
        ("Always", running(true), waiting(), "Pending"),
        ("Always", running(true), running(false), "Running"),
        ("Always", running(true), exited(1), "Running"),
        ("Always", exited(0), exited(0), "Running"),
        ("Never", exited(0), running(true), "Running"),
        ("Never", exited(0), exited(0), "Succeeded"),
        ("Never", exited(0), exited(1), "Failed"),
        ("OnFailure", exited(0), exited(1), "Running"),
        ("OnFailure", exited(0), exited(0), "Succeeded"),
    ];
    for (policy, first, second, phase) in table {
        let mut view = view(&json!({"restartPolicy": policy,
            "containers": [{"name": "a"}, {"name": "b"}]}));
        set(&mut view, "a", first.clone());
        set(&mut view, "b", second.clone());
        let found = status(&view).phase;
        assert_eq!(
            found.as_deref(),
            Some(phase),
            "{policy} {first:?} {second:?}"
        );
    }
}

fn told(status: &PodStatus, kind: &str) -> String {
    let condition = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == kind)
        .expect("the condition");
    [
        Some(condition.status.clone()),
        condition.reason.clone(),
        condition.message.clone(),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(" | ")
}

#[test]
fn conditions_say_what_is_missing() {
    let mut pod = view(&json!({"containers": [{"name": "a"}, {"name": "b"}],
        "readinessGates": [{"conditionType": "example.com/up"}]}));
    set(&mut pod, "a", running(true));
    let first = status(&pod);
    let unready = "False | ContainersNotReady | containers with unready status: [b]";
    assert_eq!(told(&first, "ContainersReady"), unready);
    assert_eq!(told(&first, "Ready"), unready);
    assert_eq!(told(&first, "Initialized"), "True");
    assert_eq!(told(&first, "PodReadyToStartContainers"), "True");
    assert_eq!(told(&first, "PodScheduled"), "True");

    set(&mut pod, "b", running(true));
    let second = status(&pod);
    assert_eq!(told(&second, "ContainersReady"), "True");
    assert_eq!(
        told(&second, "Ready"),
        "False | ReadinessGatesNotReady | corresponding condition of pod readiness gate \
         \"example.com/up\" does not exist."
    );

    let init = view(&json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
    assert_eq!(
        told(&status(&init), "Initialized"),
        "False | ContainersNotInitialized | containers with incomplete status: [i]"
    );
}

#[test]
fn a_condition_keeps_its_time_until_it_changes() {
    let mut pod = view(&json!({"containers": [{"name": "a"}]}));
    let node = "192.0.2.1".parse().expect("an address");
    let first = status(&pod);
    let later = Moment {
        instant: now().instant,
        wall: now().wall + Duration::from_secs(60),
    };
    set(&mut pod, "a", running(true));
    let second = pod_status(&pod, node, &first, later);
    let time = |status: &PodStatus, kind: &str| {
        let condition = status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == kind);
        condition
            .and_then(|condition| condition.last_transition_time.clone())
            .expect("a time")
            .0
    };
    assert_eq!(time(&second, "Initialized"), now().wall);
    assert_eq!(time(&second, "Ready"), later.wall);
}

#[test]
fn a_container_that_keeps_ending_waits_in_a_back_off() {
    let mut pod = view(&json!({"containers": [{"name": "a"}]}));
    let at = now();
    let known = pod.containers.get_mut("a").expect("a container");
    known.backoff.restarted(at.instant, at.instant);
    known.attempt = 3;
    set(&mut pod, "a", exited(1));
    let status = status(&pod);
    let container = &status.container_statuses.expect("statuses")[0];
    let waiting = container
        .state
        .as_ref()
        .and_then(|state| state.waiting.clone())
        .expect("it waits");
    assert_eq!(waiting.reason.as_deref(), Some("CrashLoopBackOff"));
    assert_eq!(
        waiting.message.as_deref(),
        Some("back-off 10s restarting failed container=a pod=web_shop(u)")
    );
    let last = container
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.clone())
        .expect("it ended");
    assert_eq!((last.exit_code, container.restart_count), (1, 3));
}

#[test]
fn the_class_of_service_follows_from_requests_and_limits() {
    let resources = |requests: Value, limits: Value| {
        let spec: PodSpec = serde_json::from_value(json!({"containers": [
            {"name": "a", "resources": {"requests": requests, "limits": limits}}]}))
        .expect("a spec");
        qos_class(&spec)
    };
    let both = json!({"cpu": "1", "memory": "1Gi"});
    assert_eq!(resources(json!({}), json!({})), "BestEffort");
    assert_eq!(resources(json!({"cpu": "1"}), json!({})), "Burstable");
    assert_eq!(resources(json!({}), json!({"cpu": "1"})), "Burstable");
    assert_eq!(resources(json!({}), both.clone()), "Guaranteed");
    assert_eq!(
        resources(json!({"cpu": "1000m", "memory": "1024Mi"}), both),
        "Guaranteed"
    );
}
