//! Tests of rules in promtool's format: series are written down, time is run, alerts and expressions are compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::config::matching_files;
use crate::promql::{
    Cancel, Options, Point, Query, SeriesNotation, exponential_shortest, parse_float,
};
use crate::series_store::{Labels, stale_marker};
use crate::tsdb::{Options as StorageOptions, Tsdb};

use super::duration;
use super::engine::TsdbStorage;
use super::evaluate::{RuleSample, RuleStorage, Surroundings, elements, evaluate_group};
use super::file::{read_rule_file, yaml_fault};
use super::rule::RuleGroup;
use super::state::GroupState;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    #[serde(default)]
    rule_files: Vec<String>,
    evaluation_interval: Option<String>,
    #[serde(default)]
    group_eval_order: Vec<String>,
    #[serde(default)]
    tests: Vec<TestGroup>,
    #[serde(default)]
    fuzzy_compare: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TestGroup {
    #[serde(default)]
    name: String,
    interval: Option<String>,
    #[serde(default)]
    input_series: Vec<InputSeries>,
    #[serde(default)]
    alert_rule_test: Vec<AlertTest>,
    #[serde(default)]
    promql_expr_test: Vec<ExpressionTest>,
    #[serde(default)]
    external_labels: BTreeMap<String, String>,
    #[serde(default)]
    external_url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputSeries {
    series: String,
    values: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertTest {
    eval_time: Option<String>,
    alertname: String,
    #[serde(default)]
    exp_alerts: Option<Vec<ExpectedAlert>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedAlert {
    #[serde(default)]
    exp_labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    exp_annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpressionTest {
    expr: String,
    eval_time: Option<String>,
    #[serde(default)]
    exp_samples: Option<Vec<ExpectedSample>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedSample {
    #[serde(default)]
    labels: String,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    histogram: Option<String>,
}

/// Runs the tests of a file; `only`, where not empty, are patterns of which a test's name must match one.
///
/// # Errors
/// What failed, each as promtool words it.
pub fn run_test_file(path: &Path, only: &[regex::Regex]) -> Result<(), Vec<String>> {
    let one = |reason: String| vec![reason];
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| one(format!("{shown} cannot be read: {error}")))?;
    let file: TestFile = serde_saphyr::from_str(&text)
        .map_err(|error| one(yaml_fault(&shown.to_string(), &error)))?;
    let interval = duration_of(file.evaluation_interval.as_ref(), "evaluation_interval")
        .map_err(one)?
        .filter(|interval| !interval.is_zero())
        .unwrap_or(Duration::from_mins(1));
    let mut order = BTreeMap::new();
    for (at, name) in file.group_eval_order.iter().enumerate() {
        if order.insert(name.clone(), at).is_some() {
            return Err(one(format!(
                "group name repeated in evaluation order: {name}"
            )));
        }
    }
    let options = Options {
        default_step: interval,
        ..Options::default()
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut groups = read_groups(folder, &file.rule_files, &options)?;
    groups.sort_by_key(|group| order.get(&group.name).copied().unwrap_or(0));
    let mut failures = Vec::new();
    for test in &file.tests {
        if !only.is_empty() && !only.iter().any(|pattern| pattern.is_match(&test.name)) {
            continue;
        }
        let run = TestRun {
            test,
            groups: &groups,
            interval,
            fuzzy: file.fuzzy_compare,
            options: &options,
        };
        failures.extend(run.failures());
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures)
    }
}

fn duration_of(text: Option<&String>, field: &str) -> Result<Option<Duration>, String> {
    text.map(|text| {
        duration::parse(text)
            .ok_or_else(|| format!("field '{field}': not a valid duration string: {text:?}"))
    })
    .transpose()
}

fn read_groups(
    folder: &Path,
    patterns: &[String],
    options: &Options,
) -> Result<Vec<RuleGroup>, Vec<String>> {
    let mut groups = Vec::new();
    let mut faults = Vec::new();
    for pattern in patterns {
        let found = matching_files(folder, pattern);
        if found.is_empty() {
            faults.push(format!("  WARNING: no file match pattern {pattern}"));
        }
        for path in found {
            let shown = path.display().to_string();
            let read = std::fs::read_to_string(&path)
                .map_err(|error| vec![format!("{shown} cannot be read: {error}")])
                .and_then(|text| {
                    read_rule_file(&shown, &text, options).map_err(|error| error.faults)
                });
            match read {
                Ok(read) => groups.extend(read),
                Err(found) => faults.extend(found),
            }
        }
    }
    if faults.is_empty() {
        Ok(groups)
    } else {
        Err(faults)
    }
}

struct TestRun<'a> {
    test: &'a TestGroup,
    groups: &'a [RuleGroup],
    interval: Duration,
    fuzzy: bool,
    options: &'a Options,
}

/// The samples to load, by milliseconds.
type SamplesByTime = BTreeMap<i64, Vec<RuleSample>>;

/// The tests of alerts, by milliseconds.
type AlertTestsByTime<'a> = BTreeMap<i64, Vec<&'a AlertTest>>;

/// Labels and annotations of an alert, for comparison.
type AlertText = (Labels, Labels);

// === impl TestRun ===

impl TestRun<'_> {
    fn failures(&self) -> Vec<String> {
        match self.prepare() {
            Ok((inputs, alert_times)) => self.run(&inputs, &alert_times),
            Err(reason) => vec![reason],
        }
    }

    /// The samples to load by time, and when alerts are compared.
    fn prepare(&self) -> Result<(SamplesByTime, AlertTestsByTime<'_>), String> {
        let step = duration_of(self.test.interval.as_ref(), "interval")?
            .filter(|interval| !interval.is_zero())
            .unwrap_or(self.interval)
            .as_millis() as i64;
        let mut inputs: BTreeMap<i64, Vec<RuleSample>> = BTreeMap::new();
        for input in &self.test.input_series {
            let line = format!("{} {}", input.series, input.values);
            let series = SeriesNotation::parse(&line).map_err(|error| error.to_string())?;
            for (at, point) in series.points.iter().enumerate() {
                let value = match point {
                    Point::Missing => continue,
                    Point::Value(value) => *value,
                    Point::Stale => stale_marker(),
                    Point::NativeHistogram => {
                        let name = &input.series;
                        return Err(format!(
                            "series {name}: native histograms are not supported"
                        ));
                    }
                };
                let time = at as i64 * step;
                inputs.entry(time).or_default().push(RuleSample {
                    labels: series.labels.clone(),
                    time,
                    value,
                });
            }
        }
        let mut alert_times: BTreeMap<i64, Vec<&AlertTest>> = BTreeMap::new();
        for test in &self.test.alert_rule_test {
            if test.alertname.is_empty() {
                return Err(
                    "an item under alert_rule_test misses required attribute alertname".to_owned(),
                );
            }
            let time = duration_of(test.eval_time.as_ref(), "eval_time")?.unwrap_or_default();
            let times = alert_times.entry(time.as_millis() as i64).or_default();
            times.push(test);
        }
        Ok((inputs, alert_times))
    }

    fn run(
        &self,
        inputs: &BTreeMap<i64, Vec<RuleSample>>,
        alert_times: &BTreeMap<i64, Vec<&AlertTest>>,
    ) -> Vec<String> {
        let mut failures = Vec::new();
        let mut expressions = Vec::new();
        for test in &self.test.promql_expr_test {
            match duration_of(test.eval_time.as_ref(), "eval_time") {
                Ok(time) => expressions.push((time.unwrap_or_default().as_millis() as i64, test)),
                Err(reason) => return vec![reason],
            }
        }
        let last_alert = alert_times.keys().next_back().copied().unwrap_or(0);
        let last = expressions
            .iter()
            .map(|(time, _)| *time)
            .fold(last_alert, i64::max);
        let surroundings = Surroundings {
            external_labels: Labels::new(
                self.test
                    .external_labels
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str())),
            ),
            external_url: self.test.external_url.clone(),
            queries: self.options.clone(),
            ..Surroundings::default()
        };
        let database = Tsdb::in_memory(StorageOptions::default());
        let mut storage = TsdbStorage(&database);
        let mut states: Vec<GroupState> = self
            .groups
            .iter()
            .map(|group| GroupState::new(group, true))
            .collect();
        let step = self.interval.as_millis().max(1) as i64;
        let mut loaded = -1;
        let mut now = 0;
        let names: BTreeSet<&str> = alert_times
            .values()
            .flatten()
            .map(|test| test.alertname.as_str())
            .collect();
        while now <= last {
            for samples in inputs.range(loaded + 1..=now).map(|(_, samples)| samples) {
                failures.extend(storage.store(samples));
            }
            loaded = now;
            let mut broken = Vec::new();
            for (group, state) in self.groups.iter().zip(&mut states) {
                let interval = group.interval.unwrap_or(self.interval);
                let outcome = evaluate_group(
                    group,
                    interval,
                    state,
                    &mut storage,
                    now,
                    &surroundings,
                    &Cancel::default(),
                );
                let time = go_duration(now);
                broken.extend(outcome.failures.iter().map(|failure| {
                    let (rule, error) = failure.split_once(": ").unwrap_or(("", failure));
                    format!("    rule: {rule}, time: {time}, err: {error}")
                }));
            }
            if !broken.is_empty() {
                failures.extend(broken);
                return failures;
            }
            for (_, tests) in alert_times.range(now..now + step) {
                for test in tests {
                    failures.extend(self.compare_alerts(test, &names, &states));
                }
            }
            now += step;
        }
        // Expressions are asked when all has been loaded up to the last time.
        let rest = loaded + 1..=last.max(loaded + 1);
        for samples in inputs.range(rest).map(|(_, samples)| samples) {
            failures.extend(storage.store(samples));
        }
        for (time, test) in expressions {
            failures.extend(self.compare_samples(test, time, &storage));
        }
        failures
    }

    fn compare_alerts(
        &self,
        test: &AlertTest,
        names: &BTreeSet<&str>,
        states: &[GroupState],
    ) -> Option<String> {
        debug_assert!(names.contains(test.alertname.as_str()));
        let mut got: Vec<AlertText> = Vec::new();
        for (group, state) in self.groups.iter().zip(states) {
            for (at, rule) in group.rules.iter().enumerate() {
                if rule.alerting().is_some() && rule.name == test.alertname {
                    let firing = state.firing(at);
                    got.extend(firing.map(|(labels, texts)| (labels.clone(), labels_of(texts))));
                }
            }
        }
        let mut expected: Vec<AlertText> = Vec::new();
        for alert in test.exp_alerts.iter().flatten() {
            let labels = labels_of(alert.exp_labels.as_ref().unwrap_or(&BTreeMap::new()));
            let texts = labels_of(alert.exp_annotations.as_ref().unwrap_or(&BTreeMap::new()));
            expected.push((labels.with("alertname", &test.alertname), texts));
        }
        got.sort();
        expected.sort();
        if got == expected {
            return None;
        }
        let name = if self.test.name.is_empty() {
            String::new()
        } else {
            format!("    name: {},\n", self.test.name)
        };
        Some(format!(
            "{name}    alertname: {}, time: {}, \n        exp:{}, \n        got:{}",
            test.alertname,
            time_text(test.eval_time.as_ref()),
            alerts_text(&expected),
            alerts_text(&got)
        ))
    }

    fn compare_samples(
        &self,
        test: &ExpressionTest,
        time: i64,
        storage: &TsdbStorage<'_>,
    ) -> Option<String> {
        let head = format!(
            "    expr: {:?}, time: {},",
            test.expr,
            time_text(test.eval_time.as_ref())
        );
        let answer = Query::parse(&test.expr, self.options.clone())
            .and_then(|query| query.instant(storage.source(), time, &Cancel::default()))
            .map_err(|error| error.to_string())
            .and_then(|answer| elements(answer.value));
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Some(format!("{head} err: {error}")),
        };
        let mut got: Vec<(Labels, f64)> = answer
            .into_iter()
            .map(|element| (element.labels, element.sample.value))
            .collect();
        let mut expected = Vec::new();
        for sample in test.exp_samples.iter().flatten() {
            match expected_sample(sample) {
                Ok(sample) => expected.push(sample),
                Err(error) => return Some(format!("{head} err: {error}")),
            }
        }
        got.sort_by(|left, right| left.0.cmp(&right.0));
        expected.sort_by(|left, right| left.0.cmp(&right.0));
        let equal = got.len() == expected.len()
            && got
                .iter()
                .zip(&expected)
                .all(|(got, expected)| got.0 == expected.0 && self.same(got.1, expected.1));
        (!equal).then(|| {
            format!(
                "{head}\n        exp: {}\n        got: {}",
                samples_text(&expected),
                samples_text(&got)
            )
        })
    }

    fn same(&self, left: f64, right: f64) -> bool {
        let near = self.fuzzy && (left.next_up() == right || left.next_down() == right);
        left == right || (left.is_nan() && right.is_nan()) || near
    }
}

