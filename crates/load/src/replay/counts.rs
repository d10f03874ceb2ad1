//! Lines of `time,count`.

use std::time::Duration;

use super::Burst;

/// The length of a lone line's period, for which no next line says when it ended.
const LONE_PERIOD: Duration = Duration::from_secs(60);

/// Collects lines of `time,count`, where the time is a date and time, or a number of seconds.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Seconds on whatever clock the file uses, and the count.
    lines: Vec<(f64, u64)>,
}

/// True for a line that is a time and a count.
pub(super) fn is_count(line: &str) -> bool {
    line.rsplit_once(',').is_some_and(|(time, count)| {
        seconds_of(time.trim()).is_some() && count.trim().parse::<u64>().is_ok()
    })
}

impl Reader {
    /// Takes a line; one that is a heading is passed over if it is the first.
    pub(super) fn take(&mut self, line: &str, first: bool) -> Result<(), String> {
        let (time, count) = line
            .rsplit_once(',')
            .ok_or("write a line like 2026-11-22 03:00:00,120: a time, a comma and a count")?;
        if first && !line.contains(|c: char| c.is_ascii_digit()) {
            return Ok(());
        }
        let seconds = seconds_of(time.trim()).ok_or_else(|| {
            format!("{time:?} is neither a date and time nor a number of seconds")
        })?;
        let count = count.trim().parse().map_err(|_| {
            format!("{count:?} is not a count: give a whole number of zero or more")
        })?;
        if let Some((before, _)) = self.lines.last()
            && *before >= seconds
        {
            return Err(format!("{time:?} does not come after the line before it"));
        }
        self.lines.push((seconds, count));
        Ok(())
    }

    /// The bursts: each lasts as long as the shortest way from one line to the next.
    pub(super) fn finish(self) -> Vec<Burst> {
        let Some(&(start, _)) = self.lines.first() else {
            return Vec::new();
        };
        let shortest = self
            .lines
            .windows(2)
            .map(|pair| pair[1].0 - pair[0].0)
            .reduce(f64::min);
        let period = shortest.map_or(LONE_PERIOD, seconds);
        self.lines
            .iter()
            .map(|&(at, count)| Burst {
                begin: seconds(at - start),
                // A gap in the file is a time for which nothing is known: nothing is sent then.
                length: period,
                count,
            })
            .collect()
    }
}

/// A time that was found to be positive; one beyond all measure is as long as there is.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// Seconds on the file's clock.
fn seconds_of(text: &str) -> Option<f64> {
    let text = text.trim_matches('"');
    if let Ok(seconds) = text.parse::<f64>() {
        return seconds.is_finite().then_some(seconds);
    }
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Some(instant.as_duration().as_secs_f64());
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    let instant = civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(instant.as_duration().as_secs_f64())
}
