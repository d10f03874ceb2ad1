use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::promql::{Options, Query, QueryError};

use super::duration;
use super::expansion::Expansion;
use super::rule::{Alerting, Rule, RuleGroup, RuleKind};

/// What is wrong in a rule file: every fault, each with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", faults.join("\n"))]
pub struct RuleFileError {
    /// One line a fault: `FILE: LINE:COLUMN: group "G", rule 1, "NAME": what is wrong`.
    pub faults: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    groups: Option<Vec<RawGroup>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    #[serde(default)]
    name: String,
    interval: Option<Spanned<String>>,
    query_offset: Option<Spanned<String>>,
    #[serde(default)]
    limit: Option<i64>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    rules: Option<Vec<RawRule>>,
    /// Thanos' field, which the operator takes and Prometheus never sees.
    #[serde(default)]
    partial_response_strategy: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    record: Option<Spanned<String>>,
    alert: Option<Spanned<String>>,
    expr: Option<Spanned<String>>,
    #[serde(rename = "for")]
    hold: Option<Spanned<String>>,
    keep_firing_for: Option<Spanned<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// Reads a rule file as Prometheus does: unknown fields are faults, and so is all that would fail later.
///
/// # Errors
/// All faults found.
pub fn read_rule_file(
    file: &str,
    text: &str,
    options: &Options,
) -> Result<Vec<RuleGroup>, RuleFileError> {
    let raw = parse(file, text)?;
    if let Some(group) = raw
        .iter()
        .find(|group| group.partial_response_strategy.is_some())
    {
        let fault = format!(
            "{file}: group {:?}: partial_response_strategy is a field of PrometheusRule objects, not of rule files",
            group.name
        );
        return Err(RuleFileError {
            faults: vec![fault],
        });
    }
    check(file, raw, options)
}

/// Reads the `spec` of a PrometheusRule object (monitoring.coreos.com/v1).
///
/// # Errors
/// All faults found.
pub fn read_prometheus_rule(
    namespace: &str,
    name: &str,
    spec: &serde_json::Value,
    options: &Options,
) -> Result<Vec<RuleGroup>, RuleFileError> {
    let file = format!("prometheusrule/{namespace}/{name}");
    // JSON is YAML: one reader for both keeps them alike.
    let raw = parse(&file, &spec.to_string())?;
    check(&file, raw, options)
}

fn parse(file: &str, text: &str) -> Result<Vec<RawGroup>, RuleFileError> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let raw: RawFile = serde_saphyr::from_str(text).map_err(|error| RuleFileError {
        faults: vec![yaml_fault(file, &error)],
    })?;
    Ok(raw.groups.unwrap_or_default())
}

/// An error of the YAML reader in one line.
pub(crate) fn yaml_fault(file: &str, error: &serde_saphyr::Error) -> String {
    let plain = crate::config::refused::explained(&error.without_snippet().to_string());
    let plain = plain.lines().next().unwrap_or_default();
    match error.location() {
        Some(place) if !plain.contains("line ") => {
            format!("{file}: {}:{}: {plain}", place.line(), place.column())
        }
        _ => format!("{file}: {plain}"),
    }
}

fn check(
    file: &str,
    raw: Vec<RawGroup>,
    options: &Options,
) -> Result<Vec<RuleGroup>, RuleFileError> {
    let mut faults = Vec::new();
    let mut names = BTreeSet::new();
    let mut groups = Vec::new();
    for group in raw {
        if group.name.is_empty() {
            faults.push(format!("{file}: groupname must not be empty"));
        } else if !names.insert(group.name.clone()) {
            let name = &group.name;
            faults.push(format!(
                "{file}: groupname: {name:?} is repeated in the same file"
            ));
        }
        let context = format!("group {:?}", group.name);
        let mut checker = Checker {
            file,
            context,
            faults: &mut faults,
        };
        let interval = checker.duration("interval", group.interval.as_ref());
        let query_offset = checker.duration("query_offset", group.query_offset.as_ref());
        let limit = group.limit.unwrap_or(0);
        if limit < 0 {
            checker.fault(
                None,
                format!("invalid limit {limit}: it must not be negative"),
            );
        }
        let labels = group.labels.unwrap_or_default();
        checker.label_names(&labels);
        let mut rules = Vec::new();
        for (at, rule) in group.rules.unwrap_or_default().into_iter().enumerate() {
            rules.extend(check_rule(
                file,
                &group.name,
                &labels,
                at,
                rule,
                options,
                &mut faults,
            ));
        }
        groups.push(RuleGroup {
            name: group.name,
            file: file.to_owned(),
            interval: interval.filter(|interval| !interval.is_zero()),
            limit: usize::try_from(limit).unwrap_or(0),
            query_offset,
            rules,
        });
    }
    if faults.is_empty() {
        Ok(groups)
    } else {
        Err(RuleFileError { faults })
    }
}

