//! What a Deployment needs next. The decision is made on a copy of its ReplicaSets (`rollout`),
//! which is resized (`scaling`, `strategy`) and then compared with what there is.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use springtide_client::EventType;

use super::conditions::{self, condition};
use super::rollout::Rollout;
use super::sets::is_rolling;
use super::status;
use crate::ownership::controller_of;
use crate::template::same_template;

/// What the controller sees of one Deployment.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The Deployment.
    pub deployment: Deployment,
    /// The ReplicaSets it controls.
    pub replica_sets: Vec<ReplicaSet>,
    /// The pods its selector matches; only Recreate looks at them.
    pub pods: Vec<Arc<Pod>>,
}

/// What the controller does, in this order; the first failure ends it.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Creates a ReplicaSet.
    Create(Box<ReplicaSet>),
    /// Writes a ReplicaSet back, if nobody else has changed it.
    Update(Box<ReplicaSet>),
    /// Deletes a ReplicaSet of the history.
    Delete(Box<ReplicaSet>),
    /// Tells of something done.
    Record(EventType, &'static str, String),
    /// Writes the Deployment's status and revision annotation.
    UpdateStatus(Box<Deployment>),
}

/// What to do now, and when to look again though nothing changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What to do now.
    pub actions: Vec<Action>,
    /// When progress would be overdue.
    pub look_again: Option<Timestamp>,
}

/// Decides what one Deployment needs next.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan {
    // Times are stored in whole seconds.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let mut rollout = Rollout::new(observed, now);
    if selects_everything(&observed.deployment) {
        return rollout.refuse();
    }
    if observed.deployment.metadata.deletion_timestamp.is_some() {
        rollout.count_status();
        return rollout.finish();
    }
    rollout.note_pause();
    let paused = observed
        .deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.paused)
        == Some(true);
    if paused || rollout.is_scaled() {
        rollout.adopt_revision();
        rollout.scale();
        if paused {
            rollout.trim_history();
        }
        rollout.count_status();
    } else if is_rolling(&observed.deployment) {
        rollout.roll();
    } else {
        rollout.recreate();
    }
    rollout.finish()
}

/// What to do when the ReplicaSet to be created exists already: nothing if it is the
/// Deployment's own and the same, else count a collision, which changes the next name.
pub fn on_name_taken(observed: &Observed, taken: &ReplicaSet) -> Option<Deployment> {
    let deployment = &observed.deployment;
    let is_own =
        controller_of(&taken.metadata).map(|owner| &owner.uid) == deployment.metadata.uid.as_ref();
    let template = deployment.spec.as_ref().map(|spec| &spec.template);
    let taken_template = taken.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let is_same = template
        .zip(taken_template)
        .is_some_and(|(ours, theirs)| same_template(ours, theirs));
    if is_own && is_same {
        return None;
    }
    let mut changed = deployment.clone();
    let collisions = changed
        .status
        .get_or_insert_default()
        .collision_count
        .get_or_insert(0);
    *collisions += 1;
    Some(changed)
}

/// What to tell when the API refused a ReplicaSet.
pub fn on_create_failed(
    observed: &Observed,
    set: &ReplicaSet,
    error: &str,
    now: Timestamp,
) -> Vec<Action> {
    let message = format!(
        "Failed to create new replica set {:?}: {error}",
        set.name_any()
    );
    let mut deployment = observed.deployment.clone();
    let mut actions = Vec::new();
    if status::progress_deadline(&deployment).is_some() {
        let failed = condition(
            conditions::PROGRESSING,
            "False",
            conditions::REPLICA_SET_CREATE_ERROR,
            message.clone(),
            now,
        );
        if conditions::set(deployment.status.get_or_insert_default(), failed) {
            actions.push(Action::UpdateStatus(Box::new(deployment)));
        }
    }
    actions.push(Action::Record(
        EventType::Warning,
        conditions::REPLICA_SET_CREATE_ERROR,
        message,
    ));
    actions
}

fn selects_everything(deployment: &Deployment) -> bool {
    deployment.spec.as_ref().is_none_or(|spec| {
        let labels = spec.selector.match_labels.as_ref();
        let expressions = spec.selector.match_expressions.as_ref();
        labels.is_none_or(std::collections::BTreeMap::is_empty)
            && expressions.is_none_or(Vec::is_empty)
    })
}
