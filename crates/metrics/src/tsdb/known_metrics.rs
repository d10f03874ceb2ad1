//! What metrics are, as their expositions say: kept beside the samples, so that it is known before the first scrape.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use parking_lot::RwLock;

use super::error::TsdbError;
use super::stats::Metadata;

const FILE: &str = "metadata.json";

/// Kind, help and unit by metric.
#[derive(Debug, Default)]
pub(super) struct KnownMetrics(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    metrics: BTreeMap<String, Metadata>,
    /// Something was learned since it was written.
    is_new: bool,
}

// === impl KnownMetrics ===

impl KnownMetrics {
    /// Reads what was written into a folder, of the metrics that still have series. A file that cannot be read is as
    /// good as none, and said: the next scrapes tell it again.
    pub(super) fn read<'n>(
        folder: &Path,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<KnownMetrics, TsdbError> {
        let path = folder.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(KnownMetrics::default()),
            Err(error) => return Err(TsdbError::files("read", &path, error)),
        };
        let mut metrics: BTreeMap<String, Metadata> = match serde_json::from_slice(&text) {
            Ok(metrics) => metrics,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "what is known of metrics cannot be read, and is left out");
                return Ok(KnownMetrics::default());
            }
        };
        let names: BTreeSet<&str> = names.collect();
        // The series of a histogram or a summary have the metric's name with something behind it.
        metrics.retain(|metric, _| {
            let next = names.range(metric.as_str()..).next();
            next.is_some_and(|name| name.starts_with(metric))
        });
        Ok(KnownMetrics(RwLock::new(Known {
            metrics,
            is_new: false,
        })))
    }

    /// Writes it into a folder, if something was learned.
    pub(super) fn write(&self, folder: &Path) -> Result<(), TsdbError> {
        let text = {
            let mut known = self.0.write();
            if !std::mem::take(&mut known.is_new) {
                return Ok(());
            }
            serde_json::to_vec(&known.metrics).unwrap_or_default()
        };
        let path = folder.join(FILE);
        let unnamed = folder.join(format!("{FILE}.tmp"));
        let write = || {
            let mut file = File::create(&unnamed)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&unnamed, &path)
        };
        write().map_err(|error| {
            self.0.write().is_new = true;
            TsdbError::files("write", &path, error)
        })
    }

    pub(super) fn learn(&self, metric: &str, metadata: Metadata) {
        if self.0.read().metrics.get(metric) != Some(&metadata) {
            let mut known = self.0.write();
            known.metrics.insert(metric.to_owned(), metadata);
            known.is_new = true;
        }
    }

    /// What is known of a metric, or of all where none is named.
    pub(super) fn of(&self, metric: Option<&str>) -> Vec<(String, Metadata)> {
        let known = self.0.read();
        let all = known.metrics.iter();
        let chosen = all.filter(|(name, _)| metric.is_none_or(|metric| metric == *name));
        chosen
            .map(|(name, metadata)| (name.clone(), metadata.clone()))
            .collect()
    }
}
