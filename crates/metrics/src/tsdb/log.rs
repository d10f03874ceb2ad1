//! The write-ahead log: numbered segment files of records, each with its length and checksum.
//!
//! A checkpoint with number N holds the state before segment N; older segments and checkpoints are deleted once it
//! is on the disk. The state may hold samples that segment N repeats: replaying them changes nothing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::codec::{checksum, put_u32};
use super::error::TsdbError;
use super::record::Record;

const MAGIC: &[u8; 8] = b"tidelog1";
/// Length and checksum.
const FRAME_BYTES: usize = 8;
/// A record longer than this is damage.
const MAX_RECORD_BYTES: usize = 1 << 30;
const CHECKPOINT: &str = "checkpoint.";

/// The log that is written to.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    segment: u64,
    file: File,
    /// Bytes of the open segment.
    length: u64,
    /// Bytes of older segments and the checkpoint.
    older_bytes: u64,
    /// Something was written since the last sync.
    dirty: bool,
    frame: Vec<u8>,
}

/// The files of a log, found at start.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) checkpoint: Option<PathBuf>,
    /// In the order of their numbers.
    pub(super) segments: Vec<(u64, PathBuf)>,
    next: u64,
    bytes: u64,
}

/// What reading a file came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was whole.
    Whole,
    /// What follows this many bytes is not a record.
    TornAt { offset: u64, bytes_lost: u64 },
}

/// Names every file a log has.
pub(super) fn files(folder: &Path) -> Result<Files, TsdbError> {
    let mut checkpoints = Vec::new();
    let mut segments = Vec::new();
    let entries = fs::read_dir(folder).map_err(|error| TsdbError::files("read", folder, error))?;
    let mut found = Files::default();
    for entry in entries {
        let entry = entry.map_err(|error| TsdbError::files("read", folder, error))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let path = entry.path();
        if name.ends_with(".tmp") {
            fs::remove_file(&path).map_err(|error| TsdbError::files("delete", &path, error))?;
            continue;
        }
        found.bytes += entry.metadata().map_or(0, |metadata| metadata.len());
        let of_checkpoint = name.strip_prefix(CHECKPOINT).and_then(|n| n.parse().ok());
        if let Some(number) = of_checkpoint {
            checkpoints.push((number, path));
        } else if let Ok(number) = name.parse::<u64>() {
            segments.push((number, path));
        }
    }
    checkpoints.sort_unstable();
    segments.sort_unstable();
    found.next = segments.last().map_or(1, |(number, _)| number + 1);
    if let Some((number, path)) = checkpoints.pop() {
        segments.retain(|(segment, _)| *segment >= number);
        found.checkpoint = Some(path);
        found.next = found.next.max(number);
    }
    found.segments = segments;
    Ok(found)
}

/// Reads the records of a segment or checkpoint, up to a tear if there is one.
pub(super) fn read(path: &Path, mut take: impl FnMut(Record)) -> Result<Outcome, TsdbError> {
    let mut file = File::open(path).map_err(|error| TsdbError::files("open", path, error))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .map_err(|error| TsdbError::files("read", path, error))?;
    Ok(read_bytes(&bytes, &mut take))
}

/// Reads the records of a segment's bytes.
pub(super) fn read_bytes(bytes: &[u8], take: &mut dyn FnMut(Record)) -> Outcome {
    let torn_at = |offset: usize| Outcome::TornAt {
        offset: offset as u64,
        bytes_lost: (bytes.len() - offset) as u64,
    };
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
        return torn_at(0);
    };
    while !rest.is_empty() {
        let Some((record, after)) = split_record(rest) else {
            return torn_at(bytes.len() - rest.len());
        };
        take(record);
        rest = after;
    }
    Outcome::Whole
}

fn split_record(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (frame, rest) = bytes.split_at_checked(FRAME_BYTES)?;
    let (length, sum) = frame.split_at(4);
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    let (payload, after) = rest.split_at_checked(length)?;
    if length == 0 || checksum(payload) != u32::from_be_bytes(sum.try_into().ok()?) {
        return None;
    }
    Some((Record::read(payload)?, after))
}

fn put_frame(into: &mut Vec<u8>, payload: &[u8]) {
    put_u32(into, payload.len() as u32);
    put_u32(into, checksum(payload));
    into.extend_from_slice(payload);
}

