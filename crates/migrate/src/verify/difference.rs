//! Rows that differ, for people.

use rusqlite::Row;
use serde::Serialize;
use tokio_postgres::types::FromSql;
use tokio_postgres::types::Type;

use crate::convert::{BinaryValue, convert_as_kept};
use crate::copy::TableReader;
use crate::copy::key::literal;
use crate::plan::{RowKey, TablePlan, TargetType, quote_literal};

/// One row that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Difference {
    /// The rows of one key differ.
    Changed {
        /// The key, as literals of SQLite.
        key: String,
        /// The columns that differ.
        columns: Vec<ColumnDifference>,
    },
    /// Only the source has the row.
    Missing {
        /// The key, as literals of SQLite.
        key: String,
        /// The row, as literals of SQLite.
        row: String,
    },
    /// Only the target has the row.
    Extra {
        /// The row, as literals of PostgreSQL.
        row: String,
    },
}

/// One value that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnDifference {
    /// The column's name in the source.
    pub column: String,
    /// The stored value, as a literal of SQLite.
    pub source: String,
    /// The value, as a literal of PostgreSQL.
    pub target: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Changed { key, columns } => {
                write!(f, "row {key}:")?;
                for (
                    index,
                    ColumnDifference {
                        column,
                        source,
                        target,
                    },
                ) in columns.iter().enumerate()
                {
                    let comma = if index > 0 { "," } else { "" };
                    write!(
                        f,
                        "{comma} {column} is {source} in the source and {target} in the target"
                    )?;
                }
                Ok(())
            }
            Self::Missing { key, row } => write!(f, "row {key} is missing in the target: {row}"),
            Self::Extra { row } => write!(f, "the target has a row that the source has not: {row}"),
        }
    }
}

/// The most letters of a value that are shown.
const SHOWN: usize = 200;

fn shorten(text: String) -> String {
    if text.chars().count() <= SHOWN {
        return text;
    }
    let shown: String = text.chars().take(SHOWN).collect();
    format!("{shown}… ({} bytes)", text.len())
}

#[derive(Debug)]
pub(super) struct SourceRow {
    key: String,
    rowid: Option<i64>,
    values: Vec<Option<BinaryValue>>,
    texts: Vec<String>,
}

impl SourceRow {
    pub(super) fn of(reader: &TableReader, row: &Row<'_>) -> Self {
        let table = reader.table();
        let key = reader.key_of(row);
        let values = table.columns.iter().enumerate().map(|(index, column)| {
            convert_as_kept(&column.conversion, &column.type_, reader.value(row, index)).ok()
        });
        let texts = (0..table.columns.len()).map(|index| literal(reader.value(row, index)));
        Self {
            key: key.to_sql_text(),
            rowid: key.as_rowid(),
            values: values.collect(),
            texts: texts.collect(),
        }
    }

    pub(super) fn rowid(&self) -> Option<i64> {
        self.rowid
    }
}

#[derive(Debug)]
pub(super) struct TargetRow {
    values: Vec<BinaryValue>,
    texts: Vec<String>,
    hash: i64,
}

/// A value in the binary form in which it was sent.
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl TargetRow {
    pub(super) fn of(row: &tokio_postgres::Row, table: &TablePlan) -> Self {
        let columns = table.columns.len();
        let value = |index: usize| BinaryValue(row.get::<_, Option<Raw>>(index).map(|raw| raw.0));
        let text = |index: usize| {
            let text = row.get::<_, Option<String>>(columns + index);
            text.map_or_else(
                || "NULL".to_owned(),
                |text| target_literal(text, &table.columns[index].type_),
            )
        };
        Self {
            values: (0..columns).map(value).collect(),
            texts: (0..columns).map(text).collect(),
            hash: row.get(2 * columns),
        }
    }

    pub(super) fn hash(&self) -> i64 {
        self.hash
    }

    /// The value of an integer column.
    pub(super) fn integer(&self, column: usize) -> Option<i64> {
        self.texts[column].parse().ok()
    }
}

/// A value of the target as SQL writes it, so that the text `'NULL'` is not taken for NULL.
fn target_literal(text: String, type_: &TargetType) -> String {
    match type_ {
        TargetType::Boolean
        | TargetType::SmallInt
        | TargetType::Integer
        | TargetType::BigInt
        | TargetType::Real
        | TargetType::DoublePrecision
        | TargetType::Numeric { .. } => text,
        _ => quote_literal(&text),
    }
}

/// Puts rows of one key side by side. Rows of tables without a key in the target stay alone.
pub(super) fn pair(
    table: &TablePlan,
    source: Vec<SourceRow>,
    mut target: Vec<TargetRow>,
) -> Vec<Difference> {
    let key: &[usize] = match &table.key {
        RowKey::Rowid {
            column: Some(column),
            ..
        } => std::slice::from_ref(column),
        RowKey::PrimaryKey(columns) => columns,
        RowKey::Rowid { column: None, .. } => &[],
    };
    let mut found = Vec::new();
    for row in source {
        let counterpart = target.iter().position(|other| {
            !key.is_empty()
                && key
                    .iter()
                    .all(|&column| row.values[column].as_ref() == Some(&other.values[column]))
        });
        match counterpart.map(|index| target.swap_remove(index)) {
            Some(other) => {
                let columns: Vec<ColumnDifference> = (0..table.columns.len())
                    .filter(|&column| row.values[column].as_ref() != Some(&other.values[column]))
                    .map(|column| ColumnDifference {
                        column: table.columns[column].source.clone(),
                        source: shorten(row.texts[column].clone()),
                        target: shorten(other.texts[column].clone()),
                    })
                    .collect();
                found.push(Difference::Changed {
                    key: row.key,
                    columns,
                });
            }
            None => found.push(Difference::Missing {
                key: row.key,
                row: shorten(format!("({})", row.texts.join(", "))),
            }),
        }
    }
    found.extend(target.into_iter().map(|row| Difference::Extra {
        row: shorten(format!("({})", row.texts.join(", "))),
    }));
    found
}
