//! What a keeper does for its brain.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use springtide_node::MeshNamespace;
use springtide_node::keeper::{
    Capabilities, ContainerState, Event, ExecStdio, ExecStreams, Ids, Inventory, KeeperError,
    Limits, Listen, Mount, User, resize_terminal,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::node::Node;
use crate::runner::{Scenario, just_wait, wait_until};
use crate::scenario;

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        scenario!(a_container_runs_writes_and_ends),
        scenario!(what_a_container_started_ends_with_it),
        scenario!(a_command_that_does_not_exist_is_said_in_kubernetes_words),
        scenario!(mounts_appear_where_they_are_wanted),
        scenario!(a_container_runs_as_the_user_it_asks_for),
        scenario!(capabilities_are_what_was_asked_for),
        scenario!(commands_run_in_a_running_container),
        scenario!(commands_can_be_talked_with),
        scenario!(a_command_with_a_terminal_has_one),
        scenario!(pods_reach_each_other_and_service_addresses),
        scenario!(limits_hold_and_use_is_measured),
        scenario!(containers_of_a_pod_share_its_network_and_memory),
        scenario!(a_host_network_pod_has_the_hosts_network),
        scenario!(a_pod_whose_init_is_killed_is_reported),
        scenario!(orders_can_be_repeated),
        scenario!(fifty_sandboxes_start_quickly),
        scenario!(a_brain_that_is_killed_takes_nothing_with_it),
        scenario!(a_keeper_that_is_upgraded_keeps_everything),
        scenario!(
            a_keeper_that_is_killed_takes_everything_with_it,
            kill_the_keeper
        ),
        scenario!(
            a_keeper_that_is_told_to_stop_tells_its_brain,
            stop_the_keeper
        ),
    ]
}

async fn a_container_runs_writes_and_ends(mut node: Node) {
    let made = node.pod("web", 5).await;
    assert_eq!(made.address, Some(Ipv4Addr::new(10, 244, 0, 5)));
    let (code, output) = node
        .run(
            "web",
            "echo $GREETING from $(hostname); cat /etc/resolv.conf /etc/hosts; exit 7",
        )
        .await;
    assert_eq!(code, 7);
    assert_eq!(
        output,
        "hello from web\nnameserver 10.96.0.10\n127.0.0.1 localhost\n"
    );
    let (code, _) = node.run("web", "kill -TERM $$").await;
    assert_eq!(code, 128 + 15);
    // Found by PATH, wherever it was built.
    let spec = node.spec("web", "tide", &["tide", "no-such-test"]);
    let key = node.start(spec).await;
    let (code, output) = node.finish(&key).await;
    assert_eq!(code, 0, "{output}");
    node.client.remove_sandbox("web").await.unwrap();
    assert!(node.client.inventory().await.unwrap().sandboxes.is_empty());
}

async fn what_a_container_started_ends_with_it(mut node: Node) {
    node.pod("web", 5).await;
    let witness = node.start_script("web", "echo up; exec sleep 1000").await;
    let script = "sh -c 'setsid sleep 777 & setsid sleep 777 & wait' & sleep 0.1; echo done";
    let (code, output) = node.run("web", script).await;
    assert_eq!((code, output.as_str()), (0, "done\n"));
    // Only the other container's is left; the killed ones may still be on their way out.
    let count = ["/bin/sh", "-c", "cat /proc/[0-9]*/comm | grep -c '^sleep$'"].map(str::to_owned);
    for _ in 0..200 {
        let outcome = node
            .client
            .exec(&witness, count.to_vec(), SECONDS_5)
            .await
            .unwrap();
        if outcome.output == b"1\n" {
            return;
        }
    }
    panic!("something of the container lives on");
}

