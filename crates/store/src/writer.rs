//! The writer thread: takes the writes that wait, makes them durable in one commit,
//! then visible, then tells who asked.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::sync::oneshot;

use crate::database::Database;
use crate::error::WriteError;
use crate::object::Object;
use crate::plan::{Outcome, Plan, Write, plan};
use crate::visible::Visible;

/// The most writes that share a commit. Far above what waits while one commit is
/// synced; it bounds how long the first of them waits for the last.
const BATCH: usize = 256;

/// How many writes may be queued before further writers wait to be queued. Two batches:
/// the writer finds the next one ready, and writers are kept in order beyond it.
const QUEUE: usize = 2 * BATCH;

/// How often the thread lets others run, without any write coming in, before it stops
/// waiting for the writers of the last batch. Some ten microseconds on an idle machine;
/// a commit takes at least ten times as long.
const PATIENCE: u32 = 100;

type Answer = Result<Arc<Object>, WriteError>;

/// The writer thread, as its owner sees it. Dropping it finishes what is queued and
/// waits for the database to be closed.
#[derive(Debug)]
pub(crate) struct Writer {
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is asked to do.
#[derive(Debug)]
enum Order {
    Write(Request),
    Close,
}

#[derive(Debug)]
struct Request {
    write: Write,
    answer: oneshot::Sender<Answer>,
}

/// What the thread owns.
struct Shell {
    visible: Arc<Visible>,
    database: Database,
    /// Whether the last commit failed: failures are logged when they begin and end.
    failing: bool,
}

// === impl Writer ===

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(visible: Arc<Visible>, database: Database) -> io::Result<Writer> {
        let (orders, queue) = mpsc::channel(QUEUE);
        let shell = Shell {
            visible,
            database,
            failing: false,
        };
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || shell.run(queue))?;
        Ok(Writer {
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Has one write done.
    pub(crate) async fn write(&self, write: Write) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.order(Order::Write(Request { write, answer })).await?;
        answered.await.unwrap_or(Err(WriteError::Closed))
    }

    /// Asks the thread to finish what is queued and to end.
    pub(crate) async fn close(&self) {
        // An error says that it has ended already.
        let _ = self.order(Order::Close).await;
    }

    async fn order(&self, order: Order) -> Result<(), WriteError> {
        let orders = self.orders.as_ref().ok_or(WriteError::Closed)?;
        orders.send(order).await.map_err(|_| WriteError::Closed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.orders = None;
        let Some(thread) = self.thread.take() else {
            return;
        };
        // The thread itself may drop the last handle, with the waker of an abandoned task.
        if thread.thread().id() != thread::current().id() && thread.join().is_err() {
            tracing::error!("the store's writer panicked");
        }
    }
}

// === impl Shell ===

impl Shell {
    fn run(mut self, mut queue: mpsc::Receiver<Order>) {
        // However the thread ends, waiters are told.
        let _closing = Closing(self.visible.clone());
        let mut orders = Vec::with_capacity(BATCH);
        let mut expected = 0;
        while queue.blocking_recv_many(&mut orders, BATCH) > 0 {
            gather(&mut queue, &mut orders, expected);
            expected = orders.len();
            let mut batch = Vec::with_capacity(orders.len());
            for order in orders.drain(..) {
                match order {
                    Order::Write(request) => batch.push(request),
                    Order::Close => queue.close(),
                }
            }
            self.do_batch(batch);
        }
        drop(self.database);
    }

    /// Does a batch in one commit. If it fails, each write is tried alone: one that is
    /// too large for the space left does not take the others with it.
    fn do_batch(&mut self, batch: Vec<Request>) {
        let Err(batch) = self.try_batch(batch) else {
            return;
        };
        self.database.try_empty_log();
        for request in batch {
            let committed = self.commit(std::iter::once(&request.write));
            let outcome =
                committed.map(|mut outcomes| outcomes.pop().expect("one write has one outcome"));
            answer(request, outcome);
        }
    }

    /// Does a batch in one commit, or gives it back.
    fn try_batch(&mut self, batch: Vec<Request>) -> Result<(), Vec<Request>> {
        match self.commit(batch.iter().map(|request| &request.write)) {
            Ok(outcomes) => {
                for (request, outcome) in batch.into_iter().zip(outcomes) {
                    answer(request, Ok(outcome));
                }
                Ok(())
            }
            Err(_) => Err(batch),
        }
    }

    /// Decides writes, makes them durable, then visible. With an error none is done,
    /// and no conflict among them is certain.
    fn commit<'w>(
        &mut self,
        writes: impl Iterator<Item = &'w Write>,
    ) -> Result<Vec<Outcome>, WriteError> {
        let Plan { outcomes, events } = plan(&self.visible, writes);
        if events.is_empty() {
            return Ok(outcomes);
        }
        let committed = self.database.commit(&events);
        self.note(&committed);
        committed?;
        self.visible.publish(events);
        Ok(outcomes)
    }

    fn note(&mut self, committed: &Result<(), WriteError>) {
        match committed {
            Err(error) if !self.failing => tracing::error!(%error, "writes fail"),
            Ok(()) if self.failing => tracing::info!("writes work again"),
            _ => {}
        }
        self.failing = committed.is_err();
    }
}

/// Waits a moment for as many orders as are expected. Writers that were answered together
/// come back together: without this the first of them gets a commit of its own, and the
/// others wait for it.
fn gather(queue: &mut mpsc::Receiver<Order>, orders: &mut Vec<Order>, expected: usize) {
    let mut patience = PATIENCE;
    while orders.len() < expected && patience > 0 {
        match queue.try_recv() {
            Ok(order) => {
                orders.push(order);
                patience = PATIENCE;
            }
            Err(TryRecvError::Empty) => {
                thread::yield_now();
                patience -= 1;
            }
            Err(TryRecvError::Disconnected) => return,
        }
    }
}

fn answer(request: Request, outcome: Result<Outcome, WriteError>) {
    let answer = outcome.and_then(Outcome::into_result);
    // Who asked may have stopped waiting.
    let _ = request.answer.send(answer);
}

/// Tells everyone, when it is dropped, that no write can follow.
struct Closing(Arc<Visible>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}
