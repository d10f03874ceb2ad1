//! Requests go on while what serves them changes: replicas come and go, versions roll, the brain dies.

// Every test uses a part of it.
#[allow(dead_code, unreachable_pub, unused_imports)]
mod support;

use std::fmt::Write;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::process::{Outcome, Running, is_alive};
use support::wait::{Deadline, PATIENCE, look_again};
use support::{Cluster, Home, Kubectl, Tide, User, eventually, platform::free_node_port, run, web};

/// What the generator's summary says.
#[derive(Debug)]
struct Requests {
    failed: u64,
    all: u64,
}

/// The line `http_req_failed 0.00% 0 of 1234` of a summary.
fn requests(outcome: &Outcome) -> Requests {
    let line = outcome
        .out
        .lines()
        .find(|line| line.trim_start().starts_with("http_req_failed"));
    let words: Vec<&str> = line
        .unwrap_or_else(|| panic!("no summary: {outcome:#?}"))
        .split_whitespace()
        .collect();
    let number = |index: usize| words[index].parse().expect("a number");
    Requests {
        failed: number(2),
        all: number(4),
    }
}

/// Starts users that keep their connections open, until the load is interrupted.
fn load(cluster: &Cluster, node_port: u16) -> Running {
    let load = cluster.start(&format!(
        "exec tide load http://127.0.0.1:{node_port}/health --vus 8 --duration 300s"
    ));
    eventually("the load has begun", || load.out().contains("p95"));
    load
}

/// Interrupts the load and returns its summary.
#[track_caller]
fn end(load: Running) -> (Requests, Outcome) {
    load.signal(Signal::SIGINT);
    let outcome = load.wait(PATIENCE);
    (requests(&outcome), outcome)
}

#[test]
fn no_request_fails_while_replicas_come_roll_and_go() {
    scaling_under_load(User::Myself);
}

#[test]
fn no_request_fails_while_replicas_come_roll_and_go_for_an_ordinary_user() {
    scaling_under_load(User::Nobody);
}

fn scaling_under_load(user: User) {
    if !user.is_possible() {
        return;
    }
    let Some(kubectl) = Kubectl::newest() else {
        return;
    };
    let cluster = Cluster::new(Home::new(user).up(&[]), &kubectl);
    let node_port = free_node_port();
    web::start(&cluster, 2, node_port);
    let load = load(&cluster, node_port);
    cluster.ok("kubectl scale deployment web --replicas=6");
    cluster.ok("kubectl rollout status deployment/web --timeout=60s");
    // Users that keep their connections must reach the new replicas, too.
    let address = format!(
        "curl -s http://127.0.0.1:{node_port}/ | grep -o 'web-[a-z0-9]*-[a-z0-9]*' | head -1"
    );
    let mut answered = std::collections::BTreeSet::new();
    eventually("all six replicas answer", || {
        answered.insert(cluster.ok(&address));
        answered.len() >= 6
    });
    cluster.ok("kubectl rollout restart deployment/web");
    cluster.ok("kubectl rollout status deployment/web --timeout=120s");
    cluster.ok("kubectl scale deployment web --replicas=1");
    eventually("five pods are gone", || {
        cluster
            .ok("kubectl get pods -l app=web -o name")
            .lines()
            .count()
            == 1
    });
    cluster.ok("kubectl scale deployment web --replicas=3");
    cluster.comes_to_say("kubectl get deployment web", &["3/3"]);
    let (requests, outcome) = end(load);
    support::tell(&format!(
        "replicas 2, 6, all new, 1, 3 under load ({user:?}): {} of {} requests failed",
        requests.failed, requests.all
    ));
    assert!(requests.all > 100, "{outcome:#?}");
    assert_eq!(requests.failed, 0, "{outcome:#?}");
}

#[test]
fn the_brain_can_be_killed_under_load() {
    kill_the_brain(User::Myself);
}

#[test]
fn the_brain_can_be_killed_under_load_on_a_platform_of_an_ordinary_user() {
    kill_the_brain(User::Nobody);
}

fn kill_the_brain(user: User) {
    if !user.is_possible() {
        return;
    }
    let Some(kubectl) = Kubectl::newest() else {
        return;
    };
    let cluster = Cluster::new(Home::new(user).up(&[]), &kubectl);
    let node_port = free_node_port();
    web::start(&cluster, 3, node_port);
    let pods = cluster.tide.pod_processes();
    let load = load(&cluster, node_port);

    let mut manifests = String::new();
    for number in 0..500 {
        let _ = writeln!(
            manifests,
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: note-{number}}}\ndata: {{n: '{number}'}}"
        );
    }
    cluster.write("notes.yaml", &manifests);
    let writer = cluster.start("kubectl create -f notes.yaml");
    eventually("some writes are acknowledged", || {
        writer.out().lines().count() > 50
    });

    let brain = cluster.tide.brain().expect("there is a brain");
    kill(Pid::from_raw(brain.pid), Signal::SIGKILL).expect("it can be killed");
    let back = back_within(&cluster.tide, PATIENCE);
    support::tell(&format!(
        "the API answered {} ms after the brain was killed ({user:?})",
        back.as_millis()
    ));
    assert!(back < Duration::from_secs(15), "{back:?}");

    let writes = writer.wait(PATIENCE);
    let acknowledged: Vec<&str> = writes
        .out
        .lines()
        .filter_map(|line| line.strip_prefix("configmap/")?.strip_suffix(" created"))
        .collect();
    let stored = cluster.ok("kubectl get configmaps -o name");
    let stored: std::collections::BTreeSet<&str> = stored
        .lines()
        .filter_map(|line| line.strip_prefix("configmap/"))
        .collect();
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|name| !stored.contains(*name))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(acknowledged.len() > 50);

    for pod in &pods {
        assert!(is_alive(pod), "{pod:?} went on while the brain was away");
    }
    cluster.comes_to_say("kubectl get deployment web", &["3/3"]);
    let restarts = "kubectl get pods -l app=web -o jsonpath='{.items[*].status.containerStatuses[0].restartCount}'";
    assert_eq!(cluster.ok(restarts), "0 0 0");
    // The new brain is in charge.
    cluster.ok("kubectl scale deployment web --replicas=4");
    cluster.comes_to_say("kubectl get deployment web", &["4/4"]);
    let (requests, outcome) = end(load);
    support::tell(&format!(
        "the brain killed under load of 8 users ({user:?}): {} of {} requests failed",
        requests.failed, requests.all
    ));
    assert!(
        requests.failed <= 8,
        "at most those that were in flight: {outcome:#?}"
    );
    assert!(requests.all > 100, "{outcome:#?}");
}

/// How long the API takes to answer. Its socket is never closed, so one question is enough.
fn back_within(tide: &Tide, bound: Duration) -> Duration {
    let deadline = Deadline::within(bound);
    loop {
        let mut command = std::process::Command::new("curl");
        command.args([
            "-sk",
            "--max-time",
            "30",
            "-o",
            "/dev/null",
            &format!("{}/livez", tide.server()),
        ]);
        if run(command, bound).status == Some(0) {
            return deadline.elapsed();
        }
        assert!(
            deadline.left().is_some(),
            "the API is not back within {bound:?}"
        );
        look_again();
    }
}
