//! What one metric of the spec asks for, worded as Kubernetes words it.

use std::fmt::Write as _;

use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricSource, ContainerResourceMetricStatus, ExternalMetricSource,
    ExternalMetricStatus, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus,
    ObjectMetricSource, ObjectMetricStatus, PodsMetricSource, PodsMetricStatus,
    ResourceMetricSource, ResourceMetricStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use springtide_machinery::quantity::{Format, Quantity};

use super::explanation::Proposal;
use super::observed::{PodSample, Reading};
use super::replicas::{PodsResult, Setting, Target};

/// The replicas a scale target has and reports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replicas {
    pub(super) spec: i32,
    pub(super) status: i32,
}

/// What a metric asks for.
pub(super) struct Asked {
    /// The metric as conditions and events name it.
    pub(super) name: String,
    pub(super) proposal: Proposal,
    pub(super) status: MetricStatus,
}

/// Why a metric cannot tell.
pub(super) struct Failed {
    /// Of the event and of the condition.
    pub(super) reason: &'static str,
    /// Of the event; the condition puts words before it.
    pub(super) message: String,
    /// What the decision's error says of it.
    pub(super) error: String,
}

const NO_READING: &str = "no metrics returned";

/// What the metric asks for, from its reading.
pub(super) fn ask(
    spec: &MetricSpec,
    reading: Option<&Result<Reading, String>>,
    setting: &Setting<'_>,
    replicas: Replicas,
    namespace: &str,
) -> Result<Asked, Failed> {
    let missing = Err(NO_READING.to_owned());
    let reading = reading.unwrap_or(&missing);
    match spec {
        MetricSpec {
            type_,
            resource: Some(source),
            ..
        } if type_ == "Resource" => of_resource(source, reading, setting, replicas),
        MetricSpec {
            type_,
            container_resource: Some(source),
            ..
        } if type_ == "ContainerResource" => of_container(source, reading, setting, replicas),
        MetricSpec {
            type_,
            pods: Some(source),
            ..
        } if type_ == "Pods" => of_pods(source, reading, setting, replicas),
        MetricSpec {
            type_,
            object: Some(source),
            ..
        } if type_ == "Object" => of_object(source, reading, setting, replicas, namespace),
        MetricSpec {
            type_,
            external: Some(source),
            ..
        } if type_ == "External" => of_external(source, reading, setting, replicas, namespace),
        // The API has refused these.
        MetricSpec { type_, .. } => {
            let message = format!("unknown metric source type {type_:?}");
            Err(Failed {
                reason: "InvalidMetricSourceType",
                error: message.clone(),
                message,
            })
        }
    }
}

fn of_resource(
    source: &ResourceMetricSource,
    reading: &Result<Reading, String>,
    setting: &Setting<'_>,
    replicas: Replicas,
) -> Result<Asked, Failed> {
    let fail = |message: String| Failed {
        reason: "FailedGetResourceMetric",
        error: format!(
            "failed to get {} resource metric value: {message}",
            source.name
        ),
        message,
    };
    let (proposal, current, is_utilization) = resource_usage(
        &source.name,
        None,
        &source.target,
        reading,
        setting,
        replicas,
    )
    .map_err(fail)?;
    let kind = if is_utilization {
        " utilization (percentage of request)"
    } else {
        ""
    };
    let status = ResourceMetricStatus {
        name: source.name.clone(),
        current,
    };
    Ok(Asked {
        name: format!("{} resource{kind}", source.name),
        proposal,
        status: MetricStatus {
            type_: "Resource".to_owned(),
            resource: Some(status),
            ..MetricStatus::default()
        },
    })
}

fn of_container(
    source: &ContainerResourceMetricSource,
    reading: &Result<Reading, String>,
    setting: &Setting<'_>,
    replicas: Replicas,
) -> Result<Asked, Failed> {
    let fail = |message: String| Failed {
        reason: "FailedGetContainerResourceMetric",
        error: format!(
            "failed to get {} container metric value: {message}",
            source.container
        ),
        message,
    };
    let (proposal, current, is_utilization) = resource_usage(
        &source.name,
        Some(&source.container),
        &source.target,
        reading,
        setting,
        replicas,
    )
    .map_err(fail)?;
    let kind = if is_utilization {
        " container resource utilization (percentage of request)"
    } else {
        " resource"
    };
    let status = ContainerResourceMetricStatus {
        name: source.name.clone(),
        container: source.container.clone(),
        current,
    };
    Ok(Asked {
        name: format!("{}{kind}", source.name),
        proposal,
        status: MetricStatus {
            type_: "ContainerResource".to_owned(),
            container_resource: Some(status),
            ..MetricStatus::default()
        },
    })
}

