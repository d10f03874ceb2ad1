//! The configuration file, `prometheus.yml`, with Prometheus' fields and defaults.
//!
//! What is not known or not supported is refused by name, with the line it is in: nothing is ignored in silence.

mod alerting;
mod duration;
pub(crate) mod http;
mod paths;
pub(crate) mod refused;
mod remote;
mod scrape;
mod secret;
mod size;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use alerting::{AlertingConfig, AlertmanagerApi, AlertmanagerConfig};
pub use duration::PromDuration;
pub use http::{Authorization, BasicAuth, HttpClientConfig, HttpHeader, TlsConfig, TlsVersion};
pub use paths::{matching_files, named_files, path_in};
pub use remote::{MetadataConfig, ProtobufMessage, QueueConfig, RemoteWriteConfig};
pub use scrape::{
    FileSdConfig, HttpSdConfig, KubernetesNamespaces, KubernetesRole, KubernetesSdConfig,
    KubernetesSelector, NameValidation, Scheme, ScrapeConfig, ScrapeProtocol, StaticConfig,
};
pub use secret::Secret;
pub use size::ByteSize;

use crate::exposition::is_legacy_label_name;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {error}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// The text is no configuration: syntax, an unknown field, a value of the wrong form.
    #[error("{name}: {error}")]
    Parse {
        /// The file's name.
        name: String,
        /// What is wrong, with line and column.
        error: String,
    },
    /// Every field is well-formed, but they do not go together.
    #[error("{name}: {reason}")]
    Invalid {
        /// The file's name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// What holds where a job says nothing else.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalConfig {
    /// Time from one scrape to the next.
    #[serde(default = "one_minute")]
    pub scrape_interval: PromDuration,
    /// When a scrape is given up; ten seconds or the interval, whichever is less, where not said.
    pub scrape_timeout: Option<PromDuration>,
    /// The protocols asked for, best liked first.
    #[serde(default = "default_protocols")]
    pub scrape_protocols: Vec<ScrapeProtocol>,
    /// Time from one evaluation of rules to the next.
    #[serde(default = "one_minute")]
    pub evaluation_interval: PromDuration,
    /// How far rules look back, so that late samples are seen.
    #[serde(default, skip_serializing_if = "PromDuration::is_zero")]
    pub rule_query_offset: PromDuration,
    /// Labels of all series and alerts that leave this database.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub external_labels: BTreeMap<String, String>,
    /// As in [`ScrapeConfig`], and so are the next.
    #[serde(default, skip_serializing_if = "ByteSize::is_zero")]
    pub body_size_limit: ByteSize,
    /// See [`ScrapeConfig`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub sample_limit: u64,
    /// See [`ScrapeConfig`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub target_limit: u64,
    /// See [`ScrapeConfig`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub label_limit: u64,
    /// See [`ScrapeConfig`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub label_name_length_limit: u64,
    /// See [`ScrapeConfig`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub label_value_length_limit: u64,
    /// See [`ScrapeConfig`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub keep_dropped_targets: u64,
    /// See [`ScrapeConfig`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_name_validation_scheme: Option<NameValidation>,
    /// See [`ScrapeConfig`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric_name_escaping_scheme: Option<String>,
    /// See [`ScrapeConfig`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub always_scrape_classic_histograms: Option<bool>,
}

fn one_minute() -> PromDuration {
    PromDuration::from_secs(60)
}

fn default_protocols() -> Vec<ScrapeProtocol> {
    ScrapeProtocol::DEFAULT.to_vec()
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Default for GlobalConfig {
    fn default() -> GlobalConfig {
        GlobalConfig {
            scrape_interval: one_minute(),
            scrape_timeout: None,
            scrape_protocols: default_protocols(),
            evaluation_interval: one_minute(),
            rule_query_offset: PromDuration::default(),
            external_labels: BTreeMap::new(),
            body_size_limit: ByteSize::default(),
            sample_limit: 0,
            target_limit: 0,
            label_limit: 0,
            label_name_length_limit: 0,
            label_value_length_limit: 0,
            keep_dropped_targets: 0,
            metric_name_validation_scheme: None,
            metric_name_escaping_scheme: None,
            always_scrape_classic_histograms: None,
        }
    }
}

/// What Go's runtime takes; read for the sake of existing files, without effect here.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RuntimeConfig {
    /// The garbage collector's target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gogc: Option<i64>,
}

