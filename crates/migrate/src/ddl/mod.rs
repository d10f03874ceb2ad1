//! The statements that make a plan's schema, in the order in which they are run.
//!
//! ```text
//! Schema, Helpers, Tables ─> (data) ─> Keys, Indexes ─> Checks, ForeignKeys ─> Validate
//!   ─> Sequences, Comments ─> Views, Triggers
//! ```
//! Statements of one phase do not depend on each other and may run at once, but for views (in
//! order) and triggers (a function before its trigger).

use std::fmt;

use crate::plan::{
    Collation, ColumnPlan, ForeignKeyPlan, IndexPlan, KeyPlan, NOCASE, ObjectPlan, Plan, TablePlan,
    TargetType, quote_literal, quote_name,
};

/// When a statement is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// The schema itself, if it is not there.
    Schema,
    /// Collations and functions that tables need.
    Helpers,
    /// Tables with types, NOT NULL, defaults, identities and computed columns.
    Tables,
    /// Primary keys, unique constraints and unique indexes; after the data.
    Keys,
    /// Indexes that are not unique.
    Indexes,
    /// Check constraints, NOT VALID.
    Checks,
    /// Foreign keys, NOT VALID.
    ForeignKeys,
    /// Validation of checks and foreign keys.
    Validate,
    /// Sequences, set past what is stored.
    Sequences,
    /// Comments.
    Comments,
    /// Views.
    Views,
    /// Triggers with their functions; last, so that they see no row of the migration.
    Triggers,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// When it is run.
    pub phase: Phase,
    /// What it makes, for people: `index users_email_idx`.
    pub object: String,
    /// The table it belongs to, by its name in the target.
    pub table: Option<String>,
    /// The statement, without the closing semicolon.
    pub sql: String,
    /// Whether the migration stops when it fails. One that is not required is run in a savepoint of
    /// its own, and its failure is reported: a view or trigger holds no data.
    pub required: bool,
}

/// All statements of a plan, in order.
#[must_use]
pub fn statements(plan: &Plan) -> Vec<Statement> {
    let mut all = Vec::new();
    if plan.schema != "public" {
        let sql = format!("CREATE SCHEMA IF NOT EXISTS {}", quote_name(&plan.schema));
        all.push(statement(
            Phase::Schema,
            format!("schema {}", plan.schema),
            None,
            sql,
        ));
    }
    for helper in &plan.helpers {
        all.extend(object(Phase::Helpers, helper, true));
    }
    for table in &plan.tables {
        let sql = create_table(plan, table);
        all.push(statement(
            Phase::Tables,
            format!("table {}", table.target),
            Some(table),
            sql,
        ));
    }
    for table in &plan.tables {
        for (key, primary) in table
            .primary_key
            .iter()
            .map(|key| (key, true))
            .chain(table.uniques.iter().map(|key| (key, false)))
        {
            let sql = create_key(plan, table, key, primary);
            all.push(statement(
                Phase::Keys,
                format!("key {}", key.name),
                Some(table),
                sql,
            ));
        }
    }
    for table in &plan.tables {
        for index in &table.indexes {
            let sql = create_index(plan, table, index);
            all.push(statement(
                Phase::Indexes,
                format!("index {}", index.name),
                Some(table),
                sql,
            ));
        }
    }
    for table in &plan.tables {
        for check in &table.checks {
            let sql = format!(
                "ALTER TABLE {} ADD CONSTRAINT {} CHECK ({}) NOT VALID",
                plan.qualified(table),
                quote_name(&check.name),
                check.expression
            );
            all.push(statement(
                Phase::Checks,
                format!("check {}", check.name),
                Some(table),
                sql,
            ));
        }
    }
    for table in &plan.tables {
        for key in &table.foreign_keys {
            let sql = create_foreign_key(plan, table, key);
            all.push(statement(
                Phase::ForeignKeys,
                format!("foreign key {}", key.name),
                Some(table),
                sql,
            ));
        }
    }
    for table in &plan.tables {
        let names = table
            .checks
            .iter()
            .map(|check| &check.name)
            .chain(table.foreign_keys.iter().map(|key| &key.name));
        for name in names {
            let sql = format!(
                "ALTER TABLE {} VALIDATE CONSTRAINT {}",
                plan.qualified(table),
                quote_name(name)
            );
            all.push(statement(
                Phase::Validate,
                format!("constraint {name}"),
                Some(table),
                sql,
            ));
        }
    }
    for table in &plan.tables {
        if let Some(identity) = &table.identity
            && let Some(sql) = set_sequence(plan, table, identity.next)
        {
            all.push(statement(
                Phase::Sequences,
                format!("sequence of {}", table.target),
                Some(table),
                sql,
            ));
        }
    }
    for table in &plan.tables {
        comments(plan, table, &mut all);
    }
    for view in &plan.views {
        all.extend(object(Phase::Views, view, false));
    }
    for trigger in &plan.triggers {
        all.extend(object(Phase::Triggers, trigger, false));
    }
    all
}

