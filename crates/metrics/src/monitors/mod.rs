//! ServiceMonitor and PodMonitor objects (monitoring.coreos.com/v1): checked before they are stored, and scraped while
//! they are there, as the Prometheus operator makes Prometheus do.
//!
//! ```text
//! ServiceMonitors, PodMonitors ─► job::of_endpoint ─► jobs ─► ScrapeManager
//! Secrets, ConfigMaps ──────────► access::add ────────┘
//! ```

mod access;
mod job;
mod spec;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use springtide_client::{Cache, Context, reference};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::complaints::{Complaints, LogLines};
use crate::config::{GlobalConfig, PromDuration, ScrapeConfig};
use access::Source;
use job::{Monitor, MonitorKind, jobs};

/// The store's collection of ServiceMonitors, for checks before they are stored.
pub const SERVICE_MONITORS: &str = "monitoring.coreos.com/servicemonitors";
/// The store's collection of PodMonitors.
pub const POD_MONITORS: &str = "monitoring.coreos.com/podmonitors";
/// The name under which monitors are refused.
pub const CHECK_NAME: &str = "monitorvalidate.monitoring.coreos.com";

macro_rules! monitor_kind {
    ($(#[$meta:meta])* $name:ident, $kind:literal, $plural:literal) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        pub struct $name {
            /// Its name and more.
            pub metadata: ObjectMeta,
            /// What is scraped, and how.
            #[serde(default)]
            pub spec: Value,
        }

        impl Resource for $name {
            type DynamicType = ();
            type Scope = NamespaceResourceScope;

            fn kind(_: &()) -> Cow<'_, str> {
                $kind.into()
            }

            fn group(_: &()) -> Cow<'_, str> {
                "monitoring.coreos.com".into()
            }

            fn version(_: &()) -> Cow<'_, str> {
                "v1".into()
            }

            fn plural(_: &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

monitor_kind!(
    /// A ServiceMonitor: the endpoints of Services that it selects are scraped.
    ServiceMonitor,
    "ServiceMonitor",
    "servicemonitors"
);
monitor_kind!(
    /// A PodMonitor: pods that it selects are scraped.
    PodMonitor,
    "PodMonitor",
    "podmonitors"
);

/// Whether a ServiceMonitor's endpoints can be scraped, its Secrets aside.
///
/// # Errors
/// Every fault, one a line.
pub fn check_service_monitor(object: &Value) -> Result<(), String> {
    check(MonitorKind::Service, object)
}

/// Whether a PodMonitor's endpoints can be scraped, its Secrets aside.
///
/// # Errors
/// Every fault, one a line.
pub fn check_pod_monitor(object: &Value) -> Result<(), String> {
    check(MonitorKind::Pod, object)
}

fn check(kind: MonitorKind, object: &Value) -> Result<(), String> {
    let named = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    let monitor = Monitor {
        kind,
        namespace: named("namespace"),
        name: named("name"),
        spec: &object["spec"],
    };
    // What stands in a Secret is not known here, and may come later.
    let unknown = |_: &Source<'_>| Ok(None);
    let faults = jobs(&monitor, &GlobalConfig::default(), &unknown).1;
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults.join("\n"))
    }
}

/// What [`follow`] looks at.
struct Watched {
    services: Cache<ServiceMonitor>,
    pods: Cache<PodMonitor>,
    secrets: Cache<Secret>,
    maps: Cache<ConfigMap>,
}

// === impl Watched ===

impl Watched {
    /// The jobs of all monitors, and what is wrong with which.
    fn jobs(&self, global: &GlobalConfig) -> (Vec<ScrapeConfig>, Vec<(ObjectReference, String)>) {
        let (mut all, mut faults) = (Vec::new(), Vec::new());
        let mut add = |kind: MonitorKind, meta: &ObjectMeta, spec: &Value, about| {
            let namespace = meta.namespace.as_deref().unwrap_or_default();
            let monitor = Monitor {
                kind,
                namespace,
                name: meta.name.as_deref().unwrap_or_default(),
                spec,
            };
            let keys = |source: &Source<'_>| self.text_of(namespace, source);
            let (jobs, said) = jobs(&monitor, global, &keys);
            all.extend(jobs);
            if !said.is_empty() {
                faults.push((about, said.join("; ")));
            }
        };
        for monitor in self.services.list() {
            let about = reference(monitor.as_ref());
            add(
                MonitorKind::Service,
                &monitor.metadata,
                &monitor.spec,
                about,
            );
        }
        for monitor in self.pods.list() {
            let about = reference(monitor.as_ref());
            add(MonitorKind::Pod, &monitor.metadata, &monitor.spec, about);
        }
        (all, faults)
    }

    /// The text under a key of a Secret or ConfigMap.
    fn text_of(&self, namespace: &str, source: &Source<'_>) -> Result<Option<String>, String> {
        let text = match source {
            Source::Secret { name, key } => {
                let secret = self.secrets.get(namespace, name);
                let bytes = secret.and_then(|secret| secret.data.as_ref()?.get(*key).cloned());
                bytes.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned())
            }
            Source::ConfigMap { name, key } => {
                let map = self.maps.get(namespace, name);
                map.and_then(|map| map.data.as_ref()?.get(*key).cloned())
            }
        };
        match text {
            Some(text) => Ok(Some(text)),
            None => Err(format!("there is no {source} in namespace {namespace}")),
        }
    }
}

/// Tells `jobs` what is to be scraped: `others`, and what the monitors say, until `stop` is cancelled. An endpoint whose
/// monitor names no interval is scraped every `interval`.
///
/// A monitor that cannot be used, because a Secret is missing for example, is told of by an event and in the log;
/// its other endpoints are scraped.
pub async fn follow(
    context: Context,
    others: Vec<ScrapeConfig>,
    interval: PromDuration,
    jobs: watch::Sender<Vec<ScrapeConfig>>,
    log: LogLines,
    stop: CancellationToken,
) {
    let watched = Watched {
        services: context.caches.of(),
        pods: context.caches.of(),
        secrets: context.caches.of(),
        maps: context.caches.of(),
    };
    let global = GlobalConfig {
        scrape_interval: interval,
        ..GlobalConfig::default()
    };
    let complaints = Complaints::new(&context, "prometheus", log);
    let mut changes = (
        watched.services.subscribe(),
        watched.pods.subscribe(),
        watched.secrets.subscribe(),
        watched.maps.subscribe(),
    );
    let mut told: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let goes_on = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            seen = changes.0.next() => seen.is_some(),
            seen = changes.1.next() => seen.is_some(),
            seen = changes.2.next() => seen.is_some(),
            seen = changes.3.next() => seen.is_some(),
        };
        if !goes_on {
            return;
        }
        let (of_monitors, faults) = watched.jobs(&global);
        let key = |about: &ObjectReference| about.uid.clone().unwrap_or_default();
        told.retain(|uid, _| faults.iter().any(|(about, _)| key(about) == *uid));
        for (about, fault) in faults {
            if told.insert(key(&about), fault.clone()).as_ref() != Some(&fault) {
                let message = format!("not all of it is scraped: {fault}");
                complaints.tell(&about, "InvalidConfiguration", &message);
            }
        }
        jobs.send_replace(others.iter().cloned().chain(of_monitors).collect());
    }
}
