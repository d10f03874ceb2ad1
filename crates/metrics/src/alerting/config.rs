//! Alertmanager's configuration file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::config::{HttpClientConfig, PromDuration, Secret, TlsConfig};
use crate::template::Template;

use super::interval::{RawInterval, TimeInterval};
use super::matcher::AlertMatcher;
use super::route::{GroupBy, Route};

/// Why a configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct AlertingConfigError {
    /// The file.
    pub file: String,
    /// What is wrong, with its place where it is known.
    pub reason: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    #[serde(default)]
    global: RawGlobal,
    route: Option<RawRoute>,
    #[serde(default)]
    inhibit_rules: Vec<RawInhibition>,
    #[serde(default)]
    receivers: Vec<Receiver>,
    #[serde(default)]
    templates: Vec<PathBuf>,
    #[serde(default)]
    time_intervals: Vec<RawNamedInterval>,
    #[serde(default)]
    mute_time_intervals: Vec<RawNamedInterval>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGlobal {
    resolve_timeout: Option<PromDuration>,
    http_config: Option<HttpClientConfig>,
    smtp_from: Option<String>,
    smtp_hello: Option<String>,
    smtp_smarthost: Option<String>,
    smtp_auth_username: Option<String>,
    smtp_auth_password: Option<Secret>,
    smtp_auth_password_file: Option<PathBuf>,
    smtp_auth_identity: Option<String>,
    smtp_require_tls: Option<bool>,
    smtp_tls_config: Option<TlsConfig>,
    slack_api_url: Option<Secret>,
    slack_api_url_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNamedInterval {
    name: String,
    #[serde(default)]
    time_intervals: Vec<RawInterval>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoute {
    receiver: Option<String>,
    group_by: Option<Vec<String>>,
    #[serde(default, rename = "continue")]
    goes_on: bool,
    #[serde(default)]
    matchers: Vec<String>,
    #[serde(default, rename = "match")]
    equal: BTreeMap<String, String>,
    #[serde(default)]
    match_re: BTreeMap<String, String>,
    group_wait: Option<PromDuration>,
    group_interval: Option<PromDuration>,
    repeat_interval: Option<PromDuration>,
    #[serde(default)]
    mute_time_intervals: Vec<String>,
    #[serde(default)]
    active_time_intervals: Vec<String>,
    #[serde(default)]
    routes: Vec<RawRoute>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInhibition {
    #[serde(default)]
    #[allow(dead_code)]
    name: Option<String>,
    #[serde(default)]
    source_matchers: Vec<String>,
    #[serde(default)]
    source_match: BTreeMap<String, String>,
    #[serde(default)]
    source_match_re: BTreeMap<String, String>,
    #[serde(default)]
    target_matchers: Vec<String>,
    #[serde(default)]
    target_match: BTreeMap<String, String>,
    #[serde(default)]
    target_match_re: BTreeMap<String, String>,
    #[serde(default)]
    equal: Vec<String>,
}

/// Who is notified, and how.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receiver {
    /// Its name.
    pub name: String,
    /// Webhooks.
    #[serde(default)]
    pub webhook_configs: Vec<WebhookConfig>,
    /// Mail.
    #[serde(default)]
    pub email_configs: Vec<EmailConfig>,
    /// Slack, or what takes its format.
    #[serde(default)]
    pub slack_configs: Vec<SlackConfig>,
}

/// A webhook that takes JSON of version 4.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Whether resolved alerts are told.
    #[serde(default = "yes")]
    pub send_resolved: bool,
    /// Where to.
    pub url: Option<Secret>,
    /// A file with where to.
    pub url_file: Option<PathBuf>,
    /// How requests are sent.
    pub http_config: Option<HttpClientConfig>,
    /// Alerts in one message at most; 0 is no limit.
    #[serde(default)]
    pub max_alerts: usize,
    /// When a request is given up; zero is with the group's interval.
    pub timeout: Option<PromDuration>,
}

/// A mail to one or more addresses.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailConfig {
    /// Whether resolved alerts are told.
    #[serde(default)]
    pub send_resolved: bool,
    /// Addresses, with commas between; a template.
    pub to: String,
    /// The sender; a template.
    pub from: Option<String>,
    /// The name said in the greeting.
    pub hello: Option<String>,
    /// The server, `HOST:PORT`.
    pub smarthost: Option<String>,
    /// The account.
    pub auth_username: Option<String>,
    /// Its password.
    pub auth_password: Option<Secret>,
    /// A file with its password.
    pub auth_password_file: Option<PathBuf>,
    /// On whose behalf the account acts.
    pub auth_identity: Option<String>,
    /// Whether mail is only sent over TLS; yes where not said.
    pub require_tls: Option<bool>,
    /// How TLS is spoken.
    pub tls_config: Option<TlsConfig>,
    /// Further headers; templates.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body as HTML; a template.
    pub html: Option<String>,
    /// The body as text; a template.
    pub text: Option<String>,
}

