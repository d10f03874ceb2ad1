//! Where selectors look values up: labels, selectable fields, in whatever form they are held.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A set of text values by key.
pub trait Labels {
    /// The value of `key`, if it is set.
    fn value_of(&self, key: &str) -> Option<&str>;
}

impl<K: AsRef<str>, V: AsRef<str>> Labels for [(K, V)] {
    fn value_of(&self, key: &str) -> Option<&str> {
        self.iter()
            .find(|(name, _)| name.as_ref() == key)
            .map(|(_, value)| value.as_ref())
    }
}

impl<K: AsRef<str>, V: AsRef<str>, const N: usize> Labels for [(K, V); N] {
    fn value_of(&self, key: &str) -> Option<&str> {
        self.as_slice().value_of(key)
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Labels for Vec<(K, V)> {
    fn value_of(&self, key: &str) -> Option<&str> {
        self.as_slice().value_of(key)
    }
}

impl Labels for BTreeMap<String, String> {
    fn value_of(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl Labels for Map<String, Value> {
    fn value_of(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }
}

/// An object; anything else holds no labels.
impl Labels for Value {
    fn value_of(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }
}

impl<L: Labels> Labels for Option<L> {
    fn value_of(&self, key: &str) -> Option<&str> {
        self.as_ref().and_then(|labels| labels.value_of(key))
    }
}

/// The labels of an object's metadata, sorted by key; values that are no strings are left out.
pub fn labels_of(object: &Value) -> Vec<(String, String)> {
    let Some(labels) = object
        .pointer("/metadata/labels")
        .and_then(Value::as_object)
    else {
        return Vec::new();
    };
    let mut pairs: Vec<(String, String)> = labels
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    pairs.sort();
    pairs
}
