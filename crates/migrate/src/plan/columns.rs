//! Columns: names, types, defaults, computed values and numbers that go on by themselves.

use rusqlite::Connection;
use sqlite3_parser::ast::{Expr, Literal};

use super::decide::decide;
use super::make::{Casts, Maker};
use super::names::Names;
use super::{
    Collation, ColumnPlan, Doubt, DoubtKind, Generated, IdentityPlan, ObjectKind, RowKey,
    TablePlan, TargetType, quote_literal,
};
use crate::profile::{ColumnProfile, TableProfile};
use crate::schema::{CollationName, IndexTerm, Table, unquote};
use crate::translate::{CatalogColumn, Refusal, Relation, Translator};

impl Maker {
    /// Names, types, defaults: what the table is before anything refers to it.
    pub(super) fn columns(
        &mut self,
        table: &Table<'_>,
        profile: &TableProfile,
        casts: &Casts<'_>,
        mixed: &[String],
    ) {
        let target = self.relations.take(&table.name);
        let mut names = Names::of_columns(self.naming);
        let mut columns = Vec::new();
        let empty = ColumnProfile::default();
        for (position, column) in table.columns.iter().enumerate() {
            let stored = profile.columns.get(position).unwrap_or(&empty);
            let indexed = table.primary_key.contains(&position)
                || table
                    .indexes
                    .iter()
                    .flat_map(|index| &index.parts)
                    .any(|part| matches!(part.term, IndexTerm::Column(at) if at == position));
            let decision = decide(
                table,
                column,
                stored,
                casts.of(table, &column.name),
                indexed,
                mixed,
            );
            self.plan.doubts.extend(decision.doubts);
            let collation = match &column.collation {
                CollationName::Known(collation) => *collation,
                CollationName::Unknown(name) => {
                    let message = format!(
                        "is compared by the application's own collation {name}: by bytes in PostgreSQL"
                    );
                    self.doubt(
                        DoubtKind::Meaning,
                        Some(&table.name),
                        Some(&column.name),
                        message,
                    );
                    Collation::Binary
                }
            };
            let in_key = table.primary_key.contains(&position);
            let holds_null = stored.nulls.count > 0;
            if holds_null && column.not_null {
                let mut doubt = Doubt {
                    kind: DoubtKind::Quarantine,
                    table: Some(table.name.clone()),
                    column: Some(column.name.clone()),
                    message: "is NOT NULL but holds NULL: these rows go to quarantine".to_owned(),
                    rows: Some(stored.nulls.count),
                    first_rows: Vec::new(),
                    instead: None,
                };
                doubt.first_rows.clone_from(&stored.nulls.first);
                self.plan.doubts.push(doubt);
            }
            columns.push(ColumnPlan {
                source: column.name.clone(),
                target: names.take(&column.name),
                declared: column.declared.clone(),
                type_: decision.type_,
                conversion: decision.conversion,
                not_null: column.not_null || (in_key && !self.key_holds_null(table, profile)),
                collation,
                default: None,
                generated: None,
                comment: column.comment.clone(),
            });
        }
        let key = match (&table.rowid_alias, table.without_rowid) {
            (Some(alias), _) => RowKey::Rowid {
                alias: alias.clone(),
                column: table.rowid_column,
                range: profile.rowids,
            },
            (None, _) if !table.primary_key.is_empty() && !self.key_holds_null(table, profile) => {
                RowKey::PrimaryKey(table.primary_key.clone())
            }
            _ => {
                let reason = "its columns hide the rowid under all its names (rowid, _rowid_, oid) and it has no \
                              primary key: no row can be told from another; rename one of the columns"
                    .to_owned();
                self.skip(ObjectKind::Table, &table.name, None, reason, None);
                return;
            }
        };
        let relation = Relation {
            source: table.name.clone(),
            target: target.clone(),
            columns: columns.iter().map(CatalogColumn::of_plan).collect(),
            rowid: table.rowid_column,
            primary_key: if self.key_holds_null(table, profile) {
                Vec::new()
            } else {
                table.primary_key.clone()
            },
        };
        for (position, column) in table.columns.iter().enumerate() {
            let Some(default) = column.default else {
                continue;
            };
            match self.default(&relation.columns[position], default) {
                Ok(default) => columns[position].default = Some(default),
                Err(refusal) => {
                    let name = format!("{}.{}", table.name, column.name);
                    self.refuse(
                        ObjectKind::Default,
                        &name,
                        Some(&table.name),
                        refusal,
                        &table.sql,
                    );
                }
            }
        }
        self.catalog.relations.push(relation);
        self.plan.tables.push(TablePlan {
            source: table.name.clone(),
            target,
            key,
            columns,
            primary_key: None,
            uniques: Vec::new(),
            checks: Vec::new(),
            foreign_keys: Vec::new(),
            indexes: Vec::new(),
            identity: None,
            rows: profile.rows,
            bytes: profile.bytes,
            comment: table.comment.clone(),
        });
    }

