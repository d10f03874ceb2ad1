use serde_json::json;

use super::*;
use crate::config::{KubernetesRole, PromDuration};
use crate::relabel::{LabelSet, relabel};

const PREFIX: &str = "__meta_kubernetes_";

/// The labels of a discovered target: those beginning with `@` are the API's.
fn target(labels: &[(&str, &str)]) -> LabelSet {
    let pair = |(name, value): &(&str, &str)| {
        let name = match name.strip_prefix('@') {
            Some(name) => format!("{PREFIX}{name}"),
            None => (*name).to_owned(),
        };
        (name, (*value).to_owned())
    };
    labels.iter().map(pair).collect()
}

/// The labels that a target's series get; `None` where it is not scraped.
fn scraped(job: &ScrapeConfig, labels: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
    let mut labels = target(labels);
    labels.insert("job".to_owned(), job.job_name.clone());
    let keeps = relabel(&mut labels, &job.relabel_configs);
    labels.retain(|name, _| !name.starts_with("__"));
    keeps.then(|| labels.into_iter().collect())
}

fn global() -> GlobalConfig {
    GlobalConfig {
        scrape_interval: PromDuration::from_secs(5),
        ..GlobalConfig::default()
    }
}

fn jobs_of(
    kind: MonitorKind,
    spec: &Value,
    secrets: &[(&str, &str, &str)],
) -> (Vec<ScrapeConfig>, Vec<String>) {
    let keys = |source: &Source<'_>| {
        let found = secrets.iter().find(|(name, key, _)| {
            *source == Source::Secret { name, key } || *source == Source::ConfigMap { name, key }
        });
        match found {
            Some((_, _, text)) => Ok(Some((*text).to_owned())),
            None => Err(format!("there is no {source}")),
        }
    };
    let monitor = Monitor {
        kind,
        namespace: "shop",
        name: "web",
        spec,
    };
    jobs(&monitor, &global(), &keys)
}

