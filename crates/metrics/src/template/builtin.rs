//! The functions that belong to the language, and the methods of times and durations.

use std::cmp::Ordering;
use std::fmt::Write as _;

use super::print::{self, sprintf};
use super::value::Value;

const NAMES: [&str; 18] = [
    "and", "or", "not", "len", "index", "slice", "print", "printf", "println", "html", "js",
    "urlquery", "eq", "ne", "lt", "le", "gt", "ge",
];

/// Whether the language has a function of that name.
pub(super) fn knows(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls a function of the language; `None` where it has none of that name.
pub(super) fn call(name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    Some(match name {
        "not" => one(name, args).map(|value| Value::Bool(!value.is_true())),
        "len" => one(name, args).and_then(len),
        "index" => index(args),
        "slice" => slice(args),
        "print" => Ok(Value::from(sprint(args))),
        "println" => {
            let words: Vec<String> = args.iter().map(ToString::to_string).collect();
            Ok(Value::from(words.join(" ") + "\n"))
        }
        "printf" => match args.split_first() {
            Some((Value::Text(format), rest)) => Ok(Value::from(sprintf(format, rest))),
            Some((other, _)) => Err(format!(
                "wrong type for value; expected string; got {}",
                other.type_name()
            )),
            None => Err("wrong number of args for printf: want at least 1 got 0".to_owned()),
        },
        "html" => Ok(Value::from(escape_html(&sprint(args)))),
        "js" => Ok(Value::from(escape_js(&sprint(args)))),
        "urlquery" => Ok(Value::from(escape_query(&sprint(args)))),
        "eq" => equal(args),
        "ne" => two(name, args)
            .and_then(|(left, right)| same(left, right))
            .map(|same| Value::Bool(!same)),
        "lt" => ordering(name, args).map(|order| Value::Bool(order == Some(Ordering::Less))),
        "le" => ordering(name, args)
            .map(|order| Value::Bool(matches!(order, Some(Ordering::Less | Ordering::Equal)))),
        "gt" => ordering(name, args).map(|order| Value::Bool(order == Some(Ordering::Greater))),
        "ge" => ordering(name, args)
            .map(|order| Value::Bool(matches!(order, Some(Ordering::Greater | Ordering::Equal)))),
        _ => return None,
    })
}

/// Methods of `time.Time` and `time.Duration`.
pub(super) fn method(on: &Value, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
    let result = match (on, name, args) {
        (Value::Time(time), "Format", [Value::Text(layout)]) => {
            Value::from(print::layout(time, layout))
        }
        (Value::Time(time), "String", []) => Value::from(print::time(time)),
        (Value::Time(time), "UTC", []) => Value::time(time.timestamp()),
        (Value::Time(time), "Local", []) => {
            Value::Time(time.with_time_zone(jiff::tz::TimeZone::system()))
        }
        (Value::Time(time), "Unix", []) => Value::Int(time.timestamp().as_second()),
        (Value::Time(time), "UnixMilli", []) => Value::Int(time.timestamp().as_millisecond()),
        (Value::Time(time), "UnixNano", []) => {
            Value::Int(i64::try_from(time.timestamp().as_nanosecond()).unwrap_or(i64::MAX))
        }
        (Value::Time(time), "IsZero", []) => Value::Bool(print::is_zero(time)),
        (Value::Time(time), "Before", [Value::Time(other)]) => Value::Bool(time < other),
        (Value::Time(time), "After", [Value::Time(other)]) => Value::Bool(time > other),
        (Value::Time(time), "Equal", [Value::Time(other)]) => Value::Bool(time == other),
        (Value::Time(time), "Sub", [Value::Time(other)]) => {
            let nanoseconds = time.timestamp().as_nanosecond() - other.timestamp().as_nanosecond();
            Value::Duration(i64::try_from(nanoseconds).unwrap_or(i64::MAX))
        }
        (Value::Time(time), "Add", [Value::Duration(nanoseconds)]) => {
            let moved = time.saturating_add(jiff::SignedDuration::from_nanos(*nanoseconds));
            Value::Time(moved)
        }
        (
            Value::Time(time),
            "Year" | "Day" | "Hour" | "Minute" | "Second" | "Weekday" | "Month",
            [],
        ) => match name {
            "Year" => Value::Int(i64::from(time.year())),
            "Day" => Value::Int(i64::from(time.day())),
            "Hour" => Value::Int(i64::from(time.hour())),
            "Minute" => Value::Int(i64::from(time.minute())),
            "Second" => Value::Int(i64::from(time.second())),
            "Month" => Value::from(print::layout(time, "January")),
            _ => Value::from(print::layout(time, "Monday")),
        },
        (Value::Duration(nanoseconds), "Seconds", []) => Value::Float(*nanoseconds as f64 / 1e9),
        (Value::Duration(nanoseconds), "Minutes", []) => Value::Float(*nanoseconds as f64 / 6e10),
        (Value::Duration(nanoseconds), "Hours", []) => Value::Float(*nanoseconds as f64 / 3.6e12),
        (Value::Duration(nanoseconds), "Milliseconds", []) => Value::Int(nanoseconds / 1_000_000),
        (Value::Duration(nanoseconds), "String", []) => Value::from(print::duration(*nanoseconds)),
        _ => return None,
    };
    Some(Ok(result))
}

fn one<'a>(name: &str, args: &'a [Value]) -> Result<&'a Value, String> {
    match args {
        [value] => Ok(value),
        _ => Err(format!(
            "wrong number of args for {name}: want 1 got {}",
            args.len()
        )),
    }
}

