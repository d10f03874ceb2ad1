//! A run that never was, with everything in it that a report can tell: a ramp of load, replicas that are
//! added for it, failures of two kinds meanwhile, checks, thresholds, and names that want to be markup.
#![allow(dead_code, reason = "not every test file uses all of it")]

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use springtide_load::html_report::Report;
use springtide_load::metric::{Collector, FailureTally, MetricRegistry, SampleSink, Tags, Trend};
use springtide_load::run::{Moment, RunEnd};
use springtide_load::scenario::{ScenarioPlan, scenarios};
use springtide_load::summary::Summary;
use springtide_load::thresholds::Threshold;
use springtide_load::timeline::Timeline;
use springtide_load::user::{RunState, StopReason};
use springtide_load::watch::{
    AutoscalerReading, AutoscalerTimeline, MetricReading, MetricUnit, ScalingDecision,
    WatchTimeline,
};
use tokio::time::Instant;

/// What each name of the run begins with: it must never become an element.
pub(crate) const HOSTILE: &str = "<script>alert('\"&\")</script>";

/// How long the run was, in seconds.
const LENGTH: u32 = 180;

/// A run to be reported.
pub(crate) struct SampleRun {
    pub(crate) plans: Vec<ScenarioPlan>,
    pub(crate) timeline: Timeline,
    pub(crate) watched: WatchTimeline,
    pub(crate) summary: Summary,
    pub(crate) end: RunEnd,
}

// === impl SampleRun ===

impl SampleRun {
    /// The report of it.
    pub(crate) fn page(&self) -> String {
        let report = Report {
            target: &format!("{HOSTILE}/checkout.js"),
            plans: &self.plans,
            timeline: &self.timeline,
            watched: Some(&self.watched),
            summary: &self.summary,
            end: &self.end,
            failure: None,
        };
        report.page()
    }

    /// A run of which there is nothing to tell but that it was.
    pub(crate) fn empty() -> Self {
        let registry = MetricRegistry::default();
        let end = ended(Vec::new(), Duration::ZERO);
        Self {
            plans: Vec::new(),
            timeline: Timeline::default(),
            watched: WatchTimeline::default(),
            summary: Summary::new(
                &registry,
                &end.totals,
                Default::default(),
                Vec::new(),
                Duration::ZERO,
            ),
            end: RunEnd {
                stopped: Some(StopReason::Interrupted),
                ..end
            },
        }
    }

    /// Two seconds of load, five failed requests of setup before them and two of teardown after them.
    pub(crate) fn with_setup() -> Self {
        let registry = Arc::new(MetricRegistry::default());
        let header = HeaderName::from_static("x-served-by");
        let collector =
            Collector::new(Arc::clone(&registry), false).counting_replicas(header.clone());
        let sink = collector.sink();
        let metrics = registry.builtin();
        let now = at(0);
        let fail = |count| {
            let tags: Tags = [("status", "503"), ("error_code", "1503")]
                .into_iter()
                .collect();
            for _ in 0..count {
                let sample = [(&metrics.http_reqs, 1.0), (&metrics.http_req_failed, 1.0)];
                sink.add_all(sample, &tags, now);
            }
        };
        let mut timeline = Timeline::default();
        fail(5);
        timeline.record_beside(&collector.collect(), metrics);
        record(&mut timeline, &collector, &header, 2);
        fail(2);
        timeline.record_beside(&collector.collect(), metrics);
        let elapsed = Duration::from_secs(4);
        let (totals, checks) = (collector.totals(), collector.checks());
        Self {
            plans: Vec::new(),
            timeline,
            watched: WatchTimeline::default(),
            summary: Summary::new(&registry, &totals, checks, Vec::new(), elapsed),
            end: ended(Vec::new(), elapsed),
        }
    }

