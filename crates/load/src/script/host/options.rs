//! `exec.test.options`: the options that hold, in k6's shape.

use serde_json::{Map, Value, json};

use super::Effective;
use crate::options::{ExecutorKind, Options};
use crate::scenario::scenarios_as_written;
use crate::summary::TREND_STATISTICS;

/// Fields that scenarios of every executor have.
const COMMON: [&str; 6] = [
    "executor",
    "startTime",
    "gracefulStop",
    "env",
    "exec",
    "tags",
];

impl Effective {
    /// The options as a script sees them. What stands for a scenario is shown as that scenario.
    pub(super) fn shown_options(&self) -> serde_json::Result<Value> {
        let mut shown = serde_json::to_value(&self.options)?;
        let Some(fields) = shown.as_object_mut() else {
            return Ok(shown);
        };
        for shortcut in ["vus", "duration", "iterations", "stages", "cloud"] {
            fields.remove(shortcut);
        }
        // What this program has no such option for.
        for name in ["consoleOutput", "metricSamplesBufferSize"] {
            fields.entry(name).or_insert(Value::Null);
        }
        let mut scenarios = Map::new();
        for (name, scenario) in scenarios_as_written(&self.options) {
            let own = fields_of(scenario.executor);
            let mut written = serde_json::to_value(scenario)?;
            if let Some(written) = written.as_object_mut() {
                written.retain(|field, value| {
                    COMMON.contains(&field.as_str())
                        || own.contains(&field.as_str())
                        || !value.is_null()
                });
            }
            scenarios.insert(name, written);
        }
        fields.insert("scenarios".to_owned(), scenarios.into());
        let mut default = |name: &str, value: Value| {
            if fields.get(name).is_none_or(Value::is_null) {
                fields.insert(name.to_owned(), value);
            }
        };
        let system_tags = Options::default().wanted_system_tags();
        default("systemTags", system_tags.into_iter().collect());
        default("summaryTrendStats", TREND_STATISTICS.to_vec().into());
        default("dns", json!({"ttl": null, "select": null, "policy": null}));
        Ok(shown)
    }
}

/// Fields that scenarios of one executor have beside those of all.
fn fields_of(executor: ExecutorKind) -> &'static [&'static str] {
    match executor {
        ExecutorKind::SharedIterations | ExecutorKind::PerVuIterations => {
            &["vus", "iterations", "maxDuration"]
        }
        ExecutorKind::ConstantVus => &["vus", "duration"],
        ExecutorKind::RampingVus => &["startVUs", "stages", "gracefulRampDown"],
        ExecutorKind::ConstantArrivalRate => {
            &["rate", "timeUnit", "duration", "preAllocatedVUs", "maxVUs"]
        }
        ExecutorKind::RampingArrivalRate => &[
            "startRate",
            "timeUnit",
            "stages",
            "preAllocatedVUs",
            "maxVUs",
        ],
        ExecutorKind::ExternallyControlled => &["vus", "maxVUs", "duration"],
    }
}
