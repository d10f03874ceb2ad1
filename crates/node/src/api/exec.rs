//! `exec`: a command in a running container, talked with over a WebSocket.
//!
//! Each binary message begins with the number of its channel: 0 stdin, 1 stdout, 2 stderr, 3 how it
//! ended (a Status), 4 the size of the terminal, 255 the closing of the channel that follows.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, Request, State};
use axum::http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role};

use super::{LogError, status_of};
use crate::keeper::{ExecStdio, ExecStreams, resize_terminal};
use crate::kubelet::runtime::{ContainerRun, Runtime, RuntimeError};
use crate::kubelet::view::all_containers;
use crate::kubelet::{Shared, Snapshot};
use crate::sys;

/// The protocols spoken, the best first. Only the first can close stdin.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// What RFC 6455 has a server append to the client's key.
const KEY_SUFFIX: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const STDIN: u8 = 0;
pub(super) const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ENDED: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;
/// The most bytes of output in one message.
const CHUNK: usize = 32 << 10;
/// Messages on their way in each direction: a command that is not read from, or does not read,
/// waits.
const IN_FLIGHT: usize = 8;
/// For how long a command that has ended is listened to, when something that it left behind holds
/// its outputs open and says nothing.
const LAST_WORDS: Duration = Duration::from_millis(300);

pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// What shall be run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    command: Vec<String>,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    tty: bool,
}

impl Wanted {
    fn read(query: Vec<(String, String)>) -> Result<Self, LogError> {
        let mut wanted = Self::default();
        for (name, value) in query {
            // As Kubernetes reads truth values in queries.
            let is_true = !(value.eq_ignore_ascii_case("false") || value == "0");
            match name.as_str() {
                "command" => wanted.command.push(value),
                "stdin" => wanted.stdin = is_true,
                "stdout" => wanted.stdout = is_true,
                "stderr" => wanted.stderr = is_true,
                "tty" => wanted.tty = is_true,
                _ => {}
            }
        }
        if wanted.command.is_empty() {
            let message = "you must specify at least one command for the container";
            return Err(LogError::BadOption(message.to_owned()));
        }
        if !(wanted.stdin || wanted.stdout || wanted.stderr) {
            let message = "you must specify at least 1 of stdin, stdout, stderr";
            return Err(LogError::BadOption(message.to_owned()));
        }
        Ok(wanted)
    }
}

/// Answers a request to run a command.
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    Path((namespace, pod, container)): Path<(String, String, String)>,
    Query(query): Query<Vec<(String, String)>>,
    mut request: Request,
) -> Result<Response, LogError> {
    let wanted = Wanted::read(query)?;
    let (snapshot, run) = running(&shared, &namespace, pod, container)?;
    let spec = snapshot.pod.spec.clone().unwrap_or_default();
    let class = spec.runtime_class_name.unwrap_or_default();
    let handler = shared.cluster.runtime_handler(&class).await;
    let runtime = handler
        .ok()
        .flatten()
        .and_then(|name| Some(Arc::clone(&shared.handlers.get(&name)?.runtime)))
        .ok_or_else(|| LogError::NotNow(format!("no runtime for class \"{class}\"")))?;
    let (response, upgrade) = open(&mut request)?;
    tokio::spawn(async move {
        if let Err(error) = converse(upgrade, runtime, run, wanted).await {
            tracing::debug!(%error, "an exec's connection broke");
        }
    });
    Ok(response)
}

/// The pod, and the run of its container, which must be under way.
pub(super) fn running(
    shared: &Shared,
    namespace: &str,
    pod: String,
    container: String,
) -> Result<(Snapshot, ContainerRun), LogError> {
    let is_it = |snapshot: &Snapshot| {
        snapshot.pod.metadata.namespace.as_deref() == Some(namespace)
            && snapshot.pod.metadata.name.as_deref() == Some(&pod)
    };
    let Some(snapshot) = shared.snapshots().into_iter().find(is_it) else {
        return Err(LogError::NoPod(pod));
    };
    let spec = snapshot.pod.spec.as_ref();
    let is_known = spec.is_some_and(|spec| all_containers(spec).any(|own| own.name == container));
    if !is_known {
        return Err(LogError::NoContainer { container, pod });
    }
    let run = status_of(&snapshot.status, &container)
        .filter(|status| {
            let state = status.state.as_ref();
            state.is_some_and(|state| state.running.is_some())
        })
        .and_then(|status| ContainerRun::parse(status.container_id.as_deref()?))
        .ok_or_else(|| LogError::NotNow(format!("container not found (\"{container}\")")))?;
    Ok((snapshot, run))
}

