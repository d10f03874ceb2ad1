use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use crate::series_store::{
    Labels, Matcher, SAMPLES_IN_PACKED, Sample, Samples, SeriesNumber, select_postings,
};
use crate::tsdb::error::TsdbError;

use super::index_read::{Index, SeriesReader};
use super::segment::ChunkFiles;
use super::tombstones::{self, Spans, subtract_spans};
use super::{CHUNKS_FOLDER, ChunkPlace, INDEX_FILE, Meta};

/// Label texts that blocks share.
#[derive(Debug, Default)]
pub(in crate::tsdb) struct Texts(HashSet<Arc<str>>);

// === impl Texts ===

impl Texts {
    /// The one copy of a text.
    pub(super) fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = Arc::from(text);
        self.0.insert(Arc::clone(&text));
        text
    }

    /// Forgets the texts that no block has any more.
    pub(in crate::tsdb) fn forget_unused(&mut self) {
        self.0.retain(|text| Arc::strong_count(text) > 1);
    }
}

/// A block, open for reading.
#[derive(Debug)]
pub(in crate::tsdb) struct Block {
    pub(in crate::tsdb) folder: PathBuf,
    pub(in crate::tsdb) meta: Meta,
    index: Index,
    chunks: ChunkFiles,
    deleted: RwLock<BTreeMap<SeriesNumber, Spans>>,
    /// Something in it could not be read.
    suspect: AtomicBool,
}

/// A series of a block.
#[derive(Debug, Clone)]
pub(in crate::tsdb) struct BlockSeries {
    block: Arc<Block>,
    pub(in crate::tsdb) number: SeriesNumber,
    pub(in crate::tsdb) labels: Labels,
    /// The chunks that were asked for, as they lie in the files.
    pub(in crate::tsdb) chunks: Box<[ChunkPlace]>,
    /// Where the chunk after the last one starts, where the series has one.
    end: Option<u64>,
    /// What was deleted of it.
    spans: Spans,
}

/// Series of a block, read one after the other.
#[derive(Debug)]
pub(in crate::tsdb) struct Selection<'b> {
    block: &'b Arc<Block>,
    reader: SeriesReader<'b>,
    numbers: std::vec::IntoIter<SeriesNumber>,
    after: i64,
    until: i64,
}

// === impl Block ===

impl Block {
    /// Opens a block and checks what queries begin with: a block that is torn is found here.
    pub(in crate::tsdb) fn open(folder: &Path, texts: &mut Texts) -> Result<Block, TsdbError> {
        let meta = Meta::read(folder)?;
        let index = Index::open(&folder.join(INDEX_FILE), texts)?;
        let chunks = ChunkFiles::open(&folder.join(CHUNKS_FOLDER), &meta.chunk_file_bytes)?;
        Ok(Block {
            folder: folder.to_owned(),
            deleted: RwLock::new(tombstones::read(folder)?),
            meta,
            index,
            chunks,
            suspect: AtomicBool::new(false),
        })
    }

    /// Bytes of its files.
    pub(in crate::tsdb) fn bytes(&self) -> u64 {
        self.index.bytes() + self.chunks.bytes()
    }

    pub(in crate::tsdb) fn has_deletions(&self) -> bool {
        !self.deleted.read().is_empty()
    }

    /// Whether something in it could not be read.
    pub(in crate::tsdb) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    /// Whether it may have samples after one time up to and with another.
    pub(in crate::tsdb) fn overlaps(&self, after: i64, until: i64) -> bool {
        self.meta.min_time <= until && self.meta.max_time - 1 > after
    }

    fn noticing<T>(&self, outcome: Result<T, TsdbError>) -> Result<T, TsdbError> {
        if matches!(outcome, Err(TsdbError::Damaged { .. })) {
            self.suspect.store(true, Ordering::Relaxed);
        }
        outcome
    }

    /// The series that satisfy all matchers and have chunks with samples after one time up to and with another,
    /// sorted by labels.
    pub(in crate::tsdb) fn select(
        self: &Arc<Block>,
        matchers: &[Matcher],
        after: i64,
        until: i64,
    ) -> Result<Vec<BlockSeries>, TsdbError> {
        let selection = self.selection(matchers, after, until)?;
        let mut selected = Vec::with_capacity(selection.numbers.len());
        for series in selection {
            selected.push(series?);
        }
        Ok(selected)
    }

