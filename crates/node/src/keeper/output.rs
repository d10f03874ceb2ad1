//! Containers' output: lines as they come, into log files in CRI format.
//!
//! ```text
//! 2026-11-22T00:00:00.000000000Z stdout F a whole line
//! 2026-11-22T00:00:00.000000000Z stderr P the first part of a line longer than 16 KiB
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

/// A log file is put aside when it has grown to this size, in bytes.
const MAXIMUM_SIZE: u64 = 10 << 20;

/// How many files a log has, the current one included.
const FILES: u32 = 5;

/// Longer lines are written in parts, as CRI has it.
const LONGEST_PART: usize = 16 << 10;

const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(9));

/// Which of a process' outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stream {
    Out,
    Error,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Out => "stdout",
            Self::Error => "stderr",
        }
    }
}

/// Writes one container's log.
#[derive(Debug)]
pub(super) struct LogWriter {
    path: PathBuf,
    file: File,
    size: u64,
    maximum: u64,
    /// What each stream has begun and not ended with a newline.
    begun: [Vec<u8>; 2],
}

impl LogWriter {
    /// Opens a log file, to append; makes its folder.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::with_maximum(path, MAXIMUM_SIZE)
    }

    fn with_maximum(path: &Path, maximum: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let size = file.metadata()?.len();
        let begun = [Vec::new(), Vec::new()];
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            maximum,
            begun,
        })
    }

    /// Takes what was read from a stream at `now`; writes the lines that are whole.
    pub(super) fn write(&mut self, stream: Stream, bytes: &[u8], now: Timestamp) -> io::Result<()> {
        let mut begun = std::mem::take(&mut self.begun[stream as usize]);
        begun.extend_from_slice(bytes);
        let time = PRINTER.timestamp_to_string(&now);
        let mut lines = Vec::with_capacity(begun.len() + 128);
        let mut rest = begun.as_slice();
        loop {
            let end = rest
                .iter()
                .take(LONGEST_PART)
                .position(|byte| *byte == b'\n');
            match end {
                Some(end) => {
                    push(&mut lines, &time, stream, 'F', &rest[..end]);
                    rest = &rest[end + 1..];
                }
                None if rest.len() >= LONGEST_PART => {
                    push(&mut lines, &time, stream, 'P', &rest[..LONGEST_PART]);
                    rest = &rest[LONGEST_PART..];
                }
                None => break,
            }
        }
        self.begun[stream as usize] = rest.to_vec();
        self.append(&lines)
    }

    /// Writes what was begun and will not be ended.
    pub(super) fn finish(&mut self, now: Timestamp) -> io::Result<()> {
        let time = PRINTER.timestamp_to_string(&now);
        let mut lines = Vec::new();
        for stream in [Stream::Out, Stream::Error] {
            let begun = std::mem::take(&mut self.begun[stream as usize]);
            if !begun.is_empty() {
                push(&mut lines, &time, stream, 'F', &begun);
            }
        }
        self.append(&lines)
    }

    /// What each stream has begun and not ended, for the next version of the keeper.
    pub(super) fn begun(&self) -> [Vec<u8>; 2] {
        self.begun.clone()
    }

    /// Opens a log file where an older version of the keeper stopped writing.
    pub(super) fn reopen(path: &Path, begun: [Vec<u8>; 2]) -> io::Result<Self> {
        Ok(Self {
            begun,
            ..Self::open(path)?
        })
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.size > 0 && self.size + lines.len() as u64 > self.maximum {
            self.rotate()?;
        }
        self.file.write_all(lines)?;
        self.size += lines.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let aside = |n: u32| {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".{n}"));
            PathBuf::from(name)
        };
        for n in (1..FILES - 1).rev() {
            // Those that are not there yet need not move.
            let _ = fs::rename(aside(n), aside(n + 1));
        }
        fs::rename(&self.path, aside(1))?;
        self.file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

fn push(lines: &mut Vec<u8>, time: &str, stream: Stream, tag: char, text: &[u8]) {
    lines.extend_from_slice(time.as_bytes());
    lines.push(b' ');
    lines.extend_from_slice(stream.name().as_bytes());
    lines.extend_from_slice(&[b' ', tag as u8, b' ']);
    lines.extend_from_slice(text);
    lines.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T00:00:00.000000001Z".parse().unwrap()
    }

    #[test]
    fn lines_get_a_time_a_stream_and_a_tag() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pod/container/0.log");
        let mut log = LogWriter::open(&path).unwrap();
        log.write(Stream::Out, b"one\ntw", now()).unwrap();
        log.write(Stream::Error, b"oops\n", now()).unwrap();
        log.write(Stream::Out, b"o\nno newline", now()).unwrap();
        log.finish(now()).unwrap();
        let time = "2026-11-22T00:00:00.000000001Z";
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!(
                "{time} stdout F one\n{time} stderr F oops\n{time} stdout F two\n{time} stdout F no newline\n"
            )
        );
    }

    #[test]
    fn a_long_line_is_written_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let mut log = LogWriter::open(&path).unwrap();
        let mut line = vec![b'x'; LONGEST_PART + 5];
        line.push(b'\n');
        log.write(Stream::Out, &line, now()).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let parts: Vec<(&str, usize)> = text
            .lines()
            .map(|line| {
                let mut fields = line.splitn(4, ' ').skip(2);
                (fields.next().unwrap(), fields.next().unwrap().len())
            })
            .collect();
        assert_eq!(parts, [("P", LONGEST_PART), ("F", 5)]);
    }

    #[test]
    fn a_full_log_is_put_aside_and_the_oldest_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        let mut log = LogWriter::with_maximum(&path, 100).unwrap();
        for n in 0..20 {
            let line = format!("line {n:02} {}\n", "-".repeat(40));
            log.write(Stream::Out, line.as_bytes(), now()).unwrap();
        }
        let mut names: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["0.log", "0.log.1", "0.log.2", "0.log.3", "0.log.4"]);
        let newest_aside = fs::read_to_string(folder.path().join("0.log.1")).unwrap();
        assert!(newest_aside.contains("line 18"));
    }
}
