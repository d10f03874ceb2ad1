//! Waiting for conditions, each with a bound.

use std::fmt::Debug;
use std::time::Duration;

use jiff::Timestamp;
use springtide_machinery::clock::Clock;

/// How long anything may take that is a matter of a second on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a command may take. Longer than the `--timeout` that any command gets, so that it is the
/// command that says what it waited for.
pub const COMMAND: Duration = Duration::from_secs(150);

const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// A time by which something has to have happened.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    start: Timestamp,
    bound: Duration,
}

impl Deadline {
    /// A deadline this far away.
    pub fn within(bound: Duration) -> Self {
        Self {
            start: Clock::system().now(),
            bound,
        }
    }

    /// How much time has passed.
    pub fn elapsed(&self) -> Duration {
        Clock::system()
            .now()
            .duration_since(self.start)
            .unsigned_abs()
    }

    /// What is left; `None` when it is over.
    pub fn left(&self) -> Option<Duration> {
        self.bound
            .checked_sub(self.elapsed())
            .filter(|left| !left.is_zero())
    }
}

/// Lets a moment pass between two looks at a condition.
pub fn look_again() {
    std::thread::park_timeout(BETWEEN_LOOKS);
}

/// Asks until `attempt` answers `Ok`, for at most `bound`.
///
/// # Panics
/// With `what` and the last refusal when it did not happen.
pub fn until<T, E: Debug>(
    what: &str,
    bound: Duration,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> T {
    let deadline = Deadline::within(bound);
    loop {
        let refusal = match attempt() {
            Ok(value) => return value,
            Err(refusal) => refusal,
        };
        assert!(
            deadline.left().is_some(),
            "not within {bound:?}: {what}; last: {refusal:#?}"
        );
        look_again();
    }
}

/// Asks until `condition` holds, for at most [`PATIENCE`].
///
/// # Panics
/// With `what` when it did not happen.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, PATIENCE, || {
        if condition() { Ok(()) } else { Err("not yet") }
    });
}
