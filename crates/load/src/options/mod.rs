//! The options of a test, as a script exports them, a file holds them, and flags set them.
//!
//! Names and meanings are k6's. An option that is not given is `None`: defaults come last, after
//! all sources were laid over each other.

mod layers;
mod scalar;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use layers::SourceError;
pub(crate) use layers::{summary_detail, variables_without_effect};
use scalar::whole;
pub use scalar::{OneOrMany, Span};

/// Tags that samples get where the options do not say.
const DEFAULT_SYSTEM_TAGS: [&str; 14] = [
    "proto",
    "subproto",
    "status",
    "method",
    "url",
    "name",
    "group",
    "check",
    "error",
    "error_code",
    "tls_version",
    "scenario",
    "service",
    "expected_response",
];

/// Everything that a test's options can say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Options {
    /// How many users there are.
    #[serde(deserialize_with = "whole")]
    pub vus: Option<u64>,
    /// How long the test takes.
    pub duration: Option<Span>,
    /// How many iterations all users do together.
    #[serde(deserialize_with = "whole")]
    pub iterations: Option<u64>,
    /// Numbers of users to ramp to.
    pub stages: Option<Vec<Stage>>,
    /// Scenarios by name.
    pub scenarios: Option<BTreeMap<String, Scenario>>,
    /// The part of the test that this instance runs, such as `1/4:2/4`.
    pub execution_segment: Option<String>,
    /// Bounds of all instances' segments.
    pub execution_segment_sequence: Option<String>,
    /// Starts paused.
    pub paused: Option<bool>,
    /// Skips `setup`.
    pub no_setup: Option<bool>,
    /// Skips `teardown`.
    pub no_teardown: Option<bool>,
    /// How long `setup` may take.
    pub setup_timeout: Option<Span>,
    /// How long `teardown` may take.
    pub teardown_timeout: Option<Span>,
    /// The most requests a second over all users.
    #[serde(deserialize_with = "whole")]
    pub rps: Option<u64>,
    /// The most redirects that are followed.
    #[serde(deserialize_with = "whole")]
    pub max_redirects: Option<u64>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// The most requests of a batch at once.
    #[serde(deserialize_with = "whole")]
    pub batch: Option<u64>,
    /// The most requests of a batch to one host at once.
    #[serde(deserialize_with = "whole")]
    pub batch_per_host: Option<u64>,
    /// Logs requests and answers: `headers` or `full`.
    pub http_debug: Option<String>,
    /// Certificates are not checked.
    #[serde(rename = "insecureSkipTLSVerify")]
    pub insecure_skip_tls_verify: Option<bool>,
    /// Allowed cipher suites, by Go's names.
    pub tls_cipher_suites: Option<Vec<String>>,
    /// Allowed TLS versions: one, or `{min, max}`.
    pub tls_version: Option<serde_json::Value>,
    /// Client certificates.
    pub tls_auth: Option<Vec<ClientCertificate>>,
    /// A request that fails throws, and does not just say so.
    #[serde(rename = "throw")]
    pub throw: Option<bool>,
    /// Conditions on metrics.
    pub thresholds: Option<BTreeMap<String, OneOrMany<Threshold>>>,
    /// Networks (CIDR) that must not be called.
    #[serde(rename = "blacklistIPs")]
    pub blacklist_ips: Option<Vec<String>>,
    /// Host names, with `*` at the beginning, that must not be called.
    pub block_hostnames: Option<Vec<String>>,
    /// Addresses by host name (and port).
    pub hosts: Option<BTreeMap<String, String>>,
    /// Every request takes a connection of its own.
    pub no_connection_reuse: Option<bool>,
    /// Every iteration begins without connections.
    #[serde(rename = "noVUConnectionReuse")]
    pub no_vu_connection_reuse: Option<bool>,
    /// The least time an iteration takes.
    pub min_iteration_duration: Option<Span>,
    /// Options of outputs and of the cloud; kept as they are.
    pub ext: Option<serde_json::Value>,
    /// Options of k6's cloud; kept as they are.
    pub cloud: Option<serde_json::Value>,
    /// What the summary says of a trend.
    pub summary_trend_stats: Option<Vec<String>>,
    /// The unit of times in the summary: `s`, `ms` or `us`.
    pub summary_time_unit: Option<String>,
    /// Which of the system's tags samples get.
    pub system_tags: Option<Vec<String>>,
    /// Tags of every sample.
    pub tags: Option<BTreeMap<String, String>>,
    /// Bodies of answers are read and thrown away unless a request says otherwise.
    pub discard_response_bodies: Option<bool>,
    /// Sent from these addresses.
    #[serde(rename = "localIPs")]
    pub local_ips: Option<String>,
    /// How names are resolved.
    pub dns: Option<Dns>,
    /// Cookies live longer than an iteration.
    pub no_cookies_reset: Option<bool>,
    /// What this struct does not know: refused or warned of by name, never ignored in silence.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, serde_json::Value>,
}

