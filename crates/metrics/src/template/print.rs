//! Go's `fmt` and `time` printing.

use std::fmt::Write as _;

use jiff::Zoned;

use crate::promql::shortest;
use crate::series_store::quote;

use super::value::Value;

/// A verb of a format: flags, width and precision.
#[derive(Default)]
struct Verb {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// Widths and precisions are cut to this.
const MAX_WIDTH: usize = 1000;

/// As Go's `fmt.Sprintf`, for the values templates have.
pub(crate) fn sprintf(format: &str, args: &[Value]) -> String {
    let mut printed = String::with_capacity(format.len());
    let mut args = args.iter();
    let mut chars = format.chars().peekable();
    while let Some(char) = chars.next() {
        if char != '%' {
            printed.push(char);
            continue;
        }
        let mut verb = Verb::default();
        while let Some(flag) = chars.peek() {
            match flag {
                '-' => verb.minus = true,
                '+' => verb.plus = true,
                '#' => verb.sharp = true,
                ' ' => verb.space = true,
                '0' => verb.zero = true,
                _ => break,
            }
            chars.next();
        }
        let mut number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            if chars.next_if_eq(&'*').is_some() {
                return match args.next() {
                    Some(Value::Int(width)) => usize::try_from(*width).unwrap_or(0).min(MAX_WIDTH),
                    _ => 0,
                };
            }
            let mut number = 0_usize;
            while let Some(digit) = chars.peek().and_then(|char| char.to_digit(10)) {
                number = (number * 10 + digit as usize).min(MAX_WIDTH);
                chars.next();
            }
            number
        };
        verb.width = number(&mut chars);
        if chars.next_if_eq(&'.').is_some() {
            verb.precision = Some(number(&mut chars));
        }
        match chars.next() {
            None => printed.push_str("%!(NOVERB)"),
            Some('%') => printed.push('%'),
            Some(letter) => match args.next() {
                None => {
                    let _ = write!(printed, "%!{letter}(MISSING)");
                }
                Some(value) => printed.push_str(&formatted(&verb, letter, value)),
            },
        }
    }
    let extra: Vec<String> = args
        .map(|value| format!("{}={value}", value.type_name()))
        .collect();
    if !extra.is_empty() {
        let _ = write!(printed, "%!(EXTRA {})", extra.join(", "));
    }
    printed
}

fn formatted(verb: &Verb, letter: char, value: &Value) -> String {
    let number = matches!(value, Value::Int(_) | Value::Float(_) | Value::Duration(_));
    let body = match (letter, value) {
        ('v', Value::Float(_)) => general(verb, 'g', value),
        ('v', Value::Text(text)) if verb.sharp => quote(text),
        ('v', value) => signed(verb, value.to_string(), matches!(value, Value::Int(_))),
        ('s', Value::Int(_) | Value::Float(_) | Value::Bool(_) | Value::Nil) => {
            wrong(letter, value)
        }
        ('s', value) => cut(verb, &value.to_string()),
        ('q', Value::Text(text)) => quote(&cut(verb, text)),
        ('q', Value::Int(code)) => {
            let char = u32::try_from(*code).ok().and_then(char::from_u32);
            format!("'{}'", char.unwrap_or('\u{fffd}'))
        }
        ('T', value) => value.type_name().to_owned(),
        ('t', Value::Bool(value)) => value.to_string(),
        ('d', Value::Int(number) | Value::Duration(number)) => {
            signed(verb, number.to_string(), true)
        }
        ('b', Value::Int(number)) => signed(verb, radix(*number, |n| format!("{n:b}")), true),
        ('o', Value::Int(number)) => signed(verb, radix(*number, |n| format!("{n:o}")), true),
        ('x', Value::Int(number)) => {
            let prefix = if verb.sharp { "0x" } else { "" };
            signed(verb, radix(*number, |n| format!("{prefix}{n:x}")), true)
        }
        ('X', Value::Int(number)) => {
            let prefix = if verb.sharp { "0X" } else { "" };
            signed(verb, radix(*number, |n| format!("{prefix}{n:X}")), true)
        }
        ('x', Value::Text(text)) => text.bytes().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }),
        ('X', Value::Text(text)) => text.bytes().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02X}");
            hex
        }),
        ('c', Value::Int(code)) => {
            let char = u32::try_from(*code).ok().and_then(char::from_u32);
            char.unwrap_or('\u{fffd}').to_string()
        }
        ('U', Value::Int(code)) => format!("U+{code:04X}"),
        ('e' | 'E' | 'f' | 'F' | 'g' | 'G', Value::Float(_)) => general(verb, letter, value),
        (_, value) => wrong(letter, value),
    };
    pad(verb, body, number && !matches!(letter, 'T' | 's'))
}

