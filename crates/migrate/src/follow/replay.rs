//! Replay: changes logged in the source become changes of the target.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::time::Instant;
use tokio_postgres::types::{ToSql, Type};

use super::arrays::ColumnArray;
use super::change_log::{self, Batch, BatchLimits, TableChanges};
use super::encoded::{self, EncodedChanges, EncodedRow, Misfit, misfit};
use super::recorded::RecordedTable;
use super::schema_watch::SchemaWatch;
use super::target_table::TargetTable;
use super::{FollowError, Stage, position, quarantine};
use crate::connection::{QueryError, Reason, Session};
use crate::convert::RowEncoder;
use crate::plan::{Plan, RowKey, quote_name};
use crate::state::{Migration, fence};
use crate::verify;

/// Entries of the log that one round replays at most.
const ENTRIES_A_ROUND: i64 = 20_000;
/// What is pruned from the log must not be lost in a crash of the target: there, a commit waits until it
/// is on disk, also on a server that does not wait by itself.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'";
/// How often the log is pruned while there is more to replay: each time takes the writers' lock.
const PRUNE: Duration = Duration::from_secs(1);
/// Bytes of values that one round holds, if more than one row has them.
const BYTES_A_ROUND: usize = 16 << 20;

/// What one round of replay did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    /// Entries of the log replayed.
    pub entries: u64,
    /// Entries logged since, when the round read.
    pub behind: u64,
    /// Rows inserted, or put in place of an older one, each compared with the source after it.
    pub rows: u64,
    /// Rows quarantined.
    pub quarantined: u64,
    /// The log's position after it.
    pub position: i64,
}

/// Brings the target up to date, round by round.
pub struct Replay {
    pub(super) plan: Arc<Plan>,
    pub(super) migration: i64,
    fence: String,
    recorded: Arc<Vec<RecordedTable>>,
    targets: Vec<TargetTable>,
    encoders: Vec<RowEncoder>,
    /// None while a step on another thread has it. The lock is never waited for: it lets futures that
    /// hold a replay move between threads.
    source: Mutex<Option<Connection>>,
    /// Where replay is while the caller keeps writers out of the source: neither the target's position
    /// nor the log's beginning moves, so that all of it can be done again.
    held: Option<i64>,
    pruned_at: Option<Instant>,
}

impl Replay {
    /// Prepares to replay what the source logged for a migration.
    ///
    /// # Errors
    /// When the source cannot be read, or does not record its changes for this migration.
    pub fn new(
        source: Connection,
        migration: &Migration,
        token: &str,
    ) -> Result<Self, FollowError> {
        let plan = Arc::new(migration.plan.clone());
        let fence = fence(&migration.source, &plan.schema);
        match change_log::recording(&source)? {
            change_log::Recording::For { token: owner, .. } if owner == token => {}
            change_log::Recording::For { target, .. } => {
                return Err(FollowError::OtherMigration { target });
            }
            change_log::Recording::Absent => return Err(FollowError::NotRecorded),
        }
        let recorded = Arc::new(change_log::recorded_tables(&source, &plan)?);
        let targets = plan
            .tables
            .iter()
            .map(|table| TargetTable::new(&plan, table))
            .collect();
        let encoders = plan.tables.iter().map(RowEncoder::new).collect();
        Ok(Self {
            plan,
            migration: migration.id,
            fence,
            recorded,
            targets,
            encoders,
            source: Mutex::new(Some(source)),
            held: None,
            pruned_at: None,
        })
    }

    /// The source's connection, for what else is done with it between rounds.
    ///
    /// # Errors
    /// When a round was given up while it read, and took the connection with it.
    pub fn source(&mut self) -> Result<&mut Connection, FollowError> {
        self.source.get_mut().as_mut().ok_or(FollowError::GivenUp)
    }

    /// Keeps writers out of the source until [`Self::release`]. Rounds then read what is there
    /// under the lock, and move neither the target's position nor the log's beginning: when the
    /// process dies here, nothing has happened but rows that will be replayed once more.
    ///
    /// # Errors
    /// When a writer holds the lock for longer than half a minute.
    pub async fn hold(&mut self, session: &Session) -> Result<(), FollowError> {
        let at = position::find(session, self.migration)
            .await?
            .ok_or(FollowError::NotRecorded)?;
        self.with_source(|source| Ok(source.execute_batch("BEGIN IMMEDIATE")?))
            .await?;
        self.held = Some(at.entry);
        Ok(())
    }

