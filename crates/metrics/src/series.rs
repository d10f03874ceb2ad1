//! A counter's last seconds, and the rate it went at.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

/// The points of one counter, newest last.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Counter {
    points: VecDeque<Point>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Point {
    at: Timestamp,
    value: f64,
}

/// How fast a counter went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    /// Units a second.
    pub(crate) per_second: f64,
    /// The end of the time it is of.
    pub(crate) at: Timestamp,
    /// The length of that time.
    pub(crate) window: Duration,
}

// === impl Counter ===

impl Counter {
    /// Adds a point and forgets what `window` does not need. A counter that went back began anew; a point
    /// that is no newer than the last is the same measurement again.
    pub(crate) fn add(&mut self, at: Timestamp, value: f64, window: Duration) {
        if let Some(last) = self.points.back() {
            if at <= last.at {
                return;
            }
            if value < last.value {
                self.points.clear();
            }
        }
        self.points.push_back(Point { at, value });
        // Two points are always kept, however rarely a kubelet measures.
        while self.points.len() > 2
            && self
                .points
                .get(1)
                .is_some_and(|second| between(second.at, at) >= window)
        {
            self.points.pop_front();
        }
    }

    /// Forgets all points: the counter is that of another process.
    pub(crate) fn restart(&mut self) {
        self.points.clear();
    }

    /// The rate over the window, once there are two points.
    pub(crate) fn rate(&self) -> Option<Rate> {
        let (first, last) = (self.points.front()?, self.points.back()?);
        let window = between(first.at, last.at);
        if window.is_zero() {
            return None;
        }
        Some(Rate {
            per_second: (last.value - first.value) / window.as_secs_f64(),
            at: last.at,
            window,
        })
    }
}

fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(5);

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_millis(milliseconds)
    }

    fn fed(points: &[(i64, f64)]) -> Counter {
        let mut counter = Counter::default();
        for (milliseconds, value) in points {
            counter.add(at(*milliseconds), *value, WINDOW);
        }
        counter
    }

    #[test]
    fn one_point_is_no_rate() {
        assert_eq!(fed(&[(0, 7.0)]).rate(), None);
        assert_eq!(fed(&[(0, 7.0), (0, 9.0)]).rate(), None);
    }

    #[test]
    fn the_rate_is_of_the_window_only() {
        let slow_then_fast: Vec<(i64, f64)> = (0..=20)
            .map(|second| {
                (
                    second * 1000,
                    if second <= 10 {
                        0.0
                    } else {
                        (second - 10) as f64 * 0.5
                    },
                )
            })
            .collect();
        let rate = fed(&slow_then_fast).rate().unwrap();
        assert_eq!(
            (rate.per_second, rate.window, rate.at),
            (0.5, WINDOW, at(20_000))
        );
    }

    #[test]
    fn a_counter_that_went_back_began_anew() {
        let mut counter = fed(&[(0, 100.0), (1000, 101.0), (2000, 0.5)]);
        assert_eq!(counter.rate(), None);
        counter.add(at(3000), 0.75, WINDOW);
        assert_eq!(counter.rate().map(|rate| rate.per_second), Some(0.25));
    }

    #[test]
    fn rare_measurements_still_give_a_rate() {
        let rate = fed(&[(0, 0.0), (15_000, 3.0), (30_000, 9.0)])
            .rate()
            .unwrap();
        assert_eq!(
            (rate.per_second, rate.window),
            (0.4, Duration::from_secs(15))
        );
    }

    proptest! {
        #[test]
        fn a_rate_is_never_negative_and_its_window_never_much_longer_than_asked(
            steps in prop::collection::vec((1_i64..3000, 0.0_f64..10.0), 1..60)
        ) {
            let mut counter = Counter::default();
            let mut now = 0;
            for (step, value) in steps {
                now += step;
                counter.add(at(now), value, WINDOW);
                if let Some(rate) = counter.rate() {
                    prop_assert!(rate.per_second >= 0.0);
                    prop_assert!(rate.window < WINDOW + Duration::from_secs(3));
                }
            }
        }
    }
}
