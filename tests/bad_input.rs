//! What is wrong is refused with a sentence that says so; the platform goes on and loses nothing.

// Every test uses a part of it.
#[allow(dead_code, unreachable_pub, unused_imports)]
mod support;

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::os::unix::fs::FileExt;

use nix::sys::signal::Signal;

use support::{
    Cluster, Home, Kubectl, Tide, User, platform::free_node_port, run, wait::PATIENCE, web,
};

/// A manifest, what kubectl must answer, and with which options it is applied.
struct Refusal {
    what: &'static str,
    manifest: &'static str,
    options: &'static str,
    said: &'static [&'static str],
}

const fn refusal(
    what: &'static str,
    manifest: &'static str,
    said: &'static [&'static str],
) -> Refusal {
    Refusal {
        what,
        manifest,
        options: "",
        said,
    }
}

const REFUSALS: &[Refusal] = &[
    refusal(
        "malformed YAML",
        "kind: [unclosed",
        &["error parsing manifest.yaml", "yaml"],
    ),
    refusal("no kind", "metadata: {name: x}", &["kind"]),
    refusal(
        "an unknown kind",
        "{apiVersion: v1, kind: Sandcastle, metadata: {name: x}}",
        &["no matches for kind \"Sandcastle\" in version \"v1\""],
    ),
    refusal(
        "an unknown field",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, dato: {a: b}}",
        &[
            "(BadRequest)",
            "strict decoding error: unknown field \"dato\"",
        ],
    ),
    refusal(
        "an unknown field, deep",
        "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: [{name: a, image: b, portz: 1}]}}",
        &["(BadRequest)", "unknown field \"spec.containers[0].portz\""],
    ),
    refusal(
        "a number for a text",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}, data: {a: 1}}",
        &[
            "(BadRequest)",
            "cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ],
    ),
    refusal(
        "a text for a number",
        "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: [{port: eighty}]}}",
        &[
            "(BadRequest)",
            "cannot unmarshal string into Go struct field ServicePort.spec.ports.port of type int32",
        ],
    ),
    refusal(
        "an invalid quantity",
        "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: [{name: a, image: b, resources: {requests: {cpu: lots}}}]}}",
        &[
            "(BadRequest)",
            "quantities must match the regular expression",
        ],
    ),
    refusal(
        "more requested than allowed",
        "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: [{name: a, image: b, resources: {requests: {cpu: 2}, limits: {cpu: 1}}}]}}",
        &[
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ],
    ),
    refusal(
        "an invalid name",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: My_Settings}}",
        &[
            "The ConfigMap \"My_Settings\" is invalid: metadata.name: Invalid value: \"My_Settings\": a lowercase RFC 1123 subdomain must consist of",
        ],
    ),
    refusal(
        "no name",
        "{apiVersion: v1, kind: ConfigMap, metadata: {}}",
        &["name"],
    ),
    refusal(
        "an invalid label",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, labels: {a: '-b'}}}",
        &[
            "metadata.labels: Invalid value: \"-b\": a valid label must be an empty string or consist of alphanumeric characters",
        ],
    ),
    refusal(
        "a selector that does not match the template",
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: a, image: b}]}}}}",
        &[
            "spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`",
        ],
    ),
    refusal(
        "a selector without values",
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: x}, spec: {selector: {matchExpressions: [{key: a, operator: In}]}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: a, image: b}]}}}}",
        &[
            "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
        ],
    ),
    refusal(
        "no containers",
        "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: []}}",
        &["spec.containers: Required value"],
    ),
    refusal(
        "two containers of one name",
        "{apiVersion: v1, kind: Pod, metadata: {name: x}, spec: {containers: [{name: a, image: b}, {name: a, image: c}]}}",
        &["spec.containers[1].name: Duplicate value: \"a\""],
    ),
    refusal(
        "a port that is none",
        "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: [{port: 70000}]}}",
        &["spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive"],
    ),
    refusal(
        "a node port outside its range",
        "{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {type: NodePort, ports: [{port: 80, nodePort: 99}]}}",
        &[
            "spec.ports[0].nodePort: Invalid value: 99: provided port is not in the valid range. The range of valid ports is 30000-32767",
        ],
    ),
    refusal(
        "bounds the wrong way round",
        "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: x}, spec: {minReplicas: 5, maxReplicas: 2, scaleTargetRef: {kind: Deployment, name: a, apiVersion: apps/v1}}}",
        &["spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`"],
    ),
    refusal(
        "a namespace that is not there",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: nowhere}}",
        &["(NotFound)", "namespaces \"nowhere\" not found"],
    ),
    Refusal {
        what: "another namespace than the one asked for",
        manifest: "{apiVersion: v1, kind: ConfigMap, metadata: {name: x, namespace: default}}",
        options: "-n kube-system",
        said: &[
            "the namespace from the provided object \"default\" does not match the namespace \"kube-system\"",
        ],
    },
];

