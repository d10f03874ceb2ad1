//! Counts and times of finished requests: for the current second and for the whole run.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;

use crate::connection::{Answer, RequestError};

/// The longest time that is told apart: an hour. Longer ones count as this.
const LONGEST: Duration = Duration::from_secs(3600);

/// What happened in one second of the run.
#[derive(Clone, Debug)]
pub struct Second {
    /// Requests that were answered or given up in this second.
    pub requests: u64,
    /// Those of them that failed: no answer, or a status of 400 and above.
    pub failures: u64,
    times: Histogram<u64>,
}

/// What happened in the whole run.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Requests that were answered or given up.
    pub requests: u64,
    /// Those of them that failed: no answer, or a status of 400 and above.
    pub failures: u64,
    /// Arrivals of the open model for which no connection was free in time.
    pub dropped: u64,
    /// Bytes of answered bodies.
    pub body_bytes: u64,
    /// How long the run really took.
    pub elapsed: Duration,
    /// How often each status came.
    pub statuses: BTreeMap<u16, u64>,
    /// How often each reason for getting no answer came.
    pub errors: BTreeMap<String, u64>,
    times: Histogram<u64>,
}

/// Takes every finished request; shared by all who send.
#[derive(Debug)]
pub struct Recorder {
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    second: Second,
    whole: Summary,
}

// === impl Recorder ===

impl Default for Recorder {
    fn default() -> Self {
        let second = Second {
            requests: 0,
            failures: 0,
            times: empty_histogram(),
        };
        let whole = Summary {
            requests: 0,
            failures: 0,
            dropped: 0,
            body_bytes: 0,
            elapsed: Duration::ZERO,
            statuses: BTreeMap::new(),
            errors: BTreeMap::new(),
            times: empty_histogram(),
        };
        Self {
            counts: Mutex::new(Counts { second, whole }),
        }
    }
}

impl Recorder {
    pub(crate) fn record(&self, took: Duration, outcome: &Result<Answer, RequestError>) {
        let microseconds = u64::try_from(took.min(LONGEST).as_micros()).unwrap_or(u64::MAX);
        let failed = outcome.as_ref().map_or(true, |answer| answer.status >= 400);
        let mut counts = self.counts.lock();
        let Counts { second, whole } = &mut *counts;
        second.times.saturating_record(microseconds);
        whole.times.saturating_record(microseconds);
        second.requests += 1;
        whole.requests += 1;
        second.failures += u64::from(failed);
        whole.failures += u64::from(failed);
        match outcome {
            Ok(answer) => {
                whole.body_bytes += answer.body_bytes;
                *whole.statuses.entry(answer.status).or_default() += 1;
            }
            Err(error) => *whole.errors.entry(error.to_string()).or_default() += 1,
        }
    }

    pub(crate) fn record_dropped(&self) {
        self.counts.lock().whole.dropped += 1;
    }

    /// Takes what happened since the last call.
    pub fn take_second(&self) -> Second {
        let mut counts = self.counts.lock();
        let fresh = Second {
            requests: 0,
            failures: 0,
            times: empty_histogram(),
        };
        std::mem::replace(&mut counts.second, fresh)
    }

    /// What happened so far, over `elapsed`.
    pub fn summary(&self, elapsed: Duration) -> Summary {
        let mut summary = self.counts.lock().whole.clone();
        summary.elapsed = elapsed;
        summary
    }
}

// === impl Second ===

impl Second {
    /// The time that `percent` of the second's requests stayed at or under.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.times.value_at_quantile(percent / 100.0))
    }
}

// === impl Summary ===

impl Summary {
    /// The time that `percent` of the requests stayed at or under.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.times.value_at_quantile(percent / 100.0))
    }

    /// The mean time.
    #[must_use]
    pub fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.times.mean() / 1e6)
    }

    /// The shortest time.
    #[must_use]
    pub fn shortest(&self) -> Duration {
        if self.times.is_empty() {
            Duration::ZERO
        } else {
            Duration::from_micros(self.times.min())
        }
    }

    /// The longest time.
    #[must_use]
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.times.max())
    }

    /// Failed requests as a part of all, from 0 to 1; 0 where there were none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn failure_rate(&self) -> f64 {
        if self.requests == 0 {
            0.0
        } else {
            self.failures as f64 / self.requests as f64
        }
    }

    /// Requests a second over the whole run.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn rate(&self) -> f64 {
        if self.elapsed.is_zero() {
            0.0
        } else {
            self.requests as f64 / self.elapsed.as_secs_f64()
        }
    }
}

/// Microseconds from 1 µs to an hour, to three digits.
fn empty_histogram() -> Histogram<u64> {
    let longest = u64::try_from(LONGEST.as_micros()).unwrap_or(u64::MAX);
    Histogram::new_with_bounds(1, longest, 3)
        .expect("an hour of microseconds to three digits is a valid histogram")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16) -> Result<Answer, RequestError> {
        Ok(Answer {
            status,
            body_bytes: 10,
        })
    }

    #[test]
    fn a_second_starts_empty_and_the_whole_keeps_all() {
        let recorder = Recorder::default();
        recorder.record(Duration::from_millis(10), &answer(200));
        recorder.record(Duration::from_millis(20), &answer(503));
        let second = recorder.take_second();
        assert_eq!((second.requests, second.failures), (2, 1));
        recorder.record(Duration::from_millis(30), &Err(RequestError::Timeout));
        assert_eq!(recorder.take_second().requests, 1);
        let summary = recorder.summary(Duration::from_secs(3));
        assert_eq!(
            (summary.requests, summary.failures, summary.body_bytes),
            (3, 2, 20)
        );
        assert_eq!(summary.statuses, BTreeMap::from([(200, 1), (503, 1)]));
        assert_eq!(
            summary.errors,
            BTreeMap::from([("request timed out".to_owned(), 1)])
        );
        assert!((summary.rate() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let recorder = Recorder::default();
        for milliseconds in 1..=100 {
            recorder.record(Duration::from_millis(milliseconds), &answer(200));
        }
        let summary = recorder.summary(Duration::from_secs(1));
        for (percent, milliseconds) in [(50.0, 50.0), (95.0, 95.0), (99.0, 99.0)] {
            let found = summary.percentile(percent).as_secs_f64() * 1000.0;
            assert!(
                (found - milliseconds).abs() <= milliseconds / 1000.0,
                "p({percent}) = {found}"
            );
        }
        assert_eq!(summary.shortest(), Duration::from_millis(1));
    }

    #[test]
    fn a_run_without_requests_divides_by_nothing() {
        let summary = Recorder::default().summary(Duration::ZERO);
        assert_eq!((summary.requests, summary.shortest()), (0, Duration::ZERO));
        assert!(summary.failure_rate().abs() < f64::EPSILON && summary.rate().abs() < f64::EPSILON);
    }
}
