//! Joins blocks: which, and how.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::series_store::{Chunk, Labels, SAMPLES_IN_PACKED, Sample, pack};

use super::block::{
    Block, BlockSeries, BlockWriter, ChunkPlace, ChunkSource, Compaction, Meta, Parent, Selection,
    WrittenBlock,
};
use super::error::TsdbError;

/// Blocks of one level that are joined at once.
const JOINED: usize = 4;
/// Chunks with fewer samples on average are packed when they are joined.
const SMALL_CHUNK: usize = SAMPLES_IN_PACKED / 2;

/// Which blocks are to be joined: the oldest run of enough blocks of one level that together do not span too much.
///
/// The blocks come in the order of their oldest sample.
pub(super) fn plan(blocks: &[&Meta], max_span: i64) -> Option<std::ops::Range<usize>> {
    (0..blocks.len()).find_map(|start| {
        let run = blocks.get(start..start + JOINED)?;
        let level = run[0].compaction.level;
        let last = run.iter().map(|meta| meta.max_time).max()?;
        let fits = last.saturating_sub(run[0].min_time) <= max_span;
        let same = run.iter().all(|meta| meta.compaction.level == level);
        (fits && same).then_some(start..start + JOINED)
    })
}

/// Walks the series of a block in the order of labels, one in memory at a time.
struct Walk<'b> {
    folder: &'b Path,
    series: Selection<'b>,
    next: Option<BlockSeries>,
}

impl<'b> Walk<'b> {
    fn over(block: &'b Arc<Block>) -> Result<Walk<'b>, TsdbError> {
        let mut series = block.selection(&[], i64::MIN, i64::MAX)?;
        let next = series.next().transpose()?;
        Ok(Walk {
            folder: &block.folder,
            series,
            next,
        })
    }

    /// The next series, if it has these labels.
    fn take(&mut self, labels: &Labels) -> Result<Option<BlockSeries>, TsdbError> {
        let Some(taken) = self.next.take_if(|next| next.labels == *labels) else {
            return Ok(None);
        };
        self.next = self.series.next().transpose()?;
        if self
            .next
            .as_ref()
            .is_some_and(|next| next.labels <= *labels)
        {
            let reason = format!("its series are not sorted after {labels}");
            return Err(TsdbError::damaged(self.folder, reason));
        }
        Ok(Some(taken))
    }
}

/// Writes one block of several, without what was deleted of them.
pub(super) fn join(
    blocks: &[Arc<Block>],
    folder: &Path,
    ulid: String,
) -> Result<Option<WrittenBlock>, TsdbError> {
    let texts: BTreeSet<Arc<str>> = blocks
        .iter()
        .flat_map(|block| block.symbols())
        .cloned()
        .collect();
    let mut writer = BlockWriter::start(folder, ulid, texts)?;
    let mut write = || {
        let mut walks = blocks
            .iter()
            .map(Walk::over)
            .collect::<Result<Vec<_>, _>>()?;
        loop {
            let waiting = walks.iter().filter_map(|walk| walk.next.as_ref());
            let Some(labels) = waiting.map(|series| &series.labels).min().cloned() else {
                return Ok(());
            };
            let parts = walks.iter_mut().map(|walk| walk.take(&labels));
            let parts: Vec<BlockSeries> = parts
                .filter_map(Result::transpose)
                .collect::<Result<_, _>>()?;
            let chunks = join_series(&parts)?;
            let sources = chunks.iter().map(|(place, bytes)| ChunkSource {
                first_time: place.first_time,
                last_time: place.last_time,
                bytes,
            });
            writer.add_series(&labels, sources)?;
        }
    };
    if let Err(error) = write() {
        writer.discard();
        return Err(error);
    }
    writer.finish(history(blocks))
}

fn history(blocks: &[Arc<Block>]) -> Compaction {
    let level = blocks.iter().map(|block| block.meta.compaction.level).max();
    let sources = blocks
        .iter()
        .flat_map(|block| &block.meta.compaction.sources);
    let mut sources: Vec<String> = sources.cloned().collect();
    sources.sort_unstable();
    sources.dedup();
    let parents = blocks.iter().map(|block| Parent {
        ulid: block.meta.ulid.clone(),
        min_time: block.meta.min_time,
        max_time: block.meta.max_time,
    });
    // A block that is only rewritten stays on its level.
    let grown = u32::from(blocks.len() > 1);
    Compaction {
        level: level.unwrap_or(0) + grown,
        sources,
        parents: parents.collect(),
    }
}

type OwnedChunk = (ChunkPlace, Vec<u8>);

/// The chunks of a series in all blocks: as they are where they follow each other and are large.
fn join_series(parts: &[BlockSeries]) -> Result<Vec<OwnedChunk>, TsdbError> {
    let mut chunks: Vec<OwnedChunk> = Vec::new();
    let mut samples = 0;
    for part in parts {
        part.read_chunks(|place, bytes| {
            samples += usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
            chunks.push((*place, bytes.to_vec()));
            Ok(())
        })?;
    }
    chunks.sort_by_key(|(place, _)| place.first_time);
    let overlap = chunks
        .windows(2)
        .any(|pair| pair[0].0.last_time >= pair[1].0.first_time);
    let small = chunks.len() > 1 && samples < chunks.len() * SMALL_CHUNK;
    let deleted = parts.iter().any(BlockSeries::has_deletions);
    if !overlap && !small && !deleted {
        return Ok(chunks);
    }
    let mut samples: Vec<Sample> = Vec::with_capacity(samples);
    for part in parts {
        part.read(i64::MIN, i64::MAX, &mut samples)?;
    }
    samples.sort_by_key(|sample| sample.time);
    samples.dedup_by_key(|sample| sample.time);
    let owned = |chunk: &Chunk| {
        let place = ChunkPlace {
            first_time: chunk.first_time(),
            last_time: chunk.last().time,
            reference: 0,
        };
        (place, chunk.bytes().to_vec())
    };
    Ok(pack(&samples).iter().map(owned).collect())
}

#[cfg(test)]
mod tests {
    use super::super::block::Texts;
    use super::super::flush::texts_of;
    use super::*;

