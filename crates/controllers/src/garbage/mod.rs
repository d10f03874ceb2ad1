//! The garbage collector: deletes what no owner needs any more.
//!
//! It watches the metadata of every kind the API serves, keeps a graph of
//! owners, and looks again at an object whenever it or an owner changes.
//! Before anything is deleted, the object and the owners that are not in the
//! graph are asked for anew: watches of several kinds have no common order.

mod graph;
mod watch;

pub use graph::{Action, FOREGROUND, Graph, GroupKind, Node, ORPHAN, OwnerState, Propagation};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{
    DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy,
};
use kube::core::PartialObjectMeta;
use kube::{Api, ResourceExt};
use parking_lot::Mutex;
use serde_json::json;
use springtide_client::{Context, Next, ObjectKey, WorkQueue};
use tokio_util::sync::CancellationToken;

use crate::error::{Doing, Error, gone_is_fine, is_code};
use crate::kinds::Kind;

/// Objects worked on at once; Kubernetes' default.
const WORKERS: usize = 20;
/// How often the API is asked which kinds it serves; Kubernetes' period.
const DISCOVER_EVERY: Duration = Duration::from_secs(30);
/// An owner of a kind that is not served may come to be known later.
const UNKNOWN_AGAIN: Duration = Duration::from_secs(30);

/// An object's metadata as the API gives it.
type Metadata = PartialObjectMeta<DynamicObject>;

/// What the watches write and the workers read.
#[derive(Clone, Default)]
struct Knowledge {
    graph: Arc<Mutex<Graph>>,
    kinds: Arc<Mutex<BTreeMap<GroupKind, Kind>>>,
}

struct Controller {
    context: Context,
    knowledge: Knowledge,
}

/// Runs the collector until `stop` is cancelled.
pub async fn run(context: Context, stop: CancellationToken) {
    let controller = Controller {
        context,
        knowledge: Knowledge::default(),
    };
    let queue = WorkQueue::named("garbage_collector_attempt_to_delete");
    let synced = CancellationToken::new();
    let watching = watch::watch_all(
        &controller.context.client,
        &controller.knowledge,
        &queue,
        &synced,
    );
    let working = async {
        // Without all dependents known, an owner that waits for them would go too early.
        synced.cancelled().await;
        queue
            .serve(WORKERS, &stop, |uid| controller.reconcile(uid))
            .await;
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = watching => {}
        () = working => {}
    }
}

impl Controller {
    async fn reconcile(&self, uid: String) -> Result<Next, Error> {
        let Some(known) = self.knowledge.graph.lock().get(&uid).cloned() else {
            return Ok(Next::Settled);
        };
        let Some(states) = self.owner_states(&known).await? else {
            return Ok(Next::After(UNKNOWN_AGAIN));
        };
        if self.knowledge.graph.lock().plan(&known, &states).is_empty() {
            return Ok(Next::Settled);
        }
        let Some(kind) = self.kind(&known.kind) else {
            return Ok(Next::After(UNKNOWN_AGAIN));
        };
        let key = ObjectKey::new(known.namespace.clone(), known.name.clone());
        let api: Api<Metadata> = self.api(&kind, &known.namespace);
        let fresh = api.get_opt(&known.name).await.doing("get", &key)?;
        let Some(fresh) = fresh.filter(|fresh| fresh.uid().as_deref() == Some(&uid)) else {
            // The watch will tell.
            return Ok(Next::Settled);
        };
        let Some(node) = Node::of(known.kind.clone(), &fresh.metadata) else {
            return Ok(Next::Settled);
        };
        let Some(states) = self.owner_states(&node).await? else {
            return Ok(Next::After(UNKNOWN_AGAIN));
        };
        let actions = self.knowledge.graph.lock().plan(&node, &states);
        for action in actions {
            self.act(&kind, &node, &fresh, action).await?;
        }
        Ok(Next::Settled)
    }

    fn kind(&self, kind: &GroupKind) -> Option<Kind> {
        self.knowledge.kinds.lock().get(kind).cloned()
    }

    fn api<K>(&self, kind: &Kind, namespace: &str) -> Api<K>
    where
        K: kube::Resource<
                DynamicType = kube::discovery::ApiResource,
                Scope = kube::core::DynamicResourceScope,
            >,
    {
        let client = self.context.client.clone();
        if namespace.is_empty() {
            Api::all_with(client, &kind.resource)
        } else {
            Api::namespaced_with(client, namespace, &kind.resource)
        }
    }

    /// The states of a node's owners; `None` if one is of a kind that is not served.
    async fn owner_states(&self, node: &Node) -> Result<Option<Vec<OwnerState>>, Error> {
        let mut states = Vec::with_capacity(node.owners.len());
        for owner in &node.owners {
            let known = self.knowledge.graph.lock().owner_state(node, owner);
            let state = match known {
                Some(state) => Some(state),
                None => self.ask_for_owner(node, owner).await?,
            };
            let Some(state) = state else { return Ok(None) };
            states.push(state);
        }
        Ok(Some(states))
    }