/// Commands that must fail with status 1, and what they say.
const REFUSED_COMMANDS: &[(&str, &[&str])] = &[
    (
        "kubectl get pods -l 'a in'",
        &["unable to parse requirement"],
    ),
    (
        "kubectl get pods --field-selector spec.colour=green",
        &["field label not supported: spec.colour"],
    ),
    ("kubectl scale deployment web --replicas=-1", &["replicas"]),
    (
        "kubectl patch deployment web -p '{\"spec\":{\"replicas\":\"two\"}}'",
        &["replicas"],
    ),
    (
        "kubectl patch deployment web --type=json -p '[{\"op\":\"remove\",\"path\":\"/spec/nothing\"}]'",
        &["nothing"],
    ),
    (
        "kubectl patch deployment web -p '{\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"x\"}}}}'",
        &["field is immutable"],
    ),
    (
        "kubectl patch service web -p '{\"spec\":{\"clusterIP\":\"10.96.0.77\"}}'",
        &["may not change once set"],
    ),
    ("kubectl delete namespace default", &["(Forbidden)"]),
    (
        "kubectl rollout undo deployment/web --to-revision=77",
        &["unable to find specified revision 77 in history"],
    ),
    (
        "kubectl logs no-such-pod",
        &["pods \"no-such-pod\" not found"],
    ),
    (
        "printf '{\"kind\": ' | kubectl create --raw /api/v1/namespaces/default/configmaps -f -",
        &["(BadRequest)"],
    ),
    (
        "printf 'k8s\\0\\377\\377' | kubectl create --raw /api/v1/namespaces/default/configmaps -f -",
        &["Error from server"],
    ),
    ("kubectl get --raw /no/such/path", &["(NotFound)"]),
    (
        "kubectl get --raw '/api/v1/pods?resourceVersionMatch=Exact'",
        &["resourceVersionMatch"],
    ),
    ("kubectl get --raw '/api/v1/pods?limit=many'", &["many"]),
    (
        "kubectl get --raw '/api/v1/pods?continue=nonsense'",
        &["continue"],
    ),
];

#[test]
fn what_is_wrong_is_refused_with_its_place_and_nothing_is_lost() {
    let Some(kubectl) = Kubectl::newest() else {
        return;
    };
    let mut cluster = Cluster::new(Home::new(User::Myself).up(&[]), &kubectl);
    cluster.ok("kubectl create configmap settings --from-literal=colour=green");
    cluster.apply(&web::manifest(1, free_node_port()));
    let mut wrong = Vec::new();
    let mut check = |what: &str, outcome: support::Outcome, said: &[&str]| {
        let all = format!("{}{}", outcome.out, outcome.err);
        let missing: Vec<_> = said.iter().filter(|text| !all.contains(**text)).collect();
        if outcome.status != Some(1) || !missing.is_empty() {
            wrong.push(format!(
                "{what}: status {:?}, said {all:?}, not said {missing:?}",
                outcome.status
            ));
        }
    };
    for refusal in REFUSALS {
        cluster.write("manifest.yaml", refusal.manifest);
        check(
            refusal.what,
            cluster.run(&format!(
                "kubectl create -f manifest.yaml {}",
                refusal.options
            )),
            refusal.said,
        );
    }
    for (command, said) in REFUSED_COMMANDS {
        check(command, cluster.run(command), said);
    }
    assert!(
        wrong.is_empty(),
        "{} of the refusals are not as they should be:\n{}",
        wrong.len(),
        wrong.join("\n")
    );

    // Unknown fields can be let through with a warning, and are dropped.
    cluster.write(
        "manifest.yaml",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: warned}, data: {a: b}, dato: {}}",
    );
    cluster.says(
        "kubectl create --validate=warn -f manifest.yaml",
        &[
            "Warning: unknown field \"dato\"",
            "configmap/warned created",
        ],
    );
    assert!(
        !cluster
            .ok("kubectl get configmap warned -o yaml")
            .contains("dato")
    );
    cluster.says("kubectl delete configmap warned", &["deleted"]);
    cluster.says(
        "kubectl create --validate=ignore -f manifest.yaml",
        &["created"],
    );

    cluster.says(
        "kubectl get configmap settings -o jsonpath='{.data.colour}'",
        &["green"],
    );
    cluster.comes_to_say("kubectl get deployment web", &["1/1"]);
    cluster.says("kubectl get configmap x --ignore-not-found", &[]);
    assert!(cluster.tide.is_alive());
    assert!(
        !cluster.tide.said().contains("panicked"),
        "{}",
        cluster.tide.said()
    );
}

