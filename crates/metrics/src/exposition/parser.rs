use std::borrow::Cow;

use super::protobuf::{as_text, bound};
use super::{Format, MetricKind, is_legacy_label_name, is_legacy_metric_name};
use crate::series_store::METRIC_NAME;

/// Why a body is none of the format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A line of a text format.
    #[error("line {line}: {reason}: {text:?}")]
    Line {
        /// Which, from one.
        line: usize,
        /// What is wrong with it.
        reason: String,
        /// The line, cut short.
        text: String,
    },
    /// Bytes that are no UTF-8.
    #[error("line {line} is not UTF-8")]
    NotUtf8 {
        /// The line they are in, from one.
        line: usize,
    },
    /// OpenMetrics' last line is missing: the body was cut short.
    #[error("data does not end with # EOF")]
    NoEof,
    /// A protobuf body.
    #[error("protobuf: {0}")]
    Protobuf(String),
}

impl ParseError {
    pub(super) fn protobuf(reason: String) -> ParseError {
        ParseError::Protobuf(reason)
    }
}

/// One thing that a body says.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry<'a> {
    /// What kind of metric a family is.
    Type {
        /// The family's name.
        family: Cow<'a, str>,
        /// Its kind.
        kind: MetricKind,
    },
    /// What a family measures.
    Help {
        /// The family's name.
        family: Cow<'a, str>,
        /// The text.
        text: Cow<'a, str>,
    },
    /// The unit of a family's values.
    Unit {
        /// The family's name.
        family: Cow<'a, str>,
        /// The unit; may be empty.
        unit: &'a str,
    },
    /// A sample.
    Sample(SampleEntry<'a>),
}

/// One sample. Its labels are read by [`series_labels`], which a scraper need only do the first time it meets
/// a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleEntry<'a> {
    /// The series as it is written: name and braces.
    pub series: &'a str,
    /// The kind said last, by which bounds are spelled.
    pub kind: MetricKind,
    /// The value.
    pub value: f64,
    /// When it was measured, in milliseconds since the epoch, where the line says so.
    pub time: Option<i64>,
    /// The line, from one.
    pub line: usize,
}

/// A body as text, and the text's format: protobuf is rewritten, so that one reader serves all.
///
/// # Errors
/// Where the body is no UTF-8 or no protobuf.
pub fn parse_body(body: &[u8], format: Format) -> Result<(Cow<'_, str>, Format), ParseError> {
    if format == Format::Protobuf {
        let text = as_text(body)?;
        return Ok((Cow::Owned(text), Format::Text(super::Escaping::Utf8)));
    }
    match std::str::from_utf8(body) {
        Ok(text) => Ok((Cow::Borrowed(text), format)),
        Err(error) => {
            let before = &body[..error.valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            Err(ParseError::NotUtf8 { line })
        }
    }
}

/// The entries of a text in the order they come. Ends after the first error.
pub fn parse(text: &str, format: Format) -> impl Iterator<Item = Result<Entry<'_>, ParseError>> {
    Entries {
        rest: text,
        line: 0,
        is_open_metrics: matches!(format, Format::OpenMetrics(_)),
        kind: MetricKind::Unknown,
        state: State::Reading,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    SawEof,
    Ended,
}

struct Entries<'a> {
    rest: &'a str,
    line: usize,
    is_open_metrics: bool,
    kind: MetricKind,
    state: State,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.state == State::Ended {
                return None;
            }
            if self.rest.is_empty() {
                let complete = !self.is_open_metrics || self.state == State::SawEof;
                self.state = State::Ended;
                return (!complete).then_some(Err(ParseError::NoEof));
            }
            let (line, rest) = match self.rest.split_once('\n') {
                Some(halves) => halves,
                None => (self.rest, ""),
            };
            self.rest = rest;
            self.line += 1;
            let entry = if self.state == State::SawEof {
                Err("data after # EOF".to_owned())
            } else {
                self.read(line)
            };
            match entry {
                Ok(None) => {}
                Ok(Some(entry)) => return Some(Ok(entry)),
                Err(reason) => {
                    self.state = State::Ended;
                    return Some(Err(ParseError::Line {
                        line: self.line,
                        reason,
                        text: line.chars().take(160).collect(),
                    }));
                }
            }
        }
    }
}

