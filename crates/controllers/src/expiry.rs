//! Events are forgotten an hour after they last happened, as Kubernetes' API server does by
//! `--event-ttl`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Event;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::{Api, ResourceExt};
use springtide_client::Context;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// How long an event is kept after it last happened.
const KEPT: SignedDuration = SignedDuration::from_hours(1);
/// How often they are looked through.
const LOOK: Duration = Duration::from_secs(60);
/// Events read at a time: they are not cached, since nothing else here reads them.
const PAGE: u32 = 500;

/// The events that are to be forgotten at `now`.
fn expired(events: Vec<Event>, now: Timestamp) -> Vec<Event> {
    let is_old =
        |event: &Event| last_happened(event).is_some_and(|last| now.duration_since(last) > KEPT);
    events.into_iter().filter(is_old).collect()
}

/// The latest time that the event tells of itself.
fn last_happened(event: &Event) -> Option<Timestamp> {
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref());
    [
        event.last_timestamp.as_ref().map(|time| time.0),
        series.map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
        event.creation_timestamp().map(|time| time.0),
    ]
    .into_iter()
    .flatten()
    .max()
}

/// Looks through all events once a minute until `stop` is cancelled.
pub async fn run(context: Context, stop: CancellationToken) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = forget_expired(&context).await {
            tracing::warn!(%error, "old events could not be removed; the next look tries again");
        }
    }
}

async fn forget_expired(context: &Context) -> kube::Result<()> {
    let everywhere: Api<Event> = Api::all(context.client.clone());
    let mut page = ListParams::default().limit(PAGE);
    loop {
        let events = everywhere.list(&page).await?;
        let next = events.metadata.continue_.filter(|token| !token.is_empty());
        for event in expired(events.items, context.clock.now()) {
            let namespace = event.namespace().unwrap_or_default();
            let api: Api<Event> = Api::namespaced(context.client.clone(), &namespace);
            // One that happened again meanwhile stays.
            let unchanged = Preconditions {
                resource_version: event.resource_version(),
                uid: event.uid(),
            };
            let params = DeleteParams::default().preconditions(unchanged);
            match api.delete(&event.name_any(), &params).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
                Err(error) => return Err(error),
            }
        }
        match next {
            Some(token) => page.continue_token = Some(token),
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_event_is_forgotten_an_hour_after_it_last_happened() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let event = |name: &str, times: Value| {
            let mut event = json!({"metadata": {"name": name}, "involvedObject": {}});
            event
                .as_object_mut()
                .unwrap()
                .extend(times.as_object().unwrap().clone());
            serde_json::from_value::<Event>(event).unwrap()
        };
        let events = vec![
            event("old", json!({"lastTimestamp": "2026-01-01T10:59:59Z"})),
            event("young", json!({"lastTimestamp": "2026-01-01T11:00:00Z"})),
            event(
                "again",
                json!({"firstTimestamp": "2026-01-01T08:00:00Z", "lastTimestamp": "2026-01-01T11:30:00Z"}),
            ),
            event(
                "series",
                json!({"eventTime": "2026-01-01T08:00:00.000000Z",
                    "series": {"count": 5, "lastObservedTime": "2026-01-01T11:59:00.000000Z"}}),
            ),
            event("once", json!({"eventTime": "2026-01-01T08:00:00.000000Z"})),
            event("timeless", json!({})),
        ];
        let names: Vec<_> = expired(events, now)
            .iter()
            .map(ResourceExt::name_any)
            .collect();
        assert_eq!(names, ["old", "once"]);
    }
}
