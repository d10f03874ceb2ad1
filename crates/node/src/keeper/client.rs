//! The brain's side of the keeper: orders, replies, and what happens by itself.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::protocol::{
    ContainerKey, ContainerSpec, ContainerState, Event, ExecOutcome, ExecStdio, ExecStreams, Facts,
    Frames, Inventory, KeeperError, Listen, Message, Order, Reply, Request, Sandbox, SandboxSpec,
    Started, encode,
};
use crate::cgroups::{Traffic, Usage};
use crate::network::POD_LINK_NAME;
use crate::sys;

/// Talks to the keeper. Cheap to clone; every clone is the same connection.
///
/// Every order can be repeated: what is there already is answered as if it had just been made.
#[derive(Debug, Clone)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    orders: mpsc::Sender<Vec<u8>>,
    waiting: Arc<Mutex<Waiting>>,
    facts: Facts,
    mesh: OwnedFd,
}

/// Who waits for which reply.
#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    replies: BTreeMap<u64, oneshot::Sender<Answer>>,
    gone: bool,
}

#[derive(Debug)]
struct Answer {
    reply: Reply,
    descriptors: Vec<OwnedFd>,
}

/// What happens by itself. Ends when the keeper is gone. Unbounded, since each exit is told once
/// per connection and there are no more of them than containers.
pub type Events = mpsc::UnboundedReceiver<Event>;

impl Client {
    /// Connects to the keeper that started this process. To be called once, within a tokio
    /// runtime.
    ///
    /// # Errors
    /// When this process was not started by a keeper, or the keeper does not answer.
    pub async fn connect() -> io::Result<(Self, Events)> {
        let socket = sys::inherited_socket(super::SOCKET_VARIABLE)?;
        socket.set_nonblocking(true)?;
        let (read, write) = UnixStream::from_std(socket)?.into_split();
        // A bound so that a keeper that stalls holds its callers up; each waits for a reply
        // anyway.
        let (orders, to_send) = mpsc::channel(64);
        let (events, received) = mpsc::unbounded_channel();
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        tokio::spawn(send(write, to_send));
        tokio::spawn(receive(read, Arc::clone(&waiting), events));
        let answer = ask(&orders, &waiting, Request::Hello)
            .await
            .map_err(io::Error::other)?;
        let Answer {
            reply: Reply::Hello(facts),
            mut descriptors,
        } = answer
        else {
            return Err(io::Error::other(
                "the keeper does not speak this version's protocol",
            ));
        };
        let mesh = descriptors
            .pop()
            .ok_or_else(|| io::Error::other("the keeper sent no mesh namespace"))?;
        Ok((
            Self(Arc::new(Shared {
                orders,
                waiting,
                facts: *facts,
                mesh,
            })),
            received,
        ))
    }

    /// What this node can do.
    pub fn facts(&self) -> &Facts {
        &self.0.facts
    }

