use md5::{Digest, Md5};
use rusqlite::types::ValueRef;

use super::{Refusal, encode_as_kept, encode_field, type_oid};
use crate::plan::{Conversion, TablePlan, TargetType};

/// Encodes rows of one table, as COPY takes them and as both sides hash them.
#[derive(Debug, Clone)]
pub struct RowEncoder {
    copied: Vec<Field>,
    compared: Vec<Field>,
    /// The record that is hashed, kept for its memory.
    record: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Field {
    /// Position in the table's plan.
    column: usize,
    conversion: Conversion,
    type_: TargetType,
    not_null: bool,
}

/// Why a row cannot be taken: the first of its values that cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRefusal {
    /// The column's position in the table's plan.
    pub column: usize,
    /// Why.
    pub refusal: Refusal,
}

impl RowEncoder {
    /// An encoder of a table's rows.
    #[must_use]
    pub fn new(table: &TablePlan) -> Self {
        let field = |column: usize| {
            let plan = &table.columns[column];
            Field {
                column,
                conversion: plan.conversion.clone(),
                type_: plan.type_.clone(),
                not_null: plan.not_null,
            }
        };
        Self {
            copied: table.copied().map(field).collect(),
            compared: (0..table.columns.len()).map(field).collect(),
            record: Vec::new(),
        }
    }

    /// Appends a row as COPY's binary format has it. `value` gives the stored value of a column by its
    /// position in the table's plan. After a refusal `out` is as it was.
    ///
    /// # Errors
    /// Names the first column whose value cannot be taken.
    pub fn encode_row<'a>(
        &self,
        value: impl FnMut(usize) -> ValueRef<'a>,
        out: &mut Vec<u8>,
    ) -> Result<(), RowRefusal> {
        self.encode_row_behind(None, value, out)
    }

    /// As [`Self::encode_row`], with the rowid as a `bigint` before all columns where one is given.
    ///
    /// # Errors
    /// Names the first column whose value cannot be taken.
    pub fn encode_row_behind<'a>(
        &self,
        rowid: Option<i64>,
        mut value: impl FnMut(usize) -> ValueRef<'a>,
        out: &mut Vec<u8>,
    ) -> Result<(), RowRefusal> {
        let start = out.len();
        let fields = self.copied.len() + usize::from(rowid.is_some());
        out.extend_from_slice(&(fields as i16).to_be_bytes());
        if let Some(rowid) = rowid {
            out.extend_from_slice(&8_i32.to_be_bytes());
            out.extend_from_slice(&rowid.to_be_bytes());
        }
        for field in &self.copied {
            if let Err(refusal) = field.encode(value(field.column), out) {
                out.truncate(start);
                return Err(RowRefusal {
                    column: field.column,
                    refusal,
                });
            }
        }
        Ok(())
    }

    /// The hash of a row, equal to what `verify::hash_expression` gives for
    /// it in the target: the first 64 bits of the MD5 of the record's binary form.
    ///
    /// # Errors
    /// Names the first column whose value cannot be taken: such a row is not in the target.
    pub fn hash_row<'a>(
        &mut self,
        mut value: impl FnMut(usize) -> ValueRef<'a>,
    ) -> Result<i64, RowRefusal> {
        self.record.clear();
        self.record
            .extend_from_slice(&(self.compared.len() as i32).to_be_bytes());
        for field in &self.compared {
            self.record
                .extend_from_slice(&type_oid(&field.type_).to_be_bytes());
            field
                .encode_as_kept(value(field.column), &mut self.record)
                .map_err(|refusal| RowRefusal {
                    column: field.column,
                    refusal,
                })?;
        }
        let digest = Md5::digest(&self.record);
        let first: [u8; 8] = std::array::from_fn(|index| digest[index]);
        Ok(i64::from_be_bytes(first))
    }
}

impl Field {
    #[inline]
    fn encode(&self, value: ValueRef<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        self.check_null(value)?;
        encode_field(&self.conversion, &self.type_, value, out)
    }

    #[inline]
    fn encode_as_kept(&self, value: ValueRef<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        self.check_null(value)?;
        encode_as_kept(&self.conversion, &self.type_, value, out)
    }

    #[inline]
    fn check_null(&self, value: ValueRef<'_>) -> Result<(), Refusal> {
        if self.not_null && matches!(value, ValueRef::Null) {
            return Err(Refusal {
                reason: "NULL is stored in a column that is NOT NULL".to_owned(),
            });
        }
        Ok(())
    }
}
