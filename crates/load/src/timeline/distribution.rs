//! Many times in little memory, for a figure in a chart.

use crate::metric::{Trend, at_percent};

/// Bits of the mantissa that tell buckets apart: a bucket is 1/128 wide, so what it gives back is at most 0.4 % off.
const MANTISSA_BITS: u32 = 7;
const DROPPED_BITS: u32 = f64::MANTISSA_DIGITS - 1 - MANTISSA_BITS;

/// The distribution of values of zero or more, to two digits.
///
/// A [`Trend`] keeps three digits and takes up to a few hundred kilobytes; this one takes eight bytes
/// for each bucket that holds something, so that hundreds of them can be kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Buckets and their counts, sorted by bucket.
    buckets: Vec<(u32, u32)>,
    count: u64,
}

// === impl Distribution ===

impl From<&Trend> for Distribution {
    fn from(trend: &Trend) -> Self {
        let mut buckets: Vec<(u32, u32)> = Vec::new();
        for (value, count) in trend.buckets() {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let bucket = bucket_of(value);
            match buckets.last_mut() {
                Some((last, sum)) if *last == bucket => *sum = sum.saturating_add(count),
                _ => buckets.push((bucket, count)),
            }
        }
        Self {
            buckets,
            count: trend.count(),
        }
    }
}

impl Distribution {
    /// Adds all values of another one.
    pub fn merge(&mut self, other: &Self) {
        let mut merged = Vec::with_capacity(self.buckets.len().max(other.buckets.len()));
        let (mut mine, mut theirs) = (
            self.buckets.iter().peekable(),
            other.buckets.iter().peekable(),
        );
        loop {
            let next = match (mine.peek(), theirs.peek()) {
                (Some((bucket, _)), Some((other, _))) => *bucket.min(other),
                (Some((bucket, _)), None) | (None, Some((bucket, _))) => *bucket,
                (None, None) => break,
            };
            let counts = [
                mine.next_if(|(bucket, _)| *bucket == next),
                theirs.next_if(|(bucket, _)| *bucket == next),
            ];
            let sum = counts
                .into_iter()
                .flatten()
                .fold(0_u32, |sum, (_, count)| sum.saturating_add(*count));
            merged.push((next, sum));
        }
        self.buckets = merged;
        self.count += other.count;
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The value below which `percent` of the values lie, interpolated between the two nearest ranks;
    /// nothing where there is no value.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        let (greatest, _) = self.buckets.last()?;
        at_percent(percent, self.count, |rank| {
            let mut seen = 0;
            let holds_rank = self.buckets.iter().find(|(_, count)| {
                seen += u64::from(*count);
                seen > rank
            });
            middle_of(holds_rank.map_or(*greatest, |(bucket, _)| *bucket))
        })
    }
}

fn bucket_of(value: f64) -> u32 {
    let bits = value.max(0.0).to_bits() >> DROPPED_BITS;
    u32::try_from(bits).unwrap_or(u32::MAX)
}

fn middle_of(bucket: u32) -> f64 {
    if bucket == 0 {
        return 0.0;
    }
    let bound = |bucket: u32| f64::from_bits(u64::from(bucket) << DROPPED_BITS);
    f64::midpoint(bound(bucket), bound(bucket + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metric::trend_of;

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(Distribution::default().percentile(50.0), None);
        let zeros = Distribution::from(&trend_of(&[0.0, 0.0]));
        assert_eq!(zeros.percentile(99.0), Some(0.0));
    }

    proptest! {
        #[test]
        fn percentiles_of_parts_merged_are_those_of_the_whole(
            one in prop::collection::vec(0.001..1e6_f64, 1..200),
            other in prop::collection::vec(0.001..1e6_f64, 0..200),
            percent in 0.0..100.0_f64,
        ) {
            let mut merged = Distribution::from(&trend_of(&one));
            merged.merge(&Distribution::from(&trend_of(&other)));
            let whole = trend_of(&[one, other].concat());
            prop_assert_eq!(merged.count(), whole.count());
            let (mine, exact) = (merged.percentile(percent).unwrap(), whole.percentile(percent));
            prop_assert!((mine - exact).abs() <= exact * 0.005, "{mine} is not {exact}");
        }
    }
}