    async fn ask_for_owner(
        &self,
        node: &Node,
        owner: &OwnerReference,
    ) -> Result<Option<OwnerState>, Error> {
        let Some(kind) = self.kind(&GroupKind::of_owner(owner)) else {
            return Ok(None);
        };
        if kind.namespaced && node.namespace.is_empty() {
            // A cluster-scoped object cannot be owned by one of a namespace.
            return Ok(None);
        }
        let namespace = if kind.namespaced {
            node.namespace.as_str()
        } else {
            ""
        };
        let api: Api<Metadata> = self.api(&kind, namespace);
        let key = ObjectKey::new(namespace, owner.name.clone());
        let found = api
            .get_opt(&owner.name)
            .await
            .doing("get the owner", &key)?;
        let Some(found) = found.filter(|found| found.uid().as_ref() == Some(&owner.uid)) else {
            return Ok(Some(OwnerState::Absent));
        };
        let waits = found.metadata.deletion_timestamp.is_some()
            && found
                .finalizers()
                .iter()
                .any(|finalizer| finalizer == FOREGROUND);
        Ok(Some(if waits {
            OwnerState::Waiting
        } else {
            OwnerState::Solid
        }))
    }

    async fn act(
        &self,
        kind: &Kind,
        node: &Node,
        fresh: &Metadata,
        action: Action,
    ) -> Result<(), Error> {
        let key = ObjectKey::new(node.namespace.clone(), node.name.clone());
        match action {
            Action::Delete(propagation) => {
                let policy = match propagation {
                    Propagation::Background => PropagationPolicy::Background,
                    Propagation::Foreground => PropagationPolicy::Foreground,
                    Propagation::Orphan => PropagationPolicy::Orphan,
                };
                let preconditions = Preconditions {
                    uid: fresh.uid(),
                    resource_version: None,
                };
                let how = DeleteParams {
                    propagation_policy: Some(policy),
                    preconditions: Some(preconditions),
                    ..DeleteParams::default()
                };
                let api: Api<DynamicObject> = self.api(kind, &node.namespace);
                tracing::debug!(kind = node.kind.kind, %key, ?propagation, "collecting garbage");
                gone_is_fine(api.delete(&node.name, &how).await).doing("delete", &key)
            }
            Action::SetOwners(owners) => {
                let change = json!({"metadata": {"uid": fresh.uid(), "ownerReferences": owners}});
                self.patch(kind, node, change)
                    .await
                    .doing("change the owners of", &key)
            }
            Action::RemoveFinalizer(finalizer) => {
                let left: Vec<&String> = fresh
                    .finalizers()
                    .iter()
                    .filter(|held| *held != finalizer)
                    .collect();
                let change = json!({"metadata": {
                    "uid": fresh.uid(),
                    "resourceVersion": fresh.resource_version(),
                    "finalizers": left,
                }});
                self.patch(kind, node, change)
                    .await
                    .doing("remove a finalizer from", &key)
            }
            Action::Release(dependent) => self.release(&dependent, &node.uid).await,
        }
    }

    /// Makes the dependent with this uid forget an owner.
    async fn release(&self, dependent: &str, owner: &str) -> Result<(), Error> {
        let Some(known) = self.knowledge.graph.lock().get(dependent).cloned() else {
            return Ok(());
        };
        let Some(kind) = self.kind(&known.kind) else {
            return Ok(());
        };
        let key = ObjectKey::new(known.namespace.clone(), known.name.clone());
        let api: Api<Metadata> = self.api(&kind, &known.namespace);
        let fresh = api.get_opt(&known.name).await.doing("get", &key)?;
        let Some(fresh) = fresh.filter(|fresh| fresh.uid().as_deref() == Some(dependent)) else {
            return Ok(());
        };
        let left: Vec<&OwnerReference> = fresh
            .owner_references()
            .iter()
            .filter(|reference| reference.uid != owner)
            .collect();
        let change = json!({"metadata": {
            "uid": dependent,
            "resourceVersion": fresh.resource_version(),
            "ownerReferences": left,
        }});
        self.patch(&kind, &known, change)
            .await
            .doing("release", &key)
    }

    /// Patches an object; one that is gone or another one of the name needs no patch.
    async fn patch(&self, kind: &Kind, node: &Node, change: serde_json::Value) -> kube::Result<()> {
        let api: Api<DynamicObject> = self.api(kind, &node.namespace);
        match api
            .patch(&node.name, &PatchParams::default(), &Patch::Merge(change))
            .await
        {
            Err(error) if !is_code(&error, 404) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}
