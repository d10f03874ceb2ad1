//! Containers, as the keeper handles them: from the order to the acknowledged exit.

use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::output::{LogWriter, Stream};
use super::protocol::{
    ContainerKey, ContainerSpec, ContainerState, Event, Exit, KeeperError, Mount, Reply, Root,
    Started,
};
use super::service::{Keeper, OrderId, Source};
use crate::cgroups::{self, Group, Location};
use crate::sandbox::{self, Place, PreparedMount, Process, Report, RootPlan, Stdio, sentence};
use crate::sys::{self, Attributes, Ended, Pid};

/// A pipe that is waited for.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) pipe: PipeReader,
    pub(super) token: u64,
}

/// What the process that starts something has told so far.
#[derive(Debug)]
pub(super) struct Starting {
    report: Option<Watched>,
    text: Vec<u8>,
    pub(super) pid: Option<Pid>,
    pub(super) failed: Option<KeeperError>,
    /// When it ended before its report was read.
    pub(super) ended: Option<(Ended, Timestamp)>,
}

impl Starting {
    pub(super) fn new(report: Watched) -> Self {
        Self {
            report: Some(report),
            text: Vec::new(),
            pid: None,
            failed: None,
            ended: None,
        }
    }

    pub(super) fn awaits_report(&self) -> bool {
        self.report.is_some()
    }

    /// Reads what there is. True when the report is whole: the command runs, or never will.
    pub(super) fn read(&mut self) -> bool {
        let Some(report) = &mut self.report else {
            return false;
        };
        let is_whole = loop {
            let mut bytes = [0; 4096];
            match report.pipe.read(&mut bytes) {
                Ok(0) => break true,
                Ok(count) => self.text.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break true,
            }
        };
        while let Some(end) = self.text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.text.drain(..=end).collect();
            match serde_json::from_slice(&line) {
                Ok(Report::Pid(pid)) => self.pid = Some(pid),
                Ok(Report::Failed(error)) => self.failed = Some(error),
                Err(error) => tracing::error!(%error, "cannot read a container's report"),
            }
        }
        is_whole
    }

    pub(super) fn take_report(&mut self) -> Option<Watched> {
        self.report.take()
    }
}

/// Where a container is. The private side of [`ContainerState`].
#[derive(Debug)]
enum State {
    Starting {
        starting: Starting,
        orders: Vec<OrderId>,
    },
    Running(Started),
    Exited {
        exit: Exit,
        pid: Pid,
    },
    Over,
}

/// A container the keeper knows of.
#[derive(Debug)]
pub(super) struct ContainerRecord {
    spec: ContainerSpec,
    state: State,
    init: Pid,
    pub(super) group: Group,
    log: LogWriter,
    out: Option<Watched>,
    error: Option<Watched>,
    /// Its mount namespace, once its command runs: where further commands are executed, and what
    /// its processes are known by where there are no cgroups.
    mounts: Option<File>,
}

/// A [`ContainerRecord`] by its descriptors' numbers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CarriedContainer {
    spec: ContainerSpec,
    state: CarriedState,
    init: Pid,
    group: Group,
    begun: [Vec<u8>; 2],
    pub(super) out: Option<RawFd>,
    pub(super) error: Option<RawFd>,
    pub(super) mounts: Option<RawFd>,
}

#[derive(Debug, Serialize, Deserialize)]
enum CarriedState {
    Running(Started),
    Exited { exit: Exit, pid: Pid },
    Over,
}

impl ContainerRecord {
    pub(super) fn state(&self) -> ContainerState {
        match &self.state {
            State::Starting { .. } => ContainerState::Starting,
            State::Running(started) => ContainerState::Running(started.clone()),
            State::Exited { exit, .. } => ContainerState::Exited(exit.clone()),
            State::Over => ContainerState::Over,
        }
    }

    pub(super) fn location(&self) -> Location {
        self.group.location(self.init)
    }

    pub(super) fn spec(&self) -> &ContainerSpec {
        &self.spec
    }

