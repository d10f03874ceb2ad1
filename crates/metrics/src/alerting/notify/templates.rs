use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::rules::humanize_duration;
use crate::template::{Functions, Template, Value, escape_html, layout, time_in_json, title_case};

use super::super::book::{Flush, Message, ToldAlert};
use super::NotSent;
use super::webhook::{common, status};

/// Templates that messages are made of where the configuration says nothing else; Alertmanager's names.
const DEFAULT: &str = r#"
{{ define "__alertmanager" }}Alertmanager{{ end }}
{{ define "__alertmanagerURL" }}{{ .ExternalURL }}/#/alerts?receiver={{ .Receiver | urlquery }}{{ end }}
{{ define "__subject" }}[{{ .Status | toUpper }}{{ if eq .Status "firing" }}:{{ .Alerts.Firing | len }}{{ end }}] {{ .GroupLabels.SortedPairs.Values | join " " }}{{ $further := .CommonLabels.Remove .GroupLabels.Names }}{{ if $further }} ({{ $further.Values | join " " }}){{ end }}{{ end }}
{{ define "__description" }}{{ end }}
{{ define "__text_alert_list" }}{{ range . }}Labels:
{{ range .Labels.SortedPairs }} - {{ .Name }} = {{ .Value }}
{{ end }}Annotations:
{{ range .Annotations.SortedPairs }} - {{ .Name }} = {{ .Value }}
{{ end }}Source: {{ .GeneratorURL }}
{{ end }}{{ end }}
{{ define "slack.default.title" }}{{ template "__subject" . }}{{ end }}
{{ define "slack.default.username" }}{{ template "__alertmanager" . }}{{ end }}
{{ define "slack.default.fallback" }}{{ template "slack.default.title" . }} | {{ template "slack.default.titlelink" . }}{{ end }}
{{ define "slack.default.pretext" }}{{ end }}
{{ define "slack.default.titlelink" }}{{ template "__alertmanagerURL" . }}{{ end }}
{{ define "slack.default.iconemoji" }}{{ end }}
{{ define "slack.default.iconurl" }}{{ end }}
{{ define "slack.default.text" }}{{ end }}
{{ define "slack.default.footer" }}{{ end }}
{{ define "email.default.subject" }}{{ template "__subject" . }}{{ end }}
{{ define "__html_alert_list" }}{{ range . }}<table>{{ range .Labels.SortedPairs }}<tr><th align="left">{{ .Name | html }}</th><td>{{ .Value | html }}</td></tr>{{ end }}{{ range .Annotations.SortedPairs }}<tr><th align="left"><i>{{ .Name | html }}</i></th><td>{{ .Value | html }}</td></tr>{{ end }}</table><p><a href="{{ .GeneratorURL | html }}">Source</a></p>{{ end }}{{ end }}
{{ define "email.default.html" }}<!DOCTYPE html><html><head><meta charset="utf-8"><title>{{ template "__subject" . }}</title></head><body>
<h2>{{ .Alerts | len }} {{ if eq (len .Alerts) 1 }}alert{{ else }}alerts{{ end }} for {{ range .GroupLabels.SortedPairs }}{{ .Name | html }}={{ .Value | html }} {{ end }}</h2>
<p><a href="{{ template "__alertmanagerURL" . }}">View in Alertmanager</a></p>
{{ if .Alerts.Firing }}<h3>[{{ .Alerts.Firing | len }}] Firing</h3>{{ template "__html_alert_list" .Alerts.Firing }}{{ end }}
{{ if .Alerts.Resolved }}<h3>[{{ .Alerts.Resolved | len }}] Resolved</h3>{{ template "__html_alert_list" .Alerts.Resolved }}{{ end }}
</body></html>{{ end }}
"#;

/// The templates every configuration begins with.
pub(crate) fn default_templates() -> Template {
    let mut templates = match Template::parse("", "") {
        Ok(templates) => templates,
        Err(error) => unreachable!("an empty template is valid: {error}"),
    };
    if let Err(error) = templates.add_definitions("default", DEFAULT) {
        unreachable!("the templates built in are valid: {error}");
    }
    templates
}