async fn a_command_that_does_not_exist_is_said_in_kubernetes_words(node: Node) {
    node.pod("web", 5).await;
    let cases: [(&[&str], &str); 4] = [
        (
            &["no-such-thing"],
            r#"exec: "no-such-thing": executable file not found in $PATH"#,
        ),
        (
            &["/no/such"],
            r#"exec: "/no/such": stat /no/such: no such file or directory"#,
        ),
        (
            &["/etc/hostname"],
            r#"exec: "/etc/hostname": permission denied"#,
        ),
        (&[], "no command specified"),
    ];
    for (index, (argv, message)) in cases.into_iter().enumerate() {
        let spec = node.spec("web", &format!("c{index}"), argv);
        let error = node.try_start(spec).await.unwrap_err();
        assert_eq!(
            error,
            KeeperError::Start {
                message: message.to_owned(),
                code: 128
            }
        );
    }
    let mut spec = node.spec("web", "cwd", &["true"]);
    spec.working_dir = Some("/no/such".into());
    let error = node.try_start(spec).await.unwrap_err().to_string();
    assert_eq!(
        error,
        r#"chdir to cwd ("/no/such") set in config.json failed: no such file or directory"#
    );
    let mut spec = node.spec("web", "mount", &["true"]);
    let (source, target) = ("/no/such".into(), "/mnt/x".into());
    spec.mounts.push(Mount {
        source,
        target,
        read_only: true,
    });
    let error = node.try_start(spec).await.unwrap_err().to_string();
    assert_eq!(error, "cannot mount /no/such: no such file or directory");
    let error = node
        .try_start(node.spec("other", "c", &["true"]))
        .await
        .unwrap_err();
    assert_eq!(error, KeeperError::NoSandbox("other".to_owned()));
}

async fn mounts_appear_where_they_are_wanted(mut node: Node) {
    node.pod("web", 5).await;
    let content = node.folder.join("content");
    fs::create_dir(&content).unwrap();
    fs::write(content.join("key"), "value\n").unwrap();
    let shared = node.folder.join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
    let script = "set -e
        cat /etc/config/key /usr/share/deep/er/key /etc/single /data/sub/key
        echo written > /data/file
        for d in / /etc /etc/config /usr /usr/share/deep; do
            if echo x 2>/dev/null > $d/x; then echo wrote to $d; fi
        done
        test -d /usr/share/doc; test -e /etc/passwd; echo kept
        echo y > /tmp/y; echo y > /run/y; echo y > /dev/shm/y; echo y > $HOME/y
        readlink /etc/resolv.conf || cat /etc/resolv.conf";
    let mut spec = node.spec("web", "c", &["/bin/sh", "-c", script]);
    spec.env.push(("HOME".to_owned(), "/root".to_owned()));
    let mount = |source: &Path, target: &str, read_only| Mount {
        source: source.to_owned(),
        target: target.into(),
        read_only,
    };
    spec.mounts = vec![
        // Listed before the folder it is in.
        mount(&content, "/data/sub", true),
        mount(&content, "/etc/config", true),
        mount(&content.join("key"), "/etc/single", true),
        mount(&content, "/usr/share/deep/er", true),
        mount(&shared, "/data", false),
    ];
    fs::create_dir(shared.join("sub")).unwrap();
    let key = node.start(spec).await;
    let (code, output) = node.finish(&key).await;
    let expected = "value\nvalue\nvalue\nvalue\nkept\nnameserver 10.96.0.10\n";
    assert_eq!((code, output.as_str()), (0, expected));
    assert_eq!(
        fs::read_to_string(shared.join("file")).unwrap(),
        "written\n"
    );
    let mut spec = node.spec("web", "d", &["/bin/sh", "-c", "echo y > /tmp/y"]);
    spec.read_only_root = true;
    let key = node.start(spec).await;
    assert_ne!(node.finish(&key).await.0, 0);
}

