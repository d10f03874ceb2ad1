//! How far a test is, in lines like k6's.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::run::Moment;
use crate::scenario::{Executor, ScenarioPlan};

/// The lines for a moment: one for the test, one a scenario.
#[must_use]
pub fn progress_lines(moment: &Moment<'_>, plans: &[ScenarioPlan]) -> Vec<String> {
    let state = moment.state;
    let users = state.vus_initialized.load(Ordering::Relaxed);
    let width = users.to_string().len();
    let mut lines = vec![format!(
        "running ({}), {:0width$}/{users} VUs, {} complete and {} interrupted iterations",
        clock(moment.elapsed),
        state.vus_active.load(Ordering::Relaxed),
        state.iterations_completed.load(Ordering::Relaxed),
        state.iterations_interrupted.load(Ordering::Relaxed),
    )];
    let names = plans
        .iter()
        .map(|plan| plan.name.chars().count())
        .max()
        .unwrap_or(0);
    for plan in plans {
        let scenario = moment
            .scenarios
            .iter()
            .find(|scenario| *scenario.name == *plan.name);
        let begun = scenario.is_some_and(|scenario| scenario.started.get().is_some());
        let part = scenario.map_or(
            0.0,
            |scenario| {
                if begun { (scenario.progress)() } else { 0.0 }
            },
        );
        let sign = match (begun, part >= 1.0) {
            (false, _) => '•',
            (true, true) => '✓',
            (true, false) => ' ',
        };
        let name = &plan.name;
        let fill = " ".repeat(names - name.chars().count());
        lines.push(format!(
            "{name}{fill} {sign} [ {:3.0}% ] {}",
            (part * 100.0).floor(),
            target(plan)
        ));
    }
    lines
}

fn target(plan: &ScenarioPlan) -> String {
    let length = plan.executor.duration();
    match &plan.executor {
        Executor::SharedIterations { iterations, .. } => format!("{iterations} shared iters"),
        Executor::PerVuIterations { iterations, .. } => format!("{iterations} iters per VU"),
        Executor::ConstantVus { users, .. } => format!("{users} VUs  {}", clock(length)),
        Executor::RampingVus { .. } => {
            format!(
                "up to {} VUs  {}",
                plan.executor.planned_users(),
                clock(length)
            )
        }
        Executor::ConstantArrivalRate { rate, .. } => {
            format!("{:.2} iters/s  {}", rate.per_second(), clock(length))
        }
        Executor::RampingArrivalRate { .. } => format!("ramping rate  {}", clock(length)),
        Executor::Scheduled { .. } => format!("scheduled rate  {}", clock(length)),
    }
}

/// `01.0s`, `1m05.0s`, `1h02m05.0s`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    let (hours, minutes) = (time.as_secs() / 3600, time.as_secs() / 60 % 60);
    let rest = (seconds % 60.0 * 10.0).floor() / 10.0;
    if hours > 0 {
        format!("{hours}h{minutes:02}m{rest:04.1}s")
    } else if minutes > 0 {
        format!("{minutes}m{rest:04.1}s")
    } else {
        format!("{rest:04.1}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (milliseconds, text) in [
            (1_040, "01.0s"),
            (65_000, "1m05.0s"),
            (3_725_900, "1h02m05.9s"),
        ] {
            assert_eq!(clock(Duration::from_millis(milliseconds)), text);
        }
    }
}
