use super::*;

const FULL: &str = r#"
global:
  scrape_interval: 15s
  evaluation_interval: 30s
  external_labels:
    monitor: codelab
rule_files: ["rules/*.yml"]
scrape_configs:
  - job_name: prometheus
    scrape_interval: 1s
    honor_labels: true
    params: {"match[]": ["up"]}
    basic_auth: {username: me, password: hidden}
    tls_config: {insecure_skip_verify: true}
    static_configs:
      - targets: ["localhost:9090", "localhost:9091"]
        labels: {group: production}
    file_sd_configs: [{files: ["t/*.json"], refresh_interval: 5s}]
    http_sd_configs: [{url: "http://x/sd"}]
    kubernetes_sd_configs: [{role: pod, namespaces: {names: [shop]}}]
    relabel_configs:
      - {source_labels: [__address__], target_label: host, regex: "(.*):.*"}
    metric_relabel_configs: [{action: labeldrop, regex: id}]
    sample_limit: 10
    body_size_limit: 1MB
  - job_name: other
alerting:
  alertmanagers:
    - static_configs: [{targets: ["localhost:9093"]}]
remote_write:
  - url: http://localhost:1/api/v1/write
    write_relabel_configs: [{source_labels: [a], action: keep, regex: b}]
    queue_config: {max_shards: 2}
storage: {tsdb: {out_of_order_time_window: 10m}}
"#;

#[test]
fn a_job_has_from_the_global_section_what_it_does_not_say() {
    let config = Config::parse(FULL, "prometheus.yml").expect("valid");
    let [first, second] = &config.scrape_configs[..] else {
        panic!("two jobs");
    };
    assert_eq!(first.interval(), PromDuration::from_secs(1));
    assert_eq!(first.timeout(), PromDuration::from_secs(1));
    assert_eq!(first.sample_limit, Some(10));
    assert_eq!(second.interval(), PromDuration::from_secs(15));
    assert_eq!(second.timeout(), PromDuration::from_secs(10));
    assert_eq!(second.metrics_path, "/metrics");
    assert_eq!(second.scrape_protocols, ScrapeProtocol::DEFAULT);
    assert!(second.honor_timestamps);
    assert_eq!(config.remote_write[0].queue_config.max_shards, 2);
    assert_eq!(config.remote_write[0].queue_config.capacity, 10_000);
}

#[test]
fn what_is_shown_reads_again_and_hides_secrets() {
    let config = Config::parse(FULL, "prometheus.yml").expect("valid");
    let shown = config.to_yaml();
    assert!(!shown.contains("hidden"), "{shown}");
    assert!(shown.contains("<secret>"), "{shown}");
    let again = Config::parse(&shown, "shown").expect(&shown);
    assert_eq!(again.to_yaml(), shown);
    Config::parse(
        &Config::parse("", "empty").expect("valid").to_yaml(),
        "shown",
    )
    .expect("valid");
}

#[test]
fn what_is_unknown_or_unsupported_is_refused_with_its_line() {
    for (text, parts) in [
        (
            "global:\n  scrape_intervall: 1s\n",
            &["scrape_intervall", "line 2"][..],
        ),
        (
            "scrape_configs:\n- job_name: a\n  dns_sd_configs: []\n",
            &["dns_sd_configs is not supported", "line 3"],
        ),
        (
            "scrape_configs:\n- job_name: a\n  proxy_url: x\n",
            &["proxy_url"],
        ),
        (
            "scrape_configs:\n- job_name: a\n  scrape_interval: soon\n",
            &["soon", "line 3"],
        ),
        ("remote_read: []\n", &["remote_read"]),
        (
            "scrape_configs:\n- job_name: a\n- job_name: a\n",
            &["multiple scrape configs"],
        ),
        (
            "scrape_configs:\n- job_name: a\n  scrape_interval: 1s\n  scrape_timeout: 2s\n",
            &["scrape timeout greater"],
        ),
        (
            "scrape_configs:\n- job_name: a\n  static_configs: [{targets: ['http://a/b']}]\n",
            &["hostname"],
        ),
        ("remote_write:\n- url: nowhere\n", &["URL"]),
        (
            "remote_write:\n- url: http://a\n  protobuf_message: io.prometheus.write.v2.Request\n",
            &["io.prometheus.write.v2.Request"],
        ),
        ("scrape_configs: [\n", &[]),
        (
            "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - regex: '('\n",
            &["regexp"],
        ),
    ] {
        let error = Config::parse(text, "p.yml").expect_err(text).to_string();
        assert!(error.starts_with("p.yml: "), "{error}");
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