async fn a_container_runs_as_the_user_it_asks_for(mut node: Node) {
    let ids = node.client.facts().ids;
    let mut pod = Node::sandbox_spec("web", 5);
    pod.single_user = Some((1000, 2000));
    node.client.create_sandbox(pod).await.unwrap();
    let mut spec = node.spec(
        "web",
        "c",
        &[
            "/bin/sh",
            "-c",
            "id -u; id -g; grep CapEff /proc/self/status",
        ],
    );
    spec.user = User {
        uid: 1000,
        gid: 2000,
        groups: vec![3000],
    };
    let key = node.start(spec).await;
    let (_, output) = node.finish(&key).await;
    assert_eq!(output, "1000\n2000\nCapEff:\t0000000000000000\n");
    let mut spec = node.spec("web", "d", &["true"]);
    spec.user.uid = if ids == Ids::Range { 70_000 } else { 0 };
    let error = node.try_start(spec).await.unwrap_err().to_string();
    assert!(
        error.starts_with("the container wants to run as"),
        "{error}"
    );
}

async fn capabilities_are_what_was_asked_for(mut node: Node) {
    node.pod("web", 5).await;
    let script = "grep -E '^(Cap(Prm|Eff|Bnd|Amb)|NoNewPrivs)' /proc/self/status";
    let (_, output) = node.run("web", script).await;
    let set = format!("{:016x}", Capabilities::default().bits());
    let none = "0000000000000000";
    assert_eq!(
        output,
        format!(
            "CapPrm:\t{set}\nCapEff:\t{set}\nCapBnd:\t{set}\nCapAmb:\t{none}\nNoNewPrivs:\t1\n"
        )
    );
    let mut spec = node.spec(
        "web",
        "none",
        &["/bin/sh", "-c", "grep CapBnd /proc/self/status"],
    );
    spec.capabilities = Capabilities::NONE;
    let key = node.start(spec).await;
    assert_eq!(node.finish(&key).await.1, format!("CapBnd:\t{none}\n"));
}

const SECONDS_5: Duration = Duration::from_secs(5);

async fn commands_run_in_a_running_container(mut node: Node) {
    node.pod("web", 5).await;
    let key = node
        .start_script("web", "echo mine > /tmp/file; echo up; exec sleep 1000")
        .await;
    node.wait_for_output(&key, "up").await;
    let exec = |script: &str, limit| {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
        node.client.exec(&key, argv, limit)
    };
    let outcome = exec("cat /tmp/file; echo $GREETING >&2; exit 3", SECONDS_5)
        .await
        .unwrap();
    assert_eq!(
        (outcome.code, outcome.output.as_slice()),
        (Some(3), &b"mine\nhello\n"[..])
    );
    let outcome = exec("echo begun; sleep 1000", Duration::from_millis(200))
        .await
        .unwrap();
    assert_eq!(
        (outcome.code, outcome.output.as_slice()),
        (None, &b"begun\n"[..])
    );
    let outcome = exec("head -c 300000 /dev/zero", SECONDS_5).await.unwrap();
    assert_eq!((outcome.code, outcome.output.len()), (Some(0), 64 << 10));
    let error = node
        .client
        .exec(&key, vec!["no-such".to_owned()], SECONDS_5)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"exec: "no-such": executable file not found in $PATH"#
    );
    node.client.signal(&key, 15).await.unwrap();
    let exit = node.exit(&key).await;
    assert_eq!((exit.code, exit.signal), (143, Some(15)));
    let gone = node
        .client
        .exec(&key, vec!["true".to_owned()], SECONDS_5)
        .await
        .unwrap_err();
    assert_eq!(gone, KeeperError::NoContainer(key));
}

/// Everything that comes out of a descriptor, until its end.
async fn read_all(from: OwnedFd) -> String {
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        // A terminal whose programs have all ended gives an error after what they wrote.
        let _ = fs::File::from(from).read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    tokio::time::timeout(SECONDS_5, read)
        .await
        .expect("an end in time")
        .expect("reading")
}

