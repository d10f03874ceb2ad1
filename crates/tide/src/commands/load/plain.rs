//! `tide load URL`: requests without a script.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use springtide_load::options::{OneOrMany, Options, Threshold};
use springtide_load::parse_duration;
use springtide_load::plain::{self, Requests, Target, second_line, summary_json, summary_text};
use springtide_load::replay::Recording;
use springtide_load::scenario::ScenarioPlan;
use springtide_load::schedule::{Schedule, Shape};
use springtide_load::script::Log;
use springtide_load::session::{Session, Settings};
use springtide_load::thresholds::Condition;
use springtide_load::user::RunState;

use super::{Load, pairs, print_line, stop_on_interrupt};
use crate::output::{complain, say};

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The most requests under way at once.
const MAX_IN_FLIGHT: u64 = 10_000;
/// How long load lasts where nothing says so.
const DURATION: Duration = Duration::from_secs(30);
/// Users where nothing says how much load there is.
const USERS: u64 = 10;
/// What the summary says of times.
const STATISTICS: [&str; 7] = ["avg", "min", "med", "p(90)", "p(95)", "p(99)", "max"];

/// Flags that only a URL has.
#[derive(Debug, Args)]
#[command(next_help_heading = "For URLs")]
pub(super) struct PlainFlags {
    /// Requests to start a second, whatever the server does
    #[arg(long, value_name = "PER_SECOND", conflicts_with_all = ["shape", "replay"])]
    rate: Option<f64>,
    /// Requests to start a second by a formula: sine(low=, high=, period=), step(from=, to=, at=),
    /// stairs(from=, by=, every=), spike(base=, peak=, at=, for=), a number, or a sum of them
    #[arg(
        long,
        value_name = "FORMULA",
        requires = "duration",
        conflicts_with = "replay"
    )]
    shape: Option<Shape>,
    /// Start requests as a recording has them: lines of time,count, or an access log, whose methods
    /// and paths are sent below the URL
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Play the recording so many times as fast
    #[arg(long, value_name = "N", default_value_t = 1.0, requires = "replay")]
    speed: f64,
    /// Exit with 99 unless this holds, such as http_req_duration=p(95)<500 (milliseconds) or
    /// http_req_failed=rate<0.01; can be repeated
    #[arg(long, value_name = "METRIC=CONDITION", value_parser = metric_and_condition)]
    threshold: Vec<(String, String)>,
    /// The HTTP method
    #[arg(long, short = 'X', value_name = "METHOD", default_value = "GET")]
    method: String,
    /// A header; can be repeated
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The body of every request; also -d
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(super) body: String,
    /// How long a request may take before it counts as failed
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "60s")]
    timeout: Duration,
    /// The most requests under way at once with a rate; those above it are dropped and counted
    #[arg(long, value_name = "N", default_value_t = MAX_IN_FLIGHT)]
    max_in_flight: u64,
    /// Print the result as JSON, and nothing else, on standard output
    #[arg(long)]
    json: bool,
}

impl PlainFlags {
    /// A flag that was given, if any was.
    pub(super) fn given(&self) -> Option<&'static str> {
        [
            ("--rate", self.rate.is_some()),
            ("--shape", self.shape.is_some()),
            ("--replay", self.replay.is_some()),
            ("--threshold", !self.threshold.is_empty()),
            ("--method", self.method != "GET"),
            ("--header", !self.header.is_empty()),
            ("--body", !self.body.is_empty()),
            ("--timeout", self.timeout != TIMEOUT),
            ("--max-in-flight", self.max_in_flight != MAX_IN_FLIGHT),
            ("--json", self.json),
        ]
        .into_iter()
        .find_map(|(flag, given)| given.then_some(flag))
    }

    /// Conditions by metric, as a script's options have them.
    fn thresholds(&self) -> Option<BTreeMap<String, OneOrMany<Threshold>>> {
        let mut thresholds: BTreeMap<String, OneOrMany<Threshold>> = BTreeMap::new();
        for (metric, condition) in &self.threshold {
            thresholds
                .entry(metric.clone())
                .or_insert_with(|| OneOrMany(Vec::new()))
                .0
                .push(Threshold::Plain(condition.clone()));
        }
        (!thresholds.is_empty()).then_some(thresholds)
    }
}

/// Parts a threshold; its metric may be one with tags: `http_req_duration{status:200}=p(95)<500`.
fn metric_and_condition(text: &str) -> Result<(String, String), String> {
    let (metric, condition) = text.split_once('=').ok_or(
        "write it like http_req_duration=p(95)<500 or http_req_failed=rate<0.01".to_owned(),
    )?;
    let (metric, condition) = (metric.trim(), condition.trim());
    condition
        .parse::<Condition>()
        .map_err(|error| error.to_string())?;
    Ok((metric.to_owned(), condition.to_owned()))
}

