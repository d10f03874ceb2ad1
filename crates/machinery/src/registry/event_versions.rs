//! events.k8s.io/v1 beside core/v1: the same stored events under other field names.

use serde_json::{Map, Value};

use super::resource::Conversion;

pub(super) const EVENTS_V1: Conversion = Conversion {
    to_storage: |event| rename(event, |(new, core)| (new, core)),
    from_storage: |event| rename(event, |(new, core)| (core, new)),
};

/// The name in events.k8s.io/v1 and the one in core/v1.
const NAMES: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

type Pair = (&'static str, &'static str);

fn rename(event: Value, direction: fn(Pair) -> Pair) -> Value {
    let Value::Object(members) = event else {
        return event;
    };
    let mut renamed = Map::new();
    for (name, value) in members {
        let target = NAMES
            .iter()
            .map(|pair| direction(*pair))
            .find(|(from, _)| *from == name)
            .map(|(_, to)| to.to_owned());
        renamed.insert(target.unwrap_or(name), value);
    }
    Value::Object(renamed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_survives_the_way_through_the_other_version() {
        let core = json!({
            "metadata": {"name": "a"}, "involvedObject": {"kind": "Pod"}, "message": "m",
            "source": {"component": "kubelet"}, "count": 2, "firstTimestamp": "t", "lastTimestamp": "u",
            "type": "Normal", "reason": "Started", "reportingComponent": "kubelet",
        });
        let newer = (EVENTS_V1.from_storage)(core.clone());
        assert_eq!(newer["regarding"]["kind"], "Pod");
        assert_eq!(newer["note"], "m");
        assert_eq!(newer["deprecatedCount"], 2);
        assert_eq!((EVENTS_V1.to_storage)(newer), core);
    }
}
