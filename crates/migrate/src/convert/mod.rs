//! What a stored value becomes: the one place that decides it, for copy, verify and follow alike.
//!
//! A value becomes the bytes of PostgreSQL's binary format for its type, or a [`Refusal`]; it is never
//! rounded, cut or guessed at. The same bytes are what `COPY … (FORMAT binary)` takes, what a binary
//! parameter takes ([`BinaryValue`]), and, since `record_send` gives them back, what both sides hash.

mod decimal;
mod jsonb;
mod moment;
mod parameter;
mod row;

use std::fmt::Write as _;

use rusqlite::types::{Type, ValueRef};

use crate::plan::{Conversion, TargetType};

pub use parameter::BinaryValue;
pub use row::{RowEncoder, RowRefusal};

/// Why a value cannot become a value of its column's type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// One sentence, without the value when that could be long.
    pub reason: String,
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal {
        reason: reason.into(),
    })
}

/// Converts one value to PostgreSQL's binary form; none is NULL.
///
/// # Errors
/// Says why the type cannot hold the value exactly as the conversion demands.
pub fn convert(
    conversion: &Conversion,
    type_: &TargetType,
    value: ValueRef<'_>,
) -> Result<BinaryValue, Refusal> {
    let mut field = Vec::new();
    encode_field(conversion, type_, value, &mut field)?;
    Ok(content(field))
}

/// As [`convert`], as PostgreSQL gives the value back: it writes what it keeps as `jsonb` in its own way.
///
/// # Errors
/// As [`convert`].
pub(crate) fn convert_as_kept(
    conversion: &Conversion,
    type_: &TargetType,
    value: ValueRef<'_>,
) -> Result<BinaryValue, Refusal> {
    let mut field = Vec::new();
    encode_as_kept(conversion, type_, value, &mut field)?;
    Ok(content(field))
}

fn content(mut field: Vec<u8>) -> BinaryValue {
    let is_null = field[..4] == NULL_LENGTH;
    field.drain(..4);
    BinaryValue((!is_null).then_some(field))
}

/// As [`encode_field`], as PostgreSQL gives the value back.
fn encode_as_kept(
    conversion: &Conversion,
    type_: &TargetType,
    value: ValueRef<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    if *type_ != TargetType::Jsonb {
        return encode_field(conversion, type_, value, out);
    }
    let mut sent = Vec::new();
    encode_field(conversion, type_, value, &mut sent)?;
    // Behind the length and the version. What PostgreSQL refuses is compared as it is.
    let kept = sent
        .get(5..)
        .and_then(|json| std::str::from_utf8(json).ok())
        .and_then(jsonb::stored_text);
    match kept {
        Some(kept) => versioned(&kept, out),
        None => out.extend_from_slice(&sent),
    }
    Ok(())
}

/// The length that stands for NULL.
const NULL_LENGTH: [u8; 4] = (-1_i32).to_be_bytes();