#[test]
fn what_cannot_work_says_why_where_one_looks_for_it() {
    let Some(kubectl) = Kubectl::newest() else {
        return;
    };
    let mut cluster = Cluster::new(
        Home::new(User::Myself).up(&["--horizontal-pod-autoscaler-sync-period", "1s"]),
        &kubectl,
    );
    let (node_port, taken_port) = (free_node_port(), free_node_port());
    let taken = TcpListener::bind(("127.0.0.1", taken_port)).expect("it was free");
    cluster.apply(&format!(
        r"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: plain}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: plain}}}}
  template:
    metadata: {{labels: {{app: plain}}}}
    spec:
      runtimeClassName: host
      terminationGracePeriodSeconds: 1
      containers: [{{name: main, image: shell, command: [sleep, infinity]}}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: plain}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: plain}}
  maxReplicas: 4
  metrics: [{{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 50}}}}}}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: lost}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: nothing}}
  maxReplicas: 4
  metrics: [{{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 50}}}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: nobody}}
spec:
  type: NodePort
  selector: {{app: there-is-none}}
  ports: [{{name: http, port: 80, nodePort: {node_port}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: taken}}
spec:
  type: NodePort
  selector: {{app: plain}}
  ports: [{{name: http, port: 80, nodePort: {taken_port}}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: nameless}}
spec:
  runtimeClassName: host
  containers: [{{name: main, image: shell, command: [no-such-program]}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: imageless}}
spec:
  containers: [{{name: main, image: 'registry.example/none:1'}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: unconfigured}}
spec:
  runtimeClassName: host
  containers: [{{name: main, image: shell, command: [sleep, infinity], envFrom: [{{configMapRef: {{name: missing}}}}]}}]
"
    ));
    cluster.comes_to_say("kubectl get hpa plain", &["<unknown>/50%"]);
    cluster.comes_to_say(
        "kubectl describe hpa plain",
        &[
            "FailedGetResourceMetric",
            "missing request for cpu in container main of Pod plain-",
        ],
    );
    cluster.comes_to_say(
        "kubectl describe hpa lost",
        &["FailedGetScale", "deployments.apps \"nothing\" not found"],
    );
    cluster.comes_to_say("kubectl get endpoints nobody", &["<none>"]);
    cluster.comes_to_say(
        &format!("curl -s --max-time 5 http://127.0.0.1:{node_port}/"),
        &["service default/nobody has no ready endpoint"],
    );
    cluster.comes_to_say(
        "kubectl describe service taken",
        &["Warning", &format!("{taken_port} cannot be listened on")],
    );
    cluster.comes_to_say("kubectl get pod nameless", &["0/1"]);
    cluster.comes_to_say(
        "kubectl describe pod nameless",
        &[
            "exec: \"no-such-program\": executable file not found in $PATH",
            "Failed",
        ],
    );
    cluster.comes_to_say("kubectl get pod imageless", &["ImagePull"]);
    cluster.comes_to_say(
        "kubectl describe pod imageless",
        &["Failed", "registry.example/none:1", "runtimeClassName"],
    );
    cluster.comes_to_say(
        "kubectl get pod unconfigured",
        &["CreateContainerConfigError"],
    );
    cluster.comes_to_say(
        "kubectl describe pod unconfigured",
        &["configmap \"missing\" not found"],
    );
    // What was missing comes: the pod starts.
    cluster.ok("kubectl create configmap missing --from-literal=A=b");
    cluster.comes_to_say("kubectl get pod unconfigured", &["1/1"]);
    drop(taken);
    assert!(cluster.tide.is_alive());
    assert!(
        !cluster.tide.said().contains("panicked"),
        "{}",
        cluster.tide.said()
    );
}