    /// Its mount namespace, while its command runs.
    pub(super) fn running_in(&self) -> Option<BorrowedFd<'_>> {
        match &self.state {
            State::Running(_) => self.mounts.as_ref().map(AsFd::as_fd),
            _ => None,
        }
    }

    pub(super) fn awaits_report(&self) -> bool {
        matches!(&self.state, State::Starting { starting, .. } if starting.awaits_report())
    }

    /// As the next version of the keeper finds it; `None` for one that is being started.
    pub(super) fn carry(&self) -> Option<CarriedContainer> {
        let state = match &self.state {
            State::Starting { .. } => return None,
            State::Running(started) => CarriedState::Running(started.clone()),
            State::Exited { exit, pid } => CarriedState::Exited {
                exit: exit.clone(),
                pid: *pid,
            },
            State::Over => CarriedState::Over,
        };
        let number = |pipe: &Option<Watched>| pipe.as_ref().map(|pipe| pipe.pipe.as_raw_fd());
        Some(CarriedContainer {
            spec: self.spec.clone(),
            state,
            init: self.init,
            group: self.group.clone(),
            begun: self.log.begun(),
            out: number(&self.out),
            error: number(&self.error),
            mounts: self.mounts.as_ref().map(AsRawFd::as_raw_fd),
        })
    }

    fn pid(&self) -> Option<Pid> {
        match &self.state {
            State::Starting { starting, .. } if starting.ended.is_none() => starting.pid,
            State::Running(started) => Some(started.pid),
            _ => None,
        }
    }

    fn kill_all(&self) {
        self.group.kill();
        if self.group == Group::Absent
            && let Some(mounts) = &self.mounts
            && let Ok(mounts) = mounts.metadata()
        {
            cgroups::kill_by_namespace(mounts.ino(), self.pid().unwrap_or(0), self.init);
        }
    }
}

impl Keeper {
    /// The reply, when there is something to say before the command runs.
    pub(super) fn start_container(&mut self, order: OrderId, spec: ContainerSpec) -> Option<Reply> {
        if let Some(known) = self.containers.get_mut(&spec.key) {
            return match &mut known.state {
                State::Starting { orders, .. } => {
                    orders.push(order);
                    None
                }
                State::Running(started) => Some(Reply::Started(started.clone())),
                State::Exited { exit, pid } => Some(Reply::Started(Started {
                    pid: *pid,
                    started_at: exit.started_at,
                })),
                State::Over => Some(Reply::Failed(KeeperError::Over(spec.key))),
            };
        }
        self.launch(order, spec).err().map(Reply::Failed)
    }

    fn launch(&mut self, order: OrderId, spec: ContainerSpec) -> Result<(), KeeperError> {
        let key = spec.key.clone();
        let sandbox = self
            .sandboxes
            .get(&key.pod)
            .ok_or_else(|| KeeperError::NoSandbox(key.pod.clone()))?;
        let init = sandbox.info.pid;
        let group = sandbox
            .group
            .child(&format!("{}-{}", key.container, key.attempt))
            .map_err(create("make the container's cgroup"))?;
        let launched = self.launch_in(&group, &spec);
        let (out, error, report) = match launched {
            Ok(pipes) => pipes,
            Err(error) => {
                self.emptying.push(group);
                return Err(error);
            }
        };
        let log = LogWriter::open(&spec.log)
            .map_err(|error| KeeperError::Create(log_sentence(&spec.log, &error)));
        let watched = log.and_then(|log| {
            let watch = create("wait for the container's output");
            let out = self
                .watched(out, Source::Output(key.clone(), Stream::Out))
                .map_err(&watch)?;
            let error = self
                .watched(error, Source::Output(key.clone(), Stream::Error))
                .map_err(&watch)?;
            let report = self
                .watched(report, Source::Report(key.clone()))
                .map_err(&watch)?;
            Ok((log, out, error, report))
        });
        let (log, out, error, report) = match watched {
            Ok(watched) => watched,
            Err(error) => {
                // Its process is on its way and nobody will hear of it.
                group.kill();
                self.emptying.push(group);
                return Err(error);
            }
        };
        let record = ContainerRecord {
            spec,
            state: State::Starting {
                starting: Starting::new(report),
                orders: vec![order],
            },
            init,
            group,
            log,
            out: Some(out),
            error: Some(error),
            mounts: None,
        };
        self.containers.insert(key, record);
        Ok(())
    }

