use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use springtide_machinery::clock::Clock;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::promql::{Cancel, SeriesSource};
use crate::tsdb::Tsdb;

use super::evaluate::{
    Notice, Outcome, RuleSample, RuleStorage, Surroundings, ending_samples, evaluate_group,
    restore_group,
};
use super::report::{AlertmanagerReports, GroupReport, RuleReports};
use super::rule::RuleGroup;
use super::state::GroupState;

/// Takes the alerts that rules give.
pub trait NoticeSink: Send + Sync {
    /// Takes alerts; never waits for their delivery.
    fn take(&self, notices: Vec<Notice>);

    /// Where they go, for the HTTP API.
    fn alertmanagers(&self) -> AlertmanagerReports {
        AlertmanagerReports::default()
    }
}

/// How the engine evaluates.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// What all rules share.
    pub surroundings: Surroundings,
    /// From one evaluation to the next, where a group says nothing (`global.evaluation_interval`).
    pub interval: Duration,
    /// Whether groups are evaluated on threads for blocking work. Not under paused time.
    pub on_threads: bool,
}

impl Default for EngineOptions {
    /// Every minute.
    fn default() -> EngineOptions {
        EngineOptions {
            surroundings: Surroundings::default(),
            interval: Duration::from_mins(1),
            on_threads: false,
        }
    }
}

/// Evaluates every group of rules at its times. Cheap to clone; clones are the same engine.
#[derive(Clone)]
pub struct RuleEngine(Arc<Shared>);

struct Shared {
    storage: Tsdb,
    clock: Clock,
    sinks: Vec<Arc<dyn NoticeSink>>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    options: EngineOptions,
    groups: BTreeMap<(String, String), RunningGroup>,
    /// Whether groups were set before: then new ones have no state from before a restart.
    began: bool,
}

struct RunningGroup {
    group: Arc<RuleGroup>,
    state: Arc<Mutex<GroupState>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

// === impl RuleEngine ===

impl RuleEngine {
    /// An engine without rules, which stores samples in a database and gives alerts to sinks.
    #[must_use]
    pub fn new(storage: Tsdb, clock: Clock, sinks: Vec<Arc<dyn NoticeSink>>) -> RuleEngine {
        RuleEngine(Arc::new(Shared {
            storage,
            clock,
            sinks,
            running: Mutex::default(),
        }))
    }

    /// Evaluates these groups from now on, in tasks of the runtime it is called from. Groups that stay, by file and
    /// name, keep their alerts; the series of those that go end.
    pub fn set_groups(&self, groups: Vec<RuleGroup>, options: EngineOptions) {
        let shared = &self.0;
        let mut running = shared.running.lock();
        let mut before = std::mem::take(&mut running.groups);
        let restored = running.began;
        for group in groups {
            let key = group.key();
            let old = before.remove(&key).map(RunningGroup::stop);
            let (state, first) = match old {
                Some((old, state)) => (state.carried_over(&old, &group), false),
                None => (GroupState::new(&group, restored), !restored),
            };
            let state = Arc::new(Mutex::new(state));
            let group = Arc::new(group);
            let stop = CancellationToken::new();
            let evaluation = Evaluation {
                shared: shared.clone(),
                group: group.clone(),
                state: state.clone(),
                options: options.clone(),
                interval: group.interval.unwrap_or(options.interval),
                cancel: Cancel::default(),
            };
            let task = tokio::spawn(evaluation.run(stop.clone(), first));
            running.groups.insert(
                key,
                RunningGroup {
                    group,
                    state,
                    stop,
                    task,
                },
            );
        }
        let now = shared.clock.now().as_millisecond();
        for (_, gone) in before {
            let (_, state) = gone.stop();
            let mut storage = TsdbStorage(&shared.storage);
            for refused in storage.store(&ending_samples(&state, now)) {
                tracing::warn!(
                    reason = refused,
                    "a series of a removed rule could not be ended"
                );
            }
        }
        running.began = true;
        running.options = options;
    }

    /// Stops evaluating. Series are left as they are, so that the next run takes them up.
    pub fn stop(&self) {
        let groups = std::mem::take(&mut self.0.running.lock().groups);
        for (_, group) in groups {
            group.stop();
        }
    }
}

impl RuleReports for RuleEngine {
    fn groups(&self) -> Vec<GroupReport> {
        let running = self.0.running.lock();
        let groups = running.groups.values();
        groups
            .map(|running_group| {
                let group = &running_group.group;
                let interval = group.interval.unwrap_or(running.options.interval);
                running_group.state.lock().report(group, interval)
            })
            .collect()
    }

