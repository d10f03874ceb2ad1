//! How many pods a ReplicaSet needs, which go, and what its status says.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;
use springtide_client::pods;

use super::ranking::pods_to_delete;
use crate::ownership::controller_reference;

/// Pods made or deleted in one step at most; Kubernetes' number.
const BURST: usize = 500;

/// What the controller sees of one ReplicaSet.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The ReplicaSet.
    pub set: Arc<ReplicaSet>,
    /// Its pods that count as replicas.
    pub active: Vec<Arc<Pod>>,
    /// How many of its pods are on their way out.
    pub terminating: usize,
    /// The active pods of all ReplicaSets of the same owner, its own included.
    pub related: Vec<Arc<Pod>>,
}

/// What the controller does about the number of pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Pods to make.
    pub create: usize,
    /// Pods to delete, cheapest first.
    pub delete: Vec<Arc<Pod>>,
}

/// Decides which pods come and go.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let wanted = wanted(&observed.set);
    let have = observed.active.len();
    if observed.set.metadata.deletion_timestamp.is_some() {
        return Plan::default();
    }
    if have < wanted {
        return Plan {
            create: (wanted - have).min(BURST),
            delete: Vec::new(),
        };
    }
    let beyond = (have - wanted).min(BURST);
    Plan {
        create: 0,
        delete: pods_to_delete(&observed.active, &observed.related, beyond, now),
    }
}

fn wanted(set: &ReplicaSet) -> usize {
    let replicas = set
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    usize::try_from(replicas).unwrap_or(0)
}

fn min_ready_seconds(set: &ReplicaSet) -> i32 {
    set.spec
        .as_ref()
        .and_then(|spec| spec.min_ready_seconds)
        .unwrap_or(0)
}

