//! The grammar of label selectors in query strings: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.

use super::{LabelSelector, Operator, Requirement, SelectorError, key_error};
use crate::error::{FieldPath, aggregate};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token<'a> {
    /// A key, a value, or one of the words `in` and `notin`.
    Word(&'a str),
    /// One of `)`, `(`, `,`, `!`, `=`, `==`, `!=`, `>`, `<`.
    Symbol(&'a str),
    End,
}

impl<'a> Token<'a> {
    fn text(&self) -> &'a str {
        match self {
            Self::Word(text) | Self::Symbol(text) => text,
            Self::End => "",
        }
    }

    fn is(&self, symbol: &str) -> bool {
        *self == Token::Symbol(symbol)
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_symbol(byte: u8) -> bool {
    b"=!(),><".contains(&byte)
}

fn tokens(query: &str) -> Vec<Token<'_>> {
    let bytes = query.as_bytes();
    let mut found = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let mut end = start + 1;
        if is_space(bytes[start]) {
            start = end;
            continue;
        }
        if is_symbol(bytes[start]) {
            let two = query.get(start..start + 2);
            if matches!(two, Some("==" | "!=")) {
                end += 1;
            }
            found.push(Token::Symbol(&query[start..end]));
        } else {
            while end < bytes.len() && !is_space(bytes[end]) && !is_symbol(bytes[end]) {
                end += 1;
            }
            found.push(Token::Word(&query[start..end]));
        }
        start = end;
    }
    found
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    position: usize,
}

type Parsed<T> = Result<T, String>;

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens
            .get(self.position)
            .cloned()
            .unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.position += 1;
        token
    }

    fn selector(&mut self) -> Parsed<Vec<Requirement>> {
        let mut requirements = Vec::new();
        loop {
            let token = self.peek();
            match token {
                Token::End => return Ok(requirements),
                Token::Word(_) | Token::Symbol("!") => {}
                Token::Symbol(text) => {
                    return Err(format!(
                        "found '{text}', expected: !, identifier, or 'end of string'"
                    ));
                }
            }
            let requirement = self
                .requirement()
                .map_err(|error| format!("unable to parse requirement: {error}"))?;
            requirements.push(requirement);
            match self.next() {
                Token::End => return Ok(requirements),
                Token::Symbol(",") => {
                    let after = self.peek();
                    if !(matches!(after, Token::Word(_)) || after.is("!")) {
                        return Err(format!(
                            "found '{}', expected: identifier after ','",
                            after.text()
                        ));
                    }
                }
                other => {
                    return Err(format!(
                        "found '{}', expected: ',' or 'end of string'",
                        other.text()
                    ));
                }
            }
        }
    }

    fn requirement(&mut self) -> Parsed<Requirement> {
        let absent = self.peek().is("!");
        if absent {
            self.next();
        }
        let token = self.next();
        let Token::Word(key) = token else {
            return Err(format!("found '{}', expected: identifier", token.text()));
        };
        if let Some(error) = key_error(key, &FieldPath::default()) {
            return Err(error.to_string());
        }
        let after = self.peek();
        let ends = after == Token::End || after.is(",");
        let (operator, values) = if absent {
            (Operator::DoesNotExist, Vec::new())
        } else if ends {
            (Operator::Exists, Vec::new())
        } else {
            let operator = self.operator()?;
            let values = match operator {
                Operator::In | Operator::NotIn => self.values()?,
                _ => vec![self.value()?],
            };
            (operator, values.into_iter().map(str::to_owned).collect())
        };
        Requirement::new(key, operator, values).map_err(aggregate)
    }

    fn operator(&mut self) -> Parsed<Operator> {
        Ok(match self.next() {
            Token::Word("in") => Operator::In,
            Token::Word("notin") => Operator::NotIn,
            Token::Symbol("=") => Operator::Equals,
            Token::Symbol("==") => Operator::DoubleEquals,
            Token::Symbol("!=") => Operator::NotEquals,
            Token::Symbol(">") => Operator::GreaterThan,
            Token::Symbol("<") => Operator::LessThan,
            other => {
                return Err(format!(
                    "found '{}', expected: in, notin, =, ==, !=, gt, lt",
                    other.text()
                ));
            }
        })
    }

    /// The one value of an exact match; nothing before a comma or the end is the empty value.
    fn value(&mut self) -> Parsed<&'a str> {
        let token = self.peek();
        if token == Token::End || token.is(",") {
            return Ok("");
        }
        self.next();
        match token {
            Token::Word(value) => Ok(value),
            other => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }

    /// `(x,,y)`: values between commas, where nothing between two is the empty value.
    fn values(&mut self) -> Parsed<Vec<&'a str>> {
        let open = self.next();
        if !open.is("(") {
            return Err(format!("found '{}' expected: '('", open.text()));
        }
        let first = self.peek();
        if !matches!(first, Token::Word(_)) && !first.is(",") && !first.is(")") {
            return Err(format!(
                "found '{}', expected: ',', ')' or identifier",
                first.text()
            ));
        }
        let mut values = Vec::new();
        loop {
            let value = match self.peek() {
                Token::Word(word) => {
                    self.next();
                    word
                }
                Token::Symbol("," | ")") => "",
                other => {
                    return Err(format!(
                        "found '{}', expected: ',', or identifier",
                        other.text()
                    ));
                }
            };
            values.push(value);
            match self.next() {
                Token::Symbol(",") => {}
                Token::Symbol(")") => return Ok(values),
                other => return Err(format!("found '{}', expected: ',' or ')'", other.text())),
            }
        }
    }
}

