use std::fmt;

use regex::Regex;

/// A regular expression in Go's (RE2) syntax, which must match the whole text.
///
/// The `regex` crate differs from Go in small ways that would give other answers: its classes are
/// Unicode's, a `{` that starts no repetition is an error, classes nest. The pattern is rewritten
/// so that it means what it means in Go.
#[derive(Clone)]
pub struct Pattern {
    regex: Regex,
    /// The only texts that match, where the pattern is a plain text or alternatives of plain texts.
    literals: Option<Box<[String]>>,
}

/// A pattern that is no regular expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {reason}: `{pattern}`")]
pub struct PatternError {
    pattern: String,
    reason: String,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// Where the pattern is no valid expression, or grows too large when compiled.
    pub fn new(pattern: &str) -> Result<Pattern, PatternError> {
        let anchored = format!("^(?s:{})$", rewrite_from_go(pattern));
        let regex = Regex::new(&anchored).map_err(|error| PatternError {
            pattern: pattern.to_owned(),
            reason: match error {
                regex::Error::CompiledTooBig(_) => "expression too large".to_owned(),
                other => last_line(&other.to_string()),
            },
        })?;
        Ok(Pattern {
            regex,
            literals: plain_alternatives(pattern),
        })
    }

    /// Whether the whole text matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match &self.literals {
            Some(literals) => literals.iter().any(|literal| literal == text),
            None => self.regex.is_match(text),
        }
    }

    /// The template with `$1`, `${name}` replaced by what the groups matched; nothing where the text does not match.
    #[must_use]
    pub fn expand(&self, text: &str, template: &str) -> Option<String> {
        let groups = self.regex.captures(text)?;
        let mut expanded = String::new();
        groups.expand(template, &mut expanded);
        Some(expanded)
    }

    /// The only texts that match, where that is known without trying.
    pub(crate) fn literals(&self) -> Option<&[String]> {
        self.literals.as_deref()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.regex.as_str())
    }
}

fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// `a|b|c` without any special character: the alternatives.
fn plain_alternatives(pattern: &str) -> Option<Box<[String]>> {
    if pattern.contains(|char: char| r"\.+*?()[]{}^$".contains(char)) {
        return None;
    }
    Some(pattern.split('|').map(str::to_owned).collect())
}

/// The same expression in the `regex` crate's syntax.
fn rewrite_from_go(pattern: &str) -> String {
    let mut rewritten = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(char) = rest.chars().next() {
        let after = &rest[char.len_utf8()..];
        match char {
            '\\' => {
                rest = rewrite_escape(after, in_class, &mut rewritten);
                continue;
            }
            '[' if !in_class => {
                in_class = true;
                rewritten.push('[');
                rest = after;
                if let Some(negated) = rest.strip_prefix('^') {
                    rewritten.push('^');
                    rest = negated;
                }
                // A bracket right at the start is a member of the class.
                if let Some(member) = rest.strip_prefix(']') {
                    rewritten.push_str("\\]");
                    rest = member;
                }
                continue;
            }
            '[' => match rest
                .strip_prefix("[:")
                .and_then(|named| named.split_once(":]"))
            {
                Some((name, after_name)) if is_class_name(name) => {
                    rewritten.push_str(&rest[..rest.len() - after_name.len()]);
                    rest = after_name;
                    continue;
                }
                _ => rewritten.push_str("\\["),
            },
            ']' if in_class => {
                in_class = false;
                rewritten.push(']');
            }
            '&' | '~' if in_class => {
                rewritten.push('\\');
                rewritten.push(char);
            }
            '-' if in_class && after.starts_with('-') => rewritten.push_str("\\-"),
            '{' if !in_class && !starts_repetition(after) => rewritten.push_str("\\{"),
            other => rewritten.push(other),
        }
        rest = after;
    }
    rewritten
}

