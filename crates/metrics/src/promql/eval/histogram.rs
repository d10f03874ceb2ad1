//! Quantiles and fractions of classic histograms: series with cumulative buckets by the label `le`.

use std::collections::HashMap;

use crate::promql::annotations::about_metric;
use crate::promql::error::QueryError;
use crate::promql::go_format::open_metrics;
use crate::promql::syntax::{Call, Expr};
use crate::series_store::Labels;

use super::label::label_name;
use super::over_time::bad_bucket_label;
use super::{Evaluator, Row, Steps, is_absent};

const BUCKET_LABEL: &str = "le";

/// The observations up to a bound.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    upper: f64,
    count: f64,
}

/// The rows of one histogram, sorted by bound.
struct Histogram {
    /// Without `le`, with the metric's name.
    labels: Labels,
    drops_name: bool,
    rows: Vec<(f64, Vec<f64>)>,
}

impl Histogram {
    /// The buckets at a step, those of equal bound added up.
    fn buckets(&self, step: usize) -> Vec<Bucket> {
        let mut buckets: Vec<Bucket> = Vec::with_capacity(self.rows.len());
        for (upper, values) in &self.rows {
            let count = values[step];
            if is_absent(count) {
                continue;
            }
            match buckets.last_mut() {
                Some(last) if last.upper == *upper => last.count += count,
                _ => buckets.push(Bucket {
                    upper: *upper,
                    count,
                }),
            }
        }
        buckets
    }
}

impl Evaluator<'_> {
    pub(super) fn histogram_quantile(
        &self,
        call: &Call,
        steps: &Steps,
    ) -> Result<Vec<Row>, QueryError> {
        let phi = self.scalar(&call.arguments[0], steps)?;
        self.warn_of_quantiles(&call.arguments[0], &phi);
        let vector = &call.arguments[1];
        let histograms = self.histograms(vector, steps)?;
        let rows = self.quantiles(&histograms, vector, &phi, steps)?;
        self.drop_names(rows)
    }

    pub(super) fn histogram_quantiles(
        &self,
        call: &Call,
        steps: &Steps,
    ) -> Result<Vec<Row>, QueryError> {
        let vector = &call.arguments[0];
        let label = label_name(
            &call.arguments[1],
            "invalid label name in histogram_quantiles()",
        )?;
        let histograms = self.histograms(vector, steps)?;
        let mut rows = Vec::new();
        for argument in &call.arguments[2..] {
            let phi = self.scalar(argument, steps)?;
            self.warn_of_quantiles(argument, &phi);
            for mut row in self.quantiles(&histograms, vector, &phi, steps)? {
                // A quantile that changes over the steps gives a series for each value.
                let mut distinct: Vec<f64> = Vec::new();
                for value in &phi {
                    if !distinct
                        .iter()
                        .any(|known| known.to_bits() == value.to_bits())
                    {
                        distinct.push(*value);
                    }
                }
                let labels = std::mem::replace(&mut row.labels, Labels::empty());
                for value in distinct {
                    self.charge(steps.count)?;
                    let mut part = row.clone();
                    part.labels = labels.with(&label, &open_metrics(value));
                    for (step, at_step) in phi.iter().enumerate() {
                        if at_step.to_bits() != value.to_bits() {
                            part.values[step] = super::absent();
                        }
                    }
                    rows.push(part);
                }
            }
        }
        self.drop_names(rows)
    }

    pub(super) fn histogram_fraction(
        &self,
        call: &Call,
        steps: &Steps,
    ) -> Result<Vec<Row>, QueryError> {
        let lower = self.scalar(&call.arguments[0], steps)?;
        let upper = self.scalar(&call.arguments[1], steps)?;
        let mut rows = Vec::new();
        for histogram in self.histograms(&call.arguments[2], steps)? {
            let mut values = self.room(steps)?;
            for (step, value) in values.iter_mut().enumerate() {
                let buckets = histogram.buckets(step);
                if !buckets.is_empty() {
                    *value = fraction(lower[step], upper[step], &buckets);
                }
            }
            rows.push(Row {
                labels: histogram.labels,
                drops_name: histogram.drops_name,
                values,
            });
        }
        self.drop_names(rows)
    }

    fn quantiles(
        &self,
        histograms: &[Histogram],
        vector: &Expr,
        phi: &[f64],
        steps: &Steps,
    ) -> Result<Vec<Row>, QueryError> {
        let mut rows = Vec::with_capacity(histograms.len());
        for histogram in histograms {
            let mut values = self.room(steps)?;
            let mut was_forced = false;
            for (step, value) in values.iter_mut().enumerate() {
                let mut buckets = histogram.buckets(step);
                if !buckets.is_empty() {
                    let (found, forced) = quantile_of_buckets(phi[step], &mut buckets);
                    *value = found;
                    was_forced |= forced;
                }
            }
            if was_forced {
                let message = "input to histogram_quantile needed to be fixed for monotonicity (see \
                               https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
                self.inform(
                    vector,
                    about_metric(message, histogram.labels.metric_name()),
                );
            }
            rows.push(Row {
                labels: histogram.labels.clone(),
                drops_name: histogram.drops_name,
                values,
            });
        }
        Ok(rows)
    }

    /// The histograms of a vector; series that are no bucket are left out with a warning.
    fn histograms(&self, vector: &Expr, steps: &Steps) -> Result<Vec<Histogram>, QueryError> {
        let mut histograms: Vec<Histogram> = Vec::new();
        let mut places: HashMap<Labels, usize> = HashMap::new();
        for row in self.vector(vector, steps)? {
            let bound = row.labels.get(BUCKET_LABEL);
            let Ok(upper) = bound.parse::<f64>() else {
                if !row.is_void() {
                    self.warn(vector, bad_bucket_label(bound, row.labels.metric_name()));
                }
                continue;
            };
            let labels = row.labels.without(|name| name == BUCKET_LABEL);
            let place = *places.entry(labels.clone()).or_insert_with(|| {
                histograms.push(Histogram {
                    labels,
                    drops_name: row.drops_name,
                    rows: Vec::new(),
                });
                histograms.len() - 1
            });
            let rows = &mut histograms[place].rows;
            let at = rows.partition_point(|(known, _)| known.total_cmp(&upper).is_le());
            rows.insert(at, (upper, row.values));
        }
        Ok(histograms)
    }
}

