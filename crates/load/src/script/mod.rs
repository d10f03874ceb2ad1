//! k6 scripts.
//!
//! A [`Script`] is loaded once: its init code runs, its options and exported functions become
//! known, and its modules are compiled. Then every virtual user gets a JavaScript context of its
//! own in its thread's engine (`isolate`), on a stack of its own (`fiber`), and runs the init code
//! again, as k6 does it. What scripts can call is in `host/`, and the modules they import are in `modules/`: thin JavaScript
//! over the host.
//!
//! ```text
//! Script::load ─► options, exports ─► configure ─► setup ─► create (a user) ─► iterate … ─► teardown ─► handle_summary
//! ```

mod common_js;
mod fiber;
mod host;
mod intrinsics;
mod isolate;
mod loader;
mod pruning;
mod sharing;
mod source;
mod sys;
mod user;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use springtide_machinery::clock::Clock;

use self::host::{Effective, Phase};
use self::loader::Modules;
pub use self::user::ScriptUser;
use crate::metric::{Collector, MetricRegistry, SampleSink};
use crate::options::Options;
use crate::user::{RunState, UserError, UserFactory};

/// How long `setup` and `teardown` may take where the options do not say.
const DEFAULT_STAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Where lines for people go: what the script writes to the console, exceptions, warnings.
pub type Log = Arc<dyn Fn(LogLine<'_>) + Send + Sync>;

/// One line for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine<'text> {
    /// `debug`, `info`, `warning` or `error`.
    pub level: &'static str,
    /// `console` for the script's own lines, `stacktrace` for exceptions, else empty.
    pub source: &'static str,
    /// The line; it may have line breaks.
    pub message: &'text str,
}

impl<'text> LogLine<'text> {
    /// The test's own warning.
    pub(crate) fn warning(message: &'text str) -> Self {
        Self {
            level: "warning",
            source: "",
            message,
        }
    }

    /// An error that the test itself tells.
    pub(crate) fn error(message: &'text str) -> Self {
        Self {
            level: "error",
            ..Self::warning(message)
        }
    }
}

/// What a script is loaded with.
#[derive(Clone)]
pub struct ScriptSettings {
    /// `__ENV`.
    pub env: BTreeMap<String, String>,
    /// Where lines for people go.
    pub log: Log,
    /// The metrics of the run.
    pub registry: Arc<MetricRegistry>,
    /// The wall clock.
    pub clock: Clock,
    /// What the run's parts tell each other.
    pub run: Arc<RunState>,
}

/// A script that was loaded. Cloning shares it.
#[derive(Clone)]
pub struct Script {
    shared: Arc<Shared>,
}

/// Why a script cannot be loaded or one of its stages failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// The file cannot be read.
    #[error("{0}")]
    File(String),
    /// Its code threw an exception.
    #[error("{0}")]
    Exception(String),
    /// Its options cannot be used.
    #[error("options of the script: {0}")]
    Options(String),
    /// `setup` or `teardown` took too long.
    #[error("{stage}() execution timed out after {} seconds", limit.as_secs_f64())]
    Timeout {
        /// `setup` or `teardown`.
        stage: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// The run was stopped meanwhile; [`RunState::stop_reason`] says why.
    #[error("stopped")]
    Stopped,
}

/// What all users of a script share.
struct Shared {
    /// The script's file, as `file://` URL.
    entry: String,
    modules: Arc<Modules>,
    settings: ScriptSettings,
    /// What the script exports, after it was loaded.
    exports: Mutex<Vec<String>>,
    options: Mutex<Options>,
    effective: RwLock<Arc<Effective>>,
    /// What `setup` returned, as JSON.
    setup_data: Mutex<Option<Arc<str>>>,
    /// Elements of `SharedArray`s by name, as JSON.
    arrays: Mutex<HashMap<String, Arc<[String]>>>,
    /// Contents of files that were opened in the init code.
    files: Mutex<HashMap<String, Arc<[u8]>>>,
    /// Names of request params that have no effect, of which the log was told.
    unknown_params: Mutex<BTreeSet<String>>,
}

// === impl Script ===

impl fmt::Debug for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Script")
            .field("entry", &self.shared.entry)
            .finish_non_exhaustive()
    }
}

