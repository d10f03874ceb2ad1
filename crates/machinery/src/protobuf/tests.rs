//! Decoding bodies that kubectl 1.37 sent, bodies made by hand, and bodies that are wrong.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Appends a field of bytes.
fn field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    let key = u32::from(number) << 3 | 2;
    if key >= 0x80 {
        message.push((key & 0x7f) as u8 | 0x80);
        message.push((key >> 7) as u8);
    } else {
        message.push(key as u8);
    }
    let mut length = bytes.len();
    while length >= 0x80 {
        message.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    message.push(length as u8);
    message.extend_from_slice(bytes);
}

fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, value) in fields {
        field(&mut bytes, *number, value);
    }
    bytes
}

fn body(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = message(&[(1, api_version.as_bytes()), (2, kind.as_bytes())]);
    let mut body = MAGIC.to_vec();
    body.extend(message(&[(1, &type_meta), (2, raw), (3, b""), (4, b"")]));
    body
}

fn refused(body: &[u8]) -> (u16, String) {
    let error = decode(body).unwrap_err();
    (error.code(), error.message().to_owned())
}

/// What kubectl 1.37 sent for the command, and what it stands for.
#[test]
fn bodies_of_kubectl_become_the_objects_they_stand_for() {
    let cases: &[(&str, &[u8], Value)] = &[
        (
            "create namespace x",
            include_bytes!("fixtures/namespace.bin"),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}, "spec": {}, "status": {}}),
        ),
        (
            "create configmap cm --from-literal=a=b --from-literal=c=",
            include_bytes!("fixtures/configmap.bin"),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}, "data": {"a": "b", "c": ""}}),
        ),
        (
            "create configmap cmb --from-file=bin.dat",
            include_bytes!("fixtures/configmap-binary.bin"),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cmb"}, "binaryData": {"bin.dat": "AP8B"}}),
        ),
        (
            "create secret generic s --from-literal=password=hunter2",
            include_bytes!("fixtures/secret.bin"),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"password": "aHVudGVyMg=="}}),
        ),
        (
            "create deployment web --image=nginx --replicas=0 --port=8080 -- sleep 60",
            include_bytes!("fixtures/deployment.bin"),
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "web", "labels": {"app": "web"}},
                "spec": {
                    "replicas": 0,
                    "selector": {"matchLabels": {"app": "web"}},
                    "strategy": {},
                    "template": {
                        "metadata": {"labels": {"app": "web"}},
                        "spec": {"containers": [{
                            "name": "nginx", "image": "nginx", "command": ["sleep", "60"],
                            "ports": [{"containerPort": 8080}], "resources": {},
                        }]},
                    },
                },
                "status": {},
            }),
        ),
        (
            "create service clusterip svc --tcp=80:8080",
            include_bytes!("fixtures/service.bin"),
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "svc", "labels": {"app": "svc"}},
                "spec": {
                    "type": "ClusterIP", "selector": {"app": "svc"},
                    "ports": [{"name": "80-8080", "port": 80, "protocol": "TCP", "targetPort": 8080}],
                },
                "status": {"loadBalancer": {}},
            }),
        ),
        (
            "create service nodeport svcn --tcp=80:http --node-port=30080",
            include_bytes!("fixtures/service-nodeport.bin"),
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "svcn", "labels": {"app": "svcn"}},
                "spec": {
                    "type": "NodePort", "selector": {"app": "svcn"},
                    "ports": [{"name": "80-http", "port": 80, "protocol": "TCP", "targetPort": "http", "nodePort": 30080}],
                },
                "status": {"loadBalancer": {}},
            }),
        ),
        (
            "create serviceaccount sa",
            include_bytes!("fixtures/serviceaccount.bin"),
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"}}),
        ),
        (
            "create poddisruptionbudget pdb --selector=app=web --min-available=50%",
            include_bytes!("fixtures/poddisruptionbudget.bin"),
            json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "pdb"},
                "spec": {"minAvailable": "50%", "selector": {"matchLabels": {"app": "web"}}},
                "status": {},
            }),
        ),
        (
            "autoscale deployment web --min=2 --max=10 --cpu=70%",
            include_bytes!("fixtures/horizontalpodautoscaler.bin"),
            json!({
                "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
                "spec": {
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                    "minReplicas": 2, "maxReplicas": 10,
                    "metrics": [{"type": "Resource", "resource": {
                        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70},
                    }}],
                },
                "status": {"desiredReplicas": 0},
            }),
        ),
        (
            "auth can-i create pods",
            include_bytes!("fixtures/selfsubjectaccessreview.bin"),
            json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {},
                "spec": {"resourceAttributes": {"namespace": "default", "resource": "pods", "verb": "create"}},
                "status": {"allowed": false},
            }),
        ),
        (
            "auth whoami",
            include_bytes!("fixtures/selfsubjectreview.bin"),
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}, "status": {"userInfo": {}}}),
        ),
        (
            "create token sa --duration=10m",
            include_bytes!("fixtures/tokenrequest.bin"),
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": {"expirationSeconds": 600}, "status": {}}),
        ),
        (
            "drain n --force",
            include_bytes!("fixtures/deleteoptions.bin"),
            json!({"apiVersion": "v1", "kind": "DeleteOptions"}),
        ),
    ];
    for (command, body, expected) in cases {
        assert_eq!(&decode(body).unwrap(), expected, "kubectl {command}");
    }
}

