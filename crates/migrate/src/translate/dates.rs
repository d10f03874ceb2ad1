//! SQLite's date and time functions, where PostgreSQL can say exactly the same.

use super::Refusal;
use super::sql::{Literal, Sql, Ty};
use crate::plan::quote_literal;

/// The time at which the statement began, in UTC: SQLite's `now` stands still within a statement.
const NOW: &str = "statement_timestamp() AT TIME ZONE 'UTC'";

/// The present time, written by a pattern of `to_char`.
pub(super) fn now_as(pattern: &str) -> Sql {
    Sql::atom(
        format!("to_char({NOW}, {})", quote_literal(pattern)),
        Ty::Text,
    )
    .not_immutable()
}

/// `date`, `time`, `datetime`, `julianday`, `unixepoch` and `strftime`.
pub(super) fn call(name: &str, arguments: &[Sql]) -> Result<Sql, Refusal> {
    let (pattern, arguments) = match (name, arguments) {
        ("strftime", [format, rest @ ..]) => match &format.literal {
            Some(Literal::Text(format)) => (Some(strftime_pattern(format)?), rest),
            _ => {
                return Err(Refusal::new(
                    name,
                    "strftime has a format that is not known beforehand",
                ));
            }
        },
        ("date", rest) => (Some("YYYY-MM-DD".to_owned()), rest),
        ("time", rest) => (Some("HH24:MI:SS".to_owned()), rest),
        ("datetime", rest) => (Some("YYYY-MM-DD HH24:MI:SS".to_owned()), rest),
        (_, rest) => (None, rest),
    };
    let moment = moment(name, arguments)?;
    let made = match (name, pattern) {
        (_, Some(pattern)) => {
            // `to_char` rounds to the microsecond only; SQLite cuts seconds off.
            Sql::atom(
                format!("to_char({moment}, {})", quote_literal(&pattern)),
                Ty::Text,
            )
        }
        ("unixepoch", None) => Sql::atom(
            format!("floor(extract(epoch FROM {moment}))::bigint"),
            Ty::Int,
        ),
        _ => {
            let days =
                format!("(extract(epoch FROM {moment})::double precision / 86400.0 + 2440587.5)");
            Sql::atom(days, Ty::Real)
        }
    };
    Ok(made.not_immutable())
}

/// A `timestamp` in UTC from the arguments that name one and move it.
fn moment(name: &str, arguments: &[Sql]) -> Result<String, Refusal> {
    let refuse = |reason: String| Err(Refusal::new(name, reason));
    let modifier = |argument: &Sql| match &argument.literal {
        Some(Literal::Text(text)) => Some(text.trim().to_ascii_lowercase()),
        _ => None,
    };
    let mut rest = arguments.get(1..).unwrap_or_default();
    let mut moment = match arguments.first() {
        None => format!("({NOW})"),
        Some(first) => match (first.ty, modifier(first).as_deref()) {
            (Ty::Text, Some("now")) => format!("({NOW})"),
            (Ty::Date, _) => format!("{}::timestamp", first.bracketed()),
            (Ty::Timestamp(_), _) => first.bracketed(),
            (Ty::TimestampTz(_), _) => format!("({} AT TIME ZONE 'UTC')", first.bracketed()),
            (Ty::Int, _) if rest.first().and_then(modifier).as_deref() == Some("unixepoch") => {
                rest = &rest[1..];
                format!("(to_timestamp({}) AT TIME ZONE 'UTC')", first.text)
            }
            _ => {
                return refuse(format!(
                    "{name} reads a date out of {} ({})",
                    first.text,
                    first.ty.name()
                ));
            }
        },
    };
    for argument in rest {
        let Some(text) = modifier(argument) else {
            return refuse(format!(
                "{name} has a modifier that is not known beforehand"
            ));
        };
        moment = match text.as_str() {
            "utc" | "subsec" | "subsecond" | "localtime" | "auto" | "julianday" | "unixepoch"
            | "ceiling" | "floor" => {
                return refuse(format!("{name} has the modifier '{text}'"));
            }
            "start of day" => format!("date_trunc('day', {moment})"),
            "start of month" => format!("date_trunc('month', {moment})"),
            "start of year" => format!("date_trunc('year', {moment})"),
            moved => match exact_interval(moved) {
                Some(interval) => format!("({moment} + interval {})", quote_literal(&interval)),
                // A month later is another day in the two programs where months differ in length.
                None => return refuse(format!("{name} has the modifier '{text}'")),
            },
        };
    }
    Ok(moment)
}

/// `+3 days`, `-1.5 hours` and the like, which mean the same number of seconds everywhere.
fn exact_interval(modifier: &str) -> Option<String> {
    let (number, unit) = modifier.split_once(' ')?;
    let unit = unit.trim().trim_end_matches('s');
    let seconds = match unit {
        "day" => 86_400,
        "hour" => 3_600,
        "minute" => 60,
        "second" => 1,
        _ => return None,
    };
    let count: i64 = number.strip_prefix('+').unwrap_or(number).parse().ok()?;
    Some(format!("{} seconds", count.checked_mul(seconds)?))
}

/// A format of `strftime` as a pattern of `to_char`.
fn strftime_pattern(format: &str) -> Result<String, Refusal> {
    let mut pattern = String::new();
    let mut plain = String::new();
    let mut letters = format.chars();
    let flush = |plain: &mut String, pattern: &mut String| {
        if !plain.is_empty() {
            pattern.push_str(&format!("\"{plain}\""));
            plain.clear();
        }
    };
    while let Some(letter) = letters.next() {
        if letter != '%' {
            if matches!(letter, '"' | '\\') {
                return Err(Refusal::new(
                    "strftime",
                    format!("strftime has the format '{format}'"),
                ));
            }
            plain.push(letter);
            continue;
        }
        let part = match letters.next() {
            Some('Y') => "YYYY",
            Some('m') => "MM",
            Some('d') => "DD",
            Some('H') => "HH24",
            Some('M') => "MI",
            Some('S') => "SS",
            Some('f') => "SS.MS",
            Some('j') => "DDD",
            Some('F') => "YYYY-MM-DD",
            Some('T') => "HH24:MI:SS",
            Some('R') => "HH24:MI",
            Some('%') => {
                plain.push('%');
                continue;
            }
            _ => {
                return Err(Refusal::new(
                    "strftime",
                    format!("strftime has the format '{format}'"),
                ));
            }
        };
        flush(&mut plain, &mut pattern);
        pattern.push_str(part);
    }
    flush(&mut plain, &mut pattern);
    Ok(pattern)
}
