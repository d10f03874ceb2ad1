use std::time::Duration;

/// What a database takes and keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What it takes at most.
    pub limits: Limits,
    /// How far behind the newest sample of all a series' next sample may lie.
    pub max_lag: Duration,
    /// How far behind the newest sample of all a sample may lie that is older than its series'
    /// newest. Zero refuses all of them, as Prometheus does by default.
    pub out_of_order_window: Duration,
    /// Blocks whose newest sample is this much older than the newest of all are deleted; nothing by age where none.
    pub retention: Option<Duration>,
    /// The oldest blocks are deleted while all files take more bytes than this; nothing by size where none.
    pub retention_bytes: Option<u64>,
    /// How often the log is brought to the disk: what a power cut loses at most. A killed process loses
    /// nothing that was committed. Zero syncs each commit.
    pub sync_interval: Duration,
    /// How much time full chunks stay in memory before they become a block.
    pub head_span: Duration,
    /// How much time the largest block holds.
    pub max_block_span: Duration,
}

impl Default for Options {
    /// Prometheus' defaults where it has them: 15 days, nothing out of order, an hour of lag.
    fn default() -> Options {
        Options {
            limits: Limits::default(),
            max_lag: Duration::from_hours(1),
            out_of_order_window: Duration::ZERO,
            retention: Some(Duration::from_hours(15 * 24)),
            retention_bytes: None,
            sync_interval: Duration::from_secs(5),
            head_span: Duration::from_mins(15),
            max_block_span: Duration::from_hours(36),
        }
    }
}

/// What a database takes at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Series in memory.
    pub series: usize,
    /// Labels of one series, the metric's name among them.
    pub labels_of_a_series: usize,
    /// Bytes of one label's name or value.
    pub label_bytes: usize,
    /// Samples of one append and commit.
    pub samples_of_a_commit: usize,
}

impl Default for Limits {
    /// A million series of 64 labels: at 1 KB a series, about a gigabyte.
    fn default() -> Limits {
        Limits {
            series: 1_000_000,
            labels_of_a_series: 64,
            label_bytes: 16 * 1024,
            samples_of_a_commit: 10_000_000,
        }
    }
}
