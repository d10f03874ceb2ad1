//! Times of the week and year, as `time_intervals` write them.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;

/// A time interval as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawInterval {
    #[serde(default)]
    times: Vec<RawTimes>,
    #[serde(default)]
    weekdays: Vec<String>,
    #[serde(default)]
    days_of_month: Vec<String>,
    #[serde(default)]
    months: Vec<String>,
    #[serde(default)]
    years: Vec<String>,
    #[serde(default)]
    location: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTimes {
    start_time: String,
    end_time: String,
}

/// A span of time that recurs. Empty lists hold always.
#[derive(Debug, Clone)]
pub struct TimeInterval {
    /// Minutes of the day, the end not included.
    times: Vec<(i64, i64)>,
    /// 0 is Sunday.
    weekdays: Vec<(i64, i64)>,
    /// Negative days count from the month's end.
    days_of_month: Vec<(i64, i64)>,
    months: Vec<(i64, i64)>,
    years: Vec<(i64, i64)>,
    zone: TimeZone,
}

const WEEKDAYS: [&str; 7] = [
    "sunday",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
];

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

// === impl TimeInterval ===

impl TimeInterval {
    pub(crate) fn read(raw: &RawInterval) -> Result<TimeInterval, String> {
        let mut times = Vec::new();
        for range in &raw.times {
            let (start, end) = (minute(&range.start_time)?, minute(&range.end_time)?);
            if start >= end {
                return Err("start time cannot be equal or greater than end time".to_owned());
            }
            times.push((start, end));
        }
        let zone = match raw.location.as_deref() {
            None | Some("UTC" | "") => TimeZone::UTC,
            Some("Local") => TimeZone::system(),
            Some(name) => TimeZone::get(name)
                .map_err(|_| format!("unable to load location {name:?}: unknown time zone"))?,
        };
        Ok(TimeInterval {
            times,
            weekdays: ranges(&raw.weekdays, "weekday", 0, 6, &|text| {
                named(text, &WEEKDAYS, 0)
            })?,
            days_of_month: ranges(&raw.days_of_month, "day of month", -31, 31, &number)?,
            months: ranges(&raw.months, "month", 1, 12, &|text| {
                named(text, &MONTHS, 1).or_else(|| number(text))
            })?,
            years: ranges(&raw.years, "year", 0, 9999, &number)?,
            zone,
        })
    }

    /// Whether it holds at a time.
    #[must_use]
    pub fn contains(&self, time: Timestamp) -> bool {
        let date = time.to_zoned(self.zone.clone());
        let within = |ranges: &[(i64, i64)], value: i64| {
            ranges.is_empty()
                || ranges
                    .iter()
                    .any(|(from, to)| (*from..=*to).contains(&value))
        };
        let minute = i64::from(date.hour()) * 60 + i64::from(date.minute());
        let in_times = self.times.is_empty()
            || self
                .times
                .iter()
                .any(|(from, to)| (*from..*to).contains(&minute));
        let last = i64::from(date.days_in_month());
        let day = i64::from(date.day());
        let day_of = |bound: i64, least: i64| {
            if bound < 0 {
                (last + bound + 1).max(least)
            } else {
                bound
            }
        };
        let in_days = self.days_of_month.is_empty()
            || self
                .days_of_month
                .iter()
                .any(|(from, to)| (day_of(*from, 1)..=day_of(*to, 0).min(last)).contains(&day));
        in_times
            && in_days
            && within(
                &self.weekdays,
                i64::from(date.weekday().to_sunday_zero_offset()),
            )
            && within(&self.months, i64::from(date.month()))
            && within(&self.years, i64::from(date.year()))
    }
}

/// `HH:MM` as minutes.
fn minute(text: &str) -> Result<i64, String> {
    let fault = || format!("couldn't parse timestamp {text}, invalid format");
    let (hours, minutes) = text.split_once(':').ok_or_else(fault)?;
    let (hours, minutes): (i64, i64) = (
        hours.parse().map_err(|_| fault())?,
        minutes.parse().map_err(|_| fault())?,
    );
    let total = hours * 60 + minutes;
    if !(0..60).contains(&minutes) || !(0..=24 * 60).contains(&total) || hours < 0 {
        return Err(fault());
    }
    Ok(total)
}

fn named(text: &str, names: &[&str], first: i64) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let at = names.iter().position(|name| *name == lower)?;
    Some(at as i64 + first)
}

fn number(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Ranges `from:to`, or single values.
fn ranges(
    texts: &[String],
    what: &str,
    least: i64,
    most: i64,
    read: &dyn Fn(&str) -> Option<i64>,
) -> Result<Vec<(i64, i64)>, String> {
    let mut ranges = Vec::new();
    for text in texts {
        let (from, to) = text.split_once(':').unwrap_or((text, text));
        let (Some(from), Some(to)) = (read(from.trim()), read(to.trim())) else {
            return Err(format!("{text} is not a valid {what}"));
        };
        let in_bounds = |value: i64| (least..=most).contains(&value) && (value != 0 || least >= 0);
        if !in_bounds(from) || !in_bounds(to) {
            return Err(format!("{text} is not a valid {what}: out of range"));
        }
        let same_side = (from < 0) == (to < 0);
        if (same_side && from > to) || (from < 0 && to > 0) {
            return Err(format!("{what} range {text}: the start is after the end"));
        }
        ranges.push((from, to));
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(yaml: &str) -> Result<TimeInterval, String> {
        let raw: RawInterval = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        TimeInterval::read(&raw)
    }

    #[test]
    fn intervals_hold_when_all_their_parts_do() {
        for (yaml, time, expected) in [
            (
                "times: [{start_time: '09:00', end_time: '17:00'}]",
                "2026-01-02T09:00:00Z",
                true,
            ),
            (
                "times: [{start_time: '09:00', end_time: '17:00'}]",
                "2026-01-02T17:00:00Z",
                false,
            ),
            (
                "times: [{start_time: '23:00', end_time: '24:00'}]",
                "2026-01-02T23:59:59Z",
                true,
            ),
            ("weekdays: ['monday:friday']", "2026-01-02T00:00:00Z", true),
            (
                "weekdays: [Saturday, sunday]",
                "2026-01-02T00:00:00Z",
                false,
            ),
            ("days_of_month: ['-1']", "2026-02-28T00:00:00Z", true),
            ("days_of_month: ['-1']", "2026-02-27T00:00:00Z", false),
            (
                "days_of_month: ['1:5', '-3:-1']",
                "2026-01-30T00:00:00Z",
                true,
            ),
            (
                "{months: ['january:march'], years: ['2026']}",
                "2026-03-31T00:00:00Z",
                true,
            ),
            ("{months: ['4']}", "2026-03-31T00:00:00Z", false),
            (
                "{times: [{start_time: '00:00', end_time: '01:00'}], location: Europe/Berlin}",
                "2026-01-01T23:30:00Z",
                true,
            ),
            ("{}", "2026-03-31T00:00:00Z", true),
        ] {
            let interval = interval(yaml).expect(yaml);
            assert_eq!(
                interval.contains(time.parse().expect("a time")),
                expected,
                "{yaml} {time}"
            );
        }
        for yaml in [
            "times: [{start_time: '17:00', end_time: '09:00'}]",
            "weekdays: [someday]",
            "days_of_month: ['0']",
            "days_of_month: ['5:1']",
            "months: ['13']",
            "location: Nowhere/Land",
        ] {
            assert!(interval(yaml).is_err(), "{yaml}");
        }
    }
}
