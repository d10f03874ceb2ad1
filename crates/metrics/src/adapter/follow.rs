//! Keeps the rules to the ConfigMaps and the catalog to the series.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use springtide_client::{Context, EventRecorder, EventType, ObjectKey, reference};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::answer::Adapter;
use super::catalog::Rules;
use super::config::Config;

/// The name of ConfigMaps that hold rules, whatever their namespace.
pub const CONFIG_NAME: &str = "adapter-config";
/// Where in them the rules are.
pub const CONFIG_KEY: &str = "config.yaml";
/// The label by which a ConfigMap of another name says that it holds rules.
const APP_LABEL: &str = "app.kubernetes.io/name";
const APP: &str = "prometheus-adapter";
/// How often the series are looked through for new metrics. They are found in the index: no sample is read.
const RELIST: Duration = Duration::from_secs(2);
/// A series without samples for this long makes no metric any more.
const MAX_AGE: Duration = Duration::from_mins(5);

/// Follows until `stop` is cancelled. `changed` is called when there are other metrics than before.
pub async fn follow(
    context: Context,
    adapter: Adapter,
    changed: impl Fn(&Adapter),
    stop: CancellationToken,
) {
    let maps = context.caches.of::<ConfigMap>();
    let recorder = context.recorder("prometheus-adapter");
    let mut ticks = interval(RELIST);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told: BTreeMap<ObjectKey, Option<String>> = BTreeMap::new();
    changed(&adapter);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let holding: Vec<Arc<ConfigMap>> = maps
            .list()
            .into_iter()
            .filter(|map| holds_rules(map))
            .collect();
        let rules = rules(&holding, &recorder, &mut told);
        let since = context.clock.now().as_millisecond()
            - i64::try_from(MAX_AGE.as_millis()).unwrap_or(i64::MAX);
        match rules.catalog(&adapter.series, since) {
            Ok(catalog) => {
                if adapter.replace(catalog) {
                    changed(&adapter);
                }
            }
            Err(error) => tracing::warn!(%error, "the series of custom metrics cannot be listed"),
        }
    }
}

fn holds_rules(map: &ConfigMap) -> bool {
    let labels = map.metadata.labels.as_ref();
    let named = map.metadata.name.as_deref() == Some(CONFIG_NAME);
    let labelled = labels
        .and_then(|labels| labels.get(APP_LABEL))
        .is_some_and(|app| app == APP);
    (named || labelled)
        && map
            .data
            .as_ref()
            .is_some_and(|data| data.contains_key(CONFIG_KEY))
}

/// The rules of all of them. One that is wrong is told of by an event, once, and left out.
fn rules(
    holding: &[Arc<ConfigMap>],
    recorder: &EventRecorder,
    told: &mut BTreeMap<ObjectKey, Option<String>>,
) -> Rules {
    let mut rules = Rules::default();
    told.retain(|key, _| {
        holding
            .iter()
            .any(|map| ObjectKey::of(map.as_ref()) == *key)
    });
    for map in holding {
        let key = ObjectKey::of(map.as_ref());
        let text = map
            .data
            .as_ref()
            .and_then(|data| data.get(CONFIG_KEY))
            .map_or("", String::as_str);
        let added = Config::parse(text).and_then(|config| rules.add(&config).map(|()| config));
        let version = map.metadata.resource_version.clone();
        let is_news = told.insert(key.clone(), version.clone()) != Some(version);
        match added {
            Ok(config) if is_news && config.resource_rules.is_some() => {
                let message = "resourceRules are not used: metrics.k8s.io tells what nodes and pods use as it is measured";
                recorder.record(
                    &reference(map.as_ref()),
                    EventType::Warning,
                    "ResourceRulesNotUsed",
                    message,
                );
            }
            Ok(_) => {}
            Err(error) if is_news => {
                tracing::warn!(config_map = %key, %error, "rules of custom metrics are wrong");
                let message = format!("the rules in {CONFIG_KEY} are not used: {error}");
                recorder.record(
                    &reference(map.as_ref()),
                    EventType::Warning,
                    "InvalidAdapterConfig",
                    message,
                );
            }
            Err(_) => {}
        }
    }
    rules
}
