//! What a generator must not hide: a target that stalls, and arrivals that could not be started.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use springtide_load::metric::{BuiltinMetrics, Measured, Metric, Trend};
use springtide_load::plain::{Load, Target};
use springtide_load::session::{Finished, Session, Settings};
use springtide_load::user::RunState;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep_until};

/// Requests a second.
const RATE: u64 = 25;
/// How long they come.
const SECONDS: u64 = 5;
const ARRIVALS: u64 = RATE * SECONDS;
/// The request that the target stalls at, counted from 0, and for how long it answers nobody.
const STALLS_AT: u64 = 25;
const STALL: Duration = Duration::from_secs(2);

/// A target that answers at once, but for one stall.
async fn stalling_target() -> (String, Arc<Mutex<Option<Instant>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let stalls_until: Arc<Mutex<Option<Instant>>> = Arc::default();
    let until = Arc::clone(&stalls_until);
    tokio::spawn(async move {
        let count = Arc::new(AtomicU64::new(0));
        while let Ok((stream, _)) = listener.accept().await {
            let (count, until) = (Arc::clone(&count), Arc::clone(&until));
            let service = service_fn(move |_: Request<Incoming>| {
                if count.fetch_add(1, Ordering::Relaxed) == STALLS_AT {
                    *until.lock() = Some(Instant::now() + STALL);
                }
                let wait = *until.lock();
                async move {
                    if let Some(until) = wait {
                        sleep_until(until).await;
                    }
                    let answer = Response::new(Full::new(Bytes::from_static(b"ok")));
                    Ok::<_, Infallible>(answer)
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (url, stalls_until)
}

/// How late this thread woke at worst, which is what a busy machine adds to the target's times.
async fn worst_lag(worst: Arc<Mutex<Duration>>) {
    loop {
        let due = Instant::now() + Duration::from_millis(10);
        sleep_until(due).await;
        let mut worst = worst.lock();
        *worst = due.elapsed().max(*worst);
    }
}

/// What every arrival's response time is when the target answers nobody until this moment:
/// milliseconds, by the schedule alone.
fn true_response_times(finished: &Finished, stalls_until: Instant) -> Trend {
    let mut times = Trend::default();
    for arrival in 0..ARRIVALS {
        let intended = finished.end.started
            + Duration::from_secs(1) * u32::try_from(arrival).unwrap()
                / u32::try_from(RATE).unwrap();
        let waits = if arrival < STALLS_AT {
            Duration::ZERO
        } else {
            stalls_until.saturating_duration_since(intended)
        };
        times.record(waits.as_secs_f64() * 1000.0);
    }
    times
}

fn trend(finished: &Finished, metric: &Metric) -> Trend {
    match finished.end.totals.get(&metric.id) {
        Some(Measured::Trend(trend)) => trend.clone(),
        _ => Trend::default(),
    }
}

fn sum(finished: &Finished, metric: &Metric) -> f64 {
    match finished.end.totals.get(&metric.id) {
        Some(Measured::Counter { sum }) => *sum,
        _ => 0.0,
    }
}

/// The measured percentiles are those of the schedule, within what a busy machine adds.
fn assert_tells_the_truth(
    finished: &Finished,
    metrics: &BuiltinMetrics,
    stalls_until: Instant,
    target_lag: Duration,
) {
    let measured = trend(finished, &metrics.http_req_response_time);
    let truth = true_response_times(finished, stalls_until);
    assert_eq!(measured.count(), ARRIVALS);
    assert_eq!(sum(finished, &metrics.dropped_iterations), 0.0);
    // Two of five seconds are a stall: the truth is far from nothing at these.
    assert!(truth.percentile(75.0) > 500.0 && truth.percentile(99.0) > 1800.0);
    let lag = target_lag.as_secs_f64() * 1000.0 + finished.end.lag.max();
    for percent in [50.0, 75.0, 90.0, 95.0, 99.0, 100.0] {
        let (found, expected) = (measured.percentile(percent), truth.percentile(percent));
        assert!(
            (found - expected).abs() <= 0.15 * expected + 150.0 + 3.0 * lag,
            "p({percent}) is {found} ms and not {expected} ms, with a lag of {lag} ms"
        );
    }
}

async fn script(source: &str, url: &str, options: &str) -> (Finished, BuiltinMetrics) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.js");
    std::fs::write(
        &path,
        format!("{source}\nexport const options = {options};"),
    )
    .unwrap();
    let settings = Settings {
        env: [("URL".to_owned(), url.to_owned())].into(),
        threads: Some(2),
        ..Settings::default()
    };
    let state = Arc::new(RunState::default());
    let session = Session::load(&path, settings, Arc::new(|_| {}), state)
        .await
        .unwrap();
    let metrics = session.metrics();
    (session.run(|_| {}).await.unwrap(), metrics)
}

const ONE_REQUEST: &str =
    "import http from 'k6/http'; export default function () { http.get(__ENV.URL); }";

#[tokio::test]
async fn a_stall_shows_in_the_response_times_of_requests_without_a_script() {
    let (url, stalls_until) = stalling_target().await;
    let lag: Arc<Mutex<Duration>> = Arc::default();
    tokio::spawn(worst_lag(Arc::clone(&lag)));
    let load = Load::at_rate(RATE as f64, &[], Duration::from_secs(SECONDS), ARRIVALS);
    let settings = Settings {
        threads: Some(2),
        ..Settings::default()
    };
    let session = Session::of_requests(
        Target::get(&url).requests().unwrap(),
        load.plan().unwrap(),
        settings,
        Arc::new(|_| {}),
        Arc::new(RunState::default()),
    )
    .unwrap();
    let metrics = session.metrics();
    let finished = session.run(|_| {}).await.unwrap();
    let until = stalls_until.lock().unwrap();
    let lag = *lag.lock();
    assert_tells_the_truth(&finished, &metrics, until, lag);
}

#[tokio::test]
async fn a_stall_shows_in_the_response_times_of_a_script() {
    let (url, stalls_until) = stalling_target().await;
    let lag: Arc<Mutex<Duration>> = Arc::default();
    tokio::spawn(worst_lag(Arc::clone(&lag)));
    let options = format!(
        r#"{{"scenarios": {{"rate": {{"executor": "constant-arrival-rate", "rate": {RATE}, "duration": "{SECONDS}s", "preAllocatedVUs": {ARRIVALS}}}}}}}"#
    );
    let (finished, metrics) = script(ONE_REQUEST, &url, &options).await;
    let until = stalls_until.lock().unwrap();
    let lag = *lag.lock();
    assert_tells_the_truth(&finished, &metrics, until, lag);
}

#[tokio::test]
async fn arrivals_without_a_free_user_are_counted_and_not_forgotten() {
    let (url, _) = stalling_target().await;
    let options = format!(
        r#"{{"scenarios": {{"rate": {{"executor": "constant-arrival-rate", "rate": {RATE}, "duration": "{SECONDS}s", "preAllocatedVUs": 10}}}}}}"#
    );
    let (finished, metrics) = script(ONE_REQUEST, &url, &options).await;
    let begun = sum(&finished, &metrics.iterations);
    let dropped = sum(&finished, &metrics.dropped_iterations);
    assert_eq!(begun + dropped, ARRIVALS as f64);
    // The stall takes all ten users; nearly two seconds' arrivals find none.
    let in_the_stall = RATE as f64 * STALL.as_secs_f64();
    assert!(dropped >= in_the_stall - 10.0 - 5.0, "{dropped} dropped");
}

#[tokio::test]
async fn a_generator_that_cannot_keep_up_says_so() {
    let (url, _) = stalling_target().await;
    // Iterations that compute share their thread in turns: fifteen at once on each of the two.
    let source = "import http from 'k6/http'; export default function () { const end = Date.now() + 600; while (Date.now() < end) {} http.get(__ENV.URL); }";
    let options = r#"{"scenarios": {"rate": {"executor": "constant-arrival-rate", "rate": 50, "duration": "3s", "preAllocatedVUs": 100}}}"#;
    let (finished, _) = script(source, &url, options).await;
    let doubts = finished.end.doubts();
    assert!(
        doubts.iter().any(|doubt| doubt.contains("ms late")),
        "{doubts:?}"
    );
}
