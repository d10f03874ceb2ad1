//! A small web application: one Deployment and one Service, whose pods start fast and use little.

use super::cluster::Cluster;

/// The Deployment `web` and a NodePort Service of the same name.
pub fn manifest(replicas: u32, node_port: u16) -> String {
    format!(
        r"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, labels: {{app: web}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  strategy: {{rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      runtimeClassName: host
      terminationGracePeriodSeconds: 10
      containers:
        - name: web
          image: web:1
          command: [tide, sample, feastflow-frontend]
          env:
            - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
          ports: [{{name: http, containerPort: 8080}}]
          resources:
            requests: {{cpu: 10m, memory: 16Mi}}
            limits: {{memory: 128Mi}}
          readinessProbe: {{httpGet: {{path: /health, port: http}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, labels: {{app: web}}}}
spec:
  type: NodePort
  selector: {{app: web}}
  ports: [{{name: http, port: 80, targetPort: http, nodePort: {node_port}}}]
"
    )
}

/// Applies it and waits until it answers from outside.
///
/// # Panics
/// When it does not within a minute.
#[track_caller]
pub fn start(cluster: &Cluster, replicas: u32, node_port: u16) {
    cluster.apply(&manifest(replicas, node_port));
    cluster.ok("kubectl rollout status deployment/web --timeout=60s");
    cluster.comes_to_say(
        &format!("curl -sf --max-time 5 http://127.0.0.1:{node_port}/health"),
        &["ok"],
    );
}
