//! Places pods as they come, and tells about those that cannot be placed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Binding, Node, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use springtide_client::{
    Cache, Context, EventRecorder, EventType, Seen, Subscription, instruments, pods, reference,
};
use springtide_machinery::instruments::{Counter, Gauge, Vector};
use tokio_util::sync::CancellationToken;

use crate::{Cluster, Unschedulable, place};

/// The scheduler that pods without a wish get.
const NAME: &str = "default-scheduler";
/// Bindings written at once, so that they share a commit.
const BINDINGS_AT_ONCE: usize = 16;
/// After a binding failed, or when nothing happens, pods that wait are tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// A pod that still waits is told about again after this long; Kubernetes' period.
const TELL_AGAIN: SignedDuration = SignedDuration::from_secs(300);
/// How often pods that wait are looked at though nothing changes.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

struct Scheduler {
    context: Context,
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    events: EventRecorder,
    /// By uid: pods that were bound and that the cache does not show as bound yet.
    assumed: BTreeMap<String, (String, Arc<Pod>)>,
    /// By uid: what was last told about pods that wait, and when.
    told: BTreeMap<String, (String, Timestamp)>,
    counters: Counters,
}

/// What the scheduler counts of itself, named as Kubernetes' scheduler names it.
struct Counters {
    attempts: Vector<Counter, 2>,
    pending: Gauge,
}

impl Counters {
    fn new() -> Self {
        let registry = instruments("kube-scheduler");
        let pending = registry.gauges(
            "scheduler_pending_pods",
            "[STABLE] Number of pending pods, by the queue type.",
            ["queue"],
        );
        Self {
            attempts: registry.counters(
                "scheduler_schedule_attempts_total",
                "[STABLE] Number of attempts to schedule pods, by the result.",
                ["profile", "result"],
            ),
            pending: pending.with(["unschedulable"]),
        }
    }

    fn attempt(&self, result: &str) {
        self.attempts.with(["default-scheduler", result]).inc();
    }
}

