//! The world around a kubelet under test.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodStatus, Secret, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;
use serde_json::{Value, json};
use springtide_client::EventType;
use springtide_machinery::clock::Clock;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::kubelet::cluster::{Cluster, ClusterError};
use crate::kubelet::config::Config;
use crate::kubelet::departure::Departure;
use crate::kubelet::runtime::*;
use crate::kubelet::transition::Happened;
use crate::kubelet::worker::Message;
use crate::kubelet::{Handler, Kubelet, Parts};
use crate::probes::{Check, Checker, Outcome, Target};

pub(super) const BASE: &str = "2026-01-02T03:04:05Z";

/// Everything that was asked of the kubelet's surroundings, in order, with the seconds since the
/// start of the test.
pub(super) struct World {
    clock: Clock,
    base: Timestamp,
    state: Mutex<State>,
    folder: tempfile::TempDir,
}

#[derive(Default)]
struct State {
    journal: Vec<String>,
    events: Vec<String>,
    pods: BTreeMap<String, Pod>,
    config_maps: BTreeMap<String, Arc<ConfigMap>>,
    runtime_events: Option<mpsc::UnboundedSender<RuntimeEvent>>,
    running: BTreeMap<ContainerRun, Timestamp>,
    found: Vec<FoundSandbox>,
    addresses: BTreeMap<PodUid, Ipv4Addr>,
    specs: Vec<ContainerSpec>,
    /// Containers that do not stop when they are told to.
    stubborn: BTreeSet<String>,
    /// Containers whose program cannot be started.
    broken: BTreeSet<String>,
    /// What checks of a container find; well when not told.
    unwell: BTreeSet<String>,
    hook_length: Duration,
    statuses_written: usize,
}

impl World {
    pub(super) fn new() -> Arc<Self> {
        let base: Timestamp = BASE.parse().expect("a time");
        Arc::new(Self {
            clock: Clock::simulated(base),
            base,
            state: Mutex::default(),
            folder: tempfile::tempdir().expect("a folder"),
        })
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock.clone()
    }

    pub(super) fn config(&self) -> Config {
        let node = "192.0.2.1".parse().expect("an address");
        let mut config = Config::detect(self.folder.path(), "n1", node);
        config.host_hosts.clear();
        // What a test leaves in memory outlives it.
        config.memory_dir = None;
        config
    }

    pub(super) fn kubelet_with(self: &Arc<Self>, cluster: Arc<dyn Cluster>) -> Kubelet {
        let handler = Handler {
            runtime: Arc::clone(self) as Arc<dyn Runtime>,
            checker: Arc::clone(self) as Arc<dyn Checker>,
        };
        Kubelet::new(Parts {
            config: self.config(),
            cluster,
            handlers: [("host".to_owned(), handler)].into(),
            departure: Arc::clone(self) as Arc<dyn Departure>,
            clock: self.clock.clone(),
        })
    }

    pub(super) fn kubelet(self: &Arc<Self>) -> Driver {
        Driver {
            kubelet: self.kubelet_with(Arc::clone(self) as Arc<dyn Cluster>),
            tasks: JoinSet::new(),
            found: BTreeMap::new(),
            world: Arc::clone(self),
        }
    }

    /// What runs is found by the next kubelet.
    pub(super) fn keep_running(&self) {
        let mut state = self.state.lock();
        let mut sandboxes: BTreeMap<PodUid, FoundSandbox> = BTreeMap::new();
        for (run, started_at) in &state.running {
            let address = state.addresses.get(&run.pod).copied();
            let found = sandboxes
                .entry(run.pod.clone())
                .or_insert_with(|| FoundSandbox {
                    uid: run.pod.clone(),
                    address,
                    made: MadeSandbox::default(),
                    containers: Vec::new(),
                });
            let started_at = *started_at;
            found
                .containers
                .push((run.clone(), Found::Running { started_at }));
        }
        state.found = sandboxes.into_values().collect();
    }

    fn note(&self, text: impl std::fmt::Display) {
        let elapsed = self.clock.now().duration_since(self.base);
        let seconds = elapsed.as_millis() as f64 / 1000.0;
        self.state.lock().journal.push(format!("{seconds} {text}"));
    }