impl Load {
    pub(super) fn execute_plain(self) -> anyhow::Result<ExitCode> {
        if let Some(flag) = self.script.given() {
            bail!("{flag} is for scripts, and {} is a URL", self.target);
        }
        self.refuse_thresholds_of_nothing()?;
        let (requests, plan) = self.requests_and_plan()?;
        let settings = self.plain_settings()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        runtime.block_on(self.run_plain(requests, plan, settings))
    }

    /// A threshold on what is not measured would pass whatever happens.
    fn refuse_thresholds_of_nothing(&self) -> anyhow::Result<()> {
        let plain = &self.plain;
        let has_schedule = plain.rate.is_some() || plain.shape.is_some() || plain.replay.is_some();
        let of_schedule = |metric: &str| metric.split('{').next() == Some("http_req_response_time");
        if !has_schedule
            && let Some((metric, _)) = plain
                .threshold
                .iter()
                .find(|(metric, _)| of_schedule(metric))
        {
            bail!(
                "--threshold {metric}: it is measured from a schedule, with --rate, --shape or --replay; without one write http_req_duration"
            );
        }
        Ok(())
    }

    async fn run_plain(
        self,
        requests: Requests,
        plan: ScenarioPlan,
        settings: Settings,
    ) -> anyhow::Result<ExitCode> {
        let watched = self.start_watch().await?;
        let log: Log = Arc::new(print_line);
        let state = Arc::new(RunState::default());
        stop_on_interrupt(Arc::clone(&state))?;
        let mut session = Session::of_requests(requests, plan, settings, log, state)?;
        if let Some(watched) = &watched {
            session = session.watching(Arc::clone(watched));
        }
        let metrics = session.metrics();
        let shows_seconds = !self.output.quiet && !self.plain.json;
        let finished = session
            .run(|moment| {
                if shows_seconds && (!moment.last || !moment.interval.measured.is_empty()) {
                    let watched = watched.as_ref().map(|watch| watch.line());
                    say!(
                        "{}",
                        second_line(moment, &metrics, &watched.unwrap_or_default())
                    );
                }
            })
            .await?;
        if self.plain.json {
            say!("{:#}", summary_json(&finished));
        } else if !self.output.no_summary {
            say!("\n{}", summary_text(&finished, &metrics).trim_end());
        }
        Ok(ExitCode::from(finished.status))
    }

    fn requests_and_plan(&self) -> anyhow::Result<(Requests, ScenarioPlan)> {
        let flags = &self.plain;
        let mut headers: Vec<String> = self
            .output
            .user_agent
            .iter()
            .map(|agent| format!("User-Agent: {agent}"))
            .collect();
        headers.extend(flags.header.iter().cloned());
        let target = Target {
            url: self.target.clone(),
            method: flags.method.clone(),
            headers,
            body: flags.body.clone().into(),
            timeout: flags.timeout,
            insecure: self.insecure_skip_tls_verify,
            no_connection_reuse: self.output.no_connection_reuse,
        };
        let Some(path) = &flags.replay else {
            return Ok((target.requests()?, self.load()?.plan()?));
        };
        let recording = Arc::new(Recording::open(path)?);
        let playback = recording.play(flags.speed, self.duration)?;
        complain!(
            "replay: {} requests, played in {:?}",
            recording.requests(),
            playback.length()
        );
        let load = plain::Load::Arrivals {
            schedule: Schedule::Playback(playback),
            max_in_flight: flags.max_in_flight,
        };
        let requests = if recording.distinct_requests().is_empty() {
            target.requests()?
        } else {
            if flags.method != "GET" {
                bail!(
                    "--method is not for an access log: {} says the methods",
                    path.display()
                );
            }
            tell_what_a_log_lacks(&recording, &flags.body);
            target.logged_requests(&recording)?
        };
        Ok((requests, load.plan()?))
    }

    fn load(&self) -> anyhow::Result<plain::Load> {
        let flags = &self.plain;
        let duration = self.duration.unwrap_or(DURATION);
        if let Some(shape) = &flags.shape {
            let line = shape
                .line(duration)
                .map_err(|reason| anyhow::anyhow!("--shape: {reason}"))?;
            return Ok(plain::Load::Arrivals {
                schedule: Schedule::Line(line),
                max_in_flight: flags.max_in_flight,
            });
        }
        if let Some(rate) = flags.rate {
            return Ok(plain::Load::at_rate(
                rate,
                &self.stage,
                duration,
                flags.max_in_flight,
            ));
        }
        if let Some(iterations) = self.iterations {
            if !self.stage.is_empty() {
                bail!("--iterations and --stage exclude each other");
            }
            return Ok(plain::Load::Iterations {
                users: self.vus.unwrap_or(USERS),
                iterations,
                // As long as it takes, unless it is said.
                max_duration: self.duration.unwrap_or(Duration::from_secs(24 * 3600)),
            });
        }
        let users = if self.stage.is_empty() { USERS } else { 0 };
        Ok(plain::Load::Users {
            start: self.vus.unwrap_or(users),
            stages: self.stage.clone(),
            duration,
        })
    }

