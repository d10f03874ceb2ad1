use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};
use serde_json::{Value, json};

use super::world::{World, pass, settle};
use crate::kubelet::runtime::*;

fn condition(status: &PodStatus, kind: &str) -> String {
    let found = status
        .conditions
        .iter()
        .flatten()
        .find(|known| known.type_ == kind);
    found.map(|known| known.status.clone()).unwrap_or_default()
}

fn container(status: &PodStatus, name: &str) -> ContainerStatus {
    let all = status.init_container_statuses.iter().flatten();
    let mut all = all.chain(status.container_statuses.iter().flatten());
    all.find(|known| known.name == name)
        .expect("a status")
        .clone()
}

/// `running`, or why the container waits, or how it ended.
fn state(status: &PodStatus, name: &str) -> String {
    let state = container(status, name).state.unwrap_or_default();
    if let Some(waiting) = state.waiting {
        return waiting.reason.unwrap_or_default();
    }
    if let Some(end) = state.terminated {
        return format!("{} {}", end.reason.unwrap_or_default(), end.exit_code);
    }
    "running".to_owned()
}

fn web() -> Value {
    json!({"containers": [{"name": "web", "command": ["serve"],
        "readinessProbe": {"httpGet": {"path": "/", "port": 80}}}]})
}

#[tokio::test(start_paused = true)]
async fn a_pod_runs_gets_ready_and_is_deleted() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    kubelet.put("web-1", &web(), &json!({}));
    settle().await;

    let status = world.status("web-1");
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(status.pod_ip.as_deref(), Some("10.244.0.2"));
    assert_eq!(condition(&status, "Ready"), "True");
    assert_eq!(state(&status, "web"), "running");
    assert_eq!(
        world.journal(),
        ["0 sandbox web-1 10.244.0.2", "0 start web/0"]
    );
    assert_eq!(
        world.events(),
        [
            "Normal Created: Container created",
            "Normal Started: Container started"
        ]
    );
    assert_eq!(world.statuses_written(), 1, "one write tells all of it");

    kubelet.delete("web-1", 30);
    settle().await;
    assert_eq!(
        world.journal(),
        [
            "0.5 leave web-1",
            "0.5 signal web/0 15",
            "0.5 remove web-1",
            "0.5 delete web-1"
        ]
    );
    assert_eq!(world.events(), ["Normal Killing: Stopping container web"]);
    kubelet.gone("web-1");
    settle().await;
    assert_eq!(kubelet.workers(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_answer_is_not_ready_until_it_does() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    world.unwell("web", true);
    kubelet.put("web-1", &web(), &json!({}));
    pass(Duration::from_secs(3)).await;
    let status = world.status("web-1");
    assert_eq!(
        (
            status.phase.as_deref(),
            condition(&status, "Ready").as_str()
        ),
        (Some("Running"), "False")
    );

    world.unwell("web", false);
    pass(Duration::from_secs(1)).await;
    assert_eq!(
        condition(&world.status("web-1"), "Ready"),
        "True",
        "well before the next period"
    );

    world.events();
    world.unwell("web", true);
    pass(Duration::from_secs(25)).await;
    assert_eq!(
        condition(&world.status("web-1"), "Ready"),
        "True",
        "two failures are too few"
    );
    pass(Duration::from_secs(10)).await;
    assert_eq!(condition(&world.status("web-1"), "Ready"), "False");
    let event = "Warning Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503";
    assert_eq!(world.events(), vec![event; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_container_that_keeps_ending_waits_longer_and_longer() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    kubelet.put(
        "p",
        &json!({"containers": [{"name": "a", "command": ["x"]}]}),
        &json!({}),
    );
    settle().await;
    world.exit("a", 1);
    settle().await;
    let first = world.status("p");
    assert_eq!(
        (
            state(&first, "a").as_str(),
            container(&first, "a").restart_count
        ),
        ("running", 1)
    );

    world.exit("a", 3);
    settle().await;
    let status = world.status("p");
    let known = container(&status, "a");
    assert_eq!(state(&status, "a"), "CrashLoopBackOff");
    let last = known
        .last_state
        .and_then(|state| state.terminated)
        .expect("an end");
    assert_eq!((last.exit_code, known.restart_count), (3, 1));
    assert_eq!(status.phase.as_deref(), Some("Running"));
    let event = "Warning BackOff: Back-off restarting failed container a in pod p_shop(p)";
    assert_eq!(
        world
            .events()
            .iter()
            .filter(|known| *known == event)
            .count(),
        1
    );

    pass(Duration::from_secs(10)).await;
    let status = world.status("p");
    assert_eq!(
        (
            state(&status, "a").as_str(),
            container(&status, "a").restart_count
        ),
        ("running", 2)
    );
    let journal = world.journal();
    let starts: Vec<&String> = journal
        .iter()
        .filter(|line| line.contains("start"))
        .collect();
    assert_eq!(starts, ["0 start a/0", "0.5 start a/1", "11 start a/2"]);
    assert!(journal.iter().any(|line| line.ends_with("acknowledge a/1")));
}

#[tokio::test(start_paused = true)]
async fn a_liveness_probe_restarts_its_container() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    kubelet.put(
        "p",
        &json!({"containers": [{"name": "a", "command": ["x"],
            "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 1,
                "initialDelaySeconds": 1, "failureThreshold": 2}}]}),
        &json!({}),
    );
    settle().await;
    world.events();
    world.unwell("a", true);
    pass(Duration::from_millis(1600)).await;
    world.unwell("a", false);
    settle().await;
    let status = world.status("p");
    assert_eq!(
        (
            state(&status, "a").as_str(),
            container(&status, "a").restart_count
        ),
        ("running", 1)
    );
    let unhealthy =
        "Warning Unhealthy: Liveness probe failed: HTTP probe failed with statuscode: 503";
    assert_eq!(
        world.events(),
        [
            unhealthy,
            unhealthy,
            "Normal Killing: Container a failed liveness probe, will be restarted",
            "Normal Created: Container created",
            "Normal Started: Container started"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_container_that_does_not_stop_is_killed_after_its_grace_including_its_hook() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    world.stubborn("a");
    world.hook_length(Duration::from_secs(4));
    kubelet.put(
        "p",
        &json!({"containers": [{"name": "a", "command": ["x"],
            "lifecycle": {"preStop": {"exec": {"command": ["bye"]}}}}]}),
        &json!({}),
    );
    settle().await;
    world.journal();
    kubelet.delete("p", 10);
    pass(Duration::from_secs(30)).await;
    assert_eq!(
        world.journal(),
        [
            "0.5 leave p",
            "0.5 hook a",
            "4.5 signal a/0 15",
            "10.5 signal a/0 9",
            "10.5 remove p",
            "10.5 delete p"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn deleting_again_with_less_grace_shortens_the_wait() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    world.stubborn("a");
    kubelet.put(
        "p",
        &json!({"containers": [{"name": "a", "command": ["x"]}]}),
        &json!({}),
    );
    settle().await;
    world.journal();
    kubelet.delete("p", 60);
    pass(Duration::from_secs(5)).await;
    kubelet.delete("p", 1);
    pass(Duration::from_secs(5)).await;
    assert!(world.journal().contains(&"6.5 signal a/0 9".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn init_containers_run_one_after_the_other_before_the_others() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    kubelet.put(
        "p",
        &json!({"initContainers": [{"name": "i", "command": ["x"]}, {"name": "j", "command": ["x"]},
                {"name": "s", "command": ["x"], "restartPolicy": "Always"}],
            "containers": [{"name": "a", "command": ["x"]}, {"name": "b", "command": ["x"]}]}),
        &json!({}),
    );
    settle().await;
    let status = world.status("p");
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    assert_eq!(state(&status, "a"), "PodInitializing");
    assert_eq!(condition(&status, "Initialized"), "False");
    world.exit("i", 0);
    settle().await;
    world.exit("j", 1);
    settle().await;
    world.exit("j", 0);
    settle().await;
    let status = world.status("p");
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(
        (
            condition(&status, "Initialized").as_str(),
            condition(&status, "Ready").as_str()
        ),
        ("True", "True")
    );
    assert_eq!(state(&status, "i"), "Completed 0");
    let journal = world.journal();
    let starts: Vec<&str> = journal
        .iter()
        .filter_map(|line| line.split_once(" start ").map(|(_, what)| what))
        .collect();
    assert_eq!(starts, ["i/0", "j/0", "j/1", "s/0", "a/0", "b/0"]);

    kubelet.delete("p", 30);
    settle().await;
    let journal = world.journal();
    let signals: Vec<&str> = journal
        .iter()
        .filter_map(|line| line.split_once(" signal ").map(|(_, what)| what))
        .collect();
    assert_eq!(
        signals,
        ["a/0 15", "b/0 15", "s/0 15"],
        "a sidecar stops last"
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_containers_are_done_is_over() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    for (name, policy, code, phase) in [
        ("ok", "Never", 0, "Succeeded"),
        ("bad", "Never", 2, "Failed"),
        ("done", "OnFailure", 0, "Succeeded"),
    ] {
        let spec =
            json!({"restartPolicy": policy, "containers": [{"name": name, "command": ["x"]}]});
        kubelet.put(name, &spec, &json!({}));
        settle().await;
        world.exit(name, code);
        settle().await;
        let status = world.status(name);
        assert_eq!(status.phase.as_deref(), Some(phase), "{name}");
        assert!(status.pod_ip.is_some(), "the address it had is still told");
        assert!(
            world
                .journal()
                .iter()
                .any(|line| line.ends_with(&format!("remove {name}")))
        );
        assert!(world.has(name));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_waited_for_and_told() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    let spec = json!({"containers": [{"name": "a", "command": ["x", "$(MODE)"],
        "envFrom": [{"configMapRef": {"name": "settings"}}]}]});
    kubelet.put("p", &spec, &json!({}));
    settle().await;
    let status = world.status("p");
    assert_eq!(state(&status, "a"), "CreateContainerConfigError");
    let message = container(&status, "a")
        .state
        .and_then(|state| state.waiting?.message);
    assert_eq!(message.as_deref(), Some("configmap \"settings\" not found"));
    assert_eq!(
        world.events(),
        ["Warning Failed: Error: configmap \"settings\" not found"]
    );

    world.put_config_map("settings", &json!({"MODE": "fast"}));
    pass(Duration::from_secs(6)).await;
    assert_eq!(state(&world.status("p"), "a"), "running");
    assert_eq!(world.spec("a").command, ["x", "fast"]);
    assert_eq!(container(&world.status("p"), "a").restart_count, 0);
}

#[tokio::test(start_paused = true)]
async fn a_program_that_does_not_exist_counts_as_a_run_that_failed() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    world.broken("a");
    kubelet.put(
        "p",
        &json!({"containers": [{"name": "a", "command": ["nope"]}]}),
        &json!({}),
    );
    settle().await;
    let status = world.status("p");
    assert_eq!(state(&status, "a"), "CrashLoopBackOff");
    let last = container(&status, "a")
        .last_state
        .and_then(|state| state.terminated)
        .expect("an end");
    assert_eq!(
        (last.reason.as_deref(), last.exit_code),
        (Some("StartError"), 128)
    );
    let message = "Warning Failed: Error: exec: \"nope\": executable file not found in $PATH";
    assert!(world.events().contains(&message.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_needs_an_image_is_told_so() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    let spec = json!({"runtimeClassName": null, "containers": [{"name": "a", "image": "nginx"}]});
    kubelet.put("p", &spec, &json!({}));
    settle().await;
    assert_eq!(state(&world.status("p"), "a"), "ErrImagePull");
    let events = world.events();
    assert!(
        events[0].starts_with("Warning Failed: Failed to pull image \"nginx\": images are not"),
        "{events:?}"
    );
    assert_eq!(events[1], "Warning Failed: Error: ErrImagePull");
    pass(Duration::from_secs(3)).await;
    assert_eq!(state(&world.status("p"), "a"), "ImagePullBackOff");
    assert_eq!(
        world.events()[0],
        "Normal BackOff: Back-off pulling image \"nginx\""
    );
    assert!(world.journal().is_empty());
    kubelet.delete("p", 30);
    settle().await;
    assert!(!world.has("p"));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_runtime_class_is_told() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    let spec =
        json!({"runtimeClassName": "gvisor", "containers": [{"name": "a", "command": ["x"]}]});
    kubelet.put("p", &spec, &json!({}));
    settle().await;
    assert_eq!(
        world.events()[0],
        "Warning FailedCreatePodSandBox: Failed to create pod sandbox: rpc error: code = Unknown \
         desc = failed to get sandbox runtime: no runtime for \"gvisor\" is configured"
    );
    let status = world.status("p");
    assert_eq!(
        (status.phase.as_deref(), state(&status, "a").as_str()),
        (Some("Pending"), "ContainerCreating")
    );
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_cannot_be_made_is_told_and_tried_again() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    let spec = json!({"volumes": [{"name": "v", "configMap": {"name": "files"}}],
        "containers": [{"name": "a", "command": ["x"],
            "volumeMounts": [{"name": "v", "mountPath": "/etc/files"}]}]});
    kubelet.put("p", &spec, &json!({}));
    settle().await;
    assert_eq!(
        world.events()[0],
        "Warning FailedMount: MountVolume.SetUp failed for volume \"v\" : configmap \"files\" not found"
    );
    assert!(
        world.journal().is_empty(),
        "nothing is made before everything is known"
    );
    world.put_config_map("files", &json!({"a.conf": "one"}));
    pass(Duration::from_secs(4)).await;
    assert_eq!(state(&world.status("p"), "a"), "running");
    let mounts = world.spec("a").mounts;
    let mount = mounts
        .iter()
        .find(|mount| mount.target == "/etc/files")
        .expect("a mount");
    let read = || std::fs::read_to_string(mount.source.join("a.conf")).expect("a file");
    assert_eq!(read(), "one");
    world.put_config_map("files", &json!({"a.conf": "two"}));
    pass(Duration::from_secs(21)).await;
    assert_eq!(read(), "two");
}

#[tokio::test(start_paused = true)]
async fn the_reason_of_an_end_is_told() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "a", "command": ["x"]}]});
    kubelet.put("p", &spec, &json!({}));
    settle().await;
    let words = world
        .spec("a")
        .mounts
        .into_iter()
        .find(|mount| mount.target == "/dev/termination-log");
    std::fs::write(words.expect("a mount").source, "out of tea").expect("written");
    world.end(&world.spec("a").run, 137, Some(9), true);
    settle().await;
    let status = world.status("p");
    assert_eq!(state(&status, "a"), "OOMKilled 137");
    let end = container(&status, "a")
        .state
        .and_then(|state| state.terminated)
        .expect("an end");
    assert_eq!(end.message.as_deref(), Some("out of tea"));
}

#[tokio::test(start_paused = true)]
async fn a_pod_may_be_active_only_so_long() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    let spec = json!({"activeDeadlineSeconds": 5, "containers": [{"name": "a", "command": ["x"]}]});
    kubelet.put("p", &spec, &json!({}));
    pass(Duration::from_secs(6)).await;
    let status = world.status("p");
    assert_eq!(
        (status.phase.as_deref(), status.reason.as_deref()),
        (Some("Failed"), Some("DeadlineExceeded"))
    );
    assert!(world.journal().contains(&"5 signal a/0 15".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_new_kubelet_takes_over_what_runs() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    let run = |container: &str, attempt| ContainerRun {
        pod: PodUid("p".to_owned()),
        container: container.to_owned(),
        attempt,
    };
    let started_at = super::world::BASE.parse().expect("a time");
    world.found(FoundSandbox {
        uid: PodUid("p".to_owned()),
        address: Some(kubelet.address(7)),
        made: MadeSandbox::default(),
        containers: vec![
            (run("a", 2), Found::Running { started_at }),
            (
                run("b", 0),
                Found::Exited(Exit {
                    run: run("b", 0),
                    code: 4,
                    signal: None,
                    oom_killed: false,
                    started_at,
                    finished_at: started_at,
                }),
            ),
        ],
    });
    world.found(FoundSandbox {
        uid: PodUid("orphan".to_owned()),
        address: Some(kubelet.address(9)),
        made: MadeSandbox::default(),
        containers: vec![(
            ContainerRun {
                pod: PodUid("orphan".to_owned()),
                container: "o".to_owned(),
                attempt: 0,
            },
            Found::Running { started_at },
        )],
    });
    kubelet.begin().await;
    let running = |id: &str, count: u32| {
        json!({"containerID": id, "ready": true, "started": true, "restartCount": count,
            "image": "", "imageID": "", "state": {"running": {"startedAt": super::world::BASE}}})
    };
    let mut a = running("springtide://p/a/2", 2);
    a["name"] = json!("a");
    let mut b = running("springtide://p/b/0", 0);
    b["name"] = json!("b");
    let status = json!({"phase": "Running", "podIP": "10.244.0.7", "containerStatuses": [a, b]});
    let probed = json!({"httpGet": {"port": 80}});
    kubelet.put(
        "p",
        &json!({"containers": [{"name": "a", "command": ["x"], "readinessProbe": probed},
            {"name": "b", "command": ["x"]}]}),
        &json!({"status": status}),
    );
    kubelet.drop_orphans();
    settle().await;
    let status = world.status("p");
    assert_eq!(status.pod_ip.as_deref(), Some("10.244.0.7"));
    let counts = ["a", "b"].map(|name| container(&status, name).restart_count);
    assert_eq!(
        counts,
        [2, 1],
        "an end in between is a restart, what runs goes on"
    );
    pass(Duration::from_secs(10)).await;
    let journal = world.journal();
    assert_eq!(
        journal,
        [
            "0 signal o/0 15",
            "0 start b/1",
            "0 acknowledge b/0",
            "5 remove orphan"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_whose_node_ended_starts_anew() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    let status = json!({"phase": "Running", "podIP": "10.244.0.7", "containerStatuses": [
        {"name": "a", "containerID": "springtide://p/a/1", "ready": true, "restartCount": 1,
            "image": "", "imageID": "", "state": {"running": {"startedAt": super::world::BASE}}}]});
    let spec = json!({"containers": [{"name": "a", "command": ["x"]}]});
    kubelet.put("p", &spec, &json!({"status": status}));
    settle().await;
    let status = world.status("p");
    let known = container(&status, "a");
    assert_eq!(
        (state(&status, "a").as_str(), known.restart_count),
        ("running", 2)
    );
    let last = known
        .last_state
        .and_then(|state| state.terminated)
        .expect("an end");
    assert_eq!(
        (last.exit_code, last.reason.as_deref()),
        (137, Some("ContainerStatusUnknown"))
    );
    assert_eq!(world.journal(), ["0 sandbox p 10.244.0.7", "0 start a/2"]);
    assert_eq!(
        world.events()[0],
        "Normal SandboxChanged: Pod sandbox changed, it will be killed and re-created."
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_removed_by_force_is_stopped_all_the_same() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    world.stubborn("a");
    kubelet.put(
        "p",
        &json!({"containers": [{"name": "a", "command": ["x"]}]}),
        &json!({}),
    );
    settle().await;
    world.journal();
    kubelet.gone("p");
    pass(Duration::from_secs(5)).await;
    assert_eq!(
        world.journal(),
        [
            "0.5 leave p",
            "0.5 signal a/0 15",
            "2.5 signal a/0 9",
            "2.5 remove p"
        ]
    );
    assert_eq!(kubelet.workers(), 0);
}

#[tokio::test(start_paused = true)]
async fn fifty_pods_are_ready_without_any_waiting_for_another() {
    let world = World::new();
    let mut kubelet = world.kubelet();
    kubelet.begin().await;
    for number in 0..50 {
        kubelet.put(&format!("web-{number}"), &web(), &json!({}));
    }
    pass(Duration::from_millis(200)).await;
    for number in 0..50 {
        let status = world.status(&format!("web-{number}"));
        assert_eq!(condition(&status, "Ready"), "True", "{number}");
    }
    assert_eq!(world.statuses_written(), 50);
}
