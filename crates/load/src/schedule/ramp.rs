//! How the number of virtual users changes under `ramping-vus`.

use std::time::Duration;

/// From this moment on, so many virtual users run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Time since the start of the scenario.
    pub at: Duration,
    /// Virtual users from then on.
    pub users: u64,
}

/// The moments at which a user starts or stops, when the number goes from `start` in a straight line
/// through each stage (its length, and the users at its end).
///
/// Users change one at a time: going up, user `n` starts when the line reaches `n`; going down, it
/// stops when the line leaves `n`. A stage without length jumps. The first step is at zero.
#[must_use]
pub fn ramp_steps(start: u64, stages: &[(Duration, u64)]) -> Vec<Step> {
    let mut steps = vec![Step {
        at: Duration::ZERO,
        users: start,
    }];
    let mut begin = Duration::ZERO;
    let mut from = start;
    for &(length, to) in stages {
        let changes = from.abs_diff(to);
        if length.is_zero() {
            push(
                &mut steps,
                Step {
                    at: begin,
                    users: to,
                },
            );
        } else {
            for change in 1..=changes {
                let users = if to > from {
                    from + change
                } else {
                    from - change
                };
                let at = begin + part_of(length, change, changes);
                push(&mut steps, Step { at, users });
            }
        }
        begin += length;
        from = to;
    }
    steps
}

/// `length × part / whole`, exact to the nanosecond.
fn part_of(length: Duration, part: u64, whole: u64) -> Duration {
    let nanoseconds = length.as_nanos() * u128::from(part) / u128::from(whole);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// Adds a step; one at the same moment as the last replaces it, and one that changes nothing is left out.
fn push(steps: &mut Vec<Step>, step: Step) {
    if steps.len() > 1 {
        steps.pop_if(|last| last.at == step.at);
    } else if step.at.is_zero() {
        steps.clear();
    }
    if steps.last().is_some_and(|last| last.users == step.users) {
        return;
    }
    steps.push(step);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn steps(start: u64, stages: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let stages: Vec<_> = stages
            .iter()
            .map(|&(seconds, users)| (Duration::from_secs(seconds), users))
            .collect();
        ramp_steps(start, &stages)
            .into_iter()
            .map(|step| (u64::try_from(step.at.as_millis()).unwrap(), step.users))
            .collect()
    }

    #[test]
    fn users_come_one_by_one_and_the_last_at_the_stages_end() {
        assert_eq!(
            steps(0, &[(4, 4)]),
            [(0, 0), (1000, 1), (2000, 2), (3000, 3), (4000, 4)]
        );
    }

    #[test]
    fn users_leave_one_by_one() {
        assert_eq!(
            steps(3, &[(3, 0)]),
            [(0, 3), (1000, 2), (2000, 1), (3000, 0)]
        );
    }

    #[test]
    fn a_stage_without_length_jumps_and_a_level_stage_waits() {
        assert_eq!(steps(1, &[(0, 10), (5, 10), (0, 2)]), [(0, 10), (5000, 2)]);
    }

    proptest! {
        #[test]
        fn steps_are_in_order_and_end_at_the_last_target(
            start in 0..20u64,
            stages in prop::collection::vec((0..10u64, 0..20u64), 1..6),
        ) {
            let steps = steps(start, &stages);
            prop_assert!(steps.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1));
            prop_assert_eq!(steps.last().map(|step| step.1), stages.last().map(|stage| stage.1));
        }
    }
}
