//! Reading containers' logs, which the keeper writes in the CRI's format: on each line a time, the
//! stream, `F` for a whole line or `P` for a part of one, and the text. A log that grew too large
//! goes on in a new file; the old ones are `FILE.1` (the newest) to `FILE.4`.

mod line;
mod reader;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use jiff::Timestamp;

pub use line::Line;
pub use reader::Reader;

/// How many files a log has been rotated to at most.
const ROTATED: usize = 4;
/// How often a log that is followed is looked at for more.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Which part of a log is wanted, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Whether to wait for more until the container ends.
    pub follow: bool,
    /// Only this many lines from the end.
    pub tail: Option<u64>,
    /// Only lines that are not older.
    pub since: Option<Timestamp>,
    /// Whether each line begins with its time.
    pub timestamps: bool,
    /// At most this many bytes.
    pub limit_bytes: Option<u64>,
}

/// The files of a log that exist, the oldest first.
#[must_use]
pub fn files(path: &Path) -> Vec<PathBuf> {
    let rotated = (1..=ROTATED).rev().map(|number| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    });
    rotated
        .chain([path.to_owned()])
        .filter(|path| path.exists())
        .collect()
}

/// The wanted part of a log in pieces. Following ends when `alive` says that nothing more is to
/// come, and everything was read.
pub fn stream(
    path: PathBuf,
    options: LogOptions,
    alive: impl Fn() -> bool + Send + 'static,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let follow = options.follow;
    let reader = Reader::new(path, options);
    futures::stream::unfold((Some(reader), alive), move |(reader, alive)| async move {
        let mut reader = reader?;
        loop {
            // Asked before reading, lest something be written between the two.
            let more_to_come = follow && alive();
            let read = tokio::task::spawn_blocking(move || {
                let piece = reader.next_piece();
                (reader, piece)
            });
            let (returned, piece) = read.await.ok()?;
            reader = returned;
            match piece {
                Err(error) => return Some((Err(error), (None, alive))),
                Ok(Some(piece)) => return Some((Ok(piece), (Some(reader), alive))),
                Ok(None) if more_to_come && !reader.is_full() => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                Ok(None) => return None,
            }
        }
    })
}

/// The last lines of a log, at most so many and so many bytes, without their times; `None` when
/// there are none. Blocks.
#[must_use]
pub fn last_lines(path: &Path, lines: usize, bytes: usize) -> Option<String> {
    let options = LogOptions {
        tail: Some(lines as u64),
        ..LogOptions::default()
    };
    let mut reader = Reader::new(path.to_owned(), options);
    let mut text = Vec::new();
    while let Ok(Some(piece)) = reader.next_piece() {
        text.extend_from_slice(&piece);
    }
    let start = text.len().saturating_sub(bytes);
    let text = String::from_utf8_lossy(&text[start..]).into_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;
