use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value as Json, json};
use tower::ServiceExt as _;

use super::*;
use crate::promql::SeriesNotation;
use crate::rules::GroupReport;
use crate::series_store::Labels;

struct NoRules;

impl RuleReports for NoRules {
    fn groups(&self) -> Vec<GroupReport> {
        Vec::new()
    }
}

fn tsdb(series: &[&str]) -> Tsdb {
    let tsdb = Tsdb::in_memory(crate::tsdb::Options::default());
    let mut appender = tsdb.appender();
    for line in series {
        let read = SeriesNotation::parse(line).expect(line);
        for (at, point) in read.points.iter().enumerate() {
            let value = match point {
                promql::Point::Value(value) => *value,
                promql::Point::Stale => crate::tsdb::STALE_NAN,
                _ => continue,
            };
            let time = at as i64 * 60_000;
            appender
                .append(&read.labels, None, time, value)
                .expect("taken");
        }
    }
    appender.commit().expect("stored");
    tsdb
}

fn parts(tsdb: Tsdb) -> ApiParts {
    let clock = Clock::system();
    ApiParts {
        tsdb,
        scrapes: None,
        rules: Arc::new(NoRules),
        config: Arc::new(RwLock::new(LoadedConfig {
            config: Arc::new(
                Config::parse("global: {external_labels: {region: eu}}", "c").expect("valid"),
            ),
            last_reload_succeeded: true,
            loaded_at: clock.now(),
        })),
        flags: BTreeMap::from([("storage.tsdb.path".to_owned(), "data/".to_owned())]),
        started: clock.now(),
        clock,
        engine: promql::Options::default(),
        query_timeout: Duration::from_secs(60),
        query_concurrency: 2,
        allows_admin: false,
        reload: None,
        quit: None,
        takes_remote_write: false,
        cors_origin: None,
        ready: Arc::new(AtomicBool::new(true)),
        route_prefix: String::new(),
        own_metrics: Arc::new(|| "own 1\n".to_owned()),
    }
}

async fn send(router: Router, request: Request<Body>) -> (u16, http::HeaderMap, String) {
    let response = router.oneshot(request).await.expect("infallible");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("whole").to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    (head.status.as_u16(), head.headers, text)
}

async fn get_text(parts: ApiParts, path: &str) -> (u16, String) {
    let request = Request::get(path).body(Body::empty()).expect("valid");
    let (status, _, text) = send(router(parts), request).await;
    (status, text)
}

async fn get_json(path: &str) -> (u16, Json) {
    let series = [
        "up{job=\"a\"} 0 1 1",
        "up{job=\"b\"} 1 1 stale",
        "http_requests_total{code=\"200\",job=\"a\"} 0 60 120",
    ];
    let (status, text) = get_text(parts(tsdb(&series)), path).await;
    (status, serde_json::from_str(&text).expect(&text))
}

