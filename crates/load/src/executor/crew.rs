//! Worker threads and the users that live on them.

use std::sync::Arc;

use springtide_machinery::clock::Clock;
use tokio::sync::{mpsc, oneshot};

use super::worker::{Order, Worker};
use crate::metric::Collector;
use crate::user::{RunState, UserError, UserFactory};

/// Worker threads with users on them. Dropping it ends the threads.
#[derive(Debug)]
pub struct Crew {
    pub(super) orders: Vec<mpsc::UnboundedSender<Order>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

// === impl Crew ===

impl Crew {
    /// Starts `threads` threads, each with a runtime of its own, on which `factory` makes users.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start<F: UserFactory>(
        threads: usize,
        factory: &Arc<F>,
        state: &Arc<RunState>,
        collector: &Collector,
        clock: &Clock,
    ) -> std::io::Result<Self> {
        let mut crew = Self {
            orders: Vec::new(),
            threads: Vec::new(),
        };
        for index in 0..threads.max(1) {
            let (orders, received) = mpsc::unbounded_channel();
            let worker = Worker::new(
                Arc::clone(factory),
                Arc::clone(state),
                collector.sink(),
                clock.clone(),
            );
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let thread = std::thread::Builder::new()
                .name(format!("load-{index}"))
                .spawn(move || worker.work(&runtime, received))?;
            crew.orders.push(orders);
            crew.threads.push(thread);
        }
        Ok(crew)
    }

    /// Makes users with these numbers.
    ///
    /// # Errors
    /// The first user that could not be made.
    pub async fn create_users(
        &self,
        numbers: std::ops::RangeInclusive<u64>,
    ) -> Result<(), UserError> {
        let mut answers = Vec::new();
        for number in numbers {
            let (reply, answer) = oneshot::channel();
            self.order(number, Order::Create { number, reply });
            answers.push((number, answer));
        }
        for (number, answer) in answers {
            answer.await.unwrap_or_else(|_| {
                Err(UserError {
                    number,
                    reason: "its thread ended".to_owned(),
                })
            })?;
        }
        Ok(())
    }

    /// How many threads there are.
    pub(super) fn threads(&self) -> usize {
        self.orders.len()
    }

    /// The thread of a user.
    pub(super) fn thread_of(&self, number: u64) -> usize {
        thread_of(number, self.threads())
    }

    /// Gives an order to the thread of this user.
    pub(super) fn order(&self, number: u64, order: Order) {
        // A thread that ended takes its users with it; whoever waits for them sees their channel close.
        let _ = self.orders[self.thread_of(number)].send(order);
    }
}

/// Users are dealt out in turn.
pub(super) fn thread_of(number: u64, threads: usize) -> usize {
    usize::try_from(number.saturating_sub(1) % threads as u64).unwrap_or(0)
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.orders.clear();
        for thread in self.threads.drain(..) {
            // A panic of a worker was printed when it happened.
            let _ = thread.join();
        }
    }
}
