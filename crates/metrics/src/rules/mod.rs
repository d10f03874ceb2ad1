//! Recording and alerting rules, read and evaluated as Prometheus 3 does.
//!
//! | part | is |
//! | --- | --- |
//! | [`RuleReports`] | what the HTTP API's `/api/v1/rules`, `/api/v1/alerts` and `/api/v1/alertmanagers` show |

mod report;

pub use report::{
    AlertReport, AlertState, AlertingRuleReport, AlertmanagerReports, GroupReport, Health,
    RecordingRuleReport, RuleReport, RuleReports,
};