/// What the templates of a message see.
pub(super) fn message_data(flush: &Flush, message: &Message, external_url: &str) -> Value {
    let map = |labels: &super::super::alert::LabelMap| {
        Value::map(
            labels
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        )
    };
    let alert = |told: &ToldAlert| {
        let alert = &told.alert;
        let end = if told.resolved {
            Value::time(alert.ends_at)
        } else {
            Value::time(Timestamp::from_second(-62_135_596_800).unwrap_or(Timestamp::MIN))
        };
        Value::record(
            "template.Alert",
            [
                (
                    "Status",
                    Value::text(if told.resolved { "resolved" } else { "firing" }),
                ),
                ("Labels", map(&alert.labels)),
                ("Annotations", map(&alert.annotations)),
                ("StartsAt", Value::time(alert.starts_at)),
                ("EndsAt", end),
                ("GeneratorURL", Value::text(&alert.generator_url)),
                ("Fingerprint", Value::from(alert.fingerprint())),
            ],
        )
    };
    let alerts = &message.alerts;
    Value::record(
        "template.Data",
        [
            ("Receiver", Value::text(&flush.receiver)),
            ("Status", Value::text(status(alerts))),
            ("Alerts", Value::list(alerts.iter().map(alert).collect())),
            ("GroupLabels", map(&flush.group_labels)),
            (
                "CommonLabels",
                map(&common(alerts.iter().map(|told| &told.alert.labels))),
            ),
            (
                "CommonAnnotations",
                map(&common(alerts.iter().map(|told| &told.alert.annotations))),
            ),
            (
                "ExternalURL",
                Value::text(external_url.trim_end_matches('/')),
            ),
        ],
    )
}

/// Expands the texts of one message.
pub(super) struct MessageTemplates<'a> {
    pub(super) templates: &'a Template,
    pub(super) data: Value,
    pub(super) now: Timestamp,
}

// === impl MessageTemplates ===

impl MessageTemplates<'_> {
    /// A text of the configuration, expanded.
    pub(super) fn expand(&self, text: &str) -> Result<String, NotSent> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let functions = MessageFunctions { now: self.now };
        self.templates
            .with_main("message", text)
            .and_then(|template| template.execute(&self.data, &functions))
            .map_err(|error| NotSent::for_good(error.to_string()))
    }

    /// A text of the configuration, or else a default, expanded.
    pub(super) fn expand_or(&self, text: Option<&str>, default: &str) -> Result<String, NotSent> {
        self.expand(text.unwrap_or(default))
    }
}

/// Alertmanager's functions and methods.
struct MessageFunctions {
    now: Timestamp,
}

const FUNCTIONS: [&str; 16] = [
    "toUpper",
    "toLower",
    "title",
    "trimSpace",
    "join",
    "match",
    "safeHtml",
    "safeUrl",
    "urlUnescape",
    "reReplaceAll",
    "stringSlice",
    "date",
    "tz",
    "since",
    "humanizeDuration",
    "toJson",
];

impl Functions for MessageFunctions {
    fn knows(&self, name: &str) -> bool {
        FUNCTIONS.contains(&name)
    }

    fn call(&self, name: &str, args: &[Value]) -> Result<Value, String> {
        use Value::{List, Text};
        Ok(match (name, args) {
            ("toUpper", [Text(text)]) => Value::from(text.to_uppercase()),
            ("toLower", [Text(text)]) => Value::from(text.to_lowercase()),
            ("title", [Text(text)]) => Value::from(title_case(text)),
            ("trimSpace", [Text(text)]) => Value::text(text.trim()),
            ("join", [Text(gap), List(items)]) => {
                let words: Vec<String> = items.iter().map(ToString::to_string).collect();
                Value::from(words.join(gap))
            }
            ("match", [Text(pattern), Text(text)]) => {
                let pattern = regex::Regex::new(pattern).map_err(|error| error.to_string())?;
                Value::Bool(pattern.is_match(text))
            }
            ("safeHtml" | "safeUrl", [Text(_)]) => args[0].clone(),
            ("reReplaceAll", [Text(pattern), Text(replacement), Text(text)]) => {
                let pattern = regex::Regex::new(pattern).map_err(|error| error.to_string())?;
                Value::from(pattern.replace_all(text, &**replacement).into_owned())
            }
            ("stringSlice", items) => Value::list(items.to_vec()),
            ("date", [Text(format), Value::Time(time)]) => Value::from(layout(time, format)),
            ("tz", [Text(zone), Value::Time(time)]) => {
                Value::Time(time.with_time_zone(time_zone(zone)?))
            }
            ("since", [Value::Time(time)]) => {
                let nanoseconds = self.now.as_nanosecond() - time.timestamp().as_nanosecond();
                Value::Duration(i64::try_from(nanoseconds).unwrap_or(i64::MAX))
            }
            ("humanizeDuration", [Value::Duration(nanoseconds)]) => {
                Value::from(humanize_duration(*nanoseconds as f64 / 1e9))
            }
            ("humanizeDuration", [Value::Float(seconds)]) => {
                Value::from(humanize_duration(*seconds))
            }
            ("humanizeDuration", [Value::Int(seconds)]) => {
                Value::from(humanize_duration(*seconds as f64))
            }
            ("toJson", [value]) => Value::from(json(value).to_string()),
            _ => {
                let kinds: Vec<&str> = args.iter().map(Value::type_name).collect();
                return Err(format!(
                    "{name} does not take arguments of the types ({})",
                    kinds.join(", ")
                ));
            }
        })
    }

