use std::fmt;

use super::labels::quote;
use super::{Labels, Pattern, PatternError};

/// How a matcher compares a label's value.
#[derive(Debug, Clone)]
pub enum MatchKind {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Matches(Pattern),
    /// `!~`
    MatchesNot(Pattern),
}

/// One condition on a label. A missing label has the empty value.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// The value or pattern, as it was written.
    pub value: String,
    /// How the two are compared.
    pub kind: MatchKind,
}

impl Matcher {
    /// `name = value`
    #[must_use]
    pub fn equal(name: &str, value: &str) -> Matcher {
        Matcher::of(name, value, MatchKind::Equal)
    }

    /// `name != value`
    #[must_use]
    pub fn not_equal(name: &str, value: &str) -> Matcher {
        Matcher::of(name, value, MatchKind::NotEqual)
    }

    /// `name =~ pattern`
    ///
    /// # Errors
    /// Where the pattern is no regular expression.
    pub fn matching(name: &str, pattern: &str) -> Result<Matcher, PatternError> {
        let kind = MatchKind::Matches(Pattern::new(pattern)?);
        Ok(Matcher::of(name, pattern, kind))
    }

    /// `name !~ pattern`
    ///
    /// # Errors
    /// Where the pattern is no regular expression.
    pub fn not_matching(name: &str, pattern: &str) -> Result<Matcher, PatternError> {
        let kind = MatchKind::MatchesNot(Pattern::new(pattern)?);
        Ok(Matcher::of(name, pattern, kind))
    }

    fn of(name: &str, value: &str, kind: MatchKind) -> Matcher {
        Matcher {
            name: name.to_owned(),
            value: value.to_owned(),
            kind,
        }
    }

    /// Whether a value of the label satisfies the condition.
    #[must_use]
    pub fn accepts(&self, value: &str) -> bool {
        match &self.kind {
            MatchKind::Equal => self.value == value,
            MatchKind::NotEqual => self.value != value,
            MatchKind::Matches(pattern) => pattern.matches(value),
            MatchKind::MatchesNot(pattern) => !pattern.matches(value),
        }
    }

    /// Whether a series satisfies the condition.
    #[must_use]
    pub fn accepts_series(&self, labels: &Labels) -> bool {
        self.accepts(labels.get(&self.name))
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.kind {
            MatchKind::Equal => "=",
            MatchKind::NotEqual => "!=",
            MatchKind::Matches(_) => "=~",
            MatchKind::MatchesNot(_) => "!~",
        };
        write!(f, "{}{operator}{}", self.name, quote(&self.value))
    }
}
