use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The labels of an alert, a route or a silence.
pub type LabelMap = BTreeMap<String, String>;

/// An alert as it is known. Its labels name it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// What names it.
    pub labels: LabelMap,
    /// What is said about it.
    pub annotations: LabelMap,
    /// Since when it fires.
    pub starts_at: Timestamp,
    /// When it was resolved, or will be unless it is sent again.
    pub ends_at: Timestamp,
    /// Where it comes from.
    #[serde(default, rename = "generatorURL")]
    pub generator_url: String,
    /// When it was last sent.
    pub updated_at: Timestamp,
    /// Whether the end was not said but comes from `resolve_timeout`.
    #[serde(default)]
    pub timeout: bool,
    /// Whether it has not been sent again since a restart: its rule may be gone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub awaited: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde hands a reference
fn is_false(flag: &bool) -> bool {
    !flag
}

/// An alert as it is sent to us.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PostedAlert {
    /// What names it.
    pub labels: LabelMap,
    /// What is said about it.
    #[serde(default)]
    pub annotations: LabelMap,
    /// Since when it fires; now, where not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// When it was resolved or will be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// Where it comes from.
    #[serde(default, rename = "generatorURL")]
    pub generator_url: String,
}

// === impl Alert ===

impl Alert {
    /// Whether it is resolved at a time.
    #[must_use]
    pub fn is_resolved(&self, now: Timestamp) -> bool {
        self.ends_at <= now
    }

    /// The alert's name; empty where it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.labels.get("alertname").map_or("", String::as_str)
    }

    /// Its short name in the API: a hash of the labels, sixteen hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.labels)
    }

    /// What it becomes when it is sent again: the end of the newer counts, the start of the older.
    #[must_use]
    pub fn merged_with(&self, newer: Alert) -> Alert {
        // Two that do not overlap are two alerts, of which the newer counts.
        let overlap = newer.starts_at <= self.ends_at && newer.ends_at >= self.starts_at;
        if !overlap || newer.updated_at < self.updated_at {
            return newer;
        }
        let mut merged = newer;
        merged.starts_at = merged.starts_at.min(self.starts_at);
        if merged.timeout && !self.timeout && self.ends_at > merged.ends_at {
            merged.ends_at = self.ends_at;
        }
        merged
    }
}

// === impl PostedAlert ===

impl PostedAlert {
    /// The alert it is at a time.
    ///
    /// # Errors
    /// Where it has no labels, a label no name, or it ends before it starts.
    pub fn accept(
        self,
        now: Timestamp,
        resolve_timeout: jiff::SignedDuration,
    ) -> Result<Alert, String> {
        let labels: LabelMap = self
            .labels
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        if labels.is_empty() {
            return Err("at least one label pair required".to_owned());
        }
        if labels.keys().any(String::is_empty) {
            return Err("invalid label set: a label name is empty".to_owned());
        }
        let set = |time: Option<Timestamp>| time.filter(|time| time.as_second() > -62_135_596_800);
        let (starts_at, ends_at) = (set(self.starts_at), set(self.ends_at));
        let timeout = ends_at.is_none();
        let starts_at = starts_at.unwrap_or_else(|| ends_at.map_or(now, |end| end.min(now)));
        let ends_at = ends_at.unwrap_or_else(|| {
            now.saturating_add(resolve_timeout)
                .unwrap_or(Timestamp::MAX)
        });
        if ends_at < starts_at {
            return Err("start time must be before end time".to_owned());
        }
        Ok(Alert {
            labels,
            annotations: self.annotations,
            starts_at,
            ends_at,
            generator_url: self.generator_url,
            updated_at: now,
            timeout,
            awaited: false,
        })
    }
}

/// A hash of labels: FNV-1a over names and values, each ended by a byte that no text has.
#[must_use]
pub fn fingerprint(labels: &LabelMap) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |text: &str| {
        for byte in text.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    };
    for (name, value) in labels {
        add(name);
        add(value);
    }
    format!("{hash:016x}")
}

/// Labels as Prometheus prints them: `{a="1", b="2"}`.
#[must_use]
pub(super) fn label_text(labels: &LabelMap) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| format!("{name}={}", crate::series_store::quote(value)))
        .collect();
    format!("{{{}}}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn posted(start: Option<i64>, end: Option<i64>, now: i64) -> Result<Alert, String> {
        PostedAlert {
            labels: LabelMap::from([("alertname".to_owned(), "A".to_owned())]),
            starts_at: start.map(at),
            ends_at: end.map(at),
            ..PostedAlert::default()
        }
        .accept(at(now), jiff::SignedDuration::from_secs(300))
    }

    #[test]
    fn an_alert_without_times_starts_now_and_ends_after_the_resolve_timeout() {
        let alert = posted(None, None, 1000).expect("valid");
        assert_eq!(
            (alert.starts_at, alert.ends_at, alert.timeout),
            (at(1000), at(1300), true)
        );
        assert!(posted(Some(10), Some(5), 20).is_err());
        assert!(
            PostedAlert::default()
                .accept(at(0), jiff::SignedDuration::ZERO)
                .is_err()
        );
    }

    #[test]
    fn an_alert_sent_again_keeps_its_start_and_takes_the_new_end() {
        let first = posted(Some(100), Some(400), 200).expect("valid");
        let again = posted(Some(150), Some(300), 300).expect("valid");
        let merged = first.merged_with(again);
        assert_eq!((merged.starts_at, merged.ends_at), (at(100), at(300)));
        let later = posted(Some(1000), Some(1100), 1000).expect("valid");
        assert_eq!(merged.merged_with(later).starts_at, at(1000));
    }
}
