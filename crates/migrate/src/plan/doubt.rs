use serde::{Deserialize, Serialize};

/// Something that the user should look at, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// What sort of doubt.
    pub kind: DoubtKind,
    /// The table it is about, by its name in the source; none when it is about the whole.
    pub table: Option<String>,
    /// The column it is about, by its name in the source.
    pub column: Option<String>,
    /// What was found and what the plan does about it, one sentence.
    pub message: String,
    /// How many rows show it.
    pub rows: Option<u64>,
    /// The first of those rows: rowids, or primary keys written as in SQL.
    pub first_rows: Vec<String>,
    /// What the user can do instead, such as a `--cast`.
    pub instead: Option<String>,
}

/// Sorts of doubt, for programs that read the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoubtKind {
    /// Rows that the target cannot take and that will be quarantined.
    Quarantine,
    /// A type chosen against the declared one, or not chosen because of what is stored.
    Type,
    /// A name that had to change, or that needs quotes.
    Name,
    /// A meaning that differs between the two programs.
    Meaning,
    /// Something lost that is not data: an index, a default.
    Dropped,
}

/// An object that does not come across.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name, in the source; for a default, check or generated column `TABLE.COLUMN`.
    pub name: String,
    /// The table it belongs to, in the source.
    pub table: Option<String>,
    /// Why, one sentence.
    pub reason: String,
    /// The line within the object's `CREATE` statement, from 1, where that is.
    pub line: Option<u64>,
}

/// Why a table that the options leave out does not come across.
pub(super) const UNCHOSEN: &str = "it was left out by --tables or --exclude";

impl Skipped {
    /// Whether it is a table that was left out because the options say so.
    #[must_use]
    pub fn is_unchosen(&self) -> bool {
        self.kind == ObjectKind::Table && self.reason == UNCHOSEN
    }
}

/// Kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// A table.
    Table,
    /// A virtual table, or a table in which one keeps its data.
    VirtualTable,
    /// A column.
    Column,
    /// A default of a column.
    Default,
    /// A check constraint.
    Check,
    /// A unique constraint or primary key.
    Key,
    /// A foreign key.
    ForeignKey,
    /// The expression of a generated column; its values are copied.
    Generated,
    /// An index.
    Index,
    /// A view.
    View,
    /// A trigger.
    Trigger,
    /// A collation.
    Collation,
    /// A function.
    Function,
}
