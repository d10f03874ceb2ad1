//! What people do with kubectl all day, against `tide up`: scaling, rollouts, looking, logs, the ways
//! to create, change and delete.

// Every test uses a part of it.
#[allow(dead_code, unreachable_pub, unused_imports)]
mod support;

use std::time::Duration;

use serde_json::Value;
use support::{Cluster, Home, Kubectl, User, eventually, platform::free_node_port, until, web};

/// A platform of this user and the newest kubectl; `None`, with a printed line, where there is none.
fn cluster(user: User, options: &[&str]) -> Option<Cluster> {
    if !user.is_possible() {
        return None;
    }
    let kubectl = Kubectl::newest()?;
    Some(Cluster::new(Home::new(user).up(options), &kubectl))
}

#[test]
fn fifty_replicas_come_and_go() {
    scale_to_fifty(User::Myself);
}

#[test]
fn fifty_replicas_come_and_go_on_a_platform_of_an_ordinary_user() {
    scale_to_fifty(User::Nobody);
}

fn scale_to_fifty(user: User) {
    let Some(cluster) = cluster(user, &[]) else {
        return;
    };
    web::start(&cluster, 2, free_node_port());
    cluster.says(
        "kubectl scale deployment web --replicas=50",
        &["deployment.apps/web scaled"],
    );
    cluster.says(
        "kubectl rollout status deployment/web --timeout=120s",
        &["successfully rolled out"],
    );
    cluster.says("kubectl get deployment web", &["50/50"]);
    let pods = cluster.json("get pods -l app=web");
    let addresses: std::collections::BTreeSet<_> = pods["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|pod| pod["status"]["podIP"].as_str().expect("an address"))
        .collect();
    assert_eq!(addresses.len(), 50, "each pod has an address of its own");
    until("all fifty are endpoints", support::wait::PATIENCE, || {
        let slices = cluster.json("get endpointslices -l kubernetes.io/service-name=web");
        let endpoints = slices["items"][0]["endpoints"]
            .as_array()
            .map_or(0, Vec::len);
        if endpoints == 50 {
            Ok(())
        } else {
            Err(endpoints)
        }
    });
    cluster.ok("kubectl scale deployment web --replicas=1");
    cluster.comes_to_say("kubectl get deployment web", &["1/1"]);
    eventually("49 pods are gone, with their processes", || {
        let left = cluster
            .ok("kubectl get pods -l app=web -o name")
            .lines()
            .count();
        // Each pod has an init, too.
        left == 1 && cluster.tide.pod_processes().len() <= 3
    });
}

#[test]
fn rollouts_can_be_started_watched_paused_and_undone() {
    let Some(cluster) = cluster(User::Myself, &[]) else {
        return;
    };
    web::start(&cluster, 3, free_node_port());
    cluster.says(
        "kubectl rollout restart deployment/web",
        &["deployment.apps/web restarted"],
    );
    cluster.says(
        "kubectl rollout status deployment/web --timeout=60s",
        &["successfully rolled out"],
    );
    cluster.says(
        "kubectl set env deployment/web COLOUR=green",
        &["deployment.apps/web env updated"],
    );
    cluster.ok("kubectl rollout status deployment/web --timeout=60s");
    cluster.says(
        "kubectl rollout history deployment/web",
        &["REVISION", "1 ", "2 ", "3 "],
    );
    cluster.says(
        "kubectl rollout history deployment/web --revision=3",
        &["COLOUR:\tgreen"],
    );
    cluster.says(
        "kubectl rollout undo deployment/web",
        &["deployment.apps/web rolled back"],
    );
    cluster.ok("kubectl rollout status deployment/web --timeout=60s");
    let environment =
        "kubectl get deployment web -o jsonpath='{.spec.template.spec.containers[0].env[*].name}'";
    assert_eq!(cluster.ok(environment), "POD_NAME");
    cluster.says(
        "kubectl rollout undo deployment/web --to-revision=3",
        &["rolled back"],
    );
    cluster.ok("kubectl rollout status deployment/web --timeout=60s");
    assert!(cluster.ok(environment).contains("COLOUR"));

    let old = cluster.ok("kubectl get pods -l app=web -o name");
    cluster.says(
        "kubectl rollout pause deployment/web",
        &["deployment.apps/web paused"],
    );
    cluster.ok("kubectl set env deployment/web COLOUR=blue");
    cluster.comes_to_say(
        "kubectl get deployment web -o jsonpath='{.status.conditions[*].reason}'",
        &["DeploymentPaused"],
    );
    assert_eq!(
        cluster.ok("kubectl get pods -l app=web -o name"),
        old,
        "a paused Deployment leaves its pods"
    );
    cluster.says(
        "kubectl rollout resume deployment/web",
        &["deployment.apps/web resumed"],
    );
    cluster.says(
        "kubectl rollout status deployment/web --timeout=60s",
        &["successfully rolled out"],
    );
    assert_ne!(cluster.ok("kubectl get pods -l app=web -o name"), old);
    cluster.says(
        "kubectl get replicasets -l app=web",
        &["DESIRED", "CURRENT", "READY"],
    );

    // A rollout that cannot succeed leaves the old pods, and says why.
    cluster.ok("kubectl patch deployment web -p '{\"spec\":{\"progressDeadlineSeconds\":2}}'");
    cluster.ok(
        r#"kubectl patch deployment web --type=json -p '[{"op":"replace","path":"/spec/template/spec/containers/0/command","value":["no-such-program"]}]'"#,
    );
    cluster.refuses(
        "kubectl rollout status deployment/web --timeout=60s",
        &["exceeded its progress deadline"],
    );
    cluster.says("kubectl get deployment web", &["3/3"]);
    cluster.comes_to_say(
        "kubectl get deployment web -o jsonpath='{.status.conditions[?(@.type==\"Progressing\")].reason}'",
        &["ProgressDeadlineExceeded"],
    );
}

#[test]
fn describe_events_and_every_output_format_show_what_runs() {
    let Some(cluster) = cluster(
        User::Myself,
        &["--horizontal-pod-autoscaler-sync-period", "1s"],
    ) else {
        return;
    };
    let node_port = free_node_port();
    web::start(&cluster, 2, node_port);
    cluster.ok("kubectl autoscale deployment web --min=2 --max=4 --cpu-percent=70");
    cluster.says(
        "kubectl describe deployment web",
        &[
            "Name: web",
            "Selector: app=web",
            "2 desired | 2 updated | 2 total | 2 available | 0 unavailable",
            "StrategyType: RollingUpdate",
            "0 max unavailable, 1 max surge",
            "Available True MinimumReplicasAvailable",
            "Progressing True NewReplicaSetAvailable",
            "NewReplicaSet: web-",
            "ScalingReplicaSet",
            "Scaled up replica set web-",
        ],
    );
    let pod = cluster.ok("kubectl get pods -l app=web -o jsonpath='{.items[0].metadata.name}'");
    cluster.comes_to_say(
        &format!("kubectl describe pod {pod}"),
        &[
            "Status: Running",
            "IP: 10.244.",
            "Controlled By: ReplicaSet/web-",
            "Image: web:1",
            "State: Running",
            "Ready: True",
            "Restart Count: 0",
            "http-get http://:http/health",
            "QoS Class:",
            "Burstable",
            "Successfully assigned default/web-",
            "Created",
            "Started",
        ],
    );
    let node = cluster.ok("kubectl get nodes -o jsonpath='{.items[0].metadata.name}'");
    cluster.says(
        &format!("kubectl describe node {node}"),
        &[
            "Capacity:",
            "Allocatable:",
            "Ready",
            "KubeletReady",
            "PodCIDR:",
            "Non-terminated Pods:",
            "web-",
            "Allocated resources:",
            "cpu",
        ],
    );
    cluster.says(
        "kubectl get nodes -o wide",
        &["Ready", "v1.36", "INTERNAL-IP", "KERNEL-VERSION"],
    );
    cluster.comes_to_say(
        "kubectl describe hpa web",
        &[
            "Reference:",
            "Deployment/web",
            "resource cpu on pods",
            "ScalingActive True ValidMetricFound",
            "Min replicas:",
            "Deployment pods:",
        ],
    );
    cluster.comes_to_say(
        "kubectl get hpa web",
        &["REFERENCE", "Deployment/web", "%/70%"],
    );
    cluster.says(
        "kubectl describe service web",
        &["NodePort:", &node_port.to_string(), "Endpoints:", ":8080"],
    );
    cluster.says(
        "kubectl get service web",
        &["NodePort", "10.96.", &format!("80:{node_port}/TCP")],
    );
    cluster.says(
        "kubectl get events",
        &[
            "LAST SEEN",
            "SuccessfulCreate",
            "Scheduled",
            "ScalingReplicaSet",
            "pod/web-",
        ],
    );
    cluster.says(
        &format!("kubectl events --for pod/{pod}"),
        &["Scheduled", "Started"],
    );
    cluster.comes_to_say("kubectl top pods", &["web-", "Mi"]);
    cluster.comes_to_say("kubectl top pod --containers", &["POD", "NAME", "web"]);
    cluster.comes_to_say("kubectl top node", &[&node, "%"]);

    cluster.says(
        "kubectl get all",
        &[
            "pod/web-",
            "service/web",
            "deployment.apps/web",
            "replicaset.apps/web-",
            "horizontalpodautoscaler",
        ],
    );
    cluster.says(
        "kubectl get pods -o wide",
        &["IP", "NODE", &node, "READINESS GATES"],
    );
    cluster.says(
        "kubectl get deployment web -o wide",
        &["CONTAINERS", "IMAGES", "SELECTOR", "web:1", "app=web"],
    );
    cluster.says(
        "kubectl get deploy/web -o yaml",
        &[
            "apiVersion: apps/v1",
            "kind: Deployment",
            "uid: ",
            "readyReplicas: 2",
        ],
    );
    assert_eq!(
        cluster.json("get deployment web")["status"]["readyReplicas"],
        2
    );
    assert_eq!(
        cluster.ok("kubectl get deploy web -o jsonpath='{.spec.replicas} {.status.readyReplicas}'"),
        "2 2"
    );
    cluster.says("kubectl get pods -o custom-columns=N:.metadata.name,IP:.status.podIP --sort-by=.metadata.name", &["web-", "10.244."]);
    cluster.says(
        "kubectl get pods --show-labels -L app",
        &["LABELS", "APP", "pod-template-hash="],
    );
    cluster.says(
        "kubectl get pods -A --field-selector status.phase=Running -o name",
        &[&format!("pod/{pod}")],
    );
    cluster.says(
        "kubectl get pods --field-selector status.phase=Failed",
        &["No resources found in default namespace."],
    );
    cluster.says(
        "kubectl get ns",
        &[
            "default",
            "kube-system",
            "kube-public",
            "kube-node-lease",
            "Active",
        ],
    );
    cluster.says(
        "kubectl get runtimeclass,leases -A",
        &["runtimeclass.node.k8s.io/host", "kube-node-lease"],
    );
    cluster.refuses(
        "kubectl get deployment nothing",
        &["Error from server (NotFound): deployments.apps \"nothing\" not found"],
    );
    cluster.refuses(
        "kubectl get nonsense",
        &["the server doesn't have a resource type \"nonsense\""],
    );
    cluster.says("kubectl get pods --chunk-size=1 -o name", &[&pod]);
}

const TALKING: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: talking, labels: {app: talking}}
spec:
  runtimeClassName: host
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: shell
      command: [sh, -c, 'i=0; while [ $i -lt 5 ]; do i=$((i+1)); echo line $i; echo oops $i >&2; done; while true; do sleep 0.2; echo more; done']
