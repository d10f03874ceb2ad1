//! How long a container that keeps ending waits before it is started again.

use std::time::Duration;

use tokio::time::Instant;

/// The first wait.
const INITIAL: Duration = Duration::from_secs(10);
/// The longest wait.
const MAXIMUM: Duration = Duration::from_secs(300);
/// A container that ran this long starts afresh.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// The state of one container's back-off: nothing before its first restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    entry: Option<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    wait: Duration,
    restarted_at: Instant,
}

impl Backoff {
    /// The time before which a container that ended at `ended` is not started again, and how long
    /// that is after its end; `None` when it may start at once.
    #[must_use]
    pub fn held_until(&self, ended: Instant, now: Instant) -> Option<(Instant, Duration)> {
        let entry = self.entry.as_ref()?;
        let ran = ended.saturating_duration_since(entry.restarted_at);
        if ran >= FORGIVEN_AFTER {
            return None;
        }
        let until = ended + entry.wait;
        (now < until).then_some((until, entry.wait))
    }

    /// Notes that a container that ended at `ended` is started again now: the next wait doubles.
    pub fn restarted(&mut self, ended: Instant, now: Instant) {
        let wait = match &self.entry {
            Some(entry) if ended.saturating_duration_since(entry.restarted_at) < FORGIVEN_AFTER => {
                (entry.wait * 2).min(MAXIMUM)
            }
            _ => INITIAL,
        };
        self.entry = Some(Entry {
            wait,
            restarted_at: now,
        });
    }
}

/// A duration as Go prints it in whole seconds: `10s`, `1m20s`, `5m0s`.
#[must_use]
pub fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 {
        return format!("{seconds}s");
    }
    format!("{}m{}s", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_waits_double_from_ten_seconds_to_five_minutes() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..8 {
            let ended = now;
            if let Some((until, wait)) = backoff.held_until(ended, now) {
                waits.push(in_words(wait));
                now = until;
            }
            assert_eq!(backoff.held_until(ended, now), None);
            backoff.restarted(ended, now);
        }
        assert_eq!(
            waits,
            ["10s", "20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"]
        );
    }

    #[test]
    fn ten_minutes_of_running_are_forgiven() {
        let mut backoff = Backoff::default();
        let start = Instant::now();
        backoff.restarted(start, start);
        backoff.restarted(start, start);
        let ended = start + FORGIVEN_AFTER;
        assert_eq!(backoff.held_until(ended, ended), None);
        backoff.restarted(ended, ended);
        let (_, wait) = backoff.held_until(ended, ended).expect("held again");
        assert_eq!(wait, INITIAL);
    }
}
