//! The OpenAPI documents clients ask for: version 3 for each group version, version 2 for all.
//!
//! They are made from the registry and the schemas of `k8s-openapi`, when asked for: a document
//! is large, asked for seldom, and best kept, if at all, as the bytes it is sent as. kubectl
//! explains fields by it, learns from it that the server validates fields (`fieldValidation` on
//! PATCH), and how lists merge (`x-kubernetes-patch-*`).

mod paths;
mod protobuf;
mod schemas;
mod v2;
mod v3;

use serde_json::{Map, Value, json};

use crate::registry::Registry;

/// The media type of [`v2_protobuf`].
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// Title and version every document carries.
fn info() -> Value {
    json!({"title": "Kubernetes", "version": "v1.36.0"})
}

/// The answer to `/openapi/v3`: where each group version's document is, with a hash of it.
#[must_use]
pub fn index(registry: &Registry) -> Vec<u8> {
    let definitions = schemas::Definitions::generate(registry);
    let mut found = Map::new();
    for (group, version) in registry.group_versions() {
        let Some(document) = v3::document(registry, &definitions, &group, &version) else {
            continue;
        };
        let root = root(&group, &version);
        let hash = hash(document.to_string().as_bytes());
        found.insert(
            root.clone(),
            json!({"serverRelativeURL": format!("/openapi/v3/{root}?hash={hash}")}),
        );
    }
    json!({ "paths": found }).to_string().into_bytes()
}

/// The version 3 document of a group version, as JSON; the core group is "".
#[must_use]
pub fn v3(registry: &Registry, group: &str, version: &str) -> Option<Vec<u8>> {
    if registry.in_group_version(group, version).is_empty() {
        return None;
    }
    let definitions = schemas::Definitions::generate(registry);
    let document = v3::document(registry, &definitions, group, version)?;
    Some(document.to_string().into_bytes())
}

/// The version 2 document of all group versions, as JSON.
#[must_use]
pub fn v2(registry: &Registry) -> Vec<u8> {
    v2::document(registry).to_string().into_bytes()
}

/// The version 2 document in the encoding kubectl asks for, see [`V2_PROTOBUF`].
#[must_use]
pub fn v2_protobuf(registry: &Registry) -> Vec<u8> {
    protobuf::encode(&v2::document(registry))
}

/// A fingerprint of a document, for its URL and its ETag: 32 hexadecimal digits (FNV-1a).
#[must_use]
pub fn hash(document: &[u8]) -> String {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let sum = document.iter().fold(OFFSET, |sum, byte| {
        (sum ^ u128::from(*byte)).wrapping_mul(PRIME)
    });
    format!("{sum:032X}")
}

/// `api/v1` or `apis/apps/v1`.
fn root(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

#[cfg(test)]
mod tests;
