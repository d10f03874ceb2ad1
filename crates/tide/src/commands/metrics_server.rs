//! Whom `tide query`, `tide alerts` and `tide silence` ask: the running platform, or any server that speaks Prometheus'
//! or Alertmanager's API.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use http::Method;
use serde_json::Value;
use springtide_metrics::config::HttpClientConfig;
use springtide_metrics::http_client::{Answer, HttpClient, Question};

use super::status;
use crate::data_folder::{DataFolder, DataFolderArgument};

/// How long an answer is waited for: the longest a query may take.
const LIMIT: Duration = Duration::from_mins(2);
/// Where the running platform serves these APIs, through its own.
const OWN: &str = "/api/v1/namespaces/kube-system/services/prometheus:9090/proxy";
/// Where a server is looked for when no platform runs.
const DEFAULT_SERVER: &str = "http://127.0.0.1:9090";

/// Whom to ask.
#[derive(Debug, Args)]
pub(crate) struct ServerArgument {
    /// A Prometheus or an Alertmanager to ask [default: the running platform, or else http://127.0.0.1:9090]
    #[arg(long, value_name = "URL", env = "SPRINGTIDE_METRICS_URL")]
    server: Option<String>,
    #[command(flatten)]
    data_folder: DataFolderArgument,
}

impl ServerArgument {
    /// Asks for a path with its parameters; the answer may be one of failure.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Answer> {
        self.ask(&Method::GET, path, None)
    }

    /// Asks, and reads the answer, which may be one of failure.
    pub(crate) fn ask(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let body = body.map_or_else(String::new, Value::to_string);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            if self.server.is_none() {
                let folder = self.data_folder.folder()?;
                if folder.instance()?.is_some() {
                    return ask_platform(&folder, method, path, body)
                        .await
                        .context("the platform's metrics do not answer");
                }
                ensure!(
                    !self.data_folder.is_named(),
                    "no platform runs on {}: start it with `tide up`, or name a server with --server",
                    folder.path().display()
                );
            }
            let server = self.server.as_deref().unwrap_or(DEFAULT_SERVER);
            ask_server(server, method, path, body)
                .await
                .with_context(|| match &self.server {
                    Some(server) => format!("{server} does not answer"),
                    None => format!(
                        "no platform runs here, and {server} does not answer: name a server with --server"
                    ),
                })
        })
    }
}

async fn ask_platform(
    folder: &DataFolder,
    method: &Method,
    path: &str,
    body: String,
) -> anyhow::Result<Answer> {
    let mut config = status::client_config(folder).await?;
    // A query that takes too long is answered with 503, and so is one while the part is away: neither is asked again.
    config.default_retry = false;
    let client = kube::Client::try_from(config)?;
    let request = http::Request::builder()
        .method(method)
        .uri(format!("{OWN}{path}"))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body.into_bytes().into())?;
    let answering = async {
        let (parts, body) = client.send(request).await?.into_parts();
        let body = body.collect_bytes().await?;
        // A refusal of the API server itself: the part is scaled to zero, or not up yet.
        if !parts.status.is_success()
            && let Ok(refusal) = serde_json::from_slice::<Value>(&body)
            && refusal["kind"] == "Status"
        {
            bail!("{}", refusal["message"].as_str().unwrap_or_default());
        }
        anyhow::Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    };
    tokio::time::timeout(LIMIT, answering).await?
}

async fn ask_server(
    server: &str,
    method: &Method,
    path: &str,
    body: String,
) -> anyhow::Result<Answer> {
    let url = format!("{}{path}", server.trim_end_matches('/'));
    let url = url
        .parse()
        .with_context(|| format!("{server:?} is no URL"))?;
    let question = match *method {
        Method::GET => Question::get(url),
        _ => Question {
            method: method.clone(),
            ..Question::post(url, "application/json", body)
        },
    };
    let client = HttpClient::new(HttpClientConfig::default(), Path::new("."))?;
    Ok(client.ask(question, LIMIT, 0).await?)
}

/// A text as a value of a URL's parameter.
pub(crate) fn escape(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        plain if plain.is_ascii_alphanumeric() => char::from(plain).to_string(),
        other => format!("%{other:02X}"),
    });
    escaped.collect()
}
