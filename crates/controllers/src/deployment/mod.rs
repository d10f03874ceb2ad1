//! Deployments: moves pods from one template to the next through ReplicaSets.
//!
//! `plan` decides, on the Deployment, its ReplicaSets and their statuses;
//! the shell here observes, applies what was decided in order, and stops at
//! the first failure: the next look decides anew on what is then there.

mod conditions;
mod plan;
mod rollout;
mod scaling;
mod sets;
mod status;
mod strategy;
#[cfg(test)]
mod tests;

pub use plan::{Action, Observed, Plan, on_create_failed, on_name_taken, plan};

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use springtide_client::{
    Cache, Context, EventRecorder, Next, ObjectKey, WorkQueue, feed, reference,
};
use tokio_util::sync::CancellationToken;

use crate::claims::claim_objects;
use crate::error::{Doing, Error, gone_is_fine, is_code, is_namespace_terminating, message_of};
use crate::ownership::{controller_of, matches, selector};
use crate::until;

/// Deployments worked on at once; Kubernetes' default.
const WORKERS: usize = 5;

struct Controller {
    context: Context,
    deployments: Cache<Deployment>,
    replica_sets: Cache<ReplicaSet>,
    pods: Cache<Pod>,
    events: EventRecorder,
}

/// Runs the controller until `stop` is cancelled.
pub async fn run(context: Context, stop: CancellationToken) {
    let controller = Controller {
        deployments: context.caches.of(),
        replica_sets: context.caches.of(),
        pods: context.caches.of(),
        events: context.recorder("deployment-controller"),
        context,
    };
    let queue = WorkQueue::named("deployment");
    let feeding = controller.feed(&queue);
    let working = async {
        controller.deployments.synced().await;
        controller.replica_sets.synced().await;
        controller.pods.synced().await;
        queue
            .serve(WORKERS, &stop, |key| controller.reconcile(key))
            .await;
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
            let deployments = self.deployments.clone();
            move || deployments.keys()
        };
        let deployments = self.deployments.clone();
        let owners_of_set = move |set: &ReplicaSet| owners_of_set(&deployments, set);
        let (deployments, replica_sets) = (self.deployments.clone(), self.replica_sets.clone());
        let owner_of_pod = move |pod: &Pod| recreating_owner(&deployments, &replica_sets, pod);
        tokio::join!(
            biased;
            feed(&self.deployments, queue, |deployment| vec![ObjectKey::of(deployment)], all()),
            feed(&self.replica_sets, queue, owners_of_set, all()),
            feed(&self.pods, queue, owner_of_pod, all()),
        );
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(deployment) = self.deployments.find(&key) else {
            return Ok(Next::Settled);
        };
        let Some(spec) = &deployment.spec else {
            return Ok(Next::Settled);
        };
        let candidates = self.replica_sets.list_in(&key.namespace);
        let claimed = claim_objects(
            &self.context.client,
            &*deployment,
            &spec.selector,
            candidates,
        )
        .await?;
        let selector = selector(&spec.selector);
        let selects = |pod: &Arc<Pod>| {
            selector
                .as_ref()
                .is_some_and(|by| matches(by, &pod.metadata))
        };
        let observed = Observed {
            deployment: (*deployment).clone(),
            replica_sets: claimed.iter().map(|set| (**set).clone()).collect(),
            pods: self
                .pods
                .list_in(&key.namespace)
                .into_iter()
                .filter(selects)
                .collect(),
        };
        let Plan {
            actions,
            look_again,
        } = plan(&observed, self.context.clock.now());
        for action in actions {
            self.act(&key, &observed, action).await?;
        }
        Ok(look_again.map_or(Next::Settled, |at| {
            Next::After(until(at, self.context.clock.now()))
        }))
    }

    async fn act(&self, key: &ObjectKey, observed: &Observed, action: Action) -> Result<(), Error> {
        let sets: Api<ReplicaSet> = Api::namespaced(self.context.client.clone(), &key.namespace);
        match action {
            Action::Create(set) => match sets.create(&PostParams::default(), &set).await {
                Ok(_) => Ok(()),
                Err(error) => self.create_failed(key, observed, &set, error).await,
            },
            Action::Update(set) => {
                sets.replace(&set.name_any(), &PostParams::default(), &set)
                    .await
                    .doing("update ReplicaSet", key)?;
                Ok(())
            }
            Action::Delete(set) => {
                let preconditions = Preconditions {
                    uid: set.uid(),
                    resource_version: set.resource_version(),
                };
                let how = DeleteParams {
                    preconditions: Some(preconditions),
                    ..DeleteParams::background()
                };
                gone_is_fine(sets.delete(&set.name_any(), &how).await)
                    .doing("delete ReplicaSet", key)
            }
            Action::Record(kind, reason, message) => {
                self.events
                    .record(&reference(&observed.deployment), kind, reason, message);
                Ok(())
            }
            Action::UpdateStatus(deployment) => self.update_status(key, &deployment).await,
        }
    }

    async fn update_status(&self, key: &ObjectKey, deployment: &Deployment) -> Result<(), Error> {
        let api: Api<Deployment> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let written = api
            .replace_status(&key.name, &PostParams::default(), deployment)
            .await;
        gone_is_fine(written).doing("update the status of Deployment", key)
    }

    /// The error of the creation is returned, so that the Deployment is looked at again, unless
    /// the ReplicaSet that exists is the one to be created.
    async fn create_failed(
        &self,
        key: &ObjectKey,
        observed: &Observed,
        set: &ReplicaSet,
        error: kube::Error,
    ) -> Result<(), Error> {
        if is_code(&error, 409) {
            let sets: Api<ReplicaSet> =
                Api::namespaced(self.context.client.clone(), &key.namespace);
            if let Some(taken) = sets
                .get_opt(&set.name_any())
                .await
                .doing("get ReplicaSet", key)?
            {
                let Some(changed) = on_name_taken(observed, &taken) else {
                    // The cache is behind: stop here, and look again when it shows the ReplicaSet.
                    return Err(error).doing("create ReplicaSet", key);
                };
                self.update_status(key, &changed).await?;
            }
        } else if !is_namespace_terminating(&error) {
            let now = self.context.clock.now();
            for action in on_create_failed(observed, set, &message_of(&error), now) {
                match action {
                    Action::UpdateStatus(deployment) => {
                        self.update_status(key, &deployment).await?;
                    }
                    Action::Record(kind, reason, message) => {
                        self.events
                            .record(&reference(&observed.deployment), kind, reason, message);
                    }
                    Action::Create(_) | Action::Update(_) | Action::Delete(_) => {}
                }
            }
        }
        Err(error).doing("create ReplicaSet", key)
    }
}

