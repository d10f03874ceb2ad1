//! Load as it once was: counts per period, or an access log, played again at any speed.
//!
//! A recording says when requests arrived. Within a period (a CSV's line, or a log's second) they are
//! spread evenly, since nothing finer was recorded.

mod access_log;
mod counts;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

/// What is wrong with a recording.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("{path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        reason: std::io::Error,
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
struct Burst {
    /// When the period began, since the recording's start.
    begin: Duration,
    /// How long it lasted.
    length: Duration,
    /// How many requests arrived.
    count: u64,
}

/// A request as a log has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LoggedRequest {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub path: Arc<str>,
}

/// What an access log's requests were.
#[derive(Clone, Debug, Default, PartialEq)]
struct Logged {
    distinct: Vec<LoggedRequest>,
    /// For each arrival, the number of its request in `distinct`.
    order: Vec<u32>,
}

/// A recording, ready to be played.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    bursts: Vec<Burst>,
    logged: Logged,
    left_out: BTreeMap<String, u64>,
}

/// The moments at which a recording's arrivals start again, at a speed.
#[derive(Clone, Debug, PartialEq)]
pub struct Playback {
    recording: Arc<Recording>,
    speed: f64,
    length: Duration,
    burst: usize,
    /// The next arrival within the burst.
    next: u64,
}

// === impl Recording ===

impl Recording {
    /// Reads a file: CSV lines of `time,count`, or an access log in common or combined format. A
    /// name that ends with `.gz` is decompressed.
    ///
    /// # Errors
    /// When the file cannot be read, or a line is neither; the line is named.
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let read = |reason| ReplayError::Read {
            path: path.display().to_string(),
            reason,
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
    pub fn read(name: &str, mut lines: impl BufRead) -> Result<Self, ReplayError> {
        let mut counts = counts::Reader::default();
        let mut log = access_log::Reader::default();
        let (mut has_counts, mut has_log) = (false, false);
        // Logs hold what clients sent, which need not be UTF-8.
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            let length =
                lines
                    .read_until(b'\n', &mut bytes)
                    .map_err(|reason| ReplayError::Read {
                        path: name.to_owned(),
                        reason,
                    })?;
            if length == 0 {
                break;
            }
            let line = String::from_utf8_lossy(&bytes);
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let is_log = line.contains('[');
            let is_count = !is_log && (!has_log || counts::is_count(line));
            has_log |= !is_count;
            has_counts |= is_count;
            let taken = if has_log && has_counts {
                Err("the file mixes counts with an access log".to_owned())
            } else if is_count {
                counts.take(line, number == 1)
            } else {
                log.take(line)
            };
            taken.map_err(|reason| ReplayError::Line {
                path: name.to_owned(),
                line: number,
                reason,
            })?;
        }
        let (mut bursts, logged, left_out) = log.finish();
        bursts.extend(counts.finish());
        if bursts.iter().all(|burst| burst.count == 0) {
            return Err(ReplayError::Empty(name.to_owned()));
        }
        Ok(Self {
            bursts,
            logged,
            left_out,
        })
    }

    /// Requests in it.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.bursts.iter().map(|burst| burst.count).sum()
    }

    /// How long it lasts at its own speed.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.bursts.last().map_or(Duration::ZERO, |burst| {
            burst.begin.saturating_add(burst.length)
        })
    }

    /// The different requests that it names; none where it only has counts.
    #[must_use]
    pub fn distinct_requests(&self) -> &[LoggedRequest] {
        &self.logged.distinct
    }

    /// Which of the different requests the arrival of this number asks for, counted from 0.
    #[must_use]
    pub fn request_of(&self, arrival: u64) -> Option<usize> {
        let order = &self.logged.order;
        let number = order.get(usize::try_from(arrival).ok()?)?;
        usize::try_from(*number).ok()
    }

    /// How often each method was logged.
    #[must_use]
    pub fn methods(&self) -> BTreeMap<&str, u64> {
        let mut methods = BTreeMap::new();
        for number in &self.logged.order {
            let request = usize::try_from(*number)
                .ok()
                .and_then(|number| self.logged.distinct.get(number));
            if let Some(request) = request {
                *methods.entry(request.method.as_str()).or_default() += 1;
            }
        }
        methods
    }

    /// Lines of a log that name no request of a server's path, by how they begin.
    #[must_use]
    pub fn left_out(&self) -> &BTreeMap<String, u64> {
        &self.left_out
    }

    /// Its arrivals, `speed` times as fast as they were recorded; none after `limit`.
    ///
    /// # Errors
    /// When the speed is not a number above zero.
    pub fn play(
        self: &Arc<Self>,
        speed: f64,
        limit: Option<Duration>,
    ) -> Result<Playback, ReplayError> {
        let whole = Duration::try_from_secs_f64(self.length().as_secs_f64() / speed);
        let whole = match whole {
            Ok(whole) if speed > 0.0 && speed.is_finite() => whole,
            _ => return Err(ReplayError::Speed(speed)),
        };
        Ok(Playback {
            recording: Arc::clone(self),
            speed,
            length: limit.map_or(whole, |limit| limit.min(whole)),
            burst: 0,
            next: 0,
        })
    }
}