    /// A run with everything in it.
    pub(crate) fn full() -> Self {
        let options = serde_json::from_value(serde_json::json!({"scenarios": {
            "rush": {
                "executor": "ramping-arrival-rate", "startRate": 20, "preAllocatedVUs": 50,
                "stages": [
                    {"duration": "30s", "target": 20}, {"duration": "15s", "target": 120},
                    {"duration": "105s", "target": 120}, {"duration": "30s", "target": 20},
                ],
            },
        }}))
        .unwrap();
        let (mut plans, _) = scenarios(&options).unwrap();
        // Options allow no such name, and the page does not count on that.
        plans[0].name = format!("rush {HOSTILE}");
        let registry = Arc::new(MetricRegistry::default());
        let thresholds = Threshold::of_options(
            &serde_json::from_str(
                r#"{"http_req_duration": ["p(95)<500", "p(99)<20"], "http_req_failed": ["rate<0.05"],
                    "http_reqs": ["rate>10", "count>100"], "vus": ["value<100"]}"#,
            )
            .unwrap(),
            &registry,
        )
        .unwrap();
        let header = HeaderName::from_static("x-served-by");
        let collector =
            Collector::new(Arc::clone(&registry), false).counting_replicas(header.clone());
        let mut timeline = Timeline::default();
        record(&mut timeline, &collector, &header, LENGTH);
        let elapsed = Duration::from_secs(LENGTH.into());
        let totals = collector.totals();
        let verdicts: Vec<_> = thresholds
            .iter()
            .map(|threshold| threshold.judge(&totals, elapsed))
            .collect();
        let mut end = ended(verdicts.clone(), elapsed);
        end.busy = 0.95;
        Self {
            plans,
            timeline,
            watched: watched(),
            summary: Summary::new(&registry, &totals, collector.checks(), verdicts, elapsed),
            end,
        }
    }
}

fn ended(verdicts: Vec<springtide_load::thresholds::Verdict>, elapsed: Duration) -> RunEnd {
    RunEnd {
        started: Instant::now(),
        elapsed,
        totals: Default::default(),
        verdicts,
        stopped: None,
        failures: FailureTally::default(),
        lateness: Trend::default(),
        lag: Trend::default(),
        busy: 0.1,
    }
}

/// When a second of the run begins.
fn at(second: u32) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + i64::from(second)).unwrap()
}

/// Runs for so many seconds.
fn record(timeline: &mut Timeline, collector: &Collector, header: &HeaderName, seconds: u32) {
    let (sink, state) = (collector.sink(), RunState::default());
    for second in 0..seconds {
        measure(&sink, header, second, at(second));
        let moment = Moment {
            elapsed: Duration::from_secs(u64::from(second) + 1),
            interval: &collector.collect(),
            state: &state,
            scenarios: &[],
            last: second + 1 == seconds,
        };
        timeline.record(&moment, collector.registry().builtin(), at(second));
    }
}

/// Requests a second.
fn rate(second: u32) -> u32 {
    match second {
        0..30 => 20,
        30..45 => 20 + (second - 30) * 100 / 15,
        45..150 => 120,
        _ => 120 - (second - 150) * 100 / 30,
    }
}

/// Replicas that serve.
fn replicas(second: u32) -> u32 {
    match second {
        0..52 => 2,
        52..75 => 4,
        75..170 => 6,
        _ => 5,
    }
}

/// A number from 0 to 1 that looks random and is the same each time.
fn noise(seed: u32) -> f64 {
    let mixed = seed.wrapping_mul(2_654_435_761) ^ (seed.wrapping_mul(40_503) >> 7);
    f64::from(mixed % 10_007) / 10_007.0
}

