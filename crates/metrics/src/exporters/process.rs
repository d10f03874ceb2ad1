//! `process_*` of this process, with the names of Prometheus' client libraries, and `tide_build_info`.

use std::fs;
use std::path::Path;

use crate::instruments::{Kind, Text};

/// How many ticks of `/proc/PID/stat` are a second; the same on every Linux this runs on.
const TICKS_PER_SECOND: f64 = 100.0;
/// Memory is told in pages of this many bytes on the machines this runs on.
const PAGE: f64 = 4096.0;

/// Writes what `/proc` tells of this process. What it does not tell is left out.
pub fn write(text: &mut Text) {
    write_from(Path::new("/proc"), text);
}

/// Writes which program this is.
pub fn write_build_info(version: &str, text: &mut Text) {
    text.family(
        "tide_build_info",
        "Which version of tide this is.",
        Kind::Gauge,
    )
    .sample(&[("version", version)], 1.0);
}

fn write_from(proc: &Path, text: &mut Text) {
    let own = proc.join("self");
    let stat = fs::read_to_string(own.join("stat")).unwrap_or_default();
    // The program's name, in parentheses, may hold spaces.
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| {
            rest.split_whitespace()
                .map(|field| field.parse().unwrap_or(0.0))
                .collect()
        })
        .unwrap_or_default();
    // Numbered from the state, which is field 3 of proc(5).
    let field = |number: usize| fields.get(number - 3).copied();
    let mut one = |name: &str, help: &str, kind: Kind, value: Option<f64>| {
        if let Some(value) = value {
            text.family(name, help, kind).sample(&[], value);
        }
    };
    let cpu = field(14)
        .zip(field(15))
        .map(|(user, system)| (user + system) / TICKS_PER_SECOND);
    one(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
        Kind::Counter,
        cpu,
    );
    let limits = fs::read_to_string(own.join("limits")).unwrap_or_default();
    one(
        "process_max_fds",
        "Maximum number of open file descriptors.",
        Kind::Gauge,
        limit(&limits, "Max open files"),
    );
    let open = fs::read_dir(own.join("fd"))
        .ok()
        .map(|entries| entries.count() as f64);
    one(
        "process_open_fds",
        "Number of open file descriptors.",
        Kind::Gauge,
        open,
    );
    let resident = field(24).map(|pages| pages * PAGE);
    one(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        Kind::Gauge,
        resident,
    );
    let booted = fs::read_to_string(proc.join("stat")).unwrap_or_default();
    let booted = booted
        .lines()
        .find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
    let start = field(22)
        .zip(booted)
        .map(|(ticks, booted)| booted + ticks / TICKS_PER_SECOND);
    one(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        Kind::Gauge,
        start,
    );
    one(
        "process_threads",
        "Number of threads of the process.",
        Kind::Gauge,
        field(20),
    );
    one(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        Kind::Gauge,
        field(23),
    );
    one(
        "process_virtual_memory_max_bytes",
        "Maximum amount of virtual memory available in bytes.",
        Kind::Gauge,
        limit(&limits, "Max address space"),
    );
}

/// The soft limit of a line of `/proc/PID/limits`; no limit is told as the largest number, as Prometheus' clients do.
fn limit(limits: &str, name: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX as f64),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_told_of() {
        let mut text = Text::default();
        write(&mut text);
        write_build_info("1.2.3", &mut text);
        let text = text.into_string();
        for name in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_start_time_seconds",
        ] {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            assert!(value.is_some_and(|value| value >= 0.0), "{name}\n{text}");
        }
        assert!(text.contains("tide_build_info{version=\"1.2.3\""));
    }
}
