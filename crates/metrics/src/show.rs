//! Answers of the HTTP API as text for people: a table, or a chart of block characters.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::promql::shortest;
use crate::series_store::{METRIC_NAME, quote};

/// Why an answer cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The server refused.
    #[error("{kind}: {error}")]
    Refused {
        /// `errorType`
        kind: String,
        /// What it said.
        error: String,
    },
    /// It is no answer of a Prometheus.
    #[error("this is no answer of a Prometheus: {0}")]
    NoAnswer(String),
}

/// One series: its name and its values in the order of time (seconds).
#[derive(Debug, Clone, PartialEq)]
pub struct ShownSeries {
    /// The series as PromQL writes it: `up{job="a"}`.
    pub name: String,
    /// Times and values.
    pub points: Vec<(f64, f64)>,
}

/// An answer, read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shown {
    /// The series; a number or text is one without a name.
    pub series: Vec<ShownSeries>,
    /// Whether the series have values of several times, or may have.
    pub is_range: bool,
    /// A text, where the answer is one.
    pub text: Option<String>,
    /// Warnings and notes.
    pub remarks: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    status: String,
    data: Option<Data>,
    error_type: Option<String>,
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    infos: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    result_type: String,
    result: Json,
}

// === impl Shown ===

impl Shown {
    /// Reads the body of an answer to `/api/v1/query` or `/api/v1/query_range`.
    ///
    /// # Errors
    /// Where the server refused, or the body is none.
    pub fn read(body: &[u8]) -> Result<Shown, ShowError> {
        let broken = |reason: &dyn std::fmt::Display| ShowError::NoAnswer(reason.to_string());
        let envelope: Envelope = serde_json::from_slice(body).map_err(|error| {
            let start = String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
            broken(&format!("{error}: {start}"))
        })?;
        if envelope.status != "success" {
            return Err(ShowError::Refused {
                kind: envelope.error_type.unwrap_or_default(),
                error: envelope.error.unwrap_or_default(),
            });
        }
        let data = envelope.data.ok_or_else(|| broken(&"it has no data"))?;
        let mut shown = Shown {
            remarks: envelope.warnings,
            is_range: data.result_type == "matrix",
            ..Shown::default()
        };
        shown.remarks.extend(envelope.infos);
        match data.result_type.as_str() {
            "string" => shown.text = data.result[1].as_str().map(str::to_owned),
            "scalar" => shown.series.push(ShownSeries {
                name: String::new(),
                points: vec![point(&data.result).ok_or_else(|| broken(&"no number"))?],
            }),
            _ => {
                for item in data.result.as_array().into_iter().flatten() {
                    let values = item["values"].as_array().cloned();
                    let values = values.unwrap_or_else(|| vec![item["value"].clone()]);
                    let points: Option<Vec<(f64, f64)>> = values.iter().map(point).collect();
                    shown.series.push(ShownSeries {
                        name: series_name(&item["metric"]),
                        points: points.ok_or_else(|| broken(&"a value is none"))?,
                    });
                }
            }
        }
        Ok(shown)
    }

    /// A table: a line a series, or a line a value where they are of several times.
    #[must_use]
    pub fn table(&self) -> String {
        if let Some(text) = &self.text {
            return format!("{text}\n");
        }
        if self.series.is_empty() {
            return "no series\n".to_owned();
        }
        let mut rows = vec![if self.is_range {
            ["SERIES".to_owned(), "TIME".to_owned(), "VALUE".to_owned()]
        } else {
            ["SERIES".to_owned(), "VALUE".to_owned(), String::new()]
        }];
        for series in &self.series {
            for (at, (time, value)) in series.points.iter().enumerate() {
                let name = if at == 0 {
                    series.name.clone()
                } else {
                    String::new()
                };
                rows.push(if self.is_range {
                    [name, clock_time(*time), number(*value)]
                } else {
                    [name, number(*value), String::new()]
                });
            }
        }
        let width = |column: usize| {
            let widths = rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or(0)
        };
        let (first, second) = (width(0), width(1));
        let mut table = String::new();
        for [name, middle, last] in &rows {
            let line = format!("{name:<first$}  {middle:<second$}  {last}");
            table.push_str(line.trim_end());
            table.push('\n');
        }
        table
    }

