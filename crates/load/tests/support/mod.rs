//! A server to send requests to, and a way to run scripts against it.
#![allow(dead_code, reason = "not every test file uses all of it")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use springtide_load::metric::{Collector, Measured, MetricRegistry, Tags};
use springtide_load::script::{Log, LogLine, Script, ScriptSettings};
use springtide_load::user::{
    Iteration, Outcome, RunState, ScenarioState, UserFactory, VirtualUser,
};
use springtide_machinery::clock::Clock;

pub(crate) mod programs;
pub(crate) mod serve;

/// What a script did.
pub(crate) struct Ran {
    /// What it wrote to the console, and what was said of it: `level source message`.
    pub lines: Vec<String>,
    pub outcomes: Vec<Outcome>,
    pub collector: Collector,
    pub run: Arc<RunState>,
    pub files: Option<BTreeMap<String, Vec<u8>>>,
}

impl Ran {
    /// Lines of the console alone, without their level.
    pub(crate) fn console(&self) -> Vec<&str> {
        self.lines
            .iter()
            .filter_map(|line| line.split_once(" console ").map(|(_, message)| message))
            .collect()
    }

    pub(crate) fn measured(&self, metric: &str) -> Option<Measured> {
        let id = self.collector.registry().get(metric)?.id;
        self.collector.totals().get(&id).cloned()
    }

    pub(crate) fn count(&self, metric: &str) -> u64 {
        match self.measured(metric) {
            None => 0,
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Some(Measured::Counter { sum }) => sum as u64,
            Some(Measured::Rate { total, .. }) => total,
            Some(Measured::Trend(trend)) => trend.count(),
            Some(Measured::Gauge { .. }) => 1,
        }
    }
}

pub(crate) fn scenario(exec: &str) -> Arc<ScenarioState> {
    let started = OnceLock::new();
    started
        .set((tokio::time::Instant::now(), Clock::system().now()))
        .unwrap();
    Arc::new(ScenarioState {
        name: "default".into(),
        executor: "shared-iterations",
        exec: exec.to_owned(),
        env: BTreeMap::new(),
        tags: Tags::default(),
        started,
        lacks_users: std::sync::atomic::AtomicBool::new(false),
        progress: Box::new(|| 0.5),
    })
}

pub(crate) fn settings(
    lines: &Arc<Mutex<Vec<String>>>,
    url: &str,
) -> (ScriptSettings, Arc<RunState>) {
    let told = Arc::clone(lines);
    let log: Log = Arc::new(move |line: LogLine<'_>| {
        told.lock()
            .push(format!("{} {} {}", line.level, line.source, line.message));
    });
    let run = Arc::new(RunState::default());
    let settings = ScriptSettings {
        env: BTreeMap::from([("URL".to_owned(), url.to_owned())]),
        log,
        registry: Arc::new(MetricRegistry::default()),
        clock: Clock::system(),
        run: Arc::clone(&run),
    };
    (settings, run)
}

/// Loads a script, runs its stages and so many iterations by one user.
pub(crate) async fn run(path: &Path, url: &str, iterations: u64) -> Result<Ran, String> {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let (settings, run) = settings(&lines, url);
    let collector = Collector::new(Arc::clone(&settings.registry), true);
    let script = Script::load(path, settings)
        .await
        .map_err(|error| error.to_string())?;
    script
        .setup(collector.sink())
        .await
        .map_err(|error| error.to_string())?;
    let mut outcomes = Vec::new();
    if script.exports("default") {
        let mut user = script
            .create(1, collector.sink())
            .await
            .map_err(|error| error.to_string())?;
        let scenario = scenario("default");
        for number in 0..iterations {
            let iteration = Iteration {
                scenario: Arc::clone(&scenario),
                number,
                intended_start: None,
            };
            outcomes.push(user.iterate(&iteration).await);
        }
    }
    script
        .teardown(collector.sink())
        .await
        .map_err(|error| error.to_string())?;
    let files = script
        .handle_summary(&serde_json::json!({"metrics": {}, "state": {"testRunDurationMs": 5}}))
        .await
        .map_err(|error| error.to_string())?;
    collector.collect();
    let lines = lines.lock().clone();
    Ok(Ran {
        lines,
        outcomes,
        collector,
        run,
        files,
    })
}

/// Writes a script to a temporary folder and runs it.
pub(crate) async fn run_text(source: &str, url: &str, iterations: u64) -> Result<Ran, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script.js");
    std::fs::write(&path, source).unwrap();
    run(&path, url, iterations).await
}

/// The real k6, if the environment names it.
pub(crate) fn k6() -> Option<PathBuf> {
    let path = std::env::var_os("SPRINGTIDE_K6").map(PathBuf::from);
    if path.is_none() {
        // Directly, so that it shows under the harness's capture.
        let _ = std::io::stderr()
            .write_all(b"skipped: comparison with k6: SPRINGTIDE_K6 does not name its program\n");
    }
    path
}