/// The φ-quantile, interpolated within its bucket; and whether buckets had to be made cumulative.
fn quantile_of_buckets(phi: f64, buckets: &mut [Bucket]) -> (f64, bool) {
    if phi.is_nan() {
        return (f64::NAN, false);
    }
    if phi < 0.0 {
        return (f64::NEG_INFINITY, false);
    }
    if phi > 1.0 {
        return (f64::INFINITY, false);
    }
    let last = buckets.len() - 1;
    if buckets[last].upper != f64::INFINITY {
        return (f64::NAN, false);
    }
    let forced = make_cumulative(buckets);
    let observations = buckets[last].count;
    if buckets.len() < 2 || observations == 0.0 {
        return (f64::NAN, forced && buckets.len() > 1);
    }
    let mut rank = phi * observations;
    let at = buckets[..last].partition_point(|bucket| bucket.count < rank || bucket.count.is_nan());
    if at == last {
        return (buckets[last - 1].upper, forced);
    }
    let bucket = buckets[at];
    if at == 0 && bucket.upper <= 0.0 {
        return (bucket.upper, forced);
    }
    let (start, mut count) = (
        if at == 0 { 0.0 } else { buckets[at - 1].upper },
        bucket.count,
    );
    if at > 0 {
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    (start + (bucket.upper - start) * (rank / count), forced)
}

/// Lifts buckets that count less than one below them; whether one did by more than rounding explains.
fn make_cumulative(buckets: &mut [Bucket]) -> bool {
    let mut forced = false;
    let mut before = buckets[0].count;
    for bucket in &mut buckets[1..] {
        if bucket.count == before {
            continue;
        }
        if nearly_equal(before, bucket.count) {
            bucket.count = before;
        } else if bucket.count < before {
            bucket.count = before;
            forced = true;
        } else {
            before = bucket.count;
        }
    }
    forced
}

fn nearly_equal(left: f64, right: f64) -> bool {
    const TOLERANCE: f64 = 1e-12;
    if left == right || (left.is_nan() && right.is_nan()) {
        return true;
    }
    let sum = left.abs() + right.abs();
    let difference = (left - right).abs();
    if left == 0.0 || right == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

/// The share of observations between two bounds.
fn fraction(lower: f64, upper: f64, buckets: &[Bucket]) -> f64 {
    let last = buckets[buckets.len() - 1];
    if last.upper != f64::INFINITY || last.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, buckets) - rank_of(lower, buckets)) / last.count
}

