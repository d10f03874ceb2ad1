//! Limits on resources and their measurement: cgroup v2, cgroup v1, or, where neither can be
//! written, `/proc`.
//!
//! Groups nest: one folder for this keeper, in it one for each pod, in it one for each container. A
//! pod's init, which only waits, stays with the keeper. A keeper's folder carries its process id and start time, so that the
//! next keeper can tell which folders nobody owns any more.

mod detect;
mod processes;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use detect::Cgroups;

use crate::sys::{self, Pid};

/// What a container or pod may use. `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// CPU time per wall time, in thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// The request, in thousandths of a core: the share it gets when there is not enough.
    pub cpu_request_millis: Option<u64>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// How use is measured and limits are enforced here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupMode {
    /// cgroup v2, all controllers needed.
    V2,
    /// cgroup v1 hierarchies.
    V1,
    /// No cgroup can be written: `/proc` tells the use, limits do not hold.
    Proc,
}

impl CgroupMode {
    /// Whether limits hold.
    pub fn enforces(self) -> bool {
        self != Self::Proc
    }
}

/// Where the use of one pod or container can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Location {
    /// A cgroup v2 folder.
    V2(PathBuf),
    /// Its folders in the v1 hierarchies.
    V1(V1Folders),
    /// The processes themselves.
    Proc {
        /// The pod's init, to which orphans fall.
        init: i32,
    },
}

/// A group's folder in each v1 hierarchy that can be written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct V1Folders {
    /// In `cpu`: shares and quota.
    pub cpu: Option<PathBuf>,
    /// In `cpuacct`: use of CPU.
    pub cpuacct: Option<PathBuf>,
    /// In `memory`.
    pub memory: Option<PathBuf>,
    /// In `pids`.
    pub pids: Option<PathBuf>,
    /// In `freezer`.
    pub freezer: Option<PathBuf>,
}

impl V1Folders {
    fn each(&self) -> impl Iterator<Item = &PathBuf> {
        [
            &self.cpu,
            &self.cpuacct,
            &self.memory,
            &self.pids,
            &self.freezer,
        ]
        .into_iter()
        .flatten()
    }

    fn joined(&self, name: &str) -> Self {
        let join = |folder: &Option<PathBuf>| folder.as_ref().map(|folder| folder.join(name));
        Self {
            cpu: join(&self.cpu),
            cpuacct: join(&self.cpuacct),
            memory: join(&self.memory),
            pids: join(&self.pids),
            freezer: join(&self.freezer),
        }
    }
}

/// What a container used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time since it started, in nanoseconds. Never decreases where cgroups tell it.
    pub cpu_nanos: u64,
    /// Memory that cannot be reclaimed at once: use less inactive file pages. In bytes.
    pub working_set_bytes: u64,
    /// Memory of its own: anonymous pages. In bytes.
    pub rss_bytes: u64,
    /// All memory charged to it, file pages included. In bytes.
    pub usage_bytes: u64,
    /// CPU periods with a limit, and how many of them were cut short.
    pub periods: u64,
    /// See `periods`.
    pub throttled_periods: u64,
    /// How long it was kept from running by its limit, in nanoseconds.
    pub throttled_nanos: u64,
    /// CPU time in its own programs and in the kernel, in nanoseconds; 0 where that is not told apart.
    pub user_nanos: u64,
    /// See `user_nanos`.
    pub system_nanos: u64,
    /// File pages charged to it. In bytes.
    pub cache_bytes: u64,
    /// What of it is swapped out. In bytes.
    pub swap_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
    /// What went through its pod's network link, where it has one of its own.
    pub traffic: Option<Traffic>,
}

/// What went through a network link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// What came in.
    pub received: Direction,
    /// What went out.
    pub sent: Direction,
}

/// One direction of a network link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Direction {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets that were damaged.
    pub errors: u64,
    /// Packets that were dropped.
    pub dropped: u64,
}

