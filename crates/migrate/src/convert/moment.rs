//! Dates and times: their texts and numbers in SQLite, PostgreSQL's binary form of them.

use rusqlite::types::ValueRef;

use super::{Refusal, fixed, refuse, shorten, valid_text, wrong_class};
use crate::plan::{Conversion, TargetType, Zone};

const MICROS_OF_DAY: i64 = 86_400_000_000;
/// Days and microseconds from 1970-01-01 to 2000-01-01, PostgreSQL's beginning.
const EPOCH_DAYS: i64 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS * MICROS_OF_DAY;
/// What PostgreSQL's timestamps hold: from 4713 BC up to, but without, the year 294277.
const TIMESTAMPS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;
/// Milliseconds from the Julian day's beginning to 1970-01-01.
const JULIAN_MILLIS: i64 = 210_866_760_000_000;
/// The last Julian day that SQLite's date functions take, in milliseconds: the end of the year 9999.
const LAST_JULIAN_MILLIS: i64 = 464_269_060_799_999;

/// A point in time as read: microseconds since 1970-01-01 00:00:00, and which parts were written.
struct Moment {
    micros: i64,
    has_date: bool,
    has_time: bool,
    has_zone: bool,
}

pub(super) fn encode(
    conversion: &Conversion,
    type_: &TargetType,
    value: ValueRef<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    match (conversion, value) {
        (Conversion::DateFromText, ValueRef::Text(text)) => match date(text) {
            Some(days) => write_date(days, out),
            None => wrong_text(text, "a date written YYYY-MM-DD"),
        },
        (Conversion::TimeFromText(_), ValueRef::Text(text)) => match read_any(text) {
            Some(time) if time.has_time && !time.has_date && !time.has_zone => {
                fixed(&time.micros.to_be_bytes(), out)
            }
            _ => wrong_text(text, "a time of day without a date and a zone"),
        },
        (Conversion::TimestampFromText(format), ValueRef::Text(text)) => {
            let zoned = format.zone != Zone::None;
            match read_any(text) {
                // What was written after the plan was made may have other digits; the moment is what is kept.
                Some(read) if read.has_date && read.has_time && read.has_zone == zoned => {
                    write_micros(read.micros, out)
                }
                _ if zoned => wrong_text(text, "a date and time with a zone"),
                _ => wrong_text(text, "a date and time without a zone"),
            }
        }
        (Conversion::DateTimeFromAnyText, ValueRef::Text(text)) => {
            any_text(type_, valid_text(text)?, out)
        }
        (Conversion::UnixSeconds, ValueRef::Integer(seconds)) => {
            unix(type_, seconds.checked_mul(1_000_000), out)
        }
        (Conversion::UnixSeconds, ValueRef::Real(seconds)) => {
            let micros = (seconds * 1e6).round();
            let exact = micros.abs() < 9e18 && (micros / 1e6).to_bits() == seconds.to_bits();
            if !exact {
                return refuse(format!("microseconds do not hold {seconds:?} s exactly"));
            }
            unix(type_, Some(micros as i64), out)
        }
        (Conversion::UnixMillis, ValueRef::Integer(millis)) => {
            unix(type_, millis.checked_mul(1_000), out)
        }
        (Conversion::UnixMicros, ValueRef::Integer(micros)) => unix(type_, Some(micros), out),
        (Conversion::JulianDay, ValueRef::Integer(day)) => julian(type_, day as f64, out),
        (Conversion::JulianDay, ValueRef::Real(day)) => julian(type_, day, out),
        (Conversion::UnixMillis | Conversion::UnixMicros, other) => {
            wrong_class(other, "an integer count of time")
        }
        (Conversion::UnixSeconds | Conversion::JulianDay, other) => wrong_class(other, "a number"),
        (_, other) => wrong_class(other, "the text of a date or time"),
    }
}

fn wrong_text<T>(text: &[u8], wanted: &str) -> Result<T, Refusal> {
    refuse(format!(
        "{:?} is not {wanted}",
        shorten(&String::from_utf8_lossy(text))
    ))
}

fn write_date(days: i64, out: &mut Vec<u8>) -> Result<(), Refusal> {
    // From 4713 BC on; the last year PostgreSQL holds is beyond what SQLite writes.
    match i32::try_from(days - EPOCH_DAYS) {
        Ok(days) if (-2_451_545..=2_145_031_948).contains(&days) => fixed(&days.to_be_bytes(), out),
        _ => refuse("the date is outside of what PostgreSQL holds"),
    }
}

fn write_micros(micros: i64, out: &mut Vec<u8>) -> Result<(), Refusal> {
    match micros.checked_sub(EPOCH_MICROS) {
        Some(micros) if TIMESTAMPS.contains(&micros) => fixed(&micros.to_be_bytes(), out),
        _ => refuse("the time is outside of what PostgreSQL's timestamps hold"),
    }
}

fn unix(type_: &TargetType, micros: Option<i64>, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let Some(micros) = micros else {
        return refuse("the time is outside of what PostgreSQL's timestamps hold");
    };
    match type_ {
        TargetType::Date if micros % MICROS_OF_DAY != 0 => {
            refuse("a date cannot keep the time of day")
        }
        TargetType::Date => write_date(micros / MICROS_OF_DAY, out),
        _ => write_micros(micros, out),
    }
}

