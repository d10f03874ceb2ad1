//! What the target gets only at the finish: foreign keys, triggers, and numbers to go on from.

use rusqlite::Connection;

use super::FollowError;
use crate::connection::{QueryError, Session};
use crate::plan::{
    FOLLOWED_ROWID, ForeignKeyPlan, ObjectPlan, Plan, TablePlan, quote_literal, quote_name,
};

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
/// that are there, and triggers.
pub(super) fn add_guards(plan: &Plan) -> Vec<String> {
    let mut statements = Vec::new();
    for (table, key) in foreign_keys(plan) {
        statements.push(add_foreign_key(plan, table, key));
    }
    for trigger in &plan.triggers {
        statements.extend(trigger.statements.iter().cloned());
    }
    statements
}

fn foreign_keys(plan: &Plan) -> impl Iterator<Item = (&TablePlan, &ForeignKeyPlan)> {
    plan.tables
        .iter()
        .flat_map(|table| table.foreign_keys.iter().map(move |key| (table, key)))
}

fn add_foreign_key(plan: &Plan, table: &TablePlan, key: &ForeignKeyPlan) -> String {
    let own: Vec<String> = key
        .columns
        .iter()
        .map(|&at| quote_name(&table.columns[at].target))
        .collect();
    let parents: Vec<String> = key
        .parent_columns
        .iter()
        .map(|name| quote_name(name))
        .collect();
    let deferral = if key.initially_deferred {
        " DEFERRABLE INITIALLY DEFERRED"
    } else {
        ""
    };
    format!(
        "ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {}.{} ({}) ON DELETE {} ON UPDATE {}{deferral} NOT VALID",
        plan.qualified(table),
        quote_name(&key.name),
        own.join(", "),
        quote_name(&plan.schema),
        quote_name(&key.parent),
        parents.join(", "),
        key.on_delete.as_sql(),
        key.on_update.as_sql(),
    )
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
        statements.push(format!(
            "SELECT setval(pg_get_serial_sequence({}, {}), {next}, false)",
            quote_literal(&plan.qualified(table)),
            quote_literal(&table.columns[identity.column].target)
        ));
    }
    Ok(statements)
}

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
        if error.code.as_deref() != Some("23503") {
            return Err(error.into());
        }
        unmet.push(Unmet {
            table: table.source.clone(),
            constraint: key.name.clone(),
        });
    }
    Ok(unmet)
}

/// A foreign key for which rows were there already that break it.
#[derive(Debug, Clone, PartialEq, Eq)]
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
