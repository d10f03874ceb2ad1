//! Prometheus' HTTP API, version 1, with its names, forms, errors and status codes.
//!
//! ```text
//! request ── form ──> parameters ── query, series, targets, … ──> Reply ── answer ──> JSON as Prometheus writes it
//! ```
//!
//! | part | is |
//! | --- | --- |
//! | [`router`] | all paths below one prefix |
//! | [`ApiParts`] | what the answers are made from |
//! | `form` | parameters of URL and body, and how times and durations are read |
//! | `answer` | the envelope, errors, numbers |
//! | `query` | instant and range queries, `format_query`, `parse_query` |
//! | `series` | series, labels, their values, metadata |
//! | `targets` | targets, rules, alerts |
//! | `status` | configuration, flags, build, runtime, database |
//! | `admin` | deletion and snapshots, where they are allowed |
//! | `federate` | the newest samples in an exposition format |
//! | `middleware` | origins, compression |
//! | [`LenientListener`] | requests with `"`, `<` and `>` in their URL |

mod admin;
mod answer;
mod federate;
mod form;
mod middleware;
mod query;
mod request_target;
mod series;
mod status;
mod targets;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post, put};
use jiff::Timestamp;
use parking_lot::RwLock;
use springtide_machinery::clock::Clock;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::config::Config;
use crate::promql;
use crate::rules::RuleReports;
use crate::scrape::ScrapeManager;
use crate::series_store::Pattern;
use crate::tsdb::Tsdb;

pub use answer::{ApiError, ErrorType};
pub use request_target::{LenientListener, LenientStream};

/// A wish to read the configuration again, and where the answer goes: a sentence where it could not be used.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// What was loaded, and how the last attempt went.
#[derive(Debug, Clone)]
pub struct LoadedConfig {
    /// What is in force.
    pub config: Arc<Config>,
    /// Whether the last attempt to load one went well.
    pub last_reload_succeeded: bool,
    /// When it was.
    pub loaded_at: Timestamp,
}

/// What the API answers from.
pub struct ApiParts {
    /// The database.
    pub tsdb: Tsdb,
    /// The targets; none where nothing is scraped.
    pub scrapes: Option<ScrapeManager>,
    /// Rules and alerts.
    pub rules: Arc<dyn RuleReports>,
    /// The configuration in force.
    pub config: Arc<RwLock<LoadedConfig>>,
    /// What the program was started with, for `/api/v1/status/flags`.
    pub flags: BTreeMap<String, String>,
    /// Wall time.
    pub clock: Clock,
    /// When the program started.
    pub started: Timestamp,
    /// How queries are evaluated.
    pub engine: promql::Options,
    /// The longest a query may take.
    pub query_timeout: Duration,
    /// How many queries are evaluated at once; the others wait.
    pub query_concurrency: usize,
    /// Whether `/api/v1/admin` is served.
    pub allows_admin: bool,
    /// Where `/-/reload` asks; it is refused where none.
    pub reload: Option<mpsc::Sender<ReloadRequest>>,
    /// What `/-/quit` cancels; it is refused where none.
    pub quit: Option<tokio_util::sync::CancellationToken>,
    /// Whether `/api/v1/write` is served.
    pub takes_remote_write: bool,
    /// Which origins may read answers; all where none.
    pub cors_origin: Option<Pattern>,
    /// Whether queries can be answered yet.
    pub ready: Arc<AtomicBool>,
    /// What stands before every path: empty, or `/prometheus`.
    pub route_prefix: String,
    /// What `/metrics` answers, in the text format.
    pub own_metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// What handlers share.
struct Shared {
    parts: ApiParts,
    queries: Semaphore,
}

type Api = Arc<Shared>;

/// Bytes of a form or a remote write at most.
const MOST_BODY_BYTES: usize = 64 << 20;

/// Serves the API.
pub fn router(parts: ApiParts) -> Router {
    let prefix = parts.route_prefix.trim_end_matches('/').to_owned();
    let api: Api = Arc::new(Shared {
        queries: Semaphore::new(parts.query_concurrency.max(1)),
        parts,
    });
    let admin = Router::new()
        .route(
            "/tsdb/delete_series",
            post(admin::delete_series).put(admin::delete_series),
        )
        .route(
            "/tsdb/clean_tombstones",
            post(admin::clean_tombstones).put(admin::clean_tombstones),
        )
        .route("/tsdb/snapshot", post(admin::snapshot).put(admin::snapshot));
    let v1 = Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route(
            "/query_exemplars",
            get(query::exemplars).post(query::exemplars),
        )
        .route("/format_query", get(query::format).post(query::format))
        .route("/parse_query", get(query::parse).post(query::parse))
        .route(
            "/series",
            get(series::series)
                .post(series::series)
                .delete(series::dropped),
        )
        .route(
            "/labels",
            get(series::label_names).post(series::label_names),
        )
        .route("/label/{name}/values", get(series::label_values))
        .route("/metadata", get(series::metadata))
        .route("/targets", get(targets::targets))
        .route("/targets/metadata", get(targets::metadata))
        .route("/scrape_pools", get(targets::scrape_pools))
        .route("/alertmanagers", get(targets::alertmanagers))
        .route("/rules", get(targets::rules))
        .route("/alerts", get(targets::alerts))
        .route("/status/config", get(status::config))
        .route("/status/flags", get(status::flags))
        .route("/status/buildinfo", get(status::buildinfo))
        .route("/status/runtimeinfo", get(status::runtimeinfo))
        .route("/status/tsdb", get(status::tsdb))
        .route("/status/walreplay", get(status::walreplay))
        .route("/notifications", get(status::notifications))
        .route("/read", post(query::no_remote_read))
        .route("/write", post(admin::remote_write))
        .nest("/admin", admin);
    let all = Router::new()
        .nest("/api/v1", v1)
        .route("/federate", get(federate::federate))
        .route("/metrics", get(federate::own))
        .route("/-/healthy", get(status::healthy).head(status::healthy))
        .route("/-/ready", get(status::ready).head(status::ready))
        .route("/-/reload", put(admin::reload).post(admin::reload))
        .route("/-/quit", put(admin::quit).post(admin::quit))
        .route("/", any(status::front))
        .fallback(status::not_found)
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&api),
            middleware::around,
        ))
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .with_state(api);
    if prefix.is_empty() {
        all
    } else {
        Router::new().nest(&prefix, all)
    }
}