impl<'a> Entries<'a> {
    fn read(&mut self, line: &'a str) -> Result<Option<Entry<'a>>, String> {
        if self.is_open_metrics {
            if line == "# EOF" {
                self.state = State::SawEof;
                return Ok(None);
            }
            if line.is_empty() {
                return Err("empty line".to_owned());
            }
        }
        let trimmed = line.trim_start_matches([' ', '\t']);
        if trimmed.is_empty() {
            return Ok(None);
        }
        match trimmed.strip_prefix('#') {
            Some(comment) => self.comment(comment),
            None => self.sample(trimmed).map(Some),
        }
    }

    fn comment(&mut self, comment: &'a str) -> Result<Option<Entry<'a>>, String> {
        let comment = comment.trim_start_matches([' ', '\t']);
        let Some((keyword, rest)) = comment.split_once([' ', '\t']) else {
            return Ok(None);
        };
        if !matches!(keyword, "HELP" | "TYPE" | "UNIT") {
            return Ok(None);
        }
        let (family, rest) = family_name(rest.trim_start_matches([' ', '\t']))?;
        let rest = rest.trim_start_matches([' ', '\t']);
        match keyword {
            "TYPE" => {
                let name = rest.trim_end();
                let kind = MetricKind::named(name)
                    .ok_or_else(|| format!("invalid metric type {name:?}"))?;
                self.kind = kind;
                Ok(Some(Entry::Type { family, kind }))
            }
            "HELP" => Ok(Some(Entry::Help {
                family,
                text: unescape(rest),
            })),
            _ if self.is_open_metrics => Ok(Some(Entry::Unit { family, unit: rest })),
            _ => Ok(None),
        }
    }

    fn sample(&mut self, line: &'a str) -> Result<Entry<'a>, String> {
        let end = series_end(line)?;
        let (series, rest) = line.split_at(end);
        let mut rest = rest;
        if self.is_open_metrics
            && let Some((numbers, _exemplar)) = rest.split_once(" # ")
        {
            rest = numbers;
        }
        let mut numbers = rest.split([' ', '\t']).filter(|part| !part.is_empty());
        let value = numbers.next().ok_or("expected value after metric")?;
        let value = parse_value(value).ok_or_else(|| format!("invalid value {value:?}"))?;
        let time = match numbers.next() {
            None => None,
            Some(text) => Some(
                self.time(text)
                    .ok_or_else(|| format!("invalid timestamp {text:?}"))?,
            ),
        };
        if let Some(more) = numbers.next() {
            return Err(format!("expected next entry after timestamp, got {more:?}"));
        }
        Ok(Entry::Sample(SampleEntry {
            series,
            kind: self.kind,
            value,
            time,
            line: self.line,
        }))
    }

    /// Milliseconds in the text format, seconds in OpenMetrics.
    fn time(&self, text: &str) -> Option<i64> {
        if !self.is_open_metrics {
            return text.parse().ok();
        }
        let seconds: f64 = text.parse().ok()?;
        let millis = seconds * 1000.0;
        (millis.abs() < i64::MAX as f64).then_some(millis as i64)
    }
}

fn parse_value(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// Where the series' text ends: after the closing brace, or after the name.
fn series_end(line: &str) -> Result<usize, String> {
    let name_end = line.find(['{', ' ', '\t']).unwrap_or(line.len());
    let gap = line[name_end..].trim_start_matches([' ', '\t']);
    let Some(inside) = gap.strip_prefix('{') else {
        return Ok(name_end);
    };
    let opened = line.len() - inside.len();
    let mut is_quoted = false;
    let mut is_escaped = false;
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'}' if !is_quoted => return Ok(opened + at + 1),
            _ => {}
        }
    }
    Err("no closing brace after the labels".to_owned())
}

/// A family's name, plain or in quotes, and what follows it.
fn family_name(text: &str) -> Result<(Cow<'_, str>, &str), String> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted_text(quoted).ok_or_else(|| "no closing quote after the name".to_owned());
    }
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if !is_legacy_metric_name(name) {
        return Err(format!("invalid metric name {name:?}"));
    }
    Ok((Cow::Borrowed(name), rest))
}

/// The text up to the closing quote, unescaped, and what follows the quote.
fn quoted_text(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some((unescape(&text[..at]), &text[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Undoes `\\`, `\"` and `\n`; a backslash before anything else stays.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            plain.push(char);
            continue;
        }
        match chars.next() {
            Some('n') => plain.push('\n'),
            Some(escaped @ ('\\' | '"')) => plain.push(escaped),
            Some(other) => plain.extend(['\\', other]),
            None => plain.push('\\'),
        }
    }
    Cow::Owned(plain)
}

/// The labels of a series as a body writes it, the metric's name first. Bounds of buckets and quantiles are
/// spelled as OpenMetrics spells numbers, whatever the body wrote, as Prometheus 3 does.
///
/// # Errors
/// A sentence, where the text is no series.
pub fn series_labels(series: &str, kind: MetricKind) -> Result<Vec<(String, String)>, String> {
    let (name, braces) = match series.split_once('{') {
        Some((name, rest)) => (name.trim_end_matches([' ', '\t']), Some(rest)),
        None => (series, None),
    };
    let mut labels: Vec<(String, String)> = Vec::new();
    if !name.is_empty() {
        if !is_legacy_metric_name(name) {
            return Err(format!("invalid metric name {name:?}"));
        }
        labels.push((METRIC_NAME.to_owned(), name.to_owned()));
    }
    if let Some(inside) = braces {
        read_labels(inside, kind, &mut labels)?;
    }
    if !labels.iter().any(|(name, _)| name == METRIC_NAME) {
        return Err("the series has no metric name".to_owned());
    }
    Ok(labels)
}

fn read_labels(
    inside: &str,
    kind: MetricKind,
    labels: &mut Vec<(String, String)>,
) -> Result<(), String> {
    let blank = [' ', '\t'];
    let mut rest = inside.trim_start_matches(blank);
    while !rest.starts_with('}') {
        let is_quoted = rest.starts_with('"');
        let (name, after) = if is_quoted {
            quoted_text(&rest[1..]).ok_or("no closing quote after a label name")?
        } else {
            let end = rest
                .find(|char: char| !(char.is_ascii_alphanumeric() || char == '_'))
                .unwrap_or(rest.len());
            (Cow::Borrowed(&rest[..end]), &rest[end..])
        };
        let after = after.trim_start_matches(blank);
        let (pair, after) = match after.strip_prefix('=') {
            None if is_quoted => ((METRIC_NAME.to_owned(), name.into_owned()), after),
            None => return Err(format!("expected = after label name {name:?}")),
            Some(after) => {
                if !is_quoted && !is_legacy_label_name(&name) {
                    return Err(format!("expected label name, got {name:?}"));
                }
                let after = after.trim_start_matches(blank).strip_prefix('"');
                let (value, after) = after
                    .and_then(quoted_text)
                    .ok_or_else(|| format!("expected a quoted value of label {name:?}"))?;
                let value = normal_bound(&name, value, kind);
                ((name.into_owned(), value), after)
            }
        };
        if labels.iter().any(|(known, _)| *known == pair.0) {
            return Err(format!("label name {:?} is not unique", pair.0));
        }
        labels.push(pair);
        rest = after.trim_start_matches(blank);
        match rest.strip_prefix(',') {
            Some(next) => rest = next.trim_start_matches(blank),
            None if rest.starts_with('}') => {}
            None => return Err("expected , or } after a label".to_owned()),
        }
    }
    Ok(())
}

fn normal_bound(name: &str, value: Cow<'_, str>, kind: MetricKind) -> String {
    let is_bound = match kind {
        MetricKind::Histogram | MetricKind::GaugeHistogram => name == "le",
        MetricKind::Summary => name == "quantile",
        _ => false,
    };
    match value.parse() {
        Ok(number) if is_bound => bound(number),
        _ => value.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Escaping;
    use super::*;

    const TEXT: Format = Format::Text(Escaping::Utf8);
    const OPEN: Format = Format::OpenMetrics(Escaping::Utf8);

    fn samples(text: &str, format: Format) -> Result<Vec<(String, f64, Option<i64>)>, ParseError> {
        let mut samples = Vec::new();
        for entry in parse(text, format) {
            if let Entry::Sample(sample) = entry? {
                let labels = series_labels(sample.series, sample.kind).expect("labels");
                let labels = crate::series_store::Labels::new(labels);
                samples.push((labels.to_string(), sample.value, sample.time));
            }
        }
        Ok(samples)
    }

    #[test]
    fn text_with_comments_times_quotes_and_bounds_is_read() {
        let text = "# HELP a Two\\nlines\n# a comment\n# TYPE a counter\n\
            a{x=\"1\", y = \"q\\\"\\\\\\n}\" ,} 4.5 -7\n\n  a 1e3\n\
            # TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_bucket {le=\"+Inf\"} 3\n\
            {\"b.c\",\"d e\"=\"f\"} NaN\n# TYPE s summary\ns{quantile=\"1\"} +Inf";
        let read = samples(text, TEXT).expect("valid");
        let series: Vec<&str> = read.iter().map(|(series, ..)| series.as_str()).collect();
        let expected = [
            r#"{__name__="a", x="1", y="q\"\\\n}"}"#,
            r#"{__name__="a"}"#,
            r#"{__name__="h_bucket", le="1.0"}"#,
            r#"{__name__="h_bucket", le="+Inf"}"#,
            r#"{__name__="b.c", "d e"="f"}"#,
            r#"{__name__="s", quantile="1.0"}"#,
        ];
        assert_eq!(series, expected);
        assert_eq!((read[0].1, read[0].2), (4.5, Some(-7)));
        assert!(read[4].1.is_nan() && !crate::series_store::is_stale(read[4].1));
        let help = parse(text, TEXT).next().expect("an entry").expect("valid");
        assert_eq!(
            help,
            Entry::Help {
                family: "a".into(),
                text: "Two\nlines".into()
            }
        );
    }

    #[test]
    fn open_metrics_has_seconds_exemplars_units_and_an_end() {
        let text = "# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
            a_seconds_total{x=\" # \"} 1.0 1.5 # {trace=\"b\"} 0.5 1\n# EOF\n";
        let read = samples(text, OPEN).expect("valid");
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].1, read[0].2), (1.0, Some(1_500)));
        assert!(read[0].0.contains("x=\" # \""));
        assert_eq!(samples("a 1\n", OPEN), Err(ParseError::NoEof));
        assert!(samples("# EOF\na 1\n", OPEN).is_err());
        assert!(samples("a 1\n\n# EOF\n", OPEN).is_err());
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_names_the_line() {
        for (text, reason) in [
            ("a 1\nb\n", "expected value after metric"),
            ("a x\n", "invalid value \"x\""),
            ("a 1 1.5\n", "invalid timestamp \"1.5\""),
            (
                "a 1 2 3\n",
                "expected next entry after timestamp, got \"3\"",
            ),
            ("a{b=\"c\" 1\n", "no closing brace after the labels"),
            ("# TYPE a nonsense\n", "invalid metric type \"nonsense\""),
        ] {
            let error = samples(text, TEXT).expect_err(text);
            assert!(error.to_string().contains(reason), "{error}");
            assert!(error.to_string().starts_with("line "), "{error}");
        }
        for series in [
            "1a",
            "a{b}",
            "a{b=c}",
            "a{b=\"c\" d=\"e\"}",
            "a{b=\"\",b=\"\"}",
            "{b=\"c\"}",
        ] {
            assert!(
                series_labels(series, MetricKind::Unknown).is_err(),
                "{series}"
            );
        }
        let not_utf8 = parse_body(b"a 1\n\xff", TEXT);
        assert_eq!(not_utf8, Err(ParseError::NotUtf8 { line: 2 }));
    }

    #[test]
    fn what_the_writer_writes_is_read_again_in_every_format() {
        for format in [TEXT, OPEN, Format::Protobuf] {
            let mut writer = super::super::Writer::new(format);
            writer
                .family("a_total", "h", MetricKind::Counter)
                .sample_at(&[("x", "\"\\\n")], 0.1, Some(1234));
            writer
                .family("h", "", MetricKind::Histogram)
                .histogram(&[], &[(1.0, 2)], 3.0, 4);
            let body = writer.finish();
            let (text, format) = parse_body(&body, format).expect("valid");
            let read = samples(&text, format).expect("valid");
            let names: Vec<&str> = read.iter().map(|(series, ..)| series.as_str()).collect();
            assert_eq!(
                names,
                [
                    r#"{__name__="a_total", x="\"\\\n"}"#,
                    r#"{__name__="h_bucket", le="1.0"}"#,
                    r#"{__name__="h_bucket", le="+Inf"}"#,
                    r#"{__name__="h_sum"}"#,
                    r#"{__name__="h_count"}"#
                ]
            );
            assert_eq!((read[0].1, read[0].2), (0.1, Some(1234)));
        }
    }

    fn any_line() -> impl Strategy<Value = String> {
        let parts = prop::sample::select(vec![
            "# TYPE ", "# HELP ", "# UNIT ", "# EOF", "a", "b_total", "{", "}", "\"", "\\", "=",
            ",", " ", "\t", "x=\"y\"", "1", "1e9", "NaN", "-Inf", " # ", "counter", "\n", "ä",
            "le=\"1\"", "\0", "\r",
        ]);
        prop::collection::vec(parts, 0..40).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in prop_oneof![any_line(), "\\PC{0,80}".prop_map(String::from)]) {
            for format in [TEXT, OPEN] {
                for entry in parse(&text, format) {
                    if let Ok(Entry::Sample(sample)) = entry {
                        let _ = series_labels(sample.series, MetricKind::Histogram);
                    }
                }
            }
        }

        #[test]
        fn no_bytes_break_the_protobuf_reader(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_body(&body, Format::Protobuf);
        }

        #[test]
        fn any_labels_and_value_come_back(
            name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,8}",
            label in "\\PC{1,8}",
            text in "[\\PC\n\\\\\"]{0,12}",
            bits in any::<u64>(),
        ) {
            prop_assume!(label != METRIC_NAME);
            let value = f64::from_bits(bits);
            for format in [TEXT, OPEN, Format::Protobuf] {
                let mut writer = super::super::Writer::new(format);
                writer.family(&name, "", MetricKind::Gauge).sample(&[(&label, &text)], value);
                let body = writer.finish();
                let (body, format) = parse_body(&body, format).expect("valid");
                let read = samples(&body, format).expect("valid");
                let expected = crate::series_store::Labels::new([(METRIC_NAME, name.as_str()), (label.as_str(), text.as_str())]);
                prop_assert_eq!(&read[0].0, &expected.to_string());
                prop_assert!(read[0].1 == value || value.is_nan() && read[0].1.is_nan());
            }
        }
    }
}
