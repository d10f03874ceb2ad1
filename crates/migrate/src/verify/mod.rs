//! Whether source and target hold the same rows.
//!
//! Each row has a hash: 64 bits of the MD5 of its values in PostgreSQL's binary form. PostgreSQL makes
//! that form itself (`record_send`), here [`convert`](crate::convert) does, so the two are computed
//! where the rows lie and meet only as a count and a sum for each chunk: sums do not depend on the
//! order of rows. Where they differ, both sides are parted by the hash's lowest bits until the rows are
//! found, and these are shown column by column.
//!
//! Rows in quarantine count as the target's: those that broke a constraint with the hash they had, those
//! that could not be converted by their number.

mod chunk;
mod difference;

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_postgres::types::Type;
use tokio_util::sync::CancellationToken;

use crate::connection::{ConnectionError, QueryError, Session, Target};
use crate::copy::{TableReader, tables_that_had_rows};
use crate::plan::{Plan, RowKey, TablePlan, TargetType, quote_name};
use crate::snapshot::{Snapshot, SourceError};
use crate::state::StateError;

use chunk::{Chunk, chunks};
pub use difference::{ColumnDifference, Difference};

/// How a verification is made.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Readers and sessions at work at once.
    pub jobs: usize,
    /// The share of each table's chunks to read, above 0 and up to 1; none reads all.
    pub sample: Option<f64>,
    /// The most differences to show of one table.
    pub shown: usize,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            jobs: crate::copy::default_jobs(),
            sample: None,
            shown: 20,
        }
    }
}

/// How far a verification is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum VerifyEvent {
    /// A chunk was compared.
    Chunk {
        /// Its table's name in the source.
        table: String,
        /// Rows it has in the source.
        rows: u64,
        /// Chunks before it, of all tables.
        done: usize,
        /// Chunks in all.
        of: usize,
    },
    /// A table differs.
    Differs {
        /// Its name in the source.
        table: String,
    },
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerifyReport {
    /// One for each table of the plan.
    pub tables: Vec<TableReport>,
}

impl VerifyReport {
    /// Whether all that was read is equal.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(TableReport::is_equal)
    }

    /// Rows that a sample left out, over all tables, about.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.tables.iter().map(|table| table.unread).sum()
    }

    /// Rows of the source that were read, over all tables.
    #[must_use]
    pub fn source_rows(&self) -> u64 {
        self.tables.iter().map(|table| table.source_rows).sum()
    }

    /// Rows of the target that were read, over all tables.
    #[must_use]
    pub fn target_rows(&self) -> u64 {
        self.tables.iter().map(|table| table.target_rows).sum()
    }

    /// Rows in quarantine, over all tables.
    #[must_use]
    pub fn quarantined(&self) -> u64 {
        self.tables.iter().map(|table| table.quarantined).sum()
    }
}

/// What was found of one table.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct TableReport {
    /// Its name in the source.
    pub table: String,
    /// Rows read in the source, those that cannot be converted too.
    pub source_rows: u64,
    /// Rows read in the target.
    pub target_rows: u64,
    /// Rows that a sample left out, by what the plan knew of the source.
    pub unread: u64,
    /// Rows in quarantine, of the whole table.
    pub quarantined: u64,
    /// Rows of the source that cannot be converted and are not in quarantine, or the other way round
    /// (negative).
    pub unaccounted: i64,
    /// Chunks read.
    pub chunks: usize,
    /// Chunks whose sums differ.
    pub differing_chunks: usize,
    /// The first differences.
    pub differences: Vec<Difference>,
    /// Ranges of keys that a sample left out; none when all were read.
    pub ranges_left_out: Option<usize>,
    /// Whether a sample was asked for and all was read, since the table has no integer key to take
    /// one by.
    pub read_whole: bool,
    /// Whether the target's table had rows before those of the source were added: they differ.
    pub had_rows: bool,
    /// What was not read or not compared, each a sentence.
    pub not_compared: Vec<String>,
}

impl TableReport {
    /// Whether all that was read is equal.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.differing_chunks == 0 && self.unaccounted == 0
    }
}

/// Why a verification ended.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No session.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A statement failed.
    #[error(transparent)]
    Target(#[from] QueryError),
    /// The caller ended it.
    #[error("the verification was interrupted")]
    Cancelled,
    /// The state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A broken promise within the program.
    #[error("the verification cannot go on: {0}")]
    Internal(String),
}

