use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};

use crate::exposition::{Escaping, Format, MetricKind, Writer};
use crate::promql::SeriesSource as _;
use crate::series_store::{Labels, METRIC_NAME, Sample, is_stale};

use super::Api;
use super::form::Form;

fn exposed(format: Format, writer: Writer) -> Response {
    (
        [(header::CONTENT_TYPE, format.content_type())],
        writer.finish(),
    )
        .into_response()
}

fn asked_format(headers: &HeaderMap) -> Format {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    Format::negotiate(accept)
}

/// `/metrics`: this program's own, in the text format, which every reader takes.
pub(super) async fn own(State(api): State<Api>) -> Response {
    let content_type = Format::Text(Escaping::Underscores).content_type();
    (
        [(header::CONTENT_TYPE, content_type)],
        (api.parts.own_metrics)(),
    )
        .into_response()
}

/// `/federate`: the newest sample of each series that one of the selectors takes.
pub(super) async fn federate(State(api): State<Api>, headers: HeaderMap, form: Form) -> Response {
    let selectors = match form.selectors("match[]") {
        Ok(selectors) => selectors,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    };
    let format = asked_format(&headers);
    let external = api
        .parts
        .config
        .read()
        .config
        .global
        .external_labels
        .clone();
    let lookback = i64::try_from(api.parts.engine.lookback.as_millis()).unwrap_or(300_000);
    let now = api.parts.clock.now().as_millisecond();
    let tsdb = api.parts.tsdb.clone();
    let work = move || {
        let mut newest: BTreeMap<String, BTreeMap<Labels, Sample>> = BTreeMap::new();
        for matchers in &selectors {
            for series in tsdb.select(matchers, now - lookback, now)? {
                let mut samples = Vec::new();
                series.read(now - lookback, now, usize::MAX, &mut samples)?;
                if let Some(last) = samples.last().filter(|last| !is_stale(last.value)) {
                    let labels = series.labels().clone();
                    let of_name = newest.entry(labels.metric_name().to_owned()).or_default();
                    of_name.insert(labels, *last);
                }
            }
        }
        Ok::<_, crate::promql::ReadError>(newest)
    };
    let newest = match tokio::task::spawn_blocking(work).await {
        Ok(Ok(newest)) => newest,
        Ok(Err(error)) => {
            return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response();
        }
        Err(error) => {
            return (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response();
        }
    };
    let mut writer = Writer::new(format);
    for (name, series) in &newest {
        if name.is_empty() {
            continue;
        }
        let mut family = writer.family(name, "", MetricKind::Unknown);
        for (labels, sample) in series {
            let mut pairs: Vec<(&str, &str)> = labels
                .iter()
                .filter(|(name, _)| *name != METRIC_NAME)
                .collect();
            for (name, value) in &external {
                if labels.get(name).is_empty() {
                    pairs.push((name, value));
                }
            }
            // Without it, a server that honours labels would set its own target's.
            if !pairs.iter().any(|(name, _)| *name == "instance") {
                pairs.push(("instance", ""));
            }
            family.sample_at(&pairs, sample.value, Some(sample.time));
        }
    }
    exposed(format, writer)
}
