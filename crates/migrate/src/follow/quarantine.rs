//! Rows that replay cannot place, and those that a later change set right.

use tokio_postgres::types::Type;

use super::FollowError;
use super::change_log::TableChanges;
use super::encoded::Misfit;
use super::stored::StoredValue;
use crate::connection::{QueryError, Session};
use crate::copy::key::literal;
use crate::plan::TablePlan;

/// Takes changed rows out of quarantine: they are judged anew.
pub(super) async fn release(
    session: &Session,
    migration: i64,
    table: &TablePlan,
    changes: &TableChanges,
) -> Result<(), FollowError> {
    let keys: Vec<String> = changes
        .rows
        .iter()
        .map(|changed| literals(&changed.key))
        .collect();
    session
        .execute_typed(
            "DELETE FROM springtide_migrate.quarantine
             WHERE migration = $1 AND table_name = $2 AND coalesce(row_number::text, key) = ANY($3)",
            &[
                (&migration, Type::INT8),
                (&table.source, Type::TEXT),
                (&keys, Type::TEXT_ARRAY),
            ],
        )
        .await
        .map_err(|error| failed(&error))?;
    Ok(())
}

/// The keys of a table's quarantined rows, as literals of SQLite.
pub(super) async fn keys(
    session: &Session,
    migration: i64,
    table: &TablePlan,
) -> Result<Vec<String>, FollowError> {
    let rows = session
        .query_typed(
            "SELECT coalesce(row_number::text, key) FROM springtide_migrate.quarantine
             WHERE migration = $1 AND table_name = $2 AND coalesce(row_number::text, key) IS NOT NULL",
            &[(&migration, Type::INT8), (&table.source, Type::TEXT)],
        )
        .await
        .map_err(|error| failed(&error))?;
    rows.iter()
        .map(|row| row.try_get(0).map_err(|error| failed(&error)))
        .collect()
}

/// Puts a row into quarantine.
pub(super) async fn add(
    session: &Session,
    migration: i64,
    table: &TablePlan,
    misfit: &Misfit,
) -> Result<(), FollowError> {
    let column = misfit.column.map(|at| table.columns[at].source.clone());
    let value = misfit.column.map(|at| &misfit.row[at]);
    let class = value.map(|value| match value {
        StoredValue::Null => "null",
        StoredValue::Integer(_) => "integer",
        StoredValue::Real(_) => "real",
        StoredValue::Text(_) => "text",
        StoredValue::Blob(_) => "blob",
    });
    let bytes: Option<Vec<u8>> = value.and_then(|value| match value {
        StoredValue::Null => None,
        StoredValue::Text(bytes) | StoredValue::Blob(bytes) => Some(bytes.clone()),
        number => Some(literal(number.as_ref()).into_bytes()),
    });
    let key = literals(&misfit.key);
    let row = literals(&misfit.row);
    session
        .execute_typed(
            "INSERT INTO springtide_migrate.quarantine
             (migration, table_name, key, column_name, reason, storage_class, value, row, row_hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            &[
                (&migration, Type::INT8),
                (&table.source, Type::TEXT),
                (&key, Type::TEXT),
                (&column, Type::TEXT),
                (&misfit.reason, Type::TEXT),
                (&class, Type::TEXT),
                (&bytes, Type::BYTEA),
                (&row, Type::TEXT),
                (&misfit.hash, Type::INT8),
            ],
        )
        .await
        .map_err(|error| failed(&error))?;
    Ok(())
}

fn literals(values: &[StoredValue]) -> String {
    let all: Vec<String> = values.iter().map(|value| literal(value.as_ref())).collect();
    all.join(", ")
}

fn failed(error: &tokio_postgres::Error) -> FollowError {
    FollowError::Postgres(QueryError::while_doing("keeping the quarantine", error))
}