    /// What was asked of the runtime, the balancers and the API, but for statuses.
    pub(super) fn journal(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().journal)
    }

    pub(super) fn events(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().events)
    }

    pub(super) fn statuses_written(&self) -> usize {
        self.state.lock().statuses_written
    }

    pub(super) fn status(&self, pod: &str) -> PodStatus {
        let state = self.state.lock();
        let pod = state.pods.get(pod).expect("the pod is there");
        pod.status.clone().unwrap_or_default()
    }

    pub(super) fn has(&self, pod: &str) -> bool {
        self.state.lock().pods.contains_key(pod)
    }

    pub(super) fn put_config_map(&self, name: &str, data: &Value) {
        let map = serde_json::from_value(json!({"metadata": {"name": name}, "data": data}));
        let map: ConfigMap = map.expect("a ConfigMap");
        self.state
            .lock()
            .config_maps
            .insert(name.to_owned(), Arc::new(map));
    }

    pub(super) fn stubborn(&self, container: &str) {
        self.state.lock().stubborn.insert(container.to_owned());
    }

    pub(super) fn broken(&self, container: &str) {
        self.state.lock().broken.insert(container.to_owned());
    }

    pub(super) fn unwell(&self, container: &str, unwell: bool) {
        let mut state = self.state.lock();
        if unwell {
            state.unwell.insert(container.to_owned());
        } else {
            state.unwell.remove(container);
        }
    }

    pub(super) fn hook_length(&self, length: Duration) {
        self.state.lock().hook_length = length;
    }

    pub(super) fn found(&self, sandbox: FoundSandbox) {
        let mut state = self.state.lock();
        for (run, found) in &sandbox.containers {
            if let Found::Running { started_at } = found {
                state.running.insert(run.clone(), *started_at);
            }
        }
        state.found.push(sandbox);
    }

    pub(super) fn spec(&self, container: &str) -> ContainerSpec {
        let state = self.state.lock();
        let mut specs = state.specs.iter().rev();
        specs
            .find(|spec| spec.run.container == container)
            .cloned()
            .expect("it was started")
    }

    /// Ends the container's running process.
    pub(super) fn exit(&self, container: &str, code: i32) {
        let state = self.state.lock();
        let run = state.running.keys().find(|run| run.container == container);
        let run = run.expect("it runs").clone();
        drop(state);
        self.end(&run, code, None, false);
    }

    pub(super) fn end(&self, run: &ContainerRun, code: i32, signal: Option<i32>, oom: bool) {
        let mut state = self.state.lock();
        let Some(started_at) = state.running.remove(run) else {
            return;
        };
        let exit = Exit {
            run: run.clone(),
            code,
            signal,
            oom_killed: oom,
            started_at,
            finished_at: self.clock.now(),
        };
        let events = state.runtime_events.as_ref().expect("adopted");
        events.send(RuntimeEvent::Exited(exit)).expect("a listener");
    }
}

#[async_trait]
impl Cluster for World {
    async fn write_status(&self, pod: &Pod, status: &PodStatus) -> Result<(), ClusterError> {
        let mut state = self.state.lock();
        state.statuses_written += 1;
        let name = pod.metadata.name.clone().unwrap_or_default();
        let known = state.pods.get_mut(&name).ok_or(ClusterError::Gone)?;
        known.status = Some(status.clone());
        Ok(())
    }

    async fn delete_pod(&self, pod: &Pod) -> Result<(), ClusterError> {
        let name = pod.metadata.name.clone().unwrap_or_default();
        self.note(format!("delete {name}"));
        self.state.lock().pods.remove(&name);
        Ok(())
    }

    async fn config_map(
        &self,
        _: &str,
        name: &str,
    ) -> Result<Option<Arc<ConfigMap>>, ClusterError> {
        Ok(self.state.lock().config_maps.get(name).cloned())
    }

    async fn secret(&self, _: &str, _: &str) -> Result<Option<Arc<Secret>>, ClusterError> {
        Ok(None)
    }

    async fn services(&self, _: &str) -> Vec<Arc<Service>> {
        Vec::new()
    }

    async fn runtime_handler(&self, class: &str) -> Result<Option<String>, ClusterError> {
        Ok((class != "none").then(|| class.to_owned()))
    }

    fn event(&self, _: &Pod, _: Option<&str>, kind: EventType, reason: &str, message: &str) {
        let text = format!("{} {reason}: {message}", kind.as_str());
        self.state.lock().events.push(text);
    }
}

#[async_trait]
impl Departure for World {
    async fn leave(&self, pod: &Pod) {
        self.note(format!(
            "leave {}",
            pod.metadata.name.clone().unwrap_or_default()
        ));
    }
}

#[async_trait]
impl Checker for World {
    async fn check(&self, target: &Target, _: &Check, _: Duration) -> Outcome {
        if self.state.lock().unwell.contains(&target.run.container) {
            Outcome::Failure("HTTP probe failed with statuscode: 503".to_owned())
        } else {
            Outcome::Success
        }
    }

    async fn hook(&self, target: &Target, _: &Check, limit: Duration) -> Result<(), String> {
        self.note(format!("hook {}", target.run.container));
        let length = self.state.lock().hook_length;
        tokio::time::sleep(length.min(limit)).await;
        Ok(())
    }
}

#[async_trait]
impl Runtime for World {
    async fn adopt(
        &self,
        events: mpsc::UnboundedSender<RuntimeEvent>,
    ) -> Result<Vec<FoundSandbox>, RuntimeError> {
        let mut state = self.state.lock();
        state.runtime_events = Some(events);
        Ok(std::mem::take(&mut state.found))
    }

    async fn create_sandbox(&self, sandbox: &SandboxSpec) -> Result<MadeSandbox, RuntimeError> {
        let address = sandbox
            .address
            .map_or("host".to_owned(), |address| address.to_string());
        self.note(format!("sandbox {} {address}", sandbox.name));
        if let Some(address) = sandbox.address {
            let mut state = self.state.lock();
            state.addresses.insert(sandbox.uid.clone(), address);
        }
        Ok(MadeSandbox::default())
    }

