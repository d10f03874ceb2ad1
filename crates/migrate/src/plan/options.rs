use std::str::FromStr;

use super::TargetType;

/// What the user wants of a plan.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// The schema of the target.
    pub schema: String,
    /// Tables to take, by name or with `*` for any letters; empty takes all.
    pub tables: Vec<String>,
    /// Tables to leave out, by name or with `*` for any letters.
    pub exclude: Vec<String>,
    /// Types that the user decides.
    pub casts: Vec<Cast>,
    /// What becomes of names.
    pub naming: Naming,
    /// Threads that scan the source.
    pub readers: usize,
}

impl Default for PlanOptions {
    fn default() -> Self {
        Self {
            schema: "public".to_owned(),
            tables: Vec::new(),
            exclude: Vec::new(),
            casts: Vec::new(),
            naming: Naming::Keep,
            readers: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        }
    }
}

/// What becomes of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Naming {
    /// They stay as they are, capital letters too: queries that quote names find them.
    #[default]
    Keep,
    /// ASCII capitals become small: queries that quote no names find them.
    Lower,
}

/// A type that the user decides for a column: `TABLE.COLUMN=TYPE[ USING HOW]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cast {
    /// The table, or `*` for any.
    pub table: String,
    /// The column.
    pub column: String,
    /// The type.
    pub type_: TargetType,
    /// How values are read.
    pub using: Option<Using>,
}

/// How values of a cast column are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Using {
    /// Seconds since 1970.
    UnixEpoch,
    /// Milliseconds since 1970.
    UnixMillis,
    /// Microseconds since 1970.
    UnixMicros,
    /// A Julian day number.
    JulianDay,
    /// Any value, as SQL writes it.
    Text,
    /// Bytes that are UTF-8.
    Utf8,
    /// Bytes that are ISO 8859-1.
    Latin1,
    /// Two words, for true and for false: `USING yes/no`.
    Words(String, String),
}

/// A cast that is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "cannot read the cast '{cast}': {reason}; write TABLE.COLUMN=TYPE or TABLE.COLUMN=TYPE USING HOW"
)]
pub struct CastError {
    cast: String,
    reason: String,
}

impl FromStr for Cast {
    type Err = CastError;

    fn from_str(text: &str) -> Result<Self, CastError> {
        let fail = |reason: String| CastError {
            cast: text.to_owned(),
            reason,
        };
        let (table, rest) =
            name(text).ok_or_else(|| fail("it does not begin with a table".to_owned()))?;
        let rest = rest
            .strip_prefix('.')
            .ok_or_else(|| fail("no point follows the table".to_owned()))?;
        let (column, rest) =
            name(rest).ok_or_else(|| fail("no column follows the point".to_owned()))?;
        let rest = rest.trim_start();
        let rest = rest
            .strip_prefix('=')
            .ok_or_else(|| fail("no = follows the column".to_owned()))?
            .trim();
        let lower = rest.to_ascii_lowercase();
        let (type_, using) = match lower.find(" using ") {
            Some(at) => (&rest[..at], Some(rest[at + 7..].trim())),
            None => (rest, None),
        };
        let type_ = target_type(type_).ok_or_else(|| {
            fail(format!(
                "'{type_}' is none of boolean, smallint, integer, bigint, real, double precision, numeric, text, \
                 varchar(n), bytea, date, time, timestamp, timestamptz, uuid, json, jsonb"
            ))
        })?;
        let using = match using {
            None => None,
            Some(how) => Some(using_of(how).ok_or_else(|| {
                fail(format!(
                    "'{how}' is none of unixepoch, unixmillis, unixmicros, julianday, text, utf8, latin1, WORD/WORD"
                ))
            })?),
        };
        let cast = Self {
            table,
            column,
            type_,
            using,
        };
        match cast.is_possible() {
            true => Ok(cast),
            false => Err(fail("that type is not read that way".to_owned())),
        }
    }
}

impl Cast {
    fn is_possible(&self) -> bool {
        use TargetType as T;
        match (&self.using, &self.type_) {
            (None, _) => true,
            (
                Some(Using::UnixEpoch | Using::UnixMillis | Using::UnixMicros | Using::JulianDay),
                type_,
            ) => {
                matches!(type_, T::Date | T::Timestamp | T::TimestampTz)
            }
            (Some(Using::Text | Using::Utf8 | Using::Latin1), type_) => type_.is_text(),
            (Some(Using::Words(..)), type_) => *type_ == T::Boolean,
        }
    }

    /// Whether the cast speaks of the column.
    #[must_use]
    pub fn is_for(&self, table: &str, column: &str) -> bool {
        (self.table == "*" || self.table.eq_ignore_ascii_case(table))
            && self.column.eq_ignore_ascii_case(column)
    }
}

/// A name at the front, plain or in double quotes, and the rest.
fn name(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut name = String::new();
        let mut letters = quoted.char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            if letter != '"' {
                name.push(letter);
            } else if letters.next_if(|(_, next)| *next == '"').is_some() {
                name.push('"');
            } else {
                return Some((name, &quoted[at + 1..]));
            }
        }
        return None;
    }
    let end = text.find(['.', '=']).unwrap_or(text.len());
    let name = text[..end].trim();
    (!name.is_empty()).then(|| (name.to_owned(), &text[end..]))
}