#[test]
fn a_service_monitor_scrapes_the_named_port_of_the_services_it_selects() {
    let spec = json!({
        "selector": {
            "matchLabels": {"app.kubernetes.io/name": "web.v1"},
            "matchExpressions": [
                {"key": "tier", "operator": "In", "values": ["front", "back"]},
                {"key": "canary", "operator": "DoesNotExist"},
                {"key": "team", "operator": "NotIn", "values": ["a"]},
            ],
        },
        "jobLabel": "team",
        "targetLabels": ["app.kubernetes.io/version", "none"],
        "podTargetLabels": ["zone"],
        "sampleLimit": 100,
        "endpoints": [{
            "port": "http", "path": "/stats", "interval": "1s", "scheme": "https", "honorLabels": true,
            "params": {"module": ["all"]},
            "relabelings": [{"targetLabel": "cluster", "replacement": "mine"}],
            "metricRelabelings": [{"sourceLabels": ["__name__"], "regex": "go_.*", "action": "drop"}],
        }],
    });
    let (jobs, faults) = jobs_of(MonitorKind::Service, &spec, &[]);
    assert_eq!(faults, [""; 0]);
    let job = &jobs[0];
    assert_eq!(job.job_name, "serviceMonitor/shop/web/0");
    assert_eq!(job.metrics_path, "/stats");
    assert_eq!(json!(job.scheme), "https");
    assert_eq!(job.scrape_interval, Some(PromDuration::from_secs(1)));
    assert_eq!(job.scrape_timeout, Some(PromDuration::from_secs(1)));
    assert!(job.honor_labels);
    assert_eq!(job.sample_limit, Some(100));
    assert_eq!(job.params["module"], ["all"]);
    assert_eq!(job.metric_relabel_configs[0].source_labels, ["__name__"]);
    let discovery = &job.kubernetes_sd_configs[0];
    assert_eq!(
        (discovery.role, discovery.namespaces.names.as_slice()),
        (KubernetesRole::Endpoints, &["shop".to_owned()][..])
    );
    let selected = [
        ("__address__", "10.0.0.1:80"),
        ("@namespace", "shop"),
        ("@service_name", "web"),
        ("@service_label_app_kubernetes_io_name", "web.v1"),
        ("@service_labelpresent_app_kubernetes_io_name", "true"),
        ("@service_label_app_kubernetes_io_version", "7"),
        ("@service_label_tier", "back"),
        ("@service_labelpresent_tier", "true"),
        ("@endpoint_port_name", "http"),
        ("@endpoint_address_target_kind", "Pod"),
        ("@endpoint_address_target_name", "web-1"),
        ("@pod_name", "web-1"),
        ("@pod_container_name", "app"),
        ("@pod_label_zone", "z"),
        ("@pod_phase", "Running"),
    ];
    let expected = [
        ("app_kubernetes_io_version", "7"),
        ("cluster", "mine"),
        ("container", "app"),
        ("endpoint", "http"),
        ("job", "web"),
        ("namespace", "shop"),
        ("pod", "web-1"),
        ("service", "web"),
        ("zone", "z"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(scraped(job, &selected).as_deref(), Some(&expected[..]));
    let with = |more: &[(&'static str, &'static str)]| {
        let mut labels = selected.to_vec();
        labels.extend(more);
        scraped(job, &labels)
    };
    let team = [
        ("@service_label_team", "b"),
        ("@service_labelpresent_team", "true"),
    ];
    let labels = with(&team).expect("scraped");
    assert!(labels.contains(&("job".to_owned(), "b".to_owned())));
    for other in [
        &[("@service_label_app_kubernetes_io_name", "webxv1")][..],
        &[("@service_label_tier", "middle")],
        &[
            ("@service_label_canary", ""),
            ("@service_labelpresent_canary", "true"),
        ],
        &[
            ("@service_label_team", "a"),
            ("@service_labelpresent_team", "true"),
        ],
        &[("@endpoint_port_name", "https")],
        &[("@pod_phase", "Succeeded")],
    ] {
        assert_eq!(with(other), None, "{other:?}");
    }
}

#[test]
fn a_port_is_chosen_by_its_name_or_by_the_containers_name_or_number_of_it() {
    let of_pod = |endpoint: Value| {
        let spec = json!({"selector": {}, "podMetricsEndpoints": [endpoint]});
        let (jobs, faults) = jobs_of(MonitorKind::Pod, &spec, &[]);
        assert_eq!(faults, [""; 0]);
        jobs.into_iter().next().expect("a job")
    };
    let labels = [
        ("@namespace", "shop"),
        ("@pod_name", "web-1"),
        ("@pod_container_port_name", "metrics"),
        ("@pod_container_port_number", "9102"),
    ];
    for (endpoint, label) in [
        (json!({"port": "metrics"}), Some("metrics")),
        (json!({"targetPort": "metrics"}), Some("metrics")),
        (json!({"targetPort": 9102}), Some("9102")),
        (json!({"portNumber": 9102}), Some("9102")),
        (json!({}), None),
    ] {
        let job = of_pod(endpoint.clone());
        assert_eq!(job.job_name, "podMonitor/shop/web/0");
        assert_eq!(job.kubernetes_sd_configs[0].role, KubernetesRole::Pod);
        assert_eq!(job.scrape_interval, Some(PromDuration::from_secs(5)));
        let found = scraped(&job, &labels).unwrap_or_else(|| panic!("{endpoint} is not scraped"));
        let of = |name: &str| found.iter().find(|(label, _)| label == name);
        assert_eq!(
            of("endpoint").map(|(_, value)| value.as_str()),
            label,
            "{endpoint}"
        );
        assert_eq!(of("job").map(|(_, value)| value.as_str()), Some("shop/web"));
    }
    for endpoint in [
        json!({"port": "metric"}),
        json!({"targetPort": 102}),
        json!({"portNumber": 910}),
    ] {
        assert_eq!(
            scraped(&of_pod(endpoint.clone()), &labels),
            None,
            "{endpoint}"
        );
    }
    // What the container's port is, the Service's endpoints know too.
    let spec = json!({"selector": {}, "endpoints": [{"targetPort": 9102}]});
    let (jobs, _) = jobs_of(MonitorKind::Service, &spec, &[]);
    assert!(scraped(&jobs[0], &labels).is_some());
}

#[test]
fn namespaces_are_the_monitors_own_or_the_named_or_all() {
    let namespaces = |selector: Value| {
        let spec = json!({"selector": {}, "namespaceSelector": selector, "endpoints": [{}]});
        let (jobs, _) = jobs_of(MonitorKind::Service, &spec, &[]);
        jobs[0].kubernetes_sd_configs[0].namespaces.names.clone()
    };
    assert_eq!(namespaces(json!({})), ["shop"]);
    assert_eq!(namespaces(json!({"matchNames": ["a", "b"]})), ["a", "b"]);
    assert_eq!(namespaces(json!({"any": true})), [""; 0]);
}

#[test]
fn credentials_come_from_secrets_and_are_not_shown() {
    let spec = json!({"selector": {}, "endpoints": [
        {"port": "a", "basicAuth": {"username": {"name": "web", "key": "user"}, "password": {"name": "web", "key": "password"}}},
        {"port": "b", "authorization": {"credentials": {"name": "web", "key": "token"}}},
        {"port": "c", "bearerTokenSecret": {"name": "web", "key": "token"}},
        {"port": "d", "tlsConfig": {"ca": {"configMap": {"name": "authority", "key": "ca.crt"}}, "serverName": "web.shop", "minVersion": "TLS13"}},
        {"port": "e", "bearerTokenSecret": {"name": "", "key": ""}},
    ]});
    let secrets = [
        ("web", "user", "me"),
        ("web", "password", "s3cret"),
        ("web", "token", "t0ken\n"),
        ("authority", "ca.crt", "PEM"),
    ];
    let (jobs, faults) = jobs_of(MonitorKind::Service, &spec, &secrets);
    assert_eq!(faults, [""; 0]);
    let basic = jobs[0].basic_auth.as_ref().expect("given");
    assert_eq!(basic.username, "me");
    assert_eq!(
        basic.password.as_ref().map(crate::config::Secret::expose),
        Some("s3cret")
    );
    assert!(jobs[1].authorization.is_some());
    let token = jobs[2].bearer_token.as_ref().expect("given");
    assert_eq!(token.expose(), "t0ken");
    let tls = jobs[3].tls_config.as_ref().expect("given");
    assert_eq!(
        (tls.ca.as_deref(), tls.server_name.as_str()),
        (Some("PEM"), "web.shop")
    );
    assert_eq!(jobs[4].bearer_token, None);
    let shown = serde_json::to_string(&jobs).expect("JSON");
    assert!(
        !shown.contains("s3cret") && !shown.contains("t0ken"),
        "{shown}"
    );
}

#[test]
fn an_endpoint_that_cannot_be_scraped_is_named_and_the_others_are_scraped() {
    let spec = json!({"selector": {}, "endpoints": [
        {"port": "good"},
        {"port": "secret", "bearerTokenSecret": {"name": "nosuch", "key": "token"}},
        {"port": "rule", "relabelings": [{"action": "twist"}]},
        {"port": "time", "interval": "1s", "scrapeTimeout": "5s"},
        {"targetPort": 8080, "interval": "soon"},
    ]});
    let (jobs, faults) = jobs_of(MonitorKind::Service, &spec, &[]);
    assert_eq!(jobs.len(), 1);
    for (fault, expected) in faults.iter().zip([
        "spec.endpoints[1] (port secret): there is no key \"token\" of Secret \"nosuch\"",
        "spec.endpoints[2] (port rule): unknown relabel action \"twist\"",
        "spec.endpoints[3] (port time): ",
        "spec.endpoints[4] (port 8080): ",
    ]) {
        assert!(fault.starts_with(expected), "{fault}");
    }
    assert_eq!(faults.len(), 4);
    let object = |endpoint: Value| {
        json!({"metadata": {"namespace": "shop", "name": "web"},
            "spec": {"selector": {}, "endpoints": [endpoint]}})
    };
    // A Secret may come later; a rule that is none does not get better.
    let secret =
        object(json!({"port": "a", "bearerTokenSecret": {"name": "later", "key": "token"}}));
    assert_eq!(check_service_monitor(&secret), Ok(()));
    let rule = object(json!({"port": "a", "relabelings": [{"action": "twist"}]}));
    assert!(check_service_monitor(&rule).is_err());
}
