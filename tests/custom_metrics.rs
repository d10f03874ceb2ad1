//! Metrics of an application: scraped, turned into rates by an adapter's rules, and scaled by.

// Every test uses a part of it.
#[allow(dead_code, unreachable_pub, unused_imports)]
mod support;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use support::feastflow::FeastFlow;
use support::wait::PATIENCE;
use support::{Cluster, Home, Kubectl, User};

/// The rules of requests per second, as users of prometheus-adapter write them.
const ADAPTER: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata:
  name: adapter-config
  namespace: feastflow
data:
  config.yaml: |
    rules:
    - seriesQuery: 'http_requests_total{namespace!="",pod!=""}'
      resources:
        overrides:
          namespace:
            resource: namespace
          pod:
            resource: pod
      name:
        matches: "^(.*)"
        as: "http_requests_per_second"
      metricsQuery: 'rate(<<.Series>>{<<.LabelMatchers>>}[2m])'
"#;

const AUTOSCALER: &str = r"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: by-requests
  namespace: feastflow
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: feastflow-backend}
  minReplicas: 2
  maxReplicas: 4
  metrics:
  - type: Pods
    pods:
      metric: {name: http_requests_per_second}
      target: {type: AverageValue, averageValue: '1'}
";

const RULES: &str = r"
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: feastflow
  namespace: feastflow
spec:
  groups:
  - name: feastflow
    interval: 1s
    rules:
    - record: pod:http_requests:rate1m
      expr: sum by (namespace, pod) (rate(http_requests_total[1m]))
";

#[test]
fn an_autoscaler_follows_requests_per_second() {
    let Some(kubectl) = Kubectl::newest() else {
        return;
    };
    let options = [
        "--horizontal-pod-autoscaler-sync-period",
        "1s",
        "--metrics-scrape-interval",
        "1s",
    ];
    let cluster = Cluster::new(Home::new(User::Myself).up(&options), &kubectl);
    let feastflow = FeastFlow::copy(&cluster);
    feastflow.start(&cluster);

    cluster.write("adapter.yaml", ADAPTER);
    cluster.write("autoscaler.yaml", AUTOSCALER);
    cluster.write("rules.yaml", RULES);
    cluster.says(
        "kubectl apply -f adapter.yaml",
        &["configmap/adapter-config created"],
    );
    cluster.says(
        "kubectl apply -f rules.yaml",
        &["prometheusrule.monitoring.coreos.com/feastflow created"],
    );
    cluster.says("kubectl get promrule -n feastflow", &["feastflow"]);
    cluster.write("wrong.yaml", &RULES.replace("sum by", "sum bye"));
    cluster.refuses(
        "kubectl apply -f wrong.yaml",
        &[
            "prometheusrulevalidate.monitoring.coreos.com",
            "pod:http_requests:rate1m",
        ],
    );

    let load = cluster.start(&format!(
        "exec tide load {} --vus 4 --duration 300s",
        feastflow.url("/api/restaurants")
    ));
    // The API is discovered, and answers with a value for each pod.
    cluster.comes_to_say(
        "kubectl get --raw /apis/custom.metrics.k8s.io/v1beta1",
        &["pods/http_requests_per_second", "MetricValueList"],
    );
    cluster.comes_to_say(
        "kubectl api-versions",
        &[
            "custom.metrics.k8s.io/v1beta2",
            "external.metrics.k8s.io/v1beta1",
        ],
    );
    cluster.comes_to_say(
        "kubectl get --raw '/apis/custom.metrics.k8s.io/v1beta2/namespaces/feastflow/pods/*/http_requests_per_second'",
        &["feastflow-backend-", "\"metric\":{\"name\":\"http_requests_per_second\"}"],
    );
    cluster.says("kubectl apply -f autoscaler.yaml", &["by-requests created"]);
    cluster.comes_to_say(
        "kubectl describe hpa by-requests -n feastflow",
        &[
            "pods metric http_requests_per_second above target",
            "ScalingActive   True",
        ],
    );
    cluster.comes_to_say_within(
        PATIENCE * 2,
        "kubectl get deployment feastflow-backend -n feastflow",
        &["4/4"],
    );
    let found: Value = cluster.json("get hpa by-requests -n feastflow");
    let current = &found["status"]["currentMetrics"][0]["pods"]["current"]["averageValue"];
    assert!(current.is_string(), "{found:#}");
    load.signal(Signal::SIGINT);
    load.wait(Duration::from_secs(60));
}
