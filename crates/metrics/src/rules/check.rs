use std::collections::{BTreeMap, BTreeSet};

use super::rule::RuleGroup;

/// A rule that is written more than once, so that one hides or contradicts the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duplicate {
    /// The alert's or the series' name.
    pub name: String,
    /// Their labels.
    pub labels: BTreeMap<String, String>,
}

/// Rules of the same name and labels in one file.
#[must_use]
pub fn duplicates(groups: &[RuleGroup]) -> Vec<Duplicate> {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for rule in groups.iter().flat_map(|group| &group.rules) {
        let duplicate = Duplicate {
            name: rule.name.clone(),
            labels: rule.labels.clone(),
        };
        if !seen.insert(duplicate.clone()) {
            twice.insert(duplicate);
        }
    }
    twice.into_iter().collect()
}
