//! Keeps the rules to the ConfigMaps and the catalog to the series.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use springtide_client::{Context, ObjectKey, reference};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::answer::Adapter;
use super::catalog::Rules;
use super::config::Config;
use crate::complaints::{Complaints, LogLines};

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
    log: LogLines,
    stop: CancellationToken,
) {
    let maps = context.caches.of::<ConfigMap>();
    let complaints = Complaints::new(&context, "prometheus-adapter", log);
    let mut ticks = interval(RELIST);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut known = BTreeMap::new();
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
        let rules = rules(&holding, &complaints, &mut known);
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

/// What is known of a ConfigMap.
struct Read {
    /// The version it was read in.
    version: Option<String>,
    /// Its rules; where those of this version cannot be used, those before.
    rules: Rules,
}

/// The rules of all ConfigMaps, which are read when they change.
///
/// One rule that is wrong makes its ConfigMap wrong, as it keeps prometheus-adapter from starting: it is told of once,
/// and the rules that the ConfigMap had before stay.
fn rules(
    holding: &[Arc<ConfigMap>],
    complaints: &Complaints,
    known: &mut BTreeMap<ObjectKey, Read>,
) -> Rules {
    known.retain(|key, _| {
        holding
            .iter()
            .any(|map| ObjectKey::of(map.as_ref()) == *key)
    });
    let mut all = Rules::default();
    for map in holding {
        let key = ObjectKey::of(map.as_ref());
        let version = map.metadata.resource_version.clone();
        let before = known.remove(&key);
        let read = match before {
            Some(read) if read.version == version => read,
            before => {
                let before = before.map(|read| read.rules);
                let (rules, complaint) = read(map, before);
                if let Some(Complaint { reason, message }) = complaint {
                    complaints.tell(&reference(map.as_ref()), reason, &message);
                }
                Read { version, rules }
            }
        };
        all.extend(&read.rules);
        known.insert(key, read);
    }
    all
}

/// What is wrong with a ConfigMap.
#[derive(Debug)]
pub(super) struct Complaint {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// The rules of a ConfigMap that had others before.
pub(super) fn read(map: &ConfigMap, before: Option<Rules>) -> (Rules, Option<Complaint>) {
    let text = map.data.as_ref().and_then(|data| data.get(CONFIG_KEY));
    let read = Config::parse(text.map_or("", String::as_str))
        .and_then(|config| Rules::new(&config).map(|rules| (config, rules)));
    match read {
        Ok((config, rules)) => {
            let complaint = config.resource_rules.is_some().then(|| Complaint {
                reason: "ResourceRulesNotUsed",
                message: "resourceRules are not used: metrics.k8s.io tells what nodes and pods use as it is measured".to_owned(),
            });
            (rules, complaint)
        }
        Err(error) => {
            let before = before.unwrap_or_default();
            let stays = if before.is_empty() {
                "none of them is in force"
            } else {
                "the rules before stay in force"
            };
            let complaint = Complaint {
                reason: "InvalidAdapterConfig",
                message: format!("the rules in {CONFIG_KEY} are not used, {stays}: {error}"),
            };
            (before, Some(complaint))
        }
    }
}
