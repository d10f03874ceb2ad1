//! Options come from several sources; a later one is laid over an earlier one.

use std::collections::BTreeMap;

use super::{Dns, Options, Span, Stage};
use crate::output::REMOTE_WRITE_PREFIX;
use crate::summary::Detail;

/// What is wrong with an environment variable or a flag.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}={value:?}: {reason}")]
pub struct SourceError {
    /// The variable or flag.
    pub name: String,
    /// What it was given.
    pub value: String,
    /// What is wrong with it.
    pub reason: String,
}

// === impl Options ===

impl Options {
    /// These options with `higher` laid over them. One that says how long the test is to run
    /// (duration, iterations, stages or scenarios) replaces all that was said of it before.
    #[must_use]
    pub fn overlaid(mut self, higher: Self) -> Self {
        if higher.duration.is_some()
            || higher.iterations.is_some()
            || higher.stages.is_some()
            || higher.scenarios.is_some()
        {
            self.duration = None;
            self.iterations = None;
            self.stages = None;
            self.scenarios = None;
        }
        macro_rules! lay_over {
            ($($field:ident),* $(,)?) => {
                $(if higher.$field.is_some() { self.$field = higher.$field; })*
            };
        }
        lay_over!(
            vus,
            duration,
            iterations,
            stages,
            scenarios,
            execution_segment,
            execution_segment_sequence,
            paused,
            no_setup,
            no_teardown,
            setup_timeout,
            teardown_timeout,
            rps,
            max_redirects,
            user_agent,
            batch,
            batch_per_host,
            http_debug,
            insecure_skip_tls_verify,
            tls_cipher_suites,
            tls_version,
            tls_auth,
            throw,
            thresholds,
            blacklist_ips,
            block_hostnames,
            hosts,
            no_connection_reuse,
            no_vu_connection_reuse,
            min_iteration_duration,
            ext,
            cloud,
            summary_trend_stats,
            summary_time_unit,
            system_tags,
            tags,
            discard_response_bodies,
            local_ips,
            dns,
            no_cookies_reset,
        );
        self.unknown.extend(higher.unknown);
        self
    }

    /// Options from variables such as `K6_VUS`, under k6's names.
    ///
    /// # Errors
    /// A variable whose value cannot be read.
    pub fn of_environment(variables: &BTreeMap<String, String>) -> Result<Self, SourceError> {
        let get = |name: &str| {
            variables
                .get(name)
                .filter(|value| !value.is_empty())
                .map(|value| (name.to_owned(), value.clone()))
        };
        let list = |name: &str| {
            get(name).map(|(_, value)| {
                value
                    .split(',')
                    .map(|part| part.trim().to_owned())
                    .collect()
            })
        };
        Ok(Self {
            vus: number(get("K6_VUS"))?,
            duration: span(get("K6_DURATION"))?,
            iterations: number(get("K6_ITERATIONS"))?,
            stages: stages(get("K6_STAGES"))?,
            no_setup: truth(get("K6_NO_SETUP"))?,
            no_teardown: truth(get("K6_NO_TEARDOWN"))?,
            setup_timeout: span(get("K6_SETUP_TIMEOUT"))?,
            teardown_timeout: span(get("K6_TEARDOWN_TIMEOUT"))?,
            rps: number(get("K6_RPS"))?,
            max_redirects: number(get("K6_MAX_REDIRECTS"))?,
            user_agent: get("K6_USER_AGENT").map(|(_, value)| value),
            batch: number(get("K6_BATCH"))?,
            batch_per_host: number(get("K6_BATCH_PER_HOST"))?,
            http_debug: get("K6_HTTP_DEBUG").map(|(_, value)| value),
            insecure_skip_tls_verify: truth(get("K6_INSECURE_SKIP_TLS_VERIFY"))?,
            throw: truth(get("K6_THROW"))?,
            blacklist_ips: list("K6_BLACKLIST_IPS"),
            block_hostnames: list("K6_BLOCK_HOSTNAMES"),
            no_connection_reuse: truth(get("K6_NO_CONNECTION_REUSE"))?,
            no_vu_connection_reuse: truth(get("K6_NO_VU_CONNECTION_REUSE"))?,
            min_iteration_duration: span(get("K6_MIN_ITERATION_DURATION"))?,
            summary_trend_stats: list("K6_SUMMARY_TREND_STATS"),
            summary_time_unit: get("K6_SUMMARY_TIME_UNIT").map(|(_, value)| value),
            system_tags: list("K6_SYSTEM_TAGS"),
            discard_response_bodies: truth(get("K6_DISCARD_RESPONSE_BODIES"))?,
            local_ips: get("K6_LOCAL_IPS").map(|(_, value)| value),
            no_cookies_reset: truth(get("K6_NO_COOKIES_RESET"))?,
            dns: read(get("K6_DNS"), str::parse)?,
            ..Self::default()
        })
    }
}

/// How much the summary says, as a variable has it.
///
/// # Errors
/// A variable whose value cannot be read.
pub(crate) fn summary_detail(
    variables: &BTreeMap<String, String>,
) -> Result<Option<Detail>, SourceError> {
    let name = "K6_SUMMARY_MODE";
    let given = variables.get(name).filter(|value| !value.is_empty());
    read(
        given.map(|value| (name.to_owned(), value.clone())),
        str::parse,
    )
}

