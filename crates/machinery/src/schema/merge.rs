//! How the lists of Kubernetes' types merge: the metadata `k8s-openapi`'s schemas lack.
//!
//! Kubernetes has it in struct tags (`patchStrategy`, `patchMergeKey`, `+listType`,
//! `+listMapKey`). Lists that are not in the table are atomic.

use super::{ListMerge, ListType};

/// Struct, field, merge key of strategic merge patches ("" for a list of primitives that merges),
/// list type, list map keys.
type Row = (
    &'static str,
    &'static str,
    Option<&'static str>,
    ListType,
    &'static [&'static str],
);

use ListType::{Atomic, Map, Set};

/// Sorted by struct and field.
#[rustfmt::skip]
const LISTS: [Row; 39] = [
    ("Container", "env", Some("name"), Map, &["name"]),
    ("Container", "ports", Some("containerPort"), Map, &["containerPort", "protocol"]),
    ("Container", "volumeDevices", Some("devicePath"), Map, &["devicePath"]),
    ("Container", "volumeMounts", Some("mountPath"), Map, &["mountPath"]),
    ("ContainerStatus", "allocatedResourcesStatus", Some("name"), Map, &["name"]),
    ("ContainerStatus", "volumeMounts", Some("mountPath"), Map, &["mountPath"]),
    ("DeploymentStatus", "conditions", Some("type"), Map, &["type"]),
    ("Endpoint", "addresses", None, Set, &[]),
    ("EphemeralContainer", "env", Some("name"), Map, &["name"]),
    ("EphemeralContainer", "ports", Some("containerPort"), Map, &["containerPort", "protocol"]),
    ("EphemeralContainer", "volumeDevices", Some("devicePath"), Map, &["devicePath"]),
    ("EphemeralContainer", "volumeMounts", Some("mountPath"), Map, &["mountPath"]),
    ("HorizontalPodAutoscalerStatus", "conditions", Some("type"), Map, &["type"]),
    ("NamespaceStatus", "conditions", Some("type"), Map, &["type"]),
    ("NodeSpec", "podCIDRs", Some(""), Set, &[]),
    ("NodeStatus", "addresses", Some("type"), Map, &["type"]),
    ("NodeStatus", "conditions", Some("type"), Map, &["type"]),
    ("ObjectMeta", "finalizers", Some(""), Set, &[]),
    ("ObjectMeta", "ownerReferences", Some("uid"), Map, &["uid"]),
    ("PodDisruptionBudgetStatus", "conditions", Some("type"), Map, &["type"]),
    ("PodSpec", "containers", Some("name"), Map, &["name"]),
    ("PodSpec", "ephemeralContainers", Some("name"), Map, &["name"]),
    ("PodSpec", "hostAliases", Some("ip"), Map, &["ip"]),
    ("PodSpec", "imagePullSecrets", Some("name"), Map, &["name"]),
    ("PodSpec", "initContainers", Some("name"), Map, &["name"]),
    ("PodSpec", "resourceClaims", Some("name"), Map, &["name"]),
    ("PodSpec", "schedulingGates", Some("name"), Map, &["name"]),
    ("PodSpec", "topologySpreadConstraints", Some("topologyKey"), Map, &["topologyKey", "whenUnsatisfiable"]),
    ("PodSpec", "volumes", Some("name"), Map, &["name"]),
    ("PodStatus", "conditions", Some("type"), Map, &["type"]),
    ("PodStatus", "hostIPs", Some("ip"), Atomic, &[]),
    ("PodStatus", "podIPs", Some("ip"), Map, &["ip"]),
    ("PodStatus", "resourceClaimStatuses", Some("name"), Map, &["name"]),
    ("ReplicaSetStatus", "conditions", Some("type"), Map, &["type"]),
    ("ResourceRequirements", "claims", None, Map, &["name"]),
    ("ResourceStatus", "resources", None, Map, &["resourceID"]),
    ("ServiceAccount", "secrets", Some("name"), Map, &["name"]),
    ("ServiceSpec", "ports", Some("port"), Map, &["port", "protocol"]),
    ("ServiceStatus", "conditions", Some("type"), Map, &["type"]),
];

/// Fields whose strategic merge honours `$retainKeys`; for a list it is its items that do.
const RETAIN_KEYS: [(&str, &str); 4] = [
    ("DeploymentSpec", "strategy"),
    ("PodSpec", "resourceClaims"),
    ("PodSpec", "volumes"),
    ("PodStatus", "resourceClaimStatuses"),
];

/// How the list in `field` of the struct `owner` merges.
pub(crate) fn list_merge(owner: &str, field: &str) -> ListMerge {
    let row = LISTS
        .iter()
        .find(|(struct_name, field_name, ..)| *struct_name == owner && *field_name == field);
    match row {
        None => ListMerge::default(),
        Some((_, _, merge_key, list_type, map_keys)) => ListMerge {
            merge_key: merge_key.filter(|key| !key.is_empty()).map(Box::from),
            merges: merge_key.is_some(),
            list_type: *list_type,
            map_keys: map_keys.iter().map(|key| Box::from(*key)).collect(),
        },
    }
}

/// Whether a strategic merge of `field` of the struct `owner` honours `$retainKeys`.
pub(crate) fn retains_keys(owner: &str, field: &str) -> bool {
    RETAIN_KEYS.contains(&(owner, field))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::schema::definitions;

    #[test]
    fn every_row_names_a_field_that_exists() {
        let definitions = definitions::generate();
        let field = |owner: &str, field: &str| -> Option<&Value> {
            let suffix = format!(".{owner}");
            definitions
                .iter()
                .filter(|(name, _)| name.ends_with(&suffix))
                .find_map(|(_, schema)| schema["properties"].get(field))
        };
        for (owner, name, merge_key, list_type, map_keys) in LISTS {
            let schema = field(owner, name).unwrap_or_else(|| panic!("{owner}.{name}"));
            assert_eq!(schema["type"], "array", "{owner}.{name}");
            let item = schema["items"]["$ref"].as_str().unwrap_or_default();
            let item = item.rsplit('.').next().unwrap_or_default();
            let keys = merge_key.into_iter().chain(map_keys.iter().copied());
            for key in keys.filter(|key| !key.is_empty()) {
                assert!(
                    field(item, key).is_some(),
                    "{owner}.{name} has no key {key}"
                );
            }
            assert_eq!(list_type == Map, !map_keys.is_empty(), "{owner}.{name}");
        }
        for (owner, name) in RETAIN_KEYS {
            assert!(field(owner, name).is_some(), "{owner}.{name}");
        }
    }
}
