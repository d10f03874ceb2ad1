use std::collections::BTreeMap;

use axum::extract::{Path, State};
use serde::Serialize;

use crate::tsdb::Metadata;

use super::Api;
use super::answer::{ApiError, ErrorType, Reply, TRUNCATED, write_labels};
use super::form::{ALL_TIMES, Form};
use super::query::blocking;

fn span(form: &Form) -> Result<(i64, i64), ApiError> {
    let from = form.time("start")?.unwrap_or(ALL_TIMES.0);
    let until = form.time("end")?.unwrap_or(ALL_TIMES.1);
    Ok((from, until))
}

/// `/api/v1/series`
pub(super) async fn series(State(api): State<Api>, form: Form) -> Result<Reply, ApiError> {
    if form.all("match[]").is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let limit = form.limit()?;
    let (from, until) = span(&form)?;
    let selectors = form.selectors("match[]")?;
    let found = blocking(&api, move |tsdb| tsdb.series(&selectors, from, until)).await?;
    let mut data = String::from("[");
    for (at, labels) in found.iter().take(limit.unwrap_or(usize::MAX)).enumerate() {
        if at > 0 {
            data.push(',');
        }
        write_labels(&mut data, labels);
    }
    data.push(']');
    let mut reply = Reply::raw(data);
    if limit.is_some_and(|limit| found.len() > limit) {
        reply.warn(TRUNCATED);
    }
    Ok(reply)
}

/// `DELETE /api/v1/series`, which Prometheus no longer has.
pub(super) async fn dropped() -> ApiError {
    ApiError::new(
        ErrorType::Internal,
        "not implemented: ask /api/v1/admin/tsdb/delete_series",
    )
}

/// `/api/v1/labels`
pub(super) async fn label_names(State(api): State<Api>, form: Form) -> Result<Reply, ApiError> {
    let limit = form.limit()?;
    let (from, until) = span(&form)?;
    let selectors = form.selectors("match[]")?;
    let names = blocking(&api, move |tsdb| tsdb.label_names(&selectors, from, until)).await?;
    Reply::list(names, limit)
}

/// `/api/v1/label/NAME/values`
pub(super) async fn label_values(
    State(api): State<Api>,
    Path(name): Path<String>,
    form: Form,
) -> Result<Reply, ApiError> {
    let name = unescaped(&name);
    if name.is_empty() {
        return Err(ApiError::bad_data(format!("invalid label name: {name:?}")));
    }
    let limit = form.limit()?;
    let (from, until) = span(&form)?;
    let selectors = form.selectors("match[]")?;
    let values = blocking(&api, move |tsdb| {
        tsdb.label_values(&name, &selectors, from, until)
    })
    .await?;
    Reply::list(values, limit)
}

/// Undoes `U__`, by which URLs write names with other characters: `U__http_2e_status` is `http.status`.
fn unescaped(name: &str) -> String {
    let Some(escaped) = name.strip_prefix("U__") else {
        return name.to_owned();
    };
    let mut plain = String::new();
    let mut rest = escaped;
    while let Some((before, after)) = rest.split_once('_') {
        plain.push_str(before);
        if let Some(after) = after.strip_prefix('_') {
            plain.push('_');
            rest = after;
            continue;
        }
        let code = after.split_once('_').and_then(|(hex, after)| {
            let char = char::from_u32(u32::from_str_radix(hex, 16).ok()?)?;
            Some((char, after))
        });
        match code {
            Some((char, after)) => {
                plain.push(char);
                rest = after;
            }
            // No escaped name after all.
            None => return name.to_owned(),
        }
    }
    plain.push_str(rest);
    plain
}

#[derive(Serialize, PartialEq)]
struct MetadataView {
    #[serde(rename = "type")]
    kind: String,
    help: String,
    unit: String,
}

impl From<Metadata> for MetadataView {
    fn from(metadata: Metadata) -> MetadataView {
        MetadataView {
            kind: metadata.kind,
            help: metadata.help,
            unit: metadata.unit,
        }
    }
}

/// `/api/v1/metadata`: what targets say of their metrics, and what was remembered of others.
pub(super) async fn metadata(State(api): State<Api>, form: Form) -> Result<Reply, ApiError> {
    let limit = form.limit()?.unwrap_or(usize::MAX);
    let of_each = match form.get("limit_per_metric") {
        "" => usize::MAX,
        text => match text.parse::<i64>() {
            Ok(limit) if limit > 0 => usize::try_from(limit).unwrap_or(usize::MAX),
            Ok(_) => usize::MAX,
            Err(_) => return Err(ApiError::bad_data("limit_per_metric must be a number")),
        },
    };
    let wanted = form.get("metric");
    let is_wanted = |metric: &str| wanted.is_empty() || wanted == metric;
    let mut all: BTreeMap<String, Vec<MetadataView>> = BTreeMap::new();
    let mut add = |metric: String, metadata: Metadata| {
        let known = all.entry(metric).or_default();
        let view = MetadataView::from(metadata);
        if known.len() < of_each && !known.contains(&view) {
            known.push(view);
        }
    };
    for (_, reports) in api
        .parts
        .scrapes
        .iter()
        .flat_map(crate::scrape::ScrapeManager::metadata)
    {
        for report in reports
            .into_iter()
            .filter(|report| is_wanted(&report.metric))
        {
            add(report.metric, report.metadata);
        }
    }
    for (metric, metadata) in api
        .parts
        .tsdb
        .metadata(Some(wanted).filter(|name| !name.is_empty()))
    {
        add(metric, metadata);
    }
    let shown: BTreeMap<String, Vec<MetadataView>> = all.into_iter().take(limit).collect();
    Reply::of(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_label_names_are_undone() {
        for (name, expected) in [
            ("job", "job"),
            ("U__http_2e_status", "http.status"),
            ("U__a__b", "a_b"),
            ("U__broken_zz_", "U__broken_zz_"),
        ] {
            assert_eq!(unescaped(name), expected);
        }
    }
}