    /// Logs every quarantined row once more, so that it is judged by what is there now.
    ///
    /// # Errors
    /// When either side fails.
    pub async fn retry_quarantined(&mut self, session: &Session) -> Result<(), FollowError> {
        for number in 0..self.plan.tables.len() {
            let keys = quarantine::keys(session, self.migration, &self.plan.tables[number]).await?;
            if keys.is_empty() {
                continue;
            }
            let tables = Arc::clone(&self.recorded);
            self.with_source(move |source| {
                change_log::log_literals(source, &tables[number], &keys)
            })
            .await?;
        }
        Ok(())
    }

    /// Where replay is while writers are kept out.
    #[must_use]
    pub fn held_at(&self) -> Option<i64> {
        self.held
    }

    /// Lets writers in again, with what was done in the source meanwhile or without it.
    ///
    /// # Errors
    /// When SQLite cannot end the transaction.
    pub async fn release(&mut self, commit: bool) -> Result<(), FollowError> {
        self.held = None;
        self.with_source(move |source| {
            if source.is_autocommit() {
                return Ok(());
            }
            Ok(source.execute_batch(if commit { "COMMIT" } else { "ROLLBACK" })?)
        })
        .await
    }

    /// Replays what has been logged since the target's position, at most so much that it fits
    /// into memory. The round is one transaction of the target; then the log is pruned.
    ///
    /// # Errors
    /// When either side fails; the target is then as it was before, and the round can be repeated.
    pub async fn round(&mut self, session: &Session) -> Result<Round, FollowError> {
        let begin = format!(
            "{}; {DURABLE}; {}",
            session.begin_with_statements(),
            self.fence
        );
        finish_transaction(session, &begin).await?;
        match self.within_transaction(session).await {
            Ok((round, false)) => {
                finish_transaction(session, "ROLLBACK").await?;
                Ok(round)
            }
            Ok((round, true)) => {
                finish_transaction(session, "COMMIT").await?;
                let up_to = round.position;
                if self.held.is_some() {
                    return Ok(round);
                }
                if round.behind == 0 || self.pruned_at.is_none_or(|at| at.elapsed() >= PRUNE) {
                    self.with_source(move |source| change_log::prune(source, up_to))
                        .await?;
                    self.pruned_at = Some(Instant::now());
                }
                Ok(round)
            }
            Err(error) => {
                // The transaction is over in any case when the session is; what failed first counts.
                let _ = session.batch_execute("ROLLBACK").await;
                Err(error)
            }
        }
    }

    /// The round, and whether it changed the target.
    async fn within_transaction(
        &mut self,
        session: &Session,
    ) -> Result<(Round, bool), FollowError> {
        // Keeps two replays apart: else the slower of them could put older rows over newer ones.
        let lock = "SELECT FROM springtide_migrate.migration WHERE id = $1 FOR UPDATE";
        session
            .execute_typed(lock, &[(&self.migration, Type::INT8)])
            .await
            .map_err(|error| QueryError::while_doing("locking the position", &error))?;
        let at = position::find(session, self.migration)
            .await?
            .ok_or(FollowError::NotRecorded)?;
        if at.stage == Stage::Finished {
            return Err(FollowError::Finished);
        }
        let mut watch = SchemaWatch::since(at.schema_version);
        let after = self.held.unwrap_or(at.entry);
        let limits = BatchLimits {
            entries: ENTRIES_A_ROUND,
            bytes: BYTES_A_ROUND,
        };
        let tables = Arc::clone(&self.recorded);
        let plan = Arc::clone(&self.plan);
        // The source may be inside a transaction of the caller's, who keeps writers out.
        let (mut batch, watch) = self
            .with_source(move |source| {
                let batch = if source.is_autocommit() {
                    change_log::read_batch(source, &plan, &tables, after, limits, &mut watch)
                } else {
                    change_log::read_batch_within(source, &plan, &tables, after, limits, &mut watch)
                }?;
                Ok((batch, watch))
            })
            .await?;
        let mut watch = watch;
        if watch.take_renumbered() {
            let again = self.log_all_rowids(session).await?;
            batch.behind += again;
        }
        let mut round = Round {
            entries: u64::try_from(batch.entries).unwrap_or(0),
            behind: u64::try_from(batch.behind).unwrap_or(0),
            position: batch.up_to,
            ..Round::default()
        };
        if round.entries == 0 && watch.version() == at.schema_version {
            return Ok((round, false));
        }
        for changes in &batch.tables {
            let (rows, misfits) = self.replay_table(session, &batch, changes).await?;
            round.rows += rows;
            round.quarantined += misfits;
        }
        if self.held.is_some() {
            self.held = Some(batch.up_to);
            return Ok((round, true));
        }
        position::advance(session, self.migration, batch.up_to, watch.version()).await?;
        Ok((round, true))
    }

