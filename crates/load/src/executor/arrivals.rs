//! A thread's share of the arrivals of a scenario.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::lease::Lease;
use super::worker::{Resting, Worker};
use crate::metric::Trend;
use crate::user::{Iteration, ScenarioState, UserFactory};

/// What the threads of one arrival-rate scenario share.
pub(super) struct ArrivalScenario {
    pub(super) scenario: Arc<ScenarioState>,
    /// When the first moment of the schedule is.
    pub(super) start: Instant,
    /// No iteration is meant to begin after this; one that is late still begins.
    pub(super) end: Instant,
    pub(super) lease: Lease,
    /// Iterations that were begun.
    pub(super) begun: AtomicU64,
    /// Users that may still be made.
    pub(super) may_grow: AtomicU64,
    /// The number of the next user that is made, by thread.
    pub(super) next_user: Arc<[AtomicU64]>,
    /// Users that were made.
    pub(super) grown: Mutex<Vec<u64>>,
    /// Arrivals that a thread without a free user hands to the others, by thread.
    pub(super) handed: Vec<mpsc::UnboundedSender<Instant>>,
    /// Free users, by thread.
    pub(super) free: Vec<AtomicU64>,
    /// How late iterations began although a user was free, milliseconds: the generator's own fault.
    pub(super) lateness: Mutex<Trend>,
}

/// "Take this share of the arrivals."
pub(super) struct ArrivalOrder {
    pub(super) shared: Arc<ArrivalScenario>,
    /// Which thread this is.
    pub(super) thread: usize,
    /// Every arrival of the scenario, in order; this thread's are every `threads`th.
    pub(super) arrivals: Box<dyn Iterator<Item = Duration> + Send>,
    pub(super) handed: mpsc::UnboundedReceiver<Instant>,
    /// The users of this thread.
    pub(super) users: Vec<u64>,
    /// Closed when the last iteration has ended.
    pub(super) done: mpsc::Sender<()>,
}

impl fmt::Debug for ArrivalOrder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ArrivalOrder")
            .field("thread", &self.thread)
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}

/// One thread's part of a scenario.
struct Share<F: UserFactory> {
    worker: Rc<Worker<F>>,
    resting: Rc<Resting<F::User>>,
    shared: Arc<ArrivalScenario>,
    thread: usize,
    free: RefCell<VecDeque<u64>>,
    done: mpsc::Sender<()>,
}

/// Starts each arrival at its intended time with a free user, here or on another thread; makes a
/// user where none is free, and drops the arrival meanwhile, as k6 does.
pub(super) async fn dispatch<F: UserFactory>(
    order: ArrivalOrder,
    worker: Rc<Worker<F>>,
    resting: Rc<Resting<F::User>>,
) {
    let threads = order.shared.free.len();
    let thread = order.thread;
    let share = Rc::new(Share {
        worker,
        resting,
        shared: order.shared,
        thread,
        free: RefCell::new(order.users.into()),
        done: order.done,
    });
    let mut handed = order.handed;
    let mut own = order.arrivals.skip(thread).step_by(threads).peekable();
    loop {
        let next = own.peek().map(|at| share.shared.start + *at);
        tokio::select! {
            biased;
            () = share.worker.state().stop.cancelled() => break,
            Some(intended) = handed.recv() => {
                if !share.begin(intended) {
                    share.no_user();
                }
            }
            () = sleep_until(next.unwrap_or(share.shared.end)) => {
                let Some(intended) = next.filter(|at| *at <= share.shared.end) else {
                    // The time is over, for this thread's arrivals and for those of others.
                    break;
                };
                own.next();
                if !share.begin(intended) && !share.hand_over(intended) {
                    share.no_user();
                }
            }
        }
    }
}

impl<F: UserFactory> Share<F> {
    /// Begins an iteration with a free user of this thread; false if there is none.
    fn begin(self: &Rc<Self>, intended: Instant) -> bool {
        // The user that rested longest comes first, as in k6: load spreads over all.
        let Some(number) = self.free.borrow_mut().pop_front() else {
            return false;
        };
        let Some(mut user) = self.resting.take_now(number) else {
            return false;
        };
        self.shared.free[self.thread].fetch_sub(1, Ordering::Relaxed);
        let late = intended.elapsed();
        self.shared
            .lateness
            .lock()
            .record(late.as_secs_f64() * 1000.0);
        let iteration = Iteration {
            scenario: Arc::clone(&self.shared.scenario),
            number: self.shared.begun.fetch_add(1, Ordering::Relaxed),
            intended_start: Some(intended),
        };
        let share = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let active = &share.worker.state().vus_active;
            active.fetch_add(1, Ordering::Relaxed);
            let shared = &share.shared;
            share
                .worker
                .iterate(&mut user, &iteration, &shared.lease)
                .await;
            active.fetch_sub(1, Ordering::Relaxed);
            share.rest(number, user);
        });
        true
    }

    fn rest(&self, number: u64, user: F::User) {
        self.resting.rest(number, user);
        self.free.borrow_mut().push_back(number);
        self.shared.free[self.thread].fetch_add(1, Ordering::Relaxed);
    }

    /// Gives the arrival to a thread that has a free user; false if none has.
    fn hand_over(&self, intended: Instant) -> bool {
        let other = self
            .shared
            .free
            .iter()
            .position(|free| free.load(Ordering::Relaxed) > 0);
        other.is_some_and(|thread| {
            thread != self.thread && self.shared.handed[thread].send(intended).is_ok()
        })
    }

    /// No user is free anywhere: the arrival is dropped, and one more user made if that is allowed.
    fn no_user(self: &Rc<Self>) {
        self.worker.count_dropped(&self.shared.scenario);
        let grows = self
            .shared
            .may_grow
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_ok();
        if !grows {
            return;
        }
        let threads = self.shared.free.len() as u64;
        let number = self.shared.next_user[self.thread].fetch_add(threads, Ordering::Relaxed);
        let share = Rc::clone(self);
        tokio::task::spawn_local(async move {
            // Its init code ran well for all the users before it; if it fails now it has said why,
            // and the arrivals that lack a user are counted as dropped.
            if share.worker.create(number, &share.resting).await.is_ok() {
                share.shared.grown.lock().push(number);
                share.free.borrow_mut().push_back(number);
                share.shared.free[share.thread].fetch_add(1, Ordering::Relaxed);
            }
            let _still_open = &share.done;
        });
    }
}