    /// A chart for each series, `width` characters wide and `height` lines high, with least, greatest and last value.
    #[must_use]
    pub fn chart(&self, width: usize, height: usize) -> String {
        let mut chart = String::new();
        for (at, series) in self.series.iter().enumerate() {
            if at > 0 {
                chart.push('\n');
            }
            draw(series, width.max(20), height.max(1), &mut chart);
        }
        if self.series.is_empty() {
            chart.push_str("no series\n");
        }
        chart
    }
}

fn point(pair: &Json) -> Option<(f64, f64)> {
    let value = match pair[1].as_str()? {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        text => text.parse().ok()?,
    };
    Some((pair[0].as_f64()?, value))
}

fn series_name(metric: &Json) -> String {
    let labels = metric.as_object();
    let name = metric[METRIC_NAME].as_str().unwrap_or_default();
    let pairs: Vec<String> = labels
        .into_iter()
        .flatten()
        .filter(|(label, _)| *label != METRIC_NAME)
        .map(|(label, value)| format!("{label}={}", quote(value.as_str().unwrap_or_default())))
        .collect();
    if pairs.is_empty() && !name.is_empty() {
        return name.to_owned();
    }
    format!("{name}{{{}}}", pairs.join(", "))
}

fn clock_time(seconds: f64) -> String {
    let millis = (seconds * 1000.0).round();
    let time = Timestamp::from_millisecond(millis as i64).unwrap_or_default();
    let digits = if millis % 1000.0 == 0.0 { 0 } else { 3 };
    DateTimePrinter::new()
        .precision(Some(digits))
        .timestamp_to_string(&time)
}

/// Up to six digits that matter.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return shortest(value);
    }
    let size = value.abs();
    if value == value.trunc() && size < 1e15 {
        return format!("{value}");
    }
    if !(1e-4..1e15).contains(&size) {
        return format!("{value:.5e}");
    }
    let digits = (5 - size.log10().floor() as i32).clamp(0, 9);
    let text = format!("{value:.*}", usize::try_from(digits).unwrap_or(0));
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

fn draw(series: &ShownSeries, width: usize, height: usize, chart: &mut String) {
    let finite = || series.points.iter().filter(|(_, value)| value.is_finite());
    let _ = writeln!(
        chart,
        "{}",
        if series.name.is_empty() {
            "value"
        } else {
            &series.name
        }
    );
    let (Some((_, last)), Some((from, _)), Some((until, _))) = (
        finite().next_back(),
        series.points.first(),
        series.points.last(),
    ) else {
        chart.push_str("no finite values\n");
        return;
    };
    let least = finite()
        .map(|(_, value)| *value)
        .fold(f64::INFINITY, f64::min);
    let greatest = finite()
        .map(|(_, value)| *value)
        .fold(f64::NEG_INFINITY, f64::max);
    // A chart of what is never below zero stands on zero, so that heights can be compared.
    let floor = if least >= 0.0 { 0.0 } else { least };
    let marks = [number(greatest), number(floor)];
    let margin = marks
        .iter()
        .map(|mark| mark.chars().count())
        .max()
        .unwrap_or(0);
    let columns = width.saturating_sub(margin + 2).max(10);
    let mut sums = vec![(0.0, 0_u32); columns];
    for (time, value) in finite() {
        let place = if until > from {
            (time - from) / (until - from) * (columns - 1) as f64
        } else {
            0.0
        };
        let (sum, count) = &mut sums[(place.round() as usize).min(columns - 1)];
        *sum += value;
        *count += 1;
    }
    let span = greatest - floor;
    let mut eighths: Vec<Option<usize>> = sums
        .iter()
        .map(|(sum, count)| {
            let mean = sum / f64::from((*count).max(1));
            let part = if span > 0.0 {
                (mean - floor) / span
            } else {
                1.0
            };
            // The least there is to see is an eighth: a value is there.
            (*count > 0).then(|| ((part * (height * 8) as f64).round() as usize).max(1))
        })
        .collect();
    hold(&mut eighths, columns.div_ceil(series.points.len().max(1)));
    for line in 0..height {
        let below = (height - 1 - line) * 8;
        let mark = match line {
            0 => marks[0].as_str(),
            _ if line == height - 1 => marks[1].as_str(),
            _ => "",
        };
        let cells: String = eighths
            .iter()
            .map(|eighths| {
                eighths.map_or(' ', |eighths| BLOCKS[eighths.saturating_sub(below).min(8)])
            })
            .collect();
        let _ = writeln!(chart, "{mark:>margin$} │{}", cells.trim_end());
    }
    let _ = writeln!(
        chart,
        "{:>margin$}  {} to {}   min {}  max {}  last {}",
        "",
        clock_time(*from),
        clock_time(*until),
        number(least),
        number(greatest),
        number(*last)
    );
}

