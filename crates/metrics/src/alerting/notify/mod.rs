//! Tells receivers of alerts: what a message says, and how it is sent.

mod email;
mod slack;
mod templates;
mod webhook;

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::Secret;

use super::book::{Flush, Integration, Message};
use super::config::AlertingConfiguration;

pub(crate) use templates::default_templates;
use templates::{MessageTemplates, message_data};

/// Why a message was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotSent {
    /// What happened.
    pub(crate) reason: String,
    /// Whether it may succeed when tried again.
    pub(crate) again: bool,
}

// === impl NotSent ===

impl NotSent {
    pub(crate) fn for_good(reason: impl Into<String>) -> NotSent {
        NotSent {
            reason: reason.into(),
            again: false,
        }
    }

    pub(crate) fn for_now(reason: impl Into<String>) -> NotSent {
        NotSent {
            reason: reason.into(),
            again: true,
        }
    }
}

/// Sends one message once.
pub(crate) async fn send(
    configuration: &AlertingConfiguration,
    external_url: &str,
    flush: &Flush,
    message: &Message,
    now: Timestamp,
) -> Result<(), NotSent> {
    if message.alerts.is_empty() {
        return Ok(());
    }
    let limit = Duration::try_from(flush.limit).unwrap_or(Duration::from_secs(10));
    let templates = MessageTemplates {
        templates: &configuration.templates,
        data: message_data(flush, message, external_url),
        now,
    };
    let receiver = configuration.receivers.get(&flush.receiver);
    let receiver = receiver.ok_or_else(|| NotSent::for_good("the receiver is gone"))?;
    let folder = &configuration.folder;
    match message.integration {
        Integration::Webhook(at) => {
            let config = &receiver.webhook_configs[at];
            webhook::send(config, flush, message, external_url, folder, limit).await
        }
        Integration::Slack(at) => {
            slack::send(&receiver.slack_configs[at], &templates, folder, limit).await
        }
        Integration::Email(at) => {
            let sending = email::send(&receiver.email_configs[at], &templates, folder, now);
            match tokio::time::timeout(limit, sending).await {
                Ok(sent) => sent,
                Err(_) => Err(NotSent::for_now(
                    "the mail server did not take the message in time",
                )),
            }
        }
    }
}

/// What is secret, given or in a file, which is read each time so that it can change.
fn secret_of(
    given: Option<&Secret>,
    file: Option<&Path>,
    folder: &Path,
) -> Result<Option<String>, NotSent> {
    match (given, file) {
        (Some(secret), _) => Ok(Some(secret.expose().to_owned())),
        (None, Some(file)) => {
            let path = folder.join(file);
            let text = std::fs::read_to_string(&path).map_err(|error| {
                NotSent::for_now(format!("{} cannot be read: {error}", path.display()))
            })?;
            Ok(Some(text.trim().to_owned()))
        }
        (None, None) => Ok(None),
    }
}

/// Sends JSON; answers of the server that say "later" are for now.
async fn post_json(
    url: &str,
    body: Vec<u8>,
    config: Option<&crate::config::HttpClientConfig>,
    folder: &Path,
    limit: Duration,
) -> Result<crate::http_client::Answer, NotSent> {
    use crate::http_client::{HttpClient, Question};
    let uri: http::Uri = url
        .parse()
        .map_err(|error| NotSent::for_good(format!("the URL cannot be used: {error}")))?;
    let client = HttpClient::new(config.cloned().unwrap_or_default(), folder)
        .map_err(|error| NotSent::for_good(error.to_string()))?;
    let question = Question::post(uri, "application/json", body);
    let answer = client
        .ask(question, limit, 1 << 20)
        .await
        .map_err(|error| NotSent::for_now(error.to_string()))?;
    if answer.status.is_success() {
        return Ok(answer);
    }
    let said: String = String::from_utf8_lossy(&answer.body)
        .chars()
        .take(200)
        .collect();
    Err(NotSent {
        reason: format!("unexpected status code {}: {said}", answer.status.as_u16()),
        again: answer.status.is_server_error() || answer.status.as_u16() == 429,
    })
}