fn target_type(text: &str) -> Option<TargetType> {
    let text = text.trim().to_ascii_lowercase();
    let (name, arguments) = match text.split_once('(') {
        Some((name, rest)) => {
            let (inside, after) = rest.split_once(')')?;
            let numbers: Option<Vec<u32>> = inside
                .split(',')
                .map(|number| number.trim().parse().ok())
                .collect();
            (format!("{}{after}", name.trim()), numbers?)
        }
        None => (text, Vec::new()),
    };
    let name: Vec<&str> = name.split_whitespace().collect();
    let plain = |type_| arguments.is_empty().then_some(type_);
    match name.join(" ").as_str() {
        "boolean" | "bool" => plain(TargetType::Boolean),
        "smallint" | "int2" => plain(TargetType::SmallInt),
        "integer" | "int" | "int4" => plain(TargetType::Integer),
        "bigint" | "int8" => plain(TargetType::BigInt),
        "real" | "float4" => plain(TargetType::Real),
        "double precision" | "double" | "float8" | "float" => plain(TargetType::DoublePrecision),
        "numeric" | "decimal" => match arguments.as_slice() {
            [] => Some(TargetType::Numeric {
                precision: None,
                scale: 0,
            }),
            [precision @ 1..=1000] => Some(TargetType::Numeric {
                precision: u16::try_from(*precision).ok(),
                scale: 0,
            }),
            [precision @ 1..=1000, scale] if scale <= precision => Some(TargetType::Numeric {
                precision: u16::try_from(*precision).ok(),
                scale: u16::try_from(*scale).ok()?,
            }),
            _ => None,
        },
        "text" => plain(TargetType::Text),
        "varchar" | "character varying" => match arguments.as_slice() {
            [length @ 1..=10_485_760] => Some(TargetType::VarChar(*length)),
            _ => None,
        },
        "bytea" => plain(TargetType::Bytea),
        "date" => plain(TargetType::Date),
        "time" | "time without time zone" => plain(TargetType::Time),
        "timestamp" | "timestamp without time zone" => plain(TargetType::Timestamp),
        "timestamptz" | "timestamp with time zone" => plain(TargetType::TimestampTz),
        "uuid" => plain(TargetType::Uuid),
        "json" => plain(TargetType::Json),
        "jsonb" => plain(TargetType::Jsonb),
        _ => None,
    }
}

fn using_of(text: &str) -> Option<Using> {
    match text.to_ascii_lowercase().as_str() {
        "unixepoch" => Some(Using::UnixEpoch),
        "unixmillis" => Some(Using::UnixMillis),
        "unixmicros" => Some(Using::UnixMicros),
        "julianday" => Some(Using::JulianDay),
        "text" => Some(Using::Text),
        "utf8" => Some(Using::Utf8),
        "latin1" => Some(Using::Latin1),
        _ => {
            let (yes, no) = text.split_once('/')?;
            (!yes.is_empty() && !no.is_empty() && yes != no)
                .then(|| Using::Words(yes.to_owned(), no.to_owned()))
        }
    }
}

/// Whether a name fits a pattern in which `*` stands for any letters; case of ASCII letters is ignored.
#[must_use]
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_lowercase(), name.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cast_is_read_with_quotes_lengths_and_ways() {
        let cast: Cast = "\"my.table\".col=numeric(10, 2)".parse().unwrap();
        assert_eq!(
            (cast.table.as_str(), cast.column.as_str()),
            ("my.table", "col")
        );
        assert_eq!(
            cast.type_,
            TargetType::Numeric {
                precision: Some(10),
                scale: 2
            }
        );
        let cast: Cast = "t.made=timestamp with time zone USING UnixEpoch"
            .parse()
            .unwrap();
        assert_eq!(
            (cast.type_, cast.using),
            (TargetType::TimestampTz, Some(Using::UnixEpoch))
        );
        let cast: Cast = "*.flag = boolean using Y/N".parse().unwrap();
        assert!(cast.is_for("anything", "FLAG"));
        assert_eq!(cast.using, Some(Using::Words("Y".into(), "N".into())));
    }

    #[test]
    fn a_wrong_cast_says_what_is_wrong() {
        for (text, part) in [
            ("", "does not begin with a table"),
            ("t", "no point"),
            ("t.=text", "no column"),
            ("t.c", "no ="),
            ("t.c=varchar", "'varchar' is none of"),
            ("t.c=numeric(2,3)", "is none of"),
            ("t.c=text USING magic", "'magic' is none of"),
            ("t.c=bigint USING latin1", "not read that way"),
            ("\"t.c=text", "does not begin"),
        ] {
            let error = text.parse::<Cast>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_star_stands_for_any_letters() {
        for (pattern, name, does) in [
            ("users", "Users", true),
            ("user*", "users", true),
            ("*s", "users", true),
            ("u*e*s", "users", true),
            ("*", "", true),
            ("a*a", "a", false),
            ("users", "users2", false),
        ] {
            assert_eq!(fits(pattern, name), does, "{pattern} {name}");
        }
    }
}