/// Holds each value until the next where points are fewer than columns; a longer gap stays one.
fn hold(columns: &mut [Option<usize>], longest: usize) {
    let mut last = None;
    let mut held = 0;
    for column in columns {
        match column {
            Some(value) => (last, held) = (Some(*value), 0),
            None if held < longest => {
                *column = last;
                held += 1;
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &str) -> Shown {
        let body = format!(r#"{{"status":"success","data":{data},"infos":["note"]}}"#);
        Shown::read(body.as_bytes()).expect(data)
    }

    #[test]
    fn answers_become_tables() {
        let shown = read(
            r#"{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[1,"1"]},{"metric":{},"value":[1,"0.333333333"]}]}"#,
        );
        assert_eq!(
            shown.table(),
            "SERIES       VALUE\nup{job=\"a\"}  1\n{}           0.333333\n"
        );
        assert_eq!(shown.remarks, ["note"]);
        let shown = read(
            r#"{"resultType":"matrix","result":[{"metric":{"__name__":"up"},"values":[[0,"1"],[1.5,"+Inf"]]}]}"#,
        );
        assert_eq!(
            shown.table(),
            "SERIES  TIME                      VALUE\nup      1970-01-01T00:00:00Z      1\n        1970-01-01T00:00:01.500Z  +Inf\n"
        );
        // A range of which there is one value yet.
        let shown =
            read(r#"{"resultType":"matrix","result":[{"metric":{},"values":[[0,"NaN"]]}]}"#);
        assert_eq!(
            shown.table(),
            "SERIES  TIME                  VALUE\n{}      1970-01-01T00:00:00Z  NaN\n"
        );
        assert_eq!(
            read(r#"{"resultType":"string","result":[0,"text"]}"#).table(),
            "text\n"
        );
        assert_eq!(
            read(r#"{"resultType":"vector","result":[]}"#).table(),
            "no series\n"
        );
    }

    #[test]
    fn a_chart_rises_with_the_values() {
        let shown = Shown {
            series: vec![ShownSeries {
                name: "up".to_owned(),
                points: (0..=20).map(|at| (f64::from(at), f64::from(at))).collect(),
            }],
            ..Shown::default()
        };
        let chart = shown.chart(25, 2);
        let lines: Vec<&str> = chart.lines().collect();
        assert_eq!(lines[0], "up");
        assert_eq!(lines[1], "20 │           ▁▂▂▃▄▅▆▆▇█");
        assert_eq!(lines[2], " 0 │▁▁▂▂▃▄▅▆▆▇███████████");
        assert!(lines[3].ends_with("min 0  max 20  last 20"), "{}", lines[3]);
    }

    #[test]
    fn a_refusal_is_an_error_and_other_servers_are_recognised() {
        let refused = br#"{"status":"error","errorType":"bad_data","error":"no"}"#;
        assert_eq!(
            Shown::read(refused).expect_err("refused").to_string(),
            "bad_data: no"
        );
        assert!(Shown::read(b"<html>").is_err());
    }
}
