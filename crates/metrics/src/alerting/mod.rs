//! What becomes of alerts: who is told, when, how often, and what is kept silent; Alertmanager's configuration, API
//! and messages.
//!
//! ```text
//! rules, POST /api/v2/alerts ──> AlertBook: routes ─> groups ── flush(now) ──> messages ──> webhook, mail, Slack
//!                                   │  silences, inhibition, times, what was told     │
//!                                   └────────────── journal (over restarts) <─────────┘
//! ```
//!
//! | part | is |
//! | --- | --- |
//! | [`AlertingConfiguration`] | Alertmanager's file, read and checked |
//! | [`AlertBook`] | the decisions, pure: grouping, waiting, repeating, silences, inhibition, what is news |
//! | [`Alertmanager`] | the shell: keeps time, sends, keeps the journal |
//! | [`api`] | Alertmanager's API v2 |
//! | `notify` | the messages and how they are sent |
//! | [`ExternalAlertmanagers`] | sends the rules' alerts to Alertmanagers elsewhere |
//!
//! A message that was to be sent when the program ended is sent after it starts again: what was told is kept only
//! after it was, so that a receiver may hear something twice and never not at all.

mod alert;
pub mod api;
mod book;
#[cfg(test)]
mod book_tests;
mod config;
mod external;
mod interval;
mod journal;
mod matcher;
mod notify;
mod route;
mod run;
#[cfg(test)]
mod run_tests;
mod shown;
mod silence;

pub use alert::{Alert, LabelMap, PostedAlert, fingerprint};
pub use book::{
    AlertBook, Change, Flush, GroupView, Integration, Message, Standing, Told, ToldAlert,
};
pub use config::{
    AlertingConfigError, AlertingConfiguration, EmailConfig, Inhibition, Receiver, SlackConfig,
    SlackField, WebhookConfig,
};
pub use external::ExternalAlertmanagers;
pub use interval::TimeInterval;
pub use matcher::{AlertMatcher, accepts_all};
pub use route::{GroupBy, Route};
pub use run::{Alertmanager, AlertmanagerOptions};
pub use silence::{PostedMatcher, PostedSilence, Silence, SilenceState};
