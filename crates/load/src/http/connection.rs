//! One connection to a server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::http1::{Http1, Wire};
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

/// How long the steps to a connection took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opening {
    pub(super) connecting: Duration,
    pub(super) tls_handshaking: Duration,
}

/// Reads an answer of HTTP/2 to its end.
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
    let facts = Facts {
        remote,
        tls: None,
        marks,
    };
    if !secure {
        let wire = Wire::Plain(stream);
        return Ok(Connection::Http1(Http1 { wire, facts }));
    }
    // On the heap: a handshake's state is large, and most connections have none.
    Box::pin(secure_connection(
        settings,
        host,
        stream,
        facts,
        &mut opening.tls_handshaking,
    ))
    .await
}

/// Speaks TLS over a connection.
async fn secure_connection(
    settings: &Settings,
    host: &str,
    stream: Metered<TcpStream>,
    mut facts: Facts,
    handshaking: &mut Duration,
) -> Result<Connection, HttpError> {
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|error| HttpError::new(1300, format!("tls: {error}")))?;
    let connector = tokio_rustls::TlsConnector::from(settings.tls.for_host(host));
    let start = Instant::now();
    let shaken = connector.connect(name, stream).await;
    *handshaking = start.elapsed();
    let stream = shaken.map_err(|error| HttpError::tls(&error))?;
    let session = stream.get_ref().1;
    let http2 = session.alpn_protocol() == Some(b"h2");
    facts.tls = Some(TlsFacts {
        version: match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "tls1.2",
            _ => "tls1.3",
        },
        cipher_suite: session
            .negotiated_cipher_suite()
            .map(|suite| format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1))
            .unwrap_or_default(),
    });
    if !http2 {
        let wire = Wire::Tls(Box::new(stream));
        return Ok(Connection::Http1(Http1 { wire, facts }));
    }
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|error| HttpError::http2(&error))?;
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
