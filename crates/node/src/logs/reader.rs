//! Reading a log file by file, piece by piece.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{Line, LogOptions, files};

/// How much is read at once.
const CHUNK: usize = 64 << 10;

/// Reads the wanted part of a log.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    options: LogOptions,
    open: Option<Open>,
    /// The beginning of a line whose end has not been read.
    rest: Vec<u8>,
    /// Whether the last line was a part of one, so that no time comes before the next.
    inside_line: bool,
    given: u64,
    begun: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    inode: u64,
}

impl Open {
    fn new(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let inode = file.metadata()?.ino();
        Ok(Self { file, inode })
    }
}

impl Reader {
    /// A reader that has not read anything yet.
    #[must_use]
    pub fn new(path: PathBuf, options: LogOptions) -> Self {
        Self {
            path,
            options,
            open: None,
            rest: Vec::new(),
            inside_line: false,
            given: 0,
            begun: false,
        }
    }

    /// Whether as many bytes as were asked for have been given.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.options
            .limit_bytes
            .is_some_and(|limit| self.given >= limit)
    }

    /// The next piece; `None` when there is no more for now. Blocks.
    ///
    /// # Errors
    /// A file that cannot be read. A log that does not exist yet is empty.
    pub fn next_piece(&mut self) -> io::Result<Option<Bytes>> {
        if !self.begun {
            self.begun = self.begin()?;
            if !self.begun {
                return Ok(None);
            }
        }
        let mut buffer = vec![0; CHUNK];
        loop {
            if self.is_full() {
                return Ok(None);
            }
            let Some(open) = &mut self.open else {
                return Ok(None);
            };
            let count = open.file.read(&mut buffer)?;
            if count == 0 {
                if self.go_on()? {
                    continue;
                }
                return Ok(None);
            }
            self.rest.extend_from_slice(&buffer[..count]);
            let piece = self.take_lines();
            if !piece.is_empty() {
                return Ok(Some(Bytes::from(piece)));
            }
        }
    }

    /// Opens the file that the wanted part begins in; whether there is one.
    fn begin(&mut self) -> io::Result<bool> {
        let all = files(&self.path);
        let Some(oldest) = all.first() else {
            return Ok(false);
        };
        let Some(mut wanted) = self.options.tail else {
            self.open = Some(Open::new(oldest)?);
            return Ok(true);
        };
        for path in all.iter().rev() {
            let mut open = Open::new(path)?;
            let (offset, found) = start_of_last(&mut open.file, wanted)?;
            open.file.seek(SeekFrom::Start(offset))?;
            self.open = Some(open);
            wanted -= found;
            if wanted == 0 {
                break;
            }
        }
        Ok(true)
    }

    /// Opens the file that follows the one just read; whether there is one.
    fn go_on(&mut self) -> io::Result<bool> {
        let Some(open) = &self.open else {
            return Ok(false);
        };
        let mut all = Vec::new();
        for path in files(&self.path) {
            match Open::new(&path) {
                Ok(open) => all.push(open),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let at = all.iter().position(|known| known.inode == open.inode);
        // A file that was rotated away was older than all that are left.
        let next = at.map_or(0, |at| at + 1);
        if next >= all.len() {
            return Ok(false);
        }
        self.open = Some(all.swap_remove(next));
        Ok(true)
    }

    /// The whole lines read so far, as they are wanted.
    fn take_lines(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut start = 0;
        while let Some(length) = self.rest[start..].iter().position(|byte| *byte == b'\n') {
            let line = &self.rest[start..start + length];
            start += length + 1;
            let Some(line) = Line::parse(line) else {
                continue;
            };
            if let Some(since) = self.options.since
                && line.at().is_some_and(|at| at < since)
            {
                continue;
            }
            if self.options.timestamps && !self.inside_line {
                out.extend_from_slice(line.time.as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line.text);
            if !line.partial {
                out.push(b'\n');
            }
            self.inside_line = line.partial;
        }
        self.rest.drain(..start);
        if let Some(limit) = self.options.limit_bytes {
            let left = usize::try_from(limit - self.given).unwrap_or(usize::MAX);
            out.truncate(left);
        }
        self.given += out.len() as u64;
        out
    }
}

/// Where the last `wanted` lines of a file begin, and how many of them there are.
fn start_of_last(file: &mut File, wanted: u64) -> io::Result<(u64, u64)> {
    let size = file.seek(SeekFrom::End(0))?;
    if wanted == 0 {
        return Ok((size, 0));
    }
    let mut found = 0;
    let mut end = size;
    let mut buffer = vec![0; CHUNK];
    while end > 0 {
        let length = CHUNK.min(usize::try_from(end).unwrap_or(CHUNK));
        let start = end - length as u64;
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut buffer[..length])?;
        for at in (0..length).rev() {
            let position = start + at as u64;
            // The last byte ends the last line; each other end is a line's beginning.
            if buffer[at] == b'\n' && position + 1 < size {
                found += 1;
                if found == wanted {
                    return Ok((position + 1, found));
                }
            }
        }
        end = start;
    }
    Ok((0, found + u64::from(size > 0)))
}
