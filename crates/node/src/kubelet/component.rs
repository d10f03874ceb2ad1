//! The `brain` runtime class: pods whose containers are parts of this program.
//!
//! What a cluster usually runs as pods of its own (a metrics server, a DNS server) is a part of
//! this program here. Such a part is a pod too, so that it can be looked at, read and restarted as
//! any other: its container's command names it, and its container is a task.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::BoxFuture;
use jiff::Timestamp;
use parking_lot::Mutex;
use springtide_machinery::clock::{Clock, rfc3339};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::runtime::{
    ContainerRun, ContainerSpec, ExecEnd, Exit, FoundSandbox, MadeSandbox, PodUid, Runtime,
    RuntimeError, RuntimeEvent, SandboxSpec, Started, Usage,
};

/// A part of this program that was started.
pub struct RunningComponent {
    /// Whether it can do its work.
    pub ready: watch::Receiver<bool>,
    /// Its work: ends when it was told to stop, or with the reason why it cannot go on.
    pub work: BoxFuture<'static, Result<(), String>>,
}

/// Starts parts of this program by their names.
pub trait Component: Send + Sync + 'static {
    /// Starts the part, which writes to `log` and ends once `stop` is cancelled. `arguments` are
    /// what follows the name. `None` when there is no part of this name.
    fn start(
        &self,
        name: &str,
        arguments: &[String],
        log: LogSink,
        stop: CancellationToken,
    ) -> Option<RunningComponent>;
}

/// Where a part writes its log, line by line.
#[derive(Clone, Debug)]
pub struct LogSink {
    file: Arc<Mutex<Option<File>>>,
    clock: Clock,
}

impl LogSink {
    fn open(path: &Path, clock: Clock) -> std::io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self {
            file: Arc::new(Mutex::new(Some(file))),
            clock,
        })
    }

    /// Writes a line. What cannot be written is lost, as it would be on a full disk.
    pub fn line(&self, text: &str) {
        let now = self.clock.now();
        let mut lines = Vec::new();
        for line in text.lines() {
            lines.extend_from_slice(format!("{now:.9} stderr F {line}\n").as_bytes());
        }
        let mut file = self.file.lock();
        let failed = file
            .as_mut()
            .is_some_and(|file| file.write_all(&lines).is_err());
        if failed {
            *file = None;
            tracing::warn!(at = rfc3339(now), "a part's log cannot be written any more");
        }
    }
}

/// Runs parts of this program as containers.
pub struct ComponentRuntime {
    components: Arc<dyn Component>,
    clock: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    events: Option<mpsc::UnboundedSender<RuntimeEvent>>,
    running: BTreeMap<ContainerRun, Running>,
}

struct Running {
    stop: CancellationToken,
    abort: AbortHandle,
    started_at: Timestamp,
}

impl ComponentRuntime {
    /// A runtime for these parts.
    #[must_use]
    pub fn new(components: Arc<dyn Component>, clock: Clock) -> Self {
        Self {
            components,
            clock,
            state: Arc::default(),
        }
    }
}

impl State {
    fn end(&mut self, run: &ContainerRun, code: i32, signal: Option<i32>, now: Timestamp) {
        let Some(running) = self.running.remove(run) else {
            return;
        };
        let exit = Exit {
            run: run.clone(),
            code,
            signal,
            oom_killed: false,
            started_at: running.started_at,
            finished_at: now,
        };
        if let Some(events) = &self.events {
            // A kubelet that is gone hears nothing.
            let _ = events.send(RuntimeEvent::Exited(exit));
        }
    }
}

#[async_trait]
impl Runtime for ComponentRuntime {
    async fn adopt(
        &self,
        events: mpsc::UnboundedSender<RuntimeEvent>,
    ) -> Result<Vec<FoundSandbox>, RuntimeError> {
        self.state.lock().events = Some(events);
        // Parts end with the program, so there is never one from before.
        Ok(Vec::new())
    }

    async fn create_sandbox(&self, _: &SandboxSpec) -> Result<MadeSandbox, RuntimeError> {
        Ok(MadeSandbox::default())
    }

    async fn start_container(&self, container: &ContainerSpec) -> Result<Started, RuntimeError> {
        let run = container.run.clone();
        if let Some(running) = self.state.lock().running.get(&run) {
            return Ok(Started {
                at: running.started_at,
                ready: None,
            });
        }
        let (program, arguments) = container
            .command
            .split_first()
            .ok_or_else(|| RuntimeError::Refused("no command specified".to_owned()))?;
        let name = program.rsplit('/').next().unwrap_or(program);
        let log = LogSink::open(&container.log_path, self.clock.clone())
            .map_err(|error| RuntimeError::Refused(format!("cannot write its log: {error}")))?;
        let stop = CancellationToken::new();
        let component = self
            .components
            .start(name, arguments, log.clone(), stop.clone())
            .ok_or_else(|| {
                RuntimeError::CannotRun(format!("exec: \"{name}\": this program has no such part"))
            })?;
        let at = self.clock.now();
        let mut state = self.state.lock();
        let (ended, clock, own) = (Arc::clone(&self.state), self.clock.clone(), run.clone());
        let task = tokio::spawn(async move {
            let result = component.work.await;
            if let Err(error) = &result {
                log.line(&format!("ended: {error}"));
            }
            let code = i32::from(result.is_err());
            ended.lock().end(&own, code, None, clock.now());
        });
        let running = Running {
            stop,
            abort: task.abort_handle(),
            started_at: at,
        };
        state.running.insert(run, running);
        Ok(Started {
            at,
            ready: Some(component.ready),
        })
    }

    async fn signal(&self, run: &ContainerRun, signal: i32) -> Result<(), RuntimeError> {
        const SIGKILL: i32 = 9;
        let mut state = self.state.lock();
        let running = state.running.get(run).ok_or(RuntimeError::NotFound)?;
        if signal == SIGKILL {
            running.abort.abort();
            state.end(run, 128 + SIGKILL, Some(SIGKILL), self.clock.now());
        } else {
            running.stop.cancel();
        }
        Ok(())
    }

    async fn exec(
        &self,
        _: &ContainerRun,
        _: &[String],
        _: Duration,
    ) -> Result<ExecEnd, RuntimeError> {
        let message = "a part of this program has no programs of its own";
        Err(RuntimeError::Refused(message.to_owned()))
    }

    async fn acknowledge(&self, _: &ContainerRun) -> Result<(), RuntimeError> {
        Ok(())
    }

    async fn remove_sandbox(&self, uid: &PodUid) -> Result<(), RuntimeError> {
        let mut state = self.state.lock();
        state.running.retain(|run, running| {
            if run.pod == *uid {
                running.abort.abort();
            }
            run.pod != *uid
        });
        Ok(())
    }

    async fn usage(&self) -> Result<Vec<Usage>, RuntimeError> {
        // What a part uses cannot be told from what the rest of the program uses.
        Ok(Vec::new())
    }

    fn shares_node_address(&self) -> bool {
        true
    }
}
