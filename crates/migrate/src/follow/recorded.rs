//! What the triggers need to know of a table: its key, and what must be unique in it.

use rusqlite::{Connection, OptionalExtension as _};
use sqlite3_parser::Bump;
use sqlite3_parser::FallibleIterator as _;
use sqlite3_parser::ast::{Cmd, Stmt};
use sqlite3_parser::lexer::sql::Parser;

use super::FollowError;
use crate::plan::{RowKey, TablePlan, quote_literal, quote_name};

/// A table whose changes are recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedTable {
    /// Its position in the plan, which stands for it in the log.
    pub number: usize,
    /// Its name in the source.
    pub name: String,
    /// The parts of the key that the log keeps.
    pub key: Vec<KeyColumn>,
    /// Whether the key is the rowid: one integer.
    pub rowid: bool,
    /// Each set of values that must be unique, beyond the rowid: where REPLACE deletes rows, for
    /// which no delete trigger fires.
    pub uniques: Vec<UniqueLookup>,
}

/// One part of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyColumn {
    /// Its name in the source.
    pub name: String,
    /// The collation by which the key's index compares it.
    pub collation: String,
}

/// A condition, over a row of the table and `NEW`, that holds for each row `NEW` would conflict
/// with in one unique index. It may hold for more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UniqueLookup(pub String);

/// A column as `PRAGMA table_xinfo` tells it.
struct Column {
    name: String,
    not_null: bool,
    default: Option<String>,
}

impl RecordedTable {
    /// Asks the source about a table of the plan.
    ///
    /// # Errors
    /// When the source cannot be read, or an index expression cannot be understood.
    pub fn read(source: &Connection, number: usize, plan: &TablePlan) -> Result<Self, FollowError> {
        let columns = columns(source, &plan.source)?;
        let mut table = Self {
            number,
            name: plan.source.clone(),
            key: Vec::new(),
            rowid: false,
            uniques: Vec::new(),
        };
        match &plan.key {
            RowKey::Rowid { alias, .. } => {
                table.rowid = true;
                table.key.push(KeyColumn {
                    name: alias.clone(),
                    collation: "BINARY".to_owned(),
                });
            }
            RowKey::PrimaryKey(positions) => {
                for &position in positions {
                    table.key.push(KeyColumn {
                        name: plan.columns[position].source.clone(),
                        collation: "BINARY".to_owned(),
                    });
                }
            }
        }
        for index in unique_indexes(source, &plan.source)? {
            let parts = index_parts(source, &index.name)?;
            if index.origin == "pk" && !table.rowid {
                for part in &parts {
                    let column = part.column.and_then(|at| columns.get(at));
                    let key = column.and_then(|column| {
                        table.key.iter_mut().find(|key| key.name == column.name)
                    });
                    if let Some(key) = key {
                        key.collation.clone_from(&part.collation);
                    }
                }
            }
            table
                .uniques
                .push(lookup(source, &columns, &index, &parts)?);
        }
        Ok(table)
    }
}

struct UniqueIndex {
    name: String,
    /// `c` by CREATE INDEX, `u` by UNIQUE, `pk` by PRIMARY KEY.
    origin: String,
}

struct IndexPart {
    /// The column's position; None for an expression.
    column: Option<usize>,
    collation: String,
}

