//! Pods and pod templates.

use std::collections::BTreeSet;

use serde_json::Value;

use super::container::{Role, Surroundings, containers};
use super::{Errors, add_all, labels, meta, one_of, pod_scheduling, volume};
use crate::error::{FieldError, FieldPath};
use crate::members::{has, integer, is_true, items, text};
use crate::names;

/// Checks a new Pod.
pub(crate) fn create(pod: &Value) -> Vec<FieldError> {
    let mut errors = meta::validate(pod, true, names::dns1123_subdomain);
    spec(&mut errors, &pod["spec"], &FieldPath::new("spec"));
    errors
}

/// Checks a pod template.
pub(crate) fn template(errors: &mut Errors, template: &Value, path: &FieldPath) {
    meta::template(errors, template, path);
    spec(errors, &template["spec"], &path.child("spec"));
    if items(&template["spec"], "ephemeralContainers")
        .next()
        .is_some()
    {
        errors.push(FieldError::forbidden(
            path.child("spec").child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        ));
    }
}

/// Checks what a pod is to be.
pub(crate) fn spec(errors: &mut Errors, spec: &Value, path: &FieldPath) {
    let volumes = volume::volumes(errors, spec, path);
    let around = Surroundings {
        volumes,
        host_network: is_true(spec, "hostNetwork"),
        grace: integer(spec, "terminationGracePeriodSeconds"),
    };
    if items(spec, "containers").next().is_none() {
        errors.push(FieldError::required(path.child("containers"), ""));
    }
    let mut seen = BTreeSet::new();
    for (list, role) in [
        ("containers", Role::Main),
        ("initContainers", Role::Init),
        ("ephemeralContainers", Role::Ephemeral),
    ] {
        containers(errors, spec, list, role, &around, &mut seen, path);
    }
    one_of(
        errors,
        text(spec, "restartPolicy"),
        &["Always", "OnFailure", "Never"],
        &path.child("restartPolicy"),
    );
    dns(errors, spec, path);
    host_names(errors, spec, path);
    references(errors, spec, path);
    security(errors, spec, path);
    pod_scheduling::validate(errors, spec, path);
    if let Some(seconds) = integer(spec, "activeDeadlineSeconds") {
        let faults = names::in_range(seconds, 1, i64::from(i32::MAX));
        add_all(
            errors,
            &path.child("activeDeadlineSeconds"),
            seconds,
            faults,
        );
    }
    let grace = integer(spec, "terminationGracePeriodSeconds");
    if let Some(seconds) = grace.filter(|seconds| *seconds < 0) {
        errors.push(FieldError::invalid(
            path.child("terminationGracePeriodSeconds"),
            seconds,
            super::NOT_NEGATIVE,
        ));
    }
}

fn dns(errors: &mut Errors, spec: &Value, path: &FieldPath) {
    let policy = text(spec, "dnsPolicy");
    one_of(
        errors,
        policy,
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        &path.child("dnsPolicy"),
    );
    let (config, path) = (&spec["dnsConfig"], path.child("dnsConfig"));
    if policy == "None" {
        if config.is_null() {
            errors.push(FieldError::required(
                &path,
                "must provide `dnsConfig` when `dnsPolicy` is None",
            ));
        } else if items(config, "nameservers").next().is_none() {
            errors.push(FieldError::required(
                path.child("nameservers"),
                "must provide at least one DNS nameserver when `dnsPolicy` is None",
            ));
        }
    }
    for (index, server) in items(config, "nameservers").enumerate() {
        let address = server.as_str().unwrap_or_default();
        let path = path.child("nameservers").index(index);
        add_all(errors, &path, address, names::ip_address(address));
    }
}