/// All statements as a script for people to read, one paragraph each.
#[must_use]
pub fn script(plan: &Plan) -> String {
    let mut text = String::new();
    let mut phase = None;
    for statement in statements(plan) {
        if phase != Some(statement.phase) {
            if phase < Some(Phase::Keys) && statement.phase >= Phase::Keys {
                text.push_str("-- here the rows are copied\n\n");
            }
            phase = Some(statement.phase);
        }
        text.push_str(&statement.sql);
        text.push_str(";\n\n");
    }
    for skipped in &plan.skipped {
        // A reason may quote the source, line ends and all.
        text.push_str(&format!(
            "-- not made: {}\n",
            skipped.to_string().replace('\n', " ")
        ));
    }
    text
}

/// The statement that makes the next number of a table's identity `next`; none without an identity.
#[must_use]
pub fn set_sequence(plan: &Plan, table: &TablePlan, next: i64) -> Option<String> {
    let column = &table.columns[table.identity.as_ref()?.column];
    let most = match column.type_ {
        TargetType::SmallInt => i64::from(i16::MAX),
        TargetType::Integer => i64::from(i32::MAX),
        _ => i64::MAX,
    };
    // When no number is left the sequence is told that it gave out the last one.
    let (value, given) = if next >= most {
        (most, true)
    } else {
        (next.max(1), false)
    };
    Some(format!(
        "SELECT setval(pg_get_serial_sequence({}, {}), {value}, {given})",
        quote_literal(&plan.qualified(table)),
        quote_literal(&column.target)
    ))
}

fn statement(phase: Phase, object: String, table: Option<&TablePlan>, sql: String) -> Statement {
    Statement {
        phase,
        object,
        table: table.map(|table| table.target.clone()),
        sql,
        required: true,
    }
}

fn object(phase: Phase, plan: &ObjectPlan, required: bool) -> impl Iterator<Item = Statement> + '_ {
    plan.statements.iter().map(move |sql| Statement {
        phase,
        object: format!("{} {}", plan.kind, plan.target),
        table: plan.table.clone(),
        sql: sql.clone(),
        required,
    })
}

fn create_table(plan: &Plan, table: &TablePlan) -> String {
    let mut lines = Vec::new();
    for (position, column) in table.columns.iter().enumerate() {
        let is_identity = table
            .identity
            .as_ref()
            .is_some_and(|identity| identity.column == position);
        lines.push(format!(
            "  {}",
            column_definition(plan, column, is_identity)
        ));
    }
    format!(
        "CREATE TABLE {} (\n{}\n)",
        plan.qualified(table),
        lines.join(",\n")
    )
}

fn column_definition(plan: &Plan, column: &ColumnPlan, is_identity: bool) -> String {
    let mut text = format!(
        "{} {}",
        quote_name(&column.target),
        column_type(plan, column)
    );
    if let Some(generated) = &column.generated {
        text.push_str(&format!(
            " GENERATED ALWAYS AS ({}) STORED",
            generated.expression
        ));
    } else if is_identity {
        text.push_str(" GENERATED BY DEFAULT AS IDENTITY");
    } else if let Some(default) = &column.default {
        text.push_str(&format!(" DEFAULT {default}"));
    }
    if column.not_null {
        text.push_str(" NOT NULL");
    }
    text
}

