//! Keys of rows, with which ranges of a table begin and end.

use std::fmt::Write as _;

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use springtide_machinery::hex::hexadecimal;

/// The key of one row: its rowid, or the columns of its primary key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key(pub(crate) Vec<KeyValue>);

/// One value of a key, as stored. Text may be invalid UTF-8.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum KeyValue {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Key {
    /// A rowid.
    pub(crate) fn rowid(rowid: i64) -> Self {
        Self(vec![KeyValue::Integer(rowid)])
    }

    /// The rowid, if the key is one integer.
    pub(crate) fn as_rowid(&self) -> Option<i64> {
        match self.0[..] {
            [KeyValue::Integer(rowid)] => Some(rowid),
            _ => None,
        }
    }

    /// The form kept in the state: `i42`, `r` and the bits of a real, `t` and `x` with hexadecimal
    /// bytes, parted by commas. Exact for every value.
    pub(crate) fn to_stored(&self) -> String {
        let mut stored = String::new();
        for (index, value) in self.0.iter().enumerate() {
            if index > 0 {
                stored.push(',');
            }
            let _ = match value {
                KeyValue::Null => write!(stored, "n"),
                KeyValue::Integer(number) => write!(stored, "i{number}"),
                KeyValue::Real(double) => write!(stored, "r{:016x}", double.to_bits()),
                KeyValue::Text(bytes) => write!(stored, "t{}", hexadecimal(bytes)),
                KeyValue::Blob(bytes) => write!(stored, "x{}", hexadecimal(bytes)),
            };
        }
        stored
    }

    /// Reads [`Self::to_stored`]'s form.
    pub(crate) fn from_stored(stored: &str) -> Option<Self> {
        let values = stored.split(',').map(|part| {
            let (kind, rest) = part.split_at_checked(1)?;
            Some(match kind {
                "n" => KeyValue::Null,
                "i" => KeyValue::Integer(rest.parse().ok()?),
                "r" => KeyValue::Real(f64::from_bits(u64::from_str_radix(rest, 16).ok()?)),
                "t" => KeyValue::Text(bytes_of(rest)?),
                "x" => KeyValue::Blob(bytes_of(rest)?),
                _ => return None,
            })
        });
        values.collect::<Option<Vec<_>>>().map(Self)
    }

    /// For people: the rowid, or the values as SQLite's literals.
    pub(crate) fn to_sql_text(&self) -> String {
        let values: Vec<String> = self.0.iter().map(|value| literal(value.as_ref())).collect();
        values.join(", ")
    }
}

impl KeyValue {
    pub(crate) fn of(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(number) => Self::Integer(number),
            ValueRef::Real(double) => Self::Real(double),
            ValueRef::Text(bytes) => Self::Text(bytes.to_vec()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }

    fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Null => ValueRef::Null,
            Self::Integer(number) => ValueRef::Integer(*number),
            Self::Real(double) => ValueRef::Real(*double),
            Self::Text(bytes) => ValueRef::Text(bytes),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }
    }
}

impl ToSql for KeyValue {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.as_ref()))
    }
}

/// A value as a literal of SQLite that gives exactly it back.
pub(crate) fn literal(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(double) if double == f64::INFINITY => "9e999".to_owned(),
        ValueRef::Real(double) if double == f64::NEG_INFINITY => "-9e999".to_owned(),
        ValueRef::Real(double) => format!("{double:?}"),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => crate::plan::quote_literal(text),
            _ => format!("CAST(x'{}' AS TEXT)", hexadecimal(bytes)),
        },
        ValueRef::Blob(bytes) => format!("x'{}'", hexadecimal(bytes)),
    }
}

fn bytes_of(hexadecimal: &str) -> Option<Vec<u8>> {
    let digits = hexadecimal.as_bytes();
    let pairs = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    (digits.len().is_multiple_of(2))
        .then(|| pairs.collect())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_stored_exactly() {
        let key = Key(vec![
            KeyValue::Integer(i64::MIN),
            KeyValue::Real(-0.1),
            KeyValue::Text(b"a,\xff\0".to_vec()),
            KeyValue::Blob(Vec::new()),
            KeyValue::Null,
        ]);
        assert_eq!(Key::from_stored(&key.to_stored()), Some(key.clone()));
        assert_eq!(
            key.to_sql_text(),
            "-9223372036854775808, -0.1, CAST(x'612cff00' AS TEXT), x'', NULL"
        );
        assert_eq!(Key::from_stored("q1"), None);
    }
}
