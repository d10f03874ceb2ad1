//! A run: users are made, scenarios run side by side, and once a second everybody hears what happened.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use parking_lot::Mutex;
use springtide_machinery::clock::Clock;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::executor::{Crew, Execution, execute};
use crate::metric::{Collector, FailureTally, Interval, Tags, Totals, Trend};
use crate::scenario::{ScenarioPlan, users_at_peak};
use crate::thresholds::{Threshold, Verdict};
use crate::user::{RunState, ScenarioState, StopReason, UserError, UserFactory};

/// How often thresholds are judged while the test runs, as in k6.
const JUDGE_EVERY: u64 = 2;

/// How late iterations may begin, and threads wake, at the 99th percentile before it is said; milliseconds.
const LATE: f64 = 20.0;
/// How much of its threads' time the generator may take before it is said.
const BUSY: f64 = 0.9;

/// What is to be run.
#[derive(Debug)]
pub struct RunPlan {
    /// Scenarios, checked.
    pub scenarios: Vec<ScenarioPlan>,
    /// Conditions.
    pub thresholds: Vec<Threshold>,
    /// Tags of every sample.
    pub tags: Tags,
    /// Worker threads.
    pub threads: usize,
}

/// What a second held.
#[derive(Debug)]
pub struct Moment<'run> {
    /// Time since the start.
    pub elapsed: Duration,
    /// What was measured since the last moment.
    pub interval: &'run Interval,
    /// The run's counters.
    pub state: &'run RunState,
    /// The scenarios, sorted by name.
    pub scenarios: &'run [Arc<ScenarioState>],
    /// True for the last one.
    pub last: bool,
}

/// How a run ended.
#[derive(Debug)]
pub struct RunEnd {
    /// When its scenarios began; moments count from here.
    pub started: Instant,
    /// How long it took.
    pub elapsed: Duration,
    /// Everything that was measured.
    pub totals: Totals,
    /// What the thresholds came to.
    pub verdicts: Vec<Verdict>,
    /// Why it ended early, if it did.
    pub stopped: Option<StopReason>,
    /// Failed requests by kind.
    pub failures: FailureTally,
    /// How late iterations of arrival rates began although a user was free, in milliseconds.
    pub lateness: Trend,
    /// How late worker threads woke while scenarios ran, in milliseconds.
    pub lag: Trend,
    /// Processor time of this process over the time that its worker threads had, from 0 to 1.
    pub busy: f64,
}

/// Users that are ready to run.
#[derive(Debug)]
pub struct Run {
    plan: RunPlan,
    execution: Execution,
    collector: Arc<Collector>,
    /// When everything was ready. k6 counts `setup` and `teardown` as part of the test.
    ready: Instant,
}

// === impl RunEnd ===

impl RunEnd {
    /// Takes what `teardown` measured into the result, as k6 does, and the time that it took.
    pub fn include_teardown(&mut self, thresholds: &[Threshold], totals: Totals, took: Duration) {
        self.elapsed += took;
        self.verdicts = judged(thresholds, &totals, self.elapsed);
        self.totals = totals;
    }

    /// What speaks against the numbers: that the generator, and not the target, was the limit. A
    /// sentence each; none where there is nothing to say.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let late = self.lateness.percentile(99.0);
        let lag = self.lag.percentile(99.0);
        if late > LATE {
            doubts.push(format!(
                "iterations began up to {late:.0} ms late (99th percentile) although users were free: the generator was the limit, not the target"
            ));
        } else if lag > LATE {
            doubts.push(format!(
                "the generator's threads woke up to {lag:.0} ms late (99th percentile): the generator, or the machine it shares, was the limit"
            ));
        }
        if self.busy > BUSY {
            doubts.push(format!(
                "the generator took {:.0} % of its processors: the numbers may be the generator's, not the target's",
                self.busy * 100.0
            ));
        }
        doubts
    }
}

// === impl Run ===

impl Run {
    /// Starts the threads and makes all users that the scenarios have planned.
    ///
    /// # Errors
    /// When the system gives no thread, or a user cannot be made.
    pub async fn prepare<F: UserFactory>(
        plan: RunPlan,
        factory: &Arc<F>,
        state: &Arc<RunState>,
        collector: &Arc<Collector>,
        clock: &Clock,
    ) -> Result<Self, UserError> {
        let crew =
            Crew::start(plan.threads, factory, state, collector, clock).map_err(|error| {
                UserError {
                    number: 0,
                    reason: format!("no thread for it: {error}"),
                }
            })?;
        let users = users_at_peak(&plan.scenarios, |scenario| {
            scenario.executor.planned_users()
        });
        crew.create_users(1..=users).await?;
        let execution = Execution::new(
            Arc::new(crew),
            users,
            Arc::clone(state),
            clock.clone(),
            plan.tags.clone(),
        );
        Ok(Self {
            plan,
            execution,
            collector: Arc::clone(collector),
            ready: Instant::now(),
        })
    }