/// Accepts a WebSocket: the answer, and what becomes the connection once that is sent.
pub(super) fn open(request: &mut Request) -> Result<(Response, OnUpgrade), LogError> {
    let (accept, protocol) = handshake(request.method(), request.headers())?;
    let upgrade = hyper::upgrade::on(request);
    let headers = [
        (CONNECTION, HeaderValue::from_static("Upgrade")),
        (UPGRADE, HeaderValue::from_static("websocket")),
        (SEC_WEBSOCKET_ACCEPT, accept),
        (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol)),
    ];
    let response = (StatusCode::SWITCHING_PROTOCOLS, headers).into_response();
    Ok((response, upgrade))
}

/// The answer to a WebSocket's key, and the protocol to be spoken.
fn handshake(
    method: &Method,
    headers: &HeaderMap,
) -> Result<(HeaderValue, &'static str), LogError> {
    let refuse = |why: &str| Err(LogError::BadOption(why.to_owned()));
    let has = |name: HeaderName, wanted: &str| {
        let values = headers.get_all(name).into_iter();
        let mut words = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        words.any(|word| word.trim().eq_ignore_ascii_case(wanted))
    };
    if method != Method::GET || !has(UPGRADE, "websocket") || !has(CONNECTION, "upgrade") {
        return refuse(
            "commands are run over a WebSocket only, which kubectl speaks since 1.31 unless \
             KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false",
        );
    }
    let Some(key) = headers
        .get(SEC_WEBSOCKET_KEY)
        .filter(|_| has(SEC_WEBSOCKET_VERSION, "13"))
    else {
        return refuse("the WebSocket needs a key and version 13");
    };
    let spoken = PROTOCOLS
        .into_iter()
        .find(|protocol| has(SEC_WEBSOCKET_PROTOCOL, protocol));
    let Some(protocol) = spoken else {
        return refuse("the WebSocket's protocol must be v5.channel.k8s.io or v4.channel.k8s.io");
    };
    let mut text = key.as_bytes().to_vec();
    text.extend_from_slice(KEY_SUFFIX.as_bytes());
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &text);
    let accept = base64::engine::general_purpose::STANDARD.encode(digest);
    match HeaderValue::from_str(&accept) {
        Ok(accept) => Ok((accept, protocol)),
        Err(_) => refuse("the WebSocket's key cannot be answered"),
    }
}

pub(super) type WebSocketError = tokio_tungstenite::tungstenite::Error;

async fn converse(
    upgrade: OnUpgrade,
    runtime: Arc<dyn Runtime>,
    run: ContainerRun,
    wanted: Wanted,
) -> Result<(), WebSocketError> {
    let (mut sink, source) = connect(upgrade).await?;
    let first = match (wanted.stdout, wanted.stderr) {
        (true, _) => STDOUT,
        (false, true) => STDERR,
        (false, false) => ENDED,
    };
    // Kubernetes says by an empty message that the connection stands.
    sink.send(Message::binary(vec![first])).await?;
    let started = runtime
        .exec_stream(&run, &wanted.command, wanted.stdin, wanted.tty)
        .await;
    let status = match started {
        Err(error) => Some(refused(&error)),
        Ok(streams) => match Talk::begin(streams, &wanted) {
            Err(error) => Some(refused(&RuntimeError::Refused(error.to_string()))),
            Ok(talk) => talk.hold(&mut sink, source, &wanted.command).await?,
        },
    };
    match status {
        Some(status) => conclude(&mut sink, &status).await,
        None => Ok(()),
    }
}

/// The WebSocket, when the connection has become one.
pub(super) async fn connect(
    upgrade: OnUpgrade,
) -> Result<(SplitSink<Socket, Message>, SplitStream<Socket>), WebSocketError> {
    let upgraded = upgrade.await.map_err(io::Error::other)?;
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    Ok(socket.split())
}

