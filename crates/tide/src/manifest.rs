//! Objects of manifests that the program carries, whatever their kind.

use anyhow::Context;
use kube::api::{ApiResource, DynamicObject, TypeMeta};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};

/// Where `object` is created and found, and its name for people, such as `Service kube-dns`.
pub(crate) fn locate(
    client: Client,
    object: &DynamicObject,
) -> anyhow::Result<(Api<DynamicObject>, String)> {
    let types: &TypeMeta = object
        .types
        .as_ref()
        .context("a manifest without apiVersion and kind")?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
    let api = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client, &namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    Ok((api, format!("{} {}", types.kind, object.name_any())))
}
