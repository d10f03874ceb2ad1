//! Keys, indexes, checks and foreign keys.

use super::make::Maker;
use super::names::Names;
use super::{
    CheckPlan, Collation, Doubt, DoubtKind, ForeignKeyPlan, IndexColumn, IndexPlan, KeyPart,
    KeyPlan, ObjectKind, TargetType, quote_name,
};
use crate::profile::TableProfile;
use crate::schema::{self, CollationName, Index, IndexOrigin, IndexTerm, Table, line_of_token};
use crate::translate::{Refusal, Relation, Translator};

/// Letters above which PostgreSQL is sure to refuse an index entry, even compressed.
const LONGEST_INDEXED: u64 = 8_000;

impl Maker {
    pub(super) fn keys_and_checks(&mut self, table: &Table<'_>, profile: &TableProfile) {
        let Some(at) = self.position(&table.name) else {
            return;
        };
        let Some(relation) = self.catalog.find(&table.name).cloned() else {
            return;
        };
        let mut constraints = Names::new(self.naming);
        if !table.primary_key.is_empty() {
            self.primary_key(table, at, profile);
        }
        for index in &table.indexes {
            self.index(table, at, &relation, index, profile);
        }
        for (number, check) in table.checks.iter().enumerate() {
            let source = format!("{}", check.expression);
            let wanted = check.name.clone().unwrap_or_else(|| match number {
                0 => format!("{}_check", table.name),
                _ => format!("{}_check{number}", table.name),
            });
            let translator = Translator {
                catalog: &self.catalog,
            };
            match translator.condition(&relation, check.expression) {
                Ok(condition) => {
                    let name = constraints.take(&wanted);
                    self.plan.tables[at].checks.push(CheckPlan {
                        name,
                        source,
                        expression: condition.text,
                    });
                }
                Err(refusal) => {
                    let name = check
                        .name
                        .clone()
                        .unwrap_or_else(|| format!("{} CHECK ({source})", table.name));
                    self.refuse(
                        ObjectKind::Check,
                        &name,
                        Some(&table.name),
                        refusal,
                        &table.sql,
                    );
                }
            }
        }
    }

    fn primary_key(&mut self, table: &Table<'_>, at: usize, profile: &TableProfile) {
        let parts: Vec<KeyPart> = (table.primary_key.iter())
            .map(|&position| KeyPart {
                column: Some(position),
                expression: quote_name(&self.plan.tables[at].columns[position].target),
            })
            .collect();
        let wanted = table
            .primary_key_name
            .clone()
            .unwrap_or_else(|| format!("{}_pkey", table.name));
        let name = self.relations.take(&wanted);
        let source = table.primary_key_name.clone().unwrap_or_default();
        let key = KeyPlan {
            name,
            source,
            parts,
            condition: None,
            constraint: true,
        };
        if self.key_holds_null(table, profile) {
            // A row may hold several: those of one column are counted.
            let nulls = table
                .primary_key
                .iter()
                .filter_map(|&part| profile.columns.get(part))
                .map(|column| &column.nulls)
                .max_by_key(|tally| tally.count);
            let (rows, first_rows) = nulls.map_or((0, Vec::new()), |tally| {
                (tally.count, tally.first.iter().take(5).cloned().collect())
            });
            self.plan.doubts.push(Doubt {
                kind: DoubtKind::Type,
                table: Some(table.name.clone()),
                column: None,
                message: "has NULL in its primary key, which SQLite lets through: it becomes a unique constraint".to_owned(),
                rows: Some(rows),
                first_rows,
                instead: None,
            });
            self.plan.tables[at].uniques.push(key);
        } else {
            self.plan.tables[at].primary_key = Some(key);
        }
    }

