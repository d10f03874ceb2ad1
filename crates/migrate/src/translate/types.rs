//! From one type to another: casts, columns that are written, values of which one is chosen.

use super::catalog::CatalogColumn;
use super::expression::number;
use super::sql::{Literal, Sql, Ty};
use super::{Refusal, Translator};
use crate::plan::{TargetType, quote_literal};

impl Translator<'_> {
    /// A value as it is written to a column: what PostgreSQL would round, cut or guess is refused.
    pub(super) fn assign(&self, value: &Sql, column: &CatalogColumn) -> Result<String, Refusal> {
        let refuse = || {
            let reason = format!(
                "{} ({}) is written to column {} ({})",
                value.text,
                value.ty.name(),
                column.source,
                column
                    .type_
                    .as_ref()
                    .map_or_else(|| column.ty.name().to_owned(), ToString::to_string)
            );
            Refusal::new(column.source.clone(), reason)
        };
        if column.generated {
            return Err(Refusal::new(
                column.source.clone(),
                format!("column {} is computed", column.source),
            ));
        }
        let narrow = matches!(
            column.type_,
            Some(TargetType::SmallInt | TargetType::Integer)
        );
        match (column.ty, value.ty, &value.literal) {
            (_, Ty::Null, _) => Ok("NULL".to_owned()),
            (Ty::Bool, Ty::Int, Some(Literal::Integer(0))) => Ok("false".to_owned()),
            (Ty::Bool, Ty::Int, Some(Literal::Integer(1))) => Ok("true".to_owned()),
            // By NUMERIC affinity these are the integers.
            (Ty::Bool, Ty::Text, Some(Literal::Text(text))) => match text.trim_matches(' ') {
                "0" => Ok("false".to_owned()),
                "1" => Ok("true".to_owned()),
                _ => Err(refuse()),
            },
            (Ty::Words(words), Ty::Text, Some(_)) => words.truth(value).ok_or_else(refuse),
            (Ty::Int, Ty::Bool, _) if value.column => Ok(format!("{}::integer", value.bracketed())),
            (Ty::Int, Ty::Bool, _) => Ok(value.clone().into_value().text),
            (Ty::Int, Ty::Text, Some(Literal::Text(text))) => {
                match text.trim_matches(' ').parse::<i64>() {
                    Ok(number) => Ok(Sql::integer(number).text),
                    Err(_) => Err(refuse()),
                }
            }
            (Ty::Int, Ty::Real, Some(Literal::Real(number)))
                if number.fract() == 0.0 && number.abs() < 1e15 =>
            {
                Ok(Sql::integer(*number as i64).text)
            }
            (Ty::Int, Ty::Int, literal) => match (narrow, literal) {
                (true, None) if !value.column => Err(refuse()),
                _ => Ok(value.text.clone()),
            },
            (Ty::Real, Ty::Int, Some(Literal::Integer(number))) => {
                Ok(Sql::real(*number as f64).text)
            }
            (Ty::Real | Ty::Numeric, Ty::Int, _) => Ok(value.text.clone()),
            (Ty::Numeric, Ty::Real, Some(Literal::Real(number))) if number.is_finite() => {
                Ok(format!("{number}"))
            }
            (Ty::Numeric | Ty::Real, Ty::Text, Some(Literal::Text(text))) => {
                match text.trim_matches(' ').parse::<f64>() {
                    Ok(number) if number.is_finite() && column.ty == Ty::Real => {
                        Ok(Sql::real(number).text)
                    }
                    Ok(number) if number.is_finite() => Ok(format!("{number}")),
                    _ => Err(refuse()),
                }
            }
            (Ty::Real | Ty::Numeric, Ty::Bool, _) if value.text == "true" => Ok("1".to_owned()),
            (Ty::Real | Ty::Numeric, Ty::Bool, _) if value.text == "false" => Ok("0".to_owned()),
            (Ty::Real | Ty::Numeric, Ty::Bool, _) => Ok(value.clone().into_number("=")?.text),
            (Ty::Mixed, Ty::Mixed, _) => Ok(value.text.clone()),
            (Ty::Mixed, _, _) => super::compare::beside_mixed(value).ok_or_else(refuse),
            (Ty::Text, Ty::Mixed, _) => Ok(value.text.clone()),
            (Ty::Text, Ty::Int | Ty::Bool, _) => Ok(value.clone().into_text("=")?.text),
            (Ty::Text, from, _) if from.is_written_as_text() => {
                Ok(value.clone().into_text("=")?.text)
            }
            (Ty::Json, Ty::Text, Some(Literal::Text(text))) => {
                Ok(format!("{}::json", quote_literal(text)))
            }
            (to, Ty::Text, Some(Literal::Text(text))) if to.is_written_as_text() => {
                // Text that is no such value could only be stored as text: the column would not be one.
                let literal = Sql::text(text)?;
                let column = Sql {
                    column: true,
                    ..Sql::atom("x", to)
                };
                let (_, typed) = self.comparable(&column, &literal, true, "=")?;
                if typed == literal.text {
                    Err(refuse())
                } else {
                    Ok(typed)
                }
            }
            (to, Ty::Text, None) if matches!(to, Ty::Date | Ty::Time(_) | Ty::Timestamp(_)) => {
                Ok(format!("{}::{}", value.bracketed(), to.name()))
            }
            (Ty::TimestampTz(_), Ty::Text, None) => Ok(format!(
                "({}::timestamp AT TIME ZONE 'UTC')",
                value.bracketed()
            )),
            (Ty::Bool, Ty::Bool, _) | (Ty::Numeric, Ty::Numeric, _) => Ok(value.text.clone()),
            (to, from, _) if to == from && to != Ty::Opaque => Ok(value.text.clone()),
            _ => Err(refuse()),
        }
    }
}