/// Appends one field as COPY's binary format has it: its length (−1 for NULL) and its bytes.
///
/// # Errors
/// As [`convert`]; `out` may then hold part of the field.
pub fn encode_field(
    conversion: &Conversion,
    type_: &TargetType,
    value: ValueRef<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    if matches!(value, ValueRef::Null) {
        out.extend_from_slice(&NULL_LENGTH);
        return Ok(());
    }
    match conversion {
        Conversion::Exact => exact(type_, value, out),
        Conversion::BooleanFromInteger => match value {
            ValueRef::Integer(number @ (0 | 1)) => boolean(number == 1, out),
            ValueRef::Integer(number) => {
                refuse(format!("{number} is neither 0 (false) nor 1 (true)"))
            }
            other => wrong_class(other, "0 or 1"),
        },
        Conversion::BooleanFromText {
            true_text,
            false_text,
        } => match value {
            ValueRef::Text(text) if text == true_text.as_bytes() => boolean(true, out),
            ValueRef::Text(text) if text == false_text.as_bytes() => boolean(false, out),
            ValueRef::Text(_) => refuse(format!(
                "the text is neither {true_text:?} nor {false_text:?}"
            )),
            other => wrong_class(other, "a text for true or false"),
        },
        Conversion::DoubleFromNumber => match value {
            ValueRef::Integer(number) => match exact_double(number) {
                Some(double) => fixed(&double.to_be_bytes(), out),
                None => refuse(format!("{number} has more digits than a double holds")),
            },
            ValueRef::Real(double) => fixed(&double.to_be_bytes(), out),
            other => wrong_class(other, "a number"),
        },
        Conversion::NumericFromNumber => numeric_of_number(type_, value, out),
        Conversion::NumericFromText => match value {
            ValueRef::Text(text) => {
                let text = valid_text(text)?;
                decimal::encode(text, numeric_limits(type_), out)
            }
            other => numeric_of_number(type_, other, out),
        },
        Conversion::BytesFromTextOrBlob => match value {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => variable(bytes, out),
            other => wrong_class(other, "text or a blob"),
        },
        Conversion::IntegerFromText => match value {
            ValueRef::Text(text) => {
                let text = valid_text(text)?;
                match text.parse() {
                    Ok(number) => integer(type_, number, out),
                    Err(_) => refuse(format!(
                        "the text {:?} is not a decimal integer within 64 bits",
                        shorten(text)
                    )),
                }
            }
            ValueRef::Integer(number) => integer(type_, number, out),
            other => wrong_class(other, "an integer or its text"),
        },
        Conversion::IntegerFromNumber => match value {
            ValueRef::Integer(number) => integer(type_, number, out),
            ValueRef::Real(double) => match exact_integer(double) {
                Some(number) => integer(type_, number, out),
                None => refuse(format!("{double:?} is not a whole number within 64 bits")),
            },
            other => wrong_class(other, "a whole number"),
        },
        Conversion::JsonFromText => json(type_, value, out),
        Conversion::TextFromAny => match value {
            ValueRef::Integer(number) => written_text(type_, format_args!("{number}"), out),
            ValueRef::Real(double) if double.is_finite() => {
                written_text(type_, format_args!("{double:?}"), out)
            }
            ValueRef::Real(double) => refuse(format!("{double:?} has no decimal text")),
            ValueRef::Text(text) => checked_text(type_, valid_text(text)?, out),
            other => wrong_class(other, "text or a number"),
        },
        Conversion::TextFromUtf8 => match value {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                checked_text(type_, valid_text(bytes)?, out)
            }
            other => wrong_class(other, "text or a blob"),
        },
        Conversion::TextFromLatin1 => match value {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
                checked_text(type_, valid_text(text.as_bytes())?, out)
            }
            other => wrong_class(other, "text or a blob"),
        },
        Conversion::UuidFromText { uppercase, hyphens } => match value {
            ValueRef::Text(text) => match uuid(text, *uppercase, *hyphens) {
                Some(bytes) => fixed(&bytes, out),
                None => refuse("the text is not a UUID in the form that the column's others have"),
            },
            other => wrong_class(other, "the text of a UUID"),
        },
        Conversion::UuidFromBlob => match value {
            ValueRef::Blob(bytes) if bytes.len() == 16 => variable(bytes, out),
            ValueRef::Blob(bytes) => {
                refuse(format!("a UUID has 16 bytes, the blob has {}", bytes.len()))
            }
            other => wrong_class(other, "a blob of 16 bytes"),
        },
        Conversion::DateFromText
        | Conversion::TimeFromText(_)
        | Conversion::TimestampFromText(_)
        | Conversion::DateTimeFromAnyText
        | Conversion::UnixSeconds
        | Conversion::UnixMillis
        | Conversion::UnixMicros
        | Conversion::JulianDay => moment::encode(conversion, type_, value, out),
    }
}

