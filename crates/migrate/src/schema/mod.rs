//! The schema of the source: what `sqlite_schema` and the pragmas say, and what each `CREATE`
//! statement says beyond them.
//!
//! The pragmas are believed for what they know (columns, keys, collations of indexes, generated
//! columns), since they are SQLite's own reading; the parsed statements give expressions, deferral,
//! actions and comments.

mod read;
mod tokens;

pub use read::read;
pub(crate) use tokens::line_of_token;

use sqlite3_parser::ast::{Expr, Select, Stmt};

use crate::plan::{Collation, ObjectKind, ReferentialAction, SourceIdentity};

/// Why a schema could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// SQLite could not answer.
    #[error("cannot read the schema of the SQLite database: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// A table's statement is not understood, so that nothing can be promised about it.
    #[error(
        "cannot read the CREATE statement of table {table}: {reason}; leave the table out with --exclude {table}"
    )]
    Unreadable {
        /// The table.
        table: String,
        /// What the parser said.
        reason: String,
    },
}

/// Everything in a database but its rows. Expressions live as long as the arena they were read into.
#[derive(Debug)]
pub struct Schema<'b> {
    /// Which database, and which state of its schema.
    pub identity: SourceIdentity,
    /// Ordinary tables.
    pub tables: Vec<Table<'b>>,
    /// Views.
    pub views: Vec<View<'b>>,
    /// Triggers.
    pub triggers: Vec<Trigger<'b>>,
    /// Virtual tables with the tables in which they keep their data.
    pub virtual_tables: Vec<VirtualTable>,
    /// Objects whose statement could not be parsed.
    pub unread: Vec<Unread>,
}

/// An ordinary table.
#[derive(Debug)]
pub struct Table<'b> {
    /// Its name.
    pub name: String,
    /// Its `CREATE TABLE` statement.
    pub sql: String,
    /// Whether its columns take only what their type says.
    pub strict: bool,
    /// Whether it is clustered by its primary key.
    pub without_rowid: bool,
    /// Whether rowids of deleted rows are never used again.
    pub autoincrement: bool,
    /// Its columns in order.
    pub columns: Vec<Column<'b>>,
    /// The columns of the primary key in the key's order; empty without one.
    pub primary_key: Vec<usize>,
    /// The name given to the primary key's constraint.
    pub primary_key_name: Option<String>,
    /// The column that is the rowid.
    pub rowid_column: Option<usize>,
    /// A name by which the rowid can be selected; none when columns took all three, or without rowid.
    pub rowid_alias: Option<String>,
    /// Checks of columns and of the table.
    pub checks: Vec<Check<'b>>,
    /// Foreign keys in the order written.
    pub foreign_keys: Vec<ForeignKey>,
    /// Indexes, among them those of UNIQUE and PRIMARY KEY constraints.
    pub indexes: Vec<Index<'b>>,
    /// Comments that belong to the table rather than to a column.
    pub comment: Option<String>,
}

/// A column.
#[derive(Debug)]
pub struct Column<'b> {
    /// Its name.
    pub name: String,
    /// Its declared type; empty without one.
    pub declared: String,
    /// Whether NULL is refused.
    pub not_null: bool,
    /// How its text is compared.
    pub collation: CollationName,
    /// Its default.
    pub default: Option<&'b Expr<'b>>,
    /// Its expression when it is computed.
    pub generated: Option<&'b Expr<'b>>,
    /// Whether a computed value is stored.
    pub stored: bool,
    /// The comment written with it.
    pub comment: Option<String>,
}

/// A collation by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CollationName {
    /// One of SQLite's own.
    Known(Collation),
    /// One that the application registers.
    Unknown(String),
}

impl CollationName {
    /// Finds SQLite's own collations.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name.to_ascii_uppercase().as_str() {
            "BINARY" => Self::Known(Collation::Binary),
            "NOCASE" => Self::Known(Collation::NoCase),
            "RTRIM" => Self::Known(Collation::Rtrim),
            _ => Self::Unknown(name.to_owned()),
        }
    }
}

/// A check constraint.
#[derive(Debug)]
pub struct Check<'b> {
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// What must not be false.
    pub expression: &'b Expr<'b>,
}

