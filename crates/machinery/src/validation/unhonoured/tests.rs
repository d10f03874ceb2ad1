use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::*;
use crate::schema::definitions;

/// Fields of a pod's spec that are honoured, or whose value another field's warning speaks of,
/// with all below them.
const OF_PODS: &[&str] = &[
    "activeDeadlineSeconds",
    "affinity.nodeAffinity",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostAliases",
    "hostNetwork",
    "hostname",
    "hostnameOverride",
    "nodeName",
    "nodeSelector",
    "overhead",
    "preemptionPolicy",
    "priority",
    "readinessGates",
    "resources",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "securityContext.appArmorProfile",
    "securityContext.fsGroup",
    // Only files that the kubelet made are given to the group, which is done at once.
    "securityContext.fsGroupChangePolicy",
    "securityContext.runAsGroup",
    "securityContext.runAsNonRoot",
    "securityContext.runAsUser",
    "securityContext.seccompProfile",
    "securityContext.supplementalGroups",
    // The host class has no image whose groups could be merged.
    "securityContext.supplementalGroupsPolicy",
    "serviceAccount",
    "serviceAccountName",
    "subdomain",
    "terminationGracePeriodSeconds",
    "tolerations",
    "volumes[].configMap",
    "volumes[].downwardAPI",
    "volumes[].hostPath",
    "volumes[].name",
    "volumes[].projected.defaultMode",
    "volumes[].projected.sources[].configMap",
    "volumes[].projected.sources[].downwardAPI",
    "volumes[].projected.sources[].secret",
    "volumes[].secret",
];

const OF_CONTAINERS: &[&str] = &[
    "args",
    "command",
    "env[].name",
    "env[].value",
    "env[].valueFrom.configMapKeyRef",
    "env[].valueFrom.fieldRef",
    "env[].valueFrom.resourceFieldRef",
    "env[].valueFrom.secretKeyRef",
    "envFrom",
    // The host class runs the host's programs; without a class the pod says ErrImagePull.
    "image",
    "imagePullPolicy",
    "lifecycle.postStart.exec",
    "lifecycle.postStart.httpGet",
    "lifecycle.postStart.sleep",
    "lifecycle.preStop.exec",
    "lifecycle.preStop.httpGet",
    "lifecycle.preStop.sleep",
    "lifecycle.stopSignal",
    "name",
    "ports[].containerPort",
    "ports[].hostIP",
    "ports[].name",
    "ports[].protocol",
    "resizePolicy[].resourceName",
    "resources.limits",
    "resources.requests",
    "restartPolicy",
    "securityContext.appArmorProfile",
    "securityContext.capabilities",
    "securityContext.readOnlyRootFilesystem",
    "securityContext.runAsGroup",
    "securityContext.runAsNonRoot",
    "securityContext.runAsUser",
    "securityContext.seccompProfile",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "volumeMounts[].mountPath",
    "volumeMounts[].name",
    "volumeMounts[].readOnly",
    // A read-only mount is so with all that is mounted below.
    "volumeMounts[].recursiveReadOnly",
    "volumeMounts[].subPath",
    "volumeMounts[].subPathExpr",
    "workingDir",
];

const OF_PROBES: &[&str] = &[
    "exec",
    "failureThreshold",
    "httpGet",
    "initialDelaySeconds",
    "periodSeconds",
    "successThreshold",
    "tcpSocket",
    "terminationGracePeriodSeconds",
    "timeoutSeconds",
];

const OF_SERVICES: &[&str] = &[
    "allocateLoadBalancerNodePorts",
    "clusterIP",
    "clusterIPs",
    "externalName",
    // All endpoints are on the one node.
    "internalTrafficPolicy",
    "ipFamilies",
    "ports[].appProtocol",
    "ports[].name",
    "ports[].nodePort",
    "ports[].port",
    "ports[].targetPort",
    "publishNotReadyAddresses",
    "selector",
    "sessionAffinity",
    // All endpoints are in the one zone.
    "trafficDistribution",
    "type",
];

