//! Load over real sockets, against a small server in the same process.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use springtide_load::{Level, Options, Shape, Summary, TargetBuilder, run};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves `status` for every request and closes each connection after `per_connection` requests.
async fn serve(status: u16, per_connection: u64) -> (String, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let served = Arc::new(AtomicU64::new(0));
    let total = Arc::clone(&served);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let total = Arc::clone(&total);
            let here = AtomicU64::new(0);
            let service = service_fn(move |_: Request<hyper::body::Incoming>| {
                total.fetch_add(1, Ordering::Relaxed);
                let last = here.fetch_add(1, Ordering::Relaxed) + 1 == per_connection;
                let mut response = Response::new(Full::new(Bytes::from_static(b"ok")));
                *response.status_mut() = status.try_into().unwrap();
                if last {
                    response
                        .headers_mut()
                        .insert("connection", "close".parse().unwrap());
                }
                std::future::ready(Ok::<_, Infallible>(response))
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    (url, served)
}

async fn load(url: &str, shape: Shape) -> Summary {
    let target = TargetBuilder::get(url).build().unwrap();
    run(
        shape,
        target,
        Options::default(),
        CancellationToken::new(),
        |_, _| {},
    )
    .await
}

#[tokio::test]
async fn an_open_model_starts_every_arrival() {
    let (url, served) = serve(200, u64::MAX).await;
    let shape = Shape::constant(Level::ArrivalsPerSecond, 100.0, Duration::from_secs(1)).unwrap();
    let summary = load(&url, shape).await;
    assert_eq!(
        (summary.requests, summary.failures, summary.dropped),
        (100, 0, 0)
    );
    assert_eq!(
        (served.load(Ordering::Relaxed), summary.body_bytes),
        (100, 200)
    );
}

#[tokio::test]
async fn a_closed_model_sends_one_request_after_the_other_for_each_user() {
    let (url, served) = serve(200, 7).await;
    let shape = Shape::constant(Level::Users, 3.0, Duration::from_millis(300)).unwrap();
    let summary = load(&url, shape).await;
    assert!(summary.requests > 3, "{summary:?}");
    assert_eq!(
        summary.failures, 0,
        "a connection that the server closes is opened again: {summary:?}"
    );
    assert_eq!(served.load(Ordering::Relaxed), summary.requests);
}

#[tokio::test]
async fn statuses_of_400_and_above_are_failures() {
    let (url, _) = serve(503, u64::MAX).await;
    let shape =
        Shape::constant(Level::ArrivalsPerSecond, 20.0, Duration::from_millis(500)).unwrap();
    let summary = load(&url, shape).await;
    assert_eq!(
        (summary.requests, summary.failures, summary.statuses[&503]),
        (10, 10, 10)
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_failure_with_its_reason() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let shape = Shape::constant(Level::Users, 2.0, Duration::from_millis(100)).unwrap();
    let summary = load(&format!("http://{gone}/"), shape).await;
    assert!(
        summary.requests > 0 && summary.failures == summary.requests,
        "{summary:?}"
    );
    assert!(
        summary.errors.keys().all(|error| error.contains("connect")),
        "{summary:?}"
    );
}

#[tokio::test]
async fn an_answer_that_never_comes_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut builder = TargetBuilder::get(&format!("http://{}/", listener.local_addr().unwrap()));
    builder.timeout = Duration::from_millis(50);
    let shape =
        Shape::constant(Level::ArrivalsPerSecond, 10.0, Duration::from_millis(200)).unwrap();
    let summary = run(
        shape,
        builder.build().unwrap(),
        Options::default(),
        CancellationToken::new(),
        |_, _| {},
    )
    .await;
    assert_eq!(
        summary.errors.keys().collect::<Vec<_>>(),
        ["request timed out"]
    );
}

#[tokio::test]
async fn a_stop_ends_the_load_early_and_keeps_what_was_counted() {
    let (url, _) = serve(200, u64::MAX).await;
    let shape = Shape::constant(Level::ArrivalsPerSecond, 50.0, Duration::from_secs(600)).unwrap();
    let stop = CancellationToken::new();
    let target = TargetBuilder::get(&url).build().unwrap();
    let ended = stop.clone();
    let summary = run(shape, target, Options::default(), stop, move |_, _| {
        ended.cancel();
    })
    .await;
    assert!(summary.requests > 0 && summary.elapsed < Duration::from_secs(60));
}
