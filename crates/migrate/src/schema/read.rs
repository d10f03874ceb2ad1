use md5::{Digest, Md5};
use rusqlite::Connection;
use sqlite3_parser::ast::{
    Cmd, ColumnConstraint, CreateTableBody, DeferSubclause, Expr, ForeignKeyClause,
    InitDeferredPred, RefAct, RefArg, Stmt, TableConstraint,
};
use sqlite3_parser::lexer::sql::{Error as ParseError, Parser};
use sqlite3_parser::{Bump, FallibleIterator};

use super::{
    Check, CollationName, Column, ForeignKey, Index, IndexOrigin, IndexPart, IndexTerm, Schema,
    SchemaError, Table, Trigger, Unread, View, VirtualTable, tokens, unquote,
};
use crate::plan::{
    Collation, ObjectKind, ReferentialAction, SOURCE_PREFIX, SourceIdentity, quote_name,
};

/// Reads the schema of the main database.
///
/// # Errors
/// When SQLite cannot answer, or a table's statement is not understood.
pub fn read<'b>(
    source: &Connection,
    path: &str,
    arena: &'b Bump,
) -> Result<Schema<'b>, SchemaError> {
    let objects = objects(source)?;
    let listed = table_list(source)?;
    let mut schema = Schema {
        identity: identity(source, path, &objects)?,
        tables: Vec::new(),
        views: Vec::new(),
        triggers: Vec::new(),
        virtual_tables: Vec::new(),
        unread: Vec::new(),
    };
    let shadows: Vec<&str> = listed
        .iter()
        .filter(|(_, kind)| kind == "shadow")
        .map(|(name, _)| name.as_str())
        .collect();
    for object in &objects {
        let Some(sql) = object.sql.as_deref() else {
            continue;
        };
        if object.name.to_ascii_lowercase().starts_with("sqlite_") || object.kind == "index" {
            continue;
        }
        if object.kind == "table" && shadows.contains(&object.name.as_str()) {
            continue;
        }
        let statement = match parse(sql, arena) {
            Ok(statement) => statement,
            Err(failure) if object.kind == "table" => {
                return Err(SchemaError::Unreadable {
                    table: object.name.clone(),
                    reason: failure.0,
                });
            }
            Err((reason, line)) => {
                let kind = if object.kind == "view" {
                    ObjectKind::View
                } else {
                    ObjectKind::Trigger
                };
                let (name, table) = (object.name.clone(), object.table.clone());
                schema.unread.push(Unread {
                    kind,
                    name,
                    table,
                    reason,
                    line,
                });
                continue;
            }
        };
        match statement {
            Stmt::CreateTable { body, .. } => {
                let table = read_table(
                    source,
                    object,
                    sql,
                    body,
                    arena,
                    &mut schema.unread,
                    &objects,
                )?;
                schema.tables.push(table);
            }
            Stmt::CreateVirtualTable { module_name, .. } => {
                let prefix = format!("{}_", object.name.to_ascii_lowercase());
                let own = shadows
                    .iter()
                    .filter(|name| name.to_ascii_lowercase().starts_with(&prefix));
                schema.virtual_tables.push(VirtualTable {
                    name: object.name.clone(),
                    module: unquote(module_name.0),
                    shadows: own.map(|&name| name.to_owned()).collect(),
                });
            }
            Stmt::CreateView { select, .. } => match view_columns(source, &object.name) {
                Ok(columns) => schema.views.push(View {
                    name: object.name.clone(),
                    sql: sql.to_owned(),
                    columns,
                    select,
                }),
                // A view over what is gone exists in the schema, but answers no question.
                Err(broken) => schema.unread.push(Unread {
                    kind: ObjectKind::View,
                    name: object.name.clone(),
                    table: object.table.clone(),
                    reason: format!("the view does not work in SQLite itself: {broken}"),
                    line: None,
                }),
            },
            Stmt::CreateTrigger { .. } => schema.triggers.push(Trigger {
                name: object.name.clone(),
                sql: sql.to_owned(),
                table: object.table.clone(),
                statement,
            }),
            _ => {}
        }
    }
    Ok(schema)
}

struct Object {
    kind: String,
    name: String,
    table: String,
    sql: Option<String>,
}

fn objects(source: &Connection) -> rusqlite::Result<Vec<Object>> {
    let mut query = source.prepare(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE substr(name, 1, length(?1)) <> ?1 ORDER BY rowid",
    )?;
    query
        .query_map([SOURCE_PREFIX], |row| {
            Ok(Object {
                kind: row.get(0)?,
                name: row.get(1)?,
                table: row.get(2)?,
                sql: row.get(3)?,
            })
        })?
        .collect()
}