#[test]
fn a_pod_shows_every_sort_of_field() {
    let quantity = |text: &str| message(&[(1, text.as_bytes())]);
    let entry = |key: &str, value: &[u8]| message(&[(1, key.as_bytes()), (2, value)]);
    let optional_false = [0x18, 0];
    let key_reference = {
        let mut bytes = message(&[(1, &message(&[(1, b"config")])), (2, b"key")]);
        bytes.extend(optional_false);
        bytes
    };
    let variable = message(&[
        (1, b"FROM"),
        (2, b""),
        (3, &message(&[(3, &key_reference)])),
    ]);
    // port: a string; scheme: empty.
    let port = [&[0x08, 1, 0x10, 0, 0x1a, 4][..], b"http"].concat();
    let http_get = message(&[(1, b"/health"), (2, &port), (3, b""), (4, b"")]);
    let probe = [
        &message(&[(1, &message(&[(2, &http_get)]))])[..],
        // initialDelaySeconds 0, timeoutSeconds 2, terminationGracePeriodSeconds 0.
        &[0x10, 0, 0x18, 2, 0x38, 0],
    ]
    .concat();
    let security = [0x20, 0, 0x28, 0, 0x38, 0];
    let resources = message(&[
        (1, &entry("cpu", &quantity("250m"))),
        (2, &entry("memory", &quantity("1Gi"))),
        (2, &entry("cpu", b"")),
    ]);
    let container = [
        &message(&[
            (1, b"app"),
            (2, b""),
            (4, b"serve"),
            (4, b""),
            (7, &variable),
            (8, &resources),
            (10, &probe),
            (15, &security),
        ])[..],
        // stdin: false (field 16).
        &[0x80, 0x01, 0],
    ]
    .concat();
    let empty_dir = message(&[(1, b"scratch"), (2, &message(&[(2, b"")]))]);
    let spec = [
        &message(&[(1, &empty_dir), (2, &container), (3, b"Always")])[..],
        // terminationGracePeriodSeconds 0; hostNetwork false (11).
        &[0x20, 0, 0x58, 0],
    ]
    .concat();
    // creationTimestamp: 2026-01-02T03:04:05Z; deletionGracePeriodSeconds: -1.
    let seconds = [0x08, 0xa5, 0xeb, 0xdc, 0xca, 0x06, 0x10, 0];
    let minus_one = [
        0x50, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
    ];
    let owner = [
        &message(&[(1, b"ReplicaSet"), (3, b"web"), (4, b"u"), (5, b"apps/v1")])[..],
        &[0x30, 1, 0x38, 0],
    ]
    .concat();
    let metadata = [
        &message(&[
            (1, b"web"),
            (2, b""),
            (8, &seconds),
            (9, b""),
            (11, &entry("app", b"web")),
            (11, &entry("empty", b"")),
            (13, &owner),
        ])[..],
        &minus_one,
    ]
    .concat();
    let pod = message(&[(1, &metadata), (2, &spec), (3, b"")]);
    assert_eq!(
        decode(&body("v1", "Pod", &pod)).unwrap(),
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "web",
                "creationTimestamp": "2026-01-02T03:04:05Z",
                "deletionGracePeriodSeconds": -1,
                "labels": {"app": "web", "empty": ""},
                "ownerReferences": [{
                    "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u",
                    "controller": true, "blockOwnerDeletion": false,
                }],
            },
            "spec": {
                "volumes": [{"name": "scratch", "emptyDir": {}}],
                "restartPolicy": "Always",
                "terminationGracePeriodSeconds": 0,
                "containers": [{
                    "name": "app",
                    "args": ["serve", ""],
                    "env": [{"name": "FROM", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "key", "optional": false}}}],
                    "resources": {"limits": {"cpu": "250m"}, "requests": {"memory": "1Gi", "cpu": "0"}},
                    "livenessProbe": {
                        "httpGet": {"path": "/health", "port": "http"},
                        "timeoutSeconds": 2,
                        "terminationGracePeriodSeconds": 0,
                    },
                    "securityContext": {"runAsUser": 0, "runAsNonRoot": false, "allowPrivilegeEscalation": false},
                }],
            },
            "status": {},
        })
    );
}