// === impl Playback ===

impl Playback {
    /// The recording.
    #[must_use]
    pub fn recording(&self) -> &Arc<Recording> {
        &self.recording
    }

    /// How long it plays.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.length
    }
}

impl Iterator for Playback {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        loop {
            let burst = self.recording.bursts.get(self.burst)?;
            if self.next == burst.count {
                self.burst += 1;
                self.next = 0;
                continue;
            }
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
            let part = self.next as f64 / burst.count as f64;
            self.next += 1;
            let seconds = burst.begin.as_secs_f64() + burst.length.as_secs_f64() * part;
            let at = Duration::from_secs_f64(seconds / self.speed);
            return (at < self.length).then_some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Arc<Recording>, ReplayError> {
        Recording::read("requests", text.as_bytes()).map(Arc::new)
    }

    fn milliseconds(recording: &Arc<Recording>, speed: f64, limit: Option<Duration>) -> Vec<u128> {
        recording
            .play(speed, limit)
            .unwrap()
            .map(|at| at.as_millis())
            .collect()
    }

    #[test]
    fn counts_a_minute_are_spread_over_their_minute() {
        let recording = read(
            "period,count\n1998-04-30 21:30:00,2\n1998-04-30 21:31:00,0\n1998-04-30 21:32:00,3\n",
        )
        .unwrap();
        assert_eq!(recording.requests(), 5);
        assert_eq!(
            milliseconds(&recording, 60.0, None),
            [0, 500, 2000, 2333, 2666]
        );
        assert_eq!(recording.length(), Duration::from_secs(180));
        let limit = Some(Duration::from_millis(2100));
        assert_eq!(milliseconds(&recording, 60.0, limit), [0, 500, 2000]);
        assert_eq!(recording.request_of(0), None);
    }

    #[test]
    fn an_access_log_gives_its_methods_and_paths() {
        let recording = read(concat!(
            "10.0.0.1 - - [22/Nov/2026:03:00:00 +0000] \"GET /a?x=1 HTTP/1.1\" 200 5\n",
            "10.0.0.1 - bob [22/Nov/2026:03:00:00 +0000] \"GET /b HTTP/1.1\" 200 5 \"-\" \"curl \\\"8\\\"\"\n",
            "10.0.0.1 - - [22/Nov/2026:03:00:01 +0000] \"POST /order HTTP/1.1\" 201 0\n",
            "10.0.0.1 - - [22/Nov/2026:03:00:01 +0000] \"-\" 400 0\n",
            "10.0.0.1 - - [22/Nov/2026:03:00:01 +0000] \"\\x16\\x03 /a\" 400 0\n",
            "10.0.0.1 - - [22/Nov/2026:03:00:01 +0000] \"GET http://elsewhere/ HTTP/1.1\" 400 0\n",
            "10.0.0.1 - - [22/Nov/2026:04:00:03 +0100] \"GET /b HTTP/1.1\" 404 0\n",
        ))
        .unwrap();
        assert_eq!(milliseconds(&recording, 1.0, None), [0, 500, 1000, 3000]);
        let requests: Vec<_> = (0..4)
            .map(|arrival| {
                let number = recording.request_of(arrival).unwrap();
                let request = &recording.distinct_requests()[number];
                format!("{} {}", request.method, request.path)
            })
            .collect();
        assert_eq!(requests, ["GET /a?x=1", "GET /b", "POST /order", "GET /b"]);
        assert_eq!(recording.distinct_requests().len(), 3);
        assert_eq!(
            recording.methods(),
            BTreeMap::from([("GET", 3), ("POST", 1)])
        );
        assert_eq!(recording.left_out().values().sum::<u64>(), 3);
    }

    #[test]
    fn a_line_of_a_log_that_is_not_utf8_is_read_all_the_same() {
        let mut text =
            b"a - - [22/Nov/2026:03:00:00 +0000] \"GET /a HTTP/1.1\" 200 5 \"-\" \"".to_vec();
        text.extend([0xff, 0xfe, b'"', b'\n']);
        assert_eq!(Recording::read("log", &text[..]).unwrap().requests(), 1);
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
            (
                "0,5\n\na - - [22/Nov/2026:03:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n",
                "line 3: the file mixes",
            ),
            (
                "a - - [22/Nov/2026:03:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n0,5\n",
                "line 2: the file mixes",
            ),
            (
                "a - - [22/Nov/2026:03:00:00 +0000] \"GET / HTTP/1.1\" 200 5\n\u{1}garbled, 12\n",
                "line 2: there is no [time] in it",
            ),
            ("", "nothing in it"),
            ("period,count\n", "nothing in it"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let played = read("0,5\n60,5\n").unwrap().play(speed, None);
            assert!(matches!(played, Err(ReplayError::Speed(_))), "{speed}");
        }
    }
}
