//! Triggers as functions of plpgsql.

use sqlite3_parser::ast::{
    OneSelect, ResolveType, Select, Set, Stmt, TriggerCmd, TriggerEvent, TriggerTime, Upsert,
    UpsertDo,
};

use super::catalog::{CatalogColumn, Relation, Scope, Source};
use super::sql::Sql;
use super::{Refusal, Translator};
use crate::plan::quote_name;
use crate::schema::unquote;

/// What fires a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Insert,
    Update,
    Delete,
}

/// A trigger in PostgreSQL's words.
#[derive(Debug, Clone)]
pub(crate) struct TranslatedTrigger {
    /// The table or view it watches, by its name in the source.
    pub(crate) table: String,
    pub(crate) event: Event,
    /// `BEFORE`, `AFTER` or `INSTEAD OF`.
    pub(crate) time: &'static str,
    /// `INSERT`, `DELETE`, `UPDATE` or `UPDATE OF …`.
    pub(crate) on: String,
    /// Statements of plpgsql, each a line, without the RETURN at the end.
    pub(crate) body: Vec<String>,
    /// What the statements change, by name in the source.
    pub(crate) writes: Vec<(String, Event)>,
    /// What the function returns.
    pub(crate) returns: &'static str,
}

pub(super) struct Body<'t> {
    pub(super) time: TriggerTime,
    pub(super) table: &'t str,
    pub(super) lines: Vec<String>,
    writes: Vec<(String, Event)>,
}