    fn index(
        &mut self,
        table: &Table<'_>,
        at: usize,
        relation: &Relation,
        index: &Index<'_>,
        profile: &TableProfile,
    ) {
        let kind = if index.unique {
            ObjectKind::Key
        } else {
            ObjectKind::Index
        };
        let sql = if index.sql.is_empty() {
            &table.sql
        } else {
            &index.sql
        };
        let called = match index.origin {
            IndexOrigin::Created => index.name.clone(),
            IndexOrigin::Unique | IndexOrigin::PrimaryKey => {
                let columns: Vec<&str> = (index.parts.iter())
                    .map(|part| {
                        if let IndexTerm::Column(at) = part.term {
                            table.columns[at].name.as_str()
                        } else {
                            ""
                        }
                    })
                    .collect();
                index
                    .constraint
                    .clone()
                    .unwrap_or_else(|| format!("{}_{}_key", table.name, columns.join("_")))
            }
        };
        let (mut parts, mut columns) = (Vec::new(), Vec::new());
        for part in &index.parts {
            let made = self.index_part(table, at, relation, part, profile);
            match made {
                Ok((column, expression)) => {
                    columns.push(IndexColumn {
                        expression: expression.clone(),
                        descending: part.descending,
                    });
                    parts.push(KeyPart { column, expression });
                }
                Err(refusal) => return self.refuse(kind, &called, Some(&table.name), refusal, sql),
            }
        }
        let condition = match index.condition {
            None => None,
            Some(condition) => {
                let translator = Translator {
                    catalog: &self.catalog,
                };
                match translator.condition(relation, condition) {
                    Ok(condition) if condition.immutable => Some(condition.text),
                    Ok(condition) => {
                        let reason = format!(
                            "its condition {} depends on the time or on settings",
                            condition.text
                        );
                        return self.refuse(
                            kind,
                            &called,
                            Some(&table.name),
                            Refusal::new("WHERE", reason),
                            sql,
                        );
                    }
                    Err(refusal) => {
                        return self.refuse(kind, &called, Some(&table.name), refusal, sql);
                    }
                }
            }
        };
        let plain = parts.iter().all(|part| part.column.is_some());
        // A key that compares by RTRIM, say, gets an index beside the primary key.
        if index.origin == IndexOrigin::PrimaryKey && plain {
            return;
        }
        let source = if index.origin == IndexOrigin::Created {
            index.name.clone()
        } else {
            String::new()
        };
        let name = self.relations.take(&called);
        if index.unique {
            let constraint = plain && condition.is_none() && index.origin != IndexOrigin::Created;
            self.plan.tables[at].uniques.push(KeyPlan {
                name,
                source,
                parts,
                condition,
                constraint,
            });
        } else {
            self.plan.tables[at].indexes.push(IndexPlan {
                name,
                source,
                columns,
                condition,
            });
        }
    }

    /// The column an index orders by, if it is a plain one, and the expression.
    fn index_part(
        &self,
        table: &Table<'_>,
        at: usize,
        relation: &Relation,
        part: &schema::IndexPart<'_>,
        profile: &TableProfile,
    ) -> Result<(Option<usize>, String), Refusal> {
        let collation = match &part.collation {
            CollationName::Known(collation) => *collation,
            CollationName::Unknown(name) => {
                return Err(Refusal::new(
                    name,
                    format!("collation {name} is the application's own"),
                ));
            }
        };
        match part.term {
            IndexTerm::Rowid => match table.rowid_column {
                Some(position) => Ok((
                    Some(position),
                    quote_name(&self.plan.tables[at].columns[position].target),
                )),
                None => Err(Refusal::new(
                    "rowid",
                    "it orders by the rowid, which is in no column of the target",
                )),
            },
            IndexTerm::Column(position) => {
                let column = &self.plan.tables[at].columns[position];
                let longest = profile
                    .columns
                    .get(position)
                    .map_or(0, |column| column.longest);
                if matches!(column.type_, TargetType::Json) {
                    return Err(Refusal::new(
                        &column.source,
                        "PostgreSQL cannot order values of type json",
                    ));
                }
                if longest > LONGEST_INDEXED {
                    let reason = format!(
                        "{} holds a text of {longest} letters, too long for an index of PostgreSQL",
                        column.source
                    );
                    return Err(Refusal::new(&column.source, reason));
                }
                let quoted = quote_name(&column.target);
                if !column.type_.is_text() {
                    return Ok((Some(position), quoted));
                }
                Ok(match (collation, column.collation) {
                    (Collation::Binary, Collation::Binary | Collation::Rtrim)
                    | (Collation::NoCase, Collation::NoCase) => (Some(position), quoted),
                    (Collation::Binary, Collation::NoCase) => {
                        (None, format!("{quoted} COLLATE \"C\""))
                    }
                    (Collation::NoCase, _) => (None, format!("lower({quoted} COLLATE \"C\")")),
                    (Collation::Rtrim, _) => (None, format!("rtrim({quoted}, ' ') COLLATE \"C\"")),
                })
            }
            IndexTerm::Expression(expression) => {
                let translator = Translator {
                    catalog: &self.catalog,
                };
                let value = translator.index_expression(relation, expression, collation)?;
                if !value.immutable {
                    let reason = format!("{} depends on the time or on settings", value.text);
                    return Err(Refusal::new("", reason));
                }
                Ok((None, format!("({})", value.text)))
            }
        }
    }

