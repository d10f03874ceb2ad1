//! What a Deployment needs next: the rolling update, Recreate, scaling, history, status.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use springtide_client::{EventType, pods};

use super::conditions::{self, condition};
use super::sets::{
    DESIRED_REPLICAS, REVISION, annotate_new, annotate_sizes, annotated, available, by_age,
    is_rolling, max_surge, max_unavailable, revision, size, wanted,
};
use super::status;
use crate::ownership::{controller_of, controller_reference};
use crate::template::{HASH_LABEL, same_template, template_hash};

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

/// One ReplicaSet while a plan is made.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// As observed; `None` for one that is to be created.
    before: Option<ReplicaSet>,
    pub(super) set: ReplicaSet,
    is_new: bool,
}

/// A Deployment while a plan is made.
#[derive(Debug)]
struct Rollout<'a> {
    observed: &'a Observed,
    deployment: Deployment,
    /// The old ones by age, oldest first, and the new one last.
    members: Vec<Member>,
    /// Indices of members in the order in which they were changed.
    touched: Vec<usize>,
    removed: Vec<ReplicaSet>,
    created_events: Vec<(usize, i32)>,
    now: Timestamp,
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

// === impl Member ===

impl Member {
    /// True when the set's status does not yet tell of its present size.
    fn status_is_behind(&self) -> bool {
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
    fn new(observed: &'a Observed, now: Timestamp) -> Self {
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
            created_events: Vec::new(),
            now,
        }
    }

    fn new_index(&self) -> Option<usize> {
        self.members.iter().position(|member| member.is_new)
    }

    fn new_set(&self) -> Option<&ReplicaSet> {
        self.new_index().map(|index| &self.members[index].set)
    }

    fn old_indices(&self) -> Vec<usize> {
        (0..self.members.len())
            .filter(|index| !self.members[*index].is_new)
            .collect()
    }

    fn active_indices(&self) -> Vec<usize> {
        (0..self.members.len())
            .filter(|index| size(&self.members[*index].set) > 0)
            .collect()
    }

    fn total_size(&self) -> i32 {
        self.members.iter().map(|member| size(&member.set)).sum()
    }

    fn wanted(&self) -> i32 {
        wanted(&self.observed.deployment)
    }

    fn status_mut(&mut self) -> &mut DeploymentStatus {
        self.deployment.status.get_or_insert_default()
    }

    fn touch(&mut self, index: usize) {
        if !self.touched.contains(&index) {
            self.touched.push(index);
        }
    }

    fn set_progressing(&mut self, status: &str, reason: &str, message: String) {
        let progressing = condition(conditions::PROGRESSING, status, reason, message, self.now);
        conditions::set(self.status_mut(), progressing);
    }

    fn has_deadline(&self) -> bool {
        status::progress_deadline(&self.observed.deployment).is_some()
    }

    // --- a Deployment that would select all pods ---