---
apiVersion: v1
kind: Pod
metadata: {name: brief}
spec:
  runtimeClassName: host
  restartPolicy: Never
  containers:
    - {name: main, image: shell, command: [sh, -c, 'echo begin; sleep 0.5; echo end']}
---
apiVersion: v1
kind: Pod
metadata: {name: crashing}
spec:
  runtimeClassName: host
  containers:
    - {name: main, image: shell, command: [sh, -c, 'echo i am attempt $$; exit 3']}
";

#[test]
fn logs_can_be_cut_followed_and_read_after_a_crash() {
    logs(User::Myself);
}

#[test]
fn logs_can_be_read_on_a_platform_of_an_ordinary_user() {
    logs(User::Nobody);
}

fn logs(user: User) {
    let Some(cluster) = cluster(user, &[]) else {
        return;
    };
    cluster.apply(TALKING);
    cluster.comes_to_say(
        "kubectl logs talking",
        &["line 1\n", "line 5\n", "oops 5\n", "more\n"],
    );
    cluster.watches(
        &cluster.work(),
        "kubectl logs -f talking",
        &["line 1\n", "more\nmore\nmore\nmore\nmore\n"],
    );
    assert_eq!(cluster.ok("kubectl logs talking --tail=1"), "more\n");
    assert_eq!(cluster.ok("kubectl logs talking --limit-bytes=4").len(), 4);
    cluster.says("kubectl logs talking --since=1h", &["line 1\n"]);
    let first_line = cluster.ok("kubectl logs talking --timestamps | head -1");
    let (time, text) = first_line
        .trim_end()
        .split_once(' ')
        .expect("a time before each line");
    assert!(text == "line 1" || text == "oops 1", "{first_line}");
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time} is a time");
    cluster.comes_to_say("kubectl logs talking --since=1s | head -1", &["more"]);
    assert!(
        !cluster
            .ok("kubectl logs talking --since=1s")
            .contains("line 1")
    );
    cluster.says(
        "kubectl logs -l app=talking --prefix --tail=2",
        &["[pod/talking/main] more"],
    );
    cluster.refuses(
        "kubectl logs talking -c other",
        &["container other is not valid for pod talking"],
    );

    // A follow ends when the container has.
    cluster.comes_to_say("kubectl logs -f brief", &["begin\nend\n"]);
    cluster.comes_to_say("kubectl get pod brief", &["Completed"]);

    cluster.comes_to_say(
        "kubectl get pod crashing -o jsonpath='{.status.containerStatuses[0].restartCount}'",
        &["2"],
    );
    let previous = cluster.ok("kubectl logs crashing --previous");
    assert!(previous.starts_with("i am attempt "), "{previous}");
    cluster.comes_to_say("kubectl get pod crashing", &["CrashLoopBackOff"]);
    cluster.says(
        "kubectl describe pod crashing",
        &[
            "Exit Code: 3",
            "Reason: Error",
            "BackOff",
            "Back-off restarting failed container main in pod crashing_default(",
        ],
    );
}

