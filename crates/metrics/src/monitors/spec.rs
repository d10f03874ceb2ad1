//! What the specs say, read leniently: the API server has checked their form.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMapKeySelector, SecretKeySelector};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Of either kind.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct MonitorSpec {
    pub(super) job_label: String,
    pub(super) target_labels: Vec<String>,
    pub(super) pod_target_labels: Vec<String>,
    #[serde(alias = "podMetricsEndpoints")]
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) selector: LabelSelector,
    pub(super) namespace_selector: NamespaceSelector,
    pub(super) service_discovery_role: String,
    pub(super) sample_limit: Option<u64>,
    pub(super) target_limit: Option<u64>,
    pub(super) label_limit: Option<u64>,
    pub(super) label_name_length_limit: Option<u64>,
    pub(super) label_value_length_limit: Option<u64>,
    pub(super) keep_dropped_targets: Option<u64>,
    pub(super) body_size_limit: Option<String>,
    pub(super) scrape_protocols: Vec<String>,
    pub(super) fallback_scrape_protocol: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct NamespaceSelector {
    pub(super) any: bool,
    pub(super) match_names: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Endpoint {
    pub(super) port: String,
    pub(super) target_port: Option<IntOrString>,
    pub(super) port_number: Option<i32>,
    pub(super) path: String,
    pub(super) scheme: String,
    pub(super) params: BTreeMap<String, Vec<String>>,
    pub(super) interval: String,
    pub(super) scrape_timeout: String,
    pub(super) honor_labels: bool,
    pub(super) honor_timestamps: Option<bool>,
    pub(super) track_timestamps_staleness: bool,
    pub(super) relabelings: Vec<Map<String, Value>>,
    pub(super) metric_relabelings: Vec<Map<String, Value>>,
    pub(super) filter_running: Option<bool>,
    pub(super) follow_redirects: Option<bool>,
    pub(super) enable_http2: Option<bool>,
    pub(super) authorization: Option<SafeAuthorization>,
    pub(super) basic_auth: Option<BasicAuth>,
    pub(super) bearer_token_secret: Option<SecretKeySelector>,
    pub(super) tls_config: Option<Tls>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SafeAuthorization {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) credentials: Option<SecretKeySelector>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BasicAuth {
    pub(super) username: Option<SecretKeySelector>,
    pub(super) password: Option<SecretKeySelector>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Tls {
    pub(super) ca: Option<SecretOrConfigMap>,
    pub(super) cert: Option<SecretOrConfigMap>,
    pub(super) key_secret: Option<SecretKeySelector>,
    pub(super) server_name: String,
    pub(super) insecure_skip_verify: bool,
    pub(super) min_version: Option<String>,
    pub(super) max_version: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct SecretOrConfigMap {
    pub(super) secret: Option<SecretKeySelector>,
    pub(super) config_map: Option<ConfigMapKeySelector>,
}
