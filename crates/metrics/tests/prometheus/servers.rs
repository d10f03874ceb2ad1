use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::RwLock;
use serde_json::Value as Json;
use springtide_machinery::clock::Clock;
use springtide_metrics::config::{Config, HttpClientConfig};
use springtide_metrics::http_api::{ApiParts, LoadedConfig, router};
use springtide_metrics::http_client::{HttpClient, Question};
use springtide_metrics::promql;
use springtide_metrics::remote_write::message::WriteRequest;
use springtide_metrics::rules::RuleEngine;
use springtide_metrics::scrape::{ScrapeManager, ScrapeOptions};
use springtide_metrics::tsdb::{Options, Tsdb};

/// Status and document.
pub(crate) type Answer = (u16, Json);

const LIMIT: Duration = Duration::from_secs(60);

/// A real Prometheus and ours, over the same series.
pub(crate) struct Servers {
    pub(crate) theirs: String,
    pub(crate) ours: String,
    client: HttpClient,
    process: Child,
    _folder: tempfile::TempDir,
}

/// Says something although the harness captures output.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// A program that a variable names; says that it is missing.
pub(crate) fn program(variable: &str, name: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    let found = path.filter(|path| path.exists());
    if found.is_none() {
        say(&format!("skipped: no {name}; set {variable}"));
    }
    found
}

impl Drop for Servers {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Servers {
    /// Both without anything to scrape.
    pub(crate) async fn start(what: &str) -> Option<Servers> {
        Servers::start_with(what, "global: {}\n").await
    }

    /// Both scrape what a configuration says.
    pub(crate) async fn start_with(what: &str, config: &str) -> Option<Servers> {
        let Some(prometheus) = program("SPRINGTIDE_PROMETHEUS", "prometheus") else {
            say(&format!("skipped: {what} against Prometheus"));
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).expect("written");
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port");
            free.local_addr().expect("bound").port()
        };
        let process = Command::new(prometheus)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg("--storage.tsdb.retention.time=100y")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--web.enable-remote-write-receiver")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus starts");
        let servers = Servers {
            theirs: format!("http://127.0.0.1:{port}"),
            ours: serve(config).await,
            client: HttpClient::new(HttpClientConfig::default(), folder.path()).expect("a client"),
            process,
            _folder: folder,
        };
        let ready = async {
            loop {
                let url = format!("{}/-/ready", servers.theirs)
                    .parse()
                    .expect("a URL");
                let answer = servers.client.ask(Question::get(url), LIMIT, 0).await;
                if answer.is_ok_and(|answer| answer.status == 200) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(LIMIT, ready)
            .await
            .expect("prometheus becomes ready");
        Some(servers)
    }

    pub(crate) fn say(&self, text: &str) {
        say(text);
    }

    /// Writes the same samples to both.
    pub(crate) async fn write(&self, request: &WriteRequest) {
        let body = request.pack().expect("packed");
        for server in [&self.theirs, &self.ours] {
            let url = format!("{server}/api/v1/write").parse().expect("a URL");
            let mut question = Question::post(url, "application/x-protobuf", body.clone());
            let snappy = http::HeaderValue::from_static("snappy");
            question.headers.insert("content-encoding", snappy);
            let answer = self
                .client
                .ask(question, LIMIT, 0)
                .await
                .expect("an answer");
            let text = String::from_utf8_lossy(&answer.body);
            assert_eq!(answer.status, 204, "{server}: {text}");
        }
    }

    /// Asks both the same of `/api/v1`.
    pub(crate) async fn ask(&self, request: &str) -> (Answer, Answer) {
        let ask = async |server: &str| {
            let url = format!("{server}/api/v1/{request}").parse().expect(request);
            let mut question = Question::get(url);
            if request.starts_with("admin") {
                question.method = http::Method::POST;
            }
            let answer = self.client.ask(question, LIMIT, 0).await.expect(request);
            let document = serde_json::from_slice(&answer.body).unwrap_or_else(|_| {
                Json::String(String::from_utf8_lossy(&answer.body).into_owned())
            });
            (answer.status.as_u16(), document)
        };
        (ask(&self.theirs).await, ask(&self.ours).await)
    }
}

/// Serves our API over an empty database, and scrapes what a configuration says; says its URL.
async fn serve(config: &str) -> String {
    let clock = Clock::system();
    let tsdb = Tsdb::in_memory(Options::default());
    let scrapes = ScrapeManager::new(ScrapeOptions {
        tsdb: tsdb.clone(),
        clock: clock.clone(),
        folder: std::env::temp_dir(),
        caches: None,
        seed: 1,
    });
    let config = Config::parse(config, "prometheus.yml").expect("valid");
    let jobs = config.scrape_configs.clone();
    scrapes.apply(jobs).await.expect("the jobs start");
    let rules = RuleEngine::new(tsdb.clone(), clock.clone(), Vec::new());
    let api = router(ApiParts {
        tsdb,
        scrapes: Some(scrapes),
        rules: Arc::new(rules),
        config: Arc::new(RwLock::new(LoadedConfig {
            config: Arc::new(config),
            last_reload_succeeded: true,
            loaded_at: clock.now(),
        })),
        flags: BTreeMap::new(),
        started: clock.now(),
        clock,
        engine: promql::Options::default(),
        query_timeout: Duration::from_secs(60),
        query_concurrency: 4,
        allows_admin: false,
        reload: None,
        quit: None,
        takes_remote_write: true,
        cors_origin: None,
        ready: Arc::new(AtomicBool::new(true)),
        route_prefix: String::new(),
        own_metrics: Arc::new(String::new),
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move { axum::serve(listener, api).await });
    format!("http://{address}")
}
