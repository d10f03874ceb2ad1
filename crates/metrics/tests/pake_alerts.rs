//! pake's ten alerts, `examples/pake/alerts.yaml`: each fires with its fault, reaches a webhook, and is resolved when
//! the fault is over; and their unit tests, which real promtool must judge as we do.
//!
//! The faults are series written in the names of the platform's exporters; the rules, the routing and the webhook are
//! the real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use springtide_machinery::clock::Clock;
use springtide_metrics::alerting::{
    AlertingConfiguration, Alertmanager, AlertmanagerOptions, PostedAlert,
};
use springtide_metrics::promql::{Cancel, Options, SeriesNotation, SeriesSource};
use springtide_metrics::rules::{
    GroupState, Notice, RuleSample, RuleStorage, Surroundings, evaluate_group, read_rule_file,
    unit_test::run_test_file,
};
use springtide_metrics::series_store::Labels;
use springtide_metrics::tsdb::{self, Tsdb};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const MINUTE: i64 = 60_000;
const STEP: i64 = 30_000;
/// When the faults begin and end, and when all is looked at last.
const FAULT: std::ops::Range<i64> = 10 * MINUTE..35 * MINUTE;
const END: i64 = 80 * MINUTE;

const ALERTS: [&str; 10] = [
    "PakeBackendDown",
    "PakeHighLatency",
    "PakeHighCPU",
    "PakeHighMemory",
    "PakeHighErrorRate",
    "PakeDatabaseConnectionFailed",
    "PakeRedisConnectionFailed",
    "PakePodCrashLooping",
    "PakeHPAScaling",
    "PakeStorageSpace",
];

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/pake")
        .join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(example(name)).expect("the example is there")
}

/// A series: its value when all is well and at fault; of a counter, its growth a second.
struct Written {
    labels: Labels,
    counts: bool,
    well: f64,
    at_fault: f64,
    value: f64,
}

fn written() -> Vec<Written> {
    let requests =
        r#"destination_service_namespace="pake-system", destination_workload="pake-backend""#;
    let pod = r#"namespace="pake-system", pod="pake-backend-1", container="api""#;
    [
        ("kube_deployment_status_replicas_available{namespace=\"pake-system\", deployment=\"pake-backend\"}".to_owned(), false, 2.0, 0.0),
        ("kube_pod_status_ready{namespace=\"pake-system\", pod=\"pake-postgres-0\", condition=\"true\"}".to_owned(), false, 1.0, 0.0),
        ("kube_pod_status_ready{namespace=\"pake-system\", pod=\"pake-redis-0\", condition=\"true\"}".to_owned(), false, 1.0, 0.0),
        (format!("kube_pod_container_status_restarts_total{{{pod}}}"), true, 0.0, 1.0 / 60.0),
        (format!("istio_request_duration_milliseconds_bucket{{{requests}, le=\"500\"}}"), true, 10.0, 1.0),
        (format!("istio_request_duration_milliseconds_bucket{{{requests}, le=\"1000\"}}"), true, 10.0, 10.0),
        (format!("istio_request_duration_milliseconds_bucket{{{requests}, le=\"+Inf\"}}"), true, 10.0, 10.0),
        (format!("istio_requests_total{{{requests}, response_code=\"200\"}}"), true, 10.0, 5.0),
        (format!("istio_requests_total{{{requests}, response_code=\"503\"}}"), true, 0.0, 5.0),
        (format!("container_cpu_usage_seconds_total{{{pod}}}"), true, 0.1, 0.95),
        (format!("container_memory_working_set_bytes{{{pod}}}"), false, 300.0, 980.0),
        (format!("kube_pod_container_resource_limits{{{pod}, resource=\"cpu\"}}"), false, 1.0, 1.0),
        (format!("kube_pod_container_resource_limits{{{pod}, resource=\"memory\"}}"), false, 1000.0, 1000.0),
        ("kube_horizontalpodautoscaler_status_current_replicas{namespace=\"pake-system\", horizontalpodautoscaler=\"pake-backend-hpa\"}".to_owned(), false, 2.0, 10.0),
        ("kube_horizontalpodautoscaler_spec_max_replicas{namespace=\"pake-system\", horizontalpodautoscaler=\"pake-backend-hpa\"}".to_owned(), false, 10.0, 10.0),
        ("kubelet_volume_stats_available_bytes{namespace=\"pake-system\", persistentvolumeclaim=\"data\"}".to_owned(), false, 500.0, 50.0),
        ("kubelet_volume_stats_capacity_bytes{namespace=\"pake-system\", persistentvolumeclaim=\"data\"}".to_owned(), false, 1000.0, 1000.0),
    ]
    .into_iter()
    .map(|(series, counts, well, at_fault)| Written {
        labels: SeriesNotation::parse(&series).expect("a series").labels,
        counts,
        well,
        at_fault,
        value: 0.0,
    })
    .collect()
}

