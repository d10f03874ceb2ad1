//! Cuts a query's text into tokens.

use super::parser::Fault;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Token<'a> {
    /// A name of a metric, label, function, or a keyword.
    Word(&'a str),
    Number(f64),
    /// Milliseconds.
    Duration(i64),
    /// A quoted text, quotes and escapes as they stand.
    Quoted(&'a str),
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    At,
    Plus,
    Minus,
    Times,
    Slash,
    Percent,
    Caret,
    /// `=`
    Assign,
    /// `==`
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// `=~`
    Matches,
    /// `!~`
    MatchesNot,
    /// `</` and `>/`, which trim native histograms.
    Trim(&'static str),
    End,
}

/// Cuts the whole text. Each token comes with its byte offset; the last is [`Token::End`].
pub(crate) fn tokens(text: &str) -> Result<Vec<(usize, Token<'_>)>, Fault> {
    let mut lexer = Lexer {
        text,
        position: 0,
        in_brackets: false,
    };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks_and_comments();
        let start = lexer.position;
        let token = lexer.next()?;
        tokens.push((start, token));
        if token == Token::End {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    position: usize,
    /// Between brackets a colon parts range and step; elsewhere it belongs to names.
    in_brackets: bool,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.position..]
    }

    fn fault(&self, start: usize, reason: impl Into<String>) -> Fault {
        Fault::new(start, reason)
    }

    fn skip_blanks_and_comments(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
            self.position += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            let comment = trimmed.find('\n').unwrap_or(trimmed.len());
            self.position += comment;
        }
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let taken = &self.rest()[..bytes];
        self.position += bytes;
        taken
    }

    fn next(&mut self) -> Result<Token<'a>, Fault> {
        const SYMBOLS: [(&str, Token<'static>); 25] = [
            ("==", Token::Equal),
            ("=~", Token::Matches),
            ("=", Token::Assign),
            ("!=", Token::NotEqual),
            ("!~", Token::MatchesNot),
            ("<=", Token::LessOrEqual),
            ("</", Token::Trim("</")),
            ("<", Token::Less),
            (">=", Token::GreaterOrEqual),
            (">/", Token::Trim(">/")),
            (">", Token::Greater),
            ("(", Token::LeftParen),
            (")", Token::RightParen),
            ("{", Token::LeftBrace),
            ("}", Token::RightBrace),
            ("[", Token::LeftBracket),
            ("]", Token::RightBracket),
            (",", Token::Comma),
            ("@", Token::At),
            ("+", Token::Plus),
            ("-", Token::Minus),
            ("*", Token::Times),
            ("/", Token::Slash),
            ("%", Token::Percent),
            ("^", Token::Caret),
        ];
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(Token::End);
        };
        if first == ':' && self.in_brackets {
            self.take(1);
            return Ok(Token::Colon);
        }
        let starts_number = |text: &str| text.starts_with(|char: char| char.is_ascii_digit());
        if starts_number(rest) || rest.strip_prefix('.').is_some_and(starts_number) {
            return self.number();
        }
        if first == '_' || first == ':' || first.is_ascii_alphabetic() {
            return Ok(self.word());
        }
        if matches!(first, '"' | '\'' | '`') {
            return self.quoted(first);
        }
        let symbol = SYMBOLS.iter().find(|(symbol, _)| rest.starts_with(symbol));
        let Some((symbol, token)) = symbol else {
            return Err(self.fault(self.position, format!("unexpected character: {first:?}")));
        };
        match token {
            Token::LeftBracket => self.in_brackets = true,
            Token::RightBracket => self.in_brackets = false,
            _ => {}
        }
        self.take(symbol.len());
        Ok(*token)
    }

    fn word(&mut self) -> Token<'a> {
        let colon_ends = self.in_brackets;
        let rest = self.rest();
        let is_part = |char: char| {
            char == '_' || char.is_ascii_alphanumeric() || (char == ':' && !colon_ends)
        };
        let length = rest.find(|char| !is_part(char)).unwrap_or(rest.len());
        Token::Word(self.take(length))
    }

    fn quoted(&mut self, quote: char) -> Result<Token<'a>, Fault> {
        let start = self.position;
        let mut escaped = false;
        for (at, char) in self.rest().char_indices().skip(1) {
            if escaped {
                escaped = false;
            } else if char == quote {
                let text = self.take(at + 1);
                return Ok(Token::Quoted(text));
            } else if char == '\n' && quote != '`' {
                break;
            } else {
                escaped = char == '\\' && quote != '`';
            }
        }
        let kind = if quote == '`' { "raw" } else { "quoted" };
        Err(self.fault(start, format!("unterminated {kind} string")))
    }

    /// A number, or a duration if a unit follows its digits.
    fn number(&mut self) -> Result<Token<'a>, Fault> {
        let start = self.position;
        let bytes = self.rest().as_bytes();
        let mut length = 0;
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'.';
        while let Some(byte) = bytes.get(length) {
            let hexadecimal =
                bytes.len() > 1 && bytes[0] == b'0' && matches!(bytes[1], b'x' | b'X');
            let signed_exponent = matches!(byte, b'+' | b'-')
                && !hexadecimal
                && length > 0
                && matches!(bytes[length - 1], b'e' | b'E')
                && bytes[..length - 1]
                    .iter()
                    .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'_'));
            if !is_word(byte) && !signed_exponent {
                break;
            }
            length += 1;
        }
        let text = self.take(length);
        if let Some(number) = parse_number(text) {
            return Ok(Token::Number(number));
        }
        match parse_duration(text) {
            Some(milliseconds) => Ok(Token::Duration(milliseconds)),
            None => Err(self.fault(start, format!("bad number or duration syntax: {text:?}"))),
        }
    }
}