/// Collects faults of one group or rule.
struct Checker<'a> {
    file: &'a str,
    context: String,
    faults: &'a mut Vec<String>,
}

// === impl Checker ===

impl Checker<'_> {
    fn fault(&mut self, place: Option<&Spanned<String>>, what: impl std::fmt::Display) {
        let place = place
            .map(|place| &place.referenced)
            .filter(|place| place.line() > 0)
            .map(|place| format!("{}:{}: ", place.line(), place.column()))
            .unwrap_or_default();
        let (file, context) = (self.file, &self.context);
        self.faults
            .push(format!("{file}: {place}{context}: {what}"));
    }

    fn duration(&mut self, field: &str, text: Option<&Spanned<String>>) -> Option<Duration> {
        let text = text?;
        let duration = duration::parse(&text.value);
        if duration.is_none() {
            let reason = format!(
                "field '{field}': not a valid duration string: {:?}",
                text.value
            );
            self.fault(Some(text), reason);
        }
        duration
    }

    fn label_names(&mut self, labels: &BTreeMap<String, String>) {
        for name in labels.keys() {
            if name.is_empty() || name == crate::series_store::METRIC_NAME {
                self.fault(None, format!("invalid label name: {name}"));
            }
        }
    }

    fn expansions(
        &mut self,
        what: &str,
        alert: &str,
        texts: &BTreeMap<String, String>,
    ) -> Vec<Expansion> {
        let mut expansions = Vec::new();
        for (name, text) in texts {
            match Expansion::new(alert, name, text) {
                Ok(expansion) => expansions.push(expansion),
                Err(error) => self.fault(None, format!("{what} {name:?}: {error}")),
            }
        }
        expansions
    }
}

fn check_rule(
    file: &str,
    group: &str,
    group_labels: &BTreeMap<String, String>,
    at: usize,
    raw: RawRule,
    options: &Options,
    faults: &mut Vec<String>,
) -> Option<Rule> {
    let named = |name: &Option<Spanned<String>>| {
        name.as_ref()
            .map(|name| name.value.clone())
            .filter(|name| !name.is_empty())
    };
    let (record, alert) = (named(&raw.record), named(&raw.alert));
    let name = record.clone().or(alert.clone()).unwrap_or_default();
    let mut checker = Checker {
        file,
        context: format!("group {group:?}, rule {}, {name:?}", at + 1),
        faults,
    };
    if record.is_some() && alert.is_some() {
        checker.fault(
            raw.record.as_ref(),
            "only one of 'record' and 'alert' must be set",
        );
    }
    if record.is_none() && alert.is_none() {
        checker.fault(raw.expr.as_ref(), "one of 'record' or 'alert' must be set");
    }
    let query = match raw
        .expr
        .as_ref()
        .filter(|expr| !expr.value.trim().is_empty())
    {
        None => {
            checker.fault(
                raw.alert.as_ref().or(raw.record.as_ref()),
                "field 'expr' must be set in rule",
            );
            None
        }
        Some(expr) => parse_query(&mut checker, expr, options),
    };
    let annotations = raw.annotations.unwrap_or_default();
    if record.is_some() {
        if !annotations.is_empty() {
            checker.fault(
                raw.record.as_ref(),
                "invalid field 'annotations' in recording rule",
            );
        }
        for (field, value) in [
            ("for", &raw.hold),
            ("keep_firing_for", &raw.keep_firing_for),
        ] {
            let set = checker.duration(field, value.as_ref());
            if set.is_some_and(|set| !set.is_zero()) {
                let reason = format!("invalid field '{field}' in recording rule");
                checker.fault(value.as_ref(), reason);
            }
        }
        if name.contains(['{', '}']) {
            let reason =
                format!("braces present in the recording rule name; should it be in expr?: {name}");
            checker.fault(raw.record.as_ref(), reason);
        }
    }
    let own_labels = raw.labels.unwrap_or_default();
    checker.label_names(&own_labels);
    let mut labels = group_labels.clone();
    labels.extend(own_labels);
    if annotations.keys().any(String::is_empty) {
        checker.fault(None, "invalid annotation name: it is empty");
    }
    let kind = if record.is_some() {
        RuleKind::Recording
    } else {
        let hold = checker.duration("for", raw.hold.as_ref());
        let keep_firing_for = checker.duration("keep_firing_for", raw.keep_firing_for.as_ref());
        RuleKind::Alerting(Box::new(Alerting {
            hold: hold.unwrap_or_default(),
            keep_firing_for: keep_firing_for.unwrap_or_default(),
            label_expansions: checker.expansions("label", &name, &labels),
            annotation_expansions: checker.expansions("annotation", &name, &annotations),
            annotations,
        }))
    };
    Some(Rule {
        name,
        query: query?,
        labels,
        kind,
    })
}

