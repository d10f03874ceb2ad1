//! Rows that SQLite let through and a constraint of the target does not: statements that move them to
//! the quarantine.

use super::quarantine::Move;
use crate::connection::Session;
use crate::plan::{FOLLOWED_ROWID, Plan, RowKey, TablePlan, TargetType, quote_literal, quote_name};
use crate::verify::hash_expression;

/// Where violators go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The quarantine's qualified name.
    pub(crate) quarantine: &'a str,
    /// The migration's number in it.
    pub(crate) migration: i64,
    /// Whether tables have the column by which changes find rows that have no other key.
    pub(crate) followed: bool,
}

/// The quarantine in the state.
pub(crate) const QUARANTINE: &str = "springtide_migrate.quarantine";

/// Rows of one table that break one constraint.
#[derive(Debug, Clone)]
pub(crate) struct Violators {
    /// The table's name in the source.
    pub(crate) table: String,
    /// Why they are in the way.
    pub(crate) reason: String,
    /// A query of their `ctid`s.
    pub(crate) doomed: String,
    /// The statement that moves them, and answers how many they were.
    pub(crate) statement: String,
}

/// The rows that a query of `ctid`s finds; `columns` are at fault.
pub(super) fn violators(
    plan: &Plan,
    table: &TablePlan,
    place: Place<'_>,
    doomed: &str,
    columns: &[usize],
    reason: &str,
) -> Violators {
    let names: Vec<&str> = columns
        .iter()
        .map(|&column| table.columns[column].source.as_str())
        .collect();
    let (key, row_number) = key_expressions(table, place.followed);
    let value = match columns {
        [column] => raw_value(table, *column),
        _ => "NULL::bytea".to_owned(),
    };
    let statement = Move {
        quarantine: place.quarantine,
        migration: place.migration,
        table: &table.source,
        target: &plan.qualified(table),
        doomed,
        columns: &names.join(", "),
        reason,
        key: &key,
        value: &value,
        hash: &hash_expression(table, "t"),
        row_number: &row_number,
    }
    .statement();
    Violators {
        table: table.source.clone(),
        reason: reason.to_owned(),
        doomed: doomed.to_owned(),
        statement,
    }
}

fn raw_value(table: &TablePlan, column: usize) -> String {
    let name = quote_name(&table.columns[column].target);
    match table.columns[column].type_ {
        TargetType::Bytea => format!("t.{name}"),
        _ => format!("convert_to(t.{name}::text, 'UTF8')"),
    }
}

/// A row's key as literals of SQLite, and its rowid, over the table as `t`.
fn key_expressions(table: &TablePlan, followed: bool) -> (String, String) {
    let columns: &[usize] = match &table.key {
        RowKey::Rowid {
            column: Some(column),
            ..
        } => {
            let name = quote_name(&table.columns[*column].target);
            return (format!("t.{name}::text"), format!("t.{name}::bigint"));
        }
        RowKey::Rowid { column: None, .. } if followed => {
            let name = quote_name(FOLLOWED_ROWID);
            return (format!("t.{name}::text"), format!("t.{name}"));
        }
        RowKey::Rowid { column: None, .. } => &[],
        RowKey::PrimaryKey(columns) => columns,
    };
    let parts: Vec<String> = columns
        .iter()
        .map(|&column| {
            let name = quote_name(&table.columns[column].target);
            match table.columns[column].type_ {
                TargetType::SmallInt
                | TargetType::Integer
                | TargetType::BigInt
                | TargetType::Real
                | TargetType::DoublePrecision
                | TargetType::Numeric { .. } => format!("t.{name}::text"),
                TargetType::Bytea => format!("'x''' || encode(t.{name}, 'hex') || ''''"),
                _ => format!("quote_literal(t.{name}::text)"),
            }
        })
        .collect();
    let key = if parts.is_empty() {
        "NULL::text".to_owned()
    } else {
        parts.join(" || ', ' || ")
    };
    (key, "NULL::bigint".to_owned())
}

/// For each foreign key of a table, the rows whose parent is missing.
pub(crate) fn orphans<'a>(
    plan: &'a Plan,
    table: &'a TablePlan,
    place: Place<'a>,
) -> impl Iterator<Item = Violators> + 'a {
    table.foreign_keys.iter().map(move |key| {
        let own: Vec<String> = key.columns.iter().map(|&column| quote_name(&table.columns[column].target)).collect();
        let present: Vec<String> = own.iter().map(|name| format!("child.{name} IS NOT NULL")).collect();
        let equal: Vec<String> = own.iter().zip(&key.parent_columns).map(|(own, parent)| format!("parent.{} = child.{own}", quote_name(parent))).collect();
        let doomed = format!(
            "SELECT child.ctid FROM ONLY {} AS child WHERE {} AND NOT EXISTS (SELECT FROM {}.{} AS parent WHERE {})",
            plan.qualified(table),
            present.join(" AND "),
            quote_name(&plan.schema),
            quote_name(&key.parent),
            equal.join(" AND "),
        );
        let reason = format!("no row of {} has the key that the foreign key {} names", key.parent, quote_literal(&key.name));
        violators(plan, table, place, &doomed, &key.columns, &reason)
    })
}

/// Moves rows whose parent is missing, within the caller's transaction, until every row has its own: a
/// row that goes may be another's parent. Answers how many rows of each kind were moved.
pub(crate) async fn move_orphans(
    session: &Session,
    kinds: &[Violators],
) -> Result<Vec<u64>, tokio_postgres::Error> {
    let mut moved = vec![0; kinds.len()];
    loop {
        let mut any = false;
        for (count, orphans) in moved.iter_mut().zip(kinds) {
            let row = session.query_typed_one(&orphans.statement, &[]).await?;
            let rows = row.get::<_, i64>(0).unsigned_abs();
            *count += rows;
            any |= rows > 0;
        }
        if !any {
            return Ok(moved);
        }
    }
}
