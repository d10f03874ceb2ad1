//! Pods and pod templates.

use serde_json::{Value, json};

use crate::members::{ensure, entries, fill, fill_text, has, is_true, items_mut, member_mut, text};

/// Mode of files in ConfigMap, Secret and downward API volumes: 0644.
const FILE_MODE: i64 = 0o644;

/// Fills in a Pod.
pub(crate) fn apply(pod: &mut Value) {
    let spec = ensure(pod, "spec");
    pod_spec(spec);
    // Templates are left alone in this, so that a LimitRange can still say its own.
    for list in ["containers", "initContainers"] {
        for container in items_mut(spec, list) {
            if let Some(resources) = member_mut(container, "resources") {
                requests_from_limits(resources);
            }
        }
    }
}

/// Fills in a pod template.
pub(crate) fn template(template: &mut Value) {
    pod_spec(ensure(template, "spec"));
}

fn pod_spec(spec: &mut Value) {
    fill_text(spec, "restartPolicy", "Always");
    fill_text(spec, "dnsPolicy", "ClusterFirst");
    fill_text(spec, "schedulerName", "default-scheduler");
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill(spec, "securityContext", json!({}));
    if spec.get("enableServiceLinks").is_some_and(Value::is_null) {
        spec["enableServiceLinks"] = true.into();
    }
    fill(spec, "enableServiceLinks", true);
    service_account_names(spec);
    let host_network = is_true(spec, "hostNetwork");
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for entry in items_mut(spec, list) {
            container(entry, host_network && list != "ephemeralContainers");
        }
    }
    for entry in items_mut(spec, "volumes") {
        volume(entry);
    }
}

/// `serviceAccount` is the older name of `serviceAccountName`; both show the same.
fn service_account_names(spec: &mut Value) {
    let newer = text(spec, "serviceAccountName").to_owned();
    let older = text(spec, "serviceAccount").to_owned();
    let name = if newer.is_empty() { older } else { newer };
    if !name.is_empty() {
        spec["serviceAccountName"] = json!(name);
        spec["serviceAccount"] = json!(name);
    }
}

fn container(container: &mut Value, host_network: bool) {
    let policy = pull_policy(text(container, "image"));
    fill_text(container, "imagePullPolicy", policy);
    fill_text(container, "terminationMessagePath", "/dev/termination-log");
    fill_text(container, "terminationMessagePolicy", "File");
    fill(container, "resources", json!({}));
    for port in items_mut(container, "ports") {
        fill_text(port, "protocol", "TCP");
        if host_network
            && port["hostPort"].as_i64().is_none_or(|number| number == 0)
            && let Some(number) = port.get("containerPort").cloned()
        {
            port["hostPort"] = number;
        }
    }
    for env in items_mut(container, "env") {
        if let Some(source) = member_mut(env, "valueFrom") {
            field_reference(source);
            divisor(source);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(entry) = member_mut(container, name) {
            probe(entry);
        }
    }
    if let Some(lifecycle) = member_mut(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(get) =
                member_mut(lifecycle, name).and_then(|hook| member_mut(hook, "httpGet"))
            {
                http_get(get);
            }
        }
    }
}

/// `Always` for an image that may change under its tag, else `IfNotPresent`.
fn pull_policy(image: &str) -> &'static str {
    let last = image.rsplit('/').next().unwrap_or(image);
    let has_digest = last.contains('@');
    let name = last.split('@').next().unwrap_or(last);
    match name.split_once(':') {
        Some((_, "latest")) => "Always",
        None if !has_digest => "Always",
        _ => "IfNotPresent",
    }
}

fn probe(probe: &mut Value) {
    for (name, value) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        if probe[name] == 0 {
            probe[name] = Value::Null;
        }
        fill(probe, name, value);
    }
    if let Some(get) = member_mut(probe, "httpGet") {
        http_get(get);
    }
    if let Some(grpc) = member_mut(probe, "grpc") {
        fill(grpc, "service", "");
    }
}

fn http_get(get: &mut Value) {
    fill_text(get, "path", "/");
    fill_text(get, "scheme", "HTTP");
}

fn field_reference(source: &mut Value) {
    if let Some(field) = member_mut(source, "fieldRef") {
        fill_text(field, "apiVersion", "v1");
    }
}