/// Specs of other kinds, with their fields that are honoured.
const OF_OTHERS: &[(&str, &[&str])] = &[
    (
        "apps.v1.DeploymentSpec",
        &[
            "minReadySeconds",
            "paused",
            "progressDeadlineSeconds",
            "replicas",
            "revisionHistoryLimit",
            "selector",
            "strategy",
            "template",
        ],
    ),
    (
        "apps.v1.ReplicaSetSpec",
        &["minReadySeconds", "replicas", "selector", "template"],
    ),
    (
        "autoscaling.v2.HorizontalPodAutoscalerSpec",
        &[
            "behavior.scaleDown.policies",
            "behavior.scaleDown.selectPolicy",
            "behavior.scaleDown.stabilizationWindowSeconds",
            "behavior.scaleDown.tolerance",
            "behavior.scaleUp.policies",
            "behavior.scaleUp.selectPolicy",
            "behavior.scaleUp.stabilizationWindowSeconds",
            "behavior.scaleUp.tolerance",
            "maxReplicas",
            // Where there is no API for a metric, a condition says so.
            "metrics",
            "minReplicas",
            "scaleTargetRef",
        ],
    ),
    (
        "core.v1.NodeSpec",
        &[
            // These say what is, and ask for nothing.
            "configSource",
            "externalID",
            "podCIDR",
            "podCIDRs",
            "providerID",
            "taints",
            "unschedulable",
        ],
    ),
    (
        "node.v1.RuntimeClass",
        &[
            "apiVersion",
            "handler",
            "kind",
            "metadata",
            "overhead",
            "scheduling",
        ],
    ),
    (
        "policy.v1.PodDisruptionBudgetSpec",
        &[
            "maxUnavailable",
            "minAvailable",
            "selector",
            "unhealthyPodEvictionPolicy",
        ],
    ),
];

const OF_MONITORS: &[&str] = &[
    "bodySizeLimit",
    "endpoints",
    "fallbackScrapeProtocol",
    "jobLabel",
    "keepDroppedTargets",
    "labelLimit",
    "labelNameLengthLimit",
    "labelValueLengthLimit",
    "namespaceSelector",
    "podMetricsEndpoints",
    "podTargetLabels",
    "sampleLimit",
    // Classic histograms are always scraped.
    "scrapeClassicHistograms",
    "scrapeProtocols",
    "selector",
    // Both ways select the same.
    "selectorMechanism",
    "serviceDiscoveryRole",
    "targetLabels",
    "targetLimit",
];

const OF_ENDPOINTS: &[&str] = &[
    "authorization",
    "basicAuth",
    "bearerTokenSecret",
    // Every server that speaks HTTP/2 speaks HTTP/1.1, too.
    "enableHttp2",
    "filterRunning",
    "followRedirects",
    "honorLabels",
    "honorTimestamps",
    "interval",
    "metricRelabelings",
    "params",
    "path",
    "port",
    "portNumber",
    "relabelings",
    "scheme",
    "scrapeTimeout",
    "targetPort",
    "tlsConfig.ca",
    "tlsConfig.cert",
    "tlsConfig.insecureSkipVerify",
    "tlsConfig.keySecret",
    "tlsConfig.maxVersion",
    "tlsConfig.minVersion",
    "tlsConfig.serverName",
    "trackTimestampsStaleness",
];

/// The paths of all fields below a definition that none of `known` is at or above.
fn unknown(definition: &str, known: &BTreeSet<String>) -> Vec<String> {
    let definitions = definitions::generate();
    let mut unknown = Vec::new();
    let root = &definitions[definition];
    walk(root, "", &definitions, known, &mut unknown);
    unknown
}

fn walk(
    schema: &Value,
    path: &str,
    definitions: &Map<String, Value>,
    known: &BTreeSet<String>,
    unknown: &mut Vec<String>,
) {
    if known.contains(path) {
        return;
    }
    let schema = resolved(schema, definitions);
    let is_above = known.iter().any(|field| {
        let below = field.strip_prefix(path);
        below.is_some_and(|rest| path.is_empty() || rest.starts_with(['.', '[']))
    });
    if !is_above {
        unknown.push(path.to_owned());
        return;
    }
    if let Some(items) = schema.get("items") {
        walk(items, &format!("{path}[]"), definitions, known, unknown);
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{dot}{name}");
        walk(field, &path, definitions, known, unknown);
    }
}

