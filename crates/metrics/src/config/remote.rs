use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::relabel::RelabelRule;

use super::PromDuration;
use super::http::section_with_http_client;

/// How samples wait to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueConfig {
    /// Samples that a shard holds at most; more are dropped and counted.
    pub capacity: usize,
    /// Requests under way at once, at most.
    pub max_shards: usize,
    /// Requests under way at once, at least.
    pub min_shards: usize,
    /// Samples of one request.
    pub max_samples_per_send: usize,
    /// How long a sample waits for others.
    pub batch_send_deadline: PromDuration,
    /// The first wait after a failure.
    pub min_backoff: PromDuration,
    /// The longest wait after a failure.
    pub max_backoff: PromDuration,
    /// Whether `429 Too Many Requests` is tried again.
    pub retry_on_http_429: bool,
    /// Samples older than this are dropped and counted; none where zero.
    pub sample_age_limit: PromDuration,
}

impl Default for QueueConfig {
    fn default() -> QueueConfig {
        QueueConfig {
            capacity: 10_000,
            max_shards: 50,
            min_shards: 1,
            max_samples_per_send: 2_000,
            batch_send_deadline: PromDuration::from_secs(5),
            min_backoff: PromDuration::from(std::time::Duration::from_millis(30)),
            max_backoff: PromDuration::from_secs(5),
            retry_on_http_429: false,
            sample_age_limit: PromDuration::default(),
        }
    }
}

/// Whether metadata are sent. They are part of what receivers of remote write 1.0 may get; this sender sends none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataConfig {
    /// Only `false` can be said.
    #[serde(default, deserialize_with = "only_false")]
    pub send: bool,
}

fn only_false<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match bool::deserialize(deserializer)? {
        true => Err(serde::de::Error::custom(
            "sending metadata is not supported: remove the field or set it to false",
        )),
        false => Ok(false),
    }
}

fn thirty_seconds() -> PromDuration {
    PromDuration::from_secs(30)
}

section_with_http_client! {
    /// Another database that every sample is sent to.
    #[derive(Debug, Clone, Deserialize, Serialize)]
    pub struct RemoteWriteConfig {
        /// Where to.
        pub url: String,
        /// When a request is given up.
        #[serde(default = "thirty_seconds")]
        pub remote_timeout: PromDuration,
        /// The sender's name in metrics; once in a configuration.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        pub name: String,
        /// Headers of every request.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        pub headers: BTreeMap<String, String>,
        /// Which samples, and with which labels.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pub write_relabel_configs: Vec<RelabelRule>,
        /// The form of requests: only 1.0.
        #[serde(default)]
        pub protobuf_message: ProtobufMessage,
        /// Exemplars: there are none to send, so only `false` can be said.
        #[serde(default, deserialize_with = "only_false", skip_serializing_if = "std::ops::Not::not")]
        pub send_exemplars: bool,
        /// Native histograms: there are none to send, so only `false` can be said.
        #[serde(default, deserialize_with = "only_false", skip_serializing_if = "std::ops::Not::not")]
        pub send_native_histograms: bool,
        /// How samples wait.
        #[serde(default)]
        pub queue_config: QueueConfig,
        /// Whether metadata are sent.
        #[serde(default)]
        pub metadata_config: MetadataConfig,
    }
}

/// The form of remote write's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
pub enum ProtobufMessage {
    /// 1.0
    #[default]
    #[serde(rename = "prometheus.WriteRequest")]
    V1,
}
