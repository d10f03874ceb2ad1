use std::time::Duration;

/// Delays that double from a first value up to a bound, without jitter, so
/// that a simulation repeats exactly.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    bound: Duration,
    failures: u32,
}

impl Backoff {
    /// Starts at `first` and never exceeds `bound`.
    pub const fn new(first: Duration, bound: Duration) -> Self {
        Self {
            first,
            bound,
            failures: 0,
        }
    }

    /// The delay after one more failure.
    pub fn fail(&mut self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        self.first.saturating_mul(factor).min(self.bound)
    }

    /// Forgets earlier failures.
    pub fn succeed(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_bound_and_start_over_after_a_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let delays: Vec<u128> = (0..6).map(|_| backoff.fail().as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1000, 1000]);
        for _ in 0..100 {
            assert_eq!(backoff.fail(), Duration::from_secs(1));
        }
        backoff.succeed();
        assert_eq!(backoff.fail(), Duration::from_millis(100));
    }
}