struct Storage(Tsdb);

impl RuleStorage for Storage {
    fn source(&self) -> &dyn SeriesSource {
        &self.0
    }

    fn store(&mut self, samples: &[RuleSample]) -> Vec<String> {
        let mut appender = self.0.appender();
        for sample in samples {
            appender
                .append(&sample.labels, None, sample.time, sample.value)
                .expect("in order");
        }
        appender.commit().expect("in memory");
        Vec::new()
    }
}

/// Runs the rules over the faults: the notices of each evaluation.
fn notices(base: i64) -> Vec<(i64, Notice)> {
    let groups = read_rule_file("alerts.yaml", &read("alerts.yaml"), &Options::default());
    let groups = groups.expect("valid rules");
    let mut states: Vec<GroupState> = groups
        .iter()
        .map(|group| GroupState::new(group, true))
        .collect();
    let mut storage = Storage(Tsdb::in_memory(tsdb::Options::default()));
    let mut series = written();
    let mut all = Vec::new();
    for at in (0..=END).step_by(STEP as usize) {
        let mut samples = Vec::new();
        for one in &mut series {
            let now = if FAULT.contains(&at) {
                one.at_fault
            } else {
                one.well
            };
            one.value = if one.counts {
                one.value + now * STEP as f64 / 1000.0
            } else {
                now
            };
            let (labels, value) = (
                one.labels.clone(),
                one.value.floor().max(one.value * 0.999_999),
            );
            samples.push(RuleSample {
                labels,
                time: base + at,
                value,
            });
        }
        storage.store(&samples);
        for (group, state) in groups.iter().zip(&mut states) {
            let outcome = evaluate_group(
                group,
                Duration::from_secs(30),
                state,
                &mut storage,
                base + at,
                &Surroundings::default(),
                &Cancel::default(),
            );
            assert_eq!(outcome.failures, Vec::<String>::new());
            all.extend(outcome.notices.into_iter().map(|notice| (at, notice)));
        }
    }
    all
}

/// The last notice of each alert up to a time.
fn last_until(notices: &[(i64, Notice)], until: i64) -> BTreeMap<String, Notice> {
    let early = notices.iter().filter(|(at, _)| *at <= until);
    early
        .map(|(_, notice)| (notice.labels["alertname"].clone(), notice.clone()))
        .collect()
}

async fn webhook() -> (String, tokio::sync::mpsc::Receiver<Value>) {
    let (send, receive) = tokio::sync::mpsc::channel(100);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let app = axum::Router::new().fallback(move |body: axum::body::Bytes| {
        let send = send.clone();
        async move {
            let _ = send
                .send(serde_json::from_slice(&body).expect("JSON"))
                .await;
        }
    });
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}/alerts"), receive)
}

/// Which alerts a webhook hears of in a status.
async fn hear(receive: &mut tokio::sync::mpsc::Receiver<Value>, status: &str) -> BTreeSet<String> {
    let mut heard = BTreeSet::new();
    while heard.len() < ALERTS.len() {
        let message = tokio::time::timeout(Duration::from_secs(20), receive.recv()).await;
        let message = message
            .unwrap_or_else(|_| panic!("only {heard:?} in time"))
            .expect("runs");
        assert_eq!(message["version"], "4");
        assert_eq!(message["status"], status, "{message}");
        heard.insert(
            message["groupLabels"]["alertname"]
                .as_str()
                .expect("a name")
                .to_owned(),
        );
    }
    heard
}

