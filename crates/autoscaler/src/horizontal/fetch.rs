//! Reads what the metrics APIs say: `metrics.k8s.io`, `custom.metrics.k8s.io` and `external.metrics.k8s.io`.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, MetricIdentifier, MetricSpec,
};
use kube::Client;
use serde::Deserialize;
use springtide_machinery::error::FieldPath;
use springtide_machinery::quantity::Quantity;
use springtide_machinery::selector::LabelSelector;

use super::api::{About, ApiFailure, encode, get};
use super::mapper::{Mapper, group_of};
use super::observed::{PodSample, Reading};

/// The window of a custom metric that does not tell its own.
const DEFAULT_WINDOW: Duration = Duration::from_secs(60);
const CUSTOM: &str = "custom.metrics.k8s.io";
const EXTERNAL: &str = "external.metrics.k8s.io";
/// The versions of custom metrics that can be read, newest first.
const CUSTOM_VERSIONS: [&str; 2] = ["v1beta2", "v1beta1"];

/// Reads metrics for one autoscaler's decision.
pub(super) struct Fetch<'a> {
    pub(super) client: &'a Client,
    pub(super) mapper: &'a Mapper,
    pub(super) namespace: &'a str,
    /// The scale's selector as text.
    pub(super) selector: &'a str,
}

#[derive(Deserialize)]
struct Items<T> {
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Deserialize, Clone)]
struct PodMetrics {
    metadata: Named,
    timestamp: Timestamp,
    #[serde(default)]
    window: String,
    #[serde(default)]
    containers: Vec<ContainerMetrics>,
}

#[derive(Deserialize, Clone)]
struct Named {
    name: String,
}

#[derive(Deserialize, Clone)]
struct ContainerMetrics {
    name: String,
    #[serde(default)]
    usage: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetricValue {
    described_object: Named,
    timestamp: Timestamp,
    window_seconds: Option<u64>,
    value: String,
}

#[derive(Deserialize)]
struct ExternalValue {
    value: String,
}

// === impl Fetch ===

impl Fetch<'_> {
    /// One reading for each metric, in order.
    pub(super) async fn all(&self, metrics: &[MetricSpec]) -> Vec<Result<Reading, String>> {
        let mut readings = Vec::with_capacity(metrics.len());
        // Asked for once: all resource metrics of a decision are of one moment.
        let mut resources: Option<Result<Vec<PodMetrics>, String>> = None;
        for metric in metrics {
            let reading = match metric {
                MetricSpec {
                    resource: Some(source),
                    ..
                } => {
                    let samples = self.resources(&mut resources).await;
                    samples.map(|samples| Reading::Pods(of_pods(&samples, &source.name)))
                }
                MetricSpec {
                    container_resource: Some(source),
                    ..
                } => {
                    let samples = self.resources(&mut resources).await;
                    samples.map(|samples| {
                        Reading::Pods(of_container(&samples, &source.name, &source.container))
                    })
                }
                MetricSpec {
                    pods: Some(source), ..
                } => self.pods_metric(&source.metric).await,
                MetricSpec {
                    object: Some(source),
                    ..
                } => {
                    self.object_metric(&source.metric, &source.described_object)
                        .await
                }
                MetricSpec {
                    external: Some(source),
                    ..
                } => self.external_metric(&source.metric).await,
                MetricSpec { .. } => Err("no metrics returned".to_owned()),
            };
            readings.push(reading);
        }
        readings
    }

    async fn resources(
        &self,
        known: &mut Option<Result<Vec<PodMetrics>, String>>,
    ) -> Result<Vec<PodMetrics>, String> {
        if known.is_none() {
            *known = Some(self.pod_metrics().await);
        }
        known.clone().unwrap_or_else(|| Ok(Vec::new()))
    }

    async fn pod_metrics(&self) -> Result<Vec<PodMetrics>, String> {
        let Self {
            namespace,
            selector,
            ..
        } = self;
        let path = format!(
            "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods?labelSelector={}",
            encode(selector)
        );
        let about = About {
            verb: "get",
            resource: "pods.metrics.k8s.io",
            name: "",
        };
        let found: Items<PodMetrics> = get(self.client, &path, about).await.map_err(|error| {
            format!("unable to fetch metrics from resource metrics API: {error}")
        })?;
        if found.items.is_empty() {
            return Err("no metrics returned from resource metrics API".to_owned());
        }
        Ok(found.items)
    }

