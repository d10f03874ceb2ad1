//! Rows as arrays, a column each: the parameters of one statement for many rows.
//!
//! Unlike COPY into a temporary table they need no catalogue entries, which a session that replays
//! for days would leave dead by the million, and they work behind a transaction pooler.

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type};

use crate::convert::type_oid;
use crate::plan::TargetType;

/// A one-dimensional array in PostgreSQL's binary form.
#[derive(Debug, Clone)]
pub(super) struct ColumnArray {
    element: u32,
    count: i32,
    has_null: bool,
    /// Each element with its length, as COPY has fields.
    fields: Vec<u8>,
}

impl ColumnArray {
    pub(super) fn new(element: &TargetType) -> Self {
        Self {
            element: type_oid(element),
            count: 0,
            has_null: false,
            fields: Vec::new(),
        }
    }

    /// Appends a field: its length (−1 for NULL) and its bytes.
    pub(super) fn push_field(&mut self, field: &[u8]) {
        self.has_null |= field.starts_with(&(-1_i32).to_be_bytes());
        self.count += 1;
        self.fields.extend_from_slice(field);
    }
}

impl ToSql for ColumnArray {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_i32(i32::from(self.count > 0));
        out.put_i32(i32::from(self.has_null));
        out.put_u32(self.element);
        if self.count > 0 {
            out.put_i32(self.count);
            out.put_i32(1);
            out.extend_from_slice(&self.fields);
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn to_sql_checked(
        &self,
        type_: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        self.to_sql(type_, out)
    }
}

/// The array type of an element type, without limits of length or precision: those are the
/// column's, which values meet already.
pub(super) fn array_type(element: &TargetType) -> String {
    match element {
        TargetType::Numeric { .. } => "numeric[]".to_owned(),
        TargetType::VarChar(_) => "varchar[]".to_owned(),
        other => format!("{other}[]"),
    }
}

/// Parts a row as COPY has it into its fields, each with its length.
pub(super) fn fields(row: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = row.get(2..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length: [u8; 4] = rest.get(..4)?.try_into().ok()?;
        let bytes = usize::try_from(i32::from_be_bytes(length)).unwrap_or(0);
        let (field, after) = rest.split_at_checked(4 + bytes)?;
        rest = after;
        Some(field)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_parts_into_its_fields() {
        let row = [
            &[0, 3][..],
            &[0, 0, 0, 1, b'x'],
            &[255, 255, 255, 255],
            &[0, 0, 0, 0],
        ]
        .concat();
        let parted: Vec<&[u8]> = fields(&row).collect();
        assert_eq!(
            parted,
            [
                &[0, 0, 0, 1, b'x'][..],
                &[255, 255, 255, 255],
                &[0, 0, 0, 0]
            ]
        );
    }
}
