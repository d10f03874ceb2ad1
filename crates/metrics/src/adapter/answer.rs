//! Answers: values of metrics by the objects they are of.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::RwLock;
use springtide_machinery::clock::Clock;
use springtide_machinery::error::ApiError;
use springtide_machinery::quantity::{Format, Quantity};
use springtide_machinery::selector::LabelSelector;

use super::catalog::{Catalog, CustomMetric};
use crate::promql::{Cancel, Options, Query, Value};
use crate::series_store::Labels;
use crate::tsdb::Tsdb;

/// Answers queries for metrics. Cheap to clone; clones share the catalog.
#[derive(Clone)]
pub struct Adapter {
    pub(super) series: Tsdb,
    pub(super) clock: Clock,
    pub(super) client: kube::Client,
    catalog: Arc<RwLock<Arc<Catalog>>>,
}

/// The value of an external metric with the labels it has.
pub(super) struct ExternalValue {
    pub(super) labels: Labels,
    pub(super) value: f64,
}

impl Adapter {
    /// Answers from `series`; objects are selected through `client`.
    #[must_use]
    pub fn new(series: Tsdb, clock: Clock, client: kube::Client) -> Adapter {
        Adapter {
            series,
            clock,
            client,
            catalog: Arc::default(),
        }
    }

    /// Which metrics there are.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.read().clone()
    }

    /// Takes another catalog; says whether it has other metrics than the one before.
    pub(super) fn replace(&self, catalog: Catalog) -> bool {
        let mut known = self.catalog.write();
        let changed = !known.same_names(&catalog);
        *known = Arc::new(catalog);
        changed
    }

    /// Values by the names of objects. Several series of one object are added up.
    pub(super) async fn custom_values(
        &self,
        metric: &CustomMetric,
        namespace: Option<&str>,
        names: &[String],
        selector: &LabelSelector,
    ) -> Result<BTreeMap<String, f64>, ApiError> {
        let catalog = self.catalog();
        let source = catalog
            .find_custom(metric)
            .ok_or_else(|| not_found(&metric.name, &metric.kind.qualified()))?;
        if names.is_empty() {
            return Ok(BTreeMap::new());
        }
        let (query, label) = source
            .rule
            .custom_query(&source.series, &metric.kind, namespace, names, selector)
            .map_err(|refusal| ApiError::bad_request(refusal.to_string()))?;
        let mut values: BTreeMap<String, f64> = BTreeMap::new();
        for (labels, value) in self.ask(query).await? {
            let name = labels.get(&label);
            if !name.is_empty() {
                *values.entry(name.to_owned()).or_default() += value;
            }
        }
        Ok(values)
    }

    pub(super) async fn external_values(
        &self,
        namespace: &str,
        name: &str,
        selector: &LabelSelector,
    ) -> Result<Vec<ExternalValue>, ApiError> {
        let catalog = self.catalog();
        let source = catalog.find_external(name).ok_or_else(|| {
            ApiError::not_found_message(format!(
                "the server could not find the metric {name} for namespace {namespace}"
            ))
        })?;
        let query = source
            .rule
            .external_query(&source.series, namespace, selector)
            .map_err(|refusal| ApiError::bad_request(refusal.to_string()))?;
        let found = self.ask(query).await?;
        Ok(found
            .into_iter()
            .map(|(labels, value)| ExternalValue { labels, value })
            .collect())
    }

    /// The query's values now. A query may take long: it is evaluated where that holds up nobody.
    async fn ask(&self, text: String) -> Result<Vec<(Labels, f64)>, ApiError> {
        let failed = |error: &dyn std::fmt::Display| {
            ApiError::internal(format!(
                "unable to fetch metrics: the query {text} failed: {error}"
            ))
        };
        let query = Query::parse(&text, Options::default()).map_err(|error| failed(&error))?;
        let (series, at) = (self.series.clone(), self.now().as_millisecond());
        let evaluated =
            tokio::task::spawn_blocking(move || query.instant(&series, at, &Cancel::default()));
        let answer = evaluated
            .await
            .map_err(|error| failed(&error))?
            .map_err(|error| failed(&error))?;
        match answer.value {
            Value::Vector(elements) => Ok(elements
                .into_iter()
                .map(|element| (element.labels, element.sample.value))
                .collect()),
            Value::Scalar(sample) => Ok(vec![(Labels::empty(), sample.value)]),
            Value::Matrix(_) | Value::Text(_) => {
                Err(failed(&"a metricsQuery gives one value a series"))
            }
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// A metric that nobody measures, in Kubernetes' words.
pub(super) fn not_found(metric: &str, resource: &str) -> ApiError {
    ApiError::not_found_message(format!(
        "the server could not find the metric {metric} for {resource}"
    ))
}

/// A value as a quantity in thousandths, as prometheus-adapter has it; what is no number is 0.
pub(super) fn quantity(value: f64) -> String {
    let milli = if value.is_nan() { 0.0 } else { value * 1000.0 };
    Quantity::from_milli(milli.round() as i64, Format::DecimalSi).to_string()
}