/// `CAST(operand AS type_name)`.
pub(super) fn cast(operand: Sql, type_name: &str) -> Result<Sql, Refusal> {
    let refuse = |operand: &Sql| {
        let reason = format!(
            "CAST({} AS {type_name}) reads numbers out of {} differently in the two programs",
            operand.text,
            operand.ty.name()
        );
        Refusal::new("CAST", reason)
    };
    let affinity = affinity(type_name);
    match (affinity, operand.ty) {
        (_, Ty::Null) => Ok(Sql::atom(format!("NULL::{}", affinity.name()), affinity)),
        (Ty::Int, Ty::Int) | (Ty::Real, Ty::Real) | (Ty::Text, Ty::Text) | (Ty::Blob, Ty::Blob) => {
            Ok(Sql {
                column: affinity.is_number(),
                literal: None,
                ..operand
            })
        }
        (Ty::Int, Ty::Bool) => operand.into_number("CAST"),
        (Ty::Int, Ty::Real) => {
            // What is out of range becomes the nearest integer.
            let real = operand.bracketed();
            let text = format!(
                "CASE WHEN {real} >= 9223372036854775807 THEN 9223372036854775807 \
                 WHEN {real} <= -9223372036854775808 THEN (-9223372036854775807 - 1) \
                 ELSE trunc({real})::bigint END"
            );
            let made = Sql::atom(text, Ty::Int).depending_on([&operand]);
            Ok(Sql {
                column: true,
                ..made
            })
        }
        (Ty::Int, Ty::Text) => match &operand.literal {
            Some(Literal::Text(text)) if text.parse::<i64>().is_ok() => number(text),
            _ => Err(refuse(&operand)),
        },
        (Ty::Real, Ty::Int | Ty::Bool | Ty::Numeric) => {
            let number = operand.into_number("CAST")?;
            Ok(Sql::atom(
                format!("{}::double precision", number.bracketed()),
                Ty::Real,
            )
            .depending_on([&number]))
        }
        (Ty::Numeric, Ty::Int | Ty::Real | Ty::Bool) => operand.into_number("CAST"),
        (Ty::Text, _) => operand.into_text("CAST"),
        (Ty::Blob, Ty::Text) => {
            let text = format!("convert_to({}, 'UTF8')", operand.text);
            // Stable only because the database's encoding could change, which it cannot.
            Ok(Sql::atom(text, Ty::Blob)
                .depending_on([&operand])
                .not_immutable())
        }
        _ => Err(refuse(&operand)),
    }
}

/// The affinity of a type name, as the type a cast to it answers with.
pub(super) fn affinity(type_name: &str) -> Ty {
    let name = type_name.to_ascii_uppercase();
    let has = |part: &str| name.contains(part);
    if has("INT") {
        Ty::Int
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        Ty::Text
    } else if has("BLOB") || name.is_empty() {
        Ty::Blob
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        Ty::Real
    } else {
        Ty::Numeric
    }
}

/// One type for values of which one is chosen, and each value in it.
pub(super) fn unify(values: &[Sql], token: &str) -> Result<(Ty, Vec<String>), Refusal> {
    let mut common = Ty::Null;
    for value in values.iter().filter(|value| value.ty != Ty::Null) {
        common = match (common, value.ty) {
            (Ty::Null, ty) => ty,
            (a, b) if a == b => a,
            (Ty::Bool, Ty::Int) | (Ty::Int, Ty::Bool) => Ty::Int,
            (Ty::Mixed, Ty::Int) | (Ty::Int, Ty::Mixed) => Ty::Mixed,
            (Ty::Real, b) | (b, Ty::Real) if b.is_number() => Ty::Real,
            (Ty::Numeric, Ty::Int) | (Ty::Int, Ty::Numeric) => Ty::Numeric,
            (a, Ty::Text) | (Ty::Text, a) if a.is_written_as_text() => Ty::Text,
            (a, b) if a.is_written_as_text() && b.is_written_as_text() => Ty::Text,
            (a, b) => {
                let reason = format!(
                    "{token} answers {} for some rows and {} for others",
                    a.name(),
                    b.name()
                );
                return Err(Refusal::new(token, reason));
            }
        };
    }
    if common == Ty::Opaque {
        return Err(Refusal::new(
            token,
            format!("{token} chooses a column whose values were cast"),
        ));
    }
    let texts = values
        .iter()
        .map(|value| convert_to(value, common, token))
        .collect::<Result<_, _>>()?;
    Ok((common, texts))
}

/// A value as text of SQL of the type.
pub(super) fn convert_to(value: &Sql, ty: Ty, token: &str) -> Result<String, Refusal> {
    Ok(match (value.ty, ty) {
        (a, b) if a == b => value.bracketed(),
        (Ty::Null, _) => format!("NULL::{}", ty.name()),
        (Ty::Bool, Ty::Int) => value.clone().into_number(token)?.text,
        (Ty::Bool | Ty::Int | Ty::Numeric, Ty::Real) => {
            format!(
                "{}::double precision",
                value.clone().into_number(token)?.bracketed()
            )
        }
        (Ty::Int, Ty::Numeric) => format!("{}::numeric", value.bracketed()),
        (_, Ty::Text | Ty::Mixed) => value.clone().into_text(token)?.text,
        _ => {
            return Err(Refusal::new(
                token,
                format!("{token} mixes {} and {}", value.ty.name(), ty.name()),
            ));
        }
    })
}
