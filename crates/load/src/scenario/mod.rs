//! Which load a test's options ask for: scenarios, each with an executor and its numbers, checked.
//!
//! Rules, defaults and messages are those of k6's documentation: a test without scenarios gets one
//! called `default` from the shortcuts `vus`, `duration`, `iterations` and `stages`.

mod build;
mod describe;

use std::collections::BTreeMap;
use std::time::Duration;

pub use build::{ScenarioError, scenarios, scenarios_as_written};

use crate::schedule::{Rate, Schedule};

/// How long iterations that are under way may go on when their scenario ends, by default.
const GRACE: Duration = Duration::from_secs(30);

/// One scenario, ready to be run.
#[derive(Clone, Debug, PartialEq)]
pub struct ScenarioPlan {
    /// Its name.
    pub name: String,
    /// What makes its load.
    pub executor: Executor,
    /// When it starts, since the test's start.
    pub start_time: Duration,
    /// How long iterations under way may go on at its end.
    pub graceful_stop: Duration,
    /// The exported function that it runs; `default` by default.
    pub exec: String,
    /// What it adds to `__ENV`.
    pub env: BTreeMap<String, String>,
    /// What it adds to every sample's tags.
    pub tags: BTreeMap<String, String>,
}

/// A ramp: how long it takes, and the level at its end.
pub type Ramp<Level> = Vec<(Duration, Level)>;

/// What makes a scenario's load.
#[derive(Clone, Debug, PartialEq)]
pub enum Executor {
    /// Users take from one pile of iterations.
    SharedIterations {
        /// How many users.
        users: u64,
        /// The pile.
        iterations: u64,
        /// After this time no more is taken.
        max_duration: Duration,
    },
    /// Each user does so many iterations.
    PerVuIterations {
        /// How many users.
        users: u64,
        /// Iterations of each.
        iterations: u64,
        /// After this time none begins.
        max_duration: Duration,
    },
    /// So many users, all the time.
    ConstantVus {
        /// How many users.
        users: u64,
        /// How long.
        duration: Duration,
    },
    /// Users follow a ramp.
    RampingVus {
        /// Users at the start.
        start: u64,
        /// Users after each stage.
        stages: Ramp<u64>,
        /// How long a user that has to leave may go on with its iteration.
        graceful_ramp_down: Duration,
    },
    /// So many iterations in so much time, whatever they take.
    ConstantArrivalRate {
        /// How many.
        rate: Rate,
        /// How long.
        duration: Duration,
        /// Who does them.
        users: ArrivalUsers,
    },
    /// A rate that follows a ramp.
    RampingArrivalRate {
        /// The rate at the start.
        start: Rate,
        /// The rate after each stage, in iterations per `start.per`.
        stages: Ramp<f64>,
        /// Who does them.
        users: ArrivalUsers,
    },
    /// A rate that a formula or a recording gives; k6 has no such executor, so scripts have none.
    Scheduled {
        /// When iterations begin.
        schedule: Schedule,
        /// Who does them.
        users: ArrivalUsers,
    },
}

/// The users of an arrival rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrivalUsers {
    /// Made before the test begins.
    pub preallocated: u64,
    /// Made at most, when all are busy.
    pub max: u64,
}

// === impl ScenarioPlan ===

impl ScenarioPlan {
    /// When it ends at the latest, since the test's start, with the time for what is under way.
    #[must_use]
    pub fn end(&self) -> Duration {
        self.start_time + self.executor.duration() + self.graceful_stop
    }
}

// === impl Executor ===

impl Executor {
    /// k6's name of it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::SharedIterations { .. } => "shared-iterations",
            Self::PerVuIterations { .. } => "per-vu-iterations",
            Self::ConstantVus { .. } => "constant-vus",
            Self::RampingVus { .. } => "ramping-vus",
            Self::ConstantArrivalRate { .. } => "constant-arrival-rate",
            Self::RampingArrivalRate { .. } => "ramping-arrival-rate",
            Self::Scheduled { .. } => "scheduled-arrival-rate",
        }
    }

    /// How long iterations can begin.
    #[must_use]
    pub fn duration(&self) -> Duration {
        match self {
            Self::SharedIterations { max_duration, .. }
            | Self::PerVuIterations { max_duration, .. } => *max_duration,
            Self::ConstantVus { duration, .. } | Self::ConstantArrivalRate { duration, .. } => {
                *duration
            }
            Self::RampingVus { stages, .. } => stages.iter().map(|stage| stage.0).sum(),
            Self::RampingArrivalRate { stages, .. } => stages.iter().map(|stage| stage.0).sum(),
            Self::Scheduled { schedule, .. } => schedule.length(),
        }
    }

    /// Users that are made before the test begins.
    #[must_use]
    pub fn planned_users(&self) -> u64 {
        match self {
            Self::SharedIterations { users, .. }
            | Self::PerVuIterations { users, .. }
            | Self::ConstantVus { users, .. } => *users,
            Self::RampingVus { start, stages, .. } => {
                stages.iter().map(|stage| stage.1).fold(*start, u64::max)
            }
            Self::ConstantArrivalRate { users, .. }
            | Self::RampingArrivalRate { users, .. }
            | Self::Scheduled { users, .. } => users.preallocated,
        }
    }

    /// Users that there may be at most.
    #[must_use]
    pub fn max_users(&self) -> u64 {
        match self {
            Self::ConstantArrivalRate { users, .. }
            | Self::RampingArrivalRate { users, .. }
            | Self::Scheduled { users, .. } => users.max,
            other => other.planned_users(),
        }
    }
}

/// The most users that scenarios need at one moment, when each holds `users(scenario)` from its
/// start to its latest end.
#[must_use]
pub fn users_at_peak(plans: &[ScenarioPlan], users: impl Fn(&ScenarioPlan) -> u64) -> u64 {
    plans
        .iter()
        .map(|moment| {
            plans
                .iter()
                .filter(|plan| {
                    plan.start_time <= moment.start_time && moment.start_time < plan.end()
                })
                .map(&users)
                .sum()
        })
        .max()
        .unwrap_or(0)
}

/// When the last scenario ends at the latest.
#[must_use]
pub fn latest_end(plans: &[ScenarioPlan]) -> Duration {
    plans
        .iter()
        .map(ScenarioPlan::end)
        .max()
        .unwrap_or_default()
}
