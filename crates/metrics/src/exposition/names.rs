use std::borrow::Cow;

/// Whether a metric's name may be written without quotes: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
#[must_use]
pub fn is_legacy_metric_name(name: &str) -> bool {
    starts_without_digit(name)
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
}

/// Whether a label's name may be written without quotes: `[a-zA-Z_][a-zA-Z0-9_]*`.
#[must_use]
pub fn is_legacy_label_name(name: &str) -> bool {
    starts_without_digit(name)
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn starts_without_digit(name: &str) -> bool {
    name.bytes()
        .next()
        .is_some_and(|first| !first.is_ascii_digit())
}

/// A name for readers that know no UTF-8 names: every other character becomes an underscore.
#[must_use]
pub fn escape_name(name: &str) -> Cow<'_, str> {
    if is_legacy_metric_name(name) {
        return Cow::Borrowed(name);
    }
    let escaped = name.char_indices().map(|(at, char)| {
        let is_plain = char.is_ascii_alphabetic()
            || char == '_'
            || char == ':'
            || (char.is_ascii_digit() && at > 0);
        if is_plain { char } else { '_' }
    });
    Cow::Owned(escaped.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_other_characters_are_escaped_to_underscores() {
        assert!(is_legacy_metric_name("a:b_1") && !is_legacy_label_name("a:b"));
        assert!(!is_legacy_metric_name("") && !is_legacy_metric_name("1a"));
        assert_eq!(escape_name("http.requests"), "http_requests");
        assert_eq!(escape_name("1ä"), "__");
        assert_eq!(escape_name("up"), "up");
    }
}
