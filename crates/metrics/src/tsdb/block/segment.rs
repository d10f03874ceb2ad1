//! Chunk files: a header, then chunks one after the other.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::tsdb::codec::{Bytes, checksum, put_u32, put_uvarint};
use crate::tsdb::error::TsdbError;

const MAGIC: [u8; 4] = [0x85, 0xbd, 0x40, 0xdd];
const HEADER: [u8; 8] = [0x85, 0xbd, 0x40, 0xdd, 1, 0, 0, 0];
/// The encoding of XOR chunks.
const XOR: u8 = 1;
/// What a file takes before the next one is started.
const MAX_FILE_BYTES: u64 = 512 << 20;
/// Bytes read for a chunk whose length is not known: most chunks have fewer.
const GUESSED_BYTES: usize = 1024;

fn file_path(folder: &Path, number: usize) -> PathBuf {
    folder.join(format!("{:06}", number + 1))
}

/// Writes chunk files.
#[derive(Debug)]
pub(super) struct ChunkWriter {
    folder: PathBuf,
    file: Option<BufWriter<File>>,
    /// Bytes of each file.
    bytes: Vec<u64>,
    buffer: Vec<u8>,
}

// === impl ChunkWriter ===

impl ChunkWriter {
    pub(super) fn new(folder: PathBuf) -> ChunkWriter {
        ChunkWriter {
            folder,
            file: None,
            bytes: Vec::new(),
            buffer: Vec::new(),
        }
    }

    fn failed(&self, error: io::Error) -> TsdbError {
        TsdbError::files("write to", &self.folder, error)
    }

    fn finish_file(&mut self) -> Result<(), TsdbError> {
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        let synced = file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all());
        synced.map_err(|error| self.failed(error))
    }

    /// Writes a compressed chunk, and says where it is.
    pub(super) fn add(&mut self, chunk: &[u8]) -> Result<u64, TsdbError> {
        if self
            .bytes
            .last()
            .is_none_or(|bytes| *bytes >= MAX_FILE_BYTES)
        {
            self.finish_file()?;
            let path = file_path(&self.folder, self.bytes.len());
            let file = File::create_new(&path)
                .map_err(|error| TsdbError::files("create", &path, error))?;
            let mut file = BufWriter::with_capacity(1 << 18, file);
            file.write_all(&HEADER)
                .map_err(|error| self.failed(error))?;
            self.file = Some(file);
            self.bytes.push(HEADER.len() as u64);
        }
        self.buffer.clear();
        put_uvarint(&mut self.buffer, chunk.len() as u64);
        let guarded = self.buffer.len();
        self.buffer.push(XOR);
        self.buffer.extend_from_slice(chunk);
        let sum = checksum(&self.buffer[guarded..]);
        put_u32(&mut self.buffer, sum);
        let number = self.bytes.len() - 1;
        let offset = self.bytes[number];
        if let Some(file) = &mut self.file {
            let written = file.write_all(&self.buffer);
            written.map_err(|error| self.failed(error))?;
        }
        self.bytes[number] += self.buffer.len() as u64;
        Ok((number as u64) << 32 | offset)
    }

    /// Brings the files to the disk, and says how long each is.
    pub(super) fn finish(mut self) -> Result<Vec<u64>, TsdbError> {
        self.finish_file()?;
        Ok(self.bytes)
    }
}

/// Takes a chunk with its place among those asked for; says what is wrong with it.
pub(super) type TakeChunk<'t> = dyn FnMut(usize, &[u8]) -> Result<(), String> + 't;

/// The chunk files of a block.
#[derive(Debug)]
pub(super) struct ChunkFiles {
    files: Vec<ChunkFile>,
}

#[derive(Debug)]
struct ChunkFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

// === impl ChunkFiles ===

