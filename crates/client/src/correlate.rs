//! Decides whether an event is new, a repetition, one of many similar ones, or too much.
//!
//! The rules and numbers are client-go's: identical events are counted; from
//! the tenth different message of one kind within ten minutes on they are
//! combined; an object may cause 25 events at once and then one in five minutes.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;

use crate::EventType;

/// Entries kept per table; the one not used for longest goes first.
const REMEMBERED: usize = 4096;
/// Different messages of one kind before they are combined.
const SIMILAR_BOUND: usize = 10;
/// Messages further apart than this are not similar.
const SIMILAR_WITHIN: SignedDuration = SignedDuration::from_secs(600);
/// Events an object may cause at once.
const BURST: f64 = 25.0;
/// Events an object may cause a second in the long run.
const REFILL_PER_SECOND: f64 = 1.0 / 300.0;

/// Something that happened to an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Occurrence {
    pub(crate) about: ObjectReference,
    pub(crate) kind: EventType,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) at: Timestamp,
}

/// What to tell the API about an occurrence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Telling {
    /// The Event object's name.
    pub(crate) name: String,
    pub(crate) message: String,
    pub(crate) count: i32,
    pub(crate) first: Timestamp,
}

/// The fields that tell objects apart, as one sortable string.
type AboutKey = String;
type SimilarKey = (AboutKey, EventType, String);
type SameKey = (SimilarKey, Option<String>);

#[derive(Debug)]
struct Similar {
    messages: BTreeSet<String>,
    last: Timestamp,
}

#[derive(Debug)]
struct Same {
    name: String,
    count: i32,
    first: Timestamp,
    last: Timestamp,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    last: Timestamp,
}

/// What was told so far.
#[derive(Debug, Default)]
pub(crate) struct Correlator {
    /// Added to the time in names, so that two components that tell of one object at one
    /// (simulated) instant do not choose one name.
    offset: SignedDuration,
    similar: BTreeMap<SimilarKey, Similar>,
    same: BTreeMap<SameKey, Same>,
    buckets: BTreeMap<AboutKey, Bucket>,
}

// === impl Correlator ===

impl Correlator {
    /// Nothing told so far by this component.
    pub(crate) fn new(component: &str) -> Self {
        let mixed = component
            .bytes()
            .fold(0_i64, |sum, byte| (sum * 31 + i64::from(byte)) % 1_000_000);
        Self {
            offset: SignedDuration::from_nanos(mixed),
            ..Self::default()
        }
    }

    /// The name client-go gives an Event: the object's, and the nanosecond in hexadecimal.
    pub(crate) fn event_name(&self, about: &ObjectReference, at: Timestamp) -> String {
        let object = about.name.as_deref().unwrap_or_default();
        let moment = at.checked_add(self.offset).unwrap_or(at);
        format!("{object}.{:x}", moment.as_nanosecond())
    }

    /// What to tell about an occurrence; `None` if its object causes too many.
    pub(crate) fn tell(&mut self, occurrence: &Occurrence) -> Option<Telling> {
        let about = about_key(&occurrence.about);
        let similar_key = (about.clone(), occurrence.kind, occurrence.reason.clone());
        let combined = self.is_one_of_many(&similar_key, occurrence);
        let (same_key, message) = if combined {
            (
                (similar_key, None),
                format!("(combined from similar events): {}", occurrence.message),
            )
        } else {
            (
                (similar_key, Some(occurrence.message.clone())),
                occurrence.message.clone(),
            )
        };
        let (name, count, first) = self.count(same_key, occurrence);
        self.spend(about, occurrence.at).then_some(Telling {
            name,
            message,
            count,
            first,
        })
    }

    fn is_one_of_many(&mut self, key: &SimilarKey, occurrence: &Occurrence) -> bool {
        let fresh = || Similar {
            messages: BTreeSet::new(),
            last: occurrence.at,
        };
        let similar = self.similar.entry(key.clone()).or_insert_with(fresh);
        if occurrence.at.duration_since(similar.last) > SIMILAR_WITHIN {
            similar.messages.clear();
        }
        similar.last = occurrence.at;
        similar.messages.insert(occurrence.message.clone());
        let many = similar.messages.len() >= SIMILAR_BOUND;
        if many {
            similar.messages.pop_first();
        }
        prune(&mut self.similar, |similar| similar.last);
        many
    }

