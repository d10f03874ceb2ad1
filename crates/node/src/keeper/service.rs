//! The keeper's loop: waits for the brain's orders, processes' output and ends, and time.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use springtide_machinery::clock::Clock;

use super::brain::Brain;
use super::containers::ContainerRecord;
use super::execs::ExecRecord;
use super::output::Stream;
use super::pods::SandboxRecord;
use super::protocol::{
    Container, ContainerKey, ContainerState, Event, Facts, Inventory, KeeperError, Listen, Message,
    Order, Reply, Request,
};
use super::streams::StreamRecord;
use super::{BRAIN_GIVES_UP, Config, privileges, upgrade};
use crate::cgroups::{Cgroups, Group};
use crate::network::{self, Mesh};
use crate::sandbox::{IdSource, sentence};
use crate::sys::{self, Ended, Interest, Pid, Poll, Signals};

/// An order of one brain: a reply to a brain that is no more goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OrderId {
    brain: u32,
    id: u64,
}

/// What a descriptor that became readable belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Signals,
    Brain,
    Output(ContainerKey, Stream),
    Report(ContainerKey),
    ExecOutput(u64),
    ExecReport(u64),
    StreamReport(u64),
}

/// How long pods get to end when the keeper was asked to stop and the brain does not say that it
/// is done.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// How often what could not be removed, since something in it was dying, is tried again.
const REMOVE_AGAIN: Duration = Duration::from_millis(50);

/// Everything the keeper holds.
pub(super) struct Keeper {
    pub(super) config: Config,
    pub(super) clock: Clock,
    pub(super) poll: Poll,
    sources: BTreeMap<u64, Source>,
    next_token: u64,
    signals: Signals,
    pub(super) brain: Brain,
    pub(super) cgroups: Cgroups,
    pub(super) ids: IdSource,
    pub(super) mesh: Mesh,
    facts: Facts,
    pub(super) program: OwnedFd,
    pub(super) sandboxes: BTreeMap<String, SandboxRecord>,
    pub(super) containers: BTreeMap<ContainerKey, ContainerRecord>,
    pub(super) execs: BTreeMap<u64, ExecRecord>,
    pub(super) streams: BTreeMap<u64, StreamRecord>,
    listeners: BTreeMap<String, (Listen, OwnedFd)>,
    /// Processes that ended before their start was reported.
    pub(super) unclaimed: BTreeMap<Pid, (Ended, Timestamp)>,
    /// Groups to be removed as soon as they are empty.
    pub(super) emptying: Vec<Group>,
    /// Counts the pods made: the next one's ids follow from it.
    pub(super) pods_made: u32,
    stopping: Option<Duration>,
    /// To be done as soon as nothing is half done.
    upgrade_wanted: bool,
}

/// What a keeper stands on, made once in its life.
struct Ground {
    facts: Facts,
    cgroups: Cgroups,
    mesh: Mesh,
}

impl Ground {
    fn prepare(config: &Config) -> Result<Self, String> {
        let (rootless, mut warnings) = privileges::enter()?;
        let ids = IdSource::of_this_process()
            .map_err(|error| format!("cannot read this process' id maps: {}", sentence(&error)))?;
        let own_proc = privileges::try_namespaces(ids, rootless)?;
        if !own_proc {
            warnings.push(
                "/proc is covered in parts here, so that pods cannot mount their own: they see \
                 this machine's, read-only, with its processes"
                    .to_owned(),
            );
        }
        let (cgroups, said_by_cgroups) = Cgroups::set_up();
        warnings.extend(said_by_cgroups);
        let mesh = Mesh::create(config.service_range, config.mesh_address).map_err(|error| {
            format!(
                "cannot make the mesh network namespace: {}",
                sentence(&error)
            )
        })?;
        let facts = Facts {
            rootless,
            ids: ids.kind(),
            cgroups: cgroups.mode(),
            proc_is_hosts: !own_proc,
            mesh_address: config.mesh_address,
            keeper_pid: std::process::id().cast_signed(),
            restarts: 0,
            warnings,
        };
        Ok(Self {
            facts,
            cgroups,
            mesh,
        })
    }
}

