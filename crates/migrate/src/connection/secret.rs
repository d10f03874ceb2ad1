//! What may be shown of a connection string.

/// A text with the passwords of the connection strings in it left out: what stands between `:` and
/// `@` of a URL, and what follows `password=`.
#[must_use]
pub fn without_passwords(text: &str) -> String {
    without_values(&without_url_passwords(text))
}

/// What stands in a password's place.
const HIDDEN: &str = "…";

fn without_url_passwords(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, url) = rest.split_at(at + 3);
        shown.push_str(before);
        let end = url.find(char::is_whitespace).unwrap_or(url.len());
        // A password may hold what should have been written in percents, an @ or a / too.
        let (url, after) = url.split_at(end);
        match url
            .rfind('@')
            .and_then(|at| Some((url[..at].find(':')?, at)))
        {
            Some((colon, at)) => {
                shown.push_str(&url[..=colon]);
                shown.push_str(HIDDEN);
                shown.push_str(&url[at..]);
            }
            None => shown.push_str(url),
        }
        rest = after;
    }
    shown + rest
}

fn without_values(text: &str) -> String {
    const KEYWORD: &str = "password";
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(KEYWORD) {
        let (before, after) = rest.split_at(at + KEYWORD.len());
        shown.push_str(before);
        rest = after;
        let Some(value) = rest.trim_start().strip_prefix('=') else {
            continue;
        };
        let value = value.trim_start();
        shown.push('=');
        shown.push_str(HIDDEN);
        rest = &value[length_of_value(value)..];
    }
    shown + rest
}

/// How many bytes a keyword's value takes: to its closing quote, or to what ends a plain one, in a
/// URL or between the quotes of a message too.
fn length_of_value(value: &str) -> usize {
    let quoted = value.starts_with('\'');
    let mut letters = value.char_indices().skip(usize::from(quoted));
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            '\'' if quoted => return at + 1,
            '\'' | '&' if !quoted => return at,
            space if !quoted && space.is_whitespace() => return at,
            _ => {}
        }
    }
    value.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown_however_it_was_written() {
        for (text, shown) in [
            (
                "the argument 'postgres://u:secret@h/d' is one too many",
                "the argument 'postgres://u:…@h/d' is one too many",
            ),
            (
                "postgres://u:se:cr@et/s@h:5432/d",
                "postgres://u:…@h:5432/d",
            ),
            ("postgres://u@h:5432/d", "postgres://u@h:5432/d"),
            (
                "mysql://u:a@h/x postgres://v:b@h/y",
                "mysql://u:…@h/x postgres://v:…@h/y",
            ),
            (
                "postgres://h/d?password=secret&sslmode=require",
                "postgres://h/d?password=…&sslmode=require",
            ),
            (
                "found 'host=h password=secret user=u'",
                "found 'host=h password=… user=u'",
            ),
            ("found 'password=secret'", "found 'password=…'"),
            (
                "password = 'two \\'quoted\\' words' user=u",
                "password=… user=u",
            ),
            ("sqlite:app.db", "sqlite:app.db"),
            ("the password is wrong", "the password is wrong"),
        ] {
            assert_eq!(without_passwords(text), shown, "{text}");
        }
    }
}
