//! `k6/ws` and `k6/websockets`.

mod event;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use futures::{SinkExt, StreamExt};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use rquickjs::{Ctx, Result, Value};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message, client::IntoClientRequest};
use url::Url;

pub(super) use self::event::SocketEvent;
use self::event::{End, Failure};
use super::values::{self, Arguments};
use super::{Event, Host};
use crate::metric::{Tags, milliseconds};

/// Messages on their way to a socket; a script that sends more waits for none of them, as in k6.
pub(super) type Outbox = mpsc::UnboundedSender<Message>;

/// How a socket is opened.
struct Opening {
    /// None: what was given is no URL of a socket.
    url: Option<Url>,
    headers: HeaderMap,
    tags: Tags,
    /// By the interface of events, of which k6 counts more messages, and no refused sessions' length.
    by_events: bool,
}

/// A session that was counted when it began; its length is counted when it is over, whatever ends it.
struct Session<'host> {
    host: &'host Host,
    tags: Tags,
    start: Instant,
    counts_length: bool,
}

// === impl Session ===

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if self.counts_length {
            let metric = &self.host.sink.registry().builtin().ws_session_duration;
            let took = milliseconds(self.start.elapsed());
            // As in k6, not of one that was cut short.
            self.host.count(metric, took, &self.tags);
        }
    }
}

// === impl Host ===

