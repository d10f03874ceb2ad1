//! `tide demo`: FeastFlow on a platform of its own, under a load that rises and falls.

mod platform;
mod story;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use springtide_load::plain::{Load, RequestFigures, Target};
use springtide_load::session::{Session, Settings};
use springtide_load::user::{RunState, StopReason};
use tokio_util::sync::CancellationToken;

use super::interrupts::Interrupts;
use crate::output::{complain, say};
use platform::{Autoscaling, Platform};
use story::{Measured, Outcome, Story};

/// The most requests under way at once: more than the application could ever answer.
const MAX_IN_FLIGHT: u64 = 10_000;

/// The application that is shown.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Application {
    /// Food ordering in three tiers.
    Feastflow,
}

/// Show an application grow and shrink with its load: about two minutes, nothing is left behind.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// The application
    #[arg(value_enum, default_value_t = Application::Feastflow)]
    application: Application,
}

impl Demo {
    /// Runs it; the exit status is 0 only if the application really grew and shrank without a
    /// failed request.
    pub(crate) fn execute(self) -> anyhow::Result<ExitCode> {
        let Application::Feastflow = self.application;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let outcome = runtime.block_on(async {
            introduce();
            let mut interrupts = Interrupts::new()?;
            let platform = unless_interrupted(&mut interrupts, Platform::start()).await?;
            let outcome = Box::pin(unless_interrupted(&mut interrupts, show(&platform))).await;
            platform.stop().await?;
            outcome
        })?;
        let complaints = outcome.complaints();
        for complaint in &complaints {
            say!("  NOT AS IT SHOULD BE: {complaint}");
        }
        Ok(if complaints.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// What `work` came to, unless Ctrl-C or SIGTERM comes first.
async fn unless_interrupted<T>(
    interrupts: &mut Interrupts,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        biased;
        done = work => done,
        () = interrupts.next() => bail!("interrupted"),
    }
}

fn introduce() {
    say!("FeastFlow: a web page, an ordering API and a database, in 5 pods on this machine.");
    say!(
        "The HorizontalPodAutoscaler keeps the API at 2 to 10 replicas, at 70 % of 0.2 cores each. For this\n\
         demonstration it looks every {} s instead of 15, waits {} s instead of 300 before it removes replicas,\n\
         and its policies count over {} s instead of 30 and 60.\n",
        story::SYNC_SECONDS,
        story::SCALE_DOWN_WINDOW_SECONDS,
        story::POLICY_PERIOD_SECONDS
    );
}

async fn show(platform: &Platform) -> anyhow::Result<Outcome> {
    say!("platform {}", platform.ready_line());
    platform
        .apply_feastflow()
        .await
        .context("FeastFlow could not be applied")?;
    let took = platform.wait_until_available().await?;
    say!(
        "all tiers available {:.1} s after `kubectl apply`\n",
        took.as_secs_f64()
    );
    let url = platform.url("/api/restaurants").await?;
    let free_cores = free_cores().await?;
    let story = Story::feastflow(free_cores);
    say!(
        "load on {url}: quiet, then {:.0} requests a second at 5 ms of processor time each ({free_cores:.1} cores are free), then quiet",
        story.rush_rate()
    );
    say!("{}", story::HEADING);
    let outcome = drive(platform, &story, &url).await?;
    say!("\n{}", outcome.summary());
    Ok(outcome)
}

/// How many of the machine's cores have nothing to do, looked at for two seconds.
async fn free_cores() -> anyhow::Result<f64> {
    /// Clock ticks a second; the same on every Linux this runs on.
    const TICKS_PER_SECOND: f64 = 100.0;
    let idle = || {
        let stat = std::fs::read_to_string("/proc/stat").context("/proc/stat cannot be read")?;
        story::parse_idle_ticks(&stat).context("/proc/stat does not tell the processors' idle time")
    };
    let (before, begun) = (idle()?, tokio::time::Instant::now());
    tokio::time::sleep(Duration::from_secs(2)).await;
    #[expect(clippy::cast_precision_loss, reason = "a few hundred ticks")]
    let ticks = idle()?.saturating_sub(before) as f64;
    Ok(ticks / TICKS_PER_SECOND / begun.elapsed().as_secs_f64())
}

/// What has been seen so far, for the lines and the verdict.
#[derive(Debug, Default)]
struct Seen {
    autoscaling: Autoscaling,
    replicas: Vec<(Duration, i32)>,
}

async fn drive(platform: &Platform, story: &Story, url: &str) -> anyhow::Result<Outcome> {
    let start = platform.autoscaling().await?;
    ensure!(
        start.replicas == start.ready,
        "the backend has {} of {} replicas ready before the load",
        start.ready,
        start.replicas
    );
    let seen = Arc::new(Mutex::new(Seen {
        replicas: vec![(Duration::ZERO, start.replicas)],
        autoscaling: start,
    }));
    let state = Arc::new(RunState::default());
    let session = Session::of_requests(
        Target::get(url).requests()?,
        Load::at_rate(
            story.quiet_rate(),
            &story.stages(),
            Duration::ZERO,
            MAX_IN_FLIGHT,
        )
        .plan()?,
        Settings::default(),
        Arc::new(|line| complain!("{}", line.message)),
        Arc::clone(&state),
    )?;
    let metrics = session.metrics();
    let ended = CancellationToken::new();
    let begun = tokio::time::Instant::now();
    let observer = observe(platform, story, Arc::clone(&seen), &state, &ended, begun);
    let lines = Arc::clone(&seen);
    let load = Box::pin(session.run(|moment| {
        let second = RequestFigures::of(&moment.interval.measured, &metrics);
        let seen = lines.lock();
        say!("{}", story.line(moment.elapsed, &second, &seen.autoscaling));
    }));
    // The load ends by itself, or when the observer has seen all there is to see.
    let (finished, observed) = tokio::join!(
        async {
            let finished = load.await;
            ended.cancel();
            finished
        },
        observer
    );
    observed?;
    let end = finished?.end;
    let measured = Measured {
        elapsed: end.elapsed,
        requests: RequestFigures::of(&end.totals, &metrics),
        failures: end.failures,
    };
    let seen = seen.lock();
    Ok(Outcome::new(story, measured, seen.replicas.clone()))
}

/// Watches the autoscaler, tells the reason of each change, and stops the load once the
/// application has shrunk again.
async fn observe(
    platform: &Platform,
    story: &Story,
    seen: Arc<Mutex<Seen>>,
    state: &RunState,
    ended: &CancellationToken,
    begun: tokio::time::Instant,
) -> anyhow::Result<()> {
    let events: Api<Event> = Api::namespaced(platform.client(), story::NAMESPACE);
    let mine = ListParams::default().fields(&format!("involvedObject.name={}", story::AUTOSCALER));
    let mut told: Vec<String> = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            biased;
            () = ended.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let now = platform.autoscaling().await?;
        let elapsed = begun.elapsed();
        {
            let mut seen = seen.lock();
            if seen
                .replicas
                .last()
                .is_none_or(|(_, replicas)| *replicas != now.replicas)
            {
                seen.replicas.push((elapsed, now.replicas));
            }
            seen.autoscaling = now.clone();
        }
        for event in events.list(&mine).await?.items {
            let key = format!("{} {}", event.name_any(), event.count.unwrap_or(1));
            if event.reason.as_deref() == Some("SuccessfulRescale") && !told.contains(&key) {
                say!("        {}", event.message.unwrap_or_default());
                told.push(key);
            }
        }
        let shrunk = now.replicas == story.replicas_at_rest() && now.ready == now.replicas;
        if story.is_over(elapsed, shrunk) {
            state.stop_because(StopReason::Interrupted);
        }
    }
}
