//! Writes the samples of `bench/promql` by Prometheus' remote write, a minute of all series at once, and prints how
//! long it took as JSON.
//!
//! usage: bench-promql-writer HOST:PORT SERIES HOURS END    END in seconds since the epoch

use std::io::{Read, Write};
use std::net::TcpStream;

use tokio::time::Instant;

type Failure = Box<dyn std::error::Error>;

const STEP: i64 = 15_000;
/// Samples of a series in one request.
const SAMPLES: i64 = 4;
/// Series in one request.
const BATCH: usize = 1000;

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

/// A field of a protobuf message that has a length.
fn put_field(into: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    into.push(number << 3 | 2);
    put_varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

fn put_varint(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// The labels of a series as remote write has them, sorted by name: half requests, a quarter buckets, a quarter memory.
fn encoded_labels(at: usize) -> Vec<u8> {
    let statuses = ["200", "201", "404", "500", "503"];
    let bounds = ["0.01", "0.1", "0.5", "1", "+Inf"];
    let kind = at % 100;
    let mut pairs = vec![
        ("instance", format!("instance-{}", at / 100)),
        ("job", "application".to_owned()),
        ("namespace", "production".to_owned()),
        ("pod", format!("application-6f7d8c9b5-{:05}", at / 100)),
    ];
    let route = format!("/api/v1/route-{}", kind / 5 % 10);
    let name = match kind {
        0..50 => {
            pairs.push(("route", route));
            pairs.push(("status", statuses[kind % 5].to_owned()));
            "http_requests_total"
        }
        50..75 => {
            pairs.push(("route", route));
            pairs.push(("le", bounds[kind % 5].to_owned()));
            "http_request_duration_seconds_bucket"
        }
        _ => {
            pairs.push(("area", format!("area-{kind}")));
            "memory_bytes"
        }
    };
    pairs.push(("__name__", name.to_owned()));
    pairs.sort();
    let mut encoded = Vec::new();
    for (name, value) in pairs {
        let mut label = Vec::new();
        put_field(&mut label, 1, name.as_bytes());
        put_field(&mut label, 2, value.as_bytes());
        put_field(&mut encoded, 1, &label);
    }
    encoded
}

fn post(stream: &mut TcpStream, host: &str, body: &[u8]) -> Result<(), Failure> {
    let head = format!(
        "POST /api/v1/write HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-protobuf\r\n\
         Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    let head_end = loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Err("the server closed the connection".into());
        }
        answer.extend_from_slice(&buffer[..count]);
        if let Some(at) = answer.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&answer[..head_end]).to_ascii_lowercase();
    if !head.starts_with("http/1.1 20") {
        return Err(format!("refused: {}", String::from_utf8_lossy(&answer)).into());
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(Ok(0), str::parse)?;
    let mut missing = length.saturating_sub(answer.len() - head_end);
    while missing > 0 {
        missing -= stream.read(&mut buffer)?.min(missing);
    }
    Ok(())
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, series, hours, end] = arguments.as_slice() else {
        return Err("usage: bench-promql-writer HOST:PORT SERIES HOURS END".into());
    };
    let (series, hours, end) = (
        series.parse::<usize>()?,
        hours.parse::<i64>()?,
        end.parse::<i64>()?,
    );
    let labels: Vec<Vec<u8>> = (0..series).map(encoded_labels).collect();
    let mut values = vec![1000.0_f64; series];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut stream = TcpStream::connect(host)?;
    stream.set_nodelay(true)?;
    let mut compressor = snap::raw::Encoder::new();
    let start = end * 1000 - hours * 3_600_000;
    let started = Instant::now();
    let mut written = 0_u64;
    let mut time = start;
    while time < end * 1000 {
        for first in (0..series).step_by(BATCH) {
            let mut request = Vec::with_capacity(BATCH * 300);
            for at in first..(first + BATCH).min(series) {
                let mut message = labels[at].clone();
                for sample in 0..SAMPLES {
                    let drawn = random.next();
                    let value = &mut values[at];
                    match at % 100 {
                        0..75 => *value += (drawn % 8) as f64,
                        _ if drawn.is_multiple_of(4) => {
                            *value = (1_000_000 + drawn % 4096 * 4096) as f64;
                        }
                        _ => {}
                    }
                    let mut encoded = vec![1 << 3 | 1];
                    encoded.extend_from_slice(&value.to_le_bytes());
                    encoded.push(2 << 3);
                    put_varint(&mut encoded, (time + sample * STEP) as u64);
                    put_field(&mut message, 2, &encoded);
                    written += 1;
                }
                put_field(&mut request, 1, &message);
            }
            post(&mut stream, host, &compressor.compress_vec(&request)?)?;
        }
        time += SAMPLES * STEP;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{{\"samples\": {written}, \"seconds\": {seconds}}}");
    Ok(())
}
