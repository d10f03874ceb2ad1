//! The controllers: each brings what is closer to what is asked for.
//!
//! One module per controller. Each has a pure `plan(&Observed, now)` that
//! decides, and a thin shell that observes through the shared caches, calls
//! it, and writes what was decided through the API. A shell keeps nothing that
//! a restart would miss: what it does next is decided on what is there.
//!
//! ```text
//! caches ── feed ──> WorkQueue<ObjectKey> ── reconcile ──> observe → plan → act ──> API
//! ```
//!
//! | module | from | makes |
//! | --- | --- | --- |
//! | [`deployment`] | Deployment | ReplicaSets, one per template |
//! | [`replicaset`] | ReplicaSet | Pods |
//! | [`endpointslice`] | Service, Pods | EndpointSlices |
//! | [`endpoints`] | Service, Pods | Endpoints |
//! | [`namespace`] | Namespace being deleted | nothing left in it |
//! | [`garbage`] | ownerReferences | deletion of what has no owner any more |
//! | [`serviceaccount`] | Namespace | its ServiceAccount `default` |
//! | [`disruption`] | PodDisruptionBudget, Pods | its status |
//! | [`expiry`] | Events | nothing of those an hour old |

mod claims;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod endpointslice;
mod error;
pub mod expiry;
pub mod garbage;
mod kinds;
pub mod namespace;
mod ownership;
pub mod replicaset;
mod rounding;
mod service;
pub mod serviceaccount;
mod template;

use std::time::Duration;

use jiff::Timestamp;
use springtide_client::Context;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use error::Error;

/// Runs all controllers until `stop` is cancelled.
///
/// # Panics
/// When a controller does: to start all anew is better than to go on without one of them.
pub async fn run(context: Context, stop: CancellationToken) {
    let mut controllers = JoinSet::new();
    controllers.spawn(deployment::run(context.clone(), stop.clone()));
    controllers.spawn(replicaset::run(context.clone(), stop.clone()));
    controllers.spawn(endpointslice::run(context.clone(), stop.clone()));
    controllers.spawn(endpoints::run(context.clone(), stop.clone()));
    controllers.spawn(namespace::run(context.clone(), stop.clone()));
    controllers.spawn(garbage::run(context.clone(), stop.clone()));
    controllers.spawn(serviceaccount::run(context.clone(), stop.clone()));
    controllers.spawn(disruption::run(context.clone(), stop.clone()));
    controllers.spawn(expiry::run(context, stop));
    while let Some(ended) = controllers.join_next().await {
        if let Err(error) = ended
            && let Ok(panic) = error.try_into_panic()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// How long from `now` until `at`: at least a millisecond, and at most the ten seconds after
/// which anything planned by wall time is looked at again.
fn until(at: Timestamp, now: Timestamp) -> Duration {
    const SHORTEST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_secs(10);
    let left = Duration::try_from(at.duration_since(now)).unwrap_or_default();
    left.clamp(SHORTEST, LONGEST)
}