impl Script {
    /// Loads a script and runs its init code once. The path `-` is standard input, as if it were a file in the
    /// current folder.
    ///
    /// # Errors
    ///
    /// The file or what it imports cannot be read or compiled, its init code threw, or its options
    /// cannot be read.
    pub async fn load(path: &Path, settings: ScriptSettings) -> Result<Self, ScriptError> {
        let shown = path.display();
        let cannot_be_read = |error: std::io::Error| {
            ScriptError::File(match error.kind() {
                std::io::ErrorKind::NotFound => format!(
                    "there is no file {shown}: name a script, `-` for standard input, or a URL that begins with http:// or https://"
                ),
                _ => format!("{shown}: {error}"),
            })
        };
        let given = (path == Path::new("-"))
            .then(|| std::io::read_to_string(std::io::stdin()))
            .transpose()
            .map_err(cannot_be_read)?;
        let path = match given {
            Some(_) => std::path::absolute(path),
            None => path.canonicalize(),
        };
        let path = path.map_err(cannot_be_read)?;
        if path.extension().is_some_and(|extension| extension == "ts") {
            return Err(ScriptError::File(format!(
                "{}: TypeScript is not supported; compile it to JavaScript first",
                path.display()
            )));
        }
        let effective = Effective::new(Options::default()).map_err(ScriptError::Options)?;
        let entry = format!("file://{}", path.display());
        let modules = match given {
            Some(source) => Modules::with(entry.clone(), source),
            None => Modules::default(),
        };
        let script = Self {
            shared: Arc::new(Shared {
                entry,
                modules: Arc::new(modules),
                settings,
                exports: Mutex::default(),
                options: Mutex::default(),
                effective: RwLock::new(Arc::new(effective)),
                setup_data: Mutex::default(),
                arrays: Mutex::default(),
                files: Mutex::default(),
                unknown_params: Mutex::default(),
            }),
        };
        let unused = Collector::new(Arc::clone(&script.shared.settings.registry), false);
        let mut user = ScriptUser::new(Arc::clone(&script.shared), 0, unused.sink()).await?;
        let (exports, options) = user.inspect().await?;
        script.shared.modules.complete();
        let options: Options = match options {
            None => Options::default(),
            Some(json) => Options::of_json(&json).map_err(ScriptError::Options)?,
        };
        for name in options.unknown.keys() {
            (script.shared.settings.log)(LogLine::warning(&format!(
                "the script's option {name:?} is unknown and has no effect"
            )));
        }
        *script.shared.exports.lock() = exports;
        *script.shared.options.lock() = options.clone();
        script.configure(options)?;
        Ok(script)
    }

    /// The options that the script exports.
    #[must_use]
    pub fn options(&self) -> Options {
        self.shared.options.lock().clone()
    }

    /// True if the script exports a function of this name.
    #[must_use]
    pub fn exports(&self, function: &str) -> bool {
        self.shared
            .exports
            .lock()
            .iter()
            .any(|name| name == function)
    }

    /// Sets the options that hold after flags and environment were laid over the script's. To be
    /// called before `setup` and before users are made.
    ///
    /// # Errors
    ///
    /// An option that cannot be used, by name.
    pub fn configure(&self, options: Options) -> Result<(), ScriptError> {
        let effective = Effective::new(options).map_err(ScriptError::Options)?;
        *self.shared.effective.write() = Arc::new(effective);
        Ok(())
    }

    /// Runs `setup`, if the script has it, and keeps what it returned for all users.
    ///
    /// # Errors
    ///
    /// It threw, took too long, or stopped the run.
    pub async fn setup(&self, sink: SampleSink) -> Result<(), ScriptError> {
        if !self.exports("setup") {
            return Ok(());
        }
        let limit = self.shared.effective.read().options.setup_timeout;
        let json = self
            .stage("setup", Phase::Setup, limit.map(|span| span.0), sink)
            .await?;
        *self.shared.setup_data.lock() = json.map(Arc::from);
        Ok(())
    }

    /// What `setup` returned.
    #[must_use]
    pub fn setup_data(&self) -> Option<serde_json::Value> {
        let data = self.shared.setup_data.lock();
        data.as_deref()
            .and_then(|json| serde_json::from_str(json).ok())
    }

    /// Runs `teardown`, if the script has it.
    ///
    /// # Errors
    ///
    /// It threw, took too long, or stopped the run.
    pub async fn teardown(&self, sink: SampleSink) -> Result<(), ScriptError> {
        if !self.exports("teardown") {
            return Ok(());
        }
        let limit = self.shared.effective.read().options.teardown_timeout;
        self.stage("teardown", Phase::Teardown, limit.map(|span| span.0), sink)
            .await?;
        Ok(())
    }

    async fn stage(
        &self,
        name: &'static str,
        phase: Phase,
        limit: Option<Duration>,
        sink: SampleSink,
    ) -> Result<Option<String>, ScriptError> {
        let limit = limit.unwrap_or(DEFAULT_STAGE_TIMEOUT);
        let mut user = ScriptUser::new(Arc::clone(&self.shared), 0, sink).await?;
        tokio::time::timeout(limit, user.stage(name, phase))
            .await
            .unwrap_or(Err(ScriptError::Timeout { stage: name, limit }))
    }

    /// Gives the summary's data to `handleSummary`, if the script has it: contents by file name,
    /// where `stdout` and `stderr` are those streams.
    ///
    /// # Errors
    ///
    /// It threw, or returned something else than texts and bytes by name.
    pub async fn handle_summary(
        &self,
        data: &serde_json::Value,
    ) -> Result<Option<BTreeMap<String, Vec<u8>>>, ScriptError> {
        if !self.exports("handleSummary") {
            return Ok(None);
        }
        let unused = Collector::new(Arc::clone(&self.shared.settings.registry), false);
        let mut user = ScriptUser::new(Arc::clone(&self.shared), 0, unused.sink()).await?;
        user.handle_summary(data.to_string()).await.map(Some)
    }
}

impl UserFactory for Script {
    type User = ScriptUser;

    async fn create(&self, number: u64, sink: SampleSink) -> Result<ScriptUser, UserError> {
        ScriptUser::new(Arc::clone(&self.shared), number, sink)
            .await
            .map_err(|error| UserError {
                number,
                reason: error.to_string(),
            })
    }
}
