//! Sends requests over connections that one user keeps.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri, Version, header};
use http_body_util::Full;
use tokio::time::Instant;
use url::Url;

use super::connection::{self, Body, Connection, Facts, Opening, TlsFacts};
use super::http1::Http1;
use super::{Addresses, HttpError, TlsConfigs};

/// What all users of a run share.
#[derive(Debug)]
pub struct Settings {
    /// How names become addresses.
    pub addresses: Addresses,
    /// How TLS is spoken.
    pub tls: TlsConfigs,
    /// Every request takes a connection of its own.
    pub no_connection_reuse: bool,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its method.
    pub method: Method,
    /// Where it goes.
    pub url: Rc<Url>,
    /// Its headers; `Host` is added where it is not there.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// False: the answer's body is read and thrown away.
    pub keep_body: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Such as 200.
    pub status: u16,
    /// The version of HTTP.
    pub version: Version,
    /// The answer's headers.
    pub headers: HeaderMap,
    /// The answer's body, as it came; empty where it was not to be kept.
    pub body: Vec<u8>,
    /// The server's address.
    pub remote: SocketAddr,
    /// What was agreed on TLS.
    pub tls: Option<TlsFacts>,
}

/// How long the steps of a request took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    /// Until there was a connection, with all that this took.
    pub blocked: Duration,
    /// The TCP connection.
    pub connecting: Duration,
    /// The TLS handshake.
    pub tls_handshaking: Duration,
    /// From the connection to the request's last byte.
    pub sending: Duration,
    /// From there to the answer's first byte.
    pub waiting: Duration,
    /// From there to the answer's last byte.
    pub receiving: Duration,
}

/// The connections of one user.
pub struct Client {
    settings: Arc<Settings>,
    pool: RefCell<Pool>,
    sent: Cell<u64>,
    received: Cell<u64>,
}

#[derive(Default)]
struct Pool {
    /// Used last, asked first.
    idle: Vec<(Origin, Http1)>,
    http2: HashMap<Origin, (hyper::client::conn::http2::SendRequest<Body>, Facts)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

// === impl Timings ===

impl Timings {
    /// Sending, waiting and receiving together.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.sending + self.waiting + self.receiving
    }
}

// === impl Client ===