/// Sets everything up, serves until told to stop, and cleans up.
pub(super) fn run(mut config: Config) -> Result<ExitCode, String> {
    let said =
        |what: &'static str| move |error: io::Error| format!("cannot {what}: {}", sentence(&error));
    let carried = upgrade::receive().map_err(said("read what the older version left"))?;
    // One that is not there yet is looked for by its path.
    for folder in &mut config.hidden {
        if let Ok(path) = folder
            .canonicalize()
            .or_else(|_| std::path::absolute(&*folder))
        {
            *folder = path;
        }
    }
    let Ground {
        facts,
        cgroups,
        mesh,
    } = match &carried {
        Some(carried) => Ground {
            facts: carried.facts.clone(),
            cgroups: Cgroups::at(carried.cgroups.clone()),
            mesh: Mesh::restore(&carried.mesh).map_err(said("take over the mesh"))?,
        },
        None => Ground::prepare(&config)?,
    };
    let ids = IdSource::of_this_process().map_err(said("read this process' id maps"))?;
    // Only now: what was opened in another mount namespace cannot be bound in this one.
    let program = privileges::open_program().map_err(said("open the running program"))?;
    sys::become_subreaper().map_err(said("become the subreaper"))?;
    sys::limit_open_files(1 << 20).map_err(said("raise the limit on open files"))?;
    let handled = [
        libc::SIGCHLD,
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGHUP,
        libc::SIGUSR2,
    ];
    sys::block_signals(&handled).map_err(said("block signals"))?;
    let signals = Signals::new(&handled).map_err(said("listen to signals"))?;
    let mut keeper = Keeper {
        brain: Brain::default(),
        config,
        clock: Clock::system(),
        poll: Poll::new().map_err(said("wait for descriptors"))?,
        sources: BTreeMap::new(),
        next_token: 0,
        signals,
        cgroups,
        ids,
        mesh,
        facts,
        program,
        sandboxes: BTreeMap::new(),
        containers: BTreeMap::new(),
        execs: BTreeMap::new(),
        streams: BTreeMap::new(),
        listeners: BTreeMap::new(),
        unclaimed: BTreeMap::new(),
        emptying: Vec::new(),
        // Two keepers of one host seldom begin at the same ids.
        pods_made: std::process::id().wrapping_mul(127),
        stopping: None,
        upgrade_wanted: false,
    };
    if let Some(carried) = carried {
        keeper.pods_made = carried.pods_made;
        keeper
            .take_over(carried)
            .map_err(said("take over what the older version left"))?;
    }
    let served = keeper.serve();
    keeper.clean_up();
    served.map(ExitCode::from).map_err(said("go on"))
}

impl Keeper {
    fn serve(&mut self) -> io::Result<u8> {
        let token = self.token(Source::Signals);
        self.poll
            .add(self.signals.descriptor(), token, Interest::Read)?;
        self.start_brain()?;
        loop {
            let ready = self.poll.wait(self.next_deadline())?;
            for token in ready {
                // One that was dropped by an earlier one of this round needs nothing.
                let Some(source) = self.sources.get(&token).cloned() else {
                    continue;
                };
                match source {
                    Source::Signals => {
                        if let Some(code) = self.take_signals()? {
                            return Ok(code);
                        }
                    }
                    Source::Brain => self.hear_brain(),
                    Source::Output(key, stream) => self.read_output(&key, stream),
                    Source::Report(key) => self.read_report(&key),
                    Source::ExecOutput(id) => self.read_exec_output(id),
                    Source::ExecReport(id) => self.read_exec_report(id),
                    Source::StreamReport(id) => self.read_stream_report(id),
                }
            }
            if let Some(code) = self.act_on_time()? {
                return Ok(code);
            }
            self.brain_interest()?;
        }
    }