fn expected_sample(sample: &ExpectedSample) -> Result<(Labels, f64), String> {
    if sample
        .histogram
        .as_ref()
        .is_some_and(|text| !text.is_empty())
    {
        return Err("native histograms are not supported".to_owned());
    }
    let labels = match sample.labels.trim() {
        "" | "{}" => Labels::empty(),
        written => {
            SeriesNotation::parse(written)
                .map_err(|error| format!("labels {:?}: {error}", sample.labels))?
                .labels
        }
    };
    let value = match sample.value.as_deref() {
        None => 0.0,
        Some(text) => parse_float(&text.replace(".inf", "Inf").replace(".nan", "NaN"))
            .ok_or_else(|| format!("value {text:?} is no number"))?,
    };
    Ok((labels, value))
}

fn labels_of(map: &BTreeMap<String, String>) -> Labels {
    Labels::new(
        map.iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    )
}

fn time_text(text: Option<&String>) -> String {
    let parsed = text.and_then(|text| duration::parse(text));
    duration::print(parsed.unwrap_or_default())
}

/// Milliseconds as Go prints a duration: `1m0s`.
fn go_duration(milliseconds: i64) -> String {
    crate::template::Value::Duration(milliseconds * 1_000_000).to_string()
}

fn alerts_text(alerts: &[AlertText]) -> String {
    if alerts.is_empty() {
        return "[]".to_owned();
    }
    let mut text = "[".to_owned();
    for (at, (labels, annotations)) in alerts.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        text += &format!(
            "{comma}\n            {at}:\n              Labels:{labels}\n              Annotations:{annotations}"
        );
    }
    text + "\n            ]"
}

