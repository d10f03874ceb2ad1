//! SQLite's expressions, queries and triggers in PostgreSQL's words, with SQLite's meaning.
//!
//! SQLite decides types value by value, PostgreSQL by column. Once every column has a type, so has
//! nearly every expression, and where the two languages differ (boolean contexts, affinity in
//! comparisons, division by zero, the case of ASCII letters in LIKE, where NULL sorts) the
//! translation says what SQLite does. What has no exact counterpart is refused by name: a
//! [`Refusal`] names the word to look at.

mod catalog;
mod compare;
mod dates;
mod expression;
mod from;
mod function;
mod group;
mod pattern;
mod raise;
mod select;
mod sql;
mod trigger;
mod types;
mod window;
mod words;

pub(crate) use catalog::{Catalog, CatalogColumn, Relation};
pub(crate) use sql::{Sql, Ty};
pub(crate) use trigger::{Event, TranslatedTrigger};

use catalog::Scope;
use sqlite3_parser::ast::{Expr, Select};

use crate::plan::Collation;

/// Something that has no exact counterpart in PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Refusal {
    /// The word in the statement to look for.
    pub(crate) token: String,
    /// Why, one sentence.
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(token: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            token: token.into(),
            reason: reason.into(),
        }
    }
}

/// Translates with one catalog of tables and views.
pub(crate) struct Translator<'c> {
    pub(crate) catalog: &'c Catalog,
}

impl Translator<'_> {
    /// A check constraint or the condition of a partial index: true, false or unknown, over the
    /// columns of one table.
    pub(crate) fn condition(
        &self,
        table: &Relation,
        expression: &Expr<'_>,
    ) -> Result<Sql, Refusal> {
        let scope = Scope::of_table(table);
        self.expression(expression, &scope)?.into_condition()
    }

    /// A value over the columns of one table.
    pub(crate) fn value(&self, table: &Relation, expression: &Expr<'_>) -> Result<Sql, Refusal> {
        let scope = Scope::of_table(table);
        Ok(self.expression(expression, &scope)?.into_value())
    }

    /// An expression that an index orders by, compared as the collation says.
    pub(crate) fn index_expression(
        &self,
        table: &Relation,
        expression: &Expr<'_>,
        collation: Collation,
    ) -> Result<Sql, Refusal> {
        let value = self.value(table, expression)?;
        Ok(if value.ty == Ty::Text {
            value.with_key_collation(collation)
        } else {
            value
        })
    }

    /// A default, for a column of the type.
    pub(crate) fn default(
        &self,
        column: &CatalogColumn,
        expression: &Expr<'_>,
    ) -> Result<String, Refusal> {
        let scope = Scope::nothing();
        let value = self.expression(expression, &scope)?;
        self.assign(&value, column)
    }

    /// A value as a column of the type stores it, whether or not the column is computed.
    pub(crate) fn assigned(&self, value: &Sql, column: &CatalogColumn) -> Result<String, Refusal> {
        self.assign(
            value,
            &CatalogColumn {
                generated: false,
                ..column.clone()
            },
        )
    }

    /// A view's query; its columns are named by the caller.
    pub(crate) fn view(&self, select: &Select<'_>) -> Result<(String, Vec<Sql>), Refusal> {
        let query = self.select(select, &Scope::nothing())?;
        Ok((
            query.text,
            query
                .columns
                .into_iter()
                .map(|(_, column)| column)
                .collect(),
        ))
    }
}
