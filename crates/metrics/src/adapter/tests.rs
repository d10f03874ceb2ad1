use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use springtide_machinery::clock::Clock;
use tower::ServiceExt as _;

use super::catalog::Rules;
use super::follow::read;
use super::*;
use crate::series_store::Labels;
use crate::tsdb::{Options, Tsdb};

/// The configuration of a user who scales by requests per second.
const PER_SECOND: &str = r#"
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

/// A database in which each series grows by its rate each second of the last three minutes.
fn database(clock: &Clock, series: &[(&[(&str, &str)], f64)]) -> Tsdb {
    let database = Tsdb::in_memory(Options::default());
    let now = clock.now().as_millisecond();
    let mut appender = database.appender();
    for second in (0..=180).rev() {
        for (labels, rate) in series {
            let labels = Labels::new(labels.iter().copied());
            let value = rate * f64::from(180 - second);
            appender
                .append(&labels, None, now - i64::from(second) * 1000, value)
                .unwrap();
        }
    }
    appender.commit().unwrap();
    database
}

/// A client of an API that has these pods, whatever is asked for.
fn client(pods: &'static [&'static str]) -> kube::Client {
    let service = tower::service_fn(move |_: http::Request<kube::client::Body>| async move {
        let items: Vec<Value> = pods
            .iter()
            .map(|name| json!({"metadata": {"name": name, "namespace": "shop"}}))
            .collect();
        let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "items": items});
        Ok::<_, std::convert::Infallible>(http::Response::new(kube::client::Body::from(
            list.to_string().into_bytes(),
        )))
    });
    kube::Client::new(service, "default")
}

fn adapter(config: &str, series: &[(&[(&str, &str)], f64)]) -> Adapter {
    let clock = Clock::system();
    let rules = Rules::new(&Config::parse(config).unwrap()).unwrap();
    let database = database(&clock, series);
    let adapter = Adapter::new(database, clock, client(&["web-1", "web-2"]));
    adapter.replace(rules.catalog(&adapter.series, 0).unwrap());
    adapter
}

