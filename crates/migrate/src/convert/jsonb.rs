//! What PostgreSQL makes of a JSON text that it keeps as `jsonb`, for comparing.
//!
//! `jsonb` keeps the meaning and not the text: members of an object are ordered by the length of their
//! names, then by their bytes; of those with one name the last counts; numbers are `numeric`.

use std::collections::BTreeMap;

use super::decimal;

/// The text by which PostgreSQL shows a JSON text that it stored as `jsonb`; none for what it refuses.
/// However deep the text is nested, it is gone through without recursion.
pub(super) fn stored_text(json: &str) -> Option<String> {
    let mut parser = Parser { rest: json };
    let mut open: Vec<Open> = Vec::new();
    loop {
        parser.skip_space();
        let mut value = match parser.rest.chars().next()? {
            '[' => {
                parser.take('[')?;
                parser.skip_space();
                if parser.take(']').is_none() {
                    open.push(Open::Array(Vec::new()));
                    continue;
                }
                "[]".to_owned()
            }
            '{' => {
                parser.take('{')?;
                parser.skip_space();
                if parser.take('}').is_none() {
                    let name = parser.name()?;
                    open.push(Open::Object(BTreeMap::new(), name));
                    continue;
                }
                "{}".to_owned()
            }
            '"' => written_text(&parser.text()?),
            _ => parser.plain()?,
        };
        // The value may be the last of what it stands in, and that of what it stands in itself.
        loop {
            parser.skip_space();
            match open.last_mut() {
                None => return parser.rest.is_empty().then_some(value),
                Some(Open::Array(values)) => {
                    values.push(value);
                    if parser.take(',').is_some() {
                        break;
                    }
                    parser.take(']')?;
                }
                Some(Open::Object(members, name)) => {
                    members.insert((name.len(), std::mem::take(name)), value);
                    if parser.take(',').is_some() {
                        parser.skip_space();
                        *name = parser.name()?;
                        break;
                    }
                    parser.take('}')?;
                }
            }
            value = open.pop()?.written();
        }
    }
}

/// An array or object that is not at its end; its values are written already.
enum Open {
    Array(Vec<String>),
    /// Members by the length of their names, then the names; and the name of the next.
    Object(BTreeMap<(usize, String), String>, String),
}

impl Open {
    fn written(self) -> String {
        match self {
            Self::Array(values) => format!("[{}]", values.join(", ")),
            Self::Object(members, _) => {
                let members: Vec<String> = members
                    .iter()
                    .map(|((_, name), value)| format!("{}: {value}", written_text(name)))
                    .collect();
                format!("{{{}}}", members.join(", "))
            }
        }
    }
}

fn written_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\n' | '\r')
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    /// `true`, `false`, `null`, or a number as `numeric` writes it.
    fn plain(&mut self) -> Option<String> {
        let ends = |letter| is_space(letter) || matches!(letter, ',' | ']' | '}');
        let end = self.rest.find(ends).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "true" | "false" | "null" => Some(word.to_owned()),
            number => decimal::written(number),
        }
    }

    /// The name of a member, with the colon.
    fn name(&mut self) -> Option<String> {
        let name = self.text()?;
        self.skip_space();
        self.take(':')?;
        Some(name)
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches(is_space);
    }

    fn take(&mut self, letter: char) -> Option<()> {
        self.rest = self.rest.strip_prefix(letter)?;
        Some(())
    }

    fn text(&mut self) -> Option<String> {
        self.take('"')?;
        let mut out = String::new();
        loop {
            let special = self.rest.find(['"', '\\'])?;
            let (plain, rest) = self.rest.split_at(special);
            out.push_str(plain);
            self.rest = &rest[1..];
            if rest.starts_with('"') {
                return Some(out);
            }
            let mut letters = self.rest.chars();
            let letter = letters.next()?;
            self.rest = letters.as_str();
            out.push(match letter {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => self.escaped()?,
                letter => letter,
            });
        }
    }

    /// The character behind `\u`, which may be two halves of a surrogate pair.
    fn escaped(&mut self) -> Option<char> {
        let first = self.unit()?;
        if !(0xd800..0xdc00).contains(&first) {
            // PostgreSQL's text holds no NUL.
            return char::from_u32(first).filter(|letter| *letter != '\0');
        }
        self.rest = self.rest.strip_prefix("\\u")?;
        let second = self.unit()?;
        (0xdc00..0xe000).contains(&second).then_some(())?;
        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    }

    fn unit(&mut self) -> Option<u32> {
        let digits = self.rest.get(..4)?;
        self.rest = &self.rest[4..];
        u32::from_str_radix(digits, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::stored_text;

    #[test]
    fn a_json_text_is_written_as_jsonb_writes_it() {
        for (json, stored) in [
            (
                r#" {"b" : 1,"a":[1, 2 ,[] ,{}], "long": null} "#,
                r#"{"a": [1, 2, [], {}], "b": 1, "long": null}"#,
            ),
            (r#"{"x": 1, "x": 2}"#, r#"{"x": 2}"#),
            (
                r#"[1e5, 1.50, 1.5E-3, -0, -0.0, 1.00e1, 0e3]"#,
                "[100000, 1.50, 0.0015, 0, 0.0, 10.0, 0]",
            ),
            (
                r#""\u00e9\ud83d\ude00\/\u0007\t\u007f""#,
                "\"é😀/\\u0007\\t\u{7f}\"",
            ),
            ("true", "true"),
        ] {
            assert_eq!(stored_text(json).as_deref(), Some(stored), "{json}");
        }
        for refused in [r#""\u0000""#, r#""\ud800x""#, r#""\udc00""#] {
            assert_eq!(stored_text(refused), None, "{refused}");
        }
    }

    #[test]
    fn what_lies_deep_is_followed() {
        let json = format!("{}1{}", "[".repeat(3_000), "]".repeat(3_000));
        assert_eq!(stored_text(&json), Some(json));
    }
}
