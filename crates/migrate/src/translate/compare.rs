//! Comparisons: affinity, collations and NULL as SQLite has them.

use super::sql::{Collated, Literal, Sql, Ty};
use super::{Refusal, Translator};
use crate::plan::{Collation, DateTimeFormat, Fraction, quote_literal};
use crate::profile::{Shape, Watch, shape_of};

impl Translator<'_> {
    /// `left operator right`, where the operator is PostgreSQL's.
    pub(super) fn compare(&self, left: &Sql, operator: &str, right: &Sql) -> Result<Sql, Refusal> {
        let equality = !matches!(operator, "<" | "<=" | ">" | ">=");
        let (a, b) = self.comparable(left, right, equality, operator)?;
        Ok(Sql::new(format!("{a} {operator} {b}"), Ty::Bool).depending_on([left, right]))
    }

    /// Both sides in a form in which PostgreSQL compares them as SQLite does.
    pub(super) fn comparable(
        &self,
        left: &Sql,
        right: &Sql,
        equality: bool,
        token: &str,
    ) -> Result<(String, String), Refusal> {
        let refuse = || {
            let reason = format!(
                "{} ({}) is compared with {} ({})",
                left.text,
                left.ty.name(),
                right.text,
                right.ty.name()
            );
            Refusal::new(token, reason)
        };
        match (left.ty, right.ty) {
            (Ty::Null, _) | (_, Ty::Null) => Ok((cast_null(left), cast_null(right))),
            (Ty::Opaque, _) | (_, Ty::Opaque) => Err(refuse()),
            (Ty::Words(a), Ty::Words(b)) if a == b && equality => {
                Ok((left.bracketed(), right.bracketed()))
            }
            (Ty::Words(words), _) if equality => {
                Ok((left.bracketed(), words.truth(right).ok_or_else(refuse)?))
            }
            (_, Ty::Words(words)) if equality => {
                Ok((words.truth(left).ok_or_else(refuse)?, right.bracketed()))
            }
            (Ty::Words(_), _) | (_, Ty::Words(_)) => Err(refuse()),
            (Ty::Text, Ty::Text) => Ok(collate(left, right, equality)),
            (Ty::Bool, Ty::Bool) => Ok((left.bracketed(), right.bracketed())),
            (Ty::Bool, Ty::Int) if equality => Ok(boolean_and_integer(left, right)),
            (Ty::Int, Ty::Bool) if equality => {
                let (b, a) = boolean_and_integer(right, left);
                Ok((a, b))
            }
            (a, b) if a.is_number() && b.is_number() => {
                // A boolean column compared with more than 0 and 1 counts as these.
                let number = |side: &Sql| match side.ty {
                    Ty::Bool => format!("{}::integer", side.bracketed()),
                    _ => side.bracketed(),
                };
                Ok((number(left), number(right)))
            }
            (Ty::Mixed, _) | (_, Ty::Mixed) if !equality => Err(refuse()),
            (Ty::Mixed, Ty::Mixed) => Ok((left.bracketed(), right.bracketed())),
            (Ty::Mixed, _) => Ok((left.bracketed(), beside_mixed(right).ok_or_else(refuse)?)),
            (_, Ty::Mixed) => Ok((beside_mixed(left).ok_or_else(refuse)?, right.bracketed())),
            (Ty::Blob, Ty::Blob) => Ok((left.bracketed(), right.bracketed())),
            (Ty::Text, b) if b.is_number() => Ok((
                left.bracketed(),
                number_beside_text(left, right).ok_or_else(refuse)?,
            )),
            (a, Ty::Text) if a.is_number() => {
                if let Some(number) = text_beside_number(left, right) {
                    return Ok((left.bracketed(), number));
                }
                Ok((
                    number_beside_text(right, left).ok_or_else(refuse)?,
                    right.bracketed(),
                ))
            }
            (a, b) if a == b && a.is_written_as_text() && a != Ty::Json => {
                Ok((left.bracketed(), right.bracketed()))
            }
            // By NUMERIC affinity a literal that reads as a number is one beside these columns.
            (a, Ty::Text) if a.is_written_as_text() && reads_as_number(right) => Err(refuse()),
            (Ty::Text, b) if b.is_written_as_text() && reads_as_number(left) => Err(refuse()),
            (a, Ty::Text) if a.is_written_as_text() => match typed_literal(a, right) {
                Some(literal) => Ok((left.bracketed(), literal)),
                None => self.comparable(&left.clone().into_text(token)?, right, equality, token),
            },
            (Ty::Text, b) if b.is_written_as_text() => match typed_literal(b, left) {
                Some(literal) => Ok((literal, right.bracketed())),
                None => self.comparable(left, &right.clone().into_text(token)?, equality, token),
            },
            (a, b) if a.is_written_as_text() && b.is_written_as_text() => {
                let (left, right) = (
                    left.clone().into_text(token)?,
                    right.clone().into_text(token)?,
                );
                self.comparable(&left, &right, equality, token)
            }
            _ => Err(refuse()),
        }
    }
}

