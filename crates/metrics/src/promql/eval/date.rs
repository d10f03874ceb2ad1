//! Parts of dates in UTC, from seconds since the epoch.

use crate::promql::syntax::DatePart;

/// A part of the date and time a number of seconds stands for; NaN where it is none that a calendar has.
pub(super) fn part_of_date(part: DatePart, seconds: f64) -> f64 {
    // A year has 31,556,952 seconds on average: this is some 30 billion years.
    if !seconds.is_finite() || seconds.abs() > 1e18 {
        return f64::NAN;
    }
    let seconds = seconds.trunc() as i64;
    let (days, second_of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let value = match part {
        DatePart::Year => year,
        DatePart::Month => month,
        DatePart::DayOfMonth => day,
        // The epoch was a Thursday.
        DatePart::DayOfWeek => (days + 4).rem_euclid(7),
        DatePart::DayOfYear => days - days_before(year, 1) + 1,
        DatePart::DaysInMonth => {
            let (next_year, next_month) = if month == 12 {
                (year + 1, 1)
            } else {
                (year, month + 1)
            };
            days_before(next_year, next_month) - days_before(year, month)
        }
        DatePart::Hour => second_of_day / 3600,
        DatePart::Minute => second_of_day % 3600 / 60,
    };
    value as f64
}

/// Year, month and day of a number of days since the epoch, in the Gregorian calendar.
///
/// Years are counted from March, so that a leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    const ERA: i64 = 146_097;
    let since = days + 719_468;
    let era = since.div_euclid(ERA);
    let day_of_era = since.rem_euclid(ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / (ERA - 1)) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Days from the epoch to the first of a month.
fn days_before(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn dates_agree_with_the_calendar_library(seconds in -10_000_000_000_i64..100_000_000_000) {
            let date = jiff::Timestamp::from_second(seconds).expect("in range").to_zoned(jiff::tz::TimeZone::UTC);
            let part = |part| part_of_date(part, seconds as f64) as i64;
            prop_assert_eq!(part(DatePart::Year), i64::from(date.year()));
            prop_assert_eq!(part(DatePart::Month), i64::from(date.month()));
            prop_assert_eq!(part(DatePart::DayOfMonth), i64::from(date.day()));
            prop_assert_eq!(part(DatePart::DayOfYear), i64::from(date.day_of_year()));
            prop_assert_eq!(part(DatePart::DaysInMonth), i64::from(date.days_in_month()));
            prop_assert_eq!(part(DatePart::DayOfWeek), i64::from(date.weekday().to_sunday_zero_offset()));
            prop_assert_eq!(part(DatePart::Hour), i64::from(date.hour()));
            prop_assert_eq!(part(DatePart::Minute), i64::from(date.minute()));
        }
    }
}