#[test]
fn a_port_in_use_is_named_and_ends_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    for user in [User::Myself, User::Nobody] {
        if user.is_possible() {
            let home = Home::new(user);
            let start = ["up", "--api-listen", &address];
            let detached = home.command(&[&start[..], &["--detach"]].concat());
            for outcome in [refused(home.try_up(&start[1..])), detached] {
                // EX_CONFIG: a service manager need not try again.
                assert_eq!(outcome.status, Some(78), "{outcome:#?}");
                outcome.expect_said(&[
                    &format!("the API cannot listen on {address}"),
                    "in use",
                    "--api-listen",
                ]);
                assert_eq!(outcome.err.matches(&address).count(), 1, "{outcome:#?}");
                assert!(!outcome.err.contains("panicked"), "{outcome:#?}");
            }
        }
    }
}

#[test]
fn an_open_data_folder_and_a_log_level_that_is_none_are_told_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new(User::Myself);
    let data = home.data();
    std::fs::create_dir(&data).expect("the home can be written");
    std::fs::write(data.join("notes.txt"), "mine").expect("it can be written");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&data, open).expect("it can be opened");
    let arguments = ["up", "--data-dir", data.to_str().expect("a plain path")];
    let mut command = home.tide(&[&arguments[..], &["--api-listen", "127.0.0.1:0"]].concat());
    command.env("TIDE_LOG", "nonsense");
    let mut running = support::process::Running::start(command);
    support::eventually("it is ready", || {
        running.has_ended() || running.out().contains("ready in")
    });
    running.signal(Signal::SIGTERM);
    let outcome = running.wait(PATIENCE);
    assert_eq!(outcome.status, Some(0), "{outcome:#?}");
    outcome.expect_said(&[
        "other users of this machine can look into the data folder (its mode is 755)",
        "chmod 700",
        "TIDE_LOG names \"nonsense\", which is neither a level nor a part",
    ]);
}

#[test]
fn a_data_folder_of_a_newer_version_is_left_alone() {
    let home = Home::new(User::Myself);
    let outcome = home.up(&[]).stop_by(Signal::SIGTERM);
    assert_eq!(outcome.status, Some(0), "{outcome:#?}");
    // SQLite's header has the version that the program gave it at byte 60.
    let path = home.data().join("store.db");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .expect("the store is there");
    let mut version = [0; 4];
    file.read_exact_at(&mut version, 60)
        .expect("a SQLite database has a header");
    file.write_all_at(&77_u32.to_be_bytes(), 60)
        .expect("it can be written");
    let outcome = refused(home.try_up(&[]));
    assert!(
        outcome.status.is_some_and(|status| status != 0),
        "{outcome:#?}"
    );
    outcome.expect_said(&[
        "has version 77",
        "use the newer program, or another data folder",
    ]);
    // As it was, it can be used again.
    file.write_all_at(&version, 60).expect("it can be written");
    drop(file);
    drop(home.up(&[]));
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let home = Home::new(User::Myself);
    std::fs::write(home.path().join("file"), "").expect("the home can be written");
    let folder = home.path().join("file/data");
    let folder = folder.to_str().expect("a plain path");
    let outcome = run(
        home.tide(&["up", "--data-dir", folder, "--api-listen", "127.0.0.1:0"]),
        PATIENCE,
    );
    outcome.expect_failure(1, &[folder, "Not a directory"]);
}