fn is_class_name(name: &str) -> bool {
    let name = name.strip_prefix('^').unwrap_or(name);
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// `2}`, `2,}` and `2,5}` after a brace are a repetition; anything else makes the brace a literal.
fn starts_repetition(after: &str) -> bool {
    let Some((counts, _)) = after.split_once('}') else {
        return false;
    };
    let is_count = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match counts.split_once(',') {
        None => is_count(counts),
        Some((least, most)) => is_count(least) && (most.is_empty() || is_count(most)),
    }
}

/// Rewrites what follows a backslash; returns what is left.
fn rewrite_escape<'a>(after: &'a str, in_class: bool, rewritten: &mut String) -> &'a str {
    let Some(char) = after.chars().next() else {
        rewritten.push('\\');
        return after;
    };
    let rest = &after[char.len_utf8()..];
    let members = match char.to_ascii_lowercase() {
        'd' => "0-9",
        'w' => "0-9A-Za-z_",
        's' => r"\t\n\f\r ",
        'q' if char == 'Q' => {
            let (literal, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
            rewritten.push_str(&regex::escape(literal));
            return rest;
        }
        'b' if !in_class => {
            rewritten.push_str(if char == 'b' {
                r"(?-u:\b)"
            } else {
                r"(?-u:\B)"
            });
            return rest;
        }
        _ => {
            rewritten.push('\\');
            rewritten.push(char);
            return rest;
        }
    };
    match (in_class, char.is_ascii_uppercase()) {
        (true, false) => rewritten.push_str(members),
        (false, false) => rewritten.extend(["[", members, "]"]),
        (_, true) => rewritten.extend(["[^", members, "]"]),
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).expect(pattern).matches(text)
    }

    #[test]
    fn a_pattern_matches_the_whole_text_over_lines() {
        assert!(matches("a|bc", "bc"));
        assert!(!matches("a|bc", "abc"));
        assert!(matches("a.c", "a\nc"));
        assert!(matches("", ""));
        assert!(!matches("", "x"));
    }

    #[test]
    fn what_go_reads_otherwise_is_read_as_go_does() {
        let cases = [
            (r"\d+", "12", true),
            (r"\d+", "١٢", false),
            (r"\w", "ä", false),
            (r"[\d.]+", "1.2", true),
            (r"[^\w]", "-", true),
            (r"[\W]", "-", true),
            (r"a{b}", "a{b}", true),
            (r"a{,2}", "a{,2}", true),
            (r"a{2}", "aa", true),
            (r"[[]", "[", true),
            (r"[]a]", "]", true),
            (r"[a&&b]+", "a&b", true),
            (r"[[:alpha:]]+", "abc", true),
            (r"\Qa.b\E", "a.b", true),
            (r"\Qa.b\E", "axb", false),
            (r"(?i:PRO).*", "production", true),
            (r".*\bfoo\b.*", "a foo b", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_broken_pattern_is_refused() {
        assert!(Pattern::new("(.*").is_err());
        assert!(Pattern::new("*").is_err());
    }

    #[test]
    fn groups_are_expanded_as_go_expands_them() {
        let pattern = Pattern::new("(.*)-(?P<last>.*)").expect("valid");
        assert_eq!(
            pattern.expand("a-b", "$2:${1}:$last:$$:$1x").as_deref(),
            Some("b:a:b:$:")
        );
        assert_eq!(pattern.expand("ab", "$1"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_pattern_makes_the_rewriting_panic(pattern in "[a-z0-9\\\\\\[\\](){}|.*+?^$&~,:QEdswbx-]{0,24}", text in "[a-z]{0,4}") {
            if let Ok(pattern) = Pattern::new(&pattern) {
                let _ = pattern.matches(&text);
            }
        }

        #[test]
        fn a_quoted_text_matches_itself_alone(text in "[ -~äß]{0,12}", other in "[ -~]{0,12}") {
            proptest::prop_assume!(!text.contains("\\E"));
            let pattern = Pattern::new(&format!("\\Q{text}\\E")).expect("valid");
            proptest::prop_assert!(pattern.matches(&text));
            proptest::prop_assert_eq!(pattern.matches(&other), other == text);
        }
    }
}