fn measure(sink: &SampleSink, header: &HeaderName, second: u32, now: Timestamp) {
    let metrics = sink.registry().builtin();
    let overload = f64::from(rate(second)) / f64::from(replicas(second) * 22);
    for number in 0..rate(second) {
        let seed = second * 1000 + number;
        let mut latency = 9.0 + 9.0 * noise(seed).powi(3) + 2.0 * overload;
        if overload > 1.2 {
            latency += 180.0 * (overload - 1.0) * noise(seed + 7);
        }
        if noise(seed + 3) > 0.99 {
            latency *= 6.0;
        }
        let (status, code) = match noise(seed + 11) {
            chance if overload > 2.0 && chance > 0.9 => ("503", "1503"),
            chance if overload > 2.4 && chance > 0.8 => ("0", "1212"),
            _ => ("200", ""),
        };
        let tags: Tags = [("status", status), ("error_code", code)]
            .into_iter()
            .collect();
        let failed = f64::from(u8::from(status != "200"));
        sink.add_all(
            [
                (&metrics.http_reqs, 1.0),
                (&metrics.http_req_duration, latency),
                (&metrics.http_req_response_time, latency * 1.1 + 0.4),
                (&metrics.http_req_failed, failed),
                (&metrics.iterations, 1.0),
                (&metrics.iteration_duration, latency + 1.0),
                (&metrics.data_received, 812.0),
                (&metrics.data_sent, 92.0),
            ],
            &tags,
            now,
        );
        let check: Tags = [
            ("group", format!("::order {HOSTILE}")),
            ("check", format!("status is 200 {HOSTILE}")),
        ]
        .into_iter()
        .collect();
        sink.add(&metrics.checks, 1.0 - failed, &check, now);
        sink.add(
            &metrics.checks,
            1.0,
            &[("check", "has a body")].into_iter().collect(),
            now,
        );
        if status == "200" {
            let replica = format!("backend-{HOSTILE}-{}", seed % replicas(second));
            let headers: HeaderMap = [(header.clone(), replica.parse().unwrap())]
                .into_iter()
                .collect();
            sink.answered(&headers);
        }
    }
    let plain = Tags::default();
    if overload > 2.0 {
        sink.add(&metrics.dropped_iterations, 4.0, &plain, now);
    }
    sink.add(&metrics.vus, f64::from(rate(second) / 6), &plain, now);
    sink.add(&metrics.vus_max, 50.0, &plain, now);
}

fn watched() -> WatchTimeline {
    let decision = |seconds: f64, from: i32, to: i32, reason: &str| ScalingDecision {
        seconds,
        from,
        to,
        reason: reason.to_owned(),
        done: true,
    };
    let above =
        "New size: 4; reason: cpu resource utilization (percentage of request) above target";
    let below = "New size: 5; reason: All metrics below target";
    let percent = |name: &str, current: f64, target: f64| MetricReading {
        name: name.to_owned(),
        current: Some(current),
        target: Some(target),
        unit: MetricUnit::Percent,
    };
    let readings = (0..LENGTH).map(|second| AutoscalerReading {
        seconds: f64::from(second) + 0.3,
        current_replicas: i32::try_from(replicas(second)).unwrap(),
        desired_replicas: i32::try_from(replicas(second + 4)).unwrap(),
        ready_replicas: Some(i32::try_from(replicas(second)).unwrap()),
        metrics: vec![
            percent(
                "cpu",
                40.0 * f64::from(rate(second)) / f64::from(replicas(second) * 10),
                70.0,
            ),
            percent("memory", 30.0 + f64::from(second) / 30.0, 80.0),
            MetricReading {
                name: format!("queue {HOSTILE}"),
                current: (second % 50 != 0).then(|| f64::from(second % 40)),
                target: Some(30.0),
                unit: MetricUnit::Amount,
            },
        ],
        limited: None,
    });
    WatchTimeline {
        autoscalers: vec![AutoscalerTimeline {
            name: format!("web{HOSTILE}"),
            namespace: "shop".to_owned(),
            target: "Deployment/web".to_owned(),
            min_replicas: 2,
            max_replicas: 10,
            readings: readings.collect(),
            decisions: vec![
                decision(48.0, 2, 4, above),
                decision(71.0, 4, 6, &above.replace('4', "6")),
                decision(166.0, 6, 5, &format!("{below} {HOSTILE}")),
            ],
            faults: vec![format!("an event could not be read: {HOSTILE}")],
        }],
    }
}