    async fn pods_metric(&self, metric: &MetricIdentifier) -> Result<Reading, String> {
        let unable =
            |error: String| format!("unable to fetch metrics from custom metrics API: {error}");
        let root = self.custom_root().await.map_err(unable)?;
        let path = format!(
            "{root}/namespaces/{}/pods/%2A/{}?labelSelector={}&metricLabelSelector={}",
            self.namespace,
            encode(&metric.name),
            encode(self.selector),
            encode(&selector_text(metric)?),
        );
        let found: Items<MetricValue> = self.custom(&path, "pods", "*").await.map_err(unable)?;
        if found.items.is_empty() {
            return Err("no metrics returned from custom metrics API".to_owned());
        }
        let sample = |found: MetricValue| {
            let window = found
                .window_seconds
                .map_or(DEFAULT_WINDOW, Duration::from_secs);
            let sample = PodSample {
                value: milli(&found.value),
                timestamp: found.timestamp,
                window,
            };
            (found.described_object.name, sample)
        };
        Ok(Reading::Pods(found.items.into_iter().map(sample).collect()))
    }

    async fn object_metric(
        &self,
        metric: &MetricIdentifier,
        object: &CrossVersionObjectReference,
    ) -> Result<Reading, String> {
        let unable =
            |error: String| format!("unable to fetch metrics from custom metrics API: {error}");
        let root = self.custom_root().await.map_err(unable)?;
        let group = group_of(object.api_version.as_deref().unwrap_or_default()).map_err(unable)?;
        let (resource, place) = if group.is_empty() && object.kind == "Namespace" {
            // An autoscaler sees no other namespace than its own, whatever name is given.
            (
                "namespaces".to_owned(),
                format!("namespaces/{}/metrics", self.namespace),
            )
        } else {
            let mapping = self
                .mapper
                .find(group, &object.kind)
                .await
                .map_err(unable)?;
            let resource = mapping
                .first()
                .map(super::mapper::Mapping::qualified)
                .unwrap_or_default();
            let place = format!(
                "namespaces/{}/{resource}/{}",
                self.namespace,
                encode(&object.name)
            );
            (resource, place)
        };
        let metric_name = encode(&metric.name);
        let path = format!(
            "{root}/{place}/{metric_name}?metricLabelSelector={}",
            encode(&selector_text(metric)?)
        );
        let found: Items<MetricValue> = self
            .custom(&path, &resource, &object.name)
            .await
            .map_err(unable)?;
        match found.items.as_slice() {
            [only] => Ok(Reading::Object(milli(&only.value))),
            [] => Err(unable(
                "the custom metrics API server returned no results for ".to_owned() + &path,
            )),
            _ => Err(unable(
                "the custom metrics API server returned more than one result".to_owned(),
            )),
        }
    }

    async fn external_metric(&self, metric: &MetricIdentifier) -> Result<Reading, String> {
        let name = encode(&metric.name);
        let selector = encode(&selector_text(metric)?);
        let namespace = self.namespace;
        let path = format!(
            "/apis/{EXTERNAL}/v1beta1/namespaces/{namespace}/{name}?labelSelector={selector}"
        );
        let resource = format!("{}.{EXTERNAL}", metric.name);
        let found: Items<ExternalValue> = get(
            self.client,
            &path,
            About {
                verb: "get",
                resource: &resource,
                name: "",
            },
        )
        .await
        .map_err(|error| format!("unable to fetch metrics from external metrics API: {error}"))?;
        if found.items.is_empty() {
            return Err("no metrics returned from external metrics API".to_owned());
        }
        Ok(Reading::External(
            found
                .items
                .iter()
                .map(|found| milli(&found.value))
                .collect(),
        ))
    }

