//! Rows from the snapshot of the source to the target, then what stands on them.
//!
//! ```text
//! prepare: state, tables, pieces ─▶ workers: reader thread ─buffers─▶ COPY ─▶ note, commit
//!                                     ─▶ complete: keys, checks, foreign keys, indexes, sequences, views
//! ```
//! Everything that is done is noted in the same transaction, so a copy goes on where it was killed.
//! A row that cannot be taken goes to the quarantine; nothing is ever changed to fit.

mod complete;
pub(crate) mod key;
mod prepare;
mod progress;
mod quarantine;
mod range;
mod read;
mod to_sql;
mod violators;
mod work;

use std::sync::Arc;

use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::connection::{ConnectionError, QueryError, Target};
use crate::plan::Plan;
use crate::snapshot::{Snapshot, SourceError};
use crate::state::{self, Phase, RunLock, StateError, Tally};

use progress::Counters;
use quarantine::Refused;
use work::{Queue, Work};

pub(crate) use key::Key;
pub(crate) use prepare::tables_that_had_rows;
pub use progress::{Event, Progress};
pub(crate) use range::{Range, ranges};
pub(crate) use read::{ReadError, TableReader};
pub use to_sql::{FilesReport, write_files};
pub(crate) use violators::{Place, QUARANTINE, Violators, move_orphans, orphans};

/// How a copy is made.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// Readers and sessions at work at once; no more than the snapshot has readers.
    pub jobs: usize,
    /// Whether the first row that cannot be taken ends the copy.
    pub strict: bool,
    /// What happens when tables of the plan's names exist.
    pub on_existing: OnExisting,
    /// Whether changes of the source are recorded since before the snapshot: a resumed copy may then
    /// go on although the source has changed, and tables get the column by which changes find rows.
    pub followed: bool,
    /// The most rows of one transaction: what a kill loses at most, for each job.
    pub chunk_rows: u64,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            jobs: default_jobs(),
            strict: false,
            on_existing: OnExisting::Fail,
            followed: false,
            chunk_rows: work::CHUNK_ROWS,
        }
    }
}

/// As many as there are processors, up to eight: beyond, the server's disk is the limit.
#[must_use]
pub fn default_jobs() -> usize {
    std::thread::available_parallelism()
        .map_or(2, std::num::NonZero::get)
        .min(8)
}

/// What happens when a table exists in the target that this migration did not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExisting {
    /// The copy is refused.
    #[default]
    Fail,
    /// Rows are added to it; its own columns, keys and indexes stay.
    Append,
    /// It is dropped with all its rows.
    Replace,
}

/// What a copy did.
#[derive(Debug, Clone)]
pub struct CopyReport {
    /// The migration's number in the state.
    pub migration: i64,
    /// The plan that was followed: that of the first run, if this one resumed.
    pub plan: Plan,
    /// Where the rows of the source are, those of earlier runs too; as of the copy, whatever was
    /// followed since.
    pub tally: Tally,
    /// Tables, by their names in the source, with rows in quarantine, and how many.
    pub quarantined: Vec<(String, u64)>,
    /// What could not be made after the data, and why.
    pub not_made: Vec<(String, String)>,
    /// Whether an earlier run was gone on with.
    pub resumed: bool,
    /// Whether there was nothing left to do.
    pub was_complete: bool,
    /// Whether changes of the source have been followed since.
    pub was_followed: bool,
}

