//! `tide load SCRIPT.js`: a k6 script, with k6's flags, summary and exit statuses.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use futures::FutureExt as _;
use springtide_load::options::{Dns, Options, Span, Stage};
use springtide_load::plain;
use springtide_load::progress::progress_lines;
use springtide_load::script::{Log, LogLine};
use springtide_load::session::{Finished, Session, Settings};
use springtide_load::summary::{Detail, text};
use springtide_load::user::{RunState, StopReason};
use springtide_load::watch::Watch;

use super::{Load, pairs, print_line, stop_on_interrupt};
use crate::output::{complain, print, say, try_print};

/// Flags that scripts have, under k6's names.
#[derive(Debug, Args)]
#[command(next_help_heading = "For scripts")]
pub(super) struct ScriptFlags {
    /// An entry of __ENV; can be repeated
    #[arg(long, short, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The unit of times in the summary: s, ms or us
    #[arg(long, value_name = "UNIT", value_parser = ["s", "ms", "us"])]
    summary_time_unit: Option<String>,
    /// How much the summary says: compact, full (also of each scenario and group), or legacy (as before k6 1.0)
    #[arg(long, value_name = "MODE")]
    summary_mode: Option<Detail>,
    /// Skip setup()
    #[arg(long)]
    no_setup: bool,
    /// Skip teardown()
    #[arg(long)]
    no_teardown: bool,
    /// How long setup() may take
    #[arg(long, value_name = "DURATION")]
    setup_timeout: Option<Span>,
    /// How long teardown() may take
    #[arg(long, value_name = "DURATION")]
    teardown_timeout: Option<Span>,
    /// The least time of an iteration
    #[arg(long, value_name = "DURATION")]
    min_iteration_duration: Option<Span>,
    /// The most requests a second, over all users
    #[arg(long, value_name = "N")]
    rps: Option<u64>,
    /// The most requests of a batch at once
    #[arg(long, value_name = "N")]
    batch: Option<u64>,
    /// The most requests of a batch to one host at once
    #[arg(long, value_name = "N")]
    batch_per_host: Option<u64>,
    /// The most redirects that are followed
    #[arg(long, value_name = "N")]
    max_redirects: Option<u64>,
    /// A request that fails throws
    #[arg(long, short = 'w')]
    throw: bool,
    /// Read answers' bodies and throw them away
    #[arg(long)]
    discard_response_bodies: bool,
    /// Every iteration begins without connections
    #[arg(long)]
    no_vu_connection_reuse: bool,
    /// Networks (CIDR) that must not be called; can be repeated
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    blacklist_ip: Vec<String>,
    /// Host names, with * at the beginning, that must not be called
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    block_hostnames: Vec<String>,
    /// How names are resolved: ttl=5m,select=random,policy=preferIPv4
    #[arg(long, value_name = "RULES")]
    dns: Option<Dns>,
    /// Only these of the system's tags
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    system_tags: Vec<String>,
    /// Log requests and answers: =headers or =full
    #[arg(long, value_name = "KIND", value_parser = ["headers", "full"], num_args = 0..=1, require_equals = true, default_missing_value = "headers")]
    http_debug: Option<String>,
    /// Show what the script says by console.debug, too
    #[arg(long, short)]
    verbose: bool,
}

impl ScriptFlags {
    /// A flag that was given, if any was.
    pub(super) fn given(&self) -> Option<&'static str> {
        [
            ("--env", !self.env.is_empty()),
            ("--summary-time-unit", self.summary_time_unit.is_some()),
            ("--summary-mode", self.summary_mode.is_some()),
            ("--no-setup", self.no_setup),
            ("--no-teardown", self.no_teardown),
            ("--setup-timeout", self.setup_timeout.is_some()),
            ("--teardown-timeout", self.teardown_timeout.is_some()),
            (
                "--min-iteration-duration",
                self.min_iteration_duration.is_some(),
            ),
            ("--rps", self.rps.is_some()),
            ("--batch", self.batch.is_some()),
            ("--batch-per-host", self.batch_per_host.is_some()),
            ("--max-redirects", self.max_redirects.is_some()),
            ("--throw", self.throw),
            ("--discard-response-bodies", self.discard_response_bodies),
            ("--no-vu-connection-reuse", self.no_vu_connection_reuse),
            ("--blacklist-ip", !self.blacklist_ip.is_empty()),
            ("--block-hostnames", !self.block_hostnames.is_empty()),
            ("--dns", self.dns.is_some()),
            ("--system-tags", !self.system_tags.is_empty()),
            ("--http-debug", self.http_debug.is_some()),
            ("--verbose", self.verbose),
        ]
        .into_iter()
        .find_map(|(flag, given)| given.then_some(flag))
    }
}