/// Says how it ended, and ends the connection.
pub(super) async fn conclude(
    sink: &mut SplitSink<Socket, Message>,
    status: &Value,
) -> Result<(), WebSocketError> {
    let mut message = vec![ENDED];
    message.extend_from_slice(status.to_string().as_bytes());
    sink.send(Message::binary(message)).await?;
    let normal = CloseFrame {
        code: CloseCode::Normal,
        reason: "".into(),
    };
    sink.send(Message::Close(Some(normal))).await
}

/// The streams of a command that runs.
struct Talk {
    outputs: JoinSet<()>,
    said: mpsc::Receiver<Message>,
    end: pipe::Receiver,
    stdin: Option<pipe::Sender>,
    terminal: Option<OwnedFd>,
}

impl Talk {
    fn begin(streams: ExecStreams, wanted: &Wanted) -> io::Result<Self> {
        let (say, said) = mpsc::channel(IN_FLIGHT);
        let mut outputs = JoinSet::new();
        let mut listen = |channel, is_wanted: bool, from| {
            let say = say.clone();
            outputs.spawn(pass_output(channel, is_wanted, from, say));
        };
        let (stdin, terminal) = match streams.stdio {
            ExecStdio::Pipes {
                stdout,
                stderr,
                stdin,
            } => {
                let stdout = pipe::Receiver::from_owned_fd(stdout)?;
                let stderr = pipe::Receiver::from_owned_fd(stderr)?;
                listen(STDOUT, wanted.stdout, stdout);
                listen(STDERR, wanted.stderr, stderr);
                (stdin.map(pipe::Sender::from_owned_fd).transpose()?, None)
            }
            ExecStdio::Terminal(control) => {
                // Not a pipe, but read and written in the same way.
                sys::set_nonblocking(control.as_fd())?;
                let stdout = pipe::Receiver::from_owned_fd_unchecked(control.try_clone()?)?;
                let stdin = pipe::Sender::from_owned_fd_unchecked(control.try_clone()?)?;
                listen(STDOUT, wanted.stdout, stdout);
                (wanted.stdin.then_some(stdin), Some(control))
            }
        };
        Ok(Self {
            outputs,
            said,
            end: pipe::Receiver::from_owned_fd(streams.end)?,
            stdin,
            terminal,
        })
    }

    /// Passes everything on until the command has ended, and tells how; nothing when the client
    /// has gone before.
    async fn hold(
        self,
        sink: &mut SplitSink<Socket, Message>,
        source: SplitStream<Socket>,
        command: &[String],
    ) -> Result<Option<Value>, WebSocketError> {
        let Self {
            // Dropped, and with it the tasks that listen, in the end.
            outputs: _outputs,
            mut said,
            mut end,
            stdin,
            terminal,
        } = self;
        let speaking = async {
            let mut ended = std::pin::pin!(exit_code(&mut end));
            let code = loop {
                tokio::select! {
                    biased;
                    message = said.recv() => match message {
                        Some(message) => sink.send(message).await?,
                        // Its outputs are closed, but it may not have ended.
                        None => break ended.await,
                    },
                    code = ended.as_mut() => {
                        while let Ok(Some(message)) = timeout(LAST_WORDS, said.recv()).await {
                            sink.send(message).await?;
                        }
                        break code;
                    }
                }
            };
            Ok(Some(status(code, command)))
        };
        tokio::select! {
            biased;
            status = speaking => status,
            () = hear(source, stdin, terminal) => Ok(None),
        }
    }
}

/// Reads an output until its end; what is not wanted is thrown away.
async fn pass_output(
    channel: u8,
    is_wanted: bool,
    mut from: pipe::Receiver,
    say: mpsc::Sender<Message>,
) {
    let mut buffer = vec![0; CHUNK];
    buffer[0] = channel;
    // A terminal whose programs have all ended gives an error.
    while let Ok(count) = from.read(&mut buffer[1..]).await
        && count > 0
    {
        let message = Message::binary(buffer[..=count].to_vec());
        if is_wanted && say.send(message).await.is_err() {
            return;
        }
    }
}

