//! Drives a [`Shape`] against a [`Target`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::shape::Level;
use crate::{Connection, Recorder, Second, Shape, Summary, Target};

/// How often the number of users is brought to what the shape says.
const USER_TICK: Duration = Duration::from_millis(50);

/// What bounds a run besides its shape.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The most requests under way at once in the open model; arrivals above it are dropped and counted.
    pub max_in_flight: usize,
    /// How long requests under way at the end may take to finish before they are given up.
    pub graceful_stop: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_in_flight: 10_000,
            graceful_stop: Duration::from_secs(30),
        }
    }
}

/// Runs the load until its shape ends or `stop` is cancelled, and gives what happened.
///
/// `each_second` is called once a second with the time since the start and what that second held.
pub async fn run(
    shape: Shape,
    target: Target,
    options: Options,
    stop: CancellationToken,
    mut each_second: impl FnMut(Duration, &Second),
) -> Summary {
    let recorder = Arc::new(Recorder::default());
    let start = Instant::now();
    let mut load = tokio::spawn(drive(
        shape,
        Arc::new(target),
        options,
        Arc::clone(&recorder),
        start,
        stop,
    ));
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    seconds.tick().await;
    loop {
        tokio::select! {
            biased;
            ended = &mut load => {
                if let Err(error) = ended
                    && let Ok(panic) = error.try_into_panic()
                {
                    std::panic::resume_unwind(panic);
                }
                break;
            }
            _ = seconds.tick() => each_second(start.elapsed(), &recorder.take_second()),
        }
    }
    let elapsed = start.elapsed();
    let rest = recorder.take_second();
    if rest.requests > 0 {
        each_second(elapsed, &rest);
    }
    recorder.summary(elapsed)
}

async fn drive(
    shape: Shape,
    target: Arc<Target>,
    options: Options,
    recorder: Arc<Recorder>,
    start: Instant,
    stop: CancellationToken,
) {
    let mut requests = JoinSet::new();
    match shape.level {
        Level::Users => users(&shape, &target, &recorder, start, &stop, &mut requests).await,
        Level::ArrivalsPerSecond => {
            arrivals(
                &shape,
                &target,
                options,
                &recorder,
                start,
                &stop,
                &mut requests,
            )
            .await;
        }
    }
    // What is still under way gets its time to finish; then the join set's drop ends it.
    let _ = tokio::time::timeout(options.graceful_stop, async {
        while requests.join_next().await.is_some() {}
    })
    .await;
}

/// Keeps as many users sending as the shape says. A user above the level ends after its request.
async fn users(
    shape: &Shape,
    target: &Arc<Target>,
    recorder: &Arc<Recorder>,
    start: Instant,
    stop: &CancellationToken,
    requests: &mut JoinSet<()>,
) {
    let wanted = Arc::new(AtomicUsize::new(0));
    let running = Arc::new(AtomicUsize::new(0));
    let mut ticks = interval(USER_TICK);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = sleep_until(start + shape.duration()) => break,
            _ = ticks.tick() => {}
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a shape's level is zero or more"
        )]
        let level = shape.at(start.elapsed()).round() as usize;
        wanted.store(level, Ordering::Relaxed);
        while running.load(Ordering::Relaxed) < level {
            running.fetch_add(1, Ordering::Relaxed);
            requests.spawn(user(
                Arc::clone(target),
                Arc::clone(recorder),
                Arc::clone(&wanted),
                Arc::clone(&running),
            ));
        }
        while requests.try_join_next().is_some() {}
    }
    wanted.store(0, Ordering::Relaxed);
}

async fn user(
    target: Arc<Target>,
    recorder: Arc<Recorder>,
    wanted: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
) {
    let mut connection = Connection::default();
    loop {
        let leaves = running
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |running| {
                (running > wanted.load(Ordering::Relaxed)).then(|| running - 1)
            })
            .is_ok();
        if leaves {
            return;
        }
        let sent = Instant::now();
        let outcome = connection.send(&target).await;
        recorder.record(sent.elapsed(), &outcome);
        if outcome.is_err() {
            // A server that refuses at once must not be asked a hundred thousand times a second.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Starts every arrival at its intended time, over any connection that is idle.
async fn arrivals(
    shape: &Shape,
    target: &Arc<Target>,
    options: Options,
    recorder: &Arc<Recorder>,
    start: Instant,
    stop: &CancellationToken,
    requests: &mut JoinSet<()>,
) {
    let idle: Arc<Mutex<Vec<Connection>>> = Arc::default();
    for intended in shape.arrivals() {
        let intended = start + intended;
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep_until(intended) => {}
        }
        while requests.try_join_next().is_some() {}
        if requests.len() >= options.max_in_flight {
            recorder.record_dropped();
            continue;
        }
        let (target, recorder, idle) =
            (Arc::clone(target), Arc::clone(recorder), Arc::clone(&idle));
        requests.spawn(async move {
            let reusable = idle.lock().pop();
            let mut connection = reusable.unwrap_or_default();
            let outcome = connection.send(&target).await;
            recorder.record(intended.elapsed(), &outcome);
            if outcome.is_ok() {
                idle.lock().push(connection);
            }
        });
    }
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = sleep_until(start + shape.duration()) => {}
    }
}
