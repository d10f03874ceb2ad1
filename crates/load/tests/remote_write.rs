//! Remote write as k6 sends it: to a database of this program, to a real Prometheus, and beside the real k6.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io::Write as _;
use std::net::TcpListener as StdListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use springtide_load::script::{Log, LogLine};
use springtide_load::session::{Session, Settings};
use springtide_load::user::RunState;
use springtide_metrics::config::HttpClientConfig;
use springtide_metrics::http_client::{HttpClient, Question};
use springtide_metrics::remote_write::message::WriteRequest;
use springtide_metrics::remote_write::receive;
use springtide_metrics::tsdb::{Options, Tsdb};
use support::k6;
use support::serve::serve;
use tokio::net::TcpListener;

/// Measures something of each kind.
const SCRIPT: &str = r#"
    import http from 'k6/http';
    import { check, group } from 'k6';
    import { Counter, Gauge, Rate, Trend } from 'k6/metrics';
    const orders = new Counter('orders'), depth = new Gauge('depth'), good = new Rate('good');
    const size = new Trend('size'), wait = new Trend('wait', true);
    export const options = { vus: 1, iterations: 4, tags: { team: 'shop' } };
    export default function () {
      group('order', () => check(http.get(__ENV.URL), { 'status is 200': (r) => r.status === 200 }));
      orders.add(2); depth.add(7); good.add(true); good.add(false); size.add(1500); wait.add(250);
    }
"#;
const STATISTICS: &str = "p(95),avg,min,max,med,sum";
/// How long a server may take to start or to answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Values by series' name and labels.
type Values = BTreeMap<(String, BTreeMap<String, String>), Vec<f64>>;

/// A database that takes remote write, and what was sent to it.
#[derive(Clone)]
struct Receiver {
    url: String,
    tsdb: Tsdb,
    requests: Arc<Mutex<Vec<WriteRequest>>>,
    headers: Arc<Mutex<http::HeaderMap>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            url: format!("http://{}/api/v1/write", listener.local_addr().unwrap()),
            tsdb: Tsdb::in_memory(Options::default()),
            requests: Arc::default(),
            headers: Arc::default(),
        };
        let shared = receiver.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let receiver = shared.clone();
                tokio::spawn(async move {
                    let answer = service_fn(move |request| receiver.clone().answer(request));
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answer);
                    // A client may go at any time.
                    let _ = connection.await;
                });
            }
        });
        receiver
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let (status, words) = match receive(&self.tsdb, &head.headers, &body) {
            Ok(_) => (204, String::new()),
            Err(error) => (400, error.to_string()),
        };
        self.requests
            .lock()
            .push(WriteRequest::unpack(&body).unwrap());
        *self.headers.lock() = head.headers;
        let answer = Response::builder()
            .status(status)
            .body(Full::new(words.into()));
        Ok(answer.unwrap())
    }

    /// Values of all series in the order in which they came.
    fn values(&self) -> Values {
        let mut values = Values::new();
        for series in self
            .requests
            .lock()
            .iter()
            .flat_map(|request| &request.timeseries)
        {
            let mut labels: BTreeMap<String, String> = series
                .labels
                .iter()
                .map(|label| (label.name.clone(), label.value.clone()))
                .collect();
            let name = labels.remove("__name__").unwrap();
            let samples = series.samples.iter().map(|sample| sample.value);
            values.entry((name, labels)).or_default().extend(samples);
        }
        values
    }
}

/// Runs the script; gives its exit status and what was logged.
async fn run(
    script: &Path,
    target: &str,
    output: &str,
    environment: &[(&str, &str)],
) -> (u8, Vec<String>) {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&lines);
    let log: Log = Arc::new(move |line: LogLine<'_>| told.lock().push(line.message.to_owned()));
    let settings = Settings {
        env: BTreeMap::from([("URL".to_owned(), target.to_owned())]),
        environment: environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        outputs: vec![output.to_owned()],
        threads: Some(1),
        ..Settings::default()
    };
    let session = Session::load(script, settings, log, Arc::new(RunState::default()));
    let finished = session.await.unwrap().run(|_| {}).await.unwrap();
    let lines = lines.lock().clone();
    (finished.status, lines)
}

