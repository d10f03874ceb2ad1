//! Decodes JSON and notes keys that occur twice in one object.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Decodes a JSON body; of a key that occurs twice the last value counts, and its path
/// (`spec.ports[0].name`) is returned.
///
/// # Errors
/// The bytes are not one JSON value.
pub fn decode_strict(bytes: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let decoded = decode_strict_from(&mut deserializer)?;
    deserializer.end()?;
    Ok(decoded)
}

/// As [`decode_strict`], from any self-describing format.
///
/// # Errors
/// What the deserializer reports.
pub fn decode_strict_from<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<(Value, Vec<String>), D::Error> {
    let state = State::default();
    let value = Place(&state).deserialize(deserializer)?;
    Ok((value, state.duplicates.into_inner()))
}

#[derive(Default)]
struct State {
    path: RefCell<String>,
    duplicates: RefCell<Vec<String>>,
}

impl State {
    fn enter(&self, step: fmt::Arguments<'_>) -> usize {
        use fmt::Write;
        let mut path = self.path.borrow_mut();
        let length = path.len();
        // Writing to a String does not fail.
        let _ = path.write_fmt(step);
        length
    }

    fn leave(&self, length: usize) {
        self.path.borrow_mut().truncate(length);
    }
}

#[derive(Clone, Copy)]
struct Place<'a>(&'a State);

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number that JSON cannot hold"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let length = self.0.enter(format_args!("[{}]", list.len()));
            let item = items.next_element_seed(self)?;
            self.0.leave(length);
            match item {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let dot = if self.0.path.borrow().is_empty() {
                ""
            } else {
                "."
            };
            let length = self.0.enter(format_args!("{dot}{key}"));
            let member = members.next_value_seed(self)?;
            if object.insert(key, member).is_some() {
                let path = self.0.path.borrow().clone();
                let mut duplicates = self.0.duplicates.borrow_mut();
                if !duplicates.contains(&path) {
                    duplicates.push(path);
                }
            }
            self.0.leave(length);
        }
        Ok(Value::Object(object))
    }
}
