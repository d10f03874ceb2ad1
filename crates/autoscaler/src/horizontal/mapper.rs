//! Which resource a kind is, by the API's discovery.

use std::collections::BTreeMap;

use kube::Client;
use parking_lot::Mutex;

/// Where a kind is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
}

/// Finds resources by kind and remembers those found.
pub(super) struct Mapper {
    client: Client,
    /// By group and kind.
    known: Mutex<BTreeMap<(String, String), Vec<Mapping>>>,
}

// === impl Mapping ===

impl Mapping {
    /// The plural with the group, as messages and custom metrics have it.
    pub(super) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// The path of an object of a namespace.
    pub(super) fn path(&self, namespace: &str, name: &str) -> String {
        let Self {
            group,
            version,
            plural,
        } = self;
        let root = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        format!("{root}/namespaces/{namespace}/{plural}/{name}")
    }
}

/// The group of an API version (`apps/v1` → `apps`), or Kubernetes' words for one that is none.
pub(super) fn group_of(api_version: &str) -> Result<&str, String> {
    let mut parts = api_version.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), None, None) => Ok(""),
        (Some(group), Some(_), None) => Ok(group),
        _ => Err(format!("unexpected GroupVersion string: {api_version}")),
    }
}

// === impl Mapper ===

impl Mapper {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            known: Mutex::default(),
        }
    }

    /// Where this kind is served, preferred version first; the error is in Kubernetes' words.
    pub(super) async fn find(&self, group: &str, kind: &str) -> Result<Vec<Mapping>, String> {
        let key = (group.to_owned(), kind.to_owned());
        if let Some(known) = self.known.lock().get(&key) {
            return Ok(known.clone());
        }
        let found = self
            .discover(group, kind)
            .await
            .map_err(|error| error.to_string())?;
        if found.is_empty() {
            return Err(format!("no matches for kind {kind:?} in group {group:?}"));
        }
        self.known.lock().insert(key, found.clone());
        Ok(found)
    }

    /// Forgets a kind, so that it is looked for anew.
    pub(super) fn forget(&self, group: &str, kind: &str) {
        self.known
            .lock()
            .remove(&(group.to_owned(), kind.to_owned()));
    }

    /// The versions of a group, preferred first; none if it is not served.
    pub(super) async fn versions(&self, group: &str) -> kube::Result<Vec<String>> {
        if group.is_empty() {
            return Ok(vec!["v1".to_owned()]);
        }
        let groups = self.client.list_api_groups().await?;
        let Some(found) = groups.groups.into_iter().find(|found| found.name == group) else {
            return Ok(Vec::new());
        };
        let preferred = found.preferred_version.map(|version| version.version);
        let mut versions: Vec<String> = preferred.into_iter().collect();
        for version in found.versions {
            if !versions.contains(&version.version) {
                versions.push(version.version);
            }
        }
        Ok(versions)
    }

    async fn discover(&self, group: &str, kind: &str) -> kube::Result<Vec<Mapping>> {
        let mut found = Vec::new();
        for version in self.versions(group).await? {
            let list = if group.is_empty() {
                self.client.list_core_api_resources(&version).await?
            } else {
                self.client
                    .list_api_group_resources(&format!("{group}/{version}"))
                    .await?
            };
            let resource = list
                .resources
                .into_iter()
                .find(|found| found.kind == kind && !found.name.contains('/'));
            if let Some(resource) = resource {
                found.push(Mapping {
                    group: group.to_owned(),
                    version,
                    plural: resource.name,
                });
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_what_stands_before_the_version() {
        assert_eq!(group_of("v1"), Ok(""));
        assert_eq!(group_of("apps/v1"), Ok("apps"));
        assert_eq!(
            group_of("a/b/c"),
            Err("unexpected GroupVersion string: a/b/c".to_owned())
        );
    }

    #[test]
    fn core_resources_have_a_path_of_their_own() {
        let mapping = |group: &str| Mapping {
            group: group.to_owned(),
            version: "v1".to_owned(),
            plural: "things".to_owned(),
        };
        assert_eq!(
            mapping("").path("shop", "a"),
            "/api/v1/namespaces/shop/things/a"
        );
        assert_eq!(
            mapping("apps").path("shop", "a"),
            "/apis/apps/v1/namespaces/shop/things/a"
        );
        assert_eq!(mapping("apps").qualified(), "things.apps");
    }
}