fn samples_text(samples: &[(Labels, f64)]) -> String {
    if samples.is_empty() {
        return "nil".to_owned();
    }
    let texts = samples.iter().map(|(labels, value)| {
        format!(
            "{labels} {}",
            exponential_shortest(*value).replace('e', "E")
        )
    });
    texts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
groups:
- name: g
  labels: {team: x}
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
  - alert: Down
    expr: up == 0
    for: 2m
    labels: {severity: page}
    annotations: {summary: "{{ $labels.job }} is down {{ $value | humanize }}"}
"#;

    fn run(test: &str) -> Result<(), Vec<String>> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("r.yml"), RULES).expect("written");
        let path = folder.path().join("t.yml");
        std::fs::write(&path, test).expect("written");
        run_test_file(&path, &[])
    }

    const TEST: &str = r#"
rule_files: [r.yml]
evaluation_interval: 1m
tests:
- interval: 1m
  name: first
  input_series:
  - series: up{job="a"}
    values: "1 0x10"
  alert_rule_test:
  - eval_time: 2m
    alertname: Down
  - eval_time: 5m
    alertname: Down
    exp_alerts:
    - exp_labels: {severity: page, job: a, team: x}
      exp_annotations: {summary: "a is down 0"}
  promql_expr_test:
  - expr: job:up:sum
    eval_time: 5m
    exp_samples:
    - labels: job:up:sum{job="a", team="x"}
      value: 0
