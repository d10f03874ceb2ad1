//! Connections to PostgreSQL, named as libpq names them.
//!
//! ```text
//! URL or keyword string ─┐
//! PG… environment ───────┼─▶ Settings ─▶ Target ─▶ Session   (TLS by rustls, one host after another)
//! service, passfile ─────┘
//! ```
//! [`Settings`] is pure: text and an [`Environment`] become values. [`Target`] opens sessions with
//! them. Every failure becomes a sentence that says what was wrong, where, and what to do.

mod environment;
mod establish;
mod failure;
mod files;
mod pooler;
mod secret;
mod settings;
mod string;
mod tls;

pub use environment::Environment;
pub use establish::{Session, Target};
pub use failure::{ConnectionError, QueryError, Reason};
pub use secret::without_passwords;
pub use settings::{HostAddress, SessionAttributes, Settings, SslMode};