fn wrong(letter: char, value: &Value) -> String {
    match value {
        Value::Nil => format!("%!{letter}(<nil>)"),
        value => format!("%!{letter}({}={value})", value.type_name()),
    }
}

fn radix(number: i64, print: impl Fn(u64) -> String) -> String {
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{}", print(number.unsigned_abs()))
}

fn cut(verb: &Verb, text: &str) -> String {
    match verb.precision {
        Some(most) => text.chars().take(most).collect(),
        None => text.to_owned(),
    }
}

fn signed(verb: &Verb, text: String, number: bool) -> String {
    if !number || text.starts_with(['-', '+']) {
        return text;
    }
    match (verb.plus, verb.space) {
        (true, _) => format!("+{text}"),
        (false, true) => format!(" {text}"),
        (false, false) => text,
    }
}

fn general(verb: &Verb, letter: char, value: &Value) -> String {
    let Value::Float(value) = *value else {
        return String::new();
    };
    if !value.is_finite() {
        let plain = shortest(value);
        let text = if verb.plus || value.is_nan() || value < 0.0 {
            plain
        } else {
            plain.trim_start_matches('+').to_owned()
        };
        // Go prints an unsigned infinity as +Inf.
        return if text == "Inf" {
            "+Inf".to_owned()
        } else {
            text
        };
    }
    let text = match (letter.to_ascii_lowercase(), verb.precision) {
        ('f', precision) => format!("{value:.*}", precision.unwrap_or(6)),
        ('e', precision) => exponential(value, precision.unwrap_or(6)),
        (_, Some(precision)) => significant(value, precision.max(1)),
        (_, None) => shortest(value),
    };
    let text = if letter.is_ascii_uppercase() {
        text.to_ascii_uppercase()
    } else {
        text
    };
    signed(verb, text, true)
}

/// `%.*e`, with at least two digits in the exponent.
fn exponential(value: f64, precision: usize) -> String {
    let written = format!("{value:.precision$e}");
    let (digits, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// `%.*g`: so many significant digits, without zeros at the end.
pub(crate) fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return shortest(value);
    }
    let written = exponential(value, digits - 1);
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let power: i32 = exponent.parse().unwrap_or(0);
    if power < -4 || power >= digits as i32 {
        let mantissa = if mantissa.contains('.') {
            mantissa.trim_end_matches('0').trim_end_matches('.')
        } else {
            mantissa
        };
        return format!("{mantissa}e{exponent}");
    }
    let decimals = usize::try_from(digits as i32 - 1 - power).unwrap_or(0);
    let fixed = format!("{value:.decimals$}");
    if fixed.contains('.') {
        fixed.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        fixed
    }
}

fn pad(verb: &Verb, text: String, number: bool) -> String {
    let length = text.chars().count();
    let Some(missing) = verb
        .width
        .checked_sub(length)
        .filter(|missing| *missing > 0)
    else {
        return text;
    };
    if verb.minus {
        return text + &" ".repeat(missing);
    }
    if verb.zero && number {
        let sign = if text.starts_with(['+', '-']) {
            &text[..1]
        } else {
            ""
        };
        return format!("{sign}{}{}", "0".repeat(missing), &text[sign.len()..]);
    }
    " ".repeat(missing) + &text
}

