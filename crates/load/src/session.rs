//! A test from its first line to its exit status: a script's, or one of requests without a script.
//!
//! ```text
//! script ─► options (script < K6_* < flags) ─► scenarios, thresholds ─► users ─► setup ─► scenarios ─► teardown ─► summary
//! requests, plan ──────────────────────────────────────┘
//! ```

mod destinations;
mod error;
mod verdict;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderName;
use springtide_machinery::clock::Clock;
use tokio::time::Instant;

use self::destinations::Destinations;
pub use self::error::{SessionError, exit};
use self::verdict::LackOfUsers;
use crate::html_report::Report;
use crate::metric::{BuiltinMetrics, Collector, MetricRegistry, SampleSink, Tags};
use crate::options::{Options, summary_detail, variables_without_effect};
use crate::output;
use crate::plain::{PlainUsers, Requests};
use crate::result_file::ResultFile;
use crate::run::{Moment, Run, RunEnd, RunPlan};
use crate::scenario::{ScenarioPlan, scenarios};
use crate::script::{Log, LogLine, Script, ScriptError, ScriptSettings};
use crate::summary::{Detail, Summary, TREND_STATISTICS, export, junit, summary_data};
use crate::thresholds::{Aggregation, Threshold, ThresholdError};
use crate::timeline::Timeline;
use crate::user::{RunState, UserError};
use crate::watch::{Watch, WatchTimeline};

/// The header in which answers name the replica that gave them, where nothing else is said.
const REPLICA_HEADER: HeaderName = HeaderName::from_static("x-served-by");

/// What a test is told besides its script.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The system's environment: `K6_*` are options, and all of it is in `__ENV`.
    pub environment: BTreeMap<String, String>,
    /// `__ENV` entries from flags.
    pub env: BTreeMap<String, String>,
    /// Options from flags, which win.
    pub flags: Options,
    /// `json=FILE`, `csv=FILE`.
    pub outputs: Vec<String>,
    /// Where k6's JSON summary is written.
    pub summary_export: Option<PathBuf>,
    /// Where JUnit's XML is written.
    pub junit: Option<PathBuf>,
    /// Where the report is written.
    pub report: Option<PathBuf>,
    /// The header in which answers name the replica that gave them, for the report.
    pub replica_header: Option<HeaderName>,
    /// How much the summary says; what `K6_SUMMARY_MODE` says where it is not given.
    pub summary_detail: Option<Detail>,
    /// Thresholds are not looked at.
    pub no_thresholds: bool,
    /// Worker threads; as many as processors where it is not given.
    pub threads: Option<usize>,
    /// The summary is shown on a terminal.
    pub terminal: bool,
    /// What `handleSummary` returns is to have no colours.
    pub no_color: bool,
}

/// Who does what is to be done.
enum Subject {
    Script(Arc<Script>),
    Requests(Arc<PlainUsers>),
}

/// A test that is ready to run.
pub struct Session {
    subject: Subject,
    settings: Settings,
    options: Options,
    plans: Vec<ScenarioPlan>,
    thresholds: Vec<Threshold>,
    destinations: Destinations,
    /// How much the summary says.
    detail: Detail,
    /// Where k6's JSON summary is written.
    summary_export: Option<ResultFile>,
    /// Where JUnit's XML is written.
    junit: Option<ResultFile>,
    /// Where the report is written.
    report: Option<ResultFile>,
    /// What the report is of.
    target: String,
    registry: Arc<MetricRegistry>,
    state: Arc<RunState>,
    clock: Clock,
    log: Log,
    watched: Option<Arc<Watch>>,
}

/// What a test came to.
#[derive(Debug)]
pub struct Finished {
    /// For the summary.
    pub summary: Summary,
    /// How the scenarios ended.
    pub end: RunEnd,
    /// What the autoscalers did that were watched.
    pub watched: Option<WatchTimeline>,
    /// What `handleSummary` returned: contents by file name.
    pub handled: Option<BTreeMap<String, Vec<u8>>>,
    /// The exit status.
    pub status: u8,
}

// === impl Session ===

