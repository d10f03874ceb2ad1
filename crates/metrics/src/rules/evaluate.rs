//! What rules make of their expressions' answers: samples to store, alerts, notices to send.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::promql::{Cancel, Element, Options, SeriesSource, Value};
use crate::series_store::{Labels, METRIC_NAME, Matcher, stale_marker};

use super::expansion::{RuleFunctions, alert_data, graph_link, without_name};
use super::report::{AlertState, Health};
use super::rule::{Alerting, Rule, RuleGroup, RuleKind};
use super::state::{ActiveAlert, GroupState, RuleState, map};

/// What all rules of a program share.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Labels that every alert and series sent elsewhere carries.
    pub external_labels: Labels,
    /// Where this program is reached from outside, for links.
    pub external_url: String,
    /// How queries are evaluated.
    pub queries: Options,
    /// How far before the time of evaluation expressions are asked, where a group says nothing.
    pub query_offset: Duration,
    /// A firing alert is sent again after this time.
    pub resend_delay: Duration,
    /// How long before a restart an alert's `for` is still taken up again.
    pub outage_tolerance: Duration,
    /// An alert that was about to fire before a restart waits at least this long after it; alerts with a
    /// shorter `for` begin anew.
    pub grace_period: Duration,
}

impl Default for Surroundings {
    /// Prometheus' defaults.
    fn default() -> Surroundings {
        Surroundings {
            external_labels: Labels::empty(),
            external_url: String::new(),
            queries: Options::default(),
            query_offset: Duration::ZERO,
            resend_delay: Duration::from_mins(1),
            outage_tolerance: Duration::from_hours(1),
            grace_period: Duration::from_mins(10),
        }
    }
}

/// Where rules read and write series.
pub trait RuleStorage {
    /// What expressions are asked of.
    fn source(&self) -> &dyn SeriesSource;

    /// Stores the samples of one rule; what is refused is said, the rest is stored.
    fn store(&mut self, samples: &[RuleSample]) -> Vec<String>;
}

/// A sample that a rule gives.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSample {
    /// What names the series.
    pub labels: Labels,
    /// Milliseconds.
    pub time: i64,
    /// The value; the stale marker where the series ends.
    pub value: f64,
}

/// An alert to be sent to an Alertmanager. Times are milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// What names the alert, `alertname` among them.
    pub labels: BTreeMap<String, String>,
    /// What is said about it.
    pub annotations: BTreeMap<String, String>,
    /// Since when it fires.
    pub starts_at: i64,
    /// When it was resolved, or until when it holds without another notice.
    pub ends_at: i64,
    /// A link to its expression.
    pub generator_url: String,
}

/// What evaluating a group gave beyond its samples.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Alerts to be sent.
    pub notices: Vec<Notice>,
    /// What went wrong, by rule.
    pub failures: Vec<String>,
    /// How many samples were given.
    pub samples: usize,
}

/// Resolved alerts are remembered this long, so that the resolution is sent more than once.
const RESOLVED_RETENTION: i64 = 15 * 60 * 1000;