#[tokio::test]
async fn queries_are_answered_in_prometheus_form() {
    let cases = [
        (
            "/api/v1/query?query=up&time=60",
            json!({"resultType": "vector", "result": [
                {"metric": {"__name__": "up", "job": "a"}, "value": [60, "1"]},
                {"metric": {"__name__": "up", "job": "b"}, "value": [60, "1"]}]}),
        ),
        (
            "/api/v1/query?query=1e30&time=1.5",
            json!({"resultType": "scalar", "result": [1.5, "1e+30"]}),
        ),
        (
            "/api/v1/query?query=%22a%5C%22b%22&time=1970-01-01T00:00:02Z",
            json!({"resultType": "string", "result": [2, "a\"b"]}),
        ),
        (
            "/api/v1/query?query=none&time=2",
            json!({"resultType": "vector", "result": []}),
        ),
        (
            "/api/v1/query?query=up%7Bjob%3D%22a%22%7D%5B2m%5D&time=120",
            json!({"resultType": "matrix", "result": [
                {"metric": {"__name__": "up", "job": "a"}, "values": [[60, "1"], [120, "1"]]}]}),
        ),
        (
            "/api/v1/query_range?query=sum(up)&start=0&end=120&step=1m",
            json!({"resultType": "matrix", "result": [
                {"metric": {}, "values": [[0, "1"], [60, "2"], [120, "1"]]}]}),
        ),
        ("/api/v1/labels", json!(["__name__", "code", "job"])),
        ("/api/v1/labels?match[]=up", json!(["__name__", "job"])),
        ("/api/v1/label/job/values", json!(["a", "b"])),
        ("/api/v1/label/nothing/values", json!([])),
        (
            "/api/v1/series?match[]=up%7Bjob%3D~%22a%7Cb%22%7D&match[]=http_requests_total",
            json!([{"__name__": "http_requests_total", "code": "200", "job": "a"},
                {"__name__": "up", "job": "a"}, {"__name__": "up", "job": "b"}]),
        ),
        ("/api/v1/query_exemplars?query=up", json!([])),
        (
            "/api/v1/format_query?query=sum(up)by(job)",
            json!("sum by (job) (up)"),
        ),
        ("/api/v1/metadata", json!({})),
        ("/api/v1/targets/metadata", json!([])),
        ("/api/v1/rules", json!({"groups": []})),
        ("/api/v1/alerts", json!({"alerts": []})),
        (
            "/api/v1/status/flags",
            json!({"storage.tsdb.path": "data/"}),
        ),
        (
            "/api/v1/targets",
            json!({"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}}),
        ),
        (
            "/api/v1/alertmanagers",
            json!({"activeAlertmanagers": [], "droppedAlertmanagers": []}),
        ),
    ];
    for (path, data) in cases {
        let (status, answer) = get_json(path).await;
        assert_eq!(
            (status, &answer),
            (200, &json!({"status": "success", "data": data})),
            "{path}"
        );
    }
}

#[tokio::test]
async fn errors_have_their_type_and_status() {
    for (path, status, kind, message) in [
        (
            "/api/v1/query?query=up(",
            400,
            "bad_data",
            "invalid parameter \"query\": 1:",
        ),
        (
            "/api/v1/query?query=up&time=soon",
            400,
            "bad_data",
            "invalid parameter \"time\": invalid time value for 'time': cannot parse \"soon\" to a valid timestamp",
        ),
        (
            "/api/v1/query?query=up&timeout=soon",
            400,
            "bad_data",
            "invalid parameter \"timeout\"",
        ),
        (
            "/api/v1/query?query=up&limit=-1",
            400,
            "bad_data",
            "invalid parameter \"limit\": limit must be non-negative",
        ),
        (
            "/api/v1/query?query=up%2Bon()up&time=60",
            422,
            "execution",
            "found duplicate series for the match group",
        ),
        (
            "/api/v1/query_range?query=up&start=2&end=1&step=1",
            400,
            "bad_data",
            "invalid parameter \"end\": end timestamp must not be before start time",
        ),
        (
            "/api/v1/query_range?query=up&start=0&end=1&step=0",
            400,
            "bad_data",
            "invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer",
        ),
        (
            "/api/v1/query_range?query=up&start=0&end=20000&step=1",
            400,
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        (
            "/api/v1/query_range?query=up[1m]&start=0&end=1&step=1",
            400,
            "bad_data",
            "invalid parameter \"query\": invalid expression type \"range vector\" for range query, must be Scalar or instant Vector",
        ),
        (
            "/api/v1/series",
            400,
            "bad_data",
            "no match[] parameter provided",
        ),
        (
            "/api/v1/series?match[]=%7B%7D",
            400,
            "bad_data",
            "invalid parameter \"match[]\"",
        ),
        (
            "/api/v1/rules?type=x",
            400,
            "bad_data",
            "invalid parameter \"type\": not supported value \"x\"",
        ),
    ] {
        let (found, answer) = get_json(path).await;
        assert_eq!(
            (found, &answer["errorType"]),
            (status, &json!(kind)),
            "{path}: {answer}"
        );
        let text = answer["error"].as_str().expect("a message");
        assert!(text.starts_with(message), "{path}: {text}");
        assert_eq!(answer["status"], "error");
    }
}

#[tokio::test]
async fn limits_cut_results_and_say_so() {
    for path in [
        "/api/v1/query?query=up&time=60&limit=1",
        "/api/v1/series?match[]=up&limit=1",
        "/api/v1/labels?limit=1",
        "/api/v1/label/job/values?limit=1",
    ] {
        let (_, answer) = get_json(path).await;
        assert_eq!(
            answer["warnings"],
            json!(["results truncated due to limit"]),
            "{path}"
        );
    }
    let (_, answer) = get_json("/api/v1/query?query=rate(up[2m])&time=120&stats=all").await;
    assert!(
        answer["infos"][0]
            .as_str()
            .is_some_and(|info| info.starts_with("PromQL info:"))
    );
    assert!(answer["data"]["stats"]["timings"]["evalTotalTime"].is_number());
}

#[tokio::test]
async fn a_form_in_the_body_is_read_before_the_url() {
    let request = Request::post("/api/v1/query?query=2&time=1")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from("query=1%2B1"))
        .expect("valid");
    let (status, _, text) = send(router(parts(tsdb(&[]))), request).await;
    assert_eq!(status, 200);
    assert!(text.contains(r#""result":[1,"2"]"#), "{text}");
}

#[tokio::test]
async fn what_is_not_switched_on_is_refused() {
    let all = || parts(tsdb(&["up 1"]));
    let post = |path: &str| Request::post(path).body(Body::empty()).expect("valid");
    for (path, status) in [
        ("/api/v1/admin/tsdb/delete_series?match[]=up", 500),
        ("/api/v1/admin/tsdb/snapshot", 500),
        ("/api/v1/write", 404),
        ("/-/reload", 403),
        ("/-/quit", 403),
    ] {
        let (found, _, text) = send(router(all()), post(path)).await;
        assert_eq!(found, status, "{path}: {text}");
    }
    let mut parts = all();
    parts.allows_admin = true;
    let tsdb = parts.tsdb.clone();
    let (status, _, _) = send(
        router(parts),
        post("/api/v1/admin/tsdb/delete_series?match[]=up"),
    )
    .await;
    assert_eq!(status, 204);
    assert!(tsdb.series(&[], 0, i64::MAX / 4).expect("read").is_empty());
}

#[tokio::test]
async fn federation_gives_the_newest_samples_with_external_labels() {
    let now = Clock::system().now().as_millisecond();
    let tsdb = Tsdb::in_memory(crate::tsdb::Options::default());
    let mut appender = tsdb.appender();
    let labels = Labels::new([("__name__", "up"), ("job", "a")]);
    appender
        .append(&labels, None, now - 1_000, 1.0)
        .expect("taken");
    appender.commit().expect("stored");
    let (status, text) = get_text(parts(tsdb.clone()), "/federate?match[]=up").await;
    assert_eq!(status, 200);
    let expected = format!(
        "# TYPE up untyped\nup{{job=\"a\",region=\"eu\",instance=\"\"}} 1 {}\n",
        now - 1_000
    );
    assert_eq!(text, expected);
    let (status, _) = get_text(parts(tsdb), "/federate?match[]=up(").await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn origins_probes_compression_and_own_metrics() {
    let request = Request::options("/api/v1/query")
        .header("origin", "http://grafana")
        .body(Body::empty())
        .expect("valid");
    let (status, headers, _) = send(router(parts(tsdb(&[]))), request).await;
    assert_eq!(status, 204);
    assert_eq!(headers["access-control-allow-origin"], "*");
    for path in [
        "/-/healthy",
        "/-/ready",
        "/api/v1/status/buildinfo",
        "/api/v1/status/runtimeinfo",
        "/api/v1/status/tsdb",
        "/api/v1/status/config",
    ] {
        assert_eq!(get_text(parts(tsdb(&[])), path).await.0, 200, "{path}");
    }
    let (_, text) = get_text(parts(tsdb(&[])), "/metrics").await;
    assert_eq!(text, "own 1\n");
    let many: Vec<String> = (0..200).map(|at| format!("up{{i=\"{at}\"}} 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let request = Request::get("/api/v1/query?query=up&time=0")
        .header("accept-encoding", "gzip")
        .body(Body::empty())
        .expect("valid");
    let (_, headers, _) = send(router(parts(tsdb(&many))), request).await;
    assert_eq!(headers["content-encoding"], "gzip");
    let mut prefixed = parts(tsdb(&[]));
    prefixed.route_prefix = "/prom".to_owned();
    assert_eq!(get_text(prefixed, "/prom/api/v1/labels").await.0, 200);
}

#[test]
fn parameters_are_read_as_prometheus_reads_them() {
    use super::form::{Form, parse_duration, parse_time};
    assert_eq!(parse_time("1435781430.781"), Ok(1_435_781_430_781));
    assert_eq!(
        parse_time("2015-07-01T20:10:30.781Z"),
        Ok(1_435_781_430_781)
    );
    assert!(parse_time("NaN").is_err() && parse_time("").is_err());
    assert_eq!(parse_duration("1h5m"), Ok(3_900_000));
    assert_eq!(parse_duration("0.5"), Ok(500));
    assert!(parse_duration("1e300").is_err() && parse_duration("x").is_err());
    let form = Form::of("a=1&b=2&a=3&limit=0");
    assert_eq!(form.all("a"), ["1", "3"]);
    assert_eq!(form.limit(), Ok(None));
}
