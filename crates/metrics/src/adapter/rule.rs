//! A checked rule: which series it is about, which metric they make, and how that is queried.

use std::collections::BTreeMap;

use regex::Regex;
use springtide_machinery::selector::{LabelSelector, Operator};

use super::config::{ConfigError, RuleConfig};
use super::resources::{ObjectKind, ResourceLabels};
use super::template::{Template, Values};
use crate::promql::{Options, Query};
use crate::series_store::{Labels, Matcher, quote};

/// The fields of a query's template.
const FIELDS: [&str; 3] = ["Series", "LabelMatchers", "GroupBy"];

/// A rule that can be used.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// The selectors of its series.
    pub(super) series: Vec<Vec<Matcher>>,
    filters: Vec<(Regex, bool)>,
    pub(super) labels: ResourceLabels,
    /// Whether an external metric is of the asking namespace alone.
    namespaced: bool,
    matches: Regex,
    as_: String,
    query: Template,
}

/// Why a query cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum QueryRefusal {
    /// A requirement has no form in PromQL.
    #[error("the metric selector's operator on {0:?} is not supported")]
    Operator(String),
    /// The rule does not say which label names objects of this kind.
    #[error("no label of this metric names {0}")]
    NoLabel(String),
}

impl Rule {
    pub(super) fn new(
        config: &RuleConfig,
        list: &'static str,
        index: usize,
    ) -> Result<Rule, ConfigError> {
        let wrong = |field: &'static str| {
            move |reason: String| ConfigError::Rule {
                list,
                index,
                field,
                reason,
            }
        };
        let expression = |text: &str, field: &'static str| {
            Regex::new(text).map_err(|error| {
                wrong(field)(format!("{text:?} is no regular expression: {error}"))
            })
        };
        let query = Query::parse(&config.series_query, Options::default()).map_err(|error| {
            wrong("seriesQuery")(format!(
                "{:?} is no selector of series: {error}",
                config.series_query
            ))
        })?;
        let series: Vec<Vec<Matcher>> = query
            .selectors()
            .into_iter()
            .map(<[Matcher]>::to_vec)
            .collect();
        if series.is_empty() {
            return Err(wrong("seriesQuery")(format!(
                "{:?} selects no series",
                config.series_query
            )));
        }
        let mut filters = Vec::new();
        for filter in &config.series_filters {
            match (filter.is.as_str(), filter.is_not.as_str()) {
                (is, "") if !is.is_empty() => {
                    filters.push((expression(is, "seriesFilters")?, true));
                }
                ("", is_not) if !is_not.is_empty() => {
                    filters.push((expression(is_not, "seriesFilters")?, false));
                }
                _ => {
                    return Err(wrong("seriesFilters")(
                        "a filter has one of is and isNot".to_owned(),
                    ));
                }
            }
        }
        let matches = if config.name.matches.is_empty() {
            ".*"
        } else {
            &config.name.matches
        };
        let matches = expression(matches, "name.matches")?;
        let as_ = match (config.name.as_.as_str(), matches.captures_len()) {
            ("", 1) => "$0".to_owned(),
            ("", 2) => "$1".to_owned(),
            ("", _) => {
                let reason = format!(
                    "{:?} has several groups: say by name.as what the metric is called",
                    config.name.matches
                );
                return Err(wrong("name.as")(reason));
            }
            (told, _) => told.to_owned(),
        };
        if config.metrics_query.is_empty() {
            return Err(wrong("metricsQuery")(
                "it is missing: write how the metric is queried".to_owned(),
            ));
        }
        Ok(Rule {
            series,
            filters,
            labels: ResourceLabels::new(&config.resources).map_err(wrong("resources"))?,
            namespaced: config.resources.namespaced != Some(false),
            matches,
            as_,
            query: Template::parse(&config.metrics_query, &FIELDS, true)
                .map_err(wrong("metricsQuery"))?,
        })
    }

    /// What the metric of a series is called; `None` where the rule is not about it.
    pub(super) fn metric_of(&self, series: &Labels) -> Option<String> {
        let name = series.metric_name();
        let passes = |(filter, is): &(Regex, bool)| filter.is_match(name) == *is;
        if !self.filters.iter().all(passes) {
            return None;
        }
        let found = self.matches.captures(name)?;
        let mut metric = String::new();
        found.expand(&self.as_, &mut metric);
        (!metric.is_empty()).then_some(metric)
    }

    /// The query of a metric of some objects of a kind, and the label that names them.
    pub(super) fn custom_query(
        &self,
        series: &str,
        kind: &ObjectKind,
        namespace: Option<&str>,
        names: &[String],
        selector: &LabelSelector,
    ) -> Result<(String, String), QueryRefusal> {
        let (mut matchers, mut values) = selected(selector)?;
        if let Some(namespace) = namespace {
            self.in_namespace(namespace, &mut matchers, &mut values)?;
        }
        let label = self
            .labels
            .label_of(kind)
            .ok_or_else(|| QueryRefusal::NoLabel(kind.qualified()))?;
        let named = names.join("|");
        let operator = if names.len() > 1 { "=~" } else { "=" };
        matchers.push(format!("{label}{operator}{}", quote(&named)));
        values.insert(label.clone(), named);
        Ok((
            self.fill(series, &matchers, values, vec![label.clone()]),
            label,
        ))
    }

    /// The query of an external metric.
    pub(super) fn external_query(
        &self,
        series: &str,
        namespace: &str,
        selector: &LabelSelector,
    ) -> Result<String, QueryRefusal> {
        let (mut matchers, mut values) = selected(selector)?;
        if self.namespaced && self.labels.label_of(&ObjectKind::namespaces()).is_some() {
            self.in_namespace(namespace, &mut matchers, &mut values)?;
        }
        Ok(self.fill(series, &matchers, values, Vec::new()))
    }

    fn in_namespace(
        &self,
        namespace: &str,
        matchers: &mut Vec<String>,
        values: &mut BTreeMap<String, String>,
    ) -> Result<(), QueryRefusal> {
        let label = self.labels.label_of(&ObjectKind::namespaces());
        let label = label.ok_or_else(|| QueryRefusal::NoLabel("namespaces".to_owned()))?;
        matchers.push(format!("{label}={}", quote(namespace)));
        values.insert(label, namespace.to_owned());
        Ok(())
    }

    fn fill(
        &self,
        series: &str,
        matchers: &[String],
        label_values: BTreeMap<String, String>,
        group_by: Vec<String>,
    ) -> String {
        let texts = BTreeMap::from([
            ("Series", series.to_owned()),
            ("LabelMatchers", matchers.join(",")),
            ("GroupBy", group_by.join(",")),
        ]);
        self.query.fill(&Values {
            texts,
            label_values,
            group_by,
        })
    }
}

/// A metric selector as conditions of PromQL, and the values they name.
fn selected(
    selector: &LabelSelector,
) -> Result<(Vec<String>, BTreeMap<String, String>), QueryRefusal> {
    let (mut matchers, mut values) = (Vec::new(), BTreeMap::new());
    for requirement in selector.requirements() {
        let label = requirement.key();
        let several = requirement.values().len() > 1;
        let operator = match requirement.operator() {
            Operator::Equals | Operator::DoubleEquals if several => "=~",
            Operator::Equals | Operator::DoubleEquals | Operator::DoesNotExist => "=",
            Operator::NotEquals if several => "!~",
            Operator::NotEquals | Operator::Exists => "!=",
            Operator::In => "=~",
            Operator::NotIn => "!~",
            _ => return Err(QueryRefusal::Operator(label.to_owned())),
        };
        let told = requirement.values().join("|");
        matchers.push(format!("{label}{operator}{}", quote(&told)));
        values.insert(label.to_owned(), told);
    }
    Ok((matchers, values))
}