"#;

    #[test]
    fn a_test_that_holds_says_nothing() {
        assert_eq!(run(TEST), Ok(()));
    }

    #[test]
    fn a_test_that_fails_reads_as_promtool_prints_it() {
        let wrong = TEST
            .replace("severity: page, job", "severity: pag, job")
            .replace("value: 0", "value: 1");
        let expected = [
            "    name: first,\n    alertname: Down, time: 5m, \n        exp:[\n            0:\n              Labels:{alertname=\"Down\", job=\"a\", severity=\"pag\", team=\"x\"}\n              Annotations:{summary=\"a is down 0\"}\n            ], \n        got:[\n            0:\n              Labels:{alertname=\"Down\", job=\"a\", severity=\"page\", team=\"x\"}\n              Annotations:{summary=\"a is down 0\"}\n            ]",
            "    expr: \"job:up:sum\", time: 5m,\n        exp: {__name__=\"job:up:sum\", job=\"a\", team=\"x\"} 1E+00\n        got: {__name__=\"job:up:sum\", job=\"a\", team=\"x\"} 0E+00",
        ];
        assert_eq!(run(&wrong), Err(expected.map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_rule_file_that_is_missing_or_wrong_is_named() {
        let missing = run(&TEST.replace("r.yml", "nosuch.yml")).expect_err("missing");
        assert!(missing[0].contains("nosuch.yml"), "{missing:?}");
    }
}
