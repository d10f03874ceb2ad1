//! What a grouped query may name, and which expressions gather rows.

use sqlite3_parser::ast::Expr;

use super::catalog::Scope;
use super::function::{is_aggregate, is_windowed};
use super::{Refusal, Translator};
use crate::schema::unquote;

impl Translator<'_> {
    /// Refuses columns that are neither grouped by nor gathered: SQLite takes them from any row.
    pub(super) fn check_grouped(
        &self,
        expression: &Expr<'_>,
        groups: &[String],
        scope: &Scope<'_>,
    ) -> Result<(), Refusal> {
        if let Ok(value) = self.expression(expression, scope)
            && groups.contains(&value.text)
        {
            return Ok(());
        }
        let all = |parts: &[&Expr<'_>]| {
            parts
                .iter()
                .try_for_each(|part| self.check_grouped(part, groups, scope))
        };
        match expression {
            Expr::Id(_) | Expr::Name(_) | Expr::Qualified(..) | Expr::DoublyQualified(..) => {
                let value = self.expression(expression, scope)?;
                if !value.column {
                    return Ok(());
                }
                let reason = format!(
                    "{} is neither grouped by nor gathered: SQLite takes it from any row",
                    value.text
                );
                Err(Refusal::new(column_name(expression), reason))
            }
            Expr::FunctionCall {
                name,
                args,
                filter_over,
                ..
            } => {
                let arguments = args.unwrap_or_default();
                if is_windowed(filter_over.as_ref()) {
                    return Err(Refusal::new(
                        unquote(name.0),
                        "a window function stands beside aggregates",
                    ));
                }
                if is_aggregate(&unquote(name.0).to_ascii_lowercase(), arguments.len()) {
                    return Ok(());
                }
                all(&arguments.iter().collect::<Vec<_>>())
            }
            Expr::Between {
                lhs, start, end, ..
            } => all(&[lhs, start, end]),
            Expr::Binary(left, _, right) => all(&[left, right]),
            Expr::Case {
                base,
                when_then_pairs,
                else_expr,
            } => {
                let mut parts: Vec<&Expr<'_>> =
                    base.iter().chain(else_expr.iter()).copied().collect();
                for (when, then) in *when_then_pairs {
                    parts.extend([when, then]);
                }
                all(&parts)
            }
            Expr::Cast { expr, .. } => all(&[expr]),
            Expr::Collate(inner, _)
            | Expr::IsNull(inner)
            | Expr::NotNull(inner)
            | Expr::Unary(_, inner) => all(&[inner]),
            Expr::InList { lhs, rhs, .. } => {
                let mut parts = vec![*lhs];
                parts.extend(rhs.unwrap_or_default());
                all(&parts)
            }
            Expr::InSelect { lhs, .. } | Expr::InTable { lhs, .. } => all(&[lhs]),
            Expr::Like { lhs, rhs, .. } => all(&[lhs, rhs]),
            Expr::Parenthesized(inner) => all(&inner.iter().collect::<Vec<_>>()),
            Expr::Exists(_)
            | Expr::Subquery(_)
            | Expr::FunctionCallStar { .. }
            | Expr::Literal(_)
            | Expr::Raise(..)
            | Expr::Variable(_) => Ok(()),
        }
    }
}

/// What SQLite calls a result column without an alias, as far as other clauses can name it.
pub(super) fn column_name(expression: &Expr<'_>) -> String {
    match expression {
        Expr::Id(id) => unquote(id.0),
        Expr::Name(name) | Expr::Qualified(_, name) | Expr::DoublyQualified(_, _, name) => {
            unquote(name.0)
        }
        Expr::Parenthesized(inner) if inner.len() == 1 => column_name(&inner[0]),
        _ => "?column?".to_owned(),
    }
}

pub(super) fn gathers(expression: &Expr<'_>) -> bool {
    match expression {
        Expr::FunctionCall {
            name,
            args,
            filter_over,
            ..
        } => {
            let arguments = args.unwrap_or_default();
            (!is_windowed(filter_over.as_ref())
                && is_aggregate(&unquote(name.0).to_ascii_lowercase(), arguments.len()))
                || arguments.iter().any(gathers)
        }
        Expr::FunctionCallStar { filter_over, .. } => !is_windowed(filter_over.as_ref()),
        Expr::Between {
            lhs, start, end, ..
        } => gathers(lhs) || gathers(start) || gathers(end),
        Expr::Binary(left, _, right) => gathers(left) || gathers(right),
        Expr::Like { lhs, rhs, .. } => gathers(lhs) || gathers(rhs),
        Expr::Case {
            base,
            when_then_pairs,
            else_expr,
        } => {
            base.is_some_and(gathers)
                || else_expr.is_some_and(gathers)
                || when_then_pairs
                    .iter()
                    .any(|(when, then)| gathers(when) || gathers(then))
        }
        Expr::Cast { expr, .. } => gathers(expr),
        Expr::Collate(inner, _)
        | Expr::IsNull(inner)
        | Expr::NotNull(inner)
        | Expr::Unary(_, inner) => gathers(inner),
        Expr::InList { lhs, rhs, .. } => {
            gathers(lhs) || rhs.unwrap_or_default().iter().any(gathers)
        }
        Expr::InSelect { lhs, .. } | Expr::InTable { lhs, .. } => gathers(lhs),
        Expr::Parenthesized(inner) => inner.iter().any(gathers),
        _ => false,
    }
}
