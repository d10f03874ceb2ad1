//! Which series satisfy matchers, answered from lists of series per label value.

use std::borrow::Cow;

use super::index::SeriesNumber;
use super::{MatchKind, Matcher};

/// Lists of series per label name and value, in memory or on disk.
pub(crate) trait Postings {
    /// Why a list cannot be read.
    type Error;

    /// All series, in ascending order.
    fn all(&self) -> Result<Cow<'_, [SeriesNumber]>, Self::Error>;

    /// For each of a label's values that is wanted the series that have it, in ascending order.
    fn lists(
        &self,
        name: &str,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Cow<'_, [SeriesNumber]>>, Self::Error>;
}

/// Which values of a label are meant.
#[derive(Clone, Copy)]
pub(crate) enum Wanted<'a> {
    /// These.
    Values(&'a [String]),
    /// Those that a test accepts.
    Accepted(&'a dyn Fn(&str) -> bool),
}

/// The series that satisfy all matchers, in ascending order of number.
pub(crate) fn select<P: Postings>(
    postings: &P,
    matchers: &[Matcher],
) -> Result<Vec<SeriesNumber>, P::Error> {
    // A matcher that accepts the empty value also accepts series without the label: those it
    // does not accept are taken away. The others name what to start from.
    let mut chosen: Option<Vec<SeriesNumber>> = None;
    let (taking, keeping): (Vec<&Matcher>, Vec<&Matcher>) =
        matchers.iter().partition(|matcher| matcher.accepts(""));
    // Plain equalities name the fewest series.
    let by_equality = |matcher: &&&Matcher| !matches!(matcher.kind, MatchKind::Equal);
    let mut keeping: Vec<&&Matcher> = keeping.iter().collect();
    keeping.sort_by_key(by_equality);
    for matcher in keeping {
        let having = with_value(postings, matcher, true)?;
        chosen = Some(match chosen {
            None => having,
            Some(before) => intersect(&before, &having),
        });
        if chosen.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
    }
    let mut chosen = match chosen {
        Some(chosen) => chosen,
        None => postings.all()?.into_owned(),
    };
    for matcher in taking {
        chosen = subtract(&chosen, &with_value(postings, matcher, false)?);
    }
    Ok(chosen)
}

/// The series that have the label with a value the matcher accepts, or with one it does not.
fn with_value<P: Postings>(
    postings: &P,
    matcher: &Matcher,
    accepted: bool,
) -> Result<Vec<SeriesNumber>, P::Error> {
    let values: Option<&[String]> = match (&matcher.kind, accepted) {
        (MatchKind::Equal, true) | (MatchKind::NotEqual, false) => {
            Some(std::slice::from_ref(&matcher.value))
        }
        (MatchKind::Matches(pattern), true) | (MatchKind::MatchesNot(pattern), false) => {
            pattern.literals()
        }
        _ => None,
    };
    let accepts = |value: &str| matcher.accepts(value) == accepted;
    let wanted = values.map_or(Wanted::Accepted(&accepts), Wanted::Values);
    Ok(unite(postings.lists(&matcher.name, wanted)?))
}

fn unite(mut lists: Vec<Cow<'_, [SeriesNumber]>>) -> Vec<SeriesNumber> {
    match lists.len() {
        0 => Vec::new(),
        1 => lists.remove(0).into_owned(),
        _ => {
            let mut united: Vec<SeriesNumber> = lists.concat();
            united.sort_unstable();
            united.dedup();
            united
        }
    }
}

fn intersect(left: &[SeriesNumber], right: &[SeriesNumber]) -> Vec<SeriesNumber> {
    let (few, many) = if left.len() <= right.len() {
        (left, right)
    } else {
        (right, left)
    };
    few.iter()
        .copied()
        .filter(|number| many.binary_search(number).is_ok())
        .collect()
}

fn subtract(from: &[SeriesNumber], away: &[SeriesNumber]) -> Vec<SeriesNumber> {
    from.iter()
        .copied()
        .filter(|number| away.binary_search(number).is_err())
        .collect()
}
