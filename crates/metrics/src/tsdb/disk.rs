//! The database's folder: blocks, log, lock.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use springtide_machinery::clock::Clock;

use crate::sys::give_back_free_memory;

use super::block::{Block, Meta, Texts, is_ulid, new_ulid};
use super::error::TsdbError;
use super::head::{Head, milliseconds};
use super::{Inner, compact, log};

const LOG_FOLDER: &str = "log";
/// Where Prometheus has its log.
const LOG_OF_PROMETHEUS: &str = "wal";
const SNAPSHOTS_FOLDER: &str = "snapshots";
const LOCK_FILE: &str = "lock";
/// What is due is looked for this often.
pub(super) const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(1);

/// Blocks in the order of their oldest sample.
pub(super) type Blocks = Arc<Vec<Arc<Block>>>;

/// Where a database's files are.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) folder: PathBuf,
    clock: Clock,
    texts: Mutex<Texts>,
    /// Held as long as the database is open.
    _lock: File,
}

// === impl Disk ===

impl Disk {
    /// Opens a folder, which is made where there is none, and its blocks. Says how many were set aside.
    pub(super) fn open(folder: &Path, clock: Clock) -> Result<(Disk, Blocks, u64), TsdbError> {
        fs::create_dir_all(folder).map_err(|error| TsdbError::files("create", folder, error))?;
        let path = folder.join(LOCK_FILE);
        let lock = File::create(&path).map_err(|error| TsdbError::files("create", &path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(TsdbError::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => {
                return Err(TsdbError::files("lock", &path, error));
            }
        }
        let disk = Disk {
            folder: folder.to_owned(),
            clock,
            texts: Mutex::default(),
            _lock: lock,
        };
        let foreign = folder.join(LOG_OF_PROMETHEUS);
        if foreign.exists() {
            tracing::warn!(
                path = %foreign.display(),
                "blocks of Prometheus are read, its write-ahead log is not: samples that are in no block are missing"
            );
        }
        let (blocks, set_aside) = disk.open_blocks()?;
        Ok((disk, blocks, set_aside))
    }

    pub(super) fn log_folder(&self) -> PathBuf {
        self.folder.join(LOG_FOLDER)
    }

    fn new_ulid(&self) -> String {
        new_ulid(self.clock.now())
    }

    fn open_blocks(&self) -> Result<(Blocks, u64), TsdbError> {
        let mut blocks = Vec::new();
        let mut set_aside = 0;
        let entries = fs::read_dir(&self.folder)
            .map_err(|error| TsdbError::files("read", &self.folder, error))?;
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let path = entry.path();
            if name.strip_suffix(".tmp").is_some_and(is_ulid) {
                // A block that was being written, or deleted, when the process ended.
                delete_folder(&path)?;
            } else if is_ulid(name) {
                match Block::open(&path, &mut self.texts.lock()) {
                    Ok(block) => blocks.push(Arc::new(block)),
                    Err(error) => {
                        put_aside(&path, &error)?;
                        set_aside += 1;
                    }
                }
            }
        }
        // A block that was joined of others replaces them, also when the process ended before it deleted them.
        let parents = blocks
            .iter()
            .flat_map(|block| &block.meta.compaction.parents);
        let replaced: Vec<String> = parents.map(|parent| parent.ulid.clone()).collect();
        let (kept, needless): (Vec<_>, Vec<_>) = blocks
            .into_iter()
            .partition(|block| !replaced.contains(&block.meta.ulid));
        for block in needless {
            delete_block(&block.folder)?;
        }
        Ok((sorted(kept), set_aside))
    }

    fn open_block(&self, folder: &Path) -> Result<Arc<Block>, TsdbError> {
        let mut texts = self.texts.lock();
        texts.forget_unused();
        Ok(Arc::new(Block::open(folder, &mut texts)?))
    }
}

fn sorted(mut blocks: Vec<Arc<Block>>) -> Blocks {
    let key = |block: &Arc<Block>| (block.meta.min_time, block.meta.max_time);
    blocks.sort_by(|left, right| {
        key(left)
            .cmp(&key(right))
            .then_with(|| left.meta.ulid.cmp(&right.meta.ulid))
    });
    Arc::new(blocks)
}

fn delete_folder(path: &Path) -> Result<(), TsdbError> {
    fs::remove_dir_all(path).map_err(|error| TsdbError::files("delete", path, error))
}

/// Deletes a block: it loses its name first, so that half of it is never taken for a block.
fn delete_block(folder: &Path) -> Result<(), TsdbError> {
    let doomed = folder.with_extension("tmp");
    fs::rename(folder, &doomed).map_err(|error| TsdbError::files("rename", folder, error))?;
    delete_folder(&doomed)
}

/// Renames a block that cannot be read, so that it can be looked at.
fn put_aside(folder: &Path, reason: &TsdbError) -> Result<(), TsdbError> {
    let aside = folder.with_extension("damaged");
    fs::rename(folder, &aside).map_err(|error| TsdbError::files("rename", folder, error))?;
    tracing::error!(
        block = %aside.display(),
        %reason,
        "a block cannot be read and was set aside: its samples are missing from answers"
    );
    Ok(())
}

impl Inner {
    pub(super) fn current_blocks(&self) -> Blocks {
        Arc::clone(&self.blocks.read())
    }

