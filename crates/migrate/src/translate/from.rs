//! FROM clauses: tables, joins and subqueries.

use sqlite3_parser::ast::{As, FromClause, JoinConstraint, JoinOperator, JoinType, SelectTable};

use super::catalog::{CatalogColumn, Relation, Scope, Source};
use super::sql::{Collated, Sql};
use super::{Refusal, Translator};
use crate::plan::{Collation, quote_name};
use crate::schema::unquote;

impl Translator<'_> {
    pub(super) fn from(
        &self,
        from: &FromClause<'_>,
        scope: &mut Scope<'_>,
    ) -> Result<String, Refusal> {
        let Some(first) = from.select else {
            return Err(Refusal::new("FROM", "there is no table"));
        };
        let mut text = self.table(first, scope)?;
        for join in from.joins.iter().flat_map(|joins| joins.iter()) {
            let before = scope.sources.len();
            let table = self.table(&join.table, scope)?;
            let kind = match join.operator {
                JoinOperator::Comma | JoinOperator::TypedJoin(None) => JoinType::INNER,
                JoinOperator::TypedJoin(Some(kind)) => kind,
            };
            let (left, right) = (
                kind.contains(JoinType::LEFT),
                kind.contains(JoinType::RIGHT),
            );
            let word = match (left, right) {
                (true, true) => "FULL JOIN",
                (true, false) => "LEFT JOIN",
                (false, true) => "RIGHT JOIN",
                (false, false) => "JOIN",
            };
            let shared: Option<Vec<String>> = match &join.constraint {
                Some(JoinConstraint::Using(names)) => {
                    Some(names.iter().map(|name| unquote(name.0)).collect())
                }
                _ if kind.contains(JoinType::NATURAL) => {
                    Some(self.shared_columns(&scope.sources, before))
                }
                _ => None,
            };
            let condition = match (&join.constraint, shared) {
                (_, Some(shared)) => {
                    if right {
                        return Err(Refusal::new(
                            "USING",
                            format!("a {word} merges columns of both sides by USING"),
                        ));
                    }
                    Some(self.merge(&mut scope.sources, before, &shared)?)
                }
                (Some(JoinConstraint::On(condition)), None) => {
                    Some(self.expression(condition, scope)?.into_condition()?.text)
                }
                (_, None) => None,
            };
            text.push_str(&match (condition, word) {
                (Some(condition), word) => format!(" {word} {table} ON {condition}"),
                (None, "JOIN") => format!(" CROSS JOIN {table}"),
                (None, word) => format!(" {word} {table} ON true"),
            });
        }
        Ok(text)
    }

    fn shared_columns(&self, sources: &[Source], before: usize) -> Vec<String> {
        let mut shared = Vec::new();
        for column in sources[before..].iter().flat_map(|source| &source.columns) {
            let is_left = sources[..before].iter().any(|source| {
                source
                    .columns
                    .iter()
                    .any(|left| left.source.eq_ignore_ascii_case(&column.source))
            });
            if is_left {
                shared.push(column.source.clone());
            }
        }
        shared
    }

    fn merge(
        &self,
        sources: &mut [Source],
        before: usize,
        shared: &[String],
    ) -> Result<String, Refusal> {
        let mut texts = Vec::new();
        for name in shared {
            let find = |sources: &[Source]| {
                sources.iter().find_map(|source| {
                    let merged = source
                        .merged
                        .iter()
                        .any(|merged| merged.eq_ignore_ascii_case(name));
                    if merged {
                        None
                    } else {
                        source
                            .column(name)
                            .map(|column| column.read(&source.prefix))
                    }
                })
            };
            let (Some(left), Some(right)) = (find(&sources[..before]), find(&sources[before..]))
            else {
                return Err(Refusal::new(
                    name,
                    format!("there is no column {name} on both sides of a join"),
                ));
            };
            texts.push(self.compare(&left, "=", &right)?.text);
            for source in &mut sources[before..] {
                source.merged.push(name.clone());
            }
        }
        Ok(if texts.is_empty() {
            "true".to_owned()
        } else {
            texts.join(" AND ")
        })
    }

    fn table(&self, table: &SelectTable<'_>, scope: &mut Scope<'_>) -> Result<String, Refusal> {
        match table {
            SelectTable::Table(name, alias, _) => {
                if let Some(database) = &name.db_name
                    && !unquote(database.0).eq_ignore_ascii_case("main")
                {
                    let database = unquote(database.0);
                    return Err(Refusal::new(
                        &database,
                        format!("{database} is another database than main"),
                    ));
                }
                let table = unquote(name.name.0);
                let called = match alias {
                    Some(As::As(alias) | As::Elided(alias)) => unquote(alias.0),
                    None => table.clone(),
                };
                let source = self.source(&table, &called, scope)?;
                let text = self.relation_text(&table, scope)?;
                scope.sources.push(source);
                Ok(format!("{text} AS {}", quote_name(&called)))
            }
            SelectTable::TableCall(name, ..) => {
                let name = unquote(name.name.0);
                Err(Refusal::new(
                    &name,
                    format!("{name} is a table-valued function"),
                ))
            }
            SelectTable::Select(select, alias) => {
                let outer = scope.outer.cloned().unwrap_or_default();
                let seen = Scope {
                    named: scope.named.clone(),
                    ..Scope::within(&outer)
                };
                let query = self.select(select, &seen)?;
                let called = match alias {
                    Some(As::As(alias) | As::Elided(alias)) => unquote(alias.0),
                    None => format!("query_{}", scope.sources.len() + 1),
                };
                let relation = relation_of(&called, None, &query.columns);
                let columns: Vec<String> = relation
                    .columns
                    .iter()
                    .map(|column| quote_name(&column.target))
                    .collect();
                let prefix = format!("{}.", quote_name(&called));
                scope.sources.push(Source::of(&relation, &called, &prefix));
                Ok(format!(
                    "({}) AS {} ({})",
                    query.text,
                    quote_name(&called),
                    columns.join(", ")
                ))
            }
            SelectTable::Sub(from, None) => {
                let mut inner = Scope {
                    outer: scope.outer,
                    named: scope.named.clone(),
                    ..Scope::default()
                };
                let text = self.from(from, &mut inner)?;
                scope.sources.append(&mut inner.sources);
                Ok(format!("({text})"))
            }
            SelectTable::Sub(_, Some(As::As(alias) | As::Elided(alias))) => Err(Refusal::new(
                unquote(alias.0),
                "a join in brackets has a name of its own",
            )),
        }
    }

    pub(super) fn source(
        &self,
        table: &str,
        called: &str,
        scope: &Scope<'_>,
    ) -> Result<Source, Refusal> {
        let prefix = format!("{}.", quote_name(called));
        match scope.named(table).or_else(|| self.catalog.find(table)) {
            Some(relation) => Ok(Source::of(relation, called, &prefix)),
            None => Err(Refusal::new(table, format!("{table} is not in the target"))),
        }
    }

    pub(super) fn relation_text(&self, table: &str, scope: &Scope<'_>) -> Result<String, Refusal> {
        if let Some(named) = scope.named(table) {
            return Ok(quote_name(&named.target));
        }
        match self.catalog.find(table) {
            Some(relation) => Ok(self.catalog.qualified(relation)),
            None => Err(Refusal::new(table, format!("{table} is not in the target"))),
        }
    }
}

/// What other clauses see of a query.
pub(super) fn relation_of(
    name: &str,
    given: Option<&[String]>,
    columns: &[(String, Sql)],
) -> Relation {
    let mut made: Vec<CatalogColumn> = Vec::new();
    for (position, (own, value)) in columns.iter().enumerate() {
        let source = given
            .and_then(|given| given.get(position))
            .unwrap_or(own)
            .clone();
        // PostgreSQL wants names that differ; nothing can refer to the second of two anyway.
        let taken = made.iter().any(|column| column.target == source);
        let target = if taken || source == "?column?" {
            format!("column_{}", position + 1)
        } else {
            source.clone()
        };
        let collation = match value.collated {
            Collated::Column(collation) => collation,
            _ => Collation::Binary,
        };
        made.push(CatalogColumn {
            source,
            target,
            ty: value.ty,
            collation,
            generated: false,
            type_: None,
        });
    }
    Relation {
        source: name.to_owned(),
        target: name.to_owned(),
        columns: made,
        rowid: None,
        primary_key: Vec::new(),
    }
}
