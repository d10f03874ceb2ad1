//! Changed rows of one table as the target takes them.

use super::arrays::{ColumnArray, fields};
use super::change_log::{ChangedRow, TableChanges};
use super::stored::StoredValue;
use super::target_table::TargetTable;
use crate::convert::{RowEncoder, encode_field};
use crate::plan::{Conversion, TablePlan, TargetType};

/// A changed row that the target cannot take.
#[derive(Debug, Clone)]
pub struct Misfit {
    /// The table's position in the plan.
    pub table: usize,
    /// The key in the source.
    pub key: Vec<StoredValue>,
    /// The column that is at fault, by its position, where one is.
    pub column: Option<usize>,
    /// Why.
    pub reason: String,
    /// The row as it is stored, by the plan's columns.
    pub row: Vec<StoredValue>,
    /// The hash of the row, where all its values can be converted.
    pub hash: Option<i64>,
}

/// Changes of one table, encoded.
#[derive(Debug, Default)]
pub(super) struct EncodedChanges {
    /// Every changed key that the target could have: fields one after the other, a vector a key.
    pub(super) keys: Vec<Vec<Vec<u8>>>,
    /// Rows to insert.
    pub(super) rows: Vec<EncodedRow>,
    /// Rows that cannot be converted.
    pub(super) misfits: Vec<Misfit>,
}

/// A row to insert.
#[derive(Debug)]
pub(super) struct EncodedRow {
    /// Its position among the changes.
    pub(super) change: usize,
    /// The key's fields.
    pub(super) key: Vec<Vec<u8>>,
    /// The inserted columns as COPY has a row, the followed rowid not among them.
    pub(super) row: Vec<u8>,
    /// The followed rowid's field, where the table has one.
    pub(super) rowid: Option<Vec<u8>>,
    /// What the target's row must hash to.
    pub(super) hash: i64,
}

/// Converts the changes of one table.
pub(super) fn encode(
    plan: &TablePlan,
    target: &TargetTable,
    encoder: &mut RowEncoder,
    changes: &TableChanges,
) -> EncodedChanges {
    let mut encoded = EncodedChanges::default();
    for (change, changed) in changes.rows.iter().enumerate() {
        let key = encode_key(plan, target, changed);
        encoded.keys.extend(key.clone());
        let Some(row) = &changed.row else { continue };
        let mut bytes = Vec::new();
        let outcome = encoder
            .encode_row(|column| row[column].as_ref(), &mut bytes)
            .and_then(|()| encoder.hash_row(|column| row[column].as_ref()));
        match (outcome, key) {
            (Ok(hash), Some(key)) => {
                let rowid = plan.needs_followed_rowid().then(|| key[0].clone());
                encoded.rows.push(EncodedRow {
                    change,
                    key,
                    row: bytes,
                    rowid,
                    hash,
                });
            }
            // A key that cannot be converted is a column that cannot.
            (Ok(_), None) => encoded.misfits.push(misfit(
                changes.table,
                changed,
                row,
                None,
                "its key cannot be converted",
            )),
            (Err(refused), _) => encoded.misfits.push(misfit(
                changes.table,
                changed,
                row,
                Some(refused.column),
                &refused.refusal.reason,
            )),
        }
    }
    encoded
}

/// A misfit of a changed row.
pub(super) fn misfit(
    table: usize,
    changed: &ChangedRow,
    row: &[StoredValue],
    column: Option<usize>,
    reason: &str,
) -> Misfit {
    Misfit {
        table,
        key: changed.key.clone(),
        column,
        reason: reason.to_owned(),
        row: row.to_vec(),
        hash: None,
    }
}

/// The key's fields; None where no row of the target can have it.
fn encode_key(
    plan: &TablePlan,
    target: &TargetTable,
    changed: &ChangedRow,
) -> Option<Vec<Vec<u8>>> {
    let mut key = Vec::with_capacity(changed.key.len());
    for (at, value) in changed.key.iter().enumerate() {
        let (conversion, type_) = match target.key_columns[at] {
            Some(column) => (
                &plan.columns[column].conversion,
                &plan.columns[column].type_,
            ),
            None => (&Conversion::Exact, &TargetType::BigInt),
        };
        let mut field = Vec::new();
        encode_field(conversion, type_, value.as_ref(), &mut field).ok()?;
        key.push(field);
    }
    Some(key)
}

/// Keys as one array a part.
pub(super) fn key_arrays<'a>(
    types: &[TargetType],
    keys: impl Iterator<Item = &'a [Vec<u8>]>,
) -> Vec<ColumnArray> {
    let mut arrays: Vec<ColumnArray> = types.iter().map(ColumnArray::new).collect();
    for key in keys {
        for (array, field) in arrays.iter_mut().zip(key) {
            array.push_field(field);
        }
    }
    arrays
}

/// Rows as one array a column.
pub(super) fn row_arrays(types: &[TargetType], rows: &[EncodedRow]) -> Vec<ColumnArray> {
    let mut arrays: Vec<ColumnArray> = types.iter().map(ColumnArray::new).collect();
    for row in rows {
        let all = row.rowid.as_deref().into_iter().chain(fields(&row.row));
        for (array, field) in arrays.iter_mut().zip(all) {
            array.push_field(field);
        }
    }
    arrays
}
