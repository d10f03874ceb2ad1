//! Virtual users: what executors drive.
//!
//! An executor decides when an iteration starts; a [`VirtualUser`] is what then does something.
//! Users live on the thread that made them: each worker thread has a runtime of its own, and
//! nothing of a user is shared with another thread but what [`RunState`] and the metrics hold.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metric::{SampleSink, Tags, Trend};

/// Makes users for every worker thread.
pub trait UserFactory: Send + Sync + 'static {
    /// The users it makes.
    type User: VirtualUser;

    /// True where users cost next to nothing. One is made at once, so an arrival that finds none free
    /// gets a new one, if there may be more, instead of being dropped while one is made; and their
    /// iterations compute so little that a thread need not turn to the others after each.
    const LIGHT: bool = false;

    /// Makes the user of this number, counted from 1, on the thread that will run it. Its samples
    /// go to `sink`.
    ///
    /// # Errors
    ///
    /// Why there can be no such user: for a script, what its init code threw.
    fn create(
        &self,
        number: u64,
        sink: SampleSink,
    ) -> impl Future<Output = Result<Self::User, UserError>>;
}

/// Someone who does the same thing again and again.
pub trait VirtualUser: 'static {
    /// Does it once, and counts `iterations` and `iteration_duration` when it came to its end. A future that is dropped before it is done interrupts the iteration; the
    /// user can then be used again.
    fn iterate(&mut self, iteration: &Iteration) -> impl Future<Output = Outcome>;
}

/// Why a user cannot be made.
#[derive(Clone, Debug, thiserror::Error)]
#[error("virtual user {number}: {reason}")]
pub struct UserError {
    /// The user's number.
    pub number: u64,
    /// What its init code threw.
    pub reason: String,
}

/// How an iteration ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// To its end.
    Completed,
    /// By an exception, which the user has already written to the log.
    Failed,
    /// Because the whole run is to end: `exec.test.abort()` or a fault that makes all others useless.
    /// The reason stands in [`RunState::stop`].
    Stopped,
}

/// One iteration.
#[derive(Clone, Debug)]
pub struct Iteration {
    /// The scenario it belongs to.
    pub scenario: Arc<ScenarioState>,
    /// Its number within the scenario over all users, counted from 0, of those that began. Under a
    /// schedule that is not k6's: the place of its arrival in the schedule.
    pub number: u64,
    /// When the schedule meant it to start, for arrival rates.
    pub intended_start: Option<Instant>,
}

/// What iterations of one scenario share.
pub struct ScenarioState {
    /// Its name in the options.
    pub name: Arc<str>,
    /// Its executor's name, such as `ramping-vus`.
    pub executor: &'static str,
    /// The exported function it runs.
    pub exec: String,
    /// What it adds to `__ENV`.
    pub env: BTreeMap<String, String>,
    /// What it adds to every sample's tags; `scenario` is added already.
    pub tags: Tags,
    /// When it started; not set until then.
    pub started: OnceLock<(Instant, Timestamp)>,
    /// True once an iteration found no user free when no more of them may be made.
    pub lacks_users: AtomicBool,
    /// How much of it is done, from 0 to 1.
    pub progress: Box<dyn Fn() -> f64 + Send + Sync>,
}

/// What a run's parts tell each other.
#[derive(Debug)]
pub struct RunState {
    /// When the run began.
    pub started: Instant,
    /// Users that are running iterations now.
    pub vus_active: AtomicU64,
    /// Users that exist.
    pub vus_initialized: AtomicU64,
    /// Iterations that came to their end, well or by an exception.
    pub iterations_completed: AtomicU64,
    /// Iterations that were interrupted.
    pub iterations_interrupted: AtomicU64,
    /// How late worker threads woke while scenarios ran, milliseconds: the generator's own lag.
    pub lag: Mutex<Trend>,
    /// Cancelled when the run is to end early; the reason is in `stop_reason`.
    pub stop: CancellationToken,
    stop_reason: OnceLock<StopReason>,
    failure: OnceLock<String>,
}

/// Why a run ends early. The first reason stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The script called `exec.test.abort()`, with this message.
    Aborted(String),
    /// A threshold with `abortOnFail` was crossed.
    Threshold(String),
    /// The user pressed Ctrl-C or asked for an end.
    Interrupted,
    /// The script failed in a way that makes the run useless.
    Script(String),
}

// === impl ScenarioState ===

impl fmt::Debug for ScenarioState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ScenarioState")
            .field("name", &self.name)
            .field("executor", &self.executor)
            .field("exec", &self.exec)
            .finish_non_exhaustive()
    }
}

// === impl RunState ===

impl Default for RunState {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            vus_active: AtomicU64::new(0),
            vus_initialized: AtomicU64::new(0),
            iterations_completed: AtomicU64::new(0),
            iterations_interrupted: AtomicU64::new(0),
            lag: Mutex::default(),
            stop: CancellationToken::new(),
            stop_reason: OnceLock::new(),
            failure: OnceLock::new(),
        }
    }
}

impl RunState {
    /// Ends the run early.
    pub fn stop_because(&self, reason: StopReason) {
        // The first reason stands.
        let _ = self.stop_reason.set(reason);
        self.stop.cancel();
    }

    /// Why the run ends early, if it does.
    #[must_use]
    pub fn stop_reason(&self) -> Option<&StopReason> {
        self.stop_reason.get()
    }

    /// Marks the run as failed without ending it, as `exec.test.fail()` does. The first reason stands.
    pub fn mark_failed(&self, reason: String) {
        // The first reason stands.
        let _ = self.failure.set(reason);
    }

    /// Why the script marked the run as failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Counts an iteration that was interrupted.
    pub fn count_interrupted(&self) {
        self.iterations_interrupted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an iteration that came to its end.
    pub fn count_completed(&self) {
        self.iterations_completed.fetch_add(1, Ordering::Relaxed);
    }
}
