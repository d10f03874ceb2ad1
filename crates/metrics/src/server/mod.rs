//! The parts of this crate together, as a Prometheus server runs: configuration, database, scraping, rules, remote
//! write and the HTTP API; reload on demand, an orderly end.

mod own;
mod switch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::RwLock;
use springtide_machinery::clock::Clock;
use springtide_machinery::entropy::Entropy;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError, named_files};
use crate::http_api::{ApiParts, LenientListener, LoadedConfig, ReloadRequest, router};
use crate::promql;
use crate::remote_write::RemoteWriter;
use crate::rules::{EngineOptions, RuleEngine, RuleGroup, Surroundings, read_rule_file};
use crate::scrape::{ScrapeManager, ScrapeOptions};
use crate::series_store::{Labels, Pattern};
use crate::tsdb::{CommitListener, Tsdb, TsdbError};

use switch::SwitchedAlertmanagers;

/// How a server is started.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// `prometheus.yml`.
    pub config_file: PathBuf,
    /// The database's folder.
    pub storage: PathBuf,
    /// Where the API listens: `host:port` each.
    pub listen: Vec<String>,
    /// How the database keeps samples; the configuration's window for late samples is added.
    pub tsdb: crate::tsdb::Options,
    /// How queries are evaluated.
    pub engine: promql::Options,
    /// The longest a query may take.
    pub query_timeout: Duration,
    /// How many queries are evaluated at once.
    pub query_concurrency: usize,
    /// Whether `/api/v1/admin` is served.
    pub admin: bool,
    /// Whether `/-/reload` and `/-/quit` are served.
    pub lifecycle: bool,
    /// Whether `/api/v1/write` is served.
    pub remote_write_receiver: bool,
    /// Which origins may read answers; all where none.
    pub cors_origin: Option<Pattern>,
    /// What stands before every path.
    pub route_prefix: String,
    /// Where the server is reached from outside.
    pub external_url: String,
    /// What `/api/v1/status/flags` shows.
    pub flags: BTreeMap<String, String>,
    /// The version of the program.
    pub version: String,
}

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A part cannot do what the configuration asks.
    #[error("{0}")]
    Parts(String),
    /// The database cannot be opened.
    #[error(transparent)]
    Storage(#[from] TsdbError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Which.
        address: String,
        /// Why not.
        error: std::io::Error,
    },
    /// A signal cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
}

/// Runs a server until it is told to end: SIGTERM, SIGINT, or `/-/quit`. SIGHUP reads the configuration again.
///
/// # Errors
/// Where it cannot start.
pub async fn run(options: ServerOptions, clock: Clock) -> Result<(), ServerError> {
    let config = Config::load(&options.config_file)?;
    let mut tsdb_options = options.tsdb.clone();
    tsdb_options.out_of_order_window = config.storage.tsdb.out_of_order_time_window.get();
    let storage = options.storage.clone();
    let opening = clock.clone();
    let tsdb = tokio::task::spawn_blocking(move || Tsdb::open(&storage, tsdb_options, opening))
        .await
        .map_err(|error| ServerError::Parts(error.to_string()))??;
    let mut listeners = Vec::new();
    for address in &options.listen {
        listeners.push(listen(address).await?);
    }
    let quit = CancellationToken::new();
    let server = Server::new(options, clock, tsdb.clone());
    server.apply(config).await.map_err(ServerError::Parts)?;
    let (reload, reloads) = mpsc::channel(1);
    let api = router(server.api_parts(reload, &quit));
    let mut tasks = JoinSet::new();
    let storing = CancellationToken::new();
    let stop_storing = storing.clone();
    let stored = tsdb.clone();
    tasks.spawn(async move { stored.run(stop_storing).await });
    for listener in listeners {
        let (api, stop) = (api.clone(), quit.clone());
        tasks.spawn(async move {
            let served = axum::serve(LenientListener(listener), api)
                .with_graceful_shutdown(stop.cancelled_owned());
            if let Err(error) = served.await {
                tracing::error!(%error, "the HTTP API ended");
            }
        });
    }
    tracing::info!("Server is ready to receive web requests.");
    let waited = server.wait(reloads, &quit).await;
    server.stop().await;
    storing.cancel();
    // Connections that do not end are cut off.
    let ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .is_err()
    {
        tasks.abort_all();
    }
    tsdb.flush()?;
    tracing::info!("See you next time!");
    waited
}

/// `:9090` listens on every address.
async fn listen(address: &str) -> Result<TcpListener, ServerError> {
    let full = match address.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => address.to_owned(),
    };
    let listener = TcpListener::bind(&full).await;
    let listener = listener.map_err(|error| ServerError::Listen {
        address: full,
        error,
    })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!(%address, "Listening on");
    }
    Ok(listener)
}

struct Server {
    options: ServerOptions,
    clock: Clock,
    started: Timestamp,
    tsdb: Tsdb,
    scrapes: ScrapeManager,
    rules: RuleEngine,
    alertmanagers: Arc<SwitchedAlertmanagers>,
    writers: RwLock<Vec<Arc<RemoteWriter>>>,
    config: Arc<RwLock<LoadedConfig>>,
    ready: Arc<AtomicBool>,
}

