use std::collections::BTreeMap;

use serde::Deserialize;

/// The rules of an adapter, as `config.yaml` has them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Rules of custom metrics.
    #[serde(default)]
    pub rules: Vec<RuleConfig>,
    /// Rules of external metrics.
    #[serde(default)]
    pub external_rules: Vec<RuleConfig>,
    /// Rules of resource metrics. They are read and not used: what pods use is measured, not queried.
    #[serde(default)]
    pub resource_rules: Option<serde_json::Value>,
}

/// One rule as written.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleConfig {
    /// A selector of series, such as `{__name__=~"^container_.*",namespace!=""}`.
    #[serde(default)]
    pub series_query: String,
    /// Conditions on the series' names.
    #[serde(default)]
    pub series_filters: Vec<FilterConfig>,
    /// Which labels name objects.
    #[serde(default)]
    pub resources: ResourcesConfig,
    /// What the metric is called.
    #[serde(default)]
    pub name: NameConfig,
    /// The query, a Go template with the delimiters `<<` and `>>`.
    #[serde(default)]
    pub metrics_query: String,
}

/// A condition on a series' name: one of the two.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FilterConfig {
    /// A regular expression that the name must match.
    #[serde(default)]
    pub is: String,
    /// A regular expression that the name must not match.
    #[serde(default)]
    pub is_not: String,
}

/// Which labels name objects.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourcesConfig {
    /// A template of labels' names with `<<.Resource>>` and `<<.Group>>`.
    #[serde(default)]
    pub template: String,
    /// By label, the kind of object it names.
    #[serde(default)]
    pub overrides: BTreeMap<String, GroupResource>,
    /// Whether an external metric is looked for in the asking namespace alone.
    #[serde(default)]
    pub namespaced: Option<bool>,
}

/// A kind of object by its group and its plural, singular or short name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupResource {
    /// The API group; empty for the core group.
    #[serde(default)]
    pub group: String,
    /// The resource.
    pub resource: String,
}

/// What a metric is called.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NameConfig {
    /// A regular expression on the series' name; everything by default.
    #[serde(default)]
    pub matches: String,
    /// The metric's name, with `$1`, `${1}` for groups; by default the only group, or all that matched.
    #[serde(default, rename = "as")]
    pub as_: String,
}

/// Why rules cannot be used. The message names the rule and the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The text is no configuration.
    #[error("{0}")]
    Text(String),
    /// A rule is wrong.
    #[error("{list}[{index}].{field}: {reason}")]
    Rule {
        /// `rules` or `externalRules`.
        list: &'static str,
        /// Which of them, from 0.
        index: usize,
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl Config {
    /// Reads `config.yaml`.
    ///
    /// # Errors
    /// Where the text is no YAML or has fields that the adapter does not know.
    pub fn parse(text: &str) -> Result<Config, ConfigError> {
        serde_saphyr::from_str(text)
            .map_err(|error| ConfigError::Text(error.without_snippet().to_string()))
    }
}
