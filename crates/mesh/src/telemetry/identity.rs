//! Which workload a pod belongs to, by the pod's address and uid.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::api::core::v1::Pod;
use parking_lot::RwLock;
use springtide_client::{Cache, Seen};
use tokio_util::sync::CancellationToken;

/// The names by which telemetry knows a pod; all its siblings have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) namespace: String,
    pub(crate) workload: String,
    pub(crate) app: String,
    pub(crate) version: String,
    pub(crate) canonical_service: String,
    pub(crate) canonical_revision: String,
}

/// All pods' identities, kept up by [`Identities::follow`].
#[derive(Debug, Default)]
pub(crate) struct Identities {
    known: RwLock<Known>,
    generation: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    by_uid: HashMap<String, (Arc<Identity>, Option<IpAddr>)>,
    /// Pods in the host's network share its address and are not here.
    by_address: HashMap<IpAddr, (String, Arc<Identity>)>,
}

// === impl Identities ===

impl Identities {
    /// Changes whenever an answer may have.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// The pod with an address.
    pub(crate) fn at(&self, address: IpAddr) -> Option<Arc<Identity>> {
        let known = self.known.read();
        known
            .by_address
            .get(&address)
            .map(|(_, identity)| Arc::clone(identity))
    }

    /// The pod with a uid.
    pub(crate) fn of(&self, uid: &str) -> Option<Arc<Identity>> {
        let known = self.known.read();
        known
            .by_uid
            .get(uid)
            .map(|(identity, _)| Arc::clone(identity))
    }

    /// Follows the pods until `stop` is cancelled.
    pub(crate) async fn follow(&self, pods: Cache<Pod>, stop: CancellationToken) {
        let mut changes = pods.subscribe();
        loop {
            let seen = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                seen = changes.next() => seen,
            };
            match seen {
                None => return,
                Some(Seen::Applied { new, .. }) => self.learn(&new),
                Some(Seen::Deleted(gone)) => self.forget(&gone),
                Some(Seen::Resync) => {
                    *self.known.write() = Known::default();
                    pods.list().iter().for_each(|pod| self.learn(pod));
                }
            }
        }
    }

    fn learn(&self, pod: &Pod) {
        let Some(uid) = pod.metadata.uid.clone() else {
            return;
        };
        let address = address_of(pod);
        let identity = identity_of(pod);
        let mut known = self.known.write();
        if let Some((before, at)) = known.by_uid.get(&uid)
            && **before == identity
            && *at == address
        {
            return;
        }
        let identity = Arc::new(identity);
        if let Some(address) = address {
            known
                .by_address
                .insert(address, (uid.clone(), Arc::clone(&identity)));
        }
        known.by_uid.insert(uid, (identity, address));
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    fn forget(&self, pod: &Pod) {
        let Some(uid) = pod.metadata.uid.as_deref() else {
            return;
        };
        let mut known = self.known.write();
        if let Some((_, Some(address))) = known.by_uid.remove(uid)
            // The address may be another pod's by now.
            && known.by_address.get(&address).is_some_and(|(owner, _)| owner == uid)
        {
            known.by_address.remove(&address);
        }
        self.generation.fetch_add(1, Ordering::Relaxed);
    }
}

fn address_of(pod: &Pod) -> Option<IpAddr> {
    let host_network = pod
        .spec
        .as_ref()
        .is_some_and(|spec| spec.host_network == Some(true));
    if host_network {
        return None;
    }
    pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()
}

/// As Istio derives names: the workload from the owner, the rest from labels.
fn identity_of(pod: &Pod) -> Identity {
    let labels = pod.metadata.labels.as_ref();
    let label = |names: &[&str]| {
        let found = names.iter().find_map(|name| labels?.get(*name));
        found.cloned()
    };
    let workload = workload_of(pod);
    let unknown = || "unknown".to_owned();
    Identity {
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        app: label(&["app", "app.kubernetes.io/name"]).unwrap_or_else(unknown),
        version: label(&["version", "app.kubernetes.io/version"]).unwrap_or_else(unknown),
        canonical_service: label(&[
            "service.istio.io/canonical-name",
            "app.kubernetes.io/name",
            "app",
        ])
        .unwrap_or_else(|| workload.clone()),
        canonical_revision: label(&[
            "service.istio.io/canonical-revision",
            "app.kubernetes.io/version",
            "version",
        ])
        .unwrap_or_else(|| "latest".to_owned()),
        workload,
    }
}

/// A ReplicaSet of a Deployment has the Deployment's name and its template's hash.
fn workload_of(pod: &Pod) -> String {
    let owners = pod.metadata.owner_references.iter().flatten();
    let owner = owners
        .into_iter()
        .find(|owner| owner.controller == Some(true));
    let name = pod.metadata.name.clone().unwrap_or_default();
    let Some(owner) = owner else { return name };
    let hash = pod
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get("pod-template-hash"));
    let deployment = hash
        .filter(|_| owner.kind == "ReplicaSet")
        .and_then(|hash| {
            let name = owner.name.strip_suffix(hash.as_str())?;
            name.strip_suffix('-')
        });
    deployment.unwrap_or(&owner.name).to_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    pub(crate) fn pod(uid: &str, address: &str) -> Pod {
        let pod = json!({
            "metadata": {"namespace": "shop", "name": format!("web-5d8f-{uid}"), "uid": uid,
                "labels": {"app": "web", "version": "v2", "pod-template-hash": "5d8f"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d8f", "uid": "r", "controller": true}]},
            "status": {"podIP": address}
        });
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_pod_is_of_its_deployment_and_an_address_of_its_newest_owner() {
        let identities = Identities::default();
        identities.learn(&pod("a", "10.0.0.1"));
        let found = identities.at([10, 0, 0, 1].into()).unwrap();
        assert_eq!(
            (found.workload.as_str(), found.version.as_str()),
            ("web", "v2")
        );
        assert_eq!(found.canonical_revision, "v2");
        let before = identities.generation();
        identities.learn(&pod("a", "10.0.0.1"));
        assert_eq!(identities.generation(), before, "nothing changed");
        identities.learn(&pod("b", "10.0.0.1"));
        identities.forget(&pod("a", "10.0.0.1"));
        assert!(
            identities.at([10, 0, 0, 1].into()).is_some(),
            "b has the address now"
        );
        assert!(identities.of("a").is_none() && identities.of("b").is_some());
    }
}
