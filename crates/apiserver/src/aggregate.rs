//! API groups that other parts serve, such as metrics.k8s.io.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use parking_lot::RwLock;

/// A resource of an aggregated group, as discovery shows it.
#[derive(Clone, Debug)]
pub struct AggregatedResource {
    /// As in `PodMetrics`.
    pub kind: String,
    /// The plural in URLs, as in `pods`.
    pub plural: String,
    /// The singular, as in `pod`.
    pub singular: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// As in `get`, `list`.
    pub verbs: Vec<String>,
    /// Short names kubectl accepts.
    pub short_names: Vec<String>,
}

/// A group version that another part serves.
#[derive(Clone)]
pub(crate) struct AggregatedVersion {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resources: Arc<[AggregatedResource]>,
    router: Router,
}

/// All group versions that other parts serve.
#[derive(Default)]
pub(crate) struct Aggregated(RwLock<BTreeMap<(String, String), AggregatedVersion>>);

impl Aggregated {
    /// Adds a group version, in place of an earlier one.
    pub(crate) fn add(
        &self,
        group: &str,
        version: &str,
        resources: Vec<AggregatedResource>,
        router: Router,
    ) {
        let added = AggregatedVersion {
            group: group.to_owned(),
            version: version.to_owned(),
            resources: resources.into(),
            router,
        };
        self.0
            .write()
            .insert((group.to_owned(), version.to_owned()), added);
    }

    /// Removes a group version; one that is not there is no error.
    pub(crate) fn remove(&self, group: &str, version: &str) {
        self.0
            .write()
            .remove(&(group.to_owned(), version.to_owned()));
    }

    /// All of them, sorted by group and version.
    pub(crate) fn all(&self) -> Vec<AggregatedVersion> {
        self.0.read().values().cloned().collect()
    }

    /// Who serves a path below a group; discovery documents are not forwarded.
    pub(crate) fn router(&self, group: &str, path: &str) -> Option<Router> {
        let version = path
            .strip_prefix("/apis/")?
            .strip_prefix(group)?
            .strip_prefix('/')?;
        let (version, below) = version.split_once('/')?;
        if below.is_empty() {
            return None;
        }
        let all = self.0.read();
        let found = all.get(&(group.to_owned(), version.to_owned()))?;
        Some(found.router.clone())
    }
}
