//! A monitor's endpoint as a job: the relabelling that the Prometheus operator writes, in its order.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Map, Value, json};

use super::access::{self, Keys};
use super::spec::{Endpoint, MonitorSpec};
use crate::config::{GlobalConfig, ScrapeConfig};
use crate::discovery::label_part;

/// What a monitor selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MonitorKind {
    Service,
    Pod,
}

/// A ServiceMonitor or PodMonitor.
pub(super) struct Monitor<'a> {
    pub(super) kind: MonitorKind,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) spec: &'a Value,
}

/// A job for each endpoint that can be scraped, and what is wrong with the others.
pub(super) fn jobs(
    monitor: &Monitor<'_>,
    global: &GlobalConfig,
    keys: &Keys<'_>,
) -> (Vec<ScrapeConfig>, Vec<String>) {
    let spec: MonitorSpec = match serde_json::from_value(monitor.spec.clone()) {
        Ok(spec) => spec,
        Err(error) => return (Vec::new(), vec![format!("spec: {error}")]),
    };
    let (mut jobs, mut faults) = (Vec::new(), Vec::new());
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        match of_endpoint(monitor, &spec, index, global, keys) {
            Ok(job) => jobs.push(job),
            Err(fault) => {
                let list = match monitor.kind {
                    MonitorKind::Service => "endpoints",
                    MonitorKind::Pod => "podMetricsEndpoints",
                };
                faults.push(format!(
                    "spec.{list}[{index}] ({}): {fault}",
                    shown(endpoint)
                ));
            }
        }
    }
    (jobs, faults)
}

fn shown(endpoint: &Endpoint) -> String {
    match port_label(endpoint) {
        Some(port) => format!("port {port}"),
        None => "any port".to_owned(),
    }
}

fn of_endpoint(
    monitor: &Monitor<'_>,
    spec: &MonitorSpec,
    index: usize,
    global: &GlobalConfig,
    keys: &Keys<'_>,
) -> Result<ScrapeConfig, String> {
    let endpoint = &spec.endpoints[index];
    let role = match (monitor.kind, spec.service_discovery_role.as_str()) {
        (MonitorKind::Pod, _) => "pod",
        (MonitorKind::Service, "EndpointSlice") => "endpointslice",
        (MonitorKind::Service, "" | "Endpoints") => "endpoints",
        (MonitorKind::Service, other) => {
            return Err(format!(
                "serviceDiscoveryRole is {other:?}: it must be Endpoints or EndpointSlice"
            ));
        }
    };
    let kind = match monitor.kind {
        MonitorKind::Service => "serviceMonitor",
        MonitorKind::Pod => "podMonitor",
    };
    let selector = &spec.namespace_selector;
    let namespaces = match (selector.any, selector.match_names.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => vec![monitor.namespace.to_owned()],
        (false, false) => selector.match_names.clone(),
    };
    let mut relabelling = relabelling(monitor, spec, endpoint, role)?;
    relabelling.extend(endpoint.relabelings.iter().map(snake_case));
    let of_samples = endpoint.metric_relabelings.iter();
    let of_samples: Vec<Value> = of_samples.map(snake_case).collect();
    let mut job = json!({
        "job_name": format!("{kind}/{}/{}/{index}", monitor.namespace, monitor.name),
        "honor_labels": endpoint.honor_labels,
        "honor_timestamps": endpoint.honor_timestamps.unwrap_or(true),
        "track_timestamps_staleness": endpoint.track_timestamps_staleness,
        "params": endpoint.params,
        "follow_redirects": endpoint.follow_redirects,
        "enable_http2": endpoint.enable_http2,
        "body_size_limit": spec.body_size_limit,
        "sample_limit": spec.sample_limit,
        "target_limit": spec.target_limit,
        "label_limit": spec.label_limit,
        "label_name_length_limit": spec.label_name_length_limit,
        "label_value_length_limit": spec.label_value_length_limit,
        "keep_dropped_targets": spec.keep_dropped_targets,
        "scrape_protocols": spec.scrape_protocols,
        "scrape_fallback_protocol": spec.fallback_scrape_protocol,
        "kubernetes_sd_configs": [{"role": role, "namespaces": {"names": namespaces}}],
        "relabel_configs": relabelling,
        "metric_relabel_configs": of_samples,
    });
    for (field, value) in [
        ("metrics_path", &endpoint.path),
        ("scrape_interval", &endpoint.interval),
        ("scrape_timeout", &endpoint.scrape_timeout),
    ] {
        if !value.is_empty() {
            job[field] = json!(value);
        }
    }
    if !endpoint.scheme.is_empty() {
        // Newer operators write HTTP and HTTPS.
        job["scheme"] = json!(endpoint.scheme.to_ascii_lowercase());
    }
    let mut job: ScrapeConfig = serde_json::from_value(job).map_err(|error| error.to_string())?;
    job.complete(global)?;
    access::add(&mut job, endpoint, keys)?;
    Ok(job)
}

