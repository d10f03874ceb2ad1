use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::{AlertingConfig, AlertmanagerConfig, Scheme};
use crate::http_client::{HttpClient, Question};
use crate::relabel::{LabelSet, RelabelRule, relabel};
use crate::rules::{AlertmanagerReports, Notice, NoticeSink};

use super::alert::PostedAlert;

/// Sends the rules' alerts to the Alertmanagers that `prometheus.yml` names. Cheap to clone.
///
/// As in Prometheus, what cannot be sent is dropped and counted: firing alerts are given again every minute.
#[derive(Clone)]
pub struct ExternalAlertmanagers(Arc<Shared>);

struct Shared {
    targets: Vec<Target>,
    dropped_targets: Vec<String>,
    relabelling: Vec<RelabelRule>,
    external_labels: LabelSet,
    queue: Mutex<Queue>,
    filled: Notify,
}

struct Target {
    url: String,
    uri: http::Uri,
    client: HttpClient,
    timeout: Duration,
    relabelling: Vec<RelabelRule>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<PostedAlert>,
    sent: u64,
    failed: u64,
    dropped: u64,
}

/// Alerts that wait at most; the oldest are dropped beyond, as Prometheus does.
const CAPACITY: usize = 10_000;

/// Alerts in one request at most.
const BATCH: usize = 64;

// === impl ExternalAlertmanagers ===

impl ExternalAlertmanagers {
    /// Those of a configuration; relative paths in it are below a folder.
    ///
    /// # Errors
    /// Where one cannot be used, or is to be found in a way that is not supported here, which is named.
    pub fn new(
        config: &AlertingConfig,
        external_labels: LabelSet,
        folder: &Path,
    ) -> Result<ExternalAlertmanagers, String> {
        let mut targets = Vec::new();
        let mut dropped_targets = Vec::new();
        for section in &config.alertmanagers {
            let unsupported = [
                ("file_sd_configs", section.file_sd_configs.is_empty()),
                ("http_sd_configs", section.http_sd_configs.is_empty()),
                (
                    "kubernetes_sd_configs",
                    section.kubernetes_sd_configs.is_empty(),
                ),
            ];
            if let Some((name, _)) = unsupported.iter().find(|(_, is_empty)| !is_empty) {
                return Err(format!(
                    "alerting: alertmanagers: {name} is not supported; name the Alertmanagers in static_configs"
                ));
            }
            let client = HttpClient::new(section.http_client(), folder)
                .map_err(|error| format!("alerting: alertmanagers: {error}"))?;
            for group in &section.static_configs {
                for address in &group.targets {
                    let labels = target_labels(section, address, &group.labels);
                    let kept = labels.clone();
                    let mut kept = kept;
                    let keeps = relabel(&mut kept, &section.relabel_configs);
                    let url = url_of(if keeps { &kept } else { &labels });
                    if !keeps {
                        dropped_targets.push(url);
                        continue;
                    }
                    let uri = url
                        .parse()
                        .map_err(|error| format!("alertmanager {address:?}: {error}"))?;
                    targets.push(Target {
                        url,
                        uri,
                        client: client.clone(),
                        timeout: section.timeout.get(),
                        relabelling: section.alert_relabel_configs.clone(),
                    });
                }
            }
        }
        Ok(ExternalAlertmanagers(Arc::new(Shared {
            targets,
            dropped_targets,
            relabelling: config.alert_relabel_configs.clone(),
            external_labels,
            queue: Mutex::default(),
            filled: Notify::new(),
        })))
    }

    /// Whether none is named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.targets.is_empty()
    }

    /// How many alerts were sent, failed to be, and were dropped because too many waited.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let queue = self.0.queue.lock();
        (queue.sent, queue.failed, queue.dropped)
    }

    /// Sends what is given until cancelled.
    pub async fn run(self, cancelled: CancellationToken) {
        loop {
            let batch: Vec<PostedAlert> = {
                let mut queue = self.0.queue.lock();
                let count = queue.waiting.len().min(BATCH);
                queue.waiting.drain(..count).collect()
            };
            if batch.is_empty() {
                tokio::select! {
                    biased;
                    () = cancelled.cancelled() => return,
                    () = self.0.filled.notified() => {}
                }
                continue;
            }
            tokio::select! {
                biased;
                () = cancelled.cancelled() => return,
                () = self.send(&batch) => {}
            }
        }
    }

    async fn send(&self, batch: &[PostedAlert]) {
        let sending = self.0.targets.iter().map(|target| target.send(batch));
        for (sent, target) in futures::future::join_all(sending)
            .await
            .into_iter()
            .zip(&self.0.targets)
        {
            let mut queue = self.0.queue.lock();
            match sent {
                Ok(count) => queue.sent += count as u64,
                Err(reason) => {
                    queue.failed += batch.len() as u64;
                    tracing::warn!(
                        alertmanager = target.url,
                        count = batch.len(),
                        reason,
                        "alerts could not be sent"
                    );
                }
            }
        }
    }
}

impl NoticeSink for ExternalAlertmanagers {
    fn take(&self, notices: Vec<Notice>) {
        if self.is_empty() {
            return;
        }
        let mut queue = self.0.queue.lock();
        for notice in notices {
            let mut alert = PostedAlert::from(notice);
            for (name, value) in &self.0.external_labels {
                alert
                    .labels
                    .entry(name.clone())
                    .or_insert_with(|| value.clone());
            }
            if relabel(&mut alert.labels, &self.0.relabelling) {
                queue.waiting.push_back(alert);
            }
        }
        while queue.waiting.len() > CAPACITY {
            queue.waiting.pop_front();
            queue.dropped += 1;
        }
        drop(queue);
        self.0.filled.notify_one();
    }

    fn alertmanagers(&self) -> AlertmanagerReports {
        AlertmanagerReports {
            active: self
                .0
                .targets
                .iter()
                .map(|target| target.url.clone())
                .collect(),
            dropped: self.0.dropped_targets.clone(),
        }
    }
}

// === impl Target ===

impl Target {
    async fn send(&self, batch: &[PostedAlert]) -> Result<usize, String> {
        let mut alerts = batch.to_vec();
        if !self.relabelling.is_empty() {
            alerts.retain_mut(|alert| relabel(&mut alert.labels, &self.relabelling));
        }
        if alerts.is_empty() {
            return Ok(0);
        }
        let body = serde_json::to_vec(&alerts).map_err(|error| error.to_string())?;
        let question = Question::post(self.uri.clone(), "application/json", body);
        let answer = self
            .client
            .ask(question, self.timeout, 1 << 20)
            .await
            .map_err(|error| error.to_string())?;
        if answer.status.is_success() {
            Ok(alerts.len())
        } else {
            Err(format!("bad response status {}", answer.status))
        }
    }
}

fn target_labels(section: &AlertmanagerConfig, address: &str, own: &LabelSet) -> LabelSet {
    let mut labels = own.clone();
    let scheme = match section.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let path = format!("/{}/api/v2/alerts", section.path_prefix.trim_matches('/'));
    for (name, value) in [
        ("__address__", address.to_owned()),
        ("__scheme__", scheme.to_owned()),
        ("__alerts_path__", path.replace("//", "/")),
    ] {
        labels.insert(name.to_owned(), value);
    }
    labels
}

fn url_of(labels: &LabelSet) -> String {
    let get = |name: &str| labels.get(name).map_or("", String::as_str);
    format!(
        "{}://{}{}",
        get("__scheme__"),
        get("__address__"),
        get("__alerts_path__")
    )
}
