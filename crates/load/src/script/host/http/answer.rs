//! What the script sees of an answer.

use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use rquickjs::function::Args as CallArgs;
use rquickjs::{Ctx, Result, Value};

use super::super::Host;
use super::super::values;
use super::exchange::{error_code, proto};
use super::order::ResponseType;
use super::{Outcome, Sent};
use crate::http::Cookie;
use crate::metric::milliseconds;

impl Outcome {
    /// The URL that answered; empty where there was not even a request.
    fn url(&self) -> &str {
        if self.formed { &self.sent.url } else { "" }
    }
}

impl Host {
    /// What the script sees of an outcome; throws where the order says so.
    pub(in super::super) fn response<'js>(
        &self,
        ctx: &Ctx<'js>,
        outcome: Outcome,
    ) -> Result<Value<'js>> {
        if let Err(error) = &outcome.result
            && outcome.throw
        {
            return Err(values::throw(
                ctx,
                &format!(
                    "{} \"{}\": {error}",
                    go_method(outcome.sent.outgoing.method.as_str()),
                    outcome.url()
                ),
            ));
        }
        let Some(make) = self.make_response.borrow().clone() else {
            return Err(values::throw(ctx, "the module k6/http is not loaded"));
        };
        let make = make.restore(ctx)?;
        let mut call = CallArgs::new(ctx.clone(), 19);
        call.push_arg(outcome.url())?;
        let (exchange, error) = match outcome.result {
            Ok(exchange) => (Some(exchange), None),
            Err(error) => (None, Some(error)),
        };
        let status = exchange.as_ref().map_or(0, |exchange| exchange.status);
        let code = error_code(status, error.as_ref());
        call.push_arg(status)?;
        match &exchange {
            None => {
                call.push_arg("")?;
                call.push_arg("")?;
                call.push_arg("")?;
                call.push_arg(0)?;
            }
            Some(exchange) => {
                let reason = StatusCode::from_u16(status)
                    .ok()
                    .and_then(|status| status.canonical_reason());
                call.push_arg(match reason {
                    Some(reason) => format!("{status} {reason}"),
                    None => status.to_string(),
                })?;
                call.push_arg(proto(exchange.version))?;
                call.push_arg(exchange.remote.ip().to_string())?;
                call.push_arg(exchange.remote.port())?;
            }
        }
        // The script sees the request that it made, not the last one that it was sent on to.
        let sent = outcome.first.as_ref().unwrap_or(&outcome.sent);
        let headers = exchange.as_ref().map(|exchange| &exchange.headers);
        let packed = packed(headers, &outcome.set_cookies, sent);
        let tls = exchange.as_ref().and_then(|exchange| exchange.tls.clone());
        match exchange {
            // An answer that cannot have a body has none, not an empty one.
            Some(exchange)
                if outcome.response_type != ResponseType::Nothing
                    && !matches!(status, 204 | 304) =>
            {
                if outcome.response_type == ResponseType::Binary {
                    call.push_arg(values::buffer(ctx, exchange.body)?)?;
                } else {
                    call.push_arg(text_of(exchange.body))?;
                }
            }
            _ => call.push_arg(Value::new_null(ctx.clone()))?,
        }
        let timings = outcome.timings;
        for time in [
            timings.duration(),
            timings.blocked,
            timings.connecting,
            timings.tls_handshaking,
            timings.sending,
            timings.waiting,
            timings.receiving,
        ] {
            call.push_arg(milliseconds(time))?;
        }
        call.push_arg(tls.as_ref().map_or("", |tls| tls.version))?;
        call.push_arg(tls.as_ref().map_or("", |tls| tls.cipher_suite.as_str()))?;
        call.push_arg(error.map(|error| error.message).unwrap_or_default())?;
        call.push_arg(code)?;
        call.push_arg(packed)?;
        call.apply(&make)
    }
}

/// `Get`, as Go's errors write methods.
pub(super) fn go_method(method: &str) -> String {
    let mut letters = method.chars();
    letters.next().map_or_else(String::new, |first| {
        format!("{first}{}", letters.as_str().to_ascii_lowercase())
    })
}

fn text_of(body: Vec<u8>) -> String {
    String::from_utf8(body)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// What the module `springtide:answers` makes an answer's other parts of: headers and cookies of the
/// answer and of the request, its method, URL and body, with zeros between them.
fn packed(headers: Option<&HeaderMap>, set_cookies: &[Cookie], sent: &Sent) -> String {
    let outgoing = &sent.outgoing;
    let mut text = String::with_capacity(256 + outgoing.body.len());
    push_headers(&mut text, headers.into_iter().flatten());
    text.push('\0');
    if !set_cookies.is_empty() {
        text.push_str(&cookies_json(set_cookies));
    }
    text.push('\0');
    push_headers(&mut text, &outgoing.headers);
    text.push('\0');
    if !sent.cookies.is_empty() {
        text.push_str(&sent_cookies_json(&sent.cookies));
    }
    for part in ["\0", outgoing.method.as_str(), "\0", &sent.url, "\0"] {
        text.push_str(part);
    }
    text.push_str(&String::from_utf8_lossy(&outgoing.body));
    text
}

/// Adds headers as `name\nvalue\n…`.
fn push_headers<'headers>(
    text: &mut String,
    headers: impl IntoIterator<Item = (&'headers HeaderName, &'headers HeaderValue)>,
) {
    for (name, value) in headers {
        text.push_str(name.as_str());
        text.push('\n');
        match value.to_str() {
            Ok(value) => text.push_str(value),
            Err(_) => text.push_str(&String::from_utf8_lossy(value.as_bytes())),
        }
        text.push('\n');
    }
}

fn sent_cookies_json(cookies: &[(String, String, bool)]) -> String {
    let mut lists = serde_json::Map::new();
    for (name, value, replace) in cookies {
        let one = serde_json::json!({"name": name, "value": value, "replace": replace});
        if let serde_json::Value::Array(list) = lists
            .entry(name.clone())
            .or_insert_with(|| serde_json::Value::Array(Vec::new()))
        {
            list.push(one);
        }
    }
    serde_json::Value::Object(lists).to_string()
}

/// What k6 has as the end of a cookie that names none: the zero time of Go, in milliseconds.
const NEVER: i64 = -6_795_364_578_871;

fn cookies_json(cookies: &[Cookie]) -> String {
    let mut lists = serde_json::Map::new();
    for cookie in cookies {
        let one = serde_json::json!({
            "name": cookie.name,
            "value": cookie.value,
            "domain": cookie.domain_as_given(),
            "path": cookie.path,
            "http_only": cookie.http_only,
            "secure": cookie.secure,
            "max_age": cookie.max_age.unwrap_or(0),
            "expires": cookie.expires.map_or(NEVER, jiff::Timestamp::as_millisecond),
        });
        if let serde_json::Value::Array(list) = lists
            .entry(cookie.name.clone())
            .or_insert_with(|| serde_json::Value::Array(Vec::new()))
        {
            list.push(one);
        }
    }
    serde_json::Value::Object(lists).to_string()
}
