//! Replays recorded autoscaling histories of Kubernetes: every decision must be the same.
//!
//! The files are looked for under `$SPRINGTIDE_VECTORS/hpa`, by default `../shared/vectors` beside the
//! workspace. Each line of a `.jsonl` or `.jsonl.gz` file is one history; where there are none, that is
//! said and nothing is tested.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerSpec, MetricSpec,
};
use serde::Deserialize;
use serde_json::{Value, json};
use springtide_autoscaler::horizontal::{
    Constants, ContainerRequests, Explanation, History, HpaEvent, Observed, Outcome, PodSample,
    PodView, Reading, ReadyCondition, Tristate, decide,
};
use springtide_machinery::quantity::Quantity;

/// Differences printed in full; the rest is only counted.
const SHOWN: usize = 5;
/// Histories recorded by Kubernetes' own test binary have the factor its tests set, so that they never meet
/// it: without a behavior replicas may grow eightfold at once, not twofold. A history that differs with the
/// production constant is tried with this one, and that is said.
const TEST_BINARY_SCALE_UP_FACTOR: f64 = 8.0;
/// When the histories begin; any time will do.
const BASE: &str = "2026-01-01T00:00:00Z";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Timeline {
    name: String,
    hpa_spec: HorizontalPodAutoscalerSpec,
    container_requests: BTreeMap<String, BTreeMap<String, String>>,
    controller: Controller,
    ticks: Vec<Tick>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Controller {
    tolerance: f64,
    cpu_initialization_period_seconds: u64,
    initial_readiness_delay_seconds: u64,
    downscale_stabilization_seconds: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tick {
    t: i64,
    spec_replicas: i32,
    status_replicas: i32,
    pods: Option<Vec<TickPod>>,
    #[serde(default)]
    resource_metrics: BTreeMap<String, BTreeMap<String, TickSample>>,
    #[serde(default)]
    pods_metrics: BTreeMap<String, BTreeMap<String, TickSample>>,
    #[serde(default)]
    object_metrics: BTreeMap<String, i64>,
    #[serde(default)]
    external_metrics: BTreeMap<String, Vec<i64>>,
    want: Want,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TickPod {
    name: String,
    phase: String,
    start_time: Option<i64>,
    ready: Option<String>,
    ready_transition_time: Option<i64>,
    #[serde(default)]
    deleted: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TickSample {
    timestamp: i64,
    window_seconds: u64,
    milli: BTreeMap<String, i64>,
}

/// What Kubernetes did.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Want {
    desired_replicas: i32,
    scaled: bool,
    conditions: Vec<Value>,
    current_metrics: Option<Vec<Value>>,
    #[serde(default)]
    events: Vec<String>,
    error: Option<String>,
}

#[derive(Default)]
struct Tally {
    equal: usize,
    /// Of the equal ones, those that name another pod of several to which the same applies.
    other_pod: usize,
    decisions: usize,
    /// Histories that are equal with the test binary's scale-up factor only.
    eightfold: usize,
    passed: usize,
    refused: usize,
    failed: usize,
}

#[test]
fn every_recorded_decision_is_made_again() {
    let folder = vectors().join("hpa");
    let files = vector_files(&folder);
    if files.is_empty() {
        // Written past the test runner's capture, so that a skip is seen.
        let _ = writeln!(
            std::io::stderr(),
            "skipped: no .jsonl or .jsonl.gz files in {}",
            folder.display()
        );
        return;
    }
    let mut tally = Tally::default();
    for file in &files {
        println!("{}", file.display());
        for (number, line) in lines(file).enumerate() {
            let line = line.expect("the file can be read");
            if line.trim().is_empty() {
                continue;
            }
            match serde_json::from_str::<Timeline>(&line) {
                Ok(timeline) => tally.add(&timeline),
                Err(error) => {
                    println!("line {}: not a timeline: {error}", number + 1);
                    tally.refused += 1;
                }
            }
        }
    }
    if tally.other_pod > 0 {
        println!(
            "{} of them report a missing request for another pod of the same shape: Kubernetes walks its pods in random order",
            tally.other_pod
        );
    }
    if tally.eightfold > 0 {
        println!(
            "{} histories are equal with the scale-up factor {TEST_BINARY_SCALE_UP_FACTOR} of Kubernetes' test binary, not with production's {}",
            tally.eightfold,
            Constants::default().scale_up_factor
        );
    }
    println!("{} of {} equal", tally.equal, tally.decisions);
    println!(
        "{} passed, {} refused, {} failed",
        tally.passed, tally.refused, tally.failed
    );
    assert_eq!(
        (tally.refused, tally.failed),
        (0, 0),
        "not all histories were replayed alike"
    );
}

fn vectors() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    std::env::var_os("SPRINGTIDE_VECTORS").map_or_else(beside, PathBuf::from)
}

fn vector_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let is_vectors = |path: &PathBuf| {
        let name = path.to_string_lossy();
        name.ends_with(".jsonl") || name.ends_with(".jsonl.gz")
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(is_vectors)
        .collect();
    files.sort();
    files
}

fn lines(path: &Path) -> impl Iterator<Item = std::io::Result<String>> {
    let file = File::open(path).expect("a listed file can be opened");
    let reader: Box<dyn Read> = if path.extension().is_some_and(|end| end == "gz") {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    BufReader::new(reader).lines()
}

/// How one history's replay went.
#[derive(Default)]
struct Replay {
    equal: usize,
    other_pod: usize,
    differences: Vec<Difference>,
}

/// A decision that came out otherwise.
struct Difference {
    t: i64,
    got: Value,
    want: Value,
    explanation: Explanation,
}

impl Tally {
    fn add(&mut self, timeline: &Timeline) {
        let production = Constants::default().scale_up_factor;
        let mut found = replay(timeline, production);
        if !found.differences.is_empty() {
            let eightfold = replay(timeline, TEST_BINARY_SCALE_UP_FACTOR);
            if eightfold.differences.is_empty() {
                found = eightfold;
                self.eightfold += 1;
            }
        }
        self.decisions += timeline.ticks.len();
        self.equal += found.equal;
        self.other_pod += found.other_pod;
        if found.differences.is_empty() {
            self.passed += 1;
            return;
        }
        self.failed += 1;
        for difference in found.differences.iter().take(SHOWN) {
            if self.failed <= SHOWN {
                println!("{} at {} s differs:", timeline.name, difference.t);
                show_difference(&difference.got, &difference.want);
                println!(
                    "  explanation: {}",
                    serde_json::to_string(&difference.explanation).unwrap()
                );
            }
        }
    }
}

/// Replays one history; the inputs of each tick are as recorded, the memory between them is our own.
fn replay(timeline: &Timeline, scale_up_factor: f64) -> Replay {
    let constants = Constants {
        tolerance: timeline.controller.tolerance,
        cpu_initialization_period: Duration::from_secs(
            timeline.controller.cpu_initialization_period_seconds,
        ),
        initial_readiness_delay: Duration::from_secs(
            timeline.controller.initial_readiness_delay_seconds,
        ),
        downscale_stabilization: Duration::from_secs(
            timeline.controller.downscale_stabilization_seconds,
        ),
        scale_up_factor,
        ..Constants::default()
    };
    let mut history = History::default();
    let mut conditions: Vec<HorizontalPodAutoscalerCondition> = Vec::new();
    let mut replay = Replay::default();
    for tick in &timeline.ticks {
        let pods = pods(tick, &timeline.container_requests);
        let metrics = timeline.hpa_spec.metrics.as_deref().unwrap_or_default();
        let readings: Vec<_> = metrics.iter().map(|metric| reading(metric, tick)).collect();
        let observed = Observed {
            namespace: "ns",
            spec: &timeline.hpa_spec,
            conditions: &conditions,
            spec_replicas: tick.spec_replicas,
            status_replicas: tick.status_replicas,
            pods: Ok(&pods),
            readings: &readings,
            now: at(tick.t),
            constants: &constants,
        };
        let decision = decide(&observed, &mut history);
        let explanation = decision.explanation.clone();
        let outcome = decision.finish(Ok(()), &mut history);
        conditions.clone_from(&outcome.conditions);

        let got = shown(&outcome, explanation.desired_replicas);
        let want = json!({
            "desiredReplicas": tick.want.desired_replicas,
            "scaled": tick.want.scaled,
            "conditions": tick.want.conditions,
            "currentMetrics": tick.want.current_metrics,
            "events": tick.want.events,
            "error": tick.want.error,
        });
        if got == want {
            replay.equal += 1;
        } else if without_pod_names(&got, &pods) == without_pod_names(&want, &pods) {
            replay.equal += 1;
            replay.other_pod += 1;
        } else {
            replay.differences.push(Difference {
                t: tick.t,
                got,
                want,
                explanation,
            });
        }
    }
    replay
}

fn shown(outcome: &Outcome, desired: i32) -> Value {
    let event =
        |event: &HpaEvent| format!("{} {} {}", event.kind.as_str(), event.reason, event.message);
    json!({
        "desiredReplicas": desired,
        "scaled": outcome.scaled,
        "conditions": outcome.conditions.iter().map(shown_condition).collect::<Vec<_>>(),
        "currentMetrics": outcome.current_metrics,
        "events": outcome.events.iter().map(event).collect::<Vec<_>>(),
        "error": outcome.error.as_ref().map(ToString::to_string),
    })
}

fn show_difference(got: &Value, want: &Value) {
    for field in [
        "desiredReplicas",
        "scaled",
        "conditions",
        "currentMetrics",
        "events",
        "error",
    ] {
        if got[field] != want[field] {
            println!(
                "  {field}\n    want {}\n    got  {}",
                want[field], got[field]
            );
        }
    }
}

fn shown_condition(condition: &HorizontalPodAutoscalerCondition) -> Value {
    json!({
        "type": condition.type_,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
    })
}

/// Kubernetes reports a missing request for the first pod it meets, and meets them in random order: which
/// pod of the tick is named (all have the same containers) does not count, all else does.
fn without_pod_names(decision: &Value, pods: &[PodView]) -> Value {
    let mut text = decision.to_string();
    for pod in pods {
        for what in [" of Pod ", " in Pod ", " not found in Pod "] {
            text = text.replace(&format!("{what}{}\"", pod.name), &format!("{what}*\""));
        }
    }
    Value::String(text)
}

fn at(seconds: i64) -> Timestamp {
    BASE.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn pods(tick: &Tick, requests: &BTreeMap<String, BTreeMap<String, String>>) -> Vec<PodView> {
    let milli = |text: &String| Quantity::parse(text).unwrap().milli();
    let containers: Vec<ContainerRequests> = requests
        .iter()
        .map(|(name, requests)| ContainerRequests {
            name: name.clone(),
            requests: requests
                .iter()
                .map(|(resource, text)| (resource.clone(), milli(text)))
                .collect(),
        })
        .collect();
    let view = |pod: &TickPod| PodView {
        name: pod.name.clone(),
        phase: pod.phase.clone(),
        deleted: pod.deleted,
        start_time: pod.start_time.map(at),
        ready: pod.ready.as_ref().map(|status| ReadyCondition {
            status: Tristate::from(status.as_str()),
            since: pod.ready_transition_time.map_or(Timestamp::MIN, at),
        }),
        containers: containers.clone(),
        pod_requests: None,
    };
    tick.pods.iter().flatten().map(view).collect()
}

/// What the metrics API of the tick answers for this metric.
fn reading(metric: &MetricSpec, tick: &Tick) -> Result<Reading, String> {
    if let Some(source) = &metric.resource {
        resource_reading(tick, &source.name, None)
    } else if let Some(source) = &metric.container_resource {
        resource_reading(tick, &source.name, Some(&source.container))
    } else if let Some(source) = &metric.pods {
        let samples = tick
            .pods_metrics
            .get(&source.metric.name)
            .filter(|samples| !samples.is_empty());
        let samples = samples.ok_or("no metrics returned from custom metrics API")?;
        let value = |sample: &TickSample| sample.milli.get("").copied();
        Ok(Reading::Pods(
            samples
                .iter()
                .filter_map(|(pod, sample)| Some((pod.clone(), pod_sample(sample, value(sample)?))))
                .collect(),
        ))
    } else if let Some(source) = &metric.object {
        let name = &source.metric.name;
        let value = tick.object_metrics.get(name).copied().map(Reading::Object);
        value.ok_or_else(|| {
            format!("unable to fetch metrics from custom metrics API: {name} not found")
        })
    } else if let Some(source) = &metric.external {
        let values = tick
            .external_metrics
            .get(&source.metric.name)
            .filter(|values| !values.is_empty());
        let values = values.ok_or("no metrics returned from external metrics API")?;
        Ok(Reading::External(values.clone()))
    } else {
        Err("no source".to_owned())
    }
}

fn resource_reading(
    tick: &Tick,
    resource: &str,
    container: Option<&str>,
) -> Result<Reading, String> {
    let samples = tick
        .resource_metrics
        .get(resource)
        .filter(|samples| !samples.is_empty());
    let samples = samples.ok_or("no metrics returned from resource metrics API")?;
    let value = |sample: &TickSample| match container {
        Some(container) => sample.milli.get(container).copied(),
        None => sample
            .milli
            .values()
            .copied()
            .reduce(|sum, next| sum + next),
    };
    let found = samples
        .iter()
        .filter_map(|(pod, sample)| Some((pod.clone(), pod_sample(sample, value(sample)?))));
    Ok(Reading::Pods(found.collect()))
}

fn pod_sample(sample: &TickSample, value: i64) -> PodSample {
    PodSample {
        value,
        timestamp: at(sample.timestamp),
        window: Duration::from_secs(sample.window_seconds),
    }
}
