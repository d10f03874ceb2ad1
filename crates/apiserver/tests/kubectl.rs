//! Real kubectl against the API on a socket: what its users do, from `get` to `rollout`.
//!
//! kubectl is the program that SPRINGTIDE_KUBECTL names, or the one on the PATH; without one the
//! tests say so and pass. No controller runs: where one is needed, the test plays it.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::routing::get;
use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use springtide_apiserver::pki::{Authority, serving_names, write_private};
use springtide_apiserver::{ApiServer, MASTERS, Tls};
use springtide_machinery::clock::Clock;
use springtide_machinery::entropy::Entropy;
use springtide_store::Store;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

/// kubectl, and a server it is pointed at.
struct Cluster {
    kubectl: PathBuf,
    folder: TempDir,
    api: ApiServer,
    runtime: Runtime,
}

fn find_kubectl() -> Option<PathBuf> {
    if let Some(path) = env::var_os("SPRINGTIDE_KUBECTL") {
        return Some(path.into());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join("kubectl"))
        .find(|candidate| candidate.is_file())
}

impl Cluster {
    /// A server with an empty store, or nothing where there is no kubectl.
    fn start(test: &str) -> Option<Cluster> {
        let Some(kubectl) = find_kubectl() else {
            println!("skipped {test}: no kubectl (set SPRINGTIDE_KUBECTL or put it on the PATH)");
            return None;
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("runtime");
        let folder = tempfile::tempdir().expect("folder");
        let clock = Clock::system();
        let api = runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
                .await
                .expect("port");
            let address = listener.local_addr().expect("address");
            let api = ApiServer::builder(Store::in_memory(), clock.clone(), Entropy::from_os())
                .advertised(address)
                .build()
                .await
                .expect("built");
            let authority = Authority::ephemeral(&clock).expect("authority");
            let names = serving_names(&[address.ip()], "", "10.96.0.1".parse().expect("ip"));
            let identity = authority.serving(&names).expect("identity");
            let tls = Tls::new(&authority, &identity, &clock).expect("tls");
            let admin = authority.client("admin", &[MASTERS]).expect("identity");
            let kubeconfig = authority.kubeconfig(&format!("https://{address}"), &admin);
            write_private(&folder.path().join("kubeconfig"), &kubeconfig).expect("kubeconfig");
            let server = api.clone();
            tokio::spawn(async move { server.serve_tls(listener, tls).await });
            api
        });
        Some(Cluster {
            kubectl,
            folder,
            api,
            runtime,
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command
            .args(arguments)
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .env("HOME", self.folder.path())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("kubectl runs")
    }

    /// What kubectl says; it must succeed.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "kubectl {arguments:?}: {told}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        told
    }

    /// What kubectl complains of; it must fail.
    #[track_caller]
    fn fail(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(!output.status.success(), "kubectl {arguments:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        let mut file = std::fs::File::create(&path).expect("file");
        file.write_all(content.as_bytes()).expect("written");
        path.to_str().expect("path").to_owned()
    }

    fn value(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.run(arguments)).expect("JSON")
    }

    /// Says of a Deployment what its controller would.
    fn report(&self, name: &str, status: &Value) {
        self.runtime.block_on(async {
            let deployments: Api<Deployment> = Api::default_namespaced(self.api.client("test"));
            let patch = Patch::Merge(json!({ "status": status }));
            deployments
                .patch_status(name, &PatchParams::default(), &patch)
                .await
                .expect("reported");
        });
    }