fn parse_query(
    checker: &mut Checker<'_>,
    expr: &Spanned<String>,
    options: &Options,
) -> Option<Query> {
    let text = expr.value.trim();
    let fault = match Query::parse(text, options.clone()) {
        Ok(query) if query.gives_a_vector_or_scalar() => return Some(query),
        Ok(_) => "the expression must give an instant vector or a scalar".to_owned(),
        Err(error @ QueryError::Parse { .. }) => format!("could not parse expression: {error}"),
        Err(error) => error.to_string(),
    };
    checker.fault(Some(expr), fault);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        match read_rule_file("f.yml", text, &Options::default()) {
            Ok(_) => Vec::new(),
            Err(error) => error.faults,
        }
    }

    #[test]
    fn a_group_has_what_its_file_says_and_its_labels_give_way_to_the_rules() {
        let text = r#"
groups:
- name: g
  interval: 30s
  query_offset: 1m
  limit: 5
  labels: {team: x, severity: low}
  rules:
  - record: job:up:sum
    expr: sum by (job) (up)
  - alert: Down
    expr: |
      up == 0
    for: 2m
    keep_firing_for: 90s
    labels: {severity: page, port: 80}
    annotations: {summary: "{{ $labels.job }} {{ $value | humanize }}"}
"#;
        let groups = read_rule_file("f.yml", text, &Options::default()).expect("valid");
        let group = &groups[0];
        assert_eq!(group.interval, Some(Duration::from_secs(30)));
        assert_eq!(group.query_offset, Some(Duration::from_secs(60)));
        assert_eq!((group.limit, group.rules.len()), (5, 2));
        let down = &group.rules[1];
        assert_eq!(down.query.text(), "up == 0");
        assert_eq!(down.labels["severity"], "page");
        assert_eq!(down.labels["team"], "x");
        assert_eq!(down.labels["port"], "80");
        let alerting = down.alerting().expect("alerting");
        assert_eq!(alerting.hold, Duration::from_secs(120));
        assert_eq!(alerting.keep_firing_for, Duration::from_secs(90));
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        let text = r#"
groups:
- name: g
  rules:
  - record: job_up
    expr: sum by (job) (up
  - alert: Down
    expr: up == 0
    annotations:
      summary: "{{ $labels.job "
  - alert: X
    record: y
    expr: 1
    for: 1m
  - alert: Z
  - expr: up
  - record: a
    expr: up
    annotations: {a: b}
  - alert: B
    expr: up[5m]
    labels: {__name__: x}
  - alert: C
    expr: up
    for: soon
    annotations: {a: "{{ nosuch 1 }}"}
- name: g
- rules: []
"#;
        let expected = [
            r#"f.yml: 6:11: group "g", rule 1, "job_up": could not parse expression: 1:17: parse error: unexpected end of input in aggregation, expected "," or ")""#,
            r#"f.yml: group "g", rule 2, "Down": annotation "summary": template: __alert_Down:1: unclosed action"#,
            r#"f.yml: 12:13: group "g", rule 3, "y": only one of 'record' and 'alert' must be set"#,
            r#"f.yml: 14:10: group "g", rule 3, "y": invalid field 'for' in recording rule"#,
            r#"f.yml: 15:12: group "g", rule 4, "Z": field 'expr' must be set in rule"#,
            r#"f.yml: 16:11: group "g", rule 5, "": one of 'record' or 'alert' must be set"#,
            r#"f.yml: 17:13: group "g", rule 6, "a": invalid field 'annotations' in recording rule"#,
            r#"f.yml: 21:11: group "g", rule 7, "B": the expression must give an instant vector or a scalar"#,
            r#"f.yml: group "g", rule 7, "B": invalid label name: __name__"#,
            r#"f.yml: 25:10: group "g", rule 8, "C": field 'for': not a valid duration string: "soon""#,
            r#"f.yml: group "g", rule 8, "C": annotation "a": template: __alert_C:1: function "nosuch" not defined"#,
            r#"f.yml: groupname: "g" is repeated in the same file"#,
            "f.yml: groupname must not be empty",
        ];
        assert_eq!(faults(text), expected);
    }

    #[test]
    fn unknown_fields_are_refused() {
        let found = faults("groups:\n- name: g\n  foo: 1\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("f.yml: "), "{found:?}");
        assert!(found[0].contains("foo"), "{found:?}");
    }

    #[test]
    fn an_object_reads_as_a_file_does() {
        let spec = serde_json::json!({"groups": [{
            "name": "g", "interval": "30s", "partial_response_strategy": "warn",
            "rules": [{"record": "one", "expr": 1}, {"alert": "A", "expr": "up == 0", "for": "1m"}],
        }]});
        let groups =
            read_prometheus_rule("shop", "web", &spec, &Options::default()).expect("valid");
        assert_eq!(groups[0].file, "prometheusrule/shop/web");
        assert_eq!(groups[0].rules[0].query.text(), "1");
        assert_eq!(groups[0].rules.len(), 2);
    }
}
