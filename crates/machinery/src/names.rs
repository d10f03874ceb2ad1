//! What names, label keys, label values and other identifiers may look like.
//!
//! Each check returns Kubernetes' own sentences on what is wrong, an empty list when nothing is.
//! The caller makes [`FieldError`](crate::error::FieldError)s of them.

/// The longest DNS label, in bytes.
pub const DNS_LABEL_MAX: usize = 63;
/// The longest DNS subdomain, in bytes: the limit of most objects' names.
pub const DNS_SUBDOMAIN_MAX: usize = 253;
/// The longest label value, and the longest name part of a label key, in bytes.
pub const LABEL_MAX: usize = 63;

const DNS1123_LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const DNS1123_SUBDOMAIN: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const LABEL_KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

fn is_lower_alphanumeric(letter: u8) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit()
}

/// Whether `text` is not empty, begins and ends with what `edge` accepts, and holds between them
/// only that and the characters of `inner`.
fn is_framed(text: &str, edge: fn(u8) -> bool, inner: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    edge(first)
        && edge(last)
        && bytes
            .iter()
            .all(|&byte| edge(byte) || inner.contains(&byte))
}

fn is_dns1123_label(text: &str) -> bool {
    is_framed(text, is_lower_alphanumeric, b"-")
}

fn is_dns1123_subdomain(text: &str) -> bool {
    text.split('.').all(is_dns1123_label)
}

fn is_label_key_name(text: &str) -> bool {
    is_framed(text, |byte| byte.is_ascii_alphanumeric(), b"-_.")
}

/// The sentence for a text longer than `max`.
pub fn max_length_error(max: usize) -> String {
    format!("must be no more than {max} characters")
}

/// The sentence for a text that does not match `pattern`, with examples that do.
pub fn pattern_error(message: &str, pattern: &str, examples: &[&str]) -> String {
    let mut text = format!("{message} (");
    for (index, example) in examples.iter().enumerate() {
        text.push_str(if index == 0 { "e.g. " } else { " or " });
        text.push_str(&format!("'{example}', "));
    }
    text.push_str(&format!("regex used for validation is '{pattern}')"));
    text
}

/// The sentence for a number outside its bounds.
pub fn range_error(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

/// Checks a DNS label of RFC 1123: names of Namespaces, containers, and the like.
pub fn dns1123_label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > DNS_LABEL_MAX {
        errors.push(max_length_error(DNS_LABEL_MAX));
    }
    if is_dns1123_label(text) {
        return errors;
    }
    if is_dns1123_subdomain(text) {
        errors.push("must not contain dots".to_owned());
    } else {
        errors.push(pattern_error(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
            DNS1123_LABEL,
            &["my-name", "123-abc"],
        ));
    }
    errors
}

/// Checks a DNS subdomain of RFC 1123: names of most objects.
pub fn dns1123_subdomain(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > DNS_SUBDOMAIN_MAX {
        errors.push(max_length_error(DNS_SUBDOMAIN_MAX));
    }
    if !is_dns1123_subdomain(text) {
        errors.push(pattern_error(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            DNS1123_SUBDOMAIN,
            &["example.com"],
        ));
    }
    errors
}

/// Checks a DNS subdomain whose first label is `*`.
pub fn wildcard_dns1123_subdomain(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > DNS_SUBDOMAIN_MAX {
        errors.push(max_length_error(DNS_SUBDOMAIN_MAX));
    }
    if !text.strip_prefix("*.").is_some_and(is_dns1123_subdomain) {
        errors.push(pattern_error(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            &format!("\\*\\.{DNS1123_SUBDOMAIN}"),
            &["*.example.com"],
        ));
    }
    errors
}

