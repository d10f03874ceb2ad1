//! Reading a range of rows and encoding them, on a thread that may block.

use std::sync::Arc;

use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params_from_iter};
use tokio::sync::mpsc;

use super::key::{Key, KeyValue, literal};
use super::progress::Counters;
use super::quarantine::Refused;
use super::range::{Range, key_columns};
use crate::convert::{RowEncoder, RowRefusal};
use crate::plan::{RowKey, TablePlan, quote_name};

/// Encoded rows go to the session in buffers of about this size.
const BUFFER: usize = 64 * 1024;
/// Refused rows are kept in memory until their chunk is committed: with more than this it ends.
const MOST_REFUSED_BYTES: usize = 4 << 20;

/// What one table is read with.
#[derive(Debug)]
pub(crate) struct TableReader {
    table: TablePlan,
    encoder: RowEncoder,
    /// The key's columns as the query has them.
    key: String,
    key_length: usize,
    /// Where each column of the plan stands in the query's result.
    places: Vec<usize>,
    query: String,
    /// Whether the rowid is copied into a column of its own, for following.
    with_rowid: bool,
}

/// Where a chunk must end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Whether the first refused row ends all.
    pub(crate) strict: bool,
}

/// A chunk that was read.
#[derive(Debug)]
pub(crate) struct ChunkRead {
    /// The key of its last row; none when the range has no more rows.
    pub(crate) reached: Option<Key>,
    /// Rows that were encoded.
    pub(crate) rows: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Rows that were not.
    pub(crate) refused: Vec<Refused>,
    /// Under a limit of one row that row, with its hash: the one to quarantine if the target refuses it.
    pub(crate) only: Option<(Refused, Option<i64>, Key)>,
}

/// Why reading ended early.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// SQLite failed.
    Source(rusqlite::Error),
    /// Nobody takes the rows any more.
    Abandoned,
    /// A row was refused under `strict`.
    Refused(Box<Refused>),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Source(error)
    }
}

impl TableReader {
    pub(crate) fn new(table: &TablePlan, followed: bool) -> Self {
        let (key, key_length) = match &table.key {
            RowKey::Rowid { alias, .. } => (quote_name(alias), 1),
            RowKey::PrimaryKey(columns) => (key_columns(table, columns), columns.len()),
        };
        let mut places = vec![0; table.columns.len()];
        let mut selected = vec![key.clone()];
        for (place, column) in table.columns.iter().enumerate() {
            places[place] = key_length + selected.len() - 1;
            selected.push(quote_name(&column.source));
        }
        let query = format!(
            "SELECT {} FROM {}",
            selected.join(", "),
            quote_name(&table.source)
        );
        Self {
            table: table.clone(),
            encoder: RowEncoder::new(table),
            key,
            key_length,
            places,
            query,
            with_rowid: followed && table.needs_followed_rowid(),
        }
    }

    /// Whether the target has [`FOLLOWED_ROWID`](crate::plan::FOLLOWED_ROWID), before its other columns.
    pub(crate) fn with_rowid(&self) -> bool {
        self.with_rowid
    }

    pub(crate) fn table(&self) -> &TablePlan {
        &self.table
    }

