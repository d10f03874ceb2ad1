//! Load without a script: one request again and again, or those of an access log.
//!
//! The same executors, metrics, thresholds and outputs as for scripts; only the virtual user is
//! another one, whose request is made once and written as it is.
//!
//! ```text
//! Target ─► Requests ─► PlainUser ─► Connection ─► AnswerReader
//! Load ─► ScenarioPlan ─┘ (an iteration a request)
//! ```

mod connection;
mod lines;
mod load;
mod request;
mod user;

pub use lines::{RequestFigures, second_line, summary_json, summary_text};
pub use load::{Load, Stage};
pub use request::{Requests, Target};
pub(crate) use user::PlainUsers;
