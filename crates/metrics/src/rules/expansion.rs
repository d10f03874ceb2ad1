//! Templates in rules: Prometheus' functions, and the texts of labels and annotations.

use std::time::Duration;

use jiff::Timestamp;

use crate::promql::{Cancel, Element, Options, Query, SeriesSource, plain};
use crate::series_store::{Labels, METRIC_NAME};
use crate::template::{
    Functions, Template, TemplateError, Value, escape_query, significant, title_case,
};

use super::duration;

/// A label or annotation, ready to be expanded.
#[derive(Debug, Clone)]
pub(crate) struct Expansion {
    pub(crate) name: String,
    /// The text itself where it has no action.
    text: String,
    template: Option<Template>,
}

/// What every template begins with.
const VARIABLES: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}";

// === impl Expansion ===

impl Expansion {
    /// Reads the text of a label or annotation of an alert.
    pub(crate) fn new(alert: &str, name: &str, text: &str) -> Result<Expansion, TemplateError> {
        let template = if text.contains("{{") {
            let title = format!("__alert_{alert}");
            let template = Template::parse(&title, &format!("{VARIABLES}{text}"))?;
            template.check_functions(&|name| FUNCTIONS.contains(&name))?;
            Some(template)
        } else {
            None
        };
        Ok(Expansion {
            name: name.to_owned(),
            text: text.to_owned(),
            template,
        })
    }

    /// The text for one element of the expression's answer. What fails is said in the text, as Prometheus does.
    pub(crate) fn expand(
        &self,
        data: &Value,
        functions: &RuleFunctions<'_>,
    ) -> Result<String, String> {
        match &self.template {
            None => Ok(self.text.clone()),
            Some(template) => template
                .execute(data, functions)
                .map_err(|error| error.to_string()),
        }
    }
}

/// What templates of an element see.
pub(crate) fn alert_data(
    labels: &Labels,
    external_labels: &Labels,
    external_url: &str,
    value: f64,
) -> Value {
    Value::record(
        "template.AlertData",
        [
            ("Labels", Value::map(labels.iter())),
            ("ExternalLabels", Value::map(external_labels.iter())),
            ("ExternalURL", Value::text(external_url)),
            ("Value", Value::Float(value)),
        ],
    )
}

const FUNCTIONS: [&str; 34] = [
    "query",
    "first",
    "label",
    "value",
    "strvalue",
    "args",
    "reReplaceAll",
    "safeHtml",
    "match",
    "title",
    "toUpper",
    "toLower",
    "graphLink",
    "tableLink",
    "sortByLabel",
    "stripPort",
    "stripDomain",
    "humanize",
    "humanize1024",
    "humanizeDuration",
    "humanizePercentage",
    "humanizeTimestamp",
    "toTime",
    "toDuration",
    "now",
    "pathPrefix",
    "externalURL",
    "parseDuration",
    "urlQueryEscape",
    "externalLabels",
    "tmpl",
    "trimSpace",
    "join",
    "since",
];

/// Prometheus' functions, at one time of evaluation.
pub(crate) struct RuleFunctions<'a> {
    /// What `query` asks.
    pub(crate) source: &'a dyn SeriesSource,
    /// When it asks, in milliseconds.
    pub(crate) at: i64,
    pub(crate) options: &'a Options,
    pub(crate) external_labels: &'a Labels,
    pub(crate) external_url: &'a str,
}

// === impl RuleFunctions ===

impl RuleFunctions<'_> {
    fn query(&self, text: &str) -> Result<Value, String> {
        let query = Query::parse(text, self.options.clone()).map_err(|error| error.to_string())?;
        let answer = query
            .instant(self.source, self.at, &Cancel::default())
            .map_err(|error| error.to_string())?;
        let elements = super::evaluate::elements(answer.value)?;
        Ok(Value::list(elements.iter().map(sample).collect()))
    }
}

fn sample(element: &Element) -> Value {
    Value::record(
        "template.sample",
        [
            ("Labels", Value::map(element.labels.iter())),
            ("Value", Value::Float(element.sample.value)),
        ],
    )
}

