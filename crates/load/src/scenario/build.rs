//! Options become scenarios, or a sentence that says what is wrong with them.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{ArrivalUsers, Executor, GRACE, Ramp, ScenarioPlan};
use crate::options::{ExecutorKind, Options, Scenario, Span, Stage};
use crate::schedule::Rate;

const SECOND: Duration = Duration::from_secs(1);
const TEN_MINUTES: Duration = Duration::from_secs(600);

/// What is wrong with the load that options ask for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// Two shortcuts exclude each other.
    #[error("using `{0}` and `{1}` options simultaneously is not allowed")]
    Shortcuts(&'static str, &'static str),
    /// Scenarios are wrong; each with its faults.
    #[error("There were problems with the specified script configuration:{}", .0.iter().map(|fault| format!("\n\t- {fault}")).collect::<String>())]
    Configuration(Vec<String>),
}

/// The scenarios of a test, sorted by name, and warnings about what was ignored.
///
/// # Errors
/// All that is wrong with them, at once.
pub fn scenarios(options: &Options) -> Result<(Vec<ScenarioPlan>, Vec<String>), ScenarioError> {
    let mut warnings = Vec::new();
    let wanted = match &options.scenarios {
        Some(scenarios) => {
            if let Some(shortcut) = shortcuts(options).first() {
                return Err(ScenarioError::Shortcuts("scenarios", shortcut));
            }
            if scenarios.is_empty() {
                warnings.push(explicitly_empty("scenarios"));
                default_alone(Scenario::of(ExecutorKind::PerVuIterations))
            } else {
                scenarios.clone()
            }
        }
        None => default_alone(from_shortcuts(options, &mut warnings)?),
    };
    let mut faults = Vec::new();
    let mut plans = Vec::new();
    for (name, scenario) in &wanted {
        match plan(name, scenario) {
            Ok(plan) => plans.push(plan),
            Err(found) => faults.push(format!(
                "scenario {name} has configuration errors: {}",
                found.join(", ")
            )),
        }
    }
    if faults.is_empty() {
        Ok((plans, warnings))
    } else {
        Err(ScenarioError::Configuration(faults))
    }
}

fn default_alone(scenario: Scenario) -> BTreeMap<String, Scenario> {
    BTreeMap::from([("default".to_owned(), scenario)])
}

fn explicitly_empty(option: &str) -> String {
    format!(
        "`{option}` was explicitly set to an empty value, running the script with 1 iteration in 1 VU"
    )
}

/// The stages that say how long they take; as in k6, the others stand for nothing.
fn timed_stages(options: &Options) -> Vec<Stage> {
    let stages = options.stages.iter().flatten();
    stages
        .filter(|stage| stage.duration.is_some())
        .cloned()
        .collect()
}

fn shortcuts(options: &Options) -> Vec<&'static str> {
    [
        ("iterations", options.iterations.is_some()),
        ("duration", options.duration.is_some()),
        ("stages", !timed_stages(options).is_empty()),
    ]
    .into_iter()
    .filter_map(|(name, given)| given.then_some(name))
    .collect()
}

/// The scenarios that the options say or stand for, as they were written.
#[must_use]
pub fn scenarios_as_written(options: &Options) -> BTreeMap<String, Scenario> {
    match &options.scenarios {
        Some(scenarios) if !scenarios.is_empty() => scenarios.clone(),
        _ => from_shortcuts(options, &mut Vec::new())
            .map(default_alone)
            .unwrap_or_default(),
    }
}

/// The scenario that `vus`, `duration`, `iterations` and `stages` stand for.
fn from_shortcuts(
    options: &Options,
    warnings: &mut Vec<String>,
) -> Result<Scenario, ScenarioError> {
    let mut scenario = Scenario::of(ExecutorKind::PerVuIterations);
    match shortcuts(options)[..] {
        ["iterations", "stages"] | ["iterations", "duration", "stages"] => {
            return Err(ScenarioError::Shortcuts("iterations", "stages"));
        }
        ["duration", "stages"] => return Err(ScenarioError::Shortcuts("duration", "stages")),
        ["iterations", ..] => {
            scenario.executor = ExecutorKind::SharedIterations;
            scenario.vus = options.vus;
            scenario.iterations = options.iterations;
            scenario.max_duration = options.duration;
        }
        ["duration"] => {
            scenario.executor = ExecutorKind::ConstantVus;
            scenario.vus = options.vus;
            scenario.duration = options.duration;
        }
        ["stages"] => {
            scenario.executor = ExecutorKind::RampingVus;
            scenario.start_vus = options.vus;
            scenario.stages = Some(timed_stages(options));
        }
        _ => {
            if options.stages.is_some() {
                warnings.push(explicitly_empty("stages"));
            }
            if let Some(vus) = options.vus.filter(|vus| *vus > 1) {
                warnings.push(format!(
                    "`vus={vus}` option will be ignored, it only works in conjunction with `iterations`, `duration`, or `stages`"
                ));
            }
        }
    }
    Ok(scenario)
}