impl Client {
    /// A client without connections.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            pool: RefCell::default(),
            sent: Cell::new(0),
            received: Cell::new(0),
        }
    }

    /// Closes what is idle.
    pub fn close_idle(&self) {
        *self.pool.borrow_mut() = Pool::default();
    }

    /// Bytes sent and received since the last call.
    pub fn take_bytes(&self) -> (u64, u64) {
        (self.sent.take(), self.received.take())
    }

    /// Adds bytes that another protocol of the same user carried.
    pub fn count_bytes(&self, sent: u64, received: u64) {
        self.sent.set(self.sent.get() + sent);
        self.received.set(self.received.get() + received);
    }

    /// Sends a request and reads its answer. `timings` tells how far it came, also where it failed.
    ///
    /// # Errors
    ///
    /// No connection could be made, or it broke before the answer was complete.
    pub async fn send(
        &self,
        outgoing: &Outgoing,
        timings: &mut Timings,
    ) -> Result<Exchange, HttpError> {
        let url = &outgoing.url;
        let secure = match url.scheme() {
            "http" => false,
            "https" => true,
            other => {
                return Err(HttpError::unsupported_scheme(other));
            }
        };
        let origin = Origin {
            secure,
            host: url
                .host_str()
                .ok_or_else(|| HttpError::invalid_url(url.as_str(), "no host"))?
                .to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
        };
        let start = Instant::now();
        loop {
            let (connection, reused) = self.connection(&origin, timings).await?;
            timings.blocked = start.elapsed();
            let outcome = match connection {
                Connection::Http1(connection) => {
                    self.exchange_http1(connection, outgoing, &origin, timings)
                        .await
                }
                Connection::Http2(sender, facts) => {
                    // On the heap, as what is seldom: most requests' futures stay small without it.
                    let exchange = exchange_http2(sender, &facts, outgoing, timings);
                    let outcome = Box::pin(exchange).await;
                    let (sent, received) = facts.take_bytes();
                    self.count_bytes(sent, received);
                    if outcome.is_err() {
                        self.pool.borrow_mut().http2.remove(&origin);
                    }
                    outcome.map_err(|error| Broken {
                        error,
                        unanswered: false,
                    })
                }
            };
            match outcome {
                Ok(exchange) => return Ok(exchange),
                // A server may close an idle connection at any time; asking again does no harm.
                Err(broken) if reused && broken.unanswered && outgoing.method.is_idempotent() => {}
                Err(broken) => return Err(broken.error),
            }
        }
    }

    /// An idle connection, and true; or a new one, and false.
    async fn connection(
        &self,
        origin: &Origin,
        timings: &mut Timings,
    ) -> Result<(Connection, bool), HttpError> {
        if !self.settings.no_connection_reuse {
            let shared = self.pool.borrow().http2.get(origin).cloned();
            if let Some((sender, facts)) = shared
                && !sender.is_closed()
            {
                return Ok((Connection::Http2(sender, facts), true));
            }
            while let Some(mut idle) = self.take_idle(origin) {
                if idle.is_usable().await {
                    return Ok((Connection::Http1(idle), true));
                }
            }
        }
        let mut opening = Opening::default();
        let opened = Box::pin(connection::open(
            &self.settings,
            origin.secure,
            &origin.host,
            origin.port,
            &mut opening,
        ))
        .await;
        timings.connecting = opening.connecting;
        timings.tls_handshaking = opening.tls_handshaking;
        let connection = opened?;
        if let Connection::Http2(sender, facts) = &connection
            && !self.settings.no_connection_reuse
        {
            self.pool
                .borrow_mut()
                .http2
                .insert(origin.clone(), (sender.clone(), facts.clone()));
        }
        Ok((connection, false))
    }

    fn take_idle(&self, origin: &Origin) -> Option<Http1> {
        let idle = &mut self.pool.borrow_mut().idle;
        let place = idle.iter().rposition(|(known, _)| known == origin)?;
        Some(idle.remove(place).1)
    }

    async fn exchange_http1(
        &self,
        connection: Http1,
        outgoing: &Outgoing,
        origin: &Origin,
        timings: &mut Timings,
    ) -> Result<Exchange, Broken> {
        let facts = connection.facts.clone();
        let marks = &facts.marks;
        marks.first_received.store(0, Ordering::Relaxed);
        let ready = marks.now();
        let exchanged = connection.exchange(outgoing).await;
        let done = marks.now();
        let sent = marks.last_sent.load(Ordering::Relaxed).max(ready);
        let first = marks.first_received.load(Ordering::Relaxed);
        let answered = first != 0;
        let first = if answered { first.max(sent) } else { done };
        timings.sending = Duration::from_nanos(sent - ready);
        timings.waiting = Duration::from_nanos(first.saturating_sub(sent));
        timings.receiving = Duration::from_nanos(done.saturating_sub(first));
        let (sent, received) = facts.take_bytes();
        self.count_bytes(sent, received);
        if let Some(connection) = exchanged.connection
            && !self.settings.no_connection_reuse
        {
            let idle = &mut self.pool.borrow_mut().idle;
            idle.push((origin.clone(), connection));
        }
        let whole = exchanged.answer.map_err(|error| Broken {
            error,
            unanswered: !answered,
        })?;
        Ok(Exchange {
            status: whole.status,
            version: whole.version,
            headers: whole.headers,
            body: whole.body,
            remote: facts.remote,
            tls: facts.tls,
        })
    }
}

/// A request that failed on its connection.
struct Broken {
    error: HttpError,
    /// True: not a byte of an answer came.
    unanswered: bool,
}

async fn exchange_http2(
    mut sender: hyper::client::conn::http2::SendRequest<Body>,
    facts: &Facts,
    outgoing: &Outgoing,
    timings: &mut Timings,
) -> Result<Exchange, HttpError> {
    let failed = |error: hyper::Error| HttpError::http2(&error);
    let start = Instant::now();
    sender.ready().await.map_err(failed)?;
    let answer = sender.send_request(http2_request(outgoing));
    timings.sending = start.elapsed();
    let response = answer.await.map_err(failed)?;
    timings.waiting = start.elapsed() - timings.sending;
    let (head, body) = connection::read(response, outgoing.keep_body)
        .await
        .map_err(failed)?;
    timings.receiving = start.elapsed() - timings.sending - timings.waiting;
    Ok(Exchange {
        status: head.status.as_u16(),
        version: head.version,
        headers: head.headers,
        body,
        remote: facts.remote,
        tls: facts.tls.clone(),
    })
}

fn http2_request(outgoing: &Outgoing) -> Request<Body> {
    let mut request = Request::new(Full::new(outgoing.body.clone()));
    let mut url = Url::clone(&outgoing.url);
    url.set_fragment(None);
    *request.method_mut() = outgoing.method.clone();
    *request.uri_mut() = url.as_str().parse().unwrap_or(Uri::from_static("/"));
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = outgoing.headers.clone();
    request.headers_mut().remove(header::HOST);
    request.headers_mut().remove(header::CONNECTION);
    request
}
