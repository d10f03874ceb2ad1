//! What the kubelet asks of the API.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, PodStatus, Secret, Service};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};
use springtide_client::{Cache, Caches, EventRecorder, EventType, reference};

/// Why the API did not answer as hoped.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The object is gone, or is another one of the same name.
    #[error("the object is gone")]
    Gone,
    /// Anything else; trying again may help.
    #[error("{0}")]
    Failed(String),
}

/// The API as the kubelet needs it.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// Writes a pod's status.
    async fn write_status(&self, pod: &Pod, status: &PodStatus) -> Result<(), ClusterError>;

    /// Deletes a pod's object at once.
    async fn delete_pod(&self, pod: &Pod) -> Result<(), ClusterError>;

    /// A ConfigMap as it is now; `None` when there is none.
    async fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<ConfigMap>>, ClusterError>;

    /// A Secret as it is now; `None` when there is none.
    async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Secret>>, ClusterError>;

    /// The Services that a pod of the namespace is told about.
    async fn services(&self, namespace: &str) -> Vec<Arc<Service>>;

    /// The handler of a RuntimeClass; `None` when there is no such class.
    async fn runtime_handler(&self, class: &str) -> Result<Option<String>, ClusterError>;

    /// Records an event of a pod, or of one of its containers.
    fn event(
        &self,
        pod: &Pod,
        container: Option<&str>,
        kind: EventType,
        reason: &str,
        message: &str,
    );
}

/// The API through a client.
pub struct ApiCluster {
    client: kube::Client,
    services: Cache<Service>,
    recorder: EventRecorder,
}

impl ApiCluster {
    /// Speaks through `client`, and shares the view of Services with the rest of the process.
    #[must_use]
    pub fn new(client: kube::Client, caches: &Caches, recorder: EventRecorder) -> Self {
        Self {
            client,
            services: caches.of::<Service>(),
            recorder,
        }
    }

    fn pods(&self, pod: &Pod) -> Api<Pod> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        Api::namespaced(self.client.clone(), namespace)
    }
}

fn sort_out(error: kube::Error) -> ClusterError {
    match error {
        kube::Error::Api(status) if matches!(status.code, 404 | 409) => ClusterError::Gone,
        other => ClusterError::Failed(other.to_string()),
    }
}

/// The patch that makes a pod's status this one, provided it is still the same pod.
fn status_patch(pod: &Pod, status: &PodStatus) -> Value {
    let mut status = serde_json::to_value(status).unwrap_or_default();
    // What is not said must be taken away where it was said before.
    for field in ["reason", "message", "podIP", "podIPs"] {
        if let Some(fields) = status.as_object_mut()
            && !fields.contains_key(field)
        {
            fields.insert(field.to_owned(), Value::Null);
        }
    }
    json!({"metadata": {"uid": pod.metadata.uid}, "status": status})
}

#[async_trait]
impl Cluster for ApiCluster {
    async fn write_status(&self, pod: &Pod, status: &PodStatus) -> Result<(), ClusterError> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let patch = Patch::Strategic(status_patch(pod, status));
        self.pods(pod)
            .patch_status(name, &PatchParams::default(), &patch)
            .await
            .map(drop)
            .map_err(sort_out)
    }

    async fn delete_pod(&self, pod: &Pod) -> Result<(), ClusterError> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: pod.metadata.uid.clone(),
                ..Preconditions::default()
            }),
            ..DeleteParams::default()
        };
        self.pods(pod)
            .delete(name, &parameters)
            .await
            .map(drop)
            .map_err(sort_out)
    }

    async fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<ConfigMap>>, ClusterError> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(name).await.map_err(sort_out)?;
        Ok(found.map(Arc::new))
    }

    async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Secret>>, ClusterError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(name).await.map_err(sort_out)?;
        Ok(found.map(Arc::new))
    }

    async fn services(&self, namespace: &str) -> Vec<Arc<Service>> {
        self.services.synced().await;
        let mut services = self.services.list_in(namespace);
        if namespace != "default"
            && let Some(master) = self.services.get("default", "kubernetes")
        {
            services.push(master);
        }
        services
    }

    async fn runtime_handler(&self, class: &str) -> Result<Option<String>, ClusterError> {
        let api: Api<RuntimeClass> = Api::all(self.client.clone());
        let found = api.get_opt(class).await.map_err(sort_out)?;
        Ok(found.map(|class| class.handler))
    }

    fn event(
        &self,
        pod: &Pod,
        container: Option<&str>,
        kind: EventType,
        reason: &str,
        message: &str,
    ) {
        let mut object = reference(pod);
        if let Some(container) = container {
            let init =
                crate::kubelet::view::is_init(&pod.spec.clone().unwrap_or_default(), container);
            let list = if init { "initContainers" } else { "containers" };
            object.field_path = Some(format!("spec.{list}{{{container}}}"));
        }
        self.recorder.record(&object, kind, reason, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_patch_takes_away_what_is_no_longer_said() {
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}})).expect("a pod");
        let status = PodStatus {
            phase: Some("Running".to_owned()),
            pod_ip: Some("10.244.0.2".to_owned()),
            ..PodStatus::default()
        };
        assert_eq!(
            status_patch(&pod, &status),
            json!({"metadata": {"uid": "u"}, "status": {"phase": "Running",
                "podIP": "10.244.0.2", "podIPs": null, "reason": null, "message": null}})
        );
    }
}
