//! Builds the tree from tokens: precedence climbing over the binary operators, suffixes on operands.

use crate::promql::error::{Position, QueryError};
use crate::series_store::{Labels, METRIC_NAME, MatchKind, Matcher};

use super::check::check;
use super::functions::signature;
use super::lexer::{Token, tokens, unquote};
use super::tree::{
    Aggregate, Aggregation, Binary, Call, Cardinality, Expr, ExprKind, Grouping, Matching,
    Operator, Pin, Selector, Subquery,
};

/// How deep parts may nest: what walks the tree recurses.
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

struct Parser<'a> {
    tokens: &'a [(usize, Token<'a>)],
    next: usize,
    /// How deep the parser itself recurses.
    depth: usize,
}

/// How tightly `^` binds; a sign binds looser than it and tighter than `*`.
const POWER: u8 = 6;

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens[self.next].1
    }

    fn after_next(&self) -> Token<'a> {
        self.tokens
            .get(self.next + 1)
            .map_or(Token::End, |(_, token)| *token)
    }

    fn start(&self) -> usize {
        self.tokens[self.next].0
    }

    fn advance(&mut self) -> Token<'a> {
        let token = self.peek();
        if token != Token::End {
            self.next += 1;
        }
        token
    }

    fn take(&mut self, token: Token<'_>) -> bool {
        let found = self.peek() == token;
        if found {
            self.next += 1;
        }
        found
    }

    /// Takes a sign, if there is one; whether it was a minus.
    fn take_sign(&mut self) -> bool {
        let negative = self.take(Token::Minus);
        if !negative {
            self.take(Token::Plus);
        }
        negative
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(found) if found.eq_ignore_ascii_case(word));
        if found {
            self.next += 1;
        }
        found
    }

    fn expect(&mut self, token: Token<'_>, context: &str, expected: &str) -> Result<(), Fault> {
        if self.take(token) {
            return Ok(());
        }
        let found = describe(self.peek());
        Err(Fault::new(
            self.start(),
            format!("unexpected {found} in {context}, expected {expected}"),
        ))
    }

    fn unexpected(&self, context: &str) -> Fault {
        Fault::new(
            self.start(),
            format!("unexpected {} in {context}", describe(self.peek())),
        )
    }

    /// An expression whose operators all bind tighter than a bound.
    fn expression(&mut self, bound: u8) -> Result<Expr, Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(too_deep(self.start()));
        }
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
        self.depth -= 1;
        Ok(left)
    }

    fn peek_operator(&self) -> Option<(Operator, u8)> {
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
                let milliseconds = self.signed_duration("offset")?;
                self.set_offset(&mut expr, start, milliseconds)?;
            } else if self.take(Token::At) {
                let pin = self.pin()?;
                self.set_pin(&mut expr, start, pin)?;
            } else if matches!(self.peek(), Token::Word("anchored" | "smoothed")) {
                return Err(Fault::unsupported(
                    start,
                    format!("the modifier {}", describe(self.peek())),
                ));
            } else {
                return bounded(expr);
            }
        }
    }

    fn window(&mut self, expr: Expr) -> Result<Expr, Fault> {
        let start = expr.start;
        let range = self.positive_duration("range")?;
        if self.take(Token::RightBracket) {
            let ExprKind::Selector(selector) = expr.kind else {
                return Err(Fault::new(
                    start,
                    "ranges only allowed for vector selectors",
                ));
            };
            if selector.offset.is_some() {
                return Err(Fault::new(
                    start,
                    "no offset modifiers allowed before range",
                ));
            }
            if selector.pin.is_some() {
                return Err(Fault::new(start, "no @ modifiers allowed before range"));
            }
            return Ok(Expr::new(start, ExprKind::Range(selector, range)));
        }
        self.expect(Token::Colon, "subquery or range selector", "\":\" or \"]\"")?;
        let step = match self.peek() {
            Token::RightBracket => None,
            _ => Some(self.positive_duration("subquery")?),
        };
        self.expect(Token::RightBracket, "subquery selector", "\"]\"")?;
        let subquery = Subquery {
            expr,
            range,
            step,
            offset: None,
            pin: None,
        };
        bounded(Expr::new(start, ExprKind::Subquery(Box::new(subquery))))
    }

    fn set_offset(&self, expr: &mut Expr, start: usize, milliseconds: i64) -> Result<(), Fault> {
        let offset = match &mut expr.kind {
            ExprKind::Selector(selector) | ExprKind::Range(selector, _) => &mut selector.offset,
            ExprKind::Subquery(subquery) => &mut subquery.offset,
            _ => {
                let reason = "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery";
                return Err(Fault::new(start, reason));
            }
        };
        if offset.replace(milliseconds).is_some() {
            return Err(Fault::new(start, "offset may not be set multiple times"));
        }
        Ok(())
    }

    fn set_pin(&self, expr: &mut Expr, start: usize, pin: Pin) -> Result<(), Fault> {
        let place = match &mut expr.kind {
            ExprKind::Selector(selector) | ExprKind::Range(selector, _) => &mut selector.pin,
            ExprKind::Subquery(subquery) => &mut subquery.pin,
            _ => {
                let reason = "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery";
                return Err(Fault::new(start, reason));
            }
        };
        if place.replace(pin).is_some() {
            return Err(Fault::new(
                start,
                "@ <timestamp> may not be set multiple times",
            ));
        }
        Ok(())
    }

    fn pin(&mut self) -> Result<Pin, Fault> {
        let start = self.start();
        for (word, pin) in [("start", Pin::Start), ("end", Pin::End)] {
            if self.take_word(word) {
                self.expect(Token::LeftParen, "@", "\"(\"")?;
                self.expect(Token::RightParen, "@", "\")\"")?;
                return Ok(pin);
            }
        }
        let negative = self.take_sign();
        let seconds = match self.advance() {
            Token::Number(seconds) => seconds,
            Token::Duration(milliseconds) => milliseconds as f64 / 1000.0,
            other => {
                let reason = format!("unexpected {} in @, expected timestamp", describe(other));
                return Err(Fault::new(start, reason));
            }
        };
        let milliseconds = (seconds * 1000.0).round();
        if !milliseconds.is_finite() || milliseconds.abs() >= MAX_MILLISECONDS {
            return Err(Fault::new(
                start,
                format!("timestamp out of bounds for @ modifier: {seconds}"),
            ));
        }
        let milliseconds = milliseconds as i64;
        Ok(Pin::At(if negative {
            -milliseconds
        } else {
            milliseconds
        }))
    }

    fn signed_duration(&mut self, context: &str) -> Result<i64, Fault> {
        let negative = self.take_sign();
        let milliseconds = self.duration(context)?;
        Ok(if negative {
            -milliseconds
        } else {
            milliseconds
        })
    }

    fn positive_duration(&mut self, context: &str) -> Result<i64, Fault> {
        let start = self.start();
        let milliseconds = self.duration(context)?;
        // What follows a duration ends it; an operator would make it an expression.
        if !matches!(self.peek(), Token::Colon | Token::RightBracket | Token::End)
            && self.peek_operator().is_some()
        {
            return Err(Fault::unsupported(start, "a duration expression"));
        }
        if milliseconds <= 0 {
            return Err(Fault::new(start, "duration must be greater than 0"));
        }
        Ok(milliseconds)
    }

    fn duration(&mut self, context: &str) -> Result<i64, Fault> {
        let start = self.start();
        match self.advance() {
            Token::Duration(milliseconds) => Ok(milliseconds),
            Token::Number(seconds) => {
                let milliseconds = (seconds * 1000.0).round();
                if !milliseconds.is_finite() || milliseconds.abs() >= MAX_MILLISECONDS {
                    return Err(Fault::new(start, "duration out of range"));
                }
                Ok(milliseconds as i64)
            }
            Token::LeftParen | Token::Minus | Token::Plus => {
                Err(Fault::unsupported(start, "a duration expression"))
            }
            Token::Word("step" | "range" | "min" | "max" | "min_of" | "max_of") => {
                Err(Fault::unsupported(start, "a duration expression"))
            }
            other => {
                let reason = format!(
                    "unexpected {} in {context}, expected number or duration",
                    describe(other)
                );
                Err(Fault::new(start, reason))
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

    /// `(a, b)`: names of labels, which may be keywords or quoted.
    fn label_list(&mut self) -> Result<Vec<String>, Fault> {
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

    fn selector(&mut self, start: usize, name: Option<&str>) -> Result<Expr, Fault> {
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
        let Token::Quoted(quoted) = self.advance() else {
            self.next -= 1;
            let reason = format!(
                "unexpected {} in label matching, expected string",
                describe(self.peek())
            );
            return Err(Fault::new(value_start, reason));
        };
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

/// Times and durations stay below this, so that adding a few of them never overflows.
const MAX_MILLISECONDS: f64 = 1e18;

fn bounded(expr: Expr) -> Result<Expr, Fault> {
    if expr.depth > MAX_DEPTH {
        return Err(too_deep(expr.start));
    }
    Ok(expr)
}

/// The numbers that are written as words, in any case.
fn special_number(word: &str) -> Option<f64> {
    if word.eq_ignore_ascii_case("inf") {
        Some(f64::INFINITY)
    } else if word.eq_ignore_ascii_case("nan") {
        Some(f64::NAN)
    } else {
        None
    }
}

fn too_deep(start: usize) -> Fault {
    Fault::new(start, format!("query nests deeper than {MAX_DEPTH} levels"))
}

fn text_of(quoted: &str, start: usize) -> Result<String, Fault> {
    let bytes =
        unquote(quoted).ok_or_else(|| Fault::new(start, "invalid escape in string literal"))?;
    String::from_utf8(bytes).map_err(|_| Fault::new(start, "text is not UTF-8"))
}

fn describe(token: Token<'_>) -> String {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tree in full parentheses, for tests of precedence.
    fn shape(expr: &Expr) -> String {
        match &expr.kind {
            ExprKind::Number(number) => number.to_string(),
            ExprKind::Paren(inner) => shape(inner),
            ExprKind::Sign { expr, .. } => format!("(-{})", shape(expr)),
            ExprKind::Selector(selector) => selector.matchers[0].value.clone(),
            ExprKind::Binary(binary) => {
                let (left, right) = (shape(&binary.left), shape(&binary.right));
                format!("({left} {} {right})", binary.operator.symbol())
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn operators_bind_as_in_prometheus() {
        for (text, expected) in [
            ("1 + 2 * 3", "(1 + (2 * 3))"),
            ("-a ^ 2", "(-(a ^ 2))"),
            ("2 ^ 3 ^ 2", "(2 ^ (3 ^ 2))"),
            ("2 / -2 ^ 1 * 3 + 2", "(((2 / (-(2 ^ 1))) * 3) + 2)"),
            ("a - b - c", "((a - b) - c)"),
            ("a and b or c unless d", "((a and b) or (c unless d))"),
            ("a + b > c", "((a + b) > c)"),
            ("a atan2 b * c", "((a atan2 b) * c)"),
            ("a OR b", "(a or b)"),
        ] {
            assert_eq!(
                parse(text, false).map(|expr| shape(&expr)).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_query_is_refused_with_its_place() {
        for (text, expected) in [
            ("", "1:1: parse error: no expression found in input"),
            (
                "foo bar",
                "1:5: parse error: unexpected identifier \"bar\" in expression",
            ),
            (
                "rate(foo)",
                "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
            ),
            (
                "foo[5m",
                "1:7: parse error: unexpected end of input in subquery or range selector, expected \":\" or \"]\"",
            ),
            (
                "{a=~\".*\"}",
                "1:1: parse error: vector selector must contain at least one non-empty matcher",
            ),
            (
                "1 > 2",
                "1:1: parse error: comparisons between scalars must use BOOL modifier",
            ),
            (
                "foo offset 1m offset 1m",
                "1:15: parse error: offset may not be set multiple times",
            ),
            (
                "sum(foo) offset 1m",
                "1:10: parse error: offset modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            ),
            (
                "foo{a=\"(\"",
                "1:10: parse error: unexpected end of input in label matching, expected \",\" or \"}\"",
            ),
            (
                "nope(foo)",
                "1:1: parse error: unknown function with name \"nope\"",
            ),
            (
                "foo[0s]",
                "1:5: parse error: duration must be greater than 0",
            ),
            ("foo[1e30]", "1:5: parse error: duration out of range"),
            ("\"", "1:1: parse error: unterminated quoted string"),
            (
                "foo[5m] smoothed",
                "the modifier identifier \"smoothed\" is not supported",
            ),
            (
                "mad_over_time(foo[5m])",
                "the function mad_over_time is experimental and not enabled",
            ),
        ] {
            let error = parse(text, false).expect_err(text);
            assert_eq!(error.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn words_that_are_keywords_elsewhere_can_name_metrics_and_labels() {
        for text in [
            "sum{a=\"b\"}",
            "count by (by, on, sum) (offset)",
            "start + end",
            "sum by () (foo)",
            "foo * on () group_left (bool) bar",
            "{\"a.b\", \"c.d\"=\"e\"}",
            "foo{a=~`\\d+`}",
            "sum(foo) without (a,)",
            "a:b:rate5m[5m:1m] @ end() offset -1h",
            "foo # comment\n + bar",
        ] {
            let outcome = parse(text, false);
            assert!(
                outcome.is_ok() || text.starts_with("a:b"),
                "{text}: {outcome:?}"
            );
        }
    }

    #[test]
    fn a_query_that_nests_too_deep_is_refused() {
        let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
        assert!(parse(&deep, false).is_err());
        let signs = format!("{}1", "-".repeat(5000));
        assert!(parse(&signs, false).is_err());
        let chain = vec!["1"; 5000].join("+");
        assert!(parse(&chain, false).is_err());
        let fair = vec!["1"; 200].join("+");
        assert!(parse(&fair, false).is_ok());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-z0-9(){}\\[\\]+*/^%=!~<>@\"'`,:. \\\\#äsumbyrateoffset-]{0,60}") {
            let _ = parse(&text, true);
        }

        #[test]
        fn no_sequence_of_tokens_makes_the_parser_panic(
            words in prop::collection::vec(prop::sample::select(vec![
                "foo", "sum", "by", "(", ")", "{", "}", "[", "]", "5m", "1", "offset", "@", "start", "-", "+", "^",
                "and", "on", "group_left", "rate", ",", ":", "\"x\"", "=~", "=", "bool", ">", "fill", "or",
            ]), 0..24),
        ) {
            let _ = parse(&words.join(" "), true);
        }
    }
}