    /// Replays one table's changes; tells the rows inserted and those quarantined.
    async fn replay_table(
        &mut self,
        session: &Session,
        batch: &Batch,
        changes: &TableChanges,
    ) -> Result<(u64, u64), FollowError> {
        let number = changes.table;
        let plan = &self.plan.tables[number];
        let target = &self.targets[number];
        let mut encoded = encoded::encode(plan, target, &mut self.encoders[number], changes);
        let doing = || format!("replaying changes of table {}", plan.source);

        let keys = encoded::key_arrays(&target.key_types, encoded.keys.iter().map(Vec::as_slice));
        execute(session, &target.delete, &keys, doing).await?;
        quarantine::release(session, self.migration, plan, changes).await?;

        let rows = std::mem::take(&mut encoded.rows);
        let (inserted, refused) = insert(session, target, rows, doing).await?;
        let mut later = Vec::new();
        for (row, reason) in refused {
            let changed = &changes.rows[row.change];
            // The row may only be in the way of one whose change comes later in the log: it is
            // logged again behind that. At the log's end there is no later.
            if batch.behind > 0 {
                later.push(changed.key.clone());
            } else {
                let stored = changed.row.as_deref().unwrap_or_default();
                encoded.misfits.push(Misfit {
                    hash: Some(row.hash),
                    ..misfit(number, changed, stored, None, &reason)
                });
            }
        }
        self.compare(session, number, &inserted).await?;
        self.quarantine(session, &encoded).await?;
        if !later.is_empty() {
            let tables = Arc::clone(&self.recorded);
            self.with_source(move |source| change_log::log_again(source, &tables[number], &later))
                .await?;
        }
        Ok((inserted.len() as u64, encoded.misfits.len() as u64))
    }

    /// Makes sure that the target holds what the source does.
    async fn compare(
        &self,
        session: &Session,
        number: usize,
        rows: &[EncodedRow],
    ) -> Result<(), FollowError> {
        if rows.is_empty() {
            return Ok(());
        }
        let (plan, target) = (&self.plan.tables[number], &self.targets[number]);
        let query = format!(
            "SELECT k.n, {} {}",
            verify::hash_expression(plan, "t"),
            target.keyed_rows
        );
        let keys =
            encoded::key_arrays(&target.key_types, rows.iter().map(|row| row.key.as_slice()));
        let doing = || format!("reading back replayed rows of table {}", plan.source);
        let found = session
            .query_typed(&query, &parameters(&keys))
            .await
            .map_err(|error| FollowError::Postgres(QueryError::while_doing(&doing(), &error)))?;
        let read = |error: &tokio_postgres::Error| {
            FollowError::Postgres(QueryError::while_doing(&doing(), error))
        };
        let mut seen = 0;
        for row in &found {
            let n: i64 = row.try_get(0).map_err(|error| read(&error))?;
            let hash: Option<i64> = row.try_get(1).map_err(|error| read(&error))?;
            let expected = usize::try_from(n - 1).ok().and_then(|at| rows.get(at));
            if expected.is_none_or(|expected| Some(expected.hash) != hash) {
                return Err(FollowError::Differs {
                    table: plan.source.clone(),
                });
            }
            seen += 1;
        }
        if seen == rows.len() {
            Ok(())
        } else {
            Err(FollowError::Differs {
                table: plan.source.clone(),
            })
        }
    }

    async fn quarantine(
        &self,
        session: &Session,
        encoded: &EncodedChanges,
    ) -> Result<(), FollowError> {
        for misfit in &encoded.misfits {
            let table = &self.plan.tables[misfit.table];
            quarantine::add(session, self.migration, table, misfit).await?;
        }
        Ok(())
    }

