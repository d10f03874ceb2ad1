/// A piece of a template's text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// Text outside actions.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// A name: a function or keyword.
    Word(String),
    /// `.name`, written right after what it belongs to or on its own.
    Field(String),
    /// `.`
    Dot,
    /// `$` or `$name`.
    Variable(String),
    Quoted(String),
    Int(i64),
    Float(f64),
    Pipe,
    Comma,
    Declare,
    Assign,
    LeftParen,
    RightParen,
    /// Blanks within an action, which separate arguments.
    Blank,
}

/// A token and the line it begins on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) line: usize,
}

/// What is wrong with a template's text.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) line: usize,
    pub(super) reason: String,
}

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// Cuts a template's text into tokens.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, Fault> {
    let mut lexer = Lexer {
        text,
        at: 0,
        line: 1,
        tokens: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    tokens: Vec<Placed>,
}

// === impl Lexer ===

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn advance(&mut self, bytes: usize) {
        self.line += self.rest()[..bytes].matches('\n').count();
        self.at += bytes;
    }

    fn push(&mut self, token: Token, bytes: usize) {
        let line = self.line;
        self.tokens.push(Placed { token, line });
        self.advance(bytes);
    }

    fn fault(&self, reason: impl Into<String>) -> Fault {
        Fault {
            line: self.line,
            reason: reason.into(),
        }
    }

    fn run(&mut self) -> Result<(), Fault> {
        let mut trim_left = false;
        loop {
            let open = self.rest().find(OPEN);
            let outside = &self.rest()[..open.unwrap_or(self.rest().len())];
            let action = open.map(|open| &self.rest()[open + OPEN.len()..]);
            let trims_before = action.is_some_and(starts_with_trim);
            let mut kept = outside;
            if trim_left {
                kept = kept.trim_start_matches(is_blank);
            }
            if trims_before {
                kept = kept.trim_end_matches(is_blank);
            }
            if !kept.is_empty() {
                let (line, token) = (self.line, Token::Text(kept.to_owned()));
                self.tokens.push(Placed { token, line });
            }
            self.advance(outside.len());
            if open.is_none() {
                return Ok(());
            }
            let marker = if trims_before { 2 } else { 0 };
            if self.rest()[OPEN.len() + marker..].starts_with("/*") {
                trim_left = self.comment(OPEN.len() + marker)?;
                continue;
            }
            self.push(Token::Open, OPEN.len() + marker);
            trim_left = self.action()?;
        }
    }

    /// Passes a comment; says whether what follows is trimmed.
    fn comment(&mut self, before: usize) -> Result<bool, Fault> {
        let body = &self.rest()[before..];
        let Some(end) = body.find("*/") else {
            return Err(self.fault("unclosed comment"));
        };
        let after = &body[end + 2..];
        let trims = after
            .strip_prefix(is_blank)
            .is_some_and(|rest| rest.starts_with("-}}"));
        let close = if trims { 2 } else { 0 };
        if !after[close..].starts_with(CLOSE) {
            return Err(self.fault("comment ends before closing delimiter"));
        }
        self.advance(before + end + 2 + close + CLOSE.len());
        Ok(trims)
    }

    /// Reads up to the closing braces; says whether what follows is trimmed.
    fn action(&mut self) -> Result<bool, Fault> {
        let mut parens = 0_usize;
        loop {
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                return Err(self.fault("unclosed action"));
            };
            let trims = rest
                .strip_prefix(is_blank)
                .is_some_and(|rest| rest.starts_with("-}}"));
            if trims || rest.starts_with(CLOSE) {
                if parens > 0 {
                    return Err(self.fault("unclosed left paren"));
                }
                self.push(Token::Close, if trims { 4 } else { 2 });
                return Ok(trims);
            }
            match first {
                blank if is_blank(blank) => {
                    let run = rest.len() - rest.trim_start_matches(is_blank).len();
                    // The blank before a trimming close belongs to it.
                    let run = if run > 1 && rest[run..].starts_with("-}}") {
                        run - 1
                    } else {
                        run
                    };
                    self.push(Token::Blank, run);
                }
                '"' => self.quoted()?,
                '`' => {
                    let Some(end) = rest[1..].find('`') else {
                        return Err(self.fault("unterminated raw quoted string"));
                    };
                    self.push(Token::Quoted(rest[1..=end].to_owned()), end + 2);
                }
                '\'' => self.character()?,
                '|' => self.push(Token::Pipe, 1),
                ',' => self.push(Token::Comma, 1),
                '=' => self.push(Token::Assign, 1),
                ':' if rest.starts_with(":=") => self.push(Token::Declare, 2),
                '(' => {
                    parens += 1;
                    self.push(Token::LeftParen, 1);
                }
                ')' if parens > 0 => {
                    parens -= 1;
                    self.push(Token::RightParen, 1);
                }
                ')' => return Err(self.fault("unexpected right paren")),
                '$' => {
                    let length = name_length(&rest[1..]);
                    self.push(Token::Variable(rest[..=length].to_owned()), length + 1);
                }
                '.' if !rest[1..].starts_with(|next: char| next.is_ascii_digit()) => {
                    match name_length(&rest[1..]) {
                        0 => self.push(Token::Dot, 1),
                        length => {
                            let name = rest[1..=length].to_owned();
                            self.push(Token::Field(name), length + 1);
                        }
                    }
                }
                digit if digit.is_ascii_digit() || matches!(digit, '.' | '+' | '-') => {
                    self.number()?;
                }
                letter if letter == '_' || letter.is_alphabetic() => {
                    let length = name_length(rest);
                    self.push(Token::Word(rest[..length].to_owned()), length);
                }
                other => {
                    let reason = format!(
                        "unrecognized character in action: U+{:04X} '{other}'",
                        u32::from(other)
                    );
                    return Err(self.fault(reason));
                }
            }
        }
    }

    fn quoted(&mut self) -> Result<(), Fault> {
        let rest = self.rest();
        let mut escaped = false;
        let end = rest[1..].char_indices().find_map(|(at, char)| {
            let ends = (char == '"' && !escaped) || char == '\n';
            escaped = char == '\\' && !escaped;
            ends.then_some(at + 1)
        });
        let Some(end) = end.filter(|end| rest.as_bytes()[*end] == b'"') else {
            return Err(self.fault("unterminated quoted string"));
        };
        let text = unescape(&rest[1..end]).ok_or_else(|| self.fault("invalid syntax"))?;
        self.push(Token::Quoted(text), end + 1);
        Ok(())
    }

    fn character(&mut self) -> Result<(), Fault> {
        let rest = self.rest();
        let end = rest[1..]
            .find('\'')
            .map(|end| if rest[1..].starts_with("\\'") { 2 } else { end });
        let Some(end) = end else {
            return Err(self.fault("unterminated character constant"));
        };
        let text = unescape(&rest[1..=end]).unwrap_or_default();
        let mut chars = text.chars();
        let (Some(char), None) = (chars.next(), chars.next()) else {
            return Err(self.fault(format!(
                "malformed character constant: {}",
                &rest[..end + 2]
            )));
        };
        self.push(Token::Int(i64::from(u32::from(char))), end + 2);
        Ok(())
    }

    fn number(&mut self) -> Result<(), Fault> {
        let rest = self.rest();
        let mut length = 1;
        let bytes = rest.as_bytes();
        while length < bytes.len() {
            let sign_of_exponent = matches!(bytes[length], b'+' | b'-')
                && matches!(bytes[length - 1], b'e' | b'E')
                && !rest[..length].contains(['x', 'X']);
            if !(bytes[length].is_ascii_alphanumeric()
                || matches!(bytes[length], b'.' | b'_')
                || sign_of_exponent)
            {
                break;
            }
            length += 1;
        }
        let written = &rest[..length];
        let digits = written.replace('_', "");
        let (negative, unsigned) = match digits.strip_prefix('-') {
            Some(unsigned) => (true, unsigned),
            None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
        };
        let lower = unsigned.to_ascii_lowercase();
        let whole = match lower.get(..2) {
            Some("0x") => i64::from_str_radix(&lower[2..], 16).ok(),
            Some("0o") => i64::from_str_radix(&lower[2..], 8).ok(),
            Some("0b") => i64::from_str_radix(&lower[2..], 2).ok(),
            _ => lower.parse().ok(),
        };
        let token = match whole {
            Some(whole) => Token::Int(if negative { -whole } else { whole }),
            None => {
                let float: Option<f64> = lower
                    .starts_with(|first: char| first.is_ascii_digit() || first == '.')
                    .then(|| lower.parse().ok())
                    .flatten();
                let float =
                    float.ok_or_else(|| self.fault(format!("bad number syntax: {written:?}")))?;
                Token::Float(if negative { -float } else { float })
            }
        };
        self.push(token, length);
        Ok(())
    }
}