    /// Takes over a container of an older version of the keeper.
    pub(super) fn restore_container(&mut self, carried: CarriedContainer) -> io::Result<()> {
        let key = carried.spec.key.clone();
        let log = LogWriter::reopen(&carried.spec.log, carried.begun)?;
        let mut pipe = |number: Option<RawFd>, stream| {
            number
                .map(|number| {
                    let source = Source::Output(key.clone(), stream);
                    self.watched(sys::adopt(number)?.into(), source)
                })
                .transpose()
        };
        let (out, error) = (
            pipe(carried.out, Stream::Out)?,
            pipe(carried.error, Stream::Error)?,
        );
        let record = ContainerRecord {
            spec: carried.spec,
            state: match carried.state {
                CarriedState::Running(started) => State::Running(started),
                CarriedState::Exited { exit, pid } => State::Exited { exit, pid },
                CarriedState::Over => State::Over,
            },
            init: carried.init,
            group: carried.group,
            log,
            out,
            error,
            mounts: carried.mounts.map(sys::adopt).transpose()?.map(File::from),
        };
        self.containers.insert(key, record);
        Ok(())
    }

    pub(super) fn watched(&mut self, pipe: PipeReader, source: Source) -> io::Result<Watched> {
        let token = self.watch(pipe.as_fd(), source)?;
        Ok(Watched { pipe, token })
    }

    /// The reading ends of stdout, stderr and the report.
    fn launch_in(
        &self,
        group: &Group,
        spec: &ContainerSpec,
    ) -> Result<(PipeReader, PipeReader, PipeReader), KeeperError> {
        let sandbox = &self.sandboxes[&spec.key.pod];
        group
            .limit(&spec.limits)
            .map_err(create("limit the container"))?;
        let Root::Host = spec.root;
        let mounts = spec
            .mounts
            .iter()
            .map(prepare_mount)
            .collect::<Result<Vec<_>, _>>()?;
        let program = sys::clone_tree(Some(self.program.as_fd()), Path::new(""))
            .and_then(|program| {
                let attributes = Attributes::READ_ONLY
                    .and(Attributes::NO_SETUID)
                    .and(Attributes::NO_DEVICES);
                sys::restrict(program.as_fd(), attributes, false).map(|()| program)
            })
            .map_err(create("bind tide into the container"))?;
        let pipe = || io::pipe().map_err(create("make a pipe"));
        let ((out, to_out), (error, to_error), (report, to_report)) = (pipe()?, pipe()?, pipe()?);
        let plan = RootPlan {
            mounts: &mounts,
            etc: &spec.etc,
            read_only: spec.read_only_root,
            program: program.as_fd(),
            hidden: &self.config.hidden,
        };
        let process = Process {
            namespaces: &sandbox.namespaces,
            place: Place::New(&plan),
            group,
            ids: sandbox.ids,
            user: &spec.user,
            capabilities: spec.capabilities,
            argv: &spec.argv,
            env: &spec.env,
            working_dir: spec.working_dir.as_deref(),
            oom_score_adj: spec.oom_score_adj,
            stdio: Stdio::Given {
                stdin: None,
                stdout: to_out.as_fd(),
                stderr: to_error.as_fd(),
            },
        };
        sandbox::start_process(&process, &to_report).map_err(create("fork"))?;
        Ok((out, error, report))
    }