    /// The end of a run whose scenarios never began.
    #[must_use]
    pub fn give_up(self) -> RunEnd {
        self.end(Instant::now(), 0.0, FailureTally::default())
    }

    /// Runs all scenarios. `watch` hears of every second.
    pub async fn execute(self, mut watch: impl FnMut(&Moment<'_>)) -> RunEnd {
        let started = Instant::now();
        let processor_before = processor_time();
        let state = Arc::clone(&self.execution.state);
        let sink = self.collector.sink();
        let scenarios: Mutex<Vec<Arc<ScenarioState>>> = Mutex::default();
        let mut running = std::pin::pin!(self.run_scenarios(started, &scenarios));
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        seconds.tick().await;
        let mut second = 0;
        let mut failures = FailureTally::default();
        loop {
            let last = tokio::select! {
                biased;
                () = &mut running => true,
                _ = seconds.tick() => false,
            };
            second += 1;
            let metrics = self.collector.registry().builtin();
            let now = self.execution.clock.now();
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            let users = [
                (
                    &metrics.vus,
                    state.vus_active.load(Ordering::Relaxed) as f64,
                ),
                (
                    &metrics.vus_max,
                    state.vus_initialized.load(Ordering::Relaxed) as f64,
                ),
            ];
            if !last || second == 1 {
                sink.add_all(users, &self.plan.tags, now);
            }
            let interval = self.collector.collect();
            failures.merge(&interval.failures);
            let elapsed = started.elapsed();
            let known = scenarios.lock().clone();
            watch(&Moment {
                elapsed,
                interval: &interval,
                state: &state,
                scenarios: &known,
                last,
            });
            if last {
                break;
            }
            if second % JUDGE_EVERY == 0 {
                self.stop_where_thresholds_say_so(elapsed);
            }
        }
        let spent = processor_time().saturating_sub(processor_before);
        #[expect(clippy::cast_precision_loss, reason = "few threads")]
        let available = started.elapsed().as_secs_f64() * self.plan.threads.max(1) as f64;
        let busy = spent.as_secs_f64() / available.max(1e-9);
        self.end(started, busy, failures)
    }

    fn end(&self, started: Instant, busy: f64, failures: FailureTally) -> RunEnd {
        let elapsed = self.ready.elapsed();
        let totals = self.collector.totals();
        let verdicts = judged(&self.plan.thresholds, &totals, elapsed);
        RunEnd {
            started,
            elapsed,
            totals,
            verdicts,
            stopped: self.execution.state.stop_reason().cloned(),
            failures,
            lateness: self.execution.lateness(),
            lag: self.execution.state.lag.lock().clone(),
            busy,
        }
    }

    async fn run_scenarios(&self, start: Instant, known: &Mutex<Vec<Arc<ScenarioState>>>) {
        let all = self.plan.scenarios.iter().map(|plan| {
            execute(&self.execution, plan, start, |scenario| {
                let mut known = known.lock();
                known.push(scenario);
                known.sort_by(|one, other| one.name.cmp(&other.name));
            })
        });
        futures::future::join_all(all).await;
    }

    fn stop_where_thresholds_say_so(&self, elapsed: Duration) {
        if !self.plan.thresholds.iter().any(|one| one.abort_on_fail) {
            return;
        }
        let totals = self.collector.totals();
        if let Some(crossed) = self
            .plan
            .thresholds
            .iter()
            .find(|threshold| threshold.aborts(&totals, elapsed))
        {
            let name = crossed.metric.name.to_string();
            self.execution
                .state
                .stop_because(StopReason::Threshold(name));
        }
    }
}

fn judged(thresholds: &[Threshold], totals: &Totals, elapsed: Duration) -> Vec<Verdict> {
    thresholds
        .iter()
        .map(|threshold| threshold.judge(totals, elapsed))
        .collect()
}

/// Processor time that this process took so far.
fn processor_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return Duration::ZERO;
    };
    [usage.user_time(), usage.system_time()]
        .into_iter()
        .map(|time| {
            let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
            let micros = u64::try_from(time.tv_usec()).unwrap_or(0);
            Duration::from_secs(seconds) + Duration::from_micros(micros)
        })
        .sum()
}
