use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::alert::LabelMap;
use super::matcher::{AlertMatcher, accepts_all};

/// A silence as the API and the store write it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PostedSilence {
    /// Its name; a new one is given where empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// All must hold of an alert.
    pub matchers: Vec<PostedMatcher>,
    /// From when it silences.
    pub starts_at: Timestamp,
    /// Until when.
    pub ends_at: Timestamp,
    /// Who made it.
    #[serde(default)]
    pub created_by: String,
    /// Why.
    #[serde(default)]
    pub comment: String,
}

/// A matcher as the API writes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PostedMatcher {
    /// The label's name.
    pub name: String,
    /// The value or pattern.
    pub value: String,
    /// Whether the value is a pattern.
    pub is_regex: bool,
    /// Whether the label must be as said.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

/// Alerts that satisfy all its matchers are not notified about while it holds.
#[derive(Debug, Clone)]
pub struct Silence {
    /// Its name.
    pub id: String,
    /// All must hold of an alert.
    pub matchers: Vec<AlertMatcher>,
    /// From when it silences.
    pub starts_at: Timestamp,
    /// Until when.
    pub ends_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

/// How a silence stands to a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SilenceState {
    /// It holds.
    Active,
    /// It will.
    Pending,
    /// It did.
    Expired,
}

// === impl SilenceState ===

impl SilenceState {
    /// The state's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SilenceState::Active => "active",
            SilenceState::Pending => "pending",
            SilenceState::Expired => "expired",
        }
    }
}

// === impl Silence ===

impl Silence {
    /// Reads a silence.
    ///
    /// # Errors
    /// Where it has no matcher, only matchers that all alerts satisfy, or no length.
    pub fn read(posted: PostedSilence, id: String, now: Timestamp) -> Result<Silence, String> {
        let mut matchers = Vec::with_capacity(posted.matchers.len());
        for matcher in &posted.matchers {
            let operator = match (matcher.is_equal, matcher.is_regex) {
                (true, false) => "=",
                (false, false) => "!=",
                (true, true) => "=~",
                (false, true) => "!~",
            };
            matchers.push(AlertMatcher::new(&matcher.name, operator, &matcher.value)?);
        }
        if matchers.is_empty() {
            return Err("invalid silence: at least one matcher required".to_owned());
        }
        if accepts_all(&matchers, &LabelMap::new()) {
            return Err(
                "invalid silence: at least one matcher must not match the empty string".to_owned(),
            );
        }
        if posted.ends_at < posted.starts_at {
            return Err("invalid silence: end time must not be before start time".to_owned());
        }
        Ok(Silence {
            id,
            matchers,
            starts_at: to_millisecond(posted.starts_at),
            ends_at: to_millisecond(posted.ends_at),
            updated_at: now,
            created_by: posted.created_by,
            comment: posted.comment,
        })
    }

    /// How it stands to a time.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> SilenceState {
        if now < self.starts_at {
            SilenceState::Pending
        } else if now >= self.ends_at {
            SilenceState::Expired
        } else {
            SilenceState::Active
        }
    }

    /// Whether it silences an alert of these labels at a time.
    #[must_use]
    pub fn silences(&self, labels: &LabelMap, now: Timestamp) -> bool {
        self.state(now) == SilenceState::Active && accepts_all(&self.matchers, labels)
    }

    /// As the API writes it.
    #[must_use]
    pub fn posted(&self) -> PostedSilence {
        PostedSilence {
            id: self.id.clone(),
            matchers: self
                .matchers
                .iter()
                .map(|matcher| PostedMatcher {
                    name: matcher.name().to_owned(),
                    value: matcher.value().to_owned(),
                    is_regex: matcher.is_regex(),
                    is_equal: matcher.is_equal(),
                })
                .collect(),
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            created_by: self.created_by.clone(),
            comment: self.comment.clone(),
        }
    }

    /// Whether a changed silence is still this one: its matchers stay, and its start stays once it holds.
    #[must_use]
    pub fn can_become(&self, changed: &Silence, now: Timestamp) -> bool {
        let same_start = self.starts_at == changed.starts_at;
        let in_time = match self.state(now) {
            SilenceState::Active => same_start && changed.ends_at >= now,
            SilenceState::Pending => changed.starts_at >= now,
            SilenceState::Expired => false,
        };
        self.matchers == changed.matchers && in_time
    }
}

/// A time as the API shows it, so that a silence that comes back from a client has not changed.
pub(super) fn to_millisecond(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}
