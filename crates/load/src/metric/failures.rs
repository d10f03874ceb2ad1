//! Failed requests by kind: what the answer was, or why there was none.

use std::collections::BTreeMap;
use std::fmt;

use super::Tags;

/// In which way a request failed. It is made of k6's tags `status` and `error_code`, so there are only a few.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailureKind {
    /// The answer's status; 0 where there was no answer.
    pub status: u16,
    /// k6's number for the error, such as 1212 for a refused connection; 0 where there is none.
    pub error_code: u16,
}

/// How many requests failed in which way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureTally(BTreeMap<FailureKind, u64>);

// === impl FailureKind ===

impl FailureKind {
    fn of(tags: &Tags) -> Self {
        let number = |name| {
            tags.get(name)
                .and_then(|text| text.parse().ok())
                .unwrap_or(0)
        };
        Self {
            status: number("status"),
            error_code: number("error_code"),
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, error_code } = *self;
        // Without the tag `status` the number of the error still says it.
        let status = match error_code {
            1400..=1599 if status == 0 => error_code - 1000,
            _ => status,
        };
        let why = match error_code {
            1050 => "timeout",
            1100 => "name lookup failed",
            1101 => "no such host",
            1110 | 1111 => "address is blocked",
            1201 => "broken pipe",
            1210 | 1213 => "connection failed",
            1211 => "connection timeout",
            1212 => "connection refused",
            1220 => "connection reset",
            1310 => "certificate of an unknown authority",
            1311 => "certificate of another host",
            1200..=1299 => "TCP error",
            1300..=1399 => "TLS error",
            1600..=1699 => "HTTP/2 error",
            1701 => "answer cannot be decompressed",
            1020 => "invalid URL",
            _ => "",
        };
        let reason = http::StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason());
        match (why, status, reason) {
            ("", 0, _) if error_code == 0 => formatter.write_str("failed"),
            ("", 0, _) => formatter.write_str("no answer"),
            ("", 100..400, Some(reason)) => write!(formatter, "unexpected {status} {reason}"),
            ("", status, Some(reason)) => write!(formatter, "{status} {reason}"),
            ("", status, None) => write!(formatter, "status {status}"),
            (why, _, _) => formatter.write_str(why),
        }
    }
}

// === impl FailureTally ===

impl FailureTally {
    /// Counts a failed request.
    pub(super) fn count(&mut self, tags: &Tags) {
        *self.0.entry(FailureKind::of(tags)).or_default() += 1;
    }

    /// Adds what was counted elsewhere or later.
    pub fn merge(&mut self, other: &Self) {
        for (kind, count) in &other.0 {
            *self.0.entry(*kind).or_default() += count;
        }
    }

    /// Kinds and how often each was seen.
    pub fn iter(&self) -> impl Iterator<Item = (FailureKind, u64)> {
        self.0.iter().map(|(kind, count)| (*kind, *count))
    }

    /// How often a kind was seen.
    #[must_use]
    pub fn of(&self, kind: FailureKind) -> u64 {
        self.0.get(&kind).copied().unwrap_or(0)
    }

    /// True if nothing failed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_says_what_happened() {
        for (status, code, words) in [
            ("503", "1503", "503 Service Unavailable"),
            ("", "1404", "404 Not Found"),
            ("200", "", "unexpected 200 OK"),
            ("0", "1212", "connection refused"),
            ("0", "1050", "timeout"),
            ("0", "1000", "no answer"),
            ("0", "1399", "TLS error"),
            ("599", "1599", "status 599"),
            ("200", "1701", "answer cannot be decompressed"),
            ("", "", "failed"),
        ] {
            let tags: Tags = [("status", status), ("error_code", code)]
                .into_iter()
                .collect();
            assert_eq!(FailureKind::of(&tags).to_string(), words, "{status} {code}");
        }
    }

    #[test]
    fn tallies_add_up() {
        let refused: Tags = [("status", "0"), ("error_code", "1212")]
            .into_iter()
            .collect();
        let mut one = FailureTally::default();
        one.count(&refused);
        let mut all = one.clone();
        all.merge(&one);
        assert_eq!(all.iter().map(|(_, count)| count).collect::<Vec<_>>(), [2]);
    }
}