/// The Deployment that controls a ReplicaSet; for one without a controller, those that could.
fn owners_of_set(deployments: &Cache<Deployment>, set: &ReplicaSet) -> Vec<ObjectKey> {
    let namespace = set.namespace().unwrap_or_default();
    if let Some(owner) = controller_of(&set.metadata) {
        let is_deployment = owner.kind == "Deployment";
        return is_deployment
            .then(|| ObjectKey::new(namespace, owner.name.clone()))
            .into_iter()
            .collect();
    }
    let could_own = |deployment: &Arc<Deployment>| {
        let by = deployment
            .spec
            .as_ref()
            .and_then(|spec| selector(&spec.selector));
        by.is_some_and(|by| matches(&by, &set.metadata))
    };
    let candidates = deployments.list_in(&namespace);
    candidates
        .iter()
        .filter(|deployment| could_own(deployment))
        .map(|deployment| ObjectKey::of(&**deployment))
        .collect()
}

/// The Deployment that waits for this pod's end before it makes new ones.
fn recreating_owner(
    deployments: &Cache<Deployment>,
    replica_sets: &Cache<ReplicaSet>,
    pod: &Pod,
) -> Vec<ObjectKey> {
    let namespace = pod.namespace().unwrap_or_default();
    let owner = || {
        let set = replica_sets.get(&namespace, &controller_of(&pod.metadata)?.name)?;
        let deployment = deployments.get(&namespace, &controller_of(&set.metadata)?.name)?;
        (!sets::is_rolling(&deployment)).then(|| ObjectKey::of(&*deployment))
    };
    owner().into_iter().collect()
}