    async fn custom<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        resource: &str,
        name: &str,
    ) -> Result<T, String> {
        let resource = format!("{resource}.{CUSTOM}");
        let about = About {
            verb: "get",
            resource: &resource,
            name,
        };
        get(self.client, path, about)
            .await
            .map_err(|error: ApiFailure| error.message)
    }

    async fn custom_root(&self) -> Result<String, String> {
        let served = self
            .mapper
            .versions(CUSTOM)
            .await
            .map_err(|error| error.to_string())?;
        let version = CUSTOM_VERSIONS
            .iter()
            .find(|known| served.iter().any(|version| version == *known));
        let version =
            version.ok_or_else(|| format!("no custom metrics API ({CUSTOM}) registered"))?;
        Ok(format!("/apis/{CUSTOM}/{version}"))
    }
}

/// Each pod's usage: the sum of its containers, none where one of them does not tell.
fn of_pods(samples: &[PodMetrics], resource: &str) -> BTreeMap<String, PodSample> {
    let sum = |found: &PodMetrics| {
        let usages = found
            .containers
            .iter()
            .map(|container| Some(milli(container.usage.get(resource)?)));
        let total = usages
            .sum::<Option<i64>>()
            .filter(|_| !found.containers.is_empty())?;
        Some((found.metadata.name.clone(), sample(found, total)))
    };
    samples.iter().filter_map(sum).collect()
}

/// The usage of one container of each pod, none where the pod has no such container or it does not tell.
fn of_container(
    samples: &[PodMetrics],
    resource: &str,
    container: &str,
) -> BTreeMap<String, PodSample> {
    let usage = |found: &PodMetrics| {
        let of = found
            .containers
            .iter()
            .find(|known| known.name == container)?;
        Some((
            found.metadata.name.clone(),
            sample(found, milli(of.usage.get(resource)?)),
        ))
    };
    samples.iter().filter_map(usage).collect()
}

fn sample(found: &PodMetrics, value: i64) -> PodSample {
    PodSample {
        value,
        timestamp: found.timestamp,
        window: window(&found.window),
    }
}

/// A Go duration such as `5s`, `1m30s` or `17.104s`; jiff reads these.
fn window(text: &str) -> Duration {
    let parsed = text.parse::<jiff::SignedDuration>().ok();
    parsed
        .and_then(|duration| Duration::try_from(duration).ok())
        .unwrap_or_default()
}

fn milli(text: &str) -> i64 {
    Quantity::parse(text)
        .map(Quantity::milli)
        .unwrap_or_default()
}

fn selector_text(metric: &MetricIdentifier) -> Result<String, String> {
    let Some(selector) = &metric.selector else {
        return Ok(String::new());
    };
    let selector = LabelSelector::from_typed(selector, &FieldPath::default());
    let told = |errors: Vec<springtide_machinery::error::FieldError>| {
        let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
        told.join(", ")
    };
    selector.map(|selector| selector.to_string()).map_err(told)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn samples() -> Vec<PodMetrics> {
        let of = |name: &str, containers: serde_json::Value| json!({"metadata": {"name": name}, "timestamp": "2026-01-01T00:00:00Z", "window": "5.25s", "containers": containers});
        let list = json!([
            of(
                "both",
                json!([{"name": "app", "usage": {"cpu": "100500u", "memory": "1Ki"}}, {"name": "side", "usage": {"cpu": "2m"}}])
            ),
            of(
                "silent",
                json!([{"name": "app", "usage": {"memory": "1Ki"}}])
            ),
            of("empty", json!([])),
        ]);
        serde_json::from_value(list).unwrap()
    }

    #[test]
    fn a_pods_usage_is_that_of_its_containers() {
        let found = of_pods(&samples(), "cpu");
        assert_eq!(found.keys().collect::<Vec<_>>(), ["both"]);
        assert_eq!(found["both"].value, 103);
        assert_eq!(found["both"].window, Duration::from_millis(5_250));
        assert!(of_pods(&samples(), "memory").contains_key("silent"));
        assert!(!of_pods(&samples(), "memory").contains_key("both"));
    }

    #[test]
    fn one_containers_usage_leaves_the_others_out() {
        let found = of_container(&samples(), "cpu", "side");
        assert_eq!(found.keys().collect::<Vec<_>>(), ["both"]);
        assert_eq!(found["both"].value, 2);
    }
}