const SETTINGS: &str = r"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: settings}}
data: {colour: green, size: large}
";

#[test]
fn objects_can_be_applied_compared_replaced_and_deleted() {
    let Some(cluster) = cluster(User::Myself, &[]) else {
        return;
    };
    cluster.write("settings.yaml", SETTINGS);
    cluster.says(
        "kubectl apply -f settings.yaml",
        &["configmap/settings created"],
    );
    cluster.says(
        "kubectl apply -f settings.yaml",
        &["configmap/settings unchanged"],
    );
    cluster.says("kubectl diff -f settings.yaml", &[]);
    cluster.write(
        "settings.yaml",
        &SETTINGS
            .replace("green", "blue")
            .replace(", size: large", ""),
    );
    cluster.refuses(
        "kubectl diff -f settings.yaml",
        &["- colour: green", "+ colour: blue", "- size: large"],
    );
    cluster.says(
        "kubectl apply -f settings.yaml --dry-run=server",
        &["configured (server dry run)"],
    );
    assert_eq!(
        cluster.json("get cm settings")["data"]["colour"],
        "green",
        "a dry run changes nothing"
    );
    cluster.says(
        "kubectl apply -f settings.yaml",
        &["configmap/settings configured"],
    );
    assert_eq!(
        cluster.json("get cm settings")["data"],
        serde_json::json!({"colour": "blue"})
    );
    cluster.says(
        "kubectl replace -f settings.yaml",
        &["configmap/settings replaced"],
    );
    cluster.refuses(
        "kubectl create -f settings.yaml",
        &["(AlreadyExists)", "configmaps \"settings\" already exists"],
    );

    cluster.says(
        "kubectl label cm settings tier=front",
        &["configmap/settings labeled"],
    );
    cluster.refuses(
        "kubectl label cm settings tier=back",
        &["already has a value (front), and --overwrite is false"],
    );
    cluster.says(
        "kubectl label cm settings tier=back --overwrite",
        &["labeled"],
    );
    cluster.says(
        "kubectl annotate cm settings note='a b'",
        &["configmap/settings annotated"],
    );
    cluster.says(
        "kubectl get cm -l 'tier in (back),app' -o name",
        &["configmap/settings"],
    );
    cluster.says("kubectl get cm -l tier!=back,app -o name", &[]);
    cluster.says(
        "kubectl label cm settings tier-",
        &["configmap/settings unlabeled"],
    );
    cluster.says(
        r#"kubectl patch cm settings --type=merge -p '{"data":{"colour":null,"size":"small"}}'"#,
        &["patched"],
    );
    cluster.says(
        r#"kubectl patch cm settings --type=json -p '[{"op":"test","path":"/data/size","value":"small"},{"op":"add","path":"/data/weight","value":"1"}]'"#,
        &["patched"],
    );
    assert_eq!(
        cluster.json("get cm settings")["data"],
        serde_json::json!({"size": "small", "weight": "1"})
    );
    let settings = cluster.json("get cm settings");
    assert_eq!(settings["metadata"]["annotations"]["note"], "a b");
    cluster.says(
        "kubectl delete -f settings.yaml",
        &["configmap \"settings\" deleted"],
    );
    cluster.says("kubectl delete -f settings.yaml --ignore-not-found", &[]);
    cluster.refuses("kubectl delete -f settings.yaml", &["(NotFound)"]);

    // Prune and waiting for a condition, and for an object to go.
    web::start(&cluster, 2, free_node_port());
    cluster.says(
        "kubectl wait deployment/web --for=condition=Available --timeout=30s",
        &["condition met"],
    );
    cluster.says(
        "kubectl wait pods -l app=web --for=jsonpath='{.status.phase}'=Running --timeout=30s",
        &["condition met"],
    );
    cluster.says(
        "kubectl delete deployment web --cascade=orphan",
        &["deleted"],
    );
    let owners = |items: &Value| items["items"].as_array().map_or(0, Vec::len);
    assert_eq!(
        owners(&cluster.json("get replicasets -l app=web")),
        1,
        "orphans stay"
    );
    cluster.says(
        "kubectl wait pods -l app=web --for=condition=Ready --timeout=30s",
        &["condition met"],
    );
    // The same Deployment adopts them again.
    cluster.ok("kubectl apply -f manifest.yaml");
    cluster.ok("kubectl rollout status deployment/web --timeout=60s");
    assert_eq!(
        owners(&cluster.json("get replicasets -l app=web")),
        1,
        "they are adopted"
    );
    cluster.says(
        "kubectl delete deployment web --cascade=foreground --timeout=60s",
        &["deleted"],
    );
    assert_eq!(
        cluster.ok("kubectl get replicasets,pods -l app=web -o name"),
        "",
        "dependents went first"
    );
    cluster.ok("kubectl apply -f manifest.yaml");
    cluster.ok("kubectl rollout status deployment/web --timeout=60s");
    cluster.says("kubectl delete deployment web", &["deleted"]);
    cluster.says(
        "kubectl wait pods -l app=web --for=delete --timeout=60s",
        &[],
    );
    eventually("dependents follow", || {
        cluster
            .ok("kubectl get replicasets,pods -l app=web -o name")
            .is_empty()
    });

    // A namespace takes all with it, and comes back empty.
    cluster.ok("kubectl create namespace shop");
    cluster.ok("kubectl apply -n shop -f settings.yaml");
    cluster.says(
        "kubectl delete namespace shop --timeout=60s",
        &["namespace \"shop\" deleted"],
    );
    cluster.ok("kubectl create namespace shop");
    cluster.says("kubectl get cm settings -n shop --ignore-not-found", &[]);
}

