use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";

/// What names a series: pairs of label name and value, sorted by name, without empty values.
///
/// Cheap to clone. Ordered as Prometheus orders series: pair by pair, then by length.
#[derive(Clone)]
pub struct Labels(Arc<[(Arc<str>, Arc<str>)]>);

/// Texts that are shared are equal without being looked at: most are, and every query compares many.
fn same(left: &Arc<str>, right: &Arc<str>) -> bool {
    Arc::ptr_eq(left, right) || left == right
}

fn order(left: &Arc<str>, right: &Arc<str>) -> Ordering {
    if Arc::ptr_eq(left, right) {
        return Ordering::Equal;
    }
    left.cmp(right)
}

impl PartialEq for Labels {
    fn eq(&self, other: &Labels) -> bool {
        let mut pairs = self.0.iter().zip(other.0.iter());
        Arc::ptr_eq(&self.0, &other.0)
            || (self.len() == other.len()
                && pairs.all(|(left, right)| same(&left.0, &right.0) && same(&left.1, &right.1)))
    }
}

impl Eq for Labels {}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Labels) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        for (left, right) in self.0.iter().zip(other.0.iter()) {
            let ordered = order(&left.0, &right.0).then_with(|| order(&left.1, &right.1));
            if ordered != Ordering::Equal {
                return ordered;
            }
        }
        self.len().cmp(&other.len())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Labels) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Labels {
    /// Labels from pairs in any order. Of a repeated name the last pair counts; empty values are left out.
    #[must_use]
    pub fn new<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Labels
    where
        N: Into<Arc<str>>,
        V: Into<Arc<str>>,
    {
        let mut sorted: Vec<(Arc<str>, Arc<str>)> = Vec::new();
        for (name, value) in pairs {
            let (name, value) = (name.into(), value.into());
            match sorted.binary_search_by(|(known, _)| known.cmp(&name)) {
                Ok(at) => sorted[at].1 = value,
                Err(at) => sorted.insert(at, (name, value)),
            }
        }
        sorted.retain(|(_, value)| !value.is_empty());
        Labels(sorted.into())
    }

    /// Labels from pairs that are sorted by name and have no empty value.
    pub(crate) fn from_sorted(pairs: Vec<(Arc<str>, Arc<str>)>) -> Labels {
        Labels(pairs.into())
    }

    /// No labels at all.
    #[must_use]
    pub fn empty() -> Labels {
        Labels(Arc::from([]))
    }

    /// The pairs, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    pub(crate) fn pairs(&self) -> &[(Arc<str>, Arc<str>)] {
        &self.0
    }

    /// How many labels there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A label's value; the empty text where the label is missing.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        match self.0.binary_search_by(|(known, _)| (**known).cmp(name)) {
            Ok(at) => &self.0[at].1,
            Err(_) => "",
        }
    }

    /// The metric's name; the empty text where there is none.
    #[must_use]
    pub fn metric_name(&self) -> &str {
        self.get(METRIC_NAME)
    }

    /// These labels with one set to a value; the empty value removes it.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Labels {
        if self.get(name) == value {
            return self.clone();
        }
        let others = self.0.iter().filter(|(known, _)| &**known != name).cloned();
        let set: (Arc<str>, Arc<str>) = (Arc::from(name), Arc::from(value));
        Labels::new(others.chain([set]))
    }

    /// These labels without those a predicate names.
    #[must_use]
    pub fn without(&self, mut drop: impl FnMut(&str) -> bool) -> Labels {
        if !self.0.iter().any(|(name, _)| drop(name)) {
            return self.clone();
        }
        Labels(
            self.0
                .iter()
                .filter(|(name, _)| !drop(name))
                .cloned()
                .collect(),
        )
    }

    /// These labels without the metric's name.
    #[must_use]
    pub fn without_name(&self) -> Labels {
        self.without(|name| name == METRIC_NAME)
    }
}

/// As Prometheus prints labels: `{__name__="up", job="node"}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('{')?;
        for (at, (name, value)) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            if is_plain_name(name) {
                f.write_str(name)?;
            } else {
                f.write_str(&quote(name))?;
            }
            write!(f, "={}", quote(value))?;
        }
        f.write_char('}')
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a label name needs no quotes in PromQL: `[a-zA-Z_][a-zA-Z0-9_]*`.
fn is_plain_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let starts_well = bytes
        .next()
        .is_some_and(|first| first == b'_' || first.is_ascii_alphabetic());
    starts_well && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

/// Text in double quotes, escaped as Go's `strconv.Quote` escapes it.
pub(crate) fn quote(text: &str) -> String {
    quote_bytes(text.as_bytes())
}

/// As [`quote`], for text that may not be UTF-8: stray bytes become `\xNN`.
pub(crate) fn quote_bytes(bytes: &[u8]) -> String {
    let mut quoted = String::with_capacity(bytes.len() + 2);
    quoted.push('"');
    for part in bytes.utf8_chunks() {
        for char in part.valid().chars() {
            match char {
                '"' => quoted.push_str("\\\""),
                '\\' => quoted.push_str("\\\\"),
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\t' => quoted.push_str("\\t"),
                '\u{7}' => quoted.push_str("\\a"),
                '\u{8}' => quoted.push_str("\\b"),
                '\u{b}' => quoted.push_str("\\v"),
                '\u{c}' => quoted.push_str("\\f"),
                control if u32::from(control) < 0x20 || control == '\u{7f}' => {
                    let _ = write!(quoted, "\\x{:02x}", u32::from(control));
                }
                plain => quoted.push(plain),
            }
        }
        for byte in part.invalid() {
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_empty_values_are_no_labels() {
        let labels = Labels::new([("b", "2"), ("a", "1"), ("c", ""), ("a", "3")]);
        assert_eq!(labels.to_string(), r#"{a="3", b="2"}"#);
        assert_eq!(labels.get("c"), "");
        assert_eq!(labels.with("b", "").to_string(), r#"{a="3"}"#);
        assert_eq!(
            labels.with("aa", "x").to_string(),
            r#"{a="3", aa="x", b="2"}"#
        );
    }

    #[test]
    fn series_order_is_pair_by_pair_then_by_length() {
        let short = Labels::new([("a", "1")]);
        let long = Labels::new([("a", "1"), ("b", "1")]);
        let other = Labels::new([("a", "2")]);
        assert!(short < long && long < other);
    }

    #[test]
    fn quoting_escapes_what_go_escapes() {
        assert_eq!(quote("a\"\\\n\u{1}ä"), "\"a\\\"\\\\\\n\\x01ä\"");
        assert_eq!(quote_bytes(b"a\xc5z"), r#""a\xc5z""#);
        assert_eq!(Labels::new([("a.b", "c")]).to_string(), r#"{"a.b"="c"}"#);
    }
}
