//! Reading quantities.

use super::{Format, MAX_BINARY_NANOS, MAX_NANOS, Quantity, QuantityError};

/// What a suffix multiplies with.
#[derive(Debug, Clone, Copy)]
enum Scale {
    Ten(i64, Format),
    /// The power of two, at most 60.
    Two(u32),
}

pub(super) fn parse(text: &str) -> Result<Quantity, QuantityError> {
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, rest) = split_digits(unsigned);
    let point = rest.strip_prefix('.');
    let (fraction, suffix) = point.map_or(("", rest), split_digits);
    if whole.is_empty() && point.is_none() {
        return Err(QuantityError::Format);
    }
    check_suffix_letters(suffix)?;
    if whole.is_empty() && fraction.is_empty() {
        return Err(QuantityError::Numeric);
    }
    let scale = scale_of(suffix)?;

    let mut digits: Vec<u8> = whole
        .bytes()
        .chain(fraction.bytes())
        .map(|digit| digit - b'0')
        .collect();
    let mut exponent = 9 - fraction.len() as i64;
    let (format, most) = match scale {
        Scale::Ten(power, format) => {
            exponent = exponent.saturating_add(power);
            (format, MAX_NANOS)
        }
        Scale::Two(power) => {
            digits = times_power_of_two(&digits, power);
            (Format::BinarySi, MAX_BINARY_NANOS)
        }
    };
    let nanos = scaled(&digits, exponent).min(most);
    // Less than one cannot be said with a binary suffix.
    let format = if format == Format::BinarySi && nanos < super::NANOS_PER_UNIT && nanos > 0 {
        Format::DecimalSi
    } else {
        format
    };
    Ok(Quantity {
        nanos: if negative { -nanos } else { nanos },
        format,
    })
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(end)
}

/// Checks that a suffix is letters of suffixes, perhaps a sign, and digits.
fn check_suffix_letters(suffix: &str) -> Result<(), QuantityError> {
    let rest = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    if rest.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(())
    } else {
        Err(QuantityError::Format)
    }
}

fn scale_of(suffix: &str) -> Result<Scale, QuantityError> {
    let ten = |power| Ok(Scale::Ten(power, Format::DecimalSi));
    match suffix {
        "n" => ten(-9),
        "u" => ten(-6),
        "m" => ten(-3),
        "" => ten(0),
        "k" => ten(3),
        "M" => ten(6),
        "G" => ten(9),
        "T" => ten(12),
        "P" => ten(15),
        "E" => ten(18),
        "Ki" => Ok(Scale::Two(10)),
        "Mi" => Ok(Scale::Two(20)),
        "Gi" => Ok(Scale::Two(30)),
        "Ti" => Ok(Scale::Two(40)),
        "Pi" => Ok(Scale::Two(50)),
        "Ei" => Ok(Scale::Two(60)),
        _ => {
            let power = suffix
                .strip_prefix(['e', 'E'])
                .ok_or(QuantityError::Suffix)?;
            let power: i64 = power.parse().map_err(|_| QuantityError::Suffix)?;
            Ok(Scale::Ten(power, Format::DecimalExponent))
        }
    }
}

/// Multiplies a decimal number, most significant digit first, with `2^power`, `power` at most 60.
fn times_power_of_two(digits: &[u8], power: u32) -> Vec<u8> {
    let mut product = Vec::with_capacity(digits.len() + 20);
    let mut carry: u128 = 0;
    for digit in digits.iter().rev() {
        let sum = (u128::from(*digit) << power) + carry;
        product.push((sum % 10) as u8);
        carry = sum / 10;
    }
    while carry > 0 {
        product.push((carry % 10) as u8);
        carry /= 10;
    }
    product.reverse();
    product
}

/// `digits × 10^exponent`, rounded up to a whole number, at most [`MAX_NANOS`].
fn scaled(digits: &[u8], exponent: i64) -> i128 {
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    let digits = &digits[leading..];
    let trailing = digits.iter().rev().take_while(|digit| **digit == 0).count();
    let digits = &digits[..digits.len() - trailing];
    let exponent = exponent.saturating_add(trailing as i64);
    if digits.is_empty() {
        return 0;
    }
    // The number of digits before the point.
    let length = exponent.saturating_add(digits.len() as i64);
    if length <= 0 {
        return 1;
    }
    if length > 39 {
        return MAX_NANOS;
    }
    let kept = digits.len().min(length as usize);
    let zeroes = length as usize - kept;
    // The last digit is not zero, so what is cut off is not nothing.
    let cut = kept < digits.len();
    let number = digits[..kept]
        .iter()
        .copied()
        .chain(std::iter::repeat_n(0, zeroes))
        .try_fold(0_i128, |number, digit| {
            number.checked_mul(10)?.checked_add(digit.into())
        });
    number.map_or(MAX_NANOS, |number| {
        number.saturating_add(cut.into()).min(MAX_NANOS)
    })
}
