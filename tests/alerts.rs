//! The platform's own Prometheus and Alertmanager through `tide query`, `tide alerts`, `tide silence`, through the HTTP
//! API that Grafana asks, and through kubectl.

// Every test uses a part of it.
#[allow(dead_code, unreachable_pub, unused_imports)]
mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use support::platform::free_node_port;
use support::wait::PATIENCE;
use support::{Cluster, Home, Kubectl, User, Webhook, eventually, web, webhook};

const RULES: &str = r"
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: web, namespace: default}
spec:
  groups:
  - name: web
    interval: 1s
    rules:
    - record: deployment:available:sum
      expr: sum by (deployment) (kube_deployment_status_replicas_available{namespace='default'})
    - alert: WebDown
      expr: deployment:available:sum{deployment='web'} == 0
      for: 2s
      labels: {severity: critical}
      annotations: {summary: '{{ $labels.deployment }} has {{ $value }} replicas'}
";

fn cluster(kubectl: &Kubectl) -> Cluster {
    let options = ["--metrics-scrape-interval", "1s"];
    Cluster::new(Home::new(User::Myself).up(&options), kubectl)
}

/// A `tide` command about this platform.
fn tide(cluster: &Cluster, line: &str) -> String {
    format!(
        "tide {line} --data-dir {}",
        cluster.tide.home().data().display()
    )
}

#[test]
fn an_alert_is_told_silenced_kept_over_a_crash_of_the_brain_and_resolved() {
    let Some(kubectl) = Kubectl::newest() else {
        return;
    };
    let cluster = cluster(&kubectl);
    let tide = |line: &str| tide(&cluster, line);
    let webhook = Webhook::start();
    web::start(&cluster, 1, free_node_port());
    cluster.apply(&webhook::manifest(&webhook.url));
    cluster.apply(RULES);
    cluster.comes_to_say(&tide("query 'deployment:available:sum'"), &["web", "1"]);
    cluster.says(&tide("alerts"), &["no alerts"]);

    cluster.ok("kubectl scale deployment web --replicas=0");
    webhook.hears(PATIENCE, &["WebDown"], "firing");
    let (_, _, alert) = webhook.alerts().remove(0);
    assert_eq!(alert["annotations"]["summary"], "web has 0 replicas");
    let link = alert["generatorURL"].as_str().expect("a link");
    assert!(link.starts_with("http://127.0.0.1:"), "{link}");
    cluster.says(
        &tide("alerts 'severity=\"critical\"'"),
        &["WebDown active", "web has 0 replicas"],
    );
    cluster.says(&tide("alerts 'severity=\"info\"'"), &["no alerts"]);
    cluster.says(
        &tide("query 'ALERTS{alertstate=\"firing\"}'"),
        &["WebDown", "critical"],
    );

    let silence = cluster.ok(&tide("silence add alertname=WebDown --comment 'by hand'"));
    let silence = silence.trim();
    cluster.says(&tide("silence list"), &[silence, "active", "by hand"]);
    cluster.says(&tide("alerts"), &["no alerts"]);
    cluster.says(&tide("alerts --all"), &["WebDown suppressed"]);

    let brain = cluster.tide.brain().expect("it runs");
    kill(Pid::from_raw(brain.pid), Signal::SIGKILL).expect("it is ours");
    eventually("another brain", || {
        cluster.tide.brain().is_some_and(|now| now.pid != brain.pid)
    });
    // The rule fires again: until then, nobody would be told that it is over.
    // To the nanosecond: what the brain before wrote in this second is no sign of this one.
    let restarted = cluster.ok("date +%s.%N");
    let fires = "timestamp(ALERTS{alertname=\"WebDown\",alertstate=\"firing\"})";
    cluster.comes_to_say(
        &tide(&format!("query '{fires} > {}'", restarted.trim())),
        &["WebDown"],
    );
    // The alert and its silence are there again, and nobody was told that it is over.
    cluster.comes_to_say(&tide("alerts --all"), &["WebDown suppressed"]);
    cluster.says(&tide("silence list"), &[silence, "by hand"]);
    cluster.says(&tide(&format!("silence expire {silence}")), &[silence]);
    cluster.says(&tide("alerts"), &["WebDown active"]);
    let statuses = || {
        let alerts = webhook.alerts().into_iter();
        alerts.map(|(_, status, _)| status).collect::<Vec<_>>()
    };
    assert!(statuses().iter().all(|status| status == "firing"));

    cluster.ok("kubectl scale deployment web --replicas=1");
    webhook.hears(PATIENCE, &["WebDown"], "resolved");
    cluster.comes_to_say(&tide("alerts"), &["no alerts"]);

    // A configuration that is wrong is told of where it is.
    cluster.apply(&webhook::manifest(&webhook.url).replace("receiver: test", "receiver: nobody"));
    cluster.comes_to_say(
        "kubectl get events -n kube-system",
        &["InvalidConfiguration", "nobody"],
    );
    cluster.comes_to_say(
        "kubectl logs deployment/prometheus -n kube-system",
        &[
            "kube-system/alertmanager: the configuration is not used",
            "nobody",
        ],
    );
}