    /// Starts kubectl and gives its lines as they come.
    fn follow(&self, arguments: &[&str]) -> Followed {
        let mut child = self
            .command(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("kubectl runs");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Followed { child, lines }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.api.shut_down();
    }
}

struct Followed {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Followed {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: nginx:1
        ports: [{containerPort: 80}]
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector: {app: web}
  ports: [{port: 80}]
";

#[test]
fn the_server_says_what_it_is_and_has() {
    let Some(cluster) = Cluster::start("the_server_says_what_it_is_and_has") else {
        return;
    };
    assert!(cluster.run(&["version"]).contains("Server Version: v1.36"));
    let resources = cluster.run(&["api-resources"]);
    for line in ["deploy", "horizontalpodautoscalers", "events.k8s.io/v1"] {
        assert!(resources.contains(line), "{line} in {resources}");
    }
    assert!(cluster.run(&["api-versions"]).contains("apps/v1"));
    let explained = cluster.run(&["explain", "deployment.spec.strategy.rollingUpdate"]);
    assert!(explained.contains("maxSurge"), "{explained}");
    assert_eq!(
        cluster.run(&["auth", "can-i", "delete", "nodes"]).trim(),
        "yes"
    );
    assert!(cluster.run(&["auth", "whoami"]).contains("admin"));
    assert!(
        cluster
            .run(&["get", "--raw", "/readyz?verbose"])
            .contains("readyz check passed")
    );
    let namespaces = cluster.run(&["get", "namespaces"]);
    assert!(namespaces.contains("kube-system") && namespaces.contains("Active"));
}

#[test]
fn manifests_are_applied_changed_and_deleted() {
    let Some(cluster) = Cluster::start("manifests_are_applied_changed_and_deleted") else {
        return;
    };
    let file = cluster.file("web.yaml", WEB);
    let created = cluster.run(&["apply", "-f", &file]);
    assert!(created.contains("deployment.apps/web created"), "{created}");
    let again = cluster.run(&["apply", "-f", &file]);
    assert!(again.contains("deployment.apps/web unchanged"), "{again}");
    assert!(again.contains("service/web unchanged"), "{again}");

    let changed = cluster.file("changed.yaml", &WEB.replace("nginx:1", "nginx:2"));
    let output = cluster.output(&["diff", "-f", &changed]);
    assert_eq!(output.status.code(), Some(1), "diff says that there is one");
    assert!(String::from_utf8_lossy(&output.stdout).contains("image: nginx:2"));
    let dry = cluster.run(&["apply", "--dry-run=server", "-f", &changed]);
    assert!(dry.contains("configured (server dry run)"), "{dry}");
    let applied = cluster.run(&["apply", "-f", &changed]);
    assert!(
        applied.contains("deployment.apps/web configured"),
        "{applied}"
    );
    let path = ["get", "deployment", "web", "-o", "json"];
    let stored = cluster.value(&path);
    assert_eq!(
        stored["spec"]["template"]["spec"]["containers"][0]["image"],
        "nginx:2"
    );
    assert_eq!(stored["metadata"]["generation"], 2);

    cluster.run(&[
        "patch",
        "deployment",
        "web",
        "-p",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"nginx:3"}]}}}}"#,
    ]);
    cluster.run(&["label", "deployment", "web", "tier=front"]);
    cluster.run(&["annotate", "deployment", "web", "note=one"]);
    let edited = cluster
        .command(&["edit", "deployment", "web"])
        .env("KUBE_EDITOR", "sed -i s/note:.one/note:\\ two/")
        .output()
        .expect("kubectl runs");
    assert!(
        edited.status.success(),
        "{}",
        String::from_utf8_lossy(&edited.stderr)
    );
    let stored = cluster.value(&path);
    assert_eq!(stored["metadata"]["annotations"]["note"], "two");
    assert_eq!(stored["metadata"]["labels"]["tier"], "front");
    assert_eq!(
        stored["spec"]["template"]["spec"]["containers"][0]["image"],
        "nginx:3"
    );
    assert_eq!(
        stored["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"],
        80
    );

    let deleted = cluster.run(&["delete", "-f", &file]);
    assert!(
        deleted.contains("deployment.apps \"web\" deleted"),
        "{deleted}"
    );
    assert!(
        cluster
            .fail(&["get", "deployment", "web"])
            .contains("NotFound")
    );
}

