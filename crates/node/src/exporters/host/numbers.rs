//! Families that are numbers in files of `/proc`: each function takes a file's text.

use springtide_machinery::instruments::{Kind, Text};

use crate::sys;

const MODES: [&str; 8] = [
    "user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal",
];

/// `/proc/stat`: CPU time, and what the kernel counted since it started.
pub(super) fn stat(stat: &str, text: &mut Text) {
    let tick = 1.0 / sys::clock_ticks() as f64;
    let mut family = text.family(
        "node_cpu_seconds_total",
        "Seconds the CPUs spent in each mode.",
        Kind::Counter,
    );
    for line in stat.lines() {
        let mut fields = line.split_whitespace();
        let Some(cpu) = fields.next().and_then(|name| name.strip_prefix("cpu")) else {
            continue;
        };
        if cpu.is_empty() {
            continue;
        }
        let mut ticks: Vec<(&str, f64)> = MODES
            .into_iter()
            .zip(fields.map(|field| field.parse().unwrap_or(0.0)))
            .collect();
        ticks.sort_by_key(|(mode, _)| *mode);
        for (mode, ticks) in ticks {
            family.sample(&[("cpu", cpu), ("mode", mode)], ticks * tick);
        }
    }
    for (key, name, help, kind) in [
        (
            "btime",
            "node_boot_time_seconds",
            "Node boot time, in unixtime.",
            Kind::Gauge,
        ),
        (
            "ctxt",
            "node_context_switches_total",
            "Total number of context switches.",
            Kind::Counter,
        ),
        (
            "processes",
            "node_forks_total",
            "Total number of forks.",
            Kind::Counter,
        ),
        (
            "intr",
            "node_intr_total",
            "Total number of interrupts serviced.",
            Kind::Counter,
        ),
        (
            "procs_blocked",
            "node_procs_blocked",
            "Number of processes blocked waiting for I/O to complete.",
            Kind::Gauge,
        ),
        (
            "procs_running",
            "node_procs_running",
            "Number of processes in runnable state.",
            Kind::Gauge,
        ),
    ] {
        if let Some(value) = first_number(stat, key) {
            text.family(name, help, kind).sample(&[], value);
        }
    }
}

/// The number after a key at the start of a line.
fn first_number(text: &str, key: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        (fields.next()? == key).then(|| fields.next()?.parse().ok())?
    })
}

/// `/proc/meminfo`: every line, in bytes.
pub(super) fn memory(meminfo: &str, text: &mut Text) {
    for line in meminfo.lines() {
        let Some((key, rest)) = line.split_once(':') else {
            continue;
        };
        let mut fields = rest.split_whitespace();
        let Some(number) = fields.next().and_then(|number| number.parse::<f64>().ok()) else {
            continue;
        };
        let key: String = key.replace('(', "_").replace(')', "");
        let (name, value) = match fields.next() {
            Some("kB") => (format!("node_memory_{key}_bytes"), number * 1024.0),
            _ => (format!("node_memory_{key}"), number),
        };
        let help = format!(
            "Memory information field {}.",
            name.trim_start_matches("node_memory_")
        );
        text.family(&name, &help, Kind::Gauge).sample(&[], value);
    }
}

/// `/proc/loadavg`.
pub(super) fn load(loadavg: &str, text: &mut Text) {
    for (minutes, field) in ["1", "5", "15"].into_iter().zip(loadavg.split_whitespace()) {
        if let Ok(value) = field.parse() {
            text.family(
                &format!("node_load{minutes}"),
                &format!("{minutes}m load average."),
                Kind::Gauge,
            )
            .sample(&[], value);
        }
    }
}

/// `/proc/sys/fs/file-nr`.
pub(super) fn file_descriptors(file_nr: &str, text: &mut Text) {
    let numbers: Vec<f64> = file_nr
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    if let [allocated, _, maximum] = numbers[..] {
        let mut one = |name: &str, told: &str, value| {
            text.family(
                name,
                &format!("File descriptor statistics: {told}."),
                Kind::Gauge,
            )
            .sample(&[], value);
        };
        one("node_filefd_allocated", "allocated", allocated);
        one("node_filefd_maximum", "maximum", maximum);
    }
}

/// `/proc/vmstat`: what node_exporter tells of it unless asked for more.
pub(super) fn virtual_memory(vmstat: &str, text: &mut Text) {
    for key in [
        "oom_kill",
        "pgfault",
        "pgmajfault",
        "pgpgin",
        "pgpgout",
        "pswpin",
        "pswpout",
    ] {
        if let Some(value) = first_number(vmstat, key) {
            let help = format!("/proc/vmstat information field {key}.");
            text.family(&format!("node_vmstat_{key}"), &help, Kind::Untyped)
                .sample(&[], value);
        }
    }
}

/// `/proc/pressure/cpu`, `io` and `memory`: how long something waited for it (some) and nothing went on (full).
pub(super) fn pressure(resource: &str, pressure: &str, text: &mut Text) {
    for line in pressure.lines() {
        let Some((share, rest)) = line.split_once(' ') else {
            continue;
        };
        let total = rest
            .split_whitespace()
            .find_map(|field| field.strip_prefix("total=")?.parse::<f64>().ok());
        let name = match (share, resource) {
            ("some", resource) => format!("node_pressure_{resource}_waiting_seconds_total"),
            // Of the whole machine's CPU this is always 0.
            ("full", "io" | "memory") => format!("node_pressure_{resource}_stalled_seconds_total"),
            _ => continue,
        };
        if let Some(microseconds) = total {
            let help = "Total time in seconds that processes have waited or no process could make progress.";
            text.family(&name, help, Kind::Counter)
                .sample(&[], microseconds / 1e6);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(write: impl FnOnce(&mut Text)) -> String {
        let mut text = Text::default();
        write(&mut text);
        text.into_string()
    }

    #[test]
    fn cores_and_counts_are_told_of() {
        let text = told(|text| {
            stat(
                "cpu  9 9 9 9\ncpu0 100 20 30 400 50 6 7 8 0 0\nbtime 1767323045\nctxt 12\nprocs_running 3\n",
                text,
            );
        });
        for line in [
            "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 4",
            "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 1",
            "node_boot_time_seconds 1767323045",
            "node_procs_running 3",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "missing: {line}\n{text}"
            );
        }
    }

    #[test]
    fn memory_is_told_in_bytes_and_parentheses_become_names() {
        let text = told(|text| {
            memory(
                "MemTotal:  16 kB\nActive(anon): 2 kB\nHugePages_Total: 3\n",
                text,
            );
        });
        for line in [
            "node_memory_MemTotal_bytes 16384",
            "node_memory_Active_anon_bytes 2048",
            "node_memory_HugePages_Total 3",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "missing: {line}\n{text}"
            );
        }
    }

    #[test]
    fn pressure_is_told_in_seconds() {
        let text = told(|text| {
            pressure(
                "io",
                "some avg10=0 avg60=0 avg300=0 total=2500000\nfull avg10=0 total=1000000\n",
                text,
            );
        });
        assert!(text.contains("node_pressure_io_waiting_seconds_total 2.5\n"));
        assert!(text.contains("node_pressure_io_stalled_seconds_total 1\n"));
    }
}