async fn commands_can_be_talked_with(mut node: Node) {
    node.pod("web", 5).await;
    let key = node.start_script("web", "echo up; exec sleep 1000").await;
    node.wait_for_output(&key, "up").await;
    let script = "read word; echo out $word $(cat); echo err >&2; exit 3";
    let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    let ExecStreams { end, stdio } = node
        .client
        .exec_stream(&key, argv, true, false)
        .await
        .unwrap();
    let ExecStdio::Pipes {
        stdout,
        stderr,
        stdin: Some(stdin),
    } = stdio
    else {
        panic!("no pipes: {stdio:?}");
    };
    let mut stdin = fs::File::from(stdin);
    stdin.write_all(b"one\ntwo\n").unwrap();
    drop(stdin);
    assert_eq!(read_all(stdout).await, "out one two\n");
    assert_eq!(read_all(stderr).await, "err\n");
    assert_eq!(read_all(end).await, "3");
    // Without a stdin it reads nothing.
    let streams = node
        .client
        .exec_stream(&key, vec!["cat".to_owned()], false, false)
        .await
        .unwrap();
    assert_eq!(read_all(streams.end).await, "0");
    for terminal in [false, true] {
        let argv = vec!["no-such".to_owned()];
        let error = node.client.exec_stream(&key, argv, true, terminal).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            r#"exec: "no-such": executable file not found in $PATH"#
        );
    }
    node.client.signal(&key, 15).await.unwrap();
    node.exit(&key).await;
}

async fn a_command_with_a_terminal_has_one(mut node: Node) {
    node.pod("web", 5).await;
    let key = node.start_script("web", "echo up; exec sleep 1000").await;
    node.wait_for_output(&key, "up").await;
    // The terminal's size is there when it is asked for, as the line comes later.
    let script = "read word; tty; echo $TERM; stty size; echo $word >/dev/tty; exec cat";
    let argv = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    let ExecStreams { end, stdio } = node
        .client
        .exec_stream(&key, argv, true, true)
        .await
        .unwrap();
    let ExecStdio::Terminal(control) = stdio else {
        panic!("no terminal: {stdio:?}");
    };
    resize_terminal(control.as_fd(), 33, 99).unwrap();
    let mut keys = fs::File::from(control.try_clone().unwrap());
    keys.write_all(b"word\n").unwrap();
    let mut screen = tokio::fs::File::from_std(fs::File::from(control.try_clone().unwrap()));
    let shown = read_screen(&mut screen, "99\r\nword\r\n").await;
    assert_eq!(shown, "word\r\n/dev/pts/0\r\nxterm\r\n33 99\r\nword\r\n");
    // Until cat answers, a Ctrl-C could come while the shell becomes cat, and be lost there.
    keys.write_all(b"more\n").unwrap();
    let shown = read_screen(&mut screen, "more\r\nmore\r\n").await;
    assert_eq!(shown, "more\r\nmore\r\n");
    // Ctrl-C.
    keys.write_all(&[3]).unwrap();
    assert_eq!(read_all(end).await, "130");
    node.client.signal(&key, 15).await.unwrap();
    node.exit(&key).await;
}

