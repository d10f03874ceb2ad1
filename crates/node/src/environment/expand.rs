//! `$(VAR)` in commands, arguments and values.

/// Replaces each `$(NAME)` that `lookup` knows. `$$` is a literal `$`, so `$$(NAME)` stays
/// `$(NAME)`; a name that is not known, and a reference that does not end, stay as written.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
            continue;
        }
        let reference = after
            .strip_prefix('(')
            .and_then(|inside| inside.split_once(')'));
        match reference {
            Some((name, tail)) => {
                match lookup(name) {
                    Some(value) => out.push_str(&value),
                    None => {
                        out.push_str("$(");
                        out.push_str(name);
                        out.push(')');
                    }
                }
                rest = tail;
            }
            None => {
                out.push('$');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn references_are_replaced_and_everything_else_is_kept() {
        let lookup = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "EMPTY" => Some(String::new()),
            "REF" => Some("$(A)".to_owned()),
            _ => None,
        };
        let table = [
            ("$(A)", "a"),
            ("x-$(A)-y$(A)", "x-a-ya"),
            ("$(EMPTY)", ""),
            ("$(UNKNOWN)", "$(UNKNOWN)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$a"),
            ("$$$$(A)", "$$(A)"),
            ("$(REF)", "$(A)"),
            ("$A", "$A"),
            ("$(A", "$(A"),
            ("$", "$"),
            ("$(", "$("),
            ("100%", "100%"),
            ("$(A)$", "a$"),
            ("$é(A)", "$é(A)"),
        ];
        for (text, expected) in table {
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }
}
