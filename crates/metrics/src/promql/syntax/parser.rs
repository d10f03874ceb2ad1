//! Builds the tree from tokens: precedence climbing over the binary operators, suffixes on operands.

use crate::promql::error::{Position, QueryError};
use crate::series_store::{Labels, MatchKind};

use super::check::check;
use super::functions::signature;
use super::lexer::{Token, tokens, unquote};
use super::tree::{
    Aggregate, Aggregation, Binary, Call, Cardinality, Expr, ExprKind, Grouping, Matching, Operator,
};
use super::window::{set_offset, set_pin};

/// How deep parts may nest by parentheses, calls and signs: reading them recurses, and must fit a small stack.
const MAX_NESTING: usize = 100;

/// How deep the tree may be, which chains of operators deepen too: what walks it recurses.
const MAX_DEPTH: usize = 256;

/// What is wrong with a text, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    start: usize,
    kind: FaultKind,
}

#[derive(Debug)]
enum FaultKind {
    Syntax(String),
    Unsupported(String),
    Experimental(String),
}

impl Fault {
    pub(crate) fn new(start: usize, reason: impl Into<String>) -> Fault {
        let kind = FaultKind::Syntax(reason.into());
        Fault { start, kind }
    }

    pub(crate) fn unsupported(start: usize, what: impl Into<String>) -> Fault {
        let kind = FaultKind::Unsupported(what.into());
        Fault { start, kind }
    }

    pub(crate) fn experimental(start: usize, what: impl Into<String>) -> Fault {
        let kind = FaultKind::Experimental(what.into());
        Fault { start, kind }
    }

    fn into_error(self, text: &str) -> QueryError {
        match self.kind {
            FaultKind::Syntax(reason) => QueryError::Parse {
                at: Position::of(text, self.start),
                reason,
            },
            FaultKind::Unsupported(what) => QueryError::Unsupported(what),
            FaultKind::Experimental(what) => QueryError::Experimental(what),
        }
    }
}

/// Reads and checks a query.
pub(crate) fn parse(text: &str, experimental: bool) -> Result<Expr, QueryError> {
    let read = || {
        let tokens = tokens(text)?;
        let mut parser = Parser {
            tokens: &tokens,
            next: 0,
            depth: 0,
            experimental,
        };
        if parser.peek() == Token::End {
            return Err(Fault::new(0, "no expression found in input"));
        }
        let expr = parser.expression(0)?;
        if parser.peek() != Token::End {
            return Err(parser.unexpected("expression"));
        }
        check(&expr, experimental)?;
        Ok(expr)
    };
    read().map_err(|fault: Fault| fault.into_error(text))
}

/// Reads labels as they name a series: `name{a="b"}`, only with `=`.
pub(crate) fn parse_labels(text: &str) -> Option<Labels> {
    if text.trim() == "{}" {
        return Some(Labels::empty());
    }
    let expr = parse(text, false).ok()?;
    let ExprKind::Selector(selector) = expr.kind else {
        return None;
    };
    let pairs = selector.matchers.iter().map(|matcher| match matcher.kind {
        MatchKind::Equal => Some((matcher.name.as_str(), matcher.value.as_str())),
        _ => None,
    });
    let pairs: Vec<(&str, &str)> = pairs.collect::<Option<_>>()?;
    Some(Labels::new(pairs))
}

/// Reads tokens from left to right.
pub(super) struct Parser<'a> {
    tokens: &'a [(usize, Token<'a>)],
    next: usize,
    /// How deep the parser itself recurses.
    pub(super) depth: usize,
    /// Whether experimental parts of the language are read.
    pub(super) experimental: bool,
}

/// How tightly `^` binds; a sign binds looser than it and tighter than `*`.
const POWER: u8 = 6;