    /// Calls `each` for every row of a range, in the key's order, until it answers false.
    pub(crate) fn for_each(
        &self,
        source: &Connection,
        range: &Range,
        mut each: impl FnMut(&Row<'_>) -> Result<bool, ReadError>,
    ) -> Result<(), ReadError> {
        let marks = vec!["?"; self.key_length].join(", ");
        let mut conditions = Vec::new();
        let mut bounds: Vec<&KeyValue> = Vec::new();
        for (bound, comparison) in [(&range.reached, ">"), (&range.last, "<=")] {
            if let Some(key) = bound {
                conditions.push(if self.key_length == 1 {
                    format!("{} {comparison} ?", self.key)
                } else {
                    format!("({}) {comparison} ({marks})", self.key)
                });
                bounds.extend(&key.0);
            }
        }
        let condition = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        let mut statement =
            source.prepare_cached(&format!("{}{condition} ORDER BY {}", self.query, self.key))?;
        let mut rows = statement.query(params_from_iter(bounds))?;
        while let Some(row) = rows.next()? {
            if !each(row)? {
                break;
            }
        }
        Ok(())
    }

    /// Reads a chunk from the beginning of a range and sends it, encoded.
    pub(crate) fn read_chunk(
        &self,
        source: &Connection,
        range: &Range,
        limits: Limits,
        counters: &Counters,
        rows_to: &mpsc::Sender<Bytes>,
    ) -> Result<ChunkRead, ReadError> {
        let mut buffer = Vec::with_capacity(BUFFER + BUFFER / 8);
        let mut read = ChunkRead {
            reached: None,
            rows: 0,
            bytes: 0,
            refused: Vec::new(),
            only: None,
        };
        let (mut refused_bytes, mut counted) = (0, (0, 0));
        self.for_each(source, range, |row| {
            let before = buffer.len();
            let rowid = if self.with_rowid {
                self.key_of(row).as_rowid()
            } else {
                None
            };
            match self.encoder.encode_row_behind(
                rowid,
                |column| self.value(row, column),
                &mut buffer,
            ) {
                Ok(()) => {
                    read.rows += 1;
                    read.bytes += (buffer.len() - before) as u64;
                }
                Err(refusal) => {
                    let refused = self.refused(row, Some(refusal));
                    if limits.strict {
                        return Err(ReadError::Refused(Box::new(refused)));
                    }
                    refused_bytes += refused.size();
                    read.refused.push(refused);
                }
            }
            if limits.rows == 1 {
                let hash = self
                    .encoder
                    .clone()
                    .hash_row(|column| self.value(row, column))
                    .ok();
                read.only = Some((self.refused(row, None), hash, self.key_of(row)));
            }
            if buffer.len() >= BUFFER {
                let full = std::mem::replace(&mut buffer, Vec::with_capacity(BUFFER + BUFFER / 8));
                rows_to
                    .blocking_send(Bytes::from(full))
                    .map_err(|_| ReadError::Abandoned)?;
                counters.add(read.rows - counted.0, read.bytes - counted.1);
                counted = (read.rows, read.bytes);
            }
            let seen = read.rows + read.refused.len() as u64;
            if seen >= limits.rows
                || read.bytes >= limits.bytes
                || refused_bytes >= MOST_REFUSED_BYTES
            {
                read.reached = Some(self.key_of(row));
                return Ok(false);
            }
            Ok(true)
        })?;
        if !buffer.is_empty() {
            rows_to
                .blocking_send(Bytes::from(buffer))
                .map_err(|_| ReadError::Abandoned)?;
        }
        counters.add(read.rows - counted.0, read.bytes - counted.1);
        Ok(read)
    }

    /// The stored value of a column of the plan.
    #[inline]
    pub(crate) fn value<'r>(&self, row: &'r Row<'_>, column: usize) -> ValueRef<'r> {
        row.get_ref(self.places[column]).unwrap_or(ValueRef::Null)
    }

    pub(crate) fn key_of(&self, row: &Row<'_>) -> Key {
        Key((0..self.key_length)
            .map(|index| KeyValue::of(row.get_ref(index).unwrap_or(ValueRef::Null)))
            .collect())
    }

    /// Describes a row for the quarantine.
    fn refused(&self, row: &Row<'_>, refusal: Option<RowRefusal>) -> Refused {
        let key = self.key_of(row);
        let literals: Vec<String> = (0..self.table.columns.len())
            .map(|column| literal(self.value(row, column)))
            .collect();
        let row_number = match self.table.key {
            RowKey::Rowid {
                column: Some(_), ..
            } => key.as_rowid(),
            _ => None,
        };
        let (column, reason, storage_class, value) = match refusal {
            None => (None, String::new(), None, None),
            Some(RowRefusal { column, refusal }) => {
                let (class, bytes) = raw(self.value(row, column));
                (
                    Some(self.table.columns[column].source.clone()),
                    refusal.reason,
                    Some(class),
                    bytes,
                )
            }
        };
        Refused {
            key: key.to_sql_text(),
            column,
            reason,
            storage_class,
            value,
            row: format!("({})", literals.join(", ")),
            row_number,
        }
    }
}

/// A value's class and bytes, numbers as text.
fn raw(value: ValueRef<'_>) -> (&'static str, Option<Vec<u8>>) {
    match value {
        ValueRef::Null => ("null", None),
        ValueRef::Integer(number) => ("integer", Some(number.to_string().into_bytes())),
        ValueRef::Real(double) => ("real", Some(format!("{double:?}").into_bytes())),
        ValueRef::Text(bytes) => ("text", Some(bytes.to_vec())),
        ValueRef::Blob(bytes) => ("blob", Some(bytes.to_vec())),
    }
}

/// Readers of all tables of a plan.
pub(crate) fn table_readers(tables: &[TablePlan], followed: bool) -> Vec<Arc<TableReader>> {
    tables
        .iter()
        .map(|table| Arc::new(TableReader::new(table, followed)))
        .collect()
}