async fn get(router: axum::Router, path: &str) -> (u16, Value) {
    let request = http::Request::get(path)
        .body(axum::body::Body::empty())
        .unwrap();
    let response = router.oneshot(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

const PODS: &[(&[(&str, &str)], f64)] = &[
    (
        &[
            ("__name__", "http_requests_total"),
            ("namespace", "shop"),
            ("pod", "web-1"),
            ("path", "/"),
        ],
        1.5,
    ),
    (
        &[
            ("__name__", "http_requests_total"),
            ("namespace", "shop"),
            ("pod", "web-1"),
            ("path", "/cart"),
        ],
        0.5,
    ),
    (
        &[
            ("__name__", "http_requests_total"),
            ("namespace", "shop"),
            ("pod", "web-2"),
            ("path", "/"),
        ],
        3.0,
    ),
    (
        &[
            ("__name__", "http_requests_total"),
            ("namespace", "other"),
            ("pod", "web-1"),
        ],
        9.0,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn requests_per_second_are_told_of_each_selected_pod() {
    let adapter = adapter(PER_SECOND, PODS);
    let path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/%2A/http_requests_per_second?labelSelector=app%3Dweb";
    let (code, list) = get(adapter.custom("v1beta2"), path).await;
    assert_eq!(code, 200, "{list}");
    assert_eq!(list["kind"], "MetricValueList");
    let items = list["items"].as_array().unwrap();
    let told: Vec<(&str, &str)> = items
        .iter()
        .map(|item| {
            (
                item["describedObject"]["name"].as_str().unwrap(),
                item["value"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [("web-1", "2"), ("web-2", "3")],
        "the series of a pod are added up"
    );
    assert_eq!(
        items[0]["describedObject"],
        json!({"kind": "Pod", "namespace": "shop", "name": "web-1", "apiVersion": "v1"})
    );
    assert_eq!(
        items[0]["metric"],
        json!({"name": "http_requests_per_second"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metric_selector_narrows_the_series_and_the_old_version_names_the_metric_its_way() {
    let adapter = adapter(PER_SECOND, PODS);
    let path = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/shop/pods/web-1/http_requests_per_second?metricLabelSelector=path%3D%2Fcart";
    // A slash is no value of a label in a selector.
    assert_eq!(get(adapter.custom("v1beta1"), path).await.0, 400);
    let path = path.replace("path%3D%2Fcart", "path");
    let (code, list) = get(adapter.custom("v1beta1"), &path).await;
    assert_eq!(
        (code, &list["items"][0]["value"]),
        (200, &json!("2")),
        "{list}"
    );
    assert_eq!(list["items"][0]["metricName"], "http_requests_per_second");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_measured_is_not_found_in_kubernetes_words() {
    let adapter = adapter(PER_SECOND, PODS);
    let root = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods";
    let (code, status) = get(adapter.custom("v1beta2"), &format!("{root}/*/queue_length")).await;
    assert_eq!(
        (code, status["message"].as_str()),
        (
            404,
            Some("the server could not find the metric queue_length for pods")
        )
    );
    let (code, status) = get(
        adapter.custom("v1beta2"),
        &format!("{root}/nobody/http_requests_per_second"),
    )
    .await;
    let message = "the server could not find the metric http_requests_per_second for pods nobody";
    assert_eq!((code, status["message"].as_str()), (404, Some(message)));
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_find_objects_of_any_kind_and_queries_group_by_them() {
    let config = r#"
rules:
- seriesQuery: '{__name__=~"^kube_.*",kube_namespace!=""}'
  seriesFilters:
  - isNot: ".*_ignored$"
  resources: {template: "kube_<<.Group>>_<<.Resource>>", overrides: {kube_namespace: {resource: namespaces}}}
  name: {matches: "^kube_(.*)_total$"}
  metricsQuery: sum(rate(<<.Series>>{<<.LabelMatchers>>}[1m])) by (<<.GroupBy>>)
"#;
    let adapter = adapter(
        config,
        &[
            (
                &[
                    ("__name__", "kube_orders_total"),
                    ("kube_namespace", "shop"),
                    ("kube_apps_deployment", "web"),
                    ("x", "1"),
                ],
                2.0,
            ),
            (
                &[
                    ("__name__", "kube_orders_total"),
                    ("kube_namespace", "shop"),
                    ("kube_apps_deployment", "web"),
                    ("x", "2"),
                ],
                2.0,
            ),
            (
                &[
                    ("__name__", "kube_ignored"),
                    ("kube_namespace", "shop"),
                    ("kube_apps_deployment", "web"),
                ],
                2.0,
            ),
        ],
    );
    let names: Vec<String> = adapter
        .catalog()
        .custom()
        .map(|metric| {
            format!(
                "{}/{} {}",
                metric.kind.qualified(),
                metric.name,
                metric.namespaced
            )
        })
        .collect();
    assert_eq!(
        names,
        ["namespaces/orders false", "deployments.apps/orders true"]
    );
    let root = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop";
    let (code, list) = get(
        adapter.custom("v1beta2"),
        &format!("{root}/deployments.apps/web/orders"),
    )
    .await;
    assert_eq!(
        (code, &list["items"][0]["value"]),
        (200, &json!("4")),
        "{list}"
    );
    assert_eq!(list["items"][0]["describedObject"]["apiVersion"], "apps/v1");
    let (code, list) = get(adapter.custom("v1beta2"), &format!("{root}/metrics/orders")).await;
    assert_eq!(
        (code, &list["items"][0]["describedObject"]["kind"]),
        (200, &json!("Namespace")),
        "{list}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn external_metrics_are_of_the_asking_namespace_unless_the_rule_says_otherwise() {
    let config = |namespaced: &str| {
        format!(
            "externalRules:\n- seriesQuery: 'queue_length'\n  resources: {{overrides: {{namespace: {{resource: namespace}}}}{namespaced}}}\n  metricsQuery: max(<<.Series>>{{<<.LabelMatchers>>}}) by (queue)\n"
        )
    };
    let series: &[(&[(&str, &str)], f64)] = &[
        (
            &[
                ("__name__", "queue_length"),
                ("namespace", "shop"),
                ("queue", "a"),
            ],
            1.0,
        ),
        (
            &[
                ("__name__", "queue_length"),
                ("namespace", "other"),
                ("queue", "b"),
            ],
            2.0,
        ),
    ];
    let path = "/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/queue_length";
    let (code, list) = get(adapter(&config(""), series).external(), path).await;
    assert_eq!(code, 200, "{list}");
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["value"], "180");
    assert_eq!(list["items"][0]["metricLabels"], json!({"queue": "a"}));
    let (_, list) = get(
        adapter(&config(", namespaced: false"), series).external(),
        path,
    )
    .await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    let (_, list) = get(
        adapter(&config(", namespaced: false"), series).external(),
        &format!("{path}?labelSelector=queue%3Db"),
    )
    .await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}

#[test]
fn rules_that_cannot_be_used_are_refused_with_their_place() {
    for (config, expected) in [
        (
            "rules: [{seriesQuery: 'x{', metricsQuery: x}]",
            "rules[0].seriesQuery: ",
        ),
        (
            "rules: [{seriesQuery: x}]",
            "rules[0].metricsQuery: it is missing",
        ),
        (
            "rules: [{seriesQuery: x, metricsQuery: '<<.Nope>>'}]",
            "rules[0].metricsQuery: <<.Nope>> is not supported",
        ),
        (
            "rules: [{seriesQuery: x, metricsQuery: x, name: {matches: '('}}]",
            "rules[0].name.matches: ",
        ),
        (
            "rules: [{seriesQuery: x, metricsQuery: x, name: {matches: '(a)(b)'}}]",
            "rules[0].name.as: ",
        ),
        (
            "externalRules: [{seriesQuery: x, metricsQuery: x, resources: {overrides: {a: {resource: nothing}}}}]",
            "externalRules[0].resources: overrides.a: there is no resource",
        ),
        (
            "rules: [{seriesQuery: x, metricsQuery: x, surprise: 1}]",
            "surprise",
        ),
    ] {
        let error = Config::parse(config)
            .and_then(|config| Rules::new(&config))
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{config}: {error}");
    }
}

#[test]
fn one_bad_rule_keeps_the_rules_there_were_before() {
    let map = |config: &str| {
        let data = [(CONFIG_KEY.to_owned(), config.to_owned())].into();
        ConfigMap {
            data: Some(data),
            ..ConfigMap::default()
        }
    };
    let names = |rules: &Rules| {
        let series: &[(&[(&str, &str)], f64)] = &[(
            &[
                ("__name__", "http_requests_total"),
                ("namespace", "shop"),
                ("pod", "web-1"),
            ],
            1.0,
        )];
        let catalog = rules.catalog(&database(&Clock::system(), series), 0);
        let catalog = catalog.expect("listed");
        let names: Vec<String> = catalog.custom().map(|metric| metric.name.clone()).collect();
        names
    };
    let bad = format!("{PER_SECOND}- {{seriesQuery: 'x{{', metricsQuery: x}}\n");
    let (none, complaint) = read(&map(&bad), None);
    let message = complaint.expect("told").message;
    assert!(
        message.contains("none of them is in force: rules[1].seriesQuery"),
        "{message}"
    );
    assert!(names(&none).is_empty());
    // Nor is there one in force after a second attempt.
    let (none, complaint) = read(&map(&bad), Some(none));
    let message = complaint.expect("told").message;
    assert!(message.contains("none of them is in force"), "{message}");
    let (good, complaint) = read(&map(PER_SECOND), Some(none));
    assert!(complaint.is_none());
    assert!(names(&good).contains(&"http_requests_per_second".to_owned()));
    let (kept, complaint) = read(&map(&bad), Some(good.clone()));
    let complaint = complaint.expect("told");
    assert_eq!(complaint.reason, "InvalidAdapterConfig");
    assert!(
        complaint.message.contains("the rules before stay in force"),
        "{complaint:?}"
    );
    assert_eq!(names(&kept), names(&good));
}