fn julian(type_: &TargetType, day: f64, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let millis = (day * 86_400_000.0 + 0.5).floor();
    if !(0.0..=LAST_JULIAN_MILLIS as f64).contains(&millis) {
        return refuse(format!(
            "{day:?} is no Julian day that SQLite's date functions take"
        ));
    }
    unix(type_, Some((millis as i64 - JULIAN_MILLIS) * 1_000), out)
}

/// Two digits.
fn two(text: &[u8]) -> Option<i64> {
    match text {
        [tens @ b'0'..=b'9', units @ b'0'..=b'9'] => {
            Some(i64::from(tens - b'0') * 10 + i64::from(units - b'0'))
        }
        _ => None,
    }
}

/// Days since 1970-01-01 of a text `YYYY-MM-DD`.
fn date(text: &[u8]) -> Option<i64> {
    if text.len() != 10 || text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = two(&text[..2])? * 100 + two(&text[2..4])?;
    let (month, day) = (two(&text[5..7])?, two(&text[8..])?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=days_of_month)
        .contains(&day)
        .then(|| days_of(year, month, day))
}

/// Days since 1970-01-01 in the Gregorian calendar, carried backwards as both programs do. Counted in
/// eras of 400 years from March on, so that the leap day is a year's last.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Microseconds since midnight of a text `HH:MM[:SS[.fff…]]`.
fn clock(text: &[u8]) -> Option<i64> {
    let (minutes, seconds, fraction) = match text.len() {
        5 => (text, 0, 0),
        8 => (&text[..5], seconds(&text[5..])?, 0),
        10.. if text[8] == b'.' => {
            let fraction = fraction_micros(&text[9..])?;
            (&text[..5], seconds(&text[5..8])?, fraction)
        }
        _ => return None,
    };
    let (hours, minutes) = (
        two(&minutes[..2])?,
        (minutes[2] == b':').then(|| two(&minutes[3..]))??,
    );
    (hours < 24 && minutes < 60 && seconds < 60)
        .then_some(((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + fraction)
}

/// The seconds of a text `:SS`.
fn seconds(text: &[u8]) -> Option<i64> {
    text.strip_prefix(b":").and_then(two)
}

/// Microseconds of the digits behind the point; none when they say more than microseconds.
fn fraction_micros(digits: &[u8]) -> Option<i64> {
    let mut micros = 0;
    for (place, &digit) in digits.iter().enumerate() {
        if !digit.is_ascii_digit() || (place >= 6 && digit != b'0') {
            return None;
        }
        if place < 6 {
            micros = micros * 10 + i64::from(digit - b'0');
        }
    }
    let missing = 6_u32.saturating_sub(u32::try_from(digits.len()).ok()?);
    (!digits.is_empty()).then_some(micros * 10_i64.pow(missing))
}

/// Any of the forms that SQLite's date functions read, but for `now` and bare numbers.
fn any_text(type_: &TargetType, text: &str, out: &mut Vec<u8>) -> Result<(), Refusal> {
    let Some(moment) = read_any(text.as_bytes()) else {
        return wrong_text(text.as_bytes(), "a date or time within microseconds");
    };
    let Moment {
        micros,
        has_date,
        has_time,
        has_zone,
    } = moment;
    match type_ {
        TargetType::Date if has_time => refuse(format!(
            "{:?} has a time of day, which a date cannot keep",
            shorten(text)
        )),
        TargetType::Date => write_date(micros.div_euclid(MICROS_OF_DAY), out),
        TargetType::Time if has_date || has_zone => refuse(format!(
            "{:?} has a date or zone, which a time cannot keep",
            shorten(text)
        )),
        TargetType::Time => fixed(&micros.to_be_bytes(), out),
        _ if !has_date => refuse(format!("{:?} has no date", shorten(text))),
        _ => write_micros(micros, out),
    }
}

fn read_any(text: &[u8]) -> Option<Moment> {
    let days = text.get(..10).and_then(date);
    let rest = match days {
        Some(_) if text.len() == 10 => {
            return Some(Moment {
                micros: days? * MICROS_OF_DAY,
                has_date: true,
                has_time: false,
                has_zone: false,
            });
        }
        Some(_) => match text[10] {
            b' ' | b'T' => &text[11..],
            _ => return None,
        },
        None => text,
    };
    let (time, zone_minutes) = split_zone(rest)?;
    let offset = zone_minutes.unwrap_or(0) * 60_000_000;
    let micros = days.unwrap_or(0) * MICROS_OF_DAY + clock(time)? - offset;
    Some(Moment {
        micros,
        has_date: days.is_some(),
        has_time: true,
        has_zone: zone_minutes.is_some(),
    })
}

/// Takes `Z`, `+HH:MM` or `-HH:MM` off the end; minutes east of Greenwich.
fn split_zone(text: &[u8]) -> Option<(&[u8], Option<i64>)> {
    if let Some(clock) = text.strip_suffix(b"Z").or_else(|| text.strip_suffix(b"z")) {
        return Some((clock.trim_ascii_end(), Some(0)));
    }
    let Some(at) = text.len().checked_sub(6) else {
        return Some((text, None));
    };
    let (clock, zone) = text.split_at(at);
    let sign = match zone[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return Some((text, None)),
    };
    let (hours, minutes) = (two(&zone[1..3])?, two(&zone[4..])?);
    (zone[3] == b':' && hours <= 14 && minutes < 60)
        .then_some((clock.trim_ascii_end(), Some(sign * (hours * 60 + minutes))))
}
