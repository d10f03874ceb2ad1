//! The load generator: plain requests to a URL, and k6 scripts.
//!
//! **A URL.** A [`Shape`] says how much load there is at any moment: so many users who each send one
//! request after the other (closed model), or so many arrivals a second whatever the server does
//! (open model). [`run`](fn@run) drives it against a [`Target`], over connections that it keeps open, and
//! hands every finished request to a [`Recorder`]. Once a second the recorder gives what happened in
//! that second, and at the end the whole [`Summary`], which [`Threshold`]s judge.
//!
//! ```text
//! shape ──► run ──► connection ──► server
//!                      │
//!                      ▼
//!                  recorder ──► a line a second, a summary, thresholds
//! ```
//!
//! In the open model a request's time counts from when it was meant to start, so a server that
//! stalls cannot hide its stall by holding back the next request ("coordinated omission").
//!
//! **A script.** A [`session`] is a script's test from its first line to its exit status. Its
//! [`options`] become [`scenario`]s; the [`schedule`] says when what is to happen (pure), the
//! [`executor`]s let virtual [`user`]s do it on worker threads, and a [`mod@run`] holds it together.
//! Users are [`script`]s, which send by [`http`]; what they measure goes to a [`metric`] sink of
//! their thread, is added up once a second, and is judged by [`thresholds`], written by [`output`]s
//! and told by the [`summary`].
//!
//! [`replay`] reads recordings of load; nothing plays them on the command line yet.

mod connection;
mod duration;
mod engine;
pub mod executor;
pub mod http;
mod markup;
pub mod metric;
pub mod options;
pub mod output;
pub mod progress;
mod recorder;
pub mod replay;
mod report;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod script;
pub mod session;
mod shape;
pub mod summary;
mod target;
mod threshold;
pub mod thresholds;
pub mod timeline;
pub mod user;
pub mod watch;

pub use connection::{Connection, RequestError};
pub use duration::parse_duration;
pub use engine::{Options, run};
pub use recorder::{Recorder, Second, Summary};
pub use report::{second_line, summary_text};
pub use shape::{Level, Shape, Stage};
pub use target::{Target, TargetBuilder};
pub use threshold::{Threshold, Verdict};

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
    /// A threshold such as `http_req_duration=p(95)<500` cannot be read.
    #[error(
        "threshold {given:?}: {reason}; write it like http_req_duration=p(95)<500 or http_req_failed=rate<0.01"
    )]
    Threshold {
        /// The threshold as given.
        given: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The load itself makes no sense.
    #[error("{0}")]
    Shape(&'static str),
    /// The operating system's certificates could not be used.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}