impl Session {
    /// Loads a script and finds out all that can be wrong before anything is sent.
    ///
    /// # Errors
    /// What is wrong with the script, the options, or the outputs.
    pub async fn load(
        path: &Path,
        settings: Settings,
        log: Log,
        state: Arc<RunState>,
    ) -> Result<Self, SessionError> {
        let registry = Arc::new(MetricRegistry::default());
        let clock = steady_clock();
        let mut env = settings.environment.clone();
        env.extend(settings.env.clone());
        let script = Script::load(
            path,
            ScriptSettings {
                env,
                log: Arc::clone(&log),
                registry: Arc::clone(&registry),
                clock: clock.clone(),
                run: Arc::clone(&state),
            },
        )
        .await?;
        let options = script
            .options()
            .overlaid(Options::of_environment(&settings.environment)?)
            .overlaid(settings.flags.clone());
        script.configure(options.clone())?;
        let (plans, mut warnings) = scenarios(&options)?;
        warnings.extend(without_effect(&options));
        let unread = variables_without_effect(&settings.environment);
        warnings.extend(
            unread.into_iter().map(|name| {
                format!("the variable {name} has no effect: no option is read from it")
            }),
        );
        for warning in &warnings {
            log(LogLine::warning(warning));
        }
        for plan in &plans {
            if !script.exports(&plan.exec) {
                return Err(SessionError::Function {
                    scenario: plan.name.clone(),
                    function: plan.exec.clone(),
                });
            }
        }
        // As k6 does it: the times of expected answers are shown apart, where answers are marked so.
        if options.wanted_system_tags().contains("expected_response") {
            registry
                .metric_or_part("http_req_duration{expected_response:true}")
                .map_err(|reason| ThresholdError::Metric {
                    name: "http_req_duration".to_owned(),
                    reason,
                })?;
        }
        let subject = Subject::Script(Arc::new(script));
        let target = path.display().to_string();
        Self::ready(
            subject, target, options, plans, settings, registry, clock, log, state,
        )
    }

    /// A test of requests without a script: an iteration sends one.
    ///
    /// # Errors
    /// What is wrong with the thresholds or the outputs.
    pub fn of_requests(
        requests: Requests,
        plan: ScenarioPlan,
        settings: Settings,
        log: Log,
        state: Arc<RunState>,
    ) -> Result<Self, SessionError> {
        let registry = Arc::new(MetricRegistry::default());
        let clock = steady_clock();
        let target = requests.target();
        let users = PlainUsers::new(Arc::new(requests), clock.clone());
        let options = settings.flags.clone();
        Self::ready(
            Subject::Requests(Arc::new(users)),
            target,
            options,
            vec![plan],
            settings,
            registry,
            clock,
            log,
            state,
        )
    }

    #[expect(clippy::too_many_arguments, reason = "all that a session is made of")]
    fn ready(
        subject: Subject,
        target: String,
        options: Options,
        plans: Vec<ScenarioPlan>,
        settings: Settings,
        registry: Arc<MetricRegistry>,
        clock: Clock,
        log: Log,
        state: Arc<RunState>,
    ) -> Result<Self, SessionError> {
        let thresholds = match &options.thresholds {
            Some(thresholds) if !settings.no_thresholds => {
                Threshold::of_options(thresholds, &registry)?
            }
            _ => Vec::new(),
        };
        for warning in thresholds.iter().flat_map(of_metadata) {
            log(LogLine::warning(&warning));
        }
        for statistic in options.summary_trend_stats.iter().flatten() {
            if Aggregation::parse(statistic).is_none() {
                return Err(SessionError::Statistic(statistic.clone()));
            }
        }
        let outputs = settings
            .outputs
            .iter()
            .map(|text| {
                output::open(
                    text,
                    &settings.environment,
                    &options,
                    &thresholds,
                    &registry,
                )
            })
            .collect::<Result<_, _>>()?;
        let detail = match settings.summary_detail {
            Some(detail) => detail,
            None => summary_detail(&settings.environment)?.unwrap_or_default(),
        };
        let open = |flag, path: &Option<PathBuf>| -> Result<Option<ResultFile>, SessionError> {
            path.as_deref()
                .map(|path| open_results(flag, path))
                .transpose()
        };
        let summary_export = open("--summary-export", &settings.summary_export)?;
        let junit = open("--junit", &settings.junit)?;
        let report = open("--report", &settings.report)?;
        Ok(Self {
            subject,
            settings,
            options,
            plans,
            thresholds,
            destinations: Destinations::new(outputs, detail, Arc::clone(&log)),
            detail,
            summary_export,
            junit,
            report,
            target,
            registry,
            state,
            clock,
            log,
            watched: None,
        })
    }