#[test]
fn mistakes_are_told_clearly() {
    let Some(cluster) = Cluster::start("mistakes_are_told_clearly") else {
        return;
    };
    let typo = cluster.file("typo.yaml", &WEB.replace("replicas: 2", "replcas: 2"));
    let told = cluster.fail(&["apply", "-f", &typo]);
    assert!(told.contains("unknown field \"spec.replcas\""), "{told}");
    let warned = cluster.output(&["apply", "--validate=warn", "-f", &typo]);
    assert!(warned.status.success());
    let told = String::from_utf8_lossy(&warned.stderr).into_owned();
    assert!(
        told.contains("Warning: unknown field \"spec.replcas\""),
        "{told}"
    );
    let wrong_type = cluster.file("type.yaml", &WEB.replace("replicas: 2", "replicas: two"));
    let told = cluster.fail(&["apply", "-f", &wrong_type]);
    assert!(told.contains("spec.replicas"), "{told}");
    let wrong_name = cluster.file("name.yaml", &WEB.replace("name: web", "name: Web_1"));
    let told = cluster.fail(&["apply", "-f", &wrong_name]);
    assert!(
        told.contains("metadata.name: Invalid value: \"Web_1\""),
        "{told}"
    );
    let told = cluster.fail(&["get", "nonsense"]);
    assert!(
        told.contains("the server doesn't have a resource type \"nonsense\""),
        "{told}"
    );
    let told = cluster.fail(&["create", "deployment", "x", "--image=y", "-n", "nowhere"]);
    assert!(told.contains("namespaces \"nowhere\" not found"), "{told}");
}

#[test]
fn a_namespace_and_typed_creates_come_as_protobuf() {
    let Some(cluster) = Cluster::start("a_namespace_and_typed_creates_come_as_protobuf") else {
        return;
    };
    cluster.run(&["create", "namespace", "shop"]);
    cluster.run(&[
        "create",
        "configmap",
        "c",
        "-n",
        "shop",
        "--from-literal=a=b",
    ]);
    cluster.run(&[
        "create",
        "secret",
        "generic",
        "s",
        "-n",
        "shop",
        "--from-literal=p=q",
    ]);
    cluster.run(&["create", "serviceaccount", "robot", "-n", "shop"]);
    cluster.run(&[
        "create",
        "deployment",
        "web",
        "-n",
        "shop",
        "--image=nginx",
        "--replicas=3",
    ]);
    cluster.run(&[
        "expose",
        "deployment",
        "web",
        "-n",
        "shop",
        "--port=80",
        "--type=NodePort",
    ]);
    cluster.run(&[
        "autoscale",
        "deployment",
        "web",
        "-n",
        "shop",
        "--min=1",
        "--max=4",
        "--cpu=50%",
    ]);
    cluster.run(&[
        "run",
        "one",
        "-n",
        "shop",
        "--image=busybox",
        "--",
        "sleep",
        "1",
    ]);
    let secret = cluster.value(&["get", "secret", "s", "-n", "shop", "-o", "json"]);
    assert_eq!(secret["data"]["p"], "cQ==");
    let deployment = cluster.value(&["get", "deployment", "web", "-n", "shop", "-o", "json"]);
    assert_eq!(deployment["spec"]["replicas"], 3);
    let everything = cluster.run(&["get", "all", "-n", "shop"]);
    for line in [
        "pod/one",
        "service/web",
        "deployment.apps/web",
        "horizontalpodautoscaler.autoscaling/web",
    ] {
        assert!(everything.contains(line), "{line} in {everything}");
    }
    let described = cluster.run(&["describe", "deployment", "web", "-n", "shop"]);
    assert!(
        described.contains("StrategyType:           RollingUpdate"),
        "{described}"
    );
    let gone = cluster.run(&[
        "delete",
        "pod",
        "one",
        "-n",
        "shop",
        "--force",
        "--grace-period=0",
    ]);
    assert!(gone.contains("pod \"one\" force deleted"), "{gone}");
    cluster.run(&["delete", "configmap", "--all", "-n", "shop"]);
    assert_eq!(cluster.run(&["get", "configmap", "-n", "shop"]), "");
    cluster.run(&["delete", "namespace", "shop", "--wait=false"]);
    let told = cluster.fail(&["create", "configmap", "d", "-n", "shop"]);
    assert!(told.contains("because it is being terminated"), "{told}");
}

