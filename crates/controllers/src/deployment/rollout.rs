//! A Deployment while a plan is made: its ReplicaSets as they are to be, and what that takes.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use springtide_client::EventType;

use super::conditions::{self, condition};
use super::plan::{Action, Observed, Plan};
use super::sets::{
    REVISION, actual, annotate_new, by_age, is_rolling, max_surge, revision, size, wanted,
};
use super::status;
use crate::ownership::controller_reference;
use crate::template::{HASH_LABEL, same_template, template_hash};

/// One ReplicaSet while a plan is made.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// As observed; `None` for one that is to be created.
    pub(super) before: Option<ReplicaSet>,
    pub(super) set: ReplicaSet,
    pub(super) is_new: bool,
}

/// A Deployment while a plan is made.
#[derive(Debug)]
pub(super) struct Rollout<'a> {
    pub(super) observed: &'a Observed,
    pub(super) deployment: Deployment,
    /// The old ones by age, oldest first, and the new one last.
    pub(super) members: Vec<Member>,
    /// Indices of members in the order in which they were changed.
    pub(super) touched: Vec<usize>,
    pub(super) removed: Vec<ReplicaSet>,
    pub(super) now: Timestamp,
}

// === impl Member ===

impl Member {
    /// True when the set's status does not yet tell of its present size.
    pub(super) fn status_is_behind(&self) -> bool {
        let seen = self
            .set
            .status
            .as_ref()
            .and_then(|status| status.observed_generation);
        self.before.is_none() || self.set.metadata.generation > seen
    }
}

// === impl Rollout ===

impl<'a> Rollout<'a> {
    pub(super) fn new(observed: &'a Observed, now: Timestamp) -> Self {
        let template = observed.deployment.spec.as_ref().map(|spec| &spec.template);
        let mut sets = observed.replica_sets.clone();
        sets.sort_by(by_age);
        let is_new = |set: &ReplicaSet| {
            let its = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
            template
                .zip(its)
                .is_some_and(|(ours, its)| same_template(ours, its))
        };
        // With several the same, the oldest is chosen, so that the choice never changes.
        let newest = sets.iter().position(is_new);
        let mut members: Vec<Member> = sets
            .into_iter()
            .enumerate()
            .map(|(index, set)| Member {
                before: Some(set.clone()),
                set,
                is_new: Some(index) == newest,
            })
            .collect();
        if let Some(index) = newest {
            let member = members.remove(index);
            members.push(member);
        }
        Self {
            observed,
            deployment: observed.deployment.clone(),
            members,
            touched: Vec::new(),
            removed: Vec::new(),
            now,
        }
    }

    pub(super) fn new_index(&self) -> Option<usize> {
        self.members.iter().position(|member| member.is_new)
    }

    pub(super) fn new_set(&self) -> Option<&ReplicaSet> {
        self.new_index().map(|index| &self.members[index].set)
    }

    pub(super) fn old_indices(&self) -> Vec<usize> {
        (0..self.members.len())
            .filter(|index| !self.members[*index].is_new)
            .collect()
    }

    pub(super) fn active_indices(&self) -> Vec<usize> {
        (0..self.members.len())
            .filter(|index| size(&self.members[*index].set) > 0)
            .collect()
    }

    pub(super) fn total_size(&self) -> i32 {
        self.members.iter().map(|member| size(&member.set)).sum()
    }

    pub(super) fn wanted(&self) -> i32 {
        wanted(&self.observed.deployment)
    }

    pub(super) fn status_mut(&mut self) -> &mut DeploymentStatus {
        self.deployment.status.get_or_insert_default()
    }

    pub(super) fn touch(&mut self, index: usize) {
        if !self.touched.contains(&index) {
            self.touched.push(index);
        }
    }

    pub(super) fn set_progressing(&mut self, status: &str, reason: &str, message: String) {
        let progressing = condition(conditions::PROGRESSING, status, reason, message, self.now);
        conditions::set(self.status_mut(), progressing);
    }

    pub(super) fn has_deadline(&self) -> bool {
        status::progress_deadline(&self.observed.deployment).is_some()
    }

