//! Namespaces: deletes all that is in one that is being deleted, then lets it go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{
    DeleteParams, DynamicObject, ListParams, PostParams, Preconditions, PropagationPolicy,
};
use kube::core::PartialObjectMeta;
use kube::{Api, ResourceExt};
use springtide_client::{Cache, Context, Next, ObjectKey, WorkQueue, feed};
use tokio_util::sync::CancellationToken;

use crate::error::{Doing, Error, gone_is_fine, is_code, message_of};
use crate::kinds::{Kind, discover};

/// Namespaces deleted at once; Kubernetes' default is 10.
const WORKERS: usize = 5;
/// What is on its way out is looked at again after this long, at the latest.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The finalizer this controller removes when nothing is left.
const FINALIZER: &str = "kubernetes";

/// What is left of one kind in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// The kind as `pods.` or `deployments.apps`.
    pub kind: String,
    /// How many objects there are.
    pub count: usize,
    /// How many of them each finalizer holds.
    pub finalizers: BTreeMap<String, usize>,
}

/// What the controller sees of a namespace after it has deleted what it could.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The namespace.
    pub namespace: Arc<Namespace>,
    /// Why the kinds are not known, if so.
    pub discovery_failure: Option<String>,
    /// What could not be deleted, and why.
    pub failures: Vec<String>,
    /// What is left.
    pub remaining: Vec<Remaining>,
}

/// What the controller does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Writes the status.
    UpdateStatus(Box<Namespace>),
    /// Removes the finalizer; the namespace goes unless others hold it.
    Finalize(Box<Namespace>),
}

/// Decides what to tell about the namespace, and whether it may go.
pub fn plan(observed: &Observed, now: Timestamp) -> Vec<Action> {
    let namespace = &observed.namespace;
    let mut actions = Vec::new();
    let mut told = (**namespace).clone();
    let status = told.status.get_or_insert_default();
    status.phase = Some("Terminating".to_owned());
    let conditions = status.conditions.get_or_insert_default();
    for (kind, is_true, reason, message) in conditions_of(observed) {
        set_condition(conditions, kind, is_true, reason, message, now);
    }
    if told != **namespace {
        actions.push(Action::UpdateStatus(Box::new(told.clone())));
    }
    let is_empty = observed.discovery_failure.is_none()
        && observed.failures.is_empty()
        && observed.remaining.is_empty();
    if is_empty {
        let finalizers = told
            .spec
            .get_or_insert_default()
            .finalizers
            .get_or_insert_default();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        actions.push(Action::Finalize(Box::new(told)));
    }
    actions
}

fn conditions_of(observed: &Observed) -> [(&'static str, bool, &'static str, String); 5] {
    let discovery = observed.discovery_failure.as_ref().map_or_else(
        || {
            (
                false,
                "ResourcesDiscovered",
                "All resources successfully discovered".to_owned(),
            )
        },
        |failure| {
            (
                true,
                "DiscoveryFailed",
                format!("Discovery failed for some groups, 1 failing: {failure}"),
            )
        },
    );
    let content = if observed.failures.is_empty() {
        let message = "All content successfully deleted, may be waiting on finalization";
        (false, "ContentDeleted", message.to_owned())
    } else {
        let (count, failures) = (observed.failures.len(), observed.failures.join(", "));
        (
            true,
            "ContentDeletionFailed",
            format!("Failed to delete all resource types, {count} remaining: {failures}"),
        )
    };
    let left: Vec<String> = observed
        .remaining
        .iter()
        .map(|remaining| {
            format!(
                "{} has {} resource instances",
                remaining.kind, remaining.count
            )
        })
        .collect();
    let remaining = if left.is_empty() {
        (
            false,
            "ContentRemoved",
            "All content successfully removed".to_owned(),
        )
    } else {
        (
            true,
            "SomeResourcesRemain",
            format!("Some resources are remaining: {}", left.join(", ")),
        )
    };
    let mut held: BTreeMap<&str, usize> = BTreeMap::new();
    for (finalizer, count) in observed
        .remaining
        .iter()
        .flat_map(|remaining| &remaining.finalizers)
    {
        *held.entry(finalizer).or_default() += count;
    }
    let holding: Vec<String> = held
        .iter()
        .map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"))
        .collect();
    let finalizers = if holding.is_empty() {
        (
            false,
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished".to_owned(),
        )
    } else {
        let message = format!(
            "Some content in the namespace has finalizers remaining: {}",
            holding.join(", ")
        );
        (true, "SomeFinalizersRemain", message)
    };
    let parsing = (
        false,
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed".to_owned(),
    );
    [
        ("NamespaceDeletionDiscoveryFailure", discovery),
        ("NamespaceDeletionGroupVersionParsingFailure", parsing),
        ("NamespaceDeletionContentFailure", content),
        ("NamespaceContentRemaining", remaining),
        ("NamespaceFinalizersRemaining", finalizers),
    ]
    .map(|(kind, (is_true, reason, message))| (kind, is_true, reason, message))
}

