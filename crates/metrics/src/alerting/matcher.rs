use std::fmt;

use crate::series_store::{MatchKind, Matcher, quote};

use super::alert::LabelMap;

/// A condition on a label of an alert, in Alertmanager's notation.
#[derive(Debug, Clone)]
pub struct AlertMatcher(Matcher);

// === impl AlertMatcher ===

impl AlertMatcher {
    /// A condition of its parts: `=`, `!=`, `=~` or `!~`.
    ///
    /// # Errors
    /// Where the name is empty or the pattern is none.
    pub fn new(name: &str, operator: &str, value: &str) -> Result<AlertMatcher, String> {
        if name.is_empty() {
            return Err("a matcher has no label name".to_owned());
        }
        let matcher = match operator {
            "=" => Ok(Matcher::equal(name, value)),
            "!=" => Ok(Matcher::not_equal(name, value)),
            "=~" => Matcher::matching(name, value),
            "!~" => Matcher::not_matching(name, value),
            other => return Err(format!("unknown matcher operator {other:?}")),
        };
        matcher
            .map(AlertMatcher)
            .map_err(|error| format!("matcher {name}{operator}{value:?}: {error}"))
    }

    /// Reads one condition: `severity=~"page|ticket"`, the value with or without quotes.
    ///
    /// # Errors
    /// Where the text is none.
    pub fn parse(text: &str) -> Result<AlertMatcher, String> {
        let mut all = AlertMatcher::parse_all(text)?;
        match (all.pop(), all.is_empty()) {
            (Some(one), true) => Ok(one),
            _ => Err(format!("{text:?} is not one matcher")),
        }
    }

    /// Reads conditions with commas between, with or without braces around.
    ///
    /// # Errors
    /// Where the text is none.
    pub fn parse_all(text: &str) -> Result<Vec<AlertMatcher>, String> {
        let trimmed = text.trim();
        let inner = match trimmed.strip_prefix('{') {
            Some(rest) => rest
                .strip_suffix('}')
                .ok_or_else(|| format!("{text:?}: a brace is not closed"))?,
            None => trimmed,
        };
        let mut matchers = Vec::new();
        for part in split(inner) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            matchers.push(parse_one(part)?);
        }
        Ok(matchers)
    }

    /// Whether labels satisfy it; a missing label is empty.
    #[must_use]
    pub fn accepts(&self, labels: &LabelMap) -> bool {
        let value = labels.get(&self.0.name).map_or("", String::as_str);
        self.0.accepts(value)
    }

    /// The label's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The value or pattern.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.0.value
    }

    /// `=`, `!=`, `=~` or `!~`.
    #[must_use]
    pub fn operator(&self) -> &'static str {
        match self.0.kind {
            MatchKind::Equal => "=",
            MatchKind::NotEqual => "!=",
            MatchKind::Matches(_) => "=~",
            MatchKind::MatchesNot(_) => "!~",
        }
    }

    /// Whether the value is a pattern.
    #[must_use]
    pub fn is_regex(&self) -> bool {
        matches!(
            self.0.kind,
            MatchKind::Matches(_) | MatchKind::MatchesNot(_)
        )
    }

    /// Whether the label must be as said, not otherwise.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        matches!(self.0.kind, MatchKind::Equal | MatchKind::Matches(_))
    }
}

impl fmt::Display for AlertMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}{}",
            self.name(),
            self.operator(),
            quote(self.value())
        )
    }
}

impl PartialEq for AlertMatcher {
    fn eq(&self, other: &AlertMatcher) -> bool {
        (self.name(), self.operator(), self.value())
            == (other.name(), other.operator(), other.value())
    }
}

/// Whether labels satisfy all conditions.
#[must_use]
pub fn accepts_all(matchers: &[AlertMatcher], labels: &LabelMap) -> bool {
    matchers.iter().all(|matcher| matcher.accepts(labels))
}

/// Cuts at commas outside quotes.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn parse_one(text: &str) -> Result<AlertMatcher, String> {
    let fault = || format!("bad matcher format: {text}");
    let (name, rest) = match text.strip_prefix('"') {
        Some(quoted) => {
            let end = quoted.find('"').ok_or_else(fault)?;
            (quoted[..end].to_owned(), &quoted[end + 1..])
        }
        None => {
            let end = text.find(['=', '!']).ok_or_else(fault)?;
            (text[..end].trim().to_owned(), &text[end..])
        }
    };
    let rest = rest.trim_start();
    let operator = ["=~", "!~", "!=", "="]
        .into_iter()
        .find(|operator| rest.starts_with(operator))
        .ok_or_else(fault)?;
    let value = rest[operator.len()..].trim();
    let value = match value.strip_prefix('"') {
        Some(quoted) => unescape(quoted.strip_suffix('"').ok_or_else(fault)?).ok_or_else(fault)?,
        None if value.contains('"') => return Err(fault()),
        None => value.to_owned(),
    };
    AlertMatcher::new(&name, operator, &value)
}

/// `\"`, `\\` and `\n` are escapes; another backslash stands for itself.
fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('n') => plain.push('\n'),
                Some(quoted @ ('"' | '\\')) => plain.push(quoted),
                Some(other) => plain.extend(['\\', other]),
                None => return None,
            },
            '"' => return None,
            other => plain.push(other),
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_read_with_and_without_quotes_and_braces() {
        for (text, expected) in [
            ("a=b", vec!["a=\"b\""]),
            ("a = \"b c\"", vec!["a=\"b c\""]),
            ("{a=~\"x|y\", b!=c}", vec!["a=~\"x|y\"", "b!=\"c\""]),
            ("a!~\"q,r\",b=\"\"", vec!["a!~\"q,r\"", "b=\"\""]),
            ("a=\"\\\"\\d\"", vec!["a=\"\\\"\\\\d\""]),
            ("", vec![]),
        ] {
            let read = AlertMatcher::parse_all(text).expect(text);
            let read: Vec<String> = read.iter().map(ToString::to_string).collect();
            assert_eq!(read, expected, "{text}");
        }
        for text in ["a", "=b", "{a=b", "a=\"b", "a=~\"(\""] {
            assert!(AlertMatcher::parse_all(text).is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_are_anchored_and_missing_labels_are_empty() {
        let labels = LabelMap::from([("a".to_owned(), "xy".to_owned())]);
        assert!(!AlertMatcher::parse("a=~x").expect("valid").accepts(&labels));
        assert!(
            AlertMatcher::parse("a=~x.")
                .expect("valid")
                .accepts(&labels)
        );
        assert!(
            AlertMatcher::parse("b=\"\"")
                .expect("valid")
                .accepts(&labels)
        );
    }
}
