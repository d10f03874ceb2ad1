//! `tide query`: asks PromQL of the running platform, or of any Prometheus.

use std::io::IsTerminal as _;

use anyhow::Context as _;
use clap::Args;
use springtide_machinery::clock::Clock;
use springtide_metrics::config::PromDuration;
use springtide_metrics::show::Shown;

use super::metrics_server::{ServerArgument, escape};
use crate::output::{complain, print, say};

/// Points of a chart, where no step is said.
const POINTS: u64 = 240;
/// Lines of a chart.
const HEIGHT: usize = 10;

/// Ask a PromQL query: prints a table, or over a range on a terminal a chart.
#[derive(Debug, Args)]
pub(crate) struct Query {
    /// The query, for example: sum by (pod) (rate(container_cpu_usage_seconds_total[1m]))
    #[arg(value_name = "EXPR")]
    expression: String,
    /// Over the time from so long ago until now: 1h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    range: Option<PromDuration>,
    /// From one point of the range to the next [default: the range's 240th part, a second at least]
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "range")]
    step: Option<PromDuration>,
    /// The time of evaluation, or the end of the range, in RFC 3339 or seconds since 1970 [default: now]
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    #[command(flatten)]
    server: ServerArgument,
    /// Print a table also of a range and on a terminal
    #[arg(long, conflicts_with_all = ["chart", "json"])]
    table: bool,
    /// Print charts also where there is no terminal
    #[arg(long, conflicts_with = "json", requires = "range")]
    chart: bool,
    /// Print what the server answered
    #[arg(long)]
    json: bool,
}

fn duration(text: &str) -> Result<PromDuration, String> {
    let duration = PromDuration::parse(text).filter(|duration| !duration.is_zero());
    duration.ok_or_else(|| "write for example 15s, 5m or 1h30m".to_owned())
}

impl Query {
    /// Asks and prints.
    pub(crate) fn execute(&self) -> anyhow::Result<()> {
        let body = self.server.get(&self.path()?)?.body;
        if self.json {
            say!("{}", String::from_utf8_lossy(&body));
            return Ok(());
        }
        let shown = Shown::read(&body)?;
        for remark in &shown.remarks {
            complain!("{remark}");
        }
        let draws = self.range.is_some() && std::io::stdout().is_terminal() && !self.table;
        if self.chart || draws {
            let width = std::env::var("COLUMNS")
                .ok()
                .and_then(|columns| columns.parse().ok());
            print(&shown.chart(width.unwrap_or(80), HEIGHT));
        } else {
            print(&shown.table());
        }
        Ok(())
    }

    /// Path and parameters of the request.
    fn path(&self) -> anyhow::Result<String> {
        let query = escape(&self.expression);
        let Some(range) = self.range else {
            let time = self
                .time
                .as_ref()
                .map(|time| format!("&time={}", escape(time)));
            return Ok(format!(
                "/api/v1/query?query={query}{}",
                time.unwrap_or_default()
            ));
        };
        let end = match &self.time {
            None => Clock::system().now(),
            Some(text) => match text.parse::<f64>() {
                Ok(seconds) => jiff::Timestamp::from_millisecond((seconds * 1000.0) as i64)?,
                Err(_) => text
                    .parse()
                    .with_context(|| format!("--time {text:?} is no time"))?,
            },
        };
        let end = end.as_millisecond();
        let step = self.step.map_or_else(
            || range.get().as_secs().div_ceil(POINTS).max(1) as f64,
            |step| step.get().as_secs_f64(),
        );
        let seconds = |millis: i64| millis as f64 / 1000.0;
        Ok(format!(
            "/api/v1/query_range?query={query}&start={}&end={}&step={step}",
            seconds(end - range.millis()),
            seconds(end)
        ))
    }
}
