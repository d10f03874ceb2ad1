//! A summary as JSON: what `handleSummary` is given, and what `--summary-export` writes.

use serde_json::{Map, Value, json};
use springtide_machinery::hex::hexadecimal;

use super::{Summary, kind_name};
use crate::metric::{CheckCount, Measured, ValueKind, milliseconds};

/// The argument of a script's `handleSummary`.
#[must_use]
pub fn summary_data(summary: &Summary, no_color: bool, terminal: bool) -> Value {
    let metrics: Map<String, Value> = summary
        .metrics
        .iter()
        .map(|(metric, measured)| {
            let contains = match metric.contains {
                ValueKind::Default => "default",
                ValueKind::Time => "time",
                ValueKind::Data => "data",
            };
            let mut entry = json!({
                "type": kind_name(metric.kind),
                "contains": contains,
                "values": values(summary, measured),
            });
            let thresholds: Map<String, Value> = summary
                .verdicts_of(metric)
                .map(|verdict| (verdict.condition.clone(), json!({"ok": verdict.met})))
                .collect();
            if !thresholds.is_empty() {
                entry["thresholds"] = Value::Object(thresholds);
            }
            (metric.name.to_string(), entry)
        })
        .collect();
    json!({
        "root_group": group(summary, "", &Shape::Lists),
        "options": {
            "summaryTrendStats": summary.trend_statistics,
            "summaryTimeUnit": summary.time_unit.as_deref().unwrap_or_default(),
            "noColor": no_color,
        },
        "state": {
            "isStdOutTTY": terminal,
            "isStdErrTTY": terminal,
            "testRunDurationMs": milliseconds(summary.elapsed),
        },
        "metrics": metrics,
        "setup_data": summary.setup_data,
    })
}

/// The file of `--summary-export`. A threshold is `true` there when it was crossed, as k6 has it.
#[must_use]
pub fn export(summary: &Summary) -> Value {
    let metrics: Map<String, Value> = summary
        .metrics
        .iter()
        .map(|(metric, measured)| {
            let mut entry = match values(summary, measured) {
                Value::Object(entry) => entry,
                _ => Map::new(),
            };
            if let Measured::Rate { .. } = measured
                && let Some(rate) = entry.remove("rate")
            {
                entry.insert("value".to_owned(), rate);
            }
            let thresholds: Map<String, Value> = summary
                .verdicts_of(metric)
                .map(|verdict| (verdict.condition.clone(), json!(!verdict.met)))
                .collect();
            if !thresholds.is_empty() {
                entry.insert("thresholds".to_owned(), Value::Object(thresholds));
            }
            (metric.name.to_string(), Value::Object(entry))
        })
        .collect();
    let mut file = json!({
        "metrics": metrics,
        "root_group": group(summary, "", &Shape::Maps),
    });
    if let Some(data) = &summary.setup_data {
        file["setup_data"] = data.clone();
    }
    file
}

fn values(summary: &Summary, measured: &Measured) -> Value {
    summary
        .values(measured)
        .into_iter()
        .map(|(name, value)| (name, json!(whole_or_float(value))))
        .collect::<Map<_, _>>()
        .into()
}

/// JSON in the way of JavaScript, which knows no `1.0`.
fn whole_or_float(value: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "it was found to fit")]
    if value.fract() == 0.0 && value.abs() < 9e15 {
        json!(value as i64)
    } else {
        json!(value)
    }
}

/// The two ways in which k6 writes groups and checks.
enum Shape {
    Lists,
    Maps,
}

fn group(summary: &Summary, path: &str, shape: &Shape) -> Value {
    let name = path.rsplit("::").next().unwrap_or_default();
    let within = summary
        .checks
        .groups_in(path)
        .map(|(name, inner)| (name.to_owned(), group(summary, inner, shape)));
    let checks = summary
        .checks
        .checks()
        .iter()
        .filter(|check| check.group == path)
        .map(|one| (one.name.clone(), check(one)));
    let (groups, checks) = match shape {
        Shape::Lists => (
            Value::from(within.map(|(_, group)| group).collect::<Vec<_>>()),
            Value::from(checks.map(|(_, check)| check).collect::<Vec<_>>()),
        ),
        Shape::Maps => (
            Value::Object(within.collect()),
            Value::Object(checks.collect()),
        ),
    };
    json!({"name": name, "path": path, "id": id(path), "groups": groups, "checks": checks})
}

fn check(check: &CheckCount) -> Value {
    let path = format!("{}::{}", check.group, check.name);
    json!({
        "name": check.name,
        "path": path,
        "id": id(&path),
        "passes": check.passes,
        "fails": check.fails,
    })
}

/// k6 names groups and checks by the MD5 of their path.
fn id(path: &str) -> String {
    use md5::Digest as _;
    hexadecimal(&md5::Md5::digest(path.as_bytes()))
}