#[test]
fn queries_print_tables_and_charts_and_say_what_is_wrong_with_them() {
    let Some(kubectl) = Kubectl::newest() else {
        return;
    };
    let cluster = cluster(&kubectl);
    let tide = |line: &str| tide(&cluster, line);
    cluster.comes_to_say(
        &tide("query 'up{job=\"kube-state-metrics\"}'"),
        &["SERIES", "VALUE", "job=\"kube-state-metrics\"", "1"],
    );
    cluster.says(&tide("query nosuch_metric"), &["no series"]);
    cluster.comes_to_say(
        &tide("query 'sum(up)' --range 1h --step 1s --chart"),
        &["█", "min", "last"],
    );
    cluster.says(
        &tide("query 'sum(up)' --range 1h --step 15s"),
        &["TIME", "VALUE"],
    );
    let outcome = cluster.run(&tide("query 'sum by (pod (up)'"));
    outcome.expect_failure(
        1,
        &["tide: bad_data: invalid parameter \"query\": 1:13: parse error"],
    );
    let json: Value =
        serde_json::from_str(&cluster.ok(&tide("query 1 --json"))).expect("an answer");
    assert_eq!(json["data"]["resultType"], "scalar");

    cluster.ok("kubectl scale deployment/prometheus -n kube-system --replicas=0");
    cluster.ok(
        "kubectl wait --for=delete pod -l app.kubernetes.io/name=prometheus -n kube-system --timeout=60s",
    );
    let outcome = cluster.run(&tide("query up"));
    outcome.expect_failure(
        1,
        &[
            "the platform's metrics do not answer",
            "kube-system/prometheus",
        ],
    );
}

#[test]
fn a_dashboard_finds_what_it_asks_for() {
    let Some(kubectl) = Kubectl::newest() else {
        return;
    };
    let cluster = cluster(&kubectl);
    let status = cluster.ok(&tide(&cluster, "status"));
    let server = status
        .lines()
        .find_map(|line| line.strip_prefix("metrics")?.split_whitespace().next())
        .expect("it is said");
    cluster.comes_to_say(
        "kubectl logs -n kube-system deployment/prometheus",
        &[&format!("serving Prometheus' API on {server}")],
    );
    let ask = |arguments: &str| -> Value {
        let answer = cluster.ok(&format!("curl -sf --max-time 20 {arguments}"));
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["status"], "success", "{arguments}: {answer}");
        answer["data"].clone()
    };
    let now = ask(&format!("'{server}/api/v1/query?query=time()'"));
    let now: f64 = now["result"][0].as_f64().expect("a time");
    // Until later than this test lasts: what it asks for is not there yet.
    let (start, end) = (now - 300.0, now + 300.0);
    let span = format!("start={start}&end={end}");
    // A data source that is saved asks for the version and for one value.
    assert_eq!(
        ask(&format!("{server}/api/v1/status/buildinfo"))["version"],
        "3.5.0"
    );
    assert_eq!(
        ask(&format!(
            "-d query=1%2B1 -d time={now} {server}/api/v1/query"
        ))["result"][1],
        "2"
    );
    // Variables.
    let has = |list: &Value, value: &str| {
        let list = list.as_array().expect("a list");
        list.iter().any(|found| found == value)
    };
    eventually("the pods of this cluster", || {
        let query = format!("'{server}/api/v1/label/pod/values?match[]=kube_pod_info&{span}'");
        let pods = ask(&query);
        pods.as_array().is_some_and(|pods| {
            pods.iter().any(|pod| {
                pod.as_str()
                    .is_some_and(|pod| pod.starts_with("prometheus-"))
            })
        })
    });
    eventually("the jobs of this cluster", || {
        let jobs = ask(&format!("'{server}/api/v1/label/job/values?{span}'"));
        ["kubelet", "kube-state-metrics"]
            .iter()
            .all(|job| has(&jobs, job))
    });
    assert!(has(
        &ask(&format!("'{server}/api/v1/labels?match[]=up&{span}'")),
        "job"
    ));
    let series = ask(&format!(
        "-d 'match[]=kube_pod_info{{namespace=\"kube-system\"}}' -d start={start} -d end={end} {server}/api/v1/series"
    ));
    assert!(
        series.as_array().is_some_and(|series| !series.is_empty()),
        "{series}"
    );
    let metadata = ask(&format!("'{server}/api/v1/metadata?metric=kube_pod_info'"));
    assert_eq!(metadata["kube_pod_info"][0]["type"], "gauge");
    // A panel: POST, a step, the functions of real dashboards.
    eventually("a panel with points", || {
        let panel = ask(&format!(
            "--data-urlencode 'query=histogram_quantile(0.95, sum by (le, verb) (rate(apiserver_request_duration_seconds_bucket[15s])))' -d start={start} -d end={end} -d step=1 {server}/api/v1/query_range"
        ));
        assert_eq!(panel["resultType"], "matrix");
        panel["result"].as_array().is_some_and(|result| {
            result.iter().any(|series| {
                series["values"]
                    .as_array()
                    .is_some_and(|values| values.len() > 1)
            })
        })
    });
    // The alerting pages.
    cluster.apply(RULES);
    eventually("the rules", || {
        let groups = ask(&format!("'{server}/api/v1/rules?type=alert'"));
        groups["groups"][0]["rules"][0]["name"] == "WebDown"
    });
    let alertmanager = cluster.ok(&format!("curl -sf {server}/api/v2/status"));
    assert!(alertmanager.contains("\"cluster\""), "{alertmanager}");
    let healthy = cluster.ok(&format!("curl -sf --max-time 20 {server}/-/healthy"));
    assert_eq!(healthy, "OK");
}
