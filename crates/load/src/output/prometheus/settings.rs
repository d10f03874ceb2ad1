//! What the environment says of remote write, under k6's names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use springtide_metrics::config::{BasicAuth, HttpClientConfig, Secret, TlsConfig};
use url::Url;

use crate::options::Span;
use crate::thresholds::Aggregation;

/// The prefix of all variables.
pub(crate) const PREFIX: &str = "K6_PROMETHEUS_RW_";
/// Where samples are sent to where nothing else is said.
const DEFAULT_URL: &str = "http://localhost:9090/api/v1/write";

/// How and where samples are sent.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) url: Uri,
    pub(super) client: HttpClientConfig,
    pub(super) headers: HeaderMap,
    /// From one request to the next.
    pub(super) push_interval: Duration,
    /// What is sent of a trend.
    pub(super) statistics: Vec<Statistic>,
    /// At the end all series are marked as stale.
    pub(super) stale_markers: bool,
}

/// What is sent of a trend.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Statistic {
    /// The sum of the values.
    Sum,
    /// Any other, with the end of its series' name: `p99`, `avg`.
    Of(Aggregation, String),
}

// === impl Settings ===

impl Settings {
    /// Reads the environment. `url` wins over the variable.
    ///
    /// # Errors
    /// A sentence that names the variable.
    pub(super) fn read(url: &str, environment: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut given = url.to_owned();
        let mut settings = Self {
            url: Uri::default(),
            client: HttpClientConfig::default(),
            headers: HeaderMap::new(),
            push_interval: Duration::from_secs(5),
            statistics: vec![Statistic::Of(
                Aggregation::Percentile(99.0),
                "p99".to_owned(),
            )],
            stale_markers: false,
        };
        let mut tls = TlsConfig::default();
        let mut basic = BasicAuth::default();
        for (name, value) in environment {
            let Some(key) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let fault = |reason: &str| format!("{name}={value:?}: {reason}");
            match key {
                "SERVER_URL" if given.is_empty() => given.clone_from(value),
                "SERVER_URL" => {}
                "PUSH_INTERVAL" => {
                    let Span(interval) = value
                        .parse()
                        .map_err(|_| fault("it is not a duration; write it like 5s"))?;
                    settings.push_interval = interval;
                }
                "TREND_STATS" => {
                    settings.statistics =
                        Statistic::list(value).map_err(|reason| fault(&reason))?;
                }
                "STALE_MARKERS" => settings.stale_markers = switch(value).map_err(fault)?,
                "INSECURE_SKIP_TLS_VERIFY" => {
                    tls.insecure_skip_verify = switch(value).map_err(fault)?;
                }
                "USERNAME" => basic.username.clone_from(value),
                "PASSWORD" => basic.password = Some(Secret::new(value.clone())),
                "CLIENT_CERTIFICATE" => tls.cert_file = Some(PathBuf::from(value)),
                "CLIENT_CERTIFICATE_KEY" => tls.key_file = Some(PathBuf::from(value)),
                "BEARER_TOKEN" => settings.client.bearer_token = Some(Secret::new(value.clone())),
                "HTTP_HEADERS" => {
                    for pair in value.split(',').filter(|pair| !pair.trim().is_empty()) {
                        let (name, value) = pair
                            .split_once(':')
                            .ok_or_else(|| fault("write it like key1:value1,key2:value2"))?;
                        settings
                            .add_header(name, value)
                            .map_err(|reason| fault(&reason))?;
                    }
                }
                "TREND_AS_NATIVE_HISTOGRAM" => {
                    if switch(value).map_err(fault)? {
                        return Err(fault(
                            "native histograms are not supported; name what is to be sent of trends in K6_PROMETHEUS_RW_TREND_STATS",
                        ));
                    }
                }
                _ => match key.strip_prefix("HEADERS_") {
                    Some(header) => settings
                        .add_header(header, value)
                        .map_err(|reason| fault(&reason))?,
                    None => {
                        return Err(fault("this setting of k6's remote write is not supported"));
                    }
                },
            }
        }
        if given.is_empty() {
            DEFAULT_URL.clone_into(&mut given);
        }
        settings.take_url(&given, &mut basic)?;
        if basic != BasicAuth::default() {
            settings.client.basic_auth = Some(basic);
        }
        settings.client.tls_config = Some(tls);
        settings.client.check()?;
        Ok(settings)
    }

    /// Takes the URL, and a name and password that stand in it.
    fn take_url(&mut self, text: &str, basic: &mut BasicAuth) -> Result<(), String> {
        let fault =
            |reason: String| format!("{text:?} is not a URL that samples can be sent to: {reason}");
        let mut url = Url::parse(text).map_err(|error| fault(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fault(
                "it begins with neither http:// nor https://".to_owned(),
            ));
        }
        if !url.username().is_empty() {
            url.username().clone_into(&mut basic.username);
            basic.password = url
                .password()
                .map(|password| Secret::new(password.to_owned()));
            let hidden = url.set_username("").and_then(|()| url.set_password(None));
            debug_assert!(hidden.is_ok(), "a URL with credentials has room for none");
        }
        self.url = url
            .as_str()
            .parse()
            .map_err(|error: http::uri::InvalidUri| fault(error.to_string()))?;
        Ok(())
    }

