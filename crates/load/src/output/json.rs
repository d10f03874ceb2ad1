//! A line of JSON a sample, and one for each metric before its first.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Output, Sink};
use crate::metric::{Metric, MetricKind, MetricRegistry, Sample, Tags, ValueKind};
use crate::thresholds::Threshold;

/// k6's `--out json`.
pub struct JsonOutput {
    sink: Sink,
    /// Conditions by metric.
    thresholds: BTreeMap<String, Vec<String>>,
    /// Metrics of which the summary tells a part: `http_req_duration{status:200}`.
    parts: Vec<Arc<Metric>>,
    announced: BTreeSet<usize>,
}

impl JsonOutput {
    /// Writes to `sink`.
    #[must_use]
    pub fn new(sink: Sink, thresholds: &[Threshold], registry: &MetricRegistry) -> Self {
        let mut by_metric: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for threshold in thresholds {
            by_metric
                .entry(threshold.metric.name.to_string())
                .or_default()
                .push(threshold.condition.to_string());
        }
        Self {
            sink,
            thresholds: by_metric,
            parts: registry
                .all()
                .into_iter()
                .filter(|metric| metric.part_of.is_some())
                .collect(),
            announced: BTreeSet::new(),
        }
    }

    fn announce(&mut self, sample: &Sample) -> std::io::Result<()> {
        let metric = &sample.metric;
        let name = &*metric.name;
        let kind = match metric.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Rate => "rate",
            MetricKind::Trend => "trend",
        };
        let contains = match metric.contains {
            ValueKind::Default => "default",
            ValueKind::Time => "time",
            ValueKind::Data => "data",
        };
        let parts: Vec<Value> = self
            .parts
            .iter()
            .filter_map(|part| {
                let suffix = part
                    .name
                    .strip_prefix(name)?
                    .strip_prefix('{')?
                    .strip_suffix('}')?;
                let tags: Map<String, Value> = suffix
                    .split(',')
                    .filter_map(|tag| tag.split_once(':'))
                    .map(|(tag, value)| (tag.trim().to_owned(), json!(value.trim())))
                    .collect();
                Some(json!({"name": &*part.name, "suffix": suffix, "tags": tags}))
            })
            .collect();
        let line = json!({
            "type": "Metric",
            "data": {
                "name": name,
                "type": kind,
                "contains": contains,
                "thresholds": self.thresholds.get(name).cloned().unwrap_or_default(),
                "submetrics": if parts.is_empty() { Value::Null } else { Value::from(parts) },
            },
            "metric": name,
        });
        writeln!(self.sink, "{line}")
    }
}

fn object(tags: &Tags) -> Value {
    let pairs = tags
        .iter()
        .map(|(name, value)| (name.to_owned(), json!(value)));
    Value::Object(pairs.collect())
}

impl Output for JsonOutput {
    fn write(&mut self, samples: &[Sample]) -> std::io::Result<()> {
        for sample in samples {
            if self.announced.insert(sample.metric.id) {
                self.announce(sample)?;
            }
            let mut line = json!({
                "metric": &*sample.metric.name,
                "type": "Point",
                "data": {"time": sample.time.to_string(), "value": sample.value, "tags": object(&sample.tags)},
            });
            if let Some(metadata) = sample.metadata.as_ref().filter(|all| !all.is_empty()) {
                line["data"]["metadata"] = object(metadata);
            }
            writeln!(self.sink, "{line}")?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> std::io::Result<()> {
        self.sink.finish()
    }
}