impl<'a> Parser<'a> {
    pub(super) fn peek(&self) -> Token<'a> {
        self.tokens[self.next].1
    }

    pub(super) fn after_next(&self) -> Token<'a> {
        self.tokens
            .get(self.next + 1)
            .map_or(Token::End, |(_, token)| *token)
    }

    pub(super) fn start(&self) -> usize {
        self.tokens[self.next].0
    }

    pub(super) fn advance(&mut self) -> Token<'a> {
        let token = self.peek();
        if token != Token::End {
            self.next += 1;
        }
        token
    }

    pub(super) fn take(&mut self, token: Token<'_>) -> bool {
        let found = self.peek() == token;
        if found {
            self.next += 1;
        }
        found
    }

    /// Takes a sign, if there is one; whether it was a minus.
    pub(super) fn take_sign(&mut self) -> bool {
        let negative = self.take(Token::Minus);
        if !negative {
            self.take(Token::Plus);
        }
        negative
    }

    pub(super) fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(found) if found.eq_ignore_ascii_case(word));
        if found {
            self.next += 1;
        }
        found
    }

    pub(super) fn expect(
        &mut self,
        token: Token<'_>,
        context: &str,
        expected: &str,
    ) -> Result<(), Fault> {
        if self.take(token) {
            return Ok(());
        }
        let found = describe(self.peek());
        Err(Fault::new(
            self.start(),
            format!("unexpected {found} in {context}, expected {expected}"),
        ))
    }

    pub(super) fn unexpected(&self, context: &str) -> Fault {
        Fault::new(
            self.start(),
            format!("unexpected {} in {context}", describe(self.peek())),
        )
    }

    /// Notes one more level of recursion, which ends by taking one off `depth`.
    pub(super) fn descend(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err(too_deep(self.start(), MAX_NESTING));
        }
        Ok(())
    }

    /// An expression whose operators all bind tighter than a bound.
    pub(super) fn expression(&mut self, bound: u8) -> Result<Expr, Fault> {
        self.descend()?;
        let mut left = self.signed()?;
        while let Some((operator, binding)) = self.peek_operator() {
            if binding <= bound {
                break;
            }
            self.advance();
            let (returns_bool, matching) = self.binary_modifiers()?;
            // Only `^` groups from the right.
            let right_bound = if operator == Operator::Power {
                binding - 1
            } else {
                binding
            };
            let right = self.expression(right_bound)?;
            let binary = Binary {
                operator,
                left,
                right,
                returns_bool,
                matching,
            };
            left = bounded(Expr::new(
                binary.left.start,
                ExprKind::Binary(Box::new(binary)),
            ))?;
        }
        if let Token::Trim(operator) = self.peek() {
            let what = format!("the operator {operator}");
            return Err(Fault::unsupported(self.start(), what));
        }
        self.depth -= 1;
        Ok(left)
    }

    pub(super) fn peek_operator(&self) -> Option<(Operator, u8)> {
        let word = |word: &str| {
            let operators = [
                ("or", Operator::Or, 1),
                ("and", Operator::And, 2),
                ("unless", Operator::Unless, 2),
                ("atan2", Operator::Atan2, 5),
            ];
            let found = operators
                .into_iter()
                .find(|(name, ..)| name.eq_ignore_ascii_case(word));
            found.map(|(_, operator, binding)| (operator, binding))
        };
        Some(match self.peek() {
            Token::Word(name) => return word(name),
            Token::Equal => (Operator::Equal, 3),
            Token::NotEqual => (Operator::NotEqual, 3),
            Token::Less => (Operator::Less, 3),
            Token::LessOrEqual => (Operator::LessOrEqual, 3),
            Token::Greater => (Operator::Greater, 3),
            Token::GreaterOrEqual => (Operator::GreaterOrEqual, 3),
            Token::Plus => (Operator::Add, 4),
            Token::Minus => (Operator::Subtract, 4),
            Token::Times => (Operator::Multiply, 5),
            Token::Slash => (Operator::Divide, 5),
            Token::Percent => (Operator::Modulo, 5),
            Token::Caret => (Operator::Power, POWER),
            _ => return None,
        })
    }

    fn binary_modifiers(&mut self) -> Result<(bool, Matching), Fault> {
        let mut matching = Matching::default();
        let returns_bool = self.take_word("bool");
        let on = matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case("on"));
        if on || matches!(self.peek(), Token::Word(word) if word.eq_ignore_ascii_case("ignoring")) {
            self.advance();
            matching.on = on;
            matching.labels = self.label_list()?;
            let group_left = self.take_word("group_left");
            if group_left || self.take_word("group_right") {
                matching.cardinality = if group_left {
                    Cardinality::ManyToOne
                } else {
                    Cardinality::OneToMany
                };
                if self.peek() == Token::LeftParen {
                    matching.include = self.label_list()?;
                }
            }
        }
        self.fill_modifiers(&mut matching)?;
        Ok((returns_bool, matching))
    }

    fn fill_modifiers(&mut self, matching: &mut Matching) -> Result<(), Fault> {
        while let Token::Word(word) = self.peek() {
            let word = word.to_ascii_lowercase();
            if !matches!(word.as_str(), "fill" | "fill_left" | "fill_right")
                || self.after_next() != Token::LeftParen
            {
                break;
            }
            self.advance();
            self.advance();
            let negative = self.take_sign();
            let number = match self.advance() {
                Token::Number(number) => number,
                Token::Word(word) => {
                    special_number(word).ok_or_else(|| self.unexpected("fill modifier"))?
                }
                _ => return Err(self.unexpected("fill modifier")),
            };
            self.expect(Token::RightParen, "fill modifier", "\")\"")?;
            let value = Some(if negative { -number } else { number });
            if word != "fill_right" {
                matching.fill_left = value;
            }
            if word != "fill_left" {
                matching.fill_right = value;
            }
        }
        Ok(())
    }

    /// An operand with the signs before it.
    fn signed(&mut self) -> Result<Expr, Fault> {
        let start = self.start();
        let negative = match self.peek() {
            Token::Minus => true,
            Token::Plus => false,
            _ => return self.operand(),
        };
        self.advance();
        let expr = self.expression(POWER - 1)?;
        let kind = match expr.kind {
            ExprKind::Number(number) => ExprKind::Number(if negative { -number } else { number }),
            _ => ExprKind::Sign {
                negative,
                expr: Box::new(expr),
            },
        };
        bounded(Expr::new(start, kind))
    }

    /// An operand with its window, offset and time.
    fn operand(&mut self) -> Result<Expr, Fault> {
        let mut expr = self.primary()?;
        loop {
            let start = self.start();
            if self.take(Token::LeftBracket) {
                expr = self.window(expr)?;
            } else if self.take_word("offset") {
                let length = self.offset_length()?;
                set_offset(&mut expr, start, length)?;
            } else if self.take(Token::At) {
                let pin = self.pin()?;
                set_pin(&mut expr, start, pin)?;
            } else if let Token::Word(word @ ("anchored" | "smoothed")) = self.peek() {
                return Err(Fault::unsupported(start, format!("the modifier {word}")));
            } else {
                return bounded(expr);
            }
        }
    }

    fn primary(&mut self) -> Result<Expr, Fault> {
        let start = self.start();
        match self.peek() {
            Token::Number(number) => {
                self.advance();
                Ok(Expr::new(start, ExprKind::Number(number)))
            }
            Token::Duration(milliseconds) => {
                self.advance();
                Ok(Expr::new(
                    start,
                    ExprKind::Number(milliseconds as f64 / 1000.0),
                ))
            }
            Token::Quoted(quoted) => {
                self.advance();
                let text = unquote(quoted)
                    .ok_or_else(|| Fault::new(start, "invalid escape in string literal"))?;
                Ok(Expr::new(start, ExprKind::Text(text)))
            }
            Token::LeftParen => {
                self.advance();
                let inner = self.expression(0)?;
                self.expect(Token::RightParen, "parenthesized expression", "\")\"")?;
                bounded(Expr::new(start, ExprKind::Paren(Box::new(inner))))
            }
            Token::LeftBrace => self.selector(start, None),
            Token::Word(word) => self.named(start, word),
            _ => Err(self.unexpected("expression")),
        }
    }

    /// An aggregation, a call or a selector: what begins with a word.
    fn named(&mut self, start: usize, word: &'a str) -> Result<Expr, Fault> {
        let grouped = matches!(self.after_next(), Token::Word(next)
            if next.eq_ignore_ascii_case("by") || next.eq_ignore_ascii_case("without"));
        let called = self.after_next() == Token::LeftParen;
        if let Some(operation) = Aggregation::named(word)
            && (called || grouped)
        {
            self.advance();
            return self.aggregate(start, word, operation);
        }
        if called {
            self.advance();
            return self.call(start, word);
        }
        if let Some(number) = special_number(word) {
            self.advance();
            return Ok(Expr::new(start, ExprKind::Number(number)));
        }
        let reserved = [
            "on",
            "ignoring",
            "group_left",
            "group_right",
            "bool",
            "atan2",
        ];
        if reserved
            .iter()
            .any(|reserved| reserved.eq_ignore_ascii_case(word))
        {
            return Err(Fault::new(
                start,
                format!("unexpected <{}>", word.to_ascii_lowercase()),
            ));
        }
        self.advance();
        self.selector(start, Some(word))
    }

    fn aggregate(
        &mut self,
        start: usize,
        name: &str,
        operation: Aggregation,
    ) -> Result<Expr, Fault> {
        let mut grouping = self.grouping()?;
        let mut arguments = self.arguments("aggregation")?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let wanted = if operation.parameter().is_some() {
            2
        } else {
            1
        };
        if arguments.is_empty() {
            let reason = format!("no arguments for aggregate expression {name:?} provided");
            return Err(Fault::new(start, reason));
        }
        if arguments.len() != wanted {
            let got = arguments.len();
            let reason = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {got}"
            );
            return Err(Fault::new(start, reason));
        }
        let Some(expr) = arguments.pop() else {
            return Err(self.unexpected("aggregation"));
        };
        let aggregate = Aggregate {
            operation,
            grouping: grouping.unwrap_or_default(),
            parameter: arguments.pop(),
            expr,
        };
        bounded(Expr::new(start, ExprKind::Aggregate(Box::new(aggregate))))
    }

    fn grouping(&mut self) -> Result<Option<Grouping>, Fault> {
        let without = self.take_word("without");
        if !without && !self.take_word("by") {
            return Ok(None);
        }
        let labels = self.label_list()?;
        Ok(Some(Grouping { without, labels }))
    }

    fn call(&mut self, start: usize, name: &str) -> Result<Expr, Fault> {
        let Some(signature) = signature(name) else {
            return Err(Fault::new(
                start,
                format!("unknown function with name {name:?}"),
            ));
        };
        let arguments = self.arguments("function call")?;
        let call = Call {
            signature,
            arguments,
        };
        bounded(Expr::new(start, ExprKind::Call(Box::new(call))))
    }

    fn arguments(&mut self, context: &str) -> Result<Vec<Expr>, Fault> {
        self.expect(Token::LeftParen, context, "\"(\"")?;
        let mut arguments = Vec::new();
        if self.take(Token::RightParen) {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression(0)?);
            if self.take(Token::RightParen) {
                return Ok(arguments);
            }
            let comma = self.start();
            self.expect(Token::Comma, context, "\",\" or \")\"")?;
            if self.peek() == Token::RightParen {
                return Err(Fault::new(
                    comma,
                    "trailing commas not allowed in function call args",
                ));
            }
        }
    }
}

