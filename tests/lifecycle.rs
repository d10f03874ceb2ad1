//! Starting, stopping, starting again; nothing is lost and nothing is left behind.

// Every test uses a part of it.
#[allow(dead_code, unreachable_pub, unused_imports)]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::process::{Process, descendants, is_alive};
use support::wait::PATIENCE;
use support::{Cluster, Home, Kubectl, User, eventually, platform::free_node_port, run, web};

/// What a platform has of the machine while it runs.
struct Footprint {
    keeper: i32,
    processes: Vec<Process>,
    /// Those that its processes do not share with the tests.
    namespaces: BTreeSet<PathBuf>,
}

const NAMESPACES: [&str; 6] = ["net", "pid", "mnt", "ipc", "uts", "user"];

impl Footprint {
    fn of(keeper: i32) -> Self {
        let processes = descendants(keeper);
        let own = namespaces_of("self");
        let namespaces = processes
            .iter()
            .flat_map(|process| namespaces_of(&process.pid.to_string()))
            .filter(|namespace| !own.contains(namespace))
            .collect();
        Self {
            keeper,
            processes,
            namespaces,
        }
    }

    /// Checks that nothing of it is there any more, and that the machine's mounts are those there
    /// were `before`. A namespace whose processes are gone is gone unless something is mounted on
    /// it; its number may have been given to another meanwhile.
    fn assert_gone(&self, before: &str) {
        eventually("no process is left", || {
            !self.processes.iter().any(is_alive)
        });
        assert_eq!(cgroups_of(self.keeper), Vec::<PathBuf>::new());
        assert_eq!(mounts(), before);
    }
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").expect("there are mounts")
}

fn namespaces_of(pid: &str) -> BTreeSet<PathBuf> {
    NAMESPACES
        .iter()
        .filter_map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok())
        .collect()
}

