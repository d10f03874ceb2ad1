//! ReplicaSets: keeps as many pods of one template as are asked for.
//!
//! `plan` decides how many pods come and which go. The shell here makes them
//! in batches that double while nothing fails, and does not decide anew before
//! the cache shows what was written, so that a late watch never makes too many.

mod plan;
mod ranking;

pub use plan::{Observed, Plan, next_available, plan, pod_of, status};

use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use springtide_client::{
    Cache, Context, EventRecorder, EventType, Expectations, Next, ObjectKey, Outlook, WorkQueue,
    feed, pods, reference, revision_of,
};
use tokio_util::sync::CancellationToken;

use crate::claims::claim_objects;
use crate::error::{Doing, Error, gone_is_fine, is_code, is_namespace_terminating, message_of};
use crate::ownership::{controller_of, is_controlled_by, matches, selector};
use crate::until;

/// ReplicaSets worked on at once; Kubernetes' default.
const WORKERS: usize = 5;

struct Controller {
    context: Context,
    sets: Cache<ReplicaSet>,
    pods: Cache<Pod>,
    events: EventRecorder,
    expectations: Mutex<Expectations<ObjectKey>>,
}

/// Runs the controller until `stop` is cancelled.
pub async fn run(context: Context, stop: CancellationToken) {
    let controller = Controller {
        sets: context.caches.of(),
        pods: context.caches.of(),
        events: context.recorder("replicaset-controller"),
        expectations: Mutex::new(Expectations::new()),
        context,
    };
    let queue = WorkQueue::named("replicaset");
    let feeding = controller.feed(&queue);
    let working = async {
        controller.sets.synced().await;
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
            let sets = self.sets.clone();
            move || sets.keys()
        };
        let sets = self.sets.clone();
        tokio::join!(
            biased;
            feed(&self.sets, queue, |set| vec![ObjectKey::of(set)], all()),
            feed(&self.pods, queue, move |pod| owners_of_pod(&sets, pod), all()),
        );
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(set) = self.sets.find(&key) else {
            self.expectations.lock().forget(&key);
            return Ok(Next::Settled);
        };
        let mut candidates = self.pods.list_in(&key.namespace);
        let outlook = {
            let revision = self.pods.revision();
            self.expectations
                .lock()
                .outlook(&key, revision, candidates.iter().map(|pod| &**pod))
        };
        if outlook == Outlook::Overdue {
            tracing::debug!(%key, "pod cache is behind, asking the API");
            candidates = self.ask_for_pods(&key).await?;
            self.expectations.lock().forget(&key);
        }
        let observed = self.observe(&set, candidates).await?;
        let now = self.context.clock.now();
        let managed = match outlook {
            Outlook::Wait(_) => Ok(()),
            Outlook::Settled | Outlook::Overdue => {
                self.manage(&key, &observed, plan(&observed, now)).await
            }
        };
        let failure = managed.as_ref().err().map(ToString::to_string);
        self.write_status(&key, &observed, failure.as_deref())
            .await?;
        managed?;
        if let Outlook::Wait(patience) = outlook {
            return Ok(Next::After(patience));
        }
        let now = self.context.clock.now();
        Ok(next_available(&observed, now).map_or(Next::Settled, |at| Next::After(until(at, now))))
    }

    async fn ask_for_pods(&self, key: &ObjectKey) -> Result<Vec<Arc<Pod>>, Error> {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let listed = api
            .list(&ListParams::default())
            .await
            .doing("list the pods of", key)?;
        Ok(listed.items.into_iter().map(Arc::new).collect())
    }

    async fn observe(
        &self,
        set: &Arc<ReplicaSet>,
        candidates: Vec<Arc<Pod>>,
    ) -> Result<Observed, Error> {
        let uid = set.uid().unwrap_or_default();
        let owned_and_leaving = |pod: &&Arc<Pod>| {
            pods::is_terminating(pod)
                && !pods::is_terminal(pod)
                && is_controlled_by(&pod.metadata, &uid)
        };
        let terminating = candidates.iter().filter(owned_and_leaving).count();
        let siblings = self.siblings(set);
        let is_related = |pod: &&Arc<Pod>| {
            let owner = controller_of(&pod.metadata);
            pods::is_active(pod) && owner.is_some_and(|owner| siblings.contains(&owner.uid))
        };
        let related = candidates.iter().filter(is_related).cloned().collect();
        let active = candidates
            .into_iter()
            .filter(|pod| pods::is_active(pod))
            .collect();
        let by = set
            .spec
            .as_ref()
            .map(|spec| spec.selector.clone())
            .unwrap_or_default();
        let active = claim_objects(&self.context.client, &**set, &by, active).await?;
        Ok(Observed {
            set: Arc::clone(set),
            active,
            terminating,
            related,
        })
    }

    /// The uids of the ReplicaSets of the same owner, this one included.
    fn siblings(&self, set: &ReplicaSet) -> Vec<String> {
        let mut uids: Vec<String> = set.uid().into_iter().collect();
        if let Some(owner) = controller_of(&set.metadata) {
            let others = self.sets.list_in(&set.namespace().unwrap_or_default());
            uids.extend(
                others
                    .iter()
                    .filter(|other| is_controlled_by(&other.metadata, &owner.uid))
                    .filter_map(|other| other.uid()),
            );
        }
        uids
    }

    async fn manage(&self, key: &ObjectKey, observed: &Observed, plan: Plan) -> Result<(), Error> {
        self.create_pods(key, &observed.set, plan.create).await?;
        self.delete_pods(key, &observed.set, &plan.delete).await
    }

    /// Makes pods in batches of 1, 2, 4, … until all are made or one fails, so that what fails
    /// for one (a quota, an admission rule) does not fail for hundreds.
    async fn create_pods(
        &self,
        key: &ObjectKey,
        set: &ReplicaSet,
        count: usize,
    ) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let pod = pod_of(set);
        let about = reference(set);
        let mut left = count;
        let mut batch = 1;
        while left > 0 {
            let size = left.min(batch);
            let creations = (0..size).map(|_| self.create_pod(key, &api, &pod, &about));
            let mut results = join_all(creations).await.into_iter();
            results.find_map(Result::err).map_or(Ok(()), Err)?;
            left -= size;
            batch *= 2;
        }
        Ok(())
    }

    async fn create_pod(
        &self,
        key: &ObjectKey,
        api: &Api<Pod>,
        pod: &Pod,
        about: &ObjectReference,
    ) -> Result<(), Error> {
        match api.create(&PostParams::default(), pod).await {
            Ok(created) => {
                self.expectations.lock().created(key, revision_of(&created));
                let message = format!("Created pod: {}", created.name_any());
                self.events
                    .record(about, EventType::Normal, "SuccessfulCreate", message);
                Ok(())
            }
            // The namespace goes, and the ReplicaSet with it.
            Err(error) if is_namespace_terminating(&error) => Ok(()),
            Err(error) => {
                let message = message_of(&error);
                self.events.record(
                    about,
                    EventType::Warning,
                    "FailedCreate",
                    format!("Error creating: {message}"),
                );
                Err(Error::Partly(message))
            }
        }
    }

    async fn delete_pods(
        &self,
        key: &ObjectKey,
        set: &ReplicaSet,
        pods: &[Arc<Pod>],
    ) -> Result<(), Error> {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let about = reference(set);
        let deletions = pods
            .iter()
            .map(|pod| self.delete_pod(key, &api, pod, &about));
        let mut results = join_all(deletions).await.into_iter();
        results.find_map(Result::err).map_or(Ok(()), Err)
    }

    async fn delete_pod(
        &self,
        key: &ObjectKey,
        api: &Api<Pod>,
        pod: &Pod,
        about: &ObjectReference,
    ) -> Result<(), Error> {
        let name = pod.name_any();
        let preconditions = Some(Preconditions {
            uid: pod.uid(),
            resource_version: None,
        });
        match api
            .delete(
                &name,
                &DeleteParams {
                    preconditions,
                    ..DeleteParams::default()
                },
            )
            .await
        {
            Ok(_) => {
                self.expectations
                    .lock()
                    .deleted(key, pod.uid().unwrap_or_default());
                self.events.record(
                    about,
                    EventType::Normal,
                    "SuccessfulDelete",
                    format!("Deleted pod: {name}"),
                );
                Ok(())
            }
            // Gone already, or another pod of the name: the cache will tell.
            Err(error) if is_code(&error, 404) || is_code(&error, 409) => Ok(()),
            Err(error) => {
                let message = message_of(&error);
                self.events.record(
                    about,
                    EventType::Warning,
                    "FailedDelete",
                    format!("Error deleting: {message}"),
                );
                Err(Error::Partly(message))
            }
        }
    }

    async fn write_status(
        &self,
        key: &ObjectKey,
        observed: &Observed,
        failure: Option<&str>,
    ) -> Result<(), Error> {
        let status = status(observed, failure, self.context.clock.now());
        if observed.set.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut changed = (*observed.set).clone();
        changed.status = Some(status);
        let api: Api<ReplicaSet> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let written = api
            .replace_status(&key.name, &PostParams::default(), &changed)
            .await;
        gone_is_fine(written).doing("update the status of ReplicaSet", key)
    }
}

/// The ReplicaSet that controls a pod; for one without a controller, those that could.
fn owners_of_pod(sets: &Cache<ReplicaSet>, pod: &Pod) -> Vec<ObjectKey> {
    let namespace = pod.namespace().unwrap_or_default();
    if let Some(owner) = controller_of(&pod.metadata) {
        let is_set = owner.kind == "ReplicaSet";
        return is_set
            .then(|| ObjectKey::new(namespace, owner.name.clone()))
            .into_iter()
            .collect();
    }
    let could_own = |set: &&Arc<ReplicaSet>| {
        let by = set.spec.as_ref().and_then(|spec| selector(&spec.selector));
        by.is_some_and(|by| matches(&by, &pod.metadata))
    };
    sets.list_in(&namespace)
        .iter()
        .filter(could_own)
        .map(|set| ObjectKey::of(&**set))
        .collect()
}
