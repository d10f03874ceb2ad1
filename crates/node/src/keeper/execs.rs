//! Commands run in containers that are there already.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Duration;

use super::containers::{Starting, Watched, create};
use super::protocol::{ContainerKey, ExecOutcome, KeeperError, Reply};
use super::service::{Keeper, OrderId, Source};
use crate::sandbox::{self, Place, Process, Stdio};
use crate::sys::{self, Ended, Pid};

/// What of an exec'd command's output is kept, in bytes.
const KEPT_OUTPUT: usize = 64 << 10;

/// A command that runs in a container.
#[derive(Debug)]
pub(super) struct ExecRecord {
    order: OrderId,
    starting: Starting,
    output: Option<Watched>,
    kept: Vec<u8>,
    deadline: Duration,
    /// Whether it was killed for being late.
    late: bool,
}

impl ExecRecord {
    /// When it is killed, unless it was already.
    pub(super) fn deadline(&self) -> Option<Duration> {
        (!self.late).then_some(self.deadline)
    }

    pub(super) fn awaits_report(&self) -> bool {
        self.starting.awaits_report()
    }
}

impl Keeper {
    /// The reply, when it cannot be started.
    pub(super) fn start_exec(
        &mut self,
        order: OrderId,
        key: &ContainerKey,
        argv: &[String],
        limit: Duration,
    ) -> Option<Reply> {
        self.launch_exec(order, key, argv, limit)
            .err()
            .map(Reply::Failed)
    }

    fn launch_exec(
        &mut self,
        order: OrderId,
        key: &ContainerKey,
        argv: &[String],
        limit: Duration,
    ) -> Result<(), KeeperError> {
        let none = || KeeperError::NoContainer(key.clone());
        let container = self.containers.get(key).ok_or_else(none)?;
        let sandbox = self.sandboxes.get(&key.pod).ok_or_else(none)?;
        let mounts = container.running_in().ok_or_else(none)?;
        let (output, to_output) = io::pipe().map_err(create("make a pipe"))?;
        let (report, to_report) = io::pipe().map_err(create("make a pipe"))?;
        let spec = container.spec();
        let process = Process {
            namespaces: &sandbox.namespaces,
            place: Place::Existing(mounts),
            group: &container.group,
            ids: sandbox.ids,
            user: &spec.user,
            capabilities: spec.capabilities,
            argv,
            env: &spec.env,
            working_dir: spec.working_dir.as_deref(),
            oom_score_adj: spec.oom_score_adj,
            stdio: Stdio::Given {
                stdin: None,
                stdout: to_output.as_fd(),
                stderr: to_output.as_fd(),
            },
        };
        sandbox::start_process(&process, &to_report).map_err(create("fork"))?;
        drop((to_output, to_report));
        let id = self.next_exec();
        let watch = create("wait for the command");
        let output = self
            .watched(output, Source::ExecOutput(id))
            .map_err(&watch)?;
        let report = self
            .watched(report, Source::ExecReport(id))
            .map_err(&watch)?;
        let record = ExecRecord {
            order,
            starting: Starting::new(report),
            output: Some(output),
            kept: Vec::new(),
            deadline: sys::monotonic() + limit,
            late: false,
        };
        self.execs.insert(id, record);
        Ok(())
    }

    fn next_exec(&self) -> u64 {
        self.execs.last_key_value().map_or(0, |(last, _)| last + 1)
    }

    pub(super) fn read_exec_report(&mut self, id: u64) {
        let Some(exec) = self.execs.get_mut(&id) else {
            return;
        };
        let is_whole = exec.starting.read();
        if let Some(pid) = exec.starting.pid
            && let Some(ended) = self.unclaimed.remove(&pid)
        {
            exec.starting.ended = Some(ended);
        }
        if is_whole {
            if let Some(report) = exec.starting.take_report() {
                self.forget(report.pipe.as_fd(), report.token);
            }
            self.finish_exec(id);
        }
    }

    pub(super) fn read_exec_output(&mut self, id: u64) {
        let Some(exec) = self.execs.get_mut(&id) else {
            return;
        };
        let Some(Watched { pipe, .. }) = &mut exec.output else {
            return;
        };
        let mut bytes = [0; 64 << 10];
        match pipe.read(&mut bytes) {
            Ok(0) => {
                if let Some(Watched { pipe, token }) = exec.output.take() {
                    self.forget(pipe.as_fd(), token);
                }
            }
            Ok(count) => {
                let room = KEPT_OUTPUT - exec.kept.len();
                exec.kept.extend_from_slice(&bytes[..count.min(room)]);
            }
            Err(_) => {}
        }
    }

    /// Whether the process was an exec'd command.
    pub(super) fn exec_ended(&mut self, pid: Pid, ended: Ended) -> bool {
        let now = self.now();
        let found = self
            .execs
            .iter_mut()
            .find(|(_, exec)| exec.starting.pid == Some(pid));
        let Some((&id, exec)) = found else {
            return false;
        };
        exec.starting.ended = Some((ended, now));
        self.finish_exec(id);
        true
    }

    /// Replies when the command has ended, or is known never to start.
    fn finish_exec(&mut self, id: u64) {
        let Some(exec) = self.execs.get(&id) else {
            return;
        };
        let never = exec.starting.pid.is_none() || exec.starting.failed.is_some();
        if exec.awaits_report() || !(never || exec.starting.ended.is_some()) {
            return;
        }
        self.read_exec_output(id);
        let Some(mut exec) = self.execs.remove(&id) else {
            return;
        };
        if let Some(Watched { pipe, token }) = exec.output.take() {
            self.forget(pipe.as_fd(), token);
        }
        let reply = match (exec.starting.failed, exec.starting.ended) {
            (Some(error), _) => Reply::Failed(error),
            (None, Some((ended, _))) => Reply::Exec(ExecOutcome {
                code: (!exec.late).then_some(ended.code()),
                output: exec.kept,
            }),
            (None, None) => Reply::Failed(KeeperError::Create(
                "the command's process ended early".to_owned(),
            )),
        };
        self.reply(exec.order, reply);
    }

    pub(super) fn end_late_execs(&mut self, now: Duration) {
        for exec in self.execs.values_mut() {
            if exec.late || exec.deadline > now {
                continue;
            }
            // One that is only being started is waited for; that is a matter of milliseconds.
            if let Some(pid) = exec.starting.pid {
                exec.late = true;
                // Its session is its own; the first order reaches it even before it has one.
                let _ = sys::kill(pid, libc::SIGKILL);
                let _ = sys::kill_group(pid, libc::SIGKILL);
            }
        }
    }
}
