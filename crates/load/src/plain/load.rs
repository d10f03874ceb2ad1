//! How much load there is, as flags say it.

use std::time::Duration;

use crate::scenario::{ArrivalUsers, Executor, ScenarioPlan};
use crate::schedule::{Line, Rate, Schedule};
use crate::{Error, parse_duration};

/// How long requests under way at the end may take to finish.
const GRACE: Duration = Duration::from_secs(30);

/// One piece of a run: the level moves in a straight line to `target` within `duration`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// How long the stage lasts.
    pub duration: Duration,
    /// The level at its end; users or arrivals a second.
    pub target: f64,
}

/// How much load there is.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    /// Users who each send a request, wait for its answer, and send the next (closed model).
    Users {
        /// How many at the start.
        start: u64,
        /// Where their number goes; without stages it stays.
        stages: Vec<Stage>,
        /// How long, where there are no stages.
        duration: Duration,
    },
    /// Users who send so many requests together.
    Iterations {
        /// How many users.
        users: u64,
        /// How many requests.
        iterations: u64,
        /// After this time no more is sent.
        max_duration: Duration,
    },
    /// Requests that start when a schedule says, whatever the server does (open model).
    Arrivals {
        /// When.
        schedule: Schedule,
        /// The most requests under way at once; arrivals above it are dropped and counted.
        max_in_flight: u64,
    },
}

// === impl Stage ===

impl std::str::FromStr for Stage {
    type Err = Error;

    /// Reads `DURATION:TARGET`, for example `30s:50`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason: &str| Error::Stage {
            given: text.to_owned(),
            reason: reason.to_owned(),
        };
        let (duration, target) = text
            .split_once(':')
            .ok_or_else(|| wrong("there is no colon"))?;
        let target: f64 = target
            .trim()
            .parse()
            .ok()
            .filter(|target: &f64| target.is_finite() && *target >= 0.0)
            .ok_or_else(|| wrong("the level is not a number of zero or more"))?;
        Ok(Self {
            duration: parse_duration(duration)?,
            target,
        })
    }
}

// === impl Load ===

impl Load {
    /// Requests at this rate, which then follows stages; without stages it stays for `duration`.
    #[must_use]
    pub fn at_rate(rate: f64, stages: &[Stage], duration: Duration, max_in_flight: u64) -> Self {
        let stages = if stages.is_empty() {
            vec![(duration, rate)]
        } else {
            stages
                .iter()
                .map(|stage| (stage.duration, stage.target))
                .collect()
        };
        Self::Arrivals {
            schedule: Schedule::Line(Line {
                start: rate,
                stages,
            }),
            max_in_flight,
        }
    }

    /// The scenario that makes this load.
    ///
    /// # Errors
    /// When there would be no load or no time for it.
    pub fn plan(self) -> Result<ScenarioPlan, Error> {
        let executor = match self {
            Self::Users {
                start,
                stages,
                duration,
            } => users(start, &stages, duration)?,
            Self::Iterations {
                users,
                iterations,
                max_duration,
            } => {
                if users == 0 || iterations == 0 {
                    return Err(Error::Load(
                        "there is no load: give --vus and --iterations above zero",
                    ));
                }
                Executor::SharedIterations {
                    users: users.min(iterations),
                    iterations,
                    max_duration,
                }
            }
            Self::Arrivals {
                schedule,
                max_in_flight,
            } => arrivals(schedule, max_in_flight)?,
        };
        if executor.duration().is_zero() {
            return Err(Error::Load(
                "the load lasts no time: give --duration or --stage above zero",
            ));
        }
        Ok(ScenarioPlan {
            name: "default".to_owned(),
            executor,
            start_time: Duration::ZERO,
            graceful_stop: GRACE,
            exec: "default".to_owned(),
            env: std::collections::BTreeMap::new(),
            tags: std::collections::BTreeMap::new(),
        })
    }
}

fn users(start: u64, stages: &[Stage], duration: Duration) -> Result<Executor, Error> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "levels are zero or more"
    )]
    let stages: Vec<(Duration, u64)> = stages
        .iter()
        .map(|stage| (stage.duration, stage.target.round() as u64))
        .collect();
    if start == 0 && stages.iter().all(|stage| stage.1 == 0) {
        return Err(Error::Load(
            "there is no load: give --vus, --rate or a --stage above zero",
        ));
    }
    Ok(if stages.is_empty() {
        Executor::ConstantVus {
            users: start,
            duration,
        }
    } else {
        Executor::RampingVus {
            start,
            stages,
            graceful_ramp_down: GRACE,
        }
    })
}

fn arrivals(schedule: Schedule, max_in_flight: u64) -> Result<Executor, Error> {
    if max_in_flight == 0 {
        return Err(Error::Load("--max-in-flight 0 lets no request start"));
    }
    // Users are made as they are needed, which costs nothing here.
    let users = ArrivalUsers {
        preallocated: 0,
        max: max_in_flight,
    };
    let Schedule::Line(line) = &schedule else {
        return Ok(Executor::Scheduled { schedule, users });
    };
    if !(line.lowest() >= 0.0 && line.peak().is_finite()) {
        return Err(Error::Load("a rate is a number of zero or more"));
    }
    if line.peak() == 0.0 {
        return Err(Error::Load(
            "there is no load: give --vus, --rate or a --stage above zero",
        ));
    }
    match line.stages[..] {
        #[expect(clippy::float_cmp, reason = "a rate that stays is the same number")]
        [(duration, rate)] if rate == line.start => Ok(Executor::ConstantArrivalRate {
            rate: Rate {
                count: rate,
                per: Duration::from_secs(1),
            },
            duration,
            users,
        }),
        _ => Ok(Executor::Scheduled { schedule, users }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_kind_of_load_has_its_executor() {
        let stage: Stage = "2s:20".parse().unwrap();
        let users = |start, stages: &[Stage]| Load::Users {
            start,
            stages: stages.to_vec(),
            duration: SECOND,
        };
        for (load, name) in [
            (users(3, &[]), "constant-vus"),
            (users(0, &[stage]), "ramping-vus"),
            (
                Load::Iterations {
                    users: 5,
                    iterations: 3,
                    max_duration: SECOND,
                },
                "shared-iterations",
            ),
            (Load::at_rate(5.0, &[], SECOND, 10), "constant-arrival-rate"),
            (
                Load::at_rate(0.0, &[stage], SECOND, 10),
                "scheduled-arrival-rate",
            ),
        ] {
            assert_eq!(
                load.clone().plan().unwrap().executor.name(),
                name,
                "{load:?}"
            );
        }
    }

    #[test]
    fn load_that_makes_no_sense_is_refused() {
        for text in ["30s", "30:5", "x:5", "30s:-1", "30s:many", "30s:inf"] {
            assert!(text.parse::<Stage>().is_err(), "{text}");
        }
        let none = Load::Users {
            start: 0,
            stages: Vec::new(),
            duration: SECOND,
        };
        for (load, reason) in [
            (none, "there is no load"),
            (Load::at_rate(0.0, &[], SECOND, 10), "there is no load"),
            (Load::at_rate(-1.0, &[], SECOND, 10), "zero or more"),
            (Load::at_rate(f64::NAN, &[], SECOND, 10), "zero or more"),
            (Load::at_rate(1.0, &[], Duration::ZERO, 10), "no time"),
            (Load::at_rate(1.0, &[], SECOND, 0), "--max-in-flight"),
        ] {
            let error = load.plan().unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
