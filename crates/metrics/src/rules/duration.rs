use std::time::Duration;

/// Reads a duration as Prometheus' files write it: `90s`, `1h30m`, `0`.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let milliseconds = crate::promql::parse_duration(text)?;
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

/// A duration as Prometheus prints it: `1h30m`. Years and weeks only where they are whole.
pub(crate) fn print(duration: Duration) -> String {
    const DAY: u128 = 24 * 60 * 60 * 1000;
    let units = [
        ("y", 365 * DAY, true),
        ("w", 7 * DAY, true),
        ("d", DAY, false),
        ("h", 60 * 60 * 1000, false),
        ("m", 60 * 1000, false),
        ("s", 1000, false),
        ("ms", 1, false),
    ];
    let mut left = duration.as_millis();
    let mut printed = String::new();
    for (unit, size, whole) in units {
        if left < size || (whole && !left.is_multiple_of(size)) {
            continue;
        }
        printed += &format!("{}{unit}", left / size);
        left %= size;
    }
    if printed.is_empty() {
        "0s".to_owned()
    } else {
        printed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_printed_as_prometheus_does() {
        for (text, printed) in [
            ("0", "0s"),
            ("90s", "1m30s"),
            ("1h30m", "1h30m"),
            ("14d", "2w"),
            ("10d", "10d"),
            ("1500ms", "1s500ms"),
        ] {
            assert_eq!(print(parse(text).expect(text)), printed);
        }
        for text in ["", "5", "-1m", "1x", "1m1h"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