fn host_names(errors: &mut Errors, spec: &Value, path: &FieldPath) {
    for name in ["hostname", "subdomain"] {
        let label = text(spec, name);
        if !label.is_empty() {
            add_all(
                errors,
                &path.child(name),
                label,
                names::dns1123_label(label),
            );
        }
    }
    for (index, alias) in items(spec, "hostAliases").enumerate() {
        let path = path.child("hostAliases").index(index);
        let address = text(alias, "ip");
        add_all(
            errors,
            &path.child("ip"),
            address,
            names::ip_address(address),
        );
        for (index, name) in items(alias, "hostnames").enumerate() {
            let name = name.as_str().unwrap_or_default();
            let path = path.child("hostnames").index(index);
            add_all(errors, &path, name, names::dns1123_subdomain(name));
        }
    }
}

fn references(errors: &mut Errors, spec: &Value, path: &FieldPath) {
    for name in [
        "nodeName",
        "serviceAccountName",
        "priorityClassName",
        "runtimeClassName",
    ] {
        let value = text(spec, name);
        // An empty runtime class was written down; an empty account or node was left out.
        if value.is_empty() && !(name == "runtimeClassName" && has(spec, name)) {
            continue;
        }
        add_all(
            errors,
            &path.child(name),
            value,
            names::dns1123_subdomain(value),
        );
    }
    for (index, secret) in items(spec, "imagePullSecrets").enumerate() {
        if text(secret, "name").is_empty() {
            errors.push(FieldError::required(
                path.child("imagePullSecrets").index(index).child("name"),
                "",
            ));
        }
    }
    labels(errors, &spec["nodeSelector"], &path.child("nodeSelector"));
}

