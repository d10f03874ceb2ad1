//! pake's alerts, `examples/pake/alerts.yaml`, with their real faults: nine of the ten are made to happen in an
//! application of pake's shape, reach a webhook, and are resolved when the fault is over. PakeStorageSpace is not among
//! them: there are no volumes that fill up. (`crates/metrics/tests/pake_alerts.rs` has all ten by written series.)
//!
//! The rules are those of the example but for their times: an alert waits two seconds, rates are of the last ten, and
//! two restarts in a minute make a crash loop.

// Every test uses a part of it.
#[allow(dead_code, unreachable_pub, unused_imports)]
mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use support::platform::free_node_port;
use support::wait::PATIENCE;
use support::{Cluster, Home, Kubectl, User, Webhook, webhook};

/// pake's tiers. A file in a container's `/tmp` is a fault: `slow`, `fail`, `hold`, `unready` or `burn`.
const APPLICATION: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: pake-system}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pake-backend, namespace: pake-system}
spec:
  selector: {matchLabels: {app: pake-backend}}
  template:
    metadata: {labels: {app: pake-backend}}
    spec:
      runtimeClassName: host
      terminationGracePeriodSeconds: 1
      containers:
        - name: api
          image: pake-backend:1
          ports: [{name: http, containerPort: 8000}]
          resources: {requests: {memory: 64Mi}, limits: {memory: 256Mi}}
          readinessProbe: {httpGet: {path: /ready, port: http}, periodSeconds: 1, failureThreshold: 1}
          command:
            - python3
            - -c
            - |
              import http.server, itertools, os, threading, time
              def faulty(name):
                  return os.path.exists("/tmp/" + name)
              def hold():
                  held = []
                  while True:
                      if not faulty("hold"):
                          held.clear()
                      elif not held:
                          held.append(b"x" * (225 << 20))
                      time.sleep(0.1)
              threading.Thread(target=hold, daemon=True).start()
              count = itertools.count()
              class Handler(http.server.BaseHTTPRequestHandler):
                  protocol_version = "HTTP/1.1"
                  def do_GET(self):
                      if self.path == "/ready":
                          fails = faulty("unready")
                      else:
                          if faulty("slow"):
                              time.sleep(0.8)
                          fails = faulty("fail") and next(count) % 2
                      self.send_response(503 if fails else 200)
                      self.send_header("content-length", "0")
                      self.end_headers()
                  def log_message(self, *_):
                      pass
              http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
---
apiVersion: v1
kind: Service
metadata: {name: pake-backend-service, namespace: pake-system}
spec:
  type: NodePort
  selector: {app: pake-backend}
  ports: [{name: http, port: 8000, targetPort: http, nodePort: NODE_PORT}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pake-frontend, namespace: pake-system}
spec:
  selector: {matchLabels: {app: pake-frontend}}
  template:
    metadata: {labels: {app: pake-frontend}}
    spec:
      runtimeClassName: host
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: pake-frontend:1
          resources: {requests: {cpu: 50m}, limits: {cpu: 100m}}
          command: [sh, -c, 'while :; do [ -e /tmp/burn ] || sleep 0.2; done']
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: pake-frontend-hpa, namespace: pake-system}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: pake-frontend}
  minReplicas: 1
  maxReplicas: 2
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}]
  behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
"#;

/// A tier that is ready unless it is told not to be.
const TIER: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: pake-system}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      runtimeClassName: host
      terminationGracePeriodSeconds: 1
      containers:
        - name: server
          image: any:1
          command: [sleep, '100000']
          readinessProbe: {exec: {command: [test, '!', -e, /tmp/unready]}, periodSeconds: 1, failureThreshold: 1}
";

