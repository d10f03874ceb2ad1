use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// Tells the HTTP API how the rules stand. Serialized, the reports have the form of Prometheus' API v1.
pub trait RuleReports: Send + Sync {
    /// The groups, by file, then in the order of the file.
    fn groups(&self) -> Vec<GroupReport>;

    /// The pending and firing alerts of all rules.
    fn alerts(&self) -> Vec<AlertReport> {
        let groups = self.groups();
        let rules = groups.into_iter().flat_map(|group| group.rules);
        rules
            .flat_map(|rule| match rule {
                RuleReport::Alerting(rule) => rule.alerts,
                RuleReport::Recording(_) => Vec::new(),
            })
            .collect()
    }

    /// Where alerts are sent.
    fn alertmanagers(&self) -> AlertmanagerReports {
        AlertmanagerReports::default()
    }
}

/// A group of rules and its last evaluation.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupReport {
    /// Its name, once in a file.
    pub name: String,
    /// The file, or the object as `prometheusrule/NAMESPACE/NAME`.
    pub file: String,
    /// The rules in their order.
    pub rules: Vec<RuleReport>,
    /// Seconds from one evaluation to the next.
    pub interval: f64,
    /// How many alerts or series one rule may give; 0 is no limit.
    pub limit: usize,
    /// Seconds the last evaluation took.
    pub evaluation_time: f64,
    /// When the group was last evaluated.
    #[serde(serialize_with = "time_or_zero")]
    pub last_evaluation: Option<Timestamp>,
}

/// A rule and its last evaluation.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum RuleReport {
    /// It makes alerts.
    Alerting(AlertingRuleReport),
    /// It records series.
    Recording(RecordingRuleReport),
}

/// An alerting rule and its last evaluation.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertingRuleReport {
    /// The furthest state of its alerts.
    pub state: AlertState,
    /// The alerts' name.
    pub name: String,
    /// The expression.
    pub query: String,
    /// `for` in seconds.
    pub duration: f64,
    /// `keep_firing_for` in seconds.
    pub keep_firing_for: f64,
    /// Labels the alerts get, before expansion.
    pub labels: BTreeMap<String, String>,
    /// Annotations the alerts get, before expansion.
    pub annotations: BTreeMap<String, String>,
    /// The pending and firing alerts.
    pub alerts: Vec<AlertReport>,
    /// How the last evaluation went.
    pub health: Health,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Seconds it took.
    pub evaluation_time: f64,
    /// When it was.
    #[serde(serialize_with = "time_or_zero")]
    pub last_evaluation: Option<Timestamp>,
}

/// A recording rule and its last evaluation.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordingRuleReport {
    /// The name of the series it records.
    pub name: String,
    /// The expression.
    pub query: String,
    /// Labels the series get.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How the last evaluation went.
    pub health: Health,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Seconds it took.
    pub evaluation_time: f64,
    /// When it was.
    #[serde(serialize_with = "time_or_zero")]
    pub last_evaluation: Option<Timestamp>,
}

/// A pending or firing alert.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertReport {
    /// What names the alert, `alertname` among them.
    pub labels: BTreeMap<String, String>,
    /// What is said about it.
    pub annotations: BTreeMap<String, String>,
    /// How far it is.
    pub state: AlertState,
    /// Since when the expression has given it.
    pub active_at: Timestamp,
    /// Since when it only fires because of `keep_firing_for`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_firing_since: Option<Timestamp>,
    /// The expression's value, as Go prints it: `1e+00`.
    pub value: String,
}

/// How far an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertState {
    /// The expression gives nothing.
    Inactive,
    /// It gives something, for less time than `for` asks.
    Pending,
    /// It has for long enough.
    Firing,
}

// === impl AlertState ===

impl AlertState {
    /// The state's name in the label `alertstate`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AlertState::Inactive => "inactive",
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
        }
    }
}

/// How a rule's last evaluation went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It was not evaluated yet.
    Unknown,
    /// Well.
    Ok,
    /// It failed.
    #[serde(rename = "err")]
    Bad,
}

/// The Alertmanagers that alerts are sent to, as URLs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertmanagerReports {
    /// Those in use.
    pub active: Vec<String>,
    /// Those that relabelling dropped.
    pub dropped: Vec<String>,
}

/// Go writes a time that was never set as the first of January of the year 1.
fn time_or_zero<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => time.serialize(serializer),
        None => serializer.serialize_str("0001-01-01T00:00:00Z"),
    }
}
