use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::super::config::SlackConfig;
use super::templates::MessageTemplates;
use super::{NotSent, post_json, secret_of};

pub(super) async fn send(
    config: &SlackConfig,
    templates: &MessageTemplates<'_>,
    folder: &Path,
    limit: Duration,
) -> Result<(), NotSent> {
    let body = payload(config, templates)?;
    let body = serde_json::to_vec(&body).map_err(|error| NotSent::for_good(error.to_string()))?;
    let url = secret_of(
        config.api_url.as_ref(),
        config.api_url_file.as_deref(),
        folder,
    )?;
    let url = url.ok_or_else(|| NotSent::for_good("no API URL"))?;
    let limit = config
        .timeout
        .map(crate::config::PromDuration::get)
        .filter(|own| !own.is_zero())
        .map_or(limit, |own| own.min(limit));
    let answer = post_json(&url, body, config.http_config.as_ref(), folder, limit).await?;
    // Slack's web API says in the body what a webhook says by its status.
    let said: Option<Value> = serde_json::from_slice(&answer.body).ok();
    match said.as_ref().and_then(|said| said.get("ok")) {
        Some(Value::Bool(false)) => {
            let error = said.as_ref().and_then(|said| said.get("error")).cloned();
            Err(NotSent::for_good(format!(
                "error response from Slack: {}",
                error.unwrap_or_default()
            )))
        }
        _ => Ok(()),
    }
}

/// The message.
fn payload(config: &SlackConfig, templates: &MessageTemplates<'_>) -> Result<Value, NotSent> {
    let mut attachment = Map::new();
    let texts = [
        (
            "title",
            &config.title,
            r#"{{ template "slack.default.title" . }}"#,
        ),
        (
            "title_link",
            &config.title_link,
            r#"{{ template "slack.default.titlelink" . }}"#,
        ),
        (
            "pretext",
            &config.pretext,
            r#"{{ template "slack.default.pretext" . }}"#,
        ),
        (
            "text",
            &config.text,
            r#"{{ template "slack.default.text" . }}"#,
        ),
        (
            "fallback",
            &config.fallback,
            r#"{{ template "slack.default.fallback" . }}"#,
        ),
        (
            "footer",
            &config.footer,
            r#"{{ template "slack.default.footer" . }}"#,
        ),
        (
            "color",
            &config.color,
            r#"{{ if eq .Status "firing" }}danger{{ else }}good{{ end }}"#,
        ),
        ("image_url", &config.image_url, ""),
        ("thumb_url", &config.thumb_url, ""),
    ];
    for (name, text, default) in texts {
        let expanded = templates.expand_or(text.as_deref(), default)?;
        let is_needed = matches!(name, "title" | "text" | "fallback");
        if is_needed || !expanded.is_empty() {
            attachment.insert(name.to_owned(), expanded.into());
        }
    }
    let mut fields = Vec::new();
    for field in &config.fields {
        fields.push(json!({
            "title": templates.expand(&field.title)?,
            "value": templates.expand(&field.value)?,
            "short": field.short.unwrap_or(config.short_fields),
        }));
    }
    if !fields.is_empty() {
        attachment.insert("fields".to_owned(), fields.into());
    }
    let markup = config.mrkdwn_in.clone();
    let markup =
        markup.unwrap_or_else(|| ["fallback", "pretext", "text"].map(str::to_owned).to_vec());
    attachment.insert("mrkdwn_in".to_owned(), markup.into());
    let mut message = Map::new();
    let texts = [
        ("channel", Some(config.channel.as_str()), ""),
        (
            "username",
            config.username.as_deref(),
            r#"{{ template "slack.default.username" . }}"#,
        ),
        ("icon_emoji", config.icon_emoji.as_deref(), ""),
        ("icon_url", config.icon_url.as_deref(), ""),
    ];
    for (name, text, default) in texts {
        let expanded = templates.expand_or(text, default)?;
        if !expanded.is_empty() {
            message.insert(name.to_owned(), expanded.into());
        }
    }
    if config.link_names {
        message.insert("link_names".to_owned(), true.into());
    }
    message.insert(
        "attachments".to_owned(),
        vec![Value::Object(attachment)].into(),
    );
    Ok(Value::Object(message))
}
