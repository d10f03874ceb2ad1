//! Field selectors in query strings: `metadata.name=a,status.phase!=Running`.

use std::fmt;

use super::SelectorError;
use crate::labels::Labels;

/// One condition of a [`FieldSelector`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldRequirement {
    /// The field, for example `metadata.name`.
    pub field: String,
    /// Whether the field must have the value, or must not have it.
    pub equal: bool,
    /// The value.
    pub value: String,
}

/// A selection of objects by a few of their fields. Displays as a query string.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Selects every object.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Parses a query string; an empty one selects everything. In values `\`, `,` and `=` are
    /// written after a `\`.
    pub fn parse(query: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for term in terms(query) {
            if term.is_empty() {
                continue;
            }
            let Some((field, equal, value)) = split_term(term) else {
                return Err(SelectorError(format!(
                    "invalid selector: '{query}'; can't understand '{term}'"
                )));
            };
            requirements.push(FieldRequirement {
                field: field.to_owned(),
                equal,
                value: unescape(value)?,
            });
        }
        requirements.sort();
        Ok(Self { requirements })
    }

    /// Whether `fields` are selected. A field that is not among them counts as empty.
    pub fn matches<L: Labels + ?Sized>(&self, fields: &L) -> bool {
        self.requirements.iter().all(|requirement| {
            let value = fields.value_of(&requirement.field).unwrap_or_default();
            (value == requirement.value) == requirement.equal
        })
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The conditions, sorted.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// The value that `field` must have, if the selector asks for exactly one.
    pub fn exact(&self, field: &str) -> Option<&str> {
        let mut found = self
            .requirements
            .iter()
            .filter(|one| one.equal && one.field == field);
        found.next().map(|one| one.value.as_str())
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let operator = if requirement.equal { "=" } else { "!=" };
            write!(f, "{comma}{}{operator}", requirement.field)?;
            for c in requirement.value.chars() {
                if matches!(c, '\\' | ',' | '=') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

/// Splits at commas that do not follow a backslash.
fn terms(query: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (index, byte) in query.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                found.push(&query[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    found.push(&query[start..]);
    found
}

/// The field, whether it must be equal, and the value as written.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.char_indices().find_map(|(index, _)| {
        let rest = &term[index..];
        ["!=", "==", "="]
            .into_iter()
            .find(|one| rest.starts_with(one))
            .map(|one| (index, one))
    });
    let (index, operator) = at?;
    Some((
        &term[..index],
        operator != "!=",
        &term[index + operator.len()..],
    ))
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => text.push(escaped),
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(SelectorError(format!(
                        "invalid field selector: invalid escape sequence: \\{other}"
                    )));
                }
            },
            ',' | '=' => {
                return Err(SelectorError(format!(
                    "invalid field selector: unescaped character in value: {c}"
                )));
            }
            c => text.push(c),
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_compared_and_missing_ones_are_empty() {
        let fields = [("metadata.name", "a"), ("status.phase", "Running")];
        for (query, expected) in [
            ("", true),
            (",", true),
            ("metadata.name=a", true),
            ("metadata.name==a", true),
            ("metadata.name=b", false),
            ("metadata.name!=b,status.phase=Running", true),
            ("metadata.name!=a", false),
            ("spec.nodeName=", true),
            ("spec.nodeName!=", false),
        ] {
            assert_eq!(
                FieldSelector::parse(query).unwrap().matches(&fields),
                expected,
                "{query}"
            );
        }
    }

    #[test]
    fn exact_tells_the_one_value_a_field_must_have() {
        let selector = FieldSelector::parse("metadata.name=a,status.phase!=b").unwrap();
        assert_eq!(selector.exact("metadata.name"), Some("a"));
        assert_eq!(selector.exact("status.phase"), None);
    }

    #[test]
    fn values_are_escaped() {
        let selector = FieldSelector::parse(r"a=b\,c\=d\\").unwrap();
        assert_eq!(selector.exact("a"), Some(r"b,c=d\"));
        assert_eq!(selector.to_string(), r"a=b\,c\=d\\");
    }

    #[test]
    fn bad_queries_are_told_in_kubernetes_words() {
        for (query, error) in [
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            ("a=b,c", "invalid selector: 'a=b,c'; can't understand 'c'"),
            (
                "a=b=c",
                "invalid field selector: unescaped character in value: =",
            ),
            (
                r"a=\x",
                r"invalid field selector: invalid escape sequence: \x",
            ),
            (
                r"a=\",
                r"invalid field selector: invalid escape sequence: \",
            ),
        ] {
            assert_eq!(FieldSelector::parse(query).unwrap_err().to_string(), error);
        }
    }

    proptest! {
        #[test]
        fn no_query_panics(query in ".*") {
            let _ = FieldSelector::parse(&query);
        }

        #[test]
        fn what_is_printed_parses_to_the_same(query in r"([a-c](=|!=|==)([a-c]|\\\\|\\,|\\=){0,3},?){0,3}") {
            if let Ok(selector) = FieldSelector::parse(&query) {
                prop_assert_eq!(FieldSelector::parse(&selector.to_string()).unwrap(), selector);
            }
        }
    }
}