/// How samples are stored.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StorageConfig {
    /// The database's part.
    #[serde(default)]
    pub tsdb: TsdbConfig,
}

/// How the database stores.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TsdbConfig {
    /// How old a sample may be that comes late.
    #[serde(default, skip_serializing_if = "PromDuration::is_zero")]
    pub out_of_order_time_window: PromDuration,
}

/// The whole file.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What holds where a job says nothing else.
    #[serde(default)]
    pub global: GlobalConfig,
    /// Read, without effect.
    #[serde(default, skip_serializing)]
    pub runtime: RuntimeConfig,
    /// Files of rules; a path may hold wildcards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rule_files: Vec<String>,
    /// Files of more jobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scrape_config_files: Vec<String>,
    /// The jobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scrape_configs: Vec<ScrapeConfig>,
    /// Where alerts go.
    #[serde(default)]
    pub alerting: AlertingConfig,
    /// How samples are stored.
    #[serde(default)]
    pub storage: StorageConfig,
    /// Databases that every sample is sent to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remote_write: Vec<RemoteWriteConfig>,
}

/// The file that `scrape_config_files` names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScrapeConfigFile {
    #[serde(default)]
    scrape_configs: Vec<ScrapeConfig>,
}

fn parse_yaml<T: serde::de::DeserializeOwned + Default>(
    text: &str,
    name: &str,
) -> Result<T, ConfigError> {
    if text.trim().is_empty() {
        return Ok(T::default());
    }
    serde_saphyr::from_str(text).map_err(|error| ConfigError::Parse {
        name: name.to_owned(),
        // The lines around the fault may hold passwords.
        error: refused::explained(&error.without_snippet().to_string()),
    })
}

// === impl Config ===

impl Config {
    /// Reads a file, and those it names in `scrape_config_files`.
    ///
    /// # Errors
    /// Where a file cannot be read, or is no configuration.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = read(path)?;
        let name = path.display().to_string();
        let mut config: Config = parse_yaml(&text, &name)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        for pattern in &config.scrape_config_files {
            for file in named_files("scrape_config_files", folder, pattern) {
                let more: ScrapeConfigFile =
                    parse_yaml(&read(&file)?, &file.display().to_string())?;
                config.scrape_configs.extend(more.scrape_configs);
            }
        }
        config.complete(&name)?;
        Ok(config)
    }

    /// Reads a text; `name` is what errors call it.
    ///
    /// # Errors
    /// Where it is no configuration.
    pub fn parse(text: &str, name: &str) -> Result<Config, ConfigError> {
        let mut config: Config = parse_yaml(text, name)?;
        config.complete(name)?;
        Ok(config)
    }

    /// A configuration of these jobs alone.
    #[must_use]
    pub fn of_jobs(jobs: Vec<ScrapeConfig>) -> Config {
        Config {
            scrape_configs: jobs,
            ..Config::default()
        }
    }

    /// The configuration as YAML, with defaults filled in and secrets hidden.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(self).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// Fills in what jobs have from the global section, and says what does not go together.
    fn complete(&mut self, name: &str) -> Result<(), ConfigError> {
        let invalid = |reason: String| ConfigError::Invalid {
            name: name.to_owned(),
            reason,
        };
        if self.global.scrape_interval.is_zero() {
            self.global.scrape_interval = one_minute();
        }
        if self.global.evaluation_interval.is_zero() {
            self.global.evaluation_interval = one_minute();
        }
        let interval = self.global.scrape_interval;
        if self
            .global
            .scrape_timeout
            .is_some_and(|timeout| timeout > interval)
        {
            return Err(invalid(
                "global scrape timeout greater than scrape interval".to_owned(),
            ));
        }
        let timeout = self
            .global
            .scrape_timeout
            .unwrap_or_else(|| interval.min(PromDuration::from_secs(10)));
        self.global.scrape_timeout = Some(timeout);
        for label in self.global.external_labels.keys() {
            if !is_legacy_label_name(label) {
                return Err(invalid(format!("{label:?} is not a valid label name")));
            }
        }
        let mut jobs = BTreeSet::new();
        for scrape in &mut self.scrape_configs {
            scrape
                .complete(&self.global)
                .map_err(|reason| invalid(format!("job {:?}: {reason}", scrape.job_name)))?;
            if !jobs.insert(scrape.job_name.clone()) {
                let job = &scrape.job_name;
                return Err(invalid(format!(
                    "found multiple scrape configs with job name {job:?}"
                )));
            }
        }
        let mut names = BTreeSet::new();
        for remote in &self.remote_write {
            let at = |reason: String| invalid(format!("remote_write {}: {reason}", remote.url));
            remote.http_client().check().map_err(at)?;
            check_url(&remote.url).map_err(at)?;
            if !remote.name.is_empty() && !names.insert(&remote.name) {
                return Err(invalid(format!(
                    "found multiple remote write configs with job name {:?}",
                    remote.name
                )));
            }
        }
        for alertmanager in &self.alerting.alertmanagers {
            let checked = alertmanager.http_client().check();
            checked.map_err(|reason| invalid(format!("alertmanagers: {reason}")))?;
        }
        Ok(())
    }
}