impl Host {
    pub(super) fn call_socket<'js>(
        self: &Rc<Self>,
        ctx: &Ctx<'js>,
        name: &str,
        arguments: &Arguments<'_, 'js>,
    ) -> Result<Value<'js>> {
        let nothing = || Ok(Value::new_undefined(ctx.clone()));
        match name {
            "socket.open" => {
                self.refuse_in_init(ctx, "using websockets")?;
                let id: u64 = arguments.whole(0)?;
                let opening = self.opening(ctx, arguments)?;
                let (sender, receiver) = mpsc::unbounded_channel();
                self.sockets.borrow_mut().insert(id, sender);
                let host = Rc::downgrade(self);
                self.start(id, async move {
                    let Some(host) = host.upgrade() else { return };
                    let End {
                        failure,
                        code,
                        reason,
                    } = host.converse(id, opening, receiver).await;
                    host.sockets.borrow_mut().remove(&id);
                    if let Some(failure) = failure {
                        host.push(Event::Socket(id, SocketEvent::Error(failure)));
                    }
                    host.push(Event::Socket(id, SocketEvent::Close { code, reason }));
                });
                nothing()
            }
            "socket.send" => {
                let value = arguments
                    .get(1)
                    .ok_or_else(|| values::throw(ctx, "nothing to send was given"))?;
                let bytes = values::bytes(ctx, value)?;
                let message = if value.is_string() {
                    Message::Text(String::from_utf8_lossy(&bytes).into_owned().into())
                } else {
                    Message::Binary(bytes.into())
                };
                self.to_socket(arguments, message)?;
                nothing()
            }
            "socket.ping" => {
                self.to_socket(arguments, Message::Ping(Vec::new().into()))?;
                nothing()
            }
            "socket.close" => {
                let code: u16 = arguments.whole(1)?;
                let frame = CloseFrame {
                    code: CloseCode::from(code),
                    reason: arguments.text(2)?.into(),
                };
                self.to_socket(arguments, Message::Close(Some(frame)))?;
                nothing()
            }
            "socket.wait" => {
                let host = Rc::clone(self);
                self.wait(std::future::poll_fn(move |_| {
                    if host.events.borrow().is_empty() && !host.operations.borrow().is_empty() {
                        std::task::Poll::Pending
                    } else {
                        std::task::Poll::Ready(())
                    }
                }))
                .map_err(|_| values::interrupt(ctx))?;
                let event = self.events.borrow_mut().pop_front();
                match event {
                    Some(event) => self
                        .dispatch(ctx, event)
                        .map_err(|thrown| values::throw(ctx, &thrown.to_string()))?,
                    None => return Err(values::throw(ctx, "the socket is gone")),
                }
                nothing()
            }
            "socket.throws" => values::into(ctx, self.effective.options.throw == Some(true)),
            other => Err(values::throw(
                ctx,
                &format!("{other} is no call of the host"),
            )),
        }
    }

    fn to_socket(&self, arguments: &Arguments<'_, '_>, message: Message) -> Result<()> {
        let id: u64 = arguments.whole(0)?;
        if let Some(outbox) = self.sockets.borrow().get(&id) {
            // A socket that was closed meanwhile takes nothing more.
            let _ = outbox.send(message);
        }
        Ok(())
    }

    fn opening<'js>(&self, ctx: &Ctx<'js>, arguments: &Arguments<'_, 'js>) -> Result<Opening> {
        let text = arguments.text(1)?;
        let url = Url::parse(&text)
            .ok()
            .filter(|url| matches!(url.scheme(), "ws" | "wss") && url.has_host());
        // The events' interface throws and names its samples, the callbacks' does not.
        let by_events = arguments.truth(4);
        if url.is_none() && by_events {
            let reason = format!("{text:?} is not a ws:// or wss:// URL");
            return Err(values::throw(ctx, &reason));
        }
        let mut headers = HeaderMap::new();
        if let Some(agent) = &self.effective.user_agent {
            headers.insert(header::USER_AGENT, agent.clone());
        }
        let mut tags = self.tags.borrow().clone();
        let mut jar = 0;
        if let Some(params) = arguments.get(2).and_then(Value::as_object) {
            for entry in params.props::<String, Value>() {
                let (key, value) = entry?;
                let list = [value.clone()];
                let values_by_name = Arguments::new(ctx, &list);
                match key.as_str() {
                    "headers" => {
                        for (name, value) in values_by_name.texts_by_name(0)? {
                            let pair = name
                                .parse::<HeaderName>()
                                .ok()
                                .zip(HeaderValue::from_str(&value).ok());
                            let (name, value) = pair.ok_or_else(|| {
                                values::throw(ctx, &format!("header {name:?} cannot be sent"))
                            })?;
                            headers.insert(name, value);
                        }
                    }
                    "tags" => {
                        let more = values::tags(ctx, &value)?;
                        tags = tags.with_all(
                            more.into_iter()
                                .map(|(name, value)| (name.into(), value.into())),
                        );
                    }
                    "jar" => {
                        jar = value
                            .as_object()
                            .map(|jar| jar.get::<_, Option<u32>>("__jar"))
                            .transpose()?
                            .flatten()
                            .unwrap_or(0);
                    }
                    "compression" if !value.is_undefined() && !value.is_null() => {
                        return Err(values::throw(
                            ctx,
                            &format!("params.{key} is not supported for WebSockets"),
                        ));
                    }
                    _ => {}
                }
            }
        }
        if let Ok(protocols) = HeaderValue::from_str(&arguments.text(3)?)
            && !protocols.is_empty()
        {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocols);
        }
        if !headers.contains_key(header::COOKIE)
            && let Some(url) = &url
            && let Some(cookies) = self.cookies_for_socket(jar, url)
        {
            headers.insert(header::COOKIE, cookies);
        }
        let shown = url.as_ref().map_or(text.as_str(), Url::as_str);
        tags = tags.with_all(self.effective.system_tag("url", shown));
        if by_events && tags.get("name").is_none() {
            tags = tags.with_all(self.effective.system_tag("name", shown));
        }
        Ok(Opening {
            url,
            headers,
            tags,
            by_events,
        })
    }

    /// The `Cookie` header of a handshake.
    fn cookies_for_socket(&self, jar: u32, url: &Url) -> Option<HeaderValue> {
        let state = self.http.borrow();
        let jar = state.jar(jar)?;
        let line = jar
            .for_url(url, self.shared.settings.clock.now())
            .iter()
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect::<Vec<_>>()
            .join("; ");
        HeaderValue::from_str(&line)
            .ok()
            .filter(|line| !line.is_empty())
    }

    /// Counts a session that was opened, or tried to; `answered` is the status of the handshake.
    fn count_session(
        &self,
        opening: &Opening,
        answered: Option<u16>,
        start: Instant,
    ) -> Session<'_> {
        let tags = match answered {
            None => opening.tags.clone(),
            Some(status) => opening
                .tags
                .with_all(self.effective.system_tag("status", &status.to_string()))
                .with_all(self.effective.system_tag("subproto", "")),
        };
        let builtin = self.sink.registry().builtin();
        self.measured(
            [
                (&builtin.ws_connecting, milliseconds(start.elapsed())),
                (&builtin.ws_sessions, 1.0),
            ],
            &tags,
        );
        Session {
            host: self,
            tags,
            start,
            counts_length: answered == Some(101) || !opening.by_events,
        }
    }

    /// Opens a socket and carries messages until it is closed; gives how it ended.
    async fn converse(
        &self,
        id: u64,
        opening: Opening,
        receiver: mpsc::UnboundedReceiver<Message>,
    ) -> End {
        let start = Instant::now();
        let failed = |message: String| {
            drop(self.count_session(&opening, None, start));
            End::of_failure(message)
        };
        let Some(url) = &opening.url else {
            return failed("malformed ws or wss URL".to_owned());
        };
        let host = url.host_str().unwrap_or_default().to_owned();
        let secure = url.scheme() == "wss";
        let port = url.port_or_known_default().unwrap_or(80);
        let address = match self.effective.http.addresses.find(&host, port).await {
            Ok(address) => address,
            Err(error) => return failed(error.to_string()),
        };
        let stream = match TcpStream::connect(address).await {
            Ok(stream) => stream,
            Err(error) => {
                let reason = match error.kind() {
                    std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                    _ => error.to_string(),
                };
                return failed(format!("dial tcp {address}: connect: {reason}"));
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            return failed(format!("dial: {error}"));
        }
        if !secure {
            return self
                .shake(id, stream, address, opening, receiver, start)
                .await;
        }
        let Ok(name) = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()) else {
            return failed(format!("{host} is no name for TLS"));
        };
        let mut config = (*self.effective.http.tls.for_host(&host)).clone();
        config.alpn_protocols.clear();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        match connector.connect(name, stream).await {
            Ok(stream) => {
                self.shake(id, stream, address, opening, receiver, start)
                    .await
            }
            Err(error) => failed(format!("tls: {error}")),
        }
    }

    async fn shake<S>(
        &self,
        id: u64,
        stream: S,
        address: SocketAddr,
        mut opening: Opening,
        receiver: mpsc::UnboundedReceiver<Message>,
        start: Instant,
    ) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let ip = self.effective.system_tag("ip", &address.ip().to_string());
        opening.tags = opening.tags.with_all(ip);
        let url = opening.url.as_ref().map_or("", Url::as_str);
        let mut request = match url.into_client_request() {
            Ok(request) => request,
            Err(error) => return End::of_failure(error.to_string()),
        };
        request.headers_mut().extend(opening.headers.clone());
        let (socket, response) = match tokio_tungstenite::client_async(request, stream).await {
            Ok(connected) => connected,
            Err(error) => {
                let failure = match error {
                    SocketError::Http(response) => {
                        let (head, body) = response.into_parts();
                        let body = body.unwrap_or_default();
                        Failure {
                            message: "websocket: bad handshake".to_owned(),
                            status: head.status.as_u16(),
                            headers: head.headers,
                            body: String::from_utf8_lossy(&body).into_owned(),
                        }
                    }
                    other => Failure {
                        message: other.to_string(),
                        ..Failure::default()
                    },
                };
                let answered = Some(failure.status).filter(|status| *status != 0);
                drop(self.count_session(&opening, answered, start));
                return End::failed(failure);
            }
        };
        let session = self.count_session(&opening, Some(response.status().as_u16()), start);
        let protocol = response
            .headers()
            .get(header::SEC_WEBSOCKET_PROTOCOL)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default();
        self.push(Event::Socket(
            id,
            SocketEvent::Open {
                protocol,
                status: response.status().as_u16(),
                headers: response.headers().clone(),
            },
        ));
        let by_events = opening.by_events;
        self.carry(id, socket, &session.tags, by_events, receiver)
            .await
    }

    async fn carry<S>(
        &self,
        id: u64,
        mut socket: tokio_tungstenite::WebSocketStream<S>,
        tags: &Tags,
        by_events: bool,
        mut receiver: mpsc::UnboundedReceiver<Message>,
    ) -> End
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let builtin = self.sink.registry().builtin();
        let count = |metric, value| self.measured([(metric, value)], tags);
        let mut asked: Option<CloseFrame> = None;
        let ended = |asked: Option<CloseFrame>| match asked {
            Some(frame) => End::asked(&frame),
            None => End::lost(),
        };
        let mut pinged = None;
        loop {
            tokio::select! {
                biased;
                message = receiver.recv() => {
                    let Some(message) = message else {
                        return ended(asked);
                    };
                    let length = message.len() as u64;
                    match &message {
                        Message::Close(frame) => asked = frame.clone(),
                        Message::Ping(_) => pinged = Some(Instant::now()),
                        _ => {}
                    }
                    if by_events || message.is_text() || message.is_binary() {
                        count(&builtin.ws_msgs_sent, 1.0);
                    }
                    self.client.count_bytes(length, 0);
                    if let Err(error) = socket.send(message).await {
                        return End::of_failure(error.to_string());
                    }
                }
                message = socket.next() => {
                    let event = match message {
                        None
                        | Some(Err(
                            SocketError::ConnectionClosed
                            | SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake)
                            | SocketError::Io(_),
                        )) => return ended(asked),
                        Some(Err(error)) => return End::of_failure(error.to_string()),
                        Some(Ok(message)) => {
                            self.client.count_bytes(0, message.len() as u64);
                            match message {
                                Message::Text(text) => SocketEvent::Text(text.to_string()),
                                Message::Binary(bytes) => SocketEvent::Binary(bytes.to_vec()),
                                Message::Ping(_) => SocketEvent::Ping,
                                Message::Pong(_) => {
                                    if let Some(pinged) = pinged.take() {
                                        let pinged: Instant = pinged;
                                        count(&builtin.ws_ping, milliseconds(pinged.elapsed()));
                                    }
                                    SocketEvent::Pong
                                }
                                Message::Close(frame) => {
                                    // The answer to it is sent by the next flush.
                                    let _ = socket.flush().await;
                                    return match asked {
                                        Some(asked) if !by_events => End::asked(&asked),
                                        _ => End::told(frame.as_ref()),
                                    };
                                }
                                Message::Frame(_) => continue,
                            }
                        }
                    };
                    if matches!(event, SocketEvent::Text(_) | SocketEvent::Binary(_)) {
                        count(&builtin.ws_msgs_received, 1.0);
                    }
                    self.push(Event::Socket(id, event));
                }
            }
        }
    }
}