/// A column's type with its collation: text is compared by bytes, as SQLite does, whatever the
/// database's own collation.
fn column_type(plan: &Plan, column: &ColumnPlan) -> String {
    if !column.type_.is_text() {
        return column.type_.to_string();
    }
    match column.collation {
        Collation::Binary | Collation::Rtrim => format!("{} COLLATE \"C\"", column.type_),
        Collation::NoCase => {
            format!(
                "{} COLLATE {}.{}",
                column.type_,
                quote_name(&plan.schema),
                quote_name(NOCASE)
            )
        }
    }
}

fn create_key(plan: &Plan, table: &TablePlan, key: &KeyPlan, primary: bool) -> String {
    let parts: Vec<&str> = key
        .parts
        .iter()
        .map(|part| part.expression.as_str())
        .collect();
    let (table, name, parts) = (
        plan.qualified(table),
        quote_name(&key.name),
        parts.join(", "),
    );
    if primary {
        return format!("ALTER TABLE {table} ADD CONSTRAINT {name} PRIMARY KEY ({parts})");
    }
    if key.constraint {
        return format!("ALTER TABLE {table} ADD CONSTRAINT {name} UNIQUE ({parts})");
    }
    let condition = key
        .condition
        .as_ref()
        .map(|condition| format!(" WHERE {condition}"))
        .unwrap_or_default();
    format!("CREATE UNIQUE INDEX {name} ON {table} ({parts}){condition}")
}

fn create_index(plan: &Plan, table: &TablePlan, index: &IndexPlan) -> String {
    let columns: Vec<String> = (index.columns.iter())
        .map(|column| {
            let order = if column.descending {
                " DESC NULLS LAST"
            } else {
                " NULLS FIRST"
            };
            format!("{}{order}", column.expression)
        })
        .collect();
    let condition = index
        .condition
        .as_ref()
        .map(|condition| format!(" WHERE {condition}"))
        .unwrap_or_default();
    format!(
        "CREATE INDEX {} ON {} ({}){condition}",
        quote_name(&index.name),
        plan.qualified(table),
        columns.join(", ")
    )
}

fn create_foreign_key(plan: &Plan, table: &TablePlan, key: &ForeignKeyPlan) -> String {
    let list = |names: Vec<String>| names.join(", ");
    let columns = key
        .columns
        .iter()
        .map(|&at| quote_name(&table.columns[at].target))
        .collect();
    let parent = format!("{}.{}", quote_name(&plan.schema), quote_name(&key.parent));
    let parent_columns = key
        .parent_columns
        .iter()
        .map(|name| quote_name(name))
        .collect();
    let deferral = if key.initially_deferred {
        " DEFERRABLE INITIALLY DEFERRED"
    } else {
        ""
    };
    format!(
        "ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {parent} ({}) ON DELETE {} ON UPDATE {}{deferral} NOT VALID",
        plan.qualified(table),
        quote_name(&key.name),
        list(columns),
        list(parent_columns),
        key.on_delete.as_sql(),
        key.on_update.as_sql()
    )
}

fn comments(plan: &Plan, table: &TablePlan, all: &mut Vec<Statement>) {
    let name = plan.qualified(table);
    let mut add = |on: String, comment: &str| {
        let sql = format!(
            "COMMENT ON {on} IS {}",
            quote_literal(&comment.replace('\0', ""))
        );
        all.push(statement(
            Phase::Comments,
            format!("comment on {}", table.target),
            Some(table),
            sql,
        ));
    };
    if let Some(comment) = &table.comment {
        add(format!("TABLE {name}"), comment);
    }
    for column in &table.columns {
        if let Some(comment) = &column.comment {
            add(
                format!("COLUMN {name}.{}", quote_name(&column.target)),
                comment,
            );
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};", self.sql)
    }
}
