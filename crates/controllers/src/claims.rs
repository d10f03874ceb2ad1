//! Takes and gives up objects, as `ownership` decides.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use springtide_client::{Cached, ObjectKey};

use crate::error::{Doing, Error, is_code};
use crate::ownership::{Claim, claim, controller_reference, owners_after, selector};

/// A kind that lives in namespaces and can be controlled.
pub(crate) trait Claimable:
    Cached + Resource<Scope = NamespaceResourceScope> + DeserializeOwned + Debug
{
}

impl<K: Cached + Resource<Scope = NamespaceResourceScope>> Claimable for K {}

/// The objects among `candidates` that are `owner`'s, after taking those without a controller
/// that match, and giving up those that do not match any more.
pub(crate) async fn claim_objects<O, K>(
    client: &Client,
    owner: &O,
    by: &LabelSelector,
    candidates: Vec<Arc<K>>,
) -> Result<Vec<Arc<K>>, Error>
where
    O: Claimable,
    K: Claimable,
{
    let Some(selector) = selector(by) else {
        return Ok(Vec::new());
    };
    let mut claimed = Vec::new();
    let mut may_adopt = None;
    for candidate in candidates {
        let decision = claim(owner.meta(), &selector, candidate.meta());
        match decision {
            Claim::Ignore => {}
            Claim::Keep => claimed.push(candidate),
            Claim::Adopt => {
                let allowed = match may_adopt {
                    Some(allowed) => allowed,
                    None => *may_adopt.insert(still_there(client, owner).await?),
                };
                if allowed {
                    claimed.extend(write_owners(client, owner, decision, &*candidate).await?);
                }
            }
            Claim::Release => {
                write_owners(client, owner, decision, &*candidate).await?;
            }
        }
    }
    Ok(claimed)
}

/// Asks the API itself whether the owner lives: a cache that is behind must not adopt for a
/// owner that is gone, or the objects would be collected.
async fn still_there<O: Claimable>(client: &Client, owner: &O) -> Result<bool, Error> {
    let key = ObjectKey::of(owner);
    let api: Api<O> = Api::namespaced(client.clone(), &key.namespace);
    let fresh = api.get_opt(&key.name).await.doing("get", &key)?;
    Ok(fresh.is_some_and(|fresh| {
        fresh.uid() == owner.uid() && fresh.meta().deletion_timestamp.is_none()
    }))
}

async fn write_owners<O: Claimable, K: Claimable>(
    client: &Client,
    owner: &O,
    decision: Claim,
    object: &K,
) -> Result<Option<Arc<K>>, Error> {
    let reference = controller_reference(owner);
    let Some(owners) = owners_after(decision, &reference, object.meta()) else {
        return Ok(None);
    };
    let key = ObjectKey::of(object);
    let api: Api<K> = Api::namespaced(client.clone(), &key.namespace);
    let change = json!({"metadata": {
        "uid": object.uid(),
        "resourceVersion": object.resource_version(),
        "ownerReferences": owners,
    }});
    match api
        .patch(&key.name, &PatchParams::default(), &Patch::Merge(change))
        .await
    {
        Ok(written) => Ok(Some(Arc::new(written))),
        Err(error) if is_code(&error, 404) => Ok(None),
        Err(error) => Err(error).doing("change the owners of", &key),
    }
}
