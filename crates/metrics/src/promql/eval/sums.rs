//! Sums of floats that keep the digits which plain addition loses (Kahan's method, Neumaier's form).

use crate::series_store::Sample;

/// A sum and what rounding took from it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    sum: f64,
    lost: f64,
}

// === impl Sum ===

impl Sum {
    pub(crate) fn add(&mut self, value: f64) {
        let next = self.sum + value;
        if next.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.lost += (self.sum - next) + value;
        } else {
            self.lost += (value - next) + self.sum;
        }
        self.sum = next;
    }

    pub(crate) fn total(self) -> f64 {
        self.sum + self.lost
    }
}

/// An average: the sum by the count, or, once the sum leaves the range of floats, moved value by value.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mean {
    count: f64,
    sum: Sum,
    /// The sum is the mean so far.
    moving: bool,
}

// === impl Mean ===

impl Mean {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.sum.sum = value;
            return;
        }
        if !self.moving {
            let mut next = self.sum;
            next.add(value);
            if !next.sum.is_infinite() {
                self.sum = next;
                return;
            }
            self.moving = true;
            self.sum.sum /= self.count - 1.0;
            self.sum.lost /= self.count - 1.0;
        }
        let share = (self.count - 1.0) / self.count;
        self.sum.sum *= share;
        self.sum.lost *= share;
        self.sum.add(value / self.count);
    }

    pub(crate) fn mean(self) -> f64 {
        if self.moving {
            return self.sum.total();
        }
        self.sum.sum / self.count + self.sum.lost / self.count
    }
}

/// The population variance of samples' values.
pub(crate) fn variance(samples: &[Sample]) -> f64 {
    let mut mean = Sum::default();
    let mut squares = Sum::default();
    let mut count = 0.0;
    for sample in samples {
        count += 1.0;
        let delta = sample.value - mean.total();
        mean.add(delta / count);
        squares.add(delta * (sample.value - mean.total()));
    }
    squares.total() / count
}

/// The slope per second and the value at a time of the line through samples by least squares.
pub(crate) fn linear_regression(samples: &[Sample], at: i64) -> (f64, f64) {
    let first = samples[0].value;
    if samples.iter().all(|sample| sample.value == first) {
        return if first.is_infinite() {
            (f64::NAN, f64::NAN)
        } else {
            (0.0, first)
        };
    }
    let [mut x, mut y, mut xy, mut xx] = [Sum::default(); 4];
    for sample in samples {
        let seconds = (sample.time - at) as f64 / 1e3;
        x.add(seconds);
        y.add(sample.value);
        xy.add(seconds * sample.value);
        xx.add(seconds * seconds);
    }
    let count = samples.len() as f64;
    let [x, y, xy, xx] = [x, y, xy, xx].map(Sum::total);
    let slope = (xy - x * y / count) / (xx - x * x / count);
    (slope, y / count - slope * x / count)
}

/// The φ-quantile of values, interpolated between neighbours; NaNs count as the smallest.
pub(crate) fn quantile(phi: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(|left, right| nan_first(*left, *right));
    let last = (values.len() - 1) as f64;
    let rank = phi * last;
    let lower = rank.floor().max(0.0);
    let upper = (lower + 1.0).min(last);
    let weight = rank - rank.floor();
    values[lower as usize] * (1.0 - weight) + values[upper as usize] * weight
}

/// Orders floats with NaN below all.
pub(crate) fn nan_first(left: f64, right: f64) -> std::cmp::Ordering {
    left.partial_cmp(&right)
        .unwrap_or_else(|| right.is_nan().cmp(&left.is_nan()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn digits_that_plain_addition_loses_are_kept() {
        let mut sum = Sum::default();
        for value in [1.0, 1e100, 1.0, -1e100] {
            sum.add(value);
        }
        assert_eq!(sum.total(), 2.0);
    }

    #[test]
    fn a_mean_survives_a_sum_beyond_floats() {
        let mut mean = Mean::default();
        for _ in 0..4 {
            mean.add(9.988e307);
        }
        assert!((mean.mean() / 9.988e307 - 1.0).abs() < 1e-12);
        let mut infinite = Mean::default();
        for value in [f64::INFINITY, 0.0, f64::INFINITY] {
            infinite.add(value);
        }
        assert_eq!(infinite.mean(), f64::INFINITY);
    }

    #[test]
    fn quantiles_interpolate_and_nan_is_smallest() {
        assert_eq!(quantile(0.75, &mut [0.0, 1.0, 4.0]), 2.5);
        assert!(quantile(0.2, &mut [0.0, 1.0, f64::NAN]).is_nan());
        assert_eq!(quantile(2.0, &mut [1.0]), f64::INFINITY);
    }

    proptest! {
        #[test]
        fn a_line_is_found_again(slope in -1e3..1e3_f64, start in -1e3..1e3_f64, count in 2..50_i64) {
            let samples: Vec<Sample> = (0..count)
                .map(|at| Sample { time: at * 15_000, value: start + slope * (at * 15) as f64 })
                .collect();
            let (found, at_zero) = linear_regression(&samples, 0);
            prop_assert!((found - slope).abs() < 1e-6 * (1.0 + slope.abs()));
            prop_assert!((at_zero - start).abs() < 1e-6 * (1.0 + start.abs() + slope.abs() * 750.0));
        }

        #[test]
        fn a_quantile_lies_between_the_least_and_the_greatest(
            mut values in prop::collection::vec(-1e6..1e6_f64, 1..40), phi in 0.0..=1.0_f64,
        ) {
            let found = quantile(phi, &mut values);
            prop_assert!(found >= values[0] - 1e-6 && found <= values[values.len() - 1] + 1e-6);
        }
    }
}
