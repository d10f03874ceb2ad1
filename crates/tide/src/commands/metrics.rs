//! `tide metrics`: the metrics part alone, as a Prometheus server runs, with Prometheus' flags.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use futures::FutureExt as _;
use springtide_machinery::clock::Clock;
use springtide_metrics::config::{ByteSize, PromDuration};
use springtide_metrics::promql;
use springtide_metrics::series_store::Pattern;
use springtide_metrics::server::{ServerOptions, run};
use springtide_metrics::tsdb;
use tracing_subscriber::filter::LevelFilter;

/// How long samples are kept where neither time nor size is said, as in Prometheus.
const DEFAULT_RETENTION: Duration = Duration::from_hours(15 * 24);

/// Scrape, store and query metrics as a Prometheus server does, with its configuration file, flags and HTTP API.
#[derive(Debug, Args)]
pub(crate) struct Metrics {
    /// The configuration file
    #[arg(
        long = "config.file",
        value_name = "FILE",
        default_value = "prometheus.yml"
    )]
    config_file: PathBuf,
    /// The folder of the database
    #[arg(
        long = "storage.tsdb.path",
        visible_alias = "storage.path",
        value_name = "DIR",
        default_value = "data/"
    )]
    storage: PathBuf,
    /// How long samples are kept: 15d where neither time nor size is said
    #[arg(long = "storage.tsdb.retention.time", value_name = "DURATION", value_parser = duration)]
    retention_time: Option<PromDuration>,
    /// How many bytes blocks may take: 512MB
    #[arg(long = "storage.tsdb.retention.size", value_name = "SIZE", value_parser = size)]
    retention_size: Option<ByteSize>,
    /// Where to listen; may be given several times
    #[arg(
        long = "web.listen-address",
        value_name = "HOST:PORT",
        default_value = "0.0.0.0:9090"
    )]
    listen: Vec<String>,
    /// The URL at which the server is reached from outside, for links
    #[arg(long = "web.external-url", value_name = "URL", default_value = "")]
    external_url: String,
    /// What stands before all paths [default: the path of --web.external-url]
    #[arg(long = "web.route-prefix", value_name = "PATH")]
    route_prefix: Option<String>,
    /// Serve /-/reload and /-/quit
    #[arg(long = "web.enable-lifecycle")]
    lifecycle: bool,
    /// Serve deletion and snapshots at /api/v1/admin
    #[arg(long = "web.enable-admin-api")]
    admin: bool,
    /// Take remote write at /api/v1/write
    #[arg(long = "web.enable-remote-write-receiver")]
    remote_write_receiver: bool,
    /// Which origins may read answers, as a pattern
    #[arg(long = "web.cors.origin", value_name = "PATTERN", default_value = ".*")]
    cors_origin: String,
    /// The longest a query may take
    #[arg(long = "query.timeout", value_name = "DURATION", default_value = "2m", value_parser = duration)]
    query_timeout: PromDuration,
    /// How many queries are evaluated at once
    #[arg(
        long = "query.max-concurrency",
        value_name = "NUMBER",
        default_value_t = 20
    )]
    query_concurrency: usize,
    /// How many samples a query may hold at once
    #[arg(
        long = "query.max-samples",
        value_name = "NUMBER",
        default_value_t = 50_000_000
    )]
    max_samples: usize,
    /// How far back a query looks for a series' newest sample
    #[arg(long = "query.lookback-delta", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    lookback: PromDuration,
    /// Features that are not on by default: promql-experimental-functions, promql-delayed-name-removal,
    /// type-and-unit-labels
    #[arg(long = "enable-feature", value_name = "NAME", value_delimiter = ',')]
    features: Vec<String>,
    /// Refused: the API is served without TLS
    #[arg(long = "web.config.file", value_name = "FILE", hide = true)]
    web_config_file: Option<PathBuf>,
    /// What is logged at least
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    log_level: LogLevel,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

fn duration(text: &str) -> Result<PromDuration, String> {
    PromDuration::parse(text).ok_or_else(|| "write for example 15d, 5m or 1h30m".to_owned())
}

fn size(text: &str) -> Result<ByteSize, String> {
    ByteSize::parse(text).ok_or_else(|| "write for example 512MB or 10GB".to_owned())
}

