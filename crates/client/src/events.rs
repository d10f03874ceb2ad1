use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource};
use serde_json::json;
use springtide_machinery::clock::Clock;
use tokio::sync::mpsc;

use crate::Backoff;
use crate::correlate::{Correlator, Occurrence, Telling};

/// Events waiting to be written; further ones are dropped, since an event must never hold up
/// what it tells about. The number is client-go's.
const WAITING_BOUND: usize = 1000;
/// How often an event is written before it is given up.
const ATTEMPTS: u32 = 6;
/// The first pause after a write that failed …
const FIRST_RETRY: Duration = Duration::from_millis(200);
/// … and the longest.
const RETRY_BOUND: Duration = Duration::from_secs(5);

/// How serious an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventType {
    /// Something went as it should.
    Normal,
    /// Something did not.
    Warning,
}

impl EventType {
    /// The text in the Event's `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// A reference to an object for its events, with its resourceVersion.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    let mut reference = object.object_ref(&());
    reference
        .resource_version
        .clone_from(&object.meta().resource_version);
    reference
}

/// Writes core/v1 Events as one component, counting repeated ones as client-go does.
/// Cheap to clone; its task ends with the last clone, after what is waiting was written.
#[derive(Clone, Debug)]
pub struct EventRecorder {
    waiting: mpsc::Sender<Occurrence>,
    clock: Clock,
}

// === impl EventRecorder ===

impl EventRecorder {
    /// Starts the task that writes. Must be called within a tokio runtime.
    pub fn new(client: Client, clock: Clock, component: &str) -> Self {
        let (waiting, occurrences) = mpsc::channel(WAITING_BOUND);
        let writer = Writer {
            client,
            component: component.to_owned(),
            correlator: Correlator::new(component),
        };
        // Owned by the channel: the task ends when the last recorder is dropped.
        tokio::spawn(writer.run(occurrences));
        Self { waiting, clock }
    }

    /// Records that something happened to the object. Never waits and never fails: with more than
    /// 1000 events waiting this one is dropped.
    pub fn record(
        &self,
        about: &ObjectReference,
        kind: EventType,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) {
        let occurrence = Occurrence {
            about: about.clone(),
            kind,
            reason: reason.into(),
            message: message.into(),
            at: self.clock.now(),
        };
        if let Err(error) = self.waiting.try_send(occurrence) {
            tracing::warn!(%error, "event dropped");
        }
    }
}

struct Writer {
    client: Client,
    component: String,
    correlator: Correlator,
}

impl Writer {
    async fn run(mut self, mut occurrences: mpsc::Receiver<Occurrence>) {
        let mut last_name_at = None;
        while let Some(mut occurrence) = occurrences.recv().await {
            // Names are made of the nanosecond; under simulated time many events share one.
            occurrence.at = distinct(occurrence.at, last_name_at);
            last_name_at = Some(occurrence.at);
            if let Some(telling) = self.correlator.tell(&occurrence) {
                self.write(&occurrence, telling).await;
            }
        }
    }

    async fn write(&self, occurrence: &Occurrence, mut telling: Telling) {
        let mut backoff = Backoff::new(FIRST_RETRY, RETRY_BOUND);
        for _ in 0..ATTEMPTS {
            match self.try_write(occurrence, &telling).await {
                Ok(()) => return,
                Err(kube::Error::Api(status)) if status.code == 404 && telling.count > 1 => {
                    // The Event has expired or was deleted: it starts over under a new name.
                    telling.name = self.correlator.event_name(&occurrence.about, occurrence.at);
                    telling.count = 1;
                    telling.first = occurrence.at;
                }
                // 4xx: refused for good, most often since the namespace is gone or going.
                Err(kube::Error::Api(status))
                    if (400..500).contains(&status.code) && status.code != 429 =>
                {
                    tracing::debug!(%status, reason = occurrence.reason, "event refused");
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, reason = occurrence.reason, "event not written, trying again");
                    tokio::time::sleep(backoff.fail()).await;
                }
            }
        }
        tracing::warn!(reason = occurrence.reason, "event given up");
    }

    async fn try_write(&self, occurrence: &Occurrence, telling: &Telling) -> kube::Result<()> {
        let namespace = occurrence
            .about
            .namespace
            .as_deref()
            .filter(|name| !name.is_empty());
        let events: Api<Event> =
            Api::namespaced(self.client.clone(), namespace.unwrap_or("default"));
        if telling.count == 1 {
            let event = self.event(occurrence, telling, namespace.unwrap_or("default"));
            events.create(&PostParams::default(), &event).await?;
        } else {
            let change = json!({
                "count": telling.count,
                "lastTimestamp": Time(occurrence.at),
                "message": telling.message,
            });
            events
                .patch(
                    &telling.name,
                    &PatchParams::default(),
                    &Patch::Merge(change),
                )
                .await?;
        }
        Ok(())
    }

    fn event(&self, occurrence: &Occurrence, telling: &Telling, namespace: &str) -> Event {
        Event {
            metadata: ObjectMeta {
                name: Some(telling.name.clone()),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: occurrence.about.clone(),
            type_: Some(occurrence.kind.as_str().to_owned()),
            reason: Some(occurrence.reason.clone()),
            message: Some(telling.message.clone()),
            count: Some(telling.count),
            first_timestamp: Some(Time(telling.first)),
            last_timestamp: Some(Time(occurrence.at)),
            source: Some(EventSource {
                component: Some(self.component.clone()),
                host: None,
            }),
            reporting_component: Some(self.component.clone()),
            reporting_instance: Some(String::new()),
            ..Event::default()
        }
    }
}

/// The time itself, or the nanosecond after the last one if that was not before.
fn distinct(at: Timestamp, last: Option<Timestamp>) -> Timestamp {
    let nanosecond = jiff::SignedDuration::from_nanos(1);
    let after = |last: Timestamp| last.checked_add(nanosecond).unwrap_or(last);
    last.map_or(at, |last| at.max(after(last)))
}