    async fn start_container(&self, container: &ContainerSpec) -> Result<Started, RuntimeError> {
        let run = &container.run;
        self.note(format!("start {}/{}", run.container, run.attempt));
        let mut state = self.state.lock();
        state.specs.push(container.clone());
        if state.broken.contains(&run.container) {
            let message = "exec: \"nope\": executable file not found in $PATH";
            return Err(RuntimeError::CannotRun(message.to_owned()));
        }
        let at = self.clock.now();
        state.running.insert(run.clone(), at);
        Ok(Started { at, ready: None })
    }

    async fn signal(&self, run: &ContainerRun, signal: i32) -> Result<(), RuntimeError> {
        self.note(format!("signal {}/{} {signal}", run.container, run.attempt));
        let stubborn = self.state.lock().stubborn.contains(&run.container);
        match signal {
            9 => self.end(run, 137, Some(9), false),
            _ if !stubborn => self.end(run, 0, None, false),
            _ => {}
        }
        Ok(())
    }

    async fn exec(
        &self,
        _: &ContainerRun,
        _: &[String],
        _: Duration,
    ) -> Result<ExecEnd, RuntimeError> {
        Err(RuntimeError::NotFound)
    }

    async fn acknowledge(&self, run: &ContainerRun) -> Result<(), RuntimeError> {
        self.note(format!("acknowledge {}/{}", run.container, run.attempt));
        Ok(())
    }

    async fn remove_sandbox(&self, uid: &PodUid) -> Result<(), RuntimeError> {
        self.note(format!("remove {uid}"));
        Ok(())
    }

    async fn usage(&self) -> Result<Vec<Usage>, RuntimeError> {
        Ok(Vec::new())
    }
}

/// Drives a kubelet as its watch and its runtime would.
pub(super) struct Driver {
    pub(super) kubelet: Kubelet,
    tasks: JoinSet<()>,
    found: BTreeMap<PodUid, (Handler, FoundSandbox)>,
    world: Arc<World>,
}

impl Driver {
    /// Takes over what runs, and passes on what the runtime tells.
    pub(super) async fn begin(&mut self) {
        let (sender, mut events) = mpsc::unbounded_channel();
        let handler = self.kubelet.shared.handlers["host"].clone();
        for sandbox in handler.runtime.adopt(sender).await.expect("adopted") {
            if let Some(address) = sandbox.address {
                self.kubelet
                    .shared
                    .addresses
                    .lock()
                    .adopt(&sandbox.uid, address);
            }
            self.found
                .insert(sandbox.uid.clone(), (handler.clone(), sandbox));
        }
        let kubelet = self.kubelet.clone();
        self.tasks.spawn(async move {
            while let Some(event) = events.recv().await {
                kubelet.happened(event);
            }
        });
    }

    pub(super) fn drop_orphans(&mut self) {
        self.kubelet.drop_orphans(&mut self.found, &mut self.tasks);
    }

    /// A pod of this specification is bound to the node.
    pub(super) fn put(&mut self, name: &str, spec: &Value, more: &Value) {
        let mut object = json!({"metadata": {"name": name, "namespace": "shop", "uid": name},
            "spec": {"nodeName": "n1", "runtimeClassName": "host", "restartPolicy": "Always"}});
        let fields = spec.as_object().expect("an object").clone();
        object["spec"]
            .as_object_mut()
            .expect("an object")
            .extend(fields);
        if let Some(fields) = more.as_object() {
            object
                .as_object_mut()
                .expect("an object")
                .extend(fields.clone());
        }
        let pod: Pod = serde_json::from_value(object).expect("a pod");
        self.world
            .state
            .lock()
            .pods
            .insert(name.to_owned(), pod.clone());
        self.kubelet
            .applied(Arc::new(pod), &mut self.found, &mut self.tasks);
    }

    /// The pod is deleted with this grace.
    pub(super) fn delete(&mut self, name: &str, grace: i64) {
        let pod = {
            let mut state = self.world.state.lock();
            let pod = state.pods.get_mut(name).expect("the pod is there");
            let at = self.world.clock.now() + Duration::from_secs(grace.unsigned_abs());
            pod.metadata.deletion_timestamp = Some(Time(at));
            pod.metadata.deletion_grace_period_seconds = Some(grace);
            pod.clone()
        };
        self.kubelet
            .applied(Arc::new(pod), &mut self.found, &mut self.tasks);
    }

    /// The watch tells that the pod's object is gone.
    pub(super) fn gone(&self, name: &str) {
        let uid = PodUid(name.to_owned());
        self.kubelet.tell(&uid, Message::Happened(Happened::Gone));
    }

    pub(super) fn workers(&self) -> usize {
        self.kubelet.shared.workers.lock().len()
    }

    pub(super) fn address(&self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, 0, last)
    }
}

/// Lets time pass.
pub(super) async fn pass(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Lets everything happen that needs no time to speak of.
pub(super) async fn settle() {
    pass(Duration::from_millis(500)).await;
}
