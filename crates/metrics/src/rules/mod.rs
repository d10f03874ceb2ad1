//! Recording and alerting rules, read and evaluated as Prometheus 3 does.
//!
//! ```text
//! rule files, PrometheusRule objects ──> RuleGroup ── evaluate_group(state, series, now) ──> samples ──> storage
//!                                                            │     └──> notices ──> Alertmanager, own or another
//!                                                            └──> GroupState ──> reports for the HTTP API
//! ```
//!
//! | part | is |
//! | --- | --- |
//! | [`read_rule_file`], [`read_prometheus_rule`] | groups from a file and from an object, every fault named |
//! | [`evaluate_group`] | the decision: what the rules make of the series at one time |
//! | [`restore_group`] | takes up `for` again after a restart |
//! | `expansion` | templates in labels and annotations, with Prometheus' functions |
//! | [`RuleEngine`] | the shell: evaluates every group at its times |
//! | [`unit_test`] | tests of rules in promtool's format |
//! | [`RuleReports`] | what the HTTP API's `/api/v1/rules`, `/api/v1/alerts` and `/api/v1/alertmanagers` show |

mod check;
pub(crate) mod duration;
mod engine;
mod evaluate;
#[cfg(test)]
mod evaluate_tests;
mod expansion;
mod file;
mod report;
mod rule;
mod state;
pub mod unit_test;

pub use check::{Duplicate, duplicates};
pub use engine::{EngineOptions, NoticeSink, RuleEngine};
pub use evaluate::{
    Notice, Outcome, RuleSample, RuleStorage, Surroundings, ending_samples, evaluate_group,
    restore_group,
};
pub(crate) use expansion::humanize_duration;
pub(crate) use file::yaml_fault;
pub use file::{RuleFileError, read_prometheus_rule, read_rule_file};
pub use report::{
    AlertReport, AlertState, AlertingRuleReport, AlertmanagerReports, GroupReport, Health,
    RecordingRuleReport, RuleReport, RuleReports,
};
pub use rule::{Alerting, Rule, RuleGroup, RuleKind};
pub use state::GroupState;