    /// Replaces blocks by others.
    fn exchange(&self, gone: &[Arc<Block>], come: Option<Arc<Block>>) {
        let mut blocks = self.blocks.write();
        let stays = |block: &&Arc<Block>| !gone.iter().any(|gone| Arc::ptr_eq(gone, block));
        let kept = blocks.iter().filter(stays).cloned().chain(come);
        *blocks = sorted(kept.collect());
    }

    /// Brings the log to the disk, while others may write to it.
    pub(super) fn flush(&self) -> Result<(), TsdbError> {
        let Some(disk) = &self.disk else {
            return Ok(());
        };
        let unsynced = match &mut *self.head.log.lock() {
            Some(log) => log.unsynced()?,
            None => None,
        };
        if let Some(file) = unsynced {
            log::sync_file(&file, &disk.log_folder())?;
        }
        self.metrics.write(&disk.folder)
    }

    /// Does what is due.
    pub(super) fn maintain(&self) -> Result<(), TsdbError> {
        let _one = self.maintenance.lock();
        let Some(disk) = &self.disk else {
            if let (Some(retention), Some(newest)) =
                (self.head.options.retention, self.head.newest())
            {
                self.head
                    .forget_before(newest.saturating_sub(milliseconds(retention)));
            }
            return Ok(());
        };
        self.set_suspects_aside()?;
        if self.head.is_flush_due() {
            self.counting(|| self.make_block(disk))?;
        }
        self.delete_by_retention()?;
        loop {
            let blocks = self.current_blocks();
            let metas: Vec<&Meta> = blocks.iter().map(|block| &block.meta).collect();
            let max_span = milliseconds(self.head.options.max_block_span);
            let Some(range) = compact::plan(&metas, max_span) else {
                return Ok(());
            };
            self.counting(|| self.join_blocks(disk, &blocks[range.clone()]))?;
        }
    }

    fn counting(&self, compaction: impl Fn() -> Result<(), TsdbError>) -> Result<(), TsdbError> {
        let outcome = compaction();
        give_back_free_memory();
        let mut counts = self.head.counts.others.lock();
        match outcome {
            Ok(()) => counts.compactions += 1,
            Err(_) => counts.compactions_failed += 1,
        }
        outcome
    }

    /// Makes a block of what is to leave memory.
    fn make_block(&self, disk: &Disk) -> Result<(), TsdbError> {
        let segment = match &mut *self.head.log.lock() {
            Some(log) => log.rotate()?,
            None => return Ok(()),
        };
        self.head.sealed.reset();
        let outgoing = self.head.outgoing(false);
        if let Some(written) = Head::write_block(&outgoing, &disk.folder, disk.new_ulid())? {
            let block = disk.open_block(&written.folder)?;
            // There before the samples leave memory: who reads in between finds them in both.
            self.exchange(&[], Some(block));
            tracing::debug!(
                block = written.meta.ulid,
                samples = written.meta.stats.num_samples,
                series = written.meta.stats.num_series,
                "samples in memory became a block"
            );
        }
        let folder = disk.log_folder();
        self.head.release(outgoing, Some((&folder, segment)))
    }