    fn block(level: u32, min_time: i64, max_time: i64) -> Meta {
        Meta {
            ulid: String::new(),
            min_time,
            max_time,
            stats: Default::default(),
            compaction: Compaction {
                level,
                ..Compaction::default()
            },
            version: 1,
            chunk_file_bytes: Vec::new(),
        }
    }

    fn planned(blocks: &[Meta], max_span: i64) -> Option<std::ops::Range<usize>> {
        plan(&blocks.iter().collect::<Vec<_>>(), max_span)
    }

    #[test]
    fn a_block_whose_series_are_not_sorted_is_not_joined() {
        let folder = tempfile::tempdir().expect("a folder");
        let series = ["b", "a"].map(|name| Labels::new([("__name__", name)]));
        let texts = texts_of(series.iter());
        let mut writer =
            BlockWriter::start(folder.path(), "unsorted".to_owned(), texts).expect("a block");
        let chunk = Chunk::starting_with(Sample {
            time: 1,
            value: 1.0,
        });
        for labels in &series {
            let source = ChunkSource {
                first_time: 1,
                last_time: 1,
                bytes: chunk.bytes(),
            };
            let added = writer.add_series(labels, std::iter::once(source));
            added.expect("added");
        }
        let written = writer.finish(Compaction::default()).expect("written");
        let written = written.expect("it is not empty");
        let block = Block::open(&written.folder, &mut Texts::default()).expect("open");
        let joined = join(&[Arc::new(block)], folder.path(), "joined".to_owned());
        let error = joined.expect_err("unsorted").to_string();
        assert!(error.contains("not sorted"), "{error}");
    }

    #[test]
    fn four_neighbours_of_one_level_are_joined_the_oldest_first() {
        let mut blocks: Vec<Meta> = (0..3).map(|at| block(1, at * 10, at * 10 + 10)).collect();
        assert_eq!(planned(&blocks, 100), None);
        blocks.push(block(1, 30, 40));
        blocks.push(block(1, 40, 50));
        assert_eq!(planned(&blocks, 100), Some(0..4));
        assert_eq!(planned(&blocks, 30), None, "they would span too much");
        blocks.insert(0, block(2, -40, 0));
        assert_eq!(planned(&blocks, 100), Some(1..5));
    }
}