impl Server {
    fn new(options: ServerOptions, clock: Clock, tsdb: Tsdb) -> Server {
        let folder = folder_of(&options.config_file);
        let scrapes = ScrapeManager::new(ScrapeOptions {
            tsdb: tsdb.clone(),
            clock: clock.clone(),
            folder,
            caches: None,
            seed: Entropy::from_os().u64(),
        });
        let alertmanagers = Arc::new(SwitchedAlertmanagers::default());
        let sink = Arc::clone(&alertmanagers) as Arc<dyn crate::rules::NoticeSink>;
        let rules = RuleEngine::new(tsdb.clone(), clock.clone(), vec![sink]);
        let started = clock.now();
        Server {
            config: Arc::new(RwLock::new(LoadedConfig {
                config: Arc::new(Config::default()),
                last_reload_succeeded: false,
                loaded_at: started,
            })),
            options,
            clock,
            started,
            tsdb,
            scrapes,
            rules,
            alertmanagers,
            writers: RwLock::default(),
            ready: Arc::default(),
        }
    }

    fn api_parts(&self, reload: mpsc::Sender<ReloadRequest>, quit: &CancellationToken) -> ApiParts {
        let options = &self.options;
        let own = own::OwnMetrics {
            tsdb: self.tsdb.clone(),
            scrapes: self.scrapes.clone(),
            version: options.version.clone(),
            config: Arc::clone(&self.config),
        };
        ApiParts {
            tsdb: self.tsdb.clone(),
            scrapes: Some(self.scrapes.clone()),
            rules: Arc::new(self.rules.clone()),
            config: Arc::clone(&self.config),
            flags: options.flags.clone(),
            clock: self.clock.clone(),
            started: self.started,
            engine: options.engine.clone(),
            query_timeout: options.query_timeout,
            query_concurrency: options.query_concurrency,
            allows_admin: options.admin,
            reload: options.lifecycle.then_some(reload),
            quit: options.lifecycle.then(|| quit.clone()),
            takes_remote_write: options.remote_write_receiver,
            cors_origin: options.cors_origin.clone(),
            ready: Arc::clone(&self.ready),
            route_prefix: options.route_prefix.clone(),
            own_metrics: Arc::new(move || own.text()),
        }
    }

    /// Makes a configuration the one in force. Where a part of it cannot be used, the earlier one stays in force.
    async fn apply(&self, config: Config) -> Result<(), String> {
        let folder = folder_of(&self.options.config_file);
        let groups = self.rule_groups(&config, &folder)?;
        let external = &config.global.external_labels;
        let mut writers = Vec::new();
        for remote in &config.remote_write {
            let writer = RemoteWriter::start(remote, external.clone(), &folder, &self.clock)?;
            writers.push(Arc::new(writer));
        }
        self.alertmanagers.switch(&config, &folder)?;
        let jobs = config.scrape_configs.clone();
        self.scrapes
            .apply(jobs)
            .await
            .map_err(|faults| faults.join("; "))?;
        let surroundings = Surroundings {
            external_labels: Labels::new(external.clone()),
            external_url: self.options.external_url.clone(),
            queries: self.options.engine.clone(),
            query_offset: config.global.rule_query_offset.get(),
            ..Surroundings::default()
        };
        self.rules.set_groups(
            groups,
            EngineOptions {
                surroundings,
                interval: config.global.evaluation_interval.get(),
                on_threads: true,
            },
        );
        let listeners = writers
            .iter()
            .map(|writer| Arc::clone(writer) as Arc<dyn CommitListener>);
        self.tsdb.set_listeners(listeners.collect());
        let earlier = std::mem::replace(&mut *self.writers.write(), writers);
        for writer in earlier {
            writer.stop().await;
        }
        *self.config.write() = LoadedConfig {
            config: Arc::new(config),
            last_reload_succeeded: true,
            loaded_at: self.clock.now(),
        };
        self.ready.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn rule_groups(&self, config: &Config, folder: &Path) -> Result<Vec<RuleGroup>, String> {
        let mut groups = Vec::new();
        for pattern in &config.rule_files {
            for path in named_files("rule_files", folder, pattern) {
                let name = path.display().to_string();
                let text = std::fs::read_to_string(&path)
                    .map_err(|error| format!("rule file {name} cannot be read: {error}"))?;
                let read = read_rule_file(&name, &text, &self.options.engine);
                groups.extend(read.map_err(|error| error.to_string())?);
            }
        }
        Ok(groups)
    }

    async fn reload(&self) -> Result<(), String> {
        let loaded = match Config::load(&self.options.config_file) {
            Ok(config) => self.apply(config).await,
            Err(error) => Err(error.to_string()),
        };
        match &loaded {
            Ok(()) => tracing::info!("Completed loading of configuration file"),
            Err(error) => {
                tracing::error!(
                    error,
                    "the configuration is not used, the earlier one stays in force"
                );
                self.config.write().last_reload_succeeded = false;
            }
        }
        loaded
    }

    async fn wait(
        &self,
        mut reloads: mpsc::Receiver<ReloadRequest>,
        quit: &CancellationToken,
    ) -> Result<(), ServerError> {
        let mut terminate = signal(SignalKind::terminate()).map_err(ServerError::Signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(ServerError::Signals)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(ServerError::Signals)?;
        loop {
            tokio::select! {
                biased;
                () = quit.cancelled() => return Ok(()),
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => { let _ = self.reload().await; }
                Some(answer) = reloads.recv() => { let _ = answer.send(self.reload().await); }
            }
        }
        quit.cancel();
        Ok(())
    }

    async fn stop(&self) {
        self.ready.store(false, Ordering::Relaxed);
        self.scrapes.stop().await;
        self.rules.stop();
        self.alertmanagers.stop();
        self.tsdb.set_listeners(Vec::new());
        let writers = std::mem::take(&mut *self.writers.write());
        for writer in writers {
            writer.stop().await;
        }
    }
}

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}
