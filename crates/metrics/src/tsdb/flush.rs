//! Makes a block of the full chunks in memory, and a checkpoint of the rest.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::series_store::{Chunk, Labels, Sample};

use super::block::{BlockWriter, ChunkSource, WrittenBlock};
use super::error::TsdbError;
use super::head::{Head, milliseconds};
use super::log::{Checkpoint, Log};
use super::record::{State, put_end, put_state};
use super::series::{HeadSeries, SeriesState};

/// A chunk that takes samples this long becomes part of a block even if it is not full.
const OPEN_CHUNK_SPAN: i64 = 2 * 60 * 60 * 1000;
/// Full chunks take at most this much memory, or as much for each series.
const SEALED_BYTES: u64 = 8 << 20;
const SEALED_BYTES_OF_A_SERIES: u64 = 512;
/// A longer log is replaced by a checkpoint.
const LOG_BYTES: u64 = 256 << 20;

/// What of a series goes to a block.
#[derive(Debug)]
pub(super) struct Outgoing {
    series: Arc<HeadSeries>,
    chunks: Vec<Arc<Chunk>>,
    /// How many of the chunks are the series' full ones; the others hold late samples.
    sealed: usize,
    late: Vec<Sample>,
}

impl Outgoing {
    /// Chunks in the order of their first sample.
    fn sorted_chunks(&self) -> Vec<&Arc<Chunk>> {
        let mut chunks: Vec<&Arc<Chunk>> = self.chunks.iter().collect();
        chunks.sort_by_key(|chunk| chunk.first_time());
        chunks
    }
}

/// Compresses samples in the order of time.
fn compress(samples: &[Sample]) -> Vec<Arc<Chunk>> {
    let mut state = SeriesState::default();
    for sample in samples {
        state.push(*sample);
    }
    state.seal();
    state.sealed
}

/// All label texts of series.
pub(super) fn texts_of<'l>(labels: impl Iterator<Item = &'l Labels>) -> BTreeSet<Arc<str>> {
    let pairs = labels.flat_map(Labels::pairs);
    let texts = pairs.flat_map(|(name, value)| [name, value]);
    texts.cloned().collect()
}

impl Head {
    /// Whether full chunks have waited long enough, take too much memory, or the log is too long.
    pub(super) fn is_flush_due(&self) -> bool {
        let Some(newest) = self.newest() else {
            return false;
        };
        let oldest = self.sealed.oldest.load(Ordering::Relaxed);
        let bytes = self.sealed.bytes.load(Ordering::Relaxed);
        let series = self.directory.read().len() as u64;
        let log_bytes = self.log.lock().as_ref().map_or(0, Log::bytes);
        newest.saturating_sub(oldest) >= milliseconds(self.options.head_span)
            || bytes > SEALED_BYTES.max(series * SEALED_BYTES_OF_A_SERIES)
            || log_bytes > LOG_BYTES.max(series * 4 * SEALED_BYTES_OF_A_SERIES)
    }

    /// What goes to a block: full chunks, chunks that are open for too long, late samples. For a `copy` it is
    /// everything, and memory stays as it is.
    pub(super) fn outgoing(&self, copy: bool) -> Vec<Outgoing> {
        let mut all = self.directory.read().all();
        all.sort_unstable_by(|left, right| left.labels.cmp(&right.labels));
        let newest = self.newest().unwrap_or_default();
        let span = milliseconds(self.options.head_span);
        let outgoing = all.into_iter().map(|series| {
            let mut state = series.state.lock();
            let is_old = state.open.as_ref().is_some_and(|open| {
                open.first_time() < newest.saturating_sub(OPEN_CHUNK_SPAN)
                    || open.last().time < newest.saturating_sub(2 * span)
            });
            if is_old && !copy {
                state.seal();
            }
            let mut chunks = state.sealed.clone();
            let sealed = chunks.len();
            if copy {
                chunks.extend(state.open.clone().map(Arc::new));
            }
            let late = state.late.clone();
            drop(state);
            chunks.extend(compress(&late));
            Outgoing {
                series,
                chunks,
                sealed,
                late,
            }
        });
        outgoing.collect()
    }

