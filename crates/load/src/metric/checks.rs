//! How often each check of each group passed.

use std::collections::HashMap;

use super::Tags;

/// So many checks are looked through one by one.
const FEW: usize = 16;

/// A check's counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckCount {
    /// The path of its group: `` for none, `::outer::inner` for one within another.
    pub group: String,
    /// Its name.
    pub name: String,
    /// How often it passed.
    pub passes: u64,
    /// How often it failed.
    pub fails: u64,
}

/// Groups and checks in the order in which they were first seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckTally {
    groups: Vec<String>,
    checks: Vec<CheckCount>,
    places: HashMap<(String, String), usize>,
}

// === impl CheckTally ===

impl CheckTally {
    /// Counts a check's result; its name and group are tags.
    pub(crate) fn count(&mut self, tags: &Tags, passed: bool) {
        let (Some(name), group) = (tags.get("check"), tags.get("group").unwrap_or_default()) else {
            return;
        };
        let place = self.place(group, name);
        let check = &mut self.checks[place];
        check.passes += u64::from(passed);
        check.fails += u64::from(!passed);
    }

    /// Notes that a group was there, even if nothing is checked in it.
    pub(super) fn see_group(&mut self, tags: &Tags) {
        if let Some(group) = tags.get("group") {
            self.add_group(group);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for group in &other.groups {
            self.add_group(group);
        }
        for check in &other.checks {
            let place = self.place(&check.group, &check.name);
            self.checks[place].passes += check.passes;
            self.checks[place].fails += check.fails;
        }
    }

    /// Paths of all groups, outer ones before those within them.
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Names and paths of the groups that stand directly in the group of this path.
    pub fn groups_in(&self, path: &str) -> impl Iterator<Item = (&str, &str)> {
        self.groups.iter().filter_map(move |inner| {
            let (outer, name) = inner.rsplit_once("::")?;
            (outer == path).then_some((name, inner.as_str()))
        })
    }

    /// All checks.
    #[must_use]
    pub fn checks(&self) -> &[CheckCount] {
        &self.checks
    }

    /// Checks by name, those of one name in several groups together, as k6's summary shows them. Their
    /// group is that of the first.
    #[must_use]
    pub fn by_name(&self) -> Vec<CheckCount> {
        let mut named: Vec<CheckCount> = Vec::new();
        for check in &self.checks {
            match named.iter_mut().find(|known| known.name == check.name) {
                Some(known) => {
                    known.passes += check.passes;
                    known.fails += check.fails;
                }
                None => named.push(check.clone()),
            }
        }
        named
    }

    fn place(&mut self, group: &str, name: &str) -> usize {
        // Looked up for every check of every iteration: a few are found faster one by one, without
        // the copies that a look into the map takes.
        let known = if self.checks.len() <= FEW {
            self.checks
                .iter()
                .position(|check| check.name == name && check.group == group)
        } else {
            let key = (group.to_owned(), name.to_owned());
            self.places.get(&key).copied()
        };
        known.unwrap_or_else(|| {
            self.add_group(group);
            let place = self.checks.len();
            self.places
                .insert((group.to_owned(), name.to_owned()), place);
            self.checks.push(CheckCount {
                group: group.to_owned(),
                name: name.to_owned(),
                passes: 0,
                fails: 0,
            });
            place
        })
    }

    fn add_group(&mut self, path: &str) {
        if path.is_empty() || self.groups.iter().any(|known| known == path) {
            return;
        }
        if let Some((outer, _)) = path.rsplit_once("::") {
            self.add_group(outer);
        }
        self.groups.push(path.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_counted_by_group_and_name_in_the_order_they_came() {
        let mut tally = CheckTally::default();
        let tags = |group: &str, check: &str| -> Tags {
            [("group", group), ("check", check)].into_iter().collect()
        };
        tally.count(&tags("::outer::inner", "ok"), true);
        tally.count(&tags("", "ok"), false);
        tally.count(&tags("", "ok"), true);
        let mut all = CheckTally::default();
        all.see_group(&tags("::other", ""));
        all.merge(&tally);
        all.merge(&tally);
        assert_eq!(all.groups(), ["::other", "::outer", "::outer::inner"]);
        let counts: Vec<_> = all
            .checks()
            .iter()
            .map(|check| (check.group.as_str(), check.passes, check.fails))
            .collect();
        assert_eq!(counts, [("::outer::inner", 2, 0), ("", 2, 2)]);
        let [together] = &all.by_name()[..] else {
            panic!("{:?}", all.by_name());
        };
        assert_eq!((together.passes, together.fails), (4, 2));
    }
}
