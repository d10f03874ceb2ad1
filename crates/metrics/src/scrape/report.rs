use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::tsdb::Metadata;

use super::Target;

/// How a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not yet scraped.
    Unknown,
    /// The last scrape went well.
    Up,
    /// The last scrape failed.
    Down,
}

/// A target and its last scrape.
#[derive(Debug, Clone)]
pub struct TargetReport {
    /// The job.
    pub pool: String,
    /// What is scraped.
    pub target: Target,
    /// How it is.
    pub health: Health,
    /// Why the last scrape failed; empty where it did not.
    pub last_error: String,
    /// When the last scrape began.
    pub last_scrape: Option<Timestamp>,
    /// How long it took.
    pub last_duration: Duration,
}

/// What a target says about one of its metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataReport {
    /// The metric's family.
    pub metric: String,
    /// What it is.
    pub metadata: Metadata,
}
