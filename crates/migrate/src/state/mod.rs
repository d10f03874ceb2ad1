//! What is known of migrations, kept in a schema of its own in the target.
//!
//! Whatever a step does in the target, it notes here in the same transaction: after a kill at any
//! point, what the notes say is what happened. One migration is kept per source file and target schema.
//!
//! | table of `springtide_migrate` | holds |
//! | --- | --- |
//! | `version` | the layout of this schema |
//! | `migration` | one row each: source, plan, phase, the source's state when it was copied |
//! | `setting` | named texts of a migration |
//! | `piece` | ranges of each table's rows, and how far each has been copied |
//! | `step` | what has been done after the data: keys, indexes, foreign keys, sequences |
//! | `quarantine` | rows that the target could not take |
//!
//! Two runners are kept apart by an advisory lock ([`RunLock`]). Transactions that write data hold
//! another one, shared ([`fence`]): a new runner waits for it, so that it never reads notes while the
//! last words of a killed runner's session are still being carried out.

mod layout;
mod lock;

use serde::Serialize;
use thiserror::Error;
use tokio_postgres::types::Type;

use crate::connection::{ConnectionError, QueryError, Session};
use crate::plan::Plan;

pub use layout::SCHEMA;
pub use lock::{RunLock, fence};

/// Why the state cannot be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// No session.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A statement failed.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The schema was made by a later version of this program.
    #[error(
        "the schema springtide_migrate in the target was made by a newer tide (its version is {found}, this one knows {known}); use that one"
    )]
    Newer {
        /// The version found.
        found: i32,
        /// The version this program makes.
        known: i32,
    },
    /// What is stored cannot be read.
    #[error(
        "the state of the migration in the target is damaged: {0}; begin anew with --on-existing replace"
    )]
    Damaged(String),
    /// Another runner has the migration.
    #[error("another tide migrate works on this migration ({0}); wait for it, or end it")]
    Locked(String),
}

/// How far a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// There is a plan and nothing else.
    Planned,
    /// Tables exist and rows are being copied.
    Copying,
    /// All rows are there; keys, indexes and the rest are being made.
    Completing,
    /// All is made.
    Copied,
    /// The last verification found all equal.
    Verified,
    /// Changes of the source are being followed.
    Following,
    /// The application was switched over.
    Finished,
}

impl Phase {
    const NAMES: [(Self, &'static str); 7] = [
        (Self::Planned, "planned"),
        (Self::Copying, "copying"),
        (Self::Completing, "completing"),
        (Self::Copied, "copied"),
        (Self::Verified, "verified"),
        (Self::Following, "following"),
        (Self::Finished, "finished"),
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(phase, _)| *phase == self)
            .map_or("planned", |(_, name)| name)
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(phase, _)| *phase)
    }
}

/// One migration as the state knows it.
#[derive(Debug, Clone)]
pub struct Migration {
    /// Its number, which every other table refers to.
    pub id: i64,
    /// The source file, as an absolute path.
    pub source: String,
    /// The plan it follows.
    pub plan: Plan,
    /// How far it is.
    pub phase: Phase,
    /// [`Snapshot::state`](crate::snapshot::Snapshot::state) when its rows were copied.
    pub source_state: Option<String>,
}

/// The source as it is known by: its absolute path.
#[must_use]
pub fn source_name(path: &str) -> String {
    let path = std::path::Path::new(path);
    let absolute = path.canonicalize().or_else(|_| std::path::absolute(path));
    absolute
        .unwrap_or_else(|_| path.to_owned())
        .to_string_lossy()
        .into_owned()
}

/// Makes the schema of the state, or brings it to this program's version.
///
/// # Errors
/// When a newer program made it, or the user may not.
pub async fn prepare(session: &Session) -> Result<(), StateError> {
    layout::prepare(session).await
}

/// Finds the migration of a source to a schema of the target.
///
/// # Errors
/// When the state cannot be read.
pub async fn find(
    session: &Session,
    source: &str,
    target_schema: &str,
) -> Result<Option<Migration>, StateError> {
    let doing = "reading the state of the migration";
    let failed = |error| QueryError::while_doing(doing, &error);
    let exists = session
        .query_typed_one(
            "SELECT to_regclass('springtide_migrate.migration') IS NOT NULL",
            &[],
        )
        .await
        .map_err(failed)?;
    if !exists.get::<_, bool>(0) {
        return Ok(None);
    }
    let found = session
        .query_typed_opt(
            "SELECT id, plan, phase, source_state FROM springtide_migrate.migration WHERE source = $1 AND target_schema = $2",
            &[(&source, Type::TEXT), (&target_schema, Type::TEXT)],
        )
        .await
        .map_err(failed)?;
    let Some(row) = found else { return Ok(None) };
    let plan = serde_json::from_str(row.get(1))
        .map_err(|error| StateError::Damaged(format!("the plan: {error}")))?;
    let phase: &str = row.get(2);
    let phase = Phase::from_name(phase)
        .ok_or_else(|| StateError::Damaged(format!("the phase {phase:?}")))?;
    Ok(Some(Migration {
        id: row.get(0),
        source: source.to_owned(),
        plan,
        phase,
        source_state: row.get(3),
    }))
}

