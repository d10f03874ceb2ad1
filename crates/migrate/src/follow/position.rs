//! What the target keeps of a migration that is followed: how far its replay has come.
//!
//! One row a migration in `springtide_migrate.follow`, written in the transactions whose effects it
//! tells of.

use tokio_postgres::types::{ToSql, Type};

use super::FollowError;
use crate::connection::{QueryError, Session};

/// How far a migration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The last entry of the source's log that was replayed.
    pub entry: i64,
    /// The source's schema version then.
    pub schema_version: Option<i64>,
    /// What is done and what is not.
    pub stage: Stage,
}

/// The stages of a migration that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The source records its changes, and they are replayed.
    Following,
    /// The source is locked and complete in the target; `--on-finish` may have run or not.
    Switching,
    /// The target has taken over.
    Finished,
}

impl Stage {
    /// The word by which it is kept.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Following => "following",
            Self::Switching => "switching",
            Self::Finished => "finished",
        }
    }

    fn parse(word: &str) -> Self {
        match word {
            "switching" => Self::Switching,
            "finished" => Self::Finished,
            _ => Self::Following,
        }
    }
}

const TABLE: &str = "springtide_migrate.follow";

/// Makes the table of positions where there is none.
///
/// # Errors
/// When the user may not create a schema.
pub async fn prepare(session: &Session) -> Result<(), FollowError> {
    run(
        session,
        &format!(
            "CREATE SCHEMA IF NOT EXISTS springtide_migrate; \
             CREATE TABLE IF NOT EXISTS {TABLE} (migration text PRIMARY KEY, entry bigint NOT NULL, \
             schema_version bigint, stage text NOT NULL, replayed_at timestamptz NOT NULL DEFAULT now())"
        ),
    )
    .await
}

/// Notes that the source records from an entry on.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn begin(
    session: &Session,
    migration: &str,
    entry: i64,
    schema_version: i64,
) -> Result<(), FollowError> {
    execute(
        session,
        &format!(
            "INSERT INTO {TABLE} (migration, entry, schema_version, stage) VALUES ($1, $2, $3, 'following') \
             ON CONFLICT (migration) DO NOTHING"
        ),
        &[(&migration, Type::TEXT), (&entry, Type::INT8), (&schema_version, Type::INT8)],
    )
    .await
}

/// Tells the position; None where changes were never recorded.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn find(session: &Session, migration: &str) -> Result<Option<Position>, FollowError> {
    let exists = session
        .query_typed_one(&format!("SELECT to_regclass('{TABLE}') IS NOT NULL"), &[])
        .await
        .and_then(|row| row.try_get::<_, bool>(0))
        .map_err(|error| failed(&error))?;
    if exists { read(session, migration, "").await } else { Ok(None) }
}

/// Locks the position until the transaction ends, and tells it.
pub(super) async fn lock(session: &Session, migration: &str) -> Result<Position, FollowError> {
    let position = read(session, migration, "FOR UPDATE").await?.ok_or(FollowError::NotRecorded)?;
    match position.stage {
        Stage::Finished => Err(FollowError::Finished),
        Stage::Following | Stage::Switching => Ok(position),
    }
}

async fn read(
    session: &Session,
    migration: &str,
    lock: &str,
) -> Result<Option<Position>, FollowError> {
    let query = format!("SELECT entry, schema_version, stage FROM {TABLE} WHERE migration = $1 {lock}");
    let row = session
        .query_typed_opt(&query, &[(&migration, Type::TEXT)])
        .await
        .map_err(|error| failed(&error))?;
    let Some(row) = row else { return Ok(None) };
    let stage: String = row.try_get(2).map_err(|error| failed(&error))?;
    Ok(Some(Position {
        entry: row.try_get(0).map_err(|error| failed(&error))?,
        schema_version: row.try_get(1).map_err(|error| failed(&error))?,
        stage: Stage::parse(&stage),
    }))
}

/// Moves the position, within the transaction that replayed.
pub(super) async fn advance(
    session: &Session,
    migration: &str,
    entry: i64,
    schema_version: Option<i64>,
) -> Result<(), FollowError> {
    execute(
        session,
        &format!(
            "UPDATE {TABLE} SET entry = $2, schema_version = $3, replayed_at = now() WHERE migration = $1"
        ),
        &[(&migration, Type::TEXT), (&entry, Type::INT8), (&schema_version, Type::INT8)],
    )
    .await
}

/// Moves to another stage.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn set_stage(session: &Session, migration: &str, stage: Stage) -> Result<(), FollowError> {
    execute(
        session,
        &format!("UPDATE {TABLE} SET stage = $2 WHERE migration = $1"),
        &[(&migration, Type::TEXT), (&stage.as_str(), Type::TEXT)],
    )
    .await
}

/// Forgets a migration.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn forget(session: &Session, migration: &str) -> Result<(), FollowError> {
    execute(
        session,
        &format!("DELETE FROM {TABLE} WHERE migration = $1"),
        &[(&migration, Type::TEXT)],
    )
    .await
}

async fn run(session: &Session, statements: &str) -> Result<(), FollowError> {
    session.batch_execute(statements).await.map_err(|error| failed(&error))
}

async fn execute(
    session: &Session,
    statement: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<(), FollowError> {
    session.execute_typed(statement, parameters).await.map(|_| ()).map_err(|error| failed(&error))
}

fn failed(error: &tokio_postgres::Error) -> FollowError {
    FollowError::Postgres(QueryError::while_doing("keeping the state of the migration", error))
}

pub(super) async fn release(_: &Session, _: &str, _: usize, _: &super::change_log::TableChanges) -> Result<(), FollowError> {
    Ok(())
}
pub(super) async fn quarantine(_: &Session, _: &str, _: &crate::plan::Plan, _: &super::Misfit) -> Result<(), FollowError> {
    Ok(())
}
