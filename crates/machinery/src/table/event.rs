//! Events, the newest of a series counting.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Column, NAME, age, column, wide};
use crate::members::{integer, text};

pub(crate) fn columns() -> Vec<Column> {
    vec![
        column(
            "Last Seen",
            "string",
            "The time at which the most recent occurrence of this event was recorded.",
        ),
        column("Type", "string", "Type of this event (Normal, Warning)."),
        column(
            "Reason",
            "string",
            "A short, machine understandable reason.",
        ),
        column("Object", "string", "The object that this event is about."),
        wide(
            "Subobject",
            "string",
            "A part of the object that this event is about.",
        ),
        wide("Source", "string", "The component reporting this event."),
        column(
            "Message",
            "string",
            "A human-readable description of the status.",
        ),
        wide(
            "First Seen",
            "string",
            "The time at which the event was first recorded.",
        ),
        wide(
            "Count",
            "string",
            "The number of times this event has occurred.",
        ),
        Column {
            priority: 1,
            ..NAME
        },
    ]
}

pub(crate) fn cells(event: &Value, now: Timestamp) -> Vec<Value> {
    let event_time = &event["eventTime"];
    let first = match &event["firstTimestamp"] {
        Value::Null => event_time,
        time => time,
    };
    let mut last = match &event["lastTimestamp"] {
        Value::Null => first,
        time => time,
    };
    let mut count = integer(event, "count").unwrap_or(0);
    if event["series"].is_object() {
        last = &event["series"]["lastObservedTime"];
        count = integer(&event["series"], "count").unwrap_or(0);
    } else if count == 0 {
        // A single event of the newer kind.
        count = 1;
    }
    let involved = &event["involvedObject"];
    let kind = text(involved, "kind").to_lowercase();
    let name = text(involved, "name");
    let object = if name.is_empty() {
        kind
    } else {
        format!("{kind}/{name}")
    };
    vec![
        json!(age::since(last, now)),
        json!(text(event, "type")),
        json!(text(event, "reason")),
        json!(object),
        json!(text(involved, "fieldPath")),
        json!(source(event)),
        json!(text(event, "message").trim()),
        json!(age::since(first, now)),
        json!(count),
        event["metadata"]["name"].clone(),
    ]
}

fn source(event: &Value) -> String {
    let (component, host) = match text(&event["source"], "component") {
        "" => (
            text(event, "reportingComponent"),
            text(event, "reportingInstance"),
        ),
        component => (component, text(&event["source"], "host")),
    };
    if host.is_empty() {
        component.to_owned()
    } else {
        format!("{component}, {host}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_shows_what_happened_to_whom() {
        let event = json!({
            "metadata": {"name": "e"}, "type": "Warning", "reason": "BackOff", "message": "again\n", "count": 4,
            "involvedObject": {"kind": "Pod", "name": "web", "fieldPath": "spec.containers{c}"},
            "source": {"component": "kubelet", "host": "n"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:50Z",
        });
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(
            cells(&event, now),
            [
                json!("10s"),
                json!("Warning"),
                json!("BackOff"),
                json!("pod/web"),
                json!("spec.containers{c}"),
                json!("kubelet, n"),
                json!("again"),
                json!("60s"),
                json!(4),
                json!("e")
            ]
        );
    }

    #[test]
    fn a_newer_event_is_told_by_its_series() {
        let event = json!({"metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000000Z",
            "reportingComponent": "c", "series": {"count": 3, "lastObservedTime": "2026-01-01T00:00:30.000000Z"}});
        let row = cells(&event, "2026-01-01T00:01:00Z".parse().unwrap());
        assert_eq!(row[0], "30s");
        assert_eq!(row[7], "60s");
        assert_eq!(row[8], 3);
        assert_eq!(row[5], "c");
    }
}