#[test]
fn scale_rollout_and_wait_read_what_a_controller_reports() {
    let Some(cluster) = Cluster::start("scale_rollout_and_wait_read_what_a_controller_reports")
    else {
        return;
    };
    let file = cluster.file("web.yaml", WEB);
    cluster.run(&["apply", "-f", &file]);
    let scaled = cluster.run(&[
        "scale",
        "deployment",
        "web",
        "--replicas=3",
        "--current-replicas=2",
    ]);
    assert!(scaled.contains("deployment.apps/web scaled"), "{scaled}");
    cluster.run(&["set", "image", "deployment/web", "main=nginx:9"]);
    cluster.run(&["rollout", "pause", "deployment/web"]);
    cluster.run(&["rollout", "resume", "deployment/web"]);
    cluster.run(&["rollout", "restart", "deployment/web"]);
    let stored = cluster.value(&["get", "deployment", "web", "-o", "json"]);
    assert_eq!(stored["spec"]["replicas"], 3);
    let generation = stored["metadata"]["generation"]
        .as_i64()
        .expect("generation");
    assert_eq!(generation, 6);

    let mut status = cluster.follow(&["rollout", "status", "deployment/web", "--timeout=30s"]);
    let first = status.line();
    assert!(
        first.contains("Waiting for deployment spec update"),
        "{first}"
    );
    let counts = json!({
        "observedGeneration": generation, "replicas": 3, "updatedReplicas": 3,
        "readyReplicas": 3, "availableReplicas": 3,
        "conditions": [{"type": "Available", "status": "True"}],
    });
    cluster.report("web", &counts);
    let last = status.line();
    assert!(last.contains("successfully rolled out"), "{last}");
    let waited = cluster.run(&[
        "wait",
        "--for=condition=Available",
        "deployment/web",
        "--timeout=30s",
    ]);
    assert!(waited.contains("condition met"), "{waited}");
    let table = cluster.run(&["get", "deployment", "web"]);
    assert!(table.contains("3/3"), "{table}");
}

#[test]
fn get_with_watch_shows_changes_as_they_come() {
    let Some(cluster) = Cluster::start("get_with_watch_shows_changes_as_they_come") else {
        return;
    };
    cluster.run(&["create", "configmap", "first", "--from-literal=a=b"]);
    let mut watch = cluster.follow(&["get", "configmaps", "-w"]);
    assert!(watch.line().starts_with("NAME"));
    assert!(watch.line().starts_with("first"));
    cluster.run(&["create", "configmap", "second", "--from-literal=a=b"]);
    assert!(watch.line().starts_with("second"));
    let mut events = cluster.follow(&["get", "configmaps", "-w", "--output-watch-events"]);
    assert!(events.line().starts_with("EVENT"));
    let mut seen = [events.line(), events.line()];
    seen.sort();
    assert!(
        seen[0].starts_with("ADDED") && seen[0].contains("first"),
        "{seen:?}"
    );
    cluster.run(&["delete", "configmap", "first"]);
    let gone = events.line();
    assert!(
        gone.starts_with("DELETED") && gone.contains("first"),
        "{gone}"
    );
}

#[test]
fn logs_are_followed_line_by_line() {
    let Some(cluster) = Cluster::start("logs_are_followed_line_by_line") else {
        return;
    };
    // The kubelet writes a line when the test says so: nothing may be held back.
    let (say, said) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
    let said = std::sync::Arc::new(tokio::sync::Mutex::new(said));
    let logs = get(move || {
        let said = said.clone();
        async move {
            let lines = futures::stream::unfold(said, |said| async move {
                let line = said.lock().await.recv().await?;
                Some((Ok::<_, std::io::Error>(line), said))
            });
            Body::from_stream(lines.boxed())
        }
    });
    let kubelet = Router::new().route("/containerLogs/{namespace}/{pod}/{container}", logs);
    cluster.api.attach_kubelet("n1", kubelet);
    let pod = r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},
        "spec":{"nodeName":"n1","containers":[{"name":"main","image":"x"}]}}"#;
    let file = cluster.file("pod.json", pod);
    cluster.run(&["create", "-f", &file]);
    let mut follow = cluster.follow(&["logs", "-f", "web"]);
    for line in ["one\n", "two\n", "three\n"] {
        say.send(Bytes::from(line)).expect("kubelet listens");
        assert_eq!(follow.line(), line);
    }
    drop(say);
    assert_eq!(follow.line(), "", "the end");
}
