use std::collections::BTreeMap;
use std::time::Duration;

use crate::promql::Query;

use super::expansion::Expansion;

/// A group of rules, evaluated in their order at one time.
#[derive(Debug, Clone)]
pub struct RuleGroup {
    /// Its name, once in a file.
    pub name: String,
    /// The file, or the object as `prometheusrule/NAMESPACE/NAME`.
    pub file: String,
    /// From one evaluation to the next; the global one where the group names none.
    pub interval: Option<Duration>,
    /// How many alerts or series one rule may give; 0 is no limit.
    pub limit: usize,
    /// How far before the time of evaluation the expressions are asked; the global one where the group names none.
    pub query_offset: Option<Duration>,
    /// The rules in their order.
    pub rules: Vec<Rule>,
}

/// A rule, read and checked.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The alert's name, or the recorded series'.
    pub name: String,
    /// The expression.
    pub query: Query,
    /// Labels of the group and the rule, the rule's first; those of alerts not yet expanded.
    pub labels: BTreeMap<String, String>,
    /// What the rule makes.
    pub kind: RuleKind,
}

/// What a rule makes of its expression's answer.
#[derive(Debug, Clone)]
pub enum RuleKind {
    /// Series.
    Recording,
    /// Alerts.
    Alerting(Box<Alerting>),
}

/// What only alerting rules have.
#[derive(Debug, Clone)]
pub struct Alerting {
    /// `for`: how long the expression must have given an alert until it fires.
    pub hold: Duration,
    /// How long an alert fires on after the expression no longer gives it.
    pub keep_firing_for: Duration,
    /// What is said about the alerts, not yet expanded.
    pub annotations: BTreeMap<String, String>,
    pub(super) label_expansions: Vec<Expansion>,
    pub(super) annotation_expansions: Vec<Expansion>,
}

// === impl Rule ===

impl Rule {
    /// What only alerting rules have.
    #[must_use]
    pub fn alerting(&self) -> Option<&Alerting> {
        match &self.kind {
            RuleKind::Alerting(alerting) => Some(alerting),
            RuleKind::Recording => None,
        }
    }
}

// === impl RuleGroup ===

impl RuleGroup {
    /// What names the group among all files'.
    #[must_use]
    pub fn key(&self) -> (String, String) {
        (self.file.clone(), self.name.clone())
    }
}
