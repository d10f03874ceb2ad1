//! The plan of a migration: what becomes what, and every doubt about it with its evidence.
//!
//! A plan is plain data. It is made once from the schema and a scan of what is stored, printed,
//! kept in the target's state, and obeyed by every later step: a step decides nothing that the plan
//! has not decided. Expressions in it are PostgreSQL text already; what could not be translated is
//! in [`Plan::skipped`] with its reason and line.

mod columns;
mod conversion;
mod decide;
mod doubt;
mod key;
mod keys;
mod make;
mod names;
mod objects;
mod options;
mod print;
mod table;

pub use conversion::{Conversion, DateTimeFormat, Fraction, Separator, TargetType, Zone};
pub use doubt::{Doubt, DoubtKind, ObjectKind, Skipped};
pub use key::{
    CheckPlan, Collation, ForeignKeyPlan, IdentityPlan, IndexColumn, IndexPlan, KeyPart, KeyPlan,
    ReferentialAction,
};
pub use make::PlanError;
pub(crate) use names::needs_quotes;
pub use options::{Cast, CastError, Naming, PlanOptions, Using};
pub use table::{ColumnPlan, FOLLOWED_ROWID, Generated, RowKey, TablePlan};

use serde::{Deserialize, Serialize};

/// The collation of NOCASE columns, in the target's schema.
pub const NOCASE: &str = "sqlite_nocase";

/// How a SQLite database becomes a PostgreSQL schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The database that the plan was made from.
    pub source: SourceIdentity,
    /// The schema of the target that receives everything.
    pub schema: String,
    /// The tables that are copied, in the order of the source's schema.
    pub tables: Vec<TablePlan>,
    /// Collations and functions that translated expressions need, each a whole `CREATE` statement.
    pub helpers: Vec<ObjectPlan>,
    /// Views in the order in which they can be created.
    pub views: Vec<ObjectPlan>,
    /// Triggers, each with the function it calls.
    pub triggers: Vec<ObjectPlan>,
    /// What the user should look at before believing the plan.
    pub doubts: Vec<Doubt>,
    /// What does not come across, each with its reason.
    pub skipped: Vec<Skipped>,
}

/// What tells one source, and one state of its schema, from another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceIdentity {
    /// The file as it was named.
    pub path: String,
    /// `PRAGMA application_id`.
    pub application_id: i32,
    /// `PRAGMA user_version`.
    pub user_version: i32,
    /// `PRAGMA encoding`: `UTF-8`, `UTF-16le` or `UTF-16be`.
    pub encoding: String,
    /// MD5, in hexadecimal, of every statement in `sqlite_schema` in order of type and name:
    /// two databases of one digest have the same schema.
    pub schema_digest: String,
}

/// A view, trigger, collation or function of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectPlan {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name in the source; empty for what the source has no counterpart of.
    pub source: String,
    /// Its name in the target, unquoted.
    pub target: String,
    /// The table or view it belongs to, by its name in the target; only for triggers.
    pub table: Option<String>,
    /// The function that a trigger calls, qualified and quoted; it stays when the trigger goes with its table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Whole statements without the closing semicolon, to be run in order. Names are qualified.
    pub statements: Vec<String>,
}

impl Plan {
    /// Finds a table by its name in the source; SQLite ignores the case of ASCII letters in names.
    #[must_use]
    pub fn table(&self, source: &str) -> Option<&TablePlan> {
        self.tables
            .iter()
            .find(|table| table.source.eq_ignore_ascii_case(source))
    }

    /// Statements that drop the functions of its triggers, where they are there.
    pub fn drop_trigger_functions(&self) -> impl Iterator<Item = String> {
        let functions = self
            .triggers
            .iter()
            .filter_map(|trigger| trigger.function.as_ref());
        functions.map(|function| format!("DROP FUNCTION IF EXISTS {function}()"))
    }

    /// The table's name in the target with its schema, quoted for use in SQL.
    #[must_use]
    pub fn qualified(&self, table: &TablePlan) -> String {
        format!("{}.{}", quote_name(&self.schema), quote_name(&table.target))
    }
}

/// Begins the name of every table and trigger that following changes adds to the source. They are
/// no part of its schema: reading the schema and its digest leave them out.
pub const SOURCE_PREFIX: &str = "_tide_migrate_";

/// Quotes a name for SQL, of PostgreSQL and of SQLite alike.
#[must_use]
pub fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Quotes text as a literal of PostgreSQL with `standard_conforming_strings`, and of SQLite.
#[must_use]
pub fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