/// What the operator writes before the endpoint's own rules.
fn relabelling(
    monitor: &Monitor<'_>,
    spec: &MonitorSpec,
    endpoint: &Endpoint,
    role: &str,
) -> Result<Vec<Value>, String> {
    let mut rules = Rules(vec![
        json!({"source_labels": ["job"], "target_label": "__tmp_prometheus_job_name"}),
    ]);
    if endpoint.filter_running.unwrap_or(true) {
        rules.choose(
            "drop",
            &["__meta_kubernetes_pod_phase"],
            "(Failed|Succeeded)",
        );
    }
    let selected = match monitor.kind {
        MonitorKind::Service => "service",
        MonitorKind::Pod => "pod",
    };
    rules.select(&spec.selector, selected)?;
    rules.choose_port(endpoint, role);
    if monitor.kind == MonitorKind::Service {
        let about = match role {
            "endpointslice" => "endpointslice",
            _ => "endpoint",
        };
        for (kind, label) in [("Node", "node"), ("Pod", "pod")] {
            rules.0.push(json!({
                "source_labels": [
                    format!("__meta_kubernetes_{about}_address_target_kind"),
                    format!("__meta_kubernetes_{about}_address_target_name"),
                ],
                "separator": ";",
                "regex": format!("{kind};(.*)"),
                "replacement": "${1}",
                "target_label": label,
            }));
        }
    }
    rules.copy("namespace", "namespace");
    if monitor.kind == MonitorKind::Service {
        rules.copy("service_name", "service");
    }
    rules.copy("pod_name", "pod");
    rules.copy("pod_container_name", "container");
    for label in &spec.target_labels {
        let part = label_part(label);
        rules.copy_some(&format!("service_label_{part}"), &part);
    }
    for label in &spec.pod_target_labels {
        let part = label_part(label);
        rules.copy_some(&format!("pod_label_{part}"), &part);
    }
    match monitor.kind {
        MonitorKind::Service => rules.copy("service_name", "job"),
        MonitorKind::Pod => {
            rules.set("job", &format!("{}/{}", monitor.namespace, monitor.name));
        }
    }
    if !spec.job_label.is_empty() {
        let part = label_part(&spec.job_label);
        rules.copy_some(&format!("{selected}_label_{part}"), "job");
    }
    if let Some(port) = port_label(endpoint) {
        rules.set("endpoint", &port);
    }
    Ok(rules.0)
}

/// What the label `endpoint` is.
fn port_label(endpoint: &Endpoint) -> Option<String> {
    match (&endpoint.target_port, endpoint.port_number) {
        _ if !endpoint.port.is_empty() => Some(endpoint.port.clone()),
        (_, Some(number)) => Some(number.to_string()),
        (Some(IntOrString::String(name)), None) => Some(name.clone()),
        (Some(IntOrString::Int(number)), None) => Some(number.to_string()),
        (None, None) => None,
    }
}

struct Rules(Vec<Value>);

// === impl Rules ===

