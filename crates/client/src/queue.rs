use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{Debug, Display};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Backoff;
use crate::instruments::QueueCounters;

/// The first delay of a key that failed …
const FIRST_RETRY: Duration = Duration::from_millis(5);
/// … and the longest.
const RETRY_BOUND: Duration = Duration::from_secs(30);

/// Keys to be looked at: each at most once in the queue, and never in the
/// hands of two workers. A key added while it is worked on comes again after.
pub struct WorkQueue<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Notify,
    counters: Option<QueueCounters>,
}

struct State<T> {
    /// In order of arrival, with its time; every key is also in `waiting`.
    ready: VecDeque<(T, Instant)>,
    /// Keys to be handed out: those in `ready`, and those added while worked on.
    waiting: BTreeSet<T>,
    /// Keys in the hands of a worker.
    working: BTreeSet<T>,
    /// When a delayed key is due. A key is delayed once, until the earliest time asked for.
    delayed: BTreeMap<T, Instant>,
    /// `delayed`, by time.
    due: BTreeSet<(Instant, T)>,
    backoffs: BTreeMap<T, Backoff>,
    closed: bool,
}

/// What a worker says about a key it has looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing to do until it is added again.
    Settled,
    /// To be looked at again after this long, at the latest.
    After(Duration),
}

/// A key in the hands of a worker; dropping it hands it back.
pub struct Work<T: Ord + Clone> {
    key: T,
    begun: Instant,
    queue: WorkQueue<T>,
}

// === impl WorkQueue ===

impl<T: Ord + Clone> Default for WorkQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Ord + Clone> WorkQueue<T> {
    /// An empty queue.
    pub fn new() -> Self {
        Self::counted(None)
    }

    /// An empty queue that is counted under a name: what it does is told as Kubernetes' controllers tell it.
    pub fn named(name: &str) -> Self {
        Self::counted(Some(QueueCounters::named(name)))
    }

    fn counted(counters: Option<QueueCounters>) -> Self {
        let state = State {
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            working: BTreeSet::new(),
            delayed: BTreeMap::new(),
            due: BTreeSet::new(),
            backoffs: BTreeMap::new(),
            closed: false,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Notify::new(),
                counters,
            }),
        }
    }

    /// Adds a key, unless it is already to be handed out.
    pub fn add(&self, key: T) {
        if let Some(counters) = &self.shared.counters {
            counters.adds.inc();
        }
        self.shared.state.lock().add(key);
        self.shared.changed.notify_one();
    }

    /// Adds a key after `delay`, or earlier if that was asked for before.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        self.shared.state.lock().delay(key, Instant::now() + delay);
        self.shared.changed.notify_one();
    }

    /// Adds a key after its back-off, which doubles with each call until [`Self::forget`].
    pub fn retry(&self, key: T) {
        if let Some(counters) = &self.shared.counters {
            counters.retries.inc();
        }
        let delay = {
            let mut state = self.shared.state.lock();
            let fresh = || Backoff::new(FIRST_RETRY, RETRY_BOUND);
            state
                .backoffs
                .entry(key.clone())
                .or_insert_with(fresh)
                .fail()
        };
        self.add_after(key, delay);
    }

    /// Forgets the failures of a key.
    pub fn forget(&self, key: &T) {
        self.shared.state.lock().backoffs.remove(key);
    }

    /// Hands out nothing more; [`Self::next`] returns `None` from now on.
    pub fn close(&self) {
        self.shared.state.lock().closed = true;
        self.shared.changed.notify_waiters();
        self.shared.changed.notify_one();
    }

    /// How many keys could be handed out now.
    pub fn len(&self) -> usize {
        self.shared.state.lock().ready.len()
    }

    /// True when nothing can be handed out now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for a key that nobody works on; `None` once the queue is closed. Cancel safe.
    pub async fn next(&self) -> Option<Work<T>> {
        loop {
            let changed = self.shared.changed.notified();
            let earliest = {
                let mut state = self.shared.state.lock();
                if state.closed {
                    self.shared.changed.notify_one();
                    return None;
                }
                state.wake(Instant::now());
                if let Some((key, since)) = state.take() {
                    let begun = Instant::now();
                    if let Some(counters) = &self.shared.counters {
                        counters.waited(begun - since);
                        counters.depth.set(state.ready.len() as f64);
                    }
                    // The permit that woke this caller may have stood for several keys.
                    if !state.ready.is_empty() {
                        self.shared.changed.notify_one();
                    }
                    return Some(Work {
                        key,
                        begun,
                        queue: self.clone(),
                    });
                }
                state.due.first().map(|(due, _)| *due)
            };
            match earliest {
                None => changed.await,
                Some(due) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = tokio::time::sleep_until(due) => {}
                },
            }
        }
    }

    /// Works on keys until `stop` is cancelled, on at most `workers` at a time, all in the
    /// caller's task. A key whose work fails is retried with back-off. On `stop` the work in
    /// hand is dropped where it awaits: what was written stays written, and a restart must
    /// converge from there, as after a crash.
    pub async fn serve<F, W, E>(&self, workers: usize, stop: &CancellationToken, reconcile: F)
    where
        T: Debug,
        F: Fn(T) -> W,
        W: Future<Output = Result<Next, E>>,
        E: Display,
    {
        let mut in_hand = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some((work, result)) = in_hand.next(), if !in_hand.is_empty() => self.settle(work, result),
                work = self.next(), if in_hand.len() < workers.max(1) => {
                    let Some(work) = work else { break };
                    let reconciling = reconcile(work.key().clone());
                    in_hand.push(async move { (work, reconciling.await) });
                }
            }
        }
    }

    fn settle<E: Display>(&self, work: Work<T>, result: Result<Next, E>)
    where
        T: Debug,
    {
        let key = work.key().clone();
        drop(work);
        match result {
            Ok(next) => {
                self.forget(&key);
                if let Next::After(delay) = next {
                    self.add_after(key, delay);
                }
            }
            Err(error) => {
                tracing::debug!(?key, %error, "work failed, trying again");
                self.retry(key);
            }
        }
    }
}