fn columns(source: &Connection, table: &str) -> Result<Vec<Column>, FollowError> {
    let mut statement = source
        .prepare("SELECT name, \"notnull\", dflt_value FROM pragma_table_xinfo(?1) ORDER BY cid")?;
    let rows = statement.query_map([table], |row| {
        Ok(Column {
            name: row.get(0)?,
            not_null: row.get(1)?,
            default: row.get(2)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn unique_indexes(source: &Connection, table: &str) -> Result<Vec<UniqueIndex>, FollowError> {
    let mut statement = source
        .prepare("SELECT name, origin FROM pragma_index_list(?1) WHERE \"unique\" ORDER BY name")?;
    let rows = statement.query_map([table], |row| {
        Ok(UniqueIndex {
            name: row.get(0)?,
            origin: row.get(1)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn index_parts(source: &Connection, index: &str) -> Result<Vec<IndexPart>, FollowError> {
    let mut statement =
        source.prepare("SELECT cid, coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno")?;
    let rows = statement.query_map([index], |row| {
        let column: i64 = row.get(0)?;
        Ok(IndexPart {
            column: usize::try_from(column).ok(),
            collation: row
                .get::<_, Option<String>>(1)?
                .unwrap_or_else(|| "BINARY".to_owned()),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn lookup(
    source: &Connection,
    columns: &[Column],
    index: &UniqueIndex,
    parts: &[IndexPart],
) -> Result<UniqueLookup, FollowError> {
    // A table WITHOUT ROWID is its primary key's index: that one is not listed.
    let text: Option<Option<String>> = source
        .query_row(
            "SELECT sql FROM sqlite_schema WHERE type = 'index' AND name = ?1",
            [&index.name],
            |row| row.get(0),
        )
        .optional()?;
    let written = match text.flatten() {
        Some(text) => WrittenIndex::parse(&index.name, &text)?,
        // Made for a constraint: plain columns, the whole table.
        None => WrittenIndex {
            expressions: Vec::new(),
            condition: None,
        },
    };
    let mut terms = Vec::new();
    // First, so that a partial index is seen to cover the question.
    terms.extend(written.condition.map(|condition| format!("({condition})")));
    for (at, part) in parts.iter().enumerate() {
        let collation = quote_name(&part.collation);
        let term = match part.column.and_then(|column| columns.get(column)) {
            Some(column) => {
                let name = quote_name(&column.name);
                format!("{name} COLLATE {collation} = {}", new_value(column))
            }
            None => {
                let expression = written
                    .expressions
                    .get(at)
                    .ok_or_else(|| FollowError::Index {
                        index: index.name.clone(),
                        reason: "it has fewer expressions than SQLite says".to_owned(),
                    })?;
                // The expression over NEW: the same text over a row of NEW's values that bear the
                // columns' names.
                let row: Vec<String> = columns
                    .iter()
                    .map(|column| format!("{} AS {}", new_value(column), quote_name(&column.name)))
                    .collect();
                format!(
                    "({expression}) COLLATE {collation} = (SELECT {expression} FROM (SELECT {}))",
                    row.join(", ")
                )
            }
        };
        terms.push(term);
    }
    Ok(UniqueLookup(terms.join(" AND ")))
}

/// The value of a column that a conflict is about. NOT NULL ON CONFLICT REPLACE stores the default
/// for NULL, only after the triggers that run before.
fn new_value(column: &Column) -> String {
    let name = quote_name(&column.name);
    match &column.default {
        Some(default) if column.not_null => {
            format!("coalesce(NEW.{name}, {})", default_expression(default))
        }
        _ => format!("NEW.{name}"),
    }
}

/// A default as an expression: a bare word is text there, and a name here.
fn default_expression(default: &str) -> String {
    const KEYWORDS: [&str; 6] = [
        "null",
        "true",
        "false",
        "current_time",
        "current_date",
        "current_timestamp",
    ];
    let is_word = default.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && default
            .chars()
            .all(|c| c.is_alphanumeric() || c == '_' || c == '$');
    if is_word
        && !KEYWORDS
            .iter()
            .any(|word| default.eq_ignore_ascii_case(word))
    {
        return quote_literal(default);
    }
    match default
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(quoted) => quote_literal(&quoted.replace("\"\"", "\"")),
        None => format!("({default})"),
    }
}

struct WrittenIndex {
    expressions: Vec<String>,
    condition: Option<String>,
}

impl WrittenIndex {
    fn parse(index: &str, text: &str) -> Result<Self, FollowError> {
        let error = |reason: String| FollowError::Index {
            index: index.to_owned(),
            reason,
        };
        let memory = Bump::new();
        let mut parser = Parser::new(&memory, text.as_bytes());
        let command = parser
            .next()
            .map_err(|problem| error(problem.to_string()))?;
        let Some(Cmd::Stmt(Stmt::CreateIndex {
            columns,
            where_clause,
            ..
        })) = command
        else {
            return Err(error(
                "its statement in sqlite_schema is not CREATE INDEX".to_owned(),
            ));
        };
        Ok(Self {
            expressions: columns
                .iter()
                .map(|column| column.expr.to_string())
                .collect(),
            condition: where_clause.map(|condition| condition.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_that_is_a_bare_word_is_text() {
        assert_eq!(default_expression("abc"), "'abc'");
        assert_eq!(default_expression("\"it's\""), "'it''s'");
        assert_eq!(default_expression("TRUE"), "(TRUE)");
        assert_eq!(default_expression("-1.5"), "(-1.5)");
        assert_eq!(default_expression("'x'"), "('x')");
    }
}
