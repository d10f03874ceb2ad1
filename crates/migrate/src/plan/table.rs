use serde::{Deserialize, Serialize};

use super::{
    CheckPlan, Collation, Conversion, ForeignKeyPlan, IdentityPlan, IndexPlan, KeyPlan, TargetType,
};

/// How one table becomes one table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TablePlan {
    /// Its name in the source.
    pub source: String,
    /// Its name in the target, unquoted.
    pub target: String,
    /// What tells one row of the source from another.
    pub key: RowKey,
    /// Its columns in the source's order; positions elsewhere in the table's plan point in here.
    pub columns: Vec<ColumnPlan>,
    /// The primary key of the target; made after the data. Its columns are NOT NULL.
    pub primary_key: Option<KeyPlan>,
    /// Unique constraints and unique indexes, also partial ones; made after the data.
    pub uniques: Vec<KeyPlan>,
    /// Check constraints; made after the data.
    pub checks: Vec<CheckPlan>,
    /// Foreign keys; added NOT VALID after the data, then validated.
    pub foreign_keys: Vec<ForeignKeyPlan>,
    /// Indexes that are not unique; made after the data.
    pub indexes: Vec<IndexPlan>,
    /// The column that numbers new rows.
    pub identity: Option<IdentityPlan>,
    /// Rows stored when the plan was made.
    pub rows: u64,
    /// Bytes of the values stored when the plan was made (8 for a number), for estimates.
    pub bytes: u64,
    /// The comment written in the source's `CREATE TABLE` before its columns.
    pub comment: Option<String>,
}

/// What tells one row of the source from another, and orders them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowKey {
    /// The rowid.
    Rowid {
        /// The name by which it can be selected: `rowid`, `_rowid_` or `oid`, whichever no column
        /// has, or the name of the column that is the rowid.
        alias: String,
        /// The column that is the rowid (`INTEGER PRIMARY KEY`), if one is.
        column: Option<usize>,
        /// The smallest and largest rowid when the plan was made; none when the table was empty.
        range: Option<(i64, i64)>,
    },
    /// The columns of the primary key of a table WITHOUT ROWID, in the key's order.
    PrimaryKey(Vec<usize>),
}

/// How one column becomes one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnPlan {
    /// Its name in the source.
    pub source: String,
    /// Its name in the target, unquoted.
    pub target: String,
    /// The type as declared in the source; empty where none is.
    pub declared: String,
    /// Its type in the target.
    #[serde(rename = "type")]
    pub type_: TargetType,
    /// How values get there.
    pub conversion: Conversion,
    /// Whether the target refuses NULL; a row with NULL there is quarantined.
    pub not_null: bool,
    /// The collation of a text column.
    pub collation: Collation,
    /// The default, an expression of PostgreSQL.
    pub default: Option<String>,
    /// Set when the target computes the column: copy leaves it out, verify compares it.
    pub generated: Option<Generated>,
    /// The comment written behind the column's definition in the source.
    pub comment: Option<String>,
}

/// A column that the target computes from others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// The expression, of PostgreSQL. The target stores its value.
    pub expression: String,
}

/// The column of the target that holds a row's rowid while changes are followed, where no column
/// of the table is the rowid: `bigint`, before all others, with a unique index of its own. The copy
/// makes it when changes are to be followed; finishing or rolling back drops it.
pub const FOLLOWED_ROWID: &str = "springtide rowid";

impl TablePlan {
    /// Whether the target's table needs [`FOLLOWED_ROWID`] while changes are followed: its rows
    /// can be told apart in the source by nothing that is copied.
    #[must_use]
    pub fn needs_followed_rowid(&self) -> bool {
        matches!(self.key, RowKey::Rowid { column: None, .. })
    }

    /// Finds a column's position by its name in the source.
    #[must_use]
    pub fn column(&self, source: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| column.source.eq_ignore_ascii_case(source))
    }

    /// Positions of the columns that are copied, in order: all but those that the target computes.
    pub fn copied(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.columns.len()).filter(|&position| self.columns[position].generated.is_none())
    }
}