#[tokio::test]
async fn each_alert_fires_with_its_fault_reaches_the_webhook_and_is_resolved_after() {
    let base = 1_767_225_600_000;
    let all = notices(base);
    let expected: BTreeSet<String> = ALERTS.map(str::to_owned).into();
    assert!(
        last_until(&all, FAULT.start).is_empty(),
        "nothing fires before the faults"
    );
    let firing = last_until(&all, FAULT.end - STEP);
    assert_eq!(firing.keys().cloned().collect::<BTreeSet<_>>(), expected);
    let resolved = last_until(&all, END);
    for (name, notice) in &resolved {
        assert!(
            notice.ends_at <= base + END,
            "{name} is resolved at the end"
        );
        assert!(
            notice.ends_at >= base + FAULT.end,
            "{name} is not resolved before the fault is over"
        );
    }

    let (url, mut heard) = webhook().await;
    let text = read("alertmanager.yaml")
        .replace("http://127.0.0.1:5001/alerts", &url)
        // All faults are at once here: none may mute another.
        .replace("alertname=\"PakeBackendDown\"", "alertname=\"none\"");
    let configuration = AlertingConfiguration::parse("alertmanager.yaml", &text, Path::new(""));
    let configuration = Arc::new(configuration.expect("valid"));
    let folder = tempfile::tempdir().expect("a folder");
    for (notices, at, status) in [(firing, FAULT.end, "firing"), (resolved, END, "resolved")] {
        let now = Timestamp::from_millisecond(base + at).expect("a time");
        let options = AlertmanagerOptions {
            folder: Some(folder.path().to_owned()),
            ..AlertmanagerOptions::default()
        };
        let opened = Alertmanager::open(configuration.clone(), options, Clock::simulated(now));
        let alertmanager = opened.expect("opens");
        let posted = notices.into_values().map(PostedAlert::from).collect();
        alertmanager.post(posted).expect("taken");
        let stop = CancellationToken::new();
        let task = tokio::spawn(alertmanager.clone().run(stop.clone()));
        assert_eq!(hear(&mut heard, status).await, expected);
        // What was told is kept before the program ends, so that it is not told again.
        let kept = async {
            while alertmanager.messages().0 < ALERTS.len() as u64 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), kept)
            .await
            .expect("kept in time");
        stop.cancel();
        task.await.expect("ended");
    }
}

/// The promtool that `SPRINGTIDE_PROMTOOL` names; says so where it names none.
fn promtool() -> Option<PathBuf> {
    let named = std::env::var_os("SPRINGTIDE_PROMTOOL").map(PathBuf::from);
    let missing = match &named {
        None => "SPRINGTIDE_PROMTOOL is not set".to_owned(),
        Some(path) if path.is_file() => return named,
        Some(path) => format!(
            "SPRINGTIDE_PROMTOOL names {}, and there is no such file",
            path.display()
        ),
    };
    let line = format!("skipped: promtool's verdicts: {missing}\n");
    std::io::stderr()
        .write_all(line.as_bytes())
        .expect("stderr");
    None
}

#[test]
fn the_unit_tests_of_the_alerts_hold_and_promtool_judges_alike() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = read("alerts.yaml");
    let tests = read("alerts_test.yaml");
    std::fs::write(folder.path().join("alerts.yaml"), &rules).expect("written");
    let variants = [
        ("as it is", tests.clone(), true),
        (
            "another label",
            tests.replace(
                "pod: pake-frontend-1, container: web}",
                "pod: pake-frontend-1}",
            ),
            false,
        ),
        (
            "another text",
            tests.replace("25% of the requests", "26% of the requests"),
            false,
        ),
        (
            "an alert too few",
            tests.replace(
                "eval_time: 9m\n        alertname: PakeHPAScaling",
                "eval_time: 11m\n        alertname: PakeHPAScaling",
            ),
            false,
        ),
        (
            "another value",
            tests.replace("13.333333333333334", "13.3"),
            false,
        ),
        (
            "a missing rule file",
            tests.replace("- alerts.yaml", "- nosuch.yaml"),
            false,
        ),
        (
            "an unknown field",
            tests.replace("evaluation_interval", "evaluation_intervals"),
            false,
        ),
        (
            "no series",
            tests.replace("values: 950x30", "values: 95x"),
            false,
        ),
    ];
    let promtool = promtool();
    for (name, text, holds) in variants {
        let path = folder.path().join("test.yaml");
        std::fs::write(&path, text).expect("written");
        let ours = run_test_file(&path, &[]);
        assert_eq!(ours.is_ok(), holds, "{name}: {ours:#?}");
        if let Some(promtool) = &promtool {
            let theirs = Command::new(promtool)
                .args(["test", "rules"])
                .arg(&path)
                .output();
            let theirs = theirs.expect("promtool runs");
            // Where a rule file is missing promtool warns and runs the tests without it.
            assert_eq!(
                theirs.status.success(),
                holds,
                "{name}: promtool says otherwise"
            );
            let said = String::from_utf8_lossy(&theirs.stderr);
            for failure in ours.err().into_iter().flatten() {
                let same_words =
                    failure.starts_with("    alertname") || failure.starts_with("    name");
                assert!(
                    !same_words || said.contains(&failure),
                    "{name}:\n{failure}\npromtool:\n{said}"
                );
            }
        }
    }
}
