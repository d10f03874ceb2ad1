//! Aggregations that take one series after the other.

use crate::promql::syntax::Aggregation;

use super::sums::{Mean, Sum};
use super::{absent, is_absent};

/// An aggregation whose value at a step can be taken further by one more value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Folding {
    Sum,
    Avg,
    Min,
    Max,
    Count,
    Group,
    Stddev,
    Stdvar,
}

// === impl Folding ===

impl Folding {
    /// None where all values of a step have to be known at once.
    pub(super) fn of(operation: Aggregation) -> Option<Folding> {
        Some(match operation {
            Aggregation::Sum => Folding::Sum,
            Aggregation::Avg => Folding::Avg,
            Aggregation::Min => Folding::Min,
            Aggregation::Max => Folding::Max,
            Aggregation::Count => Folding::Count,
            Aggregation::Group => Folding::Group,
            Aggregation::Stddev => Folding::Stddev,
            Aggregation::Stdvar => Folding::Stdvar,
            _ => return None,
        })
    }
}

/// A group's values at each step so far.
pub(super) enum Folded {
    /// Sums; absent where no value came yet.
    Sum(Vec<Option<Sum>>),
    Avg(Vec<Option<Mean>>),
    /// One number a step tells all.
    Plain(Folding, Vec<f64>),
    Variance(Folding, Vec<Variance>),
}

/// A population variance, by Welford's method; NaN where the first value is not finite.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Variance {
    count: f64,
    mean: f64,
    squares: f64,
}

// === impl Variance ===

impl Variance {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.mean = value;
            self.squares = if value.is_finite() { 0.0 } else { f64::NAN };
            return;
        }
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }
}

// === impl Folded ===

impl Folded {
    pub(super) fn start(folding: Folding, steps: usize) -> Folded {
        match folding {
            Folding::Sum => Folded::Sum(vec![None; steps]),
            Folding::Avg => Folded::Avg(vec![None; steps]),
            Folding::Stddev | Folding::Stdvar => {
                Folded::Variance(folding, vec![Variance::default(); steps])
            }
            _ => Folded::Plain(folding, vec![absent(); steps]),
        }
    }

    /// Takes a series' values.
    pub(super) fn add(&mut self, values: &[f64]) {
        match self {
            Folded::Sum(sums) => present(sums, values, |sum, value| {
                sum.get_or_insert_default().add(value);
            }),
            Folded::Avg(means) => present(means, values, |mean, value| {
                mean.get_or_insert_default().add(value);
            }),
            Folded::Variance(_, variances) => present(variances, values, Variance::add),
            Folded::Plain(Folding::Min, least) => present(least, values, |least, value| {
                if value < *least || least.is_nan() {
                    *least = value;
                }
            }),
            Folded::Plain(Folding::Max, most) => present(most, values, |most, value| {
                if value > *most || most.is_nan() {
                    *most = value;
                }
            }),
            Folded::Plain(Folding::Count, counts) => present(counts, values, |count, _| {
                *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
            }),
            Folded::Plain(_, there) => present(there, values, |there, _| *there = 1.0),
        }
    }

    /// The value at each step.
    pub(super) fn finish(self) -> Vec<f64> {
        match self {
            Folded::Sum(sums) => or_absent(sums, Sum::total),
            Folded::Avg(means) => or_absent(means, Mean::mean),
            Folded::Plain(_, values) => values,
            Folded::Variance(folding, variances) => {
                let value = |variance: Variance| {
                    if variance.count == 0.0 {
                        return absent();
                    }
                    let value = variance.squares / variance.count;
                    if folding == Folding::Stddev {
                        value.sqrt()
                    } else {
                        value
                    }
                };
                variances.into_iter().map(value).collect()
            }
        }
    }
}

/// Takes each value that is there further.
fn present<T>(folded: &mut [T], values: &[f64], mut add: impl FnMut(&mut T, f64)) {
    for (folded, value) in folded.iter_mut().zip(values) {
        if !is_absent(*value) {
            add(folded, *value);
        }
    }
}

fn or_absent<T>(folded: Vec<Option<T>>, value: impl Fn(T) -> f64) -> Vec<f64> {
    let values = folded.into_iter();
    values
        .map(|folded| folded.map_or_else(absent, &value))
        .collect()
}
