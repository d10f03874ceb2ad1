//! The caches against a scripted API: what a watch may do to its client, and
//! what subscribers are told. Time is paused; a test that would hang fails at
//! its bound at once.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body_util::StreamBody;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::Body;
use kube::{Client, ResourceExt};
use parking_lot::Mutex;
use serde_json::{Value, json};
use springtide_client::{Cache, Caches, Seen, Subscription};
use tokio::time::Instant;

/// What the API answers to one watch request.
enum Answer {
    /// An HTTP status of failure.
    Fails(u16),
    /// These events, then the stream ends.
    Ends(Vec<Value>),
    /// These events, then what the test sends.
    Stays(Vec<Value>, tokio::sync::mpsc::UnboundedReceiver<Value>),
}

#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Script {
    fn client(&self) -> Client {
        let script = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let response = script.answer(&request);
            async move { Ok::<_, Infallible>(response) }
        });
        Client::new(service, "default")
    }

    fn answer(&self, request: &Request<Body>) -> Response<Answered> {
        self.asked
            .lock()
            .push((Instant::now(), request.uri().to_string()));
        match self.answers.lock().pop_front() {
            Some(Answer::Fails(code)) => {
                let status = json!({"kind": "Status", "status": "Failure", "message": "no", "reason": "No", "code": code});
                let body = stream(futures::stream::iter([status]));
                Response::builder()
                    .status(code)
                    .body(body)
                    .expect("a valid response")
            }
            Some(Answer::Ends(events)) => Response::new(stream(futures::stream::iter(events))),
            Some(Answer::Stays(events, more)) => {
                let more = futures::stream::unfold(more, |mut more| async move {
                    Some((more.recv().await?, more))
                });
                Response::new(stream(futures::stream::iter(events).chain(more)))
            }
            None => Response::new(stream(futures::stream::pending())),
        }
    }
}

/// A body that arrives piece by piece.
type Answered =
    StreamBody<futures::stream::BoxStream<'static, Result<http_body::Frame<Bytes>, Infallible>>>;

fn stream(events: impl futures::Stream<Item = Value> + Send + 'static) -> Answered {
    let frames = events.map(|event| {
        Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(format!("{event}\n"))))
    });
    StreamBody::new(frames.boxed())
}

fn map(name: &str, revision: u64) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "namespace": "default", "name": name, "uid": name, "resourceVersion": revision.to_string(),
            "managedFields": [{"manager": "kubectl"}],
        },
    })
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

fn end_of_list(revision: u64) -> Value {
    event(
        "BOOKMARK",
        &json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "resourceVersion": revision.to_string(),
                "annotations": {"k8s.io/initial-events-end": "true"},
            },
        }),
    )
}

fn script(answers: impl IntoIterator<Item = Answer>) -> Script {
    Script {
        answers: Arc::new(Mutex::new(answers.into_iter().collect())),
        asked: Arc::default(),
    }
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("within a minute")
}

async fn told(subscription: &mut Subscription<ConfigMap>) -> String {
    match within(subscription.next()).await.expect("the cache lives") {
        Seen::Applied { new, old: None } => format!("new {}", new.name_any()),
        Seen::Applied { new, old: Some(_) } => format!("changed {}", new.name_any()),
        Seen::Deleted(object) => format!("deleted {}", object.name_any()),
        Seen::Resync => "resync".to_owned(),
    }
}