/// Evaluates the rules of a group in their order; each sees what those before it gave.
pub fn evaluate_group(
    group: &RuleGroup,
    interval: Duration,
    state: &mut GroupState,
    storage: &mut dyn RuleStorage,
    at: i64,
    surroundings: &Surroundings,
    cancel: &Cancel,
) -> Outcome {
    let began = Instant::now();
    let mut outcome = Outcome::default();
    let offset = group.query_offset.unwrap_or(surroundings.query_offset);
    let asked_at = at - offset.as_millis() as i64;
    for (rule, rule_state) in group.rules.iter().zip(&mut state.rules) {
        let rule_began = Instant::now();
        let answer = rule
            .query
            .instant(storage.source(), asked_at, cancel)
            .map_err(|error| error.to_string())
            .and_then(|answer| elements(answer.value));
        let functions = RuleFunctions {
            source: storage.source(),
            at: asked_at,
            options: &surroundings.queries,
            external_labels: &surroundings.external_labels,
            external_url: &surroundings.external_url,
        };
        let given = answer.and_then(|answer| {
            apply(
                rule,
                rule_state,
                answer,
                group.limit,
                at,
                asked_at,
                &functions,
            )
        });
        rule_state.last_evaluation = Some(at);
        match given {
            Err(error) => {
                rule_state.health = Health::Bad;
                outcome.failures.push(format!("{}: {error}", rule.name));
                rule_state.last_error = Some(error);
            }
            Ok(mut samples) => {
                rule_state.health = Health::Ok;
                rule_state.last_error = None;
                outcome.samples += samples.len();
                if let Some(alerting) = rule.alerting() {
                    let link = surroundings.external_url.trim_end_matches('/').to_owned()
                        + &graph_link(rule.query.text(), 1);
                    let delay = surroundings.resend_delay;
                    let due = due_notices(rule_state, at, delay, delay.max(interval), &link);
                    debug_assert!(due.is_empty() || alerting.hold >= Duration::ZERO);
                    outcome.notices.extend(due);
                }
                let series: BTreeSet<Labels> =
                    samples.iter().map(|sample| sample.labels.clone()).collect();
                let vanished = rule_state.series.difference(&series);
                samples.extend(vanished.map(|labels| ended(labels, asked_at)));
                let refused = storage.store(&samples);
                if let Some(first) = refused.first() {
                    rule_state.health = Health::Bad;
                    rule_state.last_error = Some(first.clone());
                }
                let refused = refused
                    .iter()
                    .map(|error| format!("{}: {error}", rule.name));
                outcome.failures.extend(refused);
                rule_state.series = series;
            }
        }
        rule_state.took = rule_began.elapsed();
    }
    let alive: BTreeSet<&Labels> = state.rules.iter().flat_map(|rule| &rule.series).collect();
    let ending: Vec<RuleSample> = state
        .orphans
        .iter()
        .filter(|labels| !alive.contains(labels))
        .map(|labels| ended(labels, asked_at))
        .collect();
    if !ending.is_empty() {
        outcome.failures.extend(storage.store(&ending));
    }
    state.orphans.clear();
    state.last_evaluation = Some(at);
    state.took = began.elapsed();
    outcome
}

/// The stale markers of all a group's series, for a group that is gone.
#[must_use]
pub fn ending_samples(state: &GroupState, at: i64) -> Vec<RuleSample> {
    let series: BTreeSet<&Labels> = state
        .rules
        .iter()
        .flat_map(|rule| &rule.series)
        .chain(&state.orphans)
        .collect();
    series.into_iter().map(|labels| ended(labels, at)).collect()
}

fn ended(labels: &Labels, time: i64) -> RuleSample {
    RuleSample {
        labels: labels.clone(),
        time,
        value: stale_marker(),
    }
}

/// The elements of an instant vector; a scalar is one without labels.
pub(super) fn elements(value: Value) -> Result<Vec<Element>, String> {
    match value {
        Value::Vector(elements) => Ok(elements),
        Value::Scalar(sample) => Ok(vec![Element {
            labels: Labels::empty(),
            sample,
        }]),
        Value::Text(_) | Value::Matrix(_) => {
            Err("rule result is not a vector or scalar".to_owned())
        }
    }
}

fn apply(
    rule: &Rule,
    state: &mut RuleState,
    answer: Vec<Element>,
    limit: usize,
    at: i64,
    asked_at: i64,
    functions: &RuleFunctions<'_>,
) -> Result<Vec<RuleSample>, String> {
    match &rule.kind {
        RuleKind::Recording => record(rule, answer, limit, asked_at),
        RuleKind::Alerting(alerting) => {
            let given = alerts_of(rule, alerting, &answer, functions)?;
            advance(rule, alerting, state, given, limit, at, asked_at)
        }
    }
}

