//! Numbers as k6 prints them, with the unit that fits; times are cut, not rounded.

use crate::metric::ValueKind;

/// Cuts after `digits` digits, and drops zeros at the end.
pub(crate) fn cut(value: f64, digits: usize) -> String {
    let scale = 10_f64.powi(i32::try_from(digits).unwrap_or(0));
    let cut = (value * scale).trunc() / scale;
    without_zeros_at_end(&format!("{cut:.digits$}"))
}

fn without_zeros_at_end(text: &str) -> String {
    let kept = match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.'),
        None => text,
    };
    if kept == "-0" { "0" } else { kept }.to_owned()
}

/// Milliseconds with a unit: the given one (`s`, `ms`, `us`), or the one that fits.
pub(crate) fn time(milliseconds: f64, unit: Option<&str>) -> String {
    match unit {
        Some("s") => return format!("{:.2}s", milliseconds / 1000.0),
        Some("ms") => return format!("{milliseconds:.2}ms"),
        Some("us") => return format!("{:.2}µs", milliseconds * 1000.0),
        _ => {}
    }
    if milliseconds == 0.0 {
        return "0s".to_owned();
    }
    if milliseconds < 0.001 {
        return format!("{}ns", cut(milliseconds * 1e6, 0));
    }
    if milliseconds < 1.0 {
        return format!("{}µs", cut(milliseconds * 1000.0, 2));
    }
    if milliseconds < 1000.0 {
        return format!("{}ms", cut(milliseconds, 2));
    }
    let digits = if milliseconds > 60_000.0 { 0 } else { 2 };
    let seconds = cut(milliseconds % 60_000.0 / 1000.0, digits);
    let minutes = (milliseconds / 60_000.0).trunc();
    if minutes < 1.0 {
        return format!("{seconds}s");
    }
    let hours = (minutes / 60.0).trunc();
    if hours < 1.0 {
        return format!("{minutes}m{seconds}s");
    }
    format!("{hours}h{}m{seconds}s", minutes % 60.0)
}

/// Bytes in units of a thousand.
pub(crate) fn bytes(bytes: f64) -> String {
    if bytes < 10.0 {
        return format!("{bytes} B");
    }
    let mut value = bytes;
    let mut units = ["B", "kB", "MB", "GB", "TB", "PB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    let value = (value * 10.0).round() / 10.0;
    if value < 10.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// A part from 0 to 1 as a percentage of two digits, cut.
pub(crate) fn percent(part: f64) -> String {
    format!("{:.2}%", (part * 10_000.0 + 1e-9).trunc() / 100.0)
}

/// A number of at most six digits after the point, rounded.
pub(crate) fn plain(value: f64) -> String {
    without_zeros_at_end(&format!("{value:.6}"))
}

/// A value of a metric that holds such values.
pub(crate) fn value(value: f64, contains: ValueKind, unit: Option<&str>) -> String {
    match contains {
        ValueKind::Default => plain(value),
        ValueKind::Time => time(value, unit),
        ValueKind::Data => bytes(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_in_k6() {
        for (milliseconds, text) in [
            (0.0, "0s"),
            (0.000_712, "712ns"),
            (0.007_126, "7.12µs"),
            (5.5, "5.5ms"),
            (52.828, "52.82ms"),
            (999.999, "999.99ms"),
            (1500.0, "1.5s"),
            (61_000.0, "1m1s"),
            (3_723_000.0, "1h2m3s"),
        ] {
            assert_eq!(time(milliseconds, None), text);
        }
        assert_eq!(time(1234.567, Some("s")), "1.23s");
        assert_eq!(time(1.5, Some("us")), "1500.00µs");
        for (count, text) in [
            (0.0, "0 B"),
            (6214.0, "6.2 kB"),
            (150.0, "150 B"),
            (13_400.0, "13 kB"),
            (2.5e9, "2.5 GB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(percent(2.0 / 3.0), "66.66%");
        assert_eq!(percent(1.0), "100.00%");
        assert_eq!(cut(12.114_003_453, 6), "12.114003");
        assert_eq!(cut(7.0, 6), "7");
    }
}