/// Checks a DNS label of RFC 1035, which starts with a letter: names of Services.
pub fn dns1035_label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > DNS_LABEL_MAX {
        errors.push(max_length_error(DNS_LABEL_MAX));
    }
    if !(is_dns1123_label(text) && text.as_bytes()[0].is_ascii_lowercase()) {
        errors.push(pattern_error(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    errors
}

/// Checks a label key, also called a qualified name: an optional DNS subdomain and `/`, then a
/// name.
pub fn label_key(text: &str) -> Vec<String> {
    const MESSAGE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    const EXAMPLES: &[&str] = &["MyName", "my.name", "123-abc"];
    let parts: Vec<&str> = text.split('/').collect();
    let mut errors = Vec::new();
    let name = match parts[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                let found = dns1123_subdomain(prefix);
                errors.extend(
                    found
                        .into_iter()
                        .map(|error| format!("prefix part {error}")),
                );
            }
            name
        }
        _ => {
            let error = pattern_error(MESSAGE, LABEL_KEY, EXAMPLES);
            return vec![format!(
                "a valid label key {error} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        errors.push(format!("name part {}", max_length_error(LABEL_MAX)));
    }
    if !is_label_key_name(name) {
        errors.push(format!(
            "name part {}",
            pattern_error(MESSAGE, LABEL_KEY, EXAMPLES)
        ));
    }
    errors
}

/// Checks a label's value, which may be empty.
pub fn label_value(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > LABEL_MAX {
        errors.push(max_length_error(LABEL_MAX));
    }
    if !(text.is_empty() || is_label_key_name(text)) {
        errors.push(pattern_error(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            &format!("({LABEL_KEY})?"),
            &["MyValue", "my_value", "12345"],
        ));
    }
    errors
}

/// Checks the name of a port: at most 15 of `[-a-z0-9]`, at least one letter.
pub fn port_name(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > 15 {
        errors.push(max_length_error(15));
    }
    if text.is_empty()
        || !text
            .bytes()
            .all(|byte| is_lower_alphanumeric(byte) || byte == b'-')
    {
        errors.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        errors.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        errors.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        errors.push("must not begin or end with a hyphen".to_owned());
    }
    errors
}

/// Checks the number of a port: 1 to 65535.
pub fn port_number(port: i64) -> Vec<String> {
    in_range(port, 1, 65535)
}

/// Checks that a number is between two others or equal to one.
pub fn in_range(number: i64, low: i64, high: i64) -> Vec<String> {
    if (low..=high).contains(&number) {
        Vec::new()
    } else {
        vec![range_error(low, high)]
    }
}

/// Checks the name of an environment variable: printable ASCII other than `=`.
pub fn env_var_name(text: &str) -> Vec<String> {
    if text.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    if text
        .bytes()
        .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
    {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// Checks a key of a ConfigMap or Secret, which can become a file's name.
pub fn config_map_key(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if text.len() > DNS_SUBDOMAIN_MAX {
        errors.push(max_length_error(DNS_SUBDOMAIN_MAX));
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if text.is_empty() || !text.bytes().all(allowed) {
        errors.push(pattern_error(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match text {
        "." => errors.push("must not be '.'".to_owned()),
        ".." => errors.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => errors.push("must not start with '..'".to_owned()),
        _ => {}
    }
    errors
}

/// Checks a percentage such as `25%`.
pub fn percent(text: &str) -> Vec<String> {
    let digits = text.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Vec::new();
    }
    vec![pattern_error(
        "a valid percent string must be a numeric string followed by an ending '%'",
        "[0-9]+%",
        &["1%", "93%"],
    )]
}

/// Checks the name of an HTTP header.
pub fn http_header_name(text: &str) -> Vec<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if !text.is_empty() && text.bytes().all(allowed) {
        return Vec::new();
    }
    vec![pattern_error(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

/// Checks that a name can be a segment of a URL's path.
pub fn path_segment(text: &str) -> Vec<String> {
    if matches!(text, "." | "..") {
        return vec![format!("may not be '{text}'")];
    }
    let mut errors = Vec::new();
    for separator in ['/', '%'] {
        if text.contains(separator) {
            errors.push(format!("may not contain '{separator}'"));
        }
    }
    errors
}

/// Checks an IP address, version 4 or 6.
pub fn ip_address(text: &str) -> Vec<String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Vec::new();
    }
    vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
}

/// A `generateName` as it would look with letters after it, to be checked as a name: a dash at its
/// end is allowed.
pub fn with_trailing_dash_masked(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => format!("{rest}a"),
        _ => prefix.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn good_names_pass() {
        let none: Vec<String> = Vec::new();
        for name in ["a", "0", "my-name", "123-abc", "a--b", &"a".repeat(63)] {
            assert_eq!(dns1123_label(name), none, "{name}");
        }
        for name in ["a", "example.com", "1.2.3", &vec!["a"; 127].join(".")] {
            assert_eq!(dns1123_subdomain(name), none, "{name}");
        }
        for key in ["a", "A_b.c-d", "example.com/MyName", "kubernetes.io/x"] {
            assert_eq!(label_key(key), none, "{key}");
        }
        for value in ["", "a", "A_b.c-d", "12345"] {
            assert_eq!(label_value(value), none, "{value}");
        }
        assert_eq!(dns1035_label("abc-123"), none);
        assert_eq!(port_name("http-8080"), none);
        assert_eq!(env_var_name("my var."), none);
        assert_eq!(config_map_key("KEY_name.1-x"), none);
        assert_eq!(percent("25%"), none);
        assert_eq!(http_header_name("X-A"), none);
        assert_eq!(wildcard_dns1123_subdomain("*.example.com"), none);
        assert_eq!(ip_address("::1"), none);
    }

    #[test]
    fn bad_names_are_told_in_kubernetes_words() {
        let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
        for name in ["", "-a", "a-", "A", "a_b", "ä", "a b", "a..b"] {
            assert_eq!(dns1123_label(name), [label], "{name}");
        }
        assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(
            dns1123_label(&"a".repeat(64)),
            ["must be no more than 63 characters"]
        );
        assert_eq!(
            dns1123_subdomain("A"),
            [
                "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ]
        );
        assert_eq!(
            dns1123_subdomain(&"a".repeat(254)),
            ["must be no more than 253 characters"]
        );
        assert_eq!(dns1035_label("1a").len(), 1);
        assert_eq!(dns1035_label("").len(), 1);
        assert_eq!(
            label_key("a b"),
            [
                "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
            ]
        );
        assert_eq!(label_key("/a"), ["prefix part must be non-empty"]);
        assert_eq!(label_key("")[0], "name part must be non-empty");
        assert!(label_key("A/a")[0].starts_with("prefix part a lowercase RFC 1123 subdomain"));
        assert!(label_key("a/b/c")[0].ends_with("(e.g. 'example.com/MyName')"));
        assert_eq!(label_value("-").len(), 1);
        assert_eq!(port_name("").len(), 2);
        assert_eq!(port_name("a--b"), ["must not contain consecutive hyphens"]);
        assert_eq!(port_name("1"), ["must contain at least one letter (a-z)"]);
        assert_eq!(port_number(0), ["must be between 1 and 65535, inclusive"]);
        assert_eq!(env_var_name("a=b").len(), 1);
        assert_eq!(
            env_var_name(""),
            ["environment variable name must be non-empty"]
        );
        assert_eq!(config_map_key(".."), ["must not be '..'"]);
        assert_eq!(config_map_key("..a"), ["must not start with '..'"]);
        assert_eq!(config_map_key("a/b").len(), 1);
        assert_eq!(percent("%").len(), 1);
        assert_eq!(percent("1.5%").len(), 1);
        assert_eq!(path_segment(".."), ["may not be '..'"]);
        assert_eq!(
            path_segment("a/%"),
            ["may not contain '/'", "may not contain '%'"]
        );
        assert_eq!(ip_address("1.2.3").len(), 1);
        assert_eq!(wildcard_dns1123_subdomain("*.*.a").len(), 1);
    }

    #[test]
    fn a_generate_name_may_end_with_a_dash() {
        assert_eq!(
            dns1123_label(&with_trailing_dash_masked("web-")),
            Vec::<String>::new()
        );
        assert_eq!(with_trailing_dash_masked("-"), "-");
        assert_eq!(with_trailing_dash_masked("web"), "web");
    }

    proptest! {
        #[test]
        fn no_text_makes_a_check_panic(text in ".*") {
            for check in [dns1123_label, dns1123_subdomain, dns1035_label, label_key, label_value,
                          port_name, env_var_name, config_map_key, percent, http_header_name,
                          path_segment, ip_address, wildcard_dns1123_subdomain] {
                check(&text);
            }
        }

        #[test]
        fn every_label_is_a_subdomain(text in "[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?") {
            prop_assert!(dns1123_label(&text).is_empty());
            prop_assert!(dns1123_subdomain(&text).is_empty());
            prop_assert!(label_value(&text).is_empty());
        }
    }
}
