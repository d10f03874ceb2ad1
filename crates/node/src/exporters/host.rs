//! `node_*`: the machine, with the names and labels of node_exporter's core collectors, from `/proc`.

mod disks;
mod numbers;

use std::path::Path;

use jiff::Timestamp;
use springtide_machinery::instruments::{Kind, Text};

use crate::cgroups::Traffic;

/// Kinds of mounts that hold no files of anybody; node_exporter leaves them out, too.
const NO_FILE_SYSTEMS: [&str; 25] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
    "erofs",
];

/// Writes all families; what the machine does not tell is left out.
pub(crate) fn write(now: Timestamp, text: &mut Text) {
    let proc = Path::new("/proc");
    let read = |file: &str| std::fs::read_to_string(proc.join(file)).unwrap_or_default();
    numbers::stat(&read("stat"), text);
    numbers::memory(&read("meminfo"), text);
    numbers::load(&read("loadavg"), text);
    numbers::file_descriptors(&read("sys/fs/file-nr"), text);
    numbers::virtual_memory(&read("vmstat"), text);
    for resource in ["cpu", "io", "memory"] {
        numbers::pressure(resource, &read(&format!("pressure/{resource}")), text);
    }
    disks::write(&read("diskstats"), text);
    // The process's main thread is in the host's network, whichever thread reads this.
    links(&read("self/net/dev"), text);
    file_systems(&read("self/mounts"), text);
    uname(text);
    let seconds = now.as_millisecond() as f64 / 1000.0;
    text.family(
        "node_time_seconds",
        "System time in seconds since epoch (1970).",
        Kind::Gauge,
    )
    .sample(&[], seconds);
}

fn uname(text: &mut Text) {
    let uname = rustix::system::uname();
    let told = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let labels = [
        ("domainname", told(uname.domainname())),
        ("machine", told(uname.machine())),
        ("nodename", told(uname.nodename())),
        ("release", told(uname.release())),
        ("sysname", told(uname.sysname())),
        ("version", told(uname.version())),
    ];
    let labels: Vec<(&str, &str)> = labels
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let help = "Labeled system information as provided by the uname system call.";
    text.family("node_uname_info", help, Kind::Gauge)
        .sample(&labels, 1.0);
}

fn links(dev: &str, text: &mut Text) {
    let all: Vec<(&str, Traffic)> = Traffic::each(dev).collect();
    for (way, received) in [("receive", true), ("transmit", false)] {
        for part in ["bytes", "drop", "errs", "packets"] {
            let name = format!("node_network_{way}_{part}_total");
            let help = format!("Network device statistic {way}_{part}.");
            let mut family = text.family(&name, &help, Kind::Counter);
            for (link, traffic) in &all {
                let direction = if received {
                    &traffic.received
                } else {
                    &traffic.sent
                };
                let value = match part {
                    "bytes" => direction.bytes,
                    "drop" => direction.dropped,
                    "errs" => direction.errors,
                    _ => direction.packets,
                };
                family.sample(&[("device", link)], value as f64);
            }
        }
    }
}

struct FileSystem<'a> {
    device: &'a str,
    kind: &'a str,
    place: String,
    read_only: bool,
    size: rustix::fs::StatVfs,
}

/// A number of a file system.
type Value = fn(&FileSystem<'_>) -> f64;

/// The file systems of the text of `/proc/self/mounts`; of those mounted twice the first place.
fn file_systems(mounts: &str, text: &mut Text) {
    let mut seen = std::collections::BTreeSet::new();
    let mut all = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ');
        let (Some(device), Some(place), Some(kind), Some(options)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let place = place
            .replace("\\040", " ")
            .replace("\\011", "\t")
            .replace("\\134", "\\");
        let hidden = ["/proc", "/sys", "/dev"].iter().any(|folder| {
            place
                .strip_prefix(folder)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        if hidden || NO_FILE_SYSTEMS.contains(&kind) || !seen.insert((device, kind)) {
            continue;
        }
        // One that does not answer, or may not be asked, is left out.
        let Ok(size) = rustix::fs::statvfs(place.as_str()) else {
            continue;
        };
        let read_only = options.split(',').any(|option| option == "ro");
        all.push(FileSystem {
            device,
            kind,
            place,
            read_only,
            size,
        });
    }
    let values: [(&str, &str, Value); 6] = [
        (
            "avail_bytes",
            "Filesystem space available to non-root users in bytes.",
            |found| (found.size.f_bavail * found.size.f_frsize) as f64,
        ),
        ("files", "Filesystem total file nodes.", |found| {
            found.size.f_files as f64
        }),
        ("files_free", "Filesystem total free file nodes.", |found| {
            found.size.f_ffree as f64
        }),
        ("free_bytes", "Filesystem free space in bytes.", |found| {
            (found.size.f_bfree * found.size.f_frsize) as f64
        }),
        ("readonly", "Filesystem read-only status.", |found| {
            f64::from(u8::from(found.read_only))
        }),
        ("size_bytes", "Filesystem size in bytes.", |found| {
            (found.size.f_blocks * found.size.f_frsize) as f64
        }),
    ];
    for (name, help, value) in values {
        let name = format!("node_filesystem_{name}");
        let mut family = text.family(&name, help, Kind::Gauge);
        for found in &all {
            let labels = [
                ("device", found.device),
                ("fstype", found.kind),
                ("mountpoint", found.place.as_str()),
            ];
            family.sample(&labels, value(found));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_tells_of_all_core_families() {
        let mut text = Text::default();
        write("2026-01-02T03:04:05.5Z".parse().expect("a time"), &mut text);
        let text = text.into_string();
        for start in [
            "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} ",
            "node_memory_MemTotal_bytes ",
            "node_memory_MemAvailable_bytes ",
            "node_load1 ",
            "node_boot_time_seconds ",
            "node_uname_info{domainname=",
            "node_network_receive_bytes_total{device=\"lo\"} ",
            "node_time_seconds 1767323045.5",
        ] {
            assert!(
                text.lines().any(|line| line.starts_with(start)),
                "missing: {start}\n{text}"
            );
        }
    }

    #[test]
    fn a_file_system_is_told_of_once_and_pseudo_file_systems_never() {
        let mut text = Text::default();
        file_systems(
            "/dev/x / ext4 ro,relatime 0 0\n/dev/x /tmp ext4 rw 0 0\nproc /proc proc rw 0 0\n",
            &mut text,
        );
        let text = text.into_string();
        assert!(text.contains(
            "node_filesystem_readonly{device=\"/dev/x\",fstype=\"ext4\",mountpoint=\"/\"} 1"
        ));
        assert_eq!(text.matches("node_filesystem_size_bytes{").count(), 1);
    }
}