/// How many observations lie up to a value, interpolated within buckets that have two finite bounds.
fn rank_of(value: f64, buckets: &[Bucket]) -> f64 {
    let total = buckets[buckets.len() - 1].count;
    if value == f64::INFINITY {
        return total;
    }
    if value == f64::NEG_INFINITY {
        return 0.0;
    }
    let at = buckets.partition_point(|bucket| bucket.upper < value);
    let bucket = buckets[at];
    let (start, below) = match at {
        // Observations are taken to be positive if the first bound is.
        0 if bucket.upper > 0.0 => (0.0, 0.0),
        0 => (f64::NEG_INFINITY, 0.0),
        _ => (buckets[at - 1].upper, buckets[at - 1].count),
    };
    if value <= start {
        return below;
    }
    if bucket.upper == f64::INFINITY {
        return below.min(total);
    }
    if start == f64::NEG_INFINITY {
        return bucket.count.min(total);
    }
    let rank = below + (bucket.count - below) * (value - start) / (bucket.upper - start);
    rank.min(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        pairs
            .iter()
            .map(|(upper, count)| Bucket {
                upper: *upper,
                count: *count,
            })
            .collect()
    }

    #[test]
    fn a_quantile_is_interpolated_in_its_bucket() {
        let plain = [(0.1, 5.0), (0.2, 7.0), (1.0, 11.0), (f64::INFINITY, 12.0)];
        for (phi, expected) in [
            (0.0, 0.0),
            (0.2, 0.048),
            (0.5, 0.15),
            (0.8, 0.72),
            (1.0, 1.0),
        ] {
            let (found, forced) = quantile_of_buckets(phi, &mut buckets(&plain));
            assert!((found - expected).abs() < 1e-9 && !forced, "{phi}: {found}");
        }
        let (found, forced) = quantile_of_buckets(
            0.5,
            &mut buckets(&[(1.0, 5.0), (2.0, 3.0), (f64::INFINITY, 8.0)]),
        );
        assert!(forced && (found - 0.8).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn quantiles_grow_and_fractions_add_up(
            counts in prop::collection::vec(0..100_u32, 2..12), low in -2.0..14.0_f64, high in -2.0..14.0_f64,
        ) {
            let mut total = 0.0;
            let mut cumulative: Vec<Bucket> = counts.iter().enumerate().map(|(at, count)| {
                total += f64::from(*count);
                Bucket { upper: at as f64, count: total }
            }).collect();
            prop_assume!(total > 0.0);
            let last = cumulative.len() - 1;
            cumulative[last].upper = f64::INFINITY;
            let mut before = f64::NEG_INFINITY;
            for tenth in 0..=10 {
                let (found, forced) = quantile_of_buckets(f64::from(tenth) / 10.0, &mut cumulative.clone());
                prop_assert!(!forced && found >= before);
                before = found;
            }
            let (low, high) = (low.min(high), low.max(high));
            let whole = fraction(f64::NEG_INFINITY, f64::INFINITY, &cumulative);
            let parts = fraction(f64::NEG_INFINITY, low, &cumulative)
                + fraction(low, high, &cumulative)
                + fraction(high, f64::INFINITY, &cumulative);
            prop_assert!((whole - 1.0).abs() < 1e-9 && (parts - 1.0).abs() < 1e-9);
        }
    }
}
