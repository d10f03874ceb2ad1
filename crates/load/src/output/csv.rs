//! A line of comma-separated values a sample.

use std::io::Write as _;

use super::{Output, Sink};
use crate::metric::Sample;

/// Tags that have a column of their own.
const COLUMNS: [&str; 14] = [
    "check",
    "error",
    "error_code",
    "expected_response",
    "group",
    "method",
    "name",
    "proto",
    "scenario",
    "service",
    "status",
    "subproto",
    "tls_version",
    "url",
];

/// k6's `--out csv`.
pub struct CsvOutput {
    sink: Sink,
    headed: bool,
}

impl CsvOutput {
    /// Writes to `sink`.
    #[must_use]
    pub fn new(sink: Sink) -> Self {
        Self {
            sink,
            headed: false,
        }
    }

    fn head(&mut self) -> std::io::Result<()> {
        self.headed = true;
        writeln!(
            self.sink,
            "metric_name,timestamp,metric_value,{},extra_tags,metadata",
            COLUMNS.join(",")
        )
    }
}

impl Output for CsvOutput {
    fn write(&mut self, samples: &[Sample]) -> std::io::Result<()> {
        if !self.headed {
            self.head()?;
        }
        for sample in samples {
            let seconds = sample.time.as_second();
            write!(
                self.sink,
                "{},{seconds},{:.6}",
                field(&sample.metric.name),
                sample.value
            )?;
            for column in COLUMNS {
                write!(
                    self.sink,
                    ",{}",
                    field(sample.tags.get(column).unwrap_or_default())
                )?;
            }
            let extra: Vec<String> = sample
                .tags
                .iter()
                .filter(|(name, _)| !COLUMNS.contains(name))
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            writeln!(self.sink, ",{},", field(&extra.join("&")))?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> std::io::Result<()> {
        if !self.headed {
            self.head()?;
        }
        self.sink.finish()
    }
}

/// A field, in quotes where it needs them (RFC 4180).
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
