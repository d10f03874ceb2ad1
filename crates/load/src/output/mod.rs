//! Where every sample goes: files in k6's JSON and CSV forms, and Prometheus.

mod csv;
mod json;
mod prometheus;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::metric::{MetricRegistry, Sample};
use crate::options::Options;
use crate::thresholds::Threshold;

pub use csv::CsvOutput;
pub use json::JsonOutput;
pub(crate) use prometheus::PREFIX as REMOTE_WRITE_PREFIX;
pub use prometheus::PrometheusOutput;

/// Why an output cannot be.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It is not one of those there are.
    #[error(
        "--out {0:?}: write json=FILE, csv=FILE or prometheus=URL (other outputs of k6 are not supported)"
    )]
    Unknown(String),
    /// What is said of remote write cannot be used.
    #[error("--out {output}: {reason}")]
    RemoteWrite {
        /// The output as written.
        output: String,
        /// What is wrong.
        reason: String,
    },
    /// Its file cannot be written.
    #[error("--out: {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        reason: std::io::Error,
    },
}

/// Takes every sample of a run.
pub trait Output: Send {
    /// Writes samples.
    ///
    /// # Errors
    /// When they cannot be written.
    fn write(&mut self, samples: &[Sample]) -> std::io::Result<()>;

    /// Writes what is left, and the end.
    ///
    /// # Errors
    /// When it cannot be written.
    fn finish(self: Box<Self>) -> std::io::Result<()>;
}

/// The output that `json=FILE`, `csv=FILE` or `prometheus=URL` names; `-` is standard output, and a file's
/// name that ends with `.gz` is compressed. Settings of remote write are in the environment.
///
/// # Errors
/// When there is no such output, its file cannot be made, or its settings cannot be used.
pub fn open(
    text: &str,
    environment: &BTreeMap<String, String>,
    options: &Options,
    thresholds: &[Threshold],
    registry: &MetricRegistry,
) -> Result<Box<dyn Output>, OutputError> {
    let (kind, file) = text.split_once('=').unwrap_or((text, ""));
    match kind {
        "json" => {
            let sink = Sink::create(if file.is_empty() { "-" } else { file })?;
            Ok(Box::new(JsonOutput::new(sink, thresholds, registry)))
        }
        "csv" => {
            let sink = Sink::create(if file.is_empty() { "file.csv" } else { file })?;
            Ok(Box::new(CsvOutput::new(sink, options.wanted_system_tags())))
        }
        "prometheus" | "experimental-prometheus-rw" => {
            let output = PrometheusOutput::start(file, environment);
            let output = output.map_err(|reason| OutputError::RemoteWrite {
                output: kind.to_owned(),
                reason,
            })?;
            Ok(Box::new(output))
        }
        _ => Err(OutputError::Unknown(text.to_owned())),
    }
}

/// A file that is written in blocks, compressed or not.
pub enum Sink {
    /// As it is.
    Plain(BufWriter<Box<dyn Write + Send>>),
    /// Compressed.
    Compressed(GzEncoder<BufWriter<File>>),
}

impl Sink {
    fn create(file: &str) -> Result<Self, OutputError> {
        if file == "-" {
            return Ok(Self::Plain(BufWriter::new(Box::new(std::io::stdout()))));
        }
        let opened = File::create(file).map_err(|reason| OutputError::File {
            path: file.to_owned(),
            reason,
        })?;
        if Path::new(file).extension().is_some_and(|end| end == "gz") {
            let compressed = GzEncoder::new(BufWriter::new(opened), Compression::default());
            return Ok(Self::Compressed(compressed));
        }
        Ok(Self::Plain(BufWriter::new(Box::new(opened))))
    }

    fn finish(self) -> std::io::Result<()> {
        match self {
            Self::Plain(mut file) => file.flush(),
            Self::Compressed(encoder) => encoder.finish()?.flush(),
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Compressed(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Compressed(file) => file.flush(),
        }
    }
}
