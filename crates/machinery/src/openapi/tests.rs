//! What kubectl looks for in the documents.

use serde_json::Value;

use super::*;

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn document(group: &str, version: &str) -> Value {
    parsed(&v3(&Registry::builtin(), group, version).unwrap())
}

const DEPLOYMENT: &str = "io.k8s.api.apps.v1.Deployment";

#[test]
fn the_index_lists_every_group_version_with_a_hash() {
    let shown = parsed(&index(&Registry::builtin()));
    let paths = shown["paths"].as_object().unwrap();
    for root in [
        "api/v1",
        "apis/apps/v1",
        "apis/autoscaling/v1",
        "apis/autoscaling/v2",
        "apis/events.k8s.io/v1",
        "apis/policy/v1",
    ] {
        let url = paths[root]["serverRelativeURL"].as_str().unwrap();
        assert!(
            url.starts_with(&format!("/openapi/v3/{root}?hash=")),
            "{url}"
        );
    }
    assert_eq!(
        shown,
        parsed(&index(&Registry::builtin())),
        "hashes are stable"
    );
    assert!(v3(&Registry::builtin(), "nope", "v1").is_none());
}

#[test]
fn a_patch_tells_kubectl_that_the_server_validates_and_merges() {
    let apps = document("apps", "v1");
    let patch = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "version": "v1", "kind": "Deployment"})
    );
    assert_eq!(patch["x-kubernetes-action"], "patch");
    let names: Vec<&str> = patch["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["dryRun", "fieldManager", "fieldValidation", "force"]
    );
    let content = patch["requestBody"]["content"].as_object().unwrap();
    assert!(content.contains_key("application/strategic-merge-patch+json"));
}

#[test]
fn merge_keys_are_told_where_kubernetes_tells_them() {
    let apps = document("apps", "v1");
    let schemas = &apps["components"]["schemas"];
    let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
    assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
    let volumes = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["volumes"];
    assert_eq!(volumes["x-kubernetes-patch-strategy"], "merge,retainKeys");
    let strategy = &schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"];
    assert_eq!(strategy["x-kubernetes-patch-strategy"], "retainKeys");
    assert_eq!(
        schemas[DEPLOYMENT]["x-kubernetes-group-version-kind"],
        json!([{"group": "apps", "version": "v1", "kind": "Deployment"}])
    );
}

#[test]
fn every_reference_leads_somewhere_and_fields_are_described() {
    let registry = Registry::builtin();
    for (group, version) in registry.group_versions() {
        let document = document(&group, &version);
        let text = document.to_string();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(
                schemas.contains_key(name),
                "{name} is missing in {group}/{version}"
            );
        }
    }
    let apps = document("apps", "v1");
    let replicas = &apps["components"]["schemas"]["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]
        ["replicas"];
    assert!(
        replicas["description"]
            .as_str()
            .unwrap()
            .contains("desired pods")
    );
}

#[test]
fn a_quantity_is_explained_by_its_name() {
    // kubectl prints the name of what is referred to only where that has no type of its own.
    let apps = document("apps", "v1");
    let quantity = &apps["components"]["schemas"]["io.k8s.apimachinery.pkg.api.resource.Quantity"];
    assert!(quantity.get("type").is_none());
    assert_eq!(
        quantity["oneOf"],
        json!([{"type": "string"}, {"type": "number"}])
    );
}

#[test]
fn scale_is_of_its_own_kind() {
    let apps = document("apps", "v1");
    let scale = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"];
    assert_eq!(
        scale["put"]["x-kubernetes-group-version-kind"]["kind"],
        "Scale"
    );
}

#[test]
fn version_two_holds_everything_in_one_document() {
    let document = parsed(&v2(&Registry::builtin()));
    let definitions = document["definitions"].as_object().unwrap();
    assert!(definitions.contains_key(DEPLOYMENT));
    let text = document.to_string();
    for part in text.split("#/definitions/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(definitions.contains_key(name), "{name} is missing");
    }
    let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
    assert!(
        patch["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .any(|p| p["name"] == "fieldValidation")
    );
}

#[test]
fn the_protobuf_document_begins_with_its_version() {
    let bytes = v2_protobuf(&Registry::builtin());
    // Field 1, length 3.
    assert_eq!(&bytes[..5], b"\x0a\x032.0");
}
