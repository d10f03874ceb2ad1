use sqlite3_parser::ast::{
    As, CompoundOperator, Distinctness, Expr, OneSelect, ResultColumn, Select, With,
};

use super::catalog::{Scope, Source};
use super::from::relation_of;
use super::group::{column_name, gathers};
use super::sql::{Collated, Sql, Ty};
use super::types::unify;
use super::window::{direction, sort_key};
use super::{Refusal, Translator};
use crate::plan::quote_name;
use crate::schema::unquote;

/// A translated query.
pub(super) struct Query {
    pub(super) text: String,
    /// The names and types of what it answers.
    pub(super) columns: Vec<(String, Sql)>,
    /// Whether it can be seen to answer one row at most.
    pub(super) is_one_row: bool,
}

/// One SELECT or VALUES before it is joined with others.
struct Part {
    /// One for SELECT, any number for VALUES.
    rows: Vec<Vec<Sql>>,
    names: Vec<String>,
    distinct: bool,
    values: bool,
    /// From FROM on.
    tail: String,
    /// Texts of ORDER BY terms, for a SELECT that stands alone.
    order_by: Option<String>,
    gathers: bool,
}

impl Translator<'_> {
    pub(super) fn select(&self, select: &Select<'_>, outer: &Scope<'_>) -> Result<Query, Refusal> {
        let mut own = Scope::within(outer);
        let mut text = String::new();
        if let Some(with) = &select.with {
            text = self.with(with, &mut own)?;
        }
        let compounds = select
            .body
            .compounds
            .as_ref()
            .map_or(&[][..], |compounds| compounds.as_slice());
        let alone = compounds.is_empty();
        let order_by = select.order_by.unwrap_or_default();
        let mut parts = vec![self.part(
            &select.body.select,
            &own,
            if alone { order_by } else { &[] },
        )?];
        for compound in compounds {
            parts.push(self.part(&compound.select, &own, &[])?);
        }
        let width = parts[0].names.len();
        if parts.iter().any(|part| part.names.len() != width) {
            return Err(Refusal::new(
                "SELECT",
                "parts of a compound query have different numbers of columns",
            ));
        }
        // One type for each column over all parts, and each literal told its type.
        let mut columns = Vec::new();
        let mut texts: Vec<Vec<Vec<String>>> = parts
            .iter()
            .map(|part| vec![Vec::new(); part.rows.len()])
            .collect();
        for position in 0..width {
            let all: Vec<Sql> = parts
                .iter()
                .flat_map(|part| part.rows.iter().map(|row| row[position].clone()))
                .collect();
            let single = all.len() == 1;
            let (ty, written) = if single && all[0].ty == Ty::Opaque {
                (Ty::Opaque, vec![all[0].text.clone()])
            } else {
                unify(&all, "SELECT")?
            };
            let ty = if ty == Ty::Null { Ty::Text } else { ty };
            let mut written = written.into_iter().zip(&all);
            for (part, rows) in parts.iter().zip(&mut texts) {
                for row in rows.iter_mut().take(part.rows.len()) {
                    let Some((text, value)) = written.next() else {
                        continue;
                    };
                    let told = value.literal.is_some() && !text.contains("::");
                    let text = match (told, value.ty) {
                        (true, _) | (false, Ty::Null) if !text.contains("::") => {
                            format!("{text}::{}", ty.name())
                        }
                        _ => text,
                    };
                    row.push(text);
                }
            }
            let column = all.iter().all(|value| value.column);
            let made = Sql {
                column,
                ..Sql::atom("", ty)
            };
            let nondeterministic = all.iter().any(|value| value.nondeterministic);
            let collated = match (all[0].collated, ty) {
                (Collated::Column(collation), Ty::Text) => Collated::Column(collation),
                _ => Collated::No,
            };
            columns.push((
                parts[0].names[position].clone(),
                Sql {
                    nondeterministic,
                    collated,
                    ..made
                },
            ));
        }
        let written: Vec<String> = parts
            .iter()
            .zip(&texts)
            .map(|(part, rows)| part.written(rows))
            .collect();
        text.push_str(&written[0]);
        for (compound, part) in compounds.iter().zip(&written[1..]) {
            let word = match compound.operator {
                CompoundOperator::Union => "UNION",
                CompoundOperator::UnionAll => "UNION ALL",
                CompoundOperator::Except => "EXCEPT",
                CompoundOperator::Intersect => "INTERSECT",
            };
            // SQLite joins parts from left to right; PostgreSQL binds INTERSECT tighter.
            text = match compound.operator {
                CompoundOperator::Intersect if compounds.len() > 1 => {
                    return Err(Refusal::new(
                        "INTERSECT",
                        "INTERSECT stands beside other compound operators",
                    ));
                }
                _ => format!("{text} {word} {part}"),
            };
        }
        if alone {
            text.push_str(parts[0].order_by.as_deref().unwrap_or_default());
        } else if !order_by.is_empty() {
            text.push_str(&self.compound_order(order_by, &parts[0].names)?);
        }
        let mut is_one_row = alone
            && parts[0].rows.len() == 1
            && (parts[0].gathers || !parts[0].tail.starts_with(" FROM"));
        if let Some(limit) = select.limit {
            text.push_str(&self.limit(limit, &own)?);
            is_one_row |= limit.expr.is_integer() == Some(1);
        }
        Ok(Query {
            text,
            columns,
            is_one_row,
        })
    }

    fn limit(
        &self,
        limit: &sqlite3_parser::ast::Limit<'_>,
        scope: &Scope<'_>,
    ) -> Result<String, Refusal> {
        let mut text = match limit.expr.is_integer() {
            Some(count) if count < 0 => String::new(),
            Some(count) => format!(" LIMIT {count}"),
            None => format!(
                " LIMIT {}",
                self.expression(&limit.expr, scope)?.bracketed()
            ),
        };
        if let Some(offset) = &limit.offset {
            text.push_str(&match offset.is_integer() {
                Some(count) => format!(" OFFSET {}", count.max(0)),
                None => format!(" OFFSET {}", self.expression(offset, scope)?.bracketed()),
            });
        }
        Ok(text)
    }

    fn compound_order(
        &self,
        terms: &[sqlite3_parser::ast::SortedColumn<'_>],
        names: &[String],
    ) -> Result<String, Refusal> {
        let mut texts = Vec::new();
        for term in terms {
            let by_name = match &term.expr {
                Expr::Id(id) => names
                    .iter()
                    .position(|name| name.eq_ignore_ascii_case(&unquote(id.0)))
                    .map(|at| at + 1),
                expression => expression
                    .is_integer()
                    .and_then(|number| usize::try_from(number).ok()),
            };
            let Some(place) = by_name else {
                return Err(Refusal::new(
                    "ORDER",
                    "a compound query is ordered by something other than a column of it",
                ));
            };
            texts.push(format!("{place}{}", direction(term)));
        }
        Ok(format!(" ORDER BY {}", texts.join(", ")))
    }

    fn with(&self, with: &With<'_>, scope: &mut Scope<'_>) -> Result<String, Refusal> {
        let mut texts = Vec::new();
        for table in with.ctes {
            let name = unquote(table.tbl_name.0);
            let given: Option<Vec<String>> = table.columns.map(|columns| {
                columns
                    .iter()
                    .map(|column| unquote(column.col_name.0))
                    .collect()
            });
            // A table that names itself is seen by its first part's columns.
            let query = if with.recursive && table.select.body.compounds.is_some() {
                let mut inner = scope.clone();
                let first = self.part(&table.select.body.select, &inner, &[])?;
                let seen: Vec<(String, Sql)> = first
                    .names
                    .into_iter()
                    .zip(first.rows.into_iter().next().unwrap_or_default())
                    .collect();
                inner
                    .named
                    .push(relation_of(&name, given.as_deref(), &seen));
                self.select(table.select, &inner)?
            } else {
                self.select(table.select, scope)?
            };
            let relation = relation_of(&name, given.as_deref(), &query.columns);
            let columns: Vec<String> = relation
                .columns
                .iter()
                .map(|column| quote_name(&column.target))
                .collect();
            texts.push(format!(
                "{} ({}) AS ({})",
                quote_name(&name),
                columns.join(", "),
                query.text
            ));
            scope.named.push(relation);
        }
        let recursive = if with.recursive { "RECURSIVE " } else { "" };
        Ok(format!("WITH {recursive}{} ", texts.join(", ")))
    }

    fn part(
        &self,
        select: &OneSelect<'_>,
        outer: &Scope<'_>,
        order_by: &[sqlite3_parser::ast::SortedColumn<'_>],
    ) -> Result<Part, Refusal> {
        let (distinctness, columns, from, where_clause, group_by, having, windows) = match select {
            OneSelect::Values(rows) => {
                let rows: Vec<Vec<Sql>> = (rows.iter())
                    .map(|row| {
                        row.iter()
                            .map(|value| self.expression(value, outer).map(Sql::into_value))
                            .collect::<Result<_, _>>()
                    })
                    .collect::<Result<_, _>>()?;
                let width = rows.first().map_or(0, Vec::len);
                return Ok(Part {
                    names: (1..=width)
                        .map(|number| format!("column{number}"))
                        .collect(),
                    rows,
                    distinct: false,
                    values: true,
                    tail: String::new(),
                    order_by: None,
                    gathers: false,
                });
            }
            OneSelect::Select {
                distinctness,
                columns,
                from,
                where_clause,
                group_by,
                having,
                window_clause,
            } => (
                distinctness,
                columns,
                from,
                where_clause,
                group_by,
                having,
                window_clause,
            ),
        };
        let mut scope = Scope::within(outer);
        let mut tail = match from {
            Some(from) => format!(" FROM {}", self.from(from, &mut scope)?),
            None => String::new(),
        };
        for column in *columns {
            if let ResultColumn::Expr(expression, Some(As::As(name) | As::Elided(name))) = column {
                scope.aliases.push((unquote(name.0), expression));
            }
        }
        let (mut row, mut names) = (Vec::new(), Vec::new());
        let no_aliases = Scope {
            aliases: Vec::new(),
            ..scope.clone()
        };
        for column in *columns {
            match column {
                ResultColumn::Expr(expression, alias) => {
                    let value = self.expression(expression, &no_aliases)?.into_value();
                    names.push(match alias {
                        Some(As::As(name) | As::Elided(name)) => unquote(name.0),
                        None => column_name(expression),
                    });
                    row.push(value);
                }
                ResultColumn::Star => expand(&scope.sources, &mut row, &mut names),
                ResultColumn::TableStar(name) => {
                    let name = unquote(name.0);
                    let found: Vec<Source> = scope
                        .sources
                        .iter()
                        .filter(|source| source.name.eq_ignore_ascii_case(&name))
                        .cloned()
                        .collect();
                    if found.is_empty() {
                        return Err(Refusal::new(
                            &name,
                            format!("there is no table {name} here"),
                        ));
                    }
                    let found: Vec<Source> = found
                        .into_iter()
                        .map(|source| Source {
                            merged: Vec::new(),
                            ..source
                        })
                        .collect();
                    expand(&found, &mut row, &mut names);
                }
            }
        }
        if let Some(condition) = where_clause {
            let condition = self.expression(condition, &scope)?.into_condition()?;
            tail.push_str(&format!(" WHERE {}", condition.text));
        }
        let gathers = columns.iter().any(
            |column| matches!(column, ResultColumn::Expr(expression, _) if gathers(expression)),
        ) || having.is_some();
        let mut groups = Vec::new();
        if let Some(terms) = group_by {
            for term in *terms {
                match term
                    .is_integer()
                    .and_then(|number| usize::try_from(number).ok())
                {
                    Some(place) if (1..=row.len()).contains(&place) => {
                        groups.push(row[place - 1].text.clone());
                    }
                    _ => groups.push(self.expression(term, &scope)?.text),
                }
            }
            tail.push_str(&format!(" GROUP BY {}", groups.join(", ")));
        }
        // Where a table's rows are told apart by its primary key, so are its other columns.
        let determined: Vec<String> = (scope.sources.iter())
            .filter(|source| source.is_told_apart_by(&groups))
            .flat_map(Source::read_columns)
            .collect();
        groups.extend(determined);
        if gathers || group_by.is_some() {
            let is_grouped =
                |source: &Source| source.read_columns().all(|column| groups.contains(&column));
            for column in *columns {
                match column {
                    ResultColumn::Expr(expression, _) => {
                        self.check_grouped(expression, &groups, &no_aliases)?;
                    }
                    ResultColumn::Star if scope.sources.iter().all(is_grouped) => {}
                    ResultColumn::TableStar(name)
                        if (scope.sources.iter())
                            .filter(|source| source.name.eq_ignore_ascii_case(&unquote(name.0)))
                            .all(is_grouped) => {}
                    ResultColumn::Star | ResultColumn::TableStar(_) => {
                        return Err(Refusal::new(
                            "*",
                            "* stands beside an aggregate, where SQLite takes any row's values",
                        ));
                    }
                }
            }
        }
        if let Some(condition) = having {
            self.check_grouped(condition, &groups, &scope)?;
            let condition = self.expression(condition, &scope)?.into_condition()?;
            tail.push_str(&format!(" HAVING {}", condition.text));
        }
        if let Some(windows) = windows {
            let mut texts = Vec::new();
            for window in *windows {
                texts.push(format!(
                    "{} AS ({})",
                    quote_name(&unquote(window.name.0)),
                    self.window(&window.window, &scope)?
                ));
            }
            tail.push_str(&format!(" WINDOW {}", texts.join(", ")));
        }
        let distinct = distinctness.is_some_and(|kind| kind == Distinctness::Distinct);
        let order_by = match order_by {
            [] => None,
            terms => {
                let mut texts = Vec::new();
                for term in terms {
                    let key = match term
                        .expr
                        .is_integer()
                        .and_then(|number| usize::try_from(number).ok())
                    {
                        Some(place) if (1..=row.len()).contains(&place) => {
                            if row[place - 1].sorts_otherwise() {
                                sort_key(row[place - 1].clone())?.text
                            } else {
                                place.to_string()
                            }
                        }
                        _ => {
                            let value = self.expression(&term.expr, &scope)?;
                            let is_shown = row.iter().position(|shown| shown.text == value.text);
                            match is_shown {
                                Some(place)
                                    if !value.sorts_otherwise()
                                        && !matches!(value.collated, Collated::Explicit(_)) =>
                                {
                                    (place + 1).to_string()
                                }
                                _ => sort_key(value)?.text,
                            }
                        }
                    };
                    if distinct && key.parse::<usize>().is_err() {
                        return Err(Refusal::new(
                            "ORDER",
                            "SELECT DISTINCT is ordered by something that it does not select",
                        ));
                    }
                    texts.push(format!("{key}{}", direction(term)));
                }
                Some(format!(" ORDER BY {}", texts.join(", ")))
            }
        };
        Ok(Part {
            rows: vec![row],
            names,
            distinct,
            values: false,
            tail,
            order_by,
            gathers: gathers && group_by.is_none(),
        })
    }

    /// From FROM on, for statements that only ask whether there is a row.
    pub(super) fn tail_of(
        &self,
        select: &Select<'_>,
        outer: &Scope<'_>,
    ) -> Result<(Option<String>, Option<Sql>), Refusal> {
        let OneSelect::Select {
            from,
            where_clause,
            group_by: None,
            having: None,
            window_clause: None,
            ..
        } = &select.body.select
        else {
            return Err(Refusal::new(
                "RAISE",
                "RAISE stands in a query that groups or lists values",
            ));
        };
        if select.with.is_some() || select.body.compounds.is_some() || select.limit.is_some() {
            return Err(Refusal::new(
                "RAISE",
                "RAISE stands in a query with WITH, UNION or LIMIT",
            ));
        }
        let mut scope = Scope::within(outer);
        let from = from
            .as_ref()
            .map(|from| self.from(from, &mut scope))
            .transpose()?;
        let condition = where_clause
            .map(|condition| self.expression(condition, &scope)?.into_condition())
            .transpose()?;
        Ok((from, condition))
    }
}

impl Part {
    fn written(&self, rows: &[Vec<String>]) -> String {
        if self.values {
            let rows: Vec<String> = rows
                .iter()
                .map(|row| format!("({})", row.join(", ")))
                .collect();
            return format!("VALUES {}", rows.join(", "));
        }
        let distinct = if self.distinct { "DISTINCT " } else { "" };
        let mut columns = Vec::new();
        for (text, name) in rows[0].iter().zip(&self.names) {
            columns.push(format!("{text} AS {}", quote_name(name)));
        }
        format!("SELECT {distinct}{}{}", columns.join(", "), self.tail)
    }
}

fn expand(sources: &[Source], row: &mut Vec<Sql>, names: &mut Vec<String>) {
    for source in sources.iter().filter(|source| !source.only_qualified) {
        for column in &source.columns {
            if source
                .merged
                .iter()
                .any(|merged| merged.eq_ignore_ascii_case(&column.source))
            {
                continue;
            }
            row.push(column.read(&source.prefix));
            names.push(column.source.clone());
        }
    }
}
