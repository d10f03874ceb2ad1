use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::promql::exponential_shortest;
use crate::series_store::Labels;

use super::report::{
    AlertReport, AlertState, AlertingRuleReport, GroupReport, Health, RecordingRuleReport,
    RuleReport,
};
use super::rule::{Rule, RuleGroup, RuleKind};

/// What is remembered of a group from one evaluation to the next.
#[derive(Debug, Clone, Default)]
pub struct GroupState {
    /// One a rule.
    pub(crate) rules: Vec<RuleState>,
    /// Series of rules that are gone, which end at the next evaluation.
    pub(crate) orphans: BTreeSet<Labels>,
    pub(crate) last_evaluation: Option<i64>,
    pub(crate) took: Duration,
}

/// What is remembered of a rule.
#[derive(Debug, Clone)]
pub(crate) struct RuleState {
    pub(crate) health: Health,
    pub(crate) last_error: Option<String>,
    pub(crate) last_evaluation: Option<i64>,
    pub(crate) took: Duration,
    /// The series of the last evaluation that went well.
    pub(crate) series: BTreeSet<Labels>,
    /// Alerts by their labels; those resolved lately among them.
    pub(crate) alerts: BTreeMap<Labels, ActiveAlert>,
    /// Whether the state of before a restart was looked for; until then `ALERTS` is not written.
    pub(crate) restored: bool,
}

/// An alert of a rule. Times are milliseconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ActiveAlert {
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) value: f64,
    /// `Inactive` once resolved.
    pub(crate) state: AlertState,
    pub(crate) active_at: i64,
    pub(crate) fired_at: Option<i64>,
    pub(crate) resolved_at: Option<i64>,
    pub(crate) keep_firing_since: Option<i64>,
    pub(crate) last_sent_at: Option<i64>,
}

// === impl RuleState ===

impl RuleState {
    pub(crate) fn new(restored: bool) -> RuleState {
        RuleState {
            health: Health::Unknown,
            last_error: None,
            last_evaluation: None,
            took: Duration::ZERO,
            series: BTreeSet::new(),
            alerts: BTreeMap::new(),
            restored,
        }
    }

    /// The furthest state of the alerts.
    fn state(&self) -> AlertState {
        let states = self.alerts.values().map(|alert| alert.state);
        states.max().unwrap_or(AlertState::Inactive)
    }

    fn report(&self, rule: &Rule) -> RuleReport {
        let last_evaluation = self.last_evaluation.map(time);
        match &rule.kind {
            RuleKind::Recording => RuleReport::Recording(RecordingRuleReport {
                name: rule.name.clone(),
                query: rule.query.text().to_owned(),
                labels: rule.labels.clone(),
                health: self.health,
                last_error: self.last_error.clone(),
                evaluation_time: self.took.as_secs_f64(),
                last_evaluation,
            }),
            RuleKind::Alerting(alerting) => RuleReport::Alerting(AlertingRuleReport {
                state: self.state(),
                name: rule.name.clone(),
                query: rule.query.text().to_owned(),
                duration: alerting.hold.as_secs_f64(),
                keep_firing_for: alerting.keep_firing_for.as_secs_f64(),
                labels: rule.labels.clone(),
                annotations: alerting.annotations.clone(),
                alerts: self
                    .alerts
                    .iter()
                    .filter(|(_, alert)| alert.resolved_at.is_none())
                    .map(|(labels, alert)| alert.report(labels))
                    .collect(),
                health: self.health,
                last_error: self.last_error.clone(),
                evaluation_time: self.took.as_secs_f64(),
                last_evaluation,
            }),
        }
    }
}

// === impl ActiveAlert ===

impl ActiveAlert {
    fn report(&self, labels: &Labels) -> AlertReport {
        AlertReport {
            labels: map(labels),
            annotations: self.annotations.clone(),
            state: self.state,
            active_at: time(self.active_at),
            keep_firing_since: self.keep_firing_since.map(time),
            value: exponential_shortest(self.value),
        }
    }
}

// === impl GroupState ===

impl GroupState {
    /// Nothing remembered; with `restored`, nothing is looked for either.
    #[must_use]
    pub fn new(group: &RuleGroup, restored: bool) -> GroupState {
        let rules = group.rules.iter().map(|_| RuleState::new(restored));
        GroupState {
            rules: rules.collect(),
            ..GroupState::default()
        }
    }

    /// The state for a group that replaces another: rules of the same name and labels keep theirs, in their order.
    #[must_use]
    pub fn carried_over(mut self, from: &RuleGroup, to: &RuleGroup) -> GroupState {
        let mut old: Vec<Option<(&Rule, RuleState)>> =
            from.rules.iter().zip(self.rules).map(Some).collect();
        let mut rules = Vec::with_capacity(to.rules.len());
        for rule in &to.rules {
            let same = |entry: &&mut Option<(&Rule, RuleState)>| {
                entry.as_ref().is_some_and(|(known, _)| {
                    known.name == rule.name
                        && known.labels == rule.labels
                        && known.alerting().is_some() == rule.alerting().is_some()
                })
            };
            let kept = old.iter_mut().find(same).and_then(Option::take);
            // A rule that is new to a running program has no state from before to find.
            rules.push(kept.map_or_else(|| RuleState::new(true), |(_, state)| state));
        }
        let gone = old.into_iter().flatten();
        self.orphans
            .extend(gone.flat_map(|(_, state)| state.series));
        self.rules = rules;
        self
    }

    /// How the group stands.
    #[must_use]
    pub fn report(&self, group: &RuleGroup, interval: Duration) -> GroupReport {
        let rules = group.rules.iter().zip(&self.rules);
        GroupReport {
            name: group.name.clone(),
            file: group.file.clone(),
            rules: rules.map(|(rule, state)| state.report(rule)).collect(),
            interval: interval.as_secs_f64(),
            limit: group.limit,
            evaluation_time: self.took.as_secs_f64(),
            last_evaluation: self.last_evaluation.map(time),
        }
    }

    /// The firing alerts of a rule: labels and annotations.
    pub(crate) fn firing(
        &self,
        rule: usize,
    ) -> impl Iterator<Item = (&Labels, &BTreeMap<String, String>)> {
        let alerts = self.rules[rule].alerts.iter();
        alerts
            .filter(|(_, alert)| alert.state == AlertState::Firing)
            .map(|(labels, alert)| (labels, &alert.annotations))
    }
}

/// Labels as a map.
pub(crate) fn map(labels: &Labels) -> BTreeMap<String, String> {
    labels
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A time in milliseconds; beyond what can be said, the nearest that can.
pub(crate) fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millisecond(milliseconds).unwrap_or(if milliseconds < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}