impl Scenario {
    /// A scenario with this executor, of which nothing else is said.
    #[must_use]
    pub fn of(executor: ExecutorKind) -> Self {
        Self {
            executor,
            start_time: None,
            graceful_stop: None,
            exec: None,
            env: None,
            tags: None,
            options: None,
            vus: None,
            iterations: None,
            max_duration: None,
            duration: None,
            start_vus: None,
            stages: None,
            graceful_ramp_down: None,
            rate: None,
            start_rate: None,
            time_unit: None,
            pre_allocated_vus: None,
            max_vus: None,
        }
    }
}

/// What a scenario's fields come to; faults are gathered, so that all are told at once.
struct Reading<'scenario> {
    scenario: &'scenario Scenario,
    faults: Vec<String>,
}

fn plan(name: &str, scenario: &Scenario) -> Result<ScenarioPlan, Vec<String>> {
    let mut reading = Reading {
        scenario,
        faults: Vec::new(),
    };
    if name.is_empty()
        || !name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    {
        reading.fault(
            "the scenario name should contain only numbers, latin letters, underscores, and dashes",
        );
    }
    if scenario.exec.as_deref() == Some("") {
        reading.fault("exec value cannot be empty");
    }
    if scenario.options.is_some() {
        reading.fault("options of a single scenario (browser) are not supported");
    }
    let executor = reading.executor();
    reading.refuse_foreign_fields();
    if !reading.faults.is_empty() {
        return Err(reading.faults);
    }
    Ok(ScenarioPlan {
        name: name.to_owned(),
        executor,
        start_time: scenario
            .start_time
            .map_or(Duration::ZERO, |Span(time)| time),
        graceful_stop: scenario.graceful_stop.map_or(GRACE, |Span(time)| time),
        exec: scenario
            .exec
            .clone()
            .unwrap_or_else(|| "default".to_owned()),
        env: scenario.env.clone().unwrap_or_default(),
        tags: scenario.tags.clone().unwrap_or_default(),
    })
}

