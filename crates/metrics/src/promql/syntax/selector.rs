//! Selectors and lists of labels.

use crate::series_store::{METRIC_NAME, Matcher};

use super::lexer::Token;
use super::parser::{Fault, Parser, describe, text_of};
use super::tree::{Expr, ExprKind, Selector};

impl Parser<'_> {
    /// `(a, b)`: names of labels, which may be keywords or quoted.
    pub(super) fn label_list(&mut self) -> Result<Vec<String>, Fault> {
        self.expect(Token::LeftParen, "grouping opts", "\"(\"")?;
        let mut labels: Vec<String> = Vec::new();
        while !self.take(Token::RightParen) {
            let start = self.start();
            let label = match self.advance() {
                Token::Word(word) if !word.contains(':') => word.to_owned(),
                Token::Quoted(quoted) => text_of(quoted, start)?,
                other => {
                    let reason = format!(
                        "unexpected {} in grouping opts, expected label",
                        describe(other)
                    );
                    return Err(Fault::new(start, reason));
                }
            };
            if !labels.contains(&label) {
                labels.push(label);
            }
            if self.peek() != Token::RightParen {
                self.expect(Token::Comma, "grouping opts", "\",\" or \")\"")?;
            }
        }
        Ok(labels)
    }

    pub(super) fn selector(&mut self, start: usize, name: Option<&str>) -> Result<Expr, Fault> {
        let mut matchers: Vec<Matcher> = Vec::new();
        let mut name_is_set = name.is_some();
        if let Some(name) = name {
            matchers.push(Matcher::equal(METRIC_NAME, name));
        }
        if self.take(Token::LeftBrace) {
            while !self.take(Token::RightBrace) {
                let (matcher, bare_name) = self.matcher()?;
                if matcher.name == METRIC_NAME && (bare_name || name.is_some()) {
                    if name_is_set {
                        return Err(Fault::new(start, "metric name must not be set twice"));
                    }
                    name_is_set = true;
                }
                matchers.push(matcher);
                if self.peek() != Token::RightBrace {
                    self.expect(Token::Comma, "label matching", "\",\" or \"}\"")?;
                }
            }
        }
        if matchers.iter().all(|matcher| matcher.accepts("")) {
            let reason = "vector selector must contain at least one non-empty matcher";
            return Err(Fault::new(start, reason));
        }
        let selector = Selector {
            matchers,
            offset: None,
            pin: None,
        };
        Ok(Expr::new(start, ExprKind::Selector(selector)))
    }

    /// One condition between braces, and whether it is a quoted metric name alone.
    fn matcher(&mut self) -> Result<(Matcher, bool), Fault> {
        let start = self.start();
        let (name, quoted) = match self.advance() {
            Token::Word(word) if !word.contains(':') => (word.to_owned(), false),
            Token::Quoted(quoted) => (text_of(quoted, start)?, true),
            other => {
                let reason = format!(
                    "unexpected {} in label matching, expected identifier or \"}}\"",
                    describe(other)
                );
                return Err(Fault::new(start, reason));
            }
        };
        if quoted && matches!(self.peek(), Token::Comma | Token::RightBrace) {
            return Ok((Matcher::equal(METRIC_NAME, &name), true));
        }
        let operator = self.advance();
        let value_start = self.start();
        if !matches!(
            operator,
            Token::Assign | Token::NotEqual | Token::Matches | Token::MatchesNot
        ) {
            let reason = format!(
                "unexpected {} in label matching, expected label matching operator",
                describe(operator)
            );
            return Err(Fault::new(start, reason));
        }
        let Token::Quoted(quoted) = self.peek() else {
            let found = describe(self.peek());
            let reason = format!("unexpected {found} in label matching, expected string");
            return Err(Fault::new(value_start, reason));
        };
        self.advance();
        let value = text_of(quoted, value_start)?;
        let matcher = match operator {
            Token::Assign => Ok(Matcher::equal(&name, &value)),
            Token::NotEqual => Ok(Matcher::not_equal(&name, &value)),
            Token::Matches => Matcher::matching(&name, &value),
            _ => Matcher::not_matching(&name, &value),
        };
        let matcher = matcher.map_err(|error| Fault::new(value_start, error.to_string()))?;
        Ok((matcher, false))
    }
}
