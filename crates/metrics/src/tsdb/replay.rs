//! Reads the log into memory at start.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::series_store::{Chunk, Sample, SeriesNumber};

use super::error::TsdbError;
use super::head::Head;
use super::log::{self, Log, Outcome};
use super::record::{Record, State};
use super::series::HeadSeries;

/// What a replay came to.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    /// Tears that were cut, and checkpoints that were set aside.
    pub(super) corruptions: u64,
    /// Samples whose series no record names.
    pub(super) unknown: u64,
    samples: u64,
}

struct Replay<'h> {
    head: &'h Head,
    series: HashMap<SeriesNumber, Arc<HeadSeries>>,
    batch: Vec<(Arc<HeadSeries>, Sample)>,
    replayed: Replayed,
    ended: bool,
}

/// Reads checkpoint and segments into an empty head, cuts what is torn, and starts the next segment.
pub(super) fn replay(folder: &Path, head: &Head) -> Result<(Replayed, Log), TsdbError> {
    fs::create_dir_all(folder).map_err(|error| TsdbError::files("create", folder, error))?;
    let files = log::files(folder)?;
    let mut replay = Replay {
        head,
        series: HashMap::new(),
        batch: Vec::new(),
        replayed: Replayed::default(),
        ended: false,
    };
    if let Some(path) = &files.checkpoint {
        let outcome = log::read(path, |record| replay.take(record))?;
        if outcome != Outcome::Whole || !replay.ended {
            replay.replayed.corruptions += 1;
            let aside = path.with_extension("damaged");
            fs::rename(path, &aside).map_err(|error| TsdbError::files("rename", path, error))?;
            tracing::error!(
                path = %aside.display(),
                "the log's checkpoint is damaged and was set aside: samples that were only in memory may be lost"
            );
        }
    }
    for (_, path) in &files.segments {
        if let Outcome::TornAt { offset, bytes_lost } =
            log::read(path, |record| replay.take(record))?
        {
            log::cut(path, offset)?;
            replay.replayed.corruptions += 1;
            tracing::warn!(
                path = %path.display(),
                offset,
                bytes_lost,
                "the log is torn and was cut there: what was being written when the process ended is lost"
            );
        }
    }
    let replayed = replay.replayed;
    if replayed.unknown > 0 {
        tracing::warn!(
            samples = replayed.unknown,
            "the log has samples of series that it does not name: they are lost"
        );
    }
    tracing::debug!(samples = replayed.samples, "the log was read");
    let log = Log::start(folder, &files)?;
    Ok((replayed, log))
}

impl Replay<'_> {
    fn take(&mut self, record: Record) {
        match record {
            Record::Series(series) => {
                let mut directory = self.head.directory.write();
                for (number, labels) in series {
                    let restored = directory.restore(number, &labels);
                    self.series.insert(number, restored);
                }
            }
            Record::Samples(samples) => self.samples(&samples, false),
            Record::LateSamples(samples) => self.samples(&samples, true),
            Record::Deletion {
                series,
                from,
                until,
            } => {
                for series in series.iter().filter_map(|number| self.series.get(number)) {
                    series.state.lock().delete(from, until);
                }
            }
            Record::State(state) => self.state(&state),
            Record::End(_) => self.ended = true,
        }
    }

    fn samples(&mut self, samples: &[(SeriesNumber, Sample)], late: bool) {
        self.batch.clear();
        for (number, sample) in samples {
            match self.series.get(number) {
                Some(series) => self.batch.push((Arc::clone(series), *sample)),
                None => self.replayed.unknown += 1,
            }
        }
        self.replayed.samples += samples.len() as u64;
        self.head.restore(&self.batch, late);
    }

    fn state(&mut self, stored: &State) {
        let series = self
            .head
            .directory
            .write()
            .restore(stored.number, &stored.labels);
        let mut state = series.state.lock();
        for bytes in &stored.chunks {
            let Some(chunk) = Chunk::reopen(bytes) else {
                self.replayed.unknown += 1;
                continue;
            };
            state.seal();
            state.open = Some(chunk);
        }
        state.newest = stored.newest;
        state.late.clone_from(&stored.late);
        let newest = stored.newest.map_or(i64::MIN, |newest| newest.time);
        self.head
            .newest
            .fetch_max(newest, std::sync::atomic::Ordering::Relaxed);
        for sealed in &state.sealed {
            self.head.sealed.count(sealed);
        }
        drop(state);
        self.series.insert(stored.number, series);
    }
}
