//! LIKE and GLOB.

use sqlite3_parser::ast::LikeOperator;

use super::Refusal;
use super::sql::{Literal, Sql, Ty};
use crate::plan::quote_literal;

/// `left LIKE right` and its like.
pub(super) fn like(
    operator: LikeOperator,
    left: Sql,
    right: Sql,
    escape: Option<Sql>,
) -> Result<Sql, Refusal> {
    let token = match operator {
        LikeOperator::Like => "LIKE",
        LikeOperator::Glob => "GLOB",
        LikeOperator::Match => "MATCH",
        LikeOperator::Regexp => "REGEXP",
    };
    if left.ty == Ty::Null || right.ty == Ty::Null {
        return Ok(Sql::atom("NULL::boolean", Ty::Bool));
    }
    let subject = left.into_text(token)?;
    match operator {
        LikeOperator::Like => {
            let escape = match escape.map(|escape| escape.literal) {
                None => String::new(),
                Some(Some(Literal::Text(text)))
                    if text.chars().count() == 1 && !text.chars().all(char::is_alphabetic) =>
                {
                    text
                }
                Some(_) => {
                    return Err(Refusal::new(
                        "ESCAPE",
                        "ESCAPE is not one character that has no case",
                    ));
                }
            };
            let pattern = right.into_text(token)?;
            let text = format!(
                "({} COLLATE \"C\") ILIKE {} ESCAPE {}",
                subject.bracketed(),
                pattern.bracketed(),
                quote_literal(&escape)
            );
            Ok(Sql::new(text, Ty::Bool).depending_on([&subject, &pattern]))
        }
        LikeOperator::Glob => match &right.literal {
            Some(Literal::Text(pattern)) => {
                let regex = quote_literal(&glob_as_regex(pattern)?);
                let text = format!("({} COLLATE \"C\") ~ {regex}", subject.bracketed());
                Ok(Sql::new(text, Ty::Bool).depending_on([&subject]))
            }
            _ => Err(Refusal::new(
                token,
                "GLOB has a pattern that is not known beforehand",
            )),
        },
        LikeOperator::Match | LikeOperator::Regexp => Err(Refusal::new(
            token,
            format!("{token} is a function of the application"),
        )),
    }
}

/// A GLOB pattern as a regular expression of PostgreSQL.
fn glob_as_regex(pattern: &str) -> Result<String, Refusal> {
    let mut regex = String::from("^");
    let mut letters = pattern.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            '[' => {
                regex.push('[');
                if letters.next_if_eq(&'^').is_some() {
                    regex.push('^');
                }
                let mut closed = false;
                let mut first = true;
                for inner in letters.by_ref() {
                    match inner {
                        ']' if !first => {
                            closed = true;
                            break;
                        }
                        // Within brackets these would begin an escape or a class.
                        '\\' | '[' | ']' => regex.push_str(&format!("\\{inner}")),
                        _ => regex.push(inner),
                    }
                    first = false;
                }
                if !closed {
                    return Err(Refusal::new(
                        "GLOB",
                        "GLOB has a pattern with a bracket that is never closed",
                    ));
                }
                regex.push(']');
            }
            letter if letter.is_alphanumeric() || letter == '_' || !letter.is_ascii() => {
                regex.push(letter);
            }
            letter => regex.push_str(&format!("\\{letter}")),
        }
    }
    regex.push('$');
    Ok(regex)
}