/// The example's rules with times that a test can wait for.
fn rules() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/pake/alerts.yaml");
    let mut text = fs::read_to_string(path).expect("the example is there");
    for (written, quick) in [
        ("    rules:\n", "    interval: 1s\n    rules:\n"),
        ("for: 10m", "for: 2s"),
        ("for: 5m", "for: 2s"),
        ("for: 1m", "for: 2s"),
        ("[15m]) > 3", "[1m]) > 1"),
        ("[5m]", "[10s]"),
    ] {
        assert!(text.contains(written), "the example says {written:?}");
        text = text.replace(written, quick);
    }
    let spec = text.replace('\n', "\n  ");
    format!(
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {{name: pake, namespace: pake-system}}\nspec:\n  {spec}\n"
    )
}

#[test]
fn nine_alerts_fire_with_their_real_faults_and_are_resolved() {
    let Some(kubectl) = Kubectl::newest() else {
        return;
    };
    let options = [
        "--metrics-scrape-interval",
        "1s",
        "--horizontal-pod-autoscaler-sync-period",
        "1s",
    ];
    let cluster = Cluster::new(Home::new(User::Myself).up(&options), &kubectl);
    let webhook = Webhook::start();
    let node_port = free_node_port();
    cluster.apply(&APPLICATION.replace("NODE_PORT", &node_port.to_string()));
    for name in ["pake-postgres", "pake-redis"] {
        cluster.apply(&TIER.replace("NAME", name));
    }
    cluster
        .ok("kubectl wait --for=condition=available --timeout=60s deployment --all -n pake-system");
    cluster.apply(&webhook::manifest(&webhook.url));
    cluster.apply(&rules());
    let load = cluster.start(&format!(
        "exec tide load http://127.0.0.1:{node_port}/ --vus 4 --duration 600s"
    ));

    let faults = |what: &str, tier: &str, files: &[&str]| {
        let paths: Vec<String> = files.iter().map(|file| format!("/tmp/{file}")).collect();
        cluster.ok(&format!(
            "kubectl exec -n pake-system deploy/{tier} -- {what} {}",
            paths.join(" ")
        ));
    };
    let first = [
        ("pake-backend", &["slow", "fail", "hold"][..]),
        ("pake-frontend", &["burn"]),
        ("pake-postgres", &["unready"]),
        ("pake-redis", &["unready"]),
    ];
    for (tier, files) in first {
        faults("touch", tier, files);
    }
    let burning = cluster.ok("kubectl get pods -n pake-system -l app=pake-frontend -o name");
    let worker = TIER
        .replace("NAME", "pake-worker")
        .replace("[sleep, '100000']", "[sh, -c, 'echo no database; exit 1']");
    cluster.apply(&worker);
    let alerts = [
        "PakeHighLatency",
        "PakeHighErrorRate",
        "PakeHighCPU",
        "PakeHighMemory",
        "PakeDatabaseConnectionFailed",
        "PakeRedisConnectionFailed",
        "PakePodCrashLooping",
        "PakeHPAScaling",
    ];
    webhook.hears(PATIENCE * 3, &alerts, "firing");
    faults("touch", "pake-backend", &["unready"]);
    webhook.hears(PATIENCE, &["PakeBackendDown"], "firing");

    faults("rm", "pake-backend", &["slow", "fail", "hold", "unready"]);
    cluster.ok(&format!(
        "kubectl exec -n pake-system {} -- rm /tmp/burn",
        burning.trim()
    ));
    for tier in ["pake-postgres", "pake-redis"] {
        faults("rm", tier, &["unready"]);
    }
    cluster.ok("kubectl delete deployment pake-worker -n pake-system");
    webhook.hears(PATIENCE * 3, &alerts, "resolved");
    webhook.hears(PATIENCE, &["PakeBackendDown"], "resolved");
    let ended = webhook.alerts();
    assert!(
        ended.iter().all(|(name, ..)| name != "PakeStorageSpace"),
        "nothing filled a volume"
    );
    load.signal(Signal::SIGINT);
    load.wait(Duration::from_secs(60));
}