impl Functions for RuleFunctions<'_> {
    fn knows(&self, name: &str) -> bool {
        FUNCTIONS.contains(&name)
    }

    fn call(&self, name: &str, args: &[Value]) -> Result<Value, String> {
        match (name, args) {
            ("query", [Value::Text(text)]) => self.query(text),
            ("externalURL", []) => Ok(Value::text(self.external_url)),
            ("externalLabels", []) => Ok(Value::map(self.external_labels.iter())),
            ("pathPrefix", []) => Ok(Value::from(path_of(self.external_url))),
            ("now", []) => Ok(Value::Float(self.at as f64 / 1000.0)),
            _ => pure(name, args),
        }
    }
}

/// The functions that know nothing of their surroundings.
fn pure(name: &str, args: &[Value]) -> Result<Value, String> {
    use Value::{List, Record, Text};
    Ok(match (name, args) {
        ("first", [List(items)]) => items
            .first()
            .cloned()
            .ok_or("first() called on vector with no elements")?,
        ("label", [Text(label), Record(sample)]) => label_of(sample, label),
        ("value", [Record(sample)]) => sample.fields.get("Value").cloned().unwrap_or(Value::Nil),
        ("strvalue", [Record(sample)]) => label_of(sample, "__value__"),
        ("args", args) => {
            let numbered = args.iter().enumerate();
            let map = numbered.map(|(at, value)| (format!("arg{at}"), value.clone()));
            Value::Map(std::sync::Arc::new(map.collect()))
        }
        ("reReplaceAll", [Text(pattern), Text(replacement), Text(text)]) => {
            let pattern = regex::Regex::new(pattern).map_err(|error| error.to_string())?;
            Value::from(pattern.replace_all(text, &**replacement).into_owned())
        }
        ("match", [Text(pattern), Text(text)]) => {
            let pattern = regex::Regex::new(pattern).map_err(|error| error.to_string())?;
            Value::Bool(pattern.is_match(text))
        }
        ("safeHtml", [Text(_)]) => args[0].clone(),
        ("title", [Text(text)]) => Value::from(title_case(text)),
        ("toUpper", [Text(text)]) => Value::from(text.to_uppercase()),
        ("toLower", [Text(text)]) => Value::from(text.to_lowercase()),
        ("trimSpace", [Text(text)]) => Value::text(text.trim()),
        ("join", [Text(gap), List(items)]) => {
            let words: Vec<String> = items.iter().map(ToString::to_string).collect();
            Value::from(words.join(gap))
        }
        ("graphLink", [Text(expr)]) => Value::from(graph_link(expr, 0)),
        ("tableLink", [Text(expr)]) => Value::from(graph_link(expr, 1)),
        ("sortByLabel", [Text(label), List(items)]) => {
            let mut sorted = items.to_vec();
            sorted.sort_by_key(|item| match item {
                Record(sample) => label_of(sample, label).to_string(),
                _ => String::new(),
            });
            Value::list(sorted)
        }
        ("stripPort", [Text(text)]) => Value::from(strip_port(text)),
        ("stripDomain", [Text(text)]) => Value::from(strip_domain(text)),
        ("humanize", [value]) => Value::from(humanize(number(value)?)),
        ("humanize1024", [value]) => Value::from(humanize_1024(number(value)?)),
        ("humanizeDuration", [value]) => Value::from(humanize_duration(number(value)?)),
        ("humanizePercentage", [value]) => {
            Value::from(significant(number(value)? * 100.0, 4) + "%")
        }
        ("humanizeTimestamp", [value]) => {
            let seconds = number(value)?;
            if seconds.is_finite() {
                Value::from(Value::time(time_of(seconds)?).to_string())
            } else {
                Value::from(significant(seconds, 4))
            }
        }
        ("toTime", [value]) => Value::time(time_of(number(value)?)?),
        ("toDuration", [value]) => Value::Duration((number(value)? * 1e9) as i64),
        ("parseDuration", [Text(text)]) => {
            let parsed = duration::parse(text)
                .ok_or_else(|| format!("not a valid duration string: {text:?}"))?;
            Value::Float(Duration::as_secs_f64(&parsed))
        }
        ("urlQueryEscape", [Text(text)]) => Value::from(escape_query(text)),
        ("tmpl" | "since", _) => {
            return Err(format!(
                "function {name:?} is not supported in rules; use template or now"
            ));
        }
        _ => {
            let kinds: Vec<&str> = args.iter().map(Value::type_name).collect();
            let kinds = kinds.join(", ");
            return Err(format!(
                "{name} does not take arguments of the types ({kinds})"
            ));
        }
    })
}

