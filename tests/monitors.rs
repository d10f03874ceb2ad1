//! ServiceMonitors and PodMonitors, as users of the Prometheus operator write them.

// Every test uses a part of it.
#[allow(dead_code, unreachable_pub, unused_imports)]
mod support;

use support::{Cluster, Home, Kubectl, User};

/// A program with a port for its users, and one for metrics that asks for a password and for a parameter.
const EXPORTER: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: exporter, namespace: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: exporter}}
  template:
    metadata: {labels: {app: exporter, zone: west}}
    spec:
      runtimeClassName: host
      terminationGracePeriodSeconds: 1
      containers:
        - name: exporter
          image: exporter:1
          ports: [{name: http, containerPort: 8080}, {name: metrics, containerPort: 9102}]
          readinessProbe: {tcpSocket: {port: metrics}, periodSeconds: 1}
          command:
            - python3
            - -c
            - |
              import base64, http.server, threading
              LINES = "exporter_orders_total 7\nexporter_noise 1\nexporter_jobs{job=\"own\"} 3\n"
              GUARDED = "Basic " + base64.b64encode(b"scraper:pass word").decode()
              class Open(http.server.BaseHTTPRequestHandler):
                  def allowed(self):
                      return self.path == "/open"
                  def do_GET(self):
                      self.send_response(200 if self.allowed() else 403)
                      self.send_header("content-type", "text/plain; version=0.0.4")
                      self.end_headers()
                      self.wfile.write(LINES.encode())
                  def log_message(self, *_):
                      pass
              class Guarded(Open):
                  def allowed(self):
                      return self.path == "/stats?module=all" and self.headers["authorization"] == GUARDED
              server = http.server.ThreadingHTTPServer(("", 8080), Open)
              threading.Thread(target=server.serve_forever, daemon=True).start()
              http.server.ThreadingHTTPServer(("", 9102), Guarded).serve_forever()
