//! Rows that the target could not take.

use bytes::Bytes;
use futures::SinkExt;

use crate::connection::{QueryError, Session};
use crate::plan::quote_literal;

/// What begins and ends data in COPY's binary format.
pub(crate) const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
pub(crate) const COPY_TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// A row that was not taken, and why.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    /// The rowid, or the primary key as literals of SQLite.
    pub(crate) key: String,
    /// The column whose value is the reason.
    pub(crate) column: Option<String>,
    /// One sentence.
    pub(crate) reason: String,
    /// The value's storage class in SQLite.
    pub(crate) storage_class: Option<&'static str>,
    /// The value: bytes of text and blobs, numbers as text.
    pub(crate) value: Option<Vec<u8>>,
    /// The whole row as literals of SQLite.
    pub(crate) row: String,
    /// The rowid, where the target keeps it in a column.
    pub(crate) row_number: Option<i64>,
}

impl Refused {
    pub(crate) fn size(&self) -> usize {
        self.row.len() + self.value.as_ref().map_or(0, Vec::len) + 100
    }
}

/// Writes refused rows to the quarantine; part of the caller's transaction. `hash` is set for a row that
/// verification will find in the source and not in the target.
pub(crate) async fn store(
    session: &Session,
    migration: i64,
    table: &str,
    refused: &[(Refused, Option<i64>)],
) -> Result<(), QueryError> {
    let failed = |error| QueryError::while_doing("writing to the quarantine", &error);
    let statement = "COPY springtide_migrate.quarantine
        (migration, table_name, key, column_name, reason, storage_class, value, row, row_hash, row_number)
        FROM STDIN (FORMAT binary)";
    let sink = session
        .copy_in::<_, Bytes>(statement)
        .await
        .map_err(failed)?;
    let mut sink = std::pin::pin!(sink);
    sink.send(Bytes::from_static(COPY_HEADER))
        .await
        .map_err(failed)?;
    for (row, hash) in refused {
        let mut bytes = Vec::with_capacity(row.size() + 100);
        bytes.extend_from_slice(&10_i16.to_be_bytes());
        let mut put = |field: Option<&[u8]>| match field {
            None => bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(field) => {
                bytes.extend_from_slice(&(field.len() as i32).to_be_bytes());
                bytes.extend_from_slice(field);
            }
        };
        put(Some(&migration.to_be_bytes()));
        put(Some(table.as_bytes()));
        put(Some(row.key.as_bytes()));
        put(row.column.as_ref().map(String::as_bytes));
        // What PostgreSQL's text cannot hold is only ever in the value's bytes.
        put(Some(row.reason.replace('\0', "\u{fffd}").as_bytes()));
        put(row.storage_class.map(str::as_bytes));
        put(row.value.as_deref());
        put(Some(row.row.as_bytes()));
        put(hash.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
        put(row
            .row_number
            .map(i64::to_be_bytes)
            .as_ref()
            .map(<[u8; 8]>::as_slice));
        sink.send(Bytes::from(bytes)).await.map_err(failed)?;
    }
    sink.send(Bytes::from_static(COPY_TRAILER))
        .await
        .map_err(failed)?;
    sink.finish().await.map_err(failed)?;
    Ok(())
}

/// A statement that moves rows of the target to the quarantine and answers how many. `doomed` selects
/// their `ctid`s from the table.
pub(crate) struct Move<'a> {
    /// The quarantine's qualified name.
    pub(crate) quarantine: &'a str,
    pub(crate) migration: i64,
    /// The table's name in the source.
    pub(crate) table: &'a str,
    /// Its qualified name in the target.
    pub(crate) target: &'a str,
    /// A query of `ctid`s.
    pub(crate) doomed: &'a str,
    /// The columns at fault, by their names in the source.
    pub(crate) columns: &'a str,
    pub(crate) reason: &'a str,
    /// What gives the row's key, value, hash and number, expressions over the table as `t`.
    pub(crate) key: &'a str,
    pub(crate) value: &'a str,
    pub(crate) hash: &'a str,
    pub(crate) row_number: &'a str,
}

impl Move<'_> {
    pub(crate) fn statement(&self) -> String {
        let Self {
            quarantine,
            migration,
            table,
            target,
            doomed,
            columns,
            reason,
            key,
            value,
            hash,
            row_number,
        } = self;
        format!(
            "WITH doomed AS MATERIALIZED ({doomed}),
             moved AS (DELETE FROM ONLY {target} AS t USING doomed WHERE t.ctid = doomed.ctid
                       RETURNING {key} AS key, {value} AS value, to_json(t)::text AS row, {hash} AS hash, {row_number} AS number),
             noted AS (INSERT INTO {quarantine}
                       (migration, table_name, key, column_name, reason, value, row, row_hash, row_number)
                       SELECT {migration}, {}, key, {}, {}, value, row, hash, number FROM moved RETURNING 1)
             SELECT count(*) FROM noted",
            quote_literal(table),
            quote_literal(columns),
            quote_literal(reason),
        )
    }
}
