//! A worker thread: it makes users, keeps them, and runs what they are ordered.

use std::cell::RefCell;
use std::collections::HashMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use springtide_machinery::clock::Clock;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until};

use super::arrivals::{ArrivalOrder, dispatch};
use super::looping::LoopOrder;
use crate::metric::{SampleSink, milliseconds};
use crate::user::{
    Iteration, Outcome, RunState, ScenarioState, UserError, UserFactory, VirtualUser,
};

/// How often a thread looks how late it wakes.
const LAG_EVERY: Duration = Duration::from_millis(50);

/// What a thread is told to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Make a user.
    Create {
        number: u64,
        reply: oneshot::Sender<Result<(), UserError>>,
    },
    /// Let a user loop.
    Loop(LoopOrder),
    /// Take a share of a scenario's arrivals.
    Arrivals(ArrivalOrder),
}

/// What everything on one thread shares.
pub(super) struct Worker<F: UserFactory> {
    factory: Arc<F>,
    state: Arc<RunState>,
    sink: SampleSink,
    clock: Clock,
}

/// The users of a thread that do nothing at the moment.
pub(super) struct Resting<User> {
    users: RefCell<HashMap<u64, User>>,
    returned: Notify,
}

// === impl Resting ===

impl<User> Resting<User> {
    /// Takes a user if it rests.
    pub(super) fn take_now(&self, number: u64) -> Option<User> {
        self.users.borrow_mut().remove(&number)
    }

    /// Takes a user as soon as it rests.
    pub(super) async fn take(&self, number: u64) -> User {
        loop {
            let returned = self.returned.notified();
            if let Some(user) = self.take_now(number) {
                return user;
            }
            returned.await;
        }
    }

    /// Lets a user rest.
    pub(super) fn rest(&self, number: u64, user: User) {
        self.users.borrow_mut().insert(number, user);
        self.returned.notify_waiters();
    }
}

/// Notes how late this thread wakes, until the thread ends. What makes it late (work that does not
/// wait, a machine that is too busy) makes requests late too, also where no schedule tells.
async fn measure_lag(state: Arc<RunState>) {
    loop {
        let due = Instant::now() + LAG_EVERY;
        sleep_until(due).await;
        let late = due.elapsed();
        state.lag.lock().record(milliseconds(late));
    }
}

// === impl Worker ===

impl<F: UserFactory> Worker<F> {
    pub(super) fn new(
        factory: Arc<F>,
        state: Arc<RunState>,
        sink: SampleSink,
        clock: Clock,
    ) -> Self {
        Self {
            factory,
            state,
            sink,
            clock,
        }
    }

    /// Obeys orders until the other end is closed, and everything ordered is done.
    pub(super) fn work(
        self,
        runtime: &tokio::runtime::Runtime,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) {
        let worker = Rc::new(self);
        let resting = Rc::new(Resting {
            users: RefCell::default(),
            returned: Notify::new(),
        });
        let local = LocalSet::new();
        local.block_on(runtime, async {
            let mut measures_lag = false;
            while let Some(order) = orders.recv().await {
                if !measures_lag && !matches!(order, Order::Create { .. }) {
                    measures_lag = true;
                    tokio::task::spawn_local(measure_lag(Arc::clone(&worker.state)));
                }
                match order {
                    Order::Create { number, reply } => {
                        let made = worker.create(number, &resting).await;
                        let _ = reply.send(made);
                    }
                    Order::Loop(order) => {
                        tokio::task::spawn_local(
                            order.run(Rc::clone(&worker), Rc::clone(&resting)),
                        );
                    }
                    Order::Arrivals(order) => {
                        tokio::task::spawn_local(dispatch(
                            order,
                            Rc::clone(&worker),
                            Rc::clone(&resting),
                        ));
                    }
                }
            }
        });
        // Tasks hold users; users may hold tasks of the runtime: they go first.
        drop(local);
        drop(resting);
    }

    /// Makes a user, which then rests.
    pub(super) async fn create(
        &self,
        number: u64,
        resting: &Resting<F::User>,
    ) -> Result<(), UserError> {
        let user = self.factory.create(number, self.sink.clone()).await?;
        resting.rest(number, user);
        self.state.vus_initialized.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Lets a user do one iteration, until it is told to drop it. False if the user must not go on.
    pub(super) async fn iterate(
        &self,
        user: &mut F::User,
        iteration: &Iteration,
        dropped: Pin<&mut impl Future<Output = ()>>,
    ) -> bool {
        let outcome = tokio::select! {
            biased;
            () = dropped => None,
            outcome = user.iterate(iteration) => Some(outcome),
        };
        match outcome {
            None | Some(Outcome::Stopped) => {
                self.state.count_interrupted();
                false
            }
            Some(Outcome::Completed | Outcome::Failed) => {
                self.state.count_completed();
                true
            }
        }
    }

    /// Counts iterations that were to be and never began.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub(super) fn count_dropped(&self, scenario: &ScenarioState, count: u64) {
        let metrics = self.sink.registry().builtin();
        self.sink.add(
            &metrics.dropped_iterations,
            count as f64,
            &scenario.tags,
            self.clock.now(),
        );
    }

    pub(super) fn state(&self) -> &Arc<RunState> {
        &self.state
    }
}