/// The cgroups that carry a keeper's process id.
fn cgroups_of(keeper: i32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let is_its = entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(&format!("springtide-{keeper}-")));
            if is_its {
                found.push(entry.path());
            } else {
                folders.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn what_was_stored_is_there_after_a_restart_and_pods_run_again() {
    restart(User::Myself);
}

#[test]
fn what_an_ordinary_user_stored_is_there_after_a_restart() {
    restart(User::Nobody);
}

fn restart(user: User) {
    if !user.is_possible() {
        return;
    }
    let Some(kubectl) = Kubectl::newest() else {
        return;
    };
    let home = Home::new(user);
    home.command(&["status"])
        .expect_failure(3, &["not running"]);
    let node_port = free_node_port();
    let before = {
        let cluster = Cluster::new(home.up(&[]), &kubectl);
        web::start(&cluster, 3, node_port);
        cluster.ok("kubectl create configmap settings --from-literal=colour=green");
        let status = home.command(&["status"]).expect_success();
        assert!(
            status.contains("running") && status.contains("nodes        1 of 1 ready"),
            "{status}"
        );
        let printed = home.command(&["kubeconfig"]).expect_success();
        assert_eq!(
            printed,
            fs::read_to_string(home.kubeconfig()).expect("it is there")
        );
        let stored = uids(&cluster);
        assert_eq!(home.command(&["down"]).expect_success(), "stopped\n");
        let outcome = cluster.tide_ended();
        assert_eq!(outcome.status, Some(0), "{outcome:#?}");
        stored
    };
    assert!(
        home.command(&["down"])
            .expect_success()
            .contains("nothing runs")
    );
    let cluster = Cluster::new(home.up(&[]), &kubectl);
    assert_eq!(
        uids(&cluster),
        before,
        "the same objects, with the same identities"
    );
    cluster.comes_to_say("kubectl get deployment web", &["3/3"]);
    cluster.comes_to_say(
        &format!("curl -sf --max-time 5 http://127.0.0.1:{node_port}/health"),
        &["ok"],
    );
    eventually("three pods run", || {
        cluster
            .ok("kubectl get pods -l app=web --field-selector status.phase=Running -o name")
            .lines()
            .count()
            == 3
    });
}

/// Objects that no controller replaces, with their identities.
fn uids(cluster: &Cluster) -> String {
    cluster.ok(
        "kubectl get namespaces,configmaps,services,deployments,replicasets \
         -o jsonpath='{range .items[*]}{.kind}/{.metadata.name} {.metadata.uid}{\"\\n\"}{end}'",
    )
}

#[test]
fn an_interrupt_stops_everything_and_leaves_nothing() {
    stop_cleanly(User::Myself, Signal::SIGINT);
}

#[test]
fn an_ordinary_users_interrupt_leaves_nothing() {
    stop_cleanly(User::Nobody, Signal::SIGINT);
}

fn stop_cleanly(user: User, signal: Signal) {
    if !user.is_possible() {
        return;
    }
    let Some(kubectl) = Kubectl::newest() else {
        return;
    };
    let home = Home::new(user);
    let before = mounts();
    let cluster = Cluster::new(home.up(&[]), &kubectl);
    web::start(&cluster, 3, free_node_port());
    let footprint = Footprint::of(cluster.tide.pid());
    assert!(
        footprint.processes.len() > 6,
        "brain, and an init and a program for each pod: {:?}",
        footprint.processes
    );
    assert!(
        footprint.namespaces.len() > 6,
        "pods have namespaces of their own"
    );
    let outcome = cluster.stop_by(signal);
    assert_eq!(outcome.status, Some(0), "{outcome:#?}");
    footprint.assert_gone(&before);
}

#[test]
fn the_death_of_the_keeper_is_the_death_of_the_node_and_the_next_start_cleans_up() {
    let Some(kubectl) = Kubectl::newest() else {
        return;
    };
    let home = Home::new(User::Myself);
    let before = mounts();
    let cluster = Cluster::new(home.up(&[]), &kubectl);
    web::start(&cluster, 2, free_node_port());
    cluster.ok("kubectl create configmap settings --from-literal=colour=green");
    let footprint = Footprint::of(cluster.tide.pid());
    drop(cluster.stop_by(Signal::SIGKILL));
    eventually("everything died with it", || {
        !footprint.processes.iter().any(is_alive)
    });
    let cluster = Cluster::new(home.up(&[]), &kubectl);
    cluster.says("kubectl get configmap settings", &["settings"]);
    cluster.comes_to_say("kubectl get deployment web", &["2/2"]);
    footprint.assert_gone(&before);
}

#[test]
fn a_keeper_that_becomes_the_new_program_keeps_its_pods() {
    let Some(kubectl) = Kubectl::newest() else {
        return;
    };
    let mut cluster = Cluster::new(Home::new(User::Myself).up(&[]), &kubectl);
    let node_port = free_node_port();
    web::start(&cluster, 2, node_port);
    let (brain, pods) = (cluster.tide.brain(), cluster.tide.pod_processes());
    assert!(brain.is_some() && !pods.is_empty());
    kill(Pid::from_raw(cluster.tide.pid()), Signal::SIGUSR2).expect("it runs");
    eventually("there is another brain", || {
        let now = cluster.tide.brain();
        now.is_some() && now != brain
    });
    assert!(cluster.tide.is_alive());
    cluster.comes_to_say("kubectl get deployment web", &["2/2"]);
    cluster.comes_to_say(
        &format!("curl -sf --max-time 5 http://127.0.0.1:{node_port}/health"),
        &["ok"],
    );
    assert!(pods.iter().all(is_alive), "no pod was started anew");
    let outcome = cluster.tide.home().command(&["status"]).expect_success();
    assert!(outcome.contains("running"), "{outcome}");
}

#[test]
fn a_platform_in_the_background_is_stopped_by_tide_down() {
    let Some(kubectl) = Kubectl::newest() else {
        return;
    };
    let home = Home::new(User::Myself);
    let started = home
        .command(&["up", "--detach", "--api-listen", "127.0.0.1:0"])
        .expect_success();
    let stop_at_the_end = StopAtTheEnd(&home);
    assert!(
        started.contains("ready in ") && started.contains("export KUBECONFIG="),
        "{started}"
    );
    home.command(&["up", "--api-listen", "127.0.0.1:0"])
        .expect_failure(1, &["already runs", "tide down"]);
    let nodes = run(
        kubectl.command(&home.kubeconfig(), &["get", "nodes"]),
        PATIENCE,
    )
    .expect_success();
    assert!(nodes.contains("Ready"), "{nodes}");
    let comes_to_be_told = |metrics: &str| {
        eventually(metrics, || {
            home.command(&["status"]).expect_success().contains(metrics)
        });
    };
    comes_to_be_told("metrics      http://127.0.0.1:");
    let scale = "scale deployment prometheus -n kube-system --replicas=0";
    let scale: Vec<&str> = scale.split(' ').collect();
    run(kubectl.command(&home.kubeconfig(), &scale), PATIENCE).expect_success();
    comes_to_be_told("metrics      none");
    drop(stop_at_the_end);
    home.command(&["status"])
        .expect_failure(3, &["not running"]);
}

struct StopAtTheEnd<'a>(&'a Home);

impl Drop for StopAtTheEnd<'_> {
    fn drop(&mut self) {
        let outcome = self.0.command(&["down"]);
        if outcome.status != Some(0) {
            eprintln!("tide down: {outcome:#?}");
        }
    }
}

#[test]
fn two_instances_run_side_by_side() {
    let Some(kubectl) = Kubectl::newest() else {
        return;
    };
    let one = Cluster::new(Home::new(User::Myself).up(&[]), &kubectl);
    let other = Cluster::new(Home::new(User::Myself).up(&[]), &kubectl);
    assert_ne!(one.tide.server(), other.tide.server());
    let (one_port, other_port) = (free_node_port(), free_node_port());
    web::start(&one, 2, one_port);
    web::start(&other, 1, other_port);
    one.says("kubectl get deployment web", &["2/2"]);
    other.says("kubectl get deployment web", &["1/1"]);
    one.comes_to_say("kubectl top pods", &["web-"]);
    let outcome = one.stop_by(Signal::SIGTERM);
    assert_eq!(outcome.status, Some(0), "{outcome:#?}");
    other.says(
        &format!("curl -sf --max-time 5 http://127.0.0.1:{other_port}/health"),
        &["ok"],
    );
}