    /// As [`Block::select`], read one by one.
    pub(in crate::tsdb) fn selection(
        self: &Arc<Block>,
        matchers: &[Matcher],
        after: i64,
        until: i64,
    ) -> Result<Selection<'_>, TsdbError> {
        let numbers = self.noticing(select_postings(&self.index, matchers))?;
        Ok(Selection {
            block: self,
            reader: self.index.series(),
            numbers: numbers.into_iter(),
            after,
            until,
        })
    }

    /// Remembers that samples from one time up to another of some series are deleted.
    pub(in crate::tsdb) fn delete(
        &self,
        numbers: &[SeriesNumber],
        from: i64,
        until: i64,
    ) -> Result<(), TsdbError> {
        let mut deleted = self.deleted.write();
        let mut more = deleted.clone();
        for number in numbers {
            more.entry(*number).or_default().push((from, until));
        }
        tombstones::write(&self.folder, &more)?;
        *deleted = more;
        Ok(())
    }

    /// Reads all of it.
    pub(in crate::tsdb) fn verify(self: &Arc<Block>) -> Result<(), TsdbError> {
        let mut samples = Vec::new();
        for series in self.select(&[], i64::MIN, i64::MAX)? {
            samples.clear();
            series.read(i64::MIN, i64::MAX, &mut samples)?;
        }
        Ok(())
    }

    pub(in crate::tsdb) fn label_names(&self) -> impl Iterator<Item = &str> {
        self.index.label_names()
    }

    pub(in crate::tsdb) fn label_values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.index.label_values(name)
    }

    pub(in crate::tsdb) fn symbols(&self) -> &[Arc<str>] {
        self.index.symbols()
    }

    /// Makes another folder the same block, without copying where the file system can.
    pub(in crate::tsdb) fn link_to(&self, folder: &Path) -> Result<(), TsdbError> {
        let chunks = folder.join(CHUNKS_FOLDER);
        fs::create_dir_all(&chunks).map_err(|error| TsdbError::files("create", &chunks, error))?;
        let from_chunks = self.folder.join(CHUNKS_FOLDER);
        for (from, to) in [(&from_chunks, &chunks), (&self.folder, &folder.to_owned())] {
            let entries =
                fs::read_dir(from).map_err(|error| TsdbError::files("read", from, error))?;
            for entry in entries.flatten() {
                if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
                    continue;
                }
                let target = to.join(entry.file_name());
                let linked = fs::hard_link(entry.path(), &target)
                    .or_else(|_| fs::copy(entry.path(), &target).map(|_| ()));
                linked.map_err(|error| TsdbError::files("copy to", &target, error))?;
            }
        }
        Ok(())
    }
}

// === impl Selection ===

impl Selection<'_> {
    /// A series, where it has chunks that were asked for.
    fn series(&mut self, number: SeriesNumber) -> Result<Option<BlockSeries>, TsdbError> {
        let entry = self.reader.read(number)?;
        let (after, until) = (self.after, self.until);
        let overlaps = |chunk: &&ChunkPlace| chunk.first_time <= until && chunk.last_time > after;
        let chunks: Box<[ChunkPlace]> = entry.chunks.iter().filter(overlaps).copied().collect();
        let Some(last) = chunks.last() else {
            return Ok(None);
        };
        let later = entry.chunks.iter().map(|chunk| chunk.reference);
        let end = later.filter(|reference| *reference > last.reference).min();
        let deleted = self.block.deleted.read().get(&number).cloned();
        Ok(Some(BlockSeries {
            block: Arc::clone(self.block),
            number,
            labels: self.block.index.labels(entry)?,
            chunks,
            end,
            spans: deleted.unwrap_or_default(),
        }))
    }
}

impl Iterator for Selection<'_> {
    type Item = Result<BlockSeries, TsdbError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let number = self.numbers.next()?;
            let series = self.series(number);
            if let Some(found) = self.block.noticing(series).transpose() {
                return Some(found);
            }
        }
    }
}

// === impl BlockSeries ===

impl BlockSeries {
    /// Whether something of it was deleted.
    pub(in crate::tsdb) fn has_deletions(&self) -> bool {
        !self.spans.is_empty()
    }

    /// Adds the samples after one time up to and with another to a list. They break the order of time only where
    /// chunks overlap.
    pub(in crate::tsdb) fn read(
        &self,
        after: i64,
        until: i64,
        into: &mut Vec<Sample>,
    ) -> Result<(), TsdbError> {
        let start = into.len();
        self.read_chunks(|place, bytes| {
            let count = into.len();
            let samples = Samples::new(bytes);
            if place.first_time > after && place.last_time <= until {
                into.extend(samples);
            } else {
                let samples = samples.skip_while(|sample| sample.time <= after);
                into.extend(samples.take_while(|sample| sample.time <= until));
                return Ok(());
            }
            let expected = usize::from(u16::from_be_bytes([bytes[0], bytes[1]]));
            if into.len() - count != expected {
                return Err("it ends before its last sample".to_owned());
            }
            Ok(())
        })?;
        subtract_spans(into, start, &self.spans);
        Ok(())
    }

    /// Passes each compressed chunk to a function.
    pub(in crate::tsdb) fn read_chunks(
        &self,
        mut take: impl FnMut(&ChunkPlace, &[u8]) -> Result<(), String>,
    ) -> Result<(), TsdbError> {
        let references: Vec<u64> = self.chunks.iter().map(|chunk| chunk.reference).collect();
        let outcome = self
            .block
            .chunks
            .read(&references, self.end, &mut |at, bytes| {
                if bytes.len() < 2 {
                    return Err("it has no count".to_owned());
                }
                take(&self.chunks[at], bytes)
            });
        self.block.noticing(outcome)
    }

    /// About how many samples there are: a sample takes about a byte, and the last chunk may be of any size.
    pub(in crate::tsdb) fn sample_estimate(&self) -> usize {
        let most = self.chunks.len() * SAMPLES_IN_PACKED;
        let (Some(first), Some(last)) = (self.chunks.first(), self.chunks.last()) else {
            return 0;
        };
        let bytes = last.reference.saturating_sub(first.reference);
        usize::try_from(bytes).map_or(most, |bytes| most.min(bytes + SAMPLES_IN_PACKED))
    }
}