    fn refuse(mut self) -> Plan {
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

    // --- pausing and resuming ---

    /// Notes in the Progressing condition that the Deployment was paused or resumed.
    fn note_pause(&mut self) {
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

    // --- the new ReplicaSet ---

    /// Gives an existing new ReplicaSet the newest revision.
    fn adopt_revision(&mut self) {
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

    fn next_revision(&self) -> i64 {
        let old = self.members.iter().filter(|member| !member.is_new);
        old.map(|member| revision(&member.set)).max().unwrap_or(0) + 1
    }

    fn carry_revision(&mut self, its_revision: Option<String>) {
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
    fn ensure_new(&mut self) {
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
        if replicas > 0 {
            self.created_events.push((index, replicas));
        }
        self.carry_revision(Some(newest.to_string()));
        if self.has_deadline() {
            let message = format!("Created new replica set {name:?}");
            self.set_progressing("True", conditions::NEW_REPLICA_SET_CREATED, message);
        }
    }

    /// The size the new ReplicaSet may have now, if it has `current`.
    fn size_for_new(&self, current: i32) -> i32 {
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

    // --- sizes ---

    /// Resizes a ReplicaSet and notes the Deployment's size on it. True when its size changed.
    fn resize(&mut self, index: usize, replicas: i32) -> bool {
        let set = &mut self.members[index].set;
        let changes = size(set) != replicas;
        set.spec.get_or_insert_default().replicas = Some(replicas);
        if annotate_sizes(&self.observed.deployment, set) || changes {
            self.touch(index);
        }
        changes
    }

    /// Resizes a ReplicaSet; one that has the size already is left alone.
    fn resize_if_other(&mut self, index: usize, replicas: i32) -> bool {
        size(&self.members[index].set) != replicas && self.resize(index, replicas)
    }

    /// True when the Deployment's size was changed since its ReplicaSets were last sized.
    fn is_scaled(&self) -> bool {
        let wanted = self.wanted();
        self.active_indices()
            .into_iter()
            .filter_map(|index| annotated(&self.members[index].set, DESIRED_REPLICAS))
            .any(|desired| desired != wanted)
    }

    /// Brings the ReplicaSets to the Deployment's size without moving a rollout on.
    fn scale(&mut self) {
        let wanted = self.wanted();
        let active = self.active_indices();
        match active.as_slice() {
            [] => {
                let latest = self
                    .new_index()
                    .or_else(|| self.old_indices().last().copied());
                if let Some(index) = latest {
                    self.resize_if_other(index, wanted);
                }
            }
            [only] => {
                self.resize_if_other(*only, wanted);
            }
            _ if self.is_saturated() => {
                for index in self.old_indices() {
                    self.resize_if_other(index, 0);
                }
            }
            _ if is_rolling(&self.observed.deployment) => self.scale_in_proportion(active),
            _ => {}
        }
    }

    /// True when the new ReplicaSet alone serves what is wanted.
    fn is_saturated(&self) -> bool {
        let wanted = self.wanted();
        self.new_set().is_some_and(|set| {
            size(set) == wanted
                && annotated(set, DESIRED_REPLICAS) == Some(wanted)
                && available(set) == wanted
        })
    }

    /// Adds or removes replicas in proportion to the sizes of the active ReplicaSets, so that a
    /// rollout's risk stays as it was.
    fn scale_in_proportion(&mut self, mut active: Vec<usize>) {
        let wanted = self.wanted();
        let allowed = if wanted > 0 {
            wanted + max_surge(&self.observed.deployment)
        } else {
            0
        };
        let to_add = allowed
            - active
                .iter()
                .map(|index| size(&self.members[*index].set))
                .sum::<i32>();
        // Larger first; of two the same, the newer first when growing, the older first when shrinking.
        active.sort_by(|one, other| {
            let (one, other) = (&self.members[*one].set, &self.members[*other].set);
            let age = if to_add > 0 {
                by_age(other, one)
            } else {
                by_age(one, other)
            };
            size(other).cmp(&size(one)).then(age)
        });
        let mut added = 0;
        let mut sizes = Vec::with_capacity(active.len());
        for index in &active {
            let part = self.proportion(&self.members[*index].set, to_add, added);
            sizes.push(size(&self.members[*index].set) + part);
            added += part;
        }
        if let Some(largest) = sizes.first_mut() {
            *largest = (*largest + to_add - added).max(0);
        }
        for (index, replicas) in active.into_iter().zip(sizes) {
            self.resize(index, replicas);
        }
    }

    /// The part of `to_add` that falls to one ReplicaSet, of which `added` is given away.
    fn proportion(&self, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
        if to_add == 0 || to_add == added || size(set) == 0 {
            return 0;
        }
        let left = to_add - added;
        let part = self.fraction(set);
        if to_add > 0 {
            part.min(left)
        } else {
            part.max(left)
        }
    }

    fn fraction(&self, set: &ReplicaSet) -> i32 {
        let wanted = self.wanted();
        if wanted == 0 {
            return -size(set);
        }
        let noted = annotated(set, super::sets::MAX_REPLICAS).filter(|before| *before != 0);
        let status = self.observed.deployment.status.as_ref();
        let before = noted
            .or_else(|| status.and_then(|status| status.replicas))
            .unwrap_or(0);
        if before == 0 {
            return 0;
        }
        let after = i64::from(wanted + max_surge(&self.observed.deployment));
        let scaled = div_round(i64::from(size(set)) * after, i64::from(before));
        i32::try_from(scaled).unwrap_or(i32::MAX) - size(set)
    }

    // --- RollingUpdate ---

    fn roll(&mut self) {
        self.ensure_new();
        let moved = self.grow_new() || self.shrink_old();
        if !moved && self.is_complete() {
            self.trim_history();
        }
        self.judge_progress();
    }

    fn grow_new(&mut self) -> bool {
        let Some(index) = self.new_index() else {
            return false;
        };
        let (current, wanted) = (size(&self.members[index].set), self.wanted());
        if current == wanted {
            return false;
        }
        let replicas = if current > wanted {
            wanted
        } else {
            self.size_for_new(current)
        };
        self.resize_if_other(index, replicas)
    }

    fn shrink_old(&mut self) -> bool {
        let old: Vec<usize> = self
            .old_indices()
            .into_iter()
            .filter(|index| size(&self.members[*index].set) > 0)
            .collect();
        let Some(new) = self.new_set() else {
            return false;
        };
        let is_counted = |member: &&Member| member.is_new || size(&member.set) > 0;
        // Numbers from before the last resize could make available pods go. The status that tells
        // the present ones follows at once, and brings the Deployment back here.
        if old.is_empty()
            || self
                .members
                .iter()
                .filter(is_counted)
                .any(Member::status_is_behind)
        {
            return false;
        }
        let min_available = self.wanted() - max_unavailable(&self.observed.deployment);
        let new_unavailable = (size(new) - available(new)).max(0);
        let spare = self.total_size() - min_available - new_unavailable;
        if spare <= 0 {
            return false;
        }
        let unhealthy = self.remove_unhealthy(&old, spare);
        let healthy = self.remove_spare(&old, min_available);
        unhealthy || healthy
    }

    /// Takes away replicas that are not available anyway, oldest ReplicaSet first: they would
    /// otherwise hold up a rollout that repairs them.
    fn remove_unhealthy(&mut self, old: &[usize], bound: i32) -> bool {
        let mut removed = 0;
        for index in old {
            let set = &self.members[*index].set;
            let (current, healthy) = (size(set), available(set));
            if removed >= bound {
                break;
            }
            if current == 0 || current == healthy {
                continue;
            }
            let fewer = (bound - removed).min(current - healthy);
            // A status that is behind may show more available than there should be.
            if fewer <= 0 {
                continue;
            }
            self.resize_if_other(*index, current - fewer);
            removed += fewer;
        }
        removed > 0
    }

    /// Takes away replicas beyond the minimum that must be available, oldest ReplicaSet first.
    fn remove_spare(&mut self, old: &[usize], min_available: i32) -> bool {
        // A status that is behind shows pods that are told to go; those do not count.
        let available_now: i32 = self
            .members
            .iter()
            .map(|member| available(&member.set).min(size(&member.set)))
            .sum();
        let spare = available_now - min_available;
        let mut removed = 0;
        for index in old {
            if removed >= spare {
                break;
            }
            let current = size(&self.members[*index].set);
            if current == 0 {
                continue;
            }
            let fewer = current.min(spare - removed);
            self.resize_if_other(*index, current - fewer);
            removed += fewer;
        }
        removed > 0
    }

    // --- Recreate ---

    fn recreate(&mut self) {
        self.adopt_revision();
        let mut stopped = false;
        for index in self.old_indices() {
            stopped |= self.resize_if_other(index, 0);
        }
        if !stopped && !self.old_pods_run() {
            self.ensure_new();
            if let Some(index) = self.new_index() {
                self.resize_if_other(index, self.wanted());
            }
            if self.is_complete() {
                self.trim_history();
            }
        }
        self.judge_progress();
    }

    fn old_pods_run(&self) -> bool {
        if self
            .old_indices()
            .into_iter()
            .any(|index| super::sets::actual(&self.members[index].set) > 0)
        {
            return true;
        }
        let new_uid = self.new_set().and_then(|set| set.metadata.uid.as_deref());
        let uids: Vec<Option<&str>> = self
            .members
            .iter()
            .map(|member| member.set.metadata.uid.as_deref())
            .collect();
        self.observed.pods.iter().any(|pod| {
            let owner = controller_of(&pod.metadata).map(|owner| owner.uid.as_str());
            owner.is_some() && owner != new_uid && uids.contains(&owner) && !pods::is_terminal(pod)
        })
    }

    // --- history ---

    /// Deletes the oldest revisions beyond the history limit, if they have no pods.
    fn trim_history(&mut self) {
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
            if size(set) == 0 && super::sets::actual(set) == 0 && !is_behind {
                self.removed.push(set.clone());
            }
        }
    }

    // --- status ---

    fn is_complete(&self) -> bool {
        let status = self.observed.deployment.status.clone().unwrap_or_default();
        status::is_complete(&self.observed.deployment, &status)
    }

    fn count_status(&mut self) {
        let counted = status::count(
            &self.deployment,
            &self.members.iter().map(|member| &member.set),
            self.new_set(),
            self.now,
        );
        self.deployment.status = Some(counted);
    }

    fn judge_progress(&mut self) {
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

    fn finish(self) -> Plan {
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

/// The quotient, rounded to the nearest, halves away from zero.
fn div_round(dividend: i64, divisor: i64) -> i64 {
    (2 * dividend + divisor) / (2 * divisor)
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
