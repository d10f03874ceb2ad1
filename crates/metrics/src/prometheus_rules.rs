//! PrometheusRule objects (monitoring.coreos.com/v1): checked before they are stored, evaluated while they are there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use springtide_client::{Context, ObjectKey, Seen, reference};
use tokio_util::sync::CancellationToken;

use crate::complaints::{Complaints, LogLines};
use crate::promql::Options;
use crate::rules::{EngineOptions, RuleEngine, RuleGroup, read_prometheus_rule};

/// The store's collection of PrometheusRules, for checks before they are stored.
pub const COLLECTION: &str = "monitoring.coreos.com/prometheusrules";
/// The name under which [`check`] refuses, as the operator's own check is called.
pub const CHECK_NAME: &str = "prometheusrulevalidate.monitoring.coreos.com";

/// A PrometheusRule. What is in it is read by [`read_prometheus_rule`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PrometheusRule {
    /// Its name and more.
    pub metadata: ObjectMeta,
    /// The groups of rules.
    #[serde(default)]
    pub spec: Value,
}

impl Resource for PrometheusRule {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        "PrometheusRule".into()
    }

    fn group(_: &()) -> Cow<'_, str> {
        "monitoring.coreos.com".into()
    }

    fn version(_: &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural(_: &()) -> Cow<'_, str> {
        "prometheusrules".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Whether all rules of an object can be evaluated.
///
/// # Errors
/// Every fault, one a line.
pub fn check(object: &Value) -> Result<(), String> {
    let named = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    read_prometheus_rule(
        named("namespace"),
        named("name"),
        &object["spec"],
        &Options::default(),
    )
    .map(|_| ())
    .map_err(|error| error.to_string())
}

/// Keeps an engine's groups to the PrometheusRules until `stop` is cancelled; `others` are groups from elsewhere.
///
/// An object that was stored by an earlier version, whose rules cannot be read, is told of by an event and in
/// the log, and left out.
pub async fn follow(
    context: Context,
    engine: RuleEngine,
    others: Vec<RuleGroup>,
    options: EngineOptions,
    log: LogLines,
    stop: CancellationToken,
) {
    let rules = context.caches.of::<PrometheusRule>();
    let complaints = Complaints::new(&context, "prometheus", log);
    let mut changes = rules.subscribe();
    let mut told: BTreeMap<ObjectKey, Option<String>> = BTreeMap::new();
    loop {
        let seen: Option<Seen<PrometheusRule>> = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            seen = changes.next() => seen,
        };
        if seen.is_none() {
            break;
        }
        let mut groups = others.clone();
        let objects: Vec<Arc<PrometheusRule>> = rules.list();
        told.retain(|key, _| {
            objects
                .iter()
                .any(|object| ObjectKey::of(object.as_ref()) == *key)
        });
        for object in &objects {
            let key = ObjectKey::of(object.as_ref());
            match read_prometheus_rule(&key.namespace, &key.name, &object.spec, &Options::default())
            {
                Ok(read) => groups.extend(read),
                Err(error) => {
                    let version = object.metadata.resource_version.clone();
                    if told.insert(key.clone(), version.clone()) != Some(version) {
                        let message = format!("its rules are not evaluated: {error}");
                        complaints.tell(
                            &reference(object.as_ref()),
                            "InvalidConfiguration",
                            &message,
                        );
                    }
                }
            }
        }
        engine.set_groups(groups, options.clone());
    }
    engine.stop();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_expression_that_is_no_promql_is_refused_with_its_place() {
        let object = |expr: &str| {
            json!({"metadata": {"namespace": "shop", "name": "r"},
                "spec": {"groups": [{"name": "g", "rules": [{"alert": "Down", "expr": expr, "labels": {"severity": "critical"}}]}]}})
        };
        assert_eq!(check(&object("up == 0")), Ok(()));
        let refused = check(&object("up ==")).unwrap_err();
        assert!(
            refused.contains("group \"g\"") && refused.contains("Down"),
            "{refused}"
        );
    }
}