    pub(super) fn foreign_keys(&mut self, table: &Table<'_>) {
        let Some(at) = self.position(&table.name) else {
            return;
        };
        let mut names = Names::new(self.naming);
        for check in &self.plan.tables[at].checks {
            names.take(&check.name);
        }
        for key in &table.foreign_keys {
            let wanted = key
                .name
                .clone()
                .unwrap_or_else(|| format!("{}_{}_fkey", table.name, key.columns.join("_")));
            match self.foreign_key(table, at, key) {
                Ok(plan) => {
                    let name = names.take(&wanted);
                    self.plan.tables[at]
                        .foreign_keys
                        .push(ForeignKeyPlan { name, ..plan });
                }
                Err(reason) => {
                    let called = format!(
                        "{} ({}) REFERENCES {}",
                        table.name,
                        key.columns.join(", "),
                        key.parent
                    );
                    let line = line_of_token(&table.sql, &key.parent);
                    self.skip(
                        ObjectKind::ForeignKey,
                        &called,
                        Some(&table.name),
                        reason,
                        line,
                    );
                }
            }
        }
    }

    fn foreign_key(
        &self,
        table: &Table<'_>,
        at: usize,
        key: &schema::ForeignKey,
    ) -> Result<ForeignKeyPlan, String> {
        let child = &self.plan.tables[at];
        let columns: Option<Vec<usize>> =
            key.columns.iter().map(|name| child.column(name)).collect();
        let Some(columns) = columns else {
            return Err(format!("{} has no such columns", table.name));
        };
        let Some(parent) = self.plan.table(&key.parent) else {
            return Err(format!("{} is not in the target", key.parent));
        };
        let parent_columns: Vec<usize> = match &key.parent_columns {
            Some(names) => {
                let found: Option<Vec<usize>> =
                    names.iter().map(|name| parent.column(name)).collect();
                found.ok_or_else(|| {
                    format!("{} has no columns {}", parent.source, names.join(", "))
                })?
            }
            None => match &parent.primary_key {
                Some(primary) => primary
                    .parts
                    .iter()
                    .filter_map(|part| part.column)
                    .collect(),
                None => return Err(format!("{} has no primary key to refer to", parent.source)),
            },
        };
        if parent_columns.len() != columns.len() {
            return Err(format!(
                "it has {} columns for {} of {}",
                columns.len(),
                parent_columns.len(),
                parent.source
            ));
        }
        let is_key = |key: &KeyPlan| {
            let parts: Vec<usize> = key.parts.iter().filter_map(|part| part.column).collect();
            key.condition.is_none()
                && parts.len() == key.parts.len()
                && parts.len() == parent_columns.len()
                && parts.iter().all(|part| parent_columns.contains(part))
        };
        if !parent.primary_key.iter().chain(&parent.uniques).any(is_key) {
            let names: Vec<&str> = parent_columns
                .iter()
                .map(|&at| parent.columns[at].source.as_str())
                .collect();
            return Err(format!(
                "{} has no key of the columns {}",
                parent.source,
                names.join(", ")
            ));
        }
        for (&from, &to) in columns.iter().zip(&parent_columns) {
            let (from, to) = (&child.columns[from], &parent.columns[to]);
            if family(&from.type_) != family(&to.type_) {
                return Err(format!(
                    "{} is {} but {}.{} is {}; --cast can make them the same",
                    from.source, from.type_, parent.source, to.source, to.type_
                ));
            }
            if from.type_.is_text() && from.collation != to.collation {
                return Err(format!(
                    "{} and {}.{} are compared by different collations",
                    from.source, parent.source, to.source
                ));
            }
        }
        Ok(ForeignKeyPlan {
            name: String::new(),
            columns,
            parent_source: parent.source.clone(),
            parent: parent.target.clone(),
            parent_columns: parent_columns
                .iter()
                .map(|&at| parent.columns[at].target.clone())
                .collect(),
            on_delete: key.on_delete,
            on_update: key.on_update,
            initially_deferred: key.initially_deferred,
        })
    }
}

/// Types that a foreign key can join.
fn family(type_: &TargetType) -> u8 {
    match type_ {
        TargetType::SmallInt | TargetType::Integer | TargetType::BigInt => 1,
        TargetType::Text | TargetType::VarChar(_) => 2,
        TargetType::Real | TargetType::DoublePrecision => 3,
        TargetType::Numeric { .. } => 4,
        TargetType::Boolean => 5,
        TargetType::Bytea => 6,
        TargetType::Date => 7,
        TargetType::Time => 8,
        TargetType::Timestamp => 9,
        TargetType::TimestampTz => 10,
        TargetType::Uuid => 11,
        TargetType::Json | TargetType::Jsonb => 12,
    }
}
