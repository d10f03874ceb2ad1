//! PodDisruptionBudgets: how many pods may be evicted now.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use springtide_client::{Cache, Context, Next, ObjectKey, WorkQueue, feed, pods};
use tokio_util::sync::CancellationToken;

use crate::error::{Doing, Error, gone_is_fine};
use crate::ownership::{controller_of, matches, selector};
use crate::rounding::{Round, resolve};

/// An eviction that the pod's end has not followed for this long is counted no longer;
/// Kubernetes' bound.
const EVICTION_PATIENCE: jiff::SignedDuration = jiff::SignedDuration::from_secs(120);

/// What the controller sees of one budget.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The budget.
    pub budget: Arc<PodDisruptionBudget>,
    /// The pods its selector matches that have not ended.
    pub pods: Vec<Arc<Pod>>,
    /// How many pods their controllers ask for, together.
    pub wanted_by_controllers: i32,
}

/// The budget's status.
pub fn plan(observed: &Observed, now: Timestamp) -> PodDisruptionBudgetStatus {
    let spec = observed.budget.spec.clone().unwrap_or_default();
    let count = i32::try_from(observed.pods.len()).unwrap_or(i32::MAX);
    let controlled = observed.wanted_by_controllers;
    let (expected, desired) = match (&spec.min_available, &spec.max_unavailable) {
        (Some(IntOrString::Int(least)), _) => (count, *least),
        (Some(percent), _) => (controlled, resolve(percent, controlled, Round::Up)),
        (None, Some(most)) => (
            controlled,
            (controlled - resolve(most, controlled, Round::Up)).max(0),
        ),
        (None, None) => (count, 0),
    };
    let before = observed.budget.status.clone().unwrap_or_default();
    let mut evicted = before.disrupted_pods.unwrap_or_default();
    evicted.retain(|name, since| {
        let is_there = observed
            .pods
            .iter()
            .any(|pod| pod.name_any() == *name && !pods::is_terminating(pod));
        is_there && now.duration_since(since.0) < EVICTION_PATIENCE
    });
    let is_healthy = |pod: &&Arc<Pod>| {
        pods::is_ready(pod) && !pods::is_terminating(pod) && !evicted.contains_key(&pod.name_any())
    };
    let healthy =
        i32::try_from(observed.pods.iter().filter(is_healthy).count()).unwrap_or(i32::MAX);
    let allowed = if expected <= 0 {
        0
    } else {
        (healthy - desired).max(0)
    };
    let generation = observed.budget.metadata.generation;
    let conditions = before.conditions;
    PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        disruptions_allowed: Some(allowed),
        expected_pods: Some(expected),
        observed_generation: generation,
        disrupted_pods: (!evicted.is_empty()).then_some(evicted),
        conditions: Some(conditions_after(
            conditions.unwrap_or_default(),
            allowed > 0,
            generation,
            now,
        )),
    }
}