/// The stored class is the type's own.
#[inline]
fn exact(type_: &TargetType, value: ValueRef<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
    match (type_, value) {
        (TargetType::BigInt, ValueRef::Integer(number)) => fixed(&number.to_be_bytes(), out),
        (TargetType::DoublePrecision, ValueRef::Real(double)) => fixed(&double.to_be_bytes(), out),
        (TargetType::Text | TargetType::VarChar(_), ValueRef::Text(text)) => {
            checked_text(type_, valid_text(text)?, out)
        }
        (TargetType::Bytea, ValueRef::Blob(bytes)) => variable(bytes, out),
        (TargetType::SmallInt | TargetType::Integer, ValueRef::Integer(number)) => {
            integer(type_, number, out)
        }
        (TargetType::Real, ValueRef::Real(double)) => {
            let narrow = double as f32;
            if f64::from(narrow).to_bits() == double.to_bits() {
                fixed(&narrow.to_be_bytes(), out)
            } else {
                refuse(format!("{double:?} would be rounded to {narrow:?} by real"))
            }
        }
        (TargetType::Numeric { .. }, ValueRef::Integer(_)) => numeric_of_number(type_, value, out),
        (TargetType::Json | TargetType::Jsonb, ValueRef::Text(_)) => json(type_, value, out),
        (_, other) => wrong_class(other, &type_.to_string()),
    }
}

fn wrong_class<T>(value: ValueRef<'_>, wanted: &str) -> Result<T, Refusal> {
    let found = match value.data_type() {
        Type::Null => "NULL",
        Type::Integer => "an integer",
        Type::Real => "a real number",
        Type::Text => "text",
        Type::Blob => "a blob",
    };
    refuse(format!("{found} is stored where {wanted} is expected"))
}

#[inline]
fn fixed(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    out.extend_from_slice(&(bytes.len() as i32).to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// PostgreSQL allocates a value whole, and no more than this for it and its heading.
const LARGEST_VALUE: usize = 0x3fff_ff00;

#[inline]
fn variable(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
    if bytes.len() > LARGEST_VALUE {
        return refuse(format!(
            "{} bytes are more than the 1 GB that PostgreSQL takes for one value",
            bytes.len()
        ));
    }
    fixed(bytes, out)
}

fn boolean(value: bool, out: &mut Vec<u8>) -> Result<(), Refusal> {
    fixed(&[u8::from(value)], out)
}

fn integer(type_: &TargetType, number: i64, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let too_large = || refuse(format!("{number} is outside the range of {type_}"));
    match type_ {
        TargetType::SmallInt => i16::try_from(number)
            .map_or_else(|_| too_large(), |number| fixed(&number.to_be_bytes(), out)),
        TargetType::Integer => i32::try_from(number)
            .map_or_else(|_| too_large(), |number| fixed(&number.to_be_bytes(), out)),
        TargetType::BigInt => fixed(&number.to_be_bytes(), out),
        other => refuse(format!("an integer does not become {other}")),
    }
}

/// Text that PostgreSQL can hold: UTF-8 without NUL.
#[inline]
fn valid_text(bytes: &[u8]) -> Result<&str, Refusal> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            return refuse(format!(
                "the text is not valid UTF-8 at byte {}",
                error.valid_up_to() + 1
            ));
        }
    };
    match bytes.iter().position(|&byte| byte == 0) {
        None => Ok(text),
        Some(position) => refuse(format!(
            "the text holds NUL at byte {}, which PostgreSQL's text cannot",
            position + 1
        )),
    }
}

#[inline]
fn checked_text(type_: &TargetType, text: &str, out: &mut Vec<u8>) -> Result<(), Refusal> {
    if let TargetType::VarChar(limit) = type_
        && text.len() > *limit as usize
    {
        let characters = text.chars().count();
        if characters > *limit as usize {
            return refuse(format!(
                "the text has {characters} characters, more than {type_} holds"
            ));
        }
    }
    variable(text.as_bytes(), out)
}