/// The hash of a row of the target, an expression of PostgreSQL over the table named `alias`; equal to
/// [`RowEncoder::hash_row`](crate::convert::RowEncoder::hash_row) of the row in the source.
#[must_use]
pub fn hash_expression(table: &TablePlan, alias: &str) -> String {
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            // A table that was there before may have other types.
            let type_ = match column.type_ {
                TargetType::VarChar(_) => "varchar".to_owned(),
                TargetType::Numeric { .. } => "numeric".to_owned(),
                ref other => other.to_string(),
            };
            format!("{alias}.{}::{type_}", quote_name(&column.target))
        })
        .collect();
    format!(
        "('x' || left(md5(record_send(ROW({}))), 16))::bit(64)::bigint",
        columns.join(", ")
    )
}

/// Compares all tables of a plan between a snapshot of the source and the target.
///
/// # Errors
/// When a side cannot be read. Differences are no error.
pub async fn verify(
    target: &Target,
    snapshot: &Arc<Snapshot>,
    migration: i64,
    plan: &Plan,
    options: &VerifyOptions,
    events: mpsc::Sender<VerifyEvent>,
    cancel: CancellationToken,
) -> Result<VerifyReport, VerifyError> {
    let session = target.connect_first().await?;
    let plan = Arc::new(plan.clone());
    let readers: Arc<Vec<TableReader>> = Arc::new(
        plan.tables
            .iter()
            .map(|table| TableReader::new(table, false))
            .collect(),
    );
    let mut reports: Vec<TableReport> = Vec::new();
    let had_rows = tables_that_had_rows(&session, migration).await?;
    let mut queue = VecDeque::new();
    for (index, table) in plan.tables.iter().enumerate() {
        let mut report = TableReport {
            table: table.source.clone(),
            had_rows: had_rows.contains(&table.target),
            ..TableReport::default()
        };
        let (all, keyed) = chunks(snapshot, table, index, options.sample.is_some()).await?;
        let chosen = choose(all, options.sample, keyed, &mut report);
        queue.extend(chosen);
        reports.push(report);
    }
    let of = queue.len();
    let shared = Arc::new(Shared {
        target: target.clone(),
        snapshot: Arc::clone(snapshot),
        plan: Arc::clone(&plan),
        readers,
        migration,
        shown: options.shown,
        queue: Mutex::new(queue),
        reports: Mutex::new(reports),
        refused: Mutex::new(vec![0; plan.tables.len()]),
        done: Mutex::new(0),
        of,
        events,
        cancel,
    });
    let mut workers = JoinSet::new();
    for _ in 0..options.jobs.clamp(1, snapshot.readers()) {
        workers.spawn(compare_chunks(Arc::clone(&shared)));
    }
    let mut outcome = Ok(());
    while let Some(ended) = workers.join_next().await {
        let ended = ended.unwrap_or_else(|error| Err(VerifyError::Internal(error.to_string())));
        if outcome.is_ok() && ended.is_err() {
            shared.queue.lock().clear();
            outcome = ended;
        }
    }
    outcome?;
    let mut reports = std::mem::take(&mut *shared.reports.lock());
    let refused = shared.refused.lock().clone();
    for ((table, report), refused) in plan.tables.iter().zip(&mut reports).zip(refused) {
        let (all, unconverted) = count_quarantine(&session, migration, table).await?;
        report.quarantined = all;
        if report.ranges_left_out.is_none() {
            report.unaccounted = refused - unconverted;
        }
        if let Some(left_out) = report.ranges_left_out {
            report.unread = table.rows.saturating_sub(report.source_rows);
            report.not_compared.push(format!(
                "about {} of its {} rows, in {left_out} of {} ranges of keys, were not read (--sample)",
                report.unread,
                table.rows,
                report.chunks + left_out,
            ));
        }
    }
    Ok(VerifyReport { tables: reports })
}

