//! What the target keeps of a migration that is followed: how far its replay has come.
//!
//! They are settings of the migration's state, written in the transactions whose effects they tell of.

use super::FollowError;
use crate::connection::{QueryError, Session};
use crate::state;

/// How far a migration has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// What the log in the source says it is recorded for.
    pub token: String,
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

const TOKEN: &str = "follow_token";
const ENTRY: &str = "follow_entry";
const VERSION: &str = "follow_schema_version";
const STAGE: &str = "follow_stage";

/// A name for a log that no other log has.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn new_token(session: &Session) -> Result<String, FollowError> {
    let failed = |error| QueryError::while_doing("naming the change log", &error);
    let row = session
        .query_typed_one("SELECT gen_random_uuid()::text", &[])
        .await
        .map_err(failed)?;
    Ok(row.try_get(0).map_err(failed)?)
}

/// Notes, before the log is made, for what it will be recorded.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn announce(session: &Session, migration: i64, token: &str) -> Result<(), FollowError> {
    Ok(state::set_setting(session, migration, TOKEN, Some(token)).await?)
}

/// The token announced, whether or not the log was then made.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn announced(session: &Session, migration: i64) -> Result<Option<String>, FollowError> {
    Ok(state::setting(session, migration, TOKEN).await?)
}

/// Notes that the source records from an entry on.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn begin(
    session: &Session,
    migration: i64,
    entry: i64,
    schema_version: i64,
) -> Result<(), FollowError> {
    set_stage(session, migration, Stage::Following).await?;
    advance(session, migration, entry, Some(schema_version)).await
}

/// Tells the position; None where changes were never recorded.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn find(session: &Session, migration: i64) -> Result<Option<Position>, FollowError> {
    let Some(token) = announced(session, migration).await? else {
        return Ok(None);
    };
    let Some(entry) = state::setting(session, migration, ENTRY).await? else {
        return Ok(None);
    };
    let damaged = |what: &str| state::StateError::Damaged(format!("{what} of the change log"));
    let version = state::setting(session, migration, VERSION).await?;
    let stage = state::setting(session, migration, STAGE).await?;
    Ok(Some(Position {
        token,
        entry: entry.parse().map_err(|_| damaged("the position"))?,
        schema_version: version
            .map(|version| version.parse().map_err(|_| damaged("the schema version")))
            .transpose()?,
        stage: stage.as_deref().map_or(Stage::Following, Stage::parse),
    }))
}

/// Moves the position, within the transaction that replayed.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn advance(
    session: &Session,
    migration: i64,
    entry: i64,
    schema_version: Option<i64>,
) -> Result<(), FollowError> {
    let version = schema_version.map(|version| version.to_string());
    state::set_setting(session, migration, ENTRY, Some(&entry.to_string())).await?;
    Ok(state::set_setting(session, migration, VERSION, version.as_deref()).await?)
}

/// Moves to another stage.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn set_stage(session: &Session, migration: i64, stage: Stage) -> Result<(), FollowError> {
    Ok(state::set_setting(session, migration, STAGE, Some(stage.as_str())).await?)
}

/// Forgets that changes were followed.
///
/// # Errors
/// When PostgreSQL fails.
pub async fn forget(session: &Session, migration: i64) -> Result<(), FollowError> {
    for name in [TOKEN, ENTRY, VERSION, STAGE] {
        state::set_setting(session, migration, name, None).await?;
    }
    Ok(())
}