    fn add_header(&mut self, name: &str, value: &str) -> Result<(), String> {
        let name = HeaderName::from_bytes(name.trim().as_bytes())
            .map_err(|_| format!("{name:?} is no header's name"))?;
        let value = HeaderValue::from_str(value.trim())
            .map_err(|_| "it has characters that no header can carry".to_owned())?;
        self.headers.insert(name, value);
        Ok(())
    }

    /// Paths of certificates are below the folder in which the program runs.
    pub(super) fn folder() -> &'static Path {
        Path::new(".")
    }
}

// === impl Statistic ===

impl Statistic {
    fn list(text: &str) -> Result<Vec<Self>, String> {
        let all: Vec<Self> = text
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(Self::parse)
            .collect::<Result<_, _>>()?;
        if all.is_empty() {
            return Err("it names no statistic".to_owned());
        }
        Ok(all)
    }

    fn parse(name: &str) -> Result<Self, String> {
        if name == "sum" {
            return Ok(Self::Sum);
        }
        let aggregation = Aggregation::parse(name)
            .filter(|aggregation| !matches!(aggregation, Aggregation::Rate | Aggregation::Value))
            .ok_or_else(|| {
                format!("{name:?} is not a statistic: use count, sum, min, max, avg, med or p(N)")
            })?;
        // `p(99.9)` is called p999, as in k6.
        let ending = name.replace(['(', ')', '.', ' '], "");
        Ok(Self::Of(aggregation, ending))
    }

    /// The end of the series' name.
    pub(super) fn ending(&self) -> &str {
        match self {
            Self::Sum => "sum",
            Self::Of(_, ending) => ending,
        }
    }
}

fn switch(value: &str) -> Result<bool, &'static str> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "t" => Ok(true),
        "false" | "0" | "f" | "" => Ok(false),
        _ => Err("it is neither true nor false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let environment = pairs
            .iter()
            .map(|(name, value)| (format!("{PREFIX}{name}"), (*value).to_owned()))
            .chain([("K6_VUS".to_owned(), "3".to_owned())])
            .collect();
        Settings::read(url, &environment)
    }

    #[test]
    fn settings_have_k6s_names_and_defaults() {
        let plain = read("", &[]).unwrap();
        assert_eq!(plain.url.to_string(), DEFAULT_URL);
        assert_eq!(plain.push_interval, Duration::from_secs(5));
        assert_eq!(plain.statistics[0].ending(), "p99");
        let all = read(
            "",
            &[
                ("SERVER_URL", "https://me:secret@host/write"),
                ("PUSH_INTERVAL", "10s"),
                ("TREND_STATS", "p(90), p(99.9),avg,sum,count"),
                ("STALE_MARKERS", "true"),
                ("HEADERS_X-Scope-OrgID", "team"),
                ("HTTP_HEADERS", "a:b, c:d"),
                ("TREND_AS_NATIVE_HISTOGRAM", "false"),
            ],
        )
        .unwrap();
        assert_eq!(all.url.to_string(), "https://host/write");
        let basic = all.client.basic_auth.unwrap();
        assert_eq!(
            (basic.username.as_str(), basic.password.unwrap().expose()),
            ("me", "secret")
        );
        let endings: Vec<_> = all.statistics.iter().map(Statistic::ending).collect();
        assert_eq!(endings, ["p90", "p999", "avg", "sum", "count"]);
        assert_eq!(all.headers["x-scope-orgid"], "team");
        assert_eq!(all.headers["c"], "d");
        let flag = read("http://flag/w", &[("SERVER_URL", "http://variable/w")]).unwrap();
        assert_eq!(flag.url.to_string(), "http://flag/w");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, value, part) in [
            ("SERVER_URL", "ftp://host", "neither http:// nor https://"),
            ("SERVER_URL", "host", "is not a URL"),
            ("PUSH_INTERVAL", "often", "K6_PROMETHEUS_RW_PUSH_INTERVAL"),
            ("TREND_STATS", "p(90),best", "\"best\" is not a statistic"),
            ("TREND_STATS", ",", "names no statistic"),
            ("STALE_MARKERS", "perhaps", "neither true nor false"),
            ("TREND_AS_NATIVE_HISTOGRAM", "true", "not supported"),
            ("SIGV4_REGION", "x", "K6_PROMETHEUS_RW_SIGV4_REGION"),
            ("HTTP_HEADERS", "a", "key1:value1"),
            ("HEADERS_a b", "c", "no header's name"),
        ] {
            let error = read("", &[(name, value)]).unwrap_err();
            assert!(error.contains(part), "{name}={value}: {error}");
        }
    }
}
