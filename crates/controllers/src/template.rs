//! What makes two pod templates the same, and the hash that names their ReplicaSets.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

/// The label that tells a Deployment's ReplicaSets and their pods apart.
pub(crate) const HASH_LABEL: &str = "pod-template-hash";

/// Letters that stand for digits in hashes, so that they form no words.
const SAFE_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// True when both templates ask for the same pods, whatever their hash label says. Absent and
/// empty lists are the same.
pub(crate) fn same_template(one: &PodTemplateSpec, other: &PodTemplateSpec) -> bool {
    canonical(one) == canonical(other)
}

/// The hash of a template: eight to ten safe letters, the same on every machine and in every
/// version of this program that knows the template's fields.
pub(crate) fn template_hash(template: &PodTemplateSpec, collisions: Option<i32>) -> String {
    let mut hash = Fnv32::new();
    hash.write(canonical(template).to_string().as_bytes());
    if let Some(collisions) = collisions {
        hash.write(&collisions.to_le_bytes());
    }
    let digits = hash.0.to_string();
    digits
        .bytes()
        .map(|digit| char::from(SAFE_LETTERS[usize::from(digit) % SAFE_LETTERS.len()]))
        .collect()
}

/// The template as JSON without the hash label, nulls and empty lists. Keys are sorted.
fn canonical(template: &PodTemplateSpec) -> Value {
    let mut value = serde_json::to_value(template).unwrap_or_default();
    if let Some(labels) = value
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove(HASH_LABEL);
    }
    prune(&mut value);
    value
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|_, field| {
                !field.is_null() && field.as_array().is_none_or(|list| !list.is_empty())
            });
            // Whether the map type keeps insertion order is a feature any crate can switch on.
            let sorted: std::collections::BTreeMap<String, Value> =
                std::mem::take(fields).into_iter().collect();
            fields.extend(sorted);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// FNV-1a, 32 bits.
struct Fnv32(u32);

impl Fnv32 {
    const fn new() -> Self {
        Self(0x811c_9dc5)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(value: Value) -> PodTemplateSpec {
        serde_json::from_value(value).expect("a valid template")
    }

    #[test]
    fn fnv_gives_its_published_values() {
        let mut hash = Fnv32::new();
        assert_eq!(hash.0, 0x811c_9dc5);
        hash.write(b"foobar");
        assert_eq!(hash.0, 0xbf9c_f968);
    }

    #[test]
    fn the_hash_label_and_empty_lists_do_not_make_a_template_another() {
        let one = template(json!({"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]}}));
        let other = template(
            json!({"metadata": {"labels": {"app": "web", "pod-template-hash": "abc"}},
            "spec": {"containers": [{"name": "web", "image": "web:1", "env": []}], "volumes": []}}),
        );
        assert!(same_template(&one, &other));
        assert_eq!(template_hash(&one, None), template_hash(&other, None));
    }

    #[test]
    fn every_difference_and_every_collision_gives_another_hash() {
        let of = |image: &str| {
            template(json!({"spec": {"containers": [{"name": "web", "image": image}]}}))
        };
        assert!(!same_template(&of("web:1"), &of("web:2")));
        assert_ne!(
            template_hash(&of("web:1"), None),
            template_hash(&of("web:2"), None)
        );
        assert_ne!(
            template_hash(&of("web:1"), None),
            template_hash(&of("web:1"), Some(1))
        );
    }

    #[test]
    fn the_hash_never_changes_between_versions_of_this_program() {
        let known = template(json!({"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]}}));
        assert_eq!(template_hash(&known, None), "794686fc5b");
    }
}
