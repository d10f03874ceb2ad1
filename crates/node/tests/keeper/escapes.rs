//! Ways out of a container, all of them shut. Each is tried with the default capabilities and with
//! all a container can be given.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use springtide_node::keeper::{Capabilities, Listen};
use tokio::net::TcpListener;

use crate::node::Node;
use crate::runner::Scenario;
use crate::scenario;

pub(crate) fn all() -> Vec<Scenario> {
    vec![
        scenario!(a_container_cannot_read_what_is_the_hosts_alone),
        scenario!(a_container_cannot_write_to_the_host),
        scenario!(a_container_cannot_change_mounts),
        scenario!(a_container_gets_no_privileges),
        scenario!(a_container_sees_only_its_pods_processes),
        scenario!(a_container_cannot_leave_its_cgroup),
        scenario!(a_container_inherits_no_descriptors),
        scenario!(a_pod_does_not_reach_the_hosts_loopback),
        scenario!(a_pod_cannot_send_as_another),
    ]
}

/// Runs lines of shell in two containers, each line expected to fail.
async fn all_fail(node: &mut Node, what: &str, lines: &[&str]) {
    let attempts: String = lines
        .iter()
        .map(|line| {
            format!(
                "if ( {line} ) >/dev/null 2>/tmp/why; then echo \"ESCAPED: {}\"; fi\n",
                line.replace(['"', '$', '`'], "_")
            )
        })
        .collect();
    let everything = Capabilities::adjusted(&["ALL"], &[]).unwrap();
    for (name, capabilities) in [
        ("default", Capabilities::default()),
        ("everything", everything),
    ] {
        // The last shows that what succeeds is noticed.
        let script = format!("{attempts}if ( true ); then echo \"ESCAPED: true\"; fi");
        let container = format!("{what}-{name}");
        let mut spec = node.spec("web", &container, &["/bin/bash", "-c", &script]);
        spec.capabilities = capabilities;
        let key = node.start(spec).await;
        let (code, output) = node.finish(&key).await;
        assert_eq!(
            (code, output.as_str()),
            (0, "ESCAPED: true\n"),
            "with {name} capabilities"
        );
    }
}

async fn a_container_cannot_read_what_is_the_hosts_alone(mut node: Node) {
    node.pod("web", 5).await;
    fs::write(node.folder.join("secret"), "of the node").unwrap();
    // Anyone who finds it may read this one.
    fs::set_permissions(&node.folder, fs::Permissions::from_mode(0o755)).unwrap();
    let folder = node.folder.display().to_string();
    let secret = format!("cat {folder}/secret");
    let through_init = format!("cat /proc/1/root{folder}/secret");
    all_fail(
        &mut node,
        "all",
        &[
            "cat /etc/shadow",
            "cat /etc/gshadow",
            &secret,
            &through_init,
            "ls -A /home | grep -q .",
            "ls -A /root | grep -q .",
            "test -e /run/systemd",
            "test -e /var/run/docker.sock",
            "cat /proc/kcore | head -c 1 | grep -q .",
            "grep -q . /proc/keys",
            "grep -q . /proc/timer_list",
            "dmesg",
        ],
    )
    .await;
}

async fn a_container_cannot_write_to_the_host(mut node: Node) {
    node.pod("web", 5).await;
    all_fail(
        &mut node,
        "all",
        &[
            "touch /x",
            "touch /etc/x",
            "touch /usr/bin/x",
            "touch /var/lib/x",
            "touch /opt/x",
            "echo >> /etc/passwd",
            "echo >> /run/springtide/bin/tide",
            "echo x > /proc/sys/kernel/core_pattern",
            "echo 0 > /proc/sys/kernel/randomize_va_space",
            "echo h > /proc/sysrq-trigger",
            "touch /sys/x",
            "mknod /tmp/disk b 8 0 && head -c 1 /tmp/disk",
            "mknod /tmp/mem c 1 1 && head -c 1 /tmp/mem",
            "mknod /dev/kmsg c 1 11 && echo x > /dev/kmsg",
        ],
    )
    .await;
}

async fn a_container_cannot_change_mounts(mut node: Node) {
    node.pod("web", 5).await;
    all_fail(
        &mut node,
        "all",
        &[
            "mount -o remount,rw /",
            "mount -o remount,bind,rw /",
            "mount -o remount,bind,rw /usr",
            "mount -o remount,bind,rw /etc",
            "umount /proc/sys",
            "umount /proc/keys",
            "umount -l /proc/sys",
            "umount -l /sys",
            "umount /etc/resolv.conf",
            "mount --bind /tmp /usr",
            "mount -t tmpfs none /mnt",
            "mount -t proc proc /tmp",
            "mount -t sysfs sysfs /tmp",
            "pivot_root / /tmp",
            "nsenter -t 1 -m true",
            "nsenter -t 1 -a true",
        ],
    )
    .await;
}

async fn a_container_gets_no_privileges(mut node: Node) {
    node.pod("web", 5).await;
    all_fail(
        &mut node,
        "all",
        &[
            "unshare -U true",
            "unshare -Urm true",
            "unshare -m true",
            "unshare -n true",
            "grep -qv NoNewPrivs:.1 <(grep NoNewPrivs /proc/self/status)",
            // CAP_SYS_ADMIN is bit 21.
            "(( 0x$(sed -n s/CapBnd://p /proc/self/status | tr -d '\\t') >> 21 & 1 ))",
            "(( 0x$(sed -n s/CapEff://p /proc/self/status | tr -d '\\t') >> 21 & 1 ))",
            "hostname other",
        ],
    )
    .await;
}

