//! `kube_horizontalpodautoscaler_*`.

use std::sync::Arc;

use k8s_openapi::api::autoscaling::v2::{
    HorizontalPodAutoscaler, MetricSpec, MetricStatus, MetricTarget, MetricValueStatus,
};

use super::{WriteLabels, amount, and, created, flag, gauge, named, seconds, some};
use crate::instruments::{FamilyText, Text};

const KIND: &str = "horizontalpodautoscaler";

pub(super) fn write(autoscalers: &[Arc<HorizontalPodAutoscaler>], text: &mut Text) {
    let labels = |found: &HorizontalPodAutoscaler, write: &mut WriteLabels<'_>| {
        write(&named(&found.metadata, KIND));
    };
    created(text, KIND, autoscalers, |found| &found.metadata, labels);
    let help = "Information about this autoscaler.";
    gauge(
        text,
        "kube_horizontalpodautoscaler_info",
        help,
        autoscalers,
        |found, family| {
            let target = &found.spec.scale_target_ref;
            let more = [
                (
                    "scaletargetref_api_version",
                    target.api_version.as_deref().unwrap_or_default(),
                ),
                ("scaletargetref_kind", target.kind.as_str()),
                ("scaletargetref_name", target.name.as_str()),
            ];
            family.sample(&and(&named(&found.metadata, KIND), &more), 1.0);
        },
    );
    numbers(autoscalers, text);
    let help = "The metric specifications used by this autoscaler when calculating the desired replica count.";
    gauge(
        text,
        "kube_horizontalpodautoscaler_spec_target_metric",
        help,
        autoscalers,
        |found, family| {
            let metrics = found.spec.metrics.iter().flatten();
            for (name, target) in metrics.filter_map(wanted) {
                let told = [
                    ("value", target.value.as_ref().and_then(amount)),
                    ("average", target.average_value.as_ref().and_then(amount)),
                    ("utilization", target.average_utilization.map(f64::from)),
                ];
                metric(family, found, name, told);
            }
        },
    );
    let help = "The current metric status used by this autoscaler when calculating the desired replica count.";
    gauge(
        text,
        "kube_horizontalpodautoscaler_status_target_metric",
        help,
        autoscalers,
        |found, family| {
            let metrics = found
                .status
                .iter()
                .flat_map(|status| status.current_metrics.iter().flatten());
            for (name, current) in metrics.filter_map(measured) {
                let told = [
                    ("value", current.value.as_ref().and_then(amount)),
                    ("average", current.average_value.as_ref().and_then(amount)),
                    ("utilization", current.average_utilization.map(f64::from)),
                ];
                metric(family, found, name, told);
            }
        },
    );
    let help = "The condition of this autoscaler.";
    gauge(
        text,
        "kube_horizontalpodautoscaler_status_condition",
        help,
        autoscalers,
        |found, family| {
            let conditions = found
                .status
                .iter()
                .flat_map(|status| status.conditions.iter().flatten());
            for condition in conditions {
                for (status, told) in [("true", "True"), ("false", "False"), ("unknown", "Unknown")]
                {
                    let more = [("condition", condition.type_.as_str()), ("status", status)];
                    let labels = and(&named(&found.metadata, KIND), &more);
                    family.sample(&labels, flag(condition.status == told));
                }
            }
        },
    );
}

fn numbers(autoscalers: &[Arc<HorizontalPodAutoscaler>], text: &mut Text) {
    let mut number =
        |name: &str, help: &str, value: &dyn Fn(&HorizontalPodAutoscaler) -> Option<f64>| {
            let name = format!("kube_horizontalpodautoscaler_{name}");
            gauge(text, &name, help, autoscalers, |found, family| {
                some(family, &named(&found.metadata, KIND), value(found));
            });
        };
    number(
        "metadata_generation",
        "The generation observed by the HorizontalPodAutoscaler controller.",
        &|found| found.metadata.generation.map(|number| number as f64),
    );
    number(
        "spec_max_replicas",
        "Upper limit for the number of pods that can be set by the autoscaler; cannot be smaller than MinReplicas.",
        &|found| Some(f64::from(found.spec.max_replicas)),
    );
    number(
        "spec_min_replicas",
        "Lower limit for the number of pods that can be set by the autoscaler, default 1.",
        &|found| Some(f64::from(found.spec.min_replicas.unwrap_or(1))),
    );
    number(
        "status_current_replicas",
        "Current number of replicas of pods managed by this autoscaler.",
        &|found| {
            Some(f64::from(
                found.status.as_ref()?.current_replicas.unwrap_or_default(),
            ))
        },
    );
    number(
        "status_desired_replicas",
        "Desired number of replicas of pods managed by this autoscaler.",
        &|found| Some(f64::from(found.status.as_ref()?.desired_replicas)),
    );
    number(
        "status_last_scale_time",
        "The last time the autoscaler scaled the number of pods, in unix time.",
        &|found| seconds(found.status.as_ref()?.last_scale_time.as_ref()),
    );
}

fn metric(
    family: &mut FamilyText<'_>,
    found: &HorizontalPodAutoscaler,
    name: &str,
    told: [(&str, Option<f64>); 3],
) {
    for (kind, value) in told {
        let more = [("metric_name", name), ("metric_target_type", kind)];
        some(family, &and(&named(&found.metadata, KIND), &more), value);
    }
}

fn wanted(metric: &MetricSpec) -> Option<(&str, &MetricTarget)> {
    None.or_else(|| {
        metric
            .resource
            .as_ref()
            .map(|found| (found.name.as_str(), &found.target))
    })
    .or_else(|| {
        metric
            .container_resource
            .as_ref()
            .map(|found| (found.name.as_str(), &found.target))
    })
    .or_else(|| {
        metric
            .pods
            .as_ref()
            .map(|found| (found.metric.name.as_str(), &found.target))
    })
    .or_else(|| {
        metric
            .object
            .as_ref()
            .map(|found| (found.metric.name.as_str(), &found.target))
    })
    .or_else(|| {
        metric
            .external
            .as_ref()
            .map(|found| (found.metric.name.as_str(), &found.target))
    })
}

fn measured(metric: &MetricStatus) -> Option<(&str, &MetricValueStatus)> {
    None.or_else(|| {
        metric
            .resource
            .as_ref()
            .map(|found| (found.name.as_str(), &found.current))
    })
    .or_else(|| {
        metric
            .container_resource
            .as_ref()
            .map(|found| (found.name.as_str(), &found.current))
    })
    .or_else(|| {
        metric
            .pods
            .as_ref()
            .map(|found| (found.metric.name.as_str(), &found.current))
    })
    .or_else(|| {
        metric
            .object
            .as_ref()
            .map(|found| (found.metric.name.as_str(), &found.current))
    })
    .or_else(|| {
        metric
            .external
            .as_ref()
            .map(|found| (found.metric.name.as_str(), &found.current))
    })
}