/// A pod as the template describes it, controlled by the ReplicaSet and named by the server.
pub fn pod_of(set: &ReplicaSet) -> Pod {
    let template = set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.clone())
        .unwrap_or_default();
    let metadata = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.name_any())),
            namespace: set.namespace(),
            labels: metadata.labels,
            annotations: metadata.annotations,
            finalizers: metadata.finalizers,
            owner_references: Some(vec![controller_reference(set)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// The ReplicaSet's status; `failure` tells that pods could not be made or deleted, and why.
pub fn status(observed: &Observed, failure: Option<&str>, now: Timestamp) -> ReplicaSetStatus {
    let set = &observed.set;
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let labels = template
        .and_then(|template| template.metadata.as_ref())
        .and_then(|meta| meta.labels.as_ref());
    let is_labeled = |pod: &&Arc<Pod>| {
        labels.is_none_or(|labels| {
            labels
                .iter()
                .all(|(name, value)| pod.labels().get(name) == Some(value))
        })
    };
    let count = |keep: &dyn Fn(&&Arc<Pod>) -> bool| {
        let counted = observed.active.iter().filter(|pod| keep(pod)).count();
        i32::try_from(counted).ok().filter(|count| *count > 0)
    };
    let before = set.status.clone().unwrap_or_default();
    ReplicaSetStatus {
        replicas: i32::try_from(observed.active.len()).unwrap_or(i32::MAX),
        fully_labeled_replicas: count(&is_labeled),
        ready_replicas: count(&|pod| pods::is_ready(pod)),
        available_replicas: count(&|pod| pods::is_available(pod, min_ready_seconds(set), now)),
        terminating_replicas: i32::try_from(observed.terminating).ok(),
        observed_generation: set.metadata.generation,
        conditions: failure_conditions(observed, before.conditions, failure, now),
    }
}

fn failure_conditions(
    observed: &Observed,
    before: Option<Vec<ReplicaSetCondition>>,
    failure: Option<&str>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    const KIND: &str = "ReplicaFailure";
    let mut conditions = before.unwrap_or_default();
    let has_failed = conditions.iter().any(|condition| condition.type_ == KIND);
    match failure {
        None => conditions.retain(|condition| condition.type_ != KIND),
        Some(message) if !has_failed => {
            let reason = if observed.active.len() < wanted(&observed.set) {
                "FailedCreate"
            } else {
                "FailedDelete"
            };
            conditions.push(ReplicaSetCondition {
                type_: KIND.to_owned(),
                status: "True".to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message.to_owned()),
                last_transition_time: Some(Time(now)),
            });
        }
        Some(_) => {}
    }
    (!conditions.is_empty()).then_some(conditions)
}

/// When the next ready pod will have been ready long enough; `None` if none is on its way.
pub fn next_available(observed: &Observed, now: Timestamp) -> Option<Timestamp> {
    let min_ready = min_ready_seconds(&observed.set);
    let needed = SignedDuration::from_secs(i64::from(min_ready));
    let waiting = observed
        .active
        .iter()
        .filter(|pod| pods::is_ready(pod) && !pods::is_available(pod, min_ready, now));
    waiting
        .filter_map(|pod| pods::ready_since(pod)?.checked_add(needed).ok())
        .min()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-02T12:00:00Z".parse().expect("a time")
    }

    fn set(replicas: i32, min_ready_seconds: i32) -> Arc<ReplicaSet> {
        let value = json!({
            "metadata": {"name": "web-abc", "namespace": "default", "uid": "rs", "generation": 3},
            "spec": {
                "replicas": replicas,
                "minReadySeconds": min_ready_seconds,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web", "extra": "yes"}, "annotations": {"a": "b"}},
                    "spec": {"containers": [{"name": "web"}]},
                },
            },
        });
        Arc::new(serde_json::from_value(value).expect("a valid ReplicaSet"))
    }

    fn pod(name: usize, ready_since: Option<&str>, extra: bool) -> Arc<Pod> {
        let mut value = json!({
            "metadata": {"name": name.to_string(), "uid": name.to_string(), "labels": {"app": "web"}},
            "status": {"phase": "Running", "conditions": []},
        });
        if extra {
            value["metadata"]["labels"]["extra"] = "yes".into();
        }
        if let Some(since) = ready_since {
            value["status"]["conditions"] =
                json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
        }
        Arc::new(serde_json::from_value(value).expect("a valid pod"))
    }

    fn observed(set: Arc<ReplicaSet>, active: Vec<Arc<Pod>>) -> Observed {
        Observed {
            set,
            related: active.clone(),
            active,
            terminating: 1,
        }
    }

    #[test]
    fn a_pod_is_made_from_the_template() {
        let pod = pod_of(&set(1, 0));
        assert_eq!(pod.metadata.generate_name.as_deref(), Some("web-abc-"));
        assert_eq!(pod.labels().len(), 2);
        assert_eq!(pod.annotations().len(), 1);
        let owner = &pod.owner_references()[0];
        assert_eq!(
            (owner.kind.as_str(), owner.api_version.as_str()),
            ("ReplicaSet", "apps/v1")
        );
        assert_eq!(
            (owner.controller, owner.block_owner_deletion),
            (Some(true), Some(true))
        );
    }

    #[test]
    fn the_status_counts_labeled_ready_and_available_pods() {
        let pods = vec![
            pod(1, Some("2026-01-02T11:59:00Z"), true),
            pod(2, Some("2026-01-02T11:59:55Z"), true),
            pod(3, None, false),
        ];
        let observed = observed(set(3, 10), pods);
        let status = status(&observed, None, now());
        assert_eq!(status.replicas, 3);
        assert_eq!(status.fully_labeled_replicas, Some(2));
        assert_eq!(status.ready_replicas, Some(2));
        assert_eq!(status.available_replicas, Some(1));
        assert_eq!(status.terminating_replicas, Some(1));
        assert_eq!(status.observed_generation, Some(3));
        let next = next_available(&observed, now()).expect("one pod is on its way");
        assert_eq!(next.to_string(), "2026-01-02T12:00:05Z");
    }

    #[test]
    fn a_failure_is_told_until_it_is_over() {
        let mut seen = observed(set(3, 0), Vec::new());
        let failed = status(&seen, Some("no quota"), now());
        let conditions = failed.conditions.clone().expect("a condition");
        assert_eq!(conditions[0].reason.as_deref(), Some("FailedCreate"));
        assert_eq!(conditions[0].message.as_deref(), Some("no quota"));
        let mut known = (*seen.set).clone();
        known.status = Some(failed.clone());
        seen.set = Arc::new(known);
        assert_eq!(
            status(&seen, Some("still none"), now()).conditions,
            failed.conditions
        );
        assert_eq!(status(&seen, None, now()).conditions, None);
    }

    #[test]
    fn a_replica_set_that_is_being_deleted_makes_and_deletes_no_pods() {
        let mut leaving = (*set(3, 0)).clone();
        leaving.metadata.deletion_timestamp = Some(Time(now()));
        assert_eq!(
            plan(&observed(Arc::new(leaving), Vec::new()), now()),
            Plan::default()
        );
    }

    proptest! {
        #[test]
        fn after_a_plan_there_are_as_many_pods_as_wanted(wanted in 0..800_i32, have in 0..800_usize) {
            let pods = (0..have).map(|name| pod(name, None, true)).collect();
            let plan = plan(&observed(set(wanted, 0), pods), now());
            let wanted = usize::try_from(wanted).expect("not negative");
            prop_assert!(plan.create == 0 || plan.delete.is_empty());
            prop_assert!(plan.create <= BURST && plan.delete.len() <= BURST);
            let then = have + plan.create - plan.delete.len();
            prop_assert_eq!(then, wanted.clamp(have.saturating_sub(BURST), have + BURST));
        }
    }
}
