//! `tide load`: load on a URL, or a k6 script.

mod plain;
mod script;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use http::HeaderName;
use springtide_load::parse_duration;
use springtide_load::plain::Stage;
use springtide_load::script::LogLine;
use springtide_load::session::{SessionError, Settings, exit};
use springtide_load::user::{RunState, StopReason};
use springtide_load::watch::Watch;

use super::interrupts::Interrupts;
use crate::output::complain;

/// Put load on a URL, or run a k6 script.
///
/// With a URL: users (--vus) send one request after the other; a rate (--rate, --shape, --replay) starts requests
/// whatever the server does, and counts each request's time also from when it was meant to start.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Where to send requests (http://… or https://…), or a k6 script (load-test.js, or - for standard input)
    #[arg(value_name = "URL|SCRIPT")]
    target: String,
    /// Users that each send one request after the other [default: 10 without --rate, --stage, --shape and --replay]
    #[arg(long, short = 'u', value_name = "N", conflicts_with_all = ["rate", "shape", "replay"])]
    vus: Option<u64>,
    /// How long the load lasts, such as 30s or 5m [default: 30s without --stage and --replay]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "stage")]
    duration: Option<Duration>,
    /// With a script --duration, as in k6; with a URL --body
    #[arg(short = 'd', value_name = "DURATION|BODY")]
    duration_or_body: Option<String>,
    /// Move in a straight line to this level within this time; can be repeated, or a list with commas.
    /// The level is users, or requests a second with --rate, and starts at --vus or --rate (users: 0)
    #[arg(long, short = 's', value_name = "DURATION:LEVEL", value_delimiter = ',', conflicts_with_all = ["shape", "replay"])]
    stage: Vec<Stage>,
    /// Iterations that all users do together; with a URL: requests
    #[arg(long, short, value_name = "N", conflicts_with_all = ["rate", "shape", "replay"])]
    iterations: Option<u64>,
    /// Show autoscalers' replicas and utilisation beside the load, and keep their decisions for the report
    #[arg(long, value_name = "hpa/NAME", value_delimiter = ',')]
    watch: Vec<String>,
    /// The namespace of what --watch names [default: the kubeconfig's]
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Accept any certificate
    #[arg(long)]
    insecure_skip_tls_verify: bool,
    #[command(flatten)]
    plain: plain::PlainFlags,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    script: script::ScriptFlags,
}

/// Flags that say what becomes of the results; for URLs and scripts alike, under k6's names.
#[derive(Debug, Args)]
#[command(next_help_heading = "Results")]
struct OutputFlags {
    /// A tag of every sample; can be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    tag: Vec<String>,
    /// Write every sample: json=FILE, csv=FILE, or prometheus=URL for remote write; can be repeated
    #[arg(long, short, value_name = "KIND=PLACE")]
    out: Vec<String>,
    /// Draw the run as one page of HTML
    #[arg(long, value_name = "FILE.html")]
    report: Option<std::path::PathBuf>,
    /// The header in which answers name the replica that gave them, for --report [default: x-served-by]
    #[arg(long, value_name = "NAME", requires = "report")]
    replica_header: Option<HeaderName>,
    /// Write the summary as k6's JSON
    #[arg(long, value_name = "FILE")]
    summary_export: Option<std::path::PathBuf>,
    /// Write thresholds and checks as JUnit's XML
    #[arg(long, value_name = "FILE")]
    junit: Option<std::path::PathBuf>,
    /// What the summary says of times: avg, min, med, max, count, p(N)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    summary_trend_stats: Vec<String>,
    /// Print no summary
    #[arg(long)]
    no_summary: bool,
    /// Look at no thresholds
    #[arg(long)]
    no_thresholds: bool,
    /// The User-Agent header
    #[arg(long, value_name = "TEXT")]
    user_agent: Option<String>,
    /// Every request takes a connection of its own
    #[arg(long)]
    no_connection_reuse: bool,
    /// Worker threads [default: one a processor]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Print no progress
    #[arg(long, short)]
    quiet: bool,
    /// Nothing is printed in colours; handleSummary is told so
    #[arg(long)]
    no_color: bool,
    /// Taken as k6 takes it: there is no usage report
    #[arg(long, hide = true)]
    no_usage_report: bool,
    #[arg(long, hide = true, value_name = "PLACE")]
    log_output: Option<String>,
    #[arg(long, hide = true, value_name = "FILE")]
    console_output: Option<String>,
}