/// A ramp to a level.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// How long the ramp takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// The level at its end: users, or iterations per time unit.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "whole"
    )]
    pub target: Option<u64>,
}

/// How a scenario's load is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "String")]
pub enum ExecutorKind {
    /// Users take from one pile of iterations.
    SharedIterations,
    /// Every user does so many iterations.
    #[serde(rename = "per-vu-iterations")]
    PerVuIterations,
    /// So many users, all the time.
    #[serde(rename = "constant-vus")]
    ConstantVus,
    /// A number of users that follows stages.
    #[serde(rename = "ramping-vus")]
    RampingVus,
    /// So many iterations per time unit.
    ConstantArrivalRate,
    /// A rate that follows stages.
    RampingArrivalRate,
    /// A number of users that can be changed from outside.
    ExternallyControlled,
}

impl TryFrom<String> for ExecutorKind {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Ok(match name.as_str() {
            "shared-iterations" => Self::SharedIterations,
            "per-vu-iterations" => Self::PerVuIterations,
            "constant-vus" => Self::ConstantVus,
            "ramping-vus" => Self::RampingVus,
            "constant-arrival-rate" => Self::ConstantArrivalRate,
            "ramping-arrival-rate" => Self::RampingArrivalRate,
            "externally-controlled" => Self::ExternallyControlled,
            _ => {
                return Err(format!(
                    "unknown executor type {name:?}: use shared-iterations, per-vu-iterations, constant-vus, ramping-vus, constant-arrival-rate or ramping-arrival-rate"
                ));
            }
        })
    }
}

/// One scenario. Which fields an executor takes is checked where its schedule is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(missing_docs, reason = "each field is k6's of the same name")]
pub struct Scenario {
    pub executor: ExecutorKind,
    pub start_time: Option<Span>,
    pub graceful_stop: Option<Span>,
    pub exec: Option<String>,
    pub env: Option<BTreeMap<String, String>>,
    pub tags: Option<BTreeMap<String, String>>,
    pub options: Option<serde_json::Value>,
    #[serde(default, deserialize_with = "whole")]
    pub vus: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    pub iterations: Option<u64>,
    pub max_duration: Option<Span>,
    pub duration: Option<Span>,
    #[serde(rename = "startVUs")]
    #[serde(default, deserialize_with = "whole")]
    pub start_vus: Option<u64>,
    pub stages: Option<Vec<Stage>>,
    pub graceful_ramp_down: Option<Span>,
    #[serde(default, deserialize_with = "whole")]
    pub rate: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    pub start_rate: Option<u64>,
    pub time_unit: Option<Span>,
    #[serde(rename = "preAllocatedVUs")]
    #[serde(default, deserialize_with = "whole")]
    pub pre_allocated_vus: Option<u64>,
    #[serde(rename = "maxVUs")]
    #[serde(default, deserialize_with = "whole")]
    pub max_vus: Option<u64>,
}

/// A condition on a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Threshold {
    /// Just the condition: `p(95)<500`.
    Plain(String),
    /// With what follows from its failure.
    Full(FullThreshold),
}

/// A condition, and what follows from its failure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FullThreshold {
    /// The condition.
    pub threshold: String,
    /// Ends the test when it fails.
    #[serde(default)]
    pub abort_on_fail: bool,
    /// Not before this time.
    #[serde(default)]
    pub delay_abort_eval: Option<Span>,
}

/// A client certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificate {
    /// The hosts that are shown it, with `*` at the beginning; none means all.
    #[serde(default)]
    pub domains: Option<Vec<String>>,
    /// The certificate, PEM.
    pub cert: String,
    /// Its key, PEM.
    pub key: String,
    /// The key's password.
    #[serde(default)]
    pub password: Option<String>,
}

/// How names are resolved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Dns {
    /// How long an answer is kept: `inf`, `0`, `5m`.
    pub ttl: Option<String>,
    /// Which address is taken: `first`, `random`, `roundRobin`.
    pub select: Option<String>,
    /// Which family is taken: `preferIPv4`, `preferIPv6`, `onlyIPv4`, `onlyIPv6`, `any`.
    pub policy: Option<String>,
}

// === impl Options ===

impl Options {
    /// Reads options as a script exports them.
    ///
    /// # Errors
    /// What is wrong, after the option's name.
    pub fn of_json(json: &str) -> Result<Self, String> {
        let value: serde_json::Value =
            serde_json::from_str(json).map_err(|error| error.to_string())?;
        if value.is_null() {
            return Ok(Self::default());
        }
        if !value.is_object() {
            return Err(format!("an object of options is expected, not {value}"));
        }
        serde_path_to_error::deserialize(value)
            .map_err(|error| format!("{}: {}", error.path(), error.inner()))
    }

