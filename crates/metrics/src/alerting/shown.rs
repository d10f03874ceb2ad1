//! A configuration as it may be shown: what is secret in it is replaced, as Alertmanager replaces it.

use serde_json::Value;

const HIDDEN: &str = "<secret>";

/// Fields whose value is secret, wherever they stand; a field of this name with `_file` behind it is none.
const SECRETS: [&str; 11] = [
    "url",
    "api_url",
    "slack_api_url",
    "smtp_auth_password",
    "auth_password",
    "password",
    "credentials",
    "bearer_token",
    "key",
    "secrets",
    "client_secret",
];

/// Fields whose own fields are named by the user: labels and headers of mails, of which none is secret.
const NAMED_BY_USER: [&str; 7] = [
    "match",
    "match_re",
    "source_match",
    "source_match_re",
    "target_match",
    "target_match_re",
    "headers",
];

/// A configuration's text, written anew without its secrets.
pub(super) fn without_secrets(text: &str) -> String {
    let shown = serde_saphyr::from_str::<Value>(text)
        .map_err(|error| error.without_snippet().to_string())
        .and_then(|mut value| {
            hide(&mut value);
            serde_saphyr::to_string(&value).map_err(|error| error.to_string())
        });
    shown.unwrap_or_else(|error| format!("# the configuration cannot be shown: {error}\n"))
}

fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if SECRETS.contains(&name.as_str()) {
                    replace(value);
                } else if !NAMED_BY_USER.contains(&name.as_str()) {
                    hide(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide),
        _ => {}
    }
}

/// A secret, or a list of secrets.
fn replace(value: &mut Value) {
    match value {
        Value::Null => {}
        Value::Array(items) => items.iter_mut().for_each(replace),
        other => *other = HIDDEN.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_in_either_style_and_all_else_is_kept() {
        let block = r#"
global:
  slack_api_url: http://hidden/1
  smtp_auth_password: 1234
  http_config:
    basic_auth: {username: me, password: hidden}
    authorization: {credentials: hidden, credentials_file: /kept/1}
    bearer_token: hidden
    tls_config: {key: hidden, key_file: /kept/2}
    http_headers: {X-Key: {secrets: [hidden, hidden], values: [kept]}}
route: {receiver: a, group_by: ['...'], routes: [{matchers: ['x="1"', "y=~'url: hidden?'"]}, {match: {url: shown}}]}
receivers:
- name: a
  webhook_configs: [{url: "http://hidden/", send_resolved: false}, {url_file: /kept/3}]
- name: "b: url"
  slack_configs:
  - api_url: http://hidden/2
    title_link: http://kept/
    channel: '#x'
"#;
        let shown = without_secrets(block);
        let value: Value = serde_saphyr::from_str(&shown).expect("YAML");
        let at = |path: &str| value.pointer(path).cloned().unwrap_or_default();
        for hidden in [
            "/global/slack_api_url",
            "/global/smtp_auth_password",
            "/global/http_config/basic_auth/password",
            "/global/http_config/authorization/credentials",
            "/global/http_config/bearer_token",
            "/global/http_config/tls_config/key",
            "/global/http_config/http_headers/X-Key/secrets/1",
            "/receivers/0/webhook_configs/0/url",
            "/receivers/1/slack_configs/0/api_url",
        ] {
            assert_eq!(at(hidden), "<secret>", "{hidden}");
        }
        let mut before: Value = serde_saphyr::from_str(block).expect("YAML");
        hide(&mut before);
        assert_eq!(value, before);
        assert_eq!(at("/receivers/0/webhook_configs/1/url_file"), "/kept/3");
        assert_eq!(at("/route/routes/0/matchers/1"), "y=~'url: hidden?'");
        assert_eq!(at("/route/routes/1/match/url"), "shown");
        assert_eq!(shown.matches("kept").count(), 5);
    }
}