/// The rows of a table in quarantine, and those of them that could not be converted.
async fn count_quarantine(
    session: &Session,
    migration: i64,
    table: &TablePlan,
) -> Result<(u64, i64), QueryError> {
    let row = session
        .query_typed_one(
            "SELECT count(*), count(*) FILTER (WHERE row_hash IS NULL) FROM springtide_migrate.quarantine WHERE migration = $1 AND table_name = $2",
            &[(&migration, Type::INT8), (&table.source, Type::TEXT)],
        )
        .await
        .map_err(|error| QueryError::while_doing("counting the quarantine", &error))?;
    Ok((row.get::<_, i64>(0).unsigned_abs(), row.get(1)))
}

/// Takes every n-th chunk of a sample, and says what is left out.
fn choose(
    all: Vec<Chunk>,
    sample: Option<f64>,
    keyed: bool,
    report: &mut TableReport,
) -> Vec<Chunk> {
    let Some(share) = sample.filter(|share| *share < 1.0) else {
        return all;
    };
    if !keyed {
        report.read_whole = true;
        return all;
    }
    let count = all.len();
    let wanted = ((count as f64 * share).ceil() as usize).clamp(1, count.max(1));
    let chosen: Vec<Chunk> = all
        .into_iter()
        .enumerate()
        .filter(|(index, _)| (index + 1) * wanted / count != index * wanted / count)
        .map(|(_, chunk)| chunk)
        .collect();
    if chosen.len() < count {
        report.ranges_left_out = Some(count - chosen.len());
    }
    chosen
}

struct Shared {
    target: Target,
    snapshot: Arc<Snapshot>,
    plan: Arc<Plan>,
    readers: Arc<Vec<TableReader>>,
    migration: i64,
    shown: usize,
    queue: Mutex<VecDeque<Chunk>>,
    reports: Mutex<Vec<TableReport>>,
    /// For each table, rows that cannot be converted.
    refused: Mutex<Vec<i64>>,
    done: Mutex<usize>,
    of: usize,
    events: mpsc::Sender<VerifyEvent>,
    cancel: CancellationToken,
}

async fn compare_chunks(shared: Arc<Shared>) -> Result<(), VerifyError> {
    let session = shared.target.connect().await?;
    let mut reader = Some(
        shared
            .snapshot
            .reader()
            .ok_or_else(|| VerifyError::Internal("more workers than readers".to_owned()))?,
    );
    loop {
        if shared.cancel.is_cancelled() {
            return Err(VerifyError::Cancelled);
        }
        let next = shared.queue.lock().pop_front();
        let Some(chunk) = next else { return Ok(()) };
        let table = &shared.plan.tables[chunk.table];
        let side = chunk::Sides {
            session: &session,
            snapshot: &shared.snapshot,
            plan: &shared.plan,
            table,
            readers: Arc::clone(&shared.readers),
            migration: shared.migration,
            chunk: &chunk,
        };
        let (source, in_target) = side.sums(&mut reader).await?;
        let rows = source.sum.rows + source.refused;
        let differs = source.sum != in_target.sum;
        let already_shown = {
            let mut reports = shared.reports.lock();
            let report = &mut reports[chunk.table];
            report.source_rows += rows;
            report.target_rows += in_target.sum.rows - in_target.quarantined;
            report.chunks += 1;
            report.differing_chunks += usize::from(differs);
            report.differences.len()
        };
        shared.refused.lock()[chunk.table] += source.refused.cast_signed();
        if differs && already_shown < shared.shown {
            let _ = shared
                .events
                .send(VerifyEvent::Differs {
                    table: table.source.clone(),
                })
                .await;
            let found = side
                .differences(&mut reader, shared.shown - already_shown)
                .await?;
            let mut reports = shared.reports.lock();
            reports[chunk.table].differences.extend(found);
        }
        let done = {
            let mut done = shared.done.lock();
            *done += 1;
            *done - 1
        };
        let _ = shared.events.try_send(VerifyEvent::Chunk {
            table: table.source.clone(),
            rows,
            done,
            of: shared.of,
        });
    }
}

/// The integer column of the target by which a table's rows can be ranged.
fn integer_key(table: &TablePlan) -> Option<String> {
    match &table.key {
        RowKey::Rowid {
            column: Some(column),
            ..
        } => {
            let column = &table.columns[*column];
            let plain = matches!(
                column.type_,
                TargetType::BigInt | TargetType::Integer | TargetType::SmallInt
            );
            plain.then(|| quote_name(&column.target))
        }
        _ => None,
    }
}
