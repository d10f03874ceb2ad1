//! Values of options that can be written in more than one way.

use std::fmt;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::parse_duration;

/// A duration: text such as `1m30s`, or a number of milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A list, or a single value without brackets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

/// Reads a whole number, or a text that is one; as in k6, an empty text says nothing.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let written = Value::deserialize(deserializer)?;
    let number = match &written {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    number
        .map(Some)
        .ok_or_else(|| D::Error::custom(format!("{written} is not a whole number of zero or more")))
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Value::deserialize(deserializer)?;
        if let Value::String(text) = &written {
            return text.parse().map_err(D::Error::custom);
        }
        written
            .as_f64()
            .and_then(|milliseconds| Duration::try_from_secs_f64(milliseconds / 1000.0).ok())
            .map(Self)
            .ok_or_else(|| {
                D::Error::custom(format!(
                    "{written} is not a duration: write it like 30s or 1m30s"
                ))
            })
    }
}

impl std::str::FromStr for Span {
    type Err = crate::Error;

    /// Reads `1m30s`, or a plain number of milliseconds.
    fn from_str(text: &str) -> Result<Self, crate::Error> {
        if let Ok(milliseconds) = text.trim().parse::<f64>() {
            return Duration::try_from_secs_f64(milliseconds / 1000.0)
                .map(Self)
                .map_err(|_| crate::Error::Duration(text.to_owned()));
        }
        parse_duration(text).map(Self)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Span {
    /// As Go writes it: `1h0m5s`, `1m30s`, `1.5s`, `600ms`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let below = |unit: f64| self.0.as_secs_f64() * unit;
        if self.0.is_zero() {
            return formatter.write_str("0s");
        }
        if seconds == 0 {
            return match self.0.subsec_nanos() {
                1_000_000.. => write!(formatter, "{}ms", below(1e3)),
                1_000.. => write!(formatter, "{}µs", below(1e6)),
                nanoseconds => write!(formatter, "{nanoseconds}ns"),
            };
        }
        if seconds >= 3600 {
            write!(formatter, "{}h", seconds / 3600)?;
        }
        if seconds >= 60 {
            write!(formatter, "{}m", seconds / 60 % 60)?;
        }
        write!(formatter, "{}", seconds % 60)?;
        let fraction = format!("{:09}", self.0.subsec_nanos());
        match fraction.trim_end_matches('0') {
            "" => formatter.write_str("s"),
            fraction => write!(formatter, ".{fraction}s"),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "it is not a value of this option, or a list of them"
        )]
        enum Either<T> {
            Many(Vec<T>),
            One(T),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::Many(many) => Self(many),
            Either::One(one) => Self(vec![one]),
        })
    }
}

impl<T: Serialize> Serialize for OneOrMany<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (milliseconds, text) in [
            (0, "0s"),
            (600, "600ms"),
            (1_500, "1.5s"),
            (90_000, "1m30s"),
            (60_000, "1m0s"),
            (3_600_000, "1h0m0s"),
        ] {
            let span = Span(Duration::from_millis(milliseconds));
            assert_eq!(span.to_string(), text);
            assert_eq!(text.parse::<Span>().unwrap(), span);
        }
    }
}
