//! A thread's share of the arrivals of a scenario.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::lease::Lease;
use super::worker::{Resting, Worker};
use crate::metric::{Trend, milliseconds};
use crate::user::{Iteration, ScenarioState, UserFactory};

/// What the threads of one arrival-rate scenario share.
pub(super) struct ArrivalScenario {
    pub(super) scenario: Arc<ScenarioState>,
    /// When the first moment of the schedule is.
    pub(super) start: Instant,
    /// No iteration is meant to begin after this; one that is late still begins.
    pub(super) end: Instant,
    pub(super) lease: Lease,
    pub(super) numbering: Numbering,
    /// Users that may still be made.
    pub(super) may_grow: AtomicU64,
    /// The number of the next user that is made, by thread.
    pub(super) next_user: Arc<[AtomicU64]>,
    /// Users that were made.
    pub(super) grown: Mutex<Vec<u64>>,
    /// Arrivals that a thread without a free user hands to the others, by thread.
    pub(super) handed: Vec<mpsc::UnboundedSender<Arrival>>,
    /// Free users, by thread.
    pub(super) free: Vec<AtomicU64>,
    /// How late iterations began although a user was free, milliseconds: the generator's own fault.
    pub(super) lateness: Mutex<Trend>,
}

/// How iterations get their numbers.
pub(super) enum Numbering {
    /// In the order in which they begin.
    Begun(AtomicU64),
    /// By the place of their arrival in the schedule.
    Place,
}

/// An arrival of the schedule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// When its iteration is meant to begin.
    intended: Instant,
    /// Its place in the schedule, counted from 0.
    place: u64,
}

/// "Take this share of the arrivals."
pub(super) struct ArrivalOrder {
    pub(super) shared: Arc<ArrivalScenario>,
    /// Which thread this is.
    pub(super) thread: usize,
    /// Every arrival of the scenario, in order; this thread's are every `threads`th.
    pub(super) arrivals: Box<dyn Iterator<Item = Duration> + Send>,
    pub(super) handed: mpsc::UnboundedReceiver<Arrival>,
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
    let mut own = (0..)
        .zip(order.arrivals)
        .skip(thread)
        .step_by(threads)
        .peekable();
    loop {
        let next = own.peek().map(|(place, at)| Arrival {
            intended: share.shared.start + *at,
            place: *place,
        });
        tokio::select! {
            biased;
            () = share.worker.state().stop.cancelled() => break,
            Some(arrival) = handed.recv() => {
                if !share.begin(arrival) {
                    share.no_user();
                }
            }
            () = sleep_until(next.map_or(share.shared.end, |next| next.intended)) => {
                let Some(arrival) = next.filter(|next| next.intended <= share.shared.end) else {
                    // The time is over, for this thread's arrivals and for those of others.
                    break;
                };
                own.next();
                let begun = share.begin(arrival)
                    || F::LIGHT && share.grow().await && share.begin(arrival);
                if !begun && !share.hand_over(arrival) {
                    share.no_user();
                }
            }
        }
    }
}

impl<F: UserFactory> Share<F> {
    /// Begins an iteration with a free user of this thread; false if there is none.
    fn begin(self: &Rc<Self>, arrival: Arrival) -> bool {
        // The user that rested longest comes first, as in k6: load spreads over all.
        let Some(number) = self.free.borrow_mut().pop_front() else {
            return false;
        };
        let Some(mut user) = self.resting.take_now(number) else {
            return false;
        };
        self.shared.free[self.thread].fetch_sub(1, Ordering::Relaxed);
        let late = arrival.intended.elapsed();
        self.shared.lateness.lock().record(milliseconds(late));
        let iteration = Iteration {
            scenario: Arc::clone(&self.shared.scenario),
            number: match &self.shared.numbering {
                Numbering::Begun(begun) => begun.fetch_add(1, Ordering::Relaxed),
                Numbering::Place => arrival.place,
            },
            intended_start: Some(arrival.intended),
        };
        let share = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let active = &share.worker.state().vus_active;
            active.fetch_add(1, Ordering::Relaxed);
            let dropped = pin!(share.shared.lease.dropped());
            share.worker.iterate(&mut user, &iteration, dropped).await;
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
    fn hand_over(&self, arrival: Arrival) -> bool {
        let other = self
            .shared
            .free
            .iter()
            .position(|free| free.load(Ordering::Relaxed) > 0);
        other.is_some_and(|thread| {
            thread != self.thread && self.shared.handed[thread].send(arrival).is_ok()
        })
    }

    /// No user is free anywhere: the arrival is dropped, and one more user made if that is allowed.
    fn no_user(self: &Rc<Self>) {
        self.worker.count_dropped(&self.shared.scenario, 1);
        if self.shared.may_grow.load(Ordering::Relaxed) == 0 {
            let scenario = &self.shared.scenario;
            scenario.lacks_users.store(true, Ordering::Relaxed);
            return;
        }
        let share = Rc::clone(self);
        tokio::task::spawn_local(async move {
            share.grow().await;
            let _still_open = &share.done;
        });
    }

    /// Makes one more user if that is allowed; true if there is one.
    async fn grow(&self) -> bool {
        let grows = self
            .shared
            .may_grow
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_ok();
        if !grows {
            return false;
        }
        let threads = self.shared.free.len() as u64;
        let number = self.shared.next_user[self.thread].fetch_add(threads, Ordering::Relaxed);
        // Its init code ran well for all the users before it; if it fails now it has said why, and
        // the arrivals that lack a user are counted as dropped.
        if self.worker.create(number, &self.resting).await.is_err() {
            return false;
        }
        self.shared.grown.lock().push(number);
        self.free.borrow_mut().push_back(number);
        self.shared.free[self.thread].fetch_add(1, Ordering::Relaxed);
        true
    }
}