    /// Logs every row, of the source and of the target, of the tables whose rowids can change
    /// without a trigger. Tells how many entries that made.
    async fn log_all_rowids(&mut self, session: &Session) -> Result<i64, FollowError> {
        let mut logged = 0;
        for number in 0..self.plan.tables.len() {
            let table = &self.plan.tables[number];
            if !matches!(table.key, RowKey::Rowid { column: None, .. }) {
                continue;
            }
            let query = format!(
                "SELECT {} FROM {}",
                quote_name(crate::plan::FOLLOWED_ROWID),
                self.targets[number].qualified
            );
            let doing = format!("reading the rowids of table {}", table.source);
            let failed = |error: &tokio_postgres::Error| {
                FollowError::Postgres(QueryError::while_doing(&doing, error))
            };
            let rows = session
                .query_typed(&query, &[])
                .await
                .map_err(|error| failed(&error))?;
            let rowids: Vec<i64> = rows
                .iter()
                .map(|row| row.try_get(0))
                .collect::<Result<_, _>>()
                .map_err(|error| failed(&error))?;
            let tables = Arc::clone(&self.recorded);
            logged += self
                .with_source(move |source| change_log::log_rowids(source, &tables[number], &rowids))
                .await?;
        }
        Ok(logged)
    }

    /// Runs what reads or writes the source where it may block.
    pub(super) async fn with_source<T: Send + 'static>(
        &mut self,
        run: impl FnOnce(&mut Connection) -> Result<T, FollowError> + Send + 'static,
    ) -> Result<T, FollowError> {
        let mut source = self.source.get_mut().take().ok_or(FollowError::GivenUp)?;
        let (source, outcome) = tokio::task::spawn_blocking(move || {
            let outcome = run(&mut source);
            (source, outcome)
        })
        .await
        .map_err(|_| FollowError::GivenUp)?;
        *self.source.get_mut() = Some(source);
        outcome
    }
}

/// Inserts rows; those that the target refuses come back with its reason.
async fn insert(
    session: &Session,
    target: &TargetTable,
    rows: Vec<EncodedRow>,
    doing: impl Fn() -> String + Copy,
) -> Result<(Vec<EncodedRow>, Vec<(EncodedRow, String)>), FollowError> {
    let (mut inserted, mut refused) = (Vec::new(), Vec::new());
    // The first half is tried before the second, so that rows keep their order.
    let mut parts = vec![rows];
    while let Some(mut part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let arrays = encoded::row_arrays(&target.row_types, &part);
        session
            .batch_execute("SAVEPOINT rows")
            .await
            .map_err(|error| FollowError::Postgres(QueryError::while_doing(&doing(), &error)))?;
        match execute(session, &target.insert, &arrays, doing).await {
            Ok(()) => {
                session
                    .batch_execute("RELEASE rows")
                    .await
                    .map_err(|error| {
                        FollowError::Postgres(QueryError::while_doing(&doing(), &error))
                    })?;
                inserted.append(&mut part);
            }
            Err(FollowError::Postgres(error)) if error.reason == Reason::Data => {
                session
                    .batch_execute("ROLLBACK TO rows; RELEASE rows")
                    .await
                    .map_err(|error| {
                        FollowError::Postgres(QueryError::while_doing(&doing(), &error))
                    })?;
                if part.len() == 1 {
                    let reason = error.server_message.unwrap_or(error.message);
                    refused.extend(part.pop().map(|row| (row, reason)));
                } else {
                    let second = part.split_off(part.len() / 2);
                    parts.push(second);
                    parts.push(part);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok((inserted, refused))
}

fn parameters(arrays: &[ColumnArray]) -> Vec<(&(dyn ToSql + Sync), Type)> {
    // The casts in the statements say which types they are.
    arrays
        .iter()
        .map(|array| (array as &(dyn ToSql + Sync), Type::UNKNOWN))
        .collect()
}

async fn execute(
    session: &Session,
    statement: &str,
    arrays: &[ColumnArray],
    doing: impl Fn() -> String,
) -> Result<(), FollowError> {
    session
        .execute_typed(statement, &parameters(arrays))
        .await
        .map(|_| ())
        .map_err(|error| FollowError::Postgres(QueryError::while_doing(&doing(), &error)))
}

async fn finish_transaction(session: &Session, statement: &str) -> Result<(), FollowError> {
    session.batch_execute(statement).await.map_err(|error| {
        FollowError::Postgres(QueryError::while_doing("replaying changes", &error))
    })
}
