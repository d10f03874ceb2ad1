//! Numbers as Go prints them, for label values and messages that must read as Prometheus writes them.

/// As `strconv.FormatFloat(value, 'f', -1, 64)`: the shortest digits that name the number, never an exponent.
pub(crate) fn plain(value: f64) -> String {
    special(value).map_or_else(|| format!("{value}"), str::to_owned)
}

/// As `fmt`'s `%g`: the shortest digits, with an exponent below 1e-4 and from 1e6 on.
pub(crate) fn shortest(value: f64) -> String {
    if let Some(name) = special(value) {
        return name.to_owned();
    }
    let exponential = format!("{value:e}");
    let Some((digits, exponent)) = exponential.split_once('e') else {
        return exponential;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// As `strconv.FormatFloat(value, 'e', -1, 64)`: the shortest digits, always with an exponent.
pub(crate) fn exponential_shortest(value: f64) -> String {
    if let Some(name) = special(value) {
        return name.to_owned();
    }
    let exponential = format!("{value:e}");
    let Some((digits, exponent)) = exponential.split_once('e') else {
        return exponential;
    };
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// As OpenMetrics writes numbers in label values: always with a point or an exponent.
pub(crate) fn open_metrics(value: f64) -> String {
    let text = shortest(value);
    if text.contains(['.', 'e', 'N', 'I']) {
        return text;
    }
    format!("{text}.0")
}

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value == f64::INFINITY {
        Some("+Inf")
    } else if value == f64::NEG_INFINITY {
        Some("-Inf")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_go_prints_them() {
        for (value, in_full, short, open) in [
            (0.0, "0", "0", "0.0"),
            (1.0, "1", "1", "1.0"),
            (-0.1, "-0.1", "-0.1", "-0.1"),
            (
                1.5e300,
                &format!("15{}", "0".repeat(299)),
                "1.5e+300",
                "1.5e+300",
            ),
            (1e-7, "0.0000001", "1e-07", "1e-07"),
            (
                123_456_789.0,
                "123456789",
                "1.23456789e+08",
                "1.23456789e+08",
            ),
            (f64::NAN, "NaN", "NaN", "NaN"),
            (f64::INFINITY, "+Inf", "+Inf", "+Inf"),
        ] {
            assert_eq!(
                (
                    plain(value).as_str(),
                    shortest(value).as_str(),
                    open_metrics(value).as_str()
                ),
                (in_full, short, open)
            );
        }
    }
}