impl Metrics {
    /// Runs until it is told to end.
    pub(crate) fn execute(self) -> anyhow::Result<()> {
        let level = match self.log_level {
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Error => LevelFilter::ERROR,
        };
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .init();
        let options = self.options()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        // Boxed, or the program would contain all of it three times: once for each way `block_on` may run it.
        runtime.block_on(run(options, Clock::system()).boxed_local())?;
        Ok(())
    }

    fn options(self) -> anyhow::Result<ServerOptions> {
        if self.web_config_file.is_some() {
            bail!(
                "--web.config.file is not supported: the API is served without TLS and passwords; leave it out, listen on 127.0.0.1, and put a proxy in front that has them"
            );
        }
        let mut engine = promql::Options {
            lookback: self.lookback.get(),
            max_samples: self.max_samples,
            ..promql::Options::default()
        };
        for feature in &self.features {
            match feature.as_str() {
                "promql-experimental-functions" => engine.experimental = true,
                "promql-delayed-name-removal" => engine.delayed_name_removal = true,
                "type-and-unit-labels" => engine.type_and_unit_labels = true,
                other => bail!("--enable-feature={other} is not supported: leave it out"),
            }
        }
        let cors_origin = match self.cors_origin.as_str() {
            ".*" => None,
            pattern => Some(Pattern::new(pattern).context("--web.cors.origin")?),
        };
        let retention = match (self.retention_time, self.retention_size) {
            (None, None) => Some(DEFAULT_RETENTION),
            (time, _) => time.filter(|time| !time.is_zero()).map(PromDuration::get),
        };
        let flags = self.flags();
        Ok(ServerOptions {
            tsdb: tsdb::Options {
                retention,
                retention_bytes: self
                    .retention_size
                    .map(|size| size.0)
                    .filter(|size| *size > 0),
                ..tsdb::Options::default()
            },
            engine,
            route_prefix: self
                .route_prefix
                .unwrap_or_else(|| path_of(&self.external_url)),
            config_file: self.config_file,
            storage: self.storage,
            listen: self.listen,
            query_timeout: self.query_timeout.get(),
            query_concurrency: self.query_concurrency,
            admin: self.admin,
            lifecycle: self.lifecycle,
            remote_write_receiver: self.remote_write_receiver,
            cors_origin,
            external_url: self.external_url,
            flags,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    /// What `/api/v1/status/flags` shows.
    fn flags(&self) -> BTreeMap<String, String> {
        let shown = |length: Option<PromDuration>| {
            length.map_or_else(|| "0s".to_owned(), |length| length.to_string())
        };
        let pairs = [
            ("config.file", self.config_file.display().to_string()),
            ("storage.tsdb.path", self.storage.display().to_string()),
            ("storage.tsdb.retention.time", shown(self.retention_time)),
            (
                "storage.tsdb.retention.size",
                self.retention_size.unwrap_or_default().to_string(),
            ),
            ("web.listen-address", self.listen.join(",")),
            ("web.external-url", self.external_url.clone()),
            (
                "web.route-prefix",
                self.route_prefix.clone().unwrap_or_else(|| "/".to_owned()),
            ),
            ("web.enable-lifecycle", self.lifecycle.to_string()),
            ("web.enable-admin-api", self.admin.to_string()),
            (
                "web.enable-remote-write-receiver",
                self.remote_write_receiver.to_string(),
            ),
            ("web.cors.origin", self.cors_origin.clone()),
            ("query.timeout", self.query_timeout.to_string()),
            ("query.max-concurrency", self.query_concurrency.to_string()),
            ("query.max-samples", self.max_samples.to_string()),
            ("query.lookback-delta", self.lookback.to_string()),
            ("enable-feature", self.features.join(",")),
            ("log.level", format!("{:?}", self.log_level).to_lowercase()),
        ];
        pairs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

/// The path of a URL without the slash at its end.
fn path_of(url: &str) -> String {
    let after_scheme = url.split_once("://").map_or("", |(_, rest)| rest);
    let path = after_scheme.split_once('/').map_or("", |(_, path)| path);
    match path.trim_end_matches('/') {
        "" => String::new(),
        path => format!("/{path}"),
    }
}