    /// Makes a name for something to wait for.
    pub(super) fn token(&mut self, source: Source) -> u64 {
        self.next_token += 1;
        self.sources.insert(self.next_token, source);
        self.next_token
    }

    /// Waits for a descriptor to be readable.
    pub(super) fn watch(&mut self, fd: BorrowedFd<'_>, source: Source) -> io::Result<u64> {
        sys::set_nonblocking(fd)?;
        let token = self.token(source);
        self.poll.add(fd, token, Interest::Read)?;
        Ok(token)
    }

    /// Waits no more. The descriptor may live on in a child that is being forked: closing it would
    /// not be enough.
    pub(super) fn forget(&mut self, fd: BorrowedFd<'_>, token: u64) {
        self.sources.remove(&token);
        // It was added and is open: there is no way for this to fail.
        let _ = self.poll.remove(fd);
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn next_deadline(&self) -> Option<Duration> {
        let removal = (!self.emptying.is_empty()).then(|| sys::monotonic() + REMOVE_AGAIN);
        let execs = self.execs.values().filter_map(ExecRecord::deadline);
        let brain = self
            .brain
            .restart_at()
            .into_iter()
            .chain(self.brain.kill_at());
        let next = execs
            .chain(removal)
            .chain(brain)
            .chain(self.stopping)
            .min()?;
        Some(next.saturating_sub(sys::monotonic()))
    }

    fn act_on_time(&mut self) -> io::Result<Option<u8>> {
        let now = sys::monotonic();
        self.end_late_execs(now);
        self.emptying.retain(|group| !group.remove());
        if self.brain.restart_at().is_some_and(|at| at <= now) {
            self.start_brain()?;
        }
        self.brain.kill_if_mute(now);
        if self.upgrade_wanted && self.can_upgrade() {
            self.upgrade_wanted = false;
            if let Err(error) = self.upgrade() {
                tracing::error!(%error, "cannot become the new version; the old one goes on");
            }
        }
        let stop = self.stopping.is_some_and(|deadline| deadline <= now);
        Ok(stop.then_some(0))
    }

    /// The exit code, when this is the end.
    fn take_signals(&mut self) -> io::Result<Option<u8>> {
        while let Some(signal) = self.signals.next() {
            match signal {
                libc::SIGCHLD => {
                    if let Some(code) = self.reap_children()? {
                        return Ok(Some(code));
                    }
                }
                libc::SIGUSR2 => self.upgrade_wanted = true,
                // Asked a second time: no more waiting.
                _ if self.stopping.is_some() => return Ok(Some(0)),
                _ => {
                    self.stopping = Some(sys::monotonic() + STOP_LIMIT);
                    if self.brain.pid().is_none() {
                        return Ok(Some(0));
                    }
                    self.tell(Event::Stopping);
                }
            }
        }
        Ok(None)
    }

    fn reap_children(&mut self) -> io::Result<Option<u8>> {
        while let Some((pid, ended)) = sys::reap(None, false)? {
            if self.brain.pid() == Some(pid) {
                let code = ended.code();
                self.drop_brain();
                let no_use = code == i32::from(BRAIN_GIVES_UP);
                if code == 0 || no_use || self.stopping.is_some() {
                    return Ok(Some(if no_use { BRAIN_GIVES_UP } else { 0 }));
                }
                self.facts.restarts += 1;
                let after = self.brain.schedule_restart();
                tracing::error!(
                    code,
                    ?after,
                    "the brain ended; pods go on, it is started again"
                );
                continue;
            }
            let now = self.now();
            if !(self.init_ended(pid)
                || self.main_ended(pid, ended, now)
                || self.exec_ended(pid, ended)
                || self.stream_ended(pid, ended))
            {
                // A joiner, an adopted orphan, or one whose report was not read yet.
                self.unclaimed.insert(pid, (ended, now));
            }
        }
        self.forget_unclaimed();
        Ok(None)
    }

    fn forget_unclaimed(&mut self) {
        let awaits_report = self.containers.values().any(ContainerRecord::awaits_report)
            || self.execs.values().any(ExecRecord::awaits_report)
            || self.streams.values().any(StreamRecord::awaits_report);
        if !awaits_report {
            self.unclaimed.clear();
        }
    }

    fn hear_brain(&mut self) {
        let Some(orders) = self.brain.receive() else {
            self.disconnect_brain();
            return;
        };
        for Order { id, request } in orders {
            let order = OrderId {
                brain: self.facts.restarts,
                id,
            };
            if let Some(reply) = self.carry_out(order, request) {
                self.reply(order, reply);
            }
        }
    }

    /// The reply, when it can be given at once.
    fn carry_out(&mut self, order: OrderId, request: Request) -> Option<Reply> {
        match request {
            Request::Hello => {
                self.hello(order);
                None
            }
            Request::CreateSandbox(spec) => Some(self.create_sandbox(&spec).into()),
            Request::RemoveSandbox { pod } => self.remove_sandbox(order, &pod),
            Request::StartContainer(spec) => self.start_container(order, *spec),
            Request::Signal { key, signal } => Some(self.signal_container(&key, signal).into()),
            Request::KillAll { key } => Some(self.kill_container(&key).into()),
            Request::Acknowledge { key } => {
                self.acknowledge(&key);
                Some(Reply::Done)
            }
            Request::Exec { key, argv, limit } => self.start_exec(order, &key, &argv, limit),
            Request::ExecStream {
                key,
                argv,
                stdin,
                terminal,
            } => self.start_stream(order, &key, &argv, stdin, terminal),
            Request::Inventory => Some(Reply::Inventory(self.inventory())),
            Request::Listen { name, listen } => match self.listen(name, listen) {
                Ok((socket, reply)) => {
                    self.send(order, reply, vec![socket]);
                    None
                }
                Err(error) => Some(Reply::Failed(error)),
            },
            Request::Unlisten { name } => {
                if let Some((_, socket)) = self.listeners.remove(&name) {
                    sys::shut_down(socket.as_fd());
                }
                Some(Reply::Done)
            }
        }
    }

    fn hello(&mut self, order: OrderId) {
        let mesh = match self.mesh.namespace().try_clone_to_owned() {
            Ok(mesh) => mesh,
            Err(error) => {
                let error = KeeperError::Create(format!("no descriptor is free: {error}"));
                return self.reply(order, Reply::Failed(error));
            }
        };
        self.send(
            order,
            Reply::Hello(Box::new(self.facts.clone())),
            vec![mesh],
        );
        let exits: Vec<Event> = self
            .containers
            .values()
            .filter_map(|container| match container.state() {
                ContainerState::Exited(exit) => Some(Event::ContainerExited(exit)),
                _ => None,
            })
            .collect();
        for exit in exits {
            self.tell(exit);
        }
        if self.stopping.is_some() {
            self.tell(Event::Stopping);
        }
    }

    fn inventory(&self) -> Inventory {
        let containers = self.containers.iter().map(|(key, container)| Container {
            key: key.clone(),
            state: container.state(),
            location: container.location(),
        });
        let listeners = self
            .listeners
            .iter()
            .filter_map(|(name, (listen, socket))| {
                Some((
                    name.clone(),
                    listen.clone(),
                    network::local_address(socket.as_fd()).ok()?,
                ))
            });
        Inventory {
            sandboxes: self
                .sandboxes
                .values()
                .map(|sandbox| sandbox.info.clone())
                .collect(),
            containers: containers.collect(),
            listeners: listeners.collect(),
        }
    }

    fn listen(&mut self, name: String, listen: Listen) -> Result<(OwnedFd, Reply), KeeperError> {
        let failed = |error: io::Error| {
            let (Listen::HostTcp(address) | Listen::MeshTcp(address) | Listen::MeshUdp(address)) =
                &listen;
            let hint = match error.kind() {
                io::ErrorKind::AddrInUse => ": another program listens there",
                io::ErrorKind::PermissionDenied if address.port() < 1024 => {
                    ": ports below 1024 need root on this host, or: sudo sysctl -w \
                     net.ipv4.ip_unprivileged_port_start=0"
                }
                _ => "",
            };
            KeeperError::Listen(format!(
                "cannot listen on {address}: {}{hint}",
                sentence(&error)
            ))
        };
        if let Some((known, socket)) = self.listeners.get(&name) {
            if *known == listen {
                let socket = socket.try_clone().map_err(failed)?;
                let address = network::local_address(socket.as_fd()).map_err(failed)?;
                return Ok((socket, Reply::Listening(address)));
            }
            sys::shut_down(socket.as_fd());
            self.listeners.remove(&name);
        }
        let socket = match &listen {
            Listen::HostTcp(_) => network::bind(&listen),
            Listen::MeshTcp(_) | Listen::MeshUdp(_) => self.mesh.listen(&listen),
        }
        .map_err(failed)?;
        let address = network::local_address(socket.as_fd()).map_err(failed)?;
        let theirs = socket.try_clone().map_err(failed)?;
        self.listeners.insert(name, (listen, socket));
        Ok((theirs, Reply::Listening(address)))
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(super) fn carry_listeners(&self) -> Vec<(String, Listen, RawFd)> {
        let listeners = self.listeners.iter();
        listeners
            .map(|(name, (listen, socket))| (name.clone(), listen.clone(), socket.as_raw_fd()))
            .collect()
    }

    pub(super) fn restore_listener(&mut self, name: String, listen: Listen, socket: OwnedFd) {
        self.listeners.insert(name, (listen, socket));
    }

    pub(super) fn reply(&mut self, order: OrderId, reply: Reply) {
        self.send(order, reply, Vec::new());
    }

    pub(super) fn send(&mut self, order: OrderId, reply: Reply, descriptors: Vec<OwnedFd>) {
        if order.brain == self.facts.restarts {
            self.brain.send(
                &Message::Reply {
                    id: order.id,
                    reply,
                },
                descriptors,
            );
        }
    }

    /// Tells the brain, if there is one; what it must not miss is told again to the next.
    pub(super) fn tell(&mut self, event: Event) {
        self.brain.send(&Message::Event(event), Vec::new());
    }

    /// Ends every process and removes what was made.
    fn clean_up(&mut self) {
        const LIMIT: Duration = Duration::from_secs(10);
        if let Some(brain) = self.brain.pid() {
            let _ = sys::kill(brain, libc::SIGKILL);
        }
        for sandbox in self.sandboxes.values() {
            let _ = sys::kill(sandbox.info.pid, libc::SIGKILL);
        }
        let deadline = sys::monotonic() + LIMIT;
        let mut alive = self.sandboxes.len() + usize::from(self.brain.pid().is_some());
        while alive > 0 && sys::monotonic() < deadline {
            while let Ok(Some((pid, _))) = sys::reap(None, false) {
                let is_init = self
                    .sandboxes
                    .values()
                    .any(|sandbox| sandbox.info.pid == pid);
                alive -= usize::from(is_init || self.brain.pid() == Some(pid));
            }
            if alive > 0 {
                // Woken by SIGCHLD.
                let _ = self.poll.wait(Some(REMOVE_AGAIN));
                while self.signals.next().is_some() {}
            }
        }
        while !self.cgroups.remove() && sys::monotonic() < deadline {
            let _ = self.poll.wait(Some(Duration::from_millis(5)));
        }
    }
}

impl From<Result<Reply, KeeperError>> for Reply {
    fn from(result: Result<Self, KeeperError>) -> Self {
        result.unwrap_or_else(Self::Failed)
    }
}
