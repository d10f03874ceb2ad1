//! The statements that make a source record its changes.
//!
//! The log keeps keys, not values: replay reads a changed row as it is by then, so that recording
//! a key too often costs a little and is never wrong, and only forgetting one would be. Keys are
//! recorded
//!
//! - after an insert, the new row's; after a delete, the old row's; after an update, the old row's,
//!   and the new row's where the key changed. Foreign keys' actions fire these triggers too;
//! - before an insert and an update, the keys of rows with which the new row conflicts in any
//!   unique index: REPLACE deletes these, and SQLite fires no delete trigger for them unless the
//!   writer has set `recursive_triggers`. A row that another trigger brings into conflict only
//!   later has been recorded by that change.

use super::recorded::{KeyColumn, RecordedTable};
use crate::plan::{SOURCE_PREFIX, quote_literal, quote_name};

/// The table of the source that keeps the keys of changed rows.
pub const LOG: &str = "_tide_migrate_changes";
/// The table of the source that says whose log it is.
pub const OWNER: &str = "_tide_migrate_owner";

/// The statements that make the log and its triggers.
#[must_use]
pub fn install(tables: &[RecordedTable]) -> Vec<String> {
    let width = tables
        .iter()
        .map(|table| table.key.len())
        .max()
        .unwrap_or(1);
    let mut statements = vec![
        format!(
            "CREATE TABLE {} (migration TEXT NOT NULL, target TEXT NOT NULL, schema_version INTEGER NOT NULL)",
            quote_name(OWNER)
        ),
        // Columns without a type keep a key exactly as it is stored.
        format!(
            "CREATE TABLE {} (seq INTEGER PRIMARY KEY, tbl INTEGER NOT NULL, {})",
            quote_name(LOG),
            log_columns(width)
        ),
        // Pruning keeps the last entry, so that a number is never given out twice; this is the
        // first such.
        format!("INSERT INTO {} (seq, tbl) VALUES (1, -1)", quote_name(LOG)),
    ];
    for table in tables {
        statements.extend(table_triggers(table));
    }
    statements
}

/// `k1, k2, …`
pub(super) fn log_columns(width: usize) -> String {
    (1..=width)
        .map(|at| format!("k{at}"))
        .collect::<Vec<_>>()
        .join(", ")
}

fn table_triggers(table: &RecordedTable) -> Vec<String> {
    let record_new = record(table, "NEW");
    let record_old = record(table, "OLD");
    let record_new_key = record_if(table, "NEW", &key_changed(table));
    let conflicts: Vec<String> = table
        .uniques
        .iter()
        .map(|unique| record_rows(table, &unique.0))
        .collect();
    let mut triggers = vec![
        trigger(table, "inserted", "AFTER INSERT", &[record_new]),
        trigger(
            table,
            "updated",
            "AFTER UPDATE",
            &[record_old.clone(), record_new_key],
        ),
        trigger(table, "deleted", "AFTER DELETE", &[record_old]),
    ];
    if !conflicts.is_empty() {
        triggers.push(trigger(table, "inserting", "BEFORE INSERT", &conflicts));
        triggers.push(trigger(table, "updating", "BEFORE UPDATE", &conflicts));
    }
    triggers
}

/// Statements that make every write to the tables fail and say why.
#[must_use]
pub fn seal(tables: &[RecordedTable], message: &str) -> Vec<String> {
    let refuse = [format!("SELECT RAISE(ABORT, {});", quote_literal(message))];
    let kinds = [
        ("insert", "BEFORE INSERT"),
        ("update", "BEFORE UPDATE"),
        ("delete", "BEFORE DELETE"),
    ];
    let of_table =
        |table| kinds.map(|(name, when)| trigger(table, &format!("sealed_{name}"), when, &refuse));
    tables.iter().flat_map(of_table).collect()
}

fn trigger(table: &RecordedTable, name: &str, when: &str, statements: &[String]) -> String {
    format!(
        "CREATE TRIGGER {} {when} ON {} BEGIN {} END",
        quote_name(&format!("{SOURCE_PREFIX}{}_{name}", table.number)),
        quote_name(&table.name),
        statements.join(" ")
    )
}

fn record(table: &RecordedTable, row: &str) -> String {
    let values: Vec<String> = table
        .key
        .iter()
        .map(|key| format!("{row}.{}", quote_name(&key.name)))
        .collect();
    format!(
        "{} VALUES ({}, {});",
        insert(table),
        table.number,
        values.join(", ")
    )
}

fn record_if(table: &RecordedTable, row: &str, condition: &str) -> String {
    let values: Vec<String> = table
        .key
        .iter()
        .map(|key| format!("{row}.{}", quote_name(&key.name)))
        .collect();
    format!(
        "{} SELECT {}, {} WHERE {condition};",
        insert(table),
        table.number,
        values.join(", ")
    )
}

fn record_rows(table: &RecordedTable, condition: &str) -> String {
    let names: Vec<String> = table.key.iter().map(|key| quote_name(&key.name)).collect();
    format!(
        "{} SELECT {}, {} FROM {} WHERE {condition};",
        insert(table),
        table.number,
        names.join(", "),
        quote_name(&table.name)
    )
}

fn insert(table: &RecordedTable) -> String {
    format!(
        "INSERT INTO {} (tbl, {})",
        quote_name(LOG),
        log_columns(table.key.len())
    )
}

/// Whether an update changed the key, also where the change is none to the key's collation.
fn key_changed(table: &RecordedTable) -> String {
    let part_changed = |key: &KeyColumn| {
        let name = quote_name(&key.name);
        if table.rowid {
            format!("NEW.{name} IS NOT OLD.{name}")
        } else {
            format!(
                "NEW.{name} COLLATE BINARY IS NOT OLD.{name} OR typeof(NEW.{name}) IS NOT typeof(OLD.{name})"
            )
        }
    };
    table
        .key
        .iter()
        .map(part_changed)
        .collect::<Vec<_>>()
        .join(" OR ")
}