    /// The tags that the system gives to samples.
    #[must_use]
    pub fn wanted_system_tags(&self) -> BTreeSet<String> {
        match &self.system_tags {
            Some(names) => names.iter().cloned().collect(),
            None => DEFAULT_SYSTEM_TAGS.map(str::to_owned).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scripts_options_are_read_as_k6_reads_them() {
        let options: Options = serde_json::from_str(
            r#"{
                "stages": [{"duration": "2m", "target": 100}, {"duration": 500, "target": 0}],
                "thresholds": {
                    "http_req_duration": ["p(95)<500", {"threshold": "p(99)<1000", "abortOnFail": true, "delayAbortEval": "10s"}],
                    "checks": "rate>0.9"
                },
                "scenarios": {"a": {"executor": "ramping-arrival-rate", "preAllocatedVUs": 5, "startVUs": null}},
                "insecureSkipTLSVerify": true,
                "notAnOption": 1
            }"#,
        )
        .unwrap();
        let stages = options.stages.unwrap();
        assert_eq!(stages[0].duration.unwrap().0.as_secs(), 120);
        assert_eq!(stages[1].duration.unwrap().0.as_millis(), 500);
        let thresholds = options.thresholds.unwrap();
        assert_eq!(
            thresholds["checks"].0,
            [Threshold::Plain("rate>0.9".to_owned())]
        );
        assert!(matches!(
            &thresholds["http_req_duration"].0[1],
            Threshold::Full(full) if full.abort_on_fail
        ));
        assert_eq!(
            options.scenarios.unwrap()["a"].executor,
            ExecutorKind::RampingArrivalRate
        );
        assert_eq!(options.insecure_skip_tls_verify, Some(true));
        assert_eq!(options.unknown.keys().collect::<Vec<_>>(), ["notAnOption"]);
    }

    #[test]
    fn an_unknown_field_of_a_scenario_is_named() {
        let error = serde_json::from_str::<Options>(
            r#"{"scenarios": {"a": {"executor": "constant-vus", "vuss": 5}}}"#,
        )
        .unwrap_err();
        assert!(error.to_string().contains("vuss"), "{error}");
    }

    #[test]
    fn numbers_may_be_texts_as_in_k6() {
        let options = Options::of_json(
            r#"{"vus": "2", "iterations": "4", "rps": "", "maxRedirects": "3", "stages": [{"duration": "1s", "target": "2"}],
                "scenarios": {"a": {"executor": "constant-arrival-rate", "rate": "2", "preAllocatedVUs": "5", "duration": "1s"}}}"#,
        )
        .unwrap();
        assert_eq!((options.vus, options.iterations), (Some(2), Some(4)));
        assert_eq!((options.rps, options.max_redirects), (None, Some(3)));
        assert_eq!(options.stages.unwrap()[0].target, Some(2));
        let scenario = &options.scenarios.unwrap()["a"];
        assert_eq!(scenario.rate, Some(2));
        assert_eq!(scenario.pre_allocated_vus, Some(5));
        assert_eq!(Options::of_json("null"), Ok(Options::default()));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_option() {
        for (json, part) in [
            (r#"{"vus": "x"}"#, "vus: \"x\" is not a whole number"),
            (r#"{"vus": -1}"#, "vus: -1 is not a whole number"),
            (r#"{"iterations": 1.5}"#, "iterations: 1.5 is not a whole"),
            (r#"{"duration": "1x"}"#, "duration: "),
            (r#"{"duration": true}"#, "duration: true is not a duration"),
            (
                r#"{"stages": [{"duration": "1s", "target": "a"}]}"#,
                "stages[0].target: \"a\"",
            ),
            (
                r#"{"scenarios": {"a": {"executor": "constant-arrival-rate", "rate": 1.5}}}"#,
                "scenarios.a.rate: 1.5 is not a whole number",
            ),
            (
                r#"{"scenarios": {"a": {"executor": "nope"}}}"#,
                "scenarios.a.executor: unknown executor type \"nope\"",
            ),
            (r#"{"thresholds": {"checks": 5}}"#, "thresholds.checks: "),
            (r#"{"throw": "yes"}"#, "throw: "),
            (r#""text""#, "an object of options is expected"),
        ] {
            let error = Options::of_json(json).unwrap_err();
            assert!(error.starts_with(part), "{json}: {error}");
            assert!(
                !error.contains("line 1") && !error.contains("untagged"),
                "{error}"
            );
            assert!(!error.contains("externally-controlled"), "{error}");
        }
    }
}
