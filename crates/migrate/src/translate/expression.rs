use sqlite3_parser::ast::{Expr, Literal as SqliteLiteral, Operator, UnaryOperator};

use super::catalog::Scope;
use super::pattern::like;
use super::sql::{Collated, Literal, Sql, Ty};
use super::types::{cast, unify};
use super::{Refusal, Translator};
use crate::schema::{CollationName, unquote};

impl Translator<'_> {
    /// Translates an expression as it stands, a truth value as `boolean`.
    pub(super) fn expression(
        &self,
        expression: &Expr<'_>,
        scope: &Scope<'_>,
    ) -> Result<Sql, Refusal> {
        match expression {
            Expr::Literal(literal) => literal_value(literal),
            Expr::Parenthesized(inner) => match inner.as_slice() {
                [only] => {
                    let inner = self.expression(only, scope)?;
                    let text = inner.bracketed();
                    Ok(Sql {
                        text,
                        atom: true,
                        ..inner
                    })
                }
                _ => Err(Refusal::new(
                    "(",
                    "a row value stands where PostgreSQL wants a single value",
                )),
            },
            Expr::Id(id) => self.name(id.0, scope),
            Expr::Name(name) => self.name(name.0, scope),
            Expr::Qualified(table, column) => {
                self.qualified(&unquote(table.0), &unquote(column.0), scope)
            }
            Expr::DoublyQualified(_, table, column) => {
                self.qualified(&unquote(table.0), &unquote(column.0), scope)
            }
            Expr::Unary(operator, operand) => self.unary(*operator, operand, scope),
            Expr::Binary(left, operator, right) => self.binary(left, *operator, right, scope),
            Expr::Between {
                lhs,
                not,
                start,
                end,
            } => {
                let value = self.expression(lhs, scope)?;
                let low = self.compare(&value, ">=", &self.expression(start, scope)?)?;
                let high = self.compare(&value, "<=", &self.expression(end, scope)?)?;
                let text = format!("{} AND {}", low.text, high.text);
                Ok(negated_if(
                    *not,
                    Sql::new(text, Ty::Bool).depending_on([&low, &high]),
                ))
            }
            Expr::Case {
                base,
                when_then_pairs,
                else_expr,
            } => self.case(*base, when_then_pairs, *else_expr, scope),
            Expr::Cast { expr, type_name } => {
                let operand = self.expression(expr, scope)?;
                cast(operand, type_name.as_ref().map_or("", |name| name.name))
            }
            Expr::Collate(operand, name) => {
                let operand = self.expression(operand, scope)?;
                match CollationName::of(&unquote(name)) {
                    CollationName::Known(collation) => Ok(Sql {
                        collated: Collated::Explicit(collation),
                        ..operand
                    }),
                    CollationName::Unknown(name) => Err(Refusal::new(
                        &name,
                        format!("collation {name} is the application's own"),
                    )),
                }
            }
            Expr::Exists(select) => {
                let query = self.select(select, scope)?;
                Ok(Sql::atom(format!("EXISTS ({})", query.text), Ty::Bool).not_immutable())
            }
            Expr::FunctionCall {
                name,
                distinctness,
                args,
                order_by,
                filter_over,
            } => {
                let arguments = args.unwrap_or_default();
                let call = super::function::Call {
                    name: unquote(name.0).to_ascii_lowercase(),
                    distinct: distinctness
                        .is_some_and(|kind| kind == sqlite3_parser::ast::Distinctness::Distinct),
                    star: false,
                    order_by: order_by.as_ref(),
                    tail: filter_over.as_ref(),
                };
                self.function(&call, arguments, scope)
            }
            Expr::FunctionCallStar { name, filter_over } => {
                let name = unquote(name.0).to_ascii_lowercase();
                let tail = filter_over.as_ref();
                let call = super::function::Call {
                    name,
                    distinct: false,
                    star: true,
                    order_by: None,
                    tail,
                };
                self.function(&call, &[], scope)
            }
            Expr::InList { lhs, not, rhs } => {
                self.in_list(lhs, *not, rhs.unwrap_or_default(), scope)
            }
            Expr::InSelect { lhs, not, rhs } => {
                let query = self.select(rhs, scope)?;
                self.in_query(lhs, *not, &query.text, &query.columns, scope)
            }
            Expr::InTable {
                lhs,
                not,
                rhs,
                args,
            } => {
                let name = unquote(rhs.name.0);
                if args.is_some() {
                    return Err(Refusal::new(
                        &name,
                        format!("{name} is a table-valued function"),
                    ));
                }
                let source = self.source(&name, &name, scope)?;
                let columns: Vec<(String, Sql)> = source
                    .columns
                    .iter()
                    .map(|column| (column.source.clone(), column.read("")))
                    .collect();
                let text = format!("SELECT * FROM {}", self.relation_text(&name, scope)?);
                self.in_query(lhs, *not, &text, &columns, scope)
            }
            Expr::IsNull(operand) => self.null_test(operand, "IS NULL", scope),
            Expr::NotNull(operand) => self.null_test(operand, "IS NOT NULL", scope),
            Expr::Like {
                lhs,
                not,
                op,
                rhs,
                escape,
            } => {
                let (left, right) = (self.expression(lhs, scope)?, self.expression(rhs, scope)?);
                let escape = escape
                    .map(|escape| self.expression(escape, scope))
                    .transpose()?;
                Ok(negated_if(*not, like(*op, left, right, escape)?))
            }
            Expr::Raise(..) => Err(Refusal::new("RAISE", "RAISE stands within an expression")),
            Expr::Subquery(select) => {
                let query = self.select(select, scope)?;
                let [(_, column)] = query.columns.as_slice() else {
                    return Err(Refusal::new(
                        "SELECT",
                        "a subquery of several columns stands where one value is wanted",
                    ));
                };
                // SQLite takes the first row of many; PostgreSQL refuses more than one.
                let text = if query.is_one_row {
                    query.text
                } else if select.limit.is_some() {
                    format!("SELECT * FROM ({}) AS q LIMIT 1", query.text)
                } else {
                    format!("{} LIMIT 1", query.text)
                };
                let made = Sql::atom(format!("({text})"), column.ty).not_immutable();
                Ok(Sql {
                    nondeterministic: column.nondeterministic,
                    collated: column.collated,
                    // A subquery has the affinity of its column.
                    column: column.column && column.ty.is_number() && column.ty != Ty::Bool,
                    ..made
                })
            }
            Expr::Variable(name) => Err(Refusal::new(
                *name,
                format!("parameter {name} has no value here"),
            )),
        }
    }

    fn name(&self, written: &str, scope: &Scope<'_>) -> Result<Sql, Refusal> {
        let name = unquote(written);
        let mut level = Some(scope);
        while let Some(scope) = level {
            let found = scope
                .sources
                .iter()
                .filter(|source| !source.only_qualified)
                .find_map(|source| {
                    let merged = source
                        .merged
                        .iter()
                        .any(|merged| merged.eq_ignore_ascii_case(&name));
                    if merged {
                        None
                    } else {
                        source
                            .column(&name)
                            .map(|column| column.read(&source.prefix))
                    }
                });
            if let Some(found) = found {
                return Ok(found);
            }
            let alias = scope
                .aliases
                .iter()
                .find(|(alias, _)| alias.eq_ignore_ascii_case(&name));
            if let Some((_, expression)) = alias {
                let without = Scope {
                    aliases: Vec::new(),
                    ..scope.clone()
                };
                let value = self.expression(expression, &without)?;
                return Ok(Sql {
                    text: value.bracketed(),
                    atom: true,
                    ..value
                });
            }
            level = scope.outer;
        }
        if written.starts_with('"') {
            return Sql::text(&name);
        }
        match name.to_ascii_uppercase().as_str() {
            "TRUE" => Ok(Sql::atom("true", Ty::Bool)),
            "FALSE" => Ok(Sql::atom("false", Ty::Bool)),
            "ROWID" | "_ROWID_" | "OID" => Err(Refusal::new(
                &name,
                format!("{name} is the rowid, which is in no column of the target"),
            )),
            _ => Err(Refusal::new(&name, format!("there is no column {name}"))),
        }
    }

    fn qualified(&self, table: &str, column: &str, scope: &Scope<'_>) -> Result<Sql, Refusal> {
        let mut level = Some(scope);
        while let Some(scope) = level {
            if let Some(source) = scope
                .sources
                .iter()
                .find(|source| source.name.eq_ignore_ascii_case(table))
            {
                return match source.column(column) {
                    Some(found) => Ok(found.read(&source.prefix)),
                    None => Err(Refusal::new(
                        column,
                        format!("{table} has no column {column} in the target"),
                    )),
                };
            }
            level = scope.outer;
        }
        Err(Refusal::new(
            table,
            format!("there is no table {table} here"),
        ))
    }

    fn unary(
        &self,
        operator: UnaryOperator,
        operand: &Expr<'_>,
        scope: &Scope<'_>,
    ) -> Result<Sql, Refusal> {
        let value = self.expression(operand, scope)?;
        match operator {
            // SQLite's unary plus only takes a column's affinity away.
            UnaryOperator::Positive => Ok(Sql {
                column: false,
                ..value
            }),
            UnaryOperator::Negative => {
                match value.literal {
                    Some(Literal::Integer(number)) => {
                        return Ok(Sql::integer(number.wrapping_neg()));
                    }
                    // The one integer whose digits alone are a real.
                    Some(Literal::Real(9_223_372_036_854_775_808.0)) => {
                        return Ok(Sql::integer(i64::MIN));
                    }
                    Some(Literal::Real(number)) => return Ok(Sql::real(-number)),
                    Some(Literal::Text(_)) | None => {}
                }
                let number = value.into_number("-")?;
                Ok(
                    Sql::new(format!("- {}", number.bracketed()), number.ty)
                        .depending_on([&number]),
                )
            }
            UnaryOperator::Not => {
                let condition = value.into_condition()?;
                Ok(Sql::new(format!("NOT {}", condition.bracketed()), Ty::Bool)
                    .depending_on([&condition]))
            }
            UnaryOperator::BitwiseNot => {
                let number = integer_operand(value, "~")?;
                Ok(Sql::new(format!("~ {}", number.bracketed()), Ty::Int).depending_on([&number]))
            }
        }
    }

    fn binary(
        &self,
        left: &Expr<'_>,
        operator: Operator,
        right: &Expr<'_>,
        scope: &Scope<'_>,
    ) -> Result<Sql, Refusal> {
        if let (Operator::Is | Operator::IsNot, Some(truth)) = (operator, truth_word(right)) {
            let not = if operator == Operator::IsNot {
                "NOT "
            } else {
                ""
            };
            let condition = self.expression(left, scope)?.into_condition()?;
            let text = format!("{} IS {not}{truth}", condition.bracketed());
            return Ok(Sql::new(text, Ty::Bool).depending_on([&condition]));
        }
        if let (Operator::Equals | Operator::NotEquals, Some(rows)) =
            (operator, row_values(left, right))
        {
            return self.compare_rows(operator, &rows, scope);
        }
        let (a, b) = (
            self.expression(left, scope)?,
            self.expression(right, scope)?,
        );
        match operator {
            Operator::And | Operator::Or => {
                let word = if operator == Operator::And {
                    "AND"
                } else {
                    "OR"
                };
                let (a, b) = (a.into_condition()?, b.into_condition()?);
                Ok(Sql::new(
                    format!("{} {word} {}", a.bracketed(), b.bracketed()),
                    Ty::Bool,
                )
                .depending_on([&a, &b]))
            }
            Operator::Equals => self.compare(&a, "=", &b),
            Operator::NotEquals => self.compare(&a, "<>", &b),
            Operator::Less => self.compare(&a, "<", &b),
            Operator::LessEquals => self.compare(&a, "<=", &b),
            Operator::Greater => self.compare(&a, ">", &b),
            Operator::GreaterEquals => self.compare(&a, ">=", &b),
            Operator::Is | Operator::IsNot => {
                let not = if operator == Operator::IsNot {
                    "NOT "
                } else {
                    ""
                };
                if b.ty == Ty::Null {
                    return Ok(
                        Sql::new(format!("{} IS {not}NULL", a.bracketed()), Ty::Bool)
                            .depending_on([&a]),
                    );
                }
                let word = if operator == Operator::Is {
                    "IS NOT DISTINCT FROM"
                } else {
                    "IS DISTINCT FROM"
                };
                self.compare(&a, word, &b)
            }
            Operator::Concat => {
                let (a, b) = (a.into_text("||")?, b.into_text("||")?);
                Ok(
                    Sql::new(format!("{} || {}", a.bracketed(), b.bracketed()), Ty::Text)
                        .depending_on([&a, &b]),
                )
            }
            Operator::Add
            | Operator::Subtract
            | Operator::Multiply
            | Operator::Divide
            | Operator::Modulus => arithmetic(a, operator, b),
            Operator::BitwiseAnd | Operator::BitwiseOr => {
                let sign = if operator == Operator::BitwiseAnd {
                    "&"
                } else {
                    "|"
                };
                let (a, b) = (integer_operand(a, sign)?, integer_operand(b, sign)?);
                Ok(Sql::new(
                    format!("{} {sign} {}", as_bigint(&a), b.bracketed()),
                    Ty::Int,
                )
                .depending_on([&a, &b]))
            }
            Operator::LeftShift | Operator::RightShift => {
                let sign = if operator == Operator::LeftShift {
                    "<<"
                } else {
                    ">>"
                };
                let a = integer_operand(a, sign)?;
                match b.literal {
                    Some(Literal::Integer(places @ 0..=63)) => Ok(Sql::new(
                        format!("{} {sign} {places}", as_bigint(&a)),
                        Ty::Int,
                    )
                    .depending_on([&a])),
                    _ => Err(Refusal::new(
                        sign,
                        format!("{sign} shifts by a number that is not known beforehand"),
                    )),
                }
            }
            Operator::ArrowRight | Operator::ArrowRightShift => Err(Refusal::new(
                "->",
                "JSON operators answer differently in the two programs",
            )),
        }
    }

    fn compare_rows(
        &self,
        operator: Operator,
        rows: &[(&Expr<'_>, &Expr<'_>)],
        scope: &Scope<'_>,
    ) -> Result<Sql, Refusal> {
        let mut parts = Vec::new();
        for (left, right) in rows {
            let compared = self.compare(
                &self.expression(left, scope)?,
                "=",
                &self.expression(right, scope)?,
            )?;
            parts.push(compared.text);
        }
        let all = Sql::new(parts.join(" AND "), Ty::Bool);
        Ok(negated_if(operator == Operator::NotEquals, all))
    }

    fn case(
        &self,
        base: Option<&Expr<'_>>,
        pairs: &[(Expr<'_>, Expr<'_>)],
        otherwise: Option<&Expr<'_>>,
        scope: &Scope<'_>,
    ) -> Result<Sql, Refusal> {
        let base = base.map(|base| self.expression(base, scope)).transpose()?;
        let mut conditions = Vec::new();
        let mut values = Vec::new();
        for (when, then) in pairs {
            let when = self.expression(when, scope)?;
            conditions.push(match &base {
                Some(base) => self.compare(base, "=", &when)?,
                None => when.into_condition()?,
            });
            values.push(self.expression(then, scope)?);
        }
        if let Some(otherwise) = otherwise {
            values.push(self.expression(otherwise, scope)?);
        }
        let (ty, texts) = unify(&values, "CASE")?;
        let mut text = String::from("CASE");
        for (condition, value) in conditions.iter().zip(&texts) {
            text.push_str(&format!(" WHEN {} THEN {value}", condition.text));
        }
        if otherwise.is_some() {
            text.push_str(&format!(" ELSE {}", texts[texts.len() - 1]));
        }
        text.push_str(" END");
        Ok(Sql::atom(text, ty).depending_on(conditions.iter().chain(&values)))
    }

    fn in_list(
        &self,
        left: &Expr<'_>,
        not: bool,
        list: &[Expr<'_>],
        scope: &Scope<'_>,
    ) -> Result<Sql, Refusal> {
        if list.is_empty() {
            return Ok(Sql::atom(if not { "true" } else { "false" }, Ty::Bool));
        }
        if let Expr::Parenthesized(parts) = left
            && parts.len() > 1
        {
            return Err(Refusal::new("IN", "a row value is looked for in a list"));
        }
        let value = self.expression(left, scope)?;
        let (mut subjects, mut items, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        for item in list {
            let item = self.expression(item, scope)?;
            // Only the left side's collation counts for IN.
            let item = Sql {
                collated: Collated::No,
                column: item.column && value.column,
                ..item
            };
            let (subject, text) = self.comparable(&value, &item, true, "IN")?;
            subjects.push(subject);
            items.push(text);
            parts.push(item);
        }
        let one_subject = subjects.iter().all(|subject| *subject == subjects[0]);
        let text = if one_subject {
            format!(
                "{} {}IN ({})",
                subjects[0],
                if not { "NOT " } else { "" },
                items.join(", ")
            )
        } else {
            let any: Vec<String> = subjects
                .iter()
                .zip(&items)
                .map(|(a, b)| format!("{a} = {b}"))
                .collect();
            let any = format!("({})", any.join(" OR "));
            if not { format!("NOT {any}") } else { any }
        };
        Ok(Sql::new(text, Ty::Bool).depending_on(parts.iter().chain([&value])))
    }

    fn in_query(
        &self,
        left: &Expr<'_>,
        not: bool,
        query: &str,
        columns: &[(String, Sql)],
        scope: &Scope<'_>,
    ) -> Result<Sql, Refusal> {
        let parts: Vec<&Expr<'_>> = match left {
            Expr::Parenthesized(parts) => parts.iter().collect(),
            one => vec![one],
        };
        if parts.len() != columns.len() {
            return Err(Refusal::new("IN", "IN compares rows of different lengths"));
        }
        let mut texts = Vec::new();
        for (part, (_, column)) in parts.into_iter().zip(columns) {
            let value = self.expression(part, scope)?;
            let plain = Sql {
                collated: Collated::No,
                literal: None,
                ..column.clone()
            };
            let (text, other) = self.comparable(&value, &plain, true, "IN")?;
            if other != plain.bracketed() {
                let reason = format!(
                    "IN compares {} with another type or collation in a subquery",
                    value.text
                );
                return Err(Refusal::new("IN", reason));
            }
            texts.push(text);
        }
        let subject = if texts.len() == 1 {
            texts.remove(0)
        } else {
            format!("({})", texts.join(", "))
        };
        let not = if not { "NOT " } else { "" };
        Ok(Sql::new(format!("{subject} {not}IN ({query})"), Ty::Bool).not_immutable())
    }

    fn null_test(&self, operand: &Expr<'_>, test: &str, scope: &Scope<'_>) -> Result<Sql, Refusal> {
        let value = self.expression(operand, scope)?;
        Ok(Sql::new(format!("{} {test}", value.bracketed()), Ty::Bool).depending_on([&value]))
    }
}