    pub(super) fn read_report(&mut self, key: &ContainerKey) {
        let Some(record) = self.containers.get_mut(key) else {
            return;
        };
        let State::Starting { starting, .. } = &mut record.state else {
            return;
        };
        let is_whole = starting.read();
        if let Some(pid) = starting.pid
            && let Some(ended) = self.unclaimed.remove(&pid)
        {
            starting.ended = Some(ended);
        }
        if !is_whole {
            return;
        }
        if let Some(report) = starting.take_report() {
            self.forget(report.pipe.as_fd(), report.token);
        }
        self.finish_start(key);
    }

    /// The report is whole: the command was executed, or never will be.
    fn finish_start(&mut self, key: &ContainerKey) {
        let now = self.now();
        let Some(record) = self.containers.get_mut(key) else {
            return;
        };
        let State::Starting { starting, orders } = &mut record.state else {
            return;
        };
        let orders = std::mem::take(orders);
        let ended = starting.ended;
        let failed = starting.failed.take();
        let reply = match (starting.pid, failed) {
            (Some(pid), None) => {
                let started = Started {
                    pid,
                    started_at: now,
                };
                // It may have ended already, and then has none.
                record.mounts = File::open(format!("/proc/{pid}/ns/mnt")).ok();
                record.state = State::Running(started.clone());
                Reply::Started(started)
            }
            (_, failed) => {
                record.state = State::Over;
                let group = record.group.clone();
                self.close_output(key);
                self.emptying.push(group);
                Reply::Failed(failed.unwrap_or_else(|| {
                    KeeperError::Create("the container's process ended while it was made".into())
                }))
            }
        };
        let runs = matches!(reply, Reply::Started(_));
        for order in orders {
            self.reply(order, reply.clone());
        }
        if runs && let Some((ended, at)) = ended {
            self.record_exit(key, ended, at);
        }
    }

    /// Whether the process was a container's main one.
    pub(super) fn main_ended(&mut self, pid: Pid, ended: Ended, now: Timestamp) -> bool {
        let found = self
            .containers
            .iter_mut()
            .find(|(_, record)| record.pid() == Some(pid));
        let Some((key, record)) = found else {
            return false;
        };
        let key = key.clone();
        if let State::Starting { starting, .. } = &mut record.state {
            starting.ended = Some((ended, now));
            self.read_report(&key);
        } else {
            self.record_exit(&key, ended, now);
        }
        true
    }

    fn record_exit(&mut self, key: &ContainerKey, ended: Ended, now: Timestamp) {
        // What the main process started ends with it, as in a container with its own process ids.
        if let Some(record) = self.containers.get(key) {
            record.kill_all();
        }
        self.read_output(key, Stream::Out);
        self.read_output(key, Stream::Error);
        self.close_output(key);
        let Some(record) = self.containers.get_mut(key) else {
            return;
        };
        let State::Running(started) = &record.state else {
            return;
        };
        let oom_killed = ended.code() == 128 + libc::SIGKILL && record.group.oom_kills() > 0;
        let exit = Exit {
            key: key.clone(),
            code: ended.code(),
            signal: ended.signal(),
            oom_killed,
            started_at: started.started_at,
            finished_at: now,
        };
        record.mounts = None;
        record.state = State::Exited {
            exit: exit.clone(),
            pid: started.pid,
        };
        self.tell(Event::ContainerExited(exit));
    }

    /// Reads a bounded amount, so that one container's chatter does not hold up the others.
    pub(super) fn read_output(&mut self, key: &ContainerKey, stream: Stream) {
        let now = self.now();
        let Some(record) = self.containers.get_mut(key) else {
            return;
        };
        let watched = match stream {
            Stream::Out => &mut record.out,
            Stream::Error => &mut record.error,
        };
        let Some(Watched { pipe, .. }) = watched else {
            return;
        };
        // As much as a pipe holds.
        let mut bytes = [0; 64 << 10];
        match pipe.read(&mut bytes) {
            Ok(0) => {
                if let Some(Watched { pipe, token }) = watched.take() {
                    self.forget(pipe.as_fd(), token);
                }
            }
            Ok(count) => {
                if let Err(error) = record.log.write(stream, &bytes[..count], now) {
                    tracing::error!(%key, %error, "cannot write a container's log");
                }
            }
            Err(_) => {}
        }
    }

