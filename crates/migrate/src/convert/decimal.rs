//! PostgreSQL's binary `numeric`: digits to the base 10,000, exactly as a decimal text writes them.

use super::{Refusal, refuse, shorten};

/// The most digits `numeric` takes before and after the point.
const MOST_WHOLE_DIGITS: i64 = 131_072;
const MOST_FRACTION_DIGITS: i64 = 16_383;

/// Appends the field of a decimal number such as `-12.50` or `1.5e-7`. The scale is that of the text;
/// with limits (precision, scale) it is theirs, and a number that they would round is refused.
pub(super) fn encode(
    text: &str,
    limits: Option<(u16, u16)>,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let Some(Decimal {
        negative,
        digits,
        point,
    }) = parse(text)
    else {
        return refuse(format!("{:?} is not a decimal number", shorten(text)));
    };
    // Zeros in front say nothing; zeros behind the point are kept as scale.
    let leading = digits.iter().take_while(|&&digit| digit == 0).count();
    let mut scale = (digits.len() as i64 - point).max(0);
    let whole_digits = point - leading as i64;
    let significant = &digits[leading.min(digits.len())..];
    if significant.is_empty() && negative {
        return refuse("negative zero has no counterpart in numeric");
    }
    if let Some((precision, limit)) = limits {
        let trailing = digits.iter().rev().take_while(|&&digit| digit == 0).count() as i64;
        let needed = if significant.is_empty() {
            0
        } else {
            (digits.len() as i64 - point - trailing).max(0)
        };
        if needed > i64::from(limit) {
            return refuse(format!(
                "{} has {needed} digits after the point, more than numeric({precision},{limit}) keeps",
                shorten(text)
            ));
        }
        if !significant.is_empty() && whole_digits > i64::from(precision) - i64::from(limit) {
            return refuse(format!(
                "{} has more digits before the point than numeric({precision},{limit}) holds",
                shorten(text)
            ));
        }
        scale = i64::from(limit);
    }
    if whole_digits > MOST_WHOLE_DIGITS || scale > MOST_FRACTION_DIGITS {
        return refuse("the number has more digits than numeric holds");
    }

    // The groups of four digits stand at fixed places relative to the point.
    let digit_at = |place: i64| {
        usize::try_from(place + point)
            .ok()
            .and_then(|index| digits.get(index))
            .copied()
            .unwrap_or(0)
    };
    let first_group = (leading as i64 - point).div_euclid(4);
    let end_group = (digits.len() as i64 - point + 3).div_euclid(4);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let count_at = out.len();
    out.extend_from_slice(&[0; 8]);
    let (mut groups, mut kept) = (0_i64, 0_usize);
    if !significant.is_empty() {
        for group in first_group..end_group {
            let value = (0..4).fold(0_u16, |value, digit| {
                value * 10 + u16::from(digit_at(group * 4 + digit))
            });
            out.extend_from_slice(&value.to_be_bytes());
            groups += 1;
            if value != 0 {
                kept = groups as usize;
            }
        }
    }
    // Groups of zeros at the end are left out.
    out.truncate(count_at + 8 + 2 * kept);
    let weight = if kept == 0 { 0 } else { -first_group - 1 };
    // A place before the point has a negative group number here: group −1 is the units'.
    out[count_at..count_at + 2].copy_from_slice(&(kept as i16).to_be_bytes());
    out[count_at + 2..count_at + 4].copy_from_slice(&(weight as i16).to_be_bytes());
    out[count_at + 4..count_at + 6]
        .copy_from_slice(&(if negative { 0x4000_u16 } else { 0 }).to_be_bytes());
    out[count_at + 6..count_at + 8].copy_from_slice(&(scale as i16).to_be_bytes());
    let length = (out.len() - count_at) as i32;
    out[start..count_at].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// A decimal number as PostgreSQL writes its `numeric`: without an exponent; none when it is no number.
pub(super) fn written(text: &str) -> Option<String> {
    let Decimal {
        negative,
        digits,
        point,
    } = parse(text)?;
    let leading = digits.iter().take_while(|&&digit| digit == 0).count() as i64;
    let scale = (digits.len() as i64 - point).max(0);
    let digit_at = |place: i64| {
        let digit = usize::try_from(place)
            .ok()
            .and_then(|place| digits.get(place));
        char::from(b'0' + digit.copied().unwrap_or(0))
    };
    let mut out = String::new();
    if negative && leading < digits.len() as i64 {
        out.push('-');
    }
    if leading >= point {
        out.push('0');
    } else {
        out.extend((leading..point).map(digit_at));
    }
    if scale > 0 {
        out.push('.');
        out.extend((point..point + scale).map(digit_at));
    }
    Some(out)
}

struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    /// How many of the digits stand before the point; may lie outside them.
    point: i64,
}

fn parse(text: &str) -> Option<Decimal> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (
            mantissa,
            exponent
                .parse::<i32>()
                .ok()
                .filter(|exponent| exponent.abs() <= 200_000)?,
        ),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let mut digits: Vec<u8> = whole
        .bytes()
        .chain(fraction.bytes())
        .map(|byte| byte - b'0')
        .collect();
    let point = whole.len() as i64 + i64::from(exponent);
    // An exponent that moves the point past the last digit fills up with zeros.
    if point > digits.len() as i64 {
        digits.resize(usize::try_from(point).ok()?, 0);
    }
    Some(Decimal {
        negative,
        digits,
        point,
    })
}