impl LabelSelector {
    /// Parses a query string; an empty one selects everything.
    pub fn parse(query: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser {
            tokens: tokens(query),
            position: 0,
        };
        parser.selector().map(Self::all_of).map_err(SelectorError)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Labels<'a> = &'a [(&'a str, &'a str)];

    #[test]
    fn queries_select_by_all_their_requirements() {
        let table: &[(&str, Labels<'_>, bool)] = &[
            ("", &[], true),
            ("x=y", &[("x", "y")], true),
            ("x=y", &[("x", "z")], false),
            ("x==y", &[("x", "y")], true),
            (" x = y , z = w ", &[("x", "y"), ("z", "w")], true),
            ("x=y,z=w", &[("x", "y")], false),
            ("x!=y", &[], true),
            ("x!=y", &[("x", "y")], false),
            ("x=", &[("x", "")], true),
            ("x=", &[], false),
            ("x=,z=w", &[("x", ""), ("z", "w")], true),
            ("x", &[("x", "")], true),
            ("x", &[], false),
            ("!x", &[], true),
            ("! x", &[("x", "1")], false),
            ("x in (a,b)", &[("x", "b")], true),
            ("x in (a, b )", &[("x", "c")], false),
            ("x in ()", &[("x", "")], true),
            ("x in (,a)", &[("x", "")], true),
            ("x in (a,)", &[("x", "")], true),
            ("x in (a,,b)", &[("x", "")], true),
            ("x in (in,notin)", &[("x", "notin")], true),
            ("in in (in)", &[("in", "in")], true),
            ("x notin (a)", &[], true),
            ("x notin (a)", &[("x", "a")], false),
            ("x notin (a),y", &[("x", "b"), ("y", "")], true),
            ("x>1", &[("x", "2")], true),
            ("x>1", &[("x", "1")], false),
            ("x>1", &[("x", "a")], false),
            ("x<1", &[("x", "0")], true),
            ("x<1", &[], false),
            ("example.com/x=y", &[("example.com/x", "y")], true),
        ];
        for (query, labels, expected) in table {
            let selector = LabelSelector::parse(query).unwrap();
            assert_eq!(
                selector.matches(*labels),
                *expected,
                "{query} on {labels:?}"
            );
        }
    }

    #[test]
    fn queries_print_sorted_and_with_sorted_values() {
        for (query, printed) in [
            ("z=1, a in (c,b,b)", "a in (b,c),z=1"),
            ("!b,a", "a,!b"),
            ("a==b", "a==b"),
            ("a notin (b),c!=d,e>1,f<2", "a notin (b),c!=d,e>1,f<2"),
            ("a=", "a="),
        ] {
            assert_eq!(LabelSelector::parse(query).unwrap().to_string(), printed);
        }
    }

    #[test]
    fn bad_queries_are_told_in_kubernetes_words() {
        let operators = "expected: in, notin, =, ==, !=, gt, lt";
        for (query, error) in [
            (",", "found ',', expected: !, identifier, or 'end of string'".to_owned()),
            ("=a", "found '=', expected: !, identifier, or 'end of string'".to_owned()),
            ("a=b,", "found '', expected: identifier after ','".to_owned()),
            ("a,,b", "found ',', expected: identifier after ','".to_owned()),
            ("a=b c", "found 'c', expected: ',' or 'end of string'".to_owned()),
            ("a b", format!("unable to parse requirement: found 'b', {operators}")),
            ("a=(", "unable to parse requirement: found '(', expected: identifier".to_owned()),
            ("a in b", "unable to parse requirement: found 'b' expected: '('".to_owned()),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'".to_owned()),
            (
                "a in (b,",
                "unable to parse requirement: found '', expected: ',', or identifier".to_owned(),
            ),
            (
                "a in (=)",
                "unable to parse requirement: found '=', expected: ',', ')' or identifier"
                    .to_owned(),
            ),
            ("!", "unable to parse requirement: found '', expected: identifier".to_owned()),
            ("!a=b", "found '=', expected: ',' or 'end of string'".to_owned()),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer".to_owned(),
            ),
        ] {
            assert_eq!(LabelSelector::parse(query).unwrap_err().to_string(), error, "{query}");
        }
        let bad_key = LabelSelector::parse("-a=b").unwrap_err().to_string();
        assert!(
            bad_key.starts_with("unable to parse requirement: <nil>: Invalid value: \"-a\": name part must consist of"),
            "{bad_key}"
        );
        let bad_value = LabelSelector::parse("a=é").unwrap_err().to_string();
        assert!(
            bad_value.starts_with("unable to parse requirement: values[0][a]: Invalid value: \"é\": a valid label must be"),
            "{bad_value}"
        );
    }

    proptest! {
        #[test]
        fn no_query_panics(query in ".*") {
            let _ = LabelSelector::parse(&query);
        }

        #[test]
        fn what_is_printed_parses_to_the_same(query in "(!?[a-c](=[a-c]?|!=[a-c]|==[a-c]| in \\([a-c,]{0,4}\\)| notin \\([a-c,]{0,4}\\)|>[0-9]|<[0-9])?,?){0,4}") {
            if let Ok(selector) = LabelSelector::parse(&query) {
                prop_assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap(), selector);
            }
        }
    }
}