    fn alertmanagers(&self) -> AlertmanagerReports {
        let mut all = AlertmanagerReports::default();
        for sink in &self.0.sinks {
            let reports = sink.alertmanagers();
            all.active.extend(reports.active);
            all.dropped.extend(reports.dropped);
        }
        all
    }
}

// === impl RunningGroup ===

impl RunningGroup {
    /// Ends the task; an evaluation under way ends first, since it holds the state's lock.
    fn stop(self) -> (Arc<RuleGroup>, GroupState) {
        self.stop.cancel();
        self.task.abort();
        let state = self.state.lock().clone();
        (self.group, state)
    }
}

/// A group's evaluations over time.
struct Evaluation {
    shared: Arc<Shared>,
    group: Arc<RuleGroup>,
    state: Arc<Mutex<GroupState>>,
    options: EngineOptions,
    interval: Duration,
    cancel: Cancel,
}

// === impl Evaluation ===

impl Evaluation {
    async fn run(self, stop: CancellationToken, restores: bool) {
        let this = Arc::new(self);
        let mut round = 0_u64;
        let mut last: Option<i64> = None;
        loop {
            let now = this.shared.clock.now().as_millisecond();
            let next = next_time(
                &this.group,
                this.interval,
                last.map_or(now, |last| now.max(last + 1)),
            );
            let wait = Duration::from_millis(u64::try_from(next - now).unwrap_or(0));
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            // Tokio's time stops in suspend: what was slept over is looked at again.
            let at = next.max(self_time(&this, next));
            last = Some(at);
            round += 1;
            let evaluated = this.evaluate(at, restores && round == 2).await;
            let Some(outcome) = evaluated else {
                return;
            };
            for failure in &outcome.failures {
                tracing::warn!(
                    group = this.group.name,
                    file = this.group.file,
                    reason = failure,
                    "rule evaluation failed"
                );
            }
            if !outcome.notices.is_empty() {
                for sink in &this.shared.sinks {
                    sink.take(outcome.notices.clone());
                }
            }
        }
    }

    async fn evaluate(self: &Arc<Self>, at: i64, restores: bool) -> Option<Outcome> {
        let this = self.clone();
        let work = move || {
            let mut state = this.state.lock();
            let mut storage = TsdbStorage(&this.shared.storage);
            let outcome = evaluate_group(
                &this.group,
                this.interval,
                &mut state,
                &mut storage,
                at,
                &this.options.surroundings,
                &this.cancel,
            );
            if restores {
                let source = storage.source();
                let surroundings = &this.options.surroundings;
                let restored = restore_group(&this.group, &mut state, source, at, surroundings);
                if let Err(reason) = restored {
                    tracing::warn!(
                        group = this.group.name,
                        reason,
                        "alerts of before the restart could not be read"
                    );
                }
            }
            outcome
        };
        if self.options.on_threads {
            tokio::task::spawn_blocking(work).await.ok()
        } else {
            Some(work())
        }
    }
}

/// The evaluation time to use when it is `next` or, after a suspend, later: still one of the group's.
fn self_time(evaluation: &Evaluation, next: i64) -> i64 {
    let now = evaluation.shared.clock.now().as_millisecond();
    let interval = evaluation.interval.as_millis().max(1) as i64;
    if now <= next {
        return next;
    }
    next + (now - next) / interval * interval
}

/// The next of a group's times: multiples of its interval, moved by a part of it that its name decides, so that
/// groups do not all begin at once.
fn next_time(group: &RuleGroup, interval: Duration, after: i64) -> i64 {
    let interval = interval.as_millis().max(1) as i64;
    let hash = format!("{};{}", group.file, group.name)
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
    let offset = (hash % interval as u64) as i64;
    let moved = after - offset;
    moved.div_euclid(interval) * interval
        + offset
        + if moved.rem_euclid(interval) == 0 {
            0
        } else {
            interval
        }
}

/// Rules that read and write a database.
pub(super) struct TsdbStorage<'a>(pub(super) &'a Tsdb);

impl RuleStorage for TsdbStorage<'_> {
    fn source(&self) -> &dyn SeriesSource {
        self.0
    }

    fn store(&mut self, samples: &[RuleSample]) -> Vec<String> {
        let mut appender = self.0.appender();
        let mut refused = Vec::new();
        for sample in samples {
            let appended = appender.append(&sample.labels, None, sample.time, sample.value);
            if let Err(error) = appended {
                refused.push(error.to_string());
            }
        }
        if let Err(error) = appender.commit() {
            refused.push(error.to_string());
        }
        refused
    }
}
