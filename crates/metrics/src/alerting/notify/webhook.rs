use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::super::alert::LabelMap;
use super::super::book::{Flush, Message, ToldAlert};
use super::super::config::WebhookConfig;
use super::{NotSent, post_json, secret_of};

/// The message, version 4.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    receiver: &'a str,
    status: &'static str,
    alerts: Vec<PayloadAlert<'a>>,
    group_labels: &'a LabelMap,
    common_labels: LabelMap,
    common_annotations: LabelMap,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    version: &'static str,
    group_key: &'a str,
    truncated_alerts: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PayloadAlert<'a> {
    status: &'static str,
    labels: &'a LabelMap,
    annotations: &'a LabelMap,
    starts_at: Timestamp,
    #[serde(serialize_with = "end_or_zero")]
    ends_at: Option<Timestamp>,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
}

fn end_or_zero<S: Serializer>(end: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match end {
        Some(end) => end.serialize(serializer),
        None => serializer.serialize_str("0001-01-01T00:00:00Z"),
    }
}

/// `firing` or `resolved`.
pub(super) fn status(alerts: &[ToldAlert]) -> &'static str {
    if alerts.iter().any(|told| !told.resolved) {
        "firing"
    } else {
        "resolved"
    }
}

/// The pairs that all have alike.
pub(super) fn common<'a>(mut all: impl Iterator<Item = &'a LabelMap>) -> LabelMap {
    let mut common: BTreeMap<String, String> = all.next().cloned().unwrap_or_default();
    for labels in all {
        common.retain(|name, value| labels.get(name) == Some(value));
    }
    common
}

pub(super) async fn send(
    config: &WebhookConfig,
    flush: &Flush,
    message: &Message,
    external_url: &str,
    folder: &Path,
    limit: Duration,
) -> Result<(), NotSent> {
    let most = match config.max_alerts {
        0 => usize::MAX,
        most => most,
    };
    let payload = Payload {
        receiver: &flush.receiver,
        status: status(&message.alerts),
        alerts: message
            .alerts
            .iter()
            .take(most)
            .map(payload_alert)
            .collect(),
        group_labels: &flush.group_labels,
        common_labels: common(message.alerts.iter().map(|told| &told.alert.labels)),
        common_annotations: common(message.alerts.iter().map(|told| &told.alert.annotations)),
        external_url,
        version: "4",
        group_key: &flush.group_key,
        truncated_alerts: message.alerts.len().saturating_sub(most),
    };
    let body =
        serde_json::to_vec(&payload).map_err(|error| NotSent::for_good(error.to_string()))?;
    let url = secret_of(config.url.as_ref(), config.url_file.as_deref(), folder)?;
    let url = url.ok_or_else(|| NotSent::for_good("no URL"))?;
    let limit = config
        .timeout
        .map(crate::config::PromDuration::get)
        .filter(|own| !own.is_zero())
        .map_or(limit, |own| own.min(limit));
    post_json(&url, body, config.http_config.as_ref(), folder, limit).await?;
    Ok(())
}

fn payload_alert(told: &ToldAlert) -> PayloadAlert<'_> {
    let alert = &told.alert;
    PayloadAlert {
        status: if told.resolved { "resolved" } else { "firing" },
        labels: &alert.labels,
        annotations: &alert.annotations,
        starts_at: alert.starts_at,
        ends_at: told.resolved.then_some(alert.ends_at),
        generator_url: &alert.generator_url,
        fingerprint: alert.fingerprint(),
    }
}
