use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;

use super::Api;
use super::answer::{ApiError, Reply};
use super::form::Form;

/// The version of Prometheus whose API this is: what clients decide by which requests they may send.
const SPEAKS_AS: &str = "3.5.0";

#[derive(Serialize)]
struct ConfigView {
    yaml: String,
}

/// `/api/v1/status/config`
pub(super) async fn config(State(api): State<Api>) -> Result<Reply, ApiError> {
    let config = std::sync::Arc::clone(&api.parts.config.read().config);
    Reply::of(&ConfigView {
        yaml: config.to_yaml(),
    })
}

/// `/api/v1/status/flags`
pub(super) async fn flags(State(api): State<Api>) -> Result<Reply, ApiError> {
    Reply::of(&api.parts.flags)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildView {
    version: &'static str,
    revision: &'static str,
    branch: &'static str,
    build_user: &'static str,
    build_date: &'static str,
    go_version: &'static str,
    application: &'static str,
    application_version: &'static str,
}

/// `/api/v1/status/buildinfo`: the version is that of the Prometheus whose API is spoken, by which clients choose
/// their requests; the program's own is beside it.
pub(super) async fn buildinfo() -> Result<Reply, ApiError> {
    Reply::of(&BuildView {
        version: SPEAKS_AS,
        revision: "",
        branch: "",
        build_user: "",
        build_date: "",
        go_version: "",
        application: "Springtide",
        application_version: env!("CARGO_PKG_VERSION"),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeView {
    start_time: String,
    #[serde(rename = "CWD")]
    folder: String,
    hostname: String,
    server_time: String,
    reload_config_success: bool,
    last_config_time: String,
    corruption_count: u64,
    goroutine_count: usize,
    #[serde(rename = "GOMAXPROCS")]
    threads: usize,
    #[serde(rename = "GOMEMLIMIT")]
    memory_limit: u64,
    #[serde(rename = "GOGC")]
    gogc: &'static str,
    #[serde(rename = "GODEBUG")]
    godebug: &'static str,
    storage_retention: String,
}

/// `/api/v1/status/runtimeinfo`; what only Go's runtime has is empty or zero.
pub(super) async fn runtimeinfo(State(api): State<Api>) -> Result<Reply, ApiError> {
    let parts = &api.parts;
    let options = parts.tsdb.options();
    let age = options
        .retention
        .map(|age| crate::config::PromDuration::from(age).to_string());
    let size = options
        .retention_bytes
        .map(|bytes| crate::config::ByteSize(bytes).to_string());
    let retention: Vec<String> = age.into_iter().chain(size).collect();
    let config = parts.config.read().clone();
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let folder = std::env::current_dir().unwrap_or_default();
    Reply::of(&RuntimeView {
        start_time: parts.started.to_string(),
        folder: folder.display().to_string(),
        hostname: hostname.trim().to_owned(),
        server_time: parts.clock.now().to_string(),
        reload_config_success: config.last_reload_succeeded,
        last_config_time: config.loaded_at.to_string(),
        corruption_count: parts.tsdb.stats().counters.corruptions,
        goroutine_count: 0,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        memory_limit: 0,
        gogc: "",
        godebug: "",
        storage_retention: retention.join(" or "),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeadView {
    num_series: usize,
    num_label_pairs: usize,
    chunk_count: usize,
    min_time: i64,
    max_time: i64,
}

#[derive(Serialize)]
struct CountView {
    name: String,
    value: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TsdbView {
    head_stats: HeadView,
    series_count_by_metric_name: Vec<CountView>,
    label_value_count_by_label_name: Vec<CountView>,
    memory_in_bytes_by_label_name: Vec<CountView>,
    series_count_by_label_value_pair: Vec<CountView>,
}

fn counts(list: Vec<(String, u64)>) -> Vec<CountView> {
    let views = list
        .into_iter()
        .map(|(name, value)| CountView { name, value });
    views.collect()
}

/// `/api/v1/status/tsdb`
pub(super) async fn tsdb(State(api): State<Api>, form: Form) -> Result<Reply, ApiError> {
    let limit = match form.get("limit") {
        "" => 10,
        text => text
            .parse::<usize>()
            .ok()
            .filter(|limit| *limit >= 1)
            .ok_or_else(|| ApiError::bad_data("limit must be a positive number"))?,
    };
    let shared = std::sync::Arc::clone(&api);
    let work = move || {
        let tsdb = &shared.parts.tsdb;
        (tsdb.stats(), tsdb.cardinality(limit))
    };
    let (stats, cardinality) = tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ApiError::internal(&error))?;
    Reply::of(&TsdbView {
        head_stats: HeadView {
            num_series: stats.series,
            num_label_pairs: stats.label_pairs,
            chunk_count: stats.chunks,
            // What Prometheus shows of an empty head.
            min_time: stats.min_time.unwrap_or(i64::MAX),
            max_time: stats.max_time.unwrap_or(i64::MIN),
        },
        series_count_by_metric_name: counts(cardinality.series_by_metric),
        label_value_count_by_label_name: counts(cardinality.values_by_label),
        memory_in_bytes_by_label_name: counts(cardinality.bytes_by_label),
        series_count_by_label_value_pair: counts(cardinality.series_by_pair),
    })
}

#[derive(Serialize)]
struct ReplayView {
    min: u64,
    max: u64,
    current: u64,
}

/// `/api/v1/status/walreplay`: the log is read before anything is served, so it always is read whole.
pub(super) async fn walreplay() -> Result<Reply, ApiError> {
    Reply::of(&ReplayView {
        min: 0,
        max: 0,
        current: 0,
    })
}

/// `/api/v1/notifications`: there are none.
pub(super) async fn notifications() -> Result<Reply, ApiError> {
    Reply::of(&[(); 0])
}

/// `/-/healthy`
pub(super) async fn healthy() -> &'static str {
    "Prometheus Server is Healthy.\n"
}

/// `/-/ready`
pub(super) async fn ready(State(api): State<Api>) -> Response {
    if api.parts.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "Prometheus Server is Ready.\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable").into_response()
    }
}

/// The page at the root: what is here, for who comes with a browser.
pub(super) async fn front(State(api): State<Api>) -> Response {
    let prefix = api.parts.route_prefix.trim_end_matches('/');
    let links = [
        "/metrics",
        "/api/v1/targets",
        "/api/v1/rules",
        "/api/v1/alerts",
        "/api/v1/status/config",
        "/api/v1/status/tsdb",
        "/-/healthy",
    ];
    let items: Vec<String> = links
        .iter()
        .map(|link| format!("<li><a href=\"{prefix}{link}\">{link}</a></li>"))
        .collect();
    let page = format!(
        "<!doctype html><title>Springtide metrics</title><h1>Springtide metrics</h1>\
         <p>Prometheus' HTTP API is at <code>{prefix}/api/v1</code>.</p><ul>{}</ul>\n",
        items.concat()
    );
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

pub(super) async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}
