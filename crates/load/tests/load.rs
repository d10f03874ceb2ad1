//! Load without a script, over real sockets, against a small server in the same process.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use springtide_load::plain::{Load, RequestFigures, Target, summary_json, summary_text};
use springtide_load::replay::Recording;
use springtide_load::schedule::Schedule;
use springtide_load::session::{Finished, Session, Settings};
use springtide_load::user::{RunState, StopReason};
use tokio::net::TcpListener;

const SECOND: Duration = Duration::from_secs(1);
/// The most requests under way at once.
const ENOUGH: u64 = 10_000;

/// What a server saw.
#[derive(Default)]
struct Seen {
    connections: AtomicU64,
    requests: AtomicU64,
    /// Method, path and body of each request, sorted by when it came.
    log: Mutex<Vec<String>>,
}

/// Serves `status` for every request and closes each connection after `per_connection` requests.
async fn serve(status: u16, per_connection: u64) -> (String, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let seen = Arc::new(Seen::default());
    let counted = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.connections.fetch_add(1, Ordering::Relaxed);
            let seen = Arc::clone(&counted);
            let here = Arc::new(AtomicU64::new(0));
            let service = service_fn(move |request: Request<Incoming>| {
                let (seen, here) = (Arc::clone(&seen), Arc::clone(&here));
                async move {
                    seen.requests.fetch_add(1, Ordering::Relaxed);
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.unwrap().to_bytes();
                    let body = String::from_utf8_lossy(&body).into_owned();
                    seen.log
                        .lock()
                        .push(format!("{} {} {body}", head.method, head.uri));
                    let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
                    *response.status_mut() = status.try_into().unwrap();
                    if here.fetch_add(1, Ordering::Relaxed) + 1 == per_connection {
                        response
                            .headers_mut()
                            .insert("connection", "close".parse().unwrap());
                    }
                    Ok::<_, Infallible>(response)
                }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (url, seen)
}

fn settings(options: &str) -> Settings {
    Settings {
        flags: serde_json::from_str(options).unwrap(),
        threads: Some(2),
        ..Settings::default()
    }
}

/// Puts load on a target.
async fn run(target: &Target, load: Load) -> (Finished, RequestFigures) {
    run_with(target, load, settings("{}")).await
}

async fn run_with(target: &Target, load: Load, settings: Settings) -> (Finished, RequestFigures) {
    let session = Session::of_requests(
        target.requests().unwrap(),
        load.plan().unwrap(),
        settings,
        Arc::new(|_| {}),
        Arc::new(RunState::default()),
    )
    .unwrap();
    let metrics = session.metrics();
    let finished = session.run(|_| {}).await.unwrap();
    let figures = RequestFigures::of(&finished.end.totals, &metrics);
    (finished, figures)
}

fn users(count: u64, duration: Duration) -> Load {
    Load::Users {
        start: count,
        stages: Vec::new(),
        duration,
    }
}

fn kinds(finished: &Finished) -> Vec<String> {
    finished
        .end
        .failures
        .iter()
        .map(|(kind, _)| kind.to_string())
        .collect()
}

#[tokio::test]
async fn an_open_model_starts_every_arrival() {
    let (url, seen) = serve(200, u64::MAX).await;
    let (finished, figures) = run(
        &Target::get(&url),
        Load::at_rate(100.0, &[], SECOND, ENOUGH),
    )
    .await;
    assert_eq!(
        (figures.requests, figures.failures, figures.dropped),
        (100, 0, 0)
    );
    assert_eq!(seen.requests.load(Ordering::Relaxed), 100);
    assert!(figures.received > 200, "{figures:?}");
    assert_eq!(figures.response_times.unwrap().count(), 100);
    assert_eq!(finished.status, 0);
}

#[tokio::test]
async fn arrivals_above_what_may_be_under_way_are_dropped_and_counted() {
    // Takes connections and answers nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut target = Target::get(&format!("http://{}/", listener.local_addr().unwrap()));
    target.timeout = Duration::from_secs(30);
    let load = Load::at_rate(50.0, &[], SECOND, 5);
    let mut plan = load.plan().unwrap();
    plan.graceful_stop = Duration::ZERO;
    let session = Session::of_requests(
        target.requests().unwrap(),
        plan,
        settings("{}"),
        Arc::new(|_| {}),
        Arc::new(RunState::default()),
    )
    .unwrap();
    let metrics = session.metrics();
    let finished = session.run(|_| {}).await.unwrap();
    let figures = RequestFigures::of(&finished.end.totals, &metrics);
    assert_eq!((figures.requests, figures.dropped), (0, 45));
}

#[tokio::test]
async fn a_closed_model_sends_one_request_after_the_other_for_each_user() {
    let (url, seen) = serve(200, 7).await;
    let (finished, figures) = run(&Target::get(&url), users(3, Duration::from_millis(300))).await;
    assert!(figures.requests > 3, "{figures:?}");
    assert_eq!(
        figures.failures,
        0,
        "a connection that the server closes is opened again: {:?}",
        kinds(&finished)
    );
    assert_eq!(seen.requests.load(Ordering::Relaxed), figures.requests);
    assert!(figures.response_times.is_none());
}

#[tokio::test]
async fn so_many_requests_are_so_many() {
    let (url, seen) = serve(200, u64::MAX).await;
    let load = Load::Iterations {
        users: 4,
        iterations: 57,
        max_duration: Duration::from_secs(600),
    };
    let (_, figures) = run(&Target::get(&url), load.clone()).await;
    assert_eq!(figures.requests, 57);
    assert!(seen.connections.load(Ordering::Relaxed) <= 4);
    let mut target = Target::get(&url);
    target.no_connection_reuse = true;
    seen.connections.store(0, Ordering::Relaxed);
    run(&target, load).await;
    assert_eq!(seen.connections.load(Ordering::Relaxed), 57);
}

#[tokio::test]
async fn statuses_of_400_and_above_are_failures_with_their_kind() {
    let (url, _) = serve(503, u64::MAX).await;
    let load = Load::at_rate(20.0, &[], SECOND / 2, ENOUGH);
    let (finished, figures) = run(&Target::get(&url), load).await;
    assert_eq!((figures.requests, figures.failures), (10, 10));
    assert_eq!(kinds(&finished), ["503 Service Unavailable"]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_failure_with_its_reason() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let target = Target::get(&format!("http://{gone}/"));
    let (finished, figures) = run(&target, users(2, Duration::from_millis(100))).await;
    assert!(
        figures.requests > 0 && figures.failures == figures.requests,
        "{figures:?}"
    );
    assert_eq!(kinds(&finished), ["connection refused"]);
}

#[tokio::test]
async fn an_answer_that_never_comes_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut target = Target::get(&format!("http://{}/", listener.local_addr().unwrap()));
    target.timeout = Duration::from_millis(50);
    let load = Load::at_rate(10.0, &[], Duration::from_millis(200), ENOUGH);
    let (finished, figures) = run(&target, load).await;
    assert_eq!((figures.requests, figures.failures), (2, 2));
    assert_eq!(kinds(&finished), ["timeout"]);
    assert!(figures.durations.min() >= 50.0, "{figures:?}");
}

#[tokio::test]
async fn a_stop_ends_the_load_early_and_keeps_what_was_counted() {
    let (url, _) = serve(200, u64::MAX).await;
    let state = Arc::new(RunState::default());
    let session = Session::of_requests(
        Target::get(&url).requests().unwrap(),
        Load::at_rate(50.0, &[], Duration::from_secs(600), ENOUGH)
            .plan()
            .unwrap(),
        settings("{}"),
        Arc::new(|_| {}),
        Arc::clone(&state),
    )
    .unwrap();
    let metrics = session.metrics();
    let finished = session
        .run(|_| state.stop_because(StopReason::Interrupted))
        .await
        .unwrap();
    let figures = RequestFigures::of(&finished.end.totals, &metrics);
    assert!(figures.requests > 0 && finished.end.elapsed < Duration::from_secs(60));
    assert_eq!(finished.status, 0);
}

#[tokio::test]
async fn thresholds_are_judged_as_those_of_scripts_are() {
    let (url, _) = serve(404, u64::MAX).await;
    let options = r#"{"thresholds": {"http_req_failed": ["rate<0.01"], "http_reqs{status:404}": ["count==10"]}}"#;
    let load = Load::at_rate(10.0, &[], SECOND, ENOUGH);
    let target = Target::get(&url);
    let (finished, _) = run_with(&target, load, settings(options)).await;
    assert_eq!(finished.status, 99);
    let metrics = springtide_load::metric::MetricRegistry::default();
    let text = summary_text(&finished, metrics.builtin());
    for line in [
        "http_req_failed        100.00%  10 of 10",
        "failed                 404 Not Found: 10",
        "http_req_failed=rate<0.01: FAILED (1.000)",
        "http_reqs{status:404}=count==10: met (10.000)",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let json = summary_json(&finished);
    assert_eq!(json["metrics"]["http_reqs"]["count"], 10);
    assert_eq!(json["failures"]["404 Not Found"], 10);
}

#[tokio::test]
async fn an_access_log_is_sent_again_method_by_method_and_path_by_path() {
    let (url, seen) = serve(200, u64::MAX).await;
    let log = concat!(
        "a - - [22/Nov/2026:03:00:00 +0000] \"GET /menu?page=2 HTTP/1.1\" 200 5\n",
        "a - - [22/Nov/2026:03:00:05 +0000] \"POST /orders HTTP/1.1\" 201 5 \"-\" \"curl\"\n",
        "a - - [22/Nov/2026:03:00:10 +0000] \"HEAD /menu HTTP/1.1\" 200 0\n",
        "a - - [22/Nov/2026:03:00:15 +0000] \"DELETE /orders/1 HTTP/1.1\" 204 0\n",
        "a - - [22/Nov/2026:03:00:20 +0000] \"GET /menu?page=2 HTTP/1.1\" 200 5\n",
    );
    let log = Arc::new(Recording::read("log", log.as_bytes()).unwrap());
    let mut target = Target::get(&format!("{url}api"));
    target.body = Bytes::from_static(b"{}");
    let load = Load::Arrivals {
        schedule: Schedule::Playback(log.play(50.0, None).unwrap()),
        max_in_flight: ENOUGH,
    };
    let session = Session::of_requests(
        target.logged_requests(&log).unwrap(),
        load.plan().unwrap(),
        settings("{}"),
        Arc::new(|_| {}),
        Arc::new(RunState::default()),
    )
    .unwrap();
    let finished = session.run(|_| {}).await.unwrap();
    assert!(finished.end.failures.is_empty(), "{:?}", kinds(&finished));
    // Two threads send; what matters is that each was sent.
    let mut sent = seen.log.lock().clone();
    sent.sort();
    assert_eq!(
        sent,
        [
            "DELETE /api/orders/1 ",
            "GET /api/menu?page=2 ",
            "GET /api/menu?page=2 ",
            "HEAD /api/menu ",
            "POST /api/orders {}",
        ]
    );
}
