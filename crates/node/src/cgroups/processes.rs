//! Measuring and finding a container's processes by `/proc`, for hosts without writable cgroups.
//!
//! A container's processes share a mount namespace, which nothing in a container can change.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use super::Usage;
use crate::sys::{self, Pid};

/// Identifies a process' mount namespace.
fn mount_namespace(pid: Pid) -> io::Result<u64> {
    Ok(fs::metadata(format!("/proc/{pid}/ns/mnt"))?.ino())
}

/// The processes of a mount namespace among the descendants of `main` and of `init` (0: none).
pub(super) fn in_namespace(namespace: u64, main: Pid, init: Pid) -> BTreeSet<Pid> {
    let mut found = BTreeSet::new();
    let mut looked_at = BTreeSet::new();
    let mut to_look_at = vec![main, init];
    while let Some(pid) = to_look_at.pop() {
        if pid <= 0 || !looked_at.insert(pid) {
            continue;
        }
        if mount_namespace(pid).is_ok_and(|own| own == namespace) {
            found.insert(pid);
        }
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            // A kernel without this file only tells of the main process.
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            to_look_at.extend(
                children
                    .split_whitespace()
                    .filter_map(|n| n.parse::<Pid>().ok()),
            );
        }
    }
    found
}

/// Adds up what a container's living processes, and the children they have waited for, used. What
/// an orphan used before it died is lost.
pub(super) fn usage(main: Pid, init: Pid) -> io::Result<Usage> {
    let namespace = mount_namespace(main)?;
    let mut ticks = 0;
    let mut usage = Usage::default();
    for pid in in_namespace(namespace, main, init) {
        // One that has ended meanwhile is counted by its parent.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        let Ok(memory) = fs::read_to_string(format!("/proc/{pid}/statm")) else {
            continue;
        };
        ticks += cpu_ticks(&stat);
        let (resident, shared) = pages(&memory);
        usage.rss_bytes += resident.saturating_sub(shared) * PAGE;
        usage.usage_bytes += resident * PAGE;
    }
    usage.cpu_nanos = ticks * (1_000_000_000 / sys::clock_ticks());
    usage.working_set_bytes = usage.rss_bytes;
    Ok(usage)
}

const PAGE: u64 = 4096;

/// Own and waited-for children's user and system time.
fn cpu_ticks(stat: &str) -> u64 {
    // The command's name is in brackets and may hold anything, brackets too.
    let Some((_, fields)) = stat.rsplit_once(')') else {
        return 0;
    };
    fields
        .split_whitespace()
        .skip(11)
        .take(4)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum()
}

fn pages(memory: &str) -> (u64, u64) {
    let mut fields = memory
        .split_whitespace()
        .skip(1)
        .map(|field| field.parse().unwrap_or(0));
    (fields.next().unwrap_or(0), fields.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "12 (a) b) S 1 12 12 0 -1 4194560 100 0 0 0 7 8 9 10 20 0 1 0 100 0 0";
        assert_eq!(cpu_ticks(stat), 7 + 8 + 9 + 10);
    }
}
