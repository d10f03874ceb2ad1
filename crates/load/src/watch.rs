//! What an autoscaler does while the load runs, beside the load's own figures.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, MetricStatus, ResourceMetricStatus,
};
use kube::Api;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::Error;

/// How an autoscaler stood when it was last read.
#[derive(Clone, Debug, Default)]
pub struct Autoscaler {
    line: Arc<Mutex<String>>,
}

// === impl Autoscaler ===

impl Autoscaler {
    /// Replicas and utilisation as a short text, for example `replicas 4→6  cpu 82%`.
    #[must_use]
    pub fn line(&self) -> String {
        self.line.lock().clone()
    }
}

/// Reads `hpa/NAME` once a second until `stop` is cancelled.
///
/// # Errors
/// When `what` names anything but a HorizontalPodAutoscaler.
pub fn watch_autoscaler(
    client: kube::Client,
    namespace: &str,
    what: &str,
    stop: CancellationToken,
) -> Result<Autoscaler, Error> {
    let name = what
        .split_once('/')
        .filter(|(kind, name)| is_autoscaler(kind) && !name.is_empty())
        .map(|(_, name)| name.to_owned())
        .ok_or_else(|| Error::Watch(what.to_owned()))?;
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(client, namespace);
    let autoscaler = Autoscaler::default();
    let line = Arc::clone(&autoscaler.line);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let text = match api.get(&name).await {
                Ok(found) => describe(&found),
                Err(error) => format!("hpa/{name}: {error}"),
            };
            *line.lock() = text;
        }
    });
    Ok(autoscaler)
}

fn is_autoscaler(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    let plain = kind.strip_suffix(".autoscaling").unwrap_or(&kind);
    matches!(
        plain,
        "hpa" | "horizontalpodautoscaler" | "horizontalpodautoscalers"
    )
}

fn describe(autoscaler: &HorizontalPodAutoscaler) -> String {
    let Some(status) = &autoscaler.status else {
        return "replicas <unknown>".to_owned();
    };
    let current = status.current_replicas.unwrap_or_default();
    let mut text = format!("replicas {current}");
    if status.desired_replicas != current {
        text.push_str(&format!("→{}", status.desired_replicas));
    }
    for metric in status.current_metrics.iter().flatten() {
        if let Some((name, utilization)) = utilization(metric) {
            text.push_str(&format!("  {name} {utilization}%"));
        }
    }
    text
}

fn utilization(metric: &MetricStatus) -> Option<(&str, i32)> {
    let ResourceMetricStatus { name, current } = metric.resource.as_ref()?;
    Some((name, current.average_utilization?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_autoscaler_reads_as_one_line() {
        let found: HorizontalPodAutoscaler = serde_json::from_value(serde_json::json!({
            "status": {"currentReplicas": 4, "desiredReplicas": 6, "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 82, "averageValue": "164m"}}},
            ]},
        }))
        .unwrap();
        assert_eq!(describe(&found), "replicas 4→6  cpu 82%");
    }

    #[test]
    fn only_autoscalers_can_be_watched() {
        for kind in [
            "hpa",
            "HPA",
            "horizontalpodautoscaler",
            "horizontalpodautoscalers.autoscaling",
        ] {
            assert!(is_autoscaler(kind), "{kind}");
        }
        assert!(!is_autoscaler("deployment"));
    }
}