fn resolved<'a>(schema: &'a Value, definitions: &'a Map<String, Value>) -> &'a Value {
    let mut candidates = vec![schema];
    for list in ["allOf", "anyOf", "oneOf"] {
        candidates.extend(schema[list].as_array().into_iter().flatten());
    }
    let reference = candidates
        .iter()
        .find_map(|candidate| candidate["$ref"].as_str());
    match reference.and_then(|text| text.rsplit('/').next()) {
        Some(name) => resolved(&definitions[name], definitions),
        None => schema,
    }
}

fn known(honoured: &[&str], tables: &[&[Gap]]) -> BTreeSet<String> {
    let gaps = tables.iter().flat_map(|gaps| gaps.iter());
    let gaps = gaps.map(|gap| gap.field.to_owned());
    honoured
        .iter()
        .map(|field| (*field).to_owned())
        .chain(gaps)
        .collect()
}

#[test]
fn every_field_is_honoured_or_warned_about() {
    let mut of_pods = known(OF_PODS, &[pod::POD, pod::POD_ON_HOST]);
    of_pods.extend(["containers", "initContainers"].map(str::to_owned));
    of_pods.extend(pod::VOLUMES.map(|kind| format!("volumes[].{kind}")));
    let mut of_containers = known(OF_CONTAINERS, &[pod::CONTAINER, pod::CONTAINER_IN_MESH]);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        of_containers.extend(OF_PROBES.iter().map(|field| format!("{probe}.{field}")));
    }
    let of_services = known(OF_SERVICES, &[service::SERVICE, service::BALANCED]);
    let core = |kind: &str| format!("io.k8s.api.core.v1.{kind}");
    let none: [&str; 0] = [];
    assert_eq!(unknown(&core("PodSpec"), &of_pods), none);
    assert_eq!(unknown(&core("Container"), &of_containers), none);
    assert_eq!(unknown(&core("ServiceSpec"), &of_services), none);
    for (kind, honoured) in OF_OTHERS {
        let kind = format!("io.k8s.api.{kind}");
        assert_eq!(unknown(&kind, &known(honoured, &[])), none, "{kind}");
    }
    let of_monitors = known(OF_MONITORS, &[monitor::SPEC]);
    let of_endpoints = known(OF_ENDPOINTS, &[monitor::ENDPOINT]);
    for (kind, known) in [
        ("ServiceMonitorSpec", &of_monitors),
        ("PodMonitorSpec", &of_monitors),
        ("Endpoint", &of_endpoints),
        ("PodMetricsEndpoint", &of_endpoints),
    ] {
        let kind = format!("com.coreos.monitoring.v1.{kind}");
        assert_eq!(unknown(&kind, known), none, "{kind}");
    }
}

#[test]
fn every_gap_is_the_path_of_a_field() {
    let definitions = definitions::generate();
    let exists = |kind: &str, field: &str| {
        let mut place = &definitions[kind];
        for part in field.split('.') {
            let name = part.split('[').next().unwrap_or_default();
            place = resolved(place, &definitions)
                .get("properties")
                .and_then(|fields| fields.get(name))
                .unwrap_or_else(|| panic!("{kind} has no {field}"));
            if part.ends_with("[]") {
                place = &place["items"];
            }
        }
    };
    let tables = [
        ("io.k8s.api.core.v1.PodSpec", pod::POD),
        ("io.k8s.api.core.v1.PodSpec", pod::POD_ON_HOST),
        ("io.k8s.api.core.v1.Container", pod::CONTAINER),
        ("io.k8s.api.core.v1.Container", pod::CONTAINER_IN_MESH),
        ("io.k8s.api.core.v1.ServiceSpec", service::SERVICE),
        ("io.k8s.api.core.v1.ServiceSpec", service::BALANCED),
        ("com.coreos.monitoring.v1.PodMonitorSpec", monitor::SPEC),
        ("com.coreos.monitoring.v1.Endpoint", monitor::ENDPOINT),
    ];
    for (kind, gaps) in tables {
        for gap in gaps {
            exists(kind, gap.field);
        }
    }
    for volume in pod::VOLUMES {
        exists("io.k8s.api.core.v1.Volume", volume);
    }
}

