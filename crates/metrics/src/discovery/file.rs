//! Targets in files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Publisher, TargetGroup, WrittenGroup};
use crate::config::{FileSdConfig, matching_files};

/// Files are looked at this often even where the configuration allows more time, since a change should show soon.
const AT_LEAST_EVERY: Duration = Duration::from_secs(5);

pub(super) async fn watch(config: FileSdConfig, folder: PathBuf, publisher: Publisher) {
    let period = config.refresh_interval.get().min(AT_LEAST_EVERY);
    let mut ticks = tokio::time::interval(period.max(Duration::from_millis(100)));
    let mut known: BTreeMap<PathBuf, Vec<TargetGroup>> = BTreeMap::new();
    let mut missing = BTreeSet::new();
    loop {
        ticks.tick().await;
        let mut paths = Vec::new();
        for pattern in &config.files {
            let found = matching_files(&folder, pattern);
            if !found.is_empty() {
                missing.remove(pattern);
            } else if missing.insert(pattern) {
                tracing::warn!(pattern, "no file of targets is there");
            }
            paths.extend(found);
        }
        known.retain(|path, _| paths.contains(path));
        for path in paths {
            match read(&path).await {
                Ok(groups) => {
                    known.insert(path, groups);
                }
                Err(reason) => {
                    tracing::warn!(path = %path.display(), reason, "targets cannot be read");
                }
            }
        }
        publisher.publish(known.values().flatten().cloned().collect());
    }
}

async fn read(path: &Path) -> Result<Vec<TargetGroup>, String> {
    let text = tokio::fs::read_to_string(path)
        .await
        .map_err(|error| error.to_string())?;
    groups(&text, &path.display().to_string())
}

/// JSON is read as YAML, whose subset it is.
pub(super) fn groups(text: &str, path: &str) -> Result<Vec<TargetGroup>, String> {
    let written: Vec<WrittenGroup> = if text.trim().is_empty() {
        Vec::new()
    } else {
        serde_saphyr::from_str(text).map_err(|error| error.without_snippet().to_string())?
    };
    let meta = Some(("__meta_filepath", path));
    Ok(written
        .into_iter()
        .enumerate()
        .map(|(at, group)| group.into_group(format!("{path}:{at}"), meta))
        .collect())
}