    pub(super) fn refuse(mut self) -> Plan {
        let generation = self.deployment.metadata.generation;
        let message = "This deployment is selecting all pods. A non-empty selector is required.";
        let mut actions = vec![Action::Record(
            EventType::Warning,
            "SelectingAll",
            message.to_owned(),
        )];
        if self.status_mut().observed_generation < generation {
            self.status_mut().observed_generation = generation;
            actions.push(Action::UpdateStatus(Box::new(self.deployment)));
        }
        Plan {
            actions,
            look_again: None,
        }
    }

    /// Notes in the Progressing condition that the Deployment was paused or resumed.
    pub(super) fn note_pause(&mut self) {
        if !self.has_deadline() {
            return;
        }
        let reason = conditions::find(self.status_mut(), conditions::PROGRESSING)
            .and_then(|condition| condition.reason.clone())
            .unwrap_or_default();
        if reason == conditions::PROGRESS_DEADLINE_EXCEEDED {
            return;
        }
        let paused = self
            .observed
            .deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.paused)
            == Some(true);
        let was_paused = reason == conditions::DEPLOYMENT_PAUSED;
        if paused && !was_paused {
            self.set_progressing(
                "Unknown",
                conditions::DEPLOYMENT_PAUSED,
                "Deployment is paused".to_owned(),
            );
        } else if !paused && was_paused {
            self.set_progressing(
                "Unknown",
                conditions::DEPLOYMENT_RESUMED,
                "Deployment is resumed".to_owned(),
            );
        }
    }

    /// Gives an existing new ReplicaSet the newest revision.
    pub(super) fn adopt_revision(&mut self) {
        let Some(index) = self.new_index() else {
            return;
        };
        let newest = self.next_revision();
        let min_ready = self
            .observed
            .deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.min_ready_seconds);
        let set = &mut self.members[index].set;
        let mut changed = annotate_new(&self.observed.deployment, set, newest, true);
        let spec = set.spec.get_or_insert_default();
        if spec.min_ready_seconds.unwrap_or(0) != min_ready.unwrap_or(0) {
            spec.min_ready_seconds = min_ready;
            changed = true;
        }
        let (name, its_revision) = (set.name_any(), set.annotations().get(REVISION).cloned());
        if changed {
            self.touch(index);
        }
        self.carry_revision(its_revision);
        let unknown = conditions::find(self.status_mut(), conditions::PROGRESSING).is_none();
        if self.has_deadline() && unknown {
            let message = format!("Found new replica set {name:?}");
            self.set_progressing("True", conditions::FOUND_NEW_REPLICA_SET, message);
        }
    }

    pub(super) fn next_revision(&self) -> i64 {
        let old = self.members.iter().filter(|member| !member.is_new);
        old.map(|member| revision(&member.set)).max().unwrap_or(0) + 1
    }

    pub(super) fn carry_revision(&mut self, its_revision: Option<String>) {
        let Some(its_revision) = its_revision else {
            return;
        };
        self.deployment
            .metadata
            .annotations
            .get_or_insert_default()
            .insert(REVISION.to_owned(), its_revision);
    }

    /// Gives an existing new ReplicaSet the newest revision, or plans its creation.
    pub(super) fn ensure_new(&mut self) {
        if self.new_index().is_some() {
            return self.adopt_revision();
        }
        let newest = self.next_revision();
        let Some(mut set) = replica_set(&self.observed.deployment) else {
            return;
        };
        let replicas = self.size_for_new(0);
        set.spec.get_or_insert_default().replicas = Some(replicas);
        annotate_new(&self.observed.deployment, &mut set, newest, false);
        let name = set.name_any();
        self.members.push(Member {
            before: None,
            set,
            is_new: true,
        });
        let index = self.members.len() - 1;
        self.touch(index);
        self.carry_revision(Some(newest.to_string()));
        if self.has_deadline() {
            let message = format!("Created new replica set {name:?}");
            self.set_progressing("True", conditions::NEW_REPLICA_SET_CREATED, message);
        }
    }

    /// The size the new ReplicaSet may have now, if it has `current`.
    pub(super) fn size_for_new(&self, current: i32) -> i32 {
        let wanted = self.wanted();
        if !is_rolling(&self.observed.deployment) {
            return wanted;
        }
        let room = wanted + max_surge(&self.observed.deployment) - self.total_size();
        if room <= 0 {
            return current;
        }
        current + room.min(wanted - current)
    }

    /// Deletes the oldest revisions beyond the history limit, if they have no pods.
    pub(super) fn trim_history(&mut self) {
        let limit = self
            .observed
            .deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.revision_history_limit);
        let Some(limit) = limit.filter(|limit| *limit != i32::MAX) else {
            return;
        };
        let mut old: Vec<usize> = self.old_indices();
        old.retain(|index| {
            self.members[*index]
                .set
                .metadata
                .deletion_timestamp
                .is_none()
        });
        old.sort_by(|one, other| {
            let (one, other) = (&self.members[*one].set, &self.members[*other].set);
            revision(one)
                .cmp(&revision(other))
                .then_with(|| by_age(one, other))
        });
        let beyond = old
            .len()
            .saturating_sub(usize::try_from(limit).unwrap_or(0));
        for index in &old[..beyond] {
            let set = &self.members[*index].set;
            let is_behind = self.members[*index].status_is_behind();
            if size(set) == 0 && actual(set) == 0 && !is_behind {
                self.removed.push(set.clone());
            }
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        let status = self.observed.deployment.status.clone().unwrap_or_default();
        status::is_complete(&self.observed.deployment, &status)
    }

    pub(super) fn count_status(&mut self) {
        let counted = status::count(
            &self.deployment,
            &self.members.iter().map(|member| &member.set),
            self.new_set(),
            self.now,
        );
        self.deployment.status = Some(counted);
    }

    pub(super) fn judge_progress(&mut self) {
        let before = self.deployment.status.clone().unwrap_or_default();
        self.count_status();
        let new_set = self.new_set().cloned();
        let sets: Vec<ReplicaSet> = self
            .members
            .iter()
            .map(|member| member.set.clone())
            .collect();
        let now = self.now;
        let deployment = self.deployment.clone();
        status::judge(
            &deployment,
            &before,
            self.status_mut(),
            &sets,
            new_set.as_ref(),
            now,
        );
    }

    pub(super) fn finish(self) -> Plan {
        let mut actions = Vec::new();
        for index in &self.touched {
            let member = &self.members[*index];
            let name = member.set.name_any();
            let (action, had) = match &member.before {
                Some(before) if *before == member.set => continue,
                Some(before) => (Action::Update(Box::new(member.set.clone())), size(before)),
                None => (Action::Create(Box::new(member.set.clone())), 0),
            };
            actions.push(action);
            let has = size(&member.set);
            if has != had {
                let direction = if has > had { "up" } else { "down" };
                let message = format!("Scaled {direction} replica set {name} from {had} to {has}");
                actions.push(Action::Record(
                    EventType::Normal,
                    "ScalingReplicaSet",
                    message,
                ));
            }
        }
        actions.extend(
            self.removed
                .iter()
                .cloned()
                .map(|set| Action::Delete(Box::new(set))),
        );
        let look_again =
            status::overdue_at(&self.observed.deployment, self.deployment.status.as_ref());
        if self.deployment != self.observed.deployment {
            actions.push(Action::UpdateStatus(Box::new(self.deployment)));
        }
        Plan {
            actions,
            look_again,
        }
    }
}

/// The new ReplicaSet of a Deployment, without pods yet.
fn replica_set(deployment: &Deployment) -> Option<ReplicaSet> {
    let spec = deployment.spec.as_ref()?;
    let collisions = deployment
        .status
        .as_ref()
        .and_then(|status| status.collision_count);
    let hash = template_hash(&spec.template, collisions);
    let mut template = spec.template.clone();
    let labels = template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector.clone();
    selector
        .match_labels
        .get_or_insert_default()
        .insert(HASH_LABEL.to_owned(), hash.clone());
    Some(ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    })
}
