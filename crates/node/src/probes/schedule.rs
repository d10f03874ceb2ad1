//! When to check.
//!
//! Checks follow the probe's period. While a container has never been ready, Kubernetes lets
//! readiness be checked at other times too, "to make the Pod ready faster": here a check that
//! failed at the start is soon repeated. Such checks can only find that the container is ready;
//! failures among them count for nothing and are not told.

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;
use tokio::time::Instant;

use super::{Kind, positive};

/// The first wait between a failed check at the start and its repetition; doubles.
const AGAIN_FIRST: Duration = Duration::from_millis(20);
/// The same for a check that costs a process.
const AGAIN_FIRST_EXPENSIVE: Duration = Duration::from_millis(100);
/// The longest of these waits.
const AGAIN_MOST: Duration = Duration::from_millis(500);
/// How long after its start a container is checked more often.
const START: Duration = Duration::from_secs(30);
/// The same when checks cost a process.
const START_EXPENSIVE: Duration = Duration::from_secs(10);
/// How long after its start a container that does not answer yet is nothing to be told.
const SILENCE: Duration = Duration::from_secs(1);

/// The times of one probe's checks.
#[derive(Clone, Debug)]
pub struct Schedule {
    period: Duration,
    /// The last time that the period gave.
    tick: Instant,
    started: Instant,
    /// How long to wait before the next check beside the period; `None` once there are none.
    again: Option<Duration>,
    eager_until: Instant,
    /// Whether the check that was last begun is one of the period's.
    regular: bool,
    readiness: bool,
    ever_ready: bool,
}

impl Schedule {
    /// The schedule of a probe of a container that started at `started`.
    #[must_use]
    pub fn new(
        kind: Kind,
        probe: &Probe,
        started: Instant,
        expensive: bool,
        was_ready: bool,
    ) -> Self {
        let initial = u64::try_from(probe.initial_delay_seconds.unwrap_or(0)).unwrap_or(0);
        let first = started + Duration::from_secs(initial);
        let readiness = kind == Kind::Readiness;
        let (again, eager) = if expensive {
            (AGAIN_FIRST_EXPENSIVE, START_EXPENSIVE)
        } else {
            (AGAIN_FIRST, START)
        };
        Self {
            period: Duration::from_secs(u64::from(positive(probe.period_seconds, 10))),
            tick: first,
            started,
            again: (readiness && !was_ready).then_some(again),
            eager_until: first.max(started) + eager,
            regular: true,
            readiness,
            ever_ready: was_ready,
        }
    }

    /// When the first check is due, seen from `now`.
    #[must_use]
    pub fn first(&mut self, now: Instant) -> Instant {
        self.tick = self.tick.max(now);
        self.tick
    }

    /// Whether a failure of the check just made counts.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        self.regular
    }

    /// Whether a failure of the check just made is told.
    #[must_use]
    pub fn is_told(&self, now: Instant) -> bool {
        let starting = self.readiness && !self.ever_ready && now < self.started + SILENCE;
        self.regular && !starting
    }

    /// When the next check is due after one that ended now.
    #[must_use]
    pub fn next(&mut self, success: bool, now: Instant) -> Instant {
        while self.tick <= now {
            self.tick += self.period;
        }
        if success {
            self.ever_ready = true;
            self.again = None;
        }
        if now >= self.eager_until {
            self.again = None;
        }
        if let Some(wait) = self.again {
            self.again = Some((wait * 2).min(AGAIN_MOST));
            if now + wait < self.tick {
                self.regular = false;
                return now + wait;
            }
        }
        self.regular = true;
        self.tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(initial: i32, period: i32) -> Probe {
        Probe {
            initial_delay_seconds: Some(initial),
            period_seconds: Some(period),
            ..Probe::default()
        }
    }

    /// The times in milliseconds since the start of the checks before `until`, which succeed from
    /// `well` on, and `!` for those that count.
    fn times(kind: Kind, probe: &Probe, well: u64, until: u64) -> String {
        let start = Instant::now();
        let mut schedule = Schedule::new(kind, probe, start, false, false);
        let mut at = schedule.first(start);
        let mut text = Vec::new();
        while at < start + Duration::from_millis(until) {
            let elapsed = at.duration_since(start).as_millis();
            let mark = if schedule.is_counted() { "!" } else { "" };
            text.push(format!("{elapsed}{mark}"));
            at = schedule.next(elapsed >= u128::from(well), at);
        }
        text.join(" ")
    }

    #[test]
    fn readiness_is_soon_checked_again_until_it_succeeds_once() {
        assert_eq!(
            times(Kind::Readiness, &probe(0, 10), 100, 31_000),
            "0! 20 60 140 10000! 20000! 30000!"
        );
        assert_eq!(
            times(Kind::Readiness, &probe(2, 1), 9000, 4_000),
            "2000! 2020 2060 2140 2300 2620 3000! 3500"
        );
    }

    #[test]
    fn other_probes_keep_to_their_period() {
        let expected = "5000! 8000! 11000!";
        for kind in [Kind::Startup, Kind::Liveness] {
            assert_eq!(times(kind, &probe(5, 3), 60_000, 12_000), expected);
        }
    }

    #[test]
    fn a_container_that_never_gets_ready_is_left_to_its_period() {
        let all = times(Kind::Readiness, &probe(0, 10), u64::MAX, 60_000);
        assert!(all.ends_with("30000! 40000! 50000!"), "{all}");
    }
}