/// Cuts a file behind what is whole.
pub(super) fn cut(path: &Path, offset: u64) -> Result<(), TsdbError> {
    let cut = || {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(offset)?;
        file.sync_all()
    };
    cut().map_err(|error| TsdbError::files("cut", path, error))
}

/// Brings a segment to the disk.
pub(super) fn sync_file(file: &File, folder: &Path) -> Result<(), TsdbError> {
    file.sync_data()
        .map_err(|error| TsdbError::files("sync the log in", folder, error))
}

/// Brings a folder's entries to the disk.
pub(super) fn sync_folder(folder: &Path) -> Result<(), TsdbError> {
    let sync = || File::open(folder)?.sync_all();
    sync().map_err(|error| TsdbError::files("sync", folder, error))
}

fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}"))
}

fn start_segment(folder: &Path, number: u64) -> Result<File, TsdbError> {
    let path = segment_path(folder, number);
    let start = || -> io::Result<File> {
        let mut file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)?;
        file.write_all(MAGIC)?;
        Ok(file)
    };
    start().map_err(|error| TsdbError::files("create", &path, error))
}

// === impl Log ===

impl Log {
    /// Starts a segment after those that are there.
    pub(super) fn start(folder: &Path, files: &Files) -> Result<Log, TsdbError> {
        let log = Log {
            folder: folder.to_owned(),
            segment: files.next,
            file: start_segment(folder, files.next)?,
            length: MAGIC.len() as u64,
            older_bytes: files.bytes,
            dirty: false,
            frame: Vec::new(),
        };
        sync_folder(folder)?;
        Ok(log)
    }

    /// Writes records; all of them or none.
    pub(super) fn write(&mut self, records: &[Vec<u8>]) -> Result<(), TsdbError> {
        self.frame.clear();
        for record in records {
            debug_assert!(record.len() <= MAX_RECORD_BYTES, "commits are limited");
            put_frame(&mut self.frame, record);
        }
        if let Err(error) = self.file.write_all(&self.frame) {
            let path = segment_path(&self.folder, self.segment);
            // What was written of it would hide what is written next.
            if self.file.set_len(self.length).is_err() {
                self.rotate()?;
            }
            return Err(TsdbError::files("write to", &path, error));
        }
        self.length += self.frame.len() as u64;
        self.dirty = true;
        // A large commit's room is not kept.
        if self.frame.capacity() > 1 << 20 {
            self.frame = Vec::new();
        }
        Ok(())
    }

    /// Brings what was written to the disk.
    pub(super) fn sync(&mut self) -> Result<(), TsdbError> {
        match self.unsynced()? {
            Some(file) => sync_file(&file, &self.folder),
            None => Ok(()),
        }
    }

    /// What has to be brought to the disk, if anything: the caller need not hold up writers meanwhile.
    pub(super) fn unsynced(&mut self) -> Result<Option<File>, TsdbError> {
        if !std::mem::take(&mut self.dirty) {
            return Ok(None);
        }
        let path = segment_path(&self.folder, self.segment);
        let file = self.file.try_clone();
        file.map(Some)
            .map_err(|error| TsdbError::files("sync", &path, error))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.older_bytes + self.length
    }

    /// Starts the next segment, and says its number.
    pub(super) fn rotate(&mut self) -> Result<u64, TsdbError> {
        let path = segment_path(&self.folder, self.segment);
        let file = start_segment(&self.folder, self.segment + 1)?;
        self.file
            .sync_data()
            .map_err(|error| TsdbError::files("sync", &path, error))?;
        self.file = file;
        self.segment += 1;
        self.older_bytes += self.length;
        self.length = MAGIC.len() as u64;
        sync_folder(&self.folder)?;
        Ok(self.segment)
    }

    /// Deletes what a checkpoint makes needless.
    pub(super) fn delete_before(&mut self, number: u64) -> Result<(), TsdbError> {
        let mut bytes = 0;
        let entries = fs::read_dir(&self.folder)
            .map_err(|error| TsdbError::files("read", &self.folder, error))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            let of = name
                .strip_prefix(CHECKPOINT)
                .unwrap_or(name)
                .parse::<u64>()
                .ok();
            if of.is_some_and(|of| of < number) {
                let path = entry.path();
                fs::remove_file(&path).map_err(|error| TsdbError::files("delete", &path, error))?;
            } else if of.is_some_and(|of| of != self.segment || name.starts_with(CHECKPOINT)) {
                bytes += entry.metadata().map_or(0, |metadata| metadata.len());
            }
        }
        self.older_bytes = bytes;
        Ok(())
    }
}

