//! Load as it once was: counts per period, or an access log, played again at any speed.
//!
//! A recording says when requests arrived. Within a period (a CSV's line, or a log's second) they are
//! spread evenly, since nothing finer was recorded.

mod access_log;
mod counts;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What is wrong with a recording.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is neither a count nor a request.
    #[error("{path}, line {line}: {reason}")]
    Line {
        /// The file.
        path: String,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// There is nothing to play.
    #[error("{0}: nothing in it can be replayed")]
    Empty(String),
    /// The speed makes no sense.
    #[error("--speed {0}: give a number above zero, such as 10 for ten times as fast")]
    Speed(f64),
}

/// Requests that arrived within one period.
#[derive(Clone, Debug, PartialEq)]
pub struct Burst {
    /// When the period began, since the recording's start.
    pub begin: Duration,
    /// How long it lasted.
    pub length: Duration,
    /// How many requests arrived.
    pub count: u64,
    /// What was asked for, where the recording says so: one path and query a request.
    pub paths: Vec<Arc<str>>,
}

/// A recording, ready to be played.
#[derive(Clone, Debug)]
pub struct Recording {
    bursts: Vec<Burst>,
    /// Requests of the recording that cannot be sent again, by method: a log holds no bodies.
    pub left_out: std::collections::BTreeMap<String, u64>,
}

/// One arrival of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When it is meant to start, since the replay's start.
    pub at: Duration,
    /// The path and query to ask for, where the recording says so.
    pub path: Option<Arc<str>>,
}

// === impl Recording ===

impl Recording {
    /// Reads a file: CSV lines of `time,count`, or an access log in common or combined format. A
    /// name that ends with `.gz` is decompressed.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is neither; the line is named.
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let read = |source| ReplayError::Read {
            path: path.display().to_string(),
            source,
        };
        let file = std::fs::File::open(path).map_err(read)?;
        let bytes: Box<dyn Read> = if path.extension().is_some_and(|end| end == "gz") {
            Box::new(flate2::read::MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        Self::read(&path.display().to_string(), BufReader::new(bytes))
    }

    /// Reads a recording from lines; `name` is for messages.
    ///
    /// # Errors
    /// As [`Recording::open`].
    pub fn read(name: &str, lines: impl BufRead) -> Result<Self, ReplayError> {
        let mut counts = counts::Reader::default();
        let mut log = access_log::Reader::default();
        for (index, line) in lines.lines().enumerate() {
            let line = line.map_err(|source| ReplayError::Read {
                path: name.to_owned(),
                source,
            })?;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let taken = if line.contains('"') {
                log.take(line)
            } else {
                counts.take(line, index == 0)
            };
            taken.map_err(|reason| ReplayError::Line {
                path: name.to_owned(),
                line: index + 1,
                reason,
            })?;
        }
        let (logged, left_out) = log.finish();
        let mut bursts = counts.finish().map_err(|reason| ReplayError::Line {
            path: name.to_owned(),
            line: 1,
            reason,
        })?;
        if !bursts.is_empty() && !logged.is_empty() {
            return Err(ReplayError::Line {
                path: name.to_owned(),
                line: 1,
                reason: "the file mixes counts with an access log".to_owned(),
            });
        }
        bursts.extend(logged);
        if bursts.iter().all(|burst| burst.count == 0) {
            return Err(ReplayError::Empty(name.to_owned()));
        }
        Ok(Self { bursts, left_out })
    }

    /// Requests in it.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.bursts.iter().map(|burst| burst.count).sum()
    }

    /// How long it lasts at its own speed.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.bursts
            .last()
            .map_or(Duration::ZERO, |burst| burst.begin + burst.length)
    }

    /// The arrivals, `speed` times as fast as they were recorded.
    ///
    /// # Errors
    /// When the speed is not a number above zero.
    pub fn play(&self, speed: f64) -> Result<impl Iterator<Item = Arrival> + '_, ReplayError> {
        if !speed.is_finite() || speed <= 0.0 {
            return Err(ReplayError::Speed(speed));
        }
        Ok(self.bursts.iter().flat_map(move |burst| {
            (0..burst.count).map(move |index| {
                #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
                let part = index as f64 / burst.count as f64;
                let seconds = burst.begin.as_secs_f64() + burst.length.as_secs_f64() * part;
                Arrival {
                    at: Duration::from_secs_f64(seconds / speed),
                    path: usize::try_from(index)
                        .ok()
                        .and_then(|index| burst.paths.get(index).cloned()),
                }
            })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Recording, ReplayError> {
        Recording::read("requests", text.as_bytes())
    }

    #[test]
    fn counts_a_minute_are_spread_over_their_minute() {
        let recording = read(
            "period,count\n1998-04-30 21:30:00,2\n1998-04-30 21:31:00,0\n1998-04-30 21:32:00,3\n",
        )
        .unwrap();
        assert_eq!(recording.requests(), 5);
        let at: Vec<_> = recording
            .play(60.0)
            .unwrap()
            .map(|arrival| arrival.at.as_millis())
            .collect();
        assert_eq!(at, [0, 500, 2000, 2333, 2666]);
        assert_eq!(recording.length(), Duration::from_secs(180));
    }

    #[test]
    fn an_access_log_gives_its_paths() {
        let recording = read(concat!(
            "10.0.0.1 - - [22/Nov/2026:03:00:00 +0000] \"GET /a?x=1 HTTP/1.1\" 200 5\n",
            "10.0.0.1 - bob [22/Nov/2026:03:00:00 +0000] \"GET /b HTTP/1.1\" 200 5 \"-\" \"curl \\\"8\\\"\"\n",
            "10.0.0.1 - - [22/Nov/2026:03:00:01 +0000] \"POST /order HTTP/1.1\" 201 0\n",
            "10.0.0.1 - - [22/Nov/2026:04:00:03 +0100] \"GET /c HTTP/1.1\" 404 0\n",
        ))
        .unwrap();
        let arrivals: Vec<_> = recording
            .play(1.0)
            .unwrap()
            .map(|arrival| (arrival.at.as_millis(), arrival.path.unwrap().to_string()))
            .collect();
        let expected =
            [(0, "/a?x=1"), (500, "/b"), (3000, "/c")].map(|(at, path)| (at, path.to_owned()));
        assert_eq!(arrivals, expected);
        assert_eq!(recording.left_out.get("POST"), Some(&1));
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_line() {
        for (text, part) in [
            ("period,count\n1998-04-30 21:30:00,2\nnonsense\n", "line 3"),
            ("1998-04-30 21:30:00,-2\n", "line 1"),
            ("1998-04-30 21:31:00,2\n1998-04-30 21:30:00,2\n", "line 2"),
            ("a - - [22/Nov/2026:03:00:00 +0000] \"GET\n", "line 1"),
            (
                "a - - [22/Nev/2026:03:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n",
                "line 1",
            ),
            ("", "nothing in it"),
            ("period,count\n", "nothing in it"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        assert!(read("0,5\n60,5\n").unwrap().play(0.0).is_err());
    }
}
