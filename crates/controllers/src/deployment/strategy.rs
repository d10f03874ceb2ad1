//! Moves a Deployment from its old ReplicaSets to the new one: RollingUpdate and Recreate.

use springtide_client::pods;

use super::rollout::{Member, Rollout};
use super::sets::{actual, available, max_unavailable, size};
use crate::ownership::controller_of;

impl Rollout<'_> {
    pub(super) fn roll(&mut self) {
        self.ensure_new();
        let moved = self.grow_new() || self.shrink_old();
        if !moved && self.is_complete() {
            self.trim_history();
        }
        self.judge_progress();
    }

    pub(super) fn grow_new(&mut self) -> bool {
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

    pub(super) fn shrink_old(&mut self) -> bool {
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
    pub(super) fn remove_unhealthy(&mut self, old: &[usize], bound: i32) -> bool {
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
    pub(super) fn remove_spare(&mut self, old: &[usize], min_available: i32) -> bool {
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

    pub(super) fn recreate(&mut self) {
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

    pub(super) fn old_pods_run(&self) -> bool {
        if self
            .old_indices()
            .into_iter()
            .any(|index| actual(&self.members[index].set) > 0)
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
}
