//! A scenario in a line, as k6 lists it before a test.

use std::fmt::Write as _;
use std::time::Duration;

use super::{ArrivalUsers, Executor, ScenarioPlan};
use crate::schedule::Schedule;

impl ScenarioPlan {
    /// What it will do, for example `2 looping VUs for 2s (gracefulStop: 30s)`.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut notes = Vec::new();
        let what = match &self.executor {
            Executor::SharedIterations {
                users,
                iterations,
                max_duration,
            } => {
                notes.push(format!("maxDuration: {}", go_duration(*max_duration)));
                format!("{iterations} iterations shared among {users} VUs")
            }
            Executor::PerVuIterations {
                users,
                iterations,
                max_duration,
            } => {
                notes.push(format!("maxDuration: {}", go_duration(*max_duration)));
                format!("{iterations} iterations for each of {users} VUs")
            }
            Executor::ConstantVus { users, duration } => {
                format!("{users} looping VUs for {}", go_duration(*duration))
            }
            Executor::RampingVus {
                stages,
                graceful_ramp_down,
                ..
            } => {
                notes.push(format!(
                    "gracefulRampDown: {}",
                    go_duration(*graceful_ramp_down)
                ));
                format!(
                    "Up to {} looping VUs for {} over {} stages",
                    self.executor.planned_users(),
                    go_duration(self.executor.duration()),
                    stages.len()
                )
            }
            Executor::ConstantArrivalRate {
                rate,
                duration,
                users,
            } => {
                notes.push(max_users(*users));
                format!(
                    "{:.2} iterations/s for {}",
                    rate.per_second(),
                    go_duration(*duration)
                )
            }
            Executor::RampingArrivalRate {
                start,
                stages,
                users,
            } => {
                notes.push(max_users(*users));
                let peak = stages
                    .iter()
                    .map(|stage| stage.1)
                    .fold(start.count, f64::max);
                format!(
                    "Up to {:.2} iterations/s for {} over {} stages",
                    peak / start.per.as_secs_f64(),
                    go_duration(self.executor.duration()),
                    stages.len()
                )
            }
            Executor::Scheduled { schedule, users } => {
                notes.push(max_users(*users));
                let length = go_duration(schedule.length());
                match schedule {
                    Schedule::Line(line) => {
                        format!("Up to {:.2} iterations/s for {length}", line.peak())
                    }
                    Schedule::Playback(playback) => {
                        let requests = playback.recording().requests();
                        format!("A recording of {requests} requests, played in {length}")
                    }
                }
            }
        };
        if self.exec != "default" {
            notes.push(format!("exec: {}", self.exec));
        }
        if !self.start_time.is_zero() {
            notes.push(format!("startTime: {}", go_duration(self.start_time)));
        }
        if self.graceful_stop != Duration::ZERO {
            notes.push(format!("gracefulStop: {}", go_duration(self.graceful_stop)));
        }
        let mut line = what;
        if !notes.is_empty() {
            let _ = write!(line, " ({})", notes.join(", "));
        }
        line
    }
}

fn max_users(users: ArrivalUsers) -> String {
    if users.preallocated == users.max {
        format!("maxVUs: {}", users.max)
    } else {
        format!("maxVUs: {}-{}", users.preallocated, users.max)
    }
}

/// A duration as Go prints it: `1h0m5s`, `10m0s`, `1.5s`, `20ms`.
#[must_use]
pub(crate) fn go_duration(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        return if duration.is_zero() {
            "0s".to_owned()
        } else {
            format!("{duration:?}")
        };
    }
    let whole = duration.as_secs();
    let (hours, minutes) = (whole / 3600, whole / 60 % 60);
    let seconds = (duration - Duration::from_secs(whole - whole % 60)).as_secs_f64();
    if hours > 0 {
        format!("{hours}h{minutes}m{seconds}s")
    } else if minutes > 0 {
        format!("{minutes}m{seconds}s")
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenarios;
    use super::*;

    #[test]
    fn scenarios_are_listed_as_k6_lists_them() {
        let options = serde_json::from_str(
            r#"{"scenarios": {
                "five": {"executor": "ramping-arrival-rate", "startRate": 2, "preAllocatedVUs": 2, "stages": [{"duration": "1s", "target": 5}]},
                "four": {"executor": "per-vu-iterations", "vus": 2, "iterations": 2, "exec": "other"},
                "one": {"executor": "constant-arrival-rate", "rate": 5, "duration": "2s", "preAllocatedVUs": 1, "maxVUs": 2},
                "three": {"executor": "shared-iterations", "vus": 2, "iterations": 5, "maxDuration": "3s"},
                "two": {"executor": "ramping-vus", "stages": [{"duration": "1s", "target": 3}], "startTime": "1s"}
            }}"#,
        )
        .unwrap();
        let (plans, _) = scenarios(&options).unwrap();
        let lines: Vec<_> = plans.iter().map(ScenarioPlan::describe).collect();
        assert_eq!(
            lines,
            [
                "Up to 5.00 iterations/s for 1s over 1 stages (maxVUs: 2, gracefulStop: 30s)",
                "2 iterations for each of 2 VUs (maxDuration: 10m0s, exec: other, gracefulStop: 30s)",
                "5.00 iterations/s for 2s (maxVUs: 1-2, gracefulStop: 30s)",
                "5 iterations shared among 2 VUs (maxDuration: 3s, gracefulStop: 30s)",
                "Up to 3 looping VUs for 1s over 1 stages (gracefulRampDown: 30s, startTime: 1s, gracefulStop: 30s)",
            ]
        );
        assert_eq!(go_duration(Duration::from_millis(3_605_500)), "1h0m5.5s");
    }
}
