//! `tide alerts`: the alerts that fire, as an Alertmanager or a Prometheus tells them.

use anyhow::{Context, bail};
use clap::Args;
use serde_json::Value;
use springtide_metrics::http_client::Answer;

use super::metrics_server::{ServerArgument, escape};
use crate::output::say;

/// Show the alerts that fire.
#[derive(Debug, Args)]
pub(crate) struct Alerts {
    #[command(flatten)]
    server: ServerArgument,
    /// Only alerts with such labels: alertname=~"Pake.*"
    #[arg(value_name = "MATCHER")]
    matchers: Vec<String>,
    /// Also alerts that are silenced or muted by others
    #[arg(long, short)]
    all: bool,
    /// Print what the server answers
    #[arg(long)]
    json: bool,
}

/// Whether a server does not know a path of Alertmanager's API. One that knows it, and not a silence that is asked for,
/// answers in other words.
fn is_no_alertmanager(answer: &Answer) -> bool {
    answer.status == http::StatusCode::NOT_FOUND
        && answer.body.trim_ascii() == b"404 page not found"
}

/// The answer's JSON, or what it says went wrong.
pub(crate) fn read(answer: &Answer) -> anyhow::Result<Value> {
    if is_no_alertmanager(answer) {
        bail!(
            "the server has no Alertmanager, as `tide metrics` and Prometheus have none: name an Alertmanager, or a running `tide up`, with --server"
        );
    }
    if !answer.status.is_success() {
        let said = String::from_utf8_lossy(&answer.body);
        bail!(
            "the server refuses ({}): {}",
            answer.status,
            said.trim().trim_matches('"')
        );
    }
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&answer.body).context("the server's answer is no JSON")
}

/// Matchers as a query of the API.
pub(crate) fn filters(matchers: &[String]) -> String {
    let filters = matchers
        .iter()
        .map(|matcher| format!("&filter={}", escape(matcher)));
    filters.collect()
}

/// Prints rows under heads, each column as wide as it needs.
pub(crate) fn print_table(heads: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heads[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: &[String]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        say!("{}", padded.join("   ").trim_end());
    };
    line(
        &heads
            .iter()
            .map(|head| (*head).to_owned())
            .collect::<Vec<_>>(),
    );
    for row in rows {
        line(row);
    }
}

/// A text of a JSON object.
pub(crate) fn text<'v>(value: &'v Value, path: &[&str]) -> &'v str {
    let found = path.iter().try_fold(value, |value, name| value.get(name));
    found.and_then(Value::as_str).unwrap_or_default()
}

impl Alerts {
    /// Prints them.
    pub(crate) fn execute(&self) -> anyhow::Result<()> {
        let all = self.all;
        let path = format!(
            "/api/v2/alerts?silenced={all}&inhibited={all}{}",
            filters(&self.matchers)
        );
        let answer = self.server.get(&path)?;
        let mut is_prometheus = false;
        let mut alerts = if answer.status == http::StatusCode::NOT_FOUND {
            if !self.matchers.is_empty() {
                bail!(
                    "the server has no Alertmanager, as `tide metrics` and Prometheus have none, and cannot choose alerts by their labels: leave the matchers out, or name an Alertmanager with --server"
                );
            }
            is_prometheus = true;
            let answer = self.server.get("/api/v1/alerts")?;
            read(&answer)?["data"]["alerts"].take()
        } else {
            read(&answer)?
        };
        if self.json {
            say!("{alerts:#}");
            return Ok(());
        }
        let alerts = alerts
            .as_array_mut()
            .context("the server's answer is no list of alerts")?;
        if alerts.is_empty() {
            say!("no alerts");
            return Ok(());
        }
        let rows = alerts.iter().map(|alert| {
            let (state, since) = if is_prometheus {
                (text(alert, &["state"]), text(alert, &["activeAt"]))
            } else {
                (
                    text(alert, &["status", "state"]),
                    text(alert, &["startsAt"]),
                )
            };
            let labels = alert["labels"].as_object().into_iter().flatten();
            let labels: Vec<String> = labels
                .filter(|(name, _)| *name != "alertname")
                .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
                .collect();
            let summary = text(alert, &["annotations", "summary"]);
            [
                text(alert, &["labels", "alertname"]),
                state,
                since,
                &labels.join(","),
                summary,
            ]
            .map(str::to_owned)
            .to_vec()
        });
        let rows: Vec<Vec<String>> = rows.collect();
        print_table(&["ALERT", "STATE", "SINCE", "LABELS", "SUMMARY"], &rows);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_an_alertmanager_is_told_from_a_silence_that_is_not_there() {
        let answer = |body: &'static str| Answer {
            status: http::StatusCode::NOT_FOUND,
            headers: http::HeaderMap::new(),
            body: body.into(),
        };
        let said = |body| read(&answer(body)).expect_err("a refusal").to_string();
        assert!(said("404 page not found\n").contains("has no Alertmanager"));
        assert!(said("\"silence x not found\"").contains("silence x not found"));
    }
}