/// A number as Go reads its literals: decimal, hexadecimal, octal with a leading zero, digits parted by `_`.
pub(crate) fn parse_number(text: &str) -> Option<f64> {
    let lower = text.to_ascii_lowercase();
    let parted_well = !lower.starts_with('_') && !lower.ends_with('_') && !lower.contains("__");
    if !parted_well {
        return None;
    }
    let digits = lower.replace('_', "");
    let whole = |text: &str, radix: u32| {
        let number = u64::from_str_radix(text, radix).ok()?;
        i64::try_from(number).ok().map(|number| number as f64)
    };
    if let Some(hexadecimal) = digits.strip_prefix("0x") {
        return whole(hexadecimal, 16);
    }
    if let Some(binary) = digits.strip_prefix("0b") {
        return whole(binary, 2);
    }
    if let Some(octal) = digits.strip_prefix("0o") {
        return whole(octal, 8);
    }
    if digits.len() > 1
        && digits.starts_with('0')
        && digits.bytes().all(|byte| (b'0'..=b'7').contains(&byte))
    {
        return whole(&digits, 8);
    }
    let plain = digits.starts_with(|char: char| char.is_ascii_digit() || char == '.');
    if plain { digits.parse().ok() } else { None }
}

/// `1d2h3m4s5ms`, each unit at most once and in this order, in milliseconds.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    const UNITS: [(&str, i64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let mut rest = text;
    let mut total = 0_i64;
    let mut allowed = &UNITS[..];
    if text.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit())?;
        let count: i64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let unit = after
            .find(|char: char| char.is_ascii_digit())
            .unwrap_or(after.len());
        let at = allowed
            .iter()
            .position(|(name, _)| *name == &after[..unit])?;
        total = total.checked_add(count.checked_mul(allowed[at].1)?)?;
        allowed = &allowed[at + 1..];
        rest = &after[unit..];
    }
    Some(total)
}

/// The bytes a quoted text stands for, escapes read as Go reads them.
pub(crate) fn unquote(quoted: &str) -> Option<Vec<u8>> {
    let quote = quoted.chars().next()?;
    let inner = quoted.strip_prefix(quote)?.strip_suffix(quote)?;
    if quote == '`' {
        return Some(inner.replace('\r', "").into_bytes());
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let [escape, after @ ..] = rest else {
            return None;
        };
        rest = after;
        match escape {
            b'a' => bytes.push(7),
            b'b' => bytes.push(8),
            b'f' => bytes.push(12),
            b'n' => bytes.push(b'\n'),
            b'r' => bytes.push(b'\r'),
            b't' => bytes.push(b'\t'),
            b'v' => bytes.push(11),
            b'\\' => bytes.push(b'\\'),
            b'\'' | b'"' if char::from(*escape) == quote => bytes.push(*escape),
            b'x' => bytes.push(u8::try_from(take_digits(&mut rest, 2, 16)?).ok()?),
            b'u' | b'U' => {
                let digits = if *escape == b'u' { 4 } else { 8 };
                let char = char::from_u32(take_digits(&mut rest, digits, 16)?)?;
                bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
            b'0'..=b'7' => {
                let high = u32::from(escape - b'0') * 64;
                let low = take_digits(&mut rest, 2, 8)?;
                bytes.push(u8::try_from(high + low).ok()?);
            }
            _ => return None,
        }
    }
    Some(bytes)
}

fn take_digits(rest: &mut &[u8], count: usize, radix: u32) -> Option<u32> {
    let (digits, after) = rest.split_at_checked(count)?;
    *rest = after;
    digits.iter().try_fold(0_u32, |number, digit| {
        let digit = char::from(*digit).to_digit(radix)?;
        number.checked_mul(radix)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("1", Some(1.0)),
            ("1_000.5", Some(1000.5)),
            ("0x1f", Some(31.0)),
            ("017", Some(15.0)),
            ("08", Some(8.0)),
            ("2.", Some(2.0)),
            (".2", Some(0.2)),
            ("1e5", Some(1e5)),
            ("1__0", None),
            ("1s", None),
        ] {
            assert_eq!(parse_number(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_have_units_in_falling_order() {
        for (text, expected) in [
            ("1h30m", Some(5_400_000)),
            ("1m500ms", Some(60_500)),
            ("10s53ms", Some(10_053)),
            ("1y", Some(31_536_000_000)),
            ("5000000000ms", Some(5_000_000_000)),
            ("30m1h", None),
            ("1m1m", None),
            ("9999999999999y", None),
            ("1x", None),
        ] {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn texts_keep_bytes_and_raw_texts_keep_backslashes() {
        assert_eq!(unquote(r#""a\xc5z""#).as_deref(), Some(&b"a\xc5z"[..]));
        assert_eq!(unquote(r"`\d+`").as_deref(), Some(&br"\d+"[..]));
        assert_eq!(
            unquote(r#""\u00e4\101\n""#).as_deref(),
            Some("äA\n".as_bytes())
        );
        assert_eq!(unquote(r#""\q""#), None);
        assert_eq!(unquote(r#""\'""#), None);
    }
}
