//! The load generator: plain requests to a URL, and k6 scripts.
//!
//! There is one engine. What is asked for (flags, or a script's [`options`]) becomes [`scenario`]s;
//! the [`schedule`] says when what is to happen (pure), the [`executor`]s let virtual [`user`]s do
//! it on worker threads, and a [`mod@run`] holds it together. A [`session`] is a test from its first
//! line to its exit status.
//!
//! ```text
//! flags, script ──► scenarios ──► executors ──► users ──► server
//!                                     ▲           │
//!                                 schedule      metric ──► a second, totals ──► thresholds, outputs, summary
//! ```
//!
//! There are two kinds of users. A [`script`] sends by [`http`]; a [`plain`] user sends one request
//! that was made beforehand, or those of a recording ([`replay`]). What they measure goes to a
//! [`metric`] sink of their thread, is added up once a second, and is judged by [`thresholds`],
//! written by [`output`]s and told by the [`summary`]. A [`watch`] reads autoscalers meanwhile.
//!
//! For a rate, times also count from when each request was meant to start, so a server that stalls
//! cannot hide its stall by holding back the next request ("coordinated omission").

mod collation;
mod duration;
pub mod executor;
pub mod html_report;
pub mod http;
mod markup;
pub mod metric;
pub mod options;
pub mod output;
pub mod plain;
pub mod progress;
pub mod replay;
mod result_file;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod script;
pub mod session;
pub mod summary;
pub mod thresholds;
pub mod timeline;
pub mod user;
pub mod watch;

pub use duration::parse_duration;

/// What can be wrong with an order for load, each with a sentence that says what to change.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL cannot be used.
    #[error("{url:?} is not a URL that load can be sent to: {reason}")]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A header, method or body cannot be sent.
    #[error("{what} {given:?}: {reason}")]
    Request {
        /// Which part of the request: `header`, `method`.
        what: &'static str,
        /// The part as given.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A duration such as `30s` or `1m30s` cannot be read.
    #[error("{0:?} is not a duration; write it like 30s, 500ms, 2m or 1h30m")]
    Duration(String),
    /// A stage such as `30s:50` cannot be read.
    #[error("stage {given:?}: {reason}; write it like 30s:50, a duration and the level at its end")]
    Stage {
        /// The stage as given.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The load itself makes no sense.
    #[error("{0}")]
    Load(&'static str),
    /// The operating system's certificates could not be used.
    #[error("{0}")]
    Tls(String),
}