/// A checkpoint that is being written.
#[derive(Debug)]
pub(super) struct Checkpoint {
    temporary: PathBuf,
    path: PathBuf,
    file: io::BufWriter<File>,
}

// === impl Checkpoint ===

impl Checkpoint {
    /// Starts the checkpoint that goes before a segment.
    pub(super) fn start(folder: &Path, segment: u64) -> Result<Checkpoint, TsdbError> {
        let path = folder.join(format!("{CHECKPOINT}{segment:08}"));
        let temporary = path.with_extension(format!("{segment:08}.tmp"));
        let start = || {
            let mut file = io::BufWriter::with_capacity(1 << 18, File::create(&temporary)?);
            file.write_all(MAGIC)?;
            Ok(file)
        };
        let file = start().map_err(|error| TsdbError::files("create", &temporary, error))?;
        Ok(Checkpoint {
            temporary,
            path,
            file,
        })
    }

    pub(super) fn add(&mut self, record: &[u8]) -> Result<(), TsdbError> {
        let mut framed = Vec::with_capacity(record.len() + FRAME_BYTES);
        put_frame(&mut framed, record);
        self.file
            .write_all(&framed)
            .map_err(|error| TsdbError::files("write to", &self.temporary, error))
    }

    /// Brings it to the disk and gives it its name.
    pub(super) fn finish(self) -> Result<(), TsdbError> {
        let Checkpoint {
            temporary,
            path,
            file,
        } = self;
        let failed = |error| TsdbError::files("write to", &temporary, error);
        let file = file
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        fs::rename(&temporary, &path).map_err(|error| TsdbError::files("create", &path, error))?;
        sync_folder(path.parent().unwrap_or(Path::new(".")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::series_store::Sample;

    use super::super::record::put_samples;
    use super::*;

    fn segment(commits: &[Vec<i64>]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for commit in commits {
            let mut record = Vec::new();
            let samples = commit.iter().map(|time| {
                let sample = Sample {
                    time: *time,
                    value: 1.0,
                };
                (1, sample)
            });
            put_samples(&mut record, false, samples);
            put_frame(&mut bytes, &record);
        }
        bytes
    }

    fn count(bytes: &[u8]) -> (usize, Outcome) {
        let mut records = 0;
        let outcome = read_bytes(bytes, &mut |_| records += 1);
        (records, outcome)
    }

    proptest! {
        #[test]
        fn a_cut_log_keeps_every_whole_record(
            commits in prop::collection::vec(prop::collection::vec(any::<i64>(), 0..5), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = segment(&commits);
            prop_assert_eq!(count(&bytes), (commits.len(), Outcome::Whole));
            let cut = cut.index(bytes.len());
            let ends: Vec<usize> = (0..=commits.len()).map(|n| segment(&commits[..n]).len()).collect();
            let whole = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1);
            let (records, outcome) = count(&bytes[..cut]);
            prop_assert_eq!(records, whole);
            prop_assert_eq!(outcome == Outcome::Whole, ends.contains(&cut));
        }

        #[test]
        fn a_changed_byte_ends_the_log_before_it(
            commits in prop::collection::vec(prop::collection::vec(any::<i64>(), 0..5), 1..6),
            at in any::<prop::sample::Index>(), change in 1..=255_u8,
        ) {
            let mut bytes = segment(&commits);
            let at = at.index(bytes.len());
            bytes[at] ^= change;
            let (records, outcome) = count(&bytes);
            let before = (0..=commits.len()).filter(|n| segment(&commits[..*n]).len() <= at).count();
            prop_assert_eq!(records, before.saturating_sub(1));
            prop_assert_ne!(outcome, Outcome::Whole);
        }

        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = count(&bytes);
            bytes.splice(0..0, MAGIC.iter().copied());
            let _ = count(&bytes);
        }
    }
}