/// Why a copy ended.
#[derive(Debug, Error)]
pub enum CopyError {
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No session.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A statement failed.
    #[error(transparent)]
    Target(#[from] QueryError),
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Tables are there already.
    #[error("the target has {} already: {}; use --on-existing append to add rows to them, replace to drop them, or --schema for another schema", if .0.len() == 1 { "a table of the plan" } else { "tables of the plan" }, .0.join(", "))]
    Existing(Vec<String>),
    /// The copy cannot begin in this way.
    #[error("{0}")]
    Refused(String),
    /// A row cannot be taken, under `--strict`.
    #[error("{message}")]
    Strict {
        /// Table, key, column and reason.
        message: String,
    },
    /// The caller ended it.
    #[error("the copy was interrupted; run the same command again to resume")]
    Cancelled,
    /// A broken promise within the program.
    #[error("the copy cannot go on: {0}")]
    Internal(String),
}

fn refused_error(table: &str, refused: &Refused) -> CopyError {
    let column = refused
        .column
        .as_deref()
        .map(|column| format!(", column {column}"))
        .unwrap_or_default();
    CopyError::Strict {
        message: format!(
            "table {table}, row {}{column}: {} (--strict stops at the first such row)",
            refused.key, refused.reason
        ),
    }
}

/// Copies a plan's tables, or goes on with a copy that was interrupted.
///
/// # Errors
/// Says what went wrong; unless it was the options, the same call resumes.
pub async fn copy(
    target: &Target,
    snapshot: &Arc<Snapshot>,
    plan: &Plan,
    options: &CopyOptions,
    events: mpsc::Sender<Event>,
    cancel: CancellationToken,
) -> Result<CopyReport, CopyError> {
    let session = target.connect_first().await?;
    if session.is_pooled() {
        let note = "a transaction pooler stands between; sessions keep nothing from one transaction to the next, which is allowed for";
        let _ = events.send(Event::Note(note.to_owned())).await;
    }
    state::prepare(&session).await?;
    let source = state::source_name(&snapshot.file().to_string_lossy());
    let lock = RunLock::take(target, &source, &plan.schema).await?;
    let prepared = prepare::prepare(&session, snapshot, &source, plan, options).await?;
    for note in &prepared.notes {
        let _ = events.send(Event::Note(note.clone())).await;
    }
    let plan = Arc::new(prepared.migration.plan.clone());
    let migration = prepared.migration.id;
    let was_complete = prepared.migration.phase >= Phase::Copied;
    let fence = state::fence(&source, &plan.schema);
    if prepared.migration.phase <= Phase::Copying {
        let rows: u64 = plan.tables.iter().map(|table| table.rows).sum();
        let bytes: u64 = plan.tables.iter().map(|table| table.bytes).sum();
        let started = Event::Started {
            tables: plan.tables.len(),
            rows,
            bytes,
            resumed_rows: prepared.earlier_rows,
        };
        let _ = events.send(started).await;
        let counters = Arc::new(Counters::new(prepared.earlier_rows, rows));
        let jobs = options.jobs.clamp(1, snapshot.readers());
        let work = Arc::new(Work {
            target: target.clone(),
            snapshot: Arc::clone(snapshot),
            plan: Arc::clone(&plan),
            migration,
            fence: fence.clone(),
            readers: read::table_readers(&plan.tables, options.followed),
            strict: options.strict,
            jobs,
            chunk_rows: options.chunk_rows.max(1),
            counters: Arc::clone(&counters),
            events: events.clone(),
            cancel: cancel.child_token(),
            queue: Queue::new(prepared.pieces, plan.tables.len()),
        });
        run_workers(&work).await?;
        lock.check().await?;
        state::set_phase(&session, migration, Phase::Completing).await?;
    }
    if !was_complete {
        complete::complete(
            target,
            &session,
            snapshot,
            &plan,
            migration,
            &fence,
            &prepared.appended,
            options,
            &events,
            &cancel,
        )
        .await?;
        state::set_phase(&session, migration, Phase::Copied).await?;
    }
    let quarantined = state::quarantined(&session, migration).await?;
    let tally = state::tally(&session, migration).await?;
    let not_made = complete::not_made(&session, migration).await?;
    Ok(CopyReport {
        migration,
        plan: Arc::unwrap_or_clone(plan),
        tally,
        quarantined,
        not_made,
        resumed: prepared.resumed,
        was_complete,
        was_followed: prepared.migration.phase >= Phase::Following,
    })
}

/// How often progress is told.
const PROGRESS_INTERVAL: std::time::Duration = std::time::Duration::from_millis(250);

async fn run_workers(work: &Arc<Work>) -> Result<(), CopyError> {
    let mut workers = JoinSet::new();
    for _ in 0..work.jobs {
        workers.spawn(work::run(Arc::clone(work)));
    }
    let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
    let mut outcome = Ok(());
    loop {
        tokio::select! {
            biased;
            ended = workers.join_next() => match ended {
                None => break,
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => {
                    // The first failure is the one that tells; others follow from being cancelled.
                    if outcome.is_ok() {
                        outcome = Err(error);
                    }
                    work.cancel.cancel();
                }
                Some(Err(panicked)) => {
                    outcome = Err(CopyError::Internal(panicked.to_string()));
                    work.cancel.cancel();
                }
            },
            _ = ticks.tick() => {
                // A receiver that is slow misses some.
                let _ = work.events.try_send(Event::Progress(work.counters.progress()));
            }
        }
    }
    let _ = work
        .events
        .try_send(Event::Progress(work.counters.progress()));
    outcome
}