fn conditions_after(
    mut conditions: Vec<Condition>,
    allowed: bool,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    const KIND: &str = "DisruptionAllowed";
    let (status, reason) = if allowed {
        ("True", "SufficientPods")
    } else {
        ("False", "InsufficientPods")
    };
    let known = conditions
        .iter()
        .position(|condition| condition.type_ == KIND);
    let since = known
        .map(|index| &conditions[index])
        .filter(|known| known.status == status);
    let condition = Condition {
        type_: KIND.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: String::new(),
        observed_generation: generation,
        last_transition_time: since.map_or(Time(now), |known| known.last_transition_time.clone()),
    };
    match known {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
    conditions
}

struct Controller {
    context: Context,
    budgets: Cache<PodDisruptionBudget>,
    pods: Cache<Pod>,
    sets: Cache<ReplicaSet>,
    deployments: Cache<Deployment>,
}

/// Runs the controller until `stop` is cancelled.
pub async fn run(context: Context, stop: CancellationToken) {
    let controller = Controller {
        budgets: context.caches.of(),
        pods: context.caches.of(),
        sets: context.caches.of(),
        deployments: context.caches.of(),
        context,
    };
    let queue = WorkQueue::named("disruption");
    let feeding = controller.feed(&queue);
    let working = async {
        controller.budgets.synced().await;
        controller.pods.synced().await;
        controller.sets.synced().await;
        controller.deployments.synced().await;
        queue.serve(1, &stop, |key| controller.reconcile(key)).await;
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = feeding => {}
        () = working => {}
    }
}

impl Controller {
    async fn feed(&self, queue: &WorkQueue<ObjectKey>) {
        let all = || {
            let budgets = self.budgets.clone();
            move || budgets.keys()
        };
        let of_namespace = || {
            let budgets = self.budgets.clone();
            move |namespace: Option<String>| -> Vec<ObjectKey> {
                let found = budgets.list_in(&namespace.unwrap_or_default());
                found
                    .iter()
                    .map(|budget| ObjectKey::of(&**budget))
                    .collect()
            }
        };
        let (budgets, by_set, by_deployment) =
            (self.budgets.clone(), of_namespace(), of_namespace());
        let of_pod = move |pod: &Pod| {
            let found = budgets.list_in(&pod.namespace().unwrap_or_default());
            found
                .iter()
                .filter(|budget| covers(budget, pod))
                .map(|budget| ObjectKey::of(&**budget))
                .collect()
        };
        tokio::join!(
            biased;
            feed(&self.budgets, queue, |budget| vec![ObjectKey::of(budget)], all()),
            feed(&self.pods, queue, of_pod, all()),
            feed(&self.sets, queue, move |set| by_set(set.namespace()), all()),
            feed(&self.deployments, queue, move |deployment| by_deployment(deployment.namespace()), all()),
        );
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(budget) = self.budgets.find(&key) else {
            return Ok(Next::Settled);
        };
        let mut pods = self.pods.list_in(&key.namespace);
        pods.retain(|pod| covers(&budget, pod) && !pods::is_terminal(pod));
        let wanted_by_controllers = self.wanted_by_controllers(&pods);
        let observed = Observed {
            budget,
            pods,
            wanted_by_controllers,
        };
        let status = plan(&observed, self.context.clock.now());
        let waits = status.disrupted_pods.is_some();
        if observed.budget.status.as_ref() != Some(&status) {
            let mut changed = (*observed.budget).clone();
            changed.status = Some(status);
            let api: Api<PodDisruptionBudget> =
                Api::namespaced(self.context.client.clone(), &key.namespace);
            let written = api
                .replace_status(&key.name, &PostParams::default(), &changed)
                .await;
            gone_is_fine(written).doing("update the status of PodDisruptionBudget", &key)?;
        }
        Ok(if waits {
            Next::After(std::time::Duration::from_secs(10))
        } else {
            Next::Settled
        })
    }

    /// The replicas asked for by the Deployments and ReplicaSets of these pods, each counted once.
    fn wanted_by_controllers(&self, pods: &[Arc<Pod>]) -> i32 {
        let mut counted = std::collections::BTreeMap::new();
        for pod in pods {
            let namespace = pod.namespace().unwrap_or_default();
            let Some(set) = controller_of(&pod.metadata)
                .and_then(|owner| self.sets.get(&namespace, &owner.name))
            else {
                continue;
            };
            let deployment = controller_of(&set.metadata)
                .and_then(|owner| self.deployments.get(&namespace, &owner.name));
            let (uid, replicas) = deployment.map_or_else(
                || (set.uid(), set.spec.as_ref().and_then(|spec| spec.replicas)),
                |deployment| {
                    (
                        deployment.uid(),
                        deployment.spec.as_ref().and_then(|spec| spec.replicas),
                    )
                },
            );
            counted.insert(uid, replicas.unwrap_or(1));
        }
        counted.values().sum()
    }
}

fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let by = budget
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref())
        .and_then(selector);
    by.is_some_and(|by| matches(&by, &pod.metadata))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn observed(spec: &Value, ready: usize, unready: usize) -> Observed {
        let budget = json!({"metadata": {"name": "web", "generation": 2}, "spec": spec});
        let pod = |n: usize, ready: bool| {
            let value = json!({
                "metadata": {"name": n.to_string()},
                "status": {"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
            });
            Arc::new(serde_json::from_value(value).expect("a valid pod"))
        };
        let pods: Vec<Arc<Pod>> = (0..ready + unready).map(|n| pod(n, n < ready)).collect();
        Observed {
            budget: Arc::new(serde_json::from_value(budget).expect("a valid budget")),
            wanted_by_controllers: i32::try_from(pods.len()).expect("few"),
            pods,
        }
    }

    #[test]
    fn as_many_may_go_as_are_healthy_beyond_what_is_needed() {
        let cases = [
            (json!({"minAvailable": 2}), 4, 0, (4, 2, 2)),
            (json!({"minAvailable": 2}), 2, 2, (2, 2, 0)),
            (json!({"minAvailable": "50%"}), 3, 0, (3, 2, 1)),
            (json!({"maxUnavailable": 1}), 3, 0, (3, 2, 1)),
            (json!({"maxUnavailable": 1}), 2, 1, (2, 2, 0)),
            (json!({"maxUnavailable": "50%"}), 3, 0, (3, 1, 2)),
            (json!({"minAvailable": 5}), 3, 0, (3, 5, 0)),
            (json!({"minAvailable": 0}), 0, 0, (0, 0, 0)),
        ];
        for (spec, ready, unready, expected) in cases {
            let status = plan(&observed(&spec, ready, unready), Timestamp::UNIX_EPOCH);
            let told = (
                status.current_healthy,
                status.desired_healthy,
                status.disruptions_allowed,
            );
            let (healthy, desired, allowed) = expected;
            assert_eq!(
                told,
                (Some(healthy), Some(desired), Some(allowed)),
                "{spec} with {ready} ready and {unready} not"
            );
            let condition = &status.conditions.expect("conditions")[0];
            assert_eq!(condition.status == "True", allowed > 0);
        }
    }

    #[test]
    fn a_pod_that_was_evicted_counts_no_more_until_patience_ends() {
        let mut seen = observed(&json!({"minAvailable": 1}), 2, 0);
        let mut budget = (*seen.budget).clone();
        let evicted =
            std::collections::BTreeMap::from([("0".to_owned(), Time(Timestamp::UNIX_EPOCH))]);
        budget.status = Some(PodDisruptionBudgetStatus {
            disrupted_pods: Some(evicted),
            ..Default::default()
        });
        seen.budget = Arc::new(budget);
        assert_eq!(
            plan(&seen, Timestamp::UNIX_EPOCH).disruptions_allowed,
            Some(0)
        );
        let later = Timestamp::from_second(121).expect("a time");
        let status = plan(&seen, later);
        assert_eq!(
            (status.disruptions_allowed, status.disrupted_pods),
            (Some(1), None)
        );
    }
}
