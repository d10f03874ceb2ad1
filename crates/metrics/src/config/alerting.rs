use serde::{Deserialize, Serialize};

use crate::relabel::RelabelRule;

use super::PromDuration;
use super::http::section_with_http_client;
use super::scrape::{FileSdConfig, HttpSdConfig, KubernetesSdConfig, Scheme, StaticConfig};

fn ten_seconds() -> PromDuration {
    PromDuration::from_secs(10)
}

/// The version of Alertmanager's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertmanagerApi {
    /// The only one there is.
    #[default]
    V2,
}

section_with_http_client! {
    /// Alertmanagers that alerts are sent to.
    #[derive(Debug, Clone, Deserialize, Serialize)]
    pub struct AlertmanagerConfig {
        /// `http` or `https`.
        #[serde(default)]
        pub scheme: Scheme,
        /// What stands before `/api/v2/alerts`.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        pub path_prefix: String,
        /// When a request is given up.
        #[serde(default = "ten_seconds")]
        pub timeout: PromDuration,
        /// The API's version.
        #[serde(default)]
        pub api_version: AlertmanagerApi,
        /// Alertmanagers written down.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub static_configs: Vec<StaticConfig>,
        /// Alertmanagers in files.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub file_sd_configs: Vec<FileSdConfig>,
        /// Alertmanagers that a server tells.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub http_sd_configs: Vec<HttpSdConfig>,
        /// Alertmanagers from the Kubernetes API.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub kubernetes_sd_configs: Vec<KubernetesSdConfig>,
        /// Which of them, and with which labels.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub relabel_configs: Vec<RelabelRule>,
        /// Which alerts, and with which labels.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub alert_relabel_configs: Vec<RelabelRule>,
    }
}

/// Where alerts go.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AlertingConfig {
    /// Which alerts, and with which labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alert_relabel_configs: Vec<RelabelRule>,
    /// The Alertmanagers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alertmanagers: Vec<AlertmanagerConfig>,
}