pub(super) fn bounded(expr: Expr) -> Result<Expr, Fault> {
    if expr.depth > MAX_DEPTH {
        return Err(too_deep(expr.start, MAX_DEPTH));
    }
    Ok(expr)
}

/// The numbers that are written as words, in any case.
pub(super) fn special_number(word: &str) -> Option<f64> {
    if word.eq_ignore_ascii_case("inf") {
        Some(f64::INFINITY)
    } else if word.eq_ignore_ascii_case("nan") {
        Some(f64::NAN)
    } else {
        None
    }
}

fn too_deep(start: usize, limit: usize) -> Fault {
    Fault::new(start, format!("query nests deeper than {limit} levels"))
}

pub(super) fn text_of(quoted: &str, start: usize) -> Result<String, Fault> {
    let bytes =
        unquote(quoted).ok_or_else(|| Fault::new(start, "invalid escape in string literal"))?;
    String::from_utf8(bytes).map_err(|_| Fault::new(start, "text is not UTF-8"))
}

pub(super) fn describe(token: Token<'_>) -> String {
    let symbol = match token {
        Token::Word(word) => return format!("identifier {word:?}"),
        Token::Number(number) => return format!("number \"{number}\""),
        Token::Duration(milliseconds) => return format!("duration \"{milliseconds}ms\""),
        Token::Quoted(quoted) => return format!("string {quoted}"),
        Token::End => return "end of input".to_owned(),
        Token::LeftParen => "(",
        Token::RightParen => ")",
        Token::LeftBrace => "{",
        Token::RightBrace => "}",
        Token::LeftBracket => "[",
        Token::RightBracket => "]",
        Token::Comma => ",",
        Token::Colon => ":",
        Token::At => "@",
        Token::Plus => "+",
        Token::Minus => "-",
        Token::Times => "*",
        Token::Slash => "/",
        Token::Trim(operator) => operator,
        Token::Percent => "%",
        Token::Caret => "^",
        Token::Assign => "=",
        Token::Equal => "==",
        Token::NotEqual => "!=",
        Token::Less => "<",
        Token::LessOrEqual => "<=",
        Token::Greater => ">",
        Token::GreaterOrEqual => ">=",
        Token::Matches => "=~",
        Token::MatchesNot => "!~",
    };
    format!("{symbol:?}")
}
