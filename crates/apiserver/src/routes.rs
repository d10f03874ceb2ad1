//! The registry, indexed for the hot path: from the parts of a URL to a resource in a version.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use springtide_machinery::error::{GroupKind, GroupResource};
use springtide_machinery::registry::{Found, Name, Registry, Resource, Served};
use springtide_machinery::schema::Schema;
use springtide_store::Key;

use crate::decode::Expected;

/// A resource in one of its served versions, with what every request for it needs.
pub(crate) struct Route {
    found: Found,
    /// The served version, as in `apps/v1`.
    pub(crate) api_version: String,
    /// The stored version, as in `apps/v1`.
    pub(crate) storage_api_version: String,
    /// Whether stored bytes can be sent as they are.
    pub(crate) is_storage: bool,
    /// What field selectors may name.
    pub(crate) selectable: Vec<Name>,
    schema: OnceLock<Option<Schema>>,
}

impl Route {
    fn new(found: Found) -> Route {
        let resource = &found.resource;
        let selectable = resource
            .strategy
            .selectable_fields(&serde_json::json!({}))
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        Route {
            api_version: found.served().api_version(),
            storage_api_version: resource.storage_api_version(),
            is_storage: found.served().is_storage(resource),
            selectable,
            schema: OnceLock::new(),
            found,
        }
    }

    /// The row.
    pub(crate) fn resource(&self) -> &Arc<Resource> {
        &self.found.resource
    }

    /// The served version.
    pub(crate) fn served(&self) -> &Served {
        self.found.served()
    }

    /// The kind.
    pub(crate) fn kind(&self) -> &str {
        &self.resource().kind
    }

    /// The schema of the served version.
    pub(crate) fn schema(&self) -> Option<&Schema> {
        self.schema.get_or_init(|| self.served().schema()).as_ref()
    }

    /// Group and plural, for errors.
    pub(crate) fn group_resource(&self) -> GroupResource<'_> {
        GroupResource::new(&self.served().group, &self.resource().plural)
    }

    /// Group and kind, for errors.
    pub(crate) fn group_kind(&self) -> GroupKind<'_> {
        GroupKind::new(&self.served().group, &self.resource().kind)
    }

    /// Where an object lives in the store.
    pub(crate) fn key(&self, namespace: &str, name: &str) -> Key {
        Key::new(self.resource().collection.clone(), namespace, name)
    }

    /// What a body of this kind has to be.
    pub(crate) fn expected(&self) -> Expected<'_> {
        Expected {
            api_version: &self.api_version,
            kind: self.kind(),
            schema: self.schema(),
        }
    }
}

/// All routes.
pub(crate) struct Routes {
    /// Group, then version, then plural: looked up with borrowed text alone.
    by_path: HashMap<Name, HashMap<Name, HashMap<Name, Arc<Route>>>>,
    /// The route of each collection's stored version.
    by_collection: HashMap<Arc<str>, Arc<Route>>,
}

impl Routes {
    /// Indexes a registry.
    pub(crate) fn new(registry: &Registry) -> Routes {
        let mut routes = Routes {
            by_path: HashMap::new(),
            by_collection: HashMap::new(),
        };
        for (group, version) in registry.group_versions() {
            for found in registry.in_group_version(&group, &version) {
                let route = Arc::new(Route::new(found));
                let resource = route.resource();
                if route.is_storage {
                    routes
                        .by_collection
                        .insert(resource.collection.clone(), route.clone());
                }
                routes
                    .by_path
                    .entry(group.clone())
                    .or_default()
                    .entry(version.clone())
                    .or_default()
                    .insert(resource.plural.clone(), route.clone());
            }
        }
        routes
    }

    /// What `/apis/GROUP/VERSION/PLURAL` names.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Route>> {
        self.by_path.get(group)?.get(version)?.get(plural)
    }

    /// The routes of all stored versions, by their collections' names.
    pub(crate) fn stored(&self) -> Vec<&Arc<Route>> {
        let mut all: Vec<&Arc<Route>> = self.by_collection.values().collect();
        all.sort_by(|a, b| a.resource().collection.cmp(&b.resource().collection));
        all
    }

    /// The stored version of a collection.
    pub(crate) fn of_collection(&self, collection: &str) -> Option<&Arc<Route>> {
        self.by_collection.get(collection)
    }
}
