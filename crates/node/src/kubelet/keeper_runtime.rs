//! The keeper as the kubelet's runtime.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;
use springtide_machinery::clock::Clock;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::runtime::{
    Bounds, ContainerRun, ContainerSpec, ExecEnd, Exit, Found, FoundSandbox, MadeSandbox, PodUid,
    Runtime, RuntimeError, RuntimeEvent, SandboxSpec, Started, Usage,
};
use crate::keeper::{
    self, Capabilities, Client, ContainerKey, ContainerState, EtcFiles, Event, Events, ExecStreams,
    Ids, KeeperError, Limits, Root, Sandbox, User,
};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;
/// How often it is looked whether everything has stopped.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Runs pods by the keeper.
pub struct KeeperRuntime {
    client: Client,
    clock: Clock,
    events: Mutex<Option<Events>>,
    stopping: CancellationToken,
    /// When each running container was started.
    started: Mutex<BTreeMap<ContainerKey, Timestamp>>,
}

impl KeeperRuntime {
    /// A runtime over the connection to the keeper.
    #[must_use]
    pub fn new(client: Client, events: Events, clock: Clock) -> Self {
        Self {
            client,
            clock,
            events: Mutex::new(Some(events)),
            stopping: CancellationToken::new(),
            started: Mutex::default(),
        }
    }

