//! What autoscalers do while the load runs, read once a second from any Kubernetes API.
//!
//! ```text
//! API ──► Look (autoscaler, its events, ready replicas) ──► Record (pure) ──► line a second, WatchTimeline
//! ```

mod record;
mod timeline;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Event;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use record::{Look, Record};
pub use timeline::{
    AutoscalerReading, AutoscalerTimeline, MetricReading, MetricUnit, ScalingDecision,
    WatchTimeline,
};

/// How often an autoscaler is read.
const EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take before it is a fault.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why something cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// It is no autoscaler.
    #[error("--watch {0:?}: only hpa/NAME can be watched")]
    Kind(String),
    /// It cannot be read.
    #[error("--watch hpa/{name} in namespace {namespace}: {reason}")]
    Read {
        /// The autoscaler.
        name: String,
        /// Its namespace.
        namespace: String,
        /// What the API said.
        reason: String,
    },
}

/// Autoscalers that are read once a second until this is dropped.
#[derive(Debug)]
pub struct Watch {
    records: Vec<Arc<Mutex<Record>>>,
    names: Vec<String>,
    _readers: JoinSet<()>,
}

/// Where an autoscaler is read.
struct Reader {
    client: Client,
    namespace: String,
    name: String,
    autoscalers: Api<HorizontalPodAutoscaler>,
    events: Api<Event>,
}

// === impl Watch ===

impl Watch {
    /// Begins to watch each of `what`, such as `hpa/web`, in a namespace.
    ///
    /// # Errors
    /// When one is not an autoscaler's name, or cannot be read now.
    pub async fn start(
        client: &Client,
        namespace: &str,
        what: &[String],
    ) -> Result<Self, WatchError> {
        let names: Vec<String> = what
            .iter()
            .map(|text| autoscaler_name(text))
            .collect::<Result<_, _>>()?;
        let mut records = Vec::with_capacity(names.len());
        let mut readers = JoinSet::new();
        for name in &names {
            let reader = Reader::new(client.clone(), namespace, name);
            let first = reader.look().await.map_err(|reason| WatchError::Read {
                name: name.clone(),
                namespace: namespace.to_owned(),
                reason,
            })?;
            let mut record = Record::new(namespace, name);
            record.take(Instant::now(), &first);
            let record = Arc::new(Mutex::new(record));
            readers.spawn(reader.follow(Arc::clone(&record)));
            records.push(record);
        }
        Ok(Self {
            records,
            names,
            _readers: readers,
        })
    }

    /// How all of them stand, as a short text: `replicas 4→6  cpu 82%`; with their names where they
    /// are more than one.
    #[must_use]
    pub fn line(&self) -> String {
        if let [only] = &self.records[..] {
            return only.lock().line();
        }
        let lines: Vec<String> = self
            .names
            .iter()
            .zip(&self.records)
            .map(|(name, record)| format!("{name} {}", record.lock().line()))
            .collect();
        lines.join("  ")
    }

    /// What they did since `started`, when the load began.
    #[must_use]
    pub fn timeline(&self, started: Instant) -> WatchTimeline {
        WatchTimeline {
            autoscalers: self
                .records
                .iter()
                .map(|record| record.lock().since(started))
                .collect(),
        }
    }
}

// === impl Reader ===

impl Reader {
    fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            autoscalers: Api::namespaced(client.clone(), namespace),
            events: Api::namespaced(client.clone(), namespace),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            client,
        }
    }

    async fn follow(self, record: Arc<Mutex<Record>>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            let looked = self.look().await;
            let now = Instant::now();
            match looked {
                Ok(look) => record.lock().take(now, &look),
                Err(fault) => record.lock().take_fault(fault),
            }
        }
    }

    async fn look(&self) -> Result<Look, String> {
        let looked = tokio::time::timeout(PATIENCE, async {
            let autoscaler = self
                .autoscalers
                .get(&self.name)
                .await
                .map_err(|error| sentence(&error))?;
            let mine = ListParams::default().fields(&format!(
                "involvedObject.kind=HorizontalPodAutoscaler,involvedObject.name={}",
                self.name
            ));
            // Who may read an autoscaler need not be allowed to read events, or what is scaled.
            let events = self.events.list(&mine).await.ok().map(|list| list.items);
            let ready_replicas = self.ready_replicas(&autoscaler).await;
            Ok(Look {
                autoscaler,
                ready_replicas,
                events,
            })
        });
        looked
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
    }

    async fn ready_replicas(&self, autoscaler: &HorizontalPodAutoscaler) -> Option<i32> {
        let target = &autoscaler.spec.scale_target_ref;
        let version = target.api_version.as_deref().unwrap_or("v1");
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = GroupVersionKind::gvk(group, version, &target.kind);
        let objects: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            &self.namespace,
            &ApiResource::from_gvk(&kind),
        );
        let scaled = objects.get(&target.name).await.ok()?;
        // A controller leaves the number out while it is zero.
        let ready = scaled.data.get("status")?.get("readyReplicas");
        ready.map_or(Some(0), |ready| i32::try_from(ready.as_i64()?).ok())
    }
}

fn sentence(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// The name in `hpa/NAME`.
fn autoscaler_name(what: &str) -> Result<String, WatchError> {
    what.split_once('/')
        .filter(|(kind, name)| is_autoscaler(kind) && !name.is_empty())
        .map(|(_, name)| name.to_owned())
        .ok_or_else(|| WatchError::Kind(what.to_owned()))
}

fn is_autoscaler(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    let plain = kind.strip_suffix(".autoscaling").unwrap_or(&kind);
    matches!(
        plain,
        "hpa" | "horizontalpodautoscaler" | "horizontalpodautoscalers"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_autoscalers_can_be_watched() {
        for kind in [
            "hpa",
            "HPA",
            "horizontalpodautoscaler",
            "horizontalpodautoscalers.autoscaling",
        ] {
            assert_eq!(autoscaler_name(&format!("{kind}/web")).unwrap(), "web");
        }
        for what in ["deployment/web", "web", "hpa/", ""] {
            let error = autoscaler_name(what).unwrap_err().to_string();
            assert!(error.contains("only hpa/NAME can be watched"), "{error}");
        }
    }
}