/// The path of each warning about a pod's spec.
fn paths(spec: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    pod_spec(&mut warnings, spec, &FieldPath::new("spec"));
    let path = |warning: String| {
        let (path, instead) = warning.split_once(": ").expect("a path and a sentence");
        assert!(!instead.is_empty() && !instead.ends_with('.'), "{warning}");
        path.to_owned()
    };
    warnings.into_iter().map(path).collect()
}

#[test]
fn what_a_pod_asks_for_in_vain_is_named() {
    let in_container = |container: Value| json!({"containers": [container]});
    let table = [
        (
            json!({"shareProcessNamespace": false}),
            "spec.shareProcessNamespace",
        ),
        (
            json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": []}}}),
            "spec.affinity.podAntiAffinity",
        ),
        (
            json!({"topologySpreadConstraints": [{"maxSkew": 1}]}),
            "spec.topologySpreadConstraints",
        ),
        (
            json!({"priorityClassName": "system-node-critical"}),
            "spec.priorityClassName",
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}),
            "spec.securityContext.seccompProfile.type",
        ),
        (
            json!({"securityContext": {"sysctls": [{"name": "a", "value": "b"}]}}),
            "spec.securityContext.sysctls",
        ),
        (
            json!({"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "persistentVolumeClaim": {"claimName": "c"}}]}),
            "spec.volumes[1].persistentVolumeClaim",
        ),
        (
            json!({"volumes": [{"name": "a", "emptyDir": {"sizeLimit": "1Mi"}}]}),
            "spec.volumes[0].emptyDir.sizeLimit",
        ),
        (
            json!({"volumes": [{"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}),
            "spec.volumes[0].projected.sources[0].serviceAccountToken",
        ),
        (
            json!({"imagePullSecrets": [{"name": "a"}]}),
            "spec.imagePullSecrets[0]",
        ),
        (
            in_container(json!({"readinessProbe": {"grpc": {"port": 1, "service": ""}}})),
            "spec.containers[0].readinessProbe.grpc",
        ),
        (
            json!({"initContainers": [{}, {"securityContext": {"privileged": true}}]}),
            "spec.initContainers[1].securityContext.privileged",
        ),
        (
            in_container(json!({"securityContext": {"procMount": "Unmasked"}})),
            "spec.containers[0].securityContext.procMount",
        ),
        (
            in_container(
                json!({"securityContext": {"capabilities": {"add": ["NET_ADMIN", "all"]}}}),
            ),
            "spec.containers[0].securityContext.capabilities.add",
        ),
        (
            in_container(
                json!({"resources": {"limits": {"cpu": "1", "ephemeral-storage": "1Gi"}}}),
            ),
            "spec.containers[0].resources.limits[ephemeral-storage]",
        ),
        (
            in_container(json!({"resizePolicy": [
                {"resourceName": "cpu", "restartPolicy": "NotRequired"},
                {"resourceName": "memory", "restartPolicy": "RestartContainer"}]})),
            "spec.containers[0].resizePolicy[1].restartPolicy",
        ),
        (
            in_container(json!({"volumeMounts": [{"mountPropagation": "Bidirectional"}]})),
            "spec.containers[0].volumeMounts[0].mountPropagation",
        ),
        (
            in_container(json!({"ports": [{"containerPort": 80, "hostPort": 80}]})),
            "spec.containers[0].ports[0].hostPort",
        ),
        (
            json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"}),
            "spec.dnsPolicy",
        ),
        (in_container(json!({"tty": true})), "spec.containers[0].tty"),
    ];
    for (spec, path) in table {
        assert_eq!(paths(&spec), [path], "{spec}");
    }
}

#[test]
fn what_is_the_default_anyway_is_not_warned_about() {
    let table = [
        json!({"hostIPC": false, "hostUsers": false, "shareProcessNamespace": true, "setHostnameAsFQDN": false}),
        json!({"automountServiceAccountToken": false, "priority": 0, "preemptionPolicy": "PreemptLowerPriority"}),
        json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}, "sysctls": []}, "topologySpreadConstraints": null}),
        json!({"hostNetwork": true, "containers": [{"ports": [{"containerPort": 80, "hostPort": 80}]}]}),
        json!({"containers": [{"stdin": false, "securityContext": {"privileged": false, "procMount": "Default",
            "allowPrivilegeEscalation": false}, "volumeMounts": [{"mountPropagation": "None"}]}]}),
        json!({"volumes": [{"emptyDir": {"medium": "Memory"}}, {"hostPath": {"path": "/srv"}}]}),
    ];
    for spec in table {
        assert!(paths(&spec).is_empty(), "{spec}: {:?}", paths(&spec));
    }
}