fn two<'a>(name: &str, args: &'a [Value]) -> Result<(&'a Value, &'a Value), String> {
    match args {
        [left, right] => Ok((left, right)),
        _ => Err(format!(
            "wrong number of args for {name}: want 2 got {}",
            args.len()
        )),
    }
}

/// Blanks stand between two values of which neither is a text.
fn sprint(args: &[Value]) -> String {
    let mut printed = String::new();
    let mut before: Option<&Value> = None;
    for value in args {
        let texts = matches!(value, Value::Text(_)) || matches!(before, Some(Value::Text(_)));
        if before.is_some() && !texts {
            printed.push(' ');
        }
        let _ = write!(printed, "{value}");
        before = Some(value);
    }
    printed
}

fn len(value: &Value) -> Result<Value, String> {
    let length = match value {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.len(),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(length as i64))
}

fn index(args: &[Value]) -> Result<Value, String> {
    let Some((base, keys)) = args.split_first() else {
        return Err("wrong number of args for index: want at least 1 got 0".to_owned());
    };
    let mut value = base.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::Map(map), Value::Text(key)) => {
                map.get(&**key).cloned().unwrap_or_else(|| Value::text(""))
            }
            (Value::List(items), Value::Int(at)) => usize::try_from(*at)
                .ok()
                .and_then(|at| items.get(at).cloned())
                .ok_or_else(|| format!("index out of range: {at}"))?,
            (Value::Text(text), Value::Int(at)) => usize::try_from(*at)
                .ok()
                .and_then(|at| text.as_bytes().get(at))
                .map(|byte| Value::Int(i64::from(*byte)))
                .ok_or_else(|| format!("index out of range: {at}"))?,
            (Value::Nil, _) => return Err("index of untyped nil".to_owned()),
            (base @ (Value::Map(_) | Value::List(_) | Value::Text(_)), key) => {
                let (key, base) = (key.type_name(), base.type_name());
                return Err(format!("cannot index {base} with type {key}"));
            }
            (other, _) => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(value)
}

fn slice(args: &[Value]) -> Result<Value, String> {
    let Some((base, bounds)) = args.split_first() else {
        return Err("wrong number of args for slice: want at least 1 got 0".to_owned());
    };
    let length = match base {
        Value::Text(text) => text.len(),
        Value::List(items) => items.len(),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut ends = [0, length];
    for (end, bound) in ends.iter_mut().zip(bounds) {
        let Value::Int(bound) = bound else {
            return Err(format!(
                "cannot index slice/array with type {}",
                bound.type_name()
            ));
        };
        *end = usize::try_from(*bound)
            .ok()
            .filter(|bound| *bound <= length)
            .ok_or_else(|| format!("index out of range: {bound}"))?;
    }
    let [from, to] = ends;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    Ok(match base {
        Value::List(items) => Value::List(items[from..to].into()),
        Value::Text(text) => {
            Value::from(String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned())
        }
        _ => Value::Nil,
    })
}

fn equal(args: &[Value]) -> Result<Value, String> {
    let Some((first, others)) = args.split_first().filter(|(_, others)| !others.is_empty()) else {
        return Err("missing argument for comparison".to_owned());
    };
    for other in others {
        if same(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn same(left: &Value, right: &Value) -> Result<bool, String> {
    let comparable = std::mem::discriminant(left) == std::mem::discriminant(right)
        && !matches!(left, Value::List(_) | Value::Map(_));
    if matches!(left, Value::Nil) || matches!(right, Value::Nil) || comparable {
        return Ok(left == right);
    }
    Err("incompatible types for comparison".to_owned())
}

fn ordering(name: &str, args: &[Value]) -> Result<Option<Ordering>, String> {
    let (left, right) = two(name, args)?;
    match (left, right) {
        (Value::Int(left), Value::Int(right)) | (Value::Duration(left), Value::Duration(right)) => {
            Ok(Some(left.cmp(right)))
        }
        (Value::Float(left), Value::Float(right)) => Ok(left.partial_cmp(right)),
        (Value::Text(left), Value::Text(right)) => Ok(Some(left.cmp(right))),
        (Value::Bool(_), Value::Bool(_)) | (Value::List(_) | Value::Map(_), _) => {
            Err("invalid type for comparison".to_owned())
        }
        _ => Err("incompatible types for comparison".to_owned()),
    }
}

/// As Go's `template.HTMLEscapeString`.
pub(crate) fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            '\0' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

fn escape_js(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\\' => escaped.push_str("\\\\"),
            '\'' => escaped.push_str("\\'"),
            '"' => escaped.push_str("\\\""),
            '<' | '>' | '&' | '=' => {
                let _ = write!(escaped, "\\u{:04X}", u32::from(char));
            }
            control if u32::from(control) < 0x20 => {
                let _ = write!(escaped, "\\u{:04X}", u32::from(control));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// As Go's `strings.Title`: each word's first letter is made a capital.
pub(crate) fn title_case(text: &str) -> String {
    let mut titled = String::with_capacity(text.len());
    let mut within_word = false;
    for char in text.chars() {
        if within_word {
            titled.push(char);
        } else {
            titled.extend(char.to_uppercase());
        }
        within_word = char.is_alphanumeric() || char == '_' || char == '\'';
    }
    titled
}

/// As Go's `url.QueryEscape`.
pub(crate) fn escape_query(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => escaped.push('+'),
            b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            plain if plain.is_ascii_alphanumeric() => escaped.push(char::from(plain)),
            other => {
                let _ = write!(escaped, "%{other:02X}");
            }
        }
    }
    escaped
}