#[test]
fn typed_creates_discovery_and_permissions_work() {
    let Some(cluster) = cluster(User::Myself, &[]) else {
        return;
    };
    typed_creates(&cluster);
}

#[test]
fn typed_creates_discovery_and_permissions_work_with_an_old_kubectl() {
    let Some(kubectl) = Kubectl::old() else {
        return;
    };
    typed_creates(&Cluster::new(Home::new(User::Myself).up(&[]), &kubectl));
}

/// kubectl sends these objects as protobuf, or in its own typed form.
fn typed_creates(cluster: &Cluster) {
    cluster.says("kubectl create namespace shop", &["namespace/shop created"]);
    cluster.says(
        "kubectl create configmap settings --from-literal=colour=green",
        &["configmap/settings created"],
    );
    cluster.says(
        "kubectl create secret generic token --from-literal=word=tide",
        &["secret/token created"],
    );
    cluster.says(
        "kubectl get secret token -o jsonpath='{.data.word}'",
        &["dGlkZQ=="],
    );
    cluster.says(
        "kubectl create deployment shop --image=shop:1 --replicas=2 --port=80",
        &["deployment.apps/shop created"],
    );
    let shop = cluster.json("get deployment shop");
    assert_eq!(shop["spec"]["replicas"], 2);
    assert_eq!(
        shop["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"],
        80
    );
    cluster.says(
        "kubectl create service clusterip shop --tcp=80:8080",
        &["service/shop created"],
    );
    cluster.says(
        "kubectl expose deployment shop --name=front --port=80 --target-port=8080",
        &["service/front exposed"],
    );
    cluster.says(
        "kubectl get service front",
        &["ClusterIP", "10.96.", "80/TCP"],
    );
    cluster.says(
        "kubectl create serviceaccount robot",
        &["serviceaccount/robot created"],
    );
    cluster.says(
        "kubectl create poddisruptionbudget shop --selector=app=shop --min-available=1",
        &["created"],
    );
    cluster.says(
        "kubectl autoscale deployment shop --min=2 --max=5 --cpu-percent=60",
        &["autoscaled"],
    );
    let autoscaler = cluster.json("get hpa shop");
    assert_eq!(autoscaler["spec"]["maxReplicas"], 5, "{autoscaler}");
    assert_eq!(
        autoscaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 60,
        "{autoscaler}"
    );
    cluster.says(
        "kubectl get horizontalpodautoscalers.v1.autoscaling shop -o jsonpath='{.spec.targetCPUUtilizationPercentage}'",
        &["60"],
    );
    // No images yet: the pods say so.
    cluster.comes_to_say("kubectl get pods -l app=shop", &["Err"]);
    cluster.comes_to_say(
        "kubectl get events --field-selector type=Warning",
        &["Failed", "shop:1"],
    );

    cluster.says("kubectl auth can-i create deployments", &["yes"]);
    cluster.says("kubectl auth whoami", &["Username"]);
    cluster.says(
        "kubectl api-versions",
        &[
            "apps/v1",
            "autoscaling/v2",
            "metrics.k8s.io/v1beta1",
            "discovery.k8s.io/v1",
        ],
    );
    cluster.says(
        "kubectl api-resources",
        &[
            "deployments",
            "deploy",
            "horizontalpodautoscalers",
            "hpa",
            "configmaps",
            "cm",
            "endpointslices",
            "poddisruptionbudgets",
            "runtimeclasses",
        ],
    );
    cluster.says(
        "kubectl explain deployment.spec.strategy",
        &["FIELD: strategy", "rollingUpdate", "Recreate"],
    );
    cluster.says(
        "kubectl explain hpa --recursive",
        &["stabilizationWindowSeconds"],
    );
    cluster.says("kubectl version", &["Server Version: v1.36"]);
    cluster.says("kubectl cluster-info", &["is running at"]);
    cluster.says("kubectl get --raw /readyz", &["ok"]);
}