fn script() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script.js");
    std::fs::write(&path, SCRIPT).unwrap();
    (folder, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_metric_arrives_in_the_database() {
    let (_folder, script) = script();
    let (target, receiver) = (serve().await, Receiver::start().await);
    let environment = [
        ("K6_PROMETHEUS_RW_TREND_STATS", STATISTICS),
        ("K6_PROMETHEUS_RW_STALE_MARKERS", "true"),
        ("K6_PROMETHEUS_RW_BEARER_TOKEN", "secret"),
    ];
    let output = format!("prometheus={}", receiver.url);
    let (status, lines) = run(&script, &target, &output, &environment).await;
    assert_eq!((status, lines), (0, Vec::new()));
    let values = receiver.values();
    let last = |wanted: &str| {
        let mut found = values.iter().filter(|((name, _), _)| name == wanted);
        let ((_, labels), values) = found.next().unwrap_or_else(|| panic!("no {wanted}"));
        assert!(found.next().is_none(), "one series of {wanted}");
        assert_eq!(labels["team"], "shop");
        let (stale, values) = values.split_last().unwrap();
        assert!(stale.is_nan(), "{wanted} is marked as stale");
        (*values.last().unwrap(), labels.clone())
    };
    for (name, value) in [
        ("k6_orders_total", 8.0),
        ("k6_depth", 7.0),
        ("k6_good_rate", 0.5),
        ("k6_size_p95", 1500.0),
        ("k6_wait_avg", 0.25),
        ("k6_wait_sum", 1.0),
        ("k6_checks_rate", 1.0),
        ("k6_iterations_total", 4.0),
        ("k6_http_req_failed_rate", 0.0),
    ] {
        assert_eq!(last(name).0, value, "{name}");
    }
    let (requests, labels) = last("k6_http_reqs_total");
    assert_eq!(requests, 4.0);
    assert_eq!(
        (labels["status"].as_str(), labels["group"].as_str()),
        ("200", "::order")
    );
    let seconds = last("k6_http_req_duration_max").0;
    assert!(seconds > 0.0 && seconds < 5.0, "{seconds} are seconds");
    assert_eq!(receiver.headers.lock()["authorization"], "Bearer secret");
    let stored = receiver.tsdb.series(&[], 0, i64::MAX).unwrap();
    assert_eq!(stored.len(), values.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_refuses_is_told_and_fails_no_test() {
    let (_folder, script) = script();
    let target = serve().await;
    let environment = [(
        "K6_PROMETHEUS_RW_SERVER_URL",
        format!("{target}/status/500"),
    )];
    let environment = environment
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let (status, lines) = run(&script, &target, "experimental-prometheus-rw", &environment).await;
    assert_eq!(status, 0);
    let told = lines.join("\n");
    assert!(
        told.contains("1 of 1 requests of remote write were not taken"),
        "{told}"
    );
    assert!(told.contains("500 Internal Server Error"), "{told}");
}

// rows: output.experimental-prometheus-rw
#[tokio::test(flavor = "multi_thread")]
async fn names_and_labels_are_those_of_k6() {
    let Some(program) = k6() else { return };
    let (_folder, script) = script();
    let target = serve().await;
    let (ours, theirs) = (Receiver::start().await, Receiver::start().await);
    let output = format!("prometheus={}", ours.url);
    let environment = [("K6_PROMETHEUS_RW_TREND_STATS", STATISTICS)];
    run(&script, &target, &output, &environment).await;
    let ran = tokio::process::Command::new(program)
        .args(["run", "--quiet", "--out", "experimental-prometheus-rw"])
        // Its control API would be in the way of another k6.
        .args(["--address", "127.0.0.1:0", "-e", &format!("URL={target}")])
        .arg(&script)
        .env("K6_PROMETHEUS_RW_SERVER_URL", &theirs.url)
        .env("K6_PROMETHEUS_RW_TREND_STATS", STATISTICS)
        .env("K6_NO_USAGE_REPORT", "true")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let series = |receiver: &Receiver| -> BTreeSet<_> { receiver.values().into_keys().collect() };
    // k6 measures users once a second, and this run is shorter.
    let of_users = |(name, _): &(String, _)| name.starts_with("k6_vus");
    let (mut ours, mut theirs) = (series(&ours), series(&theirs));
    ours.retain(|series| !of_users(series));
    theirs.retain(|series| !of_users(series));
    let only_ours: Vec<_> = ours.difference(&theirs).collect();
    let only_theirs: Vec<_> = theirs.difference(&ours).collect();
    assert!(
        only_ours.is_empty() && only_theirs.is_empty(),
        "ours: {only_ours:#?}, k6's: {only_theirs:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_takes_it() {
    let Some(program) =
        std::env::var_os("SPRINGTIDE_PROMETHEUS").filter(|path| Path::new(path).exists())
    else {
        // Directly, so that it shows under the harness's capture.
        let _ = std::io::stderr()
            .write_all(b"skipped: remote write to Prometheus: SPRINGTIDE_PROMETHEUS does not name its program\n");
        return;
    };
    let (folder, script) = script();
    let config = folder.path().join("prometheus.yml");
    std::fs::write(&config, "global: {}\n").unwrap();
    let port = StdListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let _prometheus = tokio::process::Command::new(program)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.path().join("data").display()
        ))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--web.enable-remote-write-receiver")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let client = HttpClient::new(HttpClientConfig::default(), folder.path()).unwrap();
    let ask = async |path: &str| {
        let url = format!("http://127.0.0.1:{port}{path}").parse().unwrap();
        client.ask(Question::get(url), PATIENCE, 0).await
    };
    let ready = async {
        while !ask("/-/ready")
            .await
            .is_ok_and(|answer| answer.status == 200)
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ready)
        .await
        .expect("prometheus becomes ready");
    let output = format!("prometheus=http://127.0.0.1:{port}/api/v1/write");
    let (status, lines) = run(&script, &serve().await, &output, &[]).await;
    assert_eq!((status, lines), (0, Vec::new()));
    for (query, value) in [
        ("k6_orders_total", "8"),
        ("k6_wait_p99", "0.25"),
        ("k6_good_rate", "0.5"),
    ] {
        let answer = ask(&format!("/api/v1/query?query={query}")).await.unwrap();
        let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let result = &document["data"]["result"][0];
        assert_eq!(
            (&result["value"][1], &result["metric"]["team"]),
            (&value.into(), &"shop".into()),
            "{document}"
        );
    }
}
