//! What scenarios do with a node.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use springtide_node::keeper::{
    Capabilities, Client, ContainerKey, ContainerSpec, EtcFiles, Event, Events, Exit, KeeperError,
    Limits, Root, Sandbox, SandboxSpec, User,
};

/// A brain's view of its node.
pub(crate) struct Node {
    pub(crate) client: Client,
    pub(crate) folder: PathBuf,
    events: Events,
    exits: BTreeMap<ContainerKey, Exit>,
    containers: u32,
}

impl Node {
    pub(crate) fn new(client: Client, events: Events, folder: PathBuf) -> Self {
        Self {
            client,
            folder,
            events,
            exits: BTreeMap::new(),
            containers: 0,
        }
    }

    pub(crate) fn sandbox_spec(pod: &str, last: u8) -> SandboxSpec {
        SandboxSpec {
            pod: pod.to_owned(),
            hostname: pod.to_owned(),
            address: Some(Ipv4Addr::new(10, 244, 0, last)),
            limits: Limits::default(),
            single_user: None,
        }
    }

    /// A pod at 10.244.0.`last`.
    pub(crate) async fn pod(&self, name: &str, last: u8) -> Sandbox {
        self.client
            .create_sandbox(Self::sandbox_spec(name, last))
            .await
            .unwrap()
    }

    pub(crate) fn key(pod: &str, container: &str) -> ContainerKey {
        ContainerKey {
            pod: pod.to_owned(),
            container: container.to_owned(),
            attempt: 0,
        }
    }

    pub(crate) fn spec(&self, pod: &str, container: &str, argv: &[&str]) -> ContainerSpec {
        let key = Self::key(pod, container);
        ContainerSpec {
            log: self.log_path(&key),
            key,
            argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
            env: vec![("GREETING".to_owned(), "hello".to_owned())],
            working_dir: None,
            user: User::default(),
            root: Root::Host,
            read_only_root: false,
            mounts: Vec::new(),
            etc: EtcFiles {
                resolv_conf: "nameserver 10.96.0.10\n".to_owned(),
                hosts: "127.0.0.1 localhost\n".to_owned(),
                hostname: format!("{pod}\n"),
            },
            limits: Limits::default(),
            capabilities: Capabilities::default(),
            oom_score_adj: 0,
        }
    }

    pub(crate) fn log_path(&self, key: &ContainerKey) -> PathBuf {
        self.folder
            .join("logs")
            .join(&key.pod)
            .join(&key.container)
            .join(format!("{}.log", key.attempt))
    }

    pub(crate) async fn start(&self, spec: ContainerSpec) -> ContainerKey {
        let key = spec.key.clone();
        self.try_start(spec).await.unwrap();
        key
    }

    pub(crate) async fn try_start(&self, spec: ContainerSpec) -> Result<(), KeeperError> {
        self.client.start_container(spec).await.map(drop)
    }

    /// Starts a shell script in a pod.
    pub(crate) async fn start_script(&mut self, pod: &str, script: &str) -> ContainerKey {
        self.containers += 1;
        let name = format!("c{}", self.containers);
        self.start(self.spec(pod, &name, &["/bin/sh", "-c", script]))
            .await
    }

    /// Waits for a container's end, and acknowledges it.
    pub(crate) async fn exit(&mut self, key: &ContainerKey) -> Exit {
        loop {
            if let Some(exit) = self.exits.remove(key) {
                self.client.acknowledge(key).await.unwrap();
                return exit;
            }
            match self.events.recv().await.expect("the keeper lives") {
                Event::ContainerExited(exit) => {
                    self.exits.insert(exit.key.clone(), exit);
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
    }

    pub(crate) async fn next_event(&mut self) -> Event {
        self.events.recv().await.expect("the keeper lives")
    }

    /// Runs a shell script in a pod to its end: its exit code, and what it wrote.
    pub(crate) async fn run(&mut self, pod: &str, script: &str) -> (i32, String) {
        let key = self.start_script(pod, script).await;
        self.finish(&key).await
    }

    /// The exit code of a container, and what it wrote.
    pub(crate) async fn finish(&mut self, key: &ContainerKey) -> (i32, String) {
        let exit = self.exit(key).await;
        (exit.code, self.output(key))
    }

    /// What a container wrote so far, without times and streams.
    pub(crate) fn output(&self, key: &ContainerKey) -> String {
        let log = fs::read_to_string(self.log_path(key)).unwrap_or_default();
        log.lines()
            .map(|line| format!("{}\n", line.splitn(4, ' ').nth(3).unwrap()))
            .collect()
    }

    /// Waits until a container has written something.
    pub(crate) async fn wait_for_output(&self, key: &ContainerKey, text: &str) {
        self.wait_until(|| self.output(key).contains(text)).await;
    }

    /// Waits for a condition; the scenario's limit bounds it.
    pub(crate) async fn wait_until(&self, condition: impl Fn() -> bool) {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(5));
        while !condition() {
            tick.tick().await;
        }
    }
}
