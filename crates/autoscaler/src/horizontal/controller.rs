//! The loop around the decision: reads the API, decides, writes what was decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{Patch, PatchParams};
use parking_lot::Mutex;
use serde_json::{Value, json};
use springtide_client::{
    Cache, Context, EventRecorder, EventType, Next, ObjectKey, Seen, Subscription, WorkQueue,
    instruments, reference,
};
use springtide_machinery::instruments::{Counter, Histogram, Vector};
use springtide_machinery::selector::LabelSelector;
use tokio_util::sync::CancellationToken;

use super::History;
use super::api::{About, ApiFailure, get, put};
use super::decide::{Failure, Outcome, decide, needs_metrics, set_condition};
use super::explanation::Explanation;
use super::fetch::Fetch;
use super::mapper::{Mapper, Mapping, group_of};
use super::observed::{Constants, Observed, PodView, SelectorProblem};

const COMPONENT: &str = "horizontal-pod-autoscaler";
/// The component that counts what is decided, as in Kubernetes.
const MANAGER: &str = "kube-controller-manager";

/// How the loop runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time from one look at an autoscaler to the next.
    pub sync_period: Duration,
    /// Autoscalers looked at at the same time.
    pub workers: usize,
    /// The decision's constants.
    pub constants: Constants,
    /// Where the reasons of the last decisions are kept.
    pub explanations: Explanations,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            sync_period: Duration::from_secs(15),
            workers: 5,
            constants: Constants::default(),
            explanations: Explanations::default(),
        }
    }
}

/// The reasons of each autoscaler's last decision. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Explanations(Arc<Mutex<BTreeMap<ObjectKey, Explained>>>);

/// The reasons of one decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// When it was made.
    pub at: Timestamp,
    /// Why it came out so.
    pub explanation: Explanation,
}

impl Explanations {
    /// The last decision about this autoscaler, if there was one.
    pub fn get(&self, key: &ObjectKey) -> Option<Explained> {
        self.0.lock().get(key).cloned()
    }
}

/// Why a look at an autoscaler went wrong. It is told by events and conditions; the next look comes anyway.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// The reference to what is scaled cannot be read.
    #[error("invalid API version in scale target reference: {0}")]
    Reference(String),
    /// The API knows no such kind.
    #[error("unable to determine resource for scale target reference: {0}")]
    Kind(String),
    /// The scale cannot be read.
    #[error("failed to query scale subresource for {target}: {cause}")]
    Scale {
        /// Kind, namespace and name of what is scaled.
        target: String,
        /// What the API said.
        cause: String,
    },
    /// The decision's own error.
    #[error(transparent)]
    Decision(#[from] Failure),
    /// The status cannot be written.
    #[error("failed to update status for {name}: {cause}")]
    Status {
        /// The autoscaler's name.
        name: String,
        /// What the API said.
        cause: String,
    },
}

/// Scales what the HorizontalPodAutoscalers say until `stop` is cancelled.
pub async fn run(context: Context, options: Options, stop: CancellationToken) {
    let autoscalers = context.caches.of::<HorizontalPodAutoscaler>();
    let pods = context.caches.of::<Pod>();
    let changes = autoscalers.subscribe();
    let queue = WorkQueue::named("horizontalpodautoscaler");
    let scaler = Scaler {
        autoscalers: autoscalers.clone(),
        pods,
        recorder: context.recorder(COMPONENT),
        mapper: Mapper::new(context.client.clone()),
        memories: Mutex::default(),
        selectors: Mutex::default(),
        reconciliations: instruments(MANAGER).counters(
            "horizontal_pod_autoscaler_controller_reconciliations_total",
            "[ALPHA] Number of reconciliations of HPA controller.",
            ["action", "error"],
        ),
        durations: instruments(MANAGER).histograms(
            "horizontal_pod_autoscaler_controller_reconciliation_duration_seconds",
            "[ALPHA] The time(seconds) that the HPA controller takes to reconcile once.",
            &[0.001, 0.01, 0.1, 1.0, 10.0],
            ["action", "error"],
        ),
        context,
        options,
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => return,
        () = async { scaler.autoscalers.synced().await; scaler.pods.synced().await } => {}
    }
    tracing::debug!(period = ?scaler.options.sync_period, "autoscaling begins");
    let serving = queue.serve(scaler.options.workers, &stop, |key| scaler.look(key));
    tokio::select! {
        biased;
        () = serving => {}
        () = enqueue(changes, &autoscalers, &queue) => {}
    }
}