#[test]
fn without_user_namespaces_the_start_says_how_to_allow_them() {
    let home = Home::new(User::Myself);
    let data = home.data();
    // In a user namespace of its own, the limit can be set without touching the machine's.
    let limited = [
        "unshare",
        "--user",
        "--map-root-user",
        "sh",
        "-c",
        "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$0\" \"$@\"",
    ];
    let probe = run(wrapped_true(&limited), PATIENCE);
    if probe.status != Some(0) {
        support::skip("the limit of user namespaces cannot be set here");
        return;
    }
    let arguments = [
        "up",
        "--data-dir",
        data.to_str().expect("a plain path"),
        "--api-listen",
        "127.0.0.1:0",
    ];
    let outcome = run(home.wrapped(&limited, &arguments), PATIENCE);
    assert!(
        outcome.status.is_some_and(|status| status != 0),
        "{outcome:#?}"
    );
    outcome.expect_said(&[
        "this host forbids user namespaces",
        "sysctl -w user.max_user_namespaces=",
    ]);
    assert!(!outcome.err.contains("panicked"), "{outcome:#?}");
}

fn wrapped_true(wrapper: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg("true");
    command
}

#[test]
fn commands_that_make_no_sense_are_refused_before_anything_starts() {
    let home = Home::new(User::Myself);
    let cases: &[(&[&str], i32, &[&str])] = &[
        (
            &["up", "--api-listen", "nowhere"],
            2,
            &["--api-listen", "nowhere"],
        ),
        (
            &["up", "--horizontal-pod-autoscaler-sync-period", "soon"],
            2,
            &["soon"],
        ),
        (
            &["up", "--tls-san", "https://tide.example"],
            2,
            &["write a host name or an IP address"],
        ),
        (
            &["kubeconfig", "--server", "tide.example:6443"],
            2,
            &["write a URL such as https://"],
        ),
        (&["sail"], 2, &["unrecognized subcommand 'sail'"]),
        (&["load", "ftp://127.0.0.1/"], 104, &["ftp"]),
        (
            &["load", "http://127.0.0.1:1/", "--duration", "long"],
            104,
            &["long"],
        ),
        (
            &["load", "http://127.0.0.1:1/", "--threshold", "speed=fast"],
            104,
            &["speed"],
        ),
        (
            &[
                "load",
                "http://127.0.0.1:1/",
                "--threshold",
                "http_req_response_time=p(95)<5",
            ],
            104,
            &["http_req_duration", "--rate"],
        ),
        (
            &["load", "127.0.0.1:1"],
            107,
            &["no file 127.0.0.1:1", "http://"],
        ),
        (
            &["sample", "nothing"],
            1,
            &["there is no sample \"nothing\""],
        ),
    ];
    for (arguments, status, said) in cases {
        run(home.tide(arguments), PATIENCE).expect_failure(*status, said);
    }
    home.command(&["kubeconfig"])
        .expect_failure(1, &["tide up"]);
    // What is wrong with a path is said once.
    std::fs::write(home.path().join("prometheus.yml"), "").expect("the home can be written");
    let outcome = run(
        home.tide(&["metrics", "--storage.tsdb.path", "prometheus.yml/data"]),
        PATIENCE,
    );
    assert_eq!(outcome.err.matches("(os error").count(), 1, "{outcome:#?}");
    outcome.expect_failure(
        1,
        &["tide: cannot create prometheus.yml/data: Not a directory"],
    );
    // A platform that was named is never another one.
    let data = home.data();
    let named = data.to_str().expect("a path of text");
    run(home.tide(&["query", "up", "--data-dir", named]), PATIENCE)
        .expect_failure(1, &["no platform runs on", named]);
    // A load that nobody answers ends with its failures counted, and with the threshold's status.
    let arguments = [
        "load",
        "http://127.0.0.1:1/",
        "--vus",
        "1",
        "--duration",
        "1s",
        "--threshold",
        "http_req_failed=rate<0.01",
    ];
    run(home.tide(&arguments), PATIENCE)
        .expect_failure(99, &["http_req_failed", "100.00%", "FAILED"]);
}

#[track_caller]
fn refused(start: Result<Tide, support::Outcome>) -> support::Outcome {
    match start {
        Ok(_) => panic!("the platform started"),
        Err(outcome) => outcome,
    }
}

#[test]
fn a_reader_that_has_gone_ends_nothing() {
    let line = format!(
        "(sleep 0.3; exec {} version) | true",
        env!("CARGO_BIN_EXE_tide")
    );
    let mut shell = std::process::Command::new("bash");
    shell.args(["-o", "pipefail", "-c", &line]);
    let outcome = run(shell, PATIENCE);
    assert_eq!(outcome.status, Some(0), "{outcome:#?}");
}
