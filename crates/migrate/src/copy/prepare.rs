//! The beginning of a copy: what is there already, which tables are made, which pieces are to be copied.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_postgres::types::Type;

use super::key::Key;
use super::range::{Range, ranges};
use super::work::Piece;
use super::{CopyError, CopyOptions, OnExisting};
use crate::connection::{QueryError, Session};
use crate::ddl;
use crate::plan::{FOLLOWED_ROWID, Plan, quote_name};
use crate::snapshot::{Snapshot, SourceError};
use crate::state::{self, Migration, Phase, StateError};

/// The setting that lists the tables, by their names in the target, that were there before.
const APPENDED: &str = "appended tables";

/// The setting that lists those of them that had rows of their own.
const HAD_ROWS: &str = "appended tables with rows";

pub(super) struct Prepared {
    pub(super) migration: Migration,
    pub(super) pieces: Vec<Piece>,
    /// Rows that earlier runs have copied.
    pub(super) earlier_rows: u64,
    pub(super) resumed: bool,
    /// Tables that were there before, by their names in the target.
    pub(super) appended: BTreeSet<String>,
    pub(super) notes: Vec<String>,
}

pub(super) async fn prepare(
    session: &Session,
    snapshot: &Arc<Snapshot>,
    source: &str,
    plan: &Plan,
    options: &CopyOptions,
) -> Result<Prepared, CopyError> {
    let mut notes = Vec::new();
    let found = state::find(session, source, &plan.schema)
        .await?
        .filter(|found| found.phase > Phase::Planned);
    let mut ours = BTreeSet::new();
    if let Some(found) = found {
        let appended = noted_tables(session, found.id, APPENDED).await?;
        let unchanged = found.source_state.as_deref() == Some(snapshot.state());
        let same_plan = found.plan.source.schema_digest == plan.source.schema_digest
            && tables(&found.plan) == tables(plan);
        let may_resume = same_plan && (unchanged || options.followed);
        let complete = found.phase >= Phase::Copied;
        let replace = options.on_existing == OnExisting::Replace;
        // What could not be appended to is to be replaced.
        let again = replace && (complete || !appended.is_empty());
        if may_resume && !again {
            return resume(session, found, appended).await;
        }
        if !complete && !again {
            if !appended.is_empty() {
                return Err(CopyError::Refused(format!(
                    "the source has changed since the copy into {} was interrupted, and which of its rows are there already cannot be told; empty these tables and run again with --on-existing replace",
                    appended.into_iter().collect::<Vec<_>>().join(", ")
                )));
            }
            notes.push(
                "the source or the plan has changed since the copy was interrupted: it begins anew"
                    .to_owned(),
            );
            ours = found
                .plan
                .tables
                .iter()
                .map(|table| table.target.clone())
                .collect();
        }
    }
    let existing = existing(session, plan).await?;
    let foreign: Vec<String> = existing.difference(&ours).cloned().collect();
    if options.on_existing == OnExisting::Fail && !foreign.is_empty() {
        return Err(CopyError::Existing(foreign));
    }
    let appended: BTreeSet<String> = if options.on_existing == OnExisting::Append {
        foreign.into_iter().collect()
    } else {
        BTreeSet::new()
    };
    let bound_together = plan
        .tables
        .iter()
        .find(|table| appended.contains(&table.target) && !table.foreign_keys.is_empty());
    if let Some(table) = bound_together {
        return Err(CopyError::Refused(format!(
            "--on-existing append is not supported for table {}: its foreign keys are checked while rows arrive in any order; drop them, append, and add them again",
            table.target
        )));
    }
    let dropped: Vec<String> = existing.difference(&appended).cloned().collect();
    let migration = begin(
        session, snapshot, source, plan, options, &dropped, &appended,
    )
    .await?;
    for table in tables_that_had_rows(session, migration.id).await? {
        notes.push(format!(
            "table {table} has rows of its own, which stay: `tide migrate verify` will tell them as a difference"
        ));
    }
    let pieces = pieces(session, &migration).await?;
    Ok(Prepared {
        migration,
        pieces: pieces.0,
        earlier_rows: 0,
        resumed: false,
        appended,
        notes,
    })
}

fn tables(plan: &Plan) -> Vec<&str> {
    plan.tables
        .iter()
        .map(|table| table.target.as_str())
        .collect()
}