/// A foreign key.
#[derive(Debug)]
pub struct ForeignKey {
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// The referring columns.
    pub columns: Vec<String>,
    /// The table referred to.
    pub parent: String,
    /// The columns referred to; none means the parent's primary key.
    pub parent_columns: Option<Vec<String>>,
    /// What happens when the parent is deleted.
    pub on_delete: ReferentialAction,
    /// What happens when the parent's key changes.
    pub on_update: ReferentialAction,
    /// Whether it is checked at the end of the transaction.
    pub initially_deferred: bool,
}

/// Where an index comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexOrigin {
    /// A `CREATE INDEX` statement.
    Created,
    /// A UNIQUE constraint.
    Unique,
    /// The PRIMARY KEY.
    PrimaryKey,
}

/// An index.
#[derive(Debug)]
pub struct Index<'b> {
    /// Its name; SQLite's own for the index of a constraint.
    pub name: String,
    /// Its statement; empty for the index of a constraint.
    pub sql: String,
    /// Whether it refuses duplicates.
    pub unique: bool,
    /// Where it comes from.
    pub origin: IndexOrigin,
    /// What it orders by.
    pub parts: Vec<IndexPart<'b>>,
    /// The condition of a partial index.
    pub condition: Option<&'b Expr<'b>>,
    /// The name given to the constraint it comes from.
    pub constraint: Option<String>,
}

/// One column or expression of an index.
#[derive(Debug)]
pub struct IndexPart<'b> {
    /// What is ordered.
    pub term: IndexTerm<'b>,
    /// How text is compared.
    pub collation: CollationName,
    /// Whether it descends.
    pub descending: bool,
}

/// What an index orders by.
#[derive(Debug)]
pub enum IndexTerm<'b> {
    /// A column.
    Column(usize),
    /// The rowid.
    Rowid,
    /// An expression.
    Expression(&'b Expr<'b>),
}

/// A view.
#[derive(Debug)]
pub struct View<'b> {
    /// Its name.
    pub name: String,
    /// Its statement.
    pub sql: String,
    /// The names of its columns, as SQLite calls them.
    pub columns: Vec<String>,
    /// Its query.
    pub select: &'b Select<'b>,
}

/// A trigger.
#[derive(Debug)]
pub struct Trigger<'b> {
    /// Its name.
    pub name: String,
    /// Its statement.
    pub sql: String,
    /// The table or view it watches.
    pub table: String,
    /// The statement, always a `CREATE TRIGGER`.
    pub statement: &'b Stmt<'b>,
}

/// A virtual table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualTable {
    /// Its name.
    pub name: String,
    /// The module that keeps it, such as `fts5`.
    pub module: String,
    /// The tables in which it keeps its data.
    pub shadows: Vec<String>,
}

/// An object whose statement could not be parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// What it is.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
    /// The table it belongs to.
    pub table: String,
    /// What the parser said.
    pub reason: String,
    /// The line in the statement.
    pub line: Option<u64>,
}

impl Table<'_> {
    /// Finds a column by name; SQLite ignores the case of ASCII letters.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns
            .iter()
            .position(|column| column.name.eq_ignore_ascii_case(name))
    }
}

impl Schema<'_> {
    /// Finds a table by name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Table<'_>> {
        self.tables
            .iter()
            .find(|table| table.name.eq_ignore_ascii_case(name))
    }
}

/// Takes the quotes off a name as SQLite writes it: `"a""b"`, `[a b]`, `` `a` ``, `'a'` or plain.
#[must_use]
pub fn unquote(name: &str) -> String {
    let mut letters = name.chars();
    let quote = match letters.next() {
        Some('[') if name.ends_with(']') && name.len() >= 2 => {
            return name[1..name.len() - 1].to_owned();
        }
        Some(quote @ ('"' | '`' | '\'')) if name.len() >= 2 && name.ends_with(quote) => quote,
        _ => return name.to_owned(),
    };
    let doubled: String = [quote, quote].iter().collect();
    name[1..name.len() - 1].replace(&doubled, &quote.to_string())
}