#[test]
fn configuration_reaches_programs_and_programs_find_each_other() {
    wiring(User::Myself);
}

#[test]
fn programs_find_each_other_on_a_platform_of_an_ordinary_user() {
    wiring(User::Nobody);
}

fn wiring(user: User) {
    let Some(cluster) = cluster(user, &[]) else {
        return;
    };
    web::start(&cluster, 2, free_node_port());
    cluster.apply(
        r"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {COLOUR: green}
---
apiVersion: v1
kind: Secret
metadata: {name: token}
stringData: {word: tide}
---
apiVersion: v1
kind: Pod
metadata: {name: reader, labels: {app: reader}}
spec:
  runtimeClassName: host
  restartPolicy: Never
  containers:
    - name: main
      image: shell
      command: [sh, -c]
      args: ['echo colour $COLOUR word $WORD of $NAME at $ADDRESS with $CPU $(GREETING); cat /etc/settings/COLOUR; echo; curl -s http://web/health; curl -s http://web.default.svc.cluster.local/health; curl -s http://$WEB_SERVICE_HOST:$WEB_SERVICE_PORT/health']
      envFrom: [{configMapRef: {name: settings}}]
      env:
        - {name: WORD, valueFrom: {secretKeyRef: {name: token, key: word}}}
        - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
        - {name: GREETING, value: hello $(NAME)}
      resources: {limits: {cpu: '1'}}
      volumeMounts: [{name: settings, mountPath: /etc/settings}]
  volumes: [{name: settings, configMap: {name: settings}}]
",
    );
    cluster.ok("kubectl wait pod/reader --for=jsonpath='{.status.phase}'=Succeeded --timeout=60s");
    let said = cluster.ok("kubectl logs reader");
    assert!(
        said.starts_with("colour green word tide of reader at 10.244."),
        "{said}"
    );
    assert!(
        said.contains("with 1 hello reader\ngreen\nokokok"),
        "{said}"
    );
}

