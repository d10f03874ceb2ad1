//! When iterations start under the arrival-rate executors, whatever the target does.

use std::time::Duration;

/// So many arrivals in so much time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Arrivals within `per`.
    pub count: f64,
    /// The time they spread over; above zero.
    pub per: Duration,
}

impl Rate {
    /// Arrivals a second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        self.count / self.per.as_secs_f64()
    }
}

/// One straight piece of the rate.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// Its start, in seconds since the scenario's.
    begin: f64,
    /// Its length in seconds.
    length: f64,
    /// Arrivals a second at its start and at its end.
    from: f64,
    to: f64,
}

/// The moments at which arrivals are meant to start.
///
/// The arrival with index `n` (from 0) starts when the integral of the rate reaches `n` plus the
/// offset of the kind: 0 for a constant rate, whose first arrival is at once, and 1 for a ramping
/// one, whose first arrival is when a whole one has gathered.
#[derive(Clone, Debug)]
pub struct Arrivals {
    pieces: Vec<Piece>,
    offset: f64,
    piece: usize,
    /// The integral over the pieces before `piece`.
    before: f64,
    next: u64,
}

// === impl Arrivals ===

impl Arrivals {
    /// `rate` for `length`: the first at once, all gaps equal, none at the end itself.
    #[must_use]
    pub fn constant(rate: Rate, length: Duration) -> Self {
        let per_second = rate.per_second();
        Self::from_the_start(per_second, &[(length, per_second)])
    }

    /// From `start` (a second) in straight lines through stages, as [`Arrivals::ramping`], but the
    /// first arrival is at once.
    #[must_use]
    pub fn from_the_start(start: f64, stages: &[(Duration, f64)]) -> Self {
        Self::over(start, stages, 0.0)
    }

    /// From `start` (a second) in straight lines through stages: length, and the rate a second at its end.
    #[must_use]
    pub fn ramping(start: f64, stages: &[(Duration, f64)]) -> Self {
        Self::over(start, stages, 1.0)
    }

    fn over(start: f64, stages: &[(Duration, f64)], offset: f64) -> Self {
        let mut begin = 0.0;
        let mut from = start;
        let mut pieces = Vec::with_capacity(stages.len());
        for &(length, to) in stages {
            let length = length.as_secs_f64();
            if length > 0.0 {
                pieces.push(Piece {
                    begin,
                    length,
                    from,
                    to,
                });
            }
            begin += length;
            from = to;
        }
        Self {
            pieces,
            offset,
            piece: 0,
            before: 0.0,
            next: 0,
        }
    }
}

impl Piece {
    /// Arrivals in the whole piece.
    fn whole(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.length
    }

    /// Seconds into the piece until the integral reaches `wanted`, which is at most [`Piece::whole`].
    ///
    /// Solves `from·t + slope·t²/2 = wanted` for its first root, in the form that stays exact when
    /// the slope is zero or negative.
    fn reaches(&self, wanted: f64) -> f64 {
        let slope = (self.to - self.from) / self.length;
        let root = (self.from * self.from + 2.0 * slope * wanted)
            .max(0.0)
            .sqrt();
        let denominator = self.from + root;
        if denominator > 0.0 {
            (2.0 * wanted / denominator).min(self.length)
        } else {
            0.0
        }
    }
}

/// Sums of many floats may miss a whole number by this part; an arrival at a piece's very end still counts.
const ROUNDING: f64 = 1e-9;

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "runs have far fewer than 2^52 arrivals"
        )]
        let wanted = self.next as f64 + self.offset;
        while let Some(piece) = self.pieces.get(self.piece) {
            let end = self.before + piece.whole();
            // At a constant rate the arrival at the very end belongs to the time after it.
            let inside = if self.offset > 0.0 {
                wanted <= end + ROUNDING * end.max(1.0)
            } else {
                wanted < end - ROUNDING * end.max(1.0)
            };
            if inside {
                let seconds =
                    piece.begin + piece.reaches((wanted - self.before).min(piece.whole()));
                self.next += 1;
                return Some(Duration::from_secs_f64(seconds));
            }
            self.before = end;
            self.piece += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn milliseconds(arrivals: Arrivals) -> Vec<u128> {
        arrivals
            .map(|at| at.as_micros().div_ceil(10) / 100)
            .collect()
    }

    #[test]
    fn a_constant_rate_starts_at_once_with_equal_gaps() {
        let rate = Rate {
            count: 120.0,
            per: Duration::from_secs(60),
        };
        assert_eq!(
            milliseconds(Arrivals::constant(rate, Duration::from_secs(2))),
            [0, 500, 1000, 1500]
        );
    }

    #[test]
    fn a_ramping_rate_starts_when_a_whole_arrival_has_gathered() {
        let stages = [(Duration::from_secs(2), 2.0), (Duration::from_secs(1), 2.0)];
        // The integral is t²/2 up to 2 at 2 s, then two a second.
        assert_eq!(
            milliseconds(Arrivals::ramping(0.0, &stages)),
            [1414, 2000, 2500, 3000]
        );
    }

    #[test]
    fn a_pause_in_the_middle_is_a_pause() {
        let stages = [
            (Duration::from_secs(1), 2.0),
            (Duration::ZERO, 0.0),
            (Duration::from_secs(10), 0.0),
            (Duration::ZERO, 1.0),
            (Duration::from_secs(2), 1.0),
        ];
        assert_eq!(
            milliseconds(Arrivals::ramping(2.0, &stages)),
            [500, 1000, 12_000, 13_000]
        );
    }

    proptest! {
        #[test]
        fn arrivals_are_in_order_and_as_many_as_the_integral(
            start in 0..100u32,
            stages in prop::collection::vec((0..5u64, 0..100u32), 1..6),
        ) {
            let mut from = f64::from(start);
            let mut integral = 0.0;
            let mut list = Vec::new();
            for &(seconds, to) in &stages {
                let length = Duration::from_secs(seconds);
                integral += (from + f64::from(to)) / 2.0 * length.as_secs_f64();
                from = f64::from(to);
                list.push((length, from));
            }
            let arrivals: Vec<_> = Arrivals::ramping(f64::from(start), &list).collect();
            prop_assert!(arrivals.is_sorted());
            let count = u32::try_from(arrivals.len()).unwrap();
            prop_assert!((f64::from(count) - integral).abs() < 1.0 + 1e-6, "{count} of {integral}");
        }
    }
}
