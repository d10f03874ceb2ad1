//! The platform's own Prometheus, as a part that runs as a pod.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use http::Request;
use parking_lot::RwLock;
use springtide_apiserver::{AggregatedResource, ApiServer};
use springtide_client::Context;
use springtide_machinery::instruments::{Registry, Text};
use springtide_metrics::adapter::{
    self, Adapter, CUSTOM_GROUP, CUSTOM_VERSIONS, EXTERNAL_GROUP, EXTERNAL_VERSION,
};
use springtide_metrics::alerting::{
    self, AlertingConfiguration, Alertmanager, AlertmanagerOptions,
};
use springtide_metrics::complaints::LogLines;
use springtide_metrics::config::PromDuration;
use springtide_metrics::exporters::{Exporter, Exporters, Written, kube_state, process};
use springtide_metrics::http_api::{self, ApiParts, LenientListener};
use springtide_metrics::platform::{self, SharedConfig};
use springtide_metrics::prometheus_rules::{self, PrometheusRule};
use springtide_metrics::rules::{EngineOptions, RuleEngine, Surroundings};
use springtide_metrics::scrape::{ScrapeManager, ScrapeOptions};
use springtide_metrics::{alertmanager_config, monitors, tsdb::Tsdb};
use springtide_node::MeshNamespace;
use springtide_node::kubelet::component::{LogSink, RunningComponent};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The Service that the part stands behind.
pub(super) const NAMESPACE: &str = "kube-system";
/// See [`NAMESPACE`].
pub(super) const SERVICE: &str = "prometheus";
/// How many scrapes may wait to be accepted.
const BACKLOG: u32 = 64;
/// How often rules are evaluated that do not say it; Prometheus' own default of a minute is meant for its own default of
/// scraping.
const EVALUATION_INTERVAL: Duration = Duration::from_secs(15);

/// What the part is made of. Cheap to clone.
#[derive(Clone)]
pub(super) struct Monitoring {
    pub(super) api: ApiServer,
    pub(super) context: Context,
    pub(super) namespace: Arc<MeshNamespace>,
    /// The node's name, and its address as pods reach it.
    pub(super) node: (String, std::net::Ipv4Addr),
    /// What the data plane counted.
    pub(super) mesh: Registry,
    /// Where the API is reached.
    pub(super) advertised: SocketAddr,
    /// Where series are kept.
    pub(super) folder: PathBuf,
    /// The socket of the Prometheus API, which the keeper holds while brains come and go, and its address.
    pub(super) listener: Arc<std::net::TcpListener>,
    /// See `listener`.
    pub(super) address: SocketAddr,
    /// From one scrape to the next.
    pub(super) interval: Duration,
    /// For how long series are kept.
    pub(super) retention: Duration,
}

impl Monitoring {
    /// Starts the part.
    pub(super) fn start(&self, log: LogSink, stop: CancellationToken) -> RunningComponent {
        let (tell_ready, ready) = watch::channel(false);
        let monitoring = self.clone();
        RunningComponent {
            ready,
            work: async move { monitoring.run(log, stop, tell_ready).await }.boxed(),
        }
    }

