//! The ReplicaSets of a Deployment: which is new, which are old, their annotations and sizes.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::ResourceExt;

use crate::rounding::surge_and_unavailable;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(super) const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of a Deployment that its ReplicaSets do not get.
const OWN_ANNOTATIONS: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
];

/// Characters of earlier revisions that a ReplicaSet remembers.
const HISTORY_BOUND: usize = 2000;

// === what a Deployment asks for ===

/// The replicas asked for.
pub(super) fn wanted(deployment: &Deployment) -> i32 {
    deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

/// True for the strategy RollingUpdate, which is the default.
pub(super) fn is_rolling(deployment: &Deployment) -> bool {
    let strategy = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate")
}

fn fenceposts(deployment: &Deployment) -> (i32, i32) {
    let strategy = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.strategy.as_ref());
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    surge_and_unavailable(
        rolling.and_then(|rolling| rolling.max_surge.as_ref()),
        rolling.and_then(|rolling| rolling.max_unavailable.as_ref()),
        wanted(deployment),
    )
}

/// Pods that may exist beyond those wanted.
pub(super) fn max_surge(deployment: &Deployment) -> i32 {
    if is_rolling(deployment) {
        fenceposts(deployment).0
    } else {
        0
    }
}

/// Pods that may be missing from those wanted.
pub(super) fn max_unavailable(deployment: &Deployment) -> i32 {
    let replicas = wanted(deployment);
    if !is_rolling(deployment) || replicas == 0 {
        return 0;
    }
    fenceposts(deployment).1.min(replicas)
}

// === what a ReplicaSet says ===

/// The replicas a set is told to have.
pub(super) fn size(set: &ReplicaSet) -> i32 {
    set.spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}

/// The replicas a set has.
pub(super) fn actual(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

/// The replicas of a set that are available.
pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .and_then(|status| status.available_replicas)
        .unwrap_or(0)
}

/// The replicas of a set that are ready.
pub(super) fn ready(set: &ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .and_then(|status| status.ready_replicas)
        .unwrap_or(0)
}

/// The pods of a set that are on their way out.
pub(super) fn terminating(set: &ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .and_then(|status| status.terminating_replicas)
        .unwrap_or(0)
}

/// A number in an annotation.
pub(super) fn annotated(set: &ReplicaSet, annotation: &str) -> Option<i32> {
    set.annotations().get(annotation)?.parse().ok()
}

/// The set's revision; 0 if it has none.
pub(super) fn revision(set: &ReplicaSet) -> i64 {
    set.annotations()
        .get(REVISION)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// Sorts by age, oldest first, then by name.
pub(super) fn by_age(one: &ReplicaSet, other: &ReplicaSet) -> std::cmp::Ordering {
    let age = |set: &ReplicaSet| set.creation_timestamp().map(|time| time.0);
    age(one)
        .cmp(&age(other))
        .then_with(|| one.name_any().cmp(&other.name_any()))
}

// === annotations ===

/// Gives the set the Deployment's annotations. True when something changed.
fn copy_annotations(deployment: &Deployment, set: &mut ReplicaSet) -> bool {
    let annotations = set.metadata.annotations.get_or_insert_default();
    let mut changed = false;
    for (name, value) in deployment.annotations() {
        if OWN_ANNOTATIONS.contains(&name.as_str()) || annotations.get(name) == Some(value) {
            continue;
        }
        annotations.insert(name.clone(), value.clone());
        changed = true;
    }
    changed
}

/// Makes the set carry the newest revision, and remember the one it had. True when something changed.
pub(super) fn annotate_new(
    deployment: &Deployment,
    set: &mut ReplicaSet,
    newest: i64,
    exists: bool,
) -> bool {
    let mut changed = copy_annotations(deployment, set);
    let annotations = set.metadata.annotations.get_or_insert_default();
    let had = annotations.get(REVISION).cloned();
    let had_number = match had.as_deref() {
        None | Some("") => 0,
        Some(text) => match text.parse::<i64>() {
            Ok(number) => number,
            // Written by somebody else: left alone.
            Err(_) => return false,
        },
    };
    if had_number < newest {
        annotations.insert(REVISION.to_owned(), newest.to_string());
        changed = true;
        if let Some(had) = had.filter(|text| !text.is_empty()) {
            remember_revision(annotations, &had);
        }
    }
    if !exists {
        changed |= annotate_sizes(deployment, set);
    }
    changed
}

/// Adds a revision to those the set had before, dropping the oldest beyond the bound.
fn remember_revision(annotations: &mut BTreeMap<String, String>, had: &str) {
    let history = annotations
        .get(REVISION_HISTORY)
        .cloned()
        .unwrap_or_default();
    let mut revisions: Vec<&str> = history.split(',').filter(|part| !part.is_empty()).collect();
    revisions.push(had);
    while revisions.len() > 1
        && revisions.iter().map(|part| part.len() + 1).sum::<usize>() - 1 > HISTORY_BOUND
    {
        revisions.remove(0);
    }
    annotations.insert(REVISION_HISTORY.to_owned(), revisions.join(","));
}

/// Notes on the set how large the Deployment is and may become, for proportional scaling. True
/// when something changed.
pub(super) fn annotate_sizes(deployment: &Deployment, set: &mut ReplicaSet) -> bool {
    let replicas = wanted(deployment);
    let annotations = set.metadata.annotations.get_or_insert_default();
    let mut changed = false;
    for (name, number) in [
        (DESIRED_REPLICAS, replicas),
        (MAX_REPLICAS, replicas + max_surge(deployment)),
    ] {
        let text = number.to_string();
        if annotations.get(name) != Some(&text) {
            annotations.insert(name.to_owned(), text);
            changed = true;
        }
    }
    changed
}
