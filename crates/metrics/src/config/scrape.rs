use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::relabel::RelabelRule;

use super::http::section_with_http_client;
use super::{ByteSize, PromDuration};

/// Targets written down.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StaticConfig {
    /// `host:port` each.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Labels of all of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Targets in files, JSON or YAML, that are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileSdConfig {
    /// Paths, which may hold wildcards.
    pub files: Vec<String>,
    /// How often the files are looked at.
    #[serde(default = "five_minutes")]
    pub refresh_interval: PromDuration,
}

fn five_minutes() -> PromDuration {
    PromDuration::from_secs(300)
}

fn one_minute() -> PromDuration {
    PromDuration::from_secs(60)
}

section_with_http_client! {
    /// Targets that a server tells.
    #[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
    pub struct HttpSdConfig {
        /// Where to ask.
        pub url: String,
        /// How often.
        #[serde(default = "one_minute")]
        pub refresh_interval: PromDuration,
    }
}

/// What objects of Kubernetes become targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum KubernetesRole {
    /// A target for every port of every container.
    Pod,
    /// A target for every port of every Service.
    Service,
    /// A target for every port of every endpoint, from EndpointSlices.
    Endpoints,
    /// As `endpoints`.
    EndpointSlice,
    /// A target for every node.
    Node,
}

/// In which namespaces objects are looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KubernetesNamespaces {
    /// The namespace this process runs in, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_namespace: bool,
    /// Those; all where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
}

/// Which objects become targets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KubernetesSelector {
    /// Of which role's objects.
    pub role: KubernetesRole,
    /// A label selector.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// A field selector.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

section_with_http_client! {
    /// Targets from the Kubernetes API.
    #[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
    pub struct KubernetesSdConfig {
        /// What becomes a target.
        pub role: KubernetesRole,
        /// The API server, where it is not the one this process belongs to.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        pub api_server: String,
        /// A kubeconfig that names the API server.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub kubeconfig_file: Option<PathBuf>,
        /// In which namespaces.
        #[serde(default)]
        pub namespaces: KubernetesNamespaces,
        /// Which of the objects.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub selectors: Vec<KubernetesSelector>,
    }
}

section_with_http_client! {
    /// A job: where its targets come from and how they are scraped. Fields that are not set are the global ones;
    /// [`super::Config::parse`] fills them in.
    #[derive(Debug, Clone, Deserialize, Serialize)]
    pub struct ScrapeConfig {
        /// The label `job` of all its series.
        pub job_name: String,
        /// Keeps labels that a target sets although they are the target's own.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub honor_labels: bool,
        /// Keeps times that a target sets.
        #[serde(default = "yes")]
        pub honor_timestamps: bool,
        /// Marks series stale that went away although their samples had times.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        pub track_timestamps_staleness: bool,
        /// URL parameters.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub params: BTreeMap<String, Vec<String>>,
        /// Time from one scrape to the next.
        pub scrape_interval: Option<PromDuration>,
        /// When a scrape is given up.
        pub scrape_timeout: Option<PromDuration>,
        /// The protocols asked for, best liked first.
        #[serde(default)]
        pub scrape_protocols: Vec<ScrapeProtocol>,
        /// The protocol of an answer that names none.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub scrape_fallback_protocol: Option<ScrapeProtocol>,
        /// The path.
        #[serde(default = "metrics_path")]
        pub metrics_path: String,
        /// `http` or `https`.
        #[serde(default)]
        pub scheme: Scheme,
        /// Whether the target may compress.
        #[serde(default = "yes")]
        pub enable_compression: bool,
        /// A larger answer fails the scrape; no limit where zero.
        pub body_size_limit: Option<ByteSize>,
        /// More samples fail the scrape; no limit where zero.
        pub sample_limit: Option<u64>,
        /// More targets fail all of them; no limit where zero.
        pub target_limit: Option<u64>,
        /// More labels on a sample fail the scrape; no limit where zero.
        pub label_limit: Option<u64>,
        /// A longer label name fails the scrape; no limit where zero.
        pub label_name_length_limit: Option<u64>,
        /// A longer label value fails the scrape; no limit where zero.
        pub label_value_length_limit: Option<u64>,
        /// How many dropped targets the API shows; all where zero.
        pub keep_dropped_targets: Option<u64>,
        /// `utf8` or `legacy`: which names are taken.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub metric_name_validation_scheme: Option<NameValidation>,
        /// How targets are asked to escape names; what they send is read in any form.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub metric_name_escaping_scheme: Option<String>,
        /// Keeps classic histograms, which are the only ones here.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub always_scrape_classic_histograms: Option<bool>,
        /// Targets written down.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub static_configs: Vec<StaticConfig>,
        /// Targets in files.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub file_sd_configs: Vec<FileSdConfig>,
        /// Targets that a server tells.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub http_sd_configs: Vec<HttpSdConfig>,
        /// Targets from the Kubernetes API.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub kubernetes_sd_configs: Vec<KubernetesSdConfig>,
        /// Which targets, and with which labels.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub relabel_configs: Vec<RelabelRule>,
        /// Which samples, and with which labels.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub metric_relabel_configs: Vec<RelabelRule>,
    }
}

fn yes() -> bool {
    true
}

fn metrics_path() -> String {
    "/metrics".to_owned()
}

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// The scheme's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// Which names are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NameValidation {
    /// Any that is UTF-8.
    #[default]
    Utf8,
    /// `[a-zA-Z_:][a-zA-Z0-9_:]*`
    Legacy,
}

/// A protocol of exposition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
pub enum ScrapeProtocol {
    /// `io.prometheus.client.MetricFamily` messages.
    PrometheusProto,
    /// Text with names in UTF-8.
    #[serde(rename = "PrometheusText1.0.0")]
    PrometheusText1,
    /// Text.
    #[serde(rename = "PrometheusText0.0.4")]
    PrometheusText0,
    /// OpenMetrics 1.0.
    #[serde(rename = "OpenMetricsText1.0.0")]
    OpenMetrics1,
    /// OpenMetrics as it was first.
    #[serde(rename = "OpenMetricsText0.0.1")]
    OpenMetrics0,
}

impl ScrapeProtocol {
    /// Prometheus' order of liking.
    pub const DEFAULT: [ScrapeProtocol; 4] = [
        ScrapeProtocol::OpenMetrics1,
        ScrapeProtocol::OpenMetrics0,
        ScrapeProtocol::PrometheusText1,
        ScrapeProtocol::PrometheusText0,
    ];

    /// The protocol as configurations name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ScrapeProtocol::PrometheusProto => "PrometheusProto",
            ScrapeProtocol::PrometheusText1 => "PrometheusText1.0.0",
            ScrapeProtocol::PrometheusText0 => "PrometheusText0.0.4",
            ScrapeProtocol::OpenMetrics1 => "OpenMetricsText1.0.0",
            ScrapeProtocol::OpenMetrics0 => "OpenMetricsText0.0.1",
        }
    }
}
