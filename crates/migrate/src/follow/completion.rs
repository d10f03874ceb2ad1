//! What the target gets only at the finish: foreign keys, triggers, and numbers to go on from.

use rusqlite::Connection;
use serde::Serialize;

use super::FollowError;
use crate::connection::{QueryError, Reason, Session};
use crate::copy::{self, Place, QUARANTINE, Violators};
use crate::ddl;
use crate::plan::{FOLLOWED_ROWID, ForeignKeyPlan, ObjectPlan, Plan, TablePlan, quote_name};
use crate::state::Migration;

/// Takes foreign keys and triggers from a target that is to be followed, where an earlier copy made them.
pub(super) fn remove_guards(plan: &Plan) -> Vec<String> {
    let mut statements = Vec::new();
    for trigger in &plan.triggers {
        statements.extend(drop_trigger(plan, trigger));
    }
    for (table, key) in foreign_keys(plan) {
        statements.push(format!(
            "ALTER TABLE {} DROP CONSTRAINT IF EXISTS {}",
            plan.qualified(table),
            quote_name(&key.name)
        ));
    }
    statements
}

/// Makes foreign keys, which hold for every write from then on and are not yet checked for the rows
/// that are there, and triggers. Each on its own: tells what could not be made, and why.
pub(super) async fn add_guards(
    session: &Session,
    plan: &Plan,
) -> Result<Vec<(String, String)>, FollowError> {
    let mut not_made = Vec::new();
    for statement in ddl::statements(plan) {
        if !matches!(
            statement.phase,
            ddl::Phase::ForeignKeys | ddl::Phase::Triggers
        ) {
            continue;
        }
        // The function of a trigger stays when the trigger goes.
        let sql = match statement.sql.strip_prefix("CREATE FUNCTION") {
            Some(rest) => format!("CREATE OR REPLACE FUNCTION{rest}"),
            None => statement.sql,
        };
        let Err(error) = session.batch_execute(&sql).await else {
            continue;
        };
        let error = QueryError::while_doing(&format!("making {}", statement.object), &error);
        match error.reason {
            Reason::Lost | Reason::Busy | Reason::DiskFull | Reason::Timeout => {
                return Err(error.into());
            }
            _ => not_made.push((statement.object, error.message)),
        }
    }
    Ok(not_made)
}

fn foreign_keys(plan: &Plan) -> impl Iterator<Item = (&TablePlan, &ForeignKeyPlan)> {
    plan.tables
        .iter()
        .flat_map(|table| table.foreign_keys.iter().map(move |key| (table, key)))
}

fn drop_trigger(plan: &Plan, trigger: &ObjectPlan) -> Option<String> {
    let table = trigger.table.as_ref()?;
    Some(format!(
        "DROP TRIGGER IF EXISTS {} ON {}.{}",
        quote_name(&trigger.target),
        quote_name(&plan.schema),
        quote_name(table)
    ))
}

/// Sets every sequence past what the source has given out.
pub(super) fn sequences(plan: &Plan, source: &Connection) -> Result<Vec<String>, FollowError> {
    let mut statements = Vec::new();
    for table in &plan.tables {
        let Some(identity) = &table.identity else {
            continue;
        };
        let next: i64 = source.query_row(&identity.next_query(table), [], |row| row.get(0))?;
        statements.extend(ddl::set_sequence(plan, table, next));
    }
    Ok(statements)
}

/// Rows whose parent is missing, for each foreign key.
fn orphans(migration: &Migration) -> Vec<Violators> {
    let place = Place {
        quarantine: QUARANTINE,
        migration: migration.id,
        followed: true,
    };
    let plan = &migration.plan;
    plan.tables
        .iter()
        .flat_map(|table| copy::orphans(plan, table, place))
        .collect()
}

/// Whether a row lacks its parent.
pub(super) async fn has_orphans(
    session: &Session,
    migration: &Migration,
) -> Result<bool, FollowError> {
    let kinds = orphans(migration);
    if kinds.is_empty() {
        return Ok(false);
    }
    let any: Vec<String> = kinds
        .iter()
        .map(|orphans| format!("EXISTS ({})", orphans.doomed))
        .collect();
    let failed = |error| QueryError::while_doing(LOOKING, &error);
    let row = session
        .query_typed_one(&format!("SELECT {}", any.join(" OR ")), &[])
        .await
        .map_err(failed)?;
    Ok(row.try_get(0).map_err(failed)?)
}

/// Moves rows whose parent is missing to the quarantine, as the copy does: all of them, or none.
pub(super) async fn quarantine_orphans(
    session: &Session,
    migration: &Migration,
) -> Result<(), FollowError> {
    let failed = |error: tokio_postgres::Error| QueryError::while_doing(LOOKING, &error);
    session.batch_execute("BEGIN").await.map_err(failed)?;
    copy::move_orphans(session, &orphans(migration))
        .await
        .map_err(failed)?;
    session.batch_execute("COMMIT").await.map_err(failed)?;
    Ok(())
}

const LOOKING: &str = "looking for rows whose foreign key leads nowhere";

/// Checks every foreign key for the rows that are there; tells those that do not hold, and how many
/// rows are at fault. Such keys hold for new rows all the same.
pub(super) async fn validate(session: &Session, plan: &Plan) -> Result<Vec<Unmet>, FollowError> {
    let mut unmet = Vec::new();
    for (table, key) in foreign_keys(plan) {
        let statement = format!(
            "ALTER TABLE {} VALIDATE CONSTRAINT {}",
            plan.qualified(table),
            quote_name(&key.name)
        );
        let Err(error) = session.batch_execute(&statement).await else {
            continue;
        };
        let error = QueryError::while_doing("checking a foreign key", &error);
        match error.code.as_deref() {
            Some("23503") => {}
            // It could not be made, which has been told.
            Some("42704") => continue,
            _ => return Err(error.into()),
        }
        unmet.push(Unmet {
            table: table.source.clone(),
            constraint: key.name.clone(),
        });
    }
    Ok(unmet)
}

/// A foreign key for which rows were there already that break it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unmet {
    /// The table's name in the source.
    pub table: String,
    /// The constraint's name in the target.
    pub constraint: String,
}

/// Drops what only following needed in the target.
pub(super) fn remove_followed_rowids(plan: &Plan) -> Vec<String> {
    let of_table = |table: &TablePlan| {
        format!(
            "ALTER TABLE {} DROP COLUMN IF EXISTS {}",
            plan.qualified(table),
            quote_name(FOLLOWED_ROWID)
        )
    };
    plan.tables
        .iter()
        .filter(|table| table.needs_followed_rowid())
        .map(of_table)
        .collect()
}

/// Runs statements in one transaction.
pub(super) async fn run_together(
    session: &Session,
    statements: &[String],
    doing: &str,
) -> Result<(), FollowError> {
    if statements.is_empty() {
        return Ok(());
    }
    let all = format!("BEGIN; {}; COMMIT", statements.join("; "));
    if let Err(error) = session.batch_execute(&all).await {
        // The transaction that failed is still open.
        let _ = session.batch_execute("ROLLBACK").await;
        return Err(QueryError::while_doing(doing, &error).into());
    }
    Ok(())
}