    fn plain_settings(&self) -> anyhow::Result<Settings> {
        let output = &self.output;
        let statistics = if output.summary_trend_stats.is_empty() {
            STATISTICS.map(str::to_owned).to_vec()
        } else {
            output.summary_trend_stats.clone()
        };
        Ok(Settings {
            flags: Options {
                thresholds: self.plain.thresholds(),
                tags: Some(pairs("--tag", &output.tag)?),
                summary_trend_stats: Some(statistics),
                ..Options::default()
            },
            ..output.settings()
        })
    }
}

/// Says what cannot be sent again as it was.
fn tell_what_a_log_lacks(recording: &Recording, body: &str) {
    for (beginning, count) in recording.left_out() {
        complain!(
            "warning: {count} logged lines name no path of a server and are left out: {beginning}"
        );
    }
    let body = if body.is_empty() {
        "none".to_owned()
    } else {
        format!("{body:?}")
    };
    for (method, count) in recording.methods() {
        if matches!(method, "POST" | "PUT" | "PATCH") {
            complain!(
                "warning: a log holds no bodies: the body of {count} {method} requests is {body}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        load: Load,
    }

    /// What these flags come to: the executor's name and how long it lasts, or what is wrong.
    fn plan(flags: &[&str]) -> Result<(&'static str, Duration), String> {
        let line = ["load", "http://localhost:5000/api"].iter().chain(flags);
        let command = Command::try_parse_from(line).map_err(|error| error.to_string())?;
        let (_, plan) = command
            .load
            .requests_and_plan()
            .map_err(|error| format!("{error:#}"))?;
        Ok((plan.executor.name(), plan.executor.duration()))
    }

    #[test]
    fn flags_say_how_much_load_there_is() {
        for (flags, executor, seconds) in [
            (&[][..], "constant-vus", 30),
            (&["--vus", "3", "--duration", "1m"], "constant-vus", 60),
            (&["--stage", "5s:10", "--stage", "5s:0"], "ramping-vus", 10),
            (
                &["--rate", "50", "--duration", "2s"],
                "constant-arrival-rate",
                2,
            ),
            (
                &["--rate", "5", "--stage", "3s:50"],
                "scheduled-arrival-rate",
                3,
            ),
            (&["-i", "100", "--duration", "9s"], "shared-iterations", 9),
            (
                &[
                    "--shape",
                    "sine(low=1, high=9, period=10s) + 2",
                    "--duration",
                    "20s",
                ],
                "scheduled-arrival-rate",
                20,
            ),
        ] {
            let expected = Ok((executor, Duration::from_secs(seconds)));
            assert_eq!(plan(flags), expected, "{flags:?}");
        }
    }

    #[test]
    fn flags_that_do_not_fit_are_refused_with_what_to_write() {
        for (flags, reason) in [
            (&["--rate", "5", "--vus", "3"][..], "cannot be used with"),
            (&["--shape", "25"], "--duration"),
            (
                &["--shape", "sine(low=1)", "--duration", "9s"],
                "lacks high=",
            ),
            (
                &[
                    "--shape",
                    "1 + step(from=0, to=-5, at=1s)",
                    "--duration",
                    "9s",
                ],
                "--shape: its rate falls below zero",
            ),
            (&["--speed", "5"], "--replay"),
            (
                &["--replay", "/no/such/file"],
                "/no/such/file: No such file",
            ),
            (&["-i", "5", "--stage", "5s:10"], "exclude each other"),
            (&["--vus", "2.5"], "invalid digit"),
        ] {
            let error = plan(flags).unwrap_err();
            assert!(error.contains(reason), "{flags:?}: {error}");
        }
    }

    #[test]
    fn a_recording_is_played_at_a_speed_and_what_is_wrong_with_it_has_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let counts = file("counts.csv", "period,count\n0,120\n60,60\n");
        let log = file(
            "access.log",
            "a - - [22/Nov/2026:03:00:00 +0000] \"GET /a HTTP/1.1\" 200 5\n",
        );
        let broken = file("broken.csv", "period,count\n0,120\nsixty,60\n");
        let playback = ("scheduled-arrival-rate", Duration::from_secs(12));
        assert_eq!(plan(&["--replay", &counts, "--speed", "10"]), Ok(playback));
        let cut = ("scheduled-arrival-rate", Duration::from_secs(5));
        let flags = ["--replay", &counts, "--speed", "10", "--duration", "5s"];
        assert_eq!(plan(&flags), Ok(cut));
        let second = ("scheduled-arrival-rate", Duration::from_secs(1));
        assert_eq!(plan(&["--replay", &log]), Ok(second));
        for (flags, reason) in [
            (&["--replay", &broken][..], "broken.csv, line 3: \"sixty\""),
            (&["--replay", &counts, "--speed", "0"], "--speed 0"),
            (&["--replay", &log, "-X", "POST"], "says the methods"),
        ] {
            let error = plan(flags).unwrap_err();
            assert!(error.contains(reason), "{flags:?}: {error}");
        }
    }
}