async fn a_container_sees_only_its_pods_processes(mut node: Node) {
    node.pod("web", 5).await;
    node.pod("other", 6).await;
    let other = node.start_script("other", "echo up; exec sleep 4242").await;
    node.wait_for_output(&other, "up").await;
    if node.client.facts().proc_is_hosts {
        println!("the host's /proc is all there is: who is seen is not tried");
    } else {
        // The other pod's command is the only one of this name; and of this pod there are the
        // init, this shell, and what it runs.
        let others = [
            "cat /proc/[0-9]*/comm | grep -q ^sleep$",
            "test $(ls /proc | grep -c '^[0-9]') -gt 8",
        ];
        all_fail(&mut node, "seen", &others).await;
    }
    all_fail(
        &mut node,
        "reached",
        &[
            "cat /proc/1/environ | grep -q .",
            "cat /proc/1/maps | grep -q .",
            "ls /proc/1/fd",
            "ls /proc/1/root/",
            "readlink /proc/1/exe",
            "gdb -p 1 -batch 2>&1 | grep -q 'Attaching.*0x'",
            "python3 -c 'import ctypes, os, sys; sys.exit(0 if ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0 else 1)'",
            "kill -9 1 && ! kill -0 1",
        ],
    )
    .await;
    // No signal from inside ends the init.
    let (code, _) = node.run("web", "kill -9 1; kill -TERM 1; kill -0 1").await;
    assert_eq!(code, 0);
    // To everyone but the sender: there is only the init.
    node.run("web", "kill -9 -1").await;
    assert_eq!(node.run("web", "echo alive").await.1, "alive\n");
    let inventory = node.client.inventory().await.unwrap();
    assert!(
        inventory
            .containers
            .iter()
            .any(|container| container.key == other)
    );
}

async fn a_container_cannot_leave_its_cgroup(mut node: Node) {
    node.pod("web", 5).await;
    all_fail(
        &mut node,
        "all",
        &[
            "for f in $(find /sys/fs/cgroup -name cgroup.procs 2>/dev/null); do echo $$ > $f && exit 0; done; exit 1",
            "mount -t cgroup2 none /tmp",
            "mount -t cgroup -o memory none /tmp",
            "mount -t cgroup -o cpu none /tmp",
            "unshare -C true",
        ],
    )
    .await;
}

async fn a_container_inherits_no_descriptors(mut node: Node) {
    node.pod("web", 5).await;
    let key = node.start_script("web", "exec ls -l /proc/self/fd").await;
    let (_, output) = node.finish(&key).await;
    let kept: Vec<&str> = output
        .lines()
        .filter_map(|line| line.split(" -> ").nth(1))
        .collect();
    assert_eq!(
        kept.len(),
        4,
        "three streams and the folder being read: {output}"
    );
    assert_eq!(kept[0], "/dev/null");
}

async fn a_pod_does_not_reach_the_hosts_loopback(mut node: Node) {
    node.pod("web", 5).await;
    let everywhere = Listen::HostTcp("0.0.0.0:0".parse().unwrap());
    let (socket, address) = node.client.listen("host", everywhere).await.unwrap();
    let listener = TcpListener::from_std(socket.into()).unwrap();
    let in_mesh = Listen::MeshTcp(format!("127.0.0.1:{}", address.port()).parse().unwrap());
    let (socket, _) = node.client.listen("mesh", in_mesh).await.unwrap();
    let mesh_listener = TcpListener::from_std(socket.into()).unwrap();
    let port = address.port();
    let attempts: String = [
        "127.0.0.1",
        "169.254.1.1",
        "10.244.0.1",
        "10.96.0.1",
        "0.0.0.0",
    ]
    .iter()
    .map(|to| {
        format!(
            "timeout 1 bash -c 'exec 3<>/dev/tcp/{to}/{port}' 2>/dev/null && echo reached {to}\n"
        )
    })
    .collect();
    let (_, output) = node.run("web", &format!("{attempts}true")).await;
    assert_eq!(output, "");
    let quiet = Duration::from_millis(50);
    assert!(
        tokio::time::timeout(quiet, listener.accept())
            .await
            .is_err()
    );
    assert!(
        tokio::time::timeout(quiet, mesh_listener.accept())
            .await
            .is_err()
    );
}

async fn a_pod_cannot_send_as_another(mut node: Node) {
    node.pod("web", 5).await;
    node.pod("liar", 6).await;
    node.pod("other", 7).await;
    let receive = "python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((\"\", 9))
print(\"up\", flush=True)
while True:
    d, a = s.recvfrom(100)
    print(a[0], d.decode(), flush=True)
'";
    let receiver = node.start_script("web", receive).await;
    node.wait_for_output(&receiver, "up").await;
    // UDP packets with any sender's address; the last is honest.
    let lie = "python3 -c '
import socket, struct
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for n, source in enumerate([\"10.244.0.7\", \"10.244.0.1\", \"10.96.0.1\", \"127.0.0.1\", \"10.244.0.99\", \"8.8.8.8\", \"10.244.0.6\"]):
    data = source.encode()
    head = struct.pack(\"!BBHHHBBH4s4s\", 0x45, 0, 28 + len(data), n, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(\"10.244.0.5\"))
    s.sendto(head + struct.pack(\"!HHHH\", 7, 9, 8 + len(data), 0) + data, (\"10.244.0.5\", 0))
'";
    let (code, output) = node.run("liar", lie).await;
    assert_eq!((code, output.as_str()), (0, ""));
    node.wait_for_output(&receiver, "10.244.0.6").await;
    assert_eq!(node.output(&receiver), "up\n10.244.0.6 10.244.0.6\n");
}
