//! What a migration has come to, for whoever asks.

use serde::Serialize;

use super::{Places, Reached, StepError};
use crate::follow::{change_log, following, position};
use crate::state::{self, Phase};

/// How far a migration is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The source file.
    pub source: String,
    /// The target, without the password.
    pub target: String,
    /// The schema.
    pub schema: String,
    /// The word for what is done; none where nothing is known.
    pub phase: Option<String>,
    /// The command that finishes the copy; none when that is done.
    pub unfinished: Option<&'static str>,
    /// Tables in the plan.
    pub tables: usize,
    /// Rows of the copy; none once changes are followed, which are not in it.
    pub rows: Option<Reached>,
    /// Rows in quarantine, by table.
    pub quarantined: Vec<(String, u64)>,
    /// Whether the source records its changes for this migration.
    pub recorded: bool,
    /// Changes that are not replayed yet.
    pub waiting: Option<u64>,
}

/// Asks both sides.
///
/// # Errors
/// When one of them does not answer.
pub async fn status(places: &Places) -> Result<Status, StepError> {
    let session = places.target.connect_first().await?;
    let mut status = Status {
        source: places.source_name(),
        target: places.target.describe(),
        schema: places.schema.clone(),
        phase: None,
        unfinished: None,
        tables: 0,
        rows: None,
        quarantined: Vec::new(),
        recorded: false,
        waiting: None,
    };
    let Some(migration) = places.find(&session).await? else {
        return Ok(status);
    };
    status.phase = Some(migration.phase.as_str().to_owned());
    status.unfinished = places.command_to_copy(&migration).await?;
    status.tables = migration.plan.tables.len();
    if migration.phase < Phase::Following {
        status.rows = Some(Reached::of(&session, &migration).await?);
    }
    status.quarantined = state::quarantined(&session, migration.id).await?;
    if let Some(at) = position::find(&session, migration.id).await? {
        let path = places.path.to_string_lossy().into_owned();
        let waiting = tokio::task::spawn_blocking(move || {
            let source = change_log::open(&path)?;
            match change_log::recording(&source)? {
                change_log::Recording::For { token, .. } if token == at.token => {
                    Ok(Some(following::waiting(&source, at.entry)?))
                }
                _ => Ok::<_, crate::follow::FollowError>(None),
            }
        });
        status.waiting = waiting.await.map_err(|_| StepError::Interrupted)??;
        status.recorded = status.waiting.is_some();
    }
    Ok(status)
}
