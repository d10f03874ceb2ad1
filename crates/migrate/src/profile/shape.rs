use super::Watch;
use crate::plan::{DateTimeFormat, Fraction, Separator, Zone};

/// What a text looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// `YYYY-MM-DD`, a day of the calendar from year 1 to 9999.
    Date,
    /// `HH:MM[:SS[.fff]]`
    Time(DateTimeFormat),
    /// A date and a time.
    DateTime(DateTimeFormat),
    /// 32 hexadecimal digits of one case; digits alone count as lower case.
    Uuid {
        /// Whether digits above 9 are capital letters.
        uppercase: bool,
        /// Whether the groups are parted by hyphens.
        hyphens: bool,
    },
    /// Valid JSON.
    Json,
    /// One short word, in a column of booleans.
    Word(String),
    /// Anything else.
    Other,
}

/// Finds the shape that matters for the column.
#[must_use]
pub fn shape(text: &str, watch: Watch) -> Shape {
    let found = match watch {
        Watch::Date | Watch::Time | Watch::DateTime => date_or_time(text),
        Watch::Boolean if text.len() <= 8 => Some(Shape::Word(text.to_owned())),
        Watch::Uuid => uuid(text),
        Watch::Json => serde_json::from_str::<serde::de::IgnoredAny>(text)
            .is_ok()
            .then_some(Shape::Json),
        Watch::Plain | Watch::Boolean | Watch::Decimal => None,
    };
    found.unwrap_or(Shape::Other)
}

fn date_or_time(text: &str) -> Option<Shape> {
    let bytes = text.as_bytes();
    if bytes.get(2) == Some(&b':') {
        return time(text, Separator::Space)
            .filter(|format| format.zone == Zone::None)
            .map(Shape::Time);
    }
    let date = text.get(..10)?;
    if !is_date(date) {
        return None;
    }
    let separator = match bytes.get(10) {
        None => return Some(Shape::Date),
        Some(b' ') => Separator::Space,
        Some(b'T') => Separator::T,
        Some(_) => return None,
    };
    time(text.get(11..)?, separator).map(Shape::DateTime)
}

/// Whether a text is `YYYY-MM-DD` and names a day of the calendar from year 1 on.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return false;
    }
    let (Some(year), Some(month), Some(day)) = (
        number(&bytes[..4]),
        number(&bytes[5..7]),
        number(&bytes[8..]),
    ) else {
        return false;
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => return false,
    };
    year >= 1 && (1..=days).contains(&day)
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + u32::from(digit - b'0'))
    })
}

fn time(text: &str, separator: Separator) -> Option<DateTimeFormat> {
    let (text, zone) = if let Some(text) = text.strip_suffix('Z') {
        (text, Zone::Z)
    } else if let Some(text) = text.strip_suffix("+00:00") {
        (text, Zone::Zero)
    } else {
        (text, Zone::None)
    };
    let bytes = text.as_bytes();
    let in_range = |range: std::ops::Range<usize>, most: u32| {
        bytes
            .get(range)
            .and_then(number)
            .is_some_and(|value| value <= most)
    };
    if !in_range(0..2, 23) || bytes.get(2) != Some(&b':') || !in_range(3..5, 59) {
        return None;
    }
    let plain = DateTimeFormat {
        separator,
        seconds: false,
        fraction: Fraction::None,
        zone,
    };
    if bytes.len() == 5 {
        return Some(plain);
    }
    if bytes[5] != b':' || !in_range(6..8, 59) {
        return None;
    }
    let fraction = match &bytes[8..] {
        [] => Fraction::None,
        [b'.', digits @ ..]
            if (1..=6).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) =>
        {
            Fraction::Digits(u8::try_from(digits.len()).ok()?)
        }
        _ => return None,
    };
    Some(DateTimeFormat {
        seconds: true,
        fraction,
        ..plain
    })
}

fn uuid(text: &str) -> Option<Shape> {
    let hyphens = text.len() == 36;
    if text.len() != 32 && !hyphens {
        return None;
    }
    let (mut upper, mut lower) = (false, false);
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            b'-' if hyphens && matches!(place, 8 | 13 | 18 | 23) => {}
            _ if hyphens && matches!(place, 8 | 13 | 18 | 23) => return None,
            b'0'..=b'9' => {}
            b'a'..=b'f' => lower = true,
            b'A'..=b'F' => upper = true,
            _ => return None,
        }
    }
    (!(upper && lower)).then_some(Shape::Uuid {
        uppercase: upper,
        hyphens,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_of_the_calendar_are_dates() {
        for (text, is) in [
            ("2024-02-29", true),
            ("2023-02-29", false),
            ("1900-02-29", false),
            ("2000-02-29", true),
            ("0000-01-01", false),
            ("2024-00-10", false),
            ("2024-13-01", false),
            ("2024-04-31", false),
            ("2024-1-01", false),
            ("24-01-01", false),
            ("2024-01-01 ", false),
        ] {
            assert_eq!(shape(text, Watch::Date) == Shape::Date, is, "{text}");
        }
    }

    #[test]
    fn the_format_of_a_time_is_seen_in_every_part() {
        let format = |separator, seconds, fraction, zone| {
            Shape::DateTime(DateTimeFormat {
                separator,
                seconds,
                fraction,
                zone,
            })
        };
        for (text, expected) in [
            (
                "2024-01-31 12:34:56",
                format(Separator::Space, true, Fraction::None, Zone::None),
            ),
            (
                "2024-01-31T12:34:56.789Z",
                format(Separator::T, true, Fraction::Digits(3), Zone::Z),
            ),
            (
                "2024-01-31 12:34",
                format(Separator::Space, false, Fraction::None, Zone::None),
            ),
            (
                "2024-01-31 12:34:56.123456+00:00",
                format(Separator::Space, true, Fraction::Digits(6), Zone::Zero),
            ),
            ("2024-01-31 24:00:00", Shape::Other),
            ("2024-01-31 12:34:60", Shape::Other),
            ("2024-01-31 12:34:56.1234567", Shape::Other),
            ("2024-01-31 12:34:56+02:00", Shape::Other),
            ("2024-01-31_12:34:56", Shape::Other),
            ("2024-01-31 é2:34", Shape::Other),
            ("é", Shape::Other),
            ("", Shape::Other),
        ] {
            assert_eq!(shape(text, Watch::DateTime), expected, "{text}");
        }
    }

    #[test]
    fn a_uuid_is_of_one_case() {
        let is = |text| shape(text, Watch::Uuid);
        assert_eq!(
            is("67e55044-10b1-426f-9247-bb680e5fe0c8"),
            Shape::Uuid {
                uppercase: false,
                hyphens: true
            }
        );
        assert_eq!(
            is("67E5504410B1426F9247BB680E5FE0C8"),
            Shape::Uuid {
                uppercase: true,
                hyphens: false
            }
        );
        assert_eq!(is("67E55044-10b1-426f-9247-bb680e5fe0c8"), Shape::Other);
        assert_eq!(is("67e55044-10b1-426f-9247bb680e5fe0c8-"), Shape::Other);
        assert_eq!(is("{7e55044-10b1-426f-9247-bb680e5fe0c}"), Shape::Other);
    }
}
