use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::alert::{Alert, LabelMap};
use super::config::Inhibition;
use super::matcher::{AlertMatcher, accepts_all};

/// A node of the tree that says who is told of which alerts.
#[derive(Debug, Clone)]
pub struct Route {
    /// Who is told.
    pub receiver: String,
    /// Which alerts are told together.
    pub group_by: GroupBy,
    /// Whether the routes after it are tried too.
    pub goes_on: bool,
    /// All must hold of an alert.
    pub matchers: Vec<AlertMatcher>,
    /// How long a new group waits for more alerts.
    pub group_wait: Duration,
    /// From one message on a group to the next.
    pub group_interval: Duration,
    /// When a message on a group without news is repeated.
    pub repeat_interval: Duration,
    /// Named times in which nothing is told.
    pub mute_times: Vec<String>,
    /// Named times in which alone something is told.
    pub active_times: Vec<String>,
    /// What names it over restarts: its matchers and those above it.
    pub key: String,
    /// Its children, in their order.
    pub routes: Vec<Arc<Route>>,
}

/// Which alerts are told together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupBy {
    /// Every alert by itself: `...`.
    All,
    /// Those that have these labels alike.
    Labels(BTreeSet<String>),
}

// === impl GroupBy ===

impl GroupBy {
    pub(super) fn read(names: &[String]) -> Result<GroupBy, String> {
        if names.iter().any(|name| name == "...") {
            return if names.len() == 1 {
                Ok(GroupBy::All)
            } else {
                Err(
                    "cannot have wildcard group_by (`...`) and other labels at the same time"
                        .to_owned(),
                )
            };
        }
        let mut labels = BTreeSet::new();
        for name in names {
            if !labels.insert(name.clone()) {
                return Err(format!("duplicated label {name:?} in group_by"));
            }
        }
        Ok(GroupBy::Labels(labels))
    }

    /// The labels that name an alert's group.
    #[must_use]
    pub fn group_labels(&self, labels: &LabelMap) -> LabelMap {
        match self {
            GroupBy::All => labels.clone(),
            GroupBy::Labels(names) => {
                let chosen = labels.iter().filter(|(name, _)| names.contains(*name));
                chosen
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect()
            }
        }
    }
}

// === impl Route ===

impl Route {
    /// The routes that an alert takes: the deepest that match, the first of each level unless it goes on.
    #[must_use]
    pub fn taken_by(self: &Arc<Route>, labels: &LabelMap) -> Vec<Arc<Route>> {
        if !accepts_all(&self.matchers, labels) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        for child in &self.routes {
            let of_child = child.taken_by(labels);
            let matched = !of_child.is_empty();
            taken.extend(of_child);
            if matched && !child.goes_on {
                break;
            }
        }
        if taken.is_empty() {
            taken.push(self.clone());
        }
        taken
    }

    /// Gives it another key, and those below it theirs.
    pub(super) fn rename(&mut self, key: &str) {
        for child in &mut self.routes {
            let below = child.key[self.key.len()..].to_owned();
            Arc::make_mut(child).rename(&format!("{key}{below}"));
        }
        key.clone_into(&mut self.key);
    }
}

/// The alerts that mute an alert, by fingerprint; none where it is not muted.
#[must_use]
pub(super) fn inhibited_by<'a>(
    rules: &[Inhibition],
    labels: &LabelMap,
    firing: &(impl Iterator<Item = &'a Alert> + Clone),
) -> Vec<String> {
    let mut by = BTreeSet::new();
    for rule in rules {
        if !accepts_all(&rule.target, labels) {
            continue;
        }
        // An alert that is both source and target does not mute its like.
        let both = accepts_all(&rule.source, labels);
        let same = |source: &Alert, name: &String| {
            source.labels.get(name).map_or("", String::as_str)
                == labels.get(name).map_or("", String::as_str)
        };
        let source = firing.clone().find(|source| {
            accepts_all(&rule.source, &source.labels)
                && rule.equal.iter().all(|name| same(source, name))
                && !(both && accepts_all(&rule.target, &source.labels))
        });
        by.extend(source.map(Alert::fingerprint));
    }
    by.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::config::AlertingConfiguration;
    use super::*;

    fn labels(text: &str) -> LabelMap {
        let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn configuration() -> AlertingConfiguration {
        let text = r#"
route:
  receiver: r
  routes:
  - {matchers: [a=1], receiver: x, continue: true}
  - matchers: [a=1]
    receiver: y
    routes: [{matchers: [b=1], receiver: yb}, {matchers: [b=~".+"], receiver: yc}]
  - {matchers: [a=~".*"], receiver: z}
receivers: [{name: r}, {name: x}, {name: y}, {name: yb}, {name: yc}, {name: z}]
inhibit_rules:
- {source_matchers: [severity=critical], target_matchers: [severity=~"warning|critical"], equal: [job]}
"#;
        AlertingConfiguration::parse("f", text, std::path::Path::new("")).expect("valid")
    }

    #[test]
    fn an_alert_takes_the_deepest_routes_and_goes_on_where_they_say() {
        let root = configuration().route;
        for (alert, expected) in [
            ("a=1", vec!["x", "y"]),
            ("a=1,b=1", vec!["x", "yb"]),
            ("a=1,b=2", vec!["x", "yc"]),
            ("a=2", vec!["z"]),
            ("c=1", vec!["z"]),
        ] {
            let taken = root.taken_by(&labels(alert));
            let receivers: Vec<&str> = taken.iter().map(|route| route.receiver.as_str()).collect();
            assert_eq!(receivers, expected, "{alert}");
        }
    }

    #[test]
    fn a_source_mutes_targets_with_the_same_labels_but_not_its_like() {
        let rules = configuration().inhibitions;
        let time = jiff::Timestamp::UNIX_EPOCH;
        let source = Alert {
            labels: labels("severity=critical,job=a"),
            annotations: LabelMap::new(),
            starts_at: time,
            ends_at: time,
            generator_url: String::new(),
            updated_at: time,
            timeout: false,
            awaited: false,
        };
        let firing = [source];
        for (target, muted) in [
            ("severity=warning,job=a", true),
            ("severity=warning,job=b", false),
            ("severity=info,job=a", false),
            ("severity=critical,job=a,x=y", false),
        ] {
            let by = inhibited_by(&rules, &labels(target), &firing.iter());
            assert_eq!(!by.is_empty(), muted, "{target}");
        }
    }
}