fn label_of(sample: &crate::template::Record, label: &str) -> Value {
    match sample.fields.get("Labels") {
        Some(Value::Map(labels)) => labels
            .get(label)
            .cloned()
            .unwrap_or_else(|| Value::text("")),
        _ => Value::text(""),
    }
}

fn number(value: &Value) -> Result<f64, String> {
    match value {
        Value::Float(value) => Ok(*value),
        Value::Int(value) => Ok(*value as f64),
        Value::Duration(nanoseconds) => Ok(*nanoseconds as f64 / 1e9),
        Value::Text(text) => crate::promql::parse_float(text)
            .ok_or_else(|| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax")),
        other => Err(format!("can't convert {} to float", other.type_name())),
    }
}

fn time_of(seconds: f64) -> Result<Timestamp, String> {
    Timestamp::from_microsecond((seconds * 1e6).round() as i64).map_err(|_| {
        format!(
            "{} cannot be represented as a nanoseconds timestamp since it overflows int64",
            plain(seconds)
        )
    })
}

/// The four significant digits and a prefix of a thousand.
pub(crate) fn humanize(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return significant(value, 4);
    }
    let mut scaled = value;
    let mut prefix = "";
    if value.abs() >= 1.0 {
        for larger in ["k", "M", "G", "T", "P", "E", "Z", "Y"] {
            if scaled.abs() < 1000.0 {
                break;
            }
            (prefix, scaled) = (larger, scaled / 1000.0);
        }
    } else {
        for smaller in ["m", "u", "n", "p", "f", "a", "z", "y"] {
            if scaled.abs() >= 1.0 {
                break;
            }
            (prefix, scaled) = (smaller, scaled * 1000.0);
        }
    }
    significant(scaled, 4) + prefix
}

fn humanize_1024(value: f64) -> String {
    if value.abs() <= 1.0 || !value.is_finite() {
        return significant(value, 4);
    }
    let mut scaled = value;
    let mut prefix = "";
    for larger in ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"] {
        if scaled.abs() < 1024.0 {
            break;
        }
        (prefix, scaled) = (larger, scaled / 1024.0);
    }
    significant(scaled, 4) + prefix
}

/// Seconds in words: `1d 2h 3m 4s`, or with four digits below a minute.
pub(crate) fn humanize_duration(value: f64) -> String {
    if !value.is_finite() {
        return significant(value, 4);
    }
    if value.abs() >= 1.0 {
        let sign = if value < 0.0 { "-" } else { "" };
        let value = value.abs();
        let whole = value as i64;
        let (seconds, minutes) = (whole % 60, whole / 60 % 60);
        let (hours, days) = (whole / 3600 % 24, whole / 86_400);
        return if days != 0 {
            format!("{sign}{days}d {hours}h {minutes}m {seconds}s")
        } else if hours != 0 {
            format!("{sign}{hours}h {minutes}m {seconds}s")
        } else if minutes != 0 {
            format!("{sign}{minutes}m {seconds}s")
        } else {
            format!("{sign}{}s", significant(value, 4))
        };
    }
    if value == 0.0 {
        return "0s".to_owned();
    }
    let mut scaled = value;
    let mut prefix = "";
    for smaller in ["m", "u", "n", "p", "f", "a", "z", "y"] {
        if scaled.abs() >= 1.0 {
            break;
        }
        (prefix, scaled) = (smaller, scaled * 1000.0);
    }
    format!("{}{prefix}s", significant(scaled, 4))
}

/// A link to the expression in the web pages: as a graph (0) or table (1).
pub(crate) fn graph_link(expr: &str, tab: u8) -> String {
    format!("/graph?g0.expr={}&g0.tab={tab}", escape_query(expr))
}

fn path_of(url: &str) -> String {
    let after = url.split_once("://").map_or(url, |(_, after)| after);
    after.find('/').map_or_else(String::new, |at| {
        after[at..].trim_end_matches('/').to_owned()
    })
}

fn strip_port(text: &str) -> String {
    if let Some(host) = text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]:"))
    {
        return host.0.to_owned();
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => host.to_owned(),
        _ => text.to_owned(),
    }
}

fn strip_domain(text: &str) -> String {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        _ => (text, None),
    };
    if host.parse::<std::net::IpAddr>().is_ok() || host.starts_with('[') {
        return text.to_owned();
    }
    let first = host.split('.').next().unwrap_or(host);
    match port {
        Some(port) => format!("{first}:{port}"),
        None => first.to_owned(),
    }
}

