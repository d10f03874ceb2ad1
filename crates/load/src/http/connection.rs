//! One connection to a server.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::metered::{Marks, Metered};
use super::{HttpError, Settings};

/// A body that is sent.
pub(super) type Body = Full<Bytes>;

/// What was agreed in a TLS handshake, by the names that Go gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `tls1.2` or `tls1.3`.
    pub version: &'static str,
    /// Such as `TLS_AES_128_GCM_SHA256`.
    pub cipher_suite: String,
}

/// What is known of a connection.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) remote: SocketAddr,
    pub(super) tls: Option<TlsFacts>,
    pub(super) marks: Arc<Marks>,
}

/// A connection that requests can be sent over.
pub(super) enum Connection {
    /// HTTP/1.1: one request at a time.
    Http1(Http1),
    /// HTTP/2: any number of requests, driven by a task of its own.
    Http2(http2::SendRequest<Body>, Facts),
}

/// An HTTP/1.1 connection on which nothing is under way. What reading and writing need is made for
/// each exchange and thrown away after it: a user who waits has no buffers.
pub(super) struct Http1 {
    wire: Wire,
    pub(super) facts: Facts,
}

/// What bytes go over.
enum Wire {
    Plain(Metered<TcpStream>),
    Tls(Box<TlsStream<Metered<TcpStream>>>),
}

/// What came of an exchange.
pub(super) struct Exchanged {
    pub(super) answer: hyper::Result<(response::Parts, Vec<u8>)>,
    /// The connection, if another request may follow.
    pub(super) connection: Option<Http1>,
}

/// How long the steps to a connection took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opening {
    pub(super) connecting: Duration,
    pub(super) tls_handshaking: Duration,
}

// === impl Wire ===

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
        }
    }
}

// === impl Http1 ===

impl Http1 {
    /// True if a request can be sent over it: the other side has neither closed it nor said anything.
    pub(super) async fn is_usable(&mut self) -> bool {
        let mut byte = [0];
        poll_fn(|context| {
            let mut buffer = ReadBuf::new(&mut byte);
            let read = Pin::new(&mut self.wire).poll_read(context, &mut buffer);
            Poll::Ready(read.is_pending())
        })
        .await
    }

    /// Sends a request and reads its answer; the body is kept if that is wanted.
    pub(super) async fn exchange(self, request: Request<Body>, keep_body: bool) -> Exchanged {
        let Self { wire, facts } = self;
        let shaken = http1::Builder::new()
            .title_case_headers(true)
            .handshake(TokioIo::new(wire))
            .await;
        let (mut sender, mut connection) = match shaken {
            Ok(shaken) => shaken,
            Err(error) => {
                return Exchanged {
                    answer: Err(error),
                    connection: None,
                };
            }
        };
        let mut open = true;
        let answer = {
            let mut answer = pin!(async {
                let response = sender.send_request(request).await?;
                read(response, keep_body).await
            });
            poll_fn(|context| {
                if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                    return Poll::Ready(answer);
                }
                // What goes wrong in the connection reaches the one who waits for the answer.
                open = open && connection.poll_without_shutdown(context).is_pending();
                answer.as_mut().poll(context)
            })
            .await
        };
        // The connection learns that the body was read, and ends if it was the last.
        let ended = poll_fn(|context| {
            Poll::Ready(!open || connection.poll_without_shutdown(context).is_ready())
        });
        let reusable = answer.is_ok() && !ended.await && sender.is_ready();
        let connection = reusable.then(|| connection.into_parts());
        Exchanged {
            answer,
            connection: connection
                .filter(|parts| parts.read_buf.is_empty())
                .map(|parts| Self {
                    wire: parts.io.into_inner(),
                    facts,
                }),
        }
    }
}

/// Reads an answer to its end.
pub(super) async fn read(
    response: Response<Incoming>,
    keep: bool,
) -> hyper::Result<(response::Parts, Vec<u8>)> {
    let (head, mut body) = response.into_parts();
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref()
            && keep
        {
            whole.extend_from_slice(data);
        }
    }
    Ok((head, whole))
}

/// Opens a connection to a host.
pub(super) async fn open(
    settings: &Settings,
    secure: bool,
    host: &str,
    port: u16,
    opening: &mut Opening,
) -> Result<Connection, HttpError> {
    let remote = settings.addresses.find(host, port).await?;
    let start = Instant::now();
    let connected = TcpStream::connect(remote).await;
    opening.connecting = start.elapsed();
    let stream = connected.map_err(|error| HttpError::dial(&error))?;
    stream
        .set_nodelay(true)
        .map_err(|error| HttpError::dial(&error))?;
    let marks = Arc::new(Marks::new());
    let stream = Metered::new(stream, Arc::clone(&marks));
    if !secure {
        let facts = Facts {
            remote,
            tls: None,
            marks,
        };
        let wire = Wire::Plain(stream);
        return Ok(Connection::Http1(Http1 { wire, facts }));
    }
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|error| HttpError::new(1300, format!("tls: {error}")))?;
    let connector = tokio_rustls::TlsConnector::from(settings.tls.for_host(host));
    let start = Instant::now();
    let shaken = connector.connect(name, stream).await;
    opening.tls_handshaking = start.elapsed();
    let stream = shaken.map_err(|error| HttpError::tls(&error))?;
    let session = stream.get_ref().1;
    let http2 = session.alpn_protocol() == Some(b"h2");
    let facts = Facts {
        remote,
        tls: Some(TlsFacts {
            version: match session.protocol_version() {
                Some(rustls::ProtocolVersion::TLSv1_2) => "tls1.2",
                _ => "tls1.3",
            },
            cipher_suite: session
                .negotiated_cipher_suite()
                .map(|suite| format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1))
                .unwrap_or_default(),
        }),
        marks,
    };
    if !http2 {
        let wire = Wire::Tls(Box::new(stream));
        return Ok(Connection::Http1(Http1 { wire, facts }));
    }
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|error| HttpError::exchange(&error, true))?;
    // Ends by itself when all senders are dropped; what went wrong reaches them.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    Ok(Connection::Http2(sender, facts))
}

impl Facts {
    /// Bytes sent and received since the last call.
    pub(super) fn take_bytes(&self) -> (u64, u64) {
        (
            self.marks.sent.swap(0, Ordering::Relaxed),
            self.marks.received.swap(0, Ordering::Relaxed),
        )
    }
}