    fn join_blocks(&self, disk: &Disk, blocks: &[Arc<Block>]) -> Result<(), TsdbError> {
        let written = compact::join(blocks, &disk.folder, disk.new_ulid())?;
        let joined = match &written {
            Some(written) => Some(disk.open_block(&written.folder)?),
            None => None,
        };
        self.exchange(blocks, joined);
        for block in blocks {
            delete_block(&block.folder)?;
        }
        disk.texts.lock().forget_unused();
        Ok(())
    }

    /// Reads blocks again whose reading failed, and sets those aside that are damaged.
    fn set_suspects_aside(&self) -> Result<(), TsdbError> {
        for block in self.current_blocks().iter() {
            if !block.is_suspect() {
                continue;
            }
            if let Err(error @ TsdbError::Damaged { .. }) = block.verify() {
                self.exchange(std::slice::from_ref(block), None);
                self.head.counts.others.lock().corruptions += 1;
                put_aside(&block.folder, &error)?;
            }
        }
        Ok(())
    }

    /// Deletes blocks that are too old, and the oldest while all take too much room.
    fn delete_by_retention(&self) -> Result<(), TsdbError> {
        let options = &self.head.options;
        let blocks = self.current_blocks();
        let newest_of_blocks = blocks.iter().map(|block| block.meta.max_time - 1).max();
        let newest = self.head.newest().into_iter().chain(newest_of_blocks).max();
        if let (Some(retention), Some(newest)) = (options.retention, newest) {
            let oldest = newest.saturating_sub(milliseconds(retention));
            for block in blocks.iter().filter(|block| block.meta.max_time <= oldest) {
                self.exchange(std::slice::from_ref(block), None);
                delete_block(&block.folder)?;
                self.head.counts.others.lock().deleted_by_time += 1;
            }
        }
        let Some(most) = options.retention_bytes else {
            return Ok(());
        };
        let log_bytes = self.head.log.lock().as_ref().map_or(0, log::Log::bytes);
        let blocks = self.current_blocks();
        let mut bytes = log_bytes + blocks.iter().map(|block| block.bytes()).sum::<u64>();
        for block in blocks.iter() {
            if bytes <= most {
                break;
            }
            bytes -= block.bytes();
            self.exchange(std::slice::from_ref(block), None);
            delete_block(&block.folder)?;
            self.head.counts.others.lock().deleted_by_size += 1;
        }
        Ok(())
    }

    /// Writes every block anew that something was deleted of.
    pub(super) fn clean_tombstones(&self) -> Result<(), TsdbError> {
        let _one = self.maintenance.lock();
        let Some(disk) = &self.disk else {
            return Ok(());
        };
        for block in self.current_blocks().iter() {
            if block.has_deletions() {
                self.counting(|| self.join_blocks(disk, std::slice::from_ref(block)))?;
            }
        }
        Ok(())
    }

    pub(super) fn snapshot(&self, skip_head: bool) -> Result<String, TsdbError> {
        let Some(disk) = &self.disk else {
            return Err(TsdbError::InMemory("snapshots"));
        };
        let _one = self.maintenance.lock();
        let now = disk.clock.now();
        let stamp = now.strftime("%Y%m%dT%H%M%SZ");
        let ulid = disk.new_ulid();
        let name = format!("{stamp}-{}", &ulid[10..].to_lowercase());
        let folder = disk.folder.join(SNAPSHOTS_FOLDER).join(&name);
        fs::create_dir_all(&folder).map_err(|error| TsdbError::files("create", &folder, error))?;
        for block in self.current_blocks().iter() {
            block.link_to(&folder.join(&block.meta.ulid))?;
        }
        if !skip_head {
            Head::write_block(&self.head.outgoing(true), &folder, ulid)?;
        }
        log::sync_folder(&folder)?;
        Ok(name)
    }
}
