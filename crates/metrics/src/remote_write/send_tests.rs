use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use http::StatusCode;
use parking_lot::Mutex;
use prost::Message as _;
use springtide_machinery::clock::Clock;

use super::*;
use crate::config::Config;
use crate::relabel::LabelSet;
use crate::series_store::Labels;
use crate::tsdb::{CommitListener, Options, Tsdb};

/// Takes requests, after refusing some with the statuses given.
async fn receiver(refusals: Vec<u16>) -> (String, Arc<Mutex<Vec<message::WriteRequest>>>) {
    let taken: Arc<Mutex<Vec<message::WriteRequest>>> = Arc::default();
    let (shared, asked) = (Arc::clone(&taken), Arc::new(AtomicUsize::new(0)));
    let handler = async move |body: Bytes| {
        let at = asked.fetch_add(1, Ordering::Relaxed);
        if let Some(status) = refusals.get(at) {
            return StatusCode::from_u16(*status).expect("a status");
        }
        let plain = message::decompress(&body).expect("compressed");
        let request = message::WriteRequest::decode(&plain[..]).expect("a request");
        shared.lock().push(request);
        StatusCode::NO_CONTENT
    };
    let router = Router::new().route("/w", post(handler));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}/w"), taken)
}

fn writer(url: &str, more: &str) -> Arc<RemoteWriter> {
    let text = format!(
        "remote_write:\n- url: {url}\n  queue_config: {{batch_send_deadline: 20ms, min_backoff: 5ms, max_shards: 1, capacity: 3}}\n{more}"
    );
    let config = Config::parse(&text, "test").expect(&text);
    let external = LabelSet::from([("region".to_owned(), "eu".to_owned())]);
    let folder = std::env::temp_dir();
    let started = RemoteWriter::start(&config.remote_write[0], external, &folder, &Clock::system());
    Arc::new(started.expect("started"))
}

fn append(tsdb: &Tsdb, name: &str, time: i64) {
    let mut appender = tsdb.appender();
    let labels = Labels::new([("__name__", name)]);
    appender
        .append(&labels, None, time, time as f64)
        .expect("taken");
    appender.commit().expect("stored");
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect(what);
}

#[tokio::test]
async fn what_is_committed_is_sent_with_external_labels_and_tried_again() {
    let (url, taken) = receiver(vec![503, 500]).await;
    let writer = writer(
        &url,
        "  write_relabel_configs: [{source_labels: [__name__], regex: secret, action: drop}]\n",
    );
    let tsdb = Tsdb::in_memory(Options::default());
    tsdb.set_listeners(vec![Arc::clone(&writer) as Arc<dyn CommitListener>]);
    append(&tsdb, "a", 1);
    append(&tsdb, "secret", 1);
    until("a sample sent", || writer.counts().sent == 1).await;
    assert_eq!(writer.counts().retried, 2);
    let series = taken.lock()[0].timeseries.clone();
    assert_eq!(series.len(), 1);
    let labels: Vec<(&str, &str)> = series[0]
        .labels
        .iter()
        .map(|label| (label.name.as_str(), label.value.as_str()))
        .collect();
    assert_eq!(labels, [("__name__", "a"), ("region", "eu")]);
    assert_eq!(series[0].samples[0].timestamp, 1);
    writer.stop().await;
}

#[tokio::test]
async fn what_is_refused_for_good_is_counted_and_what_does_not_fit_is_dropped() {
    let (url, taken) = receiver(vec![400]).await;
    let first = writer(&url, "");
    let tsdb = Tsdb::in_memory(Options::default());
    tsdb.set_listeners(vec![Arc::clone(&first) as Arc<dyn CommitListener>]);
    append(&tsdb, "a", 1);
    until("the refusal", || first.counts().failed == 1).await;
    append(&tsdb, "a", 2);
    until("the next", || first.counts().sent == 1).await;
    first.stop().await;
    assert_eq!(taken.lock().len(), 1);
    // Nobody listens there: the queue fills.
    let second = writer("http://127.0.0.1:9/w", "");
    tsdb.set_listeners(vec![Arc::clone(&second) as Arc<dyn CommitListener>]);
    for time in 3..13 {
        append(&tsdb, "a", time);
    }
    assert_eq!((second.counts().pending, second.counts().dropped), (3, 7));
}