    /// Cancelled once the keeper says that the node ends, or is gone itself.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    /// Tells every container to stop and waits until all have, or for `limit`. For the end of the
    /// node, after the kubelet was cancelled, which would start them again.
    pub async fn stop_everything(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut told = false;
        while let Ok(inventory) = self.client.inventory().await {
            let running: Vec<ContainerKey> = inventory
                .containers
                .into_iter()
                .filter(|container| matches!(container.state, ContainerState::Running(_)))
                .map(|container| container.key)
                .collect();
            if running.is_empty() || Instant::now() >= deadline {
                return;
            }
            if !told {
                told = true;
                for key in &running {
                    if let Err(error) = self.client.signal(key, SIGTERM).await {
                        tracing::warn!(%key, %error, "cannot tell a container to stop");
                    }
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

fn key_of(run: &ContainerRun) -> ContainerKey {
    ContainerKey {
        pod: run.pod.0.clone(),
        container: run.container.clone(),
        attempt: run.attempt,
    }
}

fn run_of(key: ContainerKey) -> ContainerRun {
    ContainerRun {
        pod: PodUid(key.pod),
        container: key.container,
        attempt: key.attempt,
    }
}

fn exit_of(exit: keeper::Exit) -> Exit {
    Exit {
        run: run_of(exit.key),
        code: exit.code,
        signal: exit.signal,
        oom_killed: exit.oom_killed,
        started_at: exit.started_at,
        finished_at: exit.finished_at,
    }
}

fn limits_of(bounds: &Bounds) -> Limits {
    Limits {
        cpu_millis: bounds.cpu_limit_millis,
        cpu_request_millis: bounds.cpu_request_millis,
        memory_bytes: bounds.memory_limit_bytes,
        pids: None,
    }
}

fn made_of(sandbox: &Sandbox, ids: Ids) -> MadeSandbox {
    MadeSandbox {
        owner: match ids {
            Ids::Range => Some((sandbox.owner_uid, sandbox.owner_gid)),
            // The pod's one user is the one that makes its files.
            Ids::One => None,
        },
    }
}

fn error_of(error: KeeperError) -> RuntimeError {
    match error {
        KeeperError::Start { message, .. } => RuntimeError::CannotRun(message),
        KeeperError::Over(_) => RuntimeError::CannotRun(error.to_string()),
        KeeperError::NoSandbox(_) | KeeperError::NoContainer(_) => RuntimeError::NotFound,
        KeeperError::Create(message) | KeeperError::Listen(message) => {
            RuntimeError::Refused(message)
        }
        KeeperError::Gone => RuntimeError::Refused(error.to_string()),
    }
}

#[async_trait]
impl Runtime for KeeperRuntime {
    async fn adopt(
        &self,
        events: mpsc::UnboundedSender<RuntimeEvent>,
    ) -> Result<Vec<FoundSandbox>, RuntimeError> {
        let inventory = self.client.inventory().await.map_err(error_of)?;
        let ids = self.client.facts().ids;
        if let Some(received) = self.events.lock().take() {
            tokio::spawn(forward(received, events, self.stopping.clone()));
        }
        let mut found: BTreeMap<String, FoundSandbox> = inventory
            .sandboxes
            .iter()
            .map(|sandbox| {
                let known = FoundSandbox {
                    uid: PodUid(sandbox.pod.clone()),
                    address: sandbox.address,
                    made: made_of(sandbox, ids),
                    containers: Vec::new(),
                };
                (sandbox.pod.clone(), known)
            })
            .collect();
        for container in inventory.containers {
            let Some(sandbox) = found.get_mut(&container.key.pod) else {
                continue;
            };
            let state = match container.state {
                ContainerState::Running(started) => {
                    let started_at = started.started_at;
                    self.started
                        .lock()
                        .insert(container.key.clone(), started_at);
                    Found::Running { started_at }
                }
                ContainerState::Exited(exit) => Found::Exited(exit_of(exit)),
                // A start that is under way is ordered again, which does nothing twice; an end
                // that was written down is in the pod's status.
                ContainerState::Starting | ContainerState::Over => continue,
            };
            sandbox.containers.push((run_of(container.key), state));
        }
        Ok(found.into_values().collect())
    }

    async fn create_sandbox(&self, sandbox: &SandboxSpec) -> Result<MadeSandbox, RuntimeError> {
        let spec = keeper::SandboxSpec {
            pod: sandbox.uid.0.clone(),
            hostname: sandbox.hostname.clone(),
            address: sandbox.address,
            limits: limits_of(&sandbox.bounds),
            single_user: sandbox.single_user,
        };
        let made = self.client.create_sandbox(spec).await.map_err(error_of)?;
        Ok(made_of(&made, self.client.facts().ids))
    }

    async fn start_container(&self, container: &ContainerSpec) -> Result<Started, RuntimeError> {
        if container.command.is_empty() {
            return Err(RuntimeError::Refused(
                "no command specified: a container of the host runtime class names its program in \
                 command"
                    .to_owned(),
            ));
        }
        let security = &container.security;
        let capabilities =
            Capabilities::adjusted(&security.add_capabilities, &security.drop_capabilities)
                .map_err(|error| RuntimeError::Refused(error.to_string()))?;
        let mounts = container.mounts.iter().map(|mount| keeper::Mount {
            source: mount.source.clone(),
            target: mount.target.clone().into(),
            read_only: mount.read_only,
        });
        let key = key_of(&container.run);
        let spec = keeper::ContainerSpec {
            key: key.clone(),
            argv: container.command.clone(),
            env: container.env.clone(),
            working_dir: container.working_dir.clone().map(Into::into),
            user: User {
                uid: security.user.unwrap_or(0),
                gid: security.group.unwrap_or(0),
                groups: security.groups.clone(),
            },
            root: Root::Host,
            read_only_root: security.read_only_root,
            mounts: mounts.collect(),
            etc: EtcFiles {
                resolv_conf: container.resolv_conf.clone(),
                hosts: container.hosts.clone(),
                hostname: format!("{}\n", container.hostname),
            },
            limits: limits_of(&container.bounds),
            log: container.log_path.clone(),
            capabilities,
            oom_score_adj: container.oom_score_adj,
        };
        let started = self.client.start_container(spec).await.map_err(error_of)?;
        self.started.lock().insert(key, started.started_at);
        Ok(Started {
            at: started.started_at,
            ready: None,
        })
    }

    async fn signal(&self, run: &ContainerRun, signal: i32) -> Result<(), RuntimeError> {
        let key = key_of(run);
        let done = if signal == SIGKILL {
            self.client.kill(&key).await
        } else {
            self.client.signal(&key, signal).await
        };
        done.map_err(error_of)
    }

    async fn exec(
        &self,
        run: &ContainerRun,
        command: &[String],
        limit: Duration,
    ) -> Result<ExecEnd, RuntimeError> {
        let outcome = self
            .client
            .exec(&key_of(run), command.to_vec(), limit)
            .await
            .map_err(error_of)?;
        Ok(ExecEnd {
            code: outcome.code,
            output: String::from_utf8_lossy(&outcome.output).into_owned(),
        })
    }

    async fn exec_stream(
        &self,
        run: &ContainerRun,
        command: &[String],
        stdin: bool,
        terminal: bool,
    ) -> Result<ExecStreams, RuntimeError> {
        let key = key_of(run);
        let streams = self
            .client
            .exec_stream(&key, command.to_vec(), stdin, terminal);
        streams.await.map_err(error_of)
    }

    async fn acknowledge(&self, run: &ContainerRun) -> Result<(), RuntimeError> {
        let key = key_of(run);
        self.started.lock().remove(&key);
        self.client.acknowledge(&key).await.map_err(error_of)
    }

    async fn remove_sandbox(&self, uid: &PodUid) -> Result<(), RuntimeError> {
        self.started.lock().retain(|key, _| key.pod != uid.0);
        self.client.remove_sandbox(&uid.0).await.map_err(error_of)
    }

    async fn usage(&self) -> Result<Vec<Usage>, RuntimeError> {
        let measured = self.client.usages().await.map_err(error_of)?;
        let at = self.clock.now();
        let started = self.started.lock();
        let usages = measured.into_iter().filter_map(|(key, usage)| {
            let started_at = *started.get(&key)?;
            Some(Usage {
                run: run_of(key),
                at,
                cpu: Duration::from_nanos(usage.cpu_nanos),
                memory_working_set_bytes: usage.working_set_bytes,
                started_at,
                counters: usage,
            })
        });
        Ok(usages.collect())
    }
}

/// Passes on what the keeper tells.
async fn forward(
    mut received: Events,
    events: mpsc::UnboundedSender<RuntimeEvent>,
    stopping: CancellationToken,
) {
    while let Some(event) = received.recv().await {
        let told = match event {
            Event::ContainerExited(exit) => RuntimeEvent::Exited(exit_of(exit)),
            Event::SandboxExited { pod } => RuntimeEvent::SandboxLost(PodUid(pod)),
            Event::Stopping => {
                stopping.cancel();
                continue;
            }
        };
        // A kubelet that ended hears nothing; the keeper keeps its exits.
        let _ = events.send(told);
    }
    stopping.cancel();
}
