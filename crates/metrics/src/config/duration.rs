use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::promql::parse_duration;

/// A length of time as Prometheus writes it: `1h30m`, `15s`, `0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PromDuration(Duration);

// === impl PromDuration ===

impl PromDuration {
    /// A number of seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> PromDuration {
        PromDuration(Duration::from_secs(seconds))
    }

    /// Reads the text form; `None` where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<PromDuration> {
        if text == "0" {
            return Some(PromDuration::default());
        }
        let millis = u64::try_from(parse_duration(text)?).ok()?;
        Some(PromDuration(Duration::from_millis(millis)))
    }

    /// The length.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }

    /// The length in whole milliseconds.
    #[must_use]
    pub fn millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

impl From<Duration> for PromDuration {
    fn from(duration: Duration) -> PromDuration {
        PromDuration(duration)
    }
}

impl fmt::Display for PromDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u128, bool); 7] = [
            ("y", 365 * 86_400_000, true),
            ("w", 7 * 86_400_000, true),
            ("d", 86_400_000, false),
            ("h", 3_600_000, false),
            ("m", 60_000, false),
            ("s", 1000, false),
            ("ms", 1, false),
        ];
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, millis, only_exact) in UNITS {
            let count = rest / millis;
            if count > 0 && (!only_exact || rest.is_multiple_of(millis)) {
                write!(f, "{count}{unit}")?;
                rest -= count * millis;
            }
        }
        Ok(())
    }
}

impl Serialize for PromDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PromDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PromDuration, D::Error> {
        let text = String::deserialize(deserializer)?;
        PromDuration::parse(&text).ok_or_else(|| {
            let reason = format!(
                "not a valid duration string: {text:?}; write for example 15s, 5m or 1h30m"
            );
            serde::de::Error::custom(reason)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_prometheus_has_them() {
        for (text, millis, printed) in [
            ("15s", 15_000, "15s"),
            ("90m", 5_400_000, "1h30m"),
            ("14d", 1_209_600_000, "2w"),
            ("15d", 1_296_000_000, "15d"),
            ("1y", 31_536_000_000, "1y"),
            ("0", 0, "0s"),
            ("1h0m0s5ms", 3_600_005, "1h5ms"),
        ] {
            let duration = PromDuration::parse(text).expect(text);
            assert_eq!(duration.millis(), millis, "{text}");
            assert_eq!(duration.to_string(), printed);
        }
        for text in ["", "1", "s", "-1s", "1s1h", "1.5h", "1 h"] {
            assert_eq!(PromDuration::parse(text), None, "{text}");
        }
    }
}