impl Reading<'_> {
    fn fault(&mut self, text: impl Into<String>) {
        self.faults.push(text.into());
    }

    fn executor(&mut self) -> Executor {
        let scenario = self.scenario;
        match scenario.executor {
            ExecutorKind::SharedIterations => {
                let (users, iterations) = self.users_and_iterations();
                if iterations < users {
                    self.fault(format!(
                        "the number of iterations ({iterations}) can't be less than the number of VUs ({users})"
                    ));
                }
                Executor::SharedIterations {
                    users,
                    iterations,
                    max_duration: self.max_duration(),
                }
            }
            ExecutorKind::PerVuIterations => {
                let (users, iterations) = self.users_and_iterations();
                Executor::PerVuIterations {
                    users,
                    iterations,
                    max_duration: self.max_duration(),
                }
            }
            ExecutorKind::ConstantVus => Executor::ConstantVus {
                users: self.users(),
                duration: self.duration(),
            },
            ExecutorKind::RampingVus => self.ramping_users(),
            ExecutorKind::ConstantArrivalRate => {
                let rate = Rate {
                    count: as_float(scenario.rate.unwrap_or(0)),
                    per: self.time_unit(),
                };
                if scenario.rate.is_none() {
                    self.fault("the iteration rate isn't specified");
                } else if rate.count <= 0.0 {
                    self.fault("the iteration rate must be more than 0");
                }
                Executor::ConstantArrivalRate {
                    rate,
                    duration: self.duration(),
                    users: self.arrival_users(),
                }
            }
            ExecutorKind::RampingArrivalRate => {
                let start = Rate {
                    count: as_float(scenario.start_rate.unwrap_or(0)),
                    per: self.time_unit(),
                };
                let stages = self
                    .stages()
                    .into_iter()
                    .map(|(length, target)| (length, as_float(target)))
                    .collect();
                Executor::RampingArrivalRate {
                    start,
                    stages,
                    users: self.arrival_users(),
                }
            }
            ExecutorKind::ExternallyControlled => {
                self.fault("the executor externally-controlled is not supported: use ramping-vus");
                Executor::ConstantVus {
                    users: 0,
                    duration: Duration::ZERO,
                }
            }
        }
    }

    fn users(&mut self) -> u64 {
        let users = self.scenario.vus.unwrap_or(1);
        if users == 0 {
            self.fault("the number of VUs must be more than 0");
        }
        users
    }

    fn users_and_iterations(&mut self) -> (u64, u64) {
        let users = self.users();
        let iterations = self.scenario.iterations.unwrap_or(1);
        if iterations == 0 {
            self.fault("the number of iterations must be more than 0");
        }
        (users, iterations)
    }

    fn max_duration(&mut self) -> Duration {
        let duration = self
            .scenario
            .max_duration
            .map_or(TEN_MINUTES, |Span(time)| time);
        if duration < SECOND {
            self.fault(format!(
                "the maxDuration must be at least 1s, but is {duration:?}"
            ));
        }
        duration
    }

    fn duration(&mut self) -> Duration {
        match self.scenario.duration {
            None => {
                self.fault("the duration is unspecified");
                Duration::ZERO
            }
            Some(Span(duration)) => {
                if duration < SECOND {
                    self.fault(format!(
                        "the duration must be at least 1s, but is {duration:?}"
                    ));
                }
                duration
            }
        }
    }

    fn time_unit(&mut self) -> Duration {
        let unit = self.scenario.time_unit.map_or(SECOND, |Span(time)| time);
        if unit.is_zero() {
            self.fault("the timeUnit must be more than 0");
            return SECOND;
        }
        unit
    }

    fn stages(&mut self) -> Ramp<u64> {
        let stages: &[Stage] = self.scenario.stages.as_deref().unwrap_or_default();
        if stages.is_empty() {
            self.fault("at least one stage has to be specified");
        }
        let mut ramp = Vec::with_capacity(stages.len());
        for (number, stage) in (1..).zip(stages) {
            match (stage.duration, stage.target) {
                (Some(Span(duration)), Some(target)) => ramp.push((duration, target)),
                (None, _) => self.fault(format!("stage {number} doesn't have a duration")),
                (_, None) => self.fault(format!("stage {number} doesn't have a target")),
            }
        }
        ramp
    }

    fn ramping_users(&mut self) -> Executor {
        let start = self.scenario.start_vus.unwrap_or(1);
        let stages = self.stages();
        if start == 0 && stages.iter().all(|stage| stage.1 == 0) {
            self.fault(
                "either startVUs or one of the stages' target values must be greater than 0",
            );
        }
        Executor::RampingVus {
            start,
            stages,
            graceful_ramp_down: self
                .scenario
                .graceful_ramp_down
                .map_or(GRACE, |Span(time)| time),
        }
    }

    fn arrival_users(&mut self) -> ArrivalUsers {
        let Some(preallocated) = self.scenario.pre_allocated_vus else {
            self.fault("the number of preAllocatedVUs isn't specified");
            return ArrivalUsers {
                preallocated: 0,
                max: 0,
            };
        };
        let max = self.scenario.max_vus.unwrap_or(preallocated);
        if max < preallocated {
            self.fault("maxVUs shouldn't be less than preAllocatedVUs");
        }
        if max == 0 {
            self.fault("maxVUs must be more than 0");
        }
        ArrivalUsers { preallocated, max }
    }

    /// A field of another executor would be ignored: it is named instead.
    fn refuse_foreign_fields(&mut self) {
        use ExecutorKind::{
            ConstantArrivalRate, ConstantVus, PerVuIterations, RampingArrivalRate, RampingVus,
            SharedIterations,
        };
        let scenario = self.scenario;
        let kind = scenario.executor;
        let counted = matches!(kind, SharedIterations | PerVuIterations);
        let arrivals = matches!(kind, ConstantArrivalRate | RampingArrivalRate);
        let ramping = matches!(kind, RampingVus | RampingArrivalRate);
        for (field, given, taken) in [
            (
                "vus",
                scenario.vus.is_some(),
                counted || kind == ConstantVus,
            ),
            ("iterations", scenario.iterations.is_some(), counted),
            ("maxDuration", scenario.max_duration.is_some(), counted),
            (
                "duration",
                scenario.duration.is_some(),
                matches!(kind, ConstantVus | ConstantArrivalRate),
            ),
            ("startVUs", scenario.start_vus.is_some(), kind == RampingVus),
            ("stages", scenario.stages.is_some(), ramping),
            (
                "gracefulRampDown",
                scenario.graceful_ramp_down.is_some(),
                kind == RampingVus,
            ),
            ("rate", scenario.rate.is_some(), kind == ConstantArrivalRate),
            (
                "startRate",
                scenario.start_rate.is_some(),
                kind == RampingArrivalRate,
            ),
            ("timeUnit", scenario.time_unit.is_some(), arrivals),
            (
                "preAllocatedVUs",
                scenario.pre_allocated_vus.is_some(),
                arrivals,
            ),
            ("maxVUs", scenario.max_vus.is_some(), arrivals),
        ] {
            if given && !taken && kind != ExecutorKind::ExternallyControlled {
                self.fault(format!("unknown field \"{field}\" for this executor"));
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<(Vec<ScenarioPlan>, Vec<String>), ScenarioError> {
        scenarios(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn shortcuts_stand_for_a_default_scenario() {
        for (json, name, users) in [
            ("{}", "per-vu-iterations", 1),
            (r#"{"vus": 4, "iterations": 10}"#, "shared-iterations", 4),
            (r#"{"vus": 4, "duration": "10s"}"#, "constant-vus", 4),
            (
                r#"{"stages": [{"duration": "1s", "target": 7}]}"#,
                "ramping-vus",
                7,
            ),
        ] {
            let (plans, warnings) = read(json).unwrap();
            assert_eq!(plans.len(), 1, "{json}");
            assert_eq!(plans[0].name, "default");
            assert_eq!(plans[0].executor.name(), name, "{json}");
            assert_eq!(plans[0].executor.planned_users(), users, "{json}");
            assert!(warnings.is_empty());
        }
        for (json, option) in [
            (r#"{"scenarios": {}}"#, "scenarios"),
            (r#"{"stages": [{"target": 2}]}"#, "stages"),
        ] {
            let (plans, warnings) = read(json).unwrap();
            assert_eq!(plans[0].executor.name(), "per-vu-iterations", "{json}");
            assert!(warnings[0].starts_with(&format!("`{option}` was explicitly set to an empty")));
        }
        let (_, warnings) = read(r#"{"vus": 3}"#).unwrap();
        assert!(warnings[0].starts_with("`vus=3` option will be ignored"));
    }

    #[test]
    fn what_is_wrong_is_said_in_k6s_words() {
        for (json, part) in [
            (
                r#"{"duration": "500ms"}"#,
                "the duration must be at least 1s, but is 500ms",
            ),
            (
                r#"{"vus": 2, "iterations": 1}"#,
                "the number of iterations (1) can't be less than the number of VUs (2)",
            ),
            (
                r#"{"iterations": 3, "stages": [{"duration": "1s", "target": 1}]}"#,
                "using `iterations` and `stages` options simultaneously is not allowed",
            ),
            (
                r#"{"scenarios": {"a": {"executor": "constant-arrival-rate", "rate": 5, "duration": "2s"}}}"#,
                "scenario a has configuration errors: the number of preAllocatedVUs isn't specified",
            ),
            (
                r#"{"scenarios": {"a b": {"executor": "constant-vus", "duration": "1s"}}}"#,
                "the scenario name should contain only",
            ),
            (
                r#"{"scenarios": {"a": {"executor": "constant-vus", "duration": "1s", "rate": 4}}}"#,
                "unknown field \"rate\"",
            ),
            (
                r#"{"scenarios": {"a": {"executor": "externally-controlled", "duration": "1s"}}}"#,
                "externally-controlled is not supported",
            ),
            (
                r#"{"scenarios": {"a": {"executor": "ramping-vus", "startVUs": 0, "stages": [{"duration": "1s", "target": 0}]}}}"#,
                "must be greater than 0",
            ),
            (
                r#"{"scenarios": {"a": {"executor": "ramping-arrival-rate", "stages": [{"target": 1}], "preAllocatedVUs": 1}}}"#,
                "stage 1 doesn't have a duration",
            ),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(part), "{json}: {error}");
        }
    }

    #[test]
    fn users_at_peak_counts_scenarios_that_run_together() {
        let (plans, _) = read(
            r#"{"scenarios": {
                "a": {"executor": "constant-vus", "vus": 3, "duration": "10s", "gracefulStop": "0s"},
                "b": {"executor": "constant-vus", "vus": 4, "duration": "10s", "startTime": "5s", "gracefulStop": "0s"},
                "c": {"executor": "constant-vus", "vus": 6, "duration": "10s", "startTime": "15s"}
            }}"#,
        )
        .unwrap();
        assert_eq!(
            super::super::users_at_peak(&plans, |plan| plan.executor.planned_users()),
            7
        );
        assert_eq!(super::super::latest_end(&plans), Duration::from_secs(55));
    }
}
