//! The pure core in tables.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::kubelet::plan::{Action, plan};
use crate::kubelet::transition::{Happened, StartFailure};
use crate::kubelet::view::{Moment, PodView};

fn moment() -> Moment {
    Moment {
        instant: Instant::now(),
        wall: super::world::BASE.parse().expect("a time"),
    }
}

fn view(spec: &Value) -> PodView {
    let mut pod = json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"},
        "spec": {"runtimeClassName": "host"}});
    let fields = spec.as_object().expect("an object").clone();
    pod["spec"]
        .as_object_mut()
        .expect("an object")
        .extend(fields);
    let pod = serde_json::from_value(pod).expect("a pod");
    PodView::new(Arc::new(pod), moment())
}

/// Takes all steps that are due, and names them.
fn act(view: &mut PodView, now: Moment) -> String {
    let mut names = Vec::new();
    for _ in 0..10 {
        let plan = plan(view, now);
        if plan.actions.is_empty() {
            break;
        }
        for action in plan.actions {
            view.begin(&action, now);
            names.push(match action {
                Action::Start { container } => format!("start {container}"),
                Action::Stop { container } => format!("stop {container}"),
                Action::Terminate { container } => format!("terminate {container}"),
                Action::PostStart { container } => format!("post-start {container}"),
                other => format!("{other:?}")
                    .split(' ')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            });
        }
    }
    names.join(", ")
}

fn started(container: &str, attempt: u32) -> Happened {
    Happened::Started {
        container: container.to_owned(),
        attempt,
        at: moment().wall,
        ready: true,
    }
}

#[test]
fn containers_start_in_order_and_after_the_hook_of_the_one_before() {
    let now = moment();
    let hook = json!({"postStart": {"exec": {"command": ["x"]}}});
    let mut pod = view(&json!({"containers": [{"name": "a", "lifecycle": hook}, {"name": "b"}]}));
    assert_eq!(act(&mut pod, now), "CreateSandbox");
    pod.hear(Happened::SandboxReady { address: None }, now);
    assert_eq!(act(&mut pod, now), "start a");
    pod.hear(started("a", 0), now);
    assert_eq!(act(&mut pod, now), "post-start a");
    let done = Happened::PostStarted {
        container: "a".to_owned(),
        attempt: 0,
        failed: false,
    };
    pod.hear(done, now);
    assert_eq!(act(&mut pod, now), "start b");
}

#[test]
fn an_answer_for_an_older_run_changes_nothing() {
    let now = moment();
    let mut pod = view(&json!({"containers": [{"name": "a"}]}));
    act(&mut pod, now);
    pod.hear(Happened::SandboxReady { address: None }, now);
    act(&mut pod, now);
    pod.hear(started("a", 3), now);
    assert!(pod.run("a").is_none());
    pod.hear(started("a", 0), now);
    assert!(pod.run("a").is_some());
}

#[test]
fn a_container_that_is_being_started_is_stopped_once_it_runs() {
    let now = moment();
    let mut pod = view(&json!({"containers": [{"name": "a"}]}));
    act(&mut pod, now);
    pod.hear(Happened::SandboxReady { address: None }, now);
    assert_eq!(act(&mut pod, now), "start a");
    pod.hear(Happened::Gone, now);
    assert_eq!(act(&mut pod, now), "Leave");
    pod.hear(Happened::Left, now);
    assert_eq!(act(&mut pod, now), "");
    pod.hear(started("a", 0), now);
    assert_eq!(act(&mut pod, now), "stop a, terminate a");
}

#[test]
fn a_start_that_failed_is_tried_again_later() {
    let now = moment();
    let mut pod = view(&json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    act(&mut pod, now);
    pod.hear(Happened::SandboxReady { address: None }, now);
    act(&mut pod, now);
    let failed = Happened::NotStarted {
        container: "a".to_owned(),
        failure: StartFailure::Config("missing".to_owned()),
    };
    pod.hear(failed, now);
    assert_eq!(act(&mut pod, now), "start b", "others do not wait for it");
    let later = Moment {
        instant: now.instant + Duration::from_secs(5),
        ..now
    };
    pod.hear(started("b", 0), now);
    assert_eq!(plan(&pod, now).wake, Some(later.instant));
    assert_eq!(act(&mut pod, later), "start a");
}

#[test]
fn a_sandbox_that_ended_by_itself_is_made_anew_once_its_containers_have_ended() {
    let now = moment();
    let mut pod = view(&json!({"containers": [{"name": "a"}]}));
    act(&mut pod, now);
    pod.hear(Happened::SandboxReady { address: None }, now);
    act(&mut pod, now);
    pod.hear(started("a", 0), now);
    pod.hear(Happened::SandboxLost, now);
    assert_eq!(act(&mut pod, now), "");
    let run = crate::kubelet::runtime::ContainerRun {
        pod: crate::kubelet::runtime::PodUid("u".to_owned()),
        container: "a".to_owned(),
        attempt: 0,
    };
    let exit = crate::kubelet::runtime::Exit {
        run,
        code: 137,
        signal: Some(9),
        oom_killed: false,
        started_at: now.wall,
        finished_at: now.wall,
    };
    pod.hear(
        Happened::Exited {
            exit,
            message: None,
        },
        now,
    );
    assert_eq!(act(&mut pod, now), "RemoveSandbox");
    pod.hear(Happened::SandboxRemoved, now);
    assert_eq!(act(&mut pod, now), "CreateSandbox");
    pod.hear(Happened::SandboxReady { address: None }, now);
    assert_eq!(act(&mut pod, now), "start a");
}
