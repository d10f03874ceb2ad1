use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::{Resource, ResourceExt};
use tokio::time::Instant;

/// A cache that has not shown what was written for this long is not waited for any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// What controllers wrote and their cache may not show yet, so that nobody
/// acts twice because a watch is late.
///
/// A creation counts as seen once the cache has an object of its
/// resourceVersion or a newer one: the API orders all writes of a kind. A
/// deletion counts as seen once the cache no longer has the object, or has it
/// with a deletion timestamp.
#[derive(Debug)]
pub struct Expectations<T> {
    by_owner: BTreeMap<T, Expected>,
}

#[derive(Debug)]
struct Expected {
    /// The newest resourceVersion a creation returned.
    revision: u64,
    /// The uids whose deletion was acknowledged.
    deleted: BTreeSet<String>,
    since: Instant,
}

/// Whether the cache shows all that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// The cache shows it all.
    Settled,
    /// Not yet: look again when the cache changes, or after this long.
    Wait(Duration),
    /// The cache is overdue: ask the API itself.
    Overdue,
}

/// The numeric resourceVersion of an object; 0 if it has none.
pub fn revision_of<K: Resource>(object: &K) -> u64 {
    object
        .meta()
        .resource_version
        .as_deref()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

impl<T: Ord + Clone> Default for Expectations<T> {
    fn default() -> Self {
        Self {
            by_owner: BTreeMap::new(),
        }
    }
}

impl<T: Ord + Clone> Expectations<T> {
    /// Nothing expected.
    pub fn new() -> Self {
        Self::default()
    }

    fn entry(&mut self, owner: &T) -> &mut Expected {
        let fresh = || Expected {
            revision: 0,
            deleted: BTreeSet::new(),
            since: Instant::now(),
        };
        let expected = self.by_owner.entry(owner.clone()).or_insert_with(fresh);
        expected.since = Instant::now();
        expected
    }

    /// Notes that the API acknowledged a creation for `owner` at this resourceVersion.
    pub fn created(&mut self, owner: &T, revision: u64) {
        let expected = self.entry(owner);
        expected.revision = expected.revision.max(revision);
    }

    /// Notes that the API acknowledged the deletion of the object with this uid.
    pub fn deleted(&mut self, owner: &T, uid: impl Into<String>) {
        self.entry(owner).deleted.insert(uid.into());
    }

    /// Forgets an owner, because it is gone or because the API itself was asked.
    pub fn forget(&mut self, owner: &T) {
        self.by_owner.remove(owner);
    }

    /// Compares with the cache: the revision it has reached, and its objects that could be `owner`'s.
    pub fn outlook<'a, K: Resource + 'a>(
        &mut self,
        owner: &T,
        cache_revision: u64,
        objects: impl IntoIterator<Item = &'a K>,
    ) -> Outlook {
        let Some(expected) = self.by_owner.get_mut(owner) else {
            return Outlook::Settled;
        };
        if !expected.deleted.is_empty() {
            let living: BTreeSet<String> = objects
                .into_iter()
                .filter(|object| object.meta().deletion_timestamp.is_none())
                .filter_map(ResourceExt::uid)
                .collect();
            expected.deleted.retain(|uid| living.contains(uid));
        }
        if expected.revision <= cache_revision && expected.deleted.is_empty() {
            self.by_owner.remove(owner);
            return Outlook::Settled;
        }
        let waited = expected.since.elapsed();
        if waited < PATIENCE {
            Outlook::Wait(PATIENCE - waited)
        } else {
            Outlook::Overdue
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn pod(uid: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.uid = Some(uid.to_owned());
        pod
    }

    #[tokio::test(start_paused = true)]
    async fn a_creation_is_settled_once_the_cache_has_reached_its_revision() {
        let mut expectations = Expectations::new();
        expectations.created(&"rs", 7);
        expectations.created(&"rs", 5);
        let none: [Pod; 0] = [];
        assert_eq!(
            expectations.outlook(&"rs", 6, &none),
            Outlook::Wait(PATIENCE)
        );
        assert_eq!(expectations.outlook(&"other", 6, &none), Outlook::Settled);
        // The pod may have come and gone: its revision is what counts.
        assert_eq!(expectations.outlook(&"rs", 8, &none), Outlook::Settled);
        assert_eq!(expectations.outlook(&"rs", 0, &none), Outlook::Settled);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deletion_is_settled_once_the_object_is_gone_or_terminating() {
        let mut expectations = Expectations::new();
        expectations.deleted(&"rs", "a");
        assert_eq!(
            expectations.outlook(&"rs", 9, &[pod("a")]),
            Outlook::Wait(PATIENCE)
        );
        let mut terminating = pod("a");
        terminating.metadata.deletion_timestamp = Some(
            k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH),
        );
        assert_eq!(
            expectations.outlook(&"rs", 9, &[terminating]),
            Outlook::Settled
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_cache_that_stays_silent_is_overdue() {
        let mut expectations = Expectations::new();
        expectations.created(&"rs", 7);
        tokio::time::advance(PATIENCE).await;
        let none: [Pod; 0] = [];
        assert_eq!(expectations.outlook(&"rs", 6, &none), Outlook::Overdue);
        expectations.forget(&"rs");
        assert_eq!(expectations.outlook(&"rs", 6, &none), Outlook::Settled);
    }
}