    fn count(&mut self, key: SameKey, occurrence: &Occurrence) -> (String, i32, Timestamp) {
        let name = self.event_name(&occurrence.about, occurrence.at);
        let fresh = || Same {
            name,
            count: 0,
            first: occurrence.at,
            last: occurrence.at,
        };
        let same = self.same.entry(key).or_insert_with(fresh);
        same.count = same.count.saturating_add(1);
        same.last = occurrence.at;
        let told = (same.name.clone(), same.count, same.first);
        prune(&mut self.same, |same| same.last);
        told
    }

    fn spend(&mut self, about: AboutKey, now: Timestamp) -> bool {
        let bucket = self.buckets.entry(about).or_insert(Bucket {
            tokens: BURST,
            last: now,
        });
        let elapsed = now.duration_since(bucket.last).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + elapsed * REFILL_PER_SECOND).min(BURST);
        bucket.last = now;
        let enough = bucket.tokens >= 1.0;
        if enough {
            bucket.tokens -= 1.0;
        }
        prune(&mut self.buckets, |bucket| bucket.last);
        enough
    }
}

fn about_key(about: &ObjectReference) -> AboutKey {
    let part = |field: &Option<String>| field.clone().unwrap_or_default();
    [
        part(&about.namespace),
        part(&about.name),
        part(&about.kind),
        part(&about.uid),
        part(&about.api_version),
        part(&about.field_path),
    ]
    .join("\u{0}")
}

/// Drops the older half when a table has become too large, so that the cost is spread.
fn prune<K: Ord + Clone, V>(table: &mut BTreeMap<K, V>, last: impl Fn(&V) -> Timestamp) {
    if table.len() <= REMEMBERED {
        return;
    }
    let mut times: Vec<Timestamp> = table.values().map(&last).collect();
    times.sort_unstable();
    let median = times[times.len() / 2];
    table.retain(|_, value| last(value) >= median);
    while table.len() > REMEMBERED {
        table.pop_first();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).expect("a time in range")
    }

    fn occurrence(object: &str, message: &str, second: i64) -> Occurrence {
        let about = ObjectReference {
            name: Some(object.to_owned()),
            ..ObjectReference::default()
        };
        Occurrence {
            about,
            kind: EventType::Normal,
            reason: "Pulled".to_owned(),
            message: message.to_owned(),
            at: at(second),
        }
    }

    #[test]
    fn identical_events_are_counted_under_one_name() {
        let mut correlator = Correlator::default();
        let first = correlator
            .tell(&occurrence("web", "hello", 0))
            .expect("told");
        let again = correlator
            .tell(&occurrence("web", "hello", 60))
            .expect("told");
        assert_eq!((first.count, again.count), (1, 2));
        assert_eq!(first.name, again.name);
        assert_eq!(again.first, at(0));
        assert!(first.name.starts_with("web.17"), "{}", first.name);
    }

    #[test]
    fn from_the_tenth_message_on_similar_events_are_combined() {
        let mut correlator = Correlator::default();
        let told: Vec<Telling> = (0..12)
            .map(|n| {
                correlator
                    .tell(&occurrence("web", &format!("try {n}"), n))
                    .expect("told")
            })
            .collect();
        assert_eq!(told[8].message, "try 8");
        assert_eq!(told[9].message, "(combined from similar events): try 9");
        assert_eq!(told[11].message, "(combined from similar events): try 11");
        assert_eq!((told[9].count, told[11].count), (1, 3));
        assert_eq!(told[9].name, told[11].name);
    }

    #[test]
    fn messages_more_than_ten_minutes_apart_are_not_combined() {
        let mut correlator = Correlator::default();
        for n in 0..9 {
            correlator.tell(&occurrence("web", &format!("try {n}"), n));
        }
        let late = correlator
            .tell(&occurrence("web", "try 9", 700))
            .expect("told");
        assert_eq!(late.message, "try 9");
    }

    #[test]
    fn an_object_may_cause_25_events_at_once_and_then_one_in_five_minutes() {
        let mut correlator = Correlator::default();
        let told = (0..40)
            .filter(|_| correlator.tell(&occurrence("web", "hello", 0)).is_some())
            .count();
        assert_eq!(told, 25);
        assert!(correlator.tell(&occurrence("web", "hello", 299)).is_none());
        assert!(correlator.tell(&occurrence("web", "hello", 301)).is_some());
        assert!(correlator.tell(&occurrence("api", "hello", 1)).is_some());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut correlator = Correlator::default();
        for n in 0..10_000 {
            correlator.tell(&occurrence(&format!("pod-{n}"), "hello", n));
        }
        assert!(correlator.similar.len() <= REMEMBERED);
        assert!(correlator.same.len() <= REMEMBERED);
        assert!(correlator.buckets.len() <= REMEMBERED);
    }
}