    /// Keeps what these autoscalers do while the test runs.
    #[must_use]
    pub fn watching(mut self, watched: Arc<Watch>) -> Self {
        self.watched = Some(watched);
        self
    }

    /// The scenarios, sorted by name.
    #[must_use]
    pub fn scenarios(&self) -> &[ScenarioPlan] {
        &self.plans
    }

    /// The metrics that every test has.
    #[must_use]
    pub fn metrics(&self) -> BuiltinMetrics {
        self.registry.builtin().clone()
    }

    /// Runs the test. `watch` hears of every second.
    ///
    /// # Errors
    /// When users cannot be made. Where `setup` or `teardown` fails, what was measured is told all the
    /// same, and [`Finished::status`] says it.
    pub async fn run(
        mut self,
        mut watch: impl FnMut(&Moment<'_>),
    ) -> Result<Finished, SessionError> {
        let registry = Arc::clone(&self.registry);
        let mut collector = Collector::new(registry, self.destinations.want_samples());
        if self.report.is_some() {
            collector = collector.counting_replicas(
                self.settings
                    .replica_header
                    .clone()
                    .unwrap_or(REPLICA_HEADER),
            );
        }
        let collector = Arc::new(collector);
        let tags: Tags = self
            .options
            .tags
            .iter()
            .flatten()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let plan = RunPlan {
            scenarios: self.plans.clone(),
            thresholds: self.thresholds.clone(),
            tags,
            threads: self.settings.threads.unwrap_or_else(|| {
                std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
            }),
        };
        let run = self
            .subject
            .prepare(plan, &self.state, &collector, &self.clock)
            .await?;
        let mut failure = None;
        if self.options.no_setup != Some(true)
            && let Err(error) = self.subject.setup(collector.sink()).await
        {
            failure = Some(error);
        }
        let mut timeline = Timeline::default();
        // What setup measured is no part of the load's first second.
        let before = collector.collect();
        timeline.record_beside(&before, self.registry.builtin());
        self.destinations.write(&before.samples);
        let mut end = if failure.is_none() {
            let mut lacking = LackOfUsers::default();
            run.execute(|moment| {
                self.destinations.write(&moment.interval.samples);
                if matches!(self.subject, Subject::Script(_)) {
                    lacking.tell(moment, &self.plans, &self.log);
                }
                if self.report.is_some() {
                    timeline.record(moment, self.registry.builtin(), self.clock.now());
                }
                watch(moment);
            })
            .await
        } else {
            run.give_up()
        };
        let before_teardown = Instant::now();
        if failure.is_none()
            && self.options.no_teardown != Some(true)
            && let Err(error) = self.subject.teardown(collector.sink()).await
        {
            failure = Some(error);
        }
        let rest = collector.collect();
        timeline.record_beside(&rest, self.registry.builtin());
        self.destinations.write(&rest.samples);
        end.stopped = self.state.stop_reason().cloned();
        end.include_teardown(
            &self.thresholds,
            collector.totals(),
            before_teardown.elapsed(),
        );
        Ok(self.finish(&collector, end, failure, &timeline).await)
    }

    async fn finish(
        mut self,
        collector: &Collector,
        end: RunEnd,
        failure: Option<ScriptError>,
        timeline: &Timeline,
    ) -> Finished {
        let mut summary = Summary::new(
            &self.registry,
            &end.totals,
            collector.checks(),
            end.verdicts.clone(),
            end.elapsed,
        );
        summary.trend_statistics = self
            .options
            .summary_trend_stats
            .clone()
            .unwrap_or_else(|| TREND_STATISTICS.map(str::to_owned).to_vec());
        summary
            .time_unit
            .clone_from(&self.options.summary_time_unit);
        summary.detail = self.detail;
        summary.breakdown = self.destinations.finish();
        let status = self.status(&end, &summary, failure.as_ref());
        self.tell_end(&end, status, failure.as_ref());
        let handled = match &self.subject {
            Subject::Script(script) => {
                summary.setup_data = script.setup_data();
                self.handle_summary(script, &summary).await
            }
            Subject::Requests(_) => None,
        };
        if let Some(file) = self.summary_export.take() {
            let text = format!("{:#}\n", export(&summary));
            write_results("--summary-export", file, &text, &self.log);
        }
        if let Some(file) = self.junit.take() {
            write_results("--junit", file, &junit(&summary, "tide load"), &self.log);
        }
        let watched = self
            .watched
            .as_ref()
            .map(|watched| watched.timeline(end.started));
        if let Some(file) = self.report.take() {
            let page = Report {
                target: &self.target,
                plans: &self.plans,
                timeline,
                watched: watched.as_ref(),
                summary: &summary,
                end: &end,
                failure: self.failure(failure.as_ref()).as_deref(),
            }
            .page();
            write_results("--report", file, &page, &self.log);
        }
        Finished {
            summary,
            watched,
            end,
            handled,
            status,
        }
    }
}

impl Session {
    /// What the script's `handleSummary` makes of the summary.
    async fn handle_summary(
        &self,
        script: &Script,
        summary: &Summary,
    ) -> Option<BTreeMap<String, Vec<u8>>> {
        let data = summary_data(
            summary,
            self.settings.no_color || self.settings.environment.contains_key("NO_COLOR"),
            self.settings.terminal,
        );
        match script.handle_summary(&data).await {
            Ok(handled) => handled,
            Err(error) => {
                // The results are worth more than the way in which they were to be shown.
                (self.log)(LogLine::error(&format!(
                    "handleSummary failed, the usual summary follows: {error}"
                )));
                None
            }
        }
    }
}

// === impl Subject ===

impl Subject {
    async fn prepare(
        &self,
        plan: RunPlan,
        state: &Arc<RunState>,
        collector: &Arc<Collector>,
        clock: &Clock,
    ) -> Result<Run, UserError> {
        match self {
            Self::Script(script) => Run::prepare(plan, script, state, collector, clock).await,
            Self::Requests(users) => Run::prepare(plan, users, state, collector, clock).await,
        }
    }

