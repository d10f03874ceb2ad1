//! Commands run in containers for someone who talks with them: their streams are handed to the
//! brain, and the keeper only waits for their end.

use std::io::{self, PipeWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::containers::{Starting, create};
use super::protocol::{ContainerKey, KeeperError, Reply};
use super::service::{Keeper, OrderId, Source};
use crate::sandbox::{self, Place, Process, Stdio};
use crate::sys::{self, Ended, Pid};

/// What terminals can do, for programs that ask; as other runtimes say it.
const TERMINAL_KIND: (&str, &str) = ("TERM", "xterm");

/// A command whose streams the brain has, or will have.
#[derive(Debug)]
pub(super) struct StreamRecord {
    order: OrderId,
    starting: Starting,
    /// Where its exit code goes.
    end: PipeWriter,
    /// What the brain gets once it runs.
    theirs: Vec<OwnedFd>,
    /// Where the controlling side of its terminal comes from.
    terminal: Option<UnixStream>,
}

impl StreamRecord {
    pub(super) fn awaits_report(&self) -> bool {
        self.starting.awaits_report()
    }
}

impl Keeper {
    /// The reply, when it cannot be started.
    pub(super) fn start_stream(
        &mut self,
        order: OrderId,
        key: &ContainerKey,
        argv: &[String],
        stdin: bool,
        terminal: bool,
    ) -> Option<Reply> {
        self.launch_stream(order, key, argv, stdin, terminal)
            .err()
            .map(Reply::Failed)
    }

    fn launch_stream(
        &mut self,
        order: OrderId,
        key: &ContainerKey,
        argv: &[String],
        stdin: bool,
        terminal: bool,
    ) -> Result<(), KeeperError> {
        let none = || KeeperError::NoContainer(key.clone());
        let container = self.containers.get(key).ok_or_else(none)?;
        let sandbox = self.sandboxes.get(&key.pod).ok_or_else(none)?;
        let mounts = container.running_in().ok_or_else(none)?;
        let pipe = || io::pipe().map_err(create("make a pipe"));
        let (report, to_report) = pipe()?;
        let (ended, end) = pipe()?;
        let mut theirs = vec![OwnedFd::from(ended)];
        let spec = container.spec();
        let mut env = spec.env.clone();
        let process = |env, stdio| Process {
            namespaces: &sandbox.namespaces,
            place: Place::Existing(mounts),
            group: &container.group,
            ids: sandbox.ids,
            user: &spec.user,
            capabilities: spec.capabilities,
            argv,
            env,
            working_dir: spec.working_dir.as_deref(),
            oom_score_adj: spec.oom_score_adj,
            stdio,
        };
        let terminal = if terminal {
            let (ours, its) = UnixStream::pair().map_err(create("make a socket"))?;
            ours.set_nonblocking(true)
                .map_err(create("make a socket"))?;
            let (name, kind) = TERMINAL_KIND;
            if !env.iter().any(|(known, _)| known == name) {
                env.push((name.to_owned(), kind.to_owned()));
            }
            let process = process(&env, Stdio::Terminal(its.as_fd()));
            sandbox::start_process(&process, &to_report).map_err(create("fork"))?;
            Some(ours)
        } else {
            let ((out, to_out), (error, to_error)) = (pipe()?, pipe()?);
            theirs.extend([OwnedFd::from(out), OwnedFd::from(error)]);
            let input = if stdin {
                let (input, to_input) = pipe()?;
                theirs.push(OwnedFd::from(to_input));
                Some(input)
            } else {
                None
            };
            let stdio = Stdio::Given {
                stdin: input.as_ref().map(AsFd::as_fd),
                stdout: to_out.as_fd(),
                stderr: to_error.as_fd(),
            };
            sandbox::start_process(&process(&env, stdio), &to_report).map_err(create("fork"))?;
            None
        };
        drop(to_report);
        let id = self
            .streams
            .last_key_value()
            .map_or(0, |(last, _)| last + 1);
        let report = self
            .watched(report, Source::StreamReport(id))
            .map_err(create("wait for the command"))?;
        let record = StreamRecord {
            order,
            starting: Starting::new(report),
            end,
            theirs,
            terminal,
        };
        self.streams.insert(id, record);
        Ok(())
    }

    /// Hands the streams over when the command runs.
    pub(super) fn read_stream_report(&mut self, id: u64) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        let is_whole = stream.starting.read();
        if let Some(pid) = stream.starting.pid
            && let Some(ended) = self.unclaimed.remove(&pid)
        {
            stream.starting.ended = Some(ended);
        }
        if !is_whole {
            return;
        }
        let order = stream.order;
        let mut theirs = std::mem::take(&mut stream.theirs);
        let failed = match (&stream.starting.failed, &stream.terminal) {
            (Some(error), _) => Some(error.clone()),
            (None, _) if stream.starting.pid.is_none() => Some(KeeperError::Create(
                "the command's process ended early".to_owned(),
            )),
            (None, Some(socket)) => match sys::receive_with_descriptors(socket.as_fd()) {
                Ok((_, control)) => {
                    theirs.extend(control);
                    None
                }
                Err(error) => Some(KeeperError::Create(format!("no terminal came: {error}"))),
            },
            (None, None) => None,
        };
        let report = stream.starting.take_report();
        let ended = stream.starting.ended.is_some();
        if let Some(report) = report {
            self.forget(report.pipe.as_fd(), report.token);
        }
        match failed {
            Some(error) => {
                self.streams.remove(&id);
                self.reply(order, Reply::Failed(error));
            }
            None => self.send(order, Reply::Streams, theirs),
        }
        if ended {
            self.tell_end(id);
        }
    }

    /// Whether the process was one of these commands.
    pub(super) fn stream_ended(&mut self, pid: Pid, ended: Ended) -> bool {
        let now = self.now();
        let found = self
            .streams
            .iter_mut()
            .find(|(_, stream)| stream.starting.pid == Some(pid));
        let Some((&id, stream)) = found else {
            return false;
        };
        stream.starting.ended = Some((ended, now));
        if !stream.awaits_report() {
            self.tell_end(id);
        }
        true
    }

    fn tell_end(&mut self, id: u64) {
        if let Some(mut stream) = self.streams.remove(&id)
            && let Some((ended, _)) = stream.starting.ended
        {
            // A few bytes into an empty pipe never wait; a brain that does not listen is no error.
            let _ = write!(stream.end, "{}", ended.code());
        }
    }
}