fn is_blank(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\r' | '\n')
}

fn starts_with_trim(action: &str) -> bool {
    action
        .strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(is_blank))
}

fn name_length(text: &str) -> usize {
    text.find(|char: char| !(char == '_' || char.is_alphanumeric()))
        .unwrap_or(text.len())
}

/// A Go string literal's text without its quotes.
fn unescape(text: &str) -> Option<String> {
    let mut bytes: Vec<u8> = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        rest = &rest[char.len_utf8()..];
        if char != '\\' {
            bytes.extend(char.encode_utf8(&mut [0; 4]).bytes());
            continue;
        }
        let kind = rest.chars().next()?;
        rest = &rest[kind.len_utf8()..];
        let plain = match kind {
            'n' => Some(b'\n'),
            't' => Some(b'\t'),
            'r' => Some(b'\r'),
            'a' => Some(7),
            'b' => Some(8),
            'f' => Some(12),
            'v' => Some(11),
            '\\' | '"' | '\'' => Some(kind as u8),
            _ => None,
        };
        if let Some(plain) = plain {
            bytes.push(plain);
            continue;
        }
        let (length, radix) = match kind {
            'x' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='7' => (2, 8),
            _ => return None,
        };
        let digits = rest.get(..length)?;
        rest = &rest[length..];
        let mut number = u32::from_str_radix(digits, radix).ok()?;
        if radix == 8 {
            number += kind.to_digit(8)? * 64;
        }
        match kind {
            'u' | 'U' => bytes.extend(char::from_u32(number)?.encode_utf8(&mut [0; 4]).bytes()),
            _ => bytes.push(u8::try_from(number).ok()?),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
