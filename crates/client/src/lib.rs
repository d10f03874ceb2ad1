//! What every component shares as a client of the Kubernetes API.
//!
//! Components never touch the store. They see the API through [`Caches`] (one
//! sorted, watched copy per kind and process), are told what to look at again
//! by a [`WorkQueue`], and tell users what they did through an
//! [`EventRecorder`]. All of it speaks `kube`, so a component can be pointed at
//! any Kubernetes API server, in this process or elsewhere.
//!
//! ```text
//! API ── watch ──> Cache<K> ── Subscription ──> feed ──> WorkQueue<T> ──> serve ──> API
//! ```
//!
//! Under paused tokio time all of this is deterministic: maps are sorted,
//! `select!` is biased, and no back-off is jittered.

mod backoff;
mod cache;
mod context;
mod correlate;
mod events;
mod expectations;
mod instruments;
mod key;
pub mod pods;
mod queue;

pub use backoff::Backoff;
pub use cache::{Cache, Cached, Caches, Seen, Subscription, feed};
pub use context::Context;
pub use events::{EventRecorder, EventType, reference};
pub use expectations::{Expectations, Outlook, revision_of};
pub use instruments::instruments;
pub use key::ObjectKey;
pub use queue::{Next, Work, WorkQueue};
