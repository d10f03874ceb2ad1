//! Checking, pruning and normalizing bodies.

use serde_json::{Value, json};

use super::*;

fn deployment() -> Schema {
    Schema::builtin("io.k8s.api.apps.v1.Deployment").unwrap()
}

fn pod() -> Schema {
    Schema::builtin("io.k8s.api.core.v1.Pod").unwrap()
}

#[test]
fn every_registered_kind_has_a_schema() {
    for resource in crate::registry::Registry::builtin().iter() {
        for served in &resource.served {
            let schema = served
                .schema()
                .unwrap_or_else(|| panic!("{}", served.definition));
            assert_eq!(schema.shape(), Shape::Struct, "{}", served.definition);
            assert!(schema.field("metadata").is_some());
        }
    }
}

#[test]
fn unknown_fields_are_told_by_path() {
    let body = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "lables": {}},
        "spec": {"replica": 3, "template": {"spec": {"containers": [{"name": "c", "imagge": "x"}, {"ports": [{"port": 1}]}]}}}});
    assert_eq!(
        deployment().check(&body).unwrap(),
        [
            "metadata.lables",
            "spec.replica",
            "spec.template.spec.containers[0].imagge",
            "spec.template.spec.containers[1].ports[0].port",
        ]
    );
}

#[test]
fn wrong_types_are_told_as_kubernetes_decoder_tells_them() {
    let cases = [
        (
            json!({"spec": {"replicas": "3"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"replicas": 1.5}}),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": {}}}}}),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"name": 5}]}}}}),
            "json: cannot unmarshal number into Go struct field Container.spec.template.spec.containers.name of type string",
        ),
        (
            json!({"metadata": {"labels": {"a": true}}}),
            "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            json!({"metadata": {"creationTimestamp": "yesterday"}}),
            "parsing time \"yesterday\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"yesterday\" as \"2006\"",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"resources": {"limits": {"cpu": "1x"}}}]}}}}),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(deployment().check(&body).unwrap_err().to_string(), expected);
    }
}

#[test]
fn null_fits_everywhere() {
    let body = json!({"spec": {"replicas": null, "template": null}, "metadata": {"creationTimestamp": null}});
    assert_eq!(deployment().check(&body), Ok(Vec::new()));
}

#[test]
fn both_forms_of_a_port_fit() {
    for port in [json!(80), json!("http")] {
        let body =
            json!({"spec": {"containers": [{"livenessProbe": {"httpGet": {"port": port}}}]}});
        assert_eq!(pod().check(&body), Ok(Vec::new()));
    }
}

#[test]
fn secrets_hold_base64() {
    let secret = Schema::builtin("io.k8s.api.core.v1.Secret").unwrap();
    assert_eq!(
        secret.check(&json!({"data": {"a": "eA=="}})),
        Ok(Vec::new())
    );
    assert_eq!(
        secret
            .check(&json!({"data": {"a": "ab%c"}}))
            .unwrap_err()
            .to_string(),
        "illegal base64 data at input byte 2"
    );
}

#[test]
fn pruning_removes_what_is_unknown_and_nothing_else() {
    let mut body =
        json!({"spec": {"replica": 3, "replicas": null, "template": {"metadata": {"labels": {}}}}});
    deployment().prune(&mut body);
    assert_eq!(
        body,
        json!({"spec": {"replicas": null, "template": {"metadata": {"labels": {}}}}})
    );
}

#[test]
fn normal_form_is_what_a_round_trip_through_kubernetes_gives() {
    let mut body = json!({
        "metadata": {"creationTimestamp": null, "labels": {}, "annotations": {"a": null}, "managedFields": [{"time": "2026-01-01T02:00:00.5+01:00", "fieldsV1": {"f:x": {}}}]},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"securityContext": {}, "volumes": [{"name": "v", "emptyDir": {}}],
            "containers": [{"name": "c", "env": [], "resources": {"limits": {"cpu": 1, "memory": "1024Mi"}, "requests": {"cpu": "1000m"}}}]}}},
    });
    deployment().normalize(&mut body);
    assert_eq!(
        body,
        json!({
            "metadata": {"annotations": {"a": ""}, "managedFields": [{"time": "2026-01-01T01:00:00Z", "fieldsV1": {"f:x": {}}}]},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"spec": {"securityContext": {}, "volumes": [{"name": "v", "emptyDir": {}}],
                "containers": [{"name": "c", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1"}}}]}}},
        })
    );
}

#[test]
fn lists_know_how_they_merge() {
    let spec = pod().field("spec").unwrap();
    let containers = spec.field("containers").unwrap();
    let merge = containers.list_merge().unwrap();
    assert_eq!(merge.merge_key.as_deref(), Some("name"));
    assert!(merge.merges);
    assert_eq!(merge.list_type, ListType::Map);
    let ports = containers.items().unwrap().field("ports").unwrap();
    assert_eq!(ports.list_merge().unwrap().map_keys.len(), 2);
    assert!(
        !spec
            .field("tolerations")
            .unwrap()
            .list_merge()
            .unwrap()
            .merges
    );
    assert!(spec.field("volumes").unwrap().retain_keys());
    assert!(
        deployment()
            .field("spec")
            .unwrap()
            .field("strategy")
            .unwrap()
            .retain_keys()
    );
    let finalizers = pod()
        .field("metadata")
        .unwrap()
        .field("finalizers")
        .unwrap();
    assert_eq!(finalizers.list_merge().unwrap().merge_key, None);
    assert!(finalizers.list_merge().unwrap().merges);
}

#[test]
fn keys_that_occur_twice_are_found_wherever_they_are() {
    let text =
        br#"{"a": 1, "b": [{"c": 1, "d": {"e": 1, "e": 2, "e": 3}}, {"c": 1, "c": 2}], "a": 2}"#;
    let (value, duplicates) = decode_strict(text).unwrap();
    assert_eq!(
        value,
        json!({"a": 2, "b": [{"c": 1, "d": {"e": 3}}, {"c": 2}]})
    );
    assert_eq!(duplicates, ["b[0].d.e", "b[1].c", "a"]);
}

#[test]
fn what_is_no_json_is_refused() {
    for text in ["", "{", "{} x", "[1,]", "nul", "\"\\x\""] {
        assert!(decode_strict(text.as_bytes()).is_err(), "{text}");
    }
    let deep = "[".repeat(10_000);
    assert!(decode_strict(deep.as_bytes()).is_err(), "nested too deeply");
}

#[test]
fn numbers_keep_their_kind() {
    let (value, _) = decode_strict(b"[1, -1, 1.5, 18446744073709551615, null, true]").unwrap();
    assert_eq!(
        value,
        json!([
            1,
            -1,
            1.5,
            18_446_744_073_709_551_615_u64,
            Value::Null,
            true
        ])
    );
}