impl Traffic {
    /// What went through `link` in the network namespace of a process; `None` where it has no such link.
    #[must_use]
    pub fn of_process(pid: Pid, link: &str) -> Option<Self> {
        let links = fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
        Self::each(&links)
            .find(|(name, _)| *name == link)
            .map(|(_, traffic)| traffic)
    }

    /// The links in the text of `/proc/net/dev`, by name.
    pub(crate) fn each(text: &str) -> impl Iterator<Item = (&str, Self)> {
        text.lines().skip(2).filter_map(|line| {
            let (name, counters) = line.split_once(':')?;
            let counters: Vec<u64> = counters
                .split_whitespace()
                .filter_map(|counter| counter.parse().ok())
                .collect();
            let direction = |at: usize| {
                Some(Direction {
                    bytes: *counters.get(at)?,
                    packets: *counters.get(at + 1)?,
                    errors: *counters.get(at + 2)?,
                    dropped: *counters.get(at + 3)?,
                })
            };
            Some((
                name.trim(),
                Self {
                    received: direction(0)?,
                    sent: direction(8)?,
                },
            ))
        })
    }
}

impl Location {
    /// Measures a container whose main process is `pid`.
    ///
    /// # Errors
    /// When it is gone.
    pub fn usage(&self, pid: i32) -> io::Result<Usage> {
        match self {
            Self::V2(folder) => v2_usage(folder),
            Self::V1(folders) => v1_usage(folders, pid),
            Self::Proc { init } => processes::usage(pid, *init),
        }
    }
}

fn v2_usage(folder: &Path) -> io::Result<Usage> {
    let cpu = fs::read_to_string(folder.join("cpu.stat"))?;
    let memory = fs::read_to_string(folder.join("memory.stat"))?;
    let usage_bytes = read_number(&folder.join("memory.current"))?;
    Ok(Usage {
        cpu_nanos: counter(&cpu, "usage_usec") * 1000,
        working_set_bytes: usage_bytes.saturating_sub(counter(&memory, "inactive_file")),
        rss_bytes: counter(&memory, "anon"),
        usage_bytes,
        periods: counter(&cpu, "nr_periods"),
        throttled_periods: counter(&cpu, "nr_throttled"),
        throttled_nanos: counter(&cpu, "throttled_usec") * 1000,
        user_nanos: counter(&cpu, "user_usec") * 1000,
        system_nanos: counter(&cpu, "system_usec") * 1000,
        cache_bytes: counter(&memory, "file"),
        swap_bytes: read_number(&folder.join("memory.swap.current")).unwrap_or(0),
        processes: read_number(&folder.join("pids.current")).unwrap_or(0),
        traffic: None,
    })
}

fn v1_usage(folders: &V1Folders, pid: Pid) -> io::Result<Usage> {
    let mut usage = Usage::default();
    if folders.cpuacct.is_none() || folders.memory.is_none() {
        usage = processes::usage(pid, 0)?;
    }
    if let Some(folder) = &folders.cpuacct {
        usage.cpu_nanos = read_number(&folder.join("cpuacct.usage"))?;
        let ticks = fs::read_to_string(folder.join("cpuacct.stat")).unwrap_or_default();
        let tick = 1_000_000_000 / sys::clock_ticks();
        usage.user_nanos = counter(&ticks, "user") * tick;
        usage.system_nanos = counter(&ticks, "system") * tick;
    }
    if let Some(folder) = &folders.cpu {
        let cpu = fs::read_to_string(folder.join("cpu.stat"))?;
        usage.periods = counter(&cpu, "nr_periods");
        usage.throttled_periods = counter(&cpu, "nr_throttled");
        usage.throttled_nanos = counter(&cpu, "throttled_time");
    }
    if let Some(folder) = &folders.pids {
        usage.processes = read_number(&folder.join("pids.current")).unwrap_or(0);
    }
    if let Some(folder) = &folders.memory {
        let memory = fs::read_to_string(folder.join("memory.stat"))?;
        usage.usage_bytes = read_number(&folder.join("memory.usage_in_bytes"))?;
        usage.working_set_bytes = usage
            .usage_bytes
            .saturating_sub(counter(&memory, "total_inactive_file"));
        usage.rss_bytes = counter(&memory, "total_rss");
        usage.cache_bytes = counter(&memory, "total_cache");
        usage.swap_bytes = counter(&memory, "total_swap");
    }
    Ok(usage)
}

