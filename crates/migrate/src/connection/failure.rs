//! Failures of connections and statements, as sentences.

use thiserror::Error;
use tokio_postgres::error::SqlState;

use crate::plan::{needs_quotes, quote_name};

/// Why no session could be opened.
#[derive(Debug, Error)]
pub enum ConnectionError {
    /// The connection string, environment or service file is wrong.
    #[error("{0}")]
    Settings(String),
    /// A certificate or key cannot be used.
    #[error("{0}")]
    Certificate(String),
    /// No host could be connected to.
    #[error("{message}")]
    Failed {
        /// What went wrong at the last host, for programs.
        reason: Reason,
        /// What went wrong at each host.
        message: String,
    },
    /// A pooler stands between, in a mode that cannot be worked around.
    #[error("{0}")]
    Pooler(String),
}

/// Sorts of failures, by what the user can do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The password is wrong or missing.
    Password,
    /// The server does not let this user in (`pg_hba.conf`, no such role).
    Refused,
    /// There is no such database.
    MissingDatabase,
    /// Nothing answers at that address.
    Unreachable,
    /// TLS could not be agreed on, or the certificate is not to be trusted.
    Tls,
    /// The server is starting, stopping, or out of connections: later it may work.
    Busy,
    /// No host is of the sort `target_session_attrs` asks for.
    WrongServer,
    /// The server's disk is full.
    DiskFull,
    /// The server process of the session was ended, or the connection was lost.
    Lost,
    /// A right is missing.
    Permission,
    /// The server takes no writes: a standby, or `default_transaction_read_only`.
    ReadOnly,
    /// A value or row that the target cannot take: SQLSTATE classes 22, 23 and 54.
    Data,
    /// A statement took longer than the server allows.
    Timeout,
    /// Anything else.
    Other,
}

/// A statement that failed.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct QueryError {
    /// What sort of failure.
    pub reason: Reason,
    /// One sentence, and the server's own detail.
    pub message: String,
    /// The SQLSTATE, where the server gave one.
    pub code: Option<String>,
    /// The constraint that was violated, where one was.
    pub constraint: Option<String>,
    /// The server's message alone.
    pub server_message: Option<String>,
}

impl QueryError {
    /// Tells what failed while `doing` something, such as `copying table facts`.
    #[must_use]
    pub fn while_doing(doing: &str, error: &tokio_postgres::Error) -> Self {
        let Some(db) = error.as_db_error() else {
            let lost = error.is_closed() || is_io(error);
            let (reason, message) = if lost {
                (
                    Reason::Lost,
                    format!(
                        "the connection to PostgreSQL was lost while {doing} ({}); run the same command again to resume",
                        causes(error)
                    ),
                )
            } else {
                (Reason::Other, format!("{doing} failed: {}", causes(error)))
            };
            return Self {
                reason,
                message,
                code: None,
                constraint: None,
                server_message: None,
            };
        };
        let said = db.message();
        let reason = match said {
            // PgBouncer has one code for all it says.
            "query_wait_timeout" => Reason::Busy,
            "server conn crashed?" | "server closed the connection unexpectedly" => Reason::Lost,
            _ => reason_of(db.code()),
        };
        let detail = db
            .detail()
            .map(|detail| format!(" ({detail})"))
            .unwrap_or_default();
        let hint = db
            .hint()
            .map(|hint| format!("; PostgreSQL's hint: {hint}"))
            .unwrap_or_default();
        let message = match reason {
            Reason::DiskFull => format!(
                "the disk of the PostgreSQL server is full while {doing}: {said}; make room there, then run the same command again to resume"
            ),
            Reason::Lost => format!(
                "PostgreSQL ended the session while {doing}: {said}; run the same command again to resume"
            ),
            Reason::Permission => format!(
                "the user lacks a right for {doing}: {said}{hint}{}",
                missing_right(said)
            ),
            Reason::ReadOnly => format!(
                "the server takes no writes, which {doing} needs: {said}; name the primary if this is a standby (target_session_attrs=read-write finds it among several hosts), or turn default_transaction_read_only off, for example with options=-cdefault_transaction_read_only=off"
            ),
            Reason::Busy if said == "query_wait_timeout" => format!(
                "the pooler had no server session for {doing} within its query_wait_timeout; raise its default_pool_size or use fewer --jobs, then run the same command again to resume"
            ),
            Reason::Timeout => format!(
                "PostgreSQL cancelled {doing}: {said}; raise statement_timeout or lock_timeout, for example with options=-cstatement_timeout=0"
            ),
            Reason::Busy => format!(
                "PostgreSQL has no room for {doing} now: {said}; run the same command again to resume"
            ),
            _ if said.contains("ICU is not supported") => format!(
                "{doing} failed: this PostgreSQL was built without ICU, which columns with the collation NOCASE need; use one that has it, as those of most distributions do, or leave the tables with such columns out with --exclude"
            ),
            _ => format!(
                "{doing} failed: {said}{detail}{hint} (SQLSTATE {})",
                db.code().code()
            ),
        };
        Self {
            reason,
            message,
            code: Some(db.code().code().to_owned()),
            constraint: db.constraint().map(str::to_owned),
            server_message: Some(format!("{said}{detail}")),
        }
    }
}

impl QueryError {
    /// Names the role that lacks a right, so that what would grant it can be run as it is shown.
    #[must_use]
    pub fn naming_role(mut self, role: &str) -> Self {
        if self.reason == Reason::Permission {
            let role = if needs_quotes(role) {
                quote_name(role)
            } else {
                role.to_owned()
            };
            self.message = self.message.replace(SOMEBODY, &format!(" TO {role}"));
        }
        self
    }
}

pub(super) fn reason_of(code: &SqlState) -> Reason {
    match code.code() {
        "28P01" => Reason::Password,
        "28000" => Reason::Refused,
        "3D000" => Reason::MissingDatabase,
        "53100" => Reason::DiskFull,
        "57P01" | "57P02" | "57P05" | "08006" | "08003" | "25P03" => Reason::Lost,
        "57P03" | "53300" | "53200" | "53000" | "40001" | "40P01" => Reason::Busy,
        "57014" | "55P03" => Reason::Timeout,
        "42501" => Reason::Permission,
        "25006" => Reason::ReadOnly,
        code if ["22", "23", "54"].contains(&&code[..2]) => Reason::Data,
        _ => Reason::Other,
    }
}

/// Who lacks a right, where the role is not known.
const SOMEBODY: &str = " TO the user";

/// What to do about a right that is missing, where PostgreSQL's words tell which.
fn missing_right(said: &str) -> String {
    if let Some(schema) = said.strip_prefix("permission denied for schema ") {
        let otherwise = match schema {
            // Where the state is kept cannot be chosen.
            "springtide_migrate" => {
                " (another role began a migration in this database: its state is there)"
            }
            _ => ", or choose another with --schema",
        };
        return format!(
            "; have its owner run: GRANT USAGE, CREATE ON SCHEMA {schema}{SOMEBODY}{otherwise}"
        );
    }
    if let Some(database) = said.strip_prefix("permission denied for database ") {
        return format!(
            "; have its owner run: GRANT CREATE ON DATABASE {database}{SOMEBODY} (a schema is to be made in it; the migration keeps its state in one of its own, springtide_migrate)"
        );
    }
    String::new()
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

/// An error with all that caused it, in one line.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}
