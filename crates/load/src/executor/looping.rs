//! Users who do one iteration after the other.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::lease::Lease;
use super::worker::{Resting, Worker};
use crate::user::{Iteration, ScenarioState, UserFactory};

/// Where looping users take their iterations from.
#[derive(Debug)]
pub(super) enum Pile {
    /// There is always one more.
    Endless,
    /// All users take from the same pile.
    Shared { left: AtomicU64 },
    /// Each user has a pile of this size.
    Each { size: u64 },
}

/// The iterations of a scenario.
#[derive(Debug)]
pub(super) struct Iterations {
    pub(super) pile: Pile,
    /// Iterations that were begun.
    pub(super) begun: AtomicU64,
}

/// "Loop until the pile is empty or the lease ends."
#[derive(Debug)]
pub(super) struct LoopOrder {
    /// The user.
    pub(super) number: u64,
    /// Whose iterations it does.
    pub(super) scenario: Arc<ScenarioState>,
    pub(super) iterations: Arc<Iterations>,
    pub(super) lease: Lease,
    /// Closed when the user has stopped.
    pub(super) done: mpsc::Sender<()>,
}

// === impl Iterations ===

impl Iterations {
    pub(super) fn of(pile: Pile) -> Self {
        Self {
            pile,
            begun: AtomicU64::new(0),
        }
    }

    /// Takes the next iteration's number, for a user that has done `own` already.
    pub(super) fn take(&self, own: u64) -> Option<u64> {
        let is_there = match &self.pile {
            Pile::Endless => true,
            Pile::Shared { left } => left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_ok(),
            Pile::Each { size } => own < *size,
        };
        is_there.then(|| self.begun.fetch_add(1, Ordering::Relaxed))
    }

    /// Gives up what the pile of a user that has done `own` still holds; says how many that were.
    fn give_up(&self, own: u64) -> u64 {
        match &self.pile {
            Pile::Endless => 0,
            Pile::Shared { left } => left.swap(0, Ordering::Relaxed),
            Pile::Each { size } => size.saturating_sub(own),
        }
    }
}

// === impl LoopOrder ===

impl LoopOrder {
    pub(super) async fn run<F: UserFactory>(
        self,
        worker: Rc<Worker<F>>,
        resting: Rc<Resting<F::User>>,
    ) {
        // A user that was dropped in its last iteration may not be back yet.
        let mut user = resting.take(self.number).await;
        let active = &worker.state().vus_active;
        active.fetch_add(1, Ordering::Relaxed);
        let mut own = 0;
        let mut iteration = Iteration {
            scenario: Arc::clone(&self.scenario),
            number: 0,
            intended_start: None,
        };
        let mut dropped = pin!(self.lease.dropped());
        while self.lease.may_begin() {
            let Some(number) = self.iterations.take(own) else {
                break;
            };
            own += 1;
            iteration.number = number;
            if !worker
                .iterate(&mut user, &iteration, dropped.as_mut())
                .await
            {
                break;
            }
            // Iterations that never wait must not keep the thread from the others.
            if F::LIGHT {
                tokio::task::coop::consume_budget().await;
            } else {
                tokio::task::yield_now().await;
            }
        }
        let dropped = self.iterations.give_up(own);
        // What an end from outside left over was not dropped for want of users or time.
        if dropped > 0 && !worker.state().stop.is_cancelled() {
            worker.count_dropped(&self.scenario, dropped);
        }
        active.fetch_sub(1, Ordering::Relaxed);
        resting.rest(self.number, user);
        self.lease.end();
        drop(self.done);
    }
}