    fn method(&self, on: &Value, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        match (on, name, args) {
            (Value::List(alerts), "Firing" | "Resolved", []) => {
                let wanted = name.to_lowercase();
                let is_wanted = |alert: &&Value| match alert {
                    Value::Record(alert) => {
                        alert.fields.get("Status") == Some(&Value::text(&wanted))
                    }
                    _ => false,
                };
                Some(Ok(Value::list(
                    alerts.iter().filter(is_wanted).cloned().collect(),
                )))
            }
            (Value::Map(map), "SortedPairs", []) => {
                let mut pairs: Vec<(&String, &Value)> = map.iter().collect();
                pairs.sort_by_key(|(name, _)| (*name != "alertname", *name));
                let pair = |(name, value): (&String, &Value)| {
                    Value::record(
                        "template.Pair",
                        [("Name", Value::text(name)), ("Value", value.clone())],
                    )
                };
                Some(Ok(Value::list(pairs.into_iter().map(pair).collect())))
            }
            (Value::Map(map), "Remove", [Value::List(names)]) => {
                let gone = |name: &String| names.iter().any(|gone| *gone == Value::text(name));
                let left = map.iter().filter(|(name, _)| !gone(name));
                let left = left.map(|(name, value)| (name.clone(), value.clone()));
                Some(Ok(Value::Map(std::sync::Arc::new(left.collect()))))
            }
            (Value::Map(map), "Names", []) => Some(Ok(Value::list(
                map.keys().map(|name| Value::text(name)).collect(),
            ))),
            (Value::Map(map), "Values", []) => {
                Some(Ok(Value::list(map.values().cloned().collect())))
            }
            (Value::List(pairs), "Names" | "Values", []) => {
                let field = if name == "Names" { "Name" } else { "Value" };
                let of = |pair: &Value| match pair {
                    Value::Record(pair) => pair.fields.get(field).cloned(),
                    _ => None,
                };
                Some(Ok(Value::list(pairs.iter().filter_map(of).collect())))
            }
            _ => None,
        }
    }
}

/// A zone by its name, from the machine's database of zones.
fn time_zone(name: &str) -> Result<TimeZone, String> {
    match name {
        "" | "UTC" => Ok(TimeZone::UTC),
        "Local" => Ok(TimeZone::system()),
        name => TimeZone::get(name).map_err(|_| {
            format!(
                "unknown time zone {name}: names are as in /usr/share/zoneinfo (package tzdata)"
            )
        }),
    }
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) | Value::Duration(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::Text(text) => (&**text).into(),
        Value::Time(time) => time_in_json(time).into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(map) => map
            .iter()
            .map(|(name, value)| (name.clone(), json(value)))
            .collect(),
        Value::Record(record) => record
            .fields
            .iter()
            .map(|(name, value)| {
                let lower = name[..1].to_lowercase() + &name[1..];
                (lower, json(value))
            })
            .collect(),
    }
}

/// Text for HTML, where a template of the configuration does not see to it itself.
pub(super) fn html_text(text: &str) -> String {
    escape_html(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_the_zone_that_the_template_asks_for() {
        let starts_at = "2026-07-01T22:30:00.5Z".parse().expect("a time");
        let templates = default_templates();
        let message = MessageTemplates {
            templates: &templates,
            data: Value::record("template.Alert", [("StartsAt", Value::time(starts_at))]),
            now: starts_at,
        };
        for (text, expected) in [
            (
                r#"{{ .StartsAt | tz "Europe/Berlin" | date "2006-01-02 15:04:05 MST" }}"#,
                "2026-07-02 00:30:00 CEST",
            ),
            (
                r#"{{ .StartsAt | date "15:04 MST" }} {{ .StartsAt | tz "UTC" | date "15:04 -07" }}"#,
                "22:30 UTC 22:30 +00",
            ),
            (
                r#"{{ .StartsAt | tz "Asia/Kolkata" | date "Mon 15:04 -07:00 -07" }}"#,
                "Thu 04:00 +05:30 +05",
            ),
            (
                r#"{{ $there := .StartsAt | tz "America/New_York" }}{{ $there }} {{ $there.Hour }} {{ $there.UTC.Hour }} {{ $there.Unix }}"#,
                "2026-07-01 18:30:00.5 -0400 EDT 18 22 1782945000",
            ),
            (
                r#"{{ .StartsAt | tz "Europe/Berlin" | toJson }}"#,
                r#""2026-07-02T00:30:00.5+02:00""#,
            ),
        ] {
            assert_eq!(message.expand(text).expect(text), expected, "{text}");
        }
        let refused = message
            .expand(r#"{{ .StartsAt | tz "Mars/Olympus" }}"#)
            .expect_err("there is no such zone");
        assert!(
            refused.reason.contains("unknown time zone Mars/Olympus"),
            "{}",
            refused.reason
        );
    }
}
