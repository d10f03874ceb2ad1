//! The one table of resources: what is served, under which names, by which rules.
//!
//! A [`Resource`] is a row: names, versions, subresources, and a [`Strategy`] that holds the rules
//! of its kind (defaults, validation, what an update may change, the columns kubectl prints).
//! Built-in rows come from [`Registry::builtin`]; rows for custom resources are made at run time
//! and added by [`Registry::with`], so nothing in a row has to be known when compiling.
//!
//! Rules see objects in their *storage* version. A request in another served version is first
//! turned into that one by [`Served::to_storage`], answers are turned back by
//! [`Served::from_storage`].

mod builtin;
mod event_versions;
mod hpa_versions;
mod resource;
mod scale;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

pub use resource::{
    BuiltIn, Name, Part, Propagation, Resource, ScalePaths, Served, Strategy, Subresource,
};
pub use scale::{apply_scale, scale_of};

/// (group, version, plural or kind) → row and served version.
type Index = BTreeMap<(Name, Name, Name), (usize, usize)>;

/// All resources served, with the indexes requests need.
///
/// Cheap to clone. Adding rows makes a new registry, so a reader never sees half a change.
#[derive(Clone)]
pub struct Registry {
    rows: Arc<[Arc<Resource>]>,
    by_plural: Arc<Index>,
    by_kind: Arc<Index>,
    by_collection: Arc<BTreeMap<Arc<str>, usize>>,
}

/// A resource together with the version it was asked for.
#[derive(Clone)]
pub struct Found {
    /// The row.
    pub resource: Arc<Resource>,
    served: usize,
}

impl Found {
    /// The served version that was asked for.
    #[must_use]
    pub fn served(&self) -> &Served {
        &self.resource.served[self.served]
    }
}

impl Registry {
    /// The kinds that ship with the program. Built once per process; clones share it.
    #[must_use]
    pub fn builtin() -> Registry {
        static BUILTIN: OnceLock<Registry> = OnceLock::new();
        BUILTIN
            .get_or_init(|| Registry::from_rows(builtin::rows()))
            .clone()
    }

    /// A registry of exactly these rows. Of two rows that claim one name the later one wins.
    #[must_use]
    pub fn from_rows(rows: impl IntoIterator<Item = Resource>) -> Registry {
        Registry::index(rows.into_iter().map(Arc::new).collect())
    }

    /// This registry and further rows, such as those of custom resources.
    #[must_use]
    pub fn with(&self, rows: impl IntoIterator<Item = Resource>) -> Registry {
        let all = self
            .rows
            .iter()
            .cloned()
            .chain(rows.into_iter().map(Arc::new));
        Registry::index(all.collect())
    }

    fn index(rows: Vec<Arc<Resource>>) -> Registry {
        let mut by_plural = BTreeMap::new();
        let mut by_kind = BTreeMap::new();
        let mut by_collection = BTreeMap::new();
        for (row, resource) in rows.iter().enumerate() {
            by_collection.insert(resource.collection.clone(), row);
            for (index, served) in resource.served.iter().enumerate() {
                let place = (row, index);
                let (group, version) = (served.group.clone(), served.version.clone());
                by_plural.insert(
                    (group.clone(), version.clone(), resource.plural.clone()),
                    place,
                );
                by_kind.insert((group, version, resource.kind.clone()), place);
            }
        }
        Registry {
            rows: rows.into(),
            by_plural: Arc::new(by_plural),
            by_kind: Arc::new(by_kind),
            by_collection: Arc::new(by_collection),
        }
    }

    /// All rows, in table order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.rows.iter()
    }

    /// Finds what `/apis/GROUP/VERSION/PLURAL` names; the core group is "".
    #[must_use]
    pub fn lookup(&self, group: &str, version: &str, plural: &str) -> Option<Found> {
        self.find(&self.by_plural, group, version, plural)
    }

    /// Finds a kind by its group, version and kind.
    #[must_use]
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<Found> {
        self.find(&self.by_kind, group, version, kind)
    }

    fn find(&self, index: &Index, group: &str, version: &str, name: &str) -> Option<Found> {
        let key = (
            Name::Owned(group.to_owned()),
            Name::Owned(version.to_owned()),
            Name::Owned(name.to_owned()),
        );
        index.get(&key).map(|&(row, served)| Found {
            resource: self.rows[row].clone(),
            served,
        })
    }

    /// Finds the row whose objects the store keeps under `collection`.
    #[must_use]
    pub fn by_collection(&self, collection: &str) -> Option<&Arc<Resource>> {
        self.by_collection
            .get(collection)
            .map(|&row| &self.rows[row])
    }

    /// Every served (group, version): groups in table order, in a group the preferred version
    /// first.
    #[must_use]
    pub fn group_versions(&self) -> Vec<(Name, Name)> {
        let mut groups: Vec<(Name, Vec<Name>)> = Vec::new();
        for served in self.rows.iter().flat_map(|resource| &resource.served) {
            let place = match groups.iter().position(|(group, _)| *group == served.group) {
                Some(place) => place,
                None => {
                    groups.push((served.group.clone(), Vec::new()));
                    groups.len() - 1
                }
            };
            let versions = &mut groups[place].1;
            if !versions.contains(&served.version) {
                versions.push(served.version.clone());
            }
        }
        for (_, versions) in &mut groups {
            versions.sort_by_key(|version| std::cmp::Reverse(version_rank(version)));
        }
        groups
            .into_iter()
            .flat_map(|(group, versions)| {
                versions
                    .into_iter()
                    .map(move |version| (group.clone(), version))
            })
            .collect()
    }

    /// What a group version serves, in table order.
    #[must_use]
    pub fn in_group_version(&self, group: &str, version: &str) -> Vec<Found> {
        let mut found = Vec::new();
        for resource in self.rows.iter() {
            for (index, served) in resource.served.iter().enumerate() {
                if served.group == group && served.version == version {
                    found.push(Found {
                        resource: resource.clone(),
                        served: index,
                    });
                }
            }
        }
        found
    }
}

/// Kubernetes' order of versions: v2 before v1 before v1beta2 before v1alpha1 before anything else.
fn version_rank(version: &str) -> (u8, u32, u32) {
    let parse = || -> Option<(u8, u32, u32)> {
        let rest = version.strip_prefix('v')?;
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let major = rest[..digits].parse().ok()?;
        let stage = &rest[digits..];
        if stage.is_empty() {
            return Some((3, major, 0));
        }
        for (rank, word) in [(2, "beta"), (1, "alpha")] {
            if let Some(minor) = stage.strip_prefix(word) {
                return Some((rank, major, minor.parse().ok()?));
            }
        }
        None
    };
    parse().unwrap_or((0, 0, 0))
}
