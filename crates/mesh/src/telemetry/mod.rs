//! What goes through the data plane, counted with Istio's names and labels.
//!
//! ```text
//! a request ends ─► Local: (caller, endpoint, code) → handles, in this worker alone ─► two atomic additions a family
//!                     └─ not seen before: identity of caller and endpoint → labels → member of each family
//! ```
//! As with a sidecar at each end, a request between two pods is told by both: `reporter="source"` and
//! `reporter="destination"`. Both are one counter. A caller that is no pod has no sidecar, and neither has an endpoint
//! that was never reached.

mod families;
mod identity;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::StatusCode;
use springtide_machinery::instruments::Registry;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::table::{Endpoint, Upstream};
use families::{Connection, Connections, Request, Requests};
pub(crate) use identity::Identities;

/// Callers, endpoints and codes that a worker remembers the handles of. Above it the memory is begun anew: callers from
/// outside have any address.
const REMEMBERED: usize = 4096;

/// The families and who is who; shared by all workers.
#[derive(Clone)]
pub(crate) struct Telemetry {
    requests: Requests,
    connections: Connections,
    identities: Arc<Identities>,
    domain: Arc<str>,
}

/// How Envoy says why it answered in place of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Flag {
    /// The endpoint answered.
    None,
    /// There was no endpoint.
    NoEndpoint,
    /// No endpoint could be connected to.
    NotConnected,
    /// The connection broke before the answer.
    Broken,
    /// The request was not one that can be passed on.
    BadRequest,
}

/// What tells requests apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct RequestKey {
    client: IpAddr,
    upstream: u64,
    endpoint: Option<SocketAddr>,
    code: u16,
    flag: Flag,
}

/// The handles of one worker.
pub(crate) struct Local {
    telemetry: Telemetry,
    /// What `requests` and `connections` were made of.
    generation: Cell<u64>,
    requests: RefCell<HashMap<RequestKey, Rc<Request>>>,
    connections: RefCell<HashMap<(IpAddr, u64, SocketAddr), Rc<Connection>>>,
}

/// A request under way. It is counted when this is dropped, once its answer is known.
pub(crate) struct Observation {
    local: Rc<Local>,
    begun: Instant,
    sent: Rc<Cell<u64>>,
    answer: Option<Rc<Request>>,
    /// Bytes of the answer's body.
    pub(crate) received: u64,
}

/// A caller's connection whose bytes are counted as they pass.
pub(crate) struct Counted<S> {
    stream: S,
    connection: Rc<Connection>,
}

// === impl Telemetry ===

impl Telemetry {
    /// Families in `registry`; services are named below `domain`.
    pub(crate) fn new(registry: &Registry, identities: Arc<Identities>, domain: &str) -> Self {
        Self {
            requests: Requests::new(registry),
            connections: Connections::new(registry),
            identities,
            domain: domain.into(),
        }
    }
}

// === impl Flag ===

impl Flag {
    fn text(self) -> &'static str {
        match self {
            Self::None => "-",
            Self::NoEndpoint => "UH",
            Self::NotConnected => "UF",
            Self::Broken => "UC",
            Self::BadRequest => "DPE",
        }
    }
}

// === impl Local ===

impl Local {
    pub(crate) fn new(telemetry: Telemetry) -> Self {
        Self {
            generation: Cell::new(telemetry.identities.generation()),
            telemetry,
            requests: RefCell::default(),
            connections: RefCell::default(),
        }
    }

    /// Forgets handles when who is who has changed, or there are too many.
    pub(crate) fn sweep(&self) {
        let now = self.telemetry.identities.generation();
        let changed = self.generation.replace(now) != now;
        if changed || self.requests.borrow().len() > REMEMBERED {
            self.requests.borrow_mut().clear();
        }
        if changed || self.connections.borrow().len() > REMEMBERED {
            self.connections.borrow_mut().clear();
        }
    }

    /// A request begins.
    pub(crate) fn begin(self: &Rc<Self>) -> Observation {
        Observation {
            local: Rc::clone(self),
            begun: Instant::now(),
            sent: Rc::default(),
            answer: None,
            received: 0,
        }
    }

    /// A connection to an endpoint begins.
    pub(crate) fn connected<S>(
        &self,
        stream: S,
        client: IpAddr,
        upstream: &Upstream,
        endpoint: &Endpoint,
    ) -> Counted<S> {
        let key = (client, upstream.number, endpoint.address);
        let known = self.connections.borrow().get(&key).cloned();
        let connection = known.unwrap_or_else(|| {
            let between = self.between(client, upstream, Some(endpoint));
            let made = Rc::new(self.telemetry.connections.with(&between));
            self.connections.borrow_mut().insert(key, Rc::clone(&made));
            made
        });
        connection.opened.inc();
        Counted { stream, connection }
    }

    fn request(
        &self,
        client: IpAddr,
        upstream: &Upstream,
        endpoint: Option<&Endpoint>,
        code: StatusCode,
        flag: Flag,
    ) -> Rc<Request> {
        let key = RequestKey {
            client,
            upstream: upstream.number,
            endpoint: endpoint.map(|endpoint| endpoint.address),
            code: code.as_u16(),
            flag,
        };
        if let Some(known) = self.requests.borrow().get(&key) {
            return Rc::clone(known);
        }
        let between = self.between(client, upstream, endpoint);
        let made = Rc::new(self.telemetry.requests.with(&between, code, flag.text()));
        self.requests.borrow_mut().insert(key, Rc::clone(&made));
        made
    }

    fn between(
        &self,
        client: IpAddr,
        upstream: &Upstream,
        endpoint: Option<&Endpoint>,
    ) -> families::Between {
        let identities = &self.telemetry.identities;
        families::Between {
            source: identities.at(client),
            destination: endpoint.and_then(|endpoint| identities.of(endpoint.pod.as_deref()?)),
            reached: endpoint.is_some(),
            service: upstream.id.service.clone(),
            domain: Arc::clone(&self.telemetry.domain),
        }
    }
}

// === impl Observation ===

impl Observation {
    /// Where to count the bytes of the request's body.
    pub(crate) fn sent(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.sent)
    }

    /// What the request is answered with, and by whom.
    pub(crate) fn answered(
        &mut self,
        client: IpAddr,
        upstream: &Upstream,
        endpoint: Option<&Endpoint>,
        code: StatusCode,
        flag: Flag,
    ) {
        self.answer = Some(self.local.request(client, upstream, endpoint, code, flag));
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let Some(request) = &self.answer else { return };
        request.count.inc();
        request
            .milliseconds
            .observe(self.begun.elapsed().as_secs_f64() * 1000.0);
        request.request_bytes.observe(self.sent.get() as f64);
        request.response_bytes.observe(self.received as f64);
    }
}

// === impl Counted ===

impl<S> Drop for Counted<S> {
    fn drop(&mut self) {
        self.connection.closed.inc();
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len().saturating_sub(before);
        self.connection.received.add_whole(read as u64);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        if let Poll::Ready(Ok(written)) = polled {
            self.connection.sent.add_whole(written as u64);
        }
        polled
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
