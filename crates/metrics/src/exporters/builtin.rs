//! The built-in exporters behind one server, and the jobs that scrape them.
//!
//! ```text
//! GET /metrics           all of them
//! GET /metrics/NAME      one of them
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::BoxFuture;
use serde_json::json;

use crate::config::{Config, ScrapeConfig};

/// What an exporter writes, or why it cannot.
pub type Written = BoxFuture<'static, Result<String, String>>;

/// One exporter: writes the text format 0.0.4 when it is asked.
#[derive(Clone)]
pub struct Exporter {
    name: &'static str,
    /// The labels of its target, and whether it gives times of its own.
    labels: Vec<(&'static str, String)>,
    write: Arc<dyn Fn() -> Written + Send + Sync>,
}

/// All exporters of a process, in the order they were added.
#[derive(Clone, Default)]
pub struct Exporters {
    all: Vec<Exporter>,
}

// === impl Exporter ===

impl Exporter {
    /// An exporter under a name, which is part of its path, with the labels of its target (`job`, `instance`, …).
    pub fn new<const N: usize>(
        name: &'static str,
        labels: [(&'static str, &str); N],
        write: impl Fn() -> Written + Send + Sync + 'static,
    ) -> Exporter {
        Exporter {
            name,
            labels: labels
                .map(|(label, value)| (label, value.to_owned()))
                .to_vec(),
            write: Arc::new(write),
        }
    }

    /// An exporter that does not wait for anything.
    pub fn at_once<const N: usize>(
        name: &'static str,
        labels: [(&'static str, &str); N],
        write: impl Fn() -> String + Send + Sync + 'static,
    ) -> Exporter {
        Exporter::new(name, labels, move || {
            let text = write();
            Box::pin(async move { Ok(text) })
        })
    }
}

// === impl Exporters ===

impl Exporters {
    /// Adds an exporter.
    pub fn add(&mut self, exporter: Exporter) {
        self.all.push(exporter);
    }

    /// Serves them.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/metrics", get(everything))
            .route("/metrics/{name}", get(one))
            .with_state(Arc::new(self.clone()))
    }

    /// The text of all of them. A family that two have is written twice: each exporter alone is what is scraped.
    async fn text(&self) -> String {
        let mut text = String::new();
        for exporter in &self.all {
            match (exporter.write)().await {
                Ok(written) => text.push_str(&written),
                Err(reason) => text.push_str(&format!(
                    "# {}: {}\n",
                    exporter.name,
                    reason.replace('\n', " ")
                )),
            }
        }
        text
    }
}

async fn everything(State(exporters): State<Arc<Exporters>>) -> Response {
    exposed(exporters.text().await)
}

async fn one(State(exporters): State<Arc<Exporters>>, Path(name): Path<String>) -> Response {
    let found = exporters.all.iter().find(|exporter| exporter.name == name);
    let Some(exporter) = found else {
        let known: Vec<&str> = exporters.all.iter().map(|exporter| exporter.name).collect();
        let sentence = format!(
            "there is no part {name:?}; there are {}\n",
            known.join(", ")
        );
        return (StatusCode::NOT_FOUND, sentence).into_response();
    };
    match (exporter.write)().await {
        Ok(text) => exposed(text),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

fn exposed(text: String) -> Response {
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    )
        .into_response()
}

/// The jobs that scrape these exporters at the address where [`Exporters::router`] is served, with the labels that stock
/// rules and dashboards select by.
///
/// # Errors
/// A sentence where a job cannot be made: a label's name that is none.
pub fn builtin_jobs(
    exporters: &Exporters,
    address: SocketAddr,
    interval: &str,
) -> Result<Vec<ScrapeConfig>, String> {
    let jobs = exporters.all.iter().map(|exporter| {
        let labels: serde_json::Map<String, serde_json::Value> = exporter
            .labels
            .iter()
            .map(|(label, value)| ((*label).to_owned(), json!(value)))
            .collect();
        json!({
            "job_name": format!("builtin/{}", exporter.name),
            "metrics_path": format!("/metrics/{}", exporter.name),
            "scrape_interval": interval,
            // What is measured of a pod is the pod's, whatever the target's own labels are.
            "honor_labels": true,
            "track_timestamps_staleness": true,
            "static_configs": [{"targets": [address.to_string()], "labels": labels}],
        })
    });
    let config = json!({"scrape_configs": jobs.collect::<Vec<_>>()});
    // JSON is YAML.
    let config = Config::parse(&config.to_string(), "the built-in jobs")
        .map_err(|error| error.to_string())?;
    Ok(config.scrape_configs)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    fn exporters() -> Exporters {
        let mut exporters = Exporters::default();
        exporters.add(Exporter::at_once(
            "state",
            [("job", "kube-state-metrics"), ("instance", "n")],
            || "a 1\n".to_owned(),
        ));
        exporters.add(Exporter::new("node", [("job", "node-exporter")], || {
            Box::pin(async { Err("gone".to_owned()) })
        }));
        exporters
    }

    async fn ask(path: &str) -> (u16, String) {
        let request = http::Request::get(path)
            .body(axum::body::Body::empty())
            .unwrap();
        let response = exporters().router().oneshot(request).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn each_part_and_all_together_are_served() {
        assert_eq!(ask("/metrics/state").await, (200, "a 1\n".to_owned()));
        assert_eq!(
            ask("/metrics").await,
            (200, "a 1\n# node: gone\n".to_owned())
        );
        assert_eq!(ask("/metrics/node").await, (503, "gone\n".to_owned()));
        let (code, sentence) = ask("/metrics/other").await;
        assert_eq!(
            (code, sentence.as_str()),
            (404, "there is no part \"other\"; there are state, node\n")
        );
    }

    #[test]
    fn each_exporter_is_a_job_with_the_labels_that_rules_select_by() {
        let jobs = builtin_jobs(&exporters(), "127.0.0.1:9".parse().unwrap(), "5s").unwrap();
        assert_eq!(jobs.len(), 2);
        assert_eq!(
            (jobs[0].metrics_path.as_str(), jobs[0].honor_labels),
            ("/metrics/state", true)
        );
        assert_eq!(
            jobs[0].static_configs[0].labels["job"],
            "kube-state-metrics"
        );
    }
}