impl ChunkFiles {
    /// Opens a folder's files; `expected` says how long they have to be, where that is known.
    pub(super) fn open(folder: &Path, expected: &[u64]) -> Result<ChunkFiles, TsdbError> {
        let mut files = Vec::new();
        loop {
            let path = file_path(folder, files.len());
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(TsdbError::files("open", &path, error)),
            };
            let mut header = [0; HEADER.len()];
            file.read_exact_at(&mut header, 0)
                .map_err(|error| TsdbError::files("read", &path, error))?;
            if header[..5] != HEADER[..5] {
                let reason =
                    format!("it starts with {header:x?}, not with {MAGIC:x?} and version 1");
                return Err(TsdbError::damaged(&path, reason));
            }
            let bytes = file
                .metadata()
                .map_err(|error| TsdbError::files("read", &path, error))?
                .len();
            if let Some(expected) = expected.get(files.len())
                && *expected != bytes
            {
                let reason = format!("it has {bytes} bytes of {expected}");
                return Err(TsdbError::damaged(&path, reason));
            }
            files.push(ChunkFile { path, file, bytes });
        }
        if files.len() < expected.len() {
            let path = file_path(folder, files.len());
            return Err(TsdbError::damaged(&path, "it is missing"));
        }
        Ok(ChunkFiles { files })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Passes chunks that lie one behind the other to a function, read at once where they are close.
    ///
    /// `end` is where the chunk after the last one starts, where that is known.
    pub(super) fn read(
        &self,
        references: &[u64],
        end: Option<u64>,
        take: &mut TakeChunk<'_>,
    ) -> Result<(), TsdbError> {
        let (Some(first), Some(last)) = (references.first(), references.last()) else {
            return Ok(());
        };
        let (number, start) = split(*first);
        let (last_number, last_start) = split(*last);
        if number != last_number || last_start < start || last_start - start > (64 << 20) {
            let (left, right) = references.split_at(references.len() / 2);
            if left.is_empty() {
                return Err(self.damaged(number, *first, "its place is none"));
            }
            self.read(left, None, take)?;
            return self.read(right, end, &mut |at, chunk| take(left.len() + at, chunk));
        }
        let Some(file) = self.files.get(number) else {
            return Err(self.damaged(number, *first, "the file is missing"));
        };
        let end = end
            .map(split)
            .filter(|(of, end)| *of == number && *end > last_start);
        let end = end.map_or(last_start + GUESSED_BYTES as u64, |(_, end)| end);
        let end = end.min(file.bytes);
        let mut buffer = vec![0; end.saturating_sub(start) as usize];
        file.read(&mut buffer, start)?;
        for (at, reference) in references.iter().enumerate() {
            let (_, offset) = split(*reference);
            let Some(from) = offset.checked_sub(start) else {
                return Err(self.damaged(number, *reference, "its place is none"));
            };
            let mut bytes = buffer.get(from as usize..).unwrap_or_default();
            // The last one may be longer than was guessed.
            let longer;
            let needed = needed_bytes(bytes);
            if needed.is_none_or(|needed| needed > bytes.len()) {
                let needed = needed.unwrap_or(GUESSED_BYTES) as u64;
                let length = needed.min(file.bytes.saturating_sub(offset));
                let mut more = vec![0; length as usize];
                file.read(&mut more, offset)?;
                longer = more;
                bytes = &longer;
            }
            let chunk = check(bytes).map_err(|reason| self.damaged(number, *reference, &reason))?;
            take(at, chunk).map_err(|reason| self.damaged(number, *reference, &reason))?;
        }
        Ok(())
    }

    fn damaged(&self, number: usize, reference: u64, reason: &str) -> TsdbError {
        let path = self.files.get(number).map_or_else(
            || file_path(Path::new(super::CHUNKS_FOLDER), number),
            |file| file.path.clone(),
        );
        let offset = split(reference).1;
        TsdbError::damaged(&path, format!("the chunk at {offset}: {reason}"))
    }
}

impl ChunkFile {
    fn read(&self, into: &mut [u8], offset: u64) -> Result<(), TsdbError> {
        self.file
            .read_exact_at(into, offset)
            .map_err(|error| TsdbError::files("read", &self.path, error))
    }
}

/// The file and the offset of a reference.
fn split(reference: u64) -> (usize, u64) {
    ((reference >> 32) as usize, reference & 0xffff_ffff)
}

/// How many bytes the chunk takes that these start with, where they say so.
fn needed_bytes(bytes: &[u8]) -> Option<usize> {
    let mut rest = Bytes::new(bytes);
    let length = usize::try_from(rest.uvarint()?).ok()?;
    (bytes.len() - rest.left() + 5).checked_add(length)
}

/// The chunk that bytes start with.
fn check(bytes: &[u8]) -> Result<&[u8], String> {
    let short = "it is cut short";
    let mut bytes = Bytes::new(bytes);
    let length = bytes.uvarint().ok_or(short)?;
    let length = usize::try_from(length).map_err(|_| short)?;
    let guarded = bytes.take(length.saturating_add(1)).ok_or(short)?;
    let sum = bytes.u32().ok_or(short)?;
    if checksum(guarded) != sum {
        return Err("its checksum differs".to_owned());
    }
    match guarded[0] {
        XOR => Ok(&guarded[1..]),
        2 | 3 => Err("it holds native histograms, which are not supported".to_owned()),
        other => Err(format!("encoding {other} is not known")),
    }
}