fn read_number(file: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(file)?;
    text.trim()
        .parse()
        .map_err(|_| io::Error::other(format!("{} holds no number", file.display())))
}

/// The number after `name` in a file of `name number` lines; 0 where there is none.
fn counter(text: &str, name: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

/// The period quotas are counted in: 100 ms, in microseconds.
const PERIOD: u64 = 100_000;

/// The kernel refuses less than 1 ms a period.
fn quota(cpu_millis: u64) -> u64 {
    (cpu_millis * PERIOD / 1000).max(1000)
}

/// Kubernetes' translation of a request into v1 shares.
fn shares(request_millis: u64) -> u64 {
    (request_millis * 1024 / 1000).clamp(2, 262_144)
}

/// Kubernetes' translation of shares (2 to 262,144) into a v2 weight (1 to 10,000).
fn weight(shares: u64) -> u64 {
    1 + (shares - 2) * 9999 / 262_142
}

/// A group as its maker, the keeper, handles it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Group {
    V2(PathBuf),
    V1(V1Folders),
    /// There are no groups here.
    Absent,
}

impl Group {
    /// Makes a group in this one. One that is there already is taken.
    pub(crate) fn child(&self, name: &str) -> io::Result<Self> {
        match self {
            Self::V2(folder) => {
                // What is in the new one is only limited when this one hands its controllers on.
                fs::write(folder.join("cgroup.subtree_control"), "+cpu +memory +pids")?;
                let child = folder.join(name);
                make_folder(&child)?;
                Ok(Self::V2(child))
            }
            Self::V1(folders) => {
                let child = folders.joined(name);
                for folder in child.each() {
                    make_folder(folder)?;
                }
                Ok(Self::V1(child))
            }
            Self::Absent => Ok(Self::Absent),
        }
    }

    /// Sets limits.
    pub(crate) fn limit(&self, limits: &Limits) -> io::Result<()> {
        let set = |folder: &Path, file: &str, value: String| {
            fs::write(folder.join(file), value)
                .map_err(|error| io::Error::new(error.kind(), format!("{file}: {error}")))
        };
        match self {
            Self::V2(folder) => {
                if let Some(cpu) = limits.cpu_millis {
                    set(folder, "cpu.max", format!("{} {PERIOD}", quota(cpu)))?;
                }
                let request = shares(limits.cpu_request_millis.unwrap_or(0));
                set(folder, "cpu.weight", weight(request).to_string())?;
                if let Some(memory) = limits.memory_bytes {
                    set(folder, "memory.max", memory.to_string())?;
                    // Absent where the kernel has no swap accounting, or is old.
                    let _ = set(folder, "memory.swap.max", "0".to_owned());
                    let _ = set(folder, "memory.oom.group", "1".to_owned());
                }
                if let Some(pids) = limits.pids {
                    set(folder, "pids.max", pids.to_string())?;
                }
            }
            Self::V1(folders) => {
                if let Some(folder) = &folders.cpu {
                    if let Some(cpu) = limits.cpu_millis {
                        set(folder, "cpu.cfs_period_us", PERIOD.to_string())?;
                        set(folder, "cpu.cfs_quota_us", quota(cpu).to_string())?;
                    }
                    let request = shares(limits.cpu_request_millis.unwrap_or(0));
                    set(folder, "cpu.shares", request.to_string())?;
                }
                if let (Some(folder), Some(memory)) = (&folders.memory, limits.memory_bytes) {
                    set(folder, "memory.limit_in_bytes", memory.to_string())?;
                }
                if let (Some(folder), Some(pids)) = (&folders.pids, limits.pids) {
                    set(folder, "pids.max", pids.to_string())?;
                }
            }
            Self::Absent => {}
        }
        Ok(())
    }