    /// The mesh network namespace; for [`crate::MeshNamespace::new`].
    pub fn mesh_namespace(&self) -> BorrowedFd<'_> {
        self.0.mesh.as_fd()
    }

    /// Makes a pod's sandbox: its init runs, its network is ready.
    pub async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox, KeeperError> {
        match self.ask(Request::CreateSandbox(spec)).await?.reply {
            Reply::Sandbox(sandbox) => Ok(sandbox),
            other => Err(unexpected(other)),
        }
    }

    /// Ends a pod's sandbox with everything in it, and forgets its containers (exits that were not
    /// acknowledged included). Returns when its processes are gone. A sandbox that is not there is
    /// no error.
    pub async fn remove_sandbox(&self, pod: &str) -> Result<(), KeeperError> {
        self.done(Request::RemoveSandbox {
            pod: pod.to_owned(),
        })
        .await
    }

    /// Starts a container; returns when its command was executed, or with the reason why it could
    /// not be. A run that ended already but was not acknowledged is answered as started.
    pub async fn start_container(&self, spec: ContainerSpec) -> Result<Started, KeeperError> {
        match self
            .ask(Request::StartContainer(Box::new(spec)))
            .await?
            .reply
        {
            Reply::Started(started) => Ok(started),
            other => Err(unexpected(other)),
        }
    }

    /// Sends a signal to a container's main process. A container that has ended is no error.
    pub async fn signal(&self, key: &ContainerKey, signal: i32) -> Result<(), KeeperError> {
        self.done(Request::Signal {
            key: key.clone(),
            signal,
        })
        .await
    }

    /// Kills every process of a container. Its exit comes as an event.
    pub async fn kill(&self, key: &ContainerKey) -> Result<(), KeeperError> {
        self.done(Request::KillAll { key: key.clone() }).await
    }

    /// Says that an exit was recorded and need not be told again.
    pub async fn acknowledge(&self, key: &ContainerKey) -> Result<(), KeeperError> {
        self.done(Request::Acknowledge { key: key.clone() }).await
    }

    /// Runs a command in a running container, as its user and in its cgroup, for at most `limit`.
    ///
    /// # Errors
    /// [`KeeperError::NoContainer`], or [`KeeperError::Start`] when the command cannot be
    /// executed.
    pub async fn exec(
        &self,
        key: &ContainerKey,
        argv: Vec<String>,
        limit: Duration,
    ) -> Result<ExecOutcome, KeeperError> {
        match self
            .ask(Request::Exec {
                key: key.clone(),
                argv,
                limit,
            })
            .await?
            .reply
        {
            Reply::Exec(outcome) => Ok(outcome),
            other => Err(unexpected(other)),
        }
    }

    /// Runs a command in a running container, as its user and in its cgroup, with streams. `stdin`
    /// says whether it reads one; with a terminal it always does.
    ///
    /// # Errors
    /// As [`Client::exec`].
    pub async fn exec_stream(
        &self,
        key: &ContainerKey,
        argv: Vec<String>,
        stdin: bool,
        terminal: bool,
    ) -> Result<ExecStreams, KeeperError> {
        let request = Request::ExecStream {
            key: key.clone(),
            argv,
            stdin,
            terminal,
        };
        let Answer { reply, descriptors } = self.ask(request).await?;
        if !matches!(reply, Reply::Streams) {
            return Err(unexpected(reply));
        }
        let mut descriptors = descriptors.into_iter();
        let mut next = || descriptors.next().ok_or(KeeperError::Gone);
        let end = next()?;
        let stdio = if terminal {
            ExecStdio::Terminal(next()?)
        } else {
            ExecStdio::Pipes {
                stdout: next()?,
                stderr: next()?,
                stdin: if stdin { Some(next()?) } else { None },
            }
        };
        Ok(ExecStreams { end, stdio })
    }

    /// What the keeper holds: what a new brain adopts.
    pub async fn inventory(&self) -> Result<Inventory, KeeperError> {
        match self.ask(Request::Inventory).await?.reply {
            Reply::Inventory(inventory) => Ok(inventory),
            other => Err(unexpected(other)),
        }
    }

    /// The use of every running container. Reads files; takes some 50 µs a container.
    pub async fn usages(&self) -> Result<Vec<(ContainerKey, Usage)>, KeeperError> {
        let containers = self.inventory().await?.containers;
        let measure = move || {
            containers
                .into_iter()
                .filter_map(|container| match container.state {
                    ContainerState::Running(started) => {
                        let mut usage = container.location.usage(started.pid).ok()?;
                        usage.traffic = Traffic::of_process(started.pid, POD_LINK_NAME);
                        Some((container.key, usage))
                    }
                    _ => None,
                })
                .collect()
        };
        tokio::task::spawn_blocking(measure)
            .await
            .map_err(|_| KeeperError::Gone)
    }

    /// A listening socket the keeper holds under a name, made if it is not there, with the address
    /// it really has. The next brain that asks for the same name and address gets the same socket,
    /// port 0 included; another address under the name replaces it.
    ///
    /// The socket does not block. For TCP, `tokio::net::TcpListener::from_std(fd.into())`.
    pub async fn listen(
        &self,
        name: &str,
        listen: Listen,
    ) -> Result<(OwnedFd, SocketAddr), KeeperError> {
        let request = Request::Listen {
            name: name.to_owned(),
            listen,
        };
        let Answer {
            reply,
            mut descriptors,
        } = self.ask(request).await?;
        match (reply, descriptors.pop()) {
            (Reply::Listening(address), Some(socket)) => Ok((socket, address)),
            (other, _) => Err(unexpected(other)),
        }
    }

    /// Shuts a listening socket down, so that waiting and new callers are refused. One that is not
    /// there is no error.
    pub async fn unlisten(&self, name: &str) -> Result<(), KeeperError> {
        self.done(Request::Unlisten {
            name: name.to_owned(),
        })
        .await
    }

    async fn done(&self, request: Request) -> Result<(), KeeperError> {
        match self.ask(request).await?.reply {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    async fn ask(&self, request: Request) -> Result<Answer, KeeperError> {
        ask(&self.0.orders, &self.0.waiting, request).await
    }
}

fn unexpected(reply: Reply) -> KeeperError {
    match reply {
        Reply::Failed(error) => error,
        _ => KeeperError::Gone,
    }
}

async fn ask(
    orders: &mpsc::Sender<Vec<u8>>,
    waiting: &Mutex<Waiting>,
    request: Request,
) -> Result<Answer, KeeperError> {
    let (tell, told) = oneshot::channel();
    let id = {
        let mut waiting = waiting.lock();
        if waiting.gone {
            return Err(KeeperError::Gone);
        }
        waiting.last += 1;
        let id = waiting.last;
        waiting.replies.insert(id, tell);
        id
    };
    orders
        .send(encode(&Order { id, request }, 0))
        .await
        .map_err(|_| KeeperError::Gone)?;
    told.await.map_err(|_| KeeperError::Gone)
}

async fn send(mut socket: OwnedWriteHalf, mut orders: mpsc::Receiver<Vec<u8>>) {
    while let Some(frame) = orders.recv().await {
        if socket.write_all(&frame).await.is_err() {
            return;
        }
    }
}

async fn receive(
    socket: OwnedReadHalf,
    waiting: Arc<Mutex<Waiting>>,
    events: mpsc::UnboundedSender<Event>,
) {
    let mut frames = Frames::default();
    let mut descriptors = VecDeque::new();
    while let Ok(bytes) = receive_some(&socket, &mut descriptors).await
        && !bytes.is_empty()
    {
        frames.push(&bytes);
        while let Ok(Some((body, count))) = frames.next() {
            let own = descriptors
                .drain(..usize::from(count).min(descriptors.len()))
                .collect();
            match serde_json::from_slice(&body) {
                Ok(Message::Event(event)) => {
                    // Nobody who listens is no error: the brain is ending.
                    let _ = events.send(event);
                }
                Ok(Message::Reply { id, reply }) => {
                    if let Some(caller) = waiting.lock().replies.remove(&id) {
                        // A caller that gave up is no error: orders can be repeated.
                        let _ = caller.send(Answer {
                            reply,
                            descriptors: own,
                        });
                    }
                }
                Err(error) => tracing::error!(%error, "cannot read what the keeper says"),
            }
        }
    }
    let mut waiting = waiting.lock();
    waiting.gone = true;
    waiting.replies.clear();
}

async fn receive_some(
    socket: &OwnedReadHalf,
    descriptors: &mut VecDeque<OwnedFd>,
) -> io::Result<Vec<u8>> {
    let stream: &UnixStream = socket.as_ref();
    loop {
        stream.readable().await?;
        let received = stream.try_io(Interest::READABLE, || {
            sys::receive_with_descriptors(stream.as_fd())
        });
        match received {
            Ok((bytes, own)) => {
                descriptors.extend(own);
                return Ok(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