impl<T: Ord + Clone> State<T> {
    fn add(&mut self, key: T) {
        if self.closed || !self.waiting.insert(key.clone()) {
            return;
        }
        if !self.working.contains(&key) {
            self.ready.push_back((key, Instant::now()));
        }
    }

    fn delay(&mut self, key: T, due: Instant) {
        if let Some(earlier) = self.delayed.get(&key).copied() {
            if earlier <= due {
                return;
            }
            self.due.remove(&(earlier, key.clone()));
        }
        self.delayed.insert(key.clone(), due);
        self.due.insert((due, key));
    }

    fn wake(&mut self, now: Instant) {
        while self.due.first().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, key)) = self.due.pop_first() {
                self.delayed.remove(&key);
                self.add(key);
            }
        }
    }

    fn take(&mut self) -> Option<(T, Instant)> {
        let (key, since) = self.ready.pop_front()?;
        self.waiting.remove(&key);
        self.working.insert(key.clone());
        Some((key, since))
    }

    fn hand_back(&mut self, key: &T) {
        self.working.remove(key);
        if self.waiting.contains(key) {
            self.ready.push_back((key.clone(), Instant::now()));
        }
    }
}

impl<T: Ord + Clone> Work<T> {
    /// What is to be looked at.
    pub fn key(&self) -> &T {
        &self.key
    }
}

impl<T: Ord + Clone> Drop for Work<T> {
    fn drop(&mut self) {
        if let Some(counters) = &self.queue.shared.counters {
            counters.worked(self.begun.elapsed());
        }
        self.queue.shared.state.lock().hand_back(&self.key);
        self.queue.shared.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
        tokio::time::timeout(limit, future).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_added_twice_is_handed_out_once() {
        let queue = WorkQueue::new();
        queue.add("a");
        queue.add("b");
        queue.add("a");
        assert_eq!(queue.next().await.map(|work| *work.key()), Some("a"));
        assert_eq!(queue.next().await.map(|work| *work.key()), Some("b"));
        assert!(within(Duration::from_secs(1), queue.next()).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_in_work_is_not_handed_to_another_worker() {
        let queue = WorkQueue::new();
        queue.add(1);
        let first = queue.next().await.expect("the queue is open");
        queue.add(1);
        assert!(within(Duration::from_secs(1), queue.next()).await.is_none());
        drop(first);
        assert_eq!(queue.next().await.map(|work| *work.key()), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_delays_the_earlier_counts_and_a_delayed_key_comes_once() {
        let queue = WorkQueue::new();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(10));
        queue.add_after("a", Duration::from_secs(3));
        queue.add_after("a", Duration::from_secs(7));
        assert_eq!(queue.next().await.map(|work| *work.key()), Some("a"));
        assert_eq!(start.elapsed().as_secs(), 3);
        assert!(
            within(Duration::from_secs(60), queue.next())
                .await
                .is_none()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_delay_wakes_a_worker_that_waits_for_a_later_one() {
        let queue = WorkQueue::new();
        queue.add_after(1, Duration::from_secs(100));
        let start = Instant::now();
        let waiting = queue.next();
        let adding = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            queue.add_after(2, Duration::from_secs(1));
        };
        let (work, ()) = tokio::join!(waiting, adding);
        assert_eq!(work.map(|work| *work.key()), Some(2));
        assert_eq!(start.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_key_is_retried_with_growing_delays_up_to_the_bound() {
        let queue = WorkQueue::new();
        let stop = CancellationToken::new();
        let times = RefCell::new(Vec::new());
        queue.add(());
        let start = Instant::now();
        let reconcile = |()| {
            times.borrow_mut().push(start.elapsed());
            if times.borrow().len() == 20 {
                stop.cancel();
            }
            async { Err::<Next, _>("no") }
        };
        queue.serve(2, &stop, reconcile).await;
        let times = times.into_inner();
        let gaps: Vec<u128> = times
            .windows(2)
            .map(|pair| (pair[1] - pair[0]).as_millis())
            .collect();
        assert!(gaps.windows(2).all(|pair| pair[0] <= pair[1]), "{gaps:?}");
        assert!(gaps[0] < 10, "{gaps:?}");
        assert_eq!(gaps.last().copied(), Some(30_000), "{gaps:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_ends_every_waiter() {
        let queue: WorkQueue<u8> = WorkQueue::new();
        let closing = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            queue.close();
        };
        let (one, two, ()) = tokio::join!(queue.next(), queue.next(), closing);
        assert!(one.is_none() && two.is_none());
        queue.add(1);
        assert!(queue.next().await.is_none());
    }
}
