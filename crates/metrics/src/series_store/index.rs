use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;

use crate::tsdb::Cardinality;

use super::postings::{Postings, Wanted, select};
use super::{Labels, METRIC_NAME, Matcher};

/// A series' number in its store.
pub(crate) type SeriesNumber = u32;

/// Which series have which label value.
#[derive(Debug, Default)]
pub(crate) struct LabelIndex {
    /// Per label name and value the series, in ascending order.
    postings: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Vec<SeriesNumber>>>,
    /// All series, in ascending order.
    all: Vec<SeriesNumber>,
    next: SeriesNumber,
}

impl LabelIndex {
    /// Adds a series, with the number after that of the series before; its labels share the index' texts.
    pub(crate) fn add(&mut self, labels: &Labels) -> (SeriesNumber, Labels) {
        let number = self.next;
        (number, self.add_numbered(labels, number))
    }

    /// Adds a series with a number that no other has.
    pub(crate) fn add_numbered(&mut self, labels: &Labels, number: SeriesNumber) -> Labels {
        self.next = self.next.max(number.saturating_add(1));
        insert_sorted(&mut self.all, number);
        let mut shared = Vec::with_capacity(labels.len());
        for (name, value) in labels.pairs() {
            let name = match self.postings.get_key_value(name) {
                Some((known, _)) => Arc::clone(known),
                None => Arc::clone(name),
            };
            let values = self.postings.entry(Arc::clone(&name)).or_default();
            let value = match values.get_key_value(value) {
                Some((known, _)) => Arc::clone(known),
                None => Arc::clone(value),
            };
            insert_sorted(values.entry(Arc::clone(&value)).or_default(), number);
            shared.push((name, value));
        }
        Labels::new(shared)
    }

    /// Takes series away. Their numbers are not given again.
    pub(crate) fn remove<'l>(&mut self, gone: impl Iterator<Item = (SeriesNumber, &'l Labels)>) {
        let mut numbers = HashSet::new();
        let mut pairs = HashSet::new();
        for (number, labels) in gone {
            numbers.insert(number);
            pairs.extend(labels.pairs());
        }
        self.all.retain(|number| !numbers.contains(number));
        for (name, value) in pairs {
            let Some(values) = self.postings.get_mut(name) else {
                continue;
            };
            if let Some(having) = values.get_mut(value) {
                having.retain(|number| !numbers.contains(number));
                if having.is_empty() {
                    values.remove(value);
                }
            }
            if values.is_empty() {
                self.postings.remove(name);
            }
        }
    }

    /// How many pairs of name and value there are.
    pub(crate) fn pair_count(&self) -> usize {
        self.postings.values().map(BTreeMap::len).sum()
    }

    /// Which names and values have the most series.
    pub(crate) fn cardinality(&self, most: usize) -> Cardinality {
        let metrics = self.postings.get(METRIC_NAME).into_iter().flatten();
        let bytes = |values: &BTreeMap<Arc<str>, Vec<SeriesNumber>>| {
            let of_value = |(value, having): (&Arc<str>, &Vec<_>)| value.len() * having.len();
            values.iter().map(of_value).sum::<usize>() as u64
        };
        let pairs = self.postings.iter().flat_map(|(name, values)| {
            let pair = move |(value, having): (&Arc<str>, &Vec<_>)| {
                (format!("{name}={value}"), having.len() as u64)
            };
            values.iter().map(pair)
        });
        let labels = || self.postings.iter();
        Cardinality {
            series_by_metric: greatest(
                metrics.map(|(value, having)| (value.to_string(), having.len() as u64)),
                most,
            ),
            values_by_label: greatest(
                labels().map(|(name, values)| (name.to_string(), values.len() as u64)),
                most,
            ),
            bytes_by_label: greatest(
                labels().map(|(name, values)| (name.to_string(), bytes(values))),
                most,
            ),
            series_by_pair: greatest(pairs, most),
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.postings.keys().map(|name| &**name)
    }

    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.postings
            .get(name)
            .into_iter()
            .flat_map(|values| values.keys().map(|value| &**value))
    }

    /// The series that satisfy all matchers, in ascending order of number.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Vec<SeriesNumber> {
        select(self, matchers).unwrap_or_else(|never| match never {})
    }
}

impl Postings for LabelIndex {
    type Error = Infallible;

    fn all(&self) -> Result<Cow<'_, [SeriesNumber]>, Infallible> {
        Ok(Cow::Borrowed(&self.all))
    }

    fn lists(
        &self,
        name: &str,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Cow<'_, [SeriesNumber]>>, Infallible> {
        let Some(values) = self.postings.get(name) else {
            return Ok(Vec::new());
        };
        let lists: Vec<&Vec<SeriesNumber>> = match wanted {
            Wanted::Values(wanted) => {
                let having = wanted.iter().filter_map(|value| values.get(&**value));
                having.collect()
            }
            Wanted::Accepted(accepts) => {
                let accepted = values.iter().filter(|(value, _)| accepts(value));
                accepted.map(|(_, having)| having).collect()
            }
        };
        Ok(lists
            .into_iter()
            .map(|list| Cow::Borrowed(&**list))
            .collect())
    }
}

fn insert_sorted(numbers: &mut Vec<SeriesNumber>, number: SeriesNumber) {
    if numbers.last().is_none_or(|last| *last < number) {
        numbers.push(number);
    } else if let Err(at) = numbers.binary_search(&number) {
        numbers.insert(at, number);
    }
}

/// The entries with the greatest counts, greatest first, then by name.
fn greatest(entries: impl Iterator<Item = (String, u64)>, most: usize) -> Vec<(String, u64)> {
    let mut entries: Vec<(String, u64)> = entries.collect();
    entries.sort_unstable_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    entries.truncate(most);
    entries
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_matcher() -> impl Strategy<Value = Matcher> {
        let value = prop_oneof![
            Just(""),
            Just("x"),
            Just("y"),
            Just("x|y"),
            Just(".+"),
            Just("x?"),
            Just(".*")
        ];
        (prop_oneof![Just("a"), Just("b"), Just("c")], value, 0..4).prop_map(
            |(name, value, kind)| match kind {
                0 => Matcher::equal(name, value),
                1 => Matcher::not_equal(name, value),
                2 => Matcher::matching(name, value).expect("valid"),
                _ => Matcher::not_matching(name, value).expect("valid"),
            },
        )
    }

    proptest! {
        #[test]
        fn the_index_answers_as_a_walk_over_all_series_does(
            series in prop::collection::vec(("[xyz]?", "[xy]?", "x?|x\\|y"), 0..12),
            matchers in prop::collection::vec(any_matcher(), 0..4),
        ) {
            let mut index = LabelIndex::default();
            let mut all = Vec::new();
            for (a, b, c) in series {
                let labels = Labels::new([("a", a.as_str()), ("b", b.as_str()), ("c", c.as_str())]);
                let (_, shared) = index.add(&labels);
                prop_assert_eq!(&shared, &labels);
                all.push(labels);
            }
            let expected: Vec<SeriesNumber> = (0..all.len())
                .filter(|at| matchers.iter().all(|matcher| matcher.accepts_series(&all[*at])))
                .map(|at| at as SeriesNumber)
                .collect();
            prop_assert_eq!(index.select(&matchers), expected);
        }
    }
}
