//! Brings the ReplicaSets of a Deployment to a size: the one there is, or all in proportion.

use k8s_openapi::api::apps::v1::ReplicaSet;

use super::rollout::Rollout;
use super::sets::{
    DESIRED_REPLICAS, MAX_REPLICAS, annotate_sizes, annotated, available, by_age, is_rolling,
    max_surge, size,
};

impl Rollout<'_> {
    /// Resizes a ReplicaSet and notes the Deployment's size on it. True when its size changed.
    pub(super) fn resize(&mut self, index: usize, replicas: i32) -> bool {
        let set = &mut self.members[index].set;
        let changes = size(set) != replicas;
        set.spec.get_or_insert_default().replicas = Some(replicas);
        if annotate_sizes(&self.observed.deployment, set) || changes {
            self.touch(index);
        }
        changes
    }

    /// Resizes a ReplicaSet; one that has the size already is left alone.
    pub(super) fn resize_if_other(&mut self, index: usize, replicas: i32) -> bool {
        size(&self.members[index].set) != replicas && self.resize(index, replicas)
    }

    /// True when the Deployment's size was changed since its ReplicaSets were last sized.
    pub(super) fn is_scaled(&self) -> bool {
        let wanted = self.wanted();
        self.active_indices()
            .into_iter()
            .filter_map(|index| annotated(&self.members[index].set, DESIRED_REPLICAS))
            .any(|desired| desired != wanted)
    }

    /// Brings the ReplicaSets to the Deployment's size without moving a rollout on.
    pub(super) fn scale(&mut self) {
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
    pub(super) fn is_saturated(&self) -> bool {
        let wanted = self.wanted();
        self.new_set().is_some_and(|set| {
            size(set) == wanted
                && annotated(set, DESIRED_REPLICAS) == Some(wanted)
                && available(set) == wanted
        })
    }

    /// Adds or removes replicas in proportion to the sizes of the active ReplicaSets, so that a
    /// rollout's risk stays as it was.
    pub(super) fn scale_in_proportion(&mut self, mut active: Vec<usize>) {
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
    pub(super) fn proportion(&self, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
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

    pub(super) fn fraction(&self, set: &ReplicaSet) -> i32 {
        let wanted = self.wanted();
        if wanted == 0 {
            return -size(set);
        }
        let noted = annotated(set, MAX_REPLICAS).filter(|before| *before != 0);
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
}

/// The quotient, rounded to the nearest, halves away from zero.
fn div_round(dividend: i64, divisor: i64) -> i64 {
    (2 * dividend + divisor) / (2 * divisor)
}
