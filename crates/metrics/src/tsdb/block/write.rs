use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::series_store::Labels;
use crate::tsdb::error::TsdbError;
use crate::tsdb::log::sync_folder;

use super::index_write::IndexWriter;
use super::meta::{Compaction, MetaStats};
use super::segment::ChunkWriter;
use super::{CHUNKS_FOLDER, ChunkPlace, INDEX_FILE, META_FILE, Meta};

/// A compressed chunk that goes into a block.
#[derive(Debug)]
pub(in crate::tsdb) struct ChunkSource<'c> {
    pub(in crate::tsdb) first_time: i64,
    pub(in crate::tsdb) last_time: i64,
    pub(in crate::tsdb) bytes: &'c [u8],
}

/// Writes a block into a folder that gets its name at the end: a block is there as a whole or not at all.
#[derive(Debug)]
pub(in crate::tsdb) struct BlockWriter {
    ulid: String,
    temporary: PathBuf,
    folder: PathBuf,
    index: IndexWriter,
    chunks: ChunkWriter,
    stats: MetaStats,
    min_time: i64,
    max_time: i64,
    places: Vec<ChunkPlace>,
}

/// A block that was written.
#[derive(Debug)]
pub(in crate::tsdb) struct WrittenBlock {
    pub(in crate::tsdb) folder: PathBuf,
    pub(in crate::tsdb) meta: Meta,
}

// === impl BlockWriter ===

impl BlockWriter {
    /// Starts a block; `texts` are all label names and values of its series.
    pub(in crate::tsdb) fn start(
        parent: &Path,
        ulid: String,
        texts: BTreeSet<Arc<str>>,
    ) -> Result<BlockWriter, TsdbError> {
        let temporary = parent.join(format!("{ulid}.tmp"));
        let chunks = temporary.join(CHUNKS_FOLDER);
        fs::create_dir_all(&chunks).map_err(|error| TsdbError::files("create", &chunks, error))?;
        let index = IndexWriter::start(&temporary.join(INDEX_FILE), texts.into_iter().collect())?;
        Ok(BlockWriter {
            folder: parent.join(&ulid),
            ulid,
            temporary,
            index,
            chunks: ChunkWriter::new(chunks),
            stats: MetaStats::default(),
            min_time: i64::MAX,
            max_time: i64::MIN,
            places: Vec::new(),
        })
    }

    /// Adds a series, whose labels have to come after those of the series before.
    pub(in crate::tsdb) fn add_series<'c>(
        &mut self,
        labels: &Labels,
        chunks: impl Iterator<Item = ChunkSource<'c>>,
    ) -> Result<(), TsdbError> {
        self.places.clear();
        for chunk in chunks {
            let reference = self.chunks.add(chunk.bytes)?;
            self.places.push(ChunkPlace {
                first_time: chunk.first_time,
                last_time: chunk.last_time,
                reference,
            });
            self.min_time = self.min_time.min(chunk.first_time);
            self.max_time = self.max_time.max(chunk.last_time);
            let count = chunk.bytes.first_chunk::<2>();
            self.stats.num_samples +=
                count.map_or(0, |count| u64::from(u16::from_be_bytes(*count)));
        }
        if self.places.is_empty() {
            return Ok(());
        }
        self.stats.num_chunks += self.places.len() as u64;
        self.stats.num_series += 1;
        self.index.add_series(labels, &self.places)
    }

    /// Whether nothing was added.
    pub(in crate::tsdb) fn is_empty(&self) -> bool {
        self.stats.num_series == 0
    }

    /// Brings the block to the disk and gives it its name; nothing where it is empty.
    pub(in crate::tsdb) fn finish(
        self,
        mut compaction: Compaction,
    ) -> Result<Option<WrittenBlock>, TsdbError> {
        if self.is_empty() {
            self.discard();
            return Ok(None);
        }
        if compaction.sources.is_empty() {
            compaction.sources.push(self.ulid.clone());
        }
        self.index.finish()?;
        let chunk_file_bytes = self.chunks.finish()?;
        let meta = Meta {
            ulid: self.ulid,
            min_time: self.min_time,
            max_time: self.max_time.saturating_add(1),
            stats: self.stats,
            compaction,
            version: 1,
            chunk_file_bytes,
        };
        let path = self.temporary.join(META_FILE);
        let write = || {
            let mut file = fs::File::create(&path)?;
            file.write_all(&serde_json::to_vec_pretty(&meta)?)?;
            file.sync_all()
        };
        write().map_err(|error| TsdbError::files("write", &path, error))?;
        sync_folder(&self.temporary.join(CHUNKS_FOLDER))?;
        sync_folder(&self.temporary)?;
        fs::rename(&self.temporary, &self.folder)
            .map_err(|error| TsdbError::files("create", &self.folder, error))?;
        sync_folder(self.folder.parent().unwrap_or(Path::new(".")))?;
        Ok(Some(WrittenBlock {
            folder: self.folder,
            meta,
        }))
    }

    /// Takes away what was written.
    pub(in crate::tsdb) fn discard(self) {
        // What stays is taken away at the next start.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}