/// Whether a time is Go's zero: the start of the year 1.
pub(super) fn is_zero(time: &Zoned) -> bool {
    time.timestamp().as_second() == -62_135_596_800
}

/// As Go prints a time: `2026-01-02 03:04:05.6 +0000 UTC`.
pub(super) fn time(time: &Zoned) -> String {
    layout(time, "2006-01-02 15:04:05.999999999 -0700 MST")
}

/// As Go writes a time in JSON: `2026-01-02T03:04:05.6Z`.
pub(crate) fn time_in_json(time: &Zoned) -> String {
    layout(time, "2006-01-02T15:04:05.999999999Z07:00")
}

fn fraction(time: &Zoned, digits: usize, trims: bool) -> String {
    let nanoseconds = time.subsec_nanosecond();
    let text = &format!("{nanoseconds:09}")[..digits.min(9)];
    let text = if trims {
        text.trim_end_matches('0')
    } else {
        text
    };
    if text.is_empty() {
        String::new()
    } else {
        format!(".{text}")
    }
}

/// As Go prints a duration: `1h2m3.5s`.
pub(super) fn duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let size = nanoseconds.unsigned_abs();
    let decimal = |unit: u64| {
        let fraction = format!("{:0width$}", size % unit, width = unit.ilog10() as usize);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{}{point}{fraction}", size / unit)
    };
    match size {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{size}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", decimal(1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", decimal(1_000_000)),
        _ => {
            let whole = size / 1_000_000_000;
            let fraction = format!("{:09}", size % 1_000_000_000);
            let fraction = fraction.trim_end_matches('0');
            let point = if fraction.is_empty() { "" } else { "." };
            let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
            let hours_text = if hours > 0 {
                format!("{hours}h")
            } else {
                String::new()
            };
            let minutes_text = if whole >= 60 {
                format!("{minutes}m")
            } else {
                String::new()
            };
            format!("{sign}{hours_text}{minutes_text}{seconds}{point}{fraction}s")
        }
    }
}

/// The parts of a layout, the longer before those they begin with, and what `strftime` calls them.
const PARTS: [(&str, &str); 28] = [
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("MST", "%Z"),
    ("2006", "%Y"),
    ("-07:00:00", "%::z"),
    ("-07:00", "%:z"),
    ("-0700", "%z"),
    ("-07", "%z"),
    ("Z07:00", "%:z"),
    ("Z0700", "%z"),
    ("002", "%j"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("_2", "%e"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
    ("4", "%-M"),
    ("5", "%-S"),
];

/// As Go's `time.Format`.
pub(crate) fn layout(time: &Zoned, layout: &str) -> String {
    let layout = match layout {
        "RFC3339" => "2006-01-02T15:04:05Z07:00",
        other => other,
    };
    let mut printed = String::new();
    let mut rest = layout;
    'next: while let Some(char) = rest.chars().next() {
        if matches!(char, '.' | ',') {
            let digits = rest[1..].chars().take_while(|digit| *digit == '0').count();
            let nines = rest[1..].chars().take_while(|digit| *digit == '9').count();
            let run = digits.max(nines);
            let ends = !rest[1 + run..].starts_with(|next: char| next.is_ascii_digit());
            if run > 0 && ends {
                printed.push_str(&fraction(time, run, nines > 0));
                rest = &rest[1 + run..];
                continue;
            }
        }
        for (part, code) in PARTS {
            if !rest.starts_with(part) {
                continue;
            }
            if part.starts_with('Z') && time.offset().is_zero() {
                printed.push('Z');
            } else if part == "-07" {
                let _ = write!(printed, "{:+03}", time.offset().seconds() / 3600);
            } else {
                let _ = write!(printed, "{}", time.strftime(code));
            }
            rest = &rest[part.len()..];
            continue 'next;
        }
        printed.push(char);
        rest = &rest[char.len_utf8()..];
    }
    printed
}
