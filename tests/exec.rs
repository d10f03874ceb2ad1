//! Talking with containers by kubectl: exec, cp and attach.

// Every test uses a part of it.
#[allow(dead_code, unreachable_pub, unused_imports)]
mod support;

use support::{Cluster, Home, Kubectl, User};

const BOX: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: box}
spec:
  runtimeClassName: host
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: shell
      command: [sh, -c, 'trap exit TERM; while true; do echo tick; sleep 0.2; done']
    - name: other
      image: shell
      command: [sleep, '1000']
      env: [{name: WHO, value: the other}]
";

#[test]
fn commands_run_in_containers_and_files_go_in_and_out() {
    talk(User::Myself, Kubectl::newest());
}

#[test]
fn commands_run_in_containers_on_a_platform_of_an_ordinary_user() {
    talk(User::Nobody, Kubectl::newest());
}

#[test]
fn commands_run_in_containers_with_an_old_kubectl() {
    talk(User::Myself, Kubectl::old());
}

fn talk(user: User, kubectl: Option<Kubectl>) {
    if !user.is_possible() {
        return;
    }
    let Some(kubectl) = kubectl else {
        return;
    };
    let cluster = Cluster::new(Home::new(user).up(&[]), &kubectl);
    cluster.apply(BOX);
    cluster.ok("kubectl wait --for=condition=Ready pod/box --timeout=60s");

    cluster.says(
        "kubectl exec box -c other -- sh -c 'echo I am $WHO'",
        &["I am the other\n"],
    );
    cluster
        .run("kubectl exec box -- sh -c 'echo seen; echo heard >&2; exit 3'")
        .expect_failure(3, &["heard", "command terminated with exit code 3"]);
    cluster.says("printf 'a\nb\n' | kubectl exec -i box -- wc -l", &["2\n"]);
    cluster.refuses(
        "kubectl exec box -- no-such-thing",
        &["exec: \"no-such-thing\": executable file not found in $PATH"],
    );
    cluster.refuses(
        "kubectl exec box -c nobody -- true",
        &["container nobody is not valid for pod box"],
    );
    cluster.refuses(
        "kubectl exec nobody -- true",
        &["pods \"nobody\" not found"],
    );
    cluster.refuses(
        "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false kubectl exec box -- true",
        &["commands are run over a WebSocket only"],
    );

    // More than any buffer between the two holds.
    cluster.ok("head -c 3000000 /dev/urandom > sent && kubectl cp sent box:/tmp/sent");
    cluster.ok("kubectl cp box:/tmp/sent received && cmp sent received");
    cluster.ok("kubectl exec -i box -- cat < sent | cmp sent -");

    cluster.watches(
        &cluster.work(),
        "kubectl attach box -c main",
        &["tick\ntick\n"],
    );
}
