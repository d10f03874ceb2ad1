use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::promql::shortest;

/// A value a template works on.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Nil,
    /// Go's `bool`.
    Bool(bool),
    /// Go's `int`.
    Int(i64),
    /// Go's `float64`.
    Float(f64),
    /// Go's `string`.
    Text(Arc<str>),
    /// Go's `time.Time`, which knows its zone.
    Time(Zoned),
    /// Go's `time.Duration`, in nanoseconds.
    Duration(i64),
    /// A slice.
    List(Arc<[Value]>),
    /// A map by text.
    Map(Arc<BTreeMap<String, Value>>),
    /// A struct.
    Record(Arc<Record>),
}

/// A struct: fields by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its type's name, by which its methods are found.
    pub type_name: &'static str,
    /// Its fields.
    pub fields: BTreeMap<&'static str, Value>,
}

// === impl Value ===

impl Value {
    /// A text.
    #[must_use]
    pub fn text(text: &str) -> Value {
        Value::Text(Arc::from(text))
    }

    /// A time, in UTC.
    #[must_use]
    pub fn time(time: Timestamp) -> Value {
        Value::Time(time.to_zoned(TimeZone::UTC))
    }

    /// A slice.
    #[must_use]
    pub fn list(items: Vec<Value>) -> Value {
        Value::List(items.into())
    }

    /// A map of texts.
    #[must_use]
    pub fn map<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
        let pairs = pairs.into_iter();
        Value::Map(Arc::new(
            pairs
                .map(|(key, value)| (key.to_owned(), Value::text(value)))
                .collect(),
        ))
    }

    /// A struct.
    #[must_use]
    pub fn record<const N: usize>(
        type_name: &'static str,
        fields: [(&'static str, Value); N],
    ) -> Value {
        Value::Record(Arc::new(Record {
            type_name,
            fields: BTreeMap::from(fields),
        }))
    }

    /// Whether `if` takes it for true: neither zero nor empty.
    #[must_use]
    pub fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Int(value) | Value::Duration(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(items) => !items.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::Time(_) | Value::Record(_) => true,
        }
    }

    /// The Go type's name, for messages.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::Time(_) => "time.Time",
            Value::Duration(_) => "time.Duration",
            Value::List(_) => "slice",
            Value::Map(_) => "map",
            Value::Record(record) => record.type_name,
        }
    }
}

/// As Go's `fmt.Sprint` prints it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("<no value>"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Float(value) => f.write_str(&shortest(*value)),
            Value::Text(text) => f.write_str(text),
            Value::Time(time) => f.write_str(&super::print::time(time)),
            Value::Duration(nanoseconds) => f.write_str(&super::print::duration(*nanoseconds)),
            Value::List(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    let gap = if at > 0 { " " } else { "" };
                    write!(f, "{gap}{item}")?;
                }
                f.write_str("]")
            }
            Value::Map(map) => {
                f.write_str("map[")?;
                for (at, (key, value)) in map.iter().enumerate() {
                    let gap = if at > 0 { " " } else { "" };
                    write!(f, "{gap}{key}:{value}")?;
                }
                f.write_str("]")
            }
            Value::Record(record) => {
                f.write_str("{")?;
                for (at, value) in record.fields.values().enumerate() {
                    let gap = if at > 0 { " " } else { "" };
                    write!(f, "{gap}{value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::text(text)
    }
}
