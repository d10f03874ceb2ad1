//! A scenario from its start to its end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use springtide_machinery::clock::Clock;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::arrivals::{ArrivalOrder, ArrivalScenario, Numbering};
use super::crew::Crew;
use super::lease::Lease;
use super::looping::{Iterations, LoopOrder, Pile};
use super::worker::Order;
use crate::metric::{Tags, Trend};
use crate::scenario::{Executor, ScenarioPlan};
use crate::schedule::{Arrivals, Step, ramp_steps};
use crate::user::{RunState, ScenarioState};

/// What the scenarios of a run share.
#[derive(Debug)]
pub struct Execution {
    /// The threads.
    pub crew: Arc<Crew>,
    /// The run.
    pub state: Arc<RunState>,
    /// Tells when a scenario began.
    pub clock: Clock,
    /// Tags of every sample.
    pub tags: Tags,
    /// Users that no scenario holds, those that rested longest first.
    free: Mutex<VecDeque<u64>>,
    /// The number of the next user that is made, by thread.
    next_user: Arc<[AtomicU64]>,
    /// How late iterations of arrival rates began although a user was free, milliseconds.
    lateness: Mutex<Trend>,
}

// === impl Execution ===

impl Execution {
    /// An execution with `users` users made already, numbered from 1.
    #[must_use]
    pub fn new(
        crew: Arc<Crew>,
        users: u64,
        state: Arc<RunState>,
        clock: Clock,
        tags: Tags,
    ) -> Self {
        let threads = crew.threads();
        let mut next_user = vec![0; threads];
        for number in (users + 1..).take(threads) {
            next_user[crew.thread_of(number)] = number;
        }
        Self {
            crew,
            state,
            clock,
            tags,
            free: Mutex::new((1..=users).collect()),
            next_user: next_user.into_iter().map(AtomicU64::new).collect(),
            lateness: Mutex::default(),
        }
    }

    /// How late iterations of arrival rates began although a user was free, in milliseconds: more
    /// than a few say that the generator, not the target, was the limit.
    #[must_use]
    pub fn lateness(&self) -> Trend {
        self.lateness.lock().clone()
    }

    /// Takes the free users that rested longest: those that did nothing yet come first, as in k6.
    fn take_users(&self, count: u64) -> Vec<u64> {
        let mut free = self.free.lock();
        let taken = usize::try_from(count).map_or(free.len(), |count| count.min(free.len()));
        free.drain(..taken).collect()
    }

    fn give_back(&self, users: impl IntoIterator<Item = u64>) {
        self.free.lock().extend(users);
    }
}

/// How a scenario's progress is told: from 0 to 1.
#[derive(Debug)]
struct Progress {
    start: Instant,
    length: Duration,
    iterations: Option<(Arc<Iterations>, u64)>,
}

/// Runs a scenario of a test that `began` then to its end; `known` is told of it before it starts.
pub async fn execute(
    execution: &Execution,
    plan: &ScenarioPlan,
    began: Instant,
    known: impl FnOnce(Arc<ScenarioState>),
) {
    let start = began + plan.start_time;
    let iterations = Arc::new(Iterations::of(match &plan.executor {
        Executor::SharedIterations { iterations, .. } => Pile::Shared {
            left: AtomicU64::new(*iterations),
        },
        Executor::PerVuIterations { iterations, .. } => Pile::Each { size: *iterations },
        _ => Pile::Endless,
    }));
    let all = match &plan.executor {
        Executor::SharedIterations { iterations, .. } => Some(*iterations),
        Executor::PerVuIterations {
            users, iterations, ..
        } => Some(users * iterations),
        _ => None,
    };
    let progress = Progress {
        start,
        length: plan.executor.duration(),
        iterations: all.map(|all| (Arc::clone(&iterations), all)),
    };
    let scenario = Arc::new(ScenarioState {
        name: plan.name.as_str().into(),
        executor: plan.executor.name(),
        exec: plan.exec.clone(),
        env: plan.env.clone(),
        tags: execution
            .tags
            .with_all(
                plan.tags
                    .iter()
                    .map(|(name, value)| (name.as_str().into(), value.as_str().into())),
            )
            .with("scenario", plan.name.as_str())
            .with("group", ""),
        started: std::sync::OnceLock::new(),
        lacks_users: AtomicBool::new(false),
        progress: Box::new(move || progress.now()),
    });
    known(Arc::clone(&scenario));
    tokio::select! {
        biased;
        () = execution.state.stop.cancelled() => return,
        () = sleep_until(start) => {}
    }
    let _ = scenario
        .started
        .set((Instant::now(), execution.clock.now()));
    let running = Running {
        execution,
        plan,
        scenario,
        start,
        end: start + plan.executor.duration(),
    };
    match &plan.executor {
        Executor::SharedIterations { users, .. }
        | Executor::PerVuIterations { users, .. }
        | Executor::ConstantVus { users, .. } => running.constant(*users, &iterations).await,
        Executor::RampingVus {
            start,
            stages,
            graceful_ramp_down,
        } => {
            let steps = ramp_steps(*start, stages);
            running
                .ramping(&steps, *graceful_ramp_down, &iterations)
                .await;
        }
        Executor::ConstantArrivalRate { rate, duration, .. } => {
            let arrivals = Arrivals::constant(*rate, *duration);
            let begun = Numbering::Begun(AtomicU64::new(0));
            running.arrivals(|| Box::new(arrivals.clone()), begun).await;
        }
        Executor::RampingArrivalRate { start, stages, .. } => {
            let per = start.per.as_secs_f64();
            let stages: Vec<_> = stages
                .iter()
                .map(|(length, count)| (*length, count / per))
                .collect();
            let arrivals = Arrivals::ramping(start.per_second(), &stages);
            let begun = Numbering::Begun(AtomicU64::new(0));
            running.arrivals(|| Box::new(arrivals.clone()), begun).await;
        }
        Executor::Scheduled { schedule, .. } => {
            running
                .arrivals(|| schedule.arrivals(), Numbering::Place)
                .await;
        }
    }
}

