use super::*;
use serde_json::{Value, json};

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("a valid object")
}

fn sources() -> Sources {
    let settings: ConfigMap = read(json!({
        "metadata": {"name": "settings"}, "data": {"MODE": "fast", "LEVEL": "3"}
    }));
    let keys: Secret = read(json!({
        "metadata": {"name": "keys"}, "data": {"TOKEN": "czNjcmV0"}
    }));
    let web: Service = read(json!({
        "metadata": {"name": "my-web", "namespace": "shop"},
        "spec": {"clusterIP": "10.96.0.7", "ports": [
            {"name": "http", "port": 80}, {"name": "dns-u", "port": 53, "protocol": "UDP"}]}
    }));
    let headless: Service = read(json!({
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"clusterIP": "None", "ports": [{"port": 5432}]}
    }));
    let elsewhere: Service = read(json!({
        "metadata": {"name": "other", "namespace": "else"},
        "spec": {"clusterIP": "10.96.0.8", "ports": [{"port": 1}]}
    }));
    let master: Service = read(json!({
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443}]}
    }));
    Sources {
        config_maps: [("settings".to_owned(), Arc::new(settings))].into(),
        secrets: [("keys".to_owned(), Arc::new(keys))].into(),
        services: [web, headless, elsewhere, master].map(Arc::new).into(),
    }
}

fn pod(container: &Value, links: bool) -> Pod {
    read(json!({
        "metadata": {"name": "web-1", "namespace": "shop", "uid": "u-1",
            "labels": {"app": "web"}, "annotations": {"note": "a \"b\""}},
        "spec": {"nodeName": "n1", "serviceAccountName": "default",
            "enableServiceLinks": links, "containers": [container]}
    }))
}

fn facts() -> Facts {
    Facts {
        pod_ip: Some("10.244.0.9".parse().expect("an address")),
        host_ip: Some("192.0.2.4".parse().expect("an address")),
        allocatable_cpu_millis: 2000,
        allocatable_memory_bytes: 1 << 30,
        allocatable_storage_bytes: 1 << 33,
    }
}

fn env_of(container: &Value, links: bool) -> Result<BTreeMap<String, String>, ConfigError> {
    let pod = pod(container, links);
    let container = &pod.spec.as_ref().expect("a spec").containers[0];
    let env = container_env(&pod, container, &sources(), &facts())?;
    Ok(env.into_iter().collect())
}

#[test]
fn every_kind_of_source_gives_its_value() {
    let container = json!({"name": "c",
    "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "250m"}},
    "envFrom": [{"configMapRef": {"name": "settings"}}, {"prefix": "S_", "secretRef": {"name": "keys"}},
        {"configMapRef": {"name": "none", "optional": true}}],
    "env": [
        {"name": "LEVEL", "value": "4"},
        {"name": "SEEN", "value": "$(MODE)-$(LEVEL)-$(MY_WEB_SERVICE_PORT)-$(LATER)"},
        {"name": "LATER", "value": "x"},
        {"name": "KEY", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "MODE"}}},
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "TOKEN"}}},
        {"name": "GONE", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "NO", "optional": true}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "NS", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        {"name": "UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "NOTE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['note']"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "SA", "valueFrom": {"fieldRef": {"fieldPath": "spec.serviceAccountName"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "requests.cpu", "divisor": "1m"}}},
        {"name": "CORES", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}}
    ]});
    let env = env_of(&container, true).expect("variables");
    let expected = [
        ("MODE", "fast"),
        ("LEVEL", "4"),
        ("S_TOKEN", "s3cret"),
        ("SEEN", "fast-4-80-$(LATER)"),
        ("KEY", "fast"),
        ("TOKEN", "s3cret"),
        ("POD", "web-1"),
        ("NS", "shop"),
        ("UID", "u-1"),
        ("APP", "web"),
        ("NOTE", "a \"b\""),
        ("NODE", "n1"),
        ("SA", "default"),
        ("IP", "10.244.0.9"),
        ("HOST", "192.0.2.4"),
        ("MEM", "64"),
        ("CPU", "250"),
        ("CORES", "2"),
        ("MY_WEB_SERVICE_HOST", "10.96.0.7"),
        ("MY_WEB_SERVICE_PORT_HTTP", "80"),
        ("MY_WEB_PORT", "tcp://10.96.0.7:80"),
        ("MY_WEB_PORT_53_UDP", "udp://10.96.0.7:53"),
        ("MY_WEB_PORT_53_UDP_ADDR", "10.96.0.7"),
        ("MY_WEB_SERVICE_PORT_DNS_U", "53"),
        ("KUBERNETES_SERVICE_HOST", "10.96.0.1"),
    ];
    for (name, value) in expected {
        assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
    }
    for name in ["GONE", "DB_SERVICE_HOST", "OTHER_SERVICE_HOST"] {
        assert!(!env.contains_key(name), "{name}");
    }
}

#[test]
fn without_links_only_the_api_server_is_told() {
    let env = env_of(&json!({"name": "c"}), false).expect("variables");
    assert!(env.contains_key("KUBERNETES_SERVICE_PORT_HTTPS"));
    assert!(!env.contains_key("MY_WEB_SERVICE_HOST"));
}

#[test]
fn what_is_missing_is_said_as_kubernetes_says_it() {
    let table = [
        (
            json!({"name": "c", "envFrom": [{"configMapRef": {"name": "nope"}}]}),
            "configmap \"nope\" not found",
        ),
        (
            json!({"name": "c", "envFrom": [{"secretRef": {"name": "nope"}}]}),
            "secret \"nope\" not found",
        ),
        (
            json!({"name": "c", "env": [{"name": "A",
                "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "NOPE"}}}]}),
            "couldn't find key NOPE in ConfigMap shop/settings",
        ),
        (
            json!({"name": "c", "env": [{"name": "A",
                "valueFrom": {"secretKeyRef": {"name": "keys", "key": "NOPE"}}}]}),
            "couldn't find key NOPE in Secret shop/keys",
        ),
        (
            json!({"name": "c", "env": [{"name": "A",
                "valueFrom": {"fieldRef": {"fieldPath": "spec.nope"}}}]}),
            "unsupported fieldPath: spec.nope",
        ),
    ];
    for (container, message) in table {
        let error = env_of(&container, true).expect_err("something is missing");
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_command_sees_the_environment() {
    let pod = pod(
        &json!({"name": "c", "command": ["run", "$(A)"], "args": ["--b=$(B)", "$$(A)"]}),
        true,
    );
    let container = &pod.spec.as_ref().expect("a spec").containers[0];
    let env = [("A".to_owned(), "1".to_owned())];
    assert_eq!(
        command_line(container, &env),
        ["run", "1", "--b=$(B)", "$(A)"]
    );
}