/// A resource's proposal, the status to show, and whether it is a utilization.
fn resource_usage(
    resource: &str,
    container: Option<&str>,
    target: &MetricTarget,
    reading: &Result<Reading, String>,
    setting: &Setting<'_>,
    replicas: Replicas,
) -> Result<(Proposal, MetricValueStatus, bool), String> {
    let (compared, what) = match (&target.average_value, target.average_utilization) {
        (Some(value), _) => (Target::Average(milli(value)), "usage"),
        (None, Some(percent)) => (Target::Utilization { percent, container }, "utilization"),
        (None, None) => {
            return Err("invalid resource metric source: neither an average utilization target nor an average value \
                        (usage) target was set"
                .to_owned());
        }
    };
    let found = samples(reading)
        .map_err(|error| format!("unable to get metrics for resource {resource}: {error}"))
        .and_then(|samples| setting.of_pods(replicas.spec, resource, samples, compared))
        .map_err(|error| format!("failed to get {resource} {what}: {error}"))?;
    let PodsResult {
        proposal,
        utilization,
        average,
    } = found;
    let format = if resource == "memory" {
        Format::BinarySi
    } else {
        Format::DecimalSi
    };
    let current = MetricValueStatus {
        average_utilization: utilization,
        average_value: Some(quantity(average, format)),
        ..MetricValueStatus::default()
    };
    Ok((proposal, current, utilization.is_some()))
}

fn of_pods(
    source: &PodsMetricSource,
    reading: &Result<Reading, String>,
    setting: &Setting<'_>,
    replicas: Replicas,
) -> Result<Asked, Failed> {
    let fail = |message: String| Failed {
        reason: "FailedGetPodsMetric",
        error: format!("failed to get pods metric value: {message}"),
        message,
    };
    let name = &source.metric.name;
    let target = Target::Average(
        source
            .target
            .average_value
            .as_ref()
            .map(milli)
            .unwrap_or_default(),
    );
    let found = samples(reading)
        .map_err(|error| format!("unable to get metric {name}: {error}"))
        .and_then(|samples| setting.of_pods(replicas.spec, "", samples, target))
        .map_err(fail)?;
    let status = PodsMetricStatus {
        metric: source.metric.clone(),
        current: average(found.average),
    };
    Ok(Asked {
        name: format!("pods metric {name}"),
        proposal: found.proposal,
        status: MetricStatus {
            type_: "Pods".to_owned(),
            pods: Some(status),
            ..MetricStatus::default()
        },
    })
}

fn of_object(
    source: &ObjectMetricSource,
    reading: &Result<Reading, String>,
    setting: &Setting<'_>,
    replicas: Replicas,
    namespace: &str,
) -> Result<Asked, Failed> {
    const REASON: &str = "FailedGetObjectMetric";
    let metric = &source.metric.name;
    let object = &source.described_object;
    let usage = || match reading {
        Ok(Reading::Object(usage)) => Ok(*usage),
        Ok(_) => Err(NO_READING),
        Err(error) => Err(error.as_str()),
    };
    // The words are in this order in Kubernetes too.
    let unable = |error: &str| {
        format!(
            "unable to get metric {metric}: {} on {namespace} {}/{error}",
            object.kind, object.name
        )
    };
    let fail = |message: String, what: &str| Failed {
        reason: REASON,
        error: format!("failed to get object metric value: {what}{message}"),
        message,
    };
    let (name, proposal, current) = match (source.target.type_.as_str(), &source.target) {
        (
            "Value",
            MetricTarget {
                value: Some(target),
                ..
            },
        ) => {
            let found = usage()
                .map_err(unable)
                .and_then(|usage| setting.of_total(replicas.spec, usage, milli(target)))
                .map_err(|message| fail(message, ""))?;
            (
                format!("{} metric {metric}", object.kind),
                found.proposal,
                value(found.usage),
            )
        }
        (
            "AverageValue",
            MetricTarget {
                average_value: Some(target),
                ..
            },
        ) => {
            let what = format!("failed to get {metric} object metric: ");
            let usage = usage().map_err(|error| fail(unable(error), &what))?;
            let found = setting.of_total_per_pod(replicas.status, usage, milli(target));
            // Kubernetes names it so.
            (
                external_name(metric, source.metric.selector.as_ref()),
                found.proposal,
                average(found.usage),
            )
        }
        _ => {
            let message =
                "invalid object metric source: neither a value target nor an average value target was set".to_owned();
            return Err(fail(message, ""));
        }
    };
    let status = ObjectMetricStatus {
        described_object: object.clone(),
        metric: source.metric.clone(),
        current,
    };
    Ok(Asked {
        name,
        proposal,
        status: MetricStatus {
            type_: "Object".to_owned(),
            object: Some(status),
            ..MetricStatus::default()
        },
    })
}