fn record(
    rule: &Rule,
    answer: Vec<Element>,
    limit: usize,
    time: i64,
) -> Result<Vec<RuleSample>, String> {
    let mut seen = BTreeSet::new();
    let mut samples = Vec::with_capacity(answer.len());
    for element in answer {
        let own = rule
            .labels
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let pairs = element.labels.iter().chain(own);
        let labels = Labels::new(pairs.chain([(METRIC_NAME, rule.name.as_str())]));
        if !seen.insert(labels.clone()) {
            return Err(
                "vector contains metrics with the same labelset after applying rule labels"
                    .to_owned(),
            );
        }
        let value = element.sample.value;
        samples.push(RuleSample {
            labels,
            time,
            value,
        });
    }
    if limit > 0 && samples.len() > limit {
        return Err(format!(
            "exceeded limit of {limit} with {} series",
            samples.len()
        ));
    }
    Ok(samples)
}

/// An alert as the expression gives it now.
struct Given {
    annotations: BTreeMap<String, String>,
    value: f64,
}

/// The alerts the answer stands for, with their labels and annotations expanded.
fn alerts_of(
    rule: &Rule,
    alerting: &Alerting,
    answer: &[Element],
    functions: &RuleFunctions<'_>,
) -> Result<BTreeMap<Labels, Given>, String> {
    let mut given = BTreeMap::new();
    for element in answer {
        let bare = without_name(&element.labels);
        let value = element.sample.value;
        let data = alert_data(
            &element.labels,
            functions.external_labels,
            functions.external_url,
            value,
        );
        let expand = |expansion: &super::expansion::Expansion| {
            let text = expansion
                .expand(&data, functions)
                .unwrap_or_else(|error| format!("<error expanding template: {error}>"));
            (expansion.name.clone(), text)
        };
        let own: Vec<(String, String)> = alerting.label_expansions.iter().map(expand).collect();
        let pairs = bare.iter().chain(
            own.iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let labels = Labels::new(pairs.chain([("alertname", rule.name.as_str())]));
        let annotations = alerting.annotation_expansions.iter().map(expand).collect();
        let replaced = given.insert(labels, Given { annotations, value });
        if replaced.is_some() {
            return Err(
                "vector contains metrics with the same labelset after applying alert labels"
                    .to_owned(),
            );
        }
    }
    Ok(given)
}

/// Takes the alerts a step further and gives their samples.
fn advance(
    rule: &Rule,
    alerting: &Alerting,
    state: &mut RuleState,
    given: BTreeMap<Labels, Given>,
    limit: usize,
    at: i64,
    asked_at: i64,
) -> Result<Vec<RuleSample>, String> {
    let present: BTreeSet<Labels> = given.keys().cloned().collect();
    for (labels, Given { annotations, value }) in given {
        match state.alerts.get_mut(&labels) {
            Some(known) if known.state != AlertState::Inactive => {
                known.annotations = annotations;
                known.value = value;
            }
            _ => {
                state.alerts.insert(
                    labels,
                    ActiveAlert {
                        annotations,
                        value,
                        state: AlertState::Pending,
                        active_at: at,
                        fired_at: None,
                        resolved_at: None,
                        keep_firing_since: None,
                        last_sent_at: None,
                    },
                );
            }
        }
    }
    let hold = alerting.hold.as_millis() as i64;
    let keep = alerting.keep_firing_for.as_millis() as i64;
    let mut active = 0;
    let mut samples = Vec::new();
    state.alerts.retain(|labels, alert| {
        if present.contains(labels) {
            alert.keep_firing_since = None;
        } else {
            let kept = alert.state == AlertState::Firing
                && keep > 0
                && at - *alert.keep_firing_since.get_or_insert(at) < keep;
            let forgotten = alert
                .resolved_at
                .is_some_and(|resolved| at - resolved > RESOLVED_RETENTION);
            if alert.state == AlertState::Pending || forgotten {
                return false;
            }
            if !kept {
                if alert.state != AlertState::Inactive {
                    alert.state = AlertState::Inactive;
                    alert.resolved_at = Some(at);
                }
                return true;
            }
        }
        active += 1;
        if alert.state == AlertState::Pending && at - alert.active_at >= hold {
            alert.state = AlertState::Firing;
            alert.fired_at = Some(at);
        }
        if state.restored {
            let named = |name: &str| labels.with(METRIC_NAME, name);
            samples.push(RuleSample {
                labels: named("ALERTS").with("alertstate", alert.state.name()),
                time: asked_at,
                value: 1.0,
            });
            samples.push(RuleSample {
                labels: named("ALERTS_FOR_STATE"),
                time: asked_at,
                value: alert.active_at.div_euclid(1000) as f64,
            });
        }
        true
    });
    if limit > 0 && active > limit {
        state.alerts.clear();
        return Err(format!("exceeded limit of {limit} with {active} alerts"));
    }
    debug_assert!(
        samples.len() <= 2 * active,
        "alerts of {} give two samples",
        rule.name
    );
    Ok(samples)
}

/// The alerts that must be sent now, and remembers that they were.
fn due_notices(
    state: &mut RuleState,
    at: i64,
    resend_delay: Duration,
    longest: Duration,
    link: &str,
) -> Vec<Notice> {
    let resend_delay = resend_delay.as_millis() as i64;
    let holds_until = at + 4 * longest.as_millis() as i64;
    let mut notices = Vec::new();
    for (labels, alert) in &mut state.alerts {
        let Some(fired_at) = alert
            .fired_at
            .filter(|_| alert.state != AlertState::Pending)
        else {
            continue;
        };
        let resolution_is_news = alert
            .resolved_at
            .is_some_and(|resolved| alert.last_sent_at.is_none_or(|sent| resolved > sent));
        let again = alert
            .last_sent_at
            .is_none_or(|sent| sent + resend_delay < at);
        if !resolution_is_news && !again {
            continue;
        }
        alert.last_sent_at = Some(at);
        notices.push(Notice {
            labels: map(labels),
            annotations: alert.annotations.clone(),
            starts_at: fired_at,
            ends_at: alert.resolved_at.unwrap_or(holds_until),
            generator_url: link.to_owned(),
        });
    }
    notices
}

/// Takes up the `for` of alerts from before a restart again, as `ALERTS_FOR_STATE` tells it.
///
/// Called once, after the group's second evaluation, so that scrapes of the new run exist.
///
/// # Errors
/// Where the series cannot be read; the state is taken as restored all the same.
pub fn restore_group(
    group: &RuleGroup,
    state: &mut GroupState,
    source: &dyn SeriesSource,
    at: i64,
    surroundings: &Surroundings,
) -> Result<usize, String> {
    let tolerance = surroundings.outage_tolerance.as_millis() as i64;
    let grace = surroundings.grace_period.as_millis() as i64;
    let mut restored = 0;
    let mut failure = None;
    for (rule, rule_state) in group.rules.iter().zip(&mut state.rules) {
        let was = std::mem::replace(&mut rule_state.restored, true);
        let Some(alerting) = rule.alerting().filter(|_| !was) else {
            continue;
        };
        let hold = alerting.hold.as_millis() as i64;
        if hold < grace {
            continue;
        }
        for (labels, alert) in &mut rule_state.alerts {
            if alert.state != AlertState::Pending && alert.state != AlertState::Firing {
                continue;
            }
            let mut matchers = vec![Matcher::equal(METRIC_NAME, "ALERTS_FOR_STATE")];
            matchers.extend(
                labels
                    .iter()
                    .map(|(name, value)| Matcher::equal(name, value)),
            );
            let series = match source.select(&matchers, at - tolerance, at) {
                Ok(series) => series,
                Err(error) => {
                    failure = Some(error.to_string());
                    continue;
                }
            };
            let exact = series
                .iter()
                .find(|series| series.labels().len() == labels.len() + 1);
            let Some(series) = exact else {
                continue;
            };
            let mut samples = Vec::new();
            if let Err(error) = series.read(at - tolerance, at, usize::MAX, &mut samples) {
                failure = Some(error.to_string());
                continue;
            }
            let last = samples
                .iter()
                .rev()
                .find(|sample| !crate::series_store::is_stale(sample.value));
            let Some(last) = last else {
                continue;
            };
            let active_at = (last.value * 1000.0) as i64;
            let remaining = hold - (last.time - active_at);
            alert.active_at = if remaining <= 0 {
                active_at
            } else if remaining < grace {
                at + grace - hold
            } else {
                active_at + (at - last.time)
            };
            restored += 1;
        }
    }
    match failure {
        Some(failure) => Err(failure),
        None => Ok(restored),
    }
}