/// What the keeper says at the end.
async fn exit_code(end: &mut pipe::Receiver) -> Option<i32> {
    let mut text = String::new();
    end.read_to_string(&mut text).await.ok()?;
    text.parse().ok()
}

/// Carries out what the client says, until it is gone.
async fn hear(
    mut source: SplitStream<Socket>,
    mut stdin: Option<pipe::Sender>,
    terminal: Option<OwnedFd>,
) {
    while let Some(Ok(message)) = source.next().await {
        let bytes = match message {
            // The Python client sends text as text.
            Message::Binary(_) | Message::Text(_) => message.into_data(),
            Message::Close(_) => return,
            _ => continue,
        };
        match bytes.split_first() {
            Some((&STDIN, bytes)) => {
                if let Some(pipe) = &mut stdin
                    && pipe.write_all(bytes).await.is_err()
                {
                    // It does not read any more.
                    stdin = None;
                }
            }
            Some((&CLOSE, [STDIN, ..])) => stdin = None,
            Some((&RESIZE, bytes)) => {
                if let (Some(terminal), Ok(size)) = (&terminal, serde_json::from_slice(bytes)) {
                    let Size { width, height } = size;
                    if let Err(error) = resize_terminal(terminal.as_fd(), height, width) {
                        tracing::debug!(%error, "cannot resize a terminal");
                    }
                }
            }
            _ => {}
        }
    }
}

/// The size of a terminal, in characters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

/// How it ended, for the client.
pub(super) fn status(code: Option<i32>, command: &[String]) -> Value {
    match code {
        Some(0) => json!({"metadata": {}, "status": "Success"}),
        Some(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!(
                "command terminated with non-zero exit code: error executing command [{}], exit code {code}",
                command.join(" ")
            ),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        None => internal("the command's end is not known: the node's keeper was replaced"),
    }
}

/// Why it did not begin, for the client.
fn refused(error: &RuntimeError) -> Value {
    internal(&format!("error executing command in container: {error}"))
}

fn internal(message: &str) -> Value {
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("Internal error occurred: {message}"),
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_shall_be_run_is_read_from_the_query_or_refused() {
        let read = |pairs: &[(&str, &str)]| {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            Wanted::read(pairs.iter().map(owned).collect())
        };
        let wanted = read(&[
            ("command", "ls"),
            ("command", "-l"),
            ("container", "c"),
            ("stdin", "False"),
            ("stdout", "true"),
            ("tty", "0"),
        ]);
        let expected = Wanted {
            command: vec!["ls".to_owned(), "-l".to_owned()],
            stdout: true,
            ..Wanted::default()
        };
        assert_eq!(wanted, Ok(expected));
        assert!(read(&[("stdout", "1")]).is_err());
        assert!(read(&[("command", "ls")]).is_err());
    }

    #[test]
    fn the_handshake_is_answered_as_rfc_6455_shows_it() {
        let mut headers = HeaderMap::new();
        let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
        set(CONNECTION, "keep-alive, Upgrade");
        set(UPGRADE, "websocket");
        set(SEC_WEBSOCKET_VERSION, "13");
        set(SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ==");
        set(
            SEC_WEBSOCKET_PROTOCOL,
            "v4.channel.k8s.io,v5.channel.k8s.io",
        );
        let (accept, protocol) = handshake(&Method::GET, &headers).expect("accepted");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(protocol, "v5.channel.k8s.io");
        assert!(handshake(&Method::POST, &headers).is_err());
        let other = HeaderValue::from_static("channel.k8s.io");
        headers.insert(SEC_WEBSOCKET_PROTOCOL, other);
        assert!(handshake(&Method::GET, &headers).is_err());
    }

    #[test]
    fn an_exit_code_is_told_as_kubernetes_tells_it() {
        let command = ["sh".to_owned()];
        assert_eq!(status(Some(0), &command)["status"], "Success");
        let failed = status(Some(3), &command);
        assert_eq!(failed["reason"], "NonZeroExitCode");
        assert_eq!(
            failed["details"]["causes"],
            json!([{"reason": "ExitCode", "message": "3"}])
        );
    }
}