#[test]
fn a_program_that_stops_answering_is_restarted() {
    let Some(cluster) = cluster(User::Myself, &[]) else {
        return;
    };
    cluster.apply(
        r"
apiVersion: v1
kind: Pod
metadata: {name: fragile}
spec:
  runtimeClassName: host
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: shell
      command: [sh, -c, 'touch /tmp/well; trap exit TERM; while true; do sleep 0.1; done']
      livenessProbe: {exec: {command: [test, -e, /tmp/well]}, periodSeconds: 1, failureThreshold: 1}
      lifecycle: {preStop: {exec: {command: [sh, -c, 'echo goodbye > /proc/1/fd/1 || true']}}}
---
apiVersion: v1
kind: Pod
metadata: {name: unwell}
spec:
  runtimeClassName: host
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: shell
      command: [sh, -c, 'trap exit TERM; while true; do sleep 0.1; done']
      readinessProbe: {tcpSocket: {port: 9}, periodSeconds: 1}
      livenessProbe: {exec: {command: ['false']}, periodSeconds: 1, failureThreshold: 2}
",
    );
    cluster.comes_to_say("kubectl get pod fragile", &["1/1", "Running"]);
    cluster.comes_to_say("kubectl get pod unwell", &["0/1"]);
    cluster.comes_to_say(
        "kubectl get pod unwell -o jsonpath='{.status.containerStatuses[0].restartCount}'",
        &["1"],
    );
    cluster.says(
        "kubectl describe pod unwell",
        &[
            "Unhealthy",
            "Readiness probe failed",
            "Liveness probe failed",
            "Killing",
            "Container main failed liveness probe, will be restarted",
        ],
    );
    assert_eq!(
        cluster.ok(
            "kubectl get pod fragile -o jsonpath='{.status.containerStatuses[0].restartCount}'"
        ),
        "0"
    );
    cluster.says(
        "kubectl delete pod fragile unwell --timeout=30s",
        &["\"fragile\" deleted", "\"unwell\" deleted"],
    );
}

