//! Measures the time series database without a network: samples taken a second on one core, bytes a sample, memory,
//! restart, and ten queries that dashboards ask.
//!
//! ```text
//! cargo run --release -p springtide-metrics --example tsdb_speed -- [SERIES] [HOURS]
//! ```

use std::fs;
use std::time::Duration;

use springtide_machinery::clock::Clock;
use springtide_metrics::promql::{Cancel, Options as QueryOptions, Query, Span, Value};
use springtide_metrics::series_store::Labels;
use springtide_metrics::tsdb::{Options, SeriesRef, Tsdb};
use tokio::time::Instant;

const STEP: i64 = 15_000;
const START: i64 = 1_700_000_000_000;

/// What is asked, and over which part of the time.
const QUERIES: [(&str, i64, i64); 10] = [
    ("sum(rate(http_requests_total[5m]))", 24, 60),
    ("sum by (route) (rate(http_requests_total[5m]))", 24, 60),
    (
        "sum by (instance) (rate(http_requests_total{status=~\"5..\"}[5m]))",
        6,
        15,
    ),
    (
        "sum(rate(http_requests_total{status=~\"5..\"}[5m])) / sum(rate(http_requests_total[5m]))",
        6,
        15,
    ),
    (
        "histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m])))",
        6,
        15,
    ),
    ("topk(5, sum by (instance) (memory_bytes))", 24, 120),
    ("max_over_time(memory_bytes[1h])", 6, 60),
    ("avg by (job) (avg_over_time(memory_bytes[10m]))", 24, 120),
    ("memory_bytes{instance=\"instance-7\"}", 24, 60),
    ("count(http_requests_total)", 1, 15),
];

/// A small generator of numbers that look random, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn all_series(count: usize) -> Vec<Labels> {
    let statuses = ["200", "201", "404", "500", "503"];
    let bounds = ["0.01", "0.1", "0.5", "1", "+Inf"];
    let series = (0..count).map(|at| {
        let instance = format!("instance-{}", at / 100);
        let route = format!("/api/v1/route-{}", at / 5 % 10);
        let mut pairs = vec![
            ("job", "application".to_owned()),
            ("namespace", "production".to_owned()),
            ("instance", instance),
            ("pod", format!("application-6f7d8c9b5-{:05}", at / 100)),
        ];
        match at % 100 {
            kind @ 0..50 => {
                pairs.push(("__name__", "http_requests_total".to_owned()));
                pairs.push(("route", route));
                pairs.push(("status", statuses[kind % 5].to_owned()));
            }
            kind @ 50..75 => {
                pairs.push((
                    "__name__",
                    "http_request_duration_seconds_bucket".to_owned(),
                ));
                pairs.push(("route", route));
                pairs.push(("le", bounds[kind % 5].to_owned()));
            }
            kind => {
                pairs.push(("__name__", "memory_bytes".to_owned()));
                pairs.push(("area", format!("area-{kind}")));
            }
        }
        Labels::new(pairs)
    });
    series.collect()
}

fn resident_megabytes() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: usize = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let hours: i64 = arguments.next().map_or(Ok(24), |text| text.parse())?;
    let folder = tempfile::tempdir()?;
    let options = Options {
        retention: None,
        ..Options::default()
    };
    let database = Tsdb::open(folder.path(), options.clone(), Clock::system())?;
    let labels = all_series(count);
    let mut references: Vec<Option<SeriesRef>> = vec![None; count];
    let mut values = vec![1000.0_f64; count];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let rounds = hours * 3_600_000 / STEP;
    let mut appending = Duration::ZERO;
    let mut maintaining = Duration::ZERO;
    for round in 0..rounds {
        for (at, value) in values.iter_mut().enumerate() {
            let drawn = random.next();
            match at % 100 {
                0..75 => *value += (drawn % 8) as f64,
                _ if drawn.is_multiple_of(4) => *value = (1_000_000 + drawn % 4096 * 4096) as f64,
                _ => {}
            }
        }
        let started = Instant::now();
        let mut appender = database.appender();
        for ((labels, reference), value) in labels.iter().zip(&mut references).zip(&values) {
            *reference = Some(appender.append(labels, *reference, START + round * STEP, *value)?);
        }
        appender.commit()?;
        appending += started.elapsed();
        let started = Instant::now();
        database.maintain()?;
        maintaining += started.elapsed();
    }
    let samples = (count as i64 * rounds) as f64;
    let second = |samples: f64, time: Duration| samples / time.as_secs_f64() / 1e3;
    println!(
        "append      {:>10.0} thousand samples a second ({:.0} with blocks and compaction)",
        second(samples, appending),
        second(samples, appending + maintaining)
    );
    let stats = database.stats();
    println!(
        "blocks      {:>10} of {} bytes: {:.2} bytes a sample with the index; memory {:.2}",
        stats.blocks,
        stats.block_bytes,
        stats.block_bytes as f64 / stats.block_samples as f64,
        stats.chunk_bytes as f64 / stats.samples as f64,
    );
    println!(
        "memory      {:>10.1} MB resident, {:.0} bytes a series",
        resident_megabytes(),
        resident_megabytes() * 1024.0 * 1024.0 / count as f64
    );
    drop(database);
    let started = Instant::now();
    let database = Tsdb::open(folder.path(), options, Clock::system())?;
    println!(
        "restart     {:>10.1} ms",
        started.elapsed().as_secs_f64() * 1e3
    );
    let end = START + (rounds - 1) * STEP;
    for (text, back, step) in QUERIES {
        let query = Query::parse(text, QueryOptions::default())?;
        let span = Span {
            start: end - back.min(hours) * 3_600_000,
            end,
            step: step * 1000,
        };
        let mut best = Duration::MAX;
        let mut series = 0;
        for _ in 0..3 {
            let started = Instant::now();
            let answer = query.range(&database, span, &Cancel::default())?;
            best = best.min(started.elapsed());
            if let Value::Matrix(matrix) = answer.value {
                series = matrix.len();
            }
        }
        println!(
            "query       {:>10.1} ms, {series} series: {text} [{back}h by {step}s]",
            best.as_secs_f64() * 1e3
        );
    }
    println!("memory      {:>10.1} MB resident", resident_megabytes());
    Ok(())
}