fn security(errors: &mut Errors, spec: &Value, path: &FieldPath) {
    let (context, path) = (&spec["securityContext"], path.child("securityContext"));
    for name in ["runAsUser", "runAsGroup", "fsGroup"] {
        if let Some(id) = integer(context, name) {
            let faults = names::in_range(id, 0, i64::from(i32::MAX));
            add_all(errors, &path.child(name), id, faults);
        }
    }
    for (index, group) in items(context, "supplementalGroups").enumerate() {
        let id = group.as_i64().unwrap_or(-1);
        let faults = names::in_range(id, 0, i64::from(i32::MAX));
        let path = path.child("supplementalGroups").index(index);
        add_all(errors, &path, id, faults);
    }
    if is_true(spec, "shareProcessNamespace") && is_true(spec, "hostPID") {
        errors.push(FieldError::invalid(
            path.child("shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults;
    use crate::validation::sentences;
    use serde_json::json;

    fn pod(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut pod = json!({"metadata": {"name": "p", "namespace": "d"},
            "spec": {"containers": [{"name": "c", "image": "a:1"}]}});
        change(&mut pod);
        defaults::pod::apply(&mut pod);
        sentences(&create(&pod))
    }

    /// The faults of a pod whose one container has `member`.
    fn container(name: &str, member: Value) -> Vec<String> {
        pod(|pod| pod["spec"]["containers"][0][name] = member)
    }

    #[test]
    fn a_rich_pod_passes() {
        let found = pod(|pod| {
            pod["spec"] = json!({
                "runtimeClassName": "host", "serviceAccountName": "default", "nodeSelector": {"a": "b"},
                "volumes": [{"name": "data"}, {"name": "cfg", "configMap": {"name": "cm", "items": [{"key": "a", "path": "b/c"}]}},
                    {"name": "down", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}],
                "initContainers": [{"name": "init", "image": "i:1"}, {"name": "side", "image": "s:1", "restartPolicy": "Always",
                    "readinessProbe": {"tcpSocket": {"port": 80}}}],
                "containers": [{"name": "c", "image": "a:1",
                    "ports": [{"name": "http", "containerPort": 80}, {"containerPort": 81, "protocol": "UDP"}],
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                        {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                        {"name": "D", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}],
                    "envFrom": [{"configMapRef": {"name": "cm"}}],
                    "volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": "x"}, {"name": "cfg", "mountPath": "/cfg"}],
                    "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                }],
            });
        });
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_pod_needs_containers_with_names_and_images() {
        assert_eq!(
            pod(|pod| pod["spec"] = json!({})),
            ["spec.containers: Required value"]
        );
        assert_eq!(
            pod(|pod| pod["spec"]["containers"] = json!([{}])),
            [
                "spec.containers[0].name: Required value",
                "spec.containers[0].image: Required value"
            ]
        );
        assert_eq!(
            pod(|pod| pod["spec"]["initContainers"] = json!([{"name": "c", "image": "x:1"}])),
            ["spec.initContainers[0].name: Duplicate value: \"c\""]
        );
    }

    #[test]
    fn faults_of_ports_are_named() {
        assert_eq!(
            container(
                "ports",
                json!([{"containerPort": 0}, {"containerPort": 70_000, "protocol": "tcp"},
                    {"name": "a", "containerPort": 1}, {"name": "a", "containerPort": 2}])
            ),
            [
                "spec.containers[0].ports[0].containerPort: Required value",
                "spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
                "spec.containers[0].ports[1].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
                "spec.containers[0].ports[3].name: Duplicate value: \"a\"",
            ]
        );
        assert_eq!(
            container(
                "ports",
                json!([{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 80}])
            ),
            ["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//80\""]
        );
    }

    #[test]
    fn faults_of_the_environment_are_named() {
        assert_eq!(
            container("env", json!([{"value": "x"}, {"name": "a=b"}])),
            [
                "spec.containers[0].env[0].name: Required value",
                "spec.containers[0].env[1].name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII characters other than '='",
            ]
        );
        assert_eq!(
            container("env", json!([{"name": "a", "valueFrom": {}}])),
            [
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
            ]
        );
        assert_eq!(
            container(
                "env",
                json!([{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeNam"}}}])
            ),
            [
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.nodeNam\": error converting fieldPath: field label not supported: spec.nodeNam"
            ]
        );
        assert_eq!(
            container("envFrom", json!([{}])),
            [
                "spec.containers[0].envFrom[0]: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"
            ]
        );
    }

    #[test]
    fn a_mount_needs_its_volume_and_a_place_of_its_own() {
        assert_eq!(
            container(
                "volumeMounts",
                json!([{"name": "x", "mountPath": "/a"}, {"name": "x", "mountPath": "/a", "subPath": "../b"}])
            ),
            [
                "spec.containers[0].volumeMounts[0].name: Not found: \"x\"",
                "spec.containers[0].volumeMounts[1].name: Not found: \"x\"",
                "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique",
                "spec.containers[0].volumeMounts[1].subPath: Invalid value: \"../b\": must not contain '..'",
            ]
        );
    }

    #[test]
    fn faults_of_volumes_are_named() {
        assert_eq!(
            pod(|pod| pod["spec"]["volumes"] = json!([
                {"name": "a", "secret": {}, "emptyDir": {}}, {"name": "a", "hostPath": {"path": ""}}, {"name": "A_"},
                {"name": "m", "configMap": {"name": "c", "defaultMode": 4096}}])),
            [
                "spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type",
                "spec.volumes[1].name: Duplicate value: \"a\"",
                "spec.volumes[1].hostPath.path: Required value",
                "spec.volumes[2].name: Invalid value: \"A_\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                "spec.volumes[3].configMap.defaultMode: Invalid value: 4096: must be a number between 0 and 0777 (octal), both inclusive",
            ]
        );
    }

    #[test]
    fn an_init_container_that_ends_has_no_probes() {
        assert_eq!(
            pod(
                |pod| pod["spec"]["initContainers"] = json!([{"name": "i", "image": "a:1", "livenessProbe": {"exec": {"command": ["a"]}}}])
            ),
            [
                "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"
            ]
        );
    }

    #[test]
    fn policies_are_from_a_fixed_set() {
        assert_eq!(
            pod(|pod| {
                pod["spec"]["restartPolicy"] = json!("Sometimes");
                pod["spec"]["dnsPolicy"] = json!("Mine");
            }),
            [
                "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
                "spec.dnsPolicy: Unsupported value: \"Mine\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\"",
            ]
        );
    }
}