/// Notes a new migration with its plan, in place of an earlier one of the same source and schema, whose
/// notes (quarantine too) are removed.
///
/// # Errors
/// When the state cannot be written.
pub async fn create(
    session: &Session,
    source: &str,
    plan: &Plan,
    source_state: &str,
) -> Result<Migration, StateError> {
    let failed = |error| QueryError::while_doing("writing the state of the migration", &error);
    let text = serde_json::to_string(plan)
        .map_err(|error| StateError::Damaged(format!("the plan: {error}")))?;
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&source, Type::TEXT), (&plan.schema, Type::TEXT)];
    session
        .execute_typed(
            "DELETE FROM springtide_migrate.migration WHERE source = $1 AND target_schema = $2",
            &parameters,
        )
        .await
        .map_err(failed)?;
    let row = session
        .query_typed_one(
            "INSERT INTO springtide_migrate.migration (source, target_schema, plan, phase, source_state)
             VALUES ($1, $2, $3, 'planned', $4) RETURNING id",
            &[(&source, Type::TEXT), (&plan.schema, Type::TEXT), (&text, Type::TEXT), (&source_state, Type::TEXT)],
        )
        .await
        .map_err(failed)?;
    Ok(Migration {
        id: row.get(0),
        source: source.to_owned(),
        plan: plan.clone(),
        phase: Phase::Planned,
        source_state: Some(source_state.to_owned()),
    })
}

/// Notes how far a migration is.
///
/// # Errors
/// When the state cannot be written.
pub async fn set_phase(session: &Session, migration: i64, phase: Phase) -> Result<(), StateError> {
    session
        .execute_typed(
            "UPDATE springtide_migrate.migration SET phase = $2, changed = now() WHERE id = $1",
            &[(&migration, Type::INT8), (&phase.as_str(), Type::TEXT)],
        )
        .await
        .map_err(|error| QueryError::while_doing("writing the state of the migration", &error))?;
    Ok(())
}

/// Reads a named text of a migration.
///
/// # Errors
/// When the state cannot be read.
pub async fn setting(
    session: &Session,
    migration: i64,
    name: &str,
) -> Result<Option<String>, StateError> {
    let row = session
        .query_typed_opt(
            "SELECT value FROM springtide_migrate.setting WHERE migration = $1 AND name = $2",
            &[(&migration, Type::INT8), (&name, Type::TEXT)],
        )
        .await
        .map_err(|error| QueryError::while_doing("reading the state of the migration", &error))?;
    Ok(row.map(|row| row.get(0)))
}

/// Writes a named text of a migration; none removes it. Inside a transaction it counts with that.
///
/// # Errors
/// When the state cannot be written.
pub async fn set_setting(
    session: &Session,
    migration: i64,
    name: &str,
    value: Option<&str>,
) -> Result<(), StateError> {
    let statement = match value {
        Some(_) => {
            "INSERT INTO springtide_migrate.setting (migration, name, value) VALUES ($1, $2, $3)
             ON CONFLICT (migration, name) DO UPDATE SET value = excluded.value"
        }
        None => {
            "DELETE FROM springtide_migrate.setting WHERE migration = $1 AND name = $2 AND $3::text IS NULL"
        }
    };
    session
        .execute_typed(
            statement,
            &[
                (&migration, Type::INT8),
                (&name, Type::TEXT),
                (&value, Type::TEXT),
            ],
        )
        .await
        .map_err(|error| QueryError::while_doing("writing the state of the migration", &error))?;
    Ok(())
}

/// How many rows of each table (by its name in the source) are in quarantine.
///
/// # Errors
/// When the state cannot be read.
pub async fn quarantined(
    session: &Session,
    migration: i64,
) -> Result<Vec<(String, u64)>, StateError> {
    let rows = session
        .query_typed(
            "SELECT table_name, count(*) FROM springtide_migrate.quarantine WHERE migration = $1 GROUP BY 1 ORDER BY 1",
            &[(&migration, Type::INT8)],
        )
        .await
        .map_err(|error| QueryError::while_doing("reading the quarantine", &error))?;
    Ok(rows
        .iter()
        .map(|row| (row.get(0), row.get::<_, i64>(1).unsigned_abs()))
        .collect())
}

/// Rows of the source that a copy has come by, and where they are: `read` is the sum of the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Rows read from the source.
    pub read: u64,
    /// Those of them that are in the target.
    pub copied: u64,
    /// Those of them that are in quarantine.
    pub quarantined: u64,
}

/// Counts the rows of a copy. Changes that are followed afterwards are not in it.
///
/// # Errors
/// When the state cannot be read.
pub async fn tally(session: &Session, migration: i64) -> Result<Tally, StateError> {
    let row = session
        .query_typed_one(
            "SELECT (SELECT coalesce(sum(rows + quarantined), 0)::bigint FROM springtide_migrate.piece WHERE migration = $1),
                    (SELECT count(*) FROM springtide_migrate.quarantine WHERE migration = $1)",
            &[(&migration, Type::INT8)],
        )
        .await
        .map_err(|error| QueryError::while_doing("counting the rows that are copied", &error))?;
    let (read, quarantined) = (
        row.get::<_, i64>(0).unsigned_abs(),
        row.get::<_, i64>(1).unsigned_abs(),
    );
    Ok(Tally {
        read,
        // Constraints that were made after the data have moved rows from the one to the other.
        copied: read.saturating_sub(quarantined),
        quarantined,
    })
}

/// Removes a migration's notes, and the schema when they were the last.
///
/// # Errors
/// When the state cannot be written.
pub async fn forget(session: &Session, migration: i64) -> Result<(), StateError> {
    let failed = |error| QueryError::while_doing("removing the state of the migration", &error);
    session
        .execute_typed(
            "DELETE FROM springtide_migrate.migration WHERE id = $1",
            &[(&migration, Type::INT8)],
        )
        .await
        .map_err(failed)?;
    let rest = session
        .query_typed_one("SELECT count(*) FROM springtide_migrate.migration", &[])
        .await
        .map_err(failed)?;
    if rest.get::<_, i64>(0) == 0 {
        session
            .batch_execute("DROP SCHEMA springtide_migrate CASCADE")
            .await
            .map_err(failed)?;
    }
    Ok(())
}
