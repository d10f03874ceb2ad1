use serde::{Deserialize, Serialize};

/// Numbers on a database, as `/api/v1/status/tsdb` and its own metrics show them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Series in memory.
    pub series: usize,
    /// Pairs of label name and value in memory.
    pub label_pairs: usize,
    /// Chunks in memory.
    pub chunks: usize,
    /// Bytes of compressed samples in memory.
    pub chunk_bytes: usize,
    /// Samples that are not in a block yet.
    pub samples: u64,
    /// The oldest sample in memory, in milliseconds; none where there are no samples.
    pub min_time: Option<i64>,
    /// The newest sample, in milliseconds.
    pub max_time: Option<i64>,
    /// Blocks on disk.
    pub blocks: usize,
    /// Series in all blocks, each counted once a block.
    pub block_series: u64,
    /// Samples in all blocks.
    pub block_samples: u64,
    /// Bytes of all blocks.
    pub block_bytes: u64,
    /// The oldest sample in a block.
    pub block_min_time: Option<i64>,
    /// Bytes of the log and its checkpoint.
    pub log_bytes: u64,
    /// What was counted since the start.
    pub counters: Counters,
}

/// Counts since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Samples that were committed.
    pub appended: u64,
    /// Those of them that were older than their series' newest.
    pub appended_out_of_order: u64,
    /// Samples that were refused.
    pub refusals: Refusals,
    /// Series that were created.
    pub series_created: u64,
    /// Series that left memory.
    pub series_removed: u64,
    /// Blocks that were made of memory or of other blocks.
    pub compactions: u64,
    /// Attempts that failed.
    pub compactions_failed: u64,
    /// Blocks deleted because of their age.
    pub deleted_by_time: u64,
    /// Blocks deleted because of the size of all.
    pub deleted_by_size: u64,
    /// Tears at which a log was cut, and blocks that were set aside.
    pub corruptions: u64,
}

/// Samples that were refused, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refusals {
    /// Of a new series when the database was full.
    pub too_many_series: u64,
    /// Of a series with too many labels.
    pub too_many_labels: u64,
    /// Of a series with an overlong label.
    pub label_too_long: u64,
    /// Beyond the samples of one commit.
    pub too_many_samples: u64,
    /// Older than the series' newest sample.
    pub out_of_order: u64,
    /// Older than anything that is taken.
    pub out_of_bounds: u64,
    /// At a time that has another value.
    pub duplicate: u64,
}

/// Which names and values have the most series in memory, most first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cardinality {
    /// Series a metric's name.
    pub series_by_metric: Vec<(String, u64)>,
    /// Values a label's name.
    pub values_by_label: Vec<(String, u64)>,
    /// Bytes of a label's values.
    pub bytes_by_label: Vec<(String, u64)>,
    /// Series a `name=value` pair.
    pub series_by_pair: Vec<(String, u64)>,
}

/// What a metric is, as its exposition says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Metadata {
    /// `counter`, `gauge`, `histogram`, `summary`, `info`, `stateset` or `unknown`.
    pub kind: String,
    /// What it says.
    pub help: String,
    /// Its unit, where OpenMetrics names one.
    pub unit: String,
}