fn literal_value(literal: &SqliteLiteral<'_>) -> Result<Sql, Refusal> {
    match literal {
        SqliteLiteral::Null => Ok(Sql::null()),
        SqliteLiteral::Numeric(text) => number(text),
        SqliteLiteral::String(text) => Sql::text(&unquote(text)),
        SqliteLiteral::Blob(digits) => Ok(Sql::atom(format!("'\\x{digits}'::bytea"), Ty::Blob)),
        SqliteLiteral::Keyword(word) => {
            Err(Refusal::new(*word, format!("{word} is not understood")))
        }
        SqliteLiteral::CurrentDate => Ok(super::dates::now_as("YYYY-MM-DD")),
        SqliteLiteral::CurrentTime => Ok(super::dates::now_as("HH24:MI:SS")),
        SqliteLiteral::CurrentTimestamp => Ok(super::dates::now_as("YYYY-MM-DD HH24:MI:SS")),
    }
}

pub(super) fn number(written: &str) -> Result<Sql, Refusal> {
    let text = written.replace('_', "");
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return match u64::from_str_radix(digits, 16) {
            Ok(bits) => Ok(Sql::integer(bits.cast_signed())),
            Err(_) => Err(Refusal::new(written, format!("{written} is too large"))),
        };
    }
    if let Ok(value) = text.parse::<i64>() {
        return Ok(Sql::integer(value));
    }
    match text.parse::<f64>() {
        Ok(value) => Ok(Sql::real(value)),
        Err(_) => Err(Refusal::new(written, format!("{written} is not a number"))),
    }
}