/// The exit status of flags and options that are wrong, as k6 has it.
pub(crate) const WRONG_FLAGS: u8 = exit::CONFIGURATION;

impl Load {
    /// Runs the load; the exit status is 99 when a threshold failed.
    pub(crate) fn execute(self) -> ExitCode {
        self.run().unwrap_or_else(|error| {
            complain!("tide: {error:#}");
            let status = error
                .downcast_ref()
                .map_or(WRONG_FLAGS, SessionError::status);
            ExitCode::from(status)
        })
    }

    fn run(mut self) -> anyhow::Result<ExitCode> {
        self.output.refuse_unsupported()?;
        self.read_short_d()?;
        if self.is_of_url() {
            self.execute_plain()
        } else {
            self.execute_script()
        }
    }

    fn is_of_url(&self) -> bool {
        self.target.contains("://")
    }

    /// `-d` is a duration to k6's users, and a body to those of curl and hey.
    fn read_short_d(&mut self) -> anyhow::Result<()> {
        let Some(text) = self.duration_or_body.take() else {
            return Ok(());
        };
        let as_duration = parse_duration(&text);
        if self.is_of_url() {
            if as_duration.is_ok() {
                bail!(
                    "-d {text}: with a URL -d is the body: write --duration {text}, or --body {text} to send that text"
                );
            }
            if !self.plain.body.is_empty() {
                bail!("-d and --body are the same with a URL: give one of them");
            }
            self.plain.body = text;
        } else {
            let duration = as_duration.with_context(|| format!("-d {text}"))?;
            if self.duration.replace(duration).is_some() {
                bail!("-d and --duration are the same with a script: give one of them");
            }
        }
        Ok(())
    }

    /// Begins to watch what --watch names.
    async fn start_watch(&self) -> anyhow::Result<Option<Arc<Watch>>> {
        if self.watch.is_empty() {
            return Ok(None);
        }
        let client = kube::Client::try_default().await.map_err(|error| {
            anyhow::anyhow!(
                "--watch needs a cluster: set KUBECONFIG to what `tide up` printed ({})",
                error.to_string().lines().next().unwrap_or_default()
            )
        })?;
        let namespace = self
            .namespace
            .clone()
            .unwrap_or_else(|| client.default_namespace().to_owned());
        let watch = Watch::start(&client, &namespace, &self.watch).await?;
        Ok(Some(Arc::new(watch)))
    }
}

impl OutputFlags {
    /// Flags of k6 that would be missed in silence.
    fn refuse_unsupported(&self) -> anyhow::Result<()> {
        for (flag, given) in [
            ("--log-output", self.log_output.is_some()),
            ("--console-output", self.console_output.is_some()),
        ] {
            if given {
                bail!(
                    "{flag} is not supported: what the script and the test say goes to standard error; redirect that"
                );
            }
        }
        Ok(())
    }

    /// What they come to, without any option of the load.
    fn settings(&self) -> Settings {
        Settings {
            environment: environment(),
            outputs: self.out.clone(),
            summary_export: self.summary_export.clone(),
            junit: self.junit.clone(),
            report: self.report.clone(),
            replica_header: self.replica_header.clone(),
            no_thresholds: self.no_thresholds,
            threads: self.threads,
            no_color: self.no_color,
            ..Settings::default()
        }
    }
}

/// A line of the script or of the test, on standard error.
fn print_line(line: LogLine<'_>) {
    let source = match line.source {
        "" => String::new(),
        source => format!(" ({source})"),
    };
    complain!("{}{source}: {}", line.level, line.message);
}

/// The first Ctrl-C or SIGTERM ends the test with its summary, the second one at once.
fn stop_on_interrupt(state: Arc<RunState>) -> std::io::Result<()> {
    let mut interrupts = Interrupts::new()?;
    tokio::spawn(async move {
        interrupts.next().await;
        complain!("stopping; press Ctrl-C again to stop at once");
        state.stop_because(StopReason::Interrupted);
        interrupts.next().await;
        std::process::exit(i32::from(exit::INTERRUPTED));
    });
    Ok(())
}

/// The system's environment, where it is text.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// `NAME=VALUE` pairs of a flag.
fn pairs(flag: &str, given: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    given
        .iter()
        .map(|text| {
            text.split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .with_context(|| format!("{flag} {text:?}: write it like NAME=VALUE"))
        })
        .collect()
}
