//! Taking a pod out of the balancers before its processes are told to stop.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;

/// What must happen before a pod's containers are told to stop.
#[async_trait]
pub trait Departure: Send + Sync + 'static {
    /// Returns when no balancer will pick the pod again. The kubelet bounds the wait.
    async fn leave(&self, pod: &Pod);
}

/// Nothing sends traffic to pods, so nothing is to be waited for.
#[derive(Clone, Copy, Debug, Default)]
pub struct NobodyBalances;

#[async_trait]
impl Departure for NobodyBalances {
    async fn leave(&self, _pod: &Pod) {}
}