/// What is compared for equality with a column of integers and texts: by INTEGER affinity a text that
/// looks like an integer is one.
pub(super) fn beside_mixed(other: &Sql) -> Option<String> {
    match (&other.literal, other.ty) {
        (Some(Literal::Text(text)), _) => {
            let trimmed = text.trim_matches(' ');
            match trimmed.parse::<i64>() {
                Ok(number) => Some(quote_literal(&number.to_string())),
                Err(_) if trimmed.parse::<f64>().is_ok() => None,
                Err(_) => Some(quote_literal(text)),
            }
        }
        (_, Ty::Int | Ty::Bool) => other
            .clone()
            .into_text("=")
            .ok()
            .map(|text| text.bracketed()),
        _ => None,
    }
}

fn cast_null(side: &Sql) -> String {
    side.bracketed()
}

/// The collation that decides: an explicit one, the left one first, then a column's.
fn deciding(left: &Sql, right: &Sql) -> Collation {
    match (left.collated, right.collated) {
        (Collated::Explicit(collation), _) | (_, Collated::Explicit(collation)) => collation,
        (Collated::Column(collation), _) | (_, Collated::Column(collation)) => collation,
        (Collated::No, Collated::No) => Collation::Binary,
    }
}

fn collate(left: &Sql, right: &Sql, equality: bool) -> (String, String) {
    let (a, b) = (left.bracketed(), right.bracketed());
    match deciding(left, right) {
        Collation::NoCase => (
            format!("lower({a} COLLATE \"C\")"),
            format!("lower({b} COLLATE \"C\")"),
        ),
        Collation::Rtrim => (
            format!("(rtrim({a}, ' ') COLLATE \"C\")"),
            format!("rtrim({b}, ' ')"),
        ),
        Collation::Binary => {
            let by_column = left.column || right.column;
            if left.nondeterministic || right.nondeterministic || (!equality && !by_column) {
                return (format!("({a} COLLATE \"C\")"), b);
            }
            (a, b)
        }
    }
}

fn boolean_and_integer(boolean: &Sql, integer: &Sql) -> (String, String) {
    match integer.literal {
        Some(Literal::Integer(0)) => (boolean.bracketed(), "false".to_owned()),
        Some(Literal::Integer(1)) => (boolean.bracketed(), "true".to_owned()),
        _ => (
            format!("{}::integer", boolean.bracketed()),
            integer.bracketed(),
        ),
    }
}

/// A number compared with a column of text becomes text.
fn number_beside_text(text: &Sql, number: &Sql) -> Option<String> {
    match (&number.literal, number.ty) {
        _ if !text.column => None,
        (Some(Literal::Integer(value)), _) => Some(quote_literal(&value.to_string())),
        (None, Ty::Int | Ty::Bool) if !number.column => {
            number.clone().into_text("=").ok().map(|text| text.text)
        }
        _ => None,
    }
}

/// A text literal that reads as a number becomes one beside a number.
fn text_beside_number(number: &Sql, text: &Sql) -> Option<String> {
    let Some(Literal::Text(literal)) = &text.literal else {
        return None;
    };
    if !number.column {
        return None;
    }
    let literal = literal.trim_matches(' ');
    if let Ok(value) = literal.parse::<i64>() {
        return Some(match number.ty {
            Ty::Bool if value == 0 => "false".to_owned(),
            Ty::Bool if value == 1 => "true".to_owned(),
            Ty::Bool => return None,
            _ => Sql::integer(value).bracketed(),
        });
    }
    let plain = literal
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let value: f64 = literal
        .parse()
        .ok()
        .filter(|value: &f64| plain && value.is_finite())?;
    (number.ty != Ty::Bool).then(|| Sql::real(value).text)
}

/// Whether a text literal would become a number by affinity.
fn reads_as_number(text: &Sql) -> bool {
    matches!(&text.literal, Some(Literal::Text(text)) if text.trim_matches(' ').parse::<f64>().is_ok())
}

/// A text literal in exactly the shape of a column's values, as a literal of the column's type.
fn typed_literal(ty: Ty, text: &Sql) -> Option<String> {
    let Some(Literal::Text(literal)) = &text.literal else {
        return None;
    };
    let quoted = quote_literal(literal);
    let same = |format: DateTimeFormat, found: DateTimeFormat| {
        let fraction = match (format.fraction, found.fraction) {
            (Fraction::SixOrNone, Fraction::None | Fraction::Digits(6)) => true,
            (a, b) => a == b,
        };
        fraction
            && DateTimeFormat {
                fraction: found.fraction,
                ..format
            } == found
    };
    match (ty, shape_of(literal, Watch::DateTime)) {
        (Ty::Date, Shape::Date) => Some(format!("DATE {quoted}")),
        (Ty::Time(format), Shape::Time(found)) if same(format, found) => {
            Some(format!("TIME {quoted}"))
        }
        (Ty::Timestamp(format), Shape::DateTime(found)) if same(format, found) => {
            Some(format!("TIMESTAMP {quoted}"))
        }
        (Ty::TimestampTz(format), Shape::DateTime(found)) if same(format, found) => {
            Some(format!("TIMESTAMPTZ {quoted}"))
        }
        (Ty::Uuid { uppercase, hyphens }, _) => match shape_of(literal, Watch::Uuid) {
            Shape::Uuid {
                uppercase: found,
                hyphens: parted,
            } if parted == hyphens && (found == uppercase) => Some(format!("{quoted}::uuid")),
            _ => None,
        },
        _ => None,
    }
}
