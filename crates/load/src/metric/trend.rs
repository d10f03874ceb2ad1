//! A trend: the distribution of many values in little memory.

/// Bits of the mantissa that tell buckets apart: a bucket is at most 1/2048 wide, so values keep
/// three significant digits, and whole numbers up to 4096 are exact.
const MANTISSA_BITS: u32 = 11;
/// Buckets kept together in one page.
const PAGE_BITS: u32 = 7;
const PAGE: usize = 1 << PAGE_BITS;

/// The distribution of values of any size and sign.
///
/// A high dynamic range histogram over floating point numbers: the exponent and the upper bits of
/// the mantissa are the bucket, as HdrHistogram does for whole numbers. Percentiles are those of
/// the sorted values with linear interpolation between ranks, as k6 computes them, to three digits
/// at any count; count, sum, least and greatest are exact.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trend {
    count: u64,
    sum: f64,
    least: f64,
    greatest: f64,
    /// Pages of counts, sorted by page number.
    pages: Vec<(i64, Box<[u64; PAGE]>)>,
    /// Where the last value went: the next one is likely to go there too.
    last_page: usize,
}

// === impl Trend ===

impl Trend {
    /// Adds a value. One that is not a number is not counted.
    pub fn record(&mut self, value: f64) {
        if value.is_nan() {
            return;
        }
        if self.count == 0 {
            self.least = value;
            self.greatest = value;
        } else {
            self.least = self.least.min(value);
            self.greatest = self.greatest.max(value);
        }
        self.count += 1;
        self.sum += value;
        let bucket = bucket_of(value);
        let (page, slot) = (bucket >> PAGE_BITS, slot_of(bucket));
        if self
            .pages
            .get(self.last_page)
            .is_none_or(|(number, _)| *number != page)
        {
            self.last_page = self.page_index(page);
        }
        self.pages[self.last_page].1[slot] += 1;
    }

    /// Adds all values of another trend.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = other.clone();
            return;
        }
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
        self.count += other.count;
        self.sum += other.sum;
        for (page, counts) in &other.pages {
            let index = self.page_index(*page);
            for (mine, theirs) in self.pages[index].1.iter_mut().zip(counts.iter()) {
                *mine += theirs;
            }
        }
    }

    /// How many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all values.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The least value; 0 where there is none.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.least
    }

    /// The greatest value; 0 where there is none.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.greatest
    }

    /// The mean; 0 where there is no value.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.sum / self.count as f64
        }
    }

    /// The value below which `percent` of the values lie, interpolated between the two nearest
    /// ranks; 0 where there is no value.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> f64 {
        at_percent(percent, self.count, |rank| self.value_at(rank)).unwrap_or(0.0)
    }

    /// Lower bounds of buckets and their counts, in order.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        self.pages.iter().flat_map(|(page, counts)| {
            (0_i64..)
                .zip(counts.iter())
                .filter(|(_, count)| **count > 0)
                .map(move |(slot, count)| (lower_bound((page << PAGE_BITS) + slot), *count))
        })
    }

    /// The value of this rank, counted from 0 in sorted order.
    fn value_at(&self, rank: u64) -> f64 {
        if rank == 0 {
            return self.least;
        }
        if rank + 1 >= self.count {
            return self.greatest;
        }
        let mut seen = 0;
        for (value, count) in self.buckets() {
            seen += count;
            if seen > rank {
                return value.clamp(self.least, self.greatest);
            }
        }
        self.greatest
    }

    fn page_index(&mut self, page: i64) -> usize {
        match self
            .pages
            .binary_search_by_key(&page, |(number, _)| *number)
        {
            Ok(index) => index,
            Err(index) => {
                self.pages.insert(index, (page, Box::new([0; PAGE])));
                index
            }
        }
    }
}

/// The value below which `percent` of `count` sorted values lie, interpolated linearly between the two
/// nearest ranks; `value_at` gives the value of a rank, counted from 0. Nothing where there is no value.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are far below 2^52 and ranks not negative"
)]
pub(crate) fn at_percent(percent: f64, count: u64, value_at: impl Fn(u64) -> f64) -> Option<f64> {
    let last = count.checked_sub(1)?;
    let rank = percent.clamp(0.0, 100.0) / 100.0 * last as f64;
    let below = value_at(rank.floor() as u64);
    let above = value_at(rank.ceil() as u64);
    Some(below + (above - below) * rank.fract())
}

/// The trend of some values.
#[cfg(test)]
pub(crate) fn trend_of(values: &[f64]) -> Trend {
    let mut trend = Trend::default();
    for value in values {
        trend.record(*value);
    }
    trend
}

/// The bucket of a value; buckets are ordered as the values are, negative ones below zero.
fn bucket_of(value: f64) -> i64 {
    let magnitude = (value.abs().to_bits() >> (52 - MANTISSA_BITS)).cast_signed();
    if value < 0.0 { -magnitude } else { magnitude }
}

/// The value of a bucket that is nearest to zero.
fn lower_bound(bucket: i64) -> f64 {
    let magnitude = f64::from_bits(bucket.unsigned_abs() << (52 - MANTISSA_BITS));
    if bucket < 0 { -magnitude } else { magnitude }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the remainder is below PAGE"
)]
fn slot_of(bucket: i64) -> usize {
    bucket.rem_euclid(PAGE as i64).cast_unsigned() as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_are_interpolated_between_ranks() {
        let trend = trend_of(&[100.0, 150.0, 200.0, 250.0]);
        assert_eq!(trend.percentile(0.0), 100.0);
        assert_eq!(trend.percentile(50.0), 175.0);
        assert_eq!(trend.percentile(95.0), 242.5);
        assert_eq!(trend.percentile(100.0), 250.0);
        assert_eq!(Trend::default().percentile(50.0), 0.0);
    }

    proptest! {
        #[test]
        fn percentiles_are_exact_to_three_digits_and_merging_loses_nothing(
            mut values in proptest::collection::vec(
                prop_oneof![-1e9..1e9, 0.0..1.0, Just(0.0), 1e-6..1e-3], 1..400),
            percent in 0.0..100.0_f64,
            cut in 0_usize..400,
        ) {
            let whole = trend_of(&values);
            let cut = cut.min(values.len());
            let mut merged = trend_of(&values[..cut]);
            merged.merge(&trend_of(&values[cut..]));
            prop_assert_eq!(merged.count(), whole.count());
            prop_assert_eq!(merged.percentile(percent), whole.percentile(percent));
            values.sort_by(f64::total_cmp);
            #[expect(clippy::cast_precision_loss)]
            let rank = percent / 100.0 * (values.len() - 1) as f64;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let (below, above) = (values[rank.floor() as usize], values[rank.ceil() as usize]);
            let exact = below + (above - below) * rank.fract();
            let tolerance = (below.abs().max(above.abs())) / 2000.0;
            prop_assert!((whole.percentile(percent) - exact).abs() <= tolerance,
                "{} is not {exact}", whole.percentile(percent));
        }
    }
}
