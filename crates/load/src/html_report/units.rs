//! Numbers as the report writes them: three digits and a unit.

use std::time::Duration;

use crate::metric::milliseconds;
use crate::summary::numbers;

/// What the numbers of a chart are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// So many a second.
    PerSecond,
    /// Milliseconds.
    Time,
    /// So many.
    Count,
    /// Percent of what was requested.
    Percent,
    /// Cores, bytes, requests a second: whatever an autoscaler's metric is.
    Amount,
}

impl Unit {
    /// The number with its unit.
    pub(super) fn text(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{}/s", significant(value)),
            Self::Time => time(value),
            Self::Count | Self::Amount => significant(value),
            Self::Percent => format!("{} %", significant(value)),
        }
    }

    /// True if there is nothing between one number and the next.
    pub(super) fn is_whole(self) -> bool {
        self == Self::Count
    }
}

/// Milliseconds, in the unit that fits, to three digits.
pub(super) fn time(milliseconds: f64) -> String {
    if milliseconds >= 60_000.0 {
        return numbers::time(milliseconds.round(), None);
    }
    let (value, unit) = if milliseconds >= 1000.0 {
        (milliseconds / 1000.0, "s")
    } else if milliseconds >= 1.0 || milliseconds == 0.0 {
        (milliseconds, "ms")
    } else {
        (milliseconds * 1000.0, "µs")
    };
    format!("{} {unit}", significant(value))
}

/// A number to three digits; whole where it has more before its point.
pub(super) fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to what fits"
    )]
    let digits = (2.0 - magnitude).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.digits$}");
    if digits == 0 {
        return grouped(&text);
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A whole number with a thin space between groups of three digits.
pub(super) fn grouped(digits: &str) -> String {
    let (sign, digits) = digits
        .strip_prefix('-')
        .map_or(("", digits), |digits| ("-", digits));
    let mut text = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{2009}');
        }
        text.push(digit);
    }
    text
}

/// A count.
pub(super) fn count(count: f64) -> String {
    grouped(&format!("{count:.0}"))
}

/// A part from 0 to 1 as a percentage. What is not all of it never reads as all, nor what is not nothing as nothing.
pub(super) fn part(part: f64) -> String {
    let percent = part * 100.0;
    if percent > 0.0 && percent < 0.01 {
        return "< 0.01 %".to_owned();
    }
    if percent < 100.0 && percent > 99.99 {
        return "> 99.99 %".to_owned();
    }
    format!(
        "{} %",
        format!("{percent:.2}")
            .trim_end_matches('0')
            .trim_end_matches('.')
    )
}

/// A moment of the run: `1:05`, `1:02:05`.
pub(super) fn moment(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// How long something took: `850 ms`, `12.3 s`, `1m5s`.
pub(super) fn length(length: Duration) -> String {
    time(milliseconds(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.012_34, "0.0123"),
            (1.0, "1"),
            (9.996, "10"),
            (12.345, "12.3"),
            (123.45, "123"),
            (1234.5, "1\u{2009}234"),
            (-1_234_567.0, "-1\u{2009}234\u{2009}567"),
        ] {
            assert_eq!(significant(value), text);
        }
        for (value, text) in [
            (0.25, "250 µs"),
            (52.828, "52.8 ms"),
            (1500.0, "1.5 s"),
            (61_000.0, "1m1s"),
        ] {
            assert_eq!(time(value), text);
        }
        for (value, text) in [
            (0.0, "0 %"),
            (1.0, "100 %"),
            (0.999_99, "> 99.99 %"),
            (0.000_01, "< 0.01 %"),
            (0.0123, "1.23 %"),
        ] {
            assert_eq!(part(value), text);
        }
        assert_eq!(moment(Duration::from_secs(65)), "1:05");
        assert_eq!(moment(Duration::from_secs(3725)), "1:02:05");
    }
}