    async fn setup(&self, sink: SampleSink) -> Result<(), ScriptError> {
        match self {
            Self::Script(script) => script.setup(sink).await,
            Self::Requests(_) => Ok(()),
        }
    }

    async fn teardown(&self, sink: SampleSink) -> Result<(), ScriptError> {
        match self {
            Self::Script(script) => script.teardown(sink).await,
            Self::Requests(_) => Ok(()),
        }
    }
}

/// A clock whose times follow the monotonic clock, so that a step of the wall clock does no harm.
fn steady_clock() -> Clock {
    Clock::simulated(Clock::system().now())
}

/// Warnings for options of k6 that do nothing here.
fn without_effect(options: &Options) -> Vec<String> {
    [
        ("executionSegment", options.execution_segment.is_some()),
        (
            "executionSegmentSequence",
            options.execution_segment_sequence.is_some(),
        ),
        ("paused", options.paused == Some(true)),
        ("ext", options.ext.is_some()),
        ("cloud", options.cloud.is_some()),
    ]
    .into_iter()
    .filter(|(_, given)| *given)
    .map(|(name, _)| format!("the option `{name}` has no effect: this program does not support it"))
    .collect()
}

/// Warnings that a threshold is on what is no tag, in k6's words.
fn of_metadata(threshold: &Threshold) -> Vec<String> {
    let name = &threshold.metric.name;
    let wanted = name.split_once('{').map_or("", |(_, wanted)| wanted);
    let is_wanted = |tag: &str| {
        let tags = wanted.split(',').filter_map(|pair| pair.split_once(':'));
        tags.map(|(tag, _)| tag.trim()).any(|wanted| wanted == tag)
    };
    ["iter", "vu"]
        .into_iter()
        .filter(|tag| is_wanted(tag))
        .map(|tag| format!("The high-cardinality '{tag}' metric tag was made non-indexable in k6 v0.41.0, so thresholds like '{name}' that are based on it won't work correctly."))
        .collect()
}

fn open_results(flag: &'static str, path: &Path) -> Result<ResultFile, SessionError> {
    ResultFile::open(path).map_err(|reason| SessionError::Results {
        flag,
        path: path.display().to_string(),
        reason,
    })
}

/// Writes a file of results. Where that fails it is told: the summary and the verdict are still to come.
fn write_results(flag: &'static str, file: ResultFile, content: &str, log: &Log) {
    let path = file.path().display().to_string();
    if let Err(reason) = file.write(content.as_bytes()) {
        let error = SessionError::Results { flag, path, reason };
        log(LogLine::error(&error.to_string()));
    }
}
