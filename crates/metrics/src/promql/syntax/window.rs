//! What follows an operand: its window, its offset, its time; and the lengths these are given in.

use super::lexer::Token;
use super::parser::{Fault, Parser, bounded, describe};
use super::tree::{Expr, ExprKind, Length, Operator, Pin, Subquery};

/// Times and lengths stay below this, so that adding a few of them never overflows.
pub(super) const MAX_MILLISECONDS: f64 = 1e18;

impl Parser<'_> {
    /// `[5m]` or `[5m:1m]` after an expression; the first bracket is taken.
    pub(super) fn window(&mut self, expr: Expr) -> Result<Expr, Fault> {
        let start = expr.start;
        let range = self.window_length("range")?;
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
            _ => Some(self.window_length("subquery")?),
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

    /// What follows `@`.
    pub(super) fn pin(&mut self) -> Result<Pin, Fault> {
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
        let Some(milliseconds) = milliseconds(seconds) else {
            return Err(Fault::new(
                start,
                format!("timestamp out of bounds for @ modifier: {seconds}"),
            ));
        };
        Ok(Pin::At(if negative {
            -milliseconds
        } else {
            milliseconds
        }))
    }

    /// What follows `offset`: a duration with a sign, `step()`, or an expression in parentheses.
    pub(super) fn offset_length(&mut self) -> Result<Length, Fault> {
        let negative = self.take_sign();
        let length = self.length_operand("offset")?;
        Ok(if negative { negate(length) } else { length })
    }

    fn window_length(&mut self, context: &str) -> Result<Length, Fault> {
        let start = self.start();
        let length = self.length(0, context)?;
        if matches!(length, Length::Fixed(milliseconds) if milliseconds <= 0) {
            return Err(Fault::new(start, "duration must be greater than 0"));
        }
        Ok(length)
    }

    /// A length whose operators all bind tighter than a bound.
    fn length(&mut self, bound: u8, context: &str) -> Result<Length, Fault> {
        self.descend()?;
        let start = self.start();
        let mut left = match self.peek() {
            Token::Minus | Token::Plus => {
                let negative = self.take_sign();
                self.experimental_length(start)?;
                // A sign binds looser than `^` and tighter than `*`.
                let length = self.length(5, context)?;
                if negative { negate(length) } else { length }
            }
            _ => self.length_operand(context)?,
        };
        while let Some((operator, binding)) = self.peek_operator() {
            use Operator::{Add, Divide, Modulo, Multiply, Power, Subtract};
            if !matches!(
                operator,
                Add | Subtract | Multiply | Divide | Modulo | Power
            ) || binding <= bound
            {
                break;
            }
            self.experimental_length(self.start())?;
            self.advance();
            let right_bound = if operator == Power {
                binding - 1
            } else {
                binding
            };
            let right = self.length(right_bound, context)?;
            left = Length::Computed(operator, Box::new(left), Box::new(right));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn length_operand(&mut self, context: &str) -> Result<Length, Fault> {
        let start = self.start();
        match self.advance() {
            Token::Duration(milliseconds) => Ok(Length::Fixed(milliseconds)),
            Token::Number(seconds) => match milliseconds(seconds) {
                Some(milliseconds) => Ok(Length::Fixed(milliseconds)),
                None => Err(Fault::new(start, "duration out of range")),
            },
            Token::LeftParen => {
                self.experimental_length(start)?;
                let length = self.length(0, context)?;
                self.expect(Token::RightParen, context, "\")\"")?;
                Ok(length)
            }
            Token::Word(word @ ("step" | "range" | "min" | "max" | "min_of" | "max_of"))
                if self.peek() == Token::LeftParen =>
            {
                self.experimental_length(start)?;
                self.advance();
                let length = match word {
                    "step" => Length::Step,
                    "range" => Length::QueryRange,
                    _ => {
                        let left = Box::new(self.length(0, context)?);
                        self.expect(Token::Comma, context, "\",\"")?;
                        let right = Box::new(self.length(0, context)?);
                        if word.starts_with("min") {
                            Length::Least(left, right)
                        } else {
                            Length::Greatest(left, right)
                        }
                    }
                };
                self.expect(Token::RightParen, context, "\")\"")?;
                Ok(length)
            }
            other => {
                let found = describe(other);
                let reason =
                    format!("unexpected {found} in {context}, expected number or duration");
                Err(Fault::new(start, reason))
            }
        }
    }

    fn experimental_length(&self, start: usize) -> Result<(), Fault> {
        if self.experimental {
            return Ok(());
        }
        Err(Fault::experimental(start, "a duration expression"))
    }
}

fn negate(length: Length) -> Length {
    match length {
        Length::Fixed(milliseconds) => Length::Fixed(-milliseconds),
        other => Length::Negative(Box::new(other)),
    }
}

fn milliseconds(seconds: f64) -> Option<i64> {
    let milliseconds = (seconds * 1000.0).round();
    (milliseconds.abs() < MAX_MILLISECONDS).then_some(milliseconds as i64)
}

pub(super) fn set_offset(expr: &mut Expr, start: usize, length: Length) -> Result<(), Fault> {
    let offset = match &mut expr.kind {
        ExprKind::Selector(selector) | ExprKind::Range(selector, _) => &mut selector.offset,
        ExprKind::Subquery(subquery) => &mut subquery.offset,
        _ => return Err(Fault::new(start, misplaced("offset modifier"))),
    };
    if offset.replace(length).is_some() {
        return Err(Fault::new(start, "offset may not be set multiple times"));
    }
    Ok(())
}

pub(super) fn set_pin(expr: &mut Expr, start: usize, pin: Pin) -> Result<(), Fault> {
    let place = match &mut expr.kind {
        ExprKind::Selector(selector) | ExprKind::Range(selector, _) => &mut selector.pin,
        ExprKind::Subquery(subquery) => &mut subquery.pin,
        _ => return Err(Fault::new(start, misplaced("@ modifier"))),
    };
    if place.replace(pin).is_some() {
        return Err(Fault::new(
            start,
            "@ <timestamp> may not be set multiple times",
        ));
    }
    Ok(())
}

fn misplaced(modifier: &str) -> String {
    format!(
        "{modifier} must be preceded by an instant vector selector or range vector selector or a subquery"
    )
}