#[test]
fn a_pod_that_does_not_fit_waits_with_the_reason() {
    let Some(cluster) = cluster(User::Myself, &[]) else {
        return;
    };
    cluster.apply(
        r"
apiVersion: v1
kind: Pod
metadata: {name: large}
spec:
  runtimeClassName: host
  containers:
    - {name: main, image: shell, command: [sleep, infinity], resources: {requests: {cpu: '1000'}}}
",
    );
    cluster.comes_to_say(
        "kubectl describe pod large",
        &[
            "FailedScheduling",
            "0/1 nodes are available: 1 Insufficient cpu.",
        ],
    );
    cluster.says("kubectl get pod large", &["Pending"]);
    cluster.says("kubectl delete pod large --timeout=30s", &["deleted"]);
}

#[test]
fn an_autoscaler_follows_the_load_up_and_down() {
    autoscaling(User::Myself);
}

#[test]
fn an_autoscaler_follows_the_load_on_a_platform_of_an_ordinary_user() {
    autoscaling(User::Nobody);
}

/// One backend whose CPU request is small, so that little load is much; windows of a second.
fn autoscaling(user: User) {
    let Some(cluster) = cluster(user, &["--horizontal-pod-autoscaler-sync-period", "1s"]) else {
        return;
    };
    let node_port = free_node_port();
    let backend = web::manifest(1, node_port)
        .replace("feastflow-frontend", "feastflow-backend")
        .replace("containerPort: 8080", "containerPort: 5000")
        .replace("path: /health", "path: /api/health");
    cluster.apply(&backend);
    cluster.apply(
        r"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 3
  metrics: [{type: Resource, resource: {name: cpu, target: {type: AverageValue, averageValue: 100m}}}]
  behavior:
    scaleDown: {stabilizationWindowSeconds: 1, policies: [{type: Percent, value: 100, periodSeconds: 1}]}
",
    );
    cluster.ok("kubectl rollout status deployment/web --timeout=60s");
    let load = cluster.start(&format!(
        "tide load http://127.0.0.1:{node_port}/api/health --vus 4 --duration 60s --watch hpa/web"
    ));
    cluster.comes_to_say("kubectl get deployment web", &["3/3"]);
    cluster.says(
        "kubectl get events --field-selector involvedObject.name=web,reason=SuccessfulRescale",
        &["New size: ", "above target"],
    );
    load.end();
    cluster.comes_to_say_within(
        Duration::from_secs(120),
        "kubectl get deployment web",
        &["1/1"],
    );
    cluster.comes_to_say("kubectl describe hpa web", &["All metrics below target"]);
}