/// Writes text that is made here and not stored.
fn written_text(
    type_: &TargetType,
    text: std::fmt::Arguments<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    checked_text(type_, &text.to_string(), out)
}

fn exact_double(number: i64) -> Option<f64> {
    let double = number as f64;
    (double as i128 == i128::from(number)).then_some(double)
}

fn exact_integer(double: f64) -> Option<i64> {
    // The bounds are powers of two: exact as doubles.
    let within = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&double);
    (within && double.fract() == 0.0).then_some(double as i64)
}

fn numeric_limits(type_: &TargetType) -> Option<(u16, u16)> {
    match type_ {
        TargetType::Numeric {
            precision: Some(precision),
            scale,
        } => Some((*precision, *scale)),
        _ => None,
    }
}

fn numeric_of_number(
    type_: &TargetType,
    value: ValueRef<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let mut text = String::new();
    match value {
        ValueRef::Integer(number) => {
            let _ = write!(text, "{number}");
        }
        ValueRef::Real(double) if double.is_finite() => {
            let _ = write!(text, "{double:?}");
            if let Some(whole) = text.strip_suffix(".0") {
                text.truncate(whole.len());
            }
        }
        ValueRef::Real(double) => return refuse(format!("{double:?} is no decimal number")),
        other => return wrong_class(other, "a number"),
    }
    decimal::encode(&text, numeric_limits(type_), out)
}

fn json(type_: &TargetType, value: ValueRef<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let written;
    let text = match value {
        ValueRef::Text(text) => valid_text(text)?,
        ValueRef::Integer(number) => {
            written = number.to_string();
            &written
        }
        ValueRef::Real(double) if double.is_finite() => {
            written = format!("{double:?}");
            &written
        }
        ValueRef::Real(double) => return refuse(format!("{double:?} is no JSON")),
        other => return wrong_class(other, "the text of a JSON value"),
    };
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        return refuse(format!("the text is not JSON: {error}"));
    }
    if *type_ != TargetType::Jsonb {
        return variable(text.as_bytes(), out);
    }
    if text.len() >= LARGEST_VALUE {
        return refuse("the JSON is longer than PostgreSQL takes for one value");
    }
    versioned(text, out);
    Ok(())
}

/// A field of `jsonb`: its text behind the version of the binary form.
fn versioned(json: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&(json.len() as i32 + 1).to_be_bytes());
    out.push(1);
    out.extend_from_slice(json.as_bytes());
}

fn uuid(text: &[u8], uppercase: bool, hyphens: bool) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    let mut digits = 0;
    for (position, &byte) in text.iter().enumerate() {
        if hyphens && [8, 13, 18, 23].contains(&position) {
            if byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' if !uppercase => byte - b'a' + 10,
            b'A'..=b'F' if uppercase => byte - b'A' + 10,
            _ => return None,
        };
        *bytes.get_mut(digits / 2)? |= digit << (4 * (1 - digits % 2));
        digits += 1;
    }
    (digits == 32).then_some(bytes)
}

/// The beginning of a text, for messages.
fn shorten(text: &str) -> String {
    let mut shown: String = text.chars().take(40).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// The number by which PostgreSQL knows a type.
pub(crate) fn type_oid(type_: &TargetType) -> u32 {
    match type_ {
        TargetType::Boolean => 16,
        TargetType::Bytea => 17,
        TargetType::BigInt => 20,
        TargetType::SmallInt => 21,
        TargetType::Integer => 23,
        TargetType::Text => 25,
        TargetType::Json => 114,
        TargetType::Real => 700,
        TargetType::DoublePrecision => 701,
        TargetType::VarChar(_) => 1043,
        TargetType::Date => 1082,
        TargetType::Time => 1083,
        TargetType::Timestamp => 1114,
        TargetType::TimestampTz => 1184,
        TargetType::Numeric { .. } => 1700,
        TargetType::Uuid => 2950,
        TargetType::Jsonb => 3802,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