async fn resume(
    session: &Session,
    migration: Migration,
    appended: BTreeSet<String>,
) -> Result<Prepared, CopyError> {
    let (pieces, earlier_rows) = pieces(session, &migration).await?;
    Ok(Prepared {
        migration,
        pieces,
        earlier_rows,
        resumed: true,
        appended,
        notes: Vec::new(),
    })
}

/// Makes the tables, the notes and the pieces, all in one transaction.
async fn begin(
    session: &Session,
    snapshot: &Arc<Snapshot>,
    source: &str,
    plan: &Plan,
    options: &CopyOptions,
    dropped: &[String],
    appended: &BTreeSet<String>,
) -> Result<Migration, CopyError> {
    let failed = |doing: &str, error: &tokio_postgres::Error| {
        CopyError::Target(QueryError::while_doing(doing, error).naming_role(session.role()))
    };
    let parts = part_tables(snapshot, plan, options.jobs).await?;
    let begin = format!(
        "{}; {}",
        session.begin_with_statements(),
        state::fence(source, &plan.schema)
    );
    session
        .batch_execute(&begin)
        .await
        .map_err(|error| failed("beginning the copy", &error))?;
    let schema = quote_name(&plan.schema);
    if !dropped.is_empty() {
        let views: String = plan
            .views
            .iter()
            .rev()
            .map(|view| format!("DROP VIEW IF EXISTS {schema}.{};", quote_name(&view.target)))
            .collect();
        let names: Vec<String> = dropped
            .iter()
            .map(|name| format!("{schema}.{}", quote_name(name)))
            .collect();
        let drop = format!("{views} DROP TABLE IF EXISTS {}", names.join(", "));
        session
            .batch_execute(&drop)
            .await
            .map_err(|error| failed("dropping the tables that are to be replaced", &error))?;
    }
    if options.on_existing == OnExisting::Replace || !dropped.is_empty() {
        for statement in plan.drop_trigger_functions() {
            session
                .batch_execute(&statement)
                .await
                .map_err(|error| failed("dropping the functions of triggers", &error))?;
        }
    }
    for statement in ddl::statements(plan) {
        let is_appended = statement
            .table
            .as_ref()
            .is_some_and(|table| appended.contains(table));
        if statement.phase > ddl::Phase::Tables || is_appended {
            continue;
        }
        session
            .batch_execute(&statement.sql)
            .await
            .map_err(|error| failed(&format!("making {}", statement.object), &error))?;
    }
    if options.followed {
        for table in plan
            .tables
            .iter()
            .filter(|table| table.needs_followed_rowid())
        {
            let add = format!(
                "ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} bigint",
                plan.qualified(table),
                quote_name(FOLLOWED_ROWID)
            );
            session
                .batch_execute(&add)
                .await
                .map_err(|error| failed("adding the column by which changes find rows", &error))?;
        }
    }
    let mut migration = state::create(session, source, plan, snapshot.state()).await?;
    set_tables(session, migration.id, APPENDED, appended).await?;
    let had_rows = with_rows(session, &plan.schema, appended).await?;
    set_tables(session, migration.id, HAD_ROWS, &had_rows).await?;
    for (table, ranges) in plan.tables.iter().zip(parts) {
        for range in ranges {
            session
                .execute_typed(
                    "INSERT INTO springtide_migrate.piece (migration, table_name, reached, last) VALUES ($1, $2, $3, $4)",
                    &[
                        (&migration.id, Type::INT8),
                        (&table.source, Type::TEXT),
                        (&range.reached.as_ref().map(Key::to_stored), Type::TEXT),
                        (&range.last.as_ref().map(Key::to_stored), Type::TEXT),
                    ],
                )
                .await
                .map_err(|error| failed("noting what is to be copied", &error))?;
        }
    }
    state::set_phase(session, migration.id, Phase::Copying).await?;
    session
        .batch_execute("COMMIT")
        .await
        .map_err(|error| failed("beginning the copy", &error))?;
    migration.phase = Phase::Copying;
    Ok(migration)
}