fn set_condition(
    conditions: &mut Vec<NamespaceCondition>,
    kind: &str,
    is_true: bool,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let condition = NamespaceCondition {
        type_: kind.to_owned(),
        status: if is_true { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: Some(Time(now)),
    };
    let is_same = |known: &NamespaceCondition| {
        (&known.status, &known.reason, &known.message)
            == (&condition.status, &condition.reason, &condition.message)
    };
    match conditions.iter_mut().find(|known| known.type_ == kind) {
        Some(known) if is_same(known) => {}
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
}

struct Controller {
    context: Context,
    namespaces: Cache<Namespace>,
    pods: Cache<Pod>,
}

/// Runs the controller until `stop` is cancelled.
pub async fn run(context: Context, stop: CancellationToken) {
    let controller = Controller {
        namespaces: context.caches.of(),
        pods: context.caches.of(),
        context,
    };
    let queue: WorkQueue<String> = WorkQueue::named("namespace");
    let all = || {
        let namespaces = controller.namespaces.clone();
        move || namespaces.keys().into_iter().map(|key| key.name).collect()
    };
    let feeding_namespaces = feed(
        &controller.namespaces,
        &queue,
        |namespace| vec![namespace.name_any()],
        all(),
    );
    // Pods take longest to go: the last one's end is the time to look again.
    let namespaces = controller.namespaces.clone();
    let leaving_namespace = move |pod: &Pod| {
        let name = pod.namespace().unwrap_or_default();
        let leaves = namespaces
            .get("", &name)
            .is_some_and(|found| found.metadata.deletion_timestamp.is_some());
        leaves.then_some(name).into_iter().collect()
    };
    let feeding_pods = feed(&controller.pods, &queue, leaving_namespace, all());
    let working = async {
        controller.namespaces.synced().await;
        queue
            .serve(WORKERS, &stop, |name| controller.reconcile(name))
            .await;
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = feeding_namespaces => {}
        () = feeding_pods => {}
        () = working => {}
    }
}

impl Controller {
    async fn reconcile(&self, name: String) -> Result<Next, Error> {
        let Some(namespace) = self.namespaces.get("", &name) else {
            return Ok(Next::Settled);
        };
        let finalizers = namespace
            .spec
            .as_ref()
            .and_then(|spec| spec.finalizers.as_deref())
            .unwrap_or_default();
        let is_held = finalizers.iter().any(|finalizer| finalizer == FINALIZER);
        if namespace.metadata.deletion_timestamp.is_none() || !is_held {
            return Ok(Next::Settled);
        }
        let observed = self.empty(namespace).await;
        let actions = plan(&observed, self.context.clock.now());
        let api: Api<Namespace> = Api::all(self.context.client.clone());
        let key = ObjectKey::new("", name.clone());
        let mut revision = observed.namespace.resource_version();
        let mut finalized = false;
        for action in actions {
            match action {
                Action::UpdateStatus(namespace) => {
                    match api
                        .replace_status(&name, &PostParams::default(), &namespace)
                        .await
                    {
                        Ok(written) => revision = written.resource_version(),
                        Err(error) if is_code(&error, 404) => return Ok(Next::Settled),
                        Err(error) => {
                            return Err(error).doing("update the status of Namespace", &key);
                        }
                    }
                }
                Action::Finalize(mut namespace) => {
                    namespace.metadata.resource_version.clone_from(&revision);
                    let result = api
                        .replace_subresource("finalize", &name, &PostParams::default(), &*namespace)
                        .await;
                    gone_is_fine(result).doing("finalize Namespace", &key)?;
                    finalized = true;
                }
            }
        }
        Ok(if finalized {
            Next::Settled
        } else {
            Next::After(LOOK_AGAIN)
        })
    }

    /// Asks for the deletion of all there is, and looks at what is left.
    async fn empty(&self, namespace: Arc<Namespace>) -> Observed {
        let name = namespace.name_any();
        let mut observed = Observed {
            namespace,
            discovery_failure: None,
            failures: Vec::new(),
            remaining: Vec::new(),
        };
        let kinds = match discover(&self.context.client).await {
            Ok(kinds) => kinds,
            Err(error) => {
                observed.discovery_failure = Some(error.to_string());
                return observed;
            }
        };
        for kind in kinds.iter().filter(|kind| kind.namespaced) {
            match self.empty_of(&name, kind).await {
                Ok(remaining) => observed.remaining.extend(remaining),
                Err(error) => observed.failures.push(message_of(&error)),
            }
        }
        observed
    }

    async fn empty_of(&self, namespace: &str, kind: &Kind) -> kube::Result<Option<Remaining>> {
        let client = self.context.client.clone();
        let metadata: Api<PartialObjectMeta<DynamicObject>> =
            Api::namespaced_with(client.clone(), namespace, &kind.resource);
        if metadata
            .list(&ListParams::default().limit(1))
            .await?
            .items
            .is_empty()
        {
            return Ok(None);
        }
        let objects: Api<DynamicObject> = Api::namespaced_with(client, namespace, &kind.resource);
        let how = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        let mut one_by_one = true;
        if kind.deletes_collections {
            match objects
                .delete_collection(&how, &ListParams::default())
                .await
            {
                Ok(_) => one_by_one = false,
                Err(error) if is_code(&error, 405) => {}
                Err(error) => return Err(error),
            }
        }
        if one_by_one {
            for object in metadata.list(&ListParams::default()).await?.items {
                let preconditions = Some(Preconditions {
                    uid: object.uid(),
                    resource_version: None,
                });
                let how = DeleteParams {
                    preconditions,
                    ..how.clone()
                };
                gone_is_fine(objects.delete(&object.name_any(), &how).await)?;
            }
        }
        let left = metadata.list(&ListParams::default()).await?.items;
        let mut finalizers = BTreeMap::new();
        for finalizer in left.iter().flat_map(ResourceExt::finalizers) {
            *finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        let remaining = Remaining {
            kind: kind.plural_and_group(),
            count: left.len(),
            finalizers,
        };
        Ok((remaining.count > 0).then_some(remaining))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn namespace() -> Arc<Namespace> {
        let value = json!({
            "metadata": {"name": "shop", "deletionTimestamp": "2026-01-02T00:00:00Z"},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Terminating"},
        });
        Arc::new(serde_json::from_value(value).expect("a valid Namespace"))
    }

    fn observed(remaining: Vec<Remaining>) -> Observed {
        Observed {
            namespace: namespace(),
            discovery_failure: None,
            failures: Vec::new(),
            remaining,
        }
    }

    fn told(action: &Action, kind: &str) -> (String, String, String) {
        let Action::UpdateStatus(namespace) = action else {
            panic!("a status")
        };
        let conditions = namespace
            .status
            .as_ref()
            .and_then(|status| status.conditions.clone())
            .unwrap_or_default();
        let condition = conditions
            .into_iter()
            .find(|condition| condition.type_ == kind)
            .expect("the condition");
        (
            condition.status,
            condition.reason.unwrap_or_default(),
            condition.message.unwrap_or_default(),
        )
    }

    #[test]
    fn an_empty_namespace_is_let_go() {
        let actions = plan(&observed(Vec::new()), Timestamp::UNIX_EPOCH);
        let Some(Action::Finalize(last)) = actions.last() else {
            panic!("to be finalized: {actions:?}")
        };
        assert_eq!(
            last.spec.as_ref().and_then(|spec| spec.finalizers.clone()),
            Some(Vec::new())
        );
        let (status, reason, _) = told(&actions[0], "NamespaceContentRemaining");
        assert_eq!(
            (status.as_str(), reason.as_str()),
            ("False", "ContentRemoved")
        );
    }

    #[test]
    fn what_is_left_is_told_and_holds_the_namespace() {
        let pods = Remaining {
            kind: "pods.".to_owned(),
            count: 3,
            finalizers: BTreeMap::new(),
        };
        let maps = Remaining {
            kind: "configmaps.".to_owned(),
            count: 1,
            finalizers: BTreeMap::from([("example.com/keep".to_owned(), 1)]),
        };
        let mut seen = observed(vec![maps, pods]);
        let actions = plan(&seen, Timestamp::UNIX_EPOCH);
        assert_eq!(actions.len(), 1);
        let (status, reason, message) = told(&actions[0], "NamespaceContentRemaining");
        assert_eq!(
            (status.as_str(), reason.as_str()),
            ("True", "SomeResourcesRemain")
        );
        assert_eq!(
            message,
            "Some resources are remaining: configmaps. has 1 resource instances, pods. has 3 resource instances"
        );
        let (_, reason, message) = told(&actions[0], "NamespaceFinalizersRemaining");
        assert_eq!(reason, "SomeFinalizersRemain");
        assert_eq!(
            message,
            "Some content in the namespace has finalizers remaining: example.com/keep in 1 resource instances"
        );
        let Action::UpdateStatus(written) = &actions[0] else {
            panic!("a status")
        };
        seen.namespace = Arc::new((**written).clone());
        assert!(plan(&seen, "2026-01-02T00:00:00Z".parse().expect("a time")).is_empty());
    }

    #[test]
    fn a_failure_is_told_and_holds_the_namespace() {
        let mut seen = observed(Vec::new());
        seen.failures.push("no".to_owned());
        let actions = plan(&seen, Timestamp::UNIX_EPOCH);
        assert_eq!(actions.len(), 1);
        let (_, reason, message) = told(&actions[0], "NamespaceDeletionContentFailure");
        assert_eq!(reason, "ContentDeletionFailed");
        assert_eq!(
            message,
            "Failed to delete all resource types, 1 remaining: no"
        );
        seen.failures.clear();
        seen.discovery_failure = Some("no".to_owned());
        assert_eq!(plan(&seen, Timestamp::UNIX_EPOCH).len(), 1);
    }
}
