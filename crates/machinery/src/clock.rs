//! The one clock: wall time in production, simulated time in tests and simulations.
//!
//! Only wall time is read here. Durations and waiting are tokio's, which stand still under paused
//! time; a simulated clock follows them.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use tokio::time::Instant;

/// Tells the wall time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Simulated { base: Timestamp, started: Instant },
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that says `base` now and follows tokio's time from here on. Its clones agree.
    pub fn simulated(base: Timestamp) -> Self {
        Self(Source::Simulated {
            base,
            started: Instant::now(),
        })
    }

    /// The wall time. A simulated clock that would pass the end of time stays there.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            // The one place that may ask the system.
            #[allow(clippy::disallowed_methods)]
            Source::System => Timestamp::now(),
            Source::Simulated { base, started } => base
                .saturating_add(started.elapsed())
                .unwrap_or(Timestamp::MAX),
        }
    }
}

/// Formats a time as metav1.Time does: UTC, whole seconds, `2026-01-02T03:04:05Z`.
pub fn rfc3339(time: Timestamp) -> String {
    // Cut downwards, also before 1970.
    print(time, 0)
}

/// Formats a time as metav1.MicroTime does: UTC, six digits, `2026-01-02T03:04:05.000006Z`.
pub fn rfc3339_micro(time: Timestamp) -> String {
    print(time, 6)
}

fn print(time: Timestamp, digits: u8) -> String {
    DateTimePrinter::new()
        .precision(Some(digits))
        .timestamp_to_string(&time)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_clock_follows_tokios_time() {
        let base: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let clock = Clock::simulated(base);
        let other = clock.clone();
        assert_eq!(clock.now(), base);
        tokio::time::advance(Duration::from_millis(1_500)).await;
        assert_eq!(clock.now().to_string(), "2026-01-02T03:04:06.5Z");
        assert_eq!(other.now(), clock.now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_simulated_clock_stops_at_the_end_of_time() {
        let clock = Clock::simulated(Timestamp::MAX);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(clock.now(), Timestamp::MAX);
    }

    #[test]
    fn times_print_as_kubernetes_prints_them() {
        let time: Timestamp = "2026-01-02T03:04:05.9876543Z".parse().unwrap();
        assert_eq!(rfc3339(time), "2026-01-02T03:04:05Z");
        assert_eq!(rfc3339_micro(time), "2026-01-02T03:04:05.987654Z");
        let whole: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(rfc3339_micro(whole), "2026-01-02T03:04:05.000000Z");
    }
}