impl Load {
    pub(super) fn execute_script(self) -> anyhow::Result<ExitCode> {
        if let Some(flag) = self.plain.given() {
            anyhow::bail!(
                "{flag} is for a URL, and {} is a script: set it in its options",
                self.target
            );
        }
        let settings = self.settings()?;
        let voice = Voice {
            quiet: self.output.quiet,
            verbose: self.script.verbose,
        };
        let shows_summary = !self.output.no_summary;
        let path = PathBuf::from(&self.target);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let execution = async {
            let watched = self.start_watch().await?;
            run(&path, settings, voice, watched).await
        };
        // Boxed, or the program would contain all of it three times: once for each way `block_on` may run it.
        let outcome = runtime.block_on(execution.boxed_local())?;
        report(&outcome, shows_summary)?;
        Ok(ExitCode::from(outcome.status))
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let (flags, output) = (&self.script, &self.output);
        let switch = |on: bool| on.then_some(true);
        let list = |given: &[String]| (!given.is_empty()).then(|| given.to_vec());
        let stages = self.stage.iter().map(whole_stage);
        let stages = stages.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Settings {
            env: pairs("--env", &flags.env)?,
            flags: Options {
                vus: self.vus,
                duration: self.duration.map(Span),
                iterations: self.iterations,
                stages: (!stages.is_empty()).then_some(stages),
                no_setup: switch(flags.no_setup),
                no_teardown: switch(flags.no_teardown),
                setup_timeout: flags.setup_timeout,
                teardown_timeout: flags.teardown_timeout,
                rps: flags.rps,
                max_redirects: flags.max_redirects,
                user_agent: output.user_agent.clone(),
                batch: flags.batch,
                batch_per_host: flags.batch_per_host,
                insecure_skip_tls_verify: switch(self.insecure_skip_tls_verify),
                throw: switch(flags.throw),
                no_connection_reuse: switch(output.no_connection_reuse),
                no_vu_connection_reuse: switch(flags.no_vu_connection_reuse),
                min_iteration_duration: flags.min_iteration_duration,
                summary_trend_stats: list(&output.summary_trend_stats),
                summary_time_unit: flags.summary_time_unit.clone(),
                tags: (!output.tag.is_empty())
                    .then(|| pairs("--tag", &output.tag))
                    .transpose()?,
                discard_response_bodies: switch(flags.discard_response_bodies),
                blacklist_ips: list(&flags.blacklist_ip),
                block_hostnames: list(&flags.block_hostnames),
                dns: flags.dns.clone(),
                system_tags: list(&flags.system_tags),
                http_debug: flags.http_debug.clone(),
                ..Options::default()
            },
            summary_detail: flags.summary_mode,
            terminal: std::io::stdout().is_terminal(),
            ..output.settings()
        })
    }
}

/// A stage of a script, whose users are whole.
fn whole_stage(stage: &plain::Stage) -> anyhow::Result<Stage> {
    let target = stage.target;
    anyhow::ensure!(
        target.fract() == 0.0 && (0.0..1e9).contains(&target),
        "--stage: the level {target} is not a whole number of users"
    );
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it was found to fit"
    )]
    let target = target as u64;
    Ok(Stage {
        duration: Some(Span(stage.duration)),
        target: Some(target),
    })
}

/// How much is said while the test runs.
#[derive(Clone, Copy, Debug)]
struct Voice {
    /// No progress.
    quiet: bool,
    /// Also what the script says for its author alone.
    verbose: bool,
}

async fn run(
    path: &Path,
    settings: Settings,
    voice: Voice,
    watched: Option<Arc<Watch>>,
) -> anyhow::Result<Finished> {
    let Voice { quiet, verbose } = voice;
    let log: Log = Arc::new(move |line: LogLine<'_>| {
        if verbose || line.level != "debug" {
            print_line(line);
        }
    });
    let state = Arc::new(RunState::default());
    stop_on_interrupt(Arc::clone(&state))?;
    let mut session = Session::load(path, settings, log, state).await?;
    if let Some(watched) = &watched {
        session = session.watching(Arc::clone(watched));
    }
    let plans = session.scenarios().to_vec();
    if !quiet {
        say!("script: {}", path.display());
        for plan in &plans {
            say!("  * {}: {}", plan.name, plan.describe());
        }
        say!();
    }
    let on_terminal = std::io::stdout().is_terminal();
    let mut drawn = 0;
    let finished = session
        .run(|moment| {
            if quiet {
                return;
            }
            let mut lines = progress_lines(moment, &plans);
            lines.extend(watched.as_ref().map(|watched| watched.line()));
            if on_terminal && drawn > 0 {
                // Draws over the lines of the second before.
                print(&format!("\x1b[{drawn}A\x1b[J"));
            }
            drawn = lines.len();
            say!(
                "{}{}",
                lines.join("\n"),
                if on_terminal { "" } else { "\n" }
            );
        })
        .await?;
    Ok(finished)
}

/// Prints the summary, and what else is to be known of the run.
fn report(finished: &Finished, shows_summary: bool) -> anyhow::Result<()> {
    match &finished.handled {
        Some(files) => {
            for (name, content) in files {
                match name.as_str() {
                    "stdout" => try_print(content)?,
                    "stderr" => std::io::stderr().write_all(content)?,
                    // As in k6, what cannot be saved does not change what the test came to.
                    file => {
                        if let Err(error) = std::fs::write(file, content) {
                            complain!("error: handleSummary: {file} cannot be written: {error}");
                        }
                    }
                }
            }
        }
        None if shows_summary => say!("{}", text(&finished.summary)),
        None => {}
    }
    for doubt in finished.end.doubts() {
        complain!("warning: {doubt}");
    }
    match &finished.end.stopped {
        Some(StopReason::Aborted(message) | StopReason::Script(message)) => {
            complain!("error: {message}");
        }
        Some(StopReason::Threshold(_) | StopReason::Interrupted) | None => {}
    }
    let crossed = finished.summary.crossed();
    if !crossed.is_empty() {
        let early = match &finished.end.stopped {
            Some(StopReason::Threshold(_)) => {
                "; at least one has abortOnFail, which ended the test early"
            }
            _ => "",
        };
        complain!(
            "error: thresholds on metrics '{}' have been crossed{early}",
            crossed.join(", ")
        );
    }
    Ok(())
}