    /// Writes a block of it; nothing where there is nothing.
    pub(super) fn write_block(
        outgoing: &[Outgoing],
        folder: &Path,
        ulid: String,
    ) -> Result<Option<WrittenBlock>, TsdbError> {
        let going = || outgoing.iter().filter(|series| !series.chunks.is_empty());
        let texts = texts_of(going().map(|going| &going.series.labels));
        let mut writer = BlockWriter::start(folder, ulid, texts)?;
        for going in going() {
            let chunks = going.sorted_chunks().into_iter().map(|chunk| ChunkSource {
                first_time: chunk.first_time(),
                last_time: chunk.last().time,
                bytes: chunk.bytes(),
            });
            writer.add_series(&going.series.labels, chunks)?;
        }
        let compaction = super::block::Compaction {
            level: 1,
            ..Default::default()
        };
        writer.finish(compaction)
    }

    /// Lets go of what a block holds now, and of series without samples. What is left goes to a checkpoint, if
    /// there is a log.
    pub(super) fn release(
        &self,
        outgoing: Vec<Outgoing>,
        checkpoint: Option<(&Path, u64)>,
    ) -> Result<(), TsdbError> {
        let mut writer = checkpoint
            .map(|(folder, segment)| Checkpoint::start(folder, segment))
            .transpose()?;
        for going in &outgoing {
            let mut state = going.series.state.lock();
            state.sealed.drain(..going.sealed);
            state.sealed.shrink_to_fit();
            let flushed = |sample: &Sample| {
                let at = going
                    .late
                    .binary_search_by_key(&sample.time, |late| late.time);
                at.is_ok()
            };
            state.late.retain(|sample| !flushed(sample));
            state.late.shrink_to_fit();
        }
        self.remove_empty(outgoing.iter().map(|going| &going.series));
        let mut record = Vec::new();
        let mut count = 0;
        for going in outgoing {
            let Some(writer) = &mut writer else { break };
            let state = going.series.state.lock();
            if state.gone {
                continue;
            }
            let stored = going.series.stored(&state);
            drop(state);
            record.clear();
            put_state(&mut record, &stored);
            writer.add(&record)?;
            count += 1;
        }
        if let (Some(mut writer), Some((_, segment))) = (writer, checkpoint) {
            record.clear();
            put_end(&mut record, count);
            writer.add(&record)?;
            writer.finish()?;
            if let Some(log) = &mut *self.log.lock() {
                log.delete_before(segment)?;
            }
        }
        Ok(())
    }

    /// Lets go of full chunks whose samples are all older than a time, and of series without samples.
    pub(super) fn forget_before(&self, time: i64) {
        let all = self.directory.read().all();
        for series in &all {
            let mut state = series.state.lock();
            state.sealed.retain(|chunk| chunk.last().time >= time);
            state.late.retain(|late| late.time >= time);
            if state
                .open
                .as_ref()
                .is_some_and(|open| open.last().time < time)
            {
                state.open = None;
            }
        }
        self.remove_empty(all.iter());
    }

    /// Takes series without samples away, while no commit is on its way to them.
    fn remove_empty<'s>(&self, series: impl Iterator<Item = &'s Arc<HeadSeries>>) {
        let empty: Vec<_> = series
            .filter(|series| series.state.lock().is_empty())
            .collect();
        if empty.is_empty() {
            return;
        }
        let no_commit = self.log.lock();
        let mut directory = self.directory.write();
        let mut gone = Vec::new();
        for series in empty {
            let mut state = series.state.lock();
            if state.is_empty() {
                state.gone = true;
                gone.push(Arc::clone(series));
            }
        }
        directory.remove(&gone);
        drop(directory);
        drop(no_commit);
        let removed = gone.len() as u64;
        self.counts
            .series_removed
            .fetch_add(removed, Ordering::Relaxed);
    }
}

impl HeadSeries {
    fn stored(&self, state: &SeriesState) -> State {
        let chunks = state.sealed.iter().map(|chunk| &**chunk).chain(&state.open);
        State {
            number: self.number,
            labels: self.labels.clone(),
            newest: state.newest,
            chunks: chunks.map(|chunk| chunk.bytes().to_vec()).collect(),
            late: state.late.clone(),
        }
    }
}
