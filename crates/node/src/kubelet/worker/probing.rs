//! The probes that watch a pod's containers.

use std::collections::BTreeMap;
use std::sync::Arc;

use springtide_client::EventType;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::Message;
use crate::kubelet::runtime::{ContainerRun, PodUid};
use crate::kubelet::transition::Happened;
use crate::kubelet::view::{PodView, all_containers};
use crate::kubelet::{Handler, Shared};
use crate::probes::{Check, Kind, Report, Target, probe_check, watch};

/// A probe of one run of a container.
type Key = (String, u32, Kind);

/// The probes that are watching.
#[derive(Default)]
pub(super) struct Probes {
    watching: BTreeMap<Key, AbortOnDropHandle<()>>,
}

/// The probes that should be watching: a container's others wait for its startup probe, and a
/// container that is being stopped is only asked whether it is ready.
pub(super) fn wanted(view: &PodView) -> Vec<Key> {
    let mut wanted = Vec::new();
    for container in all_containers(view.spec()) {
        let (Some(known), Some(run)) = (
            view.containers.get(&container.name),
            view.run(&container.name),
        ) else {
            continue;
        };
        let stays = run.stop.is_none() && view.ending.is_none();
        for kind in [Kind::Startup, Kind::Liveness, Kind::Readiness] {
            let watches = match kind {
                Kind::Startup => stays && !run.started,
                Kind::Liveness => stays && run.is_started(),
                Kind::Readiness => run.is_started(),
            };
            if watches && kind.of(container).is_some() {
                wanted.push((container.name.clone(), known.attempt, kind));
            }
        }
    }
    wanted
}

impl Probes {
    pub(super) fn stop_all(&mut self) {
        self.watching.clear();
    }

    /// Starts what should watch and does not, and stops what watches and should not.
    pub(super) fn reconcile(
        &mut self,
        wanted: &[Key],
        view: &PodView,
        handler: &Handler,
        shared: &Arc<Shared>,
        sender: &mpsc::UnboundedSender<Message>,
    ) {
        self.watching.retain(|key, _| wanted.contains(key));
        for key in wanted {
            if !self.watching.contains_key(key)
                && let Some(task) = start(key, view, handler, shared, sender)
            {
                self.watching.insert(key.clone(), task);
            }
        }
    }
}

fn start(
    (container, attempt, kind): &Key,
    view: &PodView,
    handler: &Handler,
    shared: &Arc<Shared>,
    sender: &mpsc::UnboundedSender<Message>,
) -> Option<AbortOnDropHandle<()>> {
    let (kind, attempt) = (*kind, *attempt);
    let spec = view.container_spec(container)?;
    let run = view.run(container)?;
    let probe = kind.of(spec)?.clone();
    let check = probe_check(spec, &probe);
    let target = Target {
        run: ContainerRun {
            pod: PodUid(view.uid().to_owned()),
            container: container.clone(),
            attempt,
        },
        address: view.address(),
        on_host: view.spec().host_network == Some(true) || handler.runtime.shares_node_address(),
    };
    let now = shared.moment();
    let age = now.wall.duration_since(run.since);
    let age = age.unsigned_abs();
    let started = now.instant.checked_sub(age).unwrap_or(now.instant);
    let was_ready = kind == Kind::Readiness && run.ready;
    let expensive = matches!(check, Check::Exec { .. });

    let checker = Arc::clone(&handler.checker);
    let (shared, sender) = (Arc::clone(shared), sender.clone());
    let (pod, container) = (Arc::clone(&view.pod), container.clone());
    let task = tokio::spawn(async move {
        let check_once = |limit| checker.check(&target, &check, limit);
        let report = |report: Report| match report {
            Report::Concluded { success } => {
                let happened = Happened::Probed {
                    container: container.clone(),
                    attempt,
                    kind,
                    success,
                };
                // A worker that is gone needs no answer.
                let _ = sender.send(Message::Happened(happened));
            }
            Report::Unhealthy(message) => {
                let warning = EventType::Warning;
                shared
                    .cluster
                    .event(&pod, Some(&container), warning, "Unhealthy", &message);
            }
            Report::Warned(message) => {
                let warning = EventType::Warning;
                shared
                    .cluster
                    .event(&pod, Some(&container), warning, "ProbeWarning", &message);
            }
        };
        watch(
            kind, &probe, started, check_once, expensive, was_ready, report,
        )
        .await;
        // Stays until it is dropped, lest it be started again before its news is heard.
        std::future::pending::<()>().await;
    });
    Some(AbortOnDropHandle::new(task))
}
