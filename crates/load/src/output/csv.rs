//! A line of comma-separated values a sample.

use std::collections::BTreeSet;
use std::io::Write as _;

use super::{Output, Sink};
use crate::metric::{Sample, Tags};

/// k6's `--out csv`.
pub struct CsvOutput {
    sink: Sink,
    /// Tags that have a column of their own.
    columns: Vec<String>,
    headed: bool,
}

impl CsvOutput {
    /// Writes to `sink`. These tags of the system have a column each, but for those that are metadata.
    #[must_use]
    pub fn new(sink: Sink, system_tags: BTreeSet<String>) -> Self {
        let columns = system_tags.into_iter();
        Self {
            sink,
            columns: columns.filter(|tag| tag != "vu" && tag != "iter").collect(),
            headed: false,
        }
    }

    fn head(&mut self) -> std::io::Result<()> {
        self.headed = true;
        write!(self.sink, "metric_name,timestamp,metric_value,")?;
        for column in &self.columns {
            write!(self.sink, "{column},")?;
        }
        writeln!(self.sink, "extra_tags,metadata")
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
            for column in &self.columns {
                let value = sample.tags.get(column).unwrap_or_default();
                write!(self.sink, ",{}", field(value))?;
            }
            let is_extra = |name: &str| !self.columns.iter().any(|column| column == name);
            let extra = joined(sample.tags.iter().filter(|(name, _)| is_extra(name)));
            let metadata = joined(sample.metadata.iter().flat_map(Tags::iter));
            writeln!(self.sink, ",{},{}", field(&extra), field(&metadata))?;
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

fn joined<'tags>(pairs: impl Iterator<Item = (&'tags str, &'tags str)>) -> String {
    let pairs = pairs.map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("&")
}

/// A field, in quotes where it needs them (RFC 4180).
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