    fn close_output(&mut self, key: &ContainerKey) {
        let now = self.now();
        let Some(record) = self.containers.get_mut(key) else {
            return;
        };
        if let Err(error) = record.log.finish(now) {
            tracing::error!(%key, %error, "cannot write a container's log");
        }
        let pipes = [record.out.take(), record.error.take()];
        for Watched { pipe, token } in pipes.into_iter().flatten() {
            self.forget(pipe.as_fd(), token);
        }
    }

    pub(super) fn signal_container(
        &mut self,
        key: &ContainerKey,
        signal: i32,
    ) -> Result<Reply, KeeperError> {
        let record = self.containers.get(key);
        let record = record.ok_or_else(|| KeeperError::NoContainer(key.clone()))?;
        if let Some(pid) = record.pid() {
            sys::kill(pid, signal).map_err(create("signal the container"))?;
        }
        Ok(Reply::Done)
    }

    pub(super) fn kill_container(&mut self, key: &ContainerKey) -> Result<Reply, KeeperError> {
        let killed = self.signal_container(key, libc::SIGKILL);
        if let Some(record) = self.containers.get(key) {
            record.kill_all();
        }
        killed
    }

    pub(super) fn acknowledge(&mut self, key: &ContainerKey) {
        if let Some(record) = self.containers.get_mut(key)
            && matches!(record.state, State::Exited { .. })
        {
            record.state = State::Over;
            self.emptying.push(record.group.clone());
        }
    }

    /// Forgets a pod's containers, whose processes are gone.
    pub(super) fn forget_containers(&mut self, pod: &str) {
        let keys: Vec<ContainerKey> = self
            .containers
            .keys()
            .filter(|key| key.pod == pod)
            .cloned()
            .collect();
        for key in keys {
            self.close_output(&key);
            let Some(mut record) = self.containers.remove(&key) else {
                continue;
            };
            if let State::Starting { starting, orders } = &mut record.state {
                if let Some(report) = starting.take_report() {
                    self.forget(report.pipe.as_fd(), report.token);
                }
                for order in std::mem::take(orders) {
                    self.reply(order, Reply::Failed(KeeperError::NoSandbox(pod.to_owned())));
                }
            }
        }
    }
}

pub(super) fn create(what: &str) -> impl Fn(io::Error) -> KeeperError + '_ {
    move |error| KeeperError::Create(format!("cannot {what}: {}", sentence(&error)))
}

fn log_sentence(path: &Path, error: &io::Error) -> String {
    format!(
        "cannot write the log file {}: {}",
        path.display(),
        sentence(error)
    )
}

/// Takes hold of what is mounted while this process may still look everywhere.
fn prepare_mount(mount: &Mount) -> Result<PreparedMount, KeeperError> {
    let at = |error: io::Error| {
        let source = mount.source.display();
        KeeperError::Create(format!("cannot mount {source}: {}", sentence(&error)))
    };
    if !mount.target.is_absolute() {
        let target = mount.target.display();
        return Err(KeeperError::Create(format!(
            "mountPath {target} is not absolute"
        )));
    }
    let source: PathBuf = mount.source.canonicalize().map_err(at)?;
    let is_folder = source.metadata().map_err(at)?.is_dir();
    let tree = sys::clone_tree(None, &source).map_err(at)?;
    let mut attributes = Attributes::NO_SETUID.and(Attributes::NO_DEVICES);
    if mount.read_only {
        attributes = attributes.and(Attributes::READ_ONLY);
    }
    sys::restrict(tree.as_fd(), attributes, true).map_err(at)?;
    Ok(PreparedMount {
        tree,
        target: mount.target.clone(),
        is_folder,
    })
}
