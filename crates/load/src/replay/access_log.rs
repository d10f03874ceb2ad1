//! Access logs in the common and the combined format, as Apache and nginx write them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::Burst;

/// Collects the lines of an access log. Lines may be a little out of order: a server writes them
/// when a request ends.
#[derive(Debug, Default)]
pub(super) struct Reader {
    seconds: BTreeMap<i64, Vec<Arc<str>>>,
    known: HashSet<Arc<str>>,
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
        let mut words = request.split(' ');
        let method = words.next().unwrap_or_default();
        let path = words.next().unwrap_or_default();
        // Only these can be sent again from what a log holds.
        if !matches!(method, "GET" | "HEAD") || !path.starts_with('/') {
            let name = if method.is_empty() { "-" } else { method };
            *self.left_out.entry(name.to_owned()).or_default() += 1;
            return Ok(());
        }
        let path = self.known.get(path).cloned().unwrap_or_else(|| {
            let path: Arc<str> = path.into();
            self.known.insert(Arc::clone(&path));
            path
        });
        self.seconds.entry(second).or_default().push(path);
        Ok(())
    }

    /// A burst for each second that had requests, and what was left out by method.
    pub(super) fn finish(self) -> (Vec<Burst>, BTreeMap<String, u64>) {
        let start = self.seconds.keys().next().copied().unwrap_or(0);
        let bursts = self
            .seconds
            .into_iter()
            .map(|(second, paths)| Burst {
                begin: Duration::from_secs(second.abs_diff(start)),
                length: Duration::from_secs(1),
                count: paths.len() as u64,
                paths,
            })
            .collect();
        (bursts, self.left_out)
    }
}