#[test]
fn an_eviction_carries_its_delete_options() {
    let options = [0x08, 0];
    let eviction = message(&[(1, &message(&[(1, b"web")])), (2, &options)]);
    assert_eq!(
        decode(&body("policy/v1", "Eviction", &eviction)).unwrap(),
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}, "deleteOptions": {"gracePeriodSeconds": 0}})
    );
}

#[test]
fn delete_options_come_with_any_version() {
    let options = [
        &[0x08, 0, 0x18, 0][..],
        &message(&[(4, b"Foreground"), (5, b"All")]),
    ]
    .concat();
    assert_eq!(
        decode(&body("apps/v1", "DeleteOptions", &options)).unwrap(),
        json!({"apiVersion": "apps/v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "orphanDependents": false, "propagationPolicy": "Foreground", "dryRun": ["All"]})
    );
}

#[test]
fn leases_and_slices_keep_pointers_and_micro_times() {
    let renewed = [0x08, 0xa5, 0xeb, 0xdc, 0xca, 0x06, 0x10, 0xe8, 0x07];
    let lease = message(&[(
        2,
        &[&message(&[(1, b""), (4, &renewed)])[..], &[0x10, 15]].concat(),
    )]);
    assert_eq!(
        decode(&body("coordination.k8s.io/v1", "Lease", &lease)).unwrap()["spec"],
        json!({"holderIdentity": "", "leaseDurationSeconds": 15, "renewTime": "2026-01-02T03:04:05.000001Z"})
    );
    let port = [&message(&[(1, b"")])[..], &[0x18, 80]].concat();
    let endpoint = message(&[(1, b"10.0.0.1"), (2, &[0x08, 0])]);
    let slice = message(&[(2, &endpoint), (3, &port), (4, b"IPv4")]);
    assert_eq!(
        decode(&body("discovery.k8s.io/v1", "EndpointSlice", &slice)).unwrap(),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": false}}],
            "ports": [{"name": "", "port": 80}],
        })
    );
}