fn of_external(
    source: &ExternalMetricSource,
    reading: &Result<Reading, String>,
    setting: &Setting<'_>,
    replicas: Replicas,
    namespace: &str,
) -> Result<Asked, Failed> {
    let metric = &source.metric.name;
    let selector = source.metric.selector.as_ref();
    let total = || match reading {
        Ok(Reading::External(values)) => Ok(values
            .iter()
            .fold(0_i64, |sum, value| sum.wrapping_add(*value))),
        Ok(_) => Err(NO_READING),
        Err(error) => Err(error.as_str()),
    };
    let unable = |error: &str| {
        format!(
            "unable to get external metric {namespace}/{metric}/{}: {error}",
            Shown(selector)
        )
    };
    let fail = |message: String, what: &str| Failed {
        reason: "FailedGetExternalMetric",
        error: format!("failed to get {metric} external metric value: {what}{message}"),
        message,
    };
    let (proposal, current) = match &source.target {
        MetricTarget {
            average_value: Some(target),
            ..
        } => {
            let what = format!("failed to get {metric} external metric: ");
            let total = total().map_err(|error| fail(unable(error), &what))?;
            let found = setting.of_total_per_pod(replicas.status, total, milli(target));
            (found.proposal, average(found.usage))
        }
        MetricTarget {
            value: Some(target),
            ..
        } => {
            let found = total()
                .map_err(unable)
                .and_then(|total| setting.of_total(replicas.spec, total, milli(target)))
                .map_err(|message| {
                    fail(
                        message,
                        &format!("failed to get external metric {metric}: "),
                    )
                })?;
            (found.proposal, value(found.usage))
        }
        _ => {
            let message =
                "invalid external metric source: neither a value target nor an average value target was set".to_owned();
            return Err(fail(message, ""));
        }
    };
    let status = ExternalMetricStatus {
        metric: source.metric.clone(),
        current,
    };
    Ok(Asked {
        name: external_name(metric, selector),
        proposal,
        status: MetricStatus {
            type_: "External".to_owned(),
            external: Some(status),
            ..MetricStatus::default()
        },
    })
}

fn samples(
    reading: &Result<Reading, String>,
) -> Result<&std::collections::BTreeMap<String, PodSample>, String> {
    match reading {
        Ok(Reading::Pods(samples)) => Ok(samples),
        Ok(_) => Err(NO_READING.to_owned()),
        Err(error) => Err(error.clone()),
    }
}

fn external_name(metric: &str, selector: Option<&LabelSelector>) -> String {
    format!("external metric {metric}({})", Shown(selector))
}

fn average(milli: i64) -> MetricValueStatus {
    MetricValueStatus {
        average_value: Some(quantity(milli, Format::DecimalSi)),
        ..MetricValueStatus::default()
    }
}

fn value(milli: i64) -> MetricValueStatus {
    MetricValueStatus {
        value: Some(quantity(milli, Format::DecimalSi)),
        ..MetricValueStatus::default()
    }
}

fn quantity(milli: i64, format: Format) -> ApiQuantity {
    ApiQuantity(Quantity::from_milli(milli, format).to_string())
}

/// Thousandths of a quantity the API has accepted.
fn milli(quantity: &ApiQuantity) -> i64 {
    Quantity::parse(&quantity.0)
        .map(Quantity::milli)
        .unwrap_or_default()
}

/// A label selector as Kubernetes' messages show it.
struct Shown<'a>(Option<&'a LabelSelector>);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(selector) = self.0 else {
            return f.write_str("nil");
        };
        let mut labels = String::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            write!(labels, "{key}: {value},")?;
        }
        let mut expressions = String::new();
        for found in selector.match_expressions.iter().flatten() {
            let values = found.values.as_deref().unwrap_or_default().join(" ");
            write!(
                expressions,
                "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},",
                found.key, found.operator
            )?;
        }
        write!(
            f,
            "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},\
             MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_is_shown_as_kubernetes_shows_it() {
        let selector: LabelSelector = serde_json::from_value(json!({
            "matchLabels": {"queue": "orders", "app": "web"},
            "matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}],
        }))
        .unwrap();
        assert_eq!(
            Shown(Some(&selector)).to_string(),
            "&LabelSelector{MatchLabels:map[string]string{app: web,queue: orders,},\
             MatchExpressions:[]LabelSelectorRequirement{LabelSelectorRequirement{Key:zone,Operator:In,Values:[a b],},},}"
        );
        assert_eq!(Shown(None).to_string(), "nil");
    }
}