fn names(cache: &Cache<ConfigMap>) -> Vec<String> {
    cache
        .list()
        .iter()
        .map(|object| object.name_any())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_cache_is_sorted_and_holds_no_managed_fields() {
    let (events, more) = tokio::sync::mpsc::unbounded_channel();
    let list = vec![
        event("ADDED", &map("b", 2)),
        event("ADDED", &map("a", 3)),
        end_of_list(3),
    ];
    let script = script([Answer::Stays(list, more)]);
    let cache = Caches::new(script.client()).of::<ConfigMap>();
    let mut subscription = cache.subscribe();
    assert!(!cache.is_synced());
    assert_eq!(told(&mut subscription).await, "resync");
    assert_eq!(names(&cache), ["a", "b"]);
    assert_eq!(cache.revision(), 3);
    assert!(
        cache
            .list()
            .iter()
            .all(|object| object.metadata.managed_fields.is_none())
    );

    events
        .send(event("MODIFIED", &map("a", 4)))
        .expect("the watch is open");
    assert_eq!(told(&mut subscription).await, "changed a");
    events
        .send(event("DELETED", &map("b", 5)))
        .expect("the watch is open");
    assert_eq!(told(&mut subscription).await, "deleted b");
    assert_eq!(names(&cache), ["a"]);
    assert_eq!(cache.revision(), 5);
    assert!(cache.get("default", "a").is_some());
    assert!(cache.get("other", "a").is_none());
    assert!(cache.list_in("other").is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_watch_serves_all_clones_and_ends_with_the_last() {
    let script = script([Answer::Ends(vec![])]);
    let caches = Caches::new(script.client());
    let first = caches.of::<ConfigMap>();
    let second = caches.of::<ConfigMap>();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(
        script.asked.lock().len(),
        2,
        "one watch that ended, and one that stays"
    );
    drop((first, second, caches));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(script.asked.lock().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_api_that_fails_is_asked_again_with_growing_pauses_up_to_the_bound() {
    let script = script(
        (0..12)
            .map(|_| Answer::Fails(503))
            .chain([Answer::Ends(vec![
                event("ADDED", &map("a", 1)),
                end_of_list(1),
            ])]),
    );
    let cache = Caches::new(script.client()).of::<ConfigMap>();
    within(cache.synced()).await;
    assert_eq!(names(&cache), ["a"]);
    let asked: Vec<Instant> = script
        .asked
        .lock()
        .iter()
        .map(|(at, _)| *at)
        .take(13)
        .collect();
    let pauses: Vec<u128> = asked
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_millis())
        .collect();
    assert!(
        pauses.windows(2).all(|pair| pair[0] <= pair[1]),
        "{pauses:?}"
    );
    assert!(
        pauses[0] <= 60 && pauses[11] <= 5001 && pauses[11] >= 5000,
        "{pauses:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn lists_that_end_early_are_not_asked_for_in_a_busy_loop() {
    let early = || Answer::Ends(vec![event("ADDED", &map("a", 1))]);
    let script = script(
        (0..10)
            .map(|_| early())
            .chain([Answer::Ends(vec![end_of_list(9)])]),
    );
    let cache = Caches::new(script.client()).of::<ConfigMap>();
    let start = Instant::now();
    within(cache.synced()).await;
    assert!(
        start.elapsed() > Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    assert!(names(&cache).is_empty());
}

#[tokio::test(start_paused = true)]
async fn after_a_new_list_subscribers_are_told_only_what_differs() {
    let first = vec![
        event("ADDED", &map("changes", 1)),
        event("ADDED", &map("goes", 2)),
        event("ADDED", &map("stays", 3)),
        end_of_list(3),
        event(
            "ERROR",
            &json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}),
        ),
    ];
    let second = vec![
        event("ADDED", &map("changes", 7)),
        event("ADDED", &map("comes", 5)),
        event("ADDED", &map("stays", 3)),
        end_of_list(9),
    ];
    let script = script([Answer::Ends(first), Answer::Ends(second)]);
    let cache = Caches::new(script.client()).of::<ConfigMap>();
    let mut subscription = cache.subscribe();
    assert_eq!(told(&mut subscription).await, "resync");
    assert_eq!(told(&mut subscription).await, "changed changes");
    assert_eq!(told(&mut subscription).await, "new comes");
    assert_eq!(told(&mut subscription).await, "deleted goes");
    assert_eq!(names(&cache), ["changes", "comes", "stays"]);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cannot_be_read_is_passed_over() {
    let list = vec![
        event(
            "ADDED",
            &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad"}, "data": 7}),
        ),
        event("ADDED", &map("good", 2)),
        end_of_list(2),
    ];
    let script = script([Answer::Ends(list)]);
    let cache = Caches::new(script.client()).of::<ConfigMap>();
    within(cache.synced()).await;
    assert_eq!(names(&cache), ["good"]);
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_is_far_behind_is_told_to_look_at_everything() {
    let (events, more) = tokio::sync::mpsc::unbounded_channel();
    let script = script([Answer::Stays(vec![end_of_list(1)], more)]);
    let cache = Caches::new(script.client()).of::<ConfigMap>();
    let mut subscription = cache.subscribe();
    assert_eq!(told(&mut subscription).await, "resync");
    for revision in 2..2_000 {
        events
            .send(event("MODIFIED", &map("a", revision)))
            .expect("the watch is open");
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(cache.revision(), 1_999);
    assert_eq!(told(&mut subscription).await, "resync");
    assert_eq!(told(&mut subscription).await, "changed a");
}
