//! The steps a user takes, each from start to end: what `tide migrate` wires to its commands.
//!
//! ```text
//! plan ─▶ copy ─▶ verify                      without writers, or with a stop of them
//! plan ─▶ record ─▶ copy ─▶ follow ─▶ finish  with writers at work
//!                      └──────▶ rollback
//! plan ─▶ to_sql                              files instead of a connection
//! ```
//! Any step can be given up and taken again, from another terminal too: what was done is kept in
//! the target's state, and what is recorded in the source says for which target.

mod cut_over;
mod reached;
mod status;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::connection::{ConnectionError, Environment, Session, Target, without_passwords};
use crate::copy::{self, CopyError, CopyOptions, CopyReport, Event, FilesReport};
use crate::follow::{FollowError, change_log, position};
use crate::plan::{Plan, PlanError, PlanOptions};
use crate::snapshot::{Mode, Opener, Snapshot, SourceError};
use crate::state::{self, Migration, StateError};
use crate::verify::{self, VerifyError, VerifyEvent, VerifyOptions, VerifyReport};

pub use cut_over::{RollbackOptions, RolledBack, finish, follow, rollback};
pub use reached::{Reached, Unfinished};
pub use status::{Status, status};

/// Why a step ended.
#[derive(Debug, Error)]
pub enum StepError {
    /// The source was not named in a way that is understood.
    #[error(
        "cannot read the source '{0}': write sqlite:FILE, such as sqlite:app.db or sqlite:/srv/app.db"
    )]
    SourceName(String),
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No plan could be made.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The target cannot be connected to.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The copy ended.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// The verification ended.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Following, finishing or rolling back ended.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// There is nothing to go on with.
    #[error(
        "there is no migration of {path} into schema {schema} of {target}; begin with `tide migrate copy` or `tide migrate follow`"
    )]
    NoMigration {
        /// The source.
        path: String,
        /// The schema.
        schema: String,
        /// The target.
        target: String,
    },
    /// Not all of the source was copied, so nothing can be said of the rest.
    #[error("{0}")]
    Unfinished(Box<Unfinished>),
    /// A step on another thread was given up.
    #[error("the step was interrupted")]
    Interrupted,
}

impl StepError {
    /// Whether what the user wrote is wrong, whatever source and target hold besides.
    #[must_use]
    pub fn is_wrong_usage(&self) -> bool {
        match self {
            Self::SourceName(_) | Self::Connection(ConnectionError::Settings(_)) => true,
            Self::Plan(error) => error.is_wrong_usage(),
            _ => false,
        }
    }
}

/// The source and the target of a migration.
#[derive(Debug, Clone)]
pub struct Places {
    /// The SQLite file.
    pub path: PathBuf,
    /// The PostgreSQL database.
    pub target: Target,
    /// The schema in it.
    pub schema: String,
}

impl Places {
    /// Reads the names of source and target; nothing is opened yet.
    ///
    /// # Errors
    /// Says which is not understood.
    pub fn parse(source: &str, target: &str, schema: &str) -> Result<Self, StepError> {
        Ok(Self {
            path: parse_source(source)?,
            target: Target::parse(target, &Environment::of_process())?,
            schema: schema.to_owned(),
        })
    }

    /// The source as the state knows it.
    #[must_use]
    pub fn source_name(&self) -> String {
        state::source_name(&self.path.to_string_lossy())
    }

    /// The target as the log in the source names it.
    fn describe(&self) -> String {
        format!("schema {} of {}", self.schema, self.target.describe())
    }

    /// The migration that the target knows of.
    async fn find(&self, session: &Session) -> Result<Option<Migration>, StepError> {
        Ok(state::find(session, &self.source_name(), &self.schema).await?)
    }

    async fn find_existing(&self, session: &Session) -> Result<Migration, StepError> {
        self.find(session)
            .await?
            .ok_or_else(|| StepError::NoMigration {
                path: self.path.display().to_string(),
                schema: self.schema.clone(),
                target: self.target.describe(),
            })
    }
}

/// Reads `sqlite:FILE`, `sqlite://FILE`, or the plain name of a file.
///
/// # Errors
/// When it is another kind of database.
pub fn parse_source(text: &str) -> Result<PathBuf, StepError> {
    let refused = || StepError::SourceName(without_passwords(text));
    let file = match text.strip_prefix("sqlite:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
        None if text.contains("://") => return Err(refused()),
        None => text,
    };
    if file.is_empty() || file == ":memory:" {
        return Err(refused());
    }
    Ok(PathBuf::from(file))
}

/// Makes a plan. Nothing is written anywhere.
///
/// # Errors
/// When the source cannot be read, or an option speaks of what does not exist.
pub async fn plan(path: &Path, options: &PlanOptions) -> Result<Plan, StepError> {
    let (path, options) = (path.to_owned(), options.clone());
    tokio::task::spawn_blocking(move || {
        let opener = Opener::new(&path)?;
        let open = || opener.connect();
        Ok(Plan::make(&path.to_string_lossy(), &open, &options)?)
    })
    .await
    .map_err(|_| StepError::Interrupted)?
}

