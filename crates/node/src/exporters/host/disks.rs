//! `node_disk_*`, from the text of `/proc/diskstats`.

use springtide_machinery::instruments::{Kind, Text};

/// Counters of `/proc/diskstats` in bytes are counted in these, whatever the disk's own sectors are.
const SECTOR: f64 = 512.0;

/// Column (after the device's name), name, help, kind, and what one is in the family's unit.
const FAMILIES: [(usize, &str, &str, Kind, f64); 11] = [
    (
        9,
        "node_disk_io_now",
        "The number of I/Os currently in progress.",
        Kind::Gauge,
        1.0,
    ),
    (
        10,
        "node_disk_io_time_seconds_total",
        "Total seconds spent doing I/Os.",
        Kind::Counter,
        0.001,
    ),
    (
        11,
        "node_disk_io_time_weighted_seconds_total",
        "The weighted # of seconds spent doing I/Os.",
        Kind::Counter,
        0.001,
    ),
    (
        3,
        "node_disk_read_bytes_total",
        "The total number of bytes read successfully.",
        Kind::Counter,
        SECTOR,
    ),
    (
        4,
        "node_disk_read_time_seconds_total",
        "The total number of seconds spent by all reads.",
        Kind::Counter,
        0.001,
    ),
    (
        1,
        "node_disk_reads_completed_total",
        "The total number of reads completed successfully.",
        Kind::Counter,
        1.0,
    ),
    (
        2,
        "node_disk_reads_merged_total",
        "The total number of reads merged.",
        Kind::Counter,
        1.0,
    ),
    (
        8,
        "node_disk_write_time_seconds_total",
        "This is the total number of seconds spent by all writes.",
        Kind::Counter,
        0.001,
    ),
    (
        5,
        "node_disk_writes_completed_total",
        "The total number of writes completed successfully.",
        Kind::Counter,
        1.0,
    ),
    (
        6,
        "node_disk_writes_merged_total",
        "The number of writes merged.",
        Kind::Counter,
        1.0,
    ),
    (
        7,
        "node_disk_written_bytes_total",
        "The total number of bytes written successfully.",
        Kind::Counter,
        SECTOR,
    ),
];

/// Writes the families of all whole disks.
pub(super) fn write(diskstats: &str, text: &mut Text) {
    let disks = diskstats.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(2);
        let device = fields.next().filter(|device| is_disk(device))?;
        Some((
            device,
            fields.map(|field| field.parse().unwrap_or(0.0)).collect(),
        ))
    });
    let disks: Vec<(&str, Vec<f64>)> = disks.collect();
    for (column, name, help, kind, unit) in FAMILIES {
        let mut family = text.family(name, help, kind);
        for (device, counters) in &disks {
            if let Some(value) = counters.get(column - 1) {
                family.sample(&[("device", device)], value * unit);
            }
        }
    }
}

/// Not a RAM disk, loop, floppy or partition: those node_exporter leaves out.
fn is_disk(device: &str) -> bool {
    let numbered = |prefix: &str| {
        let rest = device.strip_prefix(prefix);
        rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let partition_of_letters = ["hd", "sd", "vd", "xvd"].iter().any(|prefix| {
        let rest = device.strip_prefix(prefix).unwrap_or_default();
        rest.ends_with(|last: char| last.is_ascii_digit())
    });
    let partition_of_nvme = device.starts_with("nvme")
        && device
            .rsplit_once('p')
            .is_some_and(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()));
    !(["ram", "loop", "fd", "z"].into_iter().any(numbered)
        || partition_of_letters
        || partition_of_nvme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_disks_are_told_of_in_bytes_and_seconds() {
        let mut text = Text::default();
        let stats = " 7 0 loop0 1 0 0 0\n 254 0 vda 10 1 16 250 20 2 32 500 3 750 1000 0 0 0 0\n 254 1 vda1 1 1 1 1\n 259 0 nvme0n1 1\n 259 1 nvme0n1p1 1\n";
        write(stats, &mut text);
        let text = text.into_string();
        for line in [
            "node_disk_read_bytes_total{device=\"vda\"} 8192",
            "node_disk_written_bytes_total{device=\"vda\"} 16384",
            "node_disk_io_time_seconds_total{device=\"vda\"} 0.75",
            "node_disk_reads_completed_total{device=\"nvme0n1\"} 1",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "missing: {line}\n{text}"
            );
        }
        assert!(!text.contains("loop0") && !text.contains("vda1") && !text.contains("nvme0n1p1"));
    }
}
