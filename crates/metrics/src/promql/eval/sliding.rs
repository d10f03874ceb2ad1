//! Functions of windows that slide over a series: what a window shares with the one before is not looked at again.
//!
//! The results are those of looking at each window alone, to the last bit.

use std::collections::VecDeque;
use std::ops::Range;

use crate::promql::syntax::OverTime;
use crate::series_store::Sample;

use super::over_time::{Window, differ, extrapolate};

/// What is known of a series before its windows are looked at, or of the window before.
pub(super) enum Sliding<'s> {
    /// Rates: where the counter was reset.
    Counter {
        samples: &'s [Sample],
        per_second: bool,
        places: Places,
    },
    /// Counts: where what is counted happens.
    Count(Places),
    /// Extremes: the samples that are or may become the best of a window, the best first.
    Extreme {
        samples: &'s [Sample],
        greatest: bool,
        candidates: VecDeque<usize>,
        /// Samples before this one were candidates already.
        seen: usize,
    },
}

/// Samples that differ from the one before in a certain way, in the order of time; windows find theirs.
pub(super) struct Places {
    all: Vec<usize>,
    from: usize,
    to: usize,
}

// === impl Places ===

impl Places {
    fn of(samples: &[Sample], differs: impl Fn(f64, f64) -> bool) -> Places {
        let pairs = samples.windows(2).enumerate();
        let places = pairs.filter(|(_, pair)| differs(pair[0].value, pair[1].value));
        Places {
            all: places.map(|(at, _)| at + 1).collect(),
            from: 0,
            to: 0,
        }
    }

    /// Those within a window that lies not before the one asked for last; its first sample has none before it.
    fn within(&mut self, window: &Range<usize>) -> &[usize] {
        while self.all.get(self.to).is_some_and(|at| *at < window.end) {
            self.to += 1;
        }
        while self.from < self.to && self.all[self.from] <= window.start {
            self.from += 1;
        }
        &self.all[self.from..self.to]
    }
}

// === impl Sliding ===

impl<'s> Sliding<'s> {
    /// What helps a function over a series; nothing where each window has to be looked at alone.
    pub(super) fn new(function: OverTime, samples: &'s [Sample]) -> Option<Sliding<'s>> {
        let resets = || Places::of(samples, |before, after| after < before);
        Some(match function {
            OverTime::Rate | OverTime::Increase => Sliding::Counter {
                samples,
                per_second: function == OverTime::Rate,
                places: resets(),
            },
            OverTime::Resets => Sliding::Count(resets()),
            OverTime::Changes => Sliding::Count(Places::of(samples, differ)),
            OverTime::Min | OverTime::Max => Sliding::Extreme {
                samples,
                greatest: function == OverTime::Max,
                candidates: VecDeque::new(),
                seen: 0,
            },
            _ => return None,
        })
    }

    /// The value of a window that lies not before the one asked for last.
    pub(super) fn value(&mut self, window: &Window<'_>, range: Range<usize>) -> Option<f64> {
        match self {
            Sliding::Counter {
                samples,
                per_second,
                places,
            } => {
                let lost = places.within(&range).iter().map(|at| samples[at - 1].value);
                extrapolate(window, true, *per_second, lost)
            }
            Sliding::Count(places) => Some(places.within(&range).len() as f64),
            Sliding::Extreme {
                samples,
                greatest,
                candidates,
                seen,
            } => {
                for at in (*seen).max(range.start)..range.end {
                    let value = samples[at].value;
                    if value.is_nan() {
                        continue;
                    }
                    let is_worse = |candidate: &usize| {
                        let candidate = samples[*candidate].value;
                        if *greatest {
                            candidate < value
                        } else {
                            candidate > value
                        }
                    };
                    while candidates.back().is_some_and(is_worse) {
                        candidates.pop_back();
                    }
                    candidates.push_back(at);
                }
                *seen = range.end.max(*seen);
                while candidates.front().is_some_and(|at| *at < range.start) {
                    candidates.pop_front();
                }
                // Where all are NaN, so is the best.
                Some(candidates.front().map_or(f64::NAN, |at| samples[*at].value))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::over_time::{reduce, window};
    use super::super::select::Slider;
    use super::*;

    proptest! {
        #[test]
        fn a_sliding_window_gives_what_each_window_gives_alone(
            values in prop::collection::vec(prop_oneof![
                6 => (0..9_i32).prop_map(f64::from),
                1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, -0.0, -3.5]),
            ], 1..60),
            range in 1..30_i64, step in 1..20_i64,
        ) {
            let samples: Vec<Sample> = values
                .iter()
                .enumerate()
                .map(|(at, value)| Sample { time: at as i64 * 3, value: *value })
                .collect();
            for function in [
                OverTime::Rate, OverTime::Increase, OverTime::Resets, OverTime::Changes, OverTime::Min, OverTime::Max,
            ] {
                let mut slider = Slider::new(&samples);
                let mut sliding = Sliding::new(function, &samples).expect("slides");
                for at in (0..200).step_by(step as usize) {
                    let inside = slider.slide(at - range, at);
                    if inside.is_empty() {
                        continue;
                    }
                    let window = window(inside, at - range, at);
                    let slid = sliding.value(&window, slider.from..slider.to);
                    let alone = reduce(function, &window).expect("a value");
                    prop_assert_eq!(slid.map(f64::to_bits), alone.map(f64::to_bits), "{:?} at {}", function, at);
                }
            }
        }
    }
}