/// Variables of k6's that are read.
const VARIABLES: &[&str] = &[
    "K6_VUS",
    "K6_DURATION",
    "K6_ITERATIONS",
    "K6_STAGES",
    "K6_NO_SETUP",
    "K6_NO_TEARDOWN",
    "K6_SETUP_TIMEOUT",
    "K6_TEARDOWN_TIMEOUT",
    "K6_RPS",
    "K6_MAX_REDIRECTS",
    "K6_USER_AGENT",
    "K6_BATCH",
    "K6_BATCH_PER_HOST",
    "K6_HTTP_DEBUG",
    "K6_INSECURE_SKIP_TLS_VERIFY",
    "K6_THROW",
    "K6_BLACKLIST_IPS",
    "K6_BLOCK_HOSTNAMES",
    "K6_NO_CONNECTION_REUSE",
    "K6_NO_VU_CONNECTION_REUSE",
    "K6_MIN_ITERATION_DURATION",
    "K6_SUMMARY_TREND_STATS",
    "K6_SUMMARY_TIME_UNIT",
    "K6_SYSTEM_TAGS",
    "K6_DISCARD_RESPONSE_BODIES",
    "K6_LOCAL_IPS",
    "K6_NO_COOKIES_RESET",
    "K6_DNS",
    // What is no option of a script: the settings of a test.
    "K6_SUMMARY_MODE",
    // There is no usage report.
    "K6_NO_USAGE_REPORT",
];

/// Variables that k6 would read and nobody reads here. What begins with `K6_PROMETHEUS_RW_` is for
/// an output, which refuses what it cannot do.
pub(crate) fn variables_without_effect(variables: &BTreeMap<String, String>) -> Vec<&str> {
    variables
        .keys()
        .map(String::as_str)
        .filter(|name| name.starts_with("K6_") && !VARIABLES.contains(name))
        .filter(|name| !name.starts_with(REMOTE_WRITE_PREFIX))
        .collect()
}

type Given = Option<(String, String)>;

fn read<T>(
    given: Given,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<Option<T>, SourceError> {
    given
        .map(|(name, value)| {
            parse(value.trim()).map_err(|reason| SourceError {
                name,
                value: value.clone(),
                reason,
            })
        })
        .transpose()
}

fn number(given: Given) -> Result<Option<u64>, SourceError> {
    read(given, |text| {
        text.parse()
            .map_err(|_| "give a whole number of zero or more".to_owned())
    })
}

fn truth(given: Given) -> Result<Option<bool>, SourceError> {
    read(given, |text| match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("give true or false".to_owned()),
    })
}

fn span(given: Given) -> Result<Option<Span>, SourceError> {
    read(given, |text| {
        text.parse::<Span>().map_err(|error| error.to_string())
    })
}

fn stages(given: Given) -> Result<Option<Vec<Stage>>, SourceError> {
    read(given, |text| {
        text.split(',')
            .map(|part| part.trim().parse())
            .collect::<Result<_, String>>()
    })
}

impl std::str::FromStr for Dns {
    type Err = String;

    /// Reads `ttl=5m,select=random,policy=preferIPv4`, or some of it.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut dns = Self::default();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (name, value) = part
                .split_once('=')
                .ok_or("write it like ttl=5m,select=random,policy=preferIPv4")?;
            let field = match name.trim() {
                "ttl" => &mut dns.ttl,
                "select" => &mut dns.select,
                "policy" => &mut dns.policy,
                other => return Err(format!("{other:?} is none of ttl, select and policy")),
            };
            *field = Some(value.trim().to_owned());
        }
        Ok(dns)
    }
}

impl std::str::FromStr for Stage {
    type Err = String;

    /// Reads `DURATION:TARGET`, for example `30s:50`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (duration, target) = text
            .split_once(':')
            .ok_or("write a stage like 30s:50, a duration and the level at its end")?;
        let target = target
            .trim()
            .parse()
            .map_err(|_| format!("the level {target:?} is not a whole number"))?;
        let duration = duration
            .parse()
            .map_err(|error: crate::Error| error.to_string())?;
        Ok(Self {
            duration: Some(duration),
            target: Some(target),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Result<Options, SourceError> {
        let variables = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Options::of_environment(&variables)
    }

    #[test]
    fn the_length_of_a_test_is_replaced_as_a_whole() {
        let script: Options = serde_json::from_str(
            r#"{"vus": 5, "stages": [{"duration": "1m", "target": 9}], "userAgent": "script"}"#,
        )
        .unwrap();
        let variables = environment(&[("K6_DURATION", "10s"), ("K6_USER_AGENT", "")]).unwrap();
        let options = script.overlaid(variables);
        assert_eq!(options.stages, None);
        assert_eq!(options.duration, Some("10s".parse().unwrap()));
        assert_eq!(
            (options.vus, options.user_agent.as_deref()),
            (Some(5), Some("script"))
        );
    }

    #[test]
    fn variables_are_read_or_named() {
        let options = environment(&[
            ("K6_STAGES", "10s:5, 1m:0"),
            ("K6_SUMMARY_TREND_STATS", "avg,p(99)"),
            ("K6_NO_SETUP", "true"),
        ])
        .unwrap();
        assert_eq!(options.stages.unwrap()[1].target, Some(0));
        assert_eq!(options.summary_trend_stats.unwrap(), ["avg", "p(99)"]);
        for (name, value) in [
            ("K6_VUS", "many"),
            ("K6_THROW", "perhaps"),
            ("K6_STAGES", "10s"),
            ("K6_DURATION", "x"),
            ("K6_DNS", "cache=none"),
        ] {
            let error = environment(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
