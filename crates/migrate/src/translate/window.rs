//! Windows, their frames, and the order of rows.

use sqlite3_parser::ast::{
    FrameBound, FrameClause, FrameExclude, FrameMode, SortOrder, SortedColumn, Window,
};

use super::catalog::Scope;
use super::sql::{Collated, Sql, Ty};
use super::{Refusal, Translator};
use crate::plan::Collation;

impl Translator<'_> {
    /// What stands within the brackets of a window.
    pub(super) fn window(&self, window: &Window<'_>, scope: &Scope<'_>) -> Result<String, Refusal> {
        let mut parts = Vec::new();
        if let Some(base) = &window.base {
            parts.push(crate::plan::quote_name(&crate::schema::unquote(base.0)));
        }
        if let Some(terms) = window.partition_by {
            let terms: Vec<String> = (terms.iter())
                .map(|term| self.expression(term, scope).map(|term| term.text))
                .collect::<Result<_, _>>()?;
            parts.push(format!("PARTITION BY {}", terms.join(", ")));
        }
        if let Some(terms) = window.order_by {
            parts.push(self.order_by(terms, scope)?);
        }
        if let Some(frame) = &window.frame_clause {
            parts.push(self.frame(frame, scope)?);
        }
        Ok(parts.join(" "))
    }

    fn frame(&self, frame: &FrameClause<'_>, scope: &Scope<'_>) -> Result<String, Refusal> {
        let mode = match frame.mode {
            FrameMode::Groups => "GROUPS",
            FrameMode::Range => "RANGE",
            FrameMode::Rows => "ROWS",
        };
        let bound = |bound: &FrameBound<'_>| -> Result<String, Refusal> {
            Ok(match bound {
                FrameBound::CurrentRow => "CURRENT ROW".to_owned(),
                FrameBound::Following(distance) => format!(
                    "{} FOLLOWING",
                    self.expression(distance, scope)?.bracketed()
                ),
                FrameBound::Preceding(distance) => format!(
                    "{} PRECEDING",
                    self.expression(distance, scope)?.bracketed()
                ),
                FrameBound::UnboundedFollowing => "UNBOUNDED FOLLOWING".to_owned(),
                FrameBound::UnboundedPreceding => "UNBOUNDED PRECEDING".to_owned(),
            })
        };
        let start = bound(&frame.start)?;
        let extent = match &frame.end {
            Some(end) => format!("BETWEEN {start} AND {}", bound(end)?),
            None => start,
        };
        let exclude = match frame.exclude {
            None => "",
            Some(FrameExclude::NoOthers) => " EXCLUDE NO OTHERS",
            Some(FrameExclude::CurrentRow) => " EXCLUDE CURRENT ROW",
            Some(FrameExclude::Group) => " EXCLUDE GROUP",
            Some(FrameExclude::Ties) => " EXCLUDE TIES",
        };
        Ok(format!("{mode} {extent}{exclude}"))
    }

    /// An ORDER BY within a window or an aggregate.
    pub(super) fn order_by(
        &self,
        terms: &[SortedColumn<'_>],
        scope: &Scope<'_>,
    ) -> Result<String, Refusal> {
        let mut texts = Vec::new();
        for term in terms {
            let value = self.expression(&term.expr, scope)?;
            texts.push(format!("{}{}", sort_key(value)?.text, direction(term)));
        }
        Ok(format!("ORDER BY {}", texts.join(", ")))
    }
}

/// An expression in the form in which PostgreSQL sorts it as SQLite does.
pub(super) fn sort_key(value: Sql) -> Result<Sql, Refusal> {
    if value.ty == Ty::Mixed {
        return Err(Refusal::new(
            "ORDER",
            format!("{} is ordered, which holds integers and texts", value.text),
        ));
    }
    let value = value.sorted_as_text();
    if value.ty != Ty::Text {
        return Ok(value);
    }
    let collation = match value.collated {
        Collated::No => Collation::Binary,
        Collated::Column(collation) | Collated::Explicit(collation) => collation,
    };
    Ok(value.with_key_collation(collation))
}

/// Ascending or descending; NULL is SQLite's smallest value unless said otherwise.
pub(super) fn direction(term: &SortedColumn<'_>) -> String {
    let descending = term.order == Some(SortOrder::Desc);
    let nulls_first = match &term.nulls {
        Some(nulls) => *nulls == sqlite3_parser::ast::NullsOrder::First,
        None => !descending,
    };
    let order = if descending { " DESC" } else { "" };
    format!(
        "{order} NULLS {}",
        if nulls_first { "FIRST" } else { "LAST" }
    )
}