impl Translator<'_> {
    pub(crate) fn trigger(&self, statement: &Stmt<'_>) -> Result<TranslatedTrigger, Refusal> {
        let Stmt::CreateTrigger {
            time,
            event,
            tbl_name,
            when_clause,
            commands,
            ..
        } = statement
        else {
            return Err(Refusal::new("", "it is no CREATE TRIGGER statement"));
        };
        let table = unquote(tbl_name.name.0);
        let Some(relation) = self.catalog.find(&table) else {
            return Err(Refusal::new(
                &table,
                format!("{table} is not in the target"),
            ));
        };
        let time = time.unwrap_or(TriggerTime::Before);
        let (kind, on) = match event {
            TriggerEvent::Insert => (Event::Insert, "INSERT".to_owned()),
            TriggerEvent::Delete => (Event::Delete, "DELETE".to_owned()),
            TriggerEvent::Update => (Event::Update, "UPDATE".to_owned()),
            TriggerEvent::UpdateOf(names) => {
                let mut columns = Vec::new();
                for name in names.iter() {
                    let name = unquote(name.0);
                    let column = relation
                        .columns
                        .iter()
                        .find(|column| column.source.eq_ignore_ascii_case(&name));
                    let Some(column) = column else {
                        return Err(Refusal::new(&name, format!("{table} has no column {name}")));
                    };
                    columns.push(quote_name(&column.target));
                }
                if time == TriggerTime::InsteadOf {
                    return Err(Refusal::new(
                        "OF",
                        "PostgreSQL has no INSTEAD OF UPDATE OF columns",
                    ));
                }
                (Event::Update, format!("UPDATE OF {}", columns.join(", ")))
            }
        };
        let mut scope = Scope::nothing();
        for (name, seen) in [
            ("NEW", kind != Event::Delete),
            ("OLD", kind != Event::Insert),
        ] {
            if seen {
                let source = Source::of(relation, name, &format!("{name}."));
                scope.sources.push(Source {
                    only_qualified: true,
                    ..source
                });
            }
        }
        let mut body = Body {
            time,
            table: &table,
            lines: Vec::new(),
            writes: Vec::new(),
        };
        for command in *commands {
            self.command(command, &scope, &mut body)?;
        }
        if time == TriggerTime::Before
            && body
                .writes
                .iter()
                .any(|(written, _)| written.eq_ignore_ascii_case(&table))
        {
            let reason = format!(
                "a BEFORE trigger changes {table} itself, whose row PostgreSQL then could not change any more"
            );
            return Err(Refusal::new(&table, reason));
        }
        if let Some(when) = when_clause {
            let condition = self.expression(when, &scope)?.into_condition()?;
            body.lines = indent(&body.lines);
            body.lines.insert(0, format!("IF {} THEN", condition.text));
            body.lines.push("END IF;".to_owned());
        }
        let Body { lines, writes, .. } = body;
        Ok(TranslatedTrigger {
            table: relation.source.clone(),
            event: kind,
            time: match time {
                TriggerTime::Before => "BEFORE",
                TriggerTime::After => "AFTER",
                TriggerTime::InsteadOf => "INSTEAD OF",
            },
            on,
            body: lines,
            writes,
            returns: match (time, kind) {
                (TriggerTime::After, _) => "NULL",
                (_, Event::Delete) => "OLD",
                _ => "NEW",
            },
        })
    }

    fn command(
        &self,
        command: &TriggerCmd<'_>,
        scope: &Scope<'_>,
        body: &mut Body<'_>,
    ) -> Result<(), Refusal> {
        match command {
            TriggerCmd::Select(select) => self.raising_select(select, scope, body),
            TriggerCmd::Insert {
                or_conflict,
                tbl_name,
                col_names,
                select,
                upsert,
            } => {
                let (table, relation) = self.written(&tbl_name.name)?;
                let names: Option<Vec<String>> = col_names
                    .as_ref()
                    .map(|names| names.iter().map(|name| unquote(name.0)).collect());
                let columns = written_columns(relation, names.as_deref())?;
                let mut text = format!("INSERT INTO {}", self.catalog.qualified(relation));
                let targets: Vec<String> = columns
                    .iter()
                    .map(|column| quote_name(&column.target))
                    .collect();
                text.push_str(&format!(" ({}) ", targets.join(", ")));
                text.push_str(&self.inserted(select, &columns, scope)?);
                match (or_conflict, upsert) {
                    (None | Some(ResolveType::Abort), None) => {}
                    (Some(ResolveType::Ignore), None) => text.push_str(" ON CONFLICT DO NOTHING"),
                    (None | Some(ResolveType::Abort), Some(upsert)) => {
                        text.push_str(&self.upsert(upsert, relation, scope)?);
                        body.writes.push((table.clone(), Event::Update));
                    }
                    (Some(other), _) => {
                        let word = format!("{other:?}").to_ascii_uppercase();
                        return Err(Refusal::new(
                            &word,
                            format!("INSERT OR {word} has no counterpart"),
                        ));
                    }
                }
                body.writes.push((table, Event::Insert));
                body.lines.push(format!("{text};"));
                Ok(())
            }
            TriggerCmd::Update {
                or_conflict,
                tbl_name,
                sets,
                from,
                where_clause,
            } => {
                refuse_conflict(*or_conflict)?;
                let (table, relation) = self.written(&tbl_name.name)?;
                if from.is_some() {
                    return Err(Refusal::new(
                        "FROM",
                        "UPDATE FROM chooses any of several rows",
                    ));
                }
                let mut inner = Scope::within(scope);
                let prefix = format!("{}.", quote_name(&table));
                inner.sources.push(Source::of(relation, &table, &prefix));
                let sets = self.sets(sets, relation, &inner)?;
                let mut text = format!(
                    "UPDATE {} AS {} SET {sets}",
                    self.catalog.qualified(relation),
                    quote_name(&table)
                );
                if let Some(condition) = where_clause {
                    let condition = self.expression(condition, &inner)?.into_condition()?;
                    text.push_str(&format!(" WHERE {}", condition.text));
                }
                body.writes.push((table, Event::Update));
                body.lines.push(format!("{text};"));
                Ok(())
            }
            TriggerCmd::Delete {
                tbl_name,
                where_clause,
            } => {
                let (table, relation) = self.written(&tbl_name.name)?;
                let mut inner = Scope::within(scope);
                inner.sources.push(Source::of(
                    relation,
                    &table,
                    &format!("{}.", quote_name(&table)),
                ));
                let mut text = format!(
                    "DELETE FROM {} AS {}",
                    self.catalog.qualified(relation),
                    quote_name(&table)
                );
                if let Some(condition) = where_clause {
                    let condition = self.expression(condition, &inner)?.into_condition()?;
                    text.push_str(&format!(" WHERE {}", condition.text));
                }
                body.writes.push((table, Event::Delete));
                body.lines.push(format!("{text};"));
                Ok(())
            }
        }
    }

    fn written(
        &self,
        name: &sqlite3_parser::ast::Name<'_>,
    ) -> Result<(String, &Relation), Refusal> {
        let table = unquote(name.0);
        match self.catalog.find(&table) {
            Some(relation) => Ok((table, relation)),
            None => Err(Refusal::new(
                &table,
                format!("{table} is not in the target"),
            )),
        }
    }

    fn inserted(
        &self,
        select: &Select<'_>,
        columns: &[&CatalogColumn],
        scope: &Scope<'_>,
    ) -> Result<String, Refusal> {
        let width = |found: usize| {
            if found == columns.len() {
                Ok(())
            } else {
                Err(Refusal::new(
                    "INSERT",
                    format!("INSERT has {found} values for {} columns", columns.len()),
                ))
            }
        };
        if let OneSelect::Values(rows) = &select.body.select
            && select.body.compounds.is_none()
            && select.with.is_none()
        {
            let mut texts = Vec::new();
            for row in rows {
                width(row.len())?;
                let mut values = Vec::new();
                for (value, column) in row.iter().zip(columns) {
                    values.push(self.assign(&self.expression(value, scope)?, column)?);
                }
                texts.push(format!("({})", values.join(", ")));
            }
            return Ok(format!("VALUES {}", texts.join(", ")));
        }
        let query = self.select(select, scope)?;
        width(query.columns.len())?;
        let names: Vec<String> = (1..=columns.len())
            .map(|number| format!("c{number}"))
            .collect();
        let mut values = Vec::new();
        for ((name, (_, value)), column) in names.iter().zip(&query.columns).zip(columns) {
            values.push(self.assign(
                &Sql {
                    literal: None,
                    ..Sql::atom(name.clone(), value.ty)
                },
                column,
            )?);
        }
        Ok(format!(
            "SELECT {} FROM ({}) AS q ({})",
            values.join(", "),
            query.text,
            names.join(", ")
        ))
    }

    fn sets(
        &self,
        sets: &[Set<'_>],
        relation: &Relation,
        scope: &Scope<'_>,
    ) -> Result<String, Refusal> {
        let mut texts = Vec::new();
        for set in sets {
            let [name] = set.col_names.as_slice() else {
                return Err(Refusal::new(
                    "SET",
                    "SET gives several columns one row value",
                ));
            };
            let name = unquote(name.0);
            let columns = written_columns(relation, Some(std::slice::from_ref(&name)))?;
            let value = self.expression(&set.expr, scope)?;
            texts.push(format!(
                "{} = {}",
                quote_name(&columns[0].target),
                self.assign(&value, columns[0])?
            ));
        }
        Ok(texts.join(", "))
    }

    fn upsert(
        &self,
        upsert: &Upsert<'_>,
        relation: &Relation,
        scope: &Scope<'_>,
    ) -> Result<String, Refusal> {
        if upsert.next.is_some() {
            return Err(Refusal::new(
                "CONFLICT",
                "INSERT has several ON CONFLICT clauses",
            ));
        }
        let mut inner = Scope::within(scope);
        inner.sources.push(Source::of(
            relation,
            &relation.source,
            &format!("{}.", quote_name(&relation.target)),
        ));
        let excluded = Source::of(relation, "excluded", "excluded.");
        inner.sources.push(Source {
            only_qualified: true,
            ..excluded
        });
        let mut text = String::from(" ON CONFLICT");
        if let Some(index) = &upsert.index {
            let only_columns = Scope::of_table(relation);
            let mut targets = Vec::new();
            for target in index.targets {
                let value = self.expression(&target.expr, &only_columns)?;
                if !value.column {
                    return Err(Refusal::new("CONFLICT", "ON CONFLICT names an expression"));
                }
                targets.push(value.text);
            }
            if index.where_clause.is_some() {
                return Err(Refusal::new(
                    "CONFLICT",
                    "ON CONFLICT names a partial index",
                ));
            }
            text.push_str(&format!(" ({})", targets.join(", ")));
        }
        match &upsert.do_clause {
            UpsertDo::Nothing => text.push_str(" DO NOTHING"),
            UpsertDo::Set { .. } if upsert.index.is_none() => {
                return Err(Refusal::new(
                    "CONFLICT",
                    "ON CONFLICT DO UPDATE names no columns",
                ));
            }
            UpsertDo::Set { sets, where_clause } => {
                text.push_str(&format!(
                    " DO UPDATE SET {}",
                    self.sets(sets, relation, &inner)?
                ));
                if let Some(condition) = where_clause {
                    let condition = self.expression(condition, &inner)?.into_condition()?;
                    text.push_str(&format!(" WHERE {}", condition.text));
                }
            }
        }
        Ok(text)
    }
}