/// A divisor is a plain struct in Kubernetes, so a missing one is written as "0".
fn divisor(source: &mut Value) {
    if let Some(field) = member_mut(source, "resourceFieldRef") {
        fill(field, "divisor", "0");
    }
}

fn volume(volume: &mut Value) {
    let has_source = volume.as_object().is_some_and(|members| {
        members
            .iter()
            .any(|(name, value)| name != "name" && !value.is_null())
    });
    if !has_source {
        fill(volume, "emptyDir", json!({}));
    }
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = member_mut(volume, name) {
            fill(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(path) = member_mut(volume, "hostPath") {
        fill(path, "type", "");
    }
    if let Some(downward) = member_mut(volume, "downwardAPI") {
        downward_files(downward);
    }
    if let Some(projected) = member_mut(volume, "projected") {
        for source in items_mut(projected, "sources") {
            if let Some(token) = member_mut(source, "serviceAccountToken") {
                fill(token, "expirationSeconds", 3600);
            }
            if let Some(downward) = member_mut(source, "downwardAPI") {
                downward_files(downward);
            }
        }
    }
    if let Some(template) =
        member_mut(volume, "ephemeral").and_then(|source| member_mut(source, "volumeClaimTemplate"))
    {
        fill(ensure(template, "spec"), "volumeMode", "Filesystem");
    }
    if let Some(image) = member_mut(volume, "image") {
        let policy = pull_policy(text(image, "reference"));
        fill_text(image, "pullPolicy", policy);
    }
}

fn downward_files(source: &mut Value) {
    for item in items_mut(source, "items") {
        field_reference(item);
        divisor(item);
    }
}

/// A limit without a request is a request of the same.
fn requests_from_limits(resources: &mut Value) {
    if !has(resources, "limits") {
        return;
    }
    let limits: Vec<(String, Value)> = entries(resources, "limits")
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect();
    if limits.is_empty() {
        return;
    }
    let requests = ensure(resources, "requests");
    for (name, value) in limits {
        fill(requests, &name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minimal_pod_gets_all_of_kubernetes_defaults() {
        let mut pod = json!({"spec": {"containers": [{
            "name": "c", "image": "web:1",
            "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}},
            "livenessProbe": {"httpGet": {"port": 80}},
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        }], "volumes": [{"name": "v"}, {"name": "s", "secret": {"secretName": "x"}}]}});
        apply(&mut pod);
        let expected = json!({"spec": {
            "containers": [{
                "name": "c", "image": "web:1", "imagePullPolicy": "IfNotPresent",
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "1Gi"}},
                "livenessProbe": {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                    "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}}}],
            }],
            "volumes": [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}}],
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30, "securityContext": {}, "enableServiceLinks": true,
        }});
        assert_eq!(pod, expected);
        apply(&mut pod);
        assert_eq!(pod, expected, "defaults applied twice are the same");
    }

    #[test]
    fn what_the_author_said_stays() {
        let mut pod = json!({"spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
            "enableServiceLinks": false, "containers": [{"image": "a", "imagePullPolicy": "Never"}]}});
        apply(&mut pod);
        assert_eq!(pod["spec"]["restartPolicy"], "Never");
        assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 0);
        assert_eq!(pod["spec"]["enableServiceLinks"], false);
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], "Never");
    }

    #[test]
    fn the_pull_policy_follows_the_tag() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.2", "IfNotPresent"),
            ("host:5000/nginx", "Always"),
            ("host:5000/nginx:1", "IfNotPresent"),
            ("nginx@sha256:abc", "IfNotPresent"),
            ("", "Always"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn a_template_keeps_its_requests_as_written() {
        let mut written =
            json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "1"}}}]}});
        template(&mut written);
        assert!(
            written["spec"]["containers"][0]["resources"]
                .get("requests")
                .is_none()
        );
    }

    #[test]
    fn both_names_of_the_service_account_show_the_same() {
        let mut pod = json!({"spec": {"serviceAccount": "x"}});
        apply(&mut pod);
        assert_eq!(pod["spec"]["serviceAccountName"], "x");
    }

    #[test]
    fn on_the_hosts_network_a_port_is_a_host_port() {
        let mut pod = json!({"spec": {"hostNetwork": true, "containers": [{"ports": [{"containerPort": 80}]}]}});
        apply(&mut pod);
        assert_eq!(pod["spec"]["containers"][0]["ports"][0]["hostPort"], 80);
    }
}
