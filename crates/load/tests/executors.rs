//! The six executors drive users who only count: how many iterations there are, whose they are, and
//! what an early end does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use springtide_load::metric::{Collector, Measured, MetricRegistry, SampleSink, Tags};
use springtide_load::run::{Run, RunEnd, RunPlan};
use springtide_load::scenario::scenarios;
use springtide_load::thresholds::Threshold;
use springtide_load::user::{
    Iteration, Outcome, RunState, StopReason, UserError, UserFactory, VirtualUser,
};
use springtide_machinery::clock::Clock;

/// What users did: iterations by scenario and user.
type Ledger = Arc<Mutex<BTreeMap<(String, u64), Vec<u64>>>>;

struct Counting {
    ledger: Ledger,
    takes: Duration,
    state: Arc<RunState>,
}

struct CountingUser {
    number: u64,
    ledger: Ledger,
    takes: Duration,
    state: Arc<RunState>,
}

impl UserFactory for Counting {
    type User = CountingUser;

    async fn create(&self, number: u64, _: SampleSink) -> Result<CountingUser, UserError> {
        if number == 13 {
            return Err(UserError {
                number,
                reason: "unlucky".to_owned(),
            });
        }
        Ok(CountingUser {
            number,
            ledger: Arc::clone(&self.ledger),
            takes: self.takes,
            state: Arc::clone(&self.state),
        })
    }
}

impl VirtualUser for CountingUser {
    async fn iterate(&mut self, iteration: &Iteration) -> Outcome {
        let scenario = iteration.scenario.name.to_string();
        self.ledger
            .lock()
            .entry((scenario.clone(), self.number))
            .or_default()
            .push(iteration.number);
        if scenario == "aborting" && iteration.number == 3 {
            self.state
                .stop_because(StopReason::Aborted("enough".to_owned()));
            return Outcome::Stopped;
        }
        tokio::time::sleep(self.takes).await;
        Outcome::Completed
    }
}

struct Ran {
    end: RunEnd,
    ledger: BTreeMap<(String, u64), Vec<u64>>,
    state: Arc<RunState>,
    registry: Arc<MetricRegistry>,
}

impl Ran {
    fn iterations(&self, scenario: &str) -> Vec<u64> {
        let mut all: Vec<u64> = self
            .ledger
            .iter()
            .filter(|((name, _), _)| name == scenario)
            .flat_map(|(_, numbers)| numbers.iter().copied())
            .collect();
        all.sort_unstable();
        all
    }

    fn counter(&self, name: &str) -> f64 {
        match self.end.totals.get(&self.registry.get(name).unwrap().id) {
            Some(Measured::Counter { sum }) => *sum,
            _ => 0.0,
        }
    }
}

async fn try_run(options: &str, takes: Duration) -> Result<Ran, UserError> {
    let options = serde_json::from_str(options).unwrap();
    let (plans, _) = scenarios(&options).unwrap();
    let registry = Arc::new(MetricRegistry::default());
    let thresholds =
        Threshold::of_options(&options.thresholds.unwrap_or_default(), &registry).unwrap();
    let state = Arc::new(RunState::default());
    let ledger = Ledger::default();
    let factory = Arc::new(Counting {
        ledger: Arc::clone(&ledger),
        takes,
        state: Arc::clone(&state),
    });
    let collector = Arc::new(Collector::new(Arc::clone(&registry), false));
    let plan = RunPlan {
        scenarios: plans,
        thresholds,
        tags: Tags::default(),
        threads: 2,
    };
    let run = Run::prepare(plan, &factory, &state, &collector, &Clock::system()).await?;
    let end = run.execute(|_| {}).await;
    let ledger = std::mem::take(&mut *ledger.lock());
    Ok(Ran {
        end,
        ledger,
        state,
        registry,
    })
}

async fn run(options: &str, takes: Duration) -> Ran {
    try_run(options, takes).await.unwrap()
}

const SHORT: Duration = Duration::from_millis(2);