/// Runs the scheduler until `stop` is cancelled.
pub async fn run(context: Context, stop: CancellationToken) {
    let mut scheduler = Scheduler {
        pods: context.caches.of(),
        nodes: context.caches.of(),
        events: context.recorder(NAME),
        assumed: BTreeMap::new(),
        told: BTreeMap::new(),
        counters: Counters::new(),
        context,
    };
    let mut pods = scheduler.pods.subscribe();
    let mut nodes = scheduler.nodes.subscribe();
    let working = async {
        scheduler.pods.synced().await;
        scheduler.nodes.synced().await;
        loop {
            let all_bound = scheduler.round().await;
            let pause = if all_bound { LOOK_AGAIN } else { TRY_AGAIN };
            if !something_happens(&mut pods, &mut nodes, pause).await {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = working => {}
    }
}

/// Waits until a change could matter, or for `pause`. False when there is nothing to wait for.
async fn something_happens(
    pods: &mut Subscription<Pod>,
    nodes: &mut Subscription<Node>,
    pause: Duration,
) -> bool {
    let pause = tokio::time::sleep(pause);
    let mut pause = std::pin::pin!(pause);
    loop {
        tokio::select! {
            biased;
            seen = pods.next() => match seen {
                None => return false,
                Some(seen) if matters(&seen) => return true,
                Some(_) => {}
            },
            seen = nodes.next() => match seen {
                None => return false,
                Some(Seen::Applied { new, old: Some(old) }) if same_for_placing(&new, &old) => {}
                Some(_) => return true,
            },
            () = &mut pause => return true,
        }
    }
}

/// True for what brings a pod that waits, or frees room.
fn matters(seen: &Seen<Pod>) -> bool {
    match seen {
        Seen::Resync | Seen::Deleted(_) => true,
        Seen::Applied { new, old: None } => waits(new),
        Seen::Applied {
            new,
            old: Some(old),
        } => {
            let has_ended = pods::is_terminal(new) && !pods::is_terminal(old);
            has_ended
                || (waits(new) && (new.spec != old.spec || !waits(old) || new.uid() != old.uid()))
        }
    }
}

fn same_for_placing(new: &Node, old: &Node) -> bool {
    let ready = |node: &Node| {
        let conditions = node
            .status
            .as_ref()
            .and_then(|status| status.conditions.clone())
            .unwrap_or_default();
        conditions
            .into_iter()
            .find(|condition| condition.type_ == "Ready")
            .map(|condition| condition.status)
    };
    let room = |node: &Node| {
        node.status
            .as_ref()
            .map(|status| (status.allocatable.clone(), status.capacity.clone()))
    };
    new.spec == old.spec
        && new.labels() == old.labels()
        && ready(new) == ready(old)
        && room(new) == room(old)
}

/// True when the pod is to be placed by this scheduler.
fn waits(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let is_ours = spec
        .scheduler_name
        .as_deref()
        .is_none_or(|name| name.is_empty() || name == NAME);
    let is_gated = spec
        .scheduling_gates
        .as_ref()
        .is_some_and(|gates| !gates.is_empty());
    is_ours && !is_gated && pods::node_name(pod).is_none() && pods::is_active(pod)
}

/// Higher priority first, then older, then by name.
fn by_turn(one: &Arc<Pod>, other: &Arc<Pod>) -> std::cmp::Ordering {
    let priority = |pod: &Pod| {
        pod.spec
            .as_ref()
            .and_then(|spec| spec.priority)
            .unwrap_or(0)
    };
    let created = |pod: &Pod| pod.creation_timestamp().map(|time| time.0);
    let place = |pod: &Pod| (pod.namespace(), pod.name_any());
    let turn = priority(other)
        .cmp(&priority(one))
        .then_with(|| created(one).cmp(&created(other)));
    turn.then_with(|| place(one).cmp(&place(other)))
}

impl Scheduler {
    /// Places all pods that wait. False when a binding failed.
    async fn round(&mut self) -> bool {
        let all = self.pods.list();
        let uids: BTreeSet<String> = all.iter().filter_map(|pod| pod.uid()).collect();
        let bound: BTreeSet<String> = all
            .iter()
            .filter(|pod| pods::node_name(pod).is_some())
            .filter_map(|pod| pod.uid())
            .collect();
        self.assumed
            .retain(|uid, _| uids.contains(uid) && !bound.contains(uid));
        self.told
            .retain(|uid, _| uids.contains(uid) && !bound.contains(uid));

        let mut cluster = Cluster::new(self.nodes.list(), all.iter().map(|pod| &**pod));
        for (node, pod) in self.assumed.values() {
            cluster.occupy(node, pod);
        }
        let is_assumed =
            |pod: &Arc<Pod>| pod.uid().is_some_and(|uid| self.assumed.contains_key(&uid));
        let mut waiting: Vec<Arc<Pod>> = all
            .into_iter()
            .filter(|pod| waits(pod) && !is_assumed(pod))
            .collect();
        waiting.sort_by(by_turn);

        let mut placed = Vec::new();
        let mut refused = Vec::new();
        for pod in waiting {
            match place(&pod, &cluster) {
                Ok(node) => {
                    cluster.occupy(&node, &pod);
                    placed.push((pod, node));
                }
                Err(why) => refused.push((pod, why)),
            }
        }
        self.counters.pending.set(refused.len() as f64);
        let all_bound = self.bind_all(placed).await;
        for (pod, why) in refused {
            self.counters.attempt("unschedulable");
            self.tell_refused(&pod, &why).await;
        }
        all_bound
    }

    async fn bind_all(&mut self, placed: Vec<(Arc<Pod>, String)>) -> bool {
        let client = self.context.client.clone();
        let bindings = placed.into_iter().map(|(pod, node)| {
            let client = client.clone();
            async move {
                let result = bind(client, &pod, &node).await;
                (pod, node, result)
            }
        });
        let mut results = futures::stream::iter(bindings).buffered(BINDINGS_AT_ONCE);
        let mut all_bound = true;
        while let Some((pod, node, result)) = results.next().await {
            match result {
                Ok(()) => {
                    self.counters.attempt("scheduled");
                    let namespace = pod.namespace().unwrap_or_default();
                    let message = format!(
                        "Successfully assigned {namespace}/{} to {node}",
                        pod.name_any()
                    );
                    self.events
                        .record(&reference(&*pod), EventType::Normal, "Scheduled", message);
                    self.assumed
                        .insert(pod.uid().unwrap_or_default(), (node, pod));
                }
                // Gone, or bound by somebody else: the cache will tell.
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
                Err(error) => {
                    self.counters.attempt("error");
                    tracing::debug!(pod = pod.name_any(), %error, "pod not bound, trying again");
                    let message = format!("binding rejected: {error}");
                    self.events.record(
                        &reference(&*pod),
                        EventType::Warning,
                        "FailedScheduling",
                        message,
                    );
                    all_bound = false;
                }
            }
        }
        all_bound
    }

    /// Tells in an event and in the pod's condition why it waits, once per reason and period.
    async fn tell_refused(&mut self, pod: &Arc<Pod>, why: &Unschedulable) {
        let now = self.context.clock.now();
        let message = why.to_string();
        let uid = pod.uid().unwrap_or_default();
        let is_known = |(told, at): &(String, Timestamp)| {
            *told == message && now.duration_since(*at) < TELL_AGAIN
        };
        if self.told.get(&uid).is_some_and(is_known) {
            return;
        }
        self.events.record(
            &reference(&**pod),
            EventType::Warning,
            "FailedScheduling",
            message.clone(),
        );
        let known = pods::condition(pod, "PodScheduled");
        let is_same = known.is_some_and(|known| {
            known.status == "False" && known.message.as_ref() == Some(&message)
        });
        if !is_same {
            let since = known
                .filter(|known| known.status == "False")
                .and_then(|known| known.last_transition_time.clone());
            let change = json!({
                "metadata": {"uid": uid},
                "status": {"conditions": [{
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": message,
                    "lastProbeTime": null,
                    "lastTransitionTime": since.unwrap_or(Time(now)),
                }]},
            });
            let api: Api<Pod> = Api::namespaced(
                self.context.client.clone(),
                &pod.namespace().unwrap_or_default(),
            );
            let patch = Patch::Strategic(change);
            if let Err(error) = api
                .patch_status(&pod.name_any(), &PatchParams::default(), &patch)
                .await
            {
                // Told again in the next round.
                tracing::debug!(pod = pod.name_any(), %error, "condition not written");
                return;
            }
        }
        self.told.insert(uid, (message, now));
    }
}

async fn bind(client: kube::Client, pod: &Pod, node: &str) -> kube::Result<()> {
    let namespace = pod.namespace().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(client, &namespace);
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(pod.name_any()),
            namespace: Some(namespace),
            uid: pod.uid(),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            ..ObjectReference::default()
        },
    };
    let _: serde_json::Value = api
        .create_subresource("binding", &pod.name_any(), &PostParams::default(), &binding)
        .await?;
    Ok(())
}