/// Copies, or goes on with a copy that was interrupted. With `followed` in the options the source
/// records its changes from before the first row is read.
///
/// # Errors
/// Says what went wrong; unless it was the options, the same call resumes.
pub async fn copy(
    places: &Places,
    plan: &Plan,
    options: &CopyOptions,
    events: mpsc::Sender<Event>,
    cancel: CancellationToken,
) -> Result<CopyReport, StepError> {
    let token = match options.followed {
        true => Some(record(places, plan).await?),
        false => None,
    };
    let snapshot = snapshot(&places.path, options.jobs).await?;
    let report = copy::copy(&places.target, &snapshot, plan, options, events, cancel).await?;
    if let Some(token) = token {
        note_recording(places, report.migration, &token).await?;
    }
    Ok(report)
}

/// Writes the plan and the rows of the source as files for `psql` into a folder; no server is asked.
///
/// # Errors
/// Says what cannot be read or written. Nothing is resumed: what was written can be removed.
pub async fn to_sql(
    path: &Path,
    plan: &Plan,
    folder: &Path,
    strict: bool,
    events: mpsc::Sender<Event>,
    cancel: CancellationToken,
) -> Result<FilesReport, StepError> {
    let snapshot = snapshot(path, 1).await?;
    Ok(copy::write_files(folder, &snapshot, plan, strict, events, cancel).await?)
}

/// Whether following can begin: there is a whole copy whose changes are recorded, and it is not to be
/// replaced.
///
/// # Errors
/// When the target cannot be asked, or there is a copy whose changes are unknown.
pub async fn is_copied(places: &Places, replace: bool) -> Result<bool, StepError> {
    let session = places.target.connect_first().await?;
    let Some(migration) = places.find(&session).await? else {
        return Ok(false);
    };
    if replace || migration.phase < state::Phase::Copied {
        return Ok(false);
    }
    match position::find(&session, migration.id).await? {
        Some(_) => Ok(true),
        None => Err(FollowError::NotRecorded.into()),
    }
}

/// Compares the source with the target of a migration.
///
/// # Errors
/// When a side cannot be read. Differences are no error.
pub async fn verify(
    places: &Places,
    options: &VerifyOptions,
    events: mpsc::Sender<VerifyEvent>,
    cancel: CancellationToken,
) -> Result<VerifyReport, StepError> {
    let session = places.target.connect_first().await?;
    let migration = places.find_copied(&session).await?;
    let snapshot = snapshot(&places.path, options.jobs).await?;
    let plan = &migration.plan;
    Ok(verify::verify(
        &places.target,
        &snapshot,
        migration.id,
        plan,
        options,
        events,
        cancel,
    )
    .await?)
}

async fn snapshot(path: &Path, readers: usize) -> Result<Arc<Snapshot>, StepError> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || Snapshot::open(&path, readers, Mode::Copied));
    Ok(opened.await.map_err(|_| StepError::Interrupted)??)
}

/// Makes the source record its changes for this target, if it does not yet. Tells the log's name.
async fn record(places: &Places, plan: &Plan) -> Result<String, StepError> {
    let session = places.target.connect().await?;
    let announced = match places.find(&session).await? {
        Some(migration) => position::announced(&session, migration.id).await?,
        None => None,
    };
    let described = places.describe();
    let new = position::new_token(&session).await?;
    let (path, plan) = (places.path.to_string_lossy().into_owned(), plan.clone());
    let recording = tokio::task::spawn_blocking(move || {
        let mut source = change_log::open(&path)?;
        let token = match change_log::recording(&source)? {
            // A copy that was killed before the target knew of the log is gone on with.
            change_log::Recording::For { token, target }
                if Some(&token) == announced.as_ref() || target == described =>
            {
                token
            }
            _ => new,
        };
        change_log::install(&mut source, &plan, &token, &described)?;
        Ok::<String, FollowError>(token)
    });
    Ok(recording.await.map_err(|_| StepError::Interrupted)??)
}

/// Notes in the target's state what the source records.
async fn note_recording(places: &Places, migration: i64, token: &str) -> Result<(), StepError> {
    let session = places.target.connect().await?;
    let known = position::find(&session, migration).await?;
    if known.is_some_and(|known| known.token == token) {
        return Ok(());
    }
    let path = places.path.to_string_lossy().into_owned();
    let start = tokio::task::spawn_blocking(move || change_log::start(&change_log::open(&path)?))
        .await
        .map_err(|_| StepError::Interrupted)??;
    position::announce(&session, migration, token).await?;
    position::begin(&session, migration, start.entry, start.schema_version).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_with_or_without_its_kind() {
        for (text, path) in [
            ("sqlite:app.db", "app.db"),
            ("sqlite:///srv/app.db", "/srv/app.db"),
            ("sqlite:/srv/app.db", "/srv/app.db"),
            ("./app.db", "./app.db"),
        ] {
            assert_eq!(parse_source(text).unwrap(), PathBuf::from(path), "{text}");
        }
        for text in ["", "sqlite:", "mysql://host/db", "sqlite::memory:"] {
            let error = parse_source(text).unwrap_err().to_string();
            assert!(error.contains("write sqlite:FILE"), "{text}: {error}");
        }
    }
}