---
apiVersion: v1
kind: Service
metadata: {name: exporter, namespace: shop, labels: {app: exporter, team: orders}}
spec:
  selector: {app: exporter}
  ports: [{name: web, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: shop, labels: {app: other}}
spec:
  selector: {app: exporter}
  ports: [{name: web, port: 80, targetPort: http}]
"#;

const SERVICE_MONITOR: &str = r"
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata: {name: exporter, namespace: shop}
spec:
  selector:
    matchLabels: {app: exporter}
    matchExpressions: [{key: team, operator: In, values: [orders, carts]}]
  jobLabel: team
  targetLabels: [app]
  podTargetLabels: [zone]
  endpoints:
    - port: web
      path: /open
      interval: 1s
      honorLabels: true
      relabelings:
        - {targetLabel: cluster, replacement: mine}
      metricRelabelings:
        - {sourceLabels: [__name__], regex: .*_noise, action: drop}
";

const POD_MONITOR: &str = r"
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata: {name: guarded, namespace: monitoring}
spec:
  namespaceSelector: {matchNames: [shop]}
  selector: {matchLabels: {app: exporter}}
  podMetricsEndpoints:
    - port: metrics
      path: /stats
      params: {module: [all]}
      interval: 1s
      basicAuth:
        username: {name: scraper, key: user}
        password: {name: scraper, key: password}
";

const SECRET: &str = r"
apiVersion: v1
kind: Secret
metadata: {name: scraper, namespace: monitoring}
stringData: {user: scraper, password: pass word}
";

#[test]
fn monitors_are_applied_with_kubectl_and_what_they_select_is_scraped() {
    let Some(kubectl) = Kubectl::newest() else {
        return;
    };
    let options = ["--metrics-scrape-interval", "1s"];
    let cluster = Cluster::new(Home::new(User::Myself).up(&options), &kubectl);
    let data = cluster.tide.home().data();
    let query = |query: &str| format!("tide query '{query}' --data-dir {}", data.display());
    cluster.apply(EXPORTER);
    cluster.ok("kubectl rollout status deployment/exporter -n shop --timeout=60s");

    cluster.write("service-monitor.yaml", SERVICE_MONITOR);
    cluster.says(
        "kubectl apply -f service-monitor.yaml",
        &["servicemonitor.monitoring.coreos.com/exporter created"],
    );
    cluster.says("kubectl get smon -n shop", &["exporter"]);
    cluster.says(
        "kubectl explain servicemonitor.spec.endpoints.relabelings",
        &["sourceLabels", "<[]string>"],
    );
    // Both pods, each once, with the labels that the operator gives: of the Service, the pod, and the endpoint.
    cluster.comes_to_say(
        &query("count by (job, namespace, service, container, endpoint, app, zone, cluster) (exporter_orders_total)"),
        &[
            "{app=\"exporter\", cluster=\"mine\", container=\"exporter\", endpoint=\"web\", job=\"orders\", namespace=\"shop\", service=\"exporter\", zone=\"west\"} 2",
        ],
    );
    cluster.says(&query("exporter_jobs"), &["job=\"own\""]);
    cluster.says(&query("exporter_noise"), &["no series"]);
    cluster.says(&query("count(up{service=\"other\"})"), &["no series"]);

    // Without its Secret a PodMonitor is told of by an event; as soon as the Secret is there, it is scraped.
    cluster.ok("kubectl create namespace monitoring");
    cluster.write("pod-monitor.yaml", POD_MONITOR);
    cluster.says(
        "kubectl apply -f pod-monitor.yaml",
        &["podmonitor.monitoring.coreos.com/guarded created"],
    );
    cluster.comes_to_say(
        "kubectl describe podmonitor guarded -n monitoring",
        &[
            "InvalidConfiguration",
            "spec.podMetricsEndpoints[0] (port metrics): there is no key \"user\" of Secret \"scraper\" in namespace monitoring",
        ],
    );
    cluster.apply(SECRET);
    cluster.comes_to_say(
        &query("sum by (job, endpoint) (up{job=\"monitoring/guarded\"})"),
        &["{endpoint=\"metrics\", job=\"monitoring/guarded\"} 2"],
    );
    cluster.says(
        &query("count(exporter_orders_total{job=\"monitoring/guarded\", container=\"exporter\", pod=~\"exporter-.+\"})"),
        &["2"],
    );

    // A changed monitor is taken up: a port of the pods that no Service has, by its number.
    cluster.write(
        "service-monitor.yaml",
        &SERVICE_MONITOR
            .replace("port: web", "targetPort: 9102")
            .replace("path: /open", "path: /stats"),
    );
    cluster.says(
        "kubectl apply -f service-monitor.yaml",
        &["exporter configured"],
    );
    cluster.comes_to_say(
        &query("sum by (job, endpoint) (up{job=\"orders\"})"),
        &["{endpoint=\"9102\", job=\"orders\"} 0"],
    );

    // What is not honoured is answered with a warning by name, and what is no rule is refused.
    cluster.write(
        "warned.yaml",
        &SERVICE_MONITOR.replace("port: web", "proxyUrl: http://proxy:3128\n      oauth2: {clientId: {secret: {name: a, key: b}}, tokenUrl: http://a}\n      port: web"),
    );
    cluster.says(
        "kubectl apply -f warned.yaml",
        &[
            "Warning: spec.endpoints[0].oauth2: is not supported",
            "Warning: spec.endpoints[0].proxyUrl: targets are reached directly",
            "exporter configured",
        ],
    );
    cluster.write(
        "wrong.yaml",
        &SERVICE_MONITOR.replace("action: drop", "action: forget"),
    );
    cluster.refuses(
        "kubectl apply -f wrong.yaml",
        &[
            "monitorvalidate.monitoring.coreos.com",
            "unknown relabel action \"forget\"",
        ],
    );
    cluster.write(
        "typo.yaml",
        &SERVICE_MONITOR.replace("honorLabels", "honourLabels"),
    );
    cluster.refuses(
        "kubectl apply -f typo.yaml",
        &["unknown field", "honourLabels"],
    );

    // With the monitor its series end.
    cluster.ok("kubectl delete podmonitor guarded -n monitoring");
    cluster.comes_to_say(&query("up{job=\"monitoring/guarded\"}"), &["no series"]);
}
