use std::fmt;

use serde::{Deserialize, Serialize};

/// A type of a column of the target.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetType {
    /// `boolean`
    Boolean,
    /// `smallint`; only by `--cast`
    SmallInt,
    /// `integer`; only by `--cast`
    Integer,
    /// `bigint`
    BigInt,
    /// `real`; only by `--cast`, a value that it would round is refused
    Real,
    /// `double precision`
    DoublePrecision,
    /// `numeric`, or `numeric(precision, scale)`
    Numeric {
        /// Digits in all; without it any number of digits.
        precision: Option<u16>,
        /// Digits after the point; only with a precision.
        scale: u16,
    },
    /// `text`
    Text,
    /// `varchar(n)`, n in characters; only by `--cast`
    VarChar(u32),
    /// `bytea`
    Bytea,
    /// `date`
    Date,
    /// `time without time zone`
    Time,
    /// `timestamp without time zone`
    Timestamp,
    /// `timestamp with time zone`
    TimestampTz,
    /// `uuid`
    Uuid,
    /// `json`, which keeps its text as written
    Json,
    /// `jsonb`; only by `--cast`, since it rewrites its text
    Jsonb,
}

impl TargetType {
    /// Whether values of the type have a collation.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text | Self::VarChar(_))
    }
}

impl fmt::Display for TargetType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("boolean"),
            Self::SmallInt => f.write_str("smallint"),
            Self::Integer => f.write_str("integer"),
            Self::BigInt => f.write_str("bigint"),
            Self::Real => f.write_str("real"),
            Self::DoublePrecision => f.write_str("double precision"),
            Self::Numeric {
                precision: None, ..
            } => f.write_str("numeric"),
            Self::Numeric {
                precision: Some(precision),
                scale,
            } => write!(f, "numeric({precision},{scale})"),
            Self::Text => f.write_str("text"),
            Self::VarChar(length) => write!(f, "varchar({length})"),
            Self::Bytea => f.write_str("bytea"),
            Self::Date => f.write_str("date"),
            Self::Time => f.write_str("time"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::TimestampTz => f.write_str("timestamptz"),
            Self::Uuid => f.write_str("uuid"),
            Self::Json => f.write_str("json"),
            Self::Jsonb => f.write_str("jsonb"),
        }
    }
}

/// How a stored value becomes a value of the column's type.
///
/// Every conversion is total: a value it does not name is refused and its row quarantined, never
/// changed. All but those marked "by `--cast` only" can be undone. NULL is always NULL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conversion {
    /// The stored class is the type's own: INTEGER to an integer type within its range, REAL to
    /// `double precision` bit for bit (to `real` when nothing is rounded), TEXT that is valid UTF-8
    /// without NUL to `text` or `varchar` within its length, BLOB to `bytea`.
    Exact,
    /// INTEGER 0 and 1 to `boolean`.
    BooleanFromInteger,
    /// TEXT to `boolean`; one spelling each, compared exactly.
    BooleanFromText {
        /// The text that means true.
        true_text: String,
        /// The text that means false.
        false_text: String,
    },
    /// INTEGER or REAL to `double precision`: an integer only if a double holds it exactly.
    DoubleFromNumber,
    /// INTEGER or REAL to `numeric`: a real by the shortest decimal that reads back as the same
    /// double, within precision and scale. Infinities are refused.
    NumericFromNumber,
    /// TEXT or BLOB to `bytea`: the bytes as they are stored, text in UTF-8.
    BytesFromTextOrBlob,
    /// TEXT of exactly the shape `YYYY-MM-DD` to `date`.
    DateFromText,
    /// TEXT of exactly the format to `time`.
    TimeFromText(DateTimeFormat),
    /// TEXT of exactly the format to `timestamp`, or to `timestamptz` where the format has a zone.
    TimestampFromText(DateTimeFormat),
    /// By `--cast` only: TEXT of any ISO 8601 form SQLite reads to `date`, `time`, `timestamp` or
    /// `timestamptz` (without a zone: UTC); what the type cannot hold (a time in a `date`, more than
    /// six fractional digits) is refused.
    DateTimeFromAnyText,
    /// By `--cast … USING unixepoch`: INTEGER or REAL seconds since 1970 UTC to `timestamp` or
    /// `timestamptz` (to `date`: only whole days); a real only where microseconds hold it.
    UnixSeconds,
    /// By `--cast … USING unixmillis`: INTEGER milliseconds since 1970 UTC.
    UnixMillis,
    /// By `--cast … USING unixmicros`: INTEGER microseconds since 1970 UTC.
    UnixMicros,
    /// By `--cast … USING julianday`: INTEGER or REAL Julian day number, rounded to the millisecond
    /// as SQLite's own date functions do.
    JulianDay,
    /// TEXT to `uuid`: 32 hexadecimal digits of one case, with or without hyphens.
    UuidFromText {
        /// Whether digits above 9 are capital letters.
        uppercase: bool,
        /// Whether the groups are parted by hyphens.
        hyphens: bool,
    },
    /// BLOB of 16 bytes to `uuid`.
    UuidFromBlob,
    /// TEXT that is valid JSON to `json` as written (to `jsonb` by `--cast` only), and a number that
    /// the column's NUMERIC affinity made of such a text: INTEGER by its digits, REAL by the
    /// shortest decimal that reads back the same.
    JsonFromText,
    /// By `--cast` only: TEXT holding a decimal integer, or INTEGER, to an integer type.
    IntegerFromText,
    /// By `--cast` only: REAL without a fraction, or INTEGER, to an integer type.
    IntegerFromNumber,
    /// By `--cast` only: TEXT holding a decimal number, INTEGER or REAL to `numeric`, exactly as
    /// written.
    NumericFromText,
    /// By `--cast … USING text`: TEXT as it is, INTEGER by its digits, REAL by the shortest decimal
    /// that reads back the same; BLOB is refused.
    TextFromAny,
    /// By `--cast … USING utf8`: TEXT, or BLOB whose bytes are valid UTF-8 without NUL, to text.
    TextFromUtf8,
    /// By `--cast … USING latin1`: TEXT or BLOB, each byte one character of ISO 8859-1, to text.
    TextFromLatin1,
}

/// The one way in which a column's times are written, so that the text can be had back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DateTimeFormat {
    /// What stands between date and time; without meaning for a time alone.
    pub separator: Separator,
    /// Whether seconds are written: `12:34:56`, or `12:34`.
    pub seconds: bool,
    /// Fractions of the second.
    pub fraction: Fraction,
    /// What stands after the time.
    pub zone: Zone,
}

/// What stands between a date and a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Separator {
    /// `2024-01-31 12:34:56`
    Space,
    /// `2024-01-31T12:34:56`
    T,
}

/// How fractions of a second are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fraction {
    /// Not at all.
    None,
    /// Always with this many digits, 1 to 6.
    Digits(u8),
    /// Six digits, or nothing when they are zero: what Python's `isoformat` writes.
    SixOrNone,
}

/// How a time zone is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Zone {
    /// Not at all.
    None,
    /// `Z`
    Z,
    /// `+00:00`
    Zero,
}