fn refuse_conflict(kind: Option<ResolveType>) -> Result<(), Refusal> {
    match kind {
        None | Some(ResolveType::Abort) => Ok(()),
        Some(other) => {
            let word = format!("{other:?}").to_ascii_uppercase();
            Err(Refusal::new(
                &word,
                format!("UPDATE OR {word} has no counterpart"),
            ))
        }
    }
}

/// The columns that an INSERT writes; without a list, all that are not computed.
fn written_columns<'r>(
    relation: &'r Relation,
    names: Option<&[String]>,
) -> Result<Vec<&'r CatalogColumn>, Refusal> {
    let Some(names) = names else {
        return Ok(relation
            .columns
            .iter()
            .filter(|column| !column.generated)
            .collect());
    };
    let mut columns = Vec::new();
    for name in names {
        let found = relation
            .columns
            .iter()
            .find(|column| column.source.eq_ignore_ascii_case(name));
        let is_rowid = ["rowid", "_rowid_", "oid"]
            .iter()
            .any(|alias| alias.eq_ignore_ascii_case(name));
        let found = found.or_else(|| {
            relation
                .rowid
                .filter(|_| is_rowid)
                .map(|position| &relation.columns[position])
        });
        match found {
            Some(column) => columns.push(column),
            None => {
                return Err(Refusal::new(
                    name,
                    format!("{} has no column {name} in the target", relation.source),
                ));
            }
        }
    }
    Ok(columns)
}

pub(super) fn indent(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| format!("  {line}")).collect()
}
