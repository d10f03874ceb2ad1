//! `tide silence`: adds, lists and ends silences of an Alertmanager.

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};
use springtide_machinery::clock::Clock;
use springtide_metrics::alerting::AlertMatcher;
use springtide_metrics::config::PromDuration;

use super::alerts::{filters, print_table, read, text};
use super::metrics_server::ServerArgument;
use crate::output::say;

/// Add, list and end silences.
#[derive(Debug, Args)]
pub(crate) struct Silence {
    #[command(subcommand)]
    command: SilenceCommand,
}

#[derive(Debug, Subcommand)]
enum SilenceCommand {
    /// Silence alerts; prints the silence's name
    Add(Add),
    /// Show the silences that hold or will
    List(List),
    /// End silences
    Expire(Expire),
}

#[derive(Debug, Args)]
struct Add {
    #[command(flatten)]
    server: ServerArgument,
    /// What the alerts' labels must be: alertname=PakeHighCPU, pod=~"pake-.*"
    #[arg(required = true, value_name = "MATCHER")]
    matchers: Vec<String>,
    /// How long
    #[arg(long, short, default_value = "1h")]
    duration: String,
    /// Why
    #[arg(long, short)]
    comment: String,
    /// Who
    #[arg(long, short, env = "USER", default_value = "tide")]
    author: String,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    server: ServerArgument,
    /// Only silences of such labels
    #[arg(value_name = "MATCHER")]
    matchers: Vec<String>,
    /// Also those that ended
    #[arg(long)]
    expired: bool,
    /// Print what the server answers
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Expire {
    #[command(flatten)]
    server: ServerArgument,
    /// The silences' names
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

impl Silence {
    /// Does it.
    pub(crate) fn execute(&self) -> anyhow::Result<()> {
        match &self.command {
            SilenceCommand::Add(add) => add.execute(),
            SilenceCommand::List(list) => list.execute(),
            SilenceCommand::Expire(expire) => expire.execute(),
        }
    }
}

impl Add {
    fn execute(&self) -> anyhow::Result<()> {
        let mut matchers = Vec::new();
        for written in &self.matchers {
            matchers.extend(AlertMatcher::parse_all(written).map_err(anyhow::Error::msg)?);
        }
        let duration = PromDuration::parse(&self.duration)
            .with_context(|| format!("{:?} is no duration; write 30m or 2h", self.duration))?;
        let now = Clock::system().now();
        let matchers: Vec<Value> = matchers
            .iter()
            .map(|matcher| {
                json!({
                    "name": matcher.name(), "value": matcher.value(),
                    "isRegex": matcher.is_regex(), "isEqual": matcher.is_equal(),
                })
            })
            .collect();
        let silence = json!({
            "matchers": matchers,
            "startsAt": now.to_string(),
            "endsAt": now.checked_add(duration.get())?.to_string(),
            "createdBy": self.author,
            "comment": self.comment,
        });
        let answer = self
            .server
            .ask(&Method::POST, "/api/v2/silences", Some(&silence))?;
        say!("{}", text(&read(&answer)?, &["silenceID"]));
        Ok(())
    }
}

impl List {
    fn execute(&self) -> anyhow::Result<()> {
        let path = format!("/api/v2/silences?{}", filters(&self.matchers));
        let mut silences = read(&self.server.get(&path)?)?;
        let list = silences
            .as_array_mut()
            .context("the server's answer is no list of silences")?;
        if !self.expired {
            list.retain(|silence| text(silence, &["status", "state"]) != "expired");
        }
        if self.json {
            say!("{silences:#}");
            return Ok(());
        }
        if list.is_empty() {
            say!("no silences");
            return Ok(());
        }
        let rows: Vec<Vec<String>> = list
            .iter()
            .map(|silence| {
                let matchers = silence["matchers"].as_array().into_iter().flatten();
                let matchers: Vec<String> = matchers.map(matcher_text).collect();
                [
                    text(silence, &["id"]),
                    text(silence, &["status", "state"]),
                    &matchers.join(" "),
                    text(silence, &["endsAt"]),
                    text(silence, &["createdBy"]),
                    text(silence, &["comment"]),
                ]
                .map(str::to_owned)
                .to_vec()
            })
            .collect();
        print_table(
            &["ID", "STATE", "MATCHERS", "ENDS AT", "BY", "COMMENT"],
            &rows,
        );
        Ok(())
    }
}

fn matcher_text(matcher: &Value) -> String {
    let flag = |name: &str, default: bool| matcher[name].as_bool().unwrap_or(default);
    let operator = match (flag("isEqual", true), flag("isRegex", false)) {
        (true, false) => "=",
        (false, false) => "!=",
        (true, true) => "=~",
        (false, true) => "!~",
    };
    format!(
        "{}{operator}{:?}",
        text(matcher, &["name"]),
        text(matcher, &["value"])
    )
}

impl Expire {
    fn execute(&self) -> anyhow::Result<()> {
        for id in &self.ids {
            if id.contains(['/', '?', '#']) {
                bail!("{id:?} is no silence's name");
            }
            let answer =
                self.server
                    .ask(&Method::DELETE, &format!("/api/v2/silence/{id}"), None)?;
            read(&answer).with_context(|| format!("silence {id}"))?;
            say!("{id}");
        }
        Ok(())
    }
}