#[tokio::test]
async fn shared_iterations_are_done_once_each() {
    let ran = run(r#"{"vus": 5, "iterations": 57}"#, SHORT).await;
    assert_eq!(ran.iterations("default"), (0..57).collect::<Vec<_>>());
    assert_eq!(ran.ledger.len(), 5, "every user took part");
    assert_eq!(ran.state.iterations_completed.load(Ordering::Relaxed), 57);
    assert_eq!(ran.state.vus_active.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn each_user_does_its_own_iterations() {
    let options =
        r#"{"scenarios": {"each": {"executor": "per-vu-iterations", "vus": 4, "iterations": 6}}}"#;
    let ran = run(options, SHORT).await;
    assert_eq!(ran.ledger.len(), 4);
    assert!(ran.ledger.values().all(|numbers| numbers.len() == 6));
}

#[tokio::test]
async fn a_constant_rate_starts_each_arrival_or_counts_it_as_dropped() {
    let options = r#"{"scenarios": {"rate": {"executor": "constant-arrival-rate", "rate": 50, "duration": "1s", "preAllocatedVUs": 3}}}"#;
    let ran = run(options, SHORT).await;
    let begun = ran.iterations("rate").len();
    assert_eq!(begun as f64 + ran.counter("dropped_iterations"), 50.0);
    assert!(begun > 0);
}

#[tokio::test]
async fn a_rate_that_its_users_cannot_keep_makes_more_users_and_drops_the_rest() {
    let options = r#"{"scenarios": {"rate": {"executor": "ramping-arrival-rate", "startRate": 20, "preAllocatedVUs": 1, "maxVUs": 3,
        "stages": [{"duration": "1s", "target": 20}], "gracefulStop": "30s"}}}"#;
    let ran = run(options, Duration::from_millis(400)).await;
    assert_eq!(ran.ledger.len(), 3, "users up to maxVUs");
    let begun = ran.iterations("rate").len();
    assert_eq!(begun as f64 + ran.counter("dropped_iterations"), 20.0);
    assert!(ran.counter("dropped_iterations") > 0.0);
    assert_eq!(ran.state.iterations_interrupted.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn users_ramp_up_and_down_and_all_take_part() {
    let options = r#"{"scenarios": {"ramp": {"executor": "ramping-vus", "startVUs": 0, "gracefulRampDown": "0s",
        "stages": [{"duration": "500ms", "target": 6}, {"duration": "300ms", "target": 2}, {"duration": "200ms", "target": 5}, {"duration": "200ms", "target": 0}]}}}"#;
    let ran = run(options, SHORT).await;
    assert_eq!(ran.ledger.len(), 6);
    assert_eq!(ran.state.vus_active.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn who_leaves_at_the_end_of_a_ramp_has_the_ramps_grace_and_not_the_scenarios() {
    let options = r#"{"scenarios": {"ramp": {"executor": "ramping-vus", "startVUs": 3, "gracefulRampDown": "100ms", "gracefulStop": "30s",
        "stages": [{"duration": "200ms", "target": 3}, {"duration": "0s", "target": 1}]}}}"#;
    let ran = run(options, Duration::from_secs(3)).await;
    assert_eq!(ran.state.iterations_interrupted.load(Ordering::Relaxed), 2);
    assert_eq!(ran.state.iterations_completed.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_is_under_way_at_the_end_of_the_graceful_time_is_interrupted() {
    let options = r#"{"scenarios": {"slow": {"executor": "constant-vus", "vus": 3, "duration": "1s", "gracefulStop": "0s"}}}"#;
    let ran = run(options, Duration::from_secs(3600)).await;
    assert_eq!(ran.state.iterations_interrupted.load(Ordering::Relaxed), 3);
    assert_eq!(ran.state.iterations_completed.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_abort_ends_all_scenarios() {
    let options = r#"{"scenarios": {
        "aborting": {"executor": "constant-vus", "vus": 1, "duration": "1h"},
        "other": {"executor": "constant-arrival-rate", "rate": 10, "duration": "1h", "preAllocatedVUs": 1},
        "later": {"executor": "constant-vus", "vus": 1, "duration": "1h", "startTime": "1h"}
    }}"#;
    let ran = run(options, SHORT).await;
    assert_eq!(
        ran.end.stopped,
        Some(StopReason::Aborted("enough".to_owned()))
    );
    assert!(ran.iterations("later").is_empty());
}

#[tokio::test]
async fn a_threshold_that_aborts_ends_the_run() {
    let options = r#"{"vus": 1, "duration": "1h", "thresholds": {"vus": [{"threshold": "value<1", "abortOnFail": true}]}}"#;
    let ran = run(options, SHORT).await;
    assert_eq!(
        ran.end.stopped,
        Some(StopReason::Threshold("vus".to_owned()))
    );
    assert!(!ran.end.verdicts[0].met);
}

#[tokio::test]
async fn a_user_that_cannot_be_made_stops_the_run_before_it_starts() {
    let error = try_run(r#"{"vus": 20, "duration": "1h"}"#, SHORT)
        .await
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "virtual user 13: unlucky");
}
