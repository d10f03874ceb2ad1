//! Results by scenario and by group, as the full summary shows them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::metric::{CheckTally, Measured, Metric, MetricId, Sample};

/// The scenario of a test that names none: its groups stand beside the scenarios, as in k6.
const UNNAMED: &str = "default";

/// Adds up samples by the scenario and the group that their tags name.
#[derive(Clone, Debug, Default)]
pub struct Breakdown {
    /// Groups outside of named scenarios, in the order in which they were first seen.
    pub groups: Vec<(String, Scope)>,
    /// Scenarios by name.
    pub scenarios: BTreeMap<String, Scope>,
}

/// What the samples of one scenario or one group came to.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    metrics: BTreeMap<MetricId, (Arc<Metric>, Measured)>,
    /// Checks made in it.
    pub checks: CheckTally,
    /// Groups within, in the order in which they were first seen. Their samples are not in its own
    /// metrics if it is a group, and are if it is a scenario.
    pub groups: Vec<(String, Scope)>,
}

// === impl Breakdown ===

impl Breakdown {
    /// Adds samples to their scenario and to their group.
    pub fn add(&mut self, samples: &[Sample]) {
        for sample in samples {
            let scenario = sample.tags.get("scenario");
            let groups = match scenario.filter(|name| *name != UNNAMED) {
                None => &mut self.groups,
                Some(name) => {
                    let scenario = self.scenarios.entry(name.to_owned()).or_default();
                    scenario.add(sample);
                    &mut scenario.groups
                }
            };
            let path = sample.tags.get("group").unwrap_or_default();
            // k6 leaves out what stands in these two stages and in no group of theirs.
            if path.is_empty() || path == "::setup" || path == "::teardown" {
                continue;
            }
            if let Some(group) = group_at(groups, path.trim_start_matches("::")) {
                group.add(sample);
            }
        }
    }
}

/// The group of this path (`outer::inner`), made where it was not there.
fn group_at<'groups>(
    mut groups: &'groups mut Vec<(String, Scope)>,
    path: &str,
) -> Option<&'groups mut Scope> {
    let mut names = path.split("::").peekable();
    while let Some(name) = names.next() {
        let known = groups.iter().position(|(known, _)| known == name);
        let place = known.unwrap_or_else(|| {
            groups.push((name.to_owned(), Scope::default()));
            groups.len() - 1
        });
        let group = &mut groups[place].1;
        if names.peek().is_none() {
            return Some(group);
        }
        groups = &mut group.groups;
    }
    None
}

// === impl Scope ===

impl Scope {
    fn add(&mut self, sample: &Sample) {
        let Sample {
            metric,
            value,
            tags,
            time,
            ..
        } = sample;
        if &*metric.name == "checks" {
            self.checks.count(tags, *value != 0.0);
        }
        let measured = match self.metrics.entry(metric.id) {
            Entry::Occupied(known) => &mut known.into_mut().1,
            Entry::Vacant(place) => {
                let first = Measured::beginning(metric.kind, *value, *time);
                &mut place.insert((Arc::clone(metric), first)).1
            }
        };
        measured.add(*value, *time);
    }

    /// What was measured in it.
    pub fn metrics(&self) -> impl Iterator<Item = (&Metric, &Measured)> {
        self.metrics
            .values()
            .map(|(metric, measured)| (&**metric, measured))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::metric::{MetricRegistry, Tags};

    fn sample(metric: &Arc<Metric>, value: f64, tags: &[(&str, &str)]) -> Sample {
        Sample {
            metric: Arc::clone(metric),
            value,
            tags: tags.iter().copied().collect::<Tags>(),
            metadata: None,
            time: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_scenario_holds_what_its_groups_hold_and_a_group_only_its_own() {
        let registry = MetricRegistry::default();
        let metrics = registry.builtin();
        let mut breakdown = Breakdown::default();
        breakdown.add(&[
            sample(
                &metrics.iterations,
                1.0,
                &[("scenario", "a"), ("group", "")],
            ),
            sample(
                &metrics.http_reqs,
                2.0,
                &[("scenario", "a"), ("group", "::outer::inner")],
            ),
            sample(
                &metrics.http_reqs,
                4.0,
                &[("scenario", "a"), ("group", "::outer")],
            ),
            sample(
                &metrics.http_reqs,
                8.0,
                &[("scenario", "default"), ("group", "::other")],
            ),
            sample(&metrics.http_reqs, 16.0, &[("group", "::setup")]),
        ]);
        let sums = |scope: &Scope| -> Vec<(String, Measured)> {
            scope
                .metrics()
                .map(|(metric, measured)| (metric.name.to_string(), measured.clone()))
                .collect()
        };
        let counter = |name: &str, sum: f64| (name.to_owned(), Measured::Counter { sum });
        let scenario = &breakdown.scenarios["a"];
        let mut whole = sums(scenario);
        whole.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(
            whole,
            [counter("http_reqs", 6.0), counter("iterations", 1.0)]
        );
        let [(name, outer)] = &scenario.groups[..] else {
            panic!("{:?}", scenario.groups);
        };
        assert_eq!(
            (name.as_str(), sums(outer)),
            ("outer", vec![counter("http_reqs", 4.0)])
        );
        assert_eq!(sums(&outer.groups[0].1), [counter("http_reqs", 2.0)]);
        let [(name, other)] = &breakdown.groups[..] else {
            panic!("{:?}", breakdown.groups);
        };
        assert_eq!(
            (name.as_str(), sums(other)),
            ("other", vec![counter("http_reqs", 8.0)])
        );
        assert_eq!(breakdown.scenarios.len(), 1);
    }
}