#[test]
fn a_users_extra_values_are_lists() {
    let extra = message(&[(1, b"scopes"), (2, &message(&[(1, b"a"), (1, b"b")]))]);
    let review = message(&[(2, &message(&[(3, b"jane"), (5, &extra)]))]);
    let decoded = decode(&body(
        "authorization.k8s.io/v1",
        "SubjectAccessReview",
        &review,
    ))
    .unwrap();
    assert_eq!(
        decoded["spec"],
        json!({"user": "jane", "extra": {"scopes": ["a", "b"]}})
    );
}

#[test]
fn json_may_stand_in_the_envelope() {
    let type_meta = message(&[(1, b"v1"), (2, b"ConfigMap")]);
    let mut body = MAGIC.to_vec();
    body.extend(message(&[
        (1, &type_meta),
        (2, br#"{"data":{"a":"b"}}"#),
        (4, b"application/json"),
    ]));
    assert_eq!(
        decode(&body).unwrap(),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}})
    );
}

#[test]
fn unknown_fields_are_skipped() {
    let raw = [
        &[0xf8, 0x3f, 1][..],
        &message(&[(2, &message(&[(1, b"a"), (2, b"b")])), (15, b"x")]),
    ]
    .concat();
    assert_eq!(
        decode(&body("v1", "ConfigMap", &raw)).unwrap(),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}})
    );
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    let prefix =
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
    for wrong in [&b""[..], b"k8s", b"{}", b"K8s\0"] {
        assert_eq!(refused(wrong), (400, prefix.to_owned()));
    }
    assert_eq!(
        refused(MAGIC),
        (
            400,
            "Object 'Kind' is missing in the protobuf body".to_owned()
        )
    );
    assert_eq!(
        refused(b"k8s\0\x0a\x7f").1,
        "unable to decode protobuf: unexpected EOF"
    );
    assert_eq!(refused(&body("v1", "PersistentVolume", b"")).0, 415);
    assert_eq!(refused(&body("apps/v1beta1", "Deployment", b"")).0, 415);

    let of_pod = "unable to decode protobuf of v1, Kind=Pod: ";
    let in_spec = |bytes: &[u8]| message(&[(2, bytes)]);
    let in_container = |bytes: &[u8]| in_spec(&message(&[(2, bytes)]));
    for (raw, error) in [
        (vec![0x12, 5, 0], "<nil>: unexpected EOF"),
        (vec![0x02, 0], "<nil>: illegal tag 0"),
        (vec![0x13], "<nil>: illegal wire type"),
        (vec![0x10, 0], "spec: illegal wire type"),
        (vec![0xff; 12], "<nil>: integer overflow"),
        (
            in_container(&message(&[(1, b"\xff")])),
            "spec.containers.name: string is not valid UTF-8",
        ),
        (
            in_container(&[0x08, 1]),
            "spec.containers.name: illegal wire type",
        ),
        (
            message(&[(
                1,
                &message(&[(8, &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])]),
            )]),
            "metadata.creationTimestamp: time is out of range",
        ),
        (
            message(&[(
                1,
                &message(&[(17, &message(&[(7, &message(&[(1, b"{")]))]))]),
            )]),
            "metadata.managedFields.fieldsV1: embedded JSON is not valid",
        ),
    ] {
        assert_eq!(
            refused(&body("v1", "Pod", &raw)),
            (400, format!("{of_pod}{error}"))
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = decode(&[MAGIC, &bytes].concat());
        let _ = decode(&body("v1", "Pod", &bytes));
        let _ = decode(&body("autoscaling/v2", "HorizontalPodAutoscaler", &bytes));
    }

    #[test]
    fn no_damaged_body_panics(place in 0_usize..230, byte: u8, length in 0_usize..=230) {
        let mut damaged = include_bytes!("fixtures/deployment.bin").to_vec();
        damaged[place] = byte;
        damaged.truncate(length);
        let _ = decode(&damaged);
    }
}