fn table_list(source: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut query =
        source.prepare("SELECT name, type FROM pragma_table_list WHERE schema = 'main'")?;
    query
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn identity(
    source: &Connection,
    path: &str,
    objects: &[Object],
) -> rusqlite::Result<SourceIdentity> {
    let mut sorted: Vec<&Object> = objects
        .iter()
        .filter(|object| !object.name.starts_with("sqlite_"))
        .collect();
    sorted.sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
    let mut digest = Md5::new();
    for object in sorted {
        for text in [
            &object.kind,
            &object.name,
            object.sql.as_ref().unwrap_or(&String::new()),
        ] {
            digest.update(text.len().to_be_bytes());
            digest.update(text.as_bytes());
        }
    }
    let number = |pragma: &str| {
        source.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i32>(0))
    };
    Ok(SourceIdentity {
        path: path.to_owned(),
        application_id: number("application_id")?,
        user_version: number("user_version")?,
        encoding: source.query_row("PRAGMA encoding", [], |row| row.get(0))?,
        schema_digest: springtide_machinery::hex::hexadecimal(&digest.finalize()),
    })
}

/// Parses one statement; the error is a sentence, with its line where known.
pub(crate) fn parse<'b>(sql: &str, arena: &'b Bump) -> Result<&'b Stmt<'b>, (String, Option<u64>)> {
    let text = arena.alloc_str(sql);
    let mut parser = Parser::new(arena, text.as_bytes());
    match parser.next() {
        Ok(Some(Cmd::Stmt(statement))) => Ok(arena.alloc(statement)),
        Ok(_) => Err(("there is no statement".to_owned(), None)),
        Err(failure) => {
            let line = match &failure {
                ParseError::ParserError(_, Some(at)) => Some(at.line as u64),
                _ => None,
            };
            Err((format!("the statement is not understood: {failure}"), line))
        }
    }
}

fn view_columns(source: &Connection, view: &str) -> rusqlite::Result<Vec<String>> {
    let query = source.prepare(&format!("SELECT * FROM {}", quote_name(view)))?;
    Ok(query.column_names().map(str::to_owned).collect())
}