/// A message in Slack's format.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlackConfig {
    /// Whether resolved alerts are told.
    #[serde(default)]
    pub send_resolved: bool,
    /// Where to.
    pub api_url: Option<Secret>,
    /// A file with where to.
    pub api_url_file: Option<PathBuf>,
    /// How requests are sent.
    pub http_config: Option<HttpClientConfig>,
    /// `#channel` or `@user`; a template, as are all texts.
    #[serde(default)]
    pub channel: String,
    /// Who it is from.
    pub username: Option<String>,
    /// The bar's colour.
    pub color: Option<String>,
    /// The title.
    pub title: Option<String>,
    /// Where the title links to.
    pub title_link: Option<String>,
    /// What stands before the attachment.
    pub pretext: Option<String>,
    /// The text.
    pub text: Option<String>,
    /// What is shown where attachments are not.
    pub fallback: Option<String>,
    /// The last line.
    pub footer: Option<String>,
    /// Columns.
    #[serde(default)]
    pub fields: Vec<SlackField>,
    /// Whether the fields are short, where they do not say.
    #[serde(default)]
    pub short_fields: bool,
    /// A picture in place of the sender's.
    pub icon_emoji: Option<String>,
    /// A picture in place of the sender's.
    pub icon_url: Option<String>,
    /// A picture in the message.
    pub image_url: Option<String>,
    /// A small picture in the message.
    pub thumb_url: Option<String>,
    /// Whether names are made links.
    #[serde(default)]
    pub link_names: bool,
    /// Which parts have markup.
    pub mrkdwn_in: Option<Vec<String>>,
    /// When a request is given up; zero is with the group's interval.
    pub timeout: Option<PromDuration>,
}

/// A column of a Slack message.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlackField {
    /// Its head.
    pub title: String,
    /// Its text.
    pub value: String,
    /// Whether it stands beside others.
    pub short: Option<bool>,
}

fn yes() -> bool {
    true
}

/// An alert of the source mutes those of the target.
#[derive(Debug, Clone)]
pub struct Inhibition {
    /// What the muting alert must be.
    pub source: Vec<AlertMatcher>,
    /// What the muted alert must be.
    pub target: Vec<AlertMatcher>,
    /// Labels that both must have alike.
    pub equal: Vec<String>,
}

/// A configuration, read and checked.
#[derive(Debug, Clone)]
pub struct AlertingConfiguration {
    /// The text it was read from, with what is secret in it.
    pub original: String,
    /// When an alert that is not sent again is resolved.
    pub resolve_timeout: Duration,
    /// The root of the routes.
    pub route: Arc<Route>,
    /// What mutes what.
    pub inhibitions: Vec<Inhibition>,
    /// The receivers by name.
    pub receivers: BTreeMap<String, Receiver>,
    /// Named times.
    pub intervals: BTreeMap<String, Vec<TimeInterval>>,
    /// The default templates, and those of the files the configuration names.
    pub(crate) templates: Template,
    /// Relative paths are below it.
    pub folder: PathBuf,
}

// === impl AlertingConfiguration ===

impl AlertingConfiguration {
    /// Reads a configuration file and the templates it names.
    ///
    /// # Errors
    /// Where a file cannot be read or is none.
    pub fn read(path: &Path) -> Result<AlertingConfiguration, AlertingConfigError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| AlertingConfigError {
            file: file.clone(),
            reason: format!("cannot be read: {error}"),
        })?;
        AlertingConfiguration::parse(&file, &text, path.parent().unwrap_or(Path::new("")))
    }

    /// Reads a configuration's text; relative paths in it are below a folder.
    ///
    /// # Errors
    /// Where it is none.
    pub fn parse(
        file: &str,
        text: &str,
        folder: &Path,
    ) -> Result<AlertingConfiguration, AlertingConfigError> {
        let fault = |reason: String| AlertingConfigError {
            file: file.to_owned(),
            reason,
        };
        let raw: RawConfig = serde_saphyr::from_str(text).map_err(|error| {
            let said = crate::rules::yaml_fault(file, &error);
            fault(
                said.trim_start_matches(file)
                    .trim_start_matches(": ")
                    .to_owned(),
            )
        })?;
        build(raw, text, folder).map_err(fault)
    }

    /// The configuration for showing, without what is secret.
    #[must_use]
    pub fn shown(&self) -> String {
        super::shown::without_secrets(&self.original)
    }

    /// What is used where no configuration is given: all alerts are kept and shown, none is notified about.
    #[must_use]
    pub fn silent() -> AlertingConfiguration {
        let text = "route: {receiver: none}\nreceivers: [{name: none}]\n";
        match AlertingConfiguration::parse("built in", text, Path::new("")) {
            Ok(configuration) => configuration,
            Err(error) => unreachable!("the configuration built in is valid: {error}"),
        }
    }
}