impl Progress {
    fn now(&self) -> f64 {
        if let Some((iterations, all)) = &self.iterations {
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            let part = iterations.begun.load(Ordering::Relaxed) as f64 / (*all).max(1) as f64;
            return part.min(1.0);
        }
        let elapsed = Instant::now().saturating_duration_since(self.start);
        if self.length.is_zero() {
            return 1.0;
        }
        (elapsed.as_secs_f64() / self.length.as_secs_f64()).min(1.0)
    }
}

/// A scenario that has started.
struct Running<'run> {
    execution: &'run Execution,
    plan: &'run ScenarioPlan,
    scenario: Arc<ScenarioState>,
    start: Instant,
    end: Instant,
}

impl Running<'_> {
    /// So many users loop, until their piles are empty or the time is over.
    async fn constant(&self, users: u64, iterations: &Arc<Iterations>) {
        let numbers = self.execution.take_users(users);
        let (done, mut all_done) = mpsc::channel(1);
        let mut leases = Vec::with_capacity(numbers.len());
        for number in &numbers {
            // Each has a lease of its own, since the first one to end must not end the others'.
            let lease = Lease::new();
            self.order_loop(*number, iterations, &lease, &done);
            leases.push(lease);
        }
        drop(done);
        tokio::select! {
            biased;
            _ = all_done.recv() => {}
            () = sleep_until(self.end) => {}
            () = self.execution.state.stop.cancelled() => {}
        }
        self.finish(&leases, Vec::new(), all_done).await;
        self.execution.give_back(numbers);
    }

    /// The number of looping users follows steps.
    async fn ramping(&self, steps: &[Step], grace: Duration, iterations: &Arc<Iterations>) {
        let most = steps.iter().map(|step| step.users).max().unwrap_or(0);
        let numbers = self.execution.take_users(most);
        let mut leases: Vec<Option<Lease>> = vec![None; numbers.len()];
        // When a user that has to leave is dropped; at most one entry a user.
        let mut drops: Vec<Option<Instant>> = vec![None; numbers.len()];
        let (done, all_done) = mpsc::channel(1);
        let mut steps = steps.iter().peekable();
        loop {
            let next_step = steps.peek().map(|step| self.start + step.at);
            let next_drop = drops.iter().flatten().min().copied();
            let next = [next_step, next_drop, Some(self.end)]
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(self.end);
            tokio::select! {
                biased;
                () = self.execution.state.stop.cancelled() => break,
                () = sleep_until(next) => {}
            }
            let now = Instant::now();
            for (drop_at, lease) in drops.iter_mut().zip(&leases) {
                if drop_at.is_some_and(|at| at <= now) {
                    *drop_at = None;
                    if let Some(lease) = lease {
                        lease.drop_iteration();
                    }
                }
            }
            while let Some(step) = steps.next_if(|step| self.start + step.at <= now) {
                let wanted = usize::try_from(step.users).unwrap_or(usize::MAX);
                for (index, number) in numbers.iter().enumerate() {
                    if index < wanted {
                        drops[index] = None;
                        if !leases[index].as_ref().is_some_and(Lease::renew) {
                            let lease = Lease::new();
                            self.order_loop(*number, iterations, &lease, &done);
                            leases[index] = Some(lease);
                        }
                    } else if let Some(lease) = &leases[index]
                        && lease.goes_on()
                    {
                        lease.finish();
                        drops[index] = Some(now + grace);
                    }
                }
            }
            if now >= self.end && steps.peek().is_none() {
                break;
            }
        }
        drop(done);
        // Those who had to leave on the way down have their own time for it.
        let leaving: Vec<(Instant, Lease)> = drops
            .into_iter()
            .zip(&leases)
            .filter_map(|(drop_at, lease)| Some((drop_at?, lease.clone()?)))
            .collect();
        let leases: Vec<Lease> = leases.into_iter().flatten().collect();
        self.finish(&leases, leaving, all_done).await;
        self.execution.give_back(numbers);
    }

    /// Iterations start by a schedule.
    async fn arrivals(
        &self,
        schedule: impl Fn() -> Box<dyn Iterator<Item = Duration> + Send>,
        numbering: Numbering,
    ) {
        let crew = &self.execution.crew;
        let threads = crew.threads();
        let numbers = self
            .execution
            .take_users(self.plan.executor.planned_users());
        let mut by_thread = vec![Vec::new(); threads];
        for number in &numbers {
            by_thread[crew.thread_of(*number)].push(*number);
        }
        let lease = Lease::new();
        let (handed, receivers): (Vec<_>, Vec<_>) =
            (0..threads).map(|_| mpsc::unbounded_channel()).unzip();
        let shared = Arc::new(ArrivalScenario {
            scenario: Arc::clone(&self.scenario),
            start: self.start,
            end: self.end,
            lease: lease.clone(),
            numbering,
            may_grow: AtomicU64::new(
                self.plan.executor.max_users() - self.plan.executor.planned_users(),
            ),
            next_user: Arc::clone(&self.execution.next_user),
            grown: Mutex::default(),
            handed,
            free: by_thread
                .iter()
                .map(|users| AtomicU64::new(users.len() as u64))
                .collect(),
            lateness: Mutex::default(),
        });
        let (done, all_done) = mpsc::channel(1);
        for (thread, (users, handed)) in by_thread.into_iter().zip(receivers).enumerate() {
            let order = ArrivalOrder {
                shared: Arc::clone(&shared),
                thread,
                arrivals: schedule(),
                handed,
                users,
                done: done.clone(),
            };
            let _ = crew.orders[thread].send(Order::Arrivals(order));
        }
        drop(done);
        tokio::select! {
            biased;
            () = self.execution.state.stop.cancelled() => {}
            () = sleep_until(self.end) => {}
        }
        self.finish(std::slice::from_ref(&lease), Vec::new(), all_done)
            .await;
        self.execution
            .lateness
            .lock()
            .merge(&shared.lateness.lock());
        self.execution.give_back(numbers);
        self.execution
            .give_back(std::mem::take(&mut *shared.grown.lock()));
    }

    fn order_loop(
        &self,
        number: u64,
        iterations: &Arc<Iterations>,
        lease: &Lease,
        done: &mpsc::Sender<()>,
    ) {
        let order = LoopOrder {
            number,
            scenario: Arc::clone(&self.scenario),
            iterations: Arc::clone(iterations),
            lease: lease.clone(),
            done: done.clone(),
        };
        self.execution.crew.order(number, Order::Loop(order));
    }

    /// Lets iterations under way end within the graceful time, those of users who are `leaving` until each
    /// one's own time if that is earlier, or drops them at once if the run is stopped.
    async fn finish(
        &self,
        leases: &[Lease],
        mut leaving: Vec<(Instant, Lease)>,
        mut all_done: mpsc::Receiver<()>,
    ) {
        for lease in leases {
            lease.finish();
        }
        let deadline = Instant::now() + self.plan.graceful_stop;
        leaving.retain(|(drop_at, _)| *drop_at < deadline);
        leaving.sort_by_key(|(drop_at, _)| *drop_at);
        let earlier = leaving
            .iter()
            .map(|(drop_at, lease)| (*drop_at, std::slice::from_ref(lease)));
        for (drop_at, dropped) in earlier.chain([(deadline, leases)]) {
            let stopped = tokio::select! {
                biased;
                ended = timeout_at(drop_at, all_done.recv()) => match ended {
                    Ok(_) => return,
                    Err(_) => false,
                },
                () = self.execution.state.stop.cancelled() => true,
            };
            for lease in if stopped { leases } else { dropped } {
                lease.drop_iteration();
            }
            if stopped {
                break;
            }
        }
        all_done.recv().await;
    }
}
