//! Reads the text of scripts, as far as that goes without parsing it.

/// Names, keywords and numbers, wherever they stand.
pub(super) fn words(source: &str) -> impl Iterator<Item = &str> {
    words_at(source).map(|(_, word)| word)
}

/// Names, keywords and numbers, each with where it begins.
pub(super) fn words_at(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    source
        .split(|sign: char| !is_of_word(sign))
        .map(move |word| {
            let start = at;
            let end = start + word.len();
            // What is between two words is one character.
            at = end + source[end..].chars().next().map_or(0, char::len_utf8);
            (start, word)
        })
        .filter(|(_, word)| !word.is_empty())
}

/// True for a character of names.
pub(super) fn is_of_word(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_' || sign == '$'
}

/// True for a character that ends a line, and with it a comment.
pub(super) fn ends_line(sign: char) -> bool {
    matches!(sign, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

/// The source without comments and without what its texts say. `None` if a slash stands where it
/// belongs to neither: it may begin a regular expression, or divide, and so nobody knows where the
/// next text begins.
pub(super) fn without_texts(source: &str) -> Option<String> {
    let mut code = String::new();
    let mut signs = source.chars().peekable();
    // For each template that this is within the code of: braces that are open there.
    let mut templates: Vec<usize> = Vec::new();
    while let Some(sign) = signs.next() {
        let mut quote = Some(sign).filter(|sign| matches!(sign, '"' | '\'' | '`'));
        match sign {
            '/' if signs.peek() == Some(&'/') => {
                signs.by_ref().find(|sign| ends_line(*sign));
                code.push('\n');
            }
            '/' if signs.peek() == Some(&'*') => {
                signs.next();
                let mut before = ' ';
                signs.by_ref().find(|sign| {
                    let closes = before == '*' && *sign == '/';
                    before = *sign;
                    closes
                });
                code.push(' ');
            }
            '/' => return None,
            '{' => {
                if let Some(open) = templates.last_mut() {
                    *open += 1;
                }
                code.push('{');
            }
            '}' => match templates.last_mut() {
                Some(0) => {
                    templates.pop();
                    quote = Some('`');
                    code.push(')');
                }
                Some(open) => {
                    *open -= 1;
                    code.push('}');
                }
                None => code.push('}'),
            },
            sign => code.push(sign),
        }
        while let Some(end) = quote {
            match signs.next() {
                None => return Some(code),
                Some('\\') => {
                    signs.next();
                }
                Some('$') if end == '`' && signs.peek() == Some(&'{') => {
                    signs.next();
                    templates.push(0);
                    quote = None;
                    code.push('(');
                }
                Some(sign) if sign == end => {
                    quote = None;
                    code.push(end);
                }
                Some(_) => {}
            }
        }
    }
    Some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_found_where_it_stands() {
        let source = "let é=a.b;\n_c";
        let found: Vec<(usize, &str)> = words_at(source).collect();
        assert_eq!(
            found,
            [(0, "let"), (4, "é"), (7, "a"), (9, "b"), (12, "_c")]
        );
        assert!(
            found
                .iter()
                .all(|(at, word)| source[*at..].starts_with(word))
        );
    }

    #[test]
    fn texts_and_comments_are_left_out_and_code_in_templates_is_not() {
        for (source, code) in [
            ("f('a\\'b', \"c\") // d\ng()", Some("f('', \"\") \ng()")),
            ("a/* b */c", Some("a c")),
            ("a // b\u{2028}c // d\re", Some("a \nc \ne")),
            ("`x${ { y: `${z}` } }w` + v", Some("`( { y: `(z)` } )` + v")),
            ("'never closed", Some("'")),
            ("a / b", None),
            ("'a'.replace(/'/, '')", None),
        ] {
            assert_eq!(without_texts(source).as_deref(), code, "{source}");
        }
    }
}
