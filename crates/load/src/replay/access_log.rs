//! Access logs in the common and the combined format, as Apache and nginx write them.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use http::Method;

use super::{Burst, Logged, LoggedRequest};

/// Collects the lines of an access log. Lines may be a little out of order: a server writes them
/// when a request ends.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// By second: numbers of requests in `distinct`.
    seconds: BTreeMap<i64, Vec<u32>>,
    distinct: Vec<LoggedRequest>,
    known: HashMap<LoggedRequest, u32>,
    left_out: BTreeMap<String, u64>,
}

impl Reader {
    /// Takes a line such as `host - user [22/Nov/2026:03:00:00 +0000] "GET / HTTP/1.1" 200 5`.
    pub(super) fn take(&mut self, line: &str) -> Result<(), String> {
        let (time, after) = line
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'))
            .ok_or("there is no [time] in it")?;
        let second = jiff::fmt::strtime::parse("%d/%b/%Y:%H:%M:%S %z", time)
            .and_then(|parsed| parsed.to_timestamp())
            .map_err(|_| {
                format!("{time:?} is not a log's time: write it like 22/Nov/2026:03:00:00 +0000")
            })?
            .as_second();
        let request = after
            .split_once('"')
            .and_then(|(_, rest)| rest.split_once('"'))
            .map(|(request, _)| request)
            .ok_or("there is no \"request\" after the time")?;
        match LoggedRequest::parse(request) {
            Some(request) => {
                let number = self.number_of(request)?;
                self.seconds.entry(second).or_default().push(number);
            }
            // What a broken client sent is in real logs; it is no reason to refuse the others.
            None => *self.left_out.entry(shortened(request)).or_default() += 1,
        }
        Ok(())
    }

    fn number_of(&mut self, request: LoggedRequest) -> Result<u32, String> {
        if let Some(number) = self.known.get(&request) {
            return Ok(*number);
        }
        let number = u32::try_from(self.distinct.len())
            .map_err(|_| "there are too many different requests before it".to_owned())?;
        self.distinct.push(request.clone());
        self.known.insert(request, number);
        Ok(number)
    }

    /// A burst for each second that had requests, the requests, and how often what was left out.
    pub(super) fn finish(self) -> (Vec<Burst>, Logged, BTreeMap<String, u64>) {
        let start = self.seconds.keys().next().copied().unwrap_or(0);
        let mut bursts = Vec::with_capacity(self.seconds.len());
        let mut order = Vec::new();
        for (second, numbers) in self.seconds {
            bursts.push(Burst {
                begin: Duration::from_secs(second.abs_diff(start)),
                length: Duration::from_secs(1),
                count: numbers.len() as u64,
            });
            order.extend(numbers);
        }
        let logged = Logged {
            distinct: self.distinct,
            order,
        };
        (bursts, logged, self.left_out)
    }
}

impl LoggedRequest {
    /// Reads `GET /path?query HTTP/1.1`; nothing where a path of this server cannot be asked for so.
    fn parse(request: &str) -> Option<Self> {
        let mut words = request.split(' ');
        let method = words.next()?;
        let path = words.next()?;
        let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
        let is_path = path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_method || !is_path || method == "CONNECT" {
            return None;
        }
        Some(Self {
            method: Method::from_bytes(method.as_bytes()).ok()?,
            path: path.into(),
        })
    }
}

/// Enough of a request to know it again.
fn shortened(request: &str) -> String {
    const MOST: usize = 20;
    let method = request.split(' ').next().unwrap_or_default();
    if method.is_empty() {
        return "(empty)".to_owned();
    }
    method.chars().take(MOST).collect()
}