/// The labels of an element as alerts keep them: without the metric's name.
pub(crate) fn without_name(labels: &Labels) -> Labels {
    labels.without(|name| name == METRIC_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tsdb::{self, Tsdb};

    fn expand(text: &str) -> String {
        let store = Tsdb::in_memory(tsdb::Options::default());
        let mut appender = store.appender();
        for (instance, value) in [("b:80", 2.0), ("a:80", 1.0)] {
            let labels = Labels::new([("__name__", "up"), ("instance", instance)]);
            appender
                .append(&labels, None, 1000, value)
                .expect("in order");
        }
        appender.commit().expect("in memory");
        let external = Labels::new([("cluster", "c1")]);
        let functions = RuleFunctions {
            source: &store,
            at: 2000,
            options: &Options::default(),
            external_labels: &external,
            external_url: "http://prom.example/base/",
        };
        let labels = Labels::new([("instance", "a:80"), ("__value__", "x")]);
        let data = alert_data(&labels, &external, "http://prom.example/base/", 1234.5);
        let expansion = Expansion::new("A", "n", text).expect(text);
        expansion
            .expand(&data, &functions)
            .unwrap_or_else(|error| error)
    }

    #[test]
    fn prometheus_functions_print_as_they_do_there() {
        for (text, expected) in [
            ("{{ $labels.instance }} {{ $value }}", "a:80 1234.5"),
            (
                "{{ $externalLabels.cluster }} {{ externalURL }} {{ pathPrefix }}",
                "c1 http://prom.example/base/ /base",
            ),
            (
                "{{ humanize 1234567.0 }} {{ humanize 0.001 }} {{ humanize 0.0 }} {{ humanize \"12\" }}",
                "1.235M 1m 0 12",
            ),
            (
                "{{ humanize1024 1048576.0 }} {{ humanize1024 100.0 }}",
                "1Mi 100",
            ),
            (
                "{{ humanizeDuration 90061.0 }}|{{ humanizeDuration 61.5 }}|{{ humanizeDuration 0.0123 }}|{{ humanizeDuration 12.345 }}|{{ humanizeDuration -3700 }}",
                "1d 1h 1m 1s|1m 1s|12.3ms|12.35s|-1h 1m 40s",
            ),
            ("{{ humanizePercentage 0.12345 }}", "12.35%"),
            (
                "{{ humanizeTimestamp 1435065584.128 }}",
                "2015-06-23 13:19:44.128 +0000 UTC",
            ),
            ("{{ (query \"up\" | first).Labels.instance }}", "a:80"),
            ("{{ query \"up{instance='b:80'}\" | first | value }}", "2"),
            (
                "{{ range query \"up\" | sortByLabel \"instance\" }}{{ label \"instance\" . }}={{ value . }} {{ end }}",
                "a:80=1 b:80=2 ",
            ),
            (
                "{{ query \"nothing\" | first }}",
                "template: __alert_A:1: executing \"__alert_A\": error calling first: first() called on vector with no elements",
            ),
            (
                "{{ reReplaceAll \"(.*):80\" \"${1}!\" \"host:80\" }} {{ match \"h.s\" \"host\" }}",
                "host! true",
            ),
            (
                "{{ \"heLLo world\" | title }} {{ toUpper \"a\" }} {{ toLower \"B\" }}",
                "HeLLo World A b",
            ),
            (
                "{{ stripPort \"host:80\" }} {{ stripPort \"[::1]:80\" }} {{ stripDomain \"a.b.c:80\" }} {{ stripDomain \"1.2.3.4\" }}",
                "host ::1 a:80 1.2.3.4",
            ),
            (
                "{{ parseDuration \"1h30m\" }} {{ (toTime 1.5).Unix }} {{ toDuration 90 }}",
                "5400 1 1m30s",
            ),
            (
                "{{ tableLink \"up == 0\" }}",
                "/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
            ),
            (
                "{{ define \"x\" }}{{ .arg0 }}-{{ .arg1 }}{{ end }}{{ template \"x\" (args 1 \"b\") }}",
                "1-b",
            ),
            (
                "{{ with query \"scalar(sum(up))\" }}{{ . | first | value | printf \"%.1f\" }}{{ end }}",
                "3.0",
            ),
        ] {
            assert_eq!(expand(text), expected, "{text}");
        }
    }
}
