//! Targets that a server tells.

use std::path::PathBuf;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{HeaderName, StatusCode, Uri};

use super::{Publisher, TargetGroup, WrittenGroup};
use crate::config::HttpSdConfig;
use crate::http_client::{HttpClient, Question};

/// An answer larger than this is no list of targets.
const MOST_BYTES: u64 = 64 << 20;

pub(super) async fn poll(config: HttpSdConfig, folder: PathBuf, publisher: Publisher) {
    let url = config.url.as_str();
    let client = match HttpClient::new(config.http_client(), &folder) {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(url, %error, "targets cannot be asked for");
            return;
        }
    };
    let period = config
        .refresh_interval
        .get()
        .max(Duration::from_millis(100));
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match ask(&client, url, period).await {
            Ok(groups) => publisher.publish(groups),
            Err(reason) => tracing::warn!(url, reason, "no targets from the server"),
        }
    }
}

async fn ask(client: &HttpClient, url: &str, period: Duration) -> Result<Vec<TargetGroup>, String> {
    let uri: Uri = url.parse().map_err(|error| format!("no URL: {error}"))?;
    let mut question = Question::get(uri);
    let headers = &mut question.headers;
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let seconds = HeaderName::from_static("x-prometheus-refresh-interval-seconds");
    if let Ok(value) = HeaderValue::from_str(&period.as_secs_f64().to_string()) {
        headers.insert(seconds, value);
    }
    let answer = client
        .ask(question, period, MOST_BYTES)
        .await
        .map_err(|error| error.to_string())?;
    if answer.status != StatusCode::OK {
        return Err(format!("server returned HTTP status {}", answer.status));
    }
    let content_type = answer.header(&CONTENT_TYPE).unwrap_or_default();
    if !content_type.trim_start().starts_with("application/json") {
        return Err(format!("unsupported content type {content_type:?}"));
    }
    groups(&answer.body, url)
}

pub(super) fn groups(body: &[u8], url: &str) -> Result<Vec<TargetGroup>, String> {
    let written: Vec<WrittenGroup> =
        serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let meta = Some(("__meta_url", url));
    Ok(written
        .into_iter()
        .enumerate()
        .map(|(at, group)| group.into_group(format!("{url}:{at}"), meta))
        .collect())
}
