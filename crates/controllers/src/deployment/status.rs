//! A Deployment's status: counts, and whether its rollout makes progress.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use kube::ResourceExt;

use super::conditions::{
    self, AVAILABLE, MINIMUM_AVAILABLE, MINIMUM_UNAVAILABLE, NEW_REPLICA_SET_AVAILABLE,
    PROGRESS_DEADLINE_EXCEEDED, PROGRESSING, REPLICA_FAILURE, REPLICA_SET_UPDATED, condition,
};
use super::sets::{actual, available, max_unavailable, ready, size, terminating, wanted};

/// How long a rollout may make no progress; `None` if it may for ever.
pub(super) fn progress_deadline(deployment: &Deployment) -> Option<SignedDuration> {
    let seconds = deployment.spec.as_ref()?.progress_deadline_seconds?;
    (seconds != i32::MAX).then(|| SignedDuration::from_secs(i64::from(seconds)))
}

fn nonzero(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

/// Counts replicas, and says whether enough are available.
pub(super) fn count<'a>(
    deployment: &Deployment,
    sets: &(impl Iterator<Item = &'a ReplicaSet> + Clone),
    new_set: Option<&ReplicaSet>,
    now: Timestamp,
) -> DeploymentStatus {
    let before = deployment.status.clone().unwrap_or_default();
    let sum = |of: fn(&ReplicaSet) -> i32| sets.clone().map(of).sum::<i32>();
    let available_replicas = sum(available);
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: nonzero(sum(actual)),
        updated_replicas: nonzero(new_set.map_or(0, actual)),
        ready_replicas: nonzero(sum(ready)),
        available_replicas: nonzero(available_replicas),
        unavailable_replicas: nonzero((sum(size) - available_replicas).max(0)),
        terminating_replicas: Some(sum(terminating)),
        collision_count: before.collision_count,
        conditions: before.conditions,
    };
    let enough = available_replicas >= wanted(deployment) - max_unavailable(deployment);
    let minimum = if enough {
        condition(
            AVAILABLE,
            "True",
            MINIMUM_AVAILABLE,
            "Deployment has minimum availability.",
            now,
        )
    } else {
        condition(
            AVAILABLE,
            "False",
            MINIMUM_UNAVAILABLE,
            "Deployment does not have minimum availability.",
            now,
        )
    };
    conditions::set(&mut status, minimum);
    status
}

/// True when all replicas are of the newest template and available.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = wanted(deployment);
    status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.observed_generation >= deployment.metadata.generation
}

/// True when there are more new, ready or available replicas than before, or fewer old ones.
fn has_progressed(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let old = |status: &DeploymentStatus| {
        status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0)
    };
    after.updated_replicas.unwrap_or(0) > before.updated_replicas.unwrap_or(0)
        || old(after) < old(before)
        || after.ready_replicas.unwrap_or(0) > before.ready_replicas.unwrap_or(0)
        || after.available_replicas.unwrap_or(0) > before.available_replicas.unwrap_or(0)
}

fn has_timed_out(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> bool {
    let Some(deadline) = progress_deadline(deployment) else {
        return false;
    };
    let Some(progressing) = conditions::find(status, PROGRESSING) else {
        return false;
    };
    match progressing.reason.as_deref() {
        Some(NEW_REPLICA_SET_AVAILABLE) => false,
        Some(PROGRESS_DEADLINE_EXCEEDED) => true,
        _ => progressing
            .last_update_time
            .as_ref()
            .is_some_and(|from| now.duration_since(from.0) > deadline),
    }
}

/// Writes into `after` (already counted) how the rollout goes on from `before`.
pub(super) fn judge(
    deployment: &Deployment,
    before: &DeploymentStatus,
    after: &mut DeploymentStatus,
    sets: &[ReplicaSet],
    new_set: Option<&ReplicaSet>,
    now: Timestamp,
) {
    let has_deadline = progress_deadline(deployment).is_some();
    if !has_deadline {
        conditions::remove(after, PROGRESSING);
    }
    let current = conditions::find(before, PROGRESSING).cloned();
    let current_reason = current
        .as_ref()
        .and_then(|condition| condition.reason.as_deref());
    // A rollout that was completed is not judged again when replicas come and go.
    let was_completed = after.replicas == after.updated_replicas
        && current_reason == Some(NEW_REPLICA_SET_AVAILABLE);
    if has_deadline && !was_completed {
        let subject = new_set.map_or_else(
            || format!("Deployment {:?}", deployment.name_any()),
            |set| format!("ReplicaSet {:?}", set.name_any()),
        );
        if is_complete(deployment, after) {
            let message = format!("{subject} has successfully progressed.");
            conditions::set(
                after,
                condition(PROGRESSING, "True", NEW_REPLICA_SET_AVAILABLE, message, now),
            );
        } else if has_progressed(before, after) {
            let message = format!("{subject} is progressing.");
            let mut progressing = condition(PROGRESSING, "True", REPLICA_SET_UPDATED, message, now);
            // Each sign of progress renews the update time, which the deadline counts from.
            if let Some(current) = current.filter(|current| current.status == "True") {
                progressing.last_transition_time = current.last_transition_time;
            }
            conditions::remove(after, PROGRESSING);
            conditions::set(after, progressing);
        } else if has_timed_out(deployment, after, now) {
            let message = format!("{subject} has timed out progressing.");
            conditions::set(
                after,
                condition(
                    PROGRESSING,
                    "False",
                    PROGRESS_DEADLINE_EXCEEDED,
                    message,
                    now,
                ),
            );
        }
    }
    let failure_of = |set: &ReplicaSet| {
        let conditions = set
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        conditions.and_then(|list| {
            list.iter()
                .find(|condition| condition.type_ == REPLICA_FAILURE)
                .cloned()
        })
    };
    match new_set
        .and_then(failure_of)
        .or_else(|| sets.iter().find_map(failure_of))
    {
        Some(failure) => {
            conditions::set(after, conditions::replica_failure(&failure));
        }
        None => conditions::remove(after, REPLICA_FAILURE),
    }
}

/// When a rollout that makes no progress will be overdue; `None` if it will not.
pub(super) fn overdue_at(
    deployment: &Deployment,
    status: Option<&DeploymentStatus>,
) -> Option<Timestamp> {
    let deadline = progress_deadline(deployment)?;
    let status = status?;
    let progressing = conditions::find(status, PROGRESSING)?;
    if is_complete(deployment, status)
        || progressing.reason.as_deref() == Some(PROGRESS_DEADLINE_EXCEEDED)
    {
        return None;
    }
    let from = progressing.last_update_time.as_ref()?.0;
    from.checked_add(deadline)
        .ok()?
        .checked_add(SignedDuration::from_secs(1))
        .ok()
}