    pub(super) fn key_holds_null(&self, table: &Table<'_>, profile: &TableProfile) -> bool {
        (table.primary_key.iter()).any(|&at| {
            !table.columns[at].not_null
                && profile
                    .columns
                    .get(at)
                    .is_some_and(|column| column.nulls.count > 0)
        })
    }

    fn default(&self, column: &CatalogColumn, default: &Expr<'_>) -> Result<String, Refusal> {
        let translator = Translator {
            catalog: &self.catalog,
        };
        match default {
            // A bare word as a default is text for SQLite.
            Expr::Id(id)
                if !["true", "false"]
                    .iter()
                    .any(|word| id.0.eq_ignore_ascii_case(word)) =>
            {
                let text = quote_literal(&unquote(id.0));
                translator.default(column, &Expr::Literal(Literal::String(&text)))
            }
            _ => translator.default(column, default),
        }
    }

    /// Expressions of computed columns; where one cannot be translated the values are copied.
    pub(super) fn generated(&mut self, table: &Table<'_>) {
        let Some(at) = self.position(&table.name) else {
            return;
        };
        let Some(relation) = self.catalog.find(&table.name).cloned() else {
            return;
        };
        let mut plain = relation.clone();
        // PostgreSQL computes no column from another computed one.
        plain.columns.retain(|column| {
            table
                .column(&column.source)
                .is_none_or(|position| table.columns[position].generated.is_none())
        });
        plain.rowid = None;
        for (position, column) in table.columns.iter().enumerate() {
            let Some(expression) = column.generated else {
                continue;
            };
            let translator = Translator {
                catalog: &self.catalog,
            };
            let made = translator.value(&plain, expression).and_then(|value| {
                if !value.immutable {
                    let reason = format!("{} depends on the time or on settings", value.text);
                    return Err(Refusal::new(column.name.clone(), reason));
                }
                let assigned = translator.assigned(&value, &relation.columns[position])?;
                Ok(stored_real(assigned, &relation.columns[position]))
            });
            let name = format!("{}.{}", table.name, column.name);
            match made {
                Ok(expression) => {
                    self.plan.tables[at].columns[position].generated =
                        Some(Generated { expression });
                    if let Some(relation) = self
                        .catalog
                        .relations
                        .iter_mut()
                        .find(|known| known.source == table.name)
                    {
                        relation.columns[position].generated = true;
                    }
                    if !column.stored {
                        let message =
                            "is computed when read in SQLite; PostgreSQL stores it".to_owned();
                        self.doubt(
                            DoubtKind::Meaning,
                            Some(&table.name),
                            Some(&column.name),
                            message,
                        );
                    }
                }
                Err(refusal) => {
                    let reason = format!(
                        "{}; its values are copied, and new rows must bring their own",
                        refusal.reason
                    );
                    self.refuse(
                        ObjectKind::Generated,
                        &name,
                        Some(&table.name),
                        Refusal { reason, ..refusal },
                        &table.sql,
                    );
                }
            }
        }
    }

    pub(super) fn identities(&mut self, source: &Connection, tables: &[&Table<'_>]) {
        for table in tables {
            let (Some(at), Some(column)) = (self.position(&table.name), table.rowid_column) else {
                continue;
            };
            let is_integer = matches!(
                self.plan.tables[at].columns[column].type_,
                TargetType::SmallInt | TargetType::Integer | TargetType::BigInt
            );
            if !is_integer {
                let message =
                    "numbered new rows in SQLite; its type numbers none in PostgreSQL".to_owned();
                let name = table.columns[column].name.clone();
                self.doubt(DoubtKind::Dropped, Some(&table.name), Some(&name), message);
                continue;
            }
            let mut identity = IdentityPlan {
                column,
                next: 1,
                autoincrement: table.autoincrement,
            };
            let plan = &mut self.plan.tables[at];
            plan.columns[column].not_null = true;
            plan.columns[column].default = None;
            let next = source.query_row(&identity.next_query(plan), [], |row| row.get(0));
            identity.next = next.unwrap_or(i64::MAX);
            let full = identity.next == i64::MAX;
            plan.identity = Some(identity);
            if full {
                let name = table.columns[column].name.clone();
                let message =
                    "holds the largest integer: no number is left for new rows".to_owned();
                self.doubt(DoubtKind::Meaning, Some(&table.name), Some(&name), message);
            }
        }
    }
}

/// A computed real as SQLite stores it: zero has no sign, and what is not a number is NULL.
fn stored_real(expression: String, column: &CatalogColumn) -> String {
    if column.ty == crate::translate::Ty::Real {
        format!("nullif(({expression}) + 0::double precision, 'NaN')")
    } else {
        expression
    }
}