fn read_table<'b>(
    source: &Connection,
    object: &Object,
    sql: &str,
    body: &'b CreateTableBody<'b>,
    arena: &'b Bump,
    unread: &mut Vec<Unread>,
    objects: &[Object],
) -> Result<Table<'b>, SchemaError> {
    let CreateTableBody::ColumnsAndConstraints {
        columns: definitions,
        constraints,
        ..
    } = body
    else {
        let reason = "it has no list of columns".to_owned();
        return Err(SchemaError::Unreadable {
            table: object.name.clone(),
            reason,
        });
    };
    let (strict, without_rowid) = source.query_row(
        "SELECT strict, wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1",
        [&object.name],
        |row| Ok((row.get::<_, bool>(0)?, row.get::<_, bool>(1)?)),
    )?;
    let comments = tokens::comments(sql, definitions.len());
    let mut table = Table {
        name: object.name.clone(),
        sql: sql.to_owned(),
        strict,
        without_rowid,
        autoincrement: false,
        columns: Vec::new(),
        primary_key: Vec::new(),
        primary_key_name: None,
        rowid_column: None,
        rowid_alias: None,
        checks: Vec::new(),
        foreign_keys: Vec::new(),
        indexes: Vec::new(),
        comment: comments.table,
    };
    let mut key: Vec<(i64, usize)> = Vec::new();
    let mut query =
        source.prepare("SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?1)")?;
    let mut rows = query.query([&object.name])?;
    while let Some(row) = rows.next()? {
        let place: i64 = row.get(3)?;
        if place > 0 {
            key.push((place, table.columns.len()));
        }
        table.columns.push(Column {
            name: row.get(0)?,
            declared: row.get(1)?,
            not_null: row.get(2)?,
            collation: CollationName::Known(Collation::Binary),
            default: None,
            generated: None,
            stored: row.get::<_, i64>(4)? == 3,
            comment: None,
        });
    }
    key.sort_unstable();
    table.primary_key = key.into_iter().map(|(_, position)| position).collect();
    if table.columns.len() != definitions.len() {
        let reason = format!(
            "it has {} columns for SQLite, and {} as parsed",
            table.columns.len(),
            definitions.len()
        );
        return Err(SchemaError::Unreadable {
            table: table.name,
            reason,
        });
    }

    let mut named_uniques: Vec<(Vec<String>, String)> = Vec::new();
    for (position, definition) in definitions.iter().enumerate() {
        let name = table.columns[position].name.clone();
        table.columns[position].comment = comments.columns[position].clone();
        for constraint in definition.constraints {
            let given = constraint.name.as_ref().map(|name| unquote(name.0));
            match &constraint.constraint {
                ColumnConstraint::PrimaryKey { auto_increment, .. } => {
                    table.autoincrement |= auto_increment;
                    table.primary_key_name = given;
                }
                ColumnConstraint::Unique(_) => {
                    named_uniques.extend(given.map(|given| (vec![name.clone()], given)));
                }
                ColumnConstraint::Check(expression) => table.checks.push(Check {
                    name: given,
                    expression,
                }),
                ColumnConstraint::Default(expression) => {
                    table.columns[position].default = Some(expression);
                }
                ColumnConstraint::Collate { collation_name } => {
                    table.columns[position].collation =
                        CollationName::of(&unquote(collation_name.0));
                }
                ColumnConstraint::ForeignKey {
                    clause,
                    defer_clause,
                } => {
                    let columns = vec![name.clone()];
                    table.foreign_keys.push(foreign_key(
                        given,
                        columns,
                        clause,
                        defer_clause.as_ref(),
                    ));
                }
                ColumnConstraint::Defer(clause) => {
                    if let Some(last) = table.foreign_keys.last_mut() {
                        last.initially_deferred = is_deferred(Some(clause));
                    }
                }
                ColumnConstraint::Generated { expr, .. } => {
                    table.columns[position].generated = Some(expr);
                }
                ColumnConstraint::NotNull { .. } => {}
            }
        }
    }
    for constraint in constraints
        .iter()
        .flat_map(|constraints| constraints.iter())
    {
        let given = constraint.name.as_ref().map(|name| unquote(name.0));
        match &constraint.constraint {
            TableConstraint::PrimaryKey { auto_increment, .. } => {
                table.autoincrement |= auto_increment;
                table.primary_key_name = given;
            }
            TableConstraint::Unique { columns, .. } => {
                let names = columns
                    .iter()
                    .map(|column| column_name(&column.expr).unwrap_or_default())
                    .collect();
                named_uniques.extend(given.map(|given| (names, given)));
            }
            TableConstraint::Check(expression, _) => table.checks.push(Check {
                name: given,
                expression,
            }),
            TableConstraint::ForeignKey {
                columns,
                clause,
                defer_clause,
            } => {
                let columns = columns
                    .iter()
                    .map(|column| unquote(column.col_name.0))
                    .collect();
                table
                    .foreign_keys
                    .push(foreign_key(given, columns, clause, defer_clause.as_ref()));
            }
        }
    }
    table.indexes = read_indexes(source, &table, objects, arena, unread)?;
    for index in &mut table.indexes {
        let names: Option<Vec<&str>> = (index.parts.iter())
            .map(|part| match part.term {
                IndexTerm::Column(position) => Some(table.columns[position].name.as_str()),
                IndexTerm::Rowid | IndexTerm::Expression(_) => None,
            })
            .collect();
        let Some(names) = names else { continue };
        index.constraint = (named_uniques.iter())
            .find(|(columns, _)| {
                index.origin == IndexOrigin::Unique
                    && columns.len() == names.len()
                    && columns
                        .iter()
                        .zip(&names)
                        .all(|(a, b)| a.eq_ignore_ascii_case(b))
            })
            .map(|(_, given)| given.clone());
    }
    if !without_rowid {
        let keyed = table
            .indexes
            .iter()
            .any(|index| index.origin == IndexOrigin::PrimaryKey);
        if let ([only], false) = (table.primary_key.as_slice(), keyed) {
            table.rowid_column = Some(*only);
        }
        table.rowid_alias = match table.rowid_column {
            Some(position) => Some(table.columns[position].name.clone()),
            None => ["rowid", "_rowid_", "oid"]
                .into_iter()
                .find(|alias| table.column(alias).is_none())
                .map(str::to_owned),
        };
    }
    Ok(table)
}