async fn part_tables(
    snapshot: &Arc<Snapshot>,
    plan: &Plan,
    jobs: usize,
) -> Result<Vec<Vec<Range>>, CopyError> {
    let reader = snapshot
        .reader()
        .ok_or_else(|| CopyError::Internal("the snapshot has no reader left".to_owned()))?;
    let tables = plan.tables.clone();
    let file = snapshot.file().to_owned();
    let parted = tokio::task::spawn_blocking(move || {
        let parted: rusqlite::Result<Vec<_>> = tables
            .iter()
            .map(|table| ranges(&reader, table, jobs.max(1)))
            .collect();
        parted
    });
    let parted = parted
        .await
        .map_err(|error| CopyError::Internal(error.to_string()))?;
    parted.map_err(|error| SourceError::explain(&file, &error).into())
}

/// The pieces that are not done, tables with most rows first, and the rows that are.
async fn pieces(session: &Session, migration: &Migration) -> Result<(Vec<Piece>, u64), CopyError> {
    let rows = session
        .query_typed(
            "SELECT id, table_name, reached, last, done, rows FROM springtide_migrate.piece WHERE migration = $1 ORDER BY id",
            &[(&migration.id, Type::INT8)],
        )
        .await
        .map_err(|error| QueryError::while_doing("reading what is to be copied", &error))?;
    let damaged = |what: &str| CopyError::State(StateError::Damaged(what.to_owned()));
    let key = |stored: Option<&str>| match stored {
        None => Ok(None),
        Some(stored) => Key::from_stored(stored)
            .map(Some)
            .ok_or_else(|| damaged("a key of a piece")),
    };
    let (mut pieces, mut copied) = (Vec::new(), 0);
    for row in rows {
        copied += row.get::<_, i64>(5).unsigned_abs();
        if row.get(4) {
            continue;
        }
        let name: &str = row.get(1);
        let table = migration
            .plan
            .tables
            .iter()
            .position(|table| table.source == name)
            .ok_or_else(|| damaged("a piece of no table"))?;
        let range = Range {
            reached: key(row.get(2))?,
            last: key(row.get(3))?,
        };
        pieces.push(Piece::new(row.get(0), table, range));
    }
    pieces.sort_by_key(|piece| std::cmp::Reverse(migration.plan.tables[piece.table].rows));
    Ok((pieces, copied))
}

/// Notes tables, by their names in the target.
async fn set_tables(
    session: &Session,
    migration: i64,
    setting: &str,
    tables: &BTreeSet<String>,
) -> Result<(), CopyError> {
    if tables.is_empty() {
        return Ok(());
    }
    let list =
        serde_json::to_string(tables).map_err(|error| CopyError::Internal(error.to_string()))?;
    Ok(state::set_setting(session, migration, setting, Some(&list)).await?)
}

async fn noted_tables(
    session: &Session,
    migration: i64,
    setting: &str,
) -> Result<BTreeSet<String>, StateError> {
    let stored = state::setting(session, migration, setting).await?;
    Ok(stored
        .and_then(|list| serde_json::from_str(&list).ok())
        .unwrap_or_default())
}

/// The tables, by their names in the target, that had rows before those of the source were added.
pub(crate) async fn tables_that_had_rows(
    session: &Session,
    migration: i64,
) -> Result<BTreeSet<String>, StateError> {
    noted_tables(session, migration, HAD_ROWS).await
}

/// Those of some tables that have rows.
async fn with_rows(
    session: &Session,
    schema: &str,
    tables: &BTreeSet<String>,
) -> Result<BTreeSet<String>, CopyError> {
    let mut found = BTreeSet::new();
    for table in tables {
        let question = format!(
            "SELECT EXISTS (SELECT FROM {}.{})",
            quote_name(schema),
            quote_name(table)
        );
        let row = session
            .query_typed_one(&question, &[])
            .await
            .map_err(|error| QueryError::while_doing("looking for rows in the target", &error))?;
        if row.get(0) {
            found.insert(table.clone());
        }
    }
    Ok(found)
}

/// The plan's tables that are in the target.
async fn existing(session: &Session, plan: &Plan) -> Result<BTreeSet<String>, CopyError> {
    let rows = session
        .query_typed(
            "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
            &[(&plan.schema, Type::TEXT)],
        )
        .await
        .map_err(|error| QueryError::while_doing("looking for tables in the target", &error))?;
    let there: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(plan
        .tables
        .iter()
        .map(|table| table.target.clone())
        .filter(|name| there.contains(name))
        .collect())
}
