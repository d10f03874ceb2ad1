//! The platform's own Prometheus: everything of this crate put together over one database.
//!
//! ```text
//! built-in exporters, annotated pods and Services ─► ScrapeManager ─► Tsdb ─► rules ─► alerts
//!                                                                      ├───► adapter ─► custom.metrics.k8s.io
//!                                                                      └───► HTTP API
//! ```
//!
//! Jobs come from several places: those that are always there are [`jobs`], and [`crate::monitors`] adds what
//! ServiceMonitor and PodMonitor objects say. [`follow_jobs`] keeps scraping to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::RwLock;
use springtide_machinery::clock::Clock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, PromDuration, ScrapeConfig};
use crate::discovery::annotated_jobs;
use crate::exporters::{Exporters, builtin_jobs};
use crate::http_api::{ApiParts, LoadedConfig};
use crate::instruments::{Kind, Text};
use crate::promql;
use crate::rules::RuleReports;
use crate::scrape::ScrapeManager;
use crate::tsdb::{Limits, Options, Tsdb, TsdbError};

/// Series that are kept in memory at most: at 1 KB a series, about 200 MB.
const MAX_SERIES: usize = 200_000;
/// Bytes of blocks on disk.
const RETENTION_BYTES: u64 = 2 << 30;
/// The longest a query may take, as in Prometheus.
const QUERY_TIMEOUT: Duration = Duration::from_mins(2);
/// Queries that are evaluated at once; the others wait.
const QUERIES_AT_ONCE: usize = 20;
/// Full chunks stay in memory for this long. Short: dashboards read blocks as fast, and memory is scarce.
const HEAD_SPAN: Duration = Duration::from_mins(15);

/// Opens the platform's database in a folder.
///
/// # Errors
/// As [`Tsdb::open`].
pub fn open(folder: &Path, retention: Duration, clock: Clock) -> Result<Tsdb, TsdbError> {
    let options = Options {
        limits: Limits {
            series: MAX_SERIES,
            ..Limits::default()
        },
        retention: Some(retention),
        retention_bytes: Some(RETENTION_BYTES),
        head_span: HEAD_SPAN,
        ..Options::default()
    };
    Tsdb::open(folder, options, clock)
}

/// All jobs of the platform: its own exporters, served at `address`, and what asks for it by annotations.
///
/// # Errors
/// As [`builtin_jobs`].
pub fn jobs(
    exporters: &Exporters,
    address: SocketAddr,
    interval: Duration,
) -> Result<Vec<ScrapeConfig>, String> {
    let every = PromDuration::from(interval);
    let mut jobs = builtin_jobs(exporters, address, &every.to_string())?;
    for mut job in annotated_jobs() {
        job.scrape_interval = Some(every);
        // A scrape that lasts longer than the interval would hold up the next.
        job.scrape_timeout = Some(every);
        jobs.push(job);
    }
    Ok(jobs)
}

/// The configuration that the HTTP API shows.
pub type SharedConfig = Arc<RwLock<LoadedConfig>>;

/// A configuration of these jobs, to be shown.
#[must_use]
pub fn shown_config(jobs: Vec<ScrapeConfig>, clock: &Clock) -> LoadedConfig {
    LoadedConfig {
        config: Arc::new(Config::of_jobs(jobs)),
        last_reload_succeeded: true,
        loaded_at: clock.now(),
    }
}

/// Scrapes the jobs there are, and shows them, until `stop` is cancelled. Whoever calls it has the runtime on which
/// targets are connected to.
pub async fn follow_jobs(
    scraper: &ScrapeManager,
    mut jobs: watch::Receiver<Vec<ScrapeConfig>>,
    shown: &SharedConfig,
    clock: &Clock,
    stop: &CancellationToken,
) {
    loop {
        let wanted = jobs.borrow_and_update().clone();
        *shown.write() = shown_config(wanted.clone(), clock);
        if let Err(faults) = scraper.apply(wanted).await {
            for fault in faults {
                tracing::error!(fault, "a job cannot be scraped");
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = jobs.changed() => if changed.is_err() {
                stop.cancelled().await;
                return;
            },
        }
    }
}

/// What the HTTP API answers from. Deleting series and writing from elsewhere are not served: rules and scrapes alone
/// make this database, and its port has no password.
#[must_use]
pub fn api(
    tsdb: Tsdb,
    scrapes: ScrapeManager,
    rules: Arc<dyn RuleReports>,
    clock: Clock,
    config: SharedConfig,
) -> ApiParts {
    ApiParts {
        tsdb,
        scrapes: Some(scrapes),
        rules,
        config,
        flags: BTreeMap::new(),
        started: clock.now(),
        clock,
        engine: promql::Options::default(),
        query_timeout: QUERY_TIMEOUT,
        query_concurrency: QUERIES_AT_ONCE,
        allows_admin: false,
        reload: None,
        quit: None,
        takes_remote_write: false,
        cors_origin: None,
        ready: Arc::new(AtomicBool::new(true)),
        route_prefix: String::new(),
        // `/metrics` is served by the exporters.
        own_metrics: Arc::new(String::new),
    }
}

/// Writes what the database says of itself, with Prometheus' names.
pub fn write_stats(tsdb: &Tsdb, text: &mut Text) {
    let stats = tsdb.stats();
    let mut one = |name: &str, help: &str, kind: Kind, value: f64| {
        text.family(name, help, kind).sample(&[], value);
    };
    one(
        "prometheus_tsdb_head_series",
        "Total number of series in the head block.",
        Kind::Gauge,
        stats.series as f64,
    );
    one(
        "prometheus_tsdb_head_chunks",
        "Total number of chunks in the head block.",
        Kind::Gauge,
        stats.chunks as f64,
    );
    one(
        "prometheus_tsdb_blocks_loaded",
        "Number of currently loaded data blocks",
        Kind::Gauge,
        stats.blocks as f64,
    );
}
