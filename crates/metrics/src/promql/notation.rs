use crate::series_store::Labels;

use super::syntax::{parse_duration, parse_labels};

/// One point of a series written down.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Point {
    /// No sample.
    Missing,
    /// A sample.
    Value(f64),
    /// The end of the series.
    Stale,
    /// A native histogram, which is recognised and not read.
    NativeHistogram,
}

/// A series as tests of rules and queries write it: labels, then points at equal distances.
///
/// `a+bxN` is `a` and N more, each `b` greater; `axN` is `a` and N more of it; `_xN` are N missing ones.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesNotation {
    /// What names the series.
    pub labels: Labels,
    /// The points.
    pub points: Vec<Point>,
}

/// What is no series notation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {text:?}")]
pub struct NotationError {
    what: &'static str,
    text: String,
}

impl NotationError {
    fn new(what: &'static str, text: &str) -> NotationError {
        NotationError {
            what,
            text: text.to_owned(),
        }
    }
}

/// More points than this in one item are a mistake.
const MAX_REPEATS: usize = 1_000_000;

impl SeriesNotation {
    /// Reads a line.
    ///
    /// # Errors
    /// Where the labels or a point are none.
    pub fn parse(line: &str) -> Result<SeriesNotation, NotationError> {
        let (labels, points) = line.trim().split_at(labels_end(line.trim()));
        Ok(SeriesNotation {
            labels: parse_labels(labels)
                .ok_or_else(|| NotationError::new("no labels of a series", labels))?,
            points: parse_points(points)?,
        })
    }
}

/// Where the labels end: after the closing brace, or the name where there are no braces.
fn labels_end(line: &str) -> usize {
    let mut quote: Option<char> = None;
    let mut escaped = false;
    let mut in_braces = false;
    for (at, char) in line.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if char == '\\' => escaped = true,
            Some(open) if char == open => quote = None,
            Some(_) => {}
            None if in_braces && matches!(char, '"' | '\'' | '`') => quote = Some(char),
            None if char == '{' => in_braces = true,
            None if char == '}' && in_braces => return at + 1,
            None if char.is_whitespace() && !in_braces => {
                // A blank may stand between name and brace, but two braces begin a histogram.
                let rest = line[at..].trim_start();
                if !rest.starts_with('{') || rest.starts_with("{{") {
                    return at;
                }
            }
            None => {}
        }
    }
    line.len()
}

fn parse_points(text: &str) -> Result<Vec<Point>, NotationError> {
    let mut points = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = item_end(rest);
        parse_item(&rest[..end], &mut points)?;
        rest = rest[end..].trim_start();
    }
    Ok(points)
}

/// Where an item ends: at a blank outside a histogram's braces.
fn item_end(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, char) in text.char_indices() {
        match char {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ if char.is_whitespace() && depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

fn parse_item(item: &str, points: &mut Vec<Point>) -> Result<(), NotationError> {
    let fault = || NotationError::new("no point of a series", item);
    let (value, repeats) = match item.rsplit_once('x') {
        Some((value, repeats))
            if repeats.bytes().all(|byte| byte.is_ascii_digit()) && !repeats.is_empty() =>
        {
            let repeats: usize = repeats.parse().map_err(|_| fault())?;
            (value, Some(repeats.min(MAX_REPEATS)))
        }
        _ => (item, None),
    };
    let times = repeats.map_or(1, |repeats| repeats + 1);
    if value == "_" {
        points.extend(std::iter::repeat_n(Point::Missing, repeats.unwrap_or(1)));
        return Ok(());
    }
    if value.eq_ignore_ascii_case("stale") {
        points.extend(std::iter::repeat_n(Point::Stale, times));
        return Ok(());
    }
    if value.starts_with("{{") {
        points.extend(std::iter::repeat_n(Point::NativeHistogram, times));
        return Ok(());
    }
    if let Some(value) = parse_float(value) {
        points.extend(std::iter::repeat_n(Point::Value(value), times));
        return Ok(());
    }
    let splits = value
        .char_indices()
        .skip(1)
        .filter(|(_, char)| matches!(char, '+' | '-'));
    let mut halves =
        splits.filter_map(|(at, _)| Some((parse_float(&value[..at])?, parse_float(&value[at..])?)));
    let (start, growth) = halves
        .next()
        .filter(|_| repeats.is_some())
        .ok_or_else(fault)?;
    let mut value = start;
    for _ in 0..times {
        points.push(Point::Value(value));
        value += growth;
    }
    Ok(())
}

/// A float as test files write it.
#[must_use]
pub fn parse_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = unsigned.starts_with(|char: char| char.is_ascii_digit() || char == '.')
        || unsigned.eq_ignore_ascii_case("inf")
        || unsigned.eq_ignore_ascii_case("nan");
    if is_number { text.parse().ok() } else { None }
}

/// A time or duration as test files write it: `1h30m`, or seconds; in milliseconds.
#[must_use]
pub fn parse_time(text: &str) -> Option<i64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(positive) => (true, positive),
        None => (false, text),
    };
    let milliseconds = match parse_float(text) {
        Some(seconds) => (seconds * 1000.0).round() as i64,
        None => parse_duration(text)?,
    };
    Some(if negative {
        -milliseconds
    } else {
        milliseconds
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read_as_written() {
        let series =
            SeriesNotation::parse(r#"up{job="a b"} 1 _x2 stale 0+10x2 5-1x1 1e+2 -.5 NaNx0 Inf"#)
                .expect("valid");
        assert_eq!(series.labels.to_string(), r#"{__name__="up", job="a b"}"#);
        let expected = [
            Point::Value(1.0),
            Point::Missing,
            Point::Missing,
            Point::Stale,
            Point::Value(0.0),
            Point::Value(10.0),
            Point::Value(20.0),
            Point::Value(5.0),
            Point::Value(4.0),
            Point::Value(100.0),
            Point::Value(-0.5),
        ];
        assert_eq!(series.points[..11], expected);
        assert!(matches!(series.points[11], Point::Value(value) if value.is_nan()));
        assert_eq!(series.points[12], Point::Value(f64::INFINITY));
    }

    #[test]
    fn native_histograms_are_recognised() {
        let series =
            SeriesNotation::parse("h {{sum:1 count:2}}+{{sum:1 count:1}}x2 0x1").expect("valid");
        assert_eq!(series.points.len(), 5);
        assert_eq!(series.points[0], Point::NativeHistogram);
        assert_eq!(series.points[4], Point::Value(0.0));
    }

    #[test]
    fn what_is_no_series_is_refused() {
        for line in ["up{a=\"b\"", "up x", "up 1+", "up 1+2", "up{a=~\"b\"} 1"] {
            assert!(SeriesNotation::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn times_are_durations_or_seconds() {
        assert_eq!(parse_time("1h30m"), Some(5_400_000));
        assert_eq!(parse_time("1.5"), Some(1500));
        assert_eq!(parse_time("-10"), Some(-10_000));
        assert_eq!(parse_time("x"), None);
    }
}
