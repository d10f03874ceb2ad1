use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::tsdb::error::TsdbError;

use super::META_FILE;

/// What a block is, as `meta.json` says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::tsdb) struct Meta {
    pub(in crate::tsdb) ulid: String,
    /// The oldest sample's time, in milliseconds.
    pub(in crate::tsdb) min_time: i64,
    /// The newest sample's time and one.
    pub(in crate::tsdb) max_time: i64,
    #[serde(default)]
    pub(in crate::tsdb) stats: MetaStats,
    pub(in crate::tsdb) compaction: Compaction,
    pub(in crate::tsdb) version: u32,
    /// The bytes of each chunk file: a shorter one is torn. Prometheus does not write them.
    #[serde(
        default,
        rename = "chunkFileBytes",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub(in crate::tsdb) chunk_file_bytes: Vec<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::tsdb) struct MetaStats {
    pub(in crate::tsdb) num_samples: u64,
    pub(in crate::tsdb) num_series: u64,
    pub(in crate::tsdb) num_chunks: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(in crate::tsdb) num_tombstones: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How a block came to be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(in crate::tsdb) struct Compaction {
    /// One for a block of memory, one more for each time blocks were joined.
    pub(in crate::tsdb) level: u32,
    /// The blocks of memory in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::tsdb) sources: Vec<String>,
    /// The blocks it was made of, which it replaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::tsdb) parents: Vec<Parent>,
}

/// A block that another one replaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::tsdb) struct Parent {
    pub(in crate::tsdb) ulid: String,
    pub(in crate::tsdb) min_time: i64,
    pub(in crate::tsdb) max_time: i64,
}

impl Meta {
    pub(in crate::tsdb) fn read(folder: &Path) -> Result<Meta, TsdbError> {
        let path = folder.join(META_FILE);
        let text = fs::read(&path).map_err(|error| TsdbError::files("read", &path, error))?;
        let meta: Meta = serde_json::from_slice(&text)
            .map_err(|error| TsdbError::damaged(&path, error.to_string()))?;
        if meta.version != 1 {
            let reason = format!("version {} is not known", meta.version);
            return Err(TsdbError::damaged(&path, reason));
        }
        Ok(meta)
    }
}