fn build(raw: RawConfig, text: &str, folder: &Path) -> Result<AlertingConfiguration, String> {
    let mut intervals = BTreeMap::new();
    for named in raw.time_intervals.iter().chain(&raw.mute_time_intervals) {
        let read: Result<Vec<TimeInterval>, String> = named
            .time_intervals
            .iter()
            .map(TimeInterval::read)
            .collect();
        let read = read.map_err(|error| format!("time interval {:?}: {error}", named.name))?;
        if intervals.insert(named.name.clone(), read).is_some() {
            return Err(format!("time interval {:?} is not unique", named.name));
        }
    }
    let mut receivers = BTreeMap::new();
    for mut receiver in raw.receivers {
        complete(&mut receiver, &raw.global)?;
        let name = receiver.name.clone();
        if name.is_empty() {
            return Err("missing name in receiver".to_owned());
        }
        if receivers.insert(name.clone(), receiver).is_some() {
            return Err(format!("notification config name {name:?} is not unique"));
        }
    }
    let raw_route = raw.route.ok_or("no route provided in config")?;
    if raw_route.receiver.is_none() {
        return Err("root route must specify a default receiver".to_owned());
    }
    let has_conditions = !(raw_route.matchers.is_empty()
        && raw_route.equal.is_empty()
        && raw_route.match_re.is_empty());
    if has_conditions {
        return Err("root route must not have any matchers".to_owned());
    }
    if !raw_route.mute_time_intervals.is_empty() || !raw_route.active_time_intervals.is_empty() {
        return Err("root route must not have any mute or active time intervals".to_owned());
    }
    let route = Arc::new(build_route(raw_route, None)?);
    check_route(&route, &receivers, &intervals)?;
    let mut inhibitions = Vec::new();
    for rule in &raw.inhibit_rules {
        inhibitions.push(Inhibition {
            source: matchers(
                &rule.source_matchers,
                &rule.source_match,
                &rule.source_match_re,
            )?,
            target: matchers(
                &rule.target_matchers,
                &rule.target_match,
                &rule.target_match_re,
            )?,
            equal: rule.equal.clone(),
        });
    }
    Ok(AlertingConfiguration {
        original: text.to_owned(),
        resolve_timeout: raw
            .global
            .resolve_timeout
            .map_or(Duration::from_mins(5), PromDuration::get),
        route,
        inhibitions,
        receivers,
        intervals,
        templates: read_templates(&raw.templates, folder)?,
        folder: folder.to_owned(),
    })
}

