//! Queries of triggers that raise errors, as conditions of plpgsql.

use sqlite3_parser::ast::{Expr, OneSelect, ResolveType, ResultColumn, Select, TriggerTime};

use super::catalog::Scope;
use super::sql::{Literal, Sql, Ty};
use super::trigger::{Body, indent};
use super::{Refusal, Translator};
use crate::plan::quote_literal;

impl Translator<'_> {
    /// A SELECT within a trigger does nothing unless it raises.
    pub(super) fn raising_select(
        &self,
        select: &Select<'_>,
        scope: &Scope<'_>,
        body: &mut Body<'_>,
    ) -> Result<(), Refusal> {
        let columns = match &select.body.select {
            OneSelect::Select { columns, .. } => *columns,
            OneSelect::Values(_) => &[],
        };
        if !columns
            .iter()
            .any(|column| matches!(column, ResultColumn::Expr(expression, _) if raises(expression)))
        {
            if select.body.compounds.is_some() || select.with.is_some() {
                return Err(Refusal::new(
                    "SELECT",
                    "a query in a trigger may raise in a part that is not the first",
                ));
            }
            return Ok(());
        }
        let [ResultColumn::Expr(expression, _)] = columns else {
            return Err(Refusal::new("RAISE", "RAISE stands beside other columns"));
        };
        let (from, condition) = self.tail_of(select, scope)?;
        let inner = strip(expression);
        let lines = match (inner, &from) {
            (Expr::Raise(kind, message), _) => self.raise(*kind, *message, scope, body)?,
            (
                Expr::Case {
                    base: None,
                    when_then_pairs,
                    else_expr,
                },
                None,
            ) => {
                let mut lines = Vec::new();
                for (number, (when, then)) in when_then_pairs.iter().enumerate() {
                    let when = self.expression(when, scope)?.into_condition()?;
                    lines.push(format!(
                        "{} {} THEN",
                        if number == 0 { "IF" } else { "ELSIF" },
                        when.text
                    ));
                    lines.extend(indent(&self.branch(then, scope, body)?));
                }
                if let Some(otherwise) = else_expr {
                    lines.push("ELSE".to_owned());
                    lines.extend(indent(&self.branch(otherwise, scope, body)?));
                }
                lines.push("END IF;".to_owned());
                lines
            }
            _ => return Err(Refusal::new("RAISE", "RAISE stands within an expression")),
        };
        let test = match (from, condition) {
            (Some(from), Some(condition)) => Some(format!(
                "EXISTS (SELECT 1 FROM {from} WHERE {})",
                condition.text
            )),
            (Some(from), None) => Some(format!("EXISTS (SELECT 1 FROM {from})")),
            (None, Some(condition)) => Some(condition.text),
            (None, None) => None,
        };
        match test {
            Some(test) => {
                body.lines.push(format!("IF {test} THEN"));
                body.lines.extend(indent(&lines));
                body.lines.push("END IF;".to_owned());
            }
            None => body.lines.extend(lines),
        }
        Ok(())
    }

    fn branch(
        &self,
        expression: &Expr<'_>,
        scope: &Scope<'_>,
        body: &Body<'_>,
    ) -> Result<Vec<String>, Refusal> {
        match strip(expression) {
            Expr::Raise(kind, message) => self.raise(*kind, *message, scope, body),
            other if raises(other) => {
                Err(Refusal::new("RAISE", "RAISE stands within an expression"))
            }
            _ => Ok(vec!["NULL;".to_owned()]),
        }
    }

    fn raise(
        &self,
        kind: ResolveType,
        message: Option<&Expr<'_>>,
        scope: &Scope<'_>,
        body: &Body<'_>,
    ) -> Result<Vec<String>, Refusal> {
        match kind {
            ResolveType::Abort | ResolveType::Rollback => {
                let message = match message {
                    Some(message) => self.expression(message, scope)?.into_text("RAISE")?,
                    None => Sql::text("")?,
                };
                let text = match (&message.literal, message.ty) {
                    (Some(Literal::Text(text)), _) => quote_literal(text),
                    (_, Ty::Text) => message.text,
                    _ => return Err(Refusal::new("RAISE", "RAISE has a message that is no text")),
                };
                Ok(vec![format!(
                    "RAISE EXCEPTION USING MESSAGE = {text}, ERRCODE = 'integrity_constraint_violation';"
                )])
            }
            // The row is left as it is and no later trigger sees it: what PostgreSQL does on NULL,
            // but only before the change.
            ResolveType::Ignore if body.time != TriggerTime::After => {
                Ok(vec!["RETURN NULL;".to_owned()])
            }
            ResolveType::Ignore => Err(Refusal::new(
                "IGNORE",
                "RAISE(IGNORE) in an AFTER trigger stops later triggers",
            )),
            ResolveType::Fail | ResolveType::Replace => {
                let reason = format!(
                    "RAISE(FAIL) in a trigger on {} keeps the rows changed before",
                    body.table
                );
                Err(Refusal::new("FAIL", reason))
            }
        }
    }
}

fn strip<'e, 'b>(expression: &'e Expr<'b>) -> &'e Expr<'b> {
    match expression {
        Expr::Parenthesized(inner) if inner.len() == 1 => strip(&inner[0]),
        other => other,
    }
}

fn raises(expression: &Expr<'_>) -> bool {
    match expression {
        Expr::Raise(..) => true,
        Expr::Parenthesized(inner) => inner.iter().any(raises),
        Expr::Case {
            base,
            when_then_pairs,
            else_expr,
        } => {
            base.is_some_and(raises)
                || else_expr.is_some_and(raises)
                || when_then_pairs
                    .iter()
                    .any(|(when, then)| raises(when) || raises(then))
        }
        Expr::Binary(left, _, right) => raises(left) || raises(right),
        Expr::FunctionCall { args, .. } => args.unwrap_or_default().iter().any(raises),
        Expr::Collate(inner, _)
        | Expr::IsNull(inner)
        | Expr::NotNull(inner)
        | Expr::Unary(_, inner) => raises(inner),
        Expr::Cast { expr, .. } => raises(expr),
        _ => false,
    }
}
