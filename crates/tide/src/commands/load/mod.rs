//! `tide load`: load on a URL, or a k6 script.

mod script;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use springtide_load::watch::Watch;
use springtide_load::{
    Level, Options, Shape, Stage, TargetBuilder, Threshold, parse_duration, run, second_line,
    summary_text,
};
use tokio_util::sync::CancellationToken;

/// The exit status when a threshold was not met, as k6 has it.
const THRESHOLD_FAILED: u8 = 99;
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The most requests under way at once.
const MAX_IN_FLIGHT: usize = 10_000;

/// Put load on a URL, or run a k6 script.
///
/// With a URL: users (--vus) send one request after the other; a rate (--rate) starts so many requests a second
/// whatever the server does, and counts each request's time from when it was meant to start.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Where to send requests (http://… or https://…), or a k6 script (load-test.js)
    #[arg(value_name = "URL|SCRIPT")]
    target: String,
    /// Users that each send one request after the other [default: 10 without --rate and --stage]
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    vus: Option<f64>,
    /// Requests to start a second, whatever the server does
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// How long the load lasts, such as 30s or 5m [default: 30s without --stage]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "stage")]
    duration: Option<Duration>,
    /// Move in a straight line to this level within this time; can be repeated. The level is users,
    /// or requests a second with --rate, and starts at --vus or --rate (users: 0)
    #[arg(long, value_name = "DURATION:LEVEL")]
    stage: Vec<Stage>,
    /// Exit with 99 unless this holds, such as http_req_duration=p(95)<500 (milliseconds) or
    /// http_req_failed=rate<0.01; can be repeated
    #[arg(long, value_name = "METRIC=CONDITION")]
    threshold: Vec<Threshold>,
    /// Show autoscalers' replicas and utilisation beside the load, and keep their decisions for the report
    #[arg(long, value_name = "hpa/NAME", value_delimiter = ',')]
    watch: Vec<String>,
    /// The namespace of what --watch names [default: the kubeconfig's]
    #[arg(long, short = 'n', value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The HTTP method
    #[arg(long, short = 'X', value_name = "METHOD", default_value = "GET")]
    method: String,
    /// A header; can be repeated
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The body of every request
    #[arg(long, short = 'd', value_name = "TEXT", default_value = "")]
    body: String,
    /// How long a request may take before it counts as failed
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "60s")]
    timeout: Duration,
    /// The most requests under way at once with --rate; those above it are dropped and counted
    #[arg(long, value_name = "N", default_value_t = MAX_IN_FLIGHT)]
    max_in_flight: usize,
    /// Accept any certificate
    #[arg(long)]
    insecure_skip_tls_verify: bool,
    #[command(flatten)]
    script: script::ScriptFlags,
}

impl Load {
    /// Runs the load; the exit status is 99 when a threshold failed.
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        if !self.target.contains("://") {
            return self.execute_script();
        }
        if let Some(flag) = self.script.given() {
            anyhow::bail!("{flag} is for scripts, and {} is a URL", self.target);
        }
        let shape = self.shape()?;
        let target = TargetBuilder {
            url: self.target.clone(),
            method: self.method.clone(),
            headers: self.header.clone(),
            body: self.body.clone().into(),
            timeout: self.timeout,
            insecure: self.insecure_skip_tls_verify,
        }
        .build()?;
        let options = Options {
            max_in_flight: self.max_in_flight,
            ..Options::default()
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let stop = CancellationToken::new();
            let watched = self.start_watch().await?;
            stop_on_interrupt(stop.clone());
            let summary = run(shape, target, options, stop.clone(), |elapsed, second| {
                let line = watched
                    .as_ref()
                    .map(|watch| watch.line())
                    .unwrap_or_default();
                println!("{}", second_line(elapsed, second, &line));
            })
            .await;
            stop.cancel();
            let verdicts: Vec<_> = self
                .threshold
                .iter()
                .map(|threshold| threshold.judge(&summary))
                .collect();
            print!("\n{}", summary_text(&summary, &verdicts));
            let all_met = verdicts.iter().all(|verdict| verdict.met);
            Ok(if all_met {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(THRESHOLD_FAILED)
            })
        })
    }

    /// Begins to watch what --watch names.
    async fn start_watch(&self) -> anyhow::Result<Option<Arc<Watch>>> {
        if self.watch.is_empty() {
            return Ok(None);
        }
        let client = kube::Client::try_default()
            .await
            .context("--watch needs a cluster: set KUBECONFIG to what `tide up` printed")?;
        let namespace = self
            .namespace
            .clone()
            .unwrap_or_else(|| client.default_namespace().to_owned());
        let watch = Watch::start(&client, &namespace, &self.watch).await?;
        Ok(Some(Arc::new(watch)))
    }

    fn shape(&self) -> Result<Shape, springtide_load::Error> {
        let (level, start) = match (self.rate, self.vus) {
            (Some(rate), _) => (Level::ArrivalsPerSecond, rate),
            (None, Some(vus)) => (Level::Users, vus),
            (None, None) if self.stage.is_empty() => (Level::Users, 10.0),
            (None, None) => (Level::Users, 0.0),
        };
        if self.stage.is_empty() {
            Shape::constant(
                level,
                start,
                self.duration.unwrap_or(Duration::from_secs(30)),
            )
        } else {
            Shape::staged(level, start, self.stage.clone())
        }
    }
}

/// Ends the load early on Ctrl-C; what was measured until then is still summed up.
fn stop_on_interrupt(stop: CancellationToken) {
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.cancel();
        }
    });
}
