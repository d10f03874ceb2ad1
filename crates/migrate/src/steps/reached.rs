//! How far a copy is, and which command goes on with it.

use std::fmt;

use serde::Serialize;

use super::{Places, StepError};
use crate::connection::Session;
use crate::follow::change_log::{self, Recording};
use crate::state::{self, Migration, Phase, Tally};

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reached {
    /// Rows in the source when the plan was made.
    pub planned: u64,
    /// Rows that were read, and where they are.
    #[serde(flatten)]
    pub tally: Tally,
    /// Whether all rows were read: what is missing are keys, indexes and the rest.
    pub has_all_rows: bool,
}

/// A copy that is not finished.
#[derive(Debug, Clone)]
pub struct Unfinished {
    /// From where to where.
    pub places: Places,
    /// How far it is.
    pub reached: Reached,
    /// The command that goes on with it.
    pub command: &'static str,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            places,
            reached,
            command,
        } = self;
        write!(
            f,
            "the copy of {} into {} is not finished: {reached}; go on with `{command}` and the options that it was begun with",
            places.path.display(),
            places.describe()
        )
    }
}

// === impl Reached ===

impl Reached {
    pub(super) async fn of(session: &Session, migration: &Migration) -> Result<Self, StepError> {
        Ok(Self {
            planned: migration.plan.tables.iter().map(|table| table.rows).sum(),
            tally: state::tally(session, migration.id).await?,
            has_all_rows: migration.phase > Phase::Copying,
        })
    }

    /// Rows that are not copied yet.
    #[must_use]
    pub fn left(&self) -> u64 {
        match self.has_all_rows {
            true => 0,
            false => self.planned.saturating_sub(self.tally.read),
        }
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            copied,
            quarantined,
            ..
        } = self.tally;
        let left = self.left();
        let all = copied + quarantined + left;
        write!(
            f,
            "of {all} rows {copied} are copied, {quarantined} in quarantine, {left} not copied yet"
        )?;
        match self.has_all_rows {
            true => f.write_str(", and keys, indexes and the rest are not all made"),
            false => Ok(()),
        }
    }
}

impl Places {
    /// The migration, whose copy is finished.
    pub(super) async fn find_copied(&self, session: &Session) -> Result<Migration, StepError> {
        let migration = self.find_existing(session).await?;
        let Some(command) = self.command_to_copy(&migration).await? else {
            return Ok(migration);
        };
        Err(StepError::Unfinished(Box::new(Unfinished {
            places: self.clone(),
            reached: Reached::of(session, &migration).await?,
            command,
        })))
    }

    /// The command that goes on with the copy of a migration; none when it is finished.
    pub(super) async fn command_to_copy(
        &self,
        migration: &Migration,
    ) -> Result<Option<&'static str>, StepError> {
        if migration.phase >= Phase::Copied {
            return Ok(None);
        }
        let path = self.path.to_string_lossy().into_owned();
        // A source that cannot be written to records nothing.
        let recording = tokio::task::spawn_blocking(move || {
            change_log::open(&path).and_then(|source| change_log::recording(&source))
        });
        let recording = recording.await.map_err(|_| StepError::Interrupted)?;
        let is_recorded = matches!(
            recording,
            Ok(Recording::For { target, .. }) if target == self.describe()
        );
        Ok(Some(match is_recorded {
            true => "tide migrate follow",
            false => "tide migrate copy",
        }))
    }
}