#[test]
fn what_a_service_asks_for_in_vain_is_named() {
    let table = [
        (
            json!({"type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP"}]}),
            None,
        ),
        (
            json!({"ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}),
            Some("spec.ports[1].protocol: only TCP is balanced; nothing answers on this port"),
        ),
        (
            json!({"clusterIP": "None", "ports": [{"port": 53, "protocol": "UDP"}]}),
            None,
        ),
        (
            json!({"externalIPs": ["192.0.2.1"]}),
            Some("spec.externalIPs[0]: nothing listens on this address"),
        ),
        (
            json!({"loadBalancerSourceRanges": ["10.0.0.0/8"]}),
            Some("spec.loadBalancerSourceRanges: every client that reaches the address is let in"),
        ),
        (
            json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}}),
            None,
        ),
        (
            json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}),
            Some(
                "spec.sessionAffinityConfig.clientIP.timeoutSeconds: a client stays with its pod for as long as that is ready",
            ),
        ),
        (
            json!({"externalTrafficPolicy": "Cluster", "internalTrafficPolicy": "Local", "trafficDistribution": "PreferClose"}),
            None,
        ),
    ];
    for (spec, warning) in table {
        let warnings = service(&json!({"spec": spec}));
        assert_eq!(warnings, Vec::from_iter(warning), "{spec}");
    }
}

#[test]
fn other_kinds_say_what_they_ask_for_in_vain() {
    assert_eq!(
        node(&json!({"spec": {"taints": [{"effect": "NoSchedule"}, {"effect": "NoExecute"}]}})),
        [
            "spec.taints[1].effect: keeps new pods away as NoSchedule does; pods that run already are not evicted"
        ]
    );
    assert!(runtime_class(&json!({"handler": "host"})).is_empty());
    assert!(runtime_class(&json!({"handler": "runc"}))[0].starts_with("handler: "));
    assert!(endpoint_slice(&json!({"addressType": "IPv4"})).is_empty());
    assert!(endpoint_slice(&json!({"addressType": "FQDN"}))[0].starts_with("addressType: "));
    let account =
        json!({"imagePullSecrets": [{"name": "a"}], "automountServiceAccountToken": false});
    assert_eq!(service_account(&account).len(), 1);
}

#[test]
fn a_monitor_is_warned_about_by_the_path_of_each_field_that_is_not_honoured() {
    let monitor = json!({"spec": {
        "selector": {},
        "scrapeClass": "fast",
        "endpoints": [
            {"port": "http", "interval": "5s"},
            {"port": "https", "oauth2": {"clientId": {}}, "tlsConfig": {"caFile": "/ca.pem", "serverName": "web"}},
        ],
    }});
    let warnings = service_monitor(&monitor);
    assert_eq!(
        warnings
            .iter()
            .map(|warning| warning.split(": ").next().unwrap_or_default())
            .collect::<Vec<_>>(),
        [
            "spec.scrapeClass",
            "spec.endpoints[1].oauth2",
            "spec.endpoints[1].tlsConfig.caFile"
        ]
    );
    assert_eq!(
        pod_monitor(&json!({"spec": {"selector": {}}})),
        ["spec.podMetricsEndpoints: there is none, so nothing is scraped"]
    );
}