fn read_indexes<'b>(
    source: &Connection,
    table: &Table<'_>,
    objects: &[Object],
    arena: &'b Bump,
    unread: &mut Vec<Unread>,
) -> Result<Vec<Index<'b>>, SchemaError> {
    let mut indexes = Vec::new();
    let mut query = source
        .prepare("SELECT name, \"unique\", origin FROM pragma_index_list(?1) ORDER BY seq DESC")?;
    let listed: Vec<(String, bool, String)> = query
        .query_map([&table.name], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    for (name, unique, origin) in listed {
        let sql = objects
            .iter()
            .find(|object| object.kind == "index" && object.name == name)
            .and_then(|object| object.sql.clone())
            .unwrap_or_default();
        let (mut expressions, mut condition) = (Vec::new(), None);
        if !sql.is_empty() {
            match parse(&sql, arena) {
                Ok(Stmt::CreateIndex {
                    columns,
                    where_clause,
                    ..
                }) => {
                    expressions = columns
                        .iter()
                        .map(|column| without_collation(&column.expr))
                        .collect();
                    condition = where_clause.as_ref();
                }
                Ok(_) => continue,
                Err((reason, line)) => {
                    let (kind, table) = (ObjectKind::Index, table.name.clone());
                    unread.push(Unread {
                        kind,
                        name,
                        table,
                        reason,
                        line,
                    });
                    continue;
                }
            }
        }
        let mut query = source.prepare(
            "SELECT cid, coalesce(coll, 'BINARY'), \"desc\" FROM pragma_index_xinfo(?1) WHERE key = 1 ORDER BY seqno",
        )?;
        let mut rows = query.query([&name])?;
        let mut parts = Vec::new();
        while let Some(row) = rows.next()? {
            let term = match row.get::<_, i64>(0)? {
                -1 => IndexTerm::Rowid,
                -2 => match expressions.get(parts.len()) {
                    Some(expression) => IndexTerm::Expression(expression),
                    None => continue,
                },
                position => IndexTerm::Column(usize::try_from(position).unwrap_or_default()),
            };
            let collation = CollationName::of(&row.get::<_, String>(1)?);
            parts.push(IndexPart {
                term,
                collation,
                descending: row.get(2)?,
            });
        }
        let origin = match origin.as_str() {
            "u" => IndexOrigin::Unique,
            "pk" => IndexOrigin::PrimaryKey,
            _ => IndexOrigin::Created,
        };
        indexes.push(Index {
            name,
            sql,
            unique,
            origin,
            parts,
            condition,
            constraint: None,
        });
    }
    Ok(indexes)
}

/// The expression without a `COLLATE` around it, which `pragma_index_xinfo` knows already.
fn without_collation<'b>(expression: &'b Expr<'b>) -> &'b Expr<'b> {
    match expression {
        Expr::Collate(inner, _) => without_collation(inner),
        _ => expression,
    }
}

fn column_name(expression: &Expr<'_>) -> Option<String> {
    match without_collation(expression) {
        Expr::Id(id) => Some(unquote(id.0)),
        Expr::Name(name) => Some(unquote(name.0)),
        Expr::Literal(sqlite3_parser::ast::Literal::String(text)) => Some(unquote(text)),
        _ => None,
    }
}

fn foreign_key(
    name: Option<String>,
    columns: Vec<String>,
    clause: &ForeignKeyClause<'_>,
    deferral: Option<&DeferSubclause>,
) -> ForeignKey {
    let mut key = ForeignKey {
        name,
        columns,
        parent: unquote(clause.tbl_name.0),
        parent_columns: clause.columns.map(|columns| {
            columns
                .iter()
                .map(|column| unquote(column.col_name.0))
                .collect()
        }),
        on_delete: ReferentialAction::NoAction,
        on_update: ReferentialAction::NoAction,
        initially_deferred: is_deferred(deferral),
    };
    for argument in clause.args {
        match argument {
            RefArg::OnDelete(action) => key.on_delete = referential_action(*action),
            RefArg::OnUpdate(action) => key.on_update = referential_action(*action),
            // SQLite reads MATCH and ON INSERT and gives them no meaning.
            RefArg::OnInsert(_) | RefArg::Match(_) => {}
        }
    }
    key
}

fn is_deferred(clause: Option<&DeferSubclause>) -> bool {
    clause.is_some_and(|clause| {
        clause.deferrable && clause.init_deferred == Some(InitDeferredPred::InitiallyDeferred)
    })
}

fn referential_action(action: RefAct) -> ReferentialAction {
    match action {
        RefAct::SetNull => ReferentialAction::SetNull,
        RefAct::SetDefault => ReferentialAction::SetDefault,
        RefAct::Cascade => ReferentialAction::Cascade,
        RefAct::Restrict => ReferentialAction::Restrict,
        RefAct::NoAction => ReferentialAction::NoAction,
    }
}
