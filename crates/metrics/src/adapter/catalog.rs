//! Which metrics there are now.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::config::{Config, ConfigError};
use super::resources::ObjectKind;
use super::rule::Rule;
use crate::tsdb::{Tsdb, TsdbError};

/// A custom metric: of which kind of objects, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CustomMetric {
    /// The kind of objects it is of.
    pub kind: ObjectKind,
    /// Whether its objects are asked for by namespace.
    pub namespaced: bool,
    /// Its name.
    pub name: String,
}

/// Where a metric comes from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) rule: Arc<Rule>,
    /// The series' name.
    pub(super) series: String,
}

/// Checked rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    custom: Vec<Arc<Rule>>,
    external: Vec<Arc<Rule>>,
}

/// All metrics that rules make of the series there are.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    custom: BTreeMap<CustomMetric, Source>,
    external: BTreeMap<String, Source>,
}

// === impl Rules ===

impl Rules {
    /// The rules of a configuration.
    pub(super) fn new(config: &Config) -> Result<Rules, ConfigError> {
        let checked = |list: &'static str, rules: &[super::config::RuleConfig]| {
            let rules = rules.iter().enumerate();
            rules
                .map(|(index, rule)| Rule::new(rule, list, index).map(Arc::new))
                .collect::<Result<Vec<_>, _>>()
        };
        Ok(Rules {
            custom: checked("rules", &config.rules)?,
            external: checked("externalRules", &config.external_rules)?,
        })
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.custom.is_empty() && self.external.is_empty()
    }

    /// Adds others behind them.
    pub(super) fn extend(&mut self, others: &Rules) {
        self.custom.extend(others.custom.iter().cloned());
        self.external.extend(others.external.iter().cloned());
    }

    /// What they make of the series with samples since a time, in milliseconds. Where two make one metric the later rule
    /// counts, as in prometheus-adapter.
    pub(super) fn catalog(&self, series: &Tsdb, since: i64) -> Result<Catalog, TsdbError> {
        let mut catalog = Catalog::default();
        for rule in &self.custom {
            for labels in series.series(&rule.series, since, i64::MAX)? {
                let Some(name) = rule.metric_of(&labels) else {
                    continue;
                };
                let (kinds, namespaced) = rule.labels.kinds_of(&labels);
                for kind in kinds {
                    let namespaced = namespaced && kind != ObjectKind::namespaces();
                    let metric = CustomMetric {
                        kind,
                        namespaced,
                        name: name.clone(),
                    };
                    let source = Source {
                        rule: Arc::clone(rule),
                        series: labels.metric_name().to_owned(),
                    };
                    catalog.custom.insert(metric, source);
                }
            }
        }
        for rule in &self.external {
            for labels in series.series(&rule.series, since, i64::MAX)? {
                if let Some(name) = rule.metric_of(&labels) {
                    let source = Source {
                        rule: Arc::clone(rule),
                        series: labels.metric_name().to_owned(),
                    };
                    catalog.external.insert(name, source);
                }
            }
        }
        Ok(catalog)
    }
}

// === impl Catalog ===

impl Catalog {
    /// All custom metrics, sorted.
    pub fn custom(&self) -> impl Iterator<Item = &CustomMetric> {
        self.custom.keys()
    }

    /// The names of all external metrics, sorted.
    pub fn external(&self) -> impl Iterator<Item = &str> {
        self.external.keys().map(String::as_str)
    }

    pub(super) fn find_custom(&self, metric: &CustomMetric) -> Option<&Source> {
        self.custom.get(metric)
    }

    pub(super) fn find_external(&self, name: &str) -> Option<&Source> {
        self.external.get(name)
    }

    /// Whether both have the same metrics.
    pub(super) fn same_names(&self, other: &Catalog) -> bool {
        self.custom.keys().eq(other.custom.keys()) && self.external.keys().eq(other.external.keys())
    }
}
