//! Values of options that can be written in more than one way.

use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::parse_duration;

/// A duration: text such as `1m30s`, or a number of milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A list, or a single value without brackets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

#[derive(Deserialize)]
#[serde(untagged)]
enum SpanText {
    Milliseconds(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match SpanText::deserialize(deserializer)? {
            SpanText::Milliseconds(milliseconds) => {
                Duration::try_from_secs_f64(milliseconds / 1000.0)
                    .map(Self)
                    .map_err(|_| D::Error::custom(format!("{milliseconds} ms is not a duration")))
            }
            SpanText::Text(text) => text.parse().map_err(D::Error::custom),
        }
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
        serializer.collect_str(&format_args!("{}ms", self.0.as_secs_f64() * 1000.0))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
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
