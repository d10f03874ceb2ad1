//! Which replica answered, where answers say so in a header.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName};

/// So many replicas are told apart; the others count together, so that a header with a new value for each
/// answer cannot fill the memory.
const MOST: usize = 100;
/// A name is cut after so many characters.
const LONGEST: usize = 80;
/// The name of those that are not told apart.
const OTHERS: &str = "(others)";

/// Requests by the replica that answered them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaTally(BTreeMap<String, u64>);

// === impl ReplicaTally ===

impl ReplicaTally {
    /// Counts an answer, if it has the header.
    pub(super) fn count(&mut self, headers: &HeaderMap, header: &HeaderName) {
        if let Some(replica) = headers.get(header).and_then(|value| value.to_str().ok()) {
            self.count_one(replica);
        }
    }

    /// Counts an answer of this replica.
    pub(super) fn count_one(&mut self, replica: &str) {
        if let Some(count) = self.0.get_mut(replica) {
            *count += 1;
            return;
        }
        let short: String = replica.chars().take(LONGEST).collect();
        self.add(&short, 1);
    }

    /// Adds what was counted elsewhere or later.
    pub fn merge(&mut self, other: &Self) {
        for (replica, count) in &other.0 {
            self.add(replica, *count);
        }
    }

    fn add(&mut self, replica: &str, count: u64) {
        let name = if self.0.len() >= MOST && !self.0.contains_key(replica) {
            OTHERS
        } else {
            replica
        };
        *self.0.entry(name.to_owned()).or_default() += count;
    }

    /// Replicas by name, and how many requests each answered.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(name, count)| (name.as_str(), *count))
    }

    /// How many requests a replica answered.
    #[must_use]
    pub fn of(&self, replica: &str) -> u64 {
        self.0.get(replica).copied().unwrap_or(0)
    }

    /// True if no answer named a replica.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_replica_and_names_are_bounded() {
        let header = HeaderName::from_static("x-served-by");
        let mut tally = ReplicaTally::default();
        let answer = |name: &str| -> HeaderMap {
            [(header.clone(), name.parse().unwrap())]
                .into_iter()
                .collect()
        };
        tally.count(&HeaderMap::new(), &header);
        assert!(tally.is_empty());
        for name in ["one", "two", "one"] {
            tally.count(&answer(name), &header);
        }
        assert_eq!(tally.iter().collect::<Vec<_>>(), [("one", 2), ("two", 1)]);
        for number in 0..1000 {
            tally.count(&answer(&format!("{number:0200}")), &header);
        }
        assert!(tally.iter().count() <= MOST + 1);
        assert_eq!(tally.iter().map(|(_, count)| count).sum::<u64>(), 1003);
    }
}