/// What a terminal shows, up to what is awaited.
async fn read_screen(screen: &mut tokio::fs::File, awaited: &str) -> String {
    let mut shown = String::new();
    while !shown.contains(awaited) {
        let mut bytes = [0; 256];
        let read = screen.read(&mut bytes);
        let count = tokio::time::timeout(SECONDS_5, read).await;
        let count = count.expect("an answer in time").expect("the terminal");
        shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    shown
}

/// Fetches a line from a TCP server, with nothing but the shell.
fn fetch(address: &str, port: u16) -> String {
    format!("bash -c 'exec 3<>/dev/tcp/{address}/{port} || exit 9; read -t 5 line <&3; echo $line'")
}

/// Serves one line to one caller, and tells who called.
const SERVE: &str = "python3 -c '
import socket
s = socket.create_server((\"\", 80))
print(\"up\", flush=True)
while True:
    c, a = s.accept()
    c.sendall(b\"from the pod\\n\")
    print(a[0], flush=True)
    c.close()
'";

async fn pods_reach_each_other_and_service_addresses(mut node: Node) {
    node.pod("web", 5).await;
    node.pod("client", 6).await;
    let server = node.start_script("web", SERVE).await;
    node.wait_for_output(&server, "up").await;
    let (_, output) = node.run("client", &fetch("10.244.0.5", 80)).await;
    assert_eq!(output, "from the pod\n");
    node.wait_for_output(&server, "10.244.0.6").await;

    // From the brain, through a socket made in the mesh namespace.
    let mesh = MeshNamespace::new(node.client.mesh_namespace()).unwrap();
    let mut stream = mesh
        .dial_tcp("10.244.0.5:80".parse().unwrap())
        .await
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "from the pod\n");
    node.wait_for_output(&server, "10.244.0.1").await;

    // Every Service address is local to the mesh.
    let wildcard = Listen::MeshTcp("0.0.0.0:8080".parse().unwrap());
    let (socket, _) = node.client.listen("8080", wildcard).await.unwrap();
    let listener = TcpListener::from_std(socket.into()).unwrap();
    let caller = node.start_script("client", &fetch("10.96.7.8", 8080)).await;
    let (mut stream, peer) = listener.accept().await.unwrap();
    assert_eq!(peer.ip().to_string(), "10.244.0.6");
    assert_eq!(stream.local_addr().unwrap().to_string(), "10.96.7.8:8080");
    stream.write_all(b"from the service\n").await.unwrap();
    drop(stream);
    assert_eq!(node.finish(&caller).await.1, "from the service\n");
    node.client.unlisten("8080").await.unwrap();
    let (code, _) = node.run("client", &fetch("10.96.7.8", 8080)).await;
    assert_eq!(code, 9, "a listener that was shut down refuses");

    // UDP, with the address that was asked.
    let wildcard = Listen::MeshUdp("0.0.0.0:53".parse().unwrap());
    let (socket, address) = node.client.listen("dns", wildcard).await.unwrap();
    assert_eq!(address.port(), 53);
    let socket = UdpSocket::from_std(socket.into()).unwrap();
    let caller = node
        .start_script("client", "bash -c 'echo question > /dev/udp/10.96.0.10/53'")
        .await;
    let mut question = [0; 100];
    let (count, peer) = socket.recv_from(&mut question).await.unwrap();
    assert_eq!(
        (&question[..count], peer.ip().to_string().as_str()),
        (&b"question\n"[..], "10.244.0.6")
    );
    node.finish(&caller).await;

    // A new pod with an old one's address is reached.
    node.client.remove_sandbox("web").await.unwrap();
    node.pod("web2", 5).await;
    let server = node.start_script("web2", SERVE).await;
    node.wait_for_output(&server, "up").await;
    let (_, output) = node.run("client", &fetch("10.244.0.5", 80)).await;
    assert_eq!(output, "from the pod\n");
}

async fn limits_hold_and_use_is_measured(mut node: Node) {
    let limited = node.client.facts().cgroups.enforces();
    node.pod("web", 5).await;
    let burn = "python3 -c '
import time
data = bytearray(b\"x\" * 40_000_000)
end = time.process_time() + 0.3
while time.process_time() < end: pass
print(\"burnt\", flush=True)
time.sleep(1000)
'";
    let mut spec = node.spec("web", "burner", &["/bin/sh", "-c", burn]);
    spec.limits = Limits {
        cpu_millis: Some(200),
        cpu_request_millis: Some(100),
        memory_bytes: Some(200 << 20),
        pids: Some(100),
    };
    let key = node.start(spec).await;
    node.wait_for_output(&key, "burnt").await;
    let usages = node.client.usages().await.unwrap();
    let (_, usage) = usages.iter().find(|(found, _)| *found == key).unwrap();
    assert!(
        (250_000_000..3_000_000_000).contains(&usage.cpu_nanos),
        "{usage:?}"
    );
    assert!(
        (40_000_000..150_000_000).contains(&usage.working_set_bytes),
        "{usage:?}"
    );
    assert!(
        (40_000_000..150_000_000).contains(&usage.rss_bytes),
        "{usage:?}"
    );
    if limited {
        assert!(usage.throttled_periods > 0, "{usage:?}");
    }
    node.client.kill(&key).await.unwrap();
    let exit = node.exit(&key).await;
    assert_eq!((exit.code, exit.oom_killed), (137, false));
    if !limited {
        println!("limits are not enforced here: not tried");
        return;
    }
    let mut spec = node.spec(
        "web",
        "eater",
        &["python3", "-c", "x = b'x' * 500_000_000; print(len(x))"],
    );
    spec.limits.memory_bytes = Some(64 << 20);
    let key = node.start(spec).await;
    let exit = node.exit(&key).await;
    assert_eq!((exit.code, exit.oom_killed), (137, true));
    let mut spec = node.spec(
        "web",
        "forker",
        &[
            "/bin/bash",
            "-c",
            "for i in $(seq 50); do sleep 1000 & done; wait",
        ],
    );
    spec.limits.pids = Some(20);
    let key = node.start(spec).await;
    let (code, output) = node.finish(&key).await;
    assert!(code != 0 && output.contains("fork"), "{code} {output}");
}

async fn containers_of_a_pod_share_its_network_and_memory(mut node: Node) {
    node.pod("web", 5).await;
    let server = node
        .start_script("web", &format!("echo shared > /dev/shm/x; {SERVE}"))
        .await;
    node.wait_for_output(&server, "up").await;
    let script = format!("cat /dev/shm/x; ls /tmp; {}", fetch("127.0.0.1", 80));
    assert_eq!(node.run("web", &script).await.1, "shared\nfrom the pod\n");
}

async fn a_host_network_pod_has_the_hosts_network(mut node: Node) {
    let mut spec = Node::sandbox_spec("web", 5);
    spec.address = None;
    node.client.create_sandbox(spec).await.unwrap();
    let here = fs::read_link("/proc/self/ns/net").unwrap();
    let (_, output) = node.run("web", "readlink /proc/self/ns/net").await;
    assert_eq!(output.trim(), here.to_str().unwrap());
}

async fn a_pod_whose_init_is_killed_is_reported(mut node: Node) {
    let pod = node.pod("web", 5).await;
    let key = node.start_script("web", "exec sleep 1000").await;
    kill(pod.pid);
    let exit = node.exit(&key).await;
    assert_eq!(exit.code, 137);
    assert_eq!(
        node.next_event().await,
        Event::SandboxExited {
            pod: "web".to_owned()
        }
    );
}

async fn orders_can_be_repeated(mut node: Node) {
    let first = node.pod("web", 5).await;
    assert_eq!(node.pod("web", 5).await, first);
    let spec = node.spec("web", "c", &["/bin/sh", "-c", "echo once; exec sleep 1000"]);
    let (one, two) = tokio::join!(
        node.client.start_container(spec.clone()),
        node.client.start_container(spec.clone())
    );
    let started = one.unwrap();
    assert_eq!(two.unwrap(), started);
    assert_eq!(
        node.client.start_container(spec.clone()).await.unwrap(),
        started
    );
    node.wait_for_output(&spec.key, "once").await;
    node.client.kill(&spec.key).await.unwrap();
    node.exit(&spec.key).await;
    node.client.acknowledge(&spec.key).await.unwrap();
    node.client.kill(&spec.key).await.unwrap();
    let again = node.client.start_container(spec.clone()).await.unwrap_err();
    assert_eq!(again, KeeperError::Over(spec.key.clone()));
    assert_eq!(node.output(&spec.key), "once\n");
    node.client.remove_sandbox("web").await.unwrap();
    node.client.remove_sandbox("web").await.unwrap();
}

async fn fifty_sandboxes_start_quickly(node: Node) {
    let began = tokio::time::Instant::now();
    for n in 0..50 {
        node.pod(&format!("pod{n}"), 10 + n).await;
    }
    let sandboxes = began.elapsed();
    let starts = (0..50).map(|n| {
        let spec = node.spec(&format!("pod{n}"), "c", &["/bin/sleep", "1000"]);
        node.client.start_container(spec)
    });
    for started in futures::future::join_all(starts).await {
        started.unwrap();
    }
    println!(
        "50 sandboxes in {sandboxes:?}, with a container each in {:?}",
        began.elapsed()
    );
    assert!(began.elapsed() < Duration::from_secs(15));
    // Inits share the keeper's memory until they write to it.
    let inventory = node.client.inventory().await.unwrap();
    let own: u64 = inventory
        .sandboxes
        .iter()
        .map(|sandbox| own_kilobytes(sandbox.pid))
        .sum();
    let keeper = own_kilobytes(node.client.facts().keeper_pid);
    println!("keeper {keeper} KB, inits {} KB each", own / 50);
    let began = tokio::time::Instant::now();
    let ends = (0..50).map(|n| {
        let client = node.client.clone();
        async move { client.remove_sandbox(&format!("pod{n}")).await.unwrap() }
    });
    futures::future::join_all(ends).await;
    println!("removed in {:?}", began.elapsed());
}

/// Memory that ends with a process, in KB; 0 where this user may not know.
fn own_kilobytes(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    text.lines()
        .filter(|line| line.starts_with("Private_"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum()
}

async fn a_brain_that_is_killed_takes_nothing_with_it(mut node: Node) {
    let public = Listen::HostTcp("127.0.0.1:0".parse().unwrap());
    let note = node.folder.join("port");
    let (long, short) = (Node::key("web", "long"), Node::key("web", "short"));
    if node.client.facts().restarts == 0 {
        let pod = node.pod("web", 5).await;
        node.start(node.spec(
            "web",
            "long",
            &[
                "/bin/sh",
                "-c",
                "echo up; while sleep 0.01; do echo tick; done",
            ],
        ))
        .await;
        node.start(node.spec("web", "short", &["/bin/sh", "-c", "sleep 0.2; exit 9"]))
            .await;
        let (_, address) = node.client.listen("api", public.clone()).await.unwrap();
        fs::write(&note, format!("{} {}", address.port(), pod.pid)).unwrap();
        node.wait_for_output(&long, "tick").await;
        kill(std::process::id().cast_signed());
        std::future::pending::<()>().await;
    }
    assert_eq!(node.client.facts().restarts, 1);
    let note = fs::read_to_string(&note).unwrap();
    let (port, pid) = note.split_once(' ').unwrap();
    // Connections are accepted, by the kernel, before the socket is asked for.
    let mut early = TcpStream::connect(format!("127.0.0.1:{port}"))
        .await
        .unwrap();
    let inventory = node.client.inventory().await.unwrap();
    assert_eq!(inventory.sandboxes[0].pid.to_string(), pid);
    assert_eq!(inventory.containers.len(), 2);
    assert!(matches!(
        inventory.containers[0].state,
        ContainerState::Running(_)
    ));
    assert_eq!(inventory.listeners[0].2.port().to_string(), port);
    let (socket, address) = node.client.listen("api", public).await.unwrap();
    assert_eq!(address.port().to_string(), port);
    let listener = TcpListener::from_std(socket.into()).unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(b"served").await.unwrap();
    drop(stream);
    let mut text = String::new();
    early.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "served");
    assert_eq!(node.exit(&short).await.code, 9);
    node.client.kill(&long).await.unwrap();
    assert_eq!(node.exit(&long).await.code, 137);
}

async fn a_keeper_that_is_upgraded_keeps_everything(mut node: Node) {
    let public = Listen::HostTcp("127.0.0.1:0".parse().unwrap());
    let note = node.folder.join("note");
    let (long, short) = (Node::key("web", "long"), Node::key("web", "short"));
    let keeper = node.client.facts().keeper_pid;
    if node.client.facts().restarts == 0 {
        node.pod("web", 5).await;
        let serve = format!("printf begun; {SERVE}");
        node.start(node.spec("web", "long", &["/bin/sh", "-c", &serve]))
            .await;
        node.wait_for_output(&long, "begunup").await;
        node.start(node.spec("web", "short", &["/bin/sh", "-c", "sleep 0.2; exit 9"]))
            .await;
        let (_, address) = node.client.listen("api", public.clone()).await.unwrap();
        let inventory = node.client.inventory().await.unwrap();
        let state = serde_json::to_string(&(keeper, address, inventory)).unwrap();
        fs::write(&note, state).unwrap();
        let told = Command::new("kill")
            .args(["-USR2", &keeper.to_string()])
            .status()
            .unwrap();
        assert!(told.success());
        std::future::pending::<()>().await;
    }
    let known: (i32, SocketAddr, Inventory) =
        serde_json::from_slice(&fs::read(note).unwrap()).unwrap();
    assert_eq!(known.0, keeper, "it is the same process");
    let inventory = node.client.inventory().await.unwrap();
    assert_eq!(inventory.sandboxes, known.2.sandboxes);
    assert_eq!(inventory.containers[0], known.2.containers[0]);
    assert_eq!(inventory.listeners, known.2.listeners);
    let (_, address) = node.client.listen("api", public).await.unwrap();
    assert_eq!(address, known.1);
    assert_eq!(node.exit(&short).await.code, 9);
    // The mesh, the output, and commands in the container work as before.
    node.pod("client", 6).await;
    let (_, output) = node.run("client", &fetch("10.244.0.5", 80)).await;
    assert_eq!(output, "from the pod\n");
    node.wait_for_output(&long, "10.244.0.6").await;
    let outcome = node
        .client
        .exec(&long, vec!["hostname".to_owned()], SECONDS_5)
        .await
        .unwrap();
    assert_eq!(outcome.output, b"web\n");
    node.client.kill(&long).await.unwrap();
    assert_eq!(node.exit(&long).await.code, 137);
}

async fn a_keeper_that_is_killed_takes_everything_with_it(mut node: Node) {
    let pod = node.pod("web", 5).await;
    let key = node
        .start_script("web", "echo up; trap '' TERM HUP; setsid sleep 1000 & wait")
        .await;
    node.wait_for_output(&key, "up").await;
    let containers = node.client.inventory().await.unwrap().containers;
    let ContainerState::Running(started) = &containers[0].state else {
        panic!()
    };
    let own = std::process::id();
    let text = format!("{own} {} {}", pod.pid, started.pid);
    fs::write(node.folder.join("pids.new"), text).unwrap();
    fs::rename(node.folder.join("pids.new"), node.folder.join("pids")).unwrap();
    std::future::pending::<()>().await;
}

fn kill_the_keeper(mut keeper: Child, folder: &Path) -> ExitStatus {
    let pids = wait_until(|| fs::read_to_string(folder.join("pids")).ok());
    keeper.kill().unwrap();
    keeper.wait().unwrap();
    let pids = pids.expect("the brain starts a pod");
    let all_gone = wait_until(|| {
        let alive = pids.split(' ').any(|pid| {
            fs::read_to_string(format!("/proc/{pid}/stat"))
                .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with('Z'))
        });
        (!alive).then_some(())
    });
    // The next keeper removes what this one left.
    let program = folder.parent().unwrap().join("tide");
    let mut command = Command::new(program);
    command
        .args(["keeper", "orders_can_be_repeated"])
        .arg(folder);
    let owner = fs::metadata(folder).unwrap();
    if owner.uid() != fs::metadata("/proc/self").unwrap().uid() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let next = command.spawn().unwrap().wait().unwrap();
    if all_gone.is_some() {
        next
    } else {
        ExitStatus::from_raw(1 << 8)
    }
}

async fn a_keeper_that_is_told_to_stop_tells_its_brain(mut node: Node) {
    node.pod("web", 5).await;
    fs::write(node.folder.join("ready"), "").unwrap();
    assert_eq!(node.next_event().await, Event::Stopping);
}

fn stop_the_keeper(keeper: Child, folder: &Path) -> ExitStatus {
    wait_until(|| folder.join("ready").exists().then_some(())).expect("the brain is ready");
    let told = Command::new("kill")
        .args(["-TERM", &keeper.id().to_string()])
        .status()
        .unwrap();
    assert!(told.success());
    just_wait(keeper, folder)
}

fn kill(pid: i32) {
    assert!(
        Command::new("kill")
            .args(["-KILL", &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}
