//! EndpointSlices: which pods are behind a Service, and in what state.

mod plan;
#[cfg(test)]
mod tests;

pub use plan::{Action, CONTROLLER, MANAGED_BY, Observed, SERVICE_NAME, SLICE_BOUND, plan};

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use springtide_client::{
    Cache, Context, Expectations, Next, ObjectKey, Outlook, WorkQueue, feed, revision_of,
};
use tokio_util::sync::CancellationToken;

use crate::error::{Doing, Error, gone_is_fine, is_namespace_terminating};
use crate::service::{pods_of, selector_of, services_of};

/// Services worked on at once; Kubernetes' default.
const WORKERS: usize = 5;

struct Controller {
    context: Context,
    services: Cache<Service>,
    pods: Cache<Pod>,
    slices: Cache<EndpointSlice>,
    expectations: Mutex<Expectations<ObjectKey>>,
}

/// Runs the controller until `stop` is cancelled.
pub async fn run(context: Context, stop: CancellationToken) {
    let controller = Controller {
        services: context.caches.of(),
        pods: context.caches.of(),
        slices: context.caches.of(),
        expectations: Mutex::new(Expectations::new()),
        context,
    };
    let queue = WorkQueue::named("endpoint_slice");
    let feeding = controller.feed(&queue);
    let working = async {
        controller.services.synced().await;
        controller.pods.synced().await;
        controller.slices.synced().await;
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
            let services = self.services.clone();
            move || services.keys()
        };
        let services = self.services.clone();
        tokio::join!(
            biased;
            feed(&self.services, queue, |service| vec![ObjectKey::of(service)], all()),
            feed(&self.pods, queue, move |pod| services_of(&services, pod), all()),
            feed(&self.slices, queue, |slice| service_of(slice).into_iter().collect(), all()),
        );
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(service) = self.services.find(&key) else {
            // The slices have an owner that is gone: the garbage collector's work.
            self.expectations.lock().forget(&key);
            return Ok(Next::Settled);
        };
        if selector_of(&service).is_none() || service.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Settled);
        }
        let mut slices = self.slices.list_in(&key.namespace);
        slices.retain(|slice| service_of(slice).as_ref() == Some(&key));
        let outlook = {
            let revision = self.slices.revision();
            self.expectations
                .lock()
                .outlook(&key, revision, slices.iter().map(|slice| &**slice))
        };
        if let Outlook::Wait(patience) = outlook {
            return Ok(Next::After(patience));
        }
        let observed = Observed {
            pods: pods_of(&self.pods, &service),
            service,
            slices,
        };
        for action in plan(&observed) {
            self.act(&key, action).await?;
        }
        Ok(Next::Settled)
    }

    async fn act(&self, key: &ObjectKey, action: Action) -> Result<(), Error> {
        let api: Api<EndpointSlice> = Api::namespaced(self.context.client.clone(), &key.namespace);
        match action {
            Action::Create(slice) => match api.create(&PostParams::default(), &slice).await {
                Ok(created) => {
                    self.expectations.lock().created(key, revision_of(&created));
                    Ok(())
                }
                Err(error) if is_namespace_terminating(&error) => Ok(()),
                Err(error) => Err(error).doing("create an EndpointSlice for", key),
            },
            Action::Update(slice) => {
                let written = api
                    .replace(&slice.name_any(), &PostParams::default(), &slice)
                    .await;
                written.map(drop).doing("update an EndpointSlice of", key)
            }
            Action::Delete(slice) => {
                let deleted = api
                    .delete(&slice.name_any(), &DeleteParams::default())
                    .await;
                gone_is_fine(deleted).doing("delete an EndpointSlice of", key)?;
                self.expectations
                    .lock()
                    .deleted(key, slice.uid().unwrap_or_default());
                Ok(())
            }
        }
    }
}

/// The Service whose slice this is, if this controller made it.
fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let is_own = slice.labels().get(MANAGED_BY).map(String::as_str) == Some(CONTROLLER);
    let service = slice.labels().get(SERVICE_NAME).filter(|_| is_own)?;
    Some(ObjectKey::new(
        slice.namespace().unwrap_or_default(),
        service.clone(),
    ))
}