    /// Moves a process into the group.
    pub(crate) fn add(&self, pid: Pid) -> io::Result<()> {
        for folder in self.folders() {
            fs::write(folder.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(())
    }

    /// Moves the calling process into the group.
    pub(crate) fn join(&self) -> io::Result<()> {
        self.add(0)
    }

    /// How many processes were killed for want of memory.
    pub(crate) fn oom_kills(&self) -> u64 {
        let file = match self {
            Self::V2(folder) => folder.join("memory.events"),
            Self::V1(V1Folders {
                memory: Some(folder),
                ..
            }) => folder.join("memory.oom_control"),
            Self::V1(_) | Self::Absent => return 0,
        };
        fs::read_to_string(file).map_or(0, |text| counter(&text, "oom_kill"))
    }

    /// Kills every process in the group itself.
    pub(crate) fn kill(&self) {
        // What has gone meanwhile need not be killed: no error matters here, and whoever removes
        // the group finds out whether it is empty.
        match self {
            Self::V2(folder) => {
                if fs::write(folder.join("cgroup.kill"), "1").is_err() {
                    kill_listed(folder);
                }
            }
            Self::V1(folders) => {
                // Frozen, so that none gets away by forking.
                let state = folders
                    .freezer
                    .as_ref()
                    .map(|folder| folder.join("freezer.state"));
                let set = |value| state.as_ref().map(|state| fs::write(state, value));
                let _ = set("FROZEN");
                if let Some(folder) = folders.each().last() {
                    kill_listed(folder);
                }
                let _ = set("THAWED");
            }
            Self::Absent => {}
        }
    }

    /// Removes the group with those in it. False as long as a process is in one of them.
    pub(crate) fn remove(&self) -> bool {
        let mut gone = true;
        for folder in self.folders() {
            gone &= remove_tree(folder);
        }
        gone
    }

    pub(crate) fn location(&self, init: Pid) -> Location {
        match self {
            Self::V2(folder) => Location::V2(folder.clone()),
            Self::V1(folders) => Location::V1(folders.clone()),
            Self::Absent => Location::Proc { init },
        }
    }

    fn folders(&self) -> Vec<&PathBuf> {
        match self {
            Self::V2(folder) => vec![folder],
            Self::V1(folders) => folders.each().collect(),
            Self::Absent => Vec::new(),
        }
    }
}

/// Kills what runs in a container where there are no cgroups, found by its mount namespace.
pub(crate) fn kill_by_namespace(namespace: u64, main: Pid, init: Pid) {
    for pid in processes::in_namespace(namespace, main, init) {
        let _ = sys::kill(pid, libc::SIGKILL);
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn kill_listed(folder: &Path) {
    let Ok(listed) = fs::read_to_string(folder.join("cgroup.procs")) else {
        return;
    };
    for pid in listed
        .lines()
        .filter_map(|line| line.parse::<Pid>().ok())
        .filter(|pid| *pid > 0)
    {
        let _ = sys::kill(pid, libc::SIGKILL);
    }
}

fn remove_tree(folder: &Path) -> bool {
    if let Ok(entries) = fs::read_dir(folder) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_tree(&entry.path());
            }
        }
    }
    match fs::remove_dir(folder) {
        Err(error) => error.kind() == io::ErrorKind::NotFound,
        Ok(()) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_become_shares_and_weights_as_in_kubernetes() {
        for (millis, expected_shares, expected_weight) in [
            (0, 2, 1),
            (100, 102, 4),
            (200, 204, 8),
            (1000, 1024, 39),
            (1_000_000, 262_144, 10_000),
        ] {
            assert_eq!(shares(millis), expected_shares);
            assert_eq!(weight(shares(millis)), expected_weight);
        }
        assert_eq!(quota(500), 50_000);
        assert_eq!(quota(1), 1000);
    }

    #[test]
    fn counters_are_found_by_their_whole_name() {
        let text = "inactive_file 5\ntotal_inactive_file 7\n";
        assert_eq!(counter(text, "total_inactive_file"), 7);
        assert_eq!(counter(text, "inactive_file"), 5);
        assert_eq!(counter(text, "file"), 0);
    }
}