/// Queues autoscalers that are new, changed by their users, or gone. A status the loop itself wrote is none
/// of these: the period is not shortened by it.
async fn enqueue(
    mut changes: Subscription<HorizontalPodAutoscaler>,
    autoscalers: &Cache<HorizontalPodAutoscaler>,
    queue: &WorkQueue<ObjectKey>,
) {
    while let Some(seen) = changes.next().await {
        match seen {
            Seen::Applied { new, old } => {
                let is_same = |old: &Arc<HorizontalPodAutoscaler>| {
                    old.spec == new.spec && old.metadata.uid == new.metadata.uid
                };
                if !old.as_ref().is_some_and(is_same) {
                    queue.add(ObjectKey::of(&*new));
                }
            }
            Seen::Deleted(gone) => queue.add(ObjectKey::of(&*gone)),
            Seen::Resync => autoscalers
                .keys()
                .into_iter()
                .for_each(|key| queue.add(key)),
        }
    }
}

struct Scaler {
    reconciliations: Vector<Counter, 2>,
    durations: Vector<Histogram, 2>,
    context: Context,
    options: Options,
    autoscalers: Cache<HorizontalPodAutoscaler>,
    pods: Cache<Pod>,
    recorder: EventRecorder,
    mapper: Mapper,
    /// By autoscaler, with the uid of the object it is of.
    memories: Mutex<BTreeMap<ObjectKey, (Option<String>, History)>>,
    /// The selector of each autoscaler's target, as last seen.
    selectors: Mutex<BTreeMap<ObjectKey, LabelSelector>>,
}

/// A target's scale as the API gave it, and where it is.
struct Scale {
    object: Value,
    path: String,
    resource: String,
}

// === impl Scale ===

impl Scale {
    fn number(&self, part: &str) -> i32 {
        self.object[part]["replicas"]
            .as_i64()
            .and_then(|number| i32::try_from(number).ok())
            .unwrap_or_default()
    }

    fn selector(&self) -> &str {
        self.object["status"]["selector"]
            .as_str()
            .unwrap_or_default()
    }
}

// === impl Scaler ===

impl Scaler {
    /// One look at an autoscaler. Errors are told by events and conditions, and the next look comes after
    /// the period either way.
    async fn look(&self, key: ObjectKey) -> Result<Next, ReconcileError> {
        let Some(autoscaler) = self.autoscalers.find(&key) else {
            self.memories.lock().remove(&key);
            self.selectors.lock().remove(&key);
            self.options.explanations.0.lock().remove(&key);
            return Ok(Next::Settled);
        };
        let begun = tokio::time::Instant::now();
        let reconciled = self.reconcile(&key, &autoscaler).await;
        let error = match &reconciled {
            Ok(_) => "none",
            Err(
                ReconcileError::Decision(_)
                | ReconcileError::Kind(_)
                | ReconcileError::Reference(_),
            ) => "spec",
            Err(ReconcileError::Scale { .. } | ReconcileError::Status { .. }) => "internal",
        };
        let action = *reconciled.as_ref().unwrap_or(&"none");
        self.reconciliations.with([action, error]).inc();
        self.durations
            .with([action, error])
            .observe(begun.elapsed().as_secs_f64());
        if let Err(error) = reconciled {
            tracing::debug!(%key, %error, "autoscaler not settled");
        }
        Ok(Next::After(self.options.sync_period))
    }

    async fn reconcile(
        &self,
        key: &ObjectKey,
        autoscaler: &HorizontalPodAutoscaler,
    ) -> Result<&'static str, ReconcileError> {
        let about = reference(autoscaler);
        let spec = &autoscaler.spec;
        let original = autoscaler.status.clone().unwrap_or_default();
        let scale = match self.scale(key, autoscaler).await {
            Ok(scale) => scale,
            Err((cause, error)) => {
                self.recorder
                    .record(&about, EventType::Warning, "FailedGetScale", cause.clone());
                let mut status = original.clone();
                let message = format!(
                    "the HPA controller was unable to get the target's current scale: {cause}"
                );
                let conditions = status.conditions.get_or_insert_default();
                set_condition(
                    conditions,
                    self.context.clock.now(),
                    "AbleToScale",
                    false,
                    "FailedGetScale",
                    message,
                );
                self.write_status(key, &about, &original, &status).await?;
                return Err(error);
            }
        };