fn read_templates(patterns: &[PathBuf], folder: &Path) -> Result<Template, String> {
    let mut templates = super::notify::default_templates();
    for pattern in patterns {
        for path in crate::config::named_files("templates", folder, pattern) {
            let shown = path.display().to_string();
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("template {shown} cannot be read: {error}"))?;
            templates
                .add_definitions(&shown, &text)
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(templates)
}

/// Gives a receiver what the global part says, and checks what remains missing.
fn complete(receiver: &mut Receiver, global: &RawGlobal) -> Result<(), String> {
    let name = &receiver.name;
    for webhook in &mut receiver.webhook_configs {
        if webhook.url.is_some() == webhook.url_file.is_some() {
            return Err(format!(
                "receiver {name:?}: one of url or url_file must be configured"
            ));
        }
        webhook.http_config = webhook.http_config.take().or(global.http_config.clone());
    }
    for slack in &mut receiver.slack_configs {
        if slack.api_url.is_none() && slack.api_url_file.is_none() {
            slack.api_url = global.slack_api_url.clone();
            slack.api_url_file = global.slack_api_url_file.clone();
        }
        if slack.api_url.is_none() && slack.api_url_file.is_none() {
            return Err(format!("receiver {name:?}: no global Slack API URL set"));
        }
        slack.http_config = slack.http_config.take().or(global.http_config.clone());
    }
    for email in &mut receiver.email_configs {
        let or = |own: &mut Option<String>, global: &Option<String>| {
            if own.is_none() {
                own.clone_from(global);
            }
        };
        or(&mut email.from, &global.smtp_from);
        or(&mut email.hello, &global.smtp_hello);
        or(&mut email.smarthost, &global.smtp_smarthost);
        or(&mut email.auth_username, &global.smtp_auth_username);
        or(&mut email.auth_identity, &global.smtp_auth_identity);
        if email.auth_password.is_none() && email.auth_password_file.is_none() {
            email.auth_password = global.smtp_auth_password.clone();
            email.auth_password_file = global.smtp_auth_password_file.clone();
        }
        email.require_tls = email.require_tls.or(global.smtp_require_tls);
        email.tls_config = email.tls_config.take().or(global.smtp_tls_config.clone());
        if email.to.is_empty() {
            return Err(format!(
                "receiver {name:?}: missing to address in email config"
            ));
        }
        if email.smarthost.is_none() {
            return Err(format!("receiver {name:?}: no global SMTP smarthost set"));
        }
        if email.from.is_none() {
            return Err(format!("receiver {name:?}: no global SMTP from set"));
        }
    }
    Ok(())
}

fn matchers(
    written: &[String],
    equal: &BTreeMap<String, String>,
    patterns: &BTreeMap<String, String>,
) -> Result<Vec<AlertMatcher>, String> {
    let mut all = Vec::new();
    for (name, value) in equal {
        all.push(AlertMatcher::new(name, "=", value)?);
    }
    for (name, value) in patterns {
        all.push(AlertMatcher::new(name, "=~", value)?);
    }
    for text in written {
        all.extend(AlertMatcher::parse_all(text)?);
    }
    all.sort_by(|left, right| {
        (left.name(), left.value(), left.operator()).cmp(&(
            right.name(),
            right.value(),
            right.operator(),
        ))
    });
    Ok(all)
}

fn build_route(raw: RawRoute, parent: Option<&Route>) -> Result<Route, String> {
    let group_by = match raw.group_by {
        Some(names) => GroupBy::read(&names)?,
        None => parent.map_or(GroupBy::Labels(BTreeSet::new()), |parent| {
            parent.group_by.clone()
        }),
    };
    let inherited = |own: Option<PromDuration>, of_parent: Option<Duration>, default: Duration| {
        own.map(PromDuration::get).or(of_parent).unwrap_or(default)
    };
    let mut route = Route {
        receiver: raw
            .receiver
            .or(parent.map(|parent| parent.receiver.clone()))
            .unwrap_or_default(),
        group_by,
        goes_on: raw.goes_on,
        matchers: matchers(&raw.matchers, &raw.equal, &raw.match_re)?,
        group_wait: inherited(
            raw.group_wait,
            parent.map(|parent| parent.group_wait),
            Duration::from_secs(30),
        ),
        group_interval: inherited(
            raw.group_interval,
            parent.map(|parent| parent.group_interval),
            Duration::from_mins(5),
        ),
        repeat_interval: inherited(
            raw.repeat_interval,
            parent.map(|parent| parent.repeat_interval),
            Duration::from_hours(4),
        ),
        mute_times: raw.mute_time_intervals,
        active_times: raw.active_time_intervals,
        key: String::new(),
        routes: Vec::new(),
    };
    if route.group_interval.is_zero() {
        return Err("group_interval cannot be zero".to_owned());
    }
    if route.repeat_interval.is_zero() {
        return Err("repeat_interval cannot be zero".to_owned());
    }
    let own_key: Vec<String> = route.matchers.iter().map(ToString::to_string).collect();
    let own_key = format!("{{{}}}", own_key.join(","));
    route.key = match parent {
        Some(parent) => format!("{}/{own_key}", parent.key),
        None => own_key,
    };
    for (at, child) in raw.routes.into_iter().enumerate() {
        let mut child = build_route(child, Some(&route))?;
        // Two routes with the same matchers are told apart by their place.
        if route
            .routes
            .iter()
            .any(|other: &Arc<Route>| other.key == child.key)
        {
            child.rename(&format!("{}/{at}", child.key));
        }
        route.routes.push(Arc::new(child));
    }
    Ok(route)
}

fn check_route(
    route: &Route,
    receivers: &BTreeMap<String, Receiver>,
    intervals: &BTreeMap<String, Vec<TimeInterval>>,
) -> Result<(), String> {
    if !receivers.contains_key(&route.receiver) {
        return Err(format!(
            "undefined receiver {:?} used in route",
            route.receiver
        ));
    }
    for name in route.mute_times.iter().chain(&route.active_times) {
        if !intervals.contains_key(name) {
            return Err(format!("undefined time interval {name:?} used in route"));
        }
    }
    route
        .routes
        .iter()
        .try_for_each(|child| check_route(child, receivers, intervals))
}

#[cfg(test)]
mod tests;