fn truth_word(expression: &Expr<'_>) -> Option<&'static str> {
    match expression {
        Expr::Id(id) if id.0.eq_ignore_ascii_case("true") => Some("TRUE"),
        Expr::Id(id) if id.0.eq_ignore_ascii_case("false") => Some("FALSE"),
        _ => None,
    }
}

fn row_values<'e, 'b>(
    left: &'e Expr<'b>,
    right: &'e Expr<'b>,
) -> Option<Vec<(&'e Expr<'b>, &'e Expr<'b>)>> {
    match (left, right) {
        (Expr::Parenthesized(a), Expr::Parenthesized(b)) if a.len() > 1 && a.len() == b.len() => {
            Some(a.iter().zip(b.iter()).collect())
        }
        _ => None,
    }
}

pub(super) fn negated_if(not: bool, condition: Sql) -> Sql {
    if not {
        Sql {
            text: format!("NOT {}", condition.bracketed()),
            atom: false,
            ..condition
        }
    } else {
        condition
    }
}

fn integer_operand(value: Sql, token: &str) -> Result<Sql, Refusal> {
    let number = value.into_number(token)?;
    if number.ty == Ty::Int {
        Ok(number)
    } else {
        Err(Refusal::new(
            token,
            format!(
                "{token} takes the bits of {}, which is not an integer",
                number.text
            ),
        ))
    }
}

/// PostgreSQL calculates with small literals in 32 bits unless told otherwise.
fn as_bigint(number: &Sql) -> String {
    if number.literal.is_some() {
        format!("{}::bigint", number.bracketed())
    } else {
        number.bracketed()
    }
}

fn arithmetic(left: Sql, operator: Operator, right: Sql) -> Result<Sql, Refusal> {
    let sign = match operator {
        Operator::Add => "+",
        Operator::Subtract => "-",
        Operator::Multiply => "*",
        Operator::Divide => "/",
        _ => "%",
    };
    let divides = matches!(sign, "/" | "%");
    if divides && (left.ty == Ty::Numeric || right.ty == Ty::Numeric) {
        let reason =
            format!("{sign} divides whole or in parts by what each row holds, integers or reals");
        return Err(Refusal::new(sign, reason));
    }
    let (a, b) = (left.into_number(sign)?, right.into_number(sign)?);
    let ty = if a.ty == Ty::Real || b.ty == Ty::Real {
        Ty::Real
    } else {
        Ty::Int
    };
    if sign == "%" && ty == Ty::Real {
        return Err(Refusal::new(
            sign,
            "% of reals cuts them to integers in SQLite only",
        ));
    }
    let first = if ty == Ty::Int {
        as_bigint(&a)
    } else {
        a.bracketed()
    };
    let not_zero = match b.literal {
        Some(Literal::Integer(value)) => value != 0,
        Some(Literal::Real(value)) => value != 0.0,
        Some(Literal::Text(_)) | None => false,
    };
    // Division by zero is NULL for SQLite and an error for PostgreSQL.
    let second = if divides && !not_zero {
        format!("nullif({}, 0)", b.text)
    } else {
        b.bracketed()
    };
    Ok(Sql::new(format!("{first} {sign} {second}"), ty).depending_on([&a, &b]))
}
