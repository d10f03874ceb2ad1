//! Idle connections to endpoints, one pool per worker.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use crate::table::Endpoint;

/// The body of a request on its way to an endpoint.
pub(crate) type RequestBody = Either<Incoming, Empty<Bytes>>;
/// A connection that can carry a request.
pub(crate) type Sender = SendRequest<RequestBody>;

/// How long an idle connection is kept; below what servers usually wait before they close one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Idle connections kept per endpoint: more than any that one machine serves at once on average.
const IDLE_BOUND: usize = 256;

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
