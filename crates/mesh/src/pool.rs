//! Idle connections to endpoints, one pool per worker.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use crate::table::Endpoint;

/// The body of a request on its way to an endpoint.
pub(crate) type RequestBody = Either<CountedBody, Empty<Bytes>>;
/// A connection that can carry a request.
pub(crate) type Sender = SendRequest<RequestBody>;

/// How long an idle connection is kept; below what servers usually wait before they close one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Idle connections kept per endpoint: more than any that one machine serves at once on average.
const IDLE_BOUND: usize = 256;

/// A caller's body that is counted as it is sent.
pub(crate) struct CountedBody {
    pub(crate) body: Incoming,
    /// Bytes so far.
    pub(crate) sent: Rc<Cell<u64>>,
}

impl Body for CountedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.sent.set(self.sent.get() + data.len() as u64);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct Idle {
    sender: Sender,
    since: Instant,
}

/// The idle connections of one worker.
#[derive(Default)]
pub(crate) struct Pool {
    idle: HashMap<SocketAddr, (Arc<Endpoint>, Vec<Idle>)>,
}

// === impl Pool ===

impl Pool {
    /// A connection to `endpoint` that was open when last looked at; the one used last comes first.
    pub(crate) fn take(&mut self, endpoint: &Arc<Endpoint>) -> Option<Sender> {
        let (owner, idle) = self.idle.get_mut(&endpoint.address)?;
        if !Arc::ptr_eq(owner, endpoint) {
            return None;
        }
        while let Some(Idle { sender, since }) = idle.pop() {
            if since.elapsed() < IDLE_TIMEOUT && !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps a connection for the next request, unless its endpoint has left.
    pub(crate) fn put(&mut self, endpoint: &Arc<Endpoint>, sender: Sender) {
        if endpoint.has_left() || sender.is_closed() {
            return;
        }
        let entry = self
            .idle
            .entry(endpoint.address)
            .or_insert_with(|| (Arc::clone(endpoint), Vec::new()));
        if !Arc::ptr_eq(&entry.0, endpoint) {
            // The address has another owner now; connections to the one before are of no use.
            *entry = (Arc::clone(endpoint), Vec::new());
        }
        if entry.1.len() < IDLE_BOUND {
            entry.1.push(Idle {
                sender,
                since: Instant::now(),
            });
        }
    }

    /// Closes what has been idle too long or leads to an endpoint that has left.
    pub(crate) fn sweep(&mut self) {
        self.idle.retain(|_, (endpoint, idle)| {
            if endpoint.has_left() {
                return false;
            }
            idle.retain(|idle| idle.since.elapsed() < IDLE_TIMEOUT && !idle.sender.is_closed());
            !idle.is_empty()
        });
    }
}
