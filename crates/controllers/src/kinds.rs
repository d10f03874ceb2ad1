//! The kinds an API serves, found out by asking it, so that controllers for
//! all kinds also know those that were added later or elsewhere.

use kube::Client;
use kube::discovery::{ApiResource, Discovery, Scope, verbs};

use crate::Error;

/// A kind that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
    /// True when all objects of a namespace can be deleted at once.
    pub(crate) deletes_collections: bool,
}

impl Kind {
    /// The kind as messages name it: `pods`, `deployments.apps`.
    pub(crate) fn plural_and_group(&self) -> String {
        if self.resource.group.is_empty() {
            format!("{}.", self.resource.plural)
        } else {
            format!("{}.{}", self.resource.plural, self.resource.group)
        }
    }
}

/// The kinds whose objects can be listed, watched and deleted, each in its preferred version,
/// sorted by group and name.
pub(crate) async fn discover(client: &Client) -> Result<Vec<Kind>, Error> {
    let discovery = Discovery::new(client.clone())
        .run_aggregated()
        .await
        .map_err(|error| Error::Discovery(Box::new(error)))?;
    let mut kinds: Vec<Kind> = discovery
        .groups()
        .flat_map(kube::discovery::ApiGroup::recommended_resources)
        .filter(|(_, can)| {
            [verbs::LIST, verbs::WATCH, verbs::DELETE]
                .iter()
                .all(|verb| can.supports_operation(verb))
        })
        .map(|(resource, can)| Kind {
            namespaced: can.scope == Scope::Namespaced,
            deletes_collections: can.supports_operation(verbs::DELETE_COLLECTION),
            resource,
        })
        .collect();
    kinds.sort_by(|one, other| {
        let key = |kind: &Kind| (kind.resource.group.clone(), kind.resource.plural.clone());
        key(one).cmp(&key(other))
    });
    Ok(kinds)
}
