//! Answers: JSON bodies, Status bodies, and the headers that go with them.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use serde_json::Value;
use springtide_machinery::error::ApiError;

/// The media type of almost every answer.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
const NOT_CACHED: HeaderValue = HeaderValue::from_static("no-cache, private");
const WARNING: HeaderName = HeaderName::from_static("warning");
/// The most bytes all warnings of an answer may have, as Kubernetes has it.
const WARNING_BYTES: usize = 4096;

/// Answers with JSON that exists already.
pub(crate) fn json_bytes(status: StatusCode, body: impl Into<Bytes>) -> Response {
    with_type(status, JSON, Body::from(body.into()))
}

/// Answers with a JSON value.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response {
    json_bytes(status, value.to_string())
}

/// Answers with plain text.
pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    with_type(status, plain, Body::from(body.into()))
}

/// Answers with a body of some media type.
pub(crate) fn with_type(status: StatusCode, media_type: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, media_type);
    headers.insert(CACHE_CONTROL, NOT_CACHED);
    response
}

/// Answers with the refusal's Status.
pub(crate) fn refusal(error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json_bytes(status, error.to_json());
    if let Some(wait) = error.retry_after() {
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
    }
    response
}

/// Adds `Warning: 299 - "…"` headers: each text once, all together at most 4 KiB.
pub(crate) fn add_warnings(response: &mut Response, warnings: &[String]) {
    let mut room = WARNING_BYTES;
    for (index, warning) in warnings.iter().enumerate() {
        let seen_before = warnings[..index].contains(warning);
        if seen_before || warning.len() > room {
            continue;
        }
        if let Ok(value) = HeaderValue::from_str(&format!("299 - {}", quoted(warning))) {
            room -= warning.len();
            response.headers_mut().append(WARNING, value);
        }
    }
}

/// An HTTP quoted-string; control characters become spaces.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(letter);
            }
            _ if letter.is_control() => quoted.push(' '),
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_a_quoted_string_and_said_once() {
        let mut response = json_bytes(StatusCode::OK, "{}");
        let warning = "unknown field \"spec.x\"\n".to_owned();
        add_warnings(&mut response, &[warning.clone(), warning]);
        let headers: Vec<_> = response.headers().get_all(WARNING).iter().collect();
        assert_eq!(headers, [r#"299 - "unknown field \"spec.x\" ""#]);
    }
}