    async fn run(
        self,
        log: LogSink,
        stop: CancellationToken,
        tell_ready: watch::Sender<bool>,
    ) -> Result<(), String> {
        let clock = self.context.clock.clone();
        let said = log.clone();
        let log_lines: LogLines = Arc::new(move |text| said.line(text));
        let (folder, retention, opened_at) = (self.folder.clone(), self.retention, clock.clone());
        let opening =
            tokio::task::spawn_blocking(move || platform::open(&folder, retention, opened_at));
        let tsdb = opening
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        let mut tasks = JoinSet::new();
        let (kept, until) = (tsdb.clone(), stop.clone());
        tasks.spawn(async move { kept.run(until).await });

        let alertmanager = Alertmanager::open(
            Arc::new(AlertingConfiguration::silent()),
            AlertmanagerOptions {
                folder: Some(self.folder.join("alertmanager")),
                external_url: format!("http://{}", self.address),
                entropy: self.context.entropy.fork(),
            },
            clock.clone(),
        )
        .map_err(|error| error.to_string())?;
        tasks.spawn(alertmanager.clone().run(stop.clone()));
        tasks.spawn(alertmanager_config::follow(
            self.context.clone(),
            alertmanager.clone(),
            Arc::clone(&log_lines),
            stop.clone(),
        ));
        let engine = RuleEngine::new(
            tsdb.clone(),
            clock.clone(),
            vec![Arc::new(alertmanager.clone())],
        );
        // Watched from here, on a runtime that outlives the scraping thread's.
        self.context.caches.of::<PrometheusRule>();
        let exporters = self.exporters(&tsdb);
        let options = EngineOptions {
            interval: EVALUATION_INTERVAL,
            on_threads: true,
            surroundings: Surroundings {
                external_url: format!("http://{}", self.address),
                ..Surroundings::default()
            },
        };
        tasks.spawn(prometheus_rules::follow(
            self.context.clone(),
            engine.clone(),
            Vec::new(),
            options,
            Arc::clone(&log_lines),
            stop.clone(),
        ));

        let (scraping, config) = self
            .scrape(&tsdb, &exporters, &mut tasks, Arc::clone(&log_lines), &stop)
            .await?;
        log.line(&format!(
            "scraping every {}, keeping {} in {}",
            PromDuration::from(self.interval),
            PromDuration::from(self.retention),
            self.folder.display()
        ));

        let adapter = Adapter::new(tsdb.clone(), clock.clone(), self.context.client.clone());
        let api = self.api.clone();
        tasks.spawn(adapter::follow(
            self.context.clone(),
            adapter,
            move |adapter| publish(&api, adapter),
            log_lines,
            stop.clone(),
        ));
        let prometheus = http_api::router(ApiParts {
            flags: self.flags(),
            ..platform::api(
                tsdb.clone(),
                scraping.manager.clone(),
                Arc::new(engine),
                clock.clone(),
                config,
            )
        });
        let router = exporters
            .router()
            .merge(alerting::api::router(alertmanager))
            .fallback_service(prometheus);
        self.api.attach_service(NAMESPACE, SERVICE, router.clone());
        let listener = self
            .listener
            .try_clone()
            .map_err(|error| error.to_string())?;
        let listener = TcpListener::from_std(listener).map_err(|error| error.to_string())?;
        let until = stop.clone();
        tasks.spawn(async move {
            let served = axum::serve(LenientListener(listener), router)
                .with_graceful_shutdown(until.cancelled_owned());
            if let Err(error) = served.await {
                tracing::warn!(%error, "the Prometheus API is served no longer");
            }
        });
        log.line(&format!(
            "serving Prometheus' API on http://{}",
            self.address
        ));
        let _ = tell_ready.send(true);

        stop.cancelled().await;
        self.api.detach_service(NAMESPACE, SERVICE);
        scraping.stop().await;
        for version in CUSTOM_VERSIONS {
            self.api.remove_aggregated(CUSTOM_GROUP, version);
        }
        self.api.remove_aggregated(EXTERNAL_GROUP, EXTERNAL_VERSION);
        while tasks.join_next().await.is_some() {}
        log.line("stopped");
        Ok(())
    }

    /// What the part was started with, as Prometheus' flags name it.
    fn flags(&self) -> BTreeMap<String, String> {
        let retention = PromDuration::from(self.retention).to_string();
        BTreeMap::from([
            (
                "storage.tsdb.path".to_owned(),
                self.folder.display().to_string(),
            ),
            ("storage.tsdb.retention.time".to_owned(), retention),
            ("web.listen-address".to_owned(), self.address.to_string()),
        ])
    }

    /// All that is told without anybody being asked over the network, and the kubelet's.
    fn exporters(&self, tsdb: &Tsdb) -> Exporters {
        let (node, address) = (self.node.0.as_str(), self.node.1);
        let kubelet = format!("{address}:10250");
        let api_address = self.advertised.to_string();
        let mut exporters = Exporters::default();
        let registry = self.api.instruments();
        exporters.add(Exporter::at_once(
            "apiserver",
            [("job", "apiserver"), ("instance", &api_address)],
            move || registry.text(),
        ));
        for (name, path) in [
            ("kubelet", "/metrics"),
            ("cadvisor", "/metrics/cadvisor"),
            ("node", "/metrics/node"),
        ] {
            let client = self.context.client.clone();
            let url = format!("/api/v1/nodes/{node}/proxy{path}");
            let ask = move || fetch(client.clone(), url.clone());
            exporters.add(if name == "node" {
                Exporter::new(name, [("job", "node-exporter"), ("instance", node)], ask)
            } else {
                let labels = [
                    ("job", "kubelet"),
                    ("instance", kubelet.as_str()),
                    ("node", node),
                    ("metrics_path", path),
                ];
                Exporter::new(name, labels, ask)
            });
        }
        let watched = kube_state::Watched::new(&self.context.caches);
        exporters.add(Exporter::at_once(
            "kube-state",
            [("job", "kube-state-metrics"), ("instance", node)],
            move || {
                let mut text = Text::default();
                kube_state::write(&watched.objects(), &mut text);
                text.into_string()
            },
        ));
        let mesh = self.mesh.clone();
        exporters.add(Exporter::at_once(
            "mesh",
            [("job", "istio-mesh"), ("instance", node)],
            move || mesh.text(),
        ));
        for component in ["kube-controller-manager", "kube-scheduler"] {
            let registry = springtide_client::instruments(component);
            exporters.add(Exporter::at_once(
                component,
                [("job", component), ("instance", node)],
                move || registry.text(),
            ));
        }
        let tsdb = tsdb.clone();
        exporters.add(Exporter::at_once(
            "tide",
            [("job", "springtide"), ("instance", node)],
            move || {
                let mut text = Text::default();
                process::write(&mut text);
                process::write_build_info(env!("CARGO_PKG_VERSION"), &mut text);
                platform::write_stats(&tsdb, &mut text);
                text.into_string()
            },
        ));
        exporters
    }