fn check_url(url: &str) -> Result<(), String> {
    let uri: ::http::Uri = url.parse().map_err(|error| format!("not a URL: {error}"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) => Ok(()),
        _ => Err(format!(
            "not a URL that begins with http:// or https:// and names a host: {url:?}"
        )),
    }
}

impl ScrapeConfig {
    /// Fills in what is not set from the global section.
    ///
    /// # Errors
    /// A sentence, where the fields do not go together.
    pub fn complete(&mut self, global: &GlobalConfig) -> Result<(), String> {
        if self.job_name.is_empty() {
            return Err("job_name is empty".to_owned());
        }
        let interval = self
            .scrape_interval
            .filter(|interval| !interval.is_zero())
            .unwrap_or(global.scrape_interval);
        self.scrape_interval = Some(interval);
        let global_timeout = global.scrape_timeout.unwrap_or(PromDuration::from_secs(10));
        let timeout = self
            .scrape_timeout
            .filter(|timeout| !timeout.is_zero())
            .unwrap_or_else(|| global_timeout.min(interval));
        if timeout > interval {
            return Err("scrape timeout greater than scrape interval".to_owned());
        }
        self.scrape_timeout = Some(timeout);
        if self.scrape_protocols.is_empty() {
            self.scrape_protocols = if global.scrape_protocols.is_empty() {
                default_protocols()
            } else {
                global.scrape_protocols.clone()
            };
        }
        self.body_size_limit.get_or_insert(global.body_size_limit);
        self.sample_limit.get_or_insert(global.sample_limit);
        self.target_limit.get_or_insert(global.target_limit);
        self.label_limit.get_or_insert(global.label_limit);
        self.label_name_length_limit
            .get_or_insert(global.label_name_length_limit);
        self.label_value_length_limit
            .get_or_insert(global.label_value_length_limit);
        self.keep_dropped_targets
            .get_or_insert(global.keep_dropped_targets);
        if self.metric_name_validation_scheme.is_none() {
            self.metric_name_validation_scheme = global.metric_name_validation_scheme;
        }
        for fixed in &self.static_configs {
            for target in &fixed.targets {
                if target.contains('/') {
                    return Err(format!("{target:?} is not a valid hostname"));
                }
            }
        }
        for sd in &self.http_sd_configs {
            check_url(&sd.url)?;
            sd.http_client().check()?;
        }
        for sd in &self.kubernetes_sd_configs {
            if !sd.selectors.is_empty() {
                return Err("kubernetes_sd_configs.selectors is not supported: choose targets by relabel_configs".to_owned());
            }
            if sd.namespaces.own_namespace {
                return Err("kubernetes_sd_configs.namespaces.own_namespace is not supported: name the namespace".to_owned());
            }
            if !sd.api_server.is_empty() {
                return Err("kubernetes_sd_configs.api_server is not supported: name the server in a kubeconfig_file".to_owned());
            }
            if sd.http_client() != HttpClientConfig::default() {
                return Err("kubernetes_sd_configs takes its credentials from kubeconfig_file: remove basic_auth, authorization, tls_config and the like".to_owned());
            }
            if !sd.api_server.is_empty() && sd.kubeconfig_file.is_some() {
                return Err(
                    "cannot use 'kubeconfig_file' and 'api_server' simultaneously".to_owned(),
                );
            }
        }
        self.http_client().check()
    }

    /// Time from one scrape to the next.
    #[must_use]
    pub fn interval(&self) -> PromDuration {
        self.scrape_interval.unwrap_or_else(one_minute)
    }

    /// When a scrape is given up.
    #[must_use]
    pub fn timeout(&self) -> PromDuration {
        self.scrape_timeout.unwrap_or(PromDuration::from_secs(10))
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::Read {
        path: path.to_owned(),
        error,
    })
}

#[cfg(test)]
mod tests;