impl Rules {
    /// Keeps or drops what has these labels' values, joined by semicolons.
    fn choose(&mut self, action: &str, labels: &[&str], regex: &str) {
        self.0
            .push(json!({"source_labels": labels, "regex": regex, "action": action}));
    }

    /// Makes a label a discovered one's value, also where that is empty.
    fn copy(&mut self, from: &str, to: &str) {
        self.0.push(json!({
            "source_labels": [format!("__meta_kubernetes_{from}")],
            "target_label": to,
        }));
    }

    /// As [`Rules::copy`], where it is not empty.
    fn copy_some(&mut self, from: &str, to: &str) {
        self.0.push(json!({
            "source_labels": [format!("__meta_kubernetes_{from}")],
            "regex": "(.+)",
            "replacement": "${1}",
            "target_label": to,
        }));
    }

    fn set(&mut self, label: &str, value: &str) {
        // A dollar would stand for a group of the pattern.
        self.0
            .push(json!({"target_label": label, "replacement": value.replace('$', "$$")}));
    }

    /// Keeps what a label selector selects.
    fn select(
        &mut self,
        selector: &k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector,
        of: &str,
    ) -> Result<(), String> {
        let value_and_presence = |label: &str| {
            let part = label_part(label);
            [
                format!("__meta_kubernetes_{of}_label_{part}"),
                format!("__meta_kubernetes_{of}_labelpresent_{part}"),
            ]
        };
        let one_of = |values: &[String]| {
            let escaped: Vec<String> = values.iter().map(|value| regex::escape(value)).collect();
            format!("({});true", escaped.join("|"))
        };
        for (label, value) in selector.match_labels.iter().flatten() {
            let labels = value_and_presence(label);
            let regex = one_of(std::slice::from_ref(value));
            self.choose("keep", &labels.each_ref().map(String::as_str), &regex);
        }
        for expression in selector.match_expressions.iter().flatten() {
            let labels = value_and_presence(&expression.key);
            let labels = labels.each_ref().map(String::as_str);
            let values = expression.values.as_deref().unwrap_or_default();
            match expression.operator.as_str() {
                "In" => self.choose("keep", &labels, &one_of(values)),
                "NotIn" => self.choose("drop", &labels, &one_of(values)),
                "Exists" => self.choose("keep", &labels[1..], "true"),
                "DoesNotExist" => self.choose("drop", &labels[1..], "true"),
                other => return Err(format!("selector: there is no operator {other:?}")),
            }
        }
        Ok(())
    }

    /// Keeps the endpoint's port.
    fn choose_port(&mut self, endpoint: &Endpoint, role: &str) {
        const NAME: &str = "__meta_kubernetes_pod_container_port_name";
        const NUMBER: &str = "__meta_kubernetes_pod_container_port_number";
        let of_port = match role {
            "endpoints" => "__meta_kubernetes_endpoint_port_name",
            "endpointslice" => "__meta_kubernetes_endpointslice_port_name",
            _ => NAME,
        };
        let (label, port) = match (&endpoint.target_port, endpoint.port_number) {
            _ if !endpoint.port.is_empty() => (of_port, endpoint.port.clone()),
            (_, Some(number)) => (NUMBER, number.to_string()),
            (Some(IntOrString::String(name)), None) => (NAME, name.clone()),
            (Some(IntOrString::Int(number)), None) => (NUMBER, number.to_string()),
            (None, None) => return,
        };
        self.choose("keep", &[label], &regex::escape(&port));
    }
}

/// A relabelling rule of an object as `prometheus.yml` spells it.
fn snake_case(rule: &Map<String, Value>) -> Value {
    let spelled = rule.iter().filter(|(_, value)| !value.is_null());
    let spelled = spelled.map(|(name, value)| {
        let mut snake = String::new();
        for char in name.chars() {
            if char.is_ascii_uppercase() {
                snake.push('_');
            }
            snake.push(char.to_ascii_lowercase());
        }
        (snake, value.clone())
    });
    Value::Object(spelled.collect())
}