    /// Serves the exporters, and starts the thread that scrapes them and what asks for it. Sockets towards pods are made
    /// by a thread that lives in the mesh namespace; the exporters are served there, too, where no program of the host
    /// reaches them.
    async fn scrape(
        &self,
        tsdb: &Tsdb,
        exporters: &Exporters,
        tasks: &mut JoinSet<()>,
        log: LogLines,
        stop: &CancellationToken,
    ) -> Result<(Scraping, SharedConfig), String> {
        let said = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
        let local = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = self.namespace.tcp_socket(local).await;
        let socket = socket.map_err(said("no socket in the mesh namespace"))?;
        socket
            .bind(local)
            .map_err(said("the exporters cannot listen"))?;
        let listener: TcpListener = socket
            .listen(BACKLOG)
            .map_err(said("the exporters cannot listen"))?;
        let address = listener
            .local_addr()
            .map_err(said("the exporters' address"))?;
        let (router, until) = (exporters.router(), stop.clone());
        let serving = tokio::spawn(async move {
            let served =
                axum::serve(listener, router).with_graceful_shutdown(until.cancelled_owned());
            if let Err(error) = served.await {
                tracing::warn!(%error, "the built-in exporters are served no longer");
            }
        });
        let jobs = platform::jobs(exporters, address, self.interval)?;
        let manager = ScrapeManager::new(ScrapeOptions {
            tsdb: tsdb.clone(),
            clock: self.context.clock.clone(),
            folder: self.folder.clone(),
            caches: Some(self.context.caches.clone()),
            seed: self.context.entropy.below(u64::MAX),
        });
        let (tell_jobs, scraped) = watch::channel(jobs.clone());
        tasks.spawn(monitors::follow(
            self.context.clone(),
            jobs.clone(),
            PromDuration::from(self.interval),
            tell_jobs,
            log,
            stop.clone(),
        ));
        let clock = self.context.clock.clone();
        let config = Arc::new(RwLock::new(platform::shown_config(jobs, &clock)));
        let (scraper, until, shown) = (manager.clone(), stop.clone(), config.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(said("no runtime for scraping"))?;
        let run = move || {
            runtime.block_on(async move {
                platform::follow_jobs(&scraper, scraped, &shown, &clock, &until).await;
                scraper.stop().await;
            });
        };
        let thread = self
            .namespace
            .spawn_thread("scrape", run)
            .map_err(said("no thread for scraping"))?;
        let scraping = Scraping {
            manager,
            thread,
            serving,
        };
        Ok((scraping, config))
    }
}

/// What scrapes, until it is stopped.
struct Scraping {
    manager: ScrapeManager,
    thread: std::thread::JoinHandle<()>,
    serving: tokio::task::JoinHandle<()>,
}

impl Scraping {
    /// Waits until the thread and the server have ended, which `stop` tells them to.
    async fn stop(self) {
        let thread = self.thread;
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        let _ = self.serving.await;
    }
}

/// What a node's kubelet tells under a path.
fn fetch(client: kube::Client, url: String) -> Written {
    async move {
        let request = Request::get(url)
            .header(http::header::ACCEPT, "text/plain")
            .body(Vec::new())
            .map_err(|error| error.to_string())?;
        client
            .request_text(request)
            .await
            .map_err(|error| error.to_string())
    }
    .boxed()
}

/// Serves the metrics APIs with the metrics there are.
fn publish(api: &ApiServer, adapter: &Adapter) {
    let catalog = adapter.catalog();
    let resource = |plural: String, kind: &str, namespaced: bool| AggregatedResource {
        kind: kind.to_owned(),
        plural,
        singular: String::new(),
        namespaced,
        verbs: vec!["get".to_owned()],
        short_names: Vec::new(),
    };
    for version in CUSTOM_VERSIONS {
        let resources = catalog.custom().map(|metric| {
            let plural = format!("{}/{}", metric.kind.qualified(), metric.name);
            resource(plural, "MetricValueList", metric.namespaced)
        });
        api.aggregate(
            CUSTOM_GROUP,
            version,
            resources.collect(),
            adapter.custom(version),
        );
    }
    let resources = catalog
        .external()
        .map(|name| resource(name.to_owned(), "ExternalMetricValueList", true));
    api.aggregate(
        EXTERNAL_GROUP,
        EXTERNAL_VERSION,
        resources.collect(),
        adapter.external(),
    );
}