        let (pods, readings) = if needs_metrics(spec, scale.number("spec")) {
            self.observe(
                key,
                spec.metrics.as_deref().unwrap_or_default(),
                scale.selector(),
            )
            .await
        } else {
            (Ok(Vec::new()), Vec::new())
        };
        let observed = Observed {
            namespace: &key.namespace,
            spec,
            conditions: original.conditions.as_deref().unwrap_or_default(),
            spec_replicas: scale.number("spec"),
            status_replicas: scale.number("status"),
            pods: pods.as_deref().map_err(Clone::clone),
            readings: &readings,
            now: self.context.clock.now(),
            constants: &self.options.constants,
        };
        let mut history = self.recall(key, autoscaler);
        let decision = decide(&observed, &mut history);
        let explained = Explained {
            at: observed.now,
            explanation: decision.explanation.clone(),
        };
        self.options
            .explanations
            .0
            .lock()
            .insert(key.clone(), explained);
        // What was recommended is remembered whatever becomes of the write.
        self.remember(key, autoscaler, history.clone());
        let action = match &decision.rescale {
            Some(rescale) if rescale.to > scale.number("spec") => "scale_up",
            Some(_) => "scale_down",
            None => "none",
        };
        let written = match &decision.rescale {
            Some(rescale) => self
                .rescale(&scale, rescale.to)
                .await
                .map_err(|error| error.message),
            None => Ok(()),
        };
        let outcome = decision.finish(written, &mut history);
        self.remember(key, autoscaler, history);
        self.conclude(key, autoscaler, &about, &original, outcome)
            .await?;
        Ok(action)
    }

    /// Records the outcome's events and writes its status.
    async fn conclude(
        &self,
        key: &ObjectKey,
        autoscaler: &HorizontalPodAutoscaler,
        about: &ObjectReference,
        original: &HorizontalPodAutoscalerStatus,
        outcome: Outcome,
    ) -> Result<(), ReconcileError> {
        for event in &outcome.events {
            self.recorder
                .record(about, event.kind, event.reason, event.message.clone());
        }
        let now = Time(self.context.clock.now());
        let status = HorizontalPodAutoscalerStatus {
            current_replicas: Some(outcome.current_replicas),
            desired_replicas: outcome
                .desired_replicas
                .unwrap_or(original.desired_replicas),
            last_scale_time: if outcome.scaled {
                Some(now)
            } else {
                original.last_scale_time.clone()
            },
            current_metrics: outcome.current_metrics,
            conditions: Some(outcome.conditions),
            observed_generation: autoscaler.metadata.generation,
        };
        self.write_status(key, about, original, &status).await?;
        outcome.error.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Finds and reads the target's scale; the error also comes in the words of events.
    async fn scale(
        &self,
        key: &ObjectKey,
        autoscaler: &HorizontalPodAutoscaler,
    ) -> Result<Scale, (String, ReconcileError)> {
        let target = &autoscaler.spec.scale_target_ref;
        let group = group_of(target.api_version.as_deref().unwrap_or_default())
            .map_err(|cause| (cause.clone(), ReconcileError::Reference(cause)))?;
        let mappings = self
            .mapper
            .find(group, &target.kind)
            .await
            .map_err(|cause| (cause.clone(), ReconcileError::Kind(cause)))?;
        let mut first = None;
        for mapping in &mappings {
            match self.read_scale(mapping, &key.namespace, &target.name).await {
                Ok(scale) => return Ok(scale),
                Err(error) => first = first.or(Some(error)),
            }
        }
        // The kind may have moved.
        self.mapper.forget(group, &target.kind);
        let cause = first.map_or_else(|| "unrecognized resource".to_owned(), |error| error.message);
        let name = format!("{}/{}/{}", target.kind, key.namespace, target.name);
        Err((
            cause.clone(),
            ReconcileError::Scale {
                target: name,
                cause,
            },
        ))
    }

    async fn read_scale(
        &self,
        mapping: &Mapping,
        namespace: &str,
        name: &str,
    ) -> Result<Scale, ApiFailure> {
        let path = format!("{}/scale", mapping.path(namespace, name));
        let resource = mapping.qualified();
        let about = About {
            verb: "get",
            resource: &resource,
            name,
        };
        let object = get(&self.context.client, &path, about).await?;
        Ok(Scale {
            object,
            path,
            resource,
        })
    }

    async fn rescale(&self, scale: &Scale, replicas: i32) -> Result<(), ApiFailure> {
        let mut object = scale.object.clone();
        object["spec"]["replicas"] = json!(replicas);
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let about = About {
            verb: "put",
            resource: &scale.resource,
            name: &name,
        };
        put::<Value>(&self.context.client, &scale.path, &object, about)
            .await
            .map(|_| ())
    }

    /// The pods of the target, and what its metrics say.
    async fn observe(
        &self,
        key: &ObjectKey,
        metrics: &[k8s_openapi::api::autoscaling::v2::MetricSpec],
        selector: &str,
    ) -> (
        Result<Vec<PodView>, SelectorProblem>,
        Vec<Result<super::Reading, String>>,
    ) {
        let pods = match self.select(key, selector) {
            Ok(pods) => pods,
            Err(problem) => return (Err(problem), Vec::new()),
        };
        let fetch = Fetch {
            client: &self.context.client,
            mapper: &self.mapper,
            namespace: &key.namespace,
            selector,
        };
        (Ok(pods), fetch.all(metrics).await)
    }

    fn select(&self, key: &ObjectKey, text: &str) -> Result<Vec<PodView>, SelectorProblem> {
        if text.is_empty() {
            return Err(SelectorProblem::Missing);
        }
        let selector = LabelSelector::parse(text)
            .map_err(|error| SelectorProblem::Invalid(error.to_string()))?;
        self.selectors.lock().insert(key.clone(), selector.clone());
        let all = self.pods.list_in(&key.namespace);
        let pods: Vec<&Arc<Pod>> = all
            .iter()
            .filter(|pod| is_selected(&selector, pod))
            .collect();
        let selectors = self.selectors.lock();
        let others = selectors
            .iter()
            .filter(|(other, _)| other.namespace == key.namespace);
        let selecting: BTreeSet<&ObjectKey> = others
            .filter(|(_, other)| pods.iter().any(|pod| is_selected(other, pod)))
            .map(|(key, _)| key)
            .collect();
        if selecting.len() > 1 {
            let autoscalers = selecting
                .iter()
                .map(|key| (key.name.clone(), key.namespace.clone()))
                .collect();
            return Err(SelectorProblem::Ambiguous {
                selector: text.to_owned(),
                autoscalers,
            });
        }
        Ok(pods.into_iter().map(|pod| PodView::from(&**pod)).collect())
    }

    fn recall(&self, key: &ObjectKey, autoscaler: &HorizontalPodAutoscaler) -> History {
        let memories = self.memories.lock();
        let known = memories
            .get(key)
            .filter(|(uid, _)| *uid == autoscaler.metadata.uid);
        known
            .map(|(_, history)| history.clone())
            .unwrap_or_default()
    }

    fn remember(&self, key: &ObjectKey, autoscaler: &HorizontalPodAutoscaler, history: History) {
        self.memories
            .lock()
            .insert(key.clone(), (autoscaler.metadata.uid.clone(), history));
    }

    /// Writes the status where it differs. Only its own fields are sent, so that no user's change is undone.
    async fn write_status(
        &self,
        key: &ObjectKey,
        about: &ObjectReference,
        original: &HorizontalPodAutoscalerStatus,
        status: &HorizontalPodAutoscalerStatus,
    ) -> Result<(), ReconcileError> {
        let (old, new) = (json!(original), json!(status));
        if old == new {
            return Ok(());
        }
        // What is no longer there must be said to be gone.
        let mut fields = serde_json::Map::new();
        for field in old
            .as_object()
            .into_iter()
            .flatten()
            .map(|(field, _)| field)
        {
            fields.insert(field.clone(), Value::Null);
        }
        fields.extend(new.as_object().cloned().unwrap_or_default());
        let api: Api<HorizontalPodAutoscaler> =
            Api::namespaced(self.context.client.clone(), &key.namespace);
        let patch = Patch::Merge(json!({ "status": fields }));
        match api
            .patch_status(&key.name, &PatchParams::default(), &patch)
            .await
        {
            Ok(_) => Ok(()),
            // Deleted meanwhile.
            Err(kube::Error::Api(gone)) if gone.code == 404 => Ok(()),
            Err(error) => {
                let cause = match error {
                    kube::Error::Api(status) => status.message.clone(),
                    error => error.to_string(),
                };
                self.recorder.record(
                    about,
                    EventType::Warning,
                    "FailedUpdateStatus",
                    cause.clone(),
                );
                Err(ReconcileError::Status {
                    name: key.name.clone(),
                    cause,
                })
            }
        }
    }
}

fn is_selected(selector: &LabelSelector, pod: &Pod) -> bool {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    selector.matches(pod.metadata.labels.as_ref().unwrap_or(&NONE))
}
